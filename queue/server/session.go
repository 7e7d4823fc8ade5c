package server

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/transport"
)

// session is one connection: a reader, which runs the commands, and a writer.
type session struct {
	// static
	server   *Server
	conn     *transport.Conn
	version  queue.Version
	verifier queue.Verifier
	out      *outbox
	done     chan struct{} // closed when the connection is given up
	closing  sync.Once

	active   atomic.Int64 // time of the last block, seconds since 1970
	live     atomic.Int64 // subscriptions that have not ended
	draining atomic.Bool  // finish what was begun, then end

	// owned by the reader
	uses      map[queue.ID]*subscription // by recipient ID; may have ended
	notifiers map[queue.ID]struct{}      // subscribed notifier IDs; may have been taken over
}

func newSession(server *Server, conn *transport.Conn) *session {
	s := &session{
		server:    server,
		conn:      conn,
		version:   conn.Version(),
		verifier:  queue.Verifier{SessionID: conn.SessionID(), SessionKey: conn.SessionKey()},
		out:       newOutbox(),
		done:      make(chan struct{}),
		uses:      make(map[queue.ID]*subscription),
		notifiers: make(map[queue.ID]struct{}),
	}
	s.active.Store(server.config.Now().Unix())
	return s
}

// run serves the connection until it ends.
func (s *session) run() {
	var writer sync.WaitGroup
	writer.Go(s.write)
	s.read()
	if s.draining.Load() {
		s.out.end()
	} else {
		s.close()
	}
	writer.Wait()
	s.close()
	for _, sub := range s.uses {
		if !sub.get {
			s.server.subscriptions.leave(sub)
		}
	}
	for id := range s.notifiers {
		s.server.subscriptions.leaveNotifier(id, s)
	}
	s.server.counters.sessionsEnded.Add(1)
}

// close gives the connection up. It may wait some seconds for a client that does not read.
func (s *session) close() {
	s.closing.Do(func() {
		close(s.done)
		s.out.close()
	})
	_ = s.conn.Close()
}

// drain makes the session end when everything that was begun is answered.
func (s *session) drain() {
	s.draining.Store(true)
	// A deadline in the past wakes the reader; if that fails there is no connection to drain.
	if s.conn.SetReadDeadline(time.Unix(1, 0)) != nil {
		s.close()
	}
}

// read runs the commands of block after block.
func (s *session) read() {
	for s.out.acquire(s.done) {
		payload, err := s.conn.ReadBlock()
		if s.draining.Load() {
			return
		}
		var requests []queue.Request
		switch {
		case err == nil:
			requests = queue.DecodeBlock(s.version, s.verifier.SessionID, payload)
		case errors.Is(err, transport.ErrBlock):
			requests = []queue.Request{{Err: queue.ErrBlock}}
		default:
			return
		}
		s.server.counters.blocksReceived.Add(1)
		s.active.Store(s.server.config.Now().Unix())
		s.out.answer(s.execute(requests))
	}
}

// execute runs the commands of one block in their order.
func (s *session) execute(requests []queue.Request) *group {
	g := &group{replies: make([]reply, len(requests))}
	for i := range requests {
		q := &requests[i]
		if q.Err == queue.ErrBlock {
			s.server.counters.badBlocks.Add(1)
		}
		c := call{session: s, server: s.server, request: q, version: s.version, verifier: s.verifier}
		g.replies[i] = c.reply()
		if c.subscribed != nil {
			g.after = append(g.after, c.subscribed)
		}
	}
	return g
}

// use returns this connection's use of a queue, or nil if there is none or it has ended.
func (s *session) use(id queue.ID) *subscription {
	sub := s.uses[id]
	if sub == nil {
		return nil
	}
	sub.mu.Lock()
	ended := sub.ended
	sub.mu.Unlock()
	if ended {
		delete(s.uses, id)
		return nil
	}
	return sub
}

// subscribe makes this connection the subscriber of a queue; the head is still to be put on its way.
func (s *session) subscribe(id queue.ID) *subscription {
	sub := &subscription{queue: id, session: s, state: queued}
	s.uses[id] = sub
	s.live.Add(1)
	counters := &s.server.counters
	counters.subscribed.Add(1)
	counters.subscriptions.Add(1)
	if before := s.server.subscriptions.subscribe(sub); before != nil && before.session != s {
		counters.takenOver.Add(1)
		s.server.events.add(before.session, queue.Answer{EntityID: id, Response: queue.END{}})
	}
	return sub
}
