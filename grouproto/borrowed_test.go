package grouproto

import (
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// A contact that was invited is a member already, under a key that nobody knows to be its. It answers with the key, the card
// and an offer of another member, which it has passed on. It must not be taken for that member, whoever brought that in.
func TestAttackAnsweringAsSomebodyElse(t *testing.T) {
	s := newSim(t, 920)
	s.group(2, oplog.Symmetric())
	inviter, first := s.nodes[0], s.nodes[1]
	second := s.node("m2")
	first.invite(second)
	s.until(time.Hour, func() bool { return s.connected(s.nodes...) })
	contact := s.node("contact")
	for _, victim := range []*node{first, second} {
		var inv Invitation
		contact.answer = func(_ *node, i Invitation) { inv = i }
		inviter.invite(contact)
		s.run(time.Hour)
		o := offerFrom(victim, inviter.g.self, 1<<31, "link to nobody")
		inviter.events = nil
		inviter.step(ContactFrame{contact.name, encodeFrame(&accFrame{
			Group: inviter.g.id, Token: inv.Token, Member: victim.g.self, Card: victim.g.card, Offer: o,
		})})
		if a := eventsOf[InvitationAnswered](inviter); len(a) != 1 || a[0].Answer != NotAdded || a[0].Member != (Key{}) {
			t.Errorf("with the key of %s: %+v", victim.name, a)
		}
	}
	s.nodes = s.nodes[:3]
	s.stillWell(s.nodes...)
}
