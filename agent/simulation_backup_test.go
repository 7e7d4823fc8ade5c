package agent

import (
	"context"
	"maps"
	"os"
	"slices"
)

// simCopy is an old copy of an agent's store, with what its client knew then: a client that keeps a database of its own is
// put back together with it.
type simCopy struct {
	store, commits []byte
	pairs          []ConnectionID // that worked
	read           uint64
	status         string
	contacts       map[string]*simPhone
	phones         map[ConnectionID]*simPhone
	states         map[*simPhone]simPhone
	got, heard     map[string]uint64
	gone, ready    map[string]bool
	met            map[string]bool
	texts, wrote   map[string][]string
}

// backup makes a copy of the store, or goes back to the one that was made. What is not promised for old copies
// (docs/groups.md, "Guarantees") is left out: copies are made of members that are connected with all others, and used
// while something of that is left and nobody depends on what is forgotten.
func (p *simPerson) backup() {
	if p.copy == nil {
		p.makeCopy()
	} else {
		p.goBack()
	}
}

func (p *simPerson) makeCopy() {
	w := p.w
	pairs := p.pairs()
	var info GroupInfo
	err, ended := p.try(func(ctx context.Context, a *Agent) (err error) {
		if p.group != "" {
			info, err = a.Group(ctx, p.group)
		}
		return err
	})
	if err != nil || !ended || info.Status != "member" || p.status != "member" || len(p.todo) > 0 || info.Recovery != "" || len(pairs) == 0 {
		return
	}
	for _, m := range info.Members {
		if m.Present && m.Member != p.self && m.Pair != "connected" {
			return
		}
	}
	p.kill("is stopped for a copy")
	c := &simCopy{
		pairs: pairs, read: p.read, status: p.status, contacts: maps.Clone(p.contacts), phones: maps.Clone(p.phones),
		states: map[*simPhone]simPhone{}, got: maps.Clone(p.got), heard: maps.Clone(p.heard), gone: maps.Clone(p.gone),
		ready: maps.Clone(p.ready), met: maps.Clone(p.met), texts: maps.Clone(p.texts), wrote: maps.Clone(p.wrote),
	}
	for _, phone := range p.phones {
		c.states[phone] = *phone
	}
	for _, phone := range p.contacts {
		c.states[phone] = *phone
	}
	c.store, err = os.ReadFile(p.path)
	w.must(err)
	c.commits, err = os.ReadFile(p.path + ".commits")
	w.must(err)
	p.copy = c
	w.saw("store copied")
	w.note(p.name, "has made a copy of its store")
}

// pairs returns the pair connections that work.
func (p *simPerson) pairs() (all []ConnectionID) {
	for id, e := range p.agent.loop.conns {
		if e.meta.Group != "" && !e.meta.Door && e.meta.State == stateConnected {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

func (p *simPerson) goBack() {
	w, c := p.w, p.copy
	if p.status != "member" || len(p.todo) > 0 || !slices.ContainsFunc(p.pairs(), func(id ConnectionID) bool { return slices.Contains(c.pairs, id) }) {
		return
	}
	for _, q := range w.people {
		if q.inviter == p && !c.met[q.name] || c.contacts[q.name] == nil && (p.contacts[q.name] != nil || q.contacts[p.name] != nil) {
			return // q depends on what would be forgotten
		}
	}
	w.plan.backups--
	p.kill("is stopped")
	w.must(os.WriteFile(p.path, c.store, 0o600))
	_ = os.Remove(p.path + "-wal")
	if p.noticed = w.chance(0.6); p.noticed {
		w.saw("store goes back, noticed at the start")
	} else {
		w.must(os.WriteFile(p.path+".commits", c.commits, 0o600))
		w.saw("store goes back with its count")
	}
	p.restored, w.restored = true, true
	for _, said := range w.said {
		said.forgotten = said.forgotten || said.author == p
	}
	p.read, p.status, p.contacts, p.phones = c.read, c.status, c.contacts, c.phones
	for phone, state := range c.states {
		*phone = state
	}
	p.got, p.heard, p.gone, p.ready, p.met, p.texts, p.wrote = c.got, c.heard, c.gone, c.ready, c.met, c.texts, c.wrote
	p.copy = nil
	w.note(p.name, "has an old copy of its store, which can be seen at the start: %t", p.noticed)
}
