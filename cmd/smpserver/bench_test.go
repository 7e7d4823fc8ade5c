package main

import (
	"bytes"
	"context"
	"crypto/ecdh"
	crand "crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
	"github.com/coterie-im/coterie/queue/store/sqlite"
)

// All benchmarks measure the program itself as its own process, with its store on the disk of the temporary folder. CPU
// and memory are those of the relay alone; the clients share the machine with it.

func benchRelay(b *testing.B) *process {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "relay")
	if _, err := initialise(dir, "localhost", "127.0.0.1:0"); err != nil {
		b.Fatal(err)
	}
	return startProcess(b, dir)
}

// cpu returns the processor time that the relay has used.
func (p *process) cpu(b *testing.B) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	// Fields 14 and 15, in hundredths of a second; the name in field 2 is in parentheses.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err1, err2); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// memory returns the resident memory of the relay in bytes, without what belongs to files.
func (p *process) memory(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kilobytes) * 1024
		}
	}
	b.Fatal("memory of the relay is unknown")
	return 0
}

// BenchmarkCycle is one message from SEND to the answer of its ACK, durable, with a body of full size. Every client has a
// connection and sends to itself.
func BenchmarkCycle(b *testing.B) {
	for _, n := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("clients=%d", n), func(b *testing.B) {
			p := benchRelay(b)
			clients := make([]*cycler, n)
			for i := range clients {
				clients[i] = newCycler(b, p)
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			before := p.cpu(b)
			b.ResetTimer()
			var workers sync.WaitGroup
			for _, c := range clients {
				workers.Go(func() {
					for left.Add(-1) >= 0 {
						if err := c.cycle(); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			workers.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cycles/s")
			b.ReportMetric(float64((p.cpu(b)-before).Microseconds())/float64(b.N), "relay-cpu-us/op")
		})
	}
}

// cycler is a client that sends to itself.
type cycler struct {
	*peer
	recipient, sender queue.ID
	key               queue.PrivateKey
	body              []byte
}

func newCycler(b *testing.B, p *process) *cycler {
	b.Helper()
	c, err := p.dial(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		b.Fatal(err)
	}
	ids, key, _, err := c.newQueue(queue.ModeMessaging)
	if err != nil {
		b.Fatal(err)
	}
	if answer, err := c.do(ids.SenderID, key, queue.SKEY{Key: key.Public()}); err != nil || answer != (queue.OK{}) {
		b.Fatal(answer, err)
	}
	if answer, err := c.do(ids.RecipientID, key, queue.SUB{}); err != nil || answer != (queue.OK{}) {
		b.Fatal(answer, err)
	}
	return &cycler{c, ids.RecipientID, ids.SenderID, key, make([]byte, queue.MaxBodySize(c.Version()))}
}

// cycle sends a message, receives and acknowledges it, and waits for all answers.
func (c *cycler) cycle() error {
	if err := c.send("send", c.sender, c.key, queue.SEND{Body: c.body}); err != nil {
		return err
	}
	for answered := 0; answered < 2; {
		answers, err := c.read()
		if err != nil {
			return err
		}
		for _, a := range answers {
			switch r := a.Response.(type) {
			case queue.MSG:
				if err := c.send("ack", c.recipient, c.key, queue.ACK{MessageID: r.ID}); err != nil {
					return err
				}
			case queue.OK:
				answered++
			default:
				return fmt.Errorf("relay answered %v", r)
			}
		}
	}
	return nil
}

// BenchmarkIdleConnection reports the relay's memory for one connection that does nothing.
func BenchmarkIdleConnection(b *testing.B) {
	const n = 500
	for b.Loop() {
		p := benchRelay(b)
		warm(b, p)
		before := p.memory(b)
		for range n {
			if _, err := p.dial(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((p.memory(b)-before)/n, "B/connection")
		p.kill()
	}
}

// BenchmarkSubscription reports the relay's memory for one subscription; all are of one connection. The cache of records
// is small, because it has a bound of its own.
func BenchmarkSubscription(b *testing.B) {
	const n = 50000
	for b.Loop() {
		dir := filepath.Join(b.TempDir(), "relay")
		queues := fillStore(b, dir, n)
		config := "host = \"localhost\"\nlisten = [\"127.0.0.1:0\"]\n[store]\ncached_queues = 256\n"
		if err := os.WriteFile(filepath.Join(dir, configFile), []byte(config), 0o600); err != nil {
			b.Fatal(err)
		}
		p := startProcess(b, dir)
		warm(b, p)
		c, err := p.dial(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		before := p.memory(b)
		subscribe(b, c, queues)
		b.ReportMetric((p.memory(b)-before)/n, "B/subscription")
		p.kill()
	}
}

// warm makes the relay allocate what it allocates once.
func warm(b *testing.B, p *process) {
	b.Helper()
	for range 20 {
		c := newCycler(b, p)
		for range 10 {
			if err := c.cycle(); err != nil {
				b.Fatal(err)
			}
		}
		_ = c.Close()
	}
}

// stored is a queue in a store that was filled without a relay.
type stored struct {
	recipient queue.ID
	key       queue.PrivateKey
}

// fillStore makes a relay whose store has n queues.
func fillStore(b *testing.B, dir string, n int) []stored {
	b.Helper()
	if _, err := initialise(dir, "localhost", "127.0.0.1:0"); err != nil {
		b.Fatal(err)
	}
	s, err := sqlite.Open(filepath.Join(dir, storeFile), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	key, err := queue.GenerateKey(keys.Ed25519, crand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	all := make([]stored, n)
	var last *store.Commit
	for i := range all {
		recipient, err1 := queue.NewID(crand.Reader)
		sender, err2 := queue.NewID(crand.Reader)
		all[i] = stored{recipient, key}
		c, err3 := s.Create(context.Background(), store.Queue{
			Recipient:     recipient,
			Sender:        sender,
			RecipientKeys: []keys.Public{key.Public()},
			SenderKey:     key.Public(),
			Mode:          queue.ModeMessaging,
			Status:        store.Active,
		})
		if err := errors.Join(err1, err2, err3); err != nil {
			b.Fatal(err)
		}
		last = c
	}
	if err := last.Wait(context.Background()); err != nil {
		b.Fatal(err)
	}
	return all
}

func subscribe(b *testing.B, c *peer, queues []stored) {
	b.Helper()
	for len(queues) > 0 {
		var batch queue.Batch
		for len(queues) > 0 {
			q := queues[0]
			raw, err := queue.EncodeCommand(nil, c.Version(), c.SessionID(), c.PeerSessionKey(), "sub", q.recipient, q.key, queue.SUB{})
			if err != nil {
				b.Fatal(err)
			}
			if !batch.Add(raw) {
				break
			}
			queues = queues[1:]
		}
		waiting := batch.Len()
		if err := c.WriteBlock(batch.Take()); err != nil {
			b.Fatal(err)
		}
		for waiting > 0 {
			answers, err := c.read()
			if err != nil {
				b.Fatal(err)
			}
			waiting -= len(answers)
		}
	}
}

// BenchmarkStart is the time from starting the program to the first answer, with many stored queues: 20,000, or as many
// as COTERIE_BENCH_QUEUES says. It also reports what a stored queue costs on disk and, in the relay, in memory.
func BenchmarkStart(b *testing.B) {
	n := 20000
	if text := os.Getenv("COTERIE_BENCH_QUEUES"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	dir := filepath.Join(b.TempDir(), "relay")
	queues := fillStore(b, dir, n)
	info, err := os.Stat(filepath.Join(dir, storeFile))
	if err != nil {
		b.Fatal(err)
	}
	var memory float64
	b.ResetTimer()
	for b.Loop() {
		p := startProcess(b, dir)
		c, err := p.dial(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if answer, err := c.do(queues[0].recipient, queues[0].key, queue.SUB{}); err != nil || answer != (queue.OK{}) {
			b.Fatal(answer, err)
		}
		b.StopTimer()
		memory = p.memory(b)
		p.kill()
		b.StartTimer()
	}
	b.ReportMetric(float64(n), "queues")
	b.ReportMetric(float64(info.Size())/float64(n), "disk-B/queue")
	b.ReportMetric(memory/(1<<20), "relay-MB")
}

// BenchmarkCreate is one queue, from NEW to the durable answer, of 64 clients.
func BenchmarkCreate(b *testing.B) {
	p := benchRelay(b)
	var left atomic.Int64
	left.Store(int64(b.N))
	var clients []*peer
	for range 64 {
		c, err := p.dial(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		clients = append(clients, c)
	}
	key, err := queue.GenerateKey(keys.Ed25519, crand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	dh, err := ecdh.X25519().GenerateKey(crand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	command := queue.NEW{RecipientKey: key.Public(), RecipientDH: keys.FromX25519(dh.PublicKey()), Mode: queue.ModeMessaging}
	before := p.cpu(b)
	b.ResetTimer()
	var workers sync.WaitGroup
	for _, c := range clients {
		workers.Go(func() {
			for left.Add(-1) >= 0 {
				answer, err := c.do("", key, command)
				if _, ok := answer.(queue.IDS); !ok || err != nil {
					b.Error(answer, err)
					return
				}
			}
		})
	}
	workers.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "queues/s")
	b.ReportMetric(float64((p.cpu(b)-before).Microseconds())/float64(b.N), "relay-cpu-us/op")
}
