package control

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent"
)

const (
	documentFile = "../../docs/commands.md"
	generated    = "<!-- Everything below is written by `go test ./agent/control -run TestDocument -update` from the command table and package agent. -->\n"
)

// TestDocument fails when docs/commands.md does not say what the code does; with -update it writes the generated part.
func TestDocument(t *testing.T) {
	have, err := os.ReadFile(documentFile)
	must(t, err)
	intro, rest, ok := strings.Cut(string(have), generated)
	if !ok {
		t.Fatalf("%s has no line %q", documentFile, generated)
	}
	want := newDocument(t).write()
	if *update {
		must(t, os.WriteFile(documentFile, []byte(intro+generated+want), 0o644))
	} else if rest != want {
		t.Errorf("%s is stale; -update writes it", documentFile)
	}
}

// document writes what can be known from the code.
type document struct {
	t        *testing.T
	out      strings.Builder
	comments map[string]string     // of types, and of fields by Type.Field
	values   map[string][]string   // constants by their type, with comments
	position map[string]int        // of types in the source
	shapes   map[reflect.Type]bool // JSON objects that are to be described
	order    []reflect.Type
}

func newDocument(t *testing.T) *document {
	d := &document{t: t, comments: map[string]string{}, values: map[string][]string{}, position: map[string]int{}, shapes: map[reflect.Type]bool{}}
	for _, folder := range []string{"..", "."} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		must(t, err)
		slices.Sort(files)
		for _, file := range files {
			syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			must(t, err)
			ast.Inspect(syntax, d.note)
		}
	}
	return d
}

// note takes in the comments of a type and of its fields, and the constants of a type.
func (d *document) note(n ast.Node) bool {
	if g, ok := n.(*ast.GenDecl); ok && g.Tok == token.TYPE && len(g.Specs) == 1 {
		d.comments[g.Specs[0].(*ast.TypeSpec).Name.Name] = text(g.Doc)
	}
	switch spec := n.(type) {
	case *ast.ValueSpec:
		typ, typed := spec.Type.(*ast.Ident)
		if !typed || len(spec.Values) != 1 {
			break
		}
		if value, ok := spec.Values[0].(*ast.BasicLit); ok && value.Kind == token.STRING {
			line := strings.Trim(value.Value, `"`)
			if comment := text(spec.Comment); comment != "" {
				line += " (" + comment + ")"
			}
			d.values[typ.Name] = append(d.values[typ.Name], line)
		}
	case *ast.TypeSpec:
		d.position[spec.Name.Name] = len(d.position)
		d.comments[spec.Name.Name] = cmp.Or(text(spec.Doc), d.comments[spec.Name.Name])
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range s.Fields.List {
				for _, name := range f.Names {
					d.comments[spec.Name.Name+"."+name.Name] = cmp.Or(text(f.Comment), text(f.Doc))
				}
			}
		}
	}
	return true
}

func text(g *ast.CommentGroup) string { return strings.Join(strings.Fields(g.Text()), " ") }

// commandNames are the names that methods of package agent have in the protocol.
var commandNames = map[string]string{
	"Allow": "LET", "Accept": "ACPT", "Reject": "RJCT", "Ack": "ACK", "Send": "SEND", "Group": "GLS", "GroupJoin": "GJOIN",
	"GroupReject": "GREJECT", "GroupAdd": "GADD", "GroupRefuse": "GREJECT", "GroupLink": "GLINK", "GroupRemove": "GMDEL", "GroupFork": "GFORK", "GroupRepair": "GREPAIR", "GroupRecover": "GRECOVER", "GroupDirectAccept": "GACPT", "GroupDirectReject": "GDREJ",
	"CreateConnection": "NEW", "JoinConnection": "JOIN", "Open": "the start",
}

var goName = regexp.MustCompile(`\b[A-Z][A-Za-z]*\b`)

// inProtocol gives a comment the names of the protocol: of commands, of the type that it is about, and of its fields.
func (d *document) inProtocol(comment string, about reflect.Type) string {
	if rest, ok := strings.CutPrefix(comment, about.Name()+" "); ok {
		comment = shapeName(about) + " " + rest
	}
	return goName.ReplaceAllStringFunc(comment, func(name string) string {
		if f, ok := about.FieldByName(name); ok && !f.Anonymous {
			json, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			return "`" + json + "`"
		}
		return cmp.Or(commandNames[name], name)
	})
}

func (d *document) printf(format string, args ...any) { fmt.Fprintf(&d.out, format, args...) }

func (d *document) write() string {
	d.writeCommands()
	d.writeEvents()
	d.writeShapes()
	d.writeErrors()
	return d.out.String()
}

func (d *document) writeCommands() {
	d.printf(`
## Commands

What is in brackets may be left out, from the end. ` + "`<x>` is a body, `{x}` a body of JSON" + `, everything else is a word. The column *for* has the entity
line of the command; the answer has the same unless it says otherwise.
`)
	section := ""
	for i, row := range References() {
		if row.Section != section {
			section = row.Section
			d.printf("\n### %s\n\n| command | for | answer | what it does |\n|---|---|---|---|\n", section)
		}
		entity := map[string]string{"": "–", "C:": "connection", "G:": "group"}[row.Entity]
		d.printf("| `%s` | %s | `%s` | %s |\n", strings.ReplaceAll(strings.TrimSpace(row.Name+" "+row.Parameters), "|", "\\|"), entity, row.Answer, row.Help+d.bodies(commands[i]))
	}
}

// bodies says what the JSON bodies of a command and of its answer are.
func (d *document) bodies(c command) (out string) {
	for _, typ := range []reflect.Type{c.params, c.result} {
		if _, body := layout(typ); body != nil && body.json {
			out += fmt.Sprintf("; `{%s}`: %s", body.name, d.kind(typ.Field(body.index).Type))
		}
	}
	return out
}

func (d *document) writeEvents() {
	d.printf(`
## Events

An event is told as its type, its number and its JSON: ` + "`{\"seq\":…,\"time\":…,\"entity\":…,\"type\":…,\"data\":{…}}`" + `. What data has:

| event | when | data |
|---|---|---|
`)
	types := agent.EventTypes()
	names := slices.SortedFunc(maps.Keys(types), func(a, b string) int {
		return cmp.Compare(d.position[reflect.TypeOf(types[a]).Elem().Name()], d.position[reflect.TypeOf(types[b]).Elem().Name()])
	})
	for _, name := range names {
		typ := reflect.TypeOf(types[name]).Elem()
		_, comment, ok := strings.Cut(d.comments[typ.Name()], "("+name+"): ")
		if !ok {
			d.t.Errorf("comment of %s does not begin with its name and %q", typ.Name(), "("+name+"): ")
		}
		d.printf("| `%s` | %s | %s |\n", name, d.inProtocol(comment, typ), strings.Join(d.fields(typ), "<br>"))
	}
}

// fields describes the fields of a JSON object.
func (d *document) fields(typ reflect.Type) (out []string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Anonymous {
			out = append(out, d.fields(f.Type)...)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		line := fmt.Sprintf("`%s` %s", name, d.kind(f.Type))
		if strings.Contains(options, "omit") {
			line = fmt.Sprintf("[`%s`] %s", name, d.kind(f.Type))
		}
		comment := d.comments[typ.Name()+"."+f.Name]
		if values := d.values[f.Type.Name()]; len(values) > 0 {
			comment = strings.TrimPrefix(comment+": "+strings.Join(values, ", "), ": ")
		}
		if comment != "" {
			line += ": " + d.inProtocol(comment, typ)
		}
		out = append(out, line)
	}
	return out
}

// kind names the JSON form of a type.
func (d *document) kind(typ reflect.Type) string {
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return "time"
	case typ == reflect.TypeFor[[]byte]():
		return "base64"
	}
	switch typ.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Int, reflect.Int64, reflect.Uint16, reflect.Uint64:
		return "number"
	case reflect.Pointer:
		return d.kind(typ.Elem())
	case reflect.Slice:
		return "array of " + d.kind(typ.Elem())
	case reflect.Map:
		return "object with " + d.kind(typ.Elem()) + " by name"
	case reflect.Struct:
		d.shape(typ)
		return fmt.Sprintf("[%s](#%s)", shapeName(typ), strings.ToLower(shapeName(typ)))
	}
	d.t.Errorf("no JSON form of %s", typ)
	return ""
}

func shapeName(typ reflect.Type) string {
	return strings.ToUpper(typ.Name()[:1]) + typ.Name()[1:]
}

// shape asks for a section about a JSON object.
func (d *document) shape(typ reflect.Type) {
	for typ.Kind() == reflect.Slice || typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.Kind() == reflect.Struct && !d.shapes[typ] {
		d.shapes[typ] = true
		d.order = append(d.order, typ)
	}
}

func (d *document) writeShapes() {
	d.printf("\n## JSON objects\n\nTimes are as in RFC 3339. A field in brackets is left out when it is empty.\n")
	for i := 0; i < len(d.order); i++ { // describing one may ask for others
		typ := d.order[i]
		d.printf("\n### %s\n\n", shapeName(typ))
		if comment := d.comments[typ.Name()]; comment != "" {
			d.printf("%s\n\n", d.inProtocol(comment, typ))
		}
		for _, f := range d.fields(typ) {
			d.printf("- %s\n", f)
		}
	}
}

func (d *document) writeErrors() {
	d.printf("\n## Errors\n\n| code | meaning |\n|---|---|\n")
	all := Errors()
	for _, code := range slices.Sorted(maps.Keys(all)) {
		d.printf("| `%s` | %s |\n", code, all[code])
	}
	d.printf("\nErrors that events report have the codes of [protocol.md](protocol.md#errors-of-agents), and `SMP` with the words of a relay.\n")
}
