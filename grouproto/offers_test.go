package grouproto

import (
	"fmt"
	"testing"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// An offer counts once, whoever passes it on, and none that is older than one that was seen.
func TestOfferCountsOnce(t *testing.T) {
	s := newSim(t, 74)
	s.group(3, oplog.Symmetric())
	forwarder, joiner, initiator := s.nodes[0], s.nodes[1], s.nodes[2]
	joined := 0
	joiner.hook = func(_ *node, e Effect) {
		if _, ok := e.(JoinConn); ok {
			joined++
		}
	}
	last := joiner.g.peers[initiator.g.self].attempt
	for i, c := range []struct {
		attempt uint32
		joined  int
	}{
		{last, 0},
		{last + 2, 1},
		{last + 2, 1}, // again
		{last + 1, 1}, // one that took longer
		{last + 3, 2},
	} {
		link := fmt.Sprint("request ", c.attempt)
		s.conns[link] = &simConn{owner: initiator, name: link, link: []byte("link to " + link)}
		strike(forwarder, joiner, &memInvFrame{Offer: offerFrom(initiator, joiner.g.self, c.attempt, "link to "+link)})
		if joined != c.joined {
			t.Fatalf("after offer %d with attempt %+d: %d joined, want %d", i, int64(c.attempt)-int64(last), joined, c.joined)
		}
	}
}
