package grouproto

import (
	"slices"
	"strings"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// A member that nobody introduces is known to nobody: only its inviter has its add. Any member that holds an address can
// take the inviter's place (docs/groups.md, "Knocking").

const (
	knockFirst  = 3 * t1         // how long offers and G_NEED have had no effect before the first knock
	knockMost   = 4 * time.Hour  // the wait doubles from one knock to the next, up to this
	silentGroup = 24 * time.Hour // of several connected members none was heard of: longer than every G_SYNC takes
)

// knockable tells whether a member can be knocked at: it published an address, there is no way to it and no door.
func (g *Group) knockable(p *peer) bool {
	if p.ended() || p.ready() != nil || g.publishedBy(p.key) == nil {
		return false
	}
	for _, d := range g.doors {
		if (d.kind == doorKnock || d.kind == doorMember) && d.member == p.key {
			return false
		}
	}
	return true
}

// addresses returns the members that can be knocked at, in the order of the settings' names.
func (g *Group) addresses() (at []*peer) {
	for _, name := range g.st.Settings() {
		if text, ok := strings.CutPrefix(name, settingAddress); ok {
			k, err := oplog.ParseKey(text)
			if p := g.peers[k]; err == nil && p != nil && g.knockable(p) {
				at = append(at, p)
			}
		}
	}
	return at
}

// knockDue tells when to knock next; the zero time: never. Somebody to knock at is all it takes, unless a connected member
// was heard of lately: it passes offers on.
func (g *Group) knockDue() time.Time {
	if g.main.status != StatusMember || g.link.knockAt.IsZero() || g.doorsOf(doorKnock) >= MaxKnocks ||
		len(g.addresses()) == 0 {
		return time.Time{}
	}
	at, connected := g.link.knockAt, 0
	var heard time.Time
	for _, p := range g.present() {
		if p.ready() != nil {
			connected++
			if p.lastHeard.After(heard) {
				heard = p.lastHeard
			}
		}
	}
	quiet := knockFirst
	if connected > 1 {
		quiet = silentGroup
	}
	if quietAt := heard.Add(quiet); connected > 0 && quietAt.After(at) {
		return quietAt
	}
	return at
}

// knockTimers knocks when it is time, at one address after the other, in random order.
func (s *step) knockTimers() {
	if s.main.status != StatusMember {
		return
	}
	waiting := slices.ContainsFunc(s.order, func(p *peer) bool { return !p.ended() && p.ready() == nil })
	switch {
	case !waiting:
		if !s.link.knockAt.IsZero() {
			s.link.knockAt, s.link.knockWait = time.Time{}, 0
			s.putLink()
		}
		return
	case s.link.knockAt.IsZero():
		s.link.knockAt = s.env.Now.Add(knockFirst)
		s.putLink()
		return
	case !s.due(s.knockDue()):
		return
	}
	s.link.knockWait = min(max(knockFirst, 2*s.link.knockWait), knockMost)
	s.link.knockAt = s.env.Now.Add(s.link.knockWait)
	s.putLink()
	at := s.addresses()
	s.knock(at[s.below(len(at))])
}

// knock asks the holder of an address for a door, showing the own add.
func (s *step) knock(p *peer) {
	if !s.knockable(p) || s.doorsOf(doorKnock) >= MaxKnocks {
		return
	}
	id := s.id
	if self, _ := s.st.Member(s.self); s.self != s.log.Creator() {
		id = self.Added
	}
	f := &knockFrame{Group: s.id, Holder: p.key, Member: s.self, Heads: s.log.AllHeads(), Op: s.log.Op(id)}
	f.sign(s.key)
	s.openDoor(&door{kind: doorKnock, member: p.key, address: s.publishedBy(p.key)}, f)
	s.notice(Knocking{p.key})
}

// knocked is somebody who knocks at the own address. A member, or one whose add was written by somebody known, is let
// in; one that was removed is shown what removed it. Of all others nothing is kept.
func (s *step) knocked(name string, f *knockFrame) {
	if !s.knockGood(f) || !s.knocks.take(s.env.Now, 1, MaxRequestsHour, MaxRequestsHour/3600.0) {
		s.refuseDoor(name)
		return
	}
	if gone, ok := s.st.Removed(f.Member); ok {
		if !s.mayAccept(doorAnswer) {
			s.refuseDoor(name)
			return
		}
		d := &door{kind: doorAnswer, member: f.Member, request: name}
		s.acceptDoor(d)
		s.sendOpsOver(d, s.log.Lacking(gone.Ops, s.known(f.Heads)))
		return
	}
	for _, d := range s.sortedDoors() {
		if d.kind == doorMember && d.member == f.Member {
			s.closeDoor(d) // it would not knock again if that one were of use
		}
	}
	if !s.mayAccept(doorMember) {
		s.refuseDoor(name)
		return
	}
	d := &door{kind: doorMember, member: f.Member, request: name, heads: f.Heads}
	s.acceptDoor(d)
	s.opsAtDoor(d, []*oplog.Op{f.Op})
	s.sendDoor(d, s.newSync(0))
	s.catchUp(d)
}

// knockGood checks what a knocker shows, before anything is done for it.
func (s *step) knockGood(f *knockFrame) bool {
	if f.Group != s.id || s.main.status != StatusMember || f.Holder != s.self || f.Member == s.self {
		return false
	}
	_, left := s.st.Left(f.Member)
	add, ok := f.Op.Action.(*oplog.Add)
	switch {
	case left:
		return false
	case f.Op.ID() == s.id:
		return f.Member == s.log.Creator() && f.verify()
	case !ok || add.Member != f.Member || f.Op.Group != s.id || !s.knows(f.Op.Author):
		return false
	}
	return f.Op.Verify() == nil && f.verify()
}

// knows tells whether a key is that of a member, oneself included, or of somebody who was one.
func (s *step) knows(k Key) bool { return k == s.self || k == s.log.Creator() || s.everMember(k) }

// known returns those of some heads that are in the log.
func (s *step) known(heads []OpID) []OpID {
	return slices.DeleteFunc(slices.Clone(heads), func(id OpID) bool { return !s.log.Has(id) })
}

// opsAtDoor admits operations that came over a door.
func (s *step) opsAtDoor(d *door, ops []*oplog.Op) {
	if p := s.peers[d.member]; p != nil {
		s.addOps(p, ops)
		return
	}
	// Its add may be among them.
	var all oplog.Result
	for _, op := range ops {
		res := s.log.Add(s.env.Tx, op, d.member)
		all.Admitted = append(all.Admitted, res.Admitted...)
		all.Unjudged = append(all.Unjudged, res.Unjudged...)
		all.Equivocations = append(all.Equivocations, res.Equivocations...)
	}
	if len(all.Admitted)+len(all.Unjudged) > 0 {
		s.admitted(all, d.member)
	}
}

// catchUp sends a knocker what it lacks, once its add has turned out to make it a member.
func (s *step) catchUp(d *door) {
	p := s.peers[d.member]
	if d.synced || p == nil || p.ended() || s.main.status != StatusMember {
		return
	}
	s.sendLacking(d, p, d.heads)
}

// sendLacking sends over a door what somebody with these heads lacks, and begins the pair.
func (s *step) sendLacking(d *door, p *peer, heads []OpID) {
	p.knows = nil
	s.noteHeads(p, heads)
	s.touch(p)
	ops := s.lackedBy(p)
	s.sendOpsOver(d, ops)
	for _, op := range ops {
		s.learn(p, op.ID())
	}
	d.synced, d.heads = true, nil
	s.putDoor(d)
}

// sendOpsOver sends operations over a door, in as many frames as it takes.
func (s *step) sendOpsOver(d *door, ops []*oplog.Op) {
	for len(ops) > 0 {
		n, size := 0, 3+1+2
		for n < len(ops) && (n == 0 || size+ops[n].Size() <= MaxFrames) {
			size += ops[n].Size()
			n++
		}
		s.sendDoor(d, &opsFrame{Ops: ops[:n]})
		ops = ops[n:]
	}
}

// memberAtDoor takes a frame of a door between two members. What it does not take is for the caller to count.
func (s *step) memberAtDoor(d *door, f frame) bool {
	if s.main.status != StatusMember {
		return false
	}
	p := s.peers[d.member]
	if p != nil && !p.ended() {
		s.touch(p)
		p.lastHeard = s.env.Now
	}
	switch f := f.(type) {
	case *opsFrame:
		s.opsAtDoor(d, f.Ops)
		if d.kind == doorMember {
			s.catchUp(d)
		}
	case *syncFrame:
		if d.kind != doorKnock || d.synced || p == nil || p.ended() {
			return false
		}
		s.sendLacking(d, p, f.Heads)
		s.startPair(d, p)
	case *invMemFrame:
		if p == nil || p.ended() {
			return false
		}
		for _, o := range f.Offers {
			if o.Initiator == d.member && o.Responder == s.self {
				s.offered(&o, p)
			}
		}
	case *needFrame:
		if p == nil || f.Initiator != s.self || f.Responder != d.member || f.Hops != 0 {
			return false
		}
		s.needed(p, f)
		s.startPair(d, p)
	default:
		return false
	}
	return true
}

// knockRefused is G_REJ at a door that was opened by knocking.
func (s *step) knockRefused(d *door) bool {
	if d.kind != doorKnock {
		return false
	}
	s.closeDoor(d)
	return true
}

// startPair makes the offer for the member at the other end of a door, or asks for one.
func (s *step) startPair(d *door, p *peer) {
	s.touch(p)
	switch c := p.offering(); {
	case p.ended() || p.ready() != nil:
	case !s.initiates(p):
		s.need(p)
		s.backOff(p)
	case c == nil:
		if s.mayBegin(p) {
			s.begin(p)
		}
	case c.state == connOffered:
		c.routed = false
	}
}

// offerAgain sends what has had no effect once more, now that there is another member who passes it on.
func (s *step) offerAgain() {
	for _, p := range s.present() {
		if p.ready() != nil {
			continue
		}
		s.touch(p)
		p.level, p.retryAt = levelNot, s.env.Now
	}
}
