// Package architecture_test holds the rules that every change must keep: which layer may import which, what packages
// without I/O may not touch, which dependencies each layer may have, and how large files get (docs/overview.md).
package architecture_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/coterie-im/coterie/"

// layers lists, for folders and everything below them, which folders of the module they may import. The most specific
// folder counts; every package may import below itself.
var layers = map[string][]string{
	"internal":        {"internal/..."},
	"queue":           {"internal/..."},
	"queue/transport": {"internal/...", "queue"},
	"queue/client":    {"internal/...", "queue", "queue/transport"},
	"queue/store":     {"internal/...", "queue", "queue/store/..."},
	"queue/server":    {"internal/...", "queue", "queue/transport", "queue/store/..."},
	"agent/ratchet":   {"internal/..."},
	"agent/link":      {"internal/...", "queue", "agent/ratchet"},
	"agent/envelope":  {"internal/...", "queue", "agent/ratchet", "agent/link"},
	"agent/conn":      {"internal/...", "queue", "agent/ratchet", "agent/link", "agent/envelope"},
	"agent/store":     {"internal/...", "queue"},
	"agent":           {"internal/...", "queue", "queue/transport", "queue/client", "agent/...", "grouproto/...", "directconn"},
	"agent/control":   {"internal/...", "queue", "agent", "agent/conn", "grouproto", "directconn"},
	"grouproto":       {"internal/..."},
	"grouproto/oplog": {"internal/..."},
	"directconn":      {"internal/..."},
	"chat":            {"internal/...", "agent", "agent/...", "chat/..."},
	"cmd":             {"..."},
	"test":            {"..."},
}

// withoutIO are the cores: they get time and randomness from outside and open no file, socket or database.
var withoutIO = []string{
	"internal/wire", "internal/box", "internal/keys", "internal/kv", "internal/scratch", "queue",
	"agent/conn", "agent/link", "agent/ratchet", "agent/envelope", "grouproto", "grouproto/oplog", "directconn",
}

var forbiddenWithoutIO = []string{"net", "net/http", "os", "os/exec", "os/signal", "syscall", "database/sql", "crypto/tls", "crypto/rand", "math/rand", "math/rand/v2", "log"}

var forbiddenClock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

// dependencies are the modules that code outside tests may use, with the folders that may use them; "" is every folder.
var dependencies = map[string][]string{
	"golang.org/x/crypto":          {""},
	"golang.org/x/sys":             {"queue", "agent", "cmd", "internal"},
	"github.com/mattn/go-sqlite3":  {"queue/store/sqlite", "agent/store", "chat/store", "internal/sqlite"},
	"github.com/gorilla/websocket": {"queue/transport", "agent/control"},
	"github.com/google/uuid":       {""},
	"github.com/cloudflare/circl":  {"internal/keys", "agent/ratchet", "queue"},
	"github.com/spf13/cobra":       {"cmd"},
	"github.com/BurntSushi/toml":   {"cmd"},
	"github.com/spf13/pflag":       {"cmd"},
	"pgregory.net/rapid":           {"queue/store/storetest"},
}

const (
	mostLines  = 1000
	usualLines = 600
	longFiles  = 12 // how many files may be longer than usual
)

type sourceFile struct {
	path   string // slash-separated, from the top of the module
	folder string
	test   bool
	source []byte
	syntax *ast.File
	set    *token.FileSet
}

func sources(t *testing.T) []sourceFile {
	t.Helper()
	top := filepath.Join("..", "..")
	var files []sourceFile
	err := filepath.WalkDir(top, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".." && entry.Name() != "." {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		syntax, err := parser.ParseFile(set, name, source, parser.ParseComments)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(top, name)
		if err != nil {
			return err
		}
		slashed := filepath.ToSlash(relative)
		files = append(files, sourceFile{slashed, path.Dir(slashed), strings.HasSuffix(slashed, "_test.go"), source, syntax, set})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("found only %d source files", len(files))
	}
	return files
}

// matches tells whether a folder is the one that a rule names, or with "/..." at its end, one below it.
func matches(folder, rule string) bool {
	parent, whole := strings.CutSuffix(rule, "...")
	if !whole {
		return folder == rule
	}
	return below(folder, strings.TrimSuffix(parent, "/"))
}

func below(folder, parent string) bool {
	return parent == "" || folder == parent || strings.HasPrefix(folder, parent+"/")
}

func (f sourceFile) imports(t *testing.T) (paths []string) {
	t.Helper()
	for _, i := range f.syntax.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return paths
}

// ruleFor returns the allowed imports of the most specific folder above or at f.
func ruleFor(folder string) ([]string, bool) {
	for at := folder; at != "."; at = path.Dir(at) {
		if allowed, ok := layers[at]; ok {
			return allowed, true
		}
	}
	return nil, false
}

func TestLayers(t *testing.T) {
	for _, f := range sources(t) {
		allowed, ok := ruleFor(f.folder)
		if !ok {
			t.Errorf("%s is in no layer", f.path)
			continue
		}
		for _, p := range f.imports(t) {
			target, inside := strings.CutPrefix(p, module)
			if !inside || f.test || below(target, f.folder) {
				continue // tests may build whole systems
			}
			if !slices.ContainsFunc(allowed, func(rule string) bool { return matches(target, rule) }) {
				t.Errorf("%s imports %s, which its layer does not allow", f.path, target)
			}
		}
	}
}

func TestCoresAreWithoutIO(t *testing.T) {
	for _, f := range sources(t) {
		if f.test || !slices.Contains(withoutIO, f.folder) {
			continue
		}
		for _, p := range f.imports(t) {
			if slices.Contains(forbiddenWithoutIO, p) {
				t.Errorf("%s imports %s", f.path, p)
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if from, ok := call.X.(*ast.Ident); ok && from.Name == "time" && slices.Contains(forbiddenClock, call.Sel.Name) {
				t.Errorf("%s uses time.%s", f.set.Position(n.Pos()), call.Sel.Name)
			}
			return true
		})
	}
}

func TestDependencies(t *testing.T) {
	explained, err := os.ReadFile(filepath.Join("..", "..", "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range dependencies {
		if !bytes.Contains(explained, []byte(name)) && used(t, name) {
			t.Errorf("docs/dependencies.md does not explain %s", name)
		}
	}
	for _, f := range sources(t) {
		for _, p := range f.imports(t) {
			if f.test || !strings.Contains(strings.Split(p, "/")[0], ".") || strings.HasPrefix(p, module) {
				continue
			}
			permitted := false
			for name, folders := range dependencies {
				permitted = permitted || below(p, name) && slices.ContainsFunc(folders, func(d string) bool { return below(f.folder, d) })
			}
			if !permitted {
				t.Errorf("%s imports %s, which its layer may not use", f.path, p)
			}
		}
	}
}

func used(t *testing.T, name string) bool {
	for _, f := range sources(t) {
		if slices.ContainsFunc(f.imports(t), func(p string) bool { return below(p, name) }) {
			return true
		}
	}
	return false
}

func TestFileSizes(t *testing.T) {
	var long []string
	for _, f := range sources(t) {
		lines := bytes.Count(f.source, []byte("\n"))
		if lines > mostLines {
			t.Errorf("%s has %d lines", f.path, lines)
		}
		if lines > usualLines {
			long = append(long, f.path)
		}
	}
	if len(long) > longFiles {
		t.Errorf("%d files are longer than %d lines: %v", len(long), usualLines, long)
	}
}

func TestEverythingExportedIsExplained(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		documented[f.folder] = documented[f.folder] || f.syntax.Doc != nil
		if f.syntax.Name.Name == "main" {
			continue
		}
		for _, d := range f.syntax.Decls {
			explainedDeclaration(t, f, d)
		}
	}
	for folder, ok := range documented {
		if !ok {
			t.Errorf("package %s has no doc comment", folder)
		}
	}
}

func explainedDeclaration(t *testing.T, f sourceFile, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || exportedReceiver(d.Recv)) {
			t.Errorf("%s: %s has no doc comment", f.set.Position(d.Pos()), d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && s.Doc == nil && d.Doc == nil {
					t.Errorf("%s: %s has no doc comment", f.set.Position(s.Pos()), s.Name.Name)
				}
			case *ast.ValueSpec:
				if s.Names[0].IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
					t.Errorf("%s: %s has no doc comment", f.set.Position(s.Pos()), s.Names[0].Name)
				}
			}
		}
	}
}

func exportedReceiver(r *ast.FieldList) bool {
	e := r.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

// Tests wait for conditions or use a fake clock, and none is left out.
func TestTestsNeitherSleepNorSkip(t *testing.T) {
	for _, f := range sources(t) {
		if !f.test {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			from, ok := s.X.(*ast.Ident)
			if !ok {
				return true
			}
			if from.Name == "time" && s.Sel.Name == "Sleep" && !bytes.Contains(f.source, []byte("testing/synctest")) {
				t.Errorf("%s sleeps", f.set.Position(n.Pos()))
			}
			if (from.Name == "t" || from.Name == "tb") && strings.HasPrefix(s.Sel.Name, "Skip") {
				t.Errorf("%s skips", f.set.Position(n.Pos()))
			}
			return true
		})
	}
}
