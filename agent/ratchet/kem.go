package ratchet

import (
	"bytes"
	"fmt"
	"io"

	"github.com/coterie-im/coterie/internal/wire"
)

// KEM is a post-quantum key encapsulation mechanism. Implementations are stateless and safe for concurrent use; they
// may assume that public keys, private keys and ciphertexts they are given have the sizes they told.
type KEM interface {
	// Sizes tells the lengths in bytes. Public key and ciphertext together may have at most 2,223 bytes, or headers that
	// carry both do not fit (sntrup761 has 2,197; ML-KEM-768 would have 2,272).
	Sizes() (public, private, ciphertext int)
	// GenerateKey makes a key pair.
	GenerateKey(rand io.Reader) (public, private []byte, err error)
	// Encapsulate makes a secret and the ciphertext from which the owner of public gets it.
	Encapsulate(rand io.Reader, public []byte) (ciphertext, secret []byte, err error)
	// Decapsulate gets the secret out of a ciphertext. A ciphertext that was not made for the key need not be an error;
	// then the secret is another one and messages do not open.
	Decapsulate(private, ciphertext []byte) (secret []byte, err error)
}

// PQ is what one outgoing message says about post-quantum protection.
type PQ uint8

// The choices of a message. A state without a KEM treats PQOn like PQKeep.
const (
	PQKeep PQ = iota // as before; for messages the agent makes itself
	PQOff            // from the next ratchet step on, go without
	PQOn             // want a KEM and use large headers
)

// kemState is the KEM part of a ratchet: the own key pair that headers offer to the peer and, if the peer's key was
// accepted, the ciphertext made for it. It is not changed once made, so copies of a state share it.
//
// The secret in the ciphertext and the peer's key are not kept: they went into the root key and are of no further use.
type kemState struct {
	public, private []byte
	ciphertext      []byte // nil: proposed
}

func generateKEM(rand io.Reader, kem KEM) (*kemState, error) {
	public, private, err := kem.GenerateKey(rand)
	if err != nil {
		return nil, fmt.Errorf("generate KEM key: %w", err)
	}
	return &kemState{public: public, private: private}, nil
}

func (k *kemState) params() KEMParams { return KEMParams{Public: k.public, Ciphertext: k.ciphertext} }

// encapsulate makes a secret for the peer's key; refuse is the error for a key of a wrong size.
func encapsulate(rand io.Reader, kem KEM, public []byte, refuse error) (ciphertext, secret []byte, err error) {
	if size, _, _ := kem.Sizes(); len(public) != size {
		return nil, nil, refuse
	}
	if ciphertext, secret, err = kem.Encapsulate(rand, public); err != nil {
		return nil, nil, fmt.Errorf("encapsulate: %w", err)
	}
	return ciphertext, secret, nil
}

// decapsulate gets the secret for our proposed key; refuse is the error for a ciphertext of a wrong size.
func (k *kemState) decapsulate(kem KEM, ciphertext []byte, refuse error) ([]byte, error) {
	if k == nil || kem == nil {
		return nil, ErrKEMState
	}
	if _, private, size := kem.Sizes(); len(ciphertext) != size || len(k.private) != private {
		return nil, refuse
	}
	secret, err := kem.Decapsulate(k.private, ciphertext)
	if err != nil {
		return nil, fmt.Errorf("decapsulate: %w", err)
	}
	return secret, nil
}

// kemStep is the KEM part of a ratchet step (docs/protocol.md, "Post-quantum KEM"): from the KEM field of the peer's
// header it makes the secrets for the new receiving and the new sending chain, nil where there is none, and replaces
// the KEM state and its flags.
//
//	field    wanted  own state   receiving  sending   new state
//	absent   yes     none        -          -         key pair (proposes)
//	absent   yes     some        -          -         none
//	P key    yes     any         -          encaps    key pair, ciphertext (accepts)
//	A ct key yes     key pair    decaps     encaps    key pair, ciphertext (accepts)
//	A ct key no      key pair    decaps     -         none
//	A ct key any     none        error
//	absent,P no      any         -          -         none
func (s *State) kemStep(rand io.Reader, peer KEMParams) (receiving, sending []byte, err error) {
	wanted := s.kemWanted && s.kem != nil && s.version >= 3
	if peer.accepted() {
		if receiving, err = s.kemState.decapsulate(s.kem, peer.Ciphertext, ErrHeader); err != nil {
			return nil, nil, err
		}
	}
	var next *kemState
	switch {
	case !wanted, peer.absent() && s.kemState != nil:
	case peer.absent():
		if next, err = generateKEM(rand, s.kem); err != nil {
			return nil, nil, err
		}
	default:
		var ciphertext []byte
		if ciphertext, sending, err = encapsulate(rand, s.kem, peer.Public, ErrHeader); err != nil {
			return nil, nil, err
		}
		if next, err = generateKEM(rand, s.kem); err != nil {
			return nil, nil, err
		}
		next.ciphertext = ciphertext
	}
	s.kemState = next
	s.kemSending, s.kemReceiving = sending != nil, receiving != nil
	s.kemWanted = s.kemSending || s.kemReceiving || next != nil
	if s.kemWanted && s.version >= 3 {
		s.largeHeaders = true
	}
	return receiving, sending, nil
}

// Stored KEM state: opt( str16(public) str16(private) opt(str16(ciphertext)) )

func appendOptKEMState(dst []byte, k *kemState) []byte {
	if k == nil {
		return wire.AppendAbsent(dst)
	}
	dst = wire.AppendStr16(wire.AppendStr16(wire.AppendPresent(dst), k.public), k.private)
	if k.ciphertext == nil {
		return wire.AppendAbsent(dst)
	}
	return wire.AppendStr16(wire.AppendPresent(dst), k.ciphertext)
}

func readOptKEMState(r *wire.Reader) *kemState {
	if !r.Opt() {
		return nil
	}
	k := &kemState{public: bytes.Clone(r.Str16()), private: bytes.Clone(r.Str16())}
	accepted := r.Opt()
	if accepted {
		k.ciphertext = bytes.Clone(r.Str16())
	}
	if len(k.public) == 0 || len(k.private) == 0 || accepted && len(k.ciphertext) == 0 {
		r.Fail("empty KEM value")
	}
	if r.Err() != nil {
		return nil
	}
	return k
}
