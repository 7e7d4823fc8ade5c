package conn

import "github.com/coterie-im/coterie/agent/link"

// done is the success of an operation other than NEW. Results of operations that the state does not ask for any more are
// ignored.
func (s *step) done(op Op) {
	switch op.kind {
	case opKey:
		if q := s.receiveSlot(op.slot); q != nil && q.status == queueConfirmed {
			q.status, q.retry = queueSecured, retry{}
			if q.stage == switchKeyed {
				s.emit(SwitchChanged{Phase: SwitchSecured})
			}
		}
	case opSecure:
		if q := s.sendSlot(op.slot); q != nil && q.status == queueNew {
			q.status, q.retry = queueSecured, retry{}
		}
	case opPost:
		if s.phase == requesting {
			s.posted()
		}
	case opSend:
		q := s.sendSlot(op.slot)
		if q == nil {
			return
		}
		if m := s.head(q); m != nil && uint64(m.id) == op.number {
			s.delivered(q, m)
		}
	case opAck:
		if q := s.receiveSlot(op.slot); q != nil && q.arrivals == op.number {
			q.ack, q.ackRetry = "", retry{}
		}
	case opDelete:
		if q := s.receiveSlot(op.slot); q != nil && (s.deletion != notDeleting || q.leaving) {
			s.queueGone(q, nil)
		}
	}
}

// posted goes on once a requester's invitation is at the relay of the contact address.
func (s *step) posted() {
	s.phase, s.stalled = invited, ""
	s.info, s.post = nil, nil
	s.emit(Joined{})
}

// delivered goes on once a message is at the peer's relay.
func (s *step) delivered(q *sendQueue, m *outgoing) {
	s.drop(q, m)
	if c := s.copyElsewhere(q, m); c != nil {
		s.tell(c)
	}
	switch m.kind {
	case kindConfirmation:
		s.confirmationDelivered(q)
	case kindHello:
		q.status = queueActive
		if s.phase == greeting && s.earlyHello {
			s.connect()
		}
	case kindClient:
		if !m.told {
			s.emit(Sent{m.id, m.ref})
		}
	case kindQueueKey, kindTestQueue:
		s.rotationDelivered(q, m.kind)
	}
}

func (s *step) confirmationDelivered(q *sendQueue) {
	switch {
	case s.phase == confirming:
		q.status = queueConfirmed
		s.phase = joined
		s.emit(Joined{SendReady: q.fast() && s.agent >= agentEarlySend})
	case s.phase == answering && q.fast():
		q.status = queueActive
		s.connect()
	case s.phase == answering:
		q.status = queueConfirmed
		s.phase = greeting
	}
}

// failed is the failure of an operation.
func (s *step) failed(in OperationFailed) {
	op := in.Op
	switch op.kind {
	case opNew:
		if q := s.receiveSlot(op.slot); q != nil && q.status == queueMissing && q.attempt == op.number {
			s.newFailed(q, in)
		}
	case opKey:
		if q := s.receiveSlot(op.slot); q != nil && q.status == queueConfirmed {
			if q.stage == switchKeyed {
				s.keyFailed(q, in)
			} else {
				s.jobFailed(&q.retry, in)
			}
		}
	case opSecure:
		if q := s.sendSlot(op.slot); q != nil && q.status == queueNew {
			s.jobFailed(&q.retry, in)
		}
	case opPost:
		if s.phase == requesting {
			s.jobFailed(&s.post.retry, in)
		}
	case opSend:
		q := s.sendSlot(op.slot)
		if q == nil {
			return
		}
		if m := s.head(q); m != nil && uint64(m.id) == op.number {
			s.undelivered(q, m, in)
		}
	case opAck:
		if q := s.receiveSlot(op.slot); q != nil && q.arrivals == op.number {
			s.ackFailed(q, in)
		}
	case opDelete:
		switch q := s.receiveSlot(op.slot); {
		case q == nil:
		case s.deletion != notDeleting:
			s.deleteFailed(q, in)
		case q.leaving:
			s.removalFailed(q, in)
		}
	case opSubscribe:
		if q := s.receiveSlot(op.slot); !in.transient() && !(q != nil && q.leaving) { // one that is left may be gone
			s.fail(refuse(in.Code, "subscription"))
		}
	}
}

// transient tells whether the operation can succeed later without anybody doing anything.
func (in OperationFailed) transient() bool { return in.Class == Temporary || in.Class == Host }

// jobFailed schedules an operation of the handshake again, or gives it up until Retry.
func (s *step) jobFailed(r *retry, in OperationFailed) {
	if in.transient() {
		s.waitForRelay(r, in.Code)
		return
	}
	s.stall(in.Code)
}

// waitForRelay schedules a step of the handshake again and says so when it has waited for long.
func (s *step) waitForRelay(r *retry, code Code) {
	before := r.fast.waited
	r.after(s.now, fastIntervals)
	if before < longWait && r.fast.waited >= longWait {
		s.emit(Waiting{refuse(code, "the handshake waits for a relay")})
	}
}

// stall gives a step of the handshake up until Retry.
func (s *step) stall(code Code) {
	s.stalled = code
	s.fail(refuse(code, "handshake stopped"))
}

// newFailed makes new keys for the next attempt, which may go to another relay.
func (s *step) newFailed(q *receiveQueue, in OperationFailed) {
	if s.deletion != notDeleting || q.leaving {
		s.removeReceive(q)
		return
	}
	q.key, q.relay, q.dh = newSigningKey(s.env.Rand), newAgreementKey(s.env.Rand), newAgreementKey(s.env.Rand)
	q.attempt++
	q.tries++
	if q.stage != switchNone {
		s.newQueueFailed(q, in)
		return
	}
	s.jobFailed(&q.retry, in)
}

// undelivered decides about a message that was not delivered.
func (s *step) undelivered(q *sendQueue, m *outgoing, in OperationFailed) {
	reason := &Error{Code: in.Code, Kind: OurFault}
	if m.kind == kindConfirmation && !in.transient() {
		s.confirmationRefused(q, m, in)
		return
	}
	v, rule := judge(in.Class, m.created, s.now)
	slot := q.slot
	switch v {
	case tryAgain, warnAndTry:
		if m.kind == kindConfirmation {
			s.waitForRelay(&m.retry, in.Code)
		} else {
			m.retry.after(s.now, rule)
		}
		s.keep(q, m)
		if v == warnAndTry && m.kind == kindClient && !m.told {
			s.emit(SendWarning{m.id, m.ref, reason})
		}
		return
	case giveUp, giveUpOlder:
		s.abandon(q, m, reason, in.transient())
		if in.Class == Auth && s.deletion == deletingAfterDelivery && len(s.send) == 1 {
			s.deletion = deleting
		}
	}
	if v == giveUpOlder {
		s.abandonOlder(slot, in, reason)
	}
}

// confirmationRefused decides about a confirmation that a relay does not take. One with a key in it is sent without
// authorization, as long as the peer does not know the key. If it arrived and only the relay's answer was lost, the peer
// may have set the key meanwhile, and the repeated one is refused; but with authorization it is not, as nobody else can
// have set this key. Beyond that a refusal is final for the initiator, while the joiner can repeat its confirmation as it
// is.
func (s *step) confirmationRefused(q *sendQueue, m *outgoing, in OperationFailed) {
	switch {
	case in.Class == Auth && m.keyed && !m.signed:
		m.signed = true
		s.keep(q, m)
	case s.role == joiner:
		m.signed = false
		s.keep(q, m)
		s.stall(in.Code)
	default:
		s.giveUp(over(CodeNotAvailable, string(in.Code)))
	}
}

// abandon gives a message up, unless another queue has it. late tells that there was not enough time for it.
func (s *step) abandon(q *sendQueue, m *outgoing, reason *Error, late bool) {
	if m.told || s.copyElsewhere(q, m) != nil {
		s.drop(q, m)
		return
	}
	switch m.kind {
	case kindClient:
		s.drop(q, m)
		s.emit(SendFailed{m.id, m.ref, reason})
	case kindConfirmation, kindHello:
		s.giveUp(over(CodeNotAvailable, string(reason.Code)))
	case kindRatchetKey, kindReady:
		s.drop(q, m)
		s.resyncFailed(reason)
	case kindAddQueue, kindQueueKey, kindUseQueue, kindTestQueue:
		s.drop(q, m)
		s.rotationAbandoned(q, m.kind, reason, late)
	default:
		s.drop(q, m)
		s.fail(reason)
	}
}

// abandonOlder gives up what waits behind a message that was given up because of its age and is as old itself.
func (s *step) abandonOlder(slot uint8, in OperationFailed, reason *Error) {
	for {
		q := s.sendSlot(slot) // what is given up may be the queue
		if q == nil || s.phase == failed {
			return
		}
		m := s.head(q)
		if m == nil {
			return
		}
		if v, _ := judge(in.Class, m.created, s.now); v != giveUpOlder {
			return
		}
		s.abandon(q, m, reason, in.transient())
	}
}

// ackFailed tries again, because the relay delivers nothing else before. A relay that does not know the message has
// nothing to acknowledge.
func (s *step) ackFailed(q *receiveQueue, in OperationFailed) {
	if in.transient() {
		q.ackRetry.after(s.now, fastIntervals)
		return
	}
	q.ack, q.ackRetry = "", retry{}
	s.fail(refuse(in.Code, "acknowledgement"))
}

// retryNow makes everything due.
func (s *step) retryNow() {
	s.stalled = ""
	for i := range s.receive {
		q := &s.receive[i]
		q.ackRetry = retry{}
		if !q.leaving || q.tries > 0 { // else it is kept for a reason
			q.retry = retry{}
		}
	}
	if s.post != nil {
		s.post.retry = retry{}
	}
	for i := range s.send {
		q := &s.send[i]
		q.retry = retry{}
		if m := s.head(q); m != nil {
			m.retry.next = s.now
			s.keep(q, m)
		}
	}
}

// wakeDelivery makes a queue's oldest message due: the peer says that there is room again.
func (s *step) wakeDelivery(a link.Address) bool {
	for i := range s.send {
		q := &s.send[i]
		if !q.address().Same(a) {
			continue
		}
		if m := s.head(q); m != nil {
			m.retry.wake(s.now)
			s.keep(q, m)
		}
		return true
	}
	return false
}
