package ratchet

import (
	"fmt"
	"math"
	"slices"

	"github.com/coterie-im/coterie/internal/wire"
)

// maxPadded is the highest padded length of a body, in bytes; envelopes are far smaller.
const maxPadded = 0xffff

// NextSending advances the sending chain by one message and returns its keys; padded is the length in bytes, 2 to
// 65,535, to which the body will be padded. Call it when a message is queued, in the order of the messages, and store
// state and keys in the same transaction. ErrNoSendingChain, ErrChainExhausted; then nothing has changed.
func (s *State) NextSending(pq PQ, padded int) (*MessageKeys, error) {
	if padded < 2 || padded > maxPadded {
		panic(fmt.Sprintf("ratchet: padded length %d", padded))
	}
	if !s.canSend {
		return nil, ErrNoSendingChain
	}
	if s.ns == math.MaxUint32 {
		return nil, ErrChainExhausted
	}
	wanted, large, highest, changed := s.kemWanted, s.largeHeaders, s.maxVersion, s.changed
	s.choose(pq)
	m := &MessageKeys{ad: s.ad, padded: uint16(padded), pq: s.kemSending}
	var next secret
	var headerIV [ivSize]byte
	next, m.key, m.iv, headerIV = chainKDF(&s.sending.key)
	var err error
	if m.encHeader, err = s.sealHeader(&headerIV); err != nil {
		s.kemWanted, s.largeHeaders, s.maxVersion, s.changed = wanted, large, highest, changed
		clear(next[:])
		m.Clear()
		return nil, err
	}
	s.sending.key = next
	s.ns++
	return m, nil
}

// choose applies a message's PQ choice. After PQOff the headers of the current chain keep saying that the peer's key
// was accepted, because the chain was made with its secret: a peer that misses the first of them could not make the
// chain otherwise. It is the next ratchet step that leaves the KEM out.
func (s *State) choose(pq PQ) {
	switch {
	case pq == PQOff:
		s.changed = s.changed || s.kemWanted
		s.kemWanted = false
	case pq == PQOn && s.kem != nil:
		s.changed = true
		s.kemWanted = true
		s.maxVersion = max(s.maxVersion, 3)
		if s.version >= 3 {
			s.largeHeaders = true
		}
	}
}

// sealHeader makes the encrypted header of the message with number ns.
func (s *State) sealHeader(iv *[ivSize]byte) ([]byte, error) {
	h := header{maxVersion: s.maxVersion, key: s.own.spki(), previous: s.pn, number: s.ns}
	if s.kemState != nil {
		h.kem = s.kemState.params()
	}
	size := smallHeader
	if s.version >= 3 && s.largeHeaders {
		size = largeHeader
	}
	length := []byte{byte(size)}
	if s.version >= 3 {
		length = wire.AppendU16(nil, uint16(size))
	}
	b := append(wire.AppendU16(nil, s.version), iv[:]...)
	b, err := seal(b, &s.sending.headerKey, iv, s.ad[:], h.append(nil, s.version), size, length)
	if err != nil {
		return nil, fmt.Errorf("ratchet header: %w", err)
	}
	return b, nil
}

// MessageKeys are all that is needed to encrypt the body of one message, for use when it is delivered. They do not
// change, except by Clear.
type MessageKeys struct {
	ad        [ADSize]byte
	encHeader []byte
	key       secret
	iv        [ivSize]byte
	padded    uint16
	pq        bool
}

// Seal appends the complete ratchet message to dst. It is a pure function, safe for concurrent use. Sealing the same
// plaintext again gives the same message; sealing two different plaintexts with the same keys breaks the encryption.
// wire.ErrTooLarge if plaintext is longer than the padded length less 2.
func (m *MessageKeys) Seal(dst, plaintext []byte) ([]byte, error) {
	if len(plaintext) > int(m.padded)-2 {
		return dst, wire.ErrTooLarge
	}
	dst = appendL(dst, m.version(), m.encHeader)
	return seal(dst, &m.key, &m.iv, bodyAD(&m.ad, m.encHeader), plaintext, int(m.padded), nil)
}

// bodyAD is the associated data of a body.
func bodyAD(ad *[ADSize]byte, encHeader []byte) []byte {
	return append(append(make([]byte, 0, ADSize+len(encHeader)), ad[:]...), encHeader...)
}

func (m *MessageKeys) version() uint16 { return wire.NewReader(m.encHeader).U16() }

// PQ tells whether a KEM protects the message.
func (m *MessageKeys) PQ() bool { return m.pq }

// Clear overwrites the keys with zeros; they cannot be used afterwards.
func (m *MessageKeys) Clear() { *m = MessageKeys{} }

// Format hides the keys from every formatting verb.
func (m *MessageKeys) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("ratchet message keys")) }

// Stored message keys: format(1)  bool(pq)  u16 padded length  associated data(112)  key(32)  iv(16)  encHeader
const messageKeysFormat = 1

// AppendBinary appends the keys for storage: 296 bytes with a small header, about 2,500 with a large one.
func (m *MessageKeys) AppendBinary(dst []byte) []byte {
	dst = slices.Grow(dst, 1+1+2+ADSize+len(m.key)+ivSize+len(m.encHeader))
	dst = wire.AppendBool(append(dst, messageKeysFormat), m.pq)
	dst = wire.AppendU16(dst, m.padded)
	dst = append(append(append(dst, m.ad[:]...), m.key[:]...), m.iv[:]...)
	return append(dst, m.encHeader...)
}

// DecodeMessageKeys reads what AppendBinary wrote; ErrState if it is something else.
func DecodeMessageKeys(b []byte) (*MessageKeys, error) {
	r := wire.NewReader(b)
	if r.U8() != messageKeysFormat {
		return nil, ErrState
	}
	m := &MessageKeys{pq: r.Bool(), padded: r.U16()}
	r.Copy(m.ad[:])
	r.Copy(m.key[:])
	r.Copy(m.iv[:])
	m.encHeader = append(m.encHeader, r.Rest()...)
	h := message{encHeader: m.encHeader}
	if r.Done() != nil || h.parseEncHeader() != nil || m.padded < 2 {
		return nil, ErrState
	}
	size := len(h.headerContent)
	if size != smallHeader && (size != largeHeader || h.version < 3) {
		return nil, ErrState
	}
	return m, nil
}
