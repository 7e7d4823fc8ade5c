// Package chat_test is stories of chat apps with real agents over a real relay.
package chat_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/control"
	agentstore "github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/chat"
	"github.com/coterie-im/coterie/chat/store"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/test/world"
)

const patience = 10 * time.Minute

// device is a chat app with an agent of its own.
type device struct {
	*chat.App
	t     *testing.T
	name  string
	agent *world.Agent
	api   *unreliable
	file  string

	cancel context.CancelFunc
	ended  chan error
	store  *store.Store

	mu      sync.Mutex
	seen    []chat.Update // guarded by mu
	changed chan struct{} // closed and replaced at every update; guarded by mu
}

// unreliable is an agent to which messages to groups cannot be given for a while.
type unreliable struct {
	control.API
	mu    sync.Mutex
	cut   bool // guarded by mu: the agent does what it is asked, and nobody hears of it
	lost  int  // guarded by mu: answers that were cut off
	group int  // guarded by mu: messages to groups
}

var errCut = errors.New("cut off")

func (u *unreliable) GroupSend(ctx context.Context, g agent.GroupID, m agent.Outgoing) (agent.MessageID, error) {
	id, err := u.API.GroupSend(ctx, g, m)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.group++
	if u.cut {
		u.lost++
		return agent.MessageID{}, errCut
	}
	return id, err
}

func (u *unreliable) set(cut bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cut = cut
}

func newDevice(t *testing.T, relay queue.Server, name string) *device {
	t.Helper()
	a := world.NewAgent(t, relay)
	d := &device{t: t, name: name, agent: a, api: &unreliable{API: a.Agent}, file: filepath.Join(t.TempDir(), "chat.db"), changed: make(chan struct{})}
	d.start(name)
	t.Cleanup(d.stop)
	return d
}

// start runs the app; name may be empty if the history knows one.
func (d *device) start(name string) {
	d.t.Helper()
	var err error
	if d.store, err = store.Open(d.file, agentstore.RawKey([32]byte{7})); err != nil {
		d.t.Fatal(err)
	}
	d.App, err = chat.New(chat.Options{Agent: d.api, History: d.store, Profile: chat.Profile{DisplayName: name}, Observe: d.observe})
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel, d.ended = cancel, make(chan error, 1)
	app, ended := d.App, d.ended
	go func() { ended <- app.Run(ctx) }()
}

func (d *device) stop() {
	if d.cancel == nil {
		return
	}
	d.cancel()
	if err := <-d.ended; !errors.Is(err, context.Canceled) {
		d.t.Errorf("%s: %v", d.name, err)
	}
	_ = d.store.Close()
	d.cancel = nil
}

func (d *device) observe(u chat.Update) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = append(d.seen, u)
	close(d.changed)
	d.changed = make(chan struct{})
}

// until looks again at every update until what it asks for is so.
func (d *device) until(what string, is func() bool) {
	d.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		d.mu.Lock()
		changed := d.changed
		d.mu.Unlock()
		if is() {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			d.t.Fatalf("%s: never %s; conversations:\n%s", d.name, what, d.everything())
		}
	}
}

// sees waits for an update that was not looked at before.
func (d *device) sees(what string, fits func(chat.Update) bool) chat.Update {
	d.t.Helper()
	var found chat.Update
	d.until(what, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		for i, u := range d.seen {
			if fits(u) {
				d.seen, found = d.seen[i+1:], u
				return true
			}
		}
		return false
	})
	return found
}

func (d *device) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatalf("%s: %v", d.name, err)
	}
}

// everything is what the history has, as text.
func (d *device) everything() (text string) {
	d.t.Helper()
	all, err := d.Conversations()
	d.must(err)
	for _, c := range all {
		text += fmt.Sprintf("%s %q remote %v ended %v\n", c.Kind, c.Name, c.Remote, c.Ended)
		for _, line := range d.lines(c.Kind, c.Ref) {
			text += "   " + line + "\n"
		}
	}
	return text
}

// lines are the entries of a conversation as they are shown.
func (d *device) lines(kind store.Kind, ref string) (lines []string) {
	d.t.Helper()
	messages, err := d.Messages(kind, ref)
	d.must(err)
	for _, m := range messages {
		who := "other"
		switch {
		case m.Notice:
			who = "notice"
		case m.Own:
			who = "own"
		}
		if m.Device != "" {
			who += " on " + m.Device
		}
		if m.False {
			who += " false"
		}
		lines = append(lines, who+": "+m.Text)
	}
	return lines
}

// conversation is one that goes by a name.
func (d *device) conversation(kind store.Kind, name string) (store.Conversation, bool) {
	c, err := d.FindAny(kind, name)
	if err != nil && !errors.Is(err, chat.ErrNoConversation) {
		d.t.Fatal(err)
	}
	return c, err == nil
}

func (d *device) has(kind store.Kind, name, line string) {
	d.t.Helper()
	d.until("has "+line, func() bool {
		c, ok := d.conversation(kind, name)
		if !ok {
			return false
		}
		n := 0
		for _, l := range d.lines(kind, c.Ref) {
			if l == line {
				n++
			}
		}
		if n > 1 {
			d.t.Fatalf("%s has %q %d times", d.name, line, n)
		}
		return n == 1
	})
}

// befriend makes contacts of two people.
func befriend(a, b *device) {
	a.t.Helper()
	ctx := a.t.Context()
	_, link, err := a.Invite(ctx)
	a.must(err)
	_, err = b.Connect(ctx, link)
	b.must(err)
	connected := func(u chat.Update) bool { return u.Message != nil && u.Message.Text == "connected" }
	a.sees("connected", connected)
	b.sees("connected", connected)
}

// pair brings a new device to one that has begun.
func pair(first, second *device) {
	first.t.Helper()
	ctx := first.t.Context()
	link, err := first.LinkDevice(ctx)
	first.must(err)
	code, err := second.JoinDevices(ctx, link, second.name)
	second.must(err)
	first.sees("a device that asks", func(u chat.Update) bool { return u.DeviceAsks == second.name })
	name, err := first.ConfirmDevice(ctx, code)
	first.must(err)
	if name != second.name {
		first.t.Fatalf("let in %q", name)
	}
	joined(second)
}

func joined(d *device) {
	d.t.Helper()
	d.sees("let in", func(u chat.Update) bool {
		return u.Conversation != nil && u.Conversation.Kind == store.Devices && u.Message != nil && u.Message.Notice && len(u.Message.Text) > 6 && u.Message.Text[:6] == "joined"
	})
}
