package grouproto

import (
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// addStrangers lets a node add keys of nobody.
func (n *node) addStrangers(count int) (keys []Key) {
	n.sim.t.Helper()
	st := &step{Group: n.g, env: n.env(n.tx)}
	for range count {
		k, _ := n.sim.outsider()
		body, err := n.g.log.Next(n.g.self, &oplog.Add{Member: k, Role: oplog.Plain}, n.now().Unix())
		if err == nil {
			_, err = st.publish(body, toPresent)
		}
		if err != nil {
			n.sim.t.Fatal(err)
		}
		keys = append(keys, k)
	}
	st.finish()
	n.perform(st.out)
	n.plan()
	return keys
}

// What is a sweep is measured by how many there were at its beginning, else one that goes on in small steps would never be
// told: the group gets smaller with it.
func TestSweepInSmallSteps(t *testing.T) {
	for _, c := range []struct {
		first, then, steps int
		every              time.Duration
		told               int
	}{
		{10, 1, 1, time.Second, 1},
		{10, 1, 20, time.Second, 1},
		{1, 1, 9, 5 * time.Minute, 0},
		{1, 1, 10, 5 * time.Minute, 1},
		{1, 1, 12, 10 * time.Minute, 0},
	} {
		s := newSim(t, 930)
		s.group(2, oplog.Symmetric())
		sweeper, other := s.nodes[0], s.nodes[1]
		keys := sweeper.addStrangers(38)
		s.run(time.Minute)
		sweeper.must(Remove{Members: slices.Clone(keys[:c.first])})
		keys = keys[c.first:]
		for range c.steps {
			s.run(c.every)
			sweeper.must(Remove{Members: slices.Clone(keys[:c.then])})
			keys = keys[c.then:]
		}
		s.run(time.Minute)
		if told := warnedOf(other, WarnSweep); len(told) != c.told {
			t.Errorf("%+v: told %d times", c, len(told))
		}
	}
}
