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
	c.Flags().StringVar(&name, "name", "", "what contacts and groups get to know you as; needed the first time")
	c.Flags().StringVar(&folder, "folder", "", "folder of the history (default ~/.coterie)")
	c.Flags().StringVar(&socket, "socket", "", "command socket of the agent (default agent.sock in the folder)")
	c.Flags().StringVar(&keyFile, "key-file", "", "file with the key of the history (default agent.key in the folder)")
	return c
}

// lines is a chat on a terminal, or through pipes.
type lines struct {
	app    *chat.App
	client *control.Client

	mu          sync.Mutex
	out         io.Writer          // guarded by mu
	invitations []chat.Invitation  // guarded by mu: not answered yet
	requests    []directFrom       // guarded by mu: not answered yet
	asked       []chat.JoinRequest // guarded by mu: not answered yet
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
		return fmt.Errorf("%w: --name: %w", errUsage, err)
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
	case u.Asked != nil:
		l.mu.Lock()
		l.asked = append(l.asked, *u.Asked)
		l.mu.Unlock()
		l.print("#%s · %s asks to be let in%s: /approve or /deny", chat.Printable(u.Conversation.Name), u.Asked.Name, quoted(u.Asked.Text))
	case u.Remark != "" && u.Conversation != nil:
		l.print("%s%s", format(*u.Conversation, store.Message{Notice: true, Text: u.Remark}), hint(u))
	case u.Remark != "":
		more := ""
		if u.DeviceAsks != "" {
			more = ": /device confirm CODE"
		}
		l.print("· %s%s", chat.Printable(u.Remark), more)
	case u.Revised != nil && u.Revised.False:
		l.print("%s", format(*u.Conversation, *u.Revised))
	case u.Confirmed:
		l.print("%s (confirmed by its author)", format(*u.Conversation, *u.Revised))
	case u.Message != nil && !u.Bulk && (!u.Message.Own || u.Message.Device != ""):
		l.print("%s%s", format(*u.Conversation, *u.Message), hint(u))
	}
}

// hint says what can be typed about what happened.
func hint(u chat.Update) string {
	if u.Event == nil || u.Conversation == nil {
		return ""
	}
	group := joined(u.Conversation.Name)
	switch data := u.Event.Data.(type) {
	case *agent.Removed:
		if data.Contestable {
			return ": /contest " + group
		}
	case *agent.GroupChanged:
		if data.Change == agent.ChangeMemberWaiting {
			return ": /repair " + group + " " + joined(chat.MemberName(*u.Conversation, string(data.Member)))
		}
	}
	return ""
}

func quoted(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", text)
}
