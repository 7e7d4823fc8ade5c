package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/coterie-im/coterie/queue"
)

// version is set by the linker (-X main.version=…); empty in plain builds.
var version string

func newVersion() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version of the program and of the protocol",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			v := struct {
				Version string `json:"version"`
				SMP     string `json:"smp"`
			}{programVersion(), queue.Supported().String()}
			if asJSON {
				return printJSON(c, v)
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "smpserver %s, SMP %s\n", v.Version, v.SMP)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// programVersion is what the linker has set, or else that of the module.
func programVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
