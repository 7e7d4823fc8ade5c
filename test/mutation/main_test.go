package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Every mutation applies to the source as it is: a list that does not is worth nothing.
func TestEveryMutationApplies(t *testing.T) {
	if len(mutations) < 30 {
		t.Errorf("only %d mutations", len(mutations))
	}
	names := map[string]bool{}
	for _, m := range mutations {
		if names[m.name] || m.packages == "" {
			t.Errorf("%q: a name twice, or no packages", m.name)
		}
		names[m.name] = true
		source, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(m.file)))
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := m.apply(string(source)); err != nil {
			t.Error(err)
		}
	}
}

func TestFailingTestIsNamed(t *testing.T) {
	for out, want := range map[string]string{
		"=== RUN\n--- FAIL: TestA (0.00s)\n    a_test.go:1: x\nFAIL\n": "`TestA`",
		"panic: index out of range\n\ngoroutine 1\n":                   "panic: index out of range",
		"# comment\n\nFAIL	example [build failed]\n":                   "FAIL	example [build failed]",
	} {
		if got := failure([]byte(out)); got != want {
			t.Errorf("%q: %q", out, got)
		}
	}
}
