package docs_test

import (
	"go/ast"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/queue"
)

func relay(t *testing.T) *document { return documents(t)["relay.md"] }

// configurationKeys returns the keys of a struct with toml tags, those of inner structs behind a dot.
func configurationKeys(t *testing.T, s *ast.StructType) (keys []string) {
	t.Helper()
	for _, f := range s.Fields.List {
		if f.Tag == nil {
			t.Fatal("a field of the configuration has no tag")
		}
		tag, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			t.Fatal(err)
		}
		key := reflect.StructTag(tag).Get("toml")
		inner, ok := f.Type.(*ast.StructType)
		if !ok {
			keys = append(keys, key)
			continue
		}
		for _, k := range configurationKeys(t, inner) {
			keys = append(keys, key+"."+k)
		}
	}
	return keys
}

func TestConfigurationKeys(t *testing.T) {
	var source, text []string
	ast.Inspect(sources(t, "cmd/smpserver", false)["cmd/smpserver/config.go"], func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.Name == "config" {
			source = configurationKeys(t, spec.Type.(*ast.StructType))
		}
		return true
	})
	if len(source) < 5 {
		t.Fatalf("found only %d keys", len(source))
	}
	for _, row := range relay(t).rows(t, "Configuration") {
		text = append(text, code(row[0])...)
	}
	same(t, "configuration key", source, text)
}

var variable = regexp.MustCompile(`^SMPSERVER_[A-Z_]+$`)

func TestEnvironment(t *testing.T) {
	var source, text []string
	for _, file := range sources(t, "cmd/smpserver", false) {
		for _, s := range literals(file) {
			if variable.MatchString(s) && !slices.Contains(source, s) {
				source = append(source, s)
			}
		}
	}
	for _, line := range relay(t).lines {
		for _, s := range code(line) {
			if variable.MatchString(s) && !slices.Contains(text, s) {
				text = append(text, s)
			}
		}
	}
	same(t, "environment variable", source, text)
}

func TestRelayCommands(t *testing.T) {
	var source, text []string
	for _, c := range queue.Commands() {
		if c.MinVersion <= queue.Supported().Max {
			source = append(source, c.Tag+" "+strconv.Itoa(int(c.MinVersion)))
		}
	}
	for _, row := range relay(t).rows(t, "Versions and commands") {
		for _, tag := range code(row[0]) {
			text = append(text, tag+" "+row[1])
		}
	}
	same(t, "command", source, text)
}

// TestLogMessages looks for the calls of a logger with a fixed message.
func TestLogMessages(t *testing.T) {
	var source, text []string
	levels := []string{"Debug", "Info", "Warn", "Error"}
	for _, folder := range []string{"cmd/smpserver", "queue/server", "queue/store", "queue/transport"} {
		for name, file := range sources(t, folder, false) {
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) == 0 {
					return true
				}
				method, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || !slices.Contains(levels, method.Sel.Name) || !isLogger(method.X) {
					return true
				}
				message, ok := call.Args[0].(*ast.BasicLit)
				if !ok {
					t.Errorf("%s: a log message is made up", name)
					return true
				}
				source = append(source, strings.ToUpper(method.Sel.Name)+" "+strings.Trim(message.Value, `"`))
				return true
			})
		}
	}
	for _, row := range relay(t).rows(t, "Looking at it") {
		text = append(text, row[0]+" "+code(row[1])[0])
	}
	same(t, "log message", source, text)
}

func isLogger(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name == "log"
	case *ast.SelectorExpr:
		return x.Sel.Name == "Log" || x.Sel.Name == "log"
	}
	return false
}

func TestRelayExitStatus(t *testing.T) {
	want := map[string]string{"exitFailure": "1", "exitUsage": "2", "exitAborted": "3"}
	var source, text []string
	ast.Inspect(sources(t, "cmd/smpserver", false)["cmd/smpserver/main.go"], func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			if value, ok := spec.Values[0].(*ast.BasicLit); ok && want[spec.Names[0].Name] != "" {
				source = append(source, value.Value)
			}
		}
		return true
	})
	for _, row := range relay(t).rows(t, "Start and stop") {
		if row[0] != "0" {
			text = append(text, row[0])
		}
	}
	same(t, "exit status", source, text)
}
