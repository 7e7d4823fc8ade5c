package groups_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/test/world"
)

// forgets lets a person write messages and an operation that a copy of the store does not know, and puts the copy in its
// place. If commits is not 0, the agent is killed after so many commits, and opened again.
func (p *person) forgets(commits int, texts []string, setting string, others ...*person) {
	p.t.Helper()
	old := p.copyStore()
	for _, text := range texts {
		say(p.t, text, p, others...)
	}
	must(p.t, p.GroupSet(p.t.Context(), p.group, setting, []byte("forgotten")))
	for _, o := range others {
		await(p.t, "the setting", func() bool { return string(o.info().Settings[setting]) == "forgotten" })
	}
	p.close()
	must(p.t, os.WriteFile(p.config.Store, old, 0o600))
	p.unnoticed()
	if commits == 0 {
		p.open()
		return
	}
	// The agent stops at that commit for good: nothing that follows is written or let out. Then another one takes its
	// files as they are.
	reached, end := make(chan struct{}), make(chan struct{})
	p.config.AfterCommit = func(n int) {
		if n == commits {
			close(reached)
			<-end
		}
	}
	p.open()
	dead := p.Agent
	p.t.Cleanup(func() {
		close(end)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = dead.Close(ctx)
	})
	others[0].send("who is there?")
	await(p.t, "so many commits", func() bool {
		select {
		case <-reached:
			return true
		default:
			return false
		}
	})
	p.config.AfterCommit = nil
	from := p.config.Store
	p.config.Store = filepath.Join(p.t.TempDir(), "agent.db")
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(from + suffix)
		must(p.t, err)
		must(p.t, os.WriteFile(p.config.Store+suffix, b, 0o600))
	}
	p.open()
}

// isBack waits until a person has everything back, and its own messages with an event of their own, each once.
func (p *person) isBack(texts []string, setting string) {
	p.t.Helper()
	await(p.t, "the end of the recovery", func() bool {
		g := p.info()
		return g.Recovery == "" && string(g.Settings[setting]) == "forgotten" && g.Next >= 1<<40
	})
	waiting := map[string]bool{}
	for _, text := range texts {
		waiting[text] = true
	}
	for len(waiting) > 0 {
		m := next(p, func(_ agent.Event, m *agent.GroupOwnMessage) bool { return true })
		if !waiting[string(m.Body)] {
			p.t.Errorf("%q came back, or twice", m.Body)
		}
		delete(waiting, string(m.Body))
	}
}

// everybodyHas checks that all of these have every text exactly once and agree about the group.
func everybodyHas(t *testing.T, texts []string, people ...*person) {
	t.Helper()
	gathered(t, people...)
	for _, p := range people {
		for _, text := range texts {
			await(t, text, func() bool { return p.has(text) > 0 })
			if n := p.has(text); n != 1 {
				t.Errorf("%q is there %d times", text, n)
			}
		}
	}
}

// TestMemberRecoversWhatItHasForgotten: after a restore the own messages and operations come back, and what is written
// then is a new run. Also if it is killed in the middle, after so many commits.
func TestMemberRecoversWhatItHasForgotten(t *testing.T) {
	for _, commits := range []int{0, 4, 10, 20} {
		t.Run(fmt.Sprint(commits), func(t *testing.T) {
			people := newPeople(t, world.StartRelay(t), 3)
			a, b, c := people[0], people[1], people[2]
			circle(t, people...)
			say(t, "before", b, a, c)
			lost := []string{"lost 0", "lost 1", "lost 2"}
			b.forgets(commits, lost, "about", a, c)
			if commits == 0 {
				a.send("who is there?")
			}
			b.isBack(lost, "about")
			say(t, "again", b, a, c)
			if n := b.info().Next; n < 1<<40 {
				t.Errorf("the next number is %d: no new run", n)
			}
			everybodyHas(t, append(lost, "before", "who is there?", "again"), people...)
		})
	}
}

// TestTwoMembersAreRestoredAtOnce: each tells the other what it knows, and the third tells both.
func TestTwoMembersAreRestoredAtOnce(t *testing.T) {
	people := newPeople(t, world.StartRelay(t), 3)
	a, b, c := people[0], people[1], people[2]
	circle(t, people...)
	oldB, oldC := b.copyStore(), c.copyStore()
	texts := []string{"of b", "of c", "of a"}
	say(t, texts[0], b, a, c)
	say(t, texts[1], c, a, b)
	say(t, texts[2], a, b, c)
	must(t, b.GroupSet(t.Context(), b.group, "title", []byte("by b")))
	must(t, c.GroupSet(t.Context(), c.group, "about", []byte("by c")))
	await(t, "both settings", func() bool { return len(a.info().Settings) == 2 })
	b.close()
	c.close()
	b.restore(oldB)
	c.restore(oldC)
	a.send("who is there?")
	for i, p := range []*person{b, c} {
		m := next(p, func(agent.Event, *agent.GroupOwnMessage) bool { return true })
		if string(m.Body) != texts[i] {
			t.Errorf("%q came back", m.Body)
		}
	}
	await(t, "the end of both recoveries", func() bool { return b.info().Next >= 1<<40 && c.info().Next >= 1<<40 })
	say(t, "b again", b, a, c)
	say(t, "c again", c, a, b)
	everybodyHas(t, append(texts, "who is there?", "b again", "c again"), people...)
	if g := b.info(); string(g.Settings["title"]) != "by b" || string(g.Settings["about"]) != "by c" {
		t.Error("an operation is missing")
	}
}

// TestOldCopyIsNoticedAtTheStart: where the count of commits beside the store has stayed, the agent recovers before anything
// else happens: nothing can be written under a number that was used, nobody is warned, and it need not be told by others.
func TestOldCopyIsNoticedAtTheStart(t *testing.T) {
	people := newPeople(t, world.StartRelay(t), 3)
	a, b, c := people[0], people[1], people[2]
	circle(t, people...)
	say(t, "before", b, a, c)
	old := b.copyStore()
	lost := []string{"lost 0", "lost 1"}
	for _, text := range lost {
		say(t, text, b, a, c)
	}
	must(t, b.GroupSet(t.Context(), b.group, "about", []byte("forgotten")))
	for _, o := range []*person{a, c} {
		await(t, "the setting", func() bool { return string(o.info().Settings["about"]) == "forgotten" })
	}
	b.close()
	must(t, os.WriteFile(b.config.Store, old, 0o600))
	b.open()
	next(b, func(_ agent.Event, e *agent.GroupChanged) bool {
		return e.Change == agent.ChangeRecovering && e.Reason == "store"
	})
	b.isBack(lost, "about")
	say(t, "again", b, a, c)
	everybodyHas(t, append(lost, "before", "again"), people...)
	b.close()
	b.open()
	if g := b.info(); g.Recovery != "" {
		t.Error("it recovers once more after a start:", g.Recovery)
	}
	for _, o := range []*person{a, c} {
		o.send("the last one")
		next(o, func(_ agent.Event, e agent.EventData) bool {
			if w, ok := e.(*agent.GroupWarning); ok {
				t.Errorf("warned: %+v", w)
			}
			_, ok := e.(*agent.GroupSent)
			return ok
		})
	}
}
