package oplog

import "testing"

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
