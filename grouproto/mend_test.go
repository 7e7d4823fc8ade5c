package grouproto

import (
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// loseNext lets relays take and lose the first n of what matches: once n is 0 everything arrives. It tells how many were lost.
func (s *sim) loseNext(n int, matches func(from, to *node, what any) bool) (lost *int) {
	lost = new(int)
	s.loses = func(from, to *node, what any) bool {
		if *lost >= n || !matches(from, to, what) {
			return false
		}
		*lost++
		return true
	}
	return lost
}

// hasFrame tells whether a body carries a frame of this kind.
func hasFrame(body []byte, tag Tag) bool {
	frames, _ := splitBody(body)
	for _, f := range frames {
		if d, err := decodeFrame(f); err == nil && d.tag == tag {
			return true
		}
	}
	return false
}

// helloLost is the initiator's confirmation from one member to another.
func helloLost(from, to *node) func(a, b *node, what any) bool {
	return func(a, b *node, what any) bool {
		_, ok := what.(AllowConn)
		return ok && a == from && b == to
	}
}

func TestHelloOfTheNewMemberIsLost(t *testing.T) {
	for size := 1; size <= 3; size++ {
		for lose := 1; lose <= 2; lose++ {
			t.Run(fmt.Sprintf("%d members, %d times", size, lose), func(t *testing.T) {
				s := newSim(t, uint64(size))
				s.group(size, oplog.Symmetric())
				a, b := s.named("m0"), s.node("new")
				lost := s.loseNext(lose, helloLost(b, a))
				a.invite(b)
				s.run(time.Duration(lose) * 90 * time.Minute)
				if *lost != lose {
					t.Fatalf("%d hellos were lost", *lost)
				}
				if !s.connected(s.nodes...) {
					t.Fatal("the pair was not connected")
				}
				b.send("hello")
				a.send("hello")
				s.run(10 * time.Minute)
				s.agree(s.nodes...)
				s.sameMessages(s.nodes, nil)
			})
		}
	}
}

// TestHelloIsLostBetweenNewAndOldMember loses the one of a pair that the inviter introduced.
func TestHelloIsLostBetweenNewAndOldMember(t *testing.T) {
	s := newSim(t, 5)
	s.group(3, oplog.Symmetric())
	m, b := s.named("m1"), s.node("new")
	lost := s.loseNext(1, helloLost(b, m))
	s.named("m0").invite(b)
	s.until(15*time.Minute, func() bool { return *lost == 1 && s.connected(s.nodes...) })
}

// TestRepairHelpsWhenTheHelloIsLost does not wait for the inviter to ask.
func TestRepairHelpsWhenTheHelloIsLost(t *testing.T) {
	s := newSim(t, 6)
	a, b := s.create("a", oplog.Symmetric()), s.node("b")
	s.loseNext(1, helloLost(b, a))
	a.invite(b)
	s.until(time.Minute, func() bool { return b.g != nil && b.g.Info().Status == StatusMember })
	b.must(Repair{a.g.self})
	s.until(2*time.Minute, func() bool { return s.connected(a, b) })
}

// TestQuestionThatCrossesTheHello: the new member comes when its inviter is about to ask for another offer.
func TestQuestionThatCrossesTheHello(t *testing.T) {
	for back := 58 * time.Second; back < 61*time.Second; back += 50 * time.Millisecond {
		s := newSim(t, uint64(back))
		a, b := s.create("a", oplog.Symmetric()), s.node("b")
		a.invite(b)
		s.until(time.Minute, func() bool { return a.g.Counts().Confirmations == 1 })
		b.stop()
		s.run(back)
		b.start()
		s.run(3 * time.Hour)
		if n := len(s.made); n != 2 || !s.connected(a, b) {
			t.Errorf("back after %v: %d ends of connections were made, 2 are enough", back, n)
		}
	}
}

// TestQuestionsThatWaitedDoNotReplaceAConnection: the new member is away while its inviter asks for another offer, over
// the connection that waits.
func TestQuestionsThatWaitedDoNotReplaceAConnection(t *testing.T) {
	s := newSim(t, 7)
	a, b := s.create("a", oplog.Symmetric()), s.node("b")
	a.invite(b)
	s.until(time.Minute, func() bool { return a.g.Counts().Confirmations == 1 })
	b.stop()
	asked := 0
	a.hook = func(_ *node, e Effect) {
		if e, ok := e.(SendConn); ok && hasFrame(e.Body, TagNeed) {
			asked++
		}
	}
	s.run(24 * time.Hour)
	if asked == 0 || asked > 30 {
		t.Errorf("asked %d times in a day", asked)
	}
	b.start()
	s.run(3 * time.Hour)
	if !s.connected(a, b) {
		t.Fatal("not connected")
	}
	if n := len(s.made); n != 2 {
		t.Errorf("%d ends of connections were made, 2 are enough", n)
	}
}

func TestLogOfTheNewMemberIsLost(t *testing.T) {
	for _, tag := range []Tag{TagOps, TagMem, TagSync} {
		t.Run(tag.String(), func(t *testing.T) {
			s := newSim(t, 8)
			s.group(3, oplog.Symmetric())
			s.named("m1").send("before")
			s.run(time.Minute)
			a, b := s.named("m0"), s.node("new")
			asked := 0
			lost := s.loseNext(1, func(from, to *node, what any) bool {
				e, ok := what.(SendConn)
				return ok && from == a && to == b && hasFrame(e.Body, tag)
			})
			b.hook = func(_ *node, e Effect) {
				if e, ok := e.(SendConn); ok && b.g.Info().Status == StatusJoining && hasFrame(e.Body, TagSync) {
					asked++
				}
			}
			a.invite(b)
			s.until(10*time.Minute, func() bool { return s.connected(s.nodes...) })
			if *lost != 1 || asked != 1 {
				t.Errorf("%d bodies were lost, and the new member asked %d times", *lost, asked)
			}
			s.run(10 * time.Minute)
			s.agree(s.nodes...)
		})
	}
}

// TestLogIsLostAgainAndAgain loses the log, and some of the questions for it, also across restarts.
func TestLogIsLostAgainAndAgain(t *testing.T) {
	s := newSim(t, 9)
	a, b := s.create("a", oplog.Symmetric()), s.node("b")
	lost := s.loseNext(7, func(from, to *node, what any) bool {
		e, ok := what.(SendConn)
		return ok && (from == a && hasFrame(e.Body, TagOps) || from == b && hasFrame(e.Body, TagSync))
	})
	a.invite(b)
	s.run(30 * time.Minute)
	b.load()
	b.tickAt = time.Time{}
	b.plan()
	s.until(time.Hour, func() bool { return s.connected(a, b) })
	if *lost != 7 {
		t.Errorf("%d were lost", *lost)
	}
}

// TestHelloAndLogAreLost loses both, so that the new member is not one yet when it is asked for another offer.
func TestHelloAndLogAreLost(t *testing.T) {
	s := newSim(t, 12)
	a, b := s.create("a", oplog.Symmetric()), s.node("b")
	hello := helloLost(b, a)
	lost := s.loseNext(2, func(from, to *node, what any) bool {
		e, ok := what.(SendConn)
		return ok && from == a && hasFrame(e.Body, TagOps) || hello(from, to, what)
	})
	a.invite(b)
	s.until(10*time.Minute, func() bool { return *lost == 2 && s.connected(a, b) })
}

// TestLogIsGivenAFewTimesAnHour: a new member that asks and asks gets little.
func TestLogIsGivenAFewTimesAnHour(t *testing.T) {
	s := newSim(t, 10)
	a, b := s.create("a", oplog.Symmetric()), s.node("b")
	given := 0
	s.loses = func(from, to *node, what any) bool {
		e, ok := what.(SendConn)
		if ok && from == a && hasFrame(e.Body, TagOps) {
			given++
			return true
		}
		return false
	}
	a.invite(b)
	s.until(time.Minute, func() bool { return b.g != nil && b.g.lacksLog() && s.named("a").g.peers[b.g.self].healthy() })
	begin := given
	for range 600 {
		c := a.g.peers[b.g.self].ready()
		a.step(Message{c.name, bodyOf(&syncFrame{})})
		s.run(6 * time.Second)
	}
	if n := given - begin; n < mostLogs || n > 2*mostLogs {
		t.Errorf("the log was sent %d times in an hour", n)
	}
}

// TestBothEndsOffer lets both ends of a pair think that they make the offers, with every order of their attempts: the
// one with the smaller key knows another add of itself that has nothing in its past.
func TestBothEndsOffer(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Minute, 0, time.Minute} {
		for seed, found := uint64(0), 0; found < 3; seed++ {
			s := newSim(t, seed)
			s.group(3, oplog.Symmetric())
			a, x, y := s.named("m0"), s.named("m1"), s.named("m2")
			if x.g.self.Compare(y.g.self) > 0 {
				continue
			}
			found++
			t.Run(fmt.Sprintf("clock %v, seed %d", ahead, seed), func(t *testing.T) {
				s.t = t
				s.run(2 * time.Hour)
				x.clock = ahead
				x.step(Message{x.g.peers[a.g.self].ready().name, bodyOf(&opsFrame{Ops: []*oplog.Op{otherAdd(t, a, x)}})})
				for _, ends := range [][2]*node{{x, y}, {y, x}} {
					n, p := ends[0], ends[0].g.peers[ends[1].g.self]
					n.step(SendFailed{p.ready().name, 0, ReasonAuth})
					if p.offering() == nil {
						t.Fatalf("%s makes no offer", n.name)
					}
				}
				s.until(30*time.Second, func() bool { return s.connected(x, y) })
				if c := x.g.peers[y.g.self].ready(); c.side != sideInitiator {
					t.Error("the offer of the larger key stood")
				}
				s.run(6 * time.Hour)
				if !s.connected(x, y) {
					t.Error("not connected for long")
				}
			})
		}
	}
}

// TestOfferOfWhoDoesNotOfferAnyMore: both ends have offered with one attempt, so each refuses the other's, and then the logs
// come to agree that one of them does not make the offers.
func TestOfferOfWhoDoesNotOfferAnyMore(t *testing.T) {
	var s *sim
	var x, y *node // y makes the offers, and its key is the larger one: so no end outbids the other
	for seed := uint64(14); y == nil || y.g.self.Compare(x.g.self) < 0; seed++ {
		s = newSim(t, seed)
		s.group(3, oplog.Symmetric())
		x, y = s.named("m1"), s.named("m2")
	}
	s.run(2 * time.Hour)
	for _, ends := range [][2]*node{{x, y}, {y, x}} {
		n, p := ends[0], ends[0].g.peers[ends[1].g.self]
		if n == x {
			st := &step{Group: x.g, env: x.env(x.tx)}
			st.begin(p)
			st.finish()
			x.perform(st.out)
		}
		n.step(SendFailed{p.ready().name, 0, ReasonAuth})
	}
	p, q := x.g.peers[y.g.self], y.g.peers[x.g.self]
	if p.offering() == nil || q.offering() == nil || p.attempt != q.attempt || x.g.initiates(p) {
		t.Fatal("not both have offered")
	}
	s.until(30*time.Minute, func() bool { return s.connected(x, y) })
	s.agree(s.nodes...)
}

// otherAdd makes an add of a member that the creator of the group could have written in its place, with a smaller ID.
func otherAdd(t *testing.T, creator, member *node) *oplog.Op {
	t.Helper()
	g := member.g
	m, _ := g.st.Member(g.self)
	first := g.log.Op(m.Added)
	for i := byte(0); ; i++ {
		op, err := oplog.Sign(oplog.Body{
			Group: g.id, Author: creator.g.self, Seq: 1, Parents: first.Parents, Time: first.Time,
			Action: &oplog.Add{Member: g.self, Role: oplog.Plain, CardHash: [32]byte{i}},
		}, creator.g.key)
		if err != nil {
			t.Fatal(err)
		}
		if op.ID().Compare(m.Added) < 0 {
			return op
		}
	}
}
