package directconn

import (
	"time"

	"github.com/coterie-im/coterie/internal/kv"
)

// Core is the direct connections of one agent, all groups together. One goroutine owns it; after a transaction failed it
// must be thrown away and loaded again.
type Core struct{}

// Load brings the core back from its records; empty records are an empty core.
func Load(tx kv.Tx) (*Core, error) { return &Core{}, nil }

// Step takes one input.
func (c *Core) Step(env Env, in Input) []Effect { return nil }

// NextWake tells when a Tick is wanted; the zero time means never.
func (c *Core) NextWake() time.Time { return time.Time{} }

// Pending returns, after a restart, the operations on connections that have not been answered yet.
func (c *Core) Pending() []Effect { return nil }

// Conn returns the connection with a member, ready or being made; empty if there is none.
func (c *Core) Conn(p Peer) (name string, ready bool) { return "", false }
