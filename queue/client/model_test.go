package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/coterie-im/coterie/queue"
)

// fault is what goes wrong with one request or one attempt to connect.
type fault int

const (
	none       fault = iota
	lostBefore       // connection lost, request not executed
	lostAfter        // connection lost, request executed, answer not sent
	ignored          // neither executed nor answered
	faults
)

// modelRelay is a relay with the rules of delivery, and faults from a script.
type modelRelay struct {
	mu     sync.Mutex
	script []fault // for requests, first to last; none afterwards
	refuse []bool  // for attempts to connect
	queues map[queue.ID]*modelQueue
	left   int           // messages that are not acknowledged
	done   chan struct{} // closed when there are none
}

type modelQueue struct {
	messages   []queue.MSG
	subscriber *link
	delivered  bool // the first one, to subscriber
}

func (r *modelRelay) dial(t *testing.T) DialFunc {
	dialer := newRelay(t, 9)
	return func(ctx context.Context) (Conn, error) {
		r.mu.Lock()
		refused := len(r.refuse) > 0 && r.refuse[0]
		r.refuse = r.refuse[min(1, len(r.refuse)):]
		r.mu.Unlock()
		if refused {
			return nil, errors.New("refused")
		}
		a := &attempt{answer: make(chan dialResult, 1)}
		l := dialer.acceptAttempt(a)
		go r.serve(l)
		return l, nil
	}
}

func (r *modelRelay) serve(l *link) {
	for {
		select {
		case payload := <-l.toRelay:
			for _, q := range queue.DecodeBlock(l.version, l.sessionID, payload) {
				for _, a := range r.handle(l, q) {
					select {
					case l.toClient <- onePayload(queue.AppendAnswer(nil, l.version, l.sessionID, a)):
					case <-l.closed:
						return
					}
				}
			}
		case <-l.closed:
			return
		}
	}
}

func (r *modelRelay) handle(l *link, q queue.Request) []queue.Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	happens := none
	if len(r.script) > 0 {
		happens, r.script = r.script[0], r.script[1:]
	}
	switch happens {
	case lostBefore:
		_ = l.Close()
		return nil
	case lostAfter:
		r.execute(l, q)
		_ = l.Close()
		return nil
	case ignored:
		return nil
	default:
		return r.execute(l, q)
	}
}

func (r *modelRelay) execute(l *link, q queue.Request) []queue.Answer {
	m := r.queues[q.EntityID]
	switch c := q.Command.(type) {
	case queue.PING:
		return []queue.Answer{q.Answer(queue.PONG{})}
	case queue.SUB:
		m.subscriber = l
		m.delivered = len(m.messages) > 0
		if m.delivered {
			return []queue.Answer{q.Answer(queue.OK{}), {EntityID: q.EntityID, Response: m.messages[0]}}
		}
	case queue.ACK:
		if m.subscriber != l || !m.delivered || m.messages[0].ID != c.MessageID {
			return []queue.Answer{q.Answer(queue.ERR{Err: queue.ErrNoMsg})}
		}
		m.messages = m.messages[1:]
		m.delivered = len(m.messages) > 0
		if r.left--; r.left == 0 {
			close(r.done)
		}
		if m.delivered {
			return []queue.Answer{q.Answer(m.messages[0])}
		}
	default:
		panic("the model does not know " + q.Command.Tag())
	}
	return []queue.Answer{q.Answer(queue.OK{})}
}

// Whatever goes wrong, every message comes, in the order of its queue, as long as things do not go wrong for ever.
func TestModelEveryMessageComes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		queues := rapid.IntRange(1, 6).Draw(rt, "queues")
		perQueue := rapid.IntRange(1, 4).Draw(rt, "messages per queue")
		limit := rapid.IntRange(1, 5).Draw(rt, "event limit")
		pause := time.Duration(rapid.IntRange(0, 20).Draw(rt, "consumer's seconds per event")) * time.Second
		relay := &modelRelay{
			script: rapid.SliceOfN(rapid.Map(rapid.IntRange(0, int(faults)-1), func(i int) fault { return fault(i) }), 0, 30).Draw(rt, "faults"),
			refuse: rapid.SliceOfN(rapid.Bool(), 0, 10).Draw(rt, "refused"),
			queues: make(map[queue.ID]*modelQueue),
			left:   queues * perQueue,
		}
		var problem error
		synctest.Test(t, func(t *testing.T) { problem = runModel(t, relay, queues, perQueue, limit, pause) })
		if problem != nil {
			rt.Fatal(problem)
		}
	})
}

func runModel(t *testing.T, relay *modelRelay, queues, perQueue, limit int, pause time.Duration) error {
	relay.done = make(chan struct{})
	for i := range queues {
		m := new(modelQueue)
		for n := range perQueue {
			m.messages = append(m.messages, testMSG(n))
		}
		relay.queues[testQueue(i).ID] = m
	}
	c := Start(Config{Dial: relay.dial(t), Jitter: noJitter, EventLimit: limit, InFlight: 4})
	defer c.Close()
	background(func() []error { return c.Subscribe(t.Context(), testQueues(queues)...) })

	seen := make(map[queue.ID]int) // messages of a queue that have come
	giveUp := time.After(24 * time.Hour)
	for {
		select {
		case <-relay.done:
			for i := range queues {
				if got := seen[testQueue(i).ID]; got != perQueue {
					return fmt.Errorf("%d messages of queue %d", got, i)
				}
			}
			return nil
		case <-giveUp:
			return errors.New("messages are missing after a day")
		case e := <-c.Events():
			time.Sleep(pause) // of the bubble's clock: how long the consumer takes
			m, ok := e.(Message)
			if !ok {
				continue
			}
			n := int(m.Msg.ID[23])
			switch {
			case n > seen[m.Queue]:
				return fmt.Errorf("message %d after %d", n, seen[m.Queue])
			case n == seen[m.Queue]:
				seen[m.Queue]++
			}
			q := testQueue(int(m.Queue[1]))
			err := c.Ack(t.Context(), q, m.Msg.ID)
			for err != nil && Classify(err) == Temporary {
				time.Sleep(time.Second)
				err = c.Ack(t.Context(), q, m.Msg.ID)
			}
			if err != nil && !errors.Is(err, queue.ErrNoMsg) {
				return err
			}
		}
	}
}
