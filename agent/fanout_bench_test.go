package agent

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/transport"
)

// processor returns the processor time of this process so far.
func processor(t testing.TB) time.Duration {
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchNumbers are those of a variable, or these.
func benchNumbers(b *testing.B, variable, otherwise string) (all []int) {
	text := os.Getenv(variable)
	if text == "" {
		text = otherwise
	}
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.Atoi(word)
		must(b, err)
		all = append(all, n)
	}
	return all
}

// BenchmarkFanOut is the sender's side of messages to a group: from GSEND until a relay has confirmed a SEND for each
// member, with a durable store, over TLS. The relay is another process, with a durable store too. Beside the processor
// time of this process per recipient it reports that of the primitives, and the ratio. The primitives are measured
// before and after the messages, so that what else the machine does slows down both alike.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range benchNumbers(b, "COTERIE_BENCH_MEMBERS", "10,100,500") {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			folder := b.TempDir()
			relay := startChildRelay(b, folder)
			l := newLargeGroup(b, relay.address)
			g := l.found(n)
			store := filepath.Join(folder, "agent.db")
			l.writeAgent(store)
			l.writeRelay(filepath.Join(folder, "relay.db"))
			relay.serve(b)
			commits := 0 // written by the loop only
			a, err := Open(b.Context(), Config{
				Store: store, Key: testKey, Spread: -1, Relays: []queue.Server{relay.address}, AfterCommit: func(n int) { commits = n },
			})
			must(b, err)
			defer a.Close(b.Context())
			waitSubscribed(b, a, n-1)
			body := make([]byte, 1000)
			_, err = rand.Read(body)
			must(b, err)
			id := g.id
			send := func() { fanOutOnce(b, a, id, body, n-1) }
			send()
			l, g = nil, nil
			parts := primitives(b, relay.sink)
			measure(b, parts)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			cpu, begun := processor(b), time.Now()
			rounds, committed := 0, commits
			for b.Loop() {
				send()
				rounds++
			}
			took, spent := time.Since(begun), processor(b)-cpu
			runtime.ReadMemStats(&after)
			committed = commits - committed
			measure(b, parts)
			sends := float64(rounds * (n - 1))
			each := float64(spent.Microseconds()) / sends
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(each, "cpu-us/member")
			sum := 0.0
			for _, p := range parts {
				sum += p.each()
				b.ReportMetric(p.each(), p.name+"-us")
			}
			b.ReportMetric(sum, "primitives-us")
			b.ReportMetric(each/sum, "ratio")
			b.ReportMetric(float64(committed)/float64(rounds), "commits")
			b.ReportMetric(float64(took.Milliseconds())/float64(rounds), "fanout-ms")
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/sends/1024, "KB/member")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/sends, "allocs/member")
		})
	}
}

// fanOutOnce sends a message and waits until relays have taken it for everybody.
func fanOutOnce(b *testing.B, a *Agent, g GroupID, body []byte, recipients int) {
	target := a.sent[OwnerGroup.index()].Load() + uint64(recipients)
	_, err := a.GroupSend(b.Context(), g, Outgoing{Body: body})
	must(b, err)
	await(b, func() bool { return a.sent[OwnerGroup.index()].Load() >= target })
}

// waitSubscribed waits until so many queues are subscribed.
func waitSubscribed(t testing.TB, a *Agent, queues int) {
	t.Helper()
	await(t, func() bool {
		up := 0
		must(t, do(t.Context(), a, func(u *turn) error {
			if len(u.loop.boot) > 0 {
				return nil
			}
			for _, s := range u.loop.sessions {
				for _, q := range s.queues {
					if q.state == queueUp {
						up++
					}
				}
			}
			return nil
		}))
		return up == queues
	})
}

// primitive is one of the things that no sender of a full block for one recipient can do without.
type primitive struct {
	name  string
	do    func()
	calls int
	spent time.Duration
}

// primitives are the ratchet's keys and sealing, the box of the queue, the signature of the command, and the block in a
// TLS record.
func primitives(b *testing.B, relay queue.Server) []primitive {
	return []primitive{
		{name: "ratchet", do: ratchetPrimitive(b)},
		{name: "box", do: boxPrimitive(b)},
		{name: "authorization", do: authorizationPrimitive(b)},
		{name: "TLS", do: blockPrimitive(b, relay)},
	}
}

// measure runs each primitive alone for some time, and gives back the memory that this and all before has left.
func measure(t testing.TB, parts []primitive) {
	const calls = 2000
	for i := range parts {
		p := &parts[i]
		p.do()
		cpu := processor(t)
		for range calls {
			p.do()
		}
		p.calls, p.spent = p.calls+calls, p.spent+processor(t)-cpu
	}
	debug.FreeOSMemory()
}

// each is the processor time of one call in microseconds.
func (p *primitive) each() float64 { return float64(p.spent.Nanoseconds()) / float64(p.calls) / 1000 }

func ratchetPrimitive(b *testing.B) func() {
	state := newSendingRatchet(b)
	plain := make([]byte, 1100)
	return func() {
		keys, err := state.NextSending(ratchet.PQKeep, envelope.MessageLength(false, 7))
		must(b, err)
		_, err = keys.Seal(nil, plain)
		must(b, err)
		keys.Clear()
	}
}

// newSendingRatchet returns a joiner's ratchet.
func newSendingRatchet(b *testing.B) *ratchet.State {
	relay := queue.Server{Hosts: []string{"127.0.0.1"}, Port: "5223"}
	l := newLargeGroup(b, relay)
	l.found(2)
	state, err := ratchet.Load(l.ends[0].tx, []byte("r"), nil)
	must(b, err)
	return state
}

func boxPrimitive(b *testing.B) func() {
	var secret box.Secret
	_, err := rand.Read(secret[:])
	must(b, err)
	content := make([]byte, 15_900)
	return func() {
		c := envelope.Client{Version: 4}
		_, err := rand.Read(c.Nonce[:])
		must(b, err)
		_, err = c.Seal(&secret, envelope.PrivateHeader{}, content)
		must(b, err)
	}
}

func authorizationPrimitive(b *testing.B) func() {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(b, err)
	key := queue.FromEd25519(private)
	body := make([]byte, envelope.BodyMessage+50)
	return func() {
		_, err := key.Authorize(nil, "", body)
		must(b, err)
	}
}

func blockPrimitive(b *testing.B, relay queue.Server) func() {
	c, err := transport.Dial(b.Context(), nil, relay, transport.ClientConfig{})
	must(b, err)
	b.Cleanup(func() { _ = c.Close() })
	payload := make([]byte, c.MaxPayload())
	return func() { must(b, c.WriteBlock(payload)) }
}
