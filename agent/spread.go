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
		bySession(jobs, func(s *session, own []spreadJob) { s.deliver(jobsOf(own)...) })
		return
	}
	for i := range jobs {
		jobs[i].at = a.randomDuration(a.config.Spread)
	}
	slices.SortStableFunc(jobs, func(x, y spreadJob) int { return cmp.Compare(x.at, y.at) })
	bySession(jobs, func(s *session, own []spreadJob) {
		s.deliveries.expect(len(own))
		s.running.Go(func() { s.startEach(own) })
	})
}

// bySession calls do with the jobs of each session.
func bySession(jobs []spreadJob, do func(*session, []spreadJob)) {
	for len(jobs) > 0 {
		s := jobs[0].session
		own := slices.DeleteFunc(slices.Clone(jobs), func(j spreadJob) bool { return j.session != s })
		jobs = slices.DeleteFunc(jobs, func(j spreadJob) bool { return j.session == s })
		do(s, own)
	}
}

func jobsOf(spread []spreadJob) []job {
	jobs := make([]job, len(spread))
	for i := range spread {
		jobs[i] = spread[i].job
	}
	return jobs
}

// startEach starts jobs at their times, which ascend, until the session ends.
func (s *session) startEach(jobs []spreadJob) {
	begun := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for len(jobs) > 0 {
		timer.Reset(jobs[0].at - time.Since(begun))
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			return
		}
		now, due := time.Since(begun), 1
		for due < len(jobs) && jobs[due].at <= now {
			due++
		}
		s.deliveries.expect(-due)
		s.deliver(jobsOf(jobs[:due])...)
		jobs = jobs[due:]
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
