// Package transport carries SMP blocks between a client and a relay: TLS 1.3 with a pinned certificate authority, the
// session identifier taken from the client's Finished message, both hellos, and blocks of 16,384 bytes, encrypted once
// more from version 11 on (docs/protocol.md, "TLS and session ID", "Handshake", "Blocks").
//
// It knows nothing of transmissions and commands: the payload of a block is bytes. Those are package queue.
package transport

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/coterie-im/coterie/internal/scratch"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

const (
	// BlockSize is the number of bytes of every block on the wire.
	BlockSize = 16384
	// MaxPayload is the largest payload in bytes of a block that is not encrypted.
	MaxPayload = BlockSize - 2
	// MaxEncryptedPayload is the largest payload in bytes of an encrypted block.
	MaxEncryptedPayload = BlockSize - 18

	// DefaultHandshakeTimeout bounds TLS and both hellos together, unless the configuration says otherwise.
	DefaultHandshakeTimeout = 60 * time.Second

	protocolName = "smp/1"
)

// The errors of a handshake and of blocks; all of them mean that the connection is over.
var (
	// ErrIdentity: the relay's certificate is not the one that its address names, or the client expected another relay.
	ErrIdentity = errors.New("relay identity does not match its address")
	// ErrCertificate: the chain or the signature of the session key does not verify.
	ErrCertificate = errors.New("relay certificate not valid")
	// ErrEd448: the relay has an Ed448 certificate, which TLS of the Go standard library does not support.
	ErrEd448 = errors.New("relay certificate uses Ed448, which is not supported: the relay needs an Ed25519 certificate")
	// ErrVersion: the version ranges of the two sides do not overlap.
	ErrVersion = errors.New("no common protocol version")
	// ErrSession: the two sides see different TLS sessions, so somebody is between them.
	ErrSession = errors.New("session identifier does not match")
	// ErrHandshake: a hello that does not parse.
	ErrHandshake = errors.New("malformed hello")
	// ErrBlock: a block that does not decrypt or whose length field is wrong.
	ErrBlock = errors.New("malformed block")
	// ErrTooLarge: a payload that does not fit a block.
	ErrTooLarge = errors.New("payload does not fit a block")
)

// Conn is one established SMP connection, at either end. One goroutine may read while another writes; Close may be
// called by any.
type Conn struct {
	tls       *tls.Conn
	version   queue.Version
	sessionID []byte
	own       *ecdh.PrivateKey // own session key, nil below version 7 or without ALPN
	peer      *ecdh.PublicKey  // the other side's session key, nil when it sent none

	first [1]byte // owned by the reading goroutine: first byte of the next block
	read  *chain  // owned by the reading goroutine; nil: blocks are not encrypted
	write *chain  // owned by the writing goroutine
}

// Version returns the agreed version.
func (c *Conn) Version() queue.Version { return c.version }

// SessionID returns the session identifier, the body of the client's TLS Finished message: 32 or 48 bytes.
func (c *Conn) SessionID() []byte { return c.sessionID }

// SessionKey returns the own X25519 session key, or nil if the connection has none.
func (c *Conn) SessionKey() *ecdh.PrivateKey { return c.own }

// PeerSessionKey returns the other side's X25519 session key, or nil if it sent none.
func (c *Conn) PeerSessionKey() *ecdh.PublicKey { return c.peer }

// RemoteAddr returns the network address of the other side.
func (c *Conn) RemoteAddr() net.Addr { return c.tls.RemoteAddr() }

// SetReadDeadline sets the time after which ReadBlock fails; the zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.tls.SetReadDeadline(t) }

// SetWriteDeadline sets the time after which WriteBlock fails. After a write failed for time the connection is over.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.tls.SetWriteDeadline(t) }

// Close ends the connection; pending reads and writes fail.
func (c *Conn) Close() error { return c.tls.Close() }

// MaxPayload returns the largest payload in bytes that fits a block of this connection.
func (c *Conn) MaxPayload() int {
	if c.write != nil {
		return MaxEncryptedPayload
	}
	return MaxPayload
}

// ReadBlock returns the payload of the next block, which the caller owns. io.EOF at the end of the connection, also
// when it ends inside a block. ErrBlock leaves the connection usable: the next block can be read.
func (c *Conn) ReadBlock() ([]byte, error) {
	// Waiting for a block costs one byte, not a block: most connections wait most of the time.
	if err := readBlock(c.tls, c.first[:]); err != nil {
		return nil, err
	}
	b := scratch.Get()
	defer scratch.Put(b)
	block := (*b)[:BlockSize]
	block[0] = c.first[0]
	if err := readBlock(c.tls, block[1:]); err != nil {
		return nil, err
	}
	if c.read != nil {
		opened := scratch.Get()
		defer scratch.Put(opened)
		var err error
		if block, err = c.read.open(*opened, block); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBlock, err)
		}
	}
	payload, err := wire.Unpad(block)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBlock, err)
	}
	return bytes.Clone(payload), nil // most are far smaller than a block
}

// WriteBlock sends one block. ErrTooLarge if payload is longer than MaxPayload; nothing is sent then.
func (c *Conn) WriteBlock(payload []byte) error {
	if len(payload) > c.MaxPayload() {
		return ErrTooLarge
	}
	block := scratch.Get()
	defer scratch.Put(block)
	if c.write != nil {
		*block = c.write.seal(*block, payload)
	} else {
		*block, _ = wire.AppendPadded(*block, payload, BlockSize)
	}
	_, err := c.tls.Write(*block)
	return err
}

// readBlock fills block, a whole one or a part. io.EOF at the end of the connection, also within block.
func readBlock(r io.Reader, block []byte) error {
	if _, err := io.ReadFull(r, block); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return io.EOF
		}
		return err
	}
	return nil
}

// ClientConfig says how to connect to one relay.
type ClientConfig struct {
	// Fingerprint is the SHA-256 of the relay's identity certificate, from its address.
	Fingerprint [sha256.Size]byte
	// Versions are the versions to offer; the zero value means queue.Supported().
	Versions queue.VersionRange
	// HandshakeTimeout bounds TLS and hellos; 0 means DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
}

// Client makes an SMP connection over conn, which it owns from then on: on an error conn is closed.
func Client(ctx context.Context, conn net.Conn, config ClientConfig) (*Conn, error) {
	c, err := withTimeout(ctx, conn, config.HandshakeTimeout, func(ctx context.Context) (*Conn, error) {
		return clientHandshake(ctx, conn, config)
	})
	if err != nil {
		return nil, fmt.Errorf("connect to relay: %w", err)
	}
	return c, nil
}

func clientHandshake(ctx context.Context, conn net.Conn, config ClientConfig) (*Conn, error) {
	tlsConn, sessionID, err := clientTLS(ctx, conn, config.Fingerprint)
	if err != nil {
		return nil, err
	}
	offered := config.Versions
	if offered == (queue.VersionRange{}) {
		offered = queue.Supported()
	}
	block := make([]byte, BlockSize)
	if err := readBlock(tlsConn, block); err != nil {
		return nil, err
	}
	hello, err := decodeServerHello(block)
	if err != nil {
		return nil, err
	}
	if string(hello.sessionID) != string(sessionID) {
		return nil, ErrSession
	}
	version, ok := offered.Negotiate(hello.versions)
	if !ok {
		return nil, ErrVersion
	}
	c := &Conn{tls: tlsConn, version: version, sessionID: sessionID}
	reply := clientHello{version: version, keyHash: config.Fingerprint}
	if hello.key != nil {
		chain, err := parseChain(hello.chain)
		if err != nil {
			return nil, err
		}
		if chain.fingerprint() != config.Fingerprint {
			return nil, ErrIdentity
		}
		leaf := tlsConn.ConnectionState().PeerCertificates[0]
		if c.peer, err = openSignedKey(hello.key, leaf.PublicKey); err != nil {
			return nil, err
		}
	}
	if c.peer != nil && version >= queue.VersionAuthenticators {
		if c.own, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return nil, err
		}
		reply.key = c.own.PublicKey()
	}
	if _, err := tlsConn.Write(appendHelloBlock(reply.append(nil))); err != nil {
		return nil, err
	}
	return c, c.startChains(true)
}

// ServerConfig says how to accept connections.
type ServerConfig struct {
	// Identity is the relay's certificate chain with the key of its leaf.
	Identity *Identity
	// Versions are the versions to announce; the zero value means queue.Supported().
	Versions queue.VersionRange
	// HandshakeTimeout bounds TLS and hellos; 0 means DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
}

// Server accepts an SMP connection over conn, which it owns from then on: on an error conn is closed. The client is
// told nothing about why.
func Server(ctx context.Context, conn net.Conn, config ServerConfig) (*Conn, error) {
	c, err := withTimeout(ctx, conn, config.HandshakeTimeout, func(ctx context.Context) (*Conn, error) {
		return serverHandshake(ctx, conn, config)
	})
	if err != nil {
		return nil, fmt.Errorf("accept connection: %w", err)
	}
	return c, nil
}

func serverHandshake(ctx context.Context, conn net.Conn, config ServerConfig) (*Conn, error) {
	tlsConn, sessionID, err := serverTLS(ctx, conn, config.Identity)
	if err != nil {
		return nil, err
	}
	announced := config.Versions
	if announced == (queue.VersionRange{}) {
		announced = queue.Supported()
	}
	c := &Conn{tls: tlsConn, sessionID: sessionID}
	hello := serverHello{versions: announced, sessionID: sessionID}
	if tlsConn.ConnectionState().NegotiatedProtocol == "" {
		// Without ALPN the client is of the time before version 7 and gets no session key.
		if announced.Min > queue.VersionOldest {
			return nil, ErrVersion
		}
		announced = queue.VersionRange{Min: queue.VersionOldest, Max: queue.VersionOldest}
		hello.versions = announced
	} else if announced.Max >= queue.VersionAuthenticators {
		if c.own, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return nil, err
		}
		hello.chain = config.Identity.chain()
		hello.key = config.Identity.signKey(c.own.PublicKey())
	}
	if _, err := tlsConn.Write(appendHelloBlock(hello.append(nil))); err != nil {
		return nil, err
	}
	block := make([]byte, BlockSize)
	if err := readBlock(tlsConn, block); err != nil {
		return nil, err
	}
	reply, err := decodeClientHello(block)
	if err != nil {
		return nil, err
	}
	if reply.keyHash != config.Identity.Fingerprint() {
		return nil, ErrIdentity
	}
	if !announced.Contains(reply.version) {
		return nil, ErrVersion
	}
	c.version = reply.version
	if c.own != nil && c.version >= queue.VersionAuthenticators {
		c.peer = reply.key
	}
	if reply.proxy {
		return c, nil
	}
	return c, c.startChains(false)
}

// startChains begins block encryption if the version has it and both sides sent a session key.
func (c *Conn) startChains(client bool) error {
	if c.version < queue.VersionBlockEncrypted || c.own == nil || c.peer == nil {
		return nil
	}
	toClient, toServer, err := newChains(c.own, c.peer, c.sessionID)
	if err != nil {
		return err
	}
	c.read, c.write = toServer, toClient
	if client {
		c.read, c.write = toClient, toServer
	}
	return nil
}

// withTimeout runs a handshake that is interrupted by the context and by the time limit, and closes conn if it fails.
func withTimeout(ctx context.Context, conn net.Conn, limit time.Duration, handshake func(context.Context) (*Conn, error)) (*Conn, error) {
	if limit == 0 {
		limit = DefaultHandshakeTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, err := handshake(ctx)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	return c, nil
}
