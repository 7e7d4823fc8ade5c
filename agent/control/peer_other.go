//go:build !linux

package control

import "net"

// allowed relies on the mode of the socket, 0600, where peer credentials have no common interface.
func allowed(*net.UnixConn) bool { return true }
