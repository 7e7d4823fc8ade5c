package grouproto

import (
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// A request for a direct connection is not lost when it is made while the connection with the member is being replaced,
// whoever of the two began that and whenever.
func TestDirectFrameIsNotLostWhenTheConnectionIsReplaced(t *testing.T) {
	for _, beginner := range []int{1, 2} {
		for _, asker := range []int{1, 2} {
			for delay := time.Duration(0); delay < 4*time.Second; delay += 50 * time.Millisecond {
				s := newSim(t, uint64(delay))
				s.group(3, oplog.Symmetric())
				s.minDelay, s.maxDelay = 100*time.Millisecond, time.Second
				a, b := s.nodes[asker], s.nodes[3-asker]
				s.nodes[beginner].must(Repair{s.nodes[3-beginner].g.self})
				s.run(delay)
				a.must(SendDirect{b.g.self, TagDirectInv, []byte("let us talk")})
				s.run(10 * time.Minute)
				if got := eventsOf[DirectFrame](b); len(got) != 1 {
					t.Fatalf("m%d repairs, m%d asks %v later: %d requests arrived", beginner, asker, delay, len(got))
				}
				if n, m := len(a.g.peers[b.g.self].conns), len(b.g.peers[a.g.self].conns); n != 1 || m != 1 {
					t.Fatalf("%d and %d connections are left", n, m)
				}
			}
		}
	}
}
