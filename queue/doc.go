// Package queue is the relay protocol (SMP) without I/O: relay addresses, transmissions and their batches, authorization,
// commands, responses, errors, the sealed content of messages and the envelopes of proxying (docs/protocol.md, "Relay
// protocol").
//
// It knows bytes and rules about bytes. TLS, handshakes and block encryption are in queue/transport, sessions of a client
// in queue/client, the relay itself in queue/server. It has no clock and no randomness of its own: times are values,
// randomness is an io.Reader.
//
// Commands and responses are named by their tags on the wire: NEW, SUB, MSG, ERR. Everything is encoded for the version
// that a session has agreed on. Versions 6 to 9 are spoken in full (Supported); the formats of versions 10 to 18 are
// encoded and decoded too, where they differ, but are not announced.
package queue
