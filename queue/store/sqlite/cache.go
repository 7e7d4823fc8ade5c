package sqlite

import (
	"container/list"
	"sync"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// entry is the record of one queue in memory, with the list of its messages.
type entry struct {
	cache     *cache
	recipient queue.ID

	pins int           // guarded by cache.mu: callers and ops that use it; only without any may it be evicted
	used *list.Element // guarded by cache.mu; nil when it was removed

	mu      sync.Mutex
	stale   bool          // guarded by mu: not in the cache any more, look again
	deleted bool          // guarded by mu: the queue was deleted, perhaps not durably yet
	number  int64         // guarded by mu, like the rest
	queue   store.Queue   // replaced as a whole, snapshots share it
	waiting []*waiting    // messages, the head first
	last    *store.Commit // of the last change; nil if there was none since the record was read
}

// waiting is one message of a queue, guarded by its entry's mutex.
type waiting struct {
	number  int64
	message store.Message // Body only while insert is not nil
	insert  *op           // nil when the message is durable
}

// marked tells whether the queue holds the quota marker; nothing comes behind it.
func (e *entry) marked() bool {
	return len(e.waiting) > 0 && e.waiting[len(e.waiting)-1].message.Marker
}

// drop forgets the first n messages.
func (e *entry) drop(n int) {
	clear(e.waiting[:n])
	if e.waiting = e.waiting[n:]; len(e.waiting) == 0 {
		e.waiting = nil
	}
}

// role is the kind of ID under which a queue is looked for.
type role byte

const (
	recipient role = 'R'
	sender    role = 'S'
	notifier  role = 'N'
)

// name is an ID with its role.
type name struct {
	role role
	id   queue.ID
}

// absentSize is how many IDs that do not exist are remembered, so that asking for them again takes as long as asking for a
// queue that exists.
const absentSize = 1024

// cache finds the records in memory. It holds those in use and, up to its size, those used last.
type cache struct {
	size int

	mu      sync.Mutex
	entries map[name]*entry // guarded by mu, like the rest; an entry is under the names of all its roles
	recent  *list.List      // of *entry, the one used last in front
	absent  map[name]*list.Element
	missed  *list.List // of name, the one missed last in front
	created uint64     // grows with every name that comes into being
}

func newCache(size int) *cache {
	return &cache{
		size:    size,
		entries: make(map[name]*entry),
		recent:  list.New(),
		absent:  make(map[name]*list.Element),
		missed:  list.New(),
	}
}

// find returns the pinned entry under a name, or nil; absent tells that there is none on disk either. created is to be
// handed to miss.
func (c *cache) find(n name) (e *entry, absent bool, created uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[n]; e != nil {
		c.pin(e)
		return e, false, c.created
	}
	if m := c.absent[n]; m != nil {
		c.missed.MoveToFront(m)
		return nil, true, c.created
	}
	return nil, false, c.created
}

// pin is called with c.mu held.
func (c *cache) pin(e *entry) {
	e.pins++
	if e.used != nil {
		c.recent.MoveToFront(e.used)
	}
}

func (c *cache) unpin(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.pins--
	c.evict()
}

// evict makes room; it is called with c.mu held. Entries in use are passed over, a few at a time.
func (c *cache) evict() {
	const patience = 8
	next := c.recent.Back()
	for range patience {
		if c.recent.Len() <= c.size || next == nil {
			return
		}
		e := next.Value.(*entry)
		next = next.Prev()
		if e.pins > 0 {
			c.recent.MoveToFront(e.used)
			continue
		}
		// Nobody uses it and every change of it is durable, so nobody holds its mutex or will ask for it.
		c.removeLocked(e)
	}
}

// add puts a new, pinned entry under its recipient name unless there is one: then it returns that, pinned.
func (c *cache) add(e *entry) (other *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := name{recipient, e.recipient}
	if other := c.entries[n]; other != nil {
		c.pin(other)
		return other
	}
	c.entries[n] = e
	e.pins = 1
	e.used = c.recent.PushFront(e)
	c.evict()
	return nil
}

// claim puts e under a further name; false if that belongs to another entry. The name exists from now on.
func (c *cache) claim(e *entry, n name) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.entries[n]; other != nil && other != e {
		return false
	}
	c.entries[n] = e
	c.exists(n)
	return true
}

// disclaim takes e away from a name.
func (c *cache) disclaim(e *entry, n name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[n] == e {
		delete(c.entries, n)
	}
}

// exists is called with c.mu held.
func (c *cache) exists(n name) {
	c.created++
	if m := c.absent[n]; m != nil {
		c.missed.Remove(m)
		delete(c.absent, n)
	}
}

// miss remembers that there was nothing under a name when find was called with this result.
func (c *cache) miss(n name, created uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.created != created || c.absent[n] != nil {
		return
	}
	c.absent[n] = c.missed.PushFront(n)
	if c.missed.Len() > absentSize {
		delete(c.absent, c.missed.Remove(c.missed.Back()).(name))
	}
}

// forgetAbsent is for when changes were undone: what was absent may be there.
func (c *cache) forgetAbsent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.created++
	clear(c.absent)
	c.missed.Init()
}

// remove takes an entry out; its mutex is held and it is stale or deleted.
func (c *cache) remove(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(e)
}

func (c *cache) removeLocked(e *entry) {
	if e.used == nil {
		return
	}
	c.recent.Remove(e.used)
	e.used = nil
	names := []name{{recipient, e.recipient}, {sender, e.queue.Sender}}
	if n := e.queue.Notifier; n != nil {
		names = append(names, name{notifier, n.ID})
	}
	for _, n := range names {
		if c.entries[n] == e {
			delete(c.entries, n)
		}
	}
}
