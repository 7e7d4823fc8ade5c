package storetest

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// testModel runs random histories against the store and store.Memory: after every step both say the same.
func testModel(t *testing.T, f *fixture) {
	rapid.Check(t, func(rt *rapid.T) {
		const quota = 4
		run := f.withQuota(t, quota)
		defer run.Close()
		model := store.NewMemory(quota)
		var queues []store.Queue
		var commits []*store.Commit
		pick := func(rt *rapid.T) store.Queue {
			if len(queues) == 0 {
				rt.Skip("no queue")
			}
			return rapid.SampledFrom(queues).Draw(rt, "queue")
		}
		change := func(c *store.Commit, err, want error) {
			if !errors.Is(err, want) {
				rt.Fatalf("error is %v, want %v", err, want)
			}
			if err == nil {
				commits = append(commits, c)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				q := run.queue()
				queues = append(queues, q)
				c, err := run.Create(ctx, q)
				_, want := model.Create(ctx, q)
				change(c, err, want)
			},
			"secure": func(rt *rapid.T) {
				q, key := pick(rt), run.key()
				if rapid.Bool().Draw(rt, "same") {
					key = q.RecipientKeys[0]
				}
				c, err := run.Secure(ctx, q.Recipient, key)
				_, want := model.Secure(ctx, q.Recipient, key)
				change(c, err, want)
			},
			"off": func(rt *rapid.T) {
				q := pick(rt)
				c, err := run.SetStatus(ctx, q.Recipient, store.Off, "")
				_, want := model.SetStatus(ctx, q.Recipient, store.Off, "")
				change(c, err, want)
			},
			"notifier": func(rt *rapid.T) {
				q := pick(rt)
				var n *store.Notifier
				if rapid.Bool().Draw(rt, "some") {
					n = &store.Notifier{ID: run.id(), Key: run.key()}
				}
				_, c, err := run.SetNotifier(ctx, q.Recipient, n)
				_, _, want := model.SetNotifier(ctx, q.Recipient, n)
				change(c, err, want)
			},
			"delete": func(rt *rapid.T) {
				if rapid.IntRange(0, 3).Draw(rt, "seldom") > 0 {
					rt.Skip("not now")
				}
				q := pick(rt)
				_, c, err := run.Delete(ctx, q.Recipient)
				_, _, want := model.Delete(ctx, q.Recipient)
				change(c, err, want)
			},
			"send": func(rt *rapid.T) {
				q, m := pick(rt), run.message(rapid.Int64Range(0, 10).Draw(rt, "time"))
				got, c, err := run.Send(ctx, q.Recipient, m)
				sent, _, want := model.Send(ctx, q.Recipient, m)
				change(c, err, want)
				if got != sent {
					rt.Fatalf("sent %+v, want %+v", got, sent)
				}
			},
			"ack": func(rt *rapid.T) {
				q := pick(rt)
				m, _, _ := model.Head(ctx, q.Recipient)
				rest, c, err := run.Ack(ctx, q.Recipient, m.ID)
				left, _, want := model.Ack(ctx, q.Recipient, m.ID)
				change(c, err, want)
				if rest != left {
					rt.Fatalf("%d messages left, want %d", rest, left)
				}
			},
			"expire": func(rt *rapid.T) {
				before := rapid.Int64Range(0, 12).Draw(rt, "before")
				got, err := run.Expire(ctx, before)
				must(t, err)
				if want, _ := model.Expire(ctx, before); got != want {
					rt.Fatalf("%d messages expired, want %d", got, want)
				}
			},
			"reopen": func(rt *rapid.T) {
				if !run.implementation.Durable {
					rt.Skip("not durable")
				}
				run.reopen(t)
				for _, c := range commits {
					if err := c.Wait(ctx); err != nil {
						rt.Fatalf("closing lost a change: %v", err)
					}
				}
				commits = nil
			},
			"": func(rt *rapid.T) {
				for _, q := range queues {
					compare(rt, run.Store, model, q.Recipient, q.Sender)
				}
			},
		})
	})
}

// compare checks that both stores know the same about a queue.
func compare(rt *rapid.T, got, want store.Store, recipient, sender queue.ID) {
	a, errA := got.ByRecipient(ctx, recipient)
	b, errB := want.ByRecipient(ctx, recipient)
	if !errors.Is(errA, errB) || describe(a) != describe(b) {
		rt.Fatalf("queue differs: %v %s, want %v %s", errA, describe(a), errB, describe(b))
	}
	if _, err := got.BySender(ctx, sender); !errors.Is(err, errB) {
		rt.Fatalf("by sender: %v, want %v", err, errB)
	}
	if b.Notifier != nil {
		if n, err := got.ByNotifier(ctx, b.Notifier.ID); err != nil || n.Recipient != recipient {
			rt.Fatalf("by notifier: %v", err)
		}
	}
	m, ok, errA := got.Head(ctx, recipient)
	n, wantOK, errB := want.Head(ctx, recipient)
	if !errors.Is(errA, errB) || ok != wantOK || !same(m, n) {
		rt.Fatalf("head differs: %v %v, want %v %v", ok, errA, wantOK, errB)
	}
	i, _ := got.Info(ctx, recipient)
	j, _ := want.Info(ctx, recipient)
	if i.Size != j.Size || !same(i.Head, j.Head) {
		rt.Fatalf("size is %d, want %d", i.Size, j.Size)
	}
}
