package agent

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/queue"
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
	id, err = call(ctx, a, func(t *turn) (ConnectionID, error) {
		if len(t.config.Relays) == 0 {
			return "", ErrNoRelay
		}
		return once(t, o.Key, "create", []any{o.Contact, o.ClientData}, func() (ConnectionID, error) {
			return t.createConnection(o), nil
		})
	})
	if err != nil {
		return "", "", err
	}
	link, err = a.waitLink(ctx, id)
	return id, link, err
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
func (a *Agent) JoinConnection(ctx context.Context, text string, o JoinOptions) (ConnectionID, error) {
	request, err := parseLink(text)
	if err != nil {
		return "", err
	}
	return call(ctx, a, func(t *turn) (ConnectionID, error) {
		if len(t.config.Relays) == 0 {
			return "", ErrNoRelay
		}
		return once(t, o.Key, "join", []any{text, o.Info}, func() (ConnectionID, error) {
			return t.joinConnection(request, o)
		})
	})
}

// Allow answers a Confirmation event: the peer gets info, and the connection is made.
func (a *Agent) Allow(ctx context.Context, id ConnectionID, confirmation string, info []byte) error {
	return a.callConn(ctx, id, conn.Allow{Confirmation: confirmation, Info: info})
}

// Accept answers a Request event of the contact address id: a new connection to who asked, which gets info. Repeating it
// returns the same connection.
func (a *Agent) Accept(ctx context.Context, id ConnectionID, request string, info []byte) (ConnectionID, error) {
	return call(ctx, a, func(t *turn) (ConnectionID, error) {
		e, err := t.clientConn(id)
		if err != nil {
			return "", err
		}
		return once(t, "accept "+string(id)+" "+request, "accept", info, func() (ConnectionID, error) {
			asked, ok := e.core.Request(t.connEnv(id), request)
			if !ok {
				return "", ErrNoConnection
			}
			joined, err := t.joinConnection(asked.Link, JoinOptions{Info: info})
			if err != nil {
				return "", err
			}
			return joined, t.stepConn(e, conn.Answered{Request: request})
		})
	})
}

// Reject forgets a Request event of the contact address id. The peer is not told.
func (a *Agent) Reject(ctx context.Context, id ConnectionID, request string) error {
	return a.callConn(ctx, id, conn.Answered{Request: request})
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
	if bytes.HasPrefix(m.Body, []byte(groupPrefix)) {
		return 0, ErrReserved
	}
	return call(ctx, a, func(t *turn) (int64, error) {
		e, err := t.clientConn(id)
		if err != nil {
			return 0, err
		}
		return once(t, m.Key, "send", []any{id, m.Body}, func() (int64, error) { return t.send(e, m) })
	})
}

// AckOptions say how a message is acknowledged.
type AckOptions struct {
	// Receipt asks to tell the peer, if its version knows receipts. Info goes along.
	Receipt bool
	Info    []byte
}

// Ack acknowledges a Message or Received event by its ID, so that the relay forgets the message and delivers the next.
// o may be nil. One that is acknowledged already, or unknown, is ErrNoConnection's code, CONN NOT_FOUND.
func (a *Agent) Ack(ctx context.Context, id ConnectionID, message int64, o *AckOptions) error {
	return do(ctx, a, func(t *turn) error {
		e, err := t.clientConn(id)
		if err != nil {
			return err
		}
		in := conn.AckMessage{ID: message}
		if o != nil {
			in.Receipt, in.ReceiptInfo = o.Receipt, o.Info
		}
		if err := t.stepConn(e, in); err != nil {
			return err
		}
		t.drop(messageKey(id, message))
		return nil
	})
}

// Retry makes everything of the connection that waits for a later attempt due now.
func (a *Agent) Retry(ctx context.Context, id ConnectionID) error {
	return a.callConn(ctx, id, conn.Retry{})
}

// ConnectionResync makes a new ratchet with the peer, after ResyncChanged told that the two ends' encryption does not fit
// any more (allowed or required), or with force at any time. It returns when the keys for it are stored; the agent sends
// them, and once the peer has answered ResyncChanged tells ok. Until then nothing can be sent. Messages that the old
// ratchet did not open are lost: later ones say which (Message.Integrity). The security code is another one afterwards. A
// peer whose agent is older than version 3 of the agent protocol cannot do it (CMD PROHIBITED).
func (a *Agent) ConnectionResync(ctx context.Context, id ConnectionID, force bool) error {
	return a.callConn(ctx, id, conn.Resynchronise{Force: force})
}

// ConnectionSwitch moves the queue in which a connection's messages come in to another one, on another configured relay if
// there is one. It returns when the wish is stored; SwitchChanged tells how far it is. The peer must answer twice, so it
// takes until both have been online; messages go on meanwhile, and nothing is lost. At the end the old queue is deleted from
// its relay. CMD PROHIBITED while a switch is under way, and when the connection needs ConnectionResync.
func (a *Agent) ConnectionSwitch(ctx context.Context, id ConnectionID) error {
	return a.callConn(ctx, id, conn.SwitchQueue{})
}

// ConnectionSwitchAbort gives a switch up that the peer has not answered yet: phase started. Later it is CMD PROHIBITED,
// because the peer may use the new queue already.
func (a *Agent) ConnectionSwitchAbort(ctx context.Context, id ConnectionID) error {
	return a.callConn(ctx, id, conn.SwitchQueue{Abort: true})
}

// DeleteConnection ends a connection and removes its queues from their relays; Deleted follows. With wait, messages that
// are queued are still delivered, for at most 2 days. Deleting a connection that is gone is ErrNoConnection.
func (a *Agent) DeleteConnection(ctx context.Context, id ConnectionID, wait bool) error {
	return do(ctx, a, func(t *turn) error {
		e, err := t.clientConn(id)
		if err != nil {
			return err
		}
		t.setState(e, stateDeleting)
		return t.stepConn(e, conn.Delete{Wait: wait})
	})
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
	State   string         `json:"state"` // creating, waiting (link out), address, joining, connecting, connected, failed
	Created time.Time      `json:"created"`
	Link    string         `json:"link,omitempty"`    // of an initiator or address, once it exists
	Online  bool           `json:"online"`            // the relay of the own queue is reachable
	Ratchet string         `json:"ratchet,omitempty"` // whether the two ends' encryption fits, if it is not ok: see ResyncChanged
	// SwitchReceiving and SwitchSending are how far the switch of the own queue and of the peer's queue is, if there is one:
	// see SwitchChanged.
	SwitchReceiving string `json:"switchRcv,omitempty"`
	SwitchSending   string `json:"switchSnd,omitempty"`
}

// Connection returns what is known of a connection of the client.
func (a *Agent) Connection(ctx context.Context, id ConnectionID) (ConnectionInfo, error) {
	return call(ctx, a, func(t *turn) (ConnectionInfo, error) {
		e, err := t.clientConn(id)
		if err != nil {
			return ConnectionInfo{}, err
		}
		return t.connectionInfo(id, &e.meta), nil
	})
}

// Connections returns the client's connections, oldest first; those of groups are not among them.
func (a *Agent) Connections(ctx context.Context) ([]ConnectionInfo, error) {
	return call(ctx, a, func(t *turn) (all []ConnectionInfo, err error) {
		for _, id := range t.tx.Owners(store.Connection) {
			var meta connMeta
			id := ConnectionID(id)
			if t.get(recordKey(classConn, string(id)), &meta) && meta.owner() == OwnerClient && meta.State != stateDeleting {
				all = append(all, t.connectionInfo(id, &meta))
			}
		}
		return all, nil
	})
}

// callConn gives a call to a connection of the client.
func (a *Agent) callConn(ctx context.Context, id ConnectionID, in conn.Input) error {
	return do(ctx, a, func(t *turn) error {
		e, err := t.clientConn(id)
		if err != nil {
			return err
		}
		return t.stepConn(e, in)
	})
}

func (t *turn) createConnection(o CreateOptions) ConnectionID {
	id := conn.NewID(t.config.Rand)
	options := conn.CreateOptions{Kind: link.Invitation}
	meta := connMeta{Kind: KindInitiator, State: stateCreating}
	if o.Contact {
		options.Kind, meta.Kind = link.Contact, KindAddress
	}
	if o.ClientData != "" {
		options.ClientData = []byte(o.ClientData)
	}
	core, effects := conn.Create(t.connEnv(id), id, options)
	t.addConn(core, meta, effects)
	return id
}

func (t *turn) joinConnection(request link.Request, o JoinOptions) (ConnectionID, error) {
	id := conn.NewID(t.config.Rand)
	info := o.InfoFunc
	if info == nil {
		info = func([32]byte) ([]byte, error) { return o.Info, nil }
	}
	core, effects, err := conn.Join(t.connEnv(id), id, conn.JoinOptions{Link: request, Info: info})
	if err != nil {
		return "", err
	}
	t.addConn(core, connMeta{Kind: KindJoiner, State: stateJoining}, effects)
	return id, nil
}

// waitLink waits until a connection has its link.
func (a *Agent) waitLink(ctx context.Context, id ConnectionID) (string, error) {
	ready := make(chan linkResult, 1)
	err := do(ctx, a, func(t *turn) error {
		e, err := t.conn(id)
		switch {
		case err != nil:
			return err
		case e.meta.Link != "":
			ready <- linkResult{link: e.meta.Link}
		case e.meta.State == stateFailed:
			return &conn.Error{Code: conn.CodeNotAvailable, Kind: conn.Over}
		default:
			t.onCommit(func() { t.loop.links[id] = append(t.loop.links[id], ready) })
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	select {
	case r := <-ready:
		return r.link, r.err
	case <-ctx.Done():
		a.post(func(t *turn) error {
			t.onCommit(func() {
				t.loop.links[id] = slices.DeleteFunc(t.loop.links[id], func(c chan<- linkResult) bool { return c == ready })
			})
			return nil
		})
		return "", ctx.Err()
	case <-a.closing:
		return "", ErrClosed
	}
}

// send queues a message of the client and returns its number.
func (t *turn) send(e *connEntry, m Outgoing) (number int64, err error) {
	effects, err := e.core.Step(t.connEnv(e.id), conn.Send{Body: m.Body, Notify: m.Notify})
	if err != nil {
		return 0, err
	}
	for _, f := range effects {
		if q, ok := f.(conn.Queued); ok {
			number = q.ID
		}
	}
	t.connEffects(e, effects)
	return number, nil
}

func (t *turn) connectionInfo(id ConnectionID, meta *connMeta) ConnectionInfo {
	info := ConnectionInfo{
		ID: id, Kind: meta.Kind, State: meta.State, Created: meta.Created, Link: meta.Link, Ratchet: meta.Ratchet,
		SwitchReceiving: meta.SwitchReceiving, SwitchSending: meta.SwitchSending,
	}
	for _, q := range meta.Queues {
		if s, ok := t.loop.sessions[q.Relay]; ok && s.queues[queue.ID(q.ID)] != nil {
			info.Online = info.Online || s.queues[queue.ID(q.ID)].state == queueUp
		}
	}
	return info
}
