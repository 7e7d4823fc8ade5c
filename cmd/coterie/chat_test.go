package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent/control"
	agentstore "github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/test/world"
)

// person is somebody at `coterie chat`, with an agent behind a real socket.
type person struct {
	t     *testing.T
	typed *io.PipeWriter
	ended chan error

	mu      sync.Mutex
	screen  string        // guarded by mu
	changed chan struct{} // closed and replaced at every output; guarded by mu
}

func sitDown(t *testing.T, relay queue.Server, name string) *person {
	t.Helper()
	folder := t.TempDir()
	socket := filepath.Join(folder, "agent.sock")
	if _, err := agentstore.WriteKeyFile(filepath.Join(folder, "agent.key"), rand.Reader); err != nil {
		t.Fatal(err)
	}
	server, err := control.Listen(socket, world.NewAgent(t, relay).Agent, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(ctx) })
	t.Cleanup(func() { cancel(); serving.Wait() })

	input, typed := io.Pipe()
	p := &person{t: t, typed: typed, ended: make(chan error, 1), changed: make(chan struct{})}
	root := newRoot()
	root.SetArgs([]string{"chat", "--name", name, "--folder", folder})
	root.SetIn(input)
	root.SetOut(p)
	go func() { p.ended <- root.ExecuteContext(ctx) }()
	return p
}

// Write takes what the program prints.
func (p *person) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.screen += string(b)
	close(p.changed)
	p.changed = make(chan struct{})
	return len(b), nil
}

func (p *person) types(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.typed, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// sees waits until the screen has what fits the pattern, takes everything up to it away, and returns it.
func (p *person) sees(pattern string) string {
	p.t.Helper()
	expression := regexp.MustCompile(pattern)
	deadline := time.NewTimer(10 * time.Minute)
	defer deadline.Stop()
	for {
		p.mu.Lock()
		at, changed := expression.FindStringIndex(p.screen), p.changed
		if at != nil {
			found := p.screen[at[0]:at[1]]
			p.screen = p.screen[at[1]:]
			p.mu.Unlock()
			return found
		}
		screen := p.screen
		p.mu.Unlock()
		select {
		case <-changed:
		case <-deadline.C:
			p.t.Fatalf("does not see %q but\n%s", pattern, screen)
		}
	}
}

func (p *person) leaves() {
	p.t.Helper()
	p.types("/quit")
	if err := <-p.ended; err != nil {
		p.t.Error(err)
	}
}

func TestTwoPeopleChat(t *testing.T) {
	relay := world.StartRelay(t)
	ann, ben := sitDown(t, relay, "ann"), sitDown(t, relay, "ben")
	ann.types("/invite")
	ben.types("/connect " + ann.sees(`simplex:\S+`))
	ann.sees(`@ben · connected`)
	ben.sees(`@ann · connected`)
	ann.types("@ben hello \x1b[31mben")
	ben.sees(`@ann ann: hello \[31mben`) // no control characters on anybody's screen
	ann.types("/group our friends")
	ann.sees(`is made`)
	ann.types("/add our_friends ben")
	ben.sees(`ann invites you to "our friends"`)
	ben.types("/join")
	ann.sees(`#our friends · you added ben`)
	ben.sees(`#our friends · joined, 2 members`)
	ben.types("#our_friends hi all")
	ann.sees(`#our friends ben: hi all`)
	ann.types("/members our_friends")
	ann.sees(`ben +member +connected`)
	ben.types("/direct our_friends ann")
	ann.sees(`a member asks for a direct connection \(from ben\)`)
	ann.types("/accept")
	ann.sees(`@ben · connected directly`)
	ben.sees(`@ann · connected directly`)
	ann.types("/history #our_friends")
	ann.sees(`#our friends ben: hi all`)
	ann.types("/list")
	ann.sees(`group our friends  \S+`)
	ann.types("/remove our_friends ben")
	ben.sees(`ann removed you`)
	ben.types("#our_friends still here?")
	ben.sees(`! .*no conversation`)
	for _, wrong := range []string{"/nonsense", "@nobody hi", "@ben", "/join", "/remove our_friends nobody", "/connect x"} {
		ann.types(wrong)
		ann.sees(`! `)
	}
	ann.leaves()
	ben.leaves()
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{{"chat", "--nonsense"}, {"chat", "--name", "a b", "--folder", t.TempDir()}, {"chat"}} {
		root := newRoot()
		root.SetArgs(args)
		root.SetOut(io.Discard)
		if err := root.Execute(); err == nil {
			t.Errorf("%v succeeded", args)
		}
	}
	for text, ok := range map[string]bool{"ann: hi": true, "ann hi": false, "ann:": false} {
		if _, err := parseLine(text); (err == nil) != ok || err != nil && !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", text, err)
		}
	}
	lines, err := readConversation("")
	if err != nil || len(lines) < 5 || !strings.Contains(lines[0].text, "welcome") {
		t.Errorf("%d lines: %v", len(lines), err)
	}
}

// Vectors of the budget, counted by hand from the formula in docs/groups.md.
func TestJoinBudget(t *testing.T) {
	for _, c := range []struct {
		n, log int
		want   uint64
	}{{1, 500, 16}, {3, 1000, 23}, {10, 2700, 45}, {500, 124_000, 1586}} {
		if got := joinBudget(c.n, c.log); got != c.want {
			t.Errorf("n = %d: %d, want %d", c.n, got, c.want)
		}
	}
}
