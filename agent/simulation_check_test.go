package agent

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/coterie-im/coterie/grouproto"
)

// simLimit is how long everything may take after the last fault.
const simLimit = 40 * time.Hour

// finish plays without faults until everything is as it must be, and then looks whether it stays so, and survives that all
// agents are started again.
func (w *simWorld) finish() {
	for _, round := range []string{"after the faults", "after a rest", "after a restart"} {
		if !w.quiet(round) {
			return
		}
		w.note("world", "all is well %s", round)
		if round != "after the faults" {
			continue
		}
		for range 20 {
			w.pass(time.Minute)
			w.drain()
		}
	}
	for _, p := range w.people {
		p.close()
		w.settle()
	}
}

// drain does everything that can be done without waiting.
func (w *simWorld) drain() (done int) {
	for ; len(w.broken) == 0; done++ {
		options := w.options()
		if len(options) == 0 {
			return done
		}
		options[w.rng.IntN(len(options))]()
		w.settle()
		w.reap()
		if done > 100_000 {
			w.wrong("it does not come to rest")
		}
	}
	return done
}

// quiet waits until everything is as it must be.
func (w *simWorld) quiet(when string) bool {
	if when == "after a restart" {
		for _, p := range w.people {
			p.close()
			w.settle()
			p.open()
			w.settle()
		}
	}
	until := time.Now().Add(simLimit)
	step := 100 * time.Millisecond
	for {
		if w.drain() > 0 {
			step = 100 * time.Millisecond
		}
		problems := w.problems()
		if len(w.broken) > 0 {
			return false
		}
		if len(problems) == 0 {
			return true
		}
		if time.Now().After(until) {
			for _, p := range problems {
				w.wrong("%s: %s", when, p)
			}
			return false
		}
		w.pass(step)
		step = min(2*step, 10*time.Minute)
	}
}

// problems returns what is not yet as it must be.
func (w *simWorld) problems() (all []string) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	infos := map[*simPerson]GroupInfo{}
	var in []*simPerson
	for _, p := range w.people {
		if len(p.todo) > 0 {
			add("%s still wants to do something: %s", p.name, p.todo[0].what)
		}
		if p.group == "" {
			continue
		}
		info, err := p.agent.Group(context.Background(), p.group)
		w.must(err)
		infos[p] = info
		if info.Status == "member" {
			in = append(in, p)
		}
	}
	if len(all) > 0 {
		return all
	}
	w.settle()
	pieces := w.pieces(in, infos)
	for _, piece := range pieces {
		w.together(piece, infos, in, add)
	}
	for _, text := range w.texts() {
		said := w.said[text]
		for _, piece := range pieces {
			if !slices.Contains(piece, said.author) && (said.author.status != "left" || said.author.removed || len(pieces) > 1) {
				continue
			}
			for _, p := range piece {
				if said.taken && said.must[p.name] && p != said.author && p.got[text] == 0 {
					add("%s has not got %s", p.name, text)
				}
			}
		}
	}
	for _, p := range w.people {
		for _, q := range w.people {
			w.letters(p, q, add)
		}
	}
	return all
}

// letters checks what one has written to the other over a contact or a direct connection: all of it arrives, once. What a
// member wrote to another that has not accepted a direct connection, or left, may stay where it is.
func (w *simWorld) letters(p, q *simPerson, add func(string, ...any)) {
	wrote, got := p.wrote[q.name], q.texts[p.name]
	for i, text := range got {
		if slices.Contains(got[:i], text) {
			w.wrong("%s got %s twice", q.name, text)
		}
		if !slices.Contains(wrote, text) && !p.perhaps[text] {
			w.wrong("%s got %s, which %s did not write", q.name, text, p.name)
		}
	}
	for _, text := range wrote {
		if !slices.Contains(got, text) && (!p.perhaps[text] || p.ready[q.name]) {
			add("%s has not got %s", q.name, text)
		}
	}
}

// texts returns what was said in the group, sorted.
func (w *simWorld) texts() (all []string) {
	for text := range w.said {
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

// together checks that members see the same group, know who is in it, and are connected.
func (w *simWorld) together(piece []*simPerson, infos map[*simPerson]GroupInfo, in []*simPerson, add func(string, ...any)) {
	for _, p := range piece {
		info := infos[p]
		if !bytes.Equal(info.StateHash, infos[piece[0]].StateHash) {
			add("%s and %s see another group", piece[0].name, p.name)
		}
		for _, m := range info.Members {
			q := w.person(w.who(m.Member))
			switch {
			case !m.Present:
			case q == nil:
				add("%s sees a member that nobody is", p.name)
			case !slices.Contains(in, q) && !orphaned(in):
				add("%s sees %s as a member, who is %s", p.name, q.name, infos[q].Status)
			case q != p && slices.Contains(in, q) && m.Pair != "connected" && (slices.Contains(piece, q) || m.Reason == ""):
				add("%s is not connected with %s: %s, %q", p.name, q.name, m.Pair, m.Reason)
			}
		}
	}
}

// pieces returns the members as one, or, if somebody who has invited one of them is in the group no more, as those groups
// of which each is connected: who was brought in by somebody who is gone, before it was introduced to the others, can be
// unknown to them, and nobody is left who could take their offers to each other.
func (w *simWorld) pieces(in []*simPerson, infos map[*simPerson]GroupInfo) (pieces [][]*simPerson) {
	if !orphaned(in) {
		return [][]*simPerson{in}
	}
	seen := map[*simPerson]bool{}
	for _, first := range in {
		if seen[first] {
			continue
		}
		seen[first] = true
		piece := []*simPerson{first}
		for i := 0; i < len(piece); i++ {
			for _, m := range infos[piece[i]].Members {
				q := w.person(w.who(m.Member))
				if m.Pair == "connected" && slices.Contains(in, q) && !seen[q] {
					seen[q] = true
					piece = append(piece, q)
				}
			}
		}
		pieces = append(pieces, piece)
	}
	return pieces
}

// orphaned tells whether the inviter of a member is not in the group any more.
func orphaned(in []*simPerson) bool {
	return slices.ContainsFunc(in, func(p *simPerson) bool { return p.inviter != nil && !slices.Contains(in, p.inviter) })
}

// lost notes that messages were given up for a member. Who is not in the group any more does not finish what it began.
func (w *simWorld) lost(p *simPerson, d *GroupSendFailed) {
	if d.Reason == grouproto.ReasonEnded.String() {
		for _, said := range w.said {
			if said.author == p && d.Numbers.From <= said.number && said.number <= d.Numbers.To {
				delete(said.must, w.who(d.Member))
			}
		}
		return
	}
	w.wrong("%s is told that messages %v did not reach %s: %s", p.name, d.Numbers, w.who(d.Member), d.Reason)
}
