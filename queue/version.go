package queue

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/coterie-im/coterie/internal/wire"
)

// Version is a version of the relay protocol. On the wire it is two bytes.
type Version uint16

// Versions at which something changes (docs/protocol.md, "Versions"). Version 13 does not differ from 12.
const (
	VersionOldest         Version = 6  // session ID inside every transmission, signatures only
	VersionAuthenticators Version = 7  // X25519 authenticators; session ID implied
	VersionProxy          Version = 8  // PRXY, PFWD, RFWD
	VersionSecureSender   Version = 9  // SKEY
	VersionDeleted        Version = 10 // DELD
	VersionBlockEncrypted Version = 11 // blocks encrypted inside TLS
	VersionBlocked        Version = 12 // ERR BLOCKED
	VersionProxyFlag      Version = 14 // proxy flag in the client hello
	VersionLinks          Version = 15 // link data, recipient key lists, queue mode
	VersionServices       Version = 16 // service sessions, SOK
	VersionNotifierInNew  Version = 17 // notifier inside NEW and IDS
	VersionNotice         Version = 18 // notice inside ERR BLOCKED
)

// Supported returns the versions that this implementation speaks in full and announces.
func Supported() VersionRange { return VersionRange{VersionOldest, VersionSecureSender} }

// VersionRange is an inclusive range of versions; on the wire Min and Max, two bytes each.
type VersionRange struct{ Min, Max Version }

// Append appends the four bytes of the range.
func (r VersionRange) Append(dst []byte) []byte {
	return wire.AppendU16(wire.AppendU16(dst, uint16(r.Min)), uint16(r.Max))
}

// ReadVersionRange reads four bytes; a minimum above the maximum is a syntax error.
func ReadVersionRange(r *wire.Reader) VersionRange {
	v := VersionRange{Version(r.U16()), Version(r.U16())}
	if v.Min > v.Max {
		r.Fail("version range is empty")
		return VersionRange{}
	}
	return v
}

// Contains tells whether v is in the range.
func (r VersionRange) Contains(v Version) bool { return r.Min <= v && v <= r.Max }

// Overlap returns the versions in both ranges; ok is false if there is none.
func (r VersionRange) Overlap(o VersionRange) (both VersionRange, ok bool) {
	both = VersionRange{max(r.Min, o.Min), min(r.Max, o.Max)}
	if both.Min > both.Max {
		return VersionRange{}, false
	}
	return both, true
}

// Negotiate returns the version that two sides with these ranges agree on, the highest in both; ok is false if there is
// none.
func (r VersionRange) Negotiate(o VersionRange) (v Version, ok bool) {
	both, ok := r.Overlap(o)
	return both.Max, ok
}

// String returns the text form, "N" or "N-M".
func (r VersionRange) String() string {
	if r.Min == r.Max {
		return strconv.Itoa(int(r.Min))
	}
	return strconv.Itoa(int(r.Min)) + "-" + strconv.Itoa(int(r.Max))
}

// ParseVersionRange reads the text form.
func ParseVersionRange(s string) (VersionRange, error) {
	low, high, ranged := strings.Cut(s, "-")
	if !ranged {
		high = low
	}
	lo, err := strconv.ParseUint(low, 10, 16)
	if err != nil {
		return VersionRange{}, fmt.Errorf("version range: %w", wire.ErrSyntax)
	}
	hi, err := strconv.ParseUint(high, 10, 16)
	if err != nil || lo > hi {
		return VersionRange{}, fmt.Errorf("version range: %w", wire.ErrSyntax)
	}
	return VersionRange{Version(lo), Version(hi)}, nil
}
