package storetest

import (
	"testing"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

func testLookup(t *testing.T, f *fixture) {
	q := f.queue()
	q.RecipientKeys = append(q.RecipientKeys, f.key())
	q.Mode = queue.ModeContact
	q.Notifier = &store.Notifier{ID: f.id(), Key: f.key(), Secret: box.Secret{9}}
	wait(t)(f.Create(ctx, q))
	other := f.create(t)

	check := func() {
		t.Helper()
		got, err := f.ByRecipient(ctx, q.Recipient)
		wantQueue(t, got, err, q)
		got, err = f.BySender(ctx, q.Sender)
		wantQueue(t, got, err, q)
		got, err = f.ByNotifier(ctx, q.Notifier.ID)
		wantQueue(t, got, err, q)
		got, err = f.BySender(ctx, other.Sender)
		wantQueue(t, got, err, other)

		for _, id := range []queue.ID{q.Sender, q.Notifier.ID, f.id(), "", "short"} {
			_, err := f.ByRecipient(ctx, id)
			wantError(t, err, store.ErrNotFound)
		}
		for _, id := range []queue.ID{q.Recipient, q.Notifier.ID, f.id(), ""} {
			_, err := f.BySender(ctx, id)
			wantError(t, err, store.ErrNotFound)
		}
		for _, id := range []queue.ID{q.Recipient, q.Sender, f.id(), ""} {
			_, err := f.ByNotifier(ctx, id)
			wantError(t, err, store.ErrNotFound)
		}
	}
	check()
	f.reopen(t)
	check()
	// Looking for a queue that does not exist yet must not hide it later.
	late := f.queue()
	_, err := f.ByRecipient(ctx, late.Recipient)
	wantError(t, err, store.ErrNotFound)
	_, err = f.BySender(ctx, late.Sender)
	wantError(t, err, store.ErrNotFound)
	wait(t)(f.Create(ctx, late))
	got, err := f.ByRecipient(ctx, late.Recipient)
	wantQueue(t, got, err, late)
	got, err = f.BySender(ctx, late.Sender)
	wantQueue(t, got, err, late)
}

func testExists(t *testing.T, f *fixture) {
	q := f.queue()
	q.Notifier = &store.Notifier{ID: f.id(), Key: f.key()}
	wait(t)(f.Create(ctx, q))
	check := func() {
		t.Helper()
		sameRecipient, sameSender, sameNotifier := f.queue(), f.queue(), f.queue()
		sameRecipient.Recipient = q.Recipient
		sameSender.Sender = q.Sender
		sameNotifier.Notifier = &store.Notifier{ID: q.Notifier.ID, Key: f.key()}
		for _, again := range []store.Queue{sameRecipient, sameSender, sameNotifier} {
			_, err := f.Create(ctx, again)
			wantError(t, err, store.ErrExists)
		}
		_, err := f.BySender(ctx, sameRecipient.Sender)
		wantError(t, err, store.ErrNotFound)
		_, err = f.ByRecipient(ctx, sameSender.Recipient)
		wantError(t, err, store.ErrNotFound)
		got, err := f.ByRecipient(ctx, q.Recipient)
		wantQueue(t, got, err, q)
	}
	check()
	f.reopen(t)
	check()
}

func testSecure(t *testing.T, f *fixture) {
	q := f.create(t)
	key := f.key()
	wait(t)(f.Secure(ctx, q.Recipient, key))
	q.SenderKey = key
	wait(t)(f.Secure(ctx, q.Recipient, key))
	_, err := f.Secure(ctx, q.Recipient, f.key())
	wantError(t, err, store.ErrKeyTaken)
	f.reopen(t)
	_, err = f.Secure(ctx, q.Recipient, f.key())
	wantError(t, err, store.ErrKeyTaken)
	wait(t)(f.Secure(ctx, q.Recipient, key))
	got, err := f.BySender(ctx, q.Sender)
	wantQueue(t, got, err, q)
	_, err = f.Secure(ctx, f.id(), key)
	wantError(t, err, store.ErrNotFound)
}

func testConcurrentSecure(t *testing.T, f *fixture) {
	q := f.create(t)
	candidates := []keys.Public{f.key(), f.key(), f.key(), f.key()}
	results := make([]error, len(candidates))
	together(len(candidates), func(i int) {
		c, err := f.Secure(ctx, q.Recipient, candidates[i])
		if err == nil {
			err = c.Wait(ctx)
		}
		results[i] = err
	})
	winner := -1
	for i, err := range results {
		if err != nil {
			wantError(t, err, store.ErrKeyTaken)
		} else if winner >= 0 {
			t.Fatal("two keys were taken")
		} else {
			winner = i
		}
	}
	if winner < 0 {
		t.Fatal("no key was taken")
	}
	q.SenderKey = candidates[winner]
	got, err := f.ByRecipient(ctx, q.Recipient)
	wantQueue(t, got, err, q)
}

func testStatus(t *testing.T, f *fixture) {
	q := f.create(t)
	first := f.send(t, q, 1)
	for _, status := range []store.Status{store.Blocked, store.Off, store.Off} {
		wait(t)(f.SetStatus(ctx, q.Recipient, status, "spam"))
		q.Status, q.BlockReason = status, ""
		if status == store.Blocked {
			q.BlockReason = "spam"
		}
		got, err := f.ByRecipient(ctx, q.Recipient)
		wantQueue(t, got, err, q)
		_, _, err = f.Send(ctx, q.Recipient, f.message(2))
		wantError(t, err, store.ErrOff)
		f.reopen(t)
		got, err = f.ByRecipient(ctx, q.Recipient)
		wantQueue(t, got, err, q)
		f.wantHead(t, q, first)
	}
	if rest := f.ack(t, q, first); rest != 0 {
		t.Fatalf("%d messages left", rest)
	}
	_, err := f.SetStatus(ctx, f.id(), store.Off, "")
	wantError(t, err, store.ErrNotFound)
}

func testNotifier(t *testing.T, f *fixture) {
	q := f.create(t)
	set := func(n, before *store.Notifier) {
		t.Helper()
		got, c, err := f.SetNotifier(ctx, q.Recipient, n)
		must(t, err)
		must(t, c.Wait(ctx))
		if (got == nil) != (before == nil) || got != nil && (got.ID != before.ID || got.Secret != before.Secret) {
			t.Fatal("another notifier was there before")
		}
		q.Notifier = n
		if before != nil && (n == nil || n.ID != before.ID) {
			_, err := f.ByNotifier(ctx, before.ID)
			wantError(t, err, store.ErrNotFound)
		}
		for range 2 {
			found, err := f.ByRecipient(ctx, q.Recipient)
			wantQueue(t, found, err, q)
			if n != nil {
				found, err := f.ByNotifier(ctx, n.ID)
				wantQueue(t, found, err, q)
			}
			f.reopen(t)
		}
	}
	one := &store.Notifier{ID: f.id(), Key: f.key(), Secret: box.Secret{1}}
	two := &store.Notifier{ID: f.id(), Key: f.key(), Secret: box.Secret{2}}
	set(nil, nil)
	set(one, nil)
	set(two, one)

	other := f.create(t)
	_, _, err := f.SetNotifier(ctx, other.Recipient, two)
	wantError(t, err, store.ErrExists)
	found, err := f.ByNotifier(ctx, two.ID)
	wantQueue(t, found, err, q)

	set(nil, two)
	set(nil, nil)
	_, _, err = f.SetNotifier(ctx, f.id(), one)
	wantError(t, err, store.ErrNotFound)
}

func testDelete(t *testing.T, f *fixture) {
	q := f.queue()
	q.Notifier = &store.Notifier{ID: f.id(), Key: f.key()}
	wait(t)(f.Create(ctx, q))
	kept := f.create(t)
	f.send(t, q, 1)
	f.send(t, q, 2)
	m := f.send(t, kept, 3)
	deleted, c, err := f.Delete(ctx, q.Recipient)
	wantQueue(t, deleted, err, q)
	check := func() {
		t.Helper()
		_, err := f.ByRecipient(ctx, q.Recipient)
		wantError(t, err, store.ErrNotFound)
		_, err = f.BySender(ctx, q.Sender)
		wantError(t, err, store.ErrNotFound)
		_, err = f.ByNotifier(ctx, q.Notifier.ID)
		wantError(t, err, store.ErrNotFound)
		_, _, err = f.Send(ctx, q.Recipient, f.message(4))
		wantError(t, err, store.ErrNotFound)
		_, _, err = f.Head(ctx, q.Recipient)
		wantError(t, err, store.ErrNotFound)
		_, _, err = f.Ack(ctx, q.Recipient, m.ID)
		wantError(t, err, store.ErrNotFound)
		_, err = f.Info(ctx, q.Recipient)
		wantError(t, err, store.ErrNotFound)
		wantError(t, f.Touch(ctx, q.Recipient, 5), store.ErrNotFound)
		_, _, err = f.Delete(ctx, q.Recipient)
		wantError(t, err, store.ErrNotFound)
	}
	check()
	must(t, c.Wait(ctx))
	check()
	f.reopen(t)
	check()
	f.wantHead(t, kept, m)
	wantCounts(t, f, store.Counts{Queues: 1, Messages: 1})
}

func testCounts(t *testing.T, f *fixture) {
	wantCounts(t, f, store.Counts{})
	a, b := f.create(t), f.create(t)
	first := f.send(t, a, 1)
	f.send(t, a, 2)
	f.send(t, b, 3)
	wantCounts(t, f, store.Counts{Queues: 2, Messages: 3})
	f.ack(t, a, first)
	wantCounts(t, f, store.Counts{Queues: 2, Messages: 2})
	f.reopen(t)
	wantCounts(t, f, store.Counts{Queues: 2, Messages: 2})
	must(t, f.Touch(ctx, a.Recipient, 19001))
	_, c, err := f.Delete(ctx, a.Recipient)
	must(t, err)
	must(t, c.Wait(ctx))
	wantCounts(t, f, store.Counts{Queues: 1, Messages: 1})
}

// wantCounts checks the totals; everything that was changed is durable when it is called.
func wantCounts(t testing.TB, f *fixture, want store.Counts) {
	t.Helper()
	got, err := f.Counts(ctx)
	must(t, err)
	if got != want {
		t.Fatalf("totals are %+v, want %+v", got, want)
	}
}

func testClosed(t *testing.T, f *fixture) {
	q := f.create(t)
	must(t, f.Close())
	_, err := f.Create(ctx, f.queue())
	wantError(t, err, store.ErrClosed)
	_, err = f.ByRecipient(ctx, q.Recipient)
	wantError(t, err, store.ErrClosed)
	_, err = f.BySender(ctx, q.Sender)
	wantError(t, err, store.ErrClosed)
	_, _, err = f.Send(ctx, q.Recipient, f.message(1))
	wantError(t, err, store.ErrClosed)
	_, err = f.Expire(ctx, 1)
	wantError(t, err, store.ErrClosed)
	_, err = f.Counts(ctx)
	wantError(t, err, store.ErrClosed)
	must(t, f.Close())
}
