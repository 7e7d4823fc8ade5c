package groups_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/grouproto"
	"github.com/coterie-im/coterie/queue"
)

// person has an agent that can be closed and opened again.
type person struct {
	*agent.Agent
	t      testing.TB
	config agent.Config
	group  agent.GroupID
	self   agent.MemberID
}

func newPeople(t testing.TB, relay queue.Server, n int) (people []*person) {
	t.Helper()
	for range n {
		p := &person{t: t, config: agent.Config{
			Store: filepath.Join(t.TempDir(), "agent.db"), Key: store.RawKey([32]byte{1}), Relays: []queue.Server{relay},
		}}
		p.open()
		t.Cleanup(p.close)
		people = append(people, p)
	}
	return people
}

func (p *person) open() {
	p.t.Helper()
	a, err := agent.Open(context.Background(), p.config)
	must(p.t, err)
	p.Agent = a
}

func (p *person) close() {
	p.t.Helper()
	if p.Agent == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		p.t.Error(err)
	}
	p.Agent = nil
}

// next reads the person's events, each once even across restarts, up to one that fits.
func next[E agent.EventData](p *person, fits func(agent.Event, E) bool) (found E) {
	p.t.Helper()
	const cursor = "story"
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for e, err := range p.Events(ctx, cursor) {
		if err != nil {
			p.t.Fatalf("no %s came: %v", found.Type(), err)
		}
		must(p.t, p.AckEvent(ctx, cursor, e.Seq))
		if data, ok := e.Data.(E); ok && fits(e, data) {
			return data
		}
	}
	p.t.Fatalf("no %s came", found.Type())
	return found
}

func befriend(t testing.TB, a, b *person) (ofA agent.ConnectionID) {
	t.Helper()
	ctx := t.Context()
	ofA, link, err := a.CreateConnection(ctx, agent.CreateOptions{})
	must(t, err)
	ofB, err := b.JoinConnection(ctx, link, agent.JoinOptions{})
	must(t, err)
	c := next(a, func(e agent.Event, _ *agent.Confirmation) bool { return e.Connection() == ofA })
	must(t, a.Allow(ctx, ofA, c.Confirmation, nil))
	next(a, func(e agent.Event, _ *agent.Connected) bool { return e.Connection() == ofA })
	next(b, func(e agent.Event, _ *agent.Connected) bool { return e.Connection() == ofB })
	return ofA
}

// invite brings a new person as far as having answered.
func invite(t testing.TB, by, guest *person) {
	t.Helper()
	contact := befriend(t, by, guest)
	_, err := by.GroupAdd(t.Context(), by.group, contact, agent.AddOptions{})
	must(t, err)
	inv := next(guest, func(agent.Event, *agent.GroupInvitation) bool { return true })
	guest.group, err = guest.GroupJoin(t.Context(), inv.Invitation, []byte("a card"))
	must(t, err)
	guest.self = guest.info().Self
}

// circle makes a group of these people, all connected.
func circle(t testing.TB, people ...*person) {
	t.Helper()
	g, err := people[0].GroupNew(t.Context(), agent.GroupOptions{})
	must(t, err)
	people[0].group = g
	people[0].self = people[0].info().Self
	for i, p := range people[1:] {
		invite(t, people[0], p)
		gathered(t, people[:i+2]...)
	}
}

func (p *person) info() agent.GroupInfo {
	p.t.Helper()
	g, err := p.Group(p.t.Context(), p.group)
	must(p.t, err)
	return g
}

// gathered waits until all of these see the same group, in which everybody is connected with everybody.
func gathered(t testing.TB, people ...*person) {
	t.Helper()
	await(t, "everybody connected with everybody", func() bool {
		first := people[0].info()
		for _, p := range people {
			g := p.info()
			if g.Recovery != "" || g.Status != "member" || g.Present != len(people) || g.Connected != len(people)-1 || string(g.StateHash) != string(first.StateHash) {
				return false
			}
		}
		return true
	})
}

// say sends a message and waits until all of these have it, exactly once.
func say(t testing.TB, text string, from *person, to ...*person) {
	t.Helper()
	from.send(text)
	for _, p := range to {
		await(t, text, func() bool { return p.has(text) > 0 })
		if n := p.has(text); n != 1 {
			t.Errorf("%q is there %d times", text, n)
		}
	}
}

// send sends a message as soon as the person may write.
func (p *person) send(text string) {
	p.t.Helper()
	await(p.t, "somebody to tell whether something is missing", func() bool {
		_, err := p.GroupSend(p.t.Context(), p.group, agent.Outgoing{Body: []byte(text)})
		if !errors.Is(err, grouproto.ErrRecovering) {
			must(p.t, err)
		}
		return err == nil
	})
}

func (p *person) has(text string) (n int) {
	p.t.Helper()
	history, err := p.GroupHistory(p.t.Context(), p.group, 0, 1000)
	must(p.t, err)
	for _, m := range history {
		if string(m.Body) == text {
			n++
		}
	}
	return n
}
