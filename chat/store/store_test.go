package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	agentstore "github.com/coterie-im/coterie/agent/store"
)

var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

func reopen(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path, agentstore.RawKey([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestHistorySurvivesAndNothingIsStoredTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.db")
	s := reopen(t, path)
	var group Conversation
	err := s.Write(func(b *Batch) (err error) {
		if group, err = b.Begin(Group, "g1", "friends", noon); err != nil {
			return err
		}
		for _, origin := range []string{"a/0", "a/1", "a/0"} {
			added, err := b.Append(group, Message{Origin: origin, Author: "a", Text: "text of " + origin, Time: noon})
			if err != nil || added != (origin != "a/0" || b.Cursor() == 0) {
				t.Errorf("%s added %v: %v", origin, added, err)
			}
			b.SetCursor(7)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(func(b *Batch) error {
		_, err := b.Append(group, Message{Origin: "a/2", Text: "never kept"})
		b.SetCursor(8)
		return errors.Join(err, os.ErrInvalid)
	}); !errors.Is(err, os.ErrInvalid) {
		t.Fatal(err)
	}
	_ = s.Close()
	if raw, err := os.ReadFile(path); err != nil || bytes.Contains(raw, []byte("text of")) || bytes.Contains(raw, []byte("friends")) {
		t.Error("content is readable in the file", err)
	}
	err = reopen(t, path).Write(func(b *Batch) error {
		all, err := b.Conversations()
		if err != nil || len(all) != 1 || all[0].Name != "friends" || all[0].Begun != noon {
			t.Errorf("%+v %v", all, err)
		}
		history, err := b.Messages(group)
		if err != nil || len(history) != 2 || history[0].Text != "text of a/0" || history[1].Text != "text of a/1" {
			t.Errorf("%+v %v", history, err)
		}
		if b.Cursor() != 7 {
			t.Errorf("cursor %d", b.Cursor())
		}
		_, err = b.ByRef(Contact, "g1")
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("found a contact: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStoreOfALaterVersionIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.db")
	s := reopen(t, path)
	if err := s.write(func(tx *agentstore.Tx) error {
		tx.Records(app).Put(keyVersion, []byte{formatVersion + 1})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if _, err := Open(path, agentstore.RawKey([32]byte{1})); !errors.Is(err, ErrNewer) {
		t.Fatal(err)
	}
	if _, err := Open(path, agentstore.RawKey([32]byte{2})); !errors.Is(err, agentstore.ErrKey) {
		t.Fatal(err)
	}
}
