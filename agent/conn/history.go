package conn

import (
	"fmt"
	"time"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// cleanup is how many numbers of sent messages a new message may push out; more than one, so that it catches up.
const cleanup = 4

// incoming is a message that the client has not acknowledged.
type incoming struct {
	id          int64
	slot        uint8
	broker      queue.ID
	number      int64
	hash        [32]byte // of the plaintext, for the receipt
	stored      time.Time
	received    time.Time
	redelivered uint32

	// Either a client message, or a receipt if there are items.
	integrity envelope.Integrity
	body      []byte
	items     []Receipt
	numbers   []int64 // of the messages that the items are about, as sent
}

const incomingFormat = 1

func (m *incoming) append(dst []byte) []byte {
	dst = append(dst, incomingFormat)
	dst = m.broker.Append(append(wire.AppendI64(dst, m.id), m.slot))
	dst = append(wire.AppendI64(dst, m.number), m.hash[:]...)
	dst = wire.AppendU32(appendTime(appendTime(dst, m.stored), m.received), m.redelivered)
	i := m.integrity
	dst = wire.AppendI64(append(dst, byte(i.Class)), i.Number)
	dst = wire.AppendI64(wire.AppendI64(dst, i.From), i.To)
	dst = append(dst, byte(len(m.items)))
	for i, r := range m.items {
		dst = wire.AppendI64(wire.AppendI64(dst, m.numbers[i]), r.Message)
		dst = wire.AppendStr16(wire.AppendBool(dst, r.OK), r.Info)
	}
	return append(dst, m.body...)
}

// decodeIncoming reads what append wrote; ErrDamaged for everything else.
func decodeIncoming(b []byte) (*incoming, error) {
	r := wire.NewReader(b)
	if r.U8() != incomingFormat {
		return nil, fmt.Errorf("%w: unknown format of incoming message", ErrDamaged)
	}
	m := &incoming{id: r.I64(), slot: r.U8(), broker: queue.ReadID(r), number: r.I64()}
	r.Copy(m.hash[:])
	m.stored, m.received, m.redelivered = readTime(r), readTime(r), r.U32()
	m.integrity = envelope.Integrity{
		Class:  envelope.IntegrityClass(enum(r, byte(envelope.IntegrityOK), byte(envelope.IntegrityBadHash))),
		Number: r.I64(), From: r.I64(), To: r.I64(),
	}
	for range r.U8() {
		m.numbers = append(m.numbers, r.I64())
		m.items = append(m.items, Receipt{Message: r.I64(), OK: r.Bool(), Info: copied(r.Str16())})
	}
	m.body = copied(r.Rest())
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: incoming message: %w", ErrDamaged, err)
	}
	return m, nil
}

// event is what the client gets to see of the message.
func (m *incoming) event() Event {
	if len(m.items) > 0 {
		return Receipts{ID: m.id, Items: m.items, Redelivered: int(m.redelivered)}
	}
	return Message{
		ID: m.id, Body: m.body, Integrity: m.integrity, SenderID: m.number,
		Broker: m.broker, Stored: m.stored, Received: m.received, Redelivered: int(m.redelivered),
	}
}

func incomingName(id int64) []byte { return wire.AppendI64([]byte{recordReceived}, id) }

// hold stores a message until the client acknowledges it.
func (s *step) hold(m *incoming) {
	s.env.Tx.Put(incomingName(m.id), m.append(nil))
	s.unacked++
	s.emit(m.event())
}

// held returns a message that waits for the client, nil if there is none.
func (s *step) held(id int64) *incoming {
	b, ok := s.env.Tx.Get(incomingName(id))
	if !ok {
		return nil
	}
	m, err := decodeIncoming(b)
	if err != nil {
		s.damaged(err)
		return nil
	}
	return m
}

// letGo forgets a held message.
func (s *step) letGo(m *incoming) {
	s.env.Tx.Delete(incomingName(m.id))
	s.unacked--
}

// sentMessage is what is kept of a client message to recognise its receipt.
type sentMessage struct {
	id      int64
	hash    [32]byte
	created time.Time
	receipt bool // a good receipt came
}

const sentFormat = 1

func (m *sentMessage) append(dst []byte) []byte {
	dst = append(wire.AppendI64(append(dst, sentFormat), m.id), m.hash[:]...)
	return wire.AppendBool(appendTime(dst, m.created), m.receipt)
}

// decodeSent reads what append wrote; ErrDamaged for everything else.
func decodeSent(b []byte) (*sentMessage, error) {
	r := wire.NewReader(b)
	if r.U8() != sentFormat {
		return nil, fmt.Errorf("%w: unknown format of sent message", ErrDamaged)
	}
	m := &sentMessage{id: r.I64()}
	r.Copy(m.hash[:])
	m.created, m.receipt = readTime(r), r.Bool()
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: sent message: %w", ErrDamaged, err)
	}
	return m, nil
}

func sentName(number int64) []byte { return wire.AppendI64([]byte{recordSent}, number) }

// rememberSent keeps a client message's hash for its receipt.
func (s *step) rememberSent(m *outgoing, hash [32]byte) {
	if s.agent < agentReceipts {
		return
	}
	s.env.Tx.Put(sentName(m.number), (&sentMessage{id: m.id, hash: hash, created: m.created}).append(nil))
}

// forgetSent forgets sent messages that are too old for a receipt. Every message has a number, but only those of the
// client, as long as there was no receipt, are kept.
func (s *step) forgetSent() {
	for n := 0; n < cleanup && s.sentFrom < s.sentID; n++ {
		if s.oldestSent.IsZero() {
			if old := s.sentByNumber(s.sentFrom); old != nil {
				s.oldestSent = old.created
			}
		}
		if !s.oldestSent.IsZero() {
			if s.now.Sub(s.oldestSent) < historyExpiry {
				return
			}
			s.env.Tx.Delete(sentName(s.sentFrom))
		}
		s.sentFrom, s.oldestSent = s.sentFrom+1, time.Time{}
	}
}

// skipSent passes a message that is not remembered, if nothing older is.
func (s *step) skipSent() {
	if s.sentFrom == s.sentID {
		s.sentFrom, s.oldestSent = s.sentID+1, time.Time{}
	}
}

// sentByNumber returns a sent client message, nil if there is none.
func (s *step) sentByNumber(number int64) *sentMessage {
	b, ok := s.env.Tx.Get(sentName(number))
	if !ok {
		return nil
	}
	m, err := decodeSent(b)
	if err != nil {
		s.damaged(err)
		return nil
	}
	return m
}

// owe keeps a receipt for a message until it can be sent, which is at once except before the connection is made. Beyond
// MaxOwed it is forgotten.
func (s *step) owe(id int64, r envelope.Receipt) {
	if s.owed >= MaxOwed {
		return
	}
	s.owed++
	s.env.Tx.Put(wire.AppendI64([]byte{recordOwed}, id), appendOwed(nil, r))
}

const owedFormat = 1

func appendOwed(dst []byte, r envelope.Receipt) []byte {
	dst = wire.AppendI64(append(dst, owedFormat), r.Number)
	return append(wire.AppendStr8(dst, r.Hash), r.Info...)
}

// decodeOwed reads what appendOwed wrote; ErrDamaged for everything else.
func decodeOwed(b []byte) (envelope.Receipt, error) {
	r := wire.NewReader(b)
	if r.U8() != owedFormat {
		return envelope.Receipt{}, fmt.Errorf("%w: unknown format of receipt", ErrDamaged)
	}
	o := envelope.Receipt{Number: r.I64(), Hash: copied(r.Str8()), Info: copied(r.Rest())}
	if err := r.Done(); err != nil {
		return envelope.Receipt{}, fmt.Errorf("%w: receipt: %w", ErrDamaged, err)
	}
	return o, nil
}

// sendOwed sends the receipts that could not be sent before.
func (s *step) sendOwed() {
	if s.owed == 0 || s.sendable() != nil {
		return
	}
	var names [][]byte
	var owed []envelope.Receipt
	s.env.Tx.Scan([]byte{recordOwed}, nil, func(name, value []byte) bool {
		r, err := decodeOwed(value)
		if err != nil {
			s.damaged(err)
			return false
		}
		names, owed = append(names, copied(name)), append(owed, r)
		return true
	})
	for i, name := range names {
		s.env.Tx.Delete(name)
		s.enqueueContent(kindReceipts, envelope.Receipts{owed[i]})
	}
	s.owed = 0
}

func hashName(h [32]byte) []byte { return append([]byte{recordHash}, h[:]...) }

func hashListName(number uint64) []byte { return wire.AppendU64([]byte{recordHashList}, number) }

// rememberHash keeps the hash of a received ratchet message. The hashes are also listed in the order in which they came,
// at first in the state, then in a record for each full list, so that old ones are found without looking for them.
func (s *step) rememberHash(h [32]byte) {
	s.env.Tx.Put(hashName(h), nil)
	s.hashes = append(s.hashes, h)
	if len(s.hashes) < hashListSize {
		return
	}
	s.env.Tx.Put(hashListName(s.hashListNext), (&hashList{s.now, s.hashes}).append(nil))
	s.hashListNext++
	s.hashes = nil
	for range 2 { // more than come
		s.forgetHashes()
	}
}

// forgetHashes forgets the oldest full list if it is too old.
func (s *step) forgetHashes() {
	b, ok := s.env.Tx.Get(hashListName(s.hashListFirst))
	if !ok {
		return
	}
	l, err := decodeHashList(b)
	switch {
	case err != nil:
		s.damaged(err)
	case s.now.Sub(l.until) >= historyExpiry:
		for _, h := range l.hashes {
			s.env.Tx.Delete(hashName(h))
		}
		s.env.Tx.Delete(hashListName(s.hashListFirst))
		s.hashListFirst++
	}
}

// hashListSize is how many hashes make a full list.
const hashListSize = 32

// hashList is hashes that came one after the other.
type hashList struct {
	until  time.Time // when the last one came
	hashes [][32]byte
}

const hashListFormat = 1

func (l *hashList) append(dst []byte) []byte {
	return appendHashes(appendTime(append(dst, hashListFormat), l.until), l.hashes)
}

// decodeHashList reads what append wrote; ErrDamaged for everything else.
func decodeHashList(b []byte) (*hashList, error) {
	r := wire.NewReader(b)
	if r.U8() != hashListFormat {
		return nil, fmt.Errorf("%w: unknown format of hashes", ErrDamaged)
	}
	l := &hashList{readTime(r), readHashes(r)}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: hashes: %w", ErrDamaged, err)
	}
	return l, nil
}

func appendHashes(dst []byte, hashes [][32]byte) []byte {
	dst = append(dst, byte(len(hashes)))
	for _, h := range hashes {
		dst = append(dst, h[:]...)
	}
	return dst
}

func readHashes(r *wire.Reader) (hashes [][32]byte) {
	for range r.U8() {
		var h [32]byte
		r.Copy(h[:])
		hashes = append(hashes, h)
	}
	return hashes
}

// knownHash tells whether a ratchet message was received before.
func (s *step) knownHash(h [32]byte) bool {
	_, ok := s.env.Tx.Get(hashName(h))
	return ok
}
