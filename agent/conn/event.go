package conn

import (
	"time"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/queue"
)

// Event is an effect for the client. Comments name it as the command protocol does.
type Event interface {
	Effect
	event()
}

// LinkReady gives the link of a connection that was created (INV).
type LinkReady struct{ Link link.Request }

// Joined tells that the confirmation, or the invitation for a contact address, is at the peer's relay (JOINED). With
// SendReady the client can send at once; else it waits for Connected.
type Joined struct{ SendReady bool }

// Confirmation tells the initiator who wants to connect (CONF); Allow answers it.
type Confirmation struct {
	ID      string
	Binding [32]byte // see InfoFunc
	Info    []byte   // the joiner's
	Server  queue.Server
}

// Request tells the owner of a contact address who wants to connect (REQ). Join with Link, on a new connection, accepts.
// Repeated requests of one person are not recognised.
type Request struct {
	ID         string
	Link       link.Request
	Compatible bool // false: Join would fail because of versions
	Info       []byte
}

// Info gives the joiner the initiator's info (INFO).
type Info struct {
	Binding [32]byte
	Info    []byte
}

// Connected tells that messages can go both ways (CON). At the initiator of a fast handshake it only means that its
// confirmation is at the joiner's relay.
type Connected struct{}

// Message is a message of the peer (MSG). It must be acknowledged with AckMessage; the relay keeps it until then.
type Message struct {
	ID        int64 // of this connection, counting messages both ways
	Body      []byte
	Integrity envelope.Integrity
	SenderID  int64    // the peer's number
	Broker    queue.ID // the relay's
	Stored    time.Time
	Received  time.Time
	// Redelivered counts how often the relay delivered it again without an acknowledgement; the event is the same but for
	// this number, so who remembers events ignores it when it is not 0.
	Redelivered int
}

// Queued answers Send: the message has got an ID and will be delivered in order (MID).
type Queued struct {
	ID  int64
	Ref string
}

// Sent tells that a message is at the peer's relay (SENT).
type Sent struct {
	ID  int64
	Ref string
}

// SendWarning tells that a message cannot be delivered for now (MWARN).
type SendWarning struct {
	ID  int64
	Ref string
	Err *Error
}

// SendFailed tells that a message was given up (MERR). If several are given up together there is one event each (MERRS).
type SendFailed struct {
	ID  int64
	Ref string
	Err *Error
}

// Receipts tells that messages of the client have arrived (RCVD). It must be acknowledged with AckMessage like a Message.
type Receipts struct {
	ID          int64
	Items       []Receipt
	Redelivered int // as in Message
}

// Receipt is about one message of the client.
type Receipt struct {
	Message int64 // its ID
	OK      bool  // false: the peer received something else (bad hash)
	Info    []byte
}

// Continued tells that the peer has drained its queue, so that delivery goes on (QCONT).
type Continued struct{}

// Resync is the state of ratchet synchronisation.
type Resync uint8

// The states (docs/protocol.md, "Ratchet re-synchronisation").
const (
	ResyncOK       Resync = iota
	ResyncAllowed         // something did not decrypt; re-synchronisation may help
	ResyncRequired        // the ratchets have come apart; sending is refused
	ResyncStarted         // own keys are on their way
	ResyncAgreed          // the ratchet is a new one; nothing was decrypted with it yet
)

// String returns the state's word in the command protocol.
func (r Resync) String() string {
	return [...]string{"ok", "allowed", "required", "started", "agreed"}[r]
}

// ResyncChanged tells a change of the ratchet's state (RSYNC).
type ResyncChanged struct {
	State   Resync
	Err     *Error   // why; nil when it got better
	Rebound *Rebound // with ResyncOK, if the ratchet is a new one; else nil
}

// Rebound names a ratchet that was made again. Binding is the same on both sides:
//
//	SHA-256(str8("coterie/rebind/1") ‖ AD)
//
// with the new ratchet's 112 bytes of associated data. Nobody who replaced a key on the way gets the same on both sides.
type Rebound struct {
	Binding [32]byte
	Side    Side
}

// Side is which end of a ratchet that was made again this is. The hashes of both ends' keys decide it, not who started:
// the end with the greater hash is Sending and encrypts the first message, the other is Receiving. Numbers are stored:
// never change or reuse one.
type Side uint8

// The sides.
const (
	Receiving Side = iota + 1
	Sending
)

// SwitchPhase is how far a switch to another queue is.
type SwitchPhase uint8

// The phases, in their order (docs/protocol.md, "Queue rotation").
const (
	SwitchStarted   SwitchPhase = iota + 1
	SwitchConfirmed             // the sender has answered with its keys
	SwitchSecured               // the new queue takes messages
	SwitchCompleted             // the old queue is not used any more
	SwitchAborted               // nothing comes of it; the old queue stays in use
)

// String returns the phase's word in the command protocol.
func (p SwitchPhase) String() string {
	return [...]string{"", "started", "confirmed", "secured", "completed", "aborted"}[p]
}

// SwitchChanged tells how far a switch is (SWITCH): of the own queue, or with Sending of the peer's.
type SwitchChanged struct {
	Sending bool
	Phase   SwitchPhase
	Err     *Error // why it does not go on; nil if it does, or if client or peer wanted it
}

// Waiting tells, once, that a step of the handshake has waited for a relay for some time, and goes on trying (ERR). Err is
// what the relay's last answer was.
type Waiting struct{ Err *Error }

// Failure is an error that belongs to no call (ERR). The connection goes on unless its kind is Over.
type Failure struct{ Err *Error }

// QueueDeleted tells that an own queue is gone from its relay, or was given up with an error (DEL_RCVQS).
type QueueDeleted struct {
	Server queue.Server
	ID     queue.ID // recipient ID
	Err    *Error
}

// Deleted is the last event: nothing is left of the connection (DEL_CONNS).
type Deleted struct{}

func (LinkReady) effect()     {}
func (Joined) effect()        {}
func (Confirmation) effect()  {}
func (Request) effect()       {}
func (Info) effect()          {}
func (Connected) effect()     {}
func (Message) effect()       {}
func (Queued) effect()        {}
func (Sent) effect()          {}
func (SendWarning) effect()   {}
func (SendFailed) effect()    {}
func (Receipts) effect()      {}
func (Continued) effect()     {}
func (ResyncChanged) effect() {}
func (SwitchChanged) effect() {}
func (Waiting) effect()       {}
func (Failure) effect()       {}
func (QueueDeleted) effect()  {}
func (Deleted) effect()       {}

func (LinkReady) event()     {}
func (Joined) event()        {}
func (Confirmation) event()  {}
func (Request) event()       {}
func (Info) event()          {}
func (Connected) event()     {}
func (Message) event()       {}
func (Queued) event()        {}
func (Sent) event()          {}
func (SendWarning) event()   {}
func (SendFailed) event()    {}
func (Receipts) event()      {}
func (Continued) event()     {}
func (ResyncChanged) event() {}
func (SwitchChanged) event() {}
func (Waiting) event()       {}
func (Failure) event()       {}
func (QueueDeleted) event()  {}
func (Deleted) event()       {}
