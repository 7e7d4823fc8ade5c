package transport

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"
)

// The session identifier of SMP is the verify_data of the client's Finished message. crypto/tls exposes it for TLS 1.2
// only, so it is read from the wire: the client's flight is recorded, the secret that protects it comes from the key
// log, and the Finished message is the last one in it. Both are dropped as soon as the handshake is over.

var errNoFinished = errors.New("no Finished message in the client's flight")

const (
	maxFlight = 64 << 10 // a client flight with the largest certificate chain that TLS libraries send is far below

	recordHeader    = 5
	recordAlert     = 21
	recordProtected = 23
	innerHandshake  = 22
	messageFinished = 20
)

// flightRecorder is a net.Conn that keeps what the client sends until the handshake is over.
type flightRecorder struct {
	net.Conn
	client bool // whether this end is the client, whose writes are the flight

	mu     sync.Mutex
	flight []byte // guarded by mu; nil once stopped
	over   bool   // guarded by mu
}

func (r *flightRecorder) record(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || len(b) == 0 {
		return
	}
	r.flight = append(r.flight, b[:min(len(b), maxFlight-len(r.flight))]...)
}

// stop ends recording and returns what was recorded.
func (r *flightRecorder) stop() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	flight := r.flight
	r.flight, r.over = nil, true
	return flight
}

// Read implements net.Conn.
func (r *flightRecorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	if !r.client {
		r.record(b[:n])
	}
	return n, err
}

// Write implements net.Conn.
func (r *flightRecorder) Write(b []byte) (int, error) {
	if r.client {
		r.record(b)
	}
	return r.Conn.Write(b)
}

// trafficSecret is a TLS key log that keeps only the secret of the client's handshake flight.
type trafficSecret struct {
	mu     sync.Mutex
	secret []byte // guarded by mu
}

// Write implements io.Writer for tls.Config.KeyLogWriter: one line is label, client random and secret in hex.
func (s *trafficSecret) Write(line []byte) (int, error) {
	fields := bytes.Fields(line)
	if len(fields) == 3 && string(fields[0]) == "CLIENT_HANDSHAKE_TRAFFIC_SECRET" {
		secret := make([]byte, hex.DecodedLen(len(fields[2])))
		if _, err := hex.Decode(secret, fields[2]); err != nil {
			return 0, err
		}
		s.mu.Lock()
		s.secret = secret
		s.mu.Unlock()
	}
	return len(line), nil
}

func (s *trafficSecret) take() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	secret := s.secret
	s.secret = nil
	return secret
}

// clientFinished returns the verify_data of the Finished message in the recorded flight of a TLS 1.3 client, which is
// as long as the hash of the cipher suite: 32 or 48 bytes.
func clientFinished(flight, secret []byte, suite uint16) ([]byte, error) {
	aead, iv, size, err := handshakeProtection(secret, suite)
	if err != nil {
		return nil, err
	}
	var messages []byte
	for sequence := uint64(0); len(flight) >= recordHeader; {
		header := flight[:recordHeader]
		end := recordHeader + int(binary.BigEndian.Uint16(header[3:]))
		if len(flight) < end {
			break
		}
		record := flight[recordHeader:end]
		flight = flight[end:]
		switch header[0] {
		case recordAlert:
			return nil, errNoFinished
		case recordProtected:
			// A client that offered early data would protect it with other keys; SMP never does.
		default:
			continue // ClientHello and ChangeCipherSpec travel in the clear
		}
		nonce := bytes.Clone(iv)
		for i := range 8 {
			nonce[len(nonce)-1-i] ^= byte(sequence >> (8 * i))
		}
		sequence++
		inner, err := aead.Open(nil, nonce, record, header)
		if err != nil {
			return nil, fmt.Errorf("client's handshake flight: %w", err)
		}
		inner = bytes.TrimRight(inner, "\x00")
		if len(inner) == 0 || inner[len(inner)-1] != innerHandshake {
			return nil, errNoFinished
		}
		messages = append(messages, inner[:len(inner)-1]...)
		if finished, ok := findFinished(messages); ok {
			if len(finished) != size {
				return nil, errNoFinished
			}
			return finished, nil
		}
	}
	return nil, errNoFinished
}

// findFinished looks through complete handshake messages: one type byte, three length bytes, body.
func findFinished(messages []byte) ([]byte, bool) {
	for len(messages) >= 4 {
		size := 4 + (int(messages[1])<<16 | int(messages[2])<<8 | int(messages[3]))
		if len(messages) < size {
			return nil, false
		}
		if messages[0] == messageFinished {
			return messages[4:size], true
		}
		messages = messages[size:]
	}
	return nil, false
}

// handshakeProtection derives the key and IV of RFC 8446 section 7.3 and also returns the size of the suite's hash.
func handshakeProtection(secret []byte, suite uint16) (aead cipher.AEAD, iv []byte, hashSize int, err error) {
	h, keySize := crypto.SHA256, 32
	switch suite {
	case tls.TLS_CHACHA20_POLY1305_SHA256:
	case tls.TLS_AES_128_GCM_SHA256:
		keySize = 16
	case tls.TLS_AES_256_GCM_SHA384:
		h = crypto.SHA384
	default:
		return nil, nil, 0, fmt.Errorf("unexpected cipher suite %s", tls.CipherSuiteName(suite))
	}
	if len(secret) != h.Size() {
		return nil, nil, 0, errors.New("no secret for the client's handshake flight")
	}
	key, err := expandLabel(h.New, secret, "key", keySize)
	if err != nil {
		return nil, nil, 0, err
	}
	defer clear(key)
	if iv, err = expandLabel(h.New, secret, "iv", 12); err != nil {
		return nil, nil, 0, err
	}
	if suite == tls.TLS_CHACHA20_POLY1305_SHA256 {
		aead, err = chacha20poly1305.New(key)
		return aead, iv, h.Size(), err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, 0, err
	}
	aead, err = cipher.NewGCM(block)
	return aead, iv, h.Size(), err
}

// expandLabel is HKDF-Expand-Label of RFC 8446 section 7.1 with an empty context.
func expandLabel(h func() hash.Hash, secret []byte, label string, size int) ([]byte, error) {
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(append(info, "tls13 "...), label...)
	return hkdf.Expand(h, secret, string(append(info, 0)), size)
}
