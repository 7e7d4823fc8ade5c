package control

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/agent/conn"
)

// notAnswered are the errors that no command can be answered with: of opening an agent, of decoding, and of what is stored.
var notAnswered = []string{
	"agent.ErrLocked", "agent.ErrKey", "agent.ErrNoConnection", // the last is a *conn.Error
	"grouproto.ErrRecords", "grouproto.ErrNotInvitation", "grouproto.ErrNotAnswer", "grouproto.ErrFrame",
	"directconn.ErrRecords", "directconn.ErrSyntax",
}

// declared returns the package variables and constants that a pattern matches.
func declared(t *testing.T, folder string, pattern *regexp.Regexp) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", folder, "*.go"))
	must(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		must(t, err)
		ast.Inspect(syntax, func(n ast.Node) bool {
			if _, inside := n.(*ast.FuncDecl); inside {
				return false
			}
			if v, ok := n.(*ast.ValueSpec); ok {
				for _, name := range v.Names {
					if pattern.MatchString(name.Name) {
						names = append(names, filepath.Base(folder)+"."+name.Name)
					}
				}
			}
			return true
		})
	}
	return names
}

func TestEveryErrorOfTheAgentHasACode(t *testing.T) {
	var source strings.Builder
	syntax, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	must(t, err)
	ast.Inspect(syntax, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if p, ok := s.X.(*ast.Ident); ok {
				source.WriteString(p.Name + "." + s.Sel.Name + "\n")
			}
		}
		return true
	})
	mapped := strings.Fields(source.String())
	found := 0
	for _, folder := range []string{"agent", "grouproto", "directconn"} {
		for _, name := range declared(t, folder, regexp.MustCompile(`^Err[A-Z]`)) {
			found++
			if slices.Contains(mapped, name) == slices.Contains(notAnswered, name) {
				t.Errorf("%s: has a code %v", name, slices.Contains(mapped, name))
			}
		}
	}
	if found < 25 {
		t.Errorf("found only %d errors", found)
	}
}

// peerCodes are codes of package conn that come with events only: what peers and relays did.
var peerCodes = []conn.Code{
	conn.CodeMessage, conn.CodePeerProhibited, conn.CodeDecryptAES, conn.CodeDecryptBox, conn.CodeHeader, conn.CodeEarlier,
	conn.CodeSkipped, conn.CodeDuplicate, conn.CodeQueue, conn.CodeAuth, conn.CodeQuota, conn.CodeExpired,
}

func TestEveryCodeIsExplained(t *testing.T) {
	if n := len(declared(t, "agent/conn", regexp.MustCompile(`^Code[A-Z]`))); n != len(peerCodes)+len(connCodes) {
		t.Errorf("package conn has %d codes, %d are known here", n, len(peerCodes)+len(connCodes))
	}
	all := Errors()
	for code, meaning := range all {
		if meaning == "" || !regexp.MustCompile(`^[A-Z_]+( [A-Z_]+)*$`).MatchString(string(code)) {
			t.Errorf("%q means %q", code, meaning)
		}
	}
	for _, code := range peerCodes {
		if _, both := all[code]; both {
			t.Errorf("%s answers commands", code)
		}
	}
}

// Codes are what bots decide by: a change of one is a change of the protocol.
func TestCodesAreStable(t *testing.T) {
	const want = `AGENT A_CRYPTO RATCHET_SYNC, AGENT A_LINK, AGENT A_VERSION, AGENT DISK_FULL, AGENT NO_RELAY, CMD BUSY, CMD ENTITY, CMD KEY_REUSED, CMD LARGE, CMD PROHIBITED, CMD RESERVED, CMD SYNTAX, CMD TIMEOUT, CMD UNKNOWN, CONN BUSY, CONN NOT_ACCEPTED, CONN NOT_AVAILABLE, CONN NOT_FOUND, CONN NOT_YOURS, CONN SIMPLEX, DIRECT ASKED, DIRECT EXISTS, DIRECT LIMIT, DIRECT NOT_FOUND, DIRECT NO_RULE, EVENTS LOST, EVENTS NO_CURSOR, GROUP CLOSED, GROUP EXPIRED, GROUP JOINING, GROUP LIMIT, GROUP MEMBER, GROUP NOT_CONNECTED, GROUP NOT_FOUND, GROUP NOT_MEMBER, GROUP NOT_PERMITTED, GROUP NO_CONTEST, GROUP NO_INVITATION, GROUP NO_LINK, GROUP NO_MEMBER, GROUP NO_ROLE, GROUP RECOVERING, GROUP STILL_THERE, GROUP TOO_SOON, GROUP UNREACHABLE, GROUP UPGRADE, GROUP VERSION, INACTIVE, INTERNAL`
	var got []string
	for _, code := range slices.Sorted(maps.Keys(Errors())) {
		got = append(got, string(code))
	}
	if strings.Join(got, ", ") != want {
		t.Errorf("codes are %s", strconv.Quote(strings.Join(got, ", ")))
	}
}
