package control

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// abandoned makes a socket as a killed daemon leaves it behind.
func abandoned(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	must(t, err)
	l.SetUnlinkOnClose(false)
	must(t, l.Close())
	return path
}

func TestSocketIsForItsOwnerOnly(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	for _, path := range []string{filepath.Join(t.TempDir(), "s"), abandoned(t)} {
		l, err := listen(path)
		must(t, err)
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode() != os.ModeSocket|0o600 {
			t.Errorf("mode %v", info.Mode())
		}
		must(t, l.Close())
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a closed socket is still there: %v", err)
		}
	}
}

func TestSocketIsReplacedOnlyIfNobodyServesIt(t *testing.T) {
	path := abandoned(t)
	l, err := listen(path)
	must(t, err)
	if _, err := listen(path); !errors.Is(err, ErrServed) {
		t.Errorf("second daemon: %v", err)
	}
	c, err := net.Dial("unix", path)
	must(t, err)
	must(t, c.Close())
	must(t, l.Close())

	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte("precious"), 0o600))
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(path, link))
	for _, other := range []string{file, link, filepath.Dir(file)} {
		if _, err := listen(other); !errors.Is(err, os.ErrExist) {
			t.Errorf("%s: %v", other, err)
		}
	}
	if b, err := os.ReadFile(file); string(b) != "precious" || err != nil {
		t.Errorf("file is %q, %v", b, err)
	}
	if _, err := listen(filepath.Join(file, "s")); err == nil {
		t.Error("listens below a file")
	}
	if _, err := listen(filepath.Join(t.TempDir(), strings.Repeat("x", maxPath))); err == nil || !strings.Contains(err.Error(), "path of more than") {
		t.Errorf("long path: %v", err)
	}
}

func TestOneOfManyDaemonsGetsTheSocket(t *testing.T) {
	path := abandoned(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	var got []net.Listener
	for range 16 {
		all.Go(func() {
			l, err := listen(path)
			switch {
			case err == nil:
				mu.Lock()
				got = append(got, l)
				mu.Unlock()
			case !errors.Is(err, ErrServed):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(got) != 1 {
		t.Errorf("%d daemons have the socket", len(got))
	}
	for _, l := range got {
		must(t, l.Close())
	}
}
