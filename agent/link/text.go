package link

import (
	"encoding/base64"
	"strings"
)

// encode64 returns base64url with padding, the form of all bytes in full links.
func encode64(b []byte) string { return base64.URLEncoding.EncodeToString(b) }

// encode64Short returns base64url without padding, the form of all bytes in short links.
func encode64Short(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode64 reads base64url of at least one byte, padded or not. Line breaks, which package base64 would skip, and set
// bits behind the last byte are errors, so that bytes have no third spelling.
func decode64(s string) ([]byte, error) {
	if s == "" || strings.ContainsAny(s, "\r\n") {
		return nil, wrong("base64")
	}
	encoding := base64.RawURLEncoding
	if strings.HasSuffix(s, "=") {
		encoding = base64.URLEncoding
	}
	b, err := encoding.Strict().DecodeString(s)
	if err != nil {
		return nil, wrong("base64")
	}
	return b, nil
}

const hexDigits = "0123456789ABCDEF"

// escape percent-encodes every byte except letters, digits and - _ . ~
func escape(s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/4)
	for i := range len(s) {
		if c := s[i]; unreserved(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.~", c) >= 0
}

// unescape undoes escape; '+' means a space. ok is false if a percent sign has no two hexadecimal digits behind it.
func unescape(s string) (text string, ok bool) {
	if !strings.ContainsAny(s, "%+") {
		return s, true
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '+':
			b.WriteByte(' ')
		case '%':
			if i+2 >= len(s) {
				return "", false
			}
			high, low := hexValue(s[i+1]), hexValue(s[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			b.WriteByte(byte(high<<4 | low))
			i += 2
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), true
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	default:
		return -1
	}
}

// query is the parameters of a link or of something nested in one, still escaped. Order is free, the first of a name
// counts, unknown names are ignored.
type query map[string]string

// parseQuery splits parameters at '&' and, as the public network does, at ';'. A space or a line break ends a query and
// may not be followed by anything, so it is an error.
func parseQuery(s string) (query, error) {
	if strings.ContainsAny(s, " \n") {
		return nil, wrong("text behind the parameters")
	}
	q := make(query)
	for part := range strings.FieldsFuncSeq(s, func(c rune) bool { return c == '&' || c == ';' }) {
		name, value, _ := strings.Cut(part, "=")
		if _, again := q[name]; !again {
			q[name] = value
		}
	}
	return q, nil
}

// get returns the value of a parameter; present is false if there is none. A value that does not unescape is an error.
func (p query) get(name string) (value string, present bool, err error) {
	raw, present := p[name]
	if !present {
		return "", false, nil
	}
	value, ok := unescape(raw)
	if !ok {
		return "", true, wrong("escape in " + name)
	}
	return value, true, nil
}
