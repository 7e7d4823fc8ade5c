package agent

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// fullStore is a relay's store that has no room while full is set.
type fullStore struct {
	store.Store
	full    atomic.Bool
	refused atomic.Int64
}

var errNoRoom = errors.New("no room")

func (s *fullStore) Create(ctx context.Context, q store.Queue) (*store.Commit, error) {
	if s.full.Load() {
		s.refused.Add(1)
		return nil, errNoRoom
	}
	return s.Store.Create(ctx, q)
}

func (s *fullStore) Send(ctx context.Context, recipient queue.ID, m store.Message) (store.Sent, *store.Commit, error) {
	if s.full.Load() {
		s.refused.Add(1)
		return store.Sent{}, nil, errNoRoom
	}
	return s.Store.Send(ctx, recipient, m)
}

// A relay whose disk is full takes no messages and makes no queues. What is sent meanwhile waits, the sender of a contact is
// warned with a reason, and once there is room everything arrives, once; who was joining goes on.
func TestRelayWithAFullDisk(t *testing.T) {
	ctx := t.Context()
	disk := &fullStore{Store: store.NewMemory(128)}
	relay := startRelay(t)
	relay.stop()
	relay.store = disk
	relay.start()
	c := newCircle(t, GroupOptions{}, newAgents(t, relay, "alice", "bob", "cathy")...)
	alice, guest := c.agents[0], newAgent(t, "guest", relay)
	contact, of := connect(t, alice, guest)

	disk.full.Store(true)
	sent, err := alice.GroupSend(ctx, c.groups[0], Outgoing{Body: []byte("to all")})
	must(t, err)
	_, err = alice.Send(ctx, contact, Outgoing{Body: []byte("to the contact")})
	must(t, err)
	if w := expect[SendDelayed](alice, connectionEntity(contact)); w.Code != string(codeStore) {
		t.Errorf("alice is warned of %+v", w)
	}
	_, err = alice.GroupAdd(ctx, c.groups[0], contact, AddOptions{})
	must(t, err)
	await(t, func() bool { return disk.refused.Load() >= 3 }) // two members and the contact
	states, err := alice.GroupDelivery(ctx, c.groups[0], sent.Number)
	must(t, err)
	for _, s := range states {
		if s.State != "queued" && s.State != "sent" {
			t.Errorf("the message is %+v", s)
		}
	}

	disk.full.Store(false)
	m := expect[Message](guest, connectionEntity(of))
	must(t, guest.Ack(ctx, of, m.ID, nil))
	inv := expect[GroupInvitation](guest, connectionEntity(of))
	g, err := guest.GroupJoin(ctx, inv.Invitation, nil)
	must(t, err)
	c.agents, c.groups = append(c.agents, guest), append(c.groups, g)
	c.together()
	for i := 1; i < 3; i++ {
		if m := expect[GroupMessage](c.agents[i], c.groups[i].Entity()); string(m.Body) != "to all" {
			t.Errorf("member %d got %q", i, m.Body)
		}
	}
	c.say(3, "here I am")
	for i, a := range c.agents {
		if n := a.count("GMERR") + a.count("MERR") + a.count("ERR"); n != 0 {
			t.Errorf("agent %d: %s", i, a.describe())
		}
	}
}
