package grouproto

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// told looks at what an honest member's client is told.
func (h *hostile) told(n *node, e Event) {
	if n.filter != nil {
		return
	}
	h.count[strings.TrimPrefix(fmt.Sprintf("%T", e), "grouproto.")]++
	switch e := e.(type) {
	case MessageReceived:
		m := e.Message
		h.prior[n.name+messageName(m.ID)] = m.Via
		h.mayBeTold(n, m)
	case MessageReplaced:
		h.replaced(n, e.Message)
	case PairConnected:
		h.met[n] = append(h.met[n], e.Member)
	case Warned:
		h.count[strings.TrimSuffix(h.eventText(Warned{Warning: e.Warning}), " somebody")]++
		h.justified(n, e)
	}
}

func messageName(id MessageID) string { return fmt.Sprintf("%s/%d", id.Author.Text(), id.Number) }

// mayBeTold checks that a message is of somebody who may speak, that nothing before it was passed over, and that it is
// what an honest author wrote unless somebody else only vouches for it.
func (h *hostile) mayBeTold(n *node, m StoredMessage) {
	g := n.g
	if g.st == nil {
		return
	}
	author := m.ID.Author
	_, present := g.st.Member(author)
	_, left := g.st.Left(author)
	gone, removed := g.st.Removed(author)
	switch {
	case !present && !left && !removed && !everAdded(g, author): // an add that has become void is one
		h.t.Errorf("%s was told a message of %s, who never was a member", n.name, h.nameOf(author))
	case removed && m.ID.Number >= gone.Cut:
		h.t.Errorf("%s was told message %d of %s, who was removed from %d on", n.name, m.ID.Number, h.nameOf(author), gone.Cut)
	}
	h.news = append(h.news, m.ID)
	if a := h.nodeOf(author); a != nil && a.filter == nil && !m.Vouched {
		if !h.wrote(a, m.ID) {
			h.t.Errorf("%s was told message %d of %s, who wrote something else, as confirmed", n.name, m.ID.Number, a.name)
		}
	}
}

// everAdded tells whether the log has an add of a key.
func everAdded(g *Group, k Key) bool {
	for i := range g.log.Len() {
		if a, ok := g.log.At(i).Action.(*oplog.Add); ok && a.Member == k {
			return true
		}
	}
	return false
}

// inOrder checks that no message was told with one before it passed over.
func (h *hostile) inOrder(n *node) {
	for _, id := range h.news {
		c := n.g.chains[id.Author]
		if id.Number == 0 || c == nil || c.missing(id.Number-1) || n.got[messageName(MessageID{Author: id.Author, Number: id.Number - 1})] > 0 {
			continue
		}
		if why, _ := c.absentAt(id.Number - 1); why == 0 {
			h.t.Errorf("%s was told message %d of %s; the one before was passed over", n.name, id.Number, h.nameOf(id.Author))
		}
	}
	h.news = nil
}

// replaced checks that whoever gave a false copy was reported.
func (h *hostile) replaced(n *node, m StoredMessage) {
	via := h.prior[n.name+messageName(m.ID)]
	if !slices.Contains(warnedOf(n, WarnDisputed), via) && h.present(n, via) {
		h.t.Errorf("%s was given a false copy by %s and not warned", n.name, h.nameOf(via))
	}
	h.prior[n.name+messageName(m.ID)] = m.Via
}

func (h *hostile) present(n *node, k Key) bool {
	_, ok := n.g.st.Member(k)
	return ok
}

// justified checks that nobody is warned of an honest member without a reason.
func (h *hostile) justified(n *node, w Warned) {
	about := h.nodeOf(w.Member)
	if about == nil || about.filter != nil {
		return
	}
	switch w.Warning {
	case WarnEquivocation:
		if h.lostBy[about] != nil {
			return // it wrote before it knew that it had gone back
		}
	case WarnDisputed:
		// What a villain has said twice or made up, honest members pass on; nobody can prove who did it.
		return
	case WarnSweep:
		if n.g.main.status != StatusJoining && removalsOf(n, w.Member) > 2 {
			return // contests are removals
		}
	case WarnLimit:
		if h.restarts || h.lostBy[about] != nil || h.lostBy[n] != nil {
			return // what paces questions is lost with the process
		}
	case WarnHello:
		if h.stolen {
			return // whoever holds a request can answer it with a wrong hello
		}
	}
	h.t.Errorf("%s was warned of %s (%s)", n.name, about.name, h.eventText(w))
}

// removalsOf is how many members somebody has removed.
func removalsOf(n *node, author Key) (k int) {
	for i := range n.g.log.Len() {
		if a, ok := n.g.log.At(i).Action.(*oplog.Remove); ok && n.g.log.At(i).Author == author {
			k += len(a.Members)
		}
	}
	return k
}

// bounds checks after each step that nothing grows beyond what is promised.
func (h *hostile) bounds(n *node) {
	g := n.g
	if g == nil || n.filter != nil {
		return
	}
	h.inOrder(n)
	if g.log != nil {
		for ; h.seen[n] < g.log.Len(); h.seen[n]++ {
			h.first[n.name+g.log.At(h.seen[n]).ID().Text()] = h.wasIn[n]
		}
		h.wasIn[n] = g.main.status == StatusMember
	}
	most := func(what string, is, most int) {
		if is > most {
			h.t.Errorf("%s keeps %d %s, more than %d", n.name, is, what, most)
		}
	}
	most("offers", len(g.held), 16*MaxHeldOffers)
	most("messages that wait", len(g.waiting), mostHeld)
	most("wanted operations", len(g.wantOps), mostWantedOps)
	most("odd digests", len(g.odd), mostOdd)
	most("tips", len(g.main.tips), mostTips)
	most("sweeps", len(g.main.sweeps), 64)
	most("invitations", g.pendingInvites(), mostInvites)
	most("repairs", len(g.asks), len(g.chains))
	if g.st != nil && g.main.status != StatusJoining {
		ever := 0
		for i := range g.log.Len() {
			if _, ok := g.log.At(i).Action.(*oplog.Add); ok {
				ever++
			}
		}
		most("members", len(g.peers), ever+1)
		most("authors", len(g.chains), ever+1)
	}
	for _, c := range g.chains {
		most("gaps", len(c.gaps), maxGaps+maxAbsent)
		most("absences", len(c.absent), maxAbsent)
		most("fixed hashes", len(c.fixed), maxFixed)
		most("references", len(c.refs), maxRefs)
	}
	for _, p := range g.order {
		most("connections of a pair", len(p.conns), mostConns)
		most("delayed frames", p.delayed, mostDelayed)
		most("unsent bodies", len(p.window), windowSize)
		most("heads of a member", len(p.knows), mostPeerHeads)
		most("frames for later", len(p.out), 1024)
		most("failures", len(p.failed), mostFailed)
		most("missing ranges", len(p.missing), 255)
	}
}

// check is what has to hold in the end.
func (h *hostile) check() {
	var in []*node
	for _, n := range h.honest() {
		if n.g.Info().Status == StatusMember {
			in = append(in, n)
		}
	}
	in = h.together(in)
	if len(in) == 0 {
		return
	}
	h.agree(in...)
	if h.probe.Failed() {
		return
	}
	h.statuses(in)
	h.connections(in)
	h.arrived(in)
	h.reports(in)
	h.cameBack(in)
	for _, n := range in {
		before := n.g.StateHash()
		n.load()
		if n.g.StateHash() != before {
			h.t.Errorf("%s is not what it was after a start", n.name)
		}
	}
}

// agree checks that all have the same log, and that nobody misses a message of an honest member.
func (h *hostile) agree(nodes ...*node) {
	for _, n := range nodes {
		if n.g.StateHash() != nodes[0].g.StateHash() {
			h.t.Errorf("%s and %s do not agree about the group", n.name, nodes[0].name)
			continue
		}
		for _, a := range nodes {
			// Own messages that somebody makes up are looked for as after a return from an old backup.
			if c := n.g.chains[a.g.self]; a != n && c != nil && len(c.gaps) > 0 {
				h.t.Errorf("%s misses %v of %s", n.name, c.gaps, a.name)
			}
		}
	}
}

// together leaves out honest members that nobody else can know of: whoever was to introduce them is a villain, or is
// gone. All others have to be in one piece.
func (h *hostile) together(in []*node) []*node {
	var pieces [][]*node
	seen := map[*node]bool{}
	for _, n := range in {
		if seen[n] {
			continue
		}
		seen[n] = true
		piece := []*node{n}
		for i := 0; i < len(piece); i++ {
			for _, o := range in {
				p, q := piece[i].g.peers[o.g.self], o.g.peers[piece[i].g.self]
				if !seen[o] && p != nil && q != nil && p.healthy() && q.healthy() {
					seen[o] = true
					piece = append(piece, o)
				}
			}
		}
		pieces = append(pieces, piece)
	}
	if len(pieces) < 2 {
		return in
	}
	alone := func(piece []*node) (k int) {
		for _, n := range piece {
			// Whoever was brought in by somebody in the piece knows no more than that one.
			if !slices.Contains(piece, h.nodeOf(n.g.main.inviter)) && h.stranded(n, piece) == "" {
				k++
			}
		}
		return k
	}
	whole := slices.MaxFunc(pieces, func(a, b []*node) int {
		return cmp.Or(cmp.Compare(alone(a), alone(b)), cmp.Compare(len(a), len(b)))
	})
	for _, piece := range pieces {
		if piece[0] != whole[0] && alone(piece) > 0 {
			h.t.Errorf("%s are connected with none of %s", names(piece), names(whole))
		}
		for _, n := range piece {
			h.apart[n] = piece[0] != whole[0]
		}
	}
	return whole
}

// stranded tells why a member may be on its own: nobody who knows it passes anything on, and there is no address of an
// honest member that it could knock at. With are those who are cut off together with it.
func (h *hostile) stranded(n *node, with []*node) string {
	if h.taken(n) == 0 {
		return "nobody takes it for a member: its add has no effect"
	}
	for _, p := range n.g.present() {
		if at := h.nodeOf(p.key); at != nil && at.filter == nil && p.ready() == nil && !slices.Contains(with, at) && at.g.main.status == StatusMember && n.g.publishedBy(p.key) != nil && at.g.publishedBy(p.key) != nil {
			return ""
		}
	}
	if h.forgotAll(n) {
		return "its store is older than its connections"
	}
	if h.forgottenBy(n, with) {
		return "the stores of all that it was connected with are older than that"
	}
	if !slices.ContainsFunc(h.metWell(n), func(o *node) bool { return !slices.Contains(with, o) }) {
		return "everybody else who was ever connected with it misbehaves or is gone"
	}
	for _, p := range n.g.present() {
		if slices.ContainsFunc(p.conns, func(c *pairConn) bool { return c.deaf || c.broken }) && !p.healthy() {
			return "its queues are gone, and so is everybody who could pass an offer on"
		}
	}
	inviter := n.g.main.inviter
	if inviter == (Key{}) {
		return ""
	}
	if a := h.nodeOf(inviter); a == nil || a.filter != nil {
		return "invited by a villain"
	} else if !n.g.main.joinDone && (a.g.main.status != StatusMember || h.stranded(a, with) != "") {
		return "its inviter is gone"
	}
	if p := n.g.peers[inviter]; !n.g.main.joinDone && p != nil && p.ended() {
		return "its inviter is gone"
	}
	return ""
}

// taken tells how many others have a member as one, or have not heard of it.
func (h *hostile) taken(n *node) (k int) {
	for _, o := range h.honest() {
		if _, present := o.g.st.Member(n.g.self); o != n && o.g.main.status == StatusMember && (present || !everAdded(o.g, n.g.self)) {
			k++
		}
	}
	return k
}

// metWell are the honest members that somebody was ever connected with, as far as they still are members.
func (h *hostile) metWell(n *node) (out []*node) {
	for _, o := range h.honest() {
		if o.g.main.status == StatusMember && slices.Contains(h.met[n], o.g.self) {
			out = append(out, o)
		}
	}
	return out
}

func names(nodes []*node) (out []string) {
	for _, n := range nodes {
		out = append(out, n.name)
	}
	return out
}

// statuses checks that every honest member knows whether it is one.
func (h *hostile) statuses(in []*node) {
	st := in[0].g.st
	for _, n := range h.honest() {
		_, present := st.Member(n.g.self)
		switch status := n.g.Info().Status; {
		case present && !st.Closed() && status != StatusMember && status != StatusGone:
			h.t.Errorf("%s is a member and takes itself for %v", n.name, status)
		case !present && status == StatusMember && !h.apart[n]:
			h.t.Errorf("%s takes itself for a member and is none", n.name)
		}
	}
}

// connections checks that all pairs are connected.
func (h *hostile) connections(in []*node) {
	for _, n := range in {
		for _, o := range in {
			if o == n {
				continue
			}
			p := n.g.peers[o.g.self]
			switch {
			case p == nil:
				h.t.Errorf("%s does not know %s", n.name, o.name)
			case !p.healthy():
				h.t.Errorf("%s is not connected with %s: %v, next try %v", n.name, o.name, p.reason, p.retryAt.Sub(n.now()))
			case p.paused == ReasonQuota:
				h.t.Errorf("%s still waits for %s to read", n.name, o.name)
			}
		}
		for _, p := range n.g.present() {
			if !p.healthy() && p.reason == ReasonNone && p.offering() == nil && p.sendable() == nil {
				h.t.Errorf("%s is not connected with %s and gives no reason", n.name, h.nameOf(p.key))
			}
		}
	}
}

// arrived checks that everybody has the messages of all that are for it, and no others: also those that their author has
// lost with its store, as far as any honest member has them.
func (h *hostile) arrived(in []*node) {
	value, _, _ := in[0].g.st.Setting("history")
	for _, author := range in {
		for _, k := range h.written(author, in) {
			for _, n := range in {
				if n == author {
					continue
				}
				m, _ := author.g.st.Member(n.g.self)
				key := messageName(k.id)
				meant := author.g.log.Includes(k.message.Heads, m.Added)
				got, must := n.got[key], meant || string(value) == "all"
				held, ok := loadKept(n.tx, 'm', author.g.self, k.id.Number)
				vouched := ok && held.vouched
				if !meant && vouched {
					continue // older than its add, and nothing of the author that leads to it is for it
				}
				switch {
				case must && got == 1 && vouched && h.lostBy[author] != nil && h.lostBy[author].said[k.id]:
					// Its author has lost it and cannot say whether this copy is right; it is told as a copy.
				case got > 0 && !must && n.texts[key] == "": // a false copy, refuted, of what it may not have
				case must && got == 0 && h.hidden(n, k.id):
				case must && got != 1, !must && got > 0 && len(value) == 0:
					h.t.Errorf("%s was told message %d of %s %d times", n.name, k.id.Number, author.name, got)
				case got > 0 && n.texts[key] != string(k.message.Body):
					h.t.Errorf("%s has another text of message %d of %s", n.name, k.id.Number, author.name)
				}
			}
		}
	}
}

// written are the messages that a member wrote: those that it keeps, without what somebody made up after it had lost its
// store, and those that it has lost and somebody else has. Of two under one number nobody can tell which is the right one.
func (h *hostile) written(author *node, in []*node) (out []*kept) {
	for _, number := range author.numbers(0) {
		k, ok := loadKept(author.tx, 'm', author.g.self, number)
		switch {
		case !ok && author.g.chains[author.g.self].missing(number): // made up by somebody
		case !ok:
			h.t.Errorf("%s does not keep its message %d", author.name, number)
		case !k.vouched && !h.twice(author, number):
			out = append(out, k)
		}
	}
	lost := h.lostBy[author]
	if lost == nil {
		return out
	}
	for _, id := range slices.SortedFunc(maps.Keys(lost.said), func(a, b MessageID) int { return cmp.Compare(a.Number, b.Number) }) {
		if h.twice(author, id.Number) {
			continue
		}
		for _, n := range in {
			if k, ok := loadKept(n.tx, 'm', id.Author, id.Number); ok && k.id == id && !k.vouched {
				out = append(out, k)
				break
			}
		}
	}
	return out
}

// words checks that nothing is taken for the word of an honest member but what it wrote.
func (h *hostile) words(in []*node) {
	for _, n := range in {
		n.tx.Scan([]byte{'m'}, nil, func(key, v []byte) bool {
			number, _ := u64of(key[33:])
			k, ok := decodeKept(Key(key[1:33]), number, v)
			if author := h.nodeOf(Key(key[1:33])); ok && author != nil && author.filter == nil && !k.vouched && !h.wrote(author, k.id) {
				h.t.Errorf("%s takes message %d for the word of %s, who wrote something else", n.name, number, author.name)
			}
			return true
		})
	}
}

// hidden tells whether a villain that brought somebody in has said that a message was from before: only its author knows
// better, and the relay has lost what the author sent.
func (h *hostile) hidden(n *node, id MessageID) bool {
	inviter := h.nodeOf(n.g.main.inviter)
	c := n.g.chains[id.Author]
	if c == nil || inviter != nil && inviter.filter == nil {
		return false
	}
	why, _ := c.absentAt(id.Number)
	lost := 0
	for _, kind := range []string{"body lost", "queue lost", "queue full", "store gone back"} {
		lost += h.faults.count["fault "+kind]
	}
	return (why == noneNotForYou || why == saidNotForYou) && lost > 0
}

// reports checks that what can be noticed was told to everybody who could.
func (h *hostile) reports(in []*node) {
	log := in[0].g.log
	for i := range log.Len() {
		for j := range i {
			a, b := log.At(j), log.At(i)
			if a.Author != b.Author || log.InPast(a.ID(), b.ID()) || log.InPast(b.ID(), a.ID()) {
				continue
			}
			author := h.nodeOf(a.Author)
			for _, n := range in {
				if h.lostBy[author] != nil {
					continue
				}
				if author != nil && author.filter == nil {
					h.t.Errorf("%s has written two operations side by side", author.name)
				} else if n.g.self != a.Author && !slices.Contains(warnedOf(n, WarnEquivocation), a.Author) {
					h.t.Errorf("%s was not warned of the equivocation of %s", n.name, h.nameOf(a.Author))
				}
			}
		}
	}
	for i := range log.Len() {
		op := log.At(i)
		a, ok := op.Action.(*oplog.Remove)
		if author := h.nodeOf(op.Author); !ok || author == nil || len(a.Members) <= max(2, (len(h.nodes)+3)/4) {
			continue
		}
		for _, n := range in {
			if h.first[n.name+op.ID().Text()] && !slices.Contains(warnedOf(n, WarnSweep), op.Author) {
				h.t.Errorf("%s was not warned of the sweep of %s", n.name, h.nameOf(op.Author))
			}
		}
	}
	h.words(in)
	for _, n := range in {
		n.tx.Scan([]byte{'v'}, nil, func(k, _ []byte) bool {
			author, number := Key(k[1:33]), uint64(0)
			number, _ = u64of(k[33:])
			other, ok := loadKept(n.tx, 'v', author, number)
			held, both := loadKept(n.tx, 'm', author, number)
			switch {
			case !ok || !both:
			case other.via == author && held.via == author && !other.vouched && !held.vouched && !slices.Contains(warnedOf(n, WarnEquivocation), author):
				h.t.Errorf("%s was not warned that %s said two things", n.name, h.nameOf(author))
			case (other.via != author || other.vouched) && !slices.Contains(warnedOf(n, WarnDisputed), other.via) && held.id.Hash != other.id.Hash:
				h.t.Errorf("%s was not warned of the false copy of %s", n.name, h.nameOf(other.via))
			}
			return true
		})
	}
}
