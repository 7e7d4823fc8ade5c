package grouproto

import (
	"encoding/base64"
	"errors"
	"io"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/kv"
)

// Types of package oplog that are part of this package's API.
type (
	Key     = oplog.Key    // public key, and thereby ID, of a member
	OpID    = oplog.ID     // ID of an operation
	GroupID = oplog.ID     // ID of the genesis operation
	Role    = oplog.Role   // observer … owner
	Policy  = oplog.Policy // which role may do what
)

// Limits of docs/groups.md, "Limits".
const (
	MaxBody          = 11_800              // bytes of a message's body
	MaxCard          = 4 << 10             // bytes of a card
	MaxInfo          = 8 << 10             // bytes of the info of an invitation
	MaxLink          = 4 << 10             // bytes of the connection request in an offer
	MaxFrames        = 13_500              // bytes of an agent message that carries frames; fits post-quantum connections too
	WarnMembers      = 100                 // members above which a client should warn: bytes per message
	MaxMembers       = 500                 // members above which Invite is refused here
	MaxOpenPairs     = 20                  // pairs of one member that are being connected at a time
	MaxHeldOffers    = 64                  // offers of one member that are kept until they can be passed on or judged
	MaxAttempts      = 24                  // connection requests for one pair in 24 hours
	MaxWantMessages  = 256                 // messages that one G_WANT names
	MaxWantsMinute   = 20                  // G_WANT of one member that are answered in a minute
	MaxCopiesHour    = 4 << 20             // bytes of copies for one member in an hour
	MaxKeptMessages  = 10_000              // messages of a group that are kept
	Retention        = 21 * 24 * time.Hour // how long messages are kept; also the silence after which a member is inactive
	Grace            = 24 * time.Hour      // how long connections outlive a membership
	MaxPassword      = 255                 // bytes of a password that lets into a group
	MaxRequests      = 64                  // requests at an address that wait for the client
	MaxRequestsHour  = 60                  // requests at an address that are looked at in an hour; for knocks as many again
	MaxDoors         = 64                  // doors that one member accepted and has not closed
	MaxAsked         = 8                   // addresses at which one group is asked for at a time
	MaxKnocks        = 4                   // doors opened by knocking at a time
	DoorExpiry       = 7 * 24 * time.Hour  // how long a door is kept, a request waits and asking lasts
	InvitationExpiry = 7 * 24 * time.Hour
	OfferExpiry      = 7 * 24 * time.Hour
)

// Errors of commands (Done.Err), of Accept and of Load.
var (
	ErrNotMember     = errors.New("not a present member of the group")
	ErrNotPermitted  = errors.New("the role does not permit this")
	ErrClosed        = errors.New("the group is closed")
	ErrJoining       = errors.New("the group's log has not arrived yet")
	ErrTooLarge      = errors.New("larger than the group protocol allows")
	ErrLimit         = errors.New("a limit of the group is reached")
	ErrUnknown       = errors.New("no such member or invitation")
	ErrTooSoon       = errors.New("repaired less than an hour ago")
	ErrExpired       = errors.New("the invitation has expired")
	ErrNoContest     = errors.New("nothing that could be contested")
	ErrUpgrade       = errors.New("the group needs a newer version of this program")
	ErrRecovering    = errors.New("recovering from an older state: nothing is written until the others have told what is missing")
	ErrNotConnected  = errors.New("no connection with this member, and enough waits for it")
	ErrRecords       = errors.New("stored group is unreadable")
	ErrVersion       = errors.New("no common version of the group protocol")
	ErrNotInvitation = errors.New("not an invitation frame")
	ErrNotAnswer     = errors.New("not an answer to an invitation")
)

// Env is what a step may use from outside: the time, randomness and the records of this group.
type Env struct {
	Now  time.Time
	Rand io.Reader // never fails
	Tx   kv.Tx
	// Limits that differ from the defaults.
	Limits Limits
}

// Binding ties a hello to one connection: H("coterie/bind/1", SHA-256(link) ‖ SHA-256(e2eParams) ‖ AD), computed by the
// connection layer.
type Binding = [32]byte

// Ref names one SendConn of a group; refs ascend and are never used twice.
type Ref uint64

// Token names an invitation; it is random.
type Token [16]byte

// Text returns the token as 22 characters of unpadded base64url, for the client.
func (t Token) Text() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// MessageID names a message: author, number in the author's chain, hash of its content.
type MessageID struct {
	Author Key
	Number uint64
	Hash   [32]byte
}

// Range is the numbers From … To, both included.
type Range struct{ From, To uint64 }

// Reason says why a connection or a delivery does not work; the connection layer gives it with Failed and SendFailed.
type Reason uint8

// Reasons.
const (
	ReasonNone         Reason = iota
	ReasonTemporary           // gave up after temporary errors of network or relay (also: the relay does not answer)
	ReasonHost                // the relay cannot be reached
	ReasonAuth                // the relay does not know the queue any more (AUTH)
	ReasonNotAvailable        // the handshake can never finish (NOT_AVAILABLE)
	ReasonQuota               // the peer's queue is full
	ReasonExpired             // given up because of its age
	ReasonHello               // the peer's hello was wrong
	ReasonNoAnswer            // the peer has not answered the offer yet, or not offered
	ReasonInviter             // waiting for the inviter, the only member known to be reachable
	ReasonNoRoute             // no connected member can pass the offer on
	ReasonInactive            // silent for 21 days
	ReasonLimit               // too many attempts or open pairs; waits
	ReasonRefused             // any other permanent refusal
	ReasonRatchet             // the ends' ratchets have parted, and are made again
	ReasonEnded               // the own membership ended before
	ReasonNumber              // an own message has the number of one that was written and forgotten before a restore
)

var reasonNames = [...]string{"", "temporary", "host", "auth", "not available", "quota", "expired", "hello", "no answer",
	"waiting for inviter", "no route", "inactive", "limit", "refused", "ratchet", "ended", "number"}

// String returns the reason's stable name.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}
