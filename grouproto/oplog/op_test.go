package oplog

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/internal/wire"
)

type goldenOp struct{ Name, Seed, ID, Signed string }

func readGolden(t testing.TB) (ops []goldenOp, signed [][]byte) {
	t.Helper()
	b, err := os.ReadFile("testdata/ops.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &ops); err != nil {
		t.Fatal(err)
	}
	for _, op := range ops {
		b, err := hex.DecodeString(op.Signed)
		if err != nil {
			t.Fatal(err)
		}
		signed = append(signed, b)
	}
	return ops, signed
}

func TestGoldenOperations(t *testing.T) {
	golden, signed := readGolden(t)
	var l *Log
	codes := map[uint8]bool{}
	for i, g := range golden {
		op, err := DecodeSigned(signed[i])
		if err != nil {
			t.Fatal(g.Name, err)
		}
		id := op.ID()
		if got := hex.EncodeToString(id[:]); got != g.ID {
			t.Errorf("%s: id %s, want %s", g.Name, got, g.ID)
		}
		if got := op.AppendSigned(nil); !bytes.Equal(got, signed[i]) || op.Size() != len(signed[i]) {
			t.Errorf("%s: encodes to other bytes", g.Name)
		}
		seed, _ := hex.DecodeString(g.Seed)
		again, err := Sign(op.Body, ed25519.NewKeyFromSeed(seed))
		if err != nil || !bytes.Equal(again.AppendSigned(nil), signed[i]) || again.ID() != id {
			t.Errorf("%s: signs to other bytes", g.Name)
		}
		codes[op.Action.code()] = true
		if i == 0 {
			if l, err = New(nil, nil, op); err != nil {
				t.Fatal(err)
			}
		} else if res := l.Add(nil, op, op.Author); res.Status != Admitted {
			t.Fatal(g.Name, res.Status, res.Reason)
		}
	}
	if len(codes) != 8 {
		t.Error("not every action has a vector")
	}
	if !l.State().Closed() || l.State().Len() != 1 {
		t.Error("unexpected end")
	}
}

func TestPresets(t *testing.T) {
	golden := map[Policy]string{
		Symmetric(): "0001000c010101010101010101010101",
		Moderated(): "0001010c030203020304030404010102",
	}
	for p, want := range golden {
		if got := hex.EncodeToString(AppendPolicy(nil, p)); got != want {
			t.Errorf("policy %s, want %s", got, want)
		}
	}
}

// with returns a copy of b in which the bytes at i are replaced.
func with(b []byte, i int, bytes ...byte) []byte {
	c := append([]byte(nil), b...)
	copy(c[i:], bytes)
	return c
}

func TestDecodeBodyRefuses(t *testing.T) {
	anna, bert := newPerson("anna"), newPerson("bert")
	encode := func(b Body) []byte {
		t.Helper()
		raw, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	genesis := encode(Body{Author: anna.Key, Action: &Genesis{
		Policy: Symmetric(), Settings: []Setting{{Name: "a"}, {Name: "b", Value: []byte("x")}},
	}})
	group := ID{1}
	base := Body{Group: group, Author: anna.Key, Seq: 1, Parents: []ID{{1}, {2}}}
	body := func(a Action) []byte {
		b := base
		b.Action = a
		return encode(b)
	}
	const (
		atGroup   = 2
		atParents = 2 + 32 + 32 + 8
		content   = atParents + 1 + 2*32 + 8 + 1 // with two parents
		gContent  = atParents + 1 + 8 + 1
	)
	add := body(&Add{Member: bert.Key, Role: Plain})
	remove := body(&Remove{Members: []Removal{{Key{1}, 0}, {Key{2}, 0}}})
	role := body(&RoleChange{Member: bert.Key, Role: Plain})
	policy := body(&PolicyChange{Symmetric()})
	set := body(&Set{Setting{Name: "title", Value: []byte("v")}})
	leave := body(&Leave{})
	long := body(&Set{Setting{Name: "x", Value: make([]byte, MaxValue)}})
	for name, in := range map[string][]byte{
		"empty":                   {},
		"version 0":               with(add, 0, 0, 0),
		"left-over byte":          append(bytes.Clone(add), 0),
		"cut off":                 add[:len(add)-1],
		"no parents":              append(append(bytes.Clone(leave[:atParents]), 0), leave[atParents+1+64:]...),
		"17 parents":              with(leave, atParents, 17),
		"descending parents":      with(leave, atParents+1, 3),
		"the same parent twice":   with(leave, atParents+1, 2),
		"no group":                with(leave, atGroup, make([]byte, 32)...),
		"unknown action":          with(leave, len(leave)-1, 9),
		"action 0":                with(leave, len(leave)-1, 0),
		"content of a leave":      append(bytes.Clone(leave), 0),
		"genesis of a group":      with(genesis, atGroup, 1),
		"genesis with seq":        with(genesis, atParents-1, 1),
		"genesis policy":          with(genesis, gContent+32+3, 11),
		"settings descending":     with(genesis, gContent+32+16+2, 'c'),
		"setting twice":           with(genesis, gContent+32+16+2, 'b'),
		"add: role 5":             with(add, content+32, 5),
		"add: small order":        with(add, content, make([]byte, 32)...),
		"remove: nobody":          append(append(bytes.Clone(remove[:content]), 0), 0),
		"remove: 17":              append(append(append(bytes.Clone(remove[:content]), 17), manyRemovals(17)...), 0),
		"remove: descending":      with(remove, content+1, 3),
		"remove: twice":           with(remove, content+1, 2),
		"remove: flags 2":         with(remove, len(remove)-1, 2),
		"role: 5":                 with(role, content+32, 5),
		"policy: version 0":       with(policy, content, 0, 0),
		"policy: reach 3":         with(policy, content+2, 3),
		"policy: 13 levels":       append(with(policy, content+3, 13), 1),
		"policy: level 6":         with(policy, content+4, 6),
		"set: no name":            append(bytes.Clone(set[:content]), 0, 0, 0),
		"set: name of 65":         append(append(append(bytes.Clone(set[:content]), 65), make([]byte, 65)...), 0, 0),
		"set: value of 4097":      append(with(long, content+2, 0x10, 0x01), 0),
		"two values too large":    hugeGenesis(genesis[:gContent]),
		"genesis: parents at all": append(with(genesis[:atParents+1], atParents, 1), append(make([]byte, 32), genesis[atParents+1:]...)...),
	} {
		if _, err := DecodeBody(in); !errors.Is(err, ErrForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := DecodeBody(with(add, 0, 0, 2)); !errors.Is(err, ErrVersion) {
		t.Error("version 2:", err)
	}
	for _, in := range [][]byte{genesis, add, remove, role, policy, set, leave, long} {
		if _, err := DecodeBody(in); err != nil {
			t.Error(err)
		}
	}
}

func manyRemovals(n int) (b []byte) {
	for i := range n {
		b = append(append(b, byte(i)), make([]byte, 39)...)
	}
	return b
}

// hugeGenesis is well-formed but for having more than 8 KiB.
func hugeGenesis(start []byte) []byte {
	b := AppendPolicy(append(bytes.Clone(start), make([]byte, 32)...), Symmetric())
	b = append(b, 2)
	for _, name := range []string{"a", "b"} {
		b = wire.AppendStr16(wire.AppendStr8(b, []byte(name)), make([]byte, MaxValue))
	}
	return b
}

func TestEncodeRefusesWhatDecodeRefuses(t *testing.T) {
	anna := newPerson("anna")
	for name, b := range map[string]Body{
		"no action":         {Author: anna.Key},
		"no parents":        {Group: ID{1}, Author: anna.Key, Action: &Leave{}},
		"many parents":      {Group: ID{1}, Author: anna.Key, Parents: make([]ID, 17), Action: &Leave{}},
		"role":              {Group: ID{1}, Author: anna.Key, Parents: []ID{{1}}, Action: &Add{Member: anna.Key, Role: 9}},
		"nobody":            {Group: ID{1}, Author: anna.Key, Parents: []ID{{1}}, Action: &Remove{}},
		"policy":            {Group: ID{1}, Author: anna.Key, Parents: []ID{{1}}, Action: &PolicyChange{}},
		"name":              {Group: ID{1}, Author: anna.Key, Parents: []ID{{1}}, Action: &Set{}},
		"genesis of others": {Group: ID{1}, Author: anna.Key, Parents: []ID{{1}}, Action: &Genesis{Policy: Symmetric()}},
		"too large": {Author: anna.Key, Action: &Genesis{Policy: Symmetric(), Settings: []Setting{
			{Name: "a", Value: make([]byte, MaxValue)}, {Name: "b", Value: make([]byte, MaxValue)},
		}}},
		"256 settings": {Author: anna.Key, Action: &Genesis{Policy: Symmetric(), Settings: make([]Setting, 256)}},
	} {
		if _, err := b.Encode(); !errors.Is(err, ErrForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Sign(Body{Author: anna.Key}, anna.private); !errors.Is(err, ErrForm) {
		t.Error("signed nothing:", err)
	}
	leave := Body{Group: ID{1}, Author: anna.Key, Parents: []ID{{1}}, Action: &Leave{}}
	if _, err := Sign(leave, newPerson("bert").private); !errors.Is(err, ErrForm) {
		t.Error("signed with a foreign key:", err)
	}
}

func TestVerify(t *testing.T) {
	anna := newPerson("anna")
	good := anna.sign(t, Body{Author: anna.Key, Action: &Genesis{Policy: Symmetric()}})
	if err := good.Verify(); err != nil {
		t.Fatal(err)
	}
	signed := good.AppendSigned(nil)
	for _, at := range []int{len(signed) - 1, 2 + 75 + 3, len(signed) - 64} {
		op, err := DecodeSigned(with(signed, at, signed[at]^1))
		if err != nil {
			t.Fatal(err)
		}
		if err := op.Verify(); !errors.Is(err, ErrSignature) {
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
	if _, err := DecodeSigned(append(signed, 0)); !errors.Is(err, ErrForm) {
		t.Error("left-over byte:", err)
	}
	if _, err := DecodeSigned(signed[:70]); !errors.Is(err, ErrForm) {
		t.Error("cut off:", err)
	}
}

// TestUnknownVersionIsReadToItsEnd: a frame with operations of different versions stays readable.
// TestSmallOrderKeys finds all y of points whose order divides 8 from the curve equation and compares.
func TestSmallOrderKeys(t *testing.T) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	mod := func(v *big.Int) *big.Int { return v.Mod(v, p) }
	inv := func(v *big.Int) *big.Int { return new(big.Int).ModInverse(v, p) }
	d := mod(new(big.Int).Mul(big.NewInt(-121665), inv(big.NewInt(121666))))
	want := map[string]bool{}
	put := func(y *big.Int) {
		for ; y.BitLen() <= 255; y = new(big.Int).Add(y, p) {
			for sign := range byte(2) {
				var k Key
				y.FillBytes(k[:])
				for i := range 16 {
					k[i], k[31-i] = k[31-i], k[i]
				}
				k[31] |= sign << 7
				want[k.Text()] = true
				if !SmallOrder(k) {
					t.Errorf("%s is not found", k.Text())
				}
			}
		}
	}
	put(big.NewInt(0))                      // order 4
	put(big.NewInt(1))                      // order 1
	put(new(big.Int).Sub(p, big.NewInt(1))) // order 2
	root := new(big.Int).ModSqrt(mod(new(big.Int).Add(d, big.NewInt(1))), p)
	for _, r := range []*big.Int{root, new(big.Int).Sub(p, root)} { // order 8: d·y⁴ + 2y² = 1
		y2 := mod(new(big.Int).Mul(new(big.Int).Sub(r, big.NewInt(1)), inv(d)))
		if y := new(big.Int).ModSqrt(y2, p); y != nil {
			put(y)
			put(new(big.Int).Sub(p, y))
		}
	}
	if len(want) != 2*len(smallOrder) {
		t.Errorf("%d keys, want %d", len(want), 2*len(smallOrder))
	}
	for _, name := range []string{"a", "b", "c"} {
		if SmallOrder(newPerson(name).Key) {
			t.Error("an honest key is refused")
		}
	}
}

func TestNobodySignsWithAKeyOfSmallOrder(t *testing.T) {
	b := Body{Action: &Genesis{Policy: Symmetric()}}
	b.Author[0] = 1 // the neutral element: R = S·B fits every message
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	op := &Op{Body: b, id: Hash(labelID, raw), raw: raw}
	op.signature[0] = 1
	if !ed25519.Verify(b.Author[:], signed(raw), op.signature[:]) {
		t.Fatal("crypto/ed25519 refuses it by itself")
	}
	if err := op.Verify(); !errors.Is(err, ErrSignature) {
		t.Fatal(err)
	}
}

func TestNothingPrintsIDs(t *testing.T) {
	id, key := ID(bytes.Repeat([]byte{0xab}, 32)), Key(bytes.Repeat([]byte{0xcd}, 32))
	member := Member{Key: key, Grant: id, Added: id}
	op := newPerson("a").sign(t, Body{Author: newPerson("a").Key, Action: &Genesis{Policy: Symmetric()}})
	l, err := New(nil, nil, op)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, v := range []any{id, key, &id, &key, op, l, l.State(), Removal{Member: key}, Equivocation{Author: key, Ops: [2]ID{id, id}}} {
		fmt.Fprintf(&out, "%v %+v %s %x %d %q\n", v, v, v, v, v, v)
	}
	fmt.Fprintf(&out, "%v %+v", member.Key, member.Grant)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "id", id, "key", key, "op", op)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "id", id, "key", key, "op", op, "nested", []ID{id})
	author := op.Author
	for _, leak := range []string{
		"abab", "cdcd", "171 171", "205 205", "171,171", id.Text()[:8], key.Text()[:8], hex.EncodeToString(author[:4]), author.Text()[:8],
	} {
		if strings.Contains(strings.ToLower(out.String()), strings.ToLower(leak)) {
			t.Errorf("%q printed", leak)
		}
	}
	if _, err := json.Marshal(member); err == nil {
		t.Error("a key was marshalled")
	}
}

func TestText(t *testing.T) {
	id, key := ID{1, 2, 0xff}, Key{3, 31: 9}
	if got, err := ParseID(id.Text()); err != nil || got != id || len(id.Text()) != 43 {
		t.Error(got, err)
	}
	if got, err := ParseKey(key.Text()); err != nil || got != key {
		t.Error(got, err)
	}
	for _, bad := range []string{"", "AAAA", id.Text() + "A", id.Text()[:42] + "B", id.Text()[:42] + "=", "\n" + id.Text()[1:], id.Text() + "\n"} {
		if _, err := ParseID(bad); !errors.Is(err, ErrText) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for r := Observer; r <= Owner; r++ {
		if got, ok := ParseRole(r.String()); !ok || got != r {
			t.Error(r)
		}
	}
	if _, ok := ParseRole("king"); ok || Role(7).String() != "no role" {
		t.Error("unknown roles")
	}
}

func FuzzDecodeSigned(f *testing.F) {
	_, signed := readGolden(f)
	for _, s := range signed {
		f.Add(s)
		f.Add(later(s, 2))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		op, err := DecodeSigned(in)
		if err != nil {
			return
		}
		if !bytes.Equal(op.AppendSigned(nil), in) {
			t.Fatal("encodes to other bytes")
		}
		if op.version > opVersion {
			return // FuzzDecodeHeader
		}
		raw, err := op.Body.Encode()
		if err != nil || !bytes.Equal(raw, op.raw) {
			t.Fatal("body encodes to other bytes:", err)
		}
	})
}

func FuzzDecodeHeader(f *testing.F) {
	_, signed := readGolden(f)
	for _, s := range signed {
		f.Add(s[2 : 2+binary.BigEndian.Uint16(s)])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		version, b, err := decodeHeader(in)
		if err != nil {
			// What is whole is good as far as its header goes.
			if _, bad := decodeBody(in, ^uint16(0)); bad == nil {
				t.Fatal("the header of a good body is refused:", err)
			}
			return
		}
		again := append(wire.AppendU16(nil, version), b.Group[:]...)
		again = append(wire.AppendU64(append(again, b.Author[:]...), b.Seq), byte(len(b.Parents)))
		for _, p := range b.Parents {
			again = append(again, p[:]...)
		}
		if !bytes.HasPrefix(in, again) {
			t.Fatal("encodes to other bytes")
		}
		if len(b.Parents) > MaxParents || version == 0 || len(in) > MaxBody || b.Action != nil {
			t.Fatal("beyond its limits")
		}
	})
}

func FuzzDecodeBody(f *testing.F) {
	_, signed := readGolden(f)
	for _, s := range signed {
		f.Add(s[2 : 2+binary.BigEndian.Uint16(s)])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := DecodeBody(in)
		if err != nil {
			return
		}
		raw, err := b.Encode()
		if err != nil || !bytes.Equal(raw, in) {
			t.Fatal("encodes to other bytes:", err)
		}
		if again, err := DecodeBody(raw); err != nil || !reflect.DeepEqual(again, b) {
			t.Fatal("decodes to another body:", err)
		}
	})
}

func FuzzReadPolicy(f *testing.F) {
	f.Add(AppendPolicy(nil, Symmetric()))
	f.Add(AppendPolicy(nil, Moderated()))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := wire.NewReader(in)
		if p := ReadPolicy(r); r.Done() == nil && !bytes.Equal(AppendPolicy(nil, p), in) {
			t.Fatal("encodes to other bytes")
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add(ID{1}.Text())
	f.Fuzz(func(t *testing.T, in string) {
		if id, err := ParseID(in); err == nil && id.Text() != in {
			t.Fatal("another text")
		}
		if k, err := ParseKey(in); err == nil && k.Text() != in {
			t.Fatal("another text")
		}
	})
}
