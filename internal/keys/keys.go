// Package keys is public keys as all SMP protocols carry them: DER SubjectPublicKeyInfo of Ed25519, Ed448, X25519 and
// X448 (docs/protocol.md, "Keys"), and the verification of Ed25519 and Ed448 signatures.
//
// It is strict: exactly one encoding per key, nothing behind it. It does no key agreement; X25519 is in internal/box,
// X448 in agent/ratchet.
package keys

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/cloudflare/circl/sign/ed448"

	"github.com/coterie-im/coterie/internal/wire"
)

// Algorithm names what a public key is for.
type Algorithm uint8

// The algorithms, with the length of the raw key and of its SubjectPublicKeyInfo in bytes.
const (
	Ed25519 Algorithm = iota + 1 // 32, 44
	Ed448                        // 57, 69
	X25519                       // 32, 44
	X448                         // 56, 68
)

var forms = [...]struct {
	name   string
	prefix string
	size   int
}{
	Ed25519: {"Ed25519", "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", 32},
	Ed448:   {"Ed448", "\x30\x43\x30\x05\x06\x03\x2b\x65\x71\x03\x3a\x00", 57},
	X25519:  {"X25519", "\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\x00", 32},
	X448:    {"X448", "\x30\x42\x30\x05\x06\x03\x2b\x65\x6f\x03\x39\x00", 56},
}

// String returns the algorithm's name.
func (a Algorithm) String() string {
	if a >= Ed25519 && a <= X448 {
		return forms[a].name
	}
	return "no key"
}

// ErrKey reports bytes that are not one of the four public keys, or a key of an algorithm that is not allowed at its place.
var ErrKey = errors.New("not a valid public key")

// Public is a public key. The zero value is no key. Keys are comparable with ==.
type Public struct {
	algorithm Algorithm
	raw       [57]byte
}

// New makes a public key from its raw bytes; their number must be right for the algorithm.
func New(a Algorithm, raw []byte) (Public, error) {
	if a < Ed25519 || a > X448 || len(raw) != forms[a].size {
		return Public{}, ErrKey
	}
	k := Public{algorithm: a}
	copy(k.raw[:], raw)
	return k, nil
}

// FromEd25519 wraps an Ed25519 public key; it panics if the key has a wrong length.
func FromEd25519(k ed25519.PublicKey) Public { return must(New(Ed25519, k)) }

// FromX25519 wraps an X25519 public key; it panics for another curve.
func FromX25519(k *ecdh.PublicKey) Public {
	if k.Curve() != ecdh.X25519() {
		panic("keys: not an X25519 key")
	}
	return must(New(X25519, k.Bytes()))
}

func must(k Public, err error) Public {
	if err != nil {
		panic(err)
	}
	return k
}

// Parse reads one SubjectPublicKeyInfo that fills der completely.
func Parse(der []byte) (Public, error) {
	for a := Ed25519; a <= X448; a++ {
		f := forms[a]
		if len(der) == len(f.prefix)+f.size && bytes.HasPrefix(der, []byte(f.prefix)) {
			return New(a, der[len(f.prefix):])
		}
	}
	return Public{}, ErrKey
}

// Read reads a key as a string with one length byte. The algorithm must be one of allowed; with none named, any is.
func Read(r *wire.Reader, allowed ...Algorithm) Public {
	der := r.Str8()
	if r.Err() != nil {
		return Public{}
	}
	k, err := Parse(der)
	if err != nil {
		r.Fail(err.Error())
		return Public{}
	}
	for _, a := range allowed {
		if k.algorithm == a {
			return k
		}
	}
	if len(allowed) > 0 {
		r.Fail(fmt.Sprintf("%s key not allowed here", k.algorithm))
		return Public{}
	}
	return k
}

// Algorithm returns the key's algorithm, 0 for the zero value.
func (k Public) Algorithm() Algorithm { return k.algorithm }

// IsZero tells whether k is no key.
func (k Public) IsZero() bool { return k.algorithm == 0 }

// Raw returns a copy of the raw key bytes.
func (k Public) Raw() []byte {
	if k.IsZero() {
		return nil
	}
	return bytes.Clone(k.raw[:forms[k.algorithm].size])
}

// AppendDER appends the SubjectPublicKeyInfo; it panics for the zero value.
func (k Public) AppendDER(dst []byte) []byte {
	if k.IsZero() {
		panic("keys: encoding no key")
	}
	f := forms[k.algorithm]
	return append(append(dst, f.prefix...), k.raw[:f.size]...)
}

// DER returns the SubjectPublicKeyInfo.
func (k Public) DER() []byte { return k.AppendDER(nil) }

// Append appends the key as a string with one length byte.
func (k Public) Append(dst []byte) []byte { return wire.AppendStr8(dst, k.DER()) }

// Equal compares in constant time.
func (k Public) Equal(o Public) bool {
	return subtle.ConstantTimeByteEq(byte(k.algorithm), byte(o.algorithm))&subtle.ConstantTimeCompare(k.raw[:], o.raw[:]) == 1
}

// X25519 returns the key for key agreement, or ErrKey if it is of another algorithm.
func (k Public) X25519() (*ecdh.PublicKey, error) {
	if k.algorithm != X25519 {
		return nil, ErrKey
	}
	return ecdh.X25519().NewPublicKey(k.raw[:32])
}

// Verify tells whether signature is a valid Ed25519 or Ed448 signature of message by k. For agreement keys it is false.
func (k Public) Verify(message, signature []byte) bool {
	switch k.algorithm {
	case Ed25519:
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(k.raw[:32], message, signature)
	case Ed448:
		return len(signature) == ed448.SignatureSize && ed448.Verify(k.raw[:57], message, signature, "")
	default:
		return false
	}
}

// String names the algorithm only: keys are never printed.
func (k Public) String() string { return k.algorithm.String() + " public key" }

// Format hides the key from every formatting verb.
func (k Public) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }
