package chat

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat/store"
)

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

// remark shows a line that is not kept.
func (a *App) remark(b *store.Batch, e agent.Event, text string) ([]Update, error) {
	kind, ref := a.entity(b, e)
	c, err := b.ByRef(kind, ref)
	if errors.Is(err, store.ErrUnknown) {
		return []Update{{Remark: text}}, nil
	}
	return []Update{{Conversation: &c, Remark: text}}, err
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
	if c.Kind == store.Devices {
		if err := a.leaveDevices(b, c.Ref); err != nil {
			return nil, err
		}
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
	kind, ref := a.entity(b, e)
	return b.Begin(kind, ref, map[store.Kind]string{store.Group: "group", store.Contact: "somebody"}[kind], a.Now())
}

// entity says which conversation an event is about.
func (a *App) entity(b *store.Batch, e agent.Event) (store.Kind, string) {
	if g := string(e.Group()); g != "" {
		if _, err := b.ByRef(store.Devices, g); err == nil {
			return store.Devices, g
		}
		return store.Group, g
	}
	return store.Contact, string(e.Connection())
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
	kind, ref := a.entity(b, e)
	c, err := b.ByRef(kind, ref)
	if err != nil {
		c = store.Conversation{}
	}
	return MemberName(c, string(key))
}

// MemberName returns what a member of a group goes by: you, the name on its card, or the beginning of its key.
func MemberName(c store.Conversation, key string) string {
	if c.Self == key {
		return "you"
	}
	for _, m := range c.Members {
		if m.Key == key && m.Name != "" {
			return m.Name
		}
	}
	return key[:min(len(key), 6)] + "…"
}

// name returns what the app calls a conversation.
func (a *App) name(b *store.Batch, kind store.Kind, ref string) string {
	c, err := b.ByRef(kind, ref)
	if errors.Is(err, store.ErrUnknown) || c.Name == "" {
		return "somebody"
	}
	return c.Name
}
