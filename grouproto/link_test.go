package grouproto

import (
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

func rule(value string) oplog.Setting { return oplog.Setting{Name: settingJoin, Value: []byte(value)} }

// closed checks that nothing is left of doors at these nodes, and of requests.
func (s *sim) closed(nodes ...*node) {
	s.t.Helper()
	s.run(10 * time.Minute)
	for _, n := range nodes {
		want := 0
		if n.g.link.address != "" {
			want = 1
		}
		if got := s.doorsOf(n); got != want || len(n.g.doors) != 0 || len(n.g.requests) != 0 {
			s.t.Errorf("%s has %d doors and addresses in the network, not %d, %d in mind, and %d requests", n.name, got, want, len(n.g.doors), len(n.g.requests))
		}
	}
}

func TestJoinByLinkOpen(t *testing.T) {
	s := newSim(t, 1)
	s.group(4, oplog.Symmetric(), rule("open"))
	holder := s.nodes[1]
	link := holder.holds()
	s.run(time.Minute)
	for _, n := range s.nodes {
		if string(n.g.publishedBy(holder.g.self)) != string(link) {
			t.Errorf("%s does not see the address", n.name)
		}
	}
	guest := s.node("guest")
	guest.ask(holder.g.id, link, "")
	if st := guest.g.Info().Status; st != StatusAsking || st.String() != "asking" {
		t.Error("the guest is", st)
	}
	s.until(10*time.Minute, func() bool { return s.connected(s.nodes...) })
	s.closed(s.nodes...)
	s.stillWell(s.nodes...)
	if len(eventsOf[Asking](guest)) != 1 || len(eventsOf[Joined](guest)) != 1 || len(eventsOf[AskEnded](guest)) != 0 {
		t.Error("the guest was told", guest.events)
	}
}

// TestCostOfJoiningByLink counts: a request and the two confirmations of the door come on top of what an invitation costs.
func TestCostOfJoiningByLink(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 30} {
		s := newSim(t, uint64(n))
		s.maxDelay = 200 * time.Millisecond
		s.group(n, oplog.Symmetric(), rule("open"))
		holder := s.nodes[n/2]
		link := holder.holds()
		s.run(10 * time.Minute)
		bytes := 0
		for i := range holder.g.log.Len() {
			bytes += holder.g.log.At(i).Size()
		}
		before := s.counts()
		guest := s.node("guest")
		guest.ask(holder.g.id, link, "")
		s.until(10*time.Minute, func() bool { return s.connected(s.nodes...) })
		s.run(2 * time.Minute)
		c := s.counts().Minus(before)
		bound := 3*n + (n+6)/8 + (bytes+33*(n-1)+13_499)/13_500 + 12 + 3
		if c.Doors != 3 || c.Invitations != 2 || c.Total() > bound {
			t.Errorf("n = %d: %+v, %d in all, more than %d", n, c, c.Total(), bound)
		}
		t.Logf("n = %d: %d, bound %d", n, c.Total(), bound)
	}
}

func TestJoinByLinkApprove(t *testing.T) {
	for _, approved := range []bool{true, false} {
		s := newSim(t, 2)
		s.group(3, oplog.Symmetric())
		holder := s.nodes[2]
		link := holder.holds()
		guest := s.node("guest")
		guest.ask(holder.g.id, link, "")
		s.run(time.Minute)
		holder.load()
		asked := eventsOf[JoinRequested](holder)
		waiting := holder.g.Requests()
		if len(asked) != 1 || len(waiting) != 1 || waiting[0].Request != asked[0].Request ||
			string(asked[0].Text) != "let me in" || string(asked[0].Card) != "card of guest" || string(waiting[0].Card) != "card of guest" {
			t.Fatalf("told %+v, waiting %+v", asked, waiting)
		}
		if holder.refused(Admit{Request: "nobody", Role: oplog.Plain}) != ErrUnknown || holder.refused(RefuseRequest{"nobody"}) != ErrUnknown {
			t.Error("an unknown request was answered")
		}
		if approved {
			done := holder.must(Admit{Request: asked[0].Request, Role: oplog.Observer, Info: []byte("welcome")})
			s.until(10*time.Minute, func() bool { return s.connected(s.nodes...) })
			if m, _ := holder.g.st.Member(guest.g.self); m.Role != oplog.Observer {
				t.Error("the guest is", m.Role)
			}
			answers := eventsOf[InvitationAnswered](holder)
			if last := answers[len(answers)-1]; last.Token != done.Token || last.Answer != Accepted || last.Member != guest.g.self {
				t.Errorf("told %+v", last)
			}
		} else {
			holder.must(RefuseRequest{asked[0].Request})
			s.run(time.Minute)
			ends := eventsOf[AskEnded](guest)
			if len(ends) != 1 || ends[0].Reason != ReasonRefused || guest.g.Info().Status != StatusGone {
				t.Errorf("the guest was told %+v and is %v", ends, guest.g.Info().Status)
			}
		}
		s.closed(s.nodes...)
		s.stillWell(s.nodes[:3]...)
	}
}

func TestJoinByLinkPassword(t *testing.T) {
	s := newSim(t, 3)
	s.group(2, oplog.Symmetric(), rule("password open sesame"), oplog.Setting{Name: settingJoinRole, Value: []byte("observer")})
	link := s.nodes[0].holds()
	for i, wrong := range []string{"", "open", "open sesame ", "Open sesame"} {
		n := s.node(fmt.Sprint("wrong", i))
		n.ask(s.nodes[0].g.id, link, wrong)
		s.run(5 * time.Minute)
		if n.g.Info().Status != StatusGone || s.nodes[0].g.st.Len() != 2 {
			t.Errorf("with %q the guest is %v", wrong, n.g.Info().Status)
		}
		s.closed(n)
	}
	guest := s.node("guest")
	guest.ask(s.nodes[0].g.id, link, "open sesame")
	in := []*node{s.nodes[0], s.nodes[1], guest}
	s.until(10*time.Minute, func() bool { return s.connected(in...) })
	if m, _ := in[0].g.st.Member(guest.g.self); m.Role != oplog.Observer {
		t.Error("the guest is", m.Role)
	}
	s.closed(in...)
}

// Off, or no permission: not a word, and asking ends by itself.
func TestJoinByLinkOff(t *testing.T) {
	for _, off := range []func(n *node){
		func(n *node) { n.must(Set{Name: settingJoin, Value: []byte("off")}) },
		func(n *node) { n.must(SetRole{Member: n.g.self, Role: oplog.Observer}) },
		func(n *node) { n.must(Leave{}) },
	} {
		s := newSim(t, 4)
		s.group(3, oplog.Symmetric(), rule("open"))
		link := s.nodes[1].holds()
		off(s.nodes[1])
		guest := s.node("guest")
		guest.ask(s.nodes[0].g.id, link, "")
		s.run(DoorExpiry + time.Minute)
		if guest.g.Info().Status != StatusGone || len(eventsOf[AskEnded](guest)) != 1 {
			t.Errorf("the guest is %v", guest.g.Info().Status)
		}
		if len(eventsOf[JoinRequested](s.nodes[1])) != 0 || s.nodes[0].g.log.Len() > 6 {
			t.Error("something came of it")
		}
		s.closed(s.nodes...)
	}
}

// Two holders are asked; both invite. It ends in one membership, and the second is told no.
func TestJoinByTwoLinks(t *testing.T) {
	for seed := range uint64(20) {
		s := newSim(t, seed)
		s.group(3, oplog.Symmetric(), rule("open"))
		one, two := s.nodes[0].holds(), s.nodes[1].holds()
		s.run(time.Minute)
		guest := s.node("guest")
		guest.ask(s.nodes[0].g.id, one, "")
		guest.ask(s.nodes[0].g.id, two, "")
		guest.ask(s.nodes[0].g.id, one, "") // changes nothing
		s.until(10*time.Minute, func() bool { return s.connected(s.nodes...) })
		if n := s.nodes[0].g.st.Len(); n != 4 {
			t.Errorf("seed %d: %d members", seed, n)
		}
		s.closed(s.nodes...)
		refused := 0
		for _, n := range s.nodes[:2] {
			for _, a := range eventsOf[InvitationAnswered](n) {
				if a.Answer == Refused {
					refused++
				}
			}
		}
		if refused != 1 {
			t.Errorf("seed %d: %d invitations were refused", seed, refused)
		}
	}
}

func TestAddressIsWithdrawn(t *testing.T) {
	s := newSim(t, 5)
	s.group(3, oplog.Symmetric())
	holder := s.nodes[1]
	link := holder.holds()
	if again := holder.holds(); string(again) != string(link) {
		t.Error("another address")
	}
	guest := s.node("guest")
	guest.ask(holder.g.id, link, "")
	s.run(time.Minute)
	holder.must(Unpublish{})
	s.run(time.Minute)
	if holder.refused(Unpublish{}) != ErrUnknown || len(holder.g.Requests()) != 0 || s.nodes[0].g.publishedBy(holder.g.self) != nil {
		t.Error("something is left of the address")
	}
	if err := guest.refused(Send{Body: []byte("x")}); err != ErrJoining {
		t.Error("sending while asking:", err)
	}
	guest.must(Leave{})
	if guest.g.Info().Status != StatusGone {
		t.Error("the guest is", guest.g.Info().Status)
	}
	late := s.node("late")
	late.ask(holder.g.id, link, "")
	s.run(time.Minute)
	if ends := eventsOf[AskEnded](late); len(ends) != 1 || ends[0].Reason != ReasonAuth {
		t.Errorf("told %+v", ends)
	}
	s.closed(s.nodes...)
	s.nodes[0].must(SetRole{Member: s.nodes[2].g.self, Role: oplog.Observer})
	s.run(time.Minute)
	if err := s.nodes[2].refused(Publish{}); err != ErrNotPermitted {
		t.Error("an observer's address:", err)
	}
}

// A relay loses the address: the setting goes with it, and the next GLINK makes another one.
func TestAddressIsLost(t *testing.T) {
	s := newSim(t, 6)
	s.group(2, oplog.Symmetric())
	holder := s.nodes[0]
	link := holder.holds()
	holder.step(DoorFailed{holder.g.Address(), ReasonAuth})
	s.run(time.Minute)
	if holder.g.Address() != "" || s.nodes[1].g.publishedBy(holder.g.self) != nil {
		t.Error("the lost address is still published")
	}
	if again := holder.holds(); string(again) == string(link) {
		t.Error("the same address")
	}
}
