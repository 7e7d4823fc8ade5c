package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"
)

// settings come from flags, then the environment, then the configuration file.
type settings struct {
	config string
	json   bool
	flag   values
}

// values are what file, environment and flags can set. The environment's names are COTERIE_AGENT_ and those of the file in
// capitals; relays are separated by spaces there.
type values struct {
	Folder         string   `toml:"folder"`          // where store, key and socket are unless named
	Socket         string   `toml:"socket"`          // command socket
	Store          string   `toml:"store"`           // SQLite file
	KeyFile        string   `toml:"key_file"`        // opens the store; made at the first start
	PassphraseFile string   `toml:"passphrase_file"` // opens the store instead
	Relays         []string `toml:"relays"`          // addresses for new queues
	Spread         string   `toml:"spread"`          // within which time a message leaves for the members of a group
	LogLevel       string   `toml:"log_level"`       // error, warn, info, debug

	Groups groupLimits `toml:"groups"` // only in the file
}

// sharedFlags are those of every command.
func (s *settings) sharedFlags(f *pflag.FlagSet) {
	f.StringVar(&s.config, "config", "", "configuration file, TOML (COTERIE_AGENT_CONFIG)")
	f.StringVar(&s.flag.Folder, "folder", "", "folder of store, key and socket (COTERIE_AGENT_FOLDER; default ~/.coterie)")
	f.StringVar(&s.flag.Socket, "socket", "", "command socket (COTERIE_AGENT_SOCKET; default agent.sock in the folder)")
	f.BoolVar(&s.json, "json", false, "print JSON")
}

// daemonFlags are those of the daemon only.
func (s *settings) daemonFlags(f *pflag.FlagSet) {
	f.StringVar(&s.flag.Store, "store", "", "store file (COTERIE_AGENT_STORE; default agent.db in the folder)")
	f.StringVar(&s.flag.KeyFile, "key-file", "", "file with the key of the store, made at the first start (COTERIE_AGENT_KEY_FILE; default agent.key in the folder)")
	f.StringVar(&s.flag.PassphraseFile, "passphrase-file", "", "file with a passphrase that opens the store, instead of a key file (COTERIE_AGENT_PASSPHRASE_FILE)")
	f.StringArrayVar(&s.flag.Relays, "relay", nil, "relay for new queues, smp://fingerprint@host[:port]; may be repeated (COTERIE_AGENT_RELAYS)")
	f.StringVar(&s.flag.Spread, "spread", "", "within which time, at random, a message leaves for the members of a group; 0: at once (COTERIE_AGENT_SPREAD; default 200ms)")
	f.StringVar(&s.flag.LogLevel, "log-level", "", "error, warn, info or debug (COTERIE_AGENT_LOG_LEVEL; default info)")
}

// load merges the three sources and fills in defaults. Its errors are errUsage.
func (s *settings) load() (values, error) {
	var file values
	if path := cmp.Or(s.config, os.Getenv("COTERIE_AGENT_CONFIG")); path != "" {
		meta, err := toml.DecodeFile(path, &file)
		if err != nil {
			return values{}, fmt.Errorf("%w: configuration: %w", errUsage, err)
		}
		if unknown := meta.Undecoded(); len(unknown) > 0 {
			return values{}, fmt.Errorf("%w: configuration: unknown key %s", errUsage, unknown[0])
		}
	}
	pick := func(flag, name, file, other string) string {
		return cmp.Or(flag, os.Getenv("COTERIE_AGENT_"+name), file, other)
	}
	v := values{
		Folder:         pick(s.flag.Folder, "FOLDER", file.Folder, ""),
		KeyFile:        pick(s.flag.KeyFile, "KEY_FILE", file.KeyFile, ""),
		PassphraseFile: pick(s.flag.PassphraseFile, "PASSPHRASE_FILE", file.PassphraseFile, ""),
		Spread:         pick(s.flag.Spread, "SPREAD", file.Spread, "200ms"),
		LogLevel:       pick(s.flag.LogLevel, "LOG_LEVEL", file.LogLevel, "info"),
		Relays:         s.flag.Relays,
		Groups:         file.Groups,
	}
	if err := v.Groups.check(); err != nil {
		return values{}, err
	}
	if v.Folder == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return values{}, fmt.Errorf("%w: no --folder: %w", errUsage, err)
		}
		v.Folder = filepath.Join(home, ".coterie")
	}
	v.Store = pick(s.flag.Store, "STORE", file.Store, filepath.Join(v.Folder, "agent.db"))
	v.Socket = pick(s.flag.Socket, "SOCKET", file.Socket, filepath.Join(v.Folder, "agent.sock"))
	switch {
	case v.KeyFile != "" && v.PassphraseFile != "":
		return values{}, fmt.Errorf("%w: a key file or a passphrase file, not both", errUsage)
	case v.KeyFile == "" && v.PassphraseFile == "":
		v.KeyFile = filepath.Join(v.Folder, "agent.key")
	}
	if len(v.Relays) == 0 {
		v.Relays = strings.Fields(os.Getenv("COTERIE_AGENT_RELAYS"))
	}
	if len(v.Relays) == 0 {
		v.Relays = file.Relays
	}
	return v, nil
}
