package oplog

import "strings"

// facts is what the rules about a single operation ask of a state.
type facts interface {
	present(Key) (Role, bool)
	rules() Policy
	isClosed() bool
	// standsIn tells whether a present member has owner's permissions because no present member is an owner and nobody
	// present has a higher rank.
	standsIn(Key) bool
}

// needs returns the permissions that an action takes.
func needs(author Key, a Action) []Permission {
	switch a := a.(type) {
	case *Add:
		return []Permission{PermAdd}
	case *Remove:
		if a.Hide {
			return []Permission{PermRemove, PermHide}
		}
		return []Permission{PermRemove}
	case *RoleChange:
		if a.Member == author {
			return nil // lowering oneself is always allowed, and nothing else is
		}
		return []Permission{PermRole}
	case *PolicyChange:
		return []Permission{PermPolicy}
	case *Set:
		return []Permission{permissionOf(a.Setting.Name)}
	case *Close:
		return []Permission{PermClose}
	}
	return nil
}

// permissionOf returns the permission that setting a name takes.
func permissionOf(name string) Permission {
	switch {
	case name == "title" || name == "about" || name == "avatar":
		return PermInfo
	case strings.HasPrefix(name, "pin/"):
		return PermPins
	case name == "timer":
		return PermTimer
	}
	return PermOther
}

// granted tells whether the policy grants all that an action takes to a role.
func (p Policy) granted(role Role, author Key, a Action) bool {
	for _, what := range needs(author, a) {
		if !p.Grants(role, what) {
			return false
		}
	}
	return true
}

// within tells whether the reach lets a member of role own act on one of role target.
func (r Reach) within(own, target Role) bool {
	switch r {
	case OnLower:
		return target < own
	case OnLowerOrEqual:
		return target <= own
	}
	return true
}

// judge is A3: whether the author may do this in a state. left finds the last role of members that have left. It is nil
// when an operation is judged again (V2): then a target that is not present is no failure. Closed counts in both cases:
// after the end of a group nothing holds.
func judge(f facts, left func(Key) (Role, bool), author Key, a Action) Reason {
	again := left == nil
	if f.isClosed() {
		return ReasonClosed
	}
	own, ok := f.present(author)
	if !ok {
		return ReasonAuthor
	}
	policy := f.rules()
	if !policy.granted(own, author, a) && !(policy.granted(Owner, author, a) && f.standsIn(author)) {
		return ReasonPermission
	}
	switch a := a.(type) {
	case *Genesis:
		return ReasonForm
	case *Add:
		if a.Role > own {
			return ReasonTarget
		}
	case *Remove:
		for _, m := range a.Members {
			role, known := f.present(m.Member)
			if !known && !again {
				role, known = left(m.Member)
			}
			if m.Member == author || !known && !again || known && !policy.Reach.within(own, role) {
				return ReasonTarget
			}
		}
	case *RoleChange:
		if a.Member == author {
			// Only strictly: a grant of the same role would put the author below those it brought in before.
			if a.Role >= own {
				return ReasonTarget
			}
			return ReasonNone
		}
		role, present := f.present(a.Member)
		if a.Role > own || !present && !again || present && (role > own || !policy.Reach.within(own, role)) {
			return ReasonTarget
		}
	}
	return ReasonNone
}

// attacks is V1 without its conditions about the set: whether y, if it is not void, makes x void. Both are admitted,
// neither is in the other's past, and y is hostile.
func attacks(y, x *node) bool {
	author := x.op.Author
	if y.op.Author == author || x.unvoidable() {
		return false
	}
	switch a := y.op.Action.(type) {
	case *Remove:
		if !a.names(author) {
			return false
		}
	case *RoleChange:
		if a.Member != author || x.policy.granted(a.Role, author, x.op.Action) {
			return false
		}
	case *PolicyChange:
		if a.Policy.granted(x.rank.role, author, x.op.Action) {
			return false
		}
	}
	return y.rank.higher(x.rank)
}

func (a *Remove) names(k Key) bool {
	for _, m := range a.Members {
		if m.Member == k {
			return true
		}
	}
	return false
}
