package grouproto

import (
	"crypto/ed25519"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/kv"
)

// CreateOptions are what a new group starts with.
type CreateOptions struct {
	Policy   Policy
	Settings []oplog.Setting // ascending by name
	Card     []byte          // the creator's card content, without the random bytes before it; at most MaxCard-16 bytes
}

// Group is one member's side of one group. It is owned by one goroutine; after a transaction failed it must be thrown
// away and loaded again.
//
//	invited side                         member                       not a member any more
//	Accept ─→ joining ─ log and own add ─→ member ─ leave ─→ left ───┐
//	  Ask ─→ asking ─ G_INV ─↗               │                         │
//	           Create ─────────────────────→ │ ──── removed ─→ removed ├─ 24 h ─→ gone
//	                                         │ ──── close ───→ closed ┘
//	                                         └──── removal or close loses its effect ←──┘
type Group struct {
	id   GroupID
	self Key
	key  ed25519.PrivateKey
	card []byte // own, with its random bytes
	log  *oplog.Log
	st   *oplog.State // of log; nil while joining

	main    mainRecord
	peers   map[Key]*peer
	order   []*peer // peers, ascending by key
	conns   map[string]*peer
	chains  map[Key]*chain
	invites map[Token]*invite
	joiners map[Key]*joiner
	held    []*heldOffer   // offers that wait for their responder to be connected
	waiting []*heldMessage // messages whose heads are not known yet

	link     linkRecord          // the own address, and knocking
	doors    map[string]*door    // temporary connections, by name
	requests map[string]*request // at the own address, waiting for the client

	logOptions []oplog.Option // for tests

	// Not stored: lost with the process at no harm.
	kept    []byte // the main record as last written
	scratch []byte // where a record is encoded before it is known whether it has changed
	counts  Counts
	asks    map[Key]*ask       // repair of one author's gaps
	wantOps map[OpID]*wantedOp // operations that were heard of
	doubts  map[Key]bool       // who named another content of a message of the current run
	odd     map[Key]oddDigest  // digests of peers that differ from the own one
	parted  map[Key]bool       // pairs whose ratchets have parted since the question whose store is old
	checked bool               // a member has told what it has since the group was loaded, or so long was waited
	behind  bool               // something was missing at the end of the last step
	gappy   int                // authors with gaps
	delayed int                // frames in the records of delayed frames
	bad     ignored
	asked   bucket        // requests at the own address
	knocks  bucket        // of members among them
	logAt   time.Time     // when a joining member asks for the log
	logWait time.Duration // between two such questions

	conAgain  time.Time // when a new member says its whole report once more
	conSaid   bool      // it has
	doneHeard bool      // G_DONE came

	hits    hits
	dropped uint64 // of the counters of the log, as last seen
	crowded uint64

	digestKept knownDigest // of st, while no chain changes

	wakeAt    time.Time // result of NextWake, if wakeKnown
	wakeKnown bool      // nothing has happened since that can make it earlier
}

// Create makes a group of one (GNEW): a fresh member key and the genesis.
func Create(env Env, o CreateOptions) (*Group, []Effect, error) {
	if len(o.Card) > MaxCard-cardSalt {
		return nil, nil, ErrTooLarge
	}
	if o.Policy.OpsVersion > oplog.Version() {
		return nil, nil, ErrUpgrade
	}
	g := empty()
	s := &step{Group: g, env: env}
	g.newKey(env, o.Card)
	genesis := &oplog.Genesis{Random: random32(env), Policy: o.Policy, Settings: o.Settings}
	op, err := oplog.Sign(oplog.Body{Author: g.self, Time: hour(env.Now), Action: genesis}, g.key)
	if err != nil {
		return nil, nil, opError(err)
	}
	if g.log, err = oplog.New(env.Tx, logPrefix, op); err != nil {
		return nil, nil, err
	}
	g.id, g.st = op.ID(), g.log.State()
	g.main.status = StatusMember
	g.main.hasLog, g.main.logDone, g.main.joinDone = true, true, true
	g.main.nextSync = env.Now.Add(syncEvery)
	g.putIdentity(env.Tx)
	s.notice(Empty{})
	s.finish()
	return g, s.out, nil
}

// Load brings a group back from its records. ErrRecords, or an error of package oplog.
func Load(tx kv.Tx) (*Group, error) { return loadWith(tx) }

func loadWith(tx kv.Tx, options ...oplog.Option) (*Group, error) {
	g := empty()
	g.logOptions = options
	if err := g.load(tx); err != nil {
		return nil, err
	}
	return g, nil
}

func empty() *Group {
	return &Group{
		peers:    map[Key]*peer{},
		conns:    map[string]*peer{},
		chains:   map[Key]*chain{},
		invites:  map[Token]*invite{},
		joiners:  map[Key]*joiner{},
		asks:     map[Key]*ask{},
		wantOps:  map[OpID]*wantedOp{},
		odd:      map[Key]oddDigest{},
		doors:    map[string]*door{},
		requests: map[string]*request{},
	}
}

// newKey makes the member key and the card.
func (g *Group) newKey(env Env, content []byte) {
	seed := random32(env)
	g.key = ed25519.NewKeyFromSeed(seed[:])
	g.self = Key(g.key.Public().(ed25519.PublicKey))
	salt := random16(env)
	g.card = append(salt[:], content...)
}

// Step takes one input.
func (g *Group) Step(env Env, in Input) []Effect {
	s := &step{Group: g, env: env}
	if sent, ok := in.(Sent); ok && s.onlySent(sent) {
		return s.out
	}
	s.wide = s.judgeKept() || !g.narrow(env, in)
	s.take(in)
	if s.wide {
		s.finish()
	} else {
		s.finishNarrow()
	}
	return s.out
}

// NextWake tells when a Tick is wanted; the zero time means never. It may be in the past: then at once.
func (g *Group) NextWake() time.Time {
	if !g.wakeKnown {
		g.wakeAt, g.wakeKnown = g.nextWake(), true
	}
	return g.wakeAt
}

// Pending returns, after a restart, the operations on connections that have not been answered yet: NewConn, JoinConn and
// DeleteConn. The connection layer ignores those whose names it knows already.
func (g *Group) Pending(env Env) []Effect {
	s := &step{Group: g, env: env}
	s.pending()
	return s.out
}
