package client

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// relay is a scripted relay: the test decides what happens to each attempt to connect and to each request.
type relay struct {
	t        *testing.T
	version  queue.Version
	attempts chan *attempt
}

// attempt is a client that is connecting.
type attempt struct {
	at     time.Time
	answer chan dialResult
}

func newRelay(t *testing.T, version queue.Version) *relay {
	return &relay{t: t, version: version, attempts: make(chan *attempt)}
}

// dial is the client's DialFunc.
func (r *relay) dial(ctx context.Context) (Conn, error) {
	a := &attempt{at: time.Now(), answer: make(chan dialResult, 1)}
	select {
	case r.attempts <- a:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case d := <-a.answer:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// refuse lets the next attempt fail, and returns when it was made.
func (r *relay) refuse(err error) time.Time {
	r.t.Helper()
	a := r.attempt()
	a.answer <- dialResult{err: err}
	return a.at
}

func (r *relay) attempt() *attempt {
	r.t.Helper()
	select {
	case a := <-r.attempts:
		return a
	case <-time.After(time.Hour):
		r.t.Fatal("no attempt to connect")
		return nil
	}
}

// accept lets the next attempt succeed.
func (r *relay) accept() *link {
	r.t.Helper()
	return r.acceptAttempt(r.attempt())
}

func (r *relay) acceptAttempt(a *attempt) *link {
	l := &link{
		t:         r.t,
		version:   r.version,
		sessionID: []byte("session of the test, 32 bytes...")[:32],
		toRelay:   make(chan []byte),
		toClient:  make(chan []byte),
		closed:    make(chan struct{}),
	}
	if r.version >= queue.VersionAuthenticators {
		key, err := ecdh.X25519().NewPrivateKey([]byte("session key of the relay, 32 b.."))
		if err != nil {
			r.t.Fatal(err)
		}
		l.sessionKey = key
	}
	a.answer <- dialResult{conn: l}
	return l
}

// link is a connection; the client has it as Conn, the relay uses the other methods.
type link struct {
	t          *testing.T
	version    queue.Version
	sessionID  []byte
	sessionKey *ecdh.PrivateKey
	toRelay    chan []byte
	toClient   chan []byte
	closed     chan struct{}
	once       sync.Once
}

func (l *link) Version() queue.Version { return l.version }
func (l *link) SessionID() []byte      { return l.sessionID }
func (l *link) MaxPayload() int        { return queue.MaxPayload }

func (l *link) PeerSessionKey() *ecdh.PublicKey {
	if l.sessionKey == nil {
		return nil
	}
	return l.sessionKey.PublicKey()
}

func (l *link) ReadBlock() ([]byte, error) {
	select {
	case b := <-l.toClient:
		return b, nil
	case <-l.closed:
		return nil, io.EOF
	}
}

func (l *link) WriteBlock(payload []byte) error {
	select {
	case l.toRelay <- bytes.Clone(payload):
		return nil
	case <-l.closed:
		return errors.New("write on closed connection")
	}
}

func (l *link) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// block receives the requests of one block.
func (l *link) block() []queue.Request {
	l.t.Helper()
	select {
	case payload := <-l.toRelay:
		requests := queue.DecodeBlock(l.version, l.sessionID, payload)
		for _, q := range requests {
			if q.Err != "" {
				l.t.Fatalf("client sent a request that is answered %q", q.Err)
			}
		}
		return requests
	case <-l.closed:
		l.t.Fatal("connection closed while waiting for a request")
	case <-time.After(time.Hour):
		l.t.Fatal("no request")
	}
	return nil
}

// request receives a block with one request.
func (l *link) request() queue.Request {
	l.t.Helper()
	requests := l.block()
	if len(requests) != 1 {
		l.t.Fatalf("%d requests in the block", len(requests))
	}
	return requests[0]
}

// requests receives n requests in any number of blocks.
func (l *link) requests(n int) (list []queue.Request) {
	l.t.Helper()
	for len(list) < n {
		list = append(list, l.block()...)
	}
	if len(list) != n {
		l.t.Fatalf("%d requests instead of %d", len(list), n)
	}
	return list
}

// send sends answers in one block.
func (l *link) send(answers ...queue.Answer) {
	l.t.Helper()
	var batch queue.Batch
	for _, a := range answers {
		if !batch.Add(queue.AppendAnswer(nil, l.version, l.sessionID, a)) {
			l.t.Fatal("answers do not fit a block")
		}
	}
	l.sendPayload(batch.Take())
}

func (l *link) sendPayload(payload []byte) {
	l.t.Helper()
	select {
	case l.toClient <- payload:
	case <-l.closed:
		l.t.Fatal("connection closed while sending")
	case <-time.After(time.Hour):
		l.t.Fatal("client does not read")
	}
}

// isClosed tells whether the client has closed the connection.
func (l *link) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

func onePayload(transmission []byte) []byte {
	var batch queue.Batch
	batch.Add(transmission)
	return batch.Take()
}

// testQueue returns a queue whose ID and key come from n.
func testQueue(n int) Queue {
	id := make([]byte, queue.IDSize)
	seed := make([]byte, 32)
	id[0], id[1], seed[0], seed[1] = byte(n>>8), byte(n), byte(n>>8), byte(n)
	key, err := queue.GenerateKey(keys.Ed25519, readerOf(seed))
	if err != nil {
		panic(err)
	}
	return Queue{ID: queue.ID(id), Key: key}
}

func testQueues(n int) []Queue {
	list := make([]Queue, n)
	for i := range list {
		list[i] = testQueue(i)
	}
	return list
}

type readerOf []byte

func (r readerOf) Read(b []byte) (int, error) { return copy(b, r), nil }

func testMSG(n int) queue.MSG {
	id := make([]byte, queue.IDSize)
	id[0], id[23] = 'm', byte(n)
	return queue.MSG{ID: queue.ID(id), Sealed: []byte("sealed")}
}

// next returns the next event.
func next(t *testing.T, c *Client) Event {
	t.Helper()
	select {
	case e, open := <-c.Events():
		if !open {
			t.Fatal("events are over")
		}
		return e
	case <-time.After(24 * time.Hour):
		t.Fatal("no event")
		return nil
	}
}

// expect returns the next event, which must be of type E.
func expect[E Event](t *testing.T, c *Client) E {
	t.Helper()
	e := next(t, c)
	if e, ok := e.(E); ok {
		return e
	}
	var want E
	t.Fatalf("event %T instead of %T", e, want)
	return want
}

// quiet checks that there is no event now.
func quiet(t *testing.T, c *Client) {
	t.Helper()
	select {
	case e := <-c.Events():
		t.Fatalf("unexpected event %T", e)
	case <-time.After(time.Millisecond):
	}
}

// background runs f, and returns a channel with its result.
func background[T any](f func() T) <-chan T {
	ch := make(chan T, 1)
	go func() { ch <- f() }()
	return ch
}
