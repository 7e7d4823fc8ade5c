package chat

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat/store"
)

// record writes what an event means into the history and returns what to tell about it.
func (a *App) record(b *store.Batch, e agent.Event) ([]Update, error) {
	switch data := e.Data.(type) {
	case *agent.Confirmation:
		return a.contact(b, e, data.Info)
	case *agent.PeerInfo:
		return a.contact(b, e, data.Info)
	case *agent.Connected:
		return a.notice(b, e, "connected")
	case *agent.Message:
		return a.contactMessage(b, e, data)
	case *agent.Deleted:
		return a.ended(b, e, "connection deleted")
	case *agent.DirectReady:
		return a.direct(b, e, data)
	case *agent.GroupInvitation:
		from := a.name(b, store.Contact, string(e.Connection()))
		return []Update{{Invitation: &Invitation{data.Invitation, from, Printable(string(data.Info)), data.Members}}}, nil
	case *agent.DirectRequest:
		return []Update{{Request: data}}, nil
	}
	if e.Group() == "" {
		return nil, nil
	}
	return a.recordGroup(b, e)
}

func (a *App) recordGroup(b *store.Batch, e agent.Event) ([]Update, error) {
	switch data := e.Data.(type) {
	case *agent.GroupMessage:
		return a.groupMessage(b, e, data)
	case *agent.MemberLeft:
		return a.notice(b, e, a.member(b, e, data.Member)+" left")
	case *agent.MemberRemoved:
		return a.notice(b, e, fmt.Sprintf("%s removed %s", a.member(b, e, data.By), a.member(b, e, data.Member)))
	case *agent.Removed:
		return a.ended(b, e, a.member(b, e, data.By)+" removed you")
	case *agent.GroupDeleted:
		return a.ended(b, e, a.member(b, e, data.By)+" closed the group")
	case *agent.GroupWarning:
		return a.notice(b, e, fmt.Sprintf("warning: %s (%s)", data.Warning, a.member(b, e, data.Member)))
	case *agent.GroupChanged:
		return a.changed(b, e, data)
	}
	return nil, nil
}

func (a *App) changed(b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error) {
	switch data.Change {
	case agent.ChangeJoined:
		return a.notice(b, e, fmt.Sprintf("joined, %d members", data.Members))
	case agent.ChangeMemberAdded:
		return a.meet(b, e, data.Member, "", string(data.By))
	case agent.ChangeMemberCard:
		p, err := ReadCard(data.Value)
		if err != nil {
			return nil, nil // a member without a readable card goes by its key
		}
		return a.meet(b, e, data.Member, p.DisplayName, "")
	case agent.ChangeSetting:
		if data.Name != settingTitle {
			return nil, nil
		}
		c, err := a.conversation(b, e)
		if err != nil {
			return nil, err
		}
		c.Name = Printable(string(data.Value))
		return []Update{{Conversation: &c}}, b.Update(c)
	case agent.ChangeLeft:
		return a.ended(b, e, "you left")
	case agent.ChangeRestored:
		c, err := a.conversation(b, e)
		if err != nil {
			return nil, err
		}
		c.Ended = false
		if err := b.Update(c); err != nil {
			return nil, err
		}
		return a.notice(b, e, "you are a member again")
	}
	return nil, nil
}

// contact notes the profile of a peer.
func (a *App) contact(b *store.Batch, e agent.Event, info []byte) ([]Update, error) {
	name := "somebody"
	if p, err := ReadInfo(info); err == nil {
		name = p.DisplayName
	}
	c, err := b.Begin(store.Contact, string(e.Connection()), name, a.Now())
	if err != nil {
		return nil, err
	}
	c.Name = name
	return []Update{{Conversation: &c}}, b.Update(c)
}

// direct makes a contact of a member with whom a direct connection was made.
func (a *App) direct(b *store.Batch, e agent.Event, data *agent.DirectReady) ([]Update, error) {
	name := a.member(b, e, data.Member)
	c, err := b.Begin(store.Contact, string(data.Connection), name, a.Now())
	if err != nil {
		return nil, err
	}
	c.Name = name
	if err := b.Update(c); err != nil {
		return nil, err
	}
	return appended(b, c, store.Message{Origin: fmt.Sprintf("event/%d", e.Seq), Notice: true, Text: "connected directly", Time: e.Time})
}

func (a *App) contactMessage(b *store.Batch, e agent.Event, data *agent.Message) ([]Update, error) {
	c, err := a.conversation(b, e)
	if err != nil {
		return nil, err
	}
	m := store.Message{Origin: fmt.Sprintf("message/%d", data.ID), Text: readable(data.Body), Time: data.Received}
	return appended(b, c, m)
}

func (a *App) groupMessage(b *store.Batch, e agent.Event, data *agent.GroupMessage) ([]Update, error) {
	c, err := a.conversation(b, e)
	if err != nil {
		return nil, err
	}
	m := store.Message{
		Origin: origin(data.Message), Author: string(data.Message.Author), Text: readable(data.Body),
		Time: data.Time, Depth: data.Depth, Vouched: data.Vouched != "",
	}
	return appended(b, c, m)
}

// readable is the text of a body, or a remark where there is none.
func readable(body []byte) string {
	content, err := Decode(body)
	switch {
	case err != nil:
		return "(message in an unknown format)"
	case content.Text == "":
		return fmt.Sprintf("(%s)", Printable(content.Event))
	}
	return content.Text
}

// notice adds a line that nobody wrote.
func (a *App) notice(b *store.Batch, e agent.Event, text string) ([]Update, error) {
	c, err := a.conversation(b, e)
	if err != nil {
		return nil, err
	}
	return appended(b, c, store.Message{Origin: fmt.Sprintf("event/%d", e.Seq), Notice: true, Text: text, Time: e.Time})
}

// ended closes a conversation with a line; its history stays.
func (a *App) ended(b *store.Batch, e agent.Event, text string) ([]Update, error) {
	c, err := a.conversation(b, e)
	if err != nil {
		return nil, err
	}
	c.Ended = true
	if err := b.Update(c); err != nil {
		return nil, err
	}
	return a.notice(b, e, text)
}

func appended(b *store.Batch, c store.Conversation, m store.Message) ([]Update, error) {
	added, err := b.Append(c, m)
	if err != nil || !added {
		return nil, err
	}
	return []Update{{Conversation: &c, Message: &m}}, nil
}

// conversation returns the conversation of an event's entity, beginning it if need be.
func (a *App) conversation(b *store.Batch, e agent.Event) (store.Conversation, error) {
	if g := e.Group(); g != "" {
		return b.Begin(store.Group, string(g), "group", a.Now())
	}
	return b.Begin(store.Contact, string(e.Connection()), "somebody", a.Now())
}

// meet notes a member, its name once its card has come, and tells who added it when both are known.
func (a *App) meet(b *store.Batch, e agent.Event, key agent.MemberID, name, by string) ([]Update, error) {
	c, err := a.conversation(b, e)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(c.Members, func(m store.Member) bool { return m.Key == string(key) })
	if at < 0 {
		at = len(c.Members)
		c.Members = append(c.Members, store.Member{Key: string(key)})
	}
	m := &c.Members[at]
	if m.Name = cmp.Or(name, m.Name); by != "" {
		m.By = by
	}
	told := m.Name != "" && m.By != ""
	adder := agent.MemberID(m.By)
	if told {
		m.By = ""
	}
	if err := b.Update(c); err != nil {
		return nil, err
	}
	if told {
		return a.notice(b, e, fmt.Sprintf("%s added %s", a.member(b, e, adder), m.Name))
	}
	return []Update{{Conversation: &c}}, nil
}

// member returns the name of a member as its card gave it, or the beginning of its key.
func (a *App) member(b *store.Batch, e agent.Event, key agent.MemberID) string {
	if key == "" {
		return "nobody"
	}
	if c, err := b.ByRef(store.Group, string(e.Group())); err == nil {
		if c.Self == string(key) {
			return "you"
		}
		for _, m := range c.Members {
			if m.Key == string(key) && m.Name != "" {
				return m.Name
			}
		}
	}
	return string(key)[:min(len(key), 6)] + "…"
}

// name returns what the app calls a conversation.
func (a *App) name(b *store.Batch, kind store.Kind, ref string) string {
	c, err := b.ByRef(kind, ref)
	if errors.Is(err, store.ErrUnknown) || c.Name == "" {
		return "somebody"
	}
	return c.Name
}
