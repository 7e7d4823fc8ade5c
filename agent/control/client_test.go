package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/conn"
)

// Every method of the API reaches the agent with what the caller gave, and the caller gets what the agent returned.
func TestEveryMethodGoesThrough(t *testing.T) {
	d := startDaemon(t)
	c := d.dial(t)
	var f filler
	api := reflect.TypeFor[API]()
	tested := 0
	for i := range api.NumMethod() {
		m := api.Method(i)
		if m.Name == "Events" || m.Name == "AckEvent" || m.Name == "DropCursor" {
			continue // the stories of cursors
		}
		tested++
		t.Run(m.Name, func(t *testing.T) {
			args := []reflect.Value{}
			if m.Type.NumIn() > 0 {
				args = append(args, reflect.ValueOf(t.Context()))
			}
			var want []any
			for i := 1; i < m.Type.NumIn(); i++ {
				args = append(args, f.value(t, m.Type.In(i)))
				want = append(want, args[i].Interface())
			}
			if m.Name == "CreateConnection" {
				d.replies[m.Name] = created{"C17", "simplex:/link"}
			} else if out := m.Type.Out(0); out != reflect.TypeFor[error]() {
				d.replies[m.Name] = f.value(t, out).Interface()
			}
			got := reflect.ValueOf(c).MethodByName(m.Name).Call(args)
			switch reply := d.replies[m.Name].(type) {
			case created:
				if got[0].Interface() != reply.id || got[1].Interface() != reply.link {
					t.Errorf("returned %v, %v", got[0], got[1])
				}
			case nil:
			default:
				if !reflect.DeepEqual(got[0].Interface(), reply) {
					t.Errorf("returned %+v\n    want %+v", got[0], reply)
				}
			}
			if err, _ := got[len(got)-1].Interface().(error); err != nil {
				t.Error(err)
			}
			calls := d.recordedCalls()
			if last := calls[len(calls)-1]; last.method != m.Name || !reflect.DeepEqual(last.args, want) {
				t.Errorf("agent got %s %+v\n     want %+v", last.method, last.args, want)
			}
			// And an error comes back as one.
			if m.Name == "Counters" {
				return
			}
			d.errs[m.Name] = agent.ErrNoRelay
			got = reflect.ValueOf(c).MethodByName(m.Name).Call(args)
			if err, _ := got[len(got)-1].Interface().(error); !errors.Is(err, agent.ErrNoRelay) {
				t.Errorf("error is %v", err)
			}
			if m.Name == "CreateConnection" && got[0].Interface() != agent.ConnectionID("C17") {
				t.Errorf("a connection that is still being made is %v", got[0])
			}
		})
	}
	if tested < 35 {
		t.Errorf("only %d methods", tested)
	}
}

func TestDefaultsOfTheAPIAreKept(t *testing.T) {
	d := startDaemon(t)
	d.replies["GroupAdd"], d.replies["GroupNew"] = "invitation", agent.GroupID("g")
	c := d.dial(t)
	must(t, c.Ack(t.Context(), "x", 5, nil))
	_, err := c.GroupAdd(t.Context(), "g", "x", agent.AddOptions{})
	must(t, err)
	_, err = c.GroupNew(t.Context(), agent.GroupOptions{})
	must(t, err)
	want := []recorded{
		{"Ack", []any{agent.ConnectionID("x"), int64(5), &agent.AckOptions{}}},
		{"GroupAdd", []any{agent.GroupID("g"), agent.ConnectionID("x"), agent.AddOptions{Role: "member"}}},
		{"GroupNew", []any{agent.GroupOptions{}}},
	}
	if got := d.recordedCalls(); !reflect.DeepEqual(got, want) {
		t.Errorf("agent got %+v", got)
	}
	if _, err := c.JoinConnection(t.Context(), "link", agent.JoinOptions{InfoFunc: func([32]byte) ([]byte, error) { return nil, nil }}); !errors.Is(err, &conn.Error{Code: conn.CodeProhibited}) {
		t.Errorf("function for a daemon: %v", err)
	}
}

// What an app passes on from elsewhere cannot become a command of its own.
func TestArgumentsCannotSmuggleCommands(t *testing.T) {
	d := startDaemon(t)
	c := d.dial(t)
	const evil = "x\r\n2\r\nC:y\r\nDEL T\r\n"
	syntax := &Error{Code: "CMD SYNTAX"}
	for what, err := range map[string]error{
		"connection": second(c.Send(t.Context(), evil, agent.Outgoing{})),
		"group":      c.GroupLeave(t.Context(), evil),
		"link":       second(c.JoinConnection(t.Context(), evil, agent.JoinOptions{})),
		"key":        second(c.Send(t.Context(), "x", agent.Outgoing{Key: evil})),
		"member":     c.GroupRemove(t.Context(), "g", agent.RemoveOptions{Members: []agent.MemberID{"a,b"}}),
		"cursor":     c.DropCursor(t.Context(), evil),
		"no link":    second(c.JoinConnection(t.Context(), "", agent.JoinOptions{})),
		"events":     firstError(c.Events(t.Context(), evil)),
	} {
		if !errors.Is(err, syntax) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"body": second(c.Send(t.Context(), "x", agent.Outgoing{Body: make([]byte, maxBody+1)})),
		"link": second(c.JoinConnection(t.Context(), strings.Repeat("x", maxLine), agent.JoinOptions{})),
	} {
		if !errors.Is(err, &conn.Error{Code: conn.CodeLarge}) {
			t.Errorf("large %s: %v", what, err)
		}
	}
	if calls := d.recordedCalls(); len(calls) != 0 {
		t.Errorf("agent got %v", calls)
	}
	must(t, c.GroupLeave(t.Context(), "g"))
	if _, err := c.Send(t.Context(), "x", agent.Outgoing{Body: []byte(evil)}); err != nil {
		t.Error(err)
	}
	if got := d.recordedCalls()[1].args[1].(agent.Outgoing); string(got.Body) != evil {
		t.Errorf("body arrived as %q", got.Body)
	}
}

func second[T any](_ T, err error) error { return err }

func firstError(events func(func(agent.Event, error) bool)) error {
	for _, err := range events {
		return err
	}
	return nil
}

func TestErrorsMatchThoseOfTheAgent(t *testing.T) {
	d := startDaemon(t)
	c := d.dial(t)
	ask := func(err error) error {
		d.mu.Lock()
		d.errs["Retry"] = err
		d.mu.Unlock()
		return c.Retry(t.Context(), "x")
	}
	for _, row := range codes {
		got := ask(fmt.Errorf("wrapped: %w", row.err))
		var told *Error
		if !errors.Is(got, row.err) || !errors.As(got, &told) || told.Code != row.code {
			t.Errorf("%v came as %v", row.err, got)
		}
		if errors.Is(got, context.Canceled) || errors.Is(got, io.EOF) {
			t.Errorf("%v is taken for something else", got)
		}
	}
	for code := range connCodes {
		if got := ask(&conn.Error{Code: code, Detail: "detail"}); !errors.Is(got, &conn.Error{Code: code}) || !errors.Is(got, &Error{Code: code}) {
			t.Errorf("%s came as %v", code, got)
		}
	}
	if got := ask(context.Canceled); !errors.Is(got, agent.ErrClosed) || errors.Is(got, context.Canceled) {
		t.Errorf("the daemon's end came as %v", got)
	}
	if got := ask(errors.New("of another world")); got.Error() != "INTERNAL" {
		t.Errorf("unknown error came as %q", got)
	}
	if (&Error{Code: "A B"}).Error() != "A B" || (&Error{Code: "A B", Detail: "c"}).Error() != "A B: c" {
		t.Error("text of errors")
	}
}

func TestCallsEndWithTheirContext(t *testing.T) {
	d := startDaemon(t)
	d.replies["Send"] = int64(9)
	release := d.wait("Send")
	c := d.dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- second(c.Send(ctx, "x", agent.Outgoing{})) }()
	<-d.held
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("call: %v", err)
	}
	if err := c.Retry(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("call with a context that has ended: %v", err)
	}
	if err := firstError(c.Events(ctx, "bot")); !errors.Is(err, context.Canceled) {
		t.Errorf("events with a context that has ended: %v", err)
	}
	release()
	// The late answer is for nobody, and the client goes on.
	if n, err := c.Send(t.Context(), "x", agent.Outgoing{}); n != 9 || err != nil {
		t.Errorf("next call: %d, %v", n, err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	events := make(chan error)
	go func() { events <- firstError(c.Events(ctx, "bot")) }()
	eventually(t, "events are told", func() bool { return len(d.cursorsNow()) == 1 })
	cancel()
	if err := <-events; !errors.Is(err, context.Canceled) {
		t.Errorf("events: %v", err)
	}
}

// deaf is a daemon that reads nothing.
func deaf(t *testing.T, firstLine string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	must(t, err)
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, firstLine)
			conns = append(conns, c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		for _, c := range conns {
			_ = c.Close()
		}
	})
	return path
}

func TestCallsEndWithTheirContextWhenTheDaemonHangs(t *testing.T) {
	c, err := Dial(t.Context(), deaf(t, welcome+"0\r\n"))
	must(t, err)
	if c.Version() != "0" {
		t.Errorf("version %q", c.Version())
	}
	ctx, cancel := context.WithCancel(t.Context())
	const calls = 20 // more than a socket holds
	ended := make(chan error, calls)
	for range calls {
		go func() { ended <- second(c.Send(ctx, "x", agent.Outgoing{Body: make([]byte, maxBody)})) }()
	}
	eventually(t, "a call has begun", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.waiting) == calls
	})
	cancel()
	for range calls {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	go func() { ended <- c.Retry(t.Context(), "x") }()
	within(t, "closing", func() { must(t, c.Close()) })
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("call when the client is closed: %v", err)
	}
	must(t, c.Close())
	if got := c.Counters(); got.Commands != nil {
		t.Errorf("counters of nobody: %+v", got)
	}
}

func TestCallsEndWhenTheDaemonGoesAway(t *testing.T) {
	d := startDaemon(t)
	d.wait("CreateConnection")
	c := d.dial(t)
	ended, events := make(chan error), make(chan error)
	go func() {
		_, _, err := c.CreateConnection(context.Background(), agent.CreateOptions{})
		ended <- err
	}()
	go func() { events <- firstError(c.Events(context.Background(), "bot")) }()
	<-d.held
	eventually(t, "events are told", func() bool { return len(d.cursorsNow()) == 1 })
	d.stop()
	if err := <-ended; !errors.Is(err, agent.ErrClosed) {
		t.Errorf("call: %v", err)
	}
	if err := <-events; !errors.Is(err, agent.ErrClosed) {
		t.Errorf("events: %v", err)
	}
	<-c.Done()
}

func TestClosingTheClientEndsItsEvents(t *testing.T) {
	d := startDaemon(t)
	c := d.dial(t)
	events := make(chan error)
	go func() { events <- firstError(c.Events(context.Background(), "bot")) }()
	eventually(t, "events are told", func() bool { return len(d.cursorsNow()) == 1 })
	must(t, c.Close())
	if err := <-events; !errors.Is(err, ErrClosed) {
		t.Errorf("events: %v", err)
	}
}

func TestDialSaysWhatIsThere(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		path string
		ctx  context.Context
		want error
	}{
		"nobody":            {filepath.Join(t.TempDir(), "s"), t.Context(), nil},
		"another program":   {deaf(t, "220 mail.example ESMTP\r\n"), t.Context(), nil},
		"a very long line":  {deaf(t, strings.Repeat("x", maxLine+1)), t.Context(), errOutOfStep},
		"a full daemon":     {deaf(t, noPlace+"\r\n"), t.Context(), &Error{Code: "CMD BUSY"}},
		"context has ended": {deaf(t, ""), ctx, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Dial(c.ctx, c.path)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	silent := deaf(t, "")
	ctx, cancel = context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- second(Dial(ctx, silent)) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("silent daemon: %v", err)
	}
}
