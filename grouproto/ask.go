package grouproto

import (
	"bytes"
	"time"
)

// Asking for a group at the addresses of its members (docs/groups.md, "Joining by link").

// AskOptions are what is asked with.
type AskOptions struct {
	Group    GroupID
	Address  []byte // as the group link has it
	Text     []byte // shown to who decides, at most MaxInfo bytes
	Password []byte // at most MaxPassword bytes
	Card     []byte // as in CreateOptions; who decides sees it
}

// Ask asks for a group at a member's address (GJOIN with a link): a fresh member key and a door. An invitation that comes
// over it is accepted at once. The records of env.Tx must be empty. ErrTooLarge.
func Ask(env Env, o AskOptions) (*Group, []Effect, error) {
	if len(o.Card) > MaxCard-cardSalt {
		return nil, nil, ErrTooLarge
	}
	g := empty()
	s := &step{Group: g, env: env}
	g.id = o.Group
	g.newKey(env, o.Card)
	g.main.status, g.main.expiry = StatusAsking, env.Now.Add(DoorExpiry)
	g.putIdentity(env.Tx)
	if _, err := s.askAt(AskAt{o.Address, o.Text, o.Password}); err != nil {
		return nil, nil, err
	}
	s.notice(Asking{})
	s.finish()
	return g, s.out, nil
}

// askAt opens a door to ask for the group. Asking again at the same address changes nothing.
func (s *step) askAt(in AskAt) (Done, error) {
	if s.main.status != StatusAsking {
		return Done{}, ErrUnknown
	}
	if len(in.Text) > MaxInfo || len(in.Password) > MaxPassword {
		return Done{}, ErrTooLarge
	}
	for _, d := range s.doors {
		if bytes.Equal(d.address, in.Address) {
			return Done{}, nil
		}
	}
	if len(s.doors) >= MaxAsked {
		return Done{}, ErrLimit
	}
	d := &door{kind: doorAsk, address: bytes.Clone(in.Address)}
	s.openDoor(d, &reqFrame{Group: s.id, Text: in.Text, Password: in.Password, Card: s.card})
	return Done{}, nil
}

// askAnswered takes a frame at a door by which the group was asked for: the first invitation is accepted, further ones
// wait until something has come of it.
func (s *step) askAnswered(d *door, f frame) bool {
	switch f := f.(type) {
	case *invFrame:
		return s.askInvited(d, f)
	case *rejFrame:
		if f.Group != s.id {
			return false
		}
		contact := s.main.contact == d.name
		s.closeDoor(d)
		if contact && s.joiningInVain() {
			s.otherInviter(ReasonRefused) // the inviter could not add us after all
			return true
		}
		s.askedInVain(ReasonRefused)
		return true
	}
	return false
}

const (
	joinPatience = 15 * t1 // four doublings of t1: how long an inviter may take before another's invitation is preferred
	joinLost     = 3 * t1  // the same once its door is lost; our answer may have arrived before
)

func (s *step) askInvited(d *door, f *invFrame) bool {
	switch {
	case !s.goodInvitation(f):
		return false
	case s.main.contact == d.name && s.main.token == f.Token:
		return true // repeated
	case s.joiningInVain() && s.main.contact != d.name:
		d.held = encodeFrame(f)
		s.putDoor(d)
		return true
	case s.main.status != StatusAsking:
		s.sendDoor(d, &rejFrame{Group: s.id, Token: f.Token})
		if s.main.contact != d.name {
			s.closeDoor(d)
		}
		return true
	}
	s.takeInvitation(d, f)
	return true
}

func (s *step) goodInvitation(f *invFrame) bool {
	return f.Group == s.id && f.Range.overlaps(ownVersions) && !s.due(unix(f.Expiry)) && f.Inviter != s.self
}

// takeInvitation accepts an invitation to the group that was asked for.
func (s *step) takeInvitation(d *door, f *invFrame) {
	m := &s.main
	m.status = StatusJoining
	m.inviter, m.contact, m.token, m.expiry = f.Inviter, d.name, f.Token, unix(f.Expiry)
	if latest := s.env.Now.Add(InvitationExpiry); m.expiry.After(latest) {
		m.expiry = latest
	}
	d.member, d.held = f.Inviter, nil
	if last := m.expiry.Add(Grace); d.expiry.Before(last) {
		d.expiry = last // it is the only way to the inviter
	}
	s.putDoor(d)
	s.link.joinBy = s.env.Now.Add(joinPatience)
	s.putLink()
	p := &peer{key: f.Inviter, lastHeard: s.env.Now}
	s.insert(p)
	s.touch(p)
}

// joiningInVain tells whether a group is being joined by link and nothing has come from the inviter yet but its invitation.
func (g *Group) joiningInVain() bool {
	p := g.peers[g.main.inviter]
	return g.main.status == StatusJoining && !g.link.joinBy.IsZero() && g.log == nil && p != nil && p.ready() == nil
}

// otherInviterAt tells when to look for another inviter; the zero time: there is nothing better than to wait for this one.
func (g *Group) otherInviterAt() time.Time {
	if !g.joiningInVain() {
		return time.Time{}
	}
	if g.main.contact == "" {
		return g.link.joinBy
	}
	for _, d := range g.doors {
		if d.held != nil {
			return g.link.joinBy
		}
	}
	return time.Time{}
}

// otherInviter gives an inviter up from which nothing came: the next invitation that waits is taken, or the asking goes on
// where there was no answer yet, or it ends.
func (s *step) otherInviter(why Reason) {
	if d := s.doors[s.main.contact]; d != nil {
		s.sendDoor(d, &rejFrame{Group: s.id, Token: s.main.token})
		s.closeDoor(d)
	}
	s.removePeer(s.peers[s.main.inviter])
	for _, c := range s.chains {
		s.dropChain(c)
	}
	m := &s.main
	m.inviter, m.contact, m.token, m.logDone = Key{}, "", Token{}, false
	m.status, m.expiry = StatusAsking, time.Time{}
	s.link.joinBy = time.Time{}
	s.putLink()
	for _, d := range s.sortedDoors() {
		if d.held == nil {
			continue
		}
		x, err := decodeFrame(d.held)
		if f, ok := x.frame.(*invFrame); err == nil && ok && s.goodInvitation(f) {
			s.takeInvitation(d, f)
			return
		}
		s.closeDoor(d)
	}
	for _, d := range s.doors {
		if d.expiry.After(m.expiry) {
			m.expiry = d.expiry
		}
	}
	if len(s.doors) > 0 {
		s.notice(Asking{})
	}
	s.askedInVain(why)
}

// inviterLost notes that the door to the inviter will never work again. What was answered over it may have arrived.
func (s *step) inviterLost() {
	if by := s.env.Now.Add(joinLost); s.joiningInVain() && by.Before(s.link.joinBy) {
		s.link.joinBy = by
		s.putLink()
	}
}

// joinTimers looks for another inviter when it is time, and refuses what waits once it is not needed.
func (s *step) joinTimers() {
	if s.link.joinBy.IsZero() {
		return
	}
	switch {
	case s.due(s.otherInviterAt()):
		s.otherInviter(ReasonNotAvailable)
	case !s.joiningInVain():
		s.link.joinBy = time.Time{}
		s.putLink()
		for _, d := range s.sortedDoors() {
			if d.held == nil {
				continue
			}
			if x, err := decodeFrame(d.held); err == nil {
				if f, ok := x.frame.(*invFrame); ok {
					s.sendDoor(d, &rejFrame{Group: s.id, Token: f.Token})
				}
			}
			s.closeDoor(d)
		}
	}
}

// askedInVain ends asking when no address is left that could answer.
func (s *step) askedInVain(why Reason) {
	if s.main.status == StatusAsking && s.doorsOf(doorAsk) == 0 {
		s.endAsking(why)
	}
}

// endAsking gives up.
func (s *step) endAsking(why Reason) {
	s.notice(AskEnded{why})
	s.gone()
	for _, d := range s.sortedDoors() {
		s.closeDoor(d)
	}
}
