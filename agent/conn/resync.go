package conn

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/wire"
)

// maxRatchetKeys is how many hashes of the peer's ratchet keys are remembered; beyond it the oldest is forgotten.
const maxRatchetKeys = 128

// resynchronise starts the re-synchronisation of the ratchet (docs/protocol.md, "Ratchet re-synchronisation").
func (s *step) resynchronise(in Resynchronise) *Error {
	switch {
	case s.deletion != notDeleting:
		return refuse(CodeNotFound, "connection is being deleted")
	case s.phase == failed:
		return over(CodeNotAvailable, "")
	case s.phase != connected:
		return refuse(CodeNoQueue, "connection is not made yet")
	case s.agent < agentResync:
		return refuse(CodeProhibited, "the peer's version knows no re-synchronisation")
	case !in.Force && s.resync != ResyncAllowed && s.resync != ResyncRequired:
		return refuse(CodeProhibited, "the ratchet needs no re-synchronisation")
	}
	own := s.newKeys()
	defer own.Clear()
	v := s.ratchet.Version() // both sides support it
	s.sendRatchetKey(own.Params(ratchet.VersionRange{Min: v, Max: v}))
	s.resyncKeys = own.AppendBinary(nil)
	s.resynced(ResyncStarted, nil)
	return nil
}

// sendRatchetKey queues own keys for a new ratchet. They go behind everything that was encrypted with the old one, which
// the peer keeps until it has them.
func (s *step) sendRatchetKey(p ratchet.Params) {
	q := s.primary()
	info := envelope.RatchetInfo{}.Append(nil)
	s.lastID++
	s.sentID++
	hash := envelope.Hash(info)
	s.sentHash = hash[:]
	m := &outgoing{
		id: s.lastID, number: s.sentID, kind: kindRatchetKey, notify: kindRatchetKey.notifies(), created: s.now,
		text: (&envelope.RatchetKey{Agent: s.env.supports().agent.Max, Keys: p, Info: info}).Append(nil),
	}
	s.forgetSent()
	s.keep(q, m)
	q.queued++
	s.copyToTesting(q, m)
}

// resyncable tells whether the connection is far enough for keys of the peer: everything of the handshake that the ratchet
// encrypts is queued.
func (s *step) resyncable() bool {
	switch s.phase {
	case connected:
		return true
	case answering:
		return s.primary().fast()
	case greeting:
		return s.earlyHello
	default:
		return false
	}
}

// ratchetKey takes the peer's keys for a new ratchet. On errors nothing changes but that the keys are remembered.
func (s *step) ratchetKey(e *envelope.RatchetKey) *Error {
	if !s.resyncable() {
		return prohibited("ratchet key before the connection is made")
	}
	if !s.newRatchetKey(e.Keys.Hash()) {
		return nil
	}
	if v := e.Keys.Versions.Max; v < ratchet.MinVersion || v > s.env.supports().ratchet {
		return peerError(CodeVersion, "encryption version of the ratchet key")
	}
	s.raiseVersion(e.Agent)
	if s.resync == ResyncAgreed {
		err := peerError(CodeResync, "another ratchet key")
		s.resynced(ResyncRequired, err)
		return err
	}
	own, err := s.resyncing()
	if err != nil {
		s.damaged(err)
		return nil
	}
	defer own.Clear()
	state, sending, err := ratchet.Resynchronise(s.env.Rand, own, e.Keys, s.env.ratchetOptions())
	switch {
	case errors.Is(err, ratchet.ErrVersion):
		return peerError(CodeVersion, "encryption version of the ratchet key")
	case err != nil:
		return peerError(CodeDecryptAES, "key agreement")
	}
	if s.resync != ResyncStarted {
		s.sendRatchetKey(own.Params(e.Keys.Versions))
	}
	s.replaceRatchet(state, sending)
	return nil
}

// resyncing returns the own keys that were sent already, or new ones.
func (s *step) resyncing() (*ratchet.Keys, error) {
	if s.resync == ResyncStarted {
		return ratchet.DecodeKeys(s.resyncKeys)
	}
	return s.newKeys(), nil
}

// replaceRatchet puts a new ratchet in the place of the old one, which is deleted with all that it kept.
func (s *step) replaceRatchet(state *ratchet.State, sending bool) {
	ratchet.Erase(s.env.Tx, []byte{recordRatchet})
	s.ratchet = state
	clear(s.resyncKeys)
	s.resyncKeys = nil
	s.binding = rebind(state.AD())
	s.rebound = Receiving
	if sending {
		s.rebound = Sending
	}
	s.resynced(ResyncAgreed, nil)
	if sending {
		s.enqueueContent(kindReady, envelope.Ready{Number: s.receivedID})
	}
}

// rebind names a ratchet that was made again, see Rebound.
func rebind(ad [ratchet.ADSize]byte) [32]byte {
	const label = "coterie/rebind/1"
	return sha256.Sum256(append(wire.AppendStr8(nil, []byte(label)), ad[:]...))
}

// resynced changes the state and tells the client. When all is well with a ratchet that was made again, it says so.
func (s *step) resynced(state Resync, err *Error) {
	s.resync = state
	e := ResyncChanged{State: state, Err: err}
	if state == ResyncOK && s.rebound != 0 {
		e.Rebound = &Rebound{Binding: s.binding, Side: s.rebound}
		s.rebound = 0
	}
	s.emit(e)
}

// ready handles the first message that the peer encrypted with a ratchet that was made again. first tells that this side
// could not send before; then the peer waits for the same.
func (s *step) ready(first bool) {
	if first {
		s.enqueueContent(kindReady, envelope.Ready{Number: s.receivedID})
	}
}

// resyncFailed goes on when keys or the first message of a new ratchet cannot be delivered: the peer will not have it.
func (s *step) resyncFailed(reason *Error) {
	s.fail(refuse(CodeNotAvailable, "ratchet re-synchronisation: "+string(reason.Code)))
	if s.resync >= ResyncStarted {
		s.resynced(ResyncRequired, reason)
	}
}

func ratchetKeyName(hash [32]byte) []byte { return append([]byte{recordRatchetKey}, hash[:]...) }

// newRatchetKey remembers keys of the peer by their hash, and tells whether they are new. Keys must not be used twice: a
// relay that delivers them again could otherwise take a ratchet apart.
func (s *step) newRatchetKey(hash [32]byte) bool {
	name := ratchetKeyName(hash)
	if _, known := s.env.Tx.Get(name); known {
		return false
	}
	type remembered struct {
		name []byte
		at   time.Time
	}
	var kept []remembered
	var oldest int
	s.env.Tx.Scan([]byte{recordRatchetKey}, nil, func(name, value []byte) bool {
		r := wire.NewReader(value)
		k := remembered{bytes.Clone(name), readTime(r)}
		if len(kept) > 0 && k.at.Before(kept[oldest].at) {
			oldest = len(kept)
		}
		kept = append(kept, k)
		return true
	})
	for i, k := range kept {
		if s.now.Sub(k.at) >= historyExpiry || i == oldest && len(kept) >= maxRatchetKeys {
			s.env.Tx.Delete(k.name)
		}
	}
	s.env.Tx.Put(name, appendTime(nil, s.now))
	return true
}
