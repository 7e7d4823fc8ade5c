package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/transport"
)

const (
	defaultDir = "/var/lib/smpserver"
	configFile = "smpserver.toml"
	storeFile  = "relay.db"
)

// duration is a time.Duration that is written as in "36h".
type duration time.Duration

// UnmarshalText reads "90s", "36h", or days as in "21d".
func (d *duration) UnmarshalText(text []byte) error {
	if days, ok := bytes.CutSuffix(text, []byte("d")); ok {
		n, err := strconv.Atoi(string(days))
		if err != nil || n < 0 || n > 36500 {
			return fmt.Errorf("%q is not a number of days", text)
		}
		*d = duration(n) * duration(24*time.Hour)
		return nil
	}
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration", text)
	}
	*d = duration(parsed)
	return nil
}

// config is the configuration file. Zero durations and numbers mean the defaults of the relay.
type config struct {
	Host   string   `toml:"host"`
	Listen []string `toml:"listen"`

	Queues struct {
		New      *bool  `toml:"new"`
		Password string `toml:"password"`
		Quota    int    `toml:"quota"`
	} `toml:"queues"`
	Messages struct {
		TTL            duration `toml:"ttl"`
		ExpireInterval duration `toml:"expire_interval"`
	} `toml:"messages"`
	Connections struct {
		Max         int      `toml:"max"`
		PerAddress  int      `toml:"per_address"`
		IdleTimeout duration `toml:"idle_timeout"`
		EventDelay  duration `toml:"event_delay"`
	} `toml:"connections"`
	Store struct {
		CachedQueues int `toml:"cached_queues"`
	} `toml:"store"`
	Log struct {
		Level string `toml:"level"`
	} `toml:"log"`
	ShutdownGrace duration `toml:"shutdown_grace"`
}

// configTemplate is what init writes; %s are the host and the listen address, quoted.
const configTemplate = `# Configuration of smpserver. Unknown keys are refused. Changes need a restart.

# How clients find the relay, with a port if that is not the one below; several names: "one.example,two.onion:5223".
host = %s
listen = [%s]

# How long a stopping relay waits for its clients before it disconnects them.
#shutdown_grace = "20s"

[queues]
#new = true           # false: nobody can create queues
#password = ""        # who wants to create queues must know it
#quota = 128          # messages that wait in one queue

[messages]
#ttl = "21d"          # messages that nobody fetched for so long are deleted
#expire_interval = "2h"

[connections]
#max = 65536
#per_address = 1024   # of one IPv4 address or IPv6 /64 network
#idle_timeout = "6h"  # without subscription and traffic
#event_delay = "500ms"

[store]
#cached_queues = 16384 # records of queues kept in memory that nobody uses at the moment

[log]
#level = "info"       # debug, info, warn, error
`

// relayDir returns the folder of the relay: flag, then environment, then default.
func relayDir(c *cobra.Command) (string, error) {
	dir, err := c.Flags().GetString("dir")
	if err != nil {
		return "", err
	}
	if dir == "" {
		dir = os.Getenv("SMPSERVER_DIR")
	}
	if dir == "" {
		dir = defaultDir
	}
	return filepath.Abs(dir)
}

var errNotInitialised = errors.New("there is no relay in this folder: run smpserver init")

// loadConfig reads the configuration file of a relay and puts environment variables over it.
func loadConfig(dir string) (config, error) {
	text, err := os.ReadFile(filepath.Join(dir, configFile))
	if errors.Is(err, fs.ErrNotExist) {
		return config{}, errNotInitialised
	}
	if err != nil {
		return config{}, err
	}
	c, err := parseConfig(string(text))
	if err != nil {
		return config{}, usageError{fmt.Errorf("%s: %w", configFile, err)}
	}
	if host, ok := os.LookupEnv("SMPSERVER_HOST"); ok {
		c.Host = host
	}
	if listen, ok := os.LookupEnv("SMPSERVER_LISTEN"); ok {
		c.Listen = []string{listen}
	}
	if password, ok := os.LookupEnv("SMPSERVER_PASSWORD"); ok {
		c.Queues.Password = password
	}
	if level, ok := os.LookupEnv("SMPSERVER_LOG_LEVEL"); ok {
		c.Log.Level = level
	}
	return c, nil
}

func parseConfig(text string) (config, error) {
	var c config
	meta, err := toml.Decode(text, &c)
	if err != nil {
		return config{}, err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return config{}, fmt.Errorf("unknown key %s", unknown[0])
	}
	return c, nil
}

// check reports what cannot work, before anything is touched.
func (c config) check() error {
	if _, _, err := queue.ParseHosts(c.Host); err != nil || c.Host == "" {
		return usageError{fmt.Errorf("host %q is not the name or address of a relay", c.Host)}
	}
	if len(c.Listen) == 0 {
		return usageError{errors.New("no address to listen at")}
	}
	for _, l := range c.Listen {
		if _, _, err := net.SplitHostPort(l); err != nil {
			return usageError{fmt.Errorf("listen address %q: %w", l, err)}
		}
	}
	if p := c.Queues.Password; p != "" && !queue.ValidPassword(p) {
		return usageError{errors.New("password has characters that an address cannot have (spaces and @ : /)")}
	}
	for _, n := range []int{c.Queues.Quota, c.Connections.Max, c.Connections.PerAddress, c.Store.CachedQueues} {
		if n < 0 {
			return usageError{errors.New("numbers in the configuration must not be negative")}
		}
	}
	// The others may be negative: never.
	for _, d := range []duration{c.Messages.ExpireInterval, c.Connections.EventDelay, c.ShutdownGrace} {
		if d < 0 {
			return usageError{errors.New("expire_interval, event_delay and shutdown_grace must not be negative")}
		}
	}
	return nil
}

// address is how clients find the relay; listening is the port it listens at, which counts unless host names another.
func (c config) address(identity *transport.Identity, listening string) (string, error) {
	hosts, port, err := queue.ParseHosts(c.Host)
	if err != nil {
		return "", usageError{fmt.Errorf("host %q: %w", c.Host, err)}
	}
	if port == "" {
		port = listening
	}
	if port == transport.DefaultPort {
		port = ""
	}
	return queue.Server{Fingerprint: identity.Fingerprint(), Hosts: hosts, Port: port}.Text(), nil
}
