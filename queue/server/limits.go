package server

import (
	"net"
	"net/netip"
)

// addressKey returns what counts as one address for the connection limit: an IPv4 address, or the /64 network that one
// IPv6 customer has.
func addressKey(a net.Addr) string {
	addrPort, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.String()
	}
	addr := addrPort.Addr().Unmap()
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return addr.String()
	}
	return prefix.String()
}
