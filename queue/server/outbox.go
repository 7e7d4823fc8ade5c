package server

import (
	"slices"
	"sync"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// reply is the answer to one command. It is encoded when it is written.
type reply struct {
	corrID, entity queue.ID
	response       queue.Response  // nil with deliver
	deliver        *subscription   // the answer is the head of this queue, or OK if there is none
	commit         *store.Commit   // what has to be durable before the answer may be sent
	failed         func()          // if not nil: runs in the writer when the commit has failed
	seal           *forwardedReply // if not nil: how to wrap the answer; the command came through a proxy

	err error // outcome of commit; written before the group is ready
}

// group is the answers to the commands of one block, in their order, and the deliveries that they start.
type group struct {
	replies []reply
	after   []*subscription

	waiting int // guarded by outbox.mu: commits that are not resolved
}

// item is one thing to write: a group, a delivery of the head of a queue as event, the notifications of a notifier, or
// another event.
type item struct {
	group   *group
	deliver *subscription
	notify  queue.ID
	event   *queue.Answer
}

// maxGroups is how many blocks of commands may wait for their answers; more are not read.
const maxGroups = 16

// outbox is what a session has to send. Groups leave in the order in which they came, each when everything in it is
// durable; events are put between them when they happen.
//
// Its length is bounded: the reader waits for a place for each group, a subscription is in it once at most, a notifier
// once for every Config.NotifyDelay, and there is one END or DELD for each subscription that ended. Bodies are not in it.
type outbox struct {
	places chan struct{} // one for each group

	mu      sync.Mutex
	groups  []*group // guarded by mu: not ready, or behind one that is not
	ready   []item   // guarded by mu
	ending  bool     // guarded by mu: nothing is added any more
	closed  bool     // guarded by mu: nothing is sent any more
	changed *sync.Cond
}

func newOutbox() *outbox {
	o := &outbox{places: make(chan struct{}, maxGroups)}
	o.changed = sync.NewCond(&o.mu)
	return o
}

// acquire waits for a place for one group; false if done is closed first.
func (o *outbox) acquire(done <-chan struct{}) bool {
	select {
	case o.places <- struct{}{}:
		return true
	case <-done:
		return false
	}
}

// release gives the place of a group back.
func (o *outbox) release() { <-o.places }

// answer adds a group, for which the caller has a place.
func (o *outbox) answer(g *group) {
	o.mu.Lock()
	o.groups = append(o.groups, g)
	for i := range g.replies {
		if g.replies[i].commit != nil {
			g.waiting++
		}
	}
	o.advance()
	o.mu.Unlock()
	for i := range g.replies {
		r := &g.replies[i]
		if r.commit == nil {
			continue
		}
		r.commit.Then(func(err error) {
			o.mu.Lock()
			defer o.mu.Unlock()
			r.err = err
			g.waiting--
			o.advance()
		})
	}
}

// advance makes groups ready; it is called with o.mu held.
func (o *outbox) advance() {
	n := 0
	for n < len(o.groups) && o.groups[n].waiting == 0 {
		o.ready = append(o.ready, item{group: o.groups[n]})
		n++
	}
	if n > 0 {
		o.groups = slices.Delete(o.groups, 0, n)
		o.changed.Signal()
	}
}

// push adds an event or a delivery.
func (o *outbox) push(i item) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.ready = append(o.ready, i)
	o.changed.Signal()
}

// next returns the next item. It waits for one only if wait is set; false if there is none, or, with wait, when the
// outbox has ended.
func (o *outbox) next(wait bool) (i item, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.ready) == 0 && !o.closed {
		if !wait || o.ending && len(o.groups) == 0 {
			return item{}, false
		}
		o.changed.Wait()
	}
	if o.closed {
		return item{}, false
	}
	i = o.ready[0]
	o.ready[0] = item{}
	if o.ready = o.ready[1:]; len(o.ready) == 0 {
		o.ready = nil
	}
	return i, true
}

// end lets the writer finish what is there.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ending = true
	o.changed.Broadcast()
}

// close drops what is there.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.ready = nil
	o.changed.Broadcast()
}
