package oplog

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/coterie-im/coterie/internal/wire"
)

// opVersion is the version of the operations that this package knows.
const opVersion = 1

// Labels of docs/groups.md; each has one purpose.
const (
	labelID   = "coterie/op-id/1"
	labelSign = "coterie/op/1"
)

// Errors of encoding and decoding.
var (
	// ErrForm reports an operation that is not well-formed: the fault of whoever made it.
	ErrForm = errors.New("malformed operation")
	// ErrSignature reports an operation whose signature is not its author's, or an author's key of small order.
	ErrSignature = errors.New("operation with a wrong signature")
	// ErrVersion reports an operation of a version that this package cannot judge.
	ErrVersion = errors.New("operation of an unknown version")
)

// Body is what an operation says and its author signs.
//
//	u16 version(1) · groupId 32 · author key · u64 seq · list8 parents · i64 time · u8 action · content
type Body struct {
	Group   ID // zero in the genesis, whose ID it is
	Author  Key
	Seq     uint64 // 0 for the author's first operation, else 1 + the largest of its own before this one
	Parents []ID   // ascending, none twice, at most 16; none in the genesis, else at least one
	Time    int64  // seconds since 1970, rounded down to the hour by its author; for display only
	Action  Action
}

// Encode returns the body's bytes. ErrForm if a value does not fit the format or the body is larger than 8 KiB.
func (b *Body) Encode() ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	dst := wire.AppendU16(nil, opVersion)
	dst = append(append(dst, b.Group[:]...), b.Author[:]...)
	dst = wire.AppendU64(dst, b.Seq)
	dst = append(dst, byte(len(b.Parents)))
	for _, p := range b.Parents {
		dst = append(dst, p[:]...)
	}
	dst = append(wire.AppendI64(dst, b.Time), b.Action.code())
	dst = b.Action.append(dst)
	if len(dst) > MaxBody {
		return nil, ErrForm
	}
	return dst, nil
}

func (b *Body) check() error {
	if b.Action == nil || len(b.Parents) > MaxParents {
		return ErrForm
	}
	if !ascending(b.Parents) {
		return ErrForm
	}
	if b.isGenesis() != (b.Group == ID{}) || b.isGenesis() != (len(b.Parents) == 0) || b.isGenesis() && b.Seq != 0 {
		return ErrForm
	}
	return b.Action.check()
}

func (b *Body) isGenesis() bool {
	_, ok := b.Action.(*Genesis)
	return ok
}

// DecodeBody reads a body that fills in completely, with nothing that Encode would write differently. ErrForm or
// ErrVersion.
func DecodeBody(in []byte) (Body, error) { return decodeBody(in, opVersion) }

// decodeBody is DecodeBody of a program that knows the versions up to one; the content is that of version 1 in all.
func decodeBody(in []byte, known uint16) (Body, error) {
	if len(in) > MaxBody {
		return Body{}, ErrForm
	}
	r := wire.NewReader(in)
	version, b := readHeader(r)
	if version > known {
		return Body{}, ErrVersion
	}
	b.Time = r.I64()
	b.Action = readAction(r.U8(), r)
	if err := r.Done(); err != nil {
		return Body{}, fmt.Errorf("%w: %w", ErrForm, err)
	}
	if err := b.check(); err != nil {
		return Body{}, err
	}
	return b, nil
}

// readHeader reads what the bodies of all versions begin with: u16 version · groupId 32 · author key · u64 seq ·
// list8 parents.
func readHeader(r *wire.Reader) (version uint16, b Body) {
	if version = r.U16(); version == 0 {
		r.Fail("version zero")
	}
	r.Copy(b.Group[:])
	r.Copy(b.Author[:])
	b.Seq = r.U64()
	n := int(r.U8())
	if n > MaxParents {
		r.Fail("too many parents")
		return version, b
	}
	b.Parents = make([]ID, n)
	for i := range b.Parents {
		r.Copy(b.Parents[i][:])
	}
	return version, b
}

// decodeHeader reads the header of a body of a later version, about whose other fields nothing is known. It obeys the
// rules of version 1: parents ascending and none twice, none in a genesis alone, and not more than 8 KiB in all.
func decodeHeader(in []byte) (version uint16, b Body, err error) {
	r := wire.NewReader(in)
	version, b = readHeader(r)
	if r.Err() != nil {
		return 0, Body{}, fmt.Errorf("%w: %w", ErrForm, r.Err())
	}
	genesis := b.Group == ID{}
	if len(in) > MaxBody || !ascending(b.Parents) || genesis != (len(b.Parents) == 0) || genesis && b.Seq != 0 {
		return 0, Body{}, ErrForm
	}
	return version, b, nil
}

func ascending(ids []ID) bool {
	for i := 1; i < len(ids); i++ {
		if ids[i-1].Compare(ids[i]) >= 0 {
			return false
		}
	}
	return true
}

// Op is a signed operation. It does not change; what its fields refer to must not be changed either. Of one of a later
// version only the header is known: it has no Action and no Time.
type Op struct {
	Body
	version   uint16
	id        ID
	raw       []byte
	signature [ed25519.SignatureSize]byte
}

// Sign makes an operation of a body with its author's private key. ErrForm as Body.Encode, also if the key is not the
// author's.
func Sign(b Body, key ed25519.PrivateKey) (*Op, error) {
	raw, err := b.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(key.Public().(ed25519.PublicKey), b.Author[:]) {
		return nil, ErrForm
	}
	op := &Op{Body: b, version: opVersion, id: Hash(labelID, raw), raw: raw}
	copy(op.signature[:], ed25519.Sign(key, signed(raw)))
	return op, nil
}

func signed(raw []byte) []byte { return append(wire.AppendStr8(nil, []byte(labelSign)), raw...) }

// ReadSigned reads str16(body) · signature 64 from r, as frames carry operations. It checks the form, not the signature
// (Verify does); of an operation of a later version the form of its header. ErrForm.
func ReadSigned(r *wire.Reader) (*Op, error) {
	raw := bytes.Clone(r.Str16())
	signature := r.Fixed(ed25519.SignatureSize)
	if r.Err() != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, r.Err())
	}
	version, b := uint16(opVersion), Body{}
	var err error
	if v := wire.NewReader(raw).U16(); v > opVersion {
		version, b, err = decodeHeader(raw)
	} else {
		b, err = DecodeBody(raw)
	}
	if err != nil {
		return nil, err
	}
	return &Op{
		Body: b, version: version, id: Hash(labelID, raw), raw: raw, signature: [ed25519.SignatureSize]byte(signature),
	}, nil
}

// read returns the operation with what a program that knows the versions up to one reads in it: itself, but for a later
// version that this program knows. ErrForm.
func (op *Op) read(known uint16) (*Op, error) {
	if op.version > known || op.Action != nil {
		return op, nil
	}
	b, err := decodeBody(op.raw, known)
	if err != nil {
		return nil, err
	}
	whole := *op
	whole.Body = b
	return &whole, nil
}

// DecodeSigned reads one signed operation that fills in completely; see ReadSigned.
func DecodeSigned(in []byte) (*Op, error) {
	r := wire.NewReader(in)
	op, err := ReadSigned(r)
	if err == nil && r.Done() != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, r.Err())
	}
	return op, err
}

// Version returns the version that the operation is written in.
func (op *Op) Version() uint16 { return op.version }

// ID returns the operation's ID.
func (op *Op) ID() ID { return op.id }

// Size returns the length of what AppendSigned appends.
func (op *Op) Size() int { return 2 + len(op.raw) + len(op.signature) }

// AppendSigned appends str16(body) · signature 64.
func (op *Op) AppendSigned(dst []byte) []byte {
	return append(wire.AppendStr16(dst, op.raw), op.signature[:]...)
}

// Verify checks the signature as RFC 8032 says and crypto/ed25519 does it, and refuses an author's key of small order.
// ErrSignature.
func (op *Op) Verify() error {
	if SmallOrder(op.Author) || !ed25519.Verify(op.Author[:], signed(op.raw), op.signature[:]) {
		return ErrSignature
	}
	return nil
}

// Format implements fmt.Formatter: every verb prints "[op]".
func (*Op) Format(f fmt.State, _ rune) { io.WriteString(f, "[op]") }

// LogValue implements slog.LogValuer: "[op]".
func (*Op) LogValue() slog.Value { return slog.StringValue("[op]") }

// smallOrder has the y coordinates, little-endian and with the sign of x cleared, of all encodings of the points whose
// order divides 8, among them those that are not reduced (p, p+1): whoever signs with such a key can make one signature
// fit many messages.
var smallOrder = [...][32]byte{
	{},
	{0: 1},
	{
		0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
	},
	{
		0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
	},
	nearPrime(0xec), // p - 1
	nearPrime(0xed), // p
	nearPrime(0xee), // p + 1
}

func nearPrime(low byte) (y [32]byte) {
	for i := range y {
		y[i] = 0xff
	}
	y[0], y[31] = low, 0x7f
	return y
}

// SmallOrder tells whether a key is an encoding of a point whose order divides 8. Such keys are refused everywhere.
func SmallOrder(k Key) bool {
	k[31] &= 0x7f
	for _, y := range smallOrder {
		if k == y {
			return true
		}
	}
	return false
}
