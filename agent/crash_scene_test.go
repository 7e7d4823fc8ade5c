package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sceneKind is a situation in which one agent, the victim, is killed. It begins with agents that know each other: prepare
// makes them here, in this process. Then the victim's store goes to a child process, which is killed, and everybody else
// goes on here. In the end the victim is opened here again.
type sceneKind struct {
	// prepare makes the agents and names the victim.
	prepare func(s *scene)
	// meanwhile is what the others do, and what they must see, while the victim is killed and started again.
	meanwhile func(s *scene)
	// act is what the victim does whenever it is started. It must be repeatable.
	act func(ctx context.Context, c *child, p plan) error
	// handle is what it does at an event, at least once.
	handle func(ctx context.Context, c *child, p plan, e Event) error
	// done tells whether the victim has all it waits for.
	done func(ctx context.Context, c *child, p plan) (bool, error)
	// check looks at everybody in the end.
	check func(s *scene)
}

// plan is what the child is told.
type plan struct {
	Group      GroupID
	Connection ConnectionID
	Members    []MemberID // of the circle, in order
	Relay      string     // where the victim's queue was
}

// scene is one run of a sceneKind.
type scene struct {
	t      testing.TB
	kind   *sceneKind
	name   string
	folder string
	relays []*testRelay // those of the victim
	victim *testAgent
	c      *circle // with the victim, if there is a group
	vi     int     // the victim's place in it
	plan   plan
	here   []*testAgent
	from   int // the victim's events from here on were told while it was killed
	ended  chan struct{}
	killed int
}

// newVictim makes the agent that will be killed.
func (s *scene) newVictim(relays ...*testRelay) *testAgent {
	s.t.Helper()
	s.relays = relays
	s.victim = newAgentWith(s.t, "victim", func(c *Config) { c.Store = filepath.Join(s.folder, "agent.db") }, relays...)
	return s.victim
}

func (s *scene) newHere(name string, relays ...*testRelay) *testAgent {
	s.t.Helper()
	a := newAgent(s.t, name, relays...)
	s.here = append(s.here, a)
	return a
}

// newCircle makes a group of so many, of which the victim has place vi.
func (s *scene) newCircle(n, vi int, o GroupOptions, relay *testRelay) {
	s.t.Helper()
	agents := make([]*testAgent, n)
	for i := range agents {
		if i == vi {
			agents[i] = s.newVictim(relay)
		} else {
			agents[i] = s.newHere(fmt.Sprint("agent", i), relay)
		}
	}
	s.c, s.vi = newCircle(s.t, o, agents...), vi
	s.plan.Group = s.c.groups[vi]
	for i := range agents {
		s.plan.Members = append(s.plan.Members, s.c.self(i))
	}
}

// others is the circle without the victim.
func (s *scene) others() *circle { return s.c.without(s.vi) }

// restoreVictim puts an old copy of the victim's store in its place; it is not opened here.
func (s *scene) restoreVictim(old []byte) {
	s.t.Helper()
	s.victim.close()
	must(s.t, os.WriteFile(s.victim.config.Store, old, 0o600))
	must(s.t, os.Remove(s.victim.config.Store+".commits")) // nothing tells it at its start
}

// wait waits for something, unless the child has ended before.
func (s *scene) wait(what string, holds func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited too long for %s", what)
		}
		select {
		case <-tick.C:
		case <-s.ended:
			s.t.Fatalf("the child has ended before %s", what)
		}
	}
}

// shared tells whether the child has written a file.
func (s *scene) shared(name string) bool {
	_, err := os.Stat(filepath.Join(s.folder, name))
	return err == nil
}

// play runs the scene with these kills and returns how many there were.
func (s *scene) play(kills func(run int) (kill, delay int)) int {
	s.t.Helper()
	s.kind.prepare(s)
	s.victim.close()
	s.victim.mu.Lock()
	s.from = len(s.victim.seen)
	s.victim.mu.Unlock()
	var addresses strings.Builder
	for _, r := range s.relays {
		fmt.Fprintln(&addresses, r.address.Text())
	}
	must(s.t, os.WriteFile(filepath.Join(s.folder, "relay"), []byte(addresses.String()), 0o600))
	b, err := json.Marshal(s.plan)
	must(s.t, err)
	must(s.t, os.WriteFile(filepath.Join(s.folder, "plan"), b, 0o600))
	go s.runChild(kills)
	over := func() {
		must(s.t, os.WriteFile(filepath.Join(s.folder, "over"), nil, 0o600))
		<-s.ended
	}
	defer func() {
		if s.t.Failed() {
			over()
			s.describe()
		}
	}()
	s.kind.meanwhile(s)
	s.wait("the end of what the victim does", func() bool { return s.shared("done") })
	over()
	s.victim.open()
	s.kind.check(s)
	s.toldOnce()
	return s.killed
}

func (s *scene) describe() {
	s.t.Logf("killed %d times", s.killed)
	for i, a := range append([]*testAgent{s.victim}, s.here...) {
		if a == nil || a.Agent == nil {
			continue
		}
		groups, err := a.Groups(context.Background())
		var all strings.Builder
		for _, g := range groups {
			all.WriteString(describeGroup(a.Agent, g.ID))
		}
		s.t.Logf("agent %d: %v %s%s", i, err, all.String(), a.describe())
	}
}

// runChild runs the child until it ends by itself.
func (s *scene) runChild(kills func(run int) (int, int)) {
	defer close(s.ended)
	for run := 0; ; run++ {
		kill, delay := kills(run)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childFolder+"="+s.folder, childRole+"="+s.name,
			fmt.Sprintf("%s=%d", childKill, kill), fmt.Sprintf("%s=%d", childDelay, delay))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL && kill > 0:
			s.killed++
			continue
		case err != nil:
			s.t.Errorf("child: %v\n%s", err, out)
		case s.t.Failed():
			s.t.Logf("child:\n%s", out)
		}
		return
	}
}

// toldOnce checks that nobody was told a message of a group or a contact twice.
func (s *scene) toldOnce() {
	s.t.Helper()
	for i, a := range append([]*testAgent{s.victim}, s.here...) {
		a.mu.Lock()
		events := a.seen
		if a == s.victim {
			events = events[s.from:]
		}
		told := map[string]int{}
		for _, e := range events {
			switch data := e.Data.(type) {
			case *GroupMessage:
				if !data.Replaces {
					told[fmt.Sprint(e.Entity, " ", data.Message.Author, " ", data.Message.Number)]++
				}
			case *GroupOwnMessage:
				told[fmt.Sprint(e.Entity, " own ", data.Message.Number)]++
			case *Message:
				if !data.Again {
					told[fmt.Sprintf("%s %q", e.Entity, data.Body)]++
				}
			case *GroupInvitation:
				told[fmt.Sprint(e.Entity, " invitation ", data.Group)]++
			}
		}
		a.mu.Unlock()
		for what, n := range told {
			if n != 1 {
				s.t.Errorf("agent %d was told %s %d times", i, what, n)
			}
		}
	}
}

// everybodyHas waits until all of a circle have so many messages, and checks that they are the same.
func everybodyHas(c *circle, n int) {
	c.t.Helper()
	var first []MessageRecord
	for i, a := range c.agents {
		var history []MessageRecord
		await(c.t, func() bool {
			var err error
			history, err = a.GroupHistory(c.t.Context(), c.groups[i], 0, maxHistory)
			must(c.t, err)
			return len(history) >= n
		})
		if len(history) != n {
			c.t.Errorf("agent %d has %d messages instead of %d", i, len(history), n)
		}
		if first == nil {
			first = history
		}
		for _, m := range history {
			same := false
			for _, o := range first {
				same = same || o.Message.Author == m.Message.Author && o.Message.Number == m.Message.Number && bytes.Equal(o.Body, m.Body)
			}
			if !same {
				c.t.Errorf("agent %d has %q, which agent 0 has not", i, m.Body)
			}
		}
	}
}

// runScene is the child's part of a scene.
func (c *child) runScene(ctx context.Context, kind *sceneKind) error {
	b, err := os.ReadFile(filepath.Join(c.folder, "plan"))
	if err != nil {
		return err
	}
	var p plan
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	c.group = p.Group
	reading, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- c.readScene(reading, kind, p) }()
	defer func() {
		stop()
		<-ended
	}()
	acted := kind.act == nil
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(filepath.Join(c.folder, "over")); err == nil {
			fmt.Println(describeGroup(c.Agent, c.group))
			return nil
		}
		if !acted {
			if err := kind.act(ctx, c, p); err != nil {
				return fmt.Errorf("act: %w", err)
			}
			acted = true
		}
		done := kind.done == nil
		if !done {
			if done, err = kind.done(ctx, c, p); err != nil {
				return fmt.Errorf("done: %w", err)
			}
		}
		if done {
			if err := c.share("done", ""); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case err := <-ended:
			ended <- nil
			return fmt.Errorf("events: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *child) readScene(ctx context.Context, kind *sceneKind, p plan) error {
	for e, err := range c.Events(ctx, "child") {
		if err != nil {
			return err
		}
		if kind.handle != nil {
			if err := kind.handle(ctx, c, p, e); err != nil {
				return fmt.Errorf("%s: %w", e.Data.Type(), err)
			}
		}
		if err := c.AckEvent(ctx, "child", e.Seq); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// say sends messages with keys, so that each is sent once however often this is repeated.
func (c *child) say(ctx context.Context, g GroupID, what string, n int) error {
	for i := range n {
		name := fmt.Sprint(what, " ", i)
		if _, err := c.GroupSend(ctx, g, Outgoing{Body: []byte(name), Key: name}); err != nil {
			return err
		}
	}
	return nil
}

// has tells whether the child has so many messages of a group.
func (c *child) has(ctx context.Context, g GroupID, n int) (bool, error) {
	history, err := c.GroupHistory(ctx, g, 0, maxHistory)
	return len(history) >= n, err
}

func playScene(t *testing.T, name string, kills func(run int) (int, int)) (killed int) {
	s := &scene{t: t, kind: sceneKinds()[name], name: name, folder: t.TempDir(), ended: make(chan struct{})}
	return s.play(kills)
}

// An agent is killed behind its commits while it makes a ratchet again, moves a queue, forks a group, comes back from an old
// copy of its store, removes, is removed, contests, leaves and comes again, sends to many, gives or takes history, or waits
// for a full queue. The long campaign kills it once behind each commit, and again and again somewhere between them.
func TestKilledInAScene(t *testing.T) {
	for name := range sceneKinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if os.Getenv("COTERIE_SOAK") == "" {
				if killed := playScene(t, name, behind(3, 6, 9)); killed == 0 {
					t.Error("nothing was killed")
				}
				return
			}
			n, ended := 1, false
			for ; !ended && n < mostCommits; n++ {
				t.Run(fmt.Sprint(n), func(t *testing.T) { ended = playScene(t, name, behind(n)) == 0 })
			}
			if n < 5 {
				t.Errorf("the scene has no %d commits", n)
			}
			t.Logf("killed behind commits up to %d", n-2)
			for round := range 10 {
				t.Run(fmt.Sprint("round", round), func(t *testing.T) {
					r := rand.New(rand.NewPCG(uint64(round), 11))
					killed := playScene(t, name, func(run int) (int, int) {
						switch {
						case run == 0:
							return killAt(r, 4)
						case run < 6:
							return killAt(r, 10)
						default:
							return 0, 0
						}
					})
					if killed == 0 {
						t.Error("nothing was killed")
					}
				})
			}
		})
	}
}

// behind kills the first runs behind these commits, one each.
func behind(commits ...int) func(run int) (int, int) {
	return func(run int) (int, int) {
		if run < len(commits) {
			return commits[run], 0
		}
		return 0, 0
	}
}
