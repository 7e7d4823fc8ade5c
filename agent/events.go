package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"sync"

	"github.com/coterie-im/coterie/agent/store"
)

const (
	eventPage     = 64  // events that a reader takes at a time
	maxCursorName = 255 // bytes
	maxCursors    = 256 // named readers; more are refused
)

// recordDropped is the number of the last event that was dropped unread.
var recordDropped = []byte{'l'}

// tail is the end of the event log, for readers.
type tail struct {
	mu      sync.Mutex
	last    uint64        // guarded by mu
	dropped uint64        // guarded by mu; events up to it were dropped unread
	grown   chan struct{} // guarded by mu; closed when last grows
}

func (l *tail) grow(last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = last
	close(l.grown)
	l.grown = make(chan struct{})
}

func (l *tail) lose(dropped uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped = dropped
}

func (l *tail) look() (last, dropped uint64, grown <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, l.dropped, l.grown
}

// report adds an event to the log.
func (t *turn) report(entity Entity, data EventData) (seq uint64) {
	b, err := json.Marshal(Event{Time: t.now, Entity: entity, Data: data})
	if err != nil {
		panic(fmt.Sprintf("agent: encode event: %v", err)) // event types always encode
	}
	t.event = t.tx.AppendEvent(b)
	t.reported++
	return t.event
}

// trimLog removes events that all readers have acknowledged, and the oldest ones if there are too many.
func (t *turn) trimLog() {
	l := &t.loop
	cursors := l.cursors
	if t.cursors != nil {
		cursors = t.cursors
	}
	read := l.trimmed
	if len(cursors) > 0 {
		read = ^uint64(0)
		for _, position := range cursors {
			read = min(read, position)
		}
	}
	logged := l.logged + t.reported
	trimmed := l.trimmed
	if read > trimmed {
		trimmed, logged = read, logged-t.tx.DropEvents(read)
	}
	if excess := logged - t.config.MaxEvents; excess > 0 {
		excess += t.config.MaxEvents / 10 // not again for the next event
		if seq, ok := t.tx.EventAt(min(excess, logged) - 1); ok {
			trimmed, logged = seq, logged-t.tx.DropEvents(seq)
			t.put(recordDropped, seq)
			t.onCommit(func() {
				t.tail.lose(seq)
				t.eventsDropped.Add(uint64(excess))
				t.log.Warn("events dropped unread", "events", excess)
			})
		}
	}
	t.onCommit(func() {
		l.trimmed, l.logged = trimmed, logged
		if t.cursors != nil {
			l.cursors = t.cursors
		}
	})
}

// setCursors returns the cursors for changing in this transaction.
func (t *turn) setCursors() map[string]uint64 {
	if t.cursors == nil {
		t.cursors = maps.Clone(t.loop.cursors)
	}
	return t.cursors
}

// cursor returns the position of a cursor; a new one is made at the oldest event.
func (t *turn) cursor(name string) (uint64, error) {
	if name == "" || len(name) > maxCursorName {
		return 0, ErrCursor
	}
	cursors := t.loop.cursors
	if t.cursors != nil {
		cursors = t.cursors
	}
	if position, ok := cursors[name]; ok {
		return position, nil
	}
	if len(cursors) >= maxCursors {
		return 0, ErrCursor
	}
	t.setCursors()[name] = t.loop.trimmed
	t.tx.SetCursor(name, t.loop.trimmed)
	return t.loop.trimmed, nil
}

// Events returns the events behind the named cursor, in order, those to come included: it waits for new ones until ctx
// ends or the agent closes, whose error is then the last thing it yields. A name seen for the first time starts at the
// oldest event kept. Each name, up to 255 bytes, is a reader of its own, 256 at most; one that is not needed any more
// should be dropped with DropCursor, because events are kept until all cursors have acknowledged them. ErrEventsLost is
// yielded when events had to be dropped unread; the iteration can go on behind it.
func (a *Agent) Events(ctx context.Context, cursor string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		position, err := call(ctx, a, func(t *turn) (uint64, error) { return t.cursor(cursor) })
		if err != nil {
			yield(Event{}, err)
			return
		}
		for {
			last, dropped, grown := a.tail.look()
			if position < dropped {
				position = dropped
				if !yield(Event{}, ErrEventsLost) {
					return
				}
				continue
			}
			if position >= last {
				select {
				case <-grown:
					continue
				case <-ctx.Done():
					yield(Event{}, ctx.Err())
				case <-a.closing:
					yield(Event{}, ErrClosed)
				}
				return
			}
			page, err := a.page(ctx, position)
			if err != nil {
				yield(Event{}, err)
				return
			}
			if len(page) == 0 { // dropped meanwhile, or acknowledged by this cursor in another iteration
				position = last
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
				position = e.Seq
			}
		}
	}
}

// page reads the next events from the log.
func (a *Agent) page(ctx context.Context, after uint64) (page []Event, err error) {
	var stored []store.Event
	err = a.store.View(ctx, func(tx *store.Tx) error {
		stored = tx.Events(after, eventPage)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, s := range stored {
		var e Event
		if err := json.Unmarshal(s.Payload, &e); err != nil {
			return nil, fmt.Errorf("stored event: %w", err)
		}
		e.Seq = s.Seq
		page = append(page, e)
	}
	return page, nil
}

// AckEvent tells that a reader has finished with all events up to seq: it will resume behind it. Messages should be
// acknowledged (Ack) before the event is, so that a crash in between repeats the event instead of losing it. A seq below
// what was acknowledged before changes nothing.
func (a *Agent) AckEvent(ctx context.Context, cursor string, seq uint64) error {
	return do(ctx, a, func(t *turn) error {
		have, ok := t.loop.cursors[cursor]
		if t.cursors != nil {
			have, ok = t.cursors[cursor]
		}
		if !ok || seq > t.tx.LastEvent() {
			return ErrCursor
		}
		if seq > have {
			t.setCursors()[cursor] = seq
			t.tx.SetCursor(cursor, seq)
		}
		return nil
	})
}

// DropCursor removes a named cursor; one that is unknown is no error.
func (a *Agent) DropCursor(ctx context.Context, cursor string) error {
	return do(ctx, a, func(t *turn) error {
		delete(t.setCursors(), cursor)
		t.tx.DropCursor(cursor)
		return nil
	})
}

// loadEvents reads where the log stands.
func (a *Agent) loadEvents(t *turn) {
	l := &a.loop
	l.cursors = t.tx.Cursors()
	l.logged = t.tx.CountEvents()
	last := t.tx.LastEvent()
	l.trimmed = last
	if first, ok := t.tx.EventAt(0); ok {
		l.trimmed = first - 1
	}
	a.tail = &tail{last: last, grown: make(chan struct{})}
	t.get(recordDropped, &a.tail.dropped)
}
