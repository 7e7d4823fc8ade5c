package peer_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

var (
	peerInfo = []byte(`{"peer":1}`)
	ourInfo  = []byte(`{"ours":2}`)
)

// server is a relay's address in binary.
func serverBytes(s queue.Server) []byte {
	b := []byte{byte(len(s.Hosts))}
	for _, h := range s.Hosts {
		b = join(b, str8([]byte(h)))
	}
	return join(b, str8([]byte(s.Port)), str8(s.Fingerprint[:]))
}

// queueInfo is the peer's queue as a confirmation names it.
func (p *peer) queueInfo() []byte {
	q := p.own
	dh := str8(keys.FromX25519(q.dh.PublicKey()).DER())
	switch {
	case q.version == 1:
		return join(u16(1), str8([]byte(p.server.Hosts[0])), str8([]byte(p.server.Port)), str8(p.server.Fingerprint[:]), str8([]byte(q.sender)), dh)
	case q.version == 2 || p.unknown:
		return join(u16(q.version), serverBytes(p.server), str8([]byte(q.sender)), dh)
	case q.version == 3:
		return join(u16(3), serverBytes(p.server), str8([]byte(q.sender)), dh, []byte("T"))
	default:
		return join(u16(q.version), serverBytes(p.server), str8([]byte(q.sender)), dh, []byte("M"))
	}
}

// readQueueInfo reads our agent's queue out of its confirmation, whose version must be the agreed one.
func (p *peer) readQueueInfo(c *cursor) link.Info {
	p.t.Helper()
	i := link.Info{Version: queue.Version(c.u16())}
	if uint16(i.Version) != p.own.version {
		p.t.Fatalf("reply queue of version %d, want %d", i.Version, p.own.version)
	}
	hosts := 1
	if i.Version > 1 {
		hosts = int(c.u8())
	}
	for range hosts {
		i.Server.Hosts = append(i.Server.Hosts, string(c.str8()))
	}
	i.Server.Port = string(c.str8())
	i.Server.Fingerprint = [32]byte(c.str8())
	i.SenderID = queue.ID(c.str8())
	var err error
	i.DH, err = keys.Parse(c.str8())
	must(p.t, err)
	if suffix := map[queue.Version]byte{3: 'T', 4: 'M'}[i.Version]; suffix != 0 && !p.noModes {
		if got := c.u8(); got != suffix {
			p.t.Fatalf("mode %q of version %d", got, i.Version)
		}
		i.Mode = queue.ModeMessaging
	}
	return i
}

// ownFast tells whether our agent can secure the peer's queue.
func (p *peer) ownFast() bool { return !p.unknown && p.own.version >= 3 }

// prepare makes keys and queues of a joiner from our agent's link. params are its parameters.
func (p *peer) prepare(text string) (params []byte) {
	p.t.Helper()
	r, err := link.Parse(text)
	must(p.t, err)
	if r.Agent.Min != 2 || r.Agent.Max != 7 || r.Queues[0].Client.Min != 1 || r.Queues[0].Client.Max != 4 || (r.Queues[0].Mode == queue.ModeMessaging) == p.noModes {
		p.t.Fatal("link with other versions or mode")
	}
	if r.Keys.Versions != (ratchet.VersionRange{Min: 2, Max: 3}) || len(r.Keys.KEM.Public) > 0 {
		p.t.Fatal("link with other ratchet versions, or a KEM key")
	}
	p.agreed = p.traits.agent
	p.sendTo(r.Queues[0].At(queue.Version(p.client)))
	var single ratchet.Params
	p.ratchet, single, err = ratchet.NewJoiner(rand.Reader, r.Keys, p.options())
	must(p.t, err)
	if p.pq != (len(single.KEM.Public) > 0) {
		p.t.Fatal("the peer does not propose a KEM")
	}
	if p.rises {
		single = single.At(2)
	}
	return single.AppendSingle(nil)
}

// joinerPlain counts the joiner's confirmation.
func (p *peer) joinerPlain(info []byte) []byte {
	plain := join([]byte("D\x01"), p.queueInfo(), info)
	p.sent++
	p.chain(plain)
	return plain
}

// confirm sends a confirmation: in the fast form, signed, or with the key.
func (p *peer) confirm(params, plain []byte) {
	p.t.Helper()
	header := p.keyHeader()
	if p.out.fast {
		header = noHeader
	}
	p.post(p.out.fast, true, p.body(true, header, confirmation(p.agreed, params, p.seal(plain, paddedInfo, paddedInfoPQ))))
}

// join joins our agent's link up to the confirmation.
func (p *peer) join(text string, info []byte) {
	p.t.Helper()
	params := p.prepare(text)
	if p.out.fast {
		p.secureSending()
	}
	p.makeQueue()
	p.own.version = p.out.version
	p.confirm(params, p.joinerPlain(info))
}

// awaitAnswer takes our initiator's confirmation and returns its info.
func (p *peer) awaitAnswer() []byte {
	p.t.Helper()
	m := p.receive()
	a := p.open(m)
	p.checkConfirmation(a)
	if a.params != nil {
		p.t.Fatal("the initiator's confirmation has parameters")
	}
	plain := p.decrypt(a)
	if plain[0] != 'I' {
		p.t.Fatalf("plaintext %q", plain[0])
	}
	p.heard(1, plain)
	p.ack(m)
	return plain[1:]
}

func (p *peer) checkConfirmation(a arrived) {
	p.t.Helper()
	switch {
	case a.tag != 'C' || a.key == nil || !a.notify:
		p.t.Fatalf("no confirmation: %q, notification %t", a.tag, a.notify)
	case a.agent != p.agreed:
		p.t.Fatalf("confirmation of version %d, want %d", a.agent, p.agreed)
	case p.ownFast() != (a.senderKey == nil):
		p.t.Fatalf("key in the confirmation: %t", a.senderKey != nil)
	}
	if a.senderKey != nil {
		var err error
		p.own.senderKey, err = keys.Parse(a.senderKey)
		must(p.t, err)
		if p.own.senderKey.Algorithm() != keys.Ed25519 {
			p.t.Fatal("sender key of another algorithm")
		}
	}
}

// awaitConfirmation takes our joiner's confirmation and returns its info.
func (p *peer) awaitConfirmation() []byte {
	p.t.Helper()
	m := p.receive()
	info := p.confirmed(p.open(m))
	p.ack(m)
	return info
}

func (p *peer) confirmed(a arrived) []byte {
	p.t.Helper()
	p.agreed = min(7, p.traits.agent)
	p.checkConfirmation(a)
	if a.params == nil || a.params.Versions.Min != min(3, p.e2e) || len(a.params.KEM.Public)+len(a.params.KEM.Ciphertext) > 0 {
		p.t.Fatal("parameters of the joiner: missing, of another version, or with a KEM")
	}
	var err error
	p.ratchet, err = ratchet.NewInitiator(p.keys, *a.params, p.options())
	must(p.t, err)
	plain := p.decrypt(a)
	c := cursor{p.t, plain}
	if tag, n := c.u8(), c.u8(); tag != 'D' || n != 1 {
		p.t.Fatalf("plaintext %q with %d queues", tag, n)
	}
	p.sendTo(p.readQueueInfo(&c))
	p.heard(1, plain)
	return c.rest
}

// answer sends the initiator's confirmation.
func (p *peer) answer(info []byte) {
	p.t.Helper()
	if !p.ownFast() {
		p.secureOwn()
	}
	if p.out.fast {
		p.secureSending()
	}
	plain := join([]byte("I"), info)
	p.sent++
	p.chain(plain)
	p.confirm(nil, plain)
}

// asJoiner connects the peer with our agent's invitation.
func asJoiner(s *scene, p *peer) agent.ConnectionID {
	s.t.Helper()
	id, text, err := s.ours.CreateConnection(s.t.Context(), agent.CreateOptions{})
	must(s.t, err)
	expect[*agent.LinkReady](s, id)
	p.join(text, peerInfo)
	allowed(s, p, id)
	return id
}

// allowed goes on after a joiner's confirmation: our client allows, and both connect.
func allowed(s *scene, p *peer, id agent.ConnectionID) {
	s.t.Helper()
	c := expect[*agent.Confirmation](s, id)
	if !bytes.Equal(c.Info, peerInfo) {
		s.t.Fatalf("info %q", c.Info)
	}
	must(s.t, s.ours.Allow(s.t.Context(), id, c.Confirmation, ourInfo))
	if info := p.awaitAnswer(); !bytes.Equal(info, ourInfo) {
		s.t.Fatalf("info %q", info)
	}
	if !p.ownFast() { // our agent waits for HELLO when the queue it sends to is not fast
		p.secureOwn()
		p.say(hello)
		if content := p.hear(true); !bytes.Equal(content, hello) {
			s.t.Fatalf("%q is no HELLO", content)
		}
	}
	expect[*agent.Connected](s, id)
}

// asInitiator connects our agent with the peer's invitation.
func asInitiator(s *scene, p *peer) agent.ConnectionID {
	s.t.Helper()
	id, err := s.ours.JoinConnection(s.t.Context(), p.link().Text(), agent.JoinOptions{Info: ourInfo})
	must(s.t, err)
	finishInitiator(s, p, id)
	return id
}

func finishInitiator(s *scene, p *peer, id agent.ConnectionID) {
	s.t.Helper()
	if info := p.awaitConfirmation(); !bytes.Equal(info, ourInfo) {
		s.t.Fatalf("info %q", info)
	}
	j := expect[*agent.Joined](s, id)
	if j.CanSend != (p.ownFast() && p.agreed >= 7) {
		s.t.Fatalf("can send: %t", j.CanSend)
	}
	p.answer(peerInfo)
	if i := expect[*agent.PeerInfo](s, id); !bytes.Equal(i.Info, peerInfo) {
		s.t.Fatalf("info %q", i.Info)
	}
	if !p.out.fast { // our agent set the key and says HELLO
		if content := p.hear(true); !bytes.Equal(content, hello) {
			s.t.Fatalf("%q is no HELLO", content)
		}
		p.say(hello)
	}
	expect[*agent.Connected](s, id)
}

// converse sends messages and receipts both ways; everything must fit what was before.
func converse(s *scene, p *peer, id agent.ConnectionID) {
	s.t.Helper()
	tell(s, p, id, "OK", true)
	hearOurs(s, p, id, fmt.Appendf(nil, "answer to %d", p.sent), true)
	if sending, receiving := p.ratchet.PQ(); sending || receiving {
		s.t.Fatal("our agent has not declined the KEM")
	}
}

// tell lets the peer send a message, which our client acknowledges with a receipt.
func tell(s *scene, p *peer, id agent.ConnectionID, integrity string, withReceipt bool) *agent.Message {
	s.t.Helper()
	body := fmt.Appendf(nil, "message %d", p.sent+1)
	p.say(text(body))
	return told(s, p, id, body, integrity, withReceipt)
}

// told takes the peer's last message.
func told(s *scene, p *peer, id agent.ConnectionID, body []byte, integrity string, withReceipt bool) *agent.Message {
	s.t.Helper()
	m := expect[*agent.Message](s, id)
	if !bytes.Equal(m.Body, body) || m.Integrity != integrity || m.Sender != p.sent || m.Again {
		s.t.Fatalf("message %.20q, %s, number %d, again %t; want %.20q, %s, %d", m.Body, m.Integrity, m.Sender, m.Again, body, integrity, p.sent)
	}
	must(s.t, s.ours.Ack(s.t.Context(), id, m.ID, &agent.AckOptions{Receipt: withReceipt, Info: []byte("ri")}))
	if withReceipt && p.knowsReceipts() {
		want := receipts(receipt{p.sent, p.sentHash, []byte("ri")})
		if got := p.hear(false); !bytes.Equal(got, want) {
			s.t.Fatalf("receipt %x, want %x", got, want)
		}
	}
	return m
}

// knowsReceipts tells whether our agent can send receipts: its version follows what message envelopes say.
func (p *peer) knowsReceipts() bool { return max(p.agreed, p.spoken) >= 4 }

// hearOurs lets our agent send a message, to which the peer sends a receipt.
func hearOurs(s *scene, p *peer, id agent.ConnectionID, body []byte, notify bool) (number int64) {
	s.t.Helper()
	number, err := s.ours.Send(s.t.Context(), id, agent.Outgoing{Body: body, Notify: notify})
	must(s.t, err)
	if got := p.hear(notify); !bytes.Equal(got, text(body)) {
		s.t.Fatalf("%d bytes arrived of %d", len(got)-1, len(body))
	}
	if e := expect[*agent.Sent](s, id); e.ID != number {
		s.t.Fatalf("sent %d, not %d", e.ID, number)
	}
	if !p.knowsReceipts() {
		return number
	}
	p.say(receipts(receipt{p.got, p.gotHash, nil}))
	r := expect[*agent.Received](s, id)
	if len(r.Receipts) != 1 || r.Receipts[0].ID != number || !r.Receipts[0].Good {
		s.t.Fatalf("%+v", r)
	}
	must(s.t, s.ours.Ack(s.t.Context(), id, r.ID, nil))
	return number
}

// testBothRoles tells a story with a connected peer, once as the joiner and once as the initiator.
func testBothRoles(t *testing.T, x traits, story func(*testing.T, *scene, *peer, agent.ConnectionID)) {
	t.Helper()
	t.Run("joiner", func(t *testing.T) {
		s := newScene(t)
		p := newPeer(s, x)
		story(t, s, p, asJoiner(s, p))
	})
	t.Run("initiator", func(t *testing.T) {
		s := newScene(t)
		p := newPeer(s, x)
		story(t, s, p, asInitiator(s, p))
	})
}
