package envelope

import (
	"bytes"
	"crypto/sha256"
	"fmt"
)

// HashSize is the length in bytes of message hashes.
const HashSize = sha256.Size

// Hash returns the hash of a message: SHA-256 of its complete plaintext as it goes into the ratchet, before padding. The
// plaintext may come in parts.
func Hash(plaintext ...[]byte) (sum [HashSize]byte) {
	h := sha256.New()
	for _, part := range plaintext {
		h.Write(part)
	}
	h.Sum(sum[:0])
	return sum
}

// Integrity classes of a received message, in the order in which they are tested (docs/protocol.md, "Delivery").
const (
	IntegrityOK        IntegrityClass = iota // the next number and the right hash
	IntegrityBadNumber                       // a number below the last one
	IntegrityDuplicate                       // the last number again
	IntegritySkipped                         // numbers are missing; the hash is not looked at
	IntegrityBadHash                         // the next number, but another previous message
)

// IntegrityClass names what is wrong with the order of a message.
type IntegrityClass uint8

// Integrity is how a received message fits behind the previous one. It is reported to the client and changes nothing:
// the message is delivered whatever it says. Integrities are comparable with ==.
type Integrity struct {
	Class    IntegrityClass
	Number   int64 // the received number, for IntegrityBadNumber
	From, To int64 // first and last missing number, for IntegritySkipped
}

// CheckIntegrity compares a received message's number and hash of its predecessor with the number and hash of the
// message that was received before it.
func CheckIntegrity(last int64, lastHash []byte, number int64, previous []byte) Integrity {
	switch {
	case number < last:
		return Integrity{Class: IntegrityBadNumber, Number: number}
	case number == last:
		return Integrity{Class: IntegrityDuplicate}
	case number-1 != last:
		return Integrity{Class: IntegritySkipped, From: last + 1, To: number - 1}
	case !bytes.Equal(lastHash, previous):
		return Integrity{Class: IntegrityBadHash}
	default:
		return Integrity{}
	}
}

// String returns the text of the result in the command protocol: "OK", "ERR ID n", "ERR DUPLICATE", "ERR NO_ID from to"
// or "ERR HASH".
func (i Integrity) String() string {
	switch i.Class {
	case IntegrityBadNumber:
		return fmt.Sprintf("ERR ID %d", i.Number)
	case IntegrityDuplicate:
		return "ERR DUPLICATE"
	case IntegritySkipped:
		return fmt.Sprintf("ERR NO_ID %d %d", i.From, i.To)
	case IntegrityBadHash:
		return "ERR HASH"
	default:
		return "OK"
	}
}
