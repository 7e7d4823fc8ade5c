package grouproto

import (
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// lossy is a join of which one message is lost.
type lossy struct {
	*sim
	a, b *node
	seen int    // messages so far
	what string // that was lost; "" if there were not so many
}

// joinWithout lets a new member join a group of some size. The message with that number is lost for good, and then happens
// what crash does.
func joinWithout(t *testing.T, size, number int, crash func(l *lossy, from, to *node)) *lossy {
	l := &lossy{sim: newSim(t, uint64(size))}
	l.group(size, oplog.Symmetric())
	l.a, l.b = l.named("m0"), l.node("new")
	l.loses = func(from, to *node, what any) bool {
		if l.seen++; l.seen != number {
			return false
		}
		l.what = fmt.Sprintf("%s from %s to %s", nameOfMessage(what), from.name, to.name)
		if crash != nil {
			l.after(0, func() { crash(l, from, to) })
		}
		return true
	}
	l.a.invite(l.b)
	l.run(20 * time.Minute)
	return l
}

// nameOfMessage tells what a message carries.
func nameOfMessage(what any) string {
	var frames [][]byte
	switch e := what.(type) {
	case JoinConn:
		return "the joiner's confirmation"
	case AllowConn:
		return "the initiator's confirmation"
	case SendContact:
		frames = [][]byte{e.Frame}
	case SendConn:
		frames, _ = splitBody(e.Body)
	}
	text := ""
	for _, f := range frames {
		if d, err := decodeFrame(f); err == nil {
			text += d.tag.String() + " "
		}
	}
	return text
}

// joined checks that everybody is connected, and that the clients were told.
func (l *lossy) joined() {
	l.t.Helper()
	if l.what == "G_INV  from m0 to new" {
		if l.b.g != nil || len(l.a.g.Invitations()) != 1 || l.a.g.Invitations()[0].Contact != l.b.name {
			l.t.Error("the invitation was lost and is not seen to wait")
		}
		l.a.invite(l.b) // as its client may at any time
		l.run(10 * time.Minute)
	}
	if !l.connected(l.nodes...) {
		l.t.Errorf("%s was lost: not connected", l.what)
		for _, n := range l.nodes {
			for _, o := range l.nodes {
				if n.g != nil && o.g != nil && n.g.peers[o.g.self] != nil && !n.g.peers[o.g.self].healthy() {
					l.t.Errorf("%s is not connected with %s: %v", n.name, o.name, n.g.peers[o.g.self].reason)
				}
			}
		}
		return
	}
	l.agree(l.nodes...)
	if all := eventsOf[MemberConnected](l.a); len(all) == 0 || all[len(all)-1].Waiting != 0 {
		l.t.Errorf("%s was lost: the inviter was not told that all are connected: %v", l.what, all)
	}
	if len(l.nodes) > 2 && len(eventsOf[OffersForwarded](l.b)) == 0 {
		l.t.Errorf("%s was lost: the new member was not told that all offers were passed on", l.what)
	}
}

// TestAnyMessageOfAJoinMayBeLost loses one message after the other, each for good. Only a lost invitation needs a person.
func TestAnyMessageOfAJoinMayBeLost(t *testing.T) {
	for size := 1; size <= 3; size++ {
		number, lost := 1, map[string]bool{}
		for ; ; number++ {
			l := joinWithout(t, size, number, nil)
			if l.what == "" {
				break
			}
			lost[l.what] = true
			l.joined()
		}
		if number < 5*size {
			t.Errorf("%d members: only %d messages were sent: %v", size, number-1, lost)
		}
	}
}

// TestAnyMessageOfAJoinMayBeLostAndAnEndCrash: one end of the lost message ends at that moment and comes back.
func TestAnyMessageOfAJoinMayBeLostAndAnEndCrash(t *testing.T) {
	for _, away := range []time.Duration{time.Second, 5 * time.Minute} {
		for end := range 2 {
			for number := 1; ; number++ {
				l := joinWithout(t, 2, number, func(l *lossy, from, to *node) {
					n := []*node{from, to}[end]
					n.stop()
					l.after(away, n.start)
				})
				if l.what == "" {
					break
				}
				l.run(away)
				l.joined()
			}
		}
	}
}
