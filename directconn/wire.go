package directconn

import (
	"bytes"
	"fmt"

	"github.com/coterie-im/coterie/internal/wire"
)

// invite is the payload of G_DINV: request 16 · str16 link · str16 text. Bytes behind it are ignored.
type invite struct {
	Request    RequestID
	Link, Text []byte
}

func (i *invite) append(dst []byte) []byte {
	return wire.AppendStr16(wire.AppendStr16(append(dst, i.Request[:]...), i.Link), i.Text)
}

// readInvite decodes a G_DINV. ErrSyntax.
func readInvite(b []byte) (invite, error) {
	var i invite
	r := wire.NewReader(b)
	r.Copy(i.Request[:])
	i.Link, i.Text = bytes.Clone(r.Str16()), bytes.Clone(r.Str16())
	if r.Err() == nil && (len(i.Link) > MaxLink || len(i.Text) > MaxText) {
		r.Fail("too long")
	}
	if r.Err() != nil {
		return invite{}, fmt.Errorf("%w: %w", ErrSyntax, r.Err())
	}
	return i, nil
}

// readRefusal decodes a G_DREJ: request 16. Bytes behind it are ignored. ErrSyntax.
func readRefusal(b []byte) (id RequestID, err error) {
	r := wire.NewReader(b)
	r.Copy(id[:])
	if r.Err() != nil {
		return id, fmt.Errorf("%w: %w", ErrSyntax, r.Err())
	}
	return id, nil
}
