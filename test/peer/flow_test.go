package peer_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/client"
	"github.com/coterie-im/coterie/queue/server"
)

// TestWire looks at what the relay gets from our agent in all handshakes: which commands in which order, the flag and
// the size of every body.
func TestWire(t *testing.T) {
	for name, x := range variants() {
		t.Run(name, func(t *testing.T) {
			t.Run("joiner", func(t *testing.T) { wireOfInitiator(t, x) })
			t.Run("initiator", func(t *testing.T) { wireOfJoiner(t, x) })
		})
	}
}

// checkBodies checks the sizes of all that our agent has sent.
func checkBodies(t *testing.T, entries []entry) {
	t.Helper()
	for _, e := range entries {
		if e.what != "SEND" {
			continue
		}
		want := bodyLater
		if e.body[2] == '1' {
			want = bodyFirst
		}
		if len(e.body) != want {
			t.Errorf("body of %d bytes, want %d", len(e.body), want)
		}
	}
}

// wireOfInitiator: our agent has the link.
func wireOfInitiator(t *testing.T, x traits) {
	s := newScene(t)
	p := newPeer(s, x)
	id := asJoiner(s, p)
	converse(s, p, id)

	to := s.tap.of(p.own.ID)
	checkBodies(t, to)
	var want []string // by our agent, in the peer's queue
	if p.ownFast() {
		want = []string{"NEW", "secure", "SEND", "SEND", "SEND"} // SKEY, confirmation, receipt, message
	} else {
		want = []string{"NEW", "SEND", "secure", "SEND", "SEND", "SEND"} // confirmation, KEY of the peer, HELLO, receipt, message
	}
	if !p.knowsReceipts() {
		want = want[:len(want)-1]
	}
	if got := words(to); !slices.Equal(got, want) {
		t.Errorf("peer's queue: %v, want %v", got, want)
	}
	own := s.tap.of(s.tap.bySender(p.out.id))
	if own[0].what != "NEW" || own[0].mode != queue.ModeMessaging {
		t.Errorf("our agent's queue: %+v", own[0])
	}
	commands := s.ours.Counters().Commands
	for command, times := range map[string]uint64{"NEW": 1, "KEY": 1, "SKEY": 1} {
		if command == "KEY" && p.out.fast || command == "SKEY" && !p.ownFast() {
			times = 0
		}
		if commands[command] != times {
			t.Errorf("%s %d times, want %d", command, commands[command], times)
		}
	}
}

// wireOfJoiner: the peer has the link.
func wireOfJoiner(t *testing.T, x traits) {
	s := newScene(t)
	p := newPeer(s, x)
	id := asInitiator(s, p)
	converse(s, p, id)

	to := s.tap.of(p.own.ID)
	checkBodies(t, to)
	var want []string
	if p.ownFast() {
		want = []string{"NEW", "secure", "SEND"}
	} else {
		want = []string{"NEW", "SEND", "secure"}
	}
	if !p.out.fast {
		want = append(want, "SEND") // HELLO
	}
	want = append(want, "SEND")
	if p.knowsReceipts() {
		want = append(want, "SEND")
	}
	if got := words(to); !slices.Equal(got, want) {
		t.Errorf("peer's queue: %v, want %v", got, want)
	}
	own := s.tap.of(s.tap.bySender(p.out.id))
	if own[0].what != "NEW" || own[0].mode != queue.ModeMessaging {
		t.Errorf("our agent's reply queue: %+v", own[0])
	}
	commands := s.ours.Counters().Commands
	for command, times := range map[string]uint64{"NEW": 1, "KEY": 1, "SKEY": 1} {
		if command == "KEY" && p.out.fast || command == "SKEY" && !p.ownFast() {
			times = 0
		}
		if commands[command] != times {
			t.Errorf("%s %d times, want %d", command, commands[command], times)
		}
	}
}

// TestJoinerThatKeepsItsKey: a joiner may put its key into the confirmation although it could have secured the queue.
func TestJoinerThatKeepsItsKey(t *testing.T) {
	s := newScene(t)
	p := newPeer(s, modern())
	id, text, err := s.ours.CreateConnection(t.Context(), agent.CreateOptions{})
	must(t, err)
	expect[*agent.LinkReady](s, id)
	params := p.prepare(text)
	p.out.fast = false
	p.makeQueue()
	p.confirm(params, p.joinerPlain(peerInfo))
	allowed(s, p, id)
	if n := s.ours.Counters().Commands["KEY"]; n != 1 {
		t.Errorf("KEY %d times", n)
	}
	converse(s, p, id)
}

// TestRepeatedConfirmations: a joiner whose first attempts were lost sends later numbers of ratchet and messages; and what
// it repeats after one arrived is taken without a word.
func TestRepeatedConfirmations(t *testing.T) {
	for _, fast := range []bool{true, false} {
		t.Run(fmt.Sprintf("fast %t", fast), func(t *testing.T) {
			x := modern()
			if !fast {
				x.client = 2
			}
			s := newScene(t)
			p := newPeer(s, x)
			id, text, err := s.ours.CreateConnection(t.Context(), agent.CreateOptions{})
			must(t, err)
			expect[*agent.LinkReady](s, id)
			params := p.prepare(text)
			if fast {
				p.secureSending()
			}
			p.makeQueue()
			p.own.version = p.out.version
			for range 2 { // never sent
				p.seal(p.joinerPlain(peerInfo), paddedInfo, paddedInfoPQ)
			}
			p.confirm(params, p.joinerPlain(peerInfo))                        // number 3, in the chain 2
			p.confirm(params, join([]byte("D\x01"), p.queueInfo(), peerInfo)) // repeated
			c := expect[*agent.Confirmation](s, id)
			must(t, s.ours.Allow(t.Context(), id, c.Confirmation, ourInfo))
			if info := p.awaitAnswer(); !bytes.Equal(info, ourInfo) {
				t.Errorf("info %q", info)
			}
			if !fast {
				p.secureOwn()
				p.say(hello)
				p.hear(true)
				expect[*agent.Connected](s, id)
				tell(s, p, id, "OK", true) // the gap was before HELLO
			} else {
				expect[*agent.Connected](s, id)
				tell(s, p, id, "ERR NO_ID 2 3", true)
			}
			p.confirmAgain(params)
			converse(s, p, id)
		})
	}
	t.Run("of the initiator", func(t *testing.T) {
		s := newScene(t)
		p := newPeer(s, modern())
		id := asInitiator(s, p)
		p.confirmAgain(nil)
		converse(s, p, id)
	})
}

// confirmAgain sends a confirmation to a queue that had one.
func (p *peer) confirmAgain(params []byte) {
	plain := join([]byte("I"), peerInfo)
	if params != nil {
		plain = join([]byte("D\x01"), p.queueInfo(), peerInfo)
	}
	p.post(true, true, p.body(true, noHeader, confirmation(p.agreed, params, p.seal(plain, paddedInfo, paddedInfoPQ))))
}

// TestBeforeAllow: messages of a joiner of version 7 arrive before the client allows; everything else waits its turn.
func TestBeforeAllow(t *testing.T) {
	s := newScene(t)
	p := newPeer(s, modern())
	id, text, err := s.ours.CreateConnection(t.Context(), agent.CreateOptions{})
	must(t, err)
	expect[*agent.LinkReady](s, id)
	p.join(text, peerInfo)
	c := expect[*agent.Confirmation](s, id)
	if _, err := s.ours.Send(t.Context(), id, agent.Outgoing{Body: []byte("too early")}); err == nil {
		t.Error("our client may send before it allowed")
	}
	p.say(hello)
	s.expectFailure(id, "AGENT A_PROHIBITED")
	p.say([]byte("M first"))
	m := expect[*agent.Message](s, id)
	if string(m.Body) != " first" || m.Integrity != "OK" || m.Sender != 3 {
		t.Errorf("%+v", m)
	}
	must(t, s.ours.Ack(t.Context(), id, m.ID, &agent.AckOptions{Receipt: true}))
	firstHash := p.sentHash
	p.say([]byte("M second"))
	m = expect[*agent.Message](s, id)
	must(t, s.ours.Allow(t.Context(), id, c.Confirmation, ourInfo))
	p.awaitAnswer()
	if got := p.hear(false); !bytes.Equal(got, receipts(receipt{3, firstHash, nil})) {
		t.Errorf("receipt %x", got)
	}
	expect[*agent.Connected](s, id)
	must(t, s.ours.Ack(t.Context(), id, m.ID, nil))
	converse(s, p, id)
}

// TestBeforeAllowOfOldJoiner: before version 7 the initiator had no ratchet before it allowed, so that messages are wrong.
func TestBeforeAllowOfOldJoiner(t *testing.T) {
	x := modern()
	x.agent, x.speaks = 6, 6
	s := newScene(t)
	p := newPeer(s, x)
	id, text, err := s.ours.CreateConnection(t.Context(), agent.CreateOptions{})
	must(t, err)
	expect[*agent.LinkReady](s, id)
	p.join(text, peerInfo)
	c := expect[*agent.Confirmation](s, id)
	p.say([]byte("M too early"))
	s.expectFailure(id, "AGENT A_PROHIBITED")
	must(t, s.ours.Allow(t.Context(), id, c.Confirmation, ourInfo))
	p.awaitAnswer()
	expect[*agent.Connected](s, id)
	tell(s, p, id, "ERR NO_ID 2 2", true)
	converse(s, p, id)
}

// TestWrongInitiator sends to a joiner, before the initiator's confirmation, what must not come then.
func TestWrongInitiator(t *testing.T) {
	s := newScene(t)
	p := newPeer(s, modern())
	id, err := s.ours.JoinConnection(t.Context(), p.link().Text(), agent.JoinOptions{Info: ourInfo})
	must(t, err)
	p.awaitConfirmation()
	if j := expect[*agent.Joined](s, id); !j.CanSend {
		t.Error("our client cannot send at once")
	}
	early, err := s.ours.Send(t.Context(), id, agent.Outgoing{Body: []byte("early"), Notify: true})
	must(t, err)
	if got := p.hear(true); string(got) != "Mearly" {
		t.Errorf("%q", got)
	}
	if e := expect[*agent.Sent](s, id); e.ID != early || early != 2 {
		t.Errorf("message %d sent, not %d", e.ID, early)
	}
	p.secureSending()
	wrong := func(code string, body []byte) {
		t.Helper()
		p.post(true, true, body)
		if f := expect[*agent.Failed](s, id); f.Code != code || f.Fault != "peer" {
			t.Errorf("%+v, want %s", f, code)
		}
	}
	sealed := func(plain []byte) []byte { return p.seal(plain, 14000, 11000) }
	other := newPeer(s, modern())
	params := other.makeKeys().At(3).AppendSingle(nil)
	wrong("AGENT A_PROHIBITED", p.body(false, noHeader, message(7, sealed([]byte("M")))))
	wrong("AGENT A_PROHIBITED", p.body(true, noHeader, message(7, sealed([]byte("M")))))
	wrong("AGENT A_PROHIBITED", p.body(true, noHeader, confirmation(7, params, sealed([]byte("Iinfo")))))
	wrong("AGENT A_PROHIBITED", p.body(true, noHeader, invitation(7, "simplex:/invitation#/?v=2-7", nil)))
	wrong("AGENT A_PROHIBITED", p.body(true, noHeader, ratchetKey(7, params)))
	wrong("AGENT A_PROHIBITED", p.body(true, noHeader, confirmation(7, nil, sealed(join([]byte("D\x01"), p.queueInfo())))))
	wrong("AGENT A_PROHIBITED", p.body(true, noHeader, confirmation(7, nil, sealed(numbered(1, nil, hello)))))
	wrong("AGENT A_MESSAGE", p.body(true, noHeader, confirmation(7, nil, sealed([]byte("?")))))
	wrong("AGENT A_CRYPTO RATCHET_HEADER", p.body(true, noHeader, confirmation(7, nil, changedHeader(sealed([]byte("Iinfo"))))))
	wrong("AGENT A_VERSION", p.body(true, noHeader, confirmation(8, nil, sealed([]byte("Iinfo")))))
	wrong("AGENT A_CRYPTO DECRYPT_CB", sealBody(t, 4, newDH(), (*[32]byte)(random(32)), true, noHeader, confirmation(7, nil, sealed([]byte("I")))))

	plain := join([]byte("I"), peerInfo)
	p.sent++
	p.chain(plain)
	p.confirm(nil, plain)
	if i := expect[*agent.PeerInfo](s, id); !bytes.Equal(i.Info, peerInfo) {
		t.Errorf("info %q", i.Info)
	}
	expect[*agent.Connected](s, id)
	converse(s, p, id)
}

func changedHeader(sealed []byte) []byte {
	sealed = bytes.Clone(sealed)
	sealed[70] ^= 0x10
	return sealed
}

// TestWrongJoiner sends to an initiator, before a confirmation, what must not come then; the right one is taken behind it.
func TestWrongJoiner(t *testing.T) {
	s := newScene(t)
	p := newPeer(s, modern())
	id, text, err := s.ours.CreateConnection(t.Context(), agent.CreateOptions{})
	must(t, err)
	expect[*agent.LinkReady](s, id)
	params := p.prepare(text)
	p.secureSending()
	p.makeQueue()
	wrong := func(code string, body []byte) {
		t.Helper()
		p.post(true, true, body)
		if f := expect[*agent.Failed](s, id); f.Code != code || f.Fault != "peer" {
			t.Errorf("%+v, want %s", f, code)
		}
	}
	sealed := func(plain []byte) []byte { return p.seal(plain, 14000, 11000) }
	right := join([]byte("D\x01"), p.queueInfo(), peerInfo)
	wrong("AGENT A_PROHIBITED", p.body(true, noHeader, confirmation(7, nil, sealed(right))))
	wrong("AGENT A_PROHIBITED", p.body(true, noHeader, confirmation(7, params, sealed([]byte("Iinfo")))))
	wrong("AGENT A_PROHIBITED", p.body(true, noHeader, confirmation(7, params, sealed(numbered(1, nil, hello)))))
	wrong("AGENT A_PROHIBITED", p.body(true, p.keyHeader(), invitation(7, "simplex:/invitation#/?v=2-7", nil)))
	wrong("AGENT A_PROHIBITED", p.body(true, noHeader, invitation(7, "simplex:/invitation#/?v=2-7", nil)))
	wrong("AGENT A_PROHIBITED", p.body(true, noHeader, message(7, sealed([]byte("M")))))
	wrong("AGENT A_PROHIBITED", p.body(false, noHeader, message(7, sealed([]byte("M")))))
	wrong("AGENT A_PROHIBITED", p.body(true, noHeader, ratchetKey(7, params)))
	wrong("AGENT A_MESSAGE", p.body(true, noHeader, confirmation(7, params, sealed([]byte("D\x00info")))))
	wrong("AGENT A_MESSAGE", p.body(true, noHeader, confirmation(7, params, sealed([]byte("D\x01\x00")))))
	wrong("AGENT A_CRYPTO RATCHET_HEADER", p.body(true, noHeader, confirmation(7, params, changedHeader(sealed(right)))))
	damaged := sealed(right)
	damaged[len(damaged)-1] ^= 1
	wrong("AGENT A_CRYPTO DECRYPT_AES", p.body(true, noHeader, confirmation(7, params, damaged)))
	p.chain(right)
	p.sent++
	p.confirm(params, right)
	allowed(s, p, id)
	converse(s, p, id)
}

// TestTextForms: our agent takes links in the https form, with a slash, client data and other queues behind the first one.
func TestTextForms(t *testing.T) {
	for _, x := range []traits{modern(), {agent: 7, client: 2, e2e: 3, speaks: 7}} {
		t.Run(fmt.Sprintf("client %d", x.client), func(t *testing.T) {
			s := newScene(t)
			for i, form := range []string{"https://simplex.chat", "https://example.org:8080", "simplex:"} {
				p := newPeer(s, x)
				r := p.link()
				r.ClientData = []byte(`{"x":"ä;&="}`)
				second := r.Queues[0]
				second.SenderID = "elsewhere, never used ..."
				r.Queues = append(r.Queues, second)
				text := form + r.Text()[len("simplex:"):]
				if i > 0 {
					text = string(bytes.Replace([]byte(text), []byte("invitation#"), []byte("invitation/#"), 1))
				}
				id, err := s.ours.JoinConnection(t.Context(), text, agent.JoinOptions{Info: ourInfo})
				must(t, err)
				finishInitiator(s, p, id)
				converse(s, p, id)
			}
		})
	}
	t.Run("second reply queue", func(t *testing.T) {
		s := newScene(t)
		p := newPeer(s, modern())
		id, text, err := s.ours.CreateConnection(t.Context(), agent.CreateOptions{ClientData: `{"y":"ü;&="}`})
		must(t, err)
		expect[*agent.LinkReady](s, id)
		r, err := link.Parse(text)
		must(t, err)
		if string(r.ClientData) != `{"y":"ü;&="}` {
			t.Errorf("client data %q", r.ClientData)
		}
		params := p.prepare(text)
		p.secureSending()
		p.makeQueue()
		first := p.own
		second := p.makeQueue()
		info := p.queueInfo()
		p.own = first
		plain := join([]byte("D\x02"), p.queueInfo(), info, peerInfo)
		p.sent++
		p.chain(plain)
		p.confirm(params, plain)
		allowed(s, p, id)
		converse(s, p, id)
		if got := words(s.tap.of(second.ID)); !slices.Equal(got, []string{"NEW"}) {
			t.Errorf("second queue: %v", got)
		}
	})
}

// TestNobodyElse: nobody but the peer can send to our agent's queue, before or after it is secured.
func TestNobodyElse(t *testing.T) {
	testBothRoles(t, modern(), func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
		stranger := newPeer(s, modern())
		stranger.out = p.out
		if err := stranger.tryPost(false, false, random(100)); err == nil {
			t.Error("an unsigned message is taken")
		}
		if err := stranger.session.SecureSender(t.Context(), client.Queue{ID: p.out.id, Key: stranger.makeQueue().Key}); err == nil {
			t.Error("another key is taken")
		}
		p.secureSending() // the same again
		converse(s, p, id)
	})
}

// TestOldRelay: at a relay of version 8 no queue can be secured by its sender, so that everything is done with keys in
// confirmations.
func TestOldRelay(t *testing.T) {
	old := func(c *server.Config) { c.Versions = queue.VersionRange{Min: 6, Max: 8} }
	x := modern()
	x.noModes, x.unknown = true, true
	t.Run("joiner", func(t *testing.T) {
		s := newScene(t, old)
		p := newPeer(s, x)
		id, text, err := s.ours.CreateConnection(t.Context(), agent.CreateOptions{})
		must(t, err)
		expect[*agent.LinkReady](s, id)
		params := p.prepare(text)
		p.makeQueue()
		plain := p.joinerPlain(peerInfo)
		p.post(false, true, p.body(true, noHeader, confirmation(7, params, p.seal(plain, paddedInfo, paddedInfoPQ))))
		s.expectFailure(id, "AGENT A_PROHIBITED") // without a key
		p.confirm(params, plain)
		allowed(s, p, id)
		converse(s, p, id)
	})
	t.Run("initiator", func(t *testing.T) {
		s := newScene(t, old)
		p := newPeer(s, x)
		id := asInitiator(s, p)
		converse(s, p, id)
		if n := s.ours.Counters().Commands["SKEY"]; n != 0 {
			t.Errorf("SKEY %d times", n)
		}
	})
}
