package grouproto

import (
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// framesTo counts the frames of one kind that a node hands to connections with somebody from now on.
func framesTo(n, to *node, tag Tag) *[]frame {
	out := &[]frame{}
	n.hook = func(_ *node, e Effect) {
		if e, ok := e.(SendConn); ok && n.g.conns[e.Conn] == n.g.peers[to.g.self] {
			frames, _ := splitBody(e.Body)
			for _, f := range frames {
				if d, err := decodeFrame(f); err == nil && d.tag == tag {
					*out = append(*out, d.frame)
				}
			}
		}
	}
	return out
}

// joins counts the connections that a node joins from now on.
func joins(n *node) *int {
	count := new(int)
	n.hook = func(_ *node, e Effect) {
		if _, ok := e.(JoinConn); ok {
			*count++
		}
	}
	return count
}

// link makes a request of a node that can be joined.
func (s *sim) link(of *node, name string) string {
	s.conns[name] = &simConn{owner: of, name: name, link: []byte("link to " + name)}
	return "link to " + name
}

// An offer is passed on with all that the responder lacks to judge its initiator, and not to who is not present any more.
func TestOfferIsPassedOn(t *testing.T) {
	s := newSim(t, 330)
	s.group(4, oplog.Symmetric())
	forwarder, initiator, responder := s.nodes[0], s.nodes[3], s.nodes[1]
	passed := framesTo(forwarder, responder, TagMemInv)
	forwarder.g.peers[responder.g.self].knows = nil
	o := offerFrom(initiator, responder.g.self, 1<<31, s.link(initiator, "request"))
	strike(initiator, forwarder, &invMemFrame{Offers: []offer{o}})
	if len(*passed) != 1 || len((*passed)[0].(*memInvFrame).Ops) != 4 { // the genesis and three adds
		t.Fatalf("passed on: %v", *passed)
	}
	forwarder.must(Remove{Members: []Key{responder.g.self}})
	strike(initiator, forwarder, &invMemFrame{Offers: []offer{o}})
	if len(*passed) != 1 || len(forwarder.g.held) != 0 {
		t.Error("passed on, or kept, for who is not present")
	}
}

// An offer that waits for its responder is not passed on when it has expired meanwhile.
func TestOfferThatExpiredWhileItWaited(t *testing.T) {
	for _, away := range []time.Duration{30 * time.Minute, 2 * time.Hour} {
		s := newSim(t, 331)
		s.group(3, oplog.Symmetric())
		forwarder, initiator, responder := s.nodes[0], s.nodes[2], s.nodes[1]
		responder.stop()
		forwarder.step(Failed{forwarder.g.peers[responder.g.self].ready().name, ReasonAuth})
		forwarder.step(SendFailed{forwarder.g.peers[responder.g.self].ready().name, 0, ReasonAuth})
		strike(initiator, forwarder, &invMemFrame{Offers: []offer{offerFrom(initiator, responder.g.self, 1<<31, s.link(initiator, "request"))}})
		if len(forwarder.g.held) != 1 {
			t.Fatal("not kept")
		}
		s.run(away)
		passed := framesTo(forwarder, responder, TagMemInv)
		responder.start()
		s.until(3*time.Hour, func() bool { return forwarder.g.peers[responder.g.self].ready() != nil })
		found := false
		for _, f := range *passed {
			found = found || string(f.(*memInvFrame).Offer.Link) == "link to request"
		}
		if want := away < time.Hour; found != want {
			t.Errorf("away for %v: passed on %v", away, found)
		}
	}
}

// An offer may come before the add of its initiator: it is joined as soon as that is here.
func TestOfferBeforeTheAddOfItsInitiator(t *testing.T) {
	s := newSim(t, 332)
	s.group(2, oplog.Symmetric())
	inviter, joiner := s.nodes[0], s.nodes[1]
	key, private := s.outsider()
	s.conns["early"] = &simConn{owner: inviter, name: "early", link: []byte("link to early")}
	o := offer{Initiator: key, Responder: joiner.g.self, Attempt: 1 << 31, Expiry: s.now.Add(time.Hour).Unix(), Link: []byte("link to early")}
	o.sign(private, joiner.g.id)
	joined := joins(joiner)
	strike(inviter, joiner, &memInvFrame{Offer: o})
	if *joined != 0 || len(joiner.g.held) != 1 {
		t.Fatal("joined, or not kept")
	}
	strike(inviter, joiner, &opsFrame{Ops: []*oplog.Op{
		signedOp(t, inviter.g, 2, heads(inviter), &oplog.Add{Member: key, Role: oplog.Plain, CardHash: cardHash(nil)}),
	}})
	if *joined != 1 || len(joiner.g.held) != 0 {
		t.Error("not joined, or still kept")
	}
}

// Who has offered and takes the offer of the other end, whose key is smaller, withdraws its own.
func TestOwnOfferIsWithdrawn(t *testing.T) {
	for seed := uint64(333); ; seed++ {
		s, n, p := offered(t, seed)
		other := s.nodes[1]
		if n.g.self.Compare(p.key) < 0 {
			continue
		}
		own := p.offering()
		joined := joins(n)
		strike(s.nodes[0], n, &memInvFrame{Offer: offerFrom(other, n.g.self, 1<<31, s.link(other, "request"))})
		if *joined != 1 || p.offering() != nil || p.conn(own.name) != nil {
			t.Error("not joined, or the own offer still stands")
		}
		return
	}
}

// G_NEED is passed on once and for its sender only; who does not offer, or is asked for somebody else, does nothing.
func TestQuestionForAnOffer(t *testing.T) {
	s := newSim(t, 340)
	s.group(4, oplog.Symmetric())
	forwarder, asker, third, initiator := s.nodes[0], s.nodes[1], s.nodes[2], s.nodes[3]
	passed := framesTo(forwarder, initiator, TagNeed)
	for _, c := range []struct {
		frame needFrame
		want  int
	}{
		{needFrame{initiator.g.self, asker.g.self, 0}, 1},
		{needFrame{initiator.g.self, asker.g.self, 1}, 1}, // it has been passed on
		{needFrame{initiator.g.self, third.g.self, 0}, 1}, // for somebody else
	} {
		strike(asker, forwarder, &c.frame)
		if len(*passed) != c.want {
			t.Errorf("%d passed on behind hop %d", len(*passed), c.frame.Hops)
		}
	}

	s.run(2 * time.Hour)
	made := 0
	for _, n := range []*node{initiator, forwarder} {
		n.hook = func(_ *node, e Effect) {
			if _, ok := e.(NewConn); ok {
				made++
			}
		}
	}
	strike(third, initiator, &needFrame{initiator.g.self, asker.g.self, 0}) // the third speaks for the asker
	strike(initiator, forwarder, &needFrame{forwarder.g.self, initiator.g.self, 0})
	if made != 0 || forwarder.g.peers[initiator.g.self].replace {
		t.Errorf("%d offers for a question of somebody else, or to who does not offer", made)
	}
	strike(asker, initiator, &needFrame{initiator.g.self, asker.g.self, 0})
	if made != 1 {
		t.Errorf("%d offers for the question itself", made)
	}
}

// Whose add has no effect any more has never been a member: what it writes is not taken, as it is from who has left.
func TestMessageOfWhoNeverWasAMember(t *testing.T) {
	s := newSim(t, 341)
	s.group(3, oplog.Symmetric())
	founder, junior, reader := s.nodes[0], s.nodes[1], s.nodes[2]
	before, guest := heads(founder), s.node("guest")
	junior.invite(guest)
	s.until(10*time.Minute, func() bool { return s.connected(s.nodes...) })
	strike(founder, reader, &opsFrame{Ops: []*oplog.Op{
		signedOp(t, founder.g, 3, before, &oplog.Remove{Members: []oplog.Removal{{Member: junior.g.self}}}),
	}})
	if p := reader.g.peers[guest.g.self]; !p.ended() {
		t.Fatal("the guest's add still has an effect")
	}
	for _, from := range []*node{guest, junior} {
		strike(from, reader, &msgFrame{&message{Heads: heads(from), Body: []byte("from " + from.name)}})
	}
	if got := eventsOf[MessageReceived](reader); len(got) != 0 {
		t.Errorf("taken: %d", len(got))
	}
}

// flooded lets b have frames of a that wait.
func flooded(t *testing.T, seed uint64) (s *sim, a, b *node) {
	s = newSim(t, seed)
	s.group(3, oplog.Symmetric())
	a, b = s.nodes[1], s.nodes[2]
	for i := range peerBurst + 20 {
		strike(a, b, &msgFrame{&message{Number: uint64(i), Heads: heads(a), Body: fmt.Append(nil, i)}})
	}
	if p := b.g.peers[a.g.self]; p.delayed == 0 {
		t.Fatal("nothing waits")
	}
	return s, a, b
}

// Frames that wait keep their place before those that come later.
func TestDelayedFramesAreNotOvertaken(t *testing.T) {
	s, a, b := flooded(t, 342)
	s.now = s.now.Add(3 * time.Second) // before anything that was planned
	strike(a, b, &msgFrame{&message{Number: peerBurst + 20, Heads: heads(a), Body: []byte("last")}})
	s.run(5 * time.Minute)
	got := eventsOf[MessageReceived](b)
	if len(got) != peerBurst+21 {
		t.Fatalf("%d messages", len(got))
	}
	for i, m := range got {
		if m.Message.ID.Number != uint64(i) {
			t.Fatalf("message %d came in place %d", m.Message.ID.Number, i)
		}
	}
}

// Frames that wait are judged by what is known when their turn comes: after the own removal nothing is taken.
func TestDelayedFramesAfterTheOwnRemoval(t *testing.T) {
	s, _, b := flooded(t, 343)
	before := len(eventsOf[MessageReceived](b))
	s.nodes[0].must(Remove{Members: []Key{b.g.self}})
	strike(s.nodes[0], b, &opsFrame{Ops: s.nodes[0].g.log.After(nil)})
	if b.g.main.status != StatusRemoved {
		t.Fatal("not removed")
	}
	s.run(5 * time.Minute)
	if n := len(eventsOf[MessageReceived](b)); n > before {
		t.Errorf("%d messages taken behind the removal", n-before)
	}
}
