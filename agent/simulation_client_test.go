package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// simSaid is a group message that somebody has written.
type simSaid struct {
	author *simPerson
	number uint64
	taken  bool            // the agent has answered
	late   bool            // written after somebody had removed the author
	must   map[string]bool // who was present before and after, as the author knew
	may    map[string]bool // who was present before or after

	forgotten bool // its author went back to a time before it, perhaps
}

func (p *simPerson) makeGroup(ctx context.Context, a *Agent) error {
	var o GroupOptions
	o.Key, o.Card = "group", []byte(p.name)
	if p.w.plan.moderated {
		policy := Moderated()
		o.Policy = &policy
	}
	g, err := a.GroupNew(ctx, o)
	if err != nil {
		return err
	}
	p.status = "member"
	return p.inGroup(ctx, a, g)
}

// inGroup remembers the group.
func (p *simPerson) inGroup(ctx context.Context, a *Agent, g GroupID) error {
	info, err := a.Group(ctx, g)
	if err != nil {
		return err
	}
	p.group, p.self = g, info.Self
	p.w.names[info.Self] = p.name
	return nil
}

// present returns who is in the group, as the agent knows.
func (p *simPerson) present(ctx context.Context, a *Agent) (map[string]bool, error) {
	info, err := a.Group(ctx, p.group)
	all := map[string]bool{}
	for _, m := range info.Members {
		if m.Present {
			all[p.w.who(m.Member)] = true
		}
	}
	return all, err
}

// wish returns something that the person would like to do, if there is anything.
func (p *simPerson) wish() func() {
	w := p.w
	if p.status != "member" || len(p.todo) > 3 {
		return nil
	}
	switch n := w.rng.IntN(12); {
	case n < 4 && p.says < w.plan.says && (len(p.met) > 0 || w.rng.IntN(10) == 0):
		return p.say
	case n < 6 || n < 8 && len(p.met) == 0:
		for _, q := range w.people {
			if !q.invited && q != w.people[0] && p.contacts[q.name] == nil {
				return func() { p.invite(q) }
			}
		}
	case n == 8 && len(p.met) > 0 && w.budget("role", 2):
		return func() { p.changeRole(w.somebodyOf(p), []string{"admin", "member", "moderator"}[w.rng.IntN(3)]) }
	case n == 9 && len(p.met) > 0 && w.budget("direct", 2):
		return func() { p.askDirect(w.somebodyOf(p)) }
	case n == 10 && len(p.met) > 0 && len(w.said) > 2 && w.rng.IntN(3) == 0 && w.budget("remove", 1):
		return func() { p.remove(w.somebodyOf(p)) }
	case n == 11 && len(p.met) > 0 && len(w.said) > 2 && w.rng.IntN(6) == 0 && w.budget("leave", 1):
		return p.leave
	case n == 11 && w.budget("title", 3):
		return p.title
	}
	return nil
}

// budget limits how often something is wished in a run.
func (w *simWorld) budget(what string, most int) bool {
	w.wished[what]++
	return w.wished[what] <= most
}

// somebodyOf returns a member that the person is or was connected with.
func (w *simWorld) somebodyOf(p *simPerson) *simPerson {
	names := slices.Sorted(maps.Keys(p.met))
	return w.person(names[w.rng.IntN(len(names))])
}

func (p *simPerson) say() {
	p.says++
	text := fmt.Sprintf("%s-%d", p.name, p.says)
	p.do(&simCall{what: "says " + text, run: func(ctx context.Context, a *Agent) error {
		before, err := p.present(ctx, a)
		if err != nil {
			return err
		}
		said := p.w.said[text]
		if said == nil {
			said = &simSaid{author: p, late: p.removed, must: before, may: maps.Clone(before)}
			p.w.said[text] = said
		}
		said.narrow(before)
		id, err := a.GroupSend(ctx, p.group, Outgoing{Body: []byte(text), Key: text})
		if err != nil {
			return p.refused(err)
		}
		said.taken, said.number = true, id.Number
		after, err := p.present(ctx, a)
		if err == nil {
			said.narrow(after)
		}
		return nil
	}})
}

func (s *simSaid) narrow(present map[string]bool) {
	maps.Copy(s.may, present)
	maps.DeleteFunc(s.must, func(name string, _ bool) bool { return !present[name] })
}

// invite makes a contact of somebody, to be invited.
func (p *simPerson) invite(q *simPerson) {
	q.invited = true
	phone := &simPhone{with: q, adds: true}
	p.contacts[q.name] = phone
	p.do(&simCall{what: "makes a link for " + q.name, run: func(ctx context.Context, a *Agent) error {
		id, _, err := a.CreateConnection(ctx, CreateOptions{Key: "contact " + q.name})
		if id == "" {
			return err
		}
		phone.id = id
		p.phones[id] = phone
		return nil // the link is told by an event
	}})
}

func (p *simPerson) add(phone *simPhone) {
	phone.adds = false
	p.do(&simCall{what: "invites " + phone.with.name, run: func(ctx context.Context, a *Agent) error {
		_, err := a.GroupAdd(ctx, p.group, phone.id, AddOptions{Key: "add " + phone.with.name})
		if err == nil {
			phone.with.inviter = p
		}
		return p.refused(err)
	}})
}

func (p *simPerson) changeRole(q *simPerson, role string) {
	p.do(&simCall{what: "makes " + q.name + " " + role, run: func(ctx context.Context, a *Agent) error {
		return p.refused(a.GroupRole(ctx, p.group, q.self, role))
	}})
}

func (p *simPerson) title() {
	p.do(&simCall{what: "sets the title", run: func(ctx context.Context, a *Agent) error {
		return p.refused(a.GroupSet(ctx, p.group, "title", []byte("of "+p.name)))
	}})
}

func (p *simPerson) remove(q *simPerson) {
	p.do(&simCall{what: "removes " + q.name, run: func(ctx context.Context, a *Agent) error {
		err := a.GroupRemove(ctx, p.group, RemoveOptions{Members: []MemberID{q.self}})
		if err == nil || errors.Is(err, ErrClosed) || errors.Is(err, context.Canceled) {
			q.removed = true
		}
		return p.refused(err)
	}})
}

func (p *simPerson) leave() {
	p.do(&simCall{what: "leaves", run: func(ctx context.Context, a *Agent) error {
		return p.refused(a.GroupLeave(ctx, p.group))
	}})
}

func (p *simPerson) askDirect(q *simPerson) {
	p.do(&simCall{what: "asks " + q.name + " for a direct connection", run: func(ctx context.Context, a *Agent) error {
		_, err := a.GroupDirect(ctx, p.group, q.self, DirectOptions{Text: []byte("a word?")})
		return p.refused(err)
	}})
	for range 2 {
		text := p.text(q)
		p.do(&simCall{what: "writes " + text, once: true, run: func(ctx context.Context, a *Agent) error {
			p.perhaps[text] = true
			p.tried[text] = true
			p.asking[q.name] = append(p.asking[q.name], text)
			err := a.GroupDirectSend(ctx, p.group, q.self, []byte(text))
			if err == nil {
				p.wrote[q.name] = append(p.wrote[q.name], text)
				if p.ready[q.name] {
					delete(p.perhaps, text)
				}
			}
			return p.refused(err)
		}})
	}
}

// text returns something new to tell one person.
func (p *simPerson) text(q *simPerson) string {
	p.letters++
	return fmt.Sprintf("%s>%s-%d", p.name, q.name, p.letters)
}

// write sends a message to a contact.
func (p *simPerson) write(phone *simPhone) {
	text := p.text(phone.with)
	p.do(&simCall{what: "writes " + text, run: func(ctx context.Context, a *Agent) error {
		_, err := a.Send(ctx, phone.id, Outgoing{Body: []byte(text), Key: text})
		if err == nil {
			p.wrote[phone.with.name] = append(p.wrote[phone.with.name], text)
		}
		if p.w.restored {
			return p.refused(err) // while the ratchet is made again
		}
		return err
	}})
}

// event is what the client does when it is told something.
func (p *simPerson) event(e Event) {
	switch d := e.Data.(type) {
	case *LinkReady:
		q := p.phones[e.Connection()].with
		phone := &simPhone{with: p}
		q.contacts[p.name] = phone
		q.do(&simCall{what: "joins the link of " + p.name, run: func(ctx context.Context, a *Agent) error {
			id, err := a.JoinConnection(ctx, d.Link, JoinOptions{Info: []byte(q.name), Key: "contact " + p.name})
			if err != nil {
				return err
			}
			phone.id = id
			q.phones[id] = phone
			return nil
		}})
	case *Confirmation:
		id := e.Connection()
		p.do(&simCall{what: "allows " + string(d.Info), run: func(ctx context.Context, a *Agent) error {
			return p.refused(a.Allow(ctx, id, d.Confirmation, []byte(p.name)))
		}})
	case *Connected:
		if phone := p.phones[e.Connection()]; phone != nil {
			phone.ready = true
			if phone.adds {
				p.add(phone)
			}
			p.write(phone)
		}
	case *Message:
		p.letter(e.Connection(), d)
	case *Failed:
		if p.villain == nil && d.Fault != "peer" && !p.w.restored && !strings.HasPrefix(d.Code, "BROKER") { // those are about a relay that cannot be reached just now
			p.w.wrong("%s is told that a connection failed: %s %s", p.name, d.Code, d.Detail)
		}
	case *ResyncChanged:
		if d.State == "allowed" || d.State == "required" {
			id := e.Connection()
			p.do(&simCall{what: "makes a ratchet again", run: func(ctx context.Context, a *Agent) error {
				return p.refused(a.ConnectionResync(ctx, id, false))
			}})
		}
	case *SendFailed:
		if p.w.restored {
			return
		}
		p.w.wrong("%s is told that a message was not delivered: %s", p.name, d.Code)
	default:
		p.groupEvent(e)
	}
}

// letter takes in a message of a contact.
func (p *simPerson) letter(id ConnectionID, m *Message) {
	var from, to string
	var n int
	if _, err := fmt.Sscanf(string(m.Body), "%3s>%3s-%d", &from, &to, &n); err != nil || to != p.name {
		p.w.wrong("%s got a message that is not for it: %s", p.name, m.Body)
		return
	}
	if m.Integrity != "OK" && !p.w.restored {
		p.w.wrong("%s got %s with integrity %s", p.name, m.Body, m.Integrity)
	}
	if !m.Again || !slices.Contains(p.texts[from], string(m.Body)) {
		p.texts[from] = append(p.texts[from], string(m.Body))
	}
	p.do(&simCall{what: "acknowledges " + string(m.Body), run: func(ctx context.Context, a *Agent) error {
		return p.refused(a.Ack(ctx, id, m.ID, nil))
	}})
}

func (p *simPerson) groupEvent(e Event) {
	switch d := e.Data.(type) {
	case *GroupInvitation:
		p.do(&simCall{what: "joins the group", run: func(ctx context.Context, a *Agent) error {
			g, err := a.GroupJoin(ctx, d.Invitation, []byte(p.name))
			if err != nil {
				return p.refused(err)
			}
			return p.inGroup(ctx, a, g)
		}})
	case *MemberConnected:
		p.met[p.w.who(d.Member)] = true
	case *GroupMessage:
		p.groupMessage(e.Seq, d)
	case *GroupChanged:
		switch d.Change {
		case ChangeJoined, ChangeRestored:
			p.status = "member"
		case ChangeLeft:
			p.status = "left"
		}
	case *Removed:
		p.status = "removed"
	case *MemberRemoved:
		p.gone[p.w.who(d.Member)] = true
	case *MemberLeft:
		p.gone[p.w.who(d.Member)] = true
	case *GroupSendFailed:
		p.w.lost(p, d)
	case *GroupWarning:
		p.warning(d)
	case *GroupMessageRefuted:
		p.w.saw("false copy refuted")
		delete(p.lies, p.w.numbered(d.Message))
	case *DirectRequest:
		accept := p.w.chance(0.8)
		what := map[bool]string{true: "accepts ", false: "refuses "}[accept] + p.w.who(d.Member)
		p.do(&simCall{what: what, run: func(ctx context.Context, a *Agent) error {
			if accept {
				return p.refused(a.GroupDirectAccept(ctx, p.group, d.Request, []byte(p.name)))
			}
			return p.refused(a.GroupDirectReject(ctx, p.group, d.Request))
		}})
	case *DirectEnded:
		delete(p.asking, p.w.who(d.Member)) // nobody will get them
	case *DirectReady:
		for _, text := range p.asking[p.w.who(d.Member)] {
			delete(p.perhaps, text)
		}
		delete(p.asking, p.w.who(d.Member))
		phone := &simPhone{with: p.w.person(p.w.who(d.Member)), id: d.Connection, ready: true}
		p.phones[d.Connection] = phone
		p.ready[phone.with.name] = true
		p.write(phone)
	}
}

// groupMessage takes in a message of the group: told once, in its author's order where nothing is missing, by nobody who
// was gone, and only if it was for this person.
func (p *simPerson) groupMessage(seq uint64, m *GroupMessage) {
	text := string(m.Body)
	said := p.w.said[text]
	author := p.w.who(m.Message.Author)
	by := p.w.person(author)
	if by == nil {
		p.w.wrong("%s got %q of somebody who is no member", p.name, text)
		return
	}
	if m.Vouched != "" {
		p.w.saw("vouched for")
	}
	if by.villain != nil || p.villain != nil {
		return // it may say whatever it wants, and what its client is told is its own affair
	}
	made := said == nil || said.author != by
	if made && m.Vouched != "" && p.w.plan.villain >= 0 && !m.Replaces {
		p.w.saw("false copy told")
		p.lies[p.w.numbered(m.Message)] = text
		return
	}
	delete(p.lies, p.w.numbered(m.Message))
	switch {
	case made:
		p.w.wrong("%s got %q as a message of %s, who did not write it", p.name, text, author)
		return
	case p.got[text] != 0:
		p.w.wrong("%s got %s twice, by events %d and %d", p.name, text, p.got[text], seq)
	case !said.may[p.name]:
		p.w.wrong("%s got %s, which was not for it", p.name, text)
	case by == p:
		p.w.wrong("%s was told its own message", p.name)
	}
	if p.gone[author] && said.late {
		p.w.wrong("%s got %s, written after a removal that it knew of", p.name, text)
	}
	p.got[text] = seq
	if m.Message.Number < p.heard[author] { // which may be when a message before it was missing
		p.w.saw("out of order")
		p.w.note(p.name, "got it out of order")
	}
	p.heard[author] = m.Message.Number
}

// numbered names a message by its author and number.
func (w *simWorld) numbered(m MessageID) string { return fmt.Sprint(w.who(m.Author), m.Number) }
