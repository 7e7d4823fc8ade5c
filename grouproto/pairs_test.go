package grouproto

import (
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// Of every pair one makes the offers, and both know which: who came later, or of two that nobody brought in behind the
// other the smaller key.
func TestOneOfAPairOffers(t *testing.T) {
	s := newSim(t, 320)
	s.group(3, oplog.Symmetric())
	x, y := s.node("x"), s.node("y")
	s.nodes[1].invite(x)
	s.nodes[2].invite(y) // beside the other
	s.until(10*time.Minute, func() bool { return s.connected(s.nodes...) })
	for i, a := range s.nodes {
		for _, b := range s.nodes[:i] {
			later := a.g.initiates(a.g.peers[b.g.self])
			if earlier := b.g.initiates(b.g.peers[a.g.self]); later == earlier {
				t.Errorf("%s and %s: both offer, or none: %v", a.name, b.name, later)
			}
			own, _ := a.g.st.Member(a.g.self)
			other, _ := a.g.st.Member(b.g.self)
			want := a.g.log.InPast(other.Added, own.Added) ||
				!a.g.log.InPast(own.Added, other.Added) && a.g.self.Compare(b.g.self) < 0
			if later != want {
				t.Errorf("%s and %s: the wrong one offers", a.name, b.name)
			}
		}
	}
}

// An attempt is above all before, also when the clock has gone back: the other end takes no lower one.
func TestAttemptsGoUpWhenTheClockGoesBack(t *testing.T) {
	s := newSim(t, 321)
	s.group(2, oplog.Symmetric())
	a, b := s.nodes[1], s.nodes[0]
	before := a.g.peers[b.g.self].attempt
	a.clock = -24 * time.Hour
	a.g.peers[b.g.self].replacedAt = time.Time{}
	a.must(Repair{Member: b.g.self})
	s.run(10 * time.Minute)
	if p := a.g.peers[b.g.self]; p.attempt != before+1 || p.ready() == nil || p.ready().attempt != p.attempt {
		t.Errorf("attempt %d behind %d, or not connected by it", p.attempt, before)
	}
}

// offered lets somebody offer to a member that does not answer.
func offered(t *testing.T, seed uint64) (s *sim, n *node, p *peer) {
	s = newSim(t, seed)
	s.group(3, oplog.Symmetric())
	n = s.nodes[2]
	other := s.nodes[1]
	other.stop()
	n.must(Repair{Member: other.g.self})
	s.run(30 * time.Second)
	p = n.g.peers[other.g.self]
	if c := p.offering(); c == nil || c.state != connOffered {
		t.Fatal("nothing is offered")
	}
	return s, n, p
}

// A request with a bad hello is deleted, so that nobody can try another one over it, and a new one is made.
func TestBadHelloEndsItsRequest(t *testing.T) {
	s, n, p := offered(t, 322)
	c := p.offering()
	deleted := ""
	n.hook = func(_ *node, e Effect) {
		if e, ok := e.(DeleteConn); ok {
			deleted = e.Conn
		}
	}
	n.step(Conf{c.name, "conf", Binding{1}, []byte("no hello")})
	if deleted != c.name || p.conn(c.name) != nil || len(warnedOf(n, WarnHello)) != 1 {
		t.Error("the request is still there, or nobody was warned")
	}
	s.run(2 * time.Hour)
	if again := p.offering(); again == nil || again.attempt <= c.attempt {
		t.Error("no other request was made")
	}
}

// The first good confirmation counts: what else comes to its connection changes nothing.
func TestSecondConfirmationChangesNothing(t *testing.T) {
	s := newSim(t, 323)
	s.group(2, oplog.Symmetric())
	n := s.nodes[1]
	p := n.g.peers[s.nodes[0].g.self]
	c := p.ready()
	if c.side != sideInitiator {
		t.Fatal("the other one offered")
	}
	n.step(Conf{c.name, "conf", Binding{1}, []byte("no hello")})
	if p.ready() != c || len(warnedOf(n, WarnHello)) != 0 {
		t.Error("a working connection was given up")
	}
	s.stillWell(s.nodes...)
}

// A request that nobody answers stands for a week, and then another one takes its place.
func TestRequestStandsForAWeek(t *testing.T) {
	s, _, p := offered(t, 324)
	c := p.offering()
	s.run(7*24*time.Hour - time.Hour)
	if p.offering() != c {
		t.Error("replaced before its time")
	}
	s.run(3 * time.Hour)
	if again := p.offering(); again == c || again == nil || again.attempt <= c.attempt || p.conn(c.name) != nil {
		t.Error("not replaced")
	}
}

// A connection that breaks again and again is replaced once an hour.
func TestConnectionIsReplacedOnceAnHour(t *testing.T) {
	s := newSim(t, 325)
	s.group(2, oplog.Symmetric())
	n := s.nodes[1]
	p := n.g.peers[s.nodes[0].g.self]
	made := 0
	n.hook = func(_ *node, e Effect) {
		if _, ok := e.(NewConn); ok {
			made++
		}
	}
	for i := range 5 {
		n.step(Failed{Conn: p.ready().name, Reason: ReasonAuth})
		s.run(10 * time.Minute)
		if made != 1 || i == 0 && !p.healthy() {
			t.Fatalf("%d connections made after %d failures", made, i+1)
		}
	}
	s.run(time.Hour)
	if made != 2 || !p.healthy() {
		t.Errorf("%d connections made in two hours", made)
	}
}

// Offers of a member that was removed are not joined, whoever passes them on.
func TestOfferOfARemovedMember(t *testing.T) {
	s := newSim(t, 326)
	s.group(3, oplog.Symmetric())
	forwarder, joiner, gone := s.nodes[0], s.nodes[1], s.nodes[2]
	forwarder.must(Remove{Members: []Key{gone.g.self}})
	s.run(time.Minute)
	joined := 0
	joiner.hook = func(_ *node, e Effect) {
		if _, ok := e.(JoinConn); ok {
			joined++
		}
	}
	link := "request of the removed"
	s.conns[link] = &simConn{owner: gone, name: link, link: []byte("link to " + link)}
	strike(forwarder, joiner, &memInvFrame{Offer: offerFrom(gone, joiner.g.self, 1<<31, "link to "+link)})
	if joined != 0 {
		t.Error("joined")
	}
}

// Who waits for an offer goes on reading the group from somebody else.
func TestGroupIsReadWhileAPairWaits(t *testing.T) {
	s := newSim(t, 327)
	s.group(3, oplog.Symmetric())
	n, away := s.nodes[0], s.nodes[2]
	p := n.g.peers[away.g.self]
	if n.g.initiates(p) {
		t.Fatal("it does not wait for an offer")
	}
	away.stop()
	s.run(2 * time.Minute)
	syncs := 0
	n.hook = func(_ *node, e Effect) {
		if e, ok := e.(SendConn); ok && n.g.conns[e.Conn] != p {
			frames, _ := splitBody(e.Body)
			for _, f := range frames {
				if d, err := decodeFrame(f); err == nil && d.tag == TagSync {
					syncs++
				}
			}
		}
	}
	n.step(Failed{Conn: p.ready().name, Reason: ReasonAuth})
	s.run(time.Hour)
	if syncs < 3 {
		t.Errorf("%d questions in an hour", syncs)
	}
}
