package grouproto

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// TestLargeGroup lets honest people join a large group, talk, be removed and leave, and counts agent messages against
// docs/groups.md, "Cost". COTERIE_SOAK=1 makes it a group of the largest size, COTERIE_MEMBERS=n one of n.
func TestLargeGroup(t *testing.T) {
	size := 25
	if os.Getenv("COTERIE_SOAK") != "" {
		size = MaxMembers
	}
	if n, err := strconv.Atoi(os.Getenv("COTERIE_MEMBERS")); err == nil {
		size = n
	}
	s := newSim(t, 500)
	s.create("m0", oplog.Symmetric())
	quiet := func(nodes []*node) {
		t.Helper()
		for range 360 {
			if s.run(10 * time.Second); !slices.ContainsFunc(nodes, func(n *node) bool {
				return n.g == nil || n.g.Info().Status != StatusMember || n.g.Info().Connected != len(nodes)-1
			}) {
				return
			}
		}
		t.Fatalf("%d members are not connected with each other within an hour", len(nodes))
	}
	for len(s.nodes) < size-1 {
		for range min(8, size-1-len(s.nodes)) {
			n := s.node(fmt.Sprint("m", len(s.nodes)))
			s.nodes[0].invite(n)
		}
		quiet(s.nodes)
	}
	s.run(time.Hour)

	n, log, before := len(s.nodes), logBytes(s.nodes[0].g), s.counts()
	last := s.node("last")
	s.nodes[n/2].invite(last)
	quiet(s.nodes)
	s.run(5 * time.Minute)
	used := s.counts().Minus(before)
	t.Logf("%d members: a join took %d of %d agent messages: %+v", n, used.Total(), budget(n, log), used)
	if used.Total() > budget(n, log) {
		t.Errorf("%d members: a join took %d agent messages, promised are %d: %+v", n, used.Total(), budget(n, log), used)
	}

	all := slices.Clone(s.nodes)
	before = s.counts()
	for _, m := range []*node{all[0], all[len(all)/3], last} {
		m.send("to everybody from " + m.name)
		s.run(10 * time.Minute)
	}
	used = s.counts().Minus(before)
	if most := 3 * (size - 1); used.Messages != most || used.Total() > 2*most {
		t.Errorf("%d members: three messages took %+v", size, used)
	}
	s.sameMessages(all, nil)

	out, leaver := all[len(all)/4], all[len(all)/5]
	in := slices.DeleteFunc(slices.Clone(all), func(m *node) bool { return m == out || m == leaver })
	for _, step := range []func(){
		func() { in[1].must(Remove{Members: []Key{out.g.self}}) },
		func() { leaver.must(Leave{}) },
	} {
		before = s.counts()
		step()
		s.run(10 * time.Minute)
		if used = s.counts().Minus(before); used.Total() > 2*size-2 {
			t.Errorf("%d members: one going took %+v", size, used)
		}
	}
	s.agree(in...)
	if !s.connected(in...) || in[0].g.Info().Members != size-2 {
		t.Errorf("%d members are left", in[0].g.Info().Members)
	}
}
