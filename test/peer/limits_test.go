package peer_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/conn"
)

func wantLarge(t *testing.T, err error) {
	t.Helper()
	var coded *conn.Error
	if !errors.As(err, &coded) || coded.Code != "CMD LARGE" {
		t.Errorf("error %v, want CMD LARGE", err)
	}
}

// TestLargestMessages: the longest bodies go through in both directions; one byte more is refused and uses nothing up.
func TestLargestMessages(t *testing.T) {
	testBothRoles(t, modern(), func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
		hearOurs(s, p, id, []byte("first"), true)
		hearOurs(s, p, id, random(15795), true)
		_, err := s.ours.Send(t.Context(), id, agent.Outgoing{Body: random(15796)})
		wantLarge(t, err)
		hearOurs(s, p, id, nil, false)

		body := random(15795)
		p.say(text(body))
		told(s, p, id, body, "OK", true)
		p.say(text(nil))
		told(s, p, id, nil, "OK", true)
		converse(s, p, id)
	})
	x := modern()
	x.pq = true
	testBothRoles(t, x, func(t *testing.T, s *scene, p *peer, id agent.ConnectionID) {
		converse(s, p, id)
		body := random(13573)
		p.say(text(body))
		told(s, p, id, body, "OK", true)
		hearOurs(s, p, id, random(15795), true) // ours declines, and may use all
		converse(s, p, id)
	})
}

// TestLargestInfo: the longest connection info of initiators is 14,829 bytes, that of joiners shorter by their queue.
func TestLargestInfo(t *testing.T) {
	t.Run("initiator", func(t *testing.T) {
		s := newScene(t)
		p := newPeer(s, modern())
		id, link, err := s.ours.CreateConnection(t.Context(), agent.CreateOptions{})
		must(t, err)
		expect[*agent.LinkReady](s, id)
		params := p.prepare(link)
		p.secureSending()
		p.makeQueue()
		info := random(14829 - 1 - len(p.queueInfo())) // the peer's, behind the number of queues and the queue
		p.confirm(params, p.joinerPlain(info))
		c := expect[*agent.Confirmation](s, id)
		if !bytes.Equal(c.Info, info) {
			t.Errorf("%d bytes of info", len(c.Info))
		}
		info = random(14830)
		wantLarge(t, s.ours.Allow(t.Context(), id, c.Confirmation, info))
		must(t, s.ours.Allow(t.Context(), id, c.Confirmation, info[:14829]))
		if got := p.awaitAnswer(); !bytes.Equal(got, info[:14829]) {
			t.Errorf("%d bytes of info", len(got))
		}
		expect[*agent.Connected](s, id)
		converse(s, p, id)
	})
	t.Run("joiner", func(t *testing.T) {
		s := newScene(t)
		p := newPeer(s, modern())
		p.makeQueue()
		room := 14829 - 1 - len(p.queueInfo()) // our agent's queue is as long
		info := random(room)
		id, err := s.ours.JoinConnection(t.Context(), p.link().Text(), agent.JoinOptions{Info: info})
		must(t, err)
		if got := p.awaitConfirmation(); !bytes.Equal(got, info) {
			t.Errorf("%d bytes of info", len(got))
		}
		expect[*agent.Joined](s, id)
		answer := random(14829)
		p.answer(answer)
		if i := expect[*agent.PeerInfo](s, id); !bytes.Equal(i.Info, answer) {
			t.Errorf("%d bytes of info", len(i.Info))
		}
		expect[*agent.Connected](s, id)
		converse(s, p, id)

		id, err = s.ours.JoinConnection(t.Context(), newPeer(s, modern()).link().Text(), agent.JoinOptions{Info: random(room + 1)})
		must(t, err)
		if f := expect[*agent.Failed](s, id); f.Code != "CMD LARGE" || f.Fault != "over" {
			t.Errorf("%+v", f)
		}
		_, err = s.ours.JoinConnection(t.Context(), newPeer(s, modern()).link().Text(), agent.JoinOptions{Info: random(14830)})
		wantLarge(t, err)
	})
}
