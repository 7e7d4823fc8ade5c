package conn

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/agent/ratchet"

	"pgregory.net/rapid"
)

// someRatchetKey is a ratchet key of keys that nobody keeps.
func (n *node) someRatchetKey(version uint16) *envelope.RatchetKey {
	k, err := ratchet.GenerateKeys(n.rand, nil)
	if err != nil {
		n.w.t.Fatal(err)
	}
	return &envelope.RatchetKey{Agent: 7, Keys: k.Params(ratchet.VersionRange{Min: version, Max: version}), Info: []byte("R")}
}

// backup keeps what a copy of the node's records would have.
func (n *node) backup() snapshot { return snapshot{n.tx.Clone(), n.bodies.clone(), 0} }

// restore puts an old copy in the place of the records.
func (n *node) restore(s snapshot) {
	n.tx, n.bodies = s.tx.Clone(), s.bodies.clone()
	n.restart()
}

// exchange lets both send messages and checks that they arrive, one after the other.
func exchange(w *world, a, b *node, name string) {
	w.t.Helper()
	for i := range 3 {
		for _, from := range []*node{a, b} {
			to := b
			if from == b {
				to = a
			}
			ref := fmt.Sprint(name, i, from.name)
			before := len(all[Message](to))
			from.send(ref)
			w.settle(time.Hour)
			got := all[Message](to)[before:]
			if len(got) != 1 || string(got[0].Body) != "body "+ref {
				w.t.Fatalf("%s got %d messages instead of %q:%s", to.name, len(got), ref, to.history())
			}
		}
	}
}

func states(n *node) (s string) {
	for _, e := range all[ResyncChanged](n) {
		s += e.State.String() + " "
	}
	return s
}

// checkRebound checks that both ends have the same new ratchet and say so.
func checkRebound(t rapid.TB, a, b *node) (sides string) {
	t.Helper()
	ra, rb := rebounds(a), rebounds(b)
	if len(ra) == 0 || len(rb) == 0 {
		t.Fatalf("new ratchets: %d and %d:%s;%s", len(ra), len(rb), states(a), states(b))
	}
	x, y := ra[len(ra)-1], rb[len(rb)-1]
	if x.Binding != y.Binding || x.Side == y.Side {
		t.Fatalf("ends differ: %v", []Side{x.Side, y.Side})
	}
	if x.Binding != rebind(a.conn.ratchet.AD()) || a.conn.resync != ResyncOK || b.conn.resync != ResyncOK {
		t.Fatalf("states %v and %v", a.conn.resync, b.conn.resync)
	}
	return fmt.Sprint(x.Side, y.Side)
}

func rebounds(n *node) (found []*Rebound) {
	for _, e := range all[ResyncChanged](n) {
		if e.Rebound != nil {
			found = append(found, e.Rebound)
		}
	}
	return found
}

// TestOldCopy restores one end from an old copy. Its ratchet does not fit any more, which a message of the other end
// shows; it cannot send until the ratchet is made again.
func TestOldCopy(t *testing.T) {
	sides := map[string]int{}
	for seed := range uint64(12) {
		w := newWorld(t, seed)
		a, b := w.node("alice"), w.node("bob")
		a.allow = []byte("alice's info")
		connectPair(t, w, a, b)
		exchange(w, a, b, "before")
		old := a.backup()
		exchange(w, a, b, "unknown to the copy")
		a.restore(old)
		b.send("lost")
		w.settle(time.Hour)
		if got := states(a); got != "required " || a.conn.Resync() != ResyncRequired {
			t.Fatalf("states %s", got)
		}
		if err := a.step(Send{Body: []byte("x")}); err == nil || err.(*Error).Code != CodeProhibited {
			t.Fatalf("sending: %v", err)
		}
		a.must(Resynchronise{})
		if err := a.step(Send{Body: []byte("x")}); err == nil || err.(*Error).Code != CodeProhibited {
			t.Fatalf("sending: %v", err)
		}
		w.settle(time.Hour)
		if got := states(a); got != "required started agreed ok " {
			t.Fatalf("states %s", got)
		}
		if got := states(b); got != "agreed ok " {
			t.Fatalf("states %s", got)
		}
		sides[checkRebound(t, a, b)]++
		exchange(w, a, b, "after")
	}
	if len(sides) != 2 {
		t.Errorf("sides %v", sides)
	}
}

// TestOldCopySends restores one end from an old copy, which sends with its old ratchet: the other end sees numbers that
// were used and may start.
func TestOldCopySends(t *testing.T) {
	w, a, b := connectedPair(t)
	exchange(w, a, b, "before")
	old := a.backup()
	for _, ref := range []string{"1", "2", "3"} {
		a.send(ref)
	}
	w.settle(time.Hour)
	a.restore(old)
	a.send("lost")
	w.settle(time.Hour)
	if got := states(b); got != "allowed " {
		t.Fatalf("states %s", got)
	}
	b.send("still possible")
	b.must(Resynchronise{})
	w.settle(time.Hour)
	checkRebound(t, a, b)
	exchange(w, a, b, "after")
}

// TestBothStart lets both ends start at once.
func TestBothStart(t *testing.T) {
	sides := map[string]int{}
	for seed := range uint64(12) {
		w := newWorld(t, seed)
		a, b := w.node("alice"), w.node("bob")
		a.allow = []byte("alice's info")
		connectPair(t, w, a, b)
		a.send("before a")
		b.send("before b")
		a.must(Resynchronise{Force: true})
		b.must(Resynchronise{Force: true})
		w.settle(time.Hour)
		if len(all[Message](a)) != 1 || len(all[Message](b)) != 1 || len(all[Failure](a))+len(all[Failure](b)) != 0 {
			t.Fatalf("%s;%s", a.history(), b.history())
		}
		sides[checkRebound(t, a, b)]++
		exchange(w, a, b, "after")
	}
	if len(sides) != 2 {
		t.Errorf("sides %v", sides)
	}
}

// resynchronised lets messages of connected agents wait on both sides while the ratchet is made again, and checks that
// nothing is lost or doubled.
func resynchronised(w *world, a, b *node, both bool) {
	w.t.Helper()
	a.receipt, b.receipt = true, true
	a.send("a0")
	b.send("b0")
	a.resync()
	if both {
		b.resync()
	}
	w.settle(time.Hour)
	checkRebound(w.t, a, b)
	a.send("a1")
	b.send("b1")
	w.settle(time.Hour)
	checkMessages(w.t, a, b, []string{"a0", "a1"})
	checkMessages(w.t, b, a, []string{"b0", "b1"})
}

// resync starts a re-synchronisation, again if a crash has undone it.
func (n *node) resync() {
	n.w.t.Helper()
	for range 3 {
		if n.must(Resynchronise{Force: true}); n.conn.resync == ResyncStarted {
			return
		}
	}
	n.w.t.Fatalf("%s: not started", n.name)
}

func TestResyncCrashAfterEveryStep(t *testing.T) {
	for _, both := range []bool{false, true} {
		for _, c := range crashes {
			t.Run(fmt.Sprintf("both %v/%s", both, c.name), func(t *testing.T) {
				t.Parallel()
				for at := 1; ; at++ {
					w, a, b := connectedPair(t)
					steps := 0
					w.disturb = func(n *node) {
						if steps++; steps == at {
							c.do(n)
						}
					}
					resynchronised(w, a, b, both)
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

func TestResyncLostOperations(t *testing.T) {
	for _, executed := range []bool{false, true} {
		t.Run(fmt.Sprintf("executed %v", executed), func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				w, a, b := connectedPair(t)
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
				resynchronised(w, a, b, true)
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

// TestResyncChaos is TestChaos with ratchets that are made again in the middle, from either side. Everything arrives, once
// and in order, because what was encrypted with the old ratchet goes before the keys for the new one.
func TestResyncChaos(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.Uint64().Draw(t, "seed"))
		a, b := w.node("alice"), w.node("bob")
		a.allow = []byte("alice's info")
		a.receipt, b.receipt = true, true
		forms[rapid.IntRange(0, 3).Draw(t, "form")].prepare(a, b)
		connectPair(t, w, a, b)
		c := chaos{t: t, w: w, nodes: []*node{a, b}, sent: map[*node][]string{}}
		w.choose = func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "next") }
		w.lose = func(*node, Operation) fate {
			return rapid.SampledFrom([]fate{arrives, arrives, arrives, lost, answerLost}).Draw(t, "fate")
		}
		w.disturb = c.disturb
		for range rapid.IntRange(10, 100).Draw(t, "steps") {
			n := rapid.SampledFrom(c.nodes).Draw(t, "who")
			if rapid.IntRange(0, 5).Draw(t, "again") == 0 && n.conn.resync == ResyncOK {
				n.must(Resynchronise{Force: true})
			}
			c.act()
		}
		w.lose, w.disturb = nil, nil
		c.heal()
		if a.conn.resync != ResyncOK || b.conn.resync != ResyncOK || a.conn.ratchet.AD() != b.conn.ratchet.AD() {
			t.Fatalf("states %v and %v", a.conn.resync, b.conn.resync)
		}
		checkMessages(t, a, b, c.sent[a])
		checkMessages(t, b, a, c.sent[b])
	})
}

// TestOldCopies restores either end from an old copy at any time, again and again. Whatever was lost by it, the ends find
// together as soon as both know that something is wrong.
func TestOldCopies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.Uint64().Draw(t, "seed"))
		a, b := w.node("alice"), w.node("bob")
		a.allow = []byte("alice's info")
		connectPair(t, w, a, b)
		w.choose = func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "next") }
		nodes := []*node{a, b}
		old := map[*node]snapshot{a: a.backup(), b: b.backup()}
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			n := rapid.SampledFrom(nodes).Draw(t, "who")
			switch rapid.IntRange(0, 9).Draw(t, "act") {
			case 0:
				old[n] = n.backup()
			case 1:
				n.restore(old[n])
			case 2:
				_ = n.step(Resynchronise{}) // if it is needed
			case 3, 4:
				_ = n.step(Send{Body: []byte("x")})
			default:
				n.client()
				if do := w.choices(); len(do) > 0 {
					do[w.choose(len(do))]()
				}
			}
		}
		w.settle(time.Hour)
		// A few rounds, because keys that cross a ratchet which is agreed already are refused once.
		for range 4 {
			if a.conn.resync == ResyncOK && b.conn.resync == ResyncOK && a.conn.ratchet.AD() == b.conn.ratchet.AD() {
				break
			}
			a.must(Resynchronise{Force: true})
			w.settle(time.Hour)
		}
		a.must(Resynchronise{Force: true})
		w.settle(time.Hour)
		checkRebound(t, a, b)
		exchange(w, a, b, "after")
	})
}

func TestResyncRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(w *world, a, b *node)
		in      Resynchronise
		want    Code
	}{
		{"nothing to do", func(w *world, a, b *node) { connectPair(w.t, w, a, b) }, Resynchronise{}, CodeProhibited},
		{"not connected", func(w *world, a, b *node) { a.create(link.Invitation) }, Resynchronise{Force: true}, CodeNoQueue},
		{"contact address", func(w *world, a, b *node) {
			a.create(link.Contact)
			w.run()
		}, Resynchronise{Force: true}, CodeNoQueue},
		{"started", func(w *world, a, b *node) {
			connectPair(w.t, w, a, b)
			a.must(Resynchronise{Force: true})
		}, Resynchronise{}, CodeProhibited},
		{"being deleted", func(w *world, a, b *node) {
			connectPair(w.t, w, a, b)
			a.must(Delete{})
		}, Resynchronise{Force: true}, CodeNotFound},
		{"peer of an older version", func(w *world, a, b *node) {
			forms[5].prepare(a, b)
			connectPair(w.t, w, a, b)
		}, Resynchronise{Force: true}, CodeProhibited},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, a, b := pair(t)
			c.prepare(w, a, b)
			if err := a.step(c.in); err == nil || err.(*Error).Code != c.want || err.(*Error).Kind != OurFault {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// TestRatchetKeyTwice: a relay that delivers keys again changes nothing, as long as they are remembered.
func TestRatchetKeyTwice(t *testing.T) {
	w, a, b := connectedPair(t)
	w.fails(a, Temporary, "BROKER NETWORK") // what comes is not bob's; he is not to know
	k := b.someRatchetKey(3)
	b.put(k, envelope.PrivateHeader{}, false, 4)
	if code := a.arrival(); code != "" || states(a) != "agreed " {
		t.Fatalf("%q, states %s", code, states(a))
	}
	ad := a.conn.ratchet.AD()
	for range 2 {
		b.put(k, envelope.PrivateHeader{}, false, 4)
		if code := a.arrival(); code != "" || states(a) != "agreed " || a.conn.ratchet.AD() != ad {
			t.Fatalf("%q, states %s", code, states(a))
		}
	}
	// Others come while the first ones were agreed on: the peer must start again.
	b.put(b.someRatchetKey(3), envelope.PrivateHeader{}, false, 4)
	if code := a.arrival(); code != CodeResync || states(a) != "agreed required " || a.conn.ratchet.AD() != ad {
		t.Fatalf("%q, states %s", code, states(a))
	}
	b.put(b.someRatchetKey(3), envelope.PrivateHeader{}, false, 4)
	if code := a.arrival(); code != "" || states(a) != "agreed required agreed " || a.conn.ratchet.AD() == ad {
		t.Fatalf("%q, states %s", code, states(a))
	}
	// Forgotten after three weeks, or when there are too many.
	count := func() (n int) {
		a.tx.Scan([]byte{recordRatchetKey}, nil, func(_, _ []byte) bool { n++; return true })
		return n
	}
	if got := count(); got != 3 {
		t.Errorf("%d keys are remembered", got)
	}
	w.now = w.now.Add(historyExpiry)
	s := a.conn.begin(a.env())
	for i := range maxRatchetKeys + 10 {
		if !s.newRatchetKey([32]byte{byte(i)}) || s.newRatchetKey([32]byte{byte(i)}) {
			t.Fatal("new keys are known, or known ones are new")
		}
	}
	if got := count(); got != maxRatchetKeys {
		t.Errorf("%d keys are remembered", got)
	}
}

// TestRatchetKeyLayout checks what goes over the wire, and that it counts as a message.
func TestRatchetKeyLayout(t *testing.T) {
	w, a, b := connectedPair(t)
	a.send("1")
	w.settle(time.Hour)
	number := a.conn.sentID
	a.must(Resynchronise{Force: true})
	q := w.bySender(Sender{Server: a.conn.send[0].server, ID: a.conn.send[0].id})
	var body []byte
	w.lose = func(n *node, op Operation) fate {
		if d, ok := op.(Deliver); ok && n == a && body == nil {
			var err error
			if body, err = d.Body(); err != nil || !d.Notify || len(d.Key) == 0 {
				t.Errorf("%v, notification %v", err, d.Notify)
			}
		}
		return arrives
	}
	for len(q.messages) == 0 {
		w.tickle()
	}
	c, err := envelope.ParseClient(body)
	if err != nil || len(body) != envelope.BodyMessage {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	header, inner, err := c.Open(&a.conn.send[0].secret)
	if err != nil || !header.SenderKey.IsZero() {
		t.Fatal("private header", err)
	}
	e, err := envelope.Parse(inner)
	k, ok := e.(*envelope.RatchetKey)
	if err != nil || !ok || k.Agent != supported.agent.Max || !bytes.Equal(k.Info, []byte("R")) || k.Keys.Versions.Max != 3 {
		t.Fatalf("%T, %v", e, err)
	}
	hash := envelope.Hash([]byte("R"))
	if a.conn.sentID != number+1 || !bytes.Equal(a.conn.sentHash, hash[:]) {
		t.Errorf("number %d after %d", a.conn.sentID, number)
	}
	w.settle(time.Hour)
	checkRebound(t, a, b)
}

// TestRatchetKeyUndelivered: what was given up leaves the connection where another attempt is allowed.
func TestRatchetKeyUndelivered(t *testing.T) {
	w, a, b := connectedPair(t)
	exchange(w, a, b, "before")
	w.fails(a, Temporary, "BROKER NETWORK")
	a.must(Resynchronise{Force: true})
	w.settle(3 * 24 * time.Hour)
	if got := states(a); got != "started required " || mustEvent[Failure](a).Err.Code != CodeNotAvailable {
		t.Fatalf("states %s", got)
	}
	w.answer = nil
	a.must(Resynchronise{})
	w.settle(time.Hour)
	checkRebound(t, a, b)
	exchange(w, a, b, "after")

	// The answer is lost: the end that waits has to start again, twice, because the first keys find an agreed ratchet.
	w.fails(b, Auth, CodeAuth)
	a.must(Resynchronise{Force: true})
	w.settle(time.Hour)
	if got := states(b); got != "agreed ok agreed required " {
		t.Fatalf("states %s", got)
	}
	w.answer = nil
	a.must(Resynchronise{Force: true})
	w.settle(time.Hour)
	checkRebound(t, a, b)
	exchange(w, a, b, "at last")
}

// TestRatchetKeyEarly: keys before the connection is made are refused, and it is made nevertheless.
func TestRatchetKeyEarly(t *testing.T) {
	w, a, b := pair(t)
	a.allow = nil
	a.create(link.Invitation)
	w.run()
	if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
		t.Fatal(err)
	}
	w.run()
	b.put(b.someRatchetKey(3), envelope.PrivateHeader{}, false, 4)
	if code := a.arrival(); code != CodePeerProhibited {
		t.Fatalf("code %q", code)
	}
	a.allow = []byte("alice's info")
	w.settle(time.Hour)
	checkConnected(t, a, b)
	exchange(w, a, b, "after")
}

// TestContinueIsOwed: the marker of a full queue comes while nothing can be sent. The peer is told when it can.
func TestContinueIsOwed(t *testing.T) {
	w, a, b := connectedPair(t)
	b.relay.quota = 3
	b.acks = false
	for i := range 4 {
		a.send(fmt.Sprint(i))
	}
	w.run()
	b.must(Resynchronise{Force: true})
	a.acks, b.acks = true, true
	full := b.w.bySender(Sender{Server: a.conn.send[0].server, ID: a.conn.send[0].id})
	w.fails(b, Temporary, "BROKER NETWORK") // the keys do not arrive yet
	for range 20 {
		w.run()
		w.wait(time.Minute)
	}
	if len(all[Continued](a)) != 0 || len(b.conn.drainedSlots) != 1 || len(full.messages) != 0 {
		t.Fatalf("continued %d times, %d owed", len(all[Continued](a)), len(b.conn.drainedSlots))
	}
	b.restart()
	w.answer = nil
	w.settle(time.Hour)
	if len(all[Continued](a)) != 1 || len(b.conn.drainedSlots) != 0 {
		t.Fatalf("continued %d times, %d owed", len(all[Continued](a)), len(b.conn.drainedSlots))
	}
	checkRebound(t, a, b)
	if got := len(all[Message](b)); got != 4 {
		t.Errorf("%d messages", got)
	}
}
