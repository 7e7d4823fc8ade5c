package conn

import (
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"

	"pgregory.net/rapid"
)

// twoRelays gives a node another relay, where its queue moves to.
func (n *node) twoRelays() {
	n.other = newRelay(n.name+".example.net", n.w.newRand())
	n.w.relays = append(n.w.relays, n.other)
}

// movingPair makes two connected agents with two relays each.
func movingPair(t rapid.TB) (w *world, a, b *node) {
	w, a, b = pair(t)
	a.twoRelays()
	b.twoRelays()
	connectPair(t, w, a, b)
	return w, a, b
}

// switches starts a switch, again if a crash has undone it.
func (n *node) switches() {
	n.w.t.Helper()
	for range 3 {
		if n.conn.nextReceive() != nil {
			return
		}
		n.must(SwitchQueue{})
	}
}

func (c *Conn) nextReceive() *receiveQueue { return (&step{Conn: c}).nextReceive() }

// phases are those of a node's switches of one direction.
func phases(n *node, sending bool) (s string) {
	for _, e := range all[SwitchChanged](n) {
		if e.Sending == sending {
			s += e.Phase.String() + " "
		}
	}
	return s
}

const fullSwitch = "started confirmed secured completed "

// checkSwitched checks that both ends use the queue that a node has moved to, and that the old one is gone.
func checkSwitched(t rapid.TB, w *world, n, peer *node) {
	t.Helper()
	r, s := n.conn.receive, peer.conn.send
	if len(r) != 1 || len(s) != 1 || r[0].stage != switchNone || s[0].stage != followNone || !r[0].address().Same(s[0].address()) {
		t.Fatalf("%s has %d queues, %s %d;%s;%s", n.name, len(r), peer.name, len(s), n.history(), peer.history())
	}
	if n.other != nil && !r[0].server.Equal(n.other.server) && !r[0].server.Equal(n.relay.server) {
		t.Error("queue on another relay")
	}
	left := 0
	for _, relay := range w.relays {
		for _, q := range relay.queues {
			if q.owner == n && !q.deleted && q.recipient != r[0].id && !q.senderKey.IsZero() {
				left++ // one without a key may be what a lost answer to NEW leaves
			}
		}
	}
	if left != 0 {
		t.Errorf("%s: %d old queues are left", n.name, left)
	}
}

func TestSwitch(t *testing.T) {
	for _, f := range forms {
		for _, who := range []string{"alice", "bob"} {
			t.Run(f.name+"/"+who, func(t *testing.T) {
				w, a, b := pair(t)
				f.prepare(a, b)
				a.twoRelays()
				b.twoRelays()
				connectPair(t, w, a, b)
				n, peer := a, b
				if who == "bob" {
					n, peer = b, a
				}
				exchange(w, a, b, "before")
				number := peer.conn.sentID
				n.must(SwitchQueue{})
				w.settle(time.Hour)
				if got := phases(n, false); got != fullSwitch {
					t.Errorf("receiving: %s", got)
				}
				if got := phases(peer, true); got != fullSwitch {
					t.Errorf("sending: %s", got)
				}
				checkSwitched(t, w, n, peer)
				if !n.conn.receive[0].server.Equal(n.other.server) || len(all[QueueDeleted](n)) != 1 {
					t.Error("not on the other relay")
				}
				if got := peer.conn.sentID - number; got != 2 {
					t.Errorf("%d messages of the sender", got)
				}
				exchange(w, a, b, "after")
				n.must(SwitchQueue{})
				w.settle(time.Hour)
				checkSwitched(t, w, n, peer)
				exchange(w, a, b, "at home again")
				if len(all[Failure](a))+len(all[Failure](b)) != 0 {
					t.Errorf("%s;%s", a.history(), b.history())
				}
			})
		}
	}
}

// moved lets messages of connected agents wait on both sides while queues are switched, and checks that nothing is lost,
// doubled or out of order.
func moved(w *world, a, b *node) {
	w.t.Helper()
	a.receipt, b.receipt = true, true
	fromA, fromB := []string{"a0"}, []string{"b0"}
	a.send("a0")
	b.send("b0")
	a.switches()
	b.switches()
	for i := 1; i < 3; i++ {
		for range 4 {
			w.tickle()
			a.client()
			b.client()
		}
		a.send(fmt.Sprint("a", i))
		b.send(fmt.Sprint("b", i))
		fromA, fromB = append(fromA, fmt.Sprint("a", i)), append(fromB, fmt.Sprint("b", i))
	}
	w.settle(time.Hour)
	checkSwitched(w.t, w, a, b)
	checkSwitched(w.t, w, b, a)
	a.send("last a")
	b.send("last b")
	w.settle(time.Hour)
	checkMessages(w.t, a, b, append(fromA, "last a"))
	checkMessages(w.t, b, a, append(fromB, "last b"))
	if got := phases(a, false); got != fullSwitch {
		w.t.Fatalf("phases %s", got)
	}
	if got := phases(b, true); got != fullSwitch {
		w.t.Fatalf("phases %s", got)
	}
}

func TestSwitchCrashAfterEveryStep(t *testing.T) {
	for _, c := range crashes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				w, a, b := movingPair(t)
				steps := 0
				w.disturb = func(n *node) {
					if steps++; steps == at {
						c.do(n)
					}
				}
				moved(w, a, b)
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

func TestSwitchLostOperations(t *testing.T) {
	for _, executed := range []bool{false, true} {
		t.Run(fmt.Sprintf("executed %v", executed), func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				w, a, b := movingPair(t)
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
				moved(w, a, b)
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

// TestSwitchChaos is TestChaos with queues that are switched by both ends, again and again, and with ratchets that are made
// again meanwhile.
func TestSwitchChaos(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.Uint64().Draw(t, "seed"))
		a, b := w.node("alice"), w.node("bob")
		a.allow = []byte("alice's info")
		a.receipt, b.receipt = true, true
		forms[rapid.IntRange(0, 3).Draw(t, "form")].prepare(a, b)
		a.twoRelays()
		if rapid.Bool().Draw(t, "two relays") {
			b.twoRelays()
		}
		connectPair(t, w, a, b)
		for _, r := range w.relays {
			r.quota = rapid.SampledFrom([]int{10, 128}).Draw(t, "quota")
		}
		resyncs := rapid.IntRange(0, 3).Draw(t, "resyncs") == 0
		c := chaos{t: t, w: w, nodes: []*node{a, b}, sent: map[*node][]string{}}
		w.choose = func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "next") }
		w.lose = func(*node, Operation) fate {
			return rapid.SampledFrom([]fate{arrives, arrives, arrives, lost, answerLost}).Draw(t, "fate")
		}
		w.disturb = c.disturb
		for range rapid.IntRange(10, 150).Draw(t, "steps") {
			n := rapid.SampledFrom(c.nodes).Draw(t, "who")
			if rapid.IntRange(0, 5).Draw(t, "switch") == 0 {
				_ = n.step(SwitchQueue{}) // if none is under way
			}
			if resyncs && rapid.IntRange(0, 9).Draw(t, "again") == 0 && n.conn.resync == ResyncOK {
				n.must(Resynchronise{Force: true})
			}
			c.act()
		}
		w.lose, w.disturb = nil, nil
		w.settle(25 * time.Hour) // what is missing may keep an old queue
		c.heal()
		checkSwitched(t, w, a, b)
		checkSwitched(t, w, b, a)
		if a.conn.resync != ResyncOK || b.conn.resync != ResyncOK {
			t.Fatalf("states %v and %v", a.conn.resync, b.conn.resync)
		}
		checkMessages(t, a, b, c.sent[a])
		checkMessages(t, b, a, c.sent[b])
	})
}

// TestSwitchBehindUnreadMessages: messages wait at the old relay, because the client is slow, while later ones and the test
// are at the new one. The client gets all of them in order, one at a time.
func TestSwitchBehindUnreadMessages(t *testing.T) {
	w, a, b := movingPair(t)
	a.acks, b.receipt = false, false
	a.must(SwitchQueue{})
	for a.conn.nextReceive() == nil || a.conn.nextReceive().stage != switchKeyed {
		w.tickle()
	}
	b.send("0")
	b.send("1")
	b.send("2")
	w.settle(time.Hour)
	b.send("3")
	w.settle(time.Hour)
	a.restart()
	w.settle(time.Hour)
	if got := len(a.messages()); got != 1 || a.conn.nextReceive() == nil || !a.conn.nextReceive().isParked() {
		t.Fatalf("%d messages", got)
	}
	if got := phases(b, true); got != fullSwitch {
		t.Fatalf("phases %s", got) // all is at the relays
	}
	for i := range 4 {
		m := a.messages()
		if len(m) != i+1 || string(m[i].Body) != fmt.Sprint("body ", i) || m[i].Integrity != (envelope.Integrity{}) {
			t.Fatalf("%d messages, not %d", len(m), i+1)
		}
		a.must(AckMessage{ID: m[i].ID})
		w.run()
	}
	checkSwitched(t, w, a, b)
}

// messages are those that came for the first time.
func (n *node) messages() (found []Message) {
	for _, m := range all[Message](n) {
		if m.Redelivered == 0 {
			found = append(found, m)
		}
	}
	return found
}

// down makes a relay unreachable for a node, or for everybody.
func (w *world) down(r *relay, who *node) {
	w.answer = func(n *node, op Operation) Input {
		if who != nil && n != who {
			return nil
		}
		var at queue.Server
		switch op := op.(type) {
		case Deliver:
			at = op.Sender.Server
		case AckQueue:
			at = op.Recipient.Server
		case DeleteQueue:
			at = op.Recipient.Server
		case SecureQueue:
			at = op.Recipient.Server
		}
		if at.Equal(r.server) {
			return refused(op, Temporary, "BROKER NETWORK")
		}
		return nil
	}
}

// TestOldRelayFails: the old relay cannot be reached any more once the sender may use the new queue. What waited for the old
// one goes through the new one.
func TestOldRelayFails(t *testing.T) {
	w, a, b := movingPair(t)
	a.receipt = true
	a.must(SwitchQueue{})
	for len(b.conn.send) < 2 || b.conn.send[1].stage != followConfirmed {
		w.tickle()
	}
	w.down(a.relay, b)
	for i := range 3 {
		b.send(fmt.Sprint(i))
	}
	w.settle(time.Hour)
	checkMessages(t, b, a, []string{"0", "1", "2"})
	checkSwitched(t, w, a, b)
}

// TestOldRelayFailsWithMessages: the same, with messages that are at the old relay. The new ones are not held up for long,
// and the others come when the relay is back, because the old queue is kept.
func TestOldRelayFailsWithMessages(t *testing.T) {
	w, a, b := movingPair(t)
	a.must(SwitchQueue{})
	for a.conn.nextReceive() == nil || a.conn.nextReceive().stage != switchUsing {
		w.tickle()
	}
	b.send("stuck")
	for q := w.bySender(Sender{Server: b.conn.send[0].server, ID: b.conn.send[0].id}); ; {
		if n := len(q.messages); n > 0 {
			q.delivered = true // it is not
			break
		}
		for i, op := range b.todo {
			if op.Name().kind == opSend {
				b.perform(i)
				break
			}
		}
	}
	w.down(a.relay, a)
	start := w.now
	w.settle(10 * time.Second)
	b.send("next")
	w.settle(2 * time.Minute)
	if m := a.messages(); len(m) != 1 || string(m[0].Body) != "body next" || w.now.Sub(start) > 3*quietTime {
		t.Fatalf("%d messages after %v", len(m), w.now.Sub(start))
	}
	if phases(a, false) != fullSwitch || len(a.conn.receive) != 2 {
		t.Fatalf("phases %s", phases(a, false))
	}
	w.answer = nil
	for _, q := range a.relay.queues {
		q.delivered = false
	}
	a.restart()
	a.must(Retry{})
	w.settle(time.Hour)
	if m := a.messages(); len(m) != 2 || string(m[1].Body) != "body stuck" || m[1].Integrity.Class != envelope.IntegrityBadNumber {
		t.Fatalf("%d messages", len(m))
	}
	w.settle(25 * time.Hour)
	checkSwitched(t, w, a, b)
}

// TestNewRelayFails: the new queue cannot be reached by the sender. Messages go on through the old one, and the switch is
// completed later.
func TestNewRelayFails(t *testing.T) {
	w, a, b := movingPair(t)
	a.receipt = true
	w.down(a.other, b)
	a.must(SwitchQueue{})
	b.send("0")
	w.settle(time.Hour)
	b.send("1")
	w.settle(time.Hour)
	checkNothingFailed(t, a, b)
	if got := len(a.messages()); got != 2 || len(all[Sent](b)) != 2 || phases(a, false) != "started confirmed secured " {
		t.Fatalf("%d messages, phases %s", got, phases(a, false))
	}
	w.answer = nil
	w.settle(time.Hour)
	checkMessages(t, b, a, []string{"0", "1"})
	checkSwitched(t, w, a, b)

	// For good: it is given up after two days, and the old queue stays in use.
	w, a, b = movingPair(t)
	a.receipt = true
	w.answer = func(n *node, op Operation) Input {
		if d, ok := op.(Deliver); ok && d.Sender.Server.Equal(a.other.server) {
			return refused(op, Auth, CodeAuth)
		}
		return nil
	}
	a.must(SwitchQueue{})
	w.settle(time.Hour)
	b.send("0")
	w.settle(72 * time.Hour)
	e := mustEvent[SwitchChanged](b)
	if phases(b, true) != "started confirmed secured aborted " || e.Err == nil || e.Err.Code != CodeQueue || len(b.conn.send) != 1 {
		t.Fatalf("phases %s", phases(b, true))
	}
	checkMessages(t, b, a, []string{"0"})
}

func checkNothingFailed(t rapid.TB, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		if f := all[Failure](n); len(f) > 0 || len(all[SendFailed](n)) > 0 {
			t.Fatalf("%s: %s", n.name, n.history())
		}
	}
}

func TestSwitchRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(w *world, a, b *node)
		in      SwitchQueue
		want    Code
	}{
		{"not connected", func(w *world, a, b *node) { a.create(link.Invitation) }, SwitchQueue{}, CodeNoQueue},
		{"contact address", func(w *world, a, b *node) {
			a.create(link.Contact)
			w.run()
		}, SwitchQueue{}, CodeNoQueue},
		{"under way", func(w *world, a, b *node) {
			connectPair(w.t, w, a, b)
			a.must(SwitchQueue{})
		}, SwitchQueue{}, CodeProhibited},
		{"re-synchronisation", func(w *world, a, b *node) {
			connectPair(w.t, w, a, b)
			a.must(Resynchronise{Force: true})
		}, SwitchQueue{}, CodeProhibited},
		{"being deleted", func(w *world, a, b *node) {
			connectPair(w.t, w, a, b)
			a.must(Delete{})
		}, SwitchQueue{}, CodeNotFound},
		{"nothing to abort", func(w *world, a, b *node) { connectPair(w.t, w, a, b) }, SwitchQueue{Abort: true}, CodeProhibited},
		{"too late to abort", func(w *world, a, b *node) {
			connectPair(w.t, w, a, b)
			a.must(SwitchQueue{})
			for a.conn.nextReceive().stage < switchKeyed {
				w.tickle()
			}
		}, SwitchQueue{Abort: true}, CodeProhibited},
		{"old queues that no relay deletes", func(w *world, a, b *node) {
			connectPair(w.t, w, a, b)
			w.refuse(a, opDelete, Temporary, "BROKER NETWORK")
			for range maxLeaving {
				a.must(SwitchQueue{})
				w.settle(time.Minute)
			}
		}, SwitchQueue{}, CodeBusy},
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

// TestSwitchAborted aborts a switch after each step that leads to it; another one then succeeds.
func TestSwitchAborted(t *testing.T) {
	aborted := 0
	for at := 0; ; at++ {
		w, a, b := movingPair(t)
		a.must(SwitchQueue{})
		for range at {
			w.tickle()
		}
		if a.step(SwitchQueue{Abort: true}) != nil {
			break
		}
		aborted++
		if at%2 == 0 {
			a.restart()
		}
		a.must(SwitchQueue{})
		w.settle(time.Hour)
		checkSwitched(t, w, a, b)
		if got := phases(a, false); got != "started aborted "+fullSwitch {
			t.Fatalf("step %d: phases %s", at, got)
		}
		for _, f := range all[Failure](a) { // the peer's answer comes too late
			if f.Err.Code != CodeQueue {
				t.Fatal(f.Err)
			}
		}
		if len(all[Failure](b)) != 0 {
			t.Fatalf("step %d:%s", at, b.history())
		}
		exchange(w, a, b, "after")
	}
	if aborted < 4 {
		t.Errorf("aborted at %d points only", aborted)
	}
}

// TestSwitchStepsThatFail lets each step of a switch be refused for good.
func TestSwitchStepsThatFail(t *testing.T) {
	for _, c := range []struct {
		name string
		stop func(w *world, a, b *node, op Operation) bool
		a, b string // phases
		code Code
	}{
		{"NEW", func(w *world, a, b *node, op Operation) bool { return op.Name().kind == opNew }, "started aborted ", "", CodeAuth},
		{"KEY", func(w *world, a, b *node, op Operation) bool { return op.Name().kind == opKey },
			"started confirmed aborted ", "started confirmed ", CodeAuth},
		{"QADD", func(w *world, a, b *node, op Operation) bool {
			return op.Name().kind == opSend && a.conn.nextReceive() != nil && a.conn.nextReceive().stage == switchAdded
		}, "started aborted ", "", CodeQueue},
		{"QUSE", func(w *world, a, b *node, op Operation) bool {
			return op.Name().kind == opSend && a.conn.nextReceive() != nil && a.conn.nextReceive().stage == switchUsing
		}, "started confirmed secured secured ", "started confirmed ", CodeQueue},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, a, b := movingPair(t)
			w.answer = func(n *node, op Operation) Input {
				if n == a && c.stop(w, a, b, op) {
					return refused(op, Auth, CodeAuth)
				}
				return nil
			}
			a.must(SwitchQueue{})
			w.settle(time.Hour)
			if got := phases(a, false); got != c.a || phases(b, true) != c.b {
				t.Fatalf("phases %s; %s", got, phases(b, true))
			}
			if e := mustEvent[SwitchChanged](a); e.Err == nil || e.Err.Code != c.code || e.Err.Kind != OurFault {
				t.Fatalf("%v", e.Err)
			}
			w.answer = nil
			exchange(w, a, b, "after")
			if c.name == "QUSE" {
				return
			}
			a.must(SwitchQueue{})
			w.settle(time.Hour)
			checkSwitched(t, w, a, b)
			exchange(w, a, b, "after all")
		})
	}
}

// TestSwitchWaitsForThePeer: what could not be delivered in two days is said again.
func TestSwitchWaitsForThePeer(t *testing.T) {
	for _, stage := range []receiveStage{switchAdded, switchUsing} {
		w, a, b := movingPair(t)
		w.answer = func(n *node, op Operation) Input {
			if next := a.conn.nextReceive(); n == a && op.Name().kind == opSend && next != nil && next.stage == stage {
				return refused(op, Temporary, "BROKER NETWORK")
			}
			return nil
		}
		a.must(SwitchQueue{})
		w.settle(80 * time.Hour)
		w.answer = nil
		w.settle(26 * time.Hour) // a number is missing
		checkSwitched(t, w, a, b)
		checkNothingFailed(t, a, b)
		exchange(w, a, b, "after")
	}
	for _, stage := range []sendStage{followKeyed, followTesting} {
		w, a, b := movingPair(t)
		w.answer = func(n *node, op Operation) Input {
			if n == b && op.Name().kind == opSend && len(b.conn.send) > 1 && b.conn.send[1].stage == stage {
				return refused(op, Temporary, "BROKER NETWORK")
			}
			return nil
		}
		a.must(SwitchQueue{})
		w.settle(80 * time.Hour)
		w.answer = nil
		w.settle(26 * time.Hour) // a number is missing
		checkSwitched(t, w, a, b)
		checkNothingFailed(t, a, b)
		exchange(w, a, b, "after")
	}
}

// TestSwitchManyTimes: numbers of queues are used again.
func TestSwitchManyTimes(t *testing.T) {
	w, a, b := movingPair(t)
	for i := range 300 {
		a.must(SwitchQueue{})
		if i%3 == 0 {
			b.must(SwitchQueue{})
		}
		w.settle(time.Hour)
	}
	checkSwitched(t, w, a, b)
	checkSwitched(t, w, b, a)
	checkNothingFailed(t, a, b)
	exchange(w, a, b, "after")
}

// TestDeleteDuringSwitch deletes either end after each step of a switch.
func TestDeleteDuringSwitch(t *testing.T) {
	for _, wait := range []bool{false, true} {
		for _, who := range []string{"alice", "bob"} {
			for at := 0; ; at++ {
				w, a, b := movingPair(t)
				n := map[string]*node{"alice": a, "bob": b}[who]
				a.must(SwitchQueue{})
				b.send("m")
				for range at {
					w.tickle()
					a.client()
				}
				done := phases(a, false) == fullSwitch
				n.must(Delete{Wait: wait})
				n.acks = false
				w.settle(96 * time.Hour)
				mustEvent[Deleted](n)
				for _, r := range w.relays {
					for _, q := range r.queues {
						if q.owner == n && !q.deleted {
							t.Fatalf("%s after %d steps: a queue is left", who, at)
						}
					}
				}
				if wait && n == b && len(all[Message](a)) != 1 {
					t.Fatalf("after %d steps: message is lost", at)
				}
				if done {
					break
				}
			}
		}
	}
}

// TestWhatMayComeOfASwitch checks messages of a switch that do not fit.
func TestWhatMayComeOfASwitch(t *testing.T) {
	place := link.Address{Server: queue.Server{Hosts: []string{"other.example.org"}}, SenderID: "x"}
	useless, _ := keys.New(keys.X25519, make([]byte, 32))
	offer := func(a, b *node, change func(*envelope.AddedQueue)) envelope.AddQueue {
		replaces := a.conn.send[0].address()
		o := envelope.AddedQueue{Queue: link.Queue{Client: supported.client, Address: place, DH: b.conn.send[0].dh, Mode: queue.ModeMessaging}, Replaces: &replaces}
		change(&o)
		return envelope.AddQueue{o}
	}
	for _, c := range []struct {
		name string
		put  func(a, b *node)
		want Code
	}{
		{"QADD", func(a, b *node) { b.inject(offer(a, b, func(*envelope.AddedQueue) {})) }, ""},
		{"QADD of nothing old", func(a, b *node) {
			b.inject(offer(a, b, func(o *envelope.AddedQueue) { o.Replaces = nil }))
		}, CodeQueue},
		{"QADD of an unknown old queue", func(a, b *node) {
			b.inject(offer(a, b, func(o *envelope.AddedQueue) { o.Replaces = &place }))
		}, CodeQueue},
		{"QADD of a queue in use", func(a, b *node) {
			b.inject(offer(a, b, func(o *envelope.AddedQueue) { o.Queue.Address = *o.Replaces }))
		}, CodeQueue},
		{"QADD of an unknown version", func(a, b *node) {
			b.inject(offer(a, b, func(o *envelope.AddedQueue) { o.Queue.Client = queue.VersionRange{Min: 5, Max: 6} }))
		}, CodeVersion},
		{"QADD without a secret", func(a, b *node) {
			b.inject(offer(a, b, func(o *envelope.AddedQueue) { o.Queue.DH = useless }))
		}, CodeMessage},
		{"QUSE too early", func(a, b *node) {
			b.inject(offer(a, b, func(*envelope.AddedQueue) {}))
			a.w.lose = func(n *node, op Operation) fate {
				if n == a && op.Name().kind == opSend {
					return lost
				}
				return arrives
			}
			a.w.run()
			b.inject(envelope.UseQueue{{Queue: place, Primary: true}})
		}, ""}, // the answer to QKEY may be lost
	} {
		t.Run(c.name, func(t *testing.T) {
			_, a, b := connectedPair(t)
			c.put(a, b)
			if got := a.arrival(); got != c.want {
				t.Errorf("code %q, want %q", got, c.want)
			}
			a.w.lose = nil
			if started := phases(a, true) != ""; started != (c.want == "") {
				t.Errorf("phases %s", phases(a, true))
			}
			b.inject(envelope.ClientMessage{Body: []byte("next")})
			if got := a.arrival(); got != "" || string(mustEvent[Message](a).Body) != "next" {
				t.Errorf("code %q for the next message", got)
			}
		})
	}
	t.Run("QUSE of another queue", func(t *testing.T) {
		_, a, b := connectedPair(t)
		b.inject(offer(a, b, func(*envelope.AddedQueue) {}))
		if got := a.arrival(); got != "" {
			t.Fatalf("code %q for QADD", got)
		}
		other := place
		other.SenderID = "y"
		b.inject(envelope.UseQueue{{Queue: other, Primary: true}})
		if got := a.arrival(); got != CodeQueue || a.conn.send[1].stage >= followSecured {
			t.Errorf("code %q, stage %d", got, a.conn.send[1].stage)
		}
	})
	// And of the other role.
	for _, c := range []struct {
		name   string
		change func(k *envelope.SenderKey)
		want   Code
	}{
		{"QKEY of another queue", func(k *envelope.SenderKey) { k.Queue.Address = place }, CodeQueue},
		{"QKEY of an unknown version", func(k *envelope.SenderKey) { k.Queue.Version = 5 }, CodeVersion},
		{"QKEY without a secret", func(k *envelope.SenderKey) { k.Queue.DH = useless }, CodeMessage},
		{"QKEY", func(*envelope.SenderKey) {}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, a, b := movingPair(t)
			a.must(SwitchQueue{})
			for a.conn.nextReceive().stage != switchAdded {
				w.tickle()
			}
			w.answer = func(n *node, op Operation) Input { // the peer does not hear of it
				if n == a && op.Name().kind == opSend {
					return refused(op, Temporary, "BROKER NETWORK")
				}
				return nil
			}
			q := a.conn.nextReceive()
			key := envelope.SenderKey{Queue: a.conn.begin(a.env()).linkQueue(q).At(4), Key: someKey()}
			key.Queue.DH = b.conn.send[0].dh
			c.change(&key)
			b.inject(envelope.QueueKey{key})
			if got := a.arrival(); got != c.want || (a.conn.nextReceive().stage > switchAdded) != (c.want == "") {
				t.Errorf("code %q, stage %d", got, a.conn.nextReceive().stage)
			}
			if c.want == "" { // once is enough
				b.inject(envelope.QueueKey{key})
				if got := a.arrival(); got != CodeQueue {
					t.Errorf("code %q for the second", got)
				}
			}
		})
	}
}
