package oplog

import (
	"errors"
	"slices"
)

// Errors of Log.Contest.
var (
	// ErrWroteSince: the author has written after the removal, and an operation must follow one's own last one.
	ErrWroteSince = errors.New("written since the removal")
	// ErrNotSenior: a remover has the higher rank, so a contest would have no effect.
	ErrNotSenior = errors.New("the remover has the higher rank")
	// ErrNoRemoval: not an admitted removal by another member.
	ErrNoRemoval = errors.New("not a removal by somebody else")
)

// Next returns the body of the author's next operation, for Sign and Add: on top of everything known, or of as much as
// 16 parents imply. now is in seconds since 1970. The error is a Reason if the author may not do this now, ErrForm if
// the action does not fit its format.
func (l *Log) Next(author Key, action Action, now int64) (Body, error) {
	return l.draft(author, action, l.heads, now)
}

// draft makes a body with parents among heads, of which none implies another.
func (l *Log) draft(author Key, action Action, heads []int32, now int64) (Body, error) {
	if len(l.nodes) >= MaxOps && !always(action) {
		return Body{}, ReasonFull
	}
	if p, ok := action.(*PolicyChange); l.Outdated() || ok && p.Policy.OpsVersion > l.known {
		return Body{}, ReasonUpgrade // the latter could not be taken back by anybody here
	}
	parents := l.parents(author, heads)
	past := l.closure(parents)
	b := Body{
		Group:   l.Group(),
		Author:  author,
		Seq:     l.nextSeq(author, past),
		Parents: l.ids(parents),
		Time:    wholeHour(now),
		Action:  action,
	}
	sortIDs(b.Parents)
	if _, err := b.Encode(); err != nil {
		return Body{}, err
	}
	if r := l.stateOf(past, parents).Allows(author, action); r != ReasonNone {
		return Body{}, r
	}
	return b, nil
}

// always tells whether an operation may be written in a full log as well: what ends a membership, or the group. Else one
// member could fill the log, and nobody could remove it any more.
func always(action Action) bool {
	switch action.(type) {
	case *Remove, *Leave, *Close:
		return true
	default:
		return false
	}
}

// wholeHour rounds down, so that operations do not tell when exactly their author was active.
func wholeHour(seconds int64) int64 {
	r := seconds % SecondsOfHour
	if r < 0 {
		r += SecondsOfHour
	}
	return seconds - r
}

// parents chooses among heads, of which none implies another: all, or if there are too many the highest IDs, after
// those that imply the author's own last operations.
func (l *Log) parents(author Key, heads []int32) []int32 {
	if len(heads) <= MaxParents {
		return heads
	}
	descending := slices.Clone(heads)
	slices.SortFunc(descending, func(a, b int32) int { return l.nodes[b].op.id.Compare(l.nodes[a].op.id) })
	known := l.closure(heads)
	var chosen []int32
	view{l, known.has}.newest(l.index.authors[author], func(own int32) {
		implies := func(h int32) bool { return h == own || l.nodes[h].past.has(own) }
		if len(chosen) < MaxParents && !slices.ContainsFunc(chosen, implies) {
			chosen = append(chosen, descending[slices.IndexFunc(descending, implies)])
		}
	})
	for _, h := range descending {
		if len(chosen) < MaxParents && !slices.Contains(chosen, h) {
			chosen = append(chosen, h)
		}
	}
	return chosen
}

// Contestable tells whether a member can make the given removals void; the error is that of Contest.
func (l *Log) Contestable(author Key, removals []ID) error {
	_, err := l.Contest(author, removals, func(Key) uint64 { return 0 }, false, 0)
	return err
}

// Contest returns the body of a removal of the authors of the given removals with parents from before these, which
// thereby become void (docs/groups.md, "What it gives"). A member that is not named by them may do it as well. cut
// returns 1 + the highest message number that is held of a member. Errors: ErrNoRemoval, ErrWroteSince, ErrNotSenior, and those of Next.
func (l *Log) Contest(author Key, removals []ID, cut func(Key) uint64, hide bool, now int64) (Body, error) {
	at, err := l.removalsBy(author, removals)
	if err != nil {
		return Body{}, err
	}
	heads, err := l.before(author, at)
	if err != nil {
		return Body{}, err
	}
	action := &Remove{Hide: hide}
	for _, i := range at {
		if k := l.nodes[i].op.Author; !action.names(k) {
			action.Members = append(action.Members, Removal{Member: k, Cut: cut(k)})
		}
	}
	slices.SortFunc(action.Members, func(a, b Removal) int { return a.Member.Compare(b.Member) })
	return l.draft(author, action, heads, now)
}

func (l *Log) removalsBy(author Key, removals []ID) ([]int32, error) {
	at := l.indexes(removals)
	if len(at) == 0 || len(at) < len(removals) {
		return nil, ErrNoRemoval
	}
	for _, i := range at {
		op := l.nodes[i].op
		if _, ok := op.Action.(*Remove); !ok || op.Author == author {
			return nil, ErrNoRemoval
		}
	}
	return at, nil
}

// before returns the heads of everything that is neither one of the removals nor after one, if an operation of the
// author there would have the higher rank.
func (l *Log) before(author Key, removals []int32) ([]int32, error) {
	after := func(i int32) bool {
		return slices.ContainsFunc(removals, func(r int32) bool { return i == r || l.nodes[i].past.has(r) })
	}
	if slices.ContainsFunc(l.index.authors[author], after) {
		return nil, ErrWroteSince
	}
	var set []int32
	for i := range l.nodes {
		if !after(int32(i)) {
			set = append(set, int32(i))
		}
	}
	heads := l.unimplied(set)
	member, present := l.stateOf(l.closure(heads), heads).members[author]
	for _, r := range removals {
		if present && !member.Rank.higher(l.nodes[r].rank) {
			return nil, ErrNotSenior
		}
	}
	return heads, nil
}
