package grouproto

import (
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/kv"
)

// Status is what the group is for its own member.
type Status uint8

// Statuses.
const (
	StatusJoining Status = iota + 1 // accepted; the log has not arrived
	StatusMember
	StatusLeft
	StatusRemoved
	StatusClosed
	StatusGone // the grace after one of the three before is over
)

// String returns the status' stable name.
func (s Status) String() string {
	return [...]string{"", "joining", "member", "left", "removed", "closed", "gone"}[min(s, StatusGone)]
}

// PairState is a member's connection state, for people.
type PairState uint8

// Pair states.
const (
	PairSelf       PairState = iota + 1
	PairNone                 // nothing begun: waits for an offer, a route or a free place
	PairConnecting           // offer or confirmation under way
	PairReady                // frames flow
	PairEnded                // not present any more
)

// String returns the state's stable name.
func (s PairState) String() string {
	return [...]string{"", "self", "waiting", "connecting", "connected", "ended"}[min(s, PairEnded)]
}

// Info is the group itself (GLS).
type GroupInfo struct {
	ID         GroupID
	Self       Key
	Status     Status
	Members    int // present ones, oneself included
	Connected  int // of the others, those with a working connection
	Policy     Policy
	Settings   []oplog.Setting
	Ops        int
	NextNumber uint64 // of the own next message
	Inviter    Key    // zero for the creator
	Upgrade    bool   // the group needs a newer version of this program to be changed
}

// MemberInfo is one member (GLS).
type MemberInfo struct {
	Key        Key
	Role       Role
	Present    bool
	Card       []byte // without its random bytes; nil: not known
	Pair       PairState
	Reason     Reason // why Pair is not connected, or why sending rests
	Paused     bool   // sending rests; Reason says why
	Sent       uint64 // own messages below it are on their way
	Delivered  uint64 // own messages below it have been received, as far as receipts tell
	LastHeard  time.Time
	NextRepair time.Time // when Repair is allowed again; zero: now
}

// Delivery is the state of one own message for one member.
type Delivery uint8

// Delivery states.
const (
	NotAddressed Delivery = iota // the member was not present when it was written
	Queued
	OnItsWay
	Delivered
	Undelivered // given up; the reason is in MemberDelivery
)

// MemberDelivery is the state of one own message for one member, with the reason of Queued and Undelivered.
type MemberDelivery struct {
	Member Key
	State  Delivery
	Reason Reason
}

// ID returns the group's ID; it is known from the start.
func (g *Group) ID() GroupID { return GroupID{} }

// Self returns the own member key.
func (g *Group) Self() Key { return Key{} }

// Info returns the group's data.
func (g *Group) Info() GroupInfo { return GroupInfo{} }

// Members returns everybody who is or was a member, ascending by key.
func (g *Group) Members() []MemberInfo { return nil }

// Delivery returns the state of the own message with this number for every member it is or was meant for; ErrUnknown
// if there is no such message.
func (g *Group) Delivery(number uint64) ([]MemberDelivery, error) { return nil, nil }

// History returns up to limit messages with positions below before (0: from the newest), newest first.
func (g *Group) History(tx kv.Tx, before uint64, limit int) []StoredMessage { return nil }

// StateHash returns a hash over the admitted operations and the state they mean: equal for two members exactly if both
// have the same log.
func (g *Group) StateHash() [32]byte { return [32]byte{} }

// Counts returns how many agent messages this group has asked for since it was loaded, by what they were sent for.
func (g *Group) Counts() Counts { return Counts{} }
