package conn

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/kv"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// Records of a connection: the first byte of their keys.
const (
	recordState    = 'c' // state without progress
	recordProgress = 'p' // progress
	recordRatchet  = 'r' // prefix of the ratchet's records
	recordOutbox   = 'o' // slot, u64 ID: outgoing
	recordReceived = 'm' // u64 ID: incoming, until the client acknowledges
	recordSent     = 's' // u64 sender's number: sent client message, for receipts
	recordHash     = 'h' // SHA-256 of a received ratchet message, no value
	recordHashList = 'x' // u64 number: the same, listed as they came
	recordOwed     = 'v' // u64 ID: receipt that cannot be sent yet
	recordRequest  = 'q' // u64 number: request at a contact address

	recordParked     = 'w' // slot: parked
	recordRatchetKey = 'k' // SHA-256 of the peer's keys for a new ratchet: when they came
)

// ErrNotFound reports a connection without records.
var ErrNotFound = errors.New("no such connection")

// ErrDamaged reports records that this package has not written.
var ErrDamaged = errors.New("malformed stored connection")

// stateFormat is the version of the state record, its first two bytes. Older ones are still read: version 1 ends before the
// fields of a re-synchronisation, versions 2 and 3 before the queues that were full, version 4 before the fields of a switch.
// Versions 1 and 2 have progress and the number of queued messages in it.
const stateFormat = 5

// progress is what every message sent changes, in a record of its own.
type progress struct {
	lastID   int64 // of the last message sent or received, as the client counts
	sentID   int64 // number of the last message sent
	sentHash []byte
	sentFrom int64 // sent messages with lower numbers are forgotten
}

const progressFormat = 1

func (p *progress) append(dst []byte) []byte {
	dst = wire.AppendI64(wire.AppendI64(append(dst, progressFormat), p.lastID), p.sentID)
	return wire.AppendI64(wire.AppendStr8(dst, p.sentHash), p.sentFrom)
}

// decodeProgress reads what append wrote; ErrDamaged for everything else.
func decodeProgress(b []byte) (progress, error) {
	r := wire.NewReader(b)
	if r.U8() != progressFormat {
		return progress{}, fmt.Errorf("%w: unknown format of progress", ErrDamaged)
	}
	p := progress{lastID: r.I64(), sentID: r.I64(), sentHash: readHash(r), sentFrom: r.I64()}
	if err := r.Done(); err != nil {
		return progress{}, fmt.Errorf("%w: progress: %w", ErrDamaged, err)
	}
	return p, nil
}

// loadState reads the state and what belongs to it. ErrNotFound if there is none.
func loadState(tx kv.Tx) (*state, error) {
	b, ok := tx.Get([]byte{recordState})
	if !ok {
		return nil, ErrNotFound
	}
	s, err := decodeState(b)
	if err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint16(b) < 3 {
		return s, nil
	}
	b, _ = tx.Get([]byte{recordProgress})
	if s.progress, err = decodeProgress(b); err != nil {
		return nil, err
	}
	for i := range s.send {
		q := &s.send[i]
		tx.Scan(outboxPrefix(q.slot), nil, func(_, _ []byte) bool {
			q.queued++
			return true
		})
	}
	return s, nil
}

// append appends the state record. Secrets are plain: sealing is the store's business.
func (s *state) append(dst []byte) []byte {
	dst = wire.AppendU16(dst, stateFormat)
	dst = append(dst, byte(s.role), byte(s.phase))
	dst = wire.AppendStr8(dst, []byte(s.stalled))
	dst = wire.AppendU16(dst, uint16(s.agent))
	dst = wire.AppendBool(wire.AppendBool(wire.AppendBool(dst, s.pq), s.hasRatchet), s.earlyHello)
	dst = wire.AppendStr16(wire.AppendBool(dst, s.hasData), s.clientData)
	dst = append(append(dst, s.linkHash[:]...), s.binding[:]...)
	dst = wire.AppendStr16(wire.AppendStr16(wire.AppendStr16(dst, s.keys), s.params), s.info)
	dst = s.confirmation.append(dst)
	dst = s.post.append(dst)
	dst = wire.AppendStr8(wire.AppendI64(dst, s.receivedID), s.receivedHash)
	dst = append(dst, byte(s.resync))
	dst = wire.AppendU32(wire.AppendU32(wire.AppendU32(dst, s.unacked), s.owed), s.requests)
	dst = wire.AppendU64(dst, s.lastRequest)
	dst = appendTime(append(dst, byte(s.deletion)), s.deleteBy)
	dst = wire.AppendU64(wire.AppendU64(dst, s.hashListFirst), s.hashListNext)
	dst = appendHashes(dst, s.hashes)
	dst = append(dst, byte(len(s.receive)))
	for i := range s.receive {
		dst = s.receive[i].append(dst)
	}
	dst = append(dst, byte(len(s.send)))
	for i := range s.send {
		dst = s.send[i].append(dst)
	}
	dst = append(wire.AppendStr16(dst, s.resyncKeys), byte(s.rebound))
	dst = wire.AppendStr8(dst, s.drainedSlots)
	return s.appendSwitches(dst)
}

// appendSwitches appends what queues have since there are several.
func (s *state) appendSwitches(dst []byte) []byte {
	dst = append(dst, s.receiveSlots, s.sendSlots)
	for i := range s.receive {
		q := &s.receive[i]
		dst = wire.AppendI64(wire.AppendBool(append(dst, byte(q.stage)), q.leaving), q.hole)
		dst = appendTime(dst, q.parkedUntil)
	}
	for i := range s.send {
		dst = append(dst, byte(s.send[i].stage))
	}
	return dst
}

// readSwitches reads what appendSwitches wrote; before format 5 queues were numbered and never removed.
func (s *state) readSwitches(r *wire.Reader, format uint16) {
	if format < 5 {
		for i := range s.receive {
			s.receiveSlots = max(s.receiveSlots, s.receive[i].slot+1)
		}
		for i := range s.send {
			s.sendSlots = max(s.sendSlots, s.send[i].slot+1)
		}
		return
	}
	s.receiveSlots, s.sendSlots = r.U8(), r.U8()
	for i := range s.receive {
		q := &s.receive[i]
		q.stage, q.leaving = receiveStage(enum(r, 0, byte(switchUsing))), r.Bool()
		q.hole, q.parkedUntil = r.I64(), readTime(r)
	}
	for i := range s.send {
		s.send[i].stage = sendStage(enum(r, 0, byte(followTesting)))
	}
}

// decodeState reads what append wrote; ErrDamaged for everything else.
func decodeState(b []byte) (*state, error) {
	r := wire.NewReader(b)
	format := r.U16()
	if format < 1 || format > stateFormat {
		return nil, fmt.Errorf("%w: unknown format", ErrDamaged)
	}
	s := &state{
		role:    role(enum(r, byte(initiator), byte(address))),
		phase:   phase(enum(r, byte(creating), byte(serving))),
		stalled: Code(r.Str8()),
		agent:   queue.Version(r.U16()),
		pq:      r.Bool(), hasRatchet: r.Bool(), earlyHello: r.Bool(),
		hasData: r.Bool(), clientData: copied(r.Str16()),
	}
	r.Copy(s.linkHash[:])
	r.Copy(s.binding[:])
	s.keys, s.params, s.info = copied(r.Str16()), copied(r.Str16()), copied(r.Str16())
	s.confirmation = readConfirmation(r)
	s.post = readPost(r)
	old := format < 3
	if old {
		s.lastID, s.sentID = r.I64(), r.I64()
	}
	s.receivedID = r.I64()
	if old {
		s.sentHash = readHash(r)
	}
	s.receivedHash = readHash(r)
	s.resync = Resync(enum(r, byte(ResyncOK), byte(ResyncAgreed)))
	s.unacked, s.owed = r.U32(), r.U32()
	s.requests, s.lastRequest = r.U32(), r.U64()
	s.deletion = deletion(enum(r, byte(notDeleting), byte(deletingAfterDelivery)))
	s.deleteBy = readTime(r)
	if old {
		s.sentFrom = r.I64()
	}
	s.hashListFirst, s.hashListNext = r.U64(), r.U64()
	s.hashes = readHashes(r)
	for range r.U8() {
		s.receive = append(s.receive, readReceiveQueue(r))
	}
	for range r.U8() {
		q := readSendQueue(r)
		if old {
			q.queued = r.U32()
		}
		s.send = append(s.send, q)
	}
	if format >= 2 {
		s.resyncKeys, s.rebound = copied(r.Str16()), Side(enum(r, 0, byte(Sending)))
	}
	if format >= 4 {
		s.drainedSlots = copied(r.Str8())
	}
	s.readSwitches(r, format)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return s, nil
}

func (c *confirmation) append(dst []byte) []byte {
	if c == nil {
		return wire.AppendAbsent(dst)
	}
	dst = wire.AppendStr8(wire.AppendPresent(dst), []byte(c.id))
	return appendInfo(dst, c.reply)
}

func readConfirmation(r *wire.Reader) *confirmation {
	if !r.Opt() {
		return nil
	}
	return &confirmation{id: string(r.Str8()), reply: readInfo(r)}
}

func (p *post) append(dst []byte) []byte {
	if p == nil {
		return wire.AppendAbsent(dst)
	}
	dst = appendInfo(wire.AppendPresent(dst), p.queue)
	dst = wire.AppendU16(dst, uint16(p.agent))
	return p.retry.append(appendTime(dst, p.created))
}

func readPost(r *wire.Reader) *post {
	if !r.Opt() {
		return nil
	}
	return &post{queue: readInfo(r), agent: queue.Version(r.U16()), created: readTime(r), retry: readRetry(r)}
}

// appendInfo keeps a queue's information with its mode, which not every version of the wire form has.
func appendInfo(dst []byte, i link.Info) []byte {
	dst = wire.AppendU16(dst, uint16(i.Version))
	dst = i.Address.Append(dst)
	return appendMode(i.DH.Append(dst), i.Mode)
}

func readInfo(r *wire.Reader) link.Info {
	return link.Info{Version: queue.Version(r.U16()), Address: link.ReadAddress(r), DH: keys.Read(r, keys.X25519), Mode: readMode(r)}
}

func (q *receiveQueue) append(dst []byte) []byte {
	dst = appendMode(append(dst, q.slot, byte(q.status)), q.mode)
	dst = wire.AppendU16(dst, uint16(q.client))
	if q.status != queueMissing {
		dst = q.sender.Append(q.id.Append(q.server.Append(dst)))
	}
	dst = append(append(append(append(dst, q.key[:]...), q.relay[:]...), q.dh[:]...), q.secret[:]...)
	dst = appendKey(dst, q.senderKey)
	dst = wire.AppendU64(dst, q.attempt)
	dst = wire.AppendU32(q.retry.append(dst), q.tries)
	dst = q.last.Append(wire.AppendU64(dst, q.arrivals))
	dst = q.ack.Append(wire.AppendI64(dst, q.waits))
	return q.ackRetry.append(dst)
}

func readReceiveQueue(r *wire.Reader) (q receiveQueue) {
	q.slot, q.status, q.mode = r.U8(), status(enum(r, byte(queueMissing), byte(queueActive))), readMode(r)
	q.client = queue.Version(r.U16())
	if q.status != queueMissing {
		q.server, q.id, q.sender = queue.ReadServer(r), queue.ReadID(r), queue.ReadID(r)
	}
	for _, b := range [][]byte{q.key[:], q.relay[:], q.dh[:], q.secret[:]} {
		r.Copy(b)
	}
	q.senderKey = readKey(r)
	q.attempt, q.retry, q.tries = r.U64(), readRetry(r), r.U32()
	q.arrivals, q.last = r.U64(), queue.ReadID(r)
	q.waits, q.ack, q.ackRetry = r.I64(), queue.ReadID(r), readRetry(r)
	return q
}

func (q *sendQueue) append(dst []byte) []byte {
	dst = appendMode(append(dst, q.slot, byte(q.status)), q.mode)
	dst = wire.AppendU16(dst, uint16(q.client))
	dst = q.id.Append(q.server.Append(dst))
	dst = q.dh.Append(append(dst, q.key[:]...))
	dst = append(dst, q.secret[:]...)
	return q.retry.append(dst)
}

func readSendQueue(r *wire.Reader) (q sendQueue) {
	q.slot, q.status, q.mode = r.U8(), status(enum(r, byte(queueNew), byte(queueActive))), readMode(r)
	q.client = queue.Version(r.U16())
	q.server, q.id = queue.ReadServer(r), queue.ReadID(r)
	r.Copy(q.key[:])
	q.dh = keys.Read(r, keys.X25519)
	r.Copy(q.secret[:])
	q.retry = readRetry(r)
	return q
}

// enum reads a byte that must be in the range.
func enum(r *wire.Reader, low, high byte) byte {
	b := r.U8()
	if b < low || b > high {
		r.Fail("unknown number")
	}
	return b
}

// appendMode appends one byte, zero for no mode.
func appendMode(dst []byte, m queue.Mode) []byte { return append(dst, byte(m)) }

func readMode(r *wire.Reader) queue.Mode {
	switch m := queue.Mode(r.U8()); m {
	case queue.ModeNone, queue.ModeMessaging, queue.ModeContact:
		return m
	default:
		r.Fail("queue mode")
		return queue.ModeNone
	}
}

// appendKey appends an optional key.
func appendKey(dst []byte, k keys.Public) []byte {
	if k.IsZero() {
		return wire.AppendAbsent(dst)
	}
	return k.Append(wire.AppendPresent(dst))
}

func readKey(r *wire.Reader) keys.Public {
	if !r.Opt() {
		return keys.Public{}
	}
	return keys.Read(r)
}

// readHash reads a message hash, or none.
func readHash(r *wire.Reader) []byte {
	h := r.Str8()
	if len(h) != 0 && len(h) != 32 {
		r.Fail("length of a hash")
	}
	return copied(h)
}

// copied returns a copy, nil for nothing: what is decoded must not keep a record alive.
func copied(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b...)
}
