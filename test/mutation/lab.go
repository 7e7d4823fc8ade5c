package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// lab is a copy of the module with all bugs in it, and its tests, compiled.
type lab struct {
	dir     string
	numbers map[string]int // of the bugs that are planted, by name
	broken  map[string]string
	outside map[string]bool // bugs that are in no function
}

const variable = "COTERIE_MUTANT"

// chooser makes the variable mutant in a package with bugs.
const chooser = `package %s

import (
	"os"
	"strconv"
)

var mutant, _ = strconv.Atoi(os.Getenv("` + variable + `"))
`

// build plants the bugs and compiles the tests. Those that do not compile are left out and remembered.
func (l *lab) build(ctx context.Context, bugs []mutation) error {
	l.numbers, l.broken, l.outside = map[string]int{}, map[string]string{}, map[string]bool{}
	files := map[string]map[int]mutation{}
	original := map[string]string{}
	for i, m := range bugs {
		l.numbers[m.name] = i + 1
		if files[m.file] == nil {
			source, err := os.ReadFile(l.path(m.file))
			if err != nil {
				return err
			}
			files[m.file], original[m.file] = map[int]mutation{}, string(source)
		}
		files[m.file][i+1] = m
	}
	all := packagesOf(bugs)
	for {
		planted := map[string]*planted{}
		for name, bugs := range files {
			p, err := plant(name, original[name], bugs)
			if err != nil {
				return err
			}
			planted[name] = p
			for _, m := range p.outside {
				l.outside[m.name] = true
			}
			if err := l.write(p); err != nil {
				return err
			}
		}
		out, err := l.compile(ctx, "", all...)
		if err == nil {
			return nil
		}
		if !l.leaveOut(planted, files, out) {
			return fmt.Errorf("the copy does not compile:\n%s", out)
		}
	}
}

func (l *lab) path(file string) string { return filepath.Join(l.dir, filepath.FromSlash(file)) }

// write writes a file with bugs, and beside it what chooses one.
func (l *lab) write(p *planted) error {
	if err := os.WriteFile(l.path(p.file), []byte(p.source), 0o600); err != nil {
		return err
	}
	name := packageClause.FindStringSubmatch(p.source)[1]
	return os.WriteFile(l.path(path.Join(path.Dir(p.file), "mutant.go")), fmt.Appendf(nil, chooser, name), 0o600)
}

var (
	packageClause = regexp.MustCompile(`(?m)^package (\w+)$`)
	compilerError = regexp.MustCompile(`(?m)^(?:vet: )?(?:\./)?([\w/.]+\.go):(\d+):\d+: (.*)$`)
)

// leaveOut takes the bugs out that the compiler refused; false if there are none.
func (l *lab) leaveOut(planted map[string]*planted, files map[string]map[int]mutation, out []byte) (some bool) {
	for _, found := range compilerError.FindAllSubmatch(out, -1) {
		p := planted[string(found[1])]
		if p == nil {
			continue
		}
		line, _ := strconv.Atoi(string(found[2]))
		if n := p.at(line); n != 0 {
			m := p.bugs[n]
			l.broken[m.name] = string(found[3])
			delete(files[p.file], n)
			some = true
		}
	}
	return some
}

// packagesOf returns the packages whose tests bugs need, ascending.
func packagesOf(bugs []mutation) (all []string) {
	for _, m := range bugs {
		all = append(all, strings.Fields(m.packages)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func binaryOf(of, kind string) string {
	return strings.ReplaceAll(path.Clean(of), "/", "_") + kind + ".test"
}

// compile makes the test binaries of packages; kind tells them from others of the same packages.
func (l *lab) compile(ctx context.Context, kind string, packages ...string) (out []byte, err error) {
	for _, p := range packages {
		c := exec.CommandContext(ctx, "go", "test", "-c", "-gcflags=-e", "-vet=off", "-o", binaryOf(p, kind), p)
		c.Dir = l.dir
		o, e := c.CombinedOutput()
		out, err = append(out, o...), errors.Join(err, e)
	}
	return out, err
}

// baseline runs the tests without a bug: else all bugs would seem to be caught.
func (l *lab) baseline(ctx context.Context, bugs []mutation) error {
	for _, p := range packagesOf(bugs) {
		if out, err := l.test(ctx, p, "", 0); err != nil {
			return fmt.Errorf("the tests of %s fail without a bug: %s", p, failure(out))
		}
	}
	return nil
}

// try runs the tests with one bug, until one fails. It returns which test failed.
func (l *lab) try(ctx context.Context, m mutation) (by string, err error) {
	if why, broken := l.broken[m.name]; broken {
		return "", fmt.Errorf("does not compile: %s", why)
	}
	kind := ""
	if l.outside[m.name] {
		back, err := l.change(ctx, m)
		if err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, back()) }()
		kind = "_changed"
	}
	for _, which := range m.rounds() {
		for _, p := range strings.Fields(m.packages) {
			if out, err := l.test(ctx, p, kind, l.numbers[m.name], which...); err != nil {
				return failure(out), nil
			}
		}
	}
	return "", errors.New("survives")
}

// change applies a bug that is in no function, and compiles the tests again. back takes it back.
func (l *lab) change(ctx context.Context, m mutation) (back func() error, err error) {
	source, err := os.ReadFile(l.path(m.file))
	if err != nil {
		return nil, err
	}
	changed, err := m.apply(string(source))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(l.path(m.file), []byte(changed), 0o600); err != nil {
		return nil, err
	}
	back = func() error { return os.WriteFile(l.path(m.file), source, 0o600) }
	if out, err := l.compile(ctx, "_changed", strings.Fields(m.packages)...); err != nil {
		return nil, errors.Join(fmt.Errorf("does not compile: %s", firstLine(out)), back())
	}
	return back, nil
}

// slow are tests that take most of the time of their packages: they run when the others have noticed nothing.
const slow = "^(TestLimits|TestHostile|TestIncrementalEqualsPlainOnManyGraphs|TestResolveAgreesWithTheModel)$"

// rounds are the runs of the tests, one after the other until one fails; together they are all tests of the packages.
func (m mutation) rounds() [][]string {
	all := [][]string{{"-test.skip", slow}, {"-test.run", slow}}
	if m.test == "" {
		return all
	}
	return slices.Insert(all, 0, []string{"-test.run", "^(" + m.test + ")$"})
}

// test runs tests of a package with a bug; 0 is none.
func (l *lab) test(ctx context.Context, of, kind string, bug int, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, filepath.Join(l.dir, binaryOf(of, kind)), append([]string{
		"-test.short", "-test.failfast", "-test.timeout=5m", "-test.paniconexit0",
	}, args...)...)
	c.Dir = l.path(path.Clean(of))
	c.Env = append(os.Environ(), "COTERIE_SOAK=", variable+"="+strconv.Itoa(bug))
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}
