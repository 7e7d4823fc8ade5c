package client

import (
	"context"
	"fmt"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// do runs a command: it waits for the answer, for ctx, or for the end of the session.
func (c *Client) do(ctx context.Context, q Queue, what queue.Command) (queue.Response, error) {
	cmd := &command{command: what, entity: q.ID, key: q.Key, done: make(chan result, 1)}
	select {
	case c.commands <- cmd:
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", what.Tag(), ctx.Err())
	case <-c.stopped:
		return nil, fmt.Errorf("%s: %w", what.Tag(), ErrClosed)
	}
	select {
	case r := <-cmd.done:
		return r.wrap(what)
	case <-ctx.Done():
	}
	select {
	case c.cancels <- cmd:
	case <-c.stopped:
	}
	select {
	case r := <-cmd.done: // it has just been answered
		return r.wrap(what)
	default:
		return nil, fmt.Errorf("%s: %w", what.Tag(), ctx.Err())
	}
}

func (r result) wrap(what queue.Command) (queue.Response, error) {
	if r.err != nil {
		return nil, fmt.Errorf("%s: %w", what.Tag(), r.err)
	}
	return r.response, nil
}

// New creates a queue; key is the private key of command.RecipientKey. With command.Subscribe the queue is subscribed
// from then on.
func (c *Client) New(ctx context.Context, command queue.NEW, key queue.PrivateKey) (queue.IDS, error) {
	r, err := c.do(ctx, Queue{Key: key}, command)
	if err != nil {
		return queue.IDS{}, err
	}
	return r.(queue.IDS), nil
}

// Subscribe subscribes queues, many at once, and returns an error or nil for each. A queue whose error is Temporary or
// Host is still wanted: the session subscribes it as soon as it can, and reports Subscribed or Refused. The first message
// of each comes as event.
func (c *Client) Subscribe(ctx context.Context, queues ...Queue) []error {
	results := make(chan subscribeResult, len(queues))
	c.tell(func(l *loop) { l.subscribe(queues, results) })
	errs := make([]error, len(queues))
	settled := make([]bool, len(queues))
	var err error
	for waits := len(queues); waits > 0 && err == nil; waits-- {
		select {
		case r := <-results:
			errs[r.index], settled[r.index] = r.wrap(), true
		case <-ctx.Done():
			c.tell(func(l *loop) { l.abandon(queues, results) })
			err = ctx.Err()
		case <-c.stopped:
			err = ErrClosed
		}
	}
	if err == nil {
		return errs
	}
	for len(results) > 0 { // settled meanwhile
		r := <-results
		errs[r.index], settled[r.index] = r.wrap(), true
	}
	for i := range errs {
		if !settled[i] {
			errs[i] = subscribeResult{i, err}.wrap()
		}
	}
	return errs
}

func (r subscribeResult) wrap() error {
	if r.err != nil {
		return fmt.Errorf("SUB: %w", r.err)
	}
	return nil
}

// Forget stops caring for the subscription of a queue, without a word to the relay.
func (c *Client) Forget(id queue.ID) { c.tell(func(l *loop) { l.forget(id) }) }

// Key sets the sender's key as the recipient. The same key again is no error.
func (c *Client) Key(ctx context.Context, q Queue, sender keys.Public) error {
	_, err := c.do(ctx, q, queue.KEY{Key: sender})
	return err
}

// SecureSender sets the sender's key, that of q, as the sender (SKEY). Only for messaging queues, at relays of version 9
// and later. The same key again is no error.
func (c *Client) SecureSender(ctx context.Context, q Queue) error {
	_, err := c.do(ctx, q, queue.SKEY{Key: q.Key.Public()})
	return err
}

// Send sends a message; nil means that the relay has it. queue.ErrQuota if the queue is full, queue.ErrLargeMsg if the
// body has more than queue.MaxBodySize bytes. The body must not be changed any more, also not after Send has returned.
func (c *Client) Send(ctx context.Context, q Queue, notify bool, body []byte) error {
	_, err := c.do(ctx, q, queue.SEND{Notify: notify, Body: body})
	return err
}

// Ack acknowledges a message; the next one, if any, comes as event. queue.ErrNoMsg if this is not the message that was
// delivered on this connection.
func (c *Client) Ack(ctx context.Context, q Queue, message queue.ID) error {
	_, err := c.do(ctx, q, queue.ACK{MessageID: message})
	return err
}

// Get asks for the first message of a queue that is not subscribed; it comes as event. found is false if there is none.
// ErrSlowConsumer if there is one, but no room for events.
func (c *Client) Get(ctx context.Context, q Queue) (found bool, err error) {
	r, err := c.do(ctx, q, queue.GET{})
	if err != nil {
		return false, err
	}
	_, found = r.(queue.MSG)
	return found, nil
}

// Off stops a queue from taking messages.
func (c *Client) Off(ctx context.Context, q Queue) error {
	_, err := c.do(ctx, q, queue.OFF{})
	return err
}

// Delete deletes a queue with its messages.
func (c *Client) Delete(ctx context.Context, q Queue) error {
	_, err := c.do(ctx, q, queue.DEL{})
	return err
}

// QueueInfo asks about a queue.
func (c *Client) QueueInfo(ctx context.Context, q Queue) (queue.QueueInfo, error) {
	r, err := c.do(ctx, q, queue.QUE{})
	if err != nil {
		return queue.QueueInfo{}, err
	}
	return r.(queue.INFO).Info, nil
}

// Ping asks for a sign of life.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.do(ctx, Queue{}, queue.PING{})
	return err
}
