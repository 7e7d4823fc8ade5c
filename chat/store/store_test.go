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

// What version 1 wrote is read as it was, and from then on version 1 refuses the file.
func TestStoreOfVersionOneIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.db")
	s := reopen(t, path)
	const conversation = `{"id":"01890a5d-ac96-774b-bcce-b302099a8057","kind":"group","ref":"g","name":"friends","begun":"2030-01-02T12:00:00Z",` +
		`"self":"me","members":[{"key":"b","name":"ben"},{"key":"c","by":"b"}]}`
	const message = `{"id":"01890a5d-ac96-774b-bcce-b302099a8058","origin":"b/0/00","author":"b","text":"hi","time":"2030-01-02T12:00:00Z","depth":3,"vouched":true}`
	if err := s.write(func(tx *agentstore.Tx) error {
		c, err := decode[Conversation]([]byte(conversation))
		if err != nil {
			return err
		}
		tx.Records(app).Put(keyVersion, []byte{1})
		tx.Records(app).Put(refKey(Group, "g"), c.ID[:])
		tx.Records(app).Put(append(bytes.Clone(prefixConv), c.ID[:]...), []byte(conversation))
		position := append(bytes.Clone(prefixMessage), 0, 0, 0, 0, 0, 0, 0, 0)
		tx.Records(messages(c)).Put(position, []byte(message))
		tx.Records(messages(c)).Put(append(bytes.Clone(prefixOrigin), "b/0/00"...), position)
		tx.Records(messages(c)).Put(keyNextMessage, []byte{0, 0, 0, 0, 0, 0, 0, 1})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	s = reopen(t, path)
	if err := s.Write(func(b *Batch) error {
		c, err := b.ByRef(Group, "g")
		if err != nil || c.Name != "friends" || c.Self != "me" || len(c.Members) != 2 || c.Members[0].Name != "ben" || c.Genesis != "" || c.Remote {
			t.Errorf("%+v %v", c, err)
		}
		m, ok, err := b.Message(c, "b/0/00")
		if err != nil || !ok || m.Text != "hi" || !m.Vouched || m.False || m.Depth != 3 {
			t.Errorf("%+v %v %v", m, ok, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.write(func(tx *agentstore.Tx) error {
		if v, _ := tx.Records(app).Get(keyVersion); !bytes.Equal(v, []byte{formatVersion}) {
			t.Errorf("version %v", v)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestMessagesAreFoundAndChanged(t *testing.T) {
	s := reopen(t, filepath.Join(t.TempDir(), "chat.db"))
	if err := s.Write(func(b *Batch) error {
		c, err := b.Begin(Group, "g", "friends", noon)
		for _, origin := range []string{"a/1/x", "a/1/y", "a/11/x", "b/1/x"} {
			_, appendErr := b.Append(c, Message{Origin: origin, Text: origin})
			err = errors.Join(err, appendErr)
		}
		if got := b.Origins(c, "a/1/"); len(got) != 2 || got[0] != "a/1/x" || got[1] != "a/1/y" {
			t.Errorf("found %q", got)
		}
		m, ok, messageErr := b.Message(c, "a/1/y")
		m.False = true
		err = errors.Join(err, messageErr, b.Replace(c, m))
		if again, _, _ := b.Message(c, "a/1/y"); !ok || again != m {
			t.Errorf("%+v", again)
		}
		if _, ok, err := b.Message(c, "a/2/x"); ok || err != nil {
			t.Error("found what is not there", err)
		}
		if !errors.Is(b.Replace(c, Message{Origin: "nowhere"}), ErrUnknown) {
			t.Error("replaced what is not there")
		}
		all, messagesErr := b.Messages(c)
		if len(all) != 4 || !all[1].False || all[0].False {
			t.Errorf("%+v", all)
		}
		return errors.Join(err, messagesErr)
	}); err != nil {
		t.Fatal(err)
	}
}
