package grouproto

import (
	"slices"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/kv"
	"github.com/coterie-im/coterie/internal/wire"
)

// Status is what the group is for its own member.
type Status uint8

// Statuses.
const (
	StatusJoining Status = iota + 1 // accepted; the log has not arrived
	StatusMember
	StatusLeft
	StatusRemoved
	StatusClosed
	StatusGone   // the grace after one of the three before is over, or asking or joining came to nothing
	StatusAsking // asked for at a member's address; not invited yet
)

// String returns the status' stable name.
func (s Status) String() string {
	return [...]string{"", "joining", "member", "left", "removed", "closed", "gone", "asking"}[min(s, StatusAsking)]
}

// PairState is a member's connection state, for people.
type PairState uint8

// Pair states.
const (
	PairSelf       PairState = iota + 1
	PairNone                 // nothing begun: waits for an offer, a route or a free place
	PairConnecting           // offer or confirmation under way
	PairReady                // frames flow
	PairEnded                // not present any more
)

// String returns the state's stable name.
func (s PairState) String() string {
	return [...]string{"", "self", "waiting", "connecting", "connected", "ended"}[min(s, PairEnded)]
}

// labelState is used for StateHash only, which never travels.
const labelState = "coterie/group-state/1"

// GroupInfo is the group itself (GLS).
type GroupInfo struct {
	ID         GroupID
	Self       Key
	Status     Status
	Members    int // present ones, oneself included
	Connected  int // of the others, those with a working connection
	Policy     Policy
	Settings   []oplog.Setting
	Ops        int
	NextNumber uint64   // of the own next message
	Inviter    Key      // zero for the creator
	Recovery   Recovery // why nothing can be written now; RecoveryNone: it can
	Upgrade    bool     // the group is beyond this version of the program: Policy.OpsVersion is higher, or Unjudged not 0
	Unjudged   int      // operations that are kept and passed on and that this version cannot judge
}

// MemberInfo is one member (GLS).
type MemberInfo struct {
	Key        Key
	Role       Role
	Present    bool
	Card       []byte // without its random bytes; nil: not known
	Pair       PairState
	Reason     Reason // why Pair is not connected, or why sending rests
	Paused     bool   // sending rests; Reason says why
	Sent       uint64 // own messages below it are on their way
	Delivered  uint64 // own messages below it have been received, as far as receipts tell
	LastHeard  time.Time
	NextRepair time.Time // when Repair is allowed again; zero: now
}

// Delivery is the state of one own message for one member.
type Delivery uint8

// Delivery states.
const (
	NotAddressed Delivery = iota // the member was not present when it was written
	Queued
	OnItsWay
	Delivered
	Undelivered // given up; the reason is in MemberDelivery
)

// MemberDelivery is the state of one own message for one member, with the reason of Queued and Undelivered.
type MemberDelivery struct {
	Member Key
	State  Delivery
	Reason Reason
}

// ID returns the group's ID; it is known from the start.
func (g *Group) ID() GroupID { return g.id }

// Self returns the own member key.
func (g *Group) Self() Key { return g.self }

// Info returns the group's data.
func (g *Group) Info() GroupInfo {
	i := GroupInfo{
		ID: g.id, Self: g.self, Status: g.main.status, NextNumber: g.main.next, Inviter: g.main.inviter,
		Upgrade: g.main.upgrade, Recovery: g.main.recovery,
	}
	for _, p := range g.present() {
		if p.healthy() {
			i.Connected++
		}
	}
	if g.st == nil {
		return i
	}
	i.Members, i.Policy, i.Ops = g.st.Len(), g.st.Policy(), g.log.Len()
	i.Upgrade, i.Unjudged = g.log.MustUpgrade(), g.log.Unjudged()
	for _, name := range g.st.Settings() {
		value, _, _ := g.st.Setting(name)
		i.Settings = append(i.Settings, oplog.Setting{Name: name, Value: value})
	}
	return i
}

// Members returns everybody who is or was a member since this one is, ascending by key, oneself included.
func (g *Group) Members(tx kv.Tx) []MemberInfo {
	self := MemberInfo{Key: g.self, Pair: PairSelf, Card: cardContent(g.card)}
	if g.st != nil {
		m, ok := g.st.Member(g.self)
		self.Role, self.Present = m.Role, ok
	}
	out := []MemberInfo{self}
	for _, p := range g.everybody() {
		out = append(out, g.memberInfo(tx, p))
	}
	slices.SortFunc(out, func(a, b MemberInfo) int { return a.Key.Compare(b.Key) })
	return out
}

func (g *Group) memberInfo(tx kv.Tx, p *peer) MemberInfo {
	m := MemberInfo{
		Key: p.key, Present: !p.ended(), Card: cardContent(g.cardRecord(tx, p.key)), Reason: p.reason,
		Paused: p.paused != ReasonNone, Sent: p.sent, Delivered: p.delivered, LastHeard: p.lastHeard,
	}
	if g.st != nil {
		in, ok := g.st.Member(p.key)
		m.Role, m.Present = in.Role, ok
	}
	if len(p.conns) > 0 && !p.replacedAt.IsZero() {
		m.NextRepair = p.replacedAt.Add(replaceEvery)
	}
	switch {
	case p.ended():
		m.Pair = PairEnded
	case p.healthy():
		m.Pair = PairReady
	case p.offering() != nil || p.sendable() != nil || p.mending() != nil:
		m.Pair = PairConnecting
	default:
		m.Pair = PairNone
	}
	if m.Paused {
		m.Reason = p.paused
	}
	return m
}

// Delivery returns the state of the own message with this number for every present member, ascending by key; ErrUnknown
// if there is no such message.
func (g *Group) Delivery(number uint64) ([]MemberDelivery, error) {
	if c := g.chains[g.self]; number >= g.main.next || c == nil {
		return nil, ErrUnknown
	} else if why, _ := c.absentAt(number); why == noneNotExisted {
		return nil, ErrUnknown
	}
	var out []MemberDelivery
	for _, p := range g.present() {
		d := MemberDelivery{Member: p.key}
		d.State, d.Reason = p.delivery(number)
		out = append(out, d)
	}
	return out, nil
}

func (p *peer) delivery(n uint64) (Delivery, Reason) {
	in := func(r Range) bool { return r.From <= n && n <= r.To }
	switch {
	case n < p.first:
		return NotAddressed, ReasonNone
	case p.hasAnother(n):
		return Undelivered, ReasonNumber // its receipts are about the other one
	case n < p.delivered && !slices.ContainsFunc(p.missing, in):
		return Delivered, ReasonNone
	}
	for _, f := range p.failed {
		if in(f.Range) {
			return Undelivered, f.Reason
		}
	}
	switch {
	case n < p.sent:
		return OnItsWay, ReasonNone
	case p.paused != ReasonNone:
		return Queued, p.paused
	default:
		return Queued, p.reason
	}
}

// History returns up to limit messages with positions below before (0: from the newest), newest first.
func (g *Group) History(tx kv.Tx, before uint64, limit int) []StoredMessage {
	if before == 0 || before > g.main.position {
		before = g.main.position
	}
	var out []StoredMessage
	for at := before; at > g.main.first && len(out) < limit; at-- {
		author, number, ok := g.at(tx, at-1)
		if !ok {
			continue
		}
		if k, ok := loadKept(tx, 'm', author, number); ok && k.position == at-1 {
			out = append(out, k.stored())
		}
	}
	return out
}

// Message returns a stored message; ErrUnknown if it is not kept.
func (g *Group) Message(tx kv.Tx, author Key, number uint64) (StoredMessage, error) {
	k, ok := loadKept(tx, 'm', author, number)
	if !ok {
		return StoredMessage{}, ErrUnknown
	}
	return k.stored(), nil
}

// StateHash returns a hash over the admitted operations and the state they mean: equal for two members exactly if both
// have the same log. Zero while joining.
func (g *Group) StateHash() [32]byte {
	if g.st == nil {
		return [32]byte{}
	}
	ids := make([]OpID, g.log.Len())
	for i := range ids {
		ids[i] = g.log.At(i).ID()
	}
	slices.SortFunc(ids, OpID.Compare)
	var b []byte
	for _, id := range ids {
		b = append(b, id[:]...)
	}
	b = wire.AppendU32(b, uint32(g.st.Len()))
	for _, m := range g.st.Members() {
		b = append(append(b, m.Key[:]...), byte(m.Role))
	}
	b = appendFlag(oplog.AppendPolicy(b, g.st.Policy()), g.st.Closed())
	for _, name := range g.st.Settings() {
		value, _, _ := g.st.Setting(name)
		b = wire.AppendStr16(wire.AppendStr8(b, []byte(name)), value)
	}
	return oplog.Hash(labelState, b)
}

// Counts returns how many agent messages this group has asked for since it was loaded, by what they were sent for.
func (g *Group) Counts() Counts { return g.counts }

// Problems returns how many frames of peers could not be used since the group was loaded: malformed ones, those of
// unknown tags or versions, those not allowed where they came, and bytes behind known fields.
func (g *Group) Problems() (malformed, unknown, misplaced, extra int) {
	return g.bad.frames, g.bad.unknown, g.bad.place, g.bad.extra
}
