package oplog

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/coterie-im/coterie/internal/kv"
	"pgregory.net/rapid"
)

// replica is one member's copy of a group, with its records.
type replica struct {
	person
	l  *Log
	tx *kv.Memory
}

func newReplica(t testing.TB, p person, genesis *Op) *replica {
	t.Helper()
	r := &replica{person: p, tx: &kv.Memory{}}
	l, err := New(r.tx, []byte("op/"), genesis)
	if err != nil {
		t.Fatal(err)
	}
	r.l = l
	return r
}

// reload makes the log again from its records.
func (r *replica) reload(t interface{ Fatal(...any) }) {
	l, err := Load(r.tx, []byte("op/"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := listed(l.State()), listed(r.l.State()); got != want {
		t.Fatal("loaded", got, "want", want)
	}
	if !slices.Equal(l.Heads(), r.l.Heads()) || l.Len() != r.l.Len() {
		t.Fatal("loaded other heads")
	}
	r.l = l
}

// TestReplicasConverge lets replicas write, split, exchange in any order and twice, forget and reload, and in the end
// hear everything: all states are equal.
func TestReplicasConverge(t *testing.T) {
	people := []person{newPerson("f"), newPerson("a"), newPerson("b"), newPerson("c")}
	rapid.Check(t, func(t *rapid.T) {
		r := drawn{t}
		g := &graph{names: []string{"title", "x"}}
		for _, p := range people {
			g.people = append(g.people, p.Key)
		}
		genesis, err := Sign(Body{Author: g.people[0], Action: &Genesis{Policy: g.policy(r)}}, people[0].private)
		if err != nil {
			t.Fatal(err)
		}
		all := []*Op{genesis}
		var replicas []*replica
		for _, p := range people {
			rep := &replica{person: p, tx: &kv.Memory{}}
			if rep.l, err = New(rep.tx, []byte("op/"), genesis); err != nil {
				t.Fatal(err)
			}
			replicas = append(replicas, rep)
		}
		write := func(rep *replica, a Action) {
			b, err := rep.l.Next(rep.Key, a, 1_800_000_123)
			if err != nil {
				return
			}
			op, err := Sign(b, rep.private)
			if err != nil {
				t.Fatal(err)
			}
			if res := rep.l.Add(rep.tx, op, rep.Key); res.Status != Admitted || len(res.Equivocations) > 0 {
				t.Fatal("own operation:", res.Status, res.Reason)
			}
			all = append(all, op)
		}
		for _, p := range people[1:] {
			write(replicas[0], &Add{Member: p.Key, Role: Role(1 + r.below(4))})
		}
		for range 5 + r.below(40) {
			rep := replicas[r.below(len(replicas))]
			switch r.below(8) {
			case 0, 1, 2:
				write(rep, g.action(r))
			case 3:
				rep.reload(t)
			default: // hears some operation from somebody, perhaps too early, perhaps again
				rep.l.Add(rep.tx, all[r.below(len(all))], g.person(r))
			}
		}
		for _, rep := range replicas {
			rest := slices.Clone(all)
			for len(rest) > 0 {
				at := r.below(len(rest))
				rep.l.Add(rep.tx, rest[at], Key{})
				rest = slices.Delete(rest, at, at+1)
			}
			for _, op := range all {
				if res := rep.l.Add(rep.tx, op, Key{}); res.Status != AlreadyKnown {
					t.Fatal("own operation of another replica:", res.Status, res.Reason)
				}
			}
			if len(rep.l.Missing()) != 0 || len(rep.l.waiting.byID) != 0 || len(rep.l.waiting.children) != 0 || len(rep.l.waiting.of) != 0 {
				t.Fatal("something still waits")
			}
			rep.reload(t)
			if got, want := listed(rep.l.State()), listed(replicas[0].l.State()); got != want {
				t.Fatalf("replica\n%s\nwant\n%s", got, want)
			}
			if !slices.Equal(rep.l.Heads(), replicas[0].l.Heads()) {
				t.Fatal("other heads")
			}
		}
	})
}

func TestLoadRefusesDamage(t *testing.T) {
	anna := newPerson("anna")
	genesis := anna.sign(t, Body{Author: anna.Key, Action: &Genesis{Policy: Symmetric()}})
	rep := newReplica(t, anna, genesis)
	for _, name := range []string{"b", "c", "d"} {
		b, err := rep.l.Next(anna.Key, &Add{Member: newPerson(name).Key, Role: Plain}, 0)
		if err != nil {
			t.Fatal(err)
		}
		rep.l.Add(rep.tx, anna.sign(t, b), anna.Key)
	}
	rep.reload(t)
	damage := map[string]func(tx *kv.Memory){
		"nothing there": func(tx *kv.Memory) {
			for i := range uint32(4) {
				tx.Delete(recordKey([]byte("op/"), i))
			}
		},
		"a gap":      func(tx *kv.Memory) { tx.Delete(recordKey([]byte("op/"), 1)) },
		"no genesis": func(tx *kv.Memory) { tx.Delete(recordKey([]byte("op/"), 0)) },
		"cut off": func(tx *kv.Memory) {
			v, _ := tx.Get(recordKey([]byte("op/"), 2))
			tx.Put(recordKey([]byte("op/"), 2), v[:40])
		},
		"twice": func(tx *kv.Memory) {
			v, _ := tx.Get(recordKey([]byte("op/"), 1))
			tx.Put(recordKey([]byte("op/"), 2), v)
		},
		"a foreign key between": func(tx *kv.Memory) { tx.Put([]byte("op/\x00\x00\x00\x01x"), nil) },
	}
	stranger := newPerson("s")
	foreign := stranger.sign(t, Body{Group: genesis.id, Author: stranger.Key, Parents: []ID{genesis.id}, Action: &Leave{}})
	damage["by a stranger"] = func(tx *kv.Memory) { tx.Put(recordKey([]byte("op/"), 3), foreign.AppendSigned(nil)) }
	damage["a second genesis"] = func(tx *kv.Memory) { tx.Put(recordKey([]byte("op/"), 3), genesis.AppendSigned(nil)) }
	for name, spoil := range damage {
		tx := rep.tx.Clone()
		spoil(tx)
		if _, err := Load(tx, []byte("op/")); !errors.Is(err, ErrStore) {
			t.Error(name, "is loaded:", err)
		}
	}
	if !bytes.Equal(rep.l.prefix, []byte("op/")) || rep.tx.Len() != 4 {
		t.Error("unexpected records")
	}
}
