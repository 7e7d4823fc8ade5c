package grouproto

import (
	"slices"
	"time"
)

// oddDigest is a digest of a peer that differs from the own one.
type oddDigest struct {
	digest [32]byte
	at     time.Time // when it is looked at again
}

const (
	syncMembers = 3   // members that get a G_SYNC after a reconnection
	mostOdd     = 128 // peers whose odd digests are remembered
)

// newSync is what G_SYNC says now, without the list.
func (s *step) newSync(flags uint8) *syncFrame {
	return &syncFrame{Heads: s.log.AllHeads(), Digest: s.digest(), Flags: flags}
}

// postFront sends the whole list, in as many frames as it takes. It ends with the newest message of who gets it: whoever
// has lost its own ones hears of them also where something before is missing.
func (s *step) postFront(p *peer, flags uint8) {
	front := s.presentFront()
	if n, ok := s.newestOf(p.key); ok && !slices.Contains(front, n) {
		front = append(front, n)
	}
	for first := true; first || len(front) > 0; first = false {
		f := s.newSync(0)
		n := min(len(front), syncEntries)
		f.List, front = front[:n], front[n:]
		f.Flags = s.givenFlag(f.List)
		if len(front) == 0 {
			f.Flags |= flags
		}
		s.post(p, f, forSync, s.env.Now)
	}
}

// newestOf returns the newest message of an author that is held.
func (s *step) newestOf(author Key) (id MessageID, ok bool) {
	if held := s.newest(author); held != nil {
		return held.id, true
	}
	return id, false
}

func (s *step) newest(author Key) *kept {
	c := s.chains[author]
	if c == nil {
		return nil
	}
	n, ok := c.newest()
	if !ok {
		return nil
	}
	held, _ := s.loadMessage(author, n)
	return held
}

// unconfirmed tells whether the newest message of an author that is held is a copy that others vouch for.
func (s *step) unconfirmed(author Key) bool {
	held := s.newest(author)
	return held != nil && held.vouched
}

// givenFlag is the flag of a list whose entry about the own messages is not the own word: after the store was lost others
// have given them, and nobody can tell whether they are right.
func (s *step) givenFlag(list []MessageID) uint8 {
	i := slices.IndexFunc(list, func(id MessageID) bool { return id.Author == s.self })
	if i < 0 || s.ownWord(list[i]) {
		return 0
	}
	return syncGiven
}

// ownWord tells whether an own message is what this member wrote, and not what others have given it.
func (s *step) ownWord(id MessageID) bool {
	if held, ok := s.loadMessage(s.self, id.Number); ok {
		return held.id == id && !held.vouched
	}
	return id.Number+1 == s.main.next && id.Hash == s.main.prev
}

// askForList sends the whole list and asks for the other one.
func (s *step) askForList(p *peer) {
	p.listAsked = true
	s.postFront(p, syncAsk)
}

// postOwnFront tells a member how far the own chain goes; it pulls what it lacks.
func (s *step) postOwnFront(p *peer) {
	f := s.newSync(0)
	if s.main.prev != ([32]byte{}) {
		f.List = []MessageID{{s.self, s.main.next - 1, s.main.prev}}
	} else {
		f.List = s.front(func(k Key) bool { return k == s.self })
		f.Flags = s.givenFlag(f.List)
	}
	s.post(p, f, forSync, s.env.Now)
}

// syncCame takes G_SYNC: unknown heads and messages are asked for, operations that the peer lacks are sent.
func (s *step) syncCame(p *peer, f *syncFrame) {
	if s.main.status == StatusJoining {
		if p.key == s.main.inviter {
			s.snapshot(f.List)
		}
		return
	}
	if j := s.joiners[p.key]; len(f.Heads) == 0 && j != nil && !j.gotLog {
		s.logWanted(p, j)
		return
	}
	if len(f.Heads) > 0 && len(s.log.Unknown(f.Heads)) == 0 {
		p.knows = nil // it says exactly what it has
	}
	s.noteHeads(p, f.Heads)
	s.joinerHeard(p.key)
	if !s.mayAsk(p) {
		return
	}
	if p.ended() || s.main.status != StatusMember {
		p.goneTold = true
		s.postOps(p, s.lackedBy(p), 0, forOperations)
		return
	}
	s.postOps(p, s.lackedBy(p), 0, forOperations)
	var word []MessageID
	for _, id := range f.List {
		s.named(p, id, f.Flags&syncGiven != 0)
		if held, ok := s.loadMessage(s.self, id.Number); ok && id.Author == s.self && held.id.Hash != id.Hash && !held.vouched {
			word = append(word, held.id) // somebody gave it a false copy
		}
	}
	if len(word) > 0 {
		own := s.newSync(0)
		own.List = word
		s.post(p, own, forSync, s.env.Now)
	}
	s.recoverAnswer(p, f)
	switch {
	case f.Flags&syncAsk != 0:
		s.postFront(p, 0)
	case len(f.List) > 0:
		p.listAsked = false
	case p.listAsked:
		p.listAsked = false // an answer that says that there is nothing, not another comparison
	default:
		s.noteDigest(p, f.Digest)
	}
}

// named takes an entry of a peer's list; given: what it says of itself is not its word.
func (s *step) named(p *peer, id MessageID, given bool) {
	if id.Author == s.self {
		s.ownNamed(p.key, id)
		return
	}
	if !s.mayExist(id) {
		return
	}
	if id.Author == p.key && !given {
		s.fix(id.Author, id.Number, id.Hash)
		return
	}
	if held, ok := s.loadMessage(id.Author, id.Number); ok {
		if held.id.Hash != id.Hash {
			s.warn(WarnDisputed, p.key)
		}
		return
	}
	c := s.chain(id.Author)
	c.know(id.Number)
	if why, _ := c.absentAt(id.Number); (why == noneNotExisted || why == noneNotKept || why == saidNotKept) && s.looksAgain(p.key) {
		c.lookFor(id.Number) // its author had lost it, or nobody kept it who was asked
	}
	c.claim = id
	if c.takeClaim(); c.missing(id.Number) {
		s.gapSeen(id.Author)
	}
}

// noteDigest compares a peer's digest with the own one; if they still differ after a while, lists are exchanged. It tells
// whether they are equal.
func (s *step) noteDigest(p *peer, d [32]byte) bool {
	if d == s.digest() {
		delete(s.odd, p.key)
		if s.unconfirmed(p.key) {
			// Its newest message is what it wrote, but it has not said so, nor what is before that.
			s.odd[p.key] = oddDigest{at: s.env.Now.Add(gapWait)}
		}
		return true
	}
	if _, ok := s.odd[p.key]; ok || len(s.odd) < mostOdd {
		s.odd[p.key] = oddDigest{d, s.env.Now.Add(gapWait)}
	}
	return false
}

// syncTimers sends the G_SYNCs that are due: the regular one, those after a reconnection, those for odd digests.
func (s *step) syncTimers() {
	if s.main.status != StatusMember {
		return
	}
	m := &s.main
	if s.due(m.nextSync) {
		m.nextSync = s.env.Now.Add(syncEvery)
		s.syncRandom(1)
		s.prune(max(MaxKeptMessages, s.limits().KeptMessages))
		s.takeHeld(func(o *offer) bool { return s.due(unix(o.Expiry)) })
	}
	if s.due(m.syncAt) {
		m.syncAt = time.Time{}
		s.syncRandom(syncMembers)
	}
	if len(s.odd) == 0 {
		return
	}
	own := s.digest()
	for _, p := range s.everybody() {
		o, ok := s.odd[p.key]
		if !ok || !s.due(o.at) {
			continue
		}
		if o.digest == own || p.ended() || p.ready() == nil {
			delete(s.odd, p.key)
			continue
		}
		if wait := m.lastSync.Add(t1); wait.After(s.env.Now) {
			s.odd[p.key] = oddDigest{o.digest, wait}
			continue
		}
		m.lastSync = s.env.Now
		delete(s.odd, p.key)
		s.askForList(p)
	}
}

// syncRandom sends G_SYNC to n random connected members.
func (s *step) syncRandom(n int) {
	s.main.lastSync = s.env.Now
	not := map[Key]bool{}
	for range n {
		p := s.randomReady(not)
		if p == nil {
			return
		}
		not[p.key] = true
		s.post(p, s.newSync(0), forSync, s.env.Now)
	}
}

// syncWhileWaiting keeps reading the whole group from one member while pairs wait, at most once per T1.
func (s *step) syncWhileWaiting() {
	if s.main.status == StatusMember && !s.env.Now.Before(s.main.lastSync.Add(t1)) {
		s.syncRandom(1)
	}
}

// reconnected is when a relay is reachable again: what was missed is asked for, at most once per T1.
func (s *step) reconnected() {
	if s.main.status != StatusMember || !s.main.syncAt.IsZero() {
		return
	}
	s.main.syncAt = s.env.Now.Add(rideTime)
	if t := s.main.lastSync.Add(t1); t.After(s.main.syncAt) {
		s.main.syncAt = t
	}
}

func (g *Group) wakeSync(w *wake) {
	if g.main.status != StatusMember {
		return
	}
	w.add(g.main.nextSync)
	w.add(g.main.syncAt)
	for _, o := range g.odd {
		w.add(o.at)
	}
}

// tellCaughtUp tells the client when nothing is known to be missing after something was.
func (s *step) tellCaughtUp() {
	if s.log == nil || s.main.status != StatusMember {
		return
	}
	s.countGaps()
	behind := len(s.waiting) > 0 || len(s.wantOps) > 0 || s.delayed > 0 || s.gappy > 0
	if s.behind && !behind {
		s.notice(CaughtUp{})
	}
	s.behind = behind
}
