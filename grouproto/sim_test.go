package grouproto

import (
	"bytes"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/kv"
)

// sim is a network of group members in virtual time. Connections are reliable and keep their order in each direction, as
// the connection layer promises; everything else – delays, the order between connections, members that are stopped,
// steps whose transaction fails, reloads – comes from a seed, so that a failure can be replayed.
type sim struct {
	t     testing.TB
	seed  uint64
	rng   *rand.Rand
	now   time.Time
	queue eventQueue
	seq   int
	nodes []*node
	conns map[string]*simConn
	asked map[string]*simConn // requests at addresses: the door of who asks
	made  []*simConn          // conns, in the order of their making
	refs  Ref

	minDelay, maxDelay time.Duration
	trace              func(*node, Input, Effect) // to look into a failure; nil otherwise
	steps              func(*node, Input)         // before a step; nil otherwise
	stepped            func(*node)                // after it
	quota              int                        // messages that a relay keeps per queue; 0: any number
	abort              float64                    // share of steps whose transaction fails first
	reload             float64                    // share of steps after which the group is loaded again
	again              float64                    // share of requests at addresses that arrive twice
	lose               float64                    // share of requests at addresses that never arrive
	faults             *faults                    // what relays and members do wrong; nil: nothing
	partings           bool                       // ratchets part

	loses func(from, to *node, what any) bool // tells of what is sent (SendConn, JoinConn, AllowConn, SendContact) whether relays lose it; nil: none
}

type timed struct {
	at  time.Time
	seq int
	do  func()
}

type eventQueue []timed

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	if q[i].at.Equal(q[j].at) {
		return q[i].seq < q[j].seq
	}
	return q[i].at.Before(q[j].at)
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(timed)) }
func (q *eventQueue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// node is one member's agent: the group, its records and its half of the connection layer.
type node struct {
	sim       *sim
	name      string
	tx        *kv.Memory
	g         *Group
	stopped   bool
	held      []func() // what it would do or get if it were running
	events    []Event
	last      Done
	tickAt    time.Time
	tickedAt  time.Time
	ticks     int                         // at tickedAt
	hook      func(n *node, e Effect)     // sees every effect before it is done
	answer    func(n *node, i Invitation) // what to do with an invitation; nil: accept
	afterStep func()
	limits    Limits
	options   []oplog.Option
	got       map[string]int        // messages by author and number
	texts     map[string]string     // their bodies
	bind      func(Binding) Binding // changes bindings, as somebody in the middle would
	clock     time.Duration         // how far its clock is ahead
	hears     func(Input)           // sees every input before it is taken
	filter    func(Effect) []Effect // what a member that misbehaves makes of the effects of its group
}

func newSim(t testing.TB, seed uint64) *sim {
	return &sim{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2026, 3, 1, 10, 20, 0, 0, time.UTC),
		conns: map[string]*simConn{}, asked: map[string]*simConn{}, minDelay: 5 * time.Millisecond, maxDelay: 300 * time.Millisecond,
	}
}

func (s *sim) put(c *simConn) {
	s.conns[c.name] = c
	s.made = append(s.made, c)
}

func (s *sim) delay() time.Duration {
	return s.minDelay + time.Duration(s.rng.Int64N(int64(s.maxDelay-s.minDelay)+1))
}

func (s *sim) at(t time.Time, do func()) {
	s.seq++
	heap.Push(&s.queue, timed{t, s.seq, do})
}

func (s *sim) after(d time.Duration, do func()) { s.at(s.now.Add(d), do) }

// run lets time pass.
func (s *sim) run(d time.Duration) {
	s.t.Helper()
	end := s.now.Add(d)
	for len(s.queue) > 0 && !s.queue[0].at.After(end) {
		e := heap.Pop(&s.queue).(timed)
		s.now = e.at
		e.do()
	}
	s.now = end
}

// until lets time pass until something holds, at most d.
func (s *sim) until(d time.Duration, holds func() bool) {
	s.t.Helper()
	end := s.now.Add(d)
	for !holds() {
		if len(s.queue) == 0 || s.queue[0].at.After(end) {
			s.t.Fatalf("not reached within %v", d)
		}
		e := heap.Pop(&s.queue).(timed)
		s.now = e.at
		e.do()
	}
}

type seeded struct{ *rand.Rand }

func (r seeded) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return len(b), nil
}

func (n *node) env(tx kv.Tx) Env {
	return Env{Now: n.now(), Rand: seeded{n.sim.rng}, Tx: tx, Limits: n.limits}
}

// now is the time as the node's clock shows it.
func (n *node) now() time.Time { return n.sim.now.Add(n.clock) }

// node makes an agent without a group.
func (s *sim) node(name string) *node {
	n := &node{sim: s, name: name, tx: &kv.Memory{}, got: map[string]int{}, texts: map[string]string{}}
	s.nodes = append(s.nodes, n)
	return n
}

func (s *sim) named(name string) *node {
	i := slices.IndexFunc(s.nodes, func(n *node) bool { return n.name == name })
	if i < 0 {
		s.t.Fatalf("nobody is called %q", name)
	}
	return s.nodes[i]
}

// create makes a node with a new group.
func (s *sim) create(name string, policy Policy, settings ...oplog.Setting) *node {
	s.t.Helper()
	n := s.node(name)
	g, effects, err := Create(n.env(n.tx), CreateOptions{Policy: policy, Settings: settings, Card: []byte("card of " + name)})
	if err != nil {
		s.t.Fatal(err)
	}
	n.g = g
	n.perform(effects)
	return n
}

// group makes a group of so many members, one after the other, all connected.
func (s *sim) group(size int, policy Policy, settings ...oplog.Setting) []*node {
	s.t.Helper()
	s.create("m0", policy, settings...)
	for i := 1; i < size; i++ {
		n := s.node(fmt.Sprintf("m%d", i))
		s.named("m0").invite(n)
		s.until(10*time.Minute, func() bool { return s.connected(s.nodes...) })
	}
	s.run(time.Minute)
	return s.nodes
}

// connected tells whether all of these are members and connected with each other.
func (s *sim) connected(nodes ...*node) bool {
	for _, n := range nodes {
		if n.g == nil || n.g.Info().Status != StatusMember {
			return false
		}
		for _, o := range nodes {
			if o == n {
				continue
			}
			if o.g == nil {
				return false
			}
			p := n.g.peers[o.g.self]
			if p == nil || !p.healthy() {
				return false
			}
		}
	}
	return true
}

func (n *node) invite(other *node) { n.inviteAs(other, oplog.Plain) }

func (n *node) inviteAs(other *node, role Role) {
	n.sim.t.Helper()
	n.must(Invite{Contact: other.name, Role: role, Info: []byte("come in")})
}

// must is a command that has to succeed.
func (n *node) must(in Input) Done {
	n.sim.t.Helper()
	n.step(in)
	if n.last.Err != nil {
		n.sim.t.Fatalf("%s: %T: %v", n.name, in, n.last.Err)
	}
	return n.last
}

// refused is a command that has to fail.
func (n *node) refused(in Input) error {
	n.sim.t.Helper()
	n.step(in)
	if n.last.Err == nil {
		n.sim.t.Fatalf("%s: %T was not refused", n.name, in)
	}
	return n.last.Err
}

func (n *node) send(text string) MessageID {
	n.sim.t.Helper()
	return n.must(Send{Body: []byte(text)}).Message
}

// step is one transaction: the group's step and what its effects change in the connection layer.
func (n *node) step(in Input) {
	if n.g == nil {
		return
	}
	s := n.sim
	if s.trace != nil {
		s.trace(n, in, nil)
	}
	if _, tick := in.(Tick); !tick {
		n.ticks = 0
	}
	if n.hears != nil {
		n.hears(in)
	}
	if s.abort > 0 && s.faults.hit("transaction failed", s.rng.Float64() < s.abort) {
		n.g.Step(n.env(n.tx.Clone()), in) // never committed, nothing of it was seen
		n.load()
	}
	if s.steps != nil {
		s.steps(n, in)
	}
	n.commit(n.g.Step(n.env(n.tx), in))
	if s.stepped != nil {
		s.stepped(n)
	}
	if s.reload > 0 && s.faults.hit("killed between steps", s.rng.Float64() < s.reload) {
		n.load()
	}
	n.plan()
	if n.afterStep != nil {
		n.afterStep()
	}
}

// load is what a start of the process does.
func (n *node) load() {
	n.sim.t.Helper()
	counts := n.g.counts
	g, err := loadWith(n.tx, n.options...)
	if err != nil {
		n.sim.t.Fatalf("%s: %v", n.name, err)
	}
	n.g = g
	n.g.counts = counts
	n.perform(n.g.Pending(n.env(n.tx)))
}

// plan makes sure that the group gets its Tick.
func (n *node) plan() {
	w := n.g.NextWake()
	if w.IsZero() {
		return
	}
	w = w.Add(-n.clock)
	if w.Before(n.sim.now) {
		w = n.sim.now
	}
	if !n.tickAt.IsZero() && !w.Before(n.tickAt) {
		return
	}
	n.tickAt = w
	n.sim.at(w, func() {
		if !n.tickAt.Equal(w) {
			return // another one came first
		}
		n.tickAt = time.Time{}
		if n.stopped {
			return
		}
		n.busy()
		n.step(Tick{})
	})
}

// busy fails the test when a group wants Ticks without end.
func (n *node) busy() {
	if !n.tickedAt.Equal(n.sim.now) {
		n.tickedAt, n.ticks = n.sim.now, 0
	}
	if n.ticks++; n.ticks > 100 {
		n.sim.t.Fatalf("seed %d: %s wants Ticks without end: %+v", n.sim.seed, n.name, n.g.wakes())
	}
}

// later does something for a node unless it is stopped, else when it starts again.
func (n *node) later(d time.Duration, do func()) {
	n.sim.after(d, func() { n.running(do) })
}

func (n *node) running(do func()) {
	if n.stopped {
		n.held = append(n.held, do)
		return
	}
	do()
}

func (n *node) stop() { n.stopped = true }

func (n *node) start() {
	n.stopped = false
	if n.g != nil {
		n.load()
	}
	held := n.held
	n.held = nil
	for _, do := range held {
		n.running(do)
	}
	if n.g != nil {
		n.plan()
	}
}

// commit does what a step asked for. Now and then the process ends when the step is stored and before connections are made
// and joined: these are asked for again by Pending.
func (n *node) commit(effects []Effect) {
	if !n.sim.faults.killed(n) {
		n.perform(effects)
		return
	}
	n.load()
	n.perform(slices.DeleteFunc(slices.Clone(effects), func(e Effect) bool {
		switch e.(type) {
		case NewConn, JoinConn:
			return true
		}
		return false
	}))
}

// perform does what a step asked for.
func (n *node) perform(effects []Effect) {
	s := n.sim
	if n.filter != nil {
		var changed []Effect
		for _, e := range effects {
			changed = append(changed, n.filter(e)...)
		}
		effects = changed
	}
	for _, e := range effects {
		if s.trace != nil {
			s.trace(n, nil, e)
		}
		if n.hook != nil {
			n.hook(n, e)
		}
		switch e := e.(type) {
		case Done:
			n.last = e
		case Notice:
			n.event(e.Event)
		case NewConn:
			if c := s.conns[e.Conn]; c != nil {
				if c.owner == n && !c.deleted { // asked for again: the answer may have been lost with the process
					n.later(s.delay(), func() { n.step(LinkReady{c.name, c.link}) })
				}
				continue
			}
			if s.faults.noRelay(n) {
				n.later(s.delay(), func() { n.step(Failed{e.Conn, ReasonHost}) })
				continue
			}
			c := &simConn{owner: n, name: e.Conn, link: []byte("link to " + e.Conn)}
			s.put(c)
			n.later(s.delay(), func() { n.step(LinkReady{c.name, c.link}) })
		case JoinConn:
			n.join(e)
		case AllowConn:
			n.allow(e)
		case SendConn:
			n.sendOver(e)
		case ResyncConn:
			n.resync(e)
		case DeleteConn:
			if c := s.conns[e.Conn]; c != nil {
				c.deleted = true
			}
		case NewAddress, OpenDoor, AcceptDoor, RefuseDoor, SendDoor:
			n.performDoor(e)
		case SendContact:
			other := s.named(e.Contact)
			frame := bytes.Clone(e.Frame)
			if s.faults.contactGone(n, other) || s.faults.loses("frame between contacts") || s.loses != nil && s.loses(n, other, e) {
				continue
			}
			s.after(s.delay(), func() { other.running(func() { other.contact(n, frame) }) })
		}
	}
}

// contact is a frame over a contact connection.
func (n *node) contact(from *node, frame []byte) {
	if inv, err := ParseInvitation(from.name, frame); err == nil {
		if n.answer != nil {
			n.answer(n, inv)
			return
		}
		n.accept(inv)
		return
	}
	id, _, err := ContactFrameGroup(frame)
	if err != nil && n.sim.faults != nil {
		return
	}
	if err != nil {
		n.sim.t.Fatalf("%s got a frame that is no answer: %v", n.name, err)
	}
	if n.g != nil && n.g.ID() == id {
		n.step(ContactFrame{from.name, frame})
	}
}

func (n *node) accept(inv Invitation) {
	n.sim.t.Helper()
	g, effects, err := Accept(n.env(n.tx), inv, []byte("card of "+n.name))
	if err != nil {
		n.sim.t.Fatalf("%s: %v", n.name, err)
	}
	n.g = g
	n.g.logOptions = n.options
	n.perform(effects)
	n.plan()
}

// event checks what every client relies on, and keeps the event.
func (n *node) event(e Event) {
	n.events = append(n.events, e)
	if m, ok := e.(MessageReceived); ok {
		k := fmt.Sprintf("%s/%d", m.Message.ID.Author.Text(), m.Message.ID.Number)
		if n.got[k]++; n.got[k] > 1 {
			n.sim.t.Errorf("%s was told message %d of %s twice", n.name, m.Message.ID.Number, n.sim.nameOf(m.Message.ID.Author))
		}
		n.texts[k] = string(m.Message.Body)
	}
	if m, ok := e.(MessageRefuted); ok {
		k := fmt.Sprintf("%s/%d", m.ID.Author.Text(), m.ID.Number)
		if n.got[k] == 0 {
			n.sim.t.Errorf("%s was told that a message is false that it was not told", n.name)
		}
		delete(n.texts, k)
	}
	if m, ok := e.(MessageReplaced); ok {
		n.texts[fmt.Sprintf("%s/%d", m.Message.ID.Author.Text(), m.Message.ID.Number)] = string(m.Message.Body)
	}
	n.sim.faults.told(n, e)
}

func (s *sim) nameOf(k Key) string {
	for _, n := range s.nodes {
		if n.g != nil && n.g.self == k {
			return n.name
		}
	}
	return "somebody"
}

// eventsOf returns a node's events of one type.
func eventsOf[E Event](n *node) (out []E) {
	for _, e := range n.events {
		if e, ok := e.(E); ok {
			out = append(out, e)
		}
	}
	return out
}

// counts sums the agent messages of everybody.
func (s *sim) counts() (c Counts) {
	for _, n := range s.nodes {
		if n.g != nil {
			c = c.Plus(n.g.Counts())
		}
	}
	return c
}

// agree checks that these have the same log and state, and that nobody misses anything.
func (s *sim) agree(nodes ...*node) {
	s.t.Helper()
	for _, n := range nodes {
		if n.g.StateHash() != nodes[0].g.StateHash() {
			s.t.Errorf("%s and %s do not agree about the group", n.name, nodes[0].name)
		}
		for k, c := range n.g.chains {
			_, present := n.g.st.Member(k)
			away := present && !slices.ContainsFunc(nodes, func(o *node) bool { return o.g.self == k })
			if len(c.gaps) > 0 && !away { // who is away may come back with it
				s.t.Errorf("%s misses %v of %s", n.name, c.gaps, s.nameOf(k))
			}
		}
	}
}

// sameMessages checks that what each of these wrote since a moment arrived at all others.
func (s *sim) sameMessages(nodes []*node, from map[Key]uint64) {
	s.t.Helper()
	for _, author := range nodes {
		for _, number := range author.numbers(from[author.g.self]) {
			k := fmt.Sprintf("%s/%d", author.g.self.Text(), number)
			for _, n := range nodes {
				if n != author && n.got[k] != 1 {
					s.t.Errorf("%s has message %d of %s %d times", n.name, number, author.name, n.got[k])
				}
			}
		}
	}
}

// wakes tells what a group waits for, for a test that fails.
func (g *Group) wakes() map[string]time.Time {
	out := map[string]time.Time{}
	for name, f := range map[string]func(*wake){
		"endings": g.wakeEndings, "waiting": g.wakeWaiting, "pauses": g.wakePauses, "pairs": g.wakePairs,
		"invitations": g.wakeInvitations, "log": g.wakeLog, "reports": g.wakeReports, "asks": g.wakeAsks, "sync": g.wakeSync,
		"doors": g.wakeDoors,
	} {
		var w wake
		f(&w)
		out[name] = w.at
	}
	for _, p := range g.order {
		w := wake{p.receiptDue}
		for _, q := range p.out {
			w.add(q.due)
		}
		if !w.at.IsZero() {
			out["frames for "+p.key.Text()] = w.at
		}
	}
	return out
}
