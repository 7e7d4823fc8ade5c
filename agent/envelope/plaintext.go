package envelope

import (
	"fmt"

	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// Plaintext is what stands inside a ratchet message: InitiatorInfo, JoinerInfo, RatchetInfo or Numbered.
type Plaintext interface {
	// Append appends the plaintext. Its hash (Hash) names it as the predecessor of the sender's next message.
	Append(dst []byte) []byte

	plaintext()
}

// InitiatorInfo is the plaintext of the initiator's confirmation.
type InitiatorInfo struct {
	Info []byte // connection info, opaque here
}

// JoinerInfo is the plaintext of the joiner's confirmation.
type JoinerInfo struct {
	Queues []link.Info // reply queues, 1 to 255, of which only the first is used
	Info   []byte      // connection info, opaque here
}

// RatchetInfo is the info of a ratchet key; it is never encrypted. In the sender's chain of hashes a ratchet key counts
// as the hash of an empty one.
type RatchetInfo struct {
	Info []byte // empty
}

// Numbered is the plaintext of every message envelope.
type Numbered struct {
	Number   int64  // the sender's number of the message, from 1, confirmations and ratchet keys included
	Previous []byte // hash of the sender's previous message; empty in the first
	Content  Content
}

func (InitiatorInfo) plaintext() {}
func (JoinerInfo) plaintext()    {}
func (RatchetInfo) plaintext()   {}
func (Numbered) plaintext()      {}

// Append implements Plaintext.
func (p InitiatorInfo) Append(dst []byte) []byte {
	return append(append(dst, tagInitiatorInfo), p.Info...)
}

// Append implements Plaintext.
func (p JoinerInfo) Append(dst []byte) []byte {
	dst = append(dst, tagJoinerInfo)
	dst = appendList(dst, p.Queues, link.Info.Append)
	return append(dst, p.Info...)
}

// MaxInfo is how many bytes of connection info fit beside the reply queues, in a connection that is PQ-capable or not
// and of an agent version.
func (p JoinerInfo) MaxInfo(pq bool, agent queue.Version) int {
	p.Info = nil
	return ConfirmationLength(pq, agent) - 2 - len(p.Append(nil))
}

// Append implements Plaintext.
func (p RatchetInfo) Append(dst []byte) []byte {
	return append(append(dst, tagRatchetInfo), p.Info...)
}

// Append implements Plaintext.
func (p Numbered) Append(dst []byte) []byte {
	dst = wire.AppendI64(append(dst, tagNumbered), p.Number)
	dst = wire.AppendStr8(dst, p.Previous)
	return p.Content.Append(dst)
}

// ParsePlaintext reads a plaintext. wire.ErrSyntax if it is malformed.
func ParsePlaintext(b []byte) (Plaintext, error) {
	r := wire.NewReader(b)
	var p Plaintext
	switch r.U8() {
	case tagInitiatorInfo:
		p = InitiatorInfo{Info: r.Rest()}
	case tagJoinerInfo:
		p = JoinerInfo{Queues: readList(r, link.ReadInfo), Info: r.Rest()}
	case tagRatchetInfo:
		p = RatchetInfo{Info: r.Rest()}
	case tagNumbered:
		p = Numbered{Number: r.I64(), Previous: r.Str8(), Content: readContent(r)}
	default:
		r.Fail("unknown tag")
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("agent message: %w", err)
	}
	return p, nil
}

// appendList appends a count of one byte and the items.
func appendList[T any](dst []byte, items []T, item func(T, []byte) []byte) []byte {
	if len(items) == 0 || len(items) > 255 {
		panic(fmt.Sprintf("envelope: list of %d items", len(items)))
	}
	dst = append(dst, byte(len(items)))
	for _, i := range items {
		dst = item(i, dst)
	}
	return dst
}

// readList reads a count of one byte, which may not be 0, and the items.
func readList[T any](r *wire.Reader, item func(*wire.Reader) T) []T {
	n := int(r.U8())
	if n == 0 {
		r.Fail("empty list")
	}
	var items []T
	for range n {
		i := item(r)
		if r.Err() != nil {
			return nil
		}
		items = append(items, i)
	}
	return items
}
