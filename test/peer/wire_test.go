package peer_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"testing"

	"golang.org/x/crypto/nacl/box"

	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/keys"
)

// The padded lengths (docs/protocol.md, "Sizes").
const (
	paddedFirst  = 15904
	paddedLater  = 16000
	bodyFirst    = 15992
	bodyLater    = 16043
	paddedInfo   = 14832
	paddedInfoPQ = 11106
	paddedText   = 15840
	paddedTextPQ = 13618
	ownAgent     = 7 // what message envelopes say, whatever was agreed
)

func u16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func i64(v int64) []byte  { return binary.BigEndian.AppendUint64(nil, uint64(v)) }
func str8(b []byte) []byte {
	if len(b) > 255 {
		panic("too long")
	}
	return append([]byte{byte(len(b))}, b...)
}
func str16(b []byte) []byte { return append(u16(uint16(len(b))), b...) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func pad(t testing.TB, m []byte, n int) []byte {
	t.Helper()
	if len(m)+2 > n {
		t.Fatalf("%d bytes do not fit %d", len(m), n)
	}
	return join(str16(m), bytes.Repeat([]byte("#"), n-2-len(m)))
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func newDH() *ecdh.PrivateKey {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

// shared is the key of NaCl boxes between two X25519 keys.
func shared(t testing.TB, own *ecdh.PrivateKey, other keys.Public) *[32]byte {
	t.Helper()
	k := new([32]byte)
	box.Precompute(k, (*[32]byte)(other.Raw()), (*[32]byte)(own.Bytes()))
	return k
}

// envelopes

func confirmation(agent uint16, params, sealed []byte) []byte {
	if params == nil {
		return join(u16(agent), []byte("C0"), sealed)
	}
	return join(u16(agent), []byte("C1"), params, sealed)
}

func message(agent uint16, sealed []byte) []byte { return join(u16(agent), []byte("M"), sealed) }

func invitation(agent uint16, text string, info []byte) []byte {
	return join(u16(agent), []byte("I"), str16([]byte(text)), info)
}

func ratchetKey(agent uint16, params []byte) []byte {
	return join(u16(agent), []byte("R"), params, []byte("R"))
}

// contents of numbered messages

var hello = []byte("H")

func text(body []byte) []byte { return join([]byte("M"), body) }

type receipt struct {
	number int64
	hash   []byte
	info   []byte
}

func receipts(list ...receipt) []byte {
	b := []byte{'V', byte(len(list))}
	for _, r := range list {
		b = join(b, i64(r.number), str8(r.hash), str16(r.info))
	}
	return b
}

func goOn(a link.Address) []byte { return join([]byte("QC"), a.Append(nil)) }

// cursor reads what our agent has written.
type cursor struct {
	t    testing.TB
	rest []byte
}

func (c *cursor) bytes(n int) []byte {
	c.t.Helper()
	if len(c.rest) < n {
		c.t.Fatalf("%d bytes where %d were expected", len(c.rest), n)
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cursor) u8() byte     { c.t.Helper(); return c.bytes(1)[0] }
func (c *cursor) u16() uint16  { c.t.Helper(); return binary.BigEndian.Uint16(c.bytes(2)) }
func (c *cursor) i64() int64   { c.t.Helper(); return int64(binary.BigEndian.Uint64(c.bytes(8))) }
func (c *cursor) str8() []byte { c.t.Helper(); return c.bytes(int(c.u8())) }
func (c *cursor) str16() []byte {
	c.t.Helper()
	return c.bytes(int(c.u16()))
}

func (c *cursor) opt() bool {
	c.t.Helper()
	switch b := c.u8(); b {
	case '0':
		return false
	case '1':
		return true
	default:
		c.t.Fatalf("%q is no presence byte", b)
		return false
	}
}

func unpad(t testing.TB, padded []byte) []byte {
	t.Helper()
	c := cursor{t, padded}
	m := c.str16()
	if len(bytes.Trim(c.rest, "#")) > 0 {
		t.Fatal("the filler is not #")
	}
	return m
}
