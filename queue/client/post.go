package client

import (
	"fmt"

	"github.com/coterie-im/coterie/queue"
)

// Outgoing is a message for Post.
type Outgoing struct {
	To     Queue
	Notify bool
	// Append appends the body, see Send. It is called at most once, by the goroutine that writes to the relay and just
	// before it does, so that messages that wait take no room.
	Append func(dst []byte) ([]byte, error)
}

// Posted is what became of a message that was given to Post.
type Posted struct {
	Index int   // in the slice that Post was given
	Err   error // as from Send, or that of Append
}

// posting is one call of Post.
type posting struct {
	done   func([]Posted)
	posted []Posted // not reported yet; owned by the loop
}

// Post sends messages in order and does not wait for the answers: done is told of each message once, of many at a time
// where many answers come together. It is called by the session's loop, so it must not block, nor call methods of the
// client. Messages that are posted count as in flight, but Post does not wait until few enough are: that is the
// caller's part.
func (c *Client) Post(messages []Outgoing, done func([]Posted)) {
	p := &posting{done: done}
	accept := func(l *loop) {
		for i, m := range messages {
			l.callers++
			l.accept(&command{command: queue.SEND{Notify: m.Notify}, body: m.Append, entity: m.To.ID, key: m.To.Key, posting: p, index: i})
		}
	}
	select {
	case c.control <- accept:
	case <-c.stopped:
		failed := make([]Posted, len(messages))
		for i := range failed {
			failed[i] = Posted{i, fmt.Errorf("%s: %w", queue.SEND{}.Tag(), ErrClosed)}
		}
		done(failed)
	}
}

// ended notes the end of a message that was posted.
func (l *loop) ended(c *command, err error) {
	p := c.posting
	if err != nil {
		err = fmt.Errorf("%s: %w", c.command.Tag(), err)
	}
	if len(p.posted) == 0 {
		l.postings = append(l.postings, p)
	}
	p.posted = append(p.posted, Posted{c.index, err})
}

// reportPosted tells the callers of Post what has ended since it was called last.
func (l *loop) reportPosted() {
	for i, p := range l.postings {
		posted := p.posted
		p.posted, l.postings[i] = nil, nil
		p.done(posted)
	}
	l.postings = l.postings[:0]
}
