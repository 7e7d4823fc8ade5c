package oplog

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// TestSpansAreSets compares spans with maps. The sets are those of a history: each with is of a set and a larger index.
func TestSpansAreSets(t *testing.T) {
	const n = 300
	rapid.Check(t, func(t *rapid.T) {
		spans := []span{{}}
		sets := []map[int32]bool{{}}
		pick := rapid.Custom(func(t *rapid.T) int { return rapid.IntRange(0, len(spans)-1).Draw(t, "set") })
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			at := pick.Draw(t, "one")
			s, set := spans[at], map[int32]bool{}
			for i := range sets[at] {
				set[i] = true
			}
			if other := pick.Draw(t, "other"); rapid.Bool().Draw(t, "union") {
				s = s.union(spans[other])
				for i := range sets[other] {
					set[i] = true
				}
			} else if i := s.n + rapid.Int32Range(0, 90).Draw(t, "gap"); i < n {
				s, set[i] = s.with(i), true
			}
			spans, sets = append(spans, s), append(sets, set)
			checkSpan(t, s, set, n)
			for j := range spans {
				if equal := len(sets[j]) == len(set) && subset(sets[j], set); equal != reflect.DeepEqual(spans[j], s) {
					t.Fatalf("equal sets %v, spans %v and %v", equal, spans[j], s)
				}
			}
		}
	})
}

func subset(a, b map[int32]bool) bool {
	for i := range a {
		if !b[i] {
			return false
		}
	}
	return true
}

func checkSpan(t *rapid.T, s span, set map[int32]bool, n int32) {
	first := int32(-1)
	var out []int32
	for i := range n {
		if s.has(i) != set[i] {
			t.Fatalf("has(%d) = %v", i, s.has(i))
		}
		if !set[i] {
			out = append(out, i)
			if first < 0 {
				first = i
			}
		}
	}
	if s.firstOut() != first {
		t.Fatalf("first out %d, want %d", s.firstOut(), first)
	}
	at := 0
	for i := range s.without(n) {
		if at >= len(out) || out[at] != i {
			t.Fatalf("without yields %d", i)
		}
		at++
	}
	for range min(1, len(out)) {
		for i := range s.without(n) {
			if i != out[0] {
				t.Fatal("starts late")
			}
			break
		}
	}
	if at != len(out) {
		t.Fatalf("without yields %d, want %d", at, len(out))
	}
}
