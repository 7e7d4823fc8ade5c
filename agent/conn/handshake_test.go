package conn

import (
	"testing"

	"github.com/coterie-im/coterie/agent/link"

	"pgregory.net/rapid"
)

// pair makes two agents; connect lets the second join the first.
func pair(t rapid.TB) (w *world, a, b *node) {
	w = newWorld(t, 1)
	a, b = w.node("alice"), w.node("bob")
	a.allow = []byte("alice's info")
	return w, a, b
}

func connectPair(t rapid.TB, w *world, a, b *node) {
	t.Helper()
	a.create(link.Invitation)
	w.run()
	if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
		t.Fatal(err)
	}
	w.run()
	checkConnected(t, a, b)
}

func checkConnected(t rapid.TB, a, b *node) {
	t.Helper()
	for _, n := range []*node{a, b} {
		if got := all[Connected](n); len(got) != 1 {
			t.Fatalf("%s: connected %d times:%s", n.name, len(got), n.history())
		}
	}
	conf, info := mustEvent[Confirmation](a), mustEvent[Info](b)
	if string(conf.Info) != "bob's info" || string(info.Info) != "alice's info" {
		t.Errorf("infos %q and %q", conf.Info, info.Info)
	}
	if conf.Binding != info.Binding || conf.Binding == [32]byte{} {
		t.Error("bindings differ")
	}
}

func TestFastHandshake(t *testing.T) {
	w, a, b := pair(t)
	connectPair(t, w, a, b)
	if code, ok := a.conn.SecurityCode(); !ok {
		t.Error("no security code")
	} else if other, _ := b.conn.SecurityCode(); code != other {
		t.Error("security codes differ")
	}
	if !mustEvent[Joined](b).SendReady {
		t.Error("joiner of a fast queue cannot send at once")
	}
	a.must(Send{Body: []byte("hello"), Ref: "r1"})
	b.must(Send{Body: []byte("hi"), Ref: "r2"})
	w.run()
	for _, c := range []struct {
		n    *node
		body string
		sent string
	}{{a, "hi", "r1"}, {b, "hello", "r2"}} {
		m := mustEvent[Message](c.n)
		if string(m.Body) != c.body || m.Integrity.String() != "OK" {
			t.Errorf("%s got %q, %v", c.n.name, m.Body, m.Integrity)
		}
		if s := mustEvent[Sent](c.n); s.Ref != c.sent || s.ID != 2 {
			t.Errorf("%s: sent %+v", c.n.name, s)
		}
	}
}
