package sqlite

import (
	"errors"
	"path/filepath"
	"syscall"
)

// ErrNoSpace reports a queue or message that is not stored because the disk is almost full.
var ErrNoSpace = errors.New("disk is almost full, nothing is added to the store")

// minFree is how much of the disk is left for deletions, which need room, too: SQLite writes every change to its log first,
// and what is in the log is not yet in the file. One half is for the log and the backlog; the other half is for the growth
// of the file, unless that has as much room inside.
const minFree = 64 << 20

// room is ErrNoSpace if nothing should be added. Recipients then still get and delete their messages, which would fail on a
// disk that is full.
func (s *Store) room() error {
	free, err := s.free()
	if err != nil || free >= minFree {
		return nil
	}
	if reusable, err := s.reader.reusable(); err == nil && free >= minFree/2 && reusable >= minFree/2 {
		return nil
	}
	return ErrNoSpace
}

// freeAt returns how to ask for the free bytes of the disk that holds a file.
func freeAt(path string) func() (int64, error) {
	dir := filepath.Dir(path)
	return func() (int64, error) {
		var disk syscall.Statfs_t
		if err := syscall.Statfs(dir, &disk); err != nil {
			return 0, err
		}
		return int64(disk.Bavail) * int64(disk.Bsize), nil
	}
}
