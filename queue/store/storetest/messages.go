package storetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

func testOrder(t *testing.T, f *fixture) {
	q, other := f.create(t), f.create(t)
	f.wantEmpty(t, q)
	var sent []store.Message
	for i := range 20 {
		sent = append(sent, f.send(t, q, int64(100-i))) // clocks go backwards, order does not
		f.send(t, other, 1)
	}
	info, err := f.Info(ctx, q.Recipient)
	must(t, err)
	if info.Size != len(sent) || info.Head.ID != sent[0].ID || info.Head.Time != sent[0].Time || info.Head.Body != nil {
		t.Fatalf("info says %d messages", info.Size)
	}
	for i, m := range sent {
		if i == 10 {
			f.reopen(t)
		}
		if rest := f.ack(t, q, m); rest != len(sent)-i-1 {
			t.Fatalf("%d messages left after %d", rest, i+1)
		}
	}
	f.wantEmpty(t, q)
	f.reopen(t)
	f.wantEmpty(t, q)
	info, err = f.Info(ctx, q.Recipient)
	must(t, err)
	if info.Size != 0 {
		t.Fatalf("info says %d messages", info.Size)
	}
	_, _, err = f.Send(ctx, f.id(), f.message(1))
	wantError(t, err, store.ErrNotFound)
}

func testWrongAck(t *testing.T, f *fixture) {
	q := f.create(t)
	first := f.send(t, q, 1)
	second := f.send(t, q, 2)
	for _, id := range []queue.ID{second.ID, f.id(), ""} {
		rest, c, err := f.Ack(ctx, q.Recipient, id)
		must(t, err)
		must(t, c.Wait(ctx))
		if rest != 2 {
			t.Fatalf("%d messages left", rest)
		}
	}
	f.ack(t, q, first)
	rest, _, err := f.Ack(ctx, q.Recipient, first.ID)
	must(t, err)
	if rest != 1 {
		t.Fatalf("%d messages left", rest)
	}
	f.wantHead(t, q, second)
	empty := f.create(t)
	if rest, _, err = f.Ack(ctx, empty.Recipient, first.ID); err != nil || rest != 0 {
		t.Fatalf("acknowledging in an empty queue: %d left, %v", rest, err)
	}
}

func testQuota(t *testing.T, f *fixture) {
	const quota = 3
	f = f.withQuota(t, quota)
	q := f.create(t)
	fill := func() (held []store.Message) {
		t.Helper()
		for i := range quota {
			m := f.message(int64(i))
			sent, c, err := f.Send(ctx, q.Recipient, m)
			must(t, err)
			must(t, c.Wait(ctx))
			if want := (store.Sent{Added: true, First: i == 0}); sent != want {
				t.Fatalf("message %d: %+v, want %+v", i, sent, want)
			}
			held = append(held, m)
		}
		return held
	}
	refuse := func(want store.Sent) store.Message {
		t.Helper()
		m := f.message(77)
		sent, c, err := f.Send(ctx, q.Recipient, m)
		must(t, err)
		must(t, c.Wait(ctx))
		if sent != want {
			t.Fatalf("full queue: %+v, want %+v", sent, want)
		}
		return m
	}
	for range 2 {
		held := fill()
		marker := refuse(store.Sent{Full: true, Added: true}).AsMarker()
		refuse(store.Sent{Full: true})
		f.reopen(t)
		refuse(store.Sent{Full: true})
		for i, m := range append(held, marker) {
			if rest := f.ack(t, q, m); rest != quota-i {
				t.Fatalf("%d messages left after %d", rest, i+1)
			}
			if i < quota {
				refuse(store.Sent{Full: true})
			}
		}
	}
	// Without a marker there is room again after every acknowledgement.
	held := fill()
	f.ack(t, q, held[0])
	f.send(t, q, 1)
	refuse(store.Sent{Full: true, Added: true})
}

func testExpiry(t *testing.T, f *fixture) {
	f = f.withQuota(t, 2)
	expire := func(before int64, want int) {
		t.Helper()
		got, err := f.Expire(ctx, before)
		must(t, err)
		if got != want {
			t.Fatalf("%d messages expired, want %d", got, want)
		}
	}
	expire(1<<40, 0)
	old, mixed, full := f.create(t), f.create(t), f.create(t)
	f.send(t, old, 10)
	f.send(t, old, 19)
	f.send(t, mixed, 20)
	younger := f.send(t, mixed, 10)
	f.send(t, full, 11)
	f.send(t, full, 12)
	m := f.message(13)
	_, c, err := f.Send(ctx, full.Recipient, m)
	must(t, err)
	must(t, c.Wait(ctx))

	expire(20, 4)
	f.wantEmpty(t, old)
	f.wantHead(t, full, m.AsMarker())
	expire(20, 0)
	f.reopen(t)
	f.wantEmpty(t, old)
	f.wantHead(t, full, m.AsMarker())
	sent, c, err := f.Send(ctx, full.Recipient, f.message(30))
	must(t, err)
	must(t, c.Wait(ctx))
	if sent != (store.Sent{Full: true}) {
		t.Fatalf("expiry opened a queue with a marker: %+v", sent)
	}
	expire(21, 2)
	f.wantEmpty(t, mixed)
	wantCounts(t, f, store.Counts{Queues: 3, Messages: 1})
	// The ID of an expired message acknowledges nothing.
	after := f.send(t, mixed, 40)
	rest, _, err := f.Ack(ctx, mixed.Recipient, younger.ID)
	must(t, err)
	if rest != 1 {
		t.Fatalf("%d messages left", rest)
	}
	f.wantHead(t, mixed, after)
}

func testBodies(t *testing.T, f *fixture) {
	q := f.create(t)
	var sent []store.Message
	for i, size := range []int{0, 1, 255, 4096, 16088} {
		m := store.Message{ID: f.id(), Time: 1700000000 + int64(i), Notify: i%2 == 0, Body: bytes.Repeat([]byte{byte(i)}, size)}
		_, c, err := f.Send(ctx, q.Recipient, m)
		must(t, err)
		must(t, c.Wait(ctx))
		sent = append(sent, m)
	}
	f.reopen(t)
	for _, m := range sent {
		f.ack(t, q, m)
	}
}

func testConcurrent(t *testing.T, f *fixture) {
	const senders, each = 8, 30
	f = f.withQuota(t, senders*each)
	q := f.create(t)
	errs := make([]error, senders+1)
	message := func(sender, n int) store.Message {
		id := fmt.Sprintf("%012d%012d", sender, n)
		return store.Message{ID: queue.ID(id), Time: int64(n), Body: binary.BigEndian.AppendUint64(nil, uint64(n))}
	}
	var received []store.Message
	together(senders+1, func(i int) {
		if i < senders {
			var last *store.Commit
			for n := range each {
				sent, c, err := f.Send(ctx, q.Recipient, message(i, n))
				if err != nil || !sent.Added {
					errs[i] = fmt.Errorf("send: %+v, %w", sent, err)
					return
				}
				last = c
			}
			errs[i] = last.Wait(ctx)
			return
		}
		for len(received) < senders*each {
			m, ok, err := f.Head(ctx, q.Recipient)
			if err != nil {
				errs[i] = err
				return
			}
			if !ok {
				continue
			}
			received = append(received, m)
			_, c, err := f.Ack(ctx, q.Recipient, m.ID)
			if err == nil && len(received)%7 == 0 {
				err = c.Wait(ctx)
			}
			if err != nil {
				errs[i] = err
				return
			}
		}
	})
	for _, err := range errs {
		must(t, err)
	}
	next := make([]int, senders)
	for _, m := range received {
		var sender, n int
		_, err := fmt.Sscanf(string(m.ID), "%012d%012d", &sender, &n)
		must(t, err)
		if n != next[sender] || !same(m, message(sender, n)) {
			t.Fatalf("sender %d: message %d came when %d was due", sender, n, next[sender])
		}
		next[sender]++
	}
	f.wantEmpty(t, q)
	f.reopen(t)
	f.wantEmpty(t, q)
}
