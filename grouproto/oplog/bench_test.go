package oplog

import (
	"fmt"
	"testing"

	"github.com/coterie-im/coterie/internal/kv"
)

// The group of the benchmarks: 500 members, and settings by all of them up to n operations.
const benchMembers = 500

type benchGroup struct {
	*story
}

func newBenchGroup(b *testing.B) *benchGroup {
	g := &benchGroup{newStory(b, Symmetric())}
	on := g.l.Group()
	for i := range benchMembers - 1 {
		on = g.add(on, Plain, fmt.Sprint(i))
	}
	return g
}

// line writes n operations one behind the other and returns the last.
func (g *benchGroup) line(from ID, first, n int) ID {
	for i := range n {
		from = g.put(fmt.Sprint(2+(first+i)%(benchMembers-3)), &Set{Setting{Name: fmt.Sprint("pin/", i%50), Value: []byte("x")}}, from)
	}
	return from
}

func (g *benchGroup) head() ID { return g.l.ids(g.l.heads)[0] }

// voids makes the log remember a contested sweep, so that there are void operations for ever.
func (g *benchGroup) voids(n int) ID {
	base := g.head()
	for i := range n {
		g.put("1", &Set{Setting{Name: fmt.Sprint("pin/", i), Value: []byte("x")}}, base)
		base = g.l.nodes[len(g.l.nodes)-1].op.id
	}
	before := g.l.nodes[benchMembers-1].op.id
	contest := g.put("F", removal("1"), before)
	return g.put("2", title("t"), base, contest)
}

// BenchmarkAdmitNext is an operation on top of a log of 10,000 and more, without its signature.
func BenchmarkAdmitNext(b *testing.B) {
	g := newBenchGroup(b)
	head := g.line(g.head(), 0, 10_000)
	b.ResetTimer()
	for i := range b.N {
		head = g.line(head, i, 1)
	}
}

// BenchmarkAdmitNextWhileStatesAreKept is the same when somebody looks at every state.
func BenchmarkAdmitNextWhileStatesAreKept(b *testing.B) {
	g := newBenchGroup(b)
	head := g.line(g.head(), 0, 10_000)
	b.ResetTimer()
	for i := range b.N {
		head = g.line(head, i, 1)
		g.l.State()
	}
}

// BenchmarkAdmitParallel is two operations side by side and one that brings them together.
func BenchmarkAdmitParallel(b *testing.B) {
	for _, void := range []int{0, 20} {
		b.Run(fmt.Sprint(void, " void"), func(b *testing.B) {
			g := newBenchGroup(b)
			head := g.line(g.head(), 0, 10_000)
			if void > 0 {
				g = newBenchGroup(b)
				head = g.line(g.voids(void), 2, 10_000)
			}
			b.ResetTimer()
			for i := range b.N {
				one := g.line(head, 2+2*i%400, 1)
				two := g.line(head, 3+2*i%400, 1)
				head = g.put("F", title("x"), one, two)
			}
		})
	}
}

// BenchmarkContestOfManyOperations is a removal from before the last 10,000 operations.
func BenchmarkContestOfManyOperations(b *testing.B) {
	g := newBenchGroup(b)
	base := g.head()
	sweep := g.put("1", removal("2", "3", "4"), base)
	g.line(sweep, 10, 400)
	for i := range 9_600 {
		g.put("9", title(fmt.Sprint(i)), g.head())
	}
	body, err := g.l.Contest(named("F"), []ID{sweep}, func(Key) uint64 { return 0 }, false, 0)
	if err != nil {
		b.Fatal(err)
	}
	op := unsigned(b, body)
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		l := g.l.copy()
		b.StartTimer()
		if r := l.admitUnsigned(op); r != ReasonNone {
			b.Fatal(r)
		}
	}
}

// BenchmarkLoad reads logs of 10,000 operations: one line, and two branches of 5,000.
func BenchmarkLoad(b *testing.B) {
	shapes := map[string]func(g *benchGroup){
		"line": func(g *benchGroup) { g.line(g.head(), 0, 9_500) },
		"two branches": func(g *benchGroup) {
			base := g.head()
			g.line(base, 0, 4_750)
			g.line(base, 250, 4_750)
		},
		"pairs": func(g *benchGroup) {
			head := g.head()
			for i := range 3_166 {
				head = g.put("F", title("x"), g.line(head, 2*i%400, 1), g.line(head, 1+2*i%400, 1))
			}
		},
		"pairs and void": func(g *benchGroup) {
			head := g.voids(20)
			for i := range 3_166 {
				head = g.put("F", title("x"), g.line(head, 2+2*i%400, 1), g.line(head, 3+2*i%400, 1))
			}
		},
	}
	for name, shape := range shapes {
		b.Run(name, func(b *testing.B) {
			g := newBenchGroup(b)
			shape(g)
			var tx kv.Memory
			for i := range g.l.nodes {
				g.l.store(&tx, int32(i))
			}
			b.ResetTimer()
			for range b.N {
				if _, err := Load(&tx, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAddSigned is what a received operation costs, with its signature and record.
func BenchmarkAddSigned(b *testing.B) {
	f := newPerson("F")
	genesis := f.sign(b, Body{Author: f.Key, Action: &Genesis{Policy: Symmetric()}})
	rep := newReplica(b, f, genesis)
	var ops []*Op
	for range b.N {
		body, err := rep.l.Next(f.Key, title("x"), 0)
		if err != nil {
			b.Fatal(err) // beyond 20,000 operations: give -benchtime 10000x
		}
		op := f.sign(b, body)
		rep.l.Add(nil, op, f.Key)
		ops = append(ops, op)
	}
	rep = newReplica(b, f, genesis)
	b.ResetTimer()
	for _, op := range ops {
		rep.l.Add(rep.tx, op, f.Key)
	}
}

// BenchmarkRemovalBesideManyVoid decides again about everything in a log in which 5,000 of 10,000 operations are void.
func BenchmarkRemovalBesideManyVoid(b *testing.B) {
	g := newBenchGroup(b)
	base := g.head()
	from := base
	for i := range 5_000 {
		from = g.put("1", title(fmt.Sprint(i)), from)
	}
	honest := g.line(g.put("F", removal("1"), base), 0, 4_500)
	g.put("F", title("x"), from, honest)
	b.ResetTimer()
	for range b.N {
		if got := g.l.voids(whole(len(g.l.nodes))).len(); got != 5_000 {
			b.Fatal(got, "void")
		}
	}
}
