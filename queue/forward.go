package queue

import (
	"slices"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
)

// Proxying wraps a command twice: the client seals it for the relay (SealForward, inside PFWD), the proxy seals that
// with the client's ephemeral key (Forwarded, inside RFWD). The response comes back the same way, with the nonces of the
// command in reverse order (docs/protocol.md, "Proxying"). Nothing here knows sessions; secrets and nonces are given.

// SealedForwardSize is the size in bytes of a sealed transmission of client or relay, in PFWD and PRES.
const SealedForwardSize = paddedForward + box.Overhead

const paddedForward = 16226

// SealForward seals the one transmission of a client for the relay. secret is agreed by the client's ephemeral key and
// the relay's session key, corrID is that of the PFWD and of the transmission. wire.ErrTooLarge if it does not fit.
func SealForward(secret *box.Secret, corrID ID, transmission []byte) ([]byte, error) {
	return sealForward(secret, []byte(corrID), transmission)
}

// OpenForward opens what SealForward made, at the relay. The error is what the relay answers: ErrCrypto if it does not
// open, ErrBlock if there is not exactly one transmission in it.
func OpenForward(secret *box.Secret, corrID ID, sealed []byte) ([]byte, error) {
	return openForward(secret, []byte(corrID), sealed)
}

// SealForwardReply seals the relay's response for the client; corrID is that of the command.
func SealForwardReply(secret *box.Secret, corrID ID, transmission []byte) ([]byte, error) {
	return sealForward(secret, reversed(corrID), transmission)
}

// OpenForwardReply opens what SealForwardReply made, at the client. ErrCrypto if it does not open, ErrBlock if there is
// not exactly one transmission in it.
func OpenForwardReply(secret *box.Secret, corrID ID, sealed []byte) ([]byte, error) {
	return openForward(secret, reversed(corrID), sealed)
}

func sealForward(secret *box.Secret, nonce, transmission []byte) ([]byte, error) {
	batch := NewBatch(paddedForward - 2)
	if !batch.Add(transmission) {
		return nil, wire.ErrTooLarge
	}
	return box.SealPadded(make([]byte, 0, SealedForwardSize), secret, nonce, batch.Take(), paddedForward)
}

func openForward(secret *box.Secret, nonce, sealed []byte) ([]byte, error) {
	content, err := box.OpenPadded(secret, nonce, sealed)
	if err != nil {
		return nil, ErrCrypto
	}
	list, err := SplitBatch(content)
	if err != nil || len(list) != 1 {
		return nil, ErrBlock
	}
	return list[0], nil
}

// reversed returns the nonce of a reply: the 24 bytes of the command's nonce in reverse order.
func reversed(nonce ID) []byte {
	b := make([]byte, NonceSize)
	copy(b, nonce)
	slices.Reverse(b)
	return b
}

// Forwarded is what a proxy sends to the relay for a PFWD.
type Forwarded struct {
	CorrID  ID          // of the PFWD
	Version Version     // of the sealed transmission and of the response
	Key     keys.Public // X25519, the client's ephemeral key
	Sealed  []byte      // the client's, opened by OpenForward
}

// Append appends the envelope as it is sealed.
func (f Forwarded) Append(dst []byte) []byte {
	dst = wire.AppendU16(f.CorrID.Append(dst), uint16(f.Version))
	return append(f.Key.Append(dst), f.Sealed...)
}

// DecodeForwarded reads the envelope; Sealed is a part of b. ErrCmdSyntax if it does not parse.
func DecodeForwarded(b []byte) (Forwarded, error) {
	r := wire.NewReader(b)
	f := Forwarded{CorrID: ReadID(r), Version: Version(r.U16()), Key: readDHKey(r)}
	f.Sealed = r.Rest()
	if r.Done() != nil {
		return Forwarded{}, ErrCmdSyntax
	}
	return f, nil
}

// SealForwarded returns the command with which a proxy forwards f. secret is agreed by the session keys of proxy and
// relay, nonce is the random correlation ID of the RFWD.
func SealForwarded(secret *box.Secret, nonce ID, f Forwarded) RFWD {
	return RFWD{box.Seal(nil, secret, []byte(nonce), f.Append(nil))}
}

// OpenForwarded opens the command of a proxy, at the relay. The error is what the relay answers: ErrCrypto if it does
// not open, ErrCmdSyntax if it does not parse.
func OpenForwarded(secret *box.Secret, nonce ID, c RFWD) (Forwarded, error) {
	content, err := box.Open(nil, secret, []byte(nonce), c.Sealed)
	if err != nil {
		return Forwarded{}, ErrCrypto
	}
	return DecodeForwarded(content)
}

// SealForwardedReply returns the answer of a relay to a proxy: the correlation ID of the PFWD and what SealForwardReply
// made. nonce is the correlation ID of the RFWD.
func SealForwardedReply(secret *box.Secret, nonce, corrID ID, sealed []byte) RRES {
	return RRES{box.Seal(nil, secret, reversed(nonce), append(corrID.Append(nil), sealed...))}
}

// OpenForwardedReply opens the answer of a relay, at the proxy: corrID is that of the PFWD, sealed is for its client.
// ErrCrypto if it does not open, ErrResponse if it does not parse.
func OpenForwardedReply(secret *box.Secret, nonce ID, answer RRES) (corrID ID, sealed []byte, err error) {
	content, err := box.Open(nil, secret, reversed(nonce), answer.Sealed)
	if err != nil {
		return "", nil, ErrCrypto
	}
	r := wire.NewReader(content)
	corrID, sealed = ReadID(r), r.Rest()
	if r.Done() != nil {
		return "", nil, ErrResponse
	}
	return corrID, sealed, nil
}
