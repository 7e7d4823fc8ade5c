package transport

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/coterie-im/coterie/queue"
)

func newIdentity(t testing.TB) *Identity {
	t.Helper()
	authority, err := NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	identity, err := authority.Issue("127.0.0.1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

// connect runs both handshakes over loopback and returns both ends.
func connect(t testing.TB, client ClientConfig, server ServerConfig) (c, s *Conn, clientErr, serverErr error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			serverErr = err
			return
		}
		s, serverErr = Server(context.Background(), conn, server)
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, clientErr = Client(context.Background(), conn, client)
	if clientErr != nil {
		conn.Close()
	}
	<-done
	for _, end := range []*Conn{c, s} {
		if end != nil {
			t.Cleanup(func() { end.Close() })
		}
	}
	return c, s, clientErr, serverErr
}

func TestBlocksTravelBothWaysAtEveryVersion(t *testing.T) {
	identity := newIdentity(t)
	for version := queue.VersionOldest; version <= 18; version++ {
		versions := queue.VersionRange{Min: 6, Max: version}
		c, s, err1, err2 := connect(t, ClientConfig{Fingerprint: identity.Fingerprint(), Versions: queue.VersionRange{Min: 6, Max: 18}},
			ServerConfig{Identity: identity, Versions: versions})
		if err1 != nil || err2 != nil {
			t.Fatal(version, err1, err2)
		}
		if c.Version() != version || s.Version() != version {
			t.Fatalf("agreed on %d and %d, expected %d", c.Version(), s.Version(), version)
		}
		if !bytes.Equal(c.SessionID(), s.SessionID()) || len(c.SessionID()) != 32 {
			t.Fatalf("session IDs of %d and %d bytes differ", len(c.SessionID()), len(s.SessionID()))
		}
		if encrypted := c.MaxPayload() == MaxEncryptedPayload; encrypted != (version >= 11) {
			t.Fatalf("version %d: blocks encrypted: %v", version, encrypted)
		}
		if hasKeys := c.PeerSessionKey() != nil && s.PeerSessionKey() != nil; hasKeys != (version >= 7) {
			t.Fatalf("version %d: session keys: %v", version, hasKeys)
		}
		for _, payload := range [][]byte{[]byte("hello"), bytes.Repeat([]byte{7}, c.MaxPayload()), nil} {
			for _, way := range [][2]*Conn{{c, s}, {s, c}} {
				if err := way[0].WriteBlock(payload); err != nil {
					t.Fatal(err)
				}
				if got, err := way[1].ReadBlock(); err != nil || !bytes.Equal(got, payload) {
					t.Fatalf("version %d: %d bytes became %d: %v", version, len(payload), len(got), err)
				}
			}
		}
		if err := c.WriteBlock(make([]byte, c.MaxPayload()+1)); !errors.Is(err, ErrTooLarge) {
			t.Fatal("sent a payload that is too large:", err)
		}
	}
}

func TestWrongFingerprintIsRefused(t *testing.T) {
	identity := newIdentity(t)
	_, _, clientErr, serverErr := connect(t, ClientConfig{Fingerprint: [32]byte{1}}, ServerConfig{Identity: identity})
	if !errors.Is(clientErr, ErrIdentity) || serverErr == nil {
		t.Fatal(clientErr, serverErr)
	}
}

func TestChainOfAnotherAuthorityIsRefused(t *testing.T) {
	// The attacker appends the true authority's certificate to a leaf that it did not sign.
	honest, attacker := newIdentity(t), newIdentity(t)
	chain := [][]byte{attacker.tls.Certificate[0], honest.tls.Certificate[1]}
	forged := &Identity{tls: tls.Certificate{Certificate: chain, PrivateKey: attacker.leaf}, leaf: attacker.leaf}
	_, _, clientErr, _ := connect(t, ClientConfig{Fingerprint: honest.Fingerprint()}, ServerConfig{Identity: forged})
	if !errors.Is(clientErr, ErrCertificate) {
		t.Fatal(clientErr)
	}
}

func TestServerRefusesClientOfAnotherRelay(t *testing.T) {
	identity := newIdentity(t)
	for name, hello := range map[string]clientHello{
		"other relay": {version: 9, keyHash: [32]byte{1}},
		"too old":     {version: 5, keyHash: identity.Fingerprint()},
		"too new":     {version: 10, keyHash: identity.Fingerprint()},
	} {
		serverErr := scriptedClient(t, identity, []string{"smp/1"}, func(conn *tls.Conn, _ serverHello) {
			_, _ = conn.Write(appendHelloBlock(hello.append(nil)))
			if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("%s: the relay answered", name)
			}
		})
		if want := map[string]error{"other relay": ErrIdentity}[name]; serverErr == nil || want != nil && !errors.Is(serverErr, want) {
			t.Errorf("%s: %v", name, serverErr)
		}
	}
}

func TestClientWithoutALPNGetsVersion6(t *testing.T) {
	identity := newIdentity(t)
	serverErr := scriptedClient(t, identity, nil, func(conn *tls.Conn, hello serverHello) {
		if hello.versions != (queue.VersionRange{Min: 6, Max: 6}) || hello.key != nil {
			t.Errorf("announced %v", hello.versions)
		}
		_, _ = conn.Write(appendHelloBlock(clientHello{version: 6, keyHash: identity.Fingerprint()}.append(nil)))
		_, _ = conn.Read(make([]byte, 1))
	})
	if serverErr != nil {
		t.Fatal(serverErr)
	}
}

func TestUnknownALPNIsRefused(t *testing.T) {
	identity := newIdentity(t)
	client, server := net.Pipe()
	go func() { _, _ = Server(context.Background(), server, ServerConfig{Identity: identity}) }()
	err := tls.Client(client, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"xyz"}}).Handshake()
	if err == nil || !strings.Contains(err.Error(), "no application protocol") {
		t.Fatal(err)
	}
}

// scriptedClient makes a TLS connection to a relay and hands it over after the relay's hello; it returns the relay's result.
func scriptedClient(t *testing.T, identity *Identity, alpn []string, script func(*tls.Conn, serverHello)) error {
	t.Helper()
	client, server := net.Pipe()
	result := make(chan error, 1)
	go func() {
		conn, err := Server(context.Background(), server, ServerConfig{Identity: identity, Versions: queue.VersionRange{Min: 6, Max: 9}})
		if err == nil {
			conn.Close()
		}
		result <- err
	}()
	conn := tls.Client(client, &tls.Config{InsecureSkipVerify: true, NextProtos: alpn})
	block := make([]byte, BlockSize)
	if _, err := io.ReadFull(conn, block); err != nil {
		t.Fatal(err)
	}
	hello, err := decodeServerHello(block)
	if err != nil {
		t.Fatal(err)
	}
	script(conn, hello)
	conn.Close()
	return <-result
}

// With a client certificate the Finished message comes behind two others and the flight has more bytes.
func TestSessionIDWithClientCertificate(t *testing.T) {
	identity, service := newIdentity(t), newIdentity(t)
	client, server := net.Pipe()
	recorder, secret := &flightRecorder{Conn: server}, &trafficSecret{}
	config := serverTLSConfig(identity, secret)
	config.ClientAuth = tls.RequireAnyClientCert
	type outcome struct {
		id  []byte
		err error
	}
	serverSide := make(chan outcome, 1)
	go func() {
		id, err := finishTLS(context.Background(), tls.Server(recorder, config), recorder, secret)
		serverSide <- outcome{id, err}
	}()
	clientRecorder, clientSecret := &flightRecorder{Conn: client, client: true}, &trafficSecret{}
	conn := tls.Client(clientRecorder, &tls.Config{InsecureSkipVerify: true, KeyLogWriter: clientSecret, Certificates: []tls.Certificate{service.tls}})
	id, err := finishTLS(context.Background(), conn, clientRecorder, clientSecret)
	if err != nil {
		t.Fatal(err)
	}
	if s := <-serverSide; s.err != nil || !bytes.Equal(s.id, id) || len(id) < 32 {
		t.Fatalf("%x and %x: %v", id, s.id, s.err)
	}
}

func TestBrokenBlockLeavesTheNextReadable(t *testing.T) {
	identity := newIdentity(t)
	versions := queue.VersionRange{Min: 6, Max: 11}
	c, s, err1, err2 := connect(t, ClientConfig{Fingerprint: identity.Fingerprint(), Versions: versions}, ServerConfig{Identity: identity, Versions: versions})
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	block := c.write.seal(nil, []byte("one"))
	block[100] ^= 1
	if _, err := c.tls.Write(block); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteBlock([]byte("two")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadBlock(); !errors.Is(err, ErrBlock) {
		t.Fatal(err)
	}
	if got, err := s.ReadBlock(); err != nil || string(got) != "two" {
		t.Fatalf("%q %v", got, err)
	}
	if _, err := c.tls.Write(block[:50]); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := s.ReadBlock(); !errors.Is(err, io.EOF) {
		t.Fatal("a cut block is the end of the connection:", err)
	}
}

func TestHandshakeEndsWithItsContextAndItsTimeLimit(t *testing.T) {
	client, _ := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Client(ctx, client, ClientConfig{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	server, _ := net.Pipe()
	if _, err := Server(context.Background(), server, ServerConfig{Identity: newIdentity(t), HandshakeTimeout: time.Nanosecond}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestIdentityMustBeWhole(t *testing.T) {
	good := newIdentity(t)
	other := newIdentity(t)
	for name, certificate := range map[string]tls.Certificate{
		"one certificate": {Certificate: good.tls.Certificate[:1], PrivateKey: good.leaf},
		"five":            {Certificate: bytes2(good.tls.Certificate, 5), PrivateKey: good.leaf},
		"other key":       {Certificate: good.tls.Certificate, PrivateKey: other.leaf},
		"no key":          {Certificate: good.tls.Certificate},
		"other authority": {Certificate: [][]byte{good.tls.Certificate[0], other.tls.Certificate[1]}, PrivateKey: good.leaf},
	} {
		if _, err := NewIdentity(certificate); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func bytes2(chain [][]byte, n int) (out [][]byte) {
	for len(out) < n {
		out = append(out, chain[len(out)%len(chain)])
	}
	return out
}

// Chains of three and four certificates: the identity is the second one, the trust anchor the last.
func TestLongChains(t *testing.T) {
	now := time.Now()
	operator, err := NewAuthority(now)
	if err != nil {
		t.Fatal(err)
	}
	chain := [][]byte{operator.Certificate}
	signer := operator
	for depth := 3; depth <= 4; depth++ {
		public, key, _ := ed25519.GenerateKey(rand.Reader)
		parent, _ := x509.ParseCertificate(signer.Certificate)
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(depth)), Subject: pkix.Name{CommonName: "middle"}, NotBefore: now.Add(-time.Hour),
			NotAfter: now.Add(time.Hour), BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer.Key)
		if err != nil {
			t.Fatal(err)
		}
		signer = &Authority{Certificate: der, Key: key}
		chain = append([][]byte{der}, chain...)
		leaf, err := signer.Issue("127.0.0.1", now)
		if err != nil {
			t.Fatal(err)
		}
		full := append([][]byte{leaf.tls.Certificate[0]}, chain...)
		identity, err := NewIdentity(tls.Certificate{Certificate: full, PrivateKey: leaf.leaf})
		if err != nil {
			t.Fatal(depth, err)
		}
		if _, _, err1, err2 := connect(t, ClientConfig{Fingerprint: identity.Fingerprint()}, ServerConfig{Identity: identity}); err1 != nil || err2 != nil {
			t.Fatal(depth, err1, err2)
		}
	}
}
