package oplog

// node is an admitted operation with what was fixed by its past when it was admitted.
type node struct {
	op     *Op
	past   span
	rank   Rank
	policy Policy // in the state of its past
	void   marks  // void in the state of its past
	grants Rank   // the rank of its target, if it is an add, a role change or the genesis
	// attackers are the operations of which each makes this one void (V1) wherever it is not void itself. They are all
	// of higher rank and parallel. Owned by Log; it grows when attackers are admitted later.
	attackers []int32
	hits      int // how many operations have it among their attackers; owned by Log as well
}

// unvoidable tells whether the operation is one that is never void.
func (x *node) unvoidable() bool {
	switch x.op.Action.(type) {
	case *Genesis, *Leave:
		return true
	}
	return false
}

// index says which operations matter for what, so that a single fact can be found without folding everything. Lists
// are in the order of admission.
type index struct {
	keys     []Key           // who ever had a grant, by first grant
	grants   map[Key][]int32 // genesis, adds and role changes, by target
	adds     map[Key][]int32
	removals map[Key][]int32 // by target
	leaves   map[Key][]int32 // by author
	authors  map[Key][]int32 // everything, by author
	policies []int32         // and the genesis
	closes   []int32
	settings map[string][]int32 // and the genesis, by name
	hostile  []int32            // removals, role changes and policies: what may attack others (V1)
}

func newIndex() index {
	return index{
		grants: map[Key][]int32{}, adds: map[Key][]int32{}, removals: map[Key][]int32{}, leaves: map[Key][]int32{},
		authors: map[Key][]int32{}, settings: map[string][]int32{},
	}
}

// hostile tells whether an operation may attack others (V1).
func (op *Op) hostile() bool {
	switch op.Action.(type) {
	case *Remove, *RoleChange, *PolicyChange:
		return true
	}
	return false
}

func (x *index) insert(op *Op, i int32) {
	if op.hostile() {
		x.hostile = append(x.hostile, i)
	}
	x.authors[op.Author] = append(x.authors[op.Author], i)
	grant := func(k Key) {
		if len(x.grants[k]) == 0 {
			x.keys = append(x.keys, k)
		}
		x.grants[k] = append(x.grants[k], i)
	}
	switch a := op.Action.(type) {
	case *Genesis:
		grant(op.Author)
		x.policies = append(x.policies, i)
		for _, s := range a.Settings {
			x.settings[s.Name] = append(x.settings[s.Name], i)
		}
	case *Add:
		grant(a.Member)
		x.adds[a.Member] = append(x.adds[a.Member], i)
	case *RoleChange:
		grant(a.Member)
	case *Remove:
		for _, m := range a.Members {
			x.removals[m.Member] = append(x.removals[m.Member], i)
		}
	case *Leave:
		x.leaves[op.Author] = append(x.leaves[op.Author], i)
	case *PolicyChange:
		x.policies = append(x.policies, i)
	case *Close:
		x.closes = append(x.closes, i)
	case *Set:
		x.settings[a.Setting.Name] = append(x.settings[a.Setting.Name], i)
	}
}

// view is fold of docs/groups.md, "State": the meaning of the operations for which in is true. It finds single facts on
// demand; State keeps all of them.
type view struct {
	l  *Log
	in func(i int32) bool
}

func (v view) any(list []int32) bool {
	for _, i := range list {
		if v.in(i) {
			return true
		}
	}
	return false
}

// newest calls yield for those of the list that are in the view and not in the past of another such one.
func (v view) newest(list []int32, yield func(i int32)) {
	var found covering
	for at := len(list) - 1; at >= 0; at-- {
		i := list[at]
		if !v.in(i) || found.has(i) {
			continue
		}
		past := v.l.nodes[i].past
		found.add(past)
		yield(i)
		if at > 0 && list[at-1] < past.firstOut() {
			return // all earlier ones are in the past of this one
		}
	}
}

// covering is the past of several operations. Mostly there are one or two; thousands side by side are brought together,
// or each would be compared with all others.
type covering struct {
	few []span
	all span // of what was too many for few
}

const fewPasts = 8

func (c *covering) add(past span) {
	if c.few = append(c.few, past); len(c.few) > fewPasts {
		for _, s := range c.few {
			c.all = c.all.union(s)
		}
		c.few = c.few[:0]
	}
}

func (c *covering) has(i int32) bool {
	for _, s := range c.few {
		if s.has(i) {
			return true
		}
	}
	return c.all.has(i)
}

// grant returns the current grant of a member, -1 if it has none.
func (v view) grant(k Key) int32 {
	best := int32(-1)
	v.newest(v.l.index.grants[k], func(i int32) {
		if best < 0 || v.l.nodes[i].before(v.l.nodes[best]) {
			best = i
		}
	})
	return best
}

// before tells which of two grants of a member counts: the lowest role, then the operation of highest rank, then the
// smallest ID.
func (x *node) before(y *node) bool {
	if x.grants.role != y.grants.role {
		return x.grants.role < y.grants.role
	}
	if c := x.rank.Compare(y.rank); c != 0 {
		return c > 0
	}
	return x.op.id.Compare(y.op.id) < 0
}

func (v view) present(k Key) (Role, bool) {
	if v.any(v.l.index.leaves[k]) || v.any(v.l.index.removals[k]) {
		return 0, false
	}
	g := v.grant(k)
	if g < 0 {
		return 0, false
	}
	return v.l.nodes[g].grants.role, true
}

// rules is the policy: per permission the largest level, also the largest reach and version, of the newest policies.
func (v view) rules() Policy {
	var p Policy
	v.newest(v.l.index.policies, func(i int32) {
		q := v.l.nodes[i].setsPolicy()
		p.OpsVersion = max(p.OpsVersion, q.OpsVersion)
		p.Reach = max(p.Reach, q.Reach)
		for what := range p.Levels {
			p.Levels[what] = max(p.Levels[what], q.Levels[what])
		}
	})
	return p
}

func (x *node) setsPolicy() Policy {
	if a, ok := x.op.Action.(*PolicyChange); ok {
		return a.Policy
	}
	return x.op.Action.(*Genesis).Policy
}

func (v view) isClosed() bool { return v.any(v.l.index.closes) }

func (v view) standsIn(k Key) bool {
	own := v.grant(k)
	for _, other := range v.l.index.keys {
		if _, present := v.present(other); !present || other == k {
			continue
		}
		if v.l.nodes[v.grant(other)].grants.higher(v.l.nodes[own].grants) {
			return false // an owner is among these
		}
	}
	return v.l.nodes[own].grants.role < Owner
}

// setting returns which operation a setting comes from, -1 if none: of the newest of that name the one of highest rank,
// then with the greater ID.
func (v view) setting(name string) int32 {
	best := int32(-1)
	v.newest(v.l.index.settings[name], func(i int32) {
		if best < 0 {
			best = i
			return
		}
		x, y := v.l.nodes[i], v.l.nodes[best]
		if c := x.rank.Compare(y.rank); c > 0 || c == 0 && x.op.id.Compare(y.op.id) > 0 {
			best = i
		}
	})
	return best
}

// removed returns what removals say about a member; ok is false if none names it.
func (v view) removed(k Key) (r Removed, ok bool) {
	for _, i := range v.l.index.removals[k] {
		if !v.in(i) {
			continue
		}
		a := v.l.nodes[i].op.Action.(*Remove)
		for _, m := range a.Members {
			if m.Member == k {
				r.Cut = max(r.Cut, m.Cut)
			}
		}
		r.Hide = r.Hide || a.Hide
		r.Ops = append(r.Ops, v.l.nodes[i].op.id)
	}
	sortIDs(r.Ops)
	return r, len(r.Ops) > 0
}

// member returns what a grant says about a member. known is a set in which the view is without its void operations: a
// member whose adds are all void, but not a later role change, keeps the card of one of them.
func (v view) member(k Key, grant int32, known span) Member {
	g := v.l.nodes[grant]
	m := Member{Key: k, Role: g.grants.role, Rank: g.grants, Grant: g.op.id, Added: v.l.nodes[0].op.id}
	added := -1
	for _, void := range []bool{false, true} {
		for _, i := range v.l.index.adds[k] {
			if known.has(i) && (void || v.in(i)) && (added < 0 || v.l.nodes[i].op.id.Compare(m.Added) < 0) {
				added = int(i)
				m.Added = v.l.nodes[i].op.id
			}
		}
		if added >= 0 {
			m.CardHash = v.l.nodes[added].op.Action.(*Add).CardHash
			break
		}
	}
	return m
}
