package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat/store"
)

const help = `@NAME TEXT           write to a contact          #GROUP TEXT          write to a group
/invite              make a one-time link        /connect LINK        use somebody's link
/group TITLE         make a group                /add GROUP NAME      invite a contact to it
/join                accept the last invitation  /refuse              refuse it
/members GROUP       who is in it, connected     /leave GROUP         leave it
/remove GROUP NAME   remove a member             /contest GROUP       undo one's own removal
/repair GROUP NAME   a new connection            /recover GROUP       after a restored backup
/delivered GROUP     who has the last message    /state GROUP         how the group is
/link GROUP          a link to ask with          /unlink GROUP        withdraw it
/ask LINK [PASSWORD] ask to be let in            /rule GROUP [RULE]   who is let in: approve, open, off,
/requests GROUP      who asks                                         password TEXT
/approve [GROUP NAME] let in, or the last one    /deny [GROUP NAME]   refuse, or the last one
/direct GROUP NAME   ask for a direct connection
/accept              accept such a request       /decline             refuse it
/device …            several devices of yours    /profile [NAME ...]  who you are to new contacts
/list                conversations               /history [@|#]NAME   what was said
/quit                end (the agent goes on)     names with spaces: write _ for each space;
                                                 names taken twice: what /list shows behind them`

const deviceHelp = `/device begin NAME       make this the first of your devices
/device link             a link for one more
/device join LINK NAME   on that one: use the link; it shows a code
/device confirm CODE     where the link was made: let it in
/device list             your devices and how far they are
/device repair NAME      a new connection with it
/device remove NAME      remove one, such as a lost one
/device contest          undo that another one removed this one
/device leave            make this one stand alone again`

// verb is a typed command with how many arguments it takes.
type verb struct {
	least, most int
	run         func(*lines, context.Context, []string) error
}

// exactly is a verb with a fixed number of arguments.
func exactly(n int, run func(*lines, context.Context, []string) error) verb { return verb{n, n, run} }

func (l *lines) do(ctx context.Context, text string) error {
	if text == "" {
		return nil
	}
	if text[0] == '@' || text[0] == '#' {
		name, body, ok := strings.Cut(text[1:], " ")
		if !ok {
			return fmt.Errorf("%w: nothing to write", errUsage)
		}
		return l.write(ctx, text[0] == '#', spaced(name), strings.TrimSpace(body))
	}
	words := strings.Fields(text)
	if words[0] == "/group" && len(words) > 1 {
		return l.makeGroup(ctx, strings.Join(words[1:], " "))
	}
	v, ok := verbs[words[0]]
	if !ok || len(words)-1 < v.least || len(words)-1 > v.most {
		return fmt.Errorf("%w: /help tells what can be typed", errUsage)
	}
	return v.run(l, ctx, words[1:])
}

func (l *lines) write(ctx context.Context, group bool, name, text string) error {
	if !group {
		c, err := l.app.Find(store.Contact, name)
		if err != nil {
			return err
		}
		return l.app.Send(ctx, agent.ConnectionID(c.Ref), text)
	}
	g, err := l.group(name)
	if err != nil {
		return err
	}
	_, err = l.app.SendGroup(ctx, g, text)
	return err
}

func (l *lines) makeGroup(ctx context.Context, title string) error {
	_, err := l.app.NewGroup(ctx, title)
	if err == nil {
		l.print("· the group %q is made; /add invites contacts", title)
	}
	return err
}

// group finds a group by its typed name.
func (l *lines) group(name string) (agent.GroupID, error) {
	c, err := l.app.Find(store.Group, spaced(name))
	return agent.GroupID(c.Ref), err
}
