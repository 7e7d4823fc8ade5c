package conn

import (
	"io"
	"time"

	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/kv"
)

// Bounds, each with what happens beyond it.
const (
	MaxOutbox   = 10_000 // messages that wait to be sent; more are refused with CodeBusy
	MaxRequests = 256    // unanswered requests at a contact address; the oldest is forgotten
	MaxUnacked  = 128    // messages that the client has not acknowledged; more stay at the relay
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
	// Get returns the body.
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
}

// Create starts a connection as initiator, or a contact address. LinkReady follows when its queue exists.
func Create(env Env, id ID, o CreateOptions) (*Conn, []Effect) { return nil, nil }

// Join starts a connection from a link: as joiner of an invitation, or as requester at a contact address, which makes an
// own invitation and posts it; the requester then gets a Confirmation and must Allow it. The error is CodeVersion for a
// link of incompatible versions, CodeLink for keys that cannot be agreed with, CodeLarge, or what Info returned; then
// nothing was stored.
func Join(env Env, id ID, o JoinOptions) (*Conn, []Effect, error) { return nil, nil, nil }

// Load brings a connection back from its records. ErrNotFound if there are none; any other error means that the records
// are damaged.
func Load(id ID, tx kv.Tx) (*Conn, error) { return nil, nil }

// Step handles one input. An error, always an *Error, refuses a call of the client: then nothing has changed. All other
// inputs are handled without error; what is wrong with them comes as a Failure event.
func (c *Conn) Step(env Env, in Input) ([]Effect, error) { return nil, nil }

// Pending returns all operations that are still to be done and due, as if none was under way, and subscriptions of all
// queues. It is for the time after Load.
func (c *Conn) Pending(env Env) []Effect { return nil }

// NextWake tells when the connection wants a Tick; the zero time means never.
func (c *Conn) NextWake() time.Time { return time.Time{} }

// ID returns the connection's ID.
func (c *Conn) ID() ID { return c.id }
