// Package kv is what a core without I/O sees of its storage: ordered keys and values, read and written inside the
// transaction that its current step is part of. The agent's store implements it over SQLite; Memory is the twin for
// tests and simulations.
//
// There are no errors here on purpose: a failing store fails the whole transaction, and the owner of the core then
// throws the core away and loads it again from what was committed.
package kv

import (
	"bytes"
	"slices"
	"strings"
)

// Tx is one owner's records inside an open transaction; reads see this transaction's own writes. Keys order bytewise.
// Implementations copy what they keep; callers may keep what they get but not change it.
type Tx interface {
	// Get returns the value of key; ok is false if there is none.
	Get(key []byte) (value []byte, ok bool)
	// Put sets the value of key.
	Put(key, value []byte)
	// Delete removes key; a missing key is no error.
	Delete(key []byte)
	// Scan calls yield for every key that has the prefix and is not below from, ascending, until yield returns false.
	// A nil from starts at the first. yield must not write.
	Scan(prefix, from []byte, yield func(key, value []byte) bool)
}

// Memory is a Tx over a map, for tests and simulations. The zero value is empty and ready. It has no transactions: use
// Clone before and keep the copy to model a crash.
type Memory struct {
	records map[string][]byte
}

// Get implements Tx.
func (m *Memory) Get(key []byte) ([]byte, bool) {
	v, ok := m.records[string(key)]
	return v, ok
}

// Put implements Tx.
func (m *Memory) Put(key, value []byte) {
	if m.records == nil {
		m.records = map[string][]byte{}
	}
	m.records[string(key)] = bytes.Clone(value)
}

// Delete implements Tx.
func (m *Memory) Delete(key []byte) { delete(m.records, string(key)) }

// Scan implements Tx.
func (m *Memory) Scan(prefix, from []byte, yield func(key, value []byte) bool) {
	var found []string
	for k := range m.records {
		if strings.HasPrefix(k, string(prefix)) && k >= string(from) {
			found = append(found, k)
		}
	}
	slices.Sort(found)
	for _, k := range found {
		if !yield([]byte(k), m.records[k]) {
			return
		}
	}
}

// Len returns how many records there are.
func (m *Memory) Len() int { return len(m.records) }

// Clone returns a copy that shares nothing that can change.
func (m *Memory) Clone() *Memory {
	c := &Memory{records: make(map[string][]byte, len(m.records))}
	for k, v := range m.records {
		c.records[k] = v
	}
	return c
}
