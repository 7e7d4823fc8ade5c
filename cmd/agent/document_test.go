package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Every command is in a script and in docs/agent.md, every setting in its table.
func TestCommandsAreTriedAndDocumented(t *testing.T) {
	document, err := os.ReadFile("../../docs/agent.md")
	must(t, err)
	_, section, ok := strings.Cut(string(document), "## Commands for scripts")
	if !ok {
		t.Fatal("docs/agent.md has no section about commands")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	files, err := filepath.Glob("testdata/script/*.txtar")
	must(t, err)
	var scripts strings.Builder
	for _, file := range files {
		script, err := os.ReadFile(file)
		must(t, err)
		scripts.Write(script)
	}
	commands := 0
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, below := range c.Commands() {
			visit(below)
		}
		path := strings.TrimPrefix(c.CommandPath(), "agent ")
		if c.HasSubCommands() || !c.HasParent() {
			return
		}
		commands++
		tried := regexp.MustCompile(`(?m)^(! )?(as \w+|until \S+ \w+|until '[^']*' \w+|status 0( --\w+ \S+)?|daemon) ?` + path + `( |$)`)
		if path != "start" && !tried.MatchString(scripts.String()) {
			t.Errorf("%q is in no script", path)
		}
		words := strings.Fields(path)
		if !regexp.MustCompile("`(" + words[0] + " )?" + words[len(words)-1] + "[ `]").MatchString(section) {
			t.Errorf("%q is not in docs/agent.md", path)
		}
	}
	visit(newRoot())
	if commands < 35 {
		t.Errorf("only %d commands", commands)
	}
	root := newRoot()
	start, _, err := root.Find([]string{"start"})
	must(t, err)
	setting := func(f *pflag.Flag) {
		if f.Name != "json" && f.Name != "help" && !strings.Contains(string(document), "`--"+f.Name+"`") {
			t.Errorf("--%s is not in docs/agent.md", f.Name)
		}
	}
	root.PersistentFlags().VisitAll(setting)
	start.LocalNonPersistentFlags().VisitAll(setting)
}
