// Command coterie is the chat app. `coterie chat` is a chat line by line with a running agent. `coterie demo` is the
// demonstration that README begins with: it starts a relay and agents as separate processes on loopback, lets a group of
// friends talk through everything that may happen to them, shows it, and checks that all agree at the end. The app itself
// is package chat; nothing is decided here.
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
	exitError = 1 // the command did not succeed, or the demonstration found a difference
	exitUsage = 2 // wrong flags or arguments
)

var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newRoot().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "coterie:", err)
		if errors.Is(err, errUsage) {
			os.Exit(exitUsage)
		}
		os.Exit(exitError)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: "coterie", Short: "Private group chat without user identifiers", Version: version,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.AddCommand(demoCommand(), chatCommand(), &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "coterie", version)
			return err
		},
	})
	return root
}
