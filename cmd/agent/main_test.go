package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/server"
	"github.com/coterie-im/coterie/queue/store/sqlite"
	"github.com/coterie-im/coterie/queue/transport"
)

// patience bounds every wait.
const patience = time.Minute

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"agent": main})
}

// TestCommands runs the scripts with real daemons, which are processes of this test binary, and one relay for all.
func TestCommands(t *testing.T) {
	relay := startRelay(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("RELAY", relay)
			e.Setenv("HOME", e.Getenv("WORK")+"/home")
			e.Values[daemons{}] = map[string]*daemon{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"daemon":  startDaemon,
			"halt":    stopDaemon,
			"as":      as,
			"status":  status,
			"take":    takeField,
			"until":   until,
			"connect": connect,
			"mode":    mode,
		},
	})
}

// startRelay runs a relay on the loopback interface and returns its address.
func startRelay(t *testing.T) string {
	t.Helper()
	authority, err := transport.NewAuthority(time.Now())
	must(t, err)
	identity, err := authority.Issue("127.0.0.1", time.Now())
	must(t, err)
	storage, err := sqlite.Open(filepath.Join(t.TempDir(), "relay.db"), sqlite.Options{})
	must(t, err)
	relay, err := server.New(server.Config{Store: storage, Identity: identity})
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- relay.Serve(l) }()
	t.Cleanup(func() {
		_ = relay.Close()
		<-served
		must(t, storage.Close())
	})
	host, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	return queue.Server{Fingerprint: identity.Fingerprint(), Hosts: []string{host}, Port: port}.Text()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type daemons struct{}

// daemon is a process that runs "agent start".
type daemon struct {
	cmd    *exec.Cmd
	log    string // file with its standard error
	exited chan struct{}
	err    error // why it ended; read after exited is closed
}

func running(ts *testscript.TestScript) map[string]*daemon {
	return ts.Value(daemons{}).(map[string]*daemon)
}

// startDaemon is daemon NAME [FLAG...]: it starts "agent start --folder NAME" and waits for its first line, which must be "ready". Its log
// is appended to NAME.log.
func startDaemon(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	folders := strings.Split(ts.Getenv("PATH"), string(os.PathListSeparator)) // the first has the programs of the test
	program := filepath.Join(folders[0], "agent")
	d := &daemon{log: ts.MkAbs(name + ".log"), exited: make(chan struct{})}
	d.cmd = exec.Command(program, append([]string{"start", "--folder", name}, args[1:]...)...)
	d.cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		d.cmd.Env = append(d.cmd.Env, name+"="+ts.Getenv(name))
	}
	if !slices.Contains(args, "--relay") && !slices.Contains(args, "--config") {
		d.cmd.Args = append(d.cmd.Args, "--relay", ts.Getenv("RELAY"))
	}
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	ts.Check(err)
	defer log.Close()
	d.cmd.Stderr = log
	out, err := d.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(d.cmd.Start())
	first := make(chan string, 1)
	go func() {
		in := bufio.NewReader(out)
		line, _ := in.ReadString('\n')
		first <- line
		_, _ = io.Copy(io.Discard, in)
		d.err = d.cmd.Wait()
		close(d.exited)
	}()
	ts.Defer(func() {
		_ = d.cmd.Process.Kill()
		<-d.exited
	})
	select {
	case line := <-first:
		if line != "ready\n" {
			<-d.exited
			ts.Fatalf("%s: first line %q, %v: %s", name, line, d.err, ts.ReadFile(d.log))
		}
	case <-time.After(patience):
		ts.Fatalf("%s does not start", name)
	}
	running(ts)[name] = d
}

// stopDaemon is halt NAME [SIGNAL...]: it sends signals, SIGTERM if none is named, and waits for the end, which must be a success unless
// the last signal is KILL.
func stopDaemon(ts *testscript.TestScript, _ bool, args []string) {
	d := running(ts)[args[0]]
	if d == nil {
		ts.Fatalf("%s does not run", args[0])
	}
	delete(running(ts), args[0])
	signals := args[1:]
	if len(signals) == 0 {
		signals = []string{"TERM"}
	}
	for _, s := range signals {
		ts.Check(d.cmd.Process.Signal(map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}[s]))
	}
	select {
	case <-d.exited:
	case <-time.After(patience):
		ts.Fatalf("%s does not stop", args[0])
	}
	if killed := signals[len(signals)-1] == "KILL"; (d.err != nil) != killed {
		ts.Fatalf("%s ended with %v: %s", args[0], d.err, ts.ReadFile(d.log))
	}
}

// as NAME ARG... runs a one-shot command for the daemon NAME.
func as(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("agent", append([]string{"--folder", args[0]}, args[1:]...)...)
	if (err != nil) != neg {
		ts.Fatalf("agent %v: %v", args, err)
	}
}

// status CODE ARG... runs agent, which must end with this exit status.
func status(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec("agent", args[1:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("agent %v: %v", args[1:], err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("agent %v: exit status %d, want %d", args[1:], code, want)
	}
}

// takeField is take FIELD.FIELD VARIABLE: it takes a value out of the JSON that the last command printed on its last line.
func takeField(ts *testscript.TestScript, _ bool, args []string) {
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	var v any
	ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &v))
	for name := range strings.SplitSeq(args[0], ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[name]
		case []any:
			i, err := strconv.Atoi(name)
			ts.Check(err)
			v = in[i]
		}
	}
	if v == nil {
		ts.Fatalf("no %s in %s", args[0], lines[len(lines)-1])
	}
	ts.Setenv(args[1], fmt.Sprint(v))
}

// until PATTERN NAME ARG... runs a one-shot command again and again until what it prints has PATTERN in it.
func until(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		as(ts, false, args[1:])
		if strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("%q does not come", args[0])
		}
	}
}

// connect A B makes a connection between two daemons and sets A_B and B_A to the two ends.
func connect(ts *testscript.TestScript, _ bool, args []string) {
	a, b := args[0], args[1]
	run := func(name string, args ...string) {
		as(ts, false, append([]string{name}, args...))
	}
	run(a, "new", "--json")
	takeField(ts, false, []string{"connection", a + "_" + b})
	takeField(ts, false, []string{"link", "LINK"})
	run(b, "join", "--json", ts.Getenv("LINK"))
	takeField(ts, false, []string{"connection", b + "_" + a})
	for cursor := "connect-" + b; ts.Getenv("CONFIRMED") != ts.Getenv(a+"_"+b); {
		run(a, "events", "--cursor", cursor, "--type", "CONF", "-n", "1", "--wait", "60s")
		takeField(ts, false, []string{"entity", "CONFIRMED"})
		ts.Setenv("CONFIRMED", strings.TrimPrefix(ts.Getenv("CONFIRMED"), "C:"))
		takeField(ts, false, []string{"data.confirmation", "CONFIRMATION"})
	}
	run(a, "allow", ts.Getenv(a+"_"+b), ts.Getenv("CONFIRMATION"))
	for _, end := range []string{a + " " + a + "_" + b, b + " " + b + "_" + a} {
		name, variable, _ := strings.Cut(end, " ")
		until(ts, false, []string{" connected ", name, "show", ts.Getenv(variable)})
	}
}

// mode PERMISSIONS FILE... checks octal permissions.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	for _, file := range args[1:] {
		info, err := os.Stat(ts.MkAbs(file))
		ts.Check(err)
		if info.Mode().Perm() != os.FileMode(want) {
			ts.Fatalf("%s has permissions %o", file, info.Mode().Perm())
		}
	}
}

func TestIDsThatLookLikeFlagsAreArguments(t *testing.T) {
	root := newRoot()
	const id = "-Qm9iJ3MgY29ubi4"
	for _, c := range []struct{ in, want string }{
		{"send " + id + " text --key k", "send !" + id + " text --key k"},
		{"join " + id + " --key " + id + " --info=" + id, "join !" + id + " --key " + id + " --info=" + id},
		{"group remove " + id + " -" + id + " --hide " + id, "group remove !" + id + " !-" + id + " --hide !" + id},
		{"send -- " + id + " --json", "send -- " + id + " --json"},
		{"recv -n 1 --wait 5s --receipt -n5", "recv -n 1 --wait 5s --receipt -n5"},
		{"start --passphrase-file -- " + id, "start --passphrase-file -- !" + id},
		{"send -short --unknown", "send -short --unknown"},
	} {
		got := strings.Join(protect(root, strings.Fields(c.in)), " ")
		if got = strings.ReplaceAll(got, shield, "!"); got != c.want {
			t.Errorf("%s: %s", c.in, got)
		}
	}
	if got := unprotected(protect(root, []string{id, "x"})); !slices.Equal(got, []string{id, "x"}) {
		t.Errorf("came back as %q", got)
	}
}

func TestTextOfOthersIsPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain \"text\", zażółć 😀": "plain \"text\", zażółć 😀",
		"two\nlines":               `two\nlines`,
		"\x1b[2Jgone":              `\x1b[2Jgone`,
		`back\slash`:               `back\\slash`,
		"\xff\u202e":               `\xff\u202e`,
	} {
		if got := printable([]byte(in)); got != want {
			t.Errorf("%q is printed as %s", in, got)
		}
	}
}

func TestGroupThatNeedsANewerProgramSaysSo(t *testing.T) {
	var out strings.Builder
	showGroup(&out, agent.GroupInfo{Policy: agent.Policy{Version: 2}, Upgrade: true, Unjudged: 3})
	if want := "\nneeds a newer version of this program: accepts operations of version 2, 3 not judged here\n"; !strings.Contains(out.String(), want) {
		t.Error(out.String())
	}
	out.Reset()
	if showGroup(&out, agent.GroupInfo{}); strings.Contains(out.String(), "newer") {
		t.Error(out.String())
	}
}
