package agent

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/internal/kv"
	"github.com/coterie-im/coterie/queue"
)

// What the agent itself remembers: records of the store's owner Agent, JSON values, keyed by a class and a name.
const (
	classConn       = 'c' // connection ID → connMeta
	classGroup      = 'g' // group ID → groupMeta
	classGroupName  = 'n' // protocol's group ID, group ID → nothing: to find groups by contact frames
	classInvitation = 'i' // name → invitationRecord: received G_INV
	classToken      = 't' // contact, token of a G_INV → tokenRecord
	classMessage    = 'm' // connection ID, message ID → number of the MSG event, until it is acknowledged
	classOnce       = 'o' // hash of a key → onceRecord
	classDirect     = 'd' // group ID, member → directRecord
	classHeld       = 'h' // connection ID, order → heldSend
)

// connMeta is what the agent knows about a connection beside its core.
type connMeta struct {
	Kind    ConnectionKind `json:"kind"`
	State   string         `json:"state"`
	Group   GroupID        `json:"group,omitempty"`  // pair connection, door or address of this group
	Door    bool           `json:"door,omitempty"`   // not of a pair: a door of this group
	Direct  bool           `json:"direct,omitempty"` // of the direct-connection core, not ready yet
	Info    []byte         `json:"info,omitempty"`   // for who confirms a direct connection
	Link    string         `json:"link,omitempty"`
	Created time.Time      `json:"created"`
	Queues  []ownQueue     `json:"queues,omitempty"`
	Held    uint64         `json:"held,omitempty"`    // messages that wait until the connection can send
	HeldNum uint64         `json:"heldNum,omitempty"` // order of the next of them
	Ratchet string         `json:"ratchet,omitempty"` // state of its synchronisation; empty: ok

	SwitchReceiving string `json:"switchRcv,omitempty"` // phase of the switch to another own queue; empty: none
	SwitchSending   string `json:"switchSnd,omitempty"` // the same of the peer's queue
}

// ownQueue is a receive queue, as its route names it.
type ownQueue struct {
	Relay string `json:"relay"`
	ID    []byte `json:"id"`
}

func (m *connMeta) owner() OwnerKind {
	switch {
	case m.Group != "":
		return OwnerGroup
	case m.Direct:
		return OwnerDirect
	default:
		return OwnerClient
	}
}

// States of connections as ConnectionInfo shows them.
const (
	stateCreating   = "creating"   // waits for a relay
	stateWaiting    = "waiting"    // the link can be used
	stateAddress    = "address"    // a contact address in use
	stateJoining    = "joining"    // link taken, confirmation not delivered
	stateConnecting = "connecting" // confirmation delivered or received
	stateConnected  = "connected"
	stateFailed     = "failed"
	stateDeleting   = "deleting"
)

// groupMeta is what the agent knows about a group beside its core.
type groupMeta struct {
	Created time.Time `json:"created"`
	Name    []byte    `json:"name"` // the protocol's group ID
}

// records are the agent's own.
func (t *turn) records() kv.Tx { return t.tx.Records(store.Owner{Kind: store.Agent}) }

func recordKey(class byte, names ...string) []byte {
	key := []byte{class}
	for i, n := range names {
		if i < len(names)-1 {
			key = append(key, byte(len(n)))
		}
		key = append(key, n...)
	}
	return key
}

// put stores a value as JSON; values of this package always encode.
func (t *turn) put(key []byte, value any) {
	b, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("agent: encode record: %v", err))
	}
	t.records().Put(key, b)
}

// get reads a record; false if there is none or it does not decode.
func (t *turn) get(key []byte, value any) bool {
	b, ok := t.records().Get(key)
	return ok && json.Unmarshal(b, value) == nil
}

func (t *turn) drop(key []byte) { t.records().Delete(key) }

// dropAll removes all records whose keys start with prefix.
func (t *turn) dropAll(prefix []byte) {
	var keys [][]byte
	t.records().Scan(prefix, nil, func(k, _ []byte) bool {
		keys = append(keys, slices.Clone(k))
		return true
	})
	for _, k := range keys {
		t.drop(k)
	}
}

func messageKey(id ConnectionID, message int64) []byte {
	return binary.BigEndian.AppendUint64(recordKey(classMessage, string(id), ""), uint64(message))
}

// relayKey names a relay in routes and sessions: its address without the password.
func relayKey(s queue.Server) string {
	s.Password = ""
	return s.Text()
}
