package grouproto

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// limitCase drives a group of three against one limit of docs/groups.md; b is the one that enforces it against a.
type limitCase struct {
	limit  Limit
	warned bool // the client is told
	drive  func(t *testing.T, s *sim, a, b *node)
}

var limitCases = []limitCase{
	{LimitMembers, true, func(t *testing.T, s *sim, a, b *node) {
		for _, n := range s.nodes {
			n.limits = Limits{WarnMembers: 3, MaxMembers: 4}
		}
		a.invite(s.node("one"))
		s.run(time.Minute)
		if err := b.refused(Invite{Contact: "one"}); !errors.Is(err, ErrLimit) {
			t.Error(err)
		}
	}},
	{LimitOperations, true, func(t *testing.T, s *sim, a, b *node) {
		c := s.nodes[2]
		for n := 0; b.g.log.Len() < oplog.MaxOps; n++ {
			// What a member that fills the log sends.
			var ops []*oplog.Op
			for range 500 {
				body, err := a.g.log.Next(a.g.self, &oplog.Set{Setting: oplog.Setting{Name: "x", Value: fmt.Append(nil, n)}}, s.now.Unix())
				if err != nil {
					break
				}
				op, err := oplog.Sign(body, a.g.key)
				if err != nil {
					t.Fatal(err)
				}
				a.g.log.Add(nil, op, a.g.self)
				ops = append(ops, op)
			}
			st := &step{Group: b.g, env: b.env(b.tx)}
			st.addOps(b.g.peers[a.g.self], ops)
			st.finish()
			b.perform(st.out)
		}
		for _, in := range []Input{Set{"title", []byte("x")}, SetRole{c.g.self, oplog.Admin}, SetPolicy{oplog.Moderated()}} {
			if err := b.refused(in); !errors.Is(err, ErrLimit) {
				t.Errorf("%T: %v", in, err)
			}
		}
		b.must(Remove{Members: []Key{a.g.self}})
		if _, err := b.g.log.Next(b.g.self, &oplog.Leave{}, s.now.Unix()); err != nil {
			t.Error(err)
		}
		b.must(Close{})
	}},
	{LimitParallel, true, func(t *testing.T, s *sim, a, b *node) {
		heads := a.g.log.Heads()
		for i := range 3 * oplog.MaxParallel {
			s.inject(a, b, &opsFrame{Ops: []*oplog.Op{signedOp(t, a.g, 0, heads, &oplog.Set{Setting: oplog.Setting{Name: fmt.Sprint(i), Value: []byte("x")}})}})
		}
		s.run(time.Minute)
	}},
	{LimitWaiting, true, func(t *testing.T, s *sim, a, b *node) {
		for i := range oplog.MaxWaitingOf + 20 {
			s.inject(a, b, &opsFrame{Ops: []*oplog.Op{signedOp(t, a.g, 5, []OpID{{byte(i), 1}}, &oplog.Leave{})}})
		}
		s.run(time.Minute)
	}},
	{LimitFrames, true, func(t *testing.T, s *sim, a, b *node) {
		for i := range peerBurst + mostDelayed + 100 {
			s.inject(a, b, &msgFrame{&message{Number: uint64(i), Heads: a.g.log.Heads()}})
		}
		s.run(20 * time.Second)
	}},
	{LimitQuestions, true, func(t *testing.T, s *sim, a, b *node) {
		for range manyQuestions*MaxWantsMinute + 20 {
			s.inject(a, b, &syncFrame{})
		}
		s.run(10 * time.Second)
	}},
	{LimitCopies, true, func(t *testing.T, s *sim, a, b *node) {
		b.limits.CopiesHour = 20_000
		for range 4 {
			b.send(string(make([]byte, 10_000)))
		}
		s.run(time.Minute)
		s.inject(a, b, &wantFrame{Messages: []wantEntry{{b.g.self, Range{0, 3}}}})
		s.run(time.Minute)
	}},
	{LimitOffers, true, func(t *testing.T, s *sim, a, b *node) {
		c := s.nodes[0]
		c.stop()
		b.g.peers[c.g.self].ready().broken = true // nothing can be passed on to it
		st := &step{Group: b.g, env: b.env(b.tx)}
		for i := range MaxHeldOffers + 10 {
			st.hold(&heldOffer{via: a.g.self, offer: offer{Initiator: Key{byte(i), 9}, Responder: c.g.self, Expiry: s.now.Add(time.Hour).Unix()}})
		}
		b.perform(st.out)
	}},
	{LimitAttempts, true, func(t *testing.T, s *sim, a, b *node) {
		p := b.g.peers[a.g.self]
		p.attemptsDay, p.attemptsNum = s.now, 2*MaxAttempts
		o := offer{
			Initiator: a.g.self, Responder: b.g.self, Attempt: p.attempt + 1, Expiry: s.now.Add(time.Hour).Unix(), Link: []byte("link to nowhere"),
		}
		o.sign(a.g.key, b.g.id)
		s.inject(a, b, &memInvFrame{Offer: o})
		s.run(time.Minute)
	}},
	{LimitHeld, true, func(t *testing.T, s *sim, a, b *node) {
		for i := range mostHeldOfPeer + 10 {
			s.inject(a, b, &msgFrame{&message{Number: uint64(i), Heads: []OpID{{9}}}})
		}
		s.run(10 * time.Second)
	}},
	{LimitDirect, true, func(t *testing.T, s *sim, a, b *node) {
		for range mostDirect + 10 {
			s.inject(a, b, &directFrame{Tag: TagDirectRej, Payload: make([]byte, 16)})
		}
		s.run(10 * time.Second)
	}},
	{LimitForks, true, func(t *testing.T, s *sim, a, b *node) {
		for i := range inviteBurst + 2 {
			s.inject(a, b, &invFrame{Group: GroupID{byte(i)}, Range: ownVersions})
		}
		s.run(10 * time.Second)
	}},
	{LimitInvitations, false, func(t *testing.T, s *sim, a, b *node) {
		s.node("silent").answer = func(*node, Invitation) {}
		for range mostInvites {
			b.must(Invite{Contact: "silent"})
		}
		if err := b.refused(Invite{Contact: "silent"}); !errors.Is(err, ErrLimit) {
			t.Error(err)
		}
	}},
	{LimitSize, false, func(t *testing.T, s *sim, a, b *node) {
		if err := b.refused(Send{Body: make([]byte, MaxBody+1)}); !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
	}},
	{LimitUnjudged, true, func(t *testing.T, s *sim, a, b *node) {
		p := oplog.Symmetric()
		p.OpsVersion = 2
		a.know(2)
		a.must(SetPolicy{p})
		s.run(time.Minute)
		seq := a.g.log.Op(a.g.log.Heads()[0]).Seq
		heads := a.g.log.Heads()
		for i := 0; i <= oplog.MaxUnjudgedOf; i++ {
			op := laterOp(t, a.g, 2, oplog.Body{Group: a.g.id, Author: a.g.self, Seq: seq + 1, Parents: heads,
				Time: int64(i) * oplog.SecondsOfHour, Action: &oplog.Leave{}})
			st := &step{Group: b.g, env: b.env(b.tx)}
			st.addOps(b.g.peers[a.g.self], []*oplog.Op{op})
			b.perform(st.out)
		}
	}},
	{LimitKept, false, func(t *testing.T, s *sim, a, b *node) {
		b.limits.KeptMessages = 3
		for i := range 10 {
			a.send(fmt.Sprint(i))
			s.run(5 * time.Second)
		}
		if n := len(b.g.History(b.tx, 0, 100)); n != 3 {
			t.Errorf("%d messages are kept", n)
		}
	}},
}

// signedOp is an operation that its author could not write by the rules.
func signedOp(t *testing.T, g *Group, seq uint64, parents []OpID, a oplog.Action) *oplog.Op {
	t.Helper()
	op, err := oplog.Sign(oplog.Body{Group: g.id, Author: g.self, Seq: seq, Parents: parents, Action: a}, ed25519.PrivateKey(g.key))
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// Every limit that is counted is met, counted under its name, and told where a person should know.
func TestLimits(t *testing.T) {
	for i, c := range limitCases {
		t.Run(c.limit.String(), func(t *testing.T) {
			s := newSim(t, uint64(70+i))
			s.group(3, oplog.Symmetric())
			s.maxDelay = s.minDelay
			a, b := s.nodes[1], s.nodes[2]
			if c.limit == LimitOperations {
				b = s.nodes[0]
			}
			c.drive(t, s, a, b)
			if b.g.Hits()[c.limit.String()] == 0 {
				t.Errorf("not counted: %v", b.g.Hits())
			}
			told := slices.ContainsFunc(eventsOf[Warned](b), func(w Warned) bool { return w.Warning == WarnLimit && w.Limit == c.limit })
			if told != c.warned {
				t.Errorf("the client was told: %v", told)
			}
		})
	}
	// These have tests of their own: TestAtMostTwentyPairsAreOpenAtATime and TestAttackFloodOfRequests.
	tested := map[Limit]bool{LimitPairs: true, LimitRequests: true}
	for _, c := range limitCases {
		tested[c.limit] = true
	}
	for l := LimitNone + 1; l < numLimits; l++ {
		if !tested[l] || l.String() == "" {
			t.Errorf("limit %d has no case", l)
		}
	}
}

func TestRetentionThatIsSet(t *testing.T) {
	s := newSim(t, 69)
	s.group(2, oplog.Symmetric())
	a, b := s.nodes[0], s.nodes[1]
	b.limits.Retention = 24 * time.Hour
	a.send("today")
	s.run(23 * time.Hour)
	if n := len(b.g.History(b.tx, 0, 10)); n != 1 {
		t.Errorf("%d messages are kept", n)
	}
	s.run(8 * time.Hour)
	if n, m := len(b.g.History(b.tx, 0, 10)), len(a.g.History(a.tx, 0, 10)); n != 0 || m != 1 {
		t.Errorf("%d and %d messages are kept", n, m)
	}
}

func TestLimitsHaveDefaultsAndBounds(t *testing.T) {
	want := Limits{WarnMembers, MaxMembers, MaxKeptMessages, Retention, MaxWantsMinute, MaxCopiesHour}
	if got := (Limits{}).complete(); got != want {
		t.Errorf("%+v", got)
	}
	if got := (Limits{MaxMembers: 5000}).complete().MaxMembers; got != MaxMembers {
		t.Errorf("%d members", got)
	}
}

// However often a connection fails, a member makes so many offers a day, and says why it makes no more.
func TestOffersOfADay(t *testing.T) {
	s := newSim(t, 67)
	s.group(3, oplog.Symmetric())
	a, b := s.nodes[1], s.nodes[2]
	if !a.g.initiates(a.g.peers[b.g.self]) {
		a, b = b, a
	}
	p := a.g.peers[b.g.self]
	made, first := map[int]int{}, time.Time{}
	a.hook = func(_ *node, e Effect) {
		if _, ok := e.(NewConn); ok {
			if first.IsZero() {
				first = s.now
			}
			made[int(s.now.Sub(first)/(24*time.Hour))]++
		}
	}
	limited := false
	for range 3 * 24 * 60 {
		for _, c := range slices.Clone(p.conns) {
			a.step(Failed{c.name, ReasonAuth})
		}
		limited = limited || p.reason == ReasonLimit
		s.run(time.Minute)
	}
	// The connections of the join count for its day.
	if made[0] < MaxAttempts-2 || made[0] > MaxAttempts || made[1] != MaxAttempts || made[2] > MaxAttempts {
		t.Errorf("offers on each day: %v", made)
	}
	if !limited || a.g.Hits()[LimitAttempts.String()] == 0 {
		t.Errorf("it does not say why: %v", a.g.Hits())
	}
}

// A long gap is asked for in questions that others answer: none names more messages than one may.
func TestLongGapIsAskedForInParts(t *testing.T) {
	const missed = 2*MaxWantMessages + 50
	s := newSim(t, 68)
	s.group(2, oplog.Symmetric())
	s.quota = 5
	author, reader := s.nodes[0], s.nodes[1]
	reader.stop()
	for i := range missed {
		author.send(fmt.Sprint(i))
	}
	s.run(time.Minute)
	asked, most := 0, 0
	reader.hook = func(_ *node, e Effect) {
		send, ok := e.(SendConn)
		if !ok {
			return
		}
		frames, err := splitBody(send.Body)
		if err != nil {
			t.Error(err)
		}
		for _, f := range frames {
			d, err := decodeFrame(f)
			if err != nil {
				t.Error(err)
			}
			if want, ok := d.frame.(*wantFrame); ok {
				n := 0
				for _, m := range want.Messages {
					n += int(m.Range.size())
				}
				asked, most = asked+n, max(most, n)
			}
		}
	}
	reader.start()
	s.run(24 * time.Hour)
	s.sameMessages(s.nodes, nil)
	if len(reader.got) != missed || most != MaxWantMessages || asked <= MaxWantMessages {
		t.Errorf("%d messages came, %d were asked for, %d at once", len(reader.got), asked, most)
	}
}
