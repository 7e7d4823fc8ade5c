// Package docs_test keeps the documents true: what the source cites exists, links lead somewhere, and tables that repeat
// the source say what it says (docs/overview.md).
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// top is the folder of the module.
var top = filepath.Join("..", "..")

// document is one file of docs/.
type document struct {
	name   string
	lines  []string // without code blocks
	titles []string // of sections, as written
}

func documents(t *testing.T) map[string]*document {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top, "docs", "*.md"))
	if err != nil || len(files) < 4 {
		t.Fatalf("found %d documents: %v", len(files), err)
	}
	all := map[string]*document{}
	for _, file := range files {
		d := &document{name: filepath.Base(file)}
		code := false
		for line := range strings.Lines(read(t, file)) {
			line = strings.TrimRight(line, "\n")
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				code = !code
				continue
			}
			if code {
				continue
			}
			d.lines = append(d.lines, line)
			if title := strings.TrimLeft(line, "#"); title != line && strings.HasPrefix(title, " ") {
				d.titles = append(d.titles, strings.TrimSpace(title))
			}
		}
		if code {
			t.Errorf("%s: a code block does not end", d.name)
		}
		all[d.name] = d
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// rows returns the cells of all tables in the section with this title and in the sections below it, without the head of
// each table.
func (d *document) rows(t *testing.T, title string) (rows [][]string) {
	t.Helper()
	level := 0
	for i, line := range d.lines {
		if hashes := len(line) - len(strings.TrimLeft(line, "#")); hashes > 0 {
			switch {
			case strings.TrimSpace(line[hashes:]) == title:
				level = hashes
			case level > 0 && hashes <= level:
				level = 0
			}
		}
		if level == 0 || !strings.HasPrefix(line, "|") || i+1 < len(d.lines) && strings.HasPrefix(d.lines[i+1], "|---") ||
			strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.ReplaceAll(line, `\|`, "\x00"), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "\x00", "|"))
		}
		rows = append(rows, cells)
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no table in %q", d.name, title)
	}
	return rows
}

var quoted = regexp.MustCompile("`([^`]+)`")

// code returns what stands in backquotes.
func code(cell string) (names []string) {
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		names = append(names, m[1])
	}
	return names
}

// sources parses the Go files below a folder of the module, by their slash-separated names.
func sources(t *testing.T, folder string, tests bool) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	err := filepath.WalkDir(filepath.Join(top, filepath.FromSlash(folder)), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && strings.Trim(entry.Name(), ".") != "" {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(name, ".go") || !tests && strings.HasSuffix(name, "_test.go") {
			return nil
		}
		relative, err := filepath.Rel(top, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		files[filepath.ToSlash(relative)] = file
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files: %v", folder, len(files), err)
	}
	return files
}

// literals returns the string literals of a file.
func literals(file *ast.File) (all []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			all = append(all, strings.Trim(l.Value, "`\""))
		}
		return true
	})
	return all
}

// same compares what the source has with what a document says, whatever the order.
func same(t *testing.T, what string, source, text []string) {
	t.Helper()
	for _, s := range source {
		if !slices.Contains(text, s) {
			t.Errorf("%s: %q is not documented", what, s)
		}
	}
	for i, s := range text {
		if !slices.Contains(source, s) {
			t.Errorf("%s: %q is documented and does not exist", what, s)
		}
		if slices.Contains(text[:i], s) {
			t.Errorf("%s: %q is documented twice", what, s)
		}
	}
}

var (
	citation = regexp.MustCompile(`docs/([a-z-]+\.md)((?:(?:,| and|, and) "[^"]+")*)`)
	inQuotes = regexp.MustCompile(`"([^"]+)"`)
)

// citations calls f for every document that a text cites, with the titles of sections.
func citations(text string, f func(name string, titles []string)) {
	text = strings.Join(strings.Fields(text), " ")
	for _, m := range citation.FindAllStringSubmatch(text, -1) {
		var titles []string
		for _, title := range inQuotes.FindAllStringSubmatch(m[2], -1) {
			titles = append(titles, strings.TrimRight(title[1], ","))
		}
		f(m[1], titles)
	}
}

// texts returns what cites documents: the comments of all Go files and the notes beside test data.
func texts(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for name, file := range sources(t, ".", true) {
		for _, group := range file.Comments {
			all[name] = append(all[name], group.Text())
		}
	}
	err := filepath.WalkDir(top, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(name, ".md") && strings.Contains(filepath.ToSlash(name), "/testdata/") {
			all[filepath.ToSlash(name)] = []string{read(t, name)}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestCitationsFindTheirSections(t *testing.T) {
	all, found := documents(t), 0
	for file, parts := range texts(t) {
		for _, text := range parts {
			citations(text, func(name string, titles []string) {
				d := all[name]
				if d == nil {
					t.Errorf("%s cites docs/%s, which does not exist", file, name)
					return
				}
				for _, title := range titles {
					found++
					if !slices.Contains(d.titles, title) {
						t.Errorf("%s cites docs/%s, %q: there is no such section", file, name, title)
					}
				}
			})
		}
	}
	if found < 50 {
		t.Errorf("found only %d citations", found)
	}
}

func TestCitationsAreRecognised(t *testing.T) {
	var got []string
	citations("see docs/a.md, \"One\" and\n\"Two three\", and docs/b-c.md; docs/d.md, \"Four\",\n\"Five\", step 1.", func(name string, titles []string) {
		got = append(got, name+": "+strings.Join(titles, "/"))
	})
	if want := []string{"a.md: One/Two three", "b-c.md: ", "d.md: Four/Five"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

var (
	linkTarget = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	notInSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// slug is the anchor that a section gets where documents are usually read.
func slug(title string) string {
	return strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
}

func TestLinksLeadSomewhere(t *testing.T) {
	all, found := documents(t), 0
	for _, d := range all {
		for _, line := range d.lines {
			for _, m := range linkTarget.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				found++
				file, anchor, _ := strings.Cut(m[1], "#")
				to := d
				if file != "" {
					to = all[file]
				}
				if to == nil {
					_, err := os.Stat(filepath.Join(top, "docs", filepath.FromSlash(file)))
					if err != nil {
						t.Errorf("%s: link to %s, which does not exist", d.name, file)
					}
					continue
				}
				if anchor != "" && !slices.ContainsFunc(to.titles, func(title string) bool { return slug(title) == anchor }) {
					t.Errorf("%s: link to %s: there is no such section", d.name, m[1])
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("found only %d links", found)
	}
}

func TestSectionsHaveDifferentNames(t *testing.T) {
	for _, d := range documents(t) {
		for i, title := range d.titles {
			if slices.Contains(d.titles[:i], title) {
				t.Errorf("%s: two sections are called %q", d.name, title)
			}
		}
	}
}
