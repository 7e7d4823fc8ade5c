package grouproto

import (
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// withoutLog lets somebody join who is connected with the inviter and gets nothing of what it says.
func withoutLog(t *testing.T, seed uint64) (s *sim, inviter, joiner *node) {
	s = newSim(t, seed)
	s.group(2, oplog.Symmetric())
	inviter, joiner = s.nodes[0], s.node("new")
	s.loses = func(from, to *node, what any) bool {
		_, ok := what.(SendConn)
		return ok && from == inviter && to == joiner
	}
	inviter.invite(joiner)
	s.run(20 * time.Second)
	if g := joiner.g; g.log != nil || g.peers[inviter.g.self].ready() == nil {
		t.Fatal("not connected, or with a log")
	}
	return s, inviter, joiner
}

// Who joins is a member when the inviter has said that the log is complete, and not with the log of another group.
func TestMemberOnlyWithTheWholeLog(t *testing.T) {
	s, inviter, joiner := withoutLog(t, 92)
	other := s.create("other", oplog.Symmetric())
	joining := func(what string) {
		t.Helper()
		if joiner.g.main.status != StatusJoining {
			t.Fatalf("a member with %s", what)
		}
	}
	strike(inviter, joiner, &opsFrame{Ops: other.g.log.After(nil)})
	if joining("the log of another group"); joiner.g.log != nil {
		t.Fatal("has the log of another group")
	}
	strike(inviter, joiner, &opsFrame{Ops: inviter.g.log.After(nil)})
	joining("a log that may go on")
	strike(inviter, joiner, &opsFrame{Flags: opsLast})
	if joiner.g.main.status != StatusMember {
		t.Error("no member with the whole log")
	}
}

// An inviter that is not present any more brings nobody in: who looks at its log waits for what others say.
func TestNoMemberWithoutThePresentInviter(t *testing.T) {
	s, inviter, joiner := withoutLog(t, 93)
	s.run(2 * time.Minute) // the add reaches the other member
	s.nodes[1].must(Remove{Members: []Key{inviter.g.self}})
	s.run(time.Minute)
	if _, ok := inviter.g.st.Removed(inviter.g.self); !ok {
		t.Fatal("the removal has not arrived")
	}
	strike(inviter, joiner, &opsFrame{Flags: opsLast, Ops: inviter.g.log.After(nil)})
	if joiner.g.main.status != StatusJoining {
		t.Error("a member by an inviter that was removed")
	}
}
