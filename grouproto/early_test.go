package grouproto

import (
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// A message written before the recovery knew that its number was used is ignored by those who have the other one. Its
// author's client is told so, once for each member that is known to, and what it writes again reaches everybody.
func TestMessageWrittenTooEarlyIsReported(t *testing.T) {
	for lost := 1; lost <= 3; lost++ {
		s := newSim(t, uint64(450+lost))
		s.group(4, oplog.Symmetric())
		n := s.nodes[1]
		n.send("before")
		s.run(time.Minute)
		old := n.backup()
		for i := range lost {
			n.send(fmt.Sprint("after the backup ", i))
		}
		s.run(time.Minute)
		n.restoreFrom(old)
		n.events = nil
		early := n.send("too early")
		s.run(time.Second)
		n.must(Recover{RecoveryAsked})
		s.run(10 * time.Minute)
		told := map[Key]int{}
		for _, f := range eventsOf[MessageFailed](n) {
			if f.Reason != ReasonNumber || f.Range != (Range{early.Number, early.Number}) {
				t.Errorf("told of %+v", f)
			}
			told[f.Member]++
		}
		if len(told) != 3 {
			t.Errorf("%d lost: told of %d members", lost, len(told))
		}
		n.load()
		all, err := n.g.Delivery(early.Number)
		for _, d := range all {
			if told[d.Member] != 1 || err != nil || d.State != Undelivered || d.Reason != ReasonNumber {
				t.Errorf("%d lost: told %d times: %+v, %v", lost, told[d.Member], d, err)
			}
		}
		for _, o := range s.nodes {
			if k := fmt.Sprintf("%s/%d", n.g.self.Text(), early.Number); o != n && o.texts[k] != "after the backup 0" {
				t.Errorf("%s has %q", o.name, o.texts[k])
			}
		}
		again := n.send("too early")
		s.run(time.Minute)
		for _, o := range s.nodes {
			if k := fmt.Sprintf("%s/%d", n.g.self.Text(), again.Number); o != n && o.got[k] != 1 {
				t.Errorf("%s got what was written again %d times", o.name, o.got[k])
			}
		}
		s.agree(s.nodes...)
	}
}

// A member that names other contents for many own messages does not flood the client.
func TestReportsOfOtherContentsAreLimited(t *testing.T) {
	s := newSim(t, 460)
	s.group(3, oplog.Symmetric())
	n, liar := s.nodes[0], s.nodes[1]
	for i := range 100 {
		n.send(fmt.Sprint(i))
	}
	s.run(time.Minute)
	for i := range uint64(100) {
		strike(liar, n, &syncFrame{Heads: heads(liar), List: []MessageID{{n.g.self, i, [32]byte{1}}}})
		s.run(3 * time.Second)
	}
	failed := eventsOf[MessageFailed](n)
	for _, f := range failed {
		if f.Member != liar.g.self {
			t.Errorf("told of somebody else: %+v", f)
		}
	}
	if len(failed) == 0 || len(failed) > warnBurst+1 {
		t.Errorf("told %d times", len(failed))
	}
}
