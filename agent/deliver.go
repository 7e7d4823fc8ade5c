package agent

import (
	"slices"
	"sync"
	"time"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/queue/client"
)

// deliveries are the messages that one relay is to get. The session's writer encrypts each just before it writes it, so
// that only what it works on is in memory, in the cache of one processor. Answers come in batches and are stored in
// batches.
type deliveries struct {
	mu        sync.Mutex
	waiting   []job      // guarded by mu
	posted    int        // guarded by mu; under way
	spread    int        // guarded by mu; will be handed over when their time has come
	answered  []endedJob // guarded by mu; not reported yet
	reporting bool       // guarded by mu; reportDelivered is running
	wake      chan struct{}
}

func newDeliveries() deliveries { return deliveries{wake: make(chan struct{}, 1)} }

// expect adds to how many deliveries will be handed over later.
func (d *deliveries) expect(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spread += n
}

// expected returns how many deliveries are to be made or under way.
func (d *deliveries) expected() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.waiting) + d.posted + d.spread
}

// deliver has messages delivered in order.
func (s *session) deliver(jobs ...job) {
	d := &s.deliveries
	d.mu.Lock()
	d.waiting = append(d.waiting, jobs...)
	d.mu.Unlock()
	s.post()
}

// post hands deliveries to the session, as far as not too many are under way, and not a few at a time.
func (s *session) post() {
	d := &s.deliveries
	d.mu.Lock()
	n := d.room()
	if n == 0 || s.ctx.Err() != nil {
		d.mu.Unlock()
		return
	}
	jobs := d.waiting[:n:n]
	d.waiting = d.waiting[n:]
	d.posted += n
	d.mu.Unlock()
	messages := make([]client.Outgoing, n)
	for i, j := range jobs {
		op := j.op.(conn.Deliver)
		messages[i] = client.Outgoing{To: sender(op.Sender), Notify: op.Notify, Append: op.AppendBody}
	}
	s.relay.Post(messages, func(posted []client.Posted) { s.delivered(jobs, posted) })
}

// room returns how many deliveries to hand over now. d.mu is locked.
func (d *deliveries) room() int {
	n := min(len(d.waiting), maxPosted-d.posted)
	if n < min(len(d.waiting), maxPosted/2) {
		return 0
	}
	return n
}

// delivered takes results of messages that were posted together. It does not block.
func (s *session) delivered(jobs []job, posted []client.Posted) {
	d := &s.deliveries
	d.mu.Lock()
	defer d.mu.Unlock()
	d.posted -= len(posted)
	urgent := d.room() > 0 || len(d.answered) == 0
	for _, p := range posted {
		j := jobs[p.Index]
		done := endedJob{job: j, result: conn.OperationDone{Op: j.op.Name()}}
		if p.Err != nil {
			done.result = failure(j.op, p.Err)
		}
		d.answered = append(d.answered, done)
		urgent = urgent || !j.fan
	}
	if !d.reporting {
		d.reporting = true
		s.running.Go(s.reportDelivered)
	} else if urgent || d.posted == 0 {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

// reportDelivered goes on with what waits, and takes results to the loop, until there are none to come. The results of
// a fan-out wait for others for some time.
func (s *session) reportDelivered() {
	d := &s.deliveries
	patience := time.NewTimer(lazyDelay)
	defer patience.Stop()
	waits, over := true, false // results wait; their time is over
	for {
		s.post()
		d.mu.Lock()
		fan := !slices.ContainsFunc(d.answered, func(a endedJob) bool { return !a.fan })
		var answered []endedJob
		if over || !fan || d.posted == 0 {
			answered, d.answered = d.answered, nil
		}
		if begins := len(d.answered) > 0 && !waits; begins {
			patience.Reset(lazyDelay)
		}
		waits = len(d.answered) > 0
		if len(d.answered) == 0 && d.posted == 0 {
			d.reporting = false
		}
		reporting := d.reporting
		d.mu.Unlock()
		if len(answered) > 0 {
			k := task{run: func(t *turn) error { return t.ended(s, answered...) }}
			if fan {
				k.lazy = batchDelay
			}
			s.agent.postTask(k)
		}
		if !reporting {
			return
		}
		over = false
		var enough <-chan time.Time
		if waits {
			enough = patience.C
		}
		select {
		case <-d.wake:
		case <-enough:
			over = true
		}
	}
}
