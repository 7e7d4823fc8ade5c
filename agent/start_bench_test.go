package agent

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coterie-im/coterie/queue"
)

// BenchmarkStart opens an agent that is in groups: how long Open takes, how long it takes until all queues are
// subscribed and everything is loaded, and what it then has in memory.
func BenchmarkStart(b *testing.B) {
	for _, c := range []struct {
		name            string
		groups, members int
	}{
		{"empty", 0, 0},
		{"one group of 500", 1, 500},
		{"100 groups of 10", 100, 10},
	} {
		b.Run(c.name, func(b *testing.B) {
			folder := b.TempDir()
			relay := startChildRelay(b, folder)
			l := newLargeGroup(b, relay.address)
			for range c.groups {
				l.found(c.members)
			}
			store := filepath.Join(folder, "agent.db")
			l.writeAgent(store)
			l.writeRelay(filepath.Join(folder, "relay.db"))
			relay.serve(b)
			l = nil
			pairs := c.groups * (c.members - 1)
			var opened, ready, cpu time.Duration
			var heap, resident uint64
			rounds := 0
			for b.Loop() {
				before, residentBefore := heapInUse(), residentSize(b)
				begun, spent := time.Now(), processor(b)
				a, err := Open(b.Context(), Config{Store: store, Key: testKey, Relays: []queue.Server{relay.address}})
				must(b, err)
				opened += time.Since(begun)
				waitSubscribed(b, a, pairs)
				ready += time.Since(begun)
				cpu += processor(b) - spent
				heap += heapInUse() - before
				if r := residentSize(b); r > residentBefore {
					resident += r - residentBefore
				}
				must(b, a.Close(b.Context()))
				rounds++
			}
			n := float64(rounds)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(opened.Microseconds())/n/1000, "open-ms")
			b.ReportMetric(float64(ready.Microseconds())/n/1000, "ready-ms")
			b.ReportMetric(float64(cpu.Microseconds())/n/1000, "cpu-ms")
			b.ReportMetric(float64(heap)/n/1024, "heap-KB")
			b.ReportMetric(float64(resident)/n/1024, "resident-KB")
			if pairs > 0 {
				b.ReportMetric(float64(heap)/n/1024/float64(pairs), "heap-KB/pair")
			}
		})
	}
}

// heapInUse returns the bytes of the heap that something refers to.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // pools give their content away at the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// residentSize returns the bytes of this process in memory, the C library's and SQLite's included.
func residentSize(b *testing.B) uint64 {
	debug.FreeOSMemory()
	content, err := os.ReadFile("/proc/self/statm")
	must(b, err)
	pages, err := strconv.ParseUint(strings.Fields(string(content))[1], 10, 64)
	must(b, err)
	return pages * uint64(os.Getpagesize())
}
