package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	sealed "github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/server"
	"github.com/coterie-im/coterie/queue/store"
	"github.com/coterie-im/coterie/queue/store/sqlite"
	"github.com/coterie-im/coterie/queue/transport"
)

// patience bounds how long a test waits for something that must happen.
const patience = 3 * time.Minute

type storeTx = sealed.Tx

var testKey = sealed.RawKey([32]byte{1, 2, 3})

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testRelay is a relay over TLS on the loopback interface with a durable store, which can be stopped and started.
type testRelay struct {
	t        testing.TB
	identity *transport.Identity
	store    store.Store
	server   *server.Server
	address  queue.Server
	listen   string
	changes  []func(*server.Config)
}

func startRelay(t testing.TB, changes ...func(*server.Config)) *testRelay {
	t.Helper()
	authority, err := transport.NewAuthority(time.Now())
	must(t, err)
	identity, err := authority.Issue("127.0.0.1", time.Now())
	must(t, err)
	s, err := sqlite.Open(filepath.Join(t.TempDir(), "relay.db"), sqlite.Options{})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	r := &testRelay{t: t, identity: identity, store: s, listen: "127.0.0.1:0", changes: changes}
	r.start()
	t.Cleanup(r.stop)
	return r
}

func (r *testRelay) start() {
	r.t.Helper()
	var l net.Listener
	await(r.t, func() (ok bool) { // the port may still be taken by the relay before
		var err error
		l, err = net.Listen("tcp", r.listen)
		return err == nil
	})
	r.listen = l.Addr().String()
	host, port, err := net.SplitHostPort(r.listen)
	must(r.t, err)
	r.address = queue.Server{Fingerprint: r.identity.Fingerprint(), Hosts: []string{host}, Port: port}
	config := server.Config{Store: r.store, Identity: r.identity}
	for _, change := range r.changes {
		change(&config)
	}
	r.server, err = server.New(config)
	must(r.t, err)
	s := r.server
	go func() { _ = s.Serve(l) }()
}

func (r *testRelay) stop() {
	if r.server != nil {
		_ = r.server.Close()
		r.server = nil
	}
}

// await waits until something holds.
func await(t testing.TB, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatal("waited too long")
		}
		<-tick.C
	}
}

// testAgent is an agent with a reader of its events.
type testAgent struct {
	*Agent
	t      testing.TB
	config Config

	mu     sync.Mutex
	events []Event // guarded by mu: read and not taken by expect
	seen   []Event // guarded by mu: all that were read
	more   chan struct{}
	stop   context.CancelFunc
	read   chan struct{}
}

func newAgent(t testing.TB, name string, relays ...*testRelay) *testAgent {
	t.Helper()
	return newAgentWith(t, name, func(*Config) {}, relays...)
}

func newAgentWith(t testing.TB, name string, change func(*Config), relays ...*testRelay) *testAgent {
	t.Helper()
	a := &testAgent{t: t, config: Config{Store: filepath.Join(t.TempDir(), name+".db"), Key: testKey, Spread: -1}}
	if os.Getenv("COTERIE_LOG") != "" {
		a.config.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("agent", name)
	}
	for _, r := range relays {
		a.config.Relays = append(a.config.Relays, r.address)
	}
	change(&a.config)
	a.open()
	t.Cleanup(a.close)
	return a
}

func (a *testAgent) open() {
	a.t.Helper()
	opened, err := Open(a.t.Context(), a.config)
	must(a.t, err)
	a.Agent = opened
	ctx, stop := context.WithCancel(context.Background())
	a.stop, a.more, a.read = stop, make(chan struct{}, 1), make(chan struct{})
	read := a.read
	go func() {
		defer close(read)
		for err := errBroken; errors.Is(err, errBroken); { // a store that fails by intent
			err = a.readEvents(ctx, opened)
		}
	}()
}

// readEvents takes in events until there are no more.
func (a *testAgent) readEvents(ctx context.Context, opened *Agent) error {
	for e, err := range opened.Events(ctx, "test") {
		if err != nil {
			return err
		}
		if err := opened.AckEvent(ctx, "test", e.Seq); err != nil {
			return err
		}
		a.mu.Lock()
		a.events = append(a.events, e)
		a.seen = append(a.seen, e)
		a.mu.Unlock()
		select {
		case a.more <- struct{}{}:
		default:
		}
	}
	return nil
}

func (a *testAgent) close() {
	if a.Agent == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.Close(ctx); err != nil {
		a.t.Error(err)
	}
	a.stop()
	<-a.read
	a.Agent = nil
}

// restart closes the agent and opens it again.
func (a *testAgent) restart() {
	a.close()
	a.open()
}

// expect waits for an event of a type about an entity, takes it out of the events, and returns it. An empty entity
// matches every one.
func expect[T any, P interface {
	*T
	EventData
}](a *testAgent, entity Entity, conditions ...func(P) bool) P {
	_, data := expectAny(a, entity, conditions...)
	return data
}

func expectAny[T any, P interface {
	*T
	EventData
}](a *testAgent, entity Entity, conditions ...func(P) bool) (Event, P) {
	a.t.Helper()
	deadline := time.After(patience)
	for {
		if e, data := take(a, entity, conditions...); data != nil {
			return e, data
		}
		select {
		case <-a.more:
		case <-deadline:
			a.t.Fatalf("no %s came; events so far: %s", P(new(T)).Type(), a.describe())
		}
	}
}

func take[T any, P interface {
	*T
	EventData
}](a *testAgent, entity Entity, conditions ...func(P) bool) (Event, P) {
	a.mu.Lock()
	defer a.mu.Unlock()
next:
	for i, e := range a.events {
		data, ok := e.Data.(P)
		if !ok || entity != "" && e.Entity != entity {
			continue
		}
		for _, c := range conditions {
			if !c(data) {
				continue next
			}
		}
		a.events = append(a.events[:i:i], a.events[i+1:]...)
		return e, data
	}
	return Event{}, nil
}

// count returns how many events of a type were read so far.
func (a *testAgent) count(name string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.seen {
		if e.Data.Type() == name {
			n++
		}
	}
	return n
}

func (a *testAgent) describe() (s string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.seen {
		s += fmt.Sprintf("\n%s %s %+v", e.Entity, e.Data.Type(), e.Data)
	}
	return s
}

// connect makes a connection by a one-time link and returns it as both see it.
func connect(t testing.TB, a, b *testAgent) (ab, ba ConnectionID) {
	t.Helper()
	ctx := t.Context()
	ab, link, err := a.CreateConnection(ctx, CreateOptions{})
	must(t, err)
	ba, err = b.JoinConnection(ctx, link, JoinOptions{Info: []byte("joiner")})
	must(t, err)
	c := expect[Confirmation](a, connectionEntity(ab))
	if string(c.Info) != "joiner" {
		t.Errorf("info of the joiner is %q", c.Info)
	}
	must(t, a.Allow(ctx, ab, c.Confirmation, []byte("initiator")))
	if i := expect[PeerInfo](b, connectionEntity(ba)); string(i.Info) != "initiator" {
		t.Errorf("info of the initiator is %q", i.Info)
	}
	expect[Connected](a, connectionEntity(ab))
	expect[Connected](b, connectionEntity(ba))
	return ab, ba
}

// talk sends a message and waits until it is received.
func talk(t testing.TB, from *testAgent, id ConnectionID, to *testAgent, at ConnectionID, text string) {
	t.Helper()
	ctx := t.Context()
	n, err := from.Send(ctx, id, Outgoing{Body: []byte(text)})
	must(t, err)
	m := expect[Message](to, connectionEntity(at))
	if string(m.Body) != text || m.Integrity != "OK" {
		t.Errorf("received %q, %s", m.Body, m.Integrity)
	}
	must(t, to.Ack(ctx, at, m.ID, nil))
	if s := expect[Sent](from, connectionEntity(id)); s.ID != n {
		t.Errorf("sent is %d, not %d", s.ID, n)
	}
}

func wantError(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
