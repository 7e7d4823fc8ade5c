package oplog

import "testing"

// The stories that docs/groups.md, "What it gives", rests on.

func TestSweepByARemovedJuniorHasNoEffect(t *testing.T) {
	s := newStory(t, Symmetric())
	b := s.add(s.l.Group(), Plain, "A", "B")
	m := s.put("A", &Add{Member: named("M"), Role: Plain}, b)
	s.put("A", removal("M"), m)
	s.put("M", removal("A", "B", "F"), m)
	p := s.put("M", &Add{Member: named("P"), Role: Plain}, m)
	s.put("P", removal("A"), p)
	s.expect("ABF")
}

func TestContestUndoesASweep(t *testing.T) {
	s := newStory(t, Symmetric())
	b := s.add(s.l.Group(), Plain, "A", "B")
	m := s.put("A", &Add{Member: named("M"), Role: Plain}, b)
	s.put("M", removal("A", "B", "F"), m)
	s.expect("M")
	s.put("F", removal("M"), m)
	s.expect("ABF")
}

func TestRemovalOfTheInviterKeepsTheInvited(t *testing.T) {
	s := newStory(t, Symmetric())
	m := s.add(s.l.Group(), Plain, "M")
	s.add(m, Plain, "A", "B", "C")
	s.put("M", removal("F"), m)
	s.expect("ABCM")
}

func TestCircleOfRemovals(t *testing.T) {
	s := newStory(t, Symmetric())
	p := s.add(s.l.Group(), Plain, "A", "B", "C")
	s.put("A", removal("B"), p)
	s.put("B", removal("C"), p)
	s.put("C", removal("A"), p)
	s.expect("CF")
}

func TestAddCannotDodgeADemotion(t *testing.T) {
	s := newStory(t, Moderated())
	a := s.add(s.l.Group(), Admin, "A")
	s.put("F", &RoleChange{Member: named("A"), Role: Plain}, a)
	s.put("A", &Add{Member: named("P"), Role: Plain}, a)
	s.expect("AF")
}

func TestVoidPolicyEmpowersNobody(t *testing.T) {
	loose := Moderated()
	loose.Reach, loose.Levels[PermRemove] = OnAnybody, Plain

	s := newStory(t, Moderated())
	o := s.add(s.l.Group(), Owner, "O")
	v := s.add(o, Plain, "P", "V")
	x := s.put("O", &PolicyChange{loose}, v)
	s.put("P", removal("V"), x)
	if _, r := s.try("F", &RoleChange{Member: named("O"), Role: Plain}, v); r != ReasonTarget {
		t.Fatal("role change of an equal at reach 1:", r)
	}
	s.expect("FOP")

	from := Moderated()
	from.Reach = OnAnybody
	s = newStory(t, from)
	o = s.add(s.l.Group(), Owner, "O")
	v = s.add(o, Plain, "P", "V")
	x = s.put("O", &PolicyChange{loose}, v)
	s.put("P", removal("V"), x)
	s.put("F", removal("O"), v)
	s.expect("FPV")
}

// TestRemovalComesBackIntoForce: C removed D, B undid that by removing C, and D wrote on. Then A undoes what B did, so D
// is out again and what it wrote on that ground falls with it.
func TestRemovalComesBackIntoForce(t *testing.T) {
	s := newStory(t, Symmetric())
	on := s.add(s.l.Group(), Plain, "A", "B", "C", "D")
	y := s.put("C", removal("D"), on)
	z := s.put("B", removal("C"), on)
	s.expect("ABDF")
	x := s.put("D", &Add{Member: named("P"), Role: Plain}, y, z)
	s.expect("ABDFP")
	s.put("A", removal("B"), on)
	s.expect("ACF")
	if st := s.l.State(); st.Void(y) || !st.Void(z) || !st.Void(x) {
		t.Fatal("void are others")
	}
}

func TestStricterPolicyBindsBackwards(t *testing.T) {
	s := newStory(t, Symmetric())
	a := s.add(s.l.Group(), Plain, "A")
	strict := Symmetric()
	strict.Levels[PermAdd] = Admin
	s.put("A", &Add{Member: named("P"), Role: Plain}, a)
	s.put("F", &PolicyChange{strict}, a)
	s.expect("AF")
}

func TestLeaveVoidsNothing(t *testing.T) {
	s := newStory(t, Symmetric())
	a := s.add(s.l.Group(), Plain, "A")
	s.put("A", &Add{Member: named("P"), Role: Plain}, a) // beside its own leave: an equivocation
	leave := s.put("A", &Leave{}, a)
	s.expect("FP")
	if m, ok := s.l.State().Left(named("A")); !ok || m.Role != Plain {
		t.Fatal("A has not left")
	}
	s.put("F", removal("A"), leave) // removing one that has left voids what it did beside
	s.expect("F")
	if _, ok := s.l.State().Left(named("A")); ok {
		t.Fatal("A has left and is removed")
	}
}

func TestSomebodyStandsInForTheOwner(t *testing.T) {
	s := newStory(t, Moderated())
	a := s.add(s.l.Group(), Admin, "A", "B")
	left := s.put("F", &Leave{}, a)
	if _, r := s.try("B", &Close{}, left); r != ReasonPermission {
		t.Fatal("the second closes the group:", r)
	}
	st := s.l.State()
	if !st.Has(named("A"), PermPolicy) || st.Has(named("B"), PermPolicy) || st.Has(named("F"), PermSend) {
		t.Fatal("wrong deputy")
	}
	if _, r := s.try("A", &Add{Member: named("O"), Role: Owner}, left); r != ReasonTarget {
		t.Fatal("the deputy makes an owner:", r)
	}
	if _, r := s.try("A", removal("B"), left); r != ReasonTarget {
		t.Fatal("the deputy removes an equal at reach 1:", r)
	}
	s.put("A", &PolicyChange{Symmetric()}, left)
	if !s.l.State().Has(named("B"), PermClose) {
		t.Fatal("policy of the deputy not in force")
	}
}

func TestReachOfRemovalsAndRoles(t *testing.T) {
	for _, c := range []struct {
		reach             Reach
		own, target       Role
		remove, lowerRole Reason
	}{
		{OnAnybody, Plain, Owner, ReasonNone, ReasonTarget}, // roles only of those who are not above
		{OnAnybody, Plain, Plain, ReasonNone, ReasonNone},
		{OnLower, Admin, Admin, ReasonTarget, ReasonTarget},
		{OnLower, Admin, Moderator, ReasonNone, ReasonNone},
		{OnLowerOrEqual, Admin, Admin, ReasonNone, ReasonNone},
		{OnLowerOrEqual, Admin, Owner, ReasonTarget, ReasonTarget},
	} {
		p := Symmetric()
		p.Reach = c.reach
		s := newStory(t, p)
		on := s.add(s.add(s.l.Group(), c.own, "A"), c.target, "T")
		if _, r := s.try("A", removal("T"), on); r != c.remove {
			t.Errorf("%+v: removal: %v", c, r)
		}
		if _, r := s.try("A", &RoleChange{Member: named("T"), Role: Observer}, on); r != c.lowerRole {
			t.Errorf("%+v: role: %v", c, r)
		}
	}
}

func TestLoweringOneself(t *testing.T) {
	s := newStory(t, Moderated())
	on := s.add(s.l.Group(), Moderator, "A")
	for _, role := range []Role{Moderator, Admin} {
		if _, r := s.try("A", &RoleChange{Member: named("A"), Role: role}, on); r != ReasonTarget {
			t.Errorf("own role to %v: %v", role, r)
		}
	}
	s.put("A", &RoleChange{Member: named("A"), Role: Plain}, on) // without the permission
	if m, _ := s.l.State().Member(named("A")); m.Role != Plain {
		t.Error("own role not lowered")
	}
}

func TestPermissionOfSettings(t *testing.T) {
	for name, want := range map[string]Permission{
		"title": PermInfo, "about": PermInfo, "avatar": PermInfo, "pin/": PermPins, "pin/x": PermPins, "timer": PermTimer,
		"history": PermOther, "address/x": PermOther, "pins": PermOther, "Title": PermOther, "timer2": PermOther,
	} {
		if got := needs(Key{}, &Set{Setting{Name: name}}); len(got) != 1 || got[0] != want {
			t.Errorf("%s takes %v, want %v", name, got, want)
		}
	}
}

func TestHidingTakesBothPermissions(t *testing.T) {
	p := Moderated()
	p.Levels[PermHide] = Admin
	s := newStory(t, p)
	on := s.add(s.add(s.l.Group(), Moderator, "A"), Plain, "T")
	hide := removal("T")
	hide.Hide = true
	if _, r := s.try("A", hide, on); r != ReasonPermission {
		t.Fatal("hidden without permission:", r)
	}
	hide.Members[0].Cut = 7
	s.put("F", hide, on)
	more := removal("T")
	more.Members[0].Cut = 9
	s.put("A", more, on)
	r, ok := s.l.State().Removed(named("T"))
	if !ok || r.Cut != 9 || !r.Hide || len(r.Ops) != 2 {
		t.Fatalf("removed: %v %+v", ok, r)
	}
}

func TestSettingsOfParallelAuthors(t *testing.T) {
	title := func(v string) Action { return &Set{Setting{Name: "title", Value: []byte(v)}} }
	s := newStory(t, Symmetric())
	on := s.add(s.l.Group(), Plain, "A", "B")
	s.put("B", title("of B"), on)
	high := s.put("F", title("of F"), on)
	s.put("A", title("of A"), on)
	if v, by, ok := s.l.State().Setting("title"); !ok || string(v) != "of F" || by != high {
		t.Fatalf("title %q", v)
	}
	s.put("A", title(""), s.l.Heads()...)
	if _, _, ok := s.l.State().Setting("title"); ok || len(s.l.State().Settings()) != 0 {
		t.Fatal("title still set")
	}
}

func TestParallelPoliciesTakeTheStricter(t *testing.T) {
	s := newStory(t, Symmetric())
	on := s.add(s.l.Group(), Plain, "A")
	p, q := Symmetric(), Symmetric()
	p.Levels[PermTimer], q.Levels[PermInfo], q.Reach = Admin, Nobody, OnLowerOrEqual
	s.put("F", &PolicyChange{p}, on)
	s.put("A", &PolicyChange{q}, on)
	want := p
	want.Levels[PermInfo], want.Reach = Nobody, OnLowerOrEqual
	if got := s.l.State().Policy(); got != want {
		t.Fatalf("policy %v, want %v", got, want)
	}
	s.put("F", &PolicyChange{Symmetric()}, s.l.Heads()...)
	if s.l.State().Policy() != Symmetric() {
		t.Fatal("a later policy replaces all")
	}
}

func TestCardOfAMemberAddedTwice(t *testing.T) {
	s := newStory(t, Symmetric())
	on := s.add(s.l.Group(), Plain, "A")
	card := func(b byte) *Add { return &Add{Member: named("B"), Role: Plain, CardHash: [32]byte{b}} }
	one := s.put("F", card(1), on)
	two := s.put("A", card(2), on)
	m, _ := s.l.State().Member(named("B"))
	want, hash := one, byte(1)
	if two.Compare(one) < 0 {
		want, hash = two, 2
	}
	if m.Added != want || m.CardHash != [32]byte{hash} || m.Grant != one {
		t.Fatal("card of the wrong add, or grant of the lower rank")
	}
	if f, _ := s.l.State().Member(named("F")); f.Added != s.l.Group() || f.CardHash != [32]byte{} {
		t.Fatal("the creator has a card")
	}
}

// TestRoleGrantOutlivesAVoidAdd: the add is void, but somebody higher has granted a role since.
func TestRoleGrantOutlivesAVoidAdd(t *testing.T) {
	s := newStory(t, Symmetric())
	on := s.add(s.l.Group(), Plain, "A")
	add := s.put("A", &Add{Member: named("B"), Role: Plain, CardHash: [32]byte{7}}, on)
	role := s.put("F", &RoleChange{Member: named("B"), Role: Moderator}, add)
	s.put("F", removal("A"), on) // beside its own operation: both count
	m, ok := s.l.State().Member(named("B"))
	if !ok || !s.l.State().Void(add) || s.l.State().Void(role) {
		t.Fatal("the grant of F does not count")
	}
	if m.Grant != role || m.Added != add || m.CardHash != [32]byte{7} || m.Role != Moderator {
		t.Fatal("wrong grant or card")
	}
}

func TestRemovedAndLeftMembersStayOut(t *testing.T) {
	s := newStory(t, Symmetric())
	on := s.add(s.l.Group(), Plain, "A", "B")
	gone := s.put("F", removal("A"), s.put("B", &Leave{}, on))
	for _, n := range []string{"A", "B", "F"} {
		if _, r := s.try("F", &Add{Member: named(n), Role: Plain}, gone); r != ReasonAdded {
			t.Errorf("%s added again: %v", n, r)
		}
	}
	s.put("F", removal("B"), gone) // has left: its last role counts
	if _, r := s.try("F", removal("C"), gone); r != ReasonTarget {
		t.Error("removed a stranger:", r)
	}
	if _, r := s.try("A", &Leave{}, gone); r != ReasonAuthor {
		t.Error("a removed member leaves:", r)
	}
}

func TestNothingAfterTheEnd(t *testing.T) {
	s := newStory(t, Symmetric())
	on := s.add(s.l.Group(), Plain, "A")
	end := s.put("A", &Close{}, on)
	if !s.l.State().Closed() {
		t.Fatal("not closed")
	}
	if _, r := s.try("F", &Leave{}, end); r != ReasonClosed {
		t.Error("left a closed group:", r)
	}
	s.put("F", removal("A"), on) // beside it, from above: the end is void
	if s.l.State().Closed() {
		t.Error("closed by one that was removed from above")
	}
}
