package store_test

import (
	"testing"

	"github.com/coterie-im/coterie/queue/store"
	"github.com/coterie-im/coterie/queue/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, storetest.Implementation{
		Open: func(_ testing.TB, _ string, quota int) store.Store { return store.NewMemory(quota) },
	})
}
