package transport

import (
	"crypto/ecdh"
	"crypto/sha256"
	"fmt"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// serverHello is the relay's first block: versions, session ID and, if its newest version is 7 or later and the client
// used ALPN, its certificates and signed session key.
//
//	vrange · str8 session ID · [list8 of str16 certificate, leaf first · str16 signed key object]
type serverHello struct {
	versions  queue.VersionRange
	sessionID []byte
	chain     [][]byte // DER, leaf first; nil without key
	key       []byte   // signed key object, nil if absent
}

func (h serverHello) append(dst []byte) []byte {
	dst = h.versions.Append(dst)
	dst = wire.AppendStr8(dst, h.sessionID)
	if h.key == nil {
		return dst
	}
	dst = append(dst, byte(len(h.chain)))
	for _, c := range h.chain {
		dst = wire.AppendStr16(dst, c)
	}
	return wire.AppendStr16(dst, h.key)
}

// decodeServerHello reads a hello block. Bytes behind the known fields are room for extensions.
func decodeServerHello(block []byte) (serverHello, error) {
	body, err := wire.Unpad(block)
	if err != nil {
		return serverHello{}, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	r := wire.NewReader(body)
	h := serverHello{versions: queue.ReadVersionRange(r), sessionID: r.Str8()}
	if h.versions.Max >= queue.VersionAuthenticators && r.Len() > 0 {
		count := int(r.U8())
		if count == 0 {
			r.Fail("no certificates")
		}
		for range count {
			h.chain = append(h.chain, r.Str16())
		}
		h.key = r.Str16()
	}
	if r.Err() != nil {
		return serverHello{}, fmt.Errorf("%w: %w", ErrHandshake, r.Err())
	}
	return h, nil
}

// clientHello is the client's answer: the version it chose, the relay identity it expects, from version 7 on its
// session key, from 14 on whether it is a proxy, from 16 on whether it is a service (never, here).
//
//	u16 version · str8 fingerprint · [str8 X25519 SPKI, absent without a mark] · [bool proxy] · [opt service]
type clientHello struct {
	version queue.Version
	keyHash [sha256.Size]byte
	key     *ecdh.PublicKey // nil if absent
	proxy   bool
}

func (h clientHello) append(dst []byte) []byte {
	dst = wire.AppendU16(dst, uint16(h.version))
	dst = wire.AppendStr8(dst, h.keyHash[:])
	if h.key != nil {
		dst = keys.FromX25519(h.key).Append(dst)
	}
	if h.version >= queue.VersionProxyFlag {
		dst = wire.AppendBool(dst, h.proxy)
	}
	if h.version >= queue.VersionServices {
		dst = wire.AppendAbsent(dst)
	}
	return dst
}

// decodeClientHello reads a hello block. A service part and all later bytes are ignored.
func decodeClientHello(block []byte) (clientHello, error) {
	body, err := wire.Unpad(block)
	if err != nil {
		return clientHello{}, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	r := wire.NewReader(body)
	h := clientHello{version: queue.Version(r.U16())}
	if hash := r.Str8(); r.Err() == nil && len(hash) != len(h.keyHash) {
		r.Fail("fingerprint length")
	} else {
		copy(h.keyHash[:], hash)
	}
	if h.version >= queue.VersionAuthenticators {
		h.key = readUnmarkedKey(r)
	}
	if h.version >= queue.VersionProxyFlag {
		h.proxy = r.Bool()
	}
	if r.Err() != nil {
		return clientHello{}, fmt.Errorf("%w: %w", ErrHandshake, r.Err())
	}
	return h, nil
}

// readUnmarkedKey reads a key whose absence has no mark: what is no key is left to be read as what follows.
func readUnmarkedKey(r *wire.Reader) *ecdh.PublicKey {
	ahead := *r
	key := keys.Read(&ahead, keys.X25519)
	if ahead.Err() != nil {
		return nil
	}
	public, err := key.X25519()
	if err != nil {
		return nil
	}
	*r = ahead
	return public
}

// appendHelloBlock pads a hello to one block; hellos are never encrypted below TLS.
func appendHelloBlock(body []byte) []byte {
	block, err := wire.AppendPadded(make([]byte, 0, BlockSize), body, BlockSize)
	if err != nil {
		panic(err) // four certificates that large are refused when the identity is loaded
	}
	return block
}
