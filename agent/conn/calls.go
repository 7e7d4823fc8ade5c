package conn

import (
	"github.com/coterie-im/coterie/agent/envelope"
)

// allow answers the joiner's confirmation.
func (s *step) allow(in Allow) *Error {
	switch {
	case s.confirmation == nil || s.confirmation.id != in.Confirmation || s.deletion != notDeleting:
		return refuse(CodeNotFound, "confirmation")
	case s.phase != confirmed:
		return refuse(CodeProhibited, "confirmation was answered")
	case len(in.Info) > envelope.MaxInitiatorInfo(s.pq, s.agent):
		return refuse(CodeLarge, "connection info")
	}
	if err := s.addSendQueue(s.confirmation.reply); err != nil {
		return refuse(CodeInternal, "key of the reply queue")
	}
	s.phase, s.info = allowing, copied(in.Info)
	return nil
}

// sendable tells why the connection cannot send client messages, nil if it can.
func (s *step) sendable() *Error {
	q := s.primary()
	switch {
	case s.deletion != notDeleting:
		return refuse(CodeNotFound, "connection is being deleted")
	case s.phase == failed:
		return over(CodeNotAvailable, "")
	case q == nil || !s.canQueue(q):
		return refuse(CodeNoQueue, "connection is not made yet")
	case s.resync >= ResyncRequired:
		return refuse(CodeProhibited, "ratchet re-synchronisation required")
	}
	return nil
}

// canQueue tells whether messages can be queued behind what is queued already.
func (s *step) canQueue(q *sendQueue) bool {
	switch s.phase {
	case connected:
		return true
	case answering:
		return q.fast()
	case confirming, joined, keying, greeting:
		return s.role == joiner && q.fast() && s.agent >= agentEarlySend
	default:
		return false
	}
}

// queueMessage queues a client message.
func (s *step) queueMessage(in Send) *Error {
	if err := s.sendable(); err != nil {
		return err
	}
	q := s.primary()
	switch {
	case len(in.Body) > s.maxBody():
		return refuse(CodeLarge, "message")
	case len(in.Ref) > MaxRef:
		return refuse(CodeLarge, "reference")
	case q.queued >= MaxOutbox, s.testing() != nil && s.testing().queued >= MaxOutbox:
		return refuse(CodeBusy, "too many messages wait")
	}
	out := outgoing{kind: kindClient, notify: in.Notify, ref: in.Ref, forgotten: in.NoReceipt}
	m, err := s.enqueue(q, out, envelope.MessageLength(s.pq, s.agent), func(number int64, previous []byte) plaintext {
		head := envelope.Numbered{Number: number, Previous: previous, Content: envelope.ClientMessage{}}
		return plaintext{head.Append(nil), in.Body}
	})
	if err != nil {
		return over(CodeInternal, err.Error())
	}
	s.emit(Queued{m.id, m.ref})
	return nil
}

// acknowledged lets the relay forget a message, and sends a receipt if the client wants one.
func (s *step) acknowledged(in AckMessage) *Error {
	m := s.held(in.ID)
	if m == nil || s.deletion != notDeleting {
		return refuse(CodeNotFound, "message")
	}
	receipt := envelope.Receipt{Number: m.number, Hash: m.hash[:], Info: in.ReceiptInfo}
	if in.Receipt {
		longest := envelope.Numbered{Previous: m.hash[:], Content: envelope.Receipts{receipt}}
		switch {
		case len(m.items) > 0:
			return refuse(CodeProhibited, "receipt of a receipt")
		case len(in.ReceiptInfo) > envelope.RatchetMessage || len(longest.Append(nil))+2 > envelope.MessageLength(s.pq, s.agent):
			return refuse(CodeLarge, "receipt info")
		}
	}
	for i, r := range m.items {
		if r.OK {
			s.env.Tx.Delete(sentName(m.numbers[i]))
		}
	}
	s.letGo(m)
	if q := s.receiveSlot(m.slot); q != nil && q.waits == m.id {
		s.acknowledge(q)
	}
	if in.Receipt && s.agent >= agentReceipts {
		s.owe(m.id, receipt)
	}
	return nil
}

// answered forgets a request at a contact address.
func (s *step) answered(in Answered) *Error {
	name, r := findRequest(s.env.Tx, in.Request)
	if r == nil {
		return refuse(CodeNotFound, "request")
	}
	s.env.Tx.Delete(name)
	s.requests--
	return nil
}
