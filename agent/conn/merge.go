package conn

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// While own queues are switched, messages come through both, and what came through the new one may follow on what still
// waits at the relay of the old one. Each relay delivers in order, and one message at a time. So the two are merged: a
// message that is not the next one is set aside, unacknowledged, until the other queue has caught up or stays quiet.

const (
	quietTime = time.Minute    // after which nothing more is expected from the other queue
	drainTime = 24 * time.Hour // for which an old queue is kept when messages are missing
)

// parked is a message that is set aside.
type parked struct {
	id   queue.ID
	body []byte // as it came
}

const parkedFormat = 1

func (p *parked) append(dst []byte) []byte {
	return append(p.id.Append(append(dst, parkedFormat)), p.body...)
}

// decodeParked reads what append wrote; ErrDamaged for everything else.
func decodeParked(b []byte) (*parked, error) {
	r := wire.NewReader(b)
	if r.U8() != parkedFormat {
		return nil, fmt.Errorf("%w: unknown format of message set aside", ErrDamaged)
	}
	p := &parked{id: queue.ReadID(r), body: copied(r.Rest())}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: message set aside: %w", ErrDamaged, err)
	}
	return p, nil
}

func parkedName(slot uint8) []byte { return []byte{recordParked, slot} }

// isParked tells whether the last message of a queue is set aside.
func (q *receiveQueue) isParked() bool { return !q.parkedUntil.IsZero() }

// merging returns the queue through which messages come beside q; nil if there is none.
func (s *step) merging(q *receiveQueue) *receiveQueue {
	next := s.nextReceive()
	switch {
	case next == nil || next.stage != switchUsing:
		return nil
	case q.slot == next.slot:
		return &s.receive[0]
	case q.slot == s.receive[0].slot:
		return next
	default:
		return nil
	}
}

// park sets a message aside; unpark decides how long.
func (s *step) park(q *receiveQueue, in Received) {
	s.env.Tx.Put(parkedName(q.slot), (&parked{in.ID, in.Body}).append(nil))
	q.parkedUntil = s.now.Add(quietTime)
}

// active notes that there may be more in a queue soon.
func (s *step) active(q *receiveQueue) {
	if o := s.merging(q); o != nil && o.isParked() {
		o.parkedUntil = s.now.Add(quietTime)
	}
}

// unpark takes up what was set aside, as far as its turn has come.
func (s *step) unpark() {
	for s.deletion == notDeleting && !s.gone {
		q := s.turn()
		if q == nil {
			return
		}
		s.takeParked(q)
	}
}

func (s *step) takeParked(q *receiveQueue) {
	p := s.parkedOf(q)
	s.env.Tx.Delete(parkedName(q.slot))
	q.parkedUntil = time.Time{}
	if p == nil {
		return
	}
	s.active(q)
	s.arrived(q, p.id, p.body)
}

// parkedOf returns the message of a queue that is set aside.
func (s *step) parkedOf(q *receiveQueue) *parked {
	b, _ := s.env.Tx.Get(parkedName(q.slot))
	p, err := decodeParked(b)
	if err != nil {
		s.damaged(err)
		return nil
	}
	return p
}

// turn returns a queue whose message that was set aside is to be taken up now, nil if there is none.
func (s *step) turn() *receiveQueue {
	var waiting *receiveQueue
	var first place
	for i := range s.receive {
		q := &s.receive[i]
		if !q.isParked() {
			continue
		}
		other := s.merging(q)
		if other == nil {
			return q
		}
		p := s.placeOf(q)
		switch {
		case p.kind == placeNone:
			return q
		case other.waits != 0:
			continue // the client gets one after the other
		case p.kind == placeNumber && (p.number <= s.receivedID+1 || s.passesTest(q, p.number)), !s.now.Before(q.parkedUntil):
			return q
		case waiting != nil: // neither queue has the next one
			if first.before(p) {
				return waiting
			}
			return q
		}
		waiting, first = q, p
	}
	return nil
}

// passesTest tells whether a message through the old queue is behind the test of the new one, whose number the old queue
// does not have, and which may take longer.
func (s *step) passesTest(q *receiveQueue, number int64) bool {
	next := s.merging(q)
	return next != nil && next.stage != switchNone && next.hole == 0 && number == s.receivedID+2
}

// follow counts a message of the peer and tells how it fits behind the one before.
func (s *step) follow(a *arrival, number int64, hash, previous []byte) envelope.Integrity {
	q := a.queue
	if q.hole != 0 && number == q.hole { // was counted
		q.hole = 0
		return envelope.Integrity{}
	}
	i := envelope.CheckIntegrity(s.receivedID, s.receivedHash, number, previous)
	if s.passesTest(q, number) {
		s.merging(q).hole = number - 1
		i = envelope.Integrity{}
	} else {
		a.missing = number > s.receivedID+1
	}
	s.receivedID, s.receivedHash = number, hash
	return i
}

// place is where in the order of the peer's messages one belongs.
type place struct {
	kind   placeKind
	number int64
}

type placeKind uint8

const (
	placeNone   placeKind = iota // in no order
	placeNumber                  // by its number
	placeKey                     // a ratchet key: behind all that the present ratchet opens
	placeClosed                  // the ratchet does not open it: behind a ratchet key
)

func (p place) before(o place) bool {
	if p.kind != o.kind {
		return p.kind < o.kind
	}
	return p.number < o.number
}

// placeOf looks into a message that is set aside. The ratchet stays as it is.
func (s *step) placeOf(q *receiveQueue) place {
	p := s.parkedOf(q)
	if p == nil {
		return place{}
	}
	l, err := s.peel(q, p.id, p.body)
	if err != nil || !l.known || l.keyed {
		return place{}
	}
	switch e := l.envelope.(type) {
	case *envelope.RatchetKey:
		hash := e.Keys.Hash()
		if _, known := s.env.Tx.Get(ratchetKeyName(hash)); known {
			return place{}
		}
		return place{kind: placeKey}
	case *envelope.Message:
		return s.placeOfMessage(e.Sealed)
	default:
		return place{}
	}
}

func (s *step) placeOfMessage(sealed []byte) place {
	if s.ratchet == nil || s.knownHash(sha256.Sum256(sealed)) {
		return place{}
	}
	s.ratchet.Save(s.env.Tx, []byte{recordRatchet})
	look, err := ratchet.Load(s.env.Tx, []byte{recordRatchet}, nil)
	if err != nil {
		s.damaged(err)
		return place{}
	}
	plain, err := look.Decrypt(s.env.Rand, sealed)
	switch {
	case errors.Is(err, ratchet.ErrDuplicate):
		return place{}
	case err != nil:
		return place{kind: placeClosed}
	}
	p, err := envelope.ParsePlaintext(plain)
	n, ok := p.(envelope.Numbered)
	if err != nil || !ok {
		return place{}
	}
	return place{placeNumber, n.Number}
}

// layers is a message without the relay's layer and the queue's.
type layers struct {
	stored       time.Time
	quota        bool // the relay's marker of a full queue; nothing else is set
	version      queue.Version
	secret       box.Secret
	header       envelope.PrivateHeader
	envelope     envelope.Envelope
	known, keyed bool // the secret was known; a key stands in front
	shut         bool // the queue's layer does not open
}

// peel goes through the relay's layer and the queue's, and changes nothing.
func (s *step) peel(q *receiveQueue, id queue.ID, sealed []byte) (l layers, failure *Error) {
	m, err := queue.OpenMessage(q.sealing(), queue.MSG{ID: id, Sealed: sealed})
	if err != nil {
		return l, peerError(CodeDecryptBox, "message of the relay")
	}
	l.stored, l.quota = time.Unix(m.Time, 0).UTC(), m.Quota
	if m.Quota {
		return l, nil
	}
	c, err := envelope.ParseClient(m.Body)
	if err != nil {
		return l, peerError(CodeMessage, "client envelope")
	}
	if v := c.Version; !s.env.supports().client.Contains(v) && v > q.client {
		return l, peerError(CodeVersion, "client envelope")
	}
	l.version, l.known, l.keyed = c.Version, q.known(), !c.Key.IsZero()
	if !l.known && !l.keyed {
		return l, prohibited("message before the confirmation")
	}
	if l.secret, err = s.secretOf(q, c.Key); err != nil {
		return l, peerError(CodeDecryptBox, "key of the sender")
	}
	var inner []byte
	l.header, inner, err = c.Open(&l.secret)
	switch {
	case errors.Is(err, box.ErrOpen):
		l.shut = true
		return l, peerError(CodeDecryptBox, "client envelope")
	case err != nil:
		return l, peerError(CodeMessage, "client envelope")
	}
	if l.envelope, err = envelope.Parse(inner); err != nil {
		return l, peerError(CodeMessage, "agent envelope")
	}
	return l, nil
}

// secretOf returns the secret shared with the sender, which a key in front of its first message makes.
func (s *step) secretOf(q *receiveQueue, front keys.Public) (box.Secret, error) {
	if q.known() {
		return q.secret, nil
	}
	return agree(agreementKey(q.dh), front)
}
