package grouproto

import (
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/kv"
)

// CreateOptions are what a new group starts with.
type CreateOptions struct {
	Policy   Policy
	Settings []oplog.Setting
	Card     []byte // the creator's card content, without the random bytes before it; at most MaxCard-16 bytes
}

// Group is one member's side of one group. It is owned by one goroutine; after a transaction failed it must be thrown
// away and loaded again.
type Group struct{}

// Create makes a group of one (GNEW): a fresh member key and the genesis.
func Create(env Env, o CreateOptions) (*Group, []Effect, error) { return nil, nil, nil }

// Accept answers an invitation (GJOIN): a fresh member key, a connection request for the inviter, then G_ACC over the
// contact connection. Card as in CreateOptions. The records of env.Tx must be empty: a second membership in a group that
// was left before has its own.
func Accept(env Env, inv Invitation, card []byte) (*Group, []Effect, error) { return nil, nil, nil }

// Reject returns the frame that refuses an invitation (GREJECT); it says the same whether or not one is a member.
func Reject(inv Invitation) []byte { return nil }

// Load brings a group back from its records.
func Load(tx kv.Tx) (*Group, error) { return nil, nil }

// Step takes one input.
func (g *Group) Step(env Env, in Input) []Effect { return nil }

// NextWake tells when a Tick is wanted; the zero time means never.
func (g *Group) NextWake() time.Time { return time.Time{} }

// Pending returns, after a restart, the operations on connections that have not been answered yet: NewConn, JoinConn and
// DeleteConn. The connection layer ignores those whose names it knows already.
func (g *Group) Pending(env Env) []Effect { return nil }
