package directconn

import (
	"bytes"
	"time"

	"github.com/coterie-im/coterie/internal/wire"
)

// Records: the first byte of a key is the kind.
//
//	e str16 group · member          what is known about a member (entry)
//	w str16 group · member · u32    a message that waits
const (
	kindEntry   = 'e'
	kindWaiting = 'w'

	entryVersion = 1
)

func peerKey(kind byte, p Peer) []byte {
	return append(wire.AppendStr16([]byte{kind}, []byte(p.Group)), p.Member[:]...)
}

// store writes what changed, and forgets members about whom there is nothing to know.
func (s *step) store() {
	for _, e := range s.peers {
		if !e.changed {
			continue
		}
		e.changed = false
		if !e.blocked && e.choice == ChoiceAsk && e.ready == "" && e.own == nil && e.their == nil {
			delete(s.peers, e.peer)
			s.env.Tx.Delete(peerKey(kindEntry, e.peer))
			continue
		}
		s.env.Tx.Put(peerKey(kindEntry, e.peer), e.encode())
	}
}

func (e *entry) encode() []byte {
	b := wire.AppendStr16([]byte{entryVersion}, []byte(e.peer.Group))
	b = append(b, e.peer.Member[:]...)
	b = append(wire.AppendBool(b, e.blocked), byte(e.choice))
	b = wire.AppendStr8(b, []byte(e.ready))
	b = wire.AppendU32(wire.AppendU32(b, e.waiting), e.next)
	return appendRequest(appendRequest(b, e.own), e.their)
}

func appendRequest(b []byte, r *request) []byte {
	if r == nil {
		return wire.AppendAbsent(b)
	}
	b = wire.AppendStr8(append(wire.AppendPresent(b), r.id[:]...), []byte(r.conn))
	b = wire.AppendStr16(wire.AppendStr16(b, r.link), r.text)
	b = wire.AppendI64(wire.AppendBool(b, r.sent), r.expiry.UnixMilli())
	if r.heldUntil.IsZero() {
		return wire.AppendAbsent(b)
	}
	return wire.AppendI64(wire.AppendPresent(b), r.heldUntil.UnixMilli())
}

func decodeEntry(in []byte) (*entry, error) {
	r := wire.NewReader(in)
	if r.U8() != entryVersion {
		return nil, ErrRecords
	}
	e := &entry{peer: Peer{Group: string(r.Str16())}}
	r.Copy(e.peer.Member[:])
	e.blocked, e.choice, e.ready = r.Bool(), Choice(r.U8()), string(r.Str8())
	e.waiting, e.next = r.U32(), r.U32()
	e.own, e.their = readRequest(r), readRequest(r)
	if r.Done() != nil || e.choice > ChoiceRefuse {
		return nil, ErrRecords
	}
	return e, nil
}

func readRequest(r *wire.Reader) *request {
	if !r.Opt() {
		return nil
	}
	q := &request{}
	r.Copy(q.id[:])
	q.conn, q.link, q.text = string(r.Str8()), bytes.Clone(r.Str16()), bytes.Clone(r.Str16())
	q.sent, q.expiry = r.Bool(), time.UnixMilli(r.I64())
	if r.Opt() {
		q.heldUntil = time.UnixMilli(r.I64())
	}
	return q
}

// keep stores a message that waits.
func (s *step) keep(e *entry, body []byte) {
	e.changed = true
	s.env.Tx.Put(wire.AppendU32(peerKey(kindWaiting, e.peer), e.next), body)
	e.next++
	e.waiting++
}

// takeWaiting removes and returns the messages that wait, in their order.
func (s *step) takeWaiting(e *entry) (bodies [][]byte) {
	if e.waiting == 0 {
		return nil
	}
	e.changed = true
	var keys [][]byte
	s.env.Tx.Scan(peerKey(kindWaiting, e.peer), nil, func(k, v []byte) bool {
		keys, bodies = append(keys, bytes.Clone(k)), append(bodies, bytes.Clone(v))
		return true
	})
	for _, k := range keys {
		s.env.Tx.Delete(k)
	}
	e.waiting, e.next = 0, 0
	return bodies
}
