package oplog

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestMarks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		index := rapid.Int32Range(0, 700)
		list := rapid.SliceOfN(index, 0, 60)
		build := func(of []int32) (m marks, sorted []int32) {
			for _, i := range of {
				m.put(i)
			}
			return m, slices.Compact(slices.Sorted(slices.Values(of)))
		}
		a, as := build(list.Draw(t, "a"))
		b, bs := build(list.Draw(t, "b"))
		if got := slices.Collect(a.all()); !slices.Equal(got, as) || a.len() != len(as) {
			t.Fatal(got, "want", as)
		}
		i := index.Draw(t, "i")
		if a.has(i) != slices.Contains(as, i) {
			t.Fatal("has", i)
		}
		more := a.with(i)
		if !slices.Equal(slices.Collect(a.all()), as) {
			t.Fatal("with changed what others have")
		}
		if _, want := build(append(slices.Clone(as), i)); !slices.Equal(slices.Collect(more.all()), want) {
			t.Fatal("with", i)
		}
		var only []int32
		for _, i := range as {
			if !slices.Contains(bs, i) {
				only = append(only, i)
			}
		}
		for _, i := range bs {
			if !slices.Contains(as, i) {
				only = append(only, i)
			}
		}
		slices.Sort(only)
		if got := different(a, b); !slices.Equal(got, only) {
			t.Fatal(got, "want", only)
		}
		hole := index.Draw(t, "hole")
		set := fromWords(701, hole/64, hole/64, func(int32) uint64 { return 1 << (hole % 64) })
		in := slices.DeleteFunc(slices.Clone(as), func(i int32) bool { return i == hole })
		if got := slices.Collect(a.in(set).all()); !slices.Equal(got, in) {
			t.Fatal(got, "want", in)
		}
		if !slices.Equal(slices.Collect(a.all()), as) {
			t.Fatal("in changed what others have")
		}
	})
}

// Whoever has many members of its own can write as many operations side by side as it likes.
func TestManySideBySide(t *testing.T) {
	s := newStory(t, Symmetric())
	on := s.l.Group()
	names := []string{"A", "B", "C", "D", "E", "G", "H", "I", "J", "K", "L", "M"}
	on = s.add(on, Plain, names...)
	want := Symmetric()
	var newest []ID
	for i, n := range names {
		before := s.put(n, &PolicyChange{func() Policy { p := Symmetric(); p.Levels[PermTimer] = Nobody; return p }()}, on)
		p := Symmetric()
		p.Levels[i%2+1] = Role(i % 4)
		want.Levels[i%2+1] = max(want.Levels[i%2+1], Role(i%4))
		newest = append(newest, s.put(n, &PolicyChange{p}, before))
	}
	if got := s.l.State().Policy(); got != want {
		t.Errorf("policy %v, want %v", got, want)
	}
	last := Symmetric()
	last.Levels[PermAdd] = Observer
	s.put("F", &PolicyChange{last}, newest...)
	if got := s.l.State().Policy(); got != last {
		t.Errorf("policy %v, want %v", got, last)
	}
}
