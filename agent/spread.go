package agent

import (
	"cmp"
	"encoding/binary"
	"io"
	"slices"
	"time"
)

// defaultSpread is within which time the messages of one fan-out leave, unless Config says otherwise.
const defaultSpread = 200 * time.Millisecond

// spreadJob is a delivery to one member of a group that leaves some time after the commit.
type spreadJob struct {
	session *session
	job     job
	at      time.Duration // after the commit
}

// startSpread starts the deliveries to members of groups that the last commit let out. If they are more than one, each
// leaves at a random time of its own, so that one relay does not see all of a fan-out in one burst, and relays that
// compare notes do not see it at the same instant.
func (a *Agent) startSpread() {
	jobs := a.loop.spread
	a.loop.spread = nil
	if len(jobs) < 2 || a.config.Spread < 0 {
		for _, j := range jobs {
			j.session.start(j.job)
		}
		return
	}
	for i := range jobs {
		jobs[i].at = a.randomDuration(a.config.Spread)
	}
	slices.SortStableFunc(jobs, func(x, y spreadJob) int { return cmp.Compare(x.at, y.at) })
	for len(jobs) > 0 {
		s := jobs[0].session
		own := slices.DeleteFunc(slices.Clone(jobs), func(j spreadJob) bool { return j.session != s })
		jobs = slices.DeleteFunc(jobs, func(j spreadJob) bool { return j.session == s })
		s.running.Go(func() { s.startEach(own) })
	}
}

// startEach starts jobs at their times, which ascend, until the session ends.
func (s *session) startEach(jobs []spreadJob) {
	begun := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for _, j := range jobs {
		timer.Reset(j.at - time.Since(begun))
		select {
		case <-timer.C:
			s.start(j.job)
		case <-s.ctx.Done():
			return
		}
	}
}

// randomDuration returns a time below a limit, to the microsecond.
func (a *Agent) randomDuration(below time.Duration) time.Duration {
	var b [8]byte
	if _, err := io.ReadFull(a.config.Rand, b[:]); err != nil {
		panic("agent: no randomness: " + err.Error())
	}
	n := max(1, uint64(below.Microseconds()))
	return time.Duration(binary.BigEndian.Uint64(b[:])%n) * time.Microsecond
}
