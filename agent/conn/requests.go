package conn

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/kv"
	"github.com/coterie-im/coterie/internal/wire"
)

// storedRequest is a request at a contact address that the client has not answered.
type storedRequest struct {
	id   string // its number and 4 random bytes in base64url
	link string
	info []byte
}

const requestFormat = 1

func (r *storedRequest) append(dst []byte) []byte {
	dst = wire.AppendStr8(append(dst, requestFormat), []byte(r.id))
	return append(wire.AppendStr16(dst, []byte(r.link)), r.info...)
}

// decodeRequest reads what append wrote; ErrDamaged for everything else.
func decodeRequest(b []byte) (*storedRequest, error) {
	r := wire.NewReader(b)
	if r.U8() != requestFormat {
		return nil, fmt.Errorf("%w: unknown format of request", ErrDamaged)
	}
	q := &storedRequest{id: string(r.Str8()), link: string(r.Str16()), info: copied(r.Rest())}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: request: %w", ErrDamaged, err)
	}
	return q, nil
}

func requestName(number uint64) []byte { return wire.AppendU64([]byte{recordRequest}, number) }

// keepRequest stores a request and returns its ID. Beyond MaxRequests the oldest is forgotten.
func (s *step) keepRequest(link string, info []byte) (id string) {
	s.lastRequest++
	b := make([]byte, 12)
	binary.BigEndian.PutUint64(b, s.lastRequest)
	randomBytes(s.env.Rand, b[8:])
	id = base64.RawURLEncoding.EncodeToString(b)
	s.env.Tx.Put(requestName(s.lastRequest), (&storedRequest{id, link, info}).append(nil))
	if s.requests++; s.requests <= MaxRequests {
		return id
	}
	var oldest []byte
	s.env.Tx.Scan([]byte{recordRequest}, nil, func(name, _ []byte) bool {
		oldest = copied(name)
		return false
	})
	s.env.Tx.Delete(oldest)
	s.requests--
	return id
}

// findRequest returns a request and the name of its record; nil if there is none.
func findRequest(tx kv.Tx, id string) (name []byte, r *storedRequest) {
	b, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(b) != 12 {
		return nil, nil
	}
	name = requestName(binary.BigEndian.Uint64(b))
	value, ok := tx.Get(name)
	if !ok {
		return nil, nil
	}
	if r, err = decodeRequest(value); err != nil || r.id != id {
		return nil, nil
	}
	return name, r
}

// Request returns a request that was not answered yet; ok is false if there is none with this ID.
func (c *Conn) Request(env Env, id string) (r Request, ok bool) {
	_, stored := findRequest(env.Tx, id)
	if stored == nil {
		return Request{}, false
	}
	l, err := link.Parse(stored.link)
	if err != nil {
		return Request{}, false
	}
	return Request{ID: id, Link: l, Compatible: env.compatible(l), Info: stored.info}, true
}
