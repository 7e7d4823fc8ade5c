package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

const maxPath = 107 // bytes of a socket's path on Linux; other systems have less

// ErrServed reports a command socket that another daemon serves.
var ErrServed = errors.New("command socket is served by another daemon")

// listen makes a socket that only the own user can open. One that nobody serves any more is replaced.
func listen(path string) (*net.UnixListener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("command socket: path of more than %d bytes", maxPath)
	}
	// Two daemons that start at the same time look at the socket one after the other.
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("command socket: %w", err)
	}
	defer folder.Close()
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("command socket: lock folder: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		// On Linux the mode of an unbound socket becomes that of its file. Elsewhere this fails, and Chmod follows below.
		return c.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), 0o600) })
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("command socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("command socket: %w", err), l.Close())
	}
	return l.(*net.UnixListener), nil
}

// removeStale removes a socket that a daemon left behind. ErrServed if there still is one.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("command socket: %w", err)
	case info.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("command socket: %w and is no socket", os.ErrExist)
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
		return ErrServed
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("command socket: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("command socket: %w", err)
	}
	return nil
}
