package agent

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coterie-im/coterie/grouproto"
)

// simLimit is how long everything may take after the last fault.
const simLimit = 40 * time.Hour

// finish plays without faults until everything is as it must be, and then looks whether it stays so, survives that all
// agents are started again, and is good for another message of everybody.
func (w *simWorld) finish() {
	for _, round := range []string{"after the faults", "after a rest", "after a restart", "after a last word"} {
		if !w.quiet(round) {
			return
		}
		w.note("world", "all is well %s", round)
		switch round {
		case "after the faults":
			for range 20 {
				w.pass(time.Minute)
				w.drain()
			}
		case "after a restart":
			for _, p := range w.people {
				if p.status == "member" {
					p.say()
				}
			}
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
		if info.Status == "member" && p.villain == nil {
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
		w.reported(piece, add)
	}
	for _, text := range w.texts() {
		said := w.said[text]
		for _, piece := range pieces {
			if !slices.Contains(piece, said.author) && (said.author.status != "left" || said.author.removed || len(pieces) > 1) {
				continue
			}
			for _, p := range piece {
				if said.taken && said.must[p.name] && !said.forgotten && !(w.restored && said.author.status != "member") && said.author.villain == nil && p != said.author && p.got[text] == 0 {
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
	if p.restored || q.restored {
		return
	}
	wrote, got := p.wrote[q.name], q.texts[p.name]
	for i, text := range got {
		if slices.Contains(got[:i], text) {
			w.wrong("%s got %s twice", q.name, text)
		}
		if !slices.Contains(wrote, text) && !p.tried[text] {
			w.wrong("%s got %s, which %s did not write", q.name, text, p.name)
		}
	}
	for _, text := range wrote {
		if !slices.Contains(got, text) && !p.perhaps[text] {
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
			case q != nil && q.villain != nil:
			case q == nil:
				add("%s sees a member that nobody is", p.name)
			case q.restored && q.status == "left": // with ratchets that nobody could follow
			case !slices.Contains(in, q) && !orphaned(in):
				add("%s sees %s as a member, who is %s", p.name, q.name, infos[q].Status)
			case (p.restored || q.restored) && m.Reason != "" && slices.Contains(in, q):
				// It may wait for a connection that it has forgotten and the other one has not. It says so.
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

// lost notes that messages were given up for a member. Who is not in the group any more does not finish what it began, and
// who went back to an old copy may have used numbers that were used before.
func (w *simWorld) lost(p *simPerson, d *GroupSendFailed) {
	if d.Reason == grouproto.ReasonEnded.String() || p.restored && d.Reason == grouproto.ReasonNumber.String() {
		for _, said := range w.said {
			if said.author == p && d.Numbers.From <= said.number && said.number <= d.Numbers.To {
				delete(said.must, w.who(d.Member))
			}
		}
		return
	}
	if v := w.villainOf(); v != nil && (v == p || w.who(d.Member) == v.name || d.Reason == grouproto.ReasonNumber.String()) {
		return // it names other contents, and others do that believed it; the true ones still have to arrive
	}
	w.wrong("%s is told that messages %v did not reach %s: %s", p.name, d.Numbers, w.who(d.Member), d.Reason)
}

// warning checks that nobody is warned of an honest member without a reason.
func (p *simPerson) warning(d *GroupWarning) {
	w, about := p.w, p.w.person(p.w.who(d.Member))
	if p.villain != nil {
		return
	}
	w.saw("warning: " + d.Warning)
	p.warned[d.Warning+" "+w.who(d.Member)] = true
	switch {
	case about != nil && about.villain != nil:
		return
	case d.Warning == "disputed" && (w.plan.villain >= 0 || w.restored):
		return // what somebody has said twice or made up, others pass on; nobody can prove who did it
	case d.Warning == "equivocation" && about != nil && about.restored && (!about.noticed || about.status == "left"):
		return // it wrote before it knew that it had gone back, or left without waiting
	case d.Warning == "limit" && (w.plan.faults > 0 || w.restored || w.plan.villain >= 0):
		return // what paces questions is lost with the process
	case d.Warning == "hello" && w.seen["steals a request"]+w.seen["relay loses a message"]+w.seen["relay doubles a message"]+w.seen["relay holds a message back"] > 0:
		return // whoever holds a request can answer it with a wrong hello
	}
	w.wrong("%s is warned: %s %s", p.name, d.Warning, w.who(d.Member))
}

// reported checks that what can be noticed was told to everybody who could.
func (w *simWorld) reported(piece []*simPerson, add func(string, ...any)) {
	for _, p := range piece {
		for _, lie := range slices.Sorted(maps.Keys(p.lies)) {
			if slices.ContainsFunc(piece, func(a *simPerson) bool { return strings.HasPrefix(lie, a.name) }) {
				add("%s still has a false copy of %s", p.name, lie)
			}
		}
		if v := w.villainOf(); v != nil && v.villain.equivocated && !p.warned["equivocation "+v.name] {
			add("%s was not warned that %s has written two operations side by side", p.name, v.name)
		}
	}
}

// villainOf returns who misbehaves, nil if nobody does.
func (w *simWorld) villainOf() *simPerson {
	if w.plan.villain < 0 {
		return nil
	}
	return w.people[w.plan.villain]
}
