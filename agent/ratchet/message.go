package ratchet

import (
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
)

// Padded lengths of the header plaintext, bytes.
const (
	smallHeader = 88
	largeHeader = 2310 // from version 3 on, for states that have ever wanted a KEM
)

// A ratchet message (docs/protocol.md, "Message format"); L is a string with one length byte below version 3, two from 3 on:
//
//	message   = L(encHeader)  tag(16)  ciphertext of the body
//	encHeader = version  iv(16)  tag(16)  L(ciphertext of the header)
//
// The body is sealed with the message key and the associated data followed by encHeader, the header with the chain's
// header key and the associated data.
type message struct {
	encHeader []byte // as received, associated data of the body
	tag, body []byte

	version       uint16
	headerIV      []byte
	headerTag     []byte
	headerContent []byte // ciphertext
}

// parseMessage splits a message, without any key; the parts are parts of b. Errors are ErrBadMessage.
func parseMessage(b []byte) (message, error) {
	r := wire.NewReader(b)
	m := message{encHeader: readL(r), tag: r.Fixed(tagSize), body: r.Rest()}
	if r.Done() != nil {
		return message{}, ErrBadMessage
	}
	if err := m.parseEncHeader(); err != nil {
		return message{}, err
	}
	return m, nil
}

func (m *message) parseEncHeader() error {
	r := wire.NewReader(m.encHeader)
	m.version, m.headerIV, m.headerTag, m.headerContent = r.U16(), r.Fixed(ivSize), r.Fixed(tagSize), readL(r)
	if r.Done() != nil {
		return ErrBadMessage
	}
	return nil
}

// readL reads a string whose length has one or two bytes. As nothing written with either is shorter than 32 or longer
// than 8,191 bytes, the first byte tells which, and a version may change between outer and inner length.
func readL(r *wire.Reader) []byte {
	if first, ok := r.Peek(); ok && first < 32 {
		return r.Str16()
	}
	return r.Str8()
}

func appendL(dst []byte, version uint16, b []byte) []byte {
	if version >= 3 {
		return wire.AppendStr16(dst, b)
	}
	return wire.AppendStr8(dst, b)
}

// header is the plaintext of a message header:
//
//	version  str8(X448 SPKI)  [opt(kem) if the message's version ≥ 3]  u32 previous  u32 number
type header struct {
	maxVersion uint16 // highest version the sender supports
	key        keys.Public
	kem        KEMParams
	previous   uint32 // number of messages in the sender's previous chain
	number     uint32 // of this message in its chain, from 0
}

func (h *header) append(dst []byte, version uint16) []byte {
	dst = h.key.Append(wire.AppendU16(dst, h.maxVersion))
	if version >= 3 {
		dst = h.kem.appendOpt(dst)
	}
	return wire.AppendU32(wire.AppendU32(dst, h.previous), h.number)
}

func parseHeader(b []byte, version uint16) (header, error) {
	r := wire.NewReader(b)
	h := header{maxVersion: r.U16(), key: keys.Read(r, keys.X448)}
	if version >= 3 {
		h.kem = readOptKEM(r)
	}
	h.previous, h.number = r.U32(), r.U32()
	if r.Done() != nil {
		return header{}, ErrHeader
	}
	return h, nil
}
