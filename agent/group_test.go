package agent

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/coterie-im/coterie/grouproto"
)

// circle is a group as its members see it.
type circle struct {
	t      testing.TB
	agents []*testAgent
	groups []GroupID
}

// newCircle makes a group in which the first agent has invited all others, one after the other.
func newCircle(t testing.TB, o GroupOptions, agents ...*testAgent) *circle {
	t.Helper()
	g, err := agents[0].GroupNew(t.Context(), o)
	must(t, err)
	expect[GroupEmpty](agents[0], g.Entity())
	c := &circle{t, agents[:1], []GroupID{g}}
	for _, a := range agents[1:] {
		c.invite(0, a)
		c.together()
	}
	return c
}

// invite makes a contact of a member, and of it a member.
func (c *circle) invite(by int, guest *testAgent) {
	c.t.Helper()
	ctx := c.t.Context()
	there, back := connect(c.t, c.agents[by], guest)
	token, err := c.agents[by].GroupAdd(ctx, c.groups[by], there, AddOptions{Info: []byte("come in")})
	must(c.t, err)
	inv := expect[GroupInvitation](guest, connectionEntity(back))
	if string(inv.Info) != "come in" || inv.Inviter != c.self(by) {
		c.t.Errorf("invitation is %+v", inv)
	}
	g, err := guest.GroupJoin(ctx, inv.Invitation, []byte("a card"))
	must(c.t, err)
	if again, err := guest.GroupJoin(ctx, inv.Invitation, []byte("a card")); err != nil || again != g {
		c.t.Errorf("joining again: %v", err)
	}
	expect(guest, g.Entity(), changed(ChangeJoined))
	expect(c.agents[by], c.groups[by].Entity(), func(e *GroupChanged) bool {
		return e.Change == ChangeInvitationAccepted && e.Invitation == token
	})
	c.agents, c.groups = append(c.agents, guest), append(c.groups, g)
}

func changed(c Change) func(*GroupChanged) bool {
	return func(e *GroupChanged) bool { return e.Change == c }
}

func (c *circle) info(i int) GroupInfo {
	c.t.Helper()
	info, err := c.agents[i].Group(c.t.Context(), c.groups[i])
	must(c.t, err)
	return info
}

func (c *circle) self(i int) MemberID { return c.info(i).Self }

// together waits until all see the same group, with everybody connected to everybody.
func (c *circle) together() {
	c.t.Helper()
	await(c.t, func() bool {
		first := c.info(0)
		for i := range c.agents {
			info := c.info(i)
			if info.Present != len(c.agents) || info.Connected != len(c.agents)-1 || !bytes.Equal(info.StateHash, first.StateHash) {
				return false
			}
		}
		return true
	})
}

// without removes a member from the circle.
func (c *circle) without(i int) *circle {
	return &circle{c.t, append(c.agents[:i:i], c.agents[i+1:]...), append(c.groups[:i:i], c.groups[i+1:]...)}
}

// say sends a message to the group and waits until all others have it.
func (c *circle) say(from int, text string) MessageID {
	c.t.Helper()
	id, err := c.agents[from].GroupSend(c.t.Context(), c.groups[from], Outgoing{Body: []byte(text)})
	must(c.t, err)
	for i, a := range c.agents {
		if i == from {
			continue
		}
		m := expect[GroupMessage](a, c.groups[i].Entity())
		if string(m.Body) != text || m.Message.Number != id.Number || m.Message.Author != id.Author || !bytes.Equal(m.Message.Hash, id.Hash) {
			c.t.Errorf("agent %d got %q, number %d", i, m.Body, m.Message.Number)
		}
	}
	return id
}

func newAgents(t testing.TB, relay *testRelay, names ...string) (agents []*testAgent) {
	t.Helper()
	for _, name := range names {
		agents = append(agents, newAgent(t, name, relay))
	}
	return agents
}

func TestThreeMembersTalk(t *testing.T) {
	c := newCircle(t, GroupOptions{Settings: map[string][]byte{"title": []byte("friends")}, Card: []byte("alice")},
		newAgents(t, startRelay(t), "alice", "bob", "cathy")...)
	var last MessageID
	for round := range 2 {
		for i := range c.agents {
			last = c.say(i, fmt.Sprintf("round %d from %d", round, i))
		}
	}
	info := c.info(2)
	if string(info.Settings["title"]) != "friends" || len(info.Members) != 3 || info.Status != "member" || info.Inviter != c.self(0) {
		t.Errorf("cathy sees %+v", info)
	}
	history, err := c.agents[1].GroupHistory(t.Context(), c.groups[1], 0, 100)
	must(t, err)
	if len(history) != 6 || string(history[0].Body) != "round 1 from 2" {
		t.Errorf("bob's history has %d messages", len(history))
	}
	var paged int
	for before := uint64(0); ; paged++ {
		page, err := c.agents[1].GroupHistory(t.Context(), c.groups[1], before, 1)
		must(t, err)
		if len(page) == 0 {
			break
		}
		if before = page[0].Position; !bytes.Equal(page[0].Body, history[paged].Body) {
			t.Errorf("page %d has %q", paged, page[0].Body)
		}
	}
	if paged != len(history) {
		t.Errorf("paging ended after %d of %d messages", paged, len(history))
	}
	groups, err := c.agents[1].Groups(t.Context())
	if err != nil || len(groups) != 1 || groups[0].ID != c.groups[1] || groups[0].Members != nil {
		t.Errorf("bob's groups are %+v, %v", groups, err)
	}
	await(t, func() bool { // receipts come a little later
		states, err := c.agents[2].GroupDelivery(t.Context(), c.groups[2], last.Number)
		must(t, err)
		delivered := 0
		for _, s := range states {
			if s.State == "delivered" {
				delivered++
			}
		}
		return delivered == 2
	})
}

// Each member is restarted in the middle of the join of the next one, and of a conversation.
func TestGroupSurvivesRestarts(t *testing.T) {
	ctx := t.Context()
	agents := newAgents(t, startRelay(t), "alice", "bob", "cathy")
	c := newCircle(t, GroupOptions{}, agents[:2]...)
	there, back := connect(t, agents[1], agents[2])
	_, err := agents[1].GroupAdd(ctx, c.groups[1], there, AddOptions{})
	must(t, err)
	agents[1].restart()
	inv := expect[GroupInvitation](agents[2], connectionEntity(back))
	agents[2].restart()
	g, err := agents[2].GroupJoin(ctx, inv.Invitation, nil)
	must(t, err)
	for _, a := range agents {
		a.restart()
	}
	expect(agents[2], g.Entity(), changed(ChangeJoined))
	for _, a := range agents {
		a.restart()
	}
	c.agents, c.groups = append(c.agents, agents[2]), append(c.groups, g)
	c.together()
	for i, text := range []string{"one", "two", "three"} {
		agents[i].restart()
		c.say(i, text)
	}
	_, err = agents[0].GroupSend(ctx, c.groups[0], Outgoing{Body: []byte("last words")})
	must(t, err)
	agents[0].restart()
	for i := 1; i < 3; i++ {
		if m := expect[GroupMessage](agents[i], c.groups[i].Entity()); string(m.Body) != "last words" {
			t.Errorf("agent %d got %q", i, m.Body)
		}
	}
}

// The inviter stops as soon as the new member is connected to one other member; the others finish the introduction.
func TestJoinIsFinishedWithoutTheInviter(t *testing.T) {
	agents := newAgents(t, startRelay(t), "alice", "bob", "cathy", "dan")
	c := newCircle(t, GroupOptions{}, agents[:3]...)
	c.invite(1, agents[3])
	await(t, func() bool { return c.info(3).Connected >= 2 })
	agents[1].close()
	await(t, func() bool { return c.info(3).Connected == 3 })
	rest := c.without(1)
	rest.say(0, "welcome dan")
	rest.say(2, "thanks")
	agents[1].open()
	c.together()
}

func TestLeaveAndRemove(t *testing.T) {
	ctx := t.Context()
	c := newCircle(t, GroupOptions{}, newAgents(t, startRelay(t), "alice", "bob", "cathy", "dan")...)
	dan := c.self(3)
	must(t, c.agents[3].GroupLeave(ctx, c.groups[3]))
	expect(c.agents[3], c.groups[3].Entity(), changed(ChangeLeft))
	for i := range 3 {
		if e := expect[MemberLeft](c.agents[i], c.groups[i].Entity()); e.Member != dan {
			t.Errorf("agent %d was told that somebody else left", i)
		}
	}
	_, err := c.agents[3].GroupSend(ctx, c.groups[3], Outgoing{Body: []byte("x")})
	wantError(t, "send after leaving", err, grouproto.ErrNotMember)
	c = c.without(3)

	cathy := c.self(2)
	must(t, c.agents[0].GroupRemove(ctx, c.groups[0], RemoveOptions{Members: []MemberID{cathy}}))
	if e := expect[Removed](c.agents[2], c.groups[2].Entity()); e.By != c.self(0) {
		t.Error("cathy was told that somebody else removed her")
	}
	if e := expect[MemberRemoved](c.agents[1], c.groups[1].Entity()); e.Member != cathy || e.By != c.self(0) {
		t.Error("bob was told of another removal")
	}
	out, at := c.agents[2], c.groups[2]
	before := out.count("GMSG")
	c = c.without(2)
	c.say(0, "just the two of us")
	c.say(1, "yes")
	if out.count("GMSG") != before {
		t.Error("cathy still reads")
	}
	info, err := out.Group(ctx, at)
	if err != nil || info.Status != "removed" {
		t.Errorf("cathy's group is %s, %v", info.Status, err)
	}
	wantError(t, "forget too early", out.GroupForget(ctx, at), ErrStillThere)
}

func TestRolesPolicySettingsAndEnd(t *testing.T) {
	ctx := t.Context()
	policy := Moderated()
	c := newCircle(t, GroupOptions{Policy: &policy}, newAgents(t, startRelay(t), "alice", "bob")...)
	alice, bob := c.agents[0], c.agents[1]
	wantError(t, "bob sets the title", bob.GroupSet(ctx, c.groups[1], "title", []byte("mine")), grouproto.ErrNotPermitted)
	must(t, alice.GroupSet(ctx, c.groups[0], "title", []byte("ours")))
	if e := expect(bob, c.groups[1].Entity(), changed(ChangeSetting)); e.Name != "title" || string(e.Value) != "ours" {
		t.Errorf("setting is %+v", e)
	}
	must(t, alice.GroupRole(ctx, c.groups[0], c.self(1), "admin"))
	if e := expect(bob, c.groups[1].Entity(), changed(ChangeRole)); e.Member != c.self(1) || e.Role != "admin" {
		t.Errorf("role is %+v", e)
	}
	must(t, bob.GroupSet(ctx, c.groups[1], "title", []byte("bob's")))
	policy.Levels["send"] = "owner"
	must(t, alice.GroupPolicy(ctx, c.groups[0], policy))
	if e := expect(bob, c.groups[1].Entity(), changed(ChangePolicy)); e.Policy == nil || e.Policy.Levels["send"] != "owner" {
		t.Errorf("policy is %+v", e)
	}
	_, err := bob.GroupSend(ctx, c.groups[1], Outgoing{Body: []byte("x")})
	wantError(t, "bob sends", err, grouproto.ErrNotPermitted)
	must(t, alice.GroupDelete(ctx, c.groups[0]))
	if e := expect[GroupDeleted](bob, c.groups[1].Entity()); e.By != c.self(0) {
		t.Error("somebody else closed the group")
	}
	if s := c.info(1).Status; s != "closed" {
		t.Error("bob's group is", s)
	}
}

func TestRefusedInvitation(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	ab, ba := connect(t, alice, bob)
	g, err := alice.GroupNew(ctx, GroupOptions{Key: "once"})
	must(t, err)
	if again, err := alice.GroupNew(ctx, GroupOptions{Key: "once"}); err != nil || again != g {
		t.Error("made again:", err)
	}
	token, err := alice.GroupAdd(ctx, g, ab, AddOptions{Role: "observer"})
	must(t, err)
	inv := expect[GroupInvitation](bob, connectionEntity(ba))
	must(t, bob.GroupReject(ctx, inv.Invitation))
	expect(alice, g.Entity(), func(e *GroupChanged) bool {
		return e.Change == ChangeInvitationRefused && e.Invitation == token
	})
	_, err = bob.GroupJoin(ctx, inv.Invitation, nil)
	wantError(t, "join what was refused", err, ErrNoInvitation)
	talk(t, alice, ab, bob, ba, "no hard feelings")

	token, err = alice.GroupAdd(ctx, g, ab, AddOptions{})
	must(t, err)
	inv = expect[GroupInvitation](bob, connectionEntity(ba))
	must(t, alice.GroupUninvite(ctx, g, token))
	late, err := bob.GroupJoin(ctx, inv.Invitation, nil)
	must(t, err)
	talk(t, bob, ba, alice, ab, "am I in?")
	if info, err := alice.Group(ctx, g); err != nil || info.Present != 1 {
		t.Error("a withdrawn invitation was accepted:", err)
	}
	if info, err := bob.Group(ctx, late); err != nil || info.Status == "member" {
		t.Error("bob believes to be in:", err)
	}

	_, err = alice.GroupAdd(ctx, g, ab, AddOptions{Role: "king"})
	wantError(t, "unknown role", err, ErrNoRole)
	_, err = alice.GroupAdd(ctx, g, "nobody", AddOptions{})
	wantError(t, "unknown contact", err, ErrNoConnection)
	_, err = alice.GroupAdd(ctx, "none", ab, AddOptions{})
	wantError(t, "unknown group", err, ErrNoGroup)
	wantError(t, "unknown member", alice.GroupRepair(ctx, g, "x"), ErrNoMember)
	wantError(t, "unknown invitation", alice.GroupUninvite(ctx, g, "x"), ErrNoInvitation)
	wantError(t, "unknown policy", alice.GroupPolicy(ctx, g, Policy{Reach: "far"}), ErrNoRole)
}

// Pair connections are not for clients.
func TestPairConnectionsAreHidden(t *testing.T) {
	ctx := t.Context()
	c := newCircle(t, GroupOptions{}, newAgents(t, startRelay(t), "alice", "bob")...)
	alice := c.agents[0]
	contacts, err := alice.Connections(ctx)
	must(t, err)
	if len(contacts) != 1 {
		t.Fatal("contacts:", len(contacts))
	}
	var hidden ConnectionID
	must(t, do(ctx, alice.Agent, func(t *turn) error {
		for id, e := range t.loop.conns {
			if e.meta.Group != "" {
				hidden = id
			}
		}
		return nil
	}))
	_, err = alice.Send(ctx, hidden, Outgoing{Body: []byte("x")})
	wantError(t, "send over a pair connection", err, ErrNotYours)
	if n := alice.Counters().Sent[OwnerGroup]; n == 0 {
		t.Error("nothing was counted")
	}
}

// The cost of a join, in agent messages of all members together (docs/groups.md, "Cost").
func TestJoinBudget(t *testing.T) {
	relay := startRelay(t)
	var agents []*testAgent
	for i := range 6 {
		agents = append(agents, newAgent(t, fmt.Sprint("agent", i), relay))
	}
	c := newCircle(t, GroupOptions{}, agents[0])
	total := func() (sum uint64) {
		for _, a := range agents {
			n := a.Counters()
			sum += n.Sent[OwnerGroup] + n.Sent[OwnerClient]
		}
		return sum
	}
	for n := 1; n < len(agents); n++ {
		before := total()
		c.invite(0, agents[n])
		c.together()
		// Two confirmations made the contact. What is counted late belongs to the next join, whose budget has room for it.
		if cost := int(total()-before) - 2; cost > 3*n+1+1+12 {
			t.Errorf("join of member %d took %d messages", n+1, cost)
		}
	}
}

// Cores that are dropped from memory come back when they are needed.
func TestGroupWithoutMemory(t *testing.T) {
	c := newCircle(t, GroupOptions{}, newAgents(t, startRelay(t), "alice", "bob", "cathy")...)
	for i := range 6 {
		for _, a := range c.agents {
			must(t, do(t.Context(), a.Agent, func(t *turn) error {
				t.onCommit(func() {
					for range 10 {
						t.evict(0, 0)
					}
				})
				return nil
			}))
		}
		c.say(i%3, fmt.Sprint("message ", i))
	}
}

// A contact that sends one invitation after the other, or the same again, does not fill the store.
func TestManyInvitations(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	ab, ba := connect(t, alice, bob)
	g, err := alice.GroupNew(ctx, GroupOptions{})
	must(t, err)
	_, err = alice.GroupAdd(ctx, g, ab, AddOptions{})
	must(t, err)
	first := expect[GroupInvitation](bob, connectionEntity(ba))
	kept := func() (tokens, invitations int) {
		must(t, do(ctx, bob.Agent, func(t *turn) error {
			t.records().Scan([]byte{classToken}, nil, func(_, _ []byte) bool { tokens++; return true })
			t.records().Scan([]byte{classInvitation}, nil, func(_, _ []byte) bool { invitations++; return true })
			return nil
		}))
		return tokens, invitations
	}
	must(t, do(ctx, bob.Agent, func(tn *turn) error {
		e, err := tn.conn(ba)
		if err != nil {
			return err
		}
		inv, err := tn.invitation(first.Invitation)
		if err != nil {
			return err
		}
		tn.invited(e.id, inv) // the same again
		for i := range maxInvitations {
			inv.Token = grouproto.Token{byte(i), 1}
			tn.now = tn.now.Add(1)
			tn.invited(e.id, inv)
		}
		return nil
	}))
	if tokens, invitations := kept(); tokens != maxInvitations || invitations != maxInvitations {
		t.Errorf("%d tokens and %d invitations are kept", tokens, invitations)
	}
	_, err = bob.GroupJoin(ctx, first.Invitation, nil)
	wantError(t, "join by the oldest", err, ErrNoInvitation)
	must(t, bob.DeleteConnection(ctx, ba, false))
	expect[Deleted](bob, connectionEntity(ba))
	if tokens, invitations := kept(); tokens != 0 || invitations != 0 {
		t.Errorf("%d tokens and %d invitations of a deleted contact are kept", tokens, invitations)
	}
}

// Two members invite the same person, who answers one invitation; the other one is refused by itself.
func TestTwoInvitationsOfOnePerson(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	c := newCircle(t, GroupOptions{}, newAgents(t, relay, "alice", "bob")...)
	guest := newAgent(t, "cathy", relay)
	var invitations []string
	for i := range 2 {
		there, back := connect(t, c.agents[i], guest)
		_, err := c.agents[i].GroupAdd(ctx, c.groups[i], there, AddOptions{})
		must(t, err)
		invitations = append(invitations, expect[GroupInvitation](guest, connectionEntity(back)).Invitation)
	}
	g, err := guest.GroupJoin(ctx, invitations[0], nil)
	must(t, err)
	for range 2 {
		_, err = guest.GroupJoin(ctx, invitations[1], nil)
		wantError(t, "join twice", err, ErrMember)
	}
	expect(c.agents[1], c.groups[1].Entity(), changed(ChangeInvitationRefused))
	c.agents, c.groups = append(c.agents, guest), append(c.groups, g)
	c.together()
}
