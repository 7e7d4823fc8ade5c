package agent

import (
	"context"
	"path/filepath"
	"testing"

	sealed "github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/client"
)

// takingRelay takes every message at once, and answers when it is told to.
type takingRelay struct {
	*slowRelay
	taken chan func() // each answers the messages of one Post
}

func (r *takingRelay) Post(messages []client.Outgoing, done func([]client.Posted)) {
	posted := make([]client.Posted, len(messages))
	for i := range posted {
		posted[i].Index = i
	}
	r.taken <- func() { done(posted) }
}

func (r *takingRelay) Key(context.Context, client.Queue, keys.Public) error { return nil }

// TestMessageToAllIsOneBodyAndOneMovePerMember counts what a message to a group costs the store: one row for the body,
// one of the journal and the count of commits when it is queued, the same when relays have taken it, whatever the number
// of members. In the journal are, for each member, a message in the outbox, three numbers that move on, and their end.
func TestMessageToAllIsOneBodyAndOneMovePerMember(t *testing.T) {
	var queued, answered []sealed.Written
	sizes := []int{52, 64} // without an event for each recipient, and under way all at once
	for _, members := range sizes {
		server := queue.Server{Hosts: []string{"127.0.0.1"}, Port: "5223"}
		l := newLargeGroup(t, server)
		g := l.found(members)
		path := filepath.Join(t.TempDir(), "agent.db")
		l.writeAgent(path)
		taking := &takingRelay{newSlowRelay(), make(chan func(), 1)}
		a, err := Open(t.Context(), Config{
			Store: path, Key: testKey, Spread: -1, Relays: []queue.Server{server},
			relay: func(queue.Server) relay { return taking },
		})
		must(t, err)
		waitSubscribed(t, a, members-1)
		written := func() (w sealed.Written) {
			must(t, do(t.Context(), a, func(u *turn) error {
				w = u.store.Written()
				return nil
			}))
			return w
		}
		send := func() (queued, answered sealed.Written) {
			before := written()
			target := a.sent[OwnerGroup.index()].Load() + uint64(members-1)
			_, err := a.GroupSend(t.Context(), g.id, Outgoing{Body: make([]byte, 1000)})
			must(t, err)
			sent := written()
			(<-taking.taken)()
			await(t, func() bool { return a.sent[OwnerGroup.index()].Load() == target })
			after := written()
			return sealed.Written{Rows: sent.Rows - before.Rows, Records: sent.Records - before.Records},
				sealed.Written{Rows: after.Rows - sent.Rows, Records: after.Records - sent.Records}
		}
		send() // states of older formats become new ones
		q, d := send()
		queued, answered = append(queued, q), append(answered, d)
		t.Logf("%d members: %+v to queue it, %+v for the answers", members, q, d)
		must(t, a.Close(t.Context()))
	}
	for i := range sizes {
		// The body, an entry of the journal and the count of commits, both times.
		if queued[i].Rows != 3 || answered[i].Rows != 3 {
			t.Errorf("rows: %d and %d", queued[i].Rows, answered[i].Rows)
		}
	}
	more := sizes[1] - sizes[0]
	// The message in the outbox with its keys, the connection's numbers, the sending chain, the cursor.
	if n := queued[1].Records - queued[0].Records; n != 4*more {
		t.Errorf("%d records to queue a message for %d more", n, more)
	}
	// The outbox and the cursor.
	if n := answered[1].Records - answered[0].Records; n != 2*more {
		t.Errorf("%d records for %d more answers", n, more)
	}
}
