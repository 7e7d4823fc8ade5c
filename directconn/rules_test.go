package directconn

import "testing"

// A request that comes twice is one: the client is asked once.
func TestRequestThatComesTwiceIsOne(t *testing.T) {
	a, b := pair(t, 20)
	a.must(Ask{a.peer(), a.key, []byte("hello")})
	for len(b.frames) == 0 && a.act(0) {
	}
	if len(b.frames) != 1 {
		t.Fatal("no request")
	}
	b.frames = append(b.frames, b.frames[0])
	settle(a, b)
	if n := len(eventsOf[Asked](b)); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// When both ask, who gives way deletes the connection that it was making.
func TestWhoGivesWayDeletesItsRequest(t *testing.T) {
	a, b := pair(t, 21) // alice has the smaller key
	a.must(Ask{a.peer(), a.key, nil})
	b.must(Ask{b.peer(), b.key, nil})
	own, _ := b.core.Conn(b.peer())
	settle(a, b)
	if !b.gone[own] || len(eventsOf[Ready](b)) != 1 {
		t.Errorf("deleted: %v; told %v", b.gone[own], b.events)
	}
}

// Blocking a member refuses what waits of it.
func TestBlockingRefusesWhatWaits(t *testing.T) {
	a, b := pair(t, 22)
	id := a.must(Ask{a.peer(), a.key, nil}).Request
	settle(a, b)
	if len(eventsOf[Asked](b)) != 1 {
		t.Fatal("nothing waits")
	}
	b.must(Block{b.peer(), true})
	settle(a, b)
	if got := eventsOf[Ended](a); len(got) != 1 || got[0].Request != id || got[0].Why != WhyRefused {
		t.Errorf("told %v", got)
	}
	b.fails(ErrUnknown, Accept{id})
}
