package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// Send implements store.Store.
func (s *Store) Send(ctx context.Context, recipient queue.ID, m store.Message) (sent store.Sent, c *store.Commit, err error) {
	c, err = s.change(ctx, recipient, func(e *entry) (*op, error) {
		if e.queue.Status != store.Active {
			return nil, store.ErrOff
		}
		if sent = store.Admit(len(e.waiting), e.marked(), s.quota); !sent.Added {
			return nil, nil
		}
		if err := s.room(); err != nil {
			return nil, err
		}
		if sent.Full {
			m = m.AsMarker()
		}
		w := &waiting{number: s.nextMessage.Add(1), message: m}
		number, queueNumber := w.number, e.number
		w.insert = &op{
			apply:  func(c *changes) error { return c.insertMessage(number, queueNumber, m) },
			stored: func() { w.insert, w.message.Body = nil, nil },
		}
		e.waiting = append(e.waiting, w)
		return w.insert, nil
	})
	return sent, c, err
}

// Head implements store.Store.
func (s *Store) Head(_ context.Context, recipient queue.ID) (m store.Message, ok bool, err error) {
	// Bodies are read without the record locked. Meanwhile the message may be acknowledged; then there is another head.
	for range 100 {
		var number int64
		onDisk := false
		err := s.look(recipient, func(e *entry) {
			if ok = len(e.waiting) > 0; ok {
				w := e.waiting[0]
				number, m, onDisk = w.number, w.message, w.insert == nil && !w.message.Marker
			}
		})
		if err != nil || !onDisk {
			return m, ok, err
		}
		switch err := s.reader.body.QueryRow(number).Scan(&m.Body); {
		case err == nil:
			return m, true, nil
		case !errors.Is(err, sql.ErrNoRows):
			return store.Message{}, false, s.readError("read message", err)
		}
	}
	return store.Message{}, false, fmt.Errorf("read message: not on disk")
}

// Ack implements store.Store.
func (s *Store) Ack(ctx context.Context, recipient, message queue.ID) (rest int, c *store.Commit, err error) {
	var superfluous *op
	c, err = s.change(ctx, recipient, func(e *entry) (*op, error) {
		defer func() { rest = len(e.waiting) }()
		if len(e.waiting) == 0 || e.waiting[0].message.ID != message {
			return nil, nil
		}
		w := e.waiting[0]
		e.drop(1)
		if w.insert != nil && s.writer.cancel(w.insert) {
			superfluous = w.insert
			if e.last == w.insert.commit {
				e.last = w.insert.before
			}
			return nil, nil
		}
		return &op{apply: func(c *changes) error { return c.deleteMessage(w.number) }}, nil
	})
	if superfluous != nil {
		// The recipient has the message: both sides may know, and the disk need not.
		s.writer.resolve([]*op{superfluous}, nil)
		c = nil
	}
	return rest, c, err
}

// Info implements store.Store.
func (s *Store) Info(_ context.Context, recipient queue.ID) (info store.Info, err error) {
	err = s.look(recipient, func(e *entry) {
		if info.Size = len(e.waiting); info.Size > 0 {
			info.Head = e.waiting[0].message
			info.Head.Body = nil
		}
	})
	return info, err
}

// Expire implements store.Store.
func (s *Store) Expire(ctx context.Context, before int64) (deleted int, err error) {
	if err := s.writer.flush(ctx); err != nil {
		return 0, err
	}
	numbers, err := s.reader.old(before)
	if err != nil {
		return 0, s.readError("look for old messages", err)
	}
	var last *store.Commit
	for _, number := range numbers {
		n, c, err := s.expireQueue(ctx, number, before)
		if err != nil {
			return deleted, err
		}
		if deleted += n; n > 0 {
			last = c
		}
	}
	// One writer stores changes in order, and fails those behind a failed one too.
	return deleted, last.Wait(ctx)
}

// expireQueue deletes the old messages at the head of one queue.
func (s *Store) expireQueue(ctx context.Context, number, before int64) (deleted int, c *store.Commit, err error) {
	id, err := s.reader.recipient(s.reader.recipientOf, number)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, s.readError("look up queue", err)
	}
	c, err = s.change(ctx, id, func(e *entry) (*op, error) {
		var old []int64
		for _, w := range e.waiting {
			if !w.message.Expires(before) {
				break
			}
			old = append(old, w.number)
		}
		if deleted = len(old); deleted == 0 {
			return nil, nil
		}
		e.drop(deleted)
		return &op{apply: func(c *changes) error {
			for _, n := range old {
				if err := c.deleteMessage(n); err != nil {
					return err
				}
			}
			return nil
		}}, nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil, nil
	}
	return deleted, c, err
}
