package grouproto

import (
	"slices"
	"time"
)

// The pair connection of docs/groups.md, "The pair connection". I0 and R0 are pairs without a connection (or with a
// broken one); what is made beside a working connection goes through the same states.
//
//	initiator  I0 ─ NewConn ─→ making ─ LinkReady ─→ I1 offered ─ Conf, hello good ─→ I2 allowed ─ Connected ─→ I3 ready
//	responder  R0 ─ offer ─→ R1, R2 joined ─ Info, hello good ─→ R3 ready
//
// A failure leads back to I0 or R0, with a wait.

// initiates tells whether this member makes the offers of a pair: the one whose add has the other's in its past, else
// the smaller key.
func (g *Group) initiates(p *peer) bool {
	if g.main.status == StatusJoining {
		return p.key == g.main.inviter
	}
	own, ok1 := g.st.Member(g.self)
	other, ok2 := g.st.Member(p.key)
	if !ok1 || !ok2 {
		return false
	}
	switch {
	case g.log.InPast(other.Added, own.Added):
		return true
	case g.log.InPast(own.Added, other.Added):
		return false
	default:
		return g.self.Compare(p.key) < 0
	}
}

// wanted returns the pairs for which an offer should be made now, and how many are open.
func (s *step) wanted() (want []*peer, open int) {
	if !s.alive() {
		return nil, 0
	}
	for _, p := range s.present() {
		if (p.healthy() || p.mendable()) && !p.replace && p.offering() == nil || !s.initiates(p) {
			continue
		}
		if c := p.offering(); c != nil {
			// One that has waited for a whole T1 is probably offline and takes no place.
			if c.state != connOffered || p.retryWait <= t1 {
				open++
			}
			continue
		}
		if (p.healthy() || p.mendable()) && !p.replace {
			continue
		}
		if p.retryAt.After(s.env.Now) {
			continue
		}
		want = append(want, p)
	}
	return want, open
}

// schedule begins pairs, in batches that fill an agent message with offers.
func (s *step) schedule() {
	want, open := s.wanted()
	if open+offersPerMessage <= MaxOpenPairs {
		s.hits.pairs = false
	}
	want = slices.DeleteFunc(want, func(p *peer) bool { return !s.mayBegin(p) })
	for len(want) > 0 {
		n := min(offersPerMessage, len(want))
		if open+n > MaxOpenPairs {
			if !s.hits.pairs {
				s.hit(LimitPairs)
			}
			s.hits.pairs = true
			return
		}
		for _, p := range want[:n] {
			s.begin(p)
		}
		want, open = want[n:], open+n
	}
}

// mayBegin tells whether a pair may be begun now; if not it says why and when to look again.
func (s *step) mayBegin(p *peer) bool {
	if !s.hasRoute(p) {
		s.noRoute(p)
		return false
	}
	s.touch(p)
	if len(p.conns) > 0 && s.env.Now.Before(p.replacedAt.Add(replaceEvery)) {
		p.retryAt = p.replacedAt.Add(replaceEvery)
		return false
	}
	if s.attempts(p) >= MaxAttempts {
		s.hit(LimitAttempts)
		s.wait(p, ReasonLimit)
		p.retryAt = p.attemptsDay.Add(24 * time.Hour)
		return false
	}
	return true
}

// attempts returns how many connections with a member were begun, from either side, in a day that begins with the first
// of them. Joining stops at twice of what the other side may offer, because its day may be another one.
func (s *step) attempts(p *peer) uint16 {
	if s.env.Now.Sub(p.attemptsDay) >= 24*time.Hour {
		p.attemptsDay, p.attemptsNum = s.env.Now, 0
	}
	return p.attemptsNum
}

// begin makes a connection request with a new attempt: I0.
func (s *step) begin(p *peer) {
	s.touch(p)
	if len(p.conns) > 0 {
		p.replacedAt = s.env.Now
	}
	p.attemptsNum++
	p.attempt = max(p.attempt+1, uint32(s.env.Now.Unix()))
	p.retryAt, p.retryWait = time.Time{}, 0
	if p.reason != ReasonHello { // else somebody on the way may have answered the last request: this one goes another way
		p.lastRoute = Key{}
	}
	c := &pairConn{name: s.newName(), side: sideInitiator, state: connMaking, attempt: p.attempt}
	s.addConn(p, c)
	s.do(NewConn{Conn: c.name})
}

// addConn adds a connection to a pair; of too many the oldest that is not ready goes.
func (s *step) addConn(p *peer, c *pairConn) {
	if len(p.conns) >= mostConns {
		i := slices.IndexFunc(p.conns, func(c *pairConn) bool { return c.state != connReady })
		s.dropConn(p, p.conns[max(i, 0)])
	}
	p.conns = append(p.conns, c)
	s.conns[c.name] = p
}

// dropConn deletes a connection. Messages that it had not reported as sent go over the next one.
func (s *step) dropConn(p *peer, c *pairConn) {
	s.touch(p)
	s.do(DeleteConn{Conn: c.name})
	delete(s.conns, c.name)
	p.conns = slices.DeleteFunc(p.conns, func(x *pairConn) bool { return x == c })
	s.rewind(p, c.name)
	s.directAgain(p, c.name)
	if p.sendable() == nil {
		p.out = nil
	}
}

func (s *step) linkReady(p *peer, c *pairConn, link []byte) {
	if c.state != connMaking {
		return
	}
	c.state, c.link, c.expiry, c.madeAt = connOffered, slices.Clone(link), s.env.Now.Add(OfferExpiry), s.env.Now
	c.routed = false
	if p.reason == ReasonHost || p.reason == ReasonTemporary {
		p.reason = ReasonNone // there was a relay after all
	}
}

// offerOf returns the signed offer of an offered connection.
func (s *step) offerOf(p *peer, c *pairConn) offer {
	o := offer{Initiator: s.self, Responder: p.key, Attempt: c.attempt, Expiry: c.expiry.Unix(), Link: c.link}
	o.sign(s.key, s.id)
	return o
}

// newHello is the hello for one connection, before it is signed.
func (s *step) newHello(p *peer, c *pairConn) *hello {
	h := &hello{Group: s.id, From: s.self, To: p.key, Attempt: c.attempt, Range: ownVersions, Card: s.card}
	if s.log != nil {
		h.Heads = s.log.AllHeads()
	}
	h.Digest = s.digest()
	c.told = h.Heads
	return h
}

// confirmation is the joiner's confirmation at a connection that was offered: I1.
func (s *step) confirmation(p *peer, c *pairConn, in Conf) {
	if c.state != connOffered {
		return // repeated, or somebody else had the link: the first good one counts
	}
	if !s.helloGood(p, c, sideJoiner, in.Binding, in.Info) {
		s.badHello(p, c)
		return
	}
	c.state = connAllowed
	p.retryAt = time.Time{}
	s.counts.Confirmations++
	h := s.newHello(p, c)
	s.do(AllowConn{Conn: c.name, ConfID: in.ConfID, Info: h.sign(s.key, sideInitiator, in.Binding)})
}

// answered is the initiator's confirmation at a connection that was joined: R2.
func (s *step) answered(p *peer, c *pairConn, in Info) {
	if c.state != connJoined {
		return
	}
	if !s.helloGood(p, c, sideInitiator, in.Binding, in.Info) {
		s.badHello(p, c)
		return
	}
	s.ready(p, c)
}

// helloGood checks a hello and takes what it says.
func (s *step) helloGood(p *peer, c *pairConn, from side, binding Binding, info []byte) bool {
	h, err := decodeHello(info)
	if err != nil || h.Group != s.id || h.From != p.key || h.To != s.self || h.Attempt != c.attempt ||
		!h.Range.overlaps(ownVersions) || !h.verify(from, binding) {
		return false
	}
	p.lastHeard, p.alike = s.env.Now, false
	if len(h.Heads) > 0 {
		// It says exactly what it has, whatever we handed to connections before.
		p.knows = nil
		s.noteHeads(p, h.Heads)
		s.joinerHeard(p.key)
		p.alike = s.noteDigest(p, h.Digest)
	}
	s.takeCard(p.key, h.Card)
	return true
}

func (s *step) badHello(p *peer, c *pairConn) {
	s.dropConn(p, c)
	s.warn(WarnHello, p.key)
	s.wait(p, ReasonHello)
	s.backOff(p)
}

// backOff sets the next time at which something is tried for a pair.
func (s *step) backOff(p *peer) {
	p.retryWait = min(max(t1, 2*p.retryWait), t1Most)
	p.retryAt = s.env.Now.Add(p.retryWait)
}

// ready is I3 and R3: frames flow.
func (s *step) ready(p *peer, c *pairConn) {
	s.touch(p)
	c.state, c.readyAt = connReady, s.env.Now
	replaced := false
	for _, old := range slices.Clone(p.conns) {
		if old == c {
			break
		}
		if old.state != connReady || old.broken || old.rebound.fit != fits {
			s.dropConn(p, old)
			continue
		}
		// What is on its way over it is still taken for a while: the other end goes on using it until it hears of this.
		replaced = true
		s.rewind(p, old.name)
		if old.until.IsZero() {
			old.until = s.env.Now.Add(oldKept)
		}
	}
	p.retryAt, p.retryWait, p.lastRoute, p.replace = time.Time{}, 0, Key{}, false
	s.flows(p, c, replaced)
	s.helloAnswers(p)
}

// flows begins to send over a connection that is ready. again tells that the pair had another one, or another ratchet,
// with which something may have been lost.
func (s *step) flows(p *peer, c *pairConn, again bool) {
	p.reason = ReasonNone
	s.tellConnected(p)
	if p.ended() {
		s.tellGone(p)
		return
	}
	if s.log != nil && s.main.status == StatusMember {
		if !slices.Equal(c.told, s.log.AllHeads()) {
			s.postOps(p, s.lackedBy(p), 0, forOperations)
		}
		if again {
			s.postOwnFront(p)
		}
		s.askAuthor(p)
		s.askAgain(p)
	}
	s.resume(p)
	s.newRoute()
	s.forwardHeld(p)
	if j := s.joiners[p.key]; j != nil {
		s.joinerDone(j)
		s.joinerProgress(j)
	}
}

// tellConnected tells the client, once.
func (s *step) tellConnected(p *peer) {
	if !p.connected && !p.ended() && s.main.status == StatusMember {
		p.connected = true
		s.notice(PairConnected{p.key})
	}
}

// newRoute lets pairs try again that had no route. Offers that have not been sent are looked at in every step.
func (s *step) newRoute() {
	for _, p := range s.present() {
		if p.reason == ReasonNoRoute || p.reason == ReasonInviter {
			s.touch(p)
			p.reason = ReasonNone
			if !s.initiates(p) {
				p.retryAt = s.env.Now
			}
		}
	}
}

// noRoute notes that nobody can pass an offer or a G_NEED on. The client is not told: it sees the reason in a list, and
// while a member joins all of its pairs are in this state.
func (s *step) noRoute(p *peer) {
	why := ReasonNoRoute
	if q := s.peers[s.main.inviter]; q != nil && q != p && !q.ended() && !s.main.joinDone {
		why = ReasonInviter
	}
	if p.reason != why {
		s.touch(p)
		p.reason = why
	}
}

// failed is a connection that will never work, or that stopped working for good.
func (s *step) failed(p *peer, c *pairConn, why Reason) {
	switch c.state {
	case connReady:
		s.deaf(p, c, why)
	case connMaking:
		s.dropConn(p, c)
		s.wait(p, why)
		s.backOff(p)
	default:
		s.dropConn(p, c)
		if !p.ended() {
			s.wait(p, why)
			s.backOff(p)
		}
	}
}

// broke is a working connection over which nothing can be sent any more.
func (s *step) broke(p *peer, c *pairConn, why Reason) {
	if c.broken {
		return
	}
	c.broken = true
	s.rewind(p, c.name)
	s.directAgain(p, c.name)
	s.unhealthy(p, why)
}

// deaf is a working connection over which nothing will come any more.
func (s *step) deaf(p *peer, c *pairConn, why Reason) {
	if !c.deaf {
		c.deaf = true
		s.unhealthy(p, why)
	}
}

// unhealthy begins to replace a connection.
func (s *step) unhealthy(p *peer, why Reason) {
	if p.ended() || !s.alive() || p.healthy() {
		return
	}
	p.connected = false
	s.wait(p, why)
	p.retryAt, p.retryWait = s.env.Now, 0
}

const (
	staleFirst = 2 * t1         // age of an offer at which what its responder lacks may be more than the offer
	staleMost  = 12 * time.Hour // with each attempt of a day that age is four times of what it was, up to this
)

// stale tells whether an offer has been out for so long that another one may help where repeating it does not: it was
// joined, and the confirmation was lost, or came when the own store was a newer one.
func (s *step) stale(p *peer, c *pairConn) bool {
	age := staleFirst
	for n := s.attempts(p); n > 1 && age < staleMost; n-- {
		age *= 4
	}
	return !s.env.Now.Before(c.expiry.Add(min(age, staleMost) - OfferExpiry))
}

// renew makes another offer, with a higher attempt, in place of one. It does not make the wait for an answer shorter.
func (s *step) renew(p *peer, c *pairConn) {
	wait := p.retryWait
	s.dropConn(p, c)
	p.retryAt, p.replacedAt = time.Time{}, time.Time{}
	if s.mayBegin(p) {
		s.begin(p)
		p.retryWait = wait
	}
}

// wait says why a pair is not connected; the client hears of it once per reason.
func (s *step) wait(p *peer, why Reason) {
	if p.reason == why || p.healthy() {
		return
	}
	s.touch(p)
	p.reason = why
	s.notice(PairWaiting{Member: p.key, Reason: why})
}

// repair is GREPAIR.
func (s *step) repair(in Repair) (Done, error) {
	if err := s.member(); err != nil {
		return Done{}, err
	}
	p := s.peers[in.Member]
	if p == nil || p.ended() {
		return Done{}, ErrUnknown
	}
	if s.env.Now.Before(p.replacedAt.Add(replaceEvery)) && len(p.conns) > 0 {
		return Done{}, ErrTooSoon
	}
	s.touch(p)
	if p.ready() == nil {
		s.knock(p)
	}
	if s.initiates(p) {
		p.replace = true
		p.retryAt = s.env.Now
		return Done{}, nil
	}
	p.replacedAt = s.env.Now
	s.need(p)
	return Done{}, nil
}

// pairTimers does what T1 asks for: offers by another route, G_NEED, and looking again for a free place.
func (s *step) pairTimers() {
	if !s.alive() {
		return
	}
	s.mendTimers()
	for _, p := range s.present() {
		if !s.due(p.retryAt) {
			continue
		}
		s.touch(p)
		c := p.offering()
		switch {
		case c != nil && c.state == connOffered && s.due(c.expiry):
			s.dropConn(p, c)
			p.retryAt = time.Time{}
		case c != nil && c.state == connOffered && !s.initiates(p):
			// The logs differed when it was made; the other end may have refused it and wait for us to take its own.
			s.dropConn(p, c)
			s.wait(p, ReasonNoAnswer)
			s.backOff(p)
			s.need(p)
		case c != nil && c.state == connOffered:
			c.routed = false
			p.retryAt = time.Time{}
			s.wait(p, ReasonNoAnswer)
			if s.contactOnly(p) && s.stale(p, c) {
				s.renew(p, c)
			}
			s.syncWhileWaiting()
		case c != nil:
			p.retryAt = time.Time{}
		case s.initiates(p):
			p.retryAt = time.Time{} // schedule begins it
		case !p.healthy() && !p.mendable():
			s.wait(p, ReasonNoAnswer)
			s.backOff(p)
			s.need(p)
			s.syncWhileWaiting()
		default:
			p.retryAt = time.Time{}
		}
	}
}

func (g *Group) wakePairs(w *wake) {
	if !g.alive() {
		return
	}
	for _, p := range g.peers {
		if p.ended() {
			continue
		}
		w.add(p.retryAt)
		if c := p.mending(); c != nil {
			w.add(c.rebound.until)
			w.add(c.rebound.sayAt())
		}
		if c := p.offering(); c != nil && c.state == connOffered && !c.routed && g.hasRoute(p) {
			w.add(c.madeAt.Add(rideTime))
		}
	}
	w.add(g.main.spreadAt)
}

// pending asks again for the operations on connections that have no answer yet.
func (s *step) pending() {
	s.pendingDoors()
	for _, p := range s.everybody() {
		for _, c := range p.conns {
			switch c.state {
			case connMaking:
				s.do(NewConn{Conn: c.name})
			case connJoined:
				told := c.told
				s.do(s.joinEffect(p, c))
				c.told = told // the connection exists and keeps the hello from before
			}
		}
	}
}

// joinEffect joins the peer's request; the hello is signed when the binding exists.
func (s *step) joinEffect(p *peer, c *pairConn) JoinConn {
	h, key := s.newHello(p, c), s.key
	return JoinConn{Conn: c.name, Link: c.link, Hello: func(b Binding) []byte { return h.sign(key, sideJoiner, b) }}
}
