package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience bounds every wait of the demonstration.
const patience = 2 * time.Minute

// process is a program that runs beside the demonstration.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // why it ended; read after exited is closed
}

// launch starts a program and waits until it prints a first line. What it writes to standard error is appended to a file.
func launch(ctx context.Context, logFile string, name string, args ...string) (*process, string, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, "", err
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the demonstration, which then stops the others
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	first := make(chan string, 1)
	go func() {
		in := bufio.NewReader(stdout)
		line, _ := in.ReadString('\n')
		first <- strings.TrimSpace(line)
		_, _ = io.Copy(io.Discard, in)
		p.err = cmd.Wait()
		close(p.exited)
	}()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case line := <-first:
		if line == "" {
			<-p.exited
			return nil, "", fmt.Errorf("%s ended at once: %w (%s)", filepath.Base(name), p.err, lastLine(logFile))
		}
		return p, line, nil
	case <-ctx.Done():
		return nil, "", errors.Join(ctx.Err(), p.kill())
	}
}

// stop asks the process to end and waits for it.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return p.err
	case <-time.After(patience):
		return errors.Join(errors.New("does not stop"), p.kill())
	}
}

// kill ends the process without warning, as kill -9 does.
func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	<-p.exited
	return err
}

func lastLine(file string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return lines[len(lines)-1]
}

// relay is a relay in a folder of its own.
type relay struct {
	*process
	program, folder, listen, address string
}

// startRelay makes a relay on loopback and starts it.
func startRelay(ctx context.Context, programs, folder string) (*relay, error) {
	r := &relay{program: filepath.Join(programs, "smpserver"), folder: folder, listen: "127.0.0.1:0"}
	if out, err := exec.CommandContext(ctx, r.program, "init", "--dir", folder, "--host", "127.0.0.1").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make relay: %w: %s", err, out)
	}
	return r, r.start(ctx)
}

func (r *relay) start(ctx context.Context) error {
	p, address, err := launch(ctx, filepath.Join(r.folder, "log"), r.program, "start", "--dir", r.folder, "--listen", r.listen)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	r.process, r.address = p, address
	// A restarted relay must be where its queues say.
	r.listen = address[strings.LastIndex(address, "@")+1:]
	return nil
}
