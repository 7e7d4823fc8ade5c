package grouproto

import (
	"fmt"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// told is a message of an author that nobody has heard of.
func told(author *node, number uint64, prev [32]byte, text string) (*message, MessageID) {
	m := &message{Number: number, Prev: prev, Heads: heads(author), Body: []byte(text)}
	return m, MessageID{author.g.self, number, m.hash(author.g.id, author.g.self)}
}

// asking lets a reader have asked somebody for what is missing of an author.
func asking(reader, author, somebody *node) {
	a := reader.g.asks[author.g.self]
	a.ever[somebody.g.self] = true
	a.asked[somebody.g.self] = vote{}
}

// Two equal messages have different hashes: who sees only the hash cannot try what the body may be.
func TestEqualMessagesHaveDifferentHashes(t *testing.T) {
	s := newSim(t, 360)
	s.group(2, oplog.Symmetric())
	salts := map[[16]byte]bool{}
	for range 2 {
		id := s.nodes[0].send("yes")
		m, _ := loadKept(s.nodes[0].tx, 'm', id.Author, id.Number)
		salts[m.message.Salt] = true
	}
	if len(salts) != 2 || salts[[16]byte{}] {
		t.Error("no salt, or the same one twice")
	}
}

// What a message that is here builds on is no parent of the next one, also if it comes later.
func TestParentsThatComeLaterAreImplied(t *testing.T) {
	s := newSim(t, 361)
	s.group(3, oplog.Symmetric())
	reader, a, b := s.nodes[0], s.nodes[1], s.nodes[2]
	first, firstID := told(a, 0, [32]byte{}, "question")
	second := &message{Heads: heads(b), Parents: []MessageID{firstID}, Body: []byte("answer")}
	strike(b, reader, &msgFrame{second})
	strike(a, reader, &msgFrame{first})
	id := reader.send("thanks")
	m, _ := loadKept(reader.tx, 'm', id.Author, id.Number)
	if got := m.message.Parents; len(got) != 1 || got[0].Author != b.g.self {
		t.Errorf("%d parents", len(got))
	}
}

// A message that names operations that do not come is judged after a while, and dropped.
func TestMessageDoesNotWaitForEver(t *testing.T) {
	s := newSim(t, 362)
	s.group(2, oplog.Symmetric())
	reader, author := s.nodes[0], s.nodes[1]
	strike(author, reader, &msgFrame{&message{Heads: []OpID{{1}}, Body: []byte("x")}})
	if len(reader.g.waiting) != 1 {
		t.Fatal("does not wait")
	}
	s.run(headsWait + time.Second)
	if len(reader.g.waiting) != 0 || len(eventsOf[MessageReceived](reader)) != 0 {
		t.Error("still waits, or was taken")
	}
}

// The author's next message confirms the copy of the one before, a copy of the next one does not.
func TestOnlyTheAuthorConfirms(t *testing.T) {
	for _, direct := range []bool{true, false} {
		s := newSim(t, 363)
		s.group(3, oplog.Symmetric())
		reader, author, other := s.nodes[0], s.nodes[1], s.nodes[2]
		first, firstID := told(author, 0, [32]byte{}, "first")
		second, _ := told(author, 1, firstID.Hash, "second")
		third, _ := told(author, 2, [32]byte{}, "third") // so that there is something to ask for
		strike(author, reader, &msgFrame{third})
		asking(reader, author, other)
		strike(other, reader, &fwdFrame{Author: author.g.self, Message: first})
		if got := eventsOf[MessageReceived](reader); len(got) != 2 || !got[1].Message.Vouched {
			t.Fatalf("the copy: %+v", got)
		}
		if direct {
			strike(author, reader, &msgFrame{second})
		} else {
			strike(other, reader, &fwdFrame{Author: author.g.self, Message: second})
		}
		if got := len(eventsOf[MessageConfirmed](reader)); (got == 1) != direct {
			t.Errorf("from the author: %v, %d messages confirmed", direct, got)
		}
	}
}

// A copy that is not what the author has said it wrote is not taken, and who gave it is reported for a dispute.
func TestCopyAgainstTheAuthorsWord(t *testing.T) {
	s := newSim(t, 364)
	s.group(3, oplog.Symmetric())
	reader, author, liar := s.nodes[0], s.nodes[1], s.nodes[2]
	_, right := told(author, 0, [32]byte{}, "right")
	wrong, _ := told(author, 0, [32]byte{}, "wrong")
	strike(author, reader, &syncFrame{Heads: heads(author), List: []MessageID{right}})
	asking(reader, author, liar)
	strike(liar, reader, &fwdFrame{Author: author.g.self, Message: wrong})
	if len(eventsOf[MessageReceived](reader)) != 0 {
		t.Error("taken")
	}
	if got := warnings(reader, WarnDisputed); len(got) != 1 || got[0] != liar.g.self {
		t.Errorf("disputed: %v", got)
	}
}

// A copy from somebody who was not asked is not taken, even where something is missing.
func TestCopyOfSomebodyWhoWasNotAsked(t *testing.T) {
	s := newSim(t, 365)
	s.group(3, oplog.Symmetric())
	reader, author, liar := s.nodes[0], s.nodes[1], s.nodes[2]
	second, _ := told(author, 1, [32]byte{}, "second")
	wrong, _ := told(author, 0, [32]byte{}, "wrong")
	strike(author, reader, &msgFrame{second})
	strike(liar, reader, &fwdFrame{Author: author.g.self, Message: wrong})
	if got := eventsOf[MessageReceived](reader); len(got) != 1 {
		t.Errorf("%d messages taken", len(got))
	}
}

// What somebody else gives beside the author's own message is a dispute with who gives it: nothing is known against the
// author.
func TestOtherContentOfSomebodyElseIsADispute(t *testing.T) {
	s := newSim(t, 366)
	s.group(3, oplog.Symmetric())
	reader, author, liar := s.nodes[0], s.nodes[1], s.nodes[2]
	second, _ := told(author, 1, [32]byte{}, "second")
	right, _ := told(author, 0, [32]byte{}, "right")
	wrong, _ := told(author, 0, [32]byte{}, "wrong")
	wrong.Heads = []OpID{{1}} // waits for an operation
	strike(author, reader, &msgFrame{second})
	asking(reader, author, liar)
	strike(liar, reader, &fwdFrame{Author: author.g.self, Message: wrong})
	strike(author, reader, &msgFrame{right})
	if len(reader.g.waiting) != 1 {
		t.Fatal("the copy does not wait")
	}
	reader.g.waiting[0].message.Heads = heads(author) // the operation has come
	reader.step(Tick{})
	if d, e := warnings(reader, WarnDisputed), warnings(reader, WarnEquivocation); len(d) == 0 || d[0] != liar.g.self || len(e) != 0 {
		t.Errorf("disputed: %d, equivocations: %d", len(d), len(e))
	}
}

// What is missing is asked for at its author first, and nobody is asked at once.
func TestAuthorIsAskedFirst(t *testing.T) {
	s := newSim(t, 367)
	s.group(5, oplog.Symmetric())
	reader, author := s.nodes[0], s.nodes[1]
	var asked []string
	reader.hook = func(_ *node, e Effect) {
		if e, ok := e.(SendConn); ok {
			frames, _ := splitBody(e.Body)
			for _, f := range frames {
				if d, err := decodeFrame(f); err == nil && d.tag == TagWant {
					asked = append(asked, s.nameOf(reader.g.conns[e.Conn].key))
				}
			}
		}
	}
	strike(author, reader, &msgFrame{&message{Number: 5, Prev: [32]byte{1}, Heads: heads(author), Body: []byte("x")}})
	s.run(gapWait - time.Second)
	if len(asked) != 0 {
		t.Error("asked at once")
	}
	s.run(3 * time.Second)
	if len(asked) != 1 || asked[0] != author.name {
		t.Errorf("asked: %v", asked)
	}
}

// What somebody has not answered yet is not given up because somebody else has nothing.
func TestGapIsNotGivenUpBeforeAllHaveAnswered(t *testing.T) {
	s := newSim(t, 368)
	s.group(4, oplog.Symmetric())
	reader, author, has, none := s.nodes[0], s.nodes[1], s.nodes[2], s.nodes[3]
	m, id := told(author, 0, [32]byte{}, "kept by one")
	strike(author, has, &msgFrame{m})
	author.must(Leave{})
	s.run(2 * time.Second)
	has.stop()
	strike(none, reader, &syncFrame{Heads: heads(none), List: []MessageID{id}})
	s.run(2 * time.Minute)
	if !reader.g.chains[author.g.self].missing(0) {
		t.Fatal("given up before all have answered")
	}
	has.start()
	s.until(2*time.Hour, func() bool { return len(eventsOf[MessageReceived](reader)) == 1 })
}

// Who comes to a group without history asks for nothing that is older.
func TestNewMemberAsksForNothingOlder(t *testing.T) {
	s := newSim(t, 369)
	s.group(2, oplog.Symmetric())
	for i := range 3 {
		s.nodes[0].send(fmt.Sprint(i))
	}
	s.run(time.Minute)
	joiner := s.node("new")
	asked := 0
	joiner.hook = func(_ *node, e Effect) {
		if e, ok := e.(SendConn); ok {
			frames, _ := splitBody(e.Body)
			for _, f := range frames {
				if d, err := decodeFrame(f); err == nil && d.tag == TagWant {
					asked++
				}
			}
		}
	}
	s.nodes[0].invite(joiner)
	s.run(10 * time.Minute)
	if asked != 0 || len(joiner.g.chains[s.nodes[0].g.self].gaps) != 0 {
		t.Errorf("%d questions", asked)
	}
}

// The digest is about those who are present, and stays the same when messages are dropped because of their age.
func TestDigestIsOfThePresentAndOutlivesRetention(t *testing.T) {
	s := newSim(t, 370)
	s.group(3, oplog.Symmetric())
	a, b, gone := s.nodes[0], s.nodes[1], s.nodes[2]
	m, _ := told(gone, 0, [32]byte{}, "for one only")
	strike(gone, a, &msgFrame{m})
	a.must(Remove{Members: []Key{gone.g.self}})
	s.run(3 * time.Second) // less than it takes to ask for what others have
	if stepOf(a).digest() != stepOf(b).digest() {
		t.Error("what one has of a removed member makes a difference")
	}
	a.send("x")
	s.run(10 * time.Second)
	before := stepOf(a).digest()
	s.run(Retention + 13*time.Hour)
	for _, n := range []*node{a, b} {
		if _, held := loadKept(n.tx, 'm', a.g.self, 0); held || stepOf(n).digest() != before {
			t.Errorf("%s: another digest, or the message is still there", n.name)
		}
	}
}

// Another digest means nothing for a while, in which messages may come by themselves; then lists are exchanged.
func TestOtherDigestIsLookedAtLater(t *testing.T) {
	s := newSim(t, 371)
	s.group(2, oplog.Symmetric())
	n, other := s.nodes[0], s.nodes[1]
	s.run(time.Hour)
	said := framesTo(n, other, TagSync)
	strike(other, n, &syncFrame{Heads: heads(other), Digest: [32]byte{1}})
	n.step(Tick{})
	if len(*said) != 0 {
		t.Error("asked at once")
	}
	s.run(gapWait + time.Second)
	if len(*said) == 0 || (*said)[0].(*syncFrame).Flags&syncAsk == 0 {
		t.Error("not asked for the list")
	}
}
