package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/control"
)

func groupCommand(s *settings) *cobra.Command {
	return family("group", "Groups", append(groupLinkCommands(s),
		groupNewCommand(s), groupAddCommand(s), groupForkCommand(s), groupJoinCommand(s), groupSendCommand(s), groupRemoveCommand(s), groupPolicyCommand(s),
		groupListCommand(s), groupShowCommand(s), groupHistoryCommand(s), groupDeliveryCommand(s),
		s.order("uninvite GROUP INVITATION", "Withdraw an invitation that was not accepted yet", 2, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupUninvite(ctx, group(args[0]), args[1])
		}),
		s.order("reject INVITATION", "Refuse an invitation of a GINV event", 1, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupReject(ctx, args[0])
		}),
		s.order("leave GROUP", "Leave a group", 1, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupLeave(ctx, group(args[0]))
		}),
		s.order("close GROUP", "Close a group for everybody", 1, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupDelete(ctx, group(args[0]))
		}),
		s.order("role GROUP MEMBER ROLE", "Give a member a role: observer, member, moderator, admin, owner", 3, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupRole(ctx, group(args[0]), agent.MemberID(args[1]), args[2])
		}),
		s.order("set GROUP NAME VALUE", "Give a setting of the group a value; an empty one unsets it", 3, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupSet(ctx, group(args[0]), args[1], []byte(args[2]))
		}),
		s.order("repair GROUP MEMBER", "Make a new connection with a member, at most once an hour", 2, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupRepair(ctx, group(args[0]), agent.MemberID(args[1]))
		}),
		s.order("recover GROUP", "Say that the store was restored from a backup: nothing is written until the others have told what is missing", 1, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupRecover(ctx, group(args[0]))
		}),
		s.order("forget GROUP", "Remove everything stored about a group that has ended", 1, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupForget(ctx, group(args[0]))
		}),
	)...)
}

func groupNewCommand(s *settings) *cobra.Command {
	var title, card, key string
	var moderated bool
	c := s.printing("new", "Make a group of one and print it", 0, "group", func(ctx context.Context, a *control.Client, _ *cobra.Command, _ []string) (any, error) {
		o := agent.GroupOptions{Card: []byte(card), Key: key}
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
	cardFlag(c, &card)
	c.Flags().BoolVar(&moderated, "moderated", false, "roles decide who may do what; without, every member may do everything")
	keyFlag(c, &key, "returns the same group")
	return c
}

func cardFlag(c *cobra.Command, card *string) {
	c.Flags().StringVar(card, "card", "", "who one is, for the other members")
}

func groupAddCommand(s *settings) *cobra.Command {
	var role, info, key string
	c := s.printing("add GROUP CONNECTION|REQUEST", "Invite a contact to a group, or let in who asked with a GREQ event, and print the invitation", 2, "invitation", func(ctx context.Context, a *control.Client, _ *cobra.Command, args []string) (any, error) {
		return a.GroupAdd(ctx, group(args[0]), connection(args[1]), agent.AddOptions{Role: role, Info: []byte(info), Key: key})
	})
	c.Flags().StringVar(&role, "role", "member", "role of the new member")
	c.Flags().StringVar(&info, "info", "", "what the contact sees before it decides")
	keyFlag(c, &key, "returns the same invitation")
	return c
}

func groupForkCommand(s *settings) *cobra.Command {
	var o agent.ForkOptions
	var without []string
	var title, info, card string
	var moderated bool
	c := command("fork GROUP [MEMBER...]", "Make a new group out of one, invite its members, and print it", 0, func(c *cobra.Command, args []string) error {
		for _, m := range args[1:] {
			o.Members = append(o.Members, agent.MemberID(m))
		}
		for _, m := range without {
			o.Without = append(o.Without, agent.MemberID(m))
		}
		o.Info = []byte(info)
		if card != "" {
			o.Card = []byte(card)
		}
		if moderated {
			p := agent.Moderated()
			o.Policy = &p
		}
		return s.client(c, func(ctx context.Context, a *control.Client) error {
			if title != "" {
				o.Settings = map[string][]byte{"title": []byte(title)}
			}
			f, err := a.GroupFork(ctx, group(args[0]), o)
			if err != nil {
				return err
			}
			return s.output(c, f, func(w io.Writer) {
				fmt.Fprintln(w, entity(f.Group))
				for _, m := range slices.Sorted(maps.Keys(f.Invitations)) {
					fmt.Fprintf(w, "%s invited %s\n", m, f.Invitations[m])
				}
				for _, m := range f.Unreachable {
					fmt.Fprintf(w, "%s unreachable\n", m)
				}
			})
		})
	})
	c.Args = checked(cobra.MinimumNArgs(1))
	c.Long = `Makes a new group with the policy and the settings of an existing one, and invites the named members over the connections
that one has with them; without names everybody who is present. It also works for a day after one was removed from the group, has
left it, or it was closed. Whoever is invited gets a GINV event and answers with "agent group join" or "agent group reject".`
	c.Flags().StringArrayVar(&without, "without", nil, "a member that is not invited; may be repeated")
	c.Flags().StringVar(&o.Role, "role", "", "role of all that are invited (default: the one that each had)")
	c.Flags().StringVar(&info, "info", "", "what they see before they decide")
	c.Flags().StringVar(&title, "title", "", "title of the new group, instead of all settings of the old one")
	cardFlag(c, &card)
	c.Flags().BoolVar(&moderated, "moderated", false, "roles decide who may do what; without, the policy of the old group")
	keyFlag(c, &o.Key, "returns the same group")
	return c
}

func groupJoinCommand(s *settings) *cobra.Command {
	var card string
	c := s.printing("join INVITATION|LINK", "Accept an invitation of a GINV event, or ask with a group's link, and print the group", 1, "group", func(ctx context.Context, a *control.Client, _ *cobra.Command, args []string) (any, error) {
		return a.GroupJoin(ctx, args[0], []byte(card))
	})
	cardFlag(c, &card)
	return c
}

func groupSendCommand(s *settings) *cobra.Command {
	var m agent.Outgoing
	c := command("send GROUP TEXT|-", "Send a message to all members and print its number; - reads it from standard input", 2, func(c *cobra.Command, args []string) error {
		return s.client(c, func(ctx context.Context, a *control.Client) (err error) {
			if m.Body, err = argument(c, args[1]); err != nil {
				return err
			}
			id, err := a.GroupSend(ctx, group(args[0]), m)
			if err != nil {
				return err
			}
			return s.output(c, id, func(w io.Writer) { fmt.Fprintln(w, id.Number) })
		})
	})
	keyFlag(c, &m.Key, "sends nothing again")
	c.Flags().BoolVar(&m.Notify, "notify", false, "ask the relays for push notifications")
	return c
}

func groupRemoveCommand(s *settings) *cobra.Command {
	var o agent.RemoveOptions
	c := s.order("remove GROUP MEMBER...", "Remove members", 0, func(ctx context.Context, a *control.Client, args []string) error {
		for _, m := range args[1:] {
			o.Members = append(o.Members, agent.MemberID(m))
		}
		return a.GroupRemove(ctx, group(args[0]), o)
	})
	c.Args = checked(cobra.MinimumNArgs(2))
	c.Flags().BoolVar(&o.Hide, "hide", false, "ask clients to hide what they wrote")
	c.Flags().BoolVar(&o.Contest, "contest", false, "undo one's own removal by somebody of lower rank")
	return c
}

func groupPolicyCommand(s *settings) *cobra.Command {
	c := command("policy GROUP symmetric|moderated|JSON|-", "Replace the policy of a group", 2, func(c *cobra.Command, args []string) error {
		text, err := argument(c, args[1])
		if err != nil {
			return err
		}
		var p agent.Policy
		switch string(text) {
		case "symmetric":
			p = agent.Symmetric()
		case "moderated":
			p = agent.Moderated()
		default:
			if err := json.Unmarshal(text, &p); err != nil {
				return fmt.Errorf("%w: policy: %w", errUsage, err)
			}
		}
		return s.client(c, func(ctx context.Context, a *control.Client) error { return a.GroupPolicy(ctx, group(args[0]), p) })
	})
	c.Long = `Replaces the policy of a group, which says which role may do what. "agent group show --json" prints the present one.`
	return c
}

func groupListCommand(s *settings) *cobra.Command {
	return command("ls", "List groups", 0, func(c *cobra.Command, _ []string) error {
		return s.client(c, func(ctx context.Context, a *control.Client) error {
			all, err := a.Groups(ctx)
			if err != nil {
				return err
			}
			if all == nil {
				all = []agent.GroupInfo{}
			}
			return s.output(c, all, func(w io.Writer) {
				for _, g := range all {
					fmt.Fprintf(w, "%s %s, %d members, %d connected %q\n", entity(g.ID), g.Status, g.Present, g.Connected, g.Settings["title"])
				}
			})
		})
	})
}

func groupShowCommand(s *settings) *cobra.Command {
	return command("show GROUP", "Show a group, its members and the state of their connections", 1, func(c *cobra.Command, args []string) error {
		return s.client(c, func(ctx context.Context, a *control.Client) error {
			g, err := a.Group(ctx, group(args[0]))
			if err != nil {
				return err
			}
			return s.output(c, g, func(w io.Writer) { showGroup(w, g) })
		})
	})
}

// showGroup prints a group for people.
func showGroup(w io.Writer, g agent.GroupInfo) {
	fmt.Fprintf(w, "%s %s, %d members, %d connected %q, state %x\n", entity(g.ID), g.Status, g.Present, g.Connected, g.Settings["title"], g.StateHash)
	if g.Upgrade {
		fmt.Fprintf(w, "needs a newer version of this program: accepts operations of version %d, %d not judged here\n",
			g.Policy.Version, g.Unjudged)
	}
	for _, m := range g.Members {
		fmt.Fprintf(w, "%s %s %s %q", m.Member, m.Role, m.Pair, m.Card)
		if m.Reason != "" {
			fmt.Fprintf(w, " (%s)", m.Reason)
		}
		fmt.Fprintln(w)
	}
	for _, i := range g.Invited {
		fmt.Fprintf(w, "invited %s %s %s until %s\n", i.Invitation, i.Contact, i.Role, i.Expires.Format(time.RFC3339))
	}
	for _, r := range g.Requests {
		fmt.Fprintf(w, "request %s %q %q\n", r.Request, r.Card, r.Text)
	}
}

func groupHistoryCommand(s *settings) *cobra.Command {
	var before uint64
	var limit int
	c := command("history GROUP", "Print messages of a group, newest first", 1, func(c *cobra.Command, args []string) error {
		return s.client(c, func(ctx context.Context, a *control.Client) error {
			all, err := a.GroupHistory(ctx, group(args[0]), before, limit)
			if err != nil {
				return err
			}
			if all == nil {
				all = []agent.MessageRecord{}
			}
			return s.output(c, all, func(w io.Writer) {
				for _, m := range all {
					fmt.Fprintf(w, "%d %s %d %s\n", m.Position, m.Message.Author, m.Message.Number, printable(m.Body))
				}
			})
		})
	})
	c.Flags().Uint64Var(&before, "before", 0, "positions below this one (0: from the newest)")
	c.Flags().IntVar(&limit, "limit", 100, "at most so many")
	return c
}

func groupDeliveryCommand(s *settings) *cobra.Command {
	return command("delivery GROUP NUMBER", "Show what became of an own message for every member", 2, func(c *cobra.Command, args []string) error {
		number, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil {
			return fmt.Errorf("%w: %q is not the number of a message", errUsage, args[1])
		}
		return s.client(c, func(ctx context.Context, a *control.Client) error {
			all, err := a.GroupDelivery(ctx, group(args[0]), number)
			if err != nil {
				return err
			}
			if all == nil {
				all = []agent.Delivery{}
			}
			return s.output(c, all, func(w io.Writer) {
				for _, d := range all {
					fmt.Fprintln(w, strings.TrimSpace(fmt.Sprintf("%s %s %s", d.Member, d.State, d.Reason)))
				}
			})
		})
	})
}

func directCommand(s *settings) *cobra.Command {
	var text, info string
	ask := s.printing("ask GROUP MEMBER", "Ask a member for a direct connection and print the request", 2, "request", func(ctx context.Context, a *control.Client, _ *cobra.Command, args []string) (any, error) {
		return a.GroupDirect(ctx, group(args[0]), agent.MemberID(args[1]), agent.DirectOptions{Text: []byte(text), Info: []byte(info)})
	})
	ask.Flags().StringVar(&text, "text", "", "shown to the member")
	infoFlag(ask, &info)
	accept := s.order("accept GROUP REQUEST", "Accept a GDINV event", 2, func(ctx context.Context, a *control.Client, args []string) error {
		return a.GroupDirectAccept(ctx, group(args[0]), args[1], []byte(info))
	})
	infoFlag(accept, &info)
	rule := s.order("rule GROUP MEMBER ask|accept|refuse|block", "Set the standing answer to a member's requests", 3, func(ctx context.Context, a *control.Client, args []string) error {
		return a.GroupDirectRule(ctx, group(args[0]), agent.MemberID(args[1]), agent.DirectRule(args[2]), []byte(info))
	})
	infoFlag(rule, &info)
	return family("direct", "Direct connections with members of a group", ask, accept, rule,
		s.order("reject GROUP REQUEST", "Refuse a GDINV event", 2, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupDirectReject(ctx, group(args[0]), args[1])
		}),
		s.order("withdraw GROUP MEMBER", "Take back the own request", 2, func(ctx context.Context, a *control.Client, args []string) error {
			return a.GroupDirectWithdraw(ctx, group(args[0]), agent.MemberID(args[1]))
		}),
		sendDirectCommand(s),
	)
}

func sendDirectCommand(s *settings) *cobra.Command {
	return command("send GROUP MEMBER TEXT|-", "Send a message over the direct connection, as soon as it works", 3, func(c *cobra.Command, args []string) error {
		body, err := argument(c, args[2])
		if err != nil {
			return err
		}
		return s.client(c, func(ctx context.Context, a *control.Client) error {
			return a.GroupDirectSend(ctx, group(args[0]), agent.MemberID(args[1]), body)
		})
	})
}
