package grouproto

import (
	"bytes"
	"slices"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

const (
	peerBurst      = 120 // G_MSG and G_OPS of one peer taken at once
	peerRate       = 1.0 // and per second
	mostDelayed    = 512 // of one peer that are kept for later
	mostHeld       = 256 // messages whose heads are not known, all members together
	mostHeldOfPeer = 64  // of these, messages that one member sent
)

// body takes an agent message of a pair connection: one or more frames.
func (s *step) body(p *peer, c *pairConn, body []byte) {
	if c.state < connAllowed || c.state == connJoined {
		// Nothing counts before a good hello. A joined connection's other end speaks only after its hello.
		return
	}
	frames, err := splitBody(body)
	if c.rebound.fit == unproven {
		s.wide = true
		if !s.proven(p, c, frames) {
			return
		}
		frames = frames[1:]
	}
	if err != nil {
		s.bad.frames++
		return
	}
	if p.unheard >= mostUnheard && s.main.status == StatusMember {
		s.askAgain(p)
	}
	p.unheard = 0
	if s.env.Now.Sub(p.lastHeard) >= time.Minute {
		p.lastHeard = s.env.Now
	}
	if p.paused == ReasonInactive && !p.ended() {
		s.resume(p)
	}
	for _, f := range frames {
		if isHello(f) {
			s.helloAgain(p, c, f)
			continue
		}
		s.frame(p, f)
	}
}

// ignored counts what peers sent and nobody could use.
type ignored struct {
	frames  int // malformed
	unknown int // unknown tags or versions
	extra   int // bytes behind known fields
	place   int // not allowed where they came
}

// where tells which rows of the frame table apply to a peer.
func (s *step) where(p *peer) place {
	switch {
	case s.main.status == StatusJoining:
		return onJoining
	case s.main.status != StatusMember:
		return onEnded
	case p.ended() && s.wasMember(p.key):
		return onLeft
	case p.ended():
		return onEnded
	default:
		return onReady
	}
}

// frame takes one frame of a pair connection.
func (s *step) frame(p *peer, b []byte) {
	d, err := decodeFrame(b)
	switch {
	case err != nil:
		s.bad.frames++
		return
	case d.frame == nil:
		s.bad.unknown++
		return
	}
	s.bad.extra += d.extra
	s.wide = s.wide || !narrowFrames[d.tag] || s.where(p) != onReady
	if d.tag.row().at&s.where(p) == 0 {
		s.bad.place++
		s.tellGone(p)
		return
	}
	if d.tag.aboutOther() {
		s.letterCame(p, d.tag, b)
		return
	}
	if d.tag == TagMsg || d.tag == TagOps || d.tag == TagMemInv {
		if p.delayed > 0 || !p.frames.take(s.env.Now, 1, peerBurst, peerRate) {
			s.delay(p, b)
			return
		}
	}
	s.handle(p, d.frame)
}

// handle takes a frame that is allowed where it came.
func (s *step) handle(p *peer, f frame) {
	switch f := f.(type) {
	case *opsFrame:
		s.opsCame(p, f)
	case *invMemFrame:
		s.toForward(p, f)
	case *memInvFrame:
		s.forwarded(p, f)
	case *needFrame:
		s.needed(p, f)
	case *conFrame:
		s.report(p, f)
	case *msgFrame:
		s.noteHeads(p, f.Message.Heads)
		s.joinerHeard(p.key)
		if _, removed := s.st.Removed(p.key); removed {
			s.tellGone(p) // what it has written before it could know is judged like any message
		}
		s.message(origin{p.key, true}, p.key, f.Message)
	case *fwdFrame:
		s.copyCame(p, f)
	case *noneFrame:
		s.noneCame(p, f)
	case *rcvdFrame:
		s.noteHeads(p, f.Heads)
		s.received(p, f)
	case *syncFrame:
		s.syncCame(p, f)
	case *wantFrame:
		s.wantCame(p, f)
	case *directFrame:
		if !p.asks.take(s.env.Now, 1, mostDirect, directRate) {
			s.warnLimit(p, LimitDirect)
			return
		}
		s.notice(DirectFrame{
			From: p.key, Tag: f.Tag, Payload: bytes.Clone(f.Payload), Permitted: s.st.Has(p.key, oplog.PermDirect),
		})
	case *memFrame:
		s.membersTold(p, f)
	case *doneFrame:
		s.doneTold(p)
	}
}

// opsCame takes G_OPS.
func (s *step) opsCame(p *peer, f *opsFrame) {
	if s.main.status == StatusJoining {
		s.main.logDone = s.main.logDone || f.Flags&opsLast != 0
		s.logAt = time.Time{}
	}
	before := 0
	if s.log != nil {
		before = s.log.Len() + s.log.Unjudged()
	}
	wasMember := s.main.status == StatusMember
	s.addOps(p, f.Ops)
	if s.main.status == StatusJoining && s.log != nil {
		s.tryJoin()
	}
	// The author of an operation that comes as news gets our heads back with the next receipt.
	if wasMember && s.main.status == StatusMember && s.log.Len()+s.log.Unjudged() > before && f.Flags&opsLast == 0 &&
		slices.ContainsFunc(f.Ops, func(op *oplog.Op) bool { return op.Author == p.key }) {
		s.receiptWanted(p)
	}
}

// tellGone sends a member that is not present any more, and does not seem to know, what ended its presence; once.
func (s *step) tellGone(p *peer) {
	if !p.ended() || p.goneTold || s.log == nil || s.main.status != StatusMember {
		return
	}
	s.touch(p)
	p.goneTold = true
	s.postOps(p, s.lackedBy(p), 0, forOperations)
}

// origin is who handed a message over, and whether it is the author, who says that it wrote this.
type origin struct {
	via  Key
	word bool
}

// message takes a message, or a copy of one.
func (s *step) message(from origin, author Key, m *message) {
	if m.Number == ^uint64(0) {
		s.bad.frames++
		return
	}
	if s.lacksHeads(m) {
		s.holdMessage(from, author, m)
		return
	}
	s.judge(from, author, m)
}

// judge decides about a message whose heads are known, or have been waited for long enough.
func (s *step) judge(from origin, author Key, m *message) {
	via := from.via
	if !s.maySpeak(author, m) {
		s.refuse(from, author, m)
		return
	}
	id := MessageID{author, m.Number, m.hash(s.id, author)}
	c := s.chain(author)
	if !c.missing(m.Number) {
		if held, ok := s.loadMessage(author, m.Number); ok {
			s.again(from, held, id, m)
			return
		}
		// Settled: what was held once is a repeat, and only the author itself knows better than the rest.
		if why, _ := c.absentAt(m.Number); why == 0 || !from.word {
			return
		}
		c.appear(m.Number)
		c.forgetBeyond(m.Number + 1)
	}
	fixed, isFixed := c.fixedHash(m.Number)
	if isFixed && fixed != id.Hash && !from.word {
		s.warn(WarnDisputed, via)
		return
	}
	if isFixed && fixed != id.Hash {
		s.warn(WarnEquivocation, author)
	}
	k := &kept{id: id, message: m, received: s.env.Now, via: via, vouched: !from.word && !isFixed, depth: s.depth(m)}
	if prev, ok := s.loadMessage(author, m.Number-1); ok && m.Number > 0 {
		k.depth = max(k.depth, prev.depth+1)
	}
	if told, ok := loadKept(s.env.Tx, 'v', author, m.Number); ok && told.vouched {
		// A copy with another content was told and then not confirmed.
		k.received, k.position = told.received, told.position
		s.build(k, told.position >= s.main.first)
		if k.id.Hash == told.id.Hash {
			s.warn(WarnEquivocation, author)
			s.notice(MessageConfirmed{k.id})
		} else {
			s.notice(MessageReplaced{k.stored()})
		}
		return
	}
	s.build(k, false)
	if author == s.self {
		s.notice(OwnMessage{k.stored()})
		s.cameBack(k.id)
		return
	}
	s.notice(MessageReceived{k.stored()})
}

// refuse drops a message whose author may not speak. If some of its heads are still unknown that may be wrong: it stays
// missing, is asked for again and judged when more is known.
func (s *step) refuse(from origin, author Key, m *message) {
	if !s.everMember(author) {
		return
	}
	_, gone := s.st.Removed(author)
	c := s.chain(author)
	switch {
	case gone:
		s.votedNone(author, from.via, vote{noneNotForYou, m.Number})
	case s.lacksHeads(m):
		c.know(m.Number)
		s.gapSeen(author)
	case from.word:
		c.know(m.Number)
		c.giveUp(Range{m.Number, m.Number}, noneNotForYou)
		s.progress(author)
	default:
		s.votedNone(author, from.via, vote{noneNotForYou, m.Number})
	}
}

// build stores a message and notes what it says about others. A placed one has its position already.
func (s *step) build(k *kept, placed bool) {
	m, author := k.message, k.id.Author
	c := s.chain(author)
	c.unfix(m.Number)
	c.settle(Range{m.Number, m.Number})
	if placed {
		s.putKept('m', k)
	} else {
		s.keep(k)
	}
	s.addTip(k.id, m)
	for _, parent := range m.Parents {
		s.refers(parent, k.via)
	}
	if !k.vouched {
		s.fixPrev(author, m)
	}
	if author == s.self {
		s.ownBefore(m)
	}
	if p := s.peers[author]; p != nil {
		s.receiptWanted(p)
	}
	s.progress(author)
}

// refers notes a message that another one builds on: it exists.
func (s *step) refers(id MessageID, via Key) {
	if id.Author == s.self {
		s.ownNamed(via, id)
		return
	}
	if !s.mayExist(id) {
		return
	}
	if held, ok := s.loadMessage(id.Author, id.Number); ok {
		if held.id.Hash != id.Hash {
			s.warn(WarnDisputed, via)
		}
		return
	}
	c := s.chain(id.Author)
	c.know(id.Number)
	if c.missing(id.Number) {
		c.refer(id.Number)
		s.gapSeen(id.Author)
	}
}

// fixPrev takes the author's own word about the message before.
func (s *step) fixPrev(author Key, m *message) {
	if m.Prev == ([32]byte{}) || m.Number == 0 {
		return
	}
	s.fix(author, m.Number-1, m.Prev)
}

// fix takes the author's own word about one of its messages: a copy that is held is confirmed by it, and by what that
// says about the one before, or is no copy.
func (s *step) fix(author Key, number uint64, hash [32]byte) {
	for {
		c := s.chain(author)
		held, ok := s.loadMessage(author, number)
		switch {
		case !ok:
			c.know(number)
			if why, _ := c.absentAt(number); why != 0 && why != noneNotForYou && s.looksAgain(author) {
				c.lookFor(number) // given up, or not written yet when somebody made it up
			}
			if c.missing(number) {
				c.fix(number, hash)
				s.gapSeen(author)
			}
			if c.claim = (MessageID{author, number, hash}); c.hint.Number == number {
				c.hint = c.claim // the author knows best
			}
			c.takeClaim()
			return
		case held.id.Hash != hash && held.vouched:
			// Somebody gave us something else. It stays as the second version until the right one comes.
			s.warn(WarnDisputed, held.via)
			s.putKept('v', held)
			s.env.Tx.Delete(messageKey('m', author, number))
			s.notice(MessageRefuted{held.id})
			c.reopen(number)
			c.fix(number, hash)
			s.gapSeen(author)
			return
		case held.id.Hash != hash:
			s.warn(WarnEquivocation, author)
			return
		case !held.vouched:
			return
		}
		held.vouched = false
		s.putKept('m', held)
		s.notice(MessageConfirmed{held.id})
		if held.message.Prev == ([32]byte{}) || number == 0 {
			return
		}
		number, hash = number-1, held.message.Prev
	}
}

// looksAgain tells whether a message that was given up is looked for once more because somebody names it.
func (s *step) looksAgain(named Key) bool {
	p := s.peers[named]
	return p != nil && p.looks.take(s.env.Now, 1, looksBurst, looksRate)
}

// again is another content, or the same, for a number that is held.
func (s *step) again(from origin, held *kept, id MessageID, m *message) {
	via := from.via
	switch {
	case held.id.Hash == id.Hash:
		if held.vouched && from.word {
			s.fix(id.Author, id.Number, id.Hash)
		}
	case !from.word:
		s.warn(WarnDisputed, via)
	case held.vouched:
		// The author's own word replaces what others gave.
		s.warn(WarnDisputed, held.via)
		s.putKept('v', held)
		now := &kept{id: id, message: m, received: held.received, position: held.position, depth: held.depth, via: via}
		s.putKept('m', now)
		s.notice(MessageReplaced{now.stored()})
		s.fixPrev(id.Author, m)
	default:
		s.warn(WarnEquivocation, id.Author)
		if _, ok := loadKept(s.env.Tx, 'v', id.Author, id.Number); !ok {
			s.putKept('v', &kept{id: id, message: m, received: s.env.Now, via: via})
		}
	}
}

// lacksHeads tells whether operations that a message names are not here yet, be they unknown or waiting.
func (s *step) lacksHeads(m *message) bool {
	return slices.ContainsFunc(m.Heads, func(id OpID) bool { return !s.log.Has(id) })
}

// maySpeak tells whether a message is taken: its author is present, with the permission, in the state that the message
// names, as far as that can be judged here, and has not been removed here; of removed ones only messages below the largest cut.
func (s *step) maySpeak(author Key, m *message) bool {
	if gone, ok := s.st.Removed(author); ok && m.Number >= gone.Cut {
		return false
	}
	st, ok := s.log.StateAt(s.log.Judged(m.Heads))
	if !ok {
		return false
	}
	_, present := st.Member(author)
	return present && st.Has(author, oplog.PermSend)
}

// everMember tells whether a key belongs to somebody the log knows; of others nothing is kept.
func (s *step) everMember(k Key) bool {
	return s.peers[k] != nil || k == s.self || s.wasMember(k)
}

// wasMember tells whether a presence has ended by leaving or removal, and not because its add has no effect any more.
func (s *step) wasMember(k Key) bool {
	_, left := s.st.Left(k)
	_, removed := s.st.Removed(k)
	return left || removed
}

// mayExist tells whether a message that somebody names is worth asking for: its author is or was a member, and if it was
// removed the number is below the cut.
func (s *step) mayExist(id MessageID) bool {
	if id.Author == s.self || id.Number == ^uint64(0) || !s.everMember(id.Author) {
		return false
	}
	gone, removed := s.st.Removed(id.Author)
	return !removed || id.Number < gone.Cut
}

// heldMessage waits for the operations that it names.
type heldMessage struct {
	serial  uint64
	from    origin
	author  Key
	message *message
	until   time.Time
}

// holdMessage keeps a message until its heads are known, at most headsWait. The heads are asked for at once.
func (s *step) holdMessage(from origin, author Key, m *message) {
	via := from.via
	if p := s.peers[via]; p != nil {
		for _, id := range s.log.Unknown(m.Heads) {
			s.wantOp(p, id, s.env.Now)
		}
	}
	if slices.ContainsFunc(s.waiting, func(h *heldMessage) bool { return h.author == author && h.message.Number == m.Number }) {
		return
	}
	if len(s.waiting) >= mostHeld || s.heldOf(via) >= mostHeldOfPeer {
		s.warnLimit(s.authorOnly(via, author), LimitHeld)
		if s.mayExist(MessageID{Author: author, Number: m.Number}) {
			s.chain(author).know(m.Number)
			s.gapSeen(author)
		}
		return
	}
	s.main.serial++
	h := &heldMessage{serial: s.main.serial, from: from, author: author, message: m, until: s.env.Now.Add(headsWait)}
	s.waiting = append(s.waiting, h)
	version := byte(recordVersion)
	if via == author && !from.word {
		version = heldGiven
	}
	b := appendTime(append(append([]byte{version}, via[:]...), author[:]...), h.until)
	s.env.Tx.Put(numberKey('w', h.serial), m.append(b))
}

// heldGiven is the version of a record of a message that its author passes on because others gave it.
const heldGiven = 2

// heldOf is how many messages that a member sent wait.
func (g *Group) heldOf(k Key) (n int) {
	for _, h := range g.waiting {
		if h.from.via == k {
			n++
		}
	}
	return n
}

func (g *Group) loadHeldMessage(k, v []byte) error {
	r := wire.NewReader(v)
	serial, ok := u64of(k)
	version := r.U8()
	if !ok || version != recordVersion && version != heldGiven {
		return ErrRecords
	}
	h := &heldMessage{serial: serial, from: origin{via: readKey(r)}, author: readKey(r), until: readTime(r), message: readMessage(r)}
	h.from.word = h.from.via == h.author && version == recordVersion
	if r.Done() != nil {
		return ErrRecords
	}
	g.waiting = append(g.waiting, h)
	return nil
}

// judgeWaiting takes the messages whose heads have come, or whose time is over.
func (s *step) judgeWaiting() {
	if len(s.waiting) == 0 || s.log == nil {
		return
	}
	var ready []*heldMessage
	s.waiting = slices.DeleteFunc(s.waiting, func(h *heldMessage) bool {
		if !s.due(h.until) && s.lacksHeads(h.message) {
			return false
		}
		s.env.Tx.Delete(numberKey('w', h.serial))
		ready = append(ready, h)
		return true
	})
	if s.main.status != StatusMember {
		return
	}
	for _, h := range ready {
		s.judge(h.from, h.author, h.message)
	}
}

func (g *Group) wakeWaiting(w *wake) {
	for _, h := range g.waiting {
		w.add(h.until)
	}
	if g.delayed > 0 {
		for _, p := range g.peers {
			if p.delayed > 0 {
				w.add(p.frames.at.Add(p.frames.wait(p.frames.at, 1, peerBurst, peerRate)))
			}
		}
	}
}
