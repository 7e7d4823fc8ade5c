package client

import (
	"context"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/transport"
)

// Dial returns the function that connects to a relay over TLS: the hosts of its address in order. A nil dialer is the
// system's.
func Dial(server queue.Server, dialer transport.Dialer, config transport.ClientConfig) DialFunc {
	return func(ctx context.Context) (Conn, error) {
		conn, err := transport.Dial(ctx, dialer, server, config)
		if err != nil {
			return nil, err
		}
		return conn, nil
	}
}
