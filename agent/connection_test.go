package agent

import (
	"context"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/server"
)

func TestTwoAgentsConnectAndTalk(t *testing.T) {
	relay := startRelay(t)
	alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	ab, ba := connect(t, alice, bob)
	talk(t, alice, ab, bob, ba, "hello bob")
	talk(t, bob, ba, alice, ab, "hello alice")
	for i := range 20 {
		talk(t, alice, ab, bob, ba, string(rune('a'+i)))
	}
	for _, a := range []*testAgent{alice, bob} {
		// Confirmation and messages; the ends of what was sent may still be on their way to the counters.
		await(t, func() bool { return a.Counters().Sent[OwnerClient] >= 2 && a.Counters().Commands["ACK"] >= 2 })
	}
	info, err := alice.Connection(t.Context(), ab)
	must(t, err)
	if info.State != stateConnected || info.Kind != KindInitiator || !info.Online || info.Link == "" {
		t.Errorf("alice sees %+v", info)
	}
}

// Relays below version 9 know no messaging queues: the handshake takes the standard form with HELLO.
func TestStandardHandshake(t *testing.T) {
	relay := startRelay(t, func(c *server.Config) { c.Versions = queue.VersionRange{Min: 6, Max: 8} })
	alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	ab, ba := connect(t, alice, bob)
	talk(t, alice, ab, bob, ba, "hello bob")
	talk(t, bob, ba, alice, ab, "hello alice")
}

// Both agents are restarted after every step of handshake and conversation.
func TestRestartsBetweenAllSteps(t *testing.T) {
	for name, versions := range map[string]queue.VersionRange{"fast": {}, "standard": {Min: 6, Max: 8}} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			relay := startRelay(t, func(c *server.Config) { c.Versions = versions })
			alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
			restart := func() {
				alice.restart()
				bob.restart()
			}
			ab, link, err := alice.CreateConnection(ctx, CreateOptions{})
			must(t, err)
			restart()
			ba, err := bob.JoinConnection(ctx, link, JoinOptions{Info: []byte("joiner")})
			must(t, err)
			restart()
			c := expect[Confirmation](alice, connectionEntity(ab))
			restart()
			must(t, alice.Allow(ctx, ab, c.Confirmation, nil))
			restart()
			expect[Connected](alice, connectionEntity(ab))
			expect[Connected](bob, connectionEntity(ba))
			restart()
			for _, text := range []string{"one", "two", "three"} {
				_, err = alice.Send(ctx, ab, Outgoing{Body: []byte(text)})
				must(t, err)
				restart()
				m := expect(bob, connectionEntity(ba), func(m *Message) bool { return !m.Again })
				if string(m.Body) != text || m.Integrity != "OK" {
					t.Errorf("bob got %q, %s", m.Body, m.Integrity)
				}
				restart() // the event is acknowledged, the message is not: it is told again
				if again := expect(bob, connectionEntity(ba), func(a *Message) bool { return a.Again && a.ID == m.ID }); string(again.Body) != text {
					t.Errorf("bob got %q again", again.Body)
				}
				must(t, bob.Ack(ctx, ba, m.ID, nil))
				restart()
			}
			for _, a := range []*testAgent{alice, bob} {
				if got := a.count("CON"); got != 1 {
					t.Errorf("CON came %d times", got)
				}
			}
		})
	}
}

func TestContactAddress(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	alice, bob, cathy := newAgent(t, "alice", relay), newAgent(t, "bob", relay), newAgent(t, "cathy", relay)
	address, link, err := alice.CreateConnection(ctx, CreateOptions{Contact: true, ClientData: `{"type":"group"}`})
	must(t, err)

	ba, err := bob.JoinConnection(ctx, link, JoinOptions{Info: []byte("bob here")})
	must(t, err)
	r := expect[Request](alice, connectionEntity(address))
	if string(r.Info) != "bob here" || !r.Compatible {
		t.Errorf("request is %+v", r)
	}
	alice.restart()
	ab, err := alice.Accept(ctx, address, r.Request, []byte("alice here"))
	must(t, err)
	if again, err := alice.Accept(ctx, address, r.Request, []byte("alice here")); err != nil || again != ab {
		t.Errorf("accepting again: %v", err)
	}
	c := expect[Confirmation](bob, connectionEntity(ba))
	if string(c.Info) != "alice here" {
		t.Errorf("confirmation is %+v", c)
	}
	must(t, bob.Allow(ctx, ba, c.Confirmation, nil))
	expect[Connected](alice, connectionEntity(ab))
	expect[Connected](bob, connectionEntity(ba))
	talk(t, alice, ab, bob, ba, "hello bob")

	_, err = cathy.JoinConnection(ctx, link, JoinOptions{})
	must(t, err)
	r = expect[Request](alice, connectionEntity(address))
	must(t, alice.Reject(ctx, address, r.Request))
	_, err = alice.Accept(ctx, address, r.Request, nil)
	wantError(t, "accept what was rejected", err, ErrNoConnection)

	must(t, alice.DeleteConnection(ctx, address, false))
	expect[Deleted](alice, connectionEntity(address))
	talk(t, bob, ba, alice, ab, "still here")
}

func TestReceipts(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	ab, ba := connect(t, alice, bob)
	n, err := alice.Send(ctx, ab, Outgoing{Body: []byte("read me")})
	must(t, err)
	m := expect[Message](bob, connectionEntity(ba))
	must(t, bob.Ack(ctx, ba, m.ID, &AckOptions{Receipt: true, Info: []byte("seen")}))
	wantError(t, "second acknowledgement", bob.Ack(ctx, ba, m.ID, nil), ErrNoConnection)
	r := expect[Received](alice, connectionEntity(ab))
	if len(r.Receipts) != 1 || r.Receipts[0].ID != n || !r.Receipts[0].Good || string(r.Receipts[0].Info) != "seen" {
		t.Errorf("receipts are %+v", r.Receipts)
	}
	must(t, alice.Ack(ctx, ab, r.ID, nil))
	talk(t, bob, ba, alice, ab, "and on it goes")
}

// What is sent while the relay is away arrives when it is back, once.
func TestRelayGoesAndComesBack(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	ab, ba := connect(t, alice, bob)
	talk(t, alice, ab, bob, ba, "before")
	relay.stop()
	if d := expect[RelayDown](bob, ""); len(d.Connections) != 1 || d.Connections[0] != ba {
		t.Errorf("bob lost %v", d.Connections)
	}
	expect[RelayDown](alice, "")
	for _, text := range []string{"one", "two"} {
		_, err := alice.Send(ctx, ab, Outgoing{Body: []byte(text)})
		must(t, err)
	}
	relay.start()
	if u := expect[RelayUp](bob, ""); len(u.Connections) != 1 || u.Connections[0] != ba {
		t.Errorf("bob got back %v", u.Connections)
	}
	for _, text := range []string{"one", "two"} {
		m := expect[Message](bob, connectionEntity(ba))
		if string(m.Body) != text || m.Integrity != "OK" {
			t.Errorf("bob got %q, %s", m.Body, m.Integrity)
		}
		must(t, bob.Ack(ctx, ba, m.ID, nil))
	}
	talk(t, bob, ba, alice, ab, "after")
}

// A call that cannot wait for the relay leaves a connection behind that gets its link later.
func TestLinkComesWhenTheRelayDoes(t *testing.T) {
	relay := startRelay(t)
	alice := newAgent(t, "alice", relay)
	relay.stop()
	ctx, cancel := context.WithCancel(t.Context())
	made := make(chan ConnectionID)
	go func() {
		id, link, err := alice.CreateConnection(ctx, CreateOptions{})
		if link != "" || err != context.Canceled {
			t.Error("link without a relay:", err)
		}
		made <- id
	}()
	var id ConnectionID
	await(t, func() bool {
		all, err := alice.Connections(t.Context())
		must(t, err)
		if len(all) == 1 {
			id = all[0].ID
		}
		return len(all) == 1
	})
	await(t, func() bool { // the call waits for the link now
		waiting, err := call(t.Context(), alice.Agent, func(t *turn) (int, error) { return len(t.loop.links), nil })
		must(t, err)
		return waiting == 1
	})
	cancel()
	if got := <-made; got != id {
		t.Errorf("the call returned another connection")
	}
	alice.restart()
	relay.start()
	if e := expect[LinkReady](alice, connectionEntity(id)); e.Link == "" {
		t.Error("empty link")
	}
}

func TestJoinerAvoidsTheRelayOfTheInitiator(t *testing.T) {
	one, two := startRelay(t), startRelay(t)
	alice, bob := newAgent(t, "alice", one), newAgent(t, "bob", one, two)
	ab, ba := connect(t, alice, bob)
	talk(t, alice, ab, bob, ba, "hello bob")
	talk(t, bob, ba, alice, ab, "hello alice")
	var meta connMeta
	must(t, do(t.Context(), bob.Agent, func(t *turn) error {
		t.get(recordKey(classConn, string(ba)), &meta)
		return nil
	}))
	if len(meta.Queues) != 1 || meta.Queues[0].Relay != relayKey(two.address) {
		t.Error("bob's queue is on the relay of alice's")
	}
}

func TestChooseRelay(t *testing.T) {
	host := func(h string) queue.Server { return queue.Server{Hosts: []string{h}} }
	relays := []queue.Server{host("a"), host("b"), host("c")}
	seen := map[string]bool{}
	for i := range 100 {
		s, ok := chooseRelay(relays, relays[:1], nil, ConnectionID(rune('A'+i)), 0)
		if !ok || s.Hosts[0] == "a" {
			t.Fatal("avoided relay was chosen")
		}
		seen[s.Hosts[0]] = true
	}
	if len(seen) != 2 {
		t.Error("always the same relay is chosen")
	}
	first, _ := chooseRelay(relays, nil, nil, "x", 0)
	second, _ := chooseRelay(relays, nil, nil, "x", 1)
	if first.Hosts[0] == second.Hosts[0] {
		t.Error("the second attempt goes to the same relay")
	}
	if _, ok := chooseRelay(relays[:1], relays[:1], nil, "x", 0); !ok {
		t.Error("the only relay is not used")
	}
	if s, _ := chooseRelay(relays[:2], relays[:2], relays[1:2], "x", 0); s.Hosts[0] != "a" {
		t.Error("the relay that is left is chosen")
	}
	if _, ok := chooseRelay(nil, nil, nil, "x", 0); ok {
		t.Error("a relay out of nothing")
	}
}

func TestDeletedConnection(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	ab, ba := connect(t, alice, bob)
	must(t, alice.DeleteConnection(ctx, ab, false))
	expect[Deleted](alice, connectionEntity(ab))
	wantError(t, "delete again", alice.DeleteConnection(ctx, ab, false), ErrNoConnection)
	_, err := alice.Send(ctx, ab, Outgoing{Body: []byte("x")})
	wantError(t, "send over a deleted connection", err, ErrNoConnection)
	if all, err := alice.Connections(ctx); err != nil || len(all) != 0 {
		t.Error("connections left:", len(all), err)
	}
	n, err := bob.Send(ctx, ba, Outgoing{Body: []byte("anybody there?")})
	must(t, err)
	if f := expect[SendFailed](bob, connectionEntity(ba)); f.ID != n || f.Code != string(conn.CodeAuth) {
		t.Errorf("failure is %+v", f)
	}
	err = alice.store.View(ctx, func(tx *storeTx) error {
		if routes := tx.Routes(); len(routes) != 0 {
			t.Error("routes left:", len(routes))
		}
		return nil
	})
	must(t, err)
}

// With wait, what was queued is delivered before the connection is gone.
func TestDeletionWaitsForDelivery(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	ab, ba := connect(t, alice, bob)
	relay.stop()
	expect[RelayDown](alice, "")
	_, err := alice.Send(ctx, ab, Outgoing{Body: []byte("last words")})
	must(t, err)
	must(t, alice.DeleteConnection(ctx, ab, true))
	relay.start()
	if m := expect[Message](bob, connectionEntity(ba)); string(m.Body) != "last words" {
		t.Errorf("bob got %q", m.Body)
	}
	expect[Deleted](alice, connectionEntity(ab))
}

func TestCallsWithAKeyHappenOnce(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	id, link, err := alice.CreateConnection(ctx, CreateOptions{Key: "c"})
	must(t, err)
	alice.restart()
	id2, link2, err := alice.CreateConnection(ctx, CreateOptions{Key: "c"})
	if err != nil || id2 != id || link2 != link {
		t.Error("created again:", err)
	}
	_, _, err = alice.CreateConnection(ctx, CreateOptions{Key: "c", Contact: true})
	wantError(t, "another call with the key", err, ErrKeyReused)

	ab, ba := connect(t, alice, bob)
	n, err := alice.Send(ctx, ab, Outgoing{Body: []byte("once"), Key: "s"})
	must(t, err)
	alice.restart()
	again, err := alice.Send(ctx, ab, Outgoing{Body: []byte("once"), Key: "s"})
	if err != nil || again != n {
		t.Error("sent again:", err)
	}
	m := expect[Message](bob, connectionEntity(ba))
	must(t, bob.Ack(ctx, ba, m.ID, nil))
	expect[Sent](alice, connectionEntity(ab))
	talk(t, alice, ab, bob, ba, "another")
	if got := bob.count("MSG"); got != 2 {
		t.Errorf("bob got %d messages", got)
	}
}

func TestResultsOfCallsWithAKeyAreForgottenInTheEnd(t *testing.T) {
	ctx := t.Context()
	alice := newAgent(t, "alice")
	ran := 0
	run := func(at time.Duration) {
		must(t, do(ctx, alice.Agent, func(tn *turn) error {
			tn.now = tn.now.Add(at)
			must(t, tn.clean())
			_, err := once(tn, "k", "test", nil, func() (int, error) { ran++; return ran, nil })
			return err
		}))
	}
	run(0)
	run(onceKept - time.Hour)
	if ran != 1 {
		t.Error("ran", ran, "times")
	}
	run(onceKept + time.Hour)
	if ran != 2 {
		t.Error("ran", ran, "times after the result was forgotten")
	}
}

func TestRefusals(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	ab, _ := connect(t, alice, bob)
	lonely := newAgent(t, "lonely")
	_, _, err := lonely.CreateConnection(ctx, CreateOptions{})
	wantError(t, "create without relays", err, ErrNoRelay)
	_, err = lonely.GroupJoin(ctx, "an invitation", nil)
	wantError(t, "join a group without relays", err, ErrNoRelay)
	_, err = lonely.JoinConnection(ctx, "simplex:/nonsense", JoinOptions{})
	wantError(t, "join nonsense", err, &conn.Error{Code: conn.CodeLink})
	_, err = alice.Send(ctx, ab, Outgoing{Body: []byte(groupPrefix + "x")})
	wantError(t, "send a group frame", err, ErrReserved)
	_, err = alice.Send(ctx, ab, Outgoing{Body: make([]byte, 16000)})
	wantError(t, "send too much", err, &conn.Error{Code: conn.CodeLarge})
	_, err = alice.Send(ctx, "nobody", Outgoing{})
	wantError(t, "send to nobody", err, ErrNoConnection)
	wantError(t, "allow nothing", alice.Allow(ctx, ab, "none", nil), ErrNoConnection)
	wantError(t, "acknowledge nothing", alice.Ack(ctx, ab, 99, nil), ErrNoConnection)
	wantError(t, "reject nothing", alice.Reject(ctx, ab, "none"), ErrNoConnection)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := alice.Connections(ended); err == nil {
		t.Error("call with an ended context")
	}
	closed := lonely.Agent
	lonely.close()
	_, err = closed.Connections(ctx)
	wantError(t, "call after Close", err, ErrClosed)
	for _, err := range closed.Events(ctx, "x") {
		wantError(t, "events after Close", err, ErrClosed)
	}
	must(t, closed.Close(ctx))
}
