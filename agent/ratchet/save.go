package ratchet

import (
	"encoding/binary"
	"slices"

	"github.com/coterie-im/coterie/internal/kv"
	"github.com/coterie-im/coterie/internal/scratch"
	"github.com/coterie-im/coterie/internal/wire"
)

// Records below a state's prefix.
const (
	coreRecord    = 'r' // the state without skipped keys
	sendingRecord = 's' // how far the sending chain has moved since, if nothing else has changed
	skippedRecord = 'k' // followed by the ID, 8 bytes big-endian: one skipped key
)

func recordName(prefix []byte, kind byte) []byte { return append(slices.Clip(prefix), kind) }

func skippedName(prefix []byte, id uint64) []byte {
	return wire.AppendU64(recordName(prefix, skippedRecord), id)
}

// A core record whose format is splitFormat may have a sending record beside it; one of stateFormat has none, and a program
// that does not know sending records does not read splitFormat.
const splitFormat = 2

// Sending record: format(1)  u32 ns  chain key(32)
const sendingFormat = 1

// Save writes the state below prefix, each skipped key as a record of its own, and only what changed since Load or the
// last Save; so a state keeps to one prefix of one store, and one whose transaction failed is thrown away. A message that
// was sent changes a small record only.
func (s *State) Save(tx kv.Tx, prefix []byte) {
	k := &s.skipped
	for _, id := range k.removed {
		tx.Delete(skippedName(prefix, id))
	}
	for i := range k.chains {
		c := &k.chains[i]
		for j := len(c.keys) - 1; j >= 0 && c.keys[j].id >= k.savedBelow; j-- {
			tx.Put(skippedName(prefix, c.keys[j].id), c.keys[j].append(c.headerKey[:]))
		}
	}
	switch {
	case s.changed || s.sent && !s.split: // new skipped keys come with other changes
		b := scratch.Record()
		*b = k.append(s.appendCore(*b), nil)
		(*b)[0] = splitFormat
		tx.Put(recordName(prefix, coreRecord), *b)
		scratch.PutRecord(b)
		if s.beside || !s.split { // of a state that was there before, nobody knows
			tx.Delete(recordName(prefix, sendingRecord))
		}
		s.split, s.beside = true, false
	case s.sent:
		var b [1 + 4 + 32]byte
		sending := append(wire.AppendU32(append(b[:0], sendingFormat), s.ns), s.sending.key[:]...)
		tx.Put(recordName(prefix, sendingRecord), sending)
		clear(b[:])
		s.beside = true
	}
	k.removed, k.savedBelow, s.changed, s.sent = nil, k.nextID, false, false
}

// Load reads what Save wrote. ErrNoState if there is nothing, ErrState if it is something else.
func Load(tx kv.Tx, prefix []byte, kem KEM) (*State, error) {
	core, ok := tx.Get(recordName(prefix, coreRecord))
	if !ok {
		return nil, ErrNoState
	}
	s, err := decode(core, kem)
	if err != nil {
		return nil, err
	}
	if s.split {
		if sending, ok := tx.Get(recordName(prefix, sendingRecord)); ok {
			if err := s.readSending(sending); err != nil {
				return nil, err
			}
		}
	}
	below := recordName(prefix, skippedRecord)
	tx.Scan(below, nil, func(name, value []byte) bool {
		err = s.skipped.load(name[len(below):], value)
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	s.skipped.savedBelow = s.skipped.nextID
	return s, nil
}

// readSending moves the sending chain to where a sending record says that it is.
func (s *State) readSending(b []byte) error {
	r := wire.NewReader(b)
	if r.U8() != sendingFormat {
		return ErrState
	}
	ns := r.U32()
	r.Copy(s.sending.key[:])
	if r.Done() != nil || !s.canSend || ns <= s.ns {
		return ErrState
	}
	s.ns, s.beside = ns, true
	return nil
}

func (s *skippedKeys) load(name, value []byte) error {
	if len(name) != 8 {
		return ErrState
	}
	r := wire.NewReader(value)
	var headerKey secret
	r.Copy(headerKey[:])
	k := readSkippedKey(r, binary.BigEndian.Uint64(name))
	if r.Done() != nil || !s.restore(&headerKey, k) {
		return ErrState
	}
	return nil
}

// Erase deletes everything that Save wrote below prefix.
func Erase(tx kv.Tx, prefix []byte) {
	tx.Delete(recordName(prefix, coreRecord))
	tx.Delete(recordName(prefix, sendingRecord))
	var names [][]byte
	tx.Scan(recordName(prefix, skippedRecord), nil, func(name, _ []byte) bool {
		names = append(names, slices.Clone(name))
		return true
	})
	for _, name := range names {
		tx.Delete(name)
	}
}
