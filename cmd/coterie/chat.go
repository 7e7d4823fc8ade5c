package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/control"
	agentstore "github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/chat"
	"github.com/coterie-im/coterie/chat/store"
)

func chatCommand() *cobra.Command {
	var folder, socket, keyFile, name string
	c := &cobra.Command{
		Use: "chat", Short: "Chat line by line with a running agent; /help tells how", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if folder == "" {
				home, err := os.UserHomeDir()
				if err != nil {
					return err
				}
				folder = filepath.Join(home, ".coterie")
			}
			if socket == "" {
				socket = filepath.Join(folder, "agent.sock")
			}
			if keyFile == "" {
				keyFile = filepath.Join(folder, "agent.key")
			}
			return converse(c, folder, socket, keyFile, name)
		},
	}
	c.Flags().StringVar(&name, "name", "", "what contacts and groups get to know you as")
	c.Flags().StringVar(&folder, "folder", "", "folder of the history (default ~/.coterie)")
	c.Flags().StringVar(&socket, "socket", "", "command socket of the agent (default agent.sock in the folder)")
	c.Flags().StringVar(&keyFile, "key-file", "", "file with the key of the history (default agent.key in the folder)")
	_ = c.MarkFlagRequired("name")
	return c
}

// lines is a chat on a terminal, or through pipes.
type lines struct {
	app    *chat.App
	client *control.Client

	mu          sync.Mutex
	out         io.Writer         // guarded by mu
	invitations []chat.Invitation // guarded by mu: not answered yet
	requests    []directFrom      // guarded by mu: not answered yet
}

type directFrom struct {
	group   agent.GroupID
	request string
}

func converse(c *cobra.Command, folder, socket, keyFile, name string) error {
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	client, err := control.Dial(ctx, socket)
	if err != nil {
		return err
	}
	defer client.Close()
	key, err := agentstore.ReadKeyFile(keyFile)
	if err != nil {
		return err
	}
	history, err := store.Open(filepath.Join(folder, "chat.db"), key)
	if err != nil {
		return err
	}
	defer history.Close()
	l := &lines{client: client, out: c.OutOrStdout()}
	if l.app, err = chat.New(chat.Options{Agent: client, History: history, Profile: chat.Profile{DisplayName: name}, Observe: l.observe}); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	ended := make(chan error, 1)
	go func() {
		err := l.app.Run(ctx)
		ended <- err
		if ctx.Err() == nil {
			l.print("the agent is gone: %v", err)
			cancel()
			_ = os.Stdin.Close()
		}
	}()
	input := bufio.NewScanner(c.InOrStdin())
	input.Buffer(nil, 64<<10)
	for ctx.Err() == nil && input.Scan() {
		text := strings.TrimSpace(input.Text())
		if text == "/quit" {
			break
		}
		if err := l.do(ctx, text); err != nil {
			l.print("! %v", err)
		}
	}
	gone := ctx.Err() == nil
	cancel()
	if err := <-ended; !gone && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (l *lines) print(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, format+"\n", args...)
}

// observe prints what others did; what was typed here is on the screen already.
func (l *lines) observe(u chat.Update) {
	switch {
	case u.Invitation != nil:
		l.mu.Lock()
		l.invitations = append(l.invitations, *u.Invitation)
		l.mu.Unlock()
		l.print("· %s invites you to %q, %d members: /join or /refuse", u.Invitation.From, u.Invitation.Title, u.Invitation.Members)
	case u.Request != nil:
		l.mu.Lock()
		l.requests = append(l.requests, directFrom{u.Event.Group(), u.Request.Request})
		l.mu.Unlock()
		l.print("· a member asks for a direct connection (%s): /accept or /decline", chat.Printable(string(u.Request.Text)))
	case u.Message != nil && !u.Message.Own:
		l.print("%s", format(*u.Conversation, *u.Message))
	}
}

// format is one line of a conversation.
func format(c store.Conversation, m store.Message) string {
	mark, author := "@"+c.Name, c.Name
	if c.Kind == store.Group {
		mark, author = "#"+c.Name, "somebody"
		for _, member := range c.Members {
			if member.Key == m.Author && member.Name != "" {
				author = member.Name
			}
		}
	}
	switch {
	case m.Notice:
		return chat.Printable(mark + " · " + m.Text)
	case m.Own:
		author = "you"
	case m.Vouched:
		author += " (as others say)"
	}
	return chat.Printable(fmt.Sprintf("%s %s: %s", mark, author, m.Text))
}

const help = `@NAME TEXT           write to a contact          #GROUP TEXT          write to a group
/invite              make a one-time link        /connect LINK        use somebody's link
/group TITLE         make a group                /add GROUP NAME      invite a contact to it
/join                accept the last invitation  /refuse              refuse it
/members GROUP       who is in it, connected     /leave GROUP         leave it
/remove GROUP NAME   remove a member             /direct GROUP NAME   ask a member for a direct connection
/accept              accept such a request       /decline             refuse it
/list                conversations               /history [@|#]NAME   what was said
/quit                end (the agent goes on)     names with spaces: write _ for each space;
                                             names taken twice: what /list shows behind them`

// verb is a typed command with its number of arguments.
type verb struct {
	arguments int
	run       func(*lines, context.Context, []string) error
}

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
	v, ok := verbs[words[0]]
	if !ok || v.arguments != len(words)-1 {
		if words[0] == "/group" && len(words) > 1 {
			return l.makeGroup(ctx, strings.Join(words[1:], " "))
		}
		return fmt.Errorf("%w: /help tells what can be typed", errUsage)
	}
	for i := range words {
		words[i] = spaced(words[i])
	}
	return v.run(l, ctx, words[1:])
}

func spaced(name string) string { return strings.ReplaceAll(name, "_", " ") }

func (l *lines) write(ctx context.Context, group bool, name, text string) error {
	if !group {
		c, err := l.app.Find(store.Contact, name)
		if err != nil {
			return err
		}
		return l.app.Send(ctx, agent.ConnectionID(c.Ref), text)
	}
	c, err := l.app.Find(store.Group, name)
	if err != nil {
		return err
	}
	_, err = l.app.SendGroup(ctx, agent.GroupID(c.Ref), text)
	return err
}

func (l *lines) makeGroup(ctx context.Context, title string) error {
	_, err := l.app.NewGroup(ctx, title)
	if err == nil {
		l.print("· the group %q is made; /add invites contacts", title)
	}
	return err
}
