package client

import (
	"maps"
	"slices"
	"time"

	"github.com/coterie-im/coterie/queue"
)

// subscriptions is the part of the loop that keeps queues subscribed.
type subscriptions struct {
	queues map[queue.ID]*subscription
	// Queues to subscribe, first come first served. A queue whose state is another by now is skipped.
	urgent  []queue.ID // somebody waits for the result
	patient []queue.ID // nobody waits; not while held, not before retryAt

	held    bool       // until the event list has room again
	careful bool       // not more at a time than there is room for messages
	retryAt time.Time  // after a SUB without answer
	again   []queue.ID // subscribed without anybody waiting, to be reported
}

// subscription is a queue that should be subscribed.
type subscription struct {
	key     queue.PrivateKey
	state   subscriptionState
	down    bool // the consumer believes it is not subscribed
	waiters []waiter
}

type subscriptionState uint8

const (
	wanted subscriptionState = iota // and in one of the lists
	asked                           // SUB is in flight
	active
)

// waiter gets the result of subscribing the queue at index.
type waiter struct {
	results chan<- subscribeResult // has room for it
	index   int
}

type subscribeResult struct {
	index int
	err   error
}

func newSubscriptions() subscriptions {
	return subscriptions{queues: make(map[queue.ID]*subscription)}
}

// track returns the subscription of a queue, a new one if there is none.
func (s *subscriptions) track(q Queue) *subscription {
	sub := s.queues[q.ID]
	if sub == nil {
		sub = &subscription{down: true}
		s.queues[q.ID] = sub
	}
	sub.key = q.Key
	return sub
}

// want has a queue subscribed again, if it is tracked.
func (s *subscriptions) want(id queue.ID) {
	if sub := s.queues[id]; sub != nil && sub.state != wanted {
		sub.state = wanted
		s.enlist(id)
	}
}

// enlist puts a queue on the patient list. What the list collects in vain, because queues are given up, or put on it
// again, is cleared out before it is more than the queues.
func (s *subscriptions) enlist(id queue.ID) {
	s.patient = append(s.patient, id)
	if len(s.patient) > 2*len(s.queues)+64 {
		slices.Sort(s.patient)
		s.patient = slices.DeleteFunc(slices.Compact(s.patient), func(id queue.ID) bool {
			sub := s.queues[id]
			return sub == nil || sub.state != wanted
		})
	}
}

// wantAll has all queues subscribed again, in the order of their IDs.
func (s *subscriptions) wantAll() {
	s.urgent = nil
	s.patient = slices.Sorted(maps.Keys(s.queues))
	for _, sub := range s.queues {
		sub.state, sub.down = wanted, true
	}
}

// forget stops tracking a queue.
func (s *subscriptions) forget(id queue.ID) {
	s.settle(id, errForgotten)
	delete(s.queues, id)
}

// settle tells everybody who waits for a queue the result, and whether there was anybody.
func (s *subscriptions) settle(id queue.ID, err error) bool {
	sub := s.queues[id]
	if sub == nil || len(sub.waiters) == 0 {
		return false
	}
	for _, w := range sub.waiters {
		w.results <- subscribeResult{w.index, err}
	}
	sub.waiters = nil
	return true
}

// failWaiters tells everybody who waits for a queue that is not being asked for that it will take time. The queues stay
// wanted.
func (s *subscriptions) failWaiters(err error) {
	for _, id := range s.urgent {
		if sub := s.queues[id]; sub != nil && sub.state == wanted {
			s.settle(id, err)
			s.enlist(id)
		}
	}
	s.urgent = nil
}

// subscribe is Client.Subscribe inside the loop.
func (l *loop) subscribe(queues []Queue, results chan<- subscribeResult) {
	for i, q := range queues {
		sub := l.track(q)
		sub.waiters = append(sub.waiters, waiter{results, i})
		if sub.state != asked {
			sub.state = wanted
			l.urgent = append(l.urgent, q.ID)
		}
	}
	if l.session == nil && l.dialed == nil && time.Until(l.nextAttempt) > l.config.CommandTimeout {
		l.failWaiters(l.lastErr)
	}
}

// abandon forgets that somebody waits for the results of subscribe; nothing is sent to
// results from now on.
func (l *loop) abandon(queues []Queue, results chan<- subscribeResult) {
	for _, q := range queues {
		if sub := l.queues[q.ID]; sub != nil {
			sub.waiters = slices.DeleteFunc(sub.waiters, func(w waiter) bool { return w.results == results })
		}
	}
}

// subscribeWanted sends SUB for queues that need it, as many as may be in flight.
func (l *loop) subscribeWanted() {
	if l.session == nil {
		return
	}
	for len(l.urgent) > 0 && l.asked < l.config.InFlight {
		id := l.urgent[0]
		l.urgent = l.urgent[1:]
		l.ask(id)
	}
	switch {
	case l.events.full():
		l.held = true
	case l.events.roomy():
		l.held = false
	}
	for len(l.patient) > 0 && l.asked < l.mayAsk() && !l.held && time.Until(l.retryAt) <= 0 {
		id := l.patient[0]
		l.patient = l.patient[1:]
		l.ask(id)
	}
	if len(l.patient) == 0 {
		l.careful = false
	}
}

// mayAsk returns how many SUB may be in flight of those that nobody waits for. Each may bring a message.
func (l *loop) mayAsk() int {
	if l.careful {
		return min(l.config.InFlight, l.events.room())
	}
	return l.config.InFlight
}

// ask sends SUB for a queue, if it still needs it.
func (l *loop) ask(id queue.ID) {
	if sub := l.queues[id]; sub != nil && sub.state == wanted {
		sub.state = asked
		l.asked++
		l.send(&command{command: queue.SUB{}, entity: id, key: sub.key})
	}
}

// subscribeDone handles the result of a SUB.
func (l *loop) subscribeDone(id queue.ID, err error) {
	sub := l.queues[id]
	if sub == nil || sub.state != asked {
		return
	}
	switch {
	case err == nil:
		sub.state = active
		if !l.settle(id, nil) && sub.down {
			l.again = append(l.again, id)
		}
		sub.down = false
	case Classify(err) == Permanent:
		if !l.settle(id, err) {
			l.events.add(Refused{id, err})
		}
		delete(l.queues, id)
	default:
		l.settle(id, err)
		sub.down = true
		l.want(id)
		l.retryAt = time.Now().Add(resubscribeAfter)
	}
}

// lost ends a subscription that the relay has ended, and says so. While a SUB is in flight, its answer counts.
func (l *loop) lost(id queue.ID, sub *subscription, e Event) {
	if sub.state != asked {
		l.forget(id)
		l.events.add(e)
	}
}

// reportSubscribed reports the queues that a block has brought back.
func (l *loop) reportSubscribed() {
	if len(l.again) > 0 {
		l.events.add(Subscribed{l.again})
		l.again = nil
	}
}
