package server

import (
	"sync"
	"time"

	"github.com/coterie-im/coterie/queue"
)

// events collects END and DELD, which are not urgent, so that a client whose hundred queues were taken over gets them in
// one block. There is at most one for each subscription that ended.
type events struct {
	delay         time.Duration
	counters      *counters
	subscriptions *subscriptions

	mu      sync.Mutex
	pending []pendingEvent // guarded by mu, like the rest
	timer   *time.Timer    // runs while something is pending
	stopped bool
}

type pendingEvent struct {
	session *session
	answer  queue.Answer
}

func newEvents(delay time.Duration, c *counters, s *subscriptions) *events {
	return &events{delay: delay, counters: c, subscriptions: s}
}

func (e *events) add(s *session, a queue.Answer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return
	}
	e.pending = append(e.pending, pendingEvent{s, a})
	if e.timer == nil {
		e.timer = time.AfterFunc(e.delay, e.flush)
	}
}

// flush hands everything to the sessions; those that have ended meanwhile ignore it. A session that has subscribed again
// is not told about the end of what it has.
func (e *events) flush() {
	e.mu.Lock()
	all := e.pending
	e.pending, e.timer = nil, nil
	e.mu.Unlock()
	for i := range all {
		if p := &all[i]; !e.subscriptions.holds(p.session, p.answer.EntityID) {
			p.session.out.push(item{event: &p.answer})
			e.counters.events.Add(1)
		}
	}
}

// stop drops what is pending.
func (e *events) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped, e.pending = true, nil
	if e.timer != nil {
		e.timer.Stop()
	}
}
