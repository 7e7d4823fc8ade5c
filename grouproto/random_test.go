package grouproto

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// TestRandomSchedules lets members of a group do anything at any time, be stopped, fail and be loaded again, and checks
// in the end, after a day of rest, that everybody who is still in has the same log, the same state and all messages that
// are for it, each told once.
func TestRandomSchedules(t *testing.T) {
	seeds := 100
	if testing.Short() {
		seeds = 20
	}
	for seed := range uint64(seeds) {
		randomSchedule(t, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func randomSchedule(t *testing.T, seed uint64) { newSim(t, seed).randomSchedule(t) }

func (s *sim) randomSchedule(t *testing.T) {
	s.maxDelay = []time.Duration{50 * time.Millisecond, time.Second, 20 * time.Second}[s.rng.IntN(3)]
	if s.rng.IntN(2) == 0 {
		s.abort, s.reload = 0.1, 0.2
	}
	if s.rng.IntN(3) == 0 {
		s.quota = 6
	}
	s.again, s.lose = 0.2, 0.1
	policy := oplog.Symmetric()
	if s.rng.IntN(3) == 0 {
		policy = oplog.Moderated()
	}
	s.create("m0", policy, oplog.Setting{Name: settingJoin, Value: []byte([]string{"open", "approve", "password x"}[s.rng.IntN(3)])})
	for i := range 60 {
		if s.act(i); t.Failed() {
			return
		}
		s.run(time.Duration(s.rng.Int64N(int64(4 * s.maxDelay))))
		if s.rng.IntN(10) == 0 {
			s.run(time.Duration(s.rng.IntN(7200)) * time.Second)
		}
	}
	for _, n := range s.nodes {
		if n.stopped {
			n.start()
		}
	}
	s.run(30 * time.Hour)
	var in []*node
	for _, n := range s.nodes {
		if n.g != nil && n.g.Info().Status == StatusMember {
			in = append(in, n)
		}
	}
	in = s.reachable(in)
	if len(in) == 0 {
		return
	}
	s.agree(in...)
	if !s.connected(in...) {
		for _, n := range in {
			for _, m := range n.g.Members(n.tx) {
				if m.Pair != PairReady && m.Pair != PairSelf && m.Pair != PairEnded {
					t.Errorf("%s is not connected with %s: %v, %v", n.name, s.nameOf(m.Key), m.Pair, m.Reason)
				}
			}
		}
	}
	s.everythingArrived(in)
	for _, n := range in {
		for _, d := range n.g.doors {
			if p := n.g.peers[d.member]; p != nil && p.healthy() {
				t.Errorf("%s keeps a door of kind %d to a member that it is connected with", n.name, d.kind)
			}
		}
	}
}

// reachable leaves out those that nobody can know of or reach: a member whose inviter was removed before it had
// introduced it to anybody, one that lost its queues faster than they could be replaced, and whom such members invited.
// Everybody else has to be in one piece.
func (s *sim) reachable(in []*node) []*node {
	var pieces [][]*node
	seen := map[*node]bool{}
	for _, n := range in {
		if seen[n] {
			continue
		}
		seen[n] = true
		piece := []*node{n}
		for i := 0; i < len(piece); i++ {
			for _, o := range in {
				if p := piece[i].g.peers[o.g.self]; !seen[o] && p != nil && p.healthy() {
					seen[o] = true
					piece = append(piece, o)
				}
			}
		}
		pieces = append(pieces, piece)
	}
	stranded := func(piece []*node) bool {
		return slices.ContainsFunc(piece, func(n *node) bool {
			inviter := n.g.peers[n.g.main.inviter]
			lost := slices.ContainsFunc(n.g.present(), func(p *peer) bool {
				return slices.ContainsFunc(p.conns, func(c *pairConn) bool { return c.deaf })
			})
			return lost || !n.g.main.joinDone && inviter != nil && inviter.ended()
		})
	}
	if len(pieces) > 1 && slices.ContainsFunc(pieces, stranded) {
		return slices.MaxFunc(pieces, func(a, b []*node) int { return len(a) - len(b) })
	}
	return in
}

// everythingArrived checks that everybody has exactly the messages that are for it.
func (s *sim) everythingArrived(in []*node) {
	s.t.Helper()
	for _, author := range in {
		st := &step{Group: author.g, env: author.env(author.tx)}
		for _, number := range author.numbers(0) {
			k, ok := st.loadMessage(author.g.self, number)
			if !ok {
				s.t.Errorf("%s does not keep its message %d", author.name, number)
				continue
			}
			for _, n := range in {
				if n == author {
					continue
				}
				m, ok := author.g.st.Member(n.g.self)
				want := 0
				if ok && author.g.log.Includes(k.message.Heads, m.Added) {
					want = 1
				}
				key := fmt.Sprintf("%s/%d", author.g.self.Text(), number)
				if n.got[key] != want {
					s.t.Errorf("%s was told message %d of %s %d times, want %d", n.name, number, author.name, n.got[key], want)
				}
				if want == 1 && n.texts[key] != string(k.message.Body) {
					s.t.Errorf("%s has another text of message %d of %s", n.name, number, author.name)
				}
			}
		}
	}
}

// actAtDoor does one random thing about addresses, or nothing.
func (s *sim) actAtDoor(n, other *node) bool {
	switch k := s.rng.IntN(24); {
	case k < 2:
		n.step(Publish{})
	case k < 3 && s.rng.IntN(4) == 0:
		n.step(Unpublish{})
	case k < 5 && len(s.nodes) < 9 && n.g.link.link != nil:
		guest := s.node(fmt.Sprintf("m%d", len(s.nodes)))
		guest.ask(n.g.id, n.g.link.link, "x")
		if other.g.link.link != nil {
			guest.step(AskAt{Address: other.g.link.link, Password: []byte("x")})
		}
	default:
		return false
	}
	return true
}

// loseQueue is a relay that loses one queue of a node, with all that waits in it. The node is told when it subscribes, the
// others when they send. It happens while everybody is connected with everybody: who cannot be reached, or cannot reach
// anybody, has to be invited again.
func (s *sim) loseQueue(n *node) {
	for _, o := range s.nodes {
		if o.g == nil || o.g.Info().Status != StatusMember {
			continue
		}
		if !o.alone() {
			return
		}
		for _, p := range o.g.present() {
			if c := p.ready(); c == nil || !p.healthy() || s.conns[c.name].deleted || s.conns[c.name].peer.deleted {
				return
			}
		}
	}
	present := n.g.present()
	if len(present) < 2 {
		return
	}
	lost := s.conns[present[s.rng.IntN(len(present))].ready().name]
	lost.deleted, lost.inbox = true, 0
	n.later(s.delay(), func() { n.step(Failed{lost.name, ReasonAuth}) })
}

// part breaks the ratchet of one connection of a node.
func (s *sim) part(n *node) {
	for _, p := range n.g.present() {
		if c := p.ready(); c != nil && s.rng.IntN(2) == 0 {
			s.conns[c.name].part()
			return
		}
	}
}

// linked tells whether everybody still has a connection with everybody it ever knew: only then a contest is certain to
// find all of them.
func (s *sim) linked() bool {
	for _, n := range s.nodes {
		if n.g == nil {
			continue
		}
		for _, p := range n.g.peers {
			if p.ready() == nil {
				return false
			}
		}
	}
	return true
}

// alone tells whether nobody depends on a member: until its first other pair connects, a new member depends on its
// inviter alone.
func (n *node) alone() bool { return len(n.g.joiners) == 0 && n.g.pendingInvites() == 0 }

// act does one random thing.
func (s *sim) act(i int) {
	var running []*node
	for _, n := range s.nodes {
		if n.g != nil && !n.stopped && n.g.Info().Status == StatusMember {
			running = append(running, n)
		}
	}
	if len(running) == 0 || s.rng.IntN(8) == 0 {
		for _, n := range s.nodes {
			if n.stopped {
				n.start()
				return
			}
		}
	}
	for _, n := range s.nodes {
		if n.g != nil && !n.stopped && n.g.Info().Status == StatusRemoved && s.rng.IntN(10) == 0 && s.linked() {
			n.step(Remove{Contest: true})
			return
		}
	}
	if len(running) == 0 {
		return
	}
	n := running[s.rng.IntN(len(running))]
	other := running[s.rng.IntN(len(running))]
	for _, r := range n.g.Requests() {
		if s.rng.IntN(2) == 0 {
			n.step(Admit{Request: r.Request, Role: oplog.Role(s.rng.IntN(2))})
		} else {
			n.step(RefuseRequest{r.Request})
		}
	}
	if s.actAtDoor(n, other) {
		return
	}
	switch k := s.rng.IntN(20); {
	case k < 4 && len(s.nodes) < 8:
		m := s.node(fmt.Sprintf("m%d", len(s.nodes)))
		n.step(Invite{Contact: m.name, Role: oplog.Role(s.rng.IntN(3))})
	case k < 13:
		n.step(Send{Body: []byte(fmt.Sprintf("text %d of %s", i, n.name))})
	case k < 14:
		n.step(Set{Name: fmt.Sprint("title", s.rng.IntN(2)), Value: []byte(fmt.Sprint(i))})
	case k < 15 && other != n && len(running) > 2 && other.alone():
		n.step(Remove{Members: []Key{other.g.self}})
	case k < 16 && len(running) > 3 && s.rng.IntN(2) == 0 && n.alone():
		n.step(Leave{})
	case k < 17 && other != n:
		n.step(Repair{other.g.self})
	case k < 17 || k < 18 && s.rng.IntN(2) == 0:
		s.loseQueue(n)
	case k < 19 && s.partings:
		s.part(n)
	case k < 18:
		n.step(SetRole{Member: other.g.self, Role: oplog.Role(s.rng.IntN(5))})
	default:
		n.stop()
	}
}
