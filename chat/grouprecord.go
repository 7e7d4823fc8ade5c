package chat

import (
	"fmt"
	"slices"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat/store"
)

const (
	shownNumbers = 64 // numbers of one range of undelivered messages that are looked up
	excerptRunes = 40
)

func (a *App) invited(b *store.Batch, e agent.Event, data *agent.GroupInvitation) ([]Update, error) {
	i := Invitation{Name: data.Invitation, Title: Printable(string(data.Info)), Members: data.Members}
	if e.Group() == "" {
		i.From = a.name(b, store.Contact, string(e.Connection()))
	} else { // a member has made a new group out of one that both are in, or were in
		i.From = a.member(b, e, data.Member)
	}
	return []Update{{Invitation: &i}}, nil
}

func (a *App) groupMessage(b *store.Batch, e agent.Event, data *agent.GroupMessage) ([]Update, error) {
	c, err := a.conversation(b, e)
	if err != nil {
		return nil, err
	}
	if c.Kind == store.Devices {
		if own, err := b.Own(); err != nil || own.Group != c.Ref {
			return nil, err
		}
		return a.fromDevice(b, e, data.Message.Author, data.Body)
	}
	if data.Replaces {
		if err := a.outdate(b, c, data.Message); err != nil {
			return nil, err
		}
	}
	m := groupEntry(data.MessageRecord)
	m.Replaces, m.Late = data.Replaces, data.Depth != 0 && data.Depth+1 < c.Depth
	if data.Depth > c.Depth {
		c.Depth = data.Depth
		if err := b.Update(c); err != nil {
			return nil, err
		}
	}
	return appended(b, c, m)
}

// groupOwnMessage takes back what was written here before an old copy of the agent's store was restored.
func (a *App) groupOwnMessage(b *store.Batch, e agent.Event, data *agent.GroupOwnMessage) ([]Update, error) {
	c, err := a.conversation(b, e)
	if err != nil {
		return nil, err
	}
	if c.Kind == store.Devices {
		return nil, nil // what this device told is here, or was told to the others
	}
	m := groupEntry(data.MessageRecord)
	m.Own, m.Author = true, ""
	return appended(b, c, m)
}

func groupEntry(r agent.MessageRecord) store.Message {
	return store.Message{
		Origin: origin(r.Message), Author: string(r.Message.Author), Text: readable(r.Body),
		Time: r.Time, Depth: r.Depth, Vouched: r.Vouched != "", Voucher: string(r.Vouched),
	}
}

// outdate marks what was shown under the number of a message with another content.
func (a *App) outdate(b *store.Batch, c store.Conversation, id agent.MessageID) error {
	for _, o := range b.Origins(c, numbered(id.Author, id.Number)) {
		if o == origin(id) {
			continue
		}
		if _, err := a.revise(b, c, o, func(m *store.Message) { m.False, m.Vouched = true, false }); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) groupMessageConfirmed(b *store.Batch, e agent.Event, data *agent.GroupMessageConfirmed) ([]Update, error) {
	c, err := a.conversation(b, e)
	if err != nil {
		return nil, err
	}
	updates, err := a.revise(b, c, origin(data.Message), func(m *store.Message) { m.Vouched = false })
	for i := range updates {
		updates[i].Confirmed = true
	}
	return updates, err
}

func (a *App) groupMessageRefuted(b *store.Batch, e agent.Event, data *agent.GroupMessageRefuted) ([]Update, error) {
	c, err := a.conversation(b, e)
	if err != nil {
		return nil, err
	}
	return a.revise(b, c, origin(data.Message), func(m *store.Message) { m.False, m.Vouched = true, false })
}

// revise changes what the history says about a message; one that is not there, or says so already, is left alone.
func (a *App) revise(b *store.Batch, c store.Conversation, origin string, change func(*store.Message)) ([]Update, error) {
	old, ok, err := b.Message(c, origin)
	if err != nil || !ok {
		return nil, err
	}
	m := old
	if change(&m); m == old {
		return nil, nil
	}
	return []Update{{Conversation: &c, Revised: &m}}, b.Replace(c, m)
}

func (a *App) groupSendFailed(b *store.Batch, e agent.Event, data *agent.GroupSendFailed) ([]Update, error) {
	c, err := a.conversation(b, e)
	if err != nil {
		return nil, err
	}
	what := "messages"
	if n := data.Numbers; n.To >= n.From && n.To-n.From < shownNumbers {
		var texts []string
		for i := n.From; i <= n.To; i++ {
			for _, o := range b.Origins(c, numbered(agent.MemberID(c.Self), i)) {
				m, ok, err := b.Message(c, o)
				if err != nil {
					return nil, err
				}
				if ok && m.Own {
					texts = append(texts, m.Text)
				}
			}
		}
		switch len(texts) {
		case 0:
		case 1:
			what = fmt.Sprintf("%q", excerpt(texts[0]))
		default:
			what = fmt.Sprintf("%s, %q to %q,", count(len(texts), "message"), excerpt(texts[0]), excerpt(texts[len(texts)-1]))
		}
	}
	return a.notice(b, e, fmt.Sprintf("%s not delivered to %s: %s", what, a.member(b, e, data.Member), ReasonInWords(data.Reason)))
}

// excerpt is the beginning of a text.
func excerpt(text string) string {
	runes := []rune(Printable(text))
	if len(runes) <= excerptRunes {
		return string(runes)
	}
	return string(runes[:excerptRunes-1]) + "…"
}

func (a *App) memberRemoved(b *store.Batch, e agent.Event, data *agent.MemberRemoved) ([]Update, error) {
	text := fmt.Sprintf("%s removed %s", a.member(b, e, data.By), a.member(b, e, data.Member))
	if data.Hide {
		if err := a.hide(b, e, data.Member, true); err != nil {
			return nil, err
		}
		text += " and asks to hide what it wrote"
	}
	return a.notice(b, e, text)
}

func (a *App) memberRestored(b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error) {
	if err := a.hide(b, e, data.Member, false); err != nil {
		return nil, err
	}
	return a.notice(b, e, a.member(b, e, data.Member)+" is a member again")
}

// hide notes whether what a member wrote is to be shown. The texts stay: its removal may lose its effect.
func (a *App) hide(b *store.Batch, e agent.Event, key agent.MemberID, hidden bool) error {
	c, err := a.conversation(b, e)
	if err != nil {
		return err
	}
	for i := range c.Members {
		if c.Members[i].Key == string(key) && c.Members[i].Hidden != hidden {
			c.Members = slices.Clone(c.Members)
			c.Members[i].Hidden = hidden
			return b.Update(c)
		}
	}
	return nil
}

func (a *App) removed(b *store.Batch, e agent.Event, data *agent.Removed) ([]Update, error) {
	c, err := a.conversation(b, e)
	if err != nil {
		return nil, err
	}
	text := a.member(b, e, data.By) + " removed you"
	if data.Contestable {
		text += "; that can be contested, as you stand above"
		c.RemovedBy = string(data.By)
		if err := b.Update(c); err != nil {
			return nil, err
		}
	}
	return a.ended(b, e, text)
}

func (a *App) restored(b *store.Batch, e agent.Event, _ *agent.GroupChanged) ([]Update, error) {
	c, err := a.conversation(b, e)
	if err != nil {
		return nil, err
	}
	c.Ended, c.RemovedBy = false, ""
	if err := b.Update(c); err != nil {
		return nil, err
	}
	return a.notice(b, e, "you are a member again")
}

// gone is when the grace after an end is over: from then on nothing can be contested.
func (a *App) gone(b *store.Batch, e agent.Event) ([]Update, error) {
	c, err := a.conversation(b, e)
	if err != nil || c.RemovedBy == "" {
		return nil, err
	}
	c.RemovedBy = ""
	return []Update{{Conversation: &c}}, b.Update(c)
}

// setting tells what people should know of settings.
func (a *App) setting(b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error) {
	value := Printable(string(data.Value))
	switch data.Name {
	case settingTitle:
		c, err := a.conversation(b, e)
		if err != nil {
			return nil, err
		}
		if value != "" {
			c.Name = value
		}
		return []Update{{Conversation: &c}}, b.Update(c)
	case settingJoin:
		return a.notice(b, e, "who asks with a link: "+joinRuleInWords(string(data.Value)))
	case settingHistory:
		return a.notice(b, e, "new members may read "+historyInWords(value))
	}
	return nil, nil
}

func historyInWords(value string) string {
	switch value {
	case "", "0":
		return "what is said from then on"
	case "all":
		return "everything that is kept"
	}
	return "the last " + value + " messages of each"
}
