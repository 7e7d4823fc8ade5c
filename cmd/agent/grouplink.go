package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/control"
)

// groupLinkCommands are those about joining groups by link.
func groupLinkCommands(s *settings) []*cobra.Command {
	return []*cobra.Command{
		groupLinkCommand(s), groupAskCommand(s),
		s.order("unlink GROUP", "Withdraw the link of a group, and forget the requests that wait", 1, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupUnlink(ctx, group(args[0]))
		}),
		s.order("refuse GROUP REQUEST", "Refuse a request of a GREQ event", 2, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupRefuse(ctx, group(args[0]), args[1])
		}),
	}
}

func groupLinkCommand(s *settings) *cobra.Command {
	c := s.printing("link GROUP", "Print the link with which anybody can ask for a group", 1, "link", func(ctx context.Context, a *control.Client, _ *cobra.Command, args []string) (any, error) {
		return a.GroupLink(ctx, group(args[0]))
	})
	c.Long = `Prints the link with which anybody can ask for a group; it is made when there is none, and published to the members.

The setting "join" says what becomes of a request: "approve", which is also the meaning of none, tells it with a GREQ event
and waits for "agent group add" or "agent group refuse"; "open" lets everybody in; "password TEXT" those who know the text,
which every member can read; "off" nobody. With the setting "join-role" at "observer", who is let in without being looked
at can only read.`
	return c
}

func groupAskCommand(s *settings) *cobra.Command {
	var o agent.AskOptions
	var text, password, card string
	c := s.printing("ask LINK", "Ask for a group with its link and print the group", 1, "group", func(ctx context.Context, a *control.Client, _ *cobra.Command, args []string) (any, error) {
		o.Text, o.Password, o.Card = []byte(text), []byte(password), []byte(card)
		return a.GroupAsk(ctx, args[0], o)
	})
	c.Flags().StringVar(&text, "text", "", "shown to who decides")
	c.Flags().StringVar(&password, "password", "", "for groups that ask for one")
	cardFlag(c, &card)
	keyFlag(c, &o.Key, "returns the same group")
	return c
}
