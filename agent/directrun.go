package agent

import (
	"encoding/base64"
	"encoding/json"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/directconn"
	"github.com/coterie-im/coterie/grouproto"
)

// directEntry is the direct-connection core, one for all groups.
type directEntry struct{ core *directconn.Core }

var directWake = wakeKey{kind: wakeDirect}

func (t *turn) directEnv() directconn.Env {
	return directconn.Env{Now: t.now, Rand: t.config.Rand, Tx: t.tx.Records(store.Owner{Kind: store.Direct})}
}

func directPeer(g GroupID, member grouproto.Key) directconn.Peer {
	return directconn.Peer{Group: string(g), Member: member}
}

// directEntry returns the core, loaded if it is not in memory.
func (t *turn) directEntry() (*directEntry, error) {
	t.touched[directWake] = true
	if t.loop.direct == nil {
		core, err := directconn.Load(t.directEnv().Tx)
		if err != nil {
			t.log.Error("stored direct connections are unreadable", "error", err)
			return nil, err
		}
		t.loop.direct = &directEntry{core}
	}
	return t.loop.direct, nil
}

// directCommand gives a client's command to the core and returns its answer.
func (t *turn) directCommand(in directconn.Input) (directconn.Done, error) {
	d, err := t.directEntry()
	if err != nil {
		return directconn.Done{}, err
	}
	effects := d.core.Step(t.directEnv(), in)
	var answer directconn.Done
	for _, f := range effects {
		if done, ok := f.(directconn.Done); ok {
			answer = done
			break
		}
	}
	t.directEffects(effects)
	return answer, answer.Err
}

// directInput gives an input that is no command to the core, after everything that was begun before.
func (t *turn) directInput(in directconn.Input) {
	t.later(func() {
		if d, err := t.directEntry(); err == nil {
			t.directEffects(d.core.Step(t.directEnv(), in))
		}
	})
}

func (t *turn) directTick() { t.directInput(directconn.Tick{}) }

func (t *turn) directEffects(effects []directconn.Effect) {
	t.wake(directWake, t.loop.direct.core.NextWake())
	for _, f := range effects {
		t.later(func() { t.directEffect(f) })
	}
}

func (t *turn) directEffect(effect directconn.Effect) {
	switch f := effect.(type) {
	case directconn.NewConn:
		t.directNewConn(f)
	case directconn.JoinConn:
		t.directJoinConn(f)
	case directconn.SendConn:
		if e, err := t.conn(ConnectionID(f.Conn)); err != nil || t.stepConn(e, conn.Send{Body: f.Body, Notify: true}) != nil {
			t.log.Info("direct connection refused a message that waited")
		}
	case directconn.DeleteConn:
		if e, err := t.conn(ConnectionID(f.Conn)); err == nil {
			t.setState(e, stateDeleting)
			if err := t.stepConn(e, conn.Delete{}); err != nil {
				t.log.Warn("direct connection cannot be deleted", "error", err)
			}
		}
	case directconn.SendGroup:
		if _, err := t.groupCommand(GroupID(f.Peer.Group), grouproto.SendDirect{To: f.Peer.Member, Tag: grouproto.Tag(f.Kind), Payload: f.Payload}); err != nil {
			t.log.Info("direct connection frame cannot be sent", "error", err)
			if f.Kind == directconn.KindInvite {
				name, _ := t.loop.direct.core.Conn(f.Peer)
				t.directInput(directconn.Failed{Conn: name})
			}
		}
	case directconn.Notice:
		t.directNotice(f.Event)
	}
}

func (t *turn) directNewConn(f directconn.NewConn) {
	id := ConnectionID(f.Conn)
	if _, err := t.conn(id); err == nil {
		return
	}
	core, effects := conn.Create(t.connEnv(id), id, conn.CreateOptions{Kind: link.Invitation})
	t.addConn(core, connMeta{Kind: KindDirect, State: stateCreating, Direct: true, Info: t.directInfo(f.Peer)}, effects)
}

func (t *turn) directJoinConn(f directconn.JoinConn) {
	id := ConnectionID(f.Conn)
	if _, err := t.conn(id); err == nil {
		return
	}
	request, err := link.ParseBinary(f.Link)
	if err != nil || request.Kind != link.Invitation {
		t.directInput(directconn.Failed{Conn: f.Conn})
		return
	}
	info := t.directInfo(f.Peer)
	core, effects, err := conn.Join(t.connEnv(id), id, conn.JoinOptions{
		Link: request,
		Info: func([32]byte) ([]byte, error) { return info, nil },
	})
	if err != nil {
		t.log.Info("direct connection cannot be joined", "error", err)
		t.directInput(directconn.Failed{Conn: f.Conn})
		return
	}
	t.addConn(core, connMeta{Kind: KindDirect, State: stateJoining, Direct: true}, effects)
}

// directConnEvent takes an event of a direct connection that is being made to the core; what a contact would see anyway
// is reported to the client too.
func (t *turn) directConnEvent(e *connEntry, event conn.Event) {
	name := string(e.id)
	switch ev := event.(type) {
	case conn.LinkReady:
		t.setState(e, stateWaiting)
		t.directInput(directconn.LinkReady{Conn: name, Link: ev.Link.Binary()})
	case conn.Confirmation:
		t.setState(e, stateConnecting)
		t.report(connectionEntity(e.id), &PeerInfo{Info: ev.Info})
		if err := t.stepConn(e, conn.Allow{Confirmation: ev.ID, Info: e.meta.Info}); err != nil {
			t.directInput(directconn.Failed{Conn: name})
		}
	case conn.Connected:
		e.meta.Direct = false // a contact from now on
		e.meta.Info = nil
		t.saveMeta(e)
		t.setState(e, stateConnected)
		t.directInput(directconn.Connected{Conn: name})
	case conn.Failure:
		if ev.Err.Kind != conn.PeerFault {
			t.setState(e, stateFailed)
			t.directInput(directconn.Failed{Conn: name})
		}
	default:
		t.clientConnEvent(e, event)
	}
}

func (t *turn) directNotice(event directconn.Event) {
	switch ev := event.(type) {
	case directconn.Asked:
		t.changeDirect(ev.Peer, func(r *directRecord) { r.Asked = requestText(ev.Request) })
		t.report(GroupID(ev.Peer.Group).Entity(), &DirectRequest{Member: memberID(ev.Peer.Member), Request: requestText(ev.Request), Text: ev.Text})
	case directconn.Ready:
		t.report(GroupID(ev.Peer.Group).Entity(), &DirectReady{Member: memberID(ev.Peer.Member), Connection: ConnectionID(ev.Conn)})
	case directconn.Ended:
		t.report(GroupID(ev.Peer.Group).Entity(), &DirectEnded{Member: memberID(ev.Peer.Member), Request: requestText(ev.Request), Reason: whyNames[ev.Why]})
	}
}

var whyNames = map[directconn.Why]string{
	directconn.WhyRefused:   "refused",
	directconn.WhyExpired:   "expired",
	directconn.WhyGone:      "gone",
	directconn.WhyFailed:    "failed",
	directconn.WhyWithdrawn: "withdrawn",
}

// directDeleted tells the core that the client deleted a contact, which may have been a direct connection.
func (t *turn) directDeleted(e *connEntry) {
	if e.meta.Kind == KindDirect {
		t.directInput(directconn.Deleted{Conn: string(e.id)})
	}
}

// directRecord is what the agent remembers of a member beside the core.
type directRecord struct {
	Info  []byte `json:"info,omitempty"`  // what the client wants to tell the member when a direct connection is made
	Asked string `json:"asked,omitempty"` // the member's last request
}

func directKey(p directconn.Peer) []byte {
	return recordKey(classDirect, p.Group, string(p.Member[:]))
}

func (t *turn) directInfo(p directconn.Peer) []byte {
	var r directRecord
	t.get(directKey(p), &r)
	return r.Info
}

// changeDirect changes what is remembered of a member.
func (t *turn) changeDirect(p directconn.Peer, change func(r *directRecord)) {
	var r directRecord
	t.get(directKey(p), &r)
	change(&r)
	t.put(directKey(p), r)
}

// asker returns the member of a group who made a request.
func (t *turn) asker(g GroupID, request string) (p directconn.Peer, ok bool) {
	prefix := recordKey(classDirect, string(g), "")
	t.records().Scan(prefix, nil, func(k, v []byte) bool {
		var r directRecord
		if json.Unmarshal(v, &r) == nil && r.Asked == request && len(k) == len(prefix)+len(p.Member) {
			p, ok = directconn.Peer{Group: string(g), Member: [32]byte(k[len(prefix):])}, true
		}
		return !ok
	})
	return p, ok
}

func requestText(r directconn.RequestID) string { return base64.RawURLEncoding.EncodeToString(r[:]) }

func parseRequest(text string) (r directconn.RequestID, err error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != len(r) {
		return r, ErrNoInvitation
	}
	return directconn.RequestID(b), nil
}
