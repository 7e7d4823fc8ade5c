package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/coterie-im/coterie/queue"
)

const (
	maxMissedPings = 3
	// stableAfter is how long a connection must last for waiting times to start from the beginning.
	stableAfter = 30 * time.Second
	// resubscribeAfter is how long to wait before subscribing again on a connection that did not answer a SUB.
	resubscribeAfter = 10 * time.Second
)

// command is a command on its way. Everything but the first group is owned by the loop; corrID does not change any more
// when the writer gets the command.
type command struct {
	command queue.Command
	entity  queue.ID
	key     queue.PrivateKey
	done    chan result // room for one; nil for commands of the loop itself, and for those of Post
	posting *posting    // the call of Post, nil if it was none
	index   int         // in it
	// body makes the body of a SEND of Post.
	body func(dst []byte) ([]byte, error)

	corrID   queue.ID
	sent     time.Time
	finished bool
}

type result struct {
	response queue.Response
	err      error
}

// loop owns the state of a session: nothing below is touched by another goroutine.
type loop struct {
	client  *Client
	config  Config
	running sync.WaitGroup // goroutines that the loop has started

	// Connection: at most one of session and dialed is set.
	session      *session
	connected    time.Time
	lastReceived time.Time
	dialed       chan dialResult // of the attempt that is being made
	cancelDial   context.CancelFunc
	backoff      backoff
	nextAttempt  time.Time // not before that
	lastErr      error     // why there is no connection; set whenever nextAttempt is

	// Commands.
	waiting   []*command            // for a connection
	outbox    []*command            // for the writer
	pending   map[queue.ID]*command // by correlation ID: in the outbox or sent, not answered
	deadlines []deadline            // of pending, soonest first, and of some that are not pending any more
	callers   int                   // how many of waiting and pending are not the loop's own
	asked     int                   // how many SUB of pending

	ping   *command // in flight
	missed int      // pings without answer since the last block came

	subscriptions
	events   eventList
	postings []*posting // with something to report
}

// deadline is when the command with a correlation ID is over. It does not hold the command, which may be large.
type deadline struct {
	corrID queue.ID
	at     time.Time
}

type dialResult struct {
	conn Conn
	err  error
}

func newLoop(c *Client, config Config) *loop {
	return &loop{
		client:        c,
		config:        config,
		pending:       make(map[queue.ID]*command),
		subscriptions: newSubscriptions(),
		events:        eventList{limit: config.EventLimit},
	}
}

func (l *loop) run() {
	defer close(l.client.stopped)
	defer close(l.client.events)
	defer l.running.Wait()
	defer l.shutDown()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		l.reportPosted()
		l.connectIfNeeded()
		l.subscribeWanted()
		l.pingIfSilent()
		timer.Reset(time.Until(l.wakeAt()))

		// A nil channel is never ready: each of these is set only when there is something for it.
		var commands chan *command
		if l.callers < l.config.InFlight {
			commands = l.client.commands
		}
		var in chan incoming
		var out chan []*command
		if l.session != nil {
			in = l.session.in
			if len(l.outbox) > 0 {
				out = l.session.out
			}
		}
		var events chan Event
		next := l.events.next()
		if next != nil {
			events = l.client.events
		}
		select {
		case c := <-commands:
			l.callers++
			l.accept(c)
		case c := <-l.client.cancels:
			l.cancel(c)
		case f := <-l.client.control:
			f(l)
		case events <- next:
			l.events.taken()
		case out <- l.outbox:
			l.outbox = nil
		case i := <-in:
			l.receive(i)
		case d := <-l.dialed:
			l.dialDone(d)
		case <-timer.C:
			l.expire()
		case <-l.client.closing:
			return
		}
	}
}

// wakeAt returns when something is due.
func (l *loop) wakeAt() time.Time {
	at := time.Now().Add(time.Hour)
	if len(l.deadlines) > 0 {
		at = earlier(at, l.deadlines[0].at)
	}
	if l.session == nil && l.dialed == nil && l.needsConnection() {
		at = earlier(at, l.nextAttempt)
	}
	if l.session != nil {
		if l.ping == nil && len(l.queues) > 0 {
			at = earlier(at, l.lastReceived.Add(l.config.PingInterval))
		}
		if len(l.patient) > 0 && time.Until(l.retryAt) > 0 {
			at = earlier(at, l.retryAt)
		}
	}
	return at
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// shutDown fails everything with ErrClosed and ends the connection.
func (l *loop) shutDown() {
	if l.cancelDial != nil {
		l.cancelDial()
	}
	if l.session != nil {
		l.session.end(&l.running)
		l.session = nil
	}
	for len(l.waiting) > 0 {
		l.finish(l.waiting[0], nil, ErrClosed)
	}
	for _, c := range l.pending {
		l.finish(c, nil, ErrClosed)
	}
	l.failWaiters(ErrClosed)
	l.reportPosted()
}

// accept takes a command of a caller.
func (l *loop) accept(c *command) {
	switch {
	case l.session != nil:
		l.send(c)
	case l.dialed == nil && time.Until(l.nextAttempt) > l.config.CommandTimeout:
		l.finish(c, nil, l.lastErr)
	default:
		l.waiting = append(l.waiting, c)
	}
}

// send hands a command to the writer of the session.
func (l *loop) send(c *command) {
	var corrID [queue.IDSize]byte
	_, _ = rand.Read(corrID[:]) // never fails
	c.corrID, c.sent = queue.ID(corrID[:]), time.Now()
	l.pending[c.corrID] = c
	l.deadlines = append(l.deadlines, deadline{c.corrID, c.sent.Add(l.config.CommandTimeout)})
	l.outbox = append(l.outbox, c)
}

// cancel forgets a command whose caller does not wait any more. If it was handed to the writer it may still be executed.
func (l *loop) cancel(c *command) {
	if !c.finished {
		l.finish(c, nil, context.Canceled)
	}
}

// finish ends a command, which has not ended before, and takes it off all lists but deadlines.
func (l *loop) finish(c *command, response queue.Response, err error) {
	c.finished = true
	if c.corrID == "" {
		l.waiting = slices.DeleteFunc(l.waiting, func(o *command) bool { return o == c })
	} else {
		delete(l.pending, c.corrID)
		l.outbox = slices.DeleteFunc(l.outbox, func(o *command) bool { return o == c })
	}
	switch {
	case c.done != nil:
		l.callers--
		c.done <- result{response, err}
	case c.posting != nil:
		l.callers--
		l.ended(c, err)
	}
	if c == l.ping {
		l.ping = nil
		if errors.Is(err, ErrTimeout) {
			l.missed++
		}
	}
	switch sent := c.command.(type) {
	case queue.SUB:
		l.asked--
		l.subscribeDone(c.entity, err)
	case queue.NEW:
		if ids, ok := response.(queue.IDS); ok && sent.Subscribe {
			sub := l.track(Queue{ids.RecipientID, c.key})
			sub.state, sub.down = active, false
		}
	case queue.DEL:
		if err == nil {
			l.forget(c.entity)
		}
	}
}

// expire ends commands whose time is over, and the connection if the relay has shown no life for long.
func (l *loop) expire() {
	now := time.Now()
	for len(l.deadlines) > 0 {
		c := l.pending[l.deadlines[0].corrID]
		if c != nil && now.Before(l.deadlines[0].at) {
			return
		}
		l.deadlines = l.deadlines[1:]
		if c == nil {
			continue
		}
		l.finish(c, nil, ErrTimeout)
		if !l.lastReceived.After(c.sent) {
			l.suspect()
		}
	}
}

// suspect asks a relay for a sign of life that has not answered a command, and gives it up after three.
func (l *loop) suspect() {
	switch {
	case l.session == nil || l.ping != nil:
	case l.missed >= maxMissedPings:
		l.disconnect(ErrTimeout)
	default:
		l.sendPing()
	}
}

func (l *loop) sendPing() {
	l.ping = &command{command: queue.PING{}}
	l.send(l.ping)
}

func (l *loop) pingIfSilent() {
	if l.session != nil && l.ping == nil && len(l.queues) > 0 && time.Since(l.lastReceived) >= l.config.PingInterval {
		l.sendPing()
	}
}

// receive handles what reader or writer report.
func (l *loop) receive(in incoming) {
	if in.err != nil {
		l.disconnect(in.err)
		return
	}
	for _, u := range in.unsent {
		if !u.command.finished {
			l.finish(u.command, nil, u.err)
		}
	}
	if len(in.answers) == 0 {
		return
	}
	defer l.expire() // takes the answered commands off deadlines
	l.lastReceived, l.missed = time.Now(), 0
	for _, a := range in.answers {
		if c := l.pending[a.CorrID]; c != nil {
			l.answered(c, a)
		} else {
			l.happened(a)
		}
	}
	l.reportSubscribed()
}

// answered handles the response to a command.
func (l *loop) answered(c *command, a answer) {
	if a.err != nil {
		l.finish(c, nil, a.err)
		return
	}
	switch response := a.Response.(type) {
	case queue.ERR:
		l.finish(c, nil, response.Err)
	case queue.MSG:
		if !mayBeMessage(c.command) || a.EntityID != c.entity {
			l.finish(c, nil, ErrUnexpected)
			return
		}
		_, got := c.command.(queue.GET)
		if got && l.events.room() == 0 {
			l.client.dropped.Add(1)
			l.finish(c, nil, ErrSlowConsumer)
			return
		}
		l.finish(c, response, nil)
		l.deliver(Message{a.EntityID, response})
	default:
		if !fits(c.command, response) || a.EntityID != c.entity {
			l.finish(c, nil, ErrUnexpected)
			return
		}
		l.finish(c, response, nil)
	}
}

func mayBeMessage(c queue.Command) bool {
	switch c.(type) {
	case queue.SUB, queue.GET, queue.ACK:
		return true
	}
	return false
}

// fits tells whether r can be the answer to c, when it is neither an error nor a message.
func fits(c queue.Command, r queue.Response) (ok bool) {
	switch c.(type) {
	case queue.NEW:
		_, ok = r.(queue.IDS)
	case queue.SUB:
		if _, ok = r.(queue.SOK); !ok {
			_, ok = r.(queue.OK)
		}
	case queue.QUE:
		_, ok = r.(queue.INFO)
	case queue.PING:
		_, ok = r.(queue.PONG)
	default:
		_, ok = r.(queue.OK)
	}
	return ok
}

// happened handles an event, or a response that comes too late.
func (l *loop) happened(a answer) {
	sub := l.queues[a.EntityID]
	if a.err != nil || sub == nil {
		l.client.unmatched.Add(1)
		return
	}
	switch response := a.Response.(type) {
	case queue.MSG:
		l.deliver(Message{a.EntityID, response})
	case queue.END:
		l.lost(a.EntityID, sub, Ended{a.EntityID})
	case queue.DELD:
		l.lost(a.EntityID, sub, Deleted{a.EntityID})
	case queue.ERR:
		if a.CorrID != "" {
			l.client.unmatched.Add(1)
			return
		}
		l.lost(a.EntityID, sub, Refused{a.EntityID, response.Err})
	default:
		l.client.unmatched.Add(1)
	}
}

// deliver puts a message into the event list. If there is no room, its queue will be subscribed again, if it was
// subscribed at all, and the relay will deliver the message again.
func (l *loop) deliver(m Message) {
	if l.events.message(m) {
		return
	}
	l.client.dropped.Add(1)
	l.want(m.Queue)
	l.held, l.careful = true, true
}

// connectIfNeeded starts an attempt to connect when one is needed and due.
func (l *loop) connectIfNeeded() {
	if l.session != nil || l.dialed != nil || !l.needsConnection() || time.Until(l.nextAttempt) > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.config.ConnectTimeout)
	l.cancelDial = cancel
	dialed := make(chan dialResult)
	l.dialed = dialed
	l.running.Go(func() {
		conn, err := l.config.Dial(ctx)
		select {
		case dialed <- dialResult{conn, err}:
		case <-l.client.closing:
			if err == nil {
				_ = conn.Close()
			}
		}
	})
}

// needsConnection tells whether somebody needs the relay: a command, or subscriptions, for whose messages there is room.
func (l *loop) needsConnection() bool {
	return len(l.waiting) > 0 || len(l.urgent) > 0 || len(l.queues) > 0 && !l.events.full()
}

func (l *loop) dialDone(d dialResult) {
	l.cancelDial()
	l.dialed, l.cancelDial = nil, nil
	if d.err != nil {
		wait := l.postpone(&DialError{d.err})
		l.events.add(Unreachable{l.lastErr, wait})
		return
	}
	l.client.connections.Add(1)
	l.session = startSession(d.conn, &l.running)
	l.connected = time.Now()
	l.lastReceived, l.missed = l.connected, 0
	l.retryAt = time.Time{}
	l.events.add(Connected{l.session.version})
	waiting := l.waiting
	l.waiting = nil
	for _, c := range waiting {
		l.send(c)
	}
}

// postpone plans the next attempt to connect after err, and fails with err whatever waits for a connection.
func (l *loop) postpone(err error) (wait time.Duration) {
	wait = l.backoff.next(l.config.Jitter())
	l.nextAttempt, l.lastErr = time.Now().Add(wait), err
	for len(l.waiting) > 0 {
		l.finish(l.waiting[0], nil, err)
	}
	l.failWaiters(err)
	return wait
}

// disconnect ends the session because of err.
func (l *loop) disconnect(err error) {
	l.session.end(&l.running)
	l.session = nil
	if time.Since(l.connected) >= stableAfter {
		l.backoff.reset()
	}
	if !errors.Is(err, ErrDisconnected) {
		err = fmt.Errorf("%w: %w", ErrDisconnected, err)
	}
	l.outbox = nil
	for _, d := range l.deadlines {
		if c := l.pending[d.corrID]; c != nil {
			l.finish(c, nil, err)
		}
	}
	l.deadlines = nil
	l.postpone(err)
	l.wantAll()
	l.events.add(Disconnected{err})
}
