package grouproto

import (
	"errors"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// hostile is an operation that its author signs by hand, past what its own program would write.
func (n *node) hostile(to *node, a oplog.Action, parents ...OpID) *oplog.Op {
	n.sim.t.Helper()
	var seq uint64
	for i := range n.g.log.Len() {
		if op := n.g.log.At(i); op.Author == n.g.self && (op.ID() == parents[0] || n.g.log.InPast(op.ID(), parents[0])) {
			seq = op.Seq + 1
		}
	}
	op := signedOp(n.sim.t.(*testing.T), n.g, seq, parents, a)
	st := &step{Group: to.g, env: to.env(to.tx)}
	if p := to.g.peers[n.g.self]; p != nil {
		st.addOps(p, []*oplog.Op{op})
	}
	st.finish()
	to.perform(st.out)
	return op
}

// A member of lower rank that was removed cannot come back, whatever parents it claims for its answer.
func TestAttackContestFromBelow(t *testing.T) {
	s := newSim(t, 90)
	s.group(4, oplog.Symmetric())
	creator, junior, other := s.nodes[0], s.nodes[3], s.nodes[1]
	before := junior.g.log.Heads()
	genesis := junior.g.log.At(0).ID()
	creator.must(Remove{Members: []Key{junior.g.self}})
	s.run(time.Minute)
	if err := junior.refused(Remove{Contest: true}); !errors.Is(err, ErrNoContest) {
		t.Error(err)
	}
	removal := other.g.log.Heads()[0]
	back := &oplog.Remove{Members: []oplog.Removal{{Member: creator.g.self}}}
	for _, parents := range [][]OpID{before, {removal}, {genesis}} {
		junior.hostile(other, back, parents...)
	}
	other.send("so that heads go round")
	s.run(10 * time.Minute)
	for _, n := range s.nodes[:3] {
		if _, ok := n.g.st.Member(junior.g.self); ok || n.g.st.Len() != 3 || n.g.Info().Status != StatusMember {
			t.Errorf("%s: %d members", n.name, n.g.st.Len())
		}
	}
	s.agree(s.nodes[:3]...)
}

// A contest undoes a removal only by who has not written since; two of them are as good as one.
func TestAttackContestTwiceAndTooLate(t *testing.T) {
	s := newSim(t, 91)
	s.group(4, oplog.Symmetric())
	creator, rebel := s.nodes[0], s.nodes[2]
	rebel.must(Remove{Members: []Key{creator.g.self}})
	s.run(time.Minute)
	creator.must(Remove{Contest: true})
	if err := creator.refused(Remove{Contest: true}); !errors.Is(err, ErrNoContest) {
		t.Error(err)
	}
	s.run(time.Minute)
	for _, n := range []*node{creator, s.nodes[1], s.nodes[3]} {
		if _, ok := n.g.st.Member(rebel.g.self); ok || n.g.st.Len() != 3 || n.g.Info().Status != StatusMember {
			t.Errorf("%s: %d members, %v", n.name, n.g.st.Len(), n.g.Info().Status)
		}
	}
	s.agree(creator, s.nodes[1], s.nodes[3])
}

// A sweep by two authors together is undone by one contest that names both.
func TestAttackSweepOfTwoAuthors(t *testing.T) {
	s := newSim(t, 92)
	s.group(6, oplog.Symmetric())
	creator, a, b := s.nodes[0], s.nodes[1], s.nodes[2]
	s.minDelay, s.maxDelay = time.Second, 2*time.Second
	a.must(Remove{Members: []Key{creator.g.self, s.nodes[3].g.self}})
	b.must(Remove{Members: []Key{creator.g.self, s.nodes[4].g.self, s.nodes[5].g.self}})
	s.run(time.Minute)
	if creator.g.Info().Status != StatusRemoved {
		t.Fatal("not removed")
	}
	creator.must(Remove{Contest: true})
	s.run(10 * time.Minute)
	stay := []*node{creator, s.nodes[3], s.nodes[4], s.nodes[5]}
	for _, n := range stay {
		if n.g.st.Len() != 4 || n.g.Info().Status != StatusMember {
			t.Errorf("%s: %d members, %v", n.name, n.g.st.Len(), n.g.Info().Status)
		}
	}
	s.agree(stay...)
	s.until(time.Hour, func() bool { return s.connected(stay...) })
}

// A contest on its way when the grace ends: who gets it in time and who does not agree again as soon as they hear of each
// other.
func TestGraceEndsWhileAContestIsOnItsWay(t *testing.T) {
	s := newSim(t, 93)
	s.group(4, oplog.Symmetric())
	creator, rebel, late := s.nodes[0], s.nodes[1], s.nodes[3]
	rebel.must(Remove{Members: []Key{creator.g.self}})
	s.run(Grace - time.Minute)
	late.stop()
	creator.must(Remove{Contest: true})
	s.run(time.Hour) // the grace of those who did not hear of it is over
	late.start()
	s.run(12 * time.Hour)
	stay := []*node{creator, s.nodes[2], late}
	for _, n := range stay {
		if n.g.st.Len() != 3 || n.g.Info().Status != StatusMember {
			t.Errorf("%s: %d members, %v", n.name, n.g.st.Len(), n.g.Info().Status)
		}
	}
	s.agree(stay...)
	s.until(12*time.Hour, func() bool { return s.connected(stay...) })
}

// What a member wrote twice, side by side, is gone with the member when it is removed by who outranks it, and its old key
// never comes back.
func TestAttackEquivocationThenRemoval(t *testing.T) {
	s := newSim(t, 94)
	s.group(4, oplog.Symmetric())
	creator, liar, victim, other := s.nodes[0], s.nodes[1], s.nodes[2], s.nodes[3]
	heads := liar.g.log.Heads()
	liar.hostile(other, &oplog.Remove{Members: []oplog.Removal{{Member: victim.g.self}}}, heads...)
	liar.hostile(creator, &oplog.Set{Setting: oplog.Setting{Name: "title", Value: []byte("mine")}}, heads...)
	other.send("so that heads go round")
	creator.send("and the other ones")
	s.run(10 * time.Minute)
	if len(warnings(creator, WarnEquivocation)) == 0 || len(warnings(other, WarnEquivocation)) == 0 {
		t.Error("nobody was warned")
	}
	creator.must(Remove{Members: []Key{liar.g.self}})
	s.run(10 * time.Minute)
	again := &oplog.Add{Member: liar.g.self, Role: oplog.Plain}
	creator.hostile(other, again, creator.g.log.Heads()...)
	for _, n := range []*node{creator, other} {
		if _, ok := n.g.st.Member(liar.g.self); ok {
			t.Errorf("%s: the old key is back", n.name)
		}
	}
	s.agree(creator, other)
}

// Who has left comes back with a new key only: nobody can add the old one again.
func TestOldKeyOfWhoHasLeftNeverReturns(t *testing.T) {
	s := newSim(t, 95)
	s.group(3, oplog.Symmetric())
	creator, other, gone := s.nodes[0], s.nodes[1], s.nodes[2]
	old := gone.g.self
	gone.must(Leave{})
	s.run(time.Minute)
	add := &oplog.Add{Member: old, Role: oplog.Plain}
	if _, err := creator.g.log.Next(creator.g.self, add, s.now.Unix()); err != oplog.ReasonAdded {
		t.Error("it may be written:", err)
	}
	op := creator.hostile(other, add, creator.g.log.Heads()...)
	if other.g.log.Has(op.ID()) {
		t.Error("it is admitted")
	}
	s.run(Grace + time.Hour)
	again := s.node("again")
	creator.invite(again)
	s.until(10*time.Minute, func() bool { return s.connected(creator, other, again) })
	for _, n := range []*node{creator, other, again} {
		if _, ok := n.g.st.Member(old); ok || again.g.self == old {
			t.Errorf("%s: the old key is back", n.name)
		}
	}
	s.agree(creator, other, again)
}
