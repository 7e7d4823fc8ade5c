package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/coterie-im/coterie/chat"
	"github.com/coterie-im/coterie/chat/store"
)

// format is one line of a conversation.
func format(c store.Conversation, m store.Message) string {
	mark := "@" + c.Name
	switch c.Kind {
	case store.Group:
		mark = "#" + c.Name
	case store.Devices:
		mark = "(devices)"
	}
	if m.Notice {
		return chat.Printable(mark + " · " + m.Text)
	}
	text := m.Text
	if hidden(c, m) {
		text = "(hidden: who removed its author asked for it)"
	}
	if m.False {
		text = fmt.Sprintf("(false: %s did not write %q)", author(c, m), text)
	}
	return chat.Printable(fmt.Sprintf("%s %s%s: %s", mark, author(c, m), marks(c, m), text))
}

func author(c store.Conversation, m store.Message) string {
	switch {
	case m.Own && m.Device != "":
		return "you, on " + m.Device
	case m.Own:
		return "you"
	case c.Kind != store.Group:
		return c.Name
	}
	for _, member := range c.Members {
		if member.Key == m.Author && member.Name != "" {
			return member.Name
		}
	}
	return cmp.Or(m.From, chat.MemberName(c, m.Author))
}

// marks say what else is known of a message.
func marks(c store.Conversation, m store.Message) string {
	var all []string
	if m.Device != "" && !m.Own {
		all = append(all, "on "+m.Device)
	}
	if m.Late {
		all = append(all, "earlier")
	}
	if m.Replaces {
		all = append(all, "in place of a false copy")
	}
	if m.Vouched {
		all = append(all, "vouched for by "+chat.MemberName(c, m.Voucher))
	}
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, ", ") + ")"
}

func hidden(c store.Conversation, m store.Message) bool {
	for _, member := range c.Members {
		if member.Key == m.Author && member.Hidden {
			return true
		}
	}
	return false
}

// Names that are typed have _ for each space.
func spaced(name string) string { return strings.ReplaceAll(name, "_", " ") }

func joined(name string) string { return strings.ReplaceAll(chat.Printable(name), " ", "_") }
