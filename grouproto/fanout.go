package grouproto

import (
	"slices"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

// send is GSEND: the message is stored under its number, and every present member's cursor will pass it.
func (s *step) send(in Send) (Done, error) {
	if err := s.writable(); err != nil {
		return Done{}, err
	}
	switch {
	case len(in.Body) > MaxBody:
		return Done{}, ErrTooLarge
	case !s.st.Has(s.self, oplog.PermSend):
		return Done{}, ErrNotPermitted
	}
	m := &message{
		Number: s.main.next, Prev: s.main.prev, Salt: random16(s.env), Heads: s.ownHeads(), Parents: s.parents(), Body: in.Body,
	}
	if in.Notify {
		m.Flags |= FlagNotify
	}
	id := MessageID{s.self, m.Number, m.hash(s.id, s.self)}
	s.main.next, s.main.prev = m.Number+1, id.Hash
	s.chain(s.self).settle(Range{m.Number, m.Number})
	s.keep(&kept{id: id, message: m, received: s.env.Now, via: s.self, depth: s.depth(m)})
	s.addTip(id, m)
	return Done{Message: id}, nil
}

// ownHeads returns the heads that a message names: of what everybody can judge who can judge what is here.
func (s *step) ownHeads() []OpID { return s.log.Heads() }

// parents returns the newest messages of others that nothing else implies, newest last.
func (s *step) parents() []MessageID {
	var out []MessageID
	for _, id := range s.main.tips {
		if id.Author != s.self {
			out = append(out, id)
		}
	}
	return slices.Clone(out[max(0, len(out)-oplog.MaxParents):])
}

// post queues a frame for a peer. It goes out with the step that reaches its due time, or rides along with anything that
// goes out before. Frames for somebody who cannot be sent anything are dropped: whatever matters is found by the heads
// and digests of later frames.
func (s *step) post(p *peer, f frame, why purpose, due time.Time) {
	if p.sendable() == nil && p.mending() == nil || p.full(why) {
		return
	}
	s.touch(p)
	if why == forSync {
		p.unheard, p.askedAt = p.unheard+1, s.env.Now
	}
	p.out = append(p.out, queued{due: due, purpose: why, frame: encodeFrame(f)})
}

// full tells whether nothing of a kind is sent to a member because its queue is full: answers and news that it finds by
// the heads and the digest that it gets when it reads again. Else it could fill our outbox by asking without reading. The
// same while the ratchet is made again: the hello behind it says heads and digest.
func (p *peer) full(why purpose) bool {
	if p.paused == ReasonInactive && !p.ended() && why == forOperations {
		return true // nothing is kept for it; it gets them when it is heard of
	}
	if p.sendable() != nil && (p.paused != ReasonQuota || p.ended()) {
		return false
	}
	switch why {
	case forCopies, forSync, forReceipts, forOperations, forForwarded:
		return true
	default:
		return false
	}
}

// flush hands over what is due, in random order, so that the order of a fan-out tells a relay nothing about members.
func (s *step) flush() { s.flushThese(s.everybody()) }

// flushThese is flush for some members, ascending by key.
func (s *step) flushThese(members []*peer) {
	var order []*peer
	for _, p := range members {
		if c := p.sendable(); len(p.out) > 0 || c != nil && (s.mayFan(p, c) || p.mayDirect(c)) {
			order = append(order, p)
		}
	}
	for i := len(order) - 1; i > 0; i-- {
		j := s.below(i + 1)
		order[i], order[j] = order[j], order[i]
	}
	for _, p := range order {
		s.flushPeer(p)
	}
}

func (s *step) flushPeer(p *peer) {
	c := p.sendable()
	if c == nil {
		if len(p.out) > 0 && p.mending() == nil {
			p.out = nil
			s.touch(p)
		}
		return
	}
	due := slices.ContainsFunc(p.out, func(q queued) bool { return s.due(q.due) })
	if !due && !s.mayFan(p, c) && !p.mayDirect(c) {
		return
	}
	s.touch(p)
	s.rideReceipt(p)
	var b bundle
	for _, q := range p.out {
		if !b.fits(q.frame) {
			s.handOver(p, c, &b)
		}
		b.add(q.frame, q.purpose)
	}
	p.out = nil
	for i := range p.direct {
		if d := &p.direct[i]; d.may(p, c) {
			f := encodeFrame(&d.frame)
			if !b.fits(f) {
				s.handOver(p, c, &b)
			}
			b.add(f, forDirect)
			d.ref, d.conn = s.main.ref+1, c.name // of the body that comes next
			s.putDirect(p)
		}
	}
	for s.mayFan(p, c) {
		own := s.ownMessage(p.next)
		if own == nil {
			// Not kept any more: it was written more than the retention ago.
			s.giveUp(p, Range{p.next, p.next}, ReasonExpired)
			p.next++
			p.sent = max(p.sent, p.next)
			continue
		}
		if !b.fits(own.frame) {
			s.handOver(p, c, &b)
		}
		if b.messages == 0 {
			b.from = p.next
		}
		b.messages++
		b.notify = b.notify || own.notify
		b.add(own.frame, forMessages)
		p.next++
	}
	s.handOver(p, c, &b)
}

// ownFrame is an own message as it goes to every member.
type ownFrame struct {
	frame  []byte
	notify bool
}

// ownMessage returns an own message, nil if it is not kept any more. A step reads it once, for whomever it is.
func (s *step) ownMessage(number uint64) *ownFrame {
	if f, ok := s.own[number]; ok {
		return f
	}
	var f *ownFrame
	if m, ok := s.loadMessage(s.self, number); ok {
		f = &ownFrame{frame: encodeFrame(&msgFrame{m.message}), notify: m.message.Flags&FlagNotify != 0}
	}
	if s.own == nil {
		s.own = map[uint64]*ownFrame{}
	}
	s.own[number] = f
	return f
}

// mayFan tells whether the next own message can be handed to a connection now.
func (s *step) mayFan(p *peer, c *pairConn) bool {
	return c.state == connReady && p.next < s.main.next && !p.ended() && p.paused == ReasonNone && len(p.window) < windowSize &&
		s.main.status == StatusMember && s.main.recovery == RecoveryNone
}

// bundle is a body in the making.
type bundle struct {
	frames   [][]byte
	size     int // of the body
	purpose  purpose
	messages int    // own messages in it
	from     uint64 // the first of them
	notify   bool
}

func (b *bundle) fits(frame []byte) bool {
	return b.size+frameSize(frame) <= MaxFrames || len(b.frames) == 0
}

func (b *bundle) add(frame []byte, why purpose) {
	if len(b.frames) == 0 || why < b.purpose {
		b.purpose = why
	}
	b.frames = append(b.frames, frame)
	b.size += frameSize(frame)
}

func (b *bundle) bytes() []byte {
	body := make([]byte, 0, b.size)
	for _, f := range b.frames {
		body = wire.AppendStr16(body, f)
	}
	return body
}

// handOver gives a bundle to the connection and begins an empty one.
func (s *step) handOver(p *peer, c *pairConn, b *bundle) {
	if len(b.frames) == 0 {
		return
	}
	s.main.ref++
	var body []byte
	if b.messages == 1 && len(b.frames) == 1 {
		body = s.shared(b)
	} else {
		body = b.bytes()
	}
	if b.messages > 0 {
		p.window = append(p.window, handed{ref: s.main.ref, conn: c.name, from: b.from, upTo: b.from + uint64(b.messages)})
	}
	s.counts.count(b.purpose)
	s.do(SendConn{Conn: c.name, Ref: s.main.ref, Body: body, Notify: b.notify})
	*b = bundle{}
}

// shared returns one slice for all bodies that carry nothing but this one message.
func (s *step) shared(b *bundle) []byte {
	if s.bodies == nil {
		s.bodies = map[uint64][]byte{}
	}
	body, ok := s.bodies[b.from]
	if !ok {
		body = b.bytes()
		s.bodies[b.from] = body
	}
	return body
}

// onlySent handles the usual answer of a connection to a body: the cursor moves, and the same member may get more. There
// is one for each member and message, so it must not cost a look at everybody else: what time has made due waits for the
// tick. False if the answer changes more than that; then nothing has been done.
func (s *step) onlySent(in Sent) bool {
	p := s.conns[in.Conn]
	if p == nil {
		return true
	}
	c := p.conn(in.Conn)
	if c == nil {
		return true
	}
	if p.paused != ReasonNone {
		return false
	}
	s.touch(p)
	s.sent(p, c, in.Ref)
	s.flushPeer(p)
	s.store()
	return true
}

// sent moves the cursor: a relay has the body.
func (s *step) sent(p *peer, c *pairConn, ref Ref) {
	s.directSent(p, ref)
	i := slices.IndexFunc(p.window, func(h handed) bool { return h.ref == ref && h.conn == c.name })
	if i >= 0 {
		h := p.window[i]
		p.window = slices.Delete(p.window, i, i+1)
		p.sent = max(p.sent, h.upTo)
		if s.tellsProgress() {
			s.notice(MessageSent{Member: p.key, UpTo: p.sent})
		}
	}
	// Whatever was taken since the queue was full: there is room again.
	if p.paused == ReasonQuota && c == p.sendable() {
		s.resume(p)
	}
}

// tellsProgress tells whether the client hears of every member's deliveries; in large groups it asks.
func (g *Group) tellsProgress() bool { return g.receiptsOn() }

// sendFailed is a body that was given up.
func (s *step) sendFailed(p *peer, c *pairConn, ref Ref, why Reason) {
	switch why {
	case ReasonAuth:
		s.broke(p, c, why)
		return
	case ReasonRatchet:
		s.takenBack(p, c)
		return
	}
	s.directSent(p, ref)
	i := slices.IndexFunc(p.window, func(h handed) bool { return h.ref == ref && h.conn == c.name })
	if i < 0 {
		return
	}
	h := p.window[i]
	p.window = slices.Delete(p.window, i, i+1)
	s.giveUp(p, Range{h.from, h.upTo - 1}, why)
	p.sent = max(p.sent, h.upTo)
}

// giveUp notes that own messages will not be sent to a member any more. It may still get them as copies.
func (s *step) giveUp(p *peer, r Range, why Reason) {
	if k := len(p.failed); k > 0 && p.failed[k-1].Reason == why && p.failed[k-1].Range.To+1 == r.From {
		p.failed[k-1].Range.To = r.To
	} else if p.failed = append(p.failed, failure{r, why}); len(p.failed) > mostFailed {
		p.failed = p.failed[1:]
	}
	s.notice(MessageFailed{Member: p.key, Range: r, Reason: why})
}

// rewind takes back what a connection did not report as sent before it went. After the end of the membership nothing is
// sent again.
func (s *step) rewind(p *peer, conn string) {
	if s.main.status != StatusMember {
		p.window = slices.DeleteFunc(p.window, func(h handed) bool {
			if h.conn == conn && !p.ended() {
				s.giveUp(p, Range{h.from, h.upTo - 1}, ReasonEnded)
			}
			return h.conn == conn
		})
		return
	}
	if slices.ContainsFunc(p.window, func(h handed) bool { return h.conn == conn }) {
		p.window = nil
		p.next = p.sent
	}
}

// pause rests the fan-out to a member. What was handed over stays with the connection.
func (s *step) pause(p *peer, why Reason) {
	if p.paused == ReasonNone && !p.ended() {
		p.paused, p.pausedAt, p.resync = why, s.env.Now, false
		s.notice(MemberPaused{Member: p.key, Reason: why})
	}
}

// resume goes on: messages written meanwhile are not pushed, the member is told what there is and pulls.
func (s *step) resume(p *peer) {
	if p.paused == ReasonNone {
		return
	}
	s.wide = true
	s.touch(p)
	p.paused, p.pausedAt = ReasonNone, time.Time{}
	s.notice(MemberResumed{p.key})
	s.reconnected()
	if p.next < s.main.next {
		p.next = s.main.next
		if len(p.window) == 0 {
			p.sent = p.next
		}
	}
	if s.main.status == StatusMember {
		s.postOwnFront(p)
		s.receiptWanted(p)
		s.forwardHeld(p)
	}
}

// pauseTimers looks again at members that rest: after an hour a full queue gets one G_SYNC to see whether it is read,
// and who was silent for three weeks gets nothing more until it is heard of.
func (s *step) pauseTimers() {
	if s.main.status != StatusMember {
		return
	}
	for _, p := range s.present() {
		switch {
		case p.paused == ReasonQuota && s.due(p.pausedAt.Add(quotaWait)):
			s.touch(p)
			p.pausedAt = s.env.Now
			if len(p.window) == 0 {
				p.paused = ReasonNone // this one it may get
				s.postOwnFront(p)
				p.paused = ReasonQuota
			}
		case p.paused == ReasonNone && s.due(p.lastHeard.Add(Retention)):
			s.touch(p)
			s.pause(p, ReasonInactive)
		}
	}
}

func (g *Group) wakePauses(w *wake) {
	if g.main.status != StatusMember {
		return
	}
	for _, p := range g.peers {
		switch {
		case p.ended():
		case p.paused == ReasonQuota:
			w.add(p.pausedAt.Add(quotaWait))
		case p.paused == ReasonNone:
			w.add(p.lastHeard.Add(Retention))
		}
	}
}
