package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/control"
)

// withDaemon runs a one-shot command with a connection to the daemon.
func withDaemon(s *settings, c *cobra.Command, f func(context.Context, *control.Client) error) error {
	v, err := s.load()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	client, err := control.Dial(c.Context(), v.Socket)
	if err != nil {
		return fmt.Errorf("%w: %w", errDaemon, err)
	}
	defer client.Close()
	return f(c.Context(), client)
}

// output prints v as JSON with --json, else as the lines that text writes.
func output(s *settings, c *cobra.Command, v any, text func(w io.Writer)) error {
	if !s.json {
		var b bytes.Buffer
		text(&b)
		_, err := c.OutOrStdout().Write(b.Bytes())
		return err
	}
	return json.NewEncoder(c.OutOrStdout()).Encode(v)
}

// argument returns the text of an argument; "-" is what standard input has.
func argument(c *cobra.Command, text string) ([]byte, error) {
	if text != "-" {
		return []byte(text), nil
	}
	return io.ReadAll(c.InOrStdin())
}

func connectionCommands(s *settings) []*cobra.Command {
	return []*cobra.Command{
		newCommand(s), joinCommand(s), allowCommand(s), acceptCommand(s), rejectCommand(s), sendCommand(s), recvCommand(s),
		ackCommand(s), retryCommand(s), deleteCommand(s), listCommand(s),
	}
}

func newCommand(s *settings) *cobra.Command {
	var o agent.CreateOptions
	c := simple("new", "Make a one-time link, or with --contact a contact address, and print the connection and the link", func(c *cobra.Command) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			id, link, err := a.CreateConnection(ctx, o)
			if err != nil {
				return err
			}
			return output(s, c, map[string]any{"connection": id, "link": link}, func(w io.Writer) { fmt.Fprintf(w, "%s\n%s\n", id, link) })
		})
	})
	c.Flags().BoolVar(&o.Contact, "contact", false, "an address that anybody may use, again and again")
	c.Flags().StringVar(&o.Key, "key", "", "a repeat with the same key returns the same connection")
	return c
}

func joinCommand(s *settings) *cobra.Command {
	var o agent.JoinOptions
	var info string
	c := &cobra.Command{Use: "join LINK", Short: "Join a link and print the connection", Args: exactly(1), RunE: func(c *cobra.Command, args []string) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			o.Info = []byte(info)
			id, err := a.JoinConnection(ctx, args[0], o)
			if err != nil {
				return err
			}
			return output(s, c, map[string]any{"connection": id}, func(w io.Writer) { fmt.Fprintln(w, id) })
		})
	}}
	c.Flags().StringVar(&info, "info", "", "what the peer gets to know")
	c.Flags().StringVar(&o.Key, "key", "", "a repeat with the same key returns the same connection")
	return c
}

func allowCommand(s *settings) *cobra.Command {
	var info string
	c := &cobra.Command{Use: "allow CONNECTION CONFIRMATION", Short: "Let the peer of a CONF event in", Args: exactly(2), RunE: func(c *cobra.Command, args []string) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			return a.Allow(ctx, agent.ConnectionID(args[0]), args[1], []byte(info))
		})
	}}
	c.Flags().StringVar(&info, "info", "", "what the peer gets to know")
	return c
}

func acceptCommand(s *settings) *cobra.Command {
	var info string
	c := &cobra.Command{Use: "accept ADDRESS REQUEST", Short: "Accept a REQ event and print the new connection", Args: exactly(2), RunE: func(c *cobra.Command, args []string) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			id, err := a.Accept(ctx, agent.ConnectionID(args[0]), args[1], []byte(info))
			if err != nil {
				return err
			}
			return output(s, c, map[string]any{"connection": id}, func(w io.Writer) { fmt.Fprintln(w, id) })
		})
	}}
	c.Flags().StringVar(&info, "info", "", "what the peer gets to know")
	return c
}

func rejectCommand(s *settings) *cobra.Command {
	return &cobra.Command{Use: "reject ADDRESS REQUEST", Short: "Forget a REQ event; the peer is not told", Args: exactly(2), RunE: func(c *cobra.Command, args []string) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			return a.Reject(ctx, agent.ConnectionID(args[0]), args[1])
		})
	}}
}

func sendCommand(s *settings) *cobra.Command {
	var m agent.Outgoing
	c := &cobra.Command{Use: "send CONNECTION TEXT|-", Short: "Send a message and print its number; - reads it from standard input", Args: exactly(2), RunE: func(c *cobra.Command, args []string) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			var err error
			if m.Body, err = argument(c, args[1]); err != nil {
				return err
			}
			id, err := a.Send(ctx, agent.ConnectionID(args[0]), m)
			if err != nil {
				return err
			}
			return output(s, c, map[string]any{"message": id}, func(w io.Writer) { fmt.Fprintln(w, id) })
		})
	}}
	c.Flags().StringVar(&m.Key, "key", "", "a repeat with the same key sends nothing again")
	c.Flags().BoolVar(&m.Notify, "notify", false, "ask the relay for a push notification")
	return c
}

func recvCommand(s *settings) *cobra.Command {
	var count int
	var wait time.Duration
	var receipt bool
	var cursor string
	c := simple("recv", "Print messages of connections and groups as they come, and acknowledge them", func(c *cobra.Command) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			if wait > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, wait)
				defer cancel()
			}
			return receive(ctx, s, c, a, cursor, count, receipt)
		})
	})
	c.Flags().IntVarP(&count, "count", "n", 0, "end after so many messages (0: go on)")
	c.Flags().DurationVar(&wait, "wait", 0, "end after this time; fewer messages than --count are then an error")
	c.Flags().BoolVar(&receipt, "receipt", false, "tell the peers that messages arrived")
	c.Flags().StringVar(&cursor, "cursor", "recv", "name under which the daemon remembers what was read")
	return c
}

func receive(ctx context.Context, s *settings, c *cobra.Command, a *control.Client, cursor string, count int, receipt bool) error {
	seen := 0
	for e, err := range a.Events(ctx, cursor) {
		if errors.Is(err, agent.ErrEventsLost) {
			fmt.Fprintln(os.Stderr, "agent: events were dropped before they were read")
			continue
		}
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) && count == 0 {
				return nil
			}
			return err
		}
		isMessage := true
		switch data := e.Data.(type) {
		case *agent.Message:
			if err = printMessage(s, c, e, data.Body); err == nil {
				err = a.Ack(ctx, e.Connection(), data.ID, &agent.AckOptions{Receipt: receipt})
			}
		case *agent.GroupMessage:
			err = printMessage(s, c, e, data.Body)
		case *agent.Received:
			isMessage = false
			err = a.Ack(ctx, e.Connection(), data.ID, nil)
		default:
			isMessage = false
		}
		if err != nil {
			return err
		}
		if err := a.AckEvent(ctx, cursor, e.Seq); err != nil {
			return err
		}
		if isMessage {
			if seen++; seen == count {
				return nil
			}
		}
	}
	return nil
}

func printMessage(s *settings, c *cobra.Command, e agent.Event, body []byte) error {
	return output(s, c, e, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", e.Entity, body) })
}

func ackCommand(s *settings) *cobra.Command {
	var o agent.AckOptions
	var id int64
	c := &cobra.Command{Use: "ack CONNECTION MESSAGE", Short: "Acknowledge a MSG or RCVD event", Args: exactly(2), RunE: func(c *cobra.Command, args []string) error {
		if _, err := fmt.Sscan(args[1], &id); err != nil {
			return fmt.Errorf("%w: message number", errUsage)
		}
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			return a.Ack(ctx, agent.ConnectionID(args[0]), id, &o)
		})
	}}
	c.Flags().BoolVar(&o.Receipt, "receipt", false, "tell the peer that the message arrived")
	return c
}

func retryCommand(s *settings) *cobra.Command {
	return &cobra.Command{Use: "retry CONNECTION", Short: "Try again now what waits for a later attempt", Args: exactly(1), RunE: func(c *cobra.Command, args []string) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			return a.Retry(ctx, agent.ConnectionID(args[0]))
		})
	}}
}

func deleteCommand(s *settings) *cobra.Command {
	var wait bool
	c := &cobra.Command{Use: "delete CONNECTION", Short: "End a connection and remove its queues", Args: exactly(1), RunE: func(c *cobra.Command, args []string) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			return a.DeleteConnection(ctx, agent.ConnectionID(args[0]), wait)
		})
	}}
	c.Flags().BoolVar(&wait, "wait", false, "deliver first what is queued, for at most two days")
	return c
}

func listCommand(s *settings) *cobra.Command {
	return simple("ls", "List connections", func(c *cobra.Command) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			all, err := a.Connections(ctx)
			if err != nil {
				return err
			}
			return output(s, c, all, func(w io.Writer) {
				for _, i := range all {
					online := "offline"
					if i.Online {
						online = "online"
					}
					fmt.Fprintf(w, "%s %s %s %s\n", i.ID, i.Kind, i.State, online)
				}
			})
		})
	})
}

func eventsCommand(s *settings) *cobra.Command {
	var cursor string
	var ack bool
	c := simple("events", "Print all events as JSON lines as they come", func(c *cobra.Command) error {
		return withDaemon(s, c, func(ctx context.Context, a *control.Client) error {
			encoder := json.NewEncoder(c.OutOrStdout())
			for e, err := range a.Events(ctx, cursor) {
				if errors.Is(err, agent.ErrEventsLost) {
					fmt.Fprintln(os.Stderr, "agent: events were dropped before they were read")
					continue
				}
				if err != nil {
					return err
				}
				if err := encoder.Encode(e); err != nil {
					return err
				}
				if !ack {
					continue
				}
				if err := a.AckEvent(ctx, cursor, e.Seq); err != nil {
					return err
				}
			}
			return nil
		})
	})
	c.Flags().StringVar(&cursor, "cursor", "events", "name under which the daemon remembers what was read")
	c.Flags().BoolVar(&ack, "ack", false, "acknowledge each event once it is printed; messages are not acknowledged to their senders' relays")
	return c
}

func countersCommand(s *settings) *cobra.Command {
	return simple("counters", "Print totals since the daemon started", func(c *cobra.Command) error {
		return withDaemon(s, c, func(_ context.Context, a *control.Client) error {
			n := a.Counters()
			return output(s, c, n, func(w io.Writer) {
				for kind, sent := range n.Sent {
					fmt.Fprintf(w, "agent messages of %s connections: %d\n", kind, sent)
				}
				for name, count := range n.Commands {
					fmt.Fprintf(w, "relay command %s: %d\n", name, count)
				}
			})
		})
	})
}
