package grouproto

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// Members that follow no rule. What they may not do is harmless to the honest ones: no panic, bounded state, everybody
// else agrees and gets everything once; what can be noticed is reported.

// strike hands frames of a member to another one, past its group and at once.
func strike(from, to *node, frames ...frame) {
	var b bundle
	for _, f := range frames {
		b.add(encodeFrame(f), forSync)
	}
	to.step(Message{Conn: to.g.peers[from.g.self].ready().name, Body: b.bytes()})
}

// warnedOf tells about whom a node was warned of something.
func warnedOf(n *node, w Warning) (about []Key) {
	for _, e := range eventsOf[Warned](n) {
		if e.Warning == w {
			about = append(about, e.Member)
		}
	}
	return about
}

// heads is what a message of a node names.
func heads(n *node) []OpID { return n.g.log.Heads() }

// offerFrom is a signed offer of a member, whatever its group thinks.
func offerFrom(n *node, to Key, attempt uint32, link string) offer {
	o := offer{Initiator: n.g.self, Responder: to, Attempt: attempt, Expiry: n.sim.now.Add(time.Hour).Unix(), Link: []byte(link)}
	o.sign(n.g.key, n.g.id)
	return o
}

// outsider is a key pair that belongs to no member.
func (s *sim) outsider() (Key, ed25519.PrivateKey) {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(s.rng.Uint32())
	}
	private := ed25519.NewKeyFromSeed(seed)
	return Key(private.Public().(ed25519.PublicKey)), private
}

// stillWell checks that honest members can do everything they could do before.
func (s *sim) stillWell(nodes ...*node) {
	s.t.Helper()
	from := map[Key]uint64{}
	for _, n := range nodes {
		n.load() // what is stored can be read
		from[n.g.self] = n.g.main.next
	}
	for _, n := range nodes {
		n.send("all is well, says " + n.name)
	}
	s.run(10 * time.Minute)
	s.sameMessages(nodes, from)
	s.agree(nodes...)
	if !s.connected(nodes...) {
		s.t.Error("not everybody is connected")
	}
}

func TestAttackNumbersWithHolesStayReadable(t *testing.T) {
	s := newSim(t, 60)
	s.group(3, oplog.Symmetric())
	liar, victim := s.nodes[1], s.nodes[2]
	strike(liar, victim, &msgFrame{&message{Number: 1 << 40, Heads: heads(liar)}})
	strike(liar, victim, &noneFrame{[]noneEntry{{liar.g.self, Range{0, 1<<40 - 1}, noneNotExisted}}})
	for n := range uint64(1000) {
		strike(liar, victim, &fwdFrame{Author: liar.g.self, Message: &message{Number: 2 * n, Heads: heads(liar)}})
	}
	c := victim.g.chains[liar.g.self]
	if len(c.absent) > maxAbsent || len(c.gaps) > maxGaps {
		t.Errorf("%d absences, %d gaps", len(c.absent), len(c.gaps))
	}
	s.stillWell(s.nodes[0], victim)
}

// Somebody names a message that another member has not written yet. When it is written, everybody gets it, also those who
// get it from somebody else.
func TestAttackMadeUpNumbersDoNotHideLaterOnes(t *testing.T) {
	s := newSim(t, 61)
	s.group(4, oplog.Symmetric())
	author, liar, victim, other := s.nodes[0], s.nodes[1], s.nodes[2], s.nodes[3]
	strike(liar, victim, &msgFrame{&message{Heads: heads(liar), Parents: []MessageID{{author.g.self, 1 << 50, [32]byte{1}}}}})
	s.run(10 * time.Minute)
	s.cutOff(author, other.name)
	author.send("for all, but only one gets it from me")
	s.run(10 * time.Second)
	author.stop()
	other.send("did you hear?")
	s.run(10 * time.Minute)
	if k := author.g.self.Text() + "/0"; victim.got[k] != 1 {
		t.Error("the message was hidden by a number that somebody made up")
	}
}

func TestAttackOffersOfStrangersTakeNoPlace(t *testing.T) {
	s := newSim(t, 62)
	s.group(3, oplog.Symmetric())
	liar, victim := s.nodes[1], s.nodes[2]
	for i := range 20 * MaxHeldOffers {
		k, private := s.outsider()
		o := offer{Initiator: k, Responder: victim.g.self, Attempt: 1 << 31, Expiry: s.now.Add(time.Hour).Unix(), Link: make([]byte, 200+i%7)}
		o.sign(private, victim.g.id)
		strike(liar, victim, &memInvFrame{Offer: o, Card: make([]byte, 64)})
	}
	if n := len(victim.g.held); n > MaxHeldOffers {
		t.Errorf("%d offers are held for one member", n)
	}
	joiner := s.node("new")
	s.nodes[0].invite(joiner)
	s.until(time.Hour, func() bool { return s.connected(s.nodes...) })
	s.run(8 * 24 * time.Hour)
	if n := len(victim.g.held); n > 0 {
		t.Errorf("%d offers are held after they expired", n)
	}
	s.stillWell(s.nodes...)
}

// An old offer leads to a queue that somebody else may have by now.
func TestAttackAnOfferThatHasExpired(t *testing.T) {
	s := newSim(t, 73)
	s.group(3, oplog.Symmetric())
	liar, victim := s.nodes[2], s.nodes[1]
	joined := 0
	victim.hook = func(_ *node, e Effect) {
		if _, ok := e.(JoinConn); ok {
			joined++
		}
	}
	for i, expiry := range []int64{s.now.Unix() - 1, s.now.Unix() + 60} {
		link := fmt.Sprint("trap ", i)
		s.conns[link] = &simConn{owner: liar, name: link, link: []byte("link to " + link)}
		o := offerFrom(liar, victim.g.self, 1<<31+uint32(i), "link to "+link)
		o.Expiry = expiry
		o.sign(liar.g.key, liar.g.id)
		strike(liar, victim, &memInvFrame{Offer: o})
		if joined != i {
			t.Errorf("after the offer that expires at %d: %d connections joined", expiry, joined)
		}
	}
}

func TestAttackCopiesThatNobodyAskedFor(t *testing.T) {
	s := newSim(t, 63)
	s.group(3, oplog.Symmetric())
	author, liar, victim := s.nodes[0], s.nodes[1], s.nodes[2]
	author.send("the only one")
	s.run(time.Minute)
	for n := range uint64(100) {
		strike(liar, victim, &fwdFrame{Author: author.g.self, Message: &message{Number: 1 + n, Heads: heads(liar), Body: []byte("never said")}})
	}
	if n := victim.g.main.position; len(victim.got) != 1 || n != 1 {
		t.Errorf("%d forged messages were told, %d are kept", len(victim.got)-1, n-1)
	}
	s.stillWell(s.nodes...)
}

func TestAttackOffersWithoutEnd(t *testing.T) {
	s := newSim(t, 64)
	s.group(3, oplog.Symmetric())
	liar, victim := s.nodes[2], s.nodes[1]
	joined := 0
	victim.hook = func(_ *node, e Effect) {
		if _, ok := e.(JoinConn); ok {
			joined++
		}
	}
	for i := range uint32(500) {
		link := fmt.Sprint("trap ", i)
		c := &simConn{owner: liar, name: link, link: []byte("link to " + link)}
		s.conns[link] = c
		o := offerFrom(liar, victim.g.self, 1<<31+i, "link to "+link)
		strike(liar, victim, &memInvFrame{Offer: o})
		s.run(time.Second)
	}
	if joined > 2*MaxAttempts {
		t.Errorf("%d connections were made for one member in ten minutes", joined)
	}
	if n := len(victim.g.peers[liar.g.self].conns); n > mostConns {
		t.Errorf("%d connections with one member", n)
	}
	s.stillWell(s.nodes[0], victim)
}

func TestAttackWarningsWithoutEnd(t *testing.T) {
	s := newSim(t, 65)
	s.group(3, oplog.Symmetric())
	author, liar, victim := s.nodes[0], s.nodes[1], s.nodes[2]
	said := author.send("something")
	liar.send("one thing")
	s.run(time.Minute)
	for i := range uint32(2000) {
		forged := offer{Initiator: author.g.self, Responder: victim.g.self, Attempt: 1<<31 + i, Expiry: 1 << 40, Link: []byte("trap")}
		wrong := MessageID{said.Author, said.Number, [32]byte{byte(i), byte(i >> 8)}}
		strike(liar, victim, &memInvFrame{Offer: forged}, &syncFrame{List: []MessageID{wrong}},
			&fwdFrame{Author: liar.g.self, Message: &message{Number: 0, Heads: heads(liar), Salt: [16]byte{byte(i), byte(i >> 8)}}})
	}
	n := len(eventsOf[Warned](victim))
	if n == 0 || n > 100 {
		t.Errorf("%d warnings", n)
	}
	if len(warnedOf(victim, WarnHello)) == 0 || len(warnedOf(victim, WarnDisputed)) == 0 || len(warnedOf(victim, WarnEquivocation)) == 0 {
		t.Errorf("warned of %v", eventsOf[Warned](victim))
	}
	s.stillWell(author, victim)
}

func TestAttackHeadsThatDoNotExist(t *testing.T) {
	s := newSim(t, 66)
	s.group(4, oplog.Symmetric())
	author, liar, victim := s.nodes[0], s.nodes[1], s.nodes[2]
	unknown := func(i int) (out []OpID) {
		for j := range 16 {
			out = append(out, OpID{1, byte(i), byte(i >> 8), byte(j)})
		}
		return out
	}
	for i := range 300 {
		strike(liar, victim, &rcvdFrame{Heads: unknown(i)})
	}
	for i := range 100 {
		strike(liar, victim, &msgFrame{&message{Number: uint64(i), Heads: unknown(i)}})
	}
	if n := len(victim.g.wantOps); n > mostWantedOfPeer {
		t.Errorf("%d operations are wanted for one member", n)
	}
	if n := len(victim.g.waiting); n > mostHeldOfPeer {
		t.Errorf("%d messages of one member wait", n)
	}
	// Somebody else's message with an operation that is not here yet is understood.
	s.cutOff(author, s.nodes[3].name)
	author.must(Set{"title", []byte("new")})
	s.run(10 * time.Second)
	s.nodes[3].send("how do you like the title?")
	s.run(time.Minute)
	if victim.got[s.nodes[3].g.self.Text()+"/0"] != 1 {
		t.Error("the message of another member did not get through")
	}
	if v, _, _ := victim.g.st.Setting("title"); !bytes.Equal(v, []byte("new")) {
		t.Error("the operation of another member did not get through")
	}
	s.restore(author)
	s.run(time.Hour)
	s.stillWell(author, victim, s.nodes[3])
}

// A forged copy is told as vouched for; what its author wrote takes its place, and is not told as another message.
func TestAttackForgedCopyIsReplacedOnce(t *testing.T) {
	s := newSim(t, 67)
	s.group(4, oplog.Symmetric())
	author, liar, victim := s.nodes[0], s.nodes[1], s.nodes[2]
	s.cutOff(author)
	real := author.send("I agree")
	s.run(time.Second)
	author.stop()
	forged := &message{Heads: heads(author), Body: []byte("I disagree")}
	strike(liar, victim, &msgFrame{&message{Heads: heads(liar), Parents: []MessageID{{author.g.self, 0, forged.hash(author.g.id, author.g.self)}}}})
	s.until(time.Hour, func() bool {
		_, asked := victim.g.asks[author.g.self].asked[liar.g.self]
		return asked
	})
	strike(liar, victim, &fwdFrame{Author: author.g.self, Message: forged})
	key := author.g.self.Text() + "/0"
	if victim.got[key] != 1 || victim.texts[key] != "I disagree" {
		t.Fatalf("told %d times, %q", victim.got[key], victim.texts[key])
	}
	// The author's word comes before its message.
	author.start()
	victim.step(Message{victim.g.peers[author.g.self].ready().name,
		bodyOf(&syncFrame{Heads: heads(author), List: []MessageID{real}})})
	s.restore(author)
	s.run(time.Hour)
	replaced := eventsOf[MessageReplaced](victim)
	if len(replaced) != 1 || replaced[0].Message.ID != real || string(replaced[0].Message.Body) != "I agree" || replaced[0].Message.Vouched {
		t.Errorf("told %d replacements", len(replaced))
	}
	if !slices.Contains(warnedOf(victim, WarnDisputed), liar.g.self) {
		t.Error("the forger was not reported")
	}
	if h := victim.g.History(victim.tx, 0, 10); len(h) != 2 || string(h[0].Body) != "I agree" {
		t.Errorf("the history has %d messages", len(h))
	}
}

func bodyOf(frames ...frame) []byte {
	var b bundle
	for _, f := range frames {
		b.add(encodeFrame(f), forSync)
	}
	return b.bytes()
}

// An inviter that never answers keeps nobody waiting for ever, whatever expiry it wrote into the invitation.
func TestAttackInviterThatNeverAnswers(t *testing.T) {
	s := newSim(t, 68)
	inviter, guest := s.create("inviter", oplog.Symmetric()), s.node("guest")
	guest.answer = func(n *node, i Invitation) {
		i.Expiry = n.sim.now.Add(100 * 365 * 24 * time.Hour)
		n.accept(i)
	}
	inviter.invite(guest)
	s.until(time.Minute, func() bool { return guest.g != nil })
	inviter.stop()
	s.run(15 * 24 * time.Hour)
	if got := eventsOf[Gone](guest); len(got) != 1 || guest.g.Info().Status != StatusGone {
		t.Errorf("the guest is %v", guest.g.Info().Status)
	}
	if !guest.g.NextWake().IsZero() || len(guest.g.conns) != 0 {
		t.Error("the guest still waits for something")
	}

	again := s.node("again")
	again.answer = guest.answer
	inviter.start()
	inviter.invite(again)
	s.until(time.Minute, func() bool { return again.g != nil })
	again.must(Leave{})
	s.run(time.Hour)
	if again.g.Info().Status != StatusGone || inviter.g.Info().Connected != 0 {
		t.Error("giving up has no effect")
	}
}

// A malicious inviter fills what a new member keeps before it has the log.
func TestAttackInviterThatMakesUpAuthors(t *testing.T) {
	s := newSim(t, 69)
	s.group(2, oplog.Symmetric())
	guest := s.node("guest")
	s.nodes[0].invite(guest)
	var conn string
	s.until(time.Minute, func() bool {
		if guest.g == nil {
			return false
		}
		c := guest.g.peers[s.nodes[0].g.self].offering()
		if c != nil && c.state == connAllowed {
			conn = c.name
		}
		return conn != ""
	})
	for i := range 100 {
		f := &syncFrame{}
		for j := range syncEntries {
			f.List = append(f.List, MessageID{Key{1, byte(i), byte(j)}, 1 << 30, [32]byte{1}})
		}
		guest.step(Message{conn, bodyOf(f)})
	}
	if n := len(guest.g.chains); n < syncEntries || n > mostAuthors {
		t.Errorf("%d authors are kept", n)
	}
	s.until(time.Hour, func() bool { return s.connected(s.nodes...) })
	if n := len(guest.g.chains); n > 3 {
		t.Errorf("%d authors are kept in a group of three", n)
	}
	s.stillWell(s.nodes...)
}

func TestAttackRequestsForDirectConnections(t *testing.T) {
	s := newSim(t, 70)
	s.group(3, oplog.Symmetric())
	liar, victim := s.nodes[1], s.nodes[2]
	for i := range 1000 {
		strike(liar, victim, &directFrame{TagDirectInv, []byte{byte(i), byte(i >> 8)}})
		s.run(100 * time.Millisecond)
	}
	if n := len(eventsOf[DirectFrame](victim)); n > mostDirect+2 {
		t.Errorf("%d requests were told in 100 seconds", n)
	}
	if !slices.Contains(warnedOf(victim, WarnLimit), liar.g.self) {
		t.Error("nobody was warned")
	}
	s.stillWell(s.nodes...)
}

// Hellos of other connections, pairs, sides and groups, and of members who know no group: none opens a connection.
func TestAttackHellosThatAreNotForThisConnection(t *testing.T) {
	s := newSim(t, 71)
	s.group(4, oplog.Symmetric())
	victim, other := s.nodes[1], s.nodes[2]
	foreign := newSim(t, 72)
	foreign.group(3, oplog.Symmetric())

	// The victim offers, and everything but the right answer comes.
	joiner := s.node("new")
	var link []byte
	seen := map[string]Conf{}
	s.trace = func(n *node, in Input, _ Effect) {
		if c, ok := in.(Conf); ok {
			seen[n.name] = c
		}
		if n == joiner && link == nil {
			if l, ok := in.(LinkReady); ok {
				link = l.Link
			}
		}
	}
	s.nodes[0].invite(joiner)
	s.until(10*time.Minute, func() bool { return s.connected(s.nodes...) })
	s.trace = nil
	good, ok := seen["new"]
	if !ok {
		t.Fatal("nobody answered the new member's offers")
	}
	s.run(2 * time.Hour)
	binding := Binding{7}
	p, c := victim.g.peers[other.g.self], &pairConn{name: "trap", side: sideInitiator, state: connOffered, attempt: 77}
	right := func() *hello {
		return &hello{Group: victim.g.id, From: other.g.self, To: victim.g.self, Attempt: 77, Range: ownVersions, Heads: heads(other), Card: other.g.card}
	}
	change := func(f func(*hello)) []byte { h := right(); f(h); return h.sign(other.g.key, sideJoiner, binding) }
	third := right()
	third.From = s.nodes[3].g.self
	wrong := map[string][]byte{
		"nothing":            nil,
		"replayed":           good.Info,
		"reflected":          (&hello{Group: victim.g.id, From: victim.g.self, To: other.g.self, Attempt: 77, Range: ownVersions}).sign(victim.g.key, sideInitiator, binding),
		"own, turned around": (&hello{Group: victim.g.id, From: other.g.self, To: victim.g.self, Attempt: 77, Range: ownVersions}).sign(victim.g.key, sideJoiner, binding),
		"initiator's side":   right().sign(other.g.key, sideInitiator, binding),
		"other binding":      right().sign(other.g.key, sideJoiner, Binding{8}),
		"other member's key": right().sign(s.nodes[3].g.key, sideJoiner, binding),
		"other group":        change(func(h *hello) { h.Group = foreign.nodes[0].g.id }),
		"other receiver":     change(func(h *hello) { h.To = s.nodes[3].g.self }),
		"another member's":   third.sign(s.nodes[3].g.key, sideJoiner, binding),
		"other sender":       change(func(h *hello) { h.From = s.nodes[3].g.self }),
		"other attempt":      change(func(h *hello) { h.Attempt = 76 }),
		"later version":      change(func(h *hello) { h.Range = versions{2, 9} }),
	}
	frame := right().sign(other.g.key, sideJoiner, binding)
	for n := range frame {
		wrong[fmt.Sprint("cut at ", n)] = frame[:n]
	}
	for what, info := range wrong {
		st := &step{Group: victim.g, env: victim.env(victim.tx.Clone())}
		if st.helloGood(p, c, sideJoiner, binding, info) {
			t.Errorf("%s: the hello was good", what)
		}
		if len(st.out) > 0 {
			t.Errorf("%s: it had effects", what)
		}
	}
	st := &step{Group: victim.g, env: victim.env(victim.tx.Clone())}
	if !st.helloGood(p, c, sideJoiner, binding, frame) {
		t.Error("the right hello was not good")
	}
	s.stillWell(s.nodes...)
}

// Nothing but the hello counts before the hello.
func TestAttackFramesBeforeTheHello(t *testing.T) {
	s := newSim(t, 73)
	s.group(3, oplog.Symmetric())
	liar, victim := s.nodes[1], s.nodes[2]
	p := victim.g.peers[liar.g.self]
	for _, state := range []connState{connMaking, connOffered, connJoined} {
		c := &pairConn{name: fmt.Sprint("early ", state), side: sideInitiator, state: state, routed: true}
		p.conns = append(p.conns, c)
		victim.g.conns[c.name] = p
		before := victim.g.counts
		victim.step(Message{c.name, bodyOf(&msgFrame{&message{Heads: heads(liar), Body: []byte("too early")}}, &wantFrame{Ops: heads(liar)})})
		if len(victim.got) != 0 || victim.g.counts != before {
			t.Errorf("a frame was taken in state %d", state)
		}
		p.conns = p.conns[:1]
		delete(victim.g.conns, c.name)
		p.put(victim.tx, nil)
	}
	s.stillWell(s.nodes...)
}

// Every frame, cut at every byte, and with every count at its largest.
func TestAttackFramesCutAnywhere(t *testing.T) {
	s := newSim(t, 74)
	s.group(3, oplog.Symmetric())
	author, liar, victim := s.nodes[0], s.nodes[1], s.nodes[2]
	conn := victim.g.peers[liar.g.self].ready().name
	id := MessageID{author.g.self, 3, [32]byte{1}}
	op := liar.g.log.At(0)
	s.conns["trap"] = &simConn{owner: liar, name: "trap", link: []byte("link to trap")}
	for _, f := range []frame{
		&opsFrame{Ops: []*oplog.Op{op}}, &invMemFrame{[]offer{offerFrom(liar, author.g.self, 1, "x")}},
		&memInvFrame{Offer: offerFrom(liar, victim.g.self, 1<<31, "link to trap"), Card: []byte("card"), Ops: []*oplog.Op{op}},
		&needFrame{author.g.self, liar.g.self, 0}, &conFrame{[]conEntry{{author.g.self, 1, 1}}},
		&msgFrame{&message{Heads: heads(liar), Parents: []MessageID{id}, Body: []byte("text")}},
		&fwdFrame{Author: author.g.self, Message: &message{Heads: heads(liar), Body: []byte("text")}},
		&noneFrame{[]noneEntry{{author.g.self, Range{0, 9}, 1}}}, &rcvdFrame{Heads: heads(liar), UpTo: 9, Missing: []Range{{1, 2}}},
		&syncFrame{Heads: heads(liar), List: []MessageID{id}}, &wantFrame{Ops: heads(liar), Messages: []wantEntry{{author.g.self, Range{0, 9}}}},
		&memFrame{1, []memEntry{{author.g.self, 1}}}, &doneFrame{3},
	} {
		whole := encodeFrame(f)
		for n := range whole {
			var b bundle
			b.add(whole[:n], forSync)
			victim.step(Message{conn, b.bytes()})
			damaged := bytes.Clone(whole)
			damaged[n] = 0xff
			b = bundle{}
			b.add(damaged, forSync)
			victim.step(Message{conn, b.bytes()})
			victim.step(Message{conn, b.bytes()[:len(b.bytes())-1]})
		}
		s.run(time.Minute)
	}
	if malformed, _, _, _ := victim.g.Problems(); malformed == 0 {
		t.Error("nothing was malformed")
	}
	s.run(time.Hour)
	s.stillWell(author, victim)
}

// A member that does not read, but asks, fills nobody's outbox.
func TestAttackAskingWithoutReading(t *testing.T) {
	s := newSim(t, 75)
	s.group(3, oplog.Symmetric())
	author, liar, victim := s.nodes[0], s.nodes[1], s.nodes[2]
	for i := range 20 {
		author.send(fmt.Sprint("text ", i))
	}
	s.run(time.Minute)
	s.quota = 4
	liar.stop()
	for i := range 6 {
		victim.send(fmt.Sprint("more ", i))
		s.run(time.Second)
	}
	s.run(time.Minute)
	c := victim.g.peers[liar.g.self].ready()
	if victim.g.peers[liar.g.self].paused != ReasonQuota {
		t.Fatal("the queue is not full")
	}
	before := len(s.conns[c.name].out)
	for range 600 {
		strike(liar, victim, &wantFrame{Messages: []wantEntry{{author.g.self, Range{0, 19}}}}, &syncFrame{Flags: syncAsk}, &wantFrame{Ops: heads(liar)})
		s.run(time.Second)
	}
	if n := len(s.conns[c.name].out) - before; n > 2 {
		t.Errorf("%d messages wait for a member that does not read", n)
	}
	liar.start()
	s.run(3 * time.Hour)
	s.quota = 0
	s.stillWell(s.nodes...)
}
