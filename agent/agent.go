package agent

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"time"

	"github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/queue"
)

// Config says how an agent is opened.
type Config struct {
	// Store is the path of the agent's file, created if it is missing; its folder must exist.
	Store string
	// Key opens the store.
	Key store.Key
	// Relays are where new queues are made, chosen at random for each; without any, only what exists can be used.
	Relays []queue.Server
	// Logger gets what an operator should know, without identifiers, keys or addresses; nil is no log.
	Logger *slog.Logger
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// Rand is where keys and IDs come from; nil is the system's. It must not fail.
	Rand io.Reader
	// MaxEvents is how many events are kept for clients that do not read them; beyond it the oldest are dropped and
	// readers get ErrEventsLost. Zero is 100,000.
	MaxEvents int
	// AfterCommit is called after the n-th commit that changed something (store.Options); for tests.
	AfterCommit func(n int)
}

// Agent is an open agent. Its methods may be called from any goroutine; each may also fail with ErrClosed or the
// context's error. A call whose context ends may still take effect, unless it says otherwise.
type Agent struct{}

// Open opens or creates the agent's store, begins to reconnect everything in it, and returns without waiting for relays.
// ErrLocked, ErrKey and the store's other errors.
func Open(ctx context.Context, c Config) (*Agent, error) { panic("unfinished") }

// Close ends the agent in two stages: it takes no more calls, waits until relay operations that are under way have ended,
// or ctx has, and stores their results; then it closes sessions and the store. Nothing is lost either way.
func (a *Agent) Close(ctx context.Context) error { panic("unfinished") }

// Events returns the events behind the named cursor, in order, those to come included: it waits for new ones until ctx
// ends, whose error is then the last thing it yields. A name seen for the first time starts at the oldest event kept. Each
// name, up to 255 bytes, is a reader of its own; one that is not needed any more should be dropped with DropCursor,
// because events are kept until all cursors have acknowledged them. ErrEventsLost is yielded once when events had to be
// dropped unread; the iteration can go on behind it.
func (a *Agent) Events(ctx context.Context, cursor string) iter.Seq2[Event, error] { panic("unfinished") }

// AckEvent tells that a reader has finished with all events up to seq: it will resume behind it. Messages should be
// acknowledged (Ack) before the event is, so that a crash in between repeats the event instead of losing it.
func (a *Agent) AckEvent(ctx context.Context, cursor string, seq uint64) error { panic("unfinished") }

// DropCursor removes a named cursor.
func (a *Agent) DropCursor(ctx context.Context, cursor string) error { panic("unfinished") }

// Counters are totals since Open.
type Counters struct {
	// Sent are agent messages that relays took (confirmations, messages, receipts, everything), by whose connection it was.
	Sent map[OwnerKind]uint64 `json:"sent"`
	// Groups are the same of single groups.
	Groups map[GroupID]uint64 `json:"groups,omitempty"`
	// Commands are relay commands by their name (NEW, SUB, SEND, ...).
	Commands map[string]uint64 `json:"commands"`
	// EventsDropped are events that were dropped unread.
	EventsDropped uint64 `json:"eventsDropped"`
}

// OwnerKind says whose a connection is.
type OwnerKind string

// The kinds of owners.
const (
	OwnerClient OwnerKind = "client"
	OwnerGroup  OwnerKind = "group"
	OwnerDirect OwnerKind = "direct" // a direct connection that is being made
)

// Counters returns the totals since Open.
func (a *Agent) Counters() Counters { panic("unfinished") }
