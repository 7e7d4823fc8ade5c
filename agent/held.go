package agent

import (
	"encoding/binary"
	"errors"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/grouproto"
)

// errNoQueue is how a connection refuses a message before it has somewhere to send it.
var errNoQueue error = &conn.Error{Code: conn.CodeNoQueue}

// errResyncing is how a connection refuses a message while its ratchet is made again.
var errResyncing error = &conn.Error{Code: conn.CodeProhibited}

// heldSend is a message for a pair connection whose confirmation is not made yet. It is stored, because the group takes
// it as handed over.
type heldSend struct {
	Ref    string `json:"ref"`
	Notify bool   `json:"notify,omitempty"`
	Body   []byte `json:"body"` // reference in the store
	body   []byte
}

func (m heldSend) send() conn.Send {
	return conn.Send{Body: m.body, Notify: m.Notify, Ref: m.Ref, NoReceipt: true}
}

func heldKey(id ConnectionID, n uint64) []byte {
	return binary.BigEndian.AppendUint64(recordKey(classHeld, string(id), ""), n)
}

// hold keeps a message until the connection can send.
func (t *turn) hold(e *connEntry, m heldSend) {
	m.Body = t.tx.Bodies().Add(m.body)
	t.put(heldKey(e.id, e.meta.HeldNum), m)
	e.meta.HeldNum++
	e.meta.Held++
	t.saveMeta(e)
}

// sendHeld hands over what was held, in order, as far as the connection takes it.
func (t *turn) sendHeld(e *connEntry) {
	for e.meta.Held > 0 && t.loop.conns[e.id] == e {
		key := heldKey(e.id, e.meta.HeldNum-e.meta.Held)
		var m heldSend
		if t.get(key, &m) {
			m.body = t.tx.Bodies().Get(m.Body)
			effects, err := e.core.Step(t.connEnv(e.id), m.send())
			if errors.Is(err, errNoQueue) && e.meta.State != stateFailed {
				return
			}
			t.connEffects(e, effects)
			if err != nil {
				t.groupInput(e.meta.Group, grouproto.SendFailed{Conn: string(e.id), Ref: refOf(m.Ref), Reason: sendReason(err)})
			}
			t.tx.Bodies().Release(m.Body)
		}
		t.drop(key)
		e.meta.Held--
		t.saveMeta(e)
	}
}

// dropHeld forgets what was held for a connection that is gone.
func (t *turn) dropHeld(e *connEntry) {
	for ; e.meta.Held > 0; e.meta.Held-- {
		key := heldKey(e.id, e.meta.HeldNum-e.meta.Held)
		var m heldSend
		if t.get(key, &m) {
			t.tx.Bodies().Release(m.Body)
		}
		t.drop(key)
	}
}
