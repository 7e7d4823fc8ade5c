package envelope

import (
	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/queue"
)

// Padded lengths and the sizes that follow from them, all in bytes (docs/protocol.md, "Envelopes"). Padding counts the
// two bytes of its length field.
const (
	// PaddedFirst is the padded content of a client envelope with a key: confirmations and invitations.
	PaddedFirst = 15904
	// PaddedMessage is the padded content of a client envelope without a key.
	PaddedMessage = 16000

	// BodyFirst is the size of a whole body with a key: version, key, nonce, tag and padded content.
	BodyFirst = 2 + 1 + 45 + box.NonceSize + box.Overhead + PaddedFirst // 15992
	// BodyMessage is the size of a whole body without a key.
	BodyMessage = 2 + 1 + box.NonceSize + box.Overhead + PaddedMessage // 16043

	// RatchetConfirmation is the padded plaintext of a confirmation inside the ratchet, RatchetConfirmationPQ the one
	// in connections that are PQ-capable.
	RatchetConfirmation   = 14832
	RatchetConfirmationPQ = 11106
	// RatchetMessage is the padded plaintext of a message inside the ratchet, RatchetMessagePQ the one in connections
	// that are PQ-capable.
	RatchetMessage   = 15840
	RatchetMessagePQ = 13618

	// messageOverhead is what a client message costs once there is a previous hash: length of the padding, tag, number,
	// hash, message tag.
	messageOverhead = 2 + 1 + 8 + 33 + 1

	// versionPQ is the agent version from which PQ-capable connections pad to the shorter lengths.
	versionPQ = 5

	// MaxBody and MaxBodyPQ are the largest client messages.
	MaxBody   = RatchetMessage - messageOverhead   // 15795
	MaxBodyPQ = RatchetMessagePQ - messageOverhead // 13573
)

// ConfirmationLength is the length a confirmation's plaintext is padded to. pq is whether the connection is PQ-capable,
// which counts from agent version 5.
func ConfirmationLength(pq bool, agent queue.Version) int {
	if pq && agent >= versionPQ {
		return RatchetConfirmationPQ
	}
	return RatchetConfirmation
}

// MessageLength is the length a message's plaintext is padded to. pq is whether the connection is PQ-capable, which
// counts from agent version 5.
func MessageLength(pq bool, agent queue.Version) int {
	if pq && agent >= versionPQ {
		return RatchetMessagePQ
	}
	return RatchetMessage
}

// MaxMessageBody is the size of the largest client message in a connection.
func MaxMessageBody(pq bool, agent queue.Version) int {
	return MessageLength(pq, agent) - messageOverhead
}

// MaxInitiatorInfo is the size of the largest connection info in the confirmation of the initiator: 14,829 bytes, or
// 11,103 in PQ-capable connections.
func MaxInitiatorInfo(pq bool, agent queue.Version) int {
	return ConfirmationLength(pq, agent) - 2 - len(InitiatorInfo{}.Append(nil))
}

// MaxRequestInfo is the size of the largest connection info that can be posted to a contact address with a link of
// linkLength bytes. It is negative if the link alone is too long.
func MaxRequestInfo(linkLength int) int {
	const privateHeader, tag, length = 1, 2 + 1, 2
	return PaddedFirst - 2 - privateHeader - tag - length - linkLength
}
