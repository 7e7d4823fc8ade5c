package peer_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/server"
	"github.com/coterie-im/coterie/queue/store"
	"github.com/coterie-im/coterie/test/world"
)

// patience bounds how long a test waits for something that must happen.
const patience = 60 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// entry is something that the relay was made to do.
type entry struct {
	what   string // NEW, secure (KEY or SKEY), SEND (taken), full (SEND refused), ACK
	queue  queue.ID
	mode   queue.Mode
	key    keys.Public
	notify bool
	body   []byte
}

// tap stands between a relay and its storage and writes down what comes through.
type tap struct {
	store.Store
	mu      sync.Mutex
	entries []entry
	after   func(entry) // called when the change is decided, before it is answered
}

func (t *tap) note(e entry) {
	t.mu.Lock()
	t.entries = append(t.entries, e)
	after := t.after
	t.mu.Unlock()
	if after != nil {
		after(e)
	}
}

// when sets what happens at every entry.
func (t *tap) when(f func(entry)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.after = f
}

// of returns what happened to a queue, by its recipient's ID, but for acknowledgements.
func (t *tap) of(id queue.ID) (all []entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.entries {
		if e.queue == id && e.what != "ACK" {
			all = append(all, e)
		}
	}
	return all
}

func (t *tap) bySender(id queue.ID) queue.ID {
	q, err := t.BySender(context.Background(), id)
	if err != nil {
		return ""
	}
	return q.Recipient
}

func words(entries []entry) (all []string) {
	for _, e := range entries {
		all = append(all, e.what)
	}
	return all
}

func (t *tap) Create(ctx context.Context, q store.Queue) (*store.Commit, error) {
	c, err := t.Store.Create(ctx, q)
	if err == nil {
		t.note(entry{what: "NEW", queue: q.Recipient, mode: q.Mode})
	}
	return c, err
}

func (t *tap) Secure(ctx context.Context, recipient queue.ID, key keys.Public) (*store.Commit, error) {
	c, err := t.Store.Secure(ctx, recipient, key)
	if err == nil {
		t.note(entry{what: "secure", queue: recipient, key: key})
	}
	return c, err
}

func (t *tap) Send(ctx context.Context, recipient queue.ID, m store.Message) (store.Sent, *store.Commit, error) {
	s, c, err := t.Store.Send(ctx, recipient, m)
	if err == nil {
		e := entry{what: "SEND", queue: recipient, notify: m.Notify, body: slices.Clone(m.Body)}
		if s.Full {
			e.what = "full"
		}
		t.note(e)
	}
	return s, c, err
}

func (t *tap) Ack(ctx context.Context, recipient, message queue.ID) (int, *store.Commit, error) {
	rest, c, err := t.Store.Ack(ctx, recipient, message)
	if err == nil {
		t.note(entry{what: "ACK", queue: recipient})
	}
	return rest, c, err
}

// wires are the connections that an agent has made.
type wires struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (w *wires) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err == nil {
		w.mu.Lock()
		w.conns = append(w.conns, c)
		w.mu.Unlock()
	}
	return c, err
}

// cut ends all connections.
func (w *wires) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// scene is a relay, our agent and what can be seen of both.
type scene struct {
	t     testing.TB
	relay queue.Server
	tap   *tap
	wires *wires
	ours  *world.Agent
	at    int // how many events were read

	keySet map[queue.ID]int // how often the peer has set keys without need
}

// newScene opens it; changes are made to the relay's configuration.
func newScene(t testing.TB, changes ...func(*server.Config)) *scene {
	t.Helper()
	s := &scene{t: t, tap: &tap{}, wires: &wires{}, keySet: map[queue.ID]int{}}
	s.relay = world.StartRelay(t, func(c *server.Config) {
		s.tap.Store = c.Store
		c.Store = s.tap
		for _, change := range changes {
			change(c)
		}
	})
	s.ours = world.NewAgent(t, s.relay, func(c *agent.Config) { c.Dialer = s.wires })
	return s
}

// next returns the next event of a connection; those about the relay are passed over.
func (s *scene) next(id agent.ConnectionID) agent.EventData {
	s.t.Helper()
	for {
		e, ok := s.ours.At(s.at, patience)
		if !ok {
			s.t.Fatal("waited too long for an event")
		}
		s.at++
		switch e.Data.(type) {
		case *agent.RelayUp, *agent.RelayDown:
			continue
		}
		if e.Connection() == id {
			return e.Data
		}
	}
}

// expect returns the next event, which must be of a type.
func expect[E agent.EventData](s *scene, id agent.ConnectionID) E {
	s.t.Helper()
	data := s.next(id)
	e, ok := data.(E)
	if !ok {
		s.t.Fatalf("event %s %+v, want %s", data.Type(), data, e.Type())
	}
	return e
}

// expectFailure expects an ERR by the peer's fault.
func (s *scene) expectFailure(id agent.ConnectionID, code string) {
	s.t.Helper()
	if f := expect[*agent.Failed](s, id); f.Code != code || f.Fault != "peer" {
		s.t.Fatalf("%+v, want %s", f, code)
	}
}
