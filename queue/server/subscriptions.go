package server

import (
	"sync"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// deliveryState says where the head of a queue is on its way to one connection.
//
//	         SEND, SUB                    written
//	idle ----------------> queued ------------------> outstanding
//	  ^                      |  ^                          |
//	  +----- queue empty ----+  +--- ACK, more messages ---+
//	  ^                                                    |
//	  +------------------ ACK, queue empty ----------------+
type deliveryState uint8

const (
	idle        deliveryState = iota // nothing is on its way
	queued                           // the writer will fetch and send the head
	outstanding                      // sent, and not acknowledged
)

// subscription is one connection's use of a queue, by SUB or by GET.
//
// mu is held while the store is asked, so that a message that is added at the same time is either seen or queued for
// delivery. Lock order: mu, then the store's locks or outbox.mu; subscriptions.mu is never held together with mu.
type subscription struct {
	queue   queue.ID // static: recipient ID
	session *session // static
	get     bool     // static: made by GET; answers only, no pushed messages

	mu        sync.Mutex
	ended     bool          // guarded by mu: taken over, or the queue was deleted
	state     deliveryState // guarded by mu
	delivered queue.ID      // guarded by mu: the outstanding message
}

// redeliver puts the head on its way, whatever was before. It is false if the subscription has ended.
func (s *subscription) redeliver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.state, s.delivered = queued, ""
	return true
}

// fetch returns the head of a queue that is on its way, and the secret to seal it with, and makes it the outstanding one.
func (s *subscription) fetch() (head store.Message, secret box.Secret, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.state != queued {
		return store.Message{}, box.Secret{}, false, nil
	}
	s.state, s.delivered = idle, ""
	ctx, storage := s.session.server.ctx, s.session.server.store
	if head, ok, err = storage.Head(ctx, s.queue); err != nil || !ok {
		return store.Message{}, box.Secret{}, false, err
	}
	record, err := storage.ByRecipient(ctx, s.queue)
	if err != nil {
		return store.Message{}, box.Secret{}, false, err
	}
	s.state, s.delivered = outstanding, head.ID
	return head, record.Secret, true, nil
}

// subscriptions finds the one subscriber of a queue, and of a notifier.
type subscriptions struct {
	mu         sync.Mutex
	recipients map[queue.ID]*subscription // guarded by mu
	notifiers  map[queue.ID]*session      // guarded by mu
}

func newSubscriptions() *subscriptions {
	return &subscriptions{
		recipients: make(map[queue.ID]*subscription),
		notifiers:  make(map[queue.ID]*session),
	}
}

// subscribe makes sub the subscriber of its queue and returns the one before, or nil.
func (s *subscriptions) subscribe(sub *subscription) (before *subscription) {
	s.mu.Lock()
	before = s.recipients[sub.queue]
	s.recipients[sub.queue] = sub
	s.mu.Unlock()
	before.end()
	return before
}

// end makes s the former subscriber; s may be nil.
func (s *subscription) end() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		s.session.live.Add(-1)
		s.session.server.counters.subscriptions.Add(-1)
	}
}

// remove ends the subscription of a deleted queue and returns it, or nil.
func (s *subscriptions) remove(id queue.ID) *subscription {
	s.mu.Lock()
	sub := s.recipients[id]
	delete(s.recipients, id)
	s.mu.Unlock()
	sub.end()
	return sub
}

// holds tells whether session is the subscriber of a queue or notifier.
func (s *subscriptions) holds(session *session, id queue.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.recipients[id]
	return sub != nil && sub.session == session || s.notifiers[id] == session
}

// leave ends a subscription whose connection has ended.
func (s *subscriptions) leave(sub *subscription) {
	s.mu.Lock()
	if s.recipients[sub.queue] == sub {
		delete(s.recipients, sub.queue)
	}
	s.mu.Unlock()
	sub.end()
}

// wake puts the head of a queue on its way to the subscriber, unless something is on its way already.
func (s *subscriptions) wake(id queue.ID) {
	s.mu.Lock()
	sub := s.recipients[id]
	s.mu.Unlock()
	if sub == nil {
		return
	}
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.ended || sub.state != idle {
		return
	}
	sub.state = queued
	sub.session.out.push(item{deliver: sub})
}

// subscribeNotifier makes session the one that learns about messages, and returns the one before, or nil.
func (s *subscriptions) subscribeNotifier(id queue.ID, by *session) (before *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = s.notifiers[id]
	s.notifiers[id] = by
	return before
}

// removeNotifier ends the subscription of a deleted notifier and returns whose it was, or nil.
func (s *subscriptions) removeNotifier(id queue.ID) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.notifiers[id]
	delete(s.notifiers, id)
	return before
}

// leaveNotifier ends a subscription of a connection that has ended.
func (s *subscriptions) leaveNotifier(id queue.ID, by *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.notifiers[id] == by {
		delete(s.notifiers, id)
	}
}

// notifier returns who wants to learn about messages, or nil.
func (s *subscriptions) notifier(id queue.ID) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.notifiers[id]
}
