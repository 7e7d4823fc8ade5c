package peer_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/queue"
)

// TestRatchetRises: a peer that agreed on version 2 of the ratchet and says 3 in its headers is answered with 3.
func TestRatchetRises(t *testing.T) {
	x := modern()
	x.e2e, x.rises = 2, true
	testBothRoles(t, x, func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
		for range 3 {
			converse(s, p, id)
		}
		if v := p.ratchet.Version(); v != 3 {
			t.Errorf("version %d", v)
		}
	})
	x = modern()
	x.e2e = 2
	testBothRoles(t, x, func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
		for range 3 {
			converse(s, p, id)
		}
		if v := p.ratchet.Version(); v != 2 {
			t.Errorf("version %d", v)
		}
	})
}

// TestReceipts: several in one message, with another hash, for what is no message of the client, and again.
func TestReceipts(t *testing.T) {
	x := modern()
	x.unknown = true
	testBothRoles(t, x, func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
		var list []receipt
		var numbers []int64
		for i := range 4 {
			n, err := s.ours.Send(t.Context(), id, agent.Outgoing{Body: fmt.Appendf(nil, "%d", i)})
			must(t, err)
			p.hear(false)
			expect[*agent.Sent](s, id)
			numbers = append(numbers, n)
			list = append(list, receipt{p.got, p.gotHash, fmt.Appendf(nil, "info %d", i)})
		}
		want := func(receipts ...agent.Receipt) {
			t.Helper()
			r := expect[*agent.Received](s, id)
			if fmt.Sprint(r.Receipts) != fmt.Sprint(receipts) {
				t.Fatalf("%v, want %v", r.Receipts, receipts)
			}
			must(t, s.ours.Ack(t.Context(), id, r.ID, nil))
		}
		damaged := receipt{list[1].number, random(32), nil}
		p.say(receipts(list[0], damaged, receipt{1, random(32), nil}, receipt{1000, random(32), nil}, receipt{-1, nil, nil}))
		want(agent.Receipt{ID: numbers[0], Good: true, Info: []byte("info 0")}, agent.Receipt{ID: numbers[1]})
		p.say(receipts(list[0], list[0])) // again: nothing
		p.say(receipts(list[1], list[1])) // the right hash behind a wrong one; it counts once
		want(agent.Receipt{ID: numbers[1], Good: true, Info: []byte("info 1")})
		p.say(receipts(receipt{p.got + 5, nil, nil})) // nothing
		p.say(receipts(list[3], list[2]))
		r := expect[*agent.Received](s, id)
		if err := s.ours.Ack(t.Context(), id, r.ID, &agent.AckOptions{Receipt: true}); err == nil {
			t.Error("a receipt of a receipt")
		}
		must(t, s.ours.Ack(t.Context(), id, r.ID, nil))
		converse(s, p, id)
	})
}

// TestBothAtOnce: messages cross on their way, so that both ratchets step at any time.
func TestBothAtOnce(t *testing.T) {
	for _, x := range []traits{modern(), {agent: 7, client: 4, e2e: 3, speaks: 7, pq: true}} {
		testBothRoles(t, x, func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
			for round := range 5 {
				const burst = 7
				for i := range burst {
					_, err := s.ours.Send(t.Context(), id, agent.Outgoing{Body: fmt.Appendf(nil, "ours %d %d", round, i)})
					must(t, err)
					p.say(text(fmt.Appendf(nil, "peer's %d %d", round, i)))
				}
				sent, got := 0, 0
				for sent+got < 2*burst {
					switch e := s.next(id).(type) {
					case *agent.Sent:
						sent++
					case *agent.Message:
						if string(e.Body) != fmt.Sprintf("peer's %d %d", round, got) || e.Integrity != "OK" {
							t.Fatalf("%+v instead of message %d", e, got)
						}
						must(t, s.ours.Ack(t.Context(), id, e.ID, nil))
						got++
					default:
						t.Fatalf("%s %+v", e.Type(), e)
					}
				}
				for i := range burst {
					if body := p.hear(false); string(body) != fmt.Sprintf("Mours %d %d", round, i) {
						t.Fatalf("%q", body)
					}
				}
			}
			converse(s, p, id)
		})
	}
}

// TestReservedBodies: bodies with the prefix of group frames that are none are taken and told to nobody.
func TestReservedBodies(t *testing.T) {
	prefix := []byte("\x00coterie/group/1\x00")
	testBothRoles(t, modern(), func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
		for _, body := range [][]byte{prefix, join(prefix, []byte("\x00\x05")), join(prefix, str16(random(50))), join(prefix, random(3000))} {
			p.say(text(body))
		}
		tell(s, p, id, "OK", true)
		p.say(text(prefix[:len(prefix)-1]))
		told(s, p, id, prefix[:len(prefix)-1], "OK", true)
		if _, err := s.ours.Send(t.Context(), id, agent.Outgoing{Body: prefix}); err == nil {
			t.Error("our client may send frames")
		}
		converse(s, p, id)
	})
}

// TestHelloAgain: a HELLO whose answer was lost comes again and is taken silently, before and after it is answered.
func TestHelloAgain(t *testing.T) {
	x := modern()
	x.client = 2
	s := newScene(t)
	p := newPeer(s, x)
	id, text, err := s.ours.CreateConnection(t.Context(), agent.CreateOptions{})
	must(t, err)
	expect[*agent.LinkReady](s, id)
	p.join(text, peerInfo)
	c := expect[*agent.Confirmation](s, id)
	must(t, s.ours.Allow(t.Context(), id, c.Confirmation, nil))
	p.awaitAnswer()
	p.secureOwn()
	body := p.sealed(p.number(hello))
	p.post(true, true, body)
	p.post(true, true, body)
	p.hear(true)
	expect[*agent.Connected](s, id)
	p.post(true, true, body)
	converse(s, p, id)
	p.say(hello)
	s.expectFailure(id, "AGENT A_PROHIBITED")
	converse(s, p, id)
}

// TestPeerIsGone: what our agent reports when the peer's queue is not there (any more).
func TestPeerIsGone(t *testing.T) {
	failed := func(s *scene, id agent.ConnectionID, code, fault string) {
		s.t.Helper()
		if f := expect[*agent.Failed](s, id); f.Code != code || f.Fault != fault {
			s.t.Errorf("%+v, want %s by %s", f, code, fault)
		}
	}
	t.Run("before it is joined", func(t *testing.T) {
		s := newScene(t)
		p := newPeer(s, modern())
		text := p.link().Text()
		must(t, p.session.Delete(t.Context(), p.own.Queue))
		id, err := s.ours.JoinConnection(t.Context(), text, agent.JoinOptions{})
		must(t, err)
		failed(s, id, "SMP AUTH", "agent")
	})
	t.Run("somebody else has joined", func(t *testing.T) {
		s := newScene(t)
		p := newPeer(s, modern())
		text := p.link().Text()
		first, err := s.ours.JoinConnection(t.Context(), text, agent.JoinOptions{Info: ourInfo})
		must(t, err)
		p.awaitConfirmation()
		second, err := s.ours.JoinConnection(t.Context(), text, agent.JoinOptions{Info: ourInfo})
		must(t, err)
		at := s.at
		failed(s, second, "SMP AUTH", "agent")
		s.at = at
		expect[*agent.Joined](s, first)
		p.answer(peerInfo)
		expect[*agent.PeerInfo](s, first)
		expect[*agent.Connected](s, first)
		converse(s, p, first)
	})
	for _, x := range []traits{modern(), {agent: 7, client: 2, e2e: 3, speaks: 7}} {
		t.Run(fmt.Sprintf("before it is answered, client %d", x.client), func(t *testing.T) {
			s := newScene(t)
			p := newPeer(s, x)
			id, text, err := s.ours.CreateConnection(t.Context(), agent.CreateOptions{})
			must(t, err)
			expect[*agent.LinkReady](s, id)
			p.join(text, peerInfo)
			c := expect[*agent.Confirmation](s, id)
			must(t, p.session.Delete(t.Context(), p.own.Queue))
			must(t, s.ours.Allow(t.Context(), id, c.Confirmation, nil))
			if x.client == 4 {
				failed(s, id, "SMP AUTH", "agent") // SKEY
			} else {
				failed(s, id, "CONN NOT_AVAILABLE", "over")
			}
		})
	}
	t.Run("before HELLO", func(t *testing.T) {
		x := modern()
		x.client = 2
		s := newScene(t)
		p := newPeer(s, x)
		id, err := s.ours.JoinConnection(t.Context(), p.link().Text(), agent.JoinOptions{})
		must(t, err)
		p.awaitConfirmation()
		expect[*agent.Joined](s, id)
		p.secureOwn()
		must(t, p.session.Delete(t.Context(), p.own.Queue))
		p.sent++
		plain := join([]byte("I"), peerInfo)
		p.chain(plain)
		p.confirm(nil, plain)
		expect[*agent.PeerInfo](s, id)
		failed(s, id, "CONN NOT_AVAILABLE", "over")
	})
	testBothRoles(t, modern(), func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
		converse(s, p, id)
		must(t, p.session.Off(t.Context(), p.own.Queue))
		for range 2 {
			n, err := s.ours.Send(t.Context(), id, agent.Outgoing{Body: []byte("to nobody")})
			must(t, err)
			if f := expect[*agent.SendFailed](s, id); f.ID != n || f.Code != "SMP AUTH" {
				t.Errorf("%+v", f)
			}
		}
		tell(s, p, id, "OK", false) // the other direction works
		must(t, s.ours.DeleteConnection(t.Context(), id, false))
		expect[*agent.Deleted](s, id)
		if err := p.tryPost(true, false, random(100)); err == nil {
			t.Error("our queue is not deleted")
		}
	})
}

// TestAddressIsNeverSecured: the queue of a contact address is in contact mode and takes no key.
func TestAddressIsNeverSecured(t *testing.T) {
	s := newScene(t)
	_, address := anAddress(s)
	p := newPeer(s, modern())
	p.sendTo(address.Queues[0].At(4))
	own := s.tap.of(s.tap.bySender(p.out.id))
	if len(own) != 1 || own[0].mode != queue.ModeContact {
		t.Errorf("%+v", own)
	}
}

// TestOnlyTheRatchetOpens: a peer with other keys than those of the link gets nowhere, and does not disturb.
func TestOnlyTheRatchetOpens(t *testing.T) {
	s := newScene(t)
	p := newPeer(s, modern())
	id, text, err := s.ours.CreateConnection(t.Context(), agent.CreateOptions{})
	must(t, err)
	expect[*agent.LinkReady](s, id)
	params := p.prepare(text)
	right := p.ratchet
	other := newPeer(s, modern())
	p.ratchet, _, err = ratchet.NewJoiner(bytes.NewReader(random(1000)), other.makeKeys(), p.options())
	must(t, err)
	p.secureSending()
	p.makeQueue()
	plain := p.joinerPlain(peerInfo)
	p.confirm(params, plain)
	s.expectFailure(id, "AGENT A_CRYPTO RATCHET_HEADER")
	p.ratchet = right
	p.confirm(params, plain)
	allowed(s, p, id)
	converse(s, p, id)
}
