package conn

import (
	"bytes"
	"errors"
	"testing"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// arrival delivers what waits for a node and returns the code of the only new failure, "" if there is none.
func (n *node) arrival() Code {
	n.w.t.Helper()
	before := len(all[Failure](n))
	n.w.run()
	failures := all[Failure](n)[before:]
	for _, r := range n.w.relays {
		for _, q := range r.queues {
			if q.owner == n && len(q.messages) > 0 {
				n.w.t.Errorf("%s: message not acknowledged", n.name)
			}
		}
	}
	switch len(failures) {
	case 0:
		return ""
	case 1:
		if failures[0].Err.Kind != PeerFault {
			n.w.t.Errorf("kind %d of %v", failures[0].Err.Kind, failures[0].Err)
		}
		return failures[0].Err.Code
	default:
		n.w.t.Fatalf("%s: %d failures", n.name, len(failures))
		return ""
	}
}

// joiningPair makes a joiner that has done nothing yet, at an initiator that waits.
func joiningPair(t *testing.T, prepare func(a, b *node)) (w *world, a, b *node) {
	w, a, b = pair(t)
	prepare(a, b)
	a.allow = nil
	a.create(link.Invitation)
	w.run()
	if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
		t.Fatal(err)
	}
	return w, a, b
}

func (n *node) params() *ratchet.Params {
	p := ratchet.ReadSingle(wire.NewReader(n.conn.params))
	return &p
}

// joinerInfo is the plaintext of a confirmation.
func (n *node) joinerInfo() envelope.JoinerInfo {
	return envelope.JoinerInfo{Info: []byte("crafted"), Queues: []link.Info{{
		Version: 4, DH: n.conn.send[0].dh, Mode: queue.ModeMessaging,
		Address: link.Address{Server: n.relay.server, SenderID: "nowhere"},
	}}}
}

func (n *node) confirmation(p envelope.Plaintext, params *ratchet.Params, version queue.Version) *envelope.Confirmation {
	return &envelope.Confirmation{Agent: version, Keys: params, Sealed: n.seal(p.Append(nil), envelope.RatchetConfirmation)}
}

func TestWhatMayComeBeforeTheConfirmation(t *testing.T) {
	authorization := envelope.PrivateHeader{SenderKey: someKey()}
	none := envelope.PrivateHeader{}
	for _, c := range []struct {
		name string
		put  func(b *node)
		want Code
	}{
		{"message without key", func(b *node) { b.message([]byte("M")) }, CodePeerProhibited},
		{"message with key", func(b *node) {
			b.put(&envelope.Message{Agent: 7, Sealed: []byte("x")}, none, true, 4)
		}, CodePeerProhibited},
		{"ratchet key", func(b *node) {
			b.put(&envelope.RatchetKey{Agent: 7, Keys: *b.params(), Info: []byte("R")}, none, true, 4)
		}, CodePeerProhibited},
		{"invitation", func(b *node) { b.put(&envelope.Invitation{Agent: 7}, none, true, 4) }, CodePeerProhibited},
		{"invitation with authorization key", func(b *node) { b.put(&envelope.Invitation{Agent: 7}, authorization, true, 4) }, CodePeerProhibited},
		{"confirmation without parameters", func(b *node) { b.put(b.confirmation(b.joinerInfo(), nil, 7), none, true, 4) }, CodePeerProhibited},
		{"confirmation with the initiator's content", func(b *node) {
			b.put(b.confirmation(envelope.InitiatorInfo{}, b.params(), 7), none, true, 4)
		}, CodePeerProhibited},
		{"confirmation without content", func(b *node) {
			b.put(&envelope.Confirmation{Agent: 7, Keys: b.params(), Sealed: b.seal(nil, envelope.RatchetConfirmation)}, none, true, 4)
		}, CodeMessage},
		{"confirmation that is not a ratchet message", func(b *node) {
			b.put(&envelope.Confirmation{Agent: 7, Keys: b.params(), Sealed: []byte("x")}, none, true, 4)
		}, CodeMessage},
		{"confirmation that was changed", func(b *node) {
			e := b.confirmation(b.joinerInfo(), b.params(), 7)
			e.Sealed[len(e.Sealed)-1] ^= 1
			b.put(e, none, true, 4)
		}, CodeDecryptAES},
		{"confirmation with another header", func(b *node) {
			e := b.confirmation(b.joinerInfo(), b.params(), 7)
			e.Sealed[60] ^= 1
			b.put(e, none, true, 4)
		}, CodeHeader},
		{"confirmation for another invitation", func(b *node) {
			p := b.params()
			p.Key1, p.Key2 = p.Key2, p.Key1
			b.put(b.confirmation(b.joinerInfo(), p, 7), none, true, 4)
		}, CodeHeader},
		{"confirmation of encryption version 4", func(b *node) {
			p := b.params().At(4)
			b.put(b.confirmation(b.joinerInfo(), &p, 7), none, true, 4)
		}, CodeVersion},
		{"confirmation of encryption version 1", func(b *node) {
			p := b.params().At(1)
			b.put(b.confirmation(b.joinerInfo(), &p, 7), none, true, 4)
		}, CodeVersion},
		{"confirmation of agent version 8", func(b *node) {
			b.put(b.confirmation(b.joinerInfo(), b.params(), 8), none, true, 4)
		}, CodeVersion},
		{"confirmation of client version 5", func(b *node) {
			b.put(b.confirmation(b.joinerInfo(), b.params(), 7), none, true, 5)
		}, CodeVersion},
		{"reply queue of client version 5", func(b *node) {
			p := b.joinerInfo()
			p.Queues[0].Version = 5
			b.put(b.confirmation(p, b.params(), 7), none, true, 4)
		}, CodeVersion},
		{"reply queue with a useless key", func(b *node) {
			p := b.joinerInfo()
			p.Queues[0].DH, _ = keys.New(keys.X25519, make([]byte, 32))
			b.put(b.confirmation(p, b.params(), 7), none, true, 4)
		}, CodeMessage},
		{"another secret", func(b *node) {
			secret := b.conn.send[0].secret
			b.conn.send[0].secret[0] ^= 1
			b.put(b.confirmation(b.joinerInfo(), b.params(), 7), none, true, 4)
			b.conn.send[0].secret = secret
		}, CodeDecryptBox},
		{"no client envelope", func(b *node) { b.putBody([]byte{0, 4, '2'}) }, CodeMessage},
		{"empty body", func(b *node) { b.putBody(nil) }, CodeMessage},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, a, b := joiningPair(t, func(a, b *node) {})
			withheld := b.todo
			b.todo = nil
			ratchetBefore := b.conn.ratchet.AppendBinary(nil)
			c.put(b)
			if got := a.arrival(); got != c.want {
				t.Errorf("code %q, want %q", got, c.want)
			}
			if a.conn.phase != invited || a.conn.hasRatchet || len(all[Confirmation](a)) != 0 {
				t.Errorf("phase %d, events:%s", a.conn.phase, a.history())
			}
			// The real joiner is not disturbed by it.
			b.conn.ratchet, _ = ratchet.Decode(ratchetBefore, nil)
			b.todo = withheld
			a.allow = []byte("alice's info")
			w.run()
			checkConnected(t, a, b)
		})
	}
}

func TestConfirmationWithoutKeyNeedsMessagingMode(t *testing.T) {
	w, a, b := joiningPair(t, func(a, b *node) { a.relay.modes = false })
	withheld := b.todo
	b.todo = nil
	b.put(b.confirmation(b.joinerInfo(), b.params(), 7), envelope.PrivateHeader{}, true, 4)
	if got := a.arrival(); got != CodePeerProhibited {
		t.Errorf("code %q", got)
	}
	b.todo = withheld
	a.allow = []byte("alice's info")
	w.run()
	checkConnected(t, a, b)
}

func TestOldAgentVersionInConfirmation(t *testing.T) {
	_, a, b := joiningPair(t, func(a, b *node) {})
	b.todo = nil
	b.put(b.confirmation(b.joinerInfo(), b.params(), 1), envelope.PrivateHeader{}, true, 4)
	if got := a.arrival(); got != "" {
		t.Fatalf("code %q", got)
	}
	if a.conn.agent != 1 {
		t.Errorf("version %d", a.conn.agent)
	}
	// Before version 7 nobody sends before the client allows.
	b.message(envelope.Numbered{Number: 2, Content: envelope.ClientMessage{Body: []byte("early")}}.Append(nil))
	if got := a.arrival(); got != CodePeerProhibited || len(all[Message](a)) != 0 {
		t.Errorf("code %q, events:%s", got, a.history())
	}
}

func TestConfirmationThatIsNotTheFirstMessage(t *testing.T) {
	w, a, b := pair(t)
	a.create(link.Invitation)
	w.run()
	if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
		t.Fatal(err)
	}
	// Two attempts were lost, with their numbers.
	b.seal(nil, envelope.RatchetConfirmation)
	b.seal(nil, envelope.RatchetConfirmation)
	b.conn.sentID = 2
	b.conn.ratchet.Save(b.tx, []byte{recordRatchet})
	w.run()
	checkConnected(t, a, b)
	b.send("next")
	a.send("answer")
	w.run()
	if m := mustEvent[Message](a); m.SenderID != 4 || m.Integrity != (envelope.Integrity{Class: envelope.IntegritySkipped, From: 2, To: 3}) {
		t.Errorf("%+v", m.Integrity)
	}
	if m := mustEvent[Message](b); m.Integrity != (envelope.Integrity{}) {
		t.Errorf("%+v", m.Integrity)
	}
}

func TestWhatMayComeLater(t *testing.T) {
	authorization := envelope.PrivateHeader{SenderKey: someKey()}
	none := envelope.PrivateHeader{}
	place := link.Address{Server: queue.Server{Hosts: []string{"other.example.org"}}, SenderID: "x"}
	plain := envelope.Numbered{Number: 2, Content: envelope.ClientMessage{}}.Append(nil)
	for _, c := range []struct {
		name string
		put  func(b *node)
		want Code
	}{
		{"the confirmation again", func(b *node) {
			b.put(&envelope.Confirmation{Agent: 7, Sealed: []byte("x")}, none, true, 4)
		}, ""},
		{"confirmation without key", func(b *node) {
			b.put(&envelope.Confirmation{Agent: 7, Sealed: []byte("x")}, none, false, 4)
		}, CodePeerProhibited},
		{"message with key", func(b *node) {
			b.put(&envelope.Message{Agent: 7, Sealed: b.seal(plain, 200)}, none, true, 4)
		}, CodePeerProhibited},
		{"message with authorization key", func(b *node) {
			b.put(&envelope.Message{Agent: 7, Sealed: b.seal(plain, 200)}, authorization, false, 4)
		}, CodePeerProhibited},
		{"invitation", func(b *node) { b.put(&envelope.Invitation{Agent: 7}, none, false, 4) }, CodePeerProhibited},
		{"ratchet key with key", func(b *node) {
			b.put(b.someRatchetKey(3), none, true, 4)
		}, CodePeerProhibited},
		{"ratchet key of an unknown version", func(b *node) {
			b.put(b.someRatchetKey(4), none, false, 4)
		}, CodeVersion},
		{"ratchet key of the version without KDF", func(b *node) {
			b.put(b.someRatchetKey(1), none, false, 4)
		}, CodeVersion},
		{"ratchet key without a secret", func(b *node) {
			k := b.someRatchetKey(3)
			k.Keys.Key1, _ = keys.New(keys.X448, make([]byte, 56))
			b.put(k, none, false, 4)
		}, CodeDecryptAES},
		{"unknown client version", func(b *node) {
			b.put(&envelope.Message{Agent: 7, Sealed: b.seal(plain, envelope.RatchetMessage)}, none, false, 5)
		}, CodeVersion},
		{"unknown envelope", func(b *node) {
			c := envelope.Client{Version: 4}
			body, _ := c.Seal(&b.conn.send[0].secret, none, []byte{0, 7, 'Z'})
			b.putBody(body)
		}, CodeMessage},
		{"HELLO", func(b *node) { b.inject(envelope.Hello{}) }, CodePeerProhibited},
		{"connection info", func(b *node) { b.message(envelope.InitiatorInfo{Info: []byte("x")}.Append(nil)) }, CodePeerProhibited},
		{"unknown message", func(b *node) { b.message([]byte("?")) }, CodeMessage},
		{"ready", func(b *node) { b.inject(envelope.Ready{Number: 3}) }, ""},
		{"add queue", func(b *node) {
			b.inject(envelope.AddQueue{{Queue: link.Queue{Client: supported.client, Address: place, DH: b.conn.send[0].dh}}})
		}, CodeQueue},
		{"queue key", func(b *node) {
			b.inject(envelope.QueueKey{{Queue: link.Info{Version: 4, Address: place, DH: b.conn.send[0].dh}, Key: authorization.SenderKey}})
		}, CodeQueue},
		{"use queue", func(b *node) { b.inject(envelope.UseQueue{{Queue: place, Primary: true}}) }, CodeQueue},
		{"test queue", func(b *node) { b.inject(envelope.TestQueue{place}) }, ""},
		{"continue of a queue that is not ours", func(b *node) { b.inject(envelope.Continue{Queue: place}) }, CodeQueue},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, a, b := connectedPair(t)
			c.put(b)
			if got := a.arrival(); got != c.want {
				t.Errorf("code %q, want %q", got, c.want)
			}
			if len(all[Message](a)) != 0 || len(all[Connected](a)) != 1 || a.conn.resync != ResyncOK {
				t.Errorf("events:%s", a.history())
			}
			// The connection goes on.
			b.inject(envelope.ClientMessage{Body: []byte("next")})
			if got := a.arrival(); got != "" {
				t.Errorf("code %q for the next message", got)
			}
			if m := mustEvent[Message](a); string(m.Body) != "next" {
				t.Errorf("got %q", m.Body)
			}
			b.conn.ratchet.Save(b.tx, []byte{recordRatchet})
			a.send("answer")
			a.w.run()
			if m := mustEvent[Message](b); string(m.Body) != "body answer" {
				t.Errorf("got %q", m.Body)
			}
		})
	}
}

func TestWhatMayComeToAContactAddress(t *testing.T) {
	authorization := envelope.PrivateHeader{SenderKey: someKey()}
	none := envelope.PrivateHeader{}
	for _, c := range []struct {
		name string
		put  func(b *node, invitation, contact string)
		want Code
	}{
		{"invitation", func(b *node, i, _ string) { b.put(&envelope.Invitation{Agent: 7, Link: i}, none, true, 4) }, ""},
		{"invitation of an unknown agent version", func(b *node, i, _ string) {
			b.put(&envelope.Invitation{Agent: 9, Link: i}, none, true, 4)
		}, ""},
		{"invitation without key", func(b *node, i, _ string) { b.put(&envelope.Invitation{Agent: 7, Link: i}, none, false, 4) }, CodePeerProhibited},
		{"invitation with authorization key", func(b *node, i, _ string) {
			b.put(&envelope.Invitation{Agent: 7, Link: i}, authorization, true, 4)
		}, CodePeerProhibited},
		{"contact link", func(b *node, _, c string) { b.put(&envelope.Invitation{Agent: 7, Link: c}, none, true, 4) }, CodeLink},
		{"no link", func(b *node, _, _ string) { b.put(&envelope.Invitation{Agent: 7, Link: "x"}, none, true, 4) }, CodeLink},
		{"confirmation", func(b *node, _, _ string) {
			b.put(&envelope.Confirmation{Agent: 7, Sealed: []byte("x")}, none, true, 4)
		}, CodePeerProhibited},
		{"confirmation with authorization key", func(b *node, _, _ string) {
			b.put(&envelope.Confirmation{Agent: 7, Sealed: []byte("x")}, authorization, true, 4)
		}, CodePeerProhibited},
		{"message", func(b *node, _, _ string) { b.put(&envelope.Message{Agent: 7}, none, true, 4) }, CodePeerProhibited},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, a, b := pair(t)
			a.create(link.Contact)
			b.create(link.Invitation)
			w.run()
			contact := mustEvent[LinkReady](a).Link
			s := b.conn.begin(b.env())
			if err := s.addSendQueue(contact.Queues[0].At(4)); err != nil {
				t.Fatal(err)
			}
			c.put(b, mustEvent[LinkReady](b).Link.Text(), contact.Text())
			if got := a.arrival(); got != c.want {
				t.Errorf("code %q, want %q", got, c.want)
			}
			if got := len(all[Request](a)); (got == 1) != (c.want == "") {
				t.Errorf("%d requests", got)
			}
		})
	}
}

func TestResynchronisationState(t *testing.T) {
	w, a, b := connectedPair(t)
	sealed := b.seal([]byte("x"), envelope.RatchetMessage)
	sealed[len(sealed)-1] ^= 1
	b.put(&envelope.Message{Agent: 7, Sealed: sealed}, envelope.PrivateHeader{}, false, 4)
	if got := a.arrival(); got != CodeDecryptAES {
		t.Errorf("code %q", got)
	}
	if e := mustEvent[ResyncChanged](a); e.State != ResyncAllowed || e.Err.Code != CodeDecryptAES {
		t.Errorf("%+v", e)
	}
	a.send("still possible")
	b.put(&envelope.Message{Agent: 7, Sealed: func() []byte {
		sealed := b.seal([]byte("x"), envelope.RatchetMessage)
		sealed[60] ^= 1
		return sealed
	}()}, envelope.PrivateHeader{}, false, 4)
	if got := a.arrival(); got != CodeHeader {
		t.Errorf("code %q", got)
	}
	if e := mustEvent[ResyncChanged](a); e.State != ResyncRequired || e.Err.Code != CodeHeader {
		t.Errorf("%+v", e)
	}
	if err := a.step(Send{Body: []byte("refused")}); !errors.Is(err, &Error{Code: CodeProhibited}) {
		t.Errorf("sent: %v", err)
	}
	// It does not become better by another error, but by a message.
	sealed = b.seal([]byte("y"), envelope.RatchetMessage)
	sealed[len(sealed)-1] ^= 1
	b.put(&envelope.Message{Agent: 7, Sealed: sealed}, envelope.PrivateHeader{}, false, 4)
	if got := a.arrival(); got != CodeDecryptAES {
		t.Errorf("code %q", got)
	}
	if len(all[ResyncChanged](a)) != 2 {
		t.Errorf("events:%s", a.history())
	}
	b.inject(envelope.ClientMessage{Body: []byte("good")})
	a.arrival()
	if e := mustEvent[ResyncChanged](a); e.State != ResyncOK || e.Err != nil {
		t.Errorf("%+v", e)
	}
	a.must(Send{Body: []byte("possible again")})
	w.run()
}

func TestTooManySkipped(t *testing.T) {
	_, a, b := connectedPair(t)
	for range 513 {
		if _, err := b.conn.ratchet.NextSending(ratchet.PQKeep, envelope.RatchetMessage); err != nil {
			t.Fatal(err)
		}
	}
	b.inject(envelope.ClientMessage{})
	if got := a.arrival(); got != CodeSkipped {
		t.Errorf("code %q", got)
	}
	if f := mustEvent[Failure](a); f.Err.Count != 514 {
		t.Errorf("count %d", f.Err.Count)
	}
	if e := mustEvent[ResyncChanged](a); e.State != ResyncRequired {
		t.Errorf("%+v", e)
	}
}

func TestRelayThatSealsWrongly(t *testing.T) {
	_, a, b := connectedPair(t)
	a.must(Received{Queue: a.conn.receive[0].id, ID: "broken", Body: make([]byte, queue.SealedMessageSize)})
	if f := mustEvent[Failure](a); f.Err.Code != CodeDecryptBox {
		t.Errorf("%v", f.Err)
	}
	if a.conn.receive[0].ack != "broken" {
		t.Error("not acknowledged")
	}
	a.must(Received{Queue: "unknown", ID: "x"})
	a.must(Received{Queue: a.conn.receive[0].id})
	if len(all[Failure](a)) != 1 || b.conn.gone {
		t.Errorf("events:%s", a.history())
	}
}

// someKey is an authorization key of nobody.
func someKey() keys.Public {
	k := newSigningKey(bytes.NewReader(make([]byte, 32)))
	return k.public()
}
