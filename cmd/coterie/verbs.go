package main

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat"
	"github.com/coterie-im/coterie/chat/store"
)

var errNothing = errors.New("there is nothing to answer")

// verbs are the typed commands; /group takes a title of any number of words and is not among them.
var verbs = func() map[string]verb {
	all := map[string]verb{}
	for _, part := range []map[string]verb{common, joining, repairing, owning} {
		maps.Copy(all, part)
	}
	return all
}()

// common are those about contacts, groups and their members.
var common = map[string]verb{
	"/help": exactly(0, func(l *lines, _ context.Context, _ []string) error {
		l.print("%s", help)
		return nil
	}),
	"/invite": exactly(0, func(l *lines, ctx context.Context, _ []string) error {
		_, link, err := l.app.Invite(ctx)
		if err == nil {
			l.print("· give this link to one person, over a way that nobody else reads:\n%s", link)
		}
		return err
	}),
	"/connect": exactly(1, func(l *lines, ctx context.Context, args []string) error {
		_, err := l.app.Connect(ctx, args[0])
		return err
	}),
	"/add": exactly(2, func(l *lines, ctx context.Context, args []string) error {
		group, err := l.group(args[0])
		if err != nil {
			return err
		}
		contact, err := l.app.Find(store.Contact, spaced(args[1]))
		if err != nil {
			return err
		}
		return l.app.Add(ctx, group, agent.ConnectionID(contact.Ref))
	}),
	"/join": exactly(0, func(l *lines, ctx context.Context, _ []string) error {
		i, err := takeLast(l, &l.invitations)
		if err != nil {
			return err
		}
		_, err = l.app.Join(ctx, i)
		return err
	}),
	"/refuse": exactly(0, func(l *lines, ctx context.Context, _ []string) error {
		i, err := takeLast(l, &l.invitations)
		if err != nil {
			return err
		}
		return l.client.GroupReject(ctx, i.Name)
	}),
	"/accept": exactly(0, func(l *lines, ctx context.Context, _ []string) error {
		r, err := takeLast(l, &l.requests)
		if err != nil {
			return err
		}
		p, err := l.app.CurrentProfile()
		if err != nil {
			return err
		}
		info, err := p.Info()
		if err != nil {
			return err
		}
		return l.client.GroupDirectAccept(ctx, r.group, r.request, info)
	}),
	"/decline": exactly(0, func(l *lines, ctx context.Context, _ []string) error {
		r, err := takeLast(l, &l.requests)
		if err != nil {
			return err
		}
		return l.client.GroupDirectReject(ctx, r.group, r.request)
	}),
	"/leave": exactly(1, func(l *lines, ctx context.Context, args []string) error {
		group, err := l.group(args[0])
		if err != nil {
			return err
		}
		return l.client.GroupLeave(ctx, group)
	}),
	"/remove": exactly(2, func(l *lines, ctx context.Context, args []string) error {
		group, member, err := l.member(args)
		if err != nil {
			return err
		}
		return l.client.GroupRemove(ctx, group, agent.RemoveOptions{Members: []agent.MemberID{member}})
	}),
	"/direct": exactly(2, func(l *lines, ctx context.Context, args []string) error {
		group, member, err := l.member(args)
		if err != nil {
			return err
		}
		p, err := l.app.CurrentProfile()
		if err != nil {
			return err
		}
		info, err := p.Info()
		if err != nil {
			return err
		}
		_, err = l.client.GroupDirect(ctx, group, member, agent.DirectOptions{Text: []byte("from " + p.DisplayName), Info: info})
		return err
	}),
	"/history": exactly(1, (*lines).history),
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
	group, err := l.app.Find(store.Group, spaced(args[0]))
	if err != nil {
		return "", "", err
	}
	member, err := chat.FindMember(group, spaced(args[1]))
	return agent.GroupID(group.Ref), member, err
}

func (l *lines) history(_ context.Context, args []string) error {
	kind, name := store.Contact, strings.TrimPrefix(args[0], "@")
	if group, ok := strings.CutPrefix(args[0], "#"); ok {
		kind, name = store.Group, group
	}
	c, err := l.app.FindAny(kind, spaced(name))
	if err != nil {
		return err
	}
	messages, err := l.app.Messages(kind, c.Ref)
	for _, m := range messages {
		l.print("%s %s", m.Time.Local().Format("2006-01-02 15:04"), format(c, m))
	}
	return err
}
