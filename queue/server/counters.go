package server

import "sync/atomic"

// counters count what happens; they grow only, except where Stats takes differences.
type counters struct {
	sessions, sessionsEnded, refused, handshakeErrors, acceptErrors    atomic.Int64
	slowReaders, idleClosed, badBlocks                                 atomic.Int64
	blocksReceived, blocksSent                                         atomic.Int64
	commands, errors, authErrors, storeErrors                          atomic.Int64
	queuesCreated, queuesSecured, queuesDeleted                        atomic.Int64
	sent, quotaErrors, delivered, acknowledged, expired                atomic.Int64
	subscribed, subscriptions, takenOver                               atomic.Int64
	forwarded                                                          atomic.Int64
	notifySubscribed, notificationsQueued, notified, notificationsLost atomic.Int64
	events                                                             atomic.Int64
}

// Stats is what a relay has done since it was started. It has nothing about single queues or clients.
type Stats struct {
	Connections struct {
		Open            int64 `json:"open"` // sessions, without those in the handshake
		Total           int64 `json:"total"`
		Refused         int64 `json:"refused"` // over a limit
		HandshakeErrors int64 `json:"handshakeErrors"`
		AcceptErrors    int64 `json:"acceptErrors"`
		SlowReaders     int64 `json:"slowReaders"` // disconnected, because they did not read
		Idle            int64 `json:"idle"`        // disconnected, because nothing happened
	} `json:"connections"`
	Blocks struct {
		Received  int64 `json:"received"`
		Malformed int64 `json:"malformed"`
		Sent      int64 `json:"sent"`
	} `json:"blocks"`
	Commands struct {
		Total       int64 `json:"total"`
		Errors      int64 `json:"errors"`      // answered with ERR, with the two below
		AuthErrors  int64 `json:"authErrors"`  // ERR AUTH
		StoreErrors int64 `json:"storeErrors"` // ERR STORE: the disk is full or broken
		Forwarded   int64 `json:"forwarded"`   // came through a proxy
	} `json:"commands"`
	Queues struct {
		Created int64 `json:"created"`
		Secured int64 `json:"secured"`
		Deleted int64 `json:"deleted"`
	} `json:"queues"`
	Messages struct {
		Sent         int64 `json:"sent"`
		QuotaErrors  int64 `json:"quotaErrors"`
		Delivered    int64 `json:"delivered"` // more than once if they were not acknowledged
		Acknowledged int64 `json:"acknowledged"`
		Expired      int64 `json:"expired"`
	} `json:"messages"`
	Subscriptions struct {
		Open      int64 `json:"open"`
		Total     int64 `json:"total"`
		TakenOver int64 `json:"takenOver"`
	} `json:"subscriptions"`
	Notifications struct {
		Subscribed int64 `json:"subscribed"`
		Queued     int64 `json:"queued"`
		Sent       int64 `json:"sent"`
		Lost       int64 `json:"lost"` // too old or too many
	} `json:"notifications"`
}

// Stats returns what the relay has done so far.
func (s *Server) Stats() Stats {
	var r Stats
	c := &s.counters
	ended := c.sessionsEnded.Load()
	r.Connections.Total = c.sessions.Load()
	r.Connections.Open = r.Connections.Total - ended
	r.Connections.Refused = c.refused.Load()
	r.Connections.HandshakeErrors = c.handshakeErrors.Load()
	r.Connections.AcceptErrors = c.acceptErrors.Load()
	r.Connections.SlowReaders = c.slowReaders.Load()
	r.Connections.Idle = c.idleClosed.Load()
	r.Blocks.Received = c.blocksReceived.Load()
	r.Blocks.Malformed = c.badBlocks.Load()
	r.Blocks.Sent = c.blocksSent.Load()
	r.Commands.Total = c.commands.Load()
	r.Commands.Errors = c.errors.Load()
	r.Commands.AuthErrors = c.authErrors.Load()
	r.Commands.StoreErrors = c.storeErrors.Load()
	r.Commands.Forwarded = c.forwarded.Load()
	r.Queues.Created = c.queuesCreated.Load()
	r.Queues.Secured = c.queuesSecured.Load()
	r.Queues.Deleted = c.queuesDeleted.Load()
	r.Messages.Sent = c.sent.Load()
	r.Messages.QuotaErrors = c.quotaErrors.Load()
	r.Messages.Delivered = c.delivered.Load()
	r.Messages.Acknowledged = c.acknowledged.Load()
	r.Messages.Expired = c.expired.Load()
	r.Subscriptions.Open = c.subscriptions.Load()
	r.Subscriptions.Total = c.subscribed.Load()
	r.Subscriptions.TakenOver = c.takenOver.Load()
	r.Notifications.Subscribed = c.notifySubscribed.Load()
	r.Notifications.Queued = c.notificationsQueued.Load()
	r.Notifications.Sent = c.notified.Load()
	r.Notifications.Lost = c.notificationsLost.Load()
	return r
}
