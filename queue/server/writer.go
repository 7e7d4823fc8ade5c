package server

import (
	"errors"
	"os"
	"time"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// write sends what is in the outbox: it fills a block with what is there, sends it, and waits only when there is nothing.
func (s *session) write() {
	w := blockWriter{session: s, batch: queue.NewBatch(s.conn.MaxPayload())}
	for {
		i, ok := s.out.next(w.batch.Len() == 0)
		if !ok && w.batch.Len() == 0 {
			return
		}
		var err error
		if ok {
			err = w.item(i)
		} else {
			err = w.flush()
		}
		if err != nil {
			s.close()
			return
		}
	}
}

// blockWriter packs transmissions into blocks. It is owned by the writer of its session.
type blockWriter struct {
	session *session
	batch   queue.Batch
	buffer  []byte // one transmission
}

func (w *blockWriter) item(i item) error {
	switch {
	case i.event != nil:
		return w.add(*i.event)
	case i.deliver != nil:
		return w.deliver(i.deliver)
	case i.notify != "":
		return w.notify(i.notify)
	}
	defer w.session.out.release()
	for n := range i.group.replies {
		if err := w.add(w.answer(&i.group.replies[n])); err != nil {
			return err
		}
	}
	for _, sub := range i.group.after {
		if err := w.deliver(sub); err != nil {
			return err
		}
	}
	return nil
}

// deliver sends the head of a queue as event, if it is on its way and there is one.
func (w *blockWriter) deliver(sub *subscription) error {
	m, ok, err := sub.take()
	if err != nil || !ok {
		// With an error the subscriber still has its subscription; the message comes with the next SUB or SEND.
		return nil
	}
	return w.add(queue.Answer{EntityID: sub.queue, Response: m})
}

// notify sends what is pending for a notifier.
func (w *blockWriter) notify(id queue.ID) error {
	events, err := w.session.server.notifications.seal(id, w.session)
	if err != nil {
		return nil // the notifier is gone, or the store fails: notifications may be lost
	}
	for _, event := range events {
		if err := w.add(queue.Answer{EntityID: id, Response: event}); err != nil {
			return err
		}
	}
	return nil
}

// answer returns the answer to a command whose changes are durable, or have failed.
func (w *blockWriter) answer(r *reply) queue.Answer {
	a := queue.Answer{CorrID: r.corrID, EntityID: r.entity, Response: r.response}
	switch {
	case r.err != nil:
		if r.failed != nil {
			r.failed()
		}
		a.Response = queue.ERR{Err: w.session.server.storeError(r.err)}
	case r.deliver != nil:
		a.Response = w.delivery(r.deliver)
	}
	if e, ok := a.Response.(queue.ERR); ok {
		w.session.server.countError(e.Err)
	}
	if r.seal != nil {
		a = queue.Answer{CorrID: r.seal.corrID, Response: r.seal.seal(a)}
	}
	return a
}

// delivery is the answer to ACK and GET.
func (w *blockWriter) delivery(sub *subscription) queue.Response {
	m, ok, err := sub.take()
	switch {
	case errors.Is(err, store.ErrNotFound):
		return queue.ERR{Err: queue.ErrAuth}
	case err != nil:
		return queue.ERR{Err: w.session.server.storeError(err)}
	case !ok:
		return queue.OK{}
	default:
		return m
	}
}

// take fetches the head of a queue that is on its way and makes it the outstanding one; ok is false if there is none, or
// if it is not on its way any more.
func (s *subscription) take() (m queue.MSG, ok bool, err error) {
	head, secret, ok, err := s.fetch()
	if err != nil || !ok {
		return queue.MSG{}, false, err
	}
	defer secret.Clear()
	content := queue.Message{Time: head.Time, Quota: head.Marker, Notify: head.Notify, Body: head.Body}
	sealed, err := queue.SealMessage(&secret, head.ID, content)
	if err != nil {
		return queue.MSG{}, false, err
	}
	s.session.server.counters.delivered.Add(1)
	return queue.MSG{ID: head.ID, Sealed: sealed}, true, nil
}

// add puts a transmission into the block, after sending what was in it if there is no room.
func (w *blockWriter) add(a queue.Answer) error {
	if w.put(a) {
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	if w.put(a) {
		return nil
	}
	// Clients may choose correlation IDs so long that no block has room for a message with it, or for the answer to a proxy.
	a.Response = queue.ERR{Err: queue.ErrLargeMsg}
	if !w.put(a) {
		return errors.New("answer does not fit a block")
	}
	return nil
}

// put is false if there is no room in the block.
func (w *blockWriter) put(a queue.Answer) bool {
	w.buffer = queue.AppendAnswer(w.buffer[:0], w.session.version, w.session.verifier.SessionID, a)
	return w.batch.Add(w.buffer)
}

func (w *blockWriter) flush() error {
	if w.batch.Len() == 0 {
		return nil
	}
	s := w.session
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.server.config.WriteTimeout)); err != nil {
		return err
	}
	err := s.conn.WriteBlock(w.batch.Take())
	if err == nil {
		s.server.counters.blocksSent.Add(1)
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		s.server.counters.slowReaders.Add(1)
	}
	return err
}

// storeErrorInterval is for how long one failure of the store is the only one in the log: a full disk fails every command.
const storeErrorInterval = 10 // seconds

// storeError is what the client gets for a failure of the store; the operator gets the details.
func (s *Server) storeError(err error) queue.Error {
	failures := s.counters.storeErrors.Add(1)
	now, last := s.config.Now().Unix(), s.storeErrorLogged.Load()
	if (now < last || now >= last+storeErrorInterval) && s.storeErrorLogged.CompareAndSwap(last, now) {
		s.config.Log.Error("store failed", "error", err, "failures", failures)
	}
	return queue.StoreError("storage failed")
}

func (s *Server) countError(e queue.Error) {
	s.counters.errors.Add(1)
	switch e {
	case queue.ErrAuth:
		s.counters.authErrors.Add(1)
	case queue.ErrQuota:
		s.counters.quotaErrors.Add(1)
	}
}
