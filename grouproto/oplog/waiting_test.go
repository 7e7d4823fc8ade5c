package oplog

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/coterie-im/coterie/internal/kv"
)

// signedStory is a log whose operations are signed and go through Add.
type signedStory struct {
	t  *testing.T
	l  *Log
	tx *kv.Memory
	f  person
}

func newSignedStory(t *testing.T, p Policy, members ...person) *signedStory {
	t.Helper()
	s := &signedStory{t: t, tx: &kv.Memory{}, f: newPerson("F")}
	l, err := New(s.tx, []byte("op/"), s.f.sign(t, Body{Author: s.f.Key, Action: &Genesis{Policy: p}}))
	if err != nil {
		t.Fatal(err)
	}
	s.l = l
	for _, m := range members {
		s.write(s.f, &Add{Member: m.Key, Role: Plain})
	}
	return s
}

// write lets somebody write on top of everything.
func (s *signedStory) write(p person, a Action) *Op {
	s.t.Helper()
	b, err := s.l.Next(p.Key, a, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	op := p.sign(s.t, b)
	if res := s.l.Add(s.tx, op, p.Key); res.Status != Admitted {
		s.t.Fatal(res.Status, res.Reason)
	}
	return op
}

// after makes an operation with given parents and seq, without adding it.
func (s *signedStory) after(p person, seq uint64, a Action, parents ...*Op) *Op {
	s.t.Helper()
	b := Body{Group: s.l.Group(), Author: p.Key, Seq: seq, Action: a}
	for _, op := range parents {
		b.Parents = append(b.Parents, op.id)
	}
	sortIDs(b.Parents)
	return p.sign(s.t, b)
}

func title(v string) Action { return &Set{Setting{Name: "title", Value: []byte(v)}} }

// chain makes n operations of p, each on top of the one before.
func (s *signedStory) chain(p person, n int, on *Op) (ops []*Op) {
	for i := range n {
		on = s.after(p, uint64(i), title(fmt.Sprint(i)), on)
		ops = append(ops, on)
	}
	return ops
}

func (s *signedStory) expect(res Result, status Status, reason Reason) {
	s.t.Helper()
	if res.Status != status || res.Reason != reason {
		s.t.Fatalf("status %d, %v; want %d, %v", res.Status, res.Reason, status, reason)
	}
}

func TestWaitingForParents(t *testing.T) {
	a := newPerson("A")
	s := newSignedStory(t, Symmetric(), a)
	ops := s.chain(a, 4, s.l.At(1))
	for _, i := range []int{3, 1, 2} {
		res := s.l.Add(s.tx, ops[i], s.f.Key)
		s.expect(res, Waiting, ReasonNone)
		if !slices.Equal(res.Missing, []ID{ops[i-1].id}) {
			t.Fatal("missing", len(res.Missing))
		}
	}
	if !slices.Equal(s.l.Missing(), []ID{ops[0].id}) {
		t.Fatal("to be asked for:", len(s.l.Missing()))
	}
	if len(s.l.Unknown([]ID{ops[3].id, ops[0].id, s.l.Group()})) != 1 {
		t.Fatal("what waits, or is known, is asked for")
	}
	res := s.l.Add(s.tx, ops[0], s.f.Key)
	s.expect(res, Admitted, ReasonNone)
	if !slices.Equal(res.Admitted, ops) || s.l.Len() != 6 || s.tx.Len() != 6 || len(s.l.Missing()) != 0 {
		t.Fatal("not all admitted")
	}
	s.expect(s.l.Add(s.tx, ops[2], s.f.Key), AlreadyKnown, ReasonNone)
	if c := s.l.Counters(); c != (Counters{Admitted: 5, Waited: 3}) {
		t.Fatalf("%+v", c)
	}
}

func TestDescendantsOfRefusedAreRefused(t *testing.T) {
	a, stranger := newPerson("A"), newPerson("S")
	s := newSignedStory(t, Symmetric(), a)
	bad := s.after(stranger, 0, title("x"), s.l.At(1))
	child := s.after(a, 0, title("y"), bad)
	grandchild := s.after(a, 1, title("z"), child)
	s.expect(s.l.Add(s.tx, grandchild, a.Key), Waiting, ReasonNone)
	s.expect(s.l.Add(s.tx, child, a.Key), Waiting, ReasonNone)
	res := s.l.Add(s.tx, bad, a.Key)
	s.expect(res, Refused, ReasonAuthor)
	if want := []Refusal{{child.id, child.Author, ReasonParents}, {grandchild.id, grandchild.Author, ReasonParents}}; !slices.Equal(res.Refused, want) {
		t.Fatal(len(res.Refused), "refused with it")
	}
	s.expect(s.l.Add(s.tx, s.after(a, 0, title("w"), child), a.Key), Refused, ReasonParents)
	if len(s.l.Missing())+len(s.l.Unknown([]ID{bad.id, child.id, grandchild.id})) != 0 {
		t.Fatal("refused operations are asked for")
	}
	if s.l.Len() != 2 || s.tx.Len() != 2 {
		t.Fatal("stored")
	}
}

func TestRefusedWhileWaiting(t *testing.T) {
	a, stranger := newPerson("A"), newPerson("S")
	s := newSignedStory(t, Symmetric(), a)
	one := s.after(a, 0, title("1"), s.l.At(1))
	bad := s.after(stranger, 0, title("x"), one)
	child := s.after(a, 1, title("y"), bad)
	s.l.Add(s.tx, child, a.Key)
	s.l.Add(s.tx, bad, a.Key)
	res := s.l.Add(s.tx, one, a.Key)
	s.expect(res, Admitted, ReasonNone)
	if want := []Refusal{{bad.id, bad.Author, ReasonAuthor}, {child.id, child.Author, ReasonParents}}; !slices.Equal(res.Refused, want) {
		t.Fatal(len(res.Refused), "refused")
	}
}

func TestRefusals(t *testing.T) {
	a, b := newPerson("A"), newPerson("B")
	s := newSignedStory(t, Symmetric(), a, b)
	x, y := s.l.At(1), s.l.At(2)
	other := s.f.sign(t, Body{Author: s.f.Key, Action: &Genesis{Policy: Moderated()}})
	foreign := a.sign(t, Body{Group: ID{9}, Author: a.Key, Parents: []ID{x.id}, Action: &Leave{}})
	forged, err := DecodeSigned(with(s.after(a, 0, title("f"), x).AppendSigned(nil), 2+75+3, 1))
	if err != nil {
		t.Fatal(err)
	}
	small := s.after(a, 0, title("s"), x)
	small.Author = Key{1}
	for name, c := range map[string]struct {
		op   *Op
		want Reason
	}{
		"genesis":   {other, ReasonGroup},
		"group":     {foreign, ReasonGroup},
		"forged":    {forged, ReasonSignature},
		"small":     {small, ReasonSignature},
		"implied":   {s.after(a, 0, title("i"), x, y), ReasonParents},
		"seq":       {s.after(a, 1, title("q"), y), ReasonSeq},
		"stranger":  {s.after(newPerson("S"), 0, &Leave{}, y), ReasonAuthor},
		"too early": {s.after(b, 0, &Leave{}, x), ReasonAuthor}, // B is not yet added there
		"added":     {s.after(a, 0, &Add{Member: b.Key}, y), ReasonAdded},
		"target":    {s.after(a, 0, &RoleChange{Member: s.f.Key, Role: Plain}, y), ReasonTarget},
	} {
		if res := s.l.Add(s.tx, c.op, a.Key); res.Status != Refused || res.Reason != c.want {
			t.Errorf("%s: %v, want %v", name, res.Reason, c.want)
		}
		if c.want.Error() == "" || c.want.Error() == Reason(99).Error() {
			t.Errorf("%s: no words", name)
		}
	}
	stranger := s.after(newPerson("S"), 0, &Leave{}, y)
	for range 2 {
		s.expect(s.l.Add(s.tx, stranger, a.Key), Refused, ReasonAuthor)
	}
	if r := s.l.State().Allows(s.f.Key, &Genesis{Policy: Symmetric()}); r != ReasonForm {
		t.Error("a second genesis:", r)
	}
	// A wrong signature says nothing about the operation: the right one is taken.
	good := s.after(a, 0, title("g"), y)
	bad := *good
	bad.signature[5] ^= 1
	s.expect(s.l.Add(s.tx, &bad, a.Key), Refused, ReasonSignature)
	s.expect(s.l.Add(s.tx, good, a.Key), Admitted, ReasonNone)
	s.expect(s.l.Add(s.tx, &bad, a.Key), AlreadyKnown, ReasonNone) // a second signature is ignored
}

func TestWaitingAreaIsBounded(t *testing.T) {
	a := newPerson("A")
	s := newSignedStory(t, Symmetric(), a)
	ops := s.chain(a, 1200, s.l.At(1))
	for _, op := range ops[1 : MaxWaitingOf+3] {
		s.expect(s.l.Add(s.tx, op, named("one")), Waiting, ReasonNone)
	}
	if len(s.l.waiting.order) != MaxWaitingOf || s.l.Counters().Dropped != 2 {
		t.Fatal("one member holds", len(s.l.waiting.order))
	}
	missing := s.l.Missing() // the two dropped ones: the first is no parent of what waits, the second is
	if want := []ID{ops[1].id, ops[2].id}; len(missing) != 2 || !slices.Contains(missing, want[0]) || !slices.Contains(missing, want[1]) {
		t.Fatal("dropped operations are not asked for")
	}
	for i, op := range ops[200:] {
		s.l.Add(s.tx, op, named(fmt.Sprint(i/50)))
	}
	if len(s.l.waiting.order) != MaxWaiting || len(s.l.waiting.byID) != MaxWaiting {
		t.Fatal("waiting:", len(s.l.waiting.order))
	}
	for _, op := range ops { // everything comes again, in order
		s.l.Add(s.tx, op, s.f.Key)
	}
	if s.l.Len() != 1202 || len(s.l.Missing()) != 0 || len(s.l.waiting.order)+len(s.l.waiting.children)+len(s.l.waiting.of) != 0 {
		t.Fatal(s.l.Len(), "admitted,", len(s.l.Missing()), "missing")
	}
}

func TestRefusedMemoryIsBounded(t *testing.T) {
	a := newPerson("A")
	s := newSignedStory(t, Symmetric(), a)
	for i := range uint64(MaxWaiting + 50) {
		s.l.Add(s.tx, s.after(a, i+1, title("x"), s.l.At(1)), a.Key) // wrong seq
	}
	if len(s.l.waiting.refused) != MaxWaiting || len(s.l.waiting.refusals) != MaxWaiting {
		t.Fatal(len(s.l.waiting.refused), len(s.l.waiting.refusals))
	}
}

func TestParallelOperationsOfOneAuthor(t *testing.T) {
	a := newPerson("A")
	s := newSignedStory(t, Symmetric(), a)
	base := s.l.At(1)
	var ops []*Op
	for i := range 12 {
		ops = append(ops, s.after(a, 0, title(fmt.Sprint(i)), base))
	}
	for i, op := range ops[:MaxParallel] {
		res := s.l.Add(s.tx, op, a.Key)
		s.expect(res, Admitted, ReasonNone)
		if want := min(i, 1); len(res.Equivocations) != want {
			t.Fatal(len(res.Equivocations), "equivocations")
		}
		if i > 0 && res.Equivocations[0] != (Equivocation{a.Key, [2]ID{ops[i-1].id, op.id}}) {
			t.Fatal("wrong equivocation")
		}
	}
	ninth := ops[MaxParallel]
	s.expect(s.l.Add(s.tx, ninth, a.Key), Refused, ReasonParallel)
	if !slices.Equal(s.l.Unknown([]ID{ninth.id}), []ID{ninth.id}) {
		t.Fatal("not asked for when another lists it")
	}
	child := s.after(a, 1, title("child"), ninth)
	s.expect(s.l.Add(s.tx, child, a.Key), Waiting, ReasonNone)
	s.expect(s.l.Add(s.tx, ninth, a.Key), Refused, ReasonParallel) // needed by nobody else
	s.expect(s.l.Add(s.tx, child, s.f.Key), Waiting, ReasonNone)   // now another member listed it
	res := s.l.Add(s.tx, ninth, a.Key)
	s.expect(res, Admitted, ReasonNone)
	if len(res.Admitted) != 2 {
		t.Fatal("the child still waits")
	}
	s.expect(s.l.Add(s.tx, ops[MaxParallel+1], s.f.Key), Admitted, ReasonNone) // from another member
}

// TestALostBranchIsOneParallel: after a restore from an old backup the author writes beside a long branch of its own.
func TestALostBranchIsOneParallel(t *testing.T) {
	a := newPerson("A")
	s := newSignedStory(t, Symmetric(), a)
	base := s.l.At(1)
	for _, op := range s.chain(a, 30, base) {
		s.l.Add(s.tx, op, a.Key)
	}
	s.expect(s.l.Add(s.tx, s.after(a, 0, title("restored"), base), a.Key), Admitted, ReasonNone)
	if s.l.Len() != 33 {
		t.Fatal(s.l.Len())
	}
}

func TestThousandMembers(t *testing.T) {
	s := newStory(t, Symmetric())
	on := s.l.Group()
	for i := range MaxMembers - 1 {
		on = s.put("F", &Add{Member: named(fmt.Sprint("m", i)), Role: Plain}, on)
	}
	if _, r := s.try("F", &Add{Member: named("one more"), Role: Plain}, on); r != ReasonMembers {
		t.Fatal("a member too many:", r)
	}
	on = s.put("m7", &Leave{}, on)
	s.put("F", &Add{Member: named("one more"), Role: Plain}, on)
}

func TestNewRefuses(t *testing.T) {
	f := newPerson("F")
	genesis := f.sign(t, Body{Author: f.Key, Action: &Genesis{Policy: Symmetric()}})
	forged := *genesis
	forged.signature[9] ^= 1
	if _, err := New(nil, nil, &forged); !errors.Is(err, ErrSignature) {
		t.Error("forged genesis:", err)
	}
	leave := f.sign(t, Body{Group: genesis.id, Author: f.Key, Parents: []ID{genesis.id}, Action: &Leave{}})
	if _, err := New(nil, nil, leave); !errors.Is(err, ErrForm) {
		t.Error("no genesis:", err)
	}
}

// TestTooManyParallelWhileWaiting: the limit also holds for what is released, and what is dropped so comes again from
// somebody else.
func TestTooManyParallelWhileWaiting(t *testing.T) {
	a, b := newPerson("A"), newPerson("B")
	s := newSignedStory(t, Symmetric(), a, b)
	base := s.l.At(2)
	for i := range MaxParallel {
		s.l.Add(s.tx, s.after(a, 0, title(fmt.Sprint(i)), base), a.Key)
	}
	late := s.after(b, 0, title("late"), base)
	ninth := s.after(a, 0, title("ninth"), late)
	s.expect(s.l.Add(s.tx, ninth, a.Key), Waiting, ReasonNone)
	res := s.l.Add(s.tx, late, b.Key)
	s.expect(res, Admitted, ReasonNone)
	if !slices.Equal(res.Refused, []Refusal{{ninth.id, ninth.Author, ReasonParallel}}) || len(res.Admitted) != 1 {
		t.Fatal("released")
	}
	s.expect(s.l.Add(s.tx, ninth, b.Key), Admitted, ReasonNone)
}

func TestDroppedListIsBounded(t *testing.T) {
	a := newPerson("A")
	s := newSignedStory(t, Symmetric(), a)
	for _, op := range s.chain(a, MaxWaiting+MaxWaitingOf+20, s.l.At(1))[1:] {
		s.l.Add(s.tx, op, a.Key)
	}
	if len(s.l.waiting.dropped) != MaxWaiting || len(s.l.waiting.order) != MaxWaitingOf {
		t.Fatal(len(s.l.waiting.dropped), "dropped,", len(s.l.waiting.order), "waiting")
	}
}

// What a member writes beside its removal is taken from itself up to a limit, and from others without one: those who heard
// of the removal late took it all, and in the end everybody has the same.
func TestOperationsBesideTheEnd(t *testing.T) {
	a, b := newPerson("A"), newPerson("B")
	early, late := newSignedStory(t, Symmetric(), a, b), newSignedStory(t, Symmetric(), a, b)
	ops := early.chain(a, MaxLate+20, early.l.At(2))
	out := early.after(early.f, 3, &Remove{Members: []Removal{{Member: a.Key}}}, early.l.At(2))
	for _, op := range ops {
		early.expect(early.l.Add(early.tx, op, a.Key), Admitted, ReasonNone)
	}
	early.expect(early.l.Add(early.tx, out, early.f.Key), Admitted, ReasonNone)
	late.expect(late.l.Add(late.tx, out, late.f.Key), Admitted, ReasonNone)
	for _, op := range ops[:MaxLate] {
		late.expect(late.l.Add(late.tx, op, a.Key), Admitted, ReasonNone)
	}
	late.expect(late.l.Add(late.tx, ops[MaxLate], a.Key), Refused, ReasonParallel)
	for _, op := range ops[MaxLate:] {
		late.expect(late.l.Add(late.tx, op, b.Key), Admitted, ReasonNone)
	}
	if late.l.Len() != early.l.Len() || listed(late.l.State()) != listed(early.l.State()) {
		t.Error("not the same in the end")
	}
}
