package docs_test

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var groupTag = regexp.MustCompile(`^G[A-Z]+$`)

// TestCommandsAndEvents goes by the command table of agent/control and by the Type methods of the events.
func TestCommandsAndEvents(t *testing.T) {
	var source, text []string
	all := sources(t, "agent", false)
	for _, s := range literals(all["agent/event_type.go"]) {
		if groupTag.MatchString(s) {
			source = append(source, s)
		}
	}
	if len(source) < 15 {
		t.Fatalf("found only %d events of groups", len(source))
	}
	ast.Inspect(all["agent/control/commands_group.go"], func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if name, ok := call.Fun.(*ast.Ident); !ok || name.Name != "define" {
			return true
		}
		tag, ok := call.Args[0].(*ast.BasicLit)
		if !ok {
			t.Error("a command has no fixed name")
			return true
		}
		if s := strings.Trim(tag.Value, `"`); !slices.Contains(source, s) {
			source = append(source, s)
		}
		return true
	})
	for _, row := range groups(t).rows(t, "Commands and events") {
		text = append(text, code(row[0])...)
	}
	same(t, "command or event", source, text)
}
