package oplog

import (
	"iter"
	"math/bits"
)

// marks is a set of operations by their index of admission, one bit for each between the first and the last: what is void.
// Every operation keeps the marks of its past, and one removal can make thousands void, so they have to be small, and to
// be compared by words. They are values: words that others may have are never changed.
type marks struct {
	first int32 // index of the first word
	words []uint64
}

func (m marks) word(w int32) uint64 {
	if w -= m.first; w >= 0 && w < int32(len(m.words)) {
		return m.words[w]
	}
	return 0
}

func (m marks) has(i int32) bool { return m.word(i/64)>>(i%64)&1 == 1 }

// len returns how many there are.
func (m marks) len() (n int) {
	for _, w := range m.words {
		n += bits.OnesCount64(w)
	}
	return n
}

// all yields them in ascending order.
func (m marks) all() iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for at, w := range m.words {
			for ; w != 0; w &= w - 1 {
				if !yield((m.first+int32(at))*64 + int32(bits.TrailingZeros64(w))) {
					return
				}
			}
		}
	}
}

// put adds i; nobody else may have m's words.
func (m *marks) put(i int32) {
	w := i / 64
	switch end := m.first + int32(len(m.words)); {
	case len(m.words) == 0:
		m.first, m.words = w, make([]uint64, 1, 4)
	case w < m.first:
		m.words = append(make([]uint64, m.first-w), m.words...)
		m.first = w
	case w >= end:
		m.words = append(m.words, make([]uint64, w+1-end)...)
	}
	m.words[w-m.first] |= 1 << (i % 64)
}

// with returns m with i.
func (m marks) with(i int32) marks {
	c := marks{m.first, append(make([]uint64, 0, len(m.words)+1), m.words...)}
	c.put(i)
	return c
}

// in returns those that are in s, which is m itself if all are.
func (m marks) in(s span) marks {
	for at := range m.words {
		if w := m.first + int32(at); m.words[at]&s.word(w) != 0 {
			return m.cut(s)
		}
	}
	return m
}

func (m marks) cut(s span) marks {
	c := marks{m.first, make([]uint64, len(m.words))}
	for at := range m.words {
		c.words[at] = m.words[at] &^ s.word(m.first+int32(at))
	}
	return c
}

// different returns what is in exactly one of two sets.
func different(a, b marks) (out []int32) {
	if len(a.words) == 0 && len(b.words) == 0 || len(a.words) == len(b.words) && a.first == b.first && &a.words[0] == &b.words[0] {
		return nil
	}
	first, end := a.first, a.first+int32(len(a.words))
	if len(b.words) > 0 {
		first, end = min(first, b.first), max(end, b.first+int32(len(b.words)))
	}
	if len(a.words) == 0 {
		first, end = b.first, b.first+int32(len(b.words))
	}
	for w := first; w < end; w++ {
		for x := a.word(w) ^ b.word(w); x != 0; x &= x - 1 {
			out = append(out, w*64+int32(bits.TrailingZeros64(x)))
		}
	}
	return out
}
