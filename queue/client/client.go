package client

import (
	"context"
	"crypto/ecdh"
	"io"
	"time"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// Conn is an established connection; *transport.Conn is one. One goroutine reads while another writes; Close may be
// called by any, and ends both.
type Conn interface {
	Version() queue.Version
	SessionID() []byte
	PeerSessionKey() *ecdh.PublicKey // nil if the relay has sent none
	MaxPayload() int
	ReadBlock() ([]byte, error) // the caller owns the result
	WriteBlock(payload []byte) error
	Close() error
}

// DialFunc connects to the relay. It must return when ctx is done.
type DialFunc func(ctx context.Context) (Conn, error)

// Config says how a session behaves. Only Dial must be set; zero values mean the defaults.
type Config struct {
	Dial           DialFunc
	Rand           io.Reader      // for correlation IDs; default: crypto/rand
	Jitter         func() float64 // in [0, 1), part of a fifth by which waiting is prolonged; default: random
	ConnectTimeout time.Duration  // default 45 s
	CommandTimeout time.Duration  // default 30 s
	PingInterval   time.Duration  // of silence; default 10 min
	EventLimit     int            // how many events wait for the consumer; default 128
	InFlight       int            // how many commands wait for the relay, more wait outside; default 1350
}

// Queue is a queue at the relay as its recipient or sender knows it.
type Queue struct {
	ID  queue.ID         // recipient or sender ID
	Key queue.PrivateKey // authorizes this party's commands; zero for unsecured sending
}

// Client is a session. Its methods are safe for concurrent use, and return when the relay has answered, the context is
// done, or the time limit of commands is over.
type Client struct{}

// Start starts a session. Close ends it.
func Start(config Config) *Client { return nil }

// Close ends the session: commands in flight fail with ErrClosed, the connection is closed, Events is closed. It returns
// when all of the session's goroutines have ended.
func (c *Client) Close() {}

// Events returns the channel of events. It is closed by Close.
func (c *Client) Events() <-chan Event { return nil }

// Wake tries to connect now if it is needed, and starts waiting times from the beginning: the network is back, or
// somebody looks at the program.
func (c *Client) Wake() {}

// New creates a queue; key authorizes and is the private key of command.RecipientKey. With command.Subscribe the queue is
// then subscribed.
func (c *Client) New(ctx context.Context, command queue.NEW, key queue.PrivateKey) (queue.IDS, error) {
	return queue.IDS{}, nil
}

// Subscribe subscribes queues, and returns an error or nil for each. A queue whose error is Temporary or Host is still
// wanted: the session subscribes it as soon as it can, and reports Subscribed or Refused.
func (c *Client) Subscribe(ctx context.Context, queues ...Queue) []error { return nil }

// Forget stops caring for the subscription of a queue, without a word to the relay.
func (c *Client) Forget(id queue.ID) {}

// Key sets the sender's key as the recipient.
func (c *Client) Key(ctx context.Context, q Queue, sender keys.Public) error { return nil }

// SecureSender sets the sender's key, that of q, as the sender (SKEY). Messaging queues and version 9 only.
func (c *Client) SecureSender(ctx context.Context, q Queue) error { return nil }

// Send sends a message. nil means that the relay has it. queue.ErrQuota if the queue is full, queue.ErrLargeMsg if the
// body has more than queue.MaxBodySize bytes.
func (c *Client) Send(ctx context.Context, q Queue, notify bool, body []byte) error { return nil }

// Ack acknowledges a message; the next one, if any, comes as event. queue.ErrNoMsg if this is not the message that was
// delivered on this connection.
func (c *Client) Ack(ctx context.Context, q Queue, message queue.ID) error { return nil }

// Get asks for the first message of a queue that is not subscribed; it comes as event. found is false if there is none.
func (c *Client) Get(ctx context.Context, q Queue) (found bool, err error) { return false, nil }

// Off stops a queue from taking messages.
func (c *Client) Off(ctx context.Context, q Queue) error { return nil }

// Delete deletes a queue with its messages.
func (c *Client) Delete(ctx context.Context, q Queue) error { return nil }

// QueueInfo asks about a queue.
func (c *Client) QueueInfo(ctx context.Context, q Queue) (queue.QueueInfo, error) {
	return queue.QueueInfo{}, nil
}

// Ping asks for a sign of life.
func (c *Client) Ping(ctx context.Context) error { return nil }

// Stats are counters since Start.
type Stats struct {
	Connections uint64 // that were made
	Dropped     uint64 // messages that found the event list full
	Unmatched   uint64 // responses that belong to no command or queue
}

// Stats returns the counters.
func (c *Client) Stats() Stats { return Stats{} }
