package grouproto

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/internal/kv"
)

// checkKept compares what is kept up from step to step with what it stands for: the time of NextWake, the number of authors
// with gaps, the front and the digest. And it lets a group that has just done a step look at everybody: unless time has made
// something due there must be nothing to do, and nothing to write.
func (n *node) checkKept() {
	t, g := n.sim.t, n.g
	t.Helper()
	s := &step{Group: g, env: n.env(n.tx)}
	kept, plain := g.NextWake(), g.nextWake()
	if !plain.IsZero() && (kept.IsZero() || kept.After(plain)) {
		t.Errorf("%s wants a Tick at %v, kept is %v", n.name, plain, kept)
	}
	gappy := 0
	var front []MessageID
	for _, k := range slices.SortedFunc(mapKeys(g.chains), Key.Compare) {
		c := g.chains[k]
		if len(c.gaps) > 0 {
			gappy++
		}
		id, ok := s.readFront(c)
		if got, is := s.frontOf(c); got != id && ok || ok != is {
			t.Errorf("%s: front of %s is %v, kept is %v", n.name, n.sim.nameOf(k), id, got)
		}
		if g.st != nil {
			if _, present := g.st.Member(k); present && ok {
				front = append(front, id)
			}
		}
	}
	for _, p := range g.order {
		if p.sendable() != nil && slices.ContainsFunc(p.out, func(q queued) bool { return s.due(q.due) }) {
			t.Errorf("%s keeps a frame for %s that is due", n.name, n.sim.nameOf(p.key))
		}
	}
	if gappy != g.gappy {
		t.Errorf("%s: %d authors have gaps, %d are counted", n.name, gappy, g.gappy)
	}
	if s.digest() != digest(front) {
		t.Errorf("%s: kept another digest", n.name)
	}
	if !g.narrow(s.env, Message{}) {
		return // the next step is wide
	}
	// Every step does this but those for Sent, and the first after a start may be one.
	s.tellCaughtUp()
	s.noteLacking()
	s.store()
	s.out = nil
	before, wakeAt := n.tx.Clone(), g.wakeAt
	if s.finish(); len(s.out) > 0 {
		t.Errorf("%s had to look at everybody: %T", n.name, s.out[0])
		if e, ok := s.out[0].(Notice); ok {
			t.Errorf("%T", e.Event)
		}
	}
	if k := changedRecord(before, n.tx); k != "" {
		t.Errorf("%s had to look at everybody: a record %q was written", n.name, k)
	}
	g.wakeAt, g.wakeKnown = wakeAt, true
}

// changedRecord returns the kind of a record that is not the same in both.
func changedRecord(a, b *kv.Memory) (kind string) {
	for _, pair := range [][2]*kv.Memory{{a, b}, {b, a}} {
		pair[0].Scan(nil, nil, func(k, v []byte) bool {
			if w, ok := pair[1].Get(k); !ok || !bytes.Equal(v, w) {
				kind = string(k[:1])
			}
			return kind == ""
		})
	}
	return kind
}

func mapKeys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// TestNarrowStepsAreWhole is the random simulation, looking after each step for anything that it should have done.
func TestNarrowStepsAreWhole(t *testing.T) {
	seeds := 30
	if testing.Short() {
		seeds = 6
	}
	narrow, wide := 0, 0
	for seed := range uint64(seeds) {
		s := newSim(t, 20_000+seed)
		s.partings = seed%3 == 0
		s.steps = func(n *node, in Input) {
			switch _, message := in.(Message); {
			case n.g.narrow(n.env(n.tx), in):
				narrow++
			case message:
				wide++
			}
		}
		s.stepped = (*node).checkKept
		s.randomSchedule(t)
		if t.Failed() {
			t.Fatalf("seed %d", 20_000+seed)
		}
	}
	t.Logf("%d narrow, %d wide", narrow, wide)
	if narrow < wide {
		t.Error("hardly any step is narrow")
	}
}

// In a large group one message of a member, or a receipt, costs what it costs in a small one.
func TestOneMessageCostsTheSameInALargeGroup(t *testing.T) {
	allocs := map[int]float64{}
	for _, n := range []int{50, 500} {
		w := newWide(t, n)
		w.g.NextWake()
		var number uint64
		var prev [32]byte
		k := w.keys[0]
		allocs[n] = testing.AllocsPerRun(50, func() {
			w.now = w.now.Add(10 * time.Second)
			var in Input
			in, prev = w.say(k, number, prev)
			number++
			w.step(in)
			w.step(Message{w.conn(k), bodyOf(&rcvdFrame{UpTo: 0, Heads: w.g.log.Heads()})})
			w.g.NextWake()
		})
	}
	if allocs[500] > allocs[50]+20 {
		t.Errorf("%v allocations in a group of 500, %v in one of 50", allocs[500], allocs[50])
	}
	t.Log(allocs)
}
