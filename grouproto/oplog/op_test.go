package oplog

import (
	"testing"
)

func TestSignedOperationsAreAdmittedAndKept(t *testing.T) {
	anna := newPerson("anna")
	genesis := anna.sign(t, Body{Author: anna.Key, Action: &Genesis{Policy: Symmetric()}})
	l, err := New(nil, nil, genesis)
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Next(anna.Key, &Add{Member: newPerson("bert").Key, Role: Plain}, 1_800_000_000)
	if err != nil {
		t.Fatal(err)
	}
	op, err := DecodeSigned(anna.sign(t, b).AppendSigned(nil))
	if err != nil {
		t.Fatal(err)
	}
	if res := l.Add(nil, op, anna.Key); res.Status != Admitted {
		t.Fatal(res.Status, res.Reason)
	}
	if l.State().Len() != 2 {
		t.Fatal(l.State().Len(), "members")
	}
}
