package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat"
	"github.com/coterie-im/coterie/chat/store"
)

// repairing are the typed commands that show how a group is and mend it.
var repairing = map[string]verb{
	"/members": exactly(1, (*lines).members),
	"/state":   exactly(1, (*lines).state),
	"/list": exactly(0, func(l *lines, ctx context.Context, _ []string) error {
		all, err := l.app.Conversations()
		for _, c := range all {
			l.print("%s %s%s  %s", c.Kind, chat.Printable(c.Name), l.condition(ctx, c), c.Ref)
		}
		return err
	}),
	"/delivered": exactly(1, (*lines).delivered),
	"/repair": exactly(2, func(l *lines, ctx context.Context, args []string) error {
		group, member, err := l.member(args)
		if err != nil {
			return err
		}
		return l.client.GroupRepair(ctx, group, member)
	}),
	"/recover": exactly(1, func(l *lines, ctx context.Context, args []string) error {
		g, err := l.group(args[0])
		if err != nil {
			return err
		}
		return l.client.GroupRecover(ctx, g)
	}),
	"/contest": exactly(1, func(l *lines, ctx context.Context, args []string) error {
		c, err := l.app.FindAny(store.Group, spaced(args[0]))
		if err != nil {
			return err
		}
		return l.app.Contest(ctx, c)
	}),
}

// condition says in brackets what is unusual about a conversation.
func (l *lines) condition(ctx context.Context, c store.Conversation) string {
	if c.Ended {
		return " (ended)"
	}
	if c.Remote {
		return " (on another device)"
	}
	if c.Kind != store.Group {
		return ""
	}
	info, err := l.client.Group(ctx, agent.GroupID(c.Ref))
	if err != nil {
		return ""
	}
	return quoted(strings.Join(conditions(info), "; "))
}

// conditions are what is unusual about a group.
func conditions(g agent.GroupInfo) (all []string) {
	switch g.Status {
	case "member":
	case "asking":
		all = append(all, "asked to be let in, no answer yet")
	case "joining":
		all = append(all, "let in, waits for the members")
	default:
		all = append(all, g.Status)
	}
	if g.Recovery != "" {
		all = append(all, "cannot write yet: "+chat.RecoveryInWords(g.Recovery))
	}
	if g.Upgrade || g.Unjudged > 0 {
		text := "needs a newer version of this program to change anything"
		if g.Unjudged > 0 {
			text += fmt.Sprintf(", %d changes are kept and cannot be judged here", g.Unjudged)
		}
		all = append(all, text)
	}
	return all
}

func (l *lines) state(ctx context.Context, args []string) error {
	g, err := l.group(args[0])
	if err != nil {
		return err
	}
	info, err := l.client.Group(ctx, g)
	if err != nil {
		return err
	}
	rule, err := l.app.JoinRule(ctx, g)
	if err != nil {
		return err
	}
	l.print("%d members, %d connected, state %x", info.Present, info.Connected, info.StateHash[:min(8, len(info.StateHash))])
	for _, c := range conditions(info) {
		l.print("· %s", c)
	}
	l.print("· by link: %s; %d ask now", rule, len(info.Requests))
	for name, n := range info.Limits {
		l.print("· limit %s met %d times", name, n)
	}
	return nil
}

func (l *lines) members(ctx context.Context, args []string) error {
	g, err := l.group(args[0])
	if err != nil {
		return err
	}
	info, err := l.client.Group(ctx, g)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range info.Members {
		if m.Present {
			printMember(l.out, info, m)
		}
	}
	return nil
}

// printMember prints a member with the state of its connection and what can be done about it.
func printMember(w io.Writer, g agent.GroupInfo, m agent.MemberInfo) {
	name := "(no card yet)"
	if p, err := chat.ReadCard(m.Card); err == nil {
		name = p.DisplayName
	}
	if m.Member == g.Self {
		name = "you"
	}
	state := m.Pair
	if m.Paused {
		state += ", sending rests"
	}
	if m.Reason != "" {
		state += ": " + chat.ReasonInWords(m.Reason)
	}
	if m.Member != g.Self && m.Pair != "connected" {
		if m.Repair.IsZero() {
			state += "; /repair tries anew"
		} else {
			state += "; /repair from " + m.Repair.Local().Format(time.Kitchen)
		}
	}
	fmt.Fprintf(w, "%-16s %-10s %s\n", name, m.Role, state)
}

// delivered says what became of the last own message for every member.
func (l *lines) delivered(ctx context.Context, args []string) error {
	c, err := l.app.Find(store.Group, spaced(args[0]))
	if err != nil {
		return err
	}
	number, text, err := l.app.LastOwn(c)
	if err != nil {
		return err
	}
	all, err := l.client.GroupDelivery(ctx, agent.GroupID(c.Ref), number)
	if err != nil {
		return err
	}
	l.print("%q", text)
	for _, d := range all {
		reason := ""
		if d.Reason != "" {
			reason = ": " + chat.ReasonInWords(d.Reason)
		}
		l.print("%-16s %s%s", chat.MemberName(c, string(d.Member)), d.State, reason)
	}
	return nil
}
