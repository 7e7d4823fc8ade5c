package directconn

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"io"
	"slices"
	"time"

	"github.com/coterie-im/coterie/internal/kv"
)

// Core is the direct connections of one agent, all groups together. One goroutine owns it; after a transaction failed it
// must be thrown away and loaded again.
//
// About one member there is, at a time, at most one own request, one request of the member and one working connection:
//
//	own     Ask ─→ making the link ─ LinkReady, G_DINV ─→ asked ─ Connected ─→ ready
//	theirs  G_DINV ─→ waits for the client (or a rule) ─ Accept ─→ joining ─ Connected ─→ ready
//
// If both ask at once the request of the smaller member key stands and counts as accepted; the other one is withdrawn by
// its sender, and ignored by its receiver.
type Core struct {
	peers map[Peer]*entry
	conns map[string]*entry
}

// entry is what is known about one member.
type entry struct {
	peer    Peer
	blocked bool
	choice  Choice
	ready   string   // the working connection; empty: none
	own     *request // asked by us
	their   *request // asked by the member
	waiting uint32   // messages that wait for a connection
	next    uint32   // number of the next one
	changed bool
}

// request is one request under way.
type request struct {
	id     RequestID
	conn   string // being made or joined; empty: waits for the client
	link   []byte // theirs
	text   []byte
	sent   bool // own: G_DINV is on its way
	expiry time.Time

	heldUntil time.Time // theirs: the client is not asked before; zero: it has been asked
}

// Load brings the core back from its records; empty records are an empty core. ErrRecords.
func Load(tx kv.Tx) (*Core, error) {
	c := &Core{peers: map[Peer]*entry{}, conns: map[string]*entry{}}
	var err error
	tx.Scan([]byte{kindEntry}, nil, func(_, v []byte) bool {
		var e *entry
		if e, err = decodeEntry(v); err == nil {
			c.peers[e.peer] = e
			c.index(e)
		}
		return err == nil
	})
	return c, err
}

func (c *Core) index(e *entry) {
	for _, name := range []string{e.ready, e.own.connName(), e.their.connName()} {
		if name != "" {
			c.conns[name] = e
		}
	}
}

func (r *request) connName() string {
	if r == nil {
		return ""
	}
	return r.conn
}

// step is one call of Step.
type step struct {
	*Core
	env Env
	out []Effect
}

func (s *step) do(e Effect)    { s.out = append(s.out, e) }
func (s *step) notice(e Event) { s.do(Notice{e}) }

// Step takes one input.
func (c *Core) Step(env Env, in Input) []Effect {
	s := &step{Core: c, env: env}
	s.take(in)
	s.expire()
	s.store()
	return s.out
}

func (s *step) take(in Input) {
	switch in := in.(type) {
	case Ask:
		s.answer(s.ask(in))
	case Accept:
		s.answer(Done{}, s.decide(in.Request, true))
	case Refuse:
		s.answer(Done{}, s.decide(in.Request, false))
	case Withdraw:
		s.answer(Done{}, s.withdraw(in.Peer))
	case Write:
		s.answer(Done{}, s.write(in))
	case Block:
		s.answer(Done{}, s.block(in))
	case Choose:
		s.entry(in.Peer).choice = in.Choice
		s.answer(Done{}, nil)
	case Frame:
		s.frame(in)
	case LinkReady:
		s.linkReady(in)
	case Connected:
		s.connected(in.Conn)
	case Failed:
		s.failed(in.Conn)
	case Deleted:
		s.deleted(in.Conn)
	case PeerGone:
		s.peerGone(in.Peer)
	case Tick:
	}
}

// answer puts the answer to a command before everything else.
func (s *step) answer(d Done, err error) {
	d.Err = err
	s.out = slices.Insert(s.out, 0, Effect(d))
}

// entry returns what is known about a member, for changing.
func (s *step) entry(p Peer) *entry {
	e := s.peers[p]
	if e == nil {
		e = &entry{peer: p}
		s.peers[p] = e
	}
	e.changed = true
	return e
}

// byConn returns the entry that a connection belongs to, for changing; nil if there is none.
func (s *step) byConn(name string) *entry {
	e := s.conns[name]
	if e != nil {
		e.changed = true
	}
	return e
}

func (s *step) random(b []byte) {
	if _, err := io.ReadFull(s.env.Rand, b); err != nil {
		panic("directconn: no randomness: " + err.Error())
	}
}

func (s *step) newName() string {
	var b [12]byte
	s.random(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// dropConn deletes a connection that was being made.
func (s *step) dropConn(name string) {
	if name != "" {
		delete(s.conns, name)
		s.do(DeleteConn{name})
	}
}

// linkReady sends the own request.
func (s *step) linkReady(in LinkReady) {
	e := s.byConn(in.Conn)
	if e == nil || e.own == nil || e.own.conn != in.Conn || e.own.sent {
		return
	}
	if len(in.Link) > MaxLink {
		s.endOwn(e, WhyFailed)
		return
	}
	e.own.sent = true
	i := invite{e.own.id, in.Link, e.own.text}
	s.do(SendGroup{Peer: e.peer, Kind: KindInvite, Payload: i.append(nil)})
}

// connected makes a connection the working one, and sends what waited for it.
func (s *step) connected(name string) {
	e := s.byConn(name)
	switch {
	case e == nil:
		return
	case e.own.connName() == name:
		e.own = nil
	case e.their.connName() == name:
		e.their = nil
	default:
		return
	}
	delete(s.conns, e.ready)
	e.ready = name
	s.notice(Ready{Peer: e.peer, Conn: name})
	for _, body := range s.takeWaiting(e) {
		s.do(SendConn{Conn: name, Body: body})
	}
}

func (s *step) failed(name string) {
	e := s.byConn(name)
	switch {
	case e == nil:
	case e.own.connName() == name:
		s.endOwn(e, WhyFailed)
	case e.their.connName() == name:
		s.endTheir(e, WhyFailed)
	}
}

// deleted is when the client deleted the contact, or a connection that was being made.
func (s *step) deleted(name string) {
	e := s.byConn(name)
	switch {
	case e == nil:
	case e.ready == name:
		delete(s.conns, name)
		e.ready = ""
	default:
		s.failed(name)
	}
}

func (s *step) peerGone(p Peer) {
	e := s.peers[p]
	if e == nil {
		return
	}
	e.changed = true
	if e.own != nil {
		s.endOwn(e, WhyGone)
	}
	if e.their != nil && e.their.conn == "" {
		s.endTheir(e, WhyGone)
	}
}

// endOwn ends the own request without a connection.
func (s *step) endOwn(e *entry, why Why) {
	r := e.own
	e.own = nil
	s.dropConn(r.conn)
	s.end(e, r, why)
}

// endTheir ends the member's request without a connection.
func (s *step) endTheir(e *entry, why Why) {
	r := e.their
	e.their = nil
	s.dropConn(r.conn)
	s.end(e, r, why)
}

func (s *step) end(e *entry, r *request, why Why) {
	e.changed = true
	if e.own == nil && e.their.connName() == "" {
		s.takeWaiting(e)
	}
	if r.heldUntil.IsZero() {
		s.notice(Ended{Peer: e.peer, Request: r.id, Why: why})
	}
}

// expire ends requests that nobody answered. One that is being joined has its own end.
func (s *step) expire() {
	for _, e := range s.sorted() {
		if e.own != nil && !e.own.expiry.After(s.env.Now) {
			s.endOwn(e, WhyExpired)
		}
		if e.their == nil || e.their.conn != "" {
			continue
		}
		if h := e.their.heldUntil; !h.IsZero() && !h.After(s.env.Now) {
			s.tell(e)
		} else if !e.their.expiry.After(s.env.Now) {
			s.endTheir(e, WhyExpired)
		}
	}
}

// sorted returns all entries in a fixed order.
func (c *Core) sorted() []*entry {
	out := make([]*entry, 0, len(c.peers))
	for _, e := range c.peers {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.peer.Group, b.peer.Group), bytes.Compare(a.peer.Member[:], b.peer.Member[:]))
	})
	return out
}

// NextWake tells when a Tick is wanted; the zero time means never.
func (c *Core) NextWake() (at time.Time) {
	for _, e := range c.peers {
		for _, r := range []*request{e.own, e.their} {
			if r == nil || r == e.their && r.conn != "" {
				continue
			}
			due := r.expiry
			if !r.heldUntil.IsZero() {
				due = r.heldUntil
			}
			if at.IsZero() || due.Before(at) {
				at = due
			}
		}
	}
	return at
}

// Pending returns, after a restart, the operations on connections that have not been answered yet. The connection layer
// ignores those whose names it knows already.
func (c *Core) Pending() (out []Effect) {
	for _, e := range c.sorted() {
		if e.own != nil && !e.own.sent {
			out = append(out, NewConn{Conn: e.own.conn, Peer: e.peer})
		}
		if name := e.their.connName(); name != "" {
			out = append(out, JoinConn{Conn: name, Link: e.their.link, Peer: e.peer})
		}
	}
	return out
}

// Conn returns the connection with a member, ready or being made; empty if there is none.
func (c *Core) Conn(p Peer) (name string, ready bool) {
	e := c.peers[p]
	if e == nil {
		return "", false
	}
	return cmp.Or(e.ready, e.own.connName(), e.their.connName()), e.ready != ""
}
