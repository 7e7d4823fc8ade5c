// Command mutation checks the tests: it applies one deliberate bug after the other (list.go) to a copy of the module and
// requires that the tests of the named packages fail. `make mutation` runs all of them, with arguments only those whose
// names contain one of the arguments. A mutation that does not compile, whose text is not found exactly once, or that no
// test notices makes it fail. The last result is in docs/soak.md.
//
// All bugs are compiled at once, each as a copy of the function that it is in (plant.go); the environment chooses which
// one a run of the tests has. So a bug costs a run of the tests and no compilation.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// mutation is one deliberate bug.
type mutation struct {
	name     string
	file     string // from the top of the module
	packages string // whose tests must fail, separated by spaces
	test     string // that is known to notice it and runs first; empty: not known
	old, new string // old is in the file exactly once
}

// apply returns the changed file.
func (m mutation) apply(source string) (string, error) {
	if n := strings.Count(source, m.old); n != 1 || m.old == m.new {
		return "", fmt.Errorf("%s: the text to change is %d times in %s", m.name, n, m.file)
	}
	return strings.Replace(source, m.old, m.new, 1), nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string) error {
	chosen := slices.DeleteFunc(slices.Clone(mutations), func(m mutation) bool {
		return len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return strings.Contains(m.name, n) })
	})
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutation")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l := &lab{dir: dir}
	if err := copyModule(filepath.Dir(strings.TrimSpace(string(gomod))), l.dir); err != nil {
		return err
	}
	if err := l.build(ctx, chosen); err != nil {
		return err
	}
	if len(names) == 0 {
		if err := l.baseline(ctx, chosen); err != nil {
			return err
		}
	}
	bad := 0
	fmt.Println("| mutation | caught by | seconds |\n|---|---|---|")
	for _, m := range chosen {
		began := time.Now()
		by, err := l.try(ctx, m)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			bad++
			by = "**" + err.Error() + "**"
		}
		fmt.Printf("| %s | %s | %.0f |\n", m.name, by, time.Since(began).Seconds())
	}
	if bad > 0 || len(chosen) == 0 {
		return fmt.Errorf("%d of %d mutations are not caught", bad, len(chosen))
	}
	fmt.Printf("\n%d mutations, all caught\n", len(chosen))
	return nil
}

// copyModule copies what tests may need: all files but hidden ones and what is built.
func copyModule(from, to string) error {
	return filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, name)
		switch {
		case err != nil:
			return err
		case relative != "." && strings.HasPrefix(entry.Name(), "."), relative == "bin":
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, relative), 0o700)
		case !entry.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, relative), b, 0o600)
	})
}

// failure names the first test that failed.
func failure(out []byte) string {
	for line := range bytes.Lines(out) {
		if rest, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("--- FAIL: ")); ok {
			return "`" + strings.Fields(string(rest))[0] + "`"
		}
		if bytes.HasPrefix(line, []byte("panic: ")) {
			return strings.TrimSpace(string(line))
		}
	}
	return firstLine(out)
}

func firstLine(out []byte) string {
	for line := range bytes.Lines(out) {
		if s := strings.TrimSpace(string(line)); s != "" && !strings.HasPrefix(s, "#") {
			return s
		}
	}
	return "no output"
}
