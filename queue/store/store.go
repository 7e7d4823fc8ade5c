// Package store says what a relay must remember – queues, their keys and the messages that wait in them – and has the
// rules that every storage must decide atomically: the quota with its marker, what an acknowledgement deletes, who may
// set a sender key (docs/protocol.md, "Queues and messages").
//
// Store is the interface, Memory its twin without a disk, storetest the conformance suite of every implementation, and
// the folders below are the durable ones. The package knows neither connections nor subscriptions nor commands.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// Errors that callers decide by. Every other error of a Store is a failure of the storage itself: what was answered
// before it is kept, what was being changed is not.
var (
	// ErrNotFound reports a queue that does not exist, or not under this kind of ID.
	ErrNotFound = errors.New("no such queue")
	// ErrExists reports an ID that is taken.
	ErrExists = errors.New("queue ID is taken")
	// ErrKeyTaken reports a queue that another sender key secures already.
	ErrKeyTaken = errors.New("queue is secured with another key")
	// ErrOff reports a message to a queue that takes no messages any more.
	ErrOff = errors.New("queue is off")
	// ErrClosed reports a call after Close.
	ErrClosed = errors.New("store is closed")
)

// DefaultQuota is how many messages a queue holds before the marker that closes it.
const DefaultQuota = 128

// Status says what a queue still does.
type Status byte

// The states of a queue.
const (
	Active  Status = 1 // takes and delivers messages
	Off     Status = 2 // delivers, takes no messages
	Blocked Status = 3 // refuses most commands; Queue.BlockReason says why
)

// Notifier is who may learn that a queue has messages.
type Notifier struct {
	ID     queue.ID
	Key    keys.Public // verifies the notifier's commands
	Secret box.Secret  // encrypts the notifications
}

// Queue is a snapshot of a queue record. Slices and pointers in it are shared and must not be changed.
type Queue struct {
	Recipient     queue.ID
	Sender        queue.ID
	RecipientKeys []keys.Public // any of them authorizes the recipient's commands
	SenderKey     keys.Public   // zero until the queue is secured
	Secret        box.Secret    // encrypts delivered bodies
	Mode          queue.Mode
	Status        Status
	BlockReason   string    // only with Blocked: "spam" or "content"
	Notifier      *Notifier // nil if there is none
	Used          Day       // last use by the recipient
}

// Day counts days since 1970-01-01 UTC: coarse on purpose, so that the store is no diary.
type Day int64

// DayOf returns the day of t.
func DayOf(t time.Time) Day { return Day(t.Unix() / 86400) }

// Message is a stored message or the marker that the quota was reached.
type Message struct {
	ID     queue.ID
	Time   int64  // when the relay received it, seconds since 1970-01-01 UTC
	Notify bool   // the sender asked for a notification
	Marker bool   // the quota marker: no body
	Body   []byte // as the sender sent it; not changed after it was handed over
}

// Sent is how Send decided.
type Sent struct {
	Full  bool // refused: the queue is at its quota
	Added bool // something was added, the message or (with Full) the marker
	First bool // what was added is the only message
}

// Info is what a recipient may learn about the messages of its queue.
type Info struct {
	Size int     // messages and marker
	Head Message // the first one, without body; meaningless if Size is 0
}

// Counts are the totals of a store.
type Counts struct {
	Queues   int64
	Messages int64 // with markers
}

// Store remembers queues and messages. Its methods are safe for concurrent use, and the changes of one queue form one
// order: what a call decides, every later call on that queue sees.
//
// A change is decided when the call returns, and durable when its Commit is: until then nobody may be told that it
// happened. Messages may be delivered before that, because a recipient's acknowledgement makes them superfluous. If
// storing fails, the Commit has an error, and the queue is as if neither this change nor a later one that rested on it
// had been made. A nil Commit means that nothing has to be waited for.
type Store interface {
	// Create adds a queue. ErrExists if one of its IDs is taken.
	Create(ctx context.Context, q Queue) (*Commit, error)
	// ByRecipient, BySender and ByNotifier return a queue by the ID of a role, or ErrNotFound.
	ByRecipient(ctx context.Context, id queue.ID) (Queue, error)
	BySender(ctx context.Context, id queue.ID) (Queue, error)
	ByNotifier(ctx context.Context, id queue.ID) (Queue, error)
	// Secure sets the sender key. The same key again is no error, another one is ErrKeyTaken.
	Secure(ctx context.Context, recipient queue.ID, key keys.Public) (*Commit, error)
	// SetStatus changes what the queue does; reason is kept only with Blocked. The same status again is no error.
	SetStatus(ctx context.Context, recipient queue.ID, s Status, reason string) (*Commit, error)
	// SetNotifier replaces the notifier, or removes it if n is nil, and returns the one before. ErrExists if the new
	// notifier ID is taken.
	SetNotifier(ctx context.Context, recipient queue.ID, n *Notifier) (before *Notifier, c *Commit, err error)
	// Touch remembers that the recipient used the queue on that day.
	Touch(ctx context.Context, recipient queue.ID, day Day) error
	// Delete removes the queue with its messages and notifier and returns it as it was.
	Delete(ctx context.Context, recipient queue.ID) (Queue, *Commit, error)

	// Send adds a message at the end, unless the queue is at its quota: then, the first time, a marker with the ID and
	// time of the message is added in its place, and nothing until the recipient has deleted everything with the
	// marker. ErrOff if the queue is not Active. The store keeps m.Body.
	Send(ctx context.Context, recipient queue.ID, m Message) (Sent, *Commit, error)
	// Head returns the first message; ok is false if there is none.
	Head(ctx context.Context, recipient queue.ID) (m Message, ok bool, err error)
	// Ack deletes the first message if it has this ID; otherwise it changes nothing. rest tells how many messages are
	// left.
	Ack(ctx context.Context, recipient, message queue.ID) (rest int, c *Commit, err error)
	// Info describes the messages of the queue.
	Info(ctx context.Context, recipient queue.ID) (Info, error)
	// Expire deletes, in every queue, messages from the first one on that are older than before (seconds since
	// 1970-01-01 UTC), up to a newer one or a marker, and returns how many. It returns after they are durably gone.
	Expire(ctx context.Context, before int64) (deleted int, err error)

	// Counts returns the totals, with changes that are not durable yet or without them.
	Counts(ctx context.Context) (Counts, error)
	// Close makes everything durable that was decided and releases the storage. Later calls return ErrClosed.
	Close() error
}

// Admit is the rule of Send for an active queue that holds waiting messages, the marker included if there is one.
func Admit(waiting int, marker bool, quota int) Sent {
	switch {
	case marker:
		return Sent{Full: true}
	case waiting < quota:
		return Sent{Added: true, First: waiting == 0}
	default:
		return Sent{Full: true, Added: true, First: waiting == 0}
	}
}

// AsMarker returns the marker that takes the place of a message which does not fit.
func (m Message) AsMarker() Message { return Message{ID: m.ID, Time: m.Time, Marker: true} }

// Expires tells whether Expire deletes m when it is the first message of its queue.
func (m Message) Expires(before int64) bool { return !m.Marker && m.Time < before }
