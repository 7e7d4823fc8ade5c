package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/control"
)

// client runs a one-shot command with a connection to the daemon.
func (s *settings) client(c *cobra.Command, f func(context.Context, *control.Client) error) error {
	v, err := s.load()
	if err != nil {
		return err
	}
	a, err := control.Dial(c.Context(), v.Socket)
	if err != nil {
		return fmt.Errorf("%w: %w", errDaemon, err)
	}
	defer a.Close()
	return f(c.Context(), a)
}

// order makes a command with n arguments and no output.
func (s *settings) order(use, short string, n int, run func(ctx context.Context, a *control.Client, args []string) error) *cobra.Command {
	return command(use, short, n, func(c *cobra.Command, args []string) error {
		return s.client(c, func(ctx context.Context, a *control.Client) error { return run(ctx, a, args) })
	})
}

// printing makes a command with n arguments that prints one value, in JSON under a name. IDs are printed as entities.
func (s *settings) printing(use, short string, n int, name string, run func(ctx context.Context, a *control.Client, c *cobra.Command, args []string) (any, error)) *cobra.Command {
	return command(use, short, n, func(c *cobra.Command, args []string) error {
		return s.client(c, func(ctx context.Context, a *control.Client) error {
			v, err := run(ctx, a, c, args)
			if err != nil {
				return err
			}
			return s.output(c, map[string]any{name: v}, func(w io.Writer) { fmt.Fprintln(w, entity(v)) })
		})
	})
}

// output prints v as JSON with --json, else what text writes.
func (s *settings) output(c *cobra.Command, v any, text func(w io.Writer)) error {
	if s.json {
		return writeJSON(c.OutOrStdout(), v)
	}
	var b strings.Builder
	text(&b)
	_, err := io.WriteString(c.OutOrStdout(), b.String())
	return err
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printable makes one line of what somebody else wrote: a terminal must not obey it.
func printable(text []byte) string {
	quoted := strconv.Quote(string(text))
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// argument returns the text of an argument; "-" is what standard input has.
func argument(c *cobra.Command, text string) ([]byte, error) {
	if text != "-" {
		return []byte(text), nil
	}
	return io.ReadAll(c.InOrStdin())
}

// connection and group take IDs with or without the letter that events have in front of them.
func connection(arg string) agent.ConnectionID {
	return agent.ConnectionID(strings.TrimPrefix(arg, "C:"))
}

func group(arg string) agent.GroupID { return agent.GroupID(strings.TrimPrefix(arg, "G:")) }

// entity gives IDs the letter that events have in front of them, and returns other values as they are.
func entity(v any) any {
	switch id := v.(type) {
	case agent.ConnectionID:
		return "C:" + string(id)
	case agent.GroupID:
		return string(id.Entity())
	}
	return v
}
