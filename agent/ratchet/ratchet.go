// Package ratchet is the end-to-end encryption of a connection: the X448 key agreement, the double ratchet with
// encrypted headers, and the place of a post-quantum key encapsulation (KEM) in both (docs/protocol.md, "Key agreement
// and double ratchet").
//
// One side, the initiator, makes Keys and publishes their Params in an invitation. The other, the joiner, calls
// NewJoiner with them and sends its own Params with its first message; from these the initiator makes its state with
// NewInitiator. Then both have a State: NextSending gives the keys of one outgoing message, in order, when the message is
// queued; MessageKeys.Seal encrypts the body later and may run in another goroutine; Decrypt takes incoming messages in
// any order.
//
// The package does no I/O: randomness is passed in, storage is a transaction passed in. It knows nothing of envelopes,
// message numbers of the agent, integrity of the message sequence or re-synchronisation procedures; those are in
// agent/envelope and agent/conn. A State belongs to one goroutine at a time.
package ratchet

// Versions of the end-to-end encryption. Version 1, without a KDF in the agreement, is never accepted.
const (
	// MinVersion is the lowest version this package speaks.
	MinVersion uint16 = 2
	// MaxVersion is the highest version this package speaks; it adds the KEM fields and two-byte lengths.
	MaxVersion uint16 = 3
)

const (
	// ADSize is the length in bytes of a connection's associated data: two raw X448 public keys.
	ADSize = 2 * keySize
	// MaxSkip is how many messages may be missing before a message, in one chain; more is ErrTooManySkipped.
	MaxSkip = 512
	// MaxSkippedKeys is how many keys of skipped messages a state keeps in all. If more come, the oldest are dropped
	// and counted (State.SkippedDropped). Peers without such a limit exist; one that stays within MaxSkip and whose
	// messages arrive at all loses nothing before four full gaps are open at once.
	MaxSkippedKeys = 4 * MaxSkip
)

// keySize is the length in bytes of raw X448 keys and shared secrets.
const keySize = 56

// Options is what one side brings to a key agreement besides its keys.
type Options struct {
	// MaxVersion is the highest version to use, 2 or 3; zero means the package's MaxVersion.
	MaxVersion uint16
	// KEM encapsulates keys; nil means that this connection never wants a KEM and declines when asked.
	KEM KEM
	// PQ is the "PQ-capable" flag of the connection: with it, and with a KEM, a joiner offers or accepts a KEM key, and
	// an initiator uses large headers and proposes a key with its first ratchet step. Without a KEM it has no effect.
	PQ bool
}

func (o Options) maxVersion() uint16 {
	if o.MaxVersion == 0 {
		return MaxVersion
	}
	return o.MaxVersion
}

func (o Options) wantsKEM() bool { return o.PQ && o.KEM != nil }
