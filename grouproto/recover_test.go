package grouproto

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/kv"
)

// backup is a copy of a node's records.
func (n *node) backup() *kv.Memory { return n.tx.Clone() }

// restoreFrom is a start from a backup: what has happened since is forgotten, only the others know it.
func (n *node) restoreFrom(b *kv.Memory) {
	n.stopped = true
	n.tx = b.Clone()
	n.start()
}

// reconnect is what the connection layer tells after a start.
func (n *node) reconnect() {
	for _, p := range n.g.present() {
		if c := p.ready(); c != nil {
			n.step(Up{c.name})
		}
	}
}

// recoversAndGoesOn checks a recovery that has begun: it ends, the own messages are back, and what is written then reaches
// everybody as a new run.
func (s *sim) recoversAndGoesOn(n *node, lost []MessageID) {
	s.t.Helper()
	s.until(5*time.Minute, func() bool { return n.g.Info().Recovery == RecoveryNone })
	if s.reload > 0 {
		s.run(time.Hour) // who forgets whom it has asked does not have everything back in the first minute
	}
	for _, id := range lost {
		m, err := n.g.Message(n.tx, id.Author, id.Number)
		if err != nil || m.ID != id {
			s.t.Errorf("%s has not got its message %d back: %v", n.name, id.Number, err)
		}
	}
	own := eventsOf[OwnMessage](n)
	if len(own) != len(lost) {
		s.t.Errorf("%s was told %d own messages, want %d", n.name, len(own), len(lost))
	}
	first := n.send("after the restore")
	if first.Number < runStart(s.now.Add(-2*time.Hour)) || first.Number%(1<<runBits) != 0 {
		s.t.Errorf("the new run begins with %d", first.Number)
	}
	m, _ := n.g.Message(n.tx, n.g.self, first.Number)
	if m.Prev != ([32]byte{}) {
		s.t.Error("a run begins with something before it")
	}
	n.send("and on")
	s.run(10 * time.Minute)
	for _, o := range s.nodes {
		for _, w := range eventsOf[Warned](o) {
			s.t.Errorf("%s was warned: %v", o.name, w)
		}
		for number := first.Number; number < n.g.main.next; number++ {
			if k := fmt.Sprintf("%s/%d", n.g.self.Text(), number); o != n && o.got[k] != 1 {
				s.t.Errorf("%s got message %d %d times", o.name, number, o.got[k])
			}
		}
		if o != n {
			p := o.g.peers[n.g.self]
			if q := n.g.peers[o.g.self]; q.delivered != n.g.main.next || len(q.missing) != 0 {
				s.t.Errorf("%s tells receipt %d, missing %v", o.name, q.delivered, q.missing)
			}
			if p.paused != ReasonNone {
				s.t.Errorf("%s has paused it", o.name)
			}
		}
		if d := o.digestNow(); d != s.nodes[0].digestNow() {
			s.t.Errorf("%s has another digest than %s", o.name, s.nodes[0].name)
		}
	}
	s.agree(s.nodes...)
}

// numbers returns the numbers of the own messages from one on, of all runs, without those that somebody made up.
func (n *node) numbers(from uint64) (out []uint64) {
	for number := from; number < n.g.main.next; number++ {
		if why, last := n.g.chains[n.g.self].absentAt(number); why != 0 {
			number = last
			continue
		}
		out = append(out, number)
	}
	return out
}

func (n *node) digestNow() [32]byte { return (&step{Group: n.g, env: n.env(n.tx)}).digest() }

func TestOldBackupIsNoticedAndTheNumbersAreNotUsedAgain(t *testing.T) {
	for size := 2; size <= 6; size++ {
		s := newSim(t, uint64(100+size))
		s.group(size, oplog.Symmetric())
		n := s.nodes[1]
		n.send("before")
		s.run(time.Minute)
		old := n.backup()
		var lost []MessageID
		for i := range 3 {
			lost = append(lost, n.send(fmt.Sprint("after the backup ", i)))
			s.nodes[0].send(fmt.Sprint("others ", i))
			s.run(time.Minute)
		}
		n.restoreFrom(old)
		n.events = nil
		n.reconnect()
		s.until(time.Minute, func() bool { return len(eventsOf[Recovering](n)) == 1 })
		if r := eventsOf[Recovering](n)[0]; r.Why != RecoveryMessage {
			t.Errorf("recovers because of %v", r.Why)
		}
		for _, in := range []Input{
			Send{Body: []byte("too early")}, Set{"title", []byte("x")}, Remove{Members: []Key{s.nodes[0].g.self}}, Close{},
			SetRole{s.nodes[0].g.self, oplog.Plain}, SetPolicy{oplog.Symmetric()},
		} {
			if err := n.refused(in); !errors.Is(err, ErrRecovering) {
				t.Errorf("%T: %v", in, err)
			}
		}
		n.got, n.texts = map[string]int{}, map[string]string{}
		s.recoversAndGoesOn(n, lost)
		if t.Failed() {
			t.Fatalf("%d members", size)
		}
	}
}

// The state survives everything that happens to the process, and steps whose transaction fails.
func TestRecoverySurvivesCrashes(t *testing.T) {
	for seed := range uint64(20) {
		s := newSim(t, 200+seed)
		s.group(4, oplog.Symmetric())
		n := s.nodes[2]
		old := n.backup()
		var lost []MessageID
		for i := range 4 {
			lost = append(lost, n.send(fmt.Sprint("message ", i)))
			s.run(10 * time.Second)
		}
		n.restoreFrom(old)
		n.events = nil
		n.must(Recover{RecoveryAsked})
		s.abort, s.reload = 0.3, 0.5
		if n.load(); n.g.Info().Recovery != RecoveryAsked {
			t.Fatal("forgotten by a restart")
		}
		s.recoversAndGoesOn(n, lost)
	}
}

// An own operation comes back before the next one is written; so nobody sees two side by side.
func TestOwnOperationsAreTakenBack(t *testing.T) {
	s := newSim(t, 130)
	s.group(4, oplog.Symmetric())
	n := s.nodes[1]
	old := n.backup()
	n.must(Set{"title", []byte("from before")})
	s.run(time.Minute)
	n.restoreFrom(old)
	n.events = nil
	n.reconnect()
	s.until(time.Minute, func() bool { return len(eventsOf[Recovering](n)) == 1 })
	if r := eventsOf[Recovering](n)[0]; r.Why != RecoveryOperation {
		t.Errorf("recovers because of %v", r.Why)
	}
	s.until(2*time.Minute, func() bool { return len(eventsOf[Recovered](n)) == 1 })
	n.must(Set{"title", []byte("from after")})
	s.run(time.Minute)
	for _, o := range s.nodes {
		if w := eventsOf[Warned](o); len(w) > 0 {
			t.Errorf("%s was warned: %v", o.name, w)
		}
		if v, _, _ := o.g.st.Setting("title"); string(v) != "from after" {
			t.Errorf("%s sees the title %q", o.name, v)
		}
	}
	s.agree(s.nodes...)
}

// What was written too early shows as an equivocation of operations and does no other harm.
func TestOperationWrittenTooEarlyIsAnEquivocationNoticeOnly(t *testing.T) {
	s := newSim(t, 131)
	s.group(4, oplog.Symmetric())
	n := s.nodes[1]
	old := n.backup()
	n.must(Set{"title", []byte("one")})
	s.run(time.Minute)
	n.restoreFrom(old)
	n.must(Set{"about", []byte("two")})
	s.run(10 * time.Minute)
	for _, o := range s.nodes {
		if o != n && len(warnings(o, WarnEquivocation)) != 1 {
			t.Errorf("%s was warned %d times", o.name, len(warnings(o, WarnEquivocation)))
		}
		for _, w := range eventsOf[Warned](o) {
			if w != (Warned{Warning: WarnEquivocation, Member: n.g.self}) {
				t.Errorf("%s was warned: %v", o.name, w)
			}
		}
		for _, name := range []string{"title", "about"} {
			if _, _, ok := o.g.st.Setting(name); !ok {
				t.Errorf("%s has no %s", o.name, name)
			}
		}
	}
	s.agree(s.nodes...)
}

// Nobody answers: the member goes on asking, and writes as soon as one member has told what it knows.
func TestRecoveryWaitsForSomebody(t *testing.T) {
	s := newSim(t, 132)
	s.group(3, oplog.Symmetric())
	n := s.nodes[0]
	s.nodes[1].stop()
	s.nodes[2].stop()
	n.must(Recover{RecoveryAsked})
	s.run(3 * time.Hour)
	if n.g.Info().Recovery == RecoveryNone {
		t.Fatal("recovered without having heard of anybody")
	}
	if got := s.counts().Sync; got > 500 {
		t.Errorf("asked %d times", got)
	}
	s.nodes[1].start()
	s.until(5*time.Minute, func() bool { return n.g.Info().Recovery == RecoveryNone })
	alone := newSim(t, 133).create("alone", oplog.Symmetric())
	alone.send("a")
	alone.must(Recover{RecoveryAsked})
	if alone.g.Info().Recovery != RecoveryNone || alone.send("b").Number == 1 {
		t.Error("who is alone has nobody to wait for, and begins a new run")
	}
	if _, err := alone.g.Delivery(1); !errors.Is(err, ErrUnknown) {
		t.Error("a number between two runs has a delivery state")
	}
}

// One who lies about what a member wrote costs it a minute a day.
func TestLiesAboutOwnMessagesAreLimited(t *testing.T) {
	s := newSim(t, 134)
	s.group(4, oplog.Symmetric())
	victim, liar := s.nodes[0], s.nodes[1]
	victim.send("one")
	s.run(time.Minute)
	for i := range uint64(50) {
		strike(liar, victim, &syncFrame{Heads: heads(liar), List: []MessageID{{victim.g.self, 5 + i, [32]byte{1}}}})
		s.run(time.Minute)
		strike(liar, victim, &syncFrame{Heads: heads(liar), List: []MessageID{{victim.g.self, 0, [32]byte{2}}}})
		strike(liar, victim, &syncFrame{Heads: heads(liar), List: []MessageID{{victim.g.self, 1<<63 + i, [32]byte{1}}}})
		s.run(20 * time.Minute)
		if s.now.Sub(victim.g.main.claimAt) > 10*time.Minute && victim.g.Info().Recovery != RecoveryNone {
			t.Fatal("still recovering")
		}
	}
	if n := len(eventsOf[Recovering](victim)); n != 1 {
		t.Errorf("recovered %d times in 17 hours", n)
	}
	if victim.g.main.next > runStart(s.now) {
		t.Error("the run is ahead of the clock")
	}
	victim.send("two")
	s.run(time.Hour)
	for _, o := range []*node{s.nodes[2], s.nodes[3]} {
		if len(o.got) != 2 {
			t.Errorf("%s got %d messages", o.name, len(o.got))
		}
	}
}

// An answer to an invitation that comes meanwhile waits, because it makes the inviter write an operation.
func TestAcceptanceWaitsForTheEndOfARecovery(t *testing.T) {
	s := newSim(t, 135)
	s.group(2, oplog.Symmetric())
	n := s.nodes[0]
	s.nodes[1].stop()
	n.must(Recover{RecoveryAsked})
	ops := n.g.log.Len()
	joiner := s.node("new")
	n.invite(joiner)
	s.run(10 * time.Minute)
	n.load()
	if n.g.log.Len() != ops {
		t.Fatal("an operation was written")
	}
	s.nodes[1].start()
	s.until(time.Hour, func() bool { return s.connected(s.nodes...) })
	s.agree(s.nodes...)
}
