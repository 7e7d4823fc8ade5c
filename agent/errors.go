package agent

import (
	"errors"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/agent/store"
)

// Errors of this package. Calls also return *conn.Error with a stable code (docs/protocol.md, "Errors"), the errors of
// commands of packages grouproto and directconn, and the context's.
var (
	// ErrClosed reports a call to an agent that is closed or about to.
	ErrClosed = errors.New("agent is closed")
	// ErrNoRelay reports that a queue is needed and no relay is configured.
	ErrNoRelay = errors.New("no relay is configured")
	// ErrNoConnection reports an unknown connection ID.
	ErrNoConnection error = &conn.Error{Code: conn.CodeNotFound, Kind: conn.OurFault}
	// ErrNoGroup reports an unknown group ID.
	ErrNoGroup = errors.New("no such group")
	// ErrNoMember reports a text that is not a member key.
	ErrNoMember = errors.New("no such member")
	// ErrNoRole reports a word that is no role, or a policy with a word that is no permission, level or reach.
	ErrNoRole = errors.New("no such role, permission or reach")
	// ErrNoRule reports an unknown DirectRule.
	ErrNoRule = errors.New("no such rule for direct connections")
	// ErrStillThere reports an attempt to forget a group that has not ended.
	ErrStillThere = errors.New("the group has not ended")
	// ErrNoInvitation reports an unknown group invitation or direct connection request.
	ErrNoInvitation = errors.New("no such invitation or request")
	// ErrNoLink reports that the group has no address here.
	ErrNoLink = errors.New("no address of this group")
	// ErrMember reports an invitation to a group that one is in, or about to be in, already. The inviter was told that the
	// invitation is refused.
	ErrMember = errors.New("already a member of the group")
	// ErrUnreachable reports an invitation by a member of another group with whom there is no connection any more.
	ErrUnreachable = errors.New("the connection that the invitation came over is gone")
	// ErrNotYours reports a connection that belongs to a group: it is no contact, and not for clients.
	ErrNotYours = errors.New("connection belongs to a group")
	// ErrReserved reports a body that starts with the bytes by which agents recognise group frames.
	ErrReserved = errors.New("body starts with the prefix of group frames")
	// ErrCursor reports a cursor name that is empty or longer than 255 bytes, an unknown one, or an acknowledgement of an
	// event that does not exist yet.
	ErrCursor = errors.New("no such cursor or event")
	// ErrEventsLost reports that events were dropped before the cursor read them, because it was too far behind. The
	// cursor stands now at the first event that is left.
	ErrEventsLost = errors.New("events were dropped before they were read")
	// ErrKeyReused reports a key that was used before for a call with other arguments.
	ErrKeyReused = errors.New("key was used for another call")
)

// The errors of the store that are passed on: the first two by Open, the last by every call that writes.
var (
	ErrLocked = store.ErrLocked // another process has the store open
	ErrKey    = store.ErrKey    // wrong passphrase or key
	ErrFull   = store.ErrFull   // no room on the disk: the call has changed nothing
)
