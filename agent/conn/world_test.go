package conn

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/kv"

	"pgregory.net/rapid"
)

// world is agents with one connection each, relays, and a clock.
type world struct {
	t      rapid.TB
	now    time.Time
	relays []*relay
	nodes  []*node
	seed   uint64

	// choose picks one of n things that can happen next; nil: the first.
	choose func(n int) int
	// disturb is called after every step of a node and may crash it; nil: nothing happens.
	disturb func(n *node)
	// lose decides about each operation that is performed; nil: all arrive.
	lose func(n *node, op Operation) fate
	// answer may answer an operation instead of the relay; nil, or a nil result: the relay does.
	answer func(n *node, op Operation) Input
}

// fate is what happens to an operation.
type fate uint8

const (
	arrives    fate = iota
	lost            // before the relay does it
	answerLost      // after that
)

// memoryBodies are bodies by the hash of their content, counted.
type memoryBodies map[string]*storedBody

type storedBody struct {
	body []byte
	uses int
}

func (m memoryBodies) Add(body []byte) []byte {
	ref := sha256.Sum256(body)
	if b := m[string(ref[:])]; b != nil {
		b.uses++
	} else {
		m[string(ref[:])] = &storedBody{bytes.Clone(body), 1}
	}
	return ref[:]
}

func (m memoryBodies) Get(ref []byte) []byte { return m[string(ref)].body }

func (m memoryBodies) Release(ref []byte) {
	b := m[string(ref)]
	if b.uses--; b.uses == 0 {
		delete(m, string(ref))
	}
}

func (m memoryBodies) clone() memoryBodies {
	c := memoryBodies{}
	for k, v := range m {
		b := *v
		c[k] = &b
	}
	return c
}

// node is an agent with one connection.
type node struct {
	w        *world
	name     string
	relay    *relay
	other    *relay // where its queue moves to; nil: to the same
	rand     *rand.ChaCha8
	versions *versions

	conn   *Conn
	tx     *kv.Memory
	bodies memoryBodies
	events []Event
	todo   []Operation // under way

	// What the client does by itself.
	allow   []byte // info with which it answers confirmations; nil: does not
	acks    bool   // acknowledges messages and receipts
	receipt bool   // with receipts

	steps  int
	before snapshot // of the last step
}

// snapshot is what a crash cannot take away.
type snapshot struct {
	tx     *kv.Memory
	bodies memoryBodies
	events int
}

func newWorld(t rapid.TB, seed uint64) *world {
	return &world{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), seed: seed}
}

func (w *world) newRand() *rand.ChaCha8 {
	w.seed++
	return rand.NewChaCha8(sha256.Sum256([]byte(fmt.Sprint("seed", w.seed))))
}

// node adds an agent with a relay of its own.
func (w *world) node(name string) *node {
	n := &node{
		w: w, name: name, relay: newRelay(name+".example.org", w.newRand()), rand: w.newRand(),
		tx: &kv.Memory{}, bodies: memoryBodies{}, acks: true,
	}
	w.relays = append(w.relays, n.relay)
	w.nodes = append(w.nodes, n)
	return n
}

// again adds another connection of the same agent.
func (n *node) again(name string) *node {
	o := &node{
		w: n.w, name: name, relay: n.relay, rand: n.w.newRand(), versions: n.versions,
		tx: &kv.Memory{}, bodies: memoryBodies{}, acks: true,
	}
	n.w.nodes = append(n.w.nodes, o)
	return o
}

func (n *node) env() Env {
	return Env{Now: n.w.now, Rand: n.rand, Tx: n.tx, Bodies: n.bodies, versions: n.versions}
}

// take distributes effects.
func (n *node) take(effects []Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case Operation:
			n.todo = append(n.todo, e)
		case Event:
			n.events = append(n.events, e)
		default:
			n.w.t.Fatalf("%s: effect %T", n.name, e)
		}
	}
}

// step handles an input; the error is a refusal.
func (n *node) step(in Input) error {
	n.before = snapshot{n.tx.Clone(), n.bodies.clone(), len(n.events)}
	effects, err := n.conn.Step(n.env(), in)
	if err != nil {
		n.unchanged()
		return err
	}
	n.take(effects)
	n.stepped()
	return nil
}

// must is step for calls that may not be refused.
func (n *node) must(in Input) {
	n.w.t.Helper()
	if err := n.step(in); err != nil {
		n.w.t.Fatalf("%s: %T refused: %v", n.name, in, err)
	}
}

// unchanged checks that a refused call has left no trace.
func (n *node) unchanged() {
	if n.before.tx != nil && !sameRecords(n.before.tx, n.tx) {
		n.w.t.Fatalf("%s: refused call changed records", n.name)
	}
}

func sameRecords(a, b *kv.Memory) bool {
	same := a.Len() == b.Len()
	a.Scan(nil, nil, func(k, v []byte) bool {
		o, ok := b.Get(k)
		same = same && ok && bytes.Equal(v, o)
		return same
	})
	return same
}

// stepped checks that what is stored is all there is, and lets the client and the disturbance act.
func (n *node) stepped() {
	n.steps++
	n.checkStored()
	if n.w.disturb != nil {
		n.w.disturb(n)
	}
}

// checkStored loads the connection and compares it with the one in memory.
func (n *node) checkStored() {
	n.w.t.Helper()
	if n.conn.gone {
		if n.tx.Len() != 0 || len(n.bodies) != 0 {
			n.w.t.Fatalf("%s: %d records and %d bodies left of a deleted connection", n.name, n.tx.Len(), len(n.bodies))
		}
		return
	}
	c, err := Load(n.conn.id, n.tx)
	if err != nil {
		n.w.t.Fatalf("%s: load: %v", n.name, err)
	}
	n.checkPending()
	if kept := withoutEmpty(n.conn.state); !reflect.DeepEqual(c.state, kept) {
		n.w.t.Fatalf("%s: loaded state differs:\n%+v\n%+v", n.name, c.state, kept)
	}
}

// checkPending checks that a restart would bring back what is under way.
func (n *node) checkPending() {
	n.w.t.Helper()
	env := n.env()
	env.Tx, env.Bodies = n.tx.Clone(), n.bodies.clone()
	env.Rand = rand.NewChaCha8([32]byte{})
	loaded, err := Load(n.conn.id, env.Tx)
	if err != nil {
		n.w.t.Fatal(err)
	}
	pending := map[Op]bool{}
	for _, e := range loaded.Pending(env) {
		if op, ok := e.(Operation); ok && op.Name().kind != opSubscribe {
			pending[op.Name()] = true
			if !n.conn.issued[op.Name()] {
				n.w.t.Fatalf("%s: %v is not under way", n.name, op.Name())
			}
		}
	}
	for op := range n.conn.issued {
		if !pending[op] && !n.obsolete(op) {
			n.w.t.Fatalf("%s: %v does not come back", n.name, op)
		}
	}
}

// obsolete tells whether nobody waits any more for the result of an operation under way.
func (n *node) obsolete(op Op) bool {
	c := n.conn
	switch op.kind {
	case opAck:
		return true // another message came
	case opNew:
		q := c.begin(n.env()).receiveSlot(op.slot)
		return c.deletion != notDeleting || q == nil || q.leaving
	case opSend, opPost: // the peer's answer came first, or the connection ended
		s := c.begin(n.env())
		q := s.sendSlot(op.slot)
		if c.phase == failed || c.deletion == deleting || q == nil {
			return true
		}
		m := s.head(q)
		return m == nil || uint64(m.id) != op.number
	case opKey, opDelete: // of a queue that was given up, or is gone
		q := c.begin(n.env()).receiveSlot(op.slot)
		return q == nil || op.kind == opKey && (q.leaving || c.deletion != notDeleting)
	default:
		return false
	}
}

// withoutEmpty returns the state with nil for empty lists.
func withoutEmpty(s state) state {
	if len(s.receive) == 0 {
		s.receive = nil
	}
	return s
}

// restart forgets everything that is not stored, operations under way included.
func (n *node) restart() {
	n.w.t.Helper()
	n.todo = nil
	for _, r := range n.w.relays {
		for _, q := range r.queues {
			if q.owner == n {
				q.delivered = false
			}
		}
	}
	if n.tx.Len() == 0 {
		return
	}
	id := n.conn.id
	c, err := Load(id, n.tx)
	if err != nil {
		n.w.t.Fatalf("%s: load: %v", n.name, err)
	}
	n.conn = c
	n.take(c.Pending(n.env()))
}

// undo takes the last step back, as if the transaction had failed, and restarts.
func (n *node) undo() {
	n.tx, n.bodies, n.events = n.before.tx.Clone(), n.before.bodies.clone(), n.events[:n.before.events]
	n.restart()
}

func (n *node) create(kind link.Kind) {
	c, effects := Create(n.env(), ID(n.name), CreateOptions{Kind: kind})
	n.conn = c
	n.take(effects)
	n.stepped()
}

func (n *node) join(l link.Request, info string) error {
	c, effects, err := Join(n.env(), ID(n.name), JoinOptions{Link: l, Info: func([32]byte) ([]byte, error) { return []byte(info), nil }})
	if err != nil {
		return err
	}
	n.conn = c
	n.take(effects)
	n.stepped()
	return nil
}

// event returns the last event of a type.
func event[E Event](n *node) (last E, ok bool) {
	for _, e := range n.events {
		if e, is := e.(E); is {
			last, ok = e, true
		}
	}
	return last, ok
}

// mustEvent is event for events that must be there.
func mustEvent[E Event](n *node) E {
	n.w.t.Helper()
	e, ok := event[E](n)
	if !ok {
		n.w.t.Fatalf("%s: no %T among %s", n.name, e, n.history())
	}
	return e
}

// all returns all events of a type.
func all[E Event](n *node) (found []E) {
	for _, e := range n.events {
		if e, is := e.(E); is {
			found = append(found, e)
		}
	}
	return found
}

// history is the types of a node's events, for messages of tests.
func (n *node) history() (s string) {
	for _, e := range n.events {
		s += fmt.Sprintf(" %T", e)
		if f, is := e.(Failure); is {
			s += "(" + f.Err.Error() + ")"
		}
	}
	return s
}

// client does what the client of a node does by itself; true if it did something.
func (n *node) client() bool {
	if n.conn == nil || n.conn.gone {
		return false
	}
	if n.allow != nil && n.conn.phase == confirmed {
		c := mustEvent[Confirmation](n)
		n.must(Allow{Confirmation: c.ID, Info: n.allow})
		return true
	}
	if !n.acks {
		return false
	}
	for _, e := range n.events {
		switch e := e.(type) {
		case Message:
			if n.conn.begin(n.env()).held(e.ID) != nil {
				n.must(AckMessage{ID: e.ID, Receipt: n.receipt})
				return true
			}
		case Receipts:
			if n.conn.begin(n.env()).held(e.ID) != nil {
				n.must(AckMessage{ID: e.ID})
				return true
			}
		}
	}
	return false
}

// choices returns everything that can happen now.
func (w *world) choices() (do []func()) {
	for _, n := range w.nodes {
		for i := range n.todo {
			do = append(do, func() { n.perform(i) })
		}
	}
	for _, r := range w.relays {
		for _, q := range r.queues {
			if q.deliverable() && q.owner.conn != nil {
				do = append(do, func() { q.owner.must(q.deliver()) })
			}
		}
	}
	return do
}

// perform executes an operation under way and gives its result to the node.
func (n *node) perform(i int) {
	op := n.todo[i]
	n.todo = append(n.todo[:i:i], n.todo[i+1:]...)
	n.must(n.w.attempt(n, op))
}

// attempt executes an operation, or loses it.
func (w *world) attempt(n *node, op Operation) Input {
	what := arrives
	if w.lose != nil {
		what = w.lose(n, op)
	}
	if what == lost {
		return refused(op, Temporary, "BROKER TIMEOUT")
	}
	var result Input
	if w.answer != nil {
		result = w.answer(n, op)
	}
	if result == nil {
		result = w.execute(n, op)
	}
	if what == answerLost {
		return refused(op, Temporary, "BROKER TIMEOUT")
	}
	return result
}

// run lets everything happen until nothing can happen without the clock.
func (w *world) run() {
	w.t.Helper()
	for range 100_000 {
		acted := false
		for _, n := range w.nodes {
			acted = n.client() || acted
		}
		do := w.choices()
		switch {
		case len(do) > 0 && w.choose != nil:
			do[w.choose(len(do))]()
		case len(do) > 0:
			do[0]()
		case !acted:
			return
		}
	}
	w.t.Fatal("never comes to rest")
}

// wait moves the clock to the next time that somebody waits for, at most for limit; false if nobody does.
func (w *world) wait(limit time.Duration) bool {
	var next time.Time
	for _, n := range w.nodes {
		if n.conn != nil {
			next = earlier(next, n.conn.NextWake())
		}
	}
	if next.IsZero() || next.Sub(w.now) > limit {
		return false
	}
	if next.After(w.now) {
		w.now = next
	}
	for _, n := range w.nodes {
		if n.conn != nil && !n.conn.NextWake().IsZero() && !n.conn.NextWake().After(w.now) {
			n.must(Tick{})
		}
	}
	return true
}

// tickle lets the next thing happen.
func (w *world) tickle() {
	if do := w.choices(); len(do) > 0 {
		do[0]()
	} else {
		w.wait(time.Hour)
	}
}

// settle runs and waits until nothing happens any more within the limit.
func (w *world) settle(limit time.Duration) {
	w.t.Helper()
	end := w.now.Add(limit)
	for {
		w.run()
		if !w.wait(end.Sub(w.now)) {
			return
		}
	}
}
