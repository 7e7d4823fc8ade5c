package server

import (
	"errors"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// call is one command being run. Version and verifier are those of the connection, or of the envelope if the command came
// through a proxy; then there is no session to subscribe for.
type call struct {
	session  *session
	server   *Server
	request  *queue.Request
	version  queue.Version
	verifier queue.Verifier

	queue      store.Queue   // the one that the command names; set for commands of recipient, sender and notifier
	subscribed *subscription // whose head is to be delivered after the answers
}

// outcome is what a handler has done: an answer, or an error.
type outcome struct {
	response queue.Response
	err      queue.Error
	deliver  *subscription // answer with the head of this queue instead, or OK if there is none
	commit   *store.Commit // what has to be durable first
	failed   func()        // undoes what is in memory if that fails
}

// reply runs the command and returns what to answer.
func (c *call) reply() reply {
	r := reply{corrID: c.request.CorrID, entity: c.request.EntityID}
	if rfwd, ok := c.request.Command.(queue.RFWD); ok && c.request.Err == "" {
		return c.forwarded(rfwd)
	}
	o := c.run()
	if o.err != "" {
		o.response = queue.ERR{Err: o.err}
	}
	r.response, r.deliver, r.commit, r.failed = o.response, o.deliver, o.commit, o.failed
	return r
}

// run checks what the command table leaves to the queue – that it exists, that the command is authorized, that the queue
// is not blocked – and runs the command (docs/protocol.md, "Order of errors", steps 7 to 10).
func (c *call) run() outcome {
	c.server.counters.commands.Add(1)
	if c.request.Err != "" {
		return outcome{err: c.request.Err}
	}
	if err := c.find(); err != nil && !errors.Is(err, store.ErrNotFound) {
		return c.failed(err)
	} else if !c.authorized(err == nil) {
		return outcome{err: queue.ErrAuth}
	}
	if c.queue.Status == store.Blocked && !worksWhenBlocked(c.request.Command) {
		return outcome{err: c.blocked()}
	}
	switch command := c.request.Command.(type) {
	case queue.NEW:
		return c.create(command)
	case queue.SUB:
		return c.subscribe()
	case queue.KEY:
		return c.secure(command.Key)
	case queue.GET:
		return c.get()
	case queue.ACK:
		return c.acknowledge(command.MessageID)
	case queue.OFF:
		return c.switchOff()
	case queue.DEL:
		return c.delete()
	case queue.QUE:
		return c.describe()
	case queue.NKEY:
		return c.makeNotifier(command.NotifierKeys)
	case queue.NDEL:
		return c.deleteNotifier()
	case queue.NSUB:
		return c.subscribeNotifier()
	case queue.SKEY:
		return c.secure(command.Key)
	case queue.SEND:
		return c.send(command)
	case queue.PING:
		return outcome{response: queue.PONG{}}
	case queue.PRXY:
		return outcome{err: queue.ErrProxyBasicAuth}
	case queue.PFWD:
		return outcome{err: queue.ErrProxyNoSession}
	default:
		return outcome{err: queue.ErrCmdUnknown}
	}
}

// find looks up the queue by the ID of the role that the command is for.
func (c *call) find() (err error) {
	id, ctx := c.request.EntityID, c.server.ctx
	switch c.request.Info.Party {
	case queue.Recipient:
		c.queue, err = c.server.store.ByRecipient(ctx, id)
	case queue.Sender:
		c.queue, err = c.server.store.BySender(ctx, id)
	case queue.Notifier:
		c.queue, err = c.server.store.ByNotifier(ctx, id)
	}
	return err
}

// authorized tells whether the command may be run on the queue that was found. If there is none, or it has no key, or one
// of another algorithm, that takes as long as if it had one.
func (c *call) authorized(found bool) bool {
	var candidates []keys.Public
	switch command := c.request.Command.(type) {
	case queue.NEW:
		candidates = []keys.Public{command.RecipientKey}
	case queue.SKEY:
		if found && c.queue.Mode == queue.ModeMessaging {
			candidates = []keys.Public{command.Key}
		}
	case queue.SEND:
		if len(c.request.Authorization) == 0 {
			return found && c.queue.SenderKey.IsZero()
		}
		if found && !c.queue.SenderKey.IsZero() {
			candidates = []keys.Public{c.queue.SenderKey}
		}
	default:
		switch c.request.Info.Party {
		case queue.Recipient:
			candidates = c.queue.RecipientKeys
		case queue.Notifier:
			if found {
				candidates = []keys.Public{c.queue.Notifier.Key}
			}
		default:
			return true // neither queue nor authorization
		}
	}
	return c.verifier.Verify(c.request.Transmission, candidates...)
}

// worksWhenBlocked tells whether a command is run on a blocked queue. SEND looks at its size first.
func worksWhenBlocked(c queue.Command) bool {
	switch c.(type) {
	case queue.SEND, queue.OFF, queue.DEL, queue.NSUB:
		return true
	default:
		return false
	}
}

func (c *call) blocked() queue.Error {
	return queue.Blocked(queue.BlockInfo{Reason: queue.BlockReason(c.queue.BlockReason)})
}

// failed turns an error of the store into an answer.
func (c *call) failed(err error) outcome {
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrOff), errors.Is(err, store.ErrKeyTaken):
		return outcome{err: queue.ErrAuth}
	default:
		return outcome{err: c.server.storeError(err)}
	}
}

// changed is the outcome of a command that changes the store and is answered OK.
func (c *call) changed(commit *store.Commit, err error) outcome {
	if err != nil {
		return c.failed(err)
	}
	return outcome{response: queue.OK{}, commit: commit}
}
