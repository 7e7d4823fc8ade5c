package oplog

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// plain is the definition of docs/groups.md, "State is a function of the set of operations", word by word: sets are
// maps, every state is made from nothing, everything is looked at. It is what Log must be equal to.
type plain struct {
	ops   map[ID]*Op
	past  map[ID]plainSet
	rank  map[ID]plainRank
	ready map[string]*plainState
}

type plainSet map[ID]bool

type plainRank struct {
	role Role
	path []plainStep
}

type plainStep struct {
	seq uint64
	id  ID
}

type plainMember struct {
	role  Role
	rank  plainRank
	grant ID
}

type plainState struct {
	members, left map[Key]plainMember
	removed       map[Key]Removed
	policy        Policy
	settings      map[string]string
	closed        bool
	void          plainSet
}

func newPlain(genesis *Op) *plain {
	return &plain{
		ops:   map[ID]*Op{genesis.id: genesis},
		past:  map[ID]plainSet{genesis.id: {}},
		rank:  map[ID]plainRank{genesis.id: {role: Owner}},
		ready: map[string]*plainState{},
	}
}

// header is what A1 and A2 ask of an operation of any version; of its past all operations are in p.
func (p *plain) header(x *Op) (past plainSet, good bool) {
	past = plainSet{}
	for _, parent := range x.Parents {
		past[parent] = true
		for y := range p.past[parent] {
			past[y] = true
		}
	}
	for _, parent := range x.Parents {
		for _, other := range x.Parents {
			if p.past[other][parent] {
				return past, false
			}
		}
	}
	seq := uint64(0)
	for y := range past {
		if p.ops[y].Author == x.Author {
			seq = max(seq, p.ops[y].Seq+1)
		}
	}
	return past, x.Seq == seq
}

// admit is 3.1; all parents are admitted.
func (p *plain) admit(x *Op) bool {
	past, good := p.header(x)
	st := p.state(past)
	if !good || x.version > st.policy.OpsVersion || !p.holds(st, x, false) {
		return false
	}
	if add, ok := x.Action.(*Add); ok {
		for y := range past {
			switch a := p.ops[y].Action.(type) {
			case *Add:
				if a.Member == add.Member {
					return false
				}
			case *Genesis:
				if p.ops[y].Author == add.Member {
					return false
				}
			}
		}
		if len(st.members) >= 1000 {
			return false
		}
	}
	p.ops[x.id], p.past[x.id], p.rank[x.id] = x, past, st.members[x.Author].rank
	return true
}

// keep is what a program that knows versions up to one keeps without judging it: what is of a later version, or has such
// an operation in its past, and is good as far as can be seen. What it keeps is in ops and past, not in rank.
func (p *plain) keep(x *Op) bool {
	past, good := p.header(x)
	if !good {
		return false
	}
	judged := true
	for y := range past {
		_, ranked := p.rank[y]
		judged = judged && ranked
	}
	if judged {
		st := p.state(past)
		if _, present := st.members[x.Author]; !present || st.closed || x.version > st.policy.OpsVersion {
			return false
		}
	}
	p.ops[x.id], p.past[x.id] = x, past
	return true
}

// take is what a program that knows the versions up to one does with operations, of which all ancestors come first.
func (p *plain) take(ops []*Op, known uint16) (admitted, kept plainSet) {
	admitted, kept = plainSet{}, plainSet{}
	for id := range p.ops {
		admitted[id] = true
	}
	for _, x := range ops {
		here, unjudged := true, x.version > known
		for _, parent := range x.Parents {
			here = here && (admitted[parent] || kept[parent])
			unjudged = unjudged || kept[parent]
		}
		switch {
		case !here || admitted[x.id]:
		case unjudged && p.keep(x):
			kept[x.id] = true
		case !unjudged && p.admit(x):
			admitted[x.id] = true
		}
	}
	return admitted, kept
}

func plainNeeds(x *Op) (levels []Permission) {
	switch a := x.Action.(type) {
	case *Add:
		return []Permission{0}
	case *Remove:
		levels = []Permission{1}
		if a.Hide {
			levels = append(levels, 11)
		}
	case *RoleChange:
		if a.Member != x.Author {
			return []Permission{6}
		}
	case *PolicyChange:
		return []Permission{7}
	case *Set:
		switch name := a.Setting.Name; {
		case name == "title", name == "about", name == "avatar":
			return []Permission{2}
		case strings.HasPrefix(name, "pin/"):
			return []Permission{3}
		case name == "timer":
			return []Permission{4}
		default:
			return []Permission{5}
		}
	case *Close:
		return []Permission{8}
	}
	return levels
}

func plainPermits(policy Policy, role Role, x *Op) bool {
	for _, what := range plainNeeds(x) {
		if role < policy.Levels[what] {
			return false
		}
	}
	return true
}

// holds is A3.
func (p *plain) holds(st *plainState, x *Op, again bool) bool {
	m, present := st.members[x.Author]
	if st.closed || !present {
		return false
	}
	role := m.role
	top := true
	for _, other := range st.members {
		top = top && other.role != Owner && !other.rank.above(m.rank)
	}
	if top {
		role = Owner
	}
	if !plainPermits(st.policy, role, x) {
		return false
	}
	reaches := func(target Role) bool {
		return st.policy.Reach == 0 || st.policy.Reach == 1 && target < m.role || st.policy.Reach == 2 && target <= m.role
	}
	switch a := x.Action.(type) {
	case *Genesis:
		return false
	case *Add:
		return a.Role <= m.role
	case *Remove:
		for _, r := range a.Members {
			target, ok := st.members[r.Member]
			if !ok && again {
				continue
			}
			if !ok {
				target, ok = st.left[r.Member]
			}
			if !ok || r.Member == x.Author || !reaches(target.role) {
				return false
			}
		}
	case *RoleChange:
		if a.Member == x.Author {
			return a.Role < m.role
		}
		if a.Role > m.role {
			return false
		}
		target, ok := st.members[a.Member]
		if !ok {
			return again
		}
		return target.role <= m.role && reaches(target.role)
	}
	return true
}

func (r plainRank) above(other plainRank) bool {
	if r.role != other.role {
		return r.role > other.role
	}
	if len(r.path) != len(other.path) {
		return len(r.path) < len(other.path)
	}
	for i, step := range r.path {
		if step.seq != other.path[i].seq {
			return step.seq < other.path[i].seq
		}
		if c := bytes.Compare(step.id[:], other.path[i].id[:]); c != 0 {
			return c < 0
		}
	}
	return false
}

func (s plainSet) sorted() []ID {
	var ids []ID
	for id := range s {
		ids = append(ids, id)
	}
	sortIDs(ids)
	return ids
}

// state is 3.3 and the last line of 3.4.
func (p *plain) state(s plainSet) *plainState {
	order := s.sorted()
	var key strings.Builder
	for _, id := range order {
		key.Write(id[:])
	}
	if st := p.ready[key.String()]; st != nil {
		return st
	}
	slices.SortStableFunc(order, func(a, b ID) int {
		if p.rank[a].above(p.rank[b]) {
			return -1
		} else if p.rank[b].above(p.rank[a]) {
			return 1
		}
		return 0
	})
	void := plainSet{}
	for _, x := range order {
		if p.voided(x, s, void) {
			void[x] = true
		}
	}
	live := plainSet{}
	for x := range s {
		if !void[x] {
			live[x] = true
		}
	}
	st := p.fold(live)
	st.void = void
	p.ready[key.String()] = st
	return st
}

func (p *plain) voided(id ID, s, void plainSet) bool {
	x := p.ops[id]
	switch x.Action.(type) {
	case *Leave, *Genesis:
		return false
	}
	before := p.state(p.past[id])
	for other := range s { // V1
		y := p.ops[other]
		if void[other] || other == id || p.past[id][other] || p.past[other][id] || y.Author == x.Author ||
			!p.rank[other].above(p.rank[id]) {
			continue
		}
		switch a := y.Action.(type) {
		case *Remove:
			if slices.ContainsFunc(a.Members, func(r Removal) bool { return r.Member == x.Author }) {
				return true
			}
		case *RoleChange:
			if a.Member == x.Author && !plainPermits(before.policy, a.Role, x) {
				return true
			}
		case *PolicyChange:
			if !plainPermits(a.Policy, p.rank[id].role, x) {
				return true
			}
		}
	}
	view := plainSet{} // V2
	for y := range p.past[id] {
		gone := before.void[y]
		if p.rank[y].above(p.rank[id]) {
			gone = void[y]
		}
		if !gone {
			view[y] = true
		}
	}
	return !p.holds(p.fold(view), x, true)
}

// newest returns what is in no other's past.
func (p *plain) newest(ids []ID) (out []ID) {
	for _, x := range ids {
		if !slices.ContainsFunc(ids, func(y ID) bool { return p.past[y][x] }) {
			out = append(out, x)
		}
	}
	return out
}

// fold is 3.4.
func (p *plain) fold(t plainSet) *plainState {
	st := &plainState{
		members: map[Key]plainMember{}, left: map[Key]plainMember{}, removed: map[Key]Removed{}, settings: map[string]string{},
	}
	grants, left := map[Key][]ID{}, map[Key]bool{}
	settings := map[string][]ID{}
	var policies []ID
	for _, id := range t.sorted() {
		op := p.ops[id]
		switch a := op.Action.(type) {
		case *Genesis:
			grants[op.Author] = append(grants[op.Author], id)
			policies = append(policies, id)
			for _, s := range a.Settings {
				settings[s.Name] = append(settings[s.Name], id)
			}
		case *Add:
			grants[a.Member] = append(grants[a.Member], id)
		case *RoleChange:
			grants[a.Member] = append(grants[a.Member], id)
		case *Remove:
			for _, m := range a.Members {
				r := st.removed[m.Member]
				r.Cut = max(r.Cut, m.Cut)
				r.Hide = r.Hide || a.Hide
				r.Ops = append(r.Ops, id)
				st.removed[m.Member] = r
			}
		case *Leave:
			left[op.Author] = true
		case *PolicyChange:
			policies = append(policies, id)
		case *Set:
			settings[a.Setting.Name] = append(settings[a.Setting.Name], id)
		case *Close:
			st.closed = true
		}
	}
	for k, all := range grants {
		if _, removed := st.removed[k]; removed {
			continue
		}
		var best plainMember
		for i, id := range p.newest(all) {
			m := p.granted(id)
			lower := m.role < best.role || m.role == best.role && (p.rank[id].above(p.rank[best.grant]) ||
				!p.rank[best.grant].above(p.rank[id]) && id.Compare(best.grant) < 0)
			if i == 0 || lower {
				best = m
			}
		}
		if left[k] {
			st.left[k] = best
		} else {
			st.members[k] = best
		}
	}
	for _, id := range p.newest(policies) {
		var q Policy
		switch a := p.ops[id].Action.(type) {
		case *Genesis:
			q = a.Policy
		case *PolicyChange:
			q = a.Policy
		}
		st.policy.OpsVersion = max(st.policy.OpsVersion, q.OpsVersion)
		st.policy.Reach = max(st.policy.Reach, q.Reach)
		for i := range q.Levels {
			st.policy.Levels[i] = max(st.policy.Levels[i], q.Levels[i])
		}
	}
	for name, all := range settings {
		var best ID
		for i, id := range p.newest(all) {
			if i == 0 || p.rank[id].above(p.rank[best]) || !p.rank[best].above(p.rank[id]) && id.Compare(best) > 0 {
				best = id
			}
		}
		if value := p.ops[best].sets(name); len(value) > 0 {
			st.settings[name] = string(value) + " by " + best.Text()
		}
	}
	return st
}

func (p *plain) granted(id ID) plainMember {
	op := p.ops[id]
	role := Owner
	path := []plainStep(nil)
	switch a := op.Action.(type) {
	case *Add:
		role, path = a.Role, append(slices.Clone(p.rank[id].path), plainStep{op.Seq, id})
	case *RoleChange:
		role, path = a.Role, append(slices.Clone(p.rank[id].path), plainStep{op.Seq, id})
	}
	return plainMember{role: role, rank: plainRank{role, path}, grant: id}
}

// String lists the whole state, for comparison.
func (st *plainState) String() string {
	var lines []string
	for k, m := range st.members {
		lines = append(lines, fmt.Sprintf("member %s %v %s %s", k.Text(), m.role, m.grant.Text(), m.rank))
	}
	for k, m := range st.left {
		lines = append(lines, fmt.Sprintf("left %s %v %s %s", k.Text(), m.role, m.grant.Text(), m.rank))
	}
	for k, r := range st.removed {
		lines = append(lines, removedLine(k, r))
	}
	for name, value := range st.settings {
		lines = append(lines, fmt.Sprintf("setting %q %q", name, value))
	}
	for id := range st.void {
		lines = append(lines, "void "+id.Text())
	}
	lines = append(lines, fmt.Sprintf("policy %v closed %v", st.policy, st.closed))
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (r plainRank) String() string {
	var b strings.Builder
	for _, step := range r.path {
		fmt.Fprintf(&b, "/%d %s", step.seq, step.id.Text())
	}
	return b.String()
}

func removedLine(k Key, r Removed) string {
	line := fmt.Sprintf("removed %s cut %d hide %v by", k.Text(), r.Cut, r.Hide)
	for _, id := range r.Ops {
		line += " " + id.Text()
	}
	return line
}

// listed is plainState.String for the state of a Log.
func listed(s *State) string {
	var lines []string
	member := func(kind string, m Member) {
		var path string
		for p := m.Rank.path; p != nil; p = p.up {
			path = fmt.Sprintf("/%d %s", p.seq, p.id.Text()) + path
		}
		lines = append(lines, fmt.Sprintf("%s %s %v %s %s", kind, m.Key.Text(), m.Role, m.Grant.Text(), path))
	}
	for _, m := range s.Members() {
		member("member", m)
	}
	for _, m := range s.AllLeft() {
		member("left", m)
	}
	for k, r := range s.Cuts() {
		lines = append(lines, removedLine(k, r))
	}
	for _, name := range s.Settings() {
		value, by, _ := s.Setting(name)
		lines = append(lines, fmt.Sprintf("setting %q %q", name, string(value)+" by "+by.Text()))
	}
	for _, id := range s.Voids() {
		lines = append(lines, "void "+id.Text())
	}
	lines = append(lines, fmt.Sprintf("policy %v closed %v", s.Policy(), s.Closed()))
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
