package agent

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/grouproto"
)

// Who asks for a group, or makes its link, is told that a relay does not answer; a member is told nothing about relays that
// those choose who ask.
func TestWaitingOfAGroupIsReported(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	a, b := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	group, err := a.GroupNew(ctx, GroupOptions{})
	must(t, err)
	link, err := a.GroupLink(ctx, group)
	must(t, err)
	asked, err := b.GroupAsk(ctx, link, AskOptions{})
	must(t, err)
	request := expect[GroupRequest](a, group.Entity())
	wait := func(x *testAgent, which func(*connEntry) bool) {
		must(t, do(ctx, x.Agent, func(turn *turn) error {
			for _, e := range slices.Collect(maps.Values(turn.loop.conns)) {
				if which(e) {
					turn.connEvent(e, conn.Waiting{Err: &conn.Error{Code: "BROKER NETWORK", Kind: conn.OurFault}})
				}
			}
			return nil
		}))
	}
	door := func(e *connEntry) bool { return e.meta.Door }
	wait(b, door)
	expect[Failed](b, asked.Entity())
	_, err = a.GroupAdd(ctx, group, ConnectionID(request.Request), AddOptions{})
	must(t, err)
	wait(a, door)
	wait(a, func(e *connEntry) bool { return e.meta.Kind == KindAddress })
	expect[Failed](a, group.Entity())
	expect[MemberConnected](a, group.Entity())
	if n := a.count("ERR"); n != 1 {
		t.Errorf("%d ERR events", n)
	}
}

// A group that was only asked for has nobody who could be invited to another one.
func TestForkOfAGroupThatIsAskedFor(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	a, b := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	group, err := a.GroupNew(ctx, GroupOptions{Settings: map[string][]byte{"join": []byte("off")}})
	must(t, err)
	link, err := a.GroupLink(ctx, group)
	must(t, err)
	asked, err := b.GroupAsk(ctx, link, AskOptions{})
	must(t, err)
	if _, err := b.GroupFork(ctx, asked, ForkOptions{}); !errors.Is(err, grouproto.ErrJoining) {
		t.Error("while asking:", err)
	}
	must(t, b.GroupLeave(ctx, asked))
	if _, err := b.GroupFork(ctx, asked, ForkOptions{}); !errors.Is(err, grouproto.ErrNotMember) {
		t.Error("afterwards:", err)
	}
}

// TestPairThatWaitsForARelayIsReported: a connection of a pair that cannot be made, for want of a relay, has a reason.
func TestPairThatWaitsForARelayIsReported(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	a, b := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	contact, back := connect(t, a, b)
	group, err := a.GroupNew(ctx, GroupOptions{})
	must(t, err)
	token, err := a.GroupAdd(ctx, group, contact, AddOptions{})
	must(t, err)
	invitation := expect[GroupInvitation](b, connectionEntity(back))
	info, err := a.Group(ctx, group)
	must(t, err)
	if len(info.Invited) != 1 || info.Invited[0].Invitation != token || info.Invited[0].Contact != string(contact) ||
		info.Invited[0].Role != "member" {
		t.Errorf("invited: %+v", info.Invited)
	}
	a.close()
	joined, err := b.GroupJoin(ctx, invitation.Invitation, nil)
	must(t, err)
	must(t, do(ctx, b.Agent, func(turn *turn) error {
		for _, e := range slices.Collect(maps.Values(turn.loop.conns)) {
			if e.meta.Group == joined {
				turn.connEvent(e, conn.Waiting{Err: &conn.Error{Code: codeHost, Kind: conn.OurFault}})
			}
		}
		return nil
	}))
	changed := expect(b, joined.Entity(), func(e *GroupChanged) bool { return e.Change == ChangeMemberWaiting })
	if changed.Reason != grouproto.ReasonHost.String() {
		t.Errorf("%+v", changed)
	}
}
