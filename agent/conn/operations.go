package conn

import (
	"bytes"
	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// operate derives the operations that the state asks for and adds those that are due and not under way. What waits for
// its time sets when the next Tick is wanted.
func (s *step) operate() {
	s.wake = s.deletionDeadline()
	if s.deletion == notDeleting {
		s.operateHandshake()
	}
	for i := range s.receive {
		q := &s.receive[i]
		switch {
		case (s.deletion != notDeleting || q.leaving) && q.status != queueMissing && (q.ack == "" || q.retry.due(s.now)):
			s.issue(Op{opDelete, q.slot, uint64(q.tries)}, &q.retry, func(op Op) Operation { return DeleteQueue{op, q.recipient()} })
		case s.deletion == notDeleting && q.ack != "":
			s.issue(Op{opAck, q.slot, q.arrivals}, &q.ackRetry, func(op Op) Operation { return AckQueue{op, q.recipient(), q.ack} })
			if q.leaving {
				s.wake = earlier(s.wake, q.retry.next)
			}
		}
		if other := s.merging(q); q.isParked() && other != nil && other.waits == 0 {
			s.wake = earlier(s.wake, q.parkedUntil)
		}
	}
	if s.phase == failed || s.deletion == deleting {
		return
	}
	for i := range s.send {
		s.operateDelivery(&s.send[i])
	}
}

// operateHandshake derives NEW, KEY, SKEY and the posting of an invitation.
func (s *step) operateHandshake() {
	if s.stalled != "" || s.phase == failed {
		return
	}
	for i := range s.receive {
		q := &s.receive[i]
		switch {
		case q.status == queueMissing && !q.leaving:
			s.issue(Op{opNew, q.slot, q.attempt}, &q.retry, func(op Op) Operation { return s.newQueue(op, q) })
		case q.status == queueConfirmed && !q.senderKey.IsZero() && (s.phase == allowing || s.phase == keying || q.stage == switchKeyed):
			s.issue(Op{opKey, q.slot, 0}, &q.retry, func(op Op) Operation { return SecureQueue{op, q.recipient(), q.senderKey} })
		}
	}
	if q := s.primary(); q != nil && q.status == queueNew && q.fast() && (s.phase == allowing || s.phase == securing) {
		s.issue(Op{opSecure, q.slot, 0}, &q.retry, func(op Op) Operation { return SecureSending{op, q.sender(true)} })
	}
	if s.phase == requesting {
		s.issue(Op{kind: opPost}, &s.post.retry, s.posting)
	}
}

func (s *step) operateDelivery(q *sendQueue) {
	m := s.head(q)
	if m == nil || s.stalled != "" && m.kind == kindConfirmation {
		return
	}
	s.issue(Op{opSend, q.slot, uint64(m.id)}, &m.retry, func(op Op) Operation {
		return Deliver{op, s.deliveredBy(q, !m.keyed || m.signed), m.notify, s.sealerOf(q, m)}
	})
}

// deliveredBy is q.sender with one copy of the key for all deliveries, because the first signature of a copy costs more
// than the others.
func (c *Conn) deliveredBy(q *sendQueue, signed bool) Sender {
	to := q.sender(false)
	if signed {
		if !bytes.Equal(c.signer, q.key[:]) {
			c.signer = q.key.private()
		}
		to.Key = c.signer
	}
	return to
}

// issue adds an operation unless it is under way or waits for its time.
func (s *step) issue(op Op, r *retry, build func(Op) Operation) {
	switch {
	case s.issued[op]:
	case r.due(s.now):
		s.issued[op] = true
		s.effects = append(s.effects, build(op))
	default:
		s.wake = earlier(s.wake, r.next)
	}
}

func (s *step) newQueue(op Op, q *receiveQueue) Operation {
	n := NewQueue{
		Op:    op,
		Mode:  q.mode,
		Key:   q.key.private(),
		DH:    keys.FromX25519(agreementKey(q.relay).PublicKey()),
		Tried: int(q.tries),
	}
	for i := range s.receive {
		if s.receive[i].status != queueMissing {
			n.Avoid = append(n.Avoid, s.receive[i].server)
			n.Leaves = n.Avoid
		}
	}
	for i := range s.send {
		n.Avoid = append(n.Avoid, s.send[i].server)
	}
	return n
}

// posting makes the operation that sends a requester's invitation, with a key and nonce for this attempt only.
func (s *step) posting(op Op) Operation {
	p := s.post
	private := agreementKey(newAgreementKey(s.env.Rand))
	invitation := &envelope.Invitation{Agent: p.agent, Link: s.invitation().Text(), Info: s.info}
	x := sealer{
		client:   envelope.Client{Version: p.queue.Version, Key: keys.FromX25519(private.PublicKey())},
		complete: invitation.Append(nil),
	}
	randomBytes(s.env.Rand, x.client.Nonce[:])
	x.secret = mustAgree(private, p.queue.DH)
	return Deliver{op, Sender{Server: p.queue.Server, ID: p.queue.SenderID}, true, x}
}

// primary returns the queue to send to, nil before there is one.
func (s *step) primary() *sendQueue {
	if len(s.send) == 0 {
		return nil
	}
	return &s.send[0]
}

func (s *step) receiveSlot(slot uint8) *receiveQueue {
	for i := range s.receive {
		if s.receive[i].slot == slot {
			return &s.receive[i]
		}
	}
	return nil
}

func (s *step) sendSlot(slot uint8) *sendQueue {
	for i := range s.send {
		if s.send[i].slot == slot {
			return &s.send[i]
		}
	}
	return nil
}

// receiveByID returns the own queue with a recipient ID.
func (s *step) receiveByID(id queue.ID) *receiveQueue {
	for i := range s.receive {
		if s.receive[i].status != queueMissing && s.receive[i].id == id {
			return &s.receive[i]
		}
	}
	return nil
}
