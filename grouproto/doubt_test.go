package grouproto

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/kv"
)

// restoreWithRatchets is a start from a backup in which the ratchets are as old as the records.
func (n *node) restoreWithRatchets(b *kv.Memory) {
	n.restoreFrom(b)
	for _, c := range n.sim.made {
		if c.owner == n && !c.deleted {
			c.part()
		}
	}
	n.events = nil
}

func whys(n *node) (all []Recovery) {
	for _, e := range eventsOf[Recovering](n) {
		all = append(all, e.Why)
	}
	return all
}

// The ratchets of a member that was restored do not open what comes: from the first moment it writes nothing, and it
// recovers as soon as somebody has told it what is missing. Nobody else does.
func TestPartedRatchetBeginsTheRecoveryItself(t *testing.T) {
	for size := 2; size <= 6; size++ {
		for _, lost := range []string{"messages", "an operation"} {
			s := newSim(t, uint64(400+size))
			s.group(size, oplog.Symmetric())
			n, other := s.nodes[1], s.nodes[0]
			n.send("before")
			s.run(time.Minute)
			old := n.backup()
			var ids []MessageID
			if lost == "messages" {
				for i := range 3 {
					ids = append(ids, n.send(fmt.Sprint("after the backup ", i)))
				}
			} else {
				n.must(Set{"title", []byte("after the backup")})
			}
			s.run(time.Minute)
			n.restoreWithRatchets(old)
			other.send("cannot be opened")
			s.until(10*time.Second, func() bool { return n.g.main.recovery != RecoveryNone })
			if got := whys(n); !slices.Equal(got, []Recovery{RecoveryCheck}) {
				t.Fatalf("%d members: %v", size, got)
			}
			if err := n.refused(Send{Body: []byte("too early")}); !errors.Is(err, ErrRecovering) {
				t.Error(err)
			}
			if size%2 == 0 {
				n.load() // it is not forgotten
			}
			s.until(time.Minute, func() bool { return n.g.main.recovering() })
			s.until(time.Minute, func() bool { return n.g.main.recovery == RecoveryNone })
			want := map[string]Recovery{"messages": RecoveryMessage, "an operation": RecoveryOperation}[lost]
			if got := whys(n); !slices.Equal(got, []Recovery{RecoveryCheck, want}) {
				t.Errorf("%d members, %s: recovered because of %v", size, lost, got)
			}
			for _, o := range s.nodes {
				if o != n && (o.g.main.run != 0 || o.g.main.recovery != RecoveryNone) {
					t.Errorf("%s recovers as well", o.name)
				}
			}
			n.got, n.texts = map[string]int{}, map[string]string{}
			s.recoversAndGoesOn(n, ids)
			if t.Failed() {
				t.Fatalf("%d members, %s", size, lost)
			}
		}
	}
}

// A peer was restored, not we: writing rests until somebody has answered, and nothing else happens.
func TestRatchetOfAPeerHoldsWritingForAMoment(t *testing.T) {
	for seed := range uint64(10) {
		s := newSim(t, 420+seed)
		s.group(2+int(seed%4), oplog.Symmetric())
		n, peer := s.nodes[0], s.nodes[1]
		n.send("one")
		peer.send("two")
		s.run(time.Minute)
		_, half := s.pairOf(peer, n)
		half.part()
		peer.send("cannot be opened")
		s.until(10*time.Second, func() bool { return n.g.main.recovery == RecoveryCheck })
		began := s.now
		s.until(time.Minute, func() bool { return n.g.main.recovery == RecoveryNone })
		if held := s.now.Sub(began); held > 4*time.Second {
			t.Errorf("held for %v", held)
		}
		n.send("three")
		s.run(10 * time.Minute)
		// The next one is not asked about.
		_, half = s.pairOf(n, peer)
		half.part()
		peer.send("four")
		s.run(2 * time.Hour)
		for _, o := range s.nodes {
			if got := whys(o); len(got) > 1 || o.g.main.run != 0 || len(got) != len(eventsOf[Recovered](o)) {
				t.Errorf("%s: %v", o.name, got)
			}
		}
		s.agree(s.nodes...)
		s.sameMessages(s.nodes, nil)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// Nobody answers: one ratchet holds writing for a minute, several are a recovery, which waits for as long as it takes.
func TestCheckWithoutAnAnswerEnds(t *testing.T) {
	for parted, want := range map[int][]Recovery{1: {RecoveryCheck}, 2: {RecoveryCheck, RecoveryRatchets}} {
		s := newSim(t, 440)
		s.group(3, oplog.Symmetric())
		n := s.nodes[0]
		for i, o := range s.nodes[1:] {
			if i < parted {
				_, half := s.pairOf(n, o)
				half.part()
			}
			o.send("cannot be opened")
		}
		s.until(5*time.Second, func() bool { return n.g.partedPairs() == parted })
		s.nodes[1].stop()
		s.nodes[2].stop()
		s.run(50 * time.Second)
		if n.g.main.recovery != RecoveryCheck {
			t.Errorf("%d: %v", parted, n.g.main.recovery)
		}
		s.run(time.Hour)
		if got := whys(n); !slices.Equal(got, want) || n.g.main.recovering() != (parted == 2) {
			t.Errorf("%d: %v", parted, got)
		}
		s.nodes[1].start()
		s.nodes[2].start()
		s.run(3 * time.Hour)
		if n.g.main.recovery != RecoveryNone || !s.connected(s.nodes...) {
			t.Errorf("%d: does not end", parted)
		}
		n.send("again")
		s.run(time.Minute)
		s.agree(s.nodes...)
		s.sameMessages(s.nodes, nil)
	}
}
