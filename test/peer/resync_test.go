package peer_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/agent/ratchet/sntrup761"
)

// hearRatchetKey receives our agent's keys for a new ratchet.
func (p *peer) hearRatchetKey() ratchet.Params {
	p.t.Helper()
	m := p.receive()
	a := p.open(m)
	if a.tag != 'R' || a.key != nil || a.senderKey != nil || a.agent != ownAgent || !a.notify || string(a.sealed) != "R" {
		p.t.Fatalf("no ratchet key: %q, version %d, notification %t", a.tag, a.agent, a.notify)
	}
	if len(a.params.KEM.Public) > 0 {
		p.t.Fatal("our agent proposes a KEM")
	}
	h := sha256.Sum256([]byte("R"))
	p.got, p.gotHash = p.got+1, h[:]
	p.ack(m)
	return *a.params
}

// sayRatchetKey makes and sends keys for a new ratchet.
func (p *peer) sayRatchetKey() {
	p.t.Helper()
	version := p.ratchet.Version()
	var kem ratchet.KEM
	if p.pq && version >= 3 {
		kem = sntrup761.KEM{}
	}
	var err error
	p.keys, err = ratchet.GenerateKeys(rand.Reader, kem)
	must(p.t, err)
	p.sendRatchetKey(p.keys.Params(ratchet.VersionRange{Min: version, Max: version}))
	p.sent++
	p.chain([]byte("R"))
}

func (p *peer) sendRatchetKey(params ratchet.Params) {
	p.t.Helper()
	p.post(true, true, p.body(false, noHeader, ratchetKey(p.speaks, params.AppendSingle(nil))))
}

// newRatchet agrees with our agent's keys. It tells whether the peer sends first.
func (p *peer) newRatchet(theirs ratchet.Params) (first bool) {
	p.t.Helper()
	state, first, err := ratchet.Resynchronise(rand.Reader, p.keys, theirs, p.options())
	must(p.t, err)
	hash := func(k ratchet.Params) []byte {
		h := sha256.Sum256(join(k.Key1.Raw(), k.Key2.Raw()))
		return h[:]
	}
	own := p.keys.Params(theirs.Versions)
	if want := bytes.Compare(hash(own), hash(theirs)) > 0; first != want {
		p.t.Fatalf("sends first: %t", first)
	}
	p.ratchet = state
	return first
}

func ready(last int64) []byte { return join([]byte("E"), i64(last)) }

// expectSync expects an RSYNC.
func expectSync(s *scene, id agent.ConnectionID, state, code string) {
	s.t.Helper()
	if r := expect[*agent.ResyncChanged](s, id); r.State != state || r.Code != code {
		s.t.Fatalf("%+v, want %s %s", r, state, code)
	}
	if state != "ok" && state != "required" { // the others pass
		return
	}
	info, err := s.ours.Connection(s.t.Context(), id)
	must(s.t, err)
	if want := map[string]string{"required": "required"}[state]; info.Ratchet != want {
		s.t.Fatalf("state %q, want %q", info.Ratchet, want)
	}
}

// settleRatchet exchanges the first messages of a new ratchet. heard is the last message that our agent received.
func settleRatchet(s *scene, p *peer, id agent.ConnectionID, theirs ratchet.Params, heard int64) (first bool) {
	s.t.Helper()
	if first = p.newRatchet(theirs); first {
		if _, err := s.ours.Send(s.t.Context(), id, agent.Outgoing{Body: []byte("x")}); err == nil {
			s.t.Fatal("sending is not refused")
		}
		p.say(ready(p.got))
		heard = p.sent
	}
	if got := p.hear(true); !bytes.Equal(got, ready(heard)) {
		s.t.Fatalf("first message %x, last number is %d", got, heard)
	}
	if !first {
		p.say(ready(p.got))
	}
	expectSync(s, id, "ok", "")
	return first
}

// TestResynchronisation makes the ratchet again: started by our agent, by the peer, and by both at once; with the keys of
// either in the role that sends first.
func TestResynchronisation(t *testing.T) {
	starts := map[string]func(s *scene, p *peer, id agent.ConnectionID) bool{
		"ours": func(s *scene, p *peer, id agent.ConnectionID) bool {
			must(t, s.ours.ConnectionResync(s.t.Context(), id, true))
			heard := p.sent
			expectSync(s, id, "started", "")
			theirs := p.hearRatchetKey()
			p.sayRatchetKey()
			expectSync(s, id, "agreed", "")
			return settleRatchet(s, p, id, theirs, heard)
		},
		"theirs": func(s *scene, p *peer, id agent.ConnectionID) bool {
			heard := p.sent
			p.sayRatchetKey()
			expectSync(s, id, "agreed", "")
			return settleRatchet(s, p, id, p.hearRatchetKey(), heard)
		},
		"both": func(s *scene, p *peer, id agent.ConnectionID) bool {
			heard := p.sent
			must(t, s.ours.ConnectionResync(s.t.Context(), id, true))
			p.sayRatchetKey()
			expectSync(s, id, "started", "")
			expectSync(s, id, "agreed", "")
			return settleRatchet(s, p, id, p.hearRatchetKey(), heard)
		},
	}
	for _, x := range []traits{modern(), {agent: 7, client: 4, e2e: 3, speaks: 7, pq: true}, {agent: 3, client: 2, e2e: 2, speaks: 3}} {
		t.Run(fmt.Sprintf("agent %d, KEM %t", x.agent, x.pq), func(t *testing.T) {
			testBothRoles(t, x, func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
				converse(s, p, id)
				for name, start := range starts {
					orders := map[bool]int{}
					for range 64 { // chance decides which
						orders[start(s, p, id)]++
						converse(s, p, id)
						if len(orders) == 2 {
							break
						}
					}
					if len(orders) != 2 {
						t.Errorf("%s: first %v", name, orders)
					}
				}
			})
		})
	}
}

// TestResynchronisationWhenNeeded: our agent's client may start when something did not decrypt, without force.
func TestResynchronisationWhenNeeded(t *testing.T) {
	testBothRoles(t, modern(), func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
		if err := s.ours.ConnectionResync(t.Context(), id, false); err == nil {
			t.Error("not refused")
		}
		for range 513 {
			p.seal(p.number(text([]byte("lost"))), paddedText, paddedTextPQ)
		}
		p.say(text([]byte("too far")))
		expectSync(s, id, "required", "AGENT A_CRYPTO RATCHET_SKIPPED")
		s.expectFailure(id, "AGENT A_CRYPTO RATCHET_SKIPPED")
		heard := p.sent - 514
		must(t, s.ours.ConnectionResync(t.Context(), id, false))
		expectSync(s, id, "started", "")
		if err := s.ours.ConnectionResync(t.Context(), id, false); err == nil {
			t.Error("started twice")
		}
		theirs := p.hearRatchetKey()
		p.sayRatchetKey()
		expectSync(s, id, "agreed", "")
		settleRatchet(s, p, id, theirs, heard)
		converse(s, p, id)
	})
}

// TestRatchetKeys: keys that were taken before are ignored, others while a ratchet was agreed on are an error that only
// another start ends, and what the rules do not allow changes nothing.
func TestRatchetKeys(t *testing.T) {
	testBothRoles(t, modern(), func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
		converse(s, p, id)
		other := func(version uint16) ratchet.Params {
			k, err := ratchet.GenerateKeys(rand.Reader, nil)
			must(t, err)
			return k.Params(ratchet.VersionRange{Min: version, Max: version})
		}
		for _, version := range []uint16{1, 4} {
			p.sendRatchetKey(other(version))
			s.expectFailure(id, "AGENT A_VERSION")
		}
		p.post(true, false, p.body(true, noHeader, ratchetKey(7, other(3).AppendSingle(nil))))
		s.expectFailure(id, "AGENT A_PROHIBITED")
		p.post(true, false, p.body(false, p.keyHeader(), ratchetKey(7, other(3).AppendSingle(nil))))
		s.expectFailure(id, "AGENT A_PROHIBITED")
		p.say(ready(p.got)) // asks for nothing and gets nothing
		converse(s, p, id)

		heard := p.sent
		p.sayRatchetKey()
		expectSync(s, id, "agreed", "")
		again := p.keys.Params(ratchet.VersionRange{Min: 3, Max: 3})
		p.sendRatchetKey(again)
		theirs := p.hearRatchetKey()
		p.sendRatchetKey(other(3))
		expectSync(s, id, "required", "AGENT A_CRYPTO RATCHET_SYNC")
		s.expectFailure(id, "AGENT A_CRYPTO RATCHET_SYNC")
		// The ratchet that was agreed on works nevertheless.
		settleRatchet(s, p, id, theirs, heard)
		p.sendRatchetKey(again)
		converse(s, p, id)
	})
}
