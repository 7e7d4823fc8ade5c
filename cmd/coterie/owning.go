package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/coterie-im/coterie/chat"
	"github.com/coterie-im/coterie/chat/store"
)

// owning are the typed commands about oneself and the own devices.
var owning = map[string]verb{
	"/profile": {0, 9, func(l *lines, ctx context.Context, args []string) error {
		if len(args) > 0 {
			return l.app.SetProfile(ctx, chat.Profile{DisplayName: args[0], FullName: strings.Join(args[1:], " ")})
		}
		p, err := l.app.CurrentProfile()
		if err == nil {
			l.print("· %s %s", p.DisplayName, p.FullName)
		}
		return err
	}},
	"/device": {0, 3, func(l *lines, ctx context.Context, args []string) error {
		if len(args) == 0 {
			l.print("%s", deviceHelp)
			return nil
		}
		v, ok := deviceVerbs[args[0]]
		if !ok || len(args)-1 != v.least {
			return fmt.Errorf("%w: /device tells what can be typed", errUsage)
		}
		return v.run(l, ctx, args[1:])
	}},
}

var deviceVerbs = map[string]verb{
	"begin": exactly(1, func(l *lines, ctx context.Context, args []string) error {
		if err := l.app.BeginDevices(ctx, args[0]); err != nil {
			return err
		}
		l.print("· this is %s, the first of your devices; /device link brings in one more", args[0])
		return nil
	}),
	"link": exactly(0, func(l *lines, ctx context.Context, _ []string) error {
		link, err := l.app.LinkDevice(ctx)
		if err == nil {
			l.print("· type this on the other device, with a name for it at the end:\n/device join %s", link)
		}
		return err
	}),
	"join": exactly(2, func(l *lines, ctx context.Context, args []string) error {
		code, err := l.app.JoinDevices(ctx, args[0], args[1])
		if err == nil {
			l.print("· type this on the device that made the link, and tell it nobody:\n/device confirm %s", code)
		}
		return err
	}),
	"confirm": exactly(1, func(l *lines, ctx context.Context, args []string) error {
		name, err := l.app.ConfirmDevice(ctx, args[0])
		if err == nil {
			l.print("· %s is let in", name)
		}
		return err
	}),
	"list": exactly(0, (*lines).devices),
	"remove": exactly(1, func(l *lines, ctx context.Context, args []string) error {
		return l.app.RemoveDevice(ctx, args[0])
	}),
	"repair": exactly(1, func(l *lines, ctx context.Context, args []string) error {
		g, key, err := l.app.FindDevice(ctx, args[0])
		if err != nil {
			return err
		}
		return l.client.GroupRepair(ctx, g, key)
	}),
	"contest": exactly(0, func(l *lines, ctx context.Context, _ []string) error {
		all, err := l.app.Conversations()
		if err != nil {
			return err
		}
		last := store.Conversation{}
		for _, c := range all {
			if c.Kind == store.Devices {
				last = c
			}
		}
		return l.app.Contest(ctx, last)
	}),
	"leave": exactly(0, func(l *lines, ctx context.Context, _ []string) error {
		return l.app.LeaveDevices(ctx)
	}),
}

func (l *lines) devices(ctx context.Context, _ []string) error {
	list, err := l.app.ListDevices(ctx)
	if err != nil {
		return err
	}
	for _, d := range list.Devices {
		if d.Here {
			l.print("%-16s this one", d.Name)
			continue
		}
		state := d.State
		if d.Lacks > 0 {
			state += fmt.Sprintf("; has not confirmed %d messages of this device", d.Lacks)
		}
		if !d.Heard.IsZero() {
			state += "; heard of " + d.Heard.Local().Format("2006-01-02 15:04")
		}
		l.print("%-16s %s", d.Name, state)
	}
	if list.Waiting > 0 {
		l.print("· %d entries wait to be sent", list.Waiting)
	}
	if list.Trouble != "" {
		l.print("· nothing is sent now: %s", list.Trouble)
	}
	return nil
}
