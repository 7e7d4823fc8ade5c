package grouproto

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// stranger makes a door to an address past any group, with whatever it likes in it.
func (s *sim) stranger(name string, link []byte, info []byte) *simConn {
	n := s.node(name)
	n.openDoor(OpenDoor{Door: "door of " + name, Address: link, Info: info})
	return s.conns["door of "+name]
}

// over hands frames to the holder's end of a stranger's door.
func (c *simConn) over(frames ...frame) {
	for _, f := range frames {
		c.peer.owner.step(DoorFrame{c.peer.name, encodeFrame(f)})
	}
}

// unmoved checks that nothing has come of what happened: no operations, members, doors or requests more.
func (n *node) unmoved(ops int) {
	n.sim.t.Helper()
	if n.g.log.Len() != ops || len(n.g.doors) != 0 || len(n.g.requests) != 0 || n.g.pendingInvites() != 0 {
		n.sim.t.Errorf("%s has %d operations, %d doors, %d requests, %d invitations", n.name, n.g.log.Len(), len(n.g.doors), len(n.g.requests), n.g.pendingInvites())
	}
	n.load()
}

// Who is no member cannot knock, whatever it shows.
func TestAttackKnocksOfStrangers(t *testing.T) {
	s := newSim(t, 300)
	s.group(3, oplog.Symmetric())
	founder, holder, other := s.nodes[0], s.nodes[1], s.nodes[2]
	link := holder.holds()
	s.run(time.Minute)
	stranger, private := s.outsider()
	accomplice, its := s.outsider()
	sign := func(author Key, key ed25519.PrivateKey, a oplog.Action) *oplog.Op {
		op, err := oplog.Sign(oplog.Body{Group: holder.g.id, Author: author, Parents: heads(holder), Time: hour(s.now), Action: a}, key)
		if err != nil {
			t.Fatal(err)
		}
		return op
	}
	add := &oplog.Add{Member: stranger, Role: oplog.Plain}
	own := sign(accomplice, its, add)
	real := founder.g.log.Op(holder.g.st.Members()[0].Added)
	for _, m := range holder.g.st.Members() {
		if m.Key == other.g.self {
			real = founder.g.log.Op(m.Added)
		}
	}
	forged, err := oplog.DecodeSigned(bytes.Replace(own.AppendSigned(nil), accomplice[:], other.g.self[:], 1)) // in a member's name
	if err != nil {
		t.Fatal(err)
	}
	knock := func(change func(*knockFrame)) *knockFrame {
		f := &knockFrame{Group: holder.g.id, Holder: holder.g.self, Member: stranger, Heads: nil, Op: own}
		change(f)
		f.sign(private)
		return f
	}
	ops := holder.g.log.Len()
	for i, f := range []*knockFrame{
		knock(func(f *knockFrame) {}),
		knock(func(f *knockFrame) { f.Op = forged }),
		knock(func(f *knockFrame) { f.Op = real }),
		knock(func(f *knockFrame) { f.Op, f.Member = real, other.g.self }), // a member's add, and no key for it
		knock(func(f *knockFrame) { f.Op = founder.g.log.Op(holder.g.id) }),
		knock(func(f *knockFrame) { f.Op, f.Member = founder.g.log.Op(holder.g.id), founder.g.self }),
		knock(func(f *knockFrame) { f.Group[0]++ }),
		knock(func(f *knockFrame) { f.Holder = other.g.self }),
		knock(func(f *knockFrame) { f.Op = sign(stranger, private, &oplog.Leave{}) }),
	} {
		c := s.stranger(fmt.Sprint("stranger", i), link, encodeFrame(f))
		s.run(time.Minute)
		if c.peer != nil {
			t.Errorf("knock %d was let in", i)
		}
		holder.unmoved(ops)
	}
	// A member's knock at somebody else's address is of no use to who holds that.
	elsewhere := &knockFrame{Group: holder.g.id, Holder: founder.g.self, Member: other.g.self, Op: real}
	elsewhere.sign(other.g.key)
	if c := s.stranger("thief", link, encodeFrame(elsewhere)); c != nil {
		s.run(time.Minute)
		if c.peer != nil {
			t.Error("a knock was replayed at another address")
		}
	}
	holder.unmoved(ops)
	if n := len(eventsOf[JoinRequested](holder)); n > 0 {
		t.Errorf("%d requests were told", n)
	}
	s.stillWell(s.nodes[:3]...)
}

// Infos that are no frames, or frames that do not belong there.
func TestAttackRequestsOfWrongKind(t *testing.T) {
	s := newSim(t, 301)
	s.group(2, oplog.Symmetric(), rule("open"))
	holder := s.nodes[0]
	link := holder.holds()
	s.run(time.Minute)
	ops := holder.g.log.Len()
	f := fixedMaterial(t)
	infos := [][]byte{nil, {0}, []byte("hello"), f.hello(), {0, 1, 99, 1, 2}, {0, 2, byte(TagReq)}, encodeFrame(&reqFrame{Group: f.group})}
	for _, x := range f.samples() {
		if x.tag() != TagReq {
			infos = append(infos, encodeFrame(x))
		}
	}
	for i, info := range infos {
		c := s.stranger(fmt.Sprint("stranger", i), link, info)
		s.run(time.Minute)
		if c.peer != nil {
			t.Errorf("%x was let in", info)
		}
		holder.unmoved(ops)
	}
	s.stillWell(s.nodes[:2]...)
}

// A guest, and a member that knocked, may say over a door only what doors are for.
func TestAttackFramesOverDoors(t *testing.T) {
	s := newSim(t, 302)
	s.group(4, oplog.Symmetric(), rule("open"))
	holder, lost := s.nodes[1], s.nodes[3]
	link := holder.holds()
	s.run(time.Minute)
	ops := holder.g.log.Len()
	guest := s.stranger("stranger", link, encodeFrame(&reqFrame{Group: holder.g.id, Card: make([]byte, 20)}))
	add := lost.g.log.Op(lost.g.st.Members()[0].Added)
	for _, m := range lost.g.st.Members() {
		if m.Key == lost.g.self {
			add = lost.g.log.Op(m.Added)
		}
	}
	k := &knockFrame{Group: holder.g.id, Holder: holder.g.self, Member: lost.g.self, Heads: heads(lost), Op: add}
	k.sign(lost.g.key)
	knocker := s.stranger("knocker", link, encodeFrame(k))
	s.until(time.Minute, func() bool { return guest.peer != nil && knocker.peer != nil })
	f := fixedMaterial(t)
	for _, c := range []*simConn{guest, knocker} {
		for _, x := range f.samples() {
			c.over(x)
		}
		c.peer.owner.step(DoorFrame{c.peer.name, []byte{1}})
		c.peer.owner.step(DoorFrame{c.peer.name, f.hello()})
	}
	malformed, unknown, misplaced, _ := holder.g.Problems()
	if malformed < 2 || unknown < 2 || misplaced < 25 {
		t.Errorf("%d malformed, %d unknown, %d misplaced frames", malformed, unknown, misplaced)
	}
	if holder.g.log.Len() != ops {
		t.Error("operations came in by a guest's door")
	}
	s.run(DoorExpiry + time.Hour)
	if len(holder.g.doors) != 0 {
		t.Errorf("%d doors are left", len(holder.g.doors))
	}
	s.stillWell(s.nodes[:4]...)
}

// A guest that was let in for its card sends another one.
func TestAttackAnotherCardThanShown(t *testing.T) {
	s := newSim(t, 303)
	s.group(2, oplog.Symmetric(), rule("open"))
	holder := s.nodes[0]
	link := holder.holds()
	s.run(time.Minute)
	ops := holder.g.log.Len()
	liar, private := s.outsider()
	shown, sent := make([]byte, 40), make([]byte, 40)
	sent[20] = 1
	c := s.stranger("liar", link, encodeFrame(&reqFrame{Group: holder.g.id, Card: shown}))
	s.until(time.Minute, func() bool { return c.peer != nil && holder.g.pendingInvites() == 1 })
	var token Token
	for t, i := range holder.g.invites {
		if i.state == invitePending {
			token = t
		}
	}
	o := offer{Initiator: liar, Responder: holder.g.self, Attempt: 1 << 31, Expiry: s.now.Add(time.Hour).Unix(), Link: []byte("link")}
	o.sign(private, holder.g.id)
	c.over(&accFrame{Group: holder.g.id, Token: token, Member: liar, Card: sent, Offer: o})
	s.run(time.Minute)
	holder.unmoved(ops)
}

// Requests without end: what is kept and done for them is bounded, and members can still knock.
func TestAttackFloodOfRequests(t *testing.T) {
	for _, how := range []string{"open", "approve", "password secret"} {
		s := newSim(t, 304)
		s.group(3, oplog.Symmetric(), rule(how))
		holder := s.nodes[1]
		link := holder.holds()
		s.run(time.Minute)
		var accepted int
		holder.hook = func(_ *node, e Effect) {
			if _, ok := e.(AcceptDoor); ok {
				accepted++
			}
		}
		for i := range 1000 {
			s.stranger(fmt.Sprint("flood", i), link, encodeFrame(&reqFrame{Group: holder.g.id, Card: make([]byte, 20), Text: make([]byte, 1000)}))
			s.run(time.Second)
		}
		if n := len(holder.g.requests); n > MaxRequests {
			t.Errorf("%s: %d requests are kept", how, n)
		}
		if n := holder.g.doorsOf(doorGuest, doorAnswer); n > MaxDoors || accepted > 2*MaxRequestsHour {
			t.Errorf("%s: %d doors, %d were accepted", how, n, accepted)
		}
		if n := len(warnedOf(holder, WarnLimit)); n == 0 || n > 1 {
			t.Errorf("%s: %d warnings", how, n)
		}
		if how == "approve" {
			lost := s.nodes[2]
			lost.g.main.contact = ""
			for _, n := range s.nodes[:2] {
				s.cut(n, lost)
			}
			s.run(time.Minute)
			s.until(3*time.Hour, func() bool { return s.connected(s.nodes[:3]...) })
			if len(eventsOf[Knocking](lost)) == 0 {
				t.Error("nobody knocked")
			}
		}
		s.run(DoorExpiry + time.Hour)
		holder.load()
		if len(holder.g.doors)+len(holder.g.requests)+holder.g.pendingInvites() > 0 {
			t.Errorf("%s: %d doors, %d requests, %d invitations are left", how, len(holder.g.doors), len(holder.g.requests), holder.g.pendingInvites())
		}
		s.stillWell(s.nodes[:3]...)
	}
}

// A holder that answers with an invitation to another group, or twice, gets nowhere.
func TestAttackHolderInvitesElsewhere(t *testing.T) {
	s := newSim(t, 305)
	s.group(2, oplog.Symmetric())
	holder := s.nodes[0]
	link := holder.holds()
	guest := s.node("guest")
	guest.ask(holder.g.id, link, "")
	s.run(time.Minute)
	var name string
	for name = range guest.g.doors {
	}
	other := &invFrame{Inviter: holder.g.self, Expiry: s.now.Add(time.Hour).Unix(), Range: ownVersions}
	old := &invFrame{Group: holder.g.id, Inviter: holder.g.self, Expiry: s.now.Add(-time.Hour).Unix(), Range: ownVersions}
	later := &invFrame{Group: holder.g.id, Inviter: holder.g.self, Expiry: s.now.Add(time.Hour).Unix(), Range: versions{9, 9}}
	for _, f := range []frame{other, old, later, &rejFrame{}, &opsFrame{}, &accFrame{Group: holder.g.id}, &memFrame{}} {
		guest.step(DoorFrame{name, encodeFrame(f)})
		if guest.g.Info().Status != StatusAsking || guest.g.Self() == (Key{}) || len(guest.g.peers) != 0 {
			t.Fatalf("%v had an effect", f.tag())
		}
	}
	good := &invFrame{Group: holder.g.id, Inviter: holder.g.self, Expiry: s.now.Add(time.Hour).Unix(), Range: ownVersions}
	guest.step(DoorFrame{name, encodeFrame(good)})
	if guest.g.Info().Status != StatusJoining {
		t.Fatal("the guest is", guest.g.Info().Status)
	}
	second := *good
	second.Inviter, second.Token = s.nodes[1].g.self, Token{1}
	guest.step(DoorFrame{name, encodeFrame(&second)})
	guest.step(DoorFrame{"no such door", encodeFrame(&second)})
	if guest.g.main.inviter != holder.g.self || len(guest.g.peers) != 1 {
		t.Error("a second invitation had an effect")
	}
	guest.load()
}

// Somebody sets an address in the name of another member: nobody goes there.
func TestAttackAddressInAnotherName(t *testing.T) {
	s := newSim(t, 306)
	s.group(4, oplog.Symmetric())
	liar, lost := s.nodes[1], s.nodes[3]
	liar.must(Set{Name: settingAddress + s.nodes[0].g.self.Text(), Value: []byte("link to a trap")})
	s.run(2 * time.Hour)
	for _, n := range s.nodes[:3] {
		s.cut(n, lost)
	}
	lost.g.main.contact = ""
	s.run(24 * time.Hour)
	if n := len(eventsOf[Knocking](lost)); n != 0 {
		t.Errorf("knocked %d times", n)
	}
}
