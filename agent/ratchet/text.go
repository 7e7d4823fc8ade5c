package ratchet

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
)

// Text returns the value of an invitation link's e2e parameter (docs/protocol.md, "Full link, text"), before the link's
// own percent-encoding:
//
//	v=MIN-MAX&x3dh=BASE64URL,BASE64URL[&kem_key=BASE64URL]
//
// The KEM key is left out below version 3. It panics if the KEM is accepted, which an invitation cannot say.
func (p Params) Text() string {
	if p.KEM.accepted() {
		panic("ratchet: KEM ciphertext in an invitation")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "v=%d", p.Versions.Min)
	if p.Versions.Min != p.Versions.Max {
		fmt.Fprintf(&b, "-%d", p.Versions.Max)
	}
	b64 := base64.URLEncoding.EncodeToString
	b.WriteString("&x3dh=" + b64(p.Key1.DER()) + "," + b64(p.Key2.DER()))
	if !p.KEM.absent() && p.Versions.Max >= 3 {
		b.WriteString("&kem_key=" + b64(p.KEM.Public))
	}
	return b.String()
}

// ParseText reads the value of an invitation link's e2e parameter, after the link's own percent-decoding. It is a query
// string itself: '&' and ';' separate, the order is free, the first of several values counts, unknown names are ignored.
// A KEM key is ignored below version 3; a KEM ciphertext is an error. Errors wrap wire.ErrSyntax.
func ParseText(s string) (Params, error) {
	q, err := parseQuery(s)
	if err != nil {
		return Params{}, err
	}
	var p Params
	if p.Versions, err = parseVersions(q["v"]); err != nil {
		return Params{}, err
	}
	first, second, _ := strings.Cut(q["x3dh"], ",")
	if p.Key1, err = parseKey(first); err != nil {
		return Params{}, err
	}
	if p.Key2, err = parseKey(second); err != nil {
		return Params{}, err
	}
	if p.Versions.Max < 3 {
		return p, nil
	}
	if _, ok := q["kem_ct"]; ok {
		return Params{}, fmt.Errorf("%w: KEM ciphertext in an invitation", wire.ErrSyntax)
	}
	if k, ok := q["kem_key"]; ok {
		if p.KEM.Public, err = parseBase64(k); err != nil {
			return Params{}, err
		}
		if len(p.KEM.Public) == 0 || len(p.KEM.Public) > 0xffff {
			return Params{}, fmt.Errorf("%w: KEM key length", wire.ErrSyntax)
		}
	}
	return p, nil
}

func parseQuery(s string) (map[string]string, error) {
	q := map[string]string{}
	for pair := range strings.FieldsFuncSeq(s, func(c rune) bool { return c == '&' || c == ';' }) {
		name, value, _ := strings.Cut(pair, "=")
		if _, ok := q[name]; ok {
			continue
		}
		value, err := url.QueryUnescape(value)
		if err != nil {
			return nil, fmt.Errorf("%w: percent-encoding", wire.ErrSyntax)
		}
		q[name] = value
	}
	return q, nil
}

func parseVersions(s string) (VersionRange, error) {
	low, high, isRange := strings.Cut(s, "-")
	if !isRange {
		high = low
	}
	minimum, err1 := strconv.ParseUint(low, 10, 16)
	maximum, err2 := strconv.ParseUint(high, 10, 16)
	if err1 != nil || err2 != nil || minimum > maximum {
		return VersionRange{}, fmt.Errorf("%w: version range", wire.ErrSyntax)
	}
	return VersionRange{uint16(minimum), uint16(maximum)}, nil
}

func parseKey(s string) (keys.Public, error) {
	der, err := parseBase64(s)
	if err != nil {
		return keys.Public{}, err
	}
	k, err := keys.Parse(der)
	if err != nil || k.Algorithm() != keys.X448 {
		return keys.Public{}, fmt.Errorf("%w: not an X448 key", wire.ErrSyntax)
	}
	return k, nil
}

// parseBase64 takes base64url with full padding or with none. Line breaks, which the standard decoder skips, are refused.
func parseBase64(s string) ([]byte, error) {
	enc := base64.RawURLEncoding
	if strings.HasSuffix(s, "=") {
		enc = base64.URLEncoding
	}
	b, err := enc.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, fmt.Errorf("%w: base64url", wire.ErrSyntax)
	}
	return b, nil
}
