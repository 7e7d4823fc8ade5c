package groups_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/test/world"
)

// The inviter is closed after so many commits of a join; when it comes back everything is completed, whatever it had done.
func TestInviterIsClosedAtAnyStepOfAJoin(t *testing.T) {
	for _, commits := range []int{1, 2, 3, 4, 6, 8, 12} {
		t.Run(fmt.Sprint(commits), func(t *testing.T) {
			people := newPeople(t, world.StartRelay(t), 4)
			inviter, guest := people[0], people[3]
			circle(t, people[:3]...)
			contact := befriend(t, inviter, guest)
			inviter.close()
			reached := make(chan struct{})
			inviter.config.AfterCommit = func(n int) {
				if n == commits+5 {
					close(reached)
				}
			}
			inviter.open()
			_, err := inviter.GroupAdd(t.Context(), inviter.group, contact, agent.AddOptions{})
			must(t, err)
			inv := next(guest, func(agent.Event, *agent.GroupInvitation) bool { return true })
			guest.group, err = guest.GroupJoin(t.Context(), inv.Invitation, []byte("a card"))
			must(t, err)
			select {
			case <-reached:
			case <-time.After(patience):
				t.Fatal("the inviter does nothing")
			}
			inviter.close()
			say(t, "who is new?", people[1], people[2])
			inviter.config.AfterCommit = nil
			inviter.open()
			gathered(t, people...)
			say(t, "I am", guest, people[:3]...)
			say(t, "welcome", inviter, people[1:]...)
		})
	}
}

func TestMemberIsAwayDuringAJoin(t *testing.T) {
	people := newPeople(t, world.StartRelay(t), 4)
	away, guest := people[1], people[3]
	circle(t, people[:3]...)
	away.close()
	invite(t, people[0], guest)
	await(t, "two of three connected", func() bool { return guest.info().Connected == 2 })
	say(t, "you will read this later", guest, people[0], people[2])
	away.open()
	gathered(t, people...)
	await(t, "the message from before", func() bool { return away.has("you will read this later") == 1 })
	say(t, "hello", away, people[0], people[2], guest)
}

func TestEndsWhileSomebodyIsAway(t *testing.T) {
	ctx := t.Context()
	people := newPeople(t, world.StartRelay(t), 4)
	creator, removed, away, left := people[0], people[1], people[2], people[3]
	circle(t, people...)

	// The one who is removed is away, and the one who reads about it.
	removed.close()
	away.close()
	must(t, creator.GroupRemove(ctx, creator.group, agent.RemoveOptions{Members: []agent.MemberID{removed.self}}))
	say(t, "not for everybody", creator, left)
	removed.open()
	next(removed, func(_ agent.Event, e *agent.Removed) bool { return e.By == creator.self })
	away.open()
	next(away, func(_ agent.Event, e *agent.MemberRemoved) bool {
		return e.Member == removed.self && e.By == creator.self
	})
	await(t, "the message meanwhile", func() bool { return away.has("not for everybody") == 1 })
	if removed.has("not for everybody") != 0 {
		t.Error("the removed member reads on")
	}
	gathered(t, creator, away, left)

	// Somebody leaves while the same one is away.
	away.close()
	must(t, left.GroupLeave(ctx, left.group))
	next(creator, func(_ agent.Event, e *agent.MemberLeft) bool { return e.Member == left.self })
	away.open()
	next(away, func(_ agent.Event, e *agent.MemberLeft) bool { return e.Member == left.self })
	gathered(t, creator, away)

	// And the group is closed.
	away.close()
	must(t, creator.GroupDelete(ctx, creator.group))
	away.open()
	next(away, func(_ agent.Event, e *agent.GroupDeleted) bool { return e.By == creator.self })
}

func TestDirectRequestsThatCross(t *testing.T) {
	ctx := t.Context()
	people := newPeople(t, world.StartRelay(t), 2)
	a, b := people[0], people[1]
	circle(t, a, b)
	b.close() // neither request can arrive before the other one is made, or just so
	_, err := a.GroupDirect(ctx, a.group, b.self, agent.DirectOptions{})
	must(t, err)
	b.open()
	_, err = b.GroupDirect(ctx, b.group, a.self, agent.DirectOptions{})
	must(t, err)
	for i, p := range people {
		next(p, func(_ agent.Event, e *agent.DirectReady) bool { return e.Member == people[1-i].self })
		contacts, err := p.Connections(ctx)
		must(t, err)
		if len(contacts) != 2 { // the one that the invitation came by, and this one
			t.Errorf("%d contacts", len(contacts))
		}
	}
}

func TestDirectRequestWhileTheMemberIsAway(t *testing.T) {
	ctx := t.Context()
	people := newPeople(t, world.StartRelay(t), 3)
	a, b := people[0], people[1]
	circle(t, people...)
	b.close()
	_, err := a.GroupDirect(ctx, a.group, b.self, agent.DirectOptions{Text: []byte("call me")})
	must(t, err)
	a.close()
	b.open()
	a.open()
	asked := next(b, func(_ agent.Event, e *agent.DirectRequest) bool { return e.Member == a.self })
	a.close()
	must(t, b.GroupDirectAccept(ctx, b.group, asked.Request, nil))
	a.open()
	next(a, func(_ agent.Event, e *agent.DirectReady) bool { return e.Member == b.self })
	next(b, func(_ agent.Event, e *agent.DirectReady) bool { return e.Member == a.self })
}

// While an inviter that was closed half-way comes back, and hands over what it still had, members ask each other for
// direct connections: every request is told.
func TestDirectRequestsWhileTheInviterComesBack(t *testing.T) {
	ctx := t.Context()
	people := newPeople(t, world.StartRelay(t), 4)
	inviter, guest := people[0], people[3]
	circle(t, people[:3]...)
	invite(t, inviter, guest)
	await(t, "one pair besides the inviter's", func() bool { return guest.info().Connected >= 2 })
	inviter.close()
	await(t, "all pairs but the inviter's", func() bool {
		return guest.info().Connected == 3 && people[1].info().Connected == 3 && people[2].info().Connected == 3
	})
	inviter.open()
	ask := func(from, to *person) {
		t.Helper()
		_, err := from.GroupDirect(ctx, from.group, to.self, agent.DirectOptions{Text: []byte("lunch?")})
		must(t, err)
		asked := next(to, func(_ agent.Event, e *agent.DirectRequest) bool { return e.Member == from.self })
		must(t, to.GroupDirectReject(ctx, to.group, asked.Request))
		next(from, func(_ agent.Event, e *agent.DirectEnded) bool { return e.Member == to.self && e.Reason == "refused" })
	}
	for range 4 { // members may be asked this often at once
		ask(people[1], guest)
		ask(guest, people[2])
		ask(people[2], people[1])
	}
	gathered(t, people...)
}
