package grouproto

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// invited lets time pass until a node has taken an invitation, and returns who wrote it.
func (n *node) invited() *node {
	n.sim.t.Helper()
	n.sim.until(10*time.Minute, func() bool { return n.g.Info().Status == StatusJoining })
	return n.sim.named(n.sim.nameOf(n.g.main.inviter))
}

// loseDoor deletes the inviter's end of the door of somebody who joins.
func (n *node) loseDoor() {
	door := n.sim.conns[n.g.main.contact]
	door.peer.deleted = true
	n.later(time.Second, func() { n.step(DoorFailed{door.name, ReasonAuth}) })
}

// Two holders are asked. The one that answers first vanishes; the invitation of the other is taken, and when the first
// comes back it ends in one membership.
func TestAskFirstHolderVanishes(t *testing.T) {
	for seed := range uint64(20) {
		s := newSim(t, seed)
		s.group(3, oplog.Symmetric(), rule("open"))
		one, two := s.nodes[0].holds(), s.nodes[1].holds()
		s.run(time.Minute)
		guest := s.node("guest")
		guest.ask(s.nodes[0].g.id, one, "")
		guest.ask(s.nodes[0].g.id, two, "")
		first := guest.invited()
		first.stop()
		var others []*node
		for _, n := range s.nodes {
			if n != first {
				others = append(others, n)
			}
		}
		s.run(5 * time.Minute)
		guest.load()
		s.until(time.Hour, func() bool { return s.connected(others...) })
		s.run(time.Hour)
		first.start()
		s.until(6*time.Hour, func() bool { return s.connected(s.nodes...) })
		if n := s.nodes[0].g.st.Len(); n != 4 {
			t.Errorf("seed %d: %d members", seed, n)
		}
		s.closed(s.nodes...)
		s.stillWell(s.nodes...)
	}
}

// The door to the inviter is lost before anything came of the invitation. With no other address asked, that is the end,
// soon and with a reason; else the asking goes on there.
func TestAskDoorIsLost(t *testing.T) {
	for _, more := range []bool{false, true} {
		s := newSim(t, 31)
		s.group(3, oplog.Symmetric(), rule("open"))
		one, two := s.nodes[0].holds(), s.nodes[1].holds()
		s.run(time.Minute)
		guest := s.node("guest")
		if more {
			s.nodes[1].stop()
			guest.ask(s.nodes[0].g.id, two, "")
		}
		guest.ask(s.nodes[0].g.id, one, "")
		guest.invited().stop()
		guest.loseDoor()
		s.run(10 * time.Minute)
		guest.load()
		ends := eventsOf[AskEnded](guest)
		if !more {
			if len(ends) != 1 || ends[0].Reason != ReasonNotAvailable || guest.g.Info().Status != StatusGone {
				t.Errorf("told %+v, and is %v", ends, guest.g.Info().Status)
			}
			continue
		}
		if len(ends) != 0 || guest.g.Info().Status != StatusAsking || len(eventsOf[Asking](guest)) != 2 {
			t.Fatalf("told %+v, and is %v", ends, guest.g.Info().Status)
		}
		s.nodes[1].start()
		s.until(time.Hour, func() bool { return s.connected(s.nodes[1:]...) })
		s.nodes[0].start()
		s.until(6*time.Hour, func() bool { return s.connected(s.nodes...) })
		s.closed(s.nodes[1:]...) // who lost a door without being told keeps it for its time
	}
}

// The door is lost when the answer has arrived: the pair comes up without it.
func TestAskDoorIsLostLate(t *testing.T) {
	for seed := range uint64(10) {
		s := newSim(t, seed)
		s.group(2, oplog.Symmetric(), rule("open"))
		holder := s.nodes[0]
		link := holder.holds()
		s.run(time.Minute)
		guest := s.node("guest")
		guest.ask(holder.g.id, link, "")
		s.until(10*time.Minute, func() bool { return holder.g.st.Len() == 3 })
		guest.loseDoor()
		s.until(10*time.Minute, func() bool { return s.connected(s.nodes...) })
		if len(eventsOf[AskEnded](guest)) != 0 {
			t.Errorf("seed %d: told that it ended", seed)
		}
		s.closed(s.nodes...)
	}
}

// Who has only the link asks without end, and never uses what it is let in by. Others still get in.
func TestAttackDoorsLeftBehind(t *testing.T) {
	s := newSim(t, 306)
	s.group(2, oplog.Symmetric(), rule("open"))
	holder := s.nodes[0]
	link := holder.holds()
	s.run(time.Minute)
	for i := range 300 {
		s.stranger(fmt.Sprint("flood", i), link, encodeFrame(&reqFrame{Group: holder.g.id, Card: make([]byte, 20)}))
		s.run(30 * time.Second)
	}
	if n := holder.g.doorsOf(doorGuest, doorAnswer); n != MaxDoors {
		t.Errorf("%d doors", n)
	}
	s.run(time.Minute) // one request is looked at in a minute
	guest := s.node("guest")
	guest.ask(holder.g.id, link, "")
	s.until(time.Hour, func() bool { return s.connected(s.nodes[0], s.nodes[1], guest) })
	if n := holder.g.doorsOf(doorGuest, doorAnswer); n > MaxDoors {
		t.Errorf("%d doors", n)
	}
}

// Who writes nothing but rubbish over a door is stopped like everybody who writes too much.
func TestAttackRubbishOverADoor(t *testing.T) {
	s := newSim(t, 307)
	s.group(2, oplog.Symmetric(), rule("open"))
	holder := s.nodes[0]
	link := holder.holds()
	s.run(time.Minute)
	c := s.stranger("stranger", link, encodeFrame(&reqFrame{Group: holder.g.id, Card: make([]byte, 20)}))
	s.until(time.Minute, func() bool { return c.peer != nil })
	for range mostOnDoor {
		holder.step(DoorFrame{c.peer.name, []byte{1}})
	}
	if len(holder.g.doors) != 1 {
		t.Error("stopped early")
	}
	holder.step(DoorFrame{c.peer.name, []byte{1}})
	if len(holder.g.doors) != 0 || holder.g.pendingInvites() != 0 {
		t.Error("the door is still there")
	}
}

// Doors and addresses of version 1 are read.
func TestOldDoorRecords(t *testing.T) {
	s := newSim(t, 32)
	s.group(1, oplog.Symmetric())
	holder := s.nodes[0]
	link := holder.holds()
	guest := s.node("guest")
	guest.ask(holder.g.id, link, "")
	older := func(n *node, kind byte, less int) {
		n.tx.Scan([]byte{kind}, nil, func(k, v []byte) bool {
			v = bytes.Clone(v[:len(v)-less])
			v[0] = 1
			n.tx.Put(bytes.Clone(k), v)
			return true
		})
	}
	older(holder, 'L', 8)
	older(guest, 'D', 2)
	holder.load()
	guest.load()
	if !bytes.Equal(holder.g.link.link, link) || guest.g.doorsOf(doorAsk) != 1 {
		t.Error("not read")
	}
}
