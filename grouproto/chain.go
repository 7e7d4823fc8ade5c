package grouproto

import (
	"cmp"
	"slices"

	"github.com/coterie-im/coterie/internal/wire"
)

const (
	maxGaps   = 64  // separate gaps of one author; the oldest is given up beyond it
	maxAbsent = 128 // separate absences of one author; the oldest two are joined beyond it
	maxFixed  = 128 // hashes of one author that wait for their message; the oldest is forgotten beyond it
	maxRefs   = 256 // references of one author that wait for their message
)

// chain is what is known about one author's messages: which numbers exist, which of them are missing, and which hashes
// the author itself fixed. Every number below top that is in no gap is settled: held, dropped by retention, not for us,
// or never existed (docs/groups.md, "Messages").
type chain struct {
	author Key
	top    uint64      // 1 + the highest number known of; 0: none
	gaps   []Range     // missing, ascending, disjoint, below top
	absent []absence   // settled without having been held, ascending, disjoint
	hint   MessageID   // hash of a settled message that is not held, for the front; Author zero: none
	fixed  []MessageID // the author's own word about messages that are not held from the author itself
	refs   []uint64    // missing numbers that are parents of something held
	claim  MessageID   // the newest that somebody named: hint, if it turns out not to be for us; not stored

	// Not stored.
	gappy   bool // it is counted as having gaps
	inFront knownFront
}

// absence is a settled range of numbers that are not held and why: one of the reasons of G_NONE, or saidNotForYou.
type absence struct {
	Range Range
	Why   uint8
}

// saidNotForYou is the reason of an absence that everybody asked said is not for us, without the author. Whoever is
// connected with nobody but a liar hears nothing else, so the author is asked when it is connected.
const saidNotForYou uint8 = 0x82

// saidNotKept is the reason of an absence that everybody asked said is not kept, while others were not connected: they are
// asked when they are.
const saidNotKept uint8 = 0x81

// missing tells whether nothing is settled about n.
func (c *chain) missing(n uint64) bool {
	return n >= c.top || slices.ContainsFunc(c.gaps, func(g Range) bool { return g.From <= n && n <= g.To })
}

// know notes that n exists. It reports whether that made a gap.
func (c *chain) know(n uint64) bool {
	if n < c.top || n == ^uint64(0) {
		return false
	}
	if k := len(c.gaps); k > 0 && c.gaps[k-1].To == c.top-1 {
		c.gaps[k-1].To = n
	} else {
		c.gaps = append(c.gaps, Range{c.top, n})
	}
	c.top = n + 1
	return true
}

// settle takes the numbers of r out of the gaps; numbers between top and r become a gap.
func (c *chain) settle(r Range) {
	if r.To == ^uint64(0) {
		r.To--
	}
	if r.To < r.From {
		return
	}
	c.know(r.To)
	var gaps []Range
	for _, g := range c.gaps {
		if g.To < r.From || r.To < g.From {
			gaps = append(gaps, g)
			continue
		}
		if g.From < r.From {
			gaps = append(gaps, Range{g.From, r.From - 1})
		}
		if r.To < g.To {
			gaps = append(gaps, Range{r.To + 1, g.To})
		}
	}
	c.gaps = gaps
	for len(c.gaps) > maxGaps {
		oldest := c.gaps[0]
		c.gaps = c.gaps[1:]
		c.noteAbsent(oldest, noneNotKept)
	}
}

// giveUp settles the numbers of r that are in gaps as absent and reports whether there were any. What is settled keeps
// what is known about it, and nothing is said about numbers that are not known to exist.
func (c *chain) giveUp(r Range, why uint8) bool {
	var found []Range
	for _, g := range c.gaps {
		if lo, hi := max(g.From, r.From), min(g.To, r.To); lo <= hi {
			found = append(found, Range{lo, hi})
		}
	}
	for _, f := range found {
		c.settle(f)
		c.noteAbsent(f, why)
	}
	return len(found) > 0
}

func (c *chain) noteAbsent(r Range, why uint8) {
	i, _ := slices.BinarySearchFunc(c.absent, r.From, func(a absence, from uint64) int {
		if a.Range.From < from {
			return -1
		}
		return 1
	})
	c.absent = slices.Insert(c.absent, i, absence{r, why})
	for i := len(c.absent) - 1; i > 0; i-- {
		a, b := c.absent[i-1], c.absent[i]
		if a.Why == b.Why && a.Range.To+1 == b.Range.From {
			c.absent[i-1].Range.To = b.Range.To
			c.absent = slices.Delete(c.absent, i, i+1)
		}
	}
	c.limitAbsent()
}

// limitAbsent joins the oldest absences beyond maxAbsent; what lies between two of them is not looked for again.
func (c *chain) limitAbsent() {
	for len(c.absent) > maxAbsent {
		c.absent[1] = absence{Range{c.absent[0].Range.From, c.absent[1].Range.To}, noneNotKept}
		c.absent = c.absent[1:]
	}
}

// appear takes a number out of the absent ones: it has come after all.
func (c *chain) appear(n uint64) {
	var out []absence
	for _, a := range c.absent {
		if n < a.Range.From || a.Range.To < n {
			out = append(out, a)
			continue
		}
		if a.Range.From < n {
			out = append(out, absence{Range{a.Range.From, n - 1}, a.Why})
		}
		if n < a.Range.To {
			out = append(out, absence{Range{n + 1, a.Range.To}, a.Why})
		}
	}
	c.absent = out
	c.limitAbsent()
}

// forgetBeyond forgets the numbers from n on as far as nothing of them has come: their author has not written them yet,
// whoever named them. They are news when it does.
func (c *chain) forgetBeyond(n uint64) {
	for c.top > n {
		k, j := len(c.gaps)-1, len(c.absent)-1
		switch {
		case k >= 0 && c.gaps[k].To == c.top-1:
			if c.top = max(n, c.gaps[k].From); c.top == c.gaps[k].From {
				c.gaps = c.gaps[:k]
			} else {
				c.gaps[k].To = c.top - 1
			}
		case j >= 0 && c.absent[j].Range.To == c.top-1 && c.absent[j].Why != noneNotKept:
			if c.top = max(n, c.absent[j].Range.From); c.top == c.absent[j].Range.From {
				c.absent = c.absent[:j]
			} else {
				c.absent[j].Range.To = c.top - 1
			}
		default:
			return
		}
	}
}

// reopen makes a settled number missing again: what was held for it is not what the author wrote.
func (c *chain) reopen(n uint64) {
	if c.missing(n) {
		return
	}
	i, _ := slices.BinarySearchFunc(c.gaps, n, func(g Range, n uint64) int {
		if g.From < n {
			return -1
		}
		return 1
	})
	c.gaps = slices.Insert(c.gaps, i, Range{n, n})
}

// lookFor makes missing a number that somebody names, and what is absent before it in its run: it may be there as well. What
// its author said is not for us stays.
func (c *chain) lookFor(n uint64) {
	r := Range{n &^ (1<<runBits - 1), n}
	var absent []absence
	for _, a := range c.absent {
		lo, hi := max(a.Range.From, r.From), min(a.Range.To, r.To)
		if lo > hi || a.Why == noneNotForYou {
			absent = append(absent, a)
			continue
		}
		if a.Range.From < lo {
			absent = append(absent, absence{Range{a.Range.From, lo - 1}, a.Why})
		}
		if hi < a.Range.To {
			absent = append(absent, absence{Range{hi + 1, a.Range.To}, a.Why})
		}
		c.gaps = append(c.gaps, Range{lo, hi})
	}
	c.absent = absent
	slices.SortFunc(c.gaps, func(a, b Range) int { return cmp.Compare(a.From, b.From) })
	c.limitAbsent()
}

// lookAgain makes missing what is absent for one of these reasons, and tells whether there was anything.
func (c *chain) lookAgain(why ...uint8) bool {
	var absent []absence
	for _, a := range c.absent {
		if !slices.Contains(why, a.Why) {
			absent = append(absent, a)
			continue
		}
		c.gaps = append(c.gaps, a.Range)
	}
	found := len(absent) < len(c.absent)
	c.absent = absent
	slices.SortFunc(c.gaps, func(a, b Range) int { return cmp.Compare(a.From, b.From) })
	return found
}

// absentAt returns why a settled number is not held; 0 if nothing is noted about it. Rest is the last number for which
// the same holds.
func (c *chain) absentAt(n uint64) (why uint8, rest uint64) {
	for _, a := range c.absent {
		if a.Range.From <= n && n <= a.Range.To {
			return a.Why, a.Range.To
		}
	}
	return 0, n
}

// front returns the highest number that exists and below which nothing is missing; ok is false if there is none.
func (c *chain) front() (n uint64, ok bool) {
	return c.frontBut(func(why uint8) bool { return why == noneNotExisted })
}

// ownFront is front for the own chain: what was looked for in vain is passed over, or who makes up own numbers could keep
// the rest from being announced.
func (c *chain) ownFront() (n uint64, ok bool) {
	return c.frontBut(func(why uint8) bool { return why != 0 })
}

// frontBut passes over what is absent for some reasons.
func (c *chain) frontBut(over func(why uint8) bool) (n uint64, ok bool) {
	end := c.top
	if len(c.gaps) > 0 {
		end = c.gaps[0].From
	}
	for end > 0 {
		why, _ := c.absentAt(end - 1)
		if !over(why) {
			return end - 1, true
		}
		for _, a := range c.absent {
			if a.Range.From <= end-1 && end-1 <= a.Range.To {
				end = a.Range.From
				break
			}
		}
	}
	return 0, false
}

// newest returns the highest number that has come, whatever is missing below it; ok is false if there is none.
func (c *chain) newest() (n uint64, ok bool) {
	for end := c.top; end > 0; {
		n, covered := end-1, false
		for _, g := range c.gaps {
			if g.From <= n && n <= g.To {
				end, covered = g.From, true
			}
		}
		for _, a := range c.absent {
			if !covered && a.Range.From <= n && n <= a.Range.To {
				end, covered = a.Range.From, true
			}
		}
		if !covered {
			return n, true
		}
	}
	return 0, false
}

// receipt returns 1 + the highest number that has come or is not for us, and what is missing below it.
func (c *chain) receipt() (upTo uint64, missing []Range) {
	upTo = c.top
	for changed := true; changed && upTo > 0; {
		changed = false
		for _, a := range c.absent {
			if a.Why != noneNotForYou && a.Why != saidNotForYou && a.Range.From < upTo && a.Range.To >= upTo-1 {
				upTo, changed = a.Range.From, true
			}
		}
		for _, g := range c.gaps {
			if g.From < upTo && g.To >= upTo-1 {
				upTo, changed = g.From, true
			}
		}
	}
	add := func(r Range) {
		if r.From < upTo {
			missing = append(missing, Range{r.From, min(r.To, upTo-1)})
		}
	}
	for _, g := range c.gaps {
		add(g)
	}
	for _, a := range c.absent {
		if a.Why == noneNotKept || a.Why == saidNotKept {
			add(a.Range)
		}
	}
	slices.SortFunc(missing, func(a, b Range) int { return cmp.Compare(a.From, b.From) })
	return upTo, missing[:min(len(missing), 255)]
}

// fix notes the author's own word about a message that is not held from the author itself.
func (c *chain) fix(n uint64, hash [32]byte) {
	if _, ok := c.fixedHash(n); ok {
		return
	}
	if len(c.fixed) >= maxFixed {
		c.fixed = c.fixed[1:]
	}
	c.fixed = append(c.fixed, MessageID{c.author, n, hash})
}

// fixedHash returns what the author itself said about n.
func (c *chain) fixedHash(n uint64) (hash [32]byte, ok bool) {
	for _, f := range c.fixed {
		if f.Number == n {
			return f.Hash, true
		}
	}
	return hash, false
}

// takeClaim makes what somebody named the hint, once it is the newest that is settled.
func (c *chain) takeClaim() {
	if c.takesClaim() {
		c.hint = c.claim
	}
}

// takesClaim tells whether takeClaim changes anything.
func (c *chain) takesClaim() bool {
	if c.claim.Author != c.author {
		return false
	}
	n, ok := c.front()
	return ok && c.claim.Number == n && (c.hint.Author != c.author || c.hint.Number != n)
}

func (c *chain) unfix(n uint64) {
	c.fixed = slices.DeleteFunc(c.fixed, func(f MessageID) bool { return f.Number == n })
}

// refer notes that a missing message is a parent of something held.
func (c *chain) refer(n uint64) {
	if len(c.refs) < maxRefs && !slices.Contains(c.refs, n) {
		c.refs = append(c.refs, n)
	}
}

// referred tells whether refer was called for n, and forgets it.
func (c *chain) referred(n uint64) bool {
	i := slices.Index(c.refs, n)
	if i < 0 {
		return false
	}
	c.refs = slices.Delete(c.refs, i, i+1)
	return true
}

const chainVersion = 1

func (c *chain) encode() []byte {
	b := wire.AppendU64([]byte{chainVersion}, c.top)
	b = wire.AppendU16(b, uint16(len(c.gaps)))
	for _, g := range c.gaps {
		b = appendRange(b, g)
	}
	b = wire.AppendU16(b, uint16(len(c.absent)))
	for _, a := range c.absent {
		b = append(appendRange(b, a.Range), a.Why)
	}
	b = appendMessageID(b, c.hint)
	b = wire.AppendU16(b, uint16(len(c.fixed)))
	for _, f := range c.fixed {
		b = append(wire.AppendU64(b, f.Number), f.Hash[:]...)
	}
	b = wire.AppendU16(b, uint16(len(c.refs)))
	for _, n := range c.refs {
		b = wire.AppendU64(b, n)
	}
	return b
}

func decodeChain(author Key, in []byte) (*chain, error) {
	r := wire.NewReader(in)
	if r.U8() != chainVersion {
		return nil, ErrRecords
	}
	c := &chain{author: author, top: r.U64()}
	for n := r.U16(); n > 0 && r.Err() == nil; n-- {
		c.gaps = append(c.gaps, readRange(r))
	}
	for n := r.U16(); n > 0 && r.Err() == nil; n-- {
		c.absent = append(c.absent, absence{readRange(r), r.U8()})
	}
	c.hint = readMessageID(r)
	for n := r.U16(); n > 0 && r.Err() == nil; n-- {
		c.fixed = append(c.fixed, MessageID{author, r.U64(), read32(r)})
	}
	for n := r.U16(); n > 0 && r.Err() == nil; n-- {
		c.refs = append(c.refs, r.U64())
	}
	if r.Done() != nil {
		return nil, ErrRecords
	}
	return c, nil
}
