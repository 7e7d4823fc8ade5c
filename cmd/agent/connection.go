package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/control"
)

func connectionCommands(s *settings) []*cobra.Command {
	return []*cobra.Command{
		newCommand(s), joinCommand(s), allowCommand(s), acceptCommand(s), sendCommand(s), ackCommand(s), resyncCommand(s), switchCommand(s), deleteCommand(s), listCommand(s), showCommand(s),
		s.order("reject ADDRESS REQUEST", "Forget a REQ event; the peer is not told", 2, func(ctx context.Context, a *control.Client, args []string) error {
			return a.Reject(ctx, connection(args[0]), args[1])
		}),
		s.order("retry CONNECTION", "Try again now what waits for a later attempt", 1, func(ctx context.Context, a *control.Client, args []string) error {
			return a.Retry(ctx, connection(args[0]))
		}),
		s.order("subscribe CONNECTION", "Take the messages of a connection back after an END event", 1, func(ctx context.Context, a *control.Client, args []string) error {
			return a.Subscribe(ctx, connection(args[0]))
		}),
		s.order("suspend CONNECTION", "Let the relay refuse what the peer sends from now on, for good", 1, func(ctx context.Context, a *control.Client, args []string) error {
			return a.Suspend(ctx, connection(args[0]))
		}),
	}
}

func newCommand(s *settings) *cobra.Command {
	var o agent.CreateOptions
	c := command("new", "Make a one-time link, or with --contact a contact address, and print the connection and the link", 0, func(c *cobra.Command, _ []string) error {
		return s.client(c, func(ctx context.Context, a *control.Client) error {
			id, link, err := a.CreateConnection(ctx, o)
			if err != nil {
				if id != "" {
					err = fmt.Errorf("%s is being made, an INV event will have its link: %w", entity(id), err)
				}
				return err
			}
			return s.output(c, map[string]any{"connection": id, "link": link}, func(w io.Writer) { fmt.Fprintf(w, "%s\n%s\n", entity(id), link) })
		})
	})
	c.Flags().BoolVar(&o.Contact, "contact", false, "an address that anybody may use, again and again")
	c.Flags().StringVar(&o.ClientData, "data", "", "text that travels in the link")
	keyFlag(c, &o.Key, "returns the same connection")
	return c
}

func keyFlag(c *cobra.Command, key *string, effect string) {
	c.Flags().StringVar(key, "key", "", "a name for this call: a repeat with the same name "+effect)
}

func infoFlag(c *cobra.Command, info *string) {
	c.Flags().StringVar(info, "info", "", "what the peer gets to know")
}

func joinCommand(s *settings) *cobra.Command {
	var key, info string
	c := s.printing("join LINK", "Join a link and print the connection", 1, "connection", func(ctx context.Context, a *control.Client, _ *cobra.Command, args []string) (any, error) {
		return a.JoinConnection(ctx, args[0], agent.JoinOptions{Info: []byte(info), Key: key})
	})
	infoFlag(c, &info)
	keyFlag(c, &key, "returns the same connection")
	return c
}

func allowCommand(s *settings) *cobra.Command {
	var info string
	c := s.order("allow CONNECTION CONFIRMATION", "Let the peer of a CONF event in", 2, func(ctx context.Context, a *control.Client, args []string) error {
		return a.Allow(ctx, connection(args[0]), args[1], []byte(info))
	})
	infoFlag(c, &info)
	return c
}

func acceptCommand(s *settings) *cobra.Command {
	var info string
	c := s.printing("accept ADDRESS REQUEST", "Accept a REQ event and print the new connection", 2, "connection", func(ctx context.Context, a *control.Client, _ *cobra.Command, args []string) (any, error) {
		return a.Accept(ctx, connection(args[0]), args[1], []byte(info))
	})
	infoFlag(c, &info)
	return c
}

func sendCommand(s *settings) *cobra.Command {
	var m agent.Outgoing
	c := s.printing("send CONNECTION TEXT|-", "Send a message and print its number; - reads it from standard input", 2, "message", func(ctx context.Context, a *control.Client, c *cobra.Command, args []string) (any, error) {
		var err error
		if m.Body, err = argument(c, args[1]); err != nil {
			return nil, err
		}
		return a.Send(ctx, connection(args[0]), m)
	})
	keyFlag(c, &m.Key, "sends nothing again")
	c.Flags().BoolVar(&m.Notify, "notify", false, "ask the relay for a push notification")
	return c
}

func ackCommand(s *settings) *cobra.Command {
	var o agent.AckOptions
	c := command("ack CONNECTION MESSAGE", "Acknowledge a MSG or RCVD event", 2, func(c *cobra.Command, args []string) error {
		id, err := strconv.ParseInt(args[1], 10, 64)
		if err != nil {
			return fmt.Errorf("%w: %q is not the number of a message", errUsage, args[1])
		}
		return s.client(c, func(ctx context.Context, a *control.Client) error { return a.Ack(ctx, connection(args[0]), id, &o) })
	})
	c.Flags().BoolVar(&o.Receipt, "receipt", false, "tell the peer that the message arrived")
	return c
}

func resyncCommand(s *settings) *cobra.Command {
	var force bool
	c := s.order("resync CONNECTION", "Make a new ratchet with the peer, when messages cannot be opened any more", 1, func(ctx context.Context, a *control.Client, args []string) error {
		return a.ConnectionResync(ctx, connection(args[0]), force)
	})
	c.Flags().BoolVar(&force, "force", false, "although nothing says that it is needed, or again")
	return c
}

func switchCommand(s *settings) *cobra.Command {
	var abort bool
	c := s.order("switch CONNECTION", "Move the queue in which messages come in to another relay", 1, func(ctx context.Context, a *control.Client, args []string) error {
		if abort {
			return a.ConnectionSwitchAbort(ctx, connection(args[0]))
		}
		return a.ConnectionSwitch(ctx, connection(args[0]))
	})
	c.Flags().BoolVar(&abort, "abort", false, "give a switch up that the peer has not answered yet")
	return c
}

func deleteCommand(s *settings) *cobra.Command {
	var wait bool
	c := s.order("delete CONNECTION", "End a connection and remove its queues", 1, func(ctx context.Context, a *control.Client, args []string) error {
		return a.DeleteConnection(ctx, connection(args[0]), wait)
	})
	c.Flags().BoolVar(&wait, "wait", false, "deliver first what is queued, for at most two days")
	return c
}

func listCommand(s *settings) *cobra.Command {
	return command("ls", "List connections", 0, func(c *cobra.Command, _ []string) error {
		return s.client(c, func(ctx context.Context, a *control.Client) error {
			all, err := a.Connections(ctx)
			if err != nil {
				return err
			}
			if all == nil {
				all = []agent.ConnectionInfo{}
			}
			return s.output(c, all, func(w io.Writer) {
				for _, i := range all {
					printConnection(w, i)
				}
			})
		})
	})
}

func showCommand(s *settings) *cobra.Command {
	return command("show CONNECTION", "Show a connection", 1, func(c *cobra.Command, args []string) error {
		return s.client(c, func(ctx context.Context, a *control.Client) error {
			i, err := a.Connection(ctx, connection(args[0]))
			if err != nil {
				return err
			}
			return s.output(c, i, func(w io.Writer) {
				printConnection(w, i)
				if i.Link != "" {
					fmt.Fprintln(w, i.Link)
				}
			})
		})
	})
}

func printConnection(w io.Writer, i agent.ConnectionInfo) {
	online := "offline"
	if i.Online {
		online = "online"
	}
	if i.Ratchet != "" {
		online += ", re-synchronisation " + i.Ratchet
	}
	for _, phase := range []string{i.SwitchReceiving, i.SwitchSending} {
		if phase != "" {
			online += ", switch " + phase
		}
	}
	fmt.Fprintln(w, entity(i.ID), i.Kind, i.State, online)
}

func pingCommand(s *settings) *cobra.Command {
	return command("ping", "Ask the daemon whether it answers, and print its version", 0, func(c *cobra.Command, _ []string) error {
		return s.client(c, func(ctx context.Context, a *control.Client) error {
			if err := a.Ping(ctx); err != nil {
				return err
			}
			return s.output(c, map[string]any{"version": a.Version()}, func(w io.Writer) { fmt.Fprintln(w, "agent", a.Version()) })
		})
	})
}

func countersCommand(s *settings) *cobra.Command {
	return command("counters", "Print totals since the daemon started", 0, func(c *cobra.Command, _ []string) error {
		return s.client(c, func(_ context.Context, a *control.Client) error {
			n := a.Counters()
			return s.output(c, n, func(w io.Writer) {
				for _, kind := range slices.Sorted(maps.Keys(n.Sent)) {
					fmt.Fprintf(w, "agent messages of %s connections: %d\n", kind, n.Sent[kind])
				}
				for _, name := range slices.Sorted(maps.Keys(n.Commands)) {
					fmt.Fprintf(w, "relay command %s: %d\n", name, n.Commands[name])
				}
				fmt.Fprintf(w, "events dropped unread: %d\n", n.EventsDropped)
			})
		})
	})
}
