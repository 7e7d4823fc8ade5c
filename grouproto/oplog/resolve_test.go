package oplog

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// graph grows a random history: many branches, removals, role and policy changes from all sides, over six people.
type graph struct {
	l      *Log
	number uint64
	people []Key
	names  []string
}

// source is where choices come from: a rapid.T, or a seed.
type source interface{ below(n int) int }

type drawn struct{ *rapid.T }

func (d drawn) below(n int) int { return rapid.IntRange(0, n-1).Draw(d.T, "n") }

type seeded struct{ *rand.Rand }

func (s seeded) below(n int) int { return s.IntN(n) }

func newGraph(r source) *graph {
	g := &graph{names: []string{"title", "timer", "pin/1", "x"}}
	for _, n := range []string{"f", "a", "b", "c", "d", "e"} {
		g.people = append(g.people, named(n))
	}
	g.l = start(nil, g.op(Body{Author: g.people[0], Action: &Genesis{
		Policy:   g.policy(r),
		Settings: []Setting{{Name: "title", Value: []byte("t")}},
	}}, r))
	for range 2 + r.below(6) { // some members to begin with, brought in by each other
		head := g.l.heads[0]
		members := g.l.state.Members()
		author := members[r.below(len(members))].Key
		g.l.admitUnsigned(g.op(Body{
			Group: g.l.Group(), Author: author, Seq: g.l.nextSeq(author, whole(len(g.l.nodes))), Parents: g.l.ids([]int32{head}),
			Action: &Add{Member: g.person(r), Role: Role(1 + r.below(4)), CardHash: [32]byte{byte(r.below(256))}},
		}, r))
	}
	return g
}

// op gives a body an ID that says nothing about its content, so that ties fall both ways.
func (g *graph) op(b Body, r source) *Op {
	g.number++
	var id ID
	id[0] = byte(r.below(256))
	binary.BigEndian.PutUint64(id[24:], g.number)
	return &Op{Body: b, id: id}
}

func (g *graph) policy(r source) Policy {
	switch r.below(4) {
	case 0:
		return Symmetric()
	case 1:
		return Moderated()
	}
	p := Symmetric()
	p.Reach = Reach(r.below(3))
	for range r.below(4) {
		p.Levels[r.below(len(p.Levels))] = Role(r.below(6))
	}
	return p
}

func (g *graph) person(r source) Key { return g.people[r.below(len(g.people))] }

func (g *graph) action(r source) Action {
	switch r.below(16) {
	case 0, 1, 2, 3:
		return &Add{Member: g.person(r), Role: Role(r.below(5)), CardHash: [32]byte{byte(r.below(256))}}
	case 4, 5, 6, 7, 8:
		a := &Remove{Hide: r.below(4) == 0}
		for range 1 + r.below(3) {
			if k := g.person(r); !a.names(k) {
				a.Members = append(a.Members, Removal{k, uint64(r.below(5))})
			}
		}
		slices.SortFunc(a.Members, func(a, b Removal) int { return a.Member.Compare(b.Member) })
		return a
	case 9, 10, 11:
		return &RoleChange{Member: g.person(r), Role: Role(r.below(5))}
	case 12:
		return &PolicyChange{Policy: g.policy(r)}
	case 13:
		switch r.below(6) {
		case 0:
			return &Close{}
		case 1, 2:
			return &Leave{}
		}
	}
	return &Set{Setting{Name: g.names[r.below(len(g.names))], Value: []byte("v")[:r.below(2)]}}
}

// step tries one more operation on top of a random part of what there is, mostly after its author's own last one.
func (g *graph) step(r source) (op *Op, reason Reason) {
	author := g.person(r)
	var heads []int32
	for range 1 + r.below(3) {
		heads = append(heads, int32(max(r.below(len(g.l.nodes)), r.below(len(g.l.nodes)))))
	}
	if own := g.l.index.authors[author]; len(own) > 0 && r.below(8) > 0 {
		heads = append(heads, own[len(own)-1])
	}
	heads = g.l.unimplied(heads)
	b := Body{
		Group: g.l.Group(), Author: author, Seq: g.l.nextSeq(author, g.l.closure(heads)), Parents: g.l.ids(heads),
		Action: g.action(r),
	}
	if r.below(50) == 0 {
		b.Seq++
	}
	sortIDs(b.Parents)
	op = g.op(b, r)
	return op, g.l.admitUnsigned(op)
}

// grow makes a history of n operations, or fewer if nobody may do anything any more.
func (g *graph) grow(r source, n int) {
	for tries := 0; len(g.l.nodes) < n && tries < 12*n; tries++ {
		g.step(r)
	}
}

// part returns a random set that is closed under past.
func (g *graph) part(r source) (heads []int32) {
	for range 1 + r.below(4) {
		heads = append(heads, int32(r.below(len(g.l.nodes))))
	}
	return g.l.unimplied(heads)
}

func (l *Log) plainSet(s span) plainSet {
	set := plainSet{}
	for i, x := range l.nodes {
		if s.has(int32(i)) {
			set[x.op.id] = true
		}
	}
	return set
}

type fataler interface{ Fatalf(string, ...any) }

// compareToPlain grows a history of up to size operations and compares every verdict and state with the definition, for
// the whole and for parts.
func compareToPlain(t fataler, r source, size int) (void, refused int) {
	g := newGraph(r)
	p := newPlain(g.l.nodes[0].op)
	for _, x := range g.l.nodes[1:] {
		if !p.admit(x.op) {
			t.Fatalf("refused by the definition")
		}
	}
	for tries := 0; len(g.l.nodes) < size && tries < 4*size; tries++ {
		op, reason := g.step(r)
		if plainly := p.admit(op); plainly != (reason == ReasonNone) {
			t.Fatalf("admission by the definition %v, here: %v", plainly, reason)
		}
		if reason != ReasonNone {
			refused++
			continue
		}
		if want, got := p.state(g.l.plainSet(whole(len(g.l.nodes)))).String(), listed(g.l.state); got != want {
			t.Fatalf("state\n%s\nwant\n%s", got, want)
		}
		if r.below(3) == 0 {
			g.l.State() // somebody keeps it: the next change must copy
		}
	}
	for range 3 {
		heads := g.part(r)
		st, ok := g.l.StateAt(g.l.ids(heads))
		if !ok {
			t.Fatalf("heads unknown")
		}
		if want, got := p.state(g.l.plainSet(g.l.closure(heads))).String(), listed(st); got != want {
			t.Fatalf("state of a part\n%s\nwant\n%s", got, want)
		}
	}
	return g.l.state.void.len(), refused
}

func TestIncrementalEqualsPlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawn{t}
		compareToPlain(t, r, 4+r.below(16))
	})
}

func TestIncrementalEqualsPlainOnManyGraphs(t *testing.T) {
	void, refused := 0, 0
	for seed := range uint64(1200) {
		size := 16
		if seed%40 == 0 {
			size = 90 // more than one word of a span
		}
		v, f := compareToPlain(t, seeded{rand.New(rand.NewPCG(seed, 1))}, size)
		void, refused = void+v, refused+f
	}
	if void < 1000 || refused < 300 {
		t.Error("only", void, "void and", refused, "refused operations")
	}
}

// TestLongHistoryEqualsRecomputed compares what became of thousands of small steps with the same state made at once.
func TestLongHistoryEqualsRecomputed(t *testing.T) {
	for seed := range uint64(3) {
		r := seeded{rand.New(rand.NewPCG(seed, 2))}
		g := &graph{names: []string{"title", "x"}}
		for i := range 60 {
			g.people = append(g.people, Key{byte(i + 1)})
		}
		g.l = start(nil, g.op(Body{Author: g.people[0], Action: &Genesis{Policy: Symmetric()}}, r))
		steps := 0
		for ; len(g.l.nodes) < 1500 && steps < 20_000; steps++ {
			author := g.person(r)
			near := func() int32 { return int32(max(0, len(g.l.nodes)-1-r.below(20))) }
			heads := []int32{near(), near(), near()}
			if own := g.l.index.authors[author]; len(own) > 0 {
				heads = append(heads, own[len(own)-1])
			}
			heads = g.l.unimplied(heads)
			var a Action = title("x")
			switch r.below(12) {
			case 0, 1, 2:
				a = &Add{Member: g.person(r), Role: Plain}
			case 3:
				a = &RoleChange{Member: g.person(r), Role: Role(r.below(5))}
			case 4:
				if k := g.person(r); r.below(8) == 0 && k != g.people[0] {
					a = &Remove{Members: []Removal{{Member: k}}}
				}
			}
			b := Body{
				Group: g.l.Group(), Author: author, Seq: g.l.nextSeq(author, g.l.closure(heads)), Parents: g.l.ids(heads), Action: a,
			}
			sortIDs(b.Parents)
			g.l.admitUnsigned(g.op(b, r))
		}
		if len(g.l.nodes) < 1000 || g.l.state.void.len() == 0 {
			t.Fatal(len(g.l.nodes), "operations,", g.l.state.void.len(), "void")
		}
		set := whole(len(g.l.nodes))
		fresh := &State{l: g.l}
		fresh.move(set, g.l.voids(set), slices.Collect(span{}.without(set.n))...)
		if listed(fresh) != listed(g.l.State()) {
			t.Fatal("another state")
		}
	}
}

// TestStatesDoNotChange keeps states while the log grows.
func TestStatesDoNotChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawn{t}
		g := newGraph(r)
		var kept []*State
		var was []string
		for range 30 {
			if r.below(2) == 0 {
				st := g.l.State()
				if r.below(2) == 0 {
					st, _ = g.l.StateAt(g.l.ids(g.part(r)))
				}
				kept, was = append(kept, st), append(was, listed(st))
			}
			g.step(r)
		}
		for i, st := range kept {
			if got := listed(st); got != was[i] {
				t.Fatalf("state changed from\n%s\nto\n%s", was[i], got)
			}
		}
	})
}

// TestOrderOfAdmissionDoesNotMatter admits the same operations in another order.
func TestOrderOfAdmissionDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawn{t}
		g := newGraph(r)
		g.grow(r, 24)
		want := listed(g.l.State())
		for range 2 {
			l := start(nil, g.l.nodes[0].op)
			rest := make([]*Op, 0, len(g.l.nodes))
			for _, x := range g.l.nodes[1:] {
				rest = append(rest, x.op)
			}
			for len(rest) > 0 {
				at := r.below(len(rest))
				for len(l.unknownParents(rest[at])) > 0 {
					at = (at + 1) % len(rest)
				}
				if reason := l.admitUnsigned(rest[at]); reason != ReasonNone {
					t.Fatal("refused in another order:", reason)
				}
				rest = slices.Delete(rest, at, at+1)
			}
			if got := listed(l.State()); got != want {
				t.Fatalf("in another order\n%s\nwant\n%s", got, want)
			}
		}
	})
}

// without returns the set of everything but a head.
func (l *Log) without(i int32) span {
	n := int32(len(l.nodes))
	if i == n-1 {
		return whole(int(i))
	}
	return fromWords(n, i/64, i/64, func(int32) uint64 { return 1 << (i % 64) })
}

// checkLaws is both laws of docs/groups.md, "What it gives", for a whole log.
func checkLaws(t interface{ Fatal(...any) }, l *Log) (duels int) {
	everything := l.state
	for _, i := range l.heads {
		x := l.nodes[i]
		if i == 0 {
			continue
		}
		set := l.without(i)
		void := l.voids(set)
		for j := range l.nodes {
			y := l.nodes[j]
			if int32(j) != i && y.rank.higher(x.rank) && void.has(int32(j)) != everything.void.has(int32(j)) {
				t.Fatal("law 2: an operation changed what is void above it")
			}
		}
		if x.unvoidable() {
			continue
		}
		for y := range x.past.without(int32(len(l.nodes))) {
			a, ok := l.nodes[y].op.Action.(*Remove)
			if !ok || everything.void.has(y) || !a.names(x.op.Author) || !l.nodes[y].rank.higher(x.rank) {
				continue
			}
			duels++
			if !everything.void.has(i) {
				t.Fatal("law 1: not void beside a removal from above")
			}
			st := everything.clone()
			st.move(set, void, i)
			if !sameBut(st, everything, i) {
				t.Fatal("law 1: a void operation changed the state")
			}
		}
	}
	return duels
}

// sameBut compares two states but for whether operation i is known and void.
func sameBut(a, b *State, i int32) bool {
	b = b.clone()
	b.void = b.void.in(b.l.without(i))
	return listed(a) == listed(b)
}

func TestLaws(t *testing.T) {
	duels := 0
	rapid.Check(t, func(t *rapid.T) {
		r := drawn{t}
		g := newGraph(r)
		g.grow(r, 6+r.below(20))
		duels += checkLaws(t, g.l)
	})
	if duels == 0 {
		t.Error("no removal from above beside a head")
	}
}
