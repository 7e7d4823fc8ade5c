package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/grouproto"
	"github.com/coterie-im/coterie/queue/store"
)

// Another process with a copy of the store takes the queues over; this one is told and stays quiet.
func TestCopyOfTheStoreTakesOver(t *testing.T) {
	relay := startRelay(t)
	alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	ab, ba := connect(t, alice, bob)
	bob.close()
	content, err := os.ReadFile(bob.config.Store)
	must(t, err)
	bob.open()
	await(t, func() bool {
		info, err := bob.Connection(t.Context(), ba)
		must(t, err)
		return info.Online
	})
	twin := newAgentWith(t, "twin", func(c *Config) {
		must(t, os.WriteFile(c.Store, content, 0o600))
	}, relay)
	expect[Ended](bob, connectionEntity(ba))
	if info, err := bob.Connection(t.Context(), ba); err != nil || info.Online {
		t.Error("bob still believes to be online:", err)
	}
	talk(t, alice, ab, twin, ba, "to the twin")
	if bob.count("MSG") != 0 {
		t.Error("bob reads on")
	}

	must(t, bob.Subscribe(t.Context(), ba))
	expect[Ended](twin, connectionEntity(ba))
	if info, err := bob.Connection(t.Context(), ba); err != nil || !info.Online {
		t.Error("bob has taken the queue back and does not believe it:", err)
	}
	if _, err := alice.Send(t.Context(), ab, Outgoing{Body: []byte("to bob")}); err != nil {
		t.Fatal(err)
	}
	m := expect[Message](bob, connectionEntity(ba))
	if string(m.Body) == "to the twin" { // whose acknowledgement had not reached the relay
		must(t, bob.Ack(t.Context(), ba, m.ID, nil))
		m = expect[Message](bob, connectionEntity(ba))
	}
	if string(m.Body) != "to bob" {
		t.Errorf("bob reads %q", m.Body)
	}
}

// A relay takes nothing more for a connection that was suspended.
func TestSuspend(t *testing.T) {
	relay := startRelay(t)
	alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	ab, ba := connect(t, alice, bob)
	talk(t, bob, ba, alice, ab, "in time")
	must(t, alice.Suspend(t.Context(), ab))
	must(t, alice.Suspend(t.Context(), ab))
	if _, err := bob.Send(t.Context(), ba, Outgoing{Body: []byte("too late")}); err != nil {
		t.Fatal(err)
	}
	if f := expect[SendFailed](bob, connectionEntity(ba)); f.Code != string(conn.CodeAuth) {
		t.Errorf("the message failed with %s", f.Code)
	}
	talk(t, alice, ab, bob, ba, "the other way")
	for _, f := range []func(context.Context, ConnectionID) error{alice.Suspend, alice.Subscribe} {
		if err := f(t.Context(), "AAAAAAAAAAAAAAAA"); !errors.Is(err, ErrNoConnection) {
			t.Error("a connection that does not exist:", err)
		}
	}
}

// A relay that has lost its queues is reported, for contacts and for pairs of a group.
func TestRelayThatForgotItsQueues(t *testing.T) {
	relay := startRelay(t)
	c := newCircle(t, GroupOptions{}, newAgents(t, relay, "alice", "bob")...)
	relay.stop()
	expect[RelayDown](c.agents[0], "")
	relay.store = store.NewMemory(128)
	relay.start()
	for i, a := range c.agents {
		contacts, err := a.Connections(t.Context())
		must(t, err)
		if f := expect[Failed](a, connectionEntity(contacts[0].ID)); f.Code != string(conn.CodeAuth) || f.Fault != "agent" {
			t.Errorf("agent %d is told %+v", i, f)
		}
		await(t, func() bool { return c.info(i).Connected == 0 })
	}
}

// A full queue delays messages, which arrive in order when the other end has read.
func TestFullQueue(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	relay.stop()
	relay.store = store.NewMemory(4)
	relay.start()
	alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	ab, ba := connect(t, alice, bob)
	bob.close()
	const messages = 8
	for i := range messages {
		_, err := alice.Send(ctx, ab, Outgoing{Body: fmt.Append(nil, i)})
		must(t, err)
	}
	if w := expect[SendDelayed](alice, connectionEntity(ab)); w.Code != string(conn.CodeQuota) {
		t.Errorf("alice is warned of %+v", w)
	}
	bob.open()
	for i := range messages {
		m := expect[Message](bob, connectionEntity(ba))
		if string(m.Body) != fmt.Sprint(i) || m.Integrity != "OK" {
			t.Errorf("bob got %q, %s", m.Body, m.Integrity)
		}
		must(t, bob.Ack(ctx, ba, m.ID, nil))
	}
	expect[Continued](alice, connectionEntity(ab))
}

// A message that the relay delivers again is told again only to readers who are past it.
func TestMessageThatIsStillToBeReadIsNotToldAgain(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	ab, ba := connect(t, alice, bob)
	bob.close()
	config := bob.config
	open := func() *Agent {
		a, err := Open(ctx, config)
		must(t, err)
		return a
	}
	_, err := alice.Send(ctx, ab, Outgoing{Body: []byte("hello")})
	must(t, err)
	told := func(a *Agent) (n int) {
		must(t, a.store.View(ctx, func(tx *storeTx) error {
			for _, e := range tx.Events(0, 1000) {
				if bytes.Contains(e.Payload, []byte(`"MSG"`)) {
					n++
				}
			}
			return nil
		}))
		return n
	}
	for range 3 {
		a := open()
		await(t, func() bool { return told(a) > 0 })
		await(t, func() bool { // the relay has delivered: it is up, and nothing is on the way
			info, err := a.Connection(ctx, ba)
			must(t, err)
			return info.Online
		})
		must(t, a.Close(ctx))
	}
	a := open()
	if n := told(a); n != 1 {
		t.Errorf("told %d times", n)
	}
	must(t, a.Close(ctx))
	bob.open()
	first := expect[Message](bob, connectionEntity(ba))
	bob.restart() // the event is acknowledged, the message is not
	again := expect[Message](bob, connectionEntity(ba))
	if first.Again || !again.Again || first.ID != again.ID {
		t.Errorf("first %+v, then %+v", first, again)
	}
	must(t, bob.Ack(ctx, ba, again.ID, nil))
	talk(t, bob, ba, alice, ab, "hello yourself")
}

func TestIdleSessionsAreClosed(t *testing.T) {
	one, two := startRelay(t), startRelay(t)
	alice, bob := newAgent(t, "alice", one), newAgent(t, "bob", two)
	ab, ba := connect(t, alice, bob)
	talk(t, alice, ab, bob, ba, "hello")
	sessions := func() (n int) {
		must(t, do(t.Context(), alice.Agent, func(t *turn) error {
			n = len(t.loop.sessions)
			return nil
		}))
		return n
	}
	if n := sessions(); n != 2 {
		t.Fatal("sessions:", n)
	}
	look := func() {
		must(t, do(t.Context(), alice.Agent, func(t *turn) error {
			t.onCommit(t.closeIdle)
			return nil
		}))
	}
	look()
	if n := sessions(); n != 2 {
		t.Error("a session that was just used is closed")
	}
	look()
	if n := sessions(); n != 1 {
		t.Error("sessions after a while:", n)
	}
	talk(t, alice, ab, bob, ba, "hello again")
	talk(t, bob, ba, alice, ab, "hello")
}

func TestReasons(t *testing.T) {
	tests := map[error]grouproto.Reason{
		&conn.Error{Code: conn.CodeAuth}:         grouproto.ReasonAuth,
		&conn.Error{Code: conn.CodeQuota}:        grouproto.ReasonQuota,
		&conn.Error{Code: conn.CodeNotAvailable}: grouproto.ReasonNotAvailable,
		&conn.Error{Code: conn.CodeNotAccepted}:  grouproto.ReasonNotAvailable,
		&conn.Error{Code: codeHost}:              grouproto.ReasonHost,
		&conn.Error{Code: codeStore}:             grouproto.ReasonHost,
		&conn.Error{Code: codeNetwork}:           grouproto.ReasonTemporary,
		&conn.Error{Code: codeTimeout}:           grouproto.ReasonTemporary,
		&conn.Error{Code: conn.CodeLarge}:        grouproto.ReasonRefused,
		context.Canceled:                         grouproto.ReasonRefused,
	}
	for err, want := range tests {
		if got := reasonOf(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// An agent without relays still has its groups; what needs a queue waits with a reason.
func TestGroupWithoutRelays(t *testing.T) {
	ctx := t.Context()
	a := openPlain(t, filepath.Join(t.TempDir(), "a.db"), 0)
	g, err := a.GroupNew(ctx, GroupOptions{})
	must(t, err)
	m, err := a.GroupSend(ctx, g, Outgoing{Body: []byte("note to self")})
	must(t, err)
	history, err := a.GroupHistory(ctx, g, 0, 10)
	must(t, err)
	if len(history) != 1 || string(history[0].Body) != "note to self" || history[0].Message.Number != m.Number {
		t.Errorf("history is %+v", history)
	}
	must(t, do(ctx, a, func(t *turn) error {
		e, err := t.groupEntry(g)
		if err == nil {
			t.forgetGroup(e) // what GroupForget does a day after the end
		}
		return err
	}))
	_, err = a.Group(ctx, g)
	wantError(t, "forgotten group", err, ErrNoGroup)
	if groups, err := a.Groups(ctx); err != nil || len(groups) != 0 {
		t.Error("groups left:", len(groups), err)
	}
}
