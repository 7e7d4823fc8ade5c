package keys

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/cloudflare/circl/sign/ed448"

	"github.com/coterie-im/coterie/internal/wire"
)

// Vector 12.1 of the relay protocol.
func TestSPKIVectors(t *testing.T) {
	seed := bytes.Repeat([]byte{1}, 32)
	ed := FromEd25519(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	if got := hex.EncodeToString(ed.DER()); got != "302a300506032b65700321008a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c" {
		t.Error(got)
	}
	x, _ := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{2}, 32))
	if got := hex.EncodeToString(FromX25519(x.PublicKey()).DER()); got != "302a300506032b656e032100ce8d3ad1ccb633ec7b70c17814a5c76ecd029685050d344745ba05870e587d59" {
		t.Error(got)
	}
	if std, err := x509.MarshalPKIXPublicKey(x.PublicKey()); err != nil || !bytes.Equal(std, FromX25519(x.PublicKey()).DER()) {
		t.Error("differs from crypto/x509", err)
	}
}

func TestVerify(t *testing.T) {
	pub, priv, err := ed448.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := New(Ed448, pub)
	if err != nil {
		t.Fatal(err)
	}
	sig := ed448.Sign(priv, []byte("m"), "")
	if !k.Verify([]byte("m"), sig) || k.Verify([]byte("n"), sig) || k.Verify([]byte("m"), sig[1:]) {
		t.Error("Ed448 verification")
	}
	ep, es, _ := ed25519.GenerateKey(nil)
	sig = ed25519.Sign(es, []byte("m"))
	if e := FromEd25519(ep); !e.Verify([]byte("m"), sig) || e.Verify([]byte("n"), sig) {
		t.Error("Ed25519 verification")
	}
}

func TestReadRefusesOtherAlgorithms(t *testing.T) {
	k, _ := New(X448, make([]byte, 56))
	r := wire.NewReader(k.Append(nil))
	if Read(r, Ed25519, X25519, Ed448); r.Err() == nil {
		t.Error("took an X448 key as an authorization key")
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	k, _ := New(X25519, bytes.Repeat([]byte{7}, 32))
	for _, verb := range []string{"%v", "%x", "%#v", "%+v", "%s"} {
		if got := fmt.Sprintf(verb, k); got != "X25519 public key" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for a := Ed25519; a <= X448; a++ {
		k, _ := New(a, make([]byte, forms[a].size))
		f.Add(k.DER())
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		k, err := Parse(der)
		if err != nil {
			return
		}
		if !bytes.Equal(k.DER(), der) {
			t.Fatalf("%x encodes as %x", der, k.DER())
		}
		k.Verify(der, der)
	})
}
