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
	sendingRecord = 's' // how far the sending chain has moved
	skippedRecord = 'k' // followed by the ID, 8 bytes big-endian: one skipped key
)

func recordName(prefix []byte, kind byte) []byte { return append(slices.Clip(prefix), kind) }

func skippedName(prefix []byte, id uint64) []byte {
	return wire.AppendU64(recordName(prefix, skippedRecord), id)
}

// The core record has splitFormat: as stateFormat, but number and key of the sending chain are zero and in the sending
// record, so that a message that was sent writes nothing else, and no older key of the chain stays anywhere, from which
// those of messages that were sent since would follow. A core record of stateFormat, which is still read, has no sending record.
const splitFormat = 2

// Sending record: format(1)  u32 ns  chain key(32)
const sendingFormat = 1

// sendingPosition is what a sending record says.
type sendingPosition struct {
	ns  uint32
	key secret
}

// Save writes the state below prefix, each skipped key as a record of its own, and only what changed since Load or the
// last Save; so a state keeps to one prefix of one store, and one whose transaction failed is thrown away.
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
	if s.changed || !s.split { // new skipped keys come with other changes
		b := scratch.Record()
		*b = k.append(s.withoutSending().appendCore(*b), nil)
		(*b)[0] = splitFormat
		tx.Put(recordName(prefix, coreRecord), *b)
		scratch.PutRecord(b)
	}
	switch now := (sendingPosition{s.ns, s.sending.key}); {
	case s.canSend && (!s.split || now != s.kept):
		var b [1 + 4 + 32]byte
		tx.Put(recordName(prefix, sendingRecord), append(wire.AppendU32(append(b[:0], sendingFormat), now.ns), now.key[:]...))
		clear(b[:])
		s.kept = now
	case !s.canSend && !s.split:
		tx.Delete(recordName(prefix, sendingRecord)) // of a state that was there before
	}
	s.split = true
	k.removed, k.savedBelow, s.changed = nil, k.nextID, false
}

// withoutSending is the state for a core record.
func (s *State) withoutSending() *State {
	c := *s
	c.ns = 0
	clear(c.sending.key[:])
	return &c
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
	if s.split && s.canSend {
		sending, _ := tx.Get(recordName(prefix, sendingRecord))
		if err := s.readSending(sending); err != nil {
			return nil, err
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
	s.ns = r.U32()
	r.Copy(s.sending.key[:])
	if r.Done() != nil {
		return ErrState
	}
	s.kept = sendingPosition{s.ns, s.sending.key}
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
