package queue

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/cloudflare/circl/sign/ed448"

	"github.com/coterie-im/coterie/internal/keys"
)

// party is somebody who authorizes with some algorithm.
type party struct {
	public    keys.Public
	authorize func(authorized []byte) []byte
}

func parties(t testing.TB) map[keys.Algorithm]party {
	t.Helper()
	ours := func(k PrivateKey) party {
		return party{k.Public(), func(authorized []byte) []byte {
			b, err := k.Authorize(serverSession.PublicKey(), corrID, authorized)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}}
	}
	private := ed448.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed448.SeedSize))
	public448, err := keys.New(keys.Ed448, private.Public().(ed448.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return map[keys.Algorithm]party{
		keys.Ed25519: ours(recipientAuth),
		keys.X25519:  ours(senderAuth),
		keys.Ed448:   {public448, func(authorized []byte) []byte { return ed448.Sign(private, authorized, "") }},
	}
}

func authorizedSUB(p party) Transmission {
	sent := Transmission{CorrID: corrID, EntityID: queueID, Body: []byte("SUB")}
	sent.Authorization = p.authorize(AppendAuthorized(nil, sessionID, sent))
	return sent
}

func TestVerify(t *testing.T) {
	verifier := Verifier{sessionID, serverSession}
	all := parties(t)
	var everybody []keys.Public
	for _, p := range all {
		everybody = append(everybody, p.public)
	}
	for algorithm, p := range all {
		t.Run(algorithm.String(), func(t *testing.T) {
			sent := authorizedSUB(p)
			if !verifier.Verify(sent, p.public) {
				t.Error("own key does not verify")
			}
			if !verifier.Verify(sent, everybody...) {
				t.Error("own key among others does not verify")
			}
			if verifier.Verify(sent) {
				t.Error("no key verifies")
			}
			for other, q := range all {
				if other != algorithm && verifier.Verify(sent, q.public) {
					t.Errorf("%v key verifies", other)
				}
			}
			if verifier.Verify(sent, substitute(algorithm)) {
				t.Error("another key verifies")
			}
			for name, change := range map[string]func(*Transmission){
				"authorization":  func(t *Transmission) { t.Authorization = flipped(t.Authorization) },
				"correlation ID": func(t *Transmission) { t.CorrID = ID(flipped([]byte(t.CorrID))) },
				"entity":         func(t *Transmission) { t.EntityID = linkSenderID },
				"command":        func(t *Transmission) { t.Body = []byte("GET") },
				"no longer":      func(t *Transmission) { t.Authorization = nil },
				"cut":            func(t *Transmission) { t.Authorization = t.Authorization[1:] },
			} {
				changed := sent
				change(&changed)
				if verifier.Verify(changed, everybody...) {
					t.Errorf("verifies with another %s", name)
				}
			}
			if (Verifier{sessionID[1:], serverSession}).Verify(sent, p.public) {
				t.Error("verifies in another session")
			}
			if got := (Verifier{sessionID, nil}).Verify(sent, p.public); got != (algorithm != keys.X25519) {
				t.Errorf("without session key: %v", got)
			}
			if got := (Verifier{sessionID, ephemeral}).Verify(sent, p.public); got != (algorithm != keys.X25519) {
				t.Errorf("with another session key: %v", got)
			}
		})
	}
}

func flipped(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

// An authenticator with a key of small order, whose secret everybody knows, is not valid; nor is one that is made with
// the substitute of a connection without session key.
func TestAuthenticatorsThatAnybodyCanMake(t *testing.T) {
	small, err := keys.New(keys.X25519, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	sent := Transmission{CorrID: corrID, EntityID: queueID, Body: []byte("SUB")}
	authorized := AppendAuthorized(nil, sessionID, sent)
	for _, key := range []*ecdh.PrivateKey{serverSession, substituteSessionKey()} {
		secret, err := agree(key, substitute(keys.X25519))
		if err != nil {
			t.Fatal(err)
		}
		sent.Authorization = authenticator(&secret, corrID, authorized)
		if (Verifier{sessionID, serverSession}).Verify(sent, small) || (Verifier{sessionID, nil}).Verify(sent, small, substitute(keys.X25519)) {
			t.Error("verifies")
		}
	}
}

// Everybody can sign with the keys that stand in for missing ones, and it helps nobody.
func TestSubstituteKeysAuthorizeNothing(t *testing.T) {
	seed := sha256.Sum256([]byte("coterie/dummy/1"))
	dh, err := ecdh.X25519().NewPrivateKey(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	private448 := ed448.NewKeyFromSeed(append(seed[:], make([]byte, ed448.SeedSize-len(seed))...))
	for algorithm, k := range map[keys.Algorithm]PrivateKey{
		keys.Ed25519: FromEd25519(ed25519.NewKeyFromSeed(seed[:])), keys.X25519: FromX25519(dh), keys.Ed448: {},
	} {
		sent := Transmission{CorrID: corrID, EntityID: queueID, Body: []byte("SUB")}
		authorized := AppendAuthorized(nil, sessionID, sent)
		if sent.Authorization, err = k.Authorize(serverSession.PublicKey(), corrID, authorized); err != nil {
			t.Fatal(err)
		}
		if algorithm == keys.Ed448 {
			sent.Authorization = ed448.Sign(private448, authorized, "")
		}
		verifier := Verifier{sessionID, serverSession}
		if !verifier.Verify(sent, substitute(algorithm)) {
			t.Errorf("%v: not the key of the seed", algorithm)
		}
		if verifier.Verify(sent) {
			t.Errorf("%v: verifies without a queue", algorithm)
		}
		for other, q := range parties(t) {
			if verifier.Verify(sent, q.public) {
				t.Errorf("%v: verifies for a queue with an %v key", algorithm, other)
			}
		}
	}
}

func TestPrivateKeys(t *testing.T) {
	for _, algorithm := range []keys.Algorithm{keys.Ed25519, keys.X25519} {
		k, err := GenerateKey(algorithm, bytes.NewReader(counting(0, 32)))
		if err != nil || k.Public().Algorithm() != algorithm || k.IsZero() {
			t.Fatalf("%v: %v", algorithm, err)
		}
		again, err := ParsePrivateKey(k.DER())
		if err != nil || again.Public() != k.Public() || !bytes.Equal(again.DER(), k.DER()) || len(k.DER()) != 48 {
			t.Errorf("%v does not survive storing: %v", algorithm, err)
		}
		if _, err := GenerateKey(algorithm, bytes.NewReader(counting(0, 31))); err == nil {
			t.Error("made of too little randomness")
		}
		for _, bad := range [][]byte{nil, k.DER()[1:], append(k.DER(), 0), flippedAt(k.DER(), 11)} {
			if _, err := ParsePrivateKey(bad); err == nil {
				t.Errorf("took %d bytes", len(bad))
			}
		}
	}
	if _, err := GenerateKey(keys.Ed448, bytes.NewReader(counting(0, 64))); err == nil {
		t.Error("made an Ed448 key")
	}
	var zero PrivateKey
	if b, err := zero.Authorize(serverSession.PublicKey(), corrID, nil); b != nil || err != nil || !zero.IsZero() || !zero.Public().IsZero() || zero.DER() != nil {
		t.Error("no key authorizes")
	}
	if _, err := senderAuth.Authorize(nil, corrID, nil); err != ErrNoSessionKey {
		t.Errorf("without session key: %v", err)
	}
	if _, err := EncodeCommand(nil, 9, sessionID, nil, corrID, queueID, senderAuth, SUB{}); err != ErrNoSessionKey {
		t.Errorf("without session key: %v", err)
	}
}

func flippedAt(b []byte, i int) []byte {
	b[i] ^= 0xff
	return b
}

// Correlation IDs of other lengths than 24 are filled or cut to a nonce.
func TestAuthenticatorsWithOddCorrelationIDs(t *testing.T) {
	for _, id := range []ID{"", "abc", corrID + "longer"} {
		sent := Transmission{CorrID: id, EntityID: queueID, Body: []byte("SUB")}
		var err error
		if sent.Authorization, err = senderAuth.Authorize(serverSession.PublicKey(), id, AppendAuthorized(nil, sessionID, sent)); err != nil {
			t.Fatal(err)
		}
		if !(Verifier{sessionID, serverSession}).Verify(sent, senderAuth.Public()) {
			t.Errorf("%d bytes: does not verify", len(id))
		}
	}
}

// The times of a verification with the right key, a key of each other algorithm, and none should be alike.
func BenchmarkVerify(b *testing.B) {
	verifier := Verifier{sessionID, serverSession}
	all := parties(b)
	for algorithm, p := range all {
		sent := authorizedSUB(p)
		for other, q := range all {
			b.Run(fmt.Sprintf("%v with %v key", algorithm, other), func(b *testing.B) {
				for b.Loop() {
					verifier.Verify(sent, q.public)
				}
			})
		}
		b.Run(fmt.Sprintf("%v without queue", algorithm), func(b *testing.B) {
			for b.Loop() {
				verifier.Verify(sent)
			}
		})
	}
}
