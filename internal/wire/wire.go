// Package wire has the binary primitives that every Coterie format is made of: length-prefixed strings, big-endian
// numbers, optional values, counted lists and padding (docs/protocol.md, "Primitives").
//
// Encoders append to a byte slice and never fail at run time: a value that does not fit its length prefix is a
// programming error and panics, so callers check sizes that come from outside first. Decoders are a cursor, Reader,
// that remembers its first error; callers decode all fields and look at the error once.
//
// It knows no protocol: tags, versions and layouts live in the packages that own a format.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// ErrSyntax is the error of every decoding failure of this package: input that ends early, has bytes left over, or has
// a byte that is not allowed at its place.
var ErrSyntax = errors.New("malformed input")

// ErrTooLarge reports content that does not fit the padded length it should have.
var ErrTooLarge = errors.New("content does not fit")

// AppendStr8 appends b behind one length byte. It panics if b is longer than 255 bytes.
func AppendStr8(dst, b []byte) []byte {
	if len(b) > 255 {
		panic(fmt.Sprintf("wire: %d bytes in a string of one length byte", len(b)))
	}
	return append(append(dst, byte(len(b))), b...)
}

// AppendStr16 appends b behind a two-byte length. It panics if b is longer than 65,535 bytes.
func AppendStr16(dst, b []byte) []byte {
	if len(b) > 0xffff {
		panic(fmt.Sprintf("wire: %d bytes in a string of two length bytes", len(b)))
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(b))), b...)
}

// AppendU16 appends v big-endian.
func AppendU16(dst []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(dst, v) }

// AppendU32 appends v big-endian.
func AppendU32(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }

// AppendU64 appends v big-endian.
func AppendU64(dst []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(dst, v) }

// AppendI64 appends v as 8 bytes, big-endian two's complement.
func AppendI64(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

// AppendBool appends 'T' or 'F'.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 'T')
	}
	return append(dst, 'F')
}

// AppendAbsent appends '0', the mark of an optional value that is not there.
func AppendAbsent(dst []byte) []byte { return append(dst, '0') }

// AppendPresent appends '1', after which the caller appends the optional value.
func AppendPresent(dst []byte) []byte { return append(dst, '1') }

// Reader is a decoding cursor. After its first error every method returns zero values. Byte slices it returns are
// parts of the input, not copies. The zero value reads an empty input.
type Reader struct {
	rest []byte
	err  error
}

// NewReader returns a cursor at the start of b.
func NewReader(b []byte) *Reader { return &Reader{rest: b} }

// Err returns the first error, or nil.
func (r *Reader) Err() error { return r.err }

// Len returns how many bytes are left.
func (r *Reader) Len() int { return len(r.rest) }

// Done returns the first error; bytes left over are one. Formats that tolerate a tail use Err instead.
func (r *Reader) Done() error {
	if r.err == nil && len(r.rest) > 0 {
		r.err = fmt.Errorf("%w: %d bytes left over", ErrSyntax, len(r.rest))
	}
	return r.err
}

// Fail records err (wrapped so that errors.Is finds ErrSyntax) unless there is an earlier error.
func (r *Reader) Fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrSyntax, what)
	}
	r.rest = nil
}

// Fixed reads exactly n bytes.
func (r *Reader) Fixed(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || len(r.rest) < n {
		r.Fail("ends early")
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// Copy fills dst with the next len(dst) bytes.
func (r *Reader) Copy(dst []byte) { copy(dst, r.Fixed(len(dst))) }

// U8 reads one byte.
func (r *Reader) U8() byte {
	if b := r.Fixed(1); b != nil {
		return b[0]
	}
	return 0
}

// Peek returns the next byte without reading it; ok is false at the end or after an error.
func (r *Reader) Peek() (b byte, ok bool) {
	if r.err != nil || len(r.rest) == 0 {
		return 0, false
	}
	return r.rest[0], true
}

// U16 reads two bytes, big-endian.
func (r *Reader) U16() uint16 {
	if b := r.Fixed(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// U32 reads four bytes, big-endian.
func (r *Reader) U32() uint32 {
	if b := r.Fixed(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// U64 reads eight bytes, big-endian.
func (r *Reader) U64() uint64 {
	if b := r.Fixed(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// I64 reads eight bytes, big-endian two's complement.
func (r *Reader) I64() int64 { return int64(r.U64()) }

// Bool reads 'T' or 'F'; every other byte is an error.
func (r *Reader) Bool() bool {
	switch b := r.U8(); b {
	case 'T':
		return true
	case 'F':
		return false
	default:
		r.Fail("neither T nor F")
		return false
	}
}

// Opt reads the mark of an optional value and tells whether the value follows; every byte but '0' and '1' is an error.
func (r *Reader) Opt() bool {
	switch b := r.U8(); b {
	case '1':
		return true
	case '0':
		return false
	default:
		r.Fail("neither 0 nor 1")
		return false
	}
}

// Str8 reads a string with one length byte.
func (r *Reader) Str8() []byte { return r.Fixed(int(r.U8())) }

// Str16 reads a string with a two-byte length.
func (r *Reader) Str16() []byte { return r.Fixed(int(r.U16())) }

// Rest reads all bytes that are left.
func (r *Reader) Rest() []byte { return r.Fixed(len(r.rest)) }

// filler is the byte that pads content; it is not checked on receipt.
const filler = "#"

var fillers = strings.Repeat(filler, 1024)

// AppendPadded appends content behind its two-byte length and fills up with '#' to exactly n bytes. ErrTooLarge if
// content is longer than n-2 or 65,533 bytes.
func AppendPadded(dst, content []byte, n int) ([]byte, error) {
	if len(content)+2 > n || len(content) > 65533 {
		return dst, ErrTooLarge
	}
	dst = AppendStr16(dst, content)
	for rest := n - 2 - len(content); rest > 0; {
		k := min(rest, len(fillers))
		dst = append(dst, fillers[:k]...)
		rest -= k
	}
	return dst, nil
}

// Unpad returns the content of padded bytes, a part of b. The filler is ignored; ErrSyntax if b is shorter than its
// length field says.
func Unpad(b []byte) ([]byte, error) {
	r := NewReader(b)
	content := r.Str16()
	if r.Err() != nil {
		return nil, r.Err()
	}
	return content, nil
}
