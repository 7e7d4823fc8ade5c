package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/coterie-im/coterie/chat"
)

// joining are the typed commands about joining groups by link.
var joining = map[string]verb{
	"/link": exactly(1, func(l *lines, ctx context.Context, args []string) error {
		g, err := l.group(args[0])
		if err != nil {
			return err
		}
		link, err := l.client.GroupLink(ctx, g)
		if err != nil {
			return err
		}
		rule, err := l.app.JoinRule(ctx, g)
		if err == nil {
			l.print("· whoever has this link can ask to be let in (%s; /rule changes that):\n%s", rule, link)
		}
		return err
	}),
	"/unlink": exactly(1, func(l *lines, ctx context.Context, args []string) error {
		g, err := l.group(args[0])
		if err != nil {
			return err
		}
		if err := l.client.GroupUnlink(ctx, g); err != nil {
			return err
		}
		l.print("· the link leads nowhere now; who asked with it and waits is forgotten")
		return nil
	}),
	"/ask": {1, 2, func(l *lines, ctx context.Context, args []string) error {
		_, err := l.app.Ask(ctx, args[0], strings.Join(args[1:], ""), "")
		return err
	}},
	"/rule": {1, 3, func(l *lines, ctx context.Context, args []string) error {
		g, err := l.group(args[0])
		if err != nil {
			return err
		}
		if len(args) > 1 {
			return l.app.SetJoinRule(ctx, g, strings.Join(args[1:], " "))
		}
		rule, err := l.app.JoinRule(ctx, g)
		if err == nil {
			l.print("· %s", rule)
		}
		return err
	}},
	"/requests": exactly(1, func(l *lines, ctx context.Context, args []string) error {
		g, err := l.group(args[0])
		if err != nil {
			return err
		}
		all, err := l.app.Requests(ctx, g)
		for _, r := range all {
			l.print("%s  %s%s", r.Name, r.Request, quoted(r.Text))
		}
		if err == nil && len(all) == 0 {
			l.print("· nobody asks")
		}
		return err
	}),
	"/approve": {0, 2, func(l *lines, ctx context.Context, args []string) error {
		return l.answer(ctx, args, l.app.Admit)
	}},
	"/deny": {0, 2, func(l *lines, ctx context.Context, args []string) error {
		return l.answer(ctx, args, l.app.TurnAway)
	}},
}

// answer answers who asked last, or who is named.
func (l *lines) answer(ctx context.Context, args []string, answer func(context.Context, chat.JoinRequest) error) error {
	switch len(args) {
	case 0:
		r, err := takeLast(l, &l.asked)
		if err != nil {
			return err
		}
		return answer(ctx, r)
	case 2:
		g, err := l.group(args[0])
		if err != nil {
			return err
		}
		r, err := l.app.FindRequest(ctx, g, args[1])
		if err != nil {
			return err
		}
		if err := answer(ctx, r); err != nil {
			return err
		}
		l.answered(r)
		return nil
	}
	return fmt.Errorf("%w: a group and a name, or nothing", errUsage)
}

// answered forgets a request that was answered by its name.
func (l *lines) answered(done chat.JoinRequest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range l.asked {
		if r.Request == done.Request {
			l.asked = append(l.asked[:i:i], l.asked[i+1:]...)
			return
		}
	}
}
