package grouproto

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// cutOf is what a member's removal by a node says.
func cutOf(t *testing.T, n *node, k Key) uint64 {
	t.Helper()
	gone, ok := n.g.st.Removed(k)
	if !ok {
		t.Fatal("not removed")
	}
	return gone.Cut
}

// A removal lets what the remover has of the removed member's messages stand, and nothing that it only heard of.
func TestCutIsBehindWhatIsHeld(t *testing.T) {
	s := newSim(t, 380)
	s.group(3, oplog.Symmetric())
	n, other, gone := s.nodes[0], s.nodes[1], s.nodes[2]
	prev := [32]byte{}
	var last MessageID
	for i := range uint64(3) {
		m, id := told(gone, i, prev, "x")
		strike(gone, n, &msgFrame{m})
		prev, last = id.Hash, id
	}
	last.Number = 7
	strike(other, n, &syncFrame{Heads: heads(other), List: []MessageID{last}})
	if c := n.g.chains[gone.g.self]; c.top != 8 {
		t.Fatal("did not hear of more")
	}
	n.must(Remove{Members: []Key{gone.g.self}})
	if cut := cutOf(t, n, gone.g.self); cut != 3 {
		t.Errorf("the cut is %d", cut)
	}
	if c := n.g.chains[gone.g.self]; len(c.gaps) != 0 {
		t.Error("what is beyond the cut is still missing")
	}
	last.Number = 9
	strike(other, n, &syncFrame{Heads: heads(other), List: []MessageID{last}})
	if c := n.g.chains[gone.g.self]; c.top > 8 || len(c.gaps) != 0 {
		t.Error("what is beyond the cut is missed when somebody names it")
	}
}

// What was given up of a removed member is looked for again when a contest brings it back.
func TestWhoReturnsIsAskedForAgain(t *testing.T) {
	s := newSim(t, 381)
	s.group(3, oplog.Symmetric())
	founder, junior, reader := s.nodes[0], s.nodes[1], s.nodes[2]
	_, id := told(founder, 0, [32]byte{}, "that nobody has")
	strike(junior, reader, &syncFrame{Heads: heads(junior), List: []MessageID{id}})
	founder.stop()
	junior.must(Remove{Members: []Key{founder.g.self}})
	strike(junior, reader, &opsFrame{Ops: junior.g.log.After(nil)})
	if c := reader.g.chain(t, founder.g.self); c.missing(0) {
		t.Fatal("not given up")
	}
	gone, _ := reader.g.st.Removed(founder.g.self)
	body, err := reader.g.log.Contest(founder.g.self, gone.Ops, func(Key) uint64 { return 0 }, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	op, err := oplog.Sign(body, founder.g.key)
	if err != nil {
		t.Fatal(err)
	}
	strike(junior, reader, &opsFrame{Ops: []*oplog.Op{op}})
	if p := reader.g.peers[founder.g.self]; p.ended() {
		t.Fatal("has not returned")
	}
	if c := reader.g.chain(t, founder.g.self); !c.missing(0) {
		t.Error("not looked for")
	}
}

// chain is an author's chain that is there.
func (g *Group) chain(t *testing.T, k Key) *chain {
	t.Helper()
	c := g.chains[k]
	if c == nil {
		t.Fatal("no chain")
	}
	return c
}

// Requests that were made for somebody who is removed are withdrawn.
func TestRequestsForARemovedMemberAreWithdrawn(t *testing.T) {
	s, n, p := offered(t, 382)
	c := p.offering()
	deleted := false
	n.hook = func(_ *node, e Effect) {
		if e, ok := e.(DeleteConn); ok && e.Conn == c.name {
			deleted = true
		}
	}
	s.nodes[0].must(Remove{Members: []Key{p.key}})
	s.run(time.Minute)
	if !p.ended() || !deleted || p.offering() != nil {
		t.Error("the request still stands")
	}
}

// Nobody is invited with a role above the inviter's, or by who may not add.
func TestInvitationsFollowTheRoles(t *testing.T) {
	s := newSim(t, 383)
	s.group(2, oplog.Symmetric())
	s.node("new")
	if err := s.nodes[1].refused(Invite{Contact: "new", Role: oplog.Moderator}); !errors.Is(err, ErrNotPermitted) {
		t.Error("a role above the own:", err)
	}
	s.nodes[0].must(Invite{Contact: "new", Role: oplog.Moderator})
	p := oplog.Symmetric()
	p.Levels[oplog.PermAdd] = oplog.Owner
	s.nodes[0].must(SetPolicy{p})
	s.run(time.Minute)
	if err := s.nodes[1].refused(Invite{Contact: "new", Role: oplog.Plain}); !errors.Is(err, ErrNotPermitted) {
		t.Error("without the permission:", err)
	}
}

// An operation whose parent is not here is asked for at once; if who named it does not answer,
// others are asked.
func TestMissingParentsAreAskedFor(t *testing.T) {
	s := newSim(t, 384)
	s.group(3, oplog.Symmetric())
	reader, author, other := s.nodes[0], s.nodes[1], s.nodes[2]
	s.cutOff(author)
	s.cutOff(other)
	author.must(Set{"title", []byte("first")})
	author.must(Set{"title", []byte("second")})
	ops := author.g.log.After(nil)
	parent, child := ops[len(ops)-2], ops[len(ops)-1]
	asked := map[string]int{}
	reader.hook = func(_ *node, e Effect) {
		if e, ok := e.(SendConn); ok {
			frames, _ := splitBody(e.Body)
			for _, f := range frames {
				d, err := decodeFrame(f)
				if err != nil {
					continue
				}
				if f, ok := d.frame.(*wantFrame); ok && slices.Contains(f.Ops, parent.ID()) {
					asked[s.nameOf(reader.g.conns[e.Conn].key)]++
				}
			}
		}
	}
	strike(author, reader, &opsFrame{Ops: []*oplog.Op{child}})
	if len(asked) != 1 || asked[author.name] != 1 {
		t.Errorf("asked at once: %v", asked)
	}
	s.run(4*askWait + time.Second) // before its silence tells that it is away
	if asked[other.name] == 0 {
		t.Errorf("asked in the end: %v", asked)
	}
}

// Whoever asks for an operation gets it, whatever it seemed to have.
func TestWhoAsksForAnOperationLacksIt(t *testing.T) {
	s := newSim(t, 385)
	s.group(2, oplog.Symmetric())
	n, other := s.nodes[0], s.nodes[1]
	given := framesTo(n, other, TagOps)
	all := n.g.log.After(nil)
	last := all[len(all)-1]
	strike(other, n, &wantFrame{Ops: []OpID{last.ID()}})
	found := false
	for _, f := range *given {
		found = found || slices.ContainsFunc(f.(*opsFrame).Ops, func(op *oplog.Op) bool { return op.ID() == last.ID() })
	}
	if !found {
		t.Error("not given")
	}
}

// What was written while a connection was being made goes over it as soon as it works.
func TestNewConnectionBringsWhatWasWrittenMeanwhile(t *testing.T) {
	s, n, p := offered(t, 386)
	other := s.nodes[1]
	for _, c := range slices.Clone(p.conns) { // nothing goes over the old one
		if c.state == connReady {
			n.step(SendFailed{c.name, 0, ReasonAuth})
		}
	}
	c := p.offering()
	c.told = n.g.log.AllHeads()
	n.must(Set{"title", []byte("meanwhile")})
	given := framesTo(n, other, TagOps)
	c.state = connAllowed
	n.step(Connected{c.name})
	if p.ready() != c || len(*given) == 0 {
		t.Error("nothing was given")
	}
}

// The author's own message takes the place of a copy with another content.
func TestAuthorsMessageReplacesACopy(t *testing.T) {
	s := newSim(t, 387)
	s.group(3, oplog.Symmetric())
	reader, author, liar := s.nodes[0], s.nodes[1], s.nodes[2]
	right, rightID := told(author, 0, [32]byte{}, "right")
	wrong, _ := told(author, 0, [32]byte{}, "wrong")
	second, _ := told(author, 1, [32]byte{}, "second")
	strike(author, reader, &msgFrame{second})
	asking(reader, author, liar)
	strike(liar, reader, &fwdFrame{Author: author.g.self, Message: wrong})
	strike(author, reader, &msgFrame{right})
	if got := eventsOf[MessageReplaced](reader); len(got) != 1 || got[0].Message.ID != rightID {
		t.Errorf("told: %v", got)
	}
	if k, ok := loadKept(reader.tx, 'm', author.g.self, 0); !ok || k.id != rightID || k.vouched {
		t.Error("the copy is still there")
	}
}
