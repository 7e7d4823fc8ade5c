package peer_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// expectSwitch expects a SWITCH.
func expectSwitch(s *scene, id agent.ConnectionID, direction agent.SwitchDirection, phase string) {
	s.t.Helper()
	if e := expect[*agent.SwitchChanged](s, id); e.Direction != direction || e.Phase != phase || e.Code != "" {
		s.t.Fatalf("%+v, want %s %s", e, direction, phase)
	}
}

// letter is the suffix of a messaging queue in the information for one version.
func letter(version uint16) []byte {
	switch {
	case version >= 4:
		return []byte("M")
	case version == 3:
		return []byte("T")
	default:
		return nil
	}
}

func pub(k interface{ DER() []byte }) []byte { return str8(k.DER()) }

// peerSwitches: the peer moves its queue; every byte that our agent answers is checked.
func peerSwitches(s *scene, p *peer, id agent.ConnectionID) {
	s.t.Helper()
	old := p.own
	next := p.makeQueue()
	p.own = old
	from, to := old.address(p).Append(nil), next.address(p).Append(nil)
	suffix := []byte("T")
	if p.client < 3 {
		suffix = nil
	}
	p.say(join([]byte("QA\x01"), u16(1), u16(p.client), to, pub(keys.FromX25519(next.dh.PublicKey())), suffix, []byte("1"), from))
	expectSwitch(s, id, agent.SwitchPeer, "started")

	got := p.hear(false)
	front := join([]byte("QK\x01"), u16(p.client), to)
	if !bytes.HasPrefix(got, front) {
		s.t.Fatalf("QK %x, want %x", got, front)
	}
	c := cursor{s.t, got[len(front):]}
	dh, err := keys.Parse(c.str8())
	must(s.t, err)
	if mode := letter(p.client); !bytes.HasPrefix(c.rest, mode) {
		s.t.Fatalf("no %q in %x", mode, c.rest)
	} else {
		c.bytes(len(mode))
	}
	if next.senderKey, err = keys.Parse(c.str8()); err != nil || next.senderKey.Algorithm() != keys.Ed25519 || len(c.rest) > 0 {
		s.t.Fatalf("key of the sender: %v, %d bytes more", err, len(c.rest))
	}
	next.secret = shared(s.t, next.dh, dh)
	expectSwitch(s, id, agent.SwitchPeer, "confirmed")

	p.own = next
	p.secureOwn()
	p.say(join([]byte("QU\x01"), to, []byte("T")))
	expectSwitch(s, id, agent.SwitchPeer, "secured")
	if got, want := p.hear(false), join([]byte("QT\x01"), to); !bytes.Equal(got, want) {
		s.t.Fatalf("QT %x, want %x", got, want)
	}
	expectSwitch(s, id, agent.SwitchPeer, "completed")
	must(s.t, p.session.Delete(s.t.Context(), old.Queue))
}

// oursSwitches: our agent moves its queue; every byte that it says is checked.
func oursSwitches(s *scene, p *peer, id agent.ConnectionID) {
	s.t.Helper()
	must(s.t, s.ours.ConnectionSwitch(s.t.Context(), id))
	expectSwitch(s, id, agent.SwitchOwn, "started")
	got := p.hear(false)
	front := join([]byte("QA\x01"), u16(1), u16(4))
	if !bytes.HasPrefix(got, front) {
		s.t.Fatalf("QA %x, want %x", got, front)
	}
	r := wire.NewReader(got[len(front):])
	to := link.ReadAddress(r)
	dh := keys.Read(r, keys.X25519)
	rest := r.Rest()
	must(s.t, r.Done())
	replaced := link.Address{Server: p.out.server, SenderID: p.out.id}
	if want := join([]byte("T1"), replaced.Append(nil)); !bytes.Equal(rest, want) {
		s.t.Fatalf("QA ends %x, want %x", rest, want)
	}
	old := p.out
	p.sendTo(link.Info{Version: queue.Version(p.client), Address: to, DH: dh, Mode: queue.ModeMessaging})
	next := p.out
	p.out = old
	p.say(join([]byte("QK\x01"), u16(p.client), to.Append(nil), pub(keys.FromX25519(next.dh.PublicKey())), letter(p.client), pub(next.key.Public())))
	expectSwitch(s, id, agent.SwitchOwn, "confirmed")
	expectSwitch(s, id, agent.SwitchOwn, "secured")
	if got, want := p.hear(false), join([]byte("QU\x01"), to.Append(nil), []byte("T")); !bytes.Equal(got, want) {
		s.t.Fatalf("QU %x, want %x", got, want)
	}
	if info, err := s.ours.Connection(s.t.Context(), id); err != nil || info.SwitchReceiving != "secured" {
		s.t.Fatalf("%+v, %v", info, err)
	}
	p.out = next
	p.say(join([]byte("QT\x01"), to.Append(nil)))
	expectSwitch(s, id, agent.SwitchOwn, "completed")
	if info, err := s.ours.Connection(s.t.Context(), id); err != nil || info.SwitchReceiving != "" {
		s.t.Fatalf("%+v, %v", info, err)
	}
}

// TestSwitches moves the queue of either side, again and again, with peers of several versions.
func TestSwitches(t *testing.T) {
	for _, x := range []traits{modern(), {agent: 7, client: 4, e2e: 3, speaks: 7, pq: true}, {agent: 3, client: 2, e2e: 2, speaks: 3}, {agent: 7, client: 3, e2e: 3, speaks: 7}} {
		t.Run(fmt.Sprintf("agent %d, client %d, KEM %t", x.agent, x.client, x.pq), func(t *testing.T) {
			testBothRoles(t, x, func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
				converse(s, p, id)
				for range 2 {
					peerSwitches(s, p, id)
					converse(s, p, id)
					oursSwitches(s, p, id)
					converse(s, p, id)
				}
			})
		})
	}
}
