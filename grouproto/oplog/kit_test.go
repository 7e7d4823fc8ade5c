package oplog

import (
	"crypto/ed25519"
	"slices"
	"testing"
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
