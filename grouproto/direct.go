package grouproto

import (
	"bytes"
	"slices"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

// mostDirect is how many frames of package directconn wait for a member at a time.
const mostDirect = 16

// directOut is a frame on its way to a member that nothing else finds again if it is lost: of package directconn, or
// about another group (letter.go). It is kept until a relay has it: over the next connection it goes once more.
type directOut struct {
	frame directFrame
	ref   Ref // of the body that carries it; 0: not handed over
	conn  string
}

// MayAsk tells whether a member can be asked for a direct connection: nil, or what SendDirect would answer.
func (g *Group) MayAsk(k Key) error {
	if err := g.member(); err != nil {
		return err
	}
	switch p := g.peers[k]; {
	case p == nil || p.ended():
		return ErrUnknown
	case !g.st.Has(g.self, oplog.PermDirect):
		return ErrNotPermitted
	case p.waitingFor(Tag.direct) >= mostDirect:
		return ErrNotConnected
	}
	return nil
}

// sendDirect sends a frame of package directconn, as soon as the member is connected.
func (s *step) sendDirect(in SendDirect) (Done, error) {
	err := s.MayAsk(in.To)
	if err == ErrNotPermitted && in.Tag != TagDirectInv {
		err = nil // anybody may refuse
	}
	switch p := s.peers[in.To]; {
	case err != nil:
		return Done{}, err
	case in.Tag != TagDirectInv && in.Tag != TagDirectRej || len(in.Payload) > MaxFrames-5:
		return Done{}, ErrTooLarge
	default:
		p.direct = append(p.direct, directOut{frame: directFrame{Tag: in.Tag, Payload: bytes.Clone(in.Payload)}})
		s.putDirect(p)
		return Done{}, nil
	}
}

// mayDirect tells whether something that waits in direct can be handed to a connection now.
func (p *peer) mayDirect(c *pairConn) bool {
	return slices.ContainsFunc(p.direct, func(d directOut) bool { return d.may(p, c) })
}

// directSent notes that a relay has a body, or that it was given up.
func (s *step) directSent(p *peer, ref Ref) {
	if slices.ContainsFunc(p.direct, func(d directOut) bool { return d.ref == ref }) {
		p.direct = slices.DeleteFunc(p.direct, func(d directOut) bool { return d.ref == ref })
		s.putDirect(p)
	}
}

// directAgain takes back what a connection did not report as sent.
func (s *step) directAgain(p *peer, conn string) {
	for i, d := range p.direct {
		if d.conn == conn && d.ref != 0 {
			p.direct[i].ref, p.direct[i].conn = 0, ""
			s.putDirect(p)
		}
	}
}

// dropDirect drops what package directconn has for somebody who is not present any more. What is about another group
// stays for the grace.
func (s *step) dropDirect(p *peer) { s.dropWaiting(p, Tag.direct) }

func (s *step) dropWaiting(p *peer, which func(Tag) bool) {
	if n := len(p.direct); n > 0 {
		p.direct = slices.DeleteFunc(p.direct, func(d directOut) bool { return which(d.frame.Tag) })
		if len(p.direct) < n {
			s.putDirect(p)
		}
	}
}

func (s *step) putDirect(p *peer) {
	k := record('x', p.key[:])
	if len(p.direct) == 0 {
		s.env.Tx.Delete(k)
		return
	}
	b := []byte{recordVersion}
	for _, d := range p.direct {
		b = wire.AppendStr8(wire.AppendU64(b, uint64(d.ref)), []byte(d.conn))
		b = wire.AppendStr16(append(b, byte(d.frame.Tag)), d.frame.Payload)
	}
	s.env.Tx.Put(k, b)
}

func (g *Group) loadDirect(k, v []byte) error {
	r := wire.NewReader(v)
	if len(k) != 32 || g.peers[Key(k)] == nil || r.U8() != recordVersion {
		return ErrRecords
	}
	p := g.peers[Key(k)]
	for r.Len() > 0 {
		d := directOut{ref: Ref(r.U64()), conn: string(r.Str8())}
		d.frame = directFrame{Tag: Tag(r.U8()), Payload: bytes.Clone(r.Str16())}
		p.direct = append(p.direct, d)
	}
	if r.Err() != nil || len(p.direct) == 0 {
		return ErrRecords
	}
	return nil
}
