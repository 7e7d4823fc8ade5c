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
	"os/signal"
	"path/filepath"
	"syscall"
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
	return simple("start", "Run the daemon until SIGTERM or SIGINT; a second signal ends it at once", func(c *cobra.Command) error {
		v, err := s.load()
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		return start(c, v)
	})
}

func start(c *cobra.Command, v values) error {
	ctx := c.Context()
	var level slog.Level
	if err := level.UnmarshalText([]byte(v.LogLevel)); err != nil {
		return fmt.Errorf("%w: log level %q", errUsage, v.LogLevel)
	}
	logger := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	for _, file := range []string{v.Store, v.Socket} {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
	}
	key, err := storeKey(v)
	if err != nil {
		return err
	}
	config := agent.Config{Store: v.Store, Key: key, Logger: logger}
	for _, text := range v.Relays {
		relay, err := queue.ParseServer(text)
		if err != nil {
			return fmt.Errorf("%w: relay: %w", errUsage, err)
		}
		config.Relays = append(config.Relays, relay)
	}
	a, err := agent.Open(ctx, config)
	if err != nil {
		return err
	}
	server, err := control.Listen(v.Socket, a, version, logger)
	if err != nil {
		return errors.Join(err, closeAgent(a))
	}
	if _, err := fmt.Fprintln(c.OutOrStdout(), "ready"); err != nil {
		return errors.Join(err, closeAgent(a))
	}
	server.Serve(ctx)
	return closeAgent(a)
}

// closeAgent gives operations that are under way their time; a second signal ends the process.
func closeAgent(a *agent.Agent) error {
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(again)
	ctx, cancel := context.WithTimeout(context.Background(), closingTime)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- a.Close(ctx) }()
	select {
	case err := <-closed:
		return err
	case <-again:
		return errors.New("ended by a second signal")
	}
}

// storeKey reads the key of the store. A key file is made if neither it nor the store exists.
func storeKey(v values) (store.Key, error) {
	if v.Passfile != "" {
		passphrase, err := os.ReadFile(v.Passfile)
		if err != nil {
			return store.Key{}, fmt.Errorf("passphrase file: %w", err)
		}
		passphrase = bytes.TrimRight(passphrase, "\r\n")
		if len(passphrase) == 0 {
			return store.Key{}, errors.New("passphrase file: empty")
		}
		return store.Passphrase(passphrase), nil
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
