package grouproto

import (
	"math/rand/v2"
	"time"
)

// faults are what relays, clocks and processes do wrong in a simulation. A nil *faults does nothing wrong. It has
// randomness of its own, so that a fault less does not change everything else that is drawn.
type faults struct {
	rng      *rand.Rand
	count    map[string]int     // what has gone wrong, by kind
	kill     float64            // share of steps behind which the process ends in the middle of their effects
	lose     float64            // share of bodies, confirmations and frames between contacts that a relay takes and loses
	repeat   float64            // share of bodies that arrive twice
	late     float64            // share of bodies that later ones overtake
	cut      map[[2]*node]bool  // nothing leaves the first for the second
	offline  map[*node]bool     // cannot make connections
	contacts map[[2]*node]bool  // contact connections that are gone
	event    func(*node, Event) // sees every event of a client
}

// faultKinds are all that goes wrong in the hostile simulation, as counted.
var faultKinds = []string{
	"fault body lost", "fault confirmation lost", "fault frame between contacts lost", "fault body repeated", "fault body overtaken", "fault cut off", "fault group cut in two", "fault no relay",
	"fault contact gone", "fault queue full", "fault queue lost", "fault stopped", "fault killed behind a commit", "fault killed between steps",
	"fault transaction failed", "fault clock set forward", "fault clock set back", "fault store gone back",
}

func newFaults(seed uint64) *faults {
	return &faults{
		rng: rand.New(rand.NewPCG(seed, 2)), cut: map[[2]*node]bool{}, offline: map[*node]bool{},
		contacts: map[[2]*node]bool{}, count: map[string]int{},
	}
}

// stop ends all faults.
func (f *faults) stop() {
	f.kill, f.lose, f.repeat, f.late = 0, 0, 0, 0
	clear(f.cut)
	clear(f.offline)
}

func (f *faults) chance(p float64) bool { return p > 0 && f.rng.Float64() < p }

// hit counts what goes wrong and tells whether it does.
func (f *faults) hit(kind string, happens bool) bool {
	if f != nil && happens {
		f.count["fault "+kind]++
	}
	return happens
}

func (f *faults) killed(n *node) bool {
	return f != nil && n.filter == nil && f.hit("killed behind a commit", f.chance(f.kill))
}

// members tells whether both ends of a connection are members already. Until then nothing is repeated or overtaken: what
// is sent while a connection is made has its order from the connection layer.
func (f *faults) members(c *simConn) bool {
	a, b := c.owner.g, c.peer.owner.g
	return a != nil && b != nil && a.main.status != StatusJoining && b.main.status != StatusJoining
}

// loses tells whether a relay loses what is sent, be it a body, a confirmation or a frame between contacts.
func (f *faults) loses(what string) bool {
	return f != nil && f.hit(what+" lost", f.chance(f.lose))
}

func (f *faults) repeats(c *simConn) bool {
	return f != nil && f.members(c) && f.hit("body repeated", f.chance(f.repeat))
}

func (f *faults) overtaken(c *simConn) bool {
	return f != nil && c.peer != nil && f.members(c) && f.hit("body overtaken", f.chance(f.late))
}

// wait is how long a connection has to wait before it tries again; 0: not at all.
func (f *faults) wait(c *simConn) time.Duration {
	if f == nil || c.peer == nil || !f.cut[[2]*node{c.owner, c.peer.owner}] {
		return 0
	}
	f.hit("cut off", true)
	return 20 * time.Second
}

func (f *faults) noRelay(n *node) bool { return f != nil && f.hit("no relay", f.offline[n]) }

func (f *faults) contactGone(a, b *node) bool {
	return f != nil && f.hit("contact gone", f.contacts[[2]*node{a, b}] || f.contacts[[2]*node{b, a}])
}

// told hands an event to whoever watches.
func (f *faults) told(n *node, e Event) {
	if f != nil && f.event != nil {
		f.event(n, e)
	}
}
