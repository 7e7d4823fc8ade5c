package grouproto

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

// laterOp is an operation of a later version whose content is that of version 1.
func laterOp(t testing.TB, g *Group, version uint16, b oplog.Body) *oplog.Op {
	t.Helper()
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint16(raw, version)
	text := append(wire.AppendStr8(nil, []byte("coterie/op/1")), raw...)
	op, err := oplog.DecodeSigned(append(wire.AppendStr16(nil, raw), ed25519.Sign(g.key, text)...))
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// know starts a node's program again in one that knows operations up to a version.
func (n *node) know(version uint16) {
	n.sim.t.Helper()
	n.options = []oplog.Option{oplog.Judging(version)}
	n.load()
	n.plan()
}

// writeLater is what a program that knows version 2 does to write an operation.
func (n *node) writeLater(a oplog.Action) error {
	n.sim.t.Helper()
	body, err := n.g.log.Next(n.g.self, a, n.now().Unix())
	if err != nil {
		return err
	}
	op := laterOp(n.sim.t, n.g, 2, body)
	st := &step{Group: n.g, env: n.env(n.tx)}
	res := n.g.log.Add(n.tx, op, n.g.self)
	if res.Status != oplog.Admitted {
		n.sim.t.Fatalf("%s: own operation: %v", n.name, res.Reason)
	}
	st.spread(op.ID(), toPresent)
	st.admitted(res, n.g.self)
	st.finish()
	n.commit(st.out)
	n.plan()
	return nil
}

func setting(name, value string) *oplog.Set {
	return &oplog.Set{Setting: oplog.Setting{Name: name, Value: []byte(value)}}
}

func (n *node) setting(name string) string {
	value, _, _ := n.g.st.Setting(name)
	return string(value)
}

func raised() Policy {
	p := oplog.Symmetric()
	p.OpsVersion = 2
	return p
}

// Two members whose programs know later operations hear of each other's through one whose program does not.
func TestOldProgramPassesOnWhatItCannotJudge(t *testing.T) {
	for _, crashes := range []float64{0, 0.1} {
		s := newSim(t, 120)
		nodes := s.group(3, oplog.Symmetric())
		first, old, third := nodes[0], nodes[1], nodes[2]
		s.abort, s.reload = crashes, crashes
		first.know(2)
		third.know(2)
		first.must(SetPolicy{raised()})
		s.run(time.Minute)
		if n := len(warnings(old, WarnUpgrade)); n != 1 || len(warnings(first, WarnUpgrade)) != 0 {
			t.Errorf("warned %d times", n)
		}
		if err := old.refused(Set{"title", []byte("x")}); !errors.Is(err, ErrUpgrade) {
			t.Error(err)
		}

		s.cutOff(first, old.name)
		if err := first.writeLater(setting("title", "later")); err != nil {
			t.Fatal(err)
		}
		first.must(Set{"about", []byte("leans on it")})
		s.run(10 * time.Second)
		first.stop()
		if i := old.g.Info(); i.Unjudged != 2 || !i.Upgrade || old.setting("title")+old.setting("about") != "" {
			t.Fatalf("%d are kept", i.Unjudged)
		}
		old.load()
		if third.setting("title") != "" {
			t.Fatal("the other one knows already")
		}
		if crashes == 0 {
			third.send("the receipt says what its reader has")
			s.run(time.Minute)
		} else {
			s.run(7 * time.Hour) // the regular G_SYNC
		}
		if third.setting("title") != "later" || third.setting("about") != "leans on it" {
			t.Fatalf("it is not passed on: %q", third.setting("title"))
		}
		// Nothing is asked for or sent again and again.
		before := s.counts()
		s.run(24 * time.Hour)
		if d := s.counts().Minus(before); d.Operations > 0 || d.Sync > 40 {
			t.Errorf("sent again: %+v", d)
		}

		s.restore(first)
		first.start()
		s.run(10 * time.Minute)
		s.agree(first, third)
		// Messages go on, also those that name what the old one cannot judge, and at once.
		for _, n := range nodes {
			n.send("from " + n.name)
		}
		s.run(10 * time.Second)
		s.sameMessages(nodes, nil)

		old.know(2)
		s.run(time.Minute)
		s.agree(nodes...)
		if i := old.g.Info(); i.Unjudged != 0 || i.Upgrade || old.setting("title") != "later" {
			t.Errorf("after the upgrade %d are kept", i.Unjudged)
		}
		old.must(Set{"title", []byte("it writes again")})
		s.run(time.Minute)
		s.agree(nodes...)
		if len(warnings(old, WarnUpgrade)) != 1 {
			t.Error("warned again")
		}
		first.know(3)
		p := raised()
		p.OpsVersion = 3
		first.must(SetPolicy{p})
		s.run(time.Minute)
		if len(warnings(old, WarnUpgrade)) != 2 {
			t.Error("not warned of the next version")
		}
	}
}

// Somebody whose add an old program cannot judge is no member for it, until it can. The log that an old program gives to
// others has everything.
func TestMemberAddedByALaterOperation(t *testing.T) {
	s := newSim(t, 121)
	nodes := s.group(3, oplog.Symmetric())
	first, old, third := nodes[0], nodes[1], nodes[2]
	first.know(2)
	third.know(2)
	first.must(SetPolicy{raised()})
	s.run(time.Minute)
	if err := first.writeLater(setting("title", "later")); err != nil {
		t.Fatal(err)
	}
	s.run(time.Minute)
	if err := old.refused(Invite{Contact: "anybody"}); !errors.Is(err, ErrUpgrade) {
		t.Error(err)
	}
	guest := s.node("guest")
	guest.options = []oplog.Option{oplog.Judging(2)}
	first.invite(guest)
	s.until(10*time.Minute, func() bool { return s.connected(first, third, guest) })
	s.run(10 * time.Minute)
	if guest.setting("title") != "later" || old.g.peers[guest.g.self] != nil {
		t.Error("who knows whom")
	}
	guest.send("hello")
	old.know(2)
	s.until(4*time.Hour, func() bool { return s.connected(first, old, third, guest) })
	s.run(10 * time.Minute)
	s.agree(first, old, third, guest)
	if len(eventsOf[MemberAdded](old)) == 0 {
		t.Error("the client is not told")
	}
	// An old program that is invited gets the log, cannot find itself in it, and says why.
	late := s.node("late")
	first.invite(late)
	s.run(10 * time.Minute)
	if late.g.Info().Status != StatusJoining || len(warnings(late, WarnUpgrade)) != 1 || !late.g.Info().Upgrade {
		t.Errorf("%v, %d warnings", late.g.Info().Status, len(warnings(late, WarnUpgrade)))
	}
	late.know(2)
	s.until(4*time.Hour, func() bool { return s.connected(first, old, third, guest, late) })
	s.run(10 * time.Minute)
	s.agree(first, old, third, guest, late)
}

// What comes before the group has accepted later versions is refused for good, and asked for no more.
func TestLaterOperationThatTheGroupDoesNotAccept(t *testing.T) {
	s := newSim(t, 122)
	nodes := s.group(2, oplog.Symmetric())
	a, b := nodes[0], nodes[1]
	body, err := a.g.log.Next(a.g.self, setting("title", "x"), s.now.Unix())
	if err != nil {
		t.Fatal(err)
	}
	op := laterOp(t, a.g, 2, body)
	s.inject(a, b, &opsFrame{Ops: []*oplog.Op{op}}, &syncFrame{Heads: []OpID{op.ID()}, Digest: a.digestNow()})
	wants := 0
	b.hook = func(_ *node, e Effect) {
		if send, ok := e.(SendConn); ok && bytes.Contains(send.Body, bytes.Clone(idBytes(op.ID()))) {
			wants++
		}
	}
	s.run(time.Hour)
	if b.g.Info().Upgrade || b.g.Info().Unjudged != 0 || len(warnings(b, WarnUpgrade)) != 0 || wants != 0 {
		t.Errorf("it is kept, or asked for %d times", wants)
	}
}

func idBytes(id OpID) []byte { return id[:] }

// Programs of both versions in one group, members that are away, crashes: those that know the same agree, and all of them
// once all know everything.
func TestVersionsMeet(t *testing.T) {
	kept := 0
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newSim(t, 130+seed)
			nodes := s.group(5, oplog.Symmetric())
			s.abort, s.reload = 0.05, 0.05
			var old, knowing []*node
			for i, n := range nodes {
				if i == 0 || s.rng.IntN(2) == 0 {
					knowing = append(knowing, n)
					n.know(2)
				} else {
					old = append(old, n)
				}
			}
			nodes[0].must(SetPolicy{raised()})
			for i := range 30 {
				n := nodes[s.rng.IntN(len(nodes))]
				switch {
				case n.stopped:
					n.start()
				case s.rng.IntN(6) == 0:
					n.stop()
				case s.rng.IntN(4) == 0:
					n.send(fmt.Sprint("message ", i))
				case s.rng.IntN(2) == 0:
					n.step(Set{[]string{"title", "about"}[s.rng.IntN(2)], fmt.Append(nil, i)})
				case len(n.options) > 0:
					if err := n.writeLater(setting("title", fmt.Sprint(i))); err != nil {
						t.Fatal(err)
					}
				}
				s.run(time.Duration(s.rng.IntN(120)) * time.Second)
			}
			for _, n := range nodes {
				if n.stopped {
					n.start()
				}
			}
			s.run(24 * time.Hour)
			s.agree(knowing...)
			if len(old) > 0 {
				s.agree(old...)
			}
			s.sameMessages(nodes, nil)
			for _, n := range old {
				kept += n.g.Info().Unjudged
				n.know(2)
			}
			s.run(10 * time.Minute)
			s.agree(nodes...)
			for _, n := range nodes {
				if n.g.Info().Unjudged != 0 || n.g.Info().Upgrade {
					t.Errorf("%s keeps %d", n.name, n.g.Info().Unjudged)
				}
			}
		})
	}
	if kept < 50 {
		t.Errorf("only %d operations were kept by old programs", kept)
	}
}
