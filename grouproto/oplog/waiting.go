package oplog

import (
	"slices"

	"github.com/coterie-im/coterie/internal/kv"
)

// waitingArea holds well-signed operations with unknown parents (docs/groups.md, "Limits"), and what was dropped or
// refused lately. It is not stored: what is lost with it is found again by the heads in frames.
type waitingArea struct {
	byID     map[ID]*waitingOp
	order    []*waitingOp        // the oldest first
	children map[ID][]*waitingOp // by parent that is not admitted
	of       map[Key]int         // how many a member handed over
	dropped  []ID                // the oldest first, at most MaxWaiting
	refused  map[ID]Reason       // for final reasons
	refusals []ID                // the keys of refused, the oldest first, at most MaxWaiting
}

type waitingOp struct {
	op      *Op
	from    Key
	vouched bool // handed over by somebody else than its author
}

func newWaitingArea() waitingArea {
	return waitingArea{byID: map[ID]*waitingOp{}, children: map[ID][]*waitingOp{}, of: map[Key]int{}, refused: map[ID]Reason{}}
}

// final tells whether everybody will always refuse the operation for this reason. A wrong signature is not final: it is
// no part of the ID.
func (r Reason) final() bool {
	switch r {
	case ReasonNone, ReasonSignature, ReasonParallel, ReasonFull, ReasonUpgrade, ReasonUnjudged:
		return false
	}
	return true
}

// receive decides about one operation, without those that wait for it.
func (l *Log) receive(op *Op, from Key) (Status, Reason) {
	if _, known := l.byID[op.id]; known {
		return AlreadyKnown, ReasonNone
	}
	vouched := from != op.Author
	if w := l.waiting.byID[op.id]; w != nil {
		w.vouched = w.vouched || vouched
		return Waiting, ReasonNone
	}
	if r := l.refuseEarly(op); r != ReasonNone {
		return l.refuse(op.id, r)
	}
	if len(l.unknownParents(op)) > 0 {
		l.waiting.put(&waitingOp{op, from, vouched}, l)
		return Waiting, ReasonNone
	}
	return l.settle(op, vouched)
}

// refuseEarly is what can be said without the parents.
func (l *Log) refuseEarly(op *Op) Reason {
	if r, known := l.waiting.refused[op.id]; known {
		return r
	}
	if op.Group != l.Group() {
		return ReasonGroup
	}
	if op.Verify() != nil {
		return ReasonSignature
	}
	for _, p := range op.Parents {
		if _, refused := l.waiting.refused[p]; refused {
			return ReasonParents
		}
	}
	if slices.ContainsFunc(op.Parents, func(p ID) bool { return l.kept.over[p] }) {
		return ReasonUnjudged
	}
	return ReasonNone
}

// settle decides about a well-signed operation whose parents are all here.
func (l *Log) settle(op *Op, vouched bool) (Status, Reason) {
	if op.version > l.known || slices.ContainsFunc(op.Parents, func(p ID) bool { return !l.admitted(p) }) {
		return l.keep(op, vouched)
	}
	return l.decide(op, vouched)
}

// decide admits or refuses a well-signed operation whose parents are all admitted.
func (l *Log) decide(op *Op, vouched bool) (Status, Reason) {
	x, st, r := l.examine(op)
	if r == ReasonNone && !vouched && l.tooParallel(op.Author, x.past) && !l.waiting.needed(op.id) {
		r = ReasonParallel
	}
	if r == ReasonNone && !vouched && !l.waiting.needed(op.id) && l.tooLate(op.Author) {
		r = ReasonParallel
	}
	if r != ReasonNone {
		return l.refuse(op.id, r)
	}
	l.admit(x, st)
	l.waiting.forgetDropped(op.id)
	return Admitted, ReasonNone
}

func (l *Log) refuse(id ID, r Reason) (Status, Reason) {
	l.count.Refused++
	if w := &l.waiting; r.final() {
		if _, known := w.refused[id]; !known {
			w.refused[id] = r
			w.refusals = append(w.refusals, id)
			if len(w.refusals) > MaxWaiting {
				delete(w.refused, w.refusals[0])
				w.refusals = w.refusals[1:]
			}
		}
		w.forgetDropped(id)
	}
	if r == ReasonUnjudged {
		l.kept.forgo(id)
		l.waiting.forgetDropped(id)
	}
	return Refused, r
}

// release tells of an operation that was admitted or kept, stores it, and does the same with all that waited for it.
func (l *Log) release(tx kv.Tx, op *Op, res *Result) {
	for todo := []*Op{op}; len(todo) > 0; todo = todo[1:] {
		op := todo[0]
		if i, ok := l.byID[op.id]; ok {
			l.store(tx, i)
			res.Admitted = append(res.Admitted, op)
			if e, found := l.equivocation(i); found {
				res.Equivocations = append(res.Equivocations, e)
			}
		} else {
			l.storeKept(tx, l.kept.byID[op.id])
			res.Unjudged = append(res.Unjudged, op)
		}
		for _, w := range slices.Clone(l.waiting.children[op.id]) {
			if l.waiting.byID[w.op.id] != w || len(l.unknownParents(w.op)) > 0 {
				continue
			}
			l.waiting.take(w)
			switch status, r := l.settle(w.op, w.vouched); {
			case status == Admitted || status == Unjudged:
				todo = append(todo, w.op)
			case r.final():
				res.Refused = append(res.Refused, Refusal{w.op.id, w.op.Author, r})
				l.refuseWaiting(w.op.id, res)
			case r == ReasonUnjudged:
				res.Refused = append(res.Refused, Refusal{w.op.id, w.op.Author, r})
				l.forgoWaiting(w.op.id, res)
			default:
				res.Refused = append(res.Refused, Refusal{w.op.id, w.op.Author, r})
			}
		}
		delete(l.waiting.children, op.id)
	}
}

// refuseWaiting refuses all that waits for a refused operation.
func (l *Log) refuseWaiting(id ID, res *Result) { l.refuseAll(id, ReasonParents, res) }

// forgoWaiting does the same for an operation that there is no room for.
func (l *Log) forgoWaiting(id ID, res *Result) { l.refuseAll(id, ReasonUnjudged, res) }

func (l *Log) refuseAll(id ID, r Reason, res *Result) {
	for todo := []ID{id}; len(todo) > 0; todo = todo[1:] {
		for _, w := range slices.Clone(l.waiting.children[todo[0]]) {
			l.waiting.take(w)
			l.refuse(w.op.id, r)
			res.Refused = append(res.Refused, Refusal{w.op.id, w.op.Author, r})
			todo = append(todo, w.op.id)
		}
	}
}

func (l *Log) unknownParents(op *Op) []ID {
	var ids []ID
	for _, p := range op.Parents {
		if !l.Has(p) {
			ids = append(ids, p)
		}
	}
	return ids
}

// Unknown returns those of ids, e.g. of the heads in a frame, that should be asked for: which are not here, do not
// wait and were not refused lately. What waiting operations need is in Missing.
func (l *Log) Unknown(ids []ID) []ID {
	return slices.DeleteFunc(slices.Clone(ids), func(id ID) bool {
		_, refused := l.waiting.refused[id]
		return l.Has(id) || refused || l.kept.over[id] || l.waiting.byID[id] != nil
	})
}

// Missing returns what should be asked for, ascending: parents of waiting operations that do not wait themselves, and
// operations that were dropped from the full waiting area. It costs as much as there is waiting.
func (l *Log) Missing() []ID {
	var ids []ID
	for id := range l.waiting.children {
		if l.waiting.byID[id] == nil {
			ids = append(ids, id)
		}
	}
	ids = append(ids, l.waiting.dropped...)
	sortIDs(ids)
	return slices.Compact(ids)
}

func (a *waitingArea) put(w *waitingOp, l *Log) {
	l.count.Waited++
	a.forgetDropped(w.op.id)
	if a.of[w.from] >= MaxWaitingOf {
		l.count.Crowded++
		a.drop(slices.IndexFunc(a.order, func(o *waitingOp) bool { return o.from == w.from }), l)
	}
	if len(a.order) >= MaxWaiting {
		a.drop(0, l)
	}
	a.byID[w.op.id] = w
	a.order = append(a.order, w)
	a.of[w.from]++
	for _, p := range l.unknownParents(w.op) {
		a.children[p] = append(a.children[p], w)
	}
}

func (a *waitingArea) drop(at int, l *Log) {
	w := a.order[at]
	a.take(w)
	l.count.Dropped++
	a.dropped = append(a.dropped, w.op.id)
	if len(a.dropped) > MaxWaiting {
		a.dropped = a.dropped[1:]
	}
}

// take removes an operation from the area.
func (a *waitingArea) take(w *waitingOp) {
	delete(a.byID, w.op.id)
	a.order = slices.DeleteFunc(a.order, func(o *waitingOp) bool { return o == w })
	if a.of[w.from]--; a.of[w.from] == 0 {
		delete(a.of, w.from)
	}
	for _, p := range w.op.Parents {
		rest := slices.DeleteFunc(a.children[p], func(o *waitingOp) bool { return o == w })
		if len(rest) == 0 {
			delete(a.children, p)
		} else {
			a.children[p] = rest
		}
	}
}

func (a *waitingArea) forgetDropped(id ID) {
	a.dropped = slices.DeleteFunc(a.dropped, func(d ID) bool { return d == id })
}

// needed tells whether an operation is an ancestor of a waiting one that somebody else than its author handed over.
func (a *waitingArea) needed(id ID) bool {
	seen := map[ID]bool{}
	for todo := []ID{id}; len(todo) > 0; todo = todo[1:] {
		for _, w := range a.children[todo[0]] {
			if w.vouched {
				return true
			}
			if !seen[w.op.id] {
				seen[w.op.id] = true
				todo = append(todo, w.op.id)
			}
		}
	}
	return false
}
