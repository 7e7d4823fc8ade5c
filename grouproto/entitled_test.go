package grouproto

import (
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// Two members bring in the same key without knowing of each other. What was written after either add is for it.
func TestEntitledByEitherAdd(t *testing.T) {
	s := newSim(t, 940)
	s.group(2, oplog.Symmetric())
	a, b := s.nodes[0], s.nodes[1]
	base := heads(a)
	k, _ := s.outsider()
	once := a.addStrangers(1)[0]
	var adds []*oplog.Op
	for _, n := range s.nodes {
		body := oplog.Body{Group: n.g.id, Author: n.g.self, Parents: base, Action: &oplog.Add{Member: k, Role: oplog.Plain}}
		if n == a {
			body.Seq = 3
			body.Parents = heads(a)
		}
		op, err := oplog.Sign(body, n.g.key)
		if err != nil {
			t.Fatal(err)
		}
		adds = append(adds, op)
	}
	strike(a, b, &opsFrame{Ops: adds})
	s.run(time.Minute)
	st := &step{Group: b.g, env: b.env(b.tx)}
	for _, c := range []struct {
		what  string
		who   Key
		heads []OpID
		want  bool
	}{
		{"the one add", k, []OpID{adds[0].ID()}, true},
		{"the other add", k, []OpID{adds[1].ID()}, true},
		{"before both", k, base, false},
		{"before the only add", once, base, false},
		{"after the only add", once, heads(b), true},
	} {
		p := b.g.peers[c.who]
		if p == nil {
			t.Fatal(c.what, "is of nobody")
		}
		if got := st.entitledByHeads(p, &kept{message: &message{Heads: c.heads}}); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
