package grouproto

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/kv"
)

// inject sends frames from one member to another past its group.
func (s *sim) inject(from, to *node, frames ...frame) {
	s.t.Helper()
	c := from.g.peers[to.g.self].ready()
	var b bundle
	for _, f := range frames {
		b.add(encodeFrame(f), forSync)
	}
	s.refs++
	from.sendOver(SendConn{Conn: c.name, Ref: 1<<40 + s.refs, Body: b.bytes()})
}

func warnings(n *node, w Warning) (about []Key) {
	for _, e := range eventsOf[Warned](n) {
		if e.Warning == w {
			about = append(about, e.Member)
		}
	}
	return about
}

func TestFloodIsDelayedThenCutOff(t *testing.T) {
	s := newSim(t, 40)
	s.group(3, oplog.Symmetric())
	a, b := s.nodes[1], s.nodes[2]
	s.maxDelay = s.minDelay
	start := s.now
	for i := range 300 {
		a.send(fmt.Sprint("spam ", i))
		s.run(10 * time.Millisecond)
	}
	s.run(2 * time.Second)
	if n := len(b.got); n < peerBurst || n > peerBurst+int(s.now.Sub(start)/time.Second)+1 {
		t.Errorf("%d messages were taken in %v", n, s.now.Sub(start))
	}
	b.load() // what is delayed survives
	s.run(5 * time.Minute)
	s.sameMessages([]*node{a, b}, nil)

	for i := range 800 {
		s.inject(a, b, &msgFrame{&message{Number: 300 + uint64(i), Heads: a.g.log.Heads(), Body: []byte("more")}})
	}
	s.run(30 * time.Second)
	if got := warnings(b, WarnLimit); len(got) != 1 || got[0] != a.g.self {
		t.Errorf("warned of %v", got)
	}
	if b.g.peers[a.g.self].delayed > mostDelayed {
		t.Error("more frames are kept than allowed")
	}
	s.nodes[0].send("others are not delayed")
	s.run(time.Second)
	if len(eventsOf[MessageReceived](b)) == 0 {
		t.Fatal("nothing arrived")
	}
	last := eventsOf[MessageReceived](b)
	if !slices.ContainsFunc(last, func(m MessageReceived) bool { return m.Message.ID.Author == s.nodes[0].g.self }) {
		t.Error("a quiet member waits behind a loud one")
	}
}

func TestQuestionsAreAnsweredAtALimitedRate(t *testing.T) {
	s := newSim(t, 41)
	s.group(2, oplog.Symmetric())
	a, b := s.nodes[0], s.nodes[1]
	a.send("the answer")
	s.run(time.Minute)
	before := a.g.Counts()
	for range 100 {
		s.inject(b, a, &wantFrame{Messages: []wantEntry{{a.g.self, Range{0, 0}}}}, &syncFrame{})
	}
	s.run(30 * time.Second)
	used := a.g.Counts().Minus(before)
	if n := used.Copies + used.Operations; n > 2*(MaxWantsMinute+20) {
		t.Errorf("100 questions got %+v", used)
	}
	if len(warnings(a, WarnLimit)) != 1 {
		t.Error("nobody was warned")
	}
}

func TestUnusableFramesAreCountedAndHarmless(t *testing.T) {
	s := newSim(t, 42)
	s.group(3, oplog.Symmetric())
	a, b, c := s.nodes[0], s.nodes[1], s.nodes[2]
	before := b.g.StateHash()
	stranger := Key{1, 2, 3}
	id := MessageID{stranger, 4, [32]byte{5}}
	s.inject(a, b, &rejFrame{}, &invFrame{Range: ownVersions}, &accFrame{Offer: offer{}})
	s.inject(a, b, &doneFrame{1}, &memFrame{memLast, []memEntry{{stranger, 1}}}, &conFrame{[]conEntry{{stranger, 1, 1}}})
	s.inject(a, b, &fwdFrame{Author: stranger, Message: &message{}}, &fwdFrame{Author: c.g.self, Message: &message{Number: 9}}, &noneFrame{[]noneEntry{{stranger, Range{1, 2}, 1}}})
	s.inject(a, b, &syncFrame{List: []MessageID{id, {b.g.self, 99, [32]byte{}}, {c.g.self, ^uint64(0), [32]byte{}}}, Heads: a.g.log.Heads()})
	s.inject(a, b, &msgFrame{&message{Number: ^uint64(0), Heads: a.g.log.Heads()}})
	s.inject(a, b, &msgFrame{&message{Number: 0, Heads: a.g.log.Heads(), Parents: []MessageID{id, {b.g.self, 7, [32]byte{}}}}})
	s.inject(a, b, &invMemFrame{[]offer{{Initiator: c.g.self, Responder: b.g.self}, {Initiator: a.g.self, Responder: stranger, Expiry: 1 << 40}}})
	s.inject(a, b, &memInvFrame{Offer: offer{Initiator: c.g.self, Responder: b.g.self, Attempt: 1 << 31, Expiry: 1 << 40, Link: []byte("forged")}})
	s.inject(a, b, &needFrame{b.g.self, c.g.self, 0}, &needFrame{c.g.self, b.g.self, 0}, &needFrame{b.g.self, stranger, 1})
	s.inject(a, b, &rcvdFrame{Heads: []OpID{{1}, {2}}, UpTo: 1 << 60, Missing: []Range{{5, 1 << 50}}})
	s.inject(a, b, &opsFrame{Ops: []*oplog.Op{fixedOp(t)}})
	s.inject(a, b, &wantFrame{Ops: []OpID{{9}}, Messages: []wantEntry{{stranger, Range{0, 3}}, {b.g.self, Range{1 << 62, 1<<62 + 9}}}})
	b.step(Message{b.g.peers[a.g.self].ready().name, []byte("no frames")})
	b.step(Message{b.g.peers[a.g.self].ready().name, []byte{0, 3, 0, 1, 99, 0, 4, 0, 1, 19, 1, 0, 8, 0, 1, 19, 0, 0, 0, 0, 7}})
	b.step(Message{"unknown", []byte{0}})
	b.step(Conf{Conn: "unknown"})
	b.step(ContactFrame{"x", []byte("nothing")})
	s.run(3 * time.Hour)
	malformed, unknown, misplaced, extra := b.g.Problems()
	if malformed != 3 || unknown != 1 || misplaced != 0 || extra != 1 {
		t.Errorf("counted %d, %d, %d, %d", malformed, unknown, misplaced, extra)
	}
	if b.g.StateHash() != before || !s.connected(s.nodes...) {
		t.Error("something changed")
	}
	if got := warnings(b, WarnHello); len(got) != 1 || got[0] != a.g.self {
		t.Errorf("who handed over a forged offer was not reported: %v", got)
	}
	if len(b.g.chains) > 3 || b.g.chains[stranger] != nil {
		t.Error("messages of a stranger are accounted for")
	}
	a.send("as before")
	s.run(time.Hour)
	s.agree(s.nodes...)
}

func fixedOp(t *testing.T) *oplog.Op { return fixedMaterial(t).op }

func TestMadeUpNumbersAreGivenUp(t *testing.T) {
	s := newSim(t, 43)
	s.group(4, oplog.Symmetric())
	liar, victim, left := s.nodes[1], s.nodes[2], s.nodes[3]
	left.send("bye")
	left.must(Leave{})
	s.run(time.Minute)
	parents := []MessageID{{s.nodes[0].g.self, 1 << 50, [32]byte{1}}, {left.g.self, 1 << 51, [32]byte{2}}}
	s.inject(liar, victim, &msgFrame{&message{Number: 0, Heads: liar.g.log.Heads(), Parents: parents}})
	s.run(10 * time.Minute)
	before := s.counts()
	s.run(time.Hour)
	if used := s.counts().Minus(before); used.Total() > 4 {
		t.Errorf("the victim still asks: %+v", used)
	}
	for _, k := range []Key{s.nodes[0].g.self, left.g.self} {
		if gaps := victim.g.chains[k].gaps; len(gaps) > 0 {
			t.Errorf("the victim still misses %v", gaps)
		}
	}
	s.nodes[0].send("the real one")
	s.run(time.Minute)
	if len(victim.got) != 3 {
		t.Errorf("the victim has %d messages", len(victim.got))
	}
	if n := s.nodes[0].g.peers[victim.g.self].delivered; n != 1 {
		t.Errorf("the receipt goes up to %d", n)
	}
}

func TestGivenUpDeliveryIsShownAndRepaired(t *testing.T) {
	s := newSim(t, 44)
	s.group(2, oplog.Symmetric())
	a, b := s.nodes[0], s.nodes[1]
	var ref Ref
	a.hook = func(_ *node, e Effect) {
		if e, ok := e.(SendConn); ok {
			ref = e.Ref
		}
	}
	s.cutOff(a)
	a.send("too late")
	c := a.g.peers[b.g.self].ready()
	a.step(SendFailed{c.name, ref, ReasonExpired})
	a.step(SendFailed{c.name, ref, ReasonExpired}) // told twice
	if got := eventsOf[MessageFailed](a); len(got) != 1 || got[0] != (MessageFailed{b.g.self, Range{0, 0}, ReasonExpired}) {
		t.Errorf("told %v", got)
	}
	if d, err := a.g.Delivery(0); err != nil || d[0] != (MemberDelivery{b.g.self, Undelivered, ReasonExpired}) {
		t.Errorf("%v, %v", d, err)
	}
	if _, err := a.g.Delivery(1); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	s.conns[c.name].out = nil // the connection gave it up
	s.conns[c.name].busy = false
	a.send("in time")
	s.run(time.Minute)
	if d, err := a.g.Delivery(0); err != nil || d[0].State != Delivered || len(b.got) != 2 {
		t.Errorf("%v, %v", d, err)
	}
}

func TestOldMessagesAreForgotten(t *testing.T) {
	s := newSim(t, 45)
	s.group(2, oplog.Symmetric())
	a, b := s.nodes[0], s.nodes[1]
	for i := range 4 {
		a.send(fmt.Sprint("old ", i))
		s.run(time.Hour)
	}
	all := b.g.History(b.tx, 0, 10)
	if len(all) != 4 || string(all[0].Body) != "old 3" || all[3].Depth != 1 || all[0].Depth != 4 {
		t.Fatalf("history: %d", len(all))
	}
	if got := b.g.History(b.tx, all[1].Position, 1); len(got) != 1 || string(got[0].Body) != "old 1" {
		t.Error("history does not go on where it stopped")
	}
	front := b.g.chains[a.g.self].top
	s.run(Retention - 2*time.Hour)
	s.run(8 * time.Hour) // the regular look at what is old
	if n := len(b.g.History(b.tx, 0, 10)); n != 0 {
		t.Errorf("%d messages are kept", n)
	}
	if _, err := b.g.Message(b.tx, a.g.self, 0); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	joiner := s.node("new")
	a.invite(joiner)
	s.run(10 * time.Minute)
	a.send("fresh")
	s.run(time.Minute)
	s.agree(s.nodes...)
	if b.g.chains[a.g.self].top != front+1 || len(joiner.got) != 1 || len(b.got) != 5 {
		t.Error("the chain does not go on")
	}
	st := &step{Group: b.g, env: b.env(b.tx)}
	other := &step{Group: joiner.g, env: joiner.env(joiner.tx)}
	if st.digest() != other.digest() {
		t.Error("digests differ")
	}
}

func TestTooLargeThingsAreRefused(t *testing.T) {
	s := newSim(t, 46)
	s.group(2, oplog.Symmetric())
	a := s.nodes[0]
	for _, in := range []Input{
		Send{Body: make([]byte, MaxBody+1)}, Invite{Contact: "x", Info: make([]byte, MaxInfo+1)},
		Set{Name: "", Value: []byte("x")}, Set{Name: "x", Value: make([]byte, oplog.MaxValue+1)},
		SendDirect{To: s.nodes[1].g.self, Tag: TagDirectInv, Payload: make([]byte, MaxFrames)},
	} {
		if err := a.refused(in); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%T: %v", in, err)
		}
	}
	env := a.env(&kv.Memory{})
	if _, _, err := Create(env, CreateOptions{Policy: oplog.Symmetric(), Card: make([]byte, MaxCard)}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	long := []oplog.Setting{{Name: "title", Value: make([]byte, 4097)}}
	if _, _, err := Create(env, CreateOptions{Policy: oplog.Symmetric(), Settings: long}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("group with a title that is too long: %v", err)
	}
	if _, _, err := Create(env, CreateOptions{}); err == nil {
		t.Error("a group without a policy")
	}
	if _, _, err := Accept(env, Invitation{Expiry: s.now.Add(time.Hour)}, make([]byte, MaxCard)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	a.send(string(make([]byte, MaxBody)))
	s.run(time.Minute)
	s.sameMessages(s.nodes, nil)
	for _, in := range []Input{Repair{Key{1}}, Remove{Members: []Key{{1}}}, Uninvite{Token{1}}} {
		if err := a.refused(in); !errors.Is(err, ErrUnknown) {
			t.Errorf("%T: %v", in, err)
		}
	}
	if err := a.refused(Remove{Contest: true}); !errors.Is(err, ErrNoContest) {
		t.Error(err)
	}
}

func TestLargestMessageFitsWithAllItMayName(t *testing.T) {
	m := &message{Heads: make([]OpID, 16), Parents: make([]MessageID, 16), Body: make([]byte, MaxBody)}
	if n := frameSize(encodeFrame(&msgFrame{m})); n > 13_573 {
		t.Errorf("%d bytes", n)
	}
	if n := frameSize(encodeFrame(&fwdFrame{Author: Key{}, Message: m})); n > 13_573 {
		t.Errorf("a copy has %d bytes", n)
	}
}

func TestWrongCardIsNotShown(t *testing.T) {
	s := newSim(t, 47)
	s.group(2, oplog.Symmetric())
	joiner := s.node("new")
	joiner.answer = func(n *node, inv Invitation) {
		n.accept(inv)
		n.g.card = bytes.Clone(n.g.card)
	}
	s.nodes[0].invite(joiner)
	s.until(time.Minute, func() bool { return joiner.g != nil && joiner.g.Info().Status == StatusMember })
	joiner.g.card = append(bytes.Clone(joiner.g.card), " of somebody else"...)
	s.run(10 * time.Minute)
	if got := warnings(s.nodes[1], WarnCard); len(got) != 1 || got[0] != joiner.g.self {
		t.Errorf("warned of %v", got)
	}
	for _, m := range s.nodes[1].g.Members(s.nodes[1].tx) {
		if m.Key == joiner.g.self && string(m.Card) != "card of new" {
			t.Errorf("shown: %q", m.Card)
		}
		if m.Key == s.nodes[0].g.self && string(m.Card) != "card of m0" {
			t.Errorf("shown: %q", m.Card)
		}
	}
}

func TestLaterVersionsStopWritingOnly(t *testing.T) {
	s := newSim(t, 48)
	s.group(2, oplog.Symmetric())
	p := oplog.Symmetric()
	p.OpsVersion = 2
	if err := s.nodes[1].refused(SetPolicy{p}); !errors.Is(err, ErrUpgrade) {
		t.Error(err)
	}
	env := s.nodes[0].env(&kv.Memory{})
	if _, _, err := Create(env, CreateOptions{Policy: p}); !errors.Is(err, ErrUpgrade) {
		t.Error(err)
	}
	s.nodes[0].know(2)
	s.nodes[0].must(SetPolicy{p})
	s.run(time.Minute)
	s.nodes[0].options = nil
	s.nodes[0].load()
	for _, n := range s.nodes {
		if n == s.nodes[1] && len(warnings(n, WarnUpgrade)) != 1 || !n.g.Info().Upgrade {
			t.Errorf("%s does not know", n.name)
		}
		if err := n.refused(Set{"title", []byte("x")}); !errors.Is(err, ErrUpgrade) {
			t.Error(err)
		}
	}
	s.nodes[1].send("we can still talk")
	s.run(time.Minute)
	s.sameMessages(s.nodes, nil)
}

func TestDamagedRecordsAreNoticed(t *testing.T) {
	s := newSim(t, 49)
	s.group(3, oplog.Symmetric())
	a := s.nodes[0]
	s.nodes[1].stop()
	joiner := s.node("new")
	joiner.answer = func(*node, Invitation) {}
	a.invite(joiner)
	third := s.node("third")
	s.nodes[2].invite(third)
	s.until(10*time.Minute, func() bool { return s.connected(s.nodes[2], third) })
	third.must(SendDirect{To: s.nodes[1].g.self, Tag: TagDirectRej, Payload: []byte("x")})
	a.send("one")
	s.run(time.Second)
	kinds := map[byte]bool{}
	for _, n := range []*node{a, s.nodes[2], third} {
		n.tx.Clone().Scan(nil, nil, func(k, v []byte) bool {
			if k[0] == 'm' || k[0] == 't' || k[0] == 'k' || k[0] == 'l' || kinds[k[0]] {
				return true
			}
			kinds[k[0]] = true
			for cut := range len(v) {
				tx := n.tx.Clone()
				tx.Put(k, v[:cut])
				if _, err := Load(tx); err == nil {
					t.Errorf("%d of %d bytes of record %c were taken", cut, len(v), k[0])
					break
				}
			}
			return true
		})
	}
	for _, kind := range "igpcnjx" {
		if !kinds[byte(kind)] {
			t.Errorf("no record %c was there to be damaged", kind)
		}
	}
	if _, err := Load(&kv.Memory{}); !errors.Is(err, ErrRecords) {
		t.Error(err)
	}
}

func TestReceiptsRideAlong(t *testing.T) {
	s := newSim(t, 50)
	s.group(3, oplog.Symmetric())
	s.run(time.Minute) // the new member's last report
	s.maxDelay = 20 * time.Millisecond
	before := s.counts()
	for i := range 20 {
		s.nodes[i%2].send("ping")
		s.run(time.Second)
	}
	s.run(time.Minute)
	used := s.counts().Minus(before)
	if used.Messages != 40 || used.Receipts > 26 || used.Total() != used.Messages+used.Receipts {
		t.Errorf("%+v", used)
	}
	for _, n := range s.nodes[:2] {
		got := eventsOf[MessageDelivered](n)
		if len(got) == 0 || got[len(got)-1].UpTo != 10 {
			t.Errorf("%s was told %v", n.name, got)
		}
	}
}

func TestAtMostTwentyPairsAreOpenAtATime(t *testing.T) {
	s := newSim(t, 51)
	s.group(30, oplog.Symmetric())
	for _, n := range s.nodes[2:] {
		n.stop()
	}
	joiner := s.node("new")
	open, most := 0, 0
	joiner.hook = func(_ *node, e Effect) {
		if _, ok := e.(NewConn); ok {
			open++
			most = max(most, open)
		}
	}
	s.nodes[0].invite(joiner)
	s.run(50 * time.Second)
	if joiner.g.Hits()["pairs"] != 1 {
		t.Errorf("counted: %v", joiner.g.Hits())
	}
	if most > MaxOpenPairs+1 { // and the one with the inviter
		t.Errorf("%d pairs are open", most)
	}
	s.run(10 * time.Minute)
	if open != 30 {
		t.Errorf("%d pairs were begun: those who are away should not hold up the others", open)
	}
	for _, n := range s.nodes[2:30] {
		n.start()
	}
	s.until(3*time.Hour, func() bool { return s.connected(s.nodes...) })
	s.agree(s.nodes...)
}

func TestJoiningEndsWhenNobodyAnswers(t *testing.T) {
	s := newSim(t, 52)
	a, b := s.create("a", oplog.Symmetric()), s.node("b")
	a.invite(b)
	s.until(time.Minute, func() bool { return b.g != nil })
	a.stop()
	s.run(6 * 24 * time.Hour)
	if b.g.Info().Status != StatusJoining {
		t.Error("gave up too early")
	}
	if err := b.refused(Send{Body: []byte("x")}); !errors.Is(err, ErrJoining) {
		t.Error(err)
	}
	before := b.g.Counts().Invitations
	s.run(3 * 24 * time.Hour)
	if b.g.Info().Status != StatusGone || len(eventsOf[Gone](b)) != 1 {
		t.Error("still waits")
	}
	if n := b.g.Counts().Invitations; n-before > 60 {
		t.Errorf("%d acceptances were sent", n)
	}
	a.start()
	s.run(24 * time.Hour)
	if len(eventsOf[Joined](b)) != 0 {
		t.Error("joined what had ended")
	}
}
