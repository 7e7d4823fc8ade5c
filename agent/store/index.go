package store

import (
	"maps"
	"slices"
)

// maxIndexed bounds how many keys the index holds; above it the whole index is dropped and filled again by need.
const maxIndexed = 500_000

// index keeps the sorted keys of classes that were scanned, because names on disk are hidden and have no order. The
// writer's index lives on between transactions; a reader's ends with it.
type index struct {
	names   map[classOf][]string
	total   int
	touched map[classOf]bool // by the open transaction: to be dropped with it
}

type classOf struct {
	owner uint64
	class int
}

func newIndex() *index {
	return &index{names: map[classOf][]string{}, touched: map[classOf]bool{}}
}

func (x *index) get(owner uint64, class int) ([]string, bool) {
	names, ok := x.names[classOf{owner, class}]
	return names, ok
}

func (x *index) set(owner uint64, class int, names []string) {
	if x.total+len(names) > maxIndexed {
		clear(x.names)
		x.total = 0
	}
	x.names[classOf{owner, class}] = names
	x.touched[classOf{owner, class}] = true
	x.total += len(names)
}

// add and remove copy nothing while no scan is running over the slice: yield must not write (kv.Tx).
func (x *index) add(owner uint64, key []byte) {
	k := classOf{owner, class(key)}
	names, ok := x.names[k]
	if !ok {
		return
	}
	at, found := slices.BinarySearch(names, string(key))
	if found {
		return
	}
	x.names[k] = slices.Insert(names, at, string(key))
	x.touched[k] = true
	x.total++
}

func (x *index) remove(owner uint64, key []byte) {
	k := classOf{owner, class(key)}
	names, ok := x.names[k]
	if !ok {
		return
	}
	at, found := slices.BinarySearch(names, string(key))
	if !found {
		return
	}
	x.names[k] = slices.Delete(names, at, at+1)
	x.touched[k] = true
	x.total--
}

// forget drops what is known of an owner.
func (x *index) forget(owner uint64) {
	maps.DeleteFunc(x.names, func(k classOf, names []string) bool {
		if k.owner != owner {
			return false
		}
		x.total -= len(names)
		return true
	})
}

// committed and dropped end the open transaction.
func (x *index) committed() { clear(x.touched) }

func (x *index) dropped() {
	for k := range x.touched {
		x.total -= len(x.names[k])
		delete(x.names, k)
	}
	clear(x.touched)
}
