package grouproto

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// step is one call of Step: the group, what it may use, and what comes of it.
type step struct {
	*Group
	env       Env
	out       []Effect
	peersW    map[*peer]bool        // to be written
	chainW    map[*chain]bool       // to be written
	histories map[historyKey]uint64 // results of historyFrom
	bodies    map[uint64][]byte     // bodies with one own message and nothing else, shared by the fan-out
	own       map[uint64]*ownFrame  // own messages that were read, by number
	wide      bool                  // everybody is looked at in the end; see finishNarrow
}

func (s *step) do(e Effect)               { s.out = append(s.out, e) }
func (s *step) notice(e Event)            { s.do(Notice{e}) }
func (s *step) warn(w Warning, about Key) { s.warnOf(w, about, LimitNone) }

func (s *step) warnOf(w Warning, about Key, l Limit) {
	if p := s.peers[about]; p == nil || p.warnings[w].take(s.env.Now, 1, warnBurst, warnRate) {
		s.notice(Warned{w, about, l})
	}
}

// touch marks a peer as changed.
func (s *step) touch(p *peer) {
	if s.peersW == nil {
		s.peersW = map[*peer]bool{}
	}
	s.peersW[p] = true
}

// chain returns an author's chain for changing; it is made if there is none.
func (s *step) chain(author Key) *chain {
	c := s.chains[author]
	if c == nil {
		c = &chain{author: author}
		s.chains[author] = c
	}
	if s.chainW == nil {
		s.chainW = map[*chain]bool{}
	}
	s.chainW[c] = true
	return c
}

// dropChain forgets an author.
func (s *step) dropChain(c *chain) {
	delete(s.chains, c.author)
	s.countGap(c, false)
	s.digestKept = knownDigest{}
	delete(s.chainW, c)
	s.env.Tx.Delete(record('c', c.author[:]))
}

func random32(env Env) (b [32]byte) { fill(env, b[:]); return b }
func random16(env Env) (b [16]byte) { fill(env, b[:]); return b }

func fill(env Env, b []byte) {
	if _, err := io.ReadFull(env.Rand, b); err != nil {
		panic("grouproto: no randomness: " + err.Error())
	}
}

// below returns a random number from 0 to n-1. A group has few hundred members, so the bias of the remainder is nothing.
func (s *step) below(n int) int {
	var b [4]byte
	fill(s.env, b[:])
	return int((uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])) % uint64(n))
}

// newName makes a connection name: 12 random bytes as base64url, which is also the form of the agent's connection IDs.
func (s *step) newName() string {
	var b [12]byte
	fill(s.env, b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func hour(t time.Time) int64 { return t.Unix() - t.Unix()%oplog.SecondsOfHour }

// present returns the members other than oneself that are present, ascending by key.
func (g *Group) present() []*peer {
	out := make([]*peer, 0, len(g.order))
	for _, p := range g.order {
		if !p.ended() {
			out = append(out, p)
		}
	}
	return out
}

// everybody returns all peers, ascending by key. It stays as it is when peers are added.
func (g *Group) everybody() []*peer { return g.order }

// insert adds a peer.
func (g *Group) insert(p *peer) {
	g.peers[p.key] = p
	i, _ := slices.BinarySearchFunc(g.order, p.key, func(q *peer, k Key) int { return q.key.Compare(k) })
	g.order = slices.Insert(slices.Clone(g.order), i, p)
}

// take handles one input.
func (s *step) take(in Input) {
	switch in := in.(type) {
	case Invite:
		s.answer(s.invite(in))
	case Uninvite:
		s.answer(s.uninvite(in))
	case Send:
		s.answer(s.send(in))
	case Leave:
		s.answer(s.leave())
	case Remove:
		s.answer(s.remove(in))
	case Close:
		s.answer(s.write(&oplog.Close{}))
	case SetRole:
		s.answer(s.write(&oplog.RoleChange{Member: in.Member, Role: in.Role}))
	case SetPolicy:
		s.answer(s.write(&oplog.PolicyChange{Policy: in.Policy}))
	case Set:
		s.answer(s.write(&oplog.Set{Setting: oplog.Setting{Name: in.Name, Value: in.Value}}))
	case Recover:
		s.answer(s.recoverCommand(in.Why))
	case Repair:
		s.answer(s.repair(in))
	case SendDirect:
		s.answer(s.sendDirect(in))
	case SendLetter:
		s.sendLetter(in)
	case ContactFrame:
		s.contactFrame(in)
	case LinkReady:
		s.onConn(in.Conn, func(p *peer, c *pairConn) { s.linkReady(p, c, in.Link) })
	case Conf:
		s.onConn(in.Conn, func(p *peer, c *pairConn) { s.confirmation(p, c, in) })
	case Info:
		s.onConn(in.Conn, func(p *peer, c *pairConn) { s.answered(p, c, in) })
	case Connected:
		s.onConn(in.Conn, func(p *peer, c *pairConn) {
			if c.state == connAllowed {
				s.ready(p, c)
			}
		})
	case Failed:
		s.onConn(in.Conn, func(p *peer, c *pairConn) { s.failed(p, c, in.Reason) })
	case Message:
		s.onConn(in.Conn, func(p *peer, c *pairConn) { s.body(p, c, in.Body) })
	case Sent:
		s.onConn(in.Conn, func(p *peer, c *pairConn) { s.sent(p, c, in.Ref) })
	case SendFailed:
		if s.doors[in.Conn] != nil {
			s.doorFailed(DoorFailed{in.Conn, in.Reason})
		}
		s.onConn(in.Conn, func(p *peer, c *pairConn) { s.sendFailed(p, c, in.Ref, in.Reason) })
	case Waits:
		s.onConn(in.Conn, func(p *peer, c *pairConn) {
			if c.state != connReady && !p.ended() {
				s.wait(p, in.Reason)
			}
		})
	case Quota:
		s.onConn(in.Conn, func(p *peer, c *pairConn) {
			if c == p.sendable() { // nothing waits for the queue of one that was replaced
				s.pause(p, ReasonQuota)
			}
		})
	case Continue:
		s.onConn(in.Conn, func(p *peer, c *pairConn) { s.resume(p) })
	case ResyncNeeded:
		s.onConn(in.Conn, func(p *peer, c *pairConn) {
			s.parting(p, c, true)
			s.resyncNeeded(p, c)
		})
	case Resynced:
		s.onConn(in.Conn, func(p *peer, c *pairConn) {
			s.parting(p, c, false)
			s.resynced(p, c, in)
		})
	case Up:
		s.onConn(in.Conn, func(p *peer, c *pairConn) { s.reconnected() })
	case Down, Tick:
	default:
		s.takeDoor(in)
	}
}

// onConn calls f with the pair and the connection of that name, if it still exists.
func (s *step) onConn(name string, f func(*peer, *pairConn)) {
	p := s.conns[name]
	if p == nil {
		return
	}
	if c := p.conn(name); c != nil {
		s.touch(p)
		f(p, c)
	}
}

// answer puts the answer to a command before everything else.
func (s *step) answer(d Done, err error) {
	d.Err = err
	s.countRefusals(err)
	s.out = slices.Insert(s.out, 0, Effect(d))
}

// member tells why a command of a member cannot be done; nil if it can.
func (g *Group) member() error {
	switch g.main.status {
	case StatusMember:
		return nil
	case StatusJoining, StatusAsking:
		return ErrJoining
	case StatusClosed:
		return ErrClosed
	default:
		return ErrNotMember
	}
}

// write makes the next own operation and tells everybody.
func (s *step) write(a oplog.Action) (Done, error) {
	if err := s.writable(); err != nil {
		return Done{}, err
	}
	return s.writeNow(a)
}

// writeNow is write, whatever is known about the own operations.
func (s *step) writeNow(a oplog.Action) (Done, error) {
	if err := s.member(); err != nil {
		return Done{}, err
	}
	body, err := s.log.Next(s.self, a, s.env.Now.Unix())
	if err != nil {
		return Done{}, opError(err)
	}
	return s.publish(body, toPresent)
}

// audience is to whom an own operation goes at once.
type audience uint8

const (
	toNobody  audience = iota // it goes with something else
	toPresent                 // everybody present before it
	toKnown                   // also those whose presence has ended but whose connection is kept
)

// publish signs and admits an own operation and sends it.
func (s *step) publish(body oplog.Body, to audience) (Done, error) {
	op, err := oplog.Sign(body, s.key)
	if err != nil {
		return Done{}, opError(err)
	}
	res := s.log.Add(s.env.Tx, op, s.self)
	if res.Status != oplog.Admitted {
		return Done{}, opError(res.Reason)
	}
	if to != toNobody {
		s.spread(op.ID(), to)
	}
	s.admitted(res, s.self)
	return Done{Op: op.ID()}, nil
}

// opError turns an error of package oplog into one of this package's, keeping the first inside.
func opError(err error) error {
	var reason oplog.Reason
	if !errors.As(err, &reason) {
		if errors.Is(err, oplog.ErrForm) {
			return fmt.Errorf("%w: %w", ErrTooLarge, err)
		}
		return err
	}
	switch reason {
	case oplog.ReasonClosed:
		return ErrClosed
	case oplog.ReasonAuthor:
		return ErrNotMember
	case oplog.ReasonMembers, oplog.ReasonFull, oplog.ReasonParallel:
		return fmt.Errorf("%w: %w", ErrLimit, err)
	case oplog.ReasonUpgrade:
		return ErrUpgrade
	default:
		return fmt.Errorf("%w: %w", ErrNotPermitted, err)
	}
}

// finish does what is due, sends what can be sent, and writes what changed.
func (s *step) finish() {
	s.wakeKnown = false
	s.endings()
	s.doorTimers()
	s.takeDelayed()
	s.judgeWaiting()
	s.recoverStep()
	s.pauseTimers()
	s.pairTimers()
	s.knockTimers()
	s.spreadLate()
	s.schedule()
	s.sendOffers()
	s.invitationTimers()
	s.askForLog()
	s.reportPairs()
	s.askForGaps()
	s.askForOps()
	s.syncTimers()
	s.receipts()
	s.flush()
	s.tellCaughtUp()
	s.noteLacking()
	s.store()
}

// noteLacking notes for the next start whether anything was heard of that is not here.
func (s *step) noteLacking() { s.main.lacking = len(s.wantOps) > 0 || len(s.odd) > 0 }

// store writes what changed.
func (s *step) store() {
	s.countGaps()
	s.forgetFront()
	for p := range s.peersW {
		s.scratch = p.put(s.env.Tx, s.scratch)
		p.putQueue(s.env.Tx)
	}
	for c := range s.chainW {
		s.env.Tx.Put(record('c', c.author[:]), c.encode())
	}
	s.putMain(s.env.Tx)
}

// wake collects the earliest of several times.
type wake struct{ at time.Time }

func (w *wake) add(t time.Time) {
	if !t.IsZero() && (w.at.IsZero() || t.Before(w.at)) {
		w.at = t
	}
}

// due tells whether a deadline is set and has passed.
func (s *step) due(t time.Time) bool { return !t.IsZero() && !t.After(s.env.Now) }

func (g *Group) nextWake() time.Time {
	var w wake
	if g.log != nil && g.log.Ripe() {
		w.add(time.UnixMilli(1)) // at once
	}
	g.wakeEndings(&w)
	g.wakeWaiting(&w)
	g.wakePauses(&w)
	g.wakePairs(&w)
	g.wakeInvitations(&w)
	g.wakeLog(&w)
	g.wakeReports(&w)
	g.wakeAsks(&w)
	g.wakeSync(&w)
	g.wakeDoors(&w)
	g.wakeRecovery(&w)
	for _, p := range g.order {
		g.wakeFrames(&w, p)
	}
	return w.at
}
