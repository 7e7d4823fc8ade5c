package conn

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// cleanup is how many expired records a step removes at most, of each kind. As a step adds at most one, it is enough.
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

// rememberSent keeps a message's hash for its receipt, and forgets what is too old for one.
func (s *step) rememberSent(m *outgoing, hash [32]byte) {
	if s.agent < agentReceipts {
		return
	}
	s.env.Tx.Put(sentName(m.number), (&sentMessage{id: m.id, hash: hash, created: m.created}).append(nil))
	var expired [][]byte
	s.env.Tx.Scan([]byte{recordSent}, nil, func(name, value []byte) bool {
		old, err := decodeSent(value)
		if err != nil || s.now.Sub(old.created) < historyExpiry || len(expired) == cleanup {
			return false
		}
		expired = append(expired, copied(name))
		return true
	})
	for _, name := range expired {
		s.env.Tx.Delete(name)
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

func hashTimeName(ms uint64, h []byte) []byte {
	return append(wire.AppendU64([]byte{recordHashTime}, ms), h...)
}

// rememberHash keeps the hash of a received ratchet message, and forgets those that are too old.
func (s *step) rememberHash(h [32]byte) {
	ms := uint64(s.now.UnixMilli())
	s.env.Tx.Put(hashName(h), wire.AppendU64(nil, ms))
	s.env.Tx.Put(hashTimeName(ms, h[:]), nil)
	expired := s.now.Add(-historyExpiry).UnixMilli()
	var old [][]byte
	s.env.Tx.Scan([]byte{recordHashTime}, nil, func(name, _ []byte) bool {
		if len(name) != 41 || int64(binary.BigEndian.Uint64(name[1:])) > expired || len(old) == cleanup {
			return false
		}
		old = append(old, copied(name))
		return true
	})
	for _, name := range old {
		s.env.Tx.Delete(name)
		s.env.Tx.Delete(hashName([32]byte(name[9:])))
	}
}

// knownHash tells whether a ratchet message was received before.
func (s *step) knownHash(h [32]byte) bool {
	_, ok := s.env.Tx.Get(hashName(h))
	return ok
}
