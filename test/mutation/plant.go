package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
)

// planted is a source file with bugs in it. Bug n is a copy of a function, behind the original ones; the original calls
// it if the variable mutant has the value n.
type planted struct {
	file    string
	source  string
	bugs    map[int]mutation // by number
	lines   map[int]int      // the line behind which the copy of a bug begins
	outside []mutation       // that are in no function
}

// plant puts bugs into a file. Their numbers are the keys.
func plant(file, source string, bugs map[int]mutation) (*planted, error) {
	p := &planted{file: file, bugs: bugs, lines: map[int]int{}}
	var edits []edit
	var copies strings.Builder
	first := strings.Count(source, "\n")
	for _, n := range sortedNumbers(bugs) {
		changed, err := bugs[n].apply(source)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("mutant%d", n)
		f, err := functionAt(file, changed, strings.Index(source, bugs[n].old), len(bugs[n].new))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", bugs[n].name, err)
		}
		if f == nil {
			p.outside = append(p.outside, bugs[n])
			continue
		}
		at := f.offset(f.decl.Name.Pos())
		text := changed[f.offset(f.decl.Pos()):at] + name + changed[f.offset(f.decl.Name.End()):f.offset(f.decl.End())]
		edits = append(edits, f.dispatch(n, name)...)
		p.lines[n] = first + strings.Count(copies.String(), "\n")
		copies.WriteString("\n" + text + "\n")
	}
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(b.at, a.at) })
	p.source = source
	seen := map[edit]bool{}
	added := 0
	for _, e := range edits {
		if seen[e] {
			continue
		}
		seen[e] = true
		p.source = p.source[:e.at] + e.text + p.source[e.upTo:]
		added += strings.Count(e.text, "\n")
	}
	for n := range p.lines {
		p.lines[n] += added
	}
	p.source += copies.String()
	return p, nil
}

// at returns the number of the bug whose copy a line belongs to; 0 if it belongs to none.
func (p *planted) at(line int) (bug int) {
	for n, from := range p.lines {
		if line > from && (bug == 0 || from > p.lines[bug]) {
			bug = n
		}
	}
	return bug
}

func sortedNumbers(bugs map[int]mutation) (ns []int) {
	for n := range bugs {
		ns = append(ns, n)
	}
	slices.Sort(ns)
	return ns
}

// edit replaces a part of a source.
type edit struct {
	at, upTo int
	text     string
}

// function is a function that has a bug, in the source with it.
type function struct {
	decl *ast.FuncDecl
	file *token.File
}

func (f *function) offset(p token.Pos) int { return f.file.Offset(p) }

// functionAt returns the function around a place of a source; nil if it is in none.
func functionAt(name, source string, from, size int) (*function, error) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, path.Base(name), source, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("does not compile: %w", err)
	}
	f := &function{file: set.File(parsed.Pos())}
	for _, d := range parsed.Decls {
		decl, ok := d.(*ast.FuncDecl)
		if !ok || decl.Body == nil || f.offset(decl.Body.Pos()) > from || from+size > f.offset(decl.End()) {
			continue
		}
		if decl.Type.TypeParams == nil {
			f.decl = decl
			return f, nil
		}
	}
	return nil, nil
}

// dispatch returns what has to be changed in the function without the bug. All but its body is the same there as with it.
func (f *function) dispatch(n int, name string) (edits []edit) {
	var arguments []string
	unnamed := 0
	names := func(fields *ast.FieldList) {
		if fields == nil {
			return
		}
		for _, field := range fields.List {
			rest := ""
			if _, variadic := field.Type.(*ast.Ellipsis); variadic {
				rest = "..."
			}
			if len(field.Names) == 0 {
				unnamed++
				given := fmt.Sprintf("unnamed%d", unnamed)
				at := f.offset(field.Type.Pos())
				edits = append(edits, edit{at, at, given + " "})
				arguments = append(arguments, given+rest)
			}
			for _, id := range field.Names {
				given := id.Name
				if given == "_" {
					unnamed++
					given = fmt.Sprintf("unnamed%d", unnamed)
					edits = append(edits, edit{f.offset(id.Pos()), f.offset(id.End()), given})
				}
				arguments = append(arguments, given+rest)
			}
		}
	}
	call := name
	if f.decl.Recv != nil {
		names(f.decl.Recv)
		call, arguments = arguments[0]+"."+name, nil
	}
	names(f.decl.Type.Params)
	call += "(" + strings.Join(arguments, ", ") + ")"
	if f.decl.Type.Results != nil && len(f.decl.Type.Results.List) > 0 {
		call = "return " + call
	} else {
		call += "; return"
	}
	at := f.offset(f.decl.Body.Pos()) + 1
	return append(edits, edit{at, at, fmt.Sprintf(" if mutant == %d { %s };", n, call)})
}
