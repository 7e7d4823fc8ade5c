// Smpserver is a relay of unidirectional message queues for the SimpleX Messaging Protocol (docs/relay.md). It has flags
// and wiring only; the relay is package queue/server, what it remembers is queue/store/sqlite.
//
// Exit status: 0 success, 1 the command failed, 2 the command line or the configuration is wrong, 3 the relay was aborted
// by a second signal before everything was finished.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

const (
	exitFailure = 1
	exitUsage   = 2
	exitAborted = 3
)

// usageError is a wrong command line or configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errOut io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return 0
	}
	fmt.Fprintln(errOut, "smpserver:", err)
	var usage usageError
	switch {
	case errors.Is(err, errAborted):
		return exitAborted
	case errors.As(err, &usage):
		return exitUsage
	default:
		return exitFailure
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "smpserver",
		Short: "Relay of message queues (SMP)",
		Long: `Relay of message queues for the SimpleX Messaging Protocol.

Everything of a relay is in one folder: its certificates, its configuration and its store.
Flags win over environment variables, environment variables over the configuration file.

Exit status: 0 success, 1 failure, 2 wrong command line or configuration, 3 aborted by a second signal.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          usageArgs(noCommand),
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().String("dir", "", "folder of the relay (SMPSERVER_DIR; default "+defaultDir+")")
	root.AddCommand(newInit(), newStart(), newStatus(), newVersion())
	return root
}

// noCommand names a command that does not exist.
func noCommand(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unknown command %q", args[0])
	}
	return nil
}

// usageArgs marks complaints about arguments as usage errors.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}
