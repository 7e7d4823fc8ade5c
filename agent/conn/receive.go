package conn

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// arrival is one message from a relay on its way through the layers.
type arrival struct {
	queue  *receiveQueue
	id     queue.ID
	stored time.Time // by the relay
	waits  int64     // set to its ID if the client must acknowledge it
	first  bool      // set if the ratchet could not send before it

	switched bool // set if it ends the switch to its queue
	missing  bool // set with it if numbers before it are missing
}

// received handles a message from a relay. Whatever is wrong with it, it ends with an acknowledgement: at once, or when
// the client has acknowledged. So a bad message never stops the queue.
func (s *step) received(in Received) {
	q := s.receiveByID(in.Queue)
	if q == nil || s.deletion != notDeleting || len(in.ID) == 0 {
		return
	}
	if q.last != "" && in.ID == q.last {
		q.arrivals++
		if !q.isParked() {
			s.redelivered(q)
		}
		return
	}
	if q.isParked() { // the relay has gone on without an acknowledgement
		s.takeParked(q)
		if q = s.receiveByID(in.Queue); q == nil {
			return
		}
	}
	if s.unacked >= MaxUnacked {
		return // an honest relay does not deliver so many; they stay there
	}
	q.arrivals++
	// Another message tells that the one before is acknowledged, and can be handled earlier than the answer to ACK.
	q.last, q.waits, q.ack, q.ackRetry = in.ID, 0, "", retry{}
	if s.merging(q) != nil {
		s.park(q, in)
		return
	}
	s.arrived(q, in.ID, in.Body)
}

// acknowledge asks for the acknowledgement of a queue's last message.
func (s *step) acknowledge(q *receiveQueue) {
	q.waits, q.ack, q.ackRetry = 0, q.last, retry{}
	s.active(q)
}

// redelivered handles a message that the relay delivers again: it missed the acknowledgement, or there was none yet.
func (s *step) redelivered(q *receiveQueue) {
	if q.waits == 0 {
		s.acknowledge(q)
		return
	}
	m := s.held(q.waits)
	if m == nil {
		s.acknowledge(q)
		return
	}
	m.redelivered++
	if m.redelivered >= redeliveries && s.now.Sub(m.received) >= redeliveryTime {
		s.letGo(m)
		s.acknowledge(q)
		s.fail(peerError(CodeDuplicate, fmt.Sprintf("message given up after %d deliveries", m.redelivered+1)))
		return
	}
	s.env.Tx.Put(incomingName(m.id), m.append(nil))
	s.emit(m.event())
}

// arrived handles a message of the relay whose turn it is.
func (s *step) arrived(q *receiveQueue, id queue.ID, body []byte) {
	a := &arrival{queue: q, id: id}
	if err := s.open(a, body); err != nil {
		s.fail(err)
	}
	if a.waits == 0 {
		s.acknowledge(q)
	} else {
		q.waits = a.waits
	}
	if a.switched {
		s.switched(q.slot, a.missing)
	}
}

// open goes through the relay's layer and the queue's.
func (s *step) open(a *arrival, sealed []byte) *Error {
	l, err := s.peel(a.queue, a.id, sealed)
	if err != nil {
		if l.shut && l.known && !l.keyed { // with a key in front anybody may have sent it
			s.cryptoFailed(err)
		}
		return err
	}
	a.stored = l.stored
	if l.quota {
		s.drained(a.queue)
		return nil
	}
	return s.decide(a, l)
}

func prohibited(what string) *Error { return peerError(CodePeerProhibited, what) }

// decide is the table of what may come when (docs/protocol.md, "What the recipient accepts"). Before the confirmation peel
// lets nothing through but what comes with a key in front.
func (s *step) decide(a *arrival, l layers) *Error {
	q, withKey, known, keyed := a.queue, !l.header.SenderKey.IsZero(), l.known, l.keyed
	switch e := l.envelope.(type) {
	case *envelope.Confirmation:
		switch {
		case known && keyed:
			return nil // repeated
		case known, s.role == address:
			return prohibited("confirmation")
		case !withKey && q.mode != queue.ModeMessaging:
			return prohibited("confirmation without a key")
		}
		return s.confirmed(a, l.version, l.secret, l.header.SenderKey, e)
	case *envelope.Invitation:
		if known || withKey || s.role != address {
			return prohibited("invitation")
		}
		return s.requested(e)
	case *envelope.Message:
		if keyed || withKey {
			return prohibited("message")
		}
		return s.message(a, e)
	case *envelope.RatchetKey:
		if keyed || withKey || !s.hasRatchet {
			return prohibited("ratchet key")
		}
		return s.ratchetKey(e)
	default:
		return peerError(CodeMessage, "agent envelope")
	}
}

// confirmed handles a confirmation that the table allows.
func (s *step) confirmed(a *arrival, client queue.Version, secret box.Secret, senderKey keys.Public, e *envelope.Confirmation) *Error {
	if !s.env.supports().agent.Contains(e.Agent) && e.Agent > s.agent {
		return peerError(CodeVersion, "confirmation")
	}
	var err *Error
	switch {
	case s.phase == invited && e.Keys != nil, s.phase == requesting && e.Keys != nil:
		err = s.confirmedByJoiner(a, e)
	case (s.phase == joined || s.phase == confirming) && e.Keys == nil:
		err = s.confirmedByInitiator(a, e, senderKey.IsZero())
	default:
		err = prohibited("confirmation")
	}
	if err != nil {
		return err
	}
	q := a.queue
	q.secret, q.senderKey = secret, senderKey
	q.client = min(q.client, client)
	q.status = max(q.status, queueConfirmed)
	return nil
}

// confirmedByJoiner makes the initiator's ratchet and hands the joiner's info to the client. On errors nothing changes.
func (s *step) confirmedByJoiner(a *arrival, e *envelope.Confirmation) *Error {
	own, err := ratchet.DecodeKeys(s.keys)
	if err != nil {
		s.damaged(err)
		return nil
	}
	defer own.Clear()
	state, err := ratchet.NewInitiator(own, *e.Keys, s.env.ratchetOptions())
	switch {
	case errors.Is(err, ratchet.ErrVersion):
		return peerError(CodeVersion, "encryption version of the confirmation")
	case err != nil:
		return peerError(CodeDecryptAES, "key agreement")
	}
	plain, err := state.Decrypt(s.env.Rand, e.Sealed)
	if err != nil {
		return ratchetError(err)
	}
	p, err := envelope.ParsePlaintext(plain)
	info, ok := p.(envelope.JoinerInfo)
	switch {
	case err != nil:
		return peerError(CodeMessage, "confirmation")
	case !ok:
		return prohibited("content of the confirmation")
	}
	reply := info.Queues[0]
	if reply.Version > s.env.supports().client.Max || reply.Version < s.env.supports().client.Min {
		return peerError(CodeVersion, "reply queue")
	}
	if _, err := agree(agreementKey(newAgreementKey(s.env.Rand)), reply.DH); err != nil {
		return peerError(CodeMessage, "key of the reply queue")
	}
	if s.phase == requesting {
		s.posted() // who answers must have got it
	}
	s.ratchet, s.hasRatchet = state, true
	s.binding = s.bind(e.Keys.AppendSingle(nil))
	s.phase, s.agent = confirmed, e.Agent
	s.firstReceived(plain)
	s.confirmation = &confirmation{id: randomName(s.env.Rand), reply: reply}
	s.emit(Confirmation{ID: s.confirmation.id, Binding: s.binding, Info: copied(info.Info), Server: reply.Server})
	return nil
}

// confirmedByInitiator hands the initiator's info to the joiner's client. fast tells that no key came with it.
func (s *step) confirmedByInitiator(a *arrival, e *envelope.Confirmation, fast bool) *Error {
	plain, err := s.ratchet.Decrypt(s.env.Rand, e.Sealed)
	if err != nil {
		return ratchetError(err)
	}
	p, err := envelope.ParsePlaintext(plain)
	info, ok := p.(envelope.InitiatorInfo)
	switch {
	case err != nil:
		return peerError(CodeMessage, "confirmation")
	case !ok:
		return prohibited("content of the confirmation")
	}
	if s.phase == confirming {
		s.confirmationArrived()
	}
	s.firstReceived(plain)
	s.emit(Info{Binding: s.binding, Info: copied(info.Info)})
	if !fast {
		s.phase = keying
		return nil
	}
	a.queue.status = queueActive
	s.connect()
	return nil
}

// confirmationArrived: who answers a confirmation must have got it, whatever the relay said.
func (s *step) confirmationArrived() {
	s.stalled = ""
	q := s.primary()
	if m := s.head(q); m != nil && m.kind == kindConfirmation {
		s.delivered(q, m)
	}
}

// firstReceived begins the counting of the peer's messages. It is 1 whatever number the peer gave its confirmation.
func (s *step) firstReceived(plain []byte) {
	hash := envelope.Hash(plain)
	s.receivedID, s.receivedHash = 1, hash[:]
}

// requested hands a request at a contact address to the client.
func (s *step) requested(e *envelope.Invitation) *Error {
	l, err := link.Parse(e.Link)
	if err != nil || l.Kind != link.Invitation {
		return peerError(CodeLink, "link of the request")
	}
	id := s.keepRequest(e.Link, e.Info)
	s.emit(Request{ID: id, Link: l, Compatible: s.env.compatible(l), Info: copied(e.Info)})
	return nil
}

// compatible tells whether Join could agree on versions.
func (e Env) compatible(l link.Request) bool {
	v := e.supports()
	_, agent := v.agent.Negotiate(l.Agent)
	_, client := v.client.Negotiate(l.Queues[0].Client)
	e2e := queue.VersionRange{Min: queue.Version(l.Keys.Versions.Min), Max: queue.Version(l.Keys.Versions.Max)}
	_, keys := queue.VersionRange{Min: queue.Version(ratchet.MinVersion), Max: queue.Version(v.ratchet)}.Negotiate(e2e)
	return agent && client && keys
}

// message opens a message envelope.
func (s *step) message(a *arrival, e *envelope.Message) *Error {
	switch {
	case s.phase == confirmed || s.phase == allowing:
		if s.agent < agentEarlySend {
			return prohibited("message before the connection is allowed")
		}
	case !s.hasRatchet:
		return prohibited("message")
	}
	hash := sha256.Sum256(e.Sealed)
	a.first = !s.ratchet.CanSend()
	plain, err := s.ratchet.Decrypt(s.env.Rand, e.Sealed)
	if err != nil {
		return s.undecryptable(hash, err)
	}
	s.rememberHash(hash)
	s.raiseVersion(e.Agent)
	if s.resync != ResyncOK && s.resync != ResyncStarted {
		s.resynced(ResyncOK, nil)
	}
	a.queue.status = queueActive
	a.switched = a.queue.stage == switchUsing
	p, err := envelope.ParsePlaintext(plain)
	n, ok := p.(envelope.Numbered)
	switch {
	case err != nil:
		return peerError(CodeMessage, "agent message")
	case !ok:
		return prohibited("connection info in a message")
	}
	return s.numbered(a, n, envelope.Hash(plain))
}

// raiseVersion follows the version that the peer's messages announce: it rises to the highest common one, never falls.
func (s *step) raiseVersion(announced queue.Version) {
	own := s.env.supports().agent
	if announced < own.Min {
		return
	}
	s.agent = max(s.agent, min(announced, own.Max))
}

// undecryptable decides about a message that the ratchet did not open.
func (s *step) undecryptable(hash [32]byte, err error) *Error {
	if s.knownHash(hash) {
		return nil // delivered before
	}
	e := ratchetError(err)
	if !errors.Is(err, ratchet.ErrDuplicate) {
		s.cryptoFailed(e)
	}
	return e
}

// ratchetError names an error of the ratchet.
func ratchetError(err error) *Error {
	e := peerError(CodeMessage, err.Error())
	for _, c := range []struct {
		err  error
		code Code
	}{
		{ratchet.ErrHeader, CodeHeader},
		{ratchet.ErrDuplicate, CodeDuplicate},
		{ratchet.ErrEarlier, CodeEarlier},
		{ratchet.ErrTooManySkipped, CodeSkipped},
		{ratchet.ErrAuthentication, CodeDecryptAES},
	} {
		if errors.Is(err, c.err) {
			e.Code = c.code
		}
	}
	var count *ratchet.CountError
	if errors.As(err, &count) {
		e.Count, e.Detail = count.Count, count.Kind.Error()
	}
	return e
}

// cryptoFailed follows how badly the ratchets have come apart. It never says less than before until something decrypts.
func (s *step) cryptoFailed(e *Error) {
	state := ResyncOK
	switch e.Code {
	case CodeHeader, CodeSkipped, CodeResync:
		state = ResyncRequired
	case CodeDecryptAES, CodeDecryptBox, CodeEarlier:
		state = ResyncAllowed
	}
	if s.resync < state {
		s.resynced(state, e)
	}
}

// numbered counts and dispatches what the peer's agent says.
func (s *step) numbered(a *arrival, n envelope.Numbered, hash [32]byte) *Error {
	integrity := s.follow(a, n.Number, hash[:], n.Previous)
	s.lastID++
	m := &incoming{
		id: s.lastID, slot: a.queue.slot, broker: a.id, number: n.Number, hash: hash,
		stored: a.stored, received: s.now, integrity: integrity,
	}
	switch c := n.Content.(type) {
	case envelope.ClientMessage:
		m.body = c.Body
		a.waits = m.id
		s.hold(m)
		return nil
	case envelope.Hello:
		return s.hello()
	case envelope.Receipts:
		if s.receipts(m, c); len(m.items) > 0 {
			a.waits = m.id
			s.hold(m)
		}
		return nil
	case envelope.Continue:
		if !s.wakeDelivery(c.Queue) {
			if s.sendSlots > 1 {
				return nil // a queue that is not used any more
			}
			return peerError(CodeQueue, "QCONT: queue address not found in connection")
		}
		s.emit(Continued{})
		return nil
	case envelope.Ready:
		s.ready(a.first)
		return nil
	case envelope.AddQueue:
		return s.queueAdded(c)
	case envelope.QueueKey:
		return s.queueKey(c)
	case envelope.UseQueue:
		return s.queueUsable(c)
	case envelope.TestQueue:
		return nil // that it came is all it says
	default:
		return peerError(CodeMessage, "agent message")
	}
}

// hello handles the last message of the standard handshake. The initiator answers it.
func (s *step) hello() *Error {
	expected := s.phase == greeting || s.phase == answering && !s.primary().fast()
	if s.earlyHello || !expected {
		return prohibited("HELLO")
	}
	s.earlyHello = true
	switch {
	case s.role != joiner:
		s.enqueueContent(kindHello, envelope.Hello{})
	case s.primary().status == queueActive:
		s.connect()
	}
	return nil
}

// receipts compares receipts with what was sent and adds what is new to m.
func (s *step) receipts(m *incoming, c envelope.Receipts) {
	for _, r := range c {
		sent := s.sentByNumber(r.Number)
		if sent == nil || sent.receipt {
			continue
		}
		ok := bytes.Equal(r.Hash, sent.hash[:])
		if ok {
			sent.receipt = true
			s.env.Tx.Put(sentName(r.Number), sent.append(nil))
		}
		m.items = append(m.items, Receipt{Message: sent.id, OK: ok, Info: copied(r.Info)})
		m.numbers = append(m.numbers, r.Number)
	}
}

// drained notes that the peer is to be told that its messages have been taken from a queue that was full. Nobody says it
// twice, so if nothing can be sent now it is told later.
func (s *step) drained(q *receiveQueue) {
	if !slices.Contains(s.drainedSlots, q.slot) {
		s.drainedSlots = append(s.drainedSlots, q.slot)
	}
}

// sendContinues tells the peer about queues that it filled.
func (s *step) sendContinues() {
	if len(s.drainedSlots) == 0 || s.sendable() != nil {
		return
	}
	for _, slot := range s.drainedSlots {
		if q := s.receiveSlot(slot); q != nil && !q.leaving {
			s.enqueueContent(kindContinue, envelope.Continue{Queue: q.address()})
		}
	}
	s.drainedSlots = nil
}
