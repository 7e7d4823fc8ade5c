package server_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store/sqlite"
)

// queueInput is a command of one of several clients that use the same queue.
type queueInput struct {
	command string // send, get or ack
	body    string // to send, or of the message that is acknowledged
}

const (
	linearQuota  = 3
	linearMarker = "marker"
)

// queueModel is one queue, as if commands were run one after the other. The state is the bodies in order. The marker's ID
// is not known before somebody reads it; from then on it is part of the state.
var queueModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		waiting := strings.Fields(state.(string))
		in, out := input.(queueInput), output.(string)
		switch in.command {
		case "send":
			switch n := len(waiting); {
			case n > 0 && strings.HasPrefix(waiting[n-1], linearMarker):
				return out == "quota", state
			case n == linearQuota:
				return out == "quota", strings.Join(append(waiting, linearMarker), " ")
			default:
				return out == "ok", strings.Join(append(waiting, in.body), " ")
			}
		case "get":
			if len(waiting) == 0 {
				return out == "empty", state
			}
			if waiting[0] == linearMarker && strings.HasPrefix(out, linearMarker+":") {
				waiting[0] = out
			}
			return out == waiting[0], strings.Join(waiting, " ")
		default:
			if len(waiting) > 0 && waiting[0] == in.body {
				waiting = waiting[1:]
			}
			return out == "ok", strings.Join(waiting, " ")
		}
	},
}

// TestHistoryIsLinearizable has several clients send to, read and acknowledge one queue at the same time. What they saw
// must be what they would have seen one after the other.
func TestHistoryIsLinearizable(t *testing.T) {
	s, err := sqlite.Open(filepath.Join(t.TempDir(), "relay.db"), sqlite.Options{Quota: linearQuota})
	must(t, err)
	defer s.Close()
	r := startRelayOn(t, s, nil)
	for round := range 5 {
		q := r.connect(t).newInbox(queue.NEW{Mode: queue.ModeContact})
		const clients, each = 4, 25
		var mu sync.Mutex
		var history []porcupine.Operation
		var workers sync.WaitGroup
		seed := rand.Uint64()
		for n := range clients {
			c := r.connect(t)
			random := rand.New(rand.NewPCG(seed, uint64(n)))
			workers.Go(func() {
				u := linearClient{client: c, box: q}
				for i := range each {
					op := porcupine.Operation{ClientId: n, Call: time.Now().UnixNano()}
					op.Input, op.Output = u.step(random, fmt.Sprintf("m%d-%d", n, i))
					op.Return = time.Now().UnixNano()
					mu.Lock()
					history = append(history, op)
					mu.Unlock()
				}
			})
		}
		workers.Wait()
		if t.Failed() {
			return
		}
		if result := porcupine.CheckOperationsTimeout(queueModel, history, patience); result != porcupine.Ok {
			t.Fatalf("round %d, seed %d: history of %d commands is %v", round, seed, len(history), result)
		}
	}
}

// linearClient uses the queue with GET.
type linearClient struct {
	*client
	box       inbox
	delivered queue.ID // outstanding message
	body      string
}

// step runs a random command and returns it with what it answered.
func (u *linearClient) step(random *rand.Rand, body string) (queueInput, string) {
	switch choice := random.IntN(3); {
	case choice == 0:
		switch answer := u.do(u.box.sender, unsigned, send(body)); answer {
		case queue.OK{}:
			return queueInput{"send", body}, "ok"
		case queue.ERR{Err: queue.ErrQuota}:
			return queueInput{"send", body}, "quota"
		default:
			u.t.Errorf("answer to SEND is %s", show(answer))
			return queueInput{}, ""
		}
	case choice == 1 && u.delivered != "":
		in := queueInput{"ack", u.body}
		u.wantOK(u.box.recipient, u.box.key, queue.ACK{MessageID: u.delivered})
		u.delivered = ""
		return in, "ok"
	default:
		answer := u.do(u.box.recipient, u.box.key, queue.GET{})
		if answer == (queue.OK{}) {
			u.delivered = ""
			return queueInput{command: "get"}, "empty"
		}
		m, id := u.box.open(u.t, answer)
		u.delivered, u.body = id, string(m.Body)
		if m.Quota {
			u.body = linearMarker + ":" + id.Text()
		}
		return queueInput{command: "get"}, u.body
	}
}
