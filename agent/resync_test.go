package agent

import (
	"fmt"
	"os"
	"testing"

	"github.com/coterie-im/coterie/agent/conn"
)

// restoreFrom puts an old copy of a closed agent's store in the place of the new one.
func (a *testAgent) restoreFrom(old []byte) {
	a.t.Helper()
	a.close()
	must(a.t, os.WriteFile(a.config.Store, old, 0o600))
	must(a.t, os.Remove(a.config.Store+".commits")) // as on another machine: nothing tells that it is old
	a.open()
}

func (a *testAgent) copyStore() []byte {
	a.t.Helper()
	a.close()
	b, err := os.ReadFile(a.config.Store)
	must(a.t, err)
	a.open()
	return b
}

// mended waits for the RSYNC that says ok.
func mended(a *testAgent, id ConnectionID) {
	a.t.Helper()
	expect(a, connectionEntity(id), func(e *ResyncChanged) bool { return e.State == "ok" })
}

// TestContactIsRestoredFromAnOldCopy: a contact's ratchets part when one end goes back to an old copy; ConnectionResync puts
// them together, whichever agent is closed and opened again on the way.
func TestContactIsRestoredFromAnOldCopy(t *testing.T) {
	relay := startRelay(t)
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			ctx := t.Context()
			a, b := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
			ofA, ofB := connect(t, a, b)
			talk := func(from, to *testAgent, fromID, toID ConnectionID, text string) {
				t.Helper()
				_, err := from.Send(ctx, fromID, Outgoing{Body: []byte(text)})
				must(t, err)
				m := expect(to, connectionEntity(toID), func(m *Message) bool { return string(m.Body) == text })
				must(t, to.Ack(ctx, toID, m.ID, nil))
			}
			talk(a, b, ofA, ofB, "before")
			talk(b, a, ofB, ofA, "before")
			old := a.copyStore()
			for n := range 2 {
				talk(a, b, ofA, ofB, fmt.Sprint("unknown to the copy, ", n))
				talk(b, a, ofB, ofA, fmt.Sprint("unknown to the copy, ", n))
			}
			a.restoreFrom(old)
			_, err := b.Send(ctx, ofB, Outgoing{Body: []byte("lost")})
			must(t, err)
			expect(a, connectionEntity(ofA), func(e *ResyncChanged) bool { return e.State == "required" })
			if info, err := a.Connection(ctx, ofA); err != nil || info.Ratchet != "required" {
				t.Errorf("%+v, %v", info, err)
			}
			must(t, a.ConnectionResync(ctx, ofA, false))
			switch i {
			case 1:
				a.restart()
			case 2:
				b.restart()
				a.restart()
			}
			mended(a, ofA)
			mended(b, ofB)
			talk(b, a, ofB, ofA, "after")
			talk(a, b, ofA, ofB, "after")
			if info, err := a.Connection(ctx, ofA); err != nil || info.Ratchet != "" {
				t.Errorf("%+v, %v", info, err)
			}
		})
	}
}

// TestWaitingForARelayIsReported: what the connection core says of a relay that does not answer reaches the client.
func TestWaitingForARelayIsReported(t *testing.T) {
	a := newAgent(t, "alice", startRelay(t))
	id, _, err := a.CreateConnection(t.Context(), CreateOptions{})
	must(t, err)
	must(t, do(t.Context(), a.Agent, func(turn *turn) error {
		e, err := turn.conn(id)
		if err == nil {
			turn.connEvent(e, conn.Waiting{Err: &conn.Error{Code: "BROKER NETWORK", Kind: conn.OurFault}})
		}
		return err
	}))
	if f := expect[Failed](a, connectionEntity(id)); f.Code != "BROKER NETWORK" || f.Fault != "agent" {
		t.Errorf("%+v", f)
	}
	if info, err := a.Connection(t.Context(), id); err != nil || info.State != stateWaiting {
		t.Errorf("%+v, %v", info, err)
	}
}
