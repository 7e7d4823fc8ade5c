package agent

import (
	"testing"

	"github.com/coterie-im/coterie/directconn"
)

func TestDirectConnectionOnDemand(t *testing.T) {
	ctx := t.Context()
	c := newCircle(t, GroupOptions{}, newAgents(t, startRelay(t), "alice", "bob", "cathy")...)
	bob, cathy := c.agents[1], c.agents[2]
	gb, gc := c.groups[1], c.groups[2]

	request, err := bob.GroupDirect(ctx, gb, c.self(2), DirectOptions{Text: []byte("a word?"), Info: []byte("bob's profile")})
	must(t, err)
	asked := expect[DirectRequest](cathy, gc.Entity())
	if asked.Member != c.self(1) || string(asked.Text) != "a word?" || asked.Request != request {
		t.Errorf("cathy is asked %+v", asked)
	}
	must(t, bob.GroupDirectSend(ctx, gb, c.self(2), []byte("while you decide")))
	bob.restart()
	cathy.restart()
	must(t, cathy.GroupDirectAccept(ctx, gc, asked.Request, []byte("cathy's profile")))
	atBob, atCathy := expect[DirectReady](bob, gb.Entity()), expect[DirectReady](cathy, gc.Entity())
	if atBob.Member != c.self(2) || atCathy.Member != c.self(1) {
		t.Error("connected with somebody else")
	}
	bc, cb := atBob.Connection, atCathy.Connection
	if i := expect[PeerInfo](bob, connectionEntity(bc)); string(i.Info) != "cathy's profile" {
		t.Errorf("bob was told %q", i.Info)
	}
	if i := expect[PeerInfo](cathy, connectionEntity(cb)); string(i.Info) != "bob's profile" {
		t.Errorf("cathy was told %q", i.Info)
	}
	m := expect[Message](cathy, connectionEntity(cb))
	if string(m.Body) != "while you decide" {
		t.Errorf("cathy got %q", m.Body)
	}
	must(t, cathy.Ack(ctx, cb, m.ID, nil))
	expect[Sent](bob, connectionEntity(bc))
	talk(t, cathy, cb, bob, bc, "hello bob")
	talk(t, bob, bc, cathy, cb, "hello cathy")
	info, err := bob.Connection(ctx, bc)
	if err != nil || info.Kind != KindDirect || info.State != stateConnected {
		t.Errorf("bob's contact is %+v, %v", info, err)
	}
	_, err = bob.GroupDirect(ctx, gb, c.self(2), DirectOptions{})
	wantError(t, "ask again", err, directconn.ErrExists)

	// A contact that both have deleted can be asked for again.
	must(t, bob.DeleteConnection(ctx, bc, false))
	expect[Deleted](bob, connectionEntity(bc))
	must(t, cathy.DeleteConnection(ctx, cb, false))
	expect[Deleted](cathy, connectionEntity(cb))
	_, err = bob.GroupDirect(ctx, gb, c.self(2), DirectOptions{})
	must(t, err)
	must(t, cathy.GroupDirectReject(ctx, gc, expect[DirectRequest](cathy, gc.Entity()).Request))
	if e := expect[DirectEnded](bob, gb.Entity()); e.Reason != "refused" {
		t.Errorf("the request ended: %s", e.Reason)
	}
}

func TestRulesForDirectRequests(t *testing.T) {
	ctx := t.Context()
	c := newCircle(t, GroupOptions{}, newAgents(t, startRelay(t), "alice", "bob", "cathy")...)
	alice, bob, cathy := c.agents[0], c.agents[1], c.agents[2]
	must(t, alice.GroupDirectRule(ctx, c.groups[0], c.self(1), DirectAccept, []byte("alice's profile")))
	must(t, alice.GroupDirectRule(ctx, c.groups[0], c.self(2), DirectRefuse, nil))
	_, err := bob.GroupDirect(ctx, c.groups[1], c.self(0), DirectOptions{})
	must(t, err)
	ready := expect[DirectReady](bob, c.groups[1].Entity())
	if i := expect[PeerInfo](bob, connectionEntity(ready.Connection)); string(i.Info) != "alice's profile" {
		t.Errorf("bob was told %q", i.Info)
	}
	_, err = cathy.GroupDirect(ctx, c.groups[2], c.self(0), DirectOptions{})
	must(t, err)
	if e := expect[DirectEnded](cathy, c.groups[2].Entity()); e.Reason != "refused" || e.Member != c.self(0) {
		t.Errorf("cathy's request ended: %+v", e)
	}
	if alice.count("GDINV") != 0 {
		t.Error("alice was asked in spite of her rules")
	}
	_, err = cathy.GroupDirect(ctx, c.groups[2], c.self(1), DirectOptions{})
	must(t, err)
	expect[DirectRequest](bob, c.groups[1].Entity())
	must(t, cathy.GroupDirectWithdraw(ctx, c.groups[2], c.self(1)))
	expect[DirectEnded](cathy, c.groups[2].Entity())

	wantError(t, "unknown rule", alice.GroupDirectRule(ctx, c.groups[0], c.self(1), "maybe", nil), ErrNoRule)
	wantError(t, "unknown request", alice.GroupDirectAccept(ctx, c.groups[0], "x", nil), ErrNoInvitation)
	wantError(t, "unknown request", alice.GroupDirectReject(ctx, c.groups[0], "AAAAAAAAAAAAAAAAAAAAAA"), directconn.ErrUnknown)
	wantError(t, "reserved", alice.GroupDirectSend(ctx, c.groups[0], c.self(1), []byte(groupPrefix)), ErrReserved)
	_, err = alice.GroupDirect(ctx, "none", c.self(1), DirectOptions{})
	wantError(t, "unknown group", err, ErrNoGroup)
}
