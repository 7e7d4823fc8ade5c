package conn

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/queue"

	"pgregory.net/rapid"
)

// connectedPair makes two connected agents in the fast form.
func connectedPair(t rapid.TB) (w *world, a, b *node) {
	w, a, b = pair(t)
	connectPair(t, w, a, b)
	return w, a, b
}

// fails makes every SEND of a node fail; nil ends it.
func (w *world) fails(who *node, class Class, code Code) {
	w.answer = func(n *node, op Operation) Input {
		if n == who && op.Name().kind == opSend {
			return refused(op, class, code)
		}
		return nil
	}
}

func refs[E interface{ Event }](n *node, ref func(E) string) (out []string) {
	for _, e := range all[E](n) {
		out = append(out, ref(e))
	}
	return out
}

func TestMessagesKeepTheirOrderWhenDeliveryFails(t *testing.T) {
	w, a, b := connectedPair(t)
	b.receipt = true
	w.fails(a, Temporary, "BROKER NETWORK")
	for i := range 5 {
		a.send(fmt.Sprint(i))
	}
	w.run()
	if len(all[SendWarning](a)) != 0 {
		t.Error("warning because of a temporary failure")
	}
	if got := a.conn.NextWake().Sub(w.now); got != 2*time.Second {
		t.Errorf("first retry after %v", got)
	}
	w.wait(time.Hour)
	w.run()
	a.restart() // intervals survive
	if got := a.conn.NextWake().Sub(w.now); got != 2*time.Second {
		t.Errorf("second retry after %v", got)
	}
	w.answer = nil
	w.settle(time.Hour)
	checkMessages(t, a, b, []string{"0", "1", "2", "3", "4"})
}

func TestDeliveryIsGivenUpInTime(t *testing.T) {
	for _, c := range []struct {
		name   string
		class  Class
		code   Code
		expiry time.Duration
		warns  bool
	}{
		{"unreachable", Temporary, "BROKER NETWORK", messageExpiry, false},
		{"wrong host", Host, "BROKER HOST", messageExpiry, true},
		{"full", Quota, CodeQuota, quotaExpiry, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, a, b := connectedPair(t)
			w.fails(a, c.class, c.code)
			start := w.now
			a.send("old")
			a.send("old too")
			w.settle(c.expiry / 2)
			w.now = start.Add(c.expiry / 2)
			a.send("young")
			for len(all[SendFailed](a)) == 0 && w.wait(c.expiry) {
				w.run()
			}
			if age := w.now.Sub(start); age < c.expiry || age > c.expiry+6*time.Hour {
				t.Errorf("given up after %v", age)
			}
			if got := refs(a, func(e SendFailed) string { return e.Ref + " " + string(e.Err.Code) }); len(got) != 2 ||
				got[0] != "old "+string(c.code) || got[1] != "old too "+string(c.code) {
				t.Errorf("failed: %q", got)
			}
			if warned := len(all[SendWarning](a)) > 0; warned != c.warns {
				t.Errorf("warned: %v", warned)
			}
			w.answer = nil
			w.settle(24 * time.Hour)
			m := mustEvent[Message](b)
			if string(m.Body) != "body young" || m.Integrity != (envelope.Integrity{Class: envelope.IntegritySkipped, From: 2, To: 3}) {
				t.Errorf("got %q, %v", m.Body, m.Integrity)
			}
			if len(a.bodies) != 0 {
				t.Errorf("%d bodies left", len(a.bodies))
			}
		})
	}
}

func TestRefusedMessageIsDropped(t *testing.T) {
	for _, c := range []struct {
		class Class
		code  Code
	}{{Auth, CodeAuth}, {Large, "SMP LARGE_MSG"}, {Permanent, "SMP INTERNAL"}} {
		t.Run(string(c.code), func(t *testing.T) {
			w, a, b := connectedPair(t)
			w.fails(a, c.class, c.code)
			a.send("refused")
			w.run()
			if e := mustEvent[SendFailed](a); e.Ref != "refused" || e.Err.Code != c.code {
				t.Errorf("%+v", e)
			}
			w.answer = nil
			a.send("next")
			w.run()
			if m := mustEvent[Message](b); string(m.Body) != "body next" {
				t.Errorf("got %q", m.Body)
			}
		})
	}
}

func TestQuota(t *testing.T) {
	w, a, b := connectedPair(t)
	b.acks, b.receipt = false, true
	b.relay.quota = 4
	var want []string
	for i := range 7 {
		want = append(want, fmt.Sprint(i))
		a.send(want[i])
	}
	w.run()
	if len(all[Sent](a)) != 4 {
		t.Fatalf("%d sent", len(all[Sent](a)))
	}
	if e := mustEvent[SendWarning](a); e.Ref != "4" || e.Err.Code != CodeQuota {
		t.Errorf("%+v", e)
	}
	if got := a.conn.NextWake().Sub(w.now); got != 300*time.Second {
		t.Errorf("retry after %v", got)
	}
	// Bob takes everything; the marker makes him tell Alice, who goes on without waiting.
	b.acks = true
	w.run()
	if len(all[Continued](a)) != 1 {
		t.Errorf("continued %d times", len(all[Continued](a)))
	}
	w.settle(time.Minute)
	checkMessages(t, a, b, want)
}

// The peer may say that there is room before its relay knows: then the relay refuses once more, and nobody will say it
// again.
func TestQuotaIsTriedSoonAfterThePeerSaysGoOn(t *testing.T) {
	w, a, b := connectedPair(t)
	b.acks = false
	b.relay.quota = 4
	for i := range 5 {
		a.send(fmt.Sprint(i))
	}
	w.run()
	mustEvent[SendWarning](a)
	b.inject(envelope.Continue{Queue: b.conn.receive[0].address()})
	w.run()
	if len(all[Continued](a)) != 1 || len(all[SendWarning](a)) != 2 {
		t.Fatalf("events:%s", a.history())
	}
	if got := a.conn.NextWake().Sub(w.now); got != 3*time.Second {
		t.Errorf("retry after %v", got)
	}
}

func TestMarkerIsAcknowledgedBeforeTheConnectionCanAnswer(t *testing.T) {
	w, a, b := pair(t)
	a.allow = nil
	a.relay.quota = 3
	a.create(link.Invitation)
	w.run()
	if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
		t.Fatal(err)
	}
	w.run()
	a.acks = false
	for i := range 4 {
		b.send(fmt.Sprint(i))
	}
	w.run()
	if len(all[Sent](b)) != 3 {
		t.Fatalf("%d sent", len(all[Sent](b)))
	}
	a.acks = true
	w.run()
	if len(all[Message](a)) != 3 || len(w.choices()) != 0 || len(all[Failure](a)) != 0 {
		t.Errorf("events:%s", a.history())
	}
	w.settle(time.Hour) // nobody told Bob, so it takes its time
	if len(all[Message](a)) != 4 || len(all[Continued](b)) != 0 {
		t.Errorf("events:%s", a.history())
	}
	a.must(Allow{mustEvent[Confirmation](a).ID, []byte("alice's info")})
	w.settle(time.Hour)
	if len(all[Continued](b)) != 1 {
		t.Errorf("continued %d times", len(all[Continued](b)))
	}
}

func TestReceipts(t *testing.T) {
	w, a, b := connectedPair(t)
	b.acks = false
	a.send("first")
	a.send("second")
	w.run()
	m := mustEvent[Message](b)
	b.must(AckMessage{ID: m.ID, Receipt: true, ReceiptInfo: []byte("info")})
	a.acks = false
	w.run()
	r := mustEvent[Receipts](a)
	if len(r.Items) != 1 || !r.Items[0].OK || string(r.Items[0].Info) != "info" || r.Items[0].Message != all[Queued](a)[0].ID {
		t.Fatalf("%+v", r)
	}
	if err := a.step(AckMessage{ID: r.ID, Receipt: true}); !errors.Is(err, &Error{Code: CodeProhibited}) {
		t.Errorf("receipt of a receipt: %v", err)
	}
	if m := a.conn.begin(a.env()).sentByNumber(2); m == nil || !m.receipt {
		t.Error("sent message is not kept until the client acknowledges the receipt")
	}
	a.must(AckMessage{ID: r.ID})
	if a.conn.begin(a.env()).sentByNumber(2) != nil {
		t.Error("sent message is kept after the receipt")
	}
	if err := a.step(AckMessage{ID: r.ID}); !errors.Is(err, &Error{Code: CodeNotFound}) {
		t.Errorf("acknowledged twice: %v", err)
	}
	// Without a receipt the peer learns nothing.
	a.acks = true
	w.run()
	b.must(AckMessage{ID: mustEvent[Message](b).ID})
	w.run()
	if len(all[Receipts](a)) != 1 {
		t.Error("receipt that nobody asked for")
	}
	if err := b.step(AckMessage{ID: m.ID}); !errors.Is(err, &Error{Code: CodeNotFound}) {
		t.Errorf("acknowledged twice: %v", err)
	}
}

func TestReceiptForSomethingElse(t *testing.T) {
	w, a, b := connectedPair(t)
	a.send("message")
	w.run()
	a.acks = false
	wrong := [32]byte{1}
	right := a.conn.begin(a.env()).sentByNumber(2).hash
	b.inject(envelope.Receipts{
		{Number: 77, Hash: right[:]},
		{Number: 2, Hash: wrong[:], Info: []byte("x")},
	})
	w.run()
	r := mustEvent[Receipts](a)
	if len(r.Items) != 1 || r.Items[0].OK || r.Items[0].Message != all[Queued](a)[0].ID {
		t.Fatalf("%+v", r)
	}
	a.must(AckMessage{ID: r.ID})
	b.inject(envelope.Receipts{{Number: 2, Hash: right[:]}, {Number: 2, Hash: right[:]}})
	w.run()
	r = mustEvent[Receipts](a)
	if len(r.Items) != 1 || !r.Items[0].OK {
		t.Fatalf("%+v", r)
	}
	a.must(AckMessage{ID: r.ID})
	b.inject(envelope.Receipts{{Number: 2, Hash: right[:]}})
	w.run()
	if len(all[Receipts](a)) != 2 || len(all[Failure](a)) != 0 || len(w.choices()) != 0 {
		t.Errorf("receipt that changes nothing:%s", a.history())
	}
}

func TestUnacknowledgedMessageComesAgain(t *testing.T) {
	w, a, b := connectedPair(t)
	b.acks = false
	a.send("message")
	w.run()
	first := mustEvent[Message](b)
	for i := range redeliveries + 2 {
		w.now = w.now.Add(time.Hour)
		b.restart()
		w.run()
		m := mustEvent[Message](b)
		if m.ID != first.ID || !bytes.Equal(m.Body, first.Body) || m.Redelivered != i+1 || m.Received != first.Received {
			t.Fatalf("again: %+v", m)
		}
	}
	w.now = w.now.Add(24 * time.Hour)
	b.restart()
	w.run()
	if f := mustEvent[Failure](b); f.Err.Code != CodeDuplicate || b.conn.unacked != 0 {
		t.Errorf("%v, %d unacknowledged", f.Err, b.conn.unacked)
	}
	a.send("next")
	w.run()
	if m := mustEvent[Message](b); string(m.Body) != "body next" || m.Redelivered != 0 {
		t.Errorf("got %q", m.Body)
	}
}

func TestAcknowledgedMessageNeverComesAgain(t *testing.T) {
	w, a, b := connectedPair(t)
	a.send("message")
	w.lose = func(n *node, op Operation) fate {
		if n == b && op.Name().kind == opAck {
			return lost
		}
		return arrives
	}
	w.run()
	for range 3 {
		b.restart()
		w.run()
	}
	w.lose = nil
	w.settle(time.Hour)
	if len(all[Message](b)) != 1 || len(all[Failure](b)) != 0 {
		t.Errorf("events:%s", b.history())
	}
	a.send("next")
	w.settle(time.Hour)
	checkBodies(t, b, "body message", "body next")
}

func checkBodies(t rapid.TB, n *node, bodies ...string) {
	t.Helper()
	got := refs(n, func(m Message) string { return string(m.Body) })
	if fmt.Sprint(got) != fmt.Sprint(bodies) {
		t.Errorf("%s got %q instead of %q", n.name, got, bodies)
	}
}

func TestMessageThatWasStoredTwice(t *testing.T) {
	w, a, b := connectedPair(t)
	lostOnce := map[Op]bool{}
	w.lose = func(n *node, op Operation) fate {
		if n == a && op.Name().kind == opSend && !lostOnce[op.Name()] {
			lostOnce[op.Name()] = true
			return answerLost
		}
		return arrives
	}
	a.send("one")
	a.send("two")
	w.settle(time.Hour)
	checkBodies(t, b, "body one", "body two")
	if len(all[Failure](b)) != 0 || len(all[ResyncChanged](b)) != 0 {
		t.Errorf("events:%s", b.history())
	}
}

func TestHashesAreForgotten(t *testing.T) {
	w, a, b := connectedPair(t)
	count := func(prefix byte) (n int) {
		b.tx.Scan([]byte{prefix}, nil, func(_, _ []byte) bool { n++; return true })
		return n
	}
	send := func(n int) {
		for i := range n {
			a.send(fmt.Sprint(w.now.Unix(), " ", i))
			w.run()
		}
	}
	send(hashListSize + 3)
	if count(recordHash) != hashListSize+3 || count(recordHashList) != 1 || len(b.conn.hashes) != 3 {
		t.Fatalf("%d hashes, %d lists", count(recordHash), count(recordHashList))
	}
	w.now = w.now.Add(historyExpiry)
	send(hashListSize - 4)
	if count(recordHashList) != 1 {
		t.Errorf("%d lists", count(recordHashList))
	}
	send(1)
	if count(recordHash) != hashListSize || count(recordHashList) != 1 {
		t.Errorf("%d hashes left, %d lists", count(recordHash), count(recordHashList))
	}
	sent := 0
	a.tx.Scan([]byte{recordSent}, nil, func(_, _ []byte) bool { sent++; return true })
	if sent != hashListSize-3 {
		t.Errorf("%d sent messages are remembered", sent)
	}
	w.now = w.now.Add(historyExpiry)
	send(hashListSize)
	if count(recordHash) != hashListSize || count(recordHashList) != 1 {
		t.Errorf("%d hashes left, %d lists", count(recordHash), count(recordHashList))
	}
}

func TestSizes(t *testing.T) {
	w, a, b := connectedPair(t)
	id, number := a.conn.lastID, a.conn.sentID
	if err := a.step(Send{Body: make([]byte, 15796)}); !errors.Is(err, &Error{Code: CodeLarge}) {
		t.Errorf("15,796 bytes: %v", err)
	}
	if a.conn.lastID != id || a.conn.sentID != number {
		t.Error("refused message has used numbers")
	}
	a.must(Send{Body: bytes.Repeat([]byte{7}, 15795)})
	a.must(Send{})
	b.acks = false
	w.run()
	m := mustEvent[Message](b)
	if !bytes.Equal(m.Body, bytes.Repeat([]byte{7}, 15795)) {
		t.Errorf("got %d bytes", len(m.Body))
	}
	overhead := len(envelope.Numbered{Previous: make([]byte, 32), Content: envelope.Receipts{{Hash: make([]byte, 32)}}}.Append(nil)) + 2
	if err := b.step(AckMessage{ID: m.ID, Receipt: true, ReceiptInfo: make([]byte, envelope.RatchetMessage-overhead+1)}); !errors.Is(err, &Error{Code: CodeLarge}) {
		t.Errorf("receipt: %v", err)
	}
	b.must(AckMessage{ID: m.ID, Receipt: true, ReceiptInfo: make([]byte, envelope.RatchetMessage-overhead)})
	w.run()
	if r := mustEvent[Receipts](a); len(r.Items[0].Info) != envelope.RatchetMessage-overhead {
		t.Errorf("%+v", r)
	}
	if m := mustEvent[Message](b); len(m.Body) != 0 {
		t.Errorf("got %d bytes instead of none", len(m.Body))
	}
	if err := a.step(Send{Ref: string(make([]byte, 256))}); !errors.Is(err, &Error{Code: CodeLarge}) {
		t.Errorf("long reference: %v", err)
	}
}

func TestSharedBodyIsStoredOnce(t *testing.T) {
	w, a, b := connectedPair(t)
	w.fails(a, Temporary, "BROKER NETWORK")
	body := []byte("the same")
	a.must(Send{Body: body, Ref: "1"})
	a.must(Send{Body: body, Ref: "2"})
	if len(a.bodies) != 1 {
		t.Errorf("%d bodies", len(a.bodies))
	}
	w.answer = nil
	w.settle(time.Hour)
	checkBodies(t, b, "the same", "the same")
	if len(a.bodies) != 0 {
		t.Errorf("%d bodies left", len(a.bodies))
	}
}

func TestRetryNow(t *testing.T) {
	w, a, b := connectedPair(t)
	w.fails(a, Temporary, "BROKER NETWORK")
	a.send("message")
	w.run()
	w.answer = nil
	a.must(Retry{})
	w.run()
	checkBodies(t, b, "body message")
}

// TestLateResultOfAnAcknowledgement: the relay has delivered the message again in a new session, so the acknowledgement in
// the old one says nothing about it.
func TestLateResultOfAnAcknowledgement(t *testing.T) {
	w, a, b := connectedPair(t)
	a.send("message")
	for len(all[Message](b)) == 0 {
		w.tickle()
	}
	b.client()
	if len(b.todo) != 1 || b.todo[0].Name().kind != opAck {
		t.Fatalf("under way: %v", b.todo)
	}
	old := b.todo[0]
	b.todo = nil
	q := b.relay.queues[0]
	b.must(q.deliver())
	b.must(OperationDone{old.Name()})
	w.run()
	if len(q.messages) != 0 {
		t.Error("message stays at the relay")
	}
	checkBodies(t, b, "body message")
}

// TestBodiesAreMadeInOtherGoroutines makes bodies while the connection goes on.
func TestBodiesAreMadeInOtherGoroutines(t *testing.T) {
	w, a, b := connectedPair(t)
	var made []chan []byte
	for i := range 4 {
		a.must(Send{Body: fmt.Append(nil, "message ", i)})
		op := a.todo[0].(Deliver)
		a.todo = nil
		for range 2 {
			c := make(chan []byte, 1)
			made = append(made, c)
			go func() {
				body, err := op.Body()
				if err != nil {
					t.Error(err)
				}
				c <- body
			}()
		}
		a.must(OperationDone{op.Name()})
		b.send(fmt.Sprint(i))
		w.run()
	}
	for i := 0; i < len(made); i += 2 {
		first, second := <-made[i], <-made[i+1]
		if !bytes.Equal(first, second) {
			t.Error("bodies of one message differ")
		}
		b.relay.queues[0].accept(queue.Message{Body: first})
	}
	w.run()
	checkBodies(t, b, "message 0", "message 1", "message 2", "message 3")
}
