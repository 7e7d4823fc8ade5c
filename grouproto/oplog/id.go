package oplog

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/coterie-im/coterie/internal/wire"
)

// ErrText reports text that is not the 43 characters of an ID or Key.
var ErrText = errors.New("not the text of an id or key")

var errRedacted = errors.New("oplog: ids and keys are not marshalled by accident, use Text")

// ID is the ID of an operation, H("coterie/op-id/1", body); the ID of a group is that of its genesis. It prints as
// "[id]", so that it never gets into a log by accident; Text is its form for the client.
type ID [32]byte

// Key is the Ed25519 public key of a member and thereby the member's ID in the group. It prints as "[key]"; Text is its
// form for the client.
type Key [32]byte

// Compare orders IDs bytewise: -1, 0 or +1.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// Text returns the ID as 43 characters of unpadded base64url, for the client. It does not belong into a log.
func (id ID) Text() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// Format implements fmt.Formatter: every verb prints "[id]".
func (ID) Format(f fmt.State, _ rune) { io.WriteString(f, "[id]") }

// LogValue implements slog.LogValuer: "[id]".
func (ID) LogValue() slog.Value { return slog.StringValue("[id]") }

// MarshalText always fails: what is meant for a reader takes Text, and anything else is an accident.
func (ID) MarshalText() ([]byte, error) { return nil, errRedacted }

// ParseID reads the form that ID.Text writes. ErrText for anything else.
func ParseID(text string) (id ID, err error) { return id, parseText(id[:], text) }

// Compare orders keys bytewise: -1, 0 or +1.
func (k Key) Compare(other Key) int { return bytes.Compare(k[:], other[:]) }

// Text returns the key as 43 characters of unpadded base64url, for the client. It does not belong into a log.
func (k Key) Text() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

// Format implements fmt.Formatter: every verb prints "[key]".
func (Key) Format(f fmt.State, _ rune) { io.WriteString(f, "[key]") }

// LogValue implements slog.LogValuer: "[key]".
func (Key) LogValue() slog.Value { return slog.StringValue("[key]") }

// MarshalText always fails: what is meant for a reader takes Text, and anything else is an accident.
func (Key) MarshalText() ([]byte, error) { return nil, errRedacted }

// ParseKey reads the form that Key.Text writes. ErrText for anything else.
func ParseKey(text string) (k Key, err error) { return k, parseText(k[:], text) }

func parseText(dst []byte, text string) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != len(dst) || len(text) != 43 {
		return ErrText
	}
	copy(dst, b)
	return nil
}

// Hash is H(label, x) = SHA-256(str8(label) ‖ x) of docs/groups.md; every label has one purpose. The parts of x are
// hashed one behind the other.
func Hash(label string, x ...[]byte) [32]byte {
	h := sha256.New()
	h.Write(wire.AppendStr8(nil, []byte(label)))
	for _, part := range x {
		h.Write(part)
	}
	return [32]byte(h.Sum(nil))
}
