package conn

import (
	"time"

	"github.com/coterie-im/coterie/internal/wire"
)

// The published retry rules (docs/protocol.md, "Quota, intervals, expiry").
const (
	messageExpiry  = 2 * 24 * time.Hour  // of messages, confirmations, HELLO and waiting deletion
	quotaExpiry    = 7 * 24 * time.Hour  // of messages that a full queue refuses
	historyExpiry  = 21 * 24 * time.Hour // of hashes of received and records of sent messages
	redeliveries   = 8                   // after so many, and
	redeliveryTime = 24 * time.Hour      // so much time, an unacknowledged message is given up

	longWait = time.Minute // waits of a step of the handshake together, the next one included, of which the client is told

	deleteRetry    = 5 * time.Minute // between attempts to delete a queue
	deleteAttempts = 10              // after which the queue is given up
)

// intervals is a rule for growing waiting times: start is used until the waits together reached grow, then each wait is
// one and a half times the one before, up to most.
type intervals struct{ start, grow, most time.Duration }

var (
	fastIntervals = intervals{2 * time.Second, 10 * time.Second, 120 * time.Second}
	slowIntervals = intervals{300 * time.Second, 60 * time.Second, 6 * time.Hour} // full queues
)

// pace is how far one rule has progressed. The zero value is its beginning.
type pace struct{ wait, waited time.Duration }

// next returns the time to wait now and moves on.
func (p *pace) next(rule intervals) time.Duration {
	switch {
	case p.wait == 0:
		p.wait = rule.start
	case p.waited >= rule.grow:
		p.wait = min(p.wait*3/2, rule.most)
	}
	p.waited += p.wait
	return p.wait
}

// retry is when something that failed is tried again. It is persisted, so a restart changes nothing. Each rule keeps its
// own progress.
type retry struct {
	fast, slow pace
	next       time.Time // not before; zero: at once
}

// after schedules the next attempt.
func (r *retry) after(now time.Time, rule intervals) {
	p := &r.fast
	if rule == slowIntervals {
		p = &r.slow
	}
	r.next = now.Add(p.next(rule)).Truncate(time.Millisecond) // as it is stored, and as the clock is read
}

// wake makes it due because the peer says that a full queue has room again. Its relay may know a moment later, and nobody
// will say it twice, so refusals from here on are followed by short waits, which grow at once.
func (r *retry) wake(now time.Time) {
	r.next = now
	r.slow = pace{fastIntervals.start, slowIntervals.grow}
}

// due tells whether it may be tried now.
func (r *retry) due(now time.Time) bool { return !r.next.After(now) }

func (r *retry) append(dst []byte) []byte {
	for _, d := range []time.Duration{r.fast.wait, r.fast.waited, r.slow.wait, r.slow.waited} {
		dst = wire.AppendI64(dst, int64(d))
	}
	return appendTime(dst, r.next)
}

func readRetry(r *wire.Reader) retry {
	duration := func() time.Duration {
		d := time.Duration(r.I64())
		if d < 0 {
			r.Fail("negative time")
		}
		return d
	}
	return retry{pace{duration(), duration()}, pace{duration(), duration()}, readTime(r)}
}

// appendTime appends milliseconds since 1970; the zero time is 0.
func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return wire.AppendI64(dst, 0)
	}
	return wire.AppendI64(dst, t.UnixMilli())
}

func readTime(r *wire.Reader) time.Time {
	ms := r.I64()
	if ms < 0 {
		r.Fail("time before 1970")
	}
	if ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// earlier returns the earlier of two times of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// verdict is what happens to a queued message after a failed delivery.
type verdict uint8

const (
	tryAgain    verdict = iota // with the rule that judge returned
	warnAndTry                 // the same, with a warning to the client
	giveUp                     // this message only
	giveUpOlder                // this one and all others that are as old
)

// judge decides about a message that was queued at created.
func judge(class Class, created, now time.Time) (verdict, intervals) {
	age := now.Sub(created)
	switch class {
	case Temporary, Host:
		if age >= messageExpiry {
			return giveUpOlder, fastIntervals
		}
		if class == Host {
			return warnAndTry, fastIntervals
		}
		return tryAgain, fastIntervals
	case Quota:
		if age >= quotaExpiry {
			return giveUpOlder, slowIntervals
		}
		return warnAndTry, slowIntervals
	default:
		return giveUp, intervals{}
	}
}
