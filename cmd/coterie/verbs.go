package main

import (
	"context"
	"errors"
	"strings"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat"
	"github.com/coterie-im/coterie/chat/store"
)

var errNothing = errors.New("there is nothing to answer")

// verbs are the typed commands; /group takes a title of any number of words and is not among them.
var verbs = map[string]verb{
	"/help": {0, func(l *lines, _ context.Context, _ []string) error {
		l.print("%s", help)
		return nil
	}},
	"/invite": {0, func(l *lines, ctx context.Context, _ []string) error {
		_, link, err := l.app.Invite(ctx)
		if err == nil {
			l.print("· give this link to one person, over a way that nobody else reads:\n%s", link)
		}
		return err
	}},
	"/connect": {1, func(l *lines, ctx context.Context, args []string) error {
		// Links have underscores of their own.
		_, err := l.app.Connect(ctx, strings.ReplaceAll(args[0], " ", "_"))
		return err
	}},
	"/add": {2, func(l *lines, ctx context.Context, args []string) error {
		group, err := l.app.Find(store.Group, args[0])
		if err != nil {
			return err
		}
		contact, err := l.app.Find(store.Contact, args[1])
		if err != nil {
			return err
		}
		return l.app.Add(ctx, agent.GroupID(group.Ref), agent.ConnectionID(contact.Ref))
	}},
	"/join": {0, func(l *lines, ctx context.Context, _ []string) error {
		i, err := takeLast(l, &l.invitations)
		if err != nil {
			return err
		}
		_, err = l.app.Join(ctx, i)
		return err
	}},
	"/refuse": {0, func(l *lines, ctx context.Context, _ []string) error {
		i, err := takeLast(l, &l.invitations)
		if err != nil {
			return err
		}
		return l.client.GroupReject(ctx, i.Name)
	}},
	"/accept": {0, func(l *lines, ctx context.Context, _ []string) error {
		r, err := takeLast(l, &l.requests)
		if err != nil {
			return err
		}
		info, err := l.app.Profile.Info()
		if err != nil {
			return err
		}
		return l.client.GroupDirectAccept(ctx, r.group, r.request, info)
	}},
	"/decline": {0, func(l *lines, ctx context.Context, _ []string) error {
		r, err := takeLast(l, &l.requests)
		if err != nil {
			return err
		}
		return l.client.GroupDirectReject(ctx, r.group, r.request)
	}},
	"/members": {1, (*lines).members},
	"/leave": {1, func(l *lines, ctx context.Context, args []string) error {
		group, err := l.app.Find(store.Group, args[0])
		if err != nil {
			return err
		}
		return l.client.GroupLeave(ctx, agent.GroupID(group.Ref))
	}},
	"/remove": {2, func(l *lines, ctx context.Context, args []string) error {
		group, member, err := l.member(args)
		if err != nil {
			return err
		}
		return l.client.GroupRemove(ctx, group, agent.RemoveOptions{Members: []agent.MemberID{member}})
	}},
	"/direct": {2, func(l *lines, ctx context.Context, args []string) error {
		group, member, err := l.member(args)
		if err != nil {
			return err
		}
		info, err := l.app.Profile.Info()
		if err != nil {
			return err
		}
		_, err = l.client.GroupDirect(ctx, group, member, agent.DirectOptions{Text: []byte("from " + l.app.Profile.DisplayName), Info: info})
		return err
	}},
	"/list": {0, func(l *lines, _ context.Context, _ []string) error {
		all, err := l.app.Conversations()
		for _, c := range all {
			ended := ""
			if c.Ended {
				ended = " (ended)"
			}
			l.print("%s %s%s  %s", c.Kind, c.Name, ended, c.Ref)
		}
		return err
	}},
	"/history": {1, (*lines).history},
}

// takeLast returns what asked last for an answer.
func takeLast[T any](l *lines, list *[]T) (last T, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(*list) == 0 {
		return last, errNothing
	}
	last = (*list)[len(*list)-1]
	*list = (*list)[:len(*list)-1]
	return last, nil
}

// member finds a group and one of its members by their names.
func (l *lines) member(args []string) (agent.GroupID, agent.MemberID, error) {
	group, err := l.app.Find(store.Group, args[0])
	if err != nil {
		return "", "", err
	}
	member, err := chat.FindMember(group, args[1])
	return agent.GroupID(group.Ref), member, err
}

func (l *lines) members(ctx context.Context, args []string) error {
	group, err := l.app.Find(store.Group, args[0])
	if err != nil {
		return err
	}
	info, err := l.client.Group(ctx, agent.GroupID(group.Ref))
	if err != nil {
		return err
	}
	for _, m := range info.Members {
		if !m.Present {
			continue
		}
		name := "(no card yet)"
		if p, err := chat.ReadCard(m.Card); err == nil {
			name = p.DisplayName
		}
		if m.Member == info.Self {
			name = "you"
		}
		l.print("%-16s %-10s %s %s", name, m.Role, m.Pair, m.Reason)
	}
	return nil
}

func (l *lines) history(_ context.Context, args []string) error {
	kind, name := store.Contact, strings.TrimPrefix(args[0], "@")
	if group, ok := strings.CutPrefix(args[0], "#"); ok {
		kind, name = store.Group, group
	}
	c, err := l.app.Find(kind, name)
	if err != nil {
		return err
	}
	messages, err := l.app.Messages(kind, c.Ref)
	for _, m := range messages {
		l.print("%s %s", m.Time.Local().Format("2006-01-02 15:04"), format(c, m))
	}
	return err
}
