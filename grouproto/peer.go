package grouproto

import (
	"bytes"
	"crypto/sha256"
	"time"

	"github.com/coterie-im/coterie/internal/kv"
	"github.com/coterie-im/coterie/internal/wire"
)

const (
	t1            = 60 * time.Second // first wait for a hello; doubles
	t1Most        = time.Hour
	needWait      = t1 / 2           // how long a new connection is believed to work though G_NEED comes over it
	replaceEvery  = time.Hour        // a working connection is replaced once in this time at most
	rideTime      = 2 * time.Second  // how long a frame waits to ride along with another message
	windowSize    = 8                // messages of the fan-out that one connection holds at a time
	quotaWait     = time.Hour        // after which a paused member gets a G_SYNC to see whether it reads again
	syncEvery     = 6 * time.Hour    // regular G_SYNC
	gapWait       = 5 * time.Second  // before a gap is asked for
	askWait       = 30 * time.Second // before another member is asked
	headsWait     = 30 * time.Second // that a message waits for the operations it names
	oldKept       = t1               // how long a connection is kept beside the one that has replaced it
	mostConns     = 4                // connections of one pair, old and new; the oldest unfinished one goes
	mostFailed    = 16               // ranges of given up messages that are kept per member
	mostPeerHeads = 16
	mostUnheard   = 4 // questions to a member that does not answer
)

// connState is where a connection of a pair is (docs/groups.md, "The pair connection"). I0 and R0 are a pair without a
// connection; R1 and R2 are one state here, because the connection layer says nothing between them.
type connState uint8

const (
	connMaking  connState = iota + 1 // I0→I1: the request is being made
	connOffered                      // I1
	connAllowed                      // I2
	connJoined                       // R1, R2
	connReady                        // I3, R3
)

// pairConn is one connection of a pair. Fields are stored with the peer.
type pairConn struct {
	name    string
	side    side
	state   connState
	attempt uint32
	expiry  time.Time // of the offer
	link    []byte    // own request to be offered, or the peer's that was joined
	routed  bool      // the offer is on its way by some route
	broken  bool      // sending failed for good
	deaf    bool      // receiving failed for good; what is sent may still arrive
	told    []OpID    // own heads in the hello that was sent
	until   time.Time // it was replaced and is deleted then; zero: it was not
	rebound rebound   // about its ratchet
	madeAt  time.Time // when the link was ready; not stored
	readyAt time.Time // when frames began to flow; not stored
}

// handed is a body with own messages that the connection has not reported as sent.
type handed struct {
	ref  Ref
	conn string
	upTo uint64 // messages below it are in this or earlier bodies
	from uint64
}

// failure is a range of own messages that were given up for a member.
type failure struct {
	Range  Range
	Reason Reason
}

// queued is a frame that waits to be sent.
type queued struct {
	due     time.Time
	purpose purpose
	frame   []byte
}

// peer is another member, present or not.
type peer struct {
	key       Key
	conns     []*pairConn // in the order of their making
	connected bool        // PairConnected was told and nothing to the contrary

	// making connections
	attempt     uint32    // highest of this pair, own or seen
	attemptsDay time.Time // start of the day in which attempts are counted
	attemptsNum uint16
	retryAt     time.Time // T1: offer again, or G_NEED; zero: nothing to do
	retryWait   time.Duration
	lastRoute   Key
	replacedAt  time.Time // when a working or broken connection was last to be replaced
	replace     bool      // make a new connection beside the working one
	reason      Reason    // why not connected
	reported    uint8     // 1 + state last told to the inviter
	level       uint8     // 1: not connected to the inviter at the join

	// what it knows
	knows []OpID // heads that it has, as it said or as was handed over to it

	// own messages to it
	first     uint64 // the first one meant for it
	next      uint64 // next one to hand over
	sent      uint64 // below it sent or given up
	delivered uint64 // below it received, except missing
	missing   []Range
	failed    []failure
	window    []handed
	paused    Reason
	pausedAt  time.Time
	resync    bool // when it goes on, one G_SYNC instead of what it missed

	// receipts to it
	receiptDue  time.Time // zero: nothing changed
	receiptLast time.Time

	lastHeard time.Time
	endedAt   time.Time // not present since; zero: present
	goneTold  bool      // it was sent the operation that ended its presence

	direct []directOut // and frames about other groups: not with a relay yet; stored under x

	// Not stored.
	pairKept  [32]byte             // hash of the record p as last written
	wayKept   [32]byte             // and of the record u
	out       []queued             // stored under q when the step ends with something left
	outKept   bool                 // a record q exists
	frames    bucket               // G_MSG and G_OPS it sends
	wants     bucket               // G_WANT and G_SYNC it sends
	questions bucket               // the same, for warnings
	relays    bucket               // offers and G_NEED that it wants passed on
	copies    bucket               // bytes of G_FWD to it
	asks      bucket               // frames of package directconn that it sends
	given     bucket               // bytes of operations that it gets because it says that it lacks them
	logs      bucket               // times that it asks for the log while it joins, or gets a long part of it
	invites   bucket               // G_INV of other groups that it sends
	answers   bucket               // and answers to such
	early     bucket               // own messages that it says are others
	looks     bucket               // messages that it names and that were given up before
	claims    []OpID               // heads that it named and that are not here yet
	unheard   int                  // G_WANT, G_SYNC and G_NEED to it since something came from it
	askedAt   time.Time            // the last of these
	warned    [numLimits]time.Time // when the client was last told of a limit that it met
	warnings  [WarnCard + 1]bucket // about it, by kind
	askedBack time.Time            // when it was asked for another offer than the one that it repeats
	listAsked bool                 // it was asked for its list
	alike     bool                 // the digest in its last hello was the own one
	delayedN  uint32               // serial of its next delayed frame
	delayed   int
}

// A peer has two records: p is the pair, which changes when connections are made and operations go round, and u is how far
// everything has come, which changes with every message and is small. Version 1 had all of it in p; version 2 of p knew
// nothing of ratchets.
const (
	peerVersion = 3
	wayVersion  = 1
)

// put writes what has changed. It returns the buffer in which it was encoded.
func (p *peer) put(tx kv.Tx, b []byte) []byte {
	b = p.appendPair(b[:0])
	if h := sha256.Sum256(b); h != p.pairKept {
		tx.Put(record('p', p.key[:]), b)
		p.pairKept = h
	}
	b = p.appendWay(b[:0])
	if h := sha256.Sum256(b); h != p.wayKept {
		tx.Put(record('u', p.key[:]), b)
		p.wayKept = h
	}
	return b
}

func (p *peer) appendPair(b []byte) []byte {
	b = appendFlag(append(b, peerVersion), p.connected)
	b = append(b, byte(len(p.conns)))
	for _, c := range p.conns {
		b = append(wire.AppendStr8(b, []byte(c.name)), byte(c.side), byte(c.state))
		b = wire.AppendStr16(appendTime(wire.AppendU32(b, c.attempt), c.expiry), c.link)
		b = appendIDs(appendFlag(appendFlag(appendFlag(b, c.routed), c.broken), c.deaf), c.told)
		b = c.rebound.append(appendTime(b, c.until))
	}
	b = wire.AppendU16(appendTime(wire.AppendU32(b, p.attempt), p.attemptsDay), p.attemptsNum)
	b = append(appendDuration(appendTime(b, p.retryAt), p.retryWait), p.lastRoute[:]...)
	b = append(appendFlag(appendTime(b, p.replacedAt), p.replace), byte(p.reason), p.reported, p.level)
	b = wire.AppendU64(appendIDs(b, p.knows), p.first)
	return appendFlag(appendTime(b, p.endedAt), p.goneTold)
}

func (p *peer) appendWay(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU64(append(b, wayVersion), p.next), p.sent)
	b = wire.AppendU64(b, p.delivered)
	b = wire.AppendU16(b, uint16(len(p.missing)))
	for _, m := range p.missing {
		b = appendRange(b, m)
	}
	b = wire.AppendU16(b, uint16(len(p.failed)))
	for _, f := range p.failed {
		b = append(appendRange(b, f.Range), byte(f.Reason))
	}
	b = wire.AppendU16(b, uint16(len(p.window)))
	for _, h := range p.window {
		b = wire.AppendStr8(wire.AppendU64(b, uint64(h.ref)), []byte(h.conn))
		b = wire.AppendU64(wire.AppendU64(b, h.from), h.upTo)
	}
	b = appendFlag(appendTime(append(b, byte(p.paused)), p.pausedAt), p.resync)
	return appendTime(appendTime(appendTime(b, p.receiptDue), p.receiptLast), p.lastHeard)
}

func (g *Group) loadPeer(k, v []byte) error {
	r := wire.NewReader(v)
	version := r.U8()
	if len(k) != 32 || version == 0 || version > peerVersion {
		return ErrRecords
	}
	p := &peer{key: Key(k), connected: readFlag(r)}
	for n := r.U8(); n > 0 && r.Err() == nil; n-- {
		c := &pairConn{name: string(r.Str8()), side: side(r.U8()), state: connState(r.U8())}
		c.attempt, c.expiry, c.link = r.U32(), readTime(r), bytes.Clone(r.Str16())
		c.routed, c.broken, c.deaf, c.told = readFlag(r), readFlag(r), readFlag(r), readIDs(r, mostPeerHeads)
		if c.until = readTime(r); version >= 3 {
			c.rebound = readRebound(r)
		}
		p.conns = append(p.conns, c)
		g.conns[c.name] = p
	}
	p.attempt, p.attemptsDay, p.attemptsNum = r.U32(), readTime(r), r.U16()
	p.retryAt, p.retryWait, p.lastRoute = readTime(r), readDuration(r), readKey(r)
	p.replacedAt, p.replace = readTime(r), readFlag(r)
	p.reason, p.reported, p.level = Reason(r.U8()), r.U8(), r.U8()
	p.knows = readIDs(r, mostPeerHeads)
	p.first = r.U64()
	if version == 1 {
		p.readDeliveries(r)
		p.receiptDue, p.receiptLast, p.lastHeard = readTime(r), readTime(r), readTime(r)
	} else {
		p.pairKept = sha256.Sum256(v)
	}
	p.endedAt, p.goneTold = readTime(r), readFlag(r)
	if r.Done() != nil {
		return ErrRecords
	}
	g.insert(p)
	return nil
}

func (p *peer) readDeliveries(r *wire.Reader) {
	p.next, p.sent, p.delivered = r.U64(), r.U64(), r.U64()
	for n := r.U16(); n > 0 && r.Err() == nil; n-- {
		p.missing = append(p.missing, readRange(r))
	}
	for n := r.U16(); n > 0 && r.Err() == nil; n-- {
		p.failed = append(p.failed, failure{readRange(r), Reason(r.U8())})
	}
	for n := r.U16(); n > 0 && r.Err() == nil; n-- {
		p.window = append(p.window, handed{ref: Ref(r.U64()), conn: string(r.Str8()), from: r.U64(), upTo: r.U64()})
	}
	p.paused, p.pausedAt, p.resync = Reason(r.U8()), readTime(r), readFlag(r)
}

func (g *Group) loadWay(k, v []byte) error {
	r := wire.NewReader(v)
	if len(k) != 32 || r.U8() != wayVersion || g.peers[Key(k)] == nil {
		return ErrRecords
	}
	p := g.peers[Key(k)]
	p.readDeliveries(r)
	p.receiptDue, p.receiptLast, p.lastHeard = readTime(r), readTime(r), readTime(r)
	p.wayKept = sha256.Sum256(v)
	if r.Done() != nil {
		return ErrRecords
	}
	return nil
}

func (p *peer) putQueue(tx kv.Tx) {
	k := record('q', p.key[:])
	if len(p.out) == 0 {
		if p.outKept {
			tx.Delete(k)
			p.outKept = false
		}
		return
	}
	b := []byte{recordVersion}
	for _, q := range p.out {
		b = wire.AppendStr16(append(appendTime(b, q.due), byte(q.purpose)), q.frame)
	}
	tx.Put(k, b)
	p.outKept = true
}

func (g *Group) loadQueue(k, v []byte) error {
	r := wire.NewReader(v)
	if len(k) != 32 || r.U8() != recordVersion || g.peers[Key(k)] == nil {
		return ErrRecords
	}
	p := g.peers[Key(k)]
	for r.Len() > 0 {
		p.out = append(p.out, queued{due: readTime(r), purpose: purpose(r.U8()), frame: bytes.Clone(r.Str16())})
	}
	p.outKept = true
	if r.Err() != nil || len(p.out) == 0 {
		return ErrRecords
	}
	return nil
}

// conn returns the pair's connection with a name.
func (p *peer) conn(name string) *pairConn {
	for _, c := range p.conns {
		if c.name == name {
			return c
		}
	}
	return nil
}

// ready returns the newest connection over which frames can be sent and both hellos were good; nil if there is none.
func (p *peer) ready() *pairConn {
	for i := len(p.conns) - 1; i >= 0; i-- {
		if c := p.conns[i]; c.state == connReady && !c.broken && c.rebound.fit == fits {
			return c
		}
	}
	return nil
}

// healthy tells whether frames flow both ways.
func (p *peer) healthy() bool {
	c := p.ready()
	return c != nil && !c.deaf
}

// sendable returns the connection to send frames over: a ready one, else the newest that was joined and not answered
// yet, whose other end keeps frames until it has checked our hello.
func (p *peer) sendable() *pairConn {
	if c := p.ready(); c != nil {
		return c
	}
	for i := len(p.conns) - 1; i >= 0; i-- {
		if c := p.conns[i]; c.state == connJoined && !c.broken {
			return c
		}
	}
	return nil
}

// offering returns the connection that is being made or offered and not answered yet.
func (p *peer) offering() *pairConn {
	for i := len(p.conns) - 1; i >= 0; i-- {
		if c := p.conns[i]; c.state == connMaking || c.state == connOffered || c.state == connAllowed {
			return c
		}
	}
	return nil
}

// asleep tells whether a member has left so many questions without an answer that it gets no more of them for an hour, or
// until something comes from it: they would pile up at its relay and, when it wakes, look like a flood to it.
func (p *peer) asleep(now time.Time) bool {
	since := now.Sub(p.askedAt)
	return p.unheard >= mostUnheard && since >= 0 && since < t1Most
}

// ended tells whether the member is not present any more.
func (p *peer) ended() bool { return !p.endedAt.IsZero() }

// bucket is a token bucket. The zero value is full. It is not stored: a restart fills it.
type bucket struct {
	used float64
	at   time.Time
}

// take takes n tokens of a bucket that holds burst and is refilled at a rate per second; false if there are not enough.
func (b *bucket) take(now time.Time, n, burst, rate float64) bool {
	if passed := now.Sub(b.at).Seconds(); passed > 0 && !b.at.IsZero() {
		b.used = max(0, b.used-passed*rate)
	}
	b.at = now
	if b.used+n > burst {
		return false
	}
	b.used += n
	return true
}

// wait is how long it takes until n tokens are there.
func (b *bucket) wait(now time.Time, n, burst, rate float64) time.Duration {
	used := b.used - now.Sub(b.at).Seconds()*rate
	if over := used + n - burst; over > 0 {
		return time.Duration(over/rate*float64(time.Second)) + time.Millisecond
	}
	return 0
}
