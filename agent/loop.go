package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/queue"
)

const (
	inboxSize = 1024 // tasks that wait for the loop; who adds more waits
	maxBatch  = 256  // tasks that share a transaction, unless they take longer than
	batchTime = 50 * time.Millisecond

	bootBatch = 64 // connections that are loaded in one transaction after Open

	// lazyDelay is how long results wait for something else to share a commit with, and maxLazy how many.
	lazyDelay = 100 * time.Millisecond
	maxLazy   = maxBatch
	// batchDelay is the same for results of a fan-out: relays answer many at nearly the same time.
	batchDelay = 20 * time.Millisecond

	// foldAfter is how long the store's journal keeps former values of records, used keys of ratchets among them.
	foldAfter = 10 * time.Second

	firstStoreRetry = 100 * time.Millisecond // after a failed transaction with something that must not be lost
	lastStoreRetry  = time.Minute
)

// task is one thing for the loop to do inside a transaction.
type task struct {
	// run does it. An error refuses the task, which must then have changed nothing. run may be called again, with another
	// turn, if the transaction failed.
	run func(t *turn) error
	// done is told the result once, after the transaction. It must not block. Nil for inputs that must not be lost: they
	// are tried again until the store works.
	done func(error)
	// lazy is how much later the task may be done, with others; zero: something waits for it.
	lazy time.Duration
}

// loop is the state of the agent's one goroutine.
type loop struct {
	conns    map[ConnectionID]*connEntry
	groups   map[GroupID]*groupEntry
	direct   *directEntry // nil until needed
	sessions map[string]*session
	wakes    wakes

	cursors map[string]uint64 // as stored
	trimmed uint64            // events up to it are dropped
	logged  int               // events in the log

	inflight map[operationKey]struct{}
	spread   []spreadJob                          // deliveries to members of groups that the commit lets out
	links    map[ConnectionID][]chan<- linkResult // calls that wait for a link
	relays   map[string]queue.Server              // configured ones, with their passwords

	boot     []func(*turn) // what is left to load after Open
	lazy     []task        // tasks that wait for others
	lazyAt   time.Time     // until when
	lost     []task        // inputs whose transaction failed
	retryAt  time.Time     // when lost are tried again
	retry    time.Duration
	cleanAt  time.Time     // next housekeeping
	foldAt   time.Time     // when the store's journal is emptied; zero: it is empty
	draining bool          // closing has been seen
	turns    atomic.Uint64 // transactions so far; the simulation reads it from outside
}

// run is the loop.
func (a *Agent) run() {
	defer close(a.done)
	defer a.closeSessions()
	timer := time.NewTimer(0)
	defer timer.Stop()
	closing := a.closing
	for {
		l := &a.loop
		if l.draining && len(l.inflight) == 0 && len(l.lost) == 0 && len(l.lazy) == 0 && len(a.inbox) == 0 {
			select {
			case <-a.settled:
			default:
				close(a.settled)
			}
		}
		var idle <-chan time.Time
		if len(l.boot) > 0 {
			timer.Reset(0)
			idle = timer.C
		} else if at := a.nextWake(); !at.IsZero() {
			timer.Reset(at.Sub(a.config.now()))
			idle = timer.C
		}
		select {
		case first := <-a.inbox:
			if a.put(first) {
				continue
			}
			a.transact(a.drain(first))
			if len(l.boot) > 0 {
				a.transact([]task{a.nextBoot()})
			}
		case <-idle:
			if batch := a.due(); len(batch) > 0 {
				a.transact(batch)
			}
			if len(l.boot) > 0 {
				a.transact([]task{a.nextBoot()})
			}
		case <-closing:
			l.draining, closing = true, nil
			l.boot = nil
		case <-a.quit:
			a.refuse()
			return
		}
	}
}

// put lets a lazy task wait, if it can; false if it must be done now.
func (a *Agent) put(k task) bool {
	l := &a.loop
	if k.lazy == 0 || l.draining || len(l.lazy) >= maxLazy {
		return false
	}
	l.lazy = append(l.lazy, k)
	l.lazyAt = earlier(l.lazyAt, a.config.now().Add(k.lazy))
	return true
}

// drain takes what waits, up to a batch.
func (a *Agent) drain(first task) []task {
	a.loop.lazyAt = time.Time{}
	batch := append(a.due(), a.loop.lazy...)
	batch = append(batch, first)
	a.loop.lazy = nil
	for len(batch) < maxBatch {
		select {
		case next := <-a.inbox:
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

// refuse answers calls that came too late.
func (a *Agent) refuse() {
	for {
		select {
		case k := <-a.inbox:
			if k.done != nil {
				k.done(ErrClosed)
			}
		default:
			return
		}
	}
}

// nextWake tells when something is due by itself; zero: never.
func (a *Agent) nextWake() time.Time {
	if a.loop.draining {
		return earlier(a.loop.retryAt, a.loop.lazyAt)
	}
	at := earlier(a.loop.wakes.next(), a.loop.retryAt)
	return earlier(earlier(earlier(at, a.loop.cleanAt), a.loop.lazyAt), a.loop.foldAt)
}

func earlier(x, y time.Time) time.Time {
	if x.IsZero() || !y.IsZero() && y.Before(x) {
		return y
	}
	return x
}

// due returns what time has made due.
func (a *Agent) due() (batch []task) {
	l := &a.loop
	now := a.config.now()
	if len(l.lost) > 0 && !now.Before(l.retryAt) {
		batch = append(batch, l.lost...)
		l.lost, l.retryAt = nil, time.Time{}
	}
	if len(l.lazy) > 0 && !now.Before(l.lazyAt) {
		batch = append(batch, l.lazy...)
		l.lazy, l.lazyAt = nil, time.Time{}
	}
	if l.draining {
		return batch
	}
	for _, w := range l.wakes.pop(now, maxBatch) {
		batch = append(batch, task{run: func(t *turn) error { return t.tick(w) }})
	}
	if !now.Before(l.cleanAt) {
		batch = append(batch, task{run: (*turn).clean})
	}
	if !l.foldAt.IsZero() && !now.Before(l.foldAt) {
		l.foldAt = now.Add(foldAfter) // if it fails
		batch = append(batch, task{run: func(t *turn) error {
			t.tx.Fold()
			return nil
		}})
	}
	return batch
}

// transact runs tasks in few transactions.
func (a *Agent) transact(batch []task) {
	for len(batch) > 0 {
		batch = batch[a.share(batch):]
	}
}

// share runs tasks in one transaction, as many as there is time for, and returns how many it took. If the transaction
// fails they are run one by one.
func (a *Agent) share(batch []task) (taken int) {
	t, err := a.begin()
	var results []error
	if err == nil {
		for len(results) == 0 || len(results) < len(batch) && a.config.now().Sub(t.now) < batchTime {
			results = append(results, batch[len(results)].run(t))
			t.settle()
		}
		err = t.commit()
	}
	taken = max(1, len(results))
	switch {
	case err == nil:
		for i, result := range results {
			if done := batch[i].done; done != nil {
				done(result)
			}
		}
		t.release()
		a.loop.retry = 0
	case taken > 1:
		for _, k := range batch[:taken] {
			a.share([]task{k})
		}
	default:
		a.log.Error("store transaction failed", "error", err)
		if k := batch[0]; k.done != nil {
			k.done(err)
		} else {
			a.keep(k)
		}
	}
	return taken
}

// keep holds on to an input whose transaction failed.
func (a *Agent) keep(k task) {
	l := &a.loop
	l.lost = append(l.lost, k)
	if l.retryAt.IsZero() {
		l.retry = min(max(firstStoreRetry, 2*l.retry), lastStoreRetry)
		l.retryAt = a.config.now().Add(l.retry)
	}
}

// turn is one transaction of the loop.
type turn struct {
	*Agent
	tx      *store.Tx
	now     time.Time
	steps   []func()         // what follows from what was done, in order
	after   []func()         // what a commit lets out, in order
	touched map[wakeKey]bool // cores that were loaded or changed

	following bool // what a connection does now follows from the end of an operation

	event    uint64            // last number given, 0 if none
	reported int               // events in this transaction
	cursors  map[string]uint64 // as this transaction leaves them; nil: unchanged
}

func (a *Agent) begin() (*turn, error) {
	tx, err := a.store.Begin()
	if err != nil {
		return nil, err
	}
	return &turn{Agent: a, tx: tx, now: a.config.now().UTC(), touched: map[wakeKey]bool{}}, nil
}

// later adds something that follows from what is being done. Everything a task leads to is done before the next task.
func (t *turn) later(f func()) { t.steps = append(t.steps, f) }

func (t *turn) settle() {
	for i := 0; i < len(t.steps); i++ {
		t.steps[i]()
	}
	t.steps = nil
}

// onCommit adds something to be done after the commit; without one it never happens.
func (t *turn) onCommit(f func()) { t.after = append(t.after, f) }

// commit ends the transaction. After a failure nothing has happened: cores that were touched are dropped from memory.
func (t *turn) commit() error {
	t.trimLog()
	if err := t.tx.Commit(); err != nil {
		t.forget()
		return err
	}
	return nil
}

// release lets out what was held back until the commit.
func (t *turn) release() {
	for _, f := range t.after {
		f()
	}
	t.startSpread()
	t.subscribeWanted()
	t.noteJournal()
	if t.event > 0 {
		t.tail.grow(t.event)
	}
	t.loop.turns.Add(1)
	t.evict(maxCachedConns, maxCachedGroups)
}

// noteJournal notes when the store's journal is to be emptied.
func (t *turn) noteJournal() {
	switch journal := t.store.Journal(); {
	case !journal:
		t.loop.foldAt = time.Time{}
	case t.loop.foldAt.IsZero():
		t.loop.foldAt = t.now.Add(foldAfter)
	}
}

// forget drops the cores of a failed transaction, and has them loaded again, so that operations that the failure held
// back are done after all.
func (t *turn) forget() {
	l := &t.loop
	reload := slices.SortedFunc(maps.Keys(t.touched), wakeKey.compare)
	for _, k := range reload {
		switch k.kind {
		case wakeConn:
			delete(l.conns, ConnectionID(k.id))
		case wakeGroup:
			delete(l.groups, GroupID(k.id))
		case wakeDirect:
			l.direct = nil
		}
	}
	if len(reload) == 0 {
		return
	}
	t.keep(task{run: func(t *turn) error {
		var errs []error
		for _, k := range reload {
			errs = append(errs, t.resume(k))
		}
		return errors.Join(errs...)
	}})
}

// call runs f in the loop and returns its result after the commit.
func call[T any](ctx context.Context, a *Agent, f func(t *turn) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var zero T
	answer := make(chan result, 1)
	var value T // owned by the loop
	k := task{
		run: func(t *turn) (err error) {
			value, err = f(t)
			return err
		},
		done: func(err error) { answer <- result{value, err} },
	}
	select {
	case <-a.closing:
		return zero, ErrClosed
	default:
	}
	select {
	case a.inbox <- k:
	case <-ctx.Done():
		return zero, ctx.Err()
	case <-a.closing:
		return zero, ErrClosed
	}
	select {
	case r := <-answer:
		return r.value, r.err
	case <-ctx.Done():
		return zero, ctx.Err()
	case <-a.done:
		select {
		case r := <-answer:
			return r.value, r.err
		default:
			return zero, ErrClosed
		}
	}
}

// do is call for what has no result.
func do(ctx context.Context, a *Agent, f func(t *turn) error) error {
	_, err := call(ctx, a, func(t *turn) (struct{}, error) { return struct{}{}, f(t) })
	return err
}

// post hands an input to the loop that must not be lost.
func (a *Agent) post(run func(t *turn) error) { a.postTask(task{run: run}) }

func (a *Agent) postTask(k task) {
	select {
	case a.inbox <- k:
	case <-a.done:
	}
}
