package oplog

import (
	"errors"

	"github.com/coterie-im/coterie/internal/kv"
)

// Status is what Log.Add did with an operation.
type Status uint8

// The statuses.
const (
	Admitted     Status = iota + 1 // new, now part of the log and stored
	AlreadyKnown                   // in the log or waiting before
	Waiting                        // some ancestors are unknown: Result.Missing
	Refused                        // Result.Reason
)

// Reason says why an operation is refused, or may not be written. It is an error, so that Log.Next returns it.
type Reason uint8

// The reasons. All but ReasonParallel and ReasonFull are final: they depend on the operation and its past alone.
const (
	ReasonNone       Reason = iota
	ReasonForm              // A1: not well-formed, or of a version above the policy's opsVersion
	ReasonGroup             // A1: of another group
	ReasonSignature         // A1: signature wrong, or a key of small order
	ReasonParents           // A1: a parent was refused, or is an ancestor of another parent
	ReasonSeq               // A2: not 1 + the author's largest
	ReasonClosed            // A3: the group is closed
	ReasonAuthor            // A3: the author is not present
	ReasonPermission        // A3: the author lacks the permission
	ReasonTarget            // A3: role or reach does not allow it on this member, or no such member
	ReasonAdded             // A4: the key was added before or made the group
	ReasonMembers           // A4: 1,000 members present
	ReasonParallel          // more than 8 parallel operations of an author, handed over by the author itself
	ReasonFull              // 20,000 operations: nothing more is written here
	ReasonUpgrade           // the group accepts operations that this program does not know: nothing is written here
)

// Equivocation is two operations of one author of which neither is in the other's past. Both stay admitted.
type Equivocation struct {
	Author Key
	Ops    [2]ID // in the order of admission
}

// Result is the outcome of Log.Add.
type Result struct {
	Status        Status
	Reason        Reason         // why Refused
	Missing       []ID           // what a Waiting operation waits for: to be asked for
	Admitted      []*Op          // admitted by this call, in order: the operation itself and those that waited for it
	Equivocations []Equivocation // found by this call, at most one per admitted operation
}

// Counters are numbers about a Log since it was made or loaded.
type Counters struct {
	Admitted, Refused, Waited, Dropped uint64 // Dropped: out of the full waiting area, to be asked for again
}

// ErrStore reports records that are not what Log wrote.
var ErrStore = errors.New("oplog: damaged records")

// Error returns the reason in words.
func (r Reason) Error() string { panic("not yet") }

// Log holds the admitted operations of one group.
type Log struct{}

// New makes the log of a group from its genesis (verified here: ErrForm, ErrSignature) and stores it below prefix.
func New(tx kv.Tx, prefix []byte, genesis *Op) (*Log, error) { panic("not yet") }

// Load reads a log that New and Add stored below prefix. Nothing is judged or verified again: admission is once for
// ever. ErrStore if there is none or the records are damaged.
func Load(tx kv.Tx, prefix []byte) (*Log, error) { panic("not yet") }

// Add decides about an operation that member from handed over (from is the author itself for what came from the author
// and for own operations). What it admits is stored through tx before it returns.
func (l *Log) Add(tx kv.Tx, op *Op, from Key) Result { panic("not yet") }

// Group returns the group's ID.
func (l *Log) Group() ID { panic("not yet") }

// Len returns the number of admitted operations.
func (l *Log) Len() int { panic("not yet") }

// Op returns an admitted operation, nil if there is none with this ID.
func (l *Log) Op(id ID) *Op { panic("not yet") }

// At returns the i-th admitted operation, 0 ≤ i < Len; ancestors always come first.
func (l *Log) At(i int) *Op { panic("not yet") }

// Heads returns the heads for a frame: the 16 highest IDs of those that are in no other's past, ascending.
func (l *Log) Heads() []ID { panic("not yet") }

// Unknown returns those of ids that are not admitted, e.g. of the heads in a frame. Those that wait are left out, but
// what they wait for is in Missing.
func (l *Log) Unknown(ids []ID) []ID { panic("not yet") }

// Missing returns what should be asked for: unknown parents of waiting operations and operations that were dropped from
// the full waiting area.
func (l *Log) Missing() []ID { panic("not yet") }

// InPast tells whether a is a proper ancestor of b; both must be admitted.
func (l *Log) InPast(a, b ID) bool { panic("not yet") }

// Ancestors returns all proper ancestors of the given operations that are not given heads or ancestors of these,
// ancestors first. IDs that are not admitted are ignored. It is what somebody with heads lacks to take ids.
func (l *Log) Lacking(ids, heads []ID) []*Op { panic("not yet") }

// After returns all operations that somebody with these heads lacks, ancestors first. Unknown heads are ignored.
func (l *Log) After(heads []ID) []*Op { panic("not yet") }

// State returns the state of all admitted operations.
func (l *Log) State() *State { panic("not yet") }

// StateAt returns the state of the given heads and their past; ok is false if one is not admitted.
func (l *Log) StateAt(heads []ID) (s *State, ok bool) { panic("not yet") }

// Void tells whether an admitted operation is void in the state of all.
func (l *Log) Void(id ID) bool { panic("not yet") }

// Counters returns the log's counters.
func (l *Log) Counters() Counters { panic("not yet") }

// Next returns the body of the author's next operation, for Sign and Add. now is in seconds since 1970. A Reason if the
// author may not do this now.
func (l *Log) Next(author Key, action Action, now int64) (Body, error) { panic("not yet") }

// Errors of Log.Contest.
var (
	// ErrWroteSince: the author has written after the removal, and an operation must follow one's own last one.
	ErrWroteSince = errors.New("written since the removal")
	// ErrNotSenior: the remover has the higher rank, so a contest would have no effect.
	ErrNotSenior = errors.New("the remover has the higher rank")
	// ErrNoRemoval: not an admitted removal by another member.
	ErrNoRemoval = errors.New("not a removal by somebody else")
)

// Contest returns the body of a removal of the authors of the given removals, with parents from before these, so that
// they become void if the contesting author has the higher rank. cut gives 1 + the highest message number held of a
// member. Errors: ErrNoRemoval, ErrWroteSince, ErrNotSenior, or a Reason as for Next.
func (l *Log) Contest(author Key, removals []ID, cut func(Key) uint64, hide bool, now int64) (Body, error) {
	panic("not yet")
}
