package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/conn"
)

const (
	maxSlow  = 16          // commands of one client that wait for a relay; further ones are refused
	slowTime = time.Minute // then a command that waits for a relay is answered with an error
)

// session is one client. Its reading goroutine runs commands one after the other, so that messages keep their order;
// commands that wait for a relay and the telling of events have goroutines of their own, which end with the session.
type session struct {
	server  *Server
	conn    net.Conn
	places  chan struct{} // of slow commands
	telling atomic.Bool   // events are told

	slow, tellers sync.WaitGroup

	mu sync.Mutex // guards writing to conn
}

func newSession(s *Server, c net.Conn) *session {
	return &session{server: s, conn: c, places: make(chan struct{}, maxSlow)}
}

// run serves the client until it hangs up or ctx ends. Commands that do not wait for a relay go on until work ends.
func (c *session) run(ctx, work context.Context) {
	ctx, end := context.WithCancel(ctx)
	events, endEvents := context.WithCancel(ctx)
	defer endEvents()
	err := c.write([]byte(welcome + c.server.version + "\r\n"))
	if err == nil {
		err = c.read(ctx, work, events)
	}
	if errors.Is(err, io.EOF) {
		// Who closes only its own direction still gets the answers that are due, but no more events: a client that is gone
		// looks the same.
		endEvents()
		c.slow.Wait()
	}
	end()
	_ = c.conn.SetWriteDeadline(time.Now().Add(closingTime))
	c.slow.Wait()
	c.tellers.Wait()
}

// read runs commands until the client hangs up, which is io.EOF, or something else ends the session.
func (c *session) read(ctx, work, events context.Context) error {
	in := newReader(c.conn, maxBody)
	for ctx.Err() == nil {
		t, err := in.read()
		var cmd command
		if err == nil {
			cmd, err = find(t)
		}
		switch {
		case err == nil:
			err = c.do(ctx, work, events, cmd, t)
		case errors.Is(err, errOutOfStep):
			_ = c.refuse(t, t.entity, err)
		case errors.Is(err, errSyntax), errors.Is(err, errTooLarge), errors.Is(err, errUnknown), errors.Is(err, errEntity):
			err = c.refuse(t, t.entity, err)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// do runs a command and answers it; it returns errors of writing only.
func (c *session) do(ctx, work, events context.Context, cmd command, t transmission) error {
	if cmd.slow {
		select {
		case c.places <- struct{}{}:
		default:
			return c.refuse(t, t.entity, errBusy)
		}
		c.slow.Go(func() {
			defer func() { <-c.places }()
			ctx, cancel := context.WithTimeout(ctx, slowTime)
			defer cancel()
			answer, err := cmd.execute(ctx, c.server.agent, t)
			_ = c.answer(t, answer, err)
		})
		return nil
	}
	answer, err := cmd.execute(work, c.server.agent, t)
	begins := err == nil && cmd.name == commandEvents
	if begins && !c.telling.CompareAndSwap(false, true) {
		begins, err = false, fmt.Errorf("%w: events are told already", errProhibited)
	}
	if err := c.answer(t, answer, err); err != nil {
		return err
	}
	if begins {
		c.tellers.Go(func() { c.tell(events, t.words[0]) })
	}
	return nil
}

func (c *session) answer(t, answer transmission, err error) error {
	if err != nil {
		return c.refuse(t, answer.entity, err)
	}
	return c.write(answer.append(nil))
}

// refuse answers with an error.
func (c *session) refuse(t transmission, entity string, err error) error {
	told := errorOf(err)
	if told.Code == conn.CodeInternal {
		c.server.log.Error("command failed", "command", t.name, "error", err)
	}
	return c.write(answerError(t.corrID, entity, told).append(nil))
}

// tell writes the events of a cursor until the session ends. A client that reads slowly holds up nobody else: the agent
// keeps events for it up to its limit.
func (c *session) tell(ctx context.Context, cursor string) {
	for e, err := range c.server.agent.Events(ctx, cursor) {
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !errors.Is(err, agent.ErrEventsLost) {
				c.telling.Store(false)
			}
			err = c.refuse(transmission{name: commandEvents}, "", err)
		default:
			t := transmission{entity: string(e.Entity), name: e.Data.Type()}
			if err = encode(&t, eventAnswer{e.Seq, e}); err != nil {
				c.server.log.Error("command socket: event cannot be written", "type", e.Data.Type(), "error", err)
				continue
			}
			err = c.write(t.append(nil))
		}
		if err != nil {
			return
		}
	}
}

func (c *session) write(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.conn.Write(b)
	return err
}
