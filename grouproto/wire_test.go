package grouproto

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

// fixed is material for vectors: everything in it follows from small numbers.
type fixed struct {
	alice, bob ed25519.PrivateKey
	a, b       Key
	group      GroupID
	op         *oplog.Op
	token      Token
	offer      offer
	binding    Binding
	card       []byte
}

func counted(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func fixedMaterial(t testing.TB) fixed {
	f := fixed{
		alice: ed25519.NewKeyFromSeed(counted(1, 32)), bob: ed25519.NewKeyFromSeed(counted(2, 32)),
		token: Token(counted(0x30, 16)), binding: Binding(counted(0x80, 32)), card: counted(0x40, 24),
	}
	f.a, f.b = Key(f.alice.Public().(ed25519.PublicKey)), Key(f.bob.Public().(ed25519.PublicKey))
	genesis := &oplog.Genesis{
		Random: [32]byte(counted(0x60, 32)), Policy: oplog.Symmetric(),
		Settings: []oplog.Setting{{Name: "title", Value: []byte("garden")}},
	}
	op, err := oplog.Sign(oplog.Body{Author: f.a, Time: 1_772_359_200, Action: genesis}, f.alice)
	if err != nil {
		t.Fatal(err)
	}
	f.op, f.group = op, op.ID()
	f.offer = offer{Initiator: f.b, Responder: f.a, Attempt: 1_772_360_000, Expiry: 1_772_964_800, Link: counted(0xa0, 40)}
	f.offer.sign(f.bob, f.group)
	return f
}

// samples returns one frame of each kind.
func (f *fixed) samples() []frame {
	id := OpID(counted(0x10, 32))
	m := &message{
		Number: 7, Prev: [32]byte(counted(0x20, 32)), Salt: [16]byte(counted(0x50, 16)), Heads: []OpID{f.group},
		Parents: []MessageID{{f.b, 3, [32]byte(counted(0x70, 32))}}, Flags: FlagNotify, Body: []byte("hello"),
	}
	return []frame{
		&invFrame{f.group, f.a, f.token, 1_772_964_800, ownVersions, 4, []byte("come in")},
		&accFrame{f.group, f.token, f.b, f.card, f.offer},
		&rejFrame{f.group, f.token},
		&opsFrame{Flags: opsLast, Ops: []*oplog.Op{f.op}},
		&invMemFrame{[]offer{f.offer, f.offer}},
		&memInvFrame{Offer: f.offer, Card: f.card, Ops: []*oplog.Op{f.op}},
		&needFrame{f.b, f.a, 1},
		&conFrame{[]conEntry{{f.a, conConnected, 0}, {f.b, conWaiting, byte(ReasonNoAnswer)}}},
		&msgFrame{m},
		&fwdFrame{Author: f.a, Message: m},
		&noneFrame{[]noneEntry{{f.a, Range{1, 5}, noneNotForYou}, {f.b, Range{9, 9}, noneNotExisted}}},
		&rcvdFrame{[]OpID{id}, 8, []Range{{2, 3}, {6, 6}}},
		&syncFrame{[]OpID{id}, [32]byte(counted(0x90, 32)), syncAsk, []MessageID{{f.a, 7, m.hash(f.group, f.a)}}},
		&wantFrame{[]OpID{id}, []wantEntry{{f.a, Range{4, 6}}}},
		&directFrame{TagDirectInv, []byte("payload of another package")},
		&directFrame{TagDirectRej, counted(0xc0, 16)},
		&memFrame{memLast, []memEntry{{f.a, levelConnected}, {f.b, levelNot}}},
		&doneFrame{12},
		&reqFrame{f.group, []byte("let me in"), []byte("open sesame"), f.card},
		f.knock(),
	}
}

// knock is Alice, who made the group, at Bob's address.
func (f *fixed) knock() *knockFrame {
	k := &knockFrame{Group: f.group, Holder: f.b, Member: f.a, Heads: []OpID{f.group}, Op: f.op}
	k.sign(f.alice)
	return k
}

func (f *fixed) hello() []byte {
	h := &hello{
		Group: f.group, From: f.b, To: f.a, Attempt: f.offer.Attempt, Range: ownVersions,
		Heads: []OpID{f.group}, Digest: digest(nil), Card: f.card,
	}
	return h.sign(f.bob, sideJoiner, f.binding)
}

var update = os.Getenv("UPDATE_VECTORS") != ""

// TestFrameVectors holds the bytes of every frame still; testdata/README.md says how they were made.
func TestFrameVectors(t *testing.T) {
	f := fixedMaterial(t)
	got := map[string]string{
		"G_HELLO":      hex.EncodeToString(f.hello()),
		"offer":        hex.EncodeToString(f.offer.append(nil)),
		"card hash":    hexOf(cardHash(f.card)),
		"message hash": hexOf(f.samples()[8].(*msgFrame).Message.hash(f.group, f.a)),
		"digest":       hexOf(digest([]MessageID{{f.a, 1, [32]byte(counted(1, 32))}, {f.b, 2, [32]byte(counted(2, 32))}})),
		"empty digest": hexOf(digest(nil)),
		"G_FWD given":  hex.EncodeToString(encodeFrame(&fwdFrame{f.a, f.samples()[8].(*msgFrame).Message, true})),
		"contact body": hex.EncodeToString(ContactBody([]byte{0, 1, 3})),
	}
	for _, s := range f.samples() {
		got[s.tag().String()] = hex.EncodeToString(encodeFrame(s))
	}
	path := filepath.Join("testdata", "frames.json")
	if update {
		b, _ := json.MarshalIndent(got, "", "  ")
		if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if len(want) != len(got) {
		t.Errorf("%d vectors, want %d", len(want), len(got))
	}
	for name, w := range want {
		if got[name] != w {
			t.Errorf("%s is\n%s, not\n%s", name, got[name], w)
		}
	}
}

func hexOf(b [32]byte) string { return hex.EncodeToString(b[:]) }

func TestFramesAreReadAsTheyWereWritten(t *testing.T) {
	f := fixedMaterial(t)
	seen := map[Tag]bool{TagHello: true}
	for _, s := range f.samples() {
		seen[s.tag()] = true
		b := encodeFrame(s)
		d, err := decodeFrame(b)
		if err != nil || d.extra != 0 || d.tag != s.tag() {
			t.Errorf("%v: %v, %d bytes left over", s.tag(), err, d.extra)
			continue
		}
		if again := encodeFrame(d.frame); !bytes.Equal(again, b) {
			t.Errorf("%v: %x became %x", s.tag(), b, again)
		}
		if _, ok := d.frame.(*directFrame); ok {
			continue
		}
		if d, err := decodeFrame(append(bytes.Clone(b), 7, 2, 3)); err != nil || d.extra != 3 {
			t.Errorf("%v: bytes behind the fields: %v, %d", s.tag(), err, d.extra)
		}
		for n := 3; n < len(b); n++ {
			if _, err := decodeFrame(b[:n]); !errors.Is(err, ErrFrame) {
				t.Fatalf("%v: %d of %d bytes were taken: %v", s.tag(), n, len(b), err)
			}
		}
	}
	for _, row := range Frames() {
		if !seen[row.Tag] {
			t.Errorf("no sample of %s", row.Name)
		}
		if row.Name != row.Tag.String() || row.Way == "" || row.Layout == "" {
			t.Errorf("row %d of the table is incomplete", row.Tag)
		}
	}
}

// TestDocumentShowsTheTable keeps the frame table of docs/groups.md what the code says.
func TestDocumentShowsTheTable(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "groups.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range Frames() {
		line := fmt.Sprintf("\n| %d | %s | %s | %s |\n", row.Tag, row.Name, row.Way, row.Layout)
		if !bytes.Contains(doc, []byte(line)) {
			t.Errorf("docs/groups.md does not have this row:%s", line)
		}
	}
}

// A copy that its author was given itself ends with one byte more; another one there is no field.
func TestGivenCopy(t *testing.T) {
	f := fixedMaterial(t)
	m := f.samples()[8].(*msgFrame).Message
	given := encodeFrame(&fwdFrame{Key{1}, m, true})
	d, err := decodeFrame(given)
	if err != nil || d.extra != 0 || !d.frame.(*fwdFrame).Given || !bytes.Equal(encodeFrame(d.frame), given) {
		t.Errorf("%+v, %v", d, err)
	}
	d, err = decodeFrame(append(encodeFrame(&fwdFrame{Author: Key{1}, Message: m}), 0, 1))
	if err != nil || d.extra != 2 || d.frame.(*fwdFrame).Given {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestMalformedFramesAreRefused(t *testing.T) {
	f := fixedMaterial(t)
	key := f.a[:]
	cat := func(parts ...[]byte) (b []byte) {
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	head := func(tag Tag) []byte { return []byte{0, 1, byte(tag)} }
	u64 := func(n uint64) []byte { return wire.AppendU64(nil, n) }
	for name, b := range map[string][]byte{
		"empty":                     {},
		"no tag":                    {0, 1},
		"version zero":              {0, 0, byte(TagDone), 0, 0, 0, 0},
		"versions upside down":      cat(head(TagInv), f.group[:], key, f.token[:], u64(1), []byte{0, 2, 0, 1, 0, 0, 0, 0, 0, 0}),
		"too many heads":            cat(head(TagRcvd), []byte{17}, make([]byte, 17*32+8+1)),
		"range upside down":         cat(head(TagRcvd), []byte{0}, u64(9), []byte{1}, u64(5), u64(4)),
		"third hop":                 cat(head(TagNeed), key, key, []byte{2}),
		"unknown pair state":        cat(head(TagCon), []byte{0, 1}, key, []byte{3, 0}),
		"unknown level":             cat(head(TagMem), []byte{1, 0, 1}, key, []byte{2}),
		"unknown reason":            cat(head(TagNone), []byte{1}, key, u64(1), u64(1), []byte{4}),
		"reason zero":               cat(head(TagNone), []byte{1}, key, u64(1), u64(1), []byte{0}),
		"257 messages wanted":       cat(head(TagWant), []byte{0, 1}, key, u64(0), u64(256)),
		"all messages wanted":       cat(head(TagWant), []byte{0, 1}, key, u64(0), u64(^uint64(0))),
		"2 × 200 messages wanted":   cat(head(TagWant), []byte{0, 2}, key, u64(0), u64(199), key, u64(0), u64(199)),
		"181 entries":               cat(head(TagSync), []byte{0}, make([]byte, 32), []byte{0, 0, 181}, make([]byte, 181*72)),
		"malformed operation":       cat(head(TagOps), []byte{0, 0, 1, 0, 2, 0, 1}, make([]byte, 64)),
		"message with 17 parents":   cat(head(TagMsg), make([]byte, 8+32+16), []byte{0, 17}, make([]byte, 17*72+3)),
		"message body too long":     cat(head(TagMsg), make([]byte, 8+32+16), []byte{0, 0, 0}, wire.AppendU16(nil, MaxBody+1), make([]byte, MaxBody+1)),
		"card too long":             cat(head(TagAcc), f.group[:], f.token[:], key, wire.AppendU16(nil, MaxCard+1), make([]byte, MaxCard+300)),
		"info too long":             cat(head(TagInv), f.group[:], key, f.token[:], u64(1), []byte{0, 1, 0, 1, 0, 0, 0, 0}, wire.AppendU16(nil, MaxInfo+1), make([]byte, MaxInfo+1)),
		"offers that are not there": cat(head(TagInvMem), []byte{1}),
		"text too long":             cat(head(TagReq), f.group[:], wire.AppendU16(nil, MaxInfo+1), make([]byte, MaxInfo+4)),
		"knock without an add":      cat(head(TagKnock), f.group[:], key, key, []byte{0, 0, 2, 0, 1}, make([]byte, 128)),
	} {
		if d, err := decodeFrame(b); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v, %v", name, d.frame, err)
		}
	}
	for name, b := range map[string][]byte{
		"unknown tag":        {0, 1, 99, 1, 2, 3},
		"later version":      {0, 2, byte(TagDone)},
		"hello out of place": f.hello(),
		"reserved for later": {0, 1, 20},
	} {
		if d, err := decodeFrame(b); err != nil || d.frame != nil {
			t.Errorf("%s: %v, %v", name, d.frame, err)
		}
	}
	for _, b := range [][]byte{nil, {0}, {0, 2, 1}, {0, 0, 1}} {
		if _, err := splitBody(b); !errors.Is(err, ErrFrame) {
			t.Errorf("body %x: %v", b, err)
		}
	}
	for _, b := range [][]byte{nil, []byte("hello"), contactPrefix, append(bytes.Clone(contactPrefix), 0, 5, 1)} {
		if _, err := ParseContactBody(b); !errors.Is(err, ErrFrame) {
			t.Errorf("contact body %q: %v", b, err)
		}
	}
	if f, err := ParseContactBody(ContactBody([]byte("frame"))); err != nil || string(f) != "frame" || !IsContactBody(ContactBody(nil)) {
		t.Errorf("%q, %v", f, err)
	}
}

func TestHelloIsGoodForOneConnectionAndSideOnly(t *testing.T) {
	f := fixedMaterial(t)
	b := f.hello()
	h, err := decodeHello(b)
	if err != nil || !h.verify(sideJoiner, f.binding) {
		t.Fatal(err)
	}
	other := f.binding
	other[31]++
	if h.verify(sideInitiator, f.binding) || h.verify(sideJoiner, other) {
		t.Error("a hello was reflected or replayed")
	}
	for i := 3; i < len(b); i++ {
		c := bytes.Clone(b)
		c[i] ^= 1
		if h, err := decodeHello(c); err == nil && h.verify(sideJoiner, f.binding) {
			t.Errorf("byte %d can be changed", i)
		}
	}
	if h, err := decodeHello(append(b, 1)); err != nil || !h.verify(sideJoiner, f.binding) {
		t.Error("bytes behind a hello are not ignored")
	}
	small := Key{}
	h.From = small
	if h.verify(sideJoiner, f.binding) {
		t.Error("a key of small order signs")
	}
}

func TestKnockIsGoodForOneHolderOnly(t *testing.T) {
	f := fixedMaterial(t)
	k := f.knock()
	if !k.verify() {
		t.Fatal("a knock does not verify")
	}
	for name, change := range map[string]func(*knockFrame){
		"holder": func(k *knockFrame) { k.Holder = f.a },
		"member": func(k *knockFrame) { k.Member = f.b },
		"group":  func(k *knockFrame) { k.Group[0]++ },
		"heads":  func(k *knockFrame) { k.Heads = nil },
	} {
		other := f.knock()
		if change(other); other.verify() {
			t.Errorf("the %s can be changed", name)
		}
	}
}

func TestOfferIsGoodForOneGroupOnly(t *testing.T) {
	f := fixedMaterial(t)
	o := f.offer
	other := f.group
	other[0]++
	if !o.verify(f.group) || o.verify(other) {
		t.Error("an offer can be used in another group")
	}
	o.Attempt++
	if o.verify(f.group) {
		t.Error("the attempt of an offer can be changed")
	}
	if len(o.append(nil)) != o.size() {
		t.Error("wrong size")
	}
}

func FuzzFrame(f *testing.F) {
	m := fixedMaterial(f)
	for _, s := range m.samples() {
		f.Add(encodeFrame(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := decodeFrame(in)
		if err != nil || d.frame == nil {
			return
		}
		out := encodeFrame(d.frame)
		if want := in[:len(in)-d.extra]; !bytes.Equal(out, want) {
			t.Fatalf("%x became %x", want, out)
		}
	})
}

func FuzzHello(f *testing.F) {
	m := fixedMaterial(f)
	f.Add(m.hello())
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := decodeHello(in)
		if err != nil {
			return
		}
		out := append(h.appendUnsigned(nil), h.signature[:]...)
		if !bytes.HasPrefix(in, out) {
			t.Fatalf("%x became %x", in, out)
		}
		if !bytes.Equal(h.signed, h.appendUnsigned(nil)) {
			t.Fatal("something else is signed than what was read")
		}
	})
}

func FuzzBody(f *testing.F) {
	f.Add([]byte{0, 3, 0, 1, 19, 0, 0})
	f.Add(ContactBody([]byte{0, 1, 3}))
	f.Fuzz(func(t *testing.T, in []byte) {
		frames, err := splitBody(in)
		if err == nil {
			var out []byte
			for _, f := range frames {
				out = wire.AppendStr16(out, f)
			}
			if !bytes.Equal(out, in) {
				t.Fatalf("%x became %x", in, out)
			}
		}
		if frame, err := ParseContactBody(in); err == nil && !bytes.HasPrefix(in, ContactBody(frame)) {
			t.Fatalf("%x is not how %x travels", in, frame)
		}
		if inv, err := ParseInvitation("c", in); err == nil && len(inv.Info) > MaxInfo {
			t.Fatal("an invitation with too much info")
		}
		ContactFrameGroup(in)
	})
}
