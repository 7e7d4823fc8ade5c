package conn

import (
	"testing"

	"github.com/coterie-im/coterie/queue"
)

// BenchmarkMessage is one message from the client of one agent to that of another and its acknowledgements: both state
// machines, all encryption between agents and from the relay, storage in memory.
func BenchmarkMessage(b *testing.B) {
	w, alice, bob := pair(b)
	connectPair(b, w, alice, bob)
	q := bob.relay.queues[0]
	body := make([]byte, 1000)
	step := func(n *node, in Input) (op Operation) {
		effects, err := n.conn.Step(n.env(), in)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range effects {
			if o, ok := e.(Operation); ok {
				op = o
			}
		}
		return op
	}
	for b.Loop() {
		d := step(alice, Send{Body: body}).(Deliver)
		sealed, err := d.Body()
		if err != nil {
			b.Fatal(err)
		}
		step(alice, OperationDone{d.Name()})
		q.accept(queue.Message{Time: w.now.Unix(), Body: sealed})
		step(bob, q.deliver())
		ack := step(bob, AckMessage{ID: bob.conn.lastID}).(AckQueue)
		q.acknowledge(ack.Message)
		step(bob, OperationDone{ack.Name()})
	}
}
