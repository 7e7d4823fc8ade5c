package agent

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/coterie-im/coterie/grouproto"
	"github.com/coterie-im/coterie/grouproto/oplog"
)

// settingForkOf names the group that another one was forked from, as 43 characters of base64url.
const settingForkOf = "fork-of"

// addressSettings are those that publish where members of one group can be asked; they mean nothing in another.
const addressSettings = "address"

// ForkOptions say what a fork starts with and who is invited.
type ForkOptions struct {
	// Members to invite; none is everybody present.
	Members []MemberID
	// Without are members that are not invited.
	Without []MemberID
	// Role of those that are invited; empty is the one that each had.
	Role string
	// Info is shown to them before they decide, up to 8,192 bytes.
	Info []byte
	// Policy; nil is that of the group.
	Policy *Policy
	// Settings are the first named values; nil are those of the group. The setting fork-of is always the group's ID.
	Settings map[string][]byte
	// Card tells other members who one is; nil is the one in the group.
	Card []byte
	// Key makes a repeat of the call return the same fork; see package doc.
	Key string
}

// Fork is a group that was forked from another one.
type Fork struct {
	Group GroupID `json:"group"`
	// Invitations are their names, as GroupChanged tells them, by the invited members' IDs in the group that was forked.
	Invitations map[MemberID]string `json:"invitations"`
	// Unreachable are members that are not invited because there is no connection with them and none will be made.
	Unreachable []MemberID `json:"unreachable,omitempty"`
}

// GroupFork makes a new group and invites members of one that exists over the connections with them (GFORK). It also
// works within the grace after one was removed, left, or the group was closed. Answers come as those of GroupAdd.
// ErrNoMember for somebody who is no member.
func (a *Agent) GroupFork(ctx context.Context, g GroupID, o ForkOptions) (Fork, error) {
	return call(ctx, a, func(t *turn) (Fork, error) {
		return once(t, o.Key, "group fork", []any{g, o.Members, o.Without, o.Role, o.Info, o.Policy, o.Settings, o.Card}, func() (Fork, error) {
			return t.fork(g, o)
		})
	})
}

func (t *turn) fork(of GroupID, o ForkOptions) (Fork, error) {
	old, err := t.groupEntry(of)
	if err != nil {
		return Fork{}, err
	}
	info := old.core.Info()
	switch {
	case info.Status == grouproto.StatusJoining || info.Status == grouproto.StatusAsking:
		return Fork{}, grouproto.ErrJoining
	case info.Ops == 0: // it never came to more than asking
		return Fork{}, grouproto.ErrNotMember
	}
	members := old.core.Members(t.groupEnv(of).Tx)
	chosen, err := choose(members, info.Self, o)
	if err != nil {
		return Fork{}, err
	}
	n, err := t.createFork(info, members, o)
	if err != nil {
		return Fork{}, err
	}
	f := Fork{Group: n.id, Invitations: map[MemberID]string{}}
	var inputs []grouproto.Input
	for _, r := range n.rest {
		inputs = append(inputs, grouproto.Set{Name: r.Name, Value: r.Value})
	}
	var invited []MemberID
	for _, m := range chosen {
		if old.core.MayWrite(m.Key) != nil {
			f.Unreachable = append(f.Unreachable, memberID(m.Key))
			continue
		}
		invited = append(invited, memberID(m.Key))
		inputs = append(inputs, grouproto.Invite{Contact: string(pairContact(of, m.Key)), Role: m.Role, Info: o.Info})
	}
	for i, in := range inputs {
		done, err := n.command(t, in)
		if err != nil {
			t.tx.DeleteOwner(groupOwner(n.id)) // nobody has heard of it
			return Fork{}, err
		}
		if i >= len(n.rest) {
			f.Invitations[invited[i-len(n.rest)]] = done.Token.Text()
		}
	}
	t.addGroup(n.id, n.core, n.effects)
	return f, nil
}

// choose returns the members to be invited, each with its role.
func choose(members []grouproto.MemberInfo, self grouproto.Key, o ForkOptions) (chosen []grouproto.MemberInfo, err error) {
	role, ok := oplog.ParseRole(o.Role)
	if !ok && o.Role != "" {
		return nil, ErrNoRole
	}
	find := func(m MemberID) int {
		return slices.IndexFunc(members, func(i grouproto.MemberInfo) bool { return memberID(i.Key) == m })
	}
	for _, m := range slices.Concat(o.Members, o.Without) {
		if find(m) < 0 {
			return nil, ErrNoMember
		}
	}
	for _, m := range members {
		id := memberID(m.Key)
		named := slices.Contains(o.Members, id) || len(o.Members) == 0 && m.Present
		if !named || m.Key == self || slices.Contains(o.Without, id) {
			continue
		}
		switch {
		case o.Role != "":
			m.Role = role
		case !m.Present:
			m.Role = oplog.Plain // nobody's role is known after the end
		}
		chosen = append(chosen, m)
	}
	return chosen, nil
}

// newFork is a fork that is being made; the agent does not know it yet.
type newFork struct {
	id      GroupID
	core    *grouproto.Group
	effects []grouproto.Effect
	rest    []oplog.Setting // what did not fit in the genesis
}

// command gives it a command and collects what follows.
func (n *newFork) command(t *turn, in grouproto.Input) (done grouproto.Done, err error) {
	effects := n.core.Step(t.groupEnv(n.id), in)
	for _, e := range effects {
		if d, ok := e.(grouproto.Done); ok {
			done = d
		}
	}
	n.effects = append(n.effects, effects...)
	return done, done.Err
}

// genesisRoom is how many bytes of settings go into the genesis of a fork; the rest of its body is less than 200.
const genesisRoom = oplog.MaxBody - 256

func (t *turn) createFork(of grouproto.GroupInfo, members []grouproto.MemberInfo, o ForkOptions) (n newFork, err error) {
	options := grouproto.CreateOptions{Policy: of.Policy, Card: o.Card}
	if o.Policy != nil {
		if options.Policy, err = o.Policy.convert(); err != nil {
			return n, err
		}
	}
	options.Policy.OpsVersion = min(options.Policy.OpsVersion, oplog.Version())
	if o.Card == nil {
		for _, m := range members {
			if m.Key == of.Self {
				options.Card = m.Card
			}
		}
	}
	settings := maps.Clone(o.Settings)
	if settings == nil {
		settings = map[string][]byte{}
		for _, s := range of.Settings {
			if s.Name != addressSettings && !strings.HasPrefix(s.Name, addressSettings+"/") {
				settings[s.Name] = s.Value
			}
		}
	}
	settings[settingForkOf] = []byte(of.ID.Text())
	room := genesisRoom - len(settingForkOf) - len(settings[settingForkOf]) - 3
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		s := oplog.Setting{Name: name, Value: settings[name]}
		size := 1 + len(name) + 2 + len(s.Value)
		switch {
		case name == settingForkOf:
			options.Settings = append(options.Settings, s)
		case size <= room && len(options.Settings) < 250:
			room -= size
			options.Settings = append(options.Settings, s)
		default:
			n.rest = append(n.rest, s)
		}
	}
	n.id = GroupID(t.randomName())
	n.core, n.effects, err = grouproto.Create(t.groupEnv(n.id), options)
	return n, err
}

// pairPrefix begins the name of a contact that is a member of another group. Names of connections have no colon.
const pairPrefix = "pair:"

// pairContact names a member of a group as a contact, for invitations over the pair connection.
func pairContact(g GroupID, member grouproto.Key) ConnectionID {
	return ConnectionID(pairPrefix + string(g) + "/" + member.Text())
}

// pairOf reads what pairContact writes; ok is false for real contacts.
func pairOf(contact ConnectionID) (g GroupID, member grouproto.Key, ok bool) {
	rest, ok := strings.CutPrefix(string(contact), pairPrefix)
	if !ok {
		return "", member, false
	}
	name, key, _ := strings.Cut(rest, "/")
	member, err := oplog.ParseKey(key)
	return GroupID(name), member, err == nil
}

// inviterOf tells what the event of an invitation is about: a contact, or a group and one of its members.
func inviterOf(contact ConnectionID) (Entity, GroupID, MemberID) {
	if g, member, ok := pairOf(contact); ok {
		return g.Entity(), g, memberID(member)
	}
	return connectionEntity(contact), "", ""
}

// reaches tells whether an answer to an invitation can get to where it came from. A contact that is gone is found out by
// the connection.
func (t *turn) reaches(contact ConnectionID) bool {
	g, member, ok := pairOf(contact)
	if !ok {
		return true
	}
	e, err := t.groupEntry(g)
	return err == nil && e.core.MayWrite(member) == nil
}
