package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/control"
)

func groupCommand(s *settings) *cobra.Command {
	group := &cobra.Command{Use: "group", Short: "Groups", Args: noArgs}
	group.AddCommand(
		groupNewCommand(s), groupAddCommand(s), groupJoinCommand(s), groupSendCommand(s), groupRemoveCommand(s), groupListCommand(s),
		groupShowCommand(s), groupHistoryCommand(s), groupSetCommand(s),
		onGroup(s, "reject INVITATION", "Refuse an invitation", 1, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupReject(ctx, args[0])
		}),
		onGroup(s, "leave GROUP", "Leave a group", 1, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupLeave(ctx, agent.GroupID(args[0]))
		}),
		onGroup(s, "close GROUP", "Close a group for everybody", 1, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupDelete(ctx, agent.GroupID(args[0]))
		}),
		onGroup(s, "role GROUP MEMBER ROLE", "Give a member a role: observer, member, moderator, admin, owner", 3, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupRole(ctx, agent.GroupID(args[0]), agent.MemberID(args[1]), args[2])
		}),
		onGroup(s, "repair GROUP MEMBER", "Make a new connection with a member, at most once an hour", 2, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupRepair(ctx, agent.GroupID(args[0]), agent.MemberID(args[1]))
		}),
		onGroup(s, "forget GROUP", "Remove everything stored about a group that is gone", 1, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupForget(ctx, agent.GroupID(args[0]))
		}),
	)
	return group
}

// onGroup makes a command with n arguments and no output.
func onGroup(s *settings, use, short string, n int, run func(context.Context, *control.Client, []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: exactly(n), RunE: func(c *cobra.Command, args []string) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error { return run(ctx, a, args) })
	}}
}

// printing makes a command with n arguments that prints one value under a name.
func printing(s *settings, use, short string, n int, name string, run func(context.Context, *control.Client, *cobra.Command, []string) (any, error)) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: exactly(n), RunE: func(c *cobra.Command, args []string) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			v, err := run(ctx, a, c, args)
			if err != nil {
				return err
			}
			return output(s, c, map[string]any{name: v}, func(w io.Writer) { fmt.Fprintln(w, v) })
		})
	}}
}

func groupNewCommand(s *settings) *cobra.Command {
	var o agent.GroupOptions
	var title, card string
	var moderated bool
	c := printing(s, "new", "Make a group of one and print it", 0, "group", func(ctx context.Context, a *control.Client, _ *cobra.Command, _ []string) (any, error) {
		o.Card = []byte(card)
		if title != "" {
			o.Settings = map[string][]byte{"title": []byte(title)}
		}
		if moderated {
			p := agent.Moderated()
			o.Policy = &p
		}
		return a.GroupNew(ctx, o)
	})
	c.Flags().StringVar(&title, "title", "", "title of the group")
	c.Flags().StringVar(&card, "card", "", "who one is, for the other members")
	c.Flags().BoolVar(&moderated, "moderated", false, "roles decide who may do what; without, every member may do everything")
	c.Flags().StringVar(&o.Key, "key", "", "a repeat with the same key returns the same group")
	return c
}

func groupAddCommand(s *settings) *cobra.Command {
	var o agent.AddOptions
	var info string
	c := printing(s, "add GROUP CONNECTION", "Invite a contact to a group", 2, "invitation", func(ctx context.Context, a *control.Client, _ *cobra.Command, args []string) (any, error) {
		o.Info = []byte(info)
		return a.GroupAdd(ctx, agent.GroupID(args[0]), agent.ConnectionID(args[1]), o)
	})
	c.Flags().StringVar(&o.Role, "role", "member", "role of the new member")
	c.Flags().StringVar(&info, "info", "", "what the contact sees before it decides")
	return c
}

func groupJoinCommand(s *settings) *cobra.Command {
	var card string
	c := printing(s, "join INVITATION", "Accept an invitation of a GINV event and print the group", 1, "group", func(ctx context.Context, a *control.Client, _ *cobra.Command, args []string) (any, error) {
		return a.GroupJoin(ctx, args[0], []byte(card))
	})
	c.Flags().StringVar(&card, "card", "", "who one is, for the other members")
	return c
}

func groupSendCommand(s *settings) *cobra.Command {
	var m agent.Outgoing
	c := printing(s, "send GROUP TEXT|-", "Send a message to all members and print its number", 2, "number", func(ctx context.Context, a *control.Client, c *cobra.Command, args []string) (any, error) {
		var err error
		if m.Body, err = argument(c, args[1]); err != nil {
			return nil, err
		}
		id, err := a.GroupSend(ctx, agent.GroupID(args[0]), m)
		return id.Number, err
	})
	c.Flags().StringVar(&m.Key, "key", "", "a repeat with the same key sends nothing again")
	c.Flags().BoolVar(&m.Notify, "notify", false, "ask the relays for push notifications")
	return c
}

func groupRemoveCommand(s *settings) *cobra.Command {
	var o agent.RemoveOptions
	c := &cobra.Command{Use: "remove GROUP MEMBER...", Short: "Remove members", Args: checked(cobra.MinimumNArgs(2)), RunE: func(c *cobra.Command, args []string) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			for _, m := range args[1:] {
				o.Members = append(o.Members, agent.MemberID(m))
			}
			return a.GroupRemove(ctx, agent.GroupID(args[0]), o)
		})
	}}
	c.Flags().BoolVar(&o.Hide, "hide", false, "ask clients to hide what they wrote")
	c.Flags().BoolVar(&o.Contest, "contest", false, "undo one's own removal by somebody of lower rank")
	return c
}

func groupSetCommand(s *settings) *cobra.Command {
	return onGroup(s, "set GROUP NAME VALUE", "Give a setting of the group a value; an empty one unsets it", 3, func(ctx context.Context, a *control.Client, args []string) error {
		return a.GroupSet(ctx, agent.GroupID(args[0]), args[1], []byte(args[2]))
	})
}

func groupListCommand(s *settings) *cobra.Command {
	return simple("ls", "List groups", func(c *cobra.Command) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			all, err := a.Groups(ctx)
			if err != nil {
				return err
			}
			return output(s, c, all, func(w io.Writer) {
				for _, g := range all {
					fmt.Fprintf(w, "%s %s, %d members, %d connected %q\n", g.ID, g.Status, g.Present, g.Connected, g.Settings["title"])
				}
			})
		})
	})
}

func groupShowCommand(s *settings) *cobra.Command {
	return &cobra.Command{Use: "show GROUP", Short: "Show a group, its members and the state of their connections", Args: exactly(1), RunE: func(c *cobra.Command, args []string) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			g, err := a.Group(ctx, agent.GroupID(args[0]))
			if err != nil {
				return err
			}
			return output(s, c, g, func(w io.Writer) {
				fmt.Fprintf(w, "%s %s, %d members, %d connected, state %x\n", g.ID, g.Status, g.Present, g.Connected, g.StateHash)
				for _, m := range g.Members {
					fmt.Fprintf(w, "%s %s %s %s %q\n", m.Member, m.Role, m.Pair, m.Reason, m.Card)
				}
			})
		})
	}}
}

func groupHistoryCommand(s *settings) *cobra.Command {
	var before uint64
	var limit int
	c := &cobra.Command{Use: "history GROUP", Short: "Print messages of a group, newest first", Args: exactly(1), RunE: func(c *cobra.Command, args []string) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			all, err := a.GroupHistory(ctx, agent.GroupID(args[0]), before, limit)
			if err != nil {
				return err
			}
			return output(s, c, all, func(w io.Writer) {
				for _, m := range all {
					fmt.Fprintf(w, "%d %s %d %s\n", m.Position, m.Message.Author, m.Message.Number, m.Body)
				}
			})
		})
	}}
	c.Flags().Uint64Var(&before, "before", 0, "positions below this one (0: from the newest)")
	c.Flags().IntVar(&limit, "limit", 100, "at most so many")
	return c
}

func directCommand(s *settings) *cobra.Command {
	var text, info string
	direct := &cobra.Command{Use: "direct", Short: "Direct connections with members of a group", Args: noArgs}
	ask := printing(s, "ask GROUP MEMBER", "Ask a member for a direct connection", 2, "request", func(ctx context.Context, a *control.Client, _ *cobra.Command, args []string) (any, error) {
		return a.GroupDirect(ctx, agent.GroupID(args[0]), agent.MemberID(args[1]), agent.DirectOptions{Text: []byte(text), Info: []byte(info)})
	})
	ask.Flags().StringVar(&text, "text", "", "shown to the member")
	ask.Flags().StringVar(&info, "info", "", "given to the member when the connection is made")
	accept := onGroup(s, "accept GROUP REQUEST", "Accept a GDINV event", 2, func(ctx context.Context, a *control.Client, args []string) error {
		return a.GroupDirectAccept(ctx, agent.GroupID(args[0]), args[1], []byte(info))
	})
	accept.Flags().StringVar(&info, "info", "", "given to the member when the connection is made")
	direct.AddCommand(ask, accept,
		onGroup(s, "reject GROUP REQUEST", "Refuse a GDINV event", 2, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupDirectReject(ctx, agent.GroupID(args[0]), args[1])
		}),
		onGroup(s, "withdraw GROUP MEMBER", "Take back the own request", 2, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupDirectWithdraw(ctx, agent.GroupID(args[0]), agent.MemberID(args[1]))
		}),
		onGroup(s, "rule GROUP MEMBER ask|accept|refuse|block", "Set the standing answer to a member's requests", 3, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupDirectRule(ctx, agent.GroupID(args[0]), agent.MemberID(args[1]), agent.DirectRule(args[2]), []byte(info))
		}),
	)
	return direct
}
