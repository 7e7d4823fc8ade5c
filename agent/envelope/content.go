package envelope

import (
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
)

// Content is what a numbered message says: Hello, ClientMessage, Receipts, Continue, AddQueue, QueueKey, UseQueue,
// TestQueue or Ready. Lists have 1 to 255 items; appending another number panics. Of lists about queues only the first
// item is used.
type Content interface {
	// Append appends tag and fields.
	Append(dst []byte) []byte

	content()
}

// Hello is the last step of the standard handshake.
type Hello struct{}

// ClientMessage is a message of the application.
type ClientMessage struct {
	Body []byte // up to MaxMessageBody bytes
}

// Receipts tells the sender of messages that they were acknowledged; from agent version 4.
type Receipts []Receipt

// Receipt is about one message.
type Receipt struct {
	Number int64  // the number its sender gave it
	Hash   []byte // of the message as it was received
	Info   []byte // of the application, up to 65,535 bytes; may be empty
}

// Continue tells the sender of a queue that was full that it was drained.
type Continue struct {
	Queue link.Address
}

// AddQueue starts a rotation: the recipient has a new queue.
type AddQueue []AddedQueue

// AddedQueue is a new queue and the one it is to replace.
type AddedQueue struct {
	Queue    link.Queue
	Replaces *link.Address // nil is legal on the wire, but no rotation
}

// QueueKey answers AddQueue: the sender will use the queue with these keys.
type QueueKey []SenderKey

// SenderKey has the keys for one queue.
type SenderKey struct {
	Queue link.Info   // as offered, but DH is the sender's public key
	Key   keys.Public // authorizes the sender's commands: Ed25519, Ed448 or X25519
}

// UseQueue tells the sender that its key is set.
type UseQueue []UsedQueue

// UsedQueue is a queue that is ready.
type UsedQueue struct {
	Queue   link.Address
	Primary bool
}

// TestQueue is the first message in a new queue.
type TestQueue []link.Address

// Ready is the first message of a ratchet that was made again.
type Ready struct {
	Number int64 // last number received, informational
}

func (Hello) content()         {}
func (ClientMessage) content() {}
func (Receipts) content()      {}
func (Continue) content()      {}
func (AddQueue) content()      {}
func (QueueKey) content()      {}
func (UseQueue) content()      {}
func (TestQueue) content()     {}
func (Ready) content()         {}

// Append implements Content.
func (Hello) Append(dst []byte) []byte { return append(dst, tagHello...) }

// Append implements Content.
func (c ClientMessage) Append(dst []byte) []byte {
	return append(append(dst, tagBody...), c.Body...)
}

// Append implements Content.
func (c Receipts) Append(dst []byte) []byte {
	return appendList(append(dst, tagReceipts...), c, Receipt.append)
}

// Append implements Content.
func (c Continue) Append(dst []byte) []byte { return c.Queue.Append(append(dst, tagContinue...)) }

// Append implements Content.
func (c AddQueue) Append(dst []byte) []byte {
	return appendList(append(dst, tagAddQueue...), c, AddedQueue.append)
}

// Append implements Content.
func (c QueueKey) Append(dst []byte) []byte {
	return appendList(append(dst, tagQueueKey...), c, SenderKey.append)
}

// Append implements Content.
func (c UseQueue) Append(dst []byte) []byte {
	return appendList(append(dst, tagUseQueue...), c, UsedQueue.append)
}

// Append implements Content.
func (c TestQueue) Append(dst []byte) []byte {
	return appendList(append(dst, tagTestQueue...), c, link.Address.Append)
}

// Append implements Content.
func (c Ready) Append(dst []byte) []byte { return wire.AppendI64(append(dst, tagReady...), c.Number) }

func (i Receipt) append(dst []byte) []byte {
	dst = wire.AppendI64(dst, i.Number)
	return wire.AppendStr16(wire.AppendStr8(dst, i.Hash), i.Info)
}

func (i AddedQueue) append(dst []byte) []byte {
	dst = i.Queue.Append(dst)
	if i.Replaces == nil {
		return wire.AppendAbsent(dst)
	}
	return i.Replaces.Append(wire.AppendPresent(dst))
}

func (i SenderKey) append(dst []byte) []byte { return i.Key.Append(i.Queue.Append(dst)) }

func (i UsedQueue) append(dst []byte) []byte { return wire.AppendBool(i.Queue.Append(dst), i.Primary) }

// readContent reads tag and fields.
func readContent(r *wire.Reader) Content {
	tag := string(r.Fixed(1))
	if tag == "Q" {
		tag += string(r.Fixed(1))
	}
	switch tag {
	case tagHello:
		return Hello{}
	case tagBody:
		return ClientMessage{Body: r.Rest()}
	case tagReceipts:
		return Receipts(readList(r, readReceipt))
	case tagContinue:
		return Continue{Queue: link.ReadAddress(r)}
	case tagAddQueue:
		return AddQueue(readList(r, readAddedQueue))
	case tagQueueKey:
		return QueueKey(readList(r, readSenderKey))
	case tagUseQueue:
		return UseQueue(readList(r, readUsedQueue))
	case tagTestQueue:
		return TestQueue(readList(r, link.ReadAddress))
	case tagReady:
		return Ready{Number: r.I64()}
	default:
		r.Fail("unknown message")
		return nil
	}
}

func readReceipt(r *wire.Reader) Receipt {
	return Receipt{Number: r.I64(), Hash: r.Str8(), Info: r.Str16()}
}

func readAddedQueue(r *wire.Reader) AddedQueue {
	i := AddedQueue{Queue: link.ReadQueue(r)}
	if r.Opt() {
		a := link.ReadAddress(r)
		i.Replaces = &a
	}
	return i
}

func readSenderKey(r *wire.Reader) SenderKey {
	return SenderKey{Queue: link.ReadInfo(r), Key: keys.Read(r, keys.Ed25519, keys.Ed448, keys.X25519)}
}

func readUsedQueue(r *wire.Reader) UsedQueue {
	return UsedQueue{Queue: link.ReadAddress(r), Primary: r.Bool()}
}
