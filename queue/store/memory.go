package store

import (
	"context"
	"sync"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// Memory is a Store without a disk: everything is durable at once and gone with the process. It is for tests and for
// relays that are to forget.
type Memory struct {
	quota int

	mu         sync.Mutex
	closed     bool                      // guarded by mu, like all below
	recipients map[queue.ID]*memoryQueue // by recipient ID
	senders    map[queue.ID]*memoryQueue // by sender ID
	notifiers  map[queue.ID]*memoryQueue // by notifier ID
}

// memoryQueue is guarded by Memory.mu.
type memoryQueue struct {
	Queue
	waiting []Message
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store; quota is how many messages a queue holds, 0 means DefaultQuota.
func NewMemory(quota int) *Memory {
	if quota == 0 {
		quota = DefaultQuota
	}
	return &Memory{
		quota:      quota,
		recipients: make(map[queue.ID]*memoryQueue),
		senders:    make(map[queue.ID]*memoryQueue),
		notifiers:  make(map[queue.ID]*memoryQueue),
	}
}

// Create implements Store.
func (s *Memory) Create(_ context.Context, q Queue) (*Commit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.recipients[q.Recipient] != nil, s.senders[q.Sender] != nil,
		q.Notifier != nil && s.notifiers[q.Notifier.ID] != nil:
		return nil, ErrExists
	}
	record := &memoryQueue{Queue: q}
	s.recipients[q.Recipient] = record
	s.senders[q.Sender] = record
	if q.Notifier != nil {
		s.notifiers[q.Notifier.ID] = record
	}
	return nil, nil
}

// ByRecipient implements Store.
func (s *Memory) ByRecipient(_ context.Context, id queue.ID) (Queue, error) {
	return s.lookup(s.recipients, id)
}

// BySender implements Store.
func (s *Memory) BySender(_ context.Context, id queue.ID) (Queue, error) {
	return s.lookup(s.senders, id)
}

// ByNotifier implements Store.
func (s *Memory) ByNotifier(_ context.Context, id queue.ID) (Queue, error) {
	return s.lookup(s.notifiers, id)
}

func (s *Memory) lookup(by map[queue.ID]*memoryQueue, id queue.ID) (Queue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Queue{}, ErrClosed
	}
	record := by[id]
	if record == nil {
		return Queue{}, ErrNotFound
	}
	return record.Queue, nil
}

// with runs f on a queue under the lock.
func (s *Memory) with(recipient queue.ID, f func(*memoryQueue) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	record := s.recipients[recipient]
	if record == nil {
		return ErrNotFound
	}
	return f(record)
}

// Secure implements Store.
func (s *Memory) Secure(_ context.Context, recipient queue.ID, key keys.Public) (*Commit, error) {
	return nil, s.with(recipient, func(q *memoryQueue) error {
		if !q.SenderKey.IsZero() && q.SenderKey != key {
			return ErrKeyTaken
		}
		q.SenderKey = key
		return nil
	})
}

// SetStatus implements Store.
func (s *Memory) SetStatus(_ context.Context, recipient queue.ID, status Status, reason string) (*Commit, error) {
	return nil, s.with(recipient, func(q *memoryQueue) error {
		q.Status, q.BlockReason = status, ""
		if status == Blocked {
			q.BlockReason = reason
		}
		return nil
	})
}

// SetNotifier implements Store.
func (s *Memory) SetNotifier(_ context.Context, recipient queue.ID, n *Notifier) (before *Notifier, _ *Commit, err error) {
	err = s.with(recipient, func(q *memoryQueue) error {
		if n != nil && s.notifiers[n.ID] != nil {
			return ErrExists
		}
		before = q.Notifier
		if before != nil {
			delete(s.notifiers, before.ID)
		}
		if q.Notifier = n; n != nil {
			s.notifiers[n.ID] = q
		}
		return nil
	})
	return before, nil, err
}

// Touch implements Store.
func (s *Memory) Touch(_ context.Context, recipient queue.ID, day Day) error {
	return s.with(recipient, func(q *memoryQueue) error {
		q.Used = day
		return nil
	})
}

// Delete implements Store.
func (s *Memory) Delete(_ context.Context, recipient queue.ID) (deleted Queue, _ *Commit, err error) {
	err = s.with(recipient, func(q *memoryQueue) error {
		deleted = q.Queue
		delete(s.recipients, q.Recipient)
		delete(s.senders, q.Sender)
		if q.Notifier != nil {
			delete(s.notifiers, q.Notifier.ID)
		}
		return nil
	})
	return deleted, nil, err
}

// Send implements Store.
func (s *Memory) Send(_ context.Context, recipient queue.ID, m Message) (sent Sent, _ *Commit, err error) {
	err = s.with(recipient, func(q *memoryQueue) error {
		if q.Status != Active {
			return ErrOff
		}
		marker := len(q.waiting) > 0 && q.waiting[len(q.waiting)-1].Marker
		sent = Admit(len(q.waiting), marker, s.quota)
		if sent.Full {
			m = m.AsMarker()
		}
		if sent.Added {
			q.waiting = append(q.waiting, m)
		}
		return nil
	})
	return sent, nil, err
}

// Head implements Store.
func (s *Memory) Head(_ context.Context, recipient queue.ID) (m Message, ok bool, err error) {
	err = s.with(recipient, func(q *memoryQueue) error {
		if ok = len(q.waiting) > 0; ok {
			m = q.waiting[0]
		}
		return nil
	})
	return m, ok, err
}

// Ack implements Store.
func (s *Memory) Ack(_ context.Context, recipient, message queue.ID) (rest int, _ *Commit, err error) {
	err = s.with(recipient, func(q *memoryQueue) error {
		if len(q.waiting) > 0 && q.waiting[0].ID == message {
			q.drop(1)
		}
		rest = len(q.waiting)
		return nil
	})
	return rest, nil, err
}

// drop removes the first n messages and forgets their bodies.
func (q *memoryQueue) drop(n int) {
	clear(q.waiting[:n])
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
}

// Info implements Store.
func (s *Memory) Info(_ context.Context, recipient queue.ID) (info Info, err error) {
	err = s.with(recipient, func(q *memoryQueue) error {
		if info.Size = len(q.waiting); info.Size > 0 {
			info.Head = q.waiting[0]
			info.Head.Body = nil
		}
		return nil
	})
	return info, err
}

// Expire implements Store.
func (s *Memory) Expire(_ context.Context, before int64) (deleted int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, ErrClosed
	}
	for _, q := range s.recipients {
		old := 0
		for old < len(q.waiting) && q.waiting[old].Expires(before) {
			old++
		}
		q.drop(old)
		deleted += old
	}
	return deleted, nil
}

// Counts implements Store.
func (s *Memory) Counts(context.Context) (c Counts, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Counts{}, ErrClosed
	}
	c.Queues = int64(len(s.recipients))
	for _, q := range s.recipients {
		c.Messages += int64(len(q.waiting))
	}
	return c, nil
}

// Close implements Store.
func (s *Memory) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
