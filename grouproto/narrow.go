package grouproto

import "slices"

// Most steps are about one member: it sent a message, a receipt, or a question. What they change is known, so only that is
// looked at when they end, instead of all members and authors; in a group of 500 that is nearly all of the cost. It is right
// because of what NextWake promises: before that time, and unless something else changes, nobody else has anything to do.
// Whatever is not known to be of this kind, or changes more than it says here, makes a step wide.
//
// What a wide step finds by walking is kept up by narrow ones: the time of NextWake, which may then be too early and never
// too late; how many authors have gaps; and what was read for the front.

// narrow tells whether an input may be handled by a narrow step; body, and whatever it calls, may make it wide.
func (g *Group) narrow(env Env, in Input) bool {
	_, message := in.(Message)
	return message && g.wakeKnown && (g.wakeAt.IsZero() || g.wakeAt.After(env.Now)) && g.delayed == 0 &&
		g.main.status == StatusMember && g.main.joinDone && g.main.recovery == RecoveryNone
}

// narrowFrames are what members send most, and what changes nothing but chains, asks, and what goes to the same member.
var narrowFrames = map[Tag]bool{TagMsg: true, TagFwd: true, TagNone: true, TagRcvd: true, TagWant: true}

// finishNarrow is finish for a narrow step.
func (s *step) finishNarrow() {
	s.askForGaps()
	s.askForOps()
	touched := make([]*peer, 0, len(s.peersW))
	for p := range s.peersW {
		touched = append(touched, p)
	}
	slices.SortFunc(touched, func(a, b *peer) int { return a.key.Compare(b.key) })
	s.flushThese(touched)
	s.tellCaughtUp()
	s.noteLacking()
	s.store()
	w := wake{s.wakeAt}
	s.wakeWaiting(&w)
	s.wakeAsks(&w)
	for p := range s.peersW {
		s.wakeFrames(&w, p)
	}
	s.wakeAt = w.at
}

// wakeFrames adds when something that waits for a member goes out.
func (g *Group) wakeFrames(w *wake, p *peer) {
	if p.ready() != nil {
		w.add(p.receiptDue)
	}
	if p.sendable() == nil {
		return
	}
	for _, q := range p.out {
		w.add(q.due)
	}
}

// countGaps brings the number of authors with gaps up to date with the chains that were changed.
func (s *step) countGaps() {
	for c := range s.chainW {
		s.countGap(c, len(c.gaps) > 0)
	}
}

func (g *Group) countGap(c *chain, gappy bool) {
	if gappy == c.gappy {
		return
	}
	if c.gappy = gappy; gappy {
		g.gappy++
	} else {
		g.gappy--
	}
}

// knownFront is a chain's entry in the front, read once after each change of the chain.
type knownFront struct {
	known, ok bool
	id        MessageID
}

// frontOf returns an author's entry in the front.
func (s *step) frontOf(c *chain) (MessageID, bool) {
	if c.inFront.known && !s.chainW[c] {
		return c.inFront.id, c.inFront.ok
	}
	id, ok := s.readFront(c)
	if !s.chainW[c] {
		c.inFront = knownFront{true, ok, id}
	}
	return id, ok
}

// knownDigest is the digest in one state of the group, while no chain changes.
type knownDigest struct {
	known  bool
	digest [32]byte
}

// forgetFront forgets what was read for the front of the chains that were changed.
func (s *step) forgetFront() {
	for c := range s.chainW {
		c.inFront = knownFront{}
		s.digestKept = knownDigest{}
	}
}
