package grouproto

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// cutOff keeps what a node sends to others from leaving, except to those named.
func (s *sim) cutOff(from *node, except ...string) {
	for _, c := range s.conns {
		if c.owner == from && c.peer != nil && !slices.Contains(except, c.peer.owner.name) {
			c.busy = true
		}
	}
}

// restore undoes cutOff.
func (s *sim) restore(from *node) {
	for _, c := range s.conns {
		if c.owner == from && c.busy {
			c.busy = false
			c.work()
		}
	}
}

func TestMessageOfAnAuthorThatStoppedIsCopiedAndConfirmedLater(t *testing.T) {
	s := newSim(t, 20)
	s.group(4, oplog.Symmetric())
	author, heard, lacks := s.nodes[1], s.nodes[2], s.nodes[3]
	author.send("first")
	s.run(time.Minute)
	s.cutOff(author, heard.name)
	lost := author.send("only m2 gets this")
	s.run(10 * time.Second)
	author.stop()
	heard.send("what m1 says is right")
	s.run(time.Minute)
	got := eventsOf[MessageReceived](lacks)
	copied := got[len(got)-1].Message
	if copied.ID != lost || !copied.Vouched || copied.Via == author.g.self {
		t.Fatalf("m3 has not got the copy: %+v", copied.ID == lost)
	}
	reply := got[len(got)-2].Message
	if len(reply.Parents) != 1 || reply.Parents[0] != lost {
		t.Errorf("the reply names %d parents", len(reply.Parents))
	}
	if len(eventsOf[CaughtUp](lacks)) != 1 {
		t.Error("m3 was not told that it has caught up")
	}
	author.start()
	s.restore(author)
	author.send("I am back")
	s.run(time.Minute)
	confirmed := eventsOf[MessageConfirmed](lacks)
	if len(confirmed) != 1 || confirmed[0].ID != lost {
		t.Errorf("the copy was not confirmed by its author: %v", confirmed)
	}
	s.agree(s.nodes...)
	s.sameMessages(s.nodes, nil)
}

func TestCopyThatIsNotWhatTheAuthorWroteIsReplaced(t *testing.T) {
	s := newSim(t, 21)
	s.group(4, oplog.Symmetric())
	author, liar, lacks := s.nodes[1], s.nodes[2], s.nodes[3]
	s.cutOff(author, liar.name)
	author.send("I agree")
	s.run(10 * time.Second)
	author.stop()
	// The liar changes what it keeps, and refers to that.
	k, _ := loadKept(liar.tx, 'm', author.g.self, 0)
	k.message.Body = []byte("I disagree")
	k.id.Hash = k.message.hash(liar.g.id, author.g.self)
	st := &step{Group: liar.g, env: liar.env(liar.tx)}
	st.putKept('m', k)
	liar.g.main.tips = []MessageID{k.id}
	liar.send("have you seen what m1 wrote?")
	s.run(time.Minute)
	if got := eventsOf[MessageReceived](lacks); len(got) != 2 || string(got[1].Message.Body) != "I disagree" || !got[1].Message.Vouched {
		t.Fatalf("m3 got %d messages", len(got))
	}
	author.start()
	s.restore(author)
	author.send("what?")
	s.run(10 * time.Minute)
	got := eventsOf[MessageReplaced](lacks)
	if len(got) != 1 || string(got[0].Message.Body) != "I agree" || got[0].Message.Vouched {
		t.Errorf("m3 was told %v", got)
	}
	if w := eventsOf[Warned](lacks); !slices.ContainsFunc(w, func(w Warned) bool { return w.Warning == WarnDisputed || w.Warning == WarnEquivocation }) {
		t.Errorf("m3 was warned of %v", w)
	}
	kept, err := lacks.g.Message(lacks.tx, author.g.self, 0)
	if err != nil || string(kept.Body) != "I agree" {
		t.Errorf("m3 keeps %q, %v", kept.Body, err)
	}
}

func TestAuthorThatSaysTwoThingsIsReported(t *testing.T) {
	s := newSim(t, 22)
	s.group(3, oplog.Symmetric())
	author, other := s.nodes[1], s.nodes[2]
	author.send("one thing")
	s.run(time.Minute)
	m := &message{Number: 0, Heads: author.g.log.Heads(), Body: []byte("another thing")}
	b := bundle{}
	b.add(encodeFrame(&msgFrame{m}), forMessages)
	author.sendOver(SendConn{Conn: author.g.peers[other.g.self].ready().name, Ref: 1 << 40, Body: b.bytes()})
	s.run(time.Minute)
	if w := eventsOf[Warned](other); len(w) != 1 || w[0] != (Warned{Warning: WarnEquivocation, Member: author.g.self}) {
		t.Errorf("warned of %v", w)
	}
	if len(other.got) != 1 {
		t.Error("the second content was told as a message")
	}
}

func TestFullQueuePausesOneMemberOnly(t *testing.T) {
	s := newSim(t, 23)
	s.group(4, oplog.Symmetric())
	s.quota = 5
	slow := s.nodes[3]
	slow.stop()
	for i := range 40 {
		s.nodes[i%3].send(fmt.Sprint("message ", i))
		s.run(10 * time.Second)
	}
	s.run(time.Hour)
	s.sameMessages(s.nodes[:3], nil)
	paused := eventsOf[MemberPaused](s.nodes[0])
	if len(paused) != 1 || paused[0] != (MemberPaused{slow.g.self, ReasonQuota}) {
		t.Errorf("m0 was told %v", paused)
	}
	d, err := s.nodes[0].g.Delivery(s.nodes[0].g.main.next - 1)
	if err != nil || len(d) != 3 {
		t.Fatal(d, err)
	}
	for _, d := range d {
		want := MemberDelivery{d.Member, Delivered, ReasonNone}
		if d.Member == slow.g.self {
			want = MemberDelivery{slow.g.self, Queued, ReasonQuota}
		}
		if d != want {
			t.Errorf("%s: %v, %v", s.nameOf(d.Member), d.State, d.Reason)
		}
	}
	slow.start()
	s.run(2 * time.Hour)
	if len(eventsOf[MemberResumed](s.nodes[0])) != 1 {
		t.Error("m0 did not go on")
	}
	s.agree(s.nodes...)
	s.sameMessages(s.nodes, nil)
	d, _ = s.nodes[0].g.Delivery(s.nodes[0].g.main.next - 1)
	for _, d := range d {
		if d.State != Delivered {
			t.Errorf("%s: %v", s.nameOf(d.Member), d.State)
		}
	}
}

func TestBrokenConnectionIsReplacedAndNothingIsLost(t *testing.T) {
	for _, breaker := range []int{1, 2} {
		s := newSim(t, 24)
		s.group(4, oplog.Symmetric())
		a, b := s.nodes[1], s.nodes[2]
		n, o := a, b
		if breaker == 2 {
			n, o = b, a
		}
		// The relay loses o's queue with n: n cannot send any more.
		c := n.g.peers[o.g.self].ready()
		s.conns[c.name].peer.deleted = true
		s.conns[c.name].peer.inbox = 0
		n.send("into the void")
		s.run(10 * time.Minute)
		if w := eventsOf[PairWaiting](n); len(w) == 0 || w[0].Member != o.g.self || w[0].Reason != ReasonAuth {
			t.Errorf("told %v", w)
		}
		if !s.connected(s.nodes...) {
			t.Fatalf("the pair is not connected again")
		}
		o.send("I am here again")
		s.run(10 * time.Minute)
		s.agree(s.nodes...)
		s.sameMessages(s.nodes, nil)
		if p := n.g.peers[o.g.self]; len(p.conns) != 1 || len(o.g.peers[n.g.self].conns) != 1 {
			t.Errorf("the old connection is left: %d", len(p.conns))
		}
	}
}

func TestRepairMakesANewConnection(t *testing.T) {
	s := newSim(t, 25)
	s.group(3, oplog.Symmetric())
	for _, pair := range [][2]int{{1, 2}, {2, 1}, {0, 2}} {
		a, b := s.nodes[pair[0]], s.nodes[pair[1]]
		old := a.g.peers[b.g.self].ready().name
		a.must(Repair{b.g.self})
		a.send("while it is repaired")
		b.send("this too")
		s.run(10 * time.Minute)
		if c := a.g.peers[b.g.self].ready(); c == nil || c.name == old {
			t.Errorf("m%d has the old connection with m%d", pair[0], pair[1])
		}
		if !s.conns[old].deleted {
			t.Error("the old connection is not deleted")
		}
		if err := a.refused(Repair{b.g.self}); !errors.Is(err, ErrTooSoon) {
			t.Error(err)
		}
		s.run(2 * time.Hour)
	}
	s.agree(s.nodes...)
	s.sameMessages(s.nodes, nil)
}

func TestSomebodyInTheMiddleIsNoticed(t *testing.T) {
	s := newSim(t, 26)
	s.group(3, oplog.Symmetric())
	victim := s.nodes[1]
	victim.bind = func(b Binding) Binding { b[0] ^= 1; return b }
	joiner := s.node("new")
	s.nodes[0].invite(joiner)
	s.run(10 * time.Minute)
	if p := joiner.g.peers[victim.g.self]; p.ready() != nil {
		t.Error("connected with somebody in the middle")
	}
	if w := eventsOf[Warned](joiner); len(w) == 0 || w[0] != (Warned{Warning: WarnHello, Member: victim.g.self}) {
		t.Errorf("warned of %v", w)
	}
	victim.bind = nil
	s.run(3 * time.Hour)
	if !s.connected(s.nodes...) {
		t.Error("not connected after the middle went away")
	}
	s.agree(s.nodes...)
}

func TestHistoryIsPulledAsFarAsTheSettingAllows(t *testing.T) {
	for value, want := range map[string]int{"": 0, "0": 0, "2": 4, "all": 10} {
		s := newSim(t, 27)
		settings := []oplog.Setting{{Name: "history", Value: []byte(value)}}
		if value == "" {
			settings = nil
		}
		s.group(2, oplog.Symmetric(), settings...)
		for i := range 5 {
			s.nodes[0].send(fmt.Sprint("old ", i))
			s.nodes[1].send(fmt.Sprint("ancient ", i))
			s.run(time.Minute)
		}
		joiner := s.node("new")
		s.nodes[0].invite(joiner)
		s.run(10 * time.Minute)
		if len(joiner.got) != want {
			t.Errorf("history %q: the new member got %d messages, want %d", value, len(joiner.got), want)
		}
		s.nodes[1].send("welcome")
		s.run(10 * time.Minute)
		if len(joiner.got) != want+1 {
			t.Errorf("history %q: the new member got %d messages, want %d", value, len(joiner.got), want+1)
		}
		for _, m := range eventsOf[MessageReceived](joiner) {
			if m.Message.Vouched && m.Message.Via == m.Message.ID.Author {
				t.Error("the author vouches for itself")
			}
		}
		s.agree(s.nodes...)
	}
}

func TestNewMemberMayNotAskForOlderMessages(t *testing.T) {
	s := newSim(t, 28)
	s.group(2, oplog.Symmetric())
	secret := s.nodes[0].send("before you came")
	s.run(time.Minute)
	joiner := s.node("new")
	s.nodes[0].invite(joiner)
	s.run(10 * time.Minute)
	c := joiner.g.chains[s.nodes[0].g.self]
	c.absent, c.gaps = nil, []Range{{secret.Number, secret.Number}}
	joiner.g.resumeAsks()
	joiner.step(Tick{})
	s.run(time.Hour)
	if len(joiner.got) != 0 {
		t.Error("the new member read what was written before it came")
	}
	s.agree(s.nodes...)
}

func TestRolesDecideWhoMayDoWhat(t *testing.T) {
	s := newSim(t, 29)
	s.group(3, oplog.Moderated())
	owner, a, b := s.nodes[0], s.nodes[1], s.nodes[2]
	for _, in := range []Input{
		Set{"title", []byte("mine")}, SetRole{b.g.self, oplog.Observer}, Remove{Members: []Key{owner.g.self}},
		SetPolicy{oplog.Symmetric()}, Invite{Contact: "x"},
	} {
		if err := a.refused(in); !errors.Is(err, ErrNotPermitted) {
			t.Errorf("%T: %v", in, err)
		}
	}
	owner.must(SetRole{a.g.self, oplog.Moderator})
	owner.must(SetRole{b.g.self, oplog.Observer})
	owner.must(Set{"title", []byte("ours")})
	s.run(time.Minute)
	if err := b.refused(Send{Body: []byte("x")}); !errors.Is(err, ErrNotPermitted) {
		t.Error(err)
	}
	// What an observer sends nevertheless is not taken, and leaves no gap.
	m := &message{Number: 0, Heads: b.g.log.Heads(), Body: []byte("I speak")}
	bd := bundle{}
	bd.add(encodeFrame(&msgFrame{m}), forMessages)
	b.sendOver(SendConn{Conn: b.g.peers[a.g.self].ready().name, Ref: 1 << 40, Body: bd.bytes()})
	s.run(time.Minute)
	if len(a.got) != 0 {
		t.Error("an observer was heard")
	}
	a.must(Remove{Members: []Key{b.g.self}, Hide: true})
	s.run(time.Minute)
	if got := eventsOf[MemberRemoved](owner); len(got) != 1 || !got[0].Hide || got[0].By != a.g.self {
		t.Errorf("the owner was told %v", got)
	}
	if got := eventsOf[SettingChanged](a); len(got) != 1 || string(got[0].Value) != "ours" {
		t.Errorf("told %v", got)
	}
	s.agree(owner, a)
}

func TestInvitationCanBeRefusedWithdrawnAndExpire(t *testing.T) {
	s := newSim(t, 30)
	a := s.create("a", oplog.Symmetric())
	b := s.node("b")
	var kept Invitation
	b.answer = func(n *node, i Invitation) { kept = i }
	a.invite(b)
	s.run(time.Minute)
	if string(kept.Info) != "come in" || kept.Members != 1 || kept.Inviter != a.g.self {
		t.Errorf("the invitation says %+v", kept)
	}
	n := s.node("postman")
	n.answer = func(*node, Invitation) {}
	a.step(ContactFrame{"b", Reject(kept)})
	if got := eventsOf[InvitationAnswered](a); len(got) != 1 || got[0].Answer != Refused {
		t.Errorf("told %v", got)
	}
	b.accept(kept) // changed its mind, too late
	s.run(time.Minute)
	if a.g.Info().Members != 1 {
		t.Error("a refused invitation was accepted")
	}

	c := s.node("c")
	c.answer = b.answer
	token := a.must(Invite{Contact: "c"}).Token
	s.run(time.Minute)
	a.must(Uninvite{token})
	c.accept(kept)
	s.run(time.Minute)
	if a.g.Info().Members != 1 {
		t.Error("a withdrawn invitation was accepted")
	}

	d := s.node("d")
	d.answer = b.answer
	a.invite(d)
	s.run(8 * 24 * time.Hour)
	if got := eventsOf[InvitationAnswered](a); got[len(got)-1].Answer != Expired {
		t.Errorf("told %v", got)
	}
	if _, _, err := Accept(d.env(d.tx), kept, nil); !errors.Is(err, ErrExpired) {
		t.Error(err)
	}
}

func TestAcceptanceIsRepeatedForTheSameKeyOnly(t *testing.T) {
	s := newSim(t, 31)
	s.group(2, oplog.Symmetric())
	a := s.nodes[0]
	b := s.node("b")
	var acc []byte
	b.hook = func(_ *node, e Effect) {
		if e, ok := e.(SendContact); ok {
			acc = e.Frame
		}
	}
	a.invite(b)
	s.until(time.Minute, func() bool { return s.connected(s.nodes...) })
	ops := a.g.log.Len()
	a.step(ContactFrame{"b", acc})
	a.step(ContactFrame{"m1", acc}) // a leaked token is useless to others
	d, _ := decodeFrame(acc)
	f := d.frame.(*accFrame)
	thief := s.node("thief")
	thief.g = empty()
	thief.g.newKey(thief.env(thief.tx), nil)
	f.Member = thief.g.self
	f.Offer.Initiator = thief.g.self
	f.Offer.Attempt++
	f.Offer.sign(thief.g.key, a.g.id)
	a.step(ContactFrame{"b", encodeFrame(f)})
	thief.g = nil
	s.nodes = s.nodes[:3]
	s.run(time.Minute)
	if a.g.log.Len() != ops || a.g.Info().Members != 3 || !s.connected(s.nodes...) {
		t.Error("a repeated acceptance changed something")
	}
}

func TestSilentMemberGetsNothingMoreUntilItIsHeardOf(t *testing.T) {
	s := newSim(t, 32)
	s.group(3, oplog.Symmetric())
	silent := s.nodes[2]
	silent.stop()
	for day := range 30 {
		s.nodes[day%2].send(fmt.Sprint("day ", day))
		s.run(24 * time.Hour)
	}
	if got := eventsOf[MemberPaused](s.nodes[0]); len(got) != 1 || got[0].Reason != ReasonInactive {
		t.Errorf("told %v", got)
	}
	before := s.counts().Messages
	s.nodes[0].send("nobody listens")
	s.run(time.Minute)
	if n := s.counts().Messages - before; n != 1 {
		t.Errorf("%d messages were sent", n)
	}
	silent.start()
	silent.send("I am back")
	s.run(7 * time.Hour)
	if len(eventsOf[MemberResumed](s.nodes[0])) != 1 {
		t.Error("m0 does not send to it again")
	}
	s.nodes[0].send("welcome back")
	s.run(time.Hour)
	for _, n := range s.nodes {
		for k, c := range n.g.chains {
			if len(c.gaps) > 0 {
				t.Errorf("%s waits for %v of %s", n.name, c.gaps, s.nameOf(k))
			}
		}
	}
}

func TestDirectFramesArePassedOn(t *testing.T) {
	s := newSim(t, 33)
	s.group(3, oplog.Moderated())
	a, b := s.nodes[1], s.nodes[2]
	a.must(SendDirect{To: b.g.self, Tag: TagDirectInv, Payload: []byte("request")})
	s.run(time.Minute)
	got := eventsOf[DirectFrame](b)
	if len(got) != 1 || got[0].From != a.g.self || string(got[0].Payload) != "request" || !got[0].Permitted {
		t.Errorf("told %v", got)
	}
	s.nodes[0].must(SetRole{a.g.self, oplog.Observer})
	s.run(time.Minute)
	if err := a.refused(SendDirect{To: b.g.self, Tag: TagDirectInv}); !errors.Is(err, ErrNotPermitted) {
		t.Error(err)
	}
	a.must(SendDirect{To: b.g.self, Tag: TagDirectRej, Payload: []byte("no")})
	s.run(time.Minute)
	if len(eventsOf[DirectFrame](b)) != 2 {
		t.Error("a refusal was not passed on")
	}
	if err := a.refused(SendDirect{To: Key{1}, Tag: TagDirectInv}); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

func TestDirectFramesWaitForTheConnection(t *testing.T) {
	s := newSim(t, 34)
	s.group(2, oplog.Symmetric())
	s.nodes[1].stop()
	s.reload = 0.5
	joiner := s.node("new")
	s.nodes[0].invite(joiner)
	s.until(time.Minute, func() bool { return s.connected(s.nodes[0], joiner) })
	for i := range mostDirect {
		joiner.must(SendDirect{To: s.nodes[1].g.self, Tag: TagDirectInv, Payload: []byte{byte(i)}})
	}
	if err := joiner.refused(SendDirect{To: s.nodes[1].g.self, Tag: TagDirectInv}); !errors.Is(err, ErrNotConnected) {
		t.Error(err)
	}
	s.nodes[1].start()
	s.run(2 * time.Hour)
	if got := eventsOf[DirectFrame](s.nodes[1]); len(got) != mostDirect || got[3].Payload[0] != 3 || got[0].From != joiner.g.self {
		t.Errorf("%d frames arrived", len(got))
	}
}

// A queue of one's own that the relay has lost: nothing arrives any more, but what is sent does, also to ask for a new
// connection when there is nobody else.
func TestDeafConnectionIsReplaced(t *testing.T) {
	for _, deaf := range []int{0, 1} {
		s := newSim(t, 35)
		s.group(2, oplog.Symmetric())
		s.reload = 0.3
		n, o := s.nodes[deaf], s.nodes[1-deaf]
		s.run(2 * time.Hour)
		lost := s.conns[n.g.peers[o.g.self].ready().name]
		lost.deleted = true
		n.step(Failed{lost.name, ReasonAuth})
		if w := eventsOf[PairWaiting](n); len(w) == 0 || w[len(w)-1].Member != o.g.self {
			t.Errorf("told %v", w)
		}
		n.send("do you hear me?")
		s.run(time.Hour)
		if !s.connected(n, o) {
			t.Fatalf("m%d is still deaf", deaf)
		}
		o.send("yes")
		s.run(time.Minute)
		s.agree(n, o)
		s.sameMessages(s.nodes, nil)
	}
}

// A message may come before the operations that it names, and these in any order.
func TestMessageWaitsForOperationsThatWait(t *testing.T) {
	s := newSim(t, 36)
	s.group(4, oplog.Symmetric())
	author, speaker, listener := s.nodes[0], s.nodes[1], s.nodes[2]
	s.cutOff(author, speaker.name)
	first := author.must(Set{"title", []byte("one")}).Op
	second := author.must(Set{"title", []byte("two")}).Op
	s.run(10 * time.Second)
	author.stop()
	s.cutOff(speaker)
	speaker.send("I like the second title")
	m, _ := loadKept(speaker.tx, 'm', speaker.g.self, 0)
	give := func(f frame) {
		listener.step(Message{listener.g.peers[speaker.g.self].ready().name, bodyOf(f)})
	}
	give(&opsFrame{Ops: []*oplog.Op{speaker.g.log.Op(second)}}) // waits for the first
	give(&msgFrame{m.message})
	listener.load() // forgets what waits, not the message
	give(&opsFrame{Ops: []*oplog.Op{speaker.g.log.Op(second)}})
	if len(listener.got) != 0 {
		t.Error("judged before what it names is known")
	}
	give(&opsFrame{Ops: []*oplog.Op{speaker.g.log.Op(first)}})
	if len(listener.got) != 1 {
		t.Error("the message was not told")
	}
	s.restore(speaker)
	author.start()
	s.restore(author)
	s.run(time.Hour)
	s.agree(s.nodes...)
	s.sameMessages(s.nodes, nil)
}

// Who comes back after a contest goes on asking for what it lacked.
func TestGapsAreAskedForAfterTheReturn(t *testing.T) {
	s := newSim(t, 37)
	s.group(4, oplog.Symmetric())
	author, rebel, victim := s.nodes[0], s.nodes[3], s.nodes[2]
	s.cutOff(author, s.nodes[1].name)
	author.send("for all")
	s.run(10 * time.Second)
	author.stop()
	s.nodes[1].send("as m0 says")
	s.run(3 * time.Second)
	if len(victim.g.asks) == 0 {
		t.Fatal("m2 misses nothing")
	}
	rebel.must(Remove{Members: []Key{victim.g.self}})
	s.run(10 * time.Second)
	if victim.g.Info().Status != StatusRemoved {
		t.Fatal("m2 is not removed")
	}
	victim.must(Remove{Contest: true})
	s.run(time.Hour)
	if victim.got[author.g.self.Text()+"/0"] != 1 {
		t.Error("m2 still misses the message")
	}
}
