package grouproto

import (
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// Of an author's older messages exactly the last k are for a new member, whatever is missing or never existed here.
func TestHistoryEndsAtTheSamePlaceWhateverIsMissing(t *testing.T) {
	s := newSim(t, 300)
	s.group(3, oplog.Symmetric(), oplog.Setting{Name: "history", Value: []byte("3")})
	author, server := s.nodes[0], s.nodes[1]
	for i := range 10 {
		author.send(fmt.Sprint("old ", i))
	}
	s.run(time.Minute)
	joiner := s.node("new")
	s.nodes[2].invite(joiner)
	s.until(10*time.Minute, func() bool { return s.connected(s.nodes...) })
	for i := range 2 {
		author.send(fmt.Sprint("new ", i))
	}
	s.run(time.Minute)
	lacks := func(numbers ...uint64) func(*step) {
		return func(st *step) {
			for _, n := range numbers {
				st.env.Tx.Delete(messageKey('m', author.g.self, n))
				st.chain(author.g.self).reopen(n)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*step)
		first  uint64
	}{
		"whole":                      {func(*step) {}, 7},
		"a gap in the last k":        {lacks(8), 7},
		"a gap where k begins":       {lacks(7), 8},
		"a gap before":               {lacks(5, 6), 7},
		"a gap at the join":          {lacks(9), 7},
		"a gap of new ones":          {lacks(10), 8}, // it may be an old one, for all that is known
		"numbers that never existed": {func(st *step) { lacks(8)(st); st.chains[author.g.self].giveUp(Range{8, 8}, noneNotExisted) }, 6},
	} {
		backup := server.backup()
		st := &step{Group: server.g, env: server.env(server.tx)}
		c.change(st)
		for n := range uint64(12) {
			k, ok := st.loadMessage(author.g.self, n)
			if ok && st.entitled(server.g.peers[joiner.g.self], k) != (n >= c.first) {
				t.Errorf("%s: message %d is for the new member: %v", name, n, n < c.first)
			}
		}
		server.restoreFrom(backup)
	}
	if len(joiner.got) != 5 {
		t.Errorf("the new member got %d messages", len(joiner.got))
	}
}

// Members with different rights to read, gaps, and numbers that never existed come to one digest, and then are quiet.
func TestDigestsBecomeEqualAndStayQuiet(t *testing.T) {
	s := newSim(t, 301)
	s.group(4, oplog.Symmetric())
	author, inviter := s.nodes[0], s.nodes[1]
	for i := range 3 {
		author.send(fmt.Sprint("old ", i))
		s.nodes[3].send(fmt.Sprint("also old ", i))
	}
	s.run(time.Minute)
	author.must(Recover{RecoveryAsked})
	s.until(time.Minute, func() bool { return author.g.Info().Recovery == RecoveryNone })
	author.send("in another run")
	s.run(time.Minute)
	last := author.send("the inviter does not get this in time")
	s.run(time.Minute)
	author.stop()
	st := &step{Group: inviter.g, env: inviter.env(inviter.tx)}
	st.env.Tx.Delete(messageKey('m', last.Author, last.Number))
	st.chain(last.Author).reopen(last.Number)
	st.store()
	clear(inviter.got) // as if it had never been told
	joiner := s.node("new")
	inviter.invite(joiner)
	running := []*node{inviter, s.nodes[2], s.nodes[3], joiner}
	s.until(10*time.Minute, func() bool { return s.connected(running...) })
	s.run(13 * time.Hour) // two rounds of G_SYNC
	for _, n := range running {
		if n.digestNow() != inviter.digestNow() {
			t.Errorf("%s has another digest", n.name)
		}
	}
	before := s.counts()
	s.run(24 * time.Hour)
	used := s.counts().Minus(before)
	if used.Total()-used.Offers-used.Forwarded > used.Sync || used.Sync > 4*5+24*4 {
		t.Errorf("not quiet: %+v", used)
	}
	author.start()
	s.run(13 * time.Hour)
	if !s.connected(s.nodes...) {
		t.Fatal("not connected")
	}
	for _, n := range s.nodes {
		if n.digestNow() != author.digestNow() {
			t.Errorf("%s has another digest than the author", n.name)
		}
	}
	before = s.counts()
	s.run(24 * time.Hour)
	// One regular G_SYNC of each every six hours, and nothing else.
	if used := s.counts().Minus(before); used.Total() != used.Sync || used.Sync > 4*len(s.nodes)+len(s.nodes) {
		t.Errorf("not quiet: %+v", used)
	}
}

// What was heard of and forgotten by a restart is heard of again at once, not with the next regular G_SYNC.
func TestOperationsThatWereHeardOfAreFoundAgainAfterARestart(t *testing.T) {
	s := newSim(t, 302)
	s.group(4, oplog.Symmetric())
	author, lacks := s.nodes[0], s.nodes[1]
	s.run(time.Hour)
	s.cutOff(author, "m2", "m3")
	id := author.must(Set{"title", []byte("heard of")}).Op
	s.run(time.Second)
	author.stop()
	strike(s.nodes[2], lacks, &rcvdFrame{Heads: []OpID{id}})
	if len(lacks.g.wantOps) != 1 {
		t.Fatal("it has not heard of it")
	}
	lacks.stop()
	lacks.load()
	if len(lacks.g.wantOps) != 0 {
		t.Fatal("nothing was forgotten")
	}
	lacks.start()
	s.run(2 * time.Minute)
	if lacks.g.log.Op(id) == nil {
		t.Error("the operation was not found again")
	}
	if len(eventsOf[CaughtUp](lacks)) == 0 {
		t.Error("the client was not told that nothing is missing any more")
	}
}
