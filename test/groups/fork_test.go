package groups_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/test/world"
)

// joinFork has somebody accept the invitation to a fork, and go there.
func joinFork(t testing.TB, guest *person, from agent.MemberID) (inv *agent.GroupInvitation) {
	t.Helper()
	old := guest.group
	inv = next(guest, func(e agent.Event, i *agent.GroupInvitation) bool {
		return e.Group() == old && i.Group == old && i.Member == from
	})
	g, err := guest.GroupJoin(t.Context(), inv.Invitation, []byte("in the fork"))
	must(t, err)
	guest.group = g
	guest.self = guest.info().Self
	return inv
}

// Four are in a group, one of them misbehaves: three go on without it. None of them is a contact of another but by the
// creator, who does not make the fork.
func TestForkWithoutTheOneWhoMisbehaves(t *testing.T) {
	ctx := t.Context()
	people := newPeople(t, world.StartRelay(t), 4)
	creator, b, bad, d := people[0], people[1], people[2], people[3]
	circle(t, people...)
	must(t, creator.GroupSet(ctx, creator.group, "title", []byte("Walks")))
	must(t, creator.GroupSet(ctx, creator.group, "about", make([]byte, 4000)))
	must(t, creator.GroupSet(ctx, creator.group, "avatar", make([]byte, 4000)))
	await(t, "the settings", func() bool { return len(b.info().Settings) == 3 })
	old, forker := b.info(), b.self
	if _, err := b.GroupFork(ctx, b.group, agent.ForkOptions{Members: []agent.MemberID{"nobody"}}); !errors.Is(err, agent.ErrNoMember) {
		t.Error(err)
	}
	_, err := b.GroupFork(ctx, b.group, agent.ForkOptions{Settings: map[string][]byte{"x": make([]byte, 5000)}})
	if err == nil {
		t.Error("a setting that is too large")
	}
	if all, err := b.Groups(ctx); err != nil || len(all) != 1 {
		t.Errorf("%d groups, %v: what failed has left something", len(all), err)
	}
	o := agent.ForkOptions{Without: []agent.MemberID{bad.self}, Info: []byte("without one"), Key: "fork"}
	f, err := b.GroupFork(ctx, b.group, o)
	must(t, err)
	again, err := b.GroupFork(ctx, b.group, o)
	must(t, err)
	if again.Group != f.Group || len(f.Invitations) != 2 || f.Invitations[creator.self] == "" || f.Invitations[d.self] == "" || len(f.Unreachable) > 0 {
		t.Errorf("%d invitations", len(f.Invitations))
	}
	b.group = f.Group
	b.self = b.info().Self
	for _, p := range []*person{creator, d} {
		if inv := joinFork(t, p, forker); string(inv.Info) != "without one" || inv.Members != 1 {
			t.Errorf("invited with %q", inv.Info)
		}
	}
	gathered(t, b, creator, d)
	say(t, "among us", d, creator, b)
	g := d.info()
	if string(g.Settings["title"]) != "Walks" || len(g.Settings["fork-of"]) != 43 || len(g.Settings["avatar"]) != 4000 || len(g.Settings) != 4 {
		t.Errorf("settings: %d", len(g.Settings))
	}
	for _, m := range g.Members {
		if slices.ContainsFunc(old.Members, func(o agent.MemberInfo) bool { return o.Member == m.Member }) {
			t.Error("a key of the old group is used in the new one")
		}
	}
	if all, err := bad.Groups(ctx); err != nil || len(all) != 1 || all[0].Present != 4 {
		t.Error("the old group has changed", err)
	}
}

func TestForkByWhoWasRemoved(t *testing.T) {
	ctx := t.Context()
	people := newPeople(t, world.StartRelay(t), 3)
	creator, friend, out := people[0], people[1], people[2]
	circle(t, people...)
	must(t, creator.GroupRemove(ctx, creator.group, agent.RemoveOptions{Members: []agent.MemberID{out.self}}))
	next(out, func(agent.Event, *agent.Removed) bool { return true })
	next(friend, func(_ agent.Event, e *agent.MemberRemoved) bool { return e.Member == out.self })
	key := out.self
	f, err := out.GroupFork(ctx, out.group, agent.ForkOptions{Members: []agent.MemberID{friend.self}})
	must(t, err)
	if len(f.Invitations) != 1 {
		t.Errorf("%d invitations", len(f.Invitations))
	}
	out.group = f.Group
	out.self = out.info().Self
	joinFork(t, friend, key)
	gathered(t, out, friend)
	say(t, "here we are", friend, out)
}

func TestForkOfAClosedGroup(t *testing.T) {
	ctx := t.Context()
	people := newPeople(t, world.StartRelay(t), 4)
	creator, b, c, d := people[0], people[1], people[2], people[3]
	circle(t, people...)
	must(t, creator.GroupDelete(ctx, creator.group))
	for _, p := range people[1:] {
		next(p, func(agent.Event, *agent.GroupDeleted) bool { return true })
	}
	key := c.self
	f, err := c.GroupFork(ctx, c.group, agent.ForkOptions{Without: []agent.MemberID{creator.self}, Role: "moderator"})
	must(t, err)
	c.group = f.Group
	c.self = c.info().Self
	joinFork(t, b, key)
	gathered(t, b, c)

	// One refuses.
	inv := next(d, func(agent.Event, *agent.GroupInvitation) bool { return true })
	must(t, d.GroupReject(ctx, inv.Invitation))
	refused := next(c, func(e agent.Event, g *agent.GroupChanged) bool { return g.Change == agent.ChangeInvitationRefused })
	if refused.Invitation != f.Invitations[d.self] {
		t.Error("another invitation was refused")
	}
	for _, m := range c.info().Members {
		if m.Member == b.self && m.Role != "moderator" {
			t.Errorf("joined as %s", m.Role)
		}
	}
}

// Whoever makes a fork is closed after so many commits of it; when it comes back everything
// is completed. So is the guest, after its answer.
func TestForkIsCompletedAfterAnyStep(t *testing.T) {
	for _, commits := range []int{1, 2, 3, 4, 6} {
		t.Run(fmt.Sprint(commits), func(t *testing.T) {
			people := newPeople(t, world.StartRelay(t), 3)
			a, b, c := people[0], people[1], people[2]
			circle(t, people...)
			key := b.self
			b.close()
			reached := make(chan struct{})
			b.config.AfterCommit = func(n int) {
				if n == commits+3 {
					close(reached)
				}
			}
			b.open()
			f, err := b.GroupFork(t.Context(), b.group, agent.ForkOptions{Key: "once"})
			must(t, err)
			await(t, "so many commits, or that nothing is left to do", func() bool {
				select {
				case <-reached:
					return true
				default:
					return b.Counters().Sent[agent.OwnerGroup] >= 2 // both invitations
				}
			})
			b.close()
			b.config.AfterCommit = nil
			b.open()
			again, err := b.GroupFork(t.Context(), b.group, agent.ForkOptions{Key: "once"})
			must(t, err)
			if again.Group != f.Group {
				t.Error("a second fork was made")
			}
			b.group = f.Group
			b.self = b.info().Self
			joinFork(t, a, key)
			a.close()
			joinFork(t, c, key)
			a.open()
			gathered(t, people...)
			say(t, "all here", c, a, b)
		})
	}
}
