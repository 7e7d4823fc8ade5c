package queue

import (
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
)

// Command is what a client says to a relay: one of the types below, which are named by their tags.
type Command interface {
	// Tag is the command's word on the wire.
	Tag() string
	appendParams(dst []byte, v Version) []byte
	command()
}

// NEW creates a queue; answered by IDS. No entity, authorized with RecipientKey.
type NEW struct {
	RecipientKey keys.Public // Ed25519, Ed448 or X25519: authorizes the recipient's commands
	RecipientDH  keys.Public // X25519: agrees on the secret that seals delivered messages
	Password     string      // the relay's password, empty if none
	Subscribe    bool        // subscribe at once
	// Mode is what the queue is for. It does not exist below version 9; from 9 to 14 everything but ModeMessaging is a
	// contact queue.
	Mode     Mode
	Link     *LinkData     // version 15 and later, needs a mode; nil if none
	Notifier *NotifierKeys // version 17 and later; nil if none
}

// LinkData is what a relay keeps for a short link: two blobs that it cannot read.
type LinkData struct {
	LinkID   ID // with contact queues only; for messaging queues the relay chooses it
	SenderID ID
	Fixed    []byte
	User     []byte
}

// NotifierKeys are the keys of who may learn that a queue has messages.
type NotifierKeys struct {
	Key keys.Public // Ed25519, Ed448 or X25519
	DH  keys.Public // X25519: agrees on the secret that seals notifications
}

// SUB subscribes to a queue. Answered by SOK (OK below version 16); the first message follows as an event.
type SUB struct{}

// SUBS subscribes to all queues of a service. Version 16.
type SUBS struct{}

// KEY sets the sender's key, by the recipient. The same key again is no error.
type KEY struct{ Key keys.Public }

// RKEY replaces the keys of the recipient of a contact queue. Version 15.
type RKEY struct{ Keys []keys.Public }

// LSET sets or changes the link data of a queue. Version 15.
type LSET struct {
	LinkID      ID
	Fixed, User []byte
}

// LDEL deletes the link data of a queue. Version 15.
type LDEL struct{}

// NKEY makes a notifier for a queue; answered by NID.
type NKEY struct{ NotifierKeys }

// NDEL deletes the notifier of a queue.
type NDEL struct{}

// GET asks for the first message without subscribing; answered by MSG or, if there is none, OK.
type GET struct{}

// ACK acknowledges, and so deletes, the delivered message; answered by the next one (MSG) or OK.
type ACK struct{ MessageID ID }

// OFF stops a queue from taking messages.
type OFF struct{}

// DEL deletes a queue with its messages.
type DEL struct{}

// QUE asks about a queue; answered by INFO.
type QUE struct{}

// SKEY sets the sender's key, by the sender, authorized with that key. Messaging queues only. Version 9.
type SKEY struct{ Key keys.Public }

// SEND sends a message. Authorized if the queue is secured, else not.
type SEND struct {
	Notify bool   // ask for a notification
	Body   []byte // up to MaxBodySize bytes
}

// PING is answered by PONG.
type PING struct{}

// LKEY secures a queue like SKEY and asks for its link data; answered by LNK. Version 15.
type LKEY struct{ Key keys.Public }

// LGET asks for the link data of a contact queue; answered by LNK. Version 15.
type LGET struct{}

// NSUB subscribes to notifications of a queue.
type NSUB struct{}

// NSUBS subscribes to notifications of all queues of a service; answered by SOKS. Version 16.
type NSUBS struct{}

// PRXY asks a proxy to connect to another relay; answered by PKEY. Version 8.
type PRXY struct {
	Server Server // its Password is that of the proxy
}

// PFWD asks a proxy to forward a sealed command; answered by PRES. Version 8.
type PFWD struct {
	Version Version     // of the sealed transmission
	Key     keys.Public // X25519, made for this command
	Sealed  []byte      // SealForward
}

// RFWD is a command that a proxy forwards; answered by RRES. Version 8.
type RFWD struct {
	Sealed []byte // SealForwarded
}

// MaxBodySize returns how many bytes the body of a SEND may have at version v: that of the sender's connection, or of
// the envelope that a proxy forwards.
func MaxBodySize(v Version) int {
	switch {
	case v < VersionProxy:
		return 16088
	case v < VersionBlockEncrypted:
		return 16064
	default:
		return 16048
	}
}

// AppendCommand appends c as it is written at version v. It panics if a field does not fit its length.
func AppendCommand(dst []byte, v Version, c Command) []byte {
	dst = append(dst, c.Tag()...)
	if info, _ := LookupCommand(c.Tag()); info.decode != nil {
		dst = append(dst, ' ')
	}
	return c.appendParams(dst, v)
}

// DecodeCommand reads a command that was written at version v; byte slices of the result are parts of body. The error is
// ErrCmdUnknown or ErrCmdSyntax. Commands of all versions are read at any version.
func DecodeCommand(v Version, body []byte) (Command, error) {
	c, _, e := decodeCommand(v, newestFormat, body)
	if e != "" {
		return nil, e
	}
	return c, nil
}

// newestFormat is the newest version whose formats are known here.
const newestFormat = VersionNotice

// The algorithms of keys that authorize commands.
var authorizationKeys = []keys.Algorithm{keys.Ed25519, keys.Ed448, keys.X25519}

func readAuthKey(r *wire.Reader) keys.Public { return keys.Read(r, authorizationKeys...) }
func readDHKey(r *wire.Reader) keys.Public   { return keys.Read(r, keys.X25519) }
