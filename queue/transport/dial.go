package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/coterie-im/coterie/queue"
)

// DefaultPort is the port of a relay whose address names none.
const DefaultPort = "5223"

// ErrHost reports an address without a host that can be reached from here: all of them are onion services.
var ErrHost = errors.New("relay has no host that can be reached without a proxy")

// Dialer opens network connections; *net.Dialer is one.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial connects to a relay: the hosts of its address are tried in order, onion hosts left out. The fingerprint in
// config is ignored, the address has it. A nil dialer is the system's.
func Dial(ctx context.Context, dialer Dialer, server queue.Server, config ClientConfig) (*Conn, error) {
	if dialer == nil {
		dialer = &net.Dialer{}
	}
	config.Fingerprint = server.Fingerprint
	err := ErrHost
	for _, host := range server.Hosts {
		if strings.HasSuffix(host, ".onion") {
			continue
		}
		address := net.JoinHostPort(strings.Trim(host, "[]"), cmp.Or(server.Port, DefaultPort))
		var conn net.Conn
		if conn, err = dialer.DialContext(ctx, "tcp", address); err != nil {
			// The cause without the address, which is nobody's business in a log.
			var op *net.OpError
			if errors.As(err, &op) {
				err = op.Err
			}
			err = fmt.Errorf("dial relay: %w", err)
			continue
		}
		var c *Conn
		if c, err = Client(ctx, conn, config); err == nil {
			return c, nil
		}
	}
	return nil, err
}
