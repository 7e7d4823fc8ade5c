package transport

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// alpnServer lists what a relay accepts, in its order of preference: clients that imitate browsers offer http/1.1.
var alpnServer = []string{protocolName, "h2", "http/1.1"}

// handshakeFailure is the TLS alert of a server that has no certificate of a kind the client supports.
const handshakeFailure = tls.AlertError(40)

// clientTLS runs the TLS handshake of a client and returns the session identifier.
func clientTLS(ctx context.Context, conn net.Conn, fingerprint [sha256.Size]byte) (*tls.Conn, []byte, error) {
	recorder := &flightRecorder{Conn: conn, client: true}
	secret := &trafficSecret{}
	tlsConn := newTLSClient(recorder, secret, fingerprint)
	sessionID, err := finishTLS(ctx, tlsConn, recorder, secret)
	var alert tls.AlertError
	if errors.As(err, &alert) && alert == handshakeFailure {
		err = fmt.Errorf("%w (or it refuses TLS 1.3): %w", ErrEd448, err)
	}
	if err != nil {
		return nil, nil, err
	}
	return tlsConn, sessionID, nil
}

// newTLSClient validates the relay's chain against the fingerprint itself; names in certificates are ignored and no
// name is sent (an SNI would lead to a web page).
func newTLSClient(conn net.Conn, secret *trafficSecret, fingerprint [sha256.Size]byte) *tls.Conn {
	return tls.Client(conn, &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{protocolName},
		CurvePreferences:       []tls.CurveID{tls.X25519},
		SessionTicketsDisabled: true,
		// Nothing can be done with a part of a block, so small records only cost.
		DynamicRecordSizingDisabled: true,
		InsecureSkipVerify:          true, // the pinned fingerprint replaces names and system roots
		VerifyConnection: func(state tls.ConnectionState) error {
			return verifyChain(certificates(state.PeerCertificates), fingerprint)
		},
		KeyLogWriter: secret,
	})
}

// serverTLS runs the TLS handshake of a relay and returns the session identifier.
func serverTLS(ctx context.Context, conn net.Conn, identity *Identity) (*tls.Conn, []byte, error) {
	recorder := &flightRecorder{Conn: conn}
	secret := &trafficSecret{}
	tlsConn := tls.Server(recorder, serverTLSConfig(identity, secret))
	sessionID, err := finishTLS(ctx, tlsConn, recorder, secret)
	if err != nil {
		return nil, nil, err
	}
	return tlsConn, sessionID, nil
}

func serverTLSConfig(identity *Identity, secret *trafficSecret) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             alpnServer,
		CurvePreferences:       []tls.CurveID{tls.X25519},
		Certificates:           []tls.Certificate{identity.tls},
		SessionTicketsDisabled: true,
		// Nothing can be done with a part of a block, so small records only cost.
		DynamicRecordSizingDisabled: true,
		KeyLogWriter:                secret,
	}
}

func finishTLS(ctx context.Context, conn *tls.Conn, recorder *flightRecorder, secret *trafficSecret) ([]byte, error) {
	err := conn.HandshakeContext(ctx)
	flight, key := recorder.stop(), secret.take()
	defer clear(key)
	if err != nil {
		return nil, err
	}
	return clientFinished(flight, key, conn.ConnectionState().CipherSuite)
}
