package grouproto

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"time"
)

// simConn is one side of one connection.
type simConn struct {
	owner   *node
	name    string
	link    []byte
	peer    *simConn
	binding Binding
	deleted bool
	out     []func() bool // operations in order; one that returns false waits
	busy    bool
	inbox   int // messages that wait for the owner at the relay
	full    bool
	nextIn  time.Time
	ratchet simRatchet

	carried   int  // messages that the owner has sent over it
	forgotten bool // the owner's store is older than it
}

// simRatchet is one end's encryption. Bodies open only if both ends have the same one.
type simRatchet struct {
	id      string
	state   simState
	own     string // keys of the own
	sending bool   // this end sent, or sends, first
	rebound bool   // it was made again and nothing came with it
}

type simState int

const (
	simOK simState = iota
	simRequired
	simStarted
	simAgreed
)

func (n *node) join(e JoinConn) {
	s := n.sim
	if s.conns[e.Conn] != nil {
		return
	}
	their := s.conns[string(bytes.TrimPrefix(e.Link, []byte("link to ")))]
	if their == nil && s.faults != nil {
		n.later(s.delay(), func() { n.step(Failed{e.Conn, ReasonAuth}) })
		return
	}
	if their == nil {
		s.t.Fatalf("%s joins a link that nobody made", n.name)
	}
	c := &simConn{owner: n, name: e.Conn, peer: their}
	s.put(c)
	c.binding = sha256.Sum256(append(bytes.Clone(e.Link), e.Conn...))
	seen := c.binding
	if n.bind != nil {
		seen = n.bind(seen)
	}
	info := e.Hello(seen)
	c.operate(func() bool {
		if their.deleted || their.peer != nil {
			n.later(s.delay(), func() { n.step(Failed{c.name, ReasonAuth}) })
			return true
		}
		their.peer, their.binding = c, c.binding
		if s.faults.loses("confirmation") || s.loses != nil && s.loses(n, their.owner, e) {
			return true
		}
		c.arrive(func() { their.owner.step(Conf{their.name, "conf-" + c.name, their.binding, info}) })
		return true
	})
}

func (n *node) allow(e AllowConn) {
	c := n.sim.conns[e.Conn]
	c.operate(func() bool {
		n.step(Connected{c.name})
		if s := n.sim; s.faults.loses("confirmation") || s.loses != nil && s.loses(n, c.peer.owner, e) {
			return true
		}
		c.arrive(func() {
			if b := c.peer; !b.deleted {
				b.owner.step(Info{b.name, b.binding, e.Info})
			}
		})
		return true
	})
}

func (n *node) sendOver(e SendConn) {
	s := n.sim
	c := s.conns[e.Conn]
	if c == nil {
		s.t.Fatalf("%s sends over a connection it does not have", n.name)
	}
	body := e.Body
	if len(body) > 13_573 {
		s.t.Fatalf("%s sends %d bytes", n.name, len(body))
	}
	if c.ratchet.state >= simRequired {
		n.later(0, func() { n.step(SendFailed{c.name, e.Ref, ReasonRatchet}) })
		return
	}
	sealed := c.ratchet.id
	c.operate(func() bool {
		to := c.peer
		if to == nil || to.deleted || to.peer != nil && to.peer != c { // the last: somebody else has joined the request
			n.step(SendFailed{c.name, e.Ref, ReasonAuth})
			return true
		}
		if s.quota > 0 && to.inbox >= s.quota {
			if !to.full {
				to.full = s.faults.hit("queue full", true)
				n.step(Quota{c.name})
			}
			return false
		}
		if s.faults.loses("body") || s.loses != nil && s.loses(n, to.owner, e) {
			n.step(Sent{c.name, e.Ref})
			return true
		}
		to.inbox++
		c.carried++
		n.step(Sent{c.name, e.Ref})
		if s.faults.repeats(c) {
			s.after(s.delay(), func() {
				to.owner.running(func() {
					if !to.deleted {
						to.owner.step(Message{to.name, body})
					}
				})
			})
		}
		c.arrive(func() {
			if to.inbox = max(0, to.inbox-1); to.inbox == 0 {
				to.drained()
			}
			if !to.deleted && !to.forgotten && to.opens(sealed) {
				to.owner.step(Message{to.name, body})
			}
		})
		return true
	})
}

// drained is a queue that is empty: whoever found it full may go on.
func (c *simConn) drained() {
	from := c.peer
	if c.inbox = 0; !c.full || from == nil {
		c.full = false
		return
	}
	c.full = false
	from.owner.later(from.owner.sim.delay(), func() {
		from.owner.step(Continue{from.name})
		from.work()
	})
}

// opens tells whether a message can be opened, and follows the state of the ratchet.
func (c *simConn) opens(sealed string) bool {
	r := &c.ratchet
	if sealed != r.id {
		if r.state == simOK {
			r.state = simRequired
			c.owner.step(ResyncNeeded{c.name})
		}
		return false
	}
	if r.state == simOK || r.state == simStarted {
		return true
	}
	r.state = simOK
	if r.rebound {
		r.rebound = false
		side, binding := SideReceiving, Binding(sha256.Sum256([]byte(r.id)))
		if r.sending {
			side = SideSending
		}
		if c.owner.bind != nil {
			binding = c.owner.bind(binding)
		}
		c.owner.step(Resynced{c.name, binding, side})
	}
	return true
}

// resync is ResyncConn.
func (n *node) resync(e ResyncConn) {
	c := n.sim.conns[e.Conn]
	if r := &c.ratchet; r.state != simStarted && r.state != simAgreed {
		r.state, r.own = simStarted, fmt.Sprint(n.sim.rng.Uint64())
		c.sendKeys()
	}
}

// sendKeys sends the own keys for a new ratchet behind everything that was queued before.
func (c *simConn) sendKeys() {
	own := c.ratchet.own
	c.operate(func() bool {
		if to := c.peer; to != nil && !to.deleted {
			c.arrive(func() { to.keysCame(own) })
		}
		return true
	})
}

func (c *simConn) keysCame(theirs string) {
	r := &c.ratchet
	if c.deleted || c.forgotten {
		return
	}
	switch r.state {
	case simAgreed:
		r.state = simRequired
		c.owner.step(ResyncNeeded{c.name})
		return
	case simStarted:
	default:
		r.own = fmt.Sprint(c.owner.sim.rng.Uint64())
		c.sendKeys()
	}
	r.id, r.sending = theirs+r.own, r.own > theirs
	if r.sending {
		r.id = r.own + theirs
	}
	r.state, r.rebound = simAgreed, true
	if r.sending {
		c.sendReady(false)
	}
}

// sendReady sends the first message of a new ratchet; the other end answers it.
func (c *simConn) sendReady(answer bool) {
	sealed := c.ratchet.id
	c.operate(func() bool {
		if to := c.peer; to != nil && !to.deleted {
			c.arrive(func() {
				if !answer && sealed == to.ratchet.id {
					to.sendReady(true) // in front of what the owner says when it hears of it
				}
				to.opens(sealed)
			})
		}
		return true
	})
}

// part lets the ratchet of one end be another one, as an old copy of its state would.
func (c *simConn) part() { c.ratchet.id += " of yesterday" }

// operate queues an operation with the relay; they are done one after the other.
func (c *simConn) operate(do func() bool) {
	c.out = append(c.out, do)
	c.work()
}

func (c *simConn) work() {
	if c.busy || len(c.out) == 0 {
		return
	}
	c.busy = true
	c.owner.later(c.owner.sim.delay()+c.owner.sim.faults.wait(c), func() {
		c.busy = false
		if c.owner.sim.faults.wait(c) > 0 {
			c.work()
			return
		}
		if len(c.out) == 0 {
			return // its owner went back to an old store
		}
		if do := c.out[0]; do() {
			c.out = c.out[min(1, len(c.out)):]
			c.work()
		}
	})
}

// arrive brings something to the peer, in order.
func (c *simConn) arrive(do func()) {
	s := c.owner.sim
	at := s.now.Add(s.delay())
	switch {
	case s.faults.overtaken(c):
		at = at.Add(4 * s.maxDelay)
	case at.Before(c.nextIn):
		at = c.nextIn
		c.nextIn = at
	default:
		c.nextIn = at
	}
	peer := c.peer
	if peer == nil {
		return
	}
	s.at(at, func() { peer.owner.running(do) })
}
