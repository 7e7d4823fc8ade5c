package server

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// The bounds of notifications that wait for a subscriber; the oldest of a notifier make room, and beyond the total new
// ones are lost.
const (
	maxNotifications      = store.DefaultQuota // of one notifier
	maxTotalNotifications = 1 << 18
)

// notifications keeps what notifiers have not been told yet, in memory only.
type notifications struct {
	server *Server

	mu      sync.Mutex
	pending map[queue.ID][]queue.Notification // guarded by mu, like the rest; by notifier ID, oldest first
	total   int
	due     map[queue.ID]struct{} // notifiers with something new, or a new subscriber
	timer   *time.Timer           // runs while something is due
	stopped bool
}

func newNotifications(s *Server) *notifications {
	return &notifications{
		server:  s,
		pending: make(map[queue.ID][]queue.Notification),
		due:     make(map[queue.ID]struct{}),
	}
}

// add keeps a notification until a subscriber takes it.
func (n *notifications) add(id queue.ID, notification queue.Notification) {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.pending[id]
	switch {
	case len(list) == maxNotifications:
		list = list[1:]
		n.server.counters.notificationsLost.Add(1)
	case n.total == maxTotalNotifications:
		n.server.counters.notificationsLost.Add(1)
		return
	default:
		n.total++
	}
	n.pending[id] = append(list, notification)
	n.server.counters.notificationsQueued.Add(1)
	n.wakeLocked(id)
}

// wake delivers soon what is pending for a notifier.
func (n *notifications) wake(id queue.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.pending[id]) > 0 {
		n.wakeLocked(id)
	}
}

func (n *notifications) wakeLocked(id queue.ID) {
	if n.stopped {
		return
	}
	n.due[id] = struct{}{}
	if n.timer == nil {
		n.timer = time.AfterFunc(n.server.config.NotifyDelay, n.flush)
	}
}

// flush hands what is due to the subscribers, as far as there are any.
func (n *notifications) flush() {
	n.mu.Lock()
	due := n.due
	n.due, n.timer = make(map[queue.ID]struct{}), nil
	n.mu.Unlock()
	for id := range due {
		if session := n.server.subscriptions.notifier(id); session != nil {
			session.out.push(item{notify: id})
		}
	}
}

// seal takes what is pending for a notifier and returns it as events, unless another connection has subscribed meanwhile.
func (n *notifications) seal(id queue.ID, to *session) ([]queue.NMSG, error) {
	if n.server.subscriptions.notifier(id) != to {
		return nil, nil
	}
	record, err := n.server.store.ByNotifier(n.server.ctx, id)
	if err != nil {
		return nil, err
	}
	var sealed []queue.NMSG
	for _, notification := range n.take(id) {
		var nonce [queue.NonceSize]byte
		if _, err := io.ReadFull(n.server.config.Rand, nonce[:]); err != nil {
			return nil, fmt.Errorf("nonce: %w", err)
		}
		event, err := queue.SealNotification(&record.Notifier.Secret, nonce, notification)
		if err != nil {
			return nil, err
		}
		sealed = append(sealed, event)
	}
	n.server.counters.notified.Add(int64(len(sealed)))
	return sealed, nil
}

func (n *notifications) take(id queue.ID) []queue.Notification {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.pending[id]
	delete(n.pending, id)
	n.total -= len(list)
	return list
}

// expire drops what was received before a time in seconds since 1970.
func (n *notifications) expire(before int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, list := range n.pending {
		old := 0
		for old < len(list) && list[old].Time < before {
			old++
		}
		n.total -= old
		n.server.counters.notificationsLost.Add(int64(old))
		if old == len(list) {
			delete(n.pending, id)
		} else {
			n.pending[id] = list[old:]
		}
	}
}

func (n *notifications) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopped = true
	if n.timer != nil {
		n.timer.Stop()
	}
}

// makeNotifier runs NKEY.
func (c *call) makeNotifier(k queue.NotifierKeys) outcome {
	secret, serverDH, err := c.server.agree(k.DH)
	if err != nil {
		return outcome{err: queue.ErrCmdSyntax}
	}
	for range idAttempts {
		id, err := queue.NewID(c.server.config.Rand)
		if err != nil {
			return c.failed(err)
		}
		n := &store.Notifier{ID: id, Key: k.Key, Secret: secret}
		before, commit, err := c.server.store.SetNotifier(c.server.ctx, c.queue.Recipient, n)
		if errors.Is(err, store.ErrExists) {
			continue
		}
		if err != nil {
			return c.failed(err)
		}
		if before != nil {
			c.dropNotifier(before.ID)
		}
		return outcome{response: queue.NID{NotifierID: id, ServerDH: serverDH}, commit: commit}
	}
	return outcome{err: queue.ErrInternal}
}

// deleteNotifier runs NDEL.
func (c *call) deleteNotifier() outcome {
	before, commit, err := c.server.store.SetNotifier(c.server.ctx, c.queue.Recipient, nil)
	if err == nil && before != nil {
		c.dropNotifier(before.ID)
	}
	return c.changed(commit, err)
}

// dropNotifier forgets the notifications of a notifier that exists no more, and tells its subscriber if that is another
// connection.
func (c *call) dropNotifier(id queue.ID) {
	c.server.notifications.take(id)
	if before := c.server.subscriptions.removeNotifier(id); before != nil {
		before.live.Add(-1)
		if before != c.session {
			c.server.events.add(before, queue.Answer{EntityID: id, Response: queue.DELD{}})
		}
	}
}

// subscribeNotifier runs NSUB.
func (c *call) subscribeNotifier() outcome {
	id := c.queue.Notifier.ID
	before := c.server.subscriptions.subscribeNotifier(id, c.session)
	c.session.notifiers[id] = struct{}{}
	if before != c.session {
		c.session.live.Add(1)
		c.server.counters.notifySubscribed.Add(1)
		if before != nil {
			before.live.Add(-1)
			c.server.events.add(before, queue.Answer{EntityID: id, Response: queue.END{}})
		}
	}
	c.server.notifications.wake(id)
	return outcome{response: queue.SOK{}}
}
