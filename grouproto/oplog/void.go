package oplog

import "math/bits"

// The rules of docs/groups.md, "Void", over admitted operations. What is void in a set depends on the set alone; it is
// decided from the highest rank down.

// voids returns what is void in a set that is closed under past.
func (l *Log) voids(s span) marks {
	var decided marks
	if l.attacks == 0 {
		return decided // nothing was ever void, so views never differ (V2) either
	}
	for _, i := range l.byRank {
		if s.has(i) && l.isVoid(i, s, decided) {
			decided.put(i)
		}
	}
	return decided
}

// isVoid decides one operation of s, or one that is about to be added to s, when all of higher rank are decided.
func (l *Log) isVoid(i int32, s span, decided marks) bool {
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
		return !x.void.has(y)
	}}
	return judge(v, nil, x.op.Author, x.op.Action) != ReasonNone
}

// viewDiffers tells whether an operation in the past of x, of higher rank, is void now but was not in the state of that
// past, or the other way round. The first is enough: of those that differ take the one of highest rank. In the larger set
// it has all that made it void in the smaller one, so what differs is that it is void now.
func (l *Log) viewDiffers(x *node, decided marks) bool {
	for at, word := range decided.words {
		w := decided.first + int32(at)
		if w*64 >= x.past.n {
			break
		}
		for word &^= x.past.word(w) | x.void.word(w); word != 0; word &= word - 1 {
			if y := w*64 + int32(bits.TrailingZeros64(word)); l.nodes[y].rank.higher(x.rank) {
				return true
			}
		}
	}
	return false
}
