package grouproto

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// stepOf is a step of a node, for what has no input of its own.
func stepOf(n *node) *step { return &step{Group: n.g, env: n.env(n.tx)} }

// A connection that goes takes back exactly what it has not reported as sent.
func TestWhatAConnectionDidNotSendIsTakenBack(t *testing.T) {
	s := newSim(t, 350)
	s.group(2, oplog.Symmetric())
	n, other := s.nodes[1], s.nodes[0]
	for i := range 3 {
		n.send(fmt.Sprint(i))
	}
	s.run(time.Minute)
	p := n.g.peers[other.g.self]
	s.cutOff(n)
	n.send("on its way")
	n.send("on its way as well")
	if p.sent != 3 || p.next != 5 || len(p.window) != 2 {
		t.Fatalf("sent %d, next %d, %d under way", p.sent, p.next, len(p.window))
	}
	stepOf(n).rewind(p, p.ready().name)
	if p.sent != 3 || p.next != 3 || len(p.window) != 0 {
		t.Errorf("sent %d, next %d, %d under way behind the end of the connection", p.sent, p.next, len(p.window))
	}
}

// A connection holds so many messages at a time; the rest waits as a number.
func TestConnectionHoldsFewMessages(t *testing.T) {
	s := newSim(t, 351)
	s.group(2, oplog.Symmetric())
	n, other := s.nodes[1], s.nodes[0]
	s.cutOff(n)
	handed := framesTo(n, other, TagMsg)
	for i := range 3 * windowSize {
		n.send(fmt.Sprint(i))
	}
	if len(*handed) != windowSize {
		t.Errorf("%d messages were handed over", len(*handed))
	}
	s.restore(n)
	s.run(10 * time.Minute)
	s.sameMessages(s.nodes, nil)
}

// Who was removed is not sent what is written from then on, though its connection lives through the grace.
func TestRemovedMemberIsSentNothing(t *testing.T) {
	s := newSim(t, 352)
	s.group(3, oplog.Symmetric())
	n, gone := s.nodes[0], s.nodes[2]
	n.must(Remove{Members: []Key{gone.g.self}})
	handed := framesTo(n, gone, TagMsg)
	n.send("among us")
	s.run(time.Minute)
	if n.g.peers[gone.g.self].ready() == nil || len(*handed) != 0 {
		t.Errorf("%d messages were handed over", len(*handed))
	}
}

// The order in which a message goes out is another one each time, and tells nothing about the members.
func TestFanOutHasNoOrder(t *testing.T) {
	s := newSim(t, 353)
	s.group(6, oplog.Symmetric())
	n := s.nodes[0]
	orders := map[string]bool{}
	for i := range 10 {
		order := ""
		n.hook = func(_ *node, e Effect) {
			if e, ok := e.(SendConn); ok {
				order += s.nameOf(n.g.conns[e.Conn].key) + " "
			}
		}
		n.send(fmt.Sprint(i))
		orders[order] = true
		n.hook = nil
		s.run(time.Minute)
	}
	if len(orders) < 5 {
		t.Errorf("%d orders of 10", len(orders))
	}
}

// Somebody whose queue was full is told, when it reads again and once an hour before, how far the messages go.
func TestFullQueueIsToldOfWhatThereIs(t *testing.T) {
	s := newSim(t, 354)
	s.group(2, oplog.Symmetric())
	n, other := s.nodes[0], s.nodes[1]
	p := n.g.peers[other.g.self]
	n.step(Quota{Conn: p.ready().name})
	s.cutOff(n) // nothing is taken
	last := n.send("not pushed")
	told := framesTo(n, other, TagSync)
	names := func() (count int) {
		for _, f := range *told {
			if slices.Contains(f.(*syncFrame).List, last) {
				count++
			}
		}
		return count
	}
	s.run(55 * time.Minute)
	if names() != 0 {
		t.Error("told at once")
	}
	s.run(10 * time.Minute)
	if p.paused != ReasonQuota || names() != 1 {
		t.Errorf("told %d times in an hour", names())
	}
	n.step(Continue{Conn: p.ready().name})
	if p.paused != ReasonNone || names() != 2 {
		t.Errorf("told %d times when it goes on", names()-1)
	}
	s.restore(n)
	s.run(time.Minute)
	if got := len(eventsOf[MessageReceived](other)); got != 1 {
		t.Errorf("%d messages came", got)
	}
}

// A receipt tells what has come and what is missing below; one that is older, or says more than was written, changes
// nothing that is known.
func TestReceiptsSayWhatIsMissing(t *testing.T) {
	s := newSim(t, 355)
	s.group(2, oplog.Symmetric())
	reader, author := s.nodes[0], s.nodes[1]
	said := framesTo(reader, author, TagRcvd)
	for _, n := range []uint64{0, 1, 3} {
		strike(author, reader, &msgFrame{&message{Number: n, Heads: heads(author), Body: []byte("x")}})
	}
	s.run(4 * time.Second) // before the gap is asked for
	if len(*said) == 0 {
		t.Fatal("nothing was said")
	}
	if f := (*said)[len(*said)-1].(*rcvdFrame); f.UpTo != 4 || !slices.Equal(f.Missing, []Range{{2, 2}}) {
		t.Errorf("received below %d, missing %v", f.UpTo, f.Missing)
	}

	for i := range 5 {
		reader.send(fmt.Sprint(i))
	}
	s.run(time.Minute)
	p := reader.g.peers[author.g.self]
	for _, c := range []struct{ upTo, want uint64 }{{3, 5}, {1 << 40, 5}, {0, 5}} {
		strike(author, reader, &rcvdFrame{Heads: heads(author), UpTo: c.upTo})
		if p.delivered != c.want {
			t.Errorf("delivered below %d, after a receipt for %d", p.delivered, c.upTo)
		}
	}
}

// The permission to ask for a direct connection is looked up when the request comes.
func TestPermissionForDirectConnectionsIsHandedUp(t *testing.T) {
	for _, level := range []Role{oplog.Plain, oplog.Owner} {
		s := newSim(t, 356)
		policy := oplog.Symmetric()
		policy.Levels[oplog.PermDirect] = level
		s.group(2, policy)
		strike(s.nodes[1], s.nodes[0], &directFrame{Tag: TagDirectInv, Payload: []byte("please")})
		got := eventsOf[DirectFrame](s.nodes[0])
		if len(got) != 1 || got[0].Permitted != (level == oplog.Plain) {
			t.Errorf("level %v: %+v", level, got)
		}
	}
}
