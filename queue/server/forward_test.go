package server_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// proxy is a connection that forwards commands of clients behind it, and those clients too.
type proxy struct {
	*client
	secret box.Secret // of proxy and relay
}

func (r *relay) proxy(t *testing.T) *proxy {
	p := &proxy{client: r.connect(t)}
	own := p.conn.SessionKey()
	secret, err := box.Agree(own, p.conn.PeerSessionKey())
	must(t, err)
	p.secret = secret
	return p
}

// forward sends a command as the client behind the proxy does, through both layers.
func (p *proxy) forward(entity queue.ID, key queue.PrivateKey, command queue.Command) queue.Response {
	p.t.Helper()
	corrID := randomID()
	return p.forwardRaw(corrID, p.encode(corrID, entity, key, command))
}

func (p *proxy) forwardRaw(corrID queue.ID, transmission []byte) queue.Response {
	p.t.Helper()
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(p.t, err)
	inner, err := box.Agree(ephemeral, p.conn.PeerSessionKey())
	must(p.t, err)
	sealed, err := queue.SealForward(&inner, corrID, transmission)
	must(p.t, err)
	answer := p.rfwd(queue.Forwarded{CorrID: corrID, Version: p.version(), Key: keys.FromX25519(ephemeral.PublicKey()), Sealed: sealed})
	rres, ok := answer.Response.(queue.RRES)
	if !ok {
		return answer.Response
	}
	gotCorrID, sealedReply, err := queue.OpenForwardedReply(&p.secret, answer.CorrID, rres)
	must(p.t, err)
	raw, err := queue.OpenForwardReply(&inner, corrID, sealedReply)
	must(p.t, err)
	a, err := queue.DecodeAnswer(p.version(), p.conn.SessionID(), raw)
	must(p.t, err)
	if gotCorrID != corrID || a.CorrID != corrID {
		p.t.Fatal("the reply has another correlation ID")
	}
	return a.Response
}

// rfwd sends an envelope and returns the answer to the proxy.
func (p *proxy) rfwd(f queue.Forwarded) queue.Answer {
	p.t.Helper()
	nonce := randomID()
	p.write(p.encode(nonce, "", unsigned, queue.SealForwarded(&p.secret, nonce, f)))
	return p.await(nonce)
}

func TestForwarding(t *testing.T) {
	r := startRelay(t, nil)
	bob, p := r.connect(t), r.proxy(t)
	for _, algorithm := range []keys.Algorithm{keys.Ed25519, keys.X25519} {
		q := bob.subscribed()
		key := newKey(t, algorithm)
		p.want(p.forward(q.sender, key, queue.SKEY{Key: key.Public()}), queue.OK{})
		largest := strings.Repeat("x", queue.MaxBodySize(p.version()))
		p.want(p.forward(q.sender, key, send(largest)), queue.OK{})
		bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: q.receive(bob, largest)})

		// The client behind the proxy gets the errors of its command.
		p.want(p.forward(q.sender, unsigned, send("unsigned")), queue.ERR{Err: queue.ErrAuth})
		p.want(p.forward(randomID(), unsigned, send("nobody")), queue.ERR{Err: queue.ErrAuth})
		p.want(p.forward(q.sender, key, send(largest+"x")), queue.ERR{Err: queue.ErrLargeMsg})
		for _, c := range []queue.Command{queue.SUB{}, queue.OFF{}, queue.DEL{}, queue.GET{}, queue.QUE{}} {
			p.want(p.forward(q.recipient, q.key, c), queue.ERR{Err: queue.ErrCmdProhibited})
		}
		p.want(p.forward("", unsigned, queue.PING{}), queue.ERR{Err: queue.ErrCmdProhibited})
		p.want(p.forward("", unsigned, queue.RFWD{Sealed: []byte("x")}), queue.ERR{Err: queue.ErrCmdProhibited})
		corrID := randomID()
		unknown := queue.AppendTransmission(nil, p.version(), queue.Transmission{CorrID: corrID, Body: []byte("HELLO")})
		p.want(p.forwardRaw(corrID, unknown), queue.ERR{Err: queue.ErrCmdUnknown})
	}
	bob.quiet()
	if forwarded := r.Stats().Commands.Forwarded; forwarded == 0 {
		t.Fatal("forwarded commands are not counted")
	}
}

func TestForwardingErrors(t *testing.T) {
	r := startRelay(t, nil)
	p := r.proxy(t)
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(t, err)
	inner, err := box.Agree(ephemeral, p.conn.PeerSessionKey())
	must(t, err)
	valid := queue.Forwarded{CorrID: randomID(), Version: p.version(), Key: keys.FromX25519(ephemeral.PublicKey())}
	seal := func(payload []byte) queue.Forwarded {
		t.Helper()
		f := valid
		var err error
		f.Sealed, err = box.SealPadded(nil, &inner, []byte(f.CorrID), payload, queue.SealedForwardSize-box.Overhead)
		must(t, err)
		return f
	}
	refused := func(a queue.Answer, want queue.Error) {
		t.Helper()
		p.want(a.Response, queue.ERR{Err: want})
		if a.EntityID != "" {
			t.Fatal("the answer has an entity")
		}
	}
	refused(p.rfwd(valid), queue.ErrCrypto) // nothing sealed inside
	refused(p.rfwd(seal(nil)), queue.ErrBlock)
	refused(p.rfwd(seal([]byte{1, 0})), queue.ErrBlock)
	ping := p.encode("c", "", unsigned, queue.PING{})
	two := append([]byte{2, 0, byte(len(ping))}, ping...)
	two = append(append(two, 0, byte(len(ping))), ping...)
	refused(p.rfwd(seal(two)), queue.ErrBlock)
	weak := seal([]byte{1, 0, 0})
	weak.Key, err = keys.New(keys.X25519, make([]byte, 32)) // agrees on zeros with everybody
	must(t, err)
	refused(p.rfwd(weak), queue.ErrCrypto)
	nonce := randomID()
	p.write(p.encode(nonce, "", unsigned, queue.RFWD{Sealed: box.Seal(nil, &p.secret, []byte(nonce), []byte("no envelope"))}))
	refused(p.await(nonce), queue.ErrCmdSyntax)

	// At version 6 there is no session key to agree with.
	old := r.connectAt(t, queue.VersionRange{Min: 6, Max: 6})
	old.wantErr(queue.ProxyBroker(queue.BrokerNoAuth), "", unsigned, queue.RFWD{Sealed: []byte("x")})
	p.quiet()
}
