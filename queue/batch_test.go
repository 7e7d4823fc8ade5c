package queue

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// Transmissions come out of blocks as they went in, in order, and no block could have taken the next one as well.
func TestBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]int{MaxEncryptedPayload, MaxPayload, 300}).Draw(t, "limit")
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(0, limit-3)), 0, 600).Draw(t, "sizes")
		var sent [][]byte
		for i, n := range sizes {
			sent = append(sent, bytes.Repeat([]byte{byte(i)}, n))
		}
		var payloads [][]byte
		batch := NewBatch(limit)
		for _, raw := range sent {
			if batch.Add(raw) {
				continue
			}
			full, size := batch.Len(), 1
			payload := batch.Take()
			if size = len(payload); full < MaxBatch && size+2+len(raw) <= limit {
				t.Fatalf("no room for %d bytes in %d", len(raw), size)
			}
			payloads = append(payloads, payload)
			if !batch.Add(raw) {
				t.Fatalf("no room for %d bytes in an empty block", len(raw))
			}
		}
		if batch.Len() > 0 {
			payloads = append(payloads, batch.Take())
		}
		if batch.Len() != 0 || batch.Take() != nil {
			t.Fatal("not empty after Take")
		}
		var got [][]byte
		for _, payload := range payloads {
			list, err := SplitBatch(payload)
			if err != nil || len(list) > MaxBatch || len(payload) > limit {
				t.Fatalf("payload of %d bytes with %d: %v", len(payload), len(list), err)
			}
			got = append(got, list...)
		}
		if len(got) != len(sent) {
			t.Fatalf("%d of %d", len(got), len(sent))
		}
		for i := range got {
			if !bytes.Equal(got[i], sent[i]) {
				t.Fatalf("number %d is another", i)
			}
		}
	})
}

func TestBatchOfNothing(t *testing.T) {
	var b Batch
	if b.Add(make([]byte, MaxEncryptedPayload-2)) || b.Len() != 0 || b.Take() != nil {
		t.Error("took what has no room")
	}
	if !b.Add(make([]byte, MaxEncryptedPayload-3)) || b.Add(nil) || b.Len() != 1 {
		t.Error("the largest does not fill it")
	}
}

// How many commands fit, as the reference relay's clients count them.
func TestBatchCounts(t *testing.T) {
	for _, test := range []struct {
		version Version
		answer  Response
		key     PrivateKey
		want    int
	}{
		{18, nil, recipientAuth, 135},
		{6, nil, recipientAuth, 106},
		{9, END{}, PrivateKey{}, 255},
		{9, NMSG{Sealed: make([]byte, SealedNotificationSize)}, PrivateKey{}, 80},
	} {
		var raw []byte
		if test.answer != nil {
			raw = AppendAnswer(nil, test.version, sessionID, Answer{EntityID: queueID, Response: test.answer})
		} else {
			var err error
			if raw, err = EncodeCommand(nil, test.version, sessionID, nil, corrID, queueID, test.key, SUB{}); err != nil {
				t.Fatal(err)
			}
		}
		var b Batch
		for b.Add(raw) {
		}
		if b.Len() != test.want {
			t.Errorf("%d instead of %d", b.Len(), test.want)
		}
	}
}
