package queue

import (
	"fmt"

	"github.com/coterie-im/coterie/internal/wire"
)

const (
	// MaxPayload is the largest payload of an unencrypted block in bytes.
	MaxPayload = 16382
	// MaxEncryptedPayload is the largest payload of an encrypted block in bytes. Payloads of this size fit every block.
	MaxEncryptedPayload = 16366
	// MaxBatch is the largest number of transmissions in a block.
	MaxBatch = 255
)

// Batch collects transmissions for the payload of one block: a count and every transmission behind its length
// (docs/protocol.md, "Blocks"). The zero value is empty and has room for MaxEncryptedPayload bytes.
type Batch struct {
	limit   int
	payload []byte
}

// NewBatch returns a batch for payloads of up to limit bytes.
func NewBatch(limit int) Batch { return Batch{limit: limit} }

// Add puts a transmission into the batch; false if there is no room for it, and then nothing has changed.
func (b *Batch) Add(transmission []byte) bool {
	limit := b.limit
	if limit == 0 {
		limit = MaxEncryptedPayload
	}
	if b.Len() == MaxBatch || max(len(b.payload), 1)+2+len(transmission) > limit {
		return false
	}
	if b.payload == nil {
		b.payload = make([]byte, 0, limit)
	}
	if len(b.payload) == 0 {
		b.payload = append(b.payload, 0)
	}
	b.payload = wire.AppendStr16(b.payload, transmission)
	b.payload[0]++
	return true
}

// Len returns how many transmissions are in the batch.
func (b *Batch) Len() int {
	if len(b.payload) == 0 {
		return 0
	}
	return int(b.payload[0])
}

// Take returns the payload, nil if there are no transmissions, and empties the batch.
func (b *Batch) Take() []byte {
	payload := b.payload
	b.payload = nil
	return payload
}

// Payload returns what Take would, without emptying the batch. It is overwritten by what is added after Reset.
func (b *Batch) Payload() []byte { return b.payload }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { b.payload = b.payload[:0] }

// SplitBatch returns the transmissions of a payload, parts of it. wire.ErrSyntax if there are none, if a length is wrong,
// or if something is left over.
func SplitBatch(payload []byte) ([][]byte, error) {
	r := wire.NewReader(payload)
	n := int(r.U8())
	if n == 0 {
		r.Fail("no transmissions")
	}
	var list [][]byte
	for range n {
		if r.Err() != nil {
			break
		}
		list = append(list, r.Str16())
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("block: %w", err)
	}
	return list, nil
}
