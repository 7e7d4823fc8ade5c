package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// spreadAgent is an agent of which only startSpread is used, with sessions that take jobs and do nothing with them.
func spreadAgent(t *testing.T, spread time.Duration, sessions int) (*Agent, []*session) {
	a := &Agent{config: Config{Spread: spread, Rand: rand.NewChaCha8([32]byte{1})}}
	var all []*session
	for range sessions {
		s := &session{agent: a, deliveries: newDeliveries()}
		s.deliveries.posted = maxPosted
		s.ctx, s.cancel = context.WithCancel(t.Context())
		all = append(all, s)
	}
	return a, all
}

func (s *session) waiting() (ids []ConnectionID) {
	d := &s.deliveries
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range d.waiting {
		ids = append(ids, j.conn)
	}
	return ids
}

func TestFanOutIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const members = 400
		a, sessions := spreadAgent(t, 200*time.Millisecond, 2)
		var given []ConnectionID
		for i := range members {
			id := ConnectionID(fmt.Sprint(i))
			given = append(given, id)
			a.loop.spread = append(a.loop.spread, spreadJob{session: sessions[i%2], job: job{conn: id, fan: true}})
		}
		a.startSpread()
		started := func() (ids []ConnectionID) {
			synctest.Wait()
			return append(sessions[0].waiting(), sessions[1].waiting()...)
		}
		if n := len(started()); n > members/20 {
			t.Errorf("%d leave at once", n)
		}
		time.Sleep(100 * time.Millisecond)
		if n := len(started()); n < members/3 || n > members*2/3 {
			t.Errorf("%d have left after half of the time", n)
		}
		time.Sleep(100 * time.Millisecond)
		ids := started()
		if slices.Equal(ids, given) {
			t.Error("they leave in the order in which they were given")
		}
		slices.Sort(ids)
		slices.Sort(given)
		if !slices.Equal(ids, given) {
			t.Errorf("%d of %d have left", len(ids), members)
		}
		for _, s := range sessions {
			s.running.Wait()
		}
	})
}

func TestWhatIsNotSpread(t *testing.T) {
	for _, c := range []struct {
		name   string
		spread time.Duration
		jobs   int
	}{{"one alone", time.Hour, 1}, {"all, if it is off", -1, 10}} {
		a, sessions := spreadAgent(t, c.spread, 1)
		for range c.jobs {
			a.loop.spread = append(a.loop.spread, spreadJob{session: sessions[0]})
		}
		a.startSpread()
		if n := len(sessions[0].waiting()); n != c.jobs {
			t.Errorf("%s: %d of %d leave", c.name, n, c.jobs)
		}
	}
}

func TestSpreadEndsWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, sessions := spreadAgent(t, time.Hour, 1)
		for range 10 {
			a.loop.spread = append(a.loop.spread, spreadJob{session: sessions[0]})
		}
		a.startSpread()
		synctest.Wait()
		sessions[0].cancel()
		sessions[0].running.Wait()
		if n := len(sessions[0].waiting()); n != 0 {
			t.Errorf("%d left after the end", n)
		}
	})
}
