package agent

import (
	"errors"
	"slices"
	"strconv"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/grouproto"
)

// maxCachedGroups is how many group cores stay in memory between transactions.
const maxCachedGroups = 256

// groupEntry is a group in memory.
type groupEntry struct {
	id   GroupID
	core *grouproto.Group
	used uint64 // turn of the last use, for eviction
}

func groupWake(id GroupID) wakeKey { return wakeKey{wakeGroup, string(id)} }

func groupOwner(id GroupID) store.Owner { return store.Owner{Kind: store.Group, ID: string(id)} }

func (t *turn) groupEnv(id GroupID) grouproto.Env {
	return grouproto.Env{Now: t.now, Rand: t.config.Rand, Tx: t.tx.Records(groupOwner(id)), Limits: t.config.GroupLimits.limits()}
}

// groupEntry returns a group, loaded if it is not in memory. ErrNoGroup if there is none.
func (t *turn) groupEntry(id GroupID) (*groupEntry, error) {
	t.touched[groupWake(id)] = true
	if g, ok := t.loop.groups[id]; ok {
		g.used = t.loop.turns.Load()
		return g, nil
	}
	if !t.tx.HasOwner(groupOwner(id)) {
		return nil, ErrNoGroup
	}
	core, err := grouproto.Load(t.groupEnv(id).Tx)
	if err != nil {
		t.log.Error("stored group is unreadable", "error", err)
		return nil, err
	}
	g := &groupEntry{id: id, core: core, used: t.loop.turns.Load()}
	t.loop.groups[id] = g
	return g, nil
}

// addGroup takes in a core that was just created.
func (t *turn) addGroup(id GroupID, core *grouproto.Group, effects []grouproto.Effect) {
	g := &groupEntry{id: id, core: core, used: t.loop.turns.Load()}
	t.touched[groupWake(id)] = true
	t.loop.groups[id] = g
	name := core.ID()
	t.put(recordKey(classGroup, string(id)), groupMeta{Created: t.now, Name: name[:]})
	t.records().Put(recordKey(classGroupName, string(name[:]), string(id)), nil)
	t.groupEffects(g, effects)
}

// groupCommand gives a client's command to a group and returns its answer.
func (t *turn) groupCommand(id GroupID, in grouproto.Input) (grouproto.Done, error) {
	g, err := t.groupEntry(id)
	if err != nil {
		return grouproto.Done{}, err
	}
	effects := g.core.Step(t.groupEnv(id), in)
	var answer grouproto.Done
	for _, f := range effects {
		if d, ok := f.(grouproto.Done); ok {
			answer = d
			break
		}
	}
	t.groupEffects(g, effects)
	return answer, answer.Err
}

// groupInput gives an input that is no command to a group, after everything that was begun before.
func (t *turn) groupInput(id GroupID, in grouproto.Input) {
	t.later(func() {
		g, err := t.groupEntry(id)
		if err != nil {
			return // deleted, or unreadable, which was logged
		}
		t.groupEffects(g, g.core.Step(t.groupEnv(id), in))
	})
}

func (t *turn) groupTick(id GroupID) { t.groupInput(id, grouproto.Tick{}) }

func (t *turn) groupEffects(g *groupEntry, effects []grouproto.Effect) {
	t.wake(groupWake(g.id), g.core.NextWake())
	for _, f := range effects {
		t.later(func() { t.groupEffect(g, f) })
	}
}

func (t *turn) groupEffect(g *groupEntry, effect grouproto.Effect) {
	if change := t.config.effect; change != nil {
		for _, f := range change(t, g, effect) {
			t.performEffect(g, f)
		}
		return
	}
	t.performEffect(g, effect)
}

func (t *turn) performEffect(g *groupEntry, effect grouproto.Effect) {
	switch f := effect.(type) {
	case grouproto.Done:
	case grouproto.NewConn:
		t.groupNewConn(g, f)
	case grouproto.JoinConn:
		t.groupJoinConn(g, f)
	case grouproto.AllowConn:
		t.groupCall(g, f.Conn, conn.Allow{Confirmation: f.ConfID, Info: f.Info})
	case grouproto.SendConn:
		t.groupSendConn(g, f)
	case grouproto.ResyncConn:
		t.groupResync(g, f)
	case grouproto.DeleteConn:
		if e, err := t.conn(ConnectionID(f.Conn)); err == nil {
			t.setState(e, stateDeleting)
			t.groupCall(g, f.Conn, conn.Delete{Wait: true})
		}
	case grouproto.NewAddress, grouproto.OpenDoor, grouproto.AcceptDoor, grouproto.RefuseDoor, grouproto.SendDoor:
		t.groupDoorEffect(g, effect)
	case grouproto.SendContact:
		t.sendContact(ConnectionID(f.Contact), f.Frame)
	case grouproto.Notice:
		t.groupNotice(g, f.Event)
	}
}

// groupNewConn makes a pair connection, unless it exists.
func (t *turn) groupNewConn(g *groupEntry, f grouproto.NewConn) {
	id := ConnectionID(f.Conn)
	if _, err := t.conn(id); err == nil {
		return
	}
	core, effects := conn.Create(t.connEnv(id), id, conn.CreateOptions{Kind: link.Invitation})
	t.addConn(core, connMeta{Kind: KindInitiator, State: stateCreating, Group: g.id}, effects)
}

// groupJoinConn joins a pair connection, unless it exists.
func (t *turn) groupJoinConn(g *groupEntry, f grouproto.JoinConn) {
	id := ConnectionID(f.Conn)
	if _, err := t.conn(id); err == nil {
		return
	}
	fail := func() { t.groupInput(g.id, grouproto.Failed{Conn: f.Conn, Reason: grouproto.ReasonRefused}) }
	request, err := link.ParseBinary(f.Link)
	if err != nil || request.Kind != link.Invitation {
		fail()
		return
	}
	core, effects, err := conn.Join(t.connEnv(id), id, conn.JoinOptions{
		Link: request,
		Info: func(binding [32]byte) ([]byte, error) { return f.Hello(binding), nil },
	})
	if err != nil {
		t.log.Info("pair connection cannot be joined", "error", err)
		fail()
		return
	}
	t.addConn(core, connMeta{Kind: KindJoiner, State: stateJoining, Group: g.id}, effects)
}

// groupCall gives a call of a group to one of its connections.
func (t *turn) groupCall(g *groupEntry, name string, in conn.Input) {
	e, err := t.conn(ConnectionID(name))
	if err == nil {
		err = t.stepConn(e, in)
	}
	if err != nil {
		t.log.Info("pair connection refused a call", "error", err)
		t.groupInput(g.id, grouproto.Failed{Conn: name, Reason: reasonOf(err)})
	}
}

// groupResync makes the ratchet of a pair connection again, unless that is under way.
func (t *turn) groupResync(g *groupEntry, f grouproto.ResyncConn) {
	e, err := t.conn(ConnectionID(f.Conn))
	if err == nil && e.core.Resync() >= conn.ResyncStarted {
		return
	}
	t.groupCall(g, f.Conn, conn.Resynchronise{Force: true}) // it may have got well since the group was told
}

// groupSendConn sends a frame over a pair connection. A joiner may do so before its confirmation is made; then the frame
// waits for it.
func (t *turn) groupSendConn(g *groupEntry, f grouproto.SendConn) {
	e, err := t.conn(ConnectionID(f.Conn))
	m := heldSend{Ref: strconv.FormatUint(uint64(f.Ref), 10), Notify: f.Notify, body: f.Body}
	if err == nil && e.meta.Held > 0 {
		t.hold(e, m)
		return
	}
	if err == nil {
		err = t.stepConn(e, m.send())
	}
	switch {
	case err == nil:
	case errors.Is(err, errNoQueue) && e.meta.Kind == KindJoiner:
		t.hold(e, m)
	default:
		t.log.Info("pair connection refused a message", "error", err)
		t.groupInput(g.id, grouproto.SendFailed{Conn: f.Conn, Ref: f.Ref, Reason: sendReason(err)})
	}
}

// groupConnEvent takes an event of a pair connection to its group. Messages are acknowledged in the transaction in which
// the group has processed them.
func (t *turn) groupConnEvent(e *connEntry, event conn.Event) {
	if e.meta.Door || e.meta.Kind == KindAddress {
		t.groupDoorEvent(e, event)
		return
	}
	name := string(e.id)
	in := func(i grouproto.Input) { t.groupInput(e.meta.Group, i) }
	switch ev := event.(type) {
	case conn.LinkReady:
		t.setState(e, stateWaiting)
		in(grouproto.LinkReady{Conn: name, Link: ev.Link.Binary()})
	case conn.Confirmation:
		t.setState(e, stateConnecting)
		in(grouproto.Conf{Conn: name, ConfID: ev.ID, Binding: ev.Binding, Info: ev.Info})
	case conn.Info:
		in(grouproto.Info{Conn: name, Binding: ev.Binding, Info: ev.Info})
	case conn.Joined:
		t.setState(e, stateConnecting)
	case conn.Waiting:
		in(grouproto.Waits{Conn: name, Reason: reasonOf(ev.Err)})
	case conn.Connected:
		t.setState(e, stateConnected)
		in(grouproto.Connected{Conn: name})
	case conn.Message:
		in(grouproto.Message{Conn: name, Body: ev.Body})
		t.later(func() { t.ackGroupConn(e.id, ev.ID) })
	case conn.Receipts:
		t.later(func() { t.ackGroupConn(e.id, ev.ID) })
	case conn.Sent:
		in(grouproto.Sent{Conn: name, Ref: refOf(ev.Ref)})
	case conn.SendFailed:
		in(grouproto.SendFailed{Conn: name, Ref: refOf(ev.Ref), Reason: reasonOf(ev.Err)})
	case conn.SendWarning:
		if ev.Err.Code == conn.CodeQuota {
			in(grouproto.Quota{Conn: name})
		}
	case conn.Continued:
		in(grouproto.Continue{Conn: name})
	case conn.ResyncChanged:
		switch {
		case ev.Rebound != nil:
			side := map[conn.Side]grouproto.ResyncSide{conn.Receiving: grouproto.SideReceiving, conn.Sending: grouproto.SideSending}[ev.Rebound.Side]
			in(grouproto.Resynced{Conn: name, Binding: ev.Rebound.Binding, Side: side})
		case ratchetParted(ev):
			in(grouproto.ResyncNeeded{Conn: name})
		}
	case conn.Failure:
		if ev.Err.Kind == conn.PeerFault {
			t.log.Info("bad message on a pair connection", "error", ev.Err)
			return
		}
		t.setState(e, stateFailed)
		in(grouproto.Failed{Conn: name, Reason: reasonOf(ev.Err)})
	}
}

// ratchetParted tells whether a new ratchet is what a connection needs: not if only the box around a message did not open.
func ratchetParted(ev conn.ResyncChanged) bool {
	switch ev.State {
	case conn.ResyncRequired:
		return true
	case conn.ResyncAllowed:
		return ev.Err.Code != conn.CodeDecryptBox
	default:
		return false
	}
}

func (t *turn) ackGroupConn(id ConnectionID, message int64) {
	if e, err := t.conn(id); err == nil && t.loop.conns[id] == e {
		t.ackConn(e, message)
	}
}

func refOf(ref string) grouproto.Ref {
	n, err := strconv.ParseUint(ref, 10, 64)
	if err != nil {
		return 0 // refs start at 1: none of the group's
	}
	return grouproto.Ref(n)
}

// sendReason is reasonOf for a message that a connection refused.
func sendReason(err error) grouproto.Reason {
	if errors.Is(err, errResyncing) {
		return grouproto.ReasonRatchet
	}
	return reasonOf(err)
}

// reasonOf translates an error of a connection.
func reasonOf(err error) grouproto.Reason {
	var e *conn.Error
	if !errors.As(err, &e) {
		return grouproto.ReasonRefused
	}
	switch e.Code {
	case conn.CodeAuth:
		return grouproto.ReasonAuth
	case conn.CodeQuota:
		return grouproto.ReasonQuota
	case conn.CodeNotAvailable, conn.CodeNotAccepted:
		return grouproto.ReasonNotAvailable
	case codeHost, codeStore:
		return grouproto.ReasonHost
	case codeNetwork, codeTimeout:
		return grouproto.ReasonTemporary
	default:
		return grouproto.ReasonRefused
	}
}

// inGroup tells whether this agent is a member of a group, or waits to become one.
func (t *turn) inGroup(name grouproto.GroupID) bool {
	return slices.ContainsFunc(t.findGroups(name), func(id GroupID) bool {
		g, err := t.groupEntry(id)
		if err != nil {
			return false
		}
		s := g.core.Info().Status
		return s == grouproto.StatusMember || s == grouproto.StatusJoining || s == grouproto.StatusAsking
	})
}

// findGroups returns the memberships that this agent has in a group.
func (t *turn) findGroups(name grouproto.GroupID) (ids []GroupID) {
	prefix := recordKey(classGroupName, string(name[:]), "")
	t.records().Scan(prefix, nil, func(k, _ []byte) bool {
		ids = append(ids, GroupID(k[len(prefix):]))
		return true
	})
	return ids
}
