package queue

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/coterie-im/coterie/internal/wire"
)

// IDSize is the length in bytes of the queue, message and correlation IDs that Coterie makes. IDs of others may have any
// length up to 255 bytes.
const IDSize = 24

// ID is the raw bytes of a queue, message, session or correlation ID. It is a string so that it can be a map key; it prints
// and logs as "[id]", and refuses to be marshalled as text. Convert with string(id) for its bytes, Text for its text form.
type ID string

// NewID returns a random ID of IDSize bytes.
func NewID(rand io.Reader) (ID, error) {
	var b [IDSize]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("random ID: %w", err)
	}
	return ID(b[:]), nil
}

// Text returns the text form, base64url with padding.
func (id ID) Text() string { return base64.URLEncoding.EncodeToString([]byte(id)) }

// ParseID reads the text form, with or without padding. An empty ID is an error.
func ParseID(text string) (ID, error) {
	b, err := parseBase64(text)
	if err != nil || len(b) == 0 || len(b) > 255 {
		return "", fmt.Errorf("id: %w", wire.ErrSyntax)
	}
	return ID(b), nil
}

// parseBase64 reads base64url, padded or not.
func parseBase64(text string) ([]byte, error) {
	if strings.HasSuffix(text, "=") {
		return base64.URLEncoding.Strict().DecodeString(text)
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

const redactedID = "[id]"

// String hides the ID.
func (id ID) String() string { return redactedID }

// GoString hides the ID.
func (id ID) GoString() string { return redactedID }

// Format hides the ID from every formatting verb.
func (id ID) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedID) }

// LogValue hides the ID from logs.
func (id ID) LogValue() slog.Value { return slog.StringValue(redactedID) }

// MarshalText always fails, so that an ID inside a logged or encoded structure is neither leaked nor mangled.
func (id ID) MarshalText() ([]byte, error) {
	return nil, errors.New("an ID is not marshalled implicitly: use Text")
}

// Append appends the ID behind one length byte. It panics if the ID is longer than 255 bytes.
func (id ID) Append(dst []byte) []byte { return wire.AppendStr8(dst, []byte(id)) }

// ReadID reads an ID with one length byte.
func ReadID(r *wire.Reader) ID { return ID(r.Str8()) }
