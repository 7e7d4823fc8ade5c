// Package bench_test measures whole systems: joining a group, and a message to all its members, with agents and a durable
// relay in this process. docs/performance.md has the results and how to repeat them.
package bench_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/queue"
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
		if err != nil || n < 3 {
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

// cost is what members have spent: agent messages, relay commands, bytes on the wire both ways, and the
// processor time of this process, with the relay in it.
type cost struct {
	messages, commands, bytes uint64
	cpu                       time.Duration
	at                        time.Time
}

// group is the agents in a group and what they all send and receive.
type group struct {
	members []*world.Agent
	bytes   atomic.Uint64
}

func (g *group) cost(b *testing.B) cost {
	c := cost{bytes: g.bytes.Load(), cpu: processor(b), at: time.Now()}
	for _, m := range g.members {
		counters := m.Counters()
		for _, n := range counters.Sent {
			c.messages += n
		}
		for _, n := range counters.Commands {
			c.commands += n
		}
	}
	return c
}

// report prints what was spent since then, per so many.
func (g *group) report(b *testing.B, name string, before cost, per int) {
	now, n := g.cost(b), float64(per)
	b.ReportMetric(float64(now.at.Sub(before.at).Microseconds())/n/1000, name+"-ms")
	b.ReportMetric(float64(now.messages-before.messages)/n, name+"-messages")
	b.ReportMetric(float64(now.commands-before.commands)/n, name+"-commands")
	b.ReportMetric(float64(now.bytes-before.bytes)/n/1024, name+"-KB")
	b.ReportMetric(float64((now.cpu-before.cpu).Microseconds())/n/1000, name+"-cpu-ms")
}

// agent makes an agent whose bytes are counted.
func (g *group) agent(b *testing.B, relay queue.Server) *world.Agent {
	return world.NewAgent(b, relay, func(c *agent.Config) { c.Dialer = countingDialer{&g.bytes} })
}

type countingDialer struct{ bytes *atomic.Uint64 }

func (d countingDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var system net.Dialer
	c, err := system.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return countingConn{c, d.bytes}, nil
}

type countingConn struct {
	net.Conn
	bytes *atomic.Uint64
}

func (c countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.bytes.Add(uint64(n))
	return n, err
}

func (c countingConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.bytes.Add(uint64(n))
	return n, err
}

// BenchmarkGroup builds a group member by member. For each size it reports the join of the last member, messages to all,
// the removal of a member, and that one leaves. It must be run with -benchtime=1x: one round is one group.
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
	g := &group{}
	founder := g.agent(b, relay)
	world.Found(b, founder)
	g.members = append(g.members, founder)
	for len(g.members) < n {
		joiner := g.agent(b, relay)
		contact, _ := world.Befriend(b, founder, joiner)
		others := g.members
		g.members = append(slices.Clone(others), joiner)
		before := g.cost(b)
		world.Join(b, others, founder, contact, joiner)
		if len(g.members) == n {
			g.report(b, "join", before, 1)
		}
	}
	before := g.cost(b)
	const messages = 20
	fanOut(b, g.members, messages)
	g.report(b, "fanout", before, messages)

	removed := g.members[n-1]
	before = g.cost(b)
	must(b, founder.GroupRemove(b.Context(), founder.Group, agent.RemoveOptions{Members: []agent.MemberID{removed.Self}}))
	for _, m := range g.members[1 : n-1] {
		world.Await(m, 0, func(_ agent.Event, e *agent.MemberRemoved) bool { return e.Member == removed.Self })
	}
	world.Await(removed, 0, func(agent.Event, *agent.Removed) bool { return true })
	g.report(b, "remove", before, 1)

	left := g.members[n-2]
	before = g.cost(b)
	must(b, left.GroupLeave(b.Context(), left.Group))
	for _, m := range g.members[:n-2] {
		world.Await(m, 0, func(_ agent.Event, e *agent.MemberLeft) bool { return e.Member == left.Self })
	}
	g.report(b, "leave", before, 1)
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// fanOut sends messages of one member to all others and waits each time until the last has it.
func fanOut(b *testing.B, members []*world.Agent, messages int) {
	author, others := members[0], members[1:]
	body := make([]byte, 1000)
	for range messages {
		id, err := author.GroupSend(b.Context(), author.Group, agent.Outgoing{Body: body})
		must(b, err)
		for _, m := range others {
			world.Await(m, 0, func(_ agent.Event, g *agent.GroupMessage) bool {
				return g.Message.Author == id.Author && g.Message.Number == id.Number
			})
		}
	}
}
