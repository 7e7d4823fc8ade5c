package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/mattn/go-sqlite3"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

var ctx = context.Background()

func openTest(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "relay.db"), o)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var lastID atomic.Int64

func testID() queue.ID { return queue.ID(fmt.Sprintf("%024d", lastID.Add(1))) }

func testKey(t testing.TB, fill byte) keys.Public {
	raw := make([]byte, 32)
	raw[0] = fill
	k, err := keys.New(keys.X25519, raw)
	must(t, err)
	return k
}

func testQueue(t testing.TB) store.Queue {
	return store.Queue{Recipient: testID(), Sender: testID(), RecipientKeys: []keys.Public{testKey(t, 1)}, Status: store.Active}
}

func create(t testing.TB, s *Store) store.Queue {
	t.Helper()
	q := testQueue(t)
	c, err := s.Create(ctx, q)
	must(t, err)
	must(t, c.Wait(ctx))
	return q
}

func message(size int) store.Message {
	return store.Message{ID: testID(), Time: 1, Body: make([]byte, size)}
}

// hold keeps the writer busy with a transaction of its own until release is called with its outcome.
func hold(t testing.TB, s *Store) (release func(error)) {
	t.Helper()
	begun, outcome := make(chan struct{}), make(chan error)
	must(t, s.writer.acquire(ctx))
	must(t, s.writer.submit(&op{commit: new(store.Commit), apply: func(*changes) error {
		close(begun)
		return <-outcome
	}}))
	<-begun
	return func(err error) { outcome <- err }
}

// inWriter runs f between two transactions.
func inWriter(t testing.TB, s *Store, f func() error) {
	t.Helper()
	must(t, s.writer.acquire(ctx))
	o := &op{commit: new(store.Commit), apply: func(*changes) error { return f() }}
	must(t, s.writer.submit(o))
	must(t, o.commit.Wait(ctx))
}

func isDone(c *store.Commit) (done bool) {
	c.Then(func(error) { done = true })
	return done
}

func wantHead(t testing.TB, s *Store, q store.Queue, want store.Message) {
	t.Helper()
	m, ok, err := s.Head(ctx, q.Recipient)
	must(t, err)
	if !ok || m.ID != want.ID || len(m.Body) != len(want.Body) {
		t.Fatal("another message is at the head")
	}
}

func rows(t testing.TB, s *Store) (n int) {
	t.Helper()
	must(t, s.reader.db.QueryRow("SELECT count(*) FROM messages").Scan(&n))
	return n
}

func TestAcknowledgedBeforeItIsStored(t *testing.T) {
	s := openTest(t, Options{})
	q := create(t, s)
	release := hold(t, s)
	var sent []*store.Commit
	var messages []store.Message
	for range 3 {
		m := message(100)
		_, c, err := s.Send(ctx, q.Recipient, m)
		must(t, err)
		sent, messages = append(sent, c), append(messages, m)
	}
	for i := range 2 {
		wantHead(t, s, q, messages[i])
		rest, c, err := s.Ack(ctx, q.Recipient, messages[i].ID)
		must(t, err)
		if rest != 2-i {
			t.Fatalf("%d messages left", rest)
		}
		// Both know without the disk.
		must(t, sent[i].Wait(ctx))
		must(t, c.Wait(ctx))
	}
	if isDone(sent[2]) {
		t.Fatal("a message that was not stored is said to be durable")
	}
	release(nil)
	must(t, sent[2].Wait(ctx))
	if n := rows(t, s); n != 1 {
		t.Fatalf("%d messages are on disk", n)
	}
	var last int64
	must(t, s.reader.db.QueryRow("SELECT max(id) FROM messages").Scan(&last))
	if want := s.nextMessage.Load(); last != want {
		t.Fatalf("message %d is on disk, want only %d", last, want)
	}
	counts, err := s.Counts(ctx)
	must(t, err)
	if counts != (store.Counts{Queues: 1, Messages: 1}) {
		t.Fatalf("%+v", counts)
	}
}

func TestAcknowledgedWhileItIsBeingStored(t *testing.T) {
	s := openTest(t, Options{})
	q := create(t, s)
	release := hold(t, s)
	first, second := message(10), message(10)
	_, firstSent, err := s.Send(ctx, q.Recipient, first)
	must(t, err)
	release(nil)
	must(t, firstSent.Wait(ctx))
	_, secondSent, err := s.Send(ctx, q.Recipient, second)
	must(t, err)
	_, firstGone, err := s.Ack(ctx, q.Recipient, first.ID)
	must(t, err)
	_, secondGone, err := s.Ack(ctx, q.Recipient, second.ID)
	must(t, err)
	for _, c := range []*store.Commit{secondSent, firstGone, secondGone} {
		must(t, c.Wait(ctx))
	}
	if n := rows(t, s); n != 0 {
		t.Fatalf("%d messages are on disk", n)
	}
}

func TestManyAcknowledgedWhileTheDiskIsSlow(t *testing.T) {
	s := openTest(t, Options{Backlog: 4})
	q := create(t, s)
	release := hold(t, s)
	for range 1000 {
		m := message(16000)
		_, sent, err := s.Send(ctx, q.Recipient, m)
		must(t, err)
		_, gone, err := s.Ack(ctx, q.Recipient, m.ID)
		must(t, err)
		must(t, sent.Wait(ctx))
		must(t, gone.Wait(ctx))
	}
	s.writer.mu.Lock()
	pending := len(s.writer.pending)
	s.writer.mu.Unlock()
	if pending > 8 {
		t.Fatalf("%d messages that nobody needs wait for the disk", pending)
	}
	release(nil)
}

func TestFailedTransaction(t *testing.T) {
	s := openTest(t, Options{})
	q, deleted := create(t, s), create(t, s)
	kept := message(10)
	_, c, err := s.Send(ctx, q.Recipient, kept)
	must(t, err)
	must(t, c.Wait(ctx))
	n := &store.Notifier{ID: testID(), Key: testKey(t, 5)}
	_, c, err = s.SetNotifier(ctx, q.Recipient, n)
	must(t, err)
	must(t, c.Wait(ctx))

	release := hold(t, s)
	var commits []*store.Commit
	changed := func(c *store.Commit, err error) {
		t.Helper()
		must(t, err)
		commits = append(commits, c)
	}
	lost := testQueue(t)
	changed(s.Create(ctx, lost))
	changed(s.Secure(ctx, q.Recipient, testKey(t, 9)))
	changed(s.SetStatus(ctx, q.Recipient, store.Off, ""))
	changed(s.SetStatus(ctx, q.Recipient, store.Active, ""))
	_, c, err = s.SetNotifier(ctx, q.Recipient, nil)
	changed(c, err)
	if _, err := s.ByNotifier(ctx, n.ID); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("removed notifier: %v", err)
	}
	_, c, err = s.Ack(ctx, q.Recipient, kept.ID)
	changed(c, err)
	_, c, err = s.Send(ctx, q.Recipient, message(10))
	changed(c, err)
	_, c, err = s.Delete(ctx, deleted.Recipient)
	changed(c, err)
	broken := errors.New("the disk is broken")
	release(broken)
	for i, c := range commits {
		if err := c.Wait(ctx); !errors.Is(err, broken) {
			t.Fatalf("change %d: %v", i, err)
		}
	}

	// Everything is as it was.
	if _, err := s.ByRecipient(ctx, lost.Recipient); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("queue that was not stored: %v", err)
	}
	got, err := s.BySender(ctx, q.Sender)
	must(t, err)
	if !got.SenderKey.IsZero() || got.Status != store.Active || got.Notifier == nil {
		t.Fatal("a change that was not stored is visible")
	}
	_, err = s.ByNotifier(ctx, n.ID)
	must(t, err)
	wantHead(t, s, q, kept)
	info, err := s.Info(ctx, q.Recipient)
	must(t, err)
	if info.Size != 1 {
		t.Fatalf("%d messages", info.Size)
	}
	_, err = s.ByRecipient(ctx, deleted.Recipient)
	must(t, err)

	// And the store works on.
	c, err = s.Create(ctx, lost)
	must(t, err)
	must(t, c.Wait(ctx))
	_, c, err = s.Ack(ctx, q.Recipient, kept.ID)
	must(t, err)
	must(t, c.Wait(ctx))
	if n := rows(t, s); n != 0 {
		t.Fatalf("%d messages are on disk", n)
	}
}

func TestFullDisk(t *testing.T) {
	s := openTest(t, Options{})
	limit := func(pages int) {
		t.Helper()
		inWriter(t, s, func() error {
			_, err := s.writer.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages))
			return err
		})
	}
	q := create(t, s)
	limit(60)
	var stored []store.Message
	for {
		m := message(16000)
		_, c, err := s.Send(ctx, q.Recipient, m)
		must(t, err)
		if err := c.Wait(ctx); err != nil {
			var full sqlite3.Error
			if !errors.As(err, &full) || full.Code != sqlite3.ErrFull {
				t.Fatalf("error is %v", err)
			}
			break
		}
		stored = append(stored, m)
	}
	if len(stored) == 0 {
		t.Fatal("nothing was stored")
	}
	// Reading and deleting work, and make room.
	for i, m := range stored {
		wantHead(t, s, q, m)
		_, c, err := s.Ack(ctx, q.Recipient, m.ID)
		must(t, err)
		must(t, c.Wait(ctx))
		if i == 1 {
			m := message(16000)
			_, c, err := s.Send(ctx, q.Recipient, m)
			must(t, err)
			must(t, c.Wait(ctx))
			stored = append(stored[:len(stored):len(stored)], m)
		}
	}
	limit(1 << 20)
	for range 20 {
		_, c, err := s.Send(ctx, q.Recipient, message(16000))
		must(t, err)
		must(t, c.Wait(ctx))
	}
}

func TestAlmostFullDisk(t *testing.T) {
	s := openTest(t, Options{})
	q, doomed := create(t, s), create(t, s)
	kept := message(100)
	_, c, err := s.Send(ctx, q.Recipient, kept)
	must(t, err)
	must(t, c.Wait(ctx))

	real := s.free
	s.free = func() (int64, error) { return minFree - 1, nil }
	if _, _, err := s.Send(ctx, q.Recipient, message(100)); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("Send returned %v", err)
	}
	if _, err := s.Create(ctx, testQueue(t)); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("Create returned %v", err)
	}
	// Everything else works.
	wantHead(t, s, q, kept)
	c, err = s.Secure(ctx, q.Recipient, testKey(t, 1))
	must(t, err)
	must(t, c.Wait(ctx))
	rest, c, err := s.Ack(ctx, q.Recipient, kept.ID)
	must(t, err)
	must(t, c.Wait(ctx))
	if rest != 0 {
		t.Fatalf("%d messages are left", rest)
	}
	_, c, err = s.Delete(ctx, doomed.Recipient)
	must(t, err)
	must(t, c.Wait(ctx))

	// What the file has room for inside need not be on the disk.
	s.free = real
	var large []store.Queue
	for range 10 {
		q := create(t, s)
		for range 120 {
			_, c, err = s.Send(ctx, q.Recipient, message(60000))
			must(t, err)
		}
		large = append(large, q)
	}
	must(t, c.Wait(ctx))
	for _, q := range large {
		_, c, err = s.Delete(ctx, q.Recipient)
		must(t, err)
	}
	must(t, c.Wait(ctx))
	for _, x := range []struct {
		free int64
		want error
	}{{minFree / 2, nil}, {minFree/2 - 1, ErrNoSpace}, {0, ErrNoSpace}} {
		s.free = func() (int64, error) { return x.free, nil }
		if err := s.room(); !errors.Is(err, x.want) {
			t.Fatalf("with %d free bytes: %v", x.free, err)
		}
	}
	// A disk that does not tell is not full.
	s.free = func() (int64, error) { return 0, errors.ErrUnsupported }
	create(t, s)
	s.free = real
	if free, err := s.free(); err != nil || free <= 0 {
		t.Fatalf("%d bytes are free, %v", free, err)
	}
	m := message(100)
	_, c, err = s.Send(ctx, q.Recipient, m)
	must(t, err)
	must(t, c.Wait(ctx))
	wantHead(t, s, q, m)
}

func TestMemoryFollowsUse(t *testing.T) {
	const size = 20
	s := openTest(t, Options{CacheSize: size})
	var queues []store.Queue
	for range 200 {
		q := create(t, s)
		_, c, err := s.Send(ctx, q.Recipient, message(1000))
		must(t, err)
		must(t, c.Wait(ctx))
		queues = append(queues, q)
	}
	for _, q := range queues {
		_, err := s.BySender(ctx, q.Sender)
		must(t, err)
		_, err = s.ByRecipient(ctx, testID())
		if !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
	}
	for range absentSize + 100 {
		_, _ = s.BySender(ctx, testID())
	}
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if n := s.cache.recent.Len(); n > size {
		t.Fatalf("%d records are in memory", n)
	}
	if n := len(s.cache.entries); n > 3*size {
		t.Fatalf("%d names are in memory", n)
	}
	if n := s.cache.missed.Len(); n > absentSize || n != len(s.cache.absent) {
		t.Fatalf("%d absent names are in memory", n)
	}
	for _, e := range s.cache.entries {
		for _, w := range e.waiting {
			if w.message.Body != nil || w.insert != nil {
				t.Fatal("the body of a stored message is in memory")
			}
		}
	}
}
