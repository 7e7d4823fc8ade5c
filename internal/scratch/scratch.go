// Package scratch lends buffers of the size of a block for content on its way through several layers of encryption, so
// that a message costs no allocation in each of them. Whatever was in a buffer is overwritten with zeros when it is given
// back.
//
// It is not for anything that is kept or handed to others.
package scratch

import "sync"

// Size is the capacity of a new buffer in bytes: a block of 16,384 and what stands around its content at times.
const Size = 17 << 10

var pool = sync.Pool{New: func() any {
	b := make([]byte, 0, Size)
	return &b
}}

// RecordSize is the capacity of a new buffer for a stored record in bytes, from Record.
const RecordSize = 1 << 10

var records = sync.Pool{New: func() any {
	b := make([]byte, 0, RecordSize)
	return &b
}}

// Record is Get for the encoding of a record, which is small and copied by whoever stores it.
func Record() *[]byte { return records.Get().(*[]byte) }

// PutRecord is Put for a buffer from Record. One that had to grow much is left to the garbage collector.
func PutRecord(b *[]byte) {
	all := (*b)[:cap(*b)]
	clear(all)
	if len(all) < RecordSize || len(all) > 8*RecordSize {
		return
	}
	*b = all[:0]
	records.Put(b)
}

// Get returns an empty buffer. It may be grown; the grown one is what should be given back.
func Get() *[]byte { return pool.Get().(*[]byte) }

// Put takes a buffer back and clears all of it. Nobody may use it, or a part of it, afterwards.
func Put(b *[]byte) {
	if cap(*b) < Size {
		return // somebody has put another slice into it
	}
	clear((*b)[:cap(*b)])
	*b = (*b)[:0]
	pool.Put(b)
}
