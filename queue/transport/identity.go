package transport

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/coterie-im/coterie/internal/keys"
)

// Identity is a relay's certificate chain, leaf first, and the key of its leaf.
type Identity struct {
	tls  tls.Certificate
	leaf ed25519.PrivateKey
}

// NewIdentity checks a chain of 2 to 4 certificates, leaf first, whose leaf has an Ed25519 key.
func NewIdentity(certificate tls.Certificate) (*Identity, error) {
	if len(certificate.Certificate) < 2 || len(certificate.Certificate) > 4 {
		return nil, fmt.Errorf("%w: %d certificates where 2 to 4 are needed", ErrCertificate, len(certificate.Certificate))
	}
	key, ok := certificate.PrivateKey.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: the online certificate needs an Ed25519 key", ErrCertificate)
	}
	identity := &Identity{tls: certificate, leaf: key}
	if err := verifyChain(certificate.Certificate, identity.Fingerprint()); err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	if !key.Public().(ed25519.PublicKey).Equal(leaf.PublicKey) {
		return nil, fmt.Errorf("%w: the key is not that of the certificate", ErrCertificate)
	}
	return identity, nil
}

// Fingerprint returns the SHA-256 of the identity certificate, which relay addresses name.
func (i *Identity) Fingerprint() [sha256.Size]byte { return sha256.Sum256(i.tls.Certificate[1]) }

func (i *Identity) chain() [][]byte { return i.tls.Certificate }

// signKey makes the signed key object: an X25519 session key signed with the key of the leaf certificate.
func (i *Identity) signKey(key *ecdh.PublicKey) []byte {
	signed := cryptobyte.NewBuilder(nil)
	signed.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(keys.FromX25519(key).DER()) })
	content := signed.BytesOrPanic()
	signature, err := i.leaf.Sign(rand.Reader, content, crypto.Hash(0))
	if err != nil {
		panic(err) // an Ed25519 key signs everything
	}
	object := cryptobyte.NewBuilder(nil)
	object.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(content)
		b.AddBytes(algorithmEd25519)
		b.AddASN1BitString(signature)
	})
	return object.BytesOrPanic()
}

var (
	algorithmEd25519 = []byte{0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70}
	algorithmEd448   = []byte{0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x71}
)

// openSignedKey verifies a signed key object with the public key of the leaf certificate seen in TLS and returns the
// session key. The signed content is a SEQUENCE around the key's own SEQUENCE, verified as received.
func openSignedKey(object []byte, leaf crypto.PublicKey) (*ecdh.PublicKey, error) {
	var body, content, inner, spki, algorithm cryptobyte.String
	var signature []byte
	in := cryptobyte.String(object)
	if !in.ReadASN1(&body, asn1.SEQUENCE) || !in.Empty() ||
		!body.ReadASN1Element(&content, asn1.SEQUENCE) ||
		!body.ReadASN1Element(&algorithm, asn1.SEQUENCE) ||
		!body.ReadASN1BitStringAsBytes(&signature) || !body.Empty() {
		return nil, fmt.Errorf("%w: signed session key", ErrHandshake)
	}
	signed := content
	if !content.ReadASN1(&inner, asn1.SEQUENCE) || !inner.ReadASN1Element(&spki, asn1.SEQUENCE) || !inner.Empty() {
		return nil, fmt.Errorf("%w: signed session key", ErrHandshake)
	}
	if string(algorithm) == string(algorithmEd448) {
		return nil, ErrEd448
	}
	key, ok := leaf.(ed25519.PublicKey)
	if !ok || string(algorithm) != string(algorithmEd25519) || !ed25519.Verify(key, signed, signature) {
		return nil, fmt.Errorf("%w: signature of the session key", ErrCertificate)
	}
	public, err := keys.Parse(spki)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	return public.X25519()
}

// certificateChain is a checked number of parsed certificates, leaf first.
type certificateChain []*x509.Certificate

func parseChain(der [][]byte) (certificateChain, error) {
	if len(der) < 2 || len(der) > 4 {
		return nil, fmt.Errorf("%w: %d certificates where 2 to 4 are needed", ErrCertificate, len(der))
	}
	chain := make(certificateChain, len(der))
	for i, d := range der {
		c, err := x509.ParseCertificate(d)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
		}
		chain[i] = c
	}
	return chain, nil
}

// fingerprint is that of the identity certificate, the second one whatever the length of the chain.
func (c certificateChain) fingerprint() [sha256.Size]byte { return sha256.Sum256(c[1].Raw) }

// verifyChain checks the number of certificates, the identity, and signatures and dates up to the last certificate,
// which is the only root. Names are not looked at.
func verifyChain(der [][]byte, fingerprint [sha256.Size]byte) error {
	chain, err := parseChain(der)
	if err != nil {
		return err
	}
	if chain.fingerprint() != fingerprint {
		return ErrIdentity
	}
	for _, c := range chain {
		if c.PublicKeyAlgorithm == x509.UnknownPublicKeyAlgorithm || c.SignatureAlgorithm == x509.UnknownSignatureAlgorithm {
			return ErrEd448
		}
	}
	if chain[0].Version != 3 {
		return fmt.Errorf("%w: not X.509 version 3", ErrCertificate)
	}
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(chain[len(chain)-1])
	for _, c := range chain[1 : len(chain)-1] {
		others.AddCert(c)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: others,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return errors.Join(ErrCertificate, err)
	}
	return nil
}

func certificates(parsed []*x509.Certificate) [][]byte {
	der := make([][]byte, len(parsed))
	for i, c := range parsed {
		der[i] = c.Raw
	}
	return der
}
