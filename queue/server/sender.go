package server

import (
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// send runs SEND.
func (c *call) send(command queue.SEND) outcome {
	switch {
	case len(command.Body) > queue.MaxBodySize(c.version):
		return outcome{err: queue.ErrLargeMsg}
	case c.queue.Status == store.Blocked:
		return outcome{err: c.blocked()}
	}
	id, err := queue.NewID(c.server.config.Rand)
	if err != nil {
		return c.failed(err)
	}
	m := store.Message{ID: id, Time: c.server.config.Now().Unix(), Notify: command.Notify, Body: command.Body}
	sent, commit, err := c.server.store.Send(c.server.ctx, c.queue.Recipient, m)
	if err != nil {
		return c.failed(err)
	}
	if sent.Added {
		c.server.subscriptions.wake(c.queue.Recipient)
	}
	if sent.Full {
		return outcome{err: queue.ErrQuota, commit: commit}
	}
	c.server.counters.sent.Add(1)
	if command.Notify && c.queue.Notifier != nil {
		c.server.notifications.add(c.queue.Notifier.ID, queue.Notification{MessageID: id, Time: m.Time})
	}
	return outcome{response: queue.OK{}, commit: commit}
}
