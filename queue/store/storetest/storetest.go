// Package storetest is the conformance suite of relay stores: every implementation of store.Store passes Run. It is for
// tests only.
package storetest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// Implementation is a kind of store under test.
type Implementation struct {
	// Open opens the store that lives in folder dir, or makes it. quota 0 means the default.
	Open func(t testing.TB, dir string, quota int) store.Store
	// Durable stores are closed and opened again by the suite, and must have kept everything.
	Durable bool
}

// Run tests an implementation.
func Run(t *testing.T, i Implementation) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *fixture)
	}{
		{"queues are found under the ID of each role only", testLookup},
		{"IDs are taken once", testExists},
		{"the first sender key stays", testSecure},
		{"status and block reason", testStatus},
		{"notifiers are replaced and removed", testNotifier},
		{"messages leave in the order they came", testOrder},
		{"acknowledging anything but the head changes nothing", testWrongAck},
		{"a full queue takes one marker and opens when it is empty", testQuota},
		{"markers do not expire and stop expiry", testExpiry},
		{"deleted queues are gone with their messages", testDelete},
		{"bodies of every size are kept", testBodies},
		{"totals follow", testCounts},
		{"concurrent senders lose nothing and keep their order", testConcurrent},
		{"one of two keys wins", testConcurrentSecure},
		{"a closed store refuses", testClosed},
		{"random histories equal the model", testModel},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newFixture(t, i, 0)) })
	}
}

// fixture is a store in use and how to open it again.
type fixture struct {
	store.Store
	implementation Implementation
	dir            string
	quota          int
	next           uint64 // last number given to an ID; owned by the test's goroutine
}

var ctx = context.Background()

func newFixture(t testing.TB, i Implementation, quota int) *fixture {
	f := &fixture{implementation: i, dir: t.TempDir(), quota: quota}
	f.Store = i.Open(t, f.dir, quota)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// withQuota opens another, empty store.
func (f *fixture) withQuota(t testing.TB, quota int) *fixture {
	return newFixture(t, f.implementation, quota)
}

// reopen closes and opens a durable store; for others it does nothing.
func (f *fixture) reopen(t testing.TB) {
	t.Helper()
	if !f.implementation.Durable {
		return
	}
	must(t, f.Close())
	f.Store = f.implementation.Open(t, f.dir, f.quota)
}

func (f *fixture) id() queue.ID {
	f.next++
	id := binary.BigEndian.AppendUint64(make([]byte, queue.IDSize-8), f.next)
	return queue.ID(id)
}

func (f *fixture) key() keys.Public {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, string(f.id()))
	return keys.FromEd25519(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
}

func (f *fixture) queue() store.Queue {
	return store.Queue{
		Recipient:     f.id(),
		Sender:        f.id(),
		RecipientKeys: []keys.Public{f.key()},
		Secret:        box.Secret{1, 2, 3},
		Mode:          queue.ModeMessaging,
		Status:        store.Active,
		Used:          19000,
	}
}

func (f *fixture) create(t testing.TB) store.Queue {
	t.Helper()
	q := f.queue()
	wait(t)(f.Create(ctx, q))
	return q
}

func (f *fixture) message(time int64) store.Message {
	id := f.id()
	return store.Message{ID: id, Time: time, Body: []byte("body of " + string(id))}
}

// send adds a message and returns it.
func (f *fixture) send(t testing.TB, q store.Queue, time int64) store.Message {
	t.Helper()
	m := f.message(time)
	sent, c, err := f.Send(ctx, q.Recipient, m)
	must(t, err)
	must(t, c.Wait(ctx))
	if sent.Full || !sent.Added {
		t.Fatalf("message refused: %+v", sent)
	}
	return m
}

// ack acknowledges the head, which must be m, and tells how many messages are left.
func (f *fixture) ack(t testing.TB, q store.Queue, m store.Message) int {
	t.Helper()
	f.wantHead(t, q, m)
	rest, c, err := f.Ack(ctx, q.Recipient, m.ID)
	must(t, err)
	must(t, c.Wait(ctx))
	return rest
}

func (f *fixture) wantHead(t testing.TB, q store.Queue, want store.Message) {
	t.Helper()
	got, ok, err := f.Head(ctx, q.Recipient)
	must(t, err)
	if !ok {
		t.Fatal("queue is empty")
	}
	if !same(got, want) {
		t.Fatalf("head is another message: time %d, marker %v, %d bytes; want time %d, marker %v, %d bytes",
			got.Time, got.Marker, len(got.Body), want.Time, want.Marker, len(want.Body))
	}
}

func (f *fixture) wantEmpty(t testing.TB, q store.Queue) {
	t.Helper()
	_, ok, err := f.Head(ctx, q.Recipient)
	must(t, err)
	if ok {
		t.Fatal("queue is not empty")
	}
}

func same(a, b store.Message) bool {
	return a.ID == b.ID && a.Time == b.Time && a.Notify == b.Notify && a.Marker == b.Marker && bytes.Equal(a.Body, b.Body)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

// wait returns a function that takes the results of a change and waits until it is durable.
func wait(t testing.TB) func(*store.Commit, error) {
	return func(c *store.Commit, err error) {
		t.Helper()
		must(t, err)
		must(t, c.Wait(ctx))
	}
}

func wantQueue(t testing.TB, got store.Queue, err error, want store.Queue) {
	t.Helper()
	must(t, err)
	if describe(got) != describe(want) {
		t.Fatalf("queue differs:\ngot  %s\nwant %s", describe(got), describe(want))
	}
}

// describe shows every field of a record; the values are those of tests, so nothing is hidden.
func describe(q store.Queue) string {
	notifier := "none"
	if n := q.Notifier; n != nil {
		notifier = fmt.Sprintf("%x %x %x", string(n.ID), n.Key.Raw(), n.Secret[:])
	}
	keys := ""
	for _, k := range q.RecipientKeys {
		keys += fmt.Sprintf(" %x", k.Raw())
	}
	return fmt.Sprintf("recipient %x sender %x keys%s sender key %x secret %x mode %d status %d %q notifier %s used %d",
		string(q.Recipient), string(q.Sender), keys, q.SenderKey.Raw(), q.Secret[:], q.Mode, q.Status, q.BlockReason, notifier, q.Used)
}

// together runs f n times at once.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}
