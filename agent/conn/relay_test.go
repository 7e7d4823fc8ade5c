package conn

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"slices"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// relay is a relay in memory, with the rules that connections depend on: who may send, the quota with its marker,
// redelivery until the acknowledgement.
type relay struct {
	server queue.Server
	quota  int
	rand   io.Reader
	modes  bool // knows queue modes (SKEY)
	queues []*relayQueue
}

type relayQueue struct {
	relay     *relay
	recipient queue.ID
	sender    queue.ID
	owner     *node
	key       ed25519.PublicKey // recipient's
	senderKey keys.Public
	mode      queue.Mode
	secret    box.Secret
	messages  []relayMessage
	full      bool // until drained
	delivered bool // the first message is with the recipient
	deleted   bool
}

type relayMessage struct {
	id      queue.ID
	content queue.Message
}

func newRelay(host string, rand io.Reader) *relay {
	r := &relay{server: queue.Server{Hosts: []string{host}, Port: "5223"}, quota: 128, rand: rand, modes: true}
	randomBytes(rand, r.server.Fingerprint[:])
	return r
}

func (r *relay) newID() queue.ID {
	id, err := queue.NewID(r.rand)
	if err != nil {
		panic(err)
	}
	return id
}

func (r *relay) create(owner *node, op NewQueue) Input {
	private := agreementKey(newAgreementKey(r.rand))
	q := &relayQueue{
		relay: r, recipient: r.newID(), sender: r.newID(), owner: owner, mode: op.Mode,
		key: op.Key.Public().(ed25519.PublicKey), secret: mustAgree(private, op.DH),
	}
	if !r.modes {
		q.mode = queue.ModeNone
	}
	r.queues = append(r.queues, q)
	return QueueCreated{
		Op: op.Op, Server: r.server, Recipient: q.recipient, Sender: q.sender,
		ServerKey: keys.FromX25519(private.PublicKey()), Mode: q.mode,
	}
}

func (w *world) byRecipient(to Recipient) *relayQueue {
	return w.find(to.Server, func(q *relayQueue) bool {
		return q.recipient == to.ID && q.key.Equal(to.Key.Public())
	})
}

func (w *world) find(server queue.Server, match func(*relayQueue) bool) *relayQueue {
	for _, r := range w.relays {
		if !r.server.Equal(server) {
			continue
		}
		for _, q := range r.queues {
			if !q.deleted && match(q) {
				return q
			}
		}
	}
	return nil
}

func refused(op Operation, class Class, code Code) Input {
	return OperationFailed{Op: op.Name(), Class: class, Code: code}
}

// execute does an operation of a node and returns its result.
func (w *world) execute(n *node, op Operation) Input {
	done := OperationDone{op.Name()}
	auth := refused(op, Auth, CodeAuth)
	switch op := op.(type) {
	case NewQueue:
		return n.relayFor(op).create(n, op)
	case SecureQueue:
		q := w.byRecipient(op.Recipient)
		if q == nil || !q.secure(op.SenderKey) {
			return auth
		}
		return done
	case SecureSending:
		q := w.bySender(op.Sender)
		if q == nil || q.mode != queue.ModeMessaging || !q.secure(publicOf(op.Sender)) {
			return auth
		}
		return done
	case Deliver:
		return w.send(n, op)
	case AckQueue:
		q := w.byRecipient(op.Recipient)
		if q == nil {
			return auth
		}
		q.acknowledge(op.Message)
		return done
	case Subscribe:
		q := w.byRecipient(op.Recipient)
		if q == nil {
			return auth
		}
		q.delivered = false
		return done
	case DeleteQueue:
		q := w.byRecipient(op.Recipient)
		if q == nil {
			return auth
		}
		q.deleted = true
		return done
	default:
		panic(fmt.Sprintf("unknown operation %T", op))
	}
}

// relayFor chooses where a node's queue is made: on its other relay if it has one and leaves the first.
func (n *node) relayFor(op NewQueue) *relay {
	for _, s := range op.Leaves {
		if n.other != nil && s.Equal(n.relay.server) {
			return n.other
		}
	}
	return n.relay
}

func publicOf(s Sender) keys.Public {
	if s.Key == nil {
		return keys.Public{}
	}
	return keys.FromEd25519(s.Key.Public().(ed25519.PublicKey))
}

func (w *world) bySender(s Sender) *relayQueue {
	return w.find(s.Server, func(q *relayQueue) bool { return q.sender == s.ID })
}

func (q *relayQueue) secure(k keys.Public) bool {
	if !q.senderKey.IsZero() {
		return q.senderKey == k
	}
	q.senderKey = k
	return true
}

func (w *world) send(n *node, op Deliver) Input {
	body, err := op.Body()
	if err != nil {
		w.t.Fatalf("%s: sealing: %v", n.name, err)
	}
	if again, err := op.Body(); err != nil || string(again) != string(body) {
		w.t.Fatalf("%s: sealing twice differs (%v)", n.name, err)
	}
	if len(body) != 15992 && len(body) != 16043 {
		w.t.Fatalf("%s: body of %d bytes", n.name, len(body))
	}
	q := w.bySender(op.Sender)
	if q == nil || q.senderKey != publicOf(op.Sender) {
		return refused(op, Auth, CodeAuth)
	}
	if !q.accept(queue.Message{Time: w.now.Unix(), Notify: op.Notify, Body: body}) {
		return refused(op, Quota, CodeQuota)
	}
	return OperationDone{op.Name()}
}

func (q *relayQueue) accept(m queue.Message) bool {
	if q.full && len(q.messages) > 0 {
		return false
	}
	q.full = len(q.messages) >= q.relay.quota
	if q.full {
		m = queue.Message{Time: m.Time, Quota: true}
	}
	q.messages = append(q.messages, relayMessage{q.relay.newID(), m})
	return !q.full
}

func (q *relayQueue) acknowledge(id queue.ID) {
	if q.delivered && len(q.messages) > 0 && q.messages[0].id == id {
		q.messages = slices.Delete(q.messages, 0, 1)
		q.delivered = false
	}
}

// deliverable tells whether there is a message for the recipient.
func (q *relayQueue) deliverable() bool { return !q.deleted && !q.delivered && len(q.messages) > 0 }

func (q *relayQueue) deliver() Received {
	q.delivered = true
	m := q.messages[0]
	sealed, err := queue.SealMessage(&q.secret, m.id, m.content)
	if err != nil {
		panic(err)
	}
	return Received{Queue: q.recipient, ID: m.id, Body: sealed}
}
