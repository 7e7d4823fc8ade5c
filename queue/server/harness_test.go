package server_test

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/server"
	"github.com/coterie-im/coterie/queue/store"
	"github.com/coterie-im/coterie/queue/store/sqlite"
	"github.com/coterie-im/coterie/queue/transport"
)

// patience bounds how long a test waits for something that must happen.
const patience = 30 * time.Second

// relay is a running relay on the loopback interface.
type relay struct {
	*server.Server
	store    store.Store
	identity *transport.Identity
	dial     func() (net.Conn, error)
	bubble   bool // time stands still, so nothing needs a deadline
	served   chan error
}

// startRelay runs a relay with a durable store until the end of the test.
func startRelay(t testing.TB, change func(*server.Config)) *relay {
	t.Helper()
	s, err := sqlite.Open(filepath.Join(t.TempDir(), "relay.db"), sqlite.Options{})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return startRelayOn(t, s, change)
}

func startRelayOn(t testing.TB, s store.Store, change func(*server.Config)) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := serve(t, s, l, change)
	r.dial = func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
	return r
}

// startRelayInBubble runs a relay whose connections are pipes without buffers, for tests that stop the clock.
func startRelayInBubble(t testing.TB, change func(*server.Config)) *relay {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	r := serve(t, store.NewMemory(0), l, change)
	r.dial, r.bubble = l.dial, true
	return r
}

func serve(t testing.TB, s store.Store, l net.Listener, change func(*server.Config)) *relay {
	t.Helper()
	authority, err := transport.NewAuthority(time.Now())
	must(t, err)
	identity, err := authority.Issue("localhost", time.Now())
	must(t, err)
	config := server.Config{Store: s, Identity: identity, EventDelay: time.Millisecond, NotifyDelay: time.Millisecond}
	if change != nil {
		change(&config)
	}
	r := &relay{store: config.Store, identity: identity, served: make(chan error, 1)}
	r.Server, err = server.New(config)
	must(t, err)
	go func() { r.served <- r.Serve(l) }()
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// client is one connection to a relay that sends what it is told, right or wrong. It is used by one goroutine.
type client struct {
	t      testing.TB
	conn   *transport.Conn
	events []queue.Answer // came while an answer was waited for
	blocks []int          // how many transmissions the received blocks had
	next   int
}

func (r *relay) connect(t testing.TB) *client { return r.connectAt(t, queue.Supported()) }

func (r *relay) connectAt(t testing.TB, versions queue.VersionRange) *client {
	t.Helper()
	c, err := r.tryConnect(t, versions)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	if !r.bubble {
		must(t, c.SetReadDeadline(time.Now().Add(patience)))
	}
	return &client{t: t, conn: c}
}

func (r *relay) tryConnect(t testing.TB, versions queue.VersionRange) (*transport.Conn, error) {
	t.Helper()
	conn, err := r.dial()
	must(t, err)
	return transport.Client(t.Context(), conn, transport.ClientConfig{Fingerprint: r.identity.Fingerprint(), Versions: versions})
}

// pipeListener accepts the ends of pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial() (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (c *client) version() queue.Version { return c.conn.Version() }

func (c *client) corrID() queue.ID {
	c.next++
	return queue.ID(fmt.Sprintf("correlation%013d", c.next))
}

// encode returns the transmission of a command.
func (c *client) encode(corrID, entity queue.ID, key queue.PrivateKey, command queue.Command) []byte {
	c.t.Helper()
	raw, err := queue.EncodeCommand(nil, c.version(), c.conn.SessionID(), c.conn.PeerSessionKey(), corrID, entity, key, command)
	must(c.t, err)
	return raw
}

// write sends transmissions as one block.
func (c *client) write(transmissions ...[]byte) {
	c.t.Helper()
	batch := queue.NewBatch(c.conn.MaxPayload())
	for _, raw := range transmissions {
		if !batch.Add(raw) {
			c.t.Fatal("commands do not fit a block")
		}
	}
	must(c.t, c.conn.WriteBlock(batch.Take()))
}

// read returns the transmissions of the next block.
func (c *client) read() []queue.Answer {
	c.t.Helper()
	answers, err := c.tryRead()
	must(c.t, err)
	return answers
}

func (c *client) tryRead() ([]queue.Answer, error) {
	payload, err := c.conn.ReadBlock()
	if err != nil {
		return nil, err
	}
	list, err := queue.SplitBatch(payload)
	if err != nil {
		return nil, err
	}
	c.blocks = append(c.blocks, len(list))
	var answers []queue.Answer
	for _, raw := range list {
		a, err := queue.DecodeAnswer(c.version(), c.conn.SessionID(), raw)
		if err != nil {
			return nil, err
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// do sends one command and returns its answer; events that come before it are kept.
func (c *client) do(entity queue.ID, key queue.PrivateKey, command queue.Command) queue.Response {
	c.t.Helper()
	corrID := c.corrID()
	c.write(c.encode(corrID, entity, key, command))
	a := c.await(corrID)
	if a.EntityID != entity {
		c.t.Fatalf("%s: answer has another entity", command.Tag())
	}
	return a.Response
}

// await returns the answer with a correlation ID; others that come before it are kept as events.
func (c *client) await(corrID queue.ID) queue.Answer {
	c.t.Helper()
	for {
		answers := c.read()
		for i, a := range answers {
			if a.CorrID == corrID {
				c.events = append(c.events, answers[i+1:]...)
				return a
			}
			c.events = append(c.events, a)
		}
	}
}

// event returns the next event.
func (c *client) event() queue.Answer {
	c.t.Helper()
	for len(c.events) == 0 {
		c.events = c.read()
	}
	a := c.events[0]
	c.events = c.events[1:]
	if a.CorrID != "" {
		c.t.Fatalf("%T is an answer to nothing", a.Response)
	}
	return a
}

// quiet fails if there is an event that the relay has sent so far.
func (c *client) quiet() {
	c.t.Helper()
	c.want(c.do("", queue.PrivateKey{}, queue.PING{}), queue.PONG{})
	if len(c.events) > 0 {
		c.t.Fatalf("%T came, nothing was expected", c.events[0].Response)
	}
}

func (c *client) want(got, want queue.Response) {
	c.t.Helper()
	if got != want {
		c.t.Fatalf("answer is %s, want %s", show(got), show(want))
	}
}

// wantErr runs a command that must fail.
func (c *client) wantErr(want queue.Error, entity queue.ID, key queue.PrivateKey, command queue.Command) {
	c.t.Helper()
	c.want(c.do(entity, key, command), queue.ERR{Err: want})
}

// wantOK runs a command that must succeed without result.
func (c *client) wantOK(entity queue.ID, key queue.PrivateKey, command queue.Command) {
	c.t.Helper()
	c.want(c.do(entity, key, command), queue.OK{})
}

func show(r queue.Response) string {
	if e, ok := r.(queue.ERR); ok {
		return string("ERR " + e.Err)
	}
	if r == nil {
		return "nothing"
	}
	return r.Tag()
}

// inbox is a queue as its recipient knows it.
type inbox struct {
	recipient, sender queue.ID
	key               queue.PrivateKey
	secret            box.Secret
	mode              queue.Mode
}

// newInbox creates a queue.
func (c *client) newInbox(command queue.NEW) inbox {
	c.t.Helper()
	key := newKey(c.t, keys.Ed25519)
	return c.newInboxWith(key, command)
}

func (c *client) newInboxWith(key queue.PrivateKey, command queue.NEW) inbox {
	c.t.Helper()
	dh, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(c.t, err)
	command.RecipientKey, command.RecipientDH = key.Public(), keys.FromX25519(dh.PublicKey())
	ids, ok := c.do("", key, command).(queue.IDS)
	if !ok {
		c.t.Fatal("queue was not created")
	}
	serverDH, err := ids.ServerDH.X25519()
	must(c.t, err)
	secret, err := box.Agree(dh, serverDH)
	must(c.t, err)
	return inbox{ids.RecipientID, ids.SenderID, key, secret, ids.Mode}
}

// subscribed is a messaging queue, subscribed at once.
func (c *client) subscribed() inbox {
	c.t.Helper()
	return c.newInbox(queue.NEW{Subscribe: true, Mode: queue.ModeMessaging})
}

// open returns the content of a message and its ID.
func (q inbox) open(t testing.TB, r queue.Response) (queue.Message, queue.ID) {
	t.Helper()
	msg, ok := r.(queue.MSG)
	if !ok {
		t.Fatalf("%s where a message was expected", show(r))
	}
	m, err := queue.OpenMessage(&q.secret, msg)
	must(t, err)
	return m, msg.ID
}

// wantMessage checks the body of a message and returns its ID.
func (q inbox) wantMessage(t testing.TB, r queue.Response, body string) queue.ID {
	t.Helper()
	m, id := q.open(t, r)
	if m.Quota || string(m.Body) != body {
		t.Fatalf("message has another body (%d bytes, quota %v), want %q", len(m.Body), m.Quota, body)
	}
	return id
}

// receive takes the next event, which must be a message in q.
func (q inbox) receive(c *client, body string) queue.ID {
	c.t.Helper()
	a := c.event()
	if a.EntityID != q.recipient {
		c.t.Fatalf("%s is for another queue", show(a.Response))
	}
	return q.wantMessage(c.t, a.Response, body)
}

func send(body string) queue.SEND { return queue.SEND{Body: []byte(body)} }

var unsigned queue.PrivateKey

func newKey(t testing.TB, a keys.Algorithm) queue.PrivateKey {
	t.Helper()
	k, err := queue.GenerateKey(a, rand.Reader)
	must(t, err)
	return k
}

func randomID() queue.ID {
	id, err := queue.NewID(rand.Reader)
	if err != nil {
		panic(err)
	}
	return id
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// waitFor polls until f is true.
func waitFor(t testing.TB, what string, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("waited in vain: " + what)
		}
	}
}

// wantClosed fails unless the relay ends the connection.
func (c *client) wantClosed() {
	c.t.Helper()
	for {
		if _, err := c.tryRead(); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				c.t.Fatal("connection is still open")
			}
			return
		}
	}
}
