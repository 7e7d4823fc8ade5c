package oplog

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/coterie-im/coterie/internal/kv"
)

// Status is what Log.Add did with an operation.
type Status uint8

// The statuses.
const (
	Admitted     Status = iota + 1 // new, now part of the log and stored
	AlreadyKnown                   // in the log before; a second signature of a known body is ignored
	Waiting                        // some ancestors are unknown: Result.Missing
	Refused                        // Result.Reason
	Unjudged                       // of a later version, or after one that is: kept and stored, without any effect
)

// Reason says why an operation is refused, or may not be written. It is an error, so that Log.Next returns it.
type Reason uint8

// The reasons. All but ReasonSignature, ReasonParallel, ReasonFull, ReasonUpgrade and ReasonUnjudged are final: they depend on the operation and its past
// alone. A1 … A4 are those of docs/groups.md, "Admission".
const (
	ReasonNone       Reason = iota
	ReasonForm              // A1: a second genesis; other forms are refused by ReadSigned already
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
	ReasonVersion           // A1: of a later version than the policy of its past accepts
	ReasonUnjudged          // too many operations that cannot be judged here are kept already
)

var reasons = [...]string{
	ReasonNone:       "no reason",
	ReasonForm:       "malformed operation",
	ReasonGroup:      "operation of another group",
	ReasonSignature:  "operation with a wrong signature",
	ReasonParents:    "operation with a parent that is refused or implied",
	ReasonSeq:        "operation out of its author's sequence",
	ReasonClosed:     "the group is closed",
	ReasonAuthor:     "not a present member",
	ReasonPermission: "no permission",
	ReasonTarget:     "not allowed on this member",
	ReasonAdded:      "added before",
	ReasonMembers:    "the group has 1,000 members",
	ReasonParallel:   "too many parallel operations of one member",
	ReasonFull:       "the group has 20,000 operations",
	ReasonUpgrade:    "the group needs a newer program",
	ReasonVersion:    "of a version that the group does not accept",
	ReasonUnjudged:   "too many operations of later versions",
}

// Error returns the reason in words.
func (r Reason) Error() string {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return "unknown reason"
}

// Equivocation is two operations of one author of which neither is in the other's past. Both stay admitted and nothing
// follows from it by itself: it is for the client, and also happens after a restore.
type Equivocation struct {
	Author Key
	Ops    [2]ID // in the order of admission
}

// Refusal is an operation that is refused.
type Refusal struct {
	Op     ID
	Author Key
	Reason Reason
}

// Result is the outcome of Log.Add. Admitted, Refused and Equivocations also tell of the operations that had waited for
// this one.
type Result struct {
	Status        Status
	Reason        Reason         // why Refused
	Missing       []ID           // the unknown parents of a Waiting operation: to be asked for
	Admitted      []*Op          // in the order of admission
	Unjudged      []*Op          // new ones that cannot be judged, ancestors first
	Refused       []Refusal      // among those that waited
	Equivocations []Equivocation // at most one per admitted operation
}

// Counters are numbers about a Log since it was made or loaded.
type Counters struct {
	Admitted, Refused, Waited uint64
	Dropped                   uint64 // from a full waiting area, to be asked for again
	Crowded                   uint64 // of these, because of what the member who handed them over had handed over before
	Unjudged                  uint64 // kept without being judged
}

// Log holds the admitted operations of one group and decides about new ones. Whoever owns the group owns it and all
// States it returned: nothing here may be used by two goroutines at once.
//
// Operations are known by their index of admission inside. What an operation's past fixes for ever is in its node; the
// state of everything is kept current step by step, and those of branches are made from it and cached.
type Log struct {
	prefix  []byte // of the records' keys
	nodes   []*node
	byID    map[ID]int32
	heads   []int32 // in no other's past, ascending
	index   index
	byRank  []int32 // from the highest rank down; the order among equal ranks means nothing
	attacks int     // how many attackers all nodes have together
	state   *State  // of everything
	cache   cache
	waiting waitingArea
	kept    keptArea
	known   uint16 // the highest version that is judged
	count   Counters
}

// New makes the log of a group from its genesis, which is verified here (ErrForm, ErrSignature, and ErrVersion if it is
// of a later version), and stores it below
// prefix. A nil tx, here and in Add, stores nothing.
func New(tx kv.Tx, prefix []byte, genesis *Op, options ...Option) (*Log, error) {
	if genesis.Action == nil {
		return nil, ErrVersion
	}
	if !genesis.isGenesis() {
		return nil, ErrForm
	}
	if err := genesis.Verify(); err != nil {
		return nil, err
	}
	l := start(prefix, genesis)
	for _, set := range options {
		set(l)
	}
	l.store(tx, 0)
	return l, nil
}

func start(prefix []byte, genesis *Op) *Log {
	l := &Log{prefix: slices.Clone(prefix), byID: map[ID]int32{}, index: newIndex(), waiting: newWaitingArea()}
	l.kept, l.known = newKeptArea(), opVersion
	l.state = &State{l: l}
	l.insert(&node{op: genesis, rank: Rank{role: Owner}, policy: genesis.Action.(*Genesis).Policy, grants: Rank{role: Owner}})
	l.state.move(whole(1), marks{}, 0)
	return l
}

// Add decides about an operation that member from handed over; for what comes from its author, and for own operations,
// from is the author. What it admits, or keeps without judging it, is stored through tx before it returns.
func (l *Log) Add(tx kv.Tx, op *Op, from Key) Result {
	var res Result
	if i, ok := l.kept.byID[op.id]; ok {
		if from != op.Author {
			l.vouch(tx, i)
		}
		res.Status = Unjudged
		return res
	}
	l.add(tx, op, from, &res)
	return res
}

func (l *Log) add(tx kv.Tx, op *Op, from Key, res *Result) {
	if op.version > opVersion {
		whole, err := op.read(l.known)
		if err != nil {
			res.Status, res.Reason = l.refuse(op.id, ReasonForm)
			l.refuseWaiting(op.id, res)
			return
		}
		op = whole
	}
	switch res.Status, res.Reason = l.receive(op, from); {
	case res.Status == Admitted || res.Status == Unjudged:
		l.release(tx, op, res)
	case res.Status == Waiting:
		res.Missing = l.unknownParents(op)
	case res.Reason.final():
		l.refuseWaiting(op.id, res)
	case res.Reason == ReasonUnjudged:
		l.forgoWaiting(op.id, res)
	}
}

// Group returns the group's ID, which is that of its genesis.
func (l *Log) Group() ID { return l.nodes[0].op.id }

// Creator returns the key of who made the group.
func (l *Log) Creator() Key { return l.nodes[0].op.Author }

// Counters returns the log's counters.
func (l *Log) Counters() Counters { return l.count }

// Format implements fmt.Formatter: every verb prints "[log]".
func (*Log) Format(f fmt.State, _ rune) { io.WriteString(f, "[log]") }

// ErrStore reports records that are not what Log wrote.
var ErrStore = errors.New("damaged records of operations")
