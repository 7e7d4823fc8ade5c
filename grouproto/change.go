package grouproto

import (
	"bytes"
	"slices"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// changed compares the state with the one before and does what follows: members come, go and return, one's own
// membership ends or returns, the group closes.
func (s *step) changed(admitted []*oplog.Op) {
	old, now := s.st, s.log.State()
	s.st, s.digestKept = now, knownDigest{}
	if s.log.MustUpgrade() {
		s.warnUpgrade()
	} else {
		s.main.upgrade = false
	}
	s.sizeLimits(old, now)
	if s.main.status == StatusJoining {
		s.tryJoin()
		return
	}
	s.memberChanges(old, now)
	s.ownChanges(old, now, admitted)
	s.settingChanges(old, now)
	if empty := now.Len() == 1 && s.main.status == StatusMember; empty != s.main.empty {
		s.main.empty = empty
		if empty {
			s.notice(Empty{})
		}
	}
}

// tryJoin makes the invited side a member when the log shows that it and its inviter are present.
func (s *step) tryJoin() {
	if s.log == nil || !s.main.logDone {
		return
	}
	_, self := s.st.Member(s.self)
	_, inviter := s.st.Member(s.main.inviter)
	if !self || !inviter {
		return
	}
	s.main.status = StatusMember
	s.main.nextSync = s.env.Now.Add(syncEvery)
	s.main.conWait = rideTime
	for _, m := range s.st.Members() {
		if m.Key != s.self {
			s.addPeer(m.Key)
		}
	}
	s.openHistory()
	s.checkCards()
	s.notice(Joined{Members: s.st.Len()})
	if p := s.peers[s.main.inviter]; p.ready() != nil {
		s.tellConnected(p)
	}
}

// addPeer returns the peer of a present member. A new one gets own messages from the next one on.
func (s *step) addPeer(k Key) *peer {
	p := s.peers[k]
	if p == nil {
		p = &peer{key: k, first: s.main.next, next: s.main.next, sent: s.main.next, delivered: s.main.next}
		p.lastHeard = s.env.Now
		s.insert(p)
	}
	s.touch(p)
	if !p.healthy() && p.retryAt.IsZero() && !s.initiates(p) {
		p.retryAt, p.retryWait = s.env.Now.Add(t1), t1
	}
	return p
}

func (s *step) memberChanges(old, now *oplog.State) {
	for _, m := range now.Members() {
		if was, ok := old.Member(m.Key); ok {
			if was.Role != m.Role {
				s.notice(RoleChanged{m.Key, m.Role})
			}
			continue
		}
		if m.Key == s.self {
			continue
		}
		if p := s.peers[m.Key]; p != nil && p.ended() {
			s.restorePeer(p)
			continue
		}
		s.addPeer(m.Key)
		if _, was := old.Removed(m.Key); was && s.chains[m.Key] != nil {
			s.lookAgain(m.Key) // it was out when we came
		}
		s.notice(MemberAdded{Member: m.Key, By: s.log.Op(m.Added).Author, Role: m.Role})
	}
	for _, m := range old.Members() {
		if _, ok := now.Member(m.Key); ok || m.Key == s.self {
			continue
		}
		if gone, ok := now.Removed(m.Key); ok {
			s.notice(MemberRemoved{Member: m.Key, By: s.log.Op(gone.Ops[0]).Author, Hide: gone.Hide})
			s.chain(m.Key).giveUp(Range{gone.Cut, ^uint64(0)}, noneNotKept)
		} else {
			s.notice(MemberLeft{m.Key})
		}
		s.endPeer(m.Key)
	}
}

// endPeer keeps connections for the grace, also those that the other end has answered already: it has to hear of its
// end. What it has not is dropped.
func (s *step) endPeer(k Key) {
	p := s.peers[k]
	if p == nil {
		return
	}
	s.touch(p)
	p.endedAt, p.goneTold = s.env.Now, false
	p.retryAt, p.replace, p.reason = time.Time{}, false, ReasonNone
	p.receiptDue = time.Time{}
	for _, c := range append([]*pairConn(nil), p.conns...) {
		if c.state == connMaking || c.state == connOffered {
			s.dropConn(p, c)
		}
	}
	s.dropDirect(p)
	s.dropHeldOf(k)
	for _, j := range s.joiners {
		s.joinerLost(j, k)
	}
}

func (s *step) restorePeer(p *peer) {
	s.touch(p)
	p.endedAt, p.goneTold = time.Time{}, false
	p.next, p.sent = s.main.next, s.main.next
	p.window = nil
	s.addPeer(p.key)
	s.lookAgain(p.key)
	s.notice(MemberRestored{p.key})
}

// lookAgain asks again for what was given up of an author.
func (s *step) lookAgain(author Key) {
	s.chain(author).lookAgain(noneNotKept, saidNotKept, saidNotForYou)
	s.progress(author)
}

func (s *step) ownChanges(old, now *oplog.State, admitted []*oplog.Op) {
	_, was := old.Member(s.self)
	_, is := now.Member(s.self)
	switch {
	case s.main.status == StatusGone:
	case now.Closed() && s.main.status != StatusClosed && is:
		s.end(StatusClosed)
		s.notice(Closed{By: closer(admitted)})
	case !is && was:
		if gone, ok := now.Removed(s.self); ok {
			s.end(StatusRemoved)
			s.notice(Removed{By: s.log.Op(gone.Ops[0]).Author, Contestable: s.log.Contestable(s.self, gone.Ops) == nil})
		} else {
			s.end(StatusLeft)
			s.notice(Left{})
		}
	case is && !now.Closed() && s.main.status != StatusMember:
		s.main.status, s.main.graceEnd = StatusMember, time.Time{}
		for _, p := range s.present() {
			s.addPeer(p.key) // for its timers
		}
		for author := range s.chains {
			s.progress(author) // begins to ask again
		}
		s.notice(Restored{})
	}
}

// closer returns who closed the group with one of these operations.
func closer(ops []*oplog.Op) (k Key) {
	for _, op := range ops {
		if _, ok := op.Action.(*oplog.Close); ok {
			k = op.Author
		}
	}
	return k
}

// end ends the own membership; connections live on for the grace. Messages that some member was not sent yet will not be,
// and the client is told: others may still have them.
func (s *step) end(status Status) {
	s.main.status, s.main.graceEnd = status, s.env.Now.Add(Grace)
	s.main.spreadAt, s.main.conAt = time.Time{}, time.Time{}
	for _, p := range s.everybody() {
		s.touch(p)
		p.retryAt, p.receiptDue, p.replace = time.Time{}, time.Time{}, false
		if !p.ended() && p.next < s.main.next {
			s.giveUp(p, Range{p.next, s.main.next - 1}, ReasonEnded)
			p.next = s.main.next
		}
		for _, c := range append([]*pairConn(nil), p.conns...) {
			if c.state == connMaking || c.state == connOffered {
				s.dropConn(p, c)
			}
		}
	}
	for token, i := range s.invites {
		if i.state == invitePending {
			s.forgetInvite(token, i)
			s.notice(InvitationAnswered{Token: token, Contact: i.contact, Answer: Expired})
		}
	}
	clear(s.asks)
	clear(s.wantOps)
}

// alive tells whether frames other than operations and G_SYNC are sent and taken.
func (g *Group) alive() bool { return g.main.status == StatusMember || g.main.status == StatusJoining }

func (s *step) settingChanges(old, now *oplog.State) {
	if old.Policy() != now.Policy() {
		s.notice(PolicyChanged{now.Policy()})
	}
	names := map[string]bool{}
	for _, n := range append(old.Settings(), now.Settings()...) {
		if names[n] {
			continue
		}
		names[n] = true
		a, _, _ := old.Setting(n)
		b, _, _ := now.Setting(n)
		if !bytes.Equal(a, b) {
			s.notice(SettingChanged{n, b})
		}
	}
}

// endings deletes the connections of members, or of oneself, whose grace is over. Joining ends a day after the
// invitation has expired: an inviter that comes later would not know it any more.
func (s *step) endings() {
	if s.due(s.main.graceEnd) || s.main.status == StatusJoining && s.due(s.main.expiry.Add(Grace)) {
		s.gone()
	}
	for _, p := range s.everybody() {
		if p.ended() && len(p.conns) > 0 && s.due(p.endedAt.Add(Grace)) {
			s.dropAll(p)
		}
		if slices.ContainsFunc(p.conns, func(c *pairConn) bool { return s.due(c.until) }) {
			for _, c := range slices.Clone(p.conns) {
				if s.due(c.until) {
					s.dropConn(p, c)
				}
			}
		}
	}
}

// gone ends everything but what is stored.
func (s *step) gone() {
	s.main.graceEnd = time.Time{}
	s.main.status = StatusGone
	for _, p := range s.everybody() {
		s.dropAll(p)
		p.retryAt = time.Time{}
	}
	s.notice(Gone{})
}

func (s *step) dropAll(p *peer) {
	s.touch(p)
	for _, c := range append([]*pairConn(nil), p.conns...) {
		s.dropConn(p, c)
	}
	p.out = nil
	s.dropWaiting(p, func(Tag) bool { return true })
}

// removePeer forgets somebody of whom no operation is known.
func (s *step) removePeer(p *peer) {
	s.dropAll(p)
	var delayed [][]byte
	s.env.Tx.Scan(record('d', p.key[:]), nil, func(k, _ []byte) bool {
		delayed = append(delayed, bytes.Clone(k))
		return true
	})
	for _, k := range delayed {
		s.env.Tx.Delete(k)
	}
	s.delayed -= p.delayed
	for _, kind := range []byte("puq") {
		s.env.Tx.Delete(record(kind, p.key[:]))
	}
	delete(s.peers, p.key)
	delete(s.peersW, p)
	s.order = slices.DeleteFunc(slices.Clone(s.order), func(q *peer) bool { return q == p })
}

func (g *Group) wakeEndings(w *wake) {
	w.add(g.main.graceEnd)
	if g.main.status == StatusJoining {
		w.add(g.main.expiry.Add(Grace))
	}
	for _, p := range g.peers {
		if p.ended() && len(p.conns) > 0 {
			w.add(p.endedAt.Add(Grace))
		}
		for _, c := range p.conns {
			w.add(c.until)
		}
	}
}
