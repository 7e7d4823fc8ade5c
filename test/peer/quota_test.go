package peer_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/queue"
)

const quota = 128 // messages in a queue of the relay

// TestPeersFullQueue: a peer that takes nothing fills its queue; our agent waits, and goes on when the peer says so.
func TestPeersFullQueue(t *testing.T) {
	s := newScene(t)
	p := newPeer(s, modern())
	id := asJoiner(s, p)
	converse(s, p, id)
	body := func(i int) []byte { return fmt.Appendf(nil, "fill %d", i) }
	for i := range quota + 2 {
		_, err := s.ours.Send(t.Context(), id, agent.Outgoing{Body: body(i)})
		must(t, err)
	}
	for range quota {
		expect[*agent.Sent](s, id)
	}
	if w := expect[*agent.SendDelayed](s, id); w.Code != "SMP QUOTA" {
		t.Errorf("%+v", w)
	}
	for i := range quota {
		if got := p.hear(false); !bytes.Equal(got, text(body(i))) {
			t.Fatalf("%q instead of message %d", got, i)
		}
	}
	m := p.receive()
	if !p.open(m).quota {
		t.Fatal("no marker behind the messages")
	}
	refused := make(chan struct{}, 1)
	s.tap.when(func(e entry) {
		if e.what == "full" {
			select {
			case refused <- struct{}{}:
			default:
			}
		}
	})
	p.say(goOn(p.own.address(p)))
	<-refused // the marker is not acknowledged yet
	s.tap.when(nil)
	p.ack(m)
	expect[*agent.Continued](s, id)
	expect[*agent.SendDelayed](s, id)
	for i := quota; i < quota+2; i++ {
		if got := p.hear(false); !bytes.Equal(got, text(body(i))) {
			t.Fatalf("%q instead of message %d", got, i)
		}
		expect[*agent.Sent](s, id)
	}
	p.say(goOn(p.own.address(p))) // nothing waits
	expect[*agent.Continued](s, id)
	converse(s, p, id)
}

// TestOurFullQueue: our client takes nothing until its queue is full; at the marker the peer is told to go on.
func TestOurFullQueue(t *testing.T) {
	s := newScene(t)
	p := newPeer(s, modern())
	id := asInitiator(s, p)
	converse(s, p, id)
	body := func(i int) []byte { return fmt.Appendf(nil, "fill %d", i) }
	for i := range quota {
		p.say(text(body(i)))
	}
	last := p.number(text(body(quota)))
	sealed := p.sealed(last)
	for range 2 {
		if err := p.tryPost(true, true, sealed); !errors.Is(err, queue.ErrQuota) {
			t.Fatalf("a full queue answers %v", err)
		}
	}
	for i := range quota {
		m := expect[*agent.Message](s, id)
		if !bytes.Equal(m.Body, body(i)) || m.Integrity != "OK" {
			t.Fatalf("%+v instead of message %d", m, i)
		}
		must(t, s.ours.Ack(t.Context(), id, m.ID, nil))
	}
	want := goOn(link.Address{Server: s.relay, SenderID: p.out.id})
	if got := p.hear(false); !bytes.Equal(got, want) {
		t.Fatalf("%x is no QC of the queue", got)
	}
	p.post(true, true, sealed)
	told(s, p, id, body(quota), "OK", true)
	converse(s, p, id)
}
