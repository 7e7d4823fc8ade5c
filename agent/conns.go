package agent

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/queue"
)

// maxCachedConns is how many connection cores stay in memory between transactions; those with operations under way stay
// anyway.
const maxCachedConns = 4096

// connEntry is a connection in memory.
type connEntry struct {
	id   ConnectionID
	core *conn.Conn
	meta connMeta
	open int    // operations under way
	used uint64 // turn of the last use, for eviction
}

type operationKey struct {
	conn ConnectionID
	op   conn.Op
}

type linkResult struct {
	link string
	err  error
}

func connWake(id ConnectionID) wakeKey { return wakeKey{wakeConn, string(id)} }

func (t *turn) connEnv(id ConnectionID) conn.Env {
	return conn.Env{
		Now:    t.now,
		Rand:   t.config.Rand,
		Tx:     t.tx.Records(store.Owner{Kind: store.Connection, ID: string(id)}),
		Bodies: t.tx.Bodies(),
	}
}

// conn returns a connection, loaded if it is not in memory. ErrNoConnection if there is none.
func (t *turn) conn(id ConnectionID) (*connEntry, error) {
	t.touched[connWake(id)] = true
	if e, ok := t.loop.conns[id]; ok {
		e.used = t.loop.turns.Load()
		return e, nil
	}
	e := &connEntry{id: id, used: t.loop.turns.Load()}
	if !t.get(recordKey(classConn, string(id)), &e.meta) {
		return nil, ErrNoConnection
	}
	core, err := conn.Load(id, t.connEnv(id).Tx)
	if err != nil {
		t.log.Error("stored connection is unreadable", "error", err)
		return nil, err
	}
	e.core = core
	t.loop.conns[id] = e
	for k := range t.loop.inflight {
		if k.conn == id {
			e.open++
		}
	}
	return e, nil
}

// clientConn is conn for a client's call: connections of groups are none of its business.
func (t *turn) clientConn(id ConnectionID) (*connEntry, error) {
	e, err := t.conn(id)
	if err != nil {
		return nil, err
	}
	if e.meta.owner() != OwnerClient {
		return nil, ErrNotYours
	}
	if e.meta.State == stateDeleting {
		return nil, ErrNoConnection
	}
	return e, nil
}

// addConn takes in a core that was just created.
func (t *turn) addConn(core *conn.Conn, meta connMeta, effects []conn.Effect) *connEntry {
	meta.Created = t.now
	e := &connEntry{id: core.ID(), core: core, meta: meta, used: t.loop.turns.Load()}
	t.touched[connWake(e.id)] = true
	t.loop.conns[e.id] = e
	t.saveMeta(e)
	t.connEffects(e, effects)
	return e
}

func (t *turn) saveMeta(e *connEntry) { t.put(recordKey(classConn, string(e.id)), e.meta) }

func (t *turn) setState(e *connEntry, state string) {
	if e.meta.State != state && e.meta.State != stateDeleting {
		e.meta.State = state
		t.saveMeta(e)
	}
}

// stepConn gives an input to a connection. An error is a refused call.
func (t *turn) stepConn(e *connEntry, in conn.Input) error {
	effects, err := e.core.Step(t.connEnv(e.id), in)
	if err != nil {
		return err
	}
	t.connEffects(e, effects)
	if e.meta.Held > 0 {
		t.later(func() { t.sendHeld(e) })
	}
	return nil
}

// inputConn gives an input that is no call to a connection, if it still exists.
func (t *turn) inputConn(id ConnectionID, in conn.Input) error {
	e, err := t.conn(id)
	if errors.Is(err, ErrNoConnection) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.stepConn(e, in)
}

func (t *turn) connEffects(e *connEntry, effects []conn.Effect) {
	t.wake(connWake(e.id), e.core.NextWake())
	for _, f := range effects {
		switch f := f.(type) {
		case conn.Operation:
			t.operation(e, f)
		case conn.Event:
			t.later(func() { t.connEvent(e, f) })
		}
	}
}

// operation holds an operation back until the commit.
func (t *turn) operation(e *connEntry, op conn.Operation) {
	if s, ok := op.(conn.Subscribe); ok {
		t.onCommit(func() { t.session(s.Server).want(e.id, s.Recipient) })
		return
	}
	spread := !t.following
	t.onCommit(func() { t.dispatch(e, op, spread) })
}

// connEvent takes an event of a connection to its owner.
func (t *turn) connEvent(e *connEntry, event conn.Event) {
	switch ev := event.(type) {
	case conn.Deleted:
		t.connDeleted(e)
		return
	case conn.ResyncChanged:
		e.meta.Ratchet = ev.State.String()
		if ev.State == conn.ResyncOK {
			e.meta.Ratchet = ""
		}
		t.saveMeta(e)
	case conn.SwitchChanged:
		t.switchChanged(e, ev)
	case conn.QueueDeleted: // or given up
		t.queueGone(e, ev.Server, ev.ID)
	}
	switch e.meta.owner() {
	case OwnerGroup:
		t.groupConnEvent(e, event)
	case OwnerDirect:
		t.directConnEvent(e, event)
	default:
		t.clientConnEvent(e, event)
	}
}

// clientConnEvent reports an event of a client's connection.
func (t *turn) clientConnEvent(e *connEntry, event conn.Event) {
	entity := connectionEntity(e.id)
	switch ev := event.(type) {
	case conn.LinkReady:
		e.meta.Link = ev.Link.Text()
		t.setState(e, stateWaiting)
		if e.meta.Kind == KindAddress {
			t.setState(e, stateAddress)
		}
		t.saveMeta(e)
		t.report(entity, &LinkReady{Link: e.meta.Link})
		t.answerLink(e.id, linkResult{link: e.meta.Link})
	case conn.Confirmation:
		t.setState(e, stateConnecting)
		t.report(entity, &Confirmation{Confirmation: ev.ID, Info: ev.Info})
	case conn.Request:
		t.report(entity, &Request{Request: ev.ID, Info: ev.Info, Compatible: ev.Compatible})
	case conn.Joined:
		t.setState(e, stateConnecting)
		t.report(entity, &Joined{CanSend: ev.SendReady})
	case conn.Info:
		t.report(entity, &PeerInfo{Info: ev.Info})
	case conn.Connected:
		t.setState(e, stateConnected)
		t.report(entity, &Connected{})
	case conn.Message:
		t.message(e, ev)
	case conn.Receipts:
		t.receipts(e, ev)
	case conn.Sent:
		if ev.Ref != internalRef {
			t.report(entity, &Sent{ID: ev.ID})
		}
	case conn.SendFailed:
		if ev.Ref != internalRef {
			t.report(entity, &SendFailed{ID: ev.ID, Code: string(ev.Err.Code)})
		}
	case conn.SendWarning:
		if ev.Ref != internalRef {
			t.report(entity, &SendDelayed{ID: ev.ID, Code: string(ev.Err.Code)})
		}
	case conn.Continued:
		t.report(entity, &Continued{})
	case conn.ResyncChanged:
		changed := &ResyncChanged{State: ev.State.String()}
		if ev.Err != nil {
			changed.Code = string(ev.Err.Code)
		}
		t.report(entity, changed)
	case conn.SwitchChanged:
		changed := &SwitchChanged{Direction: SwitchOwn, Phase: ev.Phase.String()}
		if ev.Sending {
			changed.Direction = SwitchPeer
		}
		if ev.Err != nil {
			changed.Code, changed.Detail = string(ev.Err.Code), ev.Err.Detail
		}
		t.report(entity, changed)
	case conn.Waiting:
		t.report(entity, failed(ev.Err))
	case conn.Failure:
		if ev.Err.Kind == conn.Over {
			t.setState(e, stateFailed)
			t.answerLink(e.id, linkResult{err: ev.Err})
		}
		t.report(entity, failed(ev.Err))
	case conn.QueueDeleted:
		if ev.Err != nil {
			t.report(entity, failed(ev.Err))
		}
	}
}

func failed(err *conn.Error) *Failed {
	fault := map[conn.Kind]string{conn.PeerFault: "peer", conn.OurFault: "agent", conn.Over: "over"}[err.Kind]
	return &Failed{Code: string(err.Code), Fault: fault, Detail: err.Detail}
}

// message reports a message to the client, or takes it as a group frame. One that was reported before and is still to be
// read in the event log is not reported again.
func (t *turn) message(e *connEntry, m conn.Message) {
	if frame, ok := groupFrame(m.Body); ok {
		t.contactFrame(e.id, frame)
		t.ackConn(e, m.ID)
		return
	}
	if t.unread(e.id, m.ID, m.Redelivered) {
		return
	}
	seq := t.report(connectionEntity(e.id), &Message{
		ID:        m.ID,
		Integrity: m.Integrity.String(),
		Received:  m.Received,
		RelayTime: m.Stored,
		Again:     m.Redelivered > 0,
		Sender:    m.SenderID,
		Body:      m.Body,
	})
	t.put(messageKey(e.id, m.ID), seq)
}

func (t *turn) receipts(e *connEntry, r conn.Receipts) {
	if t.unread(e.id, r.ID, r.Redelivered) {
		return
	}
	event := &Received{ID: r.ID}
	for _, item := range r.Items {
		event.Receipts = append(event.Receipts, Receipt{ID: item.Message, Good: item.OK, Info: item.Info})
	}
	t.put(messageKey(e.id, r.ID), t.report(connectionEntity(e.id), event))
}

// unread tells whether a message that the relay delivered again is in the log in front of some reader.
func (t *turn) unread(id ConnectionID, message int64, again int) bool {
	var seq uint64
	if again == 0 || !t.get(messageKey(id, message), &seq) || seq <= t.loop.trimmed {
		return false
	}
	for _, position := range t.loop.cursors {
		if position < seq {
			return true
		}
	}
	return len(t.loop.cursors) == 0
}

// ackConn acknowledges a message that needs no client.
func (t *turn) ackConn(e *connEntry, message int64) {
	if err := t.stepConn(e, conn.AckMessage{ID: message}); err != nil {
		t.log.Warn("acknowledgement refused", "error", err)
	}
}

// connDeleted removes what is left of a connection.
func (t *turn) connDeleted(e *connEntry) {
	for _, q := range e.meta.Queues {
		t.tx.DropRoute(q.Relay, q.ID)
		t.onCommit(func() { t.forgetQueue(q) })
	}
	t.tx.DeleteOwner(store.Owner{Kind: store.Connection, ID: string(e.id)})
	t.drop(recordKey(classConn, string(e.id)))
	t.dropAll(recordKey(classMessage, string(e.id), ""))
	t.dropInvitations(e.id)
	t.dropHeld(e)
	t.wake(connWake(e.id), e.core.NextWake())
	delete(t.loop.conns, e.id)
	t.answerLink(e.id, linkResult{err: ErrNoConnection})
	if e.meta.owner() == OwnerClient {
		t.report(connectionEntity(e.id), &Deleted{})
		t.directDeleted(e)
	}
}

// operated gives the result of an operation to its connection and keeps the routes of its queues.
func (t *turn) operated(e *connEntry, op conn.Operation, result conn.Input) error {
	switch r := result.(type) {
	case conn.QueueCreated:
		q := ownQueue{Relay: relayKey(r.Server), ID: []byte(r.Recipient)}
		e.meta.Queues = append(e.meta.Queues, q)
		t.saveMeta(e)
		key := op.(conn.NewQueue).Key
		t.tx.SetRoute(store.Route{Relay: q.Relay, Recipient: q.ID, Connection: string(e.id), Key: key.Seed()})
		t.onCommit(func() {
			t.session(r.Server).created(e.id, conn.Recipient{Server: r.Server, ID: r.Recipient, Key: key})
		})
	}
	t.following = true
	defer func() { t.following = false }()
	return t.stepConn(e, result)
}

// switchChanged keeps how far a switch is.
func (t *turn) switchChanged(e *connEntry, ev conn.SwitchChanged) {
	phase := ev.Phase.String()
	if ev.Phase >= conn.SwitchCompleted {
		phase = ""
	}
	if ev.Sending {
		e.meta.SwitchSending = phase
	} else {
		e.meta.SwitchReceiving = phase
	}
	t.saveMeta(e)
}

// queueGone forgets an own queue that its relay has deleted, or that was given up.
func (t *turn) queueGone(e *connEntry, server queue.Server, id queue.ID) {
	q := ownQueue{Relay: relayKey(server), ID: []byte(id)}
	e.meta.Queues = slices.DeleteFunc(e.meta.Queues, func(o ownQueue) bool { return o.Relay == q.Relay && bytes.Equal(o.ID, q.ID) })
	t.saveMeta(e)
	t.tx.DropRoute(q.Relay, q.ID)
	t.onCommit(func() { t.forgetQueue(q) })
}

// answerLink answers the calls that wait for the link of a connection.
func (t *turn) answerLink(id ConnectionID, r linkResult) {
	t.onCommit(func() {
		for _, waiting := range t.loop.links[id] {
			waiting <- r
		}
		delete(t.loop.links, id)
	})
}

// parseLink reads a full link in text form.
func parseLink(text string) (link.Request, error) {
	request, err := link.Parse(text)
	if err != nil {
		return link.Request{}, &conn.Error{Code: conn.CodeLink, Kind: conn.OurFault, Detail: "not a connection link"}
	}
	return request, nil
}

// evict drops the cores that were not used for longest, between transactions: a quarter of them, so that it is not done
// all the time. Connections with operations under way stay, because only their cores know what is.
func (a *Agent) evict(maxConns, maxGroups int) {
	l := &a.loop
	if len(l.conns) > maxConns {
		var idle []*connEntry
		for _, e := range l.conns {
			if e.open == 0 {
				idle = append(idle, e)
			}
		}
		slices.SortFunc(idle, func(a, b *connEntry) int { return cmp.Compare(a.used, b.used) })
		for _, e := range idle[:min(len(idle), 1+maxConns/4)] {
			delete(l.conns, e.id)
		}
	}
	if len(l.groups) > maxGroups {
		groups := slices.SortedFunc(maps.Values(l.groups), func(a, b *groupEntry) int { return cmp.Compare(a.used, b.used) })
		for _, g := range groups[:1+maxGroups/4] {
			delete(l.groups, g.id)
		}
	}
}
