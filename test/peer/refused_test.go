package peer_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// lost is the integrity of a message behind n that were not understood.
func (p *peer) lost(n int64) string {
	return fmt.Sprintf("ERR NO_ID %d %d", p.sent+1-n, p.sent)
}

// TestWrongMessages sends what the tables of docs/protocol.md ("What the recipient accepts", "Plaintexts") do not allow to
// a connected agent. Everything is reported and acknowledged, and the next message arrives.
func TestWrongMessages(t *testing.T) {
	const prohibited, malformed = "AGENT A_PROHIBITED", "AGENT A_MESSAGE"
	address := link.Address{Server: queue.Server{Hosts: []string{"smp.example.org"}}, SenderID: "some queue"}
	type attempt struct {
		name string
		code string
		send func(p *peer)
	}
	plain := func(name, code string, b []byte) attempt {
		return attempt{name, code, func(p *peer) { p.sayPlain(b) }}
	}
	content := func(name, code string, b []byte) attempt {
		return attempt{name, code, func(p *peer) { p.say(b) }}
	}
	envelope := func(name, code string, b func(p *peer) []byte) attempt {
		return attempt{name, code, func(p *peer) { p.post(true, false, p.body(false, noHeader, b(p))) }}
	}
	sealedText := func(p *peer) []byte {
		return p.seal(numbered(p.sent+1, p.sentHash, text([]byte("x"))), 14000, 11000)
	}
	params := func(p *peer) []byte {
		q := newPeer(&scene{t: p.t, relay: p.server}, modern())
		return q.makeKeys().At(3).AppendSingle(nil)
	}
	attempts := []attempt{
		plain("initiator's info in a message", prohibited, []byte("Iinfo")),
		plain("joiner's info in a message", malformed, []byte("D\x00info")),
		plain("ratchet info in a message", prohibited, []byte("R")),
		plain("nothing", malformed, nil),
		plain("unknown plaintext", malformed, []byte("Xyz")),
		plain("cut numbered message", malformed, []byte("M\x00\x00")),
		content("no content", malformed, nil),
		content("unknown content", malformed, []byte("Z")),
		content("HELLO", prohibited, hello),
		content("HELLO and more", malformed, []byte("Hi")),
		content("no receipts", malformed, []byte("V\x00")),
		content("QC of another queue", "AGENT A_QUEUE", goOn(address)),
		content("QC and more", malformed, append(goOn(address), 'x')),
		content("QA", "AGENT A_QUEUE", addQueue(address)),
		content("QK", "AGENT A_QUEUE", queueKey(address)),
		content("QU", "AGENT A_QUEUE", join([]byte("QU\x01"), address.Append(nil), []byte("T"))),
		content("QT and more", malformed, join([]byte("QT\x01"), address.Append(nil), []byte("x"))),
		envelope("unknown envelope", malformed, func(p *peer) []byte { return []byte("\x00\x07Zxy") }),
		envelope("cut envelope", malformed, func(p *peer) []byte { return []byte("\x00") }),
		envelope("no envelope", malformed, func(p *peer) []byte { return nil }),
		envelope("confirmation without a key in front", prohibited, func(p *peer) []byte { return confirmation(7, nil, sealedText(p)) }),
		envelope("confirmation with parameters without a key in front", prohibited, func(p *peer) []byte { return confirmation(7, params(p), sealedText(p)) }),
		envelope("invitation", prohibited, func(p *peer) []byte { return invitation(7, "simplex:/invitation#/?v=2-7", nil) }),
		envelope("malformed ratchet key", malformed, func(p *peer) []byte { return []byte("\x00\x07R\x00\x03zz") }),
		envelope("malformed ratchet message", malformed, func(p *peer) []byte { return message(7, []byte("\x00\x10short")) }),
		{"message with a key in front", prohibited, func(p *peer) {
			p.post(true, false, p.body(true, noHeader, message(7, p.seal([]byte("M"), 14000, 11000))))
		}},
		{"message with a private header", prohibited, func(p *peer) {
			p.post(true, false, p.body(false, p.keyHeader(), message(7, p.seal([]byte("M"), 14000, 11000))))
		}},
		{"invitation with a key in front", prohibited, func(p *peer) {
			p.post(true, false, p.body(true, noHeader, invitation(7, "simplex:/invitation#/?v=2-7", nil)))
		}},
		{"another key in front", "AGENT A_CRYPTO DECRYPT_CB", func(p *peer) {
			secret := [32]byte(random(32))
			p.post(true, false, sealBody(p.t, 4, newDH(), &secret, true, noHeader, confirmation(7, nil, random(100))))
		}},
		{"unknown private header", malformed, func(p *peer) { p.post(true, false, p.body(false, []byte("X"), message(7, sealedText(p)))) }},
		{"nothing at all", malformed, func(p *peer) { p.post(true, false, nil) }},
		{"noise", "AGENT A_VERSION", func(p *peer) {
			p.post(true, false, join([]byte("\x70\x700"), random(16000)))
		}},
	}
	testBothRoles(t, modern(), func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
		converse(s, p, id)
		for _, a := range attempts {
			sent := p.sent
			a.send(p)
			if f := expect[*agent.Failed](s, id); f.Code != a.code || f.Fault != "peer" {
				t.Errorf("%s: %+v, want %s", a.name, f, a.code)
			}
			integrity := "OK"
			if p.sent > sent && a.code == malformed {
				integrity = p.lost(1)
			}
			tell(s, p, id, integrity, false)
		}
		// Repeated confirmations are taken without a word.
		p.post(true, true, p.body(true, noHeader, confirmation(7, nil, random(14000))))
		p.post(true, true, p.body(true, p.keyHeader(), confirmation(7, nil, random(14000))))
		converse(s, p, id)
	})
}

func addQueue(a link.Address) []byte {
	return join([]byte("QA\x01"), u16(1), u16(4), a.Append(nil), str8(keys.FromX25519(newDH().PublicKey()).DER()), []byte("T1"), a.Append(nil))
}

func queueKey(a link.Address) []byte {
	dh := str8(keys.FromX25519(newDH().PublicKey()).DER())
	return join([]byte("QK\x01"), u16(4), a.Append(nil), dh, []byte("M"), dh)
}

// TestRatchetErrors: what does not decrypt is reported with the state of the ratchet, which gets well with the next message
// that does.
func TestRatchetErrors(t *testing.T) {
	for _, x := range []traits{modern(), {agent: 7, client: 4, e2e: 3, speaks: 7, pq: true}, {agent: 3, client: 2, e2e: 2, speaks: 3}} {
		t.Run(fmt.Sprintf("agent %d, KEM %t", x.agent, x.pq), func(t *testing.T) {
			testBothRoles(t, x, ratchetErrors)
		})
	}
}

func ratchetErrors(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
	sync := func(state, code string) {
		t.Helper()
		if r := expect[*agent.ResyncChanged](s, id); r.State != state || r.Code != code {
			t.Fatalf("%+v, want %s %s", r, state, code)
		}
	}
	envelope := func(sealed []byte) []byte { return p.body(false, noHeader, message(p.speaks, sealed)) }
	next := func() []byte { return p.seal(p.number(text([]byte("m"))), paddedText, paddedTextPQ) }
	converse(s, p, id)

	// A header changed in transit.
	true1 := next()
	changed := bytes.Clone(true1)
	changed[60] ^= 1
	p.post(true, false, envelope(changed))
	sync("required", "AGENT A_CRYPTO RATCHET_HEADER")
	s.expectFailure(id, "AGENT A_CRYPTO RATCHET_HEADER")
	if _, err := s.ours.Send(t.Context(), id, agent.Outgoing{Body: []byte("x")}); err == nil {
		t.Error("sending is not refused")
	}
	p.post(true, false, envelope(true1)) // the unchanged one is well
	sync("ok", "")
	told(s, p, id, []byte("m"), "OK", false)

	// A body changed in transit; its key is used up.
	true2 := next()
	changed = bytes.Clone(true2)
	changed[len(changed)-1] ^= 1
	p.post(true, false, envelope(changed))
	sync("allowed", "AGENT A_CRYPTO DECRYPT_AES")
	s.expectFailure(id, "AGENT A_CRYPTO DECRYPT_AES")
	p.post(true, false, envelope(true2))
	s.expectFailure(id, "AGENT A_DUPLICATE")
	p.say(text([]byte("behind it")))
	sync("ok", "")
	told(s, p, id, []byte("behind it"), p.lostBefore(1), false)

	// The same message again is taken silently, another with its number is not.
	again := next()
	p.post(true, false, envelope(again))
	told(s, p, id, []byte("m"), "OK", false)
	p.post(true, false, envelope(again))
	converse(s, p, id)

	// Two messages that change places.
	one := next()
	h1, n1 := p.sentHash, p.sent
	two := next()
	p.post(true, false, envelope(two))
	told(s, p, id, []byte("m"), fmt.Sprintf("ERR NO_ID %d %d", n1, n1), false)
	p.post(true, false, envelope(one))
	p.sent, p.sentHash = n1, h1
	told(s, p, id, []byte("m"), fmt.Sprintf("ERR ID %d", n1), false)
	p.sent++
	tell(s, p, id, p.lost(1), false)
	converse(s, p, id)

	// A box that does not open.
	secret := [32]byte(random(32))
	p.post(true, false, sealBody(t, p.out.version, p.out.dh, &secret, false, noHeader, message(7, random(15000))))
	sync("allowed", "AGENT A_CRYPTO DECRYPT_CB")
	s.expectFailure(id, "AGENT A_CRYPTO DECRYPT_CB")
	p.say(text([]byte("behind the box")))
	sync("ok", "")
	told(s, p, id, []byte("behind the box"), "OK", false)

	// More are missing than may be.
	for range 513 {
		next()
	}
	p.say(text([]byte("too far")))
	sync("required", "AGENT A_CRYPTO RATCHET_SKIPPED")
	s.expectFailure(id, "AGENT A_CRYPTO RATCHET_SKIPPED")
}

// lostBefore is lost for a message that was sent already.
func (p *peer) lostBefore(n int64) string {
	return fmt.Sprintf("ERR NO_ID %d %d", p.sent-n, p.sent-1)
}

// TestIntegrity goes through the table of results, which change nothing else.
func TestIntegrity(t *testing.T) {
	testBothRoles(t, modern(), func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
		converse(s, p, id)
		last, hash := p.sent, p.sentHash
		wrong := random(32)
		for _, step := range []struct {
			offset int64 // from the last number
			hash   []byte
			want   string
		}{
			{1, nil, "OK"},
			{4, nil, "ERR NO_ID %d %d"},
			{1, nil, "OK"},
			{1, wrong, "ERR HASH"},
			{1, nil, "OK"},
			{0, nil, "ERR DUPLICATE"},
			{0, wrong, "ERR DUPLICATE"},
			{-2, nil, "ERR ID %d"},
			{1, nil, "OK"},
			{3, wrong, "ERR NO_ID %d %d"},
			{1, []byte{}, "ERR HASH"},
			{1, wrong[:31], "ERR HASH"},
			{-int64(1) << 40, nil, "ERR ID %d"},
			{1 << 40, nil, "ERR NO_ID %d %d"},
			{1, nil, "OK"},
		} {
			number := last + step.offset
			want := step.want
			switch {
			case step.offset < 0:
				want = fmt.Sprintf(want, number)
			case step.offset > 1:
				want = fmt.Sprintf(want, last+1, number-1)
			}
			previous := hash
			if step.hash != nil {
				previous = step.hash
			}
			plain := numbered(number, previous, text([]byte("body")))
			p.sayPlain(plain)
			h := sha256.Sum256(plain)
			last, hash = number, h[:]
			p.sent, p.sentHash = number, hash
			told(s, p, id, []byte("body"), want, true)
		}
		converse(s, p, id)
	})
}
