package grouproto

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

// Settings about joining by link (docs/groups.md, "Joining by link").
const (
	settingJoin     = "join"
	settingJoinRole = "join-role"
	settingAddress  = "address/" // and the member key of who holds it
)

const linkVersion = 2 // 1 is without joinBy

// linkRecord is the own address, when to knock at those of others, and how long who let us in may take.
type linkRecord struct {
	address   string // name of the contact address; "" if there is none
	link      []byte // nil until it is made
	knockAt   time.Time
	knockWait time.Duration
	joinBy    time.Time // when another invitation may be taken; zero: not joining by link
}

func (s *step) putLink() {
	if s.link.address == "" && s.link.knockAt.IsZero() && s.link.joinBy.IsZero() {
		s.env.Tx.Delete(record('L'))
		return
	}
	b := wire.AppendStr16([]byte{linkVersion}, []byte(s.link.address))
	b = appendDuration(appendTime(wire.AppendStr16(b, s.link.link), s.link.knockAt), s.link.knockWait)
	s.env.Tx.Put(record('L'), appendTime(b, s.link.joinBy))
}

func (g *Group) loadLink(k, v []byte) error {
	r := wire.NewReader(v)
	version := r.U8()
	if len(k) != 0 || version == 0 || version > linkVersion {
		return ErrRecords
	}
	l := linkRecord{address: string(r.Str16()), link: bytes.Clone(r.Str16()), knockAt: readTime(r), knockWait: readDuration(r)}
	if version >= 2 {
		l.joinBy = readTime(r)
	}
	if r.Done() != nil {
		return ErrRecords
	}
	if len(l.link) == 0 {
		l.link = nil
	}
	g.link = l
	return nil
}

// Address returns the name of the own address; "" if there is none.
func (g *Group) Address() string { return g.link.address }

// publishAddress is GLINK.
func (s *step) publishAddress() (Done, error) {
	if err := s.member(); err != nil {
		return Done{}, err
	}
	if s.link.address != "" {
		return Done{}, nil
	}
	if !s.st.Has(s.self, oplog.PermAdd) || !s.st.Has(s.self, oplog.PermOther) {
		return Done{}, ErrNotPermitted
	}
	s.link.address, s.link.link = s.newName(), nil
	s.putLink()
	s.do(NewAddress{Conn: s.link.address})
	return Done{}, nil
}

// addressReady publishes the address. Who may not do that any more has an address that nobody hears of.
func (s *step) addressReady(in AddressReady) {
	if in.Conn != s.link.address || s.link.link != nil || len(in.Link) == 0 {
		return
	}
	s.link.link = bytes.Clone(in.Link)
	s.putLink()
	s.publishLink()
}

// publishLink writes the link of the own address, or that there is none, into the log, if it is not there.
func (s *step) publishLink() {
	if len(s.link.link) <= oplog.MaxValue {
		s.setAddress(s.link.link)
	}
}

// setAddress writes the setting, if that is permitted. An empty link unsets it.
func (s *step) setAddress(link []byte) {
	name := settingAddress + s.self.Text()
	if have, _, _ := s.st.Setting(name); s.main.status == StatusMember && !bytes.Equal(have, link) {
		_, _ = s.write(&oplog.Set{Setting: oplog.Setting{Name: name, Value: link}})
	}
}

// unpublish withdraws the address; doors that were accepted are not affected.
func (s *step) unpublish() (Done, error) {
	if s.link.address == "" {
		return Done{}, ErrUnknown
	}
	s.dropAddress()
	s.setAddress(nil)
	return Done{}, nil
}

// dropAddress deletes the address with the requests that wait at it.
func (s *step) dropAddress() {
	s.forgetRequests()
	s.do(DeleteConn{Conn: s.link.address})
	s.link.address, s.link.link = "", nil
	s.putLink()
}

func (s *step) forgetRequests() {
	for _, name := range s.sortedRequests() {
		s.forgetRequest(name)
		s.refuseDoor(name)
	}
}

// addressLost is an address that could not be made, or that a relay has lost.
func (s *step) addressLost() {
	s.dropAddress()
	if s.log != nil {
		s.setAddress(nil)
	}
}

// addressTimers ends requests that nobody decided about, and the address with the membership. It stays during a grace
// that a contest may end.
func (s *step) addressTimers() {
	for _, name := range s.sortedRequests() {
		if s.due(s.requests[name].expiry) || s.main.status != StatusMember {
			s.forgetRequest(name)
			s.refuseDoor(name)
		}
	}
	if s.link.address != "" && (s.main.status == StatusLeft || s.main.status == StatusGone) {
		s.dropAddress()
	}
}

// publishedBy returns the address that a member published itself; nil if there is none. What others set in its name leads
// nobody anywhere.
func (g *Group) publishedBy(k Key) []byte {
	value, by, ok := g.st.Setting(settingAddress + k.Text())
	if !ok || g.log.Op(by).Author != k {
		return nil
	}
	return value
}

// request is a request at the own address that waits for the client.
type request struct {
	expiry     time.Time
	text, card []byte // the card with its random bytes
}

// JoinRequest is a request at the own address that waits for the client (GLS).
type JoinRequest struct {
	Request    string
	Text, Card []byte // Card without its random bytes
	Expiry     time.Time
}

// Requests returns the requests that wait for the client, ascending by name.
func (g *Group) Requests() (out []JoinRequest) {
	for _, name := range g.sortedRequests() {
		r := g.requests[name]
		out = append(out, JoinRequest{Request: name, Text: r.text, Card: cardContent(r.card), Expiry: r.expiry})
	}
	return out
}

func (g *Group) sortedRequests() []string {
	out := make([]string, 0, len(g.requests))
	for name := range g.requests {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

const requestVersion = 1

func (s *step) putRequest(name string, r *request) {
	s.requests[name] = r
	b := wire.AppendStr16(appendTime([]byte{requestVersion}, r.expiry), r.text)
	s.env.Tx.Put(record('R', []byte(name)), wire.AppendStr16(b, r.card))
}

func (g *Group) loadRequest(k, v []byte) error {
	r := wire.NewReader(v)
	if len(k) == 0 || r.U8() != requestVersion {
		return ErrRecords
	}
	q := &request{expiry: readTime(r), text: bytes.Clone(r.Str16()), card: bytes.Clone(r.Str16())}
	if r.Done() != nil {
		return ErrRecords
	}
	g.requests[string(k)] = q
	return nil
}

func (s *step) forgetRequest(name string) {
	delete(s.requests, name)
	s.env.Tx.Delete(record('R', []byte(name)))
}

// joinRule is who may come in by the own address.
type joinRule uint8

const (
	joinApprove joinRule = iota
	joinOpen
	joinPassword
	joinOff
)

// rule reads the setting `join`. What it does not know leaves the decision to a person.
func (s *step) rule() (r joinRule, password []byte) {
	value, _, _ := s.st.Setting(settingJoin)
	switch {
	case string(value) == "open":
		return joinOpen, nil
	case string(value) == "off":
		return joinOff, nil
	}
	if password, ok := bytes.CutPrefix(value, []byte("password ")); ok && len(password) > 0 {
		return joinPassword, password
	}
	return joinApprove, nil
}

// joinRole is the role that the setting `join-role` gives to who comes in without being looked at.
func (s *step) joinRole() Role {
	value, _, _ := s.st.Setting(settingJoinRole)
	self, _ := s.st.Member(s.self)
	if string(value) == oplog.Observer.String() {
		return oplog.Observer
	}
	return min(oplog.Plain, self.Role)
}

// joinAsked is somebody who asks for the group. What it may not, or what is too much, is forgotten without a word.
func (s *step) joinAsked(name string, f *reqFrame) {
	rule, password := joinOff, []byte(nil)
	if f.Group == s.id && s.main.status == StatusMember && s.st.Has(s.self, oplog.PermAdd) && !s.st.Closed() {
		rule, password = s.rule()
	}
	switch {
	case rule == joinOff || s.requests[name] != nil:
		s.refuseDoor(name)
		return
	case !s.asked.take(s.env.Now, 1, MaxRequestsHour, MaxRequestsHour/3600.0),
		rule != joinApprove && !s.mayAccept(doorGuest),
		rule == joinApprove && len(s.requests) >= MaxRequests,
		s.pendingInvites() >= mostInvites:
		s.refuseDoor(name)
		s.warnAboutDoors()
		return
	}
	switch {
	case rule == joinApprove:
		s.putRequest(name, &request{s.env.Now.Add(DoorExpiry), f.Text, f.Card})
		s.notice(JoinRequested{Request: name, Text: f.Text, Card: cardContent(f.Card)})
	case rule == joinPassword && !samePassword(f.Password, password):
		s.answerNo(name)
	default:
		if _, err := s.letIn(name, f.Card, Invite{Role: s.joinRole()}); err != nil {
			s.answerNo(name)
		}
	}
}

// samePassword compares in a time that tells neither where two texts differ nor whether they are equally long.
func samePassword(a, b []byte) bool {
	x, y := sha256.Sum256(a), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// answerNo accepts a request only to refuse it. It says no reason.
func (s *step) answerNo(name string) {
	d := &door{kind: doorAnswer, request: name}
	s.acceptDoor(d)
	s.sendDoor(d, &rejFrame{Group: s.id})
}

// letIn accepts a request and invites who asked, over the door.
func (s *step) letIn(name string, card []byte, in Invite) (Done, error) {
	d := &door{kind: doorGuest, request: name, cardHash: cardHash(card)}
	s.acceptDoor(d)
	in.Contact = d.name
	done, err := s.invite(in)
	if err != nil {
		s.closeDoor(d)
		return done, err
	}
	d.token = done.Token
	s.putDoor(d)
	return done, nil
}

// admit is GADD for a request.
func (s *step) admit(in Admit) (Done, error) {
	r := s.requests[in.Request]
	if r == nil {
		return Done{}, ErrUnknown
	}
	if err := s.mayInvite(Invite{Role: in.Role, Info: in.Info}); err != nil {
		return Done{}, err
	}
	if !s.mayAccept(doorGuest) {
		return Done{}, ErrLimit
	}
	s.forgetRequest(in.Request)
	return s.letIn(in.Request, r.card, Invite{Role: in.Role, Info: in.Info})
}

// refuseRequest is GREJECT for a request.
func (s *step) refuseRequest(name string) (Done, error) {
	if s.requests[name] == nil {
		return Done{}, ErrUnknown
	}
	s.forgetRequest(name)
	if s.mayAccept(doorAnswer) {
		s.answerNo(name)
	} else {
		s.refuseDoor(name)
	}
	return Done{}, nil
}

// guestAnswered takes a frame of who was invited over a door.
func (s *step) guestAnswered(d *door, f frame, raw []byte) bool {
	switch f := f.(type) {
	case *accFrame:
		if f.Token != d.token {
			return false
		}
		if cardHash(f.Card) != d.cardHash {
			// Another card than the one shown with the request: whoever was let in, it was not this.
			if i := s.invites[d.token]; i != nil && i.state == invitePending {
				s.forgetInvite(d.token, i)
				s.notice(InvitationAnswered{Token: d.token, Contact: d.name, Answer: NotAdded, Member: f.Member})
			}
			return true // doorTimers refuses and closes
		}
		s.contactFrame(ContactFrame{Contact: d.name, Frame: raw})
	case *rejFrame:
		if f.Token != d.token {
			return false
		}
		s.contactFrame(ContactFrame{Contact: d.name, Frame: raw})
		if s.invites[d.token] == nil {
			s.closeDoor(d)
		}
	default:
		return false
	}
	return true
}
