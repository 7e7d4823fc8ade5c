package grouproto

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

// leave is GLEAVE: the operation goes to everybody, connections are kept for the grace. Who waits for the log gives up.
func (s *step) leave() (Done, error) {
	if s.main.status == StatusJoining {
		s.gone()
		return Done{}, nil
	}
	return s.write(&oplog.Leave{})
}

// remove is GMDEL, with or without contest.
func (s *step) remove(in Remove) (Done, error) {
	if in.Contest {
		return s.contest(in.Hide)
	}
	a := &oplog.Remove{Hide: in.Hide}
	for _, k := range in.Members {
		if s.peers[k] == nil {
			return Done{}, ErrUnknown
		}
		if !slices.ContainsFunc(a.Members, func(r oplog.Removal) bool { return r.Member == k }) {
			a.Members = append(a.Members, oplog.Removal{Member: k, Cut: s.cut(k)})
		}
	}
	slices.SortFunc(a.Members, func(x, y oplog.Removal) int { return x.Member.Compare(y.Member) })
	return s.write(a)
}

// cut is 1 + the highest message number that is held of a member, 0 if none is.
func (s *step) cut(k Key) uint64 {
	c := s.chains[k]
	if c == nil {
		return 0
	}
	upTo, _ := c.receipt()
	return upTo
}

// contest removes those who removed us, with parents from before: their removal becomes void if we have the higher rank.
func (s *step) contest(hide bool) (Done, error) {
	if s.main.status != StatusRemoved {
		return Done{}, ErrNoContest
	}
	gone, _ := s.st.Removed(s.self)
	body, err := s.log.Contest(s.self, gone.Ops, s.cut, hide, s.env.Now.Unix())
	if err != nil {
		return Done{}, contestError(err)
	}
	return s.publish(body, toKnown)
}

func contestError(err error) error {
	switch err {
	case oplog.ErrNoRemoval, oplog.ErrNotSenior, oplog.ErrWroteSince:
		return fmt.Errorf("%w: %w", ErrNoContest, err)
	}
	return opError(err)
}

// sendDirect sends a frame of package directconn, as soon as the member is connected.
func (s *step) sendDirect(in SendDirect) (Done, error) {
	if err := s.member(); err != nil {
		return Done{}, err
	}
	p := s.peers[in.To]
	switch {
	case p == nil || p.ended():
		return Done{}, ErrUnknown
	case in.Tag != TagDirectInv && in.Tag != TagDirectRej || len(in.Payload) > MaxFrames-5:
		return Done{}, ErrTooLarge
	case in.Tag == TagDirectInv && !s.st.Has(s.self, oplog.PermDirect):
		return Done{}, ErrNotPermitted
	}
	if p.ready() != nil {
		s.post(p, &directFrame{Tag: in.Tag, Payload: in.Payload}, forDirect, s.env.Now)
		return Done{}, nil
	}
	if len(p.direct) >= mostDirect {
		return Done{}, ErrNotConnected
	}
	p.direct = append(p.direct, directFrame{Tag: in.Tag, Payload: bytes.Clone(in.Payload)})
	s.putDirect(p)
	return Done{}, nil
}

// mostDirect is how many frames of package directconn wait for a member to be connected.
const mostDirect = 16

func (s *step) putDirect(p *peer) {
	k := record('x', p.key[:])
	if len(p.direct) == 0 {
		s.env.Tx.Delete(k)
		return
	}
	b := []byte{recordVersion}
	for _, f := range p.direct {
		b = wire.AppendStr16(append(b, byte(f.Tag)), f.Payload)
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
		p.direct = append(p.direct, directFrame{Tag: Tag(r.U8()), Payload: bytes.Clone(r.Str16())})
	}
	if r.Err() != nil || len(p.direct) == 0 {
		return ErrRecords
	}
	return nil
}

// sendWaitingDirect sends what waited for a member to be connected, or drops it if the member is gone.
func (s *step) sendWaitingDirect(p *peer) {
	if len(p.direct) == 0 {
		return
	}
	for i := range p.direct {
		if !p.ended() {
			s.post(p, &p.direct[i], forDirect, s.env.Now)
		}
	}
	p.direct = nil
	s.putDirect(p)
}
