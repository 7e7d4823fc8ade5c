package peer_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/queue"
)

// request posts an invitation envelope to an address of our agent, with a key of its own each time.
func (p *peer) request(address link.Request, version uint16, text string, info []byte) {
	p.t.Helper()
	p.sendTo(address.Queues[0].At(queue.Version(p.client)))
	p.post(false, true, p.body(true, noHeader, invitation(version, text, info)))
}

// anAddress makes a contact address of our agent.
func anAddress(s *scene) (agent.ConnectionID, link.Request) {
	s.t.Helper()
	id, text, err := s.ours.CreateConnection(s.t.Context(), agent.CreateOptions{Contact: true, ClientData: "{}"})
	must(s.t, err)
	expect[*agent.LinkReady](s, id)
	r, err := link.Parse(text)
	must(s.t, err)
	if r.Kind != link.Contact || r.Queues[0].Mode != queue.ModeContact || string(r.ClientData) != "{}" || r.Agent.Min != 2 || r.Agent.Max != 7 {
		s.t.Fatal("another address")
	}
	return id, r
}

// TestOwnAddress: peers of several kinds ask at an address of our agent, and are accepted.
func TestOwnAddress(t *testing.T) {
	s := newScene(t)
	id, address := anAddress(s)
	kem := modern()
	kem.pq, kem.kemLink = true, true
	old := traits{agent: 2, client: 1, e2e: 2, speaks: 2}
	for i, x := range []traits{modern(), kem, old} {
		p := newPeer(s, x)
		text := p.link().Text()
		if i == 1 {
			text = "https://simplex.chat" + text[len("simplex:"):]
		}
		p.request(address, x.agent, text, peerInfo)
		r := expect[*agent.Request](s, id)
		if !bytes.Equal(r.Info, peerInfo) || !r.Compatible {
			t.Errorf("%+v", r)
		}
		joined, err := s.ours.Accept(t.Context(), id, r.Request, ourInfo)
		must(t, err)
		finishInitiator(s, p, joined)
		converse(s, p, joined)
	}
}

// TestRequests: repeated requests are reported again, incompatible ones too, and the longest fits; what is no request is
// reported and taken away.
func TestRequests(t *testing.T) {
	s := newScene(t)
	id, address := anAddress(s)
	p := newPeer(s, modern())
	r := p.link()
	text := r.Text()

	p.request(address, 7, text, peerInfo)
	p.request(address, 7, text, peerInfo)
	first, second := expect[*agent.Request](s, id), expect[*agent.Request](s, id)
	if first.Request == second.Request || !first.Compatible || !second.Compatible {
		t.Errorf("%+v %+v", first, second)
	}
	incompatible := r
	incompatible.Agent = queue.VersionRange{Min: 8, Max: 9}
	p.request(address, 9, incompatible.Text(), peerInfo)
	strange := expect[*agent.Request](s, id)
	if strange.Compatible {
		t.Error("a link of agent version 8 is compatible")
	}
	var coded *conn.Error
	if _, err := s.ours.Accept(t.Context(), id, strange.Request, ourInfo); !errors.As(err, &coded) || coded.Code != "AGENT A_VERSION" {
		t.Errorf("accept: %v", err)
	}
	longest := random(paddedFirst - 2 - 1 - 3 - 2 - len(text))
	p.request(address, 7, text, longest)
	if r := expect[*agent.Request](s, id); !bytes.Equal(r.Info, longest) {
		t.Errorf("%d bytes of info", len(r.Info))
	}
	p.request(address, 7, text, nil)
	if r := expect[*agent.Request](s, id); len(r.Info) != 0 {
		t.Errorf("%d bytes of info", len(r.Info))
	}

	wrong := func(code string, body []byte) {
		t.Helper()
		p.post(false, true, body)
		if f := expect[*agent.Failed](s, id); f.Code != code || f.Fault != "peer" {
			t.Errorf("%+v, want %s", f, code)
		}
	}
	params := newPeer(s, modern()).makeKeys().At(3).AppendSingle(nil)
	wrong("AGENT A_PROHIBITED", p.body(true, p.keyHeader(), invitation(7, text, peerInfo)))
	wrong("AGENT A_PROHIBITED", p.body(true, p.keyHeader(), confirmation(7, params, random(14000))))
	wrong("AGENT A_PROHIBITED", p.body(true, noHeader, confirmation(7, params, random(14000))))
	wrong("AGENT A_PROHIBITED", p.body(true, noHeader, message(7, random(15000))))
	wrong("AGENT A_PROHIBITED", p.body(true, noHeader, ratchetKey(7, params)))
	wrong("AGENT A_PROHIBITED", p.body(false, noHeader, invitation(7, text, peerInfo)))
	wrong("AGENT A_LINK", p.body(true, noHeader, invitation(7, "simplex:/invitation#/?v=2-7", peerInfo)))
	wrong("AGENT A_LINK", p.body(true, noHeader, invitation(7, address.Text(), peerInfo)))
	wrong("AGENT A_MESSAGE", p.body(true, noHeader, []byte("\x00\x07I\x10")))
	wrong("AGENT A_CRYPTO DECRYPT_CB", sealBody(t, 4, newDH(), (*[32]byte)(random(32)), true, noHeader, invitation(7, text, nil)))
	wrong("AGENT A_VERSION", join(u16(5), p.body(true, noHeader, invitation(7, text, nil))[2:]))

	must(t, s.ours.Reject(t.Context(), id, first.Request))
	joined, err := s.ours.Accept(t.Context(), id, second.Request, ourInfo)
	must(t, err)
	finishInitiator(s, p, joined)
	converse(s, p, joined)
}

// TestPeersAddress: our agent asks at addresses of several kinds.
func TestPeersAddress(t *testing.T) {
	s := newScene(t)
	for i, x := range []traits{modern(), {agent: 3, client: 1, e2e: 3, speaks: 7}, {agent: 7, client: 4, e2e: 3, speaks: 7, pq: true}} {
		p := newPeer(s, x)
		p.contact = true
		r := p.link()
		want := x.agent
		if i == 1 {
			r.Agent = queue.VersionRange{Min: 1, Max: 3}
		}
		text := r.Text()
		if i == 2 {
			text = "https://simplex.chat" + text[len("simplex:"):]
		}
		info := ourInfo
		id, err := s.ours.JoinConnection(t.Context(), text, agent.JoinOptions{Info: info})
		must(t, err)
		m := p.receive()
		a := p.open(m)
		if a.tag != 'I' || a.agent != want || a.senderKey != nil || !a.notify || !bytes.Equal(a.sealed, info) {
			t.Errorf("request: %q, version %d, notification %t, info %q", a.tag, a.agent, a.notify, a.sealed)
		}
		p.ack(m)
		if j := expect[*agent.Joined](s, id); j.CanSend {
			t.Error("a requester can send at once")
		}
		if entries := words(s.tap.of(p.own.ID)); fmt.Sprint(entries) != "[NEW SEND]" {
			t.Errorf("address: %v", entries)
		}
		// The owner accepts: it joins as any joiner.
		p.contact, p.own = false, nil
		p.join(a.link, peerInfo)
		allowed(s, p, id)
		converse(s, p, id)
	}
}
