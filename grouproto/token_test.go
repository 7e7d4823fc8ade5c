package grouproto

import (
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// pendingInvitation lets a invite b, who does not answer, and returns what a stranger needs to answer in its place: the
// token, and a key of its own that makes an offer.
func pendingInvitation(s *sim, a, b *node) *accFrame {
	var kept Invitation
	b.answer = func(_ *node, i Invitation) { kept = i }
	a.invite(b)
	s.run(time.Minute)
	key, private := s.outsider()
	s.conns["stranger"] = &simConn{owner: b, name: "stranger", link: []byte("link to stranger")}
	o := offer{
		Initiator: key, Responder: a.g.self, Attempt: uint32(s.now.Unix()), Expiry: s.now.Add(time.Hour).Unix(),
		Link: []byte("link to stranger"),
	}
	o.sign(private, a.g.id)
	return &accFrame{Group: a.g.id, Token: kept.Token, Member: key, Card: make([]byte, cardSalt+1), Offer: o}
}

// A token is good for the contact that it was sent to, and with an offer that the new member's key has signed for the
// inviter.
func TestTokenIsGoodForOneContactAndOneOffer(t *testing.T) {
	s := newSim(t, 90)
	a := s.create("a", oplog.Symmetric())
	b, c := s.node("b"), s.node("c")
	good := pendingInvitation(s, a, b)
	forged, other, elsewhere := *good, *good, *good
	forged.Offer.Signature[0] ^= 1
	other.Member, _ = s.outsider()
	elsewhere.Group[0] ^= 1
	for what, in := range map[string]ContactFrame{
		"a leaked token":             {c.name, encodeFrame(good)},
		"an offer with no signature": {b.name, encodeFrame(&forged)},
		"an offer of another key":    {b.name, encodeFrame(&other)},
		"another group":              {b.name, encodeFrame(&elsewhere)},
		"a refusal by somebody else": {c.name, encodeFrame(&rejFrame{Group: a.g.id, Token: good.Token})},
	} {
		a.step(in)
		if a.g.log.Len() != 1 || len(eventsOf[InvitationAnswered](a)) != 0 {
			t.Fatalf("%s was taken for an answer", what)
		}
	}
	a.step(ContactFrame{b.name, encodeFrame(good)})
	if _, ok := a.g.st.Member(good.Member); !ok {
		t.Error("the answer itself was not taken")
	}
}

// An invitation that has expired is not accepted, not even in the moment before its end is told.
func TestInvitationIsNotAcceptedAfterItsExpiry(t *testing.T) {
	s := newSim(t, 91)
	a := s.create("a", oplog.Symmetric())
	b := s.node("b")
	good := pendingInvitation(s, a, b)
	a.stop() // its clock goes on
	s.run(InvitationExpiry)
	a.stopped = false
	a.step(ContactFrame{b.name, encodeFrame(good)})
	if told := eventsOf[InvitationAnswered](a); a.g.log.Len() != 1 || len(told) != 1 || told[0].Answer != Expired {
		t.Errorf("%d operations, told %v", a.g.log.Len(), told)
	}
}
