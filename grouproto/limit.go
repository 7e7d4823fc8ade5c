package grouproto

import (
	"errors"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// Limit names one of the limits of docs/groups.md, "Limits", for counters and warnings.
type Limit uint8

// Limits that are counted.
const (
	LimitNone        Limit = iota
	LimitMembers           // more members than are recommended, or allowed
	LimitOperations        // the log is full: few operations are written here
	LimitParallel          // an author's parallel operations
	LimitWaiting           // operations that wait for their parents
	LimitFrames            // frames of a member in a time
	LimitQuestions         // G_WANT and G_SYNC of a member in a time
	LimitCopies            // bytes of copies for a member in a time
	LimitOffers            // offers that are kept
	LimitAttempts          // connection requests for a pair in a day
	LimitPairs             // pairs that are being connected
	LimitHeld              // messages that wait for operations
	LimitDirect            // frames of package directconn in a time
	LimitForks             // invitations to other groups, and answers, of a member in a time
	LimitRequests          // requests at the own address
	LimitInvitations       // invitations without an answer
	LimitSize              // something that the client gave was too large
	LimitKept              // messages that were dropped because there are too many
	LimitUnjudged          // operations of later versions that cannot be judged here
	numLimits
)

var limitNames = [numLimits]string{
	"", "members", "operations", "parallel", "waiting", "frames", "questions", "copies", "offers", "attempts", "pairs",
	"held", "direct", "forks", "requests", "invitations", "size", "kept", "unjudged",
}

// String returns the limit's stable name; empty for none.
func (l Limit) String() string { return limitNames[min(l, numLimits-1)] }

// Limits are those that who runs the program may set. Zero values are the defaults, which are also the constants of this
// package; what is above a constant counts as the constant, but for those where more only costs the own memory.
type Limits struct {
	WarnMembers  int           // members above which a warning is given; default WarnMembers
	MaxMembers   int           // members above which nobody is invited here; default and most MaxMembers
	KeptMessages int           // messages of a group that are kept; default MaxKeptMessages
	Retention    time.Duration // how long; default Retention
	WantsMinute  int           // questions of one member that are answered in a minute; default MaxWantsMinute
	CopiesHour   int           // bytes of copies for one member in an hour; default MaxCopiesHour
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// complete fills in the defaults.
func (l Limits) complete() Limits {
	return Limits{
		WarnMembers:  orDefault(l.WarnMembers, WarnMembers),
		MaxMembers:   min(orDefault(l.MaxMembers, MaxMembers), MaxMembers),
		KeptMessages: orDefault(l.KeptMessages, MaxKeptMessages),
		Retention:    orDefault(l.Retention, Retention),
		WantsMinute:  orDefault(l.WantsMinute, MaxWantsMinute),
		CopiesHour:   orDefault(l.CopiesHour, MaxCopiesHour),
	}
}

// limits are those in force.
func (s *step) limits() Limits { return s.env.Limits.complete() }

// hits are what is known about the limits since the group was loaded.
type hits struct {
	count  [numLimits]uint64
	warned [numLimits]time.Time // about nobody
	pairs  bool                 // LimitPairs is reached now
}

// Hits returns how often each limit cut something off since the group was loaded, by the limits' names; those that never
// did are left out.
func (g *Group) Hits() map[string]uint64 {
	out := map[string]uint64{}
	for l, n := range g.hits.count {
		if n > 0 {
			out[Limit(l).String()] = n
		}
	}
	return out
}

// hit counts that a limit cut something off.
func (s *step) hit(l Limit) { s.hits.count[l]++ }

// warnLimit counts that a limit cut something of a member off, or of nobody, and tells the client once an hour for each
// limit and member.
func (s *step) warnLimit(p *peer, l Limit) {
	s.hit(l)
	at := &s.hits.warned[l]
	var about Key
	if p != nil {
		at, about = &p.warned[l], p.key
	}
	if s.env.Now.Sub(*at) < time.Hour {
		return
	}
	*at = s.env.Now
	s.warnOf(WarnLimit, about, l)
}

// authorOnly is whom a warning about a limit names: who handed something over if that is its author too. Honest members
// pass on what others make.
func (g *Group) authorOnly(via, author Key) *peer {
	if via != author {
		return nil
	}
	return g.peers[via]
}

// countRefusals notes the limits that a command met.
func (s *step) countRefusals(err error) {
	switch {
	case errors.Is(err, ErrTooLarge):
		s.hit(LimitSize)
	case errors.Is(err, oplog.ReasonFull):
		s.hit(LimitOperations)
	case errors.Is(err, oplog.ReasonParallel):
		s.hit(LimitParallel)
	case errors.Is(err, oplog.ReasonMembers):
		s.hit(LimitMembers)
	}
}

// opLimits notes the limits that an operation from a member, and what waited for it, met in the log. Whoever passes
// operations on, or has the one that others waited for, has used up nothing: the author of what is cut off is named, whose
// signature it has, or nobody where many have a part in it.
func (s *step) opLimits(p *peer, op *oplog.Op, res oplog.Result) {
	note := func(author Key, r oplog.Reason) {
		switch r {
		case oplog.ReasonParallel:
			s.warnLimit(s.peers[author], LimitParallel)
		case oplog.ReasonMembers:
			s.warnLimit(s.peers[author], LimitMembers)
		case oplog.ReasonUnjudged:
			s.warnLimit(nil, LimitUnjudged) // also what honest members wrote behind it
		}
	}
	if res.Status == oplog.Refused {
		note(op.Author, res.Reason)
	}
	for _, r := range res.Refused {
		note(r.Author, r.Reason)
	}
	if n := s.log.Counters(); n.Dropped > s.dropped {
		// A relay may have lost what somebody has passed on before.
		about := p
		if n.Crowded == s.crowded || op.Author != p.key {
			about = nil
		}
		s.dropped, s.crowded = n.Dropped, n.Crowded
		s.warnLimit(about, LimitWaiting)
	}
}

// sizeLimits warns when the group grows over what is recommended, or its log is full.
func (s *step) sizeLimits(old, now *oplog.State) {
	before := 0
	if old != nil {
		before = old.Len()
	}
	if most := s.limits().WarnMembers; before <= most && now.Len() > most {
		s.warnLimit(nil, LimitMembers)
	}
	if s.log.Len() >= oplog.MaxOps {
		s.warnLimit(nil, LimitOperations)
	}
}
