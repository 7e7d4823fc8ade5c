package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/coterie-im/coterie/queue/store"
	"github.com/coterie-im/coterie/queue/store/sqlite"
	"github.com/coterie-im/coterie/queue/store/storetest"
)

func open(t testing.TB, dir string, o sqlite.Options) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(filepath.Join(dir, "relay.db"), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name    string
		options sqlite.Options
	}{
		{"default", sqlite.Options{}},
		{"nothing stays in memory", sqlite.Options{CacheSize: 1, Backlog: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			storetest.Run(t, storetest.Implementation{
				Durable: true,
				Open: func(t testing.TB, dir string, quota int) store.Store {
					o := c.options
					o.Quota = quota
					return open(t, dir, o)
				},
			})
		})
	}
}
