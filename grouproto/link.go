package grouproto

import (
	"bytes"
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

const linkVersion = 1

// linkRecord is the own address, and when to knock at those of others.
type linkRecord struct {
	address   string // name of the contact address; "" if there is none
	link      []byte // nil until it is made
	knockAt   time.Time
	knockWait time.Duration
}

func (s *step) putLink() {
	if s.link.address == "" && s.link.knockAt.IsZero() {
		s.env.Tx.Delete(record('L'))
		return
	}
	b := wire.AppendStr16([]byte{linkVersion}, []byte(s.link.address))
	b = appendDuration(appendTime(wire.AppendStr16(b, s.link.link), s.link.knockAt), s.link.knockWait)
	s.env.Tx.Put(record('L'), b)
}

func (g *Group) loadLink(k, v []byte) error {
	r := wire.NewReader(v)
	if len(k) != 0 || r.U8() != linkVersion {
		return ErrRecords
	}
	l := linkRecord{address: string(r.Str16()), link: bytes.Clone(r.Str16()), knockAt: readTime(r), knockWait: readDuration(r)}
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
		!s.mayAccept(),
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
	case rule == joinPassword && subtle.ConstantTimeCompare(f.Password, password) != 1:
		s.answerNo(name)
	default:
		if _, err := s.letIn(name, f.Card, Invite{Role: s.joinRole()}); err != nil {
			s.answerNo(name)
		}
	}
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
	if !s.mayAccept() {
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
	if s.mayAccept() {
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

// askAnswered takes a frame at a door by which the group was asked for: the first invitation is accepted, further ones are
// refused.
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
		if contact && s.main.status == StatusJoining {
			s.endAsking(ReasonRefused) // the inviter could not add us after all
			return true
		}
		s.askedInVain(ReasonRefused)
		return true
	}
	return false
}

func (s *step) askInvited(d *door, f *invFrame) bool {
	switch {
	case f.Group != s.id || !f.Range.overlaps(ownVersions) || s.due(unix(f.Expiry)) || f.Inviter == s.self:
		return false
	case s.main.contact == d.name && s.main.token == f.Token:
		return true // repeated
	case s.main.status != StatusAsking:
		s.sendDoor(d, &rejFrame{Group: s.id, Token: f.Token})
		if s.main.contact != d.name {
			s.closeDoor(d)
		}
		return true
	}
	m := &s.main
	m.status = StatusJoining
	m.inviter, m.contact, m.token, m.expiry = f.Inviter, d.name, f.Token, unix(f.Expiry)
	if latest := s.env.Now.Add(InvitationExpiry); m.expiry.After(latest) {
		m.expiry = latest
	}
	d.member = f.Inviter
	s.putDoor(d)
	p := &peer{key: f.Inviter, lastHeard: s.env.Now}
	s.insert(p)
	s.touch(p)
	return true
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
