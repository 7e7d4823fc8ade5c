package oplog

import (
	"slices"

	"github.com/coterie-im/coterie/internal/kv"
)

// keptArea holds the operations that this program cannot judge: those of later versions, and those with one of these in
// their past (docs/groups.md, "Operations of later versions"). They have no effect, but they are stored and passed on.
// Each was found good as far as its header tells, and all its parents are admitted or kept as well.
//
// Inside they are known by their place, and sets of them are spans, as admitted ones are by their index of admission.
type keptArea struct {
	nodes  []*keptOp // ancestors first
	byID   map[ID]int32
	heads  []int32 // in no other's past, ascending
	past   span    // the admitted operations in the past of any of them
	of     map[Key]tally
	all    tally
	serial uint64      // of the next record
	over   map[ID]bool // for which there was no room, lately
	overs  []ID        // the same, the oldest first, at most MaxWaiting
	ripe   bool        // a later version of the program can judge some of what was loaded
}

type keptOp struct {
	op      *Op
	serial  uint64
	vouched bool // handed over by somebody else than its author
	past    span // admitted ancestors
	kept    span // kept ancestors
}

// tally is what is kept of an author, or of all. Authors that no admitted operation names have one together: else
// whoever wrote one such operation could make up any number of them.
type tally struct{ ops, bytes int }

func (t tally) full(size, ops, bytes int) bool { return t.ops >= ops || t.bytes+size > bytes }

func newKeptArea() keptArea {
	return keptArea{byID: map[ID]int32{}, of: map[Key]tally{}, over: map[ID]bool{}}
}

// keep takes an operation that cannot be judged; all its parents are here. What the header and a past that is judged
// already tell against it is final, as it is for a program that can judge it.
func (l *Log) keep(op *Op, vouched bool) (Status, Reason) {
	k := &keptOp{op: op, vouched: vouched}
	k.past, k.kept = l.reach(op.Parents)
	for _, p := range op.Parents {
		for _, q := range op.Parents {
			if l.InPast(p, q) {
				return l.refuse(op.id, ReasonParents)
			}
		}
	}
	if op.Seq != l.nextSeqKept(op.Author, k) {
		return l.refuse(op.id, ReasonSeq)
	}
	if k.kept.n == 0 {
		st := l.stateOf(k.past, l.indexes(op.Parents))
		_, present := st.members[op.Author]
		switch {
		case op.version > st.policy.OpsVersion:
			return l.refuse(op.id, ReasonVersion)
		case st.closed:
			return l.refuse(op.id, ReasonClosed)
		case !present:
			return l.refuse(op.id, ReasonAuthor)
		}
	}
	size, pool := op.Size(), l.pool(op.Author)
	if l.kept.all.full(size, MaxUnjudged, unjudgedBytes) || l.kept.of[pool].full(size, MaxUnjudgedOf, unjudgedBytes/4) {
		return l.refuse(op.id, ReasonUnjudged)
	}
	l.insertKept(k)
	l.waiting.forgetDropped(op.id)
	l.count.Unjudged++
	return Unjudged, ReasonNone
}

// pool returns under whose name the operations of an author are counted.
func (l *Log) pool(author Key) Key {
	if len(l.index.grants[author]) == 0 {
		return Key{}
	}
	return author
}

func (l *Log) insertKept(k *keptOp) {
	a := &l.kept
	i := int32(len(a.nodes))
	k.serial = a.serial
	a.serial++
	a.nodes = append(a.nodes, k)
	a.byID[k.op.id] = i
	a.heads = slices.DeleteFunc(a.heads, func(h int32) bool { return k.kept.has(h) })
	a.heads = append(a.heads, i)
	a.past = a.past.union(k.past)
	pool, size := l.pool(k.op.Author), k.op.Size()
	a.of[pool] = tally{a.of[pool].ops + 1, a.of[pool].bytes + size}
	a.all = tally{a.all.ops + 1, a.all.bytes + size}
}

// nextSeqKept is A2 for an operation with kept ancestors.
func (l *Log) nextSeqKept(author Key, k *keptOp) uint64 {
	next := l.nextSeq(author, k.past)
	for i, other := range l.kept.nodes[:k.kept.n] {
		if other.op.Author == author && k.kept.has(int32(i)) {
			next = max(next, other.op.Seq+1)
		}
	}
	return next
}

// forgo notes that there was no room for an operation, so that it is not asked for again and again.
func (a *keptArea) forgo(id ID) {
	if a.over[id] {
		return
	}
	a.over[id] = true
	if a.overs = append(a.overs, id); len(a.overs) > MaxWaiting {
		delete(a.over, a.overs[0])
		a.overs = a.overs[1:]
	}
}

// vouch notes that somebody else than its author handed over a kept operation.
func (l *Log) vouch(tx kv.Tx, i int32) {
	if k := l.kept.nodes[i]; !k.vouched {
		k.vouched = true
		l.storeKept(tx, i)
	}
}

// reach returns the given operations and their ancestors: the admitted ones and those that are kept unjudged. What is
// neither is ignored.
func (l *Log) reach(ids []ID) (judged, kept span) {
	for _, id := range ids {
		if i, ok := l.byID[id]; ok {
			judged = judged.union(l.nodes[i].past.with(i))
		} else if i, ok := l.kept.byID[id]; ok {
			k := l.kept.nodes[i]
			judged, kept = judged.union(k.past), kept.union(k.kept.with(i))
		}
	}
	return judged, kept
}

// Unjudged returns how many operations are kept that this program cannot judge.
func (l *Log) Unjudged() int { return len(l.kept.nodes) }

// Outdated tells whether the policy in force accepts operations of a later version than this program knows. Then nothing
// can be written here.
func (l *Log) Outdated() bool { return l.state.policy.OpsVersion > l.known }

// MustUpgrade tells whether the group is beyond this program: it is Outdated, or operations are here that cannot be
// judged.
func (l *Log) MustUpgrade() bool { return l.Outdated() || len(l.kept.nodes) > 0 }

// Judged returns the heads of what is admitted among the given operations and their ancestors: the given ones, with those
// that cannot be judged here replaced by their admitted ancestors, and without those that are not known.
func (l *Log) Judged(heads []ID) []ID {
	judged, kept := l.reach(heads)
	if kept.n == 0 {
		return slices.DeleteFunc(slices.Clone(heads), func(id ID) bool { return !l.admitted(id) })
	}
	var all []int32
	for i := range judged.n {
		if judged.has(i) {
			all = append(all, i)
		}
	}
	ids := l.ids(l.unimplied(all))
	sortIDs(ids)
	return ids
}

// Ripe tells whether Judge has something to do: what was loaded was kept by a program that knew less than this one.
func (l *Log) Ripe() bool { return l.kept.ripe }

// Judge decides about the kept operations that this program can judge, in the order in which they came. Status and
// Missing of the result say nothing.
func (l *Log) Judge(tx kv.Tx) Result {
	var res Result
	old := l.kept
	for i := len(old.nodes) - 1; i >= 0; i-- {
		for _, p := range old.nodes[i].op.Parents {
			if at, ok := old.byID[p]; ok && old.nodes[i].vouched {
				old.nodes[at].vouched = true // whoever vouches for an operation vouches for its past
			}
		}
	}
	l.kept = newKeptArea()
	l.kept.serial = old.serial
	for _, k := range old.nodes {
		if tx != nil {
			tx.Delete(keptKey(l.prefix, k.serial))
		}
		from := k.op.Author
		if k.vouched {
			from = Key{}
		}
		if l.add(tx, k.op, from, &res); res.Status == Refused {
			res.Refused = append(res.Refused, Refusal{k.op.id, k.op.Author, res.Reason})
		}
	}
	res.Status, res.Reason, res.Missing = 0, ReasonNone, nil
	return res
}
