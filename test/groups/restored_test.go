package groups_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/test/world"
)

// copyStore returns the content of a closed person's store.
func (p *person) copyStore() []byte {
	p.t.Helper()
	p.close()
	b, err := os.ReadFile(p.config.Store)
	must(p.t, err)
	if _, err := os.Stat(p.config.Store + "-wal"); err == nil {
		p.t.Fatal("not everything is in the store")
	}
	p.open()
	return b
}

// restore puts an old copy in the place of the store.
func (p *person) restore(old []byte) {
	p.t.Helper()
	p.close()
	must(p.t, os.WriteFile(p.config.Store, old, 0o600))
	p.unnoticed()
	p.open()
}

// unnoticed removes what would tell at the start that a store is old, as if it were put back on another machine.
func (p *person) unnoticed() {
	p.t.Helper()
	must(p.t, os.Remove(p.config.Store+".commits"))
}

// queues is how many queues a person has made since it was opened.
func (p *person) queues() uint64 { return p.Counters().Commands["NEW"] }

// TestMemberIsRestoredFromAnOldCopy: one member's store is an old copy, in which the ratchets of all its pairs are from
// before. They are made again, by whichever end sees it first, and everybody has everything.
func TestMemberIsRestoredFromAnOldCopy(t *testing.T) {
	for name, first := range map[string]func(people []*person){
		"others write first": func(people []*person) {
			for i, p := range []*person{people[0], people[2]} {
				_, err := p.GroupSend(t.Context(), p.group, agent.Outgoing{Body: []byte([]string{"who sees this?", "and this?"}[i])})
				must(t, err)
			}
		},
		"the restored one writes first": func(people []*person) {
			_, err := people[1].GroupSend(t.Context(), people[1].group, agent.Outgoing{Body: []byte("who sees this?")})
			must(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			people := newPeople(t, world.StartRelay(t), 3)
			restored := people[1]
			circle(t, people...)
			say(t, "from the restored one", restored, people[0], people[2])
			say(t, "to it", people[0], people[1], people[2])
			old := restored.copyStore()
			for i := range 3 {
				say(t, fmt.Sprint("unknown to the copy, ", i), people[0], people[1], people[2])
				say(t, fmt.Sprint("this neither, ", i), people[2], people[0], people[1])
			}
			restored.restore(old)
			before := people[0].queues() + people[2].queues()
			first(people)
			gathered(t, people...)
			say(t, "back again", restored, people[0], people[2])
			for i := range 3 {
				say(t, fmt.Sprint("after, ", i), people[0], people[1], people[2])
				say(t, fmt.Sprint("after that, ", i), people[2], people[0], people[1])
			}
			await(t, "what was written first", func() bool {
				return people[0].has("who sees this?")*people[1].has("who sees this?")*people[2].has("who sees this?") == 1
			})
			for i := range 3 {
				text := fmt.Sprint("unknown to the copy, ", i)
				await(t, text, func() bool { return restored.has(text) == 1 })
			}
			if n := restored.queues() + people[0].queues() + people[2].queues() - before; n != 0 {
				t.Errorf("%d queues were made: connections were replaced", n)
			}
		})
	}
}
