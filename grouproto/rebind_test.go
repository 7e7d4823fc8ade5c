package grouproto

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

// pairOf returns the working connection of a with b, and its half of the connection layer.
func (s *sim) pairOf(a, b *node) (*pairConn, *simConn) {
	s.t.Helper()
	c := a.g.peers[b.g.self].ready()
	if c == nil {
		s.t.Fatalf("%s and %s are not connected", a.name, b.name)
	}
	return c, s.conns[c.name]
}

// checkHelloFirst fails the test if anything goes over a new ratchet before the hello.
func (s *sim) checkHelloFirst() (hellos *int) {
	hellos = new(int)
	fresh := map[string]bool{}
	s.trace = func(_ *node, in Input, e Effect) {
		if r, ok := in.(Resynced); ok {
			fresh[r.Conn] = true
		}
		if m, ok := e.(SendConn); ok && fresh[m.Conn] {
			frames, err := splitBody(m.Body)
			if err != nil || len(frames) != 1 {
				s.t.Fatalf("%d frames behind a new ratchet", len(frames))
			}
			if _, err := decodeHello(frames[0]); err != nil {
				s.t.Fatalf("no hello: %v", err)
			}
			*hellos++
			delete(fresh, m.Conn)
		}
	}
	return hellos
}

func reasons(n *node, about *node) (all []string) {
	for _, w := range eventsOf[PairWaiting](n) {
		if w.Member == about.g.self {
			all = append(all, w.Reason.String())
		}
	}
	return all
}

// TestRatchetIsMadeAgain: one end of a pair cannot open what comes. The connection stays and gets a new ratchet, both ends
// say hello in it before anything else, and nothing is missing afterwards.
func TestRatchetIsMadeAgain(t *testing.T) {
	for seed := range uint64(20) {
		s := newSim(t, seed)
		s.group(3, oplog.Symmetric())
		a, b := s.nodes[0], s.nodes[1]
		before, half := s.pairOf(a, b)
		hellos := s.checkHelloFirst()
		half.part()
		switch seed % 3 {
		case 0: // seen by the other end
			a.send("cannot be opened")
		case 1: // by this one
			b.send("cannot be opened")
		default: // by both
			a.send("cannot be opened")
			b.send("neither can this")
		}
		s.run(20 * time.Second)
		for i := range 3 {
			a.send(fmt.Sprint("a", i))
			b.send(fmt.Sprint("b", i))
			s.nodes[2].send(fmt.Sprint("c", i))
		}
		s.run(5 * time.Minute)
		if after, _ := s.pairOf(a, b); after.name != before.name || *hellos != 2 {
			t.Errorf("seed %d: %d hellos, same connection %t", seed, *hellos, after.name == before.name)
		}
		waited := append(reasons(a, b), reasons(b, a)...)
		if !slices.Contains(waited, "ratchet") || slices.Contains(waited, "hello") {
			t.Errorf("seed %d: waited for %v", seed, waited)
		}
		for _, n := range s.nodes {
			if w := eventsOf[Warned](n); len(w) > 0 {
				t.Errorf("seed %d: warned %v", seed, w)
			}
		}
		if !s.connected(s.nodes...) {
			t.Errorf("seed %d: not connected", seed)
		}
		s.agree(s.nodes...)
		s.sameMessages(s.nodes, nil)
	}
}

// TestRatchetWhileThePeerIsAway: nothing is handed to the connection; the peer comes back within the hour or later, when
// there is another connection.
func TestRatchetWhileThePeerIsAway(t *testing.T) {
	for _, away := range []time.Duration{30 * time.Minute, 3 * time.Hour} {
		t.Run(away.String(), func(t *testing.T) {
			s := newSim(t, 5)
			s.group(4, oplog.Symmetric())
			a, b := s.nodes[1], s.nodes[2]
			before, half := s.pairOf(a, b)
			half.part()
			b.send("cannot be opened")
			s.until(time.Minute, func() bool { return a.g.peers[b.g.self].ready() == nil })
			b.stop()
			s.until(5*time.Second, func() bool { return a.g.Info().Recovery == RecoveryNone }) // somebody else has answered
			for i := range 20 {
				a.send(fmt.Sprint("meanwhile ", i))
			}
			s.run(away)
			if got := a.g.Members(a.tx); away < mendWait && !slices.ContainsFunc(got, func(m MemberInfo) bool {
				return m.Key == b.g.self && m.Pair == PairConnecting && m.Reason == ReasonRatchet
			}) {
				t.Errorf("members %+v", got)
			}
			b.start()
			s.run(3 * time.Hour)
			if after, _ := s.pairOf(a, b); away < mendWait && after.name != before.name {
				t.Error("another connection")
			}
			if !s.connected(s.nodes...) {
				t.Error("not connected")
			}
			s.agree(s.nodes...)
			s.sameMessages(s.nodes, nil)
		})
	}
}

// TestRatchetPartsAgain: within the hour it is not tried again, and there is another connection.
func TestRatchetPartsAgain(t *testing.T) {
	s := newSim(t, 6)
	s.group(3, oplog.Symmetric())
	a, b := s.nodes[1], s.nodes[2]
	before, half := s.pairOf(a, b)
	for _, text := range []string{"one", "two"} {
		half.part()
		b.send(text)
		s.run(10 * time.Minute)
	}
	if after, _ := s.pairOf(a, b); after.name == before.name || !s.connected(s.nodes...) {
		t.Error("no other connection")
	}
	s.agree(s.nodes...)
	s.sameMessages(s.nodes, nil)
}

// TestNewRatchetOfSomebodyElse: the ends do not have the same binding, because somebody replaced keys. Neither processes
// anything of it; the connection is deleted, and the next one is proven by another handshake.
func TestNewRatchetOfSomebodyElse(t *testing.T) {
	s := newSim(t, 7)
	s.group(3, oplog.Symmetric())
	a, b := s.nodes[1], s.nodes[2]
	before, half := s.pairOf(a, b)
	b.bind = func(x Binding) Binding { x[0] ^= 1; return x }
	half.part()
	b.send("cannot be opened")
	s.until(time.Minute, func() bool { return len(eventsOf[Warned](a)) > 0 || len(eventsOf[Warned](b)) > 0 })
	b.bind = nil
	for _, n := range []*node{a, b} {
		for _, w := range eventsOf[Warned](n) {
			if w.Warning != WarnHello {
				t.Errorf("warned %v", w)
			}
		}
	}
	s.run(3 * time.Hour)
	if after, _ := s.pairOf(a, b); after.name == before.name || !s.connected(s.nodes...) {
		t.Error("no other connection")
	}
	s.agree(s.nodes...)
	s.sameMessages(s.nodes, nil)
}

// TestNothingBeforeTheHello: whatever comes over a new ratchet first and is no good hello costs the connection.
func TestNothingBeforeTheHello(t *testing.T) {
	binding := Binding{1}
	body := func(frames ...[]byte) (b []byte) {
		for _, f := range frames {
			b = wire.AppendStr16(b, f)
		}
		return b
	}
	for name, first := range map[string]func(a, b *node, toA, toB *pairConn, own []byte) []byte{
		"an operation": func(a, b *node, _, _ *pairConn, _ []byte) []byte {
			return body(encodeFrame(&opsFrame{Ops: b.g.log.After(nil)}))
		},
		"nothing":      func(_, _ *node, _, _ *pairConn, _ []byte) []byte { return nil },
		"half a frame": func(_, _ *node, _, _ *pairConn, _ []byte) []byte { return []byte{0, 9, 1} },
		"its own hello": func(_, _ *node, _, _ *pairConn, own []byte) []byte {
			return own
		},
		"a hello for the side of the other": func(a, b *node, _, toA *pairConn, _ []byte) []byte {
			return body((&step{Group: b.g, env: b.env(b.tx)}).newHello(b.g.peers[a.g.self], toA).sign(b.g.key, sideJoiner, binding))
		},
		"a hello of another ratchet": func(a, b *node, _, toA *pairConn, _ []byte) []byte {
			return body((&step{Group: b.g, env: b.env(b.tx)}).newHello(b.g.peers[a.g.self], toA).sign(b.g.key, sideInitiator, Binding{2}))
		},
		"a hello of another attempt": func(a, b *node, _, toA *pairConn, _ []byte) []byte {
			h := (&step{Group: b.g, env: b.env(b.tx)}).newHello(b.g.peers[a.g.self], toA)
			h.Attempt++
			return body(h.sign(b.g.key, sideInitiator, binding))
		},
		"a hello signed by another key": func(a, b *node, _, toA *pairConn, _ []byte) []byte {
			return body((&step{Group: b.g, env: b.env(b.tx)}).newHello(b.g.peers[a.g.self], toA).sign(a.g.key, sideInitiator, binding))
		},
		"good": func(a, b *node, _, toA *pairConn, _ []byte) []byte {
			return body((&step{Group: b.g, env: b.env(b.tx)}).newHello(b.g.peers[a.g.self], toA).sign(b.g.key, sideInitiator, binding))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t, 8)
			s.group(2, oplog.Symmetric())
			a, b := s.nodes[0], s.nodes[1]
			toB, _ := s.pairOf(a, b)
			toA, _ := s.pairOf(b, a)
			var own []byte
			var deleted bool
			a.hook = func(_ *node, e Effect) {
				switch e := e.(type) {
				case SendConn:
					own = e.Body
				case DeleteConn:
					deleted = true
				}
			}
			a.step(Resynced{toB.name, binding, SideSending})
			if a.g.peers[b.g.self].ready() != nil || own == nil {
				t.Fatal("it is used before the hello")
			}
			a.load() // a restart changes nothing
			heads := len(a.g.log.Heads())
			b.step(Set{Name: "title", Value: []byte("x")})
			a.step(Message{toB.name, first(a, b, toB, toA, own)})
			warned := len(eventsOf[Warned](a))
			absent := name == "nothing" || name == "half a frame" || name == "an operation"
			if absent {
				if deleted || warned > 0 || a.g.peers[b.g.self].ready() != nil {
					t.Errorf("no hello: deleted %t, warned %d times", deleted, warned)
				}
			} else if good := name == "good"; good == deleted || good != (warned == 0) || good != (a.g.peers[b.g.self].ready() != nil) {
				t.Errorf("deleted %t, warned %d times", deleted, warned)
			}
			if len(a.g.log.Heads()) != heads || len(eventsOf[SettingChanged](a)) != 0 {
				t.Error("it was processed")
			}
		})
	}
}

// TestHelloIsLost: relays lose a hello behind a new ratchet, at one end or at both. Nobody is warned of, the connection stays,
// and hello is said again when something else comes, or after a minute; but not for ever.
func TestHelloIsLost(t *testing.T) {
	for name, lost := range map[string]int{"of one end": 1, "of both ends": 2} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t, 11)
			s.group(2, oplog.Symmetric())
			a, b := s.nodes[0], s.nodes[1]
			before, half := s.pairOf(a, b)
			hellos := 0
			s.loses = func(_, _ *node, what any) bool {
				e, ok := what.(SendConn)
				if !ok {
					return false
				}
				frames, _ := splitBody(e.Body)
				if len(frames) == 0 || !isHello(frames[0]) {
					return false
				}
				hellos++
				return hellos <= lost
			}
			half.part()
			a.send("cannot be opened")
			s.run(2 * time.Minute)
			a.send("behind the hello")
			b.send("the same")
			s.run(2 * time.Minute)
			if hellos <= lost || hellos > 2*lost+2 {
				t.Errorf("hello was said %d times", hellos)
			}
			if after, _ := s.pairOf(a, b); after.name != before.name {
				t.Error("another connection")
			}
			for _, n := range s.nodes {
				if w := eventsOf[Warned](n); len(w) > 0 {
					t.Errorf("%s was warned %v", n.name, w)
				}
			}
			said := hellos
			s.run(8 * time.Hour)
			if hellos != said {
				t.Errorf("hello was said %d times more", hellos-said)
			}
			s.agree(s.nodes...)
			s.sameMessages(s.nodes, nil)
		})
	}
}

// TestHelloIsNotSaidForEver: whoever says hello again and again, or something else in its place, is answered a few times.
func TestHelloIsNotSaidForEver(t *testing.T) {
	s := newSim(t, 12)
	s.group(2, oplog.Symmetric())
	a, b := s.nodes[0], s.nodes[1]
	toB, _ := s.pairOf(a, b)
	said := 0
	a.hook = func(_ *node, e Effect) {
		if m, ok := e.(SendConn); ok {
			if frames, _ := splitBody(m.Body); isHello(frames[0]) {
				said++
			}
		}
	}
	b.stop()
	a.step(Resynced{toB.name, Binding{1}, SideSending})
	for range 50 {
		a.step(Message{toB.name, []byte{0, 3, 0, 1, byte(TagSync)}})
		s.run(time.Minute)
		a.load()
	}
	if said != mostHellos {
		t.Errorf("hello was said %d times", said)
	}
	if w := eventsOf[Warned](a); len(w) > 0 {
		t.Errorf("warned %v", w)
	}
}

// TestOldReboundRecord reads what was written before the binding of a proven ratchet was kept.
func TestOldReboundRecord(t *testing.T) {
	at := time.UnixMilli(1_750_000_000_000)
	old := appendFlag(appendTime(appendTime([]byte{byte(unproven)}, at), at.Add(mendWait)), true)
	old = append(append(old, byte(SideSending)), make([]byte, 32)...)
	r := wire.NewReader(old)
	b := readRebound(r)
	if r.Done() != nil || b.fit != unproven || !b.bound || b.side != SideSending || !b.late || !b.begunAt.Equal(at) {
		t.Errorf("%+v, %v", b, r.Err())
	}
	b.fit, b.saidAt, b.said = fits, at, 3
	r = wire.NewReader(b.append(nil))
	if c := readRebound(r); r.Done() != nil || c != b {
		t.Errorf("%+v, want %+v", c, b)
	}
}

// TestRandomSchedulesWithRatchets is TestRandomSchedules with ratchets that part.
func TestRandomSchedulesWithRatchets(t *testing.T) {
	seeds := 100
	if testing.Short() {
		seeds = 10
	}
	for seed := range uint64(seeds) {
		s := newSim(t, 10_000+seed)
		s.partings = true
		s.randomSchedule(t)
		if t.Failed() {
			t.Fatalf("seed %d", 10_000+seed)
		}
	}
}
