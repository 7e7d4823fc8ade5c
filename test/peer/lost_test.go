package peer_test

import (
	"bytes"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/queue"
)

// loseAnswer cuts our agent's connections when the relay has done something in a queue for the n-th time, before it answers.
func (s *scene) loseAnswer(what string, fits func(entry) bool, n int32) {
	var seen atomic.Int32
	s.tap.when(func(e entry) {
		if e.what == what && fits(e) && seen.Add(1) == n {
			s.wires.cut()
		}
	})
}

func anyQueue(entry) bool { return true }

// peersQueue fits what happens in the peer's queue.
func (p *peer) peersQueue() func(entry) bool {
	id := p.own.ID
	return func(e entry) bool { return e.queue == id }
}

// awaitRepeat takes the repetition of a message, which our agent sends because it did not get the relay's answer.
func (p *peer) awaitRepeat(first queue.MSG) {
	p.t.Helper()
	a := p.open(first)
	m := p.receive()
	b := p.open(m)
	if a.tag != b.tag || a.agent != b.agent || !bytes.Equal(a.sealed, b.sealed) || !bytes.Equal(a.senderKey, b.senderKey) || !bytes.Equal(a.key, b.key) {
		p.t.Error("what is repeated is not the same")
	}
	p.ack(m)
}

// lostAnswers are the steps of our agent in a handshake and behind it.
func lostAnswers(x traits) []string {
	if x.client >= 3 {
		return []string{"NEW", "SKEY", "confirmation", "message"}
	}
	return []string{"NEW", "KEY", "confirmation", "HELLO", "message"}
}

// TestLostAnswersOfJoiner loses the relay's answers to everything that our joiner does.
func TestLostAnswersOfJoiner(t *testing.T) {
	for name, x := range map[string]traits{"fast": modern(), "standard": {agent: 7, client: 2, e2e: 3, speaks: 7}} {
		for _, lost := range lostAnswers(x) {
			t.Run(name+" "+lost, func(t *testing.T) {
				t.Parallel()
				s := newScene(t)
				p := newPeer(s, x)
				text := p.link().Text()
				switch lost {
				case "SKEY":
					s.loseAnswer("secure", p.peersQueue(), 1)
				case "NEW":
					s.loseAnswer("NEW", anyQueue, 1)
				case "confirmation":
					s.loseAnswer("SEND", p.peersQueue(), 1)
				}
				id, err := s.ours.JoinConnection(t.Context(), text, agent.JoinOptions{Info: ourInfo})
				must(t, err)
				m := p.receive()
				p.confirmed(p.open(m))
				if lost == "confirmation" {
					if !p.ownFast() { // before the unsigned one is repeated, which must be signed then
						p.secureOwn()
						s.keySet[p.own.ID]++
					}
					p.ack(m)
					p.awaitRepeat(m)
				} else {
					p.ack(m)
				}
				expect[*agent.Joined](s, id)
				if lost == "KEY" {
					s.loseAnswer("secure", func(e entry) bool { return e.queue == s.tap.bySender(p.out.id) }, 1)
				}
				if lost == "HELLO" {
					s.loseAnswer("SEND", p.peersQueue(), 1)
				}
				p.answer(peerInfo)
				expect[*agent.PeerInfo](s, id)
				if !p.out.fast {
					m := p.receive()
					if content := p.read(p.open(m), true); !bytes.Equal(content, hello) {
						t.Fatalf("%q is no HELLO", content)
					}
					p.ack(m)
					if lost == "HELLO" {
						p.awaitRepeat(m)
					}
					p.say(hello)
				}
				expect[*agent.Connected](s, id)
				s.loseMessage(p, id, lost == "message")
				s.tap.when(nil)
				converse(s, p, id)
				s.checkRepeats(p, lost)
			})
		}
	}
}

// loseMessage loses the answer to a client message.
func (s *scene) loseMessage(p *peer, id agent.ConnectionID, lose bool) {
	s.t.Helper()
	if !lose {
		return
	}
	s.loseAnswer("SEND", p.peersQueue(), 1)
	number, err := s.ours.Send(s.t.Context(), id, agent.Outgoing{Body: []byte("once more")})
	must(s.t, err)
	m := p.receive()
	if got := p.read(p.open(m), false); string(got) != "Monce more" {
		s.t.Fatalf("%q", got)
	}
	p.ack(m)
	p.awaitRepeat(m)
	if e := expect[*agent.Sent](s, id); e.ID != number {
		s.t.Errorf("%+v", e)
	}
}

// checkRepeats: keys were set twice, but the same, and only NEW leaves something behind.
func (s *scene) checkRepeats(p *peer, lost string) {
	s.t.Helper()
	ours := s.tap.bySender(p.out.id)
	for _, q := range []queue.ID{p.own.ID, ours} {
		var set []entry
		for _, e := range s.tap.of(q) {
			if e.what == "secure" {
				set = append(set, e)
			}
		}
		for _, e := range set {
			if !e.key.Equal(set[0].key) {
				s.t.Error("another key is set")
			}
		}
		want := 1 + s.keySet[q]
		if lost == "SKEY" && q == p.own.ID || lost == "KEY" && q == ours {
			want++
		}
		if len(set) != want {
			s.t.Errorf("key set %d times, want %d", len(set), want)
		}
	}
	if n := s.ours.Counters().Commands["NEW"]; n != 1 {
		s.t.Errorf("%d answers to NEW", n)
	}
	s.tap.mu.Lock()
	defer s.tap.mu.Unlock()
	made := slices.DeleteFunc(slices.Clone(s.tap.entries), func(e entry) bool { return e.what != "NEW" })
	if want := map[bool]int{true: 3, false: 2}[lost == "NEW"]; len(made) != want {
		s.t.Errorf("%d queues were made, want %d", len(made), want)
	}
}

// TestLostAnswersOfInitiator loses the relay's answers to everything that our initiator does.
func TestLostAnswersOfInitiator(t *testing.T) {
	for name, x := range map[string]traits{"fast": modern(), "standard": {agent: 7, client: 2, e2e: 3, speaks: 7}} {
		for _, lost := range lostAnswers(x) {
			t.Run(name+" "+lost, func(t *testing.T) {
				t.Parallel()
				s := newScene(t)
				p := newPeer(s, x)
				if lost == "NEW" {
					s.loseAnswer("NEW", anyQueue, 1)
				}
				id, text, err := s.ours.CreateConnection(t.Context(), agent.CreateOptions{})
				must(t, err)
				expect[*agent.LinkReady](s, id)
				p.join(text, peerInfo)
				c := expect[*agent.Confirmation](s, id)
				switch lost {
				case "KEY":
					s.loseAnswer("secure", func(e entry) bool { return e.queue == s.tap.bySender(p.out.id) }, 1)
				case "SKEY":
					s.loseAnswer("secure", p.peersQueue(), 1)
				case "confirmation":
					s.loseAnswer("SEND", p.peersQueue(), 1)
				}
				must(t, s.ours.Allow(t.Context(), id, c.Confirmation, ourInfo))
				m := p.receive()
				a := p.open(m)
				p.checkConfirmation(a)
				p.heard(1, p.decrypt(a))
				if !p.ownFast() {
					p.secureOwn()
				}
				p.ack(m)
				if lost == "confirmation" {
					p.awaitRepeat(m)
				}
				if !p.ownFast() {
					if lost == "HELLO" {
						s.loseAnswer("SEND", p.peersQueue(), 1)
					}
					p.say(hello)
					m := p.receive()
					if content := p.read(p.open(m), true); !bytes.Equal(content, hello) {
						t.Fatalf("%q is no HELLO", content)
					}
					p.ack(m)
					if lost == "HELLO" {
						p.awaitRepeat(m)
					}
				}
				expect[*agent.Connected](s, id)
				s.loseMessage(p, id, lost == "message")
				s.tap.when(nil)
				converse(s, p, id)
				s.checkRepeats(p, lost)
			})
		}
	}
}

// TestDeliveredAgain: what our client has not acknowledged when the connection is lost is told once more, as it was; what it
// has acknowledged is not, although the relay delivers it again.
func TestDeliveredAgain(t *testing.T) {
	testBothRoles(t, modern(), func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
		p.say(text([]byte("waits")))
		m := expect[*agent.Message](s, id)
		s.wires.cut()
		again := expect[*agent.Message](s, id)
		if !again.Again || again.ID != m.ID || !bytes.Equal(again.Body, m.Body) {
			t.Errorf("%+v, first it was %+v", again, m)
		}
		own := s.tap.bySender(p.out.id)
		s.loseAnswer("ACK", func(e entry) bool { return e.queue == own }, 1)
		must(t, s.ours.Ack(t.Context(), id, m.ID, nil))
		tell(s, p, id, "OK", true)
		s.tap.when(nil)
		converse(s, p, id)
	})
}
