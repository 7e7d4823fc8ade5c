package grouproto

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

func members(s *sim, names ...string) (out []*node) {
	for _, name := range names {
		out = append(out, s.named(name))
	}
	return out
}

// stopAfter stops a node after so many more of its steps.
func stopAfter(n *node, steps int) {
	left := steps
	n.afterStep = func() {
		if left--; left <= 0 && !n.stopped {
			n.afterStep = nil
			n.stop()
		}
	}
}

func TestJoinCompletesWithoutTheInviter(t *testing.T) {
	finished := 0
	for steps := 1; steps <= 24; steps++ {
		t.Run(fmt.Sprint(steps), func(t *testing.T) {
			s := newSim(t, uint64(steps))
			s.group(4, oplog.Symmetric())
			inviter, joiner := s.named("m0"), s.node("new")
			stopAfter(inviter, steps)
			inviter.invite(joiner)
			s.run(3 * time.Hour)
			others := append(members(s, "m1", "m2", "m3"), joiner)
			met := false
			if joiner.g != nil {
				for _, p := range joiner.g.peers {
					met = met || p.ready() != nil && p.key != inviter.g.self
				}
			}
			if inviter.stopped && met {
				finished++
				if !s.connected(others...) {
					t.Error("the others did not finish the introduction")
				}
				s.agree(others...)
				joiner.send("hello from the new one")
				s.run(time.Minute)
			}
			inviter.afterStep = nil
			inviter.start()
			s.run(3 * time.Hour)
			if !s.connected(s.nodes...) {
				t.Error("not everybody is connected after the inviter came back")
			}
			joiner.send("now everybody is here")
			s.run(10 * time.Minute)
			s.agree(s.nodes...)
			s.sameMessages(s.nodes, nil)
		})
	}
	if finished < 5 {
		t.Errorf("only %d stops left something for the others to finish", finished)
	}
}

func TestJoinCompletesWhenTheNewMemberIsStopped(t *testing.T) {
	for steps := 1; steps <= 30; steps++ {
		s := newSim(t, uint64(steps))
		s.group(4, oplog.Symmetric())
		joiner := s.node("new")
		stopAfter(joiner, steps)
		s.named("m0").invite(joiner)
		s.run(time.Hour)
		joiner.afterStep = nil
		s.named("m1").send("are you there?")
		s.run(time.Hour)
		joiner.start()
		s.run(3 * time.Hour)
		if !s.connected(s.nodes...) {
			t.Fatalf("stopped after %d steps: not everybody is connected", steps)
		}
		s.agree(s.nodes...)
		if t.Failed() {
			t.Fatalf("after %d steps", steps)
		}
	}
}

func TestMemberThatIsAwayIsConnectedWhenItReturns(t *testing.T) {
	s := newSim(t, 3)
	s.group(4, oplog.Symmetric())
	away, joiner := s.named("m2"), s.node("new")
	away.stop()
	s.named("m0").invite(joiner)
	s.run(10 * time.Minute)
	if got := eventsOf[MemberConnected](s.named("m0")); len(got) == 0 || got[len(got)-1].Waiting != 1 {
		t.Errorf("the inviter was told %v", got)
	}
	if got := eventsOf[OffersForwarded](joiner); len(got) != 1 || got[0].Waiting != 1 {
		t.Errorf("the new member was told %v", got)
	}
	for _, m := range joiner.g.Members(joiner.tx) {
		if m.Key == away.g.self && (m.Pair != PairConnecting || m.Reason != ReasonNoAnswer) {
			t.Errorf("the pair is shown as %v, %v", m.Pair, m.Reason)
		}
	}
	joiner.send("m2 will get this later")
	s.run(24 * time.Hour)
	away.start()
	s.run(2 * time.Hour)
	if !s.connected(s.nodes...) {
		t.Error("not connected after the return")
	}
	s.agree(s.nodes...)
	s.sameMessages(s.nodes, nil)
	if got := eventsOf[MemberConnected](s.named("m0")); got[len(got)-1].Waiting != 0 {
		t.Errorf("the inviter was told %v", got)
	}
}

func TestTwoMembersAddAtOnce(t *testing.T) {
	for seed := range uint64(10) {
		s := newSim(t, seed)
		s.group(3, oplog.Symmetric())
		x, y := s.node("x"), s.node("y")
		s.named("m1").invite(x)
		s.named("m2").invite(y)
		s.run(3 * time.Hour)
		if !s.connected(s.nodes...) {
			t.Fatalf("seed %d: not everybody is connected", seed)
		}
		s.agree(s.nodes...)
		x.send("from x")
		y.send("from y")
		s.run(time.Minute)
		s.sameMessages(s.nodes, nil)
	}
}

func TestRemovedMemberCannotReadOn(t *testing.T) {
	s := newSim(t, 5)
	s.group(4, oplog.Symmetric())
	gone := s.named("m3")
	s.named("m1").send("for four")
	s.run(time.Minute)
	before := s.counts()
	s.named("m0").must(Remove{Members: []Key{gone.g.self}})
	s.run(time.Minute)
	used := s.counts().Minus(before)
	if used.Operations != 3 || used.Total() > 2*4-2 {
		t.Errorf("the removal took %+v", used)
	}
	rest := members(s, "m0", "m1", "m2")
	for _, n := range rest {
		n.send("for three, from " + n.name)
	}
	s.run(time.Hour)
	s.agree(rest...)
	s.sameMessages(rest, nil)
	if len(gone.got) != 1 {
		t.Errorf("the removed member read %d messages", len(gone.got))
	}
	if got := eventsOf[Removed](gone); len(got) != 1 || got[0].By != s.named("m0").g.self || got[0].Contestable {
		t.Errorf("the removed member was told %v", got)
	}
	if err := gone.refused(Send{Body: []byte("still here")}); !errors.Is(err, ErrNotMember) {
		t.Error(err)
	}
	// It does not help to go on as if nothing had happened.
	c := gone.g.peers[rest[1].g.self].ready()
	m := &message{Number: gone.g.main.next, Heads: gone.g.log.Heads(), Body: []byte("I am still here")}
	body := bundle{}
	body.add(encodeFrame(&msgFrame{m}), forMessages)
	gone.sendOver(SendConn{Conn: c.name, Ref: 1 << 40, Body: body.bytes()})
	body = bundle{}
	body.add(encodeFrame(&wantFrame{Messages: []wantEntry{{rest[0].g.self, Range{0, 5}}}}), forSync)
	gone.sendOver(SendConn{Conn: c.name, Ref: 1<<40 + 1, Body: body.bytes()})
	s.run(time.Hour)
	if len(rest[1].got) != 2 || len(gone.got) != 1 {
		t.Errorf("m1 has %d messages, the removed member %d", len(rest[1].got), len(gone.got))
	}
	s.run(25 * time.Hour)
	if got := eventsOf[Gone](gone); len(got) != 1 || gone.g.Info().Status != StatusGone {
		t.Error("the removed member keeps its connections")
	}
	for _, c := range s.conns {
		if c.owner == gone && !c.deleted {
			t.Error("a connection of the removed member is left")
		}
		if c.peer != nil && c.peer.owner == gone && !c.deleted {
			t.Errorf("%s keeps a connection with the removed member", c.owner.name)
		}
	}
}

func TestRemovalReachesEverybodyThoughItsAuthorStops(t *testing.T) {
	s := newSim(t, 6)
	s.group(5, oplog.Symmetric())
	author := s.named("m0")
	// Only m1 hears of it before the author stops.
	for _, c := range s.conns {
		if c.owner == author && c.peer.owner.name != "m1" {
			c.busy = true
		}
	}
	author.must(Remove{Members: []Key{s.named("m4").g.self}})
	s.run(10 * time.Second)
	author.stop()
	rest := members(s, "m1", "m2", "m3")
	s.named("m1").send("did you hear?")
	s.run(time.Minute)
	s.agree(rest...)
	if n := rest[2].g.Info().Members; n != 4 {
		t.Errorf("%d members", n)
	}
	s.named("m4").send("am I still in?")
	s.run(time.Minute)
	if len(eventsOf[Removed](s.named("m4"))) != 1 {
		t.Error("the removed member was not told by anybody")
	}
	for _, n := range rest {
		for _, text := range n.texts {
			if strings.Contains(text, "still in") {
				t.Errorf("%s took a message of a removed member", n.name)
			}
		}
	}
}

func TestLeaveAndEmptyGroup(t *testing.T) {
	s := newSim(t, 7)
	s.group(3, oplog.Symmetric())
	a, b, c := s.nodes[0], s.nodes[1], s.nodes[2]
	c.send("my last words")
	before := s.counts()
	c.must(Leave{})
	s.run(time.Minute)
	if used := s.counts().Minus(before); used.Operations > 2 {
		t.Errorf("leaving took %+v", used)
	}
	s.agree(a, b)
	for _, n := range []*node{a, b} {
		if got := eventsOf[MemberLeft](n); len(got) != 1 || got[0].Member != c.g.self {
			t.Errorf("%s was told %v", n.name, got)
		}
		if len(n.got) != 1 {
			t.Errorf("%s did not get the last words", n.name)
		}
	}
	if got := eventsOf[Left](c); len(got) != 1 || c.g.Info().Status != StatusLeft {
		t.Error("the one who left does not know")
	}
	empty := len(eventsOf[Empty](a))
	b.must(Leave{})
	s.run(25 * time.Hour)
	if len(eventsOf[Empty](a)) != empty+1 {
		t.Error("nobody said that the group is empty")
	}
	before = s.counts()
	a.send("to myself")
	s.run(25 * time.Hour)
	if used := s.counts().Minus(before); used.Total() != 0 {
		t.Errorf("a group of one sent %+v", used)
	}
	d := s.node("d")
	a.invite(d)
	s.until(time.Minute, func() bool { return s.connected(a, d) })
}

func TestMemberComesBackWithANewKey(t *testing.T) {
	s := newSim(t, 8)
	s.group(3, oplog.Symmetric())
	a, c := s.nodes[0], s.nodes[2]
	a.must(Remove{Members: []Key{c.g.self}})
	s.run(time.Minute)
	again := s.node("again") // the same person, with records of its own
	a.invite(again)
	s.until(10*time.Minute, func() bool { return s.connected(a, s.nodes[1], again) })
	again.send("back again")
	s.run(time.Minute)
	s.agree(a, s.nodes[1], again)
}

func TestCloseEndsTheGroupForEverybody(t *testing.T) {
	s := newSim(t, 9)
	s.group(3, oplog.Moderated())
	if err := s.nodes[1].refused(Close{}); !errors.Is(err, ErrNotPermitted) {
		t.Error(err)
	}
	s.nodes[0].must(Close{})
	s.run(time.Minute)
	for _, n := range s.nodes {
		if got := eventsOf[Closed](n); len(got) != 1 || got[0].By != s.nodes[0].g.self {
			t.Errorf("%s was told %v", n.name, got)
		}
		if err := n.refused(Send{Body: []byte("x")}); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	s.run(25 * time.Hour)
	for name, c := range s.conns {
		if !c.deleted {
			t.Errorf("connection %s is left", name)
		}
	}
}

func TestContestUndoesASweep(t *testing.T) {
	s := newSim(t, 10)
	s.group(6, oplog.Symmetric())
	creator, rebel := s.nodes[0], s.nodes[5]
	var all []Key
	for _, n := range s.nodes[:5] {
		all = append(all, n.g.self)
	}
	rebel.must(Remove{Members: all})
	s.run(time.Minute)
	if n := rebel.g.Info().Members; n != 1 {
		t.Fatalf("the rebel is not alone but with %d", n)
	}
	got := eventsOf[Removed](creator)
	if len(got) != 1 || !got[0].Contestable {
		t.Fatalf("the creator was told %v", got)
	}
	if w := eventsOf[Warned](creator); !slices.Contains(w, Warned{Warning: WarnSweep, Member: rebel.g.self}) {
		t.Errorf("the creator was warned of %v", w)
	}
	if err := s.nodes[1].refused(Send{Body: []byte("?")}); !errors.Is(err, ErrNotMember) {
		t.Error(err)
	}
	s.run(time.Hour)
	creator.must(Remove{Contest: true})
	s.run(10 * time.Minute)
	rest := s.nodes[:5]
	s.agree(append([]*node{rebel}, rest...)...)
	for _, n := range rest {
		if n.g.Info().Status != StatusMember || len(eventsOf[Restored](n)) != 1 {
			t.Errorf("%s is %v", n.name, n.g.Info().Status)
		}
	}
	if rebel.g.Info().Status != StatusRemoved {
		t.Error("the rebel is still in")
	}
	for _, n := range rest {
		n.send("as if nothing had happened")
	}
	s.run(10 * time.Minute)
	s.sameMessages(rest, nil)
	s.agree(rest...)
}

func TestStepsThatFailAndReloadsChangeNothing(t *testing.T) {
	for seed := range uint64(8) {
		s := newSim(t, seed)
		s.abort, s.reload = 0.3, 0.7
		s.group(4, oplog.Symmetric())
		for i := range 5 {
			for _, n := range s.nodes {
				n.send(fmt.Sprintf("message %d of %s", i, n.name))
				s.run(time.Duration(s.rng.IntN(2000)) * time.Millisecond)
			}
		}
		s.named("m1").must(Remove{Members: []Key{s.named("m3").g.self}})
		s.named("m0").must(Set{"title", []byte("crashes")})
		s.run(time.Hour)
		rest := members(s, "m0", "m1", "m2")
		s.agree(rest...)
		s.sameMessages(rest, nil)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// Who leaves while messages still wait for members is told which of them will not be sent.
func TestLeavingBeforeEverythingWasSent(t *testing.T) {
	s := newSim(t, 15)
	s.group(3, oplog.Symmetric())
	a, c := s.nodes[0], s.nodes[2]
	s.cutOff(c, s.nodes[1].name)
	for i := range windowSize + 3 {
		c.send(fmt.Sprint("message ", i))
		s.run(time.Second)
	}
	c.must(Leave{})
	got := eventsOf[MessageFailed](c)
	if len(got) != 1 || got[0].Member != a.g.self || got[0].Reason != ReasonEnded || got[0].Range != (Range{windowSize, windowSize + 2}) {
		t.Errorf("the leaver was told %+v", got)
	}
	s.nodes[1].send("they wrote a lot") // which names the last of them
	s.run(13 * time.Hour)
	s.agree(a, s.nodes[1])
	if len(a.got) != windowSize+4 {
		t.Errorf("%d messages arrived, with copies", len(a.got))
	}
}

// The news that a member has left may overtake what it wrote before: that counts as if it had come first.
func TestMessageOvertakenByItsAuthorsLeaving(t *testing.T) {
	s := newSim(t, 16)
	s.group(3, oplog.Symmetric())
	a, b, c := s.nodes[0], s.nodes[1], s.nodes[2]
	s.run(time.Minute)
	s.cutOff(c, b.name)
	c.send("goodbye")
	c.must(Leave{})
	s.run(time.Minute)
	b.must(Set{Name: "title", Value: []byte("without c")})
	s.run(time.Minute)
	if len(eventsOf[MemberLeft](a)) != 1 || len(a.got) != 0 {
		t.Fatal("the leaving has not overtaken the message")
	}
	s.restore(c)
	s.run(time.Minute)
	if len(a.got) != 1 {
		t.Error("the message is lost")
	}
	s.agree(a, b)
}

// A receipt for a member that is not connected waits for the connection, and not for a time that comes again and again.
func TestReceiptWaitsForTheConnection(t *testing.T) {
	s := newSim(t, 17)
	s.group(3, oplog.Symmetric())
	a, b := s.nodes[0], s.nodes[1]
	s.run(time.Minute)
	p := a.g.peers[b.g.self]
	p.receiptDue = s.now.Add(-time.Second)
	c := p.ready()
	c.state = connAllowed
	if at := a.g.nextWake(); !at.IsZero() && at.Before(s.now.Add(time.Minute)) {
		t.Errorf("wakes after %v", at.Sub(s.now))
	}
	c.state = connReady
	if at := a.g.nextWake(); at.After(s.now) {
		t.Error("the receipt is forgotten")
	}
}
