package conn

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/kv"
	"github.com/coterie-im/coterie/queue"
)

// Bounds, each with what happens beyond it.
const (
	MaxOutbox   = 10_000 // messages that wait to be sent; more are refused with CodeBusy
	MaxRequests = 256    // unanswered requests at a contact address; the oldest is forgotten
	MaxUnacked  = 128    // messages that the client has not acknowledged; more stay at the relay
	MaxOwed     = 128    // receipts that wait for the connection to be made; more are not sent
	MaxRef      = 255    // bytes of a client's reference
)

// ID names a connection: 12 random bytes in base64url, or a name that a group chose.
type ID string

// NewID returns a random ID of 16 characters.
func NewID(rand io.Reader) ID { return ID(randomName(rand)) }

// Env is what a step works with.
type Env struct {
	Now    time.Time // milliseconds count
	Rand   io.Reader // must not fail: a failing source of randomness panics
	Tx     kv.Tx     // this connection's records
	Bodies Bodies

	versions *versions // for tests that play older agents; nil: all that is supported
}

// Bodies keeps message bodies that wait in outboxes. One body may be queued in many connections; it is stored once.
type Bodies interface {
	// Add stores a body, or counts one more use of it, and returns its reference, at most 255 bytes.
	Add(body []byte) (ref []byte)
	// Get returns the body. It must stay as it is beyond the transaction, because it is encrypted later.
	Get(ref []byte) []byte
	// Release ends one use.
	Release(ref []byte)
}

// InfoFunc builds the info that a joiner sends. binding identifies the handshake for both sides:
//
//	SHA-256(str8("coterie/bind/1") ‖ SHA-256(link) ‖ SHA-256(e2eParams) ‖ AD)
//
// with the binary connection request, the parameters in the joiner's confirmation, and the ratchet's 112 bytes of
// associated data. Nobody who replaced a key, a version or a queue on the way gets the same binding on both sides. For
// a request to a contact address there is no binding yet and it is zero.
type InfoFunc func(binding [32]byte) ([]byte, error)

// CreateOptions say what Create makes.
type CreateOptions struct {
	Kind       link.Kind // Invitation or Contact
	ClientData []byte    // application data in the link (UTF-8); nil for none
}

// JoinOptions say what Join joins.
type JoinOptions struct {
	Link link.Request
	Info InfoFunc
}

// Conn is one connection. It belongs to one goroutine. Between steps nothing is in it that is not in the records, except
// which operations are under way.
type Conn struct {
	id ID
	state
	ratchet *ratchet.State
	gone    bool // deleted

	heads  map[uint8]*outgoing // by slot of the send queue: oldest message, if it was looked up
	issued map[Op]bool         // operations under way; not stored

	// SHA-256 of the two records of the state as they were written last; zero: not known.
	stateKept, progressKept uint64

	signer ed25519.PrivateKey // of the queue that was delivered to last; never changed, operations hold it; not stored

	oldestSent time.Time // when the message with the number sentFrom was sent, if known and remembered; not stored
	wake       time.Time
}

func newConn(id ID) *Conn {
	return &Conn{id: id, heads: map[uint8]*outgoing{}, issued: map[Op]bool{}}
}

// Create starts a connection as initiator, or a contact address. LinkReady follows when its queue exists.
func Create(env Env, id ID, o CreateOptions) (*Conn, []Effect) {
	s := newConn(id).begin(env)
	if o.Kind == link.Contact {
		s.create(address, o)
	} else {
		s.create(initiator, o)
	}
	return s.Conn, s.finish()
}

// Join starts a connection from a link: as joiner of an invitation, or as requester at a contact address, which makes an
// own invitation and posts it; the requester then gets a Confirmation and must Allow it. The error is CodeVersion for a
// link of incompatible versions, CodeLink for keys that cannot be agreed with, CodeLarge, or what Info returned; then
// nothing was stored.
func Join(env Env, id ID, o JoinOptions) (*Conn, []Effect, error) {
	s := newConn(id).begin(env)
	if err := s.join(o); err != nil {
		return nil, nil, err
	}
	return s.Conn, s.finish(), nil
}

// Load brings a connection back from its records. ErrNotFound if there are none; any other error means that the records
// are damaged.
func Load(id ID, tx kv.Tx) (*Conn, error) {
	st, err := loadState(tx)
	if err != nil {
		return nil, err
	}
	c := newConn(id)
	c.state = *st
	if c.hasRatchet {
		if c.ratchet, err = ratchet.Load(tx, []byte{recordRatchet}, nil); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return c, nil
}

// Step handles one input. An error, always an *Error, refuses a call of the client: then nothing has changed. All other
// inputs are handled without error; what is wrong with them comes as a Failure event.
func (c *Conn) Step(env Env, in Input) ([]Effect, error) {
	s := c.begin(env)
	if refused := s.handle(in); refused != nil {
		return nil, refused
	}
	return s.finish(), nil
}

// handle dispatches an input. The result refuses a call of the client.
func (s *step) handle(in Input) *Error {
	switch in := in.(type) {
	case QueueCreated:
		if s.resolve(in.Op) {
			s.queueCreated(in)
		}
	case OperationDone:
		if s.resolve(in.Op) {
			s.done(in.Op)
		}
	case OperationFailed:
		if s.resolve(in.Op) {
			s.failed(in)
		}
	case Received:
		s.received(in)
	case Retry:
		s.retryNow()
	case Delete:
		s.delete(in.Wait)
	case Tick:
	default:
		return s.call(in)
	}
	return nil
}

// call handles what the client can be refused.
func (s *step) call(in Input) *Error {
	if s.gone {
		return refuse(CodeNotFound, "connection is deleted")
	}
	switch in := in.(type) {
	case Allow:
		return s.allow(in)
	case Send:
		return s.queueMessage(in)
	case AckMessage:
		return s.acknowledged(in)
	case Answered:
		return s.answered(in)
	case Resynchronise:
		return s.resynchronise(in)
	case SwitchQueue:
		return s.switchQueue(in)
	default:
		return refuse(CodeProhibited, "unknown call")
	}
}

// resolve notes that an operation is not under way any more.
func (s *step) resolve(op Op) bool {
	delete(s.issued, op)
	return !s.gone
}

// Pending returns all operations that are still to be done and due, as if none was under way, and subscriptions of all
// queues. It is for the time after Load.
func (c *Conn) Pending(env Env) []Effect {
	s := c.begin(env)
	if s.gone {
		return nil
	}
	s.issued = map[Op]bool{}
	s.dropLeft()
	if s.deletion == notDeleting {
		for i := range s.receive {
			if q := &s.receive[i]; q.status != queueMissing {
				op := Op{opSubscribe, q.slot, 0}
				s.effects = append(s.effects, Subscribe{op, q.recipient()})
			}
		}
	} else {
		s.dropMissing()
	}
	return s.finish()
}

// NextWake tells when the connection wants a Tick; the zero time means never. After Load it is known once Pending was
// called.
func (c *Conn) NextWake() time.Time { return c.wake }

// ID returns the connection's ID.
func (c *Conn) ID() ID { return c.id }

// Resync returns the state of ratchet synchronisation.
func (c *Conn) Resync() Resync { return c.resync }

// Leaving tells whether an own queue is one that is not used any more, so that it means nothing if its relay knows it no
// longer.
func (c *Conn) Leaving(recipient queue.ID) bool {
	return slices.ContainsFunc(c.receive, func(q receiveQueue) bool { return q.leaving && q.id == recipient })
}

// SecurityCode returns SHA-256 of the ratchet's associated data, which people compare to exclude somebody in between; ok
// is false before there is a ratchet. It is another one after a re-synchronisation.
func (c *Conn) SecurityCode() (code [32]byte, ok bool) {
	if c.ratchet == nil {
		return code, false
	}
	return c.ratchet.SecurityCode(), true
}

// Format hides the connection from every formatting verb: it is full of keys.
func (c *Conn) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("connection")) }
