package queue

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/scratch"
)

// ErrNoSessionKey reports a command that cannot be authorized on this connection: its key is for authenticators, and
// the relay has sent no session key.
var ErrNoSessionKey = errors.New("relay has no session key for authenticators")

// PrivateKey authorizes the commands of one party of a queue: an Ed25519 key for signatures or an X25519 key for
// authenticators, which nobody but the relay can verify. The zero value is no key. It is never printed.
type PrivateKey struct {
	ed ed25519.PrivateKey
	dh *ecdh.PrivateKey
}

// GenerateKey makes a key for authorizing, keys.Ed25519 or keys.X25519, from 32 bytes of randomness. keys.ErrKey for
// other algorithms.
func GenerateKey(a keys.Algorithm, random io.Reader) (PrivateKey, error) {
	var seed [32]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return PrivateKey{}, fmt.Errorf("generate key: %w", err)
	}
	defer clear(seed[:])
	switch a {
	case keys.Ed25519:
		return PrivateKey{ed: ed25519.NewKeyFromSeed(seed[:])}, nil
	case keys.X25519:
		k, err := ecdh.X25519().NewPrivateKey(seed[:])
		return PrivateKey{dh: k}, err
	default:
		return PrivateKey{}, keys.ErrKey
	}
}

// FromEd25519 makes a PrivateKey of a signature key.
func FromEd25519(k ed25519.PrivateKey) PrivateKey { return PrivateKey{ed: k} }

// FromX25519 makes a PrivateKey of a key for agreement.
func FromX25519(k *ecdh.PrivateKey) PrivateKey { return PrivateKey{dh: k} }

// The PKCS#8 forms of private keys, before 32 raw bytes.
const (
	pkcs8Ed25519 = "\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"
	pkcs8X25519  = "\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6e\x04\x22\x04\x20"
)

// ParsePrivateKey reads the 48 bytes of PKCS#8 that DER returns; keys.ErrKey for everything else.
func ParsePrivateKey(der []byte) (PrivateKey, error) {
	if len(der) != len(pkcs8Ed25519)+32 {
		return PrivateKey{}, keys.ErrKey
	}
	raw := der[len(pkcs8Ed25519):]
	switch string(der[:len(pkcs8Ed25519)]) {
	case pkcs8Ed25519:
		return PrivateKey{ed: ed25519.NewKeyFromSeed(raw)}, nil
	case pkcs8X25519:
		k, err := ecdh.X25519().NewPrivateKey(raw)
		if err != nil {
			return PrivateKey{}, keys.ErrKey
		}
		return PrivateKey{dh: k}, nil
	default:
		return PrivateKey{}, keys.ErrKey
	}
}

// DER returns the key as PKCS#8, 48 bytes, for storing it; nil for the zero value.
func (k PrivateKey) DER() []byte {
	switch {
	case k.ed != nil:
		return append([]byte(pkcs8Ed25519), k.ed.Seed()...)
	case k.dh != nil:
		return append([]byte(pkcs8X25519), k.dh.Bytes()...)
	default:
		return nil
	}
}

// IsZero tells whether k is no key.
func (k PrivateKey) IsZero() bool { return k.ed == nil && k.dh == nil }

// Public returns the public key, the zero key for the zero value.
func (k PrivateKey) Public() keys.Public {
	switch {
	case k.ed != nil:
		return keys.FromEd25519(k.ed.Public().(ed25519.PublicKey))
	case k.dh != nil:
		return keys.FromX25519(k.dh.PublicKey())
	default:
		return keys.Public{}
	}
}

// String hides the key.
func (PrivateKey) String() string { return "private key" }

// Format hides the key from every formatting verb.
func (k PrivateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// Authorize returns the authorization of what AppendAuthorized made: 64 bytes of signature or 80 of authenticator, none
// for the zero key. sessionKey is the relay's session key, nil if it sent none; ErrNoSessionKey if it is needed.
func (k PrivateKey) Authorize(sessionKey *ecdh.PublicKey, corrID ID, authorized []byte) ([]byte, error) {
	switch {
	case k.ed != nil:
		return ed25519.Sign(k.ed, authorized), nil
	case k.dh == nil:
		return nil, nil
	case sessionKey == nil:
		return nil, ErrNoSessionKey
	}
	secret, err := box.Agree(k.dh, sessionKey)
	if err != nil {
		return nil, fmt.Errorf("authorize: %w", err)
	}
	defer secret.Clear()
	return authenticator(&secret, corrID, authorized), nil
}

// authenticator returns the box of the hash of what is authorized, 80 bytes. The correlation ID is its nonce.
func authenticator(secret *box.Secret, corrID ID, authorized []byte) []byte {
	hash := sha512.Sum512(authorized)
	return box.Seal(nil, secret, []byte(corrID), hash[:])
}

// EncodeCommand appends the transmission of a command that is authorized with key (none for the zero key) on a
// connection of version v. ErrNoSessionKey if the key cannot be used there. entity is empty for commands without one.
func EncodeCommand(dst []byte, v Version, sessionID []byte, sessionKey *ecdh.PublicKey, corrID, entity ID, key PrivateKey, c Command) ([]byte, error) {
	t := Transmission{SessionID: sessionID, CorrID: corrID, EntityID: entity}
	authorized := scratch.Get()
	defer scratch.Put(authorized)
	*authorized = AppendAuthorized(*authorized, sessionID, t)
	before := len(*authorized)
	*authorized = AppendCommand(*authorized, v, c)
	t.Body = (*authorized)[before:]
	if !key.IsZero() {
		var err error
		if t.Authorization, err = key.Authorize(sessionKey, corrID, *authorized); err != nil {
			return dst, err
		}
	}
	return AppendTransmission(dst, v, t), nil
}
