package oplog

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/internal/wire"
)

// named makes a member key out of a short name. Nobody can sign with it; tests that need signatures use person.
func named(name string) (k Key) {
	copy(k[:], name)
	return k
}

func removal(names ...string) *Remove {
	a := &Remove{}
	for _, n := range names {
		a.Members = append(a.Members, Removal{Member: named(n)})
	}
	slices.SortFunc(a.Members, func(a, b Removal) int { return a.Member.Compare(b.Member) })
	return a
}

// admitUnsigned is Add without signature, waiting area and store.
func (l *Log) admitUnsigned(op *Op) Reason {
	x, st, r := l.examine(op)
	if r == ReasonNone {
		l.admit(x, st)
	}
	return r
}

// person is somebody who can sign. Keys are fixed by the name.
type person struct {
	Key
	private ed25519.PrivateKey
}

func newPerson(name string) person {
	seed := Hash("test/person", []byte(name))
	p := person{private: ed25519.NewKeyFromSeed(seed[:])}
	copy(p.Key[:], p.private.Public().(ed25519.PublicKey))
	return p
}

func (p person) sign(t testing.TB, b Body) *Op {
	t.Helper()
	op, err := Sign(b, p.private)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// signAs is sign for a later version, whose content is that of version 1.
func (p person) signAs(t interface{ Fatal(...any) }, version uint16, b Body) *Op {
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint16(raw, version)
	return p.signRaw(t, raw)
}

func (p person) signRaw(t interface{ Fatal(...any) }, raw []byte) *Op {
	op, err := DecodeSigned(append(wire.AppendStr16(nil, raw), ed25519.Sign(p.private, signed(raw))...))
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// later returns a signed operation with another version, and without a good signature.
func later(in []byte, version uint16) []byte {
	in = bytes.Clone(in)
	binary.BigEndian.PutUint16(in[2:], version)
	return in
}

// story is a log that grows by operations with given parents, without signatures.
type story struct {
	t testing.TB
	l *Log
}

func newStory(t testing.TB, p Policy) *story {
	return &story{t, start(nil, unsigned(t, Body{Author: named("F"), Action: &Genesis{Policy: p}}))}
}

func unsigned(t testing.TB, b Body) *Op {
	t.Helper()
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return &Op{Body: b, id: Hash(labelID, raw), raw: raw}
}

// try makes an operation on top of the given ones.
func (s *story) try(author string, a Action, on ...ID) (ID, Reason) {
	s.t.Helper()
	heads := s.l.unimplied(s.l.indexes(on))
	b := Body{
		Group: s.l.Group(), Author: named(author), Seq: s.l.nextSeq(named(author), s.l.closure(heads)),
		Parents: s.l.ids(heads), Action: a,
	}
	sortIDs(b.Parents)
	op := unsigned(s.t, b)
	return op.id, s.l.admitUnsigned(op)
}

func (s *story) put(author string, a Action, on ...ID) ID {
	s.t.Helper()
	id, r := s.try(author, a, on...)
	if r != ReasonNone {
		s.t.Fatal("refused:", r)
	}
	return id
}

// add lets F add members one behind the other.
func (s *story) add(on ID, role Role, names ...string) ID {
	s.t.Helper()
	for _, n := range names {
		on = s.put("F", &Add{Member: named(n), Role: role}, on)
	}
	return on
}

func (s *story) members() string {
	var b strings.Builder
	for _, m := range s.l.State().Members() {
		b.Write(bytes.TrimRight(m.Key[:], "\x00"))
	}
	return b.String()
}

func (s *story) expect(members string) {
	s.t.Helper()
	if got := s.members(); got != members {
		s.t.Fatalf("members %s, want %s", got, members)
	}
}
