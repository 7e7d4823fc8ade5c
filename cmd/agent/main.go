// Agent is the agent daemon and its one-shot commands: `agent start` owns queues, connections and groups and serves a
// command socket; `agent send`, `agent recv`, `agent group …` and the others are clients of that socket, made for scripts
// (docs/agent.md). The protocol is package agent/control; nothing is decided here.
//
// Exit status: 0 success, 1 the command failed, 2 the command line or the configuration is wrong, 3 no daemon answers, 4 what
// was waited for did not come in time.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/control"
)

// version is set when the program is built.
var version = "unknown"

const (
	exitFailure = 1
	exitUsage   = 2
	exitDaemon  = 3
	exitTimeout = 4
)

var (
	errUsage       = errors.New("usage")
	errDaemon      = errors.New("no agent daemon answers")
	errTimeout     = errors.New("not in time")
	errInterrupted = errors.New("interrupted; what was asked for may still be done")
)

func main() {
	// After the first signal the second has its default effect, which is the end.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot()
	root.SetArgs(protect(root, args))
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		err = errInterrupted
	}
	var told *control.Error
	if errors.As(err, &told) && told.Detail == "" {
		err = fmt.Errorf("%w: %s", err, control.Errors()[told.Code])
	}
	fmt.Fprintln(errOut, "agent:", err)
	switch {
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, errDaemon), errors.Is(err, agent.ErrClosed):
		return exitDaemon
	case errors.Is(err, errTimeout):
		return exitTimeout
	default:
		return exitFailure
	}
}

func newRoot() *cobra.Command {
	s := &settings{}
	root := family("agent", "Private messaging agent: queues, encrypted connections and groups, behind a command socket",
		startCommand(s), versionCommand(), pingCommand(s), countersCommand(s), eventsCommand(s), recvCommand(s), dropCommand(s),
		groupCommand(s), directCommand(s))
	root.AddCommand(connectionCommands(s)...)
	root.Long = `Private messaging agent: queues, encrypted connections and groups, behind a command socket.

"agent start" is the daemon, all other commands talk to it. Flags win over environment variables (COTERIE_AGENT_FOLDER,
COTERIE_AGENT_SOCKET, …), environment variables over the configuration file.

Exit status: 0 success, 1 failure, 2 wrong command line or configuration, 3 no daemon answers, 4 not in time.`
	root.Version = version
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	s.sharedFlags(root.PersistentFlags())
	return root
}

func versionCommand() *cobra.Command {
	return command("version", "Print the version", 0, func(c *cobra.Command, _ []string) error {
		_, err := fmt.Fprintln(c.OutOrStdout(), "agent", version)
		return err
	})
}

// command makes a command with n arguments.
func command(use, short string, n int, run func(c *cobra.Command, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: checked(cobra.ExactArgs(n)), RunE: func(c *cobra.Command, args []string) error {
		return run(c, unprotected(args))
	}}
}

// family makes a command that only has others below it.
func family(use, short string, members ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("%w: unknown command %q", errUsage, args[0])
		}
		return nil
	}
	c.AddCommand(members...)
	return c
}

// checked makes complaints about arguments usage errors.
func checked(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		return nil
	}
}
