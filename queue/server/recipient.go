package server

import (
	"crypto/ecdh"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// idAttempts is how often random IDs are drawn again when one is taken.
const idAttempts = 3

// create runs NEW.
func (c *call) create(command queue.NEW) outcome {
	if c.server.config.NoNewQueues || !c.server.passwordMatches(command.Password) {
		return outcome{err: queue.ErrAuth}
	}
	for range idAttempts {
		o, err := c.createOnce(command)
		if !errors.Is(err, store.ErrExists) {
			if err != nil {
				return c.failed(err)
			}
			return o
		}
	}
	return outcome{err: queue.ErrInternal}
}

func (c *call) createOnce(command queue.NEW) (outcome, error) {
	recipientID, err := queue.NewID(c.server.config.Rand)
	if err != nil {
		return outcome{}, err
	}
	senderID, err := queue.NewID(c.server.config.Rand)
	if err != nil {
		return outcome{}, err
	}
	secret, serverDH, err := c.server.agree(command.RecipientDH)
	if err != nil {
		// A key of small order: no secret can be agreed with it.
		return outcome{err: queue.ErrCmdSyntax}, nil
	}
	commit, err := c.server.store.Create(c.server.ctx, store.Queue{
		Recipient:     recipientID,
		Sender:        senderID,
		RecipientKeys: []keys.Public{command.RecipientKey},
		Secret:        secret,
		Mode:          command.Mode,
		Status:        store.Active,
		Used:          store.DayOf(c.server.config.Now()),
	})
	if err != nil {
		return outcome{}, err
	}
	o := outcome{
		response: queue.IDS{RecipientID: recipientID, SenderID: senderID, ServerDH: serverDH, Mode: command.Mode},
		commit:   commit,
	}
	if command.Subscribe {
		sub := c.session.subscribe(recipientID)
		c.subscribed = sub
		o.failed = func() { c.server.subscriptions.leave(sub) }
	}
	c.server.counters.queuesCreated.Add(1)
	return o, nil
}

// passwordMatches compares without telling by its time how much of the password was right.
func (s *Server) passwordMatches(password string) bool {
	if s.config.Password == "" {
		return true
	}
	given, wanted := sha256.Sum256([]byte(password)), sha256.Sum256([]byte(s.config.Password))
	return subtle.ConstantTimeCompare(given[:], wanted[:]) == 1
}

// agree makes a key pair, agrees with a client's key, and forgets its private key.
func (s *Server) agree(public keys.Public) (box.Secret, keys.Public, error) {
	peer, err := public.X25519()
	if err != nil {
		return box.Secret{}, keys.Public{}, err
	}
	private, err := ecdh.X25519().GenerateKey(s.config.Rand)
	if err != nil {
		return box.Secret{}, keys.Public{}, fmt.Errorf("key for a queue: %w", err)
	}
	secret, err := box.Agree(private, peer)
	if err != nil {
		return box.Secret{}, keys.Public{}, err
	}
	return secret, keys.FromX25519(private.PublicKey()), nil
}

// subscribe runs SUB. The head follows as an event behind the answers of the block.
func (c *call) subscribe() outcome {
	id := c.queue.Recipient
	if day := store.DayOf(c.server.config.Now()); day != c.queue.Used {
		if err := c.server.store.Touch(c.server.ctx, id, day); err != nil {
			return c.failed(err)
		}
	}
	switch use := c.session.use(id); {
	case use == nil:
		c.subscribed = c.session.subscribe(id)
	case use.get:
		return outcome{err: queue.ErrCmdProhibited}
	case use.redeliver():
		c.subscribed = use
	default:
		c.subscribed = c.session.subscribe(id)
	}
	return outcome{response: queue.SOK{}}
}

// secure runs KEY and SKEY.
func (c *call) secure(key keys.Public) outcome {
	commit, err := c.server.store.Secure(c.server.ctx, c.queue.Recipient, key)
	if err == nil && c.queue.SenderKey.IsZero() {
		c.server.counters.queuesSecured.Add(1)
	}
	return c.changed(commit, err)
}

// get runs GET.
func (c *call) get() outcome {
	use := c.session.use(c.queue.Recipient)
	if use == nil {
		use = &subscription{queue: c.queue.Recipient, session: c.session, get: true}
		c.session.uses[c.queue.Recipient] = use
	}
	if !use.get {
		return outcome{err: queue.ErrCmdProhibited}
	}
	use.redeliver()
	return outcome{deliver: use}
}

// acknowledge runs ACK: it deletes the outstanding message of this connection and answers with the next one.
func (c *call) acknowledge(message queue.ID) outcome {
	use := c.session.use(c.queue.Recipient)
	if use == nil {
		return outcome{err: queue.ErrNoMsg}
	}
	use.mu.Lock()
	defer use.mu.Unlock()
	if use.ended || use.state != outstanding || message != "" && message != use.delivered {
		return outcome{err: queue.ErrNoMsg}
	}
	if message == "" {
		// Nothing is deleted, the same message comes again.
		use.state = queued
		return outcome{deliver: use}
	}
	rest, commit, err := c.server.store.Ack(c.server.ctx, c.queue.Recipient, message)
	if err != nil {
		return c.failed(err)
	}
	c.server.counters.acknowledged.Add(1)
	o := outcome{response: queue.OK{}, commit: commit, failed: func() { use.restore(message) }}
	switch {
	case use.get:
		use.state, use.delivered = idle, ""
	case rest > 0:
		use.state, use.delivered = queued, ""
		o.deliver = use
	default:
		use.state, use.delivered = idle, ""
	}
	return o
}

// restore makes a message outstanding again whose deletion has failed, so that it can be acknowledged again.
func (s *subscription) restore(message queue.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != outstanding {
		s.state, s.delivered = outstanding, message
	}
}

// switchOff runs OFF.
func (c *call) switchOff() outcome {
	return c.changed(c.server.store.SetStatus(c.server.ctx, c.queue.Recipient, store.Off, ""))
}

// delete runs DEL. Other connections that are subscribed to the queue or its notifier learn about it.
func (c *call) delete() outcome {
	deleted, commit, err := c.server.store.Delete(c.server.ctx, c.queue.Recipient)
	if err != nil {
		return c.failed(err)
	}
	if sub := c.server.subscriptions.remove(deleted.Recipient); sub != nil && sub.session != c.session {
		c.server.events.add(sub.session, queue.Answer{EntityID: deleted.Recipient, Response: queue.DELD{}})
	}
	delete(c.session.uses, deleted.Recipient)
	if deleted.Notifier != nil {
		c.dropNotifier(deleted.Notifier.ID)
	}
	c.server.counters.queuesDeleted.Add(1)
	return outcome{response: queue.OK{}, commit: commit}
}

// describe runs QUE.
func (c *call) describe() outcome {
	stored, err := c.server.store.Info(c.server.ctx, c.queue.Recipient)
	if err != nil {
		return c.failed(err)
	}
	info := queue.QueueInfo{
		Secured:  !c.queue.SenderKey.IsZero(),
		Notifier: c.queue.Notifier != nil,
		Size:     stored.Size,
	}
	if use := c.session.use(c.queue.Recipient); use != nil {
		info.Subscription = use.describe()
	}
	if stored.Size > 0 {
		info.Head = &queue.StoredMessageInfo{ID: stored.Head.ID, Time: stored.Head.Time, Quota: stored.Head.Marker}
	}
	return outcome{response: queue.INFO{Info: info}}
}

func (s *subscription) describe() *queue.SubscriptionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	info := &queue.SubscriptionInfo{Thread: queue.ThreadNone, Delivered: s.delivered}
	switch {
	case s.get:
		info.Thread = queue.ThreadProhibited
	case s.state == queued:
		info.Thread = queue.ThreadPending
	}
	return info
}
