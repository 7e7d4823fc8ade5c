package envelope

import (
	"fmt"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/scratch"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// Client is the client envelope: the body of one message in one queue, still boxed (docs/protocol.md, "Envelopes").
type Client struct {
	Version queue.Version       // SMP client version agreed for the queue
	Key     keys.Public         // sender's X25519 key in first messages, zero when the secret is known already
	Nonce   [box.NonceSize]byte // random
	Box     []byte              // tag and sealed content
}

// ParseClient reads the body of a message. It checks the layout only; what may follow is for the queue's owner to
// decide after Open. wire.ErrSyntax if the body is malformed. Box is a part of body.
func ParseClient(body []byte) (Client, error) {
	r := wire.NewReader(body)
	c := Client{Version: queue.Version(r.U16())}
	if r.Opt() {
		c.Key = keys.Read(r, keys.X25519)
	}
	r.Copy(c.Nonce[:])
	c.Box = r.Rest()
	if err := r.Done(); err != nil {
		return Client{}, fmt.Errorf("client envelope: %w", err)
	}
	return c, nil
}

// Append appends the body.
func (c Client) Append(dst []byte) []byte { return append(c.appendHead(dst), c.Box...) }

// appendHead appends what stands before the box.
func (c Client) appendHead(dst []byte) []byte {
	dst = wire.AppendU16(dst, uint16(c.Version))
	if c.Key.IsZero() {
		dst = wire.AppendAbsent(dst)
	} else {
		dst = c.Key.Append(wire.AppendPresent(dst))
	}
	return append(dst, c.Nonce[:]...)
}

// Padded returns the length in bytes that content is padded to: PaddedFirst when the envelope carries a key, else
// PaddedMessage.
func (c Client) Padded() int {
	if c.Key.IsZero() {
		return PaddedMessage
	}
	return PaddedFirst
}

// Seal boxes the private header and the agent envelope under the queue's secret and returns the complete body of
// BodyFirst or BodyMessage bytes. c.Box is not used. wire.ErrTooLarge if the envelope does not fit.
func (c Client) Seal(secret *box.Secret, header PrivateHeader, envelope []byte) ([]byte, error) {
	return c.AppendSealed(make([]byte, 0, BodyMessage), secret, header, envelope)
}

// AppendSealed appends what Seal returns. After an error dst is as it was.
func (c Client) AppendSealed(dst []byte, secret *box.Secret, header PrivateHeader, envelope []byte) ([]byte, error) {
	content := scratch.Get()
	defer scratch.Put(content)
	*content = append(header.Append(*content), envelope...)
	body, err := box.SealPadded(c.appendHead(dst), secret, c.Nonce[:], *content, c.Padded())
	if err != nil {
		return dst, fmt.Errorf("client envelope: %w", err)
	}
	return body, nil
}

// Open opens the box and splits the private header from the agent envelope. box.ErrOpen if it was sealed with another
// secret or changed, wire.ErrSyntax if the content is malformed.
func (c Client) Open(secret *box.Secret) (PrivateHeader, []byte, error) {
	content, err := box.OpenPadded(secret, c.Nonce[:], c.Box)
	if err != nil {
		return PrivateHeader{}, nil, fmt.Errorf("client envelope: %w", err)
	}
	r := wire.NewReader(content)
	header := ReadPrivateHeader(r)
	envelope := r.Rest()
	if err := r.Done(); err != nil {
		return PrivateHeader{}, nil, fmt.Errorf("private header: %w", err)
	}
	return header, envelope, nil
}

// PrivateHeader is what stands inside the box before the agent envelope: nothing, or the key with which the sender will
// authorize its commands, for the recipient to secure the queue with.
type PrivateHeader struct {
	SenderKey keys.Public // Ed25519, Ed448 or X25519; zero: none
}

const (
	privateEmpty = '_'
	privateKey   = 'K' // str8 authorization key
	// maxPrivateHeader is the size of the largest private header: tag, length, SubjectPublicKeyInfo of Ed448.
	maxPrivateHeader = 1 + 1 + 69
)

// Append appends the private header.
func (h PrivateHeader) Append(dst []byte) []byte {
	if h.SenderKey.IsZero() {
		return append(dst, privateEmpty)
	}
	return h.SenderKey.Append(append(dst, privateKey))
}

// ReadPrivateHeader reads a private header; what follows is left in the reader.
func ReadPrivateHeader(r *wire.Reader) PrivateHeader {
	switch tag := r.U8(); tag {
	case privateEmpty:
		return PrivateHeader{}
	case privateKey:
		return PrivateHeader{SenderKey: keys.Read(r, keys.Ed25519, keys.Ed448, keys.X25519)}
	default:
		r.Fail("unknown private header")
		return PrivateHeader{}
	}
}
