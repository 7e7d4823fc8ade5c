package agent

import (
	"context"
	"crypto/ed25519"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/client"
)

// heldQueue is a receive queue of a connection, with the session of its relay.
type heldQueue struct {
	session *session
	queue   client.Queue
}

// heldQueues returns the receive queues of a client's connection.
func (t *turn) heldQueues(id ConnectionID) (queues []heldQueue, err error) {
	e, err := t.clientConn(id)
	if err != nil {
		return nil, err
	}
	for _, own := range e.meta.Queues {
		r, ok := t.tx.Route(own.Relay, own.ID)
		server, err := queue.ParseServer(own.Relay)
		if !ok || err != nil || len(r.Key) != ed25519.SeedSize {
			continue
		}
		q := conn.Recipient{Server: server, ID: queue.ID(own.ID), Key: ed25519.NewKeyFromSeed(r.Key)}
		queues = append(queues, heldQueue{t.session(server), recipient(q)})
	}
	return queues, nil
}

// Subscribe asks the relay again for the messages of a connection, and returns when they come in. It is needed after Ended,
// when another program took the connection's queue over; otherwise an agent subscribes by itself. The other program gets
// END in turn. Errors of the relay are *conn.Error; the agent does not try again.
func (a *Agent) Subscribe(ctx context.Context, id ConnectionID) error {
	queues, err := call(ctx, a, func(t *turn) ([]heldQueue, error) {
		queues, err := t.heldQueues(id)
		t.onCommit(func() {
			for _, q := range queues {
				q.session.queues[q.queue.ID] = &ownedQueue{conn: id}
			}
		})
		return queues, err
	})
	for _, q := range queues {
		errs := q.session.relay.Subscribe(ctx, q.queue)
		posted := do(ctx, a, func(t *turn) error { return t.subscribed(q.session, []client.Queue{q.queue}, errs) })
		if err == nil {
			err = relayError(errs[0])
		}
		if err == nil {
			err = posted
		}
	}
	return err
}

// Suspend makes the relay refuse further messages of the peer on the connection's own queues (OFF), and returns when it
// does. There is no way back: the peer is told AUTH and gives the connection up. What is at the relay already still comes
// in, and one can go on sending. Errors of the relay are *conn.Error; the agent does not try again.
func (a *Agent) Suspend(ctx context.Context, id ConnectionID) error {
	queues, err := call(ctx, a, func(t *turn) ([]heldQueue, error) { return t.heldQueues(id) })
	for _, q := range queues {
		if failed := relayError(q.session.relay.Off(ctx, q.queue)); err == nil {
			err = failed
		}
	}
	return err
}

// relayError is what a call returns if a relay has not done what was asked of it.
func relayError(err error) error {
	if err == nil {
		return nil
	}
	_, code := classify(err)
	return &conn.Error{Code: code, Kind: conn.OurFault}
}
