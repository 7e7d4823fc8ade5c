package directconn

import (
	"bytes"
	"time"
)

// crossWait is how long a request of a member that we are connected with is held back. It may have crossed our own, which
// was accepted so fast that the connection was there first; then its withdrawal is right behind. Else the member has
// deleted the contact and asks again.
const crossWait = time.Minute

// ask is GDIRECT. A request of the member that waits for an answer is accepted by it.
func (s *step) ask(in Ask) (Done, error) {
	e := s.entry(in.Peer)
	switch {
	case len(in.Text) > MaxText:
		return Done{}, ErrTooLarge
	case e.ready != "":
		return Done{}, ErrExists
	case e.own != nil || e.their.connName() != "":
		return Done{}, ErrAsked
	case e.their != nil:
		s.join(e)
		return Done{Request: e.their.id}, nil
	}
	r := &request{conn: s.newName(), text: bytes.Clone(in.Text), expiry: s.env.Now.Add(Expiry)}
	s.random(r.id[:])
	e.own = r
	s.conns[r.conn] = e
	s.do(NewConn{Conn: r.conn, Peer: e.peer})
	return Done{Request: r.id}, nil
}

// withdraw takes the own request back. The member is told by the refusal of a request that is not its own.
func (s *step) withdraw(p Peer) error {
	e := s.peers[p]
	if e == nil || e.own == nil {
		return ErrUnknown
	}
	if e.own.sent {
		s.refuse(e, e.own.id)
	}
	s.endOwn(e, WhyWithdrawn)
	return nil
}

// decide is GACPT, or its opposite.
func (s *step) decide(id RequestID, accept bool) error {
	for _, e := range s.sorted() {
		if e.their == nil || e.their.id != id || e.their.conn != "" || !e.their.heldUntil.IsZero() {
			continue
		}
		e.changed = true
		if accept {
			s.join(e)
			return nil
		}
		e.their = nil
		s.refuse(e, id)
		return nil
	}
	return ErrUnknown
}

// block puts a member on the block list, which also refuses what waits, or takes it off.
func (s *step) block(in Block) error {
	e := s.entry(in.Peer)
	e.blocked = in.On
	if in.On && e.their != nil && e.their.conn == "" {
		s.refuse(e, e.their.id)
		e.their = nil
	}
	return nil
}

func (s *step) refuse(e *entry, id RequestID) {
	s.do(SendGroup{Peer: e.peer, Kind: KindRefuse, Payload: bytes.Clone(id[:])})
}

// join accepts the member's request.
func (s *step) join(e *entry) {
	e.their.conn = s.newName()
	s.conns[e.their.conn] = e
	s.do(JoinConn{Conn: e.their.conn, Link: e.their.link, Peer: e.peer})
}

// frame takes a frame of a member. A malformed one is ignored: it is the member's fault and answers nothing.
func (s *step) frame(in Frame) {
	switch in.Kind {
	case KindInvite:
		if i, err := readInvite(in.Payload); err == nil {
			s.invited(in, i)
		}
	case KindRefuse:
		if id, err := readRefusal(in.Payload); err == nil {
			s.refused(in.Peer, id)
		}
	}
}

// invited takes a request. The rules are asked in their order: block list, choice for the member, permission.
func (s *step) invited(in Frame, i invite) {
	e := s.entry(in.Peer)
	if e.their != nil && e.their.id == i.Request {
		return
	}
	r := &request{id: i.Request, link: i.Link, text: i.Text, expiry: s.env.Now.Add(Expiry)}
	switch {
	case e.blocked, e.choice == ChoiceRefuse:
		s.refuse(e, i.Request)
	case e.own != nil && bytes.Compare(in.Self[:], in.Peer.Member[:]) < 0:
		// Both ask and ours stands: the member withdraws its own when ours arrives.
	case e.own != nil:
		// Both ask and theirs stands. The client hears of one connection only.
		if e.own.sent {
			s.refuse(e, e.own.id)
		}
		s.dropConn(e.own.conn)
		e.own = nil
		s.replace(e, r)
		s.join(e)
	case e.choice != ChoiceAccept && !in.Permitted, s.open() >= MaxOpen:
		s.refuse(e, i.Request)
	case e.ready != "":
		r.heldUntil = s.env.Now.Add(crossWait)
		s.replace(e, r)
	default:
		s.replace(e, r)
		s.tell(e)
	}
}

// tell asks the client about the member's request, or accepts it by the choice for the member.
func (s *step) tell(e *entry) {
	e.changed = true
	e.their.heldUntil = time.Time{}
	if e.choice == ChoiceAccept {
		s.join(e)
		return
	}
	s.notice(Asked{Peer: e.peer, Request: e.their.id, Text: e.their.text})
}

// replace puts a request in the place of an older one of the same member, which is void: who asks again has given that
// up.
func (s *step) replace(e *entry, r *request) {
	if e.their != nil {
		s.dropConn(e.their.conn)
	}
	e.their = r
}

// open is how many requests wait for the client.
func (c *Core) open() (n int) {
	for _, e := range c.peers {
		if e.their != nil && e.their.conn == "" {
			n++
		}
	}
	return n
}

// refused takes a refusal of the own request, or the withdrawal of the member's.
func (s *step) refused(p Peer, id RequestID) {
	e := s.peers[p]
	switch {
	case e == nil:
	case e.own != nil && e.own.id == id && e.own.sent:
		s.endOwn(e, WhyRefused)
	case e.their == nil || e.their.id != id:
	case !e.their.heldUntil.IsZero():
		e.their, e.changed = nil, true // nobody was told of it
	default:
		s.endTheir(e, WhyWithdrawn)
	}
}

// write sends a message, or keeps it until there is a connection.
func (s *step) write(in Write) error {
	e := s.peers[in.Peer]
	switch {
	case len(in.Body) > MaxBody:
		return ErrTooLarge
	case e == nil:
		return ErrUnknown
	case e.ready != "":
		s.do(SendConn{Conn: e.ready, Body: bytes.Clone(in.Body)})
		return nil
	case e.own == nil && e.their.connName() == "":
		return ErrUnknown
	case e.waiting >= MaxWaiting:
		return ErrLimit
	}
	s.keep(e, in.Body)
	return nil
}
