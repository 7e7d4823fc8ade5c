package conn

import (
	"slices"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// receiveStage is how far the switch to a new own queue is (docs/protocol.md, "Queue rotation"). The queue that it replaces
// is the primary one. Numbers are stored: never change or reuse one.
type receiveStage uint8

const (
	switchNone    receiveStage = iota
	switchStarted              // NEW, and QADD as soon as it can be sent
	switchAdded                // QADD is queued: waits for QKEY
	switchKeyed                // QKEY came: KEY, and QUSE as soon as it can be sent
	switchUsing                // QUSE is queued: waits for a message
)

// sendStage is how far the switch to a new queue of the peer is. Numbers are stored: never change or reuse one.
type sendStage uint8

const (
	followNone      sendStage = iota
	followAdded               // QADD came: QKEY as soon as it can be sent
	followKeyed               // QKEY is queued
	followConfirmed           // QKEY is delivered: waits for QUSE
	followSecured             // QUSE came: QTEST as soon as it can be sent
	followTesting             // QTEST is queued; messages go through both queues
)

const (
	maxLeaving    = 16 // old own queues that their relays have not deleted; beyond it no switch is started
	switchRelays  = 3  // relays that refuse the new queue for good before the switch is given up
	removalExpiry = quotaExpiry
)

// switchQueue starts or aborts a switch to another own queue.
func (s *step) switchQueue(in SwitchQueue) *Error {
	next := s.nextReceive()
	switch {
	case s.deletion != notDeleting:
		return refuse(CodeNotFound, "connection is being deleted")
	case in.Abort && (next == nil || next.stage > switchAdded):
		return refuse(CodeProhibited, "no switch that can be aborted")
	case in.Abort:
		s.abortSwitch(next, nil)
		return nil
	case s.phase == failed:
		return over(CodeNotAvailable, "")
	case s.phase != connected:
		return refuse(CodeNoQueue, "connection is not made yet")
	case next != nil:
		return refuse(CodeProhibited, "a switch is under way")
	case s.resync >= ResyncRequired:
		return refuse(CodeProhibited, "ratchet re-synchronisation required")
	case len(s.receive) > maxLeaving:
		return refuse(CodeBusy, "too many old queues wait to be deleted")
	}
	s.addReceiveQueue(queue.ModeMessaging, s.env.supports().client.Max).stage = switchStarted
	s.emit(SwitchChanged{Phase: SwitchStarted})
	return nil
}

// nextReceive returns the own queue that is being switched to, nil if there is none.
func (s *step) nextReceive() *receiveQueue {
	for i := range s.receive {
		if s.receive[i].stage != switchNone {
			return &s.receive[i]
		}
	}
	return nil
}

// nextSend returns the peer's queue that is being switched to, nil if there is none.
func (s *step) nextSend() *sendQueue {
	for i := range s.send {
		if s.send[i].stage != followNone {
			return &s.send[i]
		}
	}
	return nil
}

// testing returns the peer's new queue while messages go through both, nil at other times.
func (s *step) testing() *sendQueue {
	if q := s.nextSend(); q != nil && q.stage == followTesting {
		return q
	}
	return nil
}

// rotate queues what a switch asks for, as soon as something can be sent.
func (s *step) rotate() {
	in, out := s.nextReceive(), s.nextSend()
	if in == nil && out == nil || s.sendable() != nil {
		return
	}
	if in != nil {
		switch {
		case in.stage == switchStarted && in.status != queueMissing:
			in.stage = switchAdded
			replaces := s.receive[0].address()
			s.enqueueContent(kindAddQueue, envelope.AddQueue{{Queue: s.linkQueue(in), Replaces: &replaces}})
		case in.stage == switchKeyed && in.status >= queueSecured:
			in.stage = switchUsing
			s.enqueueContent(kindUseQueue, envelope.UseQueue{{Queue: in.address(), Primary: true}})
		}
	}
	if out != nil {
		switch out.stage {
		case followAdded:
			out.stage = followKeyed
			i := link.Info{Version: out.client, Address: out.address(), DH: out.dh, Mode: out.mode}
			s.enqueueContent(kindQueueKey, envelope.QueueKey{{Queue: i, Key: out.key.public()}})
		case followSecured:
			for _, m := range s.outbox(s.primary()) { // it is given up when the test has passed
				s.copyTo(out, m)
			}
			out.stage = followTesting
			s.enqueueTest(out)
		}
	}
}

// enqueueTest queues the message that goes through the new queue only.
func (s *step) enqueueTest(q *sendQueue) {
	s.enqueueOwn(q, kindTestQueue, envelope.TestQueue{q.address()})
}

// linkQueue is an own queue as links and QADD offer it.
func (s *step) linkQueue(q *receiveQueue) link.Queue {
	return link.Queue{
		Client:  s.env.supports().client,
		Address: q.address(),
		DH:      keys.FromX25519(agreementKey(q.dh).PublicKey()),
		Mode:    q.mode,
	}
}

func queueError(what string) *Error { return peerError(CodeQueue, what) }

// queueAdded handles QADD: the peer has a new queue. Only the first item of the list counts, as in all such lists.
func (s *step) queueAdded(c envelope.AddQueue) *Error {
	offer := c[0]
	switch {
	case !s.resyncable():
		return prohibited("QADD before the connection is made")
	case offer.Replaces == nil:
		return queueError("QADD: no queue is replaced")
	}
	if t := s.testing(); t != nil && t.address().Same(*offer.Replaces) {
		s.followed(t) // who replaces it uses it
	}
	if !s.primary().address().Same(*offer.Replaces) {
		return queueError("QADD: replaced queue address not found in connection")
	}
	if slices.ContainsFunc(s.send, func(q sendQueue) bool { return q.address().Same(offer.Queue.Address) }) {
		return queueError("QADD: queue address is in use")
	}
	client, ok := s.env.supports().client.Negotiate(offer.Queue.Client)
	if !ok {
		return peerError(CodeVersion, "new queue")
	}
	if _, err := agree(agreementKey([32]byte{1}), offer.Queue.DH); err != nil {
		return peerError(CodeMessage, "key of the new queue")
	}
	if earlier := s.nextSend(); earlier != nil {
		s.unfollow(earlier, nil)
	}
	if err := s.addSendQueue(offer.Queue.At(client)); err != nil {
		return peerError(CodeMessage, "key of the new queue")
	}
	s.send[len(s.send)-1].stage = followAdded
	s.emit(SwitchChanged{Sending: true, Phase: SwitchStarted})
	return nil
}

// queueKey handles QKEY: the peer's keys for the new own queue.
func (s *step) queueKey(c envelope.QueueKey) *Error {
	k, q := c[0], s.nextReceive()
	if q == nil || q.status == queueMissing || !q.knownAs(k.Queue) {
		return queueError("QKEY: queue address not found in connection")
	}
	if q.stage != switchAdded {
		return queueError("QKEY: no key is waited for")
	}
	if !s.env.supports().client.Contains(k.Queue.Version) {
		return peerError(CodeVersion, "queue key")
	}
	secret, err := agree(agreementKey(q.dh), k.Queue.DH)
	if err != nil {
		return peerError(CodeMessage, "queue key")
	}
	q.secret, q.senderKey = secret, k.Key
	q.client = min(q.client, k.Queue.Version)
	q.status, q.stage = queueConfirmed, switchKeyed
	s.emit(SwitchChanged{Phase: SwitchConfirmed})
	return nil
}

// knownAs tells whether an address, as the version of it writes it, is the queue's.
func (q *receiveQueue) knownAs(i link.Info) bool {
	a := q.address()
	if i.Version < link.ClientManyHosts {
		a.Server.Hosts = a.Server.Hosts[:1]
	}
	return a.Same(i.Address)
}

// queueUsable handles QUSE: the new queue of the peer takes our messages.
func (s *step) queueUsable(c envelope.UseQueue) *Error {
	q := s.nextSend()
	if q == nil || !q.address().Same(c[0].Queue) {
		return queueError("QUSE: queue address not found in connection")
	}
	switch q.stage {
	case followKeyed:
		s.emit(SwitchChanged{Sending: true, Phase: SwitchConfirmed}) // who answers QKEY has got it
	case followConfirmed:
	default:
		return queueError("QUSE: not expected")
	}
	q.status, q.stage = queueSecured, followSecured
	s.emit(SwitchChanged{Sending: true, Phase: SwitchSecured})
	return nil
}

// followed ends the switch to a new queue of the peer, because it has taken a message. The old one is not used any more;
// what still waits for it waits for the new one too, or went through it.
func (s *step) followed(q *sendQueue) {
	old, slot := s.primary(), q.slot
	q.stage, q.status = followNone, queueActive
	for _, m := range s.outbox(q) {
		if m.kind == kindTestQueue { // without the relay's answer to it
			s.drop(q, m)
		}
	}
	s.dropAll(old)
	s.removeSend(old.slot)
	i := slices.IndexFunc(s.send, func(q sendQueue) bool { return q.slot == slot })
	s.send[0], s.send[i] = s.send[i], s.send[0]
	s.emit(SwitchChanged{Sending: true, Phase: SwitchCompleted})
}

// unfollow forgets a new queue of the peer that nothing comes of. reason is nil if the peer has chosen another.
func (s *step) unfollow(q *sendQueue, reason *Error) {
	s.dropAll(q)
	s.removeSend(q.slot)
	s.emit(SwitchChanged{Sending: true, Phase: SwitchAborted, Err: reason})
}

// dropAll empties the outbox of a queue that is not used any more. Messages that have no copy elsewhere are lost.
func (s *step) dropAll(q *sendQueue) {
	for _, m := range s.outbox(q) {
		lost := m.kind == kindClient && !m.told && s.copyElsewhere(q, m) == nil
		s.drop(q, m)
		if lost {
			s.emit(SendFailed{m.id, m.ref, over(CodeNotAvailable, "")})
		}
	}
}

func (s *step) removeSend(slot uint8) {
	delete(s.heads, slot)
	s.send = slices.DeleteFunc(s.send, func(q sendQueue) bool { return q.slot == slot })
}

// switched ends the switch to an own queue, because a message came through it. The old one is deleted from its relay: at
// once, or later if numbers are missing, which it may still have.
func (s *step) switched(slot uint8, missing bool) {
	i := slices.IndexFunc(s.receive, func(q receiveQueue) bool { return q.slot == slot })
	s.receive[0], s.receive[i] = s.receive[i], s.receive[0]
	s.receive[0].stage = switchNone
	old := &s.receive[i]
	old.leave()
	if missing {
		old.retry.next = s.now.Add(drainTime)
	}
	s.emit(SwitchChanged{Phase: SwitchCompleted})
}

// leave has a queue deleted.
func (q *receiveQueue) leave() { q.leaving, q.stage, q.retry, q.tries = true, switchNone, retry{}, 0 }

// abortSwitch gives a switch to an own queue up. reason is nil if the client wants it.
func (s *step) abortSwitch(q *receiveQueue, reason *Error) {
	q.leave()
	s.dropLeft()
	s.emit(SwitchChanged{Phase: SwitchAborted, Err: reason})
}

// dropLeft forgets own queues to be left that the relay was not asked for yet, or was asked for before a restart.
func (s *step) dropLeft() {
	s.receive = slices.DeleteFunc(s.receive, func(q receiveQueue) bool {
		return q.leaving && q.status == queueMissing && !s.issued[Op{opNew, q.slot, q.attempt}]
	})
}

// newQueueFailed decides about the queue of a switch that a relay did not make. Its keys are new ones already.
func (s *step) newQueueFailed(q *receiveQueue, in OperationFailed) {
	if !in.transient() && q.tries >= switchRelays {
		s.abortSwitch(q, refuse(in.Code, "new queue"))
		return
	}
	q.retry.after(s.now, fastIntervals)
}

// keyFailed decides about KEY for the queue of a switch.
func (s *step) keyFailed(q *receiveQueue, in OperationFailed) {
	if in.transient() {
		q.retry.after(s.now, fastIntervals)
		return
	}
	s.abortSwitch(q, refuse(in.Code, "key of the new queue"))
}

// removalFailed tries the deletion of an old queue again for some time.
func (s *step) removalFailed(q *receiveQueue, in OperationFailed) {
	q.tries++
	if in.transient() && q.retry.slow.waited < removalExpiry {
		q.retry.after(s.now, slowIntervals)
		return
	}
	s.queueGone(q, refuse(in.Code, ""))
}

// rotationDelivered goes on once a message of a switch is at the peer's relay.
func (s *step) rotationDelivered(q *sendQueue, kind messageKind) {
	next := s.nextSend()
	switch {
	case kind == kindQueueKey && next != nil && next.stage == followKeyed:
		next.stage = followConfirmed
		s.emit(SwitchChanged{Sending: true, Phase: SwitchConfirmed})
	case kind == kindTestQueue && q.stage == followTesting:
		s.followed(q)
	}
}

// rotationAbandoned goes on when a message of a switch was given up. What the relay could not be given in time is said
// again; what it refused ends the switch.
func (s *step) rotationAbandoned(q *sendQueue, kind messageKind, reason *Error, again bool) {
	in, out := s.nextReceive(), s.nextSend()
	word := map[messageKind]string{kindAddQueue: "QADD", kindQueueKey: "QKEY", kindUseQueue: "QUSE", kindTestQueue: "QTEST"}[kind]
	err := refuse(CodeQueue, word+": "+string(reason.Code))
	switch {
	case kind == kindAddQueue && in != nil && in.stage == switchAdded:
		if in.stage = switchStarted; !again {
			s.abortSwitch(in, err)
		}
	case kind == kindUseQueue && in != nil && in.stage == switchUsing:
		if again {
			in.stage = switchKeyed
		} else {
			s.emit(SwitchChanged{Phase: SwitchSecured, Err: err})
		}
	case kind == kindQueueKey && out != nil && out.stage == followKeyed:
		if out.stage = followAdded; !again {
			s.unfollow(out, err)
		}
	case kind == kindTestQueue && q.stage == followTesting:
		if again && s.sendable() == nil {
			s.enqueueTest(q)
		} else {
			s.unfollow(q, err)
		}
	}
}
