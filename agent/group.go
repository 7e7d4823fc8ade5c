package agent

import (
	"context"
	"time"
)

// Policy is which role may do what in a group (docs/groups.md, "Operations").
type Policy struct {
	// Reach says on whom removals and role changes may be used: "anybody", "lower" or "lower or equal" roles.
	Reach string `json:"reach"`
	// Levels are the least roles per permission: observer, member, moderator, admin, owner or nobody.
	Levels map[string]string `json:"levels"`
	// Version is the highest operation version that the group accepts.
	Version uint16 `json:"version"`
}

// GroupOptions are what a new group starts with.
type GroupOptions struct {
	// Policy; nil is the symmetric one, in which every member may do everything. See Symmetric and Moderated.
	Policy *Policy
	// Settings are the first named values (title, about, …), up to 255.
	Settings map[string][]byte
	// Card tells other members who one is: opaque, up to 4,080 bytes.
	Card []byte
	// Key makes a repeat of the call return the same group; see package doc.
	Key string
}

// GroupNew makes a group whose only member is this agent (GNEW).
func (a *Agent) GroupNew(ctx context.Context, o GroupOptions) (GroupID, error) {
	return a.groupNew(ctx, o)
}

// AddOptions say how a contact is invited.
type AddOptions struct {
	// Role of the new member; empty is member.
	Role string
	// Info is shown to the contact before it decides, up to 8,192 bytes.
	Info []byte
	// Key makes a repeat of the call return the same invitation; see package doc.
	Key string
}

// GroupAdd invites a contact, a connection of the client, to a group (GADD). GroupChanged tells the answer. The returned
// name of the invitation is given with it.
func (a *Agent) GroupAdd(ctx context.Context, g GroupID, contact ConnectionID, o AddOptions) (invitation string, err error) {
	return a.groupAdd(ctx, g, contact, o)
}

// GroupUninvite withdraws an invitation that was not accepted yet.
func (a *Agent) GroupUninvite(ctx context.Context, g GroupID, invitation string) error {
	return a.groupUninvite(ctx, g, invitation)
}

// GroupJoin accepts an invitation of a GroupInvitation event (GJOIN). Card as in GroupOptions. The rest happens by itself:
// GroupChanged "joined", then MemberConnected for every member. Repeating it returns the same group.
func (a *Agent) GroupJoin(ctx context.Context, invitation string, card []byte) (GroupID, error) {
	return a.groupJoin(ctx, invitation, card)
}

// GroupReject refuses an invitation (GREJECT); the inviter is told.
func (a *Agent) GroupReject(ctx context.Context, invitation string) error {
	return a.groupReject(ctx, invitation)
}

// GroupSend sends a message to all members (GSEND): when it returns, the message is stored and numbered and will reach
// every member that is present, one by one, across restarts. Body has up to 11,800 bytes.
func (a *Agent) GroupSend(ctx context.Context, g GroupID, m Outgoing) (MessageID, error) {
	return a.groupSend(ctx, g, m)
}

// GroupLeave ends the own membership (GLEAVE); the group is told.
func (a *Agent) GroupLeave(ctx context.Context, g GroupID) error { return a.groupLeave(ctx, g) }

// RemoveOptions say whom GroupRemove removes.
type RemoveOptions struct {
	Members []MemberID
	// Hide asks clients to hide what they wrote.
	Hide bool
	// Contest removes those who removed oneself, as if before: only for somebody of higher rank who has not written an
	// operation since.
	Contest bool
}

// GroupRemove removes members (GMDEL).
func (a *Agent) GroupRemove(ctx context.Context, g GroupID, o RemoveOptions) error {
	return a.groupRemove(ctx, g, o)
}

// GroupDelete closes the group for everybody (GDEL).
func (a *Agent) GroupDelete(ctx context.Context, g GroupID) error { return a.groupDelete(ctx, g) }

// GroupRole gives a member another role (GROLE): observer, member, moderator, admin or owner.
func (a *Agent) GroupRole(ctx context.Context, g GroupID, m MemberID, role string) error {
	return a.groupRole(ctx, g, m, role)
}

// GroupPolicy replaces the policy (GPOLICY).
func (a *Agent) GroupPolicy(ctx context.Context, g GroupID, p Policy) error {
	return a.groupPolicy(ctx, g, p)
}

// GroupSet gives a setting a value; an empty value unsets it (GSET). Names have up to 64, values up to 4,096 bytes.
func (a *Agent) GroupSet(ctx context.Context, g GroupID, name string, value []byte) error {
	return a.groupSet(ctx, g, name, value)
}

// GroupRepair makes a new connection with a member (GREPAIR), at most once an hour.
func (a *Agent) GroupRepair(ctx context.Context, g GroupID, m MemberID) error {
	return a.groupRepair(ctx, g, m)
}

// GroupInfo is the state of a group.
type GroupInfo struct {
	ID        GroupID           `json:"id"`
	Self      MemberID          `json:"self"`
	Status    string            `json:"status"`  // joining, member, left, removed, closed, gone
	Present   int               `json:"present"` // members, oneself included
	Connected int               `json:"connected"`
	Policy    Policy            `json:"policy"`
	Settings  map[string][]byte `json:"settings,omitempty"`
	StateHash []byte            `json:"stateHash"` // equal exactly for members with the same operations
	Ops       int               `json:"ops"`
	Next      uint64            `json:"next"` // number of the own next message
	Inviter   MemberID          `json:"inviter,omitempty"`
	Upgrade   bool              `json:"upgrade,omitempty"` // a newer version of this program is needed to change the group
	Members   []MemberInfo      `json:"members,omitempty"` // only from Group
}

// MemberInfo is a member of a group and the state of its connection.
type MemberInfo struct {
	Member    MemberID  `json:"member"`
	Role      string    `json:"role"`
	Present   bool      `json:"present"`
	Card      []byte    `json:"card,omitempty"`
	Pair      string    `json:"pair"`             // self, waiting, connecting, connected, ended
	Reason    string    `json:"reason,omitempty"` // why it is not connected, or why sending rests
	Paused    bool      `json:"paused,omitempty"` // sending rests
	Sent      uint64    `json:"sent"`             // own messages below it are on their way
	Delivered uint64    `json:"delivered"`        // own messages below it have been received, as far as receipts tell
	Heard     time.Time `json:"heard"`
	Repair    time.Time `json:"repair"` // when GroupRepair is allowed again; zero: now
}

// Groups returns the groups, oldest first, without members (GLS).
func (a *Agent) Groups(ctx context.Context) ([]GroupInfo, error) { return a.groups(ctx) }

// Group returns a group with everybody who is or was a member (GLS).
func (a *Agent) Group(ctx context.Context, g GroupID) (GroupInfo, error) { return a.group(ctx, g) }

// Delivery is the state of one own message for one member.
type Delivery struct {
	Member MemberID `json:"member"`
	State  string   `json:"state"` // not addressed, queued, sent, delivered, failed
	Reason string   `json:"reason,omitempty"`
}

// GroupDelivery returns the state of an own message for every member that it was meant for.
func (a *Agent) GroupDelivery(ctx context.Context, g GroupID, number uint64) ([]Delivery, error) {
	return a.groupDelivery(ctx, g, number)
}

// GroupHistory returns messages, own ones included, with positions below before (0: from the newest), newest first, at
// most limit and 1,000 (GHIST).
func (a *Agent) GroupHistory(ctx context.Context, g GroupID, before uint64, limit int) ([]MessageRecord, error) {
	return a.groupHistory(ctx, g, before, limit)
}

// GroupForget removes everything stored about a group that has ended (status gone).
func (a *Agent) GroupForget(ctx context.Context, g GroupID) error { return a.groupForget(ctx, g) }

// DirectOptions say how a member is asked for a direct connection.
type DirectOptions struct {
	// Text is shown to the member, up to 4,096 bytes.
	Text []byte
	// Info is given to the peer when the connection is made, like the info of Allow.
	Info []byte
}

// GroupDirect asks a member of a group for a direct connection (GDIRECT). DirectReady or DirectEnded follow.
func (a *Agent) GroupDirect(ctx context.Context, g GroupID, m MemberID, o DirectOptions) (request string, err error) {
	return a.groupDirect(ctx, g, m, o)
}

// GroupDirectAccept accepts a DirectRequest event (GACPT); the peer gets info. DirectReady follows.
func (a *Agent) GroupDirectAccept(ctx context.Context, g GroupID, request string, info []byte) error {
	return a.groupDirectAccept(ctx, g, request, info)
}

// GroupDirectReject refuses a DirectRequest event; the member is told.
func (a *Agent) GroupDirectReject(ctx context.Context, g GroupID, request string) error {
	return a.groupDirectReject(ctx, g, request)
}

// GroupDirectWithdraw takes back the own request to a member that is under way.
func (a *Agent) GroupDirectWithdraw(ctx context.Context, g GroupID, m MemberID) error {
	return a.groupDirectWithdraw(ctx, g, m)
}

// GroupDirectSend sends a message to a member over the direct connection, or keeps it until the connection that was asked
// for works.
func (a *Agent) GroupDirectSend(ctx context.Context, g GroupID, m MemberID, body []byte) error {
	return a.groupDirectSend(ctx, g, m, body)
}

// DirectRule is the standing answer to a member's requests for direct connections.
type DirectRule string

// The rules.
const (
	DirectAsk    DirectRule = "ask"    // DirectRequest is told, if the group's policy permits it
	DirectAccept DirectRule = "accept" // accepted at once, whatever the policy
	DirectRefuse DirectRule = "refuse" // refused at once
	DirectBlock  DirectRule = "block"  // refused, and the client is never told
)

// GroupDirectRule sets the standing answer to a member's requests. Info goes to the peer of what DirectAccept accepts.
func (a *Agent) GroupDirectRule(ctx context.Context, g GroupID, m MemberID, rule DirectRule, info []byte) error {
	return a.groupDirectRule(ctx, g, m, rule, info)
}
