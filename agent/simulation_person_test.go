package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"testing/synctest"
	"time"

	"github.com/coterie-im/coterie/queue"
)

// simPerson is an agent and its client. What the client knows outlives the agent's process, as with a bot that has a
// database of its own: calls whose result is unknown are made again with the same key, events that come again are known
// by their number.
type simPerson struct {
	w     *simWorld
	name  string
	path  string
	rand  *simRandom
	agent *Agent // nil while it does not run
	life  int    // how often it was opened
	rest  int    // decisions until somebody may open it again

	armed  int // kill at this commit from now, counted down by the agent's loop
	middle bool
	cut    map[string]bool // relays that cannot be reached, by name
	clock  time.Duration   // guarded by simWorld.mu: by how much it is wrong

	copy     *simCopy // of the store, nil if there is none
	restored bool     // the store went back to an old copy
	noticed  bool     // and the agent was able to see it
	villain  *simVillain

	todo []*simCall // calls that are still to be made, in order
	read uint64     // number of the last event that was taken in

	self     MemberID
	group    GroupID
	status   string               // of the own membership, as the client was told
	invited  bool                 // somebody cares for an invitation
	contacts map[string]*simPhone // by the other's name
	phones   map[ConnectionID]*simPhone
	says     int
	got      map[string]uint64 // group messages by text: the event that told it
	heard    map[string]uint64 // the number of the last message, by author
	gone     map[string]bool   // who was removed or has left, as the client was told
	texts    map[string][]string
	wrote    map[string][]string // texts by receiver
	perhaps  map[string]bool     // texts of which it is unknown whether the agent took them
	letters  int
	ready    map[string]bool // direct connections by the other's name
	met      map[string]bool // members with whom a connection worked once
	inviter  *simPerson
	removed  bool                // somebody has removed this person
	asking   map[string][]string // texts for a direct connection that is asked for, by the other's name
	tried    map[string]bool     // texts of which it is unknown whether they were written
	lies     map[string]string   // false copies that somebody vouched for, by author and number
	warned   map[string]bool     // warnings, by kind and member
}

// simPhone is a contact.
type simPhone struct {
	with  *simPerson
	id    ConnectionID
	ready bool
	adds  bool // to be invited when it is ready
}

// simCall is a call of the client.
type simCall struct {
	what string
	run  func(ctx context.Context, a *Agent) error
	once bool // not to be made again if its result is unknown
	open bool // its result is unknown
}

func (w *simWorld) newPerson(name string) *simPerson {
	return &simPerson{
		w: w, name: name, path: filepath.Join(w.folder, name+".db"), rand: w.random("agent " + name),
		cut: map[string]bool{}, contacts: map[string]*simPhone{}, phones: map[ConnectionID]*simPhone{},
		got: map[string]uint64{}, heard: map[string]uint64{}, gone: map[string]bool{},
		texts: map[string][]string{}, wrote: map[string][]string{}, perhaps: map[string]bool{},
		ready: map[string]bool{}, met: map[string]bool{}, asking: map[string][]string{}, tried: map[string]bool{}, lies: map[string]string{}, warned: map[string]bool{},
	}
}

// open starts the agent.
func (p *simPerson) open() {
	p.w.mu.Lock()
	p.life++
	p.w.mu.Unlock()
	a, err := Open(context.Background(), Config{
		Store: p.path, Key: testKey, Relays: p.w.servers(), Rand: p.rand,
		now:          func() time.Time { return p.w.clockOf(p) },
		effect:       p.effect(),
		AfterCommit:  func(int) { p.commit(false) },
		beforeCommit: func() error { p.commit(true); return nil },
		relay: func(s queue.Server) relay {
			i := slices.IndexFunc(p.w.relays, func(r *simRelay) bool { return r.address.Equal(s) })
			return p.w.session(p, p.w.relays[i])
		},
	})
	p.w.must(err)
	p.agent = a
	synctest.Wait()
	p.w.note(p.name, "starts")
}

// commit is called by the agent's loop around every commit.
func (p *simPerson) commit(before bool) {
	if p.armed == 0 || before != p.middle {
		return
	}
	if p.armed--; p.armed == 0 {
		p.w.mu.Lock()
		p.w.saw(map[bool]string{true: "killed before a commit", false: "killed behind a commit"}[before])
		p.w.mu.Unlock()
		runtime.Goexit() // and nothing that waited for this commit ever happens
	}
}

// arm kills the agent: now, or at the n-th commit from now.
func (p *simPerson) arm(n int) {
	if n == 0 {
		p.w.saw("killed at rest")
		p.kill("is killed")
		return
	}
	p.armed, p.middle = n, p.w.chance(0.3)
	p.w.note(p.name, "will be killed at commit %d, in the middle of it: %t", n, p.middle)
}

// kill ends the agent's process without giving it time for anything.
func (p *simPerson) kill(what string) {
	p.w.note(p.name, "%s", what)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p.w.must(p.agent.Close(ctx))
	p.agent, p.armed = nil, 0
	p.rest = p.w.rng.IntN(40)
	if p.w.chance(0.2) {
		p.rest *= 10
	}
	synctest.Wait()
}

// reap notices that the agent was killed at a commit.
func (p *simPerson) reap() {
	if p.rest > 0 {
		p.rest--
	}
	if p.agent == nil {
		return
	}
	select {
	case <-p.agent.done:
		p.kill("was killed at a commit")
	default:
	}
}

// do adds a call to those that the client wants to make.
func (p *simPerson) do(c *simCall) { p.todo = append(p.todo, c) }

// options returns what client and process can do next.
func (p *simPerson) options() (all []func()) {
	if p.agent == nil {
		if p.rest == 0 || p.w.calm {
			all = append(all, p.open)
		}
		return all
	}
	if len(p.todo) > 0 {
		all = append(all, p.call)
	}
	if last, _, _ := p.agent.tail.look(); last > p.read && (len(p.todo) == 0 || !p.todo[0].open) {
		all = append(all, p.readEvents)
	}
	if !p.w.calm && p.w.chance(0.2) {
		if wish := p.wish(); wish != nil {
			all = append(all, wish)
		}
	}
	return all
}

// try makes a call and says whether it came to an end.
func (p *simPerson) try(f func(ctx context.Context, a *Agent) error) (err error, ended bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f(ctx, p.agent) }()
	synctest.Wait()
	select {
	case err = <-done:
	default:
		p.reap() // it may have been killed by this call
		cancel()
		synctest.Wait()
		err = <-done
	}
	return err, !errors.Is(err, ErrClosed) && !errors.Is(err, context.Canceled)
}

// call makes the next call that waits.
func (p *simPerson) call() {
	c := p.todo[0]
	err, ended := p.try(c.run)
	switch {
	case !ended:
		p.w.note(p.name, "%s: unknown", c.what)
		if c.open = true; !c.once {
			return
		}
	case err != nil:
		p.w.note(p.name, "%s: %v", c.what, err)
		p.w.wrong("%s %s: %v", p.name, c.what, err)
	default:
		p.w.note(p.name, "%s", c.what)
	}
	p.todo = slices.DeleteFunc(p.todo, func(o *simCall) bool { return o == c })
}

// refused is for calls that may fail because of what others have done meanwhile.
func (p *simPerson) refused(err error) error {
	if err == nil || errors.Is(err, ErrClosed) || errors.Is(err, context.Canceled) {
		return err
	}
	p.w.note(p.name, "is refused: %v", err)
	return nil
}

// readEvents takes in what the agent has told so far.
func (p *simPerson) readEvents() {
	var events []Event
	_, _ = p.try(func(ctx context.Context, a *Agent) error {
		for e, err := range a.Events(ctx, "client") {
			if err != nil {
				return err
			}
			events = append(events, e)
		}
		return nil
	})
	for _, e := range events {
		if e.Seq > p.read { // the others were taken in before, and the acknowledgement got lost
			p.read = e.Seq
			p.w.note(p.name, "is told: %s", p.w.describe(e))
			p.event(e)
		}
	}
	if p.agent != nil && len(events) > 0 {
		err, ended := p.try(func(ctx context.Context, a *Agent) error { return a.AckEvent(ctx, "client", p.read) })
		if ended && err != nil {
			p.w.wrong("%s acknowledges an event: %v", p.name, err)
		}
	}
}

// close ends the agent as a program does: what is under way with a relay comes to its end.
func (p *simPerson) close() {
	closed := make(chan error, 1)
	go func() { closed <- p.agent.Close(context.Background()) }()
	waited := 0
	for p.w.settle(); len(closed) == 0; p.w.settle() {
		i := slices.IndexFunc(p.w.requests, func(r *simRequest) bool { return r.session.person == p && !p.w.left(r) })
		switch {
		case i >= 0:
			p.w.advance(p.w.requests[i])
		case waited < 50:
			waited++ // what is spread over a while is sent before the end
			p.w.pass(100 * time.Millisecond)
		default:
			p.w.wrong("%s does not end", p.name)
			close(p.agent.settled)
			synctest.Wait()
		}
	}
	p.w.must(<-closed)
	p.agent = nil
	p.w.note(p.name, "stops")
}

// who returns the name of a member.
func (w *simWorld) who(m MemberID) string {
	if m == "" {
		return "nobody"
	}
	if name, ok := w.names[m]; ok {
		return name
	}
	return "somebody"
}

// person returns who has a name.
func (w *simWorld) person(name string) *simPerson {
	i := slices.IndexFunc(w.people, func(p *simPerson) bool { return p.name == name })
	if i < 0 {
		return nil
	}
	return w.people[i]
}

// describe returns an event in words without keys.
func (w *simWorld) describe(e Event) string {
	s := e.Data.Type()
	switch d := e.Data.(type) {
	case *GroupChanged:
		s += fmt.Sprintf(" %s %s %s %s", d.Change, w.who(d.Member), d.Role, d.Reason)
	case *MemberConnected:
		s += " " + w.who(d.Member)
	case *GroupMessage:
		s += fmt.Sprintf(" %s, number %d", d.Body, d.Message.Number)
		if d.Vouched != "" {
			s += ", vouched for by " + w.who(d.Vouched)
		}
	case *GroupSent:
		s += fmt.Sprintf(" %s up to %d", w.who(d.Member), d.UpTo)
	case *GroupReceived:
		s += fmt.Sprintf(" %s up to %d, missing %v", w.who(d.Member), d.UpTo, d.Missing)
	case *GroupSendFailed:
		s += fmt.Sprintf(" %s %v: %s", w.who(d.Member), d.Numbers, d.Reason)
	case *MemberLeft:
		s += " " + w.who(d.Member)
	case *MemberRemoved:
		s += " " + w.who(d.Member) + " by " + w.who(d.By)
	case *Removed:
		s += " by " + w.who(d.By)
	case *GroupWarning:
		s += " " + d.Warning + " " + w.who(d.Member)
	case *AllConnected:
		s += fmt.Sprintf(" %s, waiting %d", w.who(d.Member), d.Waiting)
	case *Introduced:
		s += fmt.Sprintf(" waiting %d", d.Waiting)
	case *DirectRequest:
		s += " " + w.who(d.Member)
	case *DirectReady:
		s += " " + w.who(d.Member)
	case *DirectEnded:
		s += " " + w.who(d.Member) + " " + d.Reason
	case *Message:
		s += " " + string(d.Body) + " " + d.Integrity
	case *Failed:
		s += " " + d.Code + " " + d.Fault + " " + d.Detail
	case *SendFailed:
		s += " " + d.Code
	case *ResyncChanged:
		s += " " + d.State
	}
	return s
}
