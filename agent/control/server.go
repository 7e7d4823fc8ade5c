package control

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	maxSessions = 64              // client connections at a time; further ones are told and closed
	closingTime = 5 * time.Second // how long a stopping server waits for commands under way and clients that do not read
	acceptPause = time.Second     // after a failure to accept, such as too many open files
)

// The first line that a client reads.
const (
	welcome = "Welcome to Coterie agent v"
	noPlace = "Busy: too many clients"
)

// Server serves an agent to the clients of a Unix socket.
type Server struct {
	agent    API
	version  string
	log      *slog.Logger
	listener *net.UnixListener

	mu       sync.Mutex
	sessions map[net.Conn]struct{} // guarded by mu
	closing  bool                  // guarded by mu
	running  sync.WaitGroup
}

// Listen makes the socket at path with mode 0600; its folder must exist. A socket that nobody serves any more is replaced;
// one that is served is ErrServed. version, one word, is told to clients. A nil logger is no log.
func Listen(path string, a API, version string, logger *slog.Logger) (*Server, error) {
	l, err := listen(path)
	if err != nil {
		return nil, err
	}
	return newServer(l, a, version, logger), nil
}

func newServer(l *net.UnixListener, a API, version string, logger *slog.Logger) *Server {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Server{agent: a, version: version, log: logger, listener: l, sessions: map[net.Conn]struct{}{}}
}

// Serve accepts clients until ctx ends and returns when all sessions are over and the socket is removed. It ends them in
// two stages: no new commands are read, commands under way are answered, those that wait for a relay with an error; after
// a few seconds the rest is cut off.
func (s *Server) Serve(ctx context.Context) {
	work, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	stop := context.AfterFunc(ctx, func() {
		s.close()
		time.AfterFunc(closingTime, abort)
	})
	defer stop()
	defer s.running.Wait()
	for {
		c, err := s.listener.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return
		case err != nil:
			s.log.Error("command socket: no client can connect", "error", err)
			s.pause(ctx)
		case !allowed(c):
			s.log.Warn("command socket: refused a process of another user")
			_ = c.Close()
		case !s.enter(c):
			s.log.Warn("command socket: too many clients", "limit", maxSessions)
			_, _ = c.Write([]byte(noPlace + "\r\n"))
			_ = c.Close()
		default:
			go s.serve(ctx, work, c)
		}
	}
}

func (s *Server) pause(ctx context.Context) {
	t := time.NewTimer(acceptPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// enter makes a place for a client; serve gives it back.
func (s *Server) enter(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || len(s.sessions) >= maxSessions {
		return false
	}
	s.sessions[c] = struct{}{}
	s.running.Add(1)
	return true
}

func (s *Server) serve(ctx, work context.Context, c net.Conn) {
	defer s.running.Done()
	newSession(s, c).run(ctx, work)
	_ = c.Close()
	s.mu.Lock()
	delete(s.sessions, c)
	s.mu.Unlock()
}

// close begins the end.
func (s *Server) close() {
	_ = s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	s.hangUp()
}

// hangUp lets sessions read nothing more, and gives them a little time to write. The caller holds mu.
func (s *Server) hangUp() {
	for c := range s.sessions {
		_ = c.SetReadDeadline(time.Unix(1, 0))
		_ = c.SetWriteDeadline(time.Now().Add(closingTime))
	}
}
