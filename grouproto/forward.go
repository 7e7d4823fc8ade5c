package grouproto

import (
	"bytes"
	"slices"
	"time"

	"github.com/coterie-im/coterie/internal/kv"
	"github.com/coterie-im/coterie/internal/wire"
)

// offersPerMessage is how many offers one G_INV_MEM carries.
const offersPerMessage = 8

// candidates returns the members over which an offer or a G_NEED can be routed, or who can be asked for something: the
// connected ones, ascending by key. Those who were silent for so long that nothing is kept for them are only among them
// if all were, as they are for somebody who was away.
func (g *Group) candidates() []*peer {
	var active, all []*peer
	for _, q := range g.order {
		if q.ended() || q.ready() == nil {
			continue
		}
		all = append(all, q)
		if q.paused != ReasonInactive {
			active = append(active, q)
		}
	}
	if len(active) == 0 {
		return all
	}
	return active
}

// hasRoute tells whether an offer for p could be sent now.
func (g *Group) hasRoute(p *peer) bool {
	for _, q := range g.peers {
		if !q.ended() && q.ready() != nil {
			return true
		}
	}
	return g.contactRoute(p)
}

// contactRoute tells whether an offer for p can be sent over the contact connection that the invitation came by, or over
// a door.
func (g *Group) contactRoute(p *peer) bool {
	return p.key == g.main.inviter && g.main.contact != "" || g.doorTo(p) != nil
}

// contactOnly tells whether offers for p go over a contact connection and G_NEED cannot come back over anybody.
func (g *Group) contactOnly(p *peer) bool {
	return g.contactRoute(p) && g.doorTo(p) == nil &&
		!slices.ContainsFunc(g.candidates(), func(q *peer) bool { return q != p })
}

// route chooses over whom an offer goes: p itself while it is connected, the inviter if it said that it is connected to
// p, else any connected member but the one that was tried last. Nil: nobody.
func (s *step) route(p *peer) *peer {
	if p.ready() != nil && p.lastRoute == (Key{}) {
		return p
	}
	if q := s.peers[s.main.inviter]; q != nil && q != p && !q.ended() && q.ready() != nil && !s.main.joinDone &&
		p.level == levelConnected && p.lastRoute == (Key{}) {
		return q
	}
	return s.otherThan(s.candidates(), p.lastRoute)
}

// otherThan chooses at random, last only if there is nobody else.
func (s *step) otherThan(cands []*peer, last Key) *peer {
	if len(cands) > 1 {
		cands = slices.DeleteFunc(cands, func(q *peer) bool { return q.key == last })
	}
	if len(cands) == 0 {
		return nil
	}
	return cands[s.below(len(cands))]
}

// randomReady returns a random connected member that is not in not and answers; nil if there is none.
func (s *step) randomReady(not map[Key]bool) *peer {
	cands := slices.DeleteFunc(s.candidates(), func(q *peer) bool { return not[q.key] || q.asleep(s.env.Now) })
	return s.otherThan(cands, Key{})
}

// sendOffers sends the offers that are ready, as many as fit in one message for each member they go over. While links
// are still being made it waits a little for them.
func (s *step) sendOffers() {
	if !s.alive() {
		return
	}
	var ready []*peer
	making, oldest := false, s.env.Now
	for _, p := range s.present() {
		c := p.offering()
		switch {
		case c == nil:
		case c.state == connMaking:
			making = true
		case c.state == connOffered && !c.routed:
			ready = append(ready, p)
			if c.madeAt.Before(oldest) {
				oldest = c.madeAt
			}
		}
	}
	if making && len(ready) < offersPerMessage && s.env.Now.Before(oldest.Add(rideTime)) {
		return
	}
	via := map[*peer][]offer{}
	for _, p := range ready {
		q := s.route(p)
		switch {
		case s.doorTo(p) != nil:
			s.offerAtDoor(s.doorTo(p), p)
		case q == p && p.lastRoute == p.key && s.contactRoute(p):
			// What it was offered over the connection that seems to work had no answer: it may not have our hello.
			s.sendAcc(p)
			p.lastRoute = Key{}
		case q != nil && s.routeBusy(making, via[q]):
			continue // waits for the links that are being made, so that messages are full
		case q != nil:
			via[q] = append(via[q], s.offerOf(p, p.offering()))
			p.lastRoute = q.key
		case s.contactRoute(p):
			s.sendAcc(p)
		default:
			s.noRoute(p)
			continue
		}
		s.touch(p)
		p.offering().routed = true
		s.backOff(p)
	}
	for _, q := range s.everybody() {
		s.postOffers(q, via[q])
	}
}

// routeBusy tells whether the next offer of a route would begin a message that links still to come could fill.
func (s *step) routeBusy(making bool, offers []offer) bool {
	return making && len(offers) > 0 && len(offers)%offersPerMessage == 0
}

func (s *step) postOffers(q *peer, offers []offer) {
	for len(offers) > 0 {
		n, size := 0, 0
		for n < len(offers) && n < offersPerMessage && (n == 0 || size+offers[n].size() <= MaxFrames-64) {
			size += offers[n].size()
			n++
		}
		s.post(q, &invMemFrame{Offers: offers[:n]}, forOffers, s.env.Now)
		offers = offers[n:]
	}
}

// toForward takes offers that a member wants passed on (G_INV_MEM); one for oneself is taken at once.
func (s *step) toForward(from *peer, f *invMemFrame) {
	for _, o := range f.Offers {
		q := s.peers[o.Responder]
		switch {
		case o.Initiator != from.key || s.due(unix(o.Expiry)):
		case o.Responder == s.self:
			s.offered(&o, from)
		case q == nil || q.ended() || !s.mayRelay(from):
		case !o.verify(s.id):
			s.warn(WarnHello, from.key) // the responder would take us for the forger
		case q.ready() != nil && !q.full(forForwarded):
			s.forward(q, from, o)
		default:
			s.hold(&heldOffer{offer: o, via: from.key})
		}
	}
}

// forward passes an offer on (G_MEM_INV): with the card and the add of its initiator and, as far as fits, what the
// responder lacks of the past of that add.
func (s *step) forward(to, from *peer, o offer) {
	m, ok := s.st.Member(from.key)
	if !ok {
		return
	}
	add := s.log.Op(m.Added)
	f := &memInvFrame{Offer: o, Card: s.cardOf(from.key)}
	room := MaxFrames - 2 - 3 - o.size() - 2 - len(f.Card) - 2
	if m.Added != s.id {
		room -= add.Size()
	}
	for _, op := range s.log.Lacking([]OpID{m.Added}, to.knows) {
		if op.ID() == m.Added {
			continue
		}
		if room -= op.Size(); room < 0 {
			break
		}
		f.Ops = append(f.Ops, op)
	}
	if m.Added != s.id { // the genesis everybody has, and it may be too large to go with a card
		f.Ops = append(f.Ops, add)
	}
	s.post(to, f, forForwarded, s.env.Now)
	if room >= 0 {
		s.learn(to, m.Added)
	}
	if j := s.joiners[from.key]; j != nil {
		s.joinerForwarded(j, to.key)
	}
}

// forwarded takes an offer that somebody passed on to us (G_MEM_INV).
func (s *step) forwarded(via *peer, f *memInvFrame) {
	s.addOps(via, f.Ops)
	if f.Offer.Responder != s.self {
		return
	}
	if cardHash(f.Card) == s.cardHashOf(f.Offer.Initiator) {
		s.takeCard(f.Offer.Initiator, f.Card)
	}
	if p := s.peers[f.Offer.Initiator]; p == nil {
		// Its add waits for operations that we lack.
		if f.Offer.verify(s.id) {
			s.hold(&heldOffer{offer: f.Offer, card: f.Card, via: via.key})
		}
		return
	}
	s.offered(&f.Offer, via)
}

// offered takes an offer for us that somebody handed over: R0, or a higher attempt in any other state. It reports whether
// it was joined.
func (s *step) offered(o *offer, via *peer) bool {
	p := s.peers[o.Initiator]
	if p == nil || p.ended() || s.due(unix(o.Expiry)) || !s.alive() {
		return false
	}
	c := p.offering()
	stands := c != nil && s.self.Compare(p.key) < 0 && s.initiates(p) // both offered: the smaller key's offer stands
	if stands && (o.Attempt < c.attempt || c.state == connAllowed) || !stands && o.Attempt <= p.attempt {
		if !stands {
			s.knownOffer(p, o, via)
		}
		return false
	}
	if !o.verify(s.id) {
		s.warn(WarnHello, via.key) // whoever forwards has checked the signature
		return false
	}
	if stands {
		s.outbid(p, c, o.Attempt)
		return false
	}
	if s.attempts(p) >= 2*MaxAttempts {
		s.warnLimit(p, LimitAttempts)
		return false // it is repeated by its initiator
	}
	p.attemptsNum++
	for ; c != nil; c = p.offering() {
		s.dropConn(p, c)
	}
	s.touch(p)
	p.attempt = o.Attempt
	if p.ready() != nil {
		p.replacedAt = s.env.Now
	}
	c = &pairConn{name: s.newName(), side: sideJoiner, state: connJoined, attempt: o.Attempt, link: o.Link}
	s.addConn(p, c)
	s.counts.Confirmations++
	s.do(s.joinEffect(p, c))
	p.retryAt, p.retryWait = s.env.Now.Add(t1), t1
	return true
}

// knownOffer is an offer that was joined before and is made again although the pair works: its initiator has gone back to
// an old store, or never knew. It is asked for another one, the way that this one came.
func (s *step) knownOffer(p *peer, o *offer, via *peer) {
	c := p.ready()
	if c == nil || s.initiates(p) || s.env.Now.Before(c.readyAt.Add(needWait)) || s.env.Now.Before(p.askedBack.Add(t1)) || !o.verify(s.id) {
		return
	}
	f := &needFrame{Initiator: p.key, Responder: s.self}
	switch d := s.doorTo(p); {
	case d != nil:
		s.sendDoor(d, f)
	case via != p && via.ready() != nil:
		s.post(via, f, forSync, s.env.Now)
	default:
		return
	}
	p.askedBack = s.env.Now
}

// outbid makes the own offer again, with an attempt above that of the other end's offer: it takes no lower one, and with
// this one withdraws its own.
func (s *step) outbid(p *peer, c *pairConn, attempt uint32) {
	s.touch(p)
	s.dropConn(p, c)
	p.attempt = max(p.attempt, attempt)
	p.retryAt, p.replacedAt = time.Time{}, time.Time{}
}

// need asks a connected member for an offer of p (G_NEED); p itself while there is a connection with it. One that was
// joined counts, every other time: the peer may have our hello, and its own was lost.
func (s *step) need(p *peer) {
	f := &needFrame{Initiator: p.key, Responder: s.self}
	if d := s.doorTo(p); d != nil {
		s.sendDoor(d, f)
		return
	}
	via := p
	if p.sendable() == nil || p.lastRoute == p.key || p.ready() != nil && p.lastRoute != (Key{}) {
		if q := s.otherThan(s.candidates(), p.lastRoute); q != nil {
			via = q
		} else if p.sendable() == nil {
			s.noRoute(p)
			return
		}
	}
	p.lastRoute = via.key
	s.post(via, f, forSync, s.env.Now)
}

// needed takes a G_NEED: passes it on, or makes or repeats an offer.
func (s *step) needed(from *peer, f *needFrame) {
	if f.Initiator != s.self {
		q := s.peers[f.Initiator]
		if f.Hops == 0 && f.Responder == from.key && q != nil && !q.ended() && q.ready() != nil && s.mayRelay(from) {
			s.post(q, &needFrame{f.Initiator, f.Responder, 1}, forSync, s.env.Now)
		}
		return
	}
	p := s.peers[f.Responder]
	if p == nil || p.ended() || f.Hops == 0 && f.Responder != from.key || !s.initiates(p) {
		return
	}
	s.touch(p)
	switch c := p.offering(); {
	case c != nil && c.state == connOffered && s.stale(p, c):
		s.renew(p, c)
	case c != nil && c.state == connOffered:
		if c.routed && !s.env.Now.Before(p.retryAt.Add(-p.retryWait).Add(rideTime)) { // not just sent
			c.routed = false
			if from != p || p.lastRoute != p.key { // it has not read what went to it
				p.lastRoute = Key{}
			}
			if from != p {
				s.postOffers(from, []offer{s.offerOf(p, c)})
				c.routed = true
				s.backOff(p)
			}
		}
	case c != nil:
	case !p.healthy():
		p.retryAt, p.replace = s.env.Now, p.mending() != nil
	case s.env.Now.Before(p.ready().readyAt.Add(needWait)):
		// It was sent while our hello was on its way.
	case !s.env.Now.Before(p.replacedAt.Add(replaceEvery)):
		p.replace = true
		p.retryAt = s.env.Now
	}
}

// heldOffer is an offer that waits: to be passed on to a responder that is not connected, or, if it is for us, for the
// add of its initiator.
type heldOffer struct {
	offer offer
	card  []byte
	via   Key // who handed it over
}

func (h *heldOffer) recordKey() []byte {
	return record('h', h.offer.Initiator[:], h.offer.Responder[:])
}

// hold keeps an offer; a newer one of the same pair replaces it. Beyond MaxHeldOffers that one member handed over it is
// dropped: the initiator repeats it.
func (s *step) hold(h *heldOffer) {
	s.takeHeld(func(o *offer) bool { return s.due(unix(o.Expiry)) })
	n := 0
	for i, x := range s.held {
		if x.offer.Initiator == h.offer.Initiator && x.offer.Responder == h.offer.Responder {
			s.held[i] = h
			s.putHeld(h)
			return
		}
		if x.via == h.via {
			n++
		}
	}
	if n >= MaxHeldOffers || len(s.held) >= 16*MaxHeldOffers {
		s.warnLimit(s.authorOnly(h.via, h.offer.Initiator), LimitOffers)
		return
	}
	s.held = append(s.held, h)
	s.putHeld(h)
}

func (s *step) putHeld(h *heldOffer) {
	b := h.offer.append(append([]byte{recordVersion}, h.via[:]...))
	s.env.Tx.Put(h.recordKey(), wire.AppendStr16(b, h.card))
}

func (g *Group) loadHeldOffer(_, v []byte) error {
	r := wire.NewReader(v)
	if r.U8() != recordVersion {
		return ErrRecords
	}
	h := &heldOffer{via: readKey(r), offer: readOffer(r), card: bytes.Clone(r.Str16())}
	if r.Done() != nil {
		return ErrRecords
	}
	g.held = append(g.held, h)
	return nil
}

// takeHeld removes and returns the held offers that match.
func (s *step) takeHeld(match func(*offer) bool) (out []*heldOffer) {
	s.held = slices.DeleteFunc(s.held, func(h *heldOffer) bool {
		if !match(&h.offer) {
			return false
		}
		s.env.Tx.Delete(h.recordKey())
		out = append(out, h)
		return true
	})
	return out
}

// forwardHeld passes on what waited for p to be connected.
func (s *step) forwardHeld(p *peer) {
	for _, h := range s.takeHeld(func(o *offer) bool { return o.Responder == p.key }) {
		from := s.peers[h.offer.Initiator]
		if from != nil && !from.ended() && !s.due(unix(h.offer.Expiry)) {
			s.forward(p, from, h.offer)
		}
	}
}

// retryHeld looks at offers for us whose initiators are known now.
func (s *step) retryHeld() {
	for _, h := range s.takeHeld(func(o *offer) bool { return o.Responder == s.self && s.peers[o.Initiator] != nil }) {
		if cardHash(h.card) == s.cardHashOf(h.offer.Initiator) {
			s.takeCard(h.offer.Initiator, h.card)
		}
		s.offered(&h.offer, s.peers[h.offer.Initiator]) // it was checked when it came
	}
}

func (s *step) dropHeldOf(k Key) {
	s.takeHeld(func(o *offer) bool { return o.Initiator == k || o.Responder == k })
}

// Cards are kept in a record of their own, because peers are written often.

func (g *Group) cardRecord(tx kv.Tx, k Key) []byte {
	b, _ := tx.Get(record('k', k[:]))
	return b
}

func (s *step) cardOf(k Key) []byte { return s.cardRecord(s.env.Tx, k) }

// cardHashOf returns the hash in a member's add; zero for who made the group and for those who are not present.
func (g *Group) cardHashOf(k Key) [32]byte {
	if g.st == nil {
		return [32]byte{}
	}
	m, _ := g.st.Member(k)
	return m.CardHash
}

// takeCard keeps the card that a member sent with its hello, or that came with its add. While joining there is no add to
// check it against yet: tryJoin does.
func (s *step) takeCard(k Key, card []byte) {
	if len(card) <= cardSalt || bytes.Equal(s.cardOf(k), card) {
		return
	}
	if want := s.cardHashOf(k); want != ([32]byte{}) && want != cardHash(card) {
		s.warn(WarnCard, k)
		return
	}
	s.env.Tx.Put(record('k', k[:]), card)
	s.notice(MemberCard{Member: k, Card: cardContent(card)})
}

// checkCards forgets the card that came before the log if it is not the one of the member's add.
func (s *step) checkCards() {
	for _, p := range s.present() {
		if want := s.cardHashOf(p.key); want != ([32]byte{}) && want != cardHash(s.cardOf(p.key)) && s.cardOf(p.key) != nil {
			s.env.Tx.Delete(record('k', p.key[:]))
			s.warn(WarnCard, p.key)
		}
	}
}
