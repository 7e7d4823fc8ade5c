package control

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// allowed tells whether the other end of a Unix socket is a process of the own user or of root.
func allowed(c *net.UnixConn) bool {
	uid, err := peerUser(c)
	return err == nil && (uid == uint32(os.Geteuid()) || uid == 0)
}

// peerUser returns the user of the process at the other end.
func peerUser(c *net.UnixConn) (uid uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err == nil {
		err = failed
	}
	if err != nil {
		return 0, err
	}
	return peer.Uid, nil
}
