package control

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coterie-im/coterie/agent"
)

// ErrClosed is what calls return after the connection with the daemon has ended; it is an agent.ErrClosed.
var ErrClosed = fmt.Errorf("connection with the daemon has ended: %w", agent.ErrClosed)

// countersTime bounds the one call that has no context.
const countersTime = 10 * time.Second

// Client is a connection with a daemon that has the methods of *agent.Agent. They may be called from any goroutine; their
// errors match those of package agent with errors.Is. A call whose context ends may still take effect.
type Client struct {
	path    string
	version string
	conn    net.Conn
	out     chan []byte   // for the writing goroutine, which owns writing to conn
	done    chan struct{} // closed when the reading goroutine has ended
	running sync.WaitGroup

	mu      sync.Mutex
	next    uint64                         // guarded by mu; the last correlation ID
	waiting map[string]chan<- transmission // guarded by mu; calls by their correlation IDs
}

// Dial connects to the daemon at a socket. The context is for connecting only.
func Dial(ctx context.Context, path string) (*Client, error) {
	c, in, version, err := dial(ctx, path)
	if err != nil {
		return nil, err
	}
	client := &Client{
		path: path, version: version, conn: c,
		out: make(chan []byte), done: make(chan struct{}), waiting: map[string]chan<- transmission{},
	}
	client.running.Go(func() { client.read(in) })
	client.running.Go(client.write)
	return client, nil
}

// dial connects and reads the first line.
func dial(ctx context.Context, path string) (c net.Conn, in *reader, version string, err error) {
	var d net.Dialer
	c, err = d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, nil, "", fmt.Errorf("command socket: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	in = newReader(c, maxAnswer)
	line, _, err := in.line()
	version, ok := strings.CutPrefix(line, welcome)
	switch {
	case !stop():
		err = ctx.Err()
	case err != nil:
		err = inside(err)
	case line == noPlace:
		err = errorOf(errBusy)
	case !ok:
		err = errors.New("something else than an agent daemon answers")
	default:
		return c, in, version, nil
	}
	_ = c.Close()
	return nil, nil, "", fmt.Errorf("command socket: %w", err)
}

// Version returns the daemon's version.
func (c *Client) Version() string { return c.version }

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close ends the connection; calls under way, Events included, return ErrClosed. The daemon goes on with what they asked
// for.
func (c *Client) Close() error {
	err := c.conn.Close()
	c.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// read gives answers to the calls that wait for them.
func (c *Client) read(in *reader) {
	defer close(c.done)
	defer c.conn.Close()
	for {
		t, err := in.read()
		if err != nil {
			return
		}
		c.mu.Lock()
		answer := c.waiting[t.corrID]
		delete(c.waiting, t.corrID)
		c.mu.Unlock()
		if answer != nil {
			answer <- t
		}
	}
}

func (c *Client) write() {
	for {
		select {
		case b := <-c.out:
			if _, err := c.conn.Write(b); err != nil {
				_ = c.conn.Close()
				return
			}
		case <-c.done:
			return
		}
	}
}

// do sends a command and waits for its answer.
func (c *Client) do(ctx context.Context, name string, entity agent.Entity, params any, answer any) (agent.Entity, error) {
	t := transmission{entity: string(entity), name: name}
	if err := encodeCommand(&t, params); err != nil {
		return "", err
	}
	result := make(chan transmission, 1)
	c.mu.Lock()
	c.next++
	t.corrID = strconv.FormatUint(c.next, 10)
	c.waiting[t.corrID] = result
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, t.corrID)
		c.mu.Unlock()
	}()
	select {
	case c.out <- t.append(nil):
	case <-c.done:
		return "", ErrClosed
	case <-ctx.Done():
		return "", ctx.Err()
	}
	select {
	case got := <-result:
		return decodeAnswer(got, answer)
	case <-c.done:
		select {
		case got := <-result:
			return decodeAnswer(got, answer)
		default:
			return "", ErrClosed
		}
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// encodeCommand encodes parameters; what the daemon would refuse is refused here, with the same errors.
func encodeCommand(t *transmission, params any) error {
	err := encode(t, params)
	if err == nil && t.entity != "" {
		err = checkWord(t.entity)
	}
	if err != nil {
		return errorOf(err)
	}
	line := len(t.name) + len(t.entity)
	for _, w := range t.words {
		line += 1 + len(w)
	}
	if line > maxLine-64 || len(t.body) > maxBody {
		return errorOf(errTooLarge)
	}
	return nil
}

func decodeAnswer(t transmission, answer any) (agent.Entity, error) {
	e := agent.Entity(t.entity)
	if t.name == "ERR" {
		return e, decodeError(t)
	}
	return e, decode(t, answer, false)
}

// Events implements API, over a connection of its own, so that a slow reader does not hold up answers.
func (c *Client) Events(ctx context.Context, cursor string) iter.Seq2[agent.Event, error] {
	return func(yield func(agent.Event, error) bool) {
		tell, in, _, err := dial(ctx, c.path)
		if err != nil {
			yield(agent.Event{}, err)
			return
		}
		ended := make(chan struct{})
		var watching sync.WaitGroup
		defer watching.Wait()
		defer close(ended)
		watching.Go(func() {
			select {
			case <-ctx.Done():
			case <-c.done:
			case <-ended:
			}
			_ = tell.Close()
		})
		t := transmission{corrID: "1", name: commandEvents}
		if err := encodeCommand(&t, cursorParams{cursor}); err != nil {
			yield(agent.Event{}, err)
			return
		}
		_, err = tell.Write(t.append(nil))
		for err == nil {
			if t, err = in.read(); err != nil {
				break
			}
			if t.corrID != "" && t.name != "ERR" {
				continue // events follow
			}
			e, refused := decodeEvent(t)
			if !yield(e, refused) || refused != nil && !errors.Is(refused, agent.ErrEventsLost) {
				return
			}
		}
		if ctx.Err() != nil {
			yield(agent.Event{}, ctx.Err())
			return
		}
		yield(agent.Event{}, ErrClosed)
	}
}

// decodeEvent reads an event, or an error in place of one. An event of type ERR has a number behind its name.
func decodeEvent(t transmission) (agent.Event, error) {
	if t.name == "ERR" && (t.body == nil || t.text) {
		return agent.Event{}, decodeError(t)
	}
	var e eventAnswer
	err := decode(t, &e, false)
	return e.Data, err
}
