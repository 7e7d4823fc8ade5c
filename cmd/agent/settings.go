package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settings come from flags, then the environment, then the configuration file.
type settings struct {
	config string
	json   bool
	flag   values
}

// values are what the file and the flags can set; the environment's names are COTERIE_AGENT_ and these in capitals.
type values struct {
	Folder   string   `toml:"folder"`    // where store, key and socket are unless named
	Store    string   `toml:"store"`     // SQLite file
	KeyFile  string   `toml:"key_file"`  // opens the store; made at the first start
	Socket   string   `toml:"socket"`    // command socket
	Relays   []string `toml:"relays"`    // addresses for new queues
	LogLevel string   `toml:"log_level"` // error, warn, info, debug
	Passfile string   `toml:"passphrase_file"`
}

func (s *settings) flags(f *pflag.FlagSet) {
	f.StringVar(&s.config, "config", "", "configuration file (TOML)")
	f.StringVar(&s.flag.Folder, "folder", "", "folder of store, key and socket (default ~/.coterie)")
	f.StringVar(&s.flag.Store, "store", "", "store file (default agent.db in the folder)")
	f.StringVar(&s.flag.KeyFile, "key-file", "", "file with the key of the store, made at the first start (default agent.key in the folder)")
	f.StringVar(&s.flag.Passfile, "passphrase-file", "", "file with a passphrase that opens the store, instead of a key file")
	f.StringVar(&s.flag.Socket, "socket", "", "command socket (default agent.sock in the folder)")
	f.StringSliceVar(&s.flag.Relays, "relay", nil, "relay for new queues, smp://fingerprint@host[:port]; may be repeated")
	f.StringVar(&s.flag.LogLevel, "log-level", "", "error, warn, info or debug (default warn)")
	f.BoolVar(&s.json, "json", false, "print JSON")
}

// load merges the three sources and fills in defaults.
func (s *settings) load() (values, error) {
	var file values
	if path := cmp.Or(s.config, os.Getenv("COTERIE_AGENT_CONFIG")); path != "" {
		meta, err := toml.DecodeFile(path, &file)
		if err != nil {
			return values{}, fmt.Errorf("configuration: %w", err)
		}
		if unknown := meta.Undecoded(); len(unknown) > 0 {
			return values{}, fmt.Errorf("configuration: unknown key %s", unknown[0])
		}
	}
	pick := func(flag, env, file, other string) string {
		return cmp.Or(flag, os.Getenv("COTERIE_AGENT_"+env), file, other)
	}
	v := values{
		Folder:   pick(s.flag.Folder, "FOLDER", file.Folder, defaultFolder()),
		KeyFile:  pick(s.flag.KeyFile, "KEY_FILE", file.KeyFile, ""),
		Passfile: pick(s.flag.Passfile, "PASSPHRASE_FILE", file.Passfile, ""),
		LogLevel: pick(s.flag.LogLevel, "LOG_LEVEL", file.LogLevel, "warn"),
		Relays:   s.flag.Relays,
	}
	v.Store = pick(s.flag.Store, "STORE", file.Store, filepath.Join(v.Folder, "agent.db"))
	v.Socket = pick(s.flag.Socket, "SOCKET", file.Socket, filepath.Join(v.Folder, "agent.sock"))
	if v.KeyFile == "" && v.Passfile == "" {
		v.KeyFile = filepath.Join(v.Folder, "agent.key")
	}
	if env := os.Getenv("COTERIE_AGENT_RELAYS"); len(v.Relays) == 0 && env != "" {
		v.Relays = strings.Fields(env)
	}
	if len(v.Relays) == 0 {
		v.Relays = file.Relays
	}
	return v, nil
}

func defaultFolder() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ".coterie"
	}
	return filepath.Join(home, ".coterie")
}

// simple makes a command that only takes flags.
func simple(use, short string, run func(c *cobra.Command) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return run(c) }}
}
