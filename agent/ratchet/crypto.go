package ratchet

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha512"
	"fmt"
	"io"
	"slices"

	"github.com/cloudflare/circl/dh/x448"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
)

// secret is a symmetric key: root, chain, header or message key.
type secret [32]byte

const (
	ivSize  = 16 // AES-GCM nonces are 16 bytes here, not 12
	tagSize = 16
)

type keyPair struct{ private, public [keySize]byte }

func generateKeyPair(rand io.Reader) (keyPair, error) {
	var k keyPair
	if _, err := io.ReadFull(rand, k.private[:]); err != nil {
		return keyPair{}, fmt.Errorf("generate X448 key: %w", err)
	}
	x448.KeyGen((*x448.Key)(&k.public), (*x448.Key)(&k.private))
	return k, nil
}

// shared returns the X448 shared secret; ErrAgreement if peer is of low order, so that the secret would not depend on
// our key.
func (k *keyPair) shared(peer *[keySize]byte) ([keySize]byte, error) {
	var s [keySize]byte
	if !x448.Shared((*x448.Key)(&s), (*x448.Key)(&k.private), (*x448.Key)(peer)) {
		return [keySize]byte{}, ErrAgreement
	}
	return s, nil
}

func (k *keyPair) spki() keys.Public {
	p, err := keys.New(keys.X448, k.public[:])
	if err != nil {
		panic(err) // the length is a constant
	}
	return p
}

// hkdf96 is HKDF-SHA512 with three outputs of 32 bytes.
func hkdf96(salt, ikm []byte, info string) (a, b, c secret) {
	out, err := hkdf.Key(sha512.New, ikm, salt, info, 96)
	if err != nil {
		panic(err) // 96 bytes are within the limit
	}
	defer clear(out)
	return secret(out[:32]), secret(out[32:64]), secret(out[64:])
}

// agreementKDF makes the joiner's first header key, the next header key of the opposite direction and the first root
// key from the three shared secrets and the KEM secret, if any.
func agreementKDF(dh1, dh2, dh3 *[keySize]byte, kemSecret []byte) (headerKey, nextHeaderKey, root secret) {
	ikm := make([]byte, 0, 3*keySize+len(kemSecret))
	ikm = append(append(append(ikm, dh1[:]...), dh2[:]...), dh3[:]...)
	ikm = append(ikm, kemSecret...)
	defer clear(ikm)
	return hkdf96(make([]byte, sha512.Size), ikm, "SimpleXX3DH")
}

func rootKDF(root *secret, dh *[keySize]byte, kemSecret []byte) (newRoot, chain, nextHeaderKey secret) {
	ikm := append(append(make([]byte, 0, keySize+len(kemSecret)), dh[:]...), kemSecret...)
	defer clear(ikm)
	return hkdf96(root[:], ikm, "SimpleXRootRatchet")
}

// chainKDF makes the next chain key, and the key and IVs of one message.
func chainKDF(chain *secret) (next, message secret, bodyIV, headerIV [ivSize]byte) {
	next, message, ivs := hkdf96(nil, chain[:], "SimpleXChainRatchet")
	return next, message, [ivSize]byte(ivs[:ivSize]), [ivSize]byte(ivs[ivSize:])
}

func newGCM(key *secret) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	aead, err := cipher.NewGCMWithNonceSize(block, ivSize)
	if err != nil {
		panic(err) // 16 bytes are a nonce
	}
	return aead
}

// seal appends tag and ciphertext, in this order, of content padded to n bytes; between, if not nil, is appended after
// the tag. wire.ErrTooLarge if content does not fit.
func seal(dst []byte, key *secret, iv *[ivSize]byte, aad, content []byte, n int, between []byte) ([]byte, error) {
	start := len(dst)
	dst = slices.Grow(dst, tagSize+len(between)+n+tagSize)
	dst = append(dst, make([]byte, tagSize)...)
	dst = append(dst, between...)
	body := len(dst)
	dst, err := wire.AppendPadded(dst, content, n)
	if err != nil {
		return dst[:start], err
	}
	// GCM puts the tag behind the ciphertext; the format has it in front.
	sealed := newGCM(key).Seal(dst[:body], iv[:], dst[body:], aad)
	copy(sealed[start:], sealed[body+n:])
	clear(sealed[body+n:])
	return sealed[:body+n], nil
}

// open returns the content of a padded ciphertext; ok is false if it does not authenticate or its padding is malformed.
func open(key *secret, iv, tag, ciphertext, aad []byte) (content []byte, ok bool) {
	sealed := make([]byte, 0, len(ciphertext)+tagSize)
	sealed = append(append(sealed, ciphertext...), tag...)
	padded, err := newGCM(key).Open(sealed[:0], iv, sealed, aad)
	if err != nil {
		return nil, false
	}
	content, err = wire.Unpad(padded)
	return content, err == nil
}
