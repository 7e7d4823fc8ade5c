package grouproto

import (
	"slices"
	"strconv"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

// joiner is what an inviter remembers of a member that it brings in.
type joiner struct {
	member  Key
	gotLog  bool        // it named heads, so it has the log
	done    bool        // G_DONE was sent
	count   uint32      // offers forwarded
	waiting int         // as last told to the client; -1: nothing told
	front   []MessageID // newest messages before its add: not for it
	left    []Key       // members connected to us whose offers have not been forwarded
	others  []conEntry  // what it reported about everybody; State conUnknown: nothing yet
}

const conUnknown uint8 = 255

func (s *step) newJoiner(k Key, front []MessageID) {
	j := &joiner{member: k, front: front, waiting: -1}
	for _, p := range s.present() {
		if p.key == k {
			continue
		}
		j.others = append(j.others, conEntry{Member: p.key, State: conUnknown})
		if p.ready() != nil {
			j.left = append(j.left, p.key)
		}
	}
	s.joiners[k] = j
	s.putJoiner(j)
}

func (s *step) putJoiner(j *joiner) {
	b := appendFlag(appendFlag([]byte{recordVersion}, j.gotLog), j.done)
	b = wire.AppendI64(wire.AppendU32(b, j.count), int64(j.waiting))
	b = wire.AppendU16(b, uint16(len(j.front)))
	for _, id := range j.front {
		b = appendMessageID(b, id)
	}
	b = wire.AppendU16(b, uint16(len(j.left)))
	for _, k := range j.left {
		b = append(b, k[:]...)
	}
	b = wire.AppendU16(b, uint16(len(j.others)))
	for _, e := range j.others {
		b = append(append(b, e.Member[:]...), e.State, e.Reason)
	}
	s.env.Tx.Put(record('j', j.member[:]), b)
}

func (g *Group) loadJoiner(k, v []byte) error {
	r := wire.NewReader(v)
	if len(k) != 32 || r.U8() != recordVersion {
		return ErrRecords
	}
	j := &joiner{member: Key(k), gotLog: readFlag(r), done: readFlag(r), count: r.U32(), waiting: int(r.I64())}
	for n := r.U16(); n > 0 && r.Err() == nil; n-- {
		j.front = append(j.front, readMessageID(r))
	}
	for n := r.U16(); n > 0 && r.Err() == nil; n-- {
		j.left = append(j.left, readKey(r))
	}
	for n := r.U16(); n > 0 && r.Err() == nil; n-- {
		j.others = append(j.others, conEntry{readKey(r), r.U8(), r.U8()})
	}
	if r.Done() != nil {
		return ErrRecords
	}
	g.joiners[j.member] = j
	return nil
}

func (s *step) dropJoiner(j *joiner) {
	delete(s.joiners, j.member)
	s.env.Tx.Delete(record('j', j.member[:]))
}

// sendLog sends the log, which messages are older than the add, and who is connected: all that is needed to begin.
func (s *step) sendLog(p *peer, j *joiner) {
	for front := j.front; len(front) > 0; {
		n := min(len(front), syncEntries)
		f := s.newSync(s.givenFlag(front[:n]))
		f.List = front[:n]
		s.post(p, f, forLog, s.env.Now)
		front = front[n:]
	}
	s.postOps(p, s.log.After(nil), opsLast, forLog)
	var all []memEntry
	for _, e := range j.others {
		level := levelNot
		if slices.Contains(j.left, e.Member) {
			level = levelConnected
		}
		all = append(all, memEntry{e.Member, level})
	}
	const perFrame = (MaxFrames - 16) / 33
	for first := true; first || len(all) > 0; first = false {
		n := min(len(all), perFrame)
		f := &memFrame{Members: all[:n]}
		if all = all[n:]; len(all) == 0 {
			f.Flags = memLast
		}
		s.post(p, f, forLog, s.env.Now)
	}
}

// logWanted sends the log again to a new member that says it has none: some of it was lost.
func (s *step) logWanted(p *peer, j *joiner) {
	switch {
	case !s.mayAsk(p) || s.main.status != StatusMember || p.ended():
	case p.logs.take(s.env.Now, 1, mostLogs, mostLogs/3600.0):
		s.sendLog(p, j)
	default:
		s.hit(LimitQuestions)
	}
}

// mostLogs is how many times an hour a new member gets the log because it asks for it, and any other a long part of it
// because it says that it lacks that.
const mostLogs = 4

// askForLog asks the inviter for the log if it does not come (G_SYNC without heads), T1 after the connection was ready or
// something of it came, and again after twice the time.
func (s *step) askForLog() {
	switch {
	case !s.lacksLog():
		s.logAt, s.logWait = time.Time{}, 0
	case s.logAt.IsZero():
		s.logWait = max(t1, s.logWait)
		s.logAt = s.env.Now.Add(s.logWait)
	case s.due(s.logAt):
		s.post(s.peers[s.main.inviter], &syncFrame{}, forSync, s.env.Now)
		s.logWait = min(2*s.logWait, t1Most)
		s.logAt = s.env.Now.Add(s.logWait)
	}
}

// lacksLog tells whether the log is all that is missing to become a member.
func (g *Group) lacksLog() bool {
	p := g.peers[g.main.inviter]
	return g.main.status == StatusJoining && p != nil && p.ready() != nil
}

func (g *Group) wakeLog(w *wake) {
	switch {
	case !g.lacksLog():
	case g.logAt.IsZero():
		w.add(justLoaded)
	default:
		w.add(g.logAt)
	}
}

// joinerForwarded notes that an offer of a new member was passed on; after the last one it is told (G_DONE).
func (s *step) joinerForwarded(j *joiner, to Key) {
	if i := slices.Index(j.left, to); i >= 0 {
		j.left = slices.Delete(j.left, i, i+1)
		j.count++
		s.joinerDone(j)
		s.putJoiner(j)
	}
}

func (s *step) joinerDone(j *joiner) {
	p := s.peers[j.member]
	if j.done || len(j.left) > 0 || j.count == 0 || p == nil || p.ready() == nil {
		return
	}
	j.done = true
	s.post(p, &doneFrame{Forwarded: j.count}, forReports, s.env.Now.Add(rideTime))
}

// joinerLost notes that a member is not present any more.
func (s *step) joinerLost(j *joiner, k Key) {
	if j.member == k {
		s.dropJoiner(j)
		return
	}
	j.left = slices.DeleteFunc(j.left, func(l Key) bool { return l == k })
	j.others = slices.DeleteFunc(j.others, func(e conEntry) bool { return e.Member == k })
	s.joinerDone(j)
	s.putJoiner(j)
	s.joinerProgress(j)
}

// joinerHeard notes that a new member has the log.
func (s *step) joinerHeard(k Key) {
	if j := s.joiners[k]; j != nil && !j.gotLog {
		s.wide = true
		j.gotLog, j.front = true, nil
		s.putJoiner(j)
		s.joinerProgress(j)
	}
}

// report takes what a new member says about its pairs (G_CON).
func (s *step) report(p *peer, f *conFrame) {
	j := s.joiners[p.key]
	if j == nil {
		return
	}
	for _, e := range f.Pairs {
		for i := range j.others {
			if j.others[i].Member == e.Member {
				j.others[i] = e
			}
		}
	}
	s.putJoiner(j)
	s.joinerProgress(j)
}

// joinerProgress tells the client when the new member has reported about everybody (GALL), and forgets it when all are
// connected and it has the log.
func (s *step) joinerProgress(j *joiner) {
	p := s.peers[j.member]
	if s.joiners[j.member] != j || p == nil || !p.connected {
		return
	}
	waiting := 0
	for _, e := range j.others {
		switch e.State {
		case conUnknown:
			return
		case conConnected:
		default:
			waiting++
		}
	}
	if waiting != j.waiting {
		j.waiting = waiting
		s.putJoiner(j)
		s.notice(MemberConnected{Member: j.member, Waiting: waiting})
	}
	if waiting == 0 && j.gotLog {
		s.dropJoiner(j)
	}
}

// membersTold takes G_MEM: whom the inviter can reach.
func (s *step) membersTold(p *peer, f *memFrame) {
	if p.key != s.main.inviter || s.main.joinDone {
		return
	}
	for _, e := range f.Members {
		if q := s.peers[e.Member]; q != nil && q.level != e.Level {
			q.level = e.Level
			s.touch(q)
		}
	}
}

// doneTold takes G_DONE.
func (s *step) doneTold(p *peer) {
	if p.key != s.main.inviter {
		return
	}
	waiting := 0
	for _, q := range s.present() {
		if q.ready() == nil {
			waiting++
		}
	}
	s.doneHeard = true
	s.notice(OffersForwarded{Waiting: waiting})
}

// mostAuthors is how many authors an inviter can name before the log is here.
const mostAuthors = 4 * oplog.MaxMembers

// snapshot takes the inviter's list of messages that are older than the add (G_SYNC while joining).
func (s *step) snapshot(list []MessageID) {
	for _, id := range list {
		if s.chains[id.Author] == nil && len(s.chains) >= mostAuthors {
			return
		}
		if c := s.chain(id.Author); c.top == 0 && id.Number < ^uint64(0) {
			c.hint = id
		}
	}
}

// openHistory decides about the messages that are older than the add: the setting `history` says how many of each author
// are for us; these are gaps that will be asked for.
func (s *step) openHistory() {
	value, _, _ := s.st.Setting("history")
	for _, c := range s.chains {
		if !s.everMember(c.author) {
			s.dropChain(c) // the inviter made somebody up
			continue
		}
		if c.top > 0 || c.hint.Author == (Key{}) {
			continue
		}
		s.chain(c.author)
		n := c.hint.Number
		if older := n + 1 - min(n+1, historyOf(value)); older > 0 {
			c.settle(Range{0, older - 1})
			c.noteAbsent(Range{0, older - 1}, noneNotForYou)
		}
		c.know(n)
		if gone, ok := s.st.Removed(c.author); ok {
			c.giveUp(Range{gone.Cut, ^uint64(0)}, noneNotKept)
		}
		s.progress(c.author)
	}
}

// historyOf reads the setting `history`: how many older messages of each author a new member may have.
func historyOf(value []byte) uint64 {
	if string(value) == "all" {
		return ^uint64(0)
	}
	n, err := strconv.ParseUint(string(value), 10, 32)
	if err != nil {
		return 0
	}
	return n
}

// pairReport is what a new member reports about a pair.
func pairReport(p *peer) (e conEntry, ok bool) {
	e = conEntry{Member: p.key}
	switch {
	case p.ready() != nil:
		return e, true
	case p.reason == ReasonNone || p.reason == ReasonInviter || p.reason == ReasonNoRoute:
		return e, false // still on its way
	default:
		e.State, e.Reason = conWaiting, byte(p.reason)
		return e, true
	}
}

// reportPairs tells the inviter how the own pairs get on (G_CON): after 2 s, then at doubling intervals, until all that
// were there at the join are connected. T1 after the last report everything is said once more, because one may have been lost.
func (s *step) reportPairs() {
	m := &s.main
	inviter := s.peers[m.inviter]
	if m.joinDone || m.status != StatusMember || inviter == nil {
		return
	}
	var all, changes []conEntry
	complete := true
	for _, p := range s.present() {
		if p == inviter || !s.initiates(p) {
			continue
		}
		e, ok := pairReport(p)
		complete = complete && ok && e.State == conConnected
		if ok {
			all = append(all, e)
		}
		if ok && p.reported != 1+e.State {
			changes = append(changes, e)
		}
	}
	if len(changes) == 0 {
		m.conAt = time.Time{}
	}
	switch {
	case len(changes) > 0 && m.conAt.IsZero():
		m.conAt = s.env.Now.Add(m.conWait)
	case len(changes) > 0:
		if s.due(m.conAt) && inviter.ready() != nil {
			s.reportThese(inviter, changes)
		}
	case len(all) == 0:
		s.conAgain, m.joinDone = time.Time{}, complete && inviter.ready() != nil
	case s.conAgain.IsZero():
		s.conAgain = s.env.Now.Add(t1)
	case !s.conSaid && s.due(s.conAgain) && inviter.ready() != nil:
		s.reportThese(inviter, all)
		s.conSaid = true
		fallthrough
	case s.conSaid && complete && inviter.ready() != nil:
		m.joinDone = complete
		if complete && !s.doneHeard {
			s.notice(OffersForwarded{}) // G_DONE was lost, or others have passed the offers on
		}
	}
}

// pairsPerReport is how many pairs fit in one G_CON.
const pairsPerReport = (MaxFrames - 16) / 34

// reportThese sends a report.
func (s *step) reportThese(inviter *peer, pairs []conEntry) {
	for part := range slices.Chunk(pairs, pairsPerReport) {
		s.post(inviter, &conFrame{Pairs: part}, forReports, s.env.Now)
	}
	for _, e := range pairs {
		s.peers[e.Member].reported = 1 + e.State
		s.touch(s.peers[e.Member])
	}
	m := &s.main
	m.conAt, m.conWait = time.Time{}, min(2*m.conWait, t1Most)
	s.conAgain, s.conSaid = s.env.Now.Add(t1), false
}

func (g *Group) wakeReports(w *wake) {
	if q := g.peers[g.main.inviter]; q != nil && q.ready() != nil && !g.main.joinDone && g.main.status == StatusMember {
		w.add(g.main.conAt)
		if !g.conSaid && g.main.conAt.IsZero() {
			w.add(g.conAgain)
		}
	}
}
