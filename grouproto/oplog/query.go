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

// At returns the i-th admitted operation, 0 ≤ i < Len; ancestors always come first.
func (l *Log) At(i int) *Op { return l.nodes[i].op }

// Heads returns the heads for a frame: of the operations that are in no other's past the 16 with the highest IDs,
// ascending.
func (l *Log) Heads() []ID {
	ids := l.ids(l.heads)
	sortIDs(ids)
	return ids[max(0, len(ids)-MaxParents):]
}

// InPast tells whether a is a proper ancestor of b; false if one of them is not admitted.
func (l *Log) InPast(a, b ID) bool {
	i, known := l.byID[a]
	j, ok := l.byID[b]
	return known && ok && l.nodes[j].past.has(i)
}

// Includes tells whether an operation is one of the given heads or in the past of one. Heads that are not admitted are
// ignored.
func (l *Log) Includes(heads []ID, id ID) bool {
	i, ok := l.byID[id]
	return ok && l.closure(l.indexes(heads)).has(i)
}

// Rank returns the rank of an admitted operation; ok is false if it is not admitted.
func (l *Log) Rank(id ID) (r Rank, ok bool) {
	i, ok := l.byID[id]
	if !ok {
		return Rank{}, false
	}
	return l.nodes[i].rank, true
}

// Lacking returns the given operations and their ancestors without the given heads and their ancestors, ancestors first:
// what somebody with these heads lacks to take ids. What is not admitted is ignored.
func (l *Log) Lacking(ids, heads []ID) []*Op {
	var ops []*Op
	want, has := l.closure(l.indexes(ids)), l.closure(l.indexes(heads))
	for i := range has.without(want.n) {
		if want.has(i) {
			ops = append(ops, l.nodes[i].op)
		}
	}
	return ops
}

// After returns all operations that somebody with these heads lacks, ancestors first. Heads that are not admitted are
// ignored.
func (l *Log) After(heads []ID) []*Op {
	var ops []*Op
	for i := range l.closure(l.indexes(heads)).without(int32(len(l.nodes))) {
		ops = append(ops, l.nodes[i].op)
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
