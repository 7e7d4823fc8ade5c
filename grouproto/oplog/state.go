package oplog

// Rank orders members and their operations (docs/groups.md, "Rank"). It is immutable.
type Rank struct{}

// Compare returns +1 if r is the higher rank, -1 if it is the lower one, 0 if they are the same.
func (r Rank) Compare(other Rank) int { panic("not yet") }

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

// State is what a set of operations means. It does not change; later operations make other States.
type State struct{}

// Len returns the number of present members.
func (s *State) Len() int { panic("not yet") }

// Member returns a present member.
func (s *State) Member(k Key) (Member, bool) { panic("not yet") }

// Members returns the present members, ascending by key.
func (s *State) Members() []Member { panic("not yet") }

// Left returns a member that has left and was not removed.
func (s *State) Left(k Key) (Member, bool) { panic("not yet") }

// Removed returns what the removals in force say about a member.
func (s *State) Removed(k Key) (Removed, bool) { panic("not yet") }

// Cuts returns all members that removals in force name.
func (s *State) Cuts() map[Key]Removed { panic("not yet") }

// Policy returns the policy in force.
func (s *State) Policy() Policy { panic("not yet") }

// Closed tells whether the group is closed.
func (s *State) Closed() bool { panic("not yet") }

// Setting returns the value of a setting and the operation that set it; ok is false if it is not set.
func (s *State) Setting(name string) (value []byte, by ID, ok bool) { panic("not yet") }

// Settings returns the names of all settings that have a value, ascending.
func (s *State) Settings() []string { panic("not yet") }

// Has tells whether a present member has a permission, by the policy or because it stands in for a missing owner.
func (s *State) Has(k Key, what Permission) bool { panic("not yet") }

// Allows tells whether a present member may do this now; ReasonNone if so.
func (s *State) Allows(author Key, a Action) Reason { panic("not yet") }
