package grouproto

import (
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// A holder that may not add anybody any more does not even show who asks.
func TestHolderThatMayNotAddShowsNoRequests(t *testing.T) {
	for _, how := range []string{"approve", "open"} {
		s := newSim(t, 310)
		s.group(2, oplog.Symmetric(), rule(how))
		founder, holder := s.nodes[0], s.nodes[1]
		link := holder.holds()
		s.run(time.Minute)
		p := oplog.Symmetric()
		p.Levels[oplog.PermAdd] = oplog.Owner
		founder.must(SetPolicy{p})
		s.run(time.Minute)
		ops := holder.g.log.Len()
		c := s.stranger("guest", link, encodeFrame(&reqFrame{Group: holder.g.id, Card: make([]byte, 20)}))
		s.run(time.Minute)
		holder.unmoved(ops)
		if len(eventsOf[JoinRequested](holder)) != 0 || c.peer != nil {
			t.Errorf("%s: the request was shown or answered", how)
		}
	}
}

// Somebody who knocks without end is let in as often as an hour allows.
func TestKnocksOfAnHour(t *testing.T) {
	s := newSim(t, 311)
	s.group(3, oplog.Symmetric())
	holder, member := s.nodes[1], s.nodes[2]
	link := holder.holds()
	s.run(time.Minute)
	accepted := 0
	holder.hook = func(_ *node, e Effect) {
		if _, ok := e.(AcceptDoor); ok {
			accepted++
		}
	}
	self, _ := holder.g.st.Member(member.g.self)
	f := &knockFrame{Group: holder.g.id, Holder: holder.g.self, Member: member.g.self, Heads: heads(member), Op: holder.g.log.Op(self.Added)}
	f.sign(member.g.key)
	for i := range 2 * MaxRequestsHour {
		s.stranger(fmt.Sprint("knock", i), link, encodeFrame(f))
		s.run(time.Second)
	}
	if accepted < MaxRequestsHour || accepted > MaxRequestsHour+5 { // a few more come with the time
		t.Errorf("%d of %d knocks were let in", accepted, 2*MaxRequestsHour)
	}
}

// What an inviter says of itself before its log is here is compared with its add when the log comes.
func TestInviterWithAnotherCardThanItsAdd(t *testing.T) {
	s := newSim(t, 312)
	s.group(2, oplog.Symmetric())
	inviter := s.nodes[1] // whoever made the group has no add
	inviter.g.card = append(make([]byte, cardSalt), "card of m0"...)
	joiner := s.node("new")
	inviter.invite(joiner)
	s.until(5*time.Minute, func() bool { return joiner.g != nil && joiner.g.main.status == StatusMember })
	if got := warnings(joiner, WarnCard); len(got) == 0 || got[0] != inviter.g.self {
		t.Errorf("warned of %v", got)
	}
	for _, m := range joiner.g.Members(joiner.tx) {
		if m.Key == inviter.g.self && m.Card != nil {
			t.Errorf("shown: %q", m.Card)
		}
	}
}
