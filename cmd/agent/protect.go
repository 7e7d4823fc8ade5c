package main

import (
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// IDs, keys and invitations are base64url: some begin with a dash.
var dashedID = regexp.MustCompile(`^-[A-Za-z0-9_-]{15,}$`)

// shield stands before a dash; no argument of a process can have it.
const shield = "\x00"

// protect shields arguments that begin with a dash as some IDs do, so that they are not taken for flags.
func protect(root *cobra.Command, args []string) (out []string) {
	takesValue := map[string]bool{} // flags by their long names
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		note := func(f *pflag.Flag) { takesValue[f.Name] = f.NoOptDefVal == "" }
		c.PersistentFlags().VisitAll(note)
		c.Flags().VisitAll(note)
		for _, below := range c.Commands() {
			visit(below)
		}
	}
	visit(root)
	isValue := false
	for i, arg := range args {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		valued, isFlag := takesValue[name]
		isFlag = isFlag && strings.HasPrefix(arg, "--")
		switch {
		case arg == "--" && !isValue:
			return append(out, args[i:]...)
		case !isValue && !isFlag && dashedID.MatchString(arg):
			arg = shield + arg
		}
		isValue = !isValue && isFlag && valued && !strings.Contains(arg, "=")
		out = append(out, arg)
	}
	return out
}

// unprotected is the reverse of protect.
func unprotected(args []string) (out []string) {
	for _, arg := range args {
		out = append(out, strings.TrimPrefix(arg, shield))
	}
	return out
}
