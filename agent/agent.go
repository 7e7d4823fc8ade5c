package agent

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/grouproto"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/client"
	"github.com/coterie-im/coterie/queue/transport"
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
	// Rand is where keys and IDs come from; nil is the system's. It must not fail.
	Rand io.Reader
	// MaxEvents is how many events are kept for clients that do not read them; beyond it the oldest are dropped and
	// readers get ErrEventsLost. Zero is 100,000.
	MaxEvents int
	// Spread is within which time, at random, the messages of one fan-out to a group leave. Zero is 200 ms, negative: all at
	// once. A relay that sees many pairs of this agent sees the size of a fan-out the better the shorter it is.
	Spread time.Duration
	// GroupLimits are limits of groups that differ from the defaults.
	GroupLimits GroupLimits
	// Dialer makes the connections to relays; nil is the system's.
	Dialer transport.Dialer
	// AfterCommit is called after the n-th commit that changed something (store.Options); for tests.
	AfterCommit func(n int)

	relay        func(queue.Server) relay                                      // tests put their own here
	now          func() time.Time                                              // the clock, which tests may set wrong
	effect       func(*turn, *groupEntry, grouproto.Effect) []grouproto.Effect // what a member does instead that misbehaves, in tests
	beforeCommit func() error                                                  // store.Options, for tests
}

const (
	defaultMaxEvents = 100_000
	relayEvents      = 512 // events of one relay, mostly messages of 16 KB, that wait for the loop
)

// Agent is an open agent. Its methods may be called from any goroutine; each may also fail with ErrClosed or the
// context's error. A call whose context ends may still take effect, unless it says otherwise.
type Agent struct {
	// Static.
	config Config
	log    *slog.Logger
	store  *store.Store
	inbox  chan task
	tail   *tail

	closing   chan struct{} // closed when Close begins: no more calls
	settled   chan struct{} // closed by the loop when nothing is under way after closing
	quit      chan struct{} // closed to end the loop
	done      chan struct{} // closed when the loop has ended
	closeOnce sync.Once
	closeErr  error

	loop loop // owned by the loop

	sent          [numOwners]atomic.Uint64
	groupsSent    sync.Map // GroupID → *atomic.Uint64
	commands      sync.Map // command name → *atomic.Uint64
	eventsDropped atomic.Uint64
}

// Open opens or creates the agent's store, begins to reconnect everything in it, and returns without waiting for relays.
// ErrLocked, ErrKey and the store's other errors.
func Open(ctx context.Context, c Config) (*Agent, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.MaxEvents <= 0 {
		c.MaxEvents = defaultMaxEvents
	}
	if c.Spread == 0 {
		c.Spread = defaultSpread
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.relay == nil {
		dialer := c.Dialer
		c.relay = func(s queue.Server) relay {
			return client.Start(client.Config{Dial: client.Dial(s, dialer, transport.ClientConfig{}), EventLimit: relayEvents})
		}
	}
	st, err := store.Open(store.Options{Path: c.Store, Key: c.Key, Rand: c.Rand, AfterCommit: c.AfterCommit, BeforeCommit: c.beforeCommit})
	if err != nil {
		return nil, err
	}
	a := &Agent{
		config:  c,
		log:     c.Logger,
		store:   st,
		inbox:   make(chan task, inboxSize),
		closing: make(chan struct{}),
		settled: make(chan struct{}),
		quit:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	if err := a.start(); err != nil {
		_ = st.Close()
		return nil, err
	}
	go a.run()
	return a, nil
}

// Close ends the agent in two stages: it takes no more calls, waits until relay operations that are under way have ended,
// or ctx has, and stores their results; then it closes sessions and the store. Nothing is lost either way. Closing again
// waits for the first Close.
func (a *Agent) Close(ctx context.Context) error {
	a.closeOnce.Do(func() {
		close(a.closing)
		select {
		case <-a.settled:
		case <-ctx.Done():
		}
		close(a.quit)
		<-a.done
		a.closeErr = a.store.Close()
	})
	return a.closeErr
}

// OwnerKind says whose a connection is.
type OwnerKind string

// The kinds of owners.
const (
	OwnerClient OwnerKind = "client"
	OwnerGroup  OwnerKind = "group"
	OwnerDirect OwnerKind = "direct" // a direct connection that is being made
)

var ownerKinds = [...]OwnerKind{OwnerClient, OwnerGroup, OwnerDirect}

const numOwners = len(ownerKinds)

func (k OwnerKind) index() int {
	for i, kind := range ownerKinds {
		if k == kind {
			return i
		}
	}
	return 0
}

// Counters are totals since Open.
type Counters struct {
	// Sent are agent messages that relays took (confirmations, messages, receipts, everything), by whose connection it was.
	Sent map[OwnerKind]uint64 `json:"sent"`
	// Groups are the same of single groups.
	Groups map[GroupID]uint64 `json:"groups,omitempty"`
	// Commands are relay commands that succeeded, by their name (NEW, KEY, SKEY, SEND, ACK, DEL).
	Commands map[string]uint64 `json:"commands"`
	// EventsDropped are events that were dropped unread.
	EventsDropped uint64 `json:"eventsDropped"`
}

// Counters returns the totals since Open.
func (a *Agent) Counters() Counters {
	c := Counters{Sent: map[OwnerKind]uint64{}, Groups: map[GroupID]uint64{}, Commands: map[string]uint64{}}
	for i, k := range ownerKinds {
		c.Sent[k] = a.sent[i].Load()
	}
	a.groupsSent.Range(func(k, n any) bool {
		c.Groups[k.(GroupID)] = n.(*atomic.Uint64).Load()
		return true
	})
	a.commands.Range(func(k, n any) bool {
		c.Commands[k.(string)] = n.(*atomic.Uint64).Load()
		return true
	})
	c.EventsDropped = a.eventsDropped.Load()
	return c
}

// owner is whose a connection is, for the counters.
type owner struct {
	kind  OwnerKind
	group GroupID
}

// count adds a command that a relay has done.
func (a *Agent) count(o owner, op conn.Operation) {
	add(&a.commands, op.Name().String())
	if _, ok := op.(conn.Deliver); !ok {
		return
	}
	a.sent[o.kind.index()].Add(1)
	if o.group != "" {
		add(&a.groupsSent, o.group)
	}
}

func add(counters *sync.Map, key any) {
	n, ok := counters.Load(key)
	if !ok {
		n, _ = counters.LoadOrStore(key, &atomic.Uint64{})
	}
	n.(*atomic.Uint64).Add(1)
}

// relaysByKey returns the configured relays by the names that sessions have.
func (c Config) relaysByKey() map[string]queue.Server {
	byKey := map[string]queue.Server{}
	for _, s := range c.Relays {
		byKey[relayKey(s)] = s
	}
	return byKey
}
