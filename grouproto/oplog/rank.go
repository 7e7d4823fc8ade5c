package oplog

import "cmp"

// Rank orders members and their operations (docs/groups.md, "Rank"): by role, then by the path of grants from the
// genesis down. Two members never have the same rank. It is immutable and comparable with ==.
type Rank struct {
	role Role
	path *path
}

// path is the list of the (seq, ID) of grants from the genesis, which has none, down to a member's current grant. Paths
// form a tree with one node per grant, so paths are the same if and only if the pointers are.
type path struct {
	up    *path // without the last element; nil is the empty path
	depth int
	seq   uint64
	id    ID
}

// below returns the rank that a grant of the role gives, made by an author of rank r as its operation seq, id.
func (r Rank) below(role Role, seq uint64, id ID) Rank {
	return Rank{role: role, path: &path{up: r.path, depth: r.path.len() + 1, seq: seq, id: id}}
}

func (p *path) len() int {
	if p == nil {
		return 0
	}
	return p.depth
}

// Compare returns +1 if r is the higher rank, -1 if it is the lower one, 0 if they are the same. The higher role is
// higher, then the shorter path, then the smaller path element by element.
func (r Rank) Compare(other Rank) int {
	if c := cmp.Compare(r.role, other.role); c != 0 {
		return c
	}
	a, b := r.path, other.path
	if c := cmp.Compare(b.len(), a.len()); c != 0 || a == b {
		return c
	}
	for a.up != b.up { // the first different element decides
		a, b = a.up, b.up
	}
	if c := cmp.Compare(b.seq, a.seq); c != 0 {
		return c
	}
	return b.id.Compare(a.id)
}

func (r Rank) higher(other Rank) bool { return r.Compare(other) > 0 }
