package oplog

import "slices"

// Len returns the number of admitted operations.
func (l *Log) Len() int { return len(l.nodes) }

// Op returns an admitted operation, nil if there is none with this ID.
func (l *Log) Op(id ID) *Op {
	if i, ok := l.byID[id]; ok {
		return l.nodes[i].op
	}
	return nil
}

func (l *Log) admitted(id ID) bool {
	_, ok := l.byID[id]
	return ok
}

// Has tells whether an operation is here, admitted or kept without being judged.
func (l *Log) Has(id ID) bool {
	_, kept := l.kept.byID[id]
	return kept || l.admitted(id)
}

// At returns the i-th admitted operation, 0 ≤ i < Len; ancestors always come first.
func (l *Log) At(i int) *Op { return l.nodes[i].op }

// Heads returns the heads of what is admitted: of the operations that are in no other's past the 16 with the highest IDs,
// ascending. A message names them.
func (l *Log) Heads() []ID {
	ids := l.ids(l.heads)
	sortIDs(ids)
	return ids[max(0, len(ids)-MaxParents):]
}

// AllHeads returns the heads of all that is here, with what is kept without being judged: the 16 with the highest IDs,
// ascending. Frames that say what one has name them.
func (l *Log) AllHeads() []ID {
	if len(l.kept.nodes) == 0 {
		return l.Heads()
	}
	var ids []ID
	for _, h := range l.heads {
		if !l.kept.past.has(h) {
			ids = append(ids, l.nodes[h].op.id)
		}
	}
	for _, h := range l.kept.heads {
		ids = append(ids, l.kept.nodes[h].op.id)
	}
	sortIDs(ids)
	return ids[max(0, len(ids)-MaxParents):]
}

// InPast tells whether a is a proper ancestor of b; false if one of them is not here.
func (l *Log) InPast(a, b ID) bool {
	i, judged := l.byID[a]
	if j, ok := l.byID[b]; ok {
		return judged && l.nodes[j].past.has(i)
	}
	j, ok := l.kept.byID[b]
	if !ok {
		return false
	}
	if judged {
		return l.kept.nodes[j].past.has(i)
	}
	i, ok = l.kept.byID[a]
	return ok && l.kept.nodes[j].kept.has(i)
}

// Includes tells whether an operation is one of the given heads or in the past of one. Heads that are not here are
// ignored.
func (l *Log) Includes(heads []ID, id ID) bool {
	if i, ok := l.byID[id]; ok {
		judged, _ := l.reach(heads)
		return judged.has(i)
	}
	i, ok := l.kept.byID[id]
	_, kept := l.reach(heads)
	return ok && kept.has(i)
}

// AddedAgain tells whether a key was added more than once, by members that did not know of each other's add.
func (l *Log) AddedAgain(k Key) bool { return len(l.index.adds[k]) > 1 }

// Rank returns the rank of an admitted operation; ok is false if it is not admitted.
func (l *Log) Rank(id ID) (r Rank, ok bool) {
	i, ok := l.byID[id]
	if !ok {
		return Rank{}, false
	}
	return l.nodes[i].rank, true
}

// Lacking returns the given operations and their ancestors without the given heads and their ancestors, ancestors first:
// what somebody with these heads lacks to take ids. What is not here is ignored. What cannot be judged comes last.
func (l *Log) Lacking(ids, heads []ID) []*Op {
	var ops []*Op
	want, wantKept := l.reach(ids)
	has, hasKept := l.reach(heads)
	for i := range has.without(want.n) {
		if want.has(i) {
			ops = append(ops, l.nodes[i].op)
		}
	}
	for i := range hasKept.without(wantKept.n) {
		if wantKept.has(i) {
			ops = append(ops, l.kept.nodes[i].op)
		}
	}
	return ops
}

// After returns all operations that somebody with these heads lacks, ancestors first and what cannot be judged last.
// Heads that are not here are ignored.
func (l *Log) After(heads []ID) []*Op {
	var ops []*Op
	has, hasKept := l.reach(heads)
	for i := range has.without(int32(len(l.nodes))) {
		ops = append(ops, l.nodes[i].op)
	}
	for i := range hasKept.without(int32(len(l.kept.nodes))) {
		ops = append(ops, l.kept.nodes[i].op)
	}
	return ops
}

// State returns the state of all admitted operations.
func (l *Log) State() *State {
	l.state.frozen = true
	return l.state
}

// StateAt returns the state of the given heads and their past; ok is false if one of them is not admitted, or none is
// given.
func (l *Log) StateAt(heads []ID) (s *State, ok bool) {
	at := l.indexes(heads)
	if len(at) < len(heads) || len(at) == 0 {
		return nil, false
	}
	set := l.closure(at)
	st := l.stateOf(set, l.unimplied(at))
	st.frozen = true
	return st, true
}

// unimplied returns the given operations without those in the past of another.
func (l *Log) unimplied(at []int32) []int32 {
	at = slices.Compact(slices.Sorted(slices.Values(at)))
	var heads []int32
	view{l, func(int32) bool { return true }}.newest(at, func(i int32) { heads = append(heads, i) })
	return heads
}

// closure returns the given operations and their ancestors.
func (l *Log) closure(at []int32) span {
	var set span
	for _, i := range at {
		set = set.union(l.nodes[i].past.with(i))
	}
	return set
}

// indexes returns the indexes of those ids that are admitted.
func (l *Log) indexes(ids []ID) []int32 {
	at := make([]int32, 0, len(ids))
	for _, id := range ids {
		if i, ok := l.byID[id]; ok {
			at = append(at, i)
		}
	}
	return at
}

func (l *Log) ids(at []int32) []ID {
	ids := make([]ID, len(at))
	for n, i := range at {
		ids[n] = l.nodes[i].op.id
	}
	return ids
}

func sortIDs(ids []ID) { slices.SortFunc(ids, ID.Compare) }
