package main

import (
	"go/format"
	"strconv"
	"strings"
	"testing"
)

const field = `package field

import "fmt"

const size = 3

type T struct{ n int }

func (t *T) add(by int, more ...int) (int, error) {
	t.n += by
	return t.n + len(more), nil
}

func (T) Format(_ fmt.State, verb rune) { fmt.Print("one") }

func plain() { fmt.Print("two"); fmt.Print("three") }
`

// A bug is a copy of its function that the original calls, whatever the function looks like.
func TestPlantedBugsAreChosenByNumber(t *testing.T) {
	bug := func(old, new string) mutation { return mutation{name: old, file: "field/field.go", old: old, new: new} }
	p, err := plant("field/field.go", field, map[int]mutation{
		1: bug("t.n += by", "t.n -= by"),
		2: bug("len(more)", "0"),
		3: bug(`"one"`, `"1"`),
		4: bug(`fmt.Print("two"); `, ""),
		5: bug("size = 3", "size = 4"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := format.Source([]byte(p.source)); err != nil {
		t.Fatalf("%v in\n%s", err, p.source)
	}
	for _, want := range []string{
		"if mutant == 1 { return t.mutant1(by, more...) };",
		"if mutant == 2 { return t.mutant2(by, more...) };",
		"func (unnamed1 T) Format(unnamed2 fmt.State, verb rune) { if mutant == 3 { unnamed1.mutant3(unnamed2, verb); return };",
		"func plain() { if mutant == 4 { mutant4(); return };",
		"func (t *T) mutant1(by int, more ...int) (int, error) {\n\tt.n -= by\n\treturn t.n + len(more), nil\n}",
		"func (t *T) mutant2(by int, more ...int) (int, error) {\n\tt.n += by\n\treturn t.n + 0, nil\n}",
		`func mutant4() { fmt.Print("three") }`,
		"const size = 3",
	} {
		if !strings.Contains(p.source, want) {
			t.Errorf("%q is not in\n%s", want, p.source)
		}
	}
	if len(p.outside) != 1 || p.outside[0].new != "size = 4" {
		t.Errorf("outside of functions: %v", p.outside)
	}
	for i, line := range strings.Split(p.source, "\n") {
		for n, text := range map[int]string{0: "package field", 1: "t.n -= by", 2: "t.n + 0", 4: `{ fmt.Print("three") }`} {
			if got := p.at(i + 1); strings.Contains(line, text) && got != n {
				t.Errorf("line %d, %q: bug %d, want %d", i+1, line, got, n)
			}
		}
	}
}

// What the compiler refuses is taken out, and nothing else.
func TestBugsThatDoNotCompileAreLeftOut(t *testing.T) {
	bugs := map[int]mutation{
		1: {name: "good", file: "field/field.go", old: "t.n += by", new: "t.n -= by"},
		2: {name: "bad", file: "field/field.go", old: "len(more)", new: "none"},
	}
	p, err := plant("field/field.go", field, bugs)
	if err != nil {
		t.Fatal(err)
	}
	line := 1 + strings.Count(p.source[:strings.Index(p.source, "none")], "\n")
	l := &lab{broken: map[string]string{}}
	files := map[string]map[int]mutation{"field/field.go": bugs}
	out := []byte("# field\nfield/field.go:" + strconv.Itoa(line) + ":15: undefined: none\n")
	if !l.leaveOut(map[string]*planted{"field/field.go": p}, files, out) {
		t.Error("nothing was left out")
	}
	if l.broken["bad"] != "undefined: none" || len(l.broken) != 1 || len(bugs) != 1 || bugs[1].name != "good" {
		t.Errorf("left out: %v; still there: %v", l.broken, bugs)
	}
	if l.leaveOut(map[string]*planted{"field/field.go": p}, files, []byte("field/field.go:1:1: no package\n")) {
		t.Error("an error of the file itself was taken for a bug's")
	}
}

func TestEveryTestRunsInSomeRound(t *testing.T) {
	rounds := mutation{test: "TestA"}.rounds()
	if len(rounds) != 3 || rounds[0][1] != "^(TestA)$" || rounds[1][0] != "-test.skip" || rounds[2][0] != "-test.run" ||
		rounds[1][1] != rounds[2][1] {
		t.Errorf("rounds: %q", rounds)
	}
}
