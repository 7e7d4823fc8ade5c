package ratchet

import (
	"errors"
	"fmt"
)

// Errors of Decrypt (docs/protocol.md, "Encrypting and decrypting"). All are the peer's or the network's fault.
var (
	// ErrBadMessage reports bytes that are not a ratchet message. The state is unchanged.
	ErrBadMessage = errors.New("malformed ratchet message")
	// ErrHeader reports a header that no header key opens, or that opens to something malformed. The state is unchanged.
	// It means that the ratchets of the two sides have come apart, or that the message is older than the keys kept.
	ErrHeader = errors.New("ratchet header does not open")
	// ErrDuplicate reports the number of the last message decrypted, once more.
	ErrDuplicate = errors.New("duplicate ratchet message")
	// ErrEarlier reports a number below the last one for which no key is kept; errors.As with *CountError tells by how much.
	ErrEarlier = errors.New("earlier ratchet message without a key")
	// ErrTooManySkipped reports a number more than MaxSkip ahead; errors.As with *CountError tells by how much.
	ErrTooManySkipped = errors.New("too many skipped ratchet messages")
	// ErrAuthentication reports a body that was changed in transit. Its key is used up: the true message that comes
	// later gives ErrDuplicate or ErrEarlier.
	ErrAuthentication = errors.New("ratchet message body does not open")
	// ErrKEMState reports an accepted KEM key where none was proposed. The state, if there is one, is unchanged.
	ErrKEMState = errors.New("KEM accepted but not proposed")
)

// Errors of agreement and sending.
var (
	// ErrVersion reports parameters whose versions do not overlap with ours.
	ErrVersion = errors.New("incompatible end-to-end encryption version")
	// ErrAgreement reports parameters with which no key can be agreed: a public key of low order, a KEM value of a wrong
	// size, or a KEM ciphertext in an invitation.
	ErrAgreement = errors.New("no key agreement possible with these parameters")
	// ErrNoSendingChain reports an attempt to send by an initiator that has not decrypted anything yet.
	ErrNoSendingChain = errors.New("ratchet cannot send before it has received")
	// ErrChainExhausted reports a sending chain whose 2^32-1 numbers are used up.
	ErrChainExhausted = errors.New("ratchet sending chain exhausted")
)

// Errors of stored state.
var (
	// ErrState reports bytes that are not a state, keys or message keys as this package writes them.
	ErrState = errors.New("malformed stored ratchet")
	// ErrNoState reports that nothing is stored where Load was told to look.
	ErrNoState = errors.New("no stored ratchet")
)

// CountError is ErrEarlier or ErrTooManySkipped with the distance, in messages, from the number expected next.
type CountError struct {
	Kind  error // ErrEarlier or ErrTooManySkipped
	Count uint32
}

// Error gives the kind and the count.
func (e *CountError) Error() string { return fmt.Sprintf("%v (%d)", e.Kind, e.Count) }

// Unwrap returns the kind.
func (e *CountError) Unwrap() error { return e.Kind }
