package relay_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/ed448"
	"golang.org/x/crypto/nacl/box"

	"github.com/coterie-im/coterie/queue/server"
	"github.com/coterie-im/coterie/queue/store/sqlite"
	"github.com/coterie-im/coterie/queue/transport"
)

// patience bounds how long a test waits for something that must happen.
const patience = 30 * time.Second

const blockSize = 16384

// relay is a running relay.
type relay struct {
	*server.Server
	address     string
	fingerprint [32]byte
}

func startRelay(t testing.TB, change func(*server.Config)) *relay {
	t.Helper()
	return startRelayAt(t, filepath.Join(t.TempDir(), "relay.db"), change)
}

// startRelayAt runs a relay until the end of the test, which also closes its store.
func startRelayAt(t testing.TB, path string, change func(*server.Config)) *relay {
	t.Helper()
	storage, err := sqlite.Open(path, sqlite.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, storage.Close()) })
	authority, err := transport.NewAuthority(time.Now())
	must(t, err)
	identity, err := authority.Issue("localhost", time.Now())
	must(t, err)
	config := server.Config{Store: storage, Identity: identity, EventDelay: time.Millisecond, NotifyDelay: time.Millisecond}
	if change != nil {
		change(&config)
	}
	s, err := server.New(config)
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		must(t, s.Close())
		<-served
	})
	return &relay{Server: s, address: l.Addr().String(), fingerprint: identity.Fingerprint()}
}

// client is one connection that writes what it is told. Its fields are what the hello of the relay said.
type client struct {
	t       testing.TB
	conn    net.Conn
	version uint16 // chosen by the client

	min, max   uint16
	session    []byte
	relayKey   *[32]byte // nil if the relay sent none
	own        *[32]byte // private session key; nil if the client sent none
	reader     io.Reader
	unread     []transmission
	blockSizes []int // numbers of transmissions in the blocks that were read
	corrIDs    int
}

// hello says how a client greets.
type hello struct {
	version uint16
	alpn    []string // nil: smp/1; empty: none
	keyless bool     // no session key, although the version has one
	curves  []tls.CurveID
	sni     string
	tail    []byte // behind the known fields
}

// dial makes the TLS connection.
func (r *relay) dial(h hello) (*tls.Conn, error) {
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		return nil, err
	}
	alpn := h.alpn
	if alpn == nil {
		alpn = []string{"smp/1"}
	}
	c := tls.Client(conn, &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         alpn,
		CurvePreferences:   h.curves,
		ServerName:         h.sni,
		InsecureSkipVerify: true, // the fingerprint is compared in the hello
	})
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if err := c.Handshake(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// connect makes a connection with both hellos, and checks every byte of that of the relay.
func (r *relay) connect(t testing.TB, h hello) *client {
	t.Helper()
	conn, err := r.dial(h)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	c := &client{t: t, conn: conn, reader: conn, version: h.version}
	c.readHello(r.fingerprint, conn.ConnectionState().PeerCertificates[0].PublicKey.(ed25519.PublicKey))
	c.writeHello(r.fingerprint, h)
	return c
}

func (r *relay) at(t testing.TB, version uint16) *client {
	t.Helper()
	return r.connect(t, hello{version: version})
}

func (c *client) readHello(fingerprint [32]byte, leaf ed25519.PublicKey) {
	c.t.Helper()
	b := cursor{c.t, unpad(c.t, c.readBlock())}
	c.min, c.max = b.u16(), b.u16()
	c.session = b.str()
	if c.max < 7 || len(b.rest) == 0 {
		b.end()
		return
	}
	if n := b.bytes(1)[0]; n != 2 {
		c.t.Fatalf("the chain has %d certificates", n)
	}
	b.bytes(int(b.u16()))
	if sha256.Sum256(b.bytes(int(b.u16()))) != fingerprint {
		c.t.Fatal("the second certificate has another fingerprint")
	}
	object := b.bytes(int(b.u16()))
	b.end()
	const begin, between = "3078302c302a300506032b656e032100", "300506032b6570034100"
	if len(object) != 122 || hex.EncodeToString(object[:16]) != begin || hex.EncodeToString(object[48:58]) != between {
		c.t.Fatalf("signed key object %x", object)
	}
	if !ed25519.Verify(leaf, object[2:48], object[58:]) {
		c.t.Fatal("the session key is not signed with the key of the TLS certificate")
	}
	c.relayKey = (*[32]byte)(object[16:48])
}

func (c *client) writeHello(fingerprint [32]byte, h hello) {
	c.t.Helper()
	body := binary.BigEndian.AppendUint16(nil, h.version)
	body = append(append(body, 32), fingerprint[:]...)
	if h.version >= 7 && !h.keyless {
		public, private, err := box.GenerateKey(rand.Reader)
		must(c.t, err)
		c.own = private
		body = append(body, spkiX25519(public[:])...)
	}
	_, err := c.conn.Write(pad(append(body, h.tail...), blockSize))
	must(c.t, err)
}

func (c *client) readBlock() []byte {
	c.t.Helper()
	block, err := c.tryReadBlock()
	must(c.t, err)
	return block
}

func (c *client) tryReadBlock() ([]byte, error) {
	block := make([]byte, blockSize)
	_, err := io.ReadFull(c.reader, block)
	return block, err
}

// transmission is what the relay says.
type transmission struct {
	corrID, entity, body string
}

func (t transmission) String() string { return fmt.Sprintf("%x %x %.40q", t.corrID, t.entity, t.body) }

// read returns the next transmission.
func (c *client) read() transmission {
	c.t.Helper()
	if len(c.unread) == 0 {
		c.unread = c.split(c.readBlock())
	}
	first := c.unread[0]
	c.unread = c.unread[1:]
	return first
}

func (c *client) split(block []byte) (all []transmission) {
	c.t.Helper()
	b := cursor{c.t, unpad(c.t, block)}
	n := int(b.bytes(1)[0])
	if n == 0 {
		c.t.Fatal("a block without transmissions")
	}
	c.blockSizes = append(c.blockSizes, n)
	for range n {
		one := cursor{c.t, b.bytes(int(b.u16()))}
		if authorization := one.str(); len(authorization) != 0 {
			c.t.Fatal("the relay authorizes itself")
		}
		if c.version < 7 && !bytes.Equal(one.str(), c.session) {
			c.t.Fatal("the relay has another session ID")
		}
		all = append(all, transmission{string(one.str()), string(one.str()), string(one.rest)})
	}
	b.end()
	return all
}

// authorizer makes the authorization of what it covers, nil for none.
type authorizer func(c *client, corrID string, authorized []byte) []byte

func unsigned(*client, string, []byte) []byte { return nil }

// encode returns a transmission.
func (c *client) encode(sign authorizer, corrID, entity, body string) []byte {
	c.t.Helper()
	if len(c.session) == 0 {
		c.t.Fatal("no session ID")
	}
	rest := append([]byte(nil), str(corrID)...)
	rest = append(append(rest, str(entity)...), body...)
	withSession := append(str(string(c.session)), rest...)
	raw := str(string(sign(c, corrID, withSession)))
	if c.version < 7 {
		return append(raw, withSession...)
	}
	return append(raw, rest...)
}

// write sends transmissions in one block.
func (c *client) write(transmissions ...[]byte) {
	c.t.Helper()
	c.writePayload(batch(transmissions...))
}

func (c *client) writePayload(payload []byte) {
	c.t.Helper()
	_, err := c.conn.Write(pad(payload, blockSize))
	must(c.t, err)
}

func batch(transmissions ...[]byte) []byte {
	payload := []byte{byte(len(transmissions))}
	for _, raw := range transmissions {
		payload = append(binary.BigEndian.AppendUint16(payload, uint16(len(raw))), raw...)
	}
	return payload
}

// corrID returns a fresh correlation ID of 24 bytes.
func (c *client) corrID() string {
	c.corrIDs++
	return fmt.Sprintf("correlation%013d", c.corrIDs)
}

// do sends a command and returns the next transmission, which must answer it.
func (c *client) do(sign authorizer, entity, body string) string {
	c.t.Helper()
	return c.doAs(sign, c.corrID(), entity, body)
}

func (c *client) doAs(sign authorizer, corrID, entity, body string) string {
	c.t.Helper()
	c.write(c.encode(sign, corrID, entity, body))
	got := c.read()
	if got.corrID != corrID || got.entity != entity {
		c.t.Fatalf("answer to %.10q is %v, want it with IDs %x, %x", body, got, corrID, entity)
	}
	return got.body
}

func (c *client) want(want string, sign authorizer, entity, body string) {
	c.t.Helper()
	if got := c.do(sign, entity, body); got != want {
		c.t.Fatalf("answer to %.10q is %.40q, want %q", body, got, want)
	}
}

// event returns the body of the next transmission, which must be an event for an entity.
func (c *client) event(entity string) string {
	c.t.Helper()
	got := c.read()
	if got.corrID != "" || got.entity != entity {
		c.t.Fatalf("%v is no event for %x", got, entity)
	}
	return got.body
}

// quiet fails if the relay has sent something that was not expected.
func (c *client) quiet() {
	c.t.Helper()
	c.want("PONG", unsigned, "", "PING")
}

// queue is what its recipient knows of it.
type queue struct {
	recipient, sender string
	sign              authorizer
	secret            *[32]byte // precomputed, of delivery
}

// create makes a queue with a recipient key; mode is the letter after the password and, from version 9 on, what follows.
func (c *client) create(k key, subscribe string) queue {
	c.t.Helper()
	dh, private, err := box.GenerateKey(rand.Reader)
	must(c.t, err)
	body := "NEW " + k.public + string(spkiX25519(dh[:]))
	if c.version >= 9 {
		body += "0" + subscribe + "T"
	} else {
		body += subscribe
	}
	ids := c.do(k.sign, "", body)
	b := cursor{c.t, []byte(ids)}
	if string(b.bytes(4)) != "IDS " {
		c.t.Fatalf("%.40q", ids)
	}
	q := queue{recipient: string(b.str()), sender: string(b.str()), sign: k.sign}
	q.secret = agree(c.t, b.str(), private)
	if c.version >= 9 && string(b.bytes(1)) != "T" {
		c.t.Fatal("IDS of a messaging queue does not end with T")
	}
	b.end()
	if len(q.recipient) != 24 || len(q.sender) != 24 {
		c.t.Fatal("IDs have another size")
	}
	return q
}

// open returns message ID and content of a MSG, with the time in front.
func (q queue) open(t testing.TB, msg string) (id, content string) {
	t.Helper()
	b := cursor{t, []byte(msg)}
	if string(b.bytes(4)) != "MSG " {
		t.Fatalf("%.40q is no MSG", msg)
	}
	id = string(b.str())
	if len(id) != 24 || len(b.rest) != 16122 {
		t.Fatalf("ID of %d bytes, body of %d", len(id), len(b.rest))
	}
	padded, ok := box.OpenAfterPrecomputation(nil, b.rest, (*[24]byte)([]byte(id)), q.secret)
	if !ok {
		t.Fatal("the message does not open")
	}
	return id, string(unpad(t, padded))
}

// wantMessage checks flag and body of a message and returns its ID.
func (q queue) wantMessage(t testing.TB, msg, flag, body string) (id string) {
	t.Helper()
	id, content := q.open(t, msg)
	age := time.Now().Unix() - int64(binary.BigEndian.Uint64([]byte(content)))
	if age < 0 || age > 600 || content[8:] != flag+" "+body {
		t.Fatalf("content %.40q, %d seconds old", content, age)
	}
	return id
}

func ack(id string) string { return "ACK " + string(str(id)) }

// key authorizes commands.
type key struct {
	public string // with its length byte
	sign   authorizer
}

func newKey(t testing.TB, algorithm string) key {
	t.Helper()
	switch algorithm {
	case "Ed25519":
		public, private, err := ed25519.GenerateKey(rand.Reader)
		must(t, err)
		return key{string(spki("302a300506032b6570032100", public)), func(_ *client, _ string, m []byte) []byte {
			return ed25519.Sign(private, m)
		}}
	case "Ed448":
		public, private, err := ed448.GenerateKey(rand.Reader)
		must(t, err)
		return key{string(spki("3043300506032b6571033a00", public)), func(_ *client, _ string, m []byte) []byte {
			return ed448.Sign(private, m, "")
		}}
	case "X25519":
		public, private, err := box.GenerateKey(rand.Reader)
		must(t, err)
		return key{string(spkiX25519(public[:])), func(c *client, corrID string, m []byte) []byte {
			var nonce [24]byte
			copy(nonce[:], corrID)
			hash := sha512.Sum512(m)
			return box.Seal(nil, hash[:], &nonce, c.relayKey, private)
		}}
	default:
		t.Fatal(algorithm)
		return key{}
	}
}

// agree returns the key of boxes with the owner of an encoded key, without its length byte.
func agree(t testing.TB, encoded []byte, private *[32]byte) *[32]byte {
	t.Helper()
	raw, ok := bytes.CutPrefix(encoded, spki("302a300506032b656e032100", make([]byte, 32))[1:13])
	if !ok || len(raw) != 32 {
		t.Fatalf("key %x", encoded)
	}
	shared := new([32]byte)
	box.Precompute(shared, (*[32]byte)(raw), private)
	return shared
}

func spkiX25519(raw []byte) []byte { return spki("302a300506032b656e032100", raw) }

func spki(prefix string, raw []byte) []byte {
	der, err := hex.DecodeString(prefix)
	if err != nil {
		panic(err)
	}
	return str(string(append(der, raw...)))
}

// str puts a length byte in front.
func str(s string) []byte {
	if len(s) > 255 {
		panic("string is too long")
	}
	return append([]byte{byte(len(s))}, s...)
}

func pad(content []byte, size int) []byte {
	if len(content) > size-2 {
		panic("content is too long")
	}
	padded := append(binary.BigEndian.AppendUint16(nil, uint16(len(content))), content...)
	return append(padded, strings.Repeat("#", size-len(padded))...)
}

// unpad is strict: the relay must fill up with #.
func unpad(t testing.TB, padded []byte) []byte {
	t.Helper()
	b := cursor{t, padded}
	content := b.bytes(int(b.u16()))
	if strings.Trim(string(b.rest), "#") != "" {
		t.Fatal("the filler is not #")
	}
	return content
}

// cursor reads what the relay has written.
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

func (c *cursor) u16() uint16 { return binary.BigEndian.Uint16(c.bytes(2)) }
func (c *cursor) str() []byte { return c.bytes(int(c.bytes(1)[0])) }

func (c *cursor) end() {
	c.t.Helper()
	if len(c.rest) > 0 {
		c.t.Fatalf("%d bytes left over", len(c.rest))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// waitFor polls until f is true.
func waitFor(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !f(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain: " + what)
		}
	}
}
