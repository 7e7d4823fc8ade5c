package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/coterie-im/coterie/queue/store"
)

// Inspection is what can be seen of a store from outside, also while a relay uses it.
type Inspection struct {
	InUse  bool // a process has it open
	Counts store.Counts
	Bytes  int64 // on disk, with the log of what was written last
}

// Inspect looks at the store in the file path without opening it for use. The error is fs.ErrNotExist if there is none.
func Inspect(path string) (Inspection, error) {
	var i Inspection
	info, err := os.Stat(path)
	if err != nil {
		return i, err
	}
	i.Bytes = info.Size()
	if wal, err := os.Stat(path + "-wal"); err == nil {
		i.Bytes += wal.Size()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return i, err
	}
	lock, err := lockFile(path + ".lock")
	switch {
	case errors.Is(err, ErrInUse):
		i.InUse = true
	case err != nil:
		return i, err
	default:
		if err := lock.Close(); err != nil {
			return i, err
		}
	}
	db, err := sql.Open("sqlite3", dataSource(path, "_query_only=true"))
	if err != nil {
		return i, err
	}
	defer db.Close()
	if err := db.QueryRow("SELECT queues, messages FROM totals").Scan(&i.Counts.Queues, &i.Counts.Messages); err != nil {
		return i, fmt.Errorf("read totals: %w", err)
	}
	return i, nil
}
