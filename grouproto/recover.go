package grouproto

import (
	"slices"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

// Coming back from an old backup (docs/groups.md, "Recovery"). A member whose records are older than what it has said since
// would use numbers again. While it recovers it writes nothing: it asks others how far its own chain went, takes its own
// operations and messages back from them, and then begins a new run of numbers.

// Recovery says why a member recovers.
type Recovery uint8

// Reasons of a recovery.
const (
	RecoveryNone      Recovery = iota
	RecoveryAsked              // the client said so
	RecoveryMessage            // a member named an own message that is not here
	RecoveryOperation          // a member had an own operation that is not here
	RecoveryCheck              // a ratchet has parted: nothing is written until a member has told what it has
	RecoveryRatchets           // several have parted, and nobody told anything
	RecoveryStore              // whoever keeps the records has found that they are older than what was kept before
)

// String returns the reason's stable name; empty for RecoveryNone.
func (r Recovery) String() string {
	return [...]string{"", "asked", "message", "operation", "ratchet", "ratchets", "store"}[min(r, RecoveryStore)]
}

// recovering tells whether a recovery is under way that ends with a new run, and not just the question whether one is needed.
func (m *mainRecord) recovering() bool {
	return m.recovery != RecoveryNone && m.recovery != RecoveryCheck
}

const (
	runBits      = 20               // a run begins at seconds since 1970 × 2^20
	recoverPeers = 3                // members that are asked, or all if there are fewer
	recoverWait  = 60 * time.Second // after the first question; then what has come has to do, if anybody answered
	claimEvery   = 24 * time.Hour   // between two recoveries that rest on nothing but what members say
	claimAhead   = 24 * time.Hour   // by which the run of a number that somebody names may be ahead of the clock, or of the group's
	looksBurst   = 16               // numbers that one member names at once and that are looked for once more
	looksRate    = 1 / 21600.0      // and per second
	mostAnswers  = mostInvites      // answers to invitations that are kept until the end
)

// askedMember is a member that was asked for what it has.
type askedMember struct {
	member   Key
	answered bool
}

// writable tells why a command that writes cannot be done now; nil if it can.
func (g *Group) writable() error {
	if err := g.member(); err != nil {
		return err
	}
	if g.main.recovery != RecoveryNone {
		return ErrRecovering
	}
	return nil
}

// recoverCommand is GRECOVER.
func (s *step) recoverCommand(why Recovery) (Done, error) {
	if err := s.member(); err != nil {
		return Done{}, err
	}
	if why == RecoveryStore {
		s.recoverAnew()
	}
	s.beginRecovery(why)
	return Done{}, nil
}

// beginRecovery stops all writing until others have told how far the own chain and log went.
func (s *step) beginRecovery(why Recovery) {
	if s.main.recovering() || s.main.status != StatusMember {
		return
	}
	s.wide = true
	s.main.recovery, s.main.asked, s.main.askedUntil = why, nil, time.Time{}
	s.notice(Recovering{why})
	if why != RecoveryMessage {
		s.remakeRatchets()
	}
}

// recoverAnew forgets what the records say about a recovery, and about ratchets that were made again: they are old too.
func (s *step) recoverAnew() {
	s.main.recovery, s.doubts = RecoveryNone, nil
	for _, p := range s.present() {
		for _, c := range p.conns {
			c.rebound = rebound{}
		}
	}
}

// remakeRatchets makes the ratchets of all pairs again: old ones would encrypt with keys that were used before.
func (s *step) remakeRatchets() {
	for _, p := range s.present() {
		if c := p.ready(); c != nil && !s.env.Now.Before(c.rebound.begunAt.Add(mendWait)) {
			s.touch(p)
			s.resyncNeeded(p, c)
		}
	}
}

// claimed is what a member says about own messages that are not here. Nobody can prove it, so it makes a member recover
// once a day at most, and once where a ratchet has parted and this is the answer to the question whose; and what one member says and nobody else does costs no more than a new run: the ratchets stay. It
// tells whether the member recovers now.
func (s *step) claimed(via Key) bool {
	if s.main.status != StatusMember {
		return false
	}
	if !s.main.recovering() {
		if s.main.recovery != RecoveryCheck && s.env.Now.Before(s.main.claimAt.Add(claimEvery)) {
			return false
		}
		s.main.claimAt = s.env.Now
		s.beginRecovery(RecoveryMessage)
	}
	if s.doubt(via); s.main.recovery == RecoveryMessage && s.believed() {
		s.remakeRatchets()
	}
	return true
}

// doubt notes that a member has an own message that is not here, or another one.
func (s *step) doubt(via Key) {
	if s.doubts == nil {
		s.doubts = map[Key]bool{}
	}
	s.doubts[via] = true
}

// believed tells whether two members doubt, or the only one that is connected.
func (s *step) believed() bool {
	connected := 0
	for _, p := range s.present() {
		if p.ready() != nil {
			connected++
		}
	}
	return len(s.doubts) >= max(1, min(2, connected))
}

// plausible tells whether an own number can be one that was written after the backup: in the same run, or in one that
// began since. When the backup was made is not known, but no run began before the group.
func (s *step) plausible(n uint64) bool {
	if n < s.main.run+1<<runBits {
		return true
	}
	begun := time.Unix(s.log.At(0).Time, 0).Add(-claimAhead)
	return n >= runStart(begun) && n < runStart(s.env.Now.Add(claimAhead))
}

func runStart(t time.Time) uint64 { return uint64(max(t.Unix(), 0)) << runBits }

// ownNamed takes what somebody says about one of the own messages.
func (s *step) ownNamed(via Key, id MessageID) {
	n := id.Number
	if !s.plausible(n) || s.main.status != StatusMember {
		return
	}
	if held, ok := s.loadMessage(s.self, n); ok {
		if held.id.Hash != id.Hash && !held.vouched {
			s.tooEarly(s.peers[via], n)
		}
		switch {
		case held.id.Hash == id.Hash:
		case held.vouched:
			s.warn(WarnDisputed, via)
		case n >= s.main.run:
			// Written after the backup, and then again? One who lies, or keeps what a liar said, is not enough.
			if s.doubt(via); len(s.doubts) >= min(2, len(s.present())) {
				s.claimed(via)
			}
		}
		return
	}
	c := s.chain(s.self)
	if n >= s.main.next {
		if s.claimed(via) {
			c.know(n)
			s.gapSeen(s.self)
		}
		return
	}
	if why, _ := c.absentAt(n); why != 0 && s.looksAgain(via) {
		// Also what nobody had when it was asked for: this one may have got it since.
		c.lookFor(n)
	}
	if c.missing(n) {
		s.gapSeen(s.self)
	}
}

// ownWanted tells whether a question for an own message that is not here gets no answer, because it may be with others.
func (s *step) ownWanted(n uint64) bool {
	c := s.chains[s.self]
	if n < s.main.next || c != nil && n < c.top {
		return c != nil && c.missing(n)
	}
	return s.main.recovery != RecoveryNone
}

// ownOperation is an own operation that a member handed over and that was not here. It is signed, so there is no doubt,
// unless it is from before the last recovery.
func (s *step) ownOperation(op *oplog.Op) {
	if s.main.run == 0 || op.Time > int64(s.main.run>>runBits) {
		s.beginRecovery(RecoveryOperation)
	}
}

// recoverStep asks who has not been asked, and ends the recovery when enough have answered.
func (s *step) recoverStep() {
	if s.main.recovery == RecoveryNone || s.main.status != StatusMember {
		return
	}
	m := &s.main
	if m.recovery == RecoveryCheck {
		s.checkStep()
		return
	}
	if s.due(m.askedUntil) && m.answers() == 0 {
		// Nobody has answered: others are asked, or the same once more.
		m.asked, m.askedUntil = nil, time.Time{}
	}
	need := s.askWhatIsMissing()
	c := s.chains[s.self]
	complete := len(s.wantOps) == 0 && (c == nil || len(c.gaps) == 0) ||
		m.recovery == RecoveryMessage && len(s.doubts) > 0 && !s.believed() // what one made up nobody can give
	if need == 0 || m.answers() >= need && complete || m.answers() > 0 && s.due(m.askedUntil) {
		s.recovered()
	}
}

// askWhatIsMissing asks members for their lists until enough were asked, and tells how many that are.
func (s *step) askWhatIsMissing() (need int) {
	m := &s.main
	need = min(recoverPeers, len(s.present()))
	not := map[Key]bool{}
	for _, a := range m.asked {
		not[a.member] = true
	}
	for len(m.asked) < need {
		p := s.randomReady(not)
		if p == nil {
			break
		}
		if m.askedUntil.IsZero() {
			m.askedUntil = s.env.Now.Add(recoverWait)
		}
		not[p.key] = true
		m.asked = append(m.asked, askedMember{member: p.key})
		s.askForList(p)
	}
	return need
}

// answers is how many of those who were asked have answered.
func (m *mainRecord) answers() (n int) {
	for _, a := range m.asked {
		if a.answered {
			n++
		}
	}
	return n
}

func (g *Group) wakeRecovery(w *wake) {
	if g.main.recovery != RecoveryNone && g.main.status == StatusMember {
		w.add(g.main.askedUntil)
	}
}

// recoverAnswer notes that a member has told what it has: with a list, or by a digest that says that there is none or no
// other.
func (s *step) recoverAnswer(p *peer, f *syncFrame) {
	i := slices.IndexFunc(s.main.asked, func(a askedMember) bool { return a.member == p.key })
	if s.main.recovery == RecoveryNone || i < 0 || f.Flags&syncAsk != 0 {
		return
	}
	// A list that has nothing of this member counts only if it is whole, and not what its sender says about its own chain.
	whole := f.Digest == digest(f.List) || s.st.Len() > syncEntries && len(f.List) > 1 && len(f.List) < syncEntries
	for _, id := range f.List {
		whole = whole || id.Author == s.self
	}
	if len(f.List) > 0 && whole || len(f.List) == 0 && (f.Digest == digest(nil) || f.Digest == s.digest()) {
		s.main.asked[i].answered = true
	}
}

// cameBack tells everybody of an own message that comes back after the recovery: they were told that it never existed.
func (s *step) cameBack(id MessageID) {
	if s.main.recovery != RecoveryNone || id.Number >= s.main.run {
		return
	}
	for _, p := range s.present() {
		f := s.newSync(syncGiven)
		f.List = []MessageID{id}
		s.post(p, f, forSync, s.env.Now.Add(rideTime))
	}
}

// recovered begins a new run. What was not handed out before the backup is pulled by those who lack it.
func (s *step) recovered() {
	m, c := &s.main, s.chain(s.self)
	run := runStart(s.env.Now)
	if most := max(c.top, m.next); most > run {
		run = (most>>runBits + 1) << runBits
	}
	if c.top < run {
		never := Range{c.top, run - 1}
		c.settle(never)
		c.noteAbsent(never, noneNotExisted)
	}
	m.run, m.next, m.prev = run, run, [32]byte{}
	s.doubts = nil
	for _, p := range s.everybody() {
		s.touch(p)
		p.next, p.sent, p.window = run, run, nil
		if !p.ended() {
			s.postOwnFront(p)
		}
	}
	s.writeAgain()
}

// writeAgain ends a recovery, or the question whether one is needed.
func (s *step) writeAgain() {
	s.main.recovery, s.main.asked, s.main.askedUntil, s.checked = RecoveryNone, nil, time.Time{}, true
	s.notice(Recovered{})
	s.takeAnswers()
	s.publishLink()
}

// keepAnswer keeps an answer to an invitation, which would make this member write an operation.
func (s *step) keepAnswer(in ContactFrame) {
	kept := 0
	s.env.Tx.Scan(record('r'), nil, func(_, _ []byte) bool { kept++; return true })
	if kept < mostAnswers {
		s.main.serial++
		s.env.Tx.Put(numberKey('r', s.main.serial), append(wire.AppendStr16(nil, []byte(in.Contact)), in.Frame...))
	}
}

func (s *step) takeAnswers() {
	var keys [][]byte
	var frames []ContactFrame
	s.env.Tx.Scan(record('r'), nil, func(k, v []byte) bool {
		r := wire.NewReader(v)
		contact := string(r.Str16())
		keys, frames = append(keys, k), append(frames, ContactFrame{contact, v[len(v)-r.Len():]})
		return true
	})
	for i, f := range frames {
		s.env.Tx.Delete(keys[i])
		s.contactFrame(f)
	}
}
