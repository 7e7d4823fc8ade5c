package oplog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/coterie-im/coterie/internal/kv"
	"github.com/coterie-im/coterie/internal/wire"
	"pgregory.net/rapid"
)

// raise lets the founder raise the version that the group accepts.
func (s *signedStory) raise(version uint16) *Op {
	s.t.Helper()
	p := s.l.State().Policy()
	p.OpsVersion = version
	if _, err := s.l.Next(s.f.Key, &PolicyChange{Policy: p}, 0); err != ReasonUpgrade {
		s.t.Fatal("raised by a program that does not know the version:", err)
	}
	defer func(known uint16) { s.l.known = known }(s.l.known)
	s.l.known = version
	return s.write(s.f, &PolicyChange{Policy: p})
}

// later makes an operation of a version with given parents and seq, without adding it.
func (s *signedStory) later(p person, version uint16, seq uint64, a Action, parents ...*Op) *Op {
	s.t.Helper()
	b := Body{Group: s.l.Group(), Author: p.Key, Seq: seq, Action: a}
	for _, op := range parents {
		b.Parents = append(b.Parents, op.id)
	}
	sortIDs(b.Parents)
	return p.signAs(s.t, version, b)
}

func TestHeaderOfALaterVersion(t *testing.T) {
	anna := newPerson("anna")
	genesis := anna.sign(t, Body{Author: anna.Key, Action: &Genesis{Policy: Symmetric()}})
	good := anna.sign(t, Body{Group: genesis.id, Author: anna.Key, Seq: 7, Parents: []ID{{1}, {2}}, Action: &Leave{}})
	header := 2 + 32 + 32 + 8 + 1 + 64
	with := func(change func(raw []byte) []byte) []byte {
		raw := bytes.Clone(good.raw)
		raw[1] = 9
		return append(wire.AppendStr16(nil, change(raw)), make([]byte, 64)...)
	}
	for name, change := range map[string]func(raw []byte) []byte{
		"nothing else":          func(raw []byte) []byte { return raw[:header] },
		"another content":       func(raw []byte) []byte { return append(raw[:header], "whatever it may say"...) },
		"as long as any can be": func(raw []byte) []byte { return append(raw, make([]byte, MaxBody-len(raw))...) },
	} {
		in := with(change)
		r := wire.NewReader(append(bytes.Clone(in), 1, 2, 3))
		op, err := ReadSigned(r)
		if err != nil || r.Len() != 3 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if op.Version() != 9 || op.Action != nil || op.Author != anna.Key || op.Group != genesis.id || op.Seq != 7 ||
			!slices.Equal(op.Parents, good.Parents) || !bytes.Equal(op.AppendSigned(nil), in) {
			t.Errorf("%s: read as something else", name)
		}
	}
	for name, change := range map[string]func(raw []byte) []byte{
		"cut off":         func(raw []byte) []byte { return raw[:header-1] },
		"too long":        func(raw []byte) []byte { return append(raw, make([]byte, MaxBody+1-len(raw))...) },
		"same parents":    func(raw []byte) []byte { copy(raw[75+32:], raw[75:75+32]); return raw },
		"out of order":    func(raw []byte) []byte { raw[75] = 5; return raw },
		"no parents":      func(raw []byte) []byte { raw[74] = 0; return raw },
		"17 parents":      func(raw []byte) []byte { raw[74] = 17; return append(raw, make([]byte, 17*32)...) },
		"group of zeros":  func(raw []byte) []byte { clear(raw[2:34]); return raw },
		"no version":      func(raw []byte) []byte { return raw[:1] },
		"version of zero": func(raw []byte) []byte { raw[1] = 0; return raw },
	} {
		if _, err := DecodeSigned(with(change)); !errors.Is(err, ErrForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLaterVersionIsKeptAndPassedOn(t *testing.T) {
	a, b := newPerson("A"), newPerson("B")
	s := newSignedStory(t, Symmetric(), a, b)
	early := s.l.At(2)
	s.expect(s.l.Add(s.tx, s.later(a, 2, 0, title("x"), early), s.f.Key), Refused, ReasonVersion)
	if s.l.MustUpgrade() || s.tx.Len() != 3 {
		t.Fatal("something of it is left")
	}
	up := s.raise(2)
	if _, err := s.l.Next(a.Key, title("y"), 0); err != ReasonUpgrade || !s.l.MustUpgrade() || !s.l.Outdated() {
		t.Fatal("may still write:", err)
	}
	one := s.later(a, 2, 0, title("one"), up)
	two := s.after(b, 0, title("two"), one)
	beside := s.after(b, 0, title("beside"), up)
	s.expect(s.l.Add(s.tx, two, s.f.Key), Waiting, ReasonNone)
	res := s.l.Add(s.tx, one, a.Key)
	s.expect(res, Unjudged, ReasonNone)
	if !slices.Equal(res.Unjudged, []*Op{one, two}) || len(res.Admitted) != 0 || s.l.Unjudged() != 2 {
		t.Fatal("not both kept")
	}
	s.expect(s.l.Add(s.tx, one, s.f.Key), Unjudged, ReasonNone)
	s.expect(s.l.Add(s.tx, beside, b.Key), Admitted, ReasonNone)
	// What the header alone tells against an operation is told here already.
	for name, c := range map[string]struct {
		op   *Op
		want Reason
	}{
		"of a version that the group does not accept": {s.later(a, 3, 0, title("x"), up), ReasonVersion},
		"by somebody who is not there":                {s.later(newPerson("S"), 2, 0, title("x"), up), ReasonAuthor},
		"out of sequence":                             {s.later(a, 2, 1, title("x"), up), ReasonSeq},
		"out of sequence behind a kept one":           {s.later(a, 2, 0, title("x"), one), ReasonSeq},
		"with a parent implied by another":            {s.later(a, 2, 1, title("x"), up, one), ReasonParents},
		"with a kept parent implied by another":       {s.after(a, 1, title("x"), one, two), ReasonParents},
	} {
		if res := s.l.Add(s.tx, c.op, a.Key); res.Status != Refused || res.Reason != c.want {
			t.Errorf("%s: %d %v", name, res.Status, res.Reason)
		}
	}
	forged := s.later(a, 2, 1, title("x"), one)
	forged.signature[0] ^= 1
	s.expect(s.l.Add(s.tx, forged, a.Key), Refused, ReasonSignature)

	check := func(l *Log) {
		t.Helper()
		if v, _, _ := l.State().Setting("title"); string(v) != "beside" || l.Len() != 5 || l.Unjudged() != 2 || !l.MustUpgrade() {
			t.Fatalf("title %q, %d admitted, %d kept", v, l.Len(), l.Unjudged())
		}
		want := []ID{beside.id, two.id}
		sortIDs(want)
		if !slices.Equal(l.AllHeads(), want) || !slices.Equal(l.Heads(), []ID{beside.id}) {
			t.Fatal("heads")
		}
		if len(l.Unknown([]ID{one.id, two.id})) != 0 || !l.Has(one.id) || l.Op(one.id) != nil {
			t.Fatal("it is not known")
		}
		if !l.InPast(up.id, two.id) || !l.InPast(one.id, two.id) || l.InPast(two.id, one.id) || l.InPast(one.id, beside.id) ||
			!l.Includes([]ID{two.id}, up.id) || l.Includes([]ID{beside.id}, one.id) || !l.Includes([]ID{one.id}, one.id) {
			t.Fatal("pasts")
		}
		ids := func(ops []*Op) (out []ID) {
			for _, op := range ops {
				out = append(out, op.id)
			}
			return out
		}
		if got := ids(l.After([]ID{beside.id})); !slices.Equal(got, []ID{one.id, two.id}) {
			t.Fatal(len(got), "operations after the judged ones")
		}
		if got := ids(l.Lacking([]ID{two.id}, []ID{early.id})); !slices.Equal(got, []ID{up.id, one.id, two.id}) {
			t.Fatal(len(got), "operations lacking")
		}
		if got := l.Judged([]ID{two.id, {1}}); !slices.Equal(got, []ID{up.id}) {
			t.Fatal(len(got), "judged heads")
		}
		if got := l.Judged([]ID{beside.id, {1}}); !slices.Equal(got, []ID{beside.id}) {
			t.Fatal(len(got), "judged heads without a kept one")
		}
	}
	check(s.l)
	l, err := Load(s.tx, []byte("op/"))
	if err != nil || l.Ripe() {
		t.Fatal(err)
	}
	check(l)
	if l, err = Load(s.tx, []byte("op/"), Judging(2)); err != nil || !l.Ripe() {
		t.Fatal(err)
	}
	check(l)
	res = l.Judge(s.tx)
	if len(res.Admitted) != 2 || len(res.Equivocations) != 1 || l.Unjudged() != 0 || l.MustUpgrade() || l.Ripe() || s.tx.Len() != 7 {
		t.Fatal(len(res.Admitted), "judged")
	}
	if _, err := l.Next(a.Key, title("y"), 0); err != nil {
		t.Fatal(err)
	}
	if again, err := Load(s.tx, []byte("op/"), Judging(2)); err != nil || listed(again.State()) != listed(l.State()) || again.Ripe() {
		t.Fatal("loaded otherwise:", err)
	}
	if _, err := Load(s.tx, []byte("op/")); !errors.Is(err, ErrStore) || !errors.Is(err, ErrVersion) {
		t.Fatal("an older program loads what it cannot judge:", err)
	}
}

func TestLoadRefusesDamageOfWhatIsKept(t *testing.T) {
	a := newPerson("A")
	s := newSignedStory(t, Symmetric(), a)
	up := s.raise(2)
	one := s.later(a, 2, 0, title("one"), up)
	two := s.later(a, 2, 1, title("two"), one)
	for _, op := range []*Op{one, two} {
		s.expect(s.l.Add(s.tx, op, a.Key), Unjudged, ReasonNone)
	}
	first, second := keptKey([]byte("op/"), 0), keptKey([]byte("op/"), 1)
	for name, spoil := range map[string]func(tx *kv.Memory){
		"without its parent": func(tx *kv.Memory) { tx.Delete(first) },
		"twice":              func(tx *kv.Memory) { tx.Put(second, one.AppendSigned([]byte{1, 0})) },
		"cut off":            func(tx *kv.Memory) { tx.Put(second, two.AppendSigned([]byte{1, 0})[:90]) },
		"empty":              func(tx *kv.Memory) { tx.Put(second, nil) },
		"a later record":     func(tx *kv.Memory) { tx.Put(second, two.AppendSigned([]byte{2, 0})) },
		"admitted as well":   func(tx *kv.Memory) { tx.Put(second, up.AppendSigned([]byte{1, 0})) },
		"of another group": func(tx *kv.Memory) {
			b := Body{Group: ID{1}, Author: a.Key, Parents: []ID{up.id}, Action: &Leave{}}
			tx.Put(second, a.signAs(t, 2, b).AppendSigned([]byte{1, 0}))
		},
		"under another key": func(tx *kv.Memory) { tx.Put(append(second, 0), nil) },
	} {
		tx := s.tx.Clone()
		spoil(tx)
		if _, err := Load(tx, []byte("op/")); !errors.Is(err, ErrStore) {
			t.Error(name, "is loaded:", err)
		}
	}
	l, err := Load(s.tx, []byte("op/"))
	if err != nil || l.Unjudged() != 2 {
		t.Fatal(err)
	}
	// What comes after a start is stored behind what was there.
	three := s.later(a, 2, 2, title("three"), two)
	s.expect(l.Add(s.tx, three, s.f.Key), Unjudged, ReasonNone)
	if l, err = Load(s.tx, []byte("op/")); err != nil || l.Unjudged() != 3 || !l.kept.nodes[2].vouched || l.kept.nodes[1].vouched {
		t.Fatal("the third is lost:", err)
	}
	// Who vouches for an operation is noted as well.
	l.Add(s.tx, two, s.f.Key)
	if l, err = Load(s.tx, []byte("op/")); err != nil || !l.kept.nodes[1].vouched {
		t.Fatal("who handed it over is forgotten:", err)
	}
}

// TestLaterVersionIsJudgedLater: an operation that turns out bad once it can be judged takes with it what was kept behind
// it.
func TestLaterVersionIsJudgedLater(t *testing.T) {
	a := newPerson("A")
	s := newSignedStory(t, Moderated(), a)
	up := s.raise(2)
	bad := s.later(a, 2, 0, title("not for members"), up)
	after := s.after(s.f, 3, title("after"), bad)
	third := s.later(s.f, 3, 4, title("third"), after)
	for _, op := range []*Op{bad, after, third} {
		s.expect(s.l.Add(s.tx, op, s.f.Key), Unjudged, ReasonNone)
	}
	l, err := Load(s.tx, []byte("op/"), Judging(2))
	if err != nil {
		t.Fatal(err)
	}
	res := l.Judge(s.tx)
	want := []Refusal{{bad.id, bad.Author, ReasonPermission}, {after.id, after.Author, ReasonParents}, {third.id, third.Author, ReasonParents}}
	if !slices.Equal(res.Refused, want) || l.Unjudged() != 0 || s.tx.Len() != 3 {
		t.Fatal(res.Refused)
	}
	if len(l.Unknown([]ID{bad.id, after.id, third.id})) != 0 {
		t.Fatal("refused operations are asked for")
	}
}

// TestUnjudgedIsBounded: what there is no room for is refused, with what leans on it, and not asked for again.
func TestUnjudgedIsBounded(t *testing.T) {
	a := newPerson("A")
	s := newSignedStory(t, Symmetric(), a)
	up := s.raise(2)
	on := s.later(a, 2, 0, title("first"), up)
	s.expect(s.l.Add(nil, on, a.Key), Unjudged, ReasonNone)
	for i := 1; i < MaxUnjudgedOf; i++ {
		on = s.after(a, uint64(i), title(fmt.Sprint(i)), on)
		s.expect(s.l.Add(nil, on, a.Key), Unjudged, ReasonNone)
	}
	over := s.after(a, MaxUnjudgedOf, title("over"), on)
	behind := s.after(s.f, 3, title("behind"), over)
	s.expect(s.l.Add(nil, behind, s.f.Key), Waiting, ReasonNone)
	res := s.l.Add(nil, over, a.Key)
	s.expect(res, Refused, ReasonUnjudged)
	if !slices.Equal(res.Refused, []Refusal{{behind.id, behind.Author, ReasonUnjudged}}) || len(s.l.Unknown([]ID{over.id, behind.id})) != 0 ||
		len(s.l.Missing()) != 0 {
		t.Fatal("what leans on it:", res.Refused)
	}
	s.expect(s.l.Add(nil, s.later(a, 2, MaxUnjudgedOf, title("x"), over), s.f.Key), Refused, ReasonUnjudged)
	s.expect(s.l.Add(nil, s.after(s.f, 3, title("room"), on), s.f.Key), Unjudged, ReasonNone)
	if s.l.Unjudged() != MaxUnjudgedOf+1 || s.l.Counters().Unjudged != MaxUnjudgedOf+1 {
		t.Fatal(s.l.Unjudged())
	}
	// Authors nobody knows have no more together than one.
	for i := range MaxUnjudgedOf {
		s.l.Add(nil, s.later(newPerson(fmt.Sprint(i)), 2, 0, title("x"), on), a.Key)
	}
	s.expect(s.l.Add(nil, s.later(newPerson("one more"), 2, 0, title("x"), on), a.Key), Refused, ReasonUnjudged)
	if s.l.Unjudged() != 2*MaxUnjudgedOf+1 || len(s.l.kept.of) != 3 {
		t.Fatal(s.l.Unjudged())
	}
}

// TestParallelUnjudged: of what an author handed over by itself, not more parallel operations than ever are taken when
// they are judged; all of them if somebody else leans on them.
func TestParallelUnjudged(t *testing.T) {
	for _, vouched := range []bool{false, true} {
		a := newPerson("A")
		s := newSignedStory(t, Symmetric(), a)
		up := s.raise(2)
		var all []*Op
		for i := range 12 {
			op := s.later(a, 2, 0, title(fmt.Sprint(i)), up)
			s.expect(s.l.Add(s.tx, op, a.Key), Unjudged, ReasonNone)
			all = append(all, op)
		}
		want := 3 + MaxParallel
		if vouched {
			s.expect(s.l.Add(s.tx, s.after(s.f, 3, title("all of them"), all...), a.Key), Unjudged, ReasonNone)
			want = 3 + len(all) + 1
		}
		l, err := Load(s.tx, []byte("op/"), Judging(2))
		if err != nil {
			t.Fatal(err)
		}
		if l.Judge(s.tx); l.Len() != want || l.Unjudged() != 0 || s.tx.Len() != want {
			t.Errorf("%d admitted, want %d", l.Len(), want)
		}
	}
}

func TestUnjudgedBytesAreBounded(t *testing.T) {
	full := tally{ops: 5, bytes: 1000}
	for name, c := range map[string]struct {
		size, ops, bytes int
		want             bool
	}{
		"room":           {10, 6, 1010, false},
		"no more places": {10, 5, 5000, true},
		"a byte over":    {11, 6, 1010, true},
	} {
		if full.full(c.size, c.ops, c.bytes) != c.want {
			t.Error(name)
		}
	}
	a := newPerson("A")
	s := newSignedStory(t, Symmetric(), a)
	up := s.raise(2)
	big := make([]byte, MaxBody-200)
	kept := 0
	for i := range 2 * (unjudgedBytes / 4) / MaxBody {
		b := Body{Group: s.l.Group(), Author: a.Key, Parents: []ID{up.id}, Time: int64(i) * SecondsOfHour, Action: &Leave{}}
		raw, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		raw[1] = 2
		res := s.l.Add(nil, a.signRaw(t, append(raw, big...)), a.Key)
		if res.Status == Unjudged {
			kept++
		} else {
			s.expect(res, Refused, ReasonUnjudged)
		}
	}
	if size := s.l.kept.all.bytes; size > unjudgedBytes/4 || size < unjudgedBytes/4-MaxBody || kept != s.l.Unjudged() {
		t.Fatal(size, "bytes kept of one author")
	}
}

// TestVersionsMeet grows histories of operations of two versions. A program that knows one of them is what the plain
// definition says, whatever the order of arrival, and what it hands on is whole; once it knows the other, it is as if it
// always had.
func TestVersionsMeet(t *testing.T) {
	people := map[Key]person{}
	var keys []Key
	for _, n := range []string{"f", "a", "b", "c"} {
		p := newPerson(n)
		people[p.Key], keys = p, append(keys, p.Key)
	}
	rapid.Check(t, func(t *rapid.T) {
		r := drawn{t}
		g := &graph{people: keys, names: []string{"title", "x"}}
		genesis, err := Sign(Body{Author: keys[0], Action: &Genesis{Policy: g.policy(r)}}, people[keys[0]].private)
		if err != nil {
			t.Fatal(err)
		}
		knowing, err := New(nil, nil, genesis, Judging(2))
		if err != nil {
			t.Fatal(err)
		}
		g.l = knowing
		var all, refused []*Op
		write := func(author Key, a Action, version uint16, heads []int32) {
			heads = knowing.unimplied(heads)
			b := Body{
				Group: genesis.id, Author: author, Seq: knowing.nextSeq(author, knowing.closure(heads)),
				Parents: knowing.ids(heads), Action: a,
			}
			switch {
			case len(refused) > 0 && r.below(12) == 0:
				b.Parents = append(b.Parents, refused[r.below(len(refused))].id)
			case r.below(40) == 0:
				b.Seq++
			}
			sortIDs(b.Parents)
			if _, err := b.Encode(); err != nil {
				return
			}
			op := people[author].signAs(t, version, b)
			if knowing.Has(op.id) || slices.ContainsFunc(refused, func(x *Op) bool { return x.id == op.id }) {
				return
			}
			if res := knowing.Add(nil, op, Key{}); res.Status == Refused {
				refused = append(refused, op)
			}
			all = append(all, op)
		}
		for _, k := range keys[1:] {
			write(keys[0], &Add{Member: k, Role: Role(1 + r.below(4))}, 1, knowing.heads)
		}
		for range 4 + r.below(28) {
			author, a := g.person(r), g.action(r)
			if r.below(6) == 0 {
				p := g.policy(r)
				p.OpsVersion = uint16(1 + r.below(3))
				a = &PolicyChange{Policy: p}
			}
			heads := knowing.heads
			if r.below(2) == 0 {
				heads = g.part(r)
				if own := knowing.index.authors[author]; len(own) > 0 {
					heads = append(heads, own[len(own)-1])
				}
			}
			write(author, a, []uint16{1, 1, 2}[r.below(3)], heads)
		}

		whole := newPlain(genesis)
		read := func(ops []*Op, known uint16) (out []*Op) {
			for _, op := range ops {
				op, err := op.read(known)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, op)
			}
			return out
		}
		admitted, _ := whole.take(read(all, 2), 2)
		if got, want := listed(knowing.State()), whole.state(admitted).String(); got != want {
			t.Fatalf("who knows both versions:\n%s\nwant\n%s", got, want)
		}

		tx := &kv.Memory{}
		old, err := New(tx, []byte("op/"), genesis)
		if err != nil {
			t.Fatal(err)
		}
		rest := slices.Clone(all)
		for len(rest) > 0 {
			at := r.below(len(rest))
			old.Add(tx, rest[at], g.person(r))
			if r.below(5) > 0 { // or it comes again
				rest = slices.Delete(rest, at, at+1)
			}
		}
		for pass := 0; pass < 2; pass++ { // what was lost from memory by the reload is given again
			for _, op := range all {
				old.Add(tx, op, Key{})
			}
			if pass == 0 {
				if old, err = Load(tx, []byte("op/")); err != nil {
					t.Fatal(err)
				}
			}
		}
		half := newPlain(genesis)
		admitted, kept := half.take(all, 1)
		if got, want := listed(old.State()), half.state(admitted).String(); got != want {
			t.Fatalf("who knows one version:\n%s\nwant\n%s", got, want)
		}
		if old.Len() != len(admitted) || old.Unjudged() != len(kept) {
			t.Fatalf("%d admitted and %d kept, want %d and %d", old.Len(), old.Unjudged(), len(admitted), len(kept))
		}
		for id := range kept {
			if !old.Has(id) || old.Op(id) != nil {
				t.Fatal("another one is kept")
			}
		}

		told, err := New(nil, nil, genesis, Judging(2))
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range old.After([]ID{genesis.id}) {
			if res := told.Add(nil, op, Key{}); res.Status == Waiting {
				t.Fatal("handed on before its parents")
			}
		}
		if listed(told.State()) != listed(knowing.State()) || !slices.Equal(told.Heads(), knowing.Heads()) {
			t.Fatal("not everything is handed on")
		}

		upgraded, err := Load(tx, []byte("op/"), Judging(2))
		if err != nil {
			t.Fatal(err)
		}
		if upgraded.Ripe() != (len(kept) > 0) {
			t.Fatal("ripe:", upgraded.Ripe())
		}
		upgraded.Judge(tx)
		for range 2 {
			if got, want := listed(upgraded.State()), listed(knowing.State()); got != want {
				t.Fatalf("after the upgrade:\n%s\nwant\n%s", got, want)
			}
			if upgraded.Unjudged() != 0 || upgraded.Len() != knowing.Len() || !slices.Equal(upgraded.Heads(), knowing.Heads()) {
				t.Fatal("not everything is judged")
			}
			if upgraded, err = Load(tx, []byte("op/"), Judging(2)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
