package conn

import (
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/queue"

	"pgregory.net/rapid"
)

// form is one way in which two agents get connected.
type form struct {
	name    string
	prepare func(a, b *node)
	// helloes is whether HELLO is exchanged, which shifts the IDs of messages.
	hello bool
	// early is whether the joiner may send before it is connected.
	early bool
}

var forms = []form{
	{name: "fast", prepare: func(a, b *node) {}, early: true},
	{name: "standard", prepare: func(a, b *node) { a.relay.modes, b.relay.modes = false, false }, hello: true},
	{name: "key in the joiner's confirmation only", prepare: func(a, b *node) { a.relay.modes = false }},
	{name: "key in the initiator's confirmation only", prepare: func(a, b *node) { b.relay.modes = false }, hello: true, early: true},
	{name: "queue versions without secured senders", prepare: func(a, b *node) {
		b.versions = &versions{supported.agent, queue.VersionRange{Min: 1, Max: 2}, supported.ratchet}
	}, hello: true},
	{name: "joiner of the first agent version", prepare: func(a, b *node) {
		b.versions = &versions{queue.VersionRange{Min: 2, Max: 2}, queue.VersionRange{Min: 1, Max: 1}, 2}
	}, hello: true},
}

// send queues a message, again if a crash has undone it.
func (n *node) send(ref string) {
	n.w.t.Helper()
	for range 3 {
		n.must(Send{Body: []byte("body " + ref), Ref: ref})
		for _, q := range all[Queued](n) {
			if q.Ref == ref {
				return
			}
		}
	}
	n.w.t.Fatalf("%s: message %s not queued", n.name, ref)
}

// converse connects two agents through an invitation and lets them exchange messages with receipts.
func converse(w *world, a, b *node, f form) {
	w.t.Helper()
	a.receipt, b.receipt = true, true
	a.create(link.Invitation)
	w.settle(time.Hour)
	if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
		w.t.Fatal(err)
	}
	if f.early {
		for range 20 { // until it may
			if b.conn.begin(b.env()).sendable() == nil {
				break
			}
			w.tickle()
		}
		b.send("early")
	}
	w.settle(time.Hour)
	checkConnected(w.t, a, b)
	messages := 1
	if f.name == forms[0].name { // what follows the handshake is the same in all forms
		messages = 3
	}
	var fromA, fromB []string
	if f.early {
		fromB = append(fromB, "early")
	}
	for i := range messages {
		fromA, fromB = append(fromA, fmt.Sprint("a", i)), append(fromB, fmt.Sprint("b", i))
		a.send(fmt.Sprint("a", i))
		b.send(fmt.Sprint("b", i))
		if i == 1 {
			w.settle(time.Hour)
		}
	}
	w.settle(time.Hour)
	checkConnected(w.t, a, b)
	checkMessages(w.t, b, a, fromB)
	checkMessages(w.t, a, b, fromA)
}

// checkMessages checks that messages arrived in order, once, and that the sender knows it.
func checkMessages(t rapid.TB, from, to *node, refs []string) {
	t.Helper()
	var got []Message
	for _, m := range all[Message](to) {
		if m.Redelivered == 0 {
			got = append(got, m)
		}
	}
	if len(got) != len(refs) {
		t.Fatalf("%s got %d messages instead of %d:%s", to.name, len(got), len(refs), to.history())
	}
	sent, arrived := all[Sent](from), map[int64]bool{}
	for _, r := range all[Receipts](from) {
		for _, i := range r.Items {
			arrived[i.Message] = i.OK
		}
	}
	if len(sent) != len(refs) {
		t.Errorf("%s: %d messages sent instead of %d", from.name, len(sent), len(refs))
	}
	ids := map[string]int64{}
	for _, q := range all[Queued](from) {
		ids[q.Ref] = q.ID
	}
	for i, ref := range refs {
		if string(got[i].Body) != "body "+ref || got[i].Integrity.String() != "OK" {
			t.Errorf("%s got %q instead of %q, %v", to.name, got[i].Body, ref, got[i].Integrity)
		}
		if i < len(sent) && sent[i].Ref != ref {
			t.Errorf("%s: sent %q instead of %q", from.name, sent[i].Ref, ref)
		}
		if from.conn.agent >= agentReceipts && !arrived[ids[ref]] {
			t.Errorf("%s: no receipt for %q", from.name, ref)
		}
	}
	for _, n := range []*node{from, to} {
		if fails := all[Failure](n); len(fails) > 0 {
			t.Errorf("%s: %v", n.name, fails[0].Err)
		}
		if n.conn.unacked != 0 || n.conn.send[0].queued != 0 || len(n.bodies) != 0 {
			t.Errorf("%s: %d unacknowledged, %d queued, %d bodies", n.name, n.conn.unacked, n.conn.send[0].queued, len(n.bodies))
		}
	}
}

func TestForms(t *testing.T) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			w, a, b := pair(t)
			f.prepare(a, b)
			converse(w, a, b, f)
			want := int64(2)
			if f.hello {
				want = 4
			}
			if got := all[Queued](a)[0].ID; !f.early && got != want {
				t.Errorf("first message of the initiator has ID %d, not %d", got, want)
			}
			if f.early {
				if got := all[Queued](b)[0].ID; got != 2 {
					t.Errorf("first message of the joiner has ID %d, not 2", got)
				}
			}
		})
	}
}

// crash is a way to lose what is not stored.
type crash struct {
	name string
	do   func(n *node)
}

var crashes = []crash{
	{"before its operations", (*node).restart},
	{"before their results", func(n *node) {
		for _, op := range n.todo {
			n.w.execute(n, op)
		}
		n.restart()
	}},
	{"before the commit", func(n *node) {
		if n.before.tx != nil && n.before.tx.Len() > 0 {
			n.undo()
		}
	}},
}

// TestCrashAfterEveryStep crashes one side after each of its steps: everything is completed and delivered once.
func TestCrashAfterEveryStep(t *testing.T) {
	for _, f := range forms[:4] {
		for _, c := range crashes {
			t.Run(f.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				for at := 1; ; at++ {
					w, a, b := pair(t)
					f.prepare(a, b)
					steps := 0
					w.disturb = func(n *node) {
						if steps++; steps == at {
							c.do(n)
						}
					}
					converse(w, a, b, f)
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
}

// TestLostOperations loses each operation once, before the relay saw it or after it was done: everything is completed and
// delivered once.
func TestLostOperations(t *testing.T) {
	for _, f := range forms[:4] {
		for _, executed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/executed %v", f.name, executed), func(t *testing.T) {
				t.Parallel()
				for at := 1; ; at++ {
					w, a, b := pair(t)
					f.prepare(a, b)
					performed := 0
					w.lose = func(*node, Operation) fate {
						if performed++; performed != at {
							return arrives
						}
						if executed {
							return answerLost
						}
						return lost
					}
					converse(w, a, b, f)
					if t.Failed() {
						t.Fatalf("operation %d", at)
					}
					if at > performed {
						return
					}
				}
			})
		}
	}
}
