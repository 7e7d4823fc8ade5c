package grouproto

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/kv"
)

// wide is one member of a large group whose others exist only as peers with a working connection.
type wide struct {
	t    testing.TB
	g    *Group
	tx   *countingTx
	rng  *rand.Rand
	now  time.Time
	keys []Key
	sent map[Key][]SendConn
}

// countingTx counts what is written.
type countingTx struct {
	kv.Memory
	puts  map[byte]int // by the kind of record
	bytes map[byte]int
}

func (c *countingTx) Put(key, value []byte) {
	c.puts[key[0]]++
	c.bytes[key[0]] += len(key) + len(value)
	c.Memory.Put(key, value)
}

func (c *countingTx) reset() { c.puts, c.bytes = map[byte]int{}, map[byte]int{} }

func (c *countingTx) total() (puts, bytes int) {
	for k, n := range c.puts {
		puts, bytes = puts+n, bytes+c.bytes[k]
	}
	return puts, bytes
}

func newWide(t testing.TB, n int) *wide {
	w := &wide{t: t, tx: &countingTx{}, rng: rand.New(rand.NewPCG(9, 9)), now: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)}
	w.tx.reset()
	g, _, err := Create(w.env(), CreateOptions{Policy: oplog.Symmetric()})
	if err != nil {
		t.Fatal(err)
	}
	w.g = g
	s := &step{Group: g, env: w.env()}
	for i := range n - 1 {
		seed := sha256.Sum256(fmt.Append(nil, "member ", i))
		k := Key(ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))
		body, err := g.log.Next(g.self, &oplog.Add{Member: k, Role: oplog.Plain}, w.now.Unix())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.publish(body, toNobody); err != nil {
			t.Fatal(err)
		}
		p := g.peers[k]
		c := &pairConn{
			name: fmt.Sprintf("connection %4d", i), side: sideInitiator, state: connReady, link: make([]byte, 280),
		}
		s.addConn(p, c)
		p.connected, p.retryAt = true, time.Time{}
		w.keys = append(w.keys, k)
	}
	for _, p := range g.order {
		p.knows = g.log.Heads()
		s.touch(p)
	}
	s.finish()
	w.step(Tick{})
	return w
}

func (w *wide) env() Env { return Env{Now: w.now, Rand: seeded{w.rng}, Tx: w.tx} }

func (w *wide) step(in Input) []Effect {
	w.sent = map[Key][]SendConn{}
	out := w.g.Step(w.env(), in)
	for _, e := range out {
		if e, ok := e.(SendConn); ok {
			k := w.g.conns[e.Conn].key
			w.sent[k] = append(w.sent[k], e)
		}
	}
	return out
}

func (w *wide) conn(k Key) string { return w.g.peers[k].ready().name }

// say is a message of a member, as its connection brings it.
func (w *wide) say(k Key, number uint64, prev [32]byte) (Input, [32]byte) {
	m := &message{Number: number, Prev: prev, Heads: w.g.log.Heads(), Body: make([]byte, 200)}
	return Message{w.conn(k), bodyOf(&msgFrame{m})}, m.hash(w.g.id, k)
}

// One message is stored once, however many it goes to; per member there is a small record of how far it is.
func TestOneMessageIsStoredOnceAndOneCursorPerMember(t *testing.T) {
	for _, n := range []int{3, 50, 500} {
		w := newWide(t, n)
		w.step(Send{Body: make([]byte, 1000)})
		w.tx.reset()
		w.step(Send{Body: make([]byte, 1000)})
		if len(w.sent) != n-1 {
			t.Fatalf("n = %d: sent to %d", n, len(w.sent))
		}
		puts, size := w.tx.total()
		if w.tx.puts['m'] != 1 || w.tx.puts['t'] != 1 || w.tx.puts['u'] != n-1 || w.tx.puts['c'] != 1 ||
			w.tx.puts['g'] != 1 || puts != n+3 {
			t.Errorf("n = %d: wrote %v", n, w.tx.puts)
		}
		per := w.tx.bytes['u'] / (n - 1)
		t.Logf("n = %d: %d records, %d bytes, of these %d per member", n, puts, size, per)
		if per > 250 || size > 2_500+250*(n-1) {
			t.Errorf("n = %d: %d bytes, %d per member", n, size, per)
		}
		// What a relay has taken moves one cursor.
		k := w.keys[0]
		ref := w.g.peers[k].window[0].ref
		w.tx.reset()
		w.step(Sent{w.conn(k), ref})
		if puts, _ := w.tx.total(); puts != 1 || w.tx.puts['u'] != 1 {
			t.Errorf("n = %d: a body that was sent wrote %v", n, w.tx.puts)
		}
		// A message that comes in is written once, too: with its position, its author's chain and the main record.
		in, _ := w.say(k, 0, [32]byte{})
		w.tx.reset()
		w.step(in)
		if puts, _ := w.tx.total(); puts > 5 || w.tx.puts['m'] != 1 || w.tx.puts['p'] != 0 {
			t.Errorf("n = %d: a message that came wrote %v", n, w.tx.puts)
		}
	}
}

// Who does not read costs nothing for each message.
func TestPausedMemberCostsNothingPerMessage(t *testing.T) {
	for _, why := range []Reason{ReasonQuota, ReasonInactive} {
		w := newWide(t, 5)
		slow := w.keys[2]
		w.step(Send{Body: []byte("before")})
		w.step(Quota{w.conn(slow)})
		w.g.peers[slow].paused = why
		before := *w.g.peers[slow]
		stored := w.tx.Len()
		w.tx.reset()
		for i := range 20 {
			w.step(Send{Body: fmt.Append(nil, "message ", i)})
			for _, k := range w.keys {
				for _, e := range w.sent[k] {
					w.step(Sent{e.Conn, e.Ref})
				}
			}
			if len(w.sent[slow]) > 0 {
				t.Fatalf("%v: something was sent to it", why)
			}
		}
		p := w.g.peers[slow]
		if p.next != before.next || len(p.out) != 0 || p.wayKept != before.wayKept && why == ReasonQuota {
			t.Errorf("%v: its cursor moved from %d to %d", why, before.next, p.next)
		}
		if n := w.tx.Len() - stored; n != 40 { // a body and a position for each
			t.Errorf("%v: %d records for 20 messages", why, n)
		}
		if w.tx.puts['p'] != 0 || w.tx.puts['q'] != 0 {
			t.Errorf("%v: wrote %v", why, w.tx.puts)
		}
	}
}

// BenchmarkReceive500 is one message of another member in a group of 500.
func BenchmarkReceive500(b *testing.B) {
	w := newWide(b, 500)
	prev := make([][32]byte, len(w.keys))
	inputs := make([]Input, b.N)
	for i := range inputs {
		j := i % len(w.keys)
		inputs[i], prev[j] = w.say(w.keys[j], uint64(i/len(w.keys)), prev[j])
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, in := range inputs {
		w.now = w.now.Add(10 * time.Millisecond)
		w.step(in)
		w.g.NextWake()
	}
}

// BenchmarkSent500 is one body that a relay has taken, in a group of 500.
func BenchmarkSent500(b *testing.B) {
	w := newWide(b, 500)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		w.step(Send{Body: []byte("x")})
		all := w.sent
		b.StartTimer()
		for _, k := range w.keys {
			w.step(Sent{all[k][0].Conn, all[k][0].Ref})
			w.g.NextWake()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(w.keys)), "ns/sent")
}

// putPeer2 writes a peer as version 2 of the record did: nothing about ratchets.
func putPeer2(tx kv.Tx, p *peer) {
	tx.Put(record('p', p.key[:]), encodePair2(p))
}

func encodePair2(p *peer) []byte {
	pair := p.appendPair(nil)
	b, rest := append([]byte{2}, pair[1:3]...), pair[3:]
	for _, c := range p.conns {
		n := 1 + len(c.name) + 2 + 4 + 8 + 2 + len(c.link) + 3 + 1 + 32*len(c.told) + 8
		b, rest = append(b, rest[:n]...), rest[n+len(c.rebound.append(nil)):]
	}
	return append(b, rest...)
}

// putPeer1 writes a peer as version 1 of the record did: everything in one.
func putPeer1(tx kv.Tx, p *peer) {
	pair, way := encodePair2(p), p.appendWay(nil)
	end := len(pair) - 9 // the last two fields came after those of the way
	b := append([]byte{1}, pair[1:end]...)
	b = append(b, way[1:]...)
	tx.Put(record('p', p.key[:]), append(b, pair[end:]...))
	tx.Delete(record('u', p.key[:]))
}

func TestPeersStoredByOlderVersionsAreRead(t *testing.T) {
	for version, put := range map[int]func(kv.Tx, *peer){1: putPeer1, 2: putPeer2} {
		t.Run(fmt.Sprint(version), func(t *testing.T) { testOldPeers(t, put) })
	}
}

func testOldPeers(t *testing.T, put func(kv.Tx, *peer)) {
	s := newSim(t, 60)
	s.group(3, oplog.Symmetric())
	a, b := s.nodes[1], s.nodes[2]
	b.stop()
	for i := range 3 {
		a.send(fmt.Sprint("message ", i))
	}
	s.run(30 * time.Second)
	want := *a.g.peers[b.g.self]
	for _, p := range a.g.order {
		put(a.tx, p)
	}
	a.load()
	got := a.g.peers[b.g.self]
	if !bytes.Equal(got.appendPair(nil), want.appendPair(nil)) || !bytes.Equal(got.appendWay(nil), want.appendWay(nil)) {
		t.Error("another peer was loaded")
	}
	b.start()
	a.send("with the new records")
	s.run(time.Minute)
	if _, ok := a.tx.Get(record('u', got.key[:])); !ok {
		t.Error("no record of the new version was written")
	}
	a.load()
	s.run(time.Minute)
	s.agree(s.nodes...)
	s.sameMessages(s.nodes, nil)
}
