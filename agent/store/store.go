// Package store is the agent's memory on disk: one SQLite file in which everything but numbers and sizes is sealed
// (docs/overview.md, "What is sealed and what is not").
//
// There is one writer, the agent's loop: it opens a transaction, runs the steps of all inputs that wait, and commits
// them together. Every commit is durable when it returns (write-ahead log, synchronous=FULL). Readers, which serve
// history and event streams, use connections of their own and never wait for the writer.
//
// A transaction carries its error: reads and writes have no error results, the first failure makes all later calls
// of that transaction do nothing, and Commit returns it. A full disk or an I/O error so fails one transaction as a
// whole; the store stays open and the next transaction tries again.
//
// # What a stolen file shows
//
// Without the key, somebody who has the file sees: how many connections, groups and other owners there are, in which
// order they were made, how many records each has with the first byte, the length of their keys and the sizes of
// their values; how many transactions changed many records in the last seconds and the sizes of their changes; how many queues, waiting bodies and events there are, and the sizes of these; cursors' positions, the
// parameters of the key derivation, how many commits there were (also in a file beside it). Two looks at the file at different times show which records changed. Identifiers
// (connection IDs, group and operation IDs, member keys, relay addresses, queue IDs, cursor names) are not readable,
// and equal identifiers in two stores do not look alike. The file protects no integrity against a thief who can put
// an old copy back.
//
// The package is not for the relay, which has its own stores under queue/store, and knows nothing of what records mean.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/mattn/go-sqlite3"
)

// Errors that a caller decides by.
var (
	// ErrLocked reports a store that another process has open.
	ErrLocked = errors.New("store is in use by another process")
	// ErrKey reports a passphrase or key that does not open the store.
	ErrKey = errors.New("wrong passphrase or key for this store")
	// ErrNewer reports a store that was written by a newer version of the program.
	ErrNewer = errors.New("store was written by a newer version")
	// ErrDamaged reports content that was changed or broken outside the program.
	ErrDamaged = errors.New("store is damaged")
	// ErrFull reports that the disk has no room for a transaction, which did not happen.
	ErrFull = errors.New("the disk with the store is full")
	// ErrClosed reports the use of a store or transaction after its end.
	ErrClosed = errors.New("store is closed")
)

// Options say how a store is opened.
type Options struct {
	// Path of the SQLite file. It is created with mode 0600 if it is missing; its folder must exist.
	Path string
	// Key opens the store; a new store is created with it.
	Key Key
	// Rand is where the master key and nonces come from; nil means the system's.
	Rand io.Reader
	// AfterCommit, if not nil, is called after the n-th commit since Open that changed something, counted from 1, before
	// Commit returns. It is for tests that end the process at a chosen commit.
	AfterCommit func(n int)
	// BeforeCommit, if not nil, is called before every commit that would change something; an error fails the
	// transaction with it. It is for tests of what happens then.
	BeforeCommit func() error
}

// Store is an open store. Begin is for one goroutine at a time, and so is Close; View may be called from any until Close.
type Store struct {
	write  *sql.DB   // one connection
	conn   *sql.Conn // the writer's
	unlock func()

	reading sync.RWMutex // held by readers; Close waits for them
	read    *sql.DB      // a pool of read-only connections, guarded by reading

	seals                   *seals
	statements              *statements      // prepared on conn
	index                   *index           // owned by the writer's transaction
	owners                  map[Owner]uint64 // numbers that are known, owned by the writer's transaction
	options                 Options
	journal                 journal // as committed, owned by the writer's transaction
	limits                  journalLimits
	journalSeq              uint64  // last number used for an entry
	spare                   pending // of the last transaction, empty: its memory is used again
	spareEntry, spareSealed []byte  // of the last entry of the journal, likewise
	commits                 int
	position                position
	written                 Written
	open                    bool // a write transaction is open
}

// Open opens or creates the store and migrates an older one. ErrLocked, ErrKey, ErrNewer, ErrDamaged; other errors
// are the file system's or SQLite's.
func Open(o Options) (_ *Store, err error) {
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("store path: %w", err)
	}
	unlock, err := lock(path + ".lock")
	if err != nil {
		return nil, err
	}
	s := &Store{unlock: unlock, index: newIndex(), owners: map[Owner]uint64{}, limits: usualJournal, options: o}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if err := private(path); err != nil {
		return nil, err
	}
	s.write = sql.OpenDB(connector(path, false))
	s.write.SetMaxOpenConns(1)
	if s.conn, err = s.write.Conn(context.Background()); err != nil {
		return nil, describe("open store", err)
	}
	if err := migrate(s.conn); err != nil {
		return nil, err
	}
	if s.seals, err = unseal(s.conn, o.Key, o.Rand); err != nil {
		return nil, err
	}
	if s.statements, err = prepare(s.conn); err != nil {
		return nil, err
	}
	if err := s.openPosition(path); err != nil {
		return nil, err
	}
	if err := s.openJournal(); err != nil {
		return nil, err
	}
	s.read = sql.OpenDB(connector(path, true))
	s.read.SetMaxOpenConns(max(2, runtime.GOMAXPROCS(0)))
	return s, nil
}

// private creates the file if it is missing and takes everybody else's rights away. SQLite gives the files beside it
// the same mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := f.Chmod(0o600); err != nil {
			return fmt.Errorf("restrict store to its owner: %w", err)
		}
	}
	return nil
}

// Close ends the store; an open transaction is rolled back. It is safe to call it again.
func (s *Store) Close() error {
	var errs []error
	s.closeJournal()
	s.reading.Lock()
	if s.read != nil {
		errs = append(errs, s.read.Close())
		s.read = nil
	}
	s.reading.Unlock()
	if s.statements != nil {
		s.statements.close()
		s.statements = nil
	}
	if s.conn != nil {
		if s.open {
			_, _ = s.conn.ExecContext(context.Background(), "ROLLBACK")
			s.open = false
		}
		errs = append(errs, s.conn.Close())
		s.conn = nil
	}
	if s.write != nil {
		errs = append(errs, s.write.Close())
		s.write = nil
	}
	if s.position.file != nil {
		_ = s.position.file.Close()
		s.position.file = nil
	}
	if s.seals != nil {
		s.seals.clear()
	}
	if s.unlock != nil {
		s.unlock()
		s.unlock = nil
	}
	return errors.Join(errs...)
}

// Written counts what committed transactions and those that were rolled back have written since Open.
type Written struct {
	Rows    int // of the file, written or removed
	Records int // that transactions changed or removed, in the journal or not
}

// Written returns the counters. It is for the goroutine that begins transactions.
func (s *Store) Written() Written { return s.written }

// Begin opens the write transaction; there is one at a time, and opening a second is a programming error that panics.
// It ends with Commit or Rollback.
func (s *Store) Begin() (*Tx, error) {
	if s.open {
		panic("store: second write transaction")
	}
	if s.conn == nil {
		return nil, ErrClosed
	}
	if _, err := s.conn.ExecContext(context.Background(), "BEGIN IMMEDIATE"); err != nil {
		return nil, describe("begin", err)
	}
	s.open = true
	tx := &Tx{store: s, on: runner{prepared: s.statements}, index: s.index, writable: true, pending: s.spare}
	s.spare = pending{}
	return tx, nil
}

// View calls f with a read-only transaction: a consistent picture of what is committed. Writing in it panics. The
// result is f's error or the first failure of a read.
func (s *Store) View(ctx context.Context, f func(*Tx) error) error {
	s.reading.RLock()
	defer s.reading.RUnlock()
	if s.read == nil {
		return ErrClosed
	}
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return describe("begin reading", err)
	}
	defer func() { _ = tx.Rollback() }()
	v := &Tx{store: s, on: runner{reading: tx}, index: newIndex()}
	err = f(v)
	v.done = true
	return errors.Join(err, v.err)
}

// connector opens connections with the settings that the store needs.
func connector(path string, readOnly bool) driver.Connector {
	settings := []string{
		"PRAGMA busy_timeout = 10000",
		"PRAGMA secure_delete = ON", // used ratchet keys must not survive in free pages
		"PRAGMA temp_store = MEMORY",
	}
	mode := "rwc"
	if readOnly {
		mode = "ro"
		settings = append(settings, "PRAGMA query_only = ON")
	} else {
		settings = append(settings, "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL")
	}
	d := &sqlite3.SQLiteDriver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		for _, s := range settings {
			if _, err := c.Exec(s, nil); err != nil {
				return err
			}
		}
		return nil
	}}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: "mode=" + mode}
	return &dialer{driver: d, name: dsn.String()}
}

type dialer struct {
	driver *sqlite3.SQLiteDriver
	name   string
}

func (d *dialer) Connect(context.Context) (driver.Conn, error) { return d.driver.Open(d.name) }
func (d *dialer) Driver() driver.Driver                        { return d.driver }

// describe wraps an error of SQLite; a file that is no database, or is broken, is ErrDamaged, and a full disk ErrFull.
func describe(what string, err error) error {
	if err == nil {
		return nil
	}
	var e sqlite3.Error
	if errors.As(err, &e) && (e.Code == sqlite3.ErrCorrupt || e.Code == sqlite3.ErrNotADB) {
		return fmt.Errorf("%s: %w: %w", what, ErrDamaged, err)
	}
	if e.Code == sqlite3.ErrFull {
		return fmt.Errorf("%s: %w: %w", what, ErrFull, err)
	}
	if errors.Is(err, sql.ErrConnDone) || (err != nil && strings.Contains(err.Error(), "database is closed")) {
		return fmt.Errorf("%s: %w", what, ErrClosed)
	}
	return fmt.Errorf("%s: %w", what, err)
}
