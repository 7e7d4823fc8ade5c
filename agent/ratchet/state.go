package ratchet

import (
	"crypto/sha256"
	"fmt"

	"github.com/coterie-im/coterie/internal/wire"
)

// State is one side's ratchet. It belongs to one goroutine at a time.
type State struct {
	kem KEM // given by the caller, not stored; nil: decline

	version    uint16 // current; layout of the next message
	maxVersion uint16 // highest we support; our headers say it
	ad         [ADSize]byte
	own        keyPair // ratchet key
	root       secret

	sending     chain
	receiving   chain
	canSend     bool // there is a sending chain
	canReceive  bool // there is a receiving chain; then there is a sending chain too
	nextSend    secret
	nextReceive secret
	ns, nr, pn  uint32 // next number to send, next to receive, length of the previous sending chain

	largeHeaders bool // sticky
	kemWanted    bool
	kemSending   bool // the sending chain was made with a KEM secret
	kemReceiving bool // the receiving chain was
	kemState     *kemState

	skipped skippedKeys
	changed bool            // since Load or Save; use of a skipped key alone does not count, nor does sending
	split   bool            // stored with a sending record
	kept    sendingPosition // what that says, if there is one
}

// chain is a sending or receiving chain. The peer's ratchet key that it was made with is not needed any more.
type chain struct{ key, headerKey secret }

// AD returns the connection's associated data, the same on both sides: the joiner's and the initiator's first raw X448 keys.
func (s *State) AD() [ADSize]byte { return s.ad }

// SecurityCode returns SHA-256 of the associated data, which people compare to exclude somebody in between.
func (s *State) SecurityCode() [32]byte { return sha256.Sum256(s.ad[:]) }

// Version returns the current version; it can rise when messages arrive.
func (s *State) Version() uint16 { return s.version }

// CanSend tells whether there is a sending chain. An initiator has one from the first message it decrypted.
func (s *State) CanSend() bool { return s.canSend }

// PQ tells whether the current sending and receiving chains are protected by a KEM.
func (s *State) PQ() (sending, receiving bool) { return s.kemSending, s.kemReceiving }

// SkippedDropped counts the keys of skipped messages that were dropped because there were more than MaxSkippedKeys.
func (s *State) SkippedDropped() uint64 { return s.skipped.dropped }

// Format hides the state from every formatting verb.
func (s *State) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("ratchet state")) }

// Stored state:
//
//	format(1)  version  max version  associated data(112)  private(56) public(56)  root(32)
//	next sending header key(32)  next receiving header key(32)  u32 ns  u32 nr  u32 pn  flags(1)
//	opt(sending: chain key(32) header key(32))  opt(receiving: the same)  opt(kem), see kemState
//	skipped keys, see skippedKeys
const stateFormat = 1

// Bits of the flags byte of a stored state; the others are zero.
const (
	flagLargeHeaders = 1 << iota
	flagKEMWanted
	flagKEMSending
	flagKEMReceiving
	flagsKnown = 1<<iota - 1
)

// AppendBinary appends the whole state, skipped keys included. Save is the other way to store a state.
func (s *State) AppendBinary(dst []byte) []byte {
	return s.skipped.append(s.appendCore(dst), s.skipped.chains)
}

func (s *State) appendCore(dst []byte) []byte {
	dst = append(dst, stateFormat)
	dst = wire.AppendU16(wire.AppendU16(dst, s.version), s.maxVersion)
	dst = append(dst, s.ad[:]...)
	dst = s.own.append(dst)
	dst = append(dst, s.root[:]...)
	dst = append(append(dst, s.nextSend[:]...), s.nextReceive[:]...)
	dst = wire.AppendU32(wire.AppendU32(wire.AppendU32(dst, s.ns), s.nr), s.pn)
	dst = append(dst, s.flags())
	dst = s.sending.appendOpt(dst, s.canSend)
	dst = s.receiving.appendOpt(dst, s.canReceive)
	return appendOptKEMState(dst, s.kemState)
}

func (s *State) flags() (f byte) {
	for _, b := range []struct {
		set bool
		bit byte
	}{{s.largeHeaders, flagLargeHeaders}, {s.kemWanted, flagKEMWanted}, {s.kemSending, flagKEMSending}, {s.kemReceiving, flagKEMReceiving}} {
		if b.set {
			f |= b.bit
		}
	}
	return f
}

func (c *chain) appendOpt(dst []byte, present bool) []byte {
	if !present {
		return wire.AppendAbsent(dst)
	}
	return append(append(wire.AppendPresent(dst), c.key[:]...), c.headerKey[:]...)
}

func readOptChain(r *wire.Reader) (c chain, present bool) {
	if present = r.Opt(); present {
		r.Copy(c.key[:])
		r.Copy(c.headerKey[:])
	}
	return c, present
}

// Decode reads what AppendBinary wrote; ErrState if it is something else. The KEM is not part of a stored state.
func Decode(b []byte, kem KEM) (*State, error) {
	s, err := decode(b, kem)
	if err == nil && s.split {
		return nil, ErrState
	}
	return s, err
}

// decode is Decode for core records too.
func decode(b []byte, kem KEM) (*State, error) {
	r := wire.NewReader(b)
	format := r.U8()
	if format != stateFormat && format != splitFormat {
		return nil, ErrState
	}
	s := &State{kem: kem, split: format == splitFormat, version: r.U16(), maxVersion: r.U16()}
	r.Copy(s.ad[:])
	s.own = readKeyPair(r)
	for _, key := range []*secret{&s.root, &s.nextSend, &s.nextReceive} {
		r.Copy(key[:])
	}
	s.ns, s.nr, s.pn = r.U32(), r.U32(), r.U32()
	flags := r.U8()
	s.largeHeaders = flags&flagLargeHeaders != 0
	s.kemWanted = flags&flagKEMWanted != 0
	s.kemSending = flags&flagKEMSending != 0
	s.kemReceiving = flags&flagKEMReceiving != 0
	s.sending, s.canSend = readOptChain(r)
	s.receiving, s.canReceive = readOptChain(r)
	s.kemState = readOptKEMState(r)
	s.skipped = readSkipped(r)
	switch {
	case r.Done() != nil,
		s.version < MinVersion || s.version > s.maxVersion || s.maxVersion > MaxVersion,
		flags&^flagsKnown != 0,
		s.canReceive && !s.canSend:
		return nil, ErrState
	}
	return s, nil
}
