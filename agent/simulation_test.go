package agent

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
)

// simulate plays a seed and returns the world as it ended.
func simulate(t *testing.T, seed uint64, folder string) (w *simWorld) {
	t.Helper()
	dir := filepath.Join(folder, strconv.FormatUint(seed, 10))
	must(t, os.Mkdir(dir, 0o700))
	defer os.RemoveAll(dir)
	synctest.Test(t, func(t *testing.T) {
		w = newSimWorld(t, seed, dir)
		w.run()
		w.end()
	})
	return w
}

// simFolder is in memory where there is such a place: the stores' syncs are not what is tested.
func simFolder(t *testing.T) string {
	folder, err := os.MkdirTemp("/dev/shm", "coterie")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

func TestSimulation(t *testing.T) {
	// COTERIE_SEEDS sets how many seeds are played, COTERIE_SEED plays one and shows its trace with -v, COTERIE_TRACE=1
	// writes the trace as it is made. COTERIE_FIRST is the first seed, COTERIE_GOON=1 names all seeds that fail.
	folder := simFolder(t)
	first, seeds := uint64(0), uint64(100)
	if os.Getenv("COTERIE_SOAK") != "" {
		seeds = 10_000
	}
	if n, err := strconv.ParseUint(os.Getenv("COTERIE_SEEDS"), 10, 64); err == nil {
		seeds = n
	}
	if n, err := strconv.ParseUint(os.Getenv("COTERIE_FIRST"), 10, 64); err == nil {
		first = n
	}
	if n, err := strconv.ParseUint(os.Getenv("COTERIE_SEED"), 10, 64); err == nil {
		first, seeds = n, 1
	}
	goOn := os.Getenv("COTERIE_GOON") != ""
	seen := map[string]int{}
	for seed := first; seed < first+seeds; seed++ {
		w := simulate(t, seed, folder)
		w.count(seen)
		if len(w.broken) > 0 && goOn {
			t.Errorf("seed %d: %q", seed, w.broken)
			continue
		}
		if len(w.broken) > 0 || testing.Verbose() && seeds == 1 {
			t.Logf("trace of seed %d:\n%s", seed, strings.Join(w.trace, "\n"))
		}
		if len(w.broken) > 0 {
			t.Fatalf("seed %d:\n%s\nagain: COTERIE_SEED=%d go test -run '^TestSimulation$' ./agent", seed, strings.Join(w.broken, "\n"), seed)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(seen)) {
		t.Logf("%7d %s", seen[what], what)
	}
}

// TestSimulationIsDeterministic plays seeds twice. If it fails, something in an agent is decided by the order of a map or
// of goroutines.
func TestSimulationIsDeterministic(t *testing.T) {
	folder := simFolder(t)
	seeds := uint64(4)
	if n, err := strconv.ParseUint(os.Getenv("COTERIE_SEEDS"), 10, 64); err == nil {
		seeds = n
	}
	for seed := range seeds {
		a, b := simulate(t, seed, folder), simulate(t, seed, folder)
		for i := range min(len(a.hashes), len(b.hashes)) {
			if !bytes.Equal(a.hashes[i], b.hashes[i]) {
				t.Errorf("seed %d, line %d:\n%s\nthe second time:\n%s", seed, i,
					strings.Join(a.trace[max(0, i-8):i+1], "\n"), b.trace[i])
				break
			}
		}
		if !bytes.Equal(a.hash, b.hash) && !t.Failed() {
			t.Errorf("seed %d has %d and %d lines", seed, len(a.trace), len(b.trace))
		}
	}
}
