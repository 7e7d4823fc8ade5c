package grouproto

import (
	"slices"
	"time"

	"github.com/coterie-im/coterie/internal/kv"
	"github.com/coterie-im/coterie/internal/wire"
)

// mostTips is how many messages that nothing implies are remembered; the oldest is forgotten beyond it.
const mostTips = 64

// kept is a stored message.
type kept struct {
	id       MessageID
	message  *message
	received time.Time
	position uint64
	depth    uint64
	via      Key  // who gave it; the author if it came from there
	vouched  bool // a copy that its author has not confirmed
}

// keep stores a message at the next position, in the order of arrival.
func (s *step) keep(k *kept) {
	k.position = s.main.position
	s.main.position++
	s.putKept('m', k)
	at := wire.AppendU64(append([]byte(nil), k.id.Author[:]...), k.id.Number)
	s.env.Tx.Put(numberKey('t', k.position), at)
	s.prune(8)
}

func (s *step) putKept(kind byte, k *kept) {
	b := appendFlag([]byte{recordVersion}, k.vouched)
	b = wire.AppendU64(appendTime(b, k.received), k.position)
	b = append(append(wire.AppendU64(b, k.depth), k.via[:]...), k.id.Hash[:]...)
	s.env.Tx.Put(messageKey(kind, k.id.Author, k.id.Number), k.message.append(b))
}

func (s *step) loadMessage(author Key, number uint64) (*kept, bool) {
	return loadKept(s.env.Tx, 'm', author, number)
}

func loadKept(tx kv.Tx, kind byte, author Key, number uint64) (*kept, bool) {
	v, ok := tx.Get(messageKey(kind, author, number))
	if !ok {
		return nil, false
	}
	return decodeKept(author, number, v)
}

func decodeKept(author Key, number uint64, v []byte) (*kept, bool) {
	r := wire.NewReader(v)
	if r.U8() != recordVersion {
		return nil, false
	}
	k := &kept{vouched: readFlag(r), received: readTime(r), position: r.U64(), depth: r.U64(), via: readKey(r)}
	k.id = MessageID{author, number, read32(r)}
	k.message = readMessage(r)
	return k, r.Done() == nil
}

// stored is the form for the client.
func (k *kept) stored() StoredMessage {
	m := k.message
	return StoredMessage{
		ID: k.id, Prev: m.Prev, Parents: m.Parents, Depth: k.depth, Flags: m.Flags, Body: m.Body,
		Received: k.received, Position: k.position, Vouched: k.vouched, Via: k.via,
	}
}

// prune drops the oldest messages beyond the retention, at most so many.
func (s *step) prune(most int) {
	for range most {
		if s.main.first >= s.main.position {
			return
		}
		author, number, ok := s.at(s.env.Tx, s.main.first)
		if ok {
			k, held := s.loadMessage(author, number)
			tooMany := s.main.position-s.main.first > uint64(s.limits().KeptMessages)
			if held && !tooMany && s.env.Now.Sub(k.received) < s.limits().Retention {
				return
			}
			if held && tooMany {
				s.hit(LimitKept)
			}
			if held {
				s.drop(k)
			}
			s.env.Tx.Delete(numberKey('t', s.main.first))
		}
		s.main.first++
	}
}

// drop forgets a message. The hash of the newest one that is complete stays for the digest.
func (s *step) drop(k *kept) {
	c := s.chain(k.id.Author)
	if n, ok := s.frontNumber(c); ok && n == k.id.Number {
		c.hint = k.id
	}
	s.env.Tx.Delete(messageKey('m', k.id.Author, k.id.Number))
	s.env.Tx.Delete(messageKey('v', k.id.Author, k.id.Number))
}

// at returns which message has a position.
func (g *Group) at(tx kv.Tx, position uint64) (author Key, number uint64, ok bool) {
	v, ok := tx.Get(numberKey('t', position))
	if !ok || len(v) != 40 {
		return author, 0, false
	}
	number, _ = u64of(v[32:])
	return Key(v[:32]), number, true
}

// depth is 1 + the largest depth of what a message builds on, as far as it is held.
func (s *step) depth(m *message) uint64 {
	var most uint64
	for _, p := range m.Parents {
		if k, ok := s.loadMessage(p.Author, p.Number); ok {
			most = max(most, k.depth)
		}
	}
	return most + 1
}

// addTip notes a message that has just been stored, and takes away what it implies.
func (s *step) addTip(id MessageID, m *message) {
	s.main.tips = slices.DeleteFunc(s.main.tips, func(t MessageID) bool {
		return t.Author == id.Author && t.Number < id.Number && t.Number>>runBits == id.Number>>runBits ||
			slices.ContainsFunc(m.Parents, func(p MessageID) bool { return p.Author == t.Author && p.Number == t.Number })
	})
	c := s.chain(id.Author)
	implied := c.referred(id.Number)
	// A later message of the author that is held implies this one.
	if c.top > id.Number+1 && !c.missing(id.Number+1) {
		why, _ := c.absentAt(id.Number + 1)
		implied = implied || why != noneNotExisted // nothing of another run implies it
	}
	if implied {
		return
	}
	if s.main.tips = append(s.main.tips, id); len(s.main.tips) > mostTips {
		s.main.tips = s.main.tips[1:]
	}
}
