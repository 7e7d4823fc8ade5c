package grouproto

import (
	"bytes"
	"slices"
	"time"

	"github.com/coterie-im/coterie/internal/wire"
)

// A door is a temporary connection between somebody and a member that has published an address: to ask for the group
// (docs/groups.md, "Joining by link"), or to be known again by members (docs/groups.md, "Knocking"). Frames travel on it as
// over a contact connection. It belongs to the group, is deleted as soon as there is a pair connection, and never lives
// longer than DoorExpiry.
//
//	who asks    doorAsk ── G_INV, G_ACC, as between contacts ── doorGuest   the holder of the address
//	who knocks  doorKnock ── G_SYNC, G_OPS, then an offer ───── doorMember  the holder of the address
//	            either ──────── G_REJ, or G_OPS ─────────────── doorAnswer  accepted only to say that
type doorKind uint8

const (
	doorAsk doorKind = iota + 1
	doorKnock
	doorGuest
	doorMember
	doorAnswer
)

const (
	doorRest     = time.Hour      // how long a door of somebody unknown is left alone when there are too many
	answerExpiry = 24 * time.Hour // of a door that was accepted only to refuse
	doorLinger   = t1             // how long a door is kept after the pair is connected: the other end may not know yet
	askLinger    = 2 * t1         // the same for the door that the group was asked for at: its G_NEED comes after T1
	mostOnDoor   = 1024           // frames taken over one door; a log of the greatest size fits
)

// door is one door. Which fields are set depends on its kind.
type door struct {
	name     string
	kind     doorKind
	member   Key // who holds the address; who knocked; who accepted an invitation
	token    Token
	cardHash [32]byte  // of the card shown with the request; what the guest sends later must be the same
	expiry   time.Time // when it is closed, whatever has become of it
	closeAt  time.Time // the pair is connected; zero: it is not
	synced   bool      // what the other end lacked has been sent
	open     bool
	heads    []OpID // of who knocked
	address  []byte // to open it again after a restart
	info     []byte
	request  string // to accept it again after a restart
	held     []byte // an invitation that waits for what becomes of another
	frames   int    // taken so far; not stored
}

const doorVersion = 2 // 1 is without held

func (s *step) putDoor(d *door) {
	s.doors[d.name] = d
	b := append(append([]byte{doorVersion, byte(d.kind)}, d.member[:]...), d.token[:]...)
	b = appendTime(appendTime(append(b, d.cardHash[:]...), d.expiry), d.closeAt)
	b = appendIDs(appendFlag(appendFlag(b, d.synced), d.open), d.heads)
	b = wire.AppendStr16(wire.AppendStr16(b, d.address), d.info)
	b = wire.AppendStr16(wire.AppendStr16(b, []byte(d.request)), d.held)
	s.env.Tx.Put(record('D', []byte(d.name)), b)
}

func (g *Group) loadDoor(k, v []byte) error {
	r := wire.NewReader(v)
	version := r.U8()
	if len(k) == 0 || version == 0 || version > doorVersion {
		return ErrRecords
	}
	d := &door{name: string(k), kind: doorKind(r.U8()), member: readKey(r)}
	r.Copy(d.token[:])
	d.cardHash, d.expiry, d.closeAt = read32(r), readTime(r), readTime(r)
	d.synced, d.open, d.heads = readFlag(r), readFlag(r), readIDs(r, mostPeerHeads)
	d.address, d.info, d.request = bytes.Clone(r.Str16()), bytes.Clone(r.Str16()), string(r.Str16())
	if version >= 2 {
		if held := r.Str16(); len(held) > 0 {
			d.held = bytes.Clone(held)
		}
	}
	if r.Done() != nil || d.kind < doorAsk || d.kind > doorAnswer {
		return ErrRecords
	}
	g.doors[d.name] = d
	return nil
}

// sortedDoors returns the doors in the order of their names. It stays as it is when doors are added and closed.
func (g *Group) sortedDoors() []*door {
	out := make([]*door, 0, len(g.doors))
	for _, d := range g.doors {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *door) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	return out
}

// doorsOf counts the doors of some kinds.
func (g *Group) doorsOf(kinds ...doorKind) (n int) {
	for _, d := range g.doors {
		if slices.Contains(kinds, d.kind) {
			n++
		}
	}
	return n
}

// openDoor asks for a connection at an address.
func (s *step) openDoor(d *door, f frame) {
	d.name, d.expiry, d.info = s.newName(), s.env.Now.Add(DoorExpiry), encodeFrame(f)
	s.putDoor(d)
	s.counts.Doors++
	s.do(OpenDoor{Door: d.name, Address: d.address, Info: d.info})
}

// acceptDoor accepts a request at the own address.
func (s *step) acceptDoor(d *door) {
	d.name, d.expiry = s.newName(), s.env.Now.Add(DoorExpiry)
	if d.kind == doorAnswer {
		d.expiry = s.env.Now.Add(answerExpiry)
	}
	s.putDoor(d)
	s.counts.Doors++
	s.do(AcceptDoor{Door: d.name, Address: s.link.address, Request: d.request})
}

// refuseDoor forgets a request at the own address.
func (s *step) refuseDoor(request string) {
	s.do(RefuseDoor{Address: s.link.address, Request: request})
}

// mayAccept tells whether there is room for another door of a kind, and makes some where that costs least: strangers who
// ask, and leave doors behind that nobody uses, keep out neither other strangers for long nor members who knock.
func (s *step) mayAccept(kind doorKind) bool {
	if kind == doorMember {
		if s.doorsOf(doorMember) < MaxDoors {
			return true
		}
		// Whose add has not turned out to be good in all that time need not be a member.
		return s.evict(func(d *door) bool {
			return d.kind == doorMember && !d.synced && s.due(d.expiry.Add(doorRest-DoorExpiry))
		})
	}
	return s.doorsOf(doorGuest, doorAnswer) < MaxDoors ||
		s.evict(func(d *door) bool { return d.kind == doorAnswer }) ||
		s.evict(func(d *door) bool {
			i := s.invites[d.token]
			return d.kind == doorGuest && (i == nil || i.state == invitePending) && s.due(d.expiry.Add(doorRest-DoorExpiry))
		})
}

// evict closes the oldest door of some; false if there is none.
func (s *step) evict(some func(*door) bool) bool {
	var oldest *door
	for _, d := range s.sortedDoors() {
		if some(d) && (oldest == nil || d.expiry.Before(oldest.expiry)) {
			oldest = d
		}
	}
	if oldest == nil {
		return false
	}
	s.closeDoor(oldest)
	s.guestLost(oldest)
	return true
}

// guestLost ends the invitation that went over a door.
func (s *step) guestLost(d *door) {
	if i := s.invites[d.token]; d.kind == doorGuest && i != nil && i.state == invitePending {
		s.forgetInvite(d.token, i)
		s.notice(InvitationAnswered{Token: d.token, Contact: d.name, Answer: Expired})
	}
}

// sendDoor sends a frame of a door that is not part of an invitation.
func (s *step) sendDoor(d *door, f frame) {
	s.counts.Doors++
	s.do(SendDoor{Door: d.name, Frame: encodeFrame(f)})
}

// closeDoor deletes a door once what was handed over has been sent.
func (s *step) closeDoor(d *door) {
	if s.doors[d.name] != d {
		return
	}
	delete(s.doors, d.name)
	s.env.Tx.Delete(record('D', []byte(d.name)))
	s.do(DeleteConn{Conn: d.name})
	if s.main.contact == d.name {
		s.main.contact = ""
	}
}

// takeDoor handles what is about addresses and doors.
func (s *step) takeDoor(in Input) {
	switch in := in.(type) {
	case Publish:
		s.answer(s.publishAddress())
	case Unpublish:
		s.answer(s.unpublish())
	case Admit:
		s.answer(s.admit(in))
	case RefuseRequest:
		s.answer(s.refuseRequest(in.Request))
	case AskAt:
		s.answer(s.askAt(in))
	case AddressReady:
		s.addressReady(in)
	case DoorAsked:
		s.doorAsked(in)
	case DoorOpen:
		s.doorOpen(in.Door)
	case DoorFrame:
		s.doorFrame(in)
	case DoorFailed:
		s.doorFailed(in)
	}
}

// doorAsked takes a request at the own address.
func (s *step) doorAsked(in DoorAsked) {
	d, err := decodeFrame(in.Info)
	if err != nil {
		s.bad.frames++
		s.refuseDoor(in.Request)
		return
	}
	switch f := d.frame.(type) {
	case *reqFrame:
		s.joinAsked(in.Request, f)
	case *knockFrame:
		s.knocked(in.Request, f)
	default:
		s.bad.place++
		s.refuseDoor(in.Request)
	}
}

func (s *step) doorOpen(name string) {
	d := s.doors[name]
	switch {
	case d == nil || d.open:
		return
	case d.kind == doorAnswer:
		s.closeDoor(d) // what it was accepted for is on its way
		return
	case d.kind == doorAsk || d.kind == doorKnock:
		s.counts.Doors++
	}
	d.open = true
	s.putDoor(d)
}

// doorFailed is a door that will never work; what was to go over it is given up, not what it has led to.
func (s *step) doorFailed(in DoorFailed) {
	if in.Door == s.link.address && in.Door != "" {
		s.addressLost()
		return
	}
	d := s.doors[in.Door]
	if d == nil {
		return
	}
	contact := s.main.contact == d.name
	s.closeDoor(d)
	switch {
	case d.kind == doorAsk && contact:
		s.inviterLost()
	case d.kind == doorAsk:
		s.askedInVain(in.Reason)
	default:
		s.guestLost(d)
	}
}

// doorFrame takes a frame of a door. What does not belong there is ignored and counted.
func (s *step) doorFrame(in DoorFrame) {
	d := s.doors[in.Door]
	if d == nil || d.kind == doorAnswer {
		return
	}
	if d.frames++; d.frames > mostOnDoor {
		s.warnAboutDoors()
		s.doorFailed(DoorFailed{Door: d.name, Reason: ReasonLimit})
		return
	}
	x, err := decodeFrame(in.Frame)
	switch {
	case err != nil:
		s.bad.frames++
		return
	case x.frame == nil:
		s.bad.unknown++
		return
	}
	s.bad.extra += x.extra
	var taken bool
	switch d.kind {
	case doorAsk:
		taken = s.askAnswered(d, x.frame)
	case doorGuest:
		taken = s.guestAnswered(d, x.frame, in.Frame)
	case doorKnock, doorMember:
		taken = x.tag.row().at&onDoor != 0 && s.memberAtDoor(d, x.frame) || x.tag == TagRej && s.knockRefused(d)
	}
	if !taken {
		s.bad.place++
	}
}

// doorTo returns the door over which offers for a member can go: nil if there is none. Whoever knocks here hears nothing of
// what goes over a connection that looks well: its store may be older than that.
func (g *Group) doorTo(p *peer) *door {
	if g.main.status != StatusMember || len(g.doors) == 0 {
		return nil
	}
	for _, d := range g.sortedDoors() {
		if (d.kind == doorKnock && !p.healthy() || d.kind == doorMember) && d.member == p.key && d.synced {
			return d
		}
	}
	return nil
}

// offerAtDoor sends an offer to the member at the other end of a door.
func (s *step) offerAtDoor(d *door, p *peer) {
	s.sendDoor(d, &invMemFrame{Offers: []offer{s.offerOf(p, p.offering())}})
}

// doorTimers closes doors that are not needed any more, and ends requests and asking that have become too old.
func (s *step) doorTimers() {
	if len(s.doors)+len(s.requests) == 0 && s.link.address == "" && s.link.joinBy.IsZero() && s.main.status != StatusAsking {
		return
	}
	s.addressTimers()
	s.joinTimers()
	for _, d := range s.sortedDoors() {
		s.doorTimer(d)
	}
	if s.main.status == StatusAsking && s.due(s.main.expiry) {
		s.endAsking(ReasonExpired)
	}
}

func (s *step) doorTimer(d *door) {
	alive := s.alive() || s.main.status == StatusAsking
	if !alive || s.due(d.expiry) {
		s.closeDoor(d)
		if alive && d.kind == doorAsk {
			s.askedInVain(ReasonExpired)
		}
		return
	}
	p := s.peers[d.member]
	switch d.kind {
	case doorGuest:
		switch i := s.invites[d.token]; {
		case i == nil:
			s.sendDoor(d, &rejFrame{Group: s.id, Token: d.token})
			if d.open {
				s.closeDoor(d)
				return
			}
			d.kind, d.expiry = doorAnswer, s.env.Now.Add(answerExpiry)
			s.putDoor(d)
			return
		case i.state == inviteAccepted:
			p = s.peers[i.member]
		}
	case doorAsk:
		if s.main.contact != d.name || s.main.status != StatusMember {
			return
		}
	case doorAnswer:
		return
	}
	if p == nil {
		return
	}
	switch {
	case p.ended():
		s.closeDoor(d)
	case !p.healthy() || d.kind == doorAsk && p.offering() != nil:
		if !d.closeAt.IsZero() {
			d.closeAt = time.Time{}
			s.putDoor(d)
		}
	case d.closeAt.IsZero():
		d.closeAt = s.env.Now.Add(doorLinger)
		if d.kind == doorAsk {
			d.closeAt = s.env.Now.Add(askLinger)
		}
		s.putDoor(d)
		if d.kind == doorKnock {
			s.offerAgain()
		}
	case s.due(d.closeAt):
		s.closeDoor(d)
	}
}

func (g *Group) wakeDoors(w *wake) {
	for _, d := range g.doors {
		w.add(d.expiry)
		w.add(d.closeAt)
	}
	for _, r := range g.requests {
		w.add(r.expiry)
	}
	if g.main.status == StatusAsking {
		w.add(g.main.expiry)
	}
	w.add(g.knockDue())
	w.add(g.otherInviterAt())
}

// pendingDoors asks again for what has no answer yet.
func (s *step) pendingDoors() {
	if s.link.address != "" && s.link.link == nil {
		s.do(NewAddress{Conn: s.link.address})
	}
	for _, d := range s.sortedDoors() {
		switch {
		case d.open:
		case d.kind == doorAsk || d.kind == doorKnock:
			s.do(OpenDoor{Door: d.name, Address: d.address, Info: d.info})
		default:
			s.do(AcceptDoor{Door: d.name, Address: s.link.address, Request: d.request})
		}
	}
}

// warnAboutDoors tells the client that something at the own address was cut off, once an hour.
func (s *step) warnAboutDoors() {
	s.warnLimit(nil, LimitRequests)
}
