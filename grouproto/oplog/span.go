package oplog

import (
	"iter"
	"math/bits"
)

// span is a set of operations by their index of admission: the first n without the holes. Sets that are closed under
// past are nearly all of what was admitted before some moment, so the holes are few: what a history without concurrency
// costs does not grow with its length, and even a long fork takes one bit per operation of the other branch.
//
// Spans are values; holes are never changed once made. n-1 is no hole, so that equal sets are equal spans.
type span struct {
	n     int32
	base  int32    // index of the first bit of holes, a multiple of 64
	holes []uint64 // bit i-base set: i is not in the set; first and last word are not zero
}

// whole is the set of the first n operations.
func whole(n int) span { return span{n: int32(n)} }

func (s span) has(i int32) bool { return i < s.n && !s.hole(i) }

func (s span) hole(i int32) bool {
	i -= s.base
	return i >= 0 && i < int32(len(s.holes))*64 && s.holes[i/64]>>(i%64)&1 == 1
}

// word returns the 64 bits of what is not in s, from index 64·w on.
func (s span) word(w int32) uint64 {
	var out uint64
	if i := w - s.base/64; i >= 0 && i < int32(len(s.holes)) {
		out = s.holes[i]
	}
	if end := s.n - w*64; end <= 0 {
		out = ^uint64(0)
	} else if end < 64 {
		out |= ^uint64(0) << end
	}
	return out
}

// firstOut returns the smallest index that is not in s.
func (s span) firstOut() int32 {
	if len(s.holes) == 0 {
		return s.n
	}
	return s.base + int32(bits.TrailingZeros64(s.holes[0]))
}

// with returns s with i, which is not below s.n.
func (s span) with(i int32) span {
	if i == s.n {
		return span{n: i + 1, base: s.base, holes: s.holes}
	}
	return fromWords(i+1, s.firstOut()/64, i/64, func(w int32) uint64 {
		out := s.word(w)
		if w == i/64 {
			out &^= 1 << (i % 64)
		}
		return out
	})
}

// union returns the set of what is in s or in t.
func (s span) union(t span) span {
	if s.n < t.n {
		s, t = t, s
	}
	if len(s.holes) == 0 {
		return s
	}
	first := s.base / 64
	return fromWords(s.n, first, first+int32(len(s.holes))-1, func(w int32) uint64 { return s.word(w) & t.word(w) })
}

// fromWords makes a span of n from the words first … last of what is not in it; bits from n on are cut off.
func fromWords(n, first, last int32, word func(w int32) uint64) span {
	s := span{n: n}
	for w := first; w <= last; w++ {
		out := word(w)
		if end := n - w*64; end < 64 {
			out &= 1<<end - 1
		}
		if out == 0 && len(s.holes) == 0 {
			continue
		}
		if len(s.holes) == 0 {
			s.base = w * 64
		}
		s.holes = append(s.holes, out)
	}
	for len(s.holes) > 0 && s.holes[len(s.holes)-1] == 0 {
		s.holes = s.holes[:len(s.holes)-1]
	}
	return s
}

// without yields, ascending, the indexes below n that are not in s.
func (s span) without(n int32) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for at, w := range s.holes {
			for ; w != 0; w &= w - 1 {
				i := s.base + int32(at*64+bits.TrailingZeros64(w))
				if i >= n || !yield(i) {
					return
				}
			}
		}
		for i := s.n; i < n; i++ {
			if !yield(i) {
				return
			}
		}
	}
}
