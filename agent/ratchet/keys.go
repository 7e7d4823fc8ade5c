package ratchet

import (
	"fmt"
	"io"

	"github.com/coterie-im/coterie/internal/wire"
)

// Keys are one side's private keys of an agreement that is not finished: two X448 keys and, if it proposes a KEM, a KEM
// key pair. They are used for one connection, or for one re-synchronisation.
type Keys struct {
	first, second keyPair
	kem           *kemState
}

// GenerateKeys makes keys for an invitation or a ratchet-key message. With a KEM they include a KEM key pair, which
// proposes the KEM to the peer.
func GenerateKeys(rand io.Reader, kem KEM) (*Keys, error) {
	var k Keys
	var err error
	if k.first, err = generateKeyPair(rand); err != nil {
		return nil, err
	}
	if k.second, err = generateKeyPair(rand); err != nil {
		return nil, err
	}
	if kem != nil {
		if k.kem, err = generateKEM(rand, kem); err != nil {
			return nil, err
		}
	}
	return &k, nil
}

// Params returns the public parameters for a range of versions.
func (k *Keys) Params(versions VersionRange) Params {
	p := Params{Versions: versions, Key1: k.first.spki(), Key2: k.second.spki()}
	if k.kem != nil {
		p.KEM = k.kem.params()
	}
	return p
}

// Clear overwrites the keys with zeros.
func (k *Keys) Clear() {
	if k.kem != nil {
		clear(k.kem.private)
	}
	*k = Keys{}
}

// Format hides the keys from every formatting verb.
func (k *Keys) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("ratchet keys")) }

// Stored keys: format(1)  two times {private(56) public(56)}  opt(kem), see kemState.
const keysFormat = 1

// AppendBinary appends the keys for storage.
func (k *Keys) AppendBinary(dst []byte) []byte {
	dst = append(dst, keysFormat)
	dst = k.second.append(k.first.append(dst))
	return appendOptKEMState(dst, k.kem)
}

// DecodeKeys reads what AppendBinary wrote; ErrState if it is something else.
func DecodeKeys(b []byte) (*Keys, error) {
	r := wire.NewReader(b)
	if r.U8() != keysFormat {
		return nil, ErrState
	}
	k := Keys{first: readKeyPair(r), second: readKeyPair(r), kem: readOptKEMState(r)}
	if r.Done() != nil || k.kem != nil && k.kem.ciphertext != nil {
		return nil, ErrState
	}
	return &k, nil
}

func (k *keyPair) append(dst []byte) []byte {
	return append(append(dst, k.private[:]...), k.public[:]...)
}

func readKeyPair(r *wire.Reader) (k keyPair) {
	r.Copy(k.private[:])
	r.Copy(k.public[:])
	return k
}
