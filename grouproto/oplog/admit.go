package oplog

import "slices"

// examine is A1 (as far as the parents go) to A4 for an operation whose parents are all admitted. It returns what the
// operation's place in the log is, and the state of its past.
func (l *Log) examine(op *Op) (*node, *State, Reason) {
	parents := l.indexes(op.Parents)
	for _, i := range parents {
		for _, j := range parents {
			if l.nodes[j].past.has(i) {
				return nil, nil, ReasonParents
			}
		}
	}
	x, st, _ := l.place(op, parents)
	if op.version > st.policy.OpsVersion {
		return nil, nil, ReasonVersion
	}
	if op.Seq != l.nextSeq(op.Author, x.past) {
		return nil, nil, ReasonSeq
	}
	if r := st.Allows(op.Author, op.Action); r != ReasonNone {
		return nil, nil, r
	}
	return x, st, ReasonNone
}

// place makes the node of an operation; ok is false if its author is not present in the state of its past.
func (l *Log) place(op *Op, parents []int32) (x *node, st *State, ok bool) {
	x = &node{op: op, past: l.closure(parents)}
	st = l.stateOf(x.past, parents)
	author, ok := st.members[op.Author]
	x.rank, x.policy, x.void = author.Rank, st.policy, st.void
	switch a := op.Action.(type) {
	case *Add:
		x.grants = x.rank.below(a.Role, op.Seq, op.id)
	case *RoleChange:
		x.grants = x.rank.below(a.Role, op.Seq, op.id)
	}
	return x, st, ok
}

// nextSeq is A2: 0, or 1 + the largest seq of the author's operations in a set.
func (l *Log) nextSeq(author Key, in span) uint64 {
	var next uint64
	view{l, in.has}.newest(l.index.authors[author], func(i int32) {
		next = max(next, l.nodes[i].op.Seq+1)
	})
	return next
}

// admit makes x part of the log, given the state of its past.
func (l *Log) admit(x *node, past *State) {
	everything := past == l.state
	i, attacked := l.insert(x)
	if l.state.frozen {
		l.state = l.state.clone()
	}
	l.state.move(whole(len(l.nodes)), l.voidsWith(i, attacked), i)
	if !everything {
		// Its author's next operation, and others of the same branch, will ask for this one.
		st := past.clone()
		st.move(x.past.with(i), past.void, i)
		l.cache.put([]int32{i}, st)
	}
	l.count.Admitted++
}

// voidsWith returns what is void in everything, after operation i was inserted: mostly what was void before, because
// nothing has i in its past, so it changes others only by what it takes from them (V1).
func (l *Log) voidsWith(i int32, attacked []int32) marks {
	before := l.state.void
	if l.isVoid(i, whole(len(l.nodes)), before) {
		return before.with(i)
	}
	for _, y := range attacked {
		if !before.has(y) {
			return l.voids(whole(len(l.nodes)))
		}
	}
	return before
}

// insert appends a node and keeps heads, index, ranks and attackers. It returns the node's index and which operations it
// attacks.
func (l *Log) insert(x *node) (i int32, attacked []int32) {
	i = int32(len(l.nodes))
	l.nodes = append(l.nodes, x)
	l.byID[x.op.id] = i
	l.heads = slices.DeleteFunc(l.heads, func(h int32) bool { return x.past.has(h) })
	l.heads = append(l.heads, i)
	l.index.insert(x.op, i)
	at, _ := slices.BinarySearchFunc(l.byRank, x.rank, func(y int32, rank Rank) int {
		return rank.Compare(l.nodes[y].rank)
	})
	l.byRank = slices.Insert(l.byRank, at, i)
	for at := len(l.index.hostile) - 1; at >= 0 && l.index.hostile[at] >= x.past.firstOut(); at-- {
		if j := l.index.hostile[at]; j != i && !x.past.has(j) && attacks(l.nodes[j], x) {
			l.attack(j, i)
		}
	}
	if x.op.hostile() {
		for j := range x.past.without(i) {
			if attacks(x, l.nodes[j]) {
				l.attack(i, j)
				attacked = append(attacked, j)
			}
		}
	}
	return i, attacked
}

func (l *Log) attack(attacker, victim int32) {
	l.nodes[victim].attackers = append(l.nodes[victim].attackers, attacker)
	l.nodes[attacker].hits++
	l.attacks++
}

// equivocation reports the latest operation of the same author that is parallel to operation i.
func (l *Log) equivocation(i int32) (Equivocation, bool) {
	x := l.nodes[i]
	own := l.index.authors[x.op.Author]
	at, _ := slices.BinarySearch(own, i)
	for at--; at >= 0 && own[at] >= x.past.firstOut(); at-- {
		if !x.past.has(own[at]) {
			return Equivocation{Author: x.op.Author, Ops: [2]ID{l.nodes[own[at]].op.id, x.op.id}}, true
		}
	}
	return Equivocation{}, false
}

// tooParallel tells whether the author has MaxParallel operations that are parallel to each other and to one with this
// past. They are counted by chains, so a long branch that was lost and found again (an old backup) counts once.
func (l *Log) tooParallel(author Key, past span) bool {
	var chains []int32
	for _, i := range l.index.authors[author] {
		if past.has(i) {
			continue
		}
		at := slices.IndexFunc(chains, func(last int32) bool { return l.nodes[i].past.has(last) })
		switch {
		case at >= 0:
			chains[at] = i
		case len(chains) == MaxParallel-1:
			return true
		default:
			chains = append(chains, i)
		}
	}
	return false
}

// tooLate tells whether an author whose presence has ended here has MaxLate operations beside what ended it. It may have
// written some before it heard of that; but nothing would end the writing of one that was removed for it.
func (l *Log) tooLate(author Key) bool {
	if _, present := l.state.members[author]; present {
		return false
	}
	ends := slices.Concat(l.index.removals[author], l.index.leaves[author])
	ends = slices.DeleteFunc(ends, l.state.void.has)
	late := 0
	for _, i := range l.index.authors[author] {
		if !slices.ContainsFunc(ends, func(end int32) bool { return end == i || l.nodes[end].past.has(i) }) {
			late++
		}
	}
	return late >= MaxLate
}

// stateOf returns the state of a set with the given heads, none implied by another. Only l may get it unfrozen.
func (l *Log) stateOf(set span, heads []int32) *State {
	if int(set.n) == len(l.nodes) && len(set.holes) == 0 {
		return l.state
	}
	heads = slices.Sorted(slices.Values(heads))
	if st := l.cache.get(heads); st != nil {
		return st
	}
	st := l.state.clone()
	rest := slices.Collect(set.without(int32(len(l.nodes))))
	st.move(set, l.voidsOf(set, rest), rest...)
	l.cache.put(heads, st)
	return st
}

// voidsOf returns what is void in a set, given what else is known: mostly what is void in everything, because nothing in
// the set has any of the rest in its past, so the rest changes it only by what it takes from it (V1).
func (l *Log) voidsOf(set span, rest []int32) marks {
	for _, i := range rest {
		if l.nodes[i].hits > 0 && !l.state.void.has(i) {
			return l.voids(set)
		}
	}
	return l.state.void.in(set)
}

// cache has the states of some sets by their heads, the most recently used first.
type cache struct {
	entries []cached
}

type cached struct {
	heads []int32 // ascending
	state *State
}

// cacheSize is the number of states that are kept: as many branches can grow side by side without their states being
// made again from that of everything.
const cacheSize = 32

func (c *cache) get(heads []int32) *State {
	for at, e := range c.entries {
		if slices.Equal(e.heads, heads) {
			copy(c.entries[1:at+1], c.entries[:at])
			c.entries[0] = e
			return e.state
		}
	}
	return nil
}

func (c *cache) put(heads []int32, st *State) {
	st.frozen = true
	c.entries = slices.Insert(c.entries, 0, cached{heads, st})
	if len(c.entries) > cacheSize {
		c.entries[cacheSize] = cached{}
		c.entries = c.entries[:cacheSize]
	}
}
