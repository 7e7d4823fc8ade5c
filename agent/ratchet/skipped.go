package ratchet

import (
	"cmp"
	"slices"

	"github.com/coterie-im/coterie/internal/wire"
)

// skippedKey is the key of a message that has not arrived when a later one did.
type skippedKey struct {
	id     uint64 // grows by one with every key kept in this state; names the key's record
	number uint32 // in its chain
	key    secret
	iv     [ivSize]byte
}

func (k *skippedKey) clear() { *k = skippedKey{} }

// skippedChain are the kept keys of one receiving chain, ascending by number and by ID.
type skippedChain struct {
	headerKey secret
	keys      []skippedKey // never empty
}

func (c *skippedChain) find(number uint32) (int, bool) {
	return slices.BinarySearchFunc(c.keys, number, func(k skippedKey, n uint32) int { return cmp.Compare(k.number, n) })
}

// skippedKeys are all kept keys of a state, oldest chain first. There are at most MaxSkippedKeys; the oldest are dropped.
type skippedKeys struct {
	chains  []skippedChain
	count   int
	nextID  uint64
	dropped uint64

	savedBelow uint64   // keys with lower IDs have records
	removed    []uint64 // IDs below savedBelow whose records are to be deleted
}

// add keeps the keys of a gap in the chain with the header key.
func (s *skippedKeys) add(headerKey *secret, gap []skippedKey) {
	if len(gap) == 0 {
		return
	}
	for i := range gap {
		gap[i].id = s.nextID
		s.nextID++
	}
	if n := len(s.chains); n > 0 && s.chains[n-1].headerKey == *headerKey {
		s.chains[n-1].keys = append(s.chains[n-1].keys, gap...)
	} else {
		s.chains = append(s.chains, skippedChain{*headerKey, gap})
	}
	s.count += len(gap)
	for s.count > MaxSkippedKeys {
		k := s.take(0, 0)
		k.clear()
		s.dropped++
	}
}

// take removes a key and returns it.
func (s *skippedKeys) take(chain, index int) skippedKey {
	c := &s.chains[chain]
	k := c.keys[index]
	c.keys = slices.Delete(c.keys, index, index+1)
	if len(c.keys) == 0 {
		s.chains = slices.Delete(s.chains, chain, chain+1)
	}
	s.count--
	if k.id < s.savedBelow {
		s.removed = append(s.removed, k.id)
	}
	return k
}

// Stored skipped keys: u64 next ID  u64 dropped  u16 number of chains, each
//
//	header key(32)  u16 number of keys, each { u64 id  u32 number  key(32)  iv(16) }
//
// A record of its own for each key (State.Save) is: header key(32)  u32 number  key(32)  iv(16); its name ends in the ID.

func (s *skippedKeys) append(dst []byte, chains []skippedChain) []byte {
	dst = wire.AppendU64(wire.AppendU64(dst, s.nextID), s.dropped)
	dst = wire.AppendU16(dst, uint16(len(chains)))
	for i := range chains {
		c := &chains[i]
		dst = append(dst, c.headerKey[:]...)
		dst = wire.AppendU16(dst, uint16(len(c.keys)))
		for j := range c.keys {
			dst = c.keys[j].append(wire.AppendU64(dst, c.keys[j].id))
		}
	}
	return dst
}

func (k *skippedKey) append(dst []byte) []byte {
	dst = wire.AppendU32(dst, k.number)
	return append(append(dst, k.key[:]...), k.iv[:]...)
}

func readSkippedKey(r *wire.Reader, id uint64) skippedKey {
	k := skippedKey{id: id, number: r.U32()}
	r.Copy(k.key[:])
	r.Copy(k.iv[:])
	return k
}

func readSkipped(r *wire.Reader) skippedKeys {
	s := skippedKeys{nextID: r.U64(), dropped: r.U64()}
	for range r.U16() {
		var headerKey secret
		r.Copy(headerKey[:])
		n := r.U16()
		if n == 0 {
			r.Fail("chain without skipped keys")
		}
		for i := range n {
			k := readSkippedKey(r, r.U64())
			if r.Err() != nil {
				return skippedKeys{}
			}
			if i == 0 && s.has(&headerKey) || !s.restore(&headerKey, k) {
				r.Fail("skipped keys out of order")
			}
		}
	}
	return s
}

func (s *skippedKeys) has(headerKey *secret) bool {
	return slices.ContainsFunc(s.chains, func(c skippedChain) bool { return c.headerKey == *headerKey })
}

// restore puts a stored key behind those already there; false if it cannot have been there.
func (s *skippedKeys) restore(headerKey *secret, k skippedKey) bool {
	if k.id >= s.nextID || s.count >= MaxSkippedKeys {
		return false
	}
	if n := len(s.chains); n > 0 {
		last := &s.chains[n-1]
		end := &last.keys[len(last.keys)-1]
		if k.id <= end.id {
			return false
		}
		if last.headerKey == *headerKey {
			if k.number <= end.number {
				return false
			}
			last.keys = append(last.keys, k)
			s.count++
			return true
		}
		if s.has(headerKey) {
			return false
		}
	}
	s.chains = append(s.chains, skippedChain{*headerKey, []skippedKey{k}})
	s.count++
	return true
}
