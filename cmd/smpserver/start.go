package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/coterie-im/coterie/queue/server"
	"github.com/coterie-im/coterie/queue/store/sqlite"
	"github.com/coterie-im/coterie/queue/transport"
)

const defaultGrace = 20 * time.Second

// errAborted says that a second signal came.
var errAborted = errors.New("aborted before everything was finished")

func newStart() *cobra.Command {
	var listen []string
	var host, addressFile, logLevel string
	c := &cobra.Command{
		Use:   "start",
		Short: "Run the relay",
		Long: `Runs the relay until SIGTERM or SIGINT, and prints its address when it is ready. A stopping relay finishes what it
has begun; a second signal aborts it. Nothing that was answered is lost in either case.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := relayDir(c)
			if err != nil {
				return err
			}
			config, err := loadConfig(dir)
			if err != nil {
				return err
			}
			if len(listen) > 0 {
				config.Listen = listen
			}
			if host != "" {
				config.Host = host
			}
			if logLevel != "" {
				config.Log.Level = logLevel
			}
			if err := config.check(); err != nil {
				return err
			}
			r := &runner{command: c, dir: dir, config: config, addressFile: addressFile}
			return r.run(c.Context())
		},
	}
	c.Flags().StringArrayVar(&listen, "listen", nil, "address to listen at, instead of the configured ones; port 0: any free one")
	c.Flags().StringVar(&host, "host", "", "host in the printed address, instead of the configured one")
	c.Flags().StringVar(&addressFile, "address-file", "", "write the address to this file when the relay is ready")
	c.Flags().StringVar(&logLevel, "log-level", "", "debug, info, warn or error (SMPSERVER_LOG_LEVEL)")
	return c
}

// runner is one run of the relay.
type runner struct {
	command     *cobra.Command
	dir         string
	config      config
	addressFile string
}

func (r *runner) run(ctx context.Context) (err error) {
	log, err := newLogger(r.command, r.config.Log.Level)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	identity, err := loadIdentity(r.dir)
	if err != nil {
		return err
	}
	storage, err := sqlite.Open(filepath.Join(r.dir, storeFile), sqlite.Options{
		Quota:     r.config.Queues.Quota,
		CacheSize: r.config.Store.CachedQueues,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, storage.Close()) }()
	listeners, err := r.listen()
	if err != nil {
		return err
	}
	relay, err := server.New(r.serverConfig(storage, identity, log))
	if err != nil {
		return err
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- relay.Serve(l) }()
	}
	if err := r.announce(identity, listeners); err != nil {
		return errors.Join(err, relay.Close())
	}
	log.Info("relay is ready")
	select {
	case <-signals:
	case <-ctx.Done():
	case err := <-failed:
		return errors.Join(err, relay.Close())
	}
	log.Info("relay is stopping")
	return r.shutdown(relay, signals)
}

func (r *runner) serverConfig(s *sqlite.Store, identity *transport.Identity, log *slog.Logger) server.Config {
	c := r.config
	return server.Config{
		Store:          s,
		Identity:       identity,
		Password:       c.Queues.Password,
		NoNewQueues:    c.Queues.New != nil && !*c.Queues.New,
		MessageTTL:     time.Duration(c.Messages.TTL),
		ExpireInterval: time.Duration(c.Messages.ExpireInterval),
		IdleTimeout:    time.Duration(c.Connections.IdleTimeout),
		EventDelay:     time.Duration(c.Connections.EventDelay),
		MaxConnections: c.Connections.Max,
		MaxPerAddress:  c.Connections.PerAddress,
		Log:            log,
	}
}

func (r *runner) listen() (all []net.Listener, err error) {
	for _, address := range r.config.Listen {
		l, err := net.Listen("tcp", address)
		if err != nil {
			for _, open := range all {
				_ = open.Close()
			}
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// announce tells the address with the port that the relay really listens at.
func (r *runner) announce(identity *transport.Identity, listeners []net.Listener) error {
	_, port, err := net.SplitHostPort(listeners[0].Addr().String())
	if err != nil {
		return err
	}
	address, err := r.config.address(identity, port)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(r.command.OutOrStdout(), address); err != nil {
		return err
	}
	if r.addressFile == "" {
		return nil
	}
	return writeFile(r.addressFile, []byte(address+"\n"))
}

// shutdown stops in two stages: until the grace period or the next signal ends, sessions finish; then they are aborted.
func (r *runner) shutdown(relay *server.Server, signals <-chan os.Signal) error {
	grace := time.Duration(r.config.ShutdownGrace)
	if grace == 0 {
		grace = defaultGrace
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- relay.Shutdown(ctx) }()
	select {
	case <-ended:
		return nil // sessions that did not finish in time have lost nothing that was answered
	case <-signals:
		cancel()
		<-ended
		return errAborted
	}
}

func newLogger(c *cobra.Command, level string) (*slog.Logger, error) {
	l := slog.LevelInfo
	if level != "" {
		if err := l.UnmarshalText([]byte(level)); err != nil {
			return nil, usageError{fmt.Errorf("log level %q: debug, info, warn or error", level)}
		}
	}
	return slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: l})), nil
}
