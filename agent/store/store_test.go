package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/coterie-im/coterie/internal/kv"
)

var testKey = RawKey([32]byte{1, 2, 3})

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(Options{Path: path, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func begin(t testing.TB, s *Store) *Tx {
	t.Helper()
	tx, err := s.Begin()
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func commit(t testing.TB, tx *Tx) {
	t.Helper()
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsCommittedIsThereAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	s := open(t, path)
	alice := Owner{Connection, "alice"}
	tx := begin(t, s)
	tx.Records(alice).Put([]byte("state"), []byte("new"))
	ref := tx.Bodies().Add([]byte("hello"))
	if again := tx.Bodies().Add([]byte("hello")); !bytes.Equal(ref, again) {
		t.Error("one content has two references")
	}
	tx.AppendEvent([]byte("one"))
	tx.SetCursor("bot", 1)
	tx.SetRoute(Route{"smp://relay", []byte{9, 9}, "alice", []byte("secret")})
	commit(t, tx)
	tx = begin(t, s)
	tx.Records(alice).Put([]byte("state"), []byte("lost"))
	tx.AppendEvent([]byte("lost"))
	tx.Rollback()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, path)
	err := s.View(context.Background(), func(tx *Tx) error {
		if v, ok := tx.Records(alice).Get([]byte("state")); !ok || string(v) != "new" {
			t.Errorf("record is %q, %v", v, ok)
		}
		if ids := tx.Owners(Connection); len(ids) != 1 || ids[0] != "alice" {
			t.Error("owners:", ids)
		}
		if got := tx.Bodies().Get(ref); string(got) != "hello" {
			t.Errorf("body is %q", got)
		}
		if es := tx.Events(0, 10); len(es) != 1 || string(es[0].Payload) != "one" || es[0].Seq != 1 {
			t.Error("events:", es)
		}
		if c := tx.Cursors(); len(c) != 1 || c["bot"] != 1 {
			t.Error("cursors:", c)
		}
		r, ok := tx.Route("smp://relay", []byte{9, 9})
		if all := tx.Routes(); !ok || r.Connection != "alice" || string(r.Key) != "secret" || len(all) != 1 || all[0].Relay != r.Relay {
			t.Error("route:", r.Connection, ok, len(all))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBodyGoesWithItsLastUse(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "agent.db"))
	tx := begin(t, s)
	ref := tx.Bodies().Add([]byte("to all"))
	tx.Bodies().Add([]byte("to all"))
	tx.Bodies().Release(ref)
	if string(tx.Bodies().Get(ref)) != "to all" {
		t.Error("body went before its last use")
	}
	tx.Bodies().Release(ref)
	commit(t, tx)
	tx = begin(t, s)
	if tx.Bodies().Get(ref); !errors.Is(tx.Err(), errUnknownBody) {
		t.Error("released body:", tx.Err())
	}
	tx.Rollback()
	tx = begin(t, s)
	tx.Bodies().Release(ref)
	if err := tx.Commit(); !errors.Is(err, errUnknownBody) {
		t.Error("release of an unknown body:", err)
	}
}

func TestEventNumbersAreNeverUsedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	s := open(t, path)
	tx := begin(t, s)
	for range 3 {
		tx.AppendEvent(nil)
	}
	if n := tx.DropEvents(3); n != 3 {
		t.Error("dropped", n)
	}
	commit(t, tx)
	_ = s.Close()
	s = open(t, path)
	tx = begin(t, s)
	if seq := tx.AppendEvent([]byte("next")); seq != 4 {
		t.Error("number after dropping everything is", seq)
	}
	if n := tx.CountEvents(); n != 1 {
		t.Error("events:", n)
	}
	if seq, ok := tx.EventAt(0); !ok || seq != 4 {
		t.Error("oldest event:", seq, ok)
	}
	if _, ok := tx.EventAt(1); ok {
		t.Error("there is a second event")
	}
	if es := tx.Events(3, 1); len(es) != 1 || es[0].Seq != 4 {
		t.Error(es)
	}
	commit(t, tx)
}

func TestOwnerGoesWithItsRecords(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "agent.db"))
	a, b := Owner{Group, "a"}, Owner{Group, "b"}
	tx := begin(t, s)
	tx.Records(a).Put([]byte("k"), []byte("a"))
	tx.Records(b).Put([]byte("k"), []byte("b"))
	tx.DeleteOwner(a)
	tx.DeleteOwner(Owner{Connection, "nobody"})
	if _, ok := tx.Records(a).Get([]byte("k")); ok || tx.HasOwner(a) {
		t.Error("deleted owner has records")
	}
	if v, _ := tx.Records(b).Get([]byte("k")); string(v) != "b" {
		t.Error("other owner lost its record")
	}
	tx.Records(a).Put([]byte("x"), nil)
	if got := tx.Owners(Group); len(got) != 2 || got[0] != "b" {
		t.Error("owners, oldest first:", got)
	}
	commit(t, tx)
}

// The records behave like the in-memory twin under random operations, commits, rollbacks and readers.
func TestRecordsAgreeWithTheMemoryTwin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		s, err := Open(Options{Path: filepath.Join(dir, "s.db"), Key: testKey})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		limits := journalLimits{
			from: rapid.IntRange(1, 3).Draw(rt, "from"), rows: rapid.IntRange(1, 4).Draw(rt, "rows"), size: rapid.IntRange(20, 400).Draw(rt, "size"),
		}
		s.limits = limits
		committed := &kv.Memory{}
		twin := committed.Clone()
		tx, err := s.Begin()
		if err != nil {
			rt.Fatal(err)
		}
		owner := Owner{Group, "g"}
		key := rapid.SliceOfN(rapid.ByteRange('a', 'c'), 0, 4)
		dump := func(tx kv.Tx, prefix, from []byte, limit int) (out []string) {
			tx.Scan(prefix, from, func(k, v []byte) bool {
				out = append(out, fmt.Sprintf("%q=%q", k, v))
				return len(out) < limit
			})
			return out
		}
		compare := func(a, b kv.Tx) {
			prefix, from := key.Draw(rt, "prefix"), key.Draw(rt, "from")
			limit := rapid.IntRange(1, 20).Draw(rt, "limit")
			if x, y := dump(a, prefix, from, limit), dump(b, prefix, from, limit); strings.Join(x, " ") != strings.Join(y, " ") {
				rt.Fatalf("scan of %q from %q:\n%v\n%v", prefix, from, x, y)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				k, v := key.Draw(rt, "key"), rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(rt, "value")
				tx.Records(owner).Put(k, v)
				twin.Put(k, v)
			},
			"delete": func(rt *rapid.T) {
				k := key.Draw(rt, "key")
				tx.Records(owner).Delete(k)
				twin.Delete(k)
			},
			"get": func(rt *rapid.T) {
				k := key.Draw(rt, "key")
				v, ok := tx.Records(owner).Get(k)
				w, want := twin.Get(k)
				if ok != want || !bytes.Equal(v, w) {
					rt.Fatalf("get %q: %q %v, want %q %v", k, v, ok, w, want)
				}
			},
			"scan": func(rt *rapid.T) { compare(tx.Records(owner), twin) },
			"read": func(rt *rapid.T) {
				if err := s.View(context.Background(), func(v *Tx) error {
					compare(v.Records(owner), committed)
					return nil
				}); err != nil {
					rt.Fatal(err)
				}
			},
			"fold": func(rt *rapid.T) { tx.Fold() },
			"forget": func(rt *rapid.T) {
				tx.DeleteOwner(owner)
				*twin = kv.Memory{}
			},
			"reopen": func(rt *rapid.T) {
				tx.Rollback()
				twin = committed.Clone()
				if rapid.Bool().Draw(rt, "killed") {
					s.statements.close() // so that Close leaves the journal
					s.statements = nil
				}
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				if s, err = Open(Options{Path: filepath.Join(dir, "s.db"), Key: testKey}); err != nil {
					rt.Fatal(err)
				}
				s.limits = limits
				if tx, err = s.Begin(); err != nil {
					rt.Fatal(err)
				}
			},
			"end": func(rt *rapid.T) {
				if rapid.Bool().Draw(rt, "commit") {
					if err := tx.Commit(); err != nil {
						rt.Fatal(err)
					}
					committed = twin.Clone()
				} else {
					tx.Rollback()
					twin = committed.Clone()
				}
				if tx, err = s.Begin(); err != nil {
					rt.Fatal(err)
				}
			},
		})
	})
}

func TestSecondProcessIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	if os.Getenv("COTERIE_STORE") != "" {
		_, err := Open(Options{Path: os.Getenv("COTERIE_STORE"), Key: testKey})
		fmt.Println("other process:", errors.Is(err, ErrLocked))
		return
	}
	s := open(t, path)
	if _, err := Open(Options{Path: path, Key: testKey}); !errors.Is(err, ErrLocked) {
		t.Error("second open:", err)
	}
	other := exec.Command(os.Args[0], "-test.run=^TestSecondProcessIsRefused$", "-test.v")
	other.Env = append(os.Environ(), "COTERIE_STORE="+path)
	out, err := other.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "other process: true") {
		t.Errorf("%v\n%s", err, out)
	}
	_ = s.Close()
	open(t, path)
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "agent.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	tx := begin(t, s)
	tx.AppendEvent(nil)
	commit(t, tx)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 3 {
		t.Error("expected the file, its log and its lock:", files)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Error(f.Name(), info.Mode())
		}
	}
}

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	byKey := filepath.Join(dir, "key.db")
	_ = open(t, byKey).Close()
	byPassphrase := filepath.Join(dir, "pass.db")
	s, err := Open(Options{Path: byPassphrase, Key: Passphrase([]byte("correct horse"))})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	tests := []struct {
		name, path string
		key        Key
		want       error
	}{
		{"right key", byKey, testKey, nil},
		{"wrong key", byKey, RawKey([32]byte{9}), ErrKey},
		{"passphrase for a key", byKey, Passphrase([]byte("x")), ErrKey},
		{"no key", byKey, Key{}, ErrKey},
		{"right passphrase", byPassphrase, Passphrase([]byte("correct horse")), nil},
		{"wrong passphrase", byPassphrase, Passphrase([]byte("battery staple")), ErrKey},
		{"empty passphrase", byPassphrase, Passphrase(nil), ErrKey},
		{"key for a passphrase", byPassphrase, testKey, ErrKey},
		{"new store without key", filepath.Join(dir, "none.db"), Key{}, ErrKey},
	}
	for _, test := range tests {
		s, err := Open(Options{Path: test.path, Key: test.key})
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
		if err == nil {
			_ = s.Close()
		}
	}

	if err := ChangeKey(byPassphrase, Passphrase([]byte("correct horse")), testKey, randomOf(1)); err != nil {
		t.Fatal(err)
	}
	open(t, byPassphrase)
	if got := fmt.Sprintf("%v %+v %s %x %#v", testKey, testKey, testKey, testKey, testKey); strings.Contains(got, "1") {
		t.Error("a key prints as", got)
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	k, err := WriteKeyFile(path, randomOf(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := WriteKeyFile(path, randomOf(2)); !errors.Is(err, fs.ErrExist) {
		t.Error("overwriting a key file:", err)
	}
	if got, err := ReadKeyFile(path); err != nil || !bytes.Equal(got.raw, k.raw) {
		t.Error("reading back:", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeyFile(path); err == nil {
		t.Error("a key file that others can read was accepted")
	}
	if err := os.WriteFile(path+"2", []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeyFile(path + "2"); err == nil {
		t.Error("a short key was accepted")
	}
}

// A transaction that meets a full disk fails as a whole, and the next one works once there is room.
func TestFullDiskFailsOneTransaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	s := open(t, path)
	tx := begin(t, s)
	tx.Records(Owner{Group, "g"}).Put([]byte("old"), []byte("kept"))
	tx.Records(Owner{Group, "g"}).Scan(nil, nil, func(_, _ []byte) bool { return true })
	commit(t, tx)
	limit := func(pages int) {
		if _, err := s.conn.ExecContext(context.Background(), fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // no more than there are
	tx = begin(t, s)
	g := tx.Records(Owner{Group, "g"})
	for i := range 50 {
		g.Put([]byte(fmt.Sprint("new", i)), make([]byte, 10_000))
	}
	tx.AppendEvent(make([]byte, 10_000))
	if _, ok := g.Get([]byte("old")); ok || tx.Err() == nil {
		t.Error("a failed transaction goes on:", tx.Err())
	}
	if err := tx.Commit(); !errors.Is(err, ErrFull) {
		t.Fatal("commit on a full disk:", err)
	}
	tx = begin(t, s)
	g = tx.Records(Owner{Group, "g"})
	for i := range 50 {
		g.Put([]byte(fmt.Sprint("new", i)), make([]byte, 10_000))
	}
	if err := tx.Commit(); !errors.Is(err, ErrFull) {
		t.Fatal("commit of many records on a full disk:", err)
	}
	limit(1 << 30)
	tx = begin(t, s)
	g = tx.Records(Owner{Group, "g"})
	n := 0
	g.Scan(nil, nil, func(k, v []byte) bool { n++; return string(v) == "kept" })
	if n != 1 {
		t.Error("records after the failure:", n)
	}
	g.Put([]byte("next"), []byte("value"))
	commit(t, tx)
}

// Content that is moved, changed or cut does not open, and fails the transaction.
func TestForgeryIsDetected(t *testing.T) {
	changes := map[string]string{
		"value of another record": "UPDATE record SET value = (SELECT value FROM record r WHERE r.owner != record.owner)",
		"changed value":           "UPDATE record SET value = substr(value, 1, length(value) - 1) || x'00ff'",
		"short value":             "UPDATE record SET value = x'00'",
		"changed name":            "UPDATE record SET name = x'00'",
		"changed owner name":      "UPDATE owner SET name = x'00'",
		"short tag":               "UPDATE owner SET tag = x'00' WHERE number = 1",
		"changed event":           "UPDATE event SET seq = seq + 1",
		"changed cursor":          "UPDATE cursor SET name = x'00'",
		"changed route":           "UPDATE route SET sealed = zeroblob(100)",
		"changed body":            "UPDATE body SET sealed = zeroblob(100)",
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "agent.db"))
			tx := begin(t, s)
			tx.Records(Owner{Group, "a"}).Put([]byte("key"), []byte("value"))
			tx.Records(Owner{Group, "b"}).Put([]byte("key"), []byte("other"))
			ref := tx.Bodies().Add([]byte("body"))
			tx.AppendEvent([]byte("event"))
			tx.SetCursor("cursor", 7)
			tx.SetRoute(Route{"relay", []byte("id"), "conn", nil})
			commit(t, tx)
			if _, err := s.conn.ExecContext(context.Background(), change); err != nil {
				t.Fatal(err)
			}
			err := s.View(context.Background(), func(tx *Tx) error {
				tx.Owners(Group)
				for _, o := range []string{"a", "b"} {
					tx.Records(Owner{Group, o}).Scan([]byte("k"), nil, func(_, _ []byte) bool { return true })
				}
				tx.Bodies().Get(ref)
				tx.Events(0, 10)
				tx.Cursors()
				tx.Routes()
				return nil
			})
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, errUnknownBody) {
				t.Error("got", err)
			}
		})
	}
}

func TestNoDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Path: path, Key: testKey}); !errors.Is(err, ErrDamaged) {
		t.Error("got", err)
	}
	if _, err := Open(Options{Path: filepath.Join(t.TempDir(), "no", "folder"), Key: testKey}); err == nil {
		t.Error("store in a missing folder")
	}
}

// Nothing that was written is readable in the files.
func TestNothingReadableOnDisk(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "agent.db"))
	const secret = "PLAINTEXT"
	tx := begin(t, s)
	tx.Records(Owner{Connection, secret + "owner"}).Put([]byte("k"+secret), []byte(secret+"value"))
	tx.Bodies().Add([]byte(secret + "body"))
	tx.AppendEvent([]byte(secret + "event"))
	tx.SetCursor(secret+"cursor", 1)
	tx.SetRoute(Route{secret + "relay", []byte(secret + "queue"), secret + "conn", []byte(secret + "key")})
	commit(t, tx)
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	size := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		size += len(b)
		if bytes.Contains(b, []byte("LAINTEX")) {
			t.Error("readable in", filepath.Base(f))
		}
	}
	if size == 0 {
		t.Error("nothing on disk")
	}
}

func TestAfterCommitCountsCommits(t *testing.T) {
	var seen []int
	s, err := Open(Options{Path: filepath.Join(t.TempDir(), "agent.db"), Key: testKey, AfterCommit: func(n int) { seen = append(seen, n) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 3 {
		tx := begin(t, s)
		tx.AppendEvent(nil)
		commit(t, tx)
		tx = begin(t, s)
		tx.Rollback()
		tx = begin(t, s)
		tx.LastEvent()
		commit(t, tx) // changes nothing and is not counted
	}
	if fmt.Sprint(seen) != "[1 2 3]" {
		t.Error(seen)
	}
}

func TestCursorsAndRoutesCanBeDropped(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "agent.db"))
	tx := begin(t, s)
	tx.SetCursor("bot", 1)
	tx.SetCursor("bot", 2)
	tx.SetRoute(Route{Relay: "relay", Recipient: []byte("id"), Connection: "conn"})
	tx.SetRoute(Route{Relay: "relay", Recipient: []byte("id"), Connection: "other"})
	if at, ok := tx.Cursor("bot"); !ok || at != 2 {
		t.Error("cursor:", at, ok)
	}
	if r, ok := tx.Route("relay", []byte("id")); !ok || r.Connection != "other" {
		t.Error("route:", r.Connection, ok)
	}
	tx.DropCursor("bot")
	tx.DropRoute("relay", []byte("id"))
	if _, ok := tx.Cursor("bot"); ok {
		t.Error("cursor is still there")
	}
	if _, ok := tx.Route("relay", []byte("id")); ok {
		t.Error("route is still there")
	}
	commit(t, tx)
}

func TestFailingCommit(t *testing.T) {
	broken := errors.New("broken")
	fail := broken
	s, err := Open(Options{Path: filepath.Join(t.TempDir(), "agent.db"), Key: testKey, BeforeCommit: func() error { return fail }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tx := begin(t, s)
	commit(t, tx) // nothing to fail
	tx = begin(t, s)
	tx.AppendEvent([]byte("lost"))
	if err := tx.Commit(); !errors.Is(err, broken) {
		t.Error("got", err)
	}
	fail = nil
	tx = begin(t, s)
	if n := tx.CountEvents(); n != 0 {
		t.Error("events of a failed transaction:", n)
	}
	tx.AppendEvent([]byte("kept"))
	commit(t, tx)
}

func TestReadersDoNotSeeAnOpenTransactionAndCannotWrite(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "agent.db"))
	tx := begin(t, s)
	tx.AppendEvent([]byte("open"))
	err := s.View(context.Background(), func(v *Tx) error {
		if n := v.CountEvents(); n != 0 {
			t.Error("reader sees", n)
		}
		defer func() {
			if recover() == nil {
				t.Error("a reader wrote")
			}
		}()
		v.AppendEvent(nil)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, tx)
	if err := tx.Commit(); !errors.Is(err, ErrClosed) {
		t.Error("second commit:", err)
	}
	if tx.AppendEvent(nil); !errors.Is(tx.Err(), ErrClosed) {
		t.Error("write after the end:", tx.Err())
	}
}

// randomOf is a reproducible stream for tests.
func randomOf(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

func BenchmarkPutAndCommit(b *testing.B) {
	for _, batch := range []int{1, 64} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			s := open(b, filepath.Join(b.TempDir(), "agent.db"))
			value := make([]byte, 500)
			for b.Loop() {
				tx := begin(b, s)
				for i := range batch {
					tx.Records(Owner{Connection, fmt.Sprint(i)}).Put([]byte("state"), value)
				}
				commit(b, tx)
			}
		})
	}
}
