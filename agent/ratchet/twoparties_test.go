package ratchet

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/coterie-im/coterie/internal/kv"
)

// toyKEM is a fast stand-in with no security at all.
type toyKEM struct{}

func (toyKEM) Sizes() (public, private, ciphertext int) { return 32, 33, 34 }

func (toyKEM) GenerateKey(rand io.Reader) (public, private []byte, err error) {
	private = make([]byte, 33)
	_, err = io.ReadFull(rand, private)
	return toyPublic(private), private, err
}

func toyPublic(private []byte) []byte {
	h := sha256.Sum256(private)
	return h[:]
}

func (toyKEM) Encapsulate(rand io.Reader, public []byte) (ciphertext, secret []byte, err error) {
	ciphertext = make([]byte, 34)
	_, err = io.ReadFull(rand, ciphertext)
	return ciphertext, toySecret(public, ciphertext), err
}

func (toyKEM) Decapsulate(private, ciphertext []byte) ([]byte, error) {
	return toySecret(toyPublic(private), ciphertext), nil
}

func toySecret(public, ciphertext []byte) []byte {
	h := sha256.Sum256(slices.Concat(public, ciphertext))
	return h[:]
}

// connect makes the states of two parties from an invitation for a range of versions.
func connect(t rapid.TB, random io.Reader, invitation VersionRange, initiator, joiner Options) (i, j *State) {
	t.Helper()
	var kem KEM
	if initiator.PQ {
		kem = initiator.KEM
	}
	keys, err := GenerateKeys(random, kem)
	if err != nil {
		t.Fatal(err)
	}
	j, params, err := NewJoiner(random, keys.Params(invitation), joiner)
	if err != nil {
		t.Fatal(err)
	}
	if i, err = NewInitiator(keys, params, initiator); err != nil {
		t.Fatal(err)
	}
	keys.Clear()
	if i.AD() != j.AD() || i.SecurityCode() != j.SecurityCode() {
		t.Fatal("associated data differ")
	}
	return i, j
}

// modelMessage is a message with what decides its fate: the sender's chain, its number, and the length of the chain before.
type modelMessage struct {
	keys      *MessageKeys
	plaintext []byte
	chain     int
	number    int64
	previous  int64
}

type modelKey struct {
	chain  int
	number int64
}

// party is a State with a model of it that knows numbers only.
type party struct {
	name  string
	state *State
	kem   KEM
	store *kv.Memory

	sendingChain   int // -1: none
	ns, pn         int64
	receivingChain int // -1: none
	nr             int64
	skipped        []modelKey // oldest first
	dropped        uint64
	sent           []modelMessage
}

// receive tells what must happen when a message arrives: an error name, or "" for its plaintext. It is written after the
// protocol document, with chains for header keys.
func (p *party) receive(m modelMessage, bodyChanged bool) string {
	body := ""
	if bodyChanged {
		body = "body authentication"
	}
	if i := slices.Index(p.skipped, modelKey{m.chain, m.number}); i >= 0 {
		p.skipped = slices.Delete(p.skipped, i, i+1)
		return body
	}
	switch m.chain {
	case p.receivingChain:
	case p.receivingChain + 1:
		if p.receivingChain >= 0 {
			switch e := p.skipError(m.previous); e {
			case "":
			case "duplicate":
				return "header"
			default:
				return e
			}
			p.skip(m.previous)
		}
		p.receivingChain++
		p.nr = 0
		p.sendingChain++
		p.pn, p.ns = p.ns, 0
	default:
		return "header"
	}
	if e := p.skipError(m.number); e != "" {
		return e
	}
	p.skip(m.number)
	p.nr++
	return body
}

func (p *party) skipError(n int64) string {
	switch {
	case p.nr > n+1:
		return fmt.Sprintf("earlier %d", p.nr-n-1)
	case p.nr == n+1:
		return "duplicate"
	case n-p.nr > MaxSkip:
		return fmt.Sprintf("too many skipped %d", n+1-p.nr)
	}
	return ""
}

func (p *party) skip(n int64) {
	for ; p.nr < n; p.nr++ {
		p.skipped = append(p.skipped, modelKey{p.receivingChain, p.nr})
	}
	if over := len(p.skipped) - MaxSkippedKeys; over > 0 {
		p.skipped = p.skipped[over:]
		p.dropped += uint64(over)
	}
}

func (p *party) send(t *rapid.T, pq PQ) {
	plaintext := fmt.Appendf(nil, "%s %d", p.name, len(p.sent))
	m, err := p.state.NextSending(pq, 40)
	if p.sendingChain < 0 {
		if !errors.Is(err, ErrNoSendingChain) || p.state.CanSend() {
			t.Fatalf("%s: error %v before receiving", p.name, err)
		}
		return
	}
	if err != nil || !p.state.CanSend() {
		t.Fatalf("%s: %v", p.name, err)
	}
	p.sent = append(p.sent, modelMessage{m, plaintext, p.sendingChain, p.ns, p.pn})
	p.ns++
}

// deliver gives p a message of its peer, perhaps changed, and compares with the model.
func (p *party) deliver(t *rapid.T, random io.Reader, m modelMessage, change string) {
	b, err := m.keys.Seal(nil, m.plaintext)
	if err != nil {
		t.Fatal(err)
	}
	want := "header"
	switch change {
	case "header":
		b[2+2+ivSize+tagSize+10] ^= 4
	case "cut":
		b = b[:100]
		want = "parse"
	case "body":
		b[len(b)-1] ^= 4
		want = p.receive(m, true)
	default:
		want = p.receive(m, false)
	}
	before := p.state.AppendBinary(nil)
	plaintext, err := p.state.Decrypt(random, b)
	if got := errorName(err); got != want {
		t.Fatalf("%s: got %q, want %q", p.name, got, want)
	}
	if err == nil && !bytes.Equal(plaintext, m.plaintext) {
		t.Fatalf("%s: got %q, want %q", p.name, plaintext, m.plaintext)
	}
	if (want == "header" || want == "parse") && !bytes.Equal(before, p.state.AppendBinary(nil)) {
		t.Fatalf("%s: state changed by an error", p.name)
	}
	if p.state.skipped.count != len(p.skipped) || p.state.SkippedDropped() != p.dropped {
		t.Fatalf("%s: %d keys kept and %d dropped, want %d and %d", p.name, p.state.skipped.count, p.state.SkippedDropped(), len(p.skipped), p.dropped)
	}
}

func (p *party) reload(t *rapid.T, how string) {
	var err error
	before := p.state.AppendBinary(nil)
	switch how {
	case "encode":
		s := p.state
		if p.state, err = Decode(before, p.kem); err == nil {
			// What Save must write next is not part of an encoded state.
			p.state.changed, p.state.split, p.state.kept = s.changed, s.split, s.kept
			p.state.skipped.savedBelow, p.state.skipped.removed = s.skipped.savedBelow, s.skipped.removed
		}
	case "save":
		p.state.Save(p.store, []byte("ratchet/"))
		p.state, err = Load(p.store, []byte("ratchet/"), p.kem)
		records := 1 + len(p.skipped)
		if err == nil && p.state.canSend {
			records++
		}
		if p.store.Len() != records {
			t.Fatalf("%d records for %d skipped keys, %d expected", p.store.Len(), len(p.skipped), records)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, p.state.AppendBinary(nil)) {
		t.Fatalf("%s: stored state differs", p.name)
	}
}

func TestTwoParties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := [32]byte{}
		copy(seed[:], rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "seed"))
		random := rand.NewChaCha8(seed)
		options := func(name string) Options {
			o := Options{MaxVersion: rapid.Uint16Range(2, 3).Draw(t, name+" version")}
			if rapid.Bool().Draw(t, name+" KEM") {
				o.KEM = toyKEM{}
				o.PQ = rapid.Bool().Draw(t, name+" PQ")
			}
			return o
		}
		iOptions, jOptions := options("initiator"), options("joiner")
		invitation := VersionRange{2, rapid.Uint16Range(2, iOptions.MaxVersion).Draw(t, "invitation")}
		i, j := connect(t, random, invitation, iOptions, jOptions)
		parties := []*party{
			{name: "initiator", state: i, kem: iOptions.KEM, store: &kv.Memory{}, sendingChain: -1, receivingChain: -1},
			{name: "joiner", state: j, kem: jOptions.KEM, store: &kv.Memory{}, receivingChain: -1},
		}
		drawParty := func(t *rapid.T) int { return rapid.IntRange(0, 1).Draw(t, "party") }
		drawPQ := func(t *rapid.T) PQ { return rapid.SampledFrom([]PQ{PQKeep, PQOff, PQOn}).Draw(t, "pq") }
		// Messages that are never drawn are lost, others come late, out of order or several times.
		deliver := func(t *rapid.T, newest bool, change string) {
			to := drawParty(t)
			from := parties[1-to].sent
			if len(from) == 0 {
				return
			}
			n := len(from) - 1
			if !newest {
				n = rapid.IntRange(max(0, n-rapid.SampledFrom([]int{5, 50, 3000}).Draw(t, "back")), n).Draw(t, "message")
			}
			parties[to].deliver(t, random, from[n], change)
		}
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) { parties[drawParty(t)].send(t, drawPQ(t)) },
			"burst": func(t *rapid.T) {
				p := parties[drawParty(t)]
				for range rapid.SampledFrom([]int{3, 20, 511, 512, 513, 514}).Draw(t, "messages") {
					p.send(t, PQKeep)
				}
			},
			"deliver newest": func(t *rapid.T) { deliver(t, true, "") },
			"deliver any":    func(t *rapid.T) { deliver(t, false, "") },
			"deliver again":  func(t *rapid.T) { deliver(t, false, "") },
			"deliver changed": func(t *rapid.T) {
				deliver(t, false, rapid.SampledFrom([]string{"header", "body", "cut"}).Draw(t, "change"))
			},
			"reload": func(t *rapid.T) {
				parties[drawParty(t)].reload(t, rapid.SampledFrom([]string{"encode", "save"}).Draw(t, "how"))
			},
		})
	})
}

// TestConversationWithKEM lets two parties talk in turns, so that every message makes a ratchet step, with the KEM choices of
// the document's examples.
func TestConversationWithKEM(t *testing.T) {
	type turn struct {
		by        int // 0: a, 1: b
		pq        PQ
		protected bool
	}
	const a, b = 0, 1
	tests := []struct {
		name      string
		pq        bool
		exchanges []turn
	}{
		{"switched on later", false, []turn{
			{b, PQOff, false}, {a, PQOff, false},
			{b, PQOn, false}, {b, PQOn, false}, {a, PQOn, false}, {a, PQOn, false}, {b, PQOn, false}, {a, PQOn, true}, {b, PQOn, true},
		}},
		{"switched off by one", true, []turn{
			{b, PQOn, true}, {a, PQOn, true}, {b, PQOn, true},
			{a, PQOff, true}, {b, PQOn, true}, {a, PQOff, false}, {b, PQOn, false}, {a, PQOff, false}, {b, PQOn, false},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			random := rand.NewChaCha8([32]byte{1})
			o := Options{KEM: toyKEM{}, PQ: test.pq}
			var states [2]*State
			states[a], states[b] = connect(t, random, VersionRange{2, 3}, o, o)
			for i, x := range test.exchanges {
				from, to := states[x.by], states[1-x.by]
				m, err := from.NextSending(x.pq, 40)
				if err != nil {
					t.Fatal(err)
				}
				want(t, fmt.Sprintf("message %d protected", i), m.PQ(), x.protected)
				sealed, err := m.Seal(nil, []byte("text"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := to.Decrypt(random, sealed); err != nil {
					t.Fatal(err)
				}
				_, receiving := to.PQ()
				want(t, fmt.Sprintf("message %d received protected", i), receiving, x.protected)
			}
		})
	}
}
