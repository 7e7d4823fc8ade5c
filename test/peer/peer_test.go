package peer_test

import (
	"bytes"
	"cmp"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"testing"
	"time"

	"golang.org/x/crypto/nacl/box"

	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/agent/ratchet/sntrup761"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/client"
	"github.com/coterie-im/coterie/queue/transport"
)

// traits are what a peer can do.
type traits struct {
	agent   uint16         // highest agent version
	client  uint16         // highest client version
	e2e     uint16         // highest version of the ratchet
	unknown bool           // queues of unknown mode: the sender cannot secure them
	contact bool           // the queue is a contact address
	pq      bool           // wants a KEM: large headers, smaller bodies
	kemLink bool           // puts a KEM key into its link
	speaks  uint16         // agent version in message envelopes
	noModes bool           // the relay knows no modes of queues
	rises   bool           // says version 2 in parameters, and 3 in headers
	only    uint16         // lowest client version of the link, 1 by default
	hosts   []string       // of its queues instead of the relay's
	key     keys.Algorithm // authorizes it; Ed25519 by default
}

func modern() traits { return traits{agent: 7, client: 4, e2e: 3, speaks: 7} }

// ownQueue is a queue of the peer, as its recipient.
type ownQueue struct {
	client.Queue
	sender    queue.ID
	relay     *ecdh.PrivateKey
	relayKey  keys.Public
	dh        *ecdh.PrivateKey
	secret    *[32]byte   // of client envelopes, once known
	senderKey keys.Public // from the private header
	version   uint16      // client version
}

// theirQueue is a queue of our agent, as its sender.
type theirQueue struct {
	server  queue.Server
	id      queue.ID
	key     queue.PrivateKey // authorizes sending
	dh      *ecdh.PrivateKey
	secret  *[32]byte
	version uint16
	fast    bool
}

// peer is the other end of a connection.
type peer struct {
	traits
	t       testing.TB
	server  queue.Server
	session *client.Client
	waiting map[queue.ID][]queue.MSG

	own     *ownQueue
	out     *theirQueue
	keys    *ratchet.Keys // of an initiator
	ratchet *ratchet.State
	agreed  uint16 // agent version
	spoken  uint16 // highest in message envelopes

	sent     int64  // own number
	sentHash []byte // of the last message sent
	got      int64  // number of the last message received
	gotHash  []byte
}

func newPeer(s *scene, x traits) *peer {
	s.t.Helper()
	p := &peer{traits: x, t: s.t, server: s.relay, waiting: map[queue.ID][]queue.MSG{}}
	if x.hosts != nil {
		p.server.Hosts = x.hosts
	}
	p.session = client.Start(client.Config{Dial: client.Dial(s.relay, nil, transport.ClientConfig{}), EventLimit: 512})
	s.t.Cleanup(p.session.Close)
	return p
}

func (p *peer) options() ratchet.Options {
	o := ratchet.Options{MaxVersion: p.e2e}
	if p.rises {
		o.MaxVersion = 3
	}
	if p.pq {
		o.KEM, o.PQ = sntrup761.KEM{}, true
	}
	return o
}

// makeQueue makes the peer's queue.
func (p *peer) makeQueue() *ownQueue {
	p.t.Helper()
	key, err := queue.GenerateKey(keys.Ed25519, rand.Reader)
	must(p.t, err)
	q := &ownQueue{relay: newDH(), dh: newDH(), version: p.client}
	mode := queue.ModeMessaging
	if p.unknown || p.contact {
		mode = queue.ModeContact
	}
	ids, err := p.session.New(p.t.Context(), queue.NEW{
		RecipientKey: key.Public(), RecipientDH: keys.FromX25519(q.relay.PublicKey()), Subscribe: true, Mode: mode,
	}, key)
	must(p.t, err)
	q.Queue = client.Queue{ID: ids.RecipientID, Key: key}
	q.sender, q.relayKey = ids.SenderID, ids.ServerDH
	p.own = q
	return q
}

func (q *ownQueue) address(p *peer) link.Address {
	return link.Address{Server: p.server, SenderID: q.sender}
}

// link makes queue and keys and returns the link to them.
func (p *peer) link() link.Request {
	p.t.Helper()
	q := p.makeQueue()
	r := link.Request{
		Kind:  link.Invitation,
		Agent: queue.VersionRange{Min: queue.Version(min(2, p.traits.agent)), Max: queue.Version(p.traits.agent)},
		Queues: []link.Queue{{
			Client:  queue.VersionRange{Min: max(1, queue.Version(p.only)), Max: queue.Version(p.client)},
			Address: q.address(p),
			DH:      keys.FromX25519(q.dh.PublicKey()),
			Mode:    queue.ModeMessaging,
		}},
	}
	switch {
	case p.contact:
		r.Kind, r.Queues[0].Mode = link.Contact, queue.ModeContact
		return r
	case p.unknown:
		r.Queues[0].Mode = queue.ModeNone
	}
	r.Keys = p.makeKeys()
	return r
}

func (p *peer) makeKeys() ratchet.Params {
	p.t.Helper()
	var kem ratchet.KEM
	if p.kemLink {
		kem = sntrup761.KEM{}
	}
	var err error
	p.keys, err = ratchet.GenerateKeys(rand.Reader, kem)
	must(p.t, err)
	return p.keys.Params(ratchet.VersionRange{Min: 2, Max: p.e2e})
}

// sendTo records the queue to send to, and makes the keys for it.
func (p *peer) sendTo(i link.Info) {
	p.t.Helper()
	key, err := queue.GenerateKey(cmp.Or(p.key, keys.Ed25519), rand.Reader)
	must(p.t, err)
	dh := newDH()
	p.out = &theirQueue{
		server: i.Server, id: i.SenderID, key: key, dh: dh, secret: shared(p.t, dh, i.DH),
		version: uint16(i.Version), fast: i.Mode == queue.ModeMessaging && i.Version >= 3,
	}
}

// secureSending is SKEY.
func (p *peer) secureSending() {
	p.t.Helper()
	must(p.t, p.session.SecureSender(p.t.Context(), client.Queue{ID: p.out.id, Key: p.out.key}))
}

// secureOwn is KEY with the key out of the confirmation.
func (p *peer) secureOwn() {
	p.t.Helper()
	must(p.t, p.session.Key(p.t.Context(), p.own.Queue, p.own.senderKey))
}

// body is a client envelope: with the key in front in a confirmation.
func (p *peer) body(first bool, header, envelope []byte) []byte {
	p.t.Helper()
	return sealBody(p.t, p.out.version, p.out.dh, p.out.secret, first, header, envelope)
}

func sealBody(t testing.TB, version uint16, dh *ecdh.PrivateKey, secret *[32]byte, first bool, header, envelope []byte) []byte {
	t.Helper()
	front, padded := join(u16(version), []byte("0")), paddedLater
	if first {
		front, padded = join(u16(version), []byte("1"), str8(keys.FromX25519(dh.PublicKey()).DER())), paddedFirst
	}
	nonce := [24]byte(random(24))
	return box.SealAfterPrecomputation(join(front, nonce[:]), pad(t, join(header, envelope), padded), &nonce, secret)
}

var noHeader = []byte("_")

// keyHeader is the private header with the key that authorizes the peer.
func (p *peer) keyHeader() []byte {
	return join([]byte("K"), str8(p.out.key.Public().DER()))
}

// post sends a body to our agent; signed tells whether it is authorized.
func (p *peer) post(signed, notify bool, body []byte) {
	p.t.Helper()
	must(p.t, p.tryPost(signed, notify, body))
}

func (p *peer) tryPost(signed, notify bool, body []byte) error {
	q := client.Queue{ID: p.out.id}
	if signed {
		q.Key = p.out.key
	}
	return p.session.Send(p.t.Context(), q, notify, body)
}

// seal encrypts a plaintext with the ratchet.
func (p *peer) seal(plain []byte, padded, paddedPQ int) []byte {
	p.t.Helper()
	pq := ratchet.PQKeep
	if p.pq && p.agreed >= 5 && p.ratchet.Version() >= 3 {
		pq, padded = ratchet.PQOn, paddedPQ
	}
	k, err := p.ratchet.NextSending(pq, padded)
	must(p.t, err)
	b, err := k.Seal(nil, plain)
	must(p.t, err)
	return b
}

// number makes the plaintext of a numbered message and counts it.
func (p *peer) number(content []byte) []byte {
	plain := numbered(p.sent+1, p.sentHash, content)
	p.sent++
	p.chain(plain)
	return plain
}

func numbered(number int64, previous, content []byte) []byte {
	return join([]byte("M"), i64(number), str8(previous), content)
}

func (p *peer) chain(plain []byte) {
	h := sha256.Sum256(plain)
	p.sentHash = h[:]
}

// say sends a numbered message.
func (p *peer) say(content []byte) {
	p.t.Helper()
	p.sayPlain(p.number(content))
}

// sayPlain sends a plaintext as it is.
func (p *peer) sayPlain(plain []byte) {
	p.t.Helper()
	p.spoken = max(p.spoken, p.speaks)
	p.post(true, false, p.sealed(plain))
}

// sealed is the body of a message envelope.
func (p *peer) sealed(plain []byte) []byte {
	p.t.Helper()
	return p.body(false, noHeader, message(p.speaks, p.seal(plain, paddedText, paddedTextPQ)))
}

// receive returns the next message of the own queue; ack lets the next one come.
func (p *peer) receive() queue.MSG {
	p.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for len(p.waiting[p.own.ID]) == 0 {
		select {
		case e := <-p.session.Events():
			if m, ok := e.(client.Message); ok {
				p.waiting[m.Queue] = append(p.waiting[m.Queue], m.Msg)
			}
		case <-deadline.C:
			p.t.Fatal("waited too long for a message")
		}
	}
	list := p.waiting[p.own.ID]
	p.waiting[p.own.ID] = list[1:]
	return list[0]
}

func (p *peer) ack(m queue.MSG) {
	p.t.Helper()
	must(p.t, p.session.Ack(p.t.Context(), p.own.Queue, m.ID))
}

// arrived is a message of our agent, opened down to the agent envelope.
type arrived struct {
	quota     bool
	notify    bool
	version   uint16 // of the client envelope
	key       []byte // DER of the key in front, if there is one
	senderKey []byte // DER of the key in the private header
	agent     uint16
	tag       byte
	params    *ratchet.Params
	link      string
	sealed    []byte // or info
}

// open opens a message with the own queue's keys. It checks sizes and everything that must be as it is.
func (p *peer) open(m queue.MSG) (a arrived) {
	p.t.Helper()
	relaySecret := shared(p.t, p.own.relay, p.own.relayKey)
	content, ok := box.OpenAfterPrecomputation(nil, m.Sealed, (*[24]byte)([]byte(m.ID)), relaySecret)
	if !ok {
		p.t.Fatal("the relay's box does not open")
	}
	content = unpad(p.t, content)
	if bytes.HasPrefix(content, []byte("QUOTA ")) {
		return arrived{quota: true}
	}
	a.notify = string(content[8:10]) == "T "
	body := content[10:]
	c := cursor{p.t, body}
	a.version = c.u16()
	secret, padded := p.own.secret, paddedLater
	if c.opt() {
		a.key = c.str8()
		k, err := keys.Parse(a.key)
		must(p.t, err)
		if secret == nil {
			secret = shared(p.t, p.own.dh, k)
		}
		padded = paddedFirst
		if !p.contact {
			p.own.secret = secret
		}
	}
	if want := map[bool]int{true: bodyFirst, false: bodyLater}[a.key != nil]; len(body) != want {
		p.t.Fatalf("body of %d bytes, want %d", len(body), want)
	}
	if a.version != p.own.version {
		p.t.Fatalf("client version %d, want %d", a.version, p.own.version)
	}
	nonce := [24]byte(c.bytes(24))
	inner, ok := box.OpenAfterPrecomputation(nil, c.rest, &nonce, secret)
	if !ok || len(inner) != padded {
		p.t.Fatalf("client envelope: opens %t, %d bytes", ok, len(inner))
	}
	c = cursor{p.t, unpad(p.t, inner)}
	switch tag := c.u8(); tag {
	case '_':
	case 'K':
		a.senderKey = c.str8()
	default:
		p.t.Fatalf("private header %q", tag)
	}
	a.agent, a.tag = c.u16(), c.u8()
	switch a.tag {
	case 'C':
		if c.opt() {
			r := wire.NewReader(c.rest)
			k := ratchet.ReadSingle(r)
			a.params, c.rest = &k, r.Rest()
			must(p.t, r.Done())
		}
	case 'I':
		a.link = string(c.str16())
	case 'R':
		r := wire.NewReader(c.rest)
		k := ratchet.ReadSingle(r)
		a.params, c.rest = &k, r.Rest()
		must(p.t, r.Done())
	case 'M':
	default:
		p.t.Fatalf("envelope %q", a.tag)
	}
	a.sealed = c.rest
	p.checkSealed(a)
	return a
}

// checkSealed checks the length of a ratchet message: our agent has small headers.
func (p *peer) checkSealed(a arrived) {
	p.t.Helper()
	padded := paddedText
	switch a.tag {
	case 'C':
		padded = paddedInfo
	case 'I', 'R':
		return
	}
	header := 123 + 1
	if a.sealed[0] == 0 { // two bytes of length since version 3
		header = 124 + 2
	}
	if want := header + 16 + padded; len(a.sealed) != want {
		p.t.Fatalf("ratchet message of %d bytes, want %d", len(a.sealed), want)
	}
}

// decrypt opens the ratchet message.
func (p *peer) decrypt(a arrived) []byte {
	p.t.Helper()
	plain, err := p.ratchet.Decrypt(rand.Reader, a.sealed)
	must(p.t, err)
	return plain
}

// heard remembers a message of our agent.
func (p *peer) heard(number int64, plain []byte) {
	h := sha256.Sum256(plain)
	p.got, p.gotHash = number, h[:]
}

// hear receives and acknowledges a numbered message, which must follow the one before, and returns its content.
func (p *peer) hear(notify bool) []byte {
	p.t.Helper()
	m := p.receive()
	content := p.read(p.open(m), notify)
	p.ack(m)
	return content
}

// read checks a numbered message, which must follow the one before.
func (p *peer) read(a arrived, notify bool) []byte {
	p.t.Helper()
	switch {
	case a.quota:
		p.t.Fatal("quota marker instead of a message")
	case a.tag != 'M' || a.key != nil || a.senderKey != nil || a.agent != ownAgent:
		p.t.Fatalf("no message envelope of version 7: %q, version %d", a.tag, a.agent)
	case a.notify != notify:
		p.t.Fatalf("notification flag %t", a.notify)
	}
	plain := p.decrypt(a)
	c := cursor{p.t, plain}
	if tag := c.u8(); tag != 'M' {
		p.t.Fatalf("plaintext %q", tag)
	}
	number, previous := c.i64(), c.str8()
	if number != p.got+1 || !bytes.Equal(previous, p.gotHash) {
		p.t.Fatalf("number %d after %d, hash fits: %t", number, p.got, bytes.Equal(previous, p.gotHash))
	}
	p.heard(number, plain)
	return c.rest
}
