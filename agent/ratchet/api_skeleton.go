package ratchet

import (
	"io"

	"github.com/coterie-im/coterie/internal/kv"
)

// Text returns the value of an invitation link's e2e parameter, before the link's own percent-encoding.
func (p Params) Text() string { panic("unfinished") }

// ParseText reads the value of an invitation link's e2e parameter, after the link's own percent-decoding.
func ParseText(s string) (Params, error) { panic("unfinished") }

// Keys are one side's private keys of an agreement that is not finished: two X448 keys and, if a KEM was given, a KEM key pair.
type Keys struct{}

// GenerateKeys makes keys for an invitation. With a KEM they include a KEM key pair, which proposes the KEM.
func GenerateKeys(rand io.Reader, kem KEM) (*Keys, error) { panic("unfinished") }

// Params returns the public parameters for a range of versions.
func (k *Keys) Params(versions VersionRange) Params { panic("unfinished") }

// AppendBinary appends the keys for storage.
func (k *Keys) AppendBinary(dst []byte) []byte { panic("unfinished") }

// DecodeKeys reads what AppendBinary wrote; ErrState if it is something else.
func DecodeKeys(b []byte) (*Keys, error) { panic("unfinished") }

// Clear overwrites the keys with zeros.
func (k *Keys) Clear() { panic("unfinished") }

// State is one side's ratchet.
type State struct{}

// NewInitiator makes the state of the side that published keys, from the parameters in the joiner's confirmation.
// ErrVersion, ErrAgreement or ErrKEMState if they do not fit.
func NewInitiator(keys *Keys, joiner Params, o Options) (*State, error) { panic("unfinished") }

// NewJoiner makes the state of the side that received an invitation, and the parameters (single version) that its
// confirmation must carry. ErrVersion or ErrAgreement if the invitation's do not fit.
func NewJoiner(rand io.Reader, invitation Params, o Options) (*State, Params, error) {
	panic("unfinished")
}

// Resynchronise makes the new state after both sides have exchanged new keys in ratchet-key messages. The order of the
// key hashes decides the roles; sending tells whether this side can send at once (and so must).
func Resynchronise(rand io.Reader, own *Keys, peer Params, o Options) (s *State, sending bool, err error) {
	panic("unfinished")
}

// AD returns the connection's associated data, the same on both sides.
func (s *State) AD() [ADSize]byte { panic("unfinished") }

// SecurityCode returns SHA-256 of the associated data, which people compare.
func (s *State) SecurityCode() [32]byte { panic("unfinished") }

// Version returns the current version; it can rise when messages arrive.
func (s *State) Version() uint16 { panic("unfinished") }

// CanSend tells whether there is a sending chain. An initiator has one from the first message it decrypted.
func (s *State) CanSend() bool { panic("unfinished") }

// PQ tells whether the current sending and receiving chains are protected by a KEM.
func (s *State) PQ() (sending, receiving bool) { panic("unfinished") }

// SkippedDropped counts the keys of skipped messages that were dropped because there were more than MaxSkippedKeys.
func (s *State) SkippedDropped() uint64 { panic("unfinished") }

// NextSending advances the sending chain by one message and returns its keys; padded is the length in bytes to which
// the body will be padded. Call it when a message is queued, in the order of the messages, and store state and keys in
// the same transaction. ErrNoSendingChain, ErrChainExhausted.
func (s *State) NextSending(pq PQ, padded int) (*MessageKeys, error) { panic("unfinished") }

// MessageKeys are all that is needed to encrypt the body of one message.
type MessageKeys struct{}

// Seal appends the complete ratchet message to dst. It is a pure function, safe for concurrent use; sealing two
// different plaintexts with the same keys would break the encryption. wire.ErrTooLarge if plaintext is longer than the
// padded length less 2.
func (m *MessageKeys) Seal(dst, plaintext []byte) ([]byte, error) { panic("unfinished") }

// PQ tells whether a KEM protects the message.
func (m *MessageKeys) PQ() bool { panic("unfinished") }

// AppendBinary appends the keys for storage.
func (m *MessageKeys) AppendBinary(dst []byte) []byte { panic("unfinished") }

// DecodeMessageKeys reads what AppendBinary wrote; ErrState if it is something else.
func DecodeMessageKeys(b []byte) (*MessageKeys, error) { panic("unfinished") }

// Clear overwrites the keys with zeros.
func (m *MessageKeys) Clear() { panic("unfinished") }

// Decrypt opens a message. Whatever it returns, store the state afterwards: errors that found a malformed message or
// header have left it as it was, others (ErrDuplicate, ErrEarlier, ErrTooManySkipped, ErrAuthentication) may have moved it on.
func (s *State) Decrypt(rand io.Reader, message []byte) (plaintext []byte, err error) {
	panic("unfinished")
}

// AppendBinary appends the whole state, skipped keys included.
func (s *State) AppendBinary(dst []byte) []byte { panic("unfinished") }

// Decode reads what AppendBinary wrote; ErrState if it is something else.
func Decode(b []byte, kem KEM) (*State, error) { panic("unfinished") }

// Save writes the state below prefix, each skipped key as a record of its own, and only what changed since Load or the last Save.
func (s *State) Save(tx kv.Tx, prefix []byte) { panic("unfinished") }

// Load reads what Save wrote. ErrNoState if there is nothing, ErrState if it is something else.
func Load(tx kv.Tx, prefix []byte, kem KEM) (*State, error) { panic("unfinished") }

// Erase deletes everything that Save wrote below prefix.
func Erase(tx kv.Tx, prefix []byte) { panic("unfinished") }
