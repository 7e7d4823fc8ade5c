package directconn

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/internal/kv"
	"pgregory.net/rapid"
)

// side is one of two agents that meet in a group called garden, with a network between them that keeps the order of
// frames in each direction.
type side struct {
	t      testing.TB
	name   string
	key    [32]byte
	other  *side
	now    *time.Time
	tx     *kv.Memory
	core   *Core
	rand   *rand.Rand
	policy bool     // the policy permits the other side to ask
	frames []Frame  // on their way to this side
	made   []string // connections whose link is being made
	joins  []JoinConn
	conns  map[string]string // of working connections: our name → their name
	gone   map[string]bool
	sent   [][]byte // messages over direct connections
	events []Event
	last   Done
}

func pair(t testing.TB, seed uint64) (a, b *side) {
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	make := func(name string, key byte) *side {
		s := &side{t: t, name: name, key: [32]byte{key}, now: &now, tx: &kv.Memory{}, policy: true,
			rand: rand.New(rand.NewPCG(seed, uint64(key))), conns: map[string]string{}, gone: map[string]bool{}}
		s.load()
		return s
	}
	a, b = make("alice", 1), make("bob", 2)
	a.other, b.other = b, a
	return a, b
}

func (s *side) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(s.rand.Uint32())
	}
	return len(b), nil
}

func (s *side) load() {
	core, err := Load(s.tx)
	if err != nil {
		s.t.Fatal(err)
	}
	s.core = core
}

func (s *side) peer() Peer { return Peer{Group: "garden", Member: s.other.key} }

func (s *side) step(in Input) {
	for _, e := range s.core.Step(Env{Now: *s.now, Rand: s, Tx: s.tx}, in) {
		switch e := e.(type) {
		case Done:
			s.last = e
		case NewConn:
			s.made = append(s.made, e.Conn)
		case JoinConn:
			s.joins = append(s.joins, e)
		case SendConn:
			s.sent = append(s.sent, e.Body)
		case DeleteConn:
			s.gone[e.Conn] = true
		case SendGroup:
			s.other.frames = append(s.other.frames, Frame{
				Peer: s.other.peer(), Self: s.other.key, Kind: e.Kind, Payload: e.Payload, Permitted: s.other.policy,
			})
		case Notice:
			s.events = append(s.events, e.Event)
		}
	}
	s.load() // every step ends with everything stored
}

func (s *side) must(in Input) Done {
	s.t.Helper()
	if s.step(in); s.last.Err != nil {
		s.t.Fatalf("%s: %T: %v", s.name, in, s.last.Err)
	}
	return s.last
}

func (s *side) fails(want error, in Input) {
	s.t.Helper()
	if s.step(in); !errors.Is(s.last.Err, want) {
		s.t.Errorf("%s: %T: %v, want %v", s.name, in, s.last.Err, want)
	}
}

// act does one thing that waits in the network; false if there is nothing.
func (s *side) act(which int) bool {
	var todo []func()
	if len(s.frames) > 0 {
		todo = append(todo, func() {
			f := s.frames[0]
			s.frames = s.frames[1:]
			s.step(f)
		})
	}
	if len(s.made) > 0 {
		todo = append(todo, func() {
			name := s.made[0]
			s.made = s.made[1:]
			if !s.gone[name] {
				s.step(LinkReady{name, []byte("link to " + name)})
			}
		})
	}
	if len(s.joins) > 0 {
		todo = append(todo, func() {
			j := s.joins[0]
			s.joins = s.joins[1:]
			theirs := string(bytes.TrimPrefix(j.Link, []byte("link to ")))
			switch {
			case s.gone[j.Conn]:
			case s.other.gone[theirs]:
				s.step(Failed{j.Conn})
			default:
				s.conns[j.Conn], s.other.conns[theirs] = theirs, j.Conn
				s.step(Connected{j.Conn})
				s.other.step(Connected{theirs})
			}
		})
	}
	if len(todo) == 0 {
		return false
	}
	todo[which%len(todo)]()
	return true
}

func settle(a, b *side) {
	for a.act(0) || b.act(0) {
	}
}

func eventsOf[E Event](s *side) (out []E) {
	for _, e := range s.events {
		if e, ok := e.(E); ok {
			out = append(out, e)
		}
	}
	return out
}

// linked checks that both ends have the same working connection.
func linked(t testing.TB, a, b *side) {
	t.Helper()
	x, ok1 := a.core.Conn(a.peer())
	y, ok2 := b.core.Conn(b.peer())
	if !ok1 || !ok2 || a.conns[x] != y || b.conns[y] != x {
		t.Errorf("not connected: %v, %v", ok1, ok2)
	}
	for _, s := range []*side{a, b} {
		if n := s.tx.Len(); n != 1 {
			t.Errorf("%s has %d records", s.name, n)
		}
	}
}

func TestRequestIsAcceptedAndWhatWaitedIsSent(t *testing.T) {
	a, b := pair(t, 1)
	id := a.must(Ask{a.peer(), a.key, []byte("shall we?")}).Request
	for i := range 3 {
		a.must(Write{a.peer(), []byte{byte(i)}})
	}
	a.fails(ErrAsked, Ask{a.peer(), a.key, nil})
	settle(a, b)
	asked := eventsOf[Asked](b)
	if len(asked) != 1 || asked[0].Request != id || string(asked[0].Text) != "shall we?" || asked[0].Peer != b.peer() {
		t.Fatalf("bob was asked %v", asked)
	}
	b.fails(ErrUnknown, Write{b.peer(), []byte("not yet")})
	b.fails(ErrUnknown, Accept{RequestID{1}})
	b.must(Accept{id})
	b.must(Write{b.peer(), []byte("hello")})
	settle(a, b)
	linked(t, a, b)
	if len(a.sent) != 3 || a.sent[0][0] != 0 || a.sent[2][0] != 2 || len(b.sent) != 1 {
		t.Errorf("sent %v and %v", a.sent, b.sent)
	}
	if len(eventsOf[Ready](a)) != 1 || len(eventsOf[Ready](b)) != 1 {
		t.Error("both should know that it works")
	}
	a.fails(ErrExists, Ask{a.peer(), a.key, nil})
	a.must(Write{a.peer(), []byte("straight")})
	if len(a.sent) != 4 {
		t.Error("a message waits though the connection works")
	}
}

func TestRequestIsRefused(t *testing.T) {
	a, b := pair(t, 2)
	id := a.must(Ask{a.peer(), a.key, nil}).Request
	a.must(Write{a.peer(), []byte("lost")})
	settle(a, b)
	b.must(Refuse{id})
	settle(a, b)
	if got := eventsOf[Ended](a); len(got) != 1 || got[0] != (Ended{a.peer(), id, WhyRefused}) {
		t.Errorf("alice was told %v", got)
	}
	if a.tx.Len() != 0 || b.tx.Len() != 0 {
		t.Errorf("records are left: %d, %d", a.tx.Len(), b.tx.Len())
	}
	if _, ready := a.core.Conn(a.peer()); ready {
		t.Error("connected")
	}
	a.must(Ask{a.peer(), a.key, nil}) // may ask again
}

func TestRulesDecideInTheirOrder(t *testing.T) {
	for _, c := range []struct {
		name      string
		blocked   bool
		choice    Choice
		permitted bool
		asked     bool
		joined    bool
	}{
		{"nothing set", false, ChoiceAsk, true, true, false},
		{"no permission", false, ChoiceAsk, false, false, false},
		{"choice beats permission", false, ChoiceAccept, false, false, true},
		{"always refused", false, ChoiceRefuse, true, false, false},
		{"block list beats choice", true, ChoiceAccept, true, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := pair(t, 3)
			b.policy = c.permitted
			b.must(Block{b.peer(), c.blocked})
			b.must(Choose{b.peer(), c.choice})
			a.must(Ask{a.peer(), a.key, nil})
			settle(a, b)
			if got := len(eventsOf[Asked](b)) == 1; got != c.asked {
				t.Errorf("asked: %v", got)
			}
			if got := len(eventsOf[Ready](a)) == 1; got != c.joined {
				t.Errorf("connected: %v", got)
			}
			if got := len(eventsOf[Ended](a)) == 1; got != (!c.asked && !c.joined) {
				t.Errorf("refused: %v", got)
			}
		})
	}
}

func TestBothAskAtOnce(t *testing.T) {
	// In every order of events there is one connection in the end, and nobody is asked.
	for seed := range uint64(200) {
		a, b := pair(t, seed)
		r := rand.New(rand.NewPCG(seed, 9))
		a.must(Ask{a.peer(), a.key, []byte("a")})
		asked := a.made[0] // alice has the smaller key
		a.must(Write{a.peer(), []byte("from alice")})
		for range r.IntN(3) {
			a.act(r.IntN(3))
		}
		// Bob asks before alice's request reaches him, or he would only accept it.
		if b.step(Ask{b.peer(), b.key, []byte("b")}); b.last.Err != nil {
			t.Fatal(b.last.Err)
		}
		b.must(Write{b.peer(), []byte("from bob")})
		for busy := true; busy; {
			x, y := a, b
			if r.IntN(2) == 0 {
				x, y = b, a
			}
			busy = x.act(r.IntN(3)) || y.act(r.IntN(3))
		}
		linked(t, a, b)
		if len(eventsOf[Asked](a))+len(eventsOf[Asked](b)) != 0 {
			t.Error("somebody was asked who has asked already")
		}
		if len(a.sent) != 1 || len(b.sent) != 1 {
			t.Errorf("%d and %d messages were sent", len(a.sent), len(b.sent))
		}
		if name, _ := a.core.Conn(a.peer()); name != asked {
			t.Error("the request of the smaller key does not stand")
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestAskingForWhatWasAskedIsAccepting(t *testing.T) {
	a, b := pair(t, 4)
	id := a.must(Ask{a.peer(), a.key, nil}).Request
	settle(a, b)
	if got := b.must(Ask{b.peer(), b.key, nil}).Request; got != id {
		t.Error("another request was made")
	}
	settle(a, b)
	linked(t, a, b)
}

func TestRequestCanBeWithdrawn(t *testing.T) {
	a, b := pair(t, 5)
	a.fails(ErrUnknown, Withdraw{a.peer()})
	id := a.must(Ask{a.peer(), a.key, nil}).Request
	settle(a, b)
	a.must(Withdraw{a.peer()})
	settle(a, b)
	if got := eventsOf[Ended](b); len(got) != 1 || got[0] != (Ended{b.peer(), id, WhyWithdrawn}) {
		t.Errorf("bob was told %v", got)
	}
	b.fails(ErrUnknown, Accept{id})
	if a.tx.Len() != 0 || b.tx.Len() != 0 {
		t.Error("records are left")
	}
	// Withdrawn before it was sent: nothing is sent.
	a.must(Ask{a.peer(), a.key, nil})
	a.must(Withdraw{a.peer()})
	settle(a, b)
	if len(eventsOf[Asked](b)) != 1 {
		t.Error("bob was asked again")
	}
}

func TestDeletedContactCanBeAskedForAgain(t *testing.T) {
	a, b := pair(t, 6)
	b.must(Choose{b.peer(), ChoiceAccept})
	a.must(Ask{a.peer(), a.key, nil})
	settle(a, b)
	linked(t, a, b)
	old, _ := a.core.Conn(a.peer())
	a.step(Deleted{old})
	if name, ready := a.core.Conn(a.peer()); name != "" || ready {
		t.Error("the deleted contact is still there")
	}
	a.must(Ask{a.peer(), a.key, nil})
	settle(a, b)
	if at := b.core.NextWake(); !at.Equal(a.now.Add(crossWait)) {
		t.Errorf("bob wakes at %v", at)
	}
	*a.now = a.now.Add(crossWait)
	b.step(Tick{})
	settle(a, b)
	linked(t, a, b)
	if now, _ := a.core.Conn(a.peer()); now == old {
		t.Error("the same connection")
	}
}

func TestRequestsEnd(t *testing.T) {
	a, b := pair(t, 7)
	a.must(Ask{a.peer(), a.key, nil})
	settle(a, b)
	if at := b.core.NextWake(); !at.Equal(a.now.Add(Expiry)) {
		t.Errorf("wakes at %v", at)
	}
	*a.now = a.now.Add(Expiry)
	a.step(Tick{})
	b.step(Tick{})
	for _, s := range []*side{a, b} {
		if got := eventsOf[Ended](s); len(got) != 1 || got[0].Why != WhyExpired {
			t.Errorf("%s was told %v", s.name, got)
		}
		if s.tx.Len() != 0 || !s.core.NextWake().IsZero() {
			t.Errorf("%s keeps something", s.name)
		}
	}

	a, b = pair(t, 8)
	a.must(Ask{a.peer(), a.key, nil})
	settle(a, b)
	a.step(PeerGone{a.peer()})
	b.step(PeerGone{b.peer()})
	for _, s := range []*side{a, b} {
		if got := eventsOf[Ended](s); len(got) != 1 || got[0].Why != WhyGone {
			t.Errorf("%s was told %v", s.name, got)
		}
	}

	a, b = pair(t, 9)
	id := a.must(Ask{a.peer(), a.key, nil}).Request
	settle(a, b)
	b.must(Accept{id})
	a.step(Failed{a.made0(t)})
	if got := eventsOf[Ended](a); len(got) != 1 || got[0].Why != WhyFailed {
		t.Errorf("alice was told %v", got)
	}
	settle(a, b)
	if got := eventsOf[Ended](b); len(got) != 1 || got[0].Why != WhyFailed {
		t.Errorf("bob was told %v", got)
	}
}

// made0 returns the connection of the own request.
func (s *side) made0(t testing.TB) string {
	name, _ := s.core.Conn(s.peer())
	if name == "" {
		t.Fatal("no request")
	}
	return name
}

func TestLimits(t *testing.T) {
	a, b := pair(t, 10)
	a.fails(ErrTooLarge, Ask{a.peer(), a.key, make([]byte, MaxText+1)})
	a.must(Ask{a.peer(), a.key, make([]byte, MaxText)})
	a.fails(ErrTooLarge, Write{a.peer(), make([]byte, MaxBody+1)})
	for range MaxWaiting {
		a.must(Write{a.peer(), []byte("x")})
	}
	a.fails(ErrLimit, Write{a.peer(), []byte("x")})
	settle(a, b)

	for i := range MaxOpen + 5 {
		f := invite{Request: RequestID{1, byte(i), byte(i >> 8)}, Link: []byte("l")}
		b.step(Frame{Peer: Peer{"other", [32]byte{9, byte(i), byte(i >> 8)}}, Self: b.key, Kind: KindInvite, Payload: f.append(nil), Permitted: true})
	}
	if got := len(eventsOf[Asked](b)); got != MaxOpen {
		t.Errorf("%d requests wait", got)
	}
	if got := len(a.frames); got != 6 {
		t.Errorf("%d requests were refused", got)
	}
	b.step(Frame{Peer: b.peer(), Kind: KindInvite, Payload: []byte{1, 2}, Permitted: true})
	b.step(Frame{Peer: b.peer(), Kind: KindRefuse, Payload: nil, Permitted: true})
	b.step(Frame{Peer: b.peer(), Kind: 99, Permitted: true})
}

func TestPendingRepeatsWhatHasNoAnswer(t *testing.T) {
	a, b := pair(t, 11)
	id := a.must(Ask{a.peer(), a.key, nil}).Request
	if p := a.core.Pending(); len(p) != 1 || p[0].(NewConn).Conn != a.made[0] {
		t.Errorf("pending: %v", p)
	}
	settle(a, b)
	if p := a.core.Pending(); len(p) != 0 {
		t.Errorf("pending: %v", p)
	}
	b.must(Accept{id})
	if p := b.core.Pending(); len(p) != 1 || p[0].(JoinConn).Conn != b.joins[0].Conn || !bytes.Equal(p[0].(JoinConn).Link, b.joins[0].Link) {
		t.Errorf("pending: %v", p)
	}
}

func TestDamagedRecordsAreNoticed(t *testing.T) {
	a, _ := pair(t, 12)
	a.must(Ask{a.peer(), a.key, nil})
	k := peerKey(kindEntry, a.peer())
	v, _ := a.tx.Get(k)
	for n := range len(v) {
		a.tx.Put(k, v[:n])
		if _, err := Load(a.tx); !errors.Is(err, ErrRecords) {
			t.Fatalf("%d of %d bytes were taken: %v", n, len(v), err)
		}
	}
}

// TestAnythingInAnyOrder checks, for random commands and network orders, that no step fails, that what is stored is what
// is in memory, and that working connections are the same at both ends once everything has arrived.
func TestAnythingInAnyOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := pair(t, rapid.Uint64().Draw(rt, "seed"))
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			s := rapid.SampledFrom([]*side{a, b}).Draw(rt, "side")
			switch rapid.IntRange(0, 9).Draw(rt, "act") {
			case 0, 1:
				s.step(Ask{s.peer(), s.key, []byte("t")})
			case 2:
				if asked := eventsOf[Asked](s); len(asked) > 0 {
					s.step(Accept{asked[len(asked)-1].Request})
				}
			case 3:
				if asked := eventsOf[Asked](s); len(asked) > 0 {
					s.step(Refuse{asked[len(asked)-1].Request})
				}
			case 4:
				s.step(Withdraw{s.peer()})
			case 5:
				s.step(Write{s.peer(), []byte("m")})
			case 6:
				s.step(Choose{s.peer(), Choice(rapid.IntRange(0, 2).Draw(rt, "choice"))})
			default:
				s.act(rapid.IntRange(0, 2).Draw(rt, "which"))
			}
		}
		settle(a, b)
		*a.now = a.now.Add(crossWait)
		a.step(Tick{})
		b.step(Tick{})
		settle(a, b)
		x, ok1 := a.core.Conn(a.peer())
		y, ok2 := b.core.Conn(b.peer())
		if ok1 != ok2 || ok1 && (a.conns[x] != y || b.conns[y] != x) {
			rt.Fatalf("alice is connected: %v, bob: %v", ok1, ok2)
		}
		for _, s := range []*side{a, b} {
			if fmt.Sprint(eventsOf[Ready](s)) != fmt.Sprint(slices.Compact(eventsOf[Ready](s))) {
				rt.Fatal("a connection was reported twice")
			}
		}
	})
}

func FuzzInvite(f *testing.F) {
	i := invite{RequestID{1}, []byte("link"), []byte("text")}
	f.Add(i.append(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		if i, err := readInvite(in); err == nil && !bytes.HasPrefix(in, i.append(nil)) {
			t.Fatalf("%x", in)
		}
		if id, err := readRefusal(in); err == nil && !bytes.HasPrefix(in, id[:]) {
			t.Fatalf("%x", in)
		}
	})
}

func FuzzEntry(f *testing.F) {
	e := &entry{peer: Peer{"g", [32]byte{1}}, own: &request{conn: "c"}, their: &request{link: []byte("l")}}
	f.Add(e.encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		if e, err := decodeEntry(in); err == nil && !bytes.Equal(e.encode(), in) {
			t.Fatalf("%x became %x", in, e.encode())
		}
	})
}

func TestFrameVectors(t *testing.T) {
	i := invite{RequestID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, []byte("link"), []byte("hi")}
	if got := fmt.Sprintf("%x", i.append(nil)); got != "0102030405060708090a0b0c0d0e0f10"+"00046c696e6b"+"00026869" {
		t.Error(got)
	}
	if back, err := readInvite(append(i.append(nil), 7)); err != nil || back.Request != i.Request || string(back.Link) != "link" {
		t.Error(back, err)
	}
}
