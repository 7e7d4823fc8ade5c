package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/grouproto"
	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

// simVillain is a member that misbehaves: an honest agent with somebody around it who knows its member key, sees the frames
// that its group sends, changes them, and sends others. What needs no real agent to be shown has more kinds and more seeds in
// the simulation of the group core alone (TestHostile in grouproto): sweeps, members that nobody is, raised roles, whole
// lists of lies. Here are those kinds where the keys, bindings and confirmations are the real ones, and what honest agents
// then store, tell and repair.
type simVillain struct {
	p       *simPerson
	rng     *rand.Rand
	lies    float64                // share of messages, copies and offers that are changed
	hellos  float64                // share of hellos that are wrong
	mute    map[grouproto.Tag]bool // frames that are kept back
	seeds   [][]byte               // everything that could be the member key
	key     ed25519.PrivateKey     // once it is known
	group   grouproto.GroupID
	heads   []oplog.ID
	seq     uint64   // of the next own operation
	bodies  [][]byte // to be replayed
	copies  [][]byte // messages of others, as they were passed on
	links   [][]byte // requests that were to be passed on
	proofs  [][]byte // hellos of before
	refs    grouproto.Ref
	written int

	equivocated bool // and others must have heard both
}

// misbehave makes a person the one who misbehaves.
func (p *simPerson) misbehave() {
	v := &simVillain{p: p, rng: rand.New(rand.NewPCG(p.w.seed, 1)), mute: map[grouproto.Tag]bool{}, refs: 1 << 40}
	switch v.rng.IntN(4) {
	case 0:
		v.lies = 0.3
	case 1:
		for range 1 + v.rng.IntN(3) {
			v.mute[grouproto.Tag(5+v.rng.IntN(15))] = true
		}
	case 2:
		v.hellos = 0.3
	default:
		v.lies, v.hellos = 0.1, 0.1
	}
	p.villain = v
	p.rand.heard = func(b []byte) {
		if len(b) == ed25519.SeedSize && v.key == nil {
			v.seeds = append(v.seeds, bytes.Clone(b))
		}
	}
}

// effect returns what is around the own groups, nil for who behaves.
func (p *simPerson) effect() func(*turn, *groupEntry, grouproto.Effect) []grouproto.Effect {
	if p.villain == nil {
		return nil
	}
	return p.villain.effect
}

func (v *simVillain) chance(p float64) bool { return v.rng.Float64() < p }

func (v *simVillain) did(what string) {
	v.p.w.mu.Lock()
	defer v.p.w.mu.Unlock()
	v.p.w.saw(what)
}

// effect is called by the agent's loop.
func (v *simVillain) effect(t *turn, g *groupEntry, effect grouproto.Effect) []grouproto.Effect {
	v.know(g)
	switch f := effect.(type) {
	case grouproto.SendConn:
		v.keep(f.Body)
		if f.Body = v.changed(f.Body); f.Body == nil {
			t.groupInput(g.id, grouproto.Sent{Conn: f.Conn, Ref: f.Ref})
			return nil
		}
		return []grouproto.Effect{f}
	case grouproto.JoinConn:
		hello := f.Hello
		f.Hello = func(b grouproto.Binding) []byte { return v.hello(hello(b)) }
		return []grouproto.Effect{f}
	case grouproto.AllowConn:
		f.Info = v.hello(f.Info)
		return []grouproto.Effect{f}
	}
	return []grouproto.Effect{effect}
}

// know finds the member key among the randomness that the agent has used.
func (v *simVillain) know(g *groupEntry) {
	if v.key != nil {
		return
	}
	for _, seed := range v.seeds {
		key := ed25519.NewKeyFromSeed(seed)
		if self := g.core.Self(); bytes.Equal(self[:], key.Public().(ed25519.PublicKey)) {
			v.key, v.group = key, g.core.ID()
			v.seeds = nil
			return
		}
	}
}

// hello returns what is said instead of a hello.
func (v *simVillain) hello(good []byte) []byte {
	v.proofs = append(v.proofs, good)
	if !v.chance(v.hellos) || len(good) == 0 {
		return good
	}
	v.did("says a wrong hello")
	if v.chance(0.3) {
		return v.proofs[v.rng.IntN(len(v.proofs))] // of another connection, or this one
	}
	return v.flipped(good)
}

func (v *simVillain) flipped(b []byte) []byte {
	b = bytes.Clone(b)
	b[v.rng.IntN(len(b))] ^= 1 << v.rng.IntN(8)
	return b
}

const simFrameHead = 3 // version and tag

func frameTag(f []byte) grouproto.Tag { return grouproto.Tag(f[2]) }

func framesOf(body []byte) (frames [][]byte) {
	for r := wire.NewReader(body); r.Len() > 0 && r.Err() == nil; {
		if f := bytes.Clone(r.Str16()); len(f) >= simFrameHead {
			frames = append(frames, f)
		}
	}
	return frames
}

func newFrame(tag grouproto.Tag, fields []byte) []byte {
	return append(append(wire.AppendU16(nil, 1), byte(tag)), fields...)
}

// keep remembers what may be of use later.
func (v *simVillain) keep(body []byte) {
	some := func(list *[][]byte, b []byte) {
		if *list = append(*list, bytes.Clone(b)); len(*list) > 30 {
			*list = (*list)[1:]
		}
	}
	some(&v.bodies, body)
	for _, f := range framesOf(body) {
		r := wire.NewReader(f[simFrameHead:])
		switch frameTag(f) {
		case grouproto.TagOps:
			r.U8()
			for n := r.U16(); n > 0 && r.Err() == nil; n-- {
				if op, err := oplog.ReadSigned(r); err == nil && v.key != nil && bytes.Equal(op.Author[:], v.key.Public().(ed25519.PublicKey)) {
					v.seq = max(v.seq, op.Seq+1)
				}
			}
		case grouproto.TagRcvd, grouproto.TagSync:
			var heads []oplog.ID
			for n := r.U8(); n > 0 && r.Err() == nil; n-- {
				heads = append(heads, oplog.ID(r.Fixed(32)))
			}
			if r.Err() == nil && len(heads) > 0 {
				v.heads = heads
			}
		case grouproto.TagFwd:
			some(&v.copies, f)
		case grouproto.TagMemInv:
			r.Fixed(32 + 32 + 4 + 8)
			if link := r.Str16(); r.Err() == nil {
				some(&v.links, link)
			}
		}
	}
}

// changed returns what is sent instead of a body; nil: nothing.
func (v *simVillain) changed(body []byte) (out []byte) {
	for _, f := range framesOf(body) {
		tag := frameTag(f)
		if v.mute[tag] {
			v.did("keeps a frame back")
			continue
		}
		if v.chance(v.lies) {
			switch tag {
			case grouproto.TagMsg:
				v.did("says another thing to one member")
				f[len(f)-1] ^= 1
			case grouproto.TagFwd:
				v.did("gives a false copy")
				f[len(f)-1] ^= 1
			case grouproto.TagMemInv:
				v.did("swaps a request")
				at := simFrameHead + 32 + 32 + 4 + 8 + 2
				if other := v.links[v.rng.IntN(len(v.links))]; len(other) > 0 && v.chance(0.5) {
					copy(f[at:min(len(f), at+len(other))], other)
				} else {
					f[at+v.rng.IntN(200)] ^= 1
				}
			case grouproto.TagOps, grouproto.TagSync, grouproto.TagNone, grouproto.TagRcvd, grouproto.TagNeed:
				v.did("sends a broken frame")
				f = v.flipped(f)
			}
		}
		out = wire.AppendStr16(out, f)
	}
	return out
}

// mischief lets who misbehaves do something by itself.
func (w *simWorld) mischief() {
	if p := w.villainOf(); p != nil && p.agent != nil && p.status == "member" && w.chance(0.1) {
		p.villain.move()
		w.settle()
		w.reap()
	}
}

// move does one thing that no honest member does.
func (v *simVillain) move() {
	pairs := v.p.pairs()
	if len(pairs) == 0 || v.key == nil || len(v.bodies) == 0 || len(v.heads) == 0 {
		return
	}
	to := pairs[v.rng.IntN(len(pairs))]
	switch v.rng.IntN(8) {
	case 0:
		v.did("replays")
		for range 1 + v.rng.IntN(4) {
			v.say(to, v.bodies[v.rng.IntN(len(v.bodies))])
		}
	case 1:
		v.equivocate(pairs)
	case 2:
		v.forge(to)
	case 3:
		v.lie(to)
	case 4:
		v.did("floods")
		for range 40 + v.rng.IntN(120) {
			v.sayFrames(to, newFrame(grouproto.TagWant, append([]byte{1}, append(v.random(32), 0)...)))
		}
	case 5:
		v.steal()
	case 6:
		v.did("names keys of nobody")
		v.sayFrames(to,
			newFrame(grouproto.TagNeed, append(append(v.random(32), v.random(32)...), 0)),
			newFrame(grouproto.TagCon, append(append([]byte{0, 1}, v.random(32)...), 2, 3)),
			newFrame(grouproto.TagMem, append(append([]byte{1, 0, 1}, v.random(32)...), 0)))
	default:
		v.did("denies messages")
		var fields []byte
		for _, p := range v.p.w.people {
			if k, err := p.self.key(); err == nil {
				fields = append(wire.AppendU64(wire.AppendU64(append(fields, k[:]...), 0), 1<<40), byte(1+v.rng.IntN(3)))
			}
		}
		v.sayFrames(to, newFrame(grouproto.TagNone, append([]byte{byte(len(fields) / 49)}, fields...)))
	}
}

func (v *simVillain) random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(v.rng.Uint32())
	}
	return b
}

// say sends a body past the own group.
func (v *simVillain) say(to ConnectionID, body []byte) {
	v.refs++
	ref := v.refs
	g := v.p.group
	v.p.agent.post(func(t *turn) error {
		if e, err := t.groupEntry(g); err == nil {
			t.later(func() { t.performEffect(e, grouproto.SendConn{Conn: string(to), Ref: ref, Body: body}) })
		}
		return nil
	})
	v.p.w.settle()
}

func (v *simVillain) sayFrames(to ConnectionID, frames ...[]byte) {
	var body []byte
	for _, f := range frames {
		body = wire.AppendStr16(body, f)
	}
	v.say(to, body)
}

// signed makes an operation on the heads that the own group has named last.
func (v *simVillain) signed(key ed25519.PrivateKey, name string, change func(*oplog.Body)) *oplog.Op {
	heads := slices.Clone(v.heads)
	slices.SortFunc(heads, oplog.ID.Compare)
	b := oplog.Body{
		Group: v.group, Author: oplog.Key(key.Public().(ed25519.PublicKey)), Seq: v.seq, Parents: slices.Compact(heads),
		Action: &oplog.Set{Setting: oplog.Setting{Name: name, Value: v.random(4)}},
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

func opsFrame(ops ...*oplog.Op) []byte {
	fields := wire.AppendU16([]byte{0}, uint16(len(ops)))
	for _, op := range ops {
		fields = op.AppendSigned(fields)
	}
	return newFrame(grouproto.TagOps, fields)
}

// equivocate writes two operations side by side and tells some of one and some of the other.
func (v *simVillain) equivocate(pairs []ConnectionID) {
	a, b := v.signed(v.key, "title", nil), v.signed(v.key, "title", nil)
	if a == nil || b == nil {
		return
	}
	v.did("writes two operations side by side")
	v.written++
	if plan := v.p.w.plan; v.written == 1 && !plan.moderated && plan.tricks == 0 && v.hellos == 0 {
		v.equivocated = true // whatever comes later may have a wrong number
	}
	for _, to := range pairs {
		switch v.rng.IntN(3) {
		case 0:
			v.sayFrames(to, opsFrame(a))
		case 1:
			v.sayFrames(to, opsFrame(b))
		default:
			v.sayFrames(to, opsFrame(a, b))
		}
	}
	v.sayFrames(pairs[0], opsFrame(a, b))
}

// forge sends an operation that must not be taken, or need not.
func (v *simVillain) forge(to ConnectionID) {
	nobody := ed25519.NewKeyFromSeed(v.random(ed25519.SeedSize))
	var op *oplog.Op
	switch v.rng.IntN(5) {
	case 0:
		op = v.signed(nobody, "title", nil)
	case 1:
		op = v.signed(v.key, "title", func(b *oplog.Body) { b.Seq += 3 })
	case 2:
		op = v.signed(v.key, "title", func(b *oplog.Body) { b.Parents = []oplog.ID{oplog.ID(v.random(32))} })
	case 3: // backdated: on the genesis
		op = v.signed(v.key, "title", func(b *oplog.Body) { b.Parents = []oplog.ID{oplog.ID(v.group)} })
	default: // in somebody else's name
		op = v.signed(nobody, "title", nil)
		raw := opsFrame(op)
		somebody := v.p.w.people[v.rng.IntN(len(v.p.w.people))]
		if k, err := somebody.self.key(); err == nil {
			copy(raw[simFrameHead+3+2+2+32:], k[:])
		}
		v.did("forges an operation")
		v.sayFrames(to, raw)
		return
	}
	if op != nil {
		v.did("forges an operation")
		v.sayFrames(to, opsFrame(op))
	}
}

// lie sends copies that nobody has asked for: false ones of messages that exist, or of those that never did.
func (v *simVillain) lie(to ConnectionID) {
	v.did("sends a copy that nobody wrote")
	if len(v.copies) > 0 && v.chance(0.5) {
		f := bytes.Clone(v.copies[v.rng.IntN(len(v.copies))])
		f[len(f)-1] ^= 1
		v.sayFrames(to, f)
		return
	}
	somebody := v.p.w.people[v.rng.IntN(len(v.p.w.people))]
	k, err := somebody.self.key()
	if err != nil || somebody == v.p {
		return
	}
	fields := wire.AppendU64(bytes.Clone(k[:]), uint64(v.rng.IntN(4)))
	fields = append(append(fields, make([]byte, 32)...), v.random(16)...)
	fields = append(fields, byte(len(v.heads)))
	for _, h := range v.heads {
		fields = append(fields, h[:]...)
	}
	fields = wire.AppendStr16(append(fields, 0, 0), fmt.Appendf(nil, "made up, %x", v.random(4)))
	v.sayFrames(to, newFrame(grouproto.TagFwd, fields))
}

// steal joins a request that was to be passed on, in the place of who it was for.
func (v *simVillain) steal() {
	if len(v.links) == 0 || len(v.proofs) == 0 {
		return
	}
	request, err := link.ParseBinary(v.links[len(v.links)-1])
	if err != nil {
		return
	}
	info := v.proofs[v.rng.IntN(len(v.proofs))]
	v.did("steals a request")
	v.p.do(&simCall{what: "joins a request that is not for it", once: true, run: func(ctx context.Context, a *Agent) error {
		_, err := a.JoinConnection(ctx, request.Text(), JoinOptions{Info: info})
		return v.p.refused(err)
	}})
}
