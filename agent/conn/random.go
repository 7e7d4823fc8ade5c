package conn

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/coterie-im/coterie/internal/keys"
)

// randomBytes fills b. A source that fails would lead to predictable keys, so it ends the program.
func randomBytes(rand io.Reader, b []byte) {
	if _, err := io.ReadFull(rand, b); err != nil {
		panic(fmt.Sprintf("conn: source of randomness: %v", err))
	}
}

// randomName returns 12 random bytes in base64url, 16 characters.
func randomName(rand io.Reader) string {
	var b [12]byte
	randomBytes(rand, b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// signingKey is an Ed25519 key: seed and public key, so that its use costs no derivation.
type signingKey [ed25519.PrivateKeySize]byte

// newSigningKey returns a new key.
func newSigningKey(rand io.Reader) signingKey {
	var seed [ed25519.SeedSize]byte
	randomBytes(rand, seed[:])
	return signingKey(ed25519.NewKeyFromSeed(seed[:]))
}

// private returns a copy of the key for authorizing commands.
func (k *signingKey) private() ed25519.PrivateKey { return bytes.Clone(k[:]) }

// public returns its public part.
func (k *signingKey) public() keys.Public {
	return keys.FromEd25519(ed25519.PublicKey(k[ed25519.SeedSize:]))
}

// newAgreementKey returns a private X25519 key.
func newAgreementKey(rand io.Reader) (private [32]byte) {
	randomBytes(rand, private[:])
	return private
}

// agreementKey returns the key for its stored bytes. Any 32 bytes are one.
func agreementKey(private [32]byte) *ecdh.PrivateKey {
	k, err := ecdh.X25519().NewPrivateKey(private[:])
	if err != nil {
		panic(fmt.Sprintf("conn: X25519 key: %v", err))
	}
	return k
}
