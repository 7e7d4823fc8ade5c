package conn

import (
	"time"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// role is what a connection was made as. Numbers are stored: never change or reuse one.
type role uint8

const (
	initiator role = iota + 1 // made an invitation
	joiner                    // joined one
	requester                 // made an invitation and posts it to a contact address
	address                   // is a contact address
)

// phase is how far a connection is; see the package comment. Numbers are stored: never change or reuse one.
type phase uint8

const (
	creating   phase = iota + 1 // NEW of the first own queue
	requesting                  // requester: the invitation is on its way
	invited                     // waits for the joiner's confirmation
	confirmed                   // waits for the client
	allowing                    // KEY and SKEY
	answering                   // the initiator's confirmation is queued
	securing                    // joiner: SKEY
	replying                    // joiner: NEW of the reply queue
	confirming                  // joiner: the confirmation is queued
	joined                      // waits for the initiator's confirmation
	keying                      // joiner: KEY
	greeting                    // HELLO both ways
	connected
	failed
	serving // contact address
)

// status is what a queue is ready for. Numbers are stored: never change or reuse one.
type status uint8

const (
	queueMissing   status = iota + 1 // own queue that the relay has not made yet
	queueNew                         // no secret shared, or nothing sent
	queueConfirmed                   // the peer's confirmation came, or ours was delivered
	queueSecured                     // KEY or SKEY done
	queueActive                      // messages go through it
)

// deletion is how a connection ends. Numbers are stored: never change or reuse one.
type deletion uint8

const (
	notDeleting deletion = iota
	deleting
	deletingAfterDelivery
)

// state is all of a connection but its ratchet and what has records of its own: the outbox, received messages, hashes,
// sent messages, requests.
type state struct {
	role       role
	phase      phase
	stalled    Code          // why a step of the handshake was given up until Retry; empty: it was not
	agent      queue.Version // agreed; our highest before that
	pq         bool          // PQ-capable: larger headers, smaller bodies
	hasRatchet bool

	clientData []byte   // of the own link
	hasData    bool     // it is there, perhaps empty
	linkHash   [32]byte // SHA-256 of the invitation in binary form, once there is one
	binding    [32]byte // once there is a ratchet; another one when it was made again
	keys       []byte   // initiator before the agreement: ratchet.Keys
	params     []byte   // joiner before its confirmation is queued: its parameters
	info       []byte   // own info until it is queued; of a requester, until it is posted

	confirmation *confirmation // initiator, from the joiner's confirmation to the end of the handshake
	post         *post         // requester, until its invitation is posted
	earlyHello   bool          // HELLO came

	progress
	receivedID   int64 // number of the last message received
	receivedHash []byte
	resync       Resync
	resyncKeys   []byte // ratchet.Keys while ResyncStarted
	rebound      Side   // of a ratchet that was made again and has not decrypted anything yet; else 0

	unacked uint32 // received messages that wait for the client
	owed    uint32 // receipts that cannot be sent yet

	hashes        [][32]byte // of received ratchet messages, the last ones
	hashListFirst uint64     // number of the oldest record with earlier ones
	hashListNext  uint64     // number of the next such record

	drainedSlots []uint8 // own queues that were full, of which the peer is to be told

	requests    uint32 // unanswered, at a contact address
	lastRequest uint64 // number of the last one

	deletion deletion
	deleteBy time.Time // when deletingAfterDelivery ends at the latest

	receive []receiveQueue // the primary one first
	send    []sendQueue    // the same

	receiveSlots, sendSlots uint8 // next numbers of queues
}

// confirmation is what the initiator keeps of the joiner's.
type confirmation struct {
	id    string
	reply link.Info // the joiner's queue
}

// post is where a requester's invitation goes.
type post struct {
	queue   link.Info
	agent   queue.Version // agreed with the contact address
	created time.Time
	retry   retry
}

// receiveQueue is an own queue.
type receiveQueue struct {
	slot   uint8 // not used again by the next 255 queues of the connection
	status status
	mode   queue.Mode
	client queue.Version // agreed; our highest before that
	server queue.Server
	id     queue.ID // recipient ID
	sender queue.ID

	key       signingKey  // authorizes our commands
	relay     [32]byte    // X25519 private key while queueMissing, then the secret shared with the relay
	dh        [32]byte    // X25519 private key for the sender
	secret    box.Secret  // shared with the sender, from queueConfirmed on
	senderKey keys.Public // to be set with KEY; zero: none

	attempt uint64 // of NEW
	retry   retry  // of NEW, KEY or DEL
	tries   uint32 // failures of NEW or DEL

	arrivals uint64   // messages that came, repeated ones included
	last     queue.ID // the last message
	waits    int64    // its ID at the client if it waits for the client, else 0
	ack      queue.ID // to be acknowledged; empty: nothing
	ackRetry retry

	stage       receiveStage // of the switch to it
	leaving     bool         // to be deleted
	hole        int64        // number that came only through it, as the old queue shows; 0: none
	parkedUntil time.Time    // when the last message, which is set aside, is taken up at the latest; zero: it is not
}

// sendQueue is a queue of the peer.
type sendQueue struct {
	slot   uint8
	status status
	mode   queue.Mode
	client queue.Version // agreed
	server queue.Server
	id     queue.ID // sender ID

	key    signingKey  // authorizes our SENDs
	dh     keys.Public // own X25519 key
	secret box.Secret

	retry  retry  // of SKEY
	queued uint32 // messages in the outbox; not stored

	stage sendStage // of the switch to it
}

func (q *receiveQueue) recipient() Recipient {
	return Recipient{Server: q.server, ID: q.id, Key: q.key.private()}
}

// known tells whether the secret shared with the sender is known.
func (q *receiveQueue) known() bool { return q.status >= queueConfirmed }

func (q *receiveQueue) address() link.Address {
	return link.Address{Server: q.server, SenderID: q.sender}
}

// sealing returns the secret for the content of the relay's messages.
func (q *receiveQueue) sealing() *box.Secret { return (*box.Secret)(&q.relay) }

func (q *sendQueue) sender(signed bool) Sender {
	s := Sender{Server: q.server, ID: q.id}
	if signed {
		s.Key = q.key.private()
	}
	return s
}

// fast tells whether the sender secures the queue, so that no key travels in the confirmation.
func (q *sendQueue) fast() bool {
	return q.mode == queue.ModeMessaging && q.client >= link.ClientSenderSecures
}

func (q *sendQueue) address() link.Address {
	return link.Address{Server: q.server, SenderID: q.id}
}

// maxBody is the size of the largest client message.
func (s *state) maxBody() int { return envelope.MaxMessageBody(s.pq, s.agent) }
