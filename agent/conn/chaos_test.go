package conn

import (
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent/link"
	"pgregory.net/rapid"
)

// TestChaos lets two agents connect and talk while operations are lost or answered late, agents crash, queues fill up and
// everything happens in any order. Once the trouble ends, everything has arrived, once and in order.
func TestChaos(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.Uint64().Draw(t, "seed"))
		a, b := w.node("alice"), w.node("bob")
		a.allow = []byte("alice's info")
		a.receipt, b.receipt = true, true
		forms[rapid.IntRange(0, len(forms)-1).Draw(t, "form")].prepare(a, b)
		a.relay.quota = rapid.SampledFrom([]int{10, 128}).Draw(t, "quota")
		b.relay.quota = a.relay.quota
		a.create(link.Invitation)

		c := chaos{t: t, w: w, nodes: []*node{a, b}, sent: map[*node][]string{}}
		w.choose = func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "next") }
		w.lose = func(*node, Operation) fate {
			return rapid.SampledFrom([]fate{arrives, arrives, arrives, lost, answerLost}).Draw(t, "fate")
		}
		w.disturb = c.disturb
		for range rapid.IntRange(10, 150).Draw(t, "steps") {
			c.act()
		}
		w.lose, w.disturb = nil, nil
		c.heal()
		checkMessages(t, a, b, c.sent[a])
		checkMessages(t, b, a, c.sent[b])
	})
}

type chaos struct {
	t     *rapid.T
	w     *world
	nodes []*node
	sent  map[*node][]string
	quiet bool // no crash inside a crash
}

func (c *chaos) disturb(n *node) {
	if c.quiet || rapid.IntRange(0, 19).Draw(c.t, "crash") != 0 {
		return
	}
	c.quiet = true
	crashes[rapid.IntRange(0, len(crashes)-1).Draw(c.t, "how")].do(n)
	c.quiet = false
}

// act lets one thing happen.
func (c *chaos) act() {
	a, b := c.nodes[0], c.nodes[1]
	if l, ok := event[LinkReady](a); ok && b.conn == nil {
		if err := b.join(l.Link, "bob's info"); err != nil {
			c.t.Fatal(err)
		}
	}
	n := rapid.SampledFrom(c.nodes).Draw(c.t, "node")
	switch rapid.IntRange(0, 9).Draw(c.t, "act") {
	case 0, 1:
		c.send(n)
	case 2, 3:
		n.client()
	case 4:
		c.w.wait(10 * time.Minute)
	case 5:
		if n.conn != nil {
			n.must(Retry{})
		}
	default:
		if do := c.w.choices(); len(do) > 0 {
			do[c.w.choose(len(do))]()
		}
	}
}

// send queues a message if the node may send.
func (c *chaos) send(n *node) {
	if n.conn == nil || n.conn.begin(n.env()).sendable() != nil {
		return
	}
	ref := fmt.Sprint(n.name, len(c.sent[n]))
	if n.step(Send{Body: []byte("body " + ref), Ref: ref}) != nil {
		c.t.Fatal("refused")
	}
	for _, q := range all[Queued](n) {
		if q.Ref == ref { // else a crash has undone it
			c.sent[n] = append(c.sent[n], ref)
		}
	}
}

// heal ends the trouble and lets everything settle.
func (c *chaos) heal() {
	a, b := c.nodes[0], c.nodes[1]
	for b.conn == nil {
		c.w.settle(time.Hour)
		if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
			c.t.Fatal(err)
		}
	}
	c.w.settle(24 * time.Hour)
	checkConnected(c.t, a, b)
}
