package agent

import (
	"maps"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/client"
	"github.com/coterie-im/coterie/queue/store"
)

// fault does one of the things that go wrong.
func (w *simWorld) fault() {
	p := w.people[w.rng.IntN(len(w.people))]
	switch w.rng.IntN(7) {
	case 0, 1:
		if w.plan.kills > 0 && p.agent != nil {
			w.plan.kills--
			p.arm(w.rng.IntN(4))
		}
	case 2, 3:
		if w.plan.cuts > 0 {
			w.plan.cuts--
			w.cut(p, w.relays[w.rng.IntN(len(w.relays))])
		}
	case 4:
		if w.plan.jumps > 0 {
			w.plan.jumps--
			w.saw("long pause")
			w.pass(time.Duration(1+w.rng.IntN(180)) * time.Minute)
			w.note("world", "a long time has passed")
		}
	case 5:
		if w.plan.outages > 0 {
			w.plan.outages--
			w.outage()
		}
	case 6:
		if w.plan.clocks > 0 {
			w.plan.clocks--
			w.setClock(p)
		}
	}
}

// backups copies stores and brings copies back, as soon as there is somebody with whom that can be tried.
func (w *simWorld) backups() {
	if w.plan.backups == 0 || !w.chance(0.05) {
		return
	}
	if p := w.people[w.rng.IntN(len(w.people))]; p.agent != nil && p.villain == nil {
		p.backup()
		w.settle()
		w.reap()
	}
}

// outage cuts everybody off from a relay, or some from all relays, so that the others can go on without them.
func (w *simWorld) outage() {
	relays, people := w.relays, w.people
	if w.chance(0.5) {
		relays = relays[w.rng.IntN(len(relays)):][:1]
		w.saw("relay down")
	} else {
		people = people[:1+w.rng.IntN(len(people)-1)]
		w.saw("partition")
	}
	for _, r := range relays {
		for _, p := range people {
			if !p.cut[r.name] {
				w.cut(p, r)
				w.settle()
			}
		}
	}
}

// setClock sets a clock wrong, mostly by little.
func (w *simWorld) setClock(p *simPerson) {
	d := time.Duration(w.rng.IntN(20_000)-10_000) * []time.Duration{time.Millisecond, time.Second, 4 * time.Second}[w.rng.IntN(3)]
	w.mu.Lock()
	p.clock += d
	w.mu.Unlock()
	w.saw("clock jumps")
	w.note(p.name, "has a clock that jumps by %v", d)
}

// clockOf is what a person's agent takes for the time.
func (w *simWorld) clockOf(p *simPerson) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(p.clock)
}

// tricked tells whether a relay does something else with a message than to store it. It does so only with pairs that are
// connected: who loses the messages of a handshake, or of a contact, keeps people apart.
func (w *simWorld) tricked(r *simRelay, id queue.ID, m store.Message) bool {
	if w.calm || w.plan.tricks == 0 || !w.chance(w.plan.tricks) || !w.pairQueue(r.owners[id], id) {
		return false
	}
	switch w.rng.IntN(3) {
	case 0:
		w.saw("relay loses a message")
		w.note(r.name, "loses a message to %s", r.labels[id])
	case 1:
		w.saw("relay doubles a message")
		w.note(r.name, "doubles a message to %s", r.labels[id])
		r.put(id, m)
		m.ID = r.id()
		r.put(id, m)
	default:
		w.saw("relay holds a message back")
		w.note(r.name, "holds back a message to %s", r.labels[id])
		r.held[id] = append(r.held[id], m)
	}
	return true
}

// pairQueue tells whether a queue is that of a pair connection that works.
func (w *simWorld) pairQueue(p *simPerson, id queue.ID) bool {
	if p == nil || p.agent == nil {
		return false
	}
	for _, e := range p.agent.loop.conns {
		if e.meta.Group != "" && !e.meta.Door && e.meta.State == stateConnected &&
			slices.ContainsFunc(e.meta.Queues, func(q ownQueue) bool { return queue.ID(q.ID) == id }) {
			return true
		}
	}
	return false
}

// cut ends the connection of a person with a relay, or makes it again.
func (w *simWorld) cut(p *simPerson, r *simRelay) {
	w.mu.Lock()
	p.cut[r.name] = !p.cut[r.name]
	w.mu.Unlock()
	for _, s := range w.sessions {
		if s.person != p || s.relay != r || s.ended() || s.up != p.cut[r.name] {
			continue
		}
		if s.up {
			w.saw("connection lost")
			w.note(p.name, "loses %s", r.name)
			s.disconnect()
			for _, q := range slices.Clone(w.requests) {
				if q.session == s && !w.left(q) {
					w.lose(q)
					synctest.Wait() // one result after the other
				}
			}
		} else {
			w.note(p.name, "reaches %s again", r.name)
			s.reconnect()
		}
	}
}

// lose ends a command whose connection is lost.
func (w *simWorld) lose(r *simRequest) {
	if !r.executed && w.chance(0.5) {
		r.err = r.execute()
		r.executed = true
	}
	w.answer(r, client.ErrDisconnected)
}

// endFaults makes everything work again.
func (w *simWorld) endFaults() {
	w.calm = true
	w.note("world", "no more faults")
	for _, r := range w.relays {
		for _, id := range slices.Sorted(maps.Keys(r.held)) {
			r.release(id)
		}
	}
	for _, p := range w.people {
		p.armed = 0
		for _, r := range w.relays {
			if p.cut[r.name] {
				w.cut(p, r)
				w.settle()
			}
		}
		if p.agent == nil {
			p.open()
			w.settle()
		}
	}
}

// count adds up what a run was like.
func (w *simWorld) count(seen map[string]int) {
	for what, n := range w.seen {
		seen[what] += n
	}
	for _, what := range []string{"GMSG", "GCON", "GREMOVED", "GLEFT", "GDCON", "MSG", "ERR", "GMSGOWN", "GMSGFALSE", "GMERR"} {
		for _, line := range w.trace {
			if strings.Contains(line, "is told: "+what+" ") || strings.HasSuffix(line, "is told: "+what) {
				seen[what]++
			}
		}
	}
	if w.plan.villain >= 0 {
		seen["seeds with a member that misbehaves"]++
	}
}

// saw counts something that was done.
func (w *simWorld) saw(what string) {
	w.seenMu.Lock()
	defer w.seenMu.Unlock()
	w.seen[what]++
}
