// Command agent is the agent daemon and its one-shot commands: `agent start` owns queues, connections and groups and
// serves a command socket; `agent send`, `agent recv`, `agent group …` and the others are clients of that socket, made
// for scripts (docs/agent.md). The protocol is package agent/control; nothing is decided here.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set when the program is built.
var version = "unknown"

// Exit codes.
const (
	exitError  = 1 // the command did not succeed
	exitUsage  = 2 // wrong flags or arguments
	exitDaemon = 3 // no daemon answers at the socket
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "agent:", err)
	switch {
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, errDaemon):
		return exitDaemon
	default:
		return exitError
	}
}

var (
	errUsage  = errors.New("usage")
	errDaemon = errors.New("no agent daemon answers")
)

func newRoot() *cobra.Command {
	settings := &settings{}
	root := &cobra.Command{
		Use:           "agent",
		Short:         "Private messaging agent: queues, encrypted connections and groups, behind a command socket",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	settings.flags(root.PersistentFlags())
	root.AddCommand(startCommand(settings), versionCommand())
	root.AddCommand(connectionCommands(settings)...)
	root.AddCommand(groupCommand(settings), directCommand(settings), eventsCommand(settings), countersCommand(settings))
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "agent", version)
			return err
		},
	}
}

// exactly and noArgs are cobra's checks with the exit code of wrong usage.
func exactly(n int) cobra.PositionalArgs { return checked(cobra.ExactArgs(n)) }

func checked(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		return nil
	}
}

var noArgs = checked(cobra.NoArgs)
