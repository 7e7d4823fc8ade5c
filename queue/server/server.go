// Package server is the relay: it accepts connections, checks and runs the commands of clients, and delivers messages to
// subscribers (docs/protocol.md, "Relay protocol").
//
// A connection is a session of two goroutines. The reader decodes blocks and runs their commands one after the other;
// what a command changes is decided by the store at once, and its answer waits for the change to be durable. The writer
// sends answers in the order of the commands, and events between them; it fetches message bodies when there is room for
// them on the wire, so a slow reader costs the relay no memory.
//
// Legality is data: the command table of package queue says which credentials a command needs, dispatch checks them and
// finds the queue, and handlers check only what is theirs. Queues, keys and messages are the store's (queue/store);
// subscriptions, outstanding deliveries and notifications are here, in memory only.
//
// It is not for proxying to other relays: PRXY and PFWD are answered as by a relay on which that is off.
package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
	"github.com/coterie-im/coterie/queue/transport"
)

// Config says how a relay works. Store and Identity are needed, zero values of the others mean the defaults.
type Config struct {
	Store    store.Store
	Identity *transport.Identity
	Versions queue.VersionRange // announced; queue.Supported

	Password    string // needed to create queues; empty: none
	NoNewQueues bool   // refuse to create queues

	MessageTTL     time.Duration // messages older than this are deleted; 21 days, negative: never
	ExpireInterval time.Duration // how often to look for them, and once at the start; 2 hours
	IdleTimeout    time.Duration // connections without subscription and traffic are closed; 6 hours, negative: never
	IdleInterval   time.Duration // how often to look for them; 10 minutes
	EventDelay     time.Duration // END and DELD are collected for so long; 0.5 seconds
	NotifyDelay    time.Duration // NMSG are collected for so long; 1.5 seconds
	NotifyTTL      time.Duration // notifications that nobody took are dropped; 24 hours
	WriteTimeout   time.Duration // a client that does not read a block for so long is disconnected; 1 minute
	HandshakeLimit time.Duration // for TLS and hellos; transport.DefaultHandshakeTimeout

	MaxConnections int // more are closed at once; 65,536
	MaxPerAddress  int // the same for one IPv4 address or IPv6 /64 network; 1,024

	Log  *slog.Logger     // nothing about queues, clients or sizes gets there; default: no log
	Now  func() time.Time // time.Now
	Rand io.Reader        // crypto/rand.Reader
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.MessageTTL, 21 * 24 * time.Hour},
		{&c.ExpireInterval, 2 * time.Hour},
		{&c.IdleTimeout, 6 * time.Hour},
		{&c.IdleInterval, 10 * time.Minute},
		{&c.EventDelay, 500 * time.Millisecond},
		{&c.NotifyDelay, 1500 * time.Millisecond},
		{&c.NotifyTTL, 24 * time.Hour},
		{&c.WriteTimeout, time.Minute},
		{&c.HandshakeLimit, transport.DefaultHandshakeTimeout},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 65536
	}
	if c.MaxPerAddress == 0 {
		c.MaxPerAddress = 1024
	}
	if c.Versions == (queue.VersionRange{}) {
		c.Versions = queue.Supported()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
}

// ErrClosed is what Serve returns after Shutdown or Close.
var ErrClosed = errors.New("relay is closed")

// Server is a relay. It does not own the store: close that after Shutdown.
type Server struct {
	config        Config // static
	store         store.Store
	counters      counters
	subscriptions *subscriptions
	events        *events
	notifications *notifications

	storeErrorLogged atomic.Int64 // when, seconds since 1970

	ctx       context.Context // of commands; ends when they are aborted
	abort     context.CancelFunc
	accepting context.Context // of handshakes and periodic work; ends when the shutdown begins
	stop      context.CancelFunc
	work      sync.WaitGroup // sessions, handshakes and periodic work

	mu        sync.Mutex
	closing   bool                      // guarded by mu, like the rest
	listeners map[net.Listener]struct{} // being served
	sessions  map[*session]struct{}
	addresses map[string]int // connections by address, for the limit
	total     int            // connections, with those in the handshake
}

// New returns a relay that serves nothing yet. It starts to delete old messages.
func New(config Config) (*Server, error) {
	if config.Store == nil || config.Identity == nil {
		return nil, errors.New("relay needs a store and an identity")
	}
	config.setDefaults()
	s := &Server{
		config:        config,
		store:         config.Store,
		subscriptions: newSubscriptions(),
		listeners:     make(map[net.Listener]struct{}),
		sessions:      make(map[*session]struct{}),
		addresses:     make(map[string]int),
	}
	s.ctx, s.abort = context.WithCancel(context.Background())
	s.accepting, s.stop = context.WithCancel(s.ctx)
	s.events = newEvents(config.EventDelay, &s.counters, s.subscriptions)
	s.notifications = newNotifications(s)
	s.work.Go(s.housekeeping)
	return s, nil
}

// Serve accepts connections until Shutdown or Close, when it returns ErrClosed, or until the listener fails. It closes
// the listener.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	for {
		conn, err := l.Accept()
		if err == nil {
			s.accept(conn)
			continue
		}
		if s.isClosing() {
			return ErrClosed
		}
		if !temporary(err) {
			return fmt.Errorf("accept connections: %w", err)
		}
		// Out of file descriptors or memory: give the sessions time to end.
		s.counters.acceptErrors.Add(1)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-s.accepting.Done():
		}
	}
}

func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// accept starts a session on conn, unless there are too many.
func (s *Server) accept(conn net.Conn) {
	address := addressKey(conn.RemoteAddr())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || s.total >= s.config.MaxConnections || s.addresses[address] >= s.config.MaxPerAddress {
		s.counters.refused.Add(1)
		_ = conn.Close()
		return
	}
	s.total++
	s.addresses[address]++
	s.work.Go(func() { s.serve(conn, address) })
}

func (s *Server) leave(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.addresses[address]--; s.addresses[address] == 0 {
		delete(s.addresses, address)
	}
}

// serve runs the handshake of one connection and starts its session. The session has a goroutine of its own, because the
// handshake leaves a stack that is much larger than what a waiting session needs.
func (s *Server) serve(conn net.Conn, address string) {
	c, err := transport.Server(s.accepting, conn, transport.ServerConfig{
		Identity:         s.config.Identity,
		Versions:         s.config.Versions,
		HandshakeTimeout: s.config.HandshakeLimit,
	})
	if err != nil {
		s.counters.handshakeErrors.Add(1)
		s.leave(address)
		return
	}
	session := newSession(s, c)
	if !s.register(session) {
		_ = c.Close()
		s.leave(address)
		return
	}
	s.counters.sessions.Add(1)
	s.work.Go(func() {
		session.run()
		s.mu.Lock()
		delete(s.sessions, session)
		s.mu.Unlock()
		s.leave(address)
	})
}

func (s *Server) register(session *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.sessions[session] = struct{}{}
	return true
}

// Shutdown stops taking connections and commands, lets the sessions send what they have decided, and returns when all of
// them have ended. When ctx ends first, it aborts them and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, session := range s.stopAccepting() {
		session.drain()
	}
	ended := make(chan struct{})
	go func() {
		s.work.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		s.abort()
		return nil
	case <-ctx.Done():
		s.closeSessions()
		<-ended
		return ctx.Err()
	}
}

// Close ends everything at once. What was answered is in the store.
func (s *Server) Close() error {
	s.stopAccepting()
	s.closeSessions()
	s.work.Wait()
	return nil
}

// stopAccepting begins the shutdown and returns the sessions that are left.
func (s *Server) stopAccepting() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	s.stop()
	s.events.stop()
	s.notifications.stop()
	for l := range s.listeners {
		_ = l.Close()
	}
	all := make([]*session, 0, len(s.sessions))
	for session := range s.sessions {
		all = append(all, session)
	}
	return all
}

// closeSessions gives up what is running.
func (s *Server) closeSessions() {
	s.abort()
	s.mu.Lock()
	defer s.mu.Unlock()
	for session := range s.sessions {
		go session.close()
	}
}
