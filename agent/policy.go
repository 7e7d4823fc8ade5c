package agent

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/coterie-im/coterie/grouproto"
	"github.com/coterie-im/coterie/grouproto/oplog"
)

// permissionNames are the permissions of a policy, by their index.
var permissionNames = [...]string{
	oplog.PermAdd:    "add",
	oplog.PermRemove: "remove",
	oplog.PermInfo:   "info",
	oplog.PermPins:   "pins",
	oplog.PermTimer:  "timer",
	oplog.PermOther:  "settings",
	oplog.PermRole:   "role",
	oplog.PermPolicy: "policy",
	oplog.PermClose:  "close",
	oplog.PermSend:   "send",
	oplog.PermDirect: "direct",
	oplog.PermHide:   "hide",
}

var reachNames = [...]string{oplog.OnAnybody: "anybody", oplog.OnLower: "lower", oplog.OnLowerOrEqual: "lower or equal"}

const nobody = "nobody"

// Symmetric is the policy in which every member but observers may do everything.
func Symmetric() Policy { return policyOf(oplog.Symmetric()) }

// Moderated is the policy of groups with a hierarchy of roles.
func Moderated() Policy { return policyOf(oplog.Moderated()) }

func policyOf(p grouproto.Policy) Policy {
	out := Policy{Version: p.OpsVersion, Levels: map[string]string{}}
	if int(p.Reach) < len(reachNames) {
		out.Reach = reachNames[p.Reach]
	}
	for i, name := range permissionNames {
		out.Levels[name] = p.Levels[i].String()
		if p.Levels[i] == oplog.Nobody {
			out.Levels[name] = nobody
		}
	}
	return out
}

// convert returns the protocol's form; every permission must be there.
func (p Policy) convert() (out grouproto.Policy, err error) {
	reach := slices.Index(reachNames[:], p.Reach)
	if reach < 0 || len(p.Levels) != len(permissionNames) {
		return out, ErrNoRole
	}
	out.OpsVersion, out.Reach = p.Version, oplog.Reach(reach)
	for i, name := range permissionNames {
		level, ok := oplog.ParseRole(p.Levels[name])
		if p.Levels[name] == nobody {
			level, ok = oplog.Nobody, true
		}
		if !ok {
			return out, ErrNoRole
		}
		out.Levels[i] = level
	}
	return out, nil
}

func (o GroupOptions) convert() (out grouproto.CreateOptions, err error) {
	out = grouproto.CreateOptions{Policy: oplog.Symmetric(), Card: o.Card}
	if o.Policy != nil {
		if out.Policy, err = o.Policy.convert(); err != nil {
			return out, err
		}
	}
	for name, value := range o.Settings {
		out.Settings = append(out.Settings, oplog.Setting{Name: name, Value: value})
	}
	slices.SortFunc(out.Settings, func(a, b oplog.Setting) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func groupInfo(g *groupEntry) GroupInfo {
	i := g.core.Info()
	hash := g.core.StateHash()
	info := GroupInfo{
		ID:        g.id,
		Self:      memberID(i.Self),
		Status:    i.Status.String(),
		Present:   i.Members,
		Connected: i.Connected,
		Policy:    policyOf(i.Policy),
		Settings:  map[string][]byte{},
		Genesis:   g.core.ID().Text(),
		StateHash: hash[:],
		Ops:       i.Ops,
		Next:      i.NextNumber,
		Inviter:   memberID(i.Inviter),
		Recovery:  i.Recovery.String(),
		Upgrade:   i.Upgrade,
		Unjudged:  i.Unjudged,
		Limits:    g.core.Hits(),
	}
	for _, s := range i.Settings {
		info.Settings[s.Name] = s.Value
	}
	return info
}

func memberInfo(m grouproto.MemberInfo) MemberInfo {
	return MemberInfo{
		Member:    memberID(m.Key),
		Role:      m.Role.String(),
		Present:   m.Present,
		Card:      m.Card,
		Pair:      m.Pair.String(),
		Reason:    m.Reason.String(),
		Paused:    m.Paused,
		Sent:      m.Sent,
		Delivered: m.Delivered,
		Heard:     m.LastHeard,
		Repair:    m.NextRepair,
	}
}

var deliveryNames = map[grouproto.Delivery]string{
	grouproto.NotAddressed: "not addressed",
	grouproto.Queued:       "queued",
	grouproto.OnItsWay:     "sent",
	grouproto.Delivered:    "delivered",
	grouproto.Undelivered:  "failed",
}

// parseToken reads the name of an own invitation.
func parseToken(text string) (token grouproto.Token, err error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != len(token) {
		return token, ErrNoInvitation
	}
	return grouproto.Token(b), nil
}

// forgetGroup removes everything about a group that has ended. Its connections are gone already.
func (t *turn) forgetGroup(g *groupEntry) {
	name := g.core.ID()
	for _, m := range g.core.Members(t.groupEnv(g.id).Tx) {
		t.dropInvitations(pairContact(g.id, m.Key))
	}
	t.tx.DeleteOwner(groupOwner(g.id))
	t.drop(recordKey(classGroup, string(g.id)))
	t.drop(recordKey(classGroupName, string(name[:]), string(g.id)))
	t.dropAll(recordKey(classDirect, string(g.id), ""))
	t.wake(groupWake(g.id), time.Time{})
	delete(t.loop.groups, g.id)
}
