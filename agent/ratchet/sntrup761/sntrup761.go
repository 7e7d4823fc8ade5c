// Package sntrup761 is the post-quantum KEM of the public network's ratchets: Streamlined NTRU Prime with p = 761,
// q = 4591 and weight 286, the same as in OpenSSH's sntrup761x25519 (docs/protocol.md, "sntrup761 in short").
//
// It has no other parameter sets, in particular not the older round-1 variant with the name sntrup4591761. Operations on
// secrets take the same time whatever the secrets are, except that key generation starts again when its random
// polynomial has no inverse, which tells nothing about the one that is used.
package sntrup761

import (
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"io"
)

// Sizes in bytes.
const (
	PublicKeySize    = 1158
	PrivateKeySize   = 2*smallSize + PublicKeySize + smallSize + hashSize // 1763
	CiphertextSize   = roundedSize + hashSize                             // 1039
	SharedSecretSize = hashSize                                           // 32
)

const (
	hashSize    = 32
	roundedSize = 1007 // of a rounded polynomial
)

// ErrSize reports a key or ciphertext of a wrong length.
var ErrSize = errors.New("wrong length of an sntrup761 value")

// KEM is the mechanism; it has no state.
type KEM struct{}

// Sizes returns the lengths of keys and ciphertexts, in bytes.
func (KEM) Sizes() (public, private, ciphertext int) {
	return PublicKeySize, PrivateKeySize, CiphertextSize
}

// hash is the first half of SHA-512 of a byte that says what is hashed, and the parts.
func hash(what byte, parts ...[]byte) []byte {
	h := sha512.New()
	h.Write([]byte{what})
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)[:hashSize]
}

// What is hashed.
const (
	hashRejected = iota
	hashSecret
	hashConfirmation
	hashSmall
	hashPublic
)

// GenerateKey makes a key pair. The private key is
//
//	small f(191)  small 1/g mod 3(191)  public key(1158)  random(191)  hash of the public key(32)
func (KEM) GenerateKey(rand io.Reader) (public, private []byte, err error) {
	var g, gInverse, f small
	for {
		if err := g.random(rand); err != nil {
			return nil, nil, err
		}
		if gInverse.invert(&g) {
			break
		}
	}
	if err := f.randomShort(rand); err != nil {
		return nil, nil, err
	}
	rejection := make([]byte, smallSize)
	if _, err := io.ReadFull(rand, rejection); err != nil {
		return nil, nil, err
	}
	var fInverse, h large
	fInverse.invertTriple(&f) // 3f always has one: the ring is a field
	h.multiply(&fInverse, &g)

	public = h.encode(nil)
	private = make([]byte, 0, PrivateKeySize)
	private = gInverse.encode(f.encode(private))
	private = append(append(private, public...), rejection...)
	private = append(private, hash(hashPublic, public)...)
	return public, private, nil
}

// Encapsulate makes a secret and its ciphertext for a public key. ErrSize if the key has another length; other errors
// are those of rand.
func (KEM) Encapsulate(rand io.Reader, public []byte) (ciphertext, secret []byte, err error) {
	if len(public) != PublicKeySize {
		return nil, nil, ErrSize
	}
	var r small
	if err := r.randomShort(rand); err != nil {
		return nil, nil, err
	}
	ciphertext, inputHash := hide(&r, public, hash(hashPublic, public))
	return ciphertext, hash(hashSecret, inputHash, ciphertext), nil
}

// hide makes the ciphertext of r, and the hash of r that the secret is made from.
func hide(r *small, public, publicHash []byte) (ciphertext, inputHash []byte) {
	inputHash = hash(hashSmall, r.encode(nil))
	var h, c large
	h.decode(public)
	c.multiply(&h, r)
	c.round()
	ciphertext = c.encodeRounded(make([]byte, 0, CiphertextSize))
	return append(ciphertext, hash(hashConfirmation, inputHash, publicHash)...), inputHash
}

// Decapsulate gets the secret out of a ciphertext. For a ciphertext that was not made for the key it is a secret that
// nobody else knows, which cannot be told from the right one. ErrSize if a length is wrong.
func (KEM) Decapsulate(private, ciphertext []byte) (secret []byte, err error) {
	if len(private) != PrivateKeySize || len(ciphertext) != CiphertextSize {
		return nil, ErrSize
	}
	var f, gInverse, r small
	f.decode(private)
	gInverse.decode(private[smallSize:])
	public := private[2*smallSize:][:PublicKeySize]
	rejection := private[2*smallSize+PublicKeySize:][:smallSize]
	publicHash := private[PrivateKeySize-hashSize:]

	var c, fc large
	c.decodeRounded(ciphertext)
	fc.multiply(&c, &f)
	var e small
	e.fromTriple(&fc)
	r.multiply(&e, &gInverse)
	r.orDefault()

	again, inputHash := hide(&r, public, publicHash)
	same := subtle.ConstantTimeCompare(again, ciphertext)
	input := hash(hashSmall, rejection)
	subtle.ConstantTimeCopy(same, input, inputHash)
	what := subtle.ConstantTimeSelect(same, hashSecret, hashRejected)
	return hash(byte(what), input, ciphertext), nil
}
