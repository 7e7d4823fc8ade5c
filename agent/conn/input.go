package conn

import (
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// Input is something that happened: the result of an operation, a message from a relay, a call of the client, or time
// that passed.
type Input interface{ input() }

// QueueCreated is the success of NewQueue.
type QueueCreated struct {
	Op        Op
	Server    queue.Server
	Recipient queue.ID
	Sender    queue.ID
	ServerKey keys.Public // X25519, the relay's
	Mode      queue.Mode  // as the relay confirmed it; ModeNone if it knows no modes
}

// OperationDone is the success of any other operation.
type OperationDone struct{ Op Op }

// OperationFailed is the failure of an operation. Code is reported to the client: "SMP " and the relay's words, or one of
// "BROKER TIMEOUT", "BROKER NETWORK", "BROKER HOST".
type OperationFailed struct {
	Op    Op
	Class Class
	Code  Code
}

// Received is a message from a relay (MSG) in one of the connection's queues.
type Received struct {
	Queue queue.ID // recipient ID
	ID    queue.ID // message ID
	Body  []byte   // as it came, encrypted between relay and recipient
}

// Allow answers a Confirmation: the initiator sends its own info, and the connection is made. Refused with CodeNotFound if
// there is no such confirmation, CodeProhibited if it was answered, CodeLarge if info is longer than 14,829 bytes.
type Allow struct {
	Confirmation string
	Info         []byte
}

// Send queues a message; the effect Queued gives its ID. Refused with CodeLarge, CodeNoQueue before there is a queue to
// send to, CodeProhibited when the ratchet must be re-synchronised, CodeBusy if MaxOutbox messages wait.
type Send struct {
	Body   []byte
	Notify bool   // ask for a push notification
	Ref    string // given back with Queued, Sent, SendFailed and SendWarning; up to 255 bytes
	// NoReceipt says that a receipt of the peer would mean nothing: then nothing is kept to recognise it.
	NoReceipt bool
}

// AckMessage tells that the client has finished with a Message or Receipts event: the relay may forget it and deliver the
// next. With Receipt set, a receipt with ReceiptInfo goes to the peer, if the peer's version knows receipts; before the
// connection is made it waits. Refused with CodeNotFound if nothing with that ID waits, CodeProhibited for a receipt of a
// receipt, CodeLarge.
type AckMessage struct {
	ID          int64
	Receipt     bool
	ReceiptInfo []byte
}

// Resynchronise makes a new ratchet with the peer, because what one side encrypts does not fit the other side's any more:
// after the state of one was restored from an old copy, for example. Until the peer has answered, which may take as long
// as it is away, nothing can be sent. What was queued before is delivered before, with the old ratchet; messages that the
// old one does not open are lost and show as skipped. Refused with CodeProhibited if the ratchet needs nothing of it
// (ResyncAllowed and ResyncRequired do) and Force is not set, or if the peer's version is below 3; CodeNoQueue before the
// connection is made, CodeNotAvailable if it has failed.
type Resynchronise struct{ Force bool }

// SwitchQueue moves the own end of the connection to another queue, on another relay if there is one (SWCH). The peer has to
// answer twice, so it takes until both have been online; messages go on meanwhile. The old queue is deleted at the end. With
// Abort, a switch that the peer has not answered yet is given up. Refused with CodeProhibited if a switch is under way, if
// there is none to abort or it is too late for that, or when the ratchet must be re-synchronised; CodeBusy if 16 old queues
// still wait for their relays; CodeNoQueue before the connection is made, CodeNotAvailable if it has failed.
type SwitchQueue struct{ Abort bool }

// Answered removes a request that came to a contact address: it was accepted (Join with its link on a new connection) or
// rejected. Nothing is sent. Refused with CodeNotFound.
type Answered struct{ Request string }

// Retry makes everything that waits for a later attempt due now, and takes up again a handshake step that a relay refused
// for good. Nothing is changed by it otherwise.
type Retry struct{}

// Delete ends the connection. Its own queues are removed from their relays; with Wait, messages that are queued are
// still delivered, for at most 2 days. Deleted is the last event.
type Delete struct{ Wait bool }

// Tick tells that the time of NextWake has come.
type Tick struct{}

func (QueueCreated) input()    {}
func (OperationDone) input()   {}
func (OperationFailed) input() {}
func (Received) input()        {}
func (Allow) input()           {}
func (Send) input()            {}
func (AckMessage) input()      {}
func (SwitchQueue) input()     {}
func (Answered) input()        {}
func (Resynchronise) input()   {}
func (Retry) input()           {}
func (Delete) input()          {}
func (Tick) input()            {}
