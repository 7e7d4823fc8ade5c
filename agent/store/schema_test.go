package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func schemaOf(t *testing.T, db interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}) string {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), "SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var b strings.Builder
	for rows.Next() {
		var kind, name, text string
		if err := rows.Scan(&kind, &name, &text); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s: %s\n", kind, name, strings.Join(strings.Fields(text), " "))
	}
	return b.String()
}

// Every released version, recorded in testdata, migrates to what a fresh store has, and keeps its content.
func TestMigratedStoreEqualsFreshOne(t *testing.T) {
	fresh := schemaOf(t, open(t, filepath.Join(t.TempDir(), "agent.db")).conn)
	for v := 1; v <= len(migrations); v++ {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			old, err := os.ReadFile(fmt.Sprintf("testdata/schema-%d.sql", v))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "old.db")
			db := sql.OpenDB(connector(path, false))
			if _, err := db.Exec(string(old)); err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(fmt.Sprintf("PRAGMA user_version = %d", v)); err != nil {
				t.Fatal(err)
			}
			_ = db.Close()
			s := open(t, path)
			if got := schemaOf(t, s.conn); got != fresh {
				t.Errorf("migrated:\n%s\nfresh:\n%s", got, fresh)
			}
			tx := begin(t, s)
			if got := tx.Events(0, 10); len(got) != 0 {
				t.Error(got)
			}
			tx.AppendEvent([]byte("works"))
			commit(t, tx)
		})
	}
}

func TestNewerStoreIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	s := open(t, path)
	if _, err := s.conn.ExecContext(context.Background(), "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if _, err := Open(Options{Path: path, Key: testKey}); !errors.Is(err, ErrNewer) {
		t.Error("got", err)
	}
}
