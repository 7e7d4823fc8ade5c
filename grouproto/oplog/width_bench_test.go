package oplog

import (
	"fmt"
	"testing"
)

// BenchmarkAdmitBesideSixteenHeads is an operation on one of 16 branches that grow side by side on a log of 10,000, which
// is as many as an operation can bring together, and one that does so after every 16.
func BenchmarkAdmitBesideSixteenHeads(b *testing.B) {
	g := newBenchGroup(b)
	base := g.line(g.head(), 0, 10_000)
	heads := make([]ID, MaxParents)
	for i := range heads {
		heads[i] = base
	}
	b.ResetTimer()
	for n := range b.N {
		i := n % MaxParents
		heads[i] = g.line(heads[i], 20*i, 1)
		if i == MaxParents-1 {
			merge := g.put("F", title("x"), heads...)
			for i := range heads {
				heads[i] = merge
			}
		}
	}
}

// BenchmarkAdmitOnLongBranches is the same when the branches are never brought together: what is said on one is not in
// the past of the others, however long they get.
func BenchmarkAdmitOnLongBranches(b *testing.B) {
	g := newBenchGroup(b)
	base := g.line(g.head(), 0, 10_000)
	heads := make([]ID, MaxParents)
	for i := range heads {
		heads[i] = base
	}
	b.ResetTimer()
	for n := range b.N {
		i := n % MaxParents
		heads[i] = g.line(heads[i], 20*i, 1)
	}
}

// BenchmarkAttackBesideManyVoid is a removal beside what it makes void, where 10,000 operations are void and 2,000 came after them.
func BenchmarkAttackBesideManyVoid(b *testing.B) {
	g := newBenchGroup(b)
	base := g.head()
	on := base
	for i := range 10_000 {
		on = g.put("1", title(fmt.Sprint(i)), on)
	}
	all := g.put("F", title("y"), on, g.put("F", removal("1"), base))
	g.line(all, 0, 2_000)
	parents := g.l.indexes([]ID{all})
	op := unsigned(b, Body{
		Group: g.l.Group(), Author: named("F"), Seq: g.l.nextSeq(named("F"), g.l.closure(parents)), Parents: []ID{all},
		Action: removal("300"),
	})
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		l := g.l.copy()
		b.StartTimer()
		if r := l.admitUnsigned(op); r != ReasonNone {
			b.Fatal(r)
		}
	}
	b.StopTimer()
	if n := g.l.state.void.len(); n < 10_000 {
		b.Fatal(n, "void")
	}
}

// BenchmarkSettingSideBySide is one more value of a setting that has 3,000 values side by side.
func BenchmarkSettingSideBySide(b *testing.B) {
	g := newBenchGroup(b)
	base := g.head()
	for i := range 3_000 {
		g.put(fmt.Sprint(2+i%400), &Set{Setting{Name: "pin/x", Value: []byte(fmt.Sprint(i))}}, base)
	}
	b.ResetTimer()
	for i := range b.N {
		g.put("1", &Set{Setting{Name: "pin/x", Value: []byte(fmt.Sprint("new ", i))}}, base)
	}
}
