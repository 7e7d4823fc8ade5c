package agent

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coterie-im/coterie/agent/conn"
)

var errProhibited error = &conn.Error{Code: conn.CodeProhibited}

// crashing is a group of two agents here and one in a process of its own that is killed.
type crashing struct {
	t      *testing.T
	folder string
	role   string
	relay  *testRelay
	here   []*testAgent
	kills  func(run int) (kill, delay int) // kill 0: never
	ended  chan struct{}                   // closed when the child has ended
	killed int                             // how often it was killed; valid when it has ended
}

func newCrashing(t *testing.T, relay *testRelay, role string, kills func(run int) (int, int)) *crashing {
	t.Helper()
	c := &crashing{t: t, folder: t.TempDir(), role: role, relay: relay, kills: kills, ended: make(chan struct{})}
	c.here = []*testAgent{newAgent(t, "alice", relay), newAgent(t, "bob", relay)}
	must(t, os.WriteFile(filepath.Join(c.folder, "relay"), []byte(relay.address.Text()), 0o600))
	return c
}

// play runs the whole story: connections, a group of three, and messages of all to all.
func (c *crashing) play() (killed int) {
	c.t.Helper()
	var groups []GroupID
	switch c.role {
	case "joiner":
		groups = c.inviteChild()
	case "inviter":
		groups = c.joinChild()
	case "asker":
		groups = c.letChildIn()
	case "holder":
		groups = c.askChild()
	}
	for i, a := range c.here {
		for n := range crashMessages {
			_, err := a.GroupSend(c.t.Context(), groups[i], Outgoing{Body: []byte(fmt.Sprint("message", n))})
			must(c.t, err)
		}
	}
	defer func() {
		for i, a := range c.here {
			if c.t.Failed() {
				c.t.Logf("agent %d: %s%s", i, describeGroup(a.Agent, groups[i]), a.describe())
			}
		}
	}()
	for i, a := range c.here {
		await(c.t, func() bool {
			info, err := a.Group(c.t.Context(), groups[i])
			must(c.t, err)
			return info.Connected == crashMembers-1
		})
	}
	must(c.t, os.WriteFile(filepath.Join(c.folder, "connected"), nil, 0o600))
	<-c.ended
	for i, a := range c.here {
		await(c.t, func() bool {
			history, err := a.GroupHistory(c.t.Context(), groups[i], 0, 100)
			must(c.t, err)
			return len(history) == crashMembers*crashMessages && a.count("GMSG") >= (crashMembers-1)*crashMessages
		})
		if n := a.count("GMSG"); n != (crashMembers-1)*crashMessages {
			c.t.Errorf("agent %d was told %d messages", i, n)
		}
		if n := a.count("CON"); n > 2 {
			c.t.Errorf("agent %d was told %d times that it is connected", i, n)
		}
	}
	received, err := readReceived(c.folder)
	must(c.t, err)
	if len(received) != (crashMembers-1)*crashMessages {
		c.t.Errorf("the killed agent got %d messages", len(received))
	}
	for message, events := range received {
		if len(events) != 1 {
			c.t.Errorf("the killed agent was told message %s by %d events", message, len(events))
		}
	}
	return c.killed
}

// inviteChild makes a group here, connects with the child and invites it.
func (c *crashing) inviteChild() []GroupID {
	ctx := c.t.Context()
	group := newCircle(c.t, GroupOptions{}, c.here...)
	id, link, err := c.here[0].CreateConnection(ctx, CreateOptions{})
	must(c.t, err)
	must(c.t, os.WriteFile(filepath.Join(c.folder, "link0"), []byte(link), 0o600))
	go c.runChild()
	asked := expect[Confirmation](c.here[0], connectionEntity(id))
	must(c.t, c.here[0].Allow(ctx, id, asked.Confirmation, nil))
	expect[Connected](c.here[0], connectionEntity(id))
	_, err = c.here[0].GroupAdd(ctx, group.groups[0], id, AddOptions{})
	must(c.t, err)
	for i, a := range c.here { // from here on the child is a member, though hardly connected
		expect(a, group.groups[i].Entity(), func(e *GroupChanged) bool { return e.Change == ChangeMemberAdded && e.Member != group.self(1) })
	}
	return group.groups
}

// letChildIn makes a group here and an address, at which the child asks for it.
func (c *crashing) letChildIn() []GroupID {
	ctx := c.t.Context()
	group := newCircle(c.t, GroupOptions{Settings: map[string][]byte{"join": []byte("open")}}, c.here...)
	link, err := c.here[0].GroupLink(ctx, group.groups[0])
	must(c.t, err)
	must(c.t, os.WriteFile(filepath.Join(c.folder, "link0"), []byte(link), 0o600))
	go c.runChild()
	for i, a := range c.here {
		expect(a, group.groups[i].Entity(), func(e *GroupChanged) bool { return e.Change == ChangeMemberAdded && e.Member != group.self(1) })
	}
	return group.groups
}

// askChild asks at the address of the child's group, which lets everybody in whom it sees.
func (c *crashing) askChild() (groups []GroupID) {
	ctx := c.t.Context()
	go c.runChild()
	for _, a := range c.here {
		var link []byte
		await(c.t, func() (ok bool) {
			var err error
			link, err = os.ReadFile(filepath.Join(c.folder, "link0"))
			return err == nil
		})
		g, err := a.GroupAsk(ctx, string(link), AskOptions{})
		must(c.t, err)
		groups = append(groups, g)
	}
	for i, a := range c.here {
		await(c.t, func() bool {
			info, err := a.Group(ctx, groups[i])
			must(c.t, err)
			return info.Present == crashMembers
		})
	}
	return groups
}

// joinChild joins the child's connections and group.
func (c *crashing) joinChild() (groups []GroupID) {
	ctx := c.t.Context()
	go c.runChild()
	for i, a := range c.here {
		var link []byte
		await(c.t, func() (ok bool) {
			var err error
			link, err = os.ReadFile(filepath.Join(c.folder, fmt.Sprint("link", i)))
			return err == nil
		})
		id, err := a.JoinConnection(ctx, string(link), JoinOptions{})
		must(c.t, err)
		expect[Connected](a, connectionEntity(id))
		inv := expect[GroupInvitation](a, connectionEntity(id))
		g, err := a.GroupJoin(ctx, inv.Invitation, nil)
		must(c.t, err)
		groups = append(groups, g)
	}
	for i, a := range c.here {
		await(c.t, func() bool {
			info, err := a.Group(ctx, groups[i])
			must(c.t, err)
			return info.Present == crashMembers
		})
	}
	return groups
}

// runChild runs the child until it ends by itself, however often it is killed.
func (c *crashing) runChild() {
	defer close(c.ended)
	for run := 0; ; run++ {
		kill, delay := c.kills(run)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childFolder+"="+c.folder, childRole+"="+c.role,
			fmt.Sprintf("%s=%d", childKill, kill), fmt.Sprintf("%s=%d", childDelay, delay))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL && kill > 0:
			c.killed++
			continue
		case err != nil:
			c.t.Errorf("child: %v\n%s", err, out)
		}
		return
	}
}

// readReceived returns what the child has written: by message, the events that told it.
func readReceived(folder string) (map[string][]string, error) {
	b, err := os.ReadFile(filepath.Join(folder, "received"))
	if err != nil {
		return nil, err
	}
	received := map[string][]string{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		seq, message, ok := strings.Cut(lines.Text(), " ")
		if !ok {
			return nil, fmt.Errorf("line %q", lines.Text())
		}
		known := false
		for _, s := range received[message] {
			known = known || s == seq
		}
		if !known {
			received[message] = append(received[message], seq)
		}
	}
	return received, nil
}

// An agent is killed behind one of its commits, before anything of it is let out, while it connects, joins or makes a
// group and talks in it. Started again it completes, and nobody is told anything twice.
func TestKilledBehindACommit(t *testing.T) {
	relay := startRelay(t)
	step := 7
	if os.Getenv("COTERIE_SOAK") != "" {
		step = 1
	}
	for _, role := range []string{"joiner", "inviter", "asker", "holder"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			n, ended := 1, false
			for ; !ended && n < mostCommits; n += step {
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					ended = newCrashing(t, relay, role, func(run int) (int, int) {
						if run == 0 {
							return n, 0
						}
						return 0, 0
					}).play() == 0 // the story ended before that commit
				})
			}
			if n < 20 {
				t.Errorf("the story has no %d commits", n)
			}
			t.Logf("killed behind commits up to %d", n-2*step)
		})
	}
}

// mostCommits is more than any story has.
const mostCommits = 500

// The agent is killed again and again, somewhere between commits.
func TestKilledOverAndOver(t *testing.T) {
	relay := startRelay(t)
	rounds := 1
	if os.Getenv("COTERIE_SOAK") != "" {
		rounds = 50
	}
	for round := range rounds {
		for _, role := range []string{"joiner", "inviter", "asker", "holder"} {
			t.Run(fmt.Sprint(role, round), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(uint64(round), 7))
				killed := newCrashing(t, relay, role, func(run int) (int, int) {
					if run >= 20 {
						return 0, 0
					}
					return killAt(r, 12)
				}).play()
				if killed == 0 {
					t.Error("nothing was killed")
				}
			})
		}
	}
}
