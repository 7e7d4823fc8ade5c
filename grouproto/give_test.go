package grouproto

import (
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// Somebody says again and again that it has nothing but the genesis.
func TestAttackAskingForTheWholeLog(t *testing.T) {
	s := newSim(t, 910)
	s.group(3, oplog.Symmetric())
	author, liar, victim := s.nodes[0], s.nodes[1], s.nodes[2]
	size := 0
	for i := range 30 {
		author.must(Set{Name: "pin/x", Value: append(make([]byte, 4000), byte(i))})
		s.run(2 * time.Second)
	}
	for i := range victim.g.log.Len() {
		size += victim.g.log.At(i).Size()
	}
	s.run(time.Hour)
	sent := 0
	victim.hook = func(_ *node, e Effect) {
		if e, ok := e.(SendConn); ok {
			sent += len(e.Body)
		}
	}
	genesis := victim.g.log.At(0).ID()
	for range 15 {
		for range 10 {
			strike(liar, victim, &syncFrame{Heads: []OpID{genesis}}, &wantFrame{Ops: heads(victim)})
		}
		s.run(time.Minute)
	}
	if most := 5*size + MaxCopiesHour*3/2; sent > most || sent < 2*size {
		t.Errorf("%d bytes were sent in a quarter of an hour, the log has %d", sent, size)
	}
	if victim.g.Hits()[LimitCopies.String()] == 0 {
		t.Error("no limit was counted")
	}
	s.run(2 * time.Hour)
	s.stillWell(author, victim)
}

// A member that was removed writes on, as if it did not know.
func TestAttackWritingAfterTheEnd(t *testing.T) {
	s := newSim(t, 911)
	s.group(4, oplog.Symmetric())
	author, liar, victim, other := s.nodes[0], s.nodes[1], s.nodes[2], s.nodes[3]
	parents := heads(liar)
	author.must(Remove{Members: []Key{liar.g.self}})
	s.run(time.Minute)
	before := victim.g.log.Len()
	for n := range uint64(12) {
		var ops []*oplog.Op
		for i := range uint64(50) {
			b := oplog.Body{Group: liar.g.id, Author: liar.g.self, Seq: 50*n + i, Parents: parents}
			b.Action = &oplog.Set{Setting: oplog.Setting{Name: "title", Value: fmt.Append(nil, n, i)}}
			op, err := oplog.Sign(b, liar.g.key)
			if err != nil {
				t.Fatal(err)
			}
			parents = []OpID{op.ID()}
			ops = append(ops, op)
		}
		strike(liar, victim, &opsFrame{Ops: ops})
		s.run(2 * time.Second)
	}
	if n := victim.g.log.Len() - before; n > oplog.MaxLate {
		t.Errorf("%d operations of a removed member were taken", n)
	}
	s.run(7 * time.Hour)
	s.stillWell(author, victim, other)
}

// The report of a large group is larger than one agent message.
func TestReportOfManyPairsFits(t *testing.T) {
	s := newSim(t, 912)
	s.group(3, oplog.Symmetric())
	n := s.nodes[2]
	inviter := n.g.peers[s.nodes[0].g.self]
	var told int
	n.hook = func(_ *node, e Effect) {
		c, ok := e.(SendConn)
		if !ok {
			return
		}
		if len(c.Body) > MaxFrames {
			t.Errorf("a body of %d bytes", len(c.Body))
		}
		frames, err := splitBody(c.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range frames {
			if d, err := decodeFrame(b); err == nil && d.tag == TagCon {
				told += len(d.frame.(*conFrame).Pairs)
			}
		}
	}
	step := &step{Group: n.g, env: n.env(n.tx)}
	var pairs []conEntry
	for range MaxMembers {
		pairs = append(pairs, conEntry{Member: s.nodes[1].g.self, State: conConnected})
	}
	step.reportThese(inviter, pairs)
	step.finish()
	n.perform(step.out)
	if told != MaxMembers {
		t.Errorf("%d pairs were reported", told)
	}
}

// The creator's offer goes with its card, and without the genesis, which can be as large as a whole message.
func TestOfferOfTheCreatorFits(t *testing.T) {
	s := newSim(t, 913)
	var settings []oplog.Setting
	for i := range 2 {
		settings = append(settings, oplog.Setting{Name: fmt.Sprint("pin/", i), Value: make([]byte, 3900)})
	}
	s.group(3, oplog.Symmetric(), settings...)
	creator, via, to := s.nodes[0], s.nodes[1], s.nodes[2]
	forwarded := 0
	via.hook = func(_ *node, e Effect) {
		if c, ok := e.(SendConn); ok && hasFrame(c.Body, TagMemInv) {
			if forwarded++; len(c.Body) > MaxFrames {
				t.Errorf("a body of %d bytes", len(c.Body))
			}
		}
	}
	via.tx.Put(record('k', creator.g.self[:]), make([]byte, MaxCard))
	o := offerFrom(creator, to.g.self, 1<<31, "")
	o.Link = make([]byte, MaxLink)
	o.sign(creator.g.key, creator.g.id)
	strike(creator, via, &invMemFrame{Offers: []offer{o}})
	if forwarded != 1 {
		t.Errorf("the offer was passed on %d times", forwarded)
	}
}
