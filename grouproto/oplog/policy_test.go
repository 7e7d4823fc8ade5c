package oplog

import "testing"

// Of policies side by side the strictest counts in each respect, whichever comes first; one that follows on both replaces
// them, also by a milder one.
func TestPoliciesSideBySide(t *testing.T) {
	level := func(p Policy, what Permission, role Role) Policy {
		p.Levels[what] = role
		return p
	}
	one, two := Symmetric(), Symmetric()
	one.OpsVersion, one.Reach = 3, OnAnybody
	two.OpsVersion, two.Reach = 2, OnLower
	one, two = level(one, PermInfo, Admin), level(two, PermPins, Moderator)
	want := level(level(Symmetric(), PermInfo, Admin), PermPins, Moderator)
	want.OpsVersion, want.Reach = 3, max(OnAnybody, OnLower)
	for _, order := range [][2]Policy{{one, two}, {two, one}} {
		s := newStory(t, Symmetric())
		a := s.put("F", &Add{Member: named("A"), Role: Owner}, s.l.Group())
		x := s.put("F", &PolicyChange{Policy: order[0]}, a)
		y := s.put("A", &PolicyChange{Policy: order[1]}, a)
		if got := s.l.State().Policy(); got != want {
			t.Errorf("side by side: %+v, want %+v", got, want)
		}
		s.put("F", &PolicyChange{Policy: Symmetric()}, x, y)
		if got := s.l.State().Policy(); got != Symmetric() {
			t.Errorf("behind both: %+v", got)
		}
	}
}
