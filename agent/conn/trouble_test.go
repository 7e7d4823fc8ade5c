package conn

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// refuse makes every operation of a kind of a node fail for good; nil undoes it.
func (w *world) refuse(who *node, kind opKind, class Class, code Code) {
	w.answer = func(n *node, op Operation) Input {
		if n == who && op.Name().kind == kind {
			return refused(op, class, code)
		}
		return nil
	}
}

// TestRefusedHandshakeStepIsRepeatedOnDemand stops the handshake at each operation, restarts, and takes it up again.
func TestRefusedHandshakeStepIsRepeatedOnDemand(t *testing.T) {
	standard := func(a, b *node) { a.relay.modes, b.relay.modes = false, false }
	fast := func(a, b *node) {}
	for _, c := range []struct {
		name    string
		prepare func(a, b *node)
		joiner  bool
		kind    opKind
		code    Code
	}{
		{"queue of the initiator", fast, false, opNew, CodeAuth},
		{"securing of the initiator's queue", fast, true, opSecure, CodeAuth},
		{"reply queue", fast, true, opNew, "SMP INTERNAL"},
		{"confirmation of the joiner", fast, true, opSend, CodeAuth},
		{"confirmation of the joiner with its key", standard, true, opSend, CodeAuth},
		{"securing of the reply queue", fast, false, opSecure, CodeAuth},
		{"key of the initiator's queue", standard, false, opKey, CodeAuth},
		{"key of the reply queue", standard, true, opKey, CodeAuth},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, a, b := pair(t)
			c.prepare(a, b)
			who := map[bool]*node{false: a, true: b}[c.joiner]
			w.refuse(who, c.kind, Auth, c.code)
			a.create(link.Invitation)
			w.settle(time.Hour)
			if l, ok := event[LinkReady](a); ok {
				if err := b.join(l.Link, "bob's info"); err != nil {
					t.Fatal(err)
				}
			}
			w.settle(time.Hour)
			f := mustEvent[Failure](who)
			if f.Err.Code != c.code || f.Err.Kind != OurFault || who.conn.stalled != c.code {
				t.Fatalf("failure %v, stalled %q", f.Err, who.conn.stalled)
			}
			who.restart()
			w.settle(time.Hour)
			if len(all[Failure](who)) != 1 || len(all[Connected](a)) != 0 {
				t.Fatalf("events:%s", who.history())
			}
			w.answer = nil
			who.must(Retry{})
			w.settle(time.Hour)
			if b.conn == nil {
				if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
					t.Fatal(err)
				}
				w.settle(time.Hour)
			}
			checkConnected(t, a, b)
		})
	}
}

func TestRefusedConfirmationOfTheInitiatorIsFinal(t *testing.T) {
	for _, c := range []struct {
		class  Class
		code   Code
		expiry time.Duration
	}{{Auth, CodeAuth, 0}, {Quota, CodeQuota, 0}, {Temporary, "BROKER NETWORK", messageExpiry}} {
		t.Run(string(c.code), func(t *testing.T) {
			w, a, b := pair(t)
			w.refuse(a, opSend, c.class, c.code)
			a.create(link.Invitation)
			w.run()
			if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
				t.Fatal(err)
			}
			w.run()
			if c.class == Temporary {
				a.send("waits behind it")
			}
			w.settle(c.expiry + time.Hour)
			f := mustEvent[Failure](a)
			if f.Err.Code != CodeNotAvailable || f.Err.Kind != Over || a.conn.phase != failed {
				t.Fatalf("%v", f.Err)
			}
			if c.class == Temporary {
				if e := mustEvent[SendFailed](a); e.Ref != "waits behind it" || len(a.bodies) != 0 {
					t.Errorf("%+v, %d bodies", e, len(a.bodies))
				}
			}
			if err := a.step(Send{}); !errors.Is(err, &Error{Code: CodeNotAvailable}) {
				t.Errorf("sent: %v", err)
			}
			a.restart()
			if len(a.todo) != 1 || !a.conn.NextWake().IsZero() { // SUB
				t.Errorf("%d operations", len(a.todo))
			}
			a.must(Delete{Wait: true})
			w.run()
			mustEvent[Deleted](a)
		})
	}
}

func TestHelloThatIsNotTaken(t *testing.T) {
	w, a, b := pair(t)
	a.relay.modes, b.relay.modes = false, false
	w.answer = func(n *node, op Operation) Input {
		if n == b && op.Name().kind == opSend && len(all[Info](b)) > 0 {
			return refused(op, Auth, CodeAuth)
		}
		return nil
	}
	a.create(link.Invitation)
	w.run()
	if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
		t.Fatal(err)
	}
	w.run()
	if f := mustEvent[Failure](b); f.Err.Code != CodeNotAvailable || f.Err.Kind != Over || b.conn.phase != failed {
		t.Errorf("%v", f.Err)
	}
}

func TestSizeOfInfo(t *testing.T) {
	w, a, b := pair(t)
	a.allow = nil
	a.create(link.Invitation)
	w.run()
	l := mustEvent[LinkReady](a).Link
	if err := b.join(l, strings.Repeat("x", 14830)); !errors.Is(err, &Error{Code: CodeLarge}) || b.tx.Len() != 0 {
		t.Errorf("joined: %v", err)
	}
	own := errors.New("client's own")
	if _, _, err := Join(b.env(), "x", JoinOptions{l, func([32]byte) ([]byte, error) { return nil, own }}); err != own || b.tx.Len() != 0 {
		t.Errorf("joined: %v", err)
	}
	// The reply queue takes its part, which is known once the relay has made it.
	reply := link.Info{Version: 4, Mode: queue.ModeMessaging, DH: keys.FromX25519(agreementKey([32]byte{1}).PublicKey()),
		Address: link.Address{Server: b.relay.server, SenderID: queue.ID(make([]byte, 24))}}
	most := envelope.JoinerInfo{Queues: []link.Info{reply}}.MaxInfo(false, 7)
	if err := b.join(l, strings.Repeat("x", most)); err != nil {
		t.Fatal(err)
	}
	w.run()
	c, d := w.node("carol"), w.node("dave")
	d.create(link.Invitation)
	w.run()
	c.relay.server.Hosts[0] = "longer" + c.relay.server.Hosts[0]
	if err := c.join(mustEvent[LinkReady](d).Link, strings.Repeat("x", most)); err != nil {
		t.Fatal(err)
	}
	w.run()
	if f := mustEvent[Failure](c); f.Err.Code != CodeLarge || c.conn.phase != failed {
		t.Errorf("%v", f.Err)
	}
	conf := mustEvent[Confirmation](a)
	if len(conf.Info) != most {
		t.Fatalf("%d bytes of info", len(conf.Info))
	}
	for _, bad := range []struct {
		allow Allow
		code  Code
	}{
		{Allow{conf.ID, make([]byte, 14830)}, CodeLarge},
		{Allow{"another", nil}, CodeNotFound},
	} {
		if err := a.step(bad.allow); !errors.Is(err, &Error{Code: bad.code}) {
			t.Errorf("allowed: %v", err)
		}
	}
	a.must(Allow{conf.ID, bytes.Repeat([]byte("y"), 14829)})
	if err := a.step(Allow{conf.ID, nil}); !errors.Is(err, &Error{Code: CodeProhibited}) {
		t.Errorf("allowed twice: %v", err)
	}
	w.run()
	if i := mustEvent[Info](b); len(i.Info) != 14829 {
		t.Errorf("%d bytes of info", len(i.Info))
	}
	if err := a.step(Allow{conf.ID, nil}); !errors.Is(err, &Error{Code: CodeNotFound}) {
		t.Errorf("allowed when connected: %v", err)
	}
}

func TestSizeOfRequest(t *testing.T) {
	w, a, b := pair(t)
	a.create(link.Contact)
	w.run()
	l := mustEvent[LinkReady](a).Link
	if err := b.join(l, strings.Repeat("x", 15897)); !errors.Is(err, &Error{Code: CodeLarge}) || b.tx.Len() != 0 {
		t.Errorf("joined: %v", err)
	}
	if err := b.join(l, strings.Repeat("x", 15000)); err != nil {
		t.Fatal(err)
	}
	w.run()
	most := envelope.MaxRequestInfo(len(b.conn.begin(b.env()).invitation().Text()))
	c, d := w.node("car"), w.node("dav") // names as long as Bob's
	for n, size := range map[*node]int{c: most, d: most + 1} {
		if err := n.join(l, strings.Repeat("x", size)); err != nil {
			t.Fatal(err)
		}
	}
	w.run()
	if r := mustEvent[Request](a); len(r.Info) != most || len(all[Request](a)) != 2 {
		t.Errorf("%d requests, the last with %d bytes", len(all[Request](a)), len(r.Info))
	}
	if f := mustEvent[Failure](d); f.Err.Code != CodeLarge || d.conn.phase != failed || len(d.todo) != 0 {
		t.Errorf("%v", f.Err)
	}
}

func TestPostingIsRepeated(t *testing.T) {
	w, a, b := pair(t)
	b.allow = []byte("alice's info")
	w.refuse(b, opPost, Quota, CodeQuota)
	a.create(link.Contact)
	w.run()
	if err := b.join(mustEvent[LinkReady](a).Link, "bob asks"); err != nil {
		t.Fatal(err)
	}
	w.settle(time.Hour)
	if f := mustEvent[Failure](b); f.Err.Code != CodeQuota {
		t.Errorf("%v", f.Err)
	}
	w.refuse(b, opPost, Temporary, "BROKER NETWORK")
	b.must(Retry{})
	w.run()
	if got := b.conn.NextWake().Sub(w.now); got != 2*time.Second {
		t.Errorf("repeated after %v", got)
	}
	w.answer = nil
	w.settle(time.Minute)
	mustEvent[Joined](b)
	mustEvent[Request](a)
}

func TestAnswerToTheConfirmationBeforeTheRelayConfirmsIt(t *testing.T) {
	w, a, b := pair(t)
	w.lose = func(n *node, op Operation) fate {
		if n == b && op.Name().kind == opSend {
			return answerLost
		}
		return arrives
	}
	a.create(link.Invitation)
	w.run()
	if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
		t.Fatal(err)
	}
	w.run()
	checkConnected(t, a, b)
	if len(all[Joined](b)) != 1 || b.conn.send[0].queued != 0 {
		t.Errorf("events:%s", b.history())
	}
}

func TestSendingTooEarly(t *testing.T) {
	w, a, b := pair(t)
	a.relay.modes, b.relay.modes = false, false
	a.allow = nil
	notYet := func(n *node) {
		t.Helper()
		if err := n.step(Send{Body: []byte("x")}); !errors.Is(err, &Error{Code: CodeNoQueue}) {
			t.Errorf("%s: %v", n.name, err)
		}
	}
	a.create(link.Invitation)
	notYet(a)
	w.run()
	notYet(a)
	if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
		t.Fatal(err)
	}
	notYet(b)
	w.run()
	notYet(a)
	notYet(b)
	a.must(Allow{mustEvent[Confirmation](a).ID, nil})
	for len(w.choices()) > 0 {
		if a.conn.phase != connected {
			notYet(a)
		}
		if b.conn.phase != connected {
			notYet(b)
		}
		w.choices()[0]()
	}
	a.must(Send{})
	b.must(Send{})
}

func TestWaitingMessagesAreBounded(t *testing.T) {
	w, a, _ := connectedPair(t)
	w.fails(a, Temporary, "BROKER NETWORK")
	a.must(Send{Body: []byte("first")})
	for i := range MaxOutbox - 2 { // behind it: they are counted and never looked into
		a.tx.Put(outboxName(0, 1<<40+int64(i)), nil)
	}
	a.restart()
	a.must(Send{Body: []byte("last")})
	if err := a.step(Send{Body: []byte("too many")}); !errors.Is(err, &Error{Code: CodeBusy}) {
		t.Errorf("%v", err)
	}
}

func TestUnacknowledgedMessagesAreBounded(t *testing.T) {
	w, a, b := connectedPair(t)
	a.acks = false
	q := w.relays[0].queues[0]
	for i := range MaxUnacked + 1 {
		b.inject(envelope.ClientMessage{Body: fmt.Append(nil, i)})
		in := q.deliver()
		q.messages, q.delivered = nil, false // does not wait for the acknowledgement
		a.must(in)
	}
	if got := len(all[Message](a)); got != MaxUnacked || a.conn.unacked != MaxUnacked {
		t.Errorf("%d messages, %d kept", got, a.conn.unacked)
	}
	for i, m := range all[Message](a) {
		if i == MaxUnacked-1 && len(a.todo) != 0 {
			t.Error("the last message is acknowledged because of an earlier one")
		}
		a.must(AckMessage{ID: m.ID})
	}
	if a.conn.unacked != 0 || len(a.todo) != 1 {
		t.Errorf("%d kept, %d operations", a.conn.unacked, len(a.todo))
	}
}

func TestDelete(t *testing.T) {
	for _, c := range []struct {
		name string
		at   func(w *world, a, b *node)
	}{
		{"before there is a queue", func(w *world, a, b *node) { a.create(link.Invitation) }},
		{"before anybody joined", func(w *world, a, b *node) { a.create(link.Invitation); w.run() }},
		{"connected", func(w *world, a, b *node) { connectPair(w.t, w, a, b) }},
		{"with waiting messages", func(w *world, a, b *node) {
			connectPair(w.t, w, a, b)
			w.fails(a, Temporary, "BROKER NETWORK")
			a.send("never delivered")
			b.acks = false
			b.send("never acknowledged")
			a.acks = false
			w.run()
		}},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/restart %v", c.name, restart), func(t *testing.T) {
				w, a, b := pair(t)
				c.at(w, a, b)
				a.must(Delete{})
				if restart && !a.conn.gone {
					a.restart()
				}
				w.run()
				mustEvent[Deleted](a)
				left := 0
				for _, q := range w.relays[0].queues {
					if !q.deleted {
						left++
					}
				}
				if left > 0 && !(restart && c.name == "before there is a queue") {
					t.Errorf("%d queues left", left)
				}
				for _, call := range []Input{Send{}, Allow{}, AckMessage{}, Answered{}} {
					if err := a.step(call); !errors.Is(err, &Error{Code: CodeNotFound}) {
						t.Errorf("%T: %v", call, err)
					}
				}
				a.must(Delete{})
				if _, err := Load("x", a.tx); !errors.Is(err, ErrNotFound) {
					t.Errorf("loaded: %v", err)
				}
				if got := a.conn.Pending(a.env()); got != nil || !a.conn.NextWake().IsZero() {
					t.Errorf("pending %v", got)
				}
			})
		}
	}
}

func TestDeleteThatFails(t *testing.T) {
	w, a, b := connectedPair(t)
	w.refuse(a, opDelete, Temporary, "BROKER NETWORK")
	start := w.now
	a.must(Delete{})
	w.settle(24 * time.Hour)
	e := mustEvent[QueueDeleted](a)
	if e.Err == nil || e.Err.Code != "BROKER NETWORK" || w.now.Sub(start) != 9*deleteRetry {
		t.Errorf("%v after %v", e.Err, w.now.Sub(start))
	}
	mustEvent[Deleted](a)

	w.refuse(b, opDelete, Auth, CodeAuth)
	b.must(Delete{})
	w.run()
	if e := mustEvent[QueueDeleted](b); e.Err == nil || e.Err.Code != CodeAuth {
		t.Errorf("%v", e.Err)
	}
	mustEvent[Deleted](b)
}

func TestDeleteAfterDelivery(t *testing.T) {
	for _, c := range []struct {
		name    string
		class   Class
		after   time.Duration // delivery works again
		failed  bool
		arrives bool
	}{
		{"delivered", Temporary, time.Hour, false, true},
		{"refused", Auth, time.Minute, true, false},
		{"too late", Temporary, 3 * 24 * time.Hour, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, a, b := connectedPair(t)
			w.fails(a, c.class, CodeAuth)
			start := w.now
			if c.class == Auth {
				w.fails(a, Temporary, "BROKER NETWORK")
			}
			a.send("last words")
			a.send("more")
			w.run()
			a.must(Delete{Wait: true})
			if err := a.step(Send{}); !errors.Is(err, &Error{Code: CodeNotFound}) {
				t.Errorf("sent: %v", err)
			}
			w.run()
			mustEvent[QueueDeleted](a)
			if _, ok := event[Deleted](a); ok {
				t.Fatal("deleted before delivery")
			}
			a.restart()
			w.fails(a, c.class, CodeAuth)
			w.settle(c.after)
			if c.after < 48*time.Hour {
				w.answer = nil
			}
			w.settle(72 * time.Hour)
			mustEvent[Deleted](a)
			if got := len(all[Message](b)); (got == 2) != c.arrives {
				t.Errorf("%d messages arrived", got)
			}
			if got := len(all[SendFailed](a)) > 0; got != c.failed {
				t.Errorf("failed: %v", got)
			}
			if w.now.Sub(start) > messageExpiry+time.Hour && c.name != "too late" {
				t.Errorf("took %v", w.now.Sub(start))
			}
		})
	}
}

func TestNextOperationStartsWithShortWaits(t *testing.T) {
	w, a, b := joiningPair(t, func(a, b *node) { a.relay.modes, b.relay.modes = false, false })
	a.allow = []byte("alice's info")
	failures := 0
	w.answer = func(n *node, op Operation) Input {
		if kind := op.Name().kind; n == b && (kind == opNew || kind == opKey) {
			if failures++; failures <= 8 || failures == 10 { // NEW, and KEY once
				return refused(op, Temporary, "BROKER NETWORK")
			}
		}
		return nil
	}
	w.run()
	for len(all[Info](b)) == 0 && w.wait(time.Hour) {
		w.run()
	}
	if got := b.conn.NextWake().Sub(w.now); failures != 10 || got != 2*time.Second {
		t.Errorf("KEY is repeated after %v, %d failures", got, failures)
	}
	w.settle(time.Hour)
	checkConnected(t, a, b)
}

func TestBadAnswerToNEW(t *testing.T) {
	good := func(op Op) QueueCreated {
		return QueueCreated{Op: op, Server: queue.Server{Hosts: []string{"a.example.org"}}, Recipient: "r", Sender: "s",
			ServerKey: keys.FromX25519(agreementKey([32]byte{1}).PublicKey()), Mode: queue.ModeMessaging}
	}
	for name, change := range map[string]func(*QueueCreated){
		"no recipient ID": func(q *QueueCreated) { q.Recipient = "" },
		"no sender ID":    func(q *QueueCreated) { q.Sender = "" },
		"no host":         func(q *QueueCreated) { q.Server.Hosts = nil },
		"bad host":        func(q *QueueCreated) { q.Server.Hosts = []string{"a b"} },
		"bad port":        func(q *QueueCreated) { q.Server.Port = "x" },
		"no key":          func(q *QueueCreated) { q.ServerKey = keys.Public{} },
		"useless key":     func(q *QueueCreated) { q.ServerKey, _ = keys.New(keys.X25519, make([]byte, 32)) },
	} {
		w, a, _ := pair(t)
		a.create(link.Invitation)
		op := a.todo[0].Name()
		a.todo = nil
		in := good(op)
		change(&in)
		a.must(in)
		if f := mustEvent[Failure](a); f.Err.Code != CodeInternal || len(a.todo) != 0 {
			t.Errorf("%s: %v", name, f.Err)
		}
		a.must(good(op)) // late, its keys are gone
		if len(all[LinkReady](a)) != 0 {
			t.Errorf("%s: late answer was taken", name)
		}
		a.must(Retry{})
		w.run()
		mustEvent[LinkReady](a)
	}
}

func TestNothingSecretIsPrinted(t *testing.T) {
	w, a, b := pair(t)
	a.create(link.Invitation)
	printed := fmt.Sprintf("%v %+v %#v %s\n", a.todo[0], a.todo[0], a.todo[0], a.todo[0])
	w.run()
	if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		for _, op := range b.todo {
			printed += fmt.Sprintf("%v %+v %s\n", op, op, op)
		}
		w.tickle()
	}
	printed += fmt.Sprintf("%v %+v %#v", a.conn, b.conn, b.conn)
	for _, secret := range [][]byte{a.conn.receive[0].key[:], b.conn.receive[0].key[:], b.conn.send[0].key[:], b.conn.send[0].secret[:]} {
		for _, form := range []string{"%v", "%x", "%s", "%#v"} {
			if s := strings.Trim(fmt.Sprintf(form, secret[:8]), "[]"); strings.Contains(printed, s) {
				t.Fatalf("a key is printed with %s", form)
			}
		}
	}
	if strings.Contains(printed, "example.org") || len(printed) > 5000 {
		t.Errorf("printed:\n%s", printed)
	}
}

// TestWaitingForARelayIsTold: a step of the handshake that waits for a relay is tried for ever; the client hears of it
// once, before a minute has passed, and again if it says Retry.
func TestWaitingForARelayIsTold(t *testing.T) {
	for _, c := range []struct {
		name string
		kind opKind
		who  string
		form form
	}{
		{"NEW of the initiator", opNew, "alice", forms[0]},
		{"NEW of the joiner", opNew, "bob", forms[0]},
		{"SKEY of the joiner", opSecure, "bob", forms[0]},
		{"confirmation of the joiner", opSend, "bob", forms[0]},
		{"SKEY of the initiator", opSecure, "alice", forms[0]},
		{"confirmation of the initiator", opSend, "alice", forms[0]},
		{"KEY of the initiator", opKey, "alice", forms[1]},
		{"KEY of the joiner", opKey, "bob", forms[1]},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, a, b := pair(t)
			c.form.prepare(a, b)
			who := map[string]*node{"alice": a, "bob": b}[c.who]
			w.refuse(who, c.kind, Temporary, "BROKER NETWORK")
			a.create(link.Invitation)
			if who == b || c.kind != opNew {
				w.settle(time.Hour)
				if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
					t.Fatal(err)
				}
			}
			w.settle(20 * time.Second)
			if len(all[Waiting](who)) != 0 {
				t.Fatal("told at once")
			}
			w.settle(time.Hour)
			for _, n := range []*node{a, b} {
				got := all[Waiting](n)
				if want := map[bool]int{true: 1}[n == who]; len(got) != want || want > 0 && got[0].Err.Code != "BROKER NETWORK" {
					t.Fatalf("%s was told %d times", n.name, len(got))
				}
				if len(all[Failure](n)) != 0 {
					t.Errorf("%s: failures", n.name)
				}
			}
			if c.kind != opSend { // whose times are its own
				who.must(Retry{})
				w.settle(time.Hour)
				if len(all[Waiting](who)) != 2 {
					t.Errorf("told %d times", len(all[Waiting](who)))
				}
			}
			w.answer = nil
			w.settle(time.Hour)
			if b.conn == nil {
				if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
					t.Fatal(err)
				}
				w.settle(time.Hour)
			}
			checkConnected(t, a, b)
		})
	}
}
