package link

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// MaxText is the length in bytes of the longest link text: it has to fit the invitation envelope.
const MaxText = 65535

// Request is what a full link says (docs/protocol.md, "Links"). It prints as its kind only.
type Request struct {
	Kind  Kind
	Agent queue.VersionRange
	// Queues has 1 to 255 entries, of which only the first is ever used.
	Queues []Queue
	// Keys are the parameters of the key agreement, for a range of versions. Contact addresses have none.
	Keys ratchet.Params
	// ClientData is UTF-8 text of the application, up to 65,535 bytes; nil if there is none.
	ClientData []byte
}

// Format hides the request from every formatting verb.
func (q Request) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, q.Kind.String()+" link") }

// Text returns the canonical text form:
//
//	simplex:/invitation#/?v=range&smp=queues&e2e=keys[&data=client data]
//	simplex:/contact#/?v=range&smp=queues[&data=client data]
func (q Request) Text() string {
	addresses := make([]string, len(q.Queues))
	for i, a := range q.Queues {
		addresses[i] = a.Text()
	}
	var b strings.Builder
	b.WriteString(simplexScheme + "/" + q.Kind.String())
	b.WriteString("#/?v=" + q.Agent.String() + "&smp=" + escape(strings.Join(addresses, ";")))
	if q.Kind == Invitation {
		b.WriteString("&e2e=" + escape(q.Keys.Text()))
	}
	if q.ClientData != nil {
		b.WriteString("&data=" + escape(string(q.ClientData)))
	}
	return b.String()
}

const (
	simplexScheme = "simplex:"
	httpsScheme   = "https://"
)

// Parse reads the text form of a full link. Both schemes, parameters in any order, unknown ones, repeated ones (the
// first counts), lower-case escapes and missing base64 padding are accepted; anything behind the link is not. The range
// of a contact address is raised to the smallest agent version still spoken; that of an invitation is left, so that it
// fails later, when versions are agreed. ErrLink for everything that is not a full link.
func Parse(text string) (Request, error) {
	if len(text) > MaxText {
		return Request{}, wrong("too long")
	}
	_, _, path, err := cutScheme(text)
	if err != nil {
		return Request{}, err
	}
	word, rest, _ := strings.Cut(path, "#")
	parameters, ok := strings.CutPrefix(rest, "/?")
	if !ok {
		return Request{}, wrong("no parameters")
	}
	p, err := parseQuery(parameters)
	if err != nil {
		return Request{}, err
	}
	switch strings.TrimSuffix(word, "/") {
	case "/invitation":
		return p.request(Invitation)
	case "/contact":
		return p.request(Contact)
	default:
		return Request{}, wrong("neither invitation nor contact")
	}
}

// request reads the parameters of a full link.
func (p query) request(kind Kind) (Request, error) {
	q := Request{Kind: kind}
	var err error
	if q.Agent, err = p.versions(); err != nil {
		return Request{}, err
	}
	if q.Queues, err = p.queues(); err != nil {
		return Request{}, err
	}
	if q.ClientData, err = p.clientData(); err != nil {
		return Request{}, err
	}
	if kind == Contact {
		q.Agent.Min = max(q.Agent.Min, AgentVersions.Min)
		q.Agent.Max = max(q.Agent.Max, q.Agent.Min)
		return q, nil
	}
	e2e, _, err := p.get("e2e")
	if err != nil {
		return Request{}, err
	}
	if q.Keys, err = ratchet.ParseText(e2e); err != nil {
		return Request{}, wrong("keys of the agreement")
	}
	return q, nil
}

// cutScheme splits a link into scheme, host ("" for simplex:) and the path from its slash on.
func cutScheme(text string) (scheme, host, path string, err error) {
	if path, ok := strings.CutPrefix(text, simplexScheme); ok && strings.HasPrefix(path, "/") {
		return simplexScheme, "", path, nil
	}
	rest, ok := strings.CutPrefix(text, httpsScheme)
	slash := strings.IndexByte(rest, '/')
	if !ok || slash < 1 || strings.ContainsAny(rest[:slash], "#?@ \t\r\n") {
		return "", "", "", wrong("scheme")
	}
	return httpsScheme, rest[:slash], rest[slash:], nil
}

// queues reads the addresses in the parameter smp.
func (p query) queues() ([]Queue, error) {
	value, _, err := p.get("smp")
	if err != nil {
		return nil, err
	}
	texts := strings.Split(value, ";")
	if len(texts) > 255 {
		return nil, wrong("too many queues")
	}
	queues := make([]Queue, len(texts))
	for i, text := range texts {
		if queues[i], err = ParseQueue(text); err != nil {
			return nil, err
		}
	}
	return queues, nil
}

// clientData reads the parameter data, nil if there is none.
func (p query) clientData() ([]byte, error) {
	value, present, err := p.get("data")
	if err != nil || !present {
		return nil, err
	}
	if !utf8.ValidString(value) {
		return nil, wrong("client data is not text")
	}
	return []byte(value), nil
}

// Binary returns the binary form:
//
//	"I" range list8(queue) opt(str16 client data) keys     keys: ratchet.Params for a range
//	"C" range list8(queue) opt(str16 client data)
//
// It is the canonical bytes of a request: a request that was made with queue modes gives the same bytes after a way
// through its text or binary form, and so its hash names it for both sides of a connection.
func (q Request) Binary() []byte { return q.Append(nil) }

// Append appends the binary form.
func (q Request) Append(dst []byte) []byte {
	dst = append(dst, byte(q.Kind))
	dst = q.Agent.Append(dst)
	dst = append(dst, byte(len(q.Queues)))
	for _, a := range q.Queues {
		dst = a.Append(dst)
	}
	if q.ClientData == nil {
		dst = wire.AppendAbsent(dst)
	} else {
		dst = wire.AppendStr16(wire.AppendPresent(dst), q.ClientData)
	}
	if q.Kind == Invitation {
		dst = q.Keys.AppendRange(dst)
	}
	return dst
}

// ParseBinary reads the binary form, which must fill b. wire.ErrSyntax for everything else.
func ParseBinary(b []byte) (Request, error) {
	r := wire.NewReader(b)
	q := ReadRequest(r)
	if err := r.Done(); err != nil {
		return Request{}, fmt.Errorf("connection request: %w", err)
	}
	return q, nil
}

// ReadRequest reads the binary form. Queues without a mode become contact queues, because the writer cannot express
// that mode for a range that starts below version 3.
func ReadRequest(r *wire.Reader) Request {
	q := Request{Kind: readKind(r), Agent: queue.ReadVersionRange(r)}
	n := r.U8()
	if n == 0 {
		r.Fail("no queue")
	}
	for range n {
		if r.Err() != nil {
			return Request{}
		}
		a := ReadQueue(r)
		if a.Mode == queue.ModeNone {
			a.Mode = queue.ModeContact
		}
		q.Queues = append(q.Queues, a)
	}
	if r.Opt() {
		q.ClientData = bytes.Clone(r.Str16())
		if !utf8.Valid(q.ClientData) {
			r.Fail("client data is not text")
		}
	}
	if q.Kind == Invitation {
		q.Keys = ratchet.ReadRange(r)
	}
	if r.Err() != nil {
		return Request{}
	}
	return q
}

func readKind(r *wire.Reader) Kind {
	k := Kind(r.U8())
	if k != Invitation && k != Contact {
		r.Fail("kind of link")
	}
	return k
}
