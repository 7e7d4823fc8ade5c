package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// putMany changes so many records that they go into the journal.
func putMany(tx *Tx, value string) {
	for i := range usualJournal.from {
		tx.Records(Owner{Connection, fmt.Sprint(i)}).Put([]byte("state"), []byte(value))
	}
}

func count(t *testing.T, s *Store, table string) (n int) {
	t.Helper()
	if err := s.conn.QueryRowContext(context.Background(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestManyRecordsOfOneTransactionAreOneRow(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "agent.db"))
	few := begin(t, s)
	few.Records(Owner{Connection, "0"}).Put([]byte("state"), []byte("few"))
	commit(t, few)
	if s.Journal() || count(t, s, "record") != 1 {
		t.Fatal("few records went into the journal")
	}
	for _, value := range []string{"first", "second"} {
		tx := begin(t, s)
		putMany(tx, value)
		commit(t, tx)
	}
	tx := begin(t, s)
	tx.Records(Owner{Connection, "1"}).Put([]byte("state"), []byte("third")) // the journal has an older value
	tx.Records(Owner{Connection, "2"}).Delete([]byte("state"))
	tx.DeleteOwner(Owner{Connection, "3"})
	commit(t, tx)
	if records, entries := count(t, s, "record"), count(t, s, "journal"); records != 1 || entries != 3 || !s.Journal() {
		t.Error("records:", records, "entries:", entries)
	}
	check := func(tx *Tx) error {
		for i, want := range []string{"second", "third", "", "", "second"} {
			got, ok := tx.Records(Owner{Connection, fmt.Sprint(i)}).Get([]byte("state"))
			if string(got) != want || ok != (want != "") {
				t.Errorf("connection %d: %q, %v, want %q", i, got, ok, want)
			}
		}
		return nil
	}
	if err := s.View(context.Background(), check); err != nil {
		t.Fatal(err)
	}
	tx = begin(t, s)
	_ = check(tx)
	tx.Fold()
	_ = check(tx)
	commit(t, tx)
	if records, entries := count(t, s, "record"), count(t, s, "journal"); records != usualJournal.from-2 || entries != 0 || s.Journal() {
		t.Error("after folding: records:", records, "entries:", entries)
	}
	if err := s.View(context.Background(), check); err != nil {
		t.Fatal(err)
	}
}

func TestJournalDoesNotGrowWithoutEnd(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "agent.db"))
	most := 0
	for i := range usualJournal.rows + 10 {
		tx := begin(t, s)
		putMany(tx, fmt.Sprint(i))
		commit(t, tx)
		most = max(most, count(t, s, "journal"))
	}
	if most != usualJournal.rows {
		t.Error("most entries:", most)
	}
	tx := begin(t, s)
	tx.Records(Owner{Group, "g"}).Put([]byte("large"), make([]byte, usualJournal.size+1))
	commit(t, tx)
	if n := count(t, s, "journal"); n != 0 {
		t.Error("entries after a record that is too large for the journal:", n)
	}
}

func TestFailedTransactionLeavesTheJournal(t *testing.T) {
	broken := errors.New("broken")
	var fail error
	s, err := Open(Options{Path: filepath.Join(t.TempDir(), "agent.db"), Key: testKey, BeforeCommit: func() error { return fail }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tx := begin(t, s)
	putMany(tx, "kept")
	commit(t, tx)
	for name, change := range map[string]func(*Tx){
		"append": func(tx *Tx) { putMany(tx, "lost") },
		"fold":   func(tx *Tx) { tx.Fold() },
		"owner":  func(tx *Tx) { tx.DeleteOwner(Owner{Connection, "1"}) },
	} {
		fail = broken
		tx = begin(t, s)
		change(tx)
		if err := tx.Commit(); !errors.Is(err, broken) {
			t.Error(name, err)
		}
		fail = nil
		tx = begin(t, s)
		if v, _ := tx.Records(Owner{Connection, "1"}).Get([]byte("state")); string(v) != "kept" || count(t, s, "journal") != 1 {
			t.Errorf("%s: %q", name, v)
		}
		tx.Rollback()
	}
}

// A process that is killed leaves the journal; the next one finds everything and moves it to the table.
func TestJournalOfKilledProcess(t *testing.T) {
	if path := os.Getenv("COTERIE_JOURNAL"); path != "" {
		s, err := Open(Options{Path: path, Key: testKey, AfterCommit: func(n int) {
			if n == 2 {
				os.Exit(7)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{"first", "second", "third"} {
			tx := begin(t, s)
			putMany(tx, value)
			commit(t, tx)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "agent.db")
	child := exec.Command(os.Args[0], "-test.run=^TestJournalOfKilledProcess$")
	child.Env = append(os.Environ(), "COTERIE_JOURNAL="+path)
	if out, err := child.CombinedOutput(); child.ProcessState.ExitCode() != 7 {
		t.Fatalf("%v\n%s", err, out)
	}
	db := open(t, path)
	if n := count(t, db, "journal"); n != 0 || count(t, db, "record") != usualJournal.from {
		t.Error("entries:", n)
	}
	tx := begin(t, db)
	for i := range usualJournal.from {
		if v, _ := tx.Records(Owner{Connection, fmt.Sprint(i)}).Get([]byte("state")); string(v) != "second" {
			t.Errorf("connection %d: %q", i, v)
		}
	}
	putMany(tx, "again") // a number of an entry is not used again
	commit(t, tx)
	if db.journalSeq != 3 {
		t.Error("number of the next entry:", db.journalSeq)
	}
	_ = db.Close()
	db = open(t, path)
	if n := count(t, db, "journal"); n != 0 {
		t.Error("a closed store has a journal of", n)
	}
}

func TestForgedJournalIsDetected(t *testing.T) {
	for name, change := range map[string]string{
		"changed": "UPDATE journal SET sealed = zeroblob(100)",
		"moved":   "UPDATE journal SET seq = seq + 1",
	} {
		s := open(t, filepath.Join(t.TempDir(), "agent.db"))
		tx := begin(t, s)
		putMany(tx, "value")
		commit(t, tx)
		if _, err := s.conn.ExecContext(context.Background(), change); err != nil {
			t.Fatal(err)
		}
		err := s.View(context.Background(), func(tx *Tx) error {
			if _, ok := tx.Records(Owner{Connection, "0"}).Get([]byte("state")); ok {
				t.Error(name, "is read")
			}
			return nil
		})
		if !errors.Is(err, ErrDamaged) {
			t.Error(name, err)
		}
	}
}

func entry() []byte {
	p := pending{dead: []uint64{7}}
	for i, value := range [][]byte{[]byte("value"), nil, {}} {
		p.list = append(p.list, pendingRecord{recordID{uint64(i), fmt.Sprint("key", i)}, value})
	}
	b := p.append(nil)
	if len(b) != p.size() {
		panic("size of an entry")
	}
	return b
}

func FuzzJournalEntry(f *testing.F) {
	f.Add(entry())
	f.Add([]byte{journalFormat, 0, 0, 0, 0})
	f.Add([]byte{9})
	f.Fuzz(func(t *testing.T, b []byte) {
		dead, records, err := decodeEntry(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
			return
		}
		p := pending{list: records, dead: dead}
		again := p.append(nil)
		if len(again) != len(b) || len(again) != p.size() {
			t.Fatalf("%d bytes became %d", len(b), len(again))
		}
		_, copied, err := decodeEntry(again)
		if err != nil || len(copied) != len(records) {
			t.Fatal("written again:", err)
		}
		for i, r := range records {
			if got := copied[i]; got.recordID != r.recordID || !bytes.Equal(got.value, r.value) || (got.value == nil) != (r.value == nil) {
				t.Errorf("record %q: %q", r.key, got.value)
			}
		}
	})
}
