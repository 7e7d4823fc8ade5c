package sqlite

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// schema lists everything that a file has besides its content.
func schema(t testing.TB, path string) []string {
	t.Helper()
	db, err := sql.Open("sqlite3", dataSource(path, "mode=ro"))
	must(t, err)
	defer db.Close()
	rows, err := db.Query("SELECT type || ' ' || name || ': ' || coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")
	must(t, err)
	defer rows.Close()
	var all []string
	for rows.Next() {
		var line string
		must(t, rows.Scan(&line))
		all = append(all, strings.Join(strings.Fields(line), " "))
	}
	must(t, rows.Err())
	var version string
	must(t, db.QueryRow("PRAGMA user_version").Scan(&version))
	return append(all, "user_version "+version)
}

// makeOld writes a file as an old version of the program did.
func makeOld(t testing.TB, path, script string) {
	t.Helper()
	db, err := sql.Open("sqlite3", dataSource(path, ""))
	must(t, err)
	defer db.Close()
	_, err = db.Exec(script)
	must(t, err)
}

func TestMigratedEqualsFresh(t *testing.T) {
	dir := t.TempDir()
	fresh := filepath.Join(dir, "fresh.db")
	s, err := Open(fresh, Options{})
	must(t, err)
	must(t, s.Close())
	want := schema(t, fresh)
	files, err := filepath.Glob("testdata/v*.sql")
	must(t, err)
	if len(files) != len(migrations) {
		t.Fatalf("%d recorded versions, want one for each of %d", len(files), len(migrations))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			script, err := os.ReadFile(file)
			must(t, err)
			path := filepath.Join(t.TempDir(), "old.db")
			makeOld(t, path, string(script))
			s, err := Open(path, Options{})
			must(t, err)
			defer s.Close()
			if got := schema(t, path); !slices.Equal(got, want) {
				t.Fatalf("migrated store has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			checkRecorded(t, s)
		})
	}
}

// checkRecorded looks for what every recorded version has in it.
func checkRecorded(t testing.TB, s *Store) {
	t.Helper()
	id := func(c string) queue.ID { return queue.ID(strings.Repeat(c, 24)) }
	q, err := s.ByRecipient(ctx, id("r"))
	must(t, err)
	if q.Sender != id("s") || len(q.RecipientKeys) != 2 || q.RecipientKeys[1].Algorithm() != keys.X25519 ||
		q.SenderKey.Algorithm() != keys.Ed25519 || q.Secret[0] != 0x11 || q.Mode != queue.ModeMessaging ||
		q.Status != store.Blocked || q.BlockReason != "spam" || q.Used != 19000 {
		t.Fatal("the first queue is another one")
	}
	if n := q.Notifier; n == nil || n.ID != id("n") || n.Key.Algorithm() != keys.Ed25519 || n.Secret[0] != 0x22 {
		t.Fatal("the notifier is another one")
	}
	bare, err := s.BySender(ctx, id("t"))
	must(t, err)
	if bare.Recipient != id("q") || bare.Mode != queue.ModeNone || !bare.SenderKey.IsZero() || bare.Notifier != nil {
		t.Fatal("the second queue is another one")
	}
	for _, want := range []store.Message{
		{ID: id("1"), Time: 1700000000, Body: []byte("one")},
		{ID: id("2"), Time: 1700000001, Notify: true, Body: []byte("two")},
		{ID: id("3"), Time: 1700000002, Marker: true},
	} {
		m, ok, err := s.Head(ctx, bare.Recipient)
		must(t, err)
		if !ok || m.ID != want.ID || m.Time != want.Time || m.Notify != want.Notify || m.Marker != want.Marker || string(m.Body) != string(want.Body) {
			t.Fatalf("message is %+v", m)
		}
		_, c, err := s.Ack(ctx, bare.Recipient, m.ID)
		must(t, err)
		must(t, c.Wait(ctx))
	}
	counts, err := s.Counts(ctx)
	must(t, err)
	if counts != (store.Counts{Queues: 2}) {
		t.Fatalf("%+v", counts)
	}
}

func TestNewerStoreIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	makeOld(t, path, "PRAGMA user_version = 1000")
	if _, err := Open(path, Options{}); !errors.Is(err, ErrNewer) {
		t.Fatalf("error is %v", err)
	}
}

func TestFailedMigrationChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	s := &Store{cache: newCache(1)}
	err := s.open(path, Options{Backlog: 1}, append(slices.Clone(migrations), "CREATE TABLE more (x); SELECT nonsense"))
	if err == nil {
		t.Fatal("nonsense was migrated")
	}
	again, err := Open(path, Options{})
	must(t, err)
	defer again.Close()
	if got := schema(t, path); slices.ContainsFunc(got, func(l string) bool { return strings.Contains(l, "more") }) {
		t.Fatalf("half a migration: %v", got)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a name?with%25 signs#.db")
	must(t, os.WriteFile(path, nil, 0o644))
	s, err := Open(path, Options{})
	must(t, err)
	defer s.Close()
	create(t, s)
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 4 {
		t.Fatalf("%d files", len(entries))
	}
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has permissions %o", e.Name(), info.Mode().Perm())
		}
	}
	if _, err := Open(path, Options{}); !errors.Is(err, ErrInUse) {
		t.Fatalf("second process: %v", err)
	}
	i, err := Inspect(path)
	must(t, err)
	if !i.InUse || i.Counts != (store.Counts{Queues: 1}) || i.Bytes == 0 {
		t.Fatalf("%+v", i)
	}
	must(t, s.Close())
	if entries, err = os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Fatalf("%d files are left of a closed store, want it and its lock: %v", len(entries), err)
	}
	if _, err := Open(filepath.Join(dir, "missing", "relay.db"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("missing folder: %v", err)
	}
	if _, err := Inspect(filepath.Join(dir, "missing.db")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("missing file: %v", err)
	}
}

func TestGarbageIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	must(t, os.WriteFile(path, []byte(strings.Repeat("this is no database ", 100)), 0o600))
	if _, err := Open(path, Options{}); err == nil {
		t.Fatal("garbage was opened")
	}
}
