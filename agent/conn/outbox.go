package conn

import (
	"bytes"
	"fmt"
	"time"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/scratch"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// messageKind is what an outgoing message is; it decides about its flag and what its failure means. Numbers are stored:
// never change or reuse one.
type messageKind uint8

const (
	kindConfirmation messageKind = iota + 1
	kindHello
	kindClient
	kindReceipts
	kindContinue
	kindRatchetKey
	kindReady
	kindAddQueue
	kindQueueKey
	kindUseQueue
	kindTestQueue
)

// notifies tells whether messages of the kind ask for a notification; the client decides for its own.
func (k messageKind) notifies() bool {
	return k == kindConfirmation || k == kindHello || k == kindRatchetKey || k == kindReady
}

// outgoing is a message that waits to be delivered. Its number, header and keys are fixed; the body is encrypted when it
// is delivered.
type outgoing struct {
	id      int64 // as the client counts; orders the outbox
	number  int64 // on the wire
	kind    messageKind
	notify  bool
	ref     string // the client's
	created time.Time
	keys    []byte // ratchet.MessageKeys; empty: it is not encrypted with the ratchet
	text    []byte // plaintext without the client's body; of a ratchet key, its whole envelope
	body    []byte // reference of the client's body in Bodies; empty: none

	// Of confirmations only.
	agent  queue.Version
	params []byte // the joiner's, for one version; empty: the initiator's confirmation
	keyed  bool   // with the own authorization key in the private header, and at first sent without authorization
	signed bool   // sent with authorization nevertheless, see confirmationRefused

	retry retry

	told bool // a copy of it has gone through another queue

	forgotten bool // no receipt is expected; not stored
}

// outgoingFormat is the version of the record, its first byte. Version 1, which is still read, ends before told.
const outgoingFormat = 2

func (m *outgoing) append(dst []byte) []byte {
	dst = append(dst, outgoingFormat, byte(m.kind))
	dst = wire.AppendI64(wire.AppendI64(dst, m.id), m.number)
	dst = wire.AppendStr8(wire.AppendBool(dst, m.notify), []byte(m.ref))
	dst = wire.AppendStr16(appendTime(dst, m.created), m.keys)
	dst = wire.AppendStr8(wire.AppendStr16(dst, m.text), m.body)
	dst = wire.AppendStr16(wire.AppendU16(dst, uint16(m.agent)), m.params)
	dst = m.retry.append(wire.AppendBool(wire.AppendBool(dst, m.keyed), m.signed))
	return wire.AppendBool(dst, m.told)
}

// decodeOutgoing reads what append wrote; ErrDamaged for everything else.
func decodeOutgoing(b []byte) (*outgoing, error) {
	r := wire.NewReader(b)
	format := r.U8()
	if format < 1 || format > outgoingFormat {
		return nil, fmt.Errorf("%w: unknown format of outgoing message", ErrDamaged)
	}
	m := &outgoing{
		kind: messageKind(enum(r, byte(kindConfirmation), byte(kindTestQueue))),
		id:   r.I64(), number: r.I64(),
		notify: r.Bool(), ref: string(r.Str8()),
		created: readTime(r), keys: copied(r.Str16()),
		text: copied(r.Str16()), body: copied(r.Str8()),
		agent: queue.Version(r.U16()), params: copied(r.Str16()),
		keyed: r.Bool(), signed: r.Bool(), retry: readRetry(r),
	}
	if format >= 2 {
		m.told = r.Bool()
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: outgoing message: %w", ErrDamaged, err)
	}
	return m, nil
}

func outboxPrefix(slot uint8) []byte { return []byte{recordOutbox, slot} }

func outboxName(slot uint8, id int64) []byte {
	return wire.AppendI64(outboxPrefix(slot), id)
}

// head returns the oldest message that waits for a queue, nil if there is none.
func (s *step) head(q *sendQueue) *outgoing {
	if m := s.heads[q.slot]; m != nil || q.queued == 0 {
		return m
	}
	var m *outgoing
	s.env.Tx.Scan(outboxPrefix(q.slot), nil, func(_, value []byte) bool {
		m = s.decodedOutgoing(value)
		return false
	})
	s.heads[q.slot] = m
	return m
}

// decodedOutgoing decodes a record that must be well-formed.
func (s *step) decodedOutgoing(b []byte) *outgoing {
	m, err := decodeOutgoing(b)
	if err != nil {
		s.damaged(err)
	}
	return m
}

// outbox returns all messages that wait for a queue, oldest first.
func (s *step) outbox(q *sendQueue) (all []*outgoing) {
	s.env.Tx.Scan(outboxPrefix(q.slot), nil, func(_, value []byte) bool {
		all = append(all, s.decodedOutgoing(value))
		return true
	})
	return all
}

// keep stores a message's new retry times.
func (s *step) keep(q *sendQueue, m *outgoing) {
	b := scratch.Record()
	defer scratch.PutRecord(b)
	*b = m.append(*b)
	s.env.Tx.Put(outboxName(q.slot, m.id), *b)
}

// drop removes a message from the outbox.
func (s *step) drop(q *sendQueue, m *outgoing) {
	s.env.Tx.Delete(outboxName(q.slot, m.id))
	if len(m.body) > 0 {
		s.env.Bodies.Release(m.body)
	}
	if h := s.heads[q.slot]; h != nil && h.id == m.id {
		s.heads[q.slot] = nil
	}
	clear(m.keys)
	q.queued--
}

// plaintext is what a message says: a fixed part, and the client's body, which is stored elsewhere.
type plaintext struct{ text, body []byte }

// hash is envelope.Hash of both parts together.
func (p plaintext) hash() [envelope.HashSize]byte { return envelope.Hash(p.text, p.body) }

// enqueue fixes number, header and keys of a message and stores it for delivery. complete makes its plaintext from the
// number and the hash of the message before it. The error is ratchet.ErrChainExhausted; then nothing has changed.
func (s *step) enqueue(q *sendQueue, m outgoing, padded int, complete func(number int64, previous []byte) plaintext) (*outgoing, error) {
	keys, err := s.ratchet.NextSending(ratchet.PQKeep, padded)
	if err != nil {
		return nil, err
	}
	defer keys.Clear()
	s.lastID++
	s.sentID++
	p := complete(s.sentID, s.sentHash)
	m.id, m.number, m.created = s.lastID, s.sentID, s.now
	m.text, m.keys = p.text, keys.AppendBinary(nil)
	hash := p.hash()
	s.sentHash = hash[:]
	if m.kind == kindClient {
		m.body = s.env.Bodies.Add(p.body)
	}
	s.forgetSent()
	if m.kind == kindClient && !m.forgotten {
		s.rememberSent(&m, hash)
	} else {
		s.skipSent()
	}
	s.keep(q, &m)
	if q.queued == 0 {
		s.heads[q.slot] = &m
	}
	q.queued++
	s.copyToTesting(q, &m)
	return &m, nil
}

// copyToTesting queues a message for the peer's new queue too, while messages go through both.
func (s *step) copyToTesting(q *sendQueue, m *outgoing) {
	if t := s.testing(); t != nil && t.slot != q.slot {
		s.copyTo(t, m)
	}
}

// copyTo queues a message for another queue too. It must not have older ones than those that wait there.
func (s *step) copyTo(q *sendQueue, m *outgoing) {
	c := *m
	c.keys, c.retry = bytes.Clone(m.keys), retry{}
	if len(m.body) > 0 {
		c.body = s.env.Bodies.Add(s.env.Bodies.Get(m.body))
	}
	s.keep(q, &c)
	q.queued++
}

// duplicate is a message that waits for two queues, in one of them.
type duplicate struct {
	queue   *sendQueue
	message *outgoing
}

// copyElsewhere returns the copy of a message that waits for another queue, nil if there is none.
func (s *step) copyElsewhere(q *sendQueue, m *outgoing) *duplicate {
	for i := range s.send {
		o := &s.send[i]
		if o.slot == q.slot || o.queued == 0 {
			continue
		}
		if h := s.heads[o.slot]; h != nil && h.id == m.id {
			return &duplicate{o, h}
		}
		if b, ok := s.env.Tx.Get(outboxName(o.slot, m.id)); ok {
			if c := s.decodedOutgoing(b); c != nil {
				return &duplicate{o, c}
			}
		}
	}
	return nil
}

// tell notes that the client knows of the delivery of a message when its copy is delivered.
func (s *step) tell(d *duplicate) {
	d.message.told = true
	s.keep(d.queue, d.message)
}

// enqueueContent queues a message of the agent's own.
func (s *step) enqueueContent(kind messageKind, content envelope.Content) {
	s.enqueueOwn(s.primary(), kind, content)
}

func (s *step) enqueueOwn(q *sendQueue, kind messageKind, content envelope.Content) {
	m := outgoing{kind: kind, notify: kind.notifies()}
	_, err := s.enqueue(q, m, envelope.MessageLength(s.pq, s.agent), func(number int64, previous []byte) plaintext {
		return plaintext{text: envelope.Numbered{Number: number, Previous: previous, Content: content}.Append(nil)}
	})
	if err != nil {
		s.fail(&Error{Code: CodeInternal, Kind: OurFault, Detail: err.Error()})
	}
}
