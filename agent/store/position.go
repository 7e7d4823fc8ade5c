package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// A store counts its commits, inside and in a small file beside it, which is written after each commit. So the count in the
// file beside is never ahead of what was committed, whenever a process or a machine stops: if it is, somebody has put an
// older copy of the store in place (docs/agent.md, "Backups, and why they are dangerous"). Whoever puts back both, or the store alone on another
// machine, is not noticed.
//
//	identity 16, random · u64 commits · first 8 bytes of SHA-256 over these
//
// In the store the first two are the value of metaPosition. The file beside says nothing about another identity, or if it is
// missing, cut off or damaged: then it begins anew.
const (
	positionSuffix = ".commits"
	metaPosition   = "position"
	identitySize   = 16
	countedSize    = identitySize + 8
	positionSize   = countedSize + 8
)

// position is how many commits a store has seen.
type position struct {
	file     *os.File // nil when the store is closed
	identity []byte
	commits  uint64
	known    uint64 // what the file beside says, if that was more at the start and nobody has taken note; else 0
}

func (p *position) counted() []byte {
	return binary.BigEndian.AppendUint64(bytes.Clone(p.identity), p.commits)
}

// openPosition reads both counts.
func (s *Store) openPosition(path string) error {
	p := &s.position
	var value []byte
	err := s.conn.QueryRowContext(context.Background(), "SELECT value FROM meta WHERE name = ?", metaPosition).Scan(&value)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		p.identity = make([]byte, identitySize)
		if _, err := io.ReadFull(s.options.Rand, p.identity); err != nil {
			return fmt.Errorf("identity of the store: %w", err)
		}
	case err != nil:
		return describe("read commits", err)
	case len(value) != countedSize:
		return fmt.Errorf("%w: count of commits", ErrDamaged)
	default:
		p.identity, p.commits = value[:identitySize], binary.BigEndian.Uint64(value[identitySize:])
	}
	if p.file, err = os.OpenFile(path+positionSuffix, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return fmt.Errorf("open count of commits: %w", err)
	}
	beside := make([]byte, positionSize)
	if n, _ := p.file.ReadAt(beside, 0); n < positionSize || !bytes.Equal(beside[countedSize:], checkOf(beside[:countedSize])) {
		return nil
	}
	if count := binary.BigEndian.Uint64(beside[identitySize:]); bytes.Equal(beside[:identitySize], p.identity) && count > p.commits {
		p.known = count
	}
	return nil
}

func checkOf(counted []byte) []byte {
	sum := sha256.Sum256(counted)
	return sum[:positionSize-countedSize]
}

// Older tells whether an older copy of the store was put in its place, until a transaction with Tx.Noticed is committed. It
// is for the goroutine that begins transactions.
func (s *Store) Older() bool { return s.position.known > 0 }

// Noticed says that this transaction stores what follows from Store.Older, which is not told again.
func (tx *Tx) Noticed() {
	if !tx.dead() {
		tx.noticed, tx.changed = true, true
	}
}

// count writes the number of this commit.
func (tx *Tx) count() {
	if tx.dead() || !tx.changed {
		return
	}
	next := tx.store.position
	next.commits++
	if tx.noticed {
		next.commits = max(next.commits, next.known+1)
	}
	tx.exec("count commits", putMeta, metaPosition, next.counted())
	tx.commits = next.commits
}

// counted notes a commit in the file beside. A failure is none of the commit's: then less is noticed later.
func (s *Store) counted(tx *Tx) {
	p := &s.position
	p.commits = tx.commits
	if tx.noticed {
		p.known = 0
	}
	if s.Older() || p.file == nil {
		return // the file beside is right
	}
	b := p.counted()
	_, _ = p.file.WriteAt(append(b, checkOf(b)...), 0)
}
