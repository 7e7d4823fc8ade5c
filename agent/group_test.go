package agent

import (
	"bytes"
	"fmt"
	"testing"
)

// invite brings a contact into a group and returns its name for it.
func invite(t testing.TB, inviter *testAgent, g GroupID, contact ConnectionID, guest *testAgent, back ConnectionID) GroupID {
	t.Helper()
	ctx := t.Context()
	_, err := inviter.GroupAdd(ctx, g, contact, AddOptions{Info: []byte("come in")})
	must(t, err)
	inv := expect[GroupInvitation](guest, connectionEntity(back))
	if string(inv.Info) != "come in" {
		t.Errorf("info of the invitation is %q", inv.Info)
	}
	own, err := guest.GroupJoin(ctx, inv.Invitation, []byte("a card"))
	must(t, err)
	expect[GroupChanged](guest, own.Entity(), changed(ChangeJoined))
	return own
}

func changed(c Change) func(*GroupChanged) bool {
	return func(e *GroupChanged) bool { return e.Change == c }
}

// together waits until all agents see the same group, with everybody connected to everybody.
func together(t testing.TB, agents []*testAgent, groups []GroupID) {
	t.Helper()
	var infos []GroupInfo
	deadline := t.Context()
	await(t, func() bool {
		infos = infos[:0]
		for i, a := range agents {
			info, err := a.Group(deadline, groups[i])
			must(t, err)
			infos = append(infos, info)
			if info.Present != len(agents) || info.Connected != len(agents)-1 || !bytes.Equal(info.StateHash, infos[0].StateHash) {
				return false
			}
		}
		return true
	})
}

// everybody sends a message to the group and waits until all others have it.
func say(t testing.TB, agents []*testAgent, groups []GroupID, from int, text string) {
	t.Helper()
	id, err := agents[from].GroupSend(t.Context(), groups[from], Outgoing{Body: []byte(text)})
	must(t, err)
	for i, a := range agents {
		if i == from {
			continue
		}
		m := expect[GroupMessage](a, groups[i].Entity())
		if string(m.Body) != text || m.Message.Number != id.Number || m.Message.Author != id.Author || !bytes.Equal(m.Message.Hash, id.Hash) {
			t.Errorf("agent %d got %q, number %d", i, m.Body, m.Message.Number)
		}
	}
}

func TestThreeMembersTalk(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	alice, bob, cathy := newAgent(t, "alice", relay), newAgent(t, "bob", relay), newAgent(t, "cathy", relay)
	ab, ba := connect(t, alice, bob)
	ac, ca := connect(t, alice, cathy)
	ga, err := alice.GroupNew(ctx, GroupOptions{Settings: map[string][]byte{"title": []byte("friends")}, Card: []byte("alice")})
	must(t, err)
	gb := invite(t, alice, ga, ab, bob, ba)
	gc := invite(t, alice, ga, ac, cathy, ca)
	agents, groups := []*testAgent{alice, bob, cathy}, []GroupID{ga, gb, gc}
	together(t, agents, groups)
	for round := range 2 {
		for i := range agents {
			say(t, agents, groups, i, fmt.Sprintf("round %d from %d", round, i))
		}
	}
	info, err := cathy.Group(ctx, gc)
	must(t, err)
	if string(info.Settings["title"]) != "friends" || len(info.Members) != 3 {
		t.Errorf("cathy sees %+v", info)
	}
	history, err := bob.GroupHistory(ctx, gb, 0, 100)
	must(t, err)
	if len(history) != 6 || string(history[0].Body) != "round 1 from 2" {
		t.Errorf("bob's history has %d messages", len(history))
	}
}
