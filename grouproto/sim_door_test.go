package grouproto

import (
	"bytes"
	"fmt"
	"time"
)

// Addresses and doors in the simulated network. A request at an address may arrive twice, or never.

func (n *node) performDoor(e Effect) {
	switch e := e.(type) {
	case NewAddress:
		n.newAddress(e)
	case OpenDoor:
		n.openDoor(e)
	case AcceptDoor:
		n.acceptDoor(e)
	case RefuseDoor:
		delete(n.sim.asked, e.Request)
	case SendDoor:
		n.sendDoor(e)
	}
}

func (n *node) newAddress(e NewAddress) {
	s := n.sim
	if s.conns[e.Conn] != nil {
		return
	}
	c := &simConn{owner: n, name: e.Conn, link: []byte("link to " + e.Conn)}
	s.conns[e.Conn] = c
	n.later(s.delay(), func() { n.step(AddressReady{c.name, c.link}) })
}

func (n *node) openDoor(e OpenDoor) {
	s := n.sim
	if s.conns[e.Door] != nil {
		return
	}
	c := &simConn{owner: n, name: e.Door}
	s.conns[e.Door] = c
	address := s.conns[string(bytes.TrimPrefix(e.Address, []byte("link to ")))]
	times := 1
	switch x := s.rng.Float64(); {
	case x < s.again:
		times = 2
	case x < s.again+s.lose:
		times = 0
	}
	info := bytes.Clone(e.Info)
	c.operate(func() bool {
		if address == nil || address.deleted {
			n.later(s.delay(), func() { n.step(DoorFailed{c.name, ReasonAuth}) })
			return true
		}
		for i := range times {
			request := fmt.Sprintf("request-%d-%s", i, c.name)
			owner := address.owner
			s.after(s.delay(), func() {
				owner.running(func() {
					if address.deleted {
						return
					}
					s.asked[request] = c
					owner.step(DoorAsked{request, info})
				})
			})
		}
		return true
	})
}

func (n *node) acceptDoor(e AcceptDoor) {
	s := n.sim
	if s.conns[e.Door] != nil {
		return
	}
	their := s.asked[e.Request]
	delete(s.asked, e.Request)
	c := &simConn{owner: n, name: e.Door, peer: their}
	s.conns[e.Door] = c
	c.operate(func() bool {
		if their == nil || their.deleted || their.peer != nil {
			c.peer = nil
			n.later(s.delay(), func() { n.step(DoorFailed{c.name, ReasonAuth}) })
			return true
		}
		their.peer = c
		c.arrive(func() {
			if their.deleted {
				return
			}
			their.owner.step(DoorOpen{their.name})
			their.arrive(func() {
				if !c.deleted {
					n.step(DoorOpen{c.name})
				}
			})
		})
		return true
	})
}

func (n *node) sendDoor(e SendDoor) {
	s := n.sim
	c := s.conns[e.Door]
	if c == nil {
		s.t.Fatalf("%s sends over a door it does not have", n.name)
	}
	frame := bytes.Clone(e.Frame)
	if len(frame) > MaxFrames {
		s.t.Fatalf("%s sends %d bytes over a door", n.name, len(frame))
	}
	c.operate(func() bool {
		to := c.peer
		if to == nil || to.deleted {
			n.later(s.delay(), func() { n.step(DoorFailed{c.name, ReasonAuth}) })
			return true
		}
		c.arrive(func() {
			if !to.deleted {
				to.owner.step(DoorFrame{to.name, frame})
			}
		})
		return true
	})
}

// holds makes a node the holder of an address and returns its link.
func (n *node) holds() []byte {
	n.sim.t.Helper()
	n.must(Publish{})
	n.sim.until(time.Minute, func() bool { return n.g.link.link != nil })
	return n.g.link.link
}

// ask lets a node ask for a group at an address.
func (n *node) ask(group GroupID, link []byte, password string) {
	n.sim.t.Helper()
	if n.g != nil {
		n.must(AskAt{Address: link, Password: []byte(password)})
		return
	}
	g, effects, err := Ask(n.env(n.tx), AskOptions{
		Group: group, Address: link, Text: []byte("let me in"), Password: []byte(password), Card: []byte("card of " + n.name),
	})
	if err != nil {
		n.sim.t.Fatalf("%s: %v", n.name, err)
	}
	n.g = g
	n.perform(effects)
	n.plan()
}

// doors counts the doors and addresses of a node that are not deleted.
func (s *sim) doorsOf(n *node) (count int) {
	for name, c := range s.conns {
		if c.owner == n && !c.deleted && n.g.conns[name] == nil {
			count++
		}
	}
	return count
}
