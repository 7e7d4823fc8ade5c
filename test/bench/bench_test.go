// Package bench_test measures whole systems: joining a group, and a message to all its members, with agents and a durable
// relay in this process. docs/performance.md has the results and how to repeat them.
package bench_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/test/world"
)

// sizes are the group sizes that are measured, from COTERIE_BENCH_MEMBERS or these.
func sizes(b *testing.B) []int {
	text := os.Getenv("COTERIE_BENCH_MEMBERS")
	if text == "" {
		text = "3,10,30"
	}
	var all []int
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 2 {
			b.Fatalf("COTERIE_BENCH_MEMBERS: %q", word)
		}
		all = append(all, n)
	}
	return all
}

// processor returns the processor time of this process so far.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func groupMessages(members []*world.Agent) (n uint64) {
	for _, m := range members {
		n += m.Counters().Sent[agent.OwnerGroup]
	}
	return n
}

// BenchmarkGroup builds a group member by member. For each size it reports the join of the last member and then messages
// to all. It must be run with -benchtime=1x: one round is one group.
func BenchmarkGroup(b *testing.B) {
	for _, n := range sizes(b) {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			for b.Loop() {
				measure(b, n)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func measure(b *testing.B, n int) {
	relay := world.StartRelay(b)
	founder := world.NewAgent(b, relay)
	world.Found(b, founder)
	members := []*world.Agent{founder}
	for len(members) < n {
		joiner := world.NewAgent(b, relay)
		contact, _ := world.Befriend(b, founder, joiner)
		before, cpu, begun := groupMessages(members), processor(b), time.Now()
		world.Join(b, members, founder, contact, joiner)
		if len(members) == n-1 {
			took := time.Since(begun)
			b.ReportMetric(float64(took.Milliseconds()), "join-ms")
			b.ReportMetric(float64((processor(b)-cpu).Microseconds())/float64(len(members)), "join-cpu-us/pair")
			b.ReportMetric(float64(groupMessages(append(members, joiner))-before+2), "join-messages")
		}
		members = append(members, joiner)
	}
	fanOut(b, members)
}

// fanOut sends messages of one member to all others and waits each time until the last has it.
func fanOut(b *testing.B, members []*world.Agent) {
	const messages = 20
	author, others := members[0], members[1:]
	body := make([]byte, 1000)
	cpu, begun := processor(b), time.Now()
	for range messages {
		id, err := author.GroupSend(b.Context(), author.Group, agent.Outgoing{Body: body})
		if err != nil {
			b.Fatal(err)
		}
		for _, m := range others {
			world.Await(m, 0, func(_ agent.Event, g *agent.GroupMessage) bool {
				return g.Message.Author == id.Author && g.Message.Number == id.Number
			})
		}
	}
	took := time.Since(begun)
	b.ReportMetric(float64(took.Microseconds())/messages/1000, "fanout-ms")
	b.ReportMetric(float64((processor(b)-cpu).Microseconds())/messages/float64(len(others)), "fanout-cpu-us/member")
}
