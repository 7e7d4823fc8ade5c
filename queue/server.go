package queue

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/coterie-im/coterie/internal/wire"
)

// ErrAddress reports a relay address that does not parse.
var ErrAddress = errors.New("not a relay address")

// FingerprintSize is the length of a relay's fingerprint in bytes.
const FingerprintSize = 32

const (
	serverScheme  = "smp://"
	onionSuffix   = ".onion"
	redactedRelay = "[relay]"
	maxHosts      = 255
)

// Server is the address of a relay (docs/protocol.md, "Relay addresses"). It prints and logs as "[relay]"; Text is the
// address itself.
type Server struct {
	// Fingerprint is the SHA-256 of the relay's identity certificate.
	Fingerprint [FingerprintSize]byte
	// Password is what the relay may ask for to create queues; empty if none. It is not part of the binary form.
	Password string
	// Hosts are names and addresses of the one relay in order of preference, at least one. IPv6 is without brackets.
	Hosts []string
	// Port is decimal digits, or empty for the default port.
	Port string
}

// ParseServer reads "smp://fingerprint[:password]@host[,host...][:port]". The padding of the fingerprint is optional,
// IPv6 addresses may be in brackets: a bare one swallows the port behind it. ErrAddress for everything else.
func ParseServer(text string) (Server, error) {
	rest, ok := strings.CutPrefix(text, serverScheme)
	if !ok {
		return Server{}, fmt.Errorf("%w: does not start with %s", ErrAddress, serverScheme)
	}
	identity, location, ok := strings.Cut(rest, "@")
	if !ok {
		return Server{}, fmt.Errorf("%w: no host", ErrAddress)
	}
	var s Server
	fingerprint, password, protected := strings.Cut(identity, ":")
	if raw, err := parseBase64(fingerprint); err != nil || len(raw) != FingerprintSize {
		return Server{}, fmt.Errorf("%w: fingerprint", ErrAddress)
	} else {
		s.Fingerprint = [FingerprintSize]byte(raw)
	}
	if protected && !ValidPassword(password) {
		return Server{}, fmt.Errorf("%w: password", ErrAddress)
	}
	s.Password = password
	var err error
	if s.Hosts, s.Port, err = ParseHosts(location); err != nil {
		return Server{}, err
	}
	return s, nil
}

// ParseHosts reads "host[,host...][:port]". Hosts are tried as IPv4, IPv6, onion name, name; IPv6 is returned without
// brackets. ErrAddress if it does not parse or something is left over.
func ParseHosts(text string) (hosts []string, port string, err error) {
	for {
		host, rest := cutHost(text)
		if host == "" || len(hosts) == maxHosts {
			return nil, "", fmt.Errorf("%w: host", ErrAddress)
		}
		hosts = append(hosts, host)
		if rest == "" {
			return hosts, "", nil
		}
		if port, ok := strings.CutPrefix(rest, ":"); ok {
			if port == "" || !ValidPort(port) {
				return nil, "", fmt.Errorf("%w: port", ErrAddress)
			}
			return hosts, port, nil
		}
		var ok bool
		if text, ok = strings.CutPrefix(rest, ","); !ok {
			return nil, "", fmt.Errorf("%w: host", ErrAddress)
		}
	}
}

// cutHost takes the host at the start of text; it is empty if there is none.
func cutHost(text string) (host, rest string) {
	if inner, ok := strings.CutPrefix(text, "["); ok {
		address, rest, ok := strings.Cut(inner, "]")
		if !ok || !isIPv6(address) {
			return "", text
		}
		return address, rest
	}
	if end := strings.IndexFunc(text, notIPv6); end != 0 {
		if end < 0 {
			end = len(text)
		}
		if isIPv6(text[:end]) {
			return text[:end], text[end:]
		}
	}
	end := strings.IndexFunc(text, notName)
	if end < 0 {
		end = len(text)
	}
	if !ValidHost(text[:end]) {
		return "", text
	}
	return text[:end], text[end:]
}

// ValidHost tells whether host can be a host of an address: IPv4, IPv6 without brackets, an onion name of lower-case
// letters and digits, or a name without the characters that have a meaning in addresses, up to 255 bytes.
func ValidHost(host string) bool {
	if host == "" || len(host) > 255 || !utf8.ValidString(host) {
		return false
	}
	if name, ok := strings.CutSuffix(host, onionSuffix); ok {
		return name != "" && strings.IndexFunc(name, func(c rune) bool { return !('a' <= c && c <= 'z' || '0' <= c && c <= '9') }) < 0
	}
	return isIPv6(host) || strings.IndexFunc(host, notName) < 0
}

func notName(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune(":#,;/[]@", c) }

func notIPv6(c rune) bool {
	return !(c == ':' || '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F')
}

func isIPv6(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Is6() && a.Zone() == ""
}

// ValidPort tells whether port is empty or the decimal digits of a number up to 65535.
func ValidPort(port string) bool {
	if port == "" {
		return true
	}
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil && len(port) <= 5
}

// ValidPassword tells whether password can be the one of a relay: 1 to 255 printable ASCII characters, none of them a
// space or "@", ":", "/".
func ValidPassword(password string) bool {
	if password == "" || len(password) > 255 {
		return false
	}
	return strings.IndexFunc(password, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune("@:/", c) }) < 0
}

// Text returns the address. IPv6 hosts are in brackets.
func (s Server) Text() string {
	var b strings.Builder
	b.WriteString(serverScheme)
	b.WriteString(base64.URLEncoding.EncodeToString(s.Fingerprint[:]))
	if s.Password != "" {
		b.WriteString(":" + s.Password)
	}
	for i, host := range s.Hosts {
		b.WriteString([]string{"@", ","}[min(i, 1)])
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		b.WriteString(host)
	}
	if s.Port != "" {
		b.WriteString(":" + s.Port)
	}
	return b.String()
}

// Append appends the binary form: counted list of hosts, port, fingerprint. The password is left out.
func (s Server) Append(dst []byte) []byte {
	dst = append(dst, byte(len(s.Hosts)))
	for _, host := range s.Hosts {
		dst = wire.AppendStr8(dst, []byte(host))
	}
	dst = wire.AppendStr8(dst, []byte(s.Port))
	return wire.AppendStr8(dst, s.Fingerprint[:])
}

// ReadServer reads the binary form. Hosts and port must be valid, the fingerprint must have 32 bytes.
func ReadServer(r *wire.Reader) Server {
	var s Server
	n := r.U8()
	if n == 0 {
		r.Fail("relay without host")
	}
	for range n {
		if r.Err() != nil {
			return Server{}
		}
		host := string(r.Str8())
		if !ValidHost(host) {
			r.Fail("host of relay")
		}
		s.Hosts = append(s.Hosts, host)
	}
	if s.Port = string(r.Str8()); !ValidPort(s.Port) {
		r.Fail("port of relay")
	}
	fingerprint := r.Str8()
	if len(fingerprint) != FingerprintSize {
		r.Fail("fingerprint of relay")
		return Server{}
	}
	s.Fingerprint = [FingerprintSize]byte(fingerprint)
	return s
}

// Equal tells whether both are the same address, password and order of hosts included.
func (s Server) Equal(o Server) bool {
	return s.Fingerprint == o.Fingerprint && s.Password == o.Password && slices.Equal(s.Hosts, o.Hosts) && s.Port == o.Port
}

// String hides the address.
func (s Server) String() string { return redactedRelay }

// GoString hides the address.
func (s Server) GoString() string { return redactedRelay }

// Format hides the address from every formatting verb.
func (s Server) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedRelay) }

// LogValue hides the address from logs.
func (s Server) LogValue() slog.Value { return slog.StringValue(redactedRelay) }

// MarshalText always fails, so that an address inside a logged or encoded structure is neither leaked nor mangled.
func (s Server) MarshalText() ([]byte, error) {
	return nil, errors.New("an address is not marshalled implicitly: use Text")
}
