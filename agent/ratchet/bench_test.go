package ratchet

import (
	"testing"

	"github.com/coterie-im/coterie/agent/ratchet/sntrup761"
)

const bodyLength = 15840 // padded body of a message without KEM

// BenchmarkNextSending is what a message costs when it is queued.
func BenchmarkNextSending(b *testing.B) {
	_, joiner, _ := pair(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := joiner.NextSending(PQKeep, bodyLength); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSeal is what a message costs when it is delivered.
func BenchmarkSeal(b *testing.B) {
	_, joiner, _ := pair(b, nil)
	m, err := joiner.NextSending(PQKeep, bodyLength)
	if err != nil {
		b.Fatal(err)
	}
	body, dst := make([]byte, 1000), make([]byte, 0, 17000)
	b.SetBytes(bodyLength)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Seal(dst, body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecrypt is a message in the current chain.
func BenchmarkDecrypt(b *testing.B) {
	initiator, joiner, random := pair(b, nil)
	state := initiator.AppendBinary(nil)
	const n = 256
	var messages [n][]byte
	for i := range messages {
		messages[i] = sealNext(b, joiner, PQKeep, bodyLength, make([]byte, 1000))
	}
	b.SetBytes(bodyLength)
	b.ReportAllocs()
	i := n
	for b.Loop() {
		if i == n {
			i = 0
			var err error
			if initiator, err = Decode(state, nil); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := initiator.Decrypt(random, messages[i]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkRatchetStep is a message each way, that is two steps, two encryptions and two decryptions.
func BenchmarkRatchetStep(b *testing.B) {
	for name, kem := range map[string]KEM{"no KEM": nil, "sntrup761": sntrup761.KEM{}} {
		b.Run(name, func(b *testing.B) {
			initiator, joiner, random := pair(b, kem)
			for b.Loop() {
				exchange(b, random, initiator, joiner)
				exchange(b, random, joiner, initiator)
			}
		})
	}
}

// BenchmarkAgreement is both sides of a key agreement.
func BenchmarkAgreement(b *testing.B) {
	_, _, random := pair(b, nil)
	for b.Loop() {
		connect(b, random, VersionRange{2, 3}, Options{}, Options{})
	}
}

// BenchmarkHeaderAfterGaps is the worst search for a header key: a message of nobody, while many chains have gaps.
func BenchmarkHeaderAfterGaps(b *testing.B) {
	initiator, joiner, random := pair(b, nil)
	for range 500 {
		sealNext(b, joiner, PQKeep, 40, nil)
		exchange(b, random, joiner, initiator)
		exchange(b, random, initiator, joiner)
	}
	_, stranger, _ := pair(b, nil)
	stranger.sending.headerKey = secret{1}
	message := sealNext(b, stranger, PQKeep, 40, nil)
	b.ReportMetric(float64(len(initiator.skipped.chains)), "chains")
	for b.Loop() {
		if _, err := initiator.Decrypt(random, message); err == nil {
			b.Fatal("decrypted")
		}
	}
}

func BenchmarkAppendBinary(b *testing.B) {
	initiator, _, _ := pair(b, nil)
	var dst []byte
	for b.Loop() {
		dst = initiator.AppendBinary(dst[:0])
	}
}
