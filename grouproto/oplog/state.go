package oplog

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Member is a present member, or one that has left.
type Member struct {
	Key      Key
	Role     Role
	Rank     Rank
	Grant    ID       // the operation that gave the role
	Added    ID       // the add with the smallest ID, or the genesis
	CardHash [32]byte // of that add; zero for who made the group
}

// Removed is what removals in force say about one member.
type Removed struct {
	Cut  uint64 // the largest cut: of the member's messages only those with smaller numbers are taken
	Hide bool   // one of them hides the member's messages
	Ops  []ID   // the removals, ascending
}

// State is what a set of operations means (docs/groups.md, "State"). It does not change: later operations make other
// States.
type State struct {
	l     *Log
	known span  // the set
	void  marks // of it

	members  map[Key]Member
	left     map[Key]Member
	removed  map[Key]Removed
	settings map[string]int32
	policy   Policy
	closed   bool

	frozen bool // somebody else has it: l may not change it any more
	// own tells which maps belong to this State alone.
	own struct{ members, left, removed, settings bool }
	// deputy caches who stands in for a missing owner.
	deputy struct {
		known bool
		key   Key
		any   bool
	}
}

// Len returns the number of present members.
func (s *State) Len() int { return len(s.members) }

// Member returns a present member.
func (s *State) Member(k Key) (Member, bool) {
	m, ok := s.members[k]
	return m, ok
}

// Members returns the present members, ascending by key.
func (s *State) Members() []Member { return byKey(s.members) }

// Left returns a member that has left and was not removed.
func (s *State) Left(k Key) (Member, bool) {
	m, ok := s.left[k]
	return m, ok
}

// AllLeft returns the members that have left and were not removed, ascending by key.
func (s *State) AllLeft() []Member { return byKey(s.left) }

func byKey(members map[Key]Member) []Member {
	return slices.SortedFunc(maps.Values(members), func(a, b Member) int { return a.Key.Compare(b.Key) })
}

// Removed returns what the removals in force say about a member; ok is false if none names it.
func (s *State) Removed(k Key) (r Removed, ok bool) {
	r, ok = s.removed[k]
	return r, ok
}

// Cuts returns all members that removals in force name, each with its largest cut. The map is the caller's.
func (s *State) Cuts() map[Key]Removed { return maps.Clone(s.removed) }

// Policy returns the policy in force.
func (s *State) Policy() Policy { return s.policy }

// Closed tells whether the group is closed.
func (s *State) Closed() bool { return s.closed }

// Setting returns the value of a setting and the operation that set it; ok is false if it is not set. The value must not
// be changed.
func (s *State) Setting(name string) (value []byte, by ID, ok bool) {
	i, ok := s.settings[name]
	if !ok {
		return nil, ID{}, false
	}
	op := s.l.nodes[i].op
	return op.sets(name), op.id, true
}

// sets returns the value that an operation gives to a setting.
func (op *Op) sets(name string) []byte {
	genesis, ok := op.Action.(*Genesis)
	if !ok {
		return op.Action.(*Set).Setting.Value
	}
	i := slices.IndexFunc(genesis.Settings, func(s Setting) bool { return s.Name == name })
	return genesis.Settings[i].Value
}

// Settings returns the names of all settings that have a value, ascending.
func (s *State) Settings() []string { return slices.Sorted(maps.Keys(s.settings)) }

// Void tells whether an operation is in the set and void there.
func (s *State) Void(id ID) bool {
	i, ok := s.l.byID[id]
	return ok && s.void.has(i)
}

// Voids returns what is void, ancestors first.
func (s *State) Voids() []ID {
	ids := []ID{}
	for i := range s.void.all() {
		ids = append(ids, s.l.nodes[i].op.id)
	}
	return ids
}

// Includes tells whether an operation, void or not, is in the set.
func (s *State) Includes(id ID) bool {
	i, ok := s.l.byID[id]
	return ok && s.known.has(i)
}

// Has tells whether a present member has a permission, by the policy or because it stands in for a missing owner: if no
// present member is an owner, the highest-ranked present member also has owner's permissions.
func (s *State) Has(k Key, what Permission) bool {
	m, ok := s.members[k]
	return ok && what < permissions && (s.policy.Grants(m.Role, what) || s.policy.Grants(Owner, what) && s.standsIn(k))
}

// Allows tells whether a present member may do this now, by A3 and A4 of docs/groups.md, "Admission"; ReasonNone if so.
func (s *State) Allows(author Key, a Action) Reason {
	if r := judge(s, s.lastRole, author, a); r != ReasonNone {
		return r
	}
	if add, ok := a.(*Add); ok {
		if add.Member == s.l.nodes[0].op.Author {
			return ReasonAdded
		}
		for _, i := range s.l.index.adds[add.Member] {
			if s.known.has(i) {
				return ReasonAdded
			}
		}
		if len(s.members) >= MaxMembers {
			return ReasonMembers
		}
	}
	return ReasonNone
}

func (s *State) present(k Key) (Role, bool) {
	m, ok := s.members[k]
	return m.Role, ok
}

func (s *State) lastRole(k Key) (Role, bool) {
	m, ok := s.left[k]
	return m.Role, ok
}

func (s *State) rules() Policy  { return s.policy }
func (s *State) isClosed() bool { return s.closed }

func (s *State) standsIn(k Key) bool {
	if !s.deputy.known {
		s.deputy.known, s.deputy.any = true, false
		var top Rank
		for _, m := range s.members {
			if !s.deputy.any || m.Rank.higher(top) {
				s.deputy.key, s.deputy.any, top = m.Key, true, m.Rank
			}
		}
		s.deputy.any = s.deputy.any && top.role < Owner
	}
	return s.deputy.any && s.deputy.key == k
}

// Format implements fmt.Formatter: every verb prints "[state]".
func (*State) Format(f fmt.State, _ rune) { io.WriteString(f, "[state]") }

// clone returns a State that l may change. From now on both share their maps.
func (s *State) clone() *State {
	s.own = struct{ members, left, removed, settings bool }{}
	c := *s
	c.frozen = false
	return &c
}

// move changes s into the state of another set, given what is void there.
func (s *State) move(to span, void marks, changed ...int32) {
	changed = append(changed, different(s.void, void)...)
	s.known, s.void = to, void
	var facts touched
	for _, i := range changed {
		facts.add(s.l.nodes[i].op)
	}
	s.refresh(facts)
}

// touched lists the facts that some operations have a part in.
type touched struct {
	members, removed []Key
	settings         []string
	policy, closed   bool
}

func (f *touched) add(op *Op) {
	switch a := op.Action.(type) {
	case *Genesis:
		f.policy = true
		f.members = append(f.members, op.Author)
		for _, set := range a.Settings {
			f.settings = append(f.settings, set.Name)
		}
	case *Add:
		f.members = append(f.members, a.Member)
	case *RoleChange:
		f.members = append(f.members, a.Member)
	case *Remove:
		for _, m := range a.Members {
			f.members = append(f.members, m.Member)
			f.removed = append(f.removed, m.Member)
		}
	case *Leave:
		f.members = append(f.members, op.Author)
	case *PolicyChange:
		f.policy = true
	case *Set:
		f.settings = append(f.settings, a.Setting.Name)
	case *Close:
		f.closed = true
	}
}

// refresh finds facts again.
func (s *State) refresh(f touched) {
	v := view{s.l, func(i int32) bool { return s.known.has(i) && !s.void.has(i) }}
	if f.policy {
		s.policy = v.rules()
	}
	if f.closed {
		s.closed = v.isClosed()
	}
	for _, k := range distinct(f.members, Key.Compare) {
		s.refreshMember(v, k)
	}
	for _, k := range distinct(f.removed, Key.Compare) {
		r, ok := v.removed(k)
		assign(&s.removed, &s.own.removed, k, r, ok)
	}
	for _, name := range distinct(f.settings, strings.Compare) {
		s.refreshSetting(v, name)
	}
}

func distinct[T comparable](list []T, compare func(a, b T) int) []T {
	slices.SortFunc(list, compare)
	return slices.Compact(list)
}

func (s *State) refreshMember(v view, k Key) {
	s.deputy.known = false
	grant, removed, left := v.grant(k), v.any(v.l.index.removals[k]), v.any(v.l.index.leaves[k])
	var m Member
	ok := grant >= 0 && !removed
	if ok {
		m = v.member(k, grant, s.known)
	}
	assign(&s.members, &s.own.members, k, m, ok && !left)
	assign(&s.left, &s.own.left, k, m, ok && left)
}

func (s *State) refreshSetting(v view, name string) {
	i := v.setting(name)
	assign(&s.settings, &s.own.settings, name, i, i >= 0 && len(s.l.nodes[i].op.sets(name)) > 0)
}

// assign sets or deletes an entry of a map that may have to be copied first.
func assign[K comparable, V any](m *map[K]V, own *bool, k K, v V, present bool) {
	if _, was := (*m)[k]; !was && !present {
		return
	}
	if !*own {
		*m, *own = maps.Clone(*m), true
	}
	if *m == nil {
		*m = map[K]V{}
	}
	if present {
		(*m)[k] = v
	} else {
		delete(*m, k)
	}
}
