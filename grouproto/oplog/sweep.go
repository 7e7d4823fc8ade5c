package oplog

import "slices"

// Sweeps notices when one author removes many members in a short time (docs/groups.md, "What it gives"): more than
// max(2, n/4) within an hour, n being the members present before. It goes by the times of arrival that the caller
// gives, because an operation's own time is what its author says. The caller shows it removals as they are admitted, but
// not while it reads a history. The zero value is ready; nothing is stored, so a restart begins a new hour.
type Sweeps struct {
	by map[Key][]swept
}

type swept struct {
	at      int64
	removed int
	present int
}

// Observe counts an admitted operation, given how many members were present before it and the time in seconds. It
// returns true when its author goes beyond the limit, once until an hour has passed or the limit has grown.
func (s *Sweeps) Observe(op *Op, present int, now int64) bool {
	a, ok := op.Action.(*Remove)
	if !ok {
		return false
	}
	for k, list := range s.by {
		if list = slices.DeleteFunc(list, func(e swept) bool { return e.at <= now-SecondsOfHour }); len(list) == 0 {
			delete(s.by, k)
		} else {
			s.by[k] = list
		}
	}
	if s.by == nil {
		s.by = map[Key][]swept{}
	}
	before := s.over(op.Author)
	list := append(s.by[op.Author], swept{now, len(a.Members), present})
	if len(list) > MaxMembers {
		list = list[1:] // more operations than members: over the limit in any case
	}
	s.by[op.Author] = list
	return !before && s.over(op.Author)
}

func (s *Sweeps) over(author Key) bool {
	removed, present := 0, 0
	for _, e := range s.by[author] {
		removed += e.removed
		present = max(present, e.present)
	}
	return removed > max(2, present/4)
}
