package grouproto

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/coterie-im/coterie/internal/kv"
)

// An honest member's whole store goes back to an old copy: the records of its group, its connections, and what its client
// was told. Connections that it has made since are gone for it and stay for the others, those that it has deleted since
// are refused by the relay, and the ratchets of the rest have parted where anything was said.

// oldStore is a copy of all that a node keeps.
type oldStore struct {
	tx    *kv.Memory
	used  map[string]int // messages per connection, either way
	state map[string]simRatchet
	got   map[string]int
	texts map[string]string
	prior map[string]Key // who gave what was told
	next  uint64         // the own number to come
}

// wentBack is what a node has lost.
type wentBack struct {
	from uint64             // the first own number that is not in the copy
	said map[MessageID]bool // own messages that are not in it
}

// backup copies a node's store, once in a run, be it that connections are just being made: a copy of a request that has been
// answered since then comes to life. A ratchet that is being made again is not copied.
func (h *hostile) backup(rng *rand.Rand) {
	n := pick(rng, h.honest())
	if n == nil || h.copied != nil || n.g.main.status != StatusMember || !n.alone() {
		return
	}
	quiet := true
	for _, p := range n.g.order {
		for _, c := range p.conns {
			quiet = quiet && c.rebound.fit == fits
		}
	}
	if quiet {
		h.copied, h.copy = n, &oldStore{n.tx.Clone(), map[string]int{}, map[string]simRatchet{}, maps.Clone(n.got), maps.Clone(n.texts), maps.Clone(h.prior), n.g.main.next}
		for _, c := range h.made {
			if c.owner == n && !c.deleted {
				h.copy.used[c.name], h.copy.state[c.name] = c.used(), c.ratchet
			}
		}
	}
}

// used is how many messages have gone over a connection.
func (c *simConn) used() int {
	n := c.carried
	if c.peer != nil && c.peer.peer == c {
		n += c.peer.carried
	}
	return n
}

// goBack lets the node whose store was copied start from the copy, once in a run.
func (h *hostile) goBack() {
	n := h.copied
	if n == nil || h.lostBy[n] != nil || n.g.main.status != StatusMember || !n.alone() {
		return
	}
	lost := &wentBack{from: h.copy.next, said: map[MessageID]bool{}}
	for _, number := range n.numbers(0) {
		if k, ok := loadKept(n.tx, 'm', n.g.self, number); ok && number >= lost.from && !k.vouched {
			lost.said[k.id] = true
		}
	}
	h.lostBy[n] = lost
	h.faults.hit("store gone back", true)
	n.stopped, n.held = true, nil
	n.tx, n.got, n.texts = h.copy.tx, h.copy.got, h.copy.texts
	for k := range h.prior {
		if strings.HasPrefix(k, n.name) {
			h.prior[k] = h.copy.prior[k]
		}
	}
	var refused []string
	for _, c := range h.made {
		if c.owner != n {
			continue
		}
		before, had := h.copy.used[c.name]
		c.out, c.busy = nil, false
		c.drained()
		switch {
		case !had:
			c.forgotten = true
		case c.deleted:
			refused = append(refused, c.name)
		default:
			if c.ratchet = h.copy.state[c.name]; c.used() != before {
				c.ratchet.state, c.ratchet.rebound = simOK, false
				c.part()
			}
		}
	}
	n.start()
	for _, name := range refused {
		n.later(h.delay(), func() { n.step(Failed{name, ReasonAuth}) })
	}
	for _, p := range n.g.order {
		for _, c := range p.conns {
			if c.state != connReady {
				h.faults.hit("store gone back to the making of a connection", true)
			}
			if name := c.name; c.state == connAllowed { // the connection layer goes on by itself
				n.later(h.delay(), func() { n.step(Connected{name}) })
			}
		}
	}
	n.reconnect()
	h.wasIn[n], h.seen[n] = true, n.g.log.Len()
}

// cameBack checks that what somebody has of the messages that a node had lost has come back to it.
func (h *hostile) cameBack(in []*node) {
	for _, n := range in {
		lost := h.lostBy[n]
		if lost == nil {
			continue
		}
		ids := slices.SortedFunc(maps.Keys(lost.said), func(a, b MessageID) int { return int(a.Number) - int(b.Number) })
		for _, id := range ids {
			k, ok := loadKept(n.tx, 'm', id.Author, id.Number)
			if via := h.nodeOf(k.viaOf(ok)); ok && (k.id == id || !k.vouched || via == nil || via.filter != nil) {
				continue // or it wrote something else too early, or was given a false copy
			}
			for _, o := range in {
				if held, has := loadKept(o.tx, 'm', id.Author, id.Number); o != n && has && held.id == id && !held.vouched {
					h.t.Errorf("%s has its message %d, which %s had lost", o.name, id.Number, n.name)
					break
				}
			}
		}
	}
}

// viaOf is who gave a message.
func (k *kept) viaOf(ok bool) (via Key) {
	if ok {
		via = k.via
	}
	return via
}

// forgotAll tells whether a node has gone back to where it had none of the connections that honest members have with it.
func (h *hostile) forgotAll(n *node) bool {
	for _, o := range h.metWell(n) {
		p := o.g.peers[n.g.self]
		if p == nil || p.ready() == nil {
			continue
		}
		if c := h.conns[p.ready().name].peer; c != nil && c.owner == n && !c.forgotten && !c.deleted {
			return false
		}
	}
	return h.lostBy[n] != nil
}

// forgottenBy tells whether everybody else that a node was connected with has gone back to before that.
func (h *hostile) forgottenBy(n *node, with []*node) (all bool) {
	for _, o := range h.metWell(n) {
		if slices.Contains(with, o) {
			continue
		}
		p := n.g.peers[o.g.self]
		if h.lostBy[o] == nil || p == nil || p.ready() == nil {
			return false
		}
		if c := h.conns[p.ready().name].peer; c == nil || !c.forgotten && !c.deleted {
			return false
		}
		all = true
	}
	return all
}

// wrote tells whether a node has written a message, also if it has lost it since.
func (h *hostile) wrote(a *node, id MessageID) bool {
	if lost := h.lostBy[a]; lost != nil && lost.said[id] {
		return true
	}
	k, ok := loadKept(a.tx, 'm', a.g.self, id.Number)
	return ok && k.id.Hash == id.Hash && !k.vouched
}

// twice tells whether a number of a node is that of two messages: one that it has lost, and one that it wrote before it
// knew.
func (h *hostile) twice(a *node, number uint64) bool {
	lost := h.lostBy[a]
	if lost == nil {
		return false
	}
	k, ok := loadKept(a.tx, 'm', a.g.self, number)
	for id := range lost.said {
		if id.Number == number && ok && !k.vouched && k.id != id {
			return true
		}
	}
	return false
}
