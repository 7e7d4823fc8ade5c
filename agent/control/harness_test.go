package control

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds how long a test waits for something that must happen.
const patience = 30 * time.Second

// TestMain fails when a session, client or server has left a goroutine behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leftGoroutines(); code == 0 && left != "" {
		fmt.Fprintln(os.Stderr, "goroutines are left:\n"+left)
		code = 1
	}
	os.Exit(code)
}

func leftGoroutines() (left string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		var profile bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&profile, 2); err != nil {
			return err.Error()
		}
		left = ""
		for _, g := range strings.Split(profile.String(), "\n\n") {
			if strings.Contains(g, "control.(*") {
				left += g + "\n\n"
			}
		}
		if left == "" {
			return ""
		}
	}
	return left
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited too long until %s", what)
		}
	}
}

// within fails the test if f takes too long.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s takes too long", what)
	}
}

// daemon is a server on a socket of its own.
type daemon struct {
	*fake
	path string
	log  *safeBuffer
	stop func() // ends it and waits
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func startDaemon(t *testing.T) *daemon {
	t.Helper()
	return startDaemonAt(t, filepath.Join(t.TempDir(), "s"), newFake())
}

func startDaemonAt(t *testing.T, path string, f *fake) *daemon {
	t.Helper()
	d := &daemon{fake: f, path: path, log: &safeBuffer{}}
	server, err := Listen(path, f, "1.2.3", slog.New(slog.NewTextHandler(d.log, nil)))
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Serve(ctx)
	}()
	d.stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(d.stop)
	return d
}

func (d *daemon) dial(t *testing.T) *Client {
	t.Helper()
	c, err := Dial(t.Context(), d.path)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// rawClient speaks the protocol by hand.
type rawClient struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (d *daemon) raw(t *testing.T) *rawClient {
	t.Helper()
	c, err := net.Dial("unix", d.path)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	r := &rawClient{t, c, bufio.NewReader(c)}
	r.expect("Welcome to Coterie agent v1.2.3\r\n")
	return r
}

func (c *rawClient) send(text string) {
	c.t.Helper()
	must(c.t, c.conn.SetWriteDeadline(time.Now().Add(patience)))
	_, err := io.WriteString(c.conn, text)
	must(c.t, err)
}

// expect reads exactly this.
func (c *rawClient) expect(text string) {
	c.t.Helper()
	must(c.t, c.conn.SetReadDeadline(time.Now().Add(patience)))
	got := make([]byte, len(text))
	n, err := io.ReadFull(c.in, got)
	if string(got[:n]) != text {
		c.t.Fatalf("read %q, %v\nwant %q", got[:n], err, text)
	}
}

// line reads a line and returns it without its end.
func (c *rawClient) line() string {
	c.t.Helper()
	must(c.t, c.conn.SetReadDeadline(time.Now().Add(patience)))
	line, err := c.in.ReadString('\n')
	must(c.t, err)
	return strings.TrimRight(line, "\r\n")
}

// expectError reads an error answer and returns its last line.
func (c *rawClient) expectError(corrID, entity, code string) string {
	c.t.Helper()
	c.expect(corrID + "\r\n" + entity + "\r\n")
	line := c.line()
	if got, _, _ := strings.Cut(line, " :"); got != "ERR "+code {
		c.t.Fatalf("answer is %q, want ERR %s", line, code)
	}
	return line
}

// expectEnd waits for the end of the connection.
func (c *rawClient) expectEnd() {
	c.t.Helper()
	must(c.t, c.conn.SetReadDeadline(time.Now().Add(patience)))
	rest, err := io.ReadAll(c.in)
	if len(rest) > 0 || err != nil && os.IsTimeout(err) {
		c.t.Fatalf("%q instead of the end, %v", rest, err)
	}
}
