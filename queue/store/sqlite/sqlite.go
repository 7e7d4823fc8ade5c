// Package sqlite keeps a relay's queues and messages in one SQLite file (docs/protocol.md, "Queues and messages").
//
// Every change is decided in memory, on a record that was loaded on demand, and handed to the one writer, which puts
// everything that came while the last transaction was written into the next one (group commit, WAL, synchronous=FULL).
// Changes are durable when their store.Commit says so. A message that is acknowledged while it still waits for its
// transaction never touches the disk.
//
// Memory follows what is used: a bounded cache of records, and the bodies of messages that are not durable yet. Records
// of queues that nobody touches are on disk only.
//
// One process has a file open at a time; a second one is refused.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"

	"github.com/coterie-im/coterie/queue/store"
)

// ErrInUse reports a file that another process has open.
var ErrInUse = errors.New("store is in use by another process")

// The defaults of Options.
const (
	DefaultCacheSize = 16384
	DefaultBacklog   = 1024
)

// Options says how to keep the store; zero values mean the defaults.
type Options struct {
	Quota     int // messages per queue before the marker; store.DefaultQuota
	CacheSize int // records in memory that nobody uses at the moment; DefaultCacheSize
	Backlog   int // changes, with bodies up to 16 KB, that may wait for the disk; more callers block; DefaultBacklog
}

// Store is a store.Store in an SQLite file.
type Store struct {
	quota  int
	lock   *os.File // holds the lock on the file for this process
	cache  *cache
	writer *writer
	reader *reader
	free   func() (bytes int64, err error) // of the disk

	nextQueue   atomic.Int64 // number of the last queue that was given one
	nextMessage atomic.Int64 // number of the last message that was given one
}

var _ store.Store = (*Store)(nil)

// Open opens the store in the file path, or makes it with access for its owner only. Besides the file there are
// path-wal, path-shm (both SQLite's) and path.lock. ErrInUse and ErrNewer say why a file cannot be used.
func Open(path string, o Options) (*Store, error) {
	if o.Quota == 0 {
		o.Quota = store.DefaultQuota
	}
	if o.CacheSize == 0 {
		o.CacheSize = DefaultCacheSize
	}
	if o.Backlog == 0 {
		o.Backlog = DefaultBacklog
	}
	s := &Store{quota: o.Quota, cache: newCache(o.CacheSize), free: freeAt(path)}
	if err := s.open(path, o, migrations); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

func (s *Store) open(path string, o Options, steps []string) (err error) {
	if s.lock, err = lockFile(path + ".lock"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if err := createFile(path); err != nil {
		return err
	}
	if s.writer, err = newWriter(path, o.Backlog, s.forget, steps); err != nil {
		return err
	}
	if s.reader, err = newReader(path); err != nil {
		return err
	}
	queues, messages, err := s.reader.lastNumbers()
	if err != nil {
		return err
	}
	s.nextQueue.Store(queues)
	s.nextMessage.Store(messages)
	s.writer.start()
	return nil
}

// Close implements store.Store.
func (s *Store) Close() error {
	if !s.writer.stop() {
		return nil
	}
	return s.release()
}

func (s *Store) release() (err error) {
	if s.reader != nil {
		err = errors.Join(err, s.reader.close())
	}
	if s.writer != nil {
		err = errors.Join(err, s.writer.close())
	}
	return errors.Join(err, s.lock.Close())
}

func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, err
	}
	return f, nil
}

// createFile makes the file before SQLite does, so that it is never readable by others; SQLite gives its two companions
// the same mode.
func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syncFolder(path); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return f.Chmod(info.Mode().Perm() & fs.FileMode(0o700))
	}
	return nil
}

// syncFolder makes it durable that a file exists.
func syncFolder(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// dataSource names the file with settings as the driver wants them.
func dataSource(path, settings string) string {
	return (&url.URL{Scheme: "file", Opaque: url.PathEscape(path)}).String() + "?_busy_timeout=10000&" + settings
}

// readers is how many connections read at the same time.
func readers() int { return max(2, runtime.GOMAXPROCS(0)) }

// background is the context of statements: the driver would start a goroutine for each one that can be cancelled, and
// all of them are short.
var background = context.Background()

// openConn returns the only connection of its own pool.
func openConn(path, settings string) (*sql.DB, *sql.Conn, error) {
	db, err := sql.Open("sqlite3", dataSource(path, settings))
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(background)
	if err != nil {
		_ = db.Close()
		return nil, nil, err
	}
	return db, conn, nil
}
