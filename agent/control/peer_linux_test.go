package control

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestProcessAtTheOtherEndIsKnown(t *testing.T) {
	l, err := listen(filepath.Join(t.TempDir(), "s"))
	must(t, err)
	defer l.Close()
	client, err := net.Dial("unix", l.Addr().String())
	must(t, err)
	defer client.Close()
	c, err := l.AcceptUnix()
	must(t, err)
	if uid, err := peerUser(c); err != nil || int(uid) != os.Geteuid() {
		t.Errorf("user %d, %v", uid, err)
	}
	if !allowed(c) {
		t.Error("the own user is refused")
	}
	must(t, c.Close())
	if allowed(c) {
		t.Error("a connection whose other end is unknown is allowed")
	}
}
