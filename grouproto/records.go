package grouproto

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/kv"
	"github.com/coterie-im/coterie/internal/wire"
)

// Records of one group: the first byte of a key is the kind, the first byte of a value the version of its format.
//
//	i                      identity: group ID, member key, card
//	g                      what changes about the group itself (mainRecord)
//	l …                    the log (package oplog)
//	p member               a peer: the pair
//	u member               how far own messages and receipts have come with the peer
//	q member               frames that wait to ride along with the next message to the peer
//	d member · u32         frames beyond the peer's rate, to be taken later
//	c author               the author's chain
//	m author · u64         a message
//	v author · u64         another content of the same message
//	t u64                  position → author · u64 number
//	n token                an invitation of this member
//	j member               a member that this one brings in
//	r u64                  an answer to an invitation that waits for the end of a recovery
//	h initiator · responder an offer to be passed on
//	w u64                  a message whose heads are not known yet
//	k member               a card
//	x member               frames of package directconn, or about other groups, that no relay has yet
//	L                      the own address and when to knock (linkRecord)
//	D name                 a door
//	R request              a request at the own address that waits for the client
var logPrefix = []byte("l")

func record(kind byte, parts ...[]byte) []byte {
	k := []byte{kind}
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}

func messageKey(kind byte, author Key, number uint64) []byte {
	return wire.AppendU64(record(kind, author[:]), number)
}

func numberKey(kind byte, n uint64) []byte { return wire.AppendU64([]byte{kind}, n) }

// Times are milliseconds since 1970 in records; 0 is the zero time.

func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return wire.AppendI64(dst, 0)
	}
	return wire.AppendI64(dst, t.UnixMilli())
}

func readTime(r *wire.Reader) time.Time {
	ms := r.I64()
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func appendDuration(dst []byte, d time.Duration) []byte { return wire.AppendI64(dst, d.Milliseconds()) }

func readDuration(r *wire.Reader) time.Duration { return time.Duration(r.I64()) * time.Millisecond }

func appendFlag(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func readFlag(r *wire.Reader) bool { return r.U8() != 0 }

const recordVersion = 1

func (g *Group) putIdentity(tx kv.Tx) {
	b := append([]byte{recordVersion}, g.id[:]...)
	b = append(b, g.key.Seed()...)
	tx.Put(record('i'), wire.AppendStr16(b, g.card))
}

func (g *Group) loadIdentity(tx kv.Tx) error {
	b, ok := tx.Get(record('i'))
	r := wire.NewReader(b)
	if !ok || r.U8() != recordVersion {
		return ErrRecords
	}
	g.id = GroupID(read32(r))
	seed := read32(r)
	g.card = bytes.Clone(r.Str16())
	if r.Done() != nil {
		return ErrRecords
	}
	g.key = ed25519.NewKeyFromSeed(seed[:])
	g.self = Key(g.key.Public().(ed25519.PublicKey))
	return nil
}

// mainRecord is what changes about the group itself.
type mainRecord struct {
	status   Status
	hasLog   bool // the log's genesis is here
	logDone  bool // the inviter said that the log is complete
	graceEnd time.Time
	endTold  bool // the client knows of the end (Removed, Left, Closed)

	// joining and reporting to the inviter
	inviter  Key
	contact  string // contact connection with the inviter
	token    Token
	expiry   time.Time // of the invitation
	joinDone bool      // every member known at the join has been reported as connected
	conAt    time.Time // when the next report may go out
	conWait  time.Duration

	// own messages
	next uint64   // number of the next one
	prev [32]byte // hash of the last one

	position   uint64        // of the next stored message
	first      uint64        // position of the oldest kept message
	tips       []MessageID   // messages that no other held message implies, own ones included
	ref        Ref           // last one used
	serial     uint64        // last number used for a record of a held message
	nextSync   time.Time     // of the regular G_SYNC
	lastSync   time.Time     // of any G_SYNC to random members
	syncAt     time.Time     // of G_SYNC after a reconnection
	spreadAt   time.Time     // when own adds go to those who have not heard of them
	sweeps     []removals    // of the last hour
	empty      bool          // Empty has been told
	upgrade    bool          // WarnUpgrade has been told
	run        uint64        // where the current run of own numbers began
	recovery   Recovery      // why nothing is written now
	asked      []askedMember // by the recovery
	askedUntil time.Time     // recoverWait after the first of them
	lacking    bool          // operations or messages were heard of, and who forgets that has to hear of them again
	claimAt    time.Time     // when a recovery last began for nothing but what a member said
}

// removals are how many members one author removed at a time.
type removals struct {
	author Key
	at     time.Time
	count  uint32
}

// mainVersion is that of the main record; version 1 did not know of recoveries, version 2 not whether something is lacking.
const mainVersion = 3

func (g *Group) putMain(tx kv.Tx) {
	m := &g.main
	b := appendFlag(appendFlag(append(g.scratch[:0], mainVersion, byte(m.status)), m.hasLog), m.logDone)
	b = appendTime(b, m.graceEnd)
	b = append(appendFlag(b, m.endTold), m.inviter[:]...)
	b = append(wire.AppendStr16(b, []byte(m.contact)), m.token[:]...)
	b = appendTime(appendFlag(appendTime(b, m.expiry), m.joinDone), m.conAt)
	b = wire.AppendU64(appendDuration(b, m.conWait), m.next)
	b = append(b, m.prev[:]...)
	b = wire.AppendU64(wire.AppendU64(b, m.position), m.first)
	b = wire.AppendU16(b, uint16(len(m.tips)))
	for _, id := range m.tips {
		b = appendMessageID(b, id)
	}
	b = wire.AppendU64(wire.AppendU64(b, uint64(m.ref)), m.serial)
	b = appendTime(appendTime(appendTime(appendTime(b, m.nextSync), m.lastSync), m.syncAt), m.spreadAt)
	b = wire.AppendU16(b, uint16(len(m.sweeps)))
	for _, r := range m.sweeps {
		b = wire.AppendU32(appendTime(append(b, r.author[:]...), r.at), r.count)
	}
	b = appendFlag(appendFlag(b, m.empty), m.upgrade)
	b = appendTime(append(wire.AppendU64(b, m.run), byte(m.recovery)), m.claimAt)
	b = wire.AppendU16(appendTime(b, m.askedUntil), uint16(len(m.asked)))
	for _, a := range m.asked {
		b = appendFlag(append(b, a.member[:]...), a.answered)
	}
	b = appendFlag(b, m.lacking)
	if !bytes.Equal(b, g.kept) {
		tx.Put(record('g'), b)
		g.kept, b = b, g.kept
	}
	g.scratch = b
}

func (g *Group) loadMain(tx kv.Tx) error {
	b, ok := tx.Get(record('g'))
	r := wire.NewReader(b)
	version := r.U8()
	if !ok || version == 0 || version > mainVersion {
		return ErrRecords
	}
	m := mainRecord{status: Status(r.U8()), hasLog: readFlag(r), logDone: readFlag(r)}
	m.graceEnd, m.endTold, m.inviter = readTime(r), readFlag(r), readKey(r)
	m.contact = string(r.Str16())
	r.Copy(m.token[:])
	m.expiry, m.joinDone, m.conAt, m.conWait = readTime(r), readFlag(r), readTime(r), readDuration(r)
	m.next, m.prev, m.position, m.first = r.U64(), read32(r), r.U64(), r.U64()
	for n := r.U16(); n > 0 && r.Err() == nil; n-- {
		m.tips = append(m.tips, readMessageID(r))
	}
	m.ref, m.serial = Ref(r.U64()), r.U64()
	m.nextSync, m.lastSync, m.syncAt, m.spreadAt = readTime(r), readTime(r), readTime(r), readTime(r)
	for n := r.U16(); n > 0 && r.Err() == nil; n-- {
		m.sweeps = append(m.sweeps, removals{readKey(r), readTime(r), r.U32()})
	}
	m.empty, m.upgrade = readFlag(r), readFlag(r)
	if version > 1 {
		m.run, m.recovery, m.claimAt, m.askedUntil = r.U64(), Recovery(r.U8()), readTime(r), readTime(r)
		for n := r.U16(); n > 0 && r.Err() == nil; n-- {
			m.asked = append(m.asked, askedMember{readKey(r), readFlag(r)})
		}
	}
	if version > 2 {
		m.lacking = readFlag(r)
	}
	if r.Done() != nil {
		return ErrRecords
	}
	g.main, g.kept = m, bytes.Clone(b)
	return nil
}

// load reads everything. What it reads was written by this package, so anything unexpected is ErrRecords.
func (g *Group) load(tx kv.Tx) error {
	if err := g.loadIdentity(tx); err != nil {
		return err
	}
	if err := g.loadMain(tx); err != nil {
		return err
	}
	if g.main.hasLog {
		log, err := oplog.Load(tx, logPrefix, g.logOptions...)
		if err != nil {
			return err
		}
		g.log, g.st = log, log.State()
	}
	var err error
	each := func(kind byte, take func(rest, value []byte) error) {
		tx.Scan([]byte{kind}, nil, func(k, v []byte) bool {
			err = take(k[1:], v)
			return err == nil
		})
	}
	steps := []func(){
		func() { each('p', g.loadPeer) },
		func() { each('u', g.loadWay) },
		func() { each('q', g.loadQueue) },
		func() { each('x', g.loadDirect) },
		func() { each('c', g.loadChain) },
		func() { each('n', g.loadInvite) },
		func() { each('j', g.loadJoiner) },
		func() { each('h', g.loadHeldOffer) },
		func() { each('w', g.loadHeldMessage) },
		func() { each('d', g.loadDelayed) },
		func() { each('L', g.loadLink) },
		func() { each('D', g.loadDoor) },
		func() { each('R', g.loadRequest) },
	}
	for _, load := range steps {
		if load(); err != nil {
			return err
		}
	}
	g.resumeAsks()
	return nil
}

func (g *Group) loadChain(k, v []byte) error {
	if len(k) != 32 {
		return ErrRecords
	}
	c, err := decodeChain(Key(k), v)
	if err != nil {
		return err
	}
	g.chains[c.author] = c
	return nil
}

func u64of(b []byte) (uint64, bool) {
	if len(b) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(b), true
}
