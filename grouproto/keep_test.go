package grouproto

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// Above 50 members there are receipts only if the setting says so.
func TestReceiptsInALargeGroupBySetting(t *testing.T) {
	for setting, want := range map[string]int{"": 0, "59": 0, "60": 1, "100": 1, "many": 0} {
		w := newWide(t, 60)
		if setting != "" {
			w.step(Set{"receipts", []byte(setting)})
		}
		k := w.keys[3]
		in, _ := w.say(k, 0, [32]byte{})
		w.step(in)
		got := 0
		for range 3 {
			w.now = w.now.Add(w.g.receiptEvery())
			w.step(Tick{})
			for _, e := range w.sent[k] {
				frames, _ := splitBody(e.Body)
				for _, f := range frames {
					if d, err := decodeFrame(f); err == nil && d.tag == TagRcvd && d.frame.(*rcvdFrame).UpTo == 1 {
						got++
					}
				}
			}
		}
		if got != want {
			t.Errorf("setting %q: %d receipts", setting, got)
		}
		// The same for what the client is told of its own messages.
		w.step(Send{Body: []byte("x")})
		sent := w.sent[k][0]
		told := slices.ContainsFunc(w.step(Sent{sent.Conn, sent.Ref}), func(e Effect) bool {
			n, ok := e.(Notice)
			if ok {
				_, ok = n.Event.(MessageSent)
			}
			return ok
		})
		if told != (want == 1) {
			t.Errorf("setting %q: progress told %t", setting, told)
		}
	}
}

// A message names the newest 16 of what nothing implies; the others are named by the next.
func TestMoreThan16Tips(t *testing.T) {
	w := newWide(t, 80)
	for _, k := range w.keys[:70] {
		in, _ := w.say(k, 0, [32]byte{})
		w.step(in)
	}
	if n := len(w.g.main.tips); n != mostTips {
		t.Fatalf("%d tips", n)
	}
	named := map[Key]bool{}
	for i := range mostTips / oplog.MaxParents {
		w.step(Send{Body: []byte("x")})
		m, err := w.g.Message(w.tx, w.g.self, uint64(i))
		if err != nil || len(m.Parents) != oplog.MaxParents {
			t.Fatalf("%d parents, %v", len(m.Parents), err)
		}
		for j, p := range m.Parents {
			if named[p.Author] {
				t.Error("named twice")
			}
			if named[p.Author] = true; p.Author != w.keys[70-(i+1)*oplog.MaxParents+j] {
				t.Error("not the newest")
			}
		}
	}
	w.step(Send{Body: []byte("x")})
	if m, err := w.g.Message(w.tx, w.g.self, uint64(mostTips/oplog.MaxParents)); err != nil || len(m.Parents) != 0 {
		t.Errorf("%d parents when all are named, %v", len(m.Parents), err)
	}
}

// A member comes back after more than 21 days: what is not kept any more is declared not to be had, the rest comes.
func TestInactiveMemberComesBackAfterTheRetention(t *testing.T) {
	s := newSim(t, 500)
	s.group(4, oplog.Symmetric())
	away, others := s.nodes[1], []*node{s.nodes[0], s.nodes[2], s.nodes[3]}
	away.stop()
	// What waits at relays is lost meanwhile.
	for _, o := range others {
		_, half := s.pairOf(o, away)
		half.peer.inbox = 0
	}
	for i := range 3 {
		others[0].send(fmt.Sprint("not kept ", i))
	}
	s.run(time.Minute)
	away.held = nil
	s.run(Retention - 24*time.Hour)
	for range 4 { // others are there all the time
		for _, o := range others {
			o.send("now and then")
		}
		s.run(12 * time.Hour)
	}
	for _, o := range others {
		if p := o.g.peers[away.g.self]; p.paused != ReasonInactive {
			t.Fatalf("%s has not paused it: %v", o.name, p.paused)
		}
	}
	last := others[1].send("while it is inactive")
	s.run(24 * time.Hour)
	for _, o := range others {
		if _, ok := loadKept(o.tx, 'm', others[0].g.self, 0); ok {
			t.Fatal("still kept")
		}
	}
	away.start()
	away.reconnect()
	s.run(12 * time.Hour)
	k := others[0].g.self
	c := away.g.chains[k]
	if len(c.gaps) > 0 {
		t.Errorf("still missing %v", c.gaps)
	}
	for n := range uint64(3) {
		if why, _ := c.absentAt(n); why != noneNotKept {
			t.Errorf("message %d: %d", n, why)
		}
	}
	if away.got[fmt.Sprintf("%s/%d", last.Author.Text(), last.Number)] != 1 {
		t.Error("the newest has not come")
	}
	if len(eventsOf[CaughtUp](away)) == 0 {
		t.Error("the client was not told that it has caught up")
	}
	for _, o := range others {
		if o.g.peers[away.g.self].paused != ReasonNone {
			t.Errorf("%s still rests", o.name)
		}
		if o.digestNow() != away.digestNow() {
			t.Errorf("%s has another digest", o.name)
		}
	}
	s.agree(s.nodes...)
}

// However many contents an author gives one number, two are kept.
func TestAtMostTwoVersionsAreKept(t *testing.T) {
	w := newWide(t, 5)
	k := w.keys[0]
	in, _ := w.say(k, 0, [32]byte{})
	w.step(in)
	records := w.tx.Len()
	for i := range 10 {
		m := &message{Number: 0, Heads: w.g.log.Heads(), Body: fmt.Append(nil, "another one ", i)}
		w.step(Message{w.conn(k), bodyOf(&msgFrame{m})})
		w.step(Message{w.conn(k), bodyOf(&fwdFrame{Author: k, Message: m})})
	}
	versions := 0
	for _, kind := range []byte{'m', 'v'} {
		w.tx.Scan(record(kind, k[:]), nil, func(_, _ []byte) bool { versions++; return true })
	}
	if versions != 2 || w.tx.Len() > records+1 {
		t.Errorf("%d versions, %d more records", versions, w.tx.Len()-records)
	}
	if m, _ := w.g.Message(w.tx, k, 0); string(m.Body) != string(make([]byte, 200)) {
		t.Error("the first one was replaced")
	}
}

// A member for whom nothing is kept is asked and used as a forwarder only when there is nobody else.
func TestInactiveMemberIsNotChosen(t *testing.T) {
	w := newWide(t, 9)
	inactive := w.keys[:6]
	for _, k := range inactive {
		w.g.peers[k].paused = ReasonInactive
	}
	s := &step{Group: w.g, env: w.env()}
	chosen := map[Key]int{}
	for range 200 {
		chosen[s.randomReady(nil).key]++
		chosen[s.otherThan(s.candidates(), Key{}).key]++
	}
	if len(chosen) != 2 || chosen[w.keys[6]] == 0 || chosen[w.keys[7]] == 0 {
		t.Errorf("chose among %d", len(chosen))
	}
	for _, k := range w.keys {
		w.g.peers[k].paused = ReasonInactive
	}
	if s.randomReady(nil) == nil {
		t.Error("somebody who was away itself has to ask somebody")
	}
}
