package grouproto

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// TestHostile lets honest members live with members that misbehave, over relays that lose and repeat, with processes that
// end anywhere and clocks that jump, as a seed decides; then faults stop, time passes, and what docs/groups.md promises
// has to hold. COTERIE_SEED=n runs one seed and shows all that happens, COTERIE_SEEDS=n so many of them, COTERIE_SOAK=1
// ten thousand.
func TestHostile(t *testing.T) {
	if only := os.Getenv("COTERIE_SEED"); only != "" {
		seed, err := strconv.ParseUint(only, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if found := runHostile(seed, keptActs(), os.Stdout); found != "" {
			t.Fatalf("seed %d: %s", seed, found)
		}
		return
	}
	seeds := uint64(100)
	if testing.Short() {
		seeds = 20
	}
	if os.Getenv("COTERIE_SOAK") != "" {
		seeds = 10_000
	}
	if n, err := strconv.ParseUint(os.Getenv("COTERIE_SEEDS"), 10, 64); err == nil {
		seeds = n
	}
	first, _ := strconv.ParseUint(os.Getenv("COTERIE_FIRST"), 10, 64)
	failed, all, in := 0, map[string]int{}, map[string]int{}
	for seed := first; seed < first+seeds; seed++ {
		found, count := playHostile(seed, nil, nil)
		for k, n := range count {
			all[k] += n
			in[k]++
		}
		if (seed-first)%500 == 499 {
			t.Logf("%d seeds, %d failed", seed-first+1, failed)
		}
		if found != "" {
			t.Errorf("seed %d: %s", seed, found)
			if failed++; failed == 1 {
				explain(t, seed, found)
			}
			if failed >= 20 {
				t.Fatal("and so on")
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(all)) {
		t.Logf("%s: %d, in %d of %d", k, all[k], in[k], seeds)
	}
	if seeds < 50 {
		return
	}
	for _, k := range append(faultKinds, villainKinds...) {
		if share := uint64(100); uint64(in[k])*share < seeds {
			t.Errorf("only %d of %d runs had %q", in[k], seeds, k)
		}
	}
	// What never happens is not tested.
	for _, k := range []string{
		"warning equivocation about", "warning disputed about", "warning hello about", "warning limit about", "warning card about",
		"warning sweep about", "MessageReplaced", "MessageConfirmed", "MemberRestored", "Restored", "Removed", "Joined", "MemberPaused",
		"PairWaiting", "CaughtUp", "Knocking", "OwnMessage",
	} {
		if all[k] == 0 {
			t.Errorf("in %d runs there was no %q", seeds, k)
		}
	}
}

// TestHostileIsDeterministic runs a seed twice.
func TestHostileIsDeterministic(t *testing.T) {
	for seed := range uint64(4) {
		var a, b strings.Builder
		runHostile(seed, nil, &a)
		runHostile(seed, nil, &b)
		if a.String() != b.String() {
			x, y := strings.Split(a.String(), "\n"), strings.Split(b.String(), "\n")
			for i := range x {
				if i >= len(y) || x[i] != y[i] {
					t.Fatalf("seed %d differs in line %d:\n%s\n%s", seed, i, x[i], y[min(i, len(y)-1)])
				}
			}
		}
		if len(a.String()) < 10_000 {
			t.Errorf("seed %d: nothing happened", seed)
		}
	}
}

// keptActs reads COTERIE_KEEP: the numbers of the acts that are not left out.
func keptActs() map[int]bool {
	text := os.Getenv("COTERIE_KEEP")
	if text == "" {
		return nil
	}
	keep := map[int]bool{}
	for _, f := range strings.Split(text, ",") {
		if n, err := strconv.Atoi(f); err == nil {
			keep[n] = true
		}
	}
	return keep
}

// explain leaves out acts as long as the seed still fails, and writes what remains into a file.
func explain(t *testing.T, seed uint64, found string) {
	keep := map[int]bool{}
	for i := range hostileActs {
		keep[i] = true
	}
	for size := hostileActs / 4; size > 0; size /= 2 {
		for from := 0; from < hostileActs; from += size {
			var out []int
			for i := from; i < min(from+size, hostileActs); i++ {
				if keep[i] {
					out = append(out, i)
					delete(keep, i)
				}
			}
			if len(out) > 0 && runHostile(seed, keep, nil) == "" {
				for _, i := range out {
					keep[i] = true
				}
			}
		}
	}
	var list []string
	for i := range hostileActs {
		if keep[i] {
			list = append(list, strconv.Itoa(i))
		}
	}
	name := filepath.Join(os.TempDir(), fmt.Sprintf("coterie-hostile-%d.txt", seed))
	f, err := os.Create(name)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	less := runHostile(seed, keep, f)
	t.Errorf("replay: COTERIE_SEED=%d go test -run 'TestHostile$' ./grouproto\nwith fewer acts: COTERIE_SEED=%d COTERIE_KEEP=%s: %s\nits trace is in %s",
		seed, seed, strings.Join(list, ","), less, name)
}

// probe collects the failures of one run.
type probe struct {
	testing.TB
	found []string
}

// enough ends a run.
type enough struct{}

func (p *probe) Helper()      {}
func (p *probe) Failed() bool { return len(p.found) > 0 }
func (p *probe) Errorf(format string, args ...any) {
	if len(p.found) < 10 {
		p.found = append(p.found, fmt.Sprintf(format, args...))
	}
}
func (p *probe) Error(args ...any) { p.Errorf("%s", fmt.Sprint(args...)) }
func (p *probe) Fatalf(format string, args ...any) {
	p.Errorf(format, args...)
	panic(enough{})
}
func (p *probe) Fatal(args ...any) { p.Fatalf("%s", fmt.Sprint(args...)) }

// runHostile runs a seed, without the acts that are not in keep, and returns what was found.
func runHostile(seed uint64, keep map[int]bool, trace io.Writer) (found string) {
	found, _ = playHostile(seed, keep, trace)
	return found
}

// playHostile also returns what honest members were told, by kind.
func playHostile(seed uint64, keep map[int]bool, trace io.Writer) (found string, count map[string]int) {
	p := &probe{}
	h := &hostile{sim: newSim(p, seed), keep: keep, probe: p, prior: map[string]Key{}, count: map[string]int{},
		first: map[string]bool{}, seen: map[*node]int{}, wasIn: map[*node]bool{}, apart: map[*node]bool{}, met: map[*node][]Key{}, lostBy: map[*node]*wentBack{}}
	h.faults = newFaults(seed)
	if trace != nil {
		h.traceTo(trace)
	}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(enough); !ok {
				if keep == nil && os.Getenv("COTERIE_SEED") != "" {
					panic(r)
				}
				p.Errorf("panic: %v", r)
			}
		}
		found = strings.Join(p.found, "\n    ")
	}()
	h.play()
	maps.Copy(h.count, h.faults.count)
	return "", h.count
}

// hostile is a group with members that misbehave.
type hostile struct {
	*sim
	probe    *probe
	keep     map[int]bool
	villains []*villain
	prior    map[string]Key  // per node and message: who gave the version that was told
	news     []MessageID     // told in the current step
	count    map[string]int  // events of honest members, by kind
	first    map[string]bool // per node and operation: it came when the node was a member already
	seen     map[*node]int   // operations of its log in first
	wasIn    map[*node]bool  // it was a member before its current step
	stolen   bool            // somebody joined a request that was for somebody else
	forged   bool            // somebody made copies up
	apart    map[*node]bool  // cut off from everybody else
	met      map[*node][]Key // who it was ever connected with
	copied   *node           // whose store was copied
	copy     *oldStore
	lostBy   map[*node]*wentBack // who went back to a copy
	swept    bool                // a villain has removed many at once
	lost     int                 // honest members that villains have removed
	lossless bool
	back     time.Duration // how far a clock was set back
	restarts bool          // processes end all the time
}

const hostileActs = 64

var hostileNames = []string{"ann", "bob", "cat", "dan", "eva", "fay", "gus", "hal", "ida"}

func (h *hostile) honest() (out []*node) {
	for _, n := range h.nodes {
		if n.filter == nil && n.g != nil && n.g.main.status != StatusJoining {
			out = append(out, n)
		}
	}
	return out
}

// members are all nodes with a group.
func (h *hostile) members() (out []*node) {
	for _, n := range h.nodes {
		if n.g != nil && n.g.main.status != StatusJoining {
			out = append(out, n)
		}
	}
	return out
}

func (h *hostile) nodeOf(k Key) *node {
	for _, n := range h.nodes {
		if n.g != nil && n.g.self == k {
			return n
		}
	}
	return nil
}

// mayLose tells whether villains may remove a member: there is nothing to see when all honest ones are out.
func (h *hostile) mayLose(n *node) bool { return n.filter != nil || h.lost < 2 }

// play is a whole run.
func (h *hostile) play() {
	rng := rand.New(rand.NewPCG(h.seed, 3))
	h.faults.event = h.told
	h.maxDelay = []time.Duration{50 * time.Millisecond, time.Second, 10 * time.Second}[rng.IntN(3)]
	policy := oplog.Symmetric()
	if rng.IntN(3) == 0 {
		policy = oplog.Moderated()
	}
	var settings []oplog.Setting
	switch rng.IntN(4) {
	case 0:
		settings = append(settings, oplog.Setting{Name: "history", Value: []byte("all")})
	case 1:
		settings = append(settings, oplog.Setting{Name: "history", Value: []byte("2")})
	}
	h.begin(rng, policy, settings)
	if rng.IntN(2) == 0 {
		h.nodes[0].step(Publish{})
	}
	h.lossless = rng.IntN(3) == 0
	if !h.lossless {
		f := h.faults
		switch rng.IntN(4) {
		case 0:
			f.lose = 0.05
		case 1:
			f.repeat = 0.05
		case 2:
			f.late = 0.05
		}
		if rng.IntN(3) == 0 {
			f.kill = 0.05
		}
		if rng.IntN(3) == 0 {
			h.quota = 2
		}
	}
	if rng.IntN(2) == 0 {
		h.abort, h.reload = 0.05, 0.05
	}
	h.restarts = h.abort > 0 || h.faults.kill > 0
	for i := range hostileActs {
		rng := rand.New(rand.NewPCG(h.seed, 1000+uint64(i)))
		if h.keep == nil || h.keep[i] {
			h.act(i, rng)
		}
		h.run(time.Duration(rng.Int64N(int64(4 * h.maxDelay))))
		if rng.IntN(10) == 0 {
			h.run(time.Duration(rng.IntN(7200)) * time.Second)
		}
		if h.probe.Failed() {
			return
		}
	}
	h.rest()
	h.check()
}

// begin makes a small group in which everybody is connected, one of them a villain.
func (h *hostile) begin(rng *rand.Rand, policy Policy, settings []oplog.Setting) {
	h.watch(h.create("ann", policy, settings...))
	size := 3 + rng.IntN(3)
	bad := 1 + rng.IntN(size-1)
	second := rng.IntN(4) == 0
	for i := 1; i < size; i++ {
		name := hostileNames[i]
		if i == bad {
			name = "mal"
		} else if second && i == size-1 {
			name = "moe"
		}
		h.watch(h.node(name))
		inviter := h.nodes[rng.IntN(len(h.nodes)-1)]
		role := oplog.Role(1 + rng.IntN(3))
		if inviter.g.st != nil {
			if m, _ := inviter.g.st.Member(inviter.g.self); role > m.Role || !inviter.g.st.Has(inviter.g.self, oplog.PermAdd) {
				inviter = h.nodes[0]
			}
		}
		inviter.must(Invite{Contact: name, Role: role})
		h.until(10*time.Minute, func() bool { return h.connected(h.nodes...) })
	}
	h.sim.run(time.Minute)
	for _, n := range h.nodes {
		if name := n.name; name == "mal" || name == "moe" {
			h.villains = append(h.villains, h.newVillain(n, rand.New(rand.NewPCG(h.seed, 100+uint64(len(h.villains))))))
		}
	}
}

// watch looks at what a node does after each of its steps.
func (h *hostile) watch(n *node) *node {
	n.afterStep = func() { h.bounds(n) }
	return n
}

// act does one random thing: of an honest member, of the network, or of a villain.
func (h *hostile) act(i int, rng *rand.Rand) {
	var running []*node
	for _, n := range h.honest() {
		if !n.stopped && n.g.Info().Status == StatusMember {
			running = append(running, n)
		}
	}
	v := pick(rng, h.villains)
	if k := rng.IntN(20); k < 8 {
		v.rng = rand.New(rand.NewPCG(h.seed, 5000+uint64(i)))
		v.move()
		return
	} else if k < 12 {
		h.fault(rng)
		return
	}
	if rng.IntN(8) == 0 {
		for _, n := range h.nodes {
			if n.g != nil && !n.stopped && n.filter == nil && n.g.Info().Status == StatusRemoved && h.linked() {
				n.step(Remove{Contest: true})
				return
			}
		}
	}
	n, other := pick(rng, running), pick(rng, running)
	if n == nil {
		return
	}
	switch k := rng.IntN(20); {
	case k < 2 && len(h.nodes) < 8:
		inviter := n
		if rng.IntN(4) == 0 {
			inviter = v.n
		}
		h.invites(inviter, oplog.Role(1+rng.IntN(2)))
	case k < 12:
		n.step(Send{Body: []byte(fmt.Sprintf("text %d of %s", i, n.name))})
	case k < 14:
		n.step(Set{Name: fmt.Sprint("title", rng.IntN(2)), Value: []byte(fmt.Sprint(i))})
	case k < 15 && other != n && len(running) > 3 && other.alone():
		n.step(Remove{Members: []Key{other.g.self}})
	case k < 16 && rng.IntN(2) == 0:
		n.step(Remove{Members: []Key{v.self()}})
	case k < 16 && len(running) > 3 && n.alone():
		n.step(Leave{})
	case k < 16:
		n.step(Publish{})
	case k < 17 && other != n:
		n.step(Repair{other.g.self})
	case k < 18 && other != n:
		n.step(SetRole{Member: other.g.self, Role: oplog.Role(rng.IntN(5))})
	default:
		v.n.step(Send{Body: []byte(fmt.Sprintf("text %d of %s", i, v.n.name))})
	}
}

func (h *hostile) invites(inviter *node, role Role) {
	if inviter.stopped || inviter.g.Info().Status != StatusMember {
		return
	}
	for _, name := range hostileNames {
		if !slices.ContainsFunc(h.nodes, func(n *node) bool { return n.name == name }) {
			h.watch(h.node(name))
			inviter.step(Invite{Contact: name, Role: role})
			return
		}
	}
}

// fault lets something go wrong, or right again.
func (h *hostile) fault(rng *rand.Rand) {
	n, other := pick(rng, h.nodes), pick(rng, h.nodes)
	switch k := rng.IntN(15); {
	case k < 3:
		for _, n := range h.nodes {
			if n.stopped {
				n.start()
				return
			}
		}
		n.stop()
		h.faults.hit("stopped", true)
	case k < 5 && len(h.faults.cut) > 0:
		clear(h.faults.cut)
	case k < 5:
		h.faults.cut[[2]*node{n, other}] = true
		if rng.IntN(2) == 0 {
			h.faults.cut[[2]*node{other, n}] = true
		}
	case k < 6: // everybody here against everybody there
		h.faults.hit("group cut in two", true)
		for _, a := range h.nodes {
			for _, b := range h.nodes {
				if (len(a.name)+int(a.name[0]))%2 != (len(b.name)+int(b.name[0]))%2 {
					h.faults.cut[[2]*node{a, b}] = true
				}
			}
		}
	case k < 8 && !h.lossless:
		by := time.Duration(rng.Int64N(int64(52*time.Hour))) - 26*time.Hour
		h.faults.hit("clock set forward", by > 0)
		h.faults.hit("clock set back", by < 0)
		n.clock += by
		h.back = max(h.back, -by)
		if n.g != nil && !n.stopped {
			n.step(Tick{})
		}
	case k < 10 && !h.lossless:
		h.loseOne(rng)
	case k < 11 && !h.lossless:
		for _, o := range h.nodes {
			if o.g != nil && o.g.main.status == StatusJoining {
				n, other = o, h.nodeOf(o.g.main.inviter) // else it is hardly ever used again
			}
		}
		h.faults.contacts[[2]*node{n, other}] = true
	case k == 12:
		h.backup(rng)
	case k > 12:
		h.goBack()
	default:
		h.faults.offline[n] = !h.faults.offline[n]
	}
}

// loseOne is a relay that loses one queue: of a pair that works, whose members both have another honest member that they
// are connected with.
func (h *hostile) loseOne(rng *rand.Rand) {
	well := func(n *node) (out []*node) {
		for _, o := range h.honest() {
			if o == n {
				continue
			}
			p, q := n.g.peers[o.g.self], o.g.peers[n.g.self]
			if p == nil || q == nil || !p.healthy() || !q.healthy() || p.ended() || q.ended() {
				continue
			}
			if a, b := h.conns[p.ready().name], h.conns[q.ready().name]; a.peer == b && !a.deleted && !b.deleted {
				out = append(out, o)
			}
		}
		return out
	}
	for _, n := range h.honest() {
		if n.stopped || !n.alone() || len(well(n)) < 2 || rng.IntN(3) > 0 {
			continue
		}
		o := pick(rng, well(n))
		if len(well(o)) < 2 || !o.alone() {
			continue
		}
		lost := h.conns[n.g.peers[o.g.self].ready().name]
		lost.deleted, lost.inbox = h.faults.hit("queue lost", true), 0
		n.later(h.delay(), func() { n.step(Failed{lost.name, ReasonAuth}) })
		return
	}
}

// rest lets faults stop and time pass. Villains go on for a while as their groups tell them, and are silent in the end.
func (h *hostile) rest() {
	h.faults.stop()
	h.quota, h.abort, h.reload = 0, 0, 0
	for _, n := range h.nodes {
		if n.stopped {
			n.start()
		}
	}
	// Longer than the grace and than four regular G_SYNC; a clock that was set back makes everything as much later.
	h.run(28*time.Hour + h.back)
	for _, v := range h.villains {
		v.n.stop()
	}
	h.run(9 * time.Hour)
}

func (h *hostile) run(d time.Duration) {
	h.sim.run(d)
}
