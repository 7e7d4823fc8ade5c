package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/coterie-im/coterie/queue/store"
)

// op is one change on its way to the disk.
type op struct {
	commit *store.Commit
	entry  *entry               // the record that it changes, pinned until the op is resolved; nil if it changes none
	before *store.Commit        // of the change of the same record before this one; nil if there was none
	apply  func(*changes) error // makes the change inside the transaction; runs in the writer's goroutine
	stored func()               // if not nil: runs when the change is durable, under entry.mu

	taken     bool // guarded by writer.mu: part of a transaction
	cancelled bool // guarded by writer.mu: not to be written any more
}

// writer is the only one that changes the file.
//
// Lock order: entry.mu, then cache.mu or writer.mu, which are never held together.
type writer struct {
	db     *sql.DB
	conn   *sql.Conn   // owned by run, after start
	do     *statements // owned by run, after start
	forget func([]*op) // drops the records of ops that failed
	slots  chan struct{}
	wake   chan struct{} // has room for one: something is pending, or the writer is closed
	done   chan struct{} // closed when run has ended

	mu      sync.Mutex
	pending []*op // guarded by mu; those that are not cancelled have a slot each
	failing error // guarded by mu; set while the records of failed ops are dropped
	closed  bool  // guarded by mu
}

func newWriter(path string, backlog int, forget func([]*op), steps []string) (*writer, error) {
	db, conn, err := openConn(path, "_journal_mode=WAL&_synchronous=FULL&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	w := &writer{
		db:     db,
		conn:   conn,
		forget: forget,
		slots:  make(chan struct{}, backlog),
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),
	}
	for _, setup := range []func() error{
		func() error { return migrate(background, conn, steps) },
		func() error {
			_, err := conn.ExecContext(background, "PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864")
			return err
		},
		func() error { w.do, err = prepare(conn); return err },
	} {
		if err := setup(); err != nil {
			_ = w.close()
			return nil, err
		}
	}
	return w, nil
}

func (w *writer) start() { go w.run() }

// acquire waits until there is room for one more op. It must not be called with a record locked, because the writer needs
// records to make room.
func (w *writer) acquire(ctx context.Context) error {
	select {
	case w.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release gives back a slot that was not used or whose op is resolved.
func (w *writer) release() { <-w.slots }

// submit hands over an op for which the caller has a slot. Its record is locked, so that ops of one queue come in the
// order in which they were decided.
func (w *writer) submit(o *op) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return store.ErrClosed
	case w.failing != nil:
		return w.failing
	}
	if len(w.pending) >= 2*cap(w.slots) {
		w.pending = slices.DeleteFunc(w.pending, func(o *op) bool { return o.cancelled })
	}
	w.pending = append(w.pending, o)
	w.signal()
	return nil
}

// cancel takes back an op that is not part of a transaction yet; the caller resolves it then.
func (w *writer) cancel(o *op) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.taken || w.failing != nil {
		return false
	}
	o.cancelled, o.apply = true, nil
	return true
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// stop makes everything durable that was submitted. It is false if the writer was stopped before.
func (w *writer) stop() bool {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return false
	}
	w.closed = true
	w.signal()
	w.mu.Unlock()
	<-w.done
	return true
}

func (w *writer) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

func (w *writer) close() (err error) {
	if w.do != nil {
		err = w.do.close()
	}
	return errors.Join(err, w.conn.Close(), w.db.Close())
}

func (w *writer) run() {
	defer close(w.done)
	for range w.wake {
		batch, closed := w.take()
		if len(batch) > 0 {
			if err := w.write(batch); err != nil {
				w.fail(batch, err)
			} else {
				w.succeed(batch)
			}
		}
		if closed {
			return
		}
	}
}

// take returns everything that is pending and not cancelled.
func (w *writer) take() (batch []*op, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	batch = w.pending[:0]
	for _, o := range w.pending {
		if !o.cancelled {
			o.taken = true
			batch = append(batch, o)
		}
	}
	clear(w.pending[len(batch):])
	w.pending = nil
	return batch, w.closed
}

// write makes a batch durable in one transaction.
func (w *writer) write(batch []*op) error {
	if _, err := w.do.begin.ExecContext(background); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	c := &changes{do: w.do}
	for _, o := range batch {
		if err := o.apply(c); err != nil {
			return w.rollback(err)
		}
	}
	if err := c.addTotals(); err != nil {
		return w.rollback(err)
	}
	if _, err := w.do.commit.ExecContext(background); err != nil {
		return w.rollback(fmt.Errorf("commit: %w", err))
	}
	return nil
}

func (w *writer) rollback(cause error) error {
	// SQLite has rolled back by itself after some errors; then this fails, and nothing is lost by that.
	_, _ = w.do.rollback.ExecContext(background)
	return cause
}

func (w *writer) succeed(batch []*op) {
	for _, o := range batch {
		if o.stored != nil {
			o.entry.mu.Lock()
			o.stored()
			o.entry.mu.Unlock()
		}
	}
	w.resolve(batch, nil)
}

// fail gives up a batch, and what was submitted since, because that was decided on records that are wrong now. The records
// are read again when they are used next.
func (w *writer) fail(batch []*op, cause error) {
	w.mu.Lock()
	w.failing = cause
	for _, o := range w.pending {
		if !o.cancelled {
			batch = append(batch, o)
		}
	}
	w.pending = nil
	w.mu.Unlock()

	w.forget(batch)

	w.mu.Lock()
	w.failing = nil
	w.mu.Unlock()
	w.resolve(batch, cause)
}

func (w *writer) resolve(ops []*op, err error) {
	for _, o := range ops {
		if o.entry != nil {
			o.entry.cache.unpin(o.entry)
		}
		w.release()
		o.commit.Resolve(err)
	}
}

// flush waits until everything that was submitted before is durable or has failed.
func (w *writer) flush(ctx context.Context) error {
	if err := w.acquire(ctx); err != nil {
		return err
	}
	o := &op{commit: new(store.Commit), apply: func(*changes) error { return nil }}
	if err := w.submit(o); err != nil {
		w.release()
		return err
	}
	return o.commit.Wait(ctx)
}
