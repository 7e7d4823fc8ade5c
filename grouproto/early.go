package grouproto

import "slices"

// A message that was written after a restore and before the recovery knew has a number that was used before: whoever holds
// the other message under it ignores this one. Nobody can tell the author for certain, so its client is told what members
// say, and decides whether to write it again.

// tooEarly notes that a member has another content under the number of an own message: it does not get this one.
func (s *step) tooEarly(p *peer, n uint64) {
	if p == nil || p.ended() || n < p.first || p.hasAnother(n) || !p.early.take(s.env.Now, 1, warnBurst, warnRate) {
		return
	}
	s.touch(p)
	s.giveUp(p, Range{n, n}, ReasonNumber)
}

// hasAnother tells whether tooEarly was called for an own message.
func (p *peer) hasAnother(n uint64) bool {
	return slices.ContainsFunc(p.failed, func(f failure) bool {
		return f.Reason == ReasonNumber && f.Range.From <= n && n <= f.Range.To
	})
}

// ownBefore looks at an own message that has come back: if what is held under the number before it is not what it was
// written after, everybody who was there has that.
func (s *step) ownBefore(m *message) {
	if m.Number == 0 || m.Prev == ([32]byte{}) {
		return
	}
	held, ok := s.loadMessage(s.self, m.Number-1)
	if !ok || held.vouched || held.id.Hash == m.Prev {
		return
	}
	for _, p := range s.present() {
		s.tooEarly(p, m.Number-1)
	}
}
