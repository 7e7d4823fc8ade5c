package queue

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/wire"
)

const (
	// SealedMessageSize is the size of MSG.Sealed in bytes, at all versions.
	SealedMessageSize = paddedMessage + box.Overhead
	// SealedNotificationSize is the size of NMSG.Sealed in bytes.
	SealedNotificationSize = paddedNotification + box.Overhead

	paddedMessage      = 16106
	paddedNotification = 128

	quotaPrefix = "QUOTA "
)

// ErrMessage reports the sealed content of a message or notification that does not open or parse: the relay and the
// recipient do not share the secret, or somebody has changed it.
var ErrMessage = errors.New("message of relay not understood")

// Message is what a relay seals for the recipient: a message, or the marker that the queue was full here
// (docs/protocol.md, "Queues and messages").
type Message struct {
	Time   int64  // when the relay received it, seconds since 1970
	Quota  bool   // the marker: no flag, no body
	Notify bool   // the sender asked for a notification
	Body   []byte // body of the SEND
}

// Append appends the content as it is sealed.
func (m Message) Append(dst []byte) []byte {
	if m.Quota {
		return wire.AppendI64(append(dst, quotaPrefix...), m.Time)
	}
	return append(append(wire.AppendBool(wire.AppendI64(dst, m.Time), m.Notify), ' '), m.Body...)
}

// DecodeMessage reads the content; Body is a part of b. ErrMessage if it does not parse.
func DecodeMessage(b []byte) (Message, error) {
	var m Message
	r := wire.NewReader(b)
	if rest, ok := bytes.CutPrefix(b, []byte(quotaPrefix)); ok {
		// As a time the prefix would be 185 billion years from now: it is always the marker.
		m.Quota = true
		if len(rest) != 8 {
			return Message{}, fmt.Errorf("%w: marker of %d bytes", ErrMessage, len(b))
		}
		m.Time = wire.NewReader(rest).I64()
		return m, nil
	}
	m.Time = r.I64()
	m.Notify = readFlags(r)
	m.Body = r.Rest()
	if err := r.Done(); err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return m, nil
}

// SealMessage returns what goes into MSG.Sealed. secret is agreed by the DH keys of recipient and relay, id is the
// message's ID and its nonce. wire.ErrTooLarge if the body has more than 16,094 bytes; SEND allows less.
func SealMessage(secret *box.Secret, id ID, m Message) ([]byte, error) {
	return box.SealPadded(make([]byte, 0, SealedMessageSize), secret, []byte(id), m.Append(nil), paddedMessage)
}

// OpenMessage opens MSG.Sealed. ErrMessage if it does not open or parse.
func OpenMessage(secret *box.Secret, msg MSG) (Message, error) {
	content, err := box.OpenPadded(secret, []byte(msg.ID), msg.Sealed)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return DecodeMessage(content)
}

// Notification is what a relay seals for the device of the recipient.
type Notification struct {
	MessageID ID
	Time      int64 // when the relay received the message, seconds since 1970
}

// SealNotification returns the event for a notification. secret is agreed by the DH keys of NKEY and NID.
func SealNotification(secret *box.Secret, nonce [NonceSize]byte, n Notification) (NMSG, error) {
	content := wire.AppendI64(n.MessageID.Append(nil), n.Time)
	sealed, err := box.SealPadded(nil, secret, nonce[:], content, paddedNotification)
	return NMSG{Nonce: nonce, Sealed: sealed}, err
}

// OpenNotification opens NMSG.Sealed; bytes behind the time are of later versions and ignored. ErrMessage if it does not
// open or parse.
func OpenNotification(secret *box.Secret, event NMSG) (Notification, error) {
	content, err := box.OpenPadded(secret, event.Nonce[:], event.Sealed)
	if err != nil {
		return Notification{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	r := wire.NewReader(content)
	n := Notification{MessageID: ReadID(r), Time: r.I64()}
	if err := r.Err(); err != nil {
		return Notification{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return n, nil
}
