package grouproto

import (
	"testing"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// After a restart what has no answer yet is asked for again: requests that are being made, and those that are being
// joined, with a hello for the same connection.
func TestUnfinishedOperationsAreAskedForAgain(t *testing.T) {
	s := newSim(t, 400)
	s.group(3, oplog.Symmetric())
	n := s.nodes[1]
	made, joined := n.g.peers[s.nodes[0].g.self], n.g.peers[s.nodes[2].g.self]
	st := stepOf(n)
	st.addConn(made, &pairConn{name: "being made", side: sideInitiator, state: connMaking, attempt: 1})
	st.addConn(joined, &pairConn{name: "being joined", side: sideJoiner, state: connJoined, attempt: 2, link: []byte("link")})
	st.touch(made)
	st.touch(joined)
	st.store()
	g, err := Load(n.tx)
	if err != nil {
		t.Fatal(err)
	}
	again := map[string]bool{}
	for _, e := range g.Pending(n.env(n.tx)) {
		switch e := e.(type) {
		case NewConn:
			again[e.Conn] = true
		case JoinConn:
			h, err := decodeHello(e.Hello(Binding{1}))
			again[e.Conn] = err == nil && h.To == joined.key && h.Attempt == 2 && h.verify(sideJoiner, Binding{1}) && string(e.Link) == "link"
		}
	}
	if len(again) != 2 || !again["being made"] || !again["being joined"] {
		t.Errorf("asked for again: %v", again)
	}
}
