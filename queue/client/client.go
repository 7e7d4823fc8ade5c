package client

import (
	"cmp"
	"context"
	"crypto/ecdh"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coterie-im/coterie/queue"
)

// Conn is an established connection; *transport.Conn is one. One goroutine reads while another writes; Close may be
// called by any, and ends both.
type Conn interface {
	Version() queue.Version
	SessionID() []byte
	PeerSessionKey() *ecdh.PublicKey // nil if the relay has sent none
	MaxPayload() int
	ReadBlock() ([]byte, error)      // the caller owns the result
	WriteBlock(payload []byte) error // the payload is the caller's again afterwards
	Close() error
}

// DialFunc connects to the relay. It must return when ctx is done.
type DialFunc func(ctx context.Context) (Conn, error)

// Config says how a session behaves. Only Dial must be set; zero values mean the defaults.
type Config struct {
	Dial           DialFunc
	Jitter         func() float64 // in [0, 1): waiting is prolonged by this part of a fifth; default: random
	ConnectTimeout time.Duration  // default 45 s
	CommandTimeout time.Duration  // default 30 s
	PingInterval   time.Duration  // of silence; default 10 min
	EventLimit     int            // how many messages wait for the consumer; default 128
	InFlight       int            // how many commands wait for the relay, more wait outside; default 1350
}

// Queue is a queue at the relay as its recipient or sender knows it.
type Queue struct {
	ID  queue.ID         // recipient or sender ID
	Key queue.PrivateKey // authorizes this party's commands; zero for unsecured sending
}

// The defaults of Config.
const (
	defaultConnectTimeout = 45 * time.Second
	defaultCommandTimeout = 30 * time.Second
	defaultPingInterval   = 10 * time.Minute
	defaultEventLimit     = 128
	defaultInFlight       = 1350
)

func (c Config) withDefaults() Config {
	if c.Jitter == nil {
		c.Jitter = mathrand.Float64
	}
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, defaultConnectTimeout)
	c.CommandTimeout = cmp.Or(c.CommandTimeout, defaultCommandTimeout)
	c.PingInterval = cmp.Or(c.PingInterval, defaultPingInterval)
	c.EventLimit = cmp.Or(c.EventLimit, defaultEventLimit)
	c.InFlight = cmp.Or(c.InFlight, defaultInFlight)
	return c
}

// Client is a session. Its methods are safe for concurrent use, and return when the relay has answered, the context is
// done, or the time limit of commands is over. Their errors are those of this package, a queue.Error that the relay has
// answered, a *DialError, or that of the context; Classify sorts them.
type Client struct {
	// Into the loop. The loop receives from control and cancels always, from commands while few enough are in flight.
	commands chan *command
	cancels  chan *command
	control  chan func(*loop)

	events  chan Event    // sent to and closed by the loop
	closing chan struct{} // closed by Close
	stopped chan struct{} // closed when the loop and all that it started have ended
	close   sync.Once

	connections, dropped, unmatched atomic.Uint64
}

// Start starts a session. Close ends it.
func Start(config Config) *Client {
	c := &Client{
		commands: make(chan *command),
		cancels:  make(chan *command),
		control:  make(chan func(*loop)),
		events:   make(chan Event),
		closing:  make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	l := newLoop(c, config.withDefaults())
	go l.run()
	return c
}

// Close ends the session: commands in flight fail with ErrClosed, the connection is closed, Events is closed. It returns
// when all of the session's goroutines have ended.
func (c *Client) Close() {
	c.close.Do(func() { close(c.closing) })
	<-c.stopped
}

// Events returns the channel of events. It is closed by Close; events that nobody has received then are dropped.
func (c *Client) Events() <-chan Event { return c.events }

// Wake tries to connect now if it is needed, and starts waiting times from the beginning: the network is back, or
// somebody looks at the program. If there is a connection, it asks the relay for a sign of life.
func (c *Client) Wake() {
	c.tell(func(l *loop) {
		l.backoff.reset()
		l.nextAttempt = time.Time{}
		if l.session != nil && l.ping == nil {
			l.sendPing()
		}
	})
}

// tell has the loop run f, unless it has ended.
func (c *Client) tell(f func(*loop)) {
	select {
	case c.control <- f:
	case <-c.stopped:
	}
}

// Stats are counters since Start.
type Stats struct {
	Connections uint64 // that were made
	Dropped     uint64 // messages that found the event list full
	Unmatched   uint64 // responses that belong to no command or queue
}

// Stats returns the counters.
func (c *Client) Stats() Stats {
	return Stats{Connections: c.connections.Load(), Dropped: c.dropped.Load(), Unmatched: c.unmatched.Load()}
}
