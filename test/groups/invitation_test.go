// Package groups_test tells stories of groups with whole agents over a real relay: what happens when several things
// happen to a group at once, and when some of its members are away meanwhile.
package groups_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/test/world"
)

const patience = 2 * time.Minute

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// await waits for something that has to become true.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatal("still not: " + what)
		}
	}
}

// found makes a group whose first member has invited the others one after the other. contacts are the connections of the
// first one with the others, as the first one calls them.
func found(t testing.TB, agents ...*world.Agent) (contacts []agent.ConnectionID) {
	t.Helper()
	world.Found(t, agents[0])
	for i, a := range agents[1:] {
		contact, _ := world.Befriend(t, agents[0], a)
		contacts = append(contacts, contact)
		world.Join(t, agents[:i+1], agents[0], contact, a)
	}
	return contacts
}

func info(t testing.TB, a *world.Agent) agent.GroupInfo {
	t.Helper()
	g, err := a.Agent.Group(t.Context(), a.Group)
	must(t, err)
	return g
}

// together waits until all of these see the same group, in which everybody is connected with everybody.
func together(t testing.TB, agents ...*world.Agent) {
	t.Helper()
	await(t, "everybody connected with everybody", func() bool {
		first := info(t, agents[0])
		for _, a := range agents {
			g := info(t, a)
			if g.Status != "member" || g.Present != len(agents) || g.Connected != len(agents)-1 || !bytes.Equal(g.StateHash, first.StateHash) {
				return false
			}
		}
		return true
	})
}

func answered(c agent.Change) func(agent.Event, *agent.GroupChanged) bool {
	return func(_ agent.Event, e *agent.GroupChanged) bool { return e.Change == c }
}

func newAgents(t testing.TB, n int) (agents []*world.Agent) {
	t.Helper()
	relay := world.StartRelay(t)
	for range n {
		agents = append(agents, world.NewAgent(t, relay))
	}
	return agents
}

// Two members invite the same person. It accepts one invitation; the other one is refused, whenever it is answered.
func TestTwoMembersInviteTheSamePerson(t *testing.T) {
	ctx := t.Context()
	agents := newAgents(t, 3)
	a, b, guest := agents[0], agents[1], agents[2]
	found(t, a, b)
	ofA, fromA := world.Befriend(t, a, guest)
	ofB, fromB := world.Befriend(t, b, guest)
	mark, markB := guest.Mark(), b.Mark()
	_, err := a.GroupAdd(ctx, a.Group, ofA, agent.AddOptions{})
	must(t, err)
	_, err = b.GroupAdd(ctx, b.Group, ofB, agent.AddOptions{})
	must(t, err)
	from := func(c agent.ConnectionID) func(agent.Event, *agent.GroupInvitation) bool {
		return func(e agent.Event, _ *agent.GroupInvitation) bool { return e.Connection() == c }
	}
	_, first := world.Await(guest, mark, from(fromA))
	_, second := world.Await(guest, mark, from(fromB))
	guest.Group, err = guest.GroupJoin(ctx, first.Invitation, []byte("guest"))
	must(t, err)
	for range 2 { // the answer stays the same
		if _, err := guest.GroupJoin(ctx, second.Invitation, []byte("guest")); !errors.Is(err, agent.ErrMember) {
			t.Fatal("the second invitation:", err)
		}
	}
	world.Await(b, markB, answered(agent.ChangeInvitationRefused))
	together(t, a, b, guest)

	// The first one again is no second one.
	if g, err := guest.GroupJoin(ctx, first.Invitation, []byte("guest")); err != nil || g != guest.Group {
		t.Error("joining again:", err)
	}
	// A third one, when it is a member.
	mark, markA := guest.Mark(), a.Mark()
	_, err = a.GroupAdd(ctx, a.Group, ofA, agent.AddOptions{})
	must(t, err)
	_, third := world.Await(guest, mark, from(fromA))
	if _, err := guest.GroupJoin(ctx, third.Invitation, nil); !errors.Is(err, agent.ErrMember) {
		t.Error("the third invitation:", err)
	}
	world.Await(a, markA, answered(agent.ChangeInvitationRefused))
	if g, err := guest.Groups(ctx); err != nil || len(g) != 1 {
		t.Errorf("%d groups, %v", len(g), err)
	}
}

// Who left comes back with a new key, while the old membership is still kept.
func TestLeaveAndComeBack(t *testing.T) {
	ctx := t.Context()
	agents := newAgents(t, 3)
	contacts := found(t, agents...)
	back := agents[2]
	before, mark := back.Self, agents[0].Mark()
	must(t, back.GroupLeave(ctx, back.Group))
	world.Await(agents[0], mark, func(_ agent.Event, e *agent.MemberLeft) bool { return e.Member == before })
	world.Join(t, agents[:2], agents[0], contacts[1], back)
	if back.Self == before {
		t.Error("the key is the old one")
	}
	together(t, agents...)
	mark = back.Mark()
	sent, err := agents[1].GroupSend(ctx, agents[1].Group, agent.Outgoing{Body: []byte("welcome back")})
	must(t, err)
	world.Await(back, mark, func(e agent.Event, m *agent.GroupMessage) bool {
		return e.Group() == back.Group && m.Message.Number == sent.Number && m.Message.Author == sent.Author
	})
}

// The inviter may not add any more when the answer to its invitation comes.
func TestInvitationThatHasBecomeVoid(t *testing.T) {
	ctx := t.Context()
	agents := newAgents(t, 3)
	a, b, guest := agents[0], agents[1], agents[2]
	found(t, a, b)
	ofB, _ := world.Befriend(t, b, guest)
	mark, markB := guest.Mark(), b.Mark()
	token, err := b.GroupAdd(ctx, b.Group, ofB, agent.AddOptions{})
	must(t, err)
	_, inv := world.Await(guest, mark, func(agent.Event, *agent.GroupInvitation) bool { return true })
	must(t, a.GroupPolicy(ctx, a.Group, agent.Moderated()))
	world.Await(b, markB, answered(agent.ChangePolicy))
	guest.Group, err = guest.GroupJoin(ctx, inv.Invitation, nil)
	must(t, err)
	_, told := world.Await(b, markB, answered(agent.ChangeInvitationVoid))
	if told.Invitation != token || told.Member == "" {
		t.Errorf("told %+v", told)
	}
	// Nothing will come of it. The guest can give up, and be invited again.
	if g := info(t, guest); g.Status != "joining" {
		t.Error("the guest's group is", g.Status)
	}
	must(t, guest.GroupLeave(ctx, guest.Group))
	if g := info(t, guest); g.Status != "gone" {
		t.Error("the guest's group is", g.Status)
	}
	ofA, _ := world.Befriend(t, a, guest)
	world.Join(t, []*world.Agent{a, b}, a, ofA, guest)
	together(t, agents...)
}
