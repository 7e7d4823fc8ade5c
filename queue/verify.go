package queue

import (
	"crypto/ecdh"
	"crypto/subtle"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
)

// Verifier verifies the authorizations of commands on one connection of a relay.
type Verifier struct {
	SessionID  []byte
	SessionKey *ecdh.PrivateKey // the relay's session key; nil if it sent none, then authenticators are never valid
}

// Verify tells whether one of candidates authorizes t. Candidates are the keys of the queue that t names, none if there
// is no such queue.
//
// How long it takes depends on the size of the authorization and on the number of candidates, where none counts as one.
// It does not depend on whether there are any, on their algorithms, or on whether the authorization is valid: there is
// one verification for every candidate, with a substitute for keys of another algorithm.
func (v Verifier) Verify(t Transmission, candidates ...keys.Public) bool {
	algorithm, ok := authorizationAlgorithm(t.Authorization)
	if !ok {
		return false
	}
	authorized := AppendAuthorized(nil, v.SessionID, t)
	if len(candidates) == 0 {
		candidates = []keys.Public{{}}
	}
	valid := false
	for _, key := range candidates {
		right := key.Algorithm() == algorithm
		if !right {
			key = substitute(algorithm)
		}
		if v.verifyOne(t, authorized, key) && right {
			valid = true
		}
	}
	return valid
}

func (v Verifier) verifyOne(t Transmission, authorized []byte, key keys.Public) bool {
	if key.Algorithm() != keys.X25519 {
		return key.Verify(authorized, t.Authorization)
	}
	own, usable := v.SessionKey, true
	if own == nil {
		own, usable = substituteSessionKey(), false
	}
	secret, err := agree(own, key)
	if err != nil {
		// A key of small order authorizes nothing.
		usable = false
		secret, _ = agree(own, substitute(keys.X25519))
	}
	defer secret.Clear()
	expected := authenticator(&secret, t.CorrID, authorized)
	return subtle.ConstantTimeCompare(expected, t.Authorization) == 1 && usable
}

func agree(own *ecdh.PrivateKey, key keys.Public) (box.Secret, error) {
	public, err := key.X25519()
	if err != nil {
		return box.Secret{}, err
	}
	return box.Agree(own, public)
}

// authorizationAlgorithm tells by which algorithm an authorization was made; ok is false if it is absent or has a size
// that no algorithm has.
func authorizationAlgorithm(authorization []byte) (a keys.Algorithm, ok bool) {
	switch len(authorization) {
	case ed25519AuthorizationSize:
		return keys.Ed25519, true
	case x25519AuthorizationSize:
		return keys.X25519, true
	case ed448AuthorizationSize:
		return keys.Ed448, true
	default:
		return 0, false
	}
}

// Raw public keys that stand in for keys that do not exist: those of the seed SHA-256("coterie/dummy/1"), for Ed448
// filled with zeros.
const (
	substituteEd25519 = "\xf0\xe7\x46\xf2\x8c\x55\x8d\x4e\x04\x8c\x80\x7c\xe4\x2e\x76\xdb\xe5\x1f\xa3\xec\x51\xcc\x8b\x99\x2c\xed\xe5\xd1\x1c\x68\x8f\x61"
	substituteX25519  = "\x7b\xa7\x72\xb2\xeb\x22\xc7\x82\xa3\x57\x41\x0e\x2c\x97\x7e\x05\x21\xcd\xee\x02\x2f\x68\x26\x55\x67\x3a\x4e\x42\xa4\x07\x3f\x59"
	substituteEd448   = "\x69\x5f\xd1\x2f\x9e\x00\x46\x27\x40\x0c\x2c\x87\xd4\x44\x91\x54\xf7\x90\x9f\xa6\x9e\x8e\xed\x77\x90\x93\x4a\x92\xd5\xd6\xf9\x9f" +
		"\x73\x53\xa7\x04\xba\x5d\x84\xb0\xb5\xd7\x32\x4b\x03\x16\xb8\x69\xe4\xb2\xc6\xfa\x28\x98\xe9\x8c\x00"
)

func substitute(a keys.Algorithm) keys.Public {
	raw := substituteEd25519
	switch a {
	case keys.X25519:
		raw = substituteX25519
	case keys.Ed448:
		raw = substituteEd448
	}
	k, err := keys.New(a, []byte(raw))
	if err != nil {
		panic("queue: substitute key: " + err.Error())
	}
	return k
}

// substituteSessionKey stands in for the session key of a connection that has none.
func substituteSessionKey() *ecdh.PrivateKey {
	k, err := ecdh.X25519().NewPrivateKey([]byte(substituteX25519))
	if err != nil {
		panic("queue: substitute key: " + err.Error())
	}
	return k
}
