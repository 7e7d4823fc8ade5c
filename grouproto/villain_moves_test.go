package grouproto

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// move does one thing that no honest member does.
func (v *villain) move() {
	honest := v.h.honest()
	if v.n.g == nil || v.n.g.log == nil || len(honest) == 0 || v.n.stopped {
		return
	}
	to := pick(v.rng, honest)
	moves := []func(to *node){
		v.equivocate, v.forge, v.backdate, v.replay, v.lie, v.say2, v.sayTwo, v.copies, v.deny, v.receipt, v.name, v.offer,
		v.flood, v.sweep, v.addGhost, v.newCard, v.needs, v.malform, v.raiseRole, func(*node) { v.steal() },
	}
	k := v.rng.IntN(len(moves))
	said, stolen := v.refs, v.traps
	if moves[k](to); v.refs > said || v.traps > stolen || villainMoves[k] == "changes its card" {
		v.did(villainMoves[k])
	}
}

// villainMoves are the names of the moves, in their order.
var villainMoves = []string{
	"equivocates", "forges operations", "backdates operations", "replays", "lies in G_SYNC", "says two things to two", "says two things to one",
	"gives copies", "denies messages", "lies in receipts", "names strangers", "makes offers of others", "floods", "sweeps", "adds ghosts",
	"changes its card", "asks in others' names", "sends what is malformed", "raises its role", "steals a request",
}

// villainKinds are all that villains do, as counted; what they change in what passes through them comes to the moves.
var villainKinds = func() (out []string) {
	for _, name := range append(slices.Clone(villainMoves), "withholds a body", "withholds a kind of frame", "swaps a request that it passes on",
		"swaps its own request", "gives a false copy that was asked for", "denies what it was asked for", "changes a message", "says a wrong hello") {
		out = append(out, "villain "+name)
	}
	return out
}()

func (v *villain) did(what string) { v.h.count["villain "+what]++ }

// equivocate writes two operations side by side and tells some of one and some of the other.
func (v *villain) equivocate(to *node) {
	heads := v.n.g.log.Heads()
	a, b := v.signed(v.action(), heads, nil), v.signed(v.action(), heads, nil)
	if a == nil || b == nil {
		return
	}
	for _, n := range v.h.honest() {
		switch v.rng.IntN(4) {
		case 0:
			v.say(n, &opsFrame{Ops: []*oplog.Op{a}})
		case 1:
			v.say(n, &opsFrame{Ops: []*oplog.Op{b}})
		case 2:
			v.say(n, &opsFrame{Ops: []*oplog.Op{b, a}})
		}
	}
}

// forge sends operations that are wrong in one way or another.
func (v *villain) forge(to *node) {
	if ops := v.forgedOps(); ops != nil {
		v.say(to, &opsFrame{Ops: ops, Flags: uint8(v.rng.IntN(2))})
	}
}

// backdate removes whoever brought it in, with parents from before, or writes after its own removal.
func (v *villain) backdate(to *node) {
	log := v.n.g.log
	var self OpID
	var inviter Key
	for i := range log.Len() {
		if a, ok := log.At(i).Action.(*oplog.Add); ok && a.Member == v.self() {
			self, inviter = log.At(i).ID(), log.At(i).Author
		}
	}
	if self == (OpID{}) || v.h.nodeOf(inviter) != nil && !v.h.mayLose(v.h.nodeOf(inviter)) {
		return
	}
	parents := []OpID{self}
	if v.chance(0.5) {
		parents = nil
	}
	if op := v.signed(&oplog.Remove{Members: []oplog.Removal{{Member: inviter}}}, parents, nil); op != nil {
		v.say(to, &opsFrame{Ops: []*oplog.Op{op}})
	}
}

// replay sends what others have sent, also to themselves.
func (v *villain) replay(to *node) {
	for range 1 + v.rng.IntN(5) {
		v.sayRaw(to, pick(v.rng, v.bodies))
	}
}

// lie sends a G_SYNC in which nothing is true.
func (v *villain) lie(to *node) {
	f := &syncFrame{List: []MessageID{v.messageID(), v.messageID(), v.messageID()}}
	v.changeSync(f)
	v.say(to, f)
}

// newMessage is a message with the next number, and made up otherwise.
func (v *villain) newMessage() *message {
	g := v.n.g
	m := &message{Number: g.main.next, Prev: g.main.prev, Heads: v.heads(), Body: []byte(fmt.Sprintf("made up by %s, %x", v.n.name, v.random()))}
	if v.chance(0.3) {
		m.Parents = []MessageID{v.messageID()}
	}
	return m
}

// say2 sends two members two messages under one number.
func (v *villain) say2(*node) {
	a, b := v.newMessage(), v.newMessage()
	for _, n := range v.h.honest() {
		v.say(n, &msgFrame{pick(v.rng, []*message{a, b})})
	}
}

// sayTwo sends one member two messages under one number.
func (v *villain) sayTwo(to *node) {
	v.say(to, &msgFrame{v.newMessage()}, &msgFrame{v.newMessage()})
}

// copies sends copies that nobody asked for: false, or of messages that never existed.
func (v *villain) copies(to *node) {
	m := v.newMessage()
	m.Number = v.number()
	v.h.forged = true
	v.say(to, &fwdFrame{Author: v.somebody(), Message: m}, &fwdFrame{Author: v.somebody(), Message: v.newMessage()})
}

// deny says of all messages that they never existed.
func (v *villain) deny(to *node) {
	v.say(to, &noneFrame{[]noneEntry{
		{v.somebody(), Range{0, ^uint64(0)}, noneNotExisted}, {v.self(), Range{0, v.number()}, uint8(1 + v.rng.IntN(3))},
		{v.somebody(), Range{0, 5}, uint8(1 + v.rng.IntN(3))},
	}})
}

func (v *villain) receipt(to *node) {
	v.say(to, &rcvdFrame{Heads: v.heads(), UpTo: v.number(), Missing: []Range{{0, 3}, {7, ^uint64(0)}}})
}

// name puts keys that belong to no member wherever a key can stand.
func (v *villain) name(to *node) {
	k := Key(v.random32())
	v.say(to, &memFrame{memLast, []memEntry{{k, 0}}}, &conFrame{[]conEntry{{k, 2, 3}}}, &doneFrame{7},
		&needFrame{to.g.self, k, 1}, &needFrame{k, to.g.self, 0},
		&wantFrame{Ops: []OpID{v.random32()}, Messages: []wantEntry{{k, Range{0, 9}}}},
		&noneFrame{[]noneEntry{{k, Range{0, 9}, 1}}}, &syncFrame{Heads: v.heads(), List: []MessageID{{k, 4, v.random32()}}},
		&msgFrame{&message{Number: v.n.g.main.next, Heads: v.heads(), Parents: []MessageID{{k, 3, v.random32()}}}},
		&fwdFrame{Author: k, Message: v.newMessage()})
}

// offer hands over offers of strangers, of others and of ghosts.
func (v *villain) offer(to *node) {
	for range 1 + v.rng.IntN(3) {
		o := v.newOffer(to.g.self)
		if v.chance(0.5) {
			v.say(to, &memInvFrame{Offer: o, Card: v.random()})
		} else {
			v.say(to, &invMemFrame{[]offer{o, v.newOffer(v.somebody())}})
		}
	}
}

// needs asks for offers in others' names, through others.
func (v *villain) needs(to *node) {
	for range 20 {
		v.say(to, &needFrame{v.somebody(), v.somebody(), uint8(v.rng.IntN(2))})
	}
}

// flood sends a lot of one kind at once.
func (v *villain) flood(to *node) {
	if v.chance(0.6) {
		return // slow, and once is enough
	}
	kind := v.rng.IntN(7)
	var frames []frame
	var old []OpID
	for i := range 900 {
		switch kind {
		case 0:
			frames = append(frames, &msgFrame{&message{Number: v.n.g.main.next + uint64(i), Heads: v.n.g.log.Heads()}})
		case 1:
			frames = append(frames, &wantFrame{Ops: []OpID{v.random32()}, Messages: []wantEntry{{to.g.self, Range{0, 200}}}})
		case 2:
			if i < 90 {
				frames = append(frames, &memInvFrame{Offer: v.newOffer(to.g.self)})
			}
		case 3: // a bush of parallel operations
			if old == nil {
				old = v.n.g.log.Heads()
			}
			if op := v.signed(&oplog.Set{Setting: oplog.Setting{Name: "title0", Value: v.random()}}, old, nil); op != nil && i < 30 {
				frames = append(frames, &opsFrame{Ops: []*oplog.Op{op}})
			}
		case 4:
			frames = append(frames, &msgFrame{&message{Number: v.n.g.main.next + 2*uint64(i), Heads: []OpID{v.random32()}}})
		case 5:
			frames = append(frames, &rcvdFrame{Heads: []OpID{v.random32(), v.random32(), v.random32()}})
		case 6:
			if op := v.signed(&oplog.Set{Setting: oplog.Setting{Name: "title0", Value: v.random()}}, []OpID{v.random32()}, nil); op != nil && i < 150 {
				frames = append(frames, &opsFrame{Ops: []*oplog.Op{op}})
			}
		}
	}
	v.say(to, frames...)
}

// sweep removes many in one operation, once in a run.
func (v *villain) sweep(*node) {
	a := &oplog.Remove{}
	for _, n := range v.h.honest() {
		if n.name != "ann" && len(a.Members) < 4 {
			a.Members = append(a.Members, oplog.Removal{Member: n.g.self, Cut: v.number()})
		}
	}
	if len(a.Members) < 3 || v.h.swept {
		return
	}
	slices.SortFunc(a.Members, func(x, y oplog.Removal) int { return x.Member.Compare(y.Member) })
	op := v.signed(a, nil, nil)
	if op == nil {
		return
	}
	v.h.swept = true
	for _, n := range v.h.honest() {
		if n.name == "ann" || v.chance(0.7) {
			v.say(n, &opsFrame{Ops: []*oplog.Op{op}})
		}
	}
}

// addGhost makes a key a member that no agent belongs to.
func (v *villain) addGhost(to *node) {
	k := pick(v.rng, v.ghosts)
	if op := v.signed(&oplog.Add{Member: public(k), CardHash: v.random32(), Role: oplog.Plain}, nil, nil); op != nil {
		v.say(to, &opsFrame{Ops: []*oplog.Op{op}})
	}
}

// newCard shows another card from now on.
func (v *villain) newCard(*node) {
	v.n.g.card = append(v.random(), bytes.Repeat([]byte("x"), 20)...)
}

func (v *villain) malform(to *node) {
	if body := bytes.Clone(pick(v.rng, v.bodies)); len(body) > 0 {
		for range 3 {
			body[v.rng.IntN(len(body))] ^= byte(1 + v.rng.IntN(255))
		}
		v.sayRaw(to, body)
	}
}

// raiseRole gives itself what it may not, and takes from others.
func (v *villain) raiseRole(to *node) {
	for _, a := range []oplog.Action{
		&oplog.RoleChange{Member: v.self(), Role: oplog.Owner}, &oplog.RoleChange{Member: to.g.self, Role: oplog.Observer},
		&oplog.PolicyChange{Policy: oplog.Moderated()},
	} {
		if op := v.signed(a, nil, nil); op != nil && v.chance(0.3) {
			v.say(to, &opsFrame{Ops: []*oplog.Op{op}})
		}
	}
}
