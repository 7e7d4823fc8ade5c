package link

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// Type is what is behind a short contact link. Its value is its tag in binary forms; the lower-case letter stands in
// the text.
type Type byte

// The types of short contact links.
const (
	TypeContact Type = 'A'
	TypeChannel Type = 'C'
	TypeGroup   Type = 'G'
	TypeRelay   Type = 'R'
)

// Short is a short link: where link data is stored and the key to read it with (docs/protocol.md, "Short links"). It
// prints as its kind only.
type Short struct {
	// Simplex chooses the scheme of the text, "simplex:" instead of "https://" and the first host.
	Simplex bool
	Kind    Kind
	Type    Type // of contact links
	// Server is the relay. A shortened link has a host only; its fingerprint is zero. See Restore.
	Server queue.Server
	// LinkID is the name of the link data of an invitation, made by the relay. That of contact links is derived from
	// Key: see DataID.
	LinkID queue.ID
	// Key is the link key. Links with a key of another length than 32 bytes can be read, but fit no link data.
	Key []byte
}

// Format hides the link from every formatting verb.
func (s Short) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "short "+s.Kind.String()+" link")
}

// IsShort tells whether text looks like a short link rather than a full one; it may still not parse.
func IsShort(text string) bool {
	_, _, path, err := cutScheme(text)
	return err == nil && len(path) > 2 && strings.IndexByte("/#", path[2]) >= 0
}

// Text returns the canonical text form:
//
//	https://host/i#linkID/key[?h=other hosts][&p=port][&c=fingerprint]      invitation
//	https://host/a#key[?h=other hosts][&p=port][&c=fingerprint]             contact, also c, g, r
//	simplex:/a#key?h=hosts[&p=port][&c=fingerprint]
func (s Short) Text() string {
	var b strings.Builder
	hosts := s.Server.Hosts
	if s.Simplex {
		b.WriteString(simplexScheme)
	} else {
		b.WriteString(httpsScheme + hosts[0])
		hosts = hosts[1:]
	}
	if s.Kind == Invitation {
		b.WriteString("/i#" + encode64Short([]byte(s.LinkID)) + "/")
	} else {
		b.WriteString("/" + strings.ToLower(string(rune(s.Type))) + "#")
	}
	b.WriteString(encode64Short(s.Key))
	separator := "?"
	parameter := func(name, value string) {
		if value != "" {
			b.WriteString(separator + name + "=" + value)
			separator = "&"
		}
	}
	parameter("h", escape(hostsText(hosts, "")))
	parameter("p", s.Server.Port)
	if !s.shortened() {
		parameter("c", encode64Short(s.Server.Fingerprint[:]))
	}
	return b.String()
}

// ParseShort reads the text form. Padded base64, parameters in any order, unknown ones, upper-case contact types and a
// slash before '#' are accepted; the lengths of ID and key are not checked. ErrLink for everything that is not a short
// link.
func ParseShort(text string) (Short, error) {
	if len(text) > MaxText {
		return Short{}, wrong("too long")
	}
	scheme, host, path, err := cutScheme(text)
	if err != nil {
		return Short{}, err
	}
	s := Short{Simplex: scheme == simplexScheme}
	word, rest, ok := strings.Cut(path, "#")
	if !ok || !s.setType(strings.TrimSuffix(word, "/")) {
		return Short{}, wrong("type")
	}
	secret, parameters, _ := strings.Cut(rest, "?")
	if err := s.parseSecret(secret); err != nil {
		return Short{}, err
	}
	p, err := parseQuery(parameters)
	if err != nil {
		return Short{}, err
	}
	if err := s.parseServer(host, p); err != nil {
		return Short{}, err
	}
	return s, nil
}

// setType reads the path of a link, a slash and a letter.
func (s *Short) setType(path string) bool {
	s.Kind = Contact
	switch path {
	case "/i":
		s.Kind = Invitation
	case "/a", "/A":
		s.Type = TypeContact
	case "/c", "/C":
		s.Type = TypeChannel
	case "/g", "/G":
		s.Type = TypeGroup
	case "/r", "/R":
		s.Type = TypeRelay
	default:
		return false
	}
	return true
}

// parseSecret reads the link key, in invitations behind the link ID.
func (s *Short) parseSecret(text string) error {
	if s.Kind == Invitation {
		id, key, ok := strings.Cut(text, "/")
		raw, err := decode64(id)
		if !ok || err != nil || len(raw) > 255 {
			return wrong("link ID")
		}
		s.LinkID, text = queue.ID(raw), key
	}
	var err error
	if s.Key, err = decode64(text); err != nil || len(s.Key) > 255 {
		return wrong("link key")
	}
	return nil
}

// parseServer reads the relay from the host of the link and the parameters.
func (s *Short) parseServer(host string, p query) (err error) {
	if host != "" {
		if s.Server.Hosts, err = appendHosts(nil, host); err != nil || len(s.Server.Hosts) != 1 {
			return wrong("host")
		}
	}
	more, present, err := p.get("h")
	if err != nil {
		return err
	}
	if present {
		if s.Server.Hosts, err = appendHosts(s.Server.Hosts, more); err != nil {
			return err
		}
	}
	if len(s.Server.Hosts) == 0 {
		return wrong("no host")
	}
	if s.Server.Port, err = p.port(); err != nil {
		return err
	}
	s.Server.Fingerprint, err = p.fingerprint()
	return err
}

// port reads p, "" if there is none: a decimal number of any length, of which, as in the public network, the part that
// fits a port counts.
func (p query) port() (string, error) {
	text, present, err := p.get("p")
	if err != nil || !present {
		return "", err
	}
	var n uint32
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return "", wrong("port")
		}
		n = (n*10 + uint32(c-'0')) % 65536
	}
	if text == "" {
		return "", wrong("port")
	}
	return strconv.FormatUint(uint64(n), 10), nil
}

// fingerprint reads c, zeros if there is none.
func (p query) fingerprint() (f [queue.FingerprintSize]byte, err error) {
	text, present, err := p.get("c")
	if err != nil || !present {
		return f, err
	}
	raw, err := decode64(text)
	if err != nil || len(raw) != len(f) || bytes.Equal(raw, f[:]) {
		return f, wrong("fingerprint")
	}
	return [queue.FingerprintSize]byte(raw), nil
}

// shortened tells whether the relay's fingerprint is left out.
func (s Short) shortened() bool { return s.Server.Fingerprint == [queue.FingerprintSize]byte{} }

// Complete tells whether the relay of the link is known well enough to connect to; otherwise Restore may help.
func (s Short) Complete() bool { return !s.shortened() }

// Shorten returns the link without what everybody knows of preset relays: their further hosts, port and fingerprint.
// Links of other relays are returned unchanged.
func (s Short) Shorten(presets []queue.Server) Short {
	i := slices.IndexFunc(presets, func(p queue.Server) bool {
		return p.Hosts[0] == s.Server.Hosts[0] && containsAll(p.Hosts, s.Server.Hosts) && p.Fingerprint == s.Server.Fingerprint &&
			(p.Port == s.Server.Port || p.Port == "" && (s.Server.Port == "443" || s.Server.Port == "5223"))
	})
	if i >= 0 {
		s.Server = queue.Server{Hosts: s.Server.Hosts[:1:1]}
	}
	return s
}

// Restore completes a shortened link from the preset relay with its host. Other links, and those of a relay that is not
// among the presets, are returned unchanged: see Complete.
func (s Short) Restore(presets []queue.Server) Short {
	if !s.shortened() || s.Server.Port != "" || len(s.Server.Hosts) != 1 {
		return s
	}
	i := slices.IndexFunc(presets, func(p queue.Server) bool { return p.Hosts[0] == s.Server.Hosts[0] })
	if i >= 0 {
		s.Server = presets[i]
		s.Server.Password = ""
	}
	return s
}

func containsAll(all, some []string) bool {
	return !slices.ContainsFunc(some, func(h string) bool { return !slices.Contains(all, h) })
}

// Append appends the binary form, which has no scheme:
//
//	"I" server str8(link ID) str8(key)
//	"C" type server str8(key)              type: A C G R
//
// A shortened link has an empty fingerprint.
func (s Short) Append(dst []byte) []byte {
	dst = append(dst, byte(s.Kind))
	if s.Kind == Contact {
		dst = append(dst, byte(s.Type))
	}
	dst = s.Server.Append(dst)
	if s.shortened() {
		dst = wire.AppendStr8(dst[:len(dst)-1-queue.FingerprintSize], nil)
	}
	if s.Kind == Invitation {
		dst = s.LinkID.Append(dst)
	}
	return wire.AppendStr8(dst, s.Key)
}

// ReadShort reads the binary form.
func ReadShort(r *wire.Reader) Short {
	s := Short{Kind: readKind(r)}
	if s.Kind == Contact {
		switch s.Type = Type(r.U8()); s.Type {
		case TypeContact, TypeChannel, TypeGroup, TypeRelay:
		default:
			r.Fail("type of short link")
		}
	}
	s.Server = readShortServer(r)
	if s.Kind == Invitation {
		s.LinkID = queue.ReadID(r)
	}
	s.Key = bytes.Clone(r.Str8())
	if r.Err() != nil {
		return Short{}
	}
	return s
}

// readShortServer reads a relay whose fingerprint may be empty.
func readShortServer(r *wire.Reader) queue.Server {
	var s queue.Server
	n := r.U8()
	if n == 0 {
		r.Fail("relay without host")
	}
	for range n {
		host := string(r.Str8())
		if r.Err() != nil {
			return queue.Server{}
		}
		if !queue.ValidHost(host) {
			r.Fail("host of relay")
		}
		s.Hosts = append(s.Hosts, host)
	}
	if s.Port = string(r.Str8()); !queue.ValidPort(s.Port) {
		r.Fail("port of relay")
	}
	switch fingerprint := r.Str8(); len(fingerprint) {
	case 0:
	case queue.FingerprintSize:
		s.Fingerprint = [queue.FingerprintSize]byte(fingerprint)
	default:
		r.Fail("fingerprint of relay")
	}
	return s
}
