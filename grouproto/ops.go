package grouproto

import (
	"errors"
	"slices"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// wantedOp is an operation that somebody named and that is not here.
type wantedOp struct {
	from  Key       // who named it last
	askAt time.Time // when it is asked for next
	tries int
}

const (
	mostWantedOps    = 1000
	mostWantedOfPeer = 100              // of these, operations that one member named
	mostOpTries      = 8                // of one operation, before it has to be named again
	opsPerAnswer     = 4 * MaxFrames    // bytes of operations that answer one G_WANT
	spreadWait       = 60 * time.Second // after which an own add goes to those whom no offer took it to
)

// addOps admits operations that a peer handed over and does what follows from them.
func (s *step) addOps(p *peer, ops []*oplog.Op) {
	var all oplog.Result
	for _, op := range ops {
		if s.log == nil {
			if op.ID() != s.id {
				continue
			}
			log, err := oplog.New(s.env.Tx, logPrefix, op, s.logOptions...)
			if errors.Is(err, oplog.ErrVersion) {
				s.warnUpgrade()
			}
			if err != nil {
				continue
			}
			s.log, s.main.hasLog = log, true
			continue
		}
		res := s.log.Add(s.env.Tx, op, p.key)
		for _, op := range res.Admitted {
			if op.Author == s.self && s.main.status == StatusMember {
				s.ownOperation(op)
			}
		}
		s.opLimits(p, op, res)
		all.Admitted = append(all.Admitted, res.Admitted...)
		all.Equivocations = append(all.Equivocations, res.Equivocations...)
		if s.log.Has(op.ID()) {
			s.learn(p, op.ID())
		}
		all.Unjudged = append(all.Unjudged, res.Unjudged...)
		for _, id := range res.Missing {
			s.wantOp(p, id, s.env.Now)
		}
	}
	if s.log == nil {
		return
	}
	if len(all.Admitted)+len(all.Unjudged) > 0 || s.st == nil {
		s.admitted(all, p.key)
	}
}

// admitted does what follows from operations that are new in the log.
func (s *step) admitted(res oplog.Result, from Key) {
	s.wide = true
	for _, op := range res.Admitted {
		delete(s.wantOps, op.ID())
		s.countSweep(op)
	}
	for _, op := range res.Unjudged {
		delete(s.wantOps, op.ID())
	}
	for _, e := range res.Equivocations {
		s.warn(WarnEquivocation, e.Author)
	}
	s.learnClaims()
	s.changed(res.Admitted)
	s.retryHeld()
}

// judgeKept decides about operations that an older version of the program could only keep; false if there are none.
func (s *step) judgeKept() bool {
	if s.log == nil || !s.log.Ripe() {
		return false
	}
	s.admitted(s.log.Judge(s.env.Tx), s.self)
	return true
}

// warnUpgrade says once that the group has operations that this program does not know.
func (s *step) warnUpgrade() {
	if !s.main.upgrade {
		s.main.upgrade = true
		s.warn(WarnUpgrade, Key{})
	}
}

// countSweep warns when one author removes more than max(2, n/4) members within an hour.
func (s *step) countSweep(op *oplog.Op) {
	a, ok := op.Action.(*oplog.Remove)
	if !ok || s.main.status == StatusJoining { // what it reads then is history
		return
	}
	now, count := s.env.Now, uint32(len(a.Members))
	s.main.sweeps = slices.DeleteFunc(s.main.sweeps, func(r removals) bool { return now.Sub(r.at) >= time.Hour })
	before, last := uint32(0), -1
	for i, r := range s.main.sweeps {
		if r.author == op.Author {
			before, last = before+r.count, i
		}
	}
	switch {
	case last >= 0 && now.Sub(s.main.sweeps[last].at) < time.Minute:
		s.main.sweeps[last].count += count
	case len(s.main.sweeps) < mostSweeps:
		s.main.sweeps = append(s.main.sweeps, removals{op.Author, now, count})
	}
	n := before // who was there before the first of them
	if s.st != nil {
		n += uint32(s.st.Len())
	}
	if most := max(2, n/4); before <= most && before+count > most && op.Author != s.self {
		s.warn(WarnSweep, op.Author)
	}
}

// mostSweeps is how many removals of the last hour are remembered; those of one author in a minute are one.
const mostSweeps = 512

// learn notes that a peer has an operation and thereby its past.
func (s *step) learn(p *peer, ids ...OpID) {
	if s.log == nil {
		return
	}
	for _, id := range ids {
		if !s.log.Has(id) || s.log.Includes(p.knows, id) {
			continue
		}
		p.knows = slices.DeleteFunc(p.knows, func(k OpID) bool { return s.log.InPast(k, id) })
		if p.knows = append(p.knows, id); len(p.knows) > mostPeerHeads {
			p.knows = p.knows[1:]
		}
		s.touch(p)
	}
}

// noteHeads takes the heads that a peer sent in any frame; unknown ones are asked for after a short while, in which they
// may come by themselves.
func (s *step) noteHeads(p *peer, heads []OpID) {
	if s.log == nil {
		return
	}
	s.learn(p, heads...)
	p.claims = s.log.Unknown(heads)
	for _, id := range p.claims {
		s.wantOp(p, id, s.env.Now.Add(rideTime))
	}
}

// learnClaims notes what members have who named operations before these came here. Else they would be sent the whole log.
func (s *step) learnClaims() {
	for _, p := range s.everybody() {
		if len(p.claims) > 0 {
			s.learn(p, p.claims...)
			p.claims = slices.DeleteFunc(p.claims, s.log.Has)
		}
	}
}

// wantOp notes that an operation should be asked for at a time, or earlier if that was noted before.
func (s *step) wantOp(p *peer, id OpID, at time.Time) {
	w := s.wantOps[id]
	if w == nil {
		if len(s.wantOps) >= mostWantedOps || s.wantedOf(p.key) >= mostWantedOfPeer {
			return
		}
		w = &wantedOp{askAt: at}
		s.wantOps[id] = w
	}
	w.from = p.key
	if w.tries == 0 && at.Before(w.askAt) {
		w.askAt = at
	}
}

// wantedOf is how many operations are wanted because of a member.
func (g *Group) wantedOf(k Key) (n int) {
	for _, w := range g.wantOps {
		if w.from == k {
			n++
		}
	}
	return n
}

// askForOps asks for operations that have been missing long enough: first whoever named them, then others.
func (s *step) askForOps() {
	if s.log == nil || !s.alive() {
		return
	}
	asks := map[*peer][]OpID{}
	for _, id := range sortedKeys(s.wantOps) {
		w := s.wantOps[id]
		if s.log.Has(id) {
			delete(s.wantOps, id)
			continue
		}
		if !s.due(w.askAt) {
			continue
		}
		p := s.peers[w.from]
		if w.tries > 0 || p == nil || p.sendable() == nil || p.asleep(s.env.Now) {
			p = s.randomReady(nil)
		}
		if p == nil || w.tries >= mostOpTries {
			delete(s.wantOps, id)
			continue
		}
		if len(asks[p]) < 255 {
			w.tries++
			w.askAt = s.env.Now.Add(askWait)
			asks[p] = append(asks[p], id)
		}
	}
	for _, p := range s.everybody() {
		if ids := asks[p]; len(ids) > 0 {
			s.post(p, &wantFrame{Ops: ids}, forSync, s.env.Now)
		}
	}
}

// spread sends an own operation, and what they lack of its past, to those who can be reached.
func (s *step) spread(id OpID, to audience) {
	for _, p := range s.everybody() {
		if p.sendable() != nil && (!p.ended() || to == toKnown) {
			s.postOps(p, s.log.Lacking([]OpID{id}, p.knows), 0, forOperations)
		}
	}
}

// spreadLate sends own adds to those who have not got them with an offer.
func (s *step) spreadLate() {
	if !s.due(s.main.spreadAt) {
		return
	}
	s.main.spreadAt = time.Time{}
	for _, p := range s.present() {
		if p.ready() != nil {
			s.postOps(p, s.lackedBy(p), 0, forOperations)
		}
	}
}

// lackedBy returns what a member lacks by its own word. Who says again and again that it lacks much gets all of it a few
// times an hour, and else the beginning, as long as that is not too much either.
func (s *step) lackedBy(p *peer) []*oplog.Op {
	ops := s.log.After(p.knows)
	size := 0
	for i, op := range ops {
		if size+op.Size() <= opsPerAnswer {
			size += op.Size()
			continue
		}
		if p.full(forOperations) || p.logs.take(s.env.Now, 1, mostLogs, mostLogs/3600.0) {
			return ops
		}
		s.hit(LimitQuestions)
		ops = ops[:i]
		break
	}
	if !s.mayGive(p, size) {
		return nil
	}
	return ops
}

// mayGive tells whether a member may have so many bytes of operations again, by its own word or because it asks for them.
func (s *step) mayGive(p *peer, size int) bool {
	most := float64(s.limits().CopiesHour)
	if size == 0 || p.given.take(s.env.Now, float64(size), most, most/3600) {
		return true
	}
	s.warnLimit(p, LimitCopies)
	return false
}

// postOps sends operations in as many frames as it takes.
func (s *step) postOps(p *peer, ops []*oplog.Op, flags uint8, why purpose) {
	if p.full(why) {
		return
	}
	for len(ops) > 0 {
		n, size := 0, 2+3+1+2
		for n < len(ops) && (n == 0 || size+ops[n].Size() <= MaxFrames) {
			size += ops[n].Size()
			n++
		}
		f := &opsFrame{Ops: ops[:n]}
		if n == len(ops) {
			f.Flags = flags
		}
		s.post(p, f, why, s.env.Now)
		for _, op := range ops[:n] {
			s.learn(p, op.ID())
		}
		ops = ops[n:]
	}
}

// giveOps answers a G_WANT for operations. Whoever asks for one lacks it, whatever we thought.
func (s *step) giveOps(p *peer, ids []OpID) {
	for _, id := range ids {
		p.knows = slices.DeleteFunc(p.knows, func(k OpID) bool { return k == id || s.log.InPast(id, k) })
	}
	ops := s.log.Lacking(ids, p.knows)
	size := 0
	for _, op := range ops {
		size += op.Size()
	}
	// A long past is given from its end: what is missing before it is asked for next.
	for len(ops) > 1 && size > opsPerAnswer {
		size -= ops[0].Size()
		ops = ops[1:]
	}
	if s.mayGive(p, size) {
		s.postOps(p, ops, opsLast, forOperations)
	}
}

func sortedKeys[V any](m map[OpID]V) []OpID {
	keys := make([]OpID, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, OpID.Compare)
	return keys
}
