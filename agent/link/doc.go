// Package link is connection links: what one person gives another so that their agents can connect. It has every form
// they take, text and binary, full and short, and the signed and encrypted data behind short links (docs/protocol.md,
// "Links").
//
// An invitation is for one connection and carries the keys of its key agreement; a contact address is for many and
// carries none. Request is the content of both; Queue and Info are the addresses of queues inside; Short is a link that
// only points to a request stored with a queue.
//
// It has no I/O, and no opinion on when a link may be used: that is in agent/conn. The keys of the agreement belong to
// agent/ratchet, relay addresses to queue.
package link

import (
	"errors"
	"fmt"

	"github.com/coterie-im/coterie/queue"
)

// Versions that this implementation speaks. Both sides agree on the highest that is in both ranges.
var (
	// AgentVersions is the agent protocol: what agents say to each other.
	AgentVersions = queue.VersionRange{Min: 2, Max: 7}
	// ClientVersions is the SMP client protocol: the forms of queue addresses and of the per-queue envelope.
	ClientVersions = queue.VersionRange{Min: 1, Max: 4}
)

// Client versions at which queue addresses change.
const (
	ClientManyHosts     queue.Version = 2 // several hosts per relay
	ClientSenderSecures queue.Version = 3 // the sender may secure a messaging queue
	ClientQueueMode     queue.Version = 4 // the mode is written out; short links
)

// ErrLink reports text that is not a connection link or queue address.
var ErrLink = errors.New("not a connection link")

// wrong is ErrLink with what is wrong.
func wrong(what string) error { return fmt.Errorf("%w: %s", ErrLink, what) }

// Kind tells invitations from contact addresses. Its value is its tag in binary forms.
type Kind byte

// The kinds of links.
const (
	Invitation Kind = 'I' // one use
	Contact    Kind = 'C' // reusable
)

// String returns the kind's word in link texts, "invitation" or "contact".
func (k Kind) String() string {
	switch k {
	case Invitation:
		return "invitation"
	case Contact:
		return "contact"
	default:
		return "unknown kind"
	}
}
