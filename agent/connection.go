package agent

import (
	"context"
	"time"
)

// CreateOptions say what CreateConnection makes.
type CreateOptions struct {
	// Contact makes a reusable contact address; otherwise the link is for one joiner.
	Contact bool
	// ClientData is UTF-8 text that travels in the link, opaque to the agent.
	ClientData string
	// Key makes a repeat of the call return the same connection; see package doc.
	Key string
}

// CreateConnection makes a one-time link or a contact address and returns it with the connection that will come of it.
// It waits for a relay to make the queue. When ctx ends before, the returned ID is valid with the error: the agent goes on
// trying and reports the link with LinkReady (INV), unless DeleteConnection says otherwise.
func (a *Agent) CreateConnection(ctx context.Context, o CreateOptions) (id ConnectionID, link string, err error) {
	return a.createConnection(ctx, o)
}

// JoinOptions say how JoinConnection joins.
type JoinOptions struct {
	// Info goes to the peer with the first message, up to 14,500 bytes; it may be empty.
	Info []byte
	// InfoFunc builds the info from the binding of the connection (see conn.InfoFunc) instead of Info. It runs in the
	// agent's loop and must not call the agent.
	InfoFunc func(binding [32]byte) ([]byte, error)
	// Key makes a repeat of the call return the same connection; see package doc.
	Key string
}

// JoinConnection joins the link of another agent, in text form. It returns when everything is stored; the agent then
// connects by itself, across restarts, and reports Joined, PeerInfo and Connected, or Failed. At a contact address the
// owner must accept first; then Confirmation comes, to be answered with Allow.
func (a *Agent) JoinConnection(ctx context.Context, link string, o JoinOptions) (ConnectionID, error) {
	return a.joinConnection(ctx, link, o)
}

// Allow answers a Confirmation event: the peer gets info, and the connection is made.
func (a *Agent) Allow(ctx context.Context, id ConnectionID, confirmation string, info []byte) error {
	return a.allow(ctx, id, confirmation, info)
}

// Accept answers a Request event of the contact address id: a new connection to who asked, which gets info. Repeating it
// returns the same connection.
func (a *Agent) Accept(ctx context.Context, id ConnectionID, request string, info []byte) (ConnectionID, error) {
	return a.accept(ctx, id, request, info)
}

// Reject forgets a Request event of the contact address id. The peer is not told.
func (a *Agent) Reject(ctx context.Context, id ConnectionID, request string) error {
	return a.reject(ctx, id, request)
}

// Outgoing is a message to send.
type Outgoing struct {
	// Body has up to 15,795 bytes and must not start with the reserved prefix of group frames (ErrReserved).
	Body []byte
	// Notify asks the relay for a push notification.
	Notify bool
	// Key makes a repeat of the call return the same message instead of sending a second; see package doc.
	Key string
}

// Send queues a message and returns its number in this connection. Messages are delivered in order; Sent or SendFailed
// follow.
func (a *Agent) Send(ctx context.Context, id ConnectionID, m Outgoing) (message int64, err error) {
	return a.send(ctx, id, m)
}

// AckOptions say how a message is acknowledged.
type AckOptions struct {
	// Receipt asks to tell the peer, if its version knows receipts. Info goes along.
	Receipt bool
	Info    []byte
}

// Ack acknowledges a Message or Received event by its ID, so that the relay forgets the message and delivers the next.
// o may be nil. Acknowledging again is no error while nothing newer is known.
func (a *Agent) Ack(ctx context.Context, id ConnectionID, message int64, o *AckOptions) error {
	return a.ack(ctx, id, message, o)
}

// Retry makes everything of the connection that waits for a later attempt due now.
func (a *Agent) Retry(ctx context.Context, id ConnectionID) error { return a.retry(ctx, id) }

// DeleteConnection ends a connection and removes its queues from their relays; Deleted follows. With wait, messages that
// are queued are still delivered, for at most 2 days. Deleting a connection that is gone is ErrNoConnection.
func (a *Agent) DeleteConnection(ctx context.Context, id ConnectionID, wait bool) error {
	return a.deleteConnection(ctx, id, wait)
}

// ConnectionKind says what a connection is.
type ConnectionKind string

// The kinds.
const (
	KindInitiator ConnectionKind = "initiator" // made by CreateConnection
	KindAddress   ConnectionKind = "address"   // a contact address
	KindJoiner    ConnectionKind = "joiner"    // made by JoinConnection or Accept
	KindDirect    ConnectionKind = "direct"    // a direct connection with a member of a group
)

// ConnectionInfo is what is known of a connection.
type ConnectionInfo struct {
	ID      ConnectionID   `json:"id"`
	Kind    ConnectionKind `json:"kind"`
	State   string         `json:"state"` // of the handshake, see package conn
	Created time.Time      `json:"created"`
	Link    string         `json:"link,omitempty"` // of an initiator or address, once it exists
	Queued  int            `json:"queued"`         // messages that wait to be sent
	Online  bool           `json:"online"`         // the relay of the own queue is reachable
}

// Connection returns what is known of a connection of the client.
func (a *Agent) Connection(ctx context.Context, id ConnectionID) (ConnectionInfo, error) {
	return a.connection(ctx, id)
}

// Connections returns the client's connections, oldest first; those of groups are not among them.
func (a *Agent) Connections(ctx context.Context) ([]ConnectionInfo, error) { return a.connections(ctx) }
