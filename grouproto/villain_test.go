package grouproto

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// villain is a member that misbehaves: an honest group with somebody around it who holds its keys, sees all that it gets,
// changes what it sends and sends whatever it wants.
type villain struct {
	h       *hostile
	n       *node
	rng     *rand.Rand
	lies    float64              // share of outgoing frames that are changed
	silent  float64              // share of outgoing bodies that are dropped
	mute    map[Tag]bool         // frames that are never sent
	badInfo float64              // share of hellos that are wrong
	bodies  [][]byte             // from others, to be replayed
	hellos  [][]byte             // the same
	offers  []offer              // that it was to forward
	ghosts  []ed25519.PrivateKey // keys without an agent; some become members
	foreign *oplog.Op            // genesis of another group with the same key
	refs    Ref
	traps   int
	thief   bool // joins the requests that it was to pass on
}

func (h *hostile) newVillain(n *node, rng *rand.Rand) *villain {
	v := &villain{h: h, n: n, rng: rng, mute: map[Tag]bool{}, refs: 1 << 40}
	switch rng.IntN(4) {
	case 0:
		v.lies = 0.3
	case 1:
		v.lies, v.silent = 0.05, 0.2
	case 2:
		for range 1 + rng.IntN(3) {
			v.mute[[]Tag{TagOps, TagInvMem, TagMemInv, TagNeed, TagFwd, TagNone, TagSync, TagRcvd, TagMsg, TagDone, TagMem}[rng.IntN(11)]] = true
		}
	}
	if rng.IntN(3) == 0 {
		v.badInfo = 0.3
	}
	v.thief = rng.IntN(4) == 0
	for range 3 {
		v.ghosts = append(v.ghosts, v.newKey())
	}
	n.filter, n.hears = v.filter, v.hears
	return v
}

func (v *villain) newKey() ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(v.rng.Uint32())
	}
	return ed25519.NewKeyFromSeed(seed)
}

func public(k ed25519.PrivateKey) Key { return Key(k.Public().(ed25519.PublicKey)) }

func (v *villain) self() Key { return v.n.g.self }

func pick[T any](rng *rand.Rand, all []T) (x T) {
	if len(all) == 0 {
		return x
	}
	return all[rng.IntN(len(all))]
}

func (v *villain) chance(p float64) bool { return v.rng.Float64() < p }

func (v *villain) random32() (b [32]byte) {
	for i := range b {
		b[i] = byte(v.rng.Uint32())
	}
	return b
}

// somebody is a key: of a member, of a ghost, or of nobody.
func (v *villain) somebody() Key {
	switch v.rng.IntN(5) {
	case 0:
		return v.random32()
	case 1:
		return public(pick(v.rng, v.ghosts))
	default:
		if n := pick(v.rng, v.h.members()); n != nil {
			return n.g.self
		}
		return v.self()
	}
}

func (v *villain) number() uint64 {
	return []uint64{0, 1, 2, uint64(v.rng.IntN(12)), 1 << 20, 1 << 50, ^uint64(0) - 1, ^uint64(0)}[v.rng.IntN(8)]
}

func (v *villain) messageID() MessageID {
	id := MessageID{v.somebody(), v.number(), v.random32()}
	if v.chance(0.3) && len(v.n.g.main.tips) > 0 {
		id = pick(v.rng, v.n.g.main.tips)
	}
	return id
}

func (v *villain) heads() []OpID {
	switch v.rng.IntN(4) {
	case 0:
		return []OpID{v.random32(), v.random32()}
	case 1:
		return []OpID{v.n.g.log.At(v.rng.IntN(v.n.g.log.Len())).ID()}
	default:
		return v.n.g.log.Heads()
	}
}

// filter changes what the own group sends.
func (v *villain) filter(e Effect) []Effect {
	switch e := e.(type) {
	case SendConn:
		if v.n.g == nil || v.n.g.log == nil {
			return []Effect{e}
		}
		if body := v.changed(e.Body); body != nil {
			e.Body = body
			return []Effect{e}
		}
		v.n.later(v.h.delay(), func() { v.n.step(Sent{e.Conn, e.Ref}) })
		return nil
	case JoinConn:
		if v.chance(v.badInfo) {
			good := e.Hello
			e.Hello = func(b Binding) []byte { return v.badHello(good(b)) }
		}
		return []Effect{e}
	case AllowConn:
		if v.chance(v.badInfo) {
			e.Info = v.badHello(e.Info)
		}
		return []Effect{e}
	case DeleteConn:
		if v.chance(0.5) {
			return nil // may be good for something
		}
	}
	return []Effect{e}
}

// changed returns what is sent instead of a body; nil: nothing.
func (v *villain) changed(body []byte) []byte {
	if v.chance(v.silent) {
		v.did("withholds a body")
		return nil
	}
	frames, err := splitBody(body)
	if err != nil {
		return body
	}
	var b bundle
	for _, f := range frames {
		d, err := decodeFrame(f)
		if err != nil || d.frame == nil {
			b.add(f, forSync)
			continue
		}
		if v.mute[d.tag] {
			v.did("withholds a kind of frame")
			continue
		}
		if v.chance(v.lies) {
			v.change(d.frame)
			if f = encodeFrame(d.frame); !b.fits(f) {
				continue
			}
		}
		if b.fits(f) {
			b.add(f, forSync)
		}
	}
	return b.bytes()
}

// change makes a frame a lie.
func (v *villain) change(f frame) {
	switch f := f.(type) {
	case *opsFrame:
		if len(f.Ops) > 0 && v.chance(0.5) {
			f.Ops = slices.Delete(slices.Clone(f.Ops), 0, 1+v.rng.IntN(len(f.Ops)))
		}
		if v.chance(0.5) {
			f.Ops = append(slices.Clone(f.Ops), v.forgedOps()...)
		}
		f.Flags = uint8(v.rng.IntN(2))
	case *invMemFrame:
		v.did("swaps its own request")
		for i := range f.Offers {
			v.changeOffer(&f.Offers[i])
		}
	case *memInvFrame:
		v.did("swaps a request that it passes on")
		v.changeOffer(&f.Offer)
		if v.chance(0.3) {
			f.Ops = nil
		}
		if v.chance(0.3) {
			f.Card = bytes.Repeat([]byte{7}, 40)
		}
	case *needFrame:
		f.Initiator, f.Responder = v.somebody(), v.somebody()
	case *conFrame:
		f.Pairs = append(f.Pairs, conEntry{v.somebody(), uint8(v.rng.IntN(3)), uint8(v.rng.IntN(20))})
	case *msgFrame:
		v.did("changes a message")
		v.changeMessage(f.Message)
	case *fwdFrame:
		v.did("gives a false copy that was asked for")
		v.changeMessage(f.Message)
		if v.chance(0.2) {
			f.Author = v.somebody()
		}
	case *noneFrame:
		v.did("denies what it was asked for")
		for i := range f.Ranges {
			f.Ranges[i].Why = uint8(1 + v.rng.IntN(3))
			if v.chance(0.3) {
				f.Ranges[i].Range = Range{0, ^uint64(0)}
			}
		}
	case *rcvdFrame:
		f.Heads, f.UpTo = v.heads(), v.number()
		if v.chance(0.5) {
			f.Missing = []Range{{0, v.number()}}
		}
	case *syncFrame:
		v.changeSync(f)
	case *wantFrame:
		f.Ops = append(f.Ops, v.random32())
	case *memFrame:
		for i := range f.Members {
			f.Members[i].Level = uint8(v.rng.IntN(2))
		}
		f.Members = append(f.Members, memEntry{v.somebody(), 0})
	case *doneFrame:
		f.Forwarded = v.rng.Uint32()
	}
}

func (v *villain) changeOffer(o *offer) {
	switch v.rng.IntN(5) {
	case 0:
		o.Link = []byte(v.trap())
	case 1:
		o.Initiator = v.somebody()
	case 2:
		o.Responder = v.somebody()
	case 3:
		o.Attempt += 1 << 20
	default:
		o.Initiator, o.Link = v.self(), []byte(v.trap())
		o.sign(v.n.g.key, v.n.g.id)
	}
}

func (v *villain) changeMessage(m *message) {
	switch v.rng.IntN(6) {
	case 0:
		m.Body = []byte(fmt.Sprintf("a lie of %s, %x", v.n.name, v.random()))
	case 1:
		m.Heads = v.heads()
	case 2:
		m.Parents = []MessageID{v.messageID(), v.messageID()}
	case 3:
		m.Prev = v.random32()
	case 4:
		m.Number = v.number()
	default:
		m.Body = append(bytes.Clone(m.Body), '!')
	}
}

func (v *villain) changeSync(f *syncFrame) {
	f.Heads, f.Digest = v.heads(), v.random32()
	for i := range f.List {
		if v.chance(0.5) {
			f.List[i].Hash = v.random32()
		}
	}
	for range v.rng.IntN(4) {
		f.List = append(f.List, v.messageID())
	}
	f.List = f.List[:min(len(f.List), syncEntries)]
	f.Flags = uint8(v.rng.IntN(2))
}

// trap is the link of a connection request that the villain itself made.
func (v *villain) trap() string {
	v.traps++
	name := fmt.Sprintf("trap-%s-%d", v.n.name, v.traps)
	c := &simConn{owner: v.n, name: name, link: []byte("link to " + name)}
	v.h.put(c)
	return "link to " + name
}

func (v *villain) badHello(good []byte) []byte {
	v.did("says a wrong hello")
	switch v.rng.IntN(4) {
	case 0:
		return nil
	case 1:
		if len(v.hellos) > 0 {
			return pick(v.rng, v.hellos) // of another connection, perhaps the one it is reflected to
		}
	case 2:
		if h, err := decodeHello(good); err == nil {
			h.Group = v.foreignGroup()
			return h.sign(v.n.g.key, sideJoiner, v.random32())
		}
	}
	if len(good) == 0 {
		return good
	}
	bad := bytes.Clone(good)
	bad[v.rng.IntN(len(bad))] ^= 1 << v.rng.IntN(8)
	return bad
}

// hears keeps what may be of use later.
func (v *villain) hears(in Input) {
	keep := func(list *[][]byte, b []byte) {
		if *list = append(*list, bytes.Clone(b)); len(*list) > 40 {
			*list = (*list)[1:]
		}
	}
	switch in := in.(type) {
	case Conf:
		keep(&v.hellos, in.Info)
	case Info:
		keep(&v.hellos, in.Info)
	case Message:
		keep(&v.bodies, in.Body)
		frames, _ := splitBody(in.Body)
		for _, f := range frames {
			if d, err := decodeFrame(f); err == nil && d.tag == TagInvMem {
				v.offers = append(v.offers, d.frame.(*invMemFrame).Offers...)
				v.offers = v.offers[max(0, len(v.offers)-16):]
				if v.thief && v.chance(0.5) {
					v.steal()
				}
			}
		}
	}
}

// line returns the newest connection with a node that still exists, also one that the own group has given up.
func (v *villain) line(to *node) *simConn {
	var best *simConn
	for _, c := range v.h.made {
		if c.owner == v.n && c.peer != nil && c.peer.owner == to && !c.peer.deleted && (c.peer.peer == nil || c.peer.peer == c) {
			best = c
		}
		if c.owner == to && c.peer != nil && c.peer.owner == v.n && !c.deleted && c.peer.peer == c {
			best = c.peer
		}
	}
	return best
}

// say sends frames past the own group.
func (v *villain) say(to *node, frames ...frame) {
	var b bundle
	for _, f := range frames {
		raw := encodeFrame(f)
		if !b.fits(raw) {
			v.sayRaw(to, b.bytes())
			b = bundle{}
		}
		b.add(raw, forSync)
	}
	v.sayRaw(to, b.bytes())
}

func (v *villain) sayRaw(to *node, body []byte) {
	c := v.line(to)
	if c == nil || len(body) == 0 || len(body) > MaxFrames {
		return
	}
	v.refs++
	if v.h.trace != nil {
		v.h.trace(v.n, nil, SendConn{Conn: c.name, Body: body})
	}
	v.n.sendOver(SendConn{Conn: c.name, Ref: v.refs, Body: body})
}

func (v *villain) foreignGroup() GroupID {
	if v.foreign == nil {
		op, err := oplog.Sign(oplog.Body{Author: v.self(), Action: &oplog.Genesis{Policy: oplog.Symmetric()}}, v.n.g.key)
		if err != nil {
			panic(err)
		}
		v.foreign = op
	}
	return v.foreign.ID()
}

// signed makes an operation of the villain on some parents; nil: on its heads. It gets a right number unless it is changed.
func (v *villain) signed(a oplog.Action, parents []OpID, change func(*oplog.Body)) *oplog.Op {
	return v.signedBy(v.n.g.key, a, parents, change)
}

func (v *villain) signedBy(key ed25519.PrivateKey, a oplog.Action, parents []OpID, change func(*oplog.Body)) *oplog.Op {
	log := v.n.g.log
	if parents == nil {
		parents = log.Heads()
	}
	parents = slices.Clone(parents)
	slices.SortFunc(parents, OpID.Compare)
	b := oplog.Body{Group: log.Group(), Author: public(key), Parents: parents, Time: hour(v.n.now()), Action: a}
	for i := range log.Len() {
		if op := log.At(i); op.Author == b.Author && log.Includes(parents, op.ID()) {
			b.Seq = max(b.Seq, op.Seq+1)
		}
	}
	if change != nil {
		change(&b)
	}
	op, err := oplog.Sign(b, key)
	if err != nil {
		return nil
	}
	return op
}

// action is a random thing to write.
func (v *villain) action() oplog.Action {
	switch v.rng.IntN(6) {
	case 0:
		return &oplog.Add{Member: public(pick(v.rng, v.ghosts)), Role: oplog.Role(v.rng.IntN(4)), CardHash: v.random32()}
	case 1:
		if n := pick(v.rng, v.h.members()); n != nil && n != v.n && v.h.mayLose(n) {
			return &oplog.Remove{Members: []oplog.Removal{{Member: n.g.self, Cut: v.number()}}}
		}
	case 2:
		return &oplog.RoleChange{Member: v.somebody(), Role: oplog.Role(v.rng.IntN(5))}
	case 3:
		if v.chance(0.1) {
			return &oplog.Leave{}
		}
	}
	return &oplog.Set{Setting: oplog.Setting{Name: fmt.Sprint("title", v.rng.IntN(2)), Value: v.random()}}
}

func (v *villain) random() []byte { b := v.random32(); return b[:4] }

// forgedOps are operations that must not, or need not, be admitted.
func (v *villain) forgedOps() []*oplog.Op {
	log := v.n.g.log
	old := []OpID{log.At(v.rng.IntN(log.Len())).ID()}
	var op *oplog.Op
	switch v.rng.IntN(8) {
	case 0: // backdated
		op = v.signed(v.action(), old, nil)
	case 1:
		op = v.signed(v.action(), nil, func(b *oplog.Body) { b.Seq += uint64(1 + v.rng.IntN(3)) })
	case 2:
		op = v.signed(v.action(), nil, func(b *oplog.Body) { b.Time = 1 << 40 })
	case 3: // somebody else's key in it, or of another group
		op = v.signed(v.action(), nil, func(b *oplog.Body) { b.Group = v.foreignGroup() })
	case 4: // by somebody who is no member
		op = v.signedBy(pick(v.rng, v.ghosts), v.action(), nil, nil)
	case 5:
		op = v.signed(v.action(), []OpID{v.random32()}, nil) // waits for ever
	case 6:
		v.foreignGroup()
		op = v.foreign
	default:
		op = v.signed(&oplog.Set{Setting: oplog.Setting{Name: "title0", Value: bytes.Repeat([]byte{1}, 4000)}}, old, nil)
	}
	if op == nil {
		return nil
	}
	return []*oplog.Op{op}
}

// steal joins a request that the villain was to forward, in the place of the responder.
func (v *villain) steal() {
	if len(v.offers) == 0 {
		return
	}
	o := v.offers[len(v.offers)-1]
	v.traps++
	info := v.badHello(nil)
	if v.chance(0.5) {
		info = (&hello{Group: v.n.g.id, From: o.Responder, To: o.Initiator, Attempt: o.Attempt, Range: ownVersions}).sign(v.n.g.key, sideJoiner, v.random32())
	}
	v.h.stolen = true
	v.n.join(JoinConn{Conn: fmt.Sprintf("theft-%s-%d", v.n.name, v.traps), Link: o.Link, Hello: func(Binding) []byte { return info }})
}

func (v *villain) newOffer(to Key) offer {
	o := offer{Initiator: v.somebody(), Responder: to, Attempt: uint32(v.n.now().Unix()) + v.rng.Uint32()%1000, Expiry: v.n.now().Add(time.Hour).Unix(), Link: []byte(v.trap())}
	key := v.n.g.key
	if v.chance(0.3) {
		key = pick(v.rng, v.ghosts)
	}
	if v.chance(0.5) {
		o.Initiator = public(key)
	}
	o.sign(key, v.n.g.id)
	return o
}
