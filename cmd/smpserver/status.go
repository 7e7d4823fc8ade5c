package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/coterie-im/coterie/queue/store/sqlite"
)

// status is what an operator sees of a relay without asking it.
type status struct {
	Address  string `json:"address"`
	Running  bool   `json:"running"`
	Queues   int64  `json:"queues"`
	Messages int64  `json:"messages"`
	Bytes    int64  `json:"bytes"` // size of the store on disk
}

func newStatus() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Print address and totals of the relay, running or not",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := relayDir(c)
			if err != nil {
				return err
			}
			s, err := readStatus(dir)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c, s)
			}
			state := "stopped"
			if s.Running {
				state = "running"
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "address   %s\nstate     %s\nqueues    %d\nmessages  %d\nstore     %d bytes\n",
				s.Address, state, s.Queues, s.Messages, s.Bytes)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func readStatus(dir string) (status, error) {
	config, err := loadConfig(dir)
	if err != nil {
		return status{}, err
	}
	if err := config.check(); err != nil {
		return status{}, err
	}
	identity, err := loadIdentity(dir)
	if err != nil {
		return status{}, err
	}
	_, port, err := net.SplitHostPort(config.Listen[0])
	if err != nil {
		return status{}, err
	}
	address, err := config.address(identity, port)
	if err != nil {
		return status{}, err
	}
	s := status{Address: address}
	inspection, err := sqlite.Inspect(filepath.Join(dir, storeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil // never started
	}
	s.Running, s.Bytes = inspection.InUse, inspection.Bytes
	s.Queues, s.Messages = inspection.Counts.Queues, inspection.Counts.Messages
	return s, err
}
