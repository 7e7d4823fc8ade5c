package oplog

import "slices"

// The rules of docs/groups.md, "Void", over admitted operations. What is void in a set depends on the set alone; it is
// decided from the highest rank down.

// voids returns what is void in a set that is closed under past, ascending.
func (l *Log) voids(s span) []int32 {
	if l.attacks == 0 {
		return nil // nothing was ever void, so views never differ (V2) either
	}
	var decided voidSet
	for _, i := range l.byRank {
		if s.has(i) && l.isVoid(i, s, &decided) {
			decided.insert(i)
		}
	}
	return decided.sorted
}

// isVoid decides one operation of s, or one that is about to be added to s, when all of higher rank are decided.
func (l *Log) isVoid(i int32, s span, decided *voidSet) bool {
	x := l.nodes[i]
	if x.unvoidable() {
		return false
	}
	for _, y := range x.attackers { // V1
		if s.has(y) && !decided.has(y) {
			return true
		}
	}
	if !l.viewDiffers(x, decided) {
		return false // A3 held at admission, in the same view
	}
	v := view{l, func(y int32) bool { // V2
		if !x.past.has(y) {
			return false
		}
		if l.nodes[y].rank.higher(x.rank) {
			return !decided.has(y)
		}
		return !contains(x.void, y)
	}}
	return judge(v, nil, x.op.Author, x.op.Action) != ReasonNone
}

// viewDiffers tells whether an operation in the past of x, of higher rank, is void now but was not in the state of that
// past, or the other way round. The first is enough: of those that differ take the one of highest rank. In the larger set
// it has all that made it void in the smaller one, so what differs is that it is void now.
func (l *Log) viewDiffers(x *node, decided *voidSet) bool {
	for _, y := range decided.sorted {
		if x.past.has(y) && !contains(x.void, y) && l.nodes[y].rank.higher(x.rank) {
			return true
		}
	}
	return false
}

// voidSet is a small set of indexes.
type voidSet struct{ sorted []int32 }

func (v *voidSet) has(i int32) bool { return contains(v.sorted, i) }

func (v *voidSet) insert(i int32) {
	at, _ := slices.BinarySearch(v.sorted, i)
	v.sorted = slices.Insert(v.sorted, at, i)
}

func contains(sorted []int32, i int32) bool {
	_, ok := slices.BinarySearch(sorted, i)
	return ok
}

// different returns what is in exactly one of two ascending lists.
func different(a, b []int32) (out []int32) {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			a, b = a[1:], b[1:]
		case a[0] < b[0]:
			out, a = append(out, a[0]), a[1:]
		default:
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}
