package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
)

// Tx is one transaction: the writer's, from Begin, or a reader's, inside View. It is for one goroutine. Its first
// failure makes all later calls do nothing and return zero values; Err and Commit report it.
type Tx struct {
	store    *Store
	on       runner
	index    *index
	owners   map[Owner]uint64 // numbers that a reader looked up
	made     []Owner          // that this transaction gave a number
	bodies   bodyUses
	pending  pending
	journal  *journal // a reader's, once it needed it
	writable bool
	changed  bool // something was written
	noticed  bool // see Noticed
	commits  uint64
	err      error
	done     bool
}

// runner runs the numbered statements, prepared ones for the writer.
type runner struct {
	prepared *statements
	reading  *sql.Tx
}

type statements [numStatements]*sql.Stmt

func prepare(c *sql.Conn) (*statements, error) {
	s := &statements{}
	for i, q := range queries {
		st, err := c.PrepareContext(context.Background(), q)
		if err != nil {
			s.close()
			return nil, describe("prepare store", err)
		}
		s[i] = st
	}
	return s, nil
}

func (s *statements) close() {
	for _, st := range s {
		if st != nil {
			_ = st.Close()
		}
	}
}

func (r runner) query(id int, args ...any) (*sql.Rows, error) {
	if r.prepared != nil {
		return r.prepared[id].QueryContext(context.Background(), args...)
	}
	return r.reading.QueryContext(context.Background(), queries[id], args...)
}

// Err returns the transaction's first failure.
func (tx *Tx) Err() error { return tx.err }

func (tx *Tx) fail(what string, err error) {
	if err != nil && tx.err == nil {
		tx.err = describe(what, err)
	}
}

// dead tells whether calls must do nothing.
func (tx *Tx) dead() bool {
	if tx.done && tx.err == nil {
		tx.err = ErrClosed
	}
	return tx.err != nil
}

// rows runs a query and calls scan for every row.
func (tx *Tx) rows(what string, id int, scan func(*sql.Rows) error, args ...any) {
	if tx.dead() {
		return
	}
	rows, err := tx.on.query(id, args...)
	if err != nil {
		tx.fail(what, err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			tx.fail(what, err)
			return
		}
	}
	tx.fail(what, rows.Err())
}

// row reads at most one row into dest and tells whether there was one.
func (tx *Tx) row(what string, id int, args []any, dest ...any) (found bool) {
	tx.rows(what, id, func(r *sql.Rows) error {
		found = true
		return r.Scan(dest...)
	}, args...)
	return found && tx.err == nil
}

// exec runs a writing statement and returns its result, nil after a failure.
func (tx *Tx) exec(what string, id int, args ...any) sql.Result {
	if !tx.writable {
		panic("store: write in a read-only transaction")
	}
	if tx.dead() {
		return nil
	}
	tx.changed = true
	res, err := tx.on.prepared[id].ExecContext(context.Background(), args...)
	if err != nil {
		tx.fail(what, err)
		return nil
	}
	tx.store.written.Rows += int(affected(res))
	return res
}

// Commit ends the transaction and makes it durable, or rolls it back and returns the first failure, its own or an
// earlier one. After a failure nothing of the transaction is stored and the store can be used on.
func (tx *Tx) Commit() error {
	if tx.done {
		return ErrClosed
	}
	o := &tx.store.options
	tx.writeBodies()
	tx.writeRecords()
	tx.count()
	if tx.err == nil && tx.changed && o.BeforeCommit != nil {
		tx.fail("commit", o.BeforeCommit())
	}
	if tx.err == nil {
		_, err := tx.store.conn.ExecContext(context.Background(), "COMMIT")
		tx.fail("commit", err)
	}
	if tx.err != nil {
		tx.Rollback()
		return tx.err
	}
	tx.done = true
	tx.store.open = false
	tx.index.committed()
	tx.journalCommitted()
	tx.endPending()
	if !tx.changed {
		return nil
	}
	tx.store.counted(tx)
	tx.store.commits++
	if o.AfterCommit != nil {
		o.AfterCommit(tx.store.commits)
	}
	return nil
}

// Rollback ends the transaction and forgets it. After Commit it does nothing.
func (tx *Tx) Rollback() {
	if tx.done {
		return
	}
	tx.done = true
	tx.store.open = false
	tx.index.dropped()
	tx.endPending()
	for _, o := range tx.made {
		delete(tx.store.owners, o)
	}
	// SQLite has already rolled back after some errors, a full disk among them; then this one says so.
	_, _ = tx.store.conn.ExecContext(context.Background(), "ROLLBACK")
}

// Event is an entry of the event log.
type Event struct {
	// Seq numbers the log, ascending with gaps, and is never used again.
	Seq uint64
	// Payload is what the agent recorded; the store does not look into it.
	Payload []byte
}

// AppendEvent adds an entry to the log and returns its number.
func (tx *Tx) AppendEvent(payload []byte) (seq uint64) {
	if tx.dead() {
		return 0
	}
	// The number is part of the associated data, so it must be known before the row exists. There is one writer.
	seq = tx.LastEvent() + 1
	sealed, err := tx.store.seals.event.seal(number(seq), payload)
	if err != nil {
		tx.fail("append event", err)
		return 0
	}
	tx.exec("append event", putEvent, seq, sealed)
	return seq
}

// Events returns entries with numbers above after, ascending, at most limit.
func (tx *Tx) Events(after uint64, limit int) (events []Event) {
	tx.rows("read events", listEvents, func(r *sql.Rows) error {
		var seq uint64
		var sealed []byte
		if err := r.Scan(&seq, &sealed); err != nil {
			return err
		}
		payload, err := tx.store.seals.event.open(number(seq), sealed)
		if err != nil {
			return err
		}
		events = append(events, Event{seq, payload})
		return nil
	}, after, limit)
	return events
}

// LastEvent returns the highest number ever used, 0 if none was.
func (tx *Tx) LastEvent() (seq uint64) {
	tx.row("last event", lastEvent, nil, &seq)
	return seq
}

// CountEvents returns how many entries the log holds.
func (tx *Tx) CountEvents() (n int) {
	tx.row("count events", countEvents, nil, &n)
	return n
}

// EventAt returns the number of the n-th oldest entry in the log, from 0; ok is false if there are not so many.
func (tx *Tx) EventAt(n int) (seq uint64, ok bool) {
	ok = tx.row("find event", eventAt, []any{n}, &seq)
	return seq, ok
}

// DropEvents removes the entries up to and including seq and returns how many they were.
func (tx *Tx) DropEvents(seq uint64) (n int) {
	if res := tx.exec("drop events", dropEvents, seq); res != nil {
		n = int(affected(res))
	}
	return n
}

// Cursor returns how far the named reader of the log is; ok is false if there is no such cursor.
func (tx *Tx) Cursor(name string) (position uint64, ok bool) {
	if tx.dead() {
		return 0, false
	}
	ok = tx.row("read cursor", getCursor, []any{tx.store.seals.cursor.tag(nil, []byte(name))}, &position)
	return position, ok
}

// SetCursor makes or moves the named cursor.
func (tx *Tx) SetCursor(name string, position uint64) {
	if tx.dead() {
		return
	}
	c := tx.store.seals.cursor
	tag := c.tag(nil, []byte(name))
	tx.exec("write cursor", putCursor, tag, c.conceal(tag, []byte(name)), position)
}

// DropCursor removes the named cursor.
func (tx *Tx) DropCursor(name string) {
	if tx.dead() {
		return
	}
	tx.exec("drop cursor", dropCursor, tx.store.seals.cursor.tag(nil, []byte(name)))
}

// Cursors returns all cursors with their positions.
func (tx *Tx) Cursors() map[string]uint64 {
	all := map[string]uint64{}
	tx.rows("list cursors", listCursors, func(r *sql.Rows) error {
		var tag, hidden []byte
		var position uint64
		if err := r.Scan(&tag, &hidden, &position); err != nil {
			return err
		}
		name, err := tx.store.seals.cursor.reveal(nil, tag, hidden)
		all[string(name)] = position
		return err
	})
	return all
}

// number is a row number as associated data.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func affected(r sql.Result) int64 {
	n, err := r.RowsAffected()
	if err != nil {
		panic(fmt.Sprintf("store: %v", err)) // this driver always knows
	}
	return n
}
