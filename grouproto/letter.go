package grouproto

import (
	"bytes"
	"slices"
)

// A letter is a frame about another group that a member sends over a pair connection of this one: G_INV, G_ACC or G_REJ
// of a fork (docs/groups.md, "Forking a group"). This group carries it and knows nothing of what it says.

const (
	mostLetters  = 16         // for one member that no relay has yet
	inviteBurst  = 4          // G_INV of other groups that a member may send at once
	inviteRate   = 4 / 3600.0 // and per second
	answerBurst  = 32         // answers to such, of one member at once; an acceptance is repeated until it is heard
	answerRate   = 64 / 3600.0
	letterHeader = 3 // bytes of a frame before its fields
)

// aboutOther tells whether a frame is about another group when it comes over a pair connection.
func (t Tag) aboutOther() bool { return t == TagInv || t == TagAcc || t == TagRej }

// direct tells whether a frame is one of package directconn.
func (t Tag) direct() bool { return t == TagDirectInv || t == TagDirectRej }

// MayWrite tells whether a letter can reach a member: nil if there is a connection, or one will be made, and there is
// room. ErrUnknown for a key that is no member's, ErrNotConnected.
func (g *Group) MayWrite(k Key) error {
	p := g.peers[k]
	switch {
	case p == nil:
		return ErrUnknown
	case p.waitingFor(Tag.aboutOther) >= mostLetters:
		return ErrNotConnected
	case p.ready() != nil:
		return nil
	case p.ended() || g.main.status != StatusMember:
		return ErrNotConnected // no connection is made any more
	}
	return nil
}

// sendLetter keeps a letter until a relay has it. A repeat replaces one that has not been handed over.
func (s *step) sendLetter(in SendLetter) {
	d, err := decodeFrame(in.Frame)
	p := s.peers[in.To]
	if err != nil || !d.tag.aboutOther() || len(in.Frame) > MaxFrames-2 || p == nil {
		return
	}
	f := directFrame{Tag: d.tag, Payload: bytes.Clone(in.Frame[letterHeader:])}
	same := func(o directOut) bool {
		return o.ref == 0 && o.frame.Tag == f.Tag && bytes.Equal(letterName(o.frame), letterName(f))
	}
	if i := slices.IndexFunc(p.direct, same); i >= 0 {
		p.direct[i].frame = f
	} else if s.MayWrite(in.To) == nil {
		p.direct = append(p.direct, directOut{frame: f})
	} else {
		return
	}
	s.putDirect(p)
}

// letterName is what names an invitation in a letter: group and token, for G_INV the inviter as well.
func letterName(f directFrame) []byte {
	n := len(GroupID{}) + len(Token{})
	if f.Tag == TagInv {
		n += len(Key{})
	}
	return f.Payload[:n]
}

// letterCame takes a letter.
func (s *step) letterCame(p *peer, tag Tag, b []byte) {
	ok := false
	if tag == TagInv {
		ok = p.invites.take(s.env.Now, 1, inviteBurst, inviteRate)
	} else {
		ok = p.answers.take(s.env.Now, 1, answerBurst, answerRate)
	}
	if !ok {
		s.warnLimit(p, LimitForks)
		return
	}
	s.notice(Letter{From: p.key, Frame: bytes.Clone(b)})
}

// may tells whether a frame can be handed to a connection now: letters also to who is not present any more.
func (d *directOut) may(p *peer, c *pairConn) bool {
	return d.ref == 0 && c.state == connReady && (!p.ended() || d.frame.Tag.aboutOther())
}

// waitingFor counts the frames of some tags that wait for a member.
func (p *peer) waitingFor(which func(Tag) bool) (n int) {
	for _, d := range p.direct {
		if which(d.frame.Tag) {
			n++
		}
	}
	return n
}
