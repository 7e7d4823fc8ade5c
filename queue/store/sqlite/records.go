package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// lockRecipient returns the locked and pinned record of a queue, read from the disk if need be. unlock ends that.
func (s *Store) lockRecipient(id queue.ID) (*entry, error) {
	for {
		e, absent, created := s.cache.find(name{recipient, id})
		if absent {
			return nil, store.ErrNotFound
		}
		if e == nil {
			fresh := &entry{cache: s.cache, recipient: id}
			fresh.mu.Lock()
			if e = s.cache.add(fresh); e == nil {
				return s.load(fresh, created)
			}
			fresh.mu.Unlock()
		}
		if ok, err := s.lockFound(e); ok || err != nil {
			return e, err
		}
	}
}

// lockFound locks a pinned record; it is false, and the pin is gone, if the record is stale.
func (s *Store) lockFound(e *entry) (ok bool, err error) {
	e.mu.Lock()
	switch {
	case e.stale:
		s.unlock(e)
		return false, nil
	case e.deleted:
		s.unlock(e)
		return false, store.ErrNotFound
	}
	return true, nil
}

// load fills a fresh record, locked, pinned and in the cache, from the disk.
func (s *Store) load(e *entry, created uint64) (*entry, error) {
	err := s.read(e)
	if err == nil {
		return e, nil
	}
	e.stale = true
	s.cache.remove(e)
	if errors.Is(err, store.ErrNotFound) {
		s.cache.miss(name{recipient, e.recipient}, created)
	}
	s.unlock(e)
	return nil, err
}

func (s *Store) read(e *entry) (err error) {
	e.number, e.queue, err = s.reader.queue(e.recipient)
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	if err != nil {
		return s.readError("read queue", err)
	}
	if e.waiting, err = s.reader.waiting(e.number); err != nil {
		return s.readError("read messages", err)
	}
	// Both names belong to this queue alone, on disk and in memory, so the claims succeed.
	s.cache.claim(e, name{sender, e.queue.Sender})
	if n := e.queue.Notifier; n != nil {
		s.cache.claim(e, name{notifier, n.ID})
	}
	return nil
}

func (s *Store) unlock(e *entry) {
	e.mu.Unlock()
	s.cache.unpin(e)
}

// lockBy is lockRecipient for the ID of another role.
func (s *Store) lockBy(r role, id queue.ID) (*entry, error) {
	n := name{r, id}
	for {
		e, absent, created := s.cache.find(n)
		if absent {
			return nil, store.ErrNotFound
		}
		if e == nil {
			var err error
			if e, err = s.lockThroughDisk(n, created); err != nil {
				return nil, err
			}
		} else if ok, err := s.lockFound(e); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		if e.has(n) {
			return e, nil
		}
		// The name was taken away after it was found.
		s.unlock(e)
		return nil, store.ErrNotFound
	}
}

func (s *Store) lockThroughDisk(n name, created uint64) (*entry, error) {
	by := s.reader.recipientOfSender
	if n.role == notifier {
		by = s.reader.recipientOfNotifier
	}
	recipientID, err := s.reader.recipient(by, []byte(n.id))
	if errors.Is(err, sql.ErrNoRows) {
		s.cache.miss(n, created)
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, s.readError("look up queue", err)
	}
	return s.lockRecipient(recipientID)
}

// has tells whether n is one of the entry's names.
func (e *entry) has(n name) bool {
	switch n.role {
	case sender:
		return e.queue.Sender == n.id
	case notifier:
		return e.queue.Notifier != nil && e.queue.Notifier.ID == n.id
	default:
		return e.recipient == n.id
	}
}

// change runs decide on the locked record of a queue. decide changes the record and returns the change for the disk, or
// nil if there is nothing to write; then the answer depends on the changes before, and waits for them.
func (s *Store) change(ctx context.Context, id queue.ID, decide func(*entry) (*op, error)) (*store.Commit, error) {
	if err := s.writer.acquire(ctx); err != nil {
		return nil, err
	}
	if s.writer.isClosed() {
		s.writer.release()
		return nil, store.ErrClosed
	}
	e, err := s.lockRecipient(id)
	if err != nil {
		s.writer.release()
		return nil, err
	}
	defer s.unlock(e)
	o, err := decide(e)
	if err != nil || o == nil {
		s.writer.release()
		if err != nil {
			return nil, err
		}
		return e.last, nil
	}
	return s.submit(e, o)
}

// submit hands over a change of a locked record that was changed already.
func (s *Store) submit(e *entry, o *op) (*store.Commit, error) {
	o.entry, o.commit, o.before = e, new(store.Commit), e.last
	s.cache.mu.Lock()
	s.cache.pin(e)
	s.cache.mu.Unlock()
	if err := s.writer.submit(o); err != nil {
		e.stale = true
		s.cache.remove(e)
		s.cache.unpin(e)
		s.writer.release()
		return nil, err
	}
	e.last = o.commit
	return o.commit, nil
}

// forget drops the records of ops that were not stored, so that they are read again.
func (s *Store) forget(ops []*op) {
	for _, o := range ops {
		if o.entry == nil {
			continue
		}
		o.entry.mu.Lock()
		o.entry.stale = true
		s.cache.remove(o.entry)
		o.entry.mu.Unlock()
	}
	s.cache.forgetAbsent()
}

// look runs f on the locked record of a queue without changing it.
func (s *Store) look(id queue.ID, f func(*entry)) error {
	if s.writer.isClosed() {
		return store.ErrClosed
	}
	e, err := s.lockRecipient(id)
	if err != nil {
		return err
	}
	defer s.unlock(e)
	f(e)
	return nil
}

// readError names a failure of the disk; after Close every failure is that.
func (s *Store) readError(what string, err error) error {
	if s.writer.isClosed() {
		return store.ErrClosed
	}
	return fmt.Errorf("%s: %w", what, err)
}
