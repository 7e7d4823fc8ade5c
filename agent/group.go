package agent

import (
	"context"
	"time"

	"github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/grouproto"
	"github.com/coterie-im/coterie/grouproto/oplog"
)

const maxHistory = 1000

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
	return call(ctx, a, func(t *turn) (GroupID, error) {
		options, err := o.convert()
		if err != nil {
			return "", err
		}
		return once(t, o.Key, "group new", []any{o.Policy, o.Settings, o.Card}, func() (GroupID, error) {
			id := GroupID(t.randomName())
			core, effects, err := grouproto.Create(t.groupEnv(id), options)
			if err != nil {
				return "", err
			}
			t.addGroup(id, core, effects)
			return id, nil
		})
	})
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

// GroupAdd invites a contact, a connection of the client, to a group (GADD), or lets in who asked with the request of a
// GroupRequest event, given in the contact's place. GroupChanged tells the answer. The returned
// name of the invitation is given with it.
func (a *Agent) GroupAdd(ctx context.Context, g GroupID, contact ConnectionID, o AddOptions) (invitation string, err error) {
	role := oplog.Plain
	if o.Role != "" {
		var ok bool
		if role, ok = oplog.ParseRole(o.Role); !ok {
			return "", ErrNoRole
		}
	}
	return call(ctx, a, func(t *turn) (string, error) {
		return once(t, o.Key, "group add", []any{g, contact, role, o.Info}, func() (string, error) {
			if t.groupAsked(g, string(contact)) {
				done, err := t.groupCommand(g, grouproto.Admit{Request: string(contact), Role: role, Info: o.Info})
				return done.Token.Text(), err
			}
			if _, err := t.clientConn(contact); err != nil {
				return "", err
			}
			done, err := t.groupCommand(g, grouproto.Invite{Contact: string(contact), Role: role, Info: o.Info})
			return done.Token.Text(), err
		})
	})
}

// GroupUninvite withdraws an invitation that was not accepted yet.
func (a *Agent) GroupUninvite(ctx context.Context, g GroupID, invitation string) error {
	token, err := parseToken(invitation)
	if err != nil {
		return err
	}
	return a.groupCall(ctx, g, grouproto.Uninvite{Token: token})
}

// GroupJoin accepts an invitation of a GroupInvitation event (GJOIN), or asks for a group with a group
// link, as GroupAsk. Card as in GroupOptions. The rest happens by itself:
// GroupChanged "joined", then MemberConnected for every member. Repeating it returns the same group. A second invitation
// to a group that one is in or about to be in is refused, as by GroupReject: ErrMember. Without a relay ErrNoRelay.
func (a *Agent) GroupJoin(ctx context.Context, invitation string, card []byte) (GroupID, error) {
	if IsGroupLink(invitation) {
		return a.GroupAsk(ctx, invitation, AskOptions{Card: card})
	}
	g, err := call(ctx, a, func(t *turn) (GroupID, error) {
		if len(t.config.Relays) == 0 {
			return "", ErrNoRelay
		}
		return once(t, "join "+invitation, "group join", nil, func() (GroupID, error) {
			inv, err := t.invitation(invitation)
			if err != nil {
				return "", err
			}
			if !t.reaches(ConnectionID(inv.Contact)) {
				return "", ErrUnreachable
			}
			if t.inGroup(inv.Group) {
				t.refuseInvitation(invitation, inv)
				return "", nil // kept for repeats like the name of a group
			}
			id := GroupID(t.randomName())
			core, effects, err := grouproto.Accept(t.groupEnv(id), inv, card)
			if err != nil {
				return "", err
			}
			t.forgetInvitation(invitation)
			t.addGroup(id, core, effects)
			return id, nil
		})
	})
	if err == nil && g == "" {
		err = ErrMember
	}
	return g, err
}

// GroupReject refuses an invitation (GREJECT); the inviter is told.
func (a *Agent) GroupReject(ctx context.Context, invitation string) error {
	return do(ctx, a, func(t *turn) error {
		inv, err := t.invitation(invitation)
		if err != nil {
			return err
		}
		t.refuseInvitation(invitation, inv)
		return nil
	})
}

// refuseInvitation tells the inviter no.
func (t *turn) refuseInvitation(name string, inv grouproto.Invitation) {
	t.forgetInvitation(name)
	t.sendContact(ConnectionID(inv.Contact), grouproto.Reject(inv))
}

// GroupSend sends a message to all members (GSEND): when it returns, the message is stored and numbered and will reach
// every member that is present, one by one, across restarts. Body has up to 11,800 bytes.
func (a *Agent) GroupSend(ctx context.Context, g GroupID, m Outgoing) (MessageID, error) {
	return call(ctx, a, func(t *turn) (MessageID, error) {
		return once(t, m.Key, "group send", []any{g, m.Body}, func() (MessageID, error) {
			done, err := t.groupCommand(g, grouproto.Send{Body: m.Body, Notify: m.Notify})
			return messageID(done.Message), err
		})
	})
}

// GroupLeave ends the own membership (GLEAVE); the group is told.
func (a *Agent) GroupLeave(ctx context.Context, g GroupID) error {
	return a.groupCall(ctx, g, grouproto.Leave{})
}

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
	in := grouproto.Remove{Hide: o.Hide, Contest: o.Contest}
	for _, m := range o.Members {
		k, err := m.key()
		if err != nil {
			return err
		}
		in.Members = append(in.Members, k)
	}
	return a.groupCall(ctx, g, in)
}

// GroupDelete closes the group for everybody (GDEL).
func (a *Agent) GroupDelete(ctx context.Context, g GroupID) error {
	return a.groupCall(ctx, g, grouproto.Close{})
}

// GroupRole gives a member another role (GROLE): observer, member, moderator, admin or owner.
func (a *Agent) GroupRole(ctx context.Context, g GroupID, m MemberID, role string) error {
	k, err := m.key()
	if err != nil {
		return err
	}
	r, ok := oplog.ParseRole(role)
	if !ok {
		return ErrNoRole
	}
	return a.groupCall(ctx, g, grouproto.SetRole{Member: k, Role: r})
}

// GroupPolicy replaces the policy (GPOLICY).
func (a *Agent) GroupPolicy(ctx context.Context, g GroupID, p Policy) error {
	policy, err := p.convert()
	if err != nil {
		return err
	}
	return a.groupCall(ctx, g, grouproto.SetPolicy{Policy: policy})
}

// GroupSet gives a setting a value; an empty value unsets it (GSET). Names have up to 64, values up to 4,096 bytes.
func (a *Agent) GroupSet(ctx context.Context, g GroupID, name string, value []byte) error {
	return a.groupCall(ctx, g, grouproto.Set{Name: name, Value: value})
}

// GroupRepair makes a new connection with a member (GREPAIR), at most once an hour.
func (a *Agent) GroupRepair(ctx context.Context, g GroupID, m MemberID) error {
	k, err := m.key()
	if err != nil {
		return err
	}
	return a.groupCall(ctx, g, grouproto.Repair{Member: k})
}

// GroupRecover says that the store of this agent was restored from a backup, so that it has forgotten what it has sent to
// the group since (GRECOVER). Nothing is written until other members have told what is missing: GroupChanged "recovering"
// and "recovered"; commands that write fail with grouproto.ErrRecovering meanwhile. A member that notices does so by itself.
func (a *Agent) GroupRecover(ctx context.Context, g GroupID) error {
	return a.groupCall(ctx, g, grouproto.Recover{Why: grouproto.RecoveryAsked})
}

// GroupInfo is the state of a group.
type GroupInfo struct {
	ID        GroupID           `json:"id"`
	Self      MemberID          `json:"self"`
	Status    string            `json:"status"`  // asking, joining, member, left, removed, closed, gone
	Present   int               `json:"present"` // members, oneself included
	Connected int               `json:"connected"`
	Policy    Policy            `json:"policy"`
	Settings  map[string][]byte `json:"settings,omitempty"`
	Genesis   string            `json:"genesis"`   // the group's name for all its members, which is part of group links
	StateHash []byte            `json:"stateHash"` // equal exactly for members with the same operations
	Ops       int               `json:"ops"`
	Next      uint64            `json:"next"` // number of the own next message
	Inviter   MemberID          `json:"inviter,omitempty"`
	Recovery  string            `json:"recovery,omitempty"` // why nothing can be written now: asked, message, operation, ratchet, ratchets, store
	Upgrade   bool              `json:"upgrade,omitempty"`  // a newer version of this program is needed, for operations up to policy.version or for those unjudged
	Unjudged  int               `json:"unjudged,omitempty"` // operations that are kept and passed on and that this version cannot judge
	Limits    map[string]uint64 `json:"limits,omitempty"`   // how often each limit was met since the group was loaded
	Members   []MemberInfo      `json:"members,omitempty"`  // only from Group
	Requests  []RequestInfo     `json:"requests,omitempty"` // only from Group: they wait at the address of GroupLink
	Invited   []InvitedInfo     `json:"invited,omitempty"`  // only from Group: who was invited and has not answered
}

// InvitedInfo is an invitation that has not been answered. Whether it arrived cannot be told.
type InvitedInfo struct {
	Invitation string    `json:"invitation"` // as GroupAdd returned it
	Contact    string    `json:"contact"`    // whom it was sent to: a connection, the door of a request, or a member of a group that was forked
	Role       string    `json:"role"`
	Expires    time.Time `json:"expires"`
}

func invitedInfos(g *groupEntry) (all []InvitedInfo) {
	for _, i := range g.core.Invitations() {
		all = append(all, InvitedInfo{i.Token.Text(), i.Contact, i.Role.String(), i.Expiry.UTC()})
	}
	return all
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
	Heard     time.Time `json:"heard,omitzero"`
	Repair    time.Time `json:"repair,omitzero"` // when GroupRepair is allowed again; zero: now
}

// Groups returns the groups, oldest first, without members (GLS).
func (a *Agent) Groups(ctx context.Context) ([]GroupInfo, error) {
	return call(ctx, a, func(t *turn) (all []GroupInfo, err error) {
		for _, id := range t.tx.Owners(store.Group) {
			g, err := t.groupEntry(GroupID(id))
			if err != nil {
				return nil, err
			}
			all = append(all, groupInfo(g))
		}
		return all, nil
	})
}

// Group returns a group with everybody who is or was a member (GLS).
func (a *Agent) Group(ctx context.Context, g GroupID) (GroupInfo, error) {
	return call(ctx, a, func(t *turn) (GroupInfo, error) {
		e, err := t.groupEntry(g)
		if err != nil {
			return GroupInfo{}, err
		}
		info := groupInfo(e)
		info.Requests, info.Invited = requestInfos(e), invitedInfos(e)
		for _, m := range e.core.Members(t.groupEnv(g).Tx) {
			info.Members = append(info.Members, memberInfo(m))
		}
		return info, nil
	})
}

// Delivery is the state of one own message for one member.
type Delivery struct {
	Member MemberID `json:"member"`
	State  string   `json:"state"` // not addressed, queued, sent, delivered, failed
	Reason string   `json:"reason,omitempty"`
}

// GroupDelivery returns the state of an own message for every member that it was meant for.
func (a *Agent) GroupDelivery(ctx context.Context, g GroupID, number uint64) ([]Delivery, error) {
	return call(ctx, a, func(t *turn) (all []Delivery, err error) {
		e, err := t.groupEntry(g)
		if err != nil {
			return nil, err
		}
		states, err := e.core.Delivery(number)
		for _, s := range states {
			all = append(all, Delivery{Member: memberID(s.Member), State: deliveryNames[s.State], Reason: s.Reason.String()})
		}
		return all, err
	})
}

// GroupHistory returns messages, own ones included, with positions below before (0: from the newest), newest first, at
// most limit and 1,000 (GHIST).
func (a *Agent) GroupHistory(ctx context.Context, g GroupID, before uint64, limit int) ([]MessageRecord, error) {
	return call(ctx, a, func(t *turn) (all []MessageRecord, err error) {
		e, err := t.groupEntry(g)
		if err != nil {
			return nil, err
		}
		if before == 1 {
			return nil, nil // the first message has position 1, so that paging by the last one's position ends
		}
		for _, m := range e.core.History(t.groupEnv(g).Tx, before-min(before, 1), min(limit, maxHistory)) {
			all = append(all, recordOf(m))
		}
		return all, nil
	})
}

// GroupForget removes everything stored about a group that has ended. ErrStillThere before its status is gone.
func (a *Agent) GroupForget(ctx context.Context, g GroupID) error {
	return do(ctx, a, func(t *turn) error {
		e, err := t.groupEntry(g)
		if err != nil {
			return err
		}
		if e.core.Info().Status != grouproto.StatusGone {
			return ErrStillThere
		}
		t.forgetGroup(e)
		return nil
	})
}

// groupCall gives a command to a group.
func (a *Agent) groupCall(ctx context.Context, g GroupID, in grouproto.Input) error {
	return do(ctx, a, func(t *turn) error {
		_, err := t.groupCommand(g, in)
		return err
	})
}
