package agent

import (
	"fmt"
	"testing"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/agent/store"
)

// queuesOf returns the relays of a connection's own queues, and checks that each has a route.
func (a *testAgent) queuesOf(id ConnectionID) (relays []string) {
	a.t.Helper()
	must(a.t, do(a.t.Context(), a.Agent, func(t *turn) error {
		e, err := t.conn(id)
		if err != nil {
			return err
		}
		routes := 0
		for _, r := range t.tx.Routes() {
			if r.Connection == string(id) {
				routes++
			}
		}
		if routes != len(e.meta.Queues) {
			a.t.Errorf("%d routes, %d queues", routes, len(e.meta.Queues))
		}
		for _, q := range e.meta.Queues {
			relays = append(relays, q.Relay)
		}
		return nil
	}))
	return relays
}

// expectSwitch waits until a switch of a connection is completed, on both ends.
func expectSwitch(t *testing.T, a, b *testAgent, ofA, ofB ConnectionID) {
	t.Helper()
	for _, phase := range []string{"started", "confirmed", "secured", "completed"} {
		expect(a, connectionEntity(ofA), func(e *SwitchChanged) bool { return e.Direction == SwitchOwn && e.Phase == phase })
		expect(b, connectionEntity(ofB), func(e *SwitchChanged) bool { return e.Direction == SwitchPeer && e.Phase == phase })
	}
}

// TestSwitchToAnotherRelay moves a queue while messages flow, with either agent closed and opened again on the way; then the
// old relay is shut down for good.
func TestSwitchToAnotherRelay(t *testing.T) {
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			ctx := t.Context()
			one, two, three := startRelay(t), startRelay(t), startRelay(t)
			a, b := newAgent(t, "alice", one, two), newAgent(t, "bob", three)
			ofA, ofB := connect(t, a, b)
			old := a.queuesOf(ofA)[0]
			for n := range 5 {
				_, err := b.Send(ctx, ofB, Outgoing{Body: []byte(fmt.Sprint("to alice ", n))})
				must(t, err)
			}
			must(t, a.ConnectionSwitch(ctx, ofA))
			wantError(t, "second switch", a.ConnectionSwitch(ctx, ofA), errResyncing) // CMD PROHIBITED too
			if i&1 != 0 {
				b.restart()
			}
			if i&2 != 0 {
				a.restart()
			}
			for n := 5; n < 10; n++ {
				_, err := b.Send(ctx, ofB, Outgoing{Body: []byte(fmt.Sprint("to alice ", n))})
				must(t, err)
			}
			for n := range 10 {
				m := expect(a, connectionEntity(ofA), func(m *Message) bool { return !m.Again })
				if want := fmt.Sprint("to alice ", n); string(m.Body) != want || m.Integrity != "OK" {
					t.Fatalf("%q, %s instead of %q", m.Body, m.Integrity, want)
				}
				must(t, a.Ack(ctx, ofA, m.ID, nil))
			}
			expectSwitch(t, a, b, ofA, ofB)
			await(t, func() bool { return len(a.queuesOf(ofA)) == 1 })
			if now := a.queuesOf(ofA)[0]; now == old {
				t.Fatal("on the old relay")
			}
			for _, r := range []*testRelay{one, two} {
				if relayKey(r.address) == old {
					r.stop()
				}
			}
			tell := func(from *testAgent, id ConnectionID, to *testAgent, at ConnectionID, text string) {
				t.Helper()
				_, err := from.Send(ctx, id, Outgoing{Body: []byte(text)})
				must(t, err)
				m := expect(to, connectionEntity(at), func(m *Message) bool { return !m.Again })
				if string(m.Body) != text || m.Integrity != "OK" {
					t.Fatalf("%q, %s instead of %q", m.Body, m.Integrity, text)
				}
				must(t, to.Ack(ctx, at, m.ID, nil))
			}
			tell(b, ofB, a, ofA, "to the new relay")
			tell(a, ofA, b, ofB, "and back")
			a.restart()
			tell(b, ofB, a, ofA, "after all")
			info, err := a.Connection(ctx, ofA)
			if err != nil || !info.Online || info.SwitchReceiving != "" {
				t.Errorf("%+v, %v", info, err)
			}
			for _, e := range []*testAgent{a, b} {
				if e.count("ERR") != 0 {
					t.Errorf("%s", e.describe())
				}
			}
		})
	}
}

// TestSwitchIsAborted: as long as the peer has not answered it can be taken back, and begun again.
func TestSwitchIsAborted(t *testing.T) {
	ctx := t.Context()
	one, two := startRelay(t), startRelay(t)
	a, b := newAgent(t, "alice", one), newAgent(t, "bob", two)
	ofA, ofB := connect(t, a, b)
	wantError(t, "nothing to abort", a.ConnectionSwitchAbort(ctx, ofA), errResyncing)
	b.close()
	must(t, a.ConnectionSwitch(ctx, ofA))
	await(t, func() bool { return len(a.queuesOf(ofA)) == 2 })
	info, err := a.Connection(ctx, ofA)
	if err != nil || info.SwitchReceiving != "started" {
		t.Errorf("%+v, %v", info, err)
	}
	must(t, a.ConnectionSwitchAbort(ctx, ofA))
	await(t, func() bool { return len(a.queuesOf(ofA)) == 1 })
	must(t, a.ConnectionSwitch(ctx, ofA))
	b.open()
	expect(a, connectionEntity(ofA), func(e *SwitchChanged) bool { return e.Phase == "aborted" && e.Code == "" })
	expect(a, connectionEntity(ofA), func(e *SwitchChanged) bool { return e.Phase == "completed" })
	expect(b, connectionEntity(ofB), func(e *SwitchChanged) bool { return e.Phase == "completed" })
	await(t, func() bool { return len(a.queuesOf(ofA)) == 1 })
	talk(t, b, ofB, a, ofA, "after")
	talk(t, a, ofA, b, ofB, "after")
	must(t, do(ctx, b.Agent, func(t *turn) error {
		if owners := t.tx.Owners(store.Connection); len(owners) != 1 {
			return fmt.Errorf("%d connections", len(owners))
		}
		return nil
	}))
}

// TestPairConnectionIsSwitched: nothing moves the queue of a pair connection by itself, but when the other member's agent
// does, its own follows, and the group goes on.
func TestPairConnectionIsSwitched(t *testing.T) {
	relay := startRelay(t)
	agents := newAgents(t, relay, "alice", "bob")
	c := newCircle(t, GroupOptions{}, agents...)
	c.say(0, "before")
	a := agents[0]
	var pair ConnectionID
	must(t, do(t.Context(), a.Agent, func(t *turn) error {
		for _, id := range t.tx.Owners(store.Connection) {
			if e, err := t.conn(ConnectionID(id)); err == nil && e.meta.Group != "" && e.meta.State == stateConnected && !e.meta.Door {
				pair = e.id
				return t.stepConn(e, conn.SwitchQueue{})
			}
		}
		return ErrNoConnection
	}))
	await(t, func() (done bool) {
		must(t, do(t.Context(), a.Agent, func(t *turn) error {
			e, err := t.conn(pair)
			done = err == nil && e.meta.SwitchReceiving == "" && len(e.meta.Queues) == 1
			return err
		}))
		return done
	})
	c.together()
	c.say(0, "after")
	c.say(1, "and back")
	for _, a := range agents {
		if a.count("ERR")+a.count("GWARN")+a.count("SWITCH") != 0 {
			t.Errorf("%s", a.describe())
		}
	}
}
