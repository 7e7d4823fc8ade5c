package conn

import (
	"slices"
	"time"
)

// delete ends the connection; see Delete.
func (s *step) delete(wait bool) {
	if s.gone || s.deletion == deleting {
		return
	}
	s.deletion = deleting
	if wait && s.phase != failed && s.stalled == "" && s.waiting() {
		s.deletion, s.deleteBy = deletingAfterDelivery, s.now.Add(messageExpiry)
	}
	s.dropMissing()
	for i := range s.receive {
		q := &s.receive[i]
		q.retry, q.tries, q.ack = retry{}, 0, ""
	}
}

// dropMissing forgets own queues that the relay was not asked for yet, or was asked for before a restart.
func (s *step) dropMissing() {
	s.receive = slices.DeleteFunc(s.receive, func(q receiveQueue) bool {
		return q.status == queueMissing && !s.issued[Op{opNew, q.slot, q.attempt}]
	})
}

// waiting tells whether a message waits to be delivered.
func (s *step) waiting() bool {
	return slices.ContainsFunc(s.send, func(q sendQueue) bool { return q.queued > 0 })
}

// removeReceive forgets an own queue.
func (s *step) removeReceive(q *receiveQueue) {
	s.receive = slices.DeleteFunc(s.receive, func(o receiveQueue) bool { return o.slot == q.slot })
}

// queueGone goes on once an own queue is deleted or given up.
func (s *step) queueGone(q *receiveQueue, err *Error) {
	s.env.Tx.Delete(parkedName(q.slot))
	s.emit(QueueDeleted{q.server, q.id, err})
	s.removeReceive(q)
}

func (s *step) deleteFailed(q *receiveQueue, in OperationFailed) {
	q.tries++
	if in.transient() && q.tries < deleteAttempts {
		q.retry.next = s.now.Add(deleteRetry)
		return
	}
	s.queueGone(q, refuse(in.Code, ""))
}

// deletionDeadline is when a deletion that waits for delivery ends; the zero time if there is none.
func (s *step) deletionDeadline() time.Time {
	if s.deletion == deletingAfterDelivery {
		return s.deleteBy
	}
	return time.Time{}
}

// endDeletion removes everything once no queue is left and nothing is waited for.
func (s *step) endDeletion() {
	if s.deletion == notDeleting || s.gone {
		return
	}
	if s.deletion == deletingAfterDelivery && (!s.waiting() || s.phase == failed || !s.now.Before(s.deleteBy)) {
		s.deletion = deleting
	}
	if s.deletion == deleting && len(s.receive) == 0 {
		s.erase()
		s.emit(Deleted{})
	}
}
