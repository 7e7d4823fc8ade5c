package grouproto

import (
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// Who recovers makes all ratchets again and asks three members before it writes.
func TestRecoveryAsksThreeMembersOverNewRatchets(t *testing.T) {
	s := newSim(t, 390)
	s.group(6, oplog.Symmetric())
	n := s.nodes[0]
	asked, ratchets := map[Key]bool{}, 0
	n.hook = func(_ *node, e Effect) {
		switch e := e.(type) {
		case ResyncConn:
			ratchets++
		case SendConn:
			frames, _ := splitBody(e.Body)
			for _, f := range frames {
				d, err := decodeFrame(f)
				if err != nil {
					continue
				}
				if f, ok := d.frame.(*syncFrame); ok && f.Flags&syncAsk != 0 {
					asked[n.g.conns[e.Conn].key] = true
				}
			}
		}
	}
	n.must(Recover{RecoveryAsked})
	s.until(10*time.Minute, func() bool { return n.g.main.recovery == RecoveryNone })
	if ratchets != 5 || len(asked) < recoverPeers {
		t.Errorf("%d ratchets made again, %d members asked", ratchets, len(asked))
	}
}

// A run begins above every number that anybody has heard of, whatever the clock says.
func TestRunBeginsAboveAllThatIsKnown(t *testing.T) {
	s := newSim(t, 391)
	s.group(2, oplog.Symmetric())
	n := s.nodes[0]
	ahead := runStart(s.now.Add(48*time.Hour)) + 5
	n.g.main.next = ahead
	stepOf(n).chain(n.g.self).know(ahead)
	stepOf(n).recovered()
	if n.g.main.next <= ahead || n.g.main.next%(1<<runBits) != 0 || n.g.main.prev != ([32]byte{}) {
		t.Errorf("the run begins with %d, %d is known", n.g.main.next, ahead)
	}
}

// What one member makes up about own messages begins one recovery in a day.
func TestOneLiarBeginsOneRecoveryInADay(t *testing.T) {
	s := newSim(t, 392)
	s.group(4, oplog.Symmetric())
	n, liar := s.nodes[0], s.nodes[3]
	n.send("x")
	s.run(time.Minute)
	for range 5 {
		strike(liar, n, &syncFrame{Heads: heads(liar), List: []MessageID{{n.g.self, n.g.main.next + 7, [32]byte{1}}}})
		s.run(time.Hour)
	}
	if got := len(eventsOf[Recovering](n)); got != 1 {
		t.Errorf("%d recoveries", got)
	}
}
