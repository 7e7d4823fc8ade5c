package grouproto

import (
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

func TestTwoMembersMeetAndTalk(t *testing.T) {
	s := newSim(t, 1)
	a := s.create("alice", oplog.Symmetric())
	b := s.node("bob")
	a.invite(b)
	s.until(time.Minute, func() bool { return s.connected(a, b) })
	s.run(10 * time.Second)
	if n := s.counts().Total(); n != 5 {
		t.Errorf("joining took %d agent messages: %+v", n, s.counts())
	}
	a.send("hello bob")
	b.send("hello alice")
	s.run(time.Minute)
	s.agree(a, b)
	s.sameMessages([]*node{a, b}, nil)
	if got := eventsOf[MemberConnected](a); len(got) != 1 || got[0].Waiting != 0 {
		t.Errorf("alice was not told that everybody is connected: %v", got)
	}
}

// budget is the promise of docs/groups.md, "Cost", for a join when the group had n members and a log of so many bytes.
func budget(n, log int) int {
	ceil := func(a, b int) int { return (a + b - 1) / b }
	return 3*n + ceil(n-1, 8) + ceil(log+33*(n-1), 13_500) + 12
}

func logBytes(g *Group) (n int) {
	for i := range g.log.Len() {
		n += g.log.At(i).Size()
	}
	return n
}

func TestJoinAndSendStayWithinTheBudget(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 30} {
		s := newSim(t, uint64(n))
		s.group(n, oplog.Symmetric())
		for _, m := range s.nodes {
			m.send("before " + m.name)
		}
		s.run(2 * time.Minute)
		before, log := s.counts(), logBytes(s.nodes[0].g)
		joiner := s.node("new")
		s.nodes[0].invite(joiner)
		s.until(5*time.Minute, func() bool { return s.connected(s.nodes...) })
		s.run(5 * time.Minute)
		used := s.counts().Minus(before)
		t.Logf("n = %d: %d of %d: %+v", n, used.Total(), budget(n, log), used)
		if most := budget(n, log); used.Total() > most {
			t.Errorf("n = %d: the join took %d messages, promised are %d: %+v", n, used.Total(), most, used)
		}
		if used.Confirmations != 2*n || used.Invitations != 2 || used.Forwarded != n-1 || used.Offers != (n-1+7)/8 {
			t.Errorf("n = %d: %+v", n, used)
		}
		s.agree(s.nodes...)

		before = s.counts()
		s.nodes[n/2].send("to everybody")
		s.run(5 * time.Minute)
		used = s.counts().Minus(before)
		if used.Messages != n || used.Total() > 2*n {
			t.Errorf("%d members: one message took %+v", n+1, used)
		}
		s.agree(s.nodes...)
		if len(joiner.got) != 1 && n > 1 {
			t.Errorf("n = %d: the new member got %d messages", n, len(joiner.got))
		}
	}
}
