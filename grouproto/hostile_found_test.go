package grouproto

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// What TestHostile has found, one by one.

// Whoever hands over an offer with a wrong signature is reported, and not the member that it names; who forwards looks at
// the signature first, so that nobody can make honest members hand over such offers.
func TestForgedOfferIsTheForwardersFault(t *testing.T) {
	s := newSim(t, 301)
	s.group(4, oplog.Symmetric())
	named, liar, victim, honest := s.nodes[0], s.nodes[1], s.nodes[2], s.nodes[3]
	o := offerFrom(named, victim.g.self, 1<<31, "link to nothing")
	o.Link = []byte("link to something else")
	strike(liar, victim, &memInvFrame{Offer: o})
	if got := warnedOf(victim, WarnHello); !slices.Equal(got, []Key{liar.g.self}) {
		t.Errorf("warned of %v", s.keysText(got))
	}
	o = offerFrom(liar, victim.g.self, 1<<31, "link to nothing")
	o.Link = []byte("link to something else")
	strike(liar, honest, &invMemFrame{[]offer{o}})
	s.run(time.Minute)
	if got := warnedOf(victim, WarnHello); len(got) != 1 {
		t.Errorf("an offer with a wrong signature was passed on, and %s warned of", s.keysText(got))
	}
	if got := warnedOf(honest, WarnHello); !slices.Equal(got, []Key{liar.g.self}) {
		t.Errorf("who should pass it on was warned of %v", s.keysText(got))
	}
	s.stillWell(s.nodes...)
}

// A member that is away for a day is not asked the same thing a hundred times, and does not take what was asked meanwhile
// for a flood.
func TestQuestionsToSomebodyAwayDoNotPileUp(t *testing.T) {
	s := newSim(t, 302)
	s.group(3, oplog.Symmetric())
	away, asks, liar := s.nodes[0], s.nodes[1], s.nodes[2]
	away.stop()
	strike(liar, asks, &msgFrame{&message{Heads: heads(liar), Parents: []MessageID{{away.g.self, 40, [32]byte{1}}}}})
	liar.stop()
	s.run(20 * time.Hour)
	c := asks.g.peers[away.g.self].ready()
	if n := s.conns[c.name].peer.inbox; n > mostUnheard+24 {
		t.Errorf("%d messages wait", n)
	}
	away.start()
	liar.start()
	s.run(3 * time.Hour)
	if got := warnedOf(away, WarnLimit); len(got) > 0 {
		t.Errorf("warned of %v", s.keysText(got))
	}
	s.agree(away, asks)
	s.stillWell(away, asks)
}

// Somebody removed three members over the years. Who joins later reads of it all at once, and is not warned of a sweep.
func TestSweepInHistoryIsNone(t *testing.T) {
	s := newSim(t, 303)
	s.group(5, oplog.Symmetric())
	for _, n := range s.nodes[2:] {
		s.nodes[0].must(Remove{Members: []Key{n.g.self}})
		s.run(2 * time.Hour)
	}
	guest := s.node("guest")
	s.nodes[1].invite(guest)
	s.until(time.Hour, func() bool { return s.connected(s.nodes[0], s.nodes[1], guest) })
	if got := warnedOf(guest, WarnSweep); len(got) > 0 {
		t.Errorf("warned of %v", s.keysText(got))
	}
}

// A new member is given a false copy of a message from before it came. When its author hears what it has, the author says
// what is right.
func TestAuthorCorrectsAFalseCopyOfHistory(t *testing.T) {
	s := newSim(t, 304)
	s.group(3, oplog.Symmetric(), oplog.Setting{Name: "history", Value: []byte("all")})
	author, liar := s.nodes[0], s.nodes[1]
	real := author.send("I agree")
	s.run(time.Minute)
	k, _ := loadKept(liar.tx, 'm', author.g.self, 0)
	k.message.Body = []byte("I disagree")
	k.id.Hash = k.message.hash(liar.g.id, author.g.self)
	(&step{Group: liar.g, env: liar.env(liar.tx)}).putKept('m', k)
	author.stop()
	s.nodes[2].stop()
	guest := s.node("guest")
	liar.invite(guest)
	s.until(time.Hour, func() bool { return len(guest.texts) > 0 })
	if guest.texts[messageName(real)] != "I disagree" {
		t.Fatal("the guest was given something else")
	}
	liar.stop()
	author.start()
	s.nodes[2].start()
	liar.start()
	s.until(2*time.Hour, func() bool { return s.connected(author, s.nodes[2], guest) })
	s.run(7 * time.Hour)
	if guest.texts[messageName(real)] != "I agree" {
		t.Error("the false copy stays")
	}
	if !slices.Contains(warnedOf(guest, WarnDisputed), liar.g.self) {
		t.Error("who gave it was not reported")
	}
}

// The same, when what the author wrote is not for the new member any more: it is told that the copy is false.
func TestFalseCopyIsRefuted(t *testing.T) {
	s := newSim(t, 311)
	s.group(3, oplog.Symmetric(), oplog.Setting{Name: "history", Value: []byte("1")})
	author, liar := s.nodes[0], s.nodes[1]
	real := author.send("I agree")
	s.run(time.Minute)
	k, _ := loadKept(liar.tx, 'm', author.g.self, 0)
	k.message.Body = []byte("I disagree")
	k.id.Hash = k.message.hash(liar.g.id, author.g.self)
	(&step{Group: liar.g, env: liar.env(liar.tx)}).putKept('m', k)
	s.cutOff(author)
	author.send("I also say this")
	author.stop()
	s.nodes[2].stop()
	guest := s.node("guest")
	liar.invite(guest)
	s.until(time.Hour, func() bool { return len(guest.texts) > 0 })
	if guest.texts[messageName(real)] != "I disagree" {
		t.Fatal("the guest was given something else")
	}
	liar.stop()
	s.restore(author)
	author.start()
	s.nodes[2].start()
	liar.start()
	s.until(2*time.Hour, func() bool { return s.connected(author, s.nodes[2], guest) })
	s.run(7 * time.Hour)
	if got, ok := guest.texts[messageName(real)]; ok {
		t.Errorf("%q stays", got)
	}
	if refuted := eventsOf[MessageRefuted](guest); len(refuted) != 1 || refuted[0].ID != k.id {
		t.Errorf("refuted %v", refuted)
	}
	if _, err := guest.g.Message(guest.tx, real.Author, real.Number); err == nil {
		t.Error("the false copy is in the history")
	}
	s.agree(author, s.nodes[2], guest)
}

// A member was out when somebody joined, and comes back: its messages are part of the history.
func TestHistoryOfAMemberThatComesBack(t *testing.T) {
	s := newSim(t, 305)
	s.group(3, oplog.Symmetric(), oplog.Setting{Name: "history", Value: []byte("all")})
	author, junior := s.nodes[0], s.nodes[1]
	said := author.send("before all that")
	s.run(time.Minute)
	op, err := oplog.Sign(oplog.Body{
		Group: junior.g.id, Author: junior.g.self, Parents: junior.g.log.Heads(),
		Action: &oplog.Remove{Members: []oplog.Removal{{Member: author.g.self}}}, // from message 0 on
	}, junior.g.key)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range s.nodes {
		if n != junior {
			strike(junior, n, &opsFrame{Ops: []*oplog.Op{op}})
		}
	}
	s.run(7 * time.Hour)
	guest := s.node("guest")
	s.nodes[2].invite(guest)
	s.until(time.Hour, func() bool { return s.connected(junior, s.nodes[2], guest) })
	author.must(Remove{Contest: true})
	s.until(2*time.Hour, func() bool { return s.connected(author, s.nodes[2], guest) })
	s.run(time.Hour)
	if guest.texts[messageName(said)] != "before all that" {
		t.Error("the message from before did not come")
	}
}

// A full queue is reported of a connection that has been replaced, and a probe gets through without a word from the peer:
// neither leaves a member paused.
func TestMemberDoesNotStayPaused(t *testing.T) {
	s := newSim(t, 306)
	s.group(2, oplog.Symmetric())
	a, b := s.nodes[0], s.nodes[1]
	old := a.g.peers[b.g.self].ready().name
	s.run(2 * time.Hour)
	b.must(Repair{a.g.self})
	s.until(time.Hour, func() bool { return a.g.peers[b.g.self].ready().name != old })
	a.step(Quota{old})
	if why := a.g.peers[b.g.self].paused; why != ReasonNone {
		t.Errorf("paused for the queue of a connection that was replaced: %v", why)
	}
	a.step(Quota{a.g.peers[b.g.self].ready().name})
	if a.g.peers[b.g.self].paused != ReasonQuota {
		t.Error("not paused for a full queue")
	}
	s.run(quotaWait + time.Minute)
	if why := a.g.peers[b.g.self].paused; why != ReasonNone {
		t.Errorf("still paused after the queue took a message: %v", why)
	}
	s.stillWell(a, b)
}

// Somebody names an operation before it comes here. When it comes, that member is known to have it, and is not sent the
// whole log with the next news.
func TestMemberThatKnewBeforeUsIsNotSentTheLog(t *testing.T) {
	s := newSim(t, 307)
	s.group(3, oplog.Symmetric())
	author, early, late := s.nodes[0], s.nodes[1], s.nodes[2]
	s.cutOff(author, early.name)
	author.must(Set{"title", []byte("news")})
	s.run(time.Second)
	strike(early, late, &syncFrame{Heads: heads(early)})
	late.g.peers[early.g.self].knows = nil // its hello named nothing that was known here
	strike(author, late, &opsFrame{Ops: author.g.log.After(nil)})
	if lacks := late.g.log.After(late.g.peers[early.g.self].knows); len(lacks) > 0 {
		t.Errorf("%d operations would be sent to somebody who has them", len(lacks))
	}
}

// Who is connected with nobody but a liar hears that a message is not for it. It asks the author as soon as that one is
// connected.
func TestWhatOnlyALiarSaysIsNotForUs(t *testing.T) {
	s := newSim(t, 309)
	s.group(3, oplog.Symmetric(), oplog.Setting{Name: "history", Value: []byte("all")})
	author, liar, other := s.nodes[0], s.nodes[1], s.nodes[2]
	said := author.send("for everybody")
	s.run(time.Minute)
	author.stop()
	other.stop()
	liar.filter = func(e Effect) []Effect {
		m, ok := e.(SendConn)
		if !ok {
			return []Effect{e}
		}
		frames, _ := splitBody(m.Body)
		var b bundle
		for _, f := range frames {
			if d, err := decodeFrame(f); err == nil && d.tag == TagFwd {
				f = encodeFrame(&noneFrame{[]noneEntry{{said.Author, Range{0, 0}, noneNotForYou}}})
			}
			b.add(f, forSync)
		}
		m.Body = b.bytes()
		return []Effect{m}
	}
	guest := s.node("guest")
	liar.invite(guest)
	s.until(time.Hour, func() bool {
		c := guest.g
		return c != nil && c.chains[said.Author] != nil && c.chains[said.Author].top > 0 && len(c.chains[said.Author].gaps) == 0
	})
	if guest.texts[messageName(said)] != "" {
		t.Fatal("the liar gave the message")
	}
	author.start()
	other.start()
	s.until(3*time.Hour, func() bool { return s.connected(author, guest) })
	s.run(time.Minute)
	if guest.texts[messageName(said)] != "for everybody" {
		t.Error("the author was not asked")
	}
}

// One member alone says that there is an own message that is not here. That costs a new run and no ratchet; when a second
// one says so the ratchets are made again.
func TestOneLiarRemakesNoRatchets(t *testing.T) {
	s := newSim(t, 310)
	s.group(4, oplog.Symmetric())
	victim, liar, second := s.nodes[0], s.nodes[1], s.nodes[2]
	victim.send("something")
	s.run(time.Minute)
	resyncs := 0
	victim.hook = func(_ *node, e Effect) {
		if _, ok := e.(ResyncConn); ok {
			resyncs++
		}
	}
	claim := func(from *node, number uint64) {
		strike(from, victim, &syncFrame{Heads: heads(from), List: []MessageID{{victim.g.self, number, [32]byte{7}}}})
	}
	begun := s.now
	claim(liar, 5)
	if victim.g.Info().Recovery != RecoveryMessage {
		t.Fatal("nothing is asked")
	}
	s.until(recoverWait-time.Second, func() bool { return victim.g.Info().Recovery == RecoveryNone })
	if resyncs > 0 {
		t.Errorf("%d ratchets are made again because of one member", resyncs)
	}
	victim.send("a new run")
	s.run(time.Minute)
	if waited := s.now.Sub(begun); waited > 2*time.Minute {
		t.Errorf("it took %v", waited)
	}
	s.run(claimEvery)
	claim(liar, victim.g.main.next+3)
	claim(liar, victim.g.main.next+4)
	if resyncs > 0 {
		t.Error("who says it twice is two")
	}
	claim(second, victim.g.main.next+3)
	if resyncs != 3 {
		t.Errorf("%d ratchets are made again because of two members", resyncs)
	}
	s.run(time.Hour)
	s.agree(s.nodes...)
	s.stillWell(s.nodes...)
}

// A malicious inviter joins the requests that it is to pass on, in the place of those they are for. As soon as the new
// member knows somebody else, its requests go another way.
func TestStolenRequestsGoAnotherWay(t *testing.T) {
	s := newSim(t, 308)
	s.group(4, oplog.Symmetric())
	thief, spared := s.nodes[1], s.nodes[3]
	guest := s.node("guest")
	stolen := 0
	thief.hears = func(in Input) {
		m, ok := in.(Message)
		if !ok {
			return
		}
		frames, _ := splitBody(m.Body)
		for _, f := range frames {
			d, err := decodeFrame(f)
			if err != nil || d.tag != TagInvMem {
				continue
			}
			for _, o := range d.frame.(*invMemFrame).Offers {
				if o.Responder == spared.g.self || o.Responder == thief.g.self {
					continue
				}
				stolen++
				thief.join(JoinConn{Conn: fmt.Sprint("theft ", stolen), Link: o.Link, Hello: func(Binding) []byte { return nil }})
			}
		}
	}
	s.faults = newFaults(1)
	thief.invite(guest)
	s.until(2*time.Hour, func() bool { return s.connected(s.nodes...) })
	if stolen < 2 {
		t.Errorf("%d requests were stolen", stolen)
	}
	s.stillWell(s.nodes...)
}

// The store of a member goes back to before the only connection that another one has with it. It knocks, and gets the offer
// over its door: what the other one takes for a connection leads nowhere.
func TestRestoredMemberKnocks(t *testing.T) {
	s := newSim(t, 312)
	s.group(2, oplog.Symmetric())
	back, holder := s.nodes[0], s.nodes[1]
	holder.must(Publish{})
	s.run(2 * time.Hour)
	if holder.g.initiates(holder.g.peers[back.g.self]) == false {
		t.Fatal("the other one makes the offers")
	}
	old, oldConn := back.backup(), back.g.peers[holder.g.self].ready().name
	holder.must(Repair{back.g.self})
	s.run(2 * time.Hour)
	now := back.g.peers[holder.g.self].ready().name
	if now == oldConn {
		t.Fatal("no other connection")
	}
	s.conns[now].forgotten = true
	back.restoreFrom(old)
	back.step(Failed{oldConn, ReasonAuth})
	atDoor := false
	holder.hook = func(_ *node, e Effect) {
		if d, ok := e.(SendDoor); ok {
			f, err := decodeFrame(d.Frame)
			atDoor = atDoor || err == nil && f.tag == TagInvMem
		}
	}
	s.until(15*time.Minute, back.g.peers[holder.g.self].healthy)
	if !atDoor {
		t.Error("the offer did not go over the door")
	}
	s.run(5 * time.Minute)
	s.stillWell(s.nodes...)
}

// A member writes more side by side than is taken, on something that has not come yet. Whoever brings that is not to blame.
func TestLimitNamesTheAuthorAndNotWhoPassesOn(t *testing.T) {
	s := newSim(t, 313)
	s.group(4, oplog.Symmetric())
	other, liar, victim, honest := s.nodes[0], s.nodes[1], s.nodes[2], s.nodes[3]
	s.cutOff(other, honest.name)
	other.must(Set{"title", []byte("news")})
	s.until(time.Minute, func() bool { return honest.g.log.Len() > victim.g.log.Len() })
	news := other.g.log.Heads()
	for i := range 3 * oplog.MaxParallel {
		strike(liar, victim, &opsFrame{Ops: []*oplog.Op{signedOp(t, liar.g, 0, news, &oplog.Set{Setting: oplog.Setting{Name: fmt.Sprint(i)}})}})
	}
	strike(honest, victim, &opsFrame{Ops: []*oplog.Op{honest.g.log.Op(news[0])}})
	if got := warnedOf(victim, WarnLimit); !slices.Equal(got, []Key{liar.g.self}) {
		t.Errorf("warned of %v", s.keysText(got))
	}
	// The same with operations that wait for what never comes: others have made them, so nobody is named.
	for i := range oplog.MaxWaitingOf + 20 {
		op := signedOp(t, liar.g, 9, []OpID{{byte(i), 1}}, &oplog.Leave{})
		strike(honest, victim, &opsFrame{Ops: []*oplog.Op{op}})
	}
	if got := warnedOf(victim, WarnLimit); len(got) != 2 || got[1] != (Key{}) {
		t.Errorf("warned of %v", s.keysText(got))
	}
}

// A member whose store went back is given a false copy of a message of its own, and passes it on as what it is: a copy.
// Whoever has what it wrote keeps that, and nobody takes the copy for its word.
func TestFalseCopyOfAnOwnMessageIsNoWord(t *testing.T) {
	s := newSim(t, 314)
	s.group(4, oplog.Symmetric())
	author, liar, late, other := s.nodes[0], s.nodes[1], s.nodes[2], s.nodes[3]
	old := author.backup()
	late.stop()
	s.loses = func(_, to *node, _ any) bool { return to == late }
	real := author.send("I agree")
	s.run(time.Minute)
	s.loses = nil
	k, _ := loadKept(liar.tx, 'm', author.g.self, 0)
	k.message.Body = []byte("I disagree")
	k.id.Hash = k.message.hash(liar.g.id, author.g.self)
	(&step{Group: liar.g, env: liar.env(liar.tx)}).putKept('m', k)
	other.stop()
	author.restoreFrom(old)
	author.must(Recover{})
	s.run(2 * time.Minute)
	given, ok := loadKept(author.tx, 'm', author.g.self, 0)
	if !ok || string(given.message.Body) != "I disagree" || !given.vouched || given.via != liar.g.self {
		t.Fatal("the author was not given the false copy")
	}
	liar.stop()
	late.start()
	s.run(time.Hour)
	if got, ok := loadKept(late.tx, 'm', author.g.self, 0); !ok || !got.vouched || got.via != author.g.self {
		t.Errorf("it is taken for the author's word, or was not passed on: %v", ok)
	}
	other.start()
	s.run(26 * time.Hour)
	if got, ok := loadKept(other.tx, 'm', author.g.self, 0); !ok || got.id != real || got.vouched {
		t.Error("who had what the author wrote has it no more")
	}
	for _, n := range s.nodes {
		if got := warnedOf(n, WarnEquivocation); len(got) > 0 {
			t.Errorf("%s was warned of an equivocation of %s", n.name, s.keysText(got))
		}
		if got := eventsOf[MessageConfirmed](n); len(got) > 0 {
			t.Errorf("%s was told that %d messages are confirmed", n.name, len(got))
		}
	}
	if !slices.Contains(warnedOf(author, WarnDisputed), liar.g.self) && !slices.Contains(warnedOf(author, WarnDisputed), other.g.self) {
		t.Error("the author does not know that copies differ")
	}
}

// An author was restored and does not keep a message any more. That is not the end of it: others are asked, and who was
// away when all were is asked when it is back.
func TestWhatAnAuthorLostIsAskedOfOthers(t *testing.T) {
	s := newSim(t, 315)
	s.group(4, oplog.Symmetric())
	author, lacks, has, other := s.nodes[0], s.nodes[1], s.nodes[2], s.nodes[3]
	old := author.backup()
	s.loses = func(_, to *node, _ any) bool { return to == lacks || to == other }
	said := author.send("only one has this")
	s.run(time.Minute)
	s.loses = nil
	has.stop()
	// It goes away from the others as well: a connection that is no more.
	for _, n := range []*node{lacks, other} {
		n.step(Failed{n.g.peers[has.g.self].ready().name, ReasonAuth})
	}
	author.restoreFrom(old)
	author.must(Recover{})
	s.until(time.Minute, func() bool { return author.g.peers[other.g.self].healthy() && author.g.peers[lacks.g.self].healthy() })
	strike(other, author, &syncFrame{Heads: heads(other), List: []MessageID{said}}) // it has heard of it
	s.run(10 * time.Minute)
	strike(other, lacks, &syncFrame{Heads: heads(other), List: []MessageID{said}})
	s.run(time.Hour)
	if c := lacks.g.chains[author.g.self]; lacks.got[messageName(said)] > 0 || len(c.gaps) > 0 {
		t.Fatalf("it is not given up: %v", c.gaps)
	}
	s.loses = func(from, to *node, what any) bool {
		m, ok := what.(SendConn)
		if !ok || from != has {
			return false
		}
		frames, _ := splitBody(m.Body) // nothing but an answer tells of it
		has := func(tag Tag) bool {
			return slices.ContainsFunc(frames, func(f []byte) bool { d, _ := decodeFrame(f); return d.tag == tag })
		}
		return has(TagSync) && !has(TagFwd)
	}
	author.stop() // it would tell what comes back to it
	has.start()
	s.until(4*time.Hour, func() bool { return lacks.g.peers[has.g.self].healthy() })
	s.run(time.Minute)
	if lacks.texts[messageName(said)] != "only one has this" {
		t.Errorf("who came back was not asked: %v", lacks.g.chains[author.g.self].absent)
	}
}

// A member was made to look for own messages that nobody wrote. What it really wrote is announced all the same.
func TestMadeUpOwnNumbersHoldNothingBack(t *testing.T) {
	s := newSim(t, 316)
	s.group(3, oplog.Symmetric())
	author, liar, late := s.nodes[0], s.nodes[1], s.nodes[2]
	s.loses = func(_, to *node, _ any) bool { return to == late }
	said := author.send("real")
	s.run(time.Minute)
	s.loses = nil
	strike(liar, author, &syncFrame{Heads: heads(liar), List: []MessageID{{author.g.self, 7, [32]byte{7}}}})
	s.run(10 * time.Minute)
	if author.g.Info().Recovery != RecoveryNone || author.g.main.run == 0 {
		t.Fatal("there was no recovery")
	}
	st := &step{Group: author.g, env: author.env(author.tx)}
	if front := st.front(func(k Key) bool { return k == author.g.self }); !slices.Equal(front, []MessageID{said}) {
		t.Errorf("the own list says %v", front)
	}
	s.run(7 * time.Hour)
	if late.texts[messageName(said)] != "real" {
		t.Error("the message before the made-up one did not come")
	}
}

// The newest copy that a new member was given is right and one before it is false. All digests are equal; the author says
// nevertheless what it wrote as soon as it is connected.
func TestFalseCopyBelowARightOne(t *testing.T) {
	s := newSim(t, 317)
	s.group(3, oplog.Symmetric(), oplog.Setting{Name: "history", Value: []byte("all")})
	author, liar := s.nodes[0], s.nodes[1]
	real := author.send("I agree")
	author.send("as I said")
	s.run(time.Minute)
	k, _ := loadKept(liar.tx, 'm', author.g.self, 0)
	k.message.Body = []byte("I disagree")
	k.id.Hash = k.message.hash(liar.g.id, author.g.self)
	(&step{Group: liar.g, env: liar.env(liar.tx)}).putKept('m', k)
	author.stop()
	s.nodes[2].stop()
	guest := s.node("guest")
	liar.invite(guest)
	s.until(time.Hour, func() bool { return len(guest.texts) == 2 })
	liar.stop()
	author.start()
	s.nodes[2].start()
	liar.start()
	s.until(2*time.Hour, func() bool { return s.connected(author, s.nodes[2], guest) })
	s.run(7 * time.Hour)
	if guest.texts[messageName(real)] != "I agree" {
		t.Error("the false copy stays")
	}
	if !slices.Contains(warnedOf(guest, WarnDisputed), liar.g.self) {
		t.Error("who gave it was not reported")
	}
}

// An author that does not keep a message any more does not say that nobody does.
func TestWhatAnAuthorDroppedIsAskedOfOthers(t *testing.T) {
	s := newSim(t, 318)
	s.group(3, oplog.Symmetric())
	author, lacks, has := s.nodes[0], s.nodes[1], s.nodes[2]
	s.loses = func(_, to *node, _ any) bool { return to == lacks }
	said := author.send("long ago")
	s.run(time.Minute)
	s.loses = nil
	k, _ := loadKept(author.tx, 'm', author.g.self, 0)
	(&step{Group: author.g, env: author.env(author.tx)}).drop(k)
	strike(has, lacks, &syncFrame{Heads: heads(has), List: []MessageID{said}})
	s.run(10 * time.Second)
	if got := lacks.g.chains[author.g.self].absent; len(got) > 0 {
		t.Errorf("given up: %v", got)
	}
	s.run(time.Hour)
	if lacks.texts[messageName(said)] != "long ago" {
		t.Error("the other one was not asked")
	}
}
