package conn

import (
	"crypto/ed25519"
	"fmt"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// Effect is what a step wants done outside: an Operation or an Event.
type Effect interface{ effect() }

// Operation is a command for a relay. Its result comes back as an input with the same Op: QueueCreated for NewQueue,
// OperationDone for the others, OperationFailed. The core repeats failed ones itself, with intervals, and has at most one
// SEND under way for each queue of the peer. Doing an operation twice is harmless, except that NewQueue then leaves a
// queue that nobody uses. Results that nobody waits for any more are ignored.
type Operation interface {
	Effect
	Name() Op
}

// Op names an operation of one connection. It is comparable, and the same again when the operation is repeated.
type Op struct {
	kind   opKind
	slot   uint8  // queue
	number uint64 // message, attempt
}

// Name returns op; embedding it makes a struct an Operation.
func (op Op) Name() Op { return op }

func (Op) effect() {}

type opKind uint8

const (
	opNew opKind = iota + 1
	opKey
	opSecure
	opSend
	opPost
	opAck
	opDelete
	opSubscribe
)

// Format prints the operation's command with every verb, and so for the operations: they have keys.
func (op Op) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(op.String())) }

// String names the operation's command.
func (op Op) String() string {
	switch op.kind {
	case opNew:
		return "NEW"
	case opKey:
		return "KEY"
	case opSecure:
		return "SKEY"
	case opSend, opPost:
		return "SEND"
	case opAck:
		return "ACK"
	case opDelete:
		return "DEL"
	case opSubscribe:
		return "SUB"
	default:
		return "no operation"
	}
}

// Recipient is a queue as its recipient addresses it. Key authorizes the recipient's commands.
type Recipient struct {
	Server queue.Server
	ID     queue.ID
	Key    ed25519.PrivateKey
}

// Sender is a queue as its sender addresses it. Key authorizes the sender's commands; it is nil where the command must
// be sent without authorization.
type Sender struct {
	Server queue.Server
	ID     queue.ID
	Key    ed25519.PrivateKey
}

const hidden = "[queue]"

// Format hides address and key from every formatting verb.
func (Recipient) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// Format hides address and key from every formatting verb.
func (Sender) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// NewQueue asks for a queue on a relay of the runtime's choice (NEW with subscription). Answered by QueueCreated.
type NewQueue struct {
	Op
	Mode  queue.Mode
	Key   ed25519.PrivateKey // authorizes recipient commands
	DH    keys.Public        // X25519, for the encryption between relay and recipient
	Avoid []queue.Server     // relays that this connection uses already; choose another if there is one
	// Leaves are those of them that have own queues: if all must be used again, choose none of these if there is another.
	Leaves []queue.Server
	Tried  int // how often it failed before; try another relay each time
}

// SecureQueue sets the sender's key of an own queue (KEY).
type SecureQueue struct {
	Op
	Recipient
	SenderKey keys.Public
}

// SecureSending sets the own key on the peer's queue (SKEY with the public part of Sender.Key).
type SecureSending struct {
	Op
	Sender
}

// Deliver sends a message (SEND). Body makes its bytes and may be called in any goroutine.
type Deliver struct {
	Op
	Sender
	Notify bool // ask for a push notification
	sealer sealer
}

// Body encrypts the message: the ratchet's body with the keys that were fixed when it was queued, and the box of the
// queue. The result has 15,992 or 16,043 bytes and is the same at every call.
func (d Deliver) Body() ([]byte, error) {
	return d.AppendBody(make([]byte, 0, envelope.BodyMessage))
}

// AppendBody appends what Body returns. After an error dst is as it was.
func (d Deliver) AppendBody(dst []byte) ([]byte, error) { return d.sealer.appendSealed(dst) }

// AckQueue acknowledges a message (ACK). The answer NO_MSG counts as done.
type AckQueue struct {
	Op
	Recipient
	Message queue.ID
}

// DeleteQueue removes an own queue from its relay (DEL).
type DeleteQueue struct {
	Op
	Recipient
}

// Subscribe asks for the messages of an own queue (SUB). It is an effect of Pending only: queues are subscribed when they
// are created, and after a lost session the runtime subscribes again by itself. A temporary failure need not be reported.
type Subscribe struct {
	Op
	Recipient
}
