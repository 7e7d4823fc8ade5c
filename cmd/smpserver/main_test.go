package main

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/transport"
)

// runProgram in the environment makes the test program behave as smpserver.
const runProgram = "SMPSERVER_RUN_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(runProgram) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"smpserver": main})
}

func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("SMPSERVER_DIR", e.Getenv("WORK")+"/relay")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitfile": waitFile,
			"smpping":  ping,
			"smpnew":   newQueue,
			"mode":     mode,
			"holdopen": holdOpen,
			"sigterm":  sigterm,
		},
	})
}

// waitFile FILE waits until a file exists.
func waitFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfile FILE")
	}
	ts.Check(poll(func() bool { _, err := os.Stat(ts.MkAbs(args[0])); return err == nil }))
}

func poll(f func() bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func connect(ts *testscript.TestScript, addressFile string) *transport.Conn {
	address, err := queue.ParseServer(strings.TrimSpace(ts.ReadFile(addressFile)))
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := transport.Dial(ctx, nil, address, transport.ClientConfig{})
	ts.Check(err)
	ts.Check(c.SetReadDeadline(time.Now().Add(30 * time.Second)))
	return c
}

func ask(ts *testscript.TestScript, c *transport.Conn, key queue.PrivateKey, command queue.Command) queue.Response {
	raw, err := queue.EncodeCommand(nil, c.Version(), c.SessionID(), c.PeerSessionKey(), "corr", "", key, command)
	ts.Check(err)
	var batch queue.Batch
	batch.Add(raw)
	ts.Check(c.WriteBlock(batch.Take()))
	payload, err := c.ReadBlock()
	ts.Check(err)
	list, err := queue.SplitBatch(payload)
	ts.Check(err)
	a, err := queue.DecodeAnswer(c.Version(), c.SessionID(), list[0])
	ts.Check(err)
	return a.Response
}

// ping ADDRESSFILE asks the relay whose address is in a file for PONG.
func ping(ts *testscript.TestScript, neg bool, args []string) {
	c := connect(ts, args[0])
	defer c.Close()
	if got := ask(ts, c, queue.PrivateKey{}, queue.PING{}); got != (queue.PONG{}) {
		ts.Fatalf("relay answered %T", got)
	}
}

// newQueue ADDRESSFILE [PASSWORD] creates a queue.
func newQueue(ts *testscript.TestScript, neg bool, args []string) {
	c := connect(ts, args[0])
	defer c.Close()
	key, err := queue.GenerateKey(keys.Ed25519, rand.Reader)
	ts.Check(err)
	dh, err := ecdh.X25519().GenerateKey(rand.Reader)
	ts.Check(err)
	command := queue.NEW{RecipientKey: key.Public(), RecipientDH: keys.FromX25519(dh.PublicKey()), Mode: queue.ModeMessaging}
	if len(args) > 1 {
		command.Password = args[1]
	}
	_, created := ask(ts, c, key, command).(queue.IDS)
	if created == neg {
		ts.Fatalf("created a queue: %v", created)
	}
}

// mode PERMISSIONS FILE... checks octal permissions.
func mode(ts *testscript.TestScript, neg bool, args []string) {
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

// holdOpen ADDRESSFILE keeps a connection open until the end of the script.
func holdOpen(ts *testscript.TestScript, neg bool, args []string) {
	c := connect(ts, args[0])
	ts.Defer(func() { _ = c.Close() })
}

// sigterm sends the signal to every command in the background.
func sigterm(ts *testscript.TestScript, neg bool, args []string) {
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGTERM))
	}
}

func TestExitStatus(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "relay")
	for _, c := range []struct {
		args string
		want int
	}{
		{"version", 0},
		{"start --dir " + dir, exitFailure},
		{"init --dir " + dir, exitUsage},
		{"nonsense", exitUsage},
		{"version extra", exitUsage},
		{"version --nonsense", exitUsage},
		{"init --dir " + dir + " --host h", 0},
		{"start --dir " + dir + " --listen nonsense", exitUsage},
		{"start --dir " + dir + " --listen 192.0.2.1:1", exitFailure},
	} {
		var out, errOut strings.Builder
		if got := run(strings.Fields(c.args), &out, &errOut); got != c.want {
			t.Errorf("%s: exit status %d, want %d: %s", c.args, got, c.want, errOut.String())
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"21d": 21 * 24 * time.Hour, "36h": 36 * time.Hour, "500ms": 500 * time.Millisecond} {
		var d duration
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%s: %v, %v", text, time.Duration(d), err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "21", "99999999d"} {
		var d duration
		if d.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestTemplateIsValid(t *testing.T) {
	text := fmt.Sprintf(configTemplate, `"smp.example.org"`, `":5223"`)
	c, err := parseConfig(text)
	if err == nil {
		err = c.check()
	}
	if err != nil || c.Host != "smp.example.org" || c.Listen[0] != ":5223" {
		t.Fatalf("%+v, %v", c, err)
	}
	// What is commented out are the defaults: with them it is valid too.
	var lines []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(rest, " ") {
			line = rest
		}
		lines = append(lines, line)
	}
	c, err = parseConfig(strings.Join(lines, ""))
	if err == nil {
		err = c.check()
	}
	if err != nil || !*c.Queues.New || c.Queues.Quota != 128 || time.Duration(c.Messages.TTL) != 21*24*time.Hour {
		t.Fatalf("%+v, %v", c, err)
	}
}

func TestConfigurationErrors(t *testing.T) {
	valid := config{Host: "h", Listen: []string{":1"}}
	for name, spoil := range map[string]func(*config){
		"no host":         func(c *config) { c.Host = "" },
		"host with space": func(c *config) { c.Host = "a b" },
		"no listener":     func(c *config) { c.Listen = nil },
		"no port":         func(c *config) { c.Listen = []string{"host"} },
		"password":        func(c *config) { c.Queues.Password = "a b" },
		"quota":           func(c *config) { c.Queues.Quota = -1 },
	} {
		c := valid
		spoil(&c)
		var usage usageError
		if err := c.check(); !errors.As(err, &usage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := valid.check(); err != nil {
		t.Error(err)
	}
}
