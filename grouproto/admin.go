package grouproto

import (
	"fmt"
	"slices"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// leave is GLEAVE: the operation goes to everybody, connections are kept for the grace. Who waits for the log gives up.
func (s *step) leave() (Done, error) {
	if s.main.status == StatusJoining || s.main.status == StatusAsking {
		s.gone()
		return Done{}, nil
	}
	// Also while recovering: whoever wants to go may go, and a leave voids nothing.
	return s.writeNow(&oplog.Leave{})
}

// remove is GMDEL, with or without contest.
func (s *step) remove(in Remove) (Done, error) {
	if in.Contest {
		return s.contest(in.Hide)
	}
	a := &oplog.Remove{Hide: in.Hide}
	for _, k := range in.Members {
		if s.peers[k] == nil {
			return Done{}, ErrUnknown
		}
		if !slices.ContainsFunc(a.Members, func(r oplog.Removal) bool { return r.Member == k }) {
			a.Members = append(a.Members, oplog.Removal{Member: k, Cut: s.cut(k)})
		}
	}
	slices.SortFunc(a.Members, func(x, y oplog.Removal) int { return x.Member.Compare(y.Member) })
	return s.write(a)
}

// cut is 1 + the highest message number that is held of a member, 0 if none is.
func (s *step) cut(k Key) uint64 {
	c := s.chains[k]
	if c == nil {
		return 0
	}
	upTo, _ := c.receipt()
	return upTo
}

// contest removes those who removed us, with parents from before: their removal becomes void if we have the higher rank.
func (s *step) contest(hide bool) (Done, error) {
	if s.main.status != StatusRemoved {
		return Done{}, ErrNoContest
	}
	gone, _ := s.st.Removed(s.self)
	body, err := s.log.Contest(s.self, gone.Ops, s.cut, hide, s.env.Now.Unix())
	if err != nil {
		return Done{}, contestError(err)
	}
	return s.publish(body, toKnown)
}

func contestError(err error) error {
	switch err {
	case oplog.ErrNoRemoval, oplog.ErrNotSenior, oplog.ErrWroteSince:
		return fmt.Errorf("%w: %w", ErrNoContest, err)
	}
	return opError(err)
}
