package sqlite

import (
	"context"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, q store.Queue) (*store.Commit, error) {
	if err := s.room(); err != nil {
		return nil, err
	}
	if err := s.writer.acquire(ctx); err != nil {
		return nil, err
	}
	e := &entry{cache: s.cache, recipient: q.Recipient, queue: q}
	e.mu.Lock()
	if other := s.cache.add(e); other != nil {
		s.cache.unpin(other)
		s.writer.release()
		return nil, store.ErrExists
	}
	defer s.unlock(e)
	if err := s.claimNames(e); err != nil {
		e.stale = true
		s.cache.remove(e)
		s.writer.release()
		return nil, err
	}
	e.number = s.nextQueue.Add(1)
	number := e.number
	o := &op{apply: func(c *changes) error { return c.insertQueue(number, q) }}
	return s.submit(e, o)
}

// claimNames takes the IDs of a new record, in memory first, so that nobody else can, then looks whether they are free.
func (s *Store) claimNames(e *entry) error {
	if s.writer.isClosed() {
		return store.ErrClosed
	}
	names := []name{{recipient, e.recipient}, {sender, e.queue.Sender}}
	var notifierID any
	if n := e.queue.Notifier; n != nil {
		names = append(names, name{notifier, n.ID})
		notifierID = []byte(n.ID)
	}
	for _, n := range names {
		if !s.cache.claim(e, n) {
			return store.ErrExists
		}
	}
	var taken bool
	if err := s.reader.taken.QueryRow([]byte(e.recipient), []byte(e.queue.Sender), notifierID).Scan(&taken); err != nil {
		return s.readError("look up queue", err)
	}
	if taken {
		return store.ErrExists
	}
	return nil
}

// ByRecipient implements store.Store.
func (s *Store) ByRecipient(_ context.Context, id queue.ID) (q store.Queue, err error) {
	err = s.look(id, func(e *entry) { q = e.queue })
	return q, err
}

// BySender implements store.Store.
func (s *Store) BySender(_ context.Context, id queue.ID) (store.Queue, error) {
	return s.lookup(sender, id)
}

// ByNotifier implements store.Store.
func (s *Store) ByNotifier(_ context.Context, id queue.ID) (store.Queue, error) {
	return s.lookup(notifier, id)
}

func (s *Store) lookup(r role, id queue.ID) (store.Queue, error) {
	if s.writer.isClosed() {
		return store.Queue{}, store.ErrClosed
	}
	e, err := s.lockBy(r, id)
	if err != nil {
		return store.Queue{}, err
	}
	defer s.unlock(e)
	return e.queue, nil
}

// Secure implements store.Store.
func (s *Store) Secure(ctx context.Context, recipient queue.ID, key keys.Public) (*store.Commit, error) {
	return s.change(ctx, recipient, func(e *entry) (*op, error) {
		if !e.queue.SenderKey.IsZero() && e.queue.SenderKey != key {
			return nil, store.ErrKeyTaken
		}
		if e.queue.SenderKey == key {
			return nil, nil
		}
		e.queue.SenderKey = key
		number := e.number
		return &op{apply: func(c *changes) error { return c.updateKey(number, key) }}, nil
	})
}

// SetStatus implements store.Store.
func (s *Store) SetStatus(ctx context.Context, recipient queue.ID, status store.Status, reason string) (*store.Commit, error) {
	if status != store.Blocked {
		reason = ""
	}
	return s.change(ctx, recipient, func(e *entry) (*op, error) {
		if e.queue.Status == status && e.queue.BlockReason == reason {
			return nil, nil
		}
		e.queue.Status, e.queue.BlockReason = status, reason
		number := e.number
		return &op{apply: func(c *changes) error { return c.updateStatus(number, status, reason) }}, nil
	})
}

// SetNotifier implements store.Store.
func (s *Store) SetNotifier(ctx context.Context, recipient queue.ID, n *store.Notifier) (before *store.Notifier, c *store.Commit, err error) {
	c, err = s.change(ctx, recipient, func(e *entry) (*op, error) {
		before = e.queue.Notifier
		if n == nil && before == nil {
			return nil, nil
		}
		if n != nil {
			if err := s.claimNotifier(e, n.ID); err != nil {
				return nil, err
			}
		}
		if before != nil {
			s.cache.disclaim(e, name{notifier, before.ID})
		}
		e.queue.Notifier = n
		number := e.number
		return &op{apply: func(c *changes) error { return c.updateNotifier(number, n) }}, nil
	})
	if err != nil {
		before = nil
	}
	return before, c, err
}

func (s *Store) claimNotifier(e *entry, id queue.ID) error {
	n := name{notifier, id}
	if e.has(n) || !s.cache.claim(e, n) {
		return store.ErrExists
	}
	var taken bool
	err := s.reader.taken.QueryRow(nil, nil, []byte(id)).Scan(&taken)
	if err == nil && !taken {
		return nil
	}
	s.cache.disclaim(e, n)
	if err != nil {
		return s.readError("look up notifier", err)
	}
	return store.ErrExists
}

// Touch implements store.Store.
func (s *Store) Touch(ctx context.Context, recipient queue.ID, day store.Day) error {
	_, err := s.change(ctx, recipient, func(e *entry) (*op, error) {
		if e.queue.Used == day {
			return nil, nil
		}
		e.queue.Used = day
		number := e.number
		return &op{apply: func(c *changes) error { return c.updateUsed(number, day) }}, nil
	})
	return err
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, recipient queue.ID) (deleted store.Queue, c *store.Commit, err error) {
	c, err = s.change(ctx, recipient, func(e *entry) (*op, error) {
		deleted = e.queue
		e.deleted = true
		e.waiting = nil
		number := e.number
		return &op{
			apply:  func(c *changes) error { return c.deleteQueue(number) },
			stored: func() { s.cache.remove(e) },
		}, nil
	})
	return deleted, c, err
}

// Counts implements store.Store.
func (s *Store) Counts(context.Context) (c store.Counts, err error) {
	if s.writer.isClosed() {
		return store.Counts{}, store.ErrClosed
	}
	if err := s.reader.totals.QueryRow().Scan(&c.Queues, &c.Messages); err != nil {
		return store.Counts{}, s.readError("read totals", err)
	}
	return c, nil
}
