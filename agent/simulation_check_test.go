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
	in = w.reachable(in, infos)
	for _, p := range in {
		info := infos[p]
		if first := infos[in[0]]; !bytes.Equal(info.StateHash, first.StateHash) {
			add("%s and %s see another group", in[0].name, p.name)
		}
		for _, m := range info.Members {
			q := w.person(w.who(m.Member))
			switch {
			case !m.Present:
			case q == nil:
				add("%s sees a member that nobody is", p.name)
			case !slices.Contains(in, q):
				add("%s sees %s as a member, who is %s", p.name, q.name, infos[q].Status)
			case q != p && m.Pair != "connected":
				add("%s is not connected with %s: %s, %s", p.name, q.name, m.Pair, m.Reason)
			}
		}
	}
	for _, text := range w.texts() {
		said := w.said[text]
		for _, p := range in {
			if said.taken && said.must[p.name] && p != said.author && p.got[text] == 0 && (slices.Contains(in, said.author) || said.author.status == "left") {
				add("%s has not got %s", p.name, text)
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

// letters checks what one has written to the other over a contact or direct connection: all of it arrives, in order, once.
func (w *simWorld) letters(p, q *simPerson, add func(string, ...any)) {
	wrote, got := p.wrote[q.name], q.texts[p.name]
	var sure []string
	for _, text := range got {
		if !p.perhaps[text] {
			sure = append(sure, text)
		}
		if slices.Index(got, text) != slices.Index(got, text) {
			w.wrong("%s got %s twice", q.name, text)
		}
	}
	for _, text := range wrote {
		if !slices.Contains(got, text) && !p.perhaps[text] {
			add("%s has not got %s", q.name, text)
		}
	}
	_ = sure
}

// texts returns what was said in the group, sorted.
func (w *simWorld) texts() (all []string) {
	for text := range w.said {
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

// reachable leaves out those that nobody can know of: a member whose inviter was removed or has left before it had
// introduced it to anybody, and whom such members invited.
func (w *simWorld) reachable(in []*simPerson, infos map[*simPerson]GroupInfo) []*simPerson {
	return slices.DeleteFunc(slices.Clone(in), func(p *simPerson) bool {
		return p.inviter != nil && infos[p.inviter].Status != "member" && infos[p].Connected == 0 && len(in) > 1
	})
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
