package server

import (
	"errors"
	"time"

	"github.com/coterie-im/coterie/queue/store"
)

// housekeeping does the periodic work until the relay is closed.
func (s *Server) housekeeping() {
	expiry := time.NewTicker(s.config.ExpireInterval)
	defer expiry.Stop()
	idleness := time.NewTicker(s.config.IdleInterval)
	defer idleness.Stop()
	s.expireMessages()
	for {
		select {
		case <-s.accepting.Done():
			return
		case <-expiry.C:
			s.expireMessages()
		case <-idleness.C:
			s.closeIdle()
			s.notifications.expire(s.config.Now().Add(-s.config.NotifyTTL).Unix())
		}
	}
}

// expireMessages deletes messages that are older than the configured time.
func (s *Server) expireMessages() {
	if s.config.MessageTTL < 0 {
		return
	}
	n, err := s.store.Expire(s.accepting, s.config.Now().Add(-s.config.MessageTTL).Unix())
	s.counters.expired.Add(int64(n))
	if err != nil && s.accepting.Err() == nil && !errors.Is(err, store.ErrClosed) {
		s.config.Log.Error("deleting old messages failed", "error", err)
	}
}

// closeIdle disconnects clients that have no subscription and have sent nothing for the configured time.
func (s *Server) closeIdle() {
	if s.config.IdleTimeout < 0 {
		return
	}
	before := s.config.Now().Add(-s.config.IdleTimeout).Unix()
	s.mu.Lock()
	var old []*session
	for session := range s.sessions {
		if session.live.Load() == 0 && session.active.Load() < before {
			old = append(old, session)
		}
	}
	s.mu.Unlock()
	for _, session := range old {
		s.counters.idleClosed.Add(1)
		go session.close()
	}
}
