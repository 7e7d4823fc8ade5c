package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/client"
)

// relay is a session with one relay: what the agent uses of *client.Client.
type relay interface {
	New(ctx context.Context, command queue.NEW, key queue.PrivateKey) (queue.IDS, error)
	Subscribe(ctx context.Context, queues ...client.Queue) []error
	Forget(id queue.ID)
	Key(ctx context.Context, q client.Queue, sender keys.Public) error
	SecureSender(ctx context.Context, q client.Queue) error
	Post(messages []client.Outgoing, done func([]client.Posted))
	Ack(ctx context.Context, q client.Queue, message queue.ID) error
	Off(ctx context.Context, q client.Queue) error
	Delete(ctx context.Context, q client.Queue) error
	Events() <-chan client.Event
	Close()
}

var _ relay = (*client.Client)(nil)

// Codes of failures that no relay has answered (docs/protocol.md, "Errors").
const (
	codeTimeout conn.Code = "BROKER TIMEOUT"
	codeNetwork conn.Code = "BROKER NETWORK"
	codeHost    conn.Code = "BROKER HOST"
)

// codeStore is the failure of a relay that cannot store anything, whatever it says about it: its operator has to do
// something, and until then it is waited for.
const codeStore conn.Code = "SMP STORE"

// execute runs an operation that is no delivery and returns its result for the connection. password is for new queues.
func execute(ctx context.Context, r relay, server queue.Server, op conn.Operation) conn.Input {
	var err error
	switch op := op.(type) {
	case conn.NewQueue:
		return create(ctx, r, server, op)
	case conn.SecureQueue:
		err = r.Key(ctx, recipient(op.Recipient), op.SenderKey)
	case conn.SecureSending:
		err = r.SecureSender(ctx, sender(op.Sender))
	case conn.AckQueue:
		if err = r.Ack(ctx, recipient(op.Recipient), op.Message); errors.Is(err, queue.ErrNoMsg) {
			err = nil
		}
	case conn.DeleteQueue:
		if err = r.Delete(ctx, recipient(op.Recipient)); errors.Is(err, queue.ErrAuth) {
			err = nil // it is gone already
		}
	default:
		panic(fmt.Sprintf("agent: unknown operation %T", op))
	}
	if err != nil {
		return failure(op, err)
	}
	return conn.OperationDone{Op: op.Name()}
}

func create(ctx context.Context, r relay, server queue.Server, op conn.NewQueue) conn.Input {
	key := queue.FromEd25519(op.Key)
	ids, err := r.New(ctx, queue.NEW{
		RecipientKey: key.Public(),
		RecipientDH:  op.DH,
		Password:     server.Password,
		Subscribe:    true,
		Mode:         op.Mode,
	}, key)
	if err != nil {
		return failure(op, err)
	}
	server.Password = ""
	return conn.QueueCreated{
		Op:        op.Name(),
		Server:    server,
		Recipient: ids.RecipientID,
		Sender:    ids.SenderID,
		ServerKey: ids.ServerDH,
		Mode:      ids.Mode,
	}
}

func recipient(r conn.Recipient) client.Queue {
	return client.Queue{ID: r.ID, Key: queue.FromEd25519(r.Key)}
}

func sender(s conn.Sender) client.Queue {
	q := client.Queue{ID: s.ID}
	if s.Key != nil {
		q.Key = queue.FromEd25519(s.Key)
	}
	return q
}

func failure(op conn.Operation, err error) conn.Input {
	f := conn.OperationFailed{Op: op.Name()}
	f.Class, f.Code = classify(err)
	return f
}

// classify sorts an error of a session as connections need it.
func classify(err error) (conn.Class, conn.Code) {
	var answered queue.Error
	switch {
	case errors.Is(err, queue.ErrAuth):
		return conn.Auth, conn.CodeAuth
	case errors.Is(err, queue.ErrQuota):
		return conn.Quota, conn.CodeQuota
	case errors.Is(err, queue.ErrLargeMsg):
		return conn.Large, "SMP LARGE_MSG"
	case errors.As(err, &answered) && answered.IsStore():
		return fromClient(client.Classify(err)), codeStore
	case errors.As(err, &answered):
		return fromClient(client.Classify(err)), "SMP " + conn.Code(answered)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, client.ErrTimeout):
		return conn.Temporary, codeTimeout
	}
	switch class := fromClient(client.Classify(err)); class {
	case conn.Temporary:
		return class, codeNetwork
	case conn.Host:
		return class, codeHost
	default:
		return class, conn.CodeInternal
	}
}

func fromClient(c client.Class) conn.Class {
	switch c {
	case client.Temporary:
		return conn.Temporary
	case client.Host:
		return conn.Host
	default:
		return conn.Permanent
	}
}
