package oplog

import (
	"bytes"

	"github.com/coterie-im/coterie/internal/wire"
)

// Limits of docs/groups.md, "Operations" and "Limits".
const (
	MaxBody       = 8 << 10 // bytes of an operation's body
	MaxParents    = 16      // parents of one operation, and heads that a frame lists
	MaxTargets    = 16      // members that one removal names
	MaxName       = 64      // bytes of a setting's name, at least 1
	MaxValue      = 4096    // bytes of a setting's value
	MaxMembers    = 1000    // present members beyond which no add is admitted
	MaxOps        = 20_000  // operations from which on nothing more is written here (Log.Next)
	MaxParallel   = 8       // parallel operations of one author that are taken from the author itself
	MaxLate       = 256     // operations beside the end of their author's presence that are taken from the author itself
	MaxWaiting    = 1000    // operations waiting for parents
	MaxWaitingOf  = 100     // of these, operations handed over by one member
	MaxUnjudged   = 4000    // operations kept that cannot be judged, as long as their bytes are not too many
	MaxUnjudgedOf = 1000    // of these, operations of one author; those of authors who are not known count as of one
	unjudgedBytes = 4 << 20 // of all of these together, and a quarter of it per author
	SecondsOfHour = 3600    // operation times are multiples of it
)

// Role is what a member may do; higher roles include lower ones.
type Role uint8

// The roles.
const (
	Observer Role = iota
	Plain         // an ordinary member
	Moderator
	Admin
	Owner
)

var roleNames = [...]string{"observer", "member", "moderator", "admin", "owner"}

// String returns the name that docs/groups.md uses.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return "no role"
}

// ParseRole is the inverse of Role.String.
func ParseRole(name string) (Role, bool) {
	for r, n := range roleNames {
		if n == name {
			return Role(r), true
		}
	}
	return 0, false
}

// Permission is an index into the levels of a Policy.
type Permission uint8

// The permissions.
const (
	PermAdd    Permission = iota
	PermRemove            // remove members
	PermInfo              // set title, about, avatar
	PermPins              // set pin/…
	PermTimer             // set timer
	PermOther             // set anything else
	PermRole
	PermPolicy
	PermClose
	PermSend   // write messages
	PermDirect // ask members for direct connections
	PermHide   // hide a removed member's messages
	permissions
)

// Nobody is the level that no role reaches.
const Nobody Role = 5

// Reach says on whom removals and role changes may be used.
type Reach uint8

// The reaches.
const (
	OnAnybody      Reach = iota // whatever role the target has
	OnLower                     // only strictly lower roles
	OnLowerOrEqual              // only lower or equal roles
)

// Policy says which role which permission takes. It is comparable with ==.
type Policy struct {
	OpsVersion uint16 // the highest operation version that the group accepts, at least 1
	Reach      Reach
	Levels     [permissions]Role // least role per permission, Observer … Nobody
}

// Symmetric is the default policy: every member but observers may do everything to anybody.
func Symmetric() Policy {
	p := Policy{OpsVersion: opVersion, Reach: OnAnybody}
	for i := range p.Levels {
		p.Levels[i] = Plain
	}
	return p
}

// Moderated is the policy of groups with a hierarchy.
func Moderated() Policy {
	return Policy{OpsVersion: opVersion, Reach: OnLower, Levels: [permissions]Role{
		PermAdd: Admin, PermRemove: Moderator, PermInfo: Admin, PermPins: Moderator, PermTimer: Admin, PermOther: Owner,
		PermRole: Admin, PermPolicy: Owner, PermClose: Owner, PermSend: Plain, PermDirect: Plain, PermHide: Moderator,
	}}
}

// Grants tells whether the role has the permission by the levels alone. State.Has also knows who stands in for a missing
// owner.
func (p Policy) Grants(r Role, what Permission) bool { return r >= p.Levels[what] }

// AppendPolicy appends the 16 bytes of a policy: u16 opsVersion · u8 reach · u8 12 · 12 × u8 level.
func AppendPolicy(dst []byte, p Policy) []byte {
	dst = append(wire.AppendU16(dst, p.OpsVersion), byte(p.Reach), byte(permissions))
	for _, level := range p.Levels {
		dst = append(dst, byte(level))
	}
	return dst
}

// ReadPolicy reads what AppendPolicy writes; other counts, reaches and levels, and version 0, are errors of r.
func ReadPolicy(r *wire.Reader) Policy {
	p := Policy{OpsVersion: r.U16(), Reach: Reach(r.U8())}
	n := r.U8()
	for i := range p.Levels {
		p.Levels[i] = Role(r.U8())
	}
	if r.Err() == nil && !p.valid() || n != byte(permissions) {
		r.Fail("policy out of range")
	}
	return p
}

func (p Policy) valid() bool {
	ok := p.OpsVersion > 0 && p.Reach <= OnLowerOrEqual
	for _, level := range p.Levels {
		ok = ok && level <= Nobody
	}
	return ok
}

// Action is what an operation does: one of Genesis, Add, Remove, Leave, RoleChange, PolicyChange, Set, Close.
type Action interface {
	code() uint8
	append(dst []byte) []byte
	// check reports why the values do not fit the format, or nil.
	check() error
}

// Setting is a named value of a group. Names: title, about, avatar, timer, history, fork-of, pin/…, address/… and any
// others that clients agree on.
type Setting struct {
	Name  string // 1…64 bytes
	Value []byte // at most 4,096 bytes; empty means unset
}

// Genesis (code 1) makes a group; its author is the first member and owner.
// random 32 · policy · list8(str8 name · str16 value)
type Genesis struct {
	Random   [32]byte // makes the group ID unique
	Policy   Policy
	Settings []Setting // ascending by name, no name twice
}

// Add (code 2) brings in a member. key · u8 role · cardHash 32
type Add struct {
	Member   Key
	Role     Role     // at most the author's
	CardHash [32]byte // H("coterie/card/1", card)
}

// Removal names one member that a Remove takes out.
type Removal struct {
	Member Key
	Cut    uint64 // 1 + the highest message number of that member the remover holds, 0 if none
}

// Remove (code 3) takes members out for ever. list8(key · u64 cut), 1…16, ascending by key · u8 flags (1 = hide)
type Remove struct {
	Members []Removal // 1…16, ascending by key, none twice
	Hide    bool      // hide their messages
}

// Leave (code 4) ends the author's own presence and voids nothing. No content.
type Leave struct{}

// RoleChange (code 5) grants a role. key · u8 role
type RoleChange struct {
	Member Key
	Role   Role
}

// PolicyChange (code 6) replaces the policy. policy
type PolicyChange struct{ Policy Policy }

// Set (code 7) gives a setting a value; an empty value unsets it. str8 name · str16 value
type Set struct{ Setting Setting }

// Close (code 8) ends the group. No content.
type Close struct{}

func (*Genesis) code() uint8      { return 1 }
func (*Add) code() uint8          { return 2 }
func (*Remove) code() uint8       { return 3 }
func (*Leave) code() uint8        { return 4 }
func (*RoleChange) code() uint8   { return 5 }
func (*PolicyChange) code() uint8 { return 6 }
func (*Set) code() uint8          { return 7 }
func (*Close) code() uint8        { return 8 }

func (a *Genesis) append(dst []byte) []byte {
	dst = AppendPolicy(append(dst, a.Random[:]...), a.Policy)
	dst = append(dst, byte(len(a.Settings)))
	for _, s := range a.Settings {
		dst = s.append(dst)
	}
	return dst
}

func (s Setting) append(dst []byte) []byte {
	return wire.AppendStr16(wire.AppendStr8(dst, []byte(s.Name)), s.Value)
}

func (a *Add) append(dst []byte) []byte {
	return append(append(append(dst, a.Member[:]...), byte(a.Role)), a.CardHash[:]...)
}

func (a *Remove) append(dst []byte) []byte {
	dst = append(dst, byte(len(a.Members)))
	for _, m := range a.Members {
		dst = wire.AppendU64(append(dst, m.Member[:]...), m.Cut)
	}
	if a.Hide {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func (*Leave) append(dst []byte) []byte { return dst }

func (a *RoleChange) append(dst []byte) []byte {
	return append(append(dst, a.Member[:]...), byte(a.Role))
}

func (a *PolicyChange) append(dst []byte) []byte { return AppendPolicy(dst, a.Policy) }

func (a *Set) append(dst []byte) []byte { return a.Setting.append(dst) }

func (*Close) append(dst []byte) []byte { return dst }

func (a *Genesis) check() error {
	if !a.Policy.valid() || len(a.Settings) > 255 {
		return ErrForm
	}
	for i, s := range a.Settings {
		if s.check() != nil || i > 0 && a.Settings[i-1].Name >= s.Name {
			return ErrForm
		}
	}
	return nil
}

func (s Setting) check() error {
	if len(s.Name) == 0 || len(s.Name) > MaxName || len(s.Value) > MaxValue {
		return ErrForm
	}
	return nil
}

func (a *Add) check() error {
	if a.Role > Owner || SmallOrder(a.Member) {
		return ErrForm
	}
	return nil
}

func (a *Remove) check() error {
	if len(a.Members) == 0 || len(a.Members) > MaxTargets {
		return ErrForm
	}
	for i := 1; i < len(a.Members); i++ {
		if bytes.Compare(a.Members[i-1].Member[:], a.Members[i].Member[:]) >= 0 {
			return ErrForm
		}
	}
	return nil
}

func (*Leave) check() error { return nil }

func (a *RoleChange) check() error {
	if a.Role > Owner {
		return ErrForm
	}
	return nil
}

func (a *PolicyChange) check() error {
	if !a.Policy.valid() {
		return ErrForm
	}
	return nil
}

func (a *Set) check() error { return a.Setting.check() }

func (*Close) check() error { return nil }

// readAction reads the content of an action; it takes no more bytes than belong to it.
func readAction(code uint8, r *wire.Reader) Action {
	switch code {
	case 1:
		a := &Genesis{}
		r.Copy(a.Random[:])
		a.Policy = ReadPolicy(r)
		for n := r.U8(); n > 0 && r.Err() == nil; n-- {
			a.Settings = append(a.Settings, readSetting(r))
		}
		return a
	case 2:
		a := &Add{}
		r.Copy(a.Member[:])
		a.Role = Role(r.U8())
		r.Copy(a.CardHash[:])
		return a
	case 3:
		a := &Remove{}
		for n := r.U8(); n > 0 && r.Err() == nil; n-- {
			var m Removal
			r.Copy(m.Member[:])
			m.Cut = r.U64()
			a.Members = append(a.Members, m)
		}
		switch r.U8() {
		case 0:
		case 1:
			a.Hide = true
		default:
			r.Fail("unknown flags of a removal")
		}
		return a
	case 4:
		return &Leave{}
	case 5:
		a := &RoleChange{}
		r.Copy(a.Member[:])
		a.Role = Role(r.U8())
		return a
	case 6:
		return &PolicyChange{Policy: ReadPolicy(r)}
	case 7:
		return &Set{Setting: readSetting(r)}
	case 8:
		return &Close{}
	}
	r.Fail("unknown action")
	return nil
}

func readSetting(r *wire.Reader) Setting {
	name, value := r.Str8(), r.Str16()
	return Setting{Name: string(name), Value: bytes.Clone(value)}
}
