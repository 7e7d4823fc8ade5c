package ratchet

import "io"

// KEM is a post-quantum key encapsulation mechanism. Implementations are stateless and safe for concurrent use; they
// may assume that public keys, private keys and ciphertexts they are given have the sizes they told.
type KEM interface {
	// Sizes tells the lengths of everything the KEM makes.
	Sizes() KEMSizes
	// GenerateKey makes a key pair.
	GenerateKey(rand io.Reader) (public, private []byte, err error)
	// Encapsulate makes a secret and the ciphertext from which the owner of public gets it.
	Encapsulate(rand io.Reader, public []byte) (ciphertext, secret []byte, err error)
	// Decapsulate gets the secret out of a ciphertext. A ciphertext that was not made for the key need not be an error;
	// then the secret is another one and messages do not open.
	Decapsulate(private, ciphertext []byte) (secret []byte, err error)
}

// KEMSizes are lengths in bytes. Public key and ciphertext together may have at most 2,222 bytes, or headers that carry
// both do not fit.
type KEMSizes struct{ Public, Private, Ciphertext, Secret int }

// PQ is what one outgoing message says about post-quantum protection.
type PQ uint8

// The choices of a message. A state without a KEM treats PQOn like PQKeep.
const (
	PQKeep PQ = iota // as before; for messages the agent makes itself
	PQOff            // from the next ratchet step on, go without
	PQOn             // want a KEM and use large headers
)
