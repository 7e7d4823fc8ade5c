package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coterie-im/coterie/queue"
)

// The crash tests run an agent in a process of its own: this test binary, started again with these variables.
const (
	childFolder = "COTERIE_CRASH_FOLDER" // where its store and the files shared with the test are
	childRole   = "COTERIE_CRASH_ROLE"   // joiner, inviter, asker or holder, or a scene
	childKill   = "COTERIE_CRASH_KILL"   // after how many commits it ends itself; 0: never
	childDelay  = "COTERIE_CRASH_DELAY"  // microseconds to wait before, while the agent goes on
)

func TestMain(m *testing.M) {
	if folder := os.Getenv(relayFolder); folder != "" {
		if err := runRelay(folder); err != nil {
			fmt.Fprintln(os.Stderr, "relay:", err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(childFolder) != "" {
		if err := runChild(); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const (
	crashMessages = 3 // that each member sends
	crashMembers  = 3
)

// child is a small bot. Everything it does it does with keys, because it may be killed at any moment and do it again.
type child struct {
	*Agent
	folder string
	role   string
	group  GroupID
	record *os.File
}

func runChild() error {
	folder := os.Getenv(childFolder)
	kill, err := strconv.Atoi(os.Getenv(childKill))
	if err != nil {
		return err
	}
	delay, err := strconv.Atoi(os.Getenv(childDelay))
	if err != nil {
		return err
	}
	addresses, err := os.ReadFile(filepath.Join(folder, "relay"))
	if err != nil {
		return err
	}
	var relays []queue.Server
	for _, address := range strings.Fields(string(addresses)) {
		relay, err := queue.ParseServer(address)
		if err != nil {
			return err
		}
		relays = append(relays, relay)
	}
	die := func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, err := Open(ctx, Config{
		Store:  filepath.Join(folder, "agent.db"),
		Key:    testKey,
		Relays: relays,
		AfterCommit: func(n int) {
			switch {
			case n != kill:
			case delay > 0:
				time.AfterFunc(time.Duration(delay)*time.Microsecond, die)
			default:
				die()
				select {} // nothing more is let out
			}
		},
	})
	if err != nil {
		return err
	}
	c := &child{Agent: a, folder: folder, role: os.Getenv(childRole)}
	if c.record, err = os.OpenFile(filepath.Join(folder, "received"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	if kind := sceneKinds()[c.role]; kind != nil {
		if err := c.runScene(ctx, kind); err != nil {
			return fmt.Errorf("%w\n%s", err, describeGroup(a, c.group))
		}
		return a.Close(ctx)
	}
	if err := c.run(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, describeGroup(a, c.group))
	}
	if err := c.stay(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, describeGroup(a, c.group))
	}
	return a.Close(ctx)
}

// share writes a file for the test.
func (c *child) share(name, content string) error {
	path := filepath.Join(c.folder, name)
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (c *child) run(ctx context.Context) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	for e, err := range c.Events(ctx, "child") {
		if err != nil {
			return err
		}
		if err := c.handle(ctx, e); err != nil {
			return fmt.Errorf("%s: %w", e.Data.Type(), err)
		}
		if done, err := c.done(ctx); done || err != nil {
			return err
		}
		if err := c.AckEvent(ctx, "child", e.Seq); err != nil {
			return err
		}
	}
	return nil
}

// begin does what comes before all events.
func (c *child) begin(ctx context.Context) (err error) {
	if c.role == "joiner" {
		link, err := os.ReadFile(filepath.Join(c.folder, "link0"))
		if err != nil {
			return err
		}
		_, err = c.JoinConnection(ctx, string(link), JoinOptions{Key: "join"})
		return err
	}
	if c.role == "asker" {
		link, err := os.ReadFile(filepath.Join(c.folder, "link0"))
		if err != nil {
			return err
		}
		c.group, err = c.GroupAsk(ctx, string(link), AskOptions{Key: "ask"})
		return err
	}
	if c.group, err = c.GroupNew(ctx, GroupOptions{Key: "group"}); err != nil {
		return err
	}
	if c.role == "holder" {
		link, err := c.GroupLink(ctx, c.group)
		if err != nil {
			return err
		}
		return c.share("link0", link)
	}
	for i := range crashMembers - 1 {
		name := fmt.Sprint("link", i)
		_, link, err := c.CreateConnection(ctx, CreateOptions{Key: name})
		if err != nil {
			return err
		}
		if err := c.share(name, link); err != nil {
			return err
		}
	}
	return nil
}

func (c *child) handle(ctx context.Context, e Event) (err error) {
	switch data := e.Data.(type) {
	case *Confirmation:
		return c.repeated(c.Allow(ctx, e.Connection(), data.Confirmation, nil))
	case *Connected:
		if c.role == "inviter" {
			_, err = c.GroupAdd(ctx, c.group, e.Connection(), AddOptions{Key: "add" + string(e.Connection())})
		}
		return err
	case *GroupInvitation:
		c.group, err = c.GroupJoin(ctx, data.Invitation, nil)
		return err
	case *GroupRequest:
		_, err = c.GroupAdd(ctx, e.Group(), ConnectionID(data.Request), AddOptions{Key: "let in " + data.Request})
		return err
	case *MemberConnected:
		c.group = e.Group()
		return c.talk(ctx)
	case *GroupMessage:
		c.group = e.Group()
		_, err := fmt.Fprintln(c.record, e.Seq, data.Message.Author, data.Message.Number)
		return errors.Join(err, c.record.Sync())
	}
	return nil
}

// stay waits until the others are connected with each other, too: it may be the only one that passes their offers on.
func (c *child) stay(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(filepath.Join(c.folder, "connected")); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the others do not connect: %w", ctx.Err())
		}
	}
}

// describeGroup writes what an agent knows about a group, for who wants to know why a test waits.
func describeGroup(a *Agent, group GroupID) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var b strings.Builder
	info, err := a.Group(ctx, group)
	fmt.Fprintf(&b, "group %s %v: %d present, %d connected, next %d\n", info.Status, err, info.Present, info.Connected, info.Next)
	for _, m := range info.Members {
		fmt.Fprintf(&b, "  %+v\n", m)
	}
	history, err := a.GroupHistory(ctx, group, 0, 100)
	fmt.Fprintf(&b, "%d messages %v\n", len(history), err)
	for i := range crashMessages {
		states, err := a.GroupDelivery(ctx, group, uint64(i))
		fmt.Fprintf(&b, "  %d: %+v %v\n", i, states, err)
	}
	all, err := a.Connections(ctx)
	for _, c := range all {
		fmt.Fprintf(&b, "  %+v %v\n", c, err)
	}
	return b.String()
}

// repeated forgives what a repeat after a crash is told.
func (c *child) repeated(err error) error {
	if errors.Is(err, ErrNoConnection) || errors.Is(err, errProhibited) {
		return nil
	}
	return err
}

// talk sends the own messages once everybody is connected.
func (c *child) talk(ctx context.Context) error {
	info, err := c.Group(ctx, c.group)
	if err != nil || info.Connected < crashMembers-1 {
		return err
	}
	for i := range crashMessages {
		name := fmt.Sprint("message", i)
		if _, err := c.GroupSend(ctx, c.group, Outgoing{Body: []byte(name), Key: name}); err != nil {
			return err
		}
	}
	return nil
}

// done tells whether everything was sent and received.
func (c *child) done(ctx context.Context) (bool, error) {
	if c.group == "" {
		groups, err := c.Groups(ctx)
		if err != nil || len(groups) == 0 {
			return false, err
		}
		c.group = groups[0].ID
	}
	history, err := c.GroupHistory(ctx, c.group, 0, 100)
	if err != nil || len(history) < crashMembers*crashMessages {
		return false, err
	}
	for i := range crashMessages {
		states, err := c.GroupDelivery(ctx, c.group, uint64(i))
		if err != nil {
			return false, err
		}
		for _, s := range states {
			if s.State != "sent" && s.State != "delivered" {
				return false, nil
			}
		}
	}
	received, err := readReceived(c.folder)
	return len(received) == (crashMembers-1)*crashMessages, err
}

// killAt returns a moment for a random kill.
func killAt(r *rand.Rand, commits int) (kill, delay int) { return 1 + r.IntN(commits), r.IntN(20_000) }
