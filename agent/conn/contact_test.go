package conn

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/queue"
)

// requestThrough lets b ask through the address of a, who accepts on connection c.
func requestThrough(w *world, a, b *node) (c *node) {
	w.t.Helper()
	a.create(link.Contact)
	w.settle(time.Hour)
	if err := b.join(mustEvent[LinkReady](a).Link, "bob asks"); err != nil {
		w.t.Fatal(err)
	}
	w.settle(time.Hour)
	r := mustEvent[Request](a)
	if string(r.Info) != "bob asks" || !r.Compatible {
		w.t.Fatalf("request %q, compatible %v", r.Info, r.Compatible)
	}
	c = a.again("alice for bob")
	if err := c.join(r.Link, "bob's info"); err != nil {
		w.t.Fatal(err)
	}
	a.must(Answered{r.ID})
	w.settle(time.Hour)
	return c
}

func TestContactAddress(t *testing.T) {
	w, a, b := pair(t)
	b.allow = []byte("alice's info") // the requester is the initiator
	c := requestThrough(w, a, b)
	checkConnected(t, b, c)
	if j := mustEvent[Joined](b); j.SendReady {
		t.Error("requester may send before it is connected")
	}
	b.send("from bob")
	c.send("from alice")
	w.settle(time.Hour)
	if got := mustEvent[Message](b); string(got.Body) != "body from alice" {
		t.Errorf("got %q", got.Body)
	}
	if got := mustEvent[Message](c); string(got.Body) != "body from bob" {
		t.Errorf("got %q", got.Body)
	}

	// The address stays usable, and its deletion leaves the connection alone.
	d := w.node("dave")
	if err := d.join(mustEvent[LinkReady](a).Link, "dave asks"); err != nil {
		t.Fatal(err)
	}
	w.settle(time.Hour)
	r := mustEvent[Request](a)
	if string(r.Info) != "dave asks" {
		t.Fatalf("request %q", r.Info)
	}
	if err := a.step(Answered{r.ID}); err != nil { // rejected
		t.Fatal(err)
	}
	if err := a.step(Answered{r.ID}); !errors.Is(err, &Error{Code: CodeNotFound}) {
		t.Errorf("answered twice: %v", err)
	}
	if _, ok := a.conn.Request(a.env(), r.ID); ok || a.conn.requests != 0 {
		t.Error("answered request is kept")
	}
	a.must(Delete{})
	w.settle(time.Hour)
	mustEvent[Deleted](a)
	c.send("after the deletion")
	w.settle(time.Hour)
	if len(all[Message](b)) != 2 || len(all[Confirmation](d)) != 0 {
		t.Errorf("bob got %d messages, dave %d confirmations", len(all[Message](b)), len(all[Confirmation](d)))
	}
}

// TestContactCrashes crashes the requester, the owner or the owner's new connection after each step. The requester may be
// heard twice, when it could not know that its first invitation arrived; the connection is made once.
func TestContactCrashes(t *testing.T) {
	for _, c := range crashes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				w, a, b := pair(t)
				b.allow = []byte("alice's info")
				steps := 0
				w.disturb = func(n *node) {
					if steps++; steps == at {
						c.do(n)
					}
				}
				accepted := requestThrough(w, a, b)
				checkConnected(t, b, accepted)
				b.send("from bob")
				w.settle(time.Hour)
				if got := all[Message](accepted); len(got) != 1 {
					t.Errorf("%d messages", len(got))
				}
				if t.Failed() {
					t.Fatalf("crash after step %d", at)
				}
				if at > steps {
					return
				}
			}
		})
	}
}

func TestAnswerBeforeTheRelayConfirmsThePosting(t *testing.T) {
	w, a, b := pair(t)
	b.allow = []byte("alice's info")
	a.create(link.Contact)
	w.run()
	w.lose = func(n *node, op Operation) fate {
		if n == b && op.Name().kind == opPost {
			return answerLost
		}
		return arrives
	}
	if err := b.join(mustEvent[LinkReady](a).Link, "bob asks"); err != nil {
		t.Fatal(err)
	}
	w.run()
	c := a.again("alice for bob")
	if err := c.join(mustEvent[Request](a).Link, "bob's info"); err != nil {
		t.Fatal(err)
	}
	w.run()
	checkConnected(t, b, c)
	if len(all[Joined](b)) != 1 || b.conn.post != nil {
		t.Errorf("joined %d times", len(all[Joined](b)))
	}
}

func TestIncompatibleRequestIsReported(t *testing.T) {
	w, a, b := pair(t)
	b.versions = &versions{queue.VersionRange{Min: 2, Max: 9}, queue.VersionRange{Min: 4, Max: 9}, 3}
	a.versions = &versions{queue.VersionRange{Min: 2, Max: 7}, queue.VersionRange{Min: 1, Max: 4}, 3}
	a.create(link.Contact)
	w.run()
	if err := b.join(mustEvent[LinkReady](a).Link, "bob asks"); err != nil {
		t.Fatal(err)
	}
	// Bob's invitation only says versions that do not exist yet.
	b.versions = &versions{queue.VersionRange{Min: 8, Max: 9}, queue.VersionRange{Min: 4, Max: 9}, 3}
	w.run()
	r := mustEvent[Request](a)
	if r.Compatible {
		t.Error("incompatible request is called compatible")
	}
	if err := a.again("alice for bob").join(r.Link, ""); !errors.Is(err, &Error{Code: CodeVersion}) {
		t.Errorf("joined: %v", err)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	w, a, _ := pair(t)
	a.create(link.Contact)
	w.run()
	first := mustEvent[LinkReady](a).Link
	for i := range MaxRequests + 2 {
		b := w.node(fmt.Sprint("peer", i))
		if err := b.join(first, "hello"); err != nil {
			t.Fatal(err)
		}
		w.run()
	}
	requests := all[Request](a)
	if len(requests) != MaxRequests+2 || a.conn.requests != MaxRequests {
		t.Fatalf("%d events, %d kept", len(requests), a.conn.requests)
	}
	for i, r := range requests {
		if _, ok := a.conn.Request(a.env(), r.ID); ok != (i >= 2) {
			t.Errorf("request %d kept: %v", i, ok)
		}
	}
}
