package client

import "time"

// The waiting times between attempts to connect (docs/protocol.md, "Intervals").
const (
	firstWait   = 2 * time.Second
	growAfter   = 10 * time.Second // of waiting in all
	longestWait = 3 * time.Minute
)

// backoff gives the waiting times between attempts. The zero value is at the beginning.
type backoff struct {
	wait   time.Duration // the last one
	waited time.Duration // sum of all
}

// next returns how long to wait now: 2 s, and half as long again each time after 10 s of waiting, up to 3 min. It is
// prolonged by up to a fifth, jitter in [0, 1) of it.
func (b *backoff) next(jitter float64) time.Duration {
	switch {
	case b.wait == 0:
		b.wait = firstWait
	case b.waited > growAfter:
		b.wait = min(b.wait*3/2, longestWait)
	}
	b.waited += b.wait
	return b.wait + time.Duration(jitter*float64(b.wait)/5)
}

func (b *backoff) reset() { *b = backoff{} }
