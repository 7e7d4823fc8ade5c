package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/control"
	"github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/queue"
)

// closingTime is how long a daemon that was asked to stop waits for relays.
const closingTime = 10 * time.Second

func startCommand(s *settings) *cobra.Command {
	c := command("start", "Run the daemon", 0, func(c *cobra.Command, _ []string) error {
		v, err := s.load()
		if err != nil {
			return err
		}
		return start(c, v)
	})
	c.Long = `Runs the daemon until SIGTERM or SIGINT and prints "ready" when the command socket can be used. A stopping daemon answers
the commands that are under way and waits a little for relays; a second signal ends it at once. Nothing is lost in either case.

The first start makes the folder, the store and its key. Whoever has both reads everything: keep the key file somewhere else
than backups of the store.`
	s.daemonFlags(c.Flags())
	return c
}

func start(c *cobra.Command, v values) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(v.LogLevel)); err != nil {
		return fmt.Errorf("%w: log level %q: error, warn, info or debug", errUsage, v.LogLevel)
	}
	logger := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	spread, err := time.ParseDuration(v.Spread)
	if err != nil || spread < 0 || spread > time.Minute {
		return fmt.Errorf("%w: spread %q: a time like 200ms, at most 1m", errUsage, v.Spread)
	}
	if spread == 0 {
		spread = -1 // for package agent, zero is the default
	}
	config := agent.Config{Store: v.Store, Logger: logger, Spread: spread, GroupLimits: v.Groups.limits()}
	for _, text := range v.Relays {
		relay, err := queue.ParseServer(text)
		if err != nil {
			return fmt.Errorf("%w: relay: %w", errUsage, err)
		}
		config.Relays = append(config.Relays, relay)
	}
	for _, file := range []string{v.Store, v.Socket} {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
	}
	if config.Key, err = storeKey(v); err != nil {
		return err
	}
	a, err := agent.Open(c.Context(), config)
	if err != nil {
		return err
	}
	err = serve(c, v, a, logger)
	ctx, cancel := context.WithTimeout(context.Background(), closingTime)
	defer cancel()
	return errors.Join(err, a.Close(ctx))
}

// serve serves the command socket until the command's context ends.
func serve(c *cobra.Command, v values, a *agent.Agent, logger *slog.Logger) error {
	server, err := control.Listen(v.Socket, a, version, logger)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	if _, err = fmt.Fprintln(c.OutOrStdout(), "ready"); err != nil {
		cancel()
	}
	logger.Info("agent is ready")
	server.Serve(ctx)
	logger.Info("agent is stopping")
	return err
}

// storeKey reads the key of the store. A key file is made if neither it nor the store exists.
func storeKey(v values) (store.Key, error) {
	if v.PassphraseFile != "" {
		return readPassphrase(v.PassphraseFile)
	}
	key, err := store.ReadKeyFile(v.KeyFile)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if _, missing := os.Stat(v.Store); missing == nil {
		return store.Key{}, fmt.Errorf("the store exists but its key does not: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(v.KeyFile), 0o700); err != nil {
		return store.Key{}, err
	}
	return store.WriteKeyFile(v.KeyFile, rand.Reader)
}

// readPassphrase reads the first line of a file that nobody else can read.
func readPassphrase(path string) (store.Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return store.Key{}, fmt.Errorf("passphrase file: %w", err)
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return store.Key{}, errors.New("passphrase file: others can read it; its mode should be 0600")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return store.Key{}, fmt.Errorf("passphrase file: %w", err)
	}
	defer clear(text)
	line, _, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return store.Key{}, errors.New("passphrase file: the first line is empty")
	}
	return store.Passphrase(line), nil
}
