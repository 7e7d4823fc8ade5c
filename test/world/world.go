// Package world is whole systems in one process for benchmarks and campaigns: a durable relay behind TLS on the loopback
// interface, agents with sealed stores, contacts and groups of them. It is only for tests; nothing in it is simulated.
package world

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent"
	agentstore "github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/server"
	"github.com/coterie-im/coterie/queue/store/sqlite"
	"github.com/coterie-im/coterie/queue/transport"
)

// patience bounds every wait for something that must happen.
const patience = 10 * time.Minute

// StartRelay runs a relay with a store in a temporary folder until the test ends and returns its address. Changes are made
// to its configuration before it starts.
func StartRelay(t testing.TB, changes ...func(*server.Config)) queue.Server {
	t.Helper()
	authority, err := transport.NewAuthority(time.Now())
	must(t, err)
	identity, err := authority.Issue("127.0.0.1", time.Now())
	must(t, err)
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "relay.db"), sqlite.Options{})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	config := server.Config{Store: store, Identity: identity}
	for _, change := range changes {
		change(&config)
	}
	s, err := server.New(config)
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go func() { _ = s.Serve(listener) }()
	t.Cleanup(func() { _ = s.Close() })
	host, port, err := net.SplitHostPort(listener.Addr().String())
	must(t, err)
	return queue.Server{Fingerprint: identity.Fingerprint(), Hosts: []string{host}, Port: port}
}

// Agent is an open agent whose events are read.
type Agent struct {
	*agent.Agent
	Group agent.GroupID // the one group it is in
	Self  agent.MemberID

	t       testing.TB
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every event; guarded by mu
	events  []agent.Event // guarded by mu
}

// NewAgent opens an agent that lives until the test ends. Changes are made to its configuration before that.
func NewAgent(t testing.TB, relay queue.Server, changes ...func(*agent.Config)) *Agent {
	t.Helper()
	config := agent.Config{
		Store: filepath.Join(t.TempDir(), "agent.db"), Key: agentstore.RawKey([32]byte{1}), Relays: []queue.Server{relay},
		Spread: -1, // messages to a group leave at once
	}
	for _, change := range changes {
		change(&config)
	}
	opened, err := agent.Open(t.Context(), config)
	must(t, err)
	a := &Agent{Agent: opened, t: t, changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	reading.Go(func() { a.read(ctx) })
	t.Cleanup(func() {
		cancel()
		reading.Wait()
		closing, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := opened.Close(closing); err != nil {
			t.Error(err)
		}
	})
	return a
}

func (a *Agent) read(ctx context.Context) {
	const cursor = "world"
	for e, err := range a.Events(ctx, cursor) {
		if err != nil {
			return
		}
		a.mu.Lock()
		a.events = append(a.events, e)
		close(a.changed)
		a.changed = make(chan struct{})
		a.mu.Unlock()
		if a.AckEvent(ctx, cursor, e.Seq) != nil {
			return
		}
	}
}

// Mark is a place in the events that the agent told so far.
func (a *Agent) Mark() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.events)
}

// At waits for the event at a place, for at most limit.
func (a *Agent) At(mark int, limit time.Duration) (agent.Event, bool) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		a.mu.Lock()
		events, changed := a.events, a.changed
		a.mu.Unlock()
		if mark < len(events) {
			return events[mark], true
		}
		select {
		case <-changed:
		case <-deadline.C:
			return agent.Event{}, false
		}
	}
}

// Await waits for an event behind a mark that fits.
func Await[E agent.EventData](a *Agent, mark int, fits func(agent.Event, E) bool) (agent.Event, E) {
	a.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		a.mu.Lock()
		fresh, changed := a.events[mark:], a.changed
		mark = len(a.events)
		a.mu.Unlock()
		for _, e := range fresh {
			if data, ok := e.Data.(E); ok && fits(e, data) {
				return e, data
			}
		}
		select {
		case <-changed:
		case <-deadline.C:
			var none E
			a.t.Fatalf("no %s came", none.Type())
		}
	}
}

// Befriend connects two agents by a one-time link and returns the connection as both call it.
func Befriend(t testing.TB, a, b *Agent) (ofA, ofB agent.ConnectionID) {
	t.Helper()
	ctx := t.Context()
	markA, markB := a.Mark(), b.Mark()
	ofA, link, err := a.CreateConnection(ctx, agent.CreateOptions{})
	must(t, err)
	ofB, err = b.JoinConnection(ctx, link, agent.JoinOptions{})
	must(t, err)
	_, c := Await(a, markA, func(e agent.Event, _ *agent.Confirmation) bool { return e.Connection() == ofA })
	must(t, a.Allow(ctx, ofA, c.Confirmation, nil))
	Await(a, markA, func(e agent.Event, _ *agent.Connected) bool { return e.Connection() == ofA })
	Await(b, markB, func(e agent.Event, _ *agent.Connected) bool { return e.Connection() == ofB })
	return ofA, ofB
}

// Found makes a group of one.
func Found(t testing.TB, a *Agent) {
	t.Helper()
	g, err := a.GroupNew(t.Context(), agent.GroupOptions{Card: []byte("founder")})
	must(t, err)
	a.Group = g
	a.learn()
}

func (a *Agent) learn() {
	info, err := a.Agent.Group(a.t.Context(), a.Group)
	must(a.t, err)
	a.Self = info.Self
}

// Join lets a contact of the inviter (the connection as the inviter calls it) join its group, and waits until all pairs of
// members, which the joiner is not yet among, and the joiner are connected.
func Join(t testing.TB, members []*Agent, inviter *Agent, contact agent.ConnectionID, joiner *Agent) {
	t.Helper()
	ctx := t.Context()
	mark := joiner.Mark()
	_, err := inviter.GroupAdd(ctx, inviter.Group, contact, agent.AddOptions{})
	must(t, err)
	_, invitation := Await(joiner, mark, func(agent.Event, *agent.GroupInvitation) bool { return true })
	joiner.Group, err = joiner.GroupJoin(ctx, invitation.Invitation, fmt.Appendf(nil, "member %d", len(members)))
	must(t, err)
	joiner.learn()
	for _, m := range members {
		Await(m, 0, func(_ agent.Event, c *agent.MemberConnected) bool { return c.Member == joiner.Self })
		Await(joiner, mark, func(_ agent.Event, c *agent.MemberConnected) bool { return c.Member == m.Self })
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
