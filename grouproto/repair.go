package grouproto

import (
	"slices"
	"time"
)

// ask is the repair of one author's gaps. It is not stored: after a restart it begins again.
type ask struct {
	at    time.Time     // when somebody is asked next
	asked map[Key]vote  // who was asked in this round, and what their G_NONE said
	ever  map[Key]bool  // who was asked in any round: answers may be slow
	last  Key           // who was asked last
	want  []Range       // what for
	wait  time.Duration // between rounds
	only  Key           // who alone is asked, because it was not connected when all others were; zero: everybody
}

// vote is what somebody said in G_NONE. Nothing is believed before the round is over, unless the author says it.
type vote struct {
	why  uint8  // 0: no answer, or copies
	upTo uint64 // the last number that it has no message for, if it was asked for all before
}

// gapSeen begins the repair of an author's gaps after a short while, in which they may close by themselves.
func (s *step) gapSeen(author Key) {
	if a := s.asks[author]; a != nil {
		a.only = Key{}
		return
	}
	s.asks[author] = &ask{at: s.env.Now.Add(gapWait), asked: map[Key]vote{}, ever: map[Key]bool{}}
}

// justLoaded is the time of a repair that has to be given one at the next step.
var justLoaded = time.UnixMilli(1)

// resumeAsks begins the repair of all gaps after a restart.
func (g *Group) resumeAsks() {
	if g.main.lacking && g.main.status == StatusMember && g.main.syncAt.IsZero() {
		// What operations were heard of, and whose digest was another one, is forgotten; G_SYNC tells it again.
		g.main.syncAt = g.main.lastSync.Add(t1)
	}
	g.behind = len(g.waiting) > 0 || g.main.lacking || g.delayed > 0
	for k, c := range g.chains {
		g.countGap(c, len(c.gaps) > 0)
		if len(c.gaps) > 0 {
			g.behind = true
			g.asks[k] = &ask{at: justLoaded, asked: map[Key]vote{}, ever: map[Key]bool{}}
		}
	}
}

// progress looks at an author's gaps after something was settled.
func (s *step) progress(author Key) {
	a, c := s.asks[author], s.chains[author]
	if c != nil && c.takesClaim() {
		s.chain(author).takeClaim()
	}
	switch {
	case c == nil:
	case len(c.gaps) == 0:
		delete(s.asks, author)
	case a == nil:
		s.gapSeen(author)
	case len(a.want) > 0 && !c.anyMissing(a.want):
		// All that was asked for is settled: whoever gave it may give the rest.
		a.want = nil
		delete(a.asked, a.last)
		a.at = s.env.Now
	}
}

// anyMissing tells whether a number of these ranges is in a gap.
func (c *chain) anyMissing(ranges []Range) bool {
	return slices.ContainsFunc(ranges, func(r Range) bool {
		return slices.ContainsFunc(c.gaps, func(g Range) bool { return g.From <= r.To && r.From <= g.To })
	})
}

// askForGaps asks for missing messages: first their author, then others in random order, 30 s after each other.
func (s *step) askForGaps() {
	if s.main.status != StatusMember {
		return
	}
	frames := map[*peer]*wantFrame{}
	room := map[*peer]uint64{}
	for _, author := range s.askedAuthors() {
		a, c := s.asks[author], s.chains[author]
		if c == nil || len(c.gaps) == 0 {
			delete(s.asks, author)
			continue
		}
		if a.at.Equal(justLoaded) {
			a.at = s.env.Now.Add(gapWait)
		}
		if !s.due(a.at) {
			continue
		}
		p := s.askWhom(author, a)
		if p == nil {
			s.roundOver(author, a, c)
			continue
		}
		f := frames[p]
		if f == nil {
			f = &wantFrame{}
			frames[p], room[p] = f, MaxWantMessages
		}
		want := firstOf(c.gaps, room[p], 255-len(f.Messages))
		if len(want) == 0 {
			a.at = s.env.Now.Add(rideTime)
			continue
		}
		for _, r := range want {
			f.Messages = append(f.Messages, wantEntry{author, r})
			room[p] -= r.size()
		}
		a.asked[p.key], a.last, a.want, a.at = vote{}, p.key, want, s.env.Now.Add(askWait)
		a.ever[p.key] = true
	}
	for _, p := range s.everybody() {
		if f := frames[p]; f != nil && len(f.Messages) > 0 {
			s.post(p, f, forSync, s.env.Now)
		}
	}
}

func (g *Group) askedAuthors() []Key {
	var out []Key
	for k := range g.asks {
		out = append(out, k)
	}
	slices.SortFunc(out, Key.Compare)
	return out
}

// askWhom returns who is asked next about an author: the author itself, then the others; nil at the end of the round.
func (s *step) askWhom(author Key, a *ask) *peer {
	if p := s.peers[a.only]; p != nil && !p.ended() && p.ready() != nil {
		if _, was := a.asked[a.only]; was {
			return nil
		}
		return p
	}
	a.only = Key{}
	if p := s.peers[author]; p != nil && !p.ended() && p.ready() != nil && !p.asleep(s.env.Now) {
		if _, was := a.asked[author]; !was {
			return p
		}
	}
	not := map[Key]bool{}
	for k := range a.asked {
		not[k] = true
	}
	return s.randomReady(not)
}

// firstOf returns the first of the ranges, at most n numbers in at most entries ranges.
func firstOf(ranges []Range, n uint64, entries int) (out []Range) {
	for _, r := range ranges {
		if n == 0 || len(out) >= entries {
			break
		}
		if r.size() > n {
			r.To = r.From + n - 1
		}
		n -= r.size()
		out = append(out, r)
	}
	return out
}

// roundOver is when everybody connected was asked. What nobody keeps is given up, unless the author may come back with
// it; what all say is not for us is believed. The rest is asked for again later.
func (s *step) roundOver(author Key, a *ask, c *chain) {
	// Who alone is asked has been silent again: all others have answered before.
	answered, none, notForYou, upTo := a.only != (Key{}) && s.silent(a.only), true, len(a.asked) > 0, ^uint64(0)
	for k, v := range a.asked {
		answered = answered || v.why != 0
		none = none && (v.why != 0 || k != author && s.silent(k))
		notForYou = notForYou && v.why == noneNotForYou
		if v.why != 0 {
			upTo = min(upTo, v.upTo)
		}
	}
	p := s.peers[author]
	askedAuthor := a.asked[author].why != 0
	if answered && none && len(a.want) > 0 && (notForYou || askedAuthor || p == nil || p.ended() || a.only != (Key{})) {
		why := noneNotKept
		switch {
		case notForYou && askedAuthor:
			why = noneNotForYou
		case notForYou:
			why = saidNotForYou
		case !s.allHeard():
			why = saidNotKept
		}
		s.chain(author)
		for _, r := range a.want {
			c.giveUp(r, why)
		}
		// A gap may be much longer than what one G_WANT asks for, where a run begins or somebody made numbers up.
		c.giveUp(Range{a.want[len(a.want)-1].From, upTo}, why)
		a.at, a.want = s.env.Now, nil
		clear(a.asked)
		if len(c.gaps) == 0 {
			delete(s.asks, author)
		}
		return
	}
	a.wait = min(max(t1, 2*a.wait), t1Most)
	a.at, a.want = s.env.Now.Add(a.wait), nil
	clear(a.asked)
}

// askAuthor asks an author that is connected for what only others have said is not for us.
func (s *step) askAuthor(p *peer) {
	if c := s.chains[p.key]; c != nil && !p.ended() && c.lookAgain(saidNotForYou) {
		s.chain(p.key)
		s.gapSeen(p.key)
	}
}

// askAgain asks a member that is connected now, or heard of again, for what all others said they do not keep.
func (s *step) askAgain(p *peer) {
	if p.ended() {
		return
	}
	for k, c := range s.chains {
		if !c.lookAgain(saidNotKept) {
			continue
		}
		s.chain(k)
		others := s.asks[k] != nil
		if s.gapSeen(k); !others && k != p.key {
			s.asks[k].only = p.key
		}
	}
}

// silent tells whether a member has left many questions without a sign of life.
func (g *Group) silent(k Key) bool {
	p := g.peers[k]
	return p != nil && p.unheard >= mostUnheard
}

// allHeard tells whether all present members are connected and answer.
func (g *Group) allHeard() bool {
	return !slices.ContainsFunc(g.order, func(p *peer) bool { return !p.ended() && (p.ready() == nil || g.silent(p.key)) })
}

func (g *Group) wakeAsks(w *wake) {
	if g.main.status == StatusMember {
		for _, a := range g.asks {
			w.add(a.at)
		}
	}
	if g.alive() {
		for _, o := range g.wantOps {
			w.add(o.askAt)
		}
	}
}

// copyCame takes a copy (G_FWD): only what is missing and was asked for, or what the author itself repeats as its word.
func (s *step) copyCame(p *peer, f *fwdFrame) {
	c, a, n := s.chains[f.Author], s.asks[f.Author], f.Message.Number
	if c == nil {
		return
	}
	word := f.Author == p.key && !f.Given
	if !word {
		if a == nil || n >= c.top || !c.missing(n) {
			return
		}
		if !a.ever[p.key] {
			return
		}
	}
	s.message(origin{p.key, word}, f.Author, f.Message)
}

// noneCame takes G_NONE. The author knows whether there is something and for whom; what others say, and that the author
// does not keep it any more, counts at the end of the round.
func (s *step) noneCame(p *peer, f *noneFrame) {
	for _, e := range f.Ranges {
		c := s.chains[e.Author]
		if c == nil {
			continue
		}
		if e.Author == p.key && e.Why != noneNotKept {
			s.chain(e.Author)
			if e.Why == noneNotExisted && e.Range.To == ^uint64(0) {
				c.forgetBeyond(e.Range.From)
				s.progress(e.Author)
			}
			if c.giveUp(e.Range, e.Why) {
				s.progress(e.Author)
				s.receiptWanted(p)
			}
			continue
		}
		s.votedNone(e.Author, p.key, vote{e.Why, e.Range.To})
	}
}

// votedNone notes that somebody who was asked has no message for us; the next one is asked.
func (s *step) votedNone(author, by Key, v vote) {
	a := s.asks[author]
	if a == nil {
		return
	}
	if before, was := a.asked[by]; was {
		a.asked[by] = vote{v.why, max(before.upTo, v.upTo)}
		if a.last == by {
			a.at = s.env.Now
		}
	}
}

// wantCame answers G_WANT: operations, copies of messages that the asker may have, and what there is no copy of.
func (s *step) wantCame(p *peer, f *wantFrame) {
	if !s.mayAsk(p) {
		return
	}
	if len(f.Ops) > 0 {
		s.giveOps(p, f.Ops)
	}
	none := &noneFrame{}
	for _, e := range f.Messages {
		if !s.give(p, e, none) {
			break
		}
	}
	if len(none.Ranges) > 0 {
		s.post(p, none, forCopies, s.env.Now)
	}
}

// give answers one entry of a G_WANT; false when the peer has had enough copies for an hour.
func (s *step) give(p *peer, e wantEntry, none *noneFrame) bool {
	for n := e.Range.From; ; n++ {
		k, held := s.loadMessage(e.Author, n)
		switch {
		case held && s.entitled(p, k):
			most := float64(s.limits().CopiesHour)
			if !p.copies.take(s.env.Now, float64(len(k.message.Body)+128), most, most/3600) {
				s.warnLimit(p, LimitCopies)
				return false
			}
			s.post(p, &fwdFrame{e.Author, k.message, e.Author == s.self && k.vouched}, forCopies, s.env.Now)
		case held:
			none.add(e.Author, Range{n, n}, noneNotForYou)
		case e.Author == s.self && s.ownWanted(n):
			return true // it may be with others, and they believe what the author says
		default:
			why, upTo := s.notHeld(e.Author, n)
			none.add(e.Author, Range{n, upTo}, why)
			n = upTo
		}
		if n >= e.Range.To {
			return true
		}
	}
}

// notHeld says why a message is not here, and up to which number that holds.
func (s *step) notHeld(author Key, n uint64) (why uint8, upTo uint64) {
	if author == s.self && n >= s.main.next {
		return noneNotExisted, ^uint64(0)
	}
	if c := s.chains[author]; c != nil && !c.missing(n) {
		if why, rest := c.absentAt(n); why == noneNotExisted {
			return why, rest
		}
	}
	upTo = ^uint64(0)
	s.env.Tx.Scan(record('m', author[:]), messageKey('m', author, n), func(k, _ []byte) bool {
		if next, ok := u64of(k[33:]); ok {
			upTo = next - 1
		}
		return false
	})
	return noneNotKept, upTo
}

// add notes an absence; neighbours of one kind become one range.
func (f *noneFrame) add(author Key, r Range, why uint8) {
	if k := len(f.Ranges); k > 0 {
		last := &f.Ranges[k-1]
		if last.Author == author && last.Why == why && last.Range.To+1 == r.From {
			last.Range.To = r.To
			return
		}
	}
	if len(f.Ranges) < 255 {
		f.Ranges = append(f.Ranges, noneEntry{author, r, why})
	}
}

// entitled tells whether a member may have a message: its add is in the past of the message's heads, or the setting
// `history` allows it.
func (s *step) entitled(p *peer, k *kept) bool {
	if s.entitledByHeads(p, k) {
		return true
	}
	value, _, _ := s.st.Setting("history")
	n := historyOf(value)
	switch {
	case n == 0:
		return false
	case n >= MaxKeptMessages:
		return true
	default:
		return k.id.Number >= s.historyFrom(p, k.id.Author, n)
	}
}

// historyKey names a result of historyFrom.
type historyKey struct{ member, author Key }

// historyFrom returns the first of the last n messages of an author that are not for a member by their heads. What is
// missing here counts, as it may be one of them; what never existed does not.
func (s *step) historyFrom(p *peer, author Key, n uint64) uint64 {
	if from, ok := s.histories[historyKey{p.key, author}]; ok {
		return from
	}
	var last []uint64
	var c chain
	if have := s.chains[author]; have != nil {
		c = *have
	}
	end := c.top // of the messages that are not for it
	s.env.Tx.Scan(record('m', author[:]), nil, func(key, v []byte) bool {
		number, ok := u64of(key[33:])
		k, good := decodeKept(author, number, v)
		if !ok || !good {
			return true
		}
		if s.entitledByHeads(p, k) {
			end = number
			return false
		}
		last = append(last, number)
		return true
	})
	for _, g := range c.gaps {
		for i := range min(n, g.size()) {
			if number := g.To - i; number < end {
				last = append(last, number)
			}
		}
	}
	slices.Sort(last)
	from := uint64(0)
	if uint64(len(last)) > n {
		from = last[uint64(len(last))-n]
	}
	if s.histories == nil {
		s.histories = map[historyKey]uint64{}
	}
	s.histories[historyKey{p.key, author}] = from
	return from
}

func (s *step) entitledByHeads(p *peer, k *kept) bool {
	m, ok := s.st.Member(p.key)
	if !ok {
		return false
	}
	if s.log.Includes(k.message.Heads, m.Added) {
		return true
	}
	if !s.log.AddedAgain(p.key) {
		return false // without the state that the message names, which may be costly
	}
	st, ok := s.log.StateAt(s.log.Judged(k.message.Heads))
	if !ok {
		return false
	}
	_, ok = st.Member(p.key) // by another add
	return ok
}

// front returns, per author ascending, the newest message below which nothing is missing, as far as its hash is known;
// of all authors, or of those for whom the filter is true.
func (s *step) front(of func(Key) bool) []MessageID {
	var out []MessageID
	for k, c := range s.chains {
		if of != nil && !of(k) {
			continue
		}
		if id, ok := s.frontOf(c); ok {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, func(a, b MessageID) int { return a.Author.Compare(b.Author) })
	return out
}

// frontNumber is the number of an author's entry in the front.
func (g *Group) frontNumber(c *chain) (n uint64, ok bool) {
	if c.author == g.self {
		return c.ownFront()
	}
	return c.front()
}

// readFront reads an author's entry in the front.
func (s *step) readFront(c *chain) (id MessageID, ok bool) {
	n, ok := s.frontNumber(c)
	if !ok {
		return id, false
	}
	if held, ok := s.loadMessage(c.author, n); ok {
		return held.id, true
	}
	return c.hint, c.hint.Author == c.author && c.hint.Number == n
}

// presentFront is the front of the authors that are present.
func (s *step) presentFront() []MessageID {
	if s.st == nil {
		return nil
	}
	return s.front(func(k Key) bool { _, ok := s.st.Member(k); return ok })
}

// digest is the hash of the present authors' front.
func (s *step) digest() [32]byte {
	if s.digestKept.known && len(s.chainW) == 0 {
		return s.digestKept.digest
	}
	d := digest(s.presentFront())
	if len(s.chainW) == 0 {
		s.digestKept = knownDigest{true, d}
	}
	return d
}
