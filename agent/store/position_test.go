package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// change commits something.
func change(t *testing.T, s *Store) {
	t.Helper()
	tx := begin(t, s)
	tx.AppendEvent([]byte("x"))
	commit(t, tx)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOlderCopyIsNoticed: a store that is behind the count beside it says so at every start, until a transaction has taken
// note.
func TestOlderCopyIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	s := open(t, path)
	change(t, s)
	_ = s.Close()
	old := read(t, path)
	s = open(t, path)
	if s.Older() {
		t.Error("older than itself")
	}
	change(t, s) // one commit is enough
	_ = s.Close()
	write(t, path, old)
	for range 2 {
		s = open(t, path)
		if !s.Older() {
			t.Error("an old copy is not noticed")
		}
		for range 3 { // more than were forgotten, none of which says Noticed
			change(t, s)
			if !s.Older() {
				t.Error("forgotten with a commit")
			}
		}
		_ = s.Close()
		write(t, path, old)
	}
	s = open(t, path)
	tx := begin(t, s)
	tx.Noticed()
	tx.Rollback()
	if !s.Older() {
		t.Error("a transaction that was rolled back took note")
	}
	tx = begin(t, s)
	tx.Noticed()
	commit(t, tx)
	if s.Older() {
		t.Error("older after it was noticed")
	}
	change(t, s)
	noted := read(t, path+positionSuffix)
	_ = s.Close()
	s = open(t, path)
	if s.Older() {
		t.Error("older once more")
	}
	_ = s.Close()
	write(t, path, old)
	if s = open(t, path); !s.Older() {
		t.Error("the same old copy is not noticed again")
	}
	if now := read(t, path+positionSuffix); !bytes.Equal(now, noted) {
		t.Error("the count beside was changed by opening")
	}
}

// TestNoFalseAlarm: what is beside is behind, missing, broken, of another store or goes back together with the store.
func TestNoFalseAlarm(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "agent.db")
	s := open(t, path)
	change(t, s)
	before := read(t, path+positionSuffix)
	change(t, s)
	_ = s.Close()
	store, beside := read(t, path), read(t, path+positionSuffix)

	other := filepath.Join(folder, "other.db")
	o := open(t, other)
	for range 9 {
		change(t, o)
	}
	_ = o.Close()

	damaged := bytes.Clone(beside)
	damaged[identitySize] ^= 1
	for name, content := range map[string][]byte{
		"behind": before, "equal": beside, "empty": {}, "cut off": beside[:positionSize-1], "damaged": damaged,
		"of another store": read(t, other+positionSuffix),
	} {
		write(t, path, store)
		write(t, path+positionSuffix, content)
		s = open(t, path)
		if s.Older() {
			t.Errorf("%s: taken for an old copy", name)
		}
		change(t, s)
		_ = s.Close()
		s = open(t, path)
		if s.Older() {
			t.Errorf("%s: taken for an old copy after a commit", name)
		}
		_ = s.Close()
		write(t, path, store)
		s = open(t, path) // and counting goes on from there
		if !s.Older() {
			t.Errorf("%s: an old copy is not noticed afterwards", name)
		}
		_ = s.Close()
	}
	write(t, path, store)
	if err := os.Remove(path + positionSuffix); err != nil {
		t.Fatal(err)
	}
	if s = open(t, path); s.Older() {
		t.Error("missing: taken for an old copy")
	}
}
