package agent

import (
	"cmp"
	"container/heap"
	"time"
)

// wakeKey names a core.
type wakeKey struct {
	kind wakeKind
	id   string
}

// compare orders cores, so that what is done with several is done in the same order every time.
func (k wakeKey) compare(o wakeKey) int {
	return cmp.Or(cmp.Compare(k.kind, o.kind), cmp.Compare(k.id, o.id))
}

type wakeKind uint8

const (
	wakeConn wakeKind = iota + 1
	wakeGroup
	wakeDirect
)

// wakes is when each core wants its next tick, whether or not it is in memory.
type wakes struct {
	heap  wakeHeap
	byKey map[wakeKey]*wake
}

type wake struct {
	key   wakeKey
	at    time.Time
	index int
}

// minWake is how soon a core is ticked again at the earliest, so that none can keep the loop to itself.
const minWake = 5 * time.Millisecond

// wake notes when a core wants its next tick; zero: never.
func (t *turn) wake(k wakeKey, at time.Time) {
	if soonest := t.now.Add(minWake); !at.IsZero() && at.Before(soonest) {
		at = soonest
	}
	t.loop.wakes.set(k, at)
}

// set changes the time of a core; zero: never.
func (w *wakes) set(k wakeKey, at time.Time) {
	if w.byKey == nil {
		w.byKey = map[wakeKey]*wake{}
	}
	have, ok := w.byKey[k]
	switch {
	case ok && at.IsZero():
		heap.Remove(&w.heap, have.index)
		delete(w.byKey, k)
	case ok:
		have.at = at
		heap.Fix(&w.heap, have.index)
	case !at.IsZero():
		have = &wake{key: k, at: at}
		w.byKey[k] = have
		heap.Push(&w.heap, have)
	}
}

// next returns the earliest time, zero if there is none.
func (w *wakes) next() time.Time {
	if len(w.heap) == 0 {
		return time.Time{}
	}
	return w.heap[0].at
}

// pop removes and returns cores that are due, at most limit. They set their next time when they have been ticked.
func (w *wakes) pop(now time.Time, limit int) (due []wakeKey) {
	for len(w.heap) > 0 && len(due) < limit && !w.heap[0].at.After(now) {
		k := heap.Pop(&w.heap).(*wake).key
		delete(w.byKey, k)
		due = append(due, k)
	}
	return due
}

type wakeHeap []*wake

func (h wakeHeap) Len() int           { return len(h) }
func (h wakeHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h wakeHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *wakeHeap) Push(x any) {
	w := x.(*wake)
	w.index = len(*h)
	*h = append(*h, w)
}
func (h *wakeHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	*h = old[:len(old)-1]
	return w
}
