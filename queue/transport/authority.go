package transport

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Authority is the offline certificate authority of a relay: its certificate is the relay's identity, its key signs
// online certificates and is needed for nothing else.
type Authority struct {
	Certificate []byte // DER
	Key         ed25519.PrivateKey
}

// certificateDays is so long that nobody has to renew: a relay's identity is its fingerprint, not a date.
const certificateDays = 999_999

// NewAuthority makes an Ed25519 key and its self-signed certificate.
func NewAuthority(now time.Time) (*Authority, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "SMP server CA", Organization: []string{"Coterie"}},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(0, 0, certificateDays),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	if template.SerialNumber, err = serialNumber(); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return nil, fmt.Errorf("self-signed certificate: %w", err)
	}
	return &Authority{Certificate: der, Key: key}, nil
}

// Issue makes a fresh online certificate for a host name or IP address. The identity of the relay stays the same.
func (a *Authority) Issue(host string, now time.Time) (*Identity, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	issuer, err := x509.ParseCertificate(a.Certificate)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: host},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(0, 0, certificateDays-1),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment | x509.KeyUsageKeyAgreement,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	if template.SerialNumber, err = serialNumber(); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, public, a.Key)
	if err != nil {
		return nil, fmt.Errorf("online certificate: %w", err)
	}
	return NewIdentity(tls.Certificate{Certificate: [][]byte{der, a.Certificate}, PrivateKey: key})
}

// Certificates returns the chain in DER, leaf first, for storing it.
func (i *Identity) Certificates() [][]byte { return i.tls.Certificate }

// Key returns the private key of the leaf, for storing it.
func (i *Identity) Key() ed25519.PrivateKey { return i.leaf }

func serialNumber() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}
