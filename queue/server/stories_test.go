package server_test

import (
	"strings"
	"testing"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

func TestSecuringWithKEY(t *testing.T) {
	r := startRelay(t, nil)
	bob, alice := r.connect(t), r.connect(t)
	q := bob.subscribed()

	alice.wantOK(q.sender, unsigned, send("hello"))
	id := q.receive(bob, "hello")
	bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: id})
	bob.wantErr(queue.ErrNoMsg, q.recipient, q.key, queue.ACK{MessageID: id})

	aliceKey := newKey(t, keys.X25519)
	alice.wantErr(queue.ErrAuth, q.sender, aliceKey, send("signed too early"))
	bob.wantErr(queue.ErrAuth, q.recipient, newKey(t, keys.Ed25519), queue.KEY{Key: aliceKey.Public()})
	bob.wantErr(queue.ErrAuth, q.sender, q.key, queue.KEY{Key: aliceKey.Public()})
	bob.wantOK(q.recipient, q.key, queue.KEY{Key: aliceKey.Public()})
	bob.wantOK(q.recipient, q.key, queue.KEY{Key: aliceKey.Public()})
	bob.wantErr(queue.ErrAuth, q.recipient, q.key, queue.KEY{Key: newKey(t, keys.Ed25519).Public()})

	alice.wantOK(q.sender, aliceKey, send("signed"))
	bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: q.receive(bob, "signed")})
	alice.wantErr(queue.ErrAuth, q.sender, unsigned, send("unsigned"))
	alice.wantErr(queue.ErrAuth, q.sender, newKey(t, keys.X25519), send("another key"))

	largest := strings.Repeat("x", queue.MaxBodySize(alice.version()))
	alice.wantOK(q.sender, aliceKey, send(largest))
	bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: q.receive(bob, largest)})
	alice.wantErr(queue.ErrLargeMsg, q.sender, aliceKey, send(largest+"x"))
	bob.quiet()
}

func TestSecuringWithSKEY(t *testing.T) {
	r := startRelay(t, nil)
	bob, alice := r.connect(t), r.connect(t)
	q := bob.subscribed()
	if q.mode != queue.ModeMessaging {
		t.Fatal("queue has another mode")
	}
	aliceKey := newKey(t, keys.Ed25519)
	alice.wantErr(queue.ErrAuth, q.sender, newKey(t, keys.Ed25519), queue.SKEY{Key: aliceKey.Public()})
	alice.wantErr(queue.ErrAuth, q.recipient, aliceKey, queue.SKEY{Key: aliceKey.Public()})
	alice.wantOK(q.sender, aliceKey, queue.SKEY{Key: aliceKey.Public()})
	alice.wantOK(q.sender, aliceKey, queue.SKEY{Key: aliceKey.Public()})
	other := newKey(t, keys.Ed25519)
	alice.wantErr(queue.ErrAuth, q.sender, other, queue.SKEY{Key: other.Public()})
	alice.wantOK(q.sender, aliceKey, send("hello"))
	alice.wantErr(queue.ErrAuth, q.sender, unsigned, send("hello"))
	bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: q.receive(bob, "hello")})

	contact := bob.newInbox(queue.NEW{Subscribe: true, Mode: queue.ModeContact})
	if contact.mode != queue.ModeContact {
		t.Fatal("queue has another mode")
	}
	alice.wantErr(queue.ErrAuth, contact.sender, aliceKey, queue.SKEY{Key: aliceKey.Public()})
	alice.wantOK(contact.sender, unsigned, send("request"))
	contact.receive(bob, "request")
}

func TestSwitchingOffAndDeleting(t *testing.T) {
	r := startRelay(t, nil)
	bob, alice := r.connect(t), r.connect(t)
	q := bob.subscribed()
	aliceKey := newKey(t, keys.Ed25519)
	bob.wantOK(q.recipient, q.key, queue.KEY{Key: aliceKey.Public()})
	alice.wantOK(q.sender, aliceKey, send("before"))
	q.receive(bob, "before")

	bob.wantErr(queue.ErrAuth, q.recipient, newKey(t, keys.Ed25519), queue.OFF{})
	bob.wantErr(queue.ErrAuth, q.sender, q.key, queue.OFF{})
	bob.wantOK(q.recipient, q.key, queue.OFF{})
	bob.wantOK(q.recipient, q.key, queue.OFF{})
	alice.wantErr(queue.ErrAuth, q.sender, aliceKey, send("after"))
	alice.wantErr(queue.ErrAuth, q.sender, unsigned, send("after"))

	bob.wantOK(q.recipient, q.key, queue.SUB{})
	id := q.receive(bob, "before")

	bob.wantErr(queue.ErrAuth, q.recipient, newKey(t, keys.Ed25519), queue.DEL{})
	bob.wantErr(queue.ErrAuth, q.sender, q.key, queue.DEL{})
	bob.wantOK(q.recipient, q.key, queue.DEL{})
	alice.wantErr(queue.ErrAuth, q.sender, aliceKey, send("after"))
	alice.wantErr(queue.ErrAuth, q.sender, unsigned, send("after"))
	for _, c := range []queue.Command{queue.ACK{MessageID: id}, queue.OFF{}, queue.SUB{}, queue.DEL{}, queue.GET{}, queue.QUE{}} {
		bob.wantErr(queue.ErrAuth, q.recipient, q.key, c)
	}
	bob.quiet()
}

func TestTakingOver(t *testing.T) {
	r := startRelay(t, nil)
	first, second, alice := r.connect(t), r.connect(t), r.connect(t)
	q := first.subscribed()
	alice.wantOK(q.sender, unsigned, send("one"))
	first.wantOK(q.recipient, q.key, queue.ACK{MessageID: q.receive(first, "one")})
	alice.wantOK(q.sender, unsigned, send("two"))
	two := q.receive(first, "two")

	second.wantOK(q.recipient, q.key, queue.SUB{})
	if again := q.receive(second, "two"); again != two {
		t.Fatal("the message has another ID for the second connection")
	}
	end := first.event()
	first.want(end.Response, queue.END{})
	if end.EntityID != q.recipient {
		t.Fatal("END is for another queue")
	}
	first.wantErr(queue.ErrNoMsg, q.recipient, q.key, queue.ACK{MessageID: two})
	second.wantOK(q.recipient, q.key, queue.ACK{MessageID: two})
	alice.wantOK(q.sender, unsigned, send("three"))
	q.receive(second, "three")
	first.quiet()

	first.wantOK(q.recipient, q.key, queue.DEL{})
	deleted := second.event()
	if deleted.EntityID != q.recipient {
		t.Fatal("the event is for another queue")
	}
	second.want(deleted.Response, queue.END{}) // DELD is of version 10
	first.quiet()
}

func TestReadingWithGET(t *testing.T) {
	r := startRelay(t, nil)
	sub, get, alice := r.connect(t), r.connect(t), r.connect(t)
	q := sub.subscribed()
	get.wantOK(q.recipient, q.key, queue.GET{})
	alice.wantOK(q.sender, unsigned, send("one"))
	alice.wantOK(q.sender, unsigned, send("two"))
	alice.wantOK(q.sender, unsigned, send("three"))

	one := q.receive(sub, "one")
	got := get.do(q.recipient, q.key, queue.GET{})
	if q.wantMessage(t, got, "one") != one {
		t.Fatal("GET and SUB gave different IDs")
	}
	again := get.do(q.recipient, q.key, queue.GET{})
	if string(again.(queue.MSG).Sealed) != string(got.(queue.MSG).Sealed) {
		t.Fatal("the same message was sealed differently")
	}
	sub.wantErr(queue.ErrCmdProhibited, q.recipient, q.key, queue.GET{})
	get.wantErr(queue.ErrCmdProhibited, q.recipient, q.key, queue.SUB{})

	two := q.wantMessage(t, sub.do(q.recipient, q.key, queue.ACK{MessageID: one}), "two")
	get.wantErr(queue.ErrNoMsg, q.recipient, q.key, queue.ACK{MessageID: two})
	get.wantOK(q.recipient, q.key, queue.ACK{MessageID: one}) // late, but it was delivered here
	get.wantErr(queue.ErrNoMsg, q.recipient, q.key, queue.ACK{MessageID: one})

	q.wantMessage(t, get.do(q.recipient, q.key, queue.GET{}), "two")
	get.wantOK(q.recipient, q.key, queue.ACK{MessageID: two})
	// The subscriber's ACK finds the message gone, and gets what is at the head now.
	three := q.wantMessage(t, sub.do(q.recipient, q.key, queue.ACK{MessageID: two}), "three")
	q.wantMessage(t, get.do(q.recipient, q.key, queue.GET{}), "three")
	sub.wantOK(q.recipient, q.key, queue.ACK{MessageID: three})
	get.wantOK(q.recipient, q.key, queue.ACK{MessageID: three})
	get.wantOK(q.recipient, q.key, queue.GET{})
	get.quiet()
	sub.quiet()
}

func TestAcknowledging(t *testing.T) {
	r := startRelay(t, nil)
	bob, alice := r.connect(t), r.connect(t)
	q := bob.subscribed()
	bob.wantErr(queue.ErrNoMsg, q.recipient, q.key, queue.ACK{MessageID: randomID()})
	bob.wantErr(queue.ErrNoMsg, q.recipient, q.key, queue.ACK{})
	alice.wantOK(q.sender, unsigned, send("one"))
	alice.wantOK(q.sender, unsigned, send("two"))
	one := q.receive(bob, "one")
	bob.wantErr(queue.ErrNoMsg, q.recipient, q.key, queue.ACK{MessageID: randomID()})
	// Without an ID nothing is deleted.
	if q.wantMessage(t, bob.do(q.recipient, q.key, queue.ACK{}), "one") != one {
		t.Fatal("the message came with another ID")
	}
	two := q.wantMessage(t, bob.do(q.recipient, q.key, queue.ACK{MessageID: one}), "two")
	bob.wantErr(queue.ErrNoMsg, q.recipient, q.key, queue.ACK{MessageID: one})
	// A repeated SUB clears what is outstanding and delivers it again.
	bob.wantOK(q.recipient, q.key, queue.SUB{})
	if q.receive(bob, "two") != two {
		t.Fatal("the message came with another ID")
	}
	bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: two})
	bob.quiet()
	// Connections without subscription have nothing to acknowledge.
	alice.wantErr(queue.ErrNoMsg, q.recipient, q.key, queue.ACK{MessageID: two})
}

func TestQuota(t *testing.T) {
	const quota = 128
	r := startRelay(t, nil)
	bob, alice := r.connect(t), r.connect(t)
	q := bob.newInbox(queue.NEW{Mode: queue.ModeMessaging})
	body := func(n int) string { return strings.Repeat("m", n+1) }
	for n := range quota {
		alice.wantOK(q.sender, unsigned, send(body(n)))
	}
	alice.wantErr(queue.ErrQuota, q.sender, unsigned, send("too many"))
	alice.wantErr(queue.ErrQuota, q.sender, unsigned, send("too many"))
	bob.wantOK(q.recipient, q.key, queue.SUB{})
	id := q.receive(bob, body(0))
	for n := 1; n < quota; n++ {
		id = q.wantMessage(t, bob.do(q.recipient, q.key, queue.ACK{MessageID: id}), body(n))
		if n == quota/2 {
			alice.wantErr(queue.ErrQuota, q.sender, unsigned, send("still too many"))
		}
	}
	marker, id := q.open(t, bob.do(q.recipient, q.key, queue.ACK{MessageID: id}))
	if !marker.Quota {
		t.Fatal("the last one is no marker")
	}
	alice.wantErr(queue.ErrQuota, q.sender, unsigned, send("still too many"))
	bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: id})
	alice.wantOK(q.sender, unsigned, send("room again"))
	q.receive(bob, "room again")
}

func TestSendingToOneself(t *testing.T) {
	r := startRelay(t, nil)
	c := r.connect(t)
	q := c.subscribed()
	corrID := c.corrID()
	c.write(c.encode(corrID, q.sender, unsigned, send("me")))
	// The message is there before the answer.
	first := c.read()
	q.wantMessage(t, first[0].Response, "me")
	if len(first) > 1 {
		c.events = first[1:]
	} else {
		c.events = c.read()
	}
	if a := c.events[0]; a.CorrID != corrID || a.Response != (queue.OK{}) {
		t.Fatalf("%s is not the answer", show(a.Response))
	}
}

func TestSubscriptionOrder(t *testing.T) {
	r := startRelay(t, nil)
	alice := r.connect(t)
	owner := r.connect(t)
	var queues []inbox
	for range 3 {
		q := owner.newInbox(queue.NEW{Mode: queue.ModeMessaging})
		alice.wantOK(q.sender, unsigned, send("waiting"))
		queues = append(queues, q)
	}
	for _, n := range []int{1, 3} {
		bob := r.connect(t)
		var commands [][]byte
		for _, q := range queues[:n] {
			commands = append(commands, bob.encode(bob.corrID(), q.recipient, q.key, queue.SUB{}))
		}
		bob.write(commands...)
		var all []queue.Answer
		for len(all) < 2*n {
			all = append(all, bob.read()...)
		}
		for i := range n {
			bob.want(all[i].Response, queue.OK{})
			if all[i].EntityID != queues[i].recipient {
				t.Fatal("answers are in another order than the commands")
			}
			queues[i].wantMessage(t, all[n+i].Response, "waiting")
			if all[n+i].CorrID != "" {
				t.Fatal("the message has the correlation ID of the command")
			}
		}
		if bob.blocks[0] != n+1 {
			t.Fatalf("first block has %d transmissions, want the answers and the first message", bob.blocks[0])
		}
	}
}

func TestInOrderWithinABlock(t *testing.T) {
	r := startRelay(t, nil)
	bob, alice := r.connect(t), r.connect(t)
	q := bob.subscribed()
	key := newKey(t, keys.Ed25519)
	alice.write(
		alice.encode(alice.corrID(), q.sender, key, queue.SKEY{Key: key.Public()}),
		alice.encode(alice.corrID(), q.sender, key, send("one")),
		alice.encode(alice.corrID(), q.sender, unsigned, send("refused")),
		alice.encode(alice.corrID(), q.sender, key, send("two")),
	)
	answers := alice.read()
	for len(answers) < 4 {
		answers = append(answers, alice.read()...)
	}
	for i, want := range []queue.Response{queue.OK{}, queue.OK{}, queue.ERR{Err: queue.ErrAuth}, queue.OK{}} {
		alice.want(answers[i].Response, want)
	}
	q.wantMessage(t, bob.do(q.recipient, q.key, queue.ACK{MessageID: q.receive(bob, "one")}), "two")
}
