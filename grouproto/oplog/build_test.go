package oplog

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestNextFollowsEverything(t *testing.T) {
	a := newPerson("A")
	s := newSignedStory(t, Symmetric(), a)
	op := s.write(a, title("x"))
	b, err := s.l.Next(a.Key, title("y"), 1_800_003_599)
	if err != nil {
		t.Fatal(err)
	}
	if b.Seq != 1 || !slices.Equal(b.Parents, []ID{op.id}) || b.Time != 1_800_000_000 || b.Group != s.l.Group() {
		t.Fatalf("seq %d time %d", b.Seq, b.Time)
	}
	if b, _ = s.l.Next(a.Key, &Leave{}, -1); b.Time != -3600 {
		t.Fatal("time", b.Time)
	}
}

func TestNextRefuses(t *testing.T) {
	a, b := newPerson("A"), newPerson("B")
	s := newSignedStory(t, Moderated(), a)
	for name, c := range map[string]struct {
		author Key
		action Action
		want   error
	}{
		"stranger":   {b.Key, &Leave{}, ReasonAuthor},
		"permission": {a.Key, &Add{Member: b.Key}, ReasonPermission},
		"target":     {s.f.Key, &RoleChange{Member: b.Key}, ReasonTarget},
		"added":      {s.f.Key, &Add{Member: a.Key}, ReasonAdded},
		"form":       {s.f.Key, &Set{}, ErrForm},
		"nobody":     {s.f.Key, &Remove{}, ErrForm},
		"genesis":    {s.f.Key, &Genesis{Policy: Symmetric()}, ErrForm},
	} {
		if _, err := s.l.Next(c.author, c.action, 0); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	s.raise(2)
	if _, err := s.l.Next(s.f.Key, title("x"), 0); !errors.Is(err, ReasonUpgrade) {
		t.Error("wrote into a group of a newer version:", err)
	}
}

func TestNothingIsWrittenIntoAFullGroup(t *testing.T) {
	s := newStory(t, Symmetric())
	on := s.add(s.l.Group(), Plain, "A")
	for s.l.Len() < MaxOps {
		if _, err := s.l.Next(named("F"), title("x"), 0); err != nil {
			t.Fatal(s.l.Len(), err)
		}
		on = s.put("F", title("x"), on)
	}
	if _, err := s.l.Next(named("F"), title("x"), 0); !errors.Is(err, ReasonFull) {
		t.Fatal(err)
	}
	for _, a := range []Action{removal("A"), &Leave{}, &Close{}} { // else one member could fill the log and stay
		if _, err := s.l.Next(named("F"), a, 0); err != nil {
			t.Errorf("%T in a full log: %v", a, err)
		}
	}
	s.put("F", title("x"), on) // what others wrote meanwhile still counts
}

// TestParentsOfManyHeads: of more than 16 heads the highest, but always one that implies the author's own last.
func TestParentsOfManyHeads(t *testing.T) {
	s := newStory(t, Symmetric())
	on := s.l.Group()
	for i := range 40 {
		on = s.add(on, Plain, fmt.Sprint("m", i))
	}
	own := map[string]ID{}
	for i := range 40 {
		name := fmt.Sprint("m", i)
		own[name] = s.put(name, title(name), on)
	}
	heads := s.l.Heads()
	all := s.l.ids(s.l.heads)
	sortIDs(all)
	if len(all) != 40 || !slices.Equal(heads, all[24:]) {
		t.Fatal(len(all), "heads, in a frame", len(heads))
	}
	for i := range 40 {
		name := fmt.Sprint("m", i)
		b, err := s.l.Next(named(name), title("again"), 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Parents) != MaxParents || !slices.Contains(b.Parents, own[name]) || b.Seq != 1 {
			t.Fatal("own last operation is not implied")
		}
		rest := slices.DeleteFunc(slices.Clone(b.Parents), func(id ID) bool { return id == own[name] })
		expect := slices.DeleteFunc(slices.Clone(heads), func(id ID) bool { return id == own[name] })
		if !slices.Equal(rest, expect[len(expect)-15:]) {
			t.Fatal("not the highest IDs")
		}
		if _, _, r := s.l.examine(unsigned(t, b)); r != ReasonNone {
			t.Fatal(r)
		}
	}
}

// TestParentsImplyAllOwnBranches: the author equivocated (a restored backup) and brings its branches together.
func TestParentsImplyAllOwnBranches(t *testing.T) {
	s := newStory(t, Symmetric())
	on := s.add(s.l.Group(), Plain, "A")
	for i := range 20 {
		on = s.add(on, Plain, fmt.Sprint("m", i))
	}
	one, two := s.put("A", title("1"), on), s.put("A", title("2"), on)
	for i := range 20 {
		s.put(fmt.Sprint("m", i), title("x"), on)
	}
	b, err := s.l.Next(named("A"), title("again"), 0)
	if err != nil || !slices.Contains(b.Parents, one) || !slices.Contains(b.Parents, two) {
		t.Fatal("a branch of its own is left out", err)
	}
}

func TestContest(t *testing.T) {
	cut := func(Key) uint64 { return 12 }
	s := newStory(t, Symmetric())
	on := s.add(s.l.Group(), Plain, "A", "M")
	n := s.add(on, Plain, "N")
	x := s.put("M", removal("A", "F"), n)
	y := s.put("N", removal("F"), n)
	s.put("N", title("later"), x, y)
	s.expect("MN")
	f := named("F")
	ops := mustRemoved(t, s.l.State(), f)
	if len(ops) != 2 || s.l.Contestable(f, ops) != nil {
		t.Fatal("not contestable")
	}
	b, err := s.l.Contest(f, ops, cut, false, 7200)
	if err != nil {
		t.Fatal(err)
	}
	want := removal("M", "N")
	if a := b.Action.(*Remove); len(a.Members) != 2 || a.Members[0].Cut != 12 || a.Members[0].Member != want.Members[0].Member {
		t.Fatal("removes others")
	}
	if r := s.l.admitUnsigned(unsigned(t, b)); r != ReasonNone {
		t.Fatal(r)
	}
	s.expect("AF")
}

func mustRemoved(t *testing.T, st *State, k Key) []ID {
	t.Helper()
	r, ok := st.Removed(k)
	if !ok {
		t.Fatal("not removed")
	}
	return r.Ops
}

func TestContestRefuses(t *testing.T) {
	s := newStory(t, Symmetric())
	on := s.add(s.l.Group(), Plain, "A", "B", "M")
	set := s.put("A", title("x"), on)
	senior := s.put("A", removal("B"), set)
	weak := s.put("M", removal("A", "F"), set)
	own := s.put("F", title("y"), set)
	for name, c := range map[string]struct {
		author string
		ops    []ID
		want   error
	}{
		"senior remover":    {"B", []ID{senior}, ErrNotSenior},
		"one of them":       {"A", []ID{weak, {1}}, ErrNoRemoval},
		"none":              {"A", nil, ErrNoRemoval},
		"a setting":         {"F", []ID{set}, ErrNoRemoval},
		"its own":           {"M", []ID{weak}, ErrNoRemoval},
		"stranger":          {"S", []ID{weak}, ReasonAuthor},
		"beside is no hurt": {"A", []ID{weak}, nil},
		"by the creator":    {"F", []ID{weak}, nil},
	} {
		if err := s.l.Contestable(named(c.author), c.ops); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	s.put("B", title("z"), weak) // B knows the removal and writes on
	if err := s.l.Contestable(named("B"), []ID{weak}); !errors.Is(err, ErrWroteSince) {
		t.Error("wrote since:", err)
	}
	b, err := s.l.Contest(named("F"), []ID{weak}, func(Key) uint64 { return 0 }, true, 0)
	if err != nil || !slices.Contains(b.Parents, own) {
		t.Fatal("contest of F:", err)
	}
	if r := s.l.admitUnsigned(unsigned(t, b)); r != ReasonNone {
		t.Fatal(r)
	}
	if !s.l.State().Void(weak) {
		t.Fatal("removal still in force")
	}
}

func TestQueries(t *testing.T) {
	s := newStory(t, Symmetric())
	g := s.l.Group()
	a := s.add(g, Plain, "A")
	x := s.put("A", title("x"), a)
	y := s.put("F", title("y"), a)
	z := s.put("F", title("z"), y)
	ids := func(ops []*Op) (list []ID) {
		for _, op := range ops {
			list = append(list, op.ID())
		}
		return list
	}
	if got := ids(s.l.After([]ID{y, {9}})); !slices.Equal(got, []ID{x, z}) {
		t.Error("After", len(got))
	}
	if got := ids(s.l.After(nil)); len(got) != s.l.Len() || got[0] != g {
		t.Error("After nothing", len(got))
	}
	if got := ids(s.l.Lacking([]ID{z, {9}}, []ID{x})); !slices.Equal(got, []ID{y, z}) {
		t.Error("Lacking", len(got))
	}
	if !s.l.InPast(a, z) || s.l.InPast(z, a) || s.l.InPast(x, z) || s.l.InPast(z, z) || s.l.InPast(ID{9}, z) {
		t.Error("InPast")
	}
	if !s.l.Includes([]ID{y}, y) || !s.l.Includes([]ID{y}, a) || s.l.Includes([]ID{y}, z) || s.l.Includes([]ID{y}, ID{9}) {
		t.Error("Includes")
	}
	st, ok := s.l.StateAt([]ID{y, a})
	if !ok || !st.Includes(y) || st.Includes(x) || st.Void(x) {
		t.Error("StateAt")
	}
	if again, _ := s.l.StateAt([]ID{y}); again != st {
		t.Error("the same heads make a state twice")
	}
	if v, _, _ := st.Setting("title"); string(v) != "y" {
		t.Error("setting of a part")
	}
	if all, _ := s.l.StateAt([]ID{z, x}); all != s.l.State() {
		t.Error("all heads are not everything")
	}
	if _, ok := s.l.StateAt([]ID{y, {9}}); ok {
		t.Error("state at an unknown head")
	}
	if _, ok := s.l.StateAt(nil); ok {
		t.Error("state at no head")
	}
	fr, _ := s.l.Rank(y)
	ar, _ := s.l.Rank(x)
	if _, known := s.l.Rank(ID{9}); known || fr.Compare(ar) != 1 || ar.Compare(fr) != -1 || fr.Compare(fr) != 0 {
		t.Error("Rank")
	}
	if s.l.Creator() != named("F") || s.l.Op(x).Seq != 0 || s.l.Op(ID{9}) != nil || s.l.At(0).ID() != g {
		t.Error("Op")
	}
}
