package server_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"testing"
	"time"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
	"github.com/coterie-im/coterie/queue/transport"
)

// raw is a transmission with any body, authorized with key if there is one.
func (c *client) raw(entity queue.ID, key queue.PrivateKey, body string) []byte {
	c.t.Helper()
	t := queue.Transmission{SessionID: c.conn.SessionID(), CorrID: c.corrID(), EntityID: entity, Body: []byte(body)}
	if !key.IsZero() {
		var err error
		t.Authorization, err = key.Authorize(c.conn.PeerSessionKey(), t.CorrID, queue.AppendAuthorized(nil, c.conn.SessionID(), t))
		must(c.t, err)
	}
	return queue.AppendTransmission(nil, c.version(), t)
}

// params returns the parameters of a command behind its tag.
func params(c queue.Command) string {
	return string(queue.AppendCommand(nil, queue.VersionSecureSender, c)[len(c.Tag()):])
}

// TestOrderOfErrors sends every kind of wrong command; the first rule that is broken is the one that is answered.
func TestOrderOfErrors(t *testing.T) {
	r := startRelay(t, nil)
	c := r.connect(t)
	q := c.newInbox(queue.NEW{Mode: queue.ModeMessaging})
	off := c.newInbox(queue.NEW{Mode: queue.ModeMessaging})
	c.wantOK(off.recipient, off.key, queue.OFF{})
	blocked := c.newInbox(queue.NEW{Mode: queue.ModeMessaging})
	_, err := r.store.SetStatus(t.Context(), blocked.recipient, store.Blocked, "spam")
	must(t, err)
	other := newKey(t, keys.Ed25519)
	dh, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(t, err)
	newParams := params(queue.NEW{RecipientKey: other.Public(), RecipientDH: keys.FromX25519(dh.PublicKey()), Mode: queue.ModeMessaging})
	keyParams := params(queue.KEY{Key: other.Public()})
	nkeyParams := params(queue.NKEY{NotifierKeys: queue.NotifierKeys{Key: other.Public(), DH: keys.FromX25519(dh.PublicKey())}})
	large := string(bytes.Repeat([]byte("x"), queue.MaxBodySize(c.version())+1))
	x448 := string([]byte{68}) + "\x30\x42\x30\x05\x06\x03\x2b\x65\x6f\x03\x39\x00" + string(make([]byte, 56))
	nobody := randomID()

	type test struct {
		name   string
		entity queue.ID
		key    queue.PrivateKey
		body   string
		want   queue.Error
	}
	tests := []test{
		{"unknown tag", "", unsigned, "HELLO", queue.ErrCmdUnknown},
		{"empty command", "", unsigned, "", queue.ErrCmdUnknown},
		{"tag of a relay", q.recipient, q.key, "OK", queue.ErrCmdUnknown},
		{"event of a relay", q.recipient, q.key, "MSG x", queue.ErrCmdUnknown},
		{"lower case", "", unsigned, "ping", queue.ErrCmdUnknown},
		{"tag of a later version", q.recipient, q.key, "LDEL", queue.ErrCmdUnknown},
		{"tag of a later version, unsigned", "", unsigned, "SUBS", queue.ErrCmdUnknown},
		{"NEW without parameters", "", other, "NEW", queue.ErrCmdSyntax},
		{"NEW with parameters and more", "", other, "NEW" + newParams + "x", queue.ErrCmdSyntax},
		{"NEW unsigned", "", unsigned, "NEW" + newParams, queue.ErrCmdNoAuth},
		{"NEW unsigned with entity", q.recipient, unsigned, "NEW" + newParams, queue.ErrCmdNoAuth},
		{"NEW with entity", q.recipient, other, "NEW" + newParams, queue.ErrCmdHasAuth},
		{"NEW signed with another key", "", q.key, "NEW" + newParams, queue.ErrAuth},
		{"KEY without parameters", q.recipient, q.key, "KEY", queue.ErrCmdSyntax},
		{"KEY with more", q.recipient, q.key, "KEY" + keyParams + "x", queue.ErrCmdSyntax},
		{"KEY with a key that signs nothing", q.recipient, q.key, "KEY " + x448, queue.ErrCmdSyntax},
		{"ACK without parameters", q.recipient, q.key, "ACK", queue.ErrCmdSyntax},
		{"ACK of nothing", q.recipient, q.key, "ACK \x00", queue.ErrNoMsg},
		{"SEND without parameters", q.sender, unsigned, "SEND", queue.ErrCmdSyntax},
		{"SEND without flag", q.sender, unsigned, "SEND X hello", queue.ErrCmdSyntax},
		{"SEND without entity", "", unsigned, "SEND F hello", queue.ErrCmdNoEntity},
		{"SEND without entity, signed", "", other, "SEND F hello", queue.ErrCmdNoEntity},
		{"SEND to nobody", nobody, unsigned, "SEND F hello", queue.ErrAuth},
		{"SEND to nobody, signed", nobody, other, "SEND F hello", queue.ErrAuth},
		{"SEND to nobody, large", nobody, unsigned, "SEND F " + large, queue.ErrAuth},
		{"SEND to a recipient ID", q.recipient, unsigned, "SEND F hello", queue.ErrAuth},
		{"SEND signed, not secured", q.sender, other, "SEND F hello", queue.ErrAuth},
		{"SEND large", q.sender, unsigned, "SEND F " + large, queue.ErrLargeMsg},
		{"SEND to a queue that is off", off.sender, unsigned, "SEND F hello", queue.ErrAuth},
		{"SEND large to a queue that is off", off.sender, unsigned, "SEND F " + large, queue.ErrLargeMsg},
		{"SEND large to a blocked queue", blocked.sender, unsigned, "SEND F " + large, queue.ErrLargeMsg},
		{"SEND to a blocked queue", blocked.sender, unsigned, "SEND F hello", queue.ErrAuth}, // BLOCKED is of version 12
		{"SUB of a blocked queue", blocked.recipient, blocked.key, "SUB", queue.ErrAuth},
		{"SKEY unsigned", q.sender, unsigned, "SKEY" + keyParams, queue.ErrCmdNoAuth},
		{"SKEY signed with another key", q.sender, q.key, "SKEY" + keyParams, queue.ErrAuth},
		{"SKEY for nobody", nobody, other, "SKEY" + keyParams, queue.ErrAuth},
		{"NSUB of nobody", nobody, other, "NSUB", queue.ErrAuth},
		{"NSUB with a recipient ID", q.recipient, q.key, "NSUB", queue.ErrAuth},
		{"NKEY without parameters", q.recipient, q.key, "NKEY", queue.ErrCmdSyntax},
		{"PING with parameters", "", unsigned, "PING x", queue.ErrCmdSyntax},
		{"PING with entity", q.recipient, unsigned, "PING", queue.ErrCmdHasAuth},
		{"PING signed", "", other, "PING", queue.ErrCmdHasAuth},
		{"PRXY without parameters", "", unsigned, "PRXY", queue.ErrCmdSyntax},
		{"PRXY to a relay", "", unsigned, "PRXY" + params(queue.PRXY{Server: queue.Server{Hosts: []string{"localhost"}}}), queue.ErrProxyBasicAuth},
		{"PRXY signed", "", other, "PRXY" + params(queue.PRXY{Server: queue.Server{Hosts: []string{"localhost"}}}), queue.ErrCmdHasAuth},
		{"PFWD without entity", "", unsigned, "PFWD" + params(queue.PFWD{Version: 9, Key: keys.FromX25519(dh.PublicKey())}), queue.ErrCmdNoEntity},
		{"PFWD to no session", nobody, unsigned, "PFWD" + params(queue.PFWD{Version: 9, Key: keys.FromX25519(dh.PublicKey())}), queue.ErrProxyNoSession},
		{"PFWD signed", nobody, other, "PFWD" + params(queue.PFWD{Version: 9, Key: keys.FromX25519(dh.PublicKey())}), queue.ErrCmdHasAuth},
		{"RFWD of nonsense", "", unsigned, "RFWD nonsense", queue.ErrCrypto},
		{"RFWD with entity", nobody, unsigned, "RFWD nonsense", queue.ErrCmdHasAuth},
	}
	for _, command := range []struct{ tag, params string }{
		{"SUB", ""}, {"GET", ""}, {"OFF", ""}, {"DEL", ""}, {"QUE", ""}, {"NDEL", ""}, {"NSUB", ""},
		{"KEY", keyParams}, {"NKEY", nkeyParams}, {"ACK", " \x00"}, {"SKEY", keyParams},
	} {
		body := command.tag + command.params
		tests = append(tests,
			test{command.tag + " unsigned", q.recipient, unsigned, body, queue.ErrCmdNoAuth},
			test{command.tag + " without entity", "", q.key, body, queue.ErrCmdNoAuth},
			test{command.tag + " with neither", "", unsigned, body, queue.ErrCmdNoAuth},
			test{command.tag + " for nobody", nobody, q.key, body, queue.ErrAuth},
			test{command.tag + " signed with another key", q.recipient, newKey(t, keys.Ed25519), body, queue.ErrAuth},
			test{command.tag + " with an authenticator", q.recipient, newKey(t, keys.X25519), body, queue.ErrAuth},
			test{command.tag + "= is another tag", q.recipient, q.key, command.tag + "=" + command.params, queue.ErrCmdUnknown},
			test{command.tag + " with more", q.recipient, q.key, body + " x", queue.ErrCmdSyntax},
		)
	}
	for _, x := range tests {
		t.Run(x.name, func(t *testing.T) {
			c.t = t
			raw := c.raw(x.entity, x.key, x.body)
			c.write(raw)
			sent, err := queue.DecodeTransmission(c.version(), raw)
			must(t, err)
			a := c.await(sent.CorrID)
			c.want(a.Response, queue.ERR{Err: x.want})
			if a.EntityID != x.entity {
				t.Fatal("the answer has another entity")
			}
		})
	}
	c.t = t
	// None of that has done anything.
	c.wantOK(q.recipient, q.key, queue.SUB{})
	c.wantOK(q.sender, unsigned, send("hello"))
	q.receive(c, "hello")
	c.wantOK(blocked.recipient, blocked.key, queue.OFF{})
	c.wantOK(blocked.recipient, blocked.key, queue.SUB{})
	c.wantOK(blocked.recipient, blocked.key, queue.DEL{})
	c.quiet()
}

func TestMalformedBlocks(t *testing.T) {
	r := startRelay(t, nil)
	bob, mallory := r.connect(t), r.connect(t)
	q := bob.subscribed()

	ping := mallory.raw("", unsigned, "PING")
	pong := func() {
		t.Helper()
		mallory.want(mallory.do("", unsigned, queue.PING{}), queue.PONG{})
	}
	errorOf := func(payload []byte, want ...queue.Answer) {
		t.Helper()
		must(t, mallory.conn.WriteBlock(payload))
		var got []queue.Answer
		for len(got) < len(want) {
			got = append(got, mallory.read()...)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("answer %d is %s, want %s with the same IDs", i, show(got[i].Response), show(want[i].Response))
			}
		}
		pong()
	}
	bare := queue.Answer{Response: queue.ERR{Err: queue.ErrBlock}}
	errorOf(nil, bare)
	errorOf([]byte{0}, bare)
	errorOf([]byte{1}, bare)
	errorOf([]byte{2, 0, 1, 0}, bare)
	errorOf(append(wire.AppendStr16([]byte{1}, ping), 'x'), bare)
	errorOf(bytes.Repeat([]byte{0xff}, mallory.conn.MaxPayload()), bare)
	// A transmission that does not parse leaves its neighbours alone.
	good := mallory.raw("", unsigned, "PING")
	sent, err := queue.DecodeTransmission(mallory.version(), good)
	must(t, err)
	payload := wire.AppendStr16(wire.AppendStr16(wire.AppendStr16([]byte{3}, []byte{200, 1, 2}), good), nil)
	errorOf(payload, bare, queue.Answer{CorrID: sent.CorrID, Response: queue.PONG{}}, bare)
	// An authorization of an impossible size keeps the correlation ID, and loses the entity.
	for _, size := range []int{1, 63, 65, 81, 255} {
		t := queue.Transmission{Authorization: make([]byte, size), CorrID: "c", EntityID: q.recipient, Body: []byte("SUB")}
		payload := wire.AppendStr16([]byte{1}, queue.AppendTransmission(nil, mallory.version(), t))
		errorOf(payload, queue.Answer{CorrID: "c", Response: queue.ERR{Err: queue.ErrBlock}})
	}

	mallory.wantOK(q.sender, unsigned, send("still works"))
	q.receive(bob, "still works")
}

func TestTruncatedConnections(t *testing.T) {
	r := startRelay(t, nil)
	bob := r.connect(t)
	q := bob.subscribed()
	for _, garbage := range [][]byte{nil, []byte("GET / HTTP/1.1\r\n\r\n"), bytes.Repeat([]byte{0x16}, 70000)} {
		conn, err := r.dial()
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(patience)))
		_, _ = conn.Write(garbage)
		must(t, conn.Close())
	}
	// A connection that ends without a word, and one that wants another relay.
	half := r.connect(t)
	must(t, half.conn.Close())
	conn, err := r.dial()
	must(t, err)
	_, err = transport.Client(t.Context(), conn, transport.ClientConfig{Fingerprint: [32]byte{1}})
	if err == nil {
		t.Fatal("another identity was accepted")
	}
	waitFor(t, "failed handshakes are counted", func() bool { return r.Stats().Connections.HandshakeErrors >= 4 })
	waitFor(t, "ended sessions are forgotten", func() bool { return r.Stats().Connections.Open == 1 })
	alice := r.connect(t)
	alice.wantOK(q.sender, unsigned, send("still works"))
	q.receive(bob, "still works")
}

func TestSessionIDInVersion6(t *testing.T) {
	r := startRelay(t, nil)
	c := r.connectAt(t, queue.VersionRange{Min: 6, Max: 6})
	q := c.newInbox(queue.NEW{Subscribe: true})
	if q.mode != queue.ModeNone {
		t.Fatal("queue has a mode")
	}
	c.wantOK(q.sender, unsigned, send("hello"))
	c.wantOK(q.recipient, q.key, queue.ACK{MessageID: q.receive(c, "hello")})
	bad := queue.AppendTransmission(nil, 6, queue.Transmission{
		SessionID: make([]byte, 32), CorrID: "c", EntityID: q.recipient, Body: []byte("PING"),
	})
	c.write(bad)
	if a := c.read()[0]; a != (queue.Answer{CorrID: "c", Response: queue.ERR{Err: queue.ErrSession}}) {
		t.Fatalf("answer is %s", show(a.Response))
	}
	// A body of the size of an old sender is delivered to a new recipient.
	largest := string(bytes.Repeat([]byte("x"), queue.MaxBodySize(6)))
	c.wantOK(q.sender, unsigned, send(largest))
	q.receive(c, largest)
	c.wantErr(queue.ErrLargeMsg, q.sender, unsigned, send(largest+"x"))
	bob := r.connect(t)
	bob.wantOK(q.recipient, q.key, queue.SUB{})
	q.receive(bob, largest)
}

func TestEveryVersion(t *testing.T) {
	r := startRelay(t, nil)
	supported := queue.Supported()
	for v := supported.Min; v <= supported.Max; v++ {
		bob, alice := r.connectAt(t, queue.VersionRange{Min: v, Max: v}), r.connectAt(t, queue.VersionRange{Min: v, Max: v})
		if bob.version() != v {
			t.Fatalf("agreed on version %d instead of %d", bob.version(), v)
		}
		q := bob.newInbox(queue.NEW{Subscribe: true, Mode: queue.ModeMessaging})
		if v < queue.VersionSecureSender {
			q.mode = queue.ModeMessaging
		}
		key := newKey(t, keys.Ed25519)
		bob.wantOK(q.recipient, q.key, queue.KEY{Key: key.Public()})
		alice.wantOK(q.sender, key, queue.SEND{Notify: true, Body: []byte("hello")})
		bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: q.receive(bob, "hello")})
		bob.wantOK(q.recipient, q.key, queue.DEL{})
	}
	if _, err := r.tryConnect(t, queue.VersionRange{Min: 10, Max: 18}); err == nil {
		t.Fatal("a version that is not announced was agreed on")
	}
}

func TestKeysOfEveryAlgorithm(t *testing.T) {
	r := startRelay(t, nil)
	c := r.connect(t)
	for _, a := range []keys.Algorithm{keys.Ed25519, keys.X25519} {
		key := newKey(t, a)
		q := c.newInboxWith(key, queue.NEW{Subscribe: true, Mode: queue.ModeMessaging})
		sender := newKey(t, a)
		c.wantOK(q.sender, sender, queue.SKEY{Key: sender.Public()})
		c.wantOK(q.sender, sender, send("hello"))
		c.wantOK(q.recipient, key, queue.ACK{MessageID: q.receive(c, "hello")})
	}
}
