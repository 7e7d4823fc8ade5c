package box

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	naclbox "golang.org/x/crypto/nacl/box"
)

// Vector 12.13 of the relay protocol: key 00..1f, nonce 64..7b, 1000 zero bytes.
func TestSealVector(t *testing.T) {
	var secret Secret
	nonce := make([]byte, 24)
	for i := range secret {
		secret[i] = byte(i)
	}
	for i := range nonce {
		nonce[i] = byte(0x64 + i)
	}
	sealed := Seal(nil, &secret, nonce, make([]byte, 1000))
	if got := hex.EncodeToString(sealed[:16]); got != "3d3dd6c84c303cd0f64489aff4fa543d" {
		t.Errorf("tag %s", got)
	}
	sum := sha256.Sum256(sealed)
	if got := hex.EncodeToString(sum[:]); got != "18383819818cec98df40debd6e0ab0a492301a75c50b99c1be9151a6485e313a" {
		t.Errorf("sum %s", got)
	}
}

func TestIsNaClBoxOfSharedSecret(t *testing.T) {
	a, _ := ecdh.X25519().GenerateKey(rand.Reader)
	b, _ := ecdh.X25519().GenerateKey(rand.Reader)
	secret, err := Agree(a, b.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	var nonce [24]byte
	nonce[3] = 9
	var pub, priv [32]byte
	copy(pub[:], b.PublicKey().Bytes())
	copy(priv[:], a.Bytes())
	want := naclbox.Seal(nil, []byte("hello"), &nonce, &pub, &priv)
	if got := Seal(nil, &secret, nonce[:], []byte("hello")); !bytes.Equal(got, want) {
		t.Fatalf("%x, NaCl makes %x", got, want)
	}
}

func TestOpenRefusesChanges(t *testing.T) {
	secret := Secret{1}
	sealed, err := SealPadded(nil, &secret, []byte("n"), []byte("hello"), 32)
	if err != nil || len(sealed) != 32+Overhead {
		t.Fatal(len(sealed), err)
	}
	got, err := OpenPadded(&secret, []byte("n\x00"), sealed)
	if err != nil || string(got) != "hello" {
		t.Fatalf("%q %v: short nonces are filled with zeros", got, err)
	}
	for i := range sealed {
		sealed[i] ^= 1
		if _, err := OpenPadded(&secret, []byte("n"), sealed); !errors.Is(err, ErrOpen) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		sealed[i] ^= 1
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	s := Secret{0xab, 0xcd}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
		if got := fmt.Sprintf(verb, s); got != "box.Secret" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}
