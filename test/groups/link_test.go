package groups_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/test/world"
)

// ask lets somebody ask for a group with a link.
func ask(t testing.TB, guest *person, link string, o agent.AskOptions) {
	t.Helper()
	g, err := guest.GroupAsk(t.Context(), link, o)
	must(t, err)
	guest.group = g
	guest.self = guest.info().Self
}

func (p *person) link() string {
	p.t.Helper()
	link, err := p.GroupLink(p.t.Context(), p.group)
	must(p.t, err)
	return link
}

func (p *person) set(name, value string) {
	p.t.Helper()
	must(p.t, p.GroupSet(p.t.Context(), p.group, name, []byte(value)))
}

// changed reads up to a change of the group.
func (p *person) changed(change agent.Change) *agent.GroupChanged {
	p.t.Helper()
	return next(p, func(_ agent.Event, e *agent.GroupChanged) bool { return e.Change == change })
}

// noConnections checks that doors and addresses are not shown to the client.
func (p *person) noConnections() {
	p.t.Helper()
	all, err := p.Connections(p.t.Context())
	must(p.t, err)
	if len(all) > 0 {
		p.t.Errorf("%d connections of the group are listed as the client's", len(all))
	}
}

func TestJoinByLinkOpenAndWithPassword(t *testing.T) {
	people := newPeople(t, world.StartRelay(t), 6)
	circle(t, people[:3]...)
	holder := people[1]
	link := holder.link()
	if !agent.IsGroupLink(link) || link != holder.link() {
		t.Error("the link is", link)
	}
	people[0].set("join", "open")
	await(t, "the rule", func() bool { return string(holder.info().Settings["join"]) == "open" })
	ask(t, people[3], link, agent.AskOptions{Card: []byte("by the link"), Key: "ask"})
	ask(t, people[3], link, agent.AskOptions{Card: []byte("by the link"), Key: "ask"})
	gathered(t, people[:4]...)
	say(t, "I found a link", people[3], people[:3]...)
	if _, err := people[3].GroupAsk(t.Context(), link, agent.AskOptions{}); !errors.Is(err, agent.ErrMember) {
		t.Error("asking again:", err)
	}

	people[0].set("join", "password open sesame")
	await(t, "the rule", func() bool { return string(holder.info().Settings["join"]) == "password open sesame" })
	ask(t, people[4], link, agent.AskOptions{Password: []byte("mellon")})
	people[4].changed(agent.ChangeAskRefused)
	if s := people[4].info().Status; s != "gone" {
		t.Error("after a wrong password the group is", s)
	}
	must(t, people[4].GroupForget(t.Context(), people[4].group))
	ask(t, people[4], link, agent.AskOptions{Password: []byte("open sesame")})
	gathered(t, people[:5]...)

	// The others see whose address it is, and its owner withdraws it.
	name := "address/" + string(holder.self)
	if value := people[4].info().Settings[name]; !strings.HasSuffix(link, "#"+string(value)) || len(value) == 0 {
		t.Errorf("published is %q", value)
	}
	must(t, holder.GroupUnlink(t.Context(), holder.group))
	if err := holder.GroupUnlink(t.Context(), holder.group); !errors.Is(err, agent.ErrNoLink) {
		t.Error("withdrawing nothing:", err)
	}
	await(t, "the address is withdrawn", func() bool { return people[4].info().Settings[name] == nil })
	ask(t, people[5], link, agent.AskOptions{Password: []byte("open sesame")})
	if e := people[5].changed(agent.ChangeAskFailed); e.Reason == "" {
		t.Error("no reason")
	}
	for _, p := range people[3:] { // they know nobody but by the link
		p.noConnections()
	}
}

// A person decides. The daemon is started again before it does.
func TestJoinByLinkWithApproval(t *testing.T) {
	ctx := t.Context()
	people := newPeople(t, world.StartRelay(t), 4)
	holder, welcome, unwanted := people[0], people[2], people[3]
	circle(t, people[:2]...)
	link := holder.link()
	ask(t, welcome, link, agent.AskOptions{Text: []byte("we met in the garden"), Card: []byte("Ann")})
	ask(t, unwanted, link, agent.AskOptions{Text: []byte("buy this"), Card: []byte("Eve")})
	await(t, "two requests", func() bool { return len(holder.info().Requests) == 2 })
	holder.close()
	holder.open()
	for _, r := range holder.info().Requests {
		asked := next(holder, func(_ agent.Event, e *agent.GroupRequest) bool { return e.Request == r.Request })
		if !bytes.Equal(asked.Card, r.Card) || !bytes.Equal(asked.Text, r.Text) || r.Expires.Before(time.Now()) {
			t.Errorf("told %q, listed %q", asked, r)
		}
		if string(r.Card) == "Ann" {
			for range 2 { // a repeat changes nothing
				_, err := holder.GroupAdd(ctx, holder.group, agent.ConnectionID(r.Request), agent.AddOptions{Role: "observer", Key: "let in"})
				must(t, err)
			}
			continue
		}
		must(t, holder.GroupRefuse(ctx, holder.group, r.Request))
		if err := holder.GroupRefuse(ctx, holder.group, r.Request); !errors.Is(err, agent.ErrNoInvitation) {
			t.Error("refusing twice:", err)
		}
	}
	unwanted.changed(agent.ChangeAskRefused)
	gathered(t, people[:3]...)
	for _, m := range people[1].info().Members {
		if m.Member == welcome.self && (m.Role != "observer" || string(m.Card) != "Ann") {
			t.Errorf("the new member is %+v", m)
		}
	}
	say(t, "welcome", holder, people[1], welcome)
}

func TestJoinByLinkOff(t *testing.T) {
	people := newPeople(t, world.StartRelay(t), 3)
	circle(t, people[:2]...)
	link := people[1].link()
	people[1].set("join", "off")
	ask(t, people[2], link, agent.AskOptions{})
	if _, err := people[2].GroupSend(t.Context(), people[2].group, agent.Outgoing{Body: []byte("hello?")}); err == nil {
		t.Error("who asks may send")
	}
	await(t, "the request is at the relay", func() bool { return people[2].Counters().Sent[agent.OwnerGroup] > 0 })
	if s := people[2].info().Status; s != "asking" {
		t.Error("the one who was not answered is", s)
	}
	must(t, people[2].GroupLeave(t.Context(), people[2].group))
	if s := people[2].info().Status; s != "gone" {
		t.Error("who gave up is", s)
	}
	people[1].set("join", "open")
	late := newPeople(t, people[2].config.Relays[0], 1)[0]
	ask(t, late, link, agent.AskOptions{})
	gathered(t, people[0], people[1], late)
	for _, text := range []string{"", "coterie:/group/", link[:40], strings.Replace(link, "#", "%", 1), link[strings.Index(link, "#")+1:]} {
		_, err := late.GroupAsk(t.Context(), text, agent.AskOptions{})
		var coded *conn.Error
		if !errors.As(err, &coded) || coded.Code != conn.CodeLink {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Two members hold addresses, both are asked, and both let in: it ends in one membership.
func TestTwoHoldersAreAsked(t *testing.T) {
	people := newPeople(t, world.StartRelay(t), 4)
	circle(t, people[:3]...)
	people[0].set("join", "open")
	for _, p := range people[:3] {
		await(t, "the rule", func() bool { return p.info().Settings["join"] != nil })
	}
	one, two := people[1].link(), people[2].link()
	guest := people[3]
	ask(t, guest, one, agent.AskOptions{})
	first := guest.group
	g, err := guest.GroupAsk(t.Context(), two, agent.AskOptions{})
	if err == nil && g != first || err != nil && !errors.Is(err, agent.ErrMember) {
		t.Fatal("asking the second:", err)
	}
	gathered(t, people...)
	if all, err := guest.Groups(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%d groups, %v", len(all), err)
	}
	say(t, "here I am", guest, people[:3]...)
}

// The owner of the address is closed after so many commits of a join by link; when it comes back everything is completed.
func TestHolderIsClosedAtAnyStepOfAJoinByLink(t *testing.T) {
	for _, commits := range []int{1, 2, 3, 4, 6, 9} {
		t.Run(fmt.Sprint(commits), func(t *testing.T) {
			people := newPeople(t, world.StartRelay(t), 3)
			holder, guest := people[0], people[2]
			circle(t, people[:2]...)
			holder.set("join", "open")
			link := holder.link()
			holder.close()
			reached := make(chan struct{})
			holder.config.AfterCommit = func(n int) {
				if n == commits+5 {
					close(reached)
				}
			}
			ask(t, guest, link, agent.AskOptions{})
			holder.open()
			select {
			case <-reached:
			case <-time.After(patience):
				t.Fatal("the holder does nothing")
			}
			holder.close()
			holder.config.AfterCommit = nil
			holder.open()
			gathered(t, people...)
			say(t, "I am in", guest, people[:2]...)
		})
	}
}

// The inviter is gone right behind the log and never comes back. The new member, whom nobody knows, knocks at another
// member's address and is connected with everybody.
func TestKnockWhenTheInviterIsGone(t *testing.T) {
	people := newPeople(t, world.StartRelay(t), 5)
	inviter, holder, guest := people[0], people[2], people[4]
	circle(t, people[:4]...)
	holder.link()
	await(t, "the address", func() bool { return inviter.info().Settings["address/"+string(holder.self)] != nil })
	contact := befriend(t, inviter, guest)
	// The others are away until the inviter is gone.
	for _, p := range people[1:4] {
		p.close()
	}
	_, err := inviter.GroupAdd(t.Context(), inviter.group, contact, agent.AddOptions{})
	must(t, err)
	inv := next(guest, func(agent.Event, *agent.GroupInvitation) bool { return true })
	guest.group, err = guest.GroupJoin(t.Context(), inv.Invitation, []byte("a card"))
	must(t, err)
	await(t, "the log", func() bool { return guest.info().Status == "member" })
	inviter.close()
	guest.self = guest.info().Self
	for _, p := range people[1:4] {
		p.open()
	}
	must(t, guest.GroupRepair(t.Context(), guest.group, holder.self))
	guest.changed(agent.ChangeKnocking)
	rest := people[1:]
	await(t, "everybody but the inviter connected", func() bool {
		for _, p := range rest {
			n := 0
			for _, m := range p.info().Members {
				if m.Pair == "connected" && m.Member != inviter.self {
					n++
				}
			}
			if n != len(rest)-1 {
				return false
			}
		}
		return true
	})
	say(t, "I knocked", guest, people[1:4]...)
	inviter.open()
	gathered(t, people...)
}
