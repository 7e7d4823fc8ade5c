package agent

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// What a large transaction leaves in the journal of the store goes to its table when it is time, without anything else.
func TestJournalOfTheStoreIsEmptied(t *testing.T) {
	a, err := Open(t.Context(), Config{Store: filepath.Join(t.TempDir(), "agent.db"), Key: testKey})
	must(t, err)
	defer a.Close(t.Context())
	must(t, do(t.Context(), a, func(u *turn) error {
		for i := range 100 {
			u.put(recordKey(classOnce, fmt.Sprint(i)), onceRecord{At: u.now})
		}
		return nil
	}))
	journal := func() (holds bool) {
		must(t, do(t.Context(), a, func(u *turn) error {
			holds = u.store.Journal()
			return nil
		}))
		return holds
	}
	if !journal() {
		t.Fatal("no journal after 100 records")
	}
	must(t, do(t.Context(), a, func(u *turn) error {
		if wait := u.loop.foldAt.Sub(u.now); wait <= 0 || wait > foldAfter {
			t.Error("emptied after", wait)
		}
		u.loop.foldAt = u.now.Add(time.Millisecond)
		return nil
	}))
	await(t, func() bool { return !journal() })
	must(t, do(t.Context(), a, func(u *turn) error {
		if !u.loop.foldAt.IsZero() {
			t.Error("it is to be emptied again")
		}
		return nil
	}))
}
