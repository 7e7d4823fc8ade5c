package agent

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/client"
)

// simWorld is a group of people with whole agents, their relays, and everything that happens between them, decided one
// thing at a time by a seed. All goroutines of all agents run in one bubble of testing/synctest: after each decision the
// world waits until every one of them is blocked, so that nothing is decided by who runs first, and time passes only when
// the world lets it.
type simWorld struct {
	t      testing.TB
	seed   uint64
	folder string
	rng    *rand.Rand
	begin  time.Time

	relays   []*simRelay
	people   []*simPerson
	names    map[MemberID]string
	restored bool                // somebody's store went back to an old copy
	said     map[string]*simSaid // group messages by their text
	wished   map[string]int
	seenMu   sync.Mutex
	seen     map[string]int // guarded by seenMu while agents run: what was done to them, and what they did

	mu      sync.Mutex
	fresh   []*simRequest // guarded by mu: sent since the last decision
	started []*simSession // guarded by mu: begun since the last decision

	requests []*simRequest
	sessions []*simSession
	numbers  int
	moved    chan struct{} // told when a command comes

	plan   simPlan
	calm   bool // no more faults
	trace  []string
	hash   []byte
	hashes [][]byte
	broken []string // what must not be
}

// simPlan is what a seed makes of a run.
type simPlan struct {
	people, relays int
	quota          int
	moderated      bool
	decisions      int     // until faults stop
	faults         float64 // chance of one per decision
	patience       float64 // chance that time passes instead of something being done
	unsent         float64 // chance that a command is lost on its way
	unheard        float64 // chance that an answer is
	says           int     // messages that each person would like to send
	kills, jumps   int     // bounds
	cuts, outages  int
	clocks         int     // clocks that are set wrong
	backups        int     // stores that go back to an old copy of themselves
	tricks         float64 // chance that a relay loses, doubles or holds back a message of a pair
	villain        int     // who misbehaves; -1: nobody
}

func newSimPlan(r *rand.Rand) simPlan {
	p := simPlan{
		people:    2 + r.IntN(4),
		relays:    1 + r.IntN(2),
		moderated: r.IntN(4) == 0,
		decisions: 300 + r.IntN(900),
		patience:  []float64{0.05, 0.2, 0.4}[r.IntN(3)],
		says:      1 + r.IntN(8),
	}
	if r.IntN(3) == 0 {
		p.quota = 2 + r.IntN(4)
	}
	p.villain = -1
	if r.IntN(3) == 0 && p.people > 2 {
		p.villain = r.IntN(p.people)
	}
	if r.IntN(8) > 0 {
		p.faults = []float64{0.01, 0.03, 0.08}[r.IntN(3)]
		p.kills, p.jumps, p.cuts, p.outages = 12, 3, 12, 2
		if r.IntN(2) == 0 {
			p.unsent, p.unheard = 0.1*r.Float64(), 0.1*r.Float64()
		}
		if r.IntN(3) == 0 {
			p.tricks = 0.3 * r.Float64()
		}
		p.clocks = 3 * r.IntN(2)
		p.backups = r.IntN(2)
	}
	return p
}

func newSimWorld(t testing.TB, seed uint64, folder string) *simWorld {
	w := &simWorld{
		t: t, seed: seed, folder: folder, rng: rand.New(rand.NewPCG(seed, 0)), begin: time.Now(),
		names: map[MemberID]string{}, said: map[string]*simSaid{}, wished: map[string]int{}, seen: map[string]int{}, moved: make(chan struct{}, 1),
	}
	w.plan = newSimPlan(w.rng)
	for i := range w.plan.relays {
		w.relays = append(w.relays, w.newRelay([]string{"north", "south"}[i], w.plan.quota))
	}
	for i := range w.plan.people {
		w.people = append(w.people, w.newPerson([]string{"ann", "bob", "cat", "dan", "eve"}[i]))
	}
	if w.plan.villain >= 0 {
		w.people[w.plan.villain].misbehave()
	}
	w.note("world", "%+v", w.plan)
	return w
}

// random returns a source of randomness of its own.
func (w *simWorld) random(name string) *simRandom {
	return &simRandom{source: rand.NewChaCha8(sha256.Sum256(binary.BigEndian.AppendUint64([]byte(name), w.seed)))}
}

type simRandom struct {
	mu     sync.Mutex
	source *rand.ChaCha8
	bytes  uint64
	heard  func([]byte) // who wants to know what came
}

func (r *simRandom) drawn() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}

func (r *simRandom) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += uint64(len(b))
	n, err := r.source.Read(b)
	if r.heard != nil {
		r.heard(b)
	}
	return n, err
}

func (w *simWorld) now() time.Time { return time.Now() }

// must ends the run after something that no fault explains.
func (w *simWorld) must(err error) {
	if err != nil {
		panic(fmt.Sprintf("simulation: %v", err))
	}
}

// note adds a line to the trace.
func (w *simWorld) note(who, format string, args ...any) {
	line := fmt.Sprintf("%14.3fs %-5s ", time.Since(w.begin).Seconds(), who) + fmt.Sprintf(format, args...)
	w.trace = append(w.trace, line)
	if simTrace != nil {
		_, _ = fmt.Fprintln(simTrace, line)
	}
	sum := sha256.New()
	sum.Write(w.hash)
	sum.Write([]byte(line))
	for _, p := range w.people { // how much randomness was used says more than the line
		sum.Write(binary.BigEndian.AppendUint64(nil, p.rand.drawn()))
	}
	w.hash = sum.Sum(nil)
	w.hashes = append(w.hashes, w.hash)
}

// wrong notes something that must not be.
func (w *simWorld) wrong(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	w.note("WRONG", "%s", s)
	w.broken = append(w.broken, s)
}

// submit takes in a command; it is called by goroutines of agents.
func (w *simWorld) submit(r *simRequest) {
	w.mu.Lock()
	w.fresh = append(w.fresh, r)
	w.mu.Unlock()
	select {
	case w.moved <- struct{}{}:
	default:
	}
}

// settle waits until nothing moves any more and takes in what came of it, in an order that does not depend on goroutines.
func (w *simWorld) settle() {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.moved:
	default:
	}
	slices.SortFunc(w.started, func(a, b *simSession) int { return strings.Compare(a.name(), b.name()) })
	w.sessions = append(w.sessions, w.started...)
	slices.SortFunc(w.fresh, func(a, b *simRequest) int {
		return strings.Compare(a.session.name()+a.key, b.session.name()+b.key)
	})
	for _, r := range w.fresh {
		w.numbers++
		r.number = w.numbers
	}
	w.requests = append(w.requests, w.fresh...)
	w.started, w.fresh = nil, nil
}

func (s *simSession) name() string { return s.person.name + " " + s.relay.name }

// left tells whether nobody waits for the answer of a command any more.
func (w *simWorld) left(r *simRequest) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return r.left
}

// pass lets time pass until a command comes, at most d.
func (w *simWorld) pass(d time.Duration) {
	before := w.turns()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.moved:
	}
	w.settle()
	for p, n := range w.turns() {
		if n -= before[p]; n > simBusy+uint64(d/time.Minute) {
			w.wrong("%s does %d things in %v without being asked", p.name, n, d)
		}
	}
	w.reap()
}

// simTrace gets the trace as it is made, if it is wanted: of a run that does not end.
var simTrace = func() io.Writer {
	if os.Getenv("COTERIE_TRACE") != "" {
		return os.Stderr
	}
	return nil
}()

// simBusy is how many transactions an agent may make while nothing comes from outside, beside one a minute.
const simBusy = 100

// turns returns how many transactions the agents have made.
func (w *simWorld) turns() map[*simPerson]uint64 {
	all := map[*simPerson]uint64{}
	for _, p := range w.people {
		if p.agent != nil {
			all[p] = p.agent.loop.turns.Load()
		}
	}
	return all
}

// reap takes care of agents that were killed meanwhile.
func (w *simWorld) reap() {
	for _, p := range w.people {
		p.reap()
	}
}

// run plays until faults stop, and then until everything is as it must be.
func (w *simWorld) run() {
	for _, p := range w.people {
		p.open()
	}
	w.people[0].do(&simCall{what: "makes the group", run: w.people[0].makeGroup})
	for range w.plan.decisions {
		w.decide()
		w.mischief()
		w.backups()
		if len(w.broken) > 0 {
			return
		}
	}
	w.endFaults()
	w.finish()
}

// decide does one thing.
func (w *simWorld) decide() {
	defer w.reap()
	defer w.settle()
	if w.chance(w.plan.faults) {
		w.fault()
		return
	}
	if w.chance(w.plan.patience) {
		w.passSome()
		return
	}
	options := w.options()
	if len(options) == 0 {
		w.passSome()
		return
	}
	options[w.rng.IntN(len(options))]()
}

func (w *simWorld) chance(p float64) bool { return w.rng.Float64() < p }

func (w *simWorld) passSome() {
	d := time.Duration(1+w.rng.IntN(300)) * time.Millisecond
	switch w.rng.IntN(20) {
	case 0:
		d *= 100
	case 1:
		d *= 10000
	case 2, 3, 4:
		d *= 10
	}
	w.pass(d)
}

// options returns everything that can happen next but time and faults.
func (w *simWorld) options() (all []func()) {
	w.sessions = slices.DeleteFunc(w.sessions, (*simSession).ended)
	for _, r := range w.requests {
		all = append(all, func() { w.advance(r) })
	}
	for _, s := range w.sessions {
		if len(s.waiting) > 0 {
			all = append(all, func() { w.deliver(s) })
		}
	}
	for _, p := range w.people {
		all = append(all, p.options()...)
	}
	return all
}

// advance takes a command a step further: to the relay, and back with its answer.
func (w *simWorld) advance(r *simRequest) {
	s := r.session
	left := w.left(r)
	switch {
	case !r.executed && left && w.chance(0.5): // written before its process ended
		w.forget(r)
		w.note(s.person.name, "%s was never sent", r.what)
	case !r.executed && !s.up && !left:
		w.answer(r, &client.DialError{Err: client.ErrDisconnected})
	case !r.executed && !left && !w.calm && w.chance(w.plan.unsent) && !strings.HasPrefix(r.key, "SUB"):
		w.saw("command lost")
		w.answer(r, client.ErrTimeout)
	case !r.executed:
		if w.requests[0] != r {
			w.saw("command overtakes others")
		}
		r.err = r.execute()
		r.executed = true
		w.note(s.person.name, "%s%s", r.what, outcome(r.err))
		if left {
			w.forget(r)
		}
	case left:
		w.forget(r)
	case !w.calm && w.chance(w.plan.unheard) && !strings.HasPrefix(r.key, "SUB"):
		w.saw("answer lost")
		w.answer(r, client.ErrTimeout)
	default:
		w.forget(r)
		close(r.answer)
	}
}

func outcome(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// answer ends a command with an error that hides what the relay did.
func (w *simWorld) answer(r *simRequest, err error) {
	w.note(r.session.person.name, "%s (%d) fails, executed %t: %v", r.what, r.number, r.executed, err)
	w.forget(r)
	r.err = err
	close(r.answer)
}

func (w *simWorld) forget(r *simRequest) {
	w.requests = slices.DeleteFunc(w.requests, func(o *simRequest) bool { return o == r })
}

// deliver hands the next event of a session to its agent.
func (w *simWorld) deliver(s *simSession) {
	e := s.waiting[0]
	s.waiting = s.waiting[1:]
	w.note(s.person.name, "from %s: %s", s.relay.name, e.what)
	if strings.HasPrefix(e.what, "message") && e.since > 0 && w.numbers-e.since > 20 {
		w.saw("message comes late")
	}
	select {
	case s.out <- e.event:
	default:
		// The agent's goroutine is not there yet, or its inbox is full.
		s.waiting = slices.Insert(s.waiting, 0, e)
		w.note(s.person.name, "is not ready for it")
	}
}

// servers returns the addresses of all relays.
func (w *simWorld) servers() (all []queue.Server) {
	for _, r := range w.relays {
		all = append(all, r.address)
	}
	return all
}

// end closes what is still open.
func (w *simWorld) end() {
	for _, p := range w.people {
		if p.agent != nil {
			p.kill("ends")
		}
	}
	synctest.Wait()
}
