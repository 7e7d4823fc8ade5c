package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/control"
)

// listening is what the commands that read events have in common.
type listening struct {
	settings *settings
	cursor   string
	count    int
	wait     time.Duration
	peek     bool
}

func (l *listening) flags(c *cobra.Command, cursor string) {
	c.Flags().StringVar(&l.cursor, "cursor", cursor, "name under which the daemon remembers what was read")
	c.Flags().IntVarP(&l.count, "count", "n", 0, "end after so many (0: go on until interrupted)")
	c.Flags().DurationVar(&l.wait, "wait", 0, "end after this time; with fewer than --count the exit status is 4")
}

// run gives events to handle until enough were counted. Each event is acknowledged behind it.
func (l *listening) run(c *cobra.Command, handle func(ctx context.Context, a *control.Client, e agent.Event) (counts bool, err error)) error {
	err := l.settings.client(c, func(ctx context.Context, a *control.Client) error {
		if l.wait > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, l.wait)
			defer cancel()
		}
		seen := 0
		for e, err := range a.Events(ctx, l.cursor) {
			if errors.Is(err, agent.ErrEventsLost) {
				fmt.Fprintln(c.ErrOrStderr(), "agent:", err)
				continue
			}
			if err != nil {
				return err
			}
			counts, err := handle(ctx, a, e)
			if err != nil {
				return err
			}
			if !l.peek {
				if err := a.AckEvent(ctx, l.cursor, e.Seq); err != nil {
					return err
				}
			}
			if counts {
				if seen++; seen == l.count {
					return nil
				}
			}
		}
		return nil
	})
	ended := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	switch {
	case ended && l.count == 0:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: fewer than %d came", errTimeout, l.count)
	default:
		return err
	}
}

func eventsCommand(s *settings) *cobra.Command {
	l := &listening{settings: s}
	var types []string
	c := command("events", "Print events as JSON lines as they come", 0, func(c *cobra.Command, _ []string) error {
		return l.run(c, func(_ context.Context, _ *control.Client, e agent.Event) (bool, error) {
			if len(types) > 0 && !slices.Contains(types, e.Data.Type()) {
				return false, nil
			}
			return true, writeJSON(c.OutOrStdout(), e)
		})
	})
	c.Long = `Prints events as JSON lines as they come, and remembers which were printed.

Messages are not acknowledged to the relays of their senders: "agent ack" does that, or "agent recv".`
	l.flags(c, "events")
	c.Flags().BoolVar(&l.peek, "peek", false, "do not remember what was printed")
	c.Flags().StringSliceVar(&types, "type", nil, "only events of these types, such as CONF,REQ; others are passed over")
	return c
}

func recvCommand(s *settings) *cobra.Command {
	l := &listening{settings: s}
	var receipt bool
	c := command("recv", "Print messages of connections and groups as they come, and acknowledge them", 0, func(c *cobra.Command, _ []string) error {
		return l.run(c, func(ctx context.Context, a *control.Client, e agent.Event) (isMessage bool, err error) {
			switch data := e.Data.(type) {
			case *agent.Message:
				err = s.output(c, e, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", e.Entity, printable(data.Body)) })
				if err == nil {
					err = ack(ctx, a, e, data.ID, receipt)
				}
				return true, err
			case *agent.GroupMessage:
				err = s.output(c, e, func(w io.Writer) {
					fmt.Fprintf(w, "%s %s %s\n", e.Entity, data.Message.Author, printable(data.Body))
				})
				return true, err
			case *agent.Received:
				return false, ack(ctx, a, e, data.ID, false)
			default:
				return false, nil
			}
		})
	})
	c.Long = `Prints messages of connections and groups as they come, each on a line behind the connection, or the group and its author.
Control characters and backslashes are escaped; --json prints whole events with the bytes as base64.

A message is acknowledged when it is printed: its relay forgets it, and it is not printed again. After a crash in between it is.
Other events are passed over.`
	l.flags(c, "recv")
	c.Flags().BoolVar(&receipt, "receipt", false, "tell the peers that messages arrived")
	return c
}

// ack acknowledges a message; another client, or this one before a crash, may have done so already.
func ack(ctx context.Context, a *control.Client, e agent.Event, message int64, receipt bool) error {
	err := a.Ack(ctx, e.Connection(), message, &agent.AckOptions{Receipt: receipt})
	if errors.Is(err, agent.ErrNoConnection) {
		return nil
	}
	return err
}

func dropCommand(s *settings) *cobra.Command {
	return s.order("drop CURSOR", "Forget a name under which events were read; until then the daemon keeps events for it", 1, func(ctx context.Context, a *control.Client, args []string) error {
		return a.DropCursor(ctx, args[0])
	})
}
