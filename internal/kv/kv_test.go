package kv

import (
	"slices"
	"testing"
)

func TestMemoryScanIsOrderedAndBounded(t *testing.T) {
	var m Memory
	for _, k := range []string{"b2", "a1", "b1", "b3", "c"} {
		m.Put([]byte(k), []byte("v"+k))
	}
	m.Delete([]byte("b3"))
	snapshot := m.Clone()
	m.Put([]byte("b4"), nil)
	scan := func(m *Memory, prefix, from string) (got []string) {
		m.Scan([]byte(prefix), []byte(from), func(k, v []byte) bool {
			got = append(got, string(k))
			return len(got) < 2
		})
		return got
	}
	if got := scan(&m, "b", ""); !slices.Equal(got, []string{"b1", "b2"}) {
		t.Error(got)
	}
	if got := scan(&m, "b", "b2"); !slices.Equal(got, []string{"b2", "b4"}) {
		t.Error(got)
	}
	if got := scan(snapshot, "b", "b2"); !slices.Equal(got, []string{"b2"}) {
		t.Error("clone shares writes:", got)
	}
}
