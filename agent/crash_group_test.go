package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/coterie-im/coterie/grouproto"
	"github.com/coterie-im/coterie/queue/store"
)

// sceneMessages is how many messages a member sends in most scenes.
const sceneMessages = 4

// sends lets one of those here send messages.
func (s *scene) sends(i int, what string, n int) {
	s.t.Helper()
	for k := range n {
		_, err := s.c.agents[i].GroupSend(s.t.Context(), s.c.groups[i], Outgoing{Body: []byte(fmt.Sprint(what, " ", k))})
		must(s.t, err)
	}
}

// heard waits until one of those here has so many messages.
func (s *scene) heard(i, n int) {
	s.t.Helper()
	s.wait(fmt.Sprintf("%d messages at agent %d", n, i), func() bool {
		history, err := s.c.agents[i].GroupHistory(s.t.Context(), s.c.groups[i], 0, maxHistory)
		must(s.t, err)
		return len(history) >= n
	})
}

// agrees is the end of scenes in which everybody stays: all see the same group and messages, and can talk.
func (s *scene) agrees(messages int) {
	s.t.Helper()
	s.c.together()
	everybodyHas(s.c, messages)
	s.sends(s.vi, "from the victim", 1)
	s.sends((s.vi+1)%len(s.c.agents), "from another", 1)
	everybodyHas(s.c, messages+2)
}

// whole tells whether the child is connected with all of a group of so many.
func (c *child) whole(ctx context.Context, g GroupID, n int) (bool, error) {
	if g == "" {
		return false, nil
	}
	info, err := c.Group(ctx, g)
	return err == nil && info.Status == "member" && info.Present == n && info.Connected == n-1, err
}

// newest returns the child's last group, if it has more than one.
func (c *child) newest(ctx context.Context) (GroupID, error) {
	groups, err := c.Groups(ctx)
	if err != nil || len(groups) < 2 {
		return "", err
	}
	return groups[len(groups)-1].ID, nil
}

// whole waits until a group here has so many members, all connected.
func (s *scene) whole(i, n int) {
	s.t.Helper()
	s.wait(fmt.Sprintf("%d members at agent %d", n, i), func() bool {
		info := s.c.info(i)
		return info.Status == "member" && info.Present == n && info.Connected == n-1
	})
}

// joinsFork lets one of those here join a fork, and go on in it.
func (s *scene) joinsFork(i int) {
	s.t.Helper()
	a := s.c.agents[i]
	inv := expect(a, s.c.groups[i].Entity(), func(e *GroupInvitation) bool { return e.Group == s.c.groups[i] })
	g, err := a.GroupJoin(s.t.Context(), inv.Invitation, nil)
	must(s.t, err)
	s.c.groups[i] = g
}

// forkMaker makes a fork of a group.
func forkMaker() *sceneKind {
	fork := func(ctx context.Context, c *child, p plan) (GroupID, error) {
		f, err := c.GroupFork(ctx, p.Group, ForkOptions{Key: "fork"})
		return f.Group, err
	}
	return &sceneKind{
		prepare: func(s *scene) { s.newCircle(3, 2, GroupOptions{}, startRelay(s.t)) },
		act: func(ctx context.Context, c *child, p plan) error {
			_, err := fork(ctx, c, p)
			return err
		},
		done: func(ctx context.Context, c *child, p plan) (bool, error) {
			g, err := fork(ctx, c, p)
			if err != nil {
				return false, err
			}
			c.group = g
			if ok, err := c.whole(ctx, g, 3); !ok {
				return false, err
			}
			return true, c.say(ctx, g, "in the fork", 1)
		},
		meanwhile: func(s *scene) {
			for i := range 2 {
				s.joinsFork(i)
			}
			for i := range 2 {
				s.whole(i, 3)
				s.heard(i, 1)
			}
		},
		check: func(s *scene) {
			groups, err := s.victim.Groups(s.t.Context())
			must(s.t, err)
			if len(groups) != 2 {
				s.t.Fatalf("%d groups", len(groups))
			}
			s.c.groups[s.vi] = groups[1].ID
			s.agrees(1)
		},
	}
}

// forkInvited is invited to a fork.
func forkInvited() *sceneKind {
	return &sceneKind{
		prepare: func(s *scene) { s.newCircle(3, 2, GroupOptions{}, startRelay(s.t)) },
		handle: func(ctx context.Context, c *child, p plan, e Event) error {
			inv, ok := e.Data.(*GroupInvitation)
			if !ok || inv.Group == "" {
				return nil
			}
			_, err := c.GroupJoin(ctx, inv.Invitation, nil)
			return err
		},
		done: func(ctx context.Context, c *child, p plan) (bool, error) {
			g, err := c.newest(ctx)
			if err != nil {
				return false, err
			}
			if ok, err := c.whole(ctx, g, 3); !ok {
				return false, err
			}
			return true, c.say(ctx, g, "in the fork", 1)
		},
		meanwhile: func(s *scene) {
			f, err := s.c.agents[0].GroupFork(s.t.Context(), s.c.groups[0], ForkOptions{})
			must(s.t, err)
			s.c.groups[0] = f.Group
			s.joinsFork(1)
			for i := range 2 {
				s.whole(i, 3)
				s.heard(i, 1)
			}
		},
		check: func(s *scene) {
			groups, err := s.victim.Groups(s.t.Context())
			must(s.t, err)
			if len(groups) != 2 {
				s.t.Fatalf("%d groups", len(groups))
			}
			s.c.groups[s.vi] = groups[1].ID
			s.agrees(1)
		},
	}
}

// forgets lets the victim write and read what an old copy of its store, which it goes back to, does not know.
func (s *scene) forgets() {
	s.t.Helper()
	s.newCircle(3, 1, GroupOptions{}, startRelay(s.t))
	s.c.say(1, "before")
	old := s.victim.copyStore()
	s.c.say(1, "own, forgotten")
	s.c.say(1, "own, forgotten too")
	s.c.say(0, "of another")
	must(s.t, s.victim.GroupSet(s.t.Context(), s.c.groups[1], "about", []byte("forgotten")))
	for _, i := range []int{0, 2} {
		s.wait("the setting", func() bool { return string(s.c.info(i).Settings["about"]) == "forgotten" })
	}
	s.restoreVictim(old)
}

const (
	forgotten = 4       // messages before the restore
	newRun    = 1 << 40 // numbers behind a recovery are larger
)

// isBack sends once everything is back.
func isBack(ctx context.Context, c *child, p plan) (bool, error) {
	info, err := c.Group(ctx, p.Group)
	if err != nil || info.Recovery != "" || info.Next < newRun || info.Connected != 2 || string(info.Settings["about"]) != "forgotten" {
		return false, err
	}
	err = c.say(ctx, p.Group, "again", 1)
	if errors.Is(err, grouproto.ErrRecovering) { // it began in between
		return false, nil
	}
	return err == nil, err
}

// recovers is told that its store is an old one.
func recovers() *sceneKind {
	return &sceneKind{
		prepare: (*scene).forgets,
		act: func(ctx context.Context, c *child, p plan) error {
			info, err := c.Group(ctx, p.Group)
			if err != nil || info.Recovery != "" || info.Next >= newRun {
				return err
			}
			return c.GroupRecover(ctx, p.Group)
		},
		done: isBack,
		meanwhile: func(s *scene) {
			s.heard(0, forgotten+1)
			s.heard(2, forgotten+1)
		},
		check: func(s *scene) { s.agrees(forgotten + 1) },
	}
}

// restored has to notice it.
func restored() *sceneKind {
	return &sceneKind{
		prepare: (*scene).forgets,
		done:    isBack,
		meanwhile: func(s *scene) {
			s.sends(0, "who is there?", 1)
			s.sends(2, "who is there?", 1)
			s.heard(0, forgotten+3)
			s.heard(2, forgotten+3)
		},
		check: func(s *scene) { s.agrees(forgotten + 3) },
	}
}

// contests undoes its own removal by a member of lower rank.
func contests() *sceneKind {
	return &sceneKind{
		prepare: func(s *scene) {
			s.newCircle(3, 0, GroupOptions{}, startRelay(s.t))
			must(s.t, s.c.agents[1].GroupRemove(s.t.Context(), s.c.groups[1], RemoveOptions{Members: []MemberID{s.plan.Members[0]}}))
			if r := expect[Removed](s.victim, s.c.groups[0].Entity()); !r.Contestable {
				s.t.Errorf("%+v", r)
			}
			s.wait("the removal", func() bool { return s.c.info(2).Present == 2 })
		},
		act: func(ctx context.Context, c *child, p plan) error {
			info, err := c.Group(ctx, p.Group)
			if err != nil || info.Status == "member" {
				return err
			}
			return c.GroupRemove(ctx, p.Group, RemoveOptions{Members: p.Members[1:2], Contest: true})
		},
		done: func(ctx context.Context, c *child, p plan) (bool, error) { return c.whole(ctx, p.Group, 2) },
		meanwhile: func(s *scene) {
			expect[Removed](s.c.agents[1], s.c.groups[1].Entity())
			expect(s.c.agents[2], s.c.groups[2].Entity(), changed(ChangeMemberRestored))
			s.whole(2, 2)
		},
		check: func(s *scene) {
			s.c = s.c.without(1)
			s.agrees(0)
		},
	}
}

// removes removes a member, and says something before and after.
func removes() *sceneKind {
	return &sceneKind{
		prepare: func(s *scene) { s.newCircle(4, 1, GroupOptions{}, startRelay(s.t)) },
		act: func(ctx context.Context, c *child, p plan) error {
			if err := c.say(ctx, p.Group, "before", sceneMessages); err != nil {
				return err
			}
			info, err := c.Group(ctx, p.Group)
			if err != nil {
				return err
			}
			if info.Present == 4 {
				if err := c.GroupRemove(ctx, p.Group, RemoveOptions{Members: p.Members[2:3]}); err != nil {
					return err
				}
			}
			return c.say(ctx, p.Group, "after", sceneMessages)
		},
		done: func(ctx context.Context, c *child, p plan) (bool, error) { return c.whole(ctx, p.Group, 3) },
		meanwhile: func(s *scene) {
			expect[Removed](s.c.agents[2], s.c.groups[2].Entity())
			s.heard(0, 2*sceneMessages)
			s.heard(3, 2*sceneMessages)
		},
		check: func(s *scene) {
			removed := s.c.agents[2]
			s.c = s.c.without(2)
			s.agrees(2 * sceneMessages)
			if n := removed.count("GREMOVED"); n != 1 {
				s.t.Errorf("told %d times that it was removed", n)
			}
		},
	}
}

// isRemoved hears of its removal, from whoever tells it first, and is told nothing that was written after it. What was
// written before may be overtaken by the news, after which a removed member takes no messages.
func isRemoved() *sceneKind {
	return &sceneKind{
		prepare: func(s *scene) { s.newCircle(3, 2, GroupOptions{}, startRelay(s.t)) },
		done: func(ctx context.Context, c *child, p plan) (bool, error) {
			info, err := c.Group(ctx, p.Group)
			return info.Status == "removed", err
		},
		meanwhile: func(s *scene) {
			s.sends(0, "before", sceneMessages)
			must(s.t, s.c.agents[0].GroupRemove(s.t.Context(), s.c.groups[0], RemoveOptions{Members: s.plan.Members[2:3]}))
			s.sends(0, "after", sceneMessages)
			s.heard(1, 2*sceneMessages)
		},
		check: func(s *scene) {
			history, err := s.victim.GroupHistory(s.t.Context(), s.c.groups[2], 0, maxHistory)
			must(s.t, err)
			for _, m := range history {
				if m.Message.Number >= sceneMessages {
					s.t.Errorf("it has %q", m.Body)
				}
			}
			everybodyHas(s.others(), 2*sceneMessages)
			expect[Removed](s.victim, s.c.groups[2].Entity())
			if n := s.victim.count("GREMOVED"); n != 1 {
				s.t.Errorf("told %d times that it was removed", n)
			}
		},
	}
}

// leaves says something and leaves.
func leaves() *sceneKind {
	return &sceneKind{
		prepare: func(s *scene) { s.newCircle(3, 1, GroupOptions{}, startRelay(s.t)) },
		act:     leave,
		done: func(ctx context.Context, c *child, p plan) (bool, error) {
			info, err := c.Group(ctx, p.Group)
			return info.Status == "left", err
		},
		meanwhile: func(s *scene) {
			for _, i := range []int{0, 2} {
				expect[MemberLeft](s.c.agents[i], s.c.groups[i].Entity())
				s.heard(i, sceneMessages)
			}
		},
		check: func(s *scene) {
			everybodyHas(s.c, sceneMessages)
			s.c = s.c.without(1)
			s.vi = 0
			s.agrees(sceneMessages)
		},
	}
}

// leave is what a leaver does first.
func leave(ctx context.Context, c *child, p plan) error {
	info, err := c.Group(ctx, p.Group)
	if err != nil || info.Status == "left" {
		return err
	}
	if err := c.say(ctx, p.Group, "good bye", sceneMessages); err != nil {
		return err
	}
	return c.GroupLeave(ctx, p.Group)
}

// rejoins leaves and is added again, with a new key.
func rejoins() *sceneKind {
	return &sceneKind{
		prepare: func(s *scene) { s.newCircle(3, 2, GroupOptions{}, startRelay(s.t)) },
		act:     leave,
		handle: func(ctx context.Context, c *child, p plan, e Event) error {
			inv, ok := e.Data.(*GroupInvitation)
			if !ok {
				return nil
			}
			_, err := c.GroupJoin(ctx, inv.Invitation, []byte("the same with another key"))
			if errors.Is(err, ErrMember) { // the first invitation, for the membership that it has left
				return nil
			}
			return err
		},
		done: func(ctx context.Context, c *child, p plan) (bool, error) {
			g, err := c.newest(ctx)
			if err != nil {
				return false, err
			}
			if ok, err := c.whole(ctx, g, 3); !ok {
				return false, err
			}
			return true, c.say(ctx, g, "again", 1)
		},
		meanwhile: func(s *scene) {
			for i := range 2 {
				expect[MemberLeft](s.c.agents[i], s.c.groups[i].Entity())
			}
			contacts, err := s.c.agents[0].Connections(s.t.Context())
			must(s.t, err)
			_, err = s.c.agents[0].GroupAdd(s.t.Context(), s.c.groups[0], contacts[len(contacts)-1].ID, AddOptions{})
			must(s.t, err)
			for i := range 2 {
				s.whole(i, 3)
				s.heard(i, sceneMessages+1)
			}
		},
		check: func(s *scene) {
			groups, err := s.victim.Groups(s.t.Context())
			must(s.t, err)
			if len(groups) != 2 || groups[1].Self == s.plan.Members[2] {
				s.t.Fatalf("groups are %+v", groups)
			}
			s.c.groups[s.vi] = groups[1].ID
			s.c.together()
			everybodyHas(s.others(), sceneMessages+1)
			s.sends(0, "from another", 1)
			everybodyHas(&circle{s.t, s.c.agents[2:3], s.c.groups[2:3]}, 2) // history of before it came again is not for it
		},
	}
}

// sendsToMany sends several messages to a group of five.
func sendsToMany() *sceneKind {
	return &sceneKind{
		prepare: func(s *scene) { s.newCircle(5, 2, GroupOptions{}, startRelay(s.t)) },
		act: func(ctx context.Context, c *child, p plan) error {
			return c.say(ctx, p.Group, "to all", 2*sceneMessages)
		},
		done: func(ctx context.Context, c *child, p plan) (bool, error) {
			return c.sent(ctx, p.Group, 2*sceneMessages)
		},
		meanwhile: func(s *scene) {
			for i := range s.c.agents {
				if i != s.vi {
					s.heard(i, 2*sceneMessages)
				}
			}
		},
		check: func(s *scene) { s.agrees(2 * sceneMessages) },
	}
}

// sent tells whether so many own messages are on their way to everybody.
func (c *child) sent(ctx context.Context, g GroupID, n int) (bool, error) {
	for i := range n {
		states, err := c.GroupDelivery(ctx, g, uint64(i))
		if err != nil {
			return false, err
		}
		for _, s := range states {
			if s.State != "sent" && s.State != "delivered" {
				return false, nil
			}
		}
	}
	return true, nil
}

// listens is sent several messages by everybody.
func listens() *sceneKind {
	return &sceneKind{
		prepare: func(s *scene) { s.newCircle(4, 2, GroupOptions{}, startRelay(s.t)) },
		done: func(ctx context.Context, c *child, p plan) (bool, error) {
			return c.has(ctx, p.Group, 3*sceneMessages)
		},
		meanwhile: func(s *scene) {
			for i := range s.c.agents {
				if i != s.vi {
					s.sends(i, fmt.Sprint("from ", i), sceneMessages)
				}
			}
		},
		check: func(s *scene) { s.agrees(3 * sceneMessages) },
	}
}

const historyMessages = 20

// withHistory is a group that gives everything to who comes.
func withHistory() GroupOptions {
	return GroupOptions{Settings: map[string][]byte{"history": []byte("all")}}
}

// takesHistory joins and gets what was written before.
func takesHistory() *sceneKind {
	return &sceneKind{
		prepare: func(s *scene) {
			relay := startRelay(s.t)
			s.c = newCircle(s.t, withHistory(), s.newHere("alice", relay), s.newHere("bob", relay))
			s.sends(0, "of alice", historyMessages/2)
			s.sends(1, "of bob", historyMessages/2)
			s.heard(0, historyMessages)
			s.heard(1, historyMessages)
			ofA, _ := connect(s.t, s.c.agents[0], s.newVictim(relay))
			_, err := s.c.agents[0].GroupAdd(s.t.Context(), s.c.groups[0], ofA, AddOptions{})
			must(s.t, err)
		},
		handle: func(ctx context.Context, c *child, p plan, e Event) error {
			inv, ok := e.Data.(*GroupInvitation)
			if !ok {
				return nil
			}
			_, err := c.GroupJoin(ctx, inv.Invitation, nil)
			return err
		},
		done: func(ctx context.Context, c *child, p plan) (bool, error) {
			groups, err := c.Groups(ctx)
			if err != nil || len(groups) == 0 {
				return false, err
			}
			c.group = groups[0].ID
			if ok, err := c.whole(ctx, c.group, 3); !ok {
				return false, err
			}
			return c.has(ctx, c.group, historyMessages)
		},
		meanwhile: func(s *scene) {
			for i := range 2 {
				s.whole(i, 3)
			}
		},
		check: func(s *scene) {
			groups, err := s.victim.Groups(s.t.Context())
			must(s.t, err)
			if len(groups) != 1 {
				s.t.Fatalf("%d groups", len(groups))
			}
			s.vi = 2
			s.c.agents, s.c.groups = append(s.c.agents, s.victim), append(s.c.groups, groups[0].ID)
			s.agrees(historyMessages)
		},
	}
}

// givesHistory invites somebody who wants what was written before, most of which is its own.
func givesHistory() *sceneKind {
	return &sceneKind{
		prepare: func(s *scene) {
			relay := startRelay(s.t)
			s.newCircle(2, 0, withHistory(), relay)
			s.sends(0, "of the victim", historyMessages-2)
			s.sends(1, "of another", 2)
			s.heard(0, historyMessages)
			s.heard(1, historyMessages)
			s.plan.Connection, _ = connect(s.t, s.victim, s.newHere("guest", relay))
		},
		act: func(ctx context.Context, c *child, p plan) error {
			_, err := c.GroupAdd(ctx, p.Group, p.Connection, AddOptions{Key: "add"})
			return err
		},
		done: func(ctx context.Context, c *child, p plan) (bool, error) { return c.whole(ctx, p.Group, 3) },
		meanwhile: func(s *scene) {
			guest := s.here[1]
			inv := expect[GroupInvitation](guest, "")
			g, err := guest.GroupJoin(s.t.Context(), inv.Invitation, nil)
			must(s.t, err)
			s.c.agents, s.c.groups = append(s.c.agents, guest), append(s.c.groups, g)
			for i := 1; i < 3; i++ {
				s.whole(i, 3)
				s.heard(i, historyMessages)
			}
		},
		check: func(s *scene) { s.agrees(historyMessages) },
	}
}

// quotaMessages fill a small queue.
const quotaMessages = 10

// smallQueues is a relay on which a queue takes four messages.
func (s *scene) smallQueues() *testRelay {
	s.t.Helper()
	relay := startRelay(s.t)
	relay.stop()
	relay.store = store.NewMemory(4)
	relay.start()
	return relay
}

// isPausedThere tells whether sending to a member rests.
func isPausedThere(info GroupInfo, m MemberID) bool {
	for _, member := range info.Members {
		if member.Member == m {
			return member.Paused
		}
	}
	return false
}

// pauses sends to a member that is away, until its queue is full, and on until it is back and has everything.
func pauses() *sceneKind {
	return &sceneKind{
		prepare: func(s *scene) {
			s.newCircle(3, 0, GroupOptions{}, s.smallQueues())
			s.c.agents[1].close()
		},
		act: func(ctx context.Context, c *child, p plan) error { return c.say(ctx, p.Group, "to all", quotaMessages) },
		done: func(ctx context.Context, c *child, p plan) (bool, error) {
			info, err := c.Group(ctx, p.Group)
			if err != nil {
				return false, err
			}
			if isPausedThere(info, p.Members[1]) {
				return false, c.share("paused", "")
			}
			return c.sent(ctx, p.Group, quotaMessages)
		},
		meanwhile: func(s *scene) {
			s.heard(2, quotaMessages)
			s.wait("a full queue", func() bool { return s.shared("paused") })
			s.c.agents[1].open()
			s.heard(1, quotaMessages)
		},
		check: func(s *scene) { s.agrees(quotaMessages) },
	}
}

// isPaused comes back to a full queue.
func isPaused() *sceneKind {
	return &sceneKind{
		prepare: func(s *scene) {
			s.newCircle(3, 1, GroupOptions{}, s.smallQueues())
			s.victim.close()
			s.sends(0, "to all", quotaMessages)
			s.heard(2, quotaMessages)
			s.wait("a full queue", func() bool { return isPausedThere(s.c.info(0), s.plan.Members[1]) })
		},
		done: func(ctx context.Context, c *child, p plan) (bool, error) {
			return c.has(ctx, p.Group, quotaMessages)
		},
		meanwhile: func(s *scene) {
			s.wait("the end of the pause", func() bool { return !isPausedThere(s.c.info(0), s.plan.Members[1]) })
		},
		check: func(s *scene) { s.agrees(quotaMessages) },
	}
}
