package grouproto

import (
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// cut loses all queues of the connections between two nodes, at both ends.
func (s *sim) cut(a, b *node) {
	for _, pair := range [][2]*node{{a, b}, {b, a}} {
		n, o := pair[0], pair[1]
		for _, c := range n.g.peers[o.g.self].conns {
			lost := s.conns[c.name]
			lost.deleted, lost.inbox = true, 0
			n.later(s.delay(), func() { n.step(Failed{lost.name, ReasonAuth}) })
		}
	}
}

// strand adds a new member whose inviter is gone as soon as it has sent the log.
func (s *sim) strand(inviter *node) *node {
	s.t.Helper()
	guest := s.node(fmt.Sprintf("m%d", len(s.nodes)))
	inviter.invite(guest)
	s.until(10*time.Minute, func() bool { return guest.g != nil && guest.g.Info().Status == StatusMember })
	inviter.stop()
	return guest
}

// The inviter is gone right behind the log and never comes back. The new member knocks at another holder's address and is
// connected with everybody else.
func TestKnockWhenTheInviterIsGone(t *testing.T) {
	for seed := range uint64(20) {
		s := newSim(t, seed)
		if seed%2 == 1 {
			s.abort, s.reload = 0.1, 0.2
		}
		s.group(5, oplog.Symmetric())
		s.nodes[1].holds()
		s.nodes[3].holds()
		s.run(time.Minute)
		inviter := s.nodes[int(seed)%5]
		guest := s.strand(inviter)
		var rest []*node
		for _, n := range s.nodes {
			if n != inviter {
				rest = append(rest, n)
			}
		}
		s.until(time.Hour, func() bool { return s.connected(rest...) })
		if len(eventsOf[Knocking](guest)) == 0 {
			t.Error("nobody knocked")
		}
		s.run(2 * time.Minute)
		for _, n := range rest {
			if len(n.g.doors) != 0 {
				t.Errorf("seed %d: %s has %d doors", seed, n.name, len(n.g.doors))
			}
		}
		guest.send("hello, I am new here")
		s.run(time.Minute)
		inviter.start()
		s.until(30*time.Hour, func() bool { return s.connected(s.nodes...) })
		s.stillWell(s.nodes...)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// Nobody who is reachable holds an address: nothing happens, until somebody does.
func TestKnockWaitsForAnAddress(t *testing.T) {
	s := newSim(t, 7)
	s.group(4, oplog.Symmetric())
	s.nodes[1].holds()
	s.nodes[2].holds()
	s.run(time.Minute)
	s.nodes[1].stop()
	s.nodes[2].step(DoorFailed{s.nodes[2].g.Address(), ReasonAuth}) // and the relay forgets it
	guest := s.strand(s.nodes[0])
	s.run(3 * time.Hour)
	if n := len(eventsOf[Knocking](guest)); n != 1 || guest.g.doorsOf(doorKnock) != 1 {
		t.Errorf("knocked %d times, %d doors", n, guest.g.doorsOf(doorKnock))
	}
	s.nodes[1].start()
	s.until(time.Hour, func() bool { return s.connected(s.nodes[1], s.nodes[2], s.nodes[3], guest) })
}

// A pair that is dead both ways is made anew with the help of any third member, whoever of the two offers.
func TestPairThatIsDeadBothWays(t *testing.T) {
	for seed := range uint64(10) {
		s := newSim(t, seed)
		s.group(4, oplog.Symmetric())
		s.run(2 * time.Hour)
		s.cut(s.nodes[1], s.nodes[2])
		s.run(time.Minute)
		s.until(2*time.Hour, func() bool { return s.connected(s.nodes...) })
		if len(eventsOf[Knocking](s.nodes[1]))+len(eventsOf[Knocking](s.nodes[2])) != 0 {
			t.Error("somebody knocked")
		}
		s.stillWell(s.nodes...)
	}
}

// Every pair of one member is dead both ways. It comes back through an address, whatever its place in the group.
func TestKnockWithEveryPairDead(t *testing.T) {
	for seed := range uint64(20) {
		s := newSim(t, seed)
		s.group(5, oplog.Symmetric())
		s.nodes[2].holds()
		s.run(2 * time.Hour)
		lost := s.nodes[[]int{0, 1, 3, 4}[seed%4]]
		lost.stop()
		s.nodes[2].must(Set{Name: "title", Value: []byte("news")})
		late := s.node("m5")
		s.nodes[2].invite(late)
		s.run(time.Hour)
		for _, n := range s.nodes {
			if n != lost && n != late {
				s.cut(n, lost)
			}
		}
		lost.g.main.contact = "" // the contact that invited it is deleted
		lost.g.putMain(lost.tx)
		lost.start()
		s.until(3*time.Hour, func() bool { return s.connected(s.nodes...) })
		if len(eventsOf[Knocking](lost)) == 0 {
			t.Error("nobody knocked")
		}
		s.stillWell(s.nodes...)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// GREPAIR knocks at once.
func TestRepairKnocks(t *testing.T) {
	s := newSim(t, 8)
	s.group(3, oplog.Symmetric())
	s.nodes[1].holds()
	s.run(2 * time.Hour)
	for _, n := range s.nodes[:2] {
		s.cut(n, s.nodes[2])
	}
	s.until(time.Minute, func() bool {
		return s.nodes[2].g.peers[s.nodes[1].g.self].ready() == nil && s.nodes[2].g.peers[s.nodes[0].g.self].ready() == nil ||
			len(s.nodes[2].g.peers[s.nodes[1].g.self].conns) == 1
	})
	p := s.nodes[2].g.peers[s.nodes[1].g.self]
	for _, c := range p.conns {
		s.nodes[2].step(SendFailed{Conn: c.name, Reason: ReasonAuth})
	}
	p.replacedAt = time.Time{}
	s.nodes[2].must(Repair{s.nodes[1].g.self})
	if len(eventsOf[Knocking](s.nodes[2])) != 1 {
		t.Error("nobody knocked")
	}
	s.until(time.Hour, func() bool { return s.connected(s.nodes...) })
}

// Who was removed meanwhile is shown that, and nothing newer.
func TestKnockOfARemovedMember(t *testing.T) {
	s := newSim(t, 9)
	s.group(4, oplog.Symmetric())
	holder, lost := s.nodes[1], s.nodes[3]
	holder.holds()
	s.run(2 * time.Hour)
	lost.stop()
	for _, n := range s.nodes[:3] {
		s.cut(n, lost)
	}
	holder.must(Remove{Members: []Key{lost.g.self}})
	s.run(time.Minute)
	secret := holder.must(Set{Name: "title", Value: []byte("not for them")}).Op
	s.run(25 * time.Hour)
	lost.start()
	s.until(time.Hour, func() bool { return lost.g.Info().Status == StatusRemoved })
	if lost.g.log.Op(secret) != nil {
		t.Error("a removed member got what was written after its removal")
	}
	s.run(25 * time.Hour)
	s.closed(s.nodes...)
	s.stillWell(s.nodes[:3]...)
}
