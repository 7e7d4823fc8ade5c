package grouproto

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

// Invitation is a received G_INV, as the client sees it (GINV).
type Invitation struct {
	Contact string // connection it came from
	Group   GroupID
	Inviter Key
	Token   Token
	Expiry  time.Time
	Members uint32
	Info    []byte
	Frame   []byte // the whole frame, to keep
}

// ParseInvitation decodes a frame that came in over a contact connection and belongs to no group yet. ErrNotInvitation
// if it is another frame, ErrVersion if the inviter speaks no version that this program does, ErrFrame if it is
// malformed.
func ParseInvitation(contact string, frame []byte) (Invitation, error) {
	d, err := decodeFrame(frame)
	if err != nil {
		return Invitation{}, err
	}
	f, ok := d.frame.(*invFrame)
	switch {
	case !ok:
		return Invitation{}, ErrNotInvitation
	case !f.Range.overlaps(ownVersions):
		return Invitation{}, ErrVersion
	}
	return Invitation{
		Contact: contact, Group: f.Group, Inviter: f.Inviter, Token: f.Token, Expiry: unix(f.Expiry),
		Members: f.Members, Info: f.Info, Frame: bytes.Clone(frame),
	}, nil
}

// ContactFrameGroup tells for which group a G_ACC or G_REJ is, so that it can be handed to it as ContactFrame.
// ErrNotAnswer for other frames.
func ContactFrameGroup(frame []byte) (GroupID, Token, error) {
	d, err := decodeFrame(frame)
	if err != nil {
		return GroupID{}, Token{}, err
	}
	switch f := d.frame.(type) {
	case *accFrame:
		return f.Group, f.Token, nil
	case *rejFrame:
		return f.Group, f.Token, nil
	}
	return GroupID{}, Token{}, ErrNotAnswer
}

func unix(seconds int64) time.Time { return time.Unix(seconds, 0) }

// Reject returns the frame that refuses an invitation (GREJECT); it says the same whether or not one is a member.
func Reject(inv Invitation) []byte { return encodeFrame(&rejFrame{Group: inv.Group, Token: inv.Token}) }

// Accept answers an invitation (GJOIN): a fresh member key, a connection request for the inviter, then G_ACC over the
// contact connection. Card as in CreateOptions. The records of env.Tx must be empty: a second membership in a group that
// was left before has its own. ErrExpired, ErrTooLarge.
func Accept(env Env, inv Invitation, card []byte) (*Group, []Effect, error) {
	if !env.Now.Before(inv.Expiry) {
		return nil, nil, ErrExpired
	}
	if len(card) > MaxCard-cardSalt {
		return nil, nil, ErrTooLarge
	}
	g := empty()
	s := &step{Group: g, env: env}
	g.id = inv.Group
	g.newKey(env, card)
	g.main.status = StatusJoining
	g.main.inviter, g.main.contact, g.main.token, g.main.expiry = inv.Inviter, inv.Contact, inv.Token, inv.Expiry
	if latest := env.Now.Add(InvitationExpiry); g.main.expiry.After(latest) {
		g.main.expiry = latest
	}
	g.putIdentity(env.Tx)
	p := &peer{key: inv.Inviter, lastHeard: env.Now}
	g.insert(p)
	s.touch(p)
	s.finish()
	return g, s.out, nil
}

// sendAcc sends the offer for the inviter over the contact connection: the first time to accept, later because no other
// route is left.
func (s *step) sendAcc(p *peer) {
	f := &accFrame{Group: s.id, Token: s.main.token, Member: s.self, Card: s.card, Offer: s.offerOf(p, p.offering())}
	s.counts.Invitations++
	s.doContact(s.main.contact, f)
}

// doContact sends a frame over a contact connection, or over the door that stands in for it.
func (s *step) doContact(contact string, f frame) {
	if s.doors[contact] != nil {
		s.do(SendDoor{Door: contact, Frame: encodeFrame(f)})
		return
	}
	s.do(SendContact{Contact: contact, Frame: encodeFrame(f)})
}

// States of an invitation.
const (
	invitePending uint8 = iota + 1
	inviteAccepted
)

// invite is an invitation of this member.
type invite struct {
	contact string
	expiry  time.Time
	role    Role
	state   uint8
	member  Key // once accepted
}

// mostInvites is how many invitations may wait for their answer: as many as a fork of the largest group makes.
const mostInvites = MaxMembers

// mayInvite tells why somebody cannot be invited; nil if it can.
func (s *step) mayInvite(in Invite) error {
	if err := s.member(); err != nil {
		return err
	}
	self, _ := s.st.Member(s.self)
	switch {
	case len(in.Info) > MaxInfo:
		return ErrTooLarge
	case !s.st.Has(s.self, oplog.PermAdd) || in.Role > self.Role:
		return ErrNotPermitted
	case s.log.Outdated():
		return ErrUpgrade
	case s.st.Len() >= s.limits().MaxMembers:
		s.hit(LimitMembers)
		return ErrLimit
	case s.pendingInvites() >= mostInvites:
		s.hit(LimitInvitations)
		return ErrLimit
	}
	return nil
}

// invite is GADD.
func (s *step) invite(in Invite) (Done, error) {
	if err := s.mayInvite(in); err != nil {
		return Done{}, err
	}
	token := Token(random16(s.env))
	i := &invite{contact: in.Contact, expiry: s.env.Now.Add(InvitationExpiry), role: in.Role, state: invitePending}
	s.invites[token] = i
	s.putInvite(token, i)
	s.counts.Invitations++
	s.doContact(in.Contact, &invFrame{
		Group: s.id, Inviter: s.self, Token: token, Expiry: i.expiry.Unix(), Range: ownVersions,
		Members: uint32(s.st.Len()), Info: in.Info,
	})
	return Done{Token: token}, nil
}

func (g *Group) pendingInvites() (n int) {
	for _, i := range g.invites {
		if i.state == invitePending {
			n++
		}
	}
	return n
}

// PendingInvitation is an invitation that has not been answered (GLS).
type PendingInvitation struct {
	Token   Token
	Contact string
	Role    Role
	Expiry  time.Time
}

// Invitations returns the invitations that have not been answered, those that expire first before others.
func (g *Group) Invitations() (out []PendingInvitation) {
	for t, i := range g.invites {
		if i.state == invitePending {
			out = append(out, PendingInvitation{Token: t, Contact: i.contact, Role: i.role, Expiry: i.expiry})
		}
	}
	slices.SortFunc(out, func(a, b PendingInvitation) int {
		return cmp.Or(a.Expiry.Compare(b.Expiry), bytes.Compare(a.Token[:], b.Token[:]))
	})
	return out
}

func (s *step) uninvite(in Uninvite) (Done, error) {
	i := s.invites[in.Token]
	if i == nil || i.state != invitePending {
		return Done{}, ErrUnknown
	}
	s.forgetInvite(in.Token, i)
	return Done{Token: in.Token}, nil
}

func (s *step) forgetInvite(t Token, _ *invite) {
	delete(s.invites, t)
	s.env.Tx.Delete(record('n', t[:]))
}

func (s *step) putInvite(t Token, i *invite) {
	b := wire.AppendStr16([]byte{recordVersion}, []byte(i.contact))
	b = append(appendTime(b, i.expiry), byte(i.role), i.state)
	s.env.Tx.Put(record('n', t[:]), append(b, i.member[:]...))
}

func (g *Group) loadInvite(k, v []byte) error {
	r := wire.NewReader(v)
	if len(k) != len(Token{}) || r.U8() != recordVersion {
		return ErrRecords
	}
	i := &invite{contact: string(r.Str16()), expiry: readTime(r), role: Role(r.U8()), state: r.U8(), member: readKey(r)}
	if r.Done() != nil {
		return ErrRecords
	}
	g.invites[Token(k)] = i
	return nil
}

// contactFrame takes an answer to an invitation. Whatever is wrong with it is the contact's fault and ignored.
func (s *step) contactFrame(in ContactFrame) {
	d, err := decodeFrame(in.Frame)
	if err != nil || s.log == nil {
		return
	}
	switch f := d.frame.(type) {
	case *accFrame:
		switch {
		case f.Group != s.id:
		case s.main.recovery != RecoveryNone:
			s.keepAnswer(in)
		default:
			s.accepted(in.Contact, f)
		}
	case *rejFrame:
		i := s.invites[f.Token]
		if f.Group == s.id && i != nil && i.contact == in.Contact && i.state == invitePending {
			s.forgetInvite(f.Token, i)
			s.notice(InvitationAnswered{Token: f.Token, Contact: i.contact, Answer: Refused})
		}
	}
}

// accepted is step 2 of a join: the contact sent its member key and an offer. The same token with the same key repeats
// the answer; with another key it is refused.
func (s *step) accepted(contact string, f *accFrame) {
	i := s.invites[f.Token]
	o := &f.Offer
	if i == nil || i.contact != contact || s.main.status != StatusMember || len(f.Card) <= cardSalt-1 ||
		o.Initiator != f.Member || o.Responder != s.self || f.Member == s.self || !o.verify(s.id) {
		return
	}
	if i.state == inviteAccepted {
		if i.member == f.Member {
			s.introduce(f)
		}
		return
	}
	if s.due(i.expiry) {
		return // told by invitationTimers
	}
	if s.someoneElse(f.Token, i, f.Member) {
		s.forgetInvite(f.Token, i)
		s.notice(InvitationAnswered{Token: f.Token, Contact: contact, Answer: NotAdded})
		return
	}
	front := s.front(nil)
	if _, present := s.st.Member(f.Member); !present {
		body, err := s.log.Next(s.self, &oplog.Add{Member: f.Member, Role: i.role, CardHash: cardHash(f.Card)}, s.env.Now.Unix())
		if err == nil {
			_, err = s.publish(body, toNobody)
		}
		if err != nil {
			s.forgetInvite(f.Token, i)
			s.notice(InvitationAnswered{Token: f.Token, Contact: contact, Answer: NotAdded, Member: f.Member})
			return
		}
		s.main.spreadAt = s.env.Now.Add(spreadWait)
	}
	i.state, i.member = inviteAccepted, f.Member
	s.putInvite(f.Token, i)
	s.takeCard(f.Member, f.Card)
	s.newJoiner(f.Member, front)
	s.notice(InvitationAnswered{Token: f.Token, Contact: contact, Answer: Accepted, Member: f.Member})
	s.introduce(f)
}

// someoneElse tells whether a contact answers with the key of somebody who is a member already and did not become one by
// this invitation. What proves a key is an offer to us, and whoever passes offers on sees those of others: the contact
// would be taken for that member. Who was asked for at several addresses, and let in by another, has one key for all.
func (s *step) someoneElse(t Token, i *invite, k Key) bool {
	m, present := s.st.Member(k)
	if !present || s.doors[i.contact] != nil {
		return false
	}
	for other, j := range s.invites {
		if other != t && j.state == inviteAccepted && j.member == k {
			return true
		}
	}
	return s.log.Op(m.Added).Author != s.self // else it may be this invitation, of which a restored store knows less
}

// introduce joins the new member's offer and sends the log right behind.
func (s *step) introduce(f *accFrame) {
	p := s.peers[f.Member]
	if p == nil || p.ended() {
		return
	}
	joined := s.offered(&f.Offer, p)
	if j := s.joiners[p.key]; j != nil && !j.gotLog && joined {
		s.sendLog(p, j)
	}
}

// invitationTimers ends invitations that were not answered in time. Accepted ones are kept while the member is present:
// it may have to repeat its offer over the contact connection.
func (s *step) invitationTimers() {
	for _, t := range s.endedInvites() {
		i := s.invites[t]
		switch {
		case i.state == invitePending && s.due(i.expiry):
			s.forgetInvite(t, i)
			s.notice(InvitationAnswered{Token: t, Contact: i.contact, Answer: Expired})
		case i.state == inviteAccepted && (s.peers[i.member] == nil || s.peers[i.member].ended()):
			if p := s.peers[i.member]; p == nil || s.due(p.endedAt.Add(Grace)) {
				s.forgetInvite(t, i)
			}
		}
	}
}

// endedInvites returns the invitations that expired, and those whose member is gone, in ascending order. Most have a
// member who is present, and are not sorted.
func (s *step) endedInvites() []Token {
	var out []Token
	for t, i := range s.invites {
		if i.state == invitePending && !s.due(i.expiry) {
			continue
		}
		if p := s.peers[i.member]; i.state == inviteAccepted && p != nil && !p.ended() {
			continue
		}
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b Token) int { return bytes.Compare(a[:], b[:]) })
	return out
}

func (g *Group) wakeInvitations(w *wake) {
	for _, i := range g.invites {
		if i.state == invitePending {
			w.add(i.expiry)
		}
	}
}
