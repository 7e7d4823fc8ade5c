package peer_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// variants are peers of all versions and with both kinds of queues.
func variants() map[string]traits {
	all := map[string]traits{"modern": modern()}
	for v := uint16(2); v <= 6; v++ {
		x := modern()
		x.agent = v
		all[fmt.Sprintf("agent %d", v)] = x
	}
	for v := uint16(1); v <= 3; v++ {
		x := modern()
		x.client = v
		all[fmt.Sprintf("client %d", v)] = x
	}
	x := modern()
	x.e2e = 2
	all["ratchet 2"] = x
	x = modern()
	x.unknown = true
	all["unknown mode"] = x
	all["oldest"] = traits{agent: 2, client: 1, e2e: 2, speaks: 2}
	all["oldest with unknown mode"] = traits{agent: 2, client: 1, e2e: 2, speaks: 2, unknown: true}
	all["old, says the version it has"] = traits{agent: 3, client: 3, e2e: 3, speaks: 3}
	x = modern()
	x.only = 4
	all["client 4 only"] = x
	x.only, x.client = 2, 3
	all["client 2 to 3"] = x
	onion := strings.Repeat("a", 56) + ".onion"
	x = modern()
	x.hosts = []string{"127.0.0.1", onion}
	all["two hosts"] = x
	x.only = 2
	all["two hosts, client 2 to 4"] = x
	x.only, x.hosts = 0, []string{onion, "127.0.0.1"}
	all["onion first"] = x
	x = modern()
	x.key = keys.X25519
	all["authenticator"] = x
	x.client = 2
	all["authenticator, client 2"] = x
	x = modern()
	x.pq = true
	all["post-quantum"] = x
	x.agent = 5
	all["post-quantum, agent 5"] = x
	x = modern()
	x.pq, x.unknown = true, true
	all["post-quantum, unknown mode"] = x
	return all
}

// TestHandshakes connects peers of all kinds in both roles; then messages and receipts go both ways.
func TestHandshakes(t *testing.T) {
	for name, x := range variants() {
		t.Run(name, func(t *testing.T) {
			testBothRoles(t, x, func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
				first := int64(2)
				if p.sent == 2 { // HELLO was needed
					first = 4
				}
				m := tell(s, p, id, "OK", false)
				if m.ID != first || m.Sender != p.sent {
					t.Errorf("first message has ID %d, number %d", m.ID, m.Sender)
				}
				for range 3 {
					converse(s, p, id)
				}
			})
		})
	}
	x := modern()
	x.pq, x.kemLink = true, true
	t.Run("KEM key in the link", func(t *testing.T) {
		s := newScene(t)
		p := newPeer(s, x)
		id := asInitiator(s, p)
		for range 3 {
			converse(s, p, id)
		}
	})
}

// TestVersions: what is outside of the ranges is A_VERSION and can be repeated within.
func TestVersions(t *testing.T) {
	t.Run("links", func(t *testing.T) {
		s := newScene(t)
		for name, change := range map[string]func(*link.Request){
			"agent":   func(r *link.Request) { r.Agent = queue.VersionRange{Min: 8, Max: 9} },
			"agent 1": func(r *link.Request) { r.Agent = queue.VersionRange{Min: 1, Max: 1} },
			"client":  func(r *link.Request) { r.Queues[0].Client = queue.VersionRange{Min: 5, Max: 6} },
			"ratchet": func(r *link.Request) { r.Keys.Versions = ratchet.VersionRange{Min: 4, Max: 5} },
		} {
			r := newPeer(s, modern()).link()
			change(&r)
			_, err := s.ours.JoinConnection(t.Context(), r.Text(), agent.JoinOptions{Info: ourInfo})
			var coded *conn.Error
			if !errors.As(err, &coded) || coded.Code != "AGENT A_VERSION" {
				t.Errorf("%s: %v", name, err)
			}
		}
		p := newPeer(s, modern())
		r := p.link()
		r.Agent.Max, r.Queues[0].Client.Max, r.Keys.Versions.Max = 9, 6, 5
		id, err := s.ours.JoinConnection(t.Context(), r.Text(), agent.JoinOptions{Info: ourInfo})
		must(t, err)
		finishInitiator(s, p, id)
		converse(s, p, id)
	})
	t.Run("confirmations", func(t *testing.T) {
		s := newScene(t)
		p := newPeer(s, modern())
		id, text, err := s.ours.CreateConnection(t.Context(), agent.CreateOptions{})
		must(t, err)
		expect[*agent.LinkReady](s, id)
		params := p.prepare(text)
		p.secureSending()
		p.makeQueue()
		plain := p.joinerPlain(peerInfo)
		send := func(version uint16, params []byte) {
			p.post(true, true, p.body(true, noHeader, confirmation(version, params, p.seal(plain, paddedInfo, paddedInfoPQ))))
			p.sent++
		}
		send(8, params)
		s.expectFailure(id, "AGENT A_VERSION")
		send(7, join(u16(4), params[2:]))
		s.expectFailure(id, "AGENT A_VERSION")
		send(7, join(u16(1), params[2:]))
		s.expectFailure(id, "AGENT A_VERSION")
		p.out.version = 5
		send(7, params)
		s.expectFailure(id, "AGENT A_VERSION")
		p.out.version, p.own.version = 4, 5
		plain = join([]byte("D\x01"), p.queueInfo(), peerInfo)
		send(7, params)
		s.expectFailure(id, "AGENT A_VERSION")
		p.own.version = 4
		plain = join([]byte("D\x01"), p.queueInfo(), peerInfo)
		p.chain(plain)
		send(1, params) // lower than anything is accepted and answered
		p.agreed = 1
		allowed(s, p, id)
		p.sent = 7
		tell(s, p, id, "ERR NO_ID 2 7", true)
		converse(s, p, id)
	})
	t.Run("client versions of messages", func(t *testing.T) {
		testBothRoles(t, modern(), func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
			p.out.version = 5
			p.say(text([]byte("lost")))
			s.expectFailure(id, "AGENT A_VERSION")
			p.out.version = 1
			tell(s, p, id, fmt.Sprintf("ERR NO_ID %d %d", p.sent, p.sent), true)
			p.out.version = 4
			converse(s, p, id)
		})
	})
	t.Run("rises with the ratchet and the messages", func(t *testing.T) {
		x := modern()
		x.agent, x.e2e = 2, 2
		testBothRoles(t, x, func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
			p.speaks = 1
			tell(s, p, id, "OK", true) // no receipt
			p.speaks = 9
			converse(s, p, id)
			p.speaks = 2
			converse(s, p, id) // it does not fall
		})
	})
}
