package grouproto

import "slices"

// Was it this member that was restored? A ratchet of a pair has parted, so one of its ends has an old copy of it. If it is
// this one, it is about to use numbers again, and others tell it only when they compare what they have. So it asks at
// once, and writes nothing before somebody has answered (docs/groups.md, "Recovery"): a random member, if it was this end
// that noticed; and the other end of the pair, which says hello as soon as the ratchet is made again.
//
//	none ─ a ratchet parts ─→ check ─ somebody has no news about oneself ─→ none
//	                            ├─ an own message or operation that is not here ─→ recovery
//	                            └─ 60 s without an answer ─→ none; recovery if the ratchets of several pairs have parted
//
// Going back to an old copy takes a start, so one answer for each start is enough.

// severalPairs is how many ratchets that have parted, with no answer from anybody, are not the fault of others.
const severalPairs = 2

// parting is a ratchet that has parted: this end has noticed, or the other one, which has begun to make it again.
func (s *step) parting(p *peer, c *pairConn, noticed bool) {
	if s.main.recovery == RecoveryCheck && !p.ended() {
		if s.parted == nil {
			s.parted = map[Key]bool{}
		}
		s.parted[p.key] = true
	}
	if s.checked || s.main.recovery != RecoveryNone || s.main.status != StatusMember || p.ended() || c.state != connReady {
		return
	}
	s.main.recovery, s.main.asked, s.main.askedUntil = RecoveryCheck, nil, s.env.Now.Add(recoverWait)
	s.parted = map[Key]bool{p.key: true}
	s.notice(Recovering{RecoveryCheck})
	if q := s.randomReady(map[Key]bool{p.key: true}); noticed && q != nil {
		s.askForCheck(q)
	}
}

// askForCheck asks a member for its list.
func (s *step) askForCheck(p *peer) {
	s.main.asked = append(s.main.asked, askedMember{member: p.key})
	p.listAsked = true
	s.post(p, s.newSync(syncAsk), forSync, s.env.Now)
}

// helloAnswers takes the hello over a ratchet that was made again, or over another connection, as an answer, if it says
// that the other end has nothing else, and asks for more otherwise. What was asked before was lost with the old one.
func (s *step) helloAnswers(p *peer) {
	s.main.asked = slices.DeleteFunc(s.main.asked, func(a askedMember) bool { return a.member == p.key && !a.answered })
	switch {
	case s.main.recovery != RecoveryCheck || p.ended():
	case p.alike:
		s.main.asked = append(s.main.asked, askedMember{p.key, true})
	case len(s.main.asked) < mostChecked:
		s.askForCheck(p)
	}
}

// mostChecked is how many members are asked at most.
const mostChecked = 8

// checkStep decides when somebody has answered or time is over.
func (s *step) checkStep() {
	m := &s.main
	switch answers := m.answers(); {
	case answers > 0 && len(s.wantOps) == 0: // operations that were named may be own ones
		s.writeAgain()
	case !s.due(m.askedUntil):
	case answers == 0 && s.partedPairs() >= severalPairs:
		s.beginRecovery(RecoveryRatchets)
	default:
		s.writeAgain()
	}
}

// partedPairs is how many pairs wait for a ratchet, or did since the question whose store is old, whatever has become of
// them.
func (g *Group) partedPairs() int {
	n := len(g.parted)
	for _, p := range g.order {
		if !p.ended() && p.mending() != nil && !g.parted[p.key] {
			n++
		}
	}
	return n
}
