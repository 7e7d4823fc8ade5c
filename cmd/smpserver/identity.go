package main

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/coterie-im/coterie/queue/transport"
)

// The files of the relay's certificates, PEM. The key of the authority is needed only to issue an online certificate:
// it is better kept on another machine.
const (
	caCertFile     = "ca.crt"
	caKeyFile      = "ca.key"
	onlineCertFile = "server.crt"
	onlineKeyFile  = "server.key"
)

const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
)

// makeIdentity makes what is missing of the certificates of the relay in dir. Its identity is the certificate of the
// authority; that is never made a second time once there is an online certificate.
func makeIdentity(dir, host string, now time.Time) (*transport.Identity, error) {
	haveOnline, err := exists(dir, onlineCertFile)
	if err != nil {
		return nil, err
	}
	if haveOnline {
		return loadIdentity(dir)
	}
	haveAuthority, err := exists(dir, caCertFile)
	if err != nil {
		return nil, err
	}
	var authority *transport.Authority
	if haveAuthority {
		authority, err = loadAuthority(dir)
	} else {
		authority, err = makeAuthority(dir, now)
	}
	if err != nil {
		return nil, err
	}
	identity, err := authority.Issue(host, now)
	if err != nil {
		return nil, fmt.Errorf("issue online certificate: %w", err)
	}
	// The certificate comes last: without it the rest does not count, and is made again.
	if err := writeKey(dir, onlineKeyFile, identity.Key()); err != nil {
		return nil, err
	}
	if err := writePEM(dir, onlineCertFile, pemCertificate, identity.Certificates()[0]); err != nil {
		return nil, err
	}
	return identity, nil
}

func makeAuthority(dir string, now time.Time) (*transport.Authority, error) {
	authority, err := transport.NewAuthority(now)
	if err != nil {
		return nil, fmt.Errorf("make certificate authority: %w", err)
	}
	if err := writeKey(dir, caKeyFile, authority.Key); err != nil {
		return nil, err
	}
	return authority, writePEM(dir, caCertFile, pemCertificate, authority.Certificate)
}

func loadAuthority(dir string) (*transport.Authority, error) {
	certificate, err := readPEM(dir, caCertFile, pemCertificate)
	if err != nil {
		return nil, err
	}
	key, err := readKey(dir, caKeyFile)
	if err != nil {
		return nil, err
	}
	return &transport.Authority{Certificate: certificate, Key: key}, nil
}

func loadIdentity(dir string) (*transport.Identity, error) {
	leaf, err := readPEM(dir, onlineCertFile, pemCertificate)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotInitialised
	}
	if err != nil {
		return nil, err
	}
	authority, err := readPEM(dir, caCertFile, pemCertificate)
	if err != nil {
		return nil, err
	}
	key, err := readKey(dir, onlineKeyFile)
	if err != nil {
		return nil, err
	}
	return transport.NewIdentity(tls.Certificate{Certificate: [][]byte{leaf, authority}, PrivateKey: key})
}

func exists(dir, name string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func writeKey(dir, name string, key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer clear(der)
	return writePEM(dir, name, pemKey, der)
}

func readKey(dir, name string) (ed25519.PrivateKey, error) {
	der, err := readPEM(dir, name, pemKey)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: not a private key", name)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: not an Ed25519 key", name)
	}
	return key, nil
}

func writePEM(dir, name, kind string, der []byte) error {
	return writeFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func readPEM(dir, name, kind string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s: not a PEM file with a %s", name, kind)
	}
	return block.Bytes, nil
}

// writeFile replaces a file, readable by its owner only, so that after a crash there is the old one or the new one.
func writeFile(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // CreateTemp makes files with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
