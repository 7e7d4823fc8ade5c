package grouproto

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// letters are the frames about other groups that a node was told of.
func letters(n *node, from *node) (frames [][]byte) {
	for _, l := range eventsOf[Letter](n) {
		if l.From == from.g.self {
			frames = append(frames, l.Frame)
		}
	}
	return frames
}

func inviteFrame(n byte) []byte {
	return encodeFrame(&invFrame{Group: GroupID{n}, Inviter: Key{n}, Token: Token{n}, Range: ownVersions, Info: []byte("of another group")})
}

func answerFrame(n byte) []byte { return encodeFrame(&rejFrame{Group: GroupID{n}, Token: Token{n}}) }

func TestLettersPassInTheGrace(t *testing.T) {
	s := newSim(t, 60)
	s.group(4, oplog.Symmetric())
	a, b, out, gone := s.nodes[0], s.nodes[1], s.nodes[2], s.nodes[3]
	a.must(Remove{Members: []Key{out.g.self}})
	s.run(time.Minute)
	if out.g.Info().Status != StatusRemoved {
		t.Fatal("not removed")
	}
	out.step(SendLetter{To: b.g.self, Frame: inviteFrame(1)})
	b.step(SendLetter{To: out.g.self, Frame: answerFrame(1)})
	s.run(time.Minute)
	if got := letters(b, out); len(got) != 1 || !bytes.Equal(got[0], inviteFrame(1)) {
		t.Errorf("%d letters from the removed member", len(got))
	}
	if got := letters(out, b); len(got) != 1 || !bytes.Equal(got[0], answerFrame(1)) {
		t.Errorf("%d letters to the removed member", len(got))
	}
	s.inject(out, b, &needFrame{out.g.self, b.g.self, 0}) // not in the grace
	s.run(time.Minute)
	if _, _, misplaced, _ := b.g.Problems(); misplaced != 1 {
		t.Errorf("%d frames were out of place", misplaced)
	}
	a.must(Close{})
	s.run(time.Minute)
	gone.step(SendLetter{To: a.g.self, Frame: inviteFrame(2)})
	s.run(time.Minute)
	if len(letters(a, gone)) != 1 {
		t.Error("no letter in a closed group")
	}
	// One that is still on its way when the grace ends is gone with the connection.
	b.stop()
	out.step(SendLetter{To: b.g.self, Frame: inviteFrame(3)})
	s.run(Grace + time.Hour)
	for _, n := range []*node{a, out, gone} {
		if err := n.g.MayWrite(b.g.self); !errors.Is(err, ErrNotConnected) {
			t.Errorf("%s: %v", n.name, err)
		}
		n.step(SendLetter{To: b.g.self, Frame: inviteFrame(4)})
		n.tx.Scan([]byte("x"), nil, func(_, _ []byte) bool {
			t.Errorf("%s still keeps a letter", n.name)
			return true
		})
	}
	if err := a.g.MayWrite(Key{7}); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

func TestLettersWaitForThePair(t *testing.T) {
	s := newSim(t, 61)
	s.group(3, oplog.Symmetric())
	a, b := s.nodes[0], s.nodes[1]
	c := b.g.peers[a.g.self].ready()
	c.broken = true // whatever the reason; a new connection is asked for
	b.g.peers[a.g.self].retryAt = s.now
	for range 3 {
		b.step(SendLetter{To: a.g.self, Frame: inviteFrame(1)})
	}
	b.step(SendLetter{To: a.g.self, Frame: answerFrame(2)})
	if n := len(b.g.peers[a.g.self].direct); n != 2 {
		t.Errorf("%d letters wait: a repeat takes the place of the one before", n)
	}
	b.load() // they survive
	for i := range 40 {
		b.step(SendLetter{To: a.g.self, Frame: answerFrame(byte(3 + i))})
	}
	if n := len(b.g.peers[a.g.self].direct); n != mostLetters {
		t.Errorf("%d letters wait", n)
	}
	if err := b.g.MayWrite(a.g.self); !errors.Is(err, ErrNotConnected) {
		t.Error(err)
	}
	b.must(SendDirect{To: a.g.self, Tag: TagDirectRej, Payload: []byte("0123456789abcdef")}) // has its own room
	s.run(2 * time.Hour)
	if n := len(letters(a, b)); n != mostLetters {
		t.Errorf("%d letters came", n)
	}
	if len(b.g.peers[a.g.self].direct) > 0 || len(eventsOf[DirectFrame](a)) != 1 {
		t.Error("something was left behind")
	}
}

func TestInvitationFloodOverAPairIsCutOff(t *testing.T) {
	s := newSim(t, 62)
	s.group(3, oplog.Symmetric())
	a, b, c := s.nodes[0], s.nodes[1], s.nodes[2]
	for i := range 100 {
		s.inject(a, b, &invFrame{Group: GroupID{byte(i)}, Range: ownVersions})
		s.inject(a, b, &rejFrame{Group: GroupID{byte(i)}})
	}
	s.run(time.Minute)
	if n := len(letters(b, a)); n > inviteBurst+answerBurst+2 {
		t.Errorf("%d of 200 were taken", n)
	}
	if got := warnings(b, WarnLimit); len(got) != 1 || got[0] != a.g.self {
		t.Errorf("warned of %v", got)
	}
	c.step(SendLetter{To: b.g.self, Frame: inviteFrame(1)})
	s.run(2 * time.Hour)
	s.inject(a, b, &invFrame{Group: GroupID{200}, Range: ownVersions})
	s.run(time.Minute)
	if all := letters(b, a); len(letters(b, c)) != 1 || !bytes.Equal(all[len(all)-1][3:35], append([]byte{200}, make([]byte, 31)...)) {
		t.Error("others, or later ones, are cut off as well")
	}
	for _, bad := range [][]byte{nil, {1}, encodeFrame(&doneFrame{1}), inviteFrame(1)[:40]} {
		c.step(SendLetter{To: b.g.self, Frame: bad})
	}
	if len(c.g.peers[b.g.self].direct) != 0 {
		t.Error("what is no letter is kept")
	}
}
