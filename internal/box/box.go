// Package box is the one symmetric construction of the SMP protocols: XSalsa20-Poly1305 under HSalsa20(secret, zeros),
// tag first (docs/protocol.md, "Boxes"). With a raw X25519 shared secret it is exactly NaCl crypto_box; with a
// symmetric key it is *not* NaCl secretbox, because of the extra HSalsa20 step.
//
// It is not for the double ratchet, which uses AES-GCM (package agent/ratchet), nor for data at rest.
package box

import (
	"crypto/ecdh"
	"errors"
	"fmt"

	"golang.org/x/crypto/nacl/secretbox"
	//lint:ignore SA1019 the protocol is built on HSalsa20 itself, which no other maintained package exports
	"golang.org/x/crypto/salsa20/salsa"

	"github.com/coterie-im/coterie/internal/scratch"
	"github.com/coterie-im/coterie/internal/wire"
)

const (
	// Overhead is how many bytes sealing adds: the Poly1305 tag in front.
	Overhead = secretbox.Overhead
	// NonceSize is the nonce length in bytes. Shorter nonces are filled with zeros, longer ones cut.
	NonceSize = 24
	// KeySize is the length in bytes of secrets and of raw X25519 keys.
	KeySize = 32
)

// ErrOpen reports a box that was made with another key or nonce, or was changed.
var ErrOpen = errors.New("box does not open")

// Secret is a 32-byte shared secret or symmetric key. It prints as its type name only.
type Secret [KeySize]byte

// String hides the secret.
func (Secret) String() string { return "box.Secret" }

// GoString hides the secret.
func (Secret) GoString() string { return "box.Secret" }

// Format hides the secret from every formatting verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("box.Secret")) }

// Clear overwrites the secret with zeros.
func (s *Secret) Clear() { clear(s[:]) }

// Agree returns the raw X25519 shared secret. Keys that lead to the all-zero secret are refused.
func Agree(private *ecdh.PrivateKey, public *ecdh.PublicKey) (Secret, error) {
	shared, err := private.ECDH(public)
	if err != nil {
		return Secret{}, fmt.Errorf("key agreement: %w", err)
	}
	defer clear(shared)
	return Secret(shared), nil
}

// Seal appends the box of message to dst.
func Seal(dst []byte, secret *Secret, nonce, message []byte) []byte {
	key, n := derive(secret, nonce)
	defer clear(key[:])
	return secretbox.Seal(dst, message, n, key)
}

// Open appends the content of a box to dst, or returns ErrOpen.
func Open(dst []byte, secret *Secret, nonce, sealed []byte) ([]byte, error) {
	key, n := derive(secret, nonce)
	defer clear(key[:])
	out, ok := secretbox.Open(dst, sealed, n, key)
	if !ok {
		return nil, ErrOpen
	}
	return out, nil
}

// SealPadded appends the box of message padded to n bytes; the box has n+Overhead bytes. wire.ErrTooLarge if message
// does not fit.
func SealPadded(dst []byte, secret *Secret, nonce, message []byte, n int) ([]byte, error) {
	b := scratch.Get()
	defer scratch.Put(b)
	var err error
	if *b, err = wire.AppendPadded(*b, message, n); err != nil {
		return dst, err
	}
	return Seal(dst, secret, nonce, *b), nil
}

// OpenPadded opens a box and removes the padding. ErrOpen if the box does not open, wire.ErrSyntax if its length field
// is wrong.
func OpenPadded(secret *Secret, nonce, sealed []byte) ([]byte, error) {
	padded, err := Open(nil, secret, nonce, sealed)
	if err != nil {
		return nil, err
	}
	return wire.Unpad(padded)
}

func derive(secret *Secret, nonce []byte) (key *[32]byte, n *[NonceSize]byte) {
	key, n = new([32]byte), new([NonceSize]byte)
	copy(n[:], nonce)
	salsa.HSalsa20(key, new([16]byte), (*[32]byte)(secret), &salsa.Sigma)
	return key, n
}
