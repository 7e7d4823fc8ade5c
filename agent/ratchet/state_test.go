package ratchet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/agent/ratchet/sntrup761"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/kv"
	"github.com/coterie-im/coterie/internal/wire"
)

// pair makes two connected parties; the initiator has decrypted a message and can send.
func pair(t testing.TB, kem KEM) (initiator, joiner *State, random io.Reader) {
	t.Helper()
	random = rand.NewChaCha8([32]byte{7})
	o := Options{KEM: kem, PQ: kem != nil}
	initiator, joiner = connect(t, random, VersionRange{2, 3}, o, o)
	exchange(t, random, joiner, initiator)
	return initiator, joiner, random
}

// exchange sends one message.
func exchange(t testing.TB, random io.Reader, from, to *State) {
	t.Helper()
	b := sealNext(t, from, PQKeep, 40, []byte("text"))
	if plaintext, err := to.Decrypt(random, b); err != nil || string(plaintext) != "text" {
		t.Fatalf("%q, %v", plaintext, err)
	}
}

func TestRefusedParameters(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	kem := toyKEM{}
	own, err := GenerateKeys(random, kem)
	if err != nil {
		t.Fatal(err)
	}
	noKEM, err := GenerateKeys(random, nil)
	if err != nil {
		t.Fatal(err)
	}
	lowOrder, err := keys.New(keys.X448, make([]byte, keySize))
	if err != nil {
		t.Fatal(err)
	}
	invitation := own.Params(VersionRange{2, 3})
	change := func(f func(p *Params)) Params {
		p := invitation
		f(&p)
		return p
	}
	pq := Options{KEM: kem, PQ: true}
	joins := map[string]struct {
		p    Params
		o    Options
		want error
	}{
		"version 1":        {change(func(p *Params) { p.Versions = VersionRange{1, 1} }), pq, ErrVersion},
		"version 4":        {change(func(p *Params) { p.Versions = VersionRange{4, 5} }), pq, ErrVersion},
		"3 for a 2":        {change(func(p *Params) { p.Versions = VersionRange{3, 3} }), Options{MaxVersion: 2}, ErrVersion},
		"first low order":  {change(func(p *Params) { p.Key1 = lowOrder }), pq, ErrAgreement},
		"second low order": {change(func(p *Params) { p.Key2 = lowOrder }), pq, ErrAgreement},
		"no key":           {change(func(p *Params) { p.Key2 = keys.Public{} }), pq, ErrAgreement},
		"KEM accepted":     {change(func(p *Params) { p.KEM.Ciphertext = make([]byte, 34) }), pq, ErrAgreement},
		"KEM key size":     {change(func(p *Params) { p.KEM.Public = make([]byte, 31) }), pq, ErrAgreement},
		"1 to 2":           {change(func(p *Params) { p.Versions = VersionRange{1, 2} }), pq, nil},
		"3 to 9":           {change(func(p *Params) { p.Versions = VersionRange{3, 9} }), pq, nil},
		"KEM declined":     {change(func(p *Params) { p.KEM.Public = make([]byte, 31) }), Options{KEM: kem}, nil},
	}
	for name, test := range joins {
		if _, _, err := NewJoiner(random, test.p, test.o); !errors.Is(err, test.want) {
			t.Errorf("join, %s: error %v", name, err)
		}
	}

	confirmation := noKEM.Params(VersionRange{3, 3})
	change = func(f func(p *Params)) Params {
		p := confirmation
		f(&p)
		return p
	}
	accepted := change(func(p *Params) { p.KEM = KEMParams{Public: make([]byte, 32), Ciphertext: make([]byte, 34)} })
	initiates := map[string]struct {
		own  *Keys
		p    Params
		o    Options
		want error
	}{
		"version 1":          {own, change(func(p *Params) { p.Versions = VersionRange{1, 1} }), pq, ErrVersion},
		"version 4":          {own, change(func(p *Params) { p.Versions = VersionRange{4, 4} }), pq, ErrVersion},
		"a range":            {own, change(func(p *Params) { p.Versions = VersionRange{2, 3} }), pq, ErrVersion},
		"3 for a 2":          {own, confirmation, Options{MaxVersion: 2}, ErrVersion},
		"low order":          {own, change(func(p *Params) { p.Key1 = lowOrder }), pq, ErrAgreement},
		"not proposed":       {noKEM, accepted, pq, ErrKEMState},
		"KEM gone":           {own, accepted, Options{}, ErrKEMState},
		"ciphertext size":    {own, change(func(p *Params) { p.KEM = KEMParams{Public: make([]byte, 32), Ciphertext: make([]byte, 3)} }), pq, ErrAgreement},
		"accepted":           {own, accepted, pq, nil},
		"declined":           {own, confirmation, pq, nil},
		"proposed by joiner": {noKEM, change(func(p *Params) { p.KEM.Public = make([]byte, 5) }), Options{}, nil},
	}
	for name, test := range initiates {
		if _, err := NewInitiator(test.own, test.p, test.o); !errors.Is(err, test.want) {
			t.Errorf("initiate, %s: error %v", name, err)
		}
	}
	if _, _, err := Resynchronise(random, own, accepted, pq); !errors.Is(err, ErrAgreement) {
		t.Errorf("resynchronise, KEM accepted: error %v", err)
	}
	if _, _, err := Resynchronise(random, own, invitation, pq); !errors.Is(err, ErrVersion) {
		t.Errorf("resynchronise, a range: error %v", err)
	}
}

func TestResynchronise(t *testing.T) {
	for _, kem := range []KEM{nil, toyKEM{}} {
		random := rand.NewChaCha8([32]byte{2})
		o := Options{KEM: kem, PQ: kem != nil}
		var sides [2]*Keys
		for i := range sides {
			var err error
			if sides[i], err = GenerateKeys(random, kem); err != nil {
				t.Fatal(err)
			}
			b := sides[i].AppendBinary(nil)
			if sides[i], err = DecodeKeys(b); err != nil {
				t.Fatal(err)
			}
			wantBytes(t, "keys encoded again", sides[i].AppendBinary(nil), b)
		}
		one := VersionRange{3, 3}
		a, aSends, err := Resynchronise(random, sides[0], sides[1].Params(one), o)
		if err != nil {
			t.Fatal(err)
		}
		b, bSends, err := Resynchronise(random, sides[1], sides[0].Params(one), o)
		if err != nil {
			t.Fatal(err)
		}
		hash0, hash1 := sides[0].Params(one).Hash(), sides[1].Params(one).Hash()
		want(t, "first side sends", aSends, bytes.Compare(hash0[:], hash1[:]) > 0)
		want(t, "second side sends", bSends, !aSends)
		want(t, "associated data", a.AD(), b.AD())
		sides[0].Clear()
		sides[1].Clear()
		if bSends {
			a, b = b, a
		}
		want(t, "sender can send", a.CanSend(), true)
		want(t, "receiver can send", b.CanSend(), false)
		for range 3 {
			exchange(t, random, a, b)
			exchange(t, random, b, a)
		}
		if sending, receiving := a.PQ(); sending != (kem != nil) || receiving != (kem != nil) {
			t.Errorf("PQ %v, %v", sending, receiving)
		}
	}
}

// TestLostMessageAfterSwitchingOff: headers keep carrying the ciphertext, so that any message of the chain will do.
func TestLostMessageAfterSwitchingOff(t *testing.T) {
	initiator, joiner, random := pair(t, toyKEM{})
	exchange(t, random, initiator, joiner)
	lost := sealNext(t, joiner, PQOff, 40, []byte("first"))
	second := sealNext(t, joiner, PQOff, 40, []byte("second"))
	if _, err := initiator.Decrypt(random, second); err != nil {
		t.Fatal(err)
	}
	exchange(t, random, initiator, joiner)
	exchange(t, random, joiner, initiator)
	if sending, _ := joiner.PQ(); sending {
		t.Error("still on")
	}
	if plaintext, err := initiator.Decrypt(random, lost); err != nil || string(plaintext) != "first" {
		t.Errorf("%q, %v", plaintext, err)
	}
}

func TestKEMStateErrors(t *testing.T) {
	setup := func() (*State, []byte, io.Reader) {
		initiator, joiner, random := pair(t, toyKEM{})
		return joiner, sealNext(t, initiator, PQKeep, 40, nil), random
	}
	refuse := func(what string, s *State, b []byte, random io.Reader, want error) {
		t.Helper()
		before := s.AppendBinary(nil)
		if _, err := s.Decrypt(random, b); !errors.Is(err, want) {
			t.Errorf("%s: error %v", what, err)
		}
		wantBytes(t, what+": state", s.AppendBinary(nil), before)
	}
	s, b, random := setup()
	s.kemState = nil
	refuse("accepted but not proposed", s, b, random, ErrKEMState)
	s, b, random = setup()
	s.kem = nil
	refuse("KEM not there any more", s, b, random, ErrKEMState)
	s, b, random = setup()
	s.kem = sntrup761.KEM{}
	refuse("another KEM", s, b, random, ErrHeader)
	s, b, _ = setup()
	for _, n := range []int{0, 34, 34 + 33, 34 + 33 + 55} { // encapsulate, generate, generate X448
		refuse("randomness ends", s, b, bytes.NewReader(make([]byte, n)), map[bool]error{true: io.EOF, false: io.ErrUnexpectedEOF}[n != 34+33+55])
	}
}

// TestPeerGoesBackByAMessage: a peer that has forgotten a single message goes on with a chain of which nothing opens. That
// is not a message once more.
func TestPeerGoesBackByAMessage(t *testing.T) {
	for forgotten, kind := range map[int]error{1: ErrHeader, 2: ErrEarlier} {
		a, b, random := pair(t, nil)
		exchange(t, random, a, b)
		old, err := Decode(a.AppendBinary(nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		for range forgotten {
			exchange(t, random, a, b)
		}
		exchange(t, random, b, old) // old makes a ratchet step
		for range 3 {
			if _, err := b.Decrypt(random, sealNext(t, old, PQKeep, 40, []byte("text"))); !errors.Is(err, kind) {
				t.Errorf("%d forgotten: %v", forgotten, err)
			}
		}
	}
}

func TestLowOrderRatchetKey(t *testing.T) {
	initiator, joiner, random := pair(t, nil)
	initiator.own.public = [keySize]byte{1}
	b := sealNext(t, initiator, PQKeep, 40, nil)
	before := joiner.AppendBinary(nil)
	if _, err := joiner.Decrypt(random, b); !errors.Is(err, ErrHeader) {
		t.Errorf("error %v", err)
	}
	wantBytes(t, "state", joiner.AppendBinary(nil), before)
}

func TestVersionRises(t *testing.T) {
	random := rand.NewChaCha8([32]byte{3})
	initiator, joiner := connect(t, random, VersionRange{2, 2}, Options{}, Options{})
	want(t, "agreed", joiner.Version(), 2)
	exchange(t, random, joiner, initiator)
	want(t, "initiator", initiator.Version(), 3)
	want(t, "joiner", joiner.Version(), 2)
	exchange(t, random, initiator, joiner)
	want(t, "joiner", joiner.Version(), 3)
}

// TestPQOnRaisesTheVersion: a side that knows only version 2 by its options speaks 3 from when a client wants a KEM.
func TestPQOnRaisesTheVersion(t *testing.T) {
	random := rand.NewChaCha8([32]byte{4})
	o := Options{MaxVersion: 2, KEM: toyKEM{}}
	initiator, joiner := connect(t, random, VersionRange{2, 2}, Options{}, o)
	if _, err := initiator.Decrypt(random, sealNext(t, joiner, PQKeep, 40, nil)); err != nil {
		t.Fatal(err)
	}
	want(t, "before", initiator.Version(), 2)
	if _, err := initiator.Decrypt(random, sealNext(t, joiner, PQOn, 40, nil)); err != nil {
		t.Fatal(err)
	}
	want(t, "after", initiator.Version(), 3)
	exchange(t, random, initiator, joiner)
	want(t, "joiner", joiner.Version(), 3)
}

func TestCountErrorNamesItsKind(t *testing.T) {
	err := error(&CountError{ErrEarlier, 7})
	want(t, "text", err.Error(), "earlier ratchet message without a key (7)")
	want(t, "kind", errors.Is(err, ErrEarlier) && !errors.Is(err, ErrTooManySkipped), true)
}

func TestExhaustedChain(t *testing.T) {
	_, joiner, _ := pair(t, nil)
	joiner.ns = math.MaxUint32 - 1
	sealNext(t, joiner, PQKeep, 40, nil)
	before := joiner.AppendBinary(nil)
	if _, err := joiner.NextSending(PQKeep, 40); !errors.Is(err, ErrChainExhausted) {
		t.Errorf("error %v", err)
	}
	wantBytes(t, "state", joiner.AppendBinary(nil), before)

	s := &State{nr: math.MaxUint32 - 1, canReceive: true}
	if _, err := s.skipTo(math.MaxUint32); errorName(err) != "too many skipped 2" {
		t.Errorf("error %v", err)
	}
}

// TestOldestSkippedKeysAreDropped opens more gaps than are kept.
func TestOldestSkippedKeysAreDropped(t *testing.T) {
	initiator, joiner, random := pair(t, nil)
	tx := &kv.Memory{}
	var sent [][]byte
	for gap := range 5 {
		for range MaxSkip {
			sent = append(sent, sealNext(t, joiner, PQKeep, 40, nil))
		}
		exchange(t, random, joiner, initiator)
		exchange(t, random, initiator, joiner) // a new chain for the next gap
		want(t, "kept keys", initiator.skipped.count, min((gap+1)*MaxSkip, MaxSkippedKeys))
		initiator.Save(tx, nil)
		want(t, "records", tx.Len(), 2+initiator.skipped.count)
	}
	want(t, "dropped keys", initiator.SkippedDropped(), MaxSkip)
	want(t, "chains", len(initiator.skipped.chains), 4)
	if _, err := initiator.Decrypt(random, sent[0]); !errors.Is(err, ErrHeader) {
		t.Errorf("dropped key: error %v", err)
	}
	initiator, err := Load(tx, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range sent[MaxSkip:] {
		if _, err := initiator.Decrypt(random, b); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	initiator.Save(tx, nil)
	want(t, "records", tx.Len(), 2)
}

// TestSaveWritesWhatChanged counts the records that a step touches while a thousand keys are kept.
func TestSaveWritesWhatChanged(t *testing.T) {
	initiator, joiner, random := pair(t, nil)
	tx := &countingTx{}
	var sent [][]byte
	for range 2 {
		for range MaxSkip {
			sent = append(sent, sealNext(t, joiner, PQKeep, 40, nil))
		}
		exchange(t, random, joiner, initiator)
	}
	step := func(what string, puts, deletes int) {
		t.Helper()
		*tx = countingTx{Memory: tx.Memory}
		initiator.Save(tx, []byte("c1/"))
		want(t, what+": records written", tx.puts, puts)
		want(t, what+": records deleted", tx.deletes, deletes)
	}
	step("all", 2+2*MaxSkip, 0)
	step("nothing", 0, 0)
	if _, err := initiator.Decrypt(random, sent[3]); err != nil {
		t.Fatal(err)
	}
	step("kept key used", 0, 1)
	exchange(t, random, joiner, initiator)
	step("message in order", 1, 0)
	sealNext(t, initiator, PQKeep, 40, nil)
	step("message sent", 1, 0)
	if _, err := initiator.Decrypt(random, []byte("nonsense")); err == nil {
		t.Fatal("decrypted")
	}
	step("bad message", 0, 0)
	late := sealNext(t, joiner, PQKeep, 40, nil)
	exchange(t, random, joiner, initiator)
	if _, err := initiator.Decrypt(random, late); err != nil {
		t.Fatal(err)
	}
	step("kept and used between saves", 1, 0)

	sealNext(t, initiator, PQKeep, 40, nil)
	step("message sent after one in order", 1, 0)
	tx.Put([]byte("c2/x"), nil)
	Erase(tx, []byte("c1/"))
	want(t, "records of others", tx.Len(), 1)
	if _, err := Load(tx, []byte("c1/"), nil); !errors.Is(err, ErrNoState) {
		t.Errorf("error %v", err)
	}
}

type countingTx struct {
	kv.Memory
	puts, deletes int
}

func (c *countingTx) Put(key, value []byte) { c.puts++; c.Memory.Put(key, value) }
func (c *countingTx) Delete(key []byte)     { c.deletes++; c.Memory.Delete(key) }

// TestSendingWritesLittle: a message that was sent costs a small record, and leaves no key of the chain from before.
func TestSendingWritesLittle(t *testing.T) {
	initiator, joiner, random := pair(t, nil)
	exchange(t, random, joiner, initiator)
	tx := &kv.Memory{}
	whole := func(how string) {
		t.Helper()
		loaded, err := Load(tx, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		wantBytes(t, how, loaded.AppendBinary(nil), initiator.AppendBinary(nil))
		initiator = loaded
	}
	holds := func(key secret) (holds bool) {
		tx.Scan(nil, nil, func(_, value []byte) bool {
			holds = holds || bytes.Contains(value, key[:])
			return true
		})
		return holds
	}
	send := func() (before secret) {
		before = initiator.sending.key
		sealNext(t, initiator, PQKeep, 40, nil)
		initiator.Save(tx, nil)
		return before
	}
	// As programs before the sending record wrote it.
	tx.Put([]byte{coreRecord}, initiator.AppendBinary(nil))
	whole("of an older program")
	if before := send(); holds(before) {
		t.Error("the key of an older program's state stays")
	}
	want(t, "records of an older state after a message", tx.Len(), 2)
	whole("first message")
	core, _ := tx.Get([]byte{coreRecord})
	if _, err := Decode(core, nil); !errors.Is(err, ErrState) {
		t.Errorf("a core record alone is read: %v", err)
	}
	for range 3 {
		before := send()
		sending, _ := tx.Get([]byte{sendingRecord})
		if again, _ := tx.Get([]byte{coreRecord}); len(sending) != 37 || !bytes.Equal(again, core) {
			t.Errorf("sending record of %d bytes, core record written: %t", len(sending), !bytes.Equal(again, core))
		}
		if holds(before) || !holds(initiator.sending.key) {
			t.Error("the chain's former key stays, or the next is missing")
		}
		whole("next message")
	}
	before := initiator.sending.key
	exchange(t, random, initiator, joiner)
	exchange(t, random, joiner, initiator) // a new sending chain
	initiator.Save(tx, nil)
	if holds(before) {
		t.Error("the key of the former chain stays")
	}
	want(t, "records after a message that came", tx.Len(), 2)
	whole("message that came")
}

func TestLoadRefusesDamage(t *testing.T) {
	initiator, joiner, random := pair(t, nil)
	for range 3 {
		sealNext(t, joiner, PQKeep, 40, nil)
	}
	exchange(t, random, joiner, initiator)
	good := &kv.Memory{}
	initiator.Save(good, nil)
	value := func(tx *kv.Memory, name []byte) []byte {
		b, ok := tx.Get(name)
		if !ok {
			t.Fatal("no record")
		}
		return bytes.Clone(b)
	}
	next := wire.AppendU32([]byte{sendingFormat}, initiator.ns+1)
	damages := map[string]func(tx *kv.Memory){
		"sending chain cut":               func(tx *kv.Memory) { tx.Put([]byte{sendingRecord}, next) },
		"sending chain missing":           func(tx *kv.Memory) { tx.Delete([]byte{sendingRecord}) },
		"sending chain of another format": func(tx *kv.Memory) { tx.Put([]byte{sendingRecord}, append([]byte{9}, make([]byte, 36)...)) },
		"core cut":                        func(tx *kv.Memory) { b := value(tx, []byte{coreRecord}); tx.Put([]byte{coreRecord}, b[:len(b)-1]) },
		"key cut":                         func(tx *kv.Memory) { n := skippedName(nil, 1); tx.Put(n, value(tx, n)[1:]) },
		"name cut":                        func(tx *kv.Memory) { n := skippedName(nil, 1); tx.Put(n[:5], value(tx, n)) },
		"key twice":                       func(tx *kv.Memory) { tx.Put(skippedName(nil, 2), value(tx, skippedName(nil, 1))) },
		"key from later":                  func(tx *kv.Memory) { tx.Put(skippedName(nil, 3), value(tx, skippedName(nil, 2))) },
		"numbers go back":                 func(tx *kv.Memory) { tx.Put(skippedName(nil, 0), value(tx, skippedName(nil, 2))) },
		"chain comes back": func(tx *kv.Memory) {
			b := value(tx, skippedName(nil, 1))
			b[0] ^= 1
			tx.Put(skippedName(nil, 1), b)
		},
	}
	for name, damage := range damages {
		tx := good.Clone()
		damage(tx)
		if _, err := Load(tx, nil, nil); !errors.Is(err, ErrState) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	s, _, _ := pair(t, toyKEM{})
	b := s.AppendBinary(nil)
	const flagsAt = 1 + 2 + 2 + ADSize + 2*keySize + 3*32 + 3*4
	for name, change := range map[string]func(b []byte) []byte{
		"empty":             func([]byte) []byte { return nil },
		"format":            func(b []byte) []byte { b[0]++; return b },
		"version":           func(b []byte) []byte { b[2] = 1; return b },
		"version above max": func(b []byte) []byte { b[4] = 2; return b },
		"unknown version":   func(b []byte) []byte { b[2], b[4] = 4, 4; return b },
		"unknown flag":      func(b []byte) []byte { b[flagsAt] |= 0x10; return b },
		"no sending chain":  func(b []byte) []byte { return append(append(b[:flagsAt+1:flagsAt+1], '0'), b[flagsAt+2+64:]...) },
		"cut":               func(b []byte) []byte { return b[:len(b)-1] },
		"left over":         func(b []byte) []byte { return append(b, 0) },
	} {
		if _, err := Decode(change(bytes.Clone(b)), toyKEM{}); !errors.Is(err, ErrState) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := Decode(b, toyKEM{}); err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeKeys(nil); !errors.Is(err, ErrState) {
		t.Errorf("keys: error %v", err)
	}
	if _, err := DecodeMessageKeys(nil); !errors.Is(err, ErrState) {
		t.Errorf("message keys: error %v", err)
	}
}

func TestNothingSecretIsPrinted(t *testing.T) {
	s, joiner, random := pair(t, toyKEM{})
	k, err := GenerateKeys(random, toyKEM{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := joiner.NextSending(PQKeep, 40)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{s, k, m, k.Params(VersionRange{2, 3})} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			if text := fmt.Sprintf(verb, v); !strings.HasPrefix(text, "ratchet ") || len(text) > 30 {
				t.Errorf("%s prints %s", verb, text)
			}
		}
	}
	for _, v := range []any{s, k, m} {
		if b, err := json.Marshal(v); err != nil || string(b) != "{}" {
			t.Errorf("JSON %s, %v", b, err)
		}
	}
}

func TestClear(t *testing.T) {
	_, joiner, random := pair(t, nil)
	k, err := GenerateKeys(random, toyKEM{})
	if err != nil {
		t.Fatal(err)
	}
	private := k.kem.private
	k.Clear()
	want(t, "private key", k.first.private, [keySize]byte{})
	wantBytes(t, "KEM private key", private, make([]byte, len(private)))
	m, err := joiner.NextSending(PQKeep, 40)
	if err != nil {
		t.Fatal(err)
	}
	m.Clear()
	want(t, "message key", m.key, secret{})
}

func TestPaddedLengthOutOfRangePanics(t *testing.T) {
	_, joiner, _ := pair(t, nil)
	for _, n := range []int{-1, 1, 65536} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("padded length %d", n)
				}
			}()
			_, _ = joiner.NextSending(PQKeep, n)
		}()
	}
}

// TestSealWhileTheStateMovesOn seals in other goroutines, as delivery does.
func TestSealWhileTheStateMovesOn(t *testing.T) {
	initiator, joiner, random := pair(t, nil)
	const n = 20
	sealed := make([]chan []byte, n)
	for i := range sealed {
		m, err := joiner.NextSending(PQKeep, 40)
		if err != nil {
			t.Fatal(err)
		}
		sealed[i] = make(chan []byte, 2)
		for range 2 { // a repeated delivery makes the same bytes
			go func() {
				b, err := m.Seal(nil, []byte{byte(i)})
				if err != nil {
					t.Error(err)
				}
				sealed[i] <- b
			}()
		}
	}
	for i, c := range sealed {
		b := <-c
		wantBytes(t, "sealed again", <-c, b)
		if plaintext, err := initiator.Decrypt(random, b); err != nil || !bytes.Equal(plaintext, []byte{byte(i)}) {
			t.Errorf("message %d: %q, %v", i, plaintext, err)
		}
	}
}
