package grouproto

import (
	"time"

	"github.com/coterie-im/coterie/internal/wire"
)

// The ratchet of a pair connection can part: an end was restored from an old copy, say. Then it is made again, and both
// ends prove with a hello that they are who they were (docs/groups.md, "A ratchet that was made again").
//
//	fits ─ ResyncNeeded ─→ parted ─ Resynced, own hello sent ─→ unproven ─ the peer's hello good ─→ fits
//	  └──────────────────────── Resynced: the peer began ──────────┘
//
// Nothing is handed to a connection that does not fit. It is tried every mendWait. If that was not enough once, or the
// ratchet parts again within it, the pair also tries to get another connection, if there is anybody to pass an offer on.

// fit is what the ratchet of a connection is good for.
type fit uint8

const (
	fits     fit = iota
	parted       // nothing can be sent until it is made again
	unproven     // it was made again, and the peer has not said hello
)

// mendWait is how long a ratchet may take to be made again, which is also how often that is tried.
const mendWait = time.Hour

// rebound is what a connection knows about a ratchet that does not fit. It is stored with it.
type rebound struct {
	fit     fit
	begunAt time.Time // when it was last to be made again; zero: never
	until   time.Time // when it is tried again
	late    bool      // another connection is wanted meanwhile
	bound   bool      // it was made again: side and binding are known
	side    ResyncSide
	binding Binding
	saidAt  time.Time // when hello was last said over it
	said    uint8     // how often
}

// withBinding marks the record of a connection whose ratchet was made again.
const withBinding = 0x80

func (r *rebound) append(dst []byte) []byte {
	kind := byte(r.fit)
	if r.bound {
		kind |= withBinding
	}
	dst = appendFlag(appendTime(appendTime(append(dst, kind), r.begunAt), r.until), r.late)
	if r.bound {
		dst = append(appendTime(append(append(dst, byte(r.side)), r.binding[:]...), r.saidAt), r.said)
	}
	return dst
}

func readRebound(r *wire.Reader) (b rebound) {
	kind := r.U8()
	b.fit, b.bound, b.begunAt, b.until, b.late = fit(kind&^withBinding), kind&withBinding != 0, readTime(r), readTime(r), readFlag(r)
	if b.fit > unproven {
		r.Fail("state of a ratchet")
	}
	switch {
	case b.bound:
		b.side, b.binding = ResyncSide(r.U8()), read32(r)
		b.saidAt, b.said = readTime(r), r.U8()
	case b.fit == unproven: // written before the others were kept
		b.bound, b.side, b.binding = true, ResyncSide(r.U8()), read32(r)
	}
	return b
}

// hello is the side that an end signs its hello for: the sending side stands where the joiner stood in the agreement.
func (r ResyncSide) hello() side {
	if r == SideSending {
		return sideJoiner
	}
	return sideInitiator
}

// other is the side of the other end.
func (r ResyncSide) other() ResyncSide {
	if r == SideSending {
		return SideReceiving
	}
	return SideSending
}

// mending returns the newest working connection whose ratchet does not fit; nil if there is none.
func (p *peer) mending() *pairConn {
	for i := len(p.conns) - 1; i >= 0; i-- {
		if c := p.conns[i]; c.state == connReady && !c.broken && !c.deaf && c.rebound.fit != fits {
			return c
		}
	}
	return nil
}

// mendable tells whether a pair waits for a ratchet and for nothing else.
func (p *peer) mendable() bool {
	c := p.mending()
	return c != nil && !c.rebound.late
}

// resyncNeeded begins to make the ratchet of a connection again.
func (s *step) resyncNeeded(p *peer, c *pairConn) {
	b := &c.rebound
	if c.state != connReady || c.broken || c.deaf || !c.until.IsZero() || b.fit != fits {
		return
	}
	b.fit = parted
	if again := b.begunAt.Add(mendWait); b.begunAt.IsZero() || !s.env.Now.Before(again) {
		s.mend(c)
	} else {
		b.until = again
		s.late(p, c)
	}
	s.waitsForRatchet(p)
}

// waitsForRatchet gives the reason why a pair is not connected.
func (s *step) waitsForRatchet(p *peer) {
	if !p.ended() && !p.healthy() {
		p.connected = false
		s.wait(p, ReasonRatchet)
	}
}

// late begins to replace a connection whose ratchet takes too long.
func (s *step) late(p *peer, c *pairConn) {
	if s.hasRoute(p) && !c.rebound.late {
		c.rebound.late = true
		s.unhealthy(p, ReasonRatchet)
	}
}

// mend asks for another ratchet.
func (s *step) mend(c *pairConn) {
	c.rebound.begunAt, c.rebound.until = s.env.Now, s.env.Now.Add(mendWait)
	s.do(ResyncConn{Conn: c.name})
}

// takenBack is a body that a connection did not take, because the peer has begun to make its ratchet again. It goes out
// behind the hello.
func (s *step) takenBack(p *peer, c *pairConn) {
	if c.rebound.fit == fits {
		c.rebound.fit, c.rebound.until = parted, s.env.Now.Add(mendWait)
		s.waitsForRatchet(p)
	}
	s.rewind(p, c.name)
	s.directAgain(p, c.name)
}

// resynced says hello over a ratchet that was made again, before anything else.
func (s *step) resynced(p *peer, c *pairConn, in Resynced) {
	if c.state != connReady && c.state != connAllowed {
		return
	}
	b := &c.rebound
	b.fit, b.bound, b.side, b.binding, b.said = unproven, true, in.Side, in.Binding, 0
	if !b.until.After(s.env.Now) {
		b.until = s.env.Now.Add(mendWait)
	}
	s.sayHello(p, c)
}

// sayHello says hello over a ratchet that was made again.
func (s *step) sayHello(p *peer, c *pairConn) {
	b := &c.rebound
	b.saidAt, b.said = s.env.Now, b.said+1
	h := s.newHello(p, c)
	s.main.ref++
	s.counts.count(forSync)
	body := wire.AppendStr16(nil, h.sign(s.key, b.side.hello(), b.binding))
	s.do(SendConn{Conn: c.name, Ref: s.main.ref, Body: body})
}

// Hellos are said again where one may have been lost.
const (
	helloEvery = time.Minute // over one ratchet
	mostHellos = 8           // over one ratchet, with the first
)

// sayAgain says hello once more: nothing that this end or the other one waits for has come.
func (s *step) sayAgain(p *peer, c *pairConn) {
	if c.rebound.maySay(s.env.Now) {
		s.touch(p)
		s.sayHello(p, c)
	}
}

func (r *rebound) maySay(now time.Time) bool {
	return r.bound && r.said < mostHellos && !now.Before(r.saidAt.Add(helloEvery))
}

// isHello tells whether a frame is meant to be a G_HELLO.
func isHello(frame []byte) bool {
	r := wire.NewReader(frame)
	return r.U16() == frameVersion && Tag(r.U8()) == TagHello && r.Err() == nil
}

// proven checks the first frame over a ratchet that was made again; nothing of the connection is looked at before. What
// is no hello at all says that the hello was lost: the peer, which takes this one for proven, hears hello again and
// answers it.
func (s *step) proven(p *peer, c *pairConn, frames [][]byte) bool {
	b := &c.rebound
	if len(frames) == 0 || !isHello(frames[0]) {
		s.sayAgain(p, c)
		return false
	}
	if !s.helloGood(p, c, b.side.other().hello(), b.binding, frames[0]) {
		p.connected = false
		s.badHello(p, c)
		return false
	}
	b.fit, b.until, b.late = fits, time.Time{}, false
	if c.state != connReady || c.broken || !c.until.IsZero() {
		return true
	}
	if p.offering() == nil && p.sendable() == c {
		p.retryAt, p.retryWait, p.lastRoute, p.replace = time.Time{}, 0, Key{}, false
	}
	s.flows(p, c, true)
	s.helloAnswers(p)
	return true
}

// helloAgain takes a hello over a ratchet that is proven: the peer has not got ours.
func (s *step) helloAgain(p *peer, c *pairConn, frame []byte) {
	s.wide = true
	b := &c.rebound
	if !b.maySay(s.env.Now) || !p.frames.take(s.env.Now, 1, peerBurst, peerRate) ||
		!s.helloGood(p, c, b.side.other().hello(), b.binding, frame) {
		s.bad.place++
		return
	}
	s.sayAgain(p, c)
}

// sayAt is when hello is said for the second time, if nothing has come: both may have been lost. Zero: not by itself.
func (r *rebound) sayAt() (t time.Time) {
	if r.fit == unproven && r.said == 1 {
		t = r.saidAt.Add(helloEvery)
	}
	return t
}

// mendTimers tries again what was not made again in time.
func (s *step) mendTimers() {
	for _, p := range s.present() {
		c := p.mending()
		switch {
		case c == nil:
		case s.due(c.rebound.until):
			s.touch(p)
			s.mend(c)
			s.late(p, c)
		case s.due(c.rebound.sayAt()):
			s.sayAgain(p, c)
		}
	}
}
