package relay_test

import (
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// send writes a command without waiting for its answer.
func (c *client) send(sign authorizer, corrID, entity, body string) {
	c.t.Helper()
	c.write(c.encode(sign, corrID, entity, body))
}

// TestTwoRecipients makes two connections take one queue from each other all the time, while messages come: each message is
// acknowledged once, and each connection gets its part of them in their order.
func TestTwoRecipients(t *testing.T) {
	const messages = 400
	r := startRelay(t, nil)
	owner, alice := r.at(t, 9), r.at(t, 9)
	q := owner.create(newKey(t, "X25519"), "C")

	var mu sync.Mutex
	acknowledged := make(map[int]int) // how often, by number of the message
	all := make(chan struct{})
	var fighters sync.WaitGroup
	for range 2 {
		c := r.at(t, 9)
		fighters.Go(func() {
			last := -1 // acknowledged
			c.send(q.sign, "sub", q.recipient, "SUB")
			for {
				got, err := c.tryRead()
				if err != nil {
					return // closed by the test
				}
				tag, _, _ := strings.Cut(got.body, " ")
				if text, ok := strings.CutPrefix(got.corrID, "ack"); ok && got.body != "ERR NO_MSG" {
					n := number(t, text)
					if n <= last {
						t.Errorf("message %d after %d", n, last)
					}
					last = n
					mu.Lock()
					acknowledged[n]++
					if len(acknowledged) == messages {
						close(all)
					}
					mu.Unlock()
				}
				switch {
				case tag == "MSG":
					id, content := q.open(t, got.body)
					c.send(q.sign, "ack"+content[10:], q.recipient, ack(id))
				case got.body == "END":
					c.send(q.sign, "sub", q.recipient, "SUB")
				case got.body != "OK" && got.body != "ERR NO_MSG":
					t.Errorf("answer is %v", got)
					return
				}
			}
		})
	}
	for i := range messages {
		alice.want("OK", unsigned, q.sender, "SEND F "+strconv.Itoa(i))
		if i%100 == 99 {
			// The queue holds 128.
			waitFor(t, "messages are acknowledged", func() bool { mu.Lock(); defer mu.Unlock(); return len(acknowledged) > i-100 })
		}
	}
	select {
	case <-all:
	case <-time.After(patience):
		t.Error("messages are lost")
	}
	must(t, r.Close())
	fighters.Wait()
	for n, times := range acknowledged {
		if times != 1 {
			t.Fatalf("message %d was acknowledged %d times", n, times)
		}
	}
}

func number(t *testing.T, text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Error(err)
	}
	return n
}

// tryRead returns the next transmission, or the end of the connection.
func (c *client) tryRead() (transmission, error) {
	if len(c.unread) == 0 {
		block, err := c.tryReadBlock()
		if err != nil {
			return transmission{}, err
		}
		c.unread = c.split(block)
	}
	first := c.unread[0]
	c.unread = c.unread[1:]
	return first, nil
}

// TestDeletingWhileDelivering deletes queues from another connection at the moment at which messages come, are read and
// acknowledged.
func TestDeletingWhileDelivering(t *testing.T) {
	r := startRelay(t, nil)
	bob, get, alice, mallory := r.at(t, 9), r.at(t, 9), r.at(t, 9), r.at(t, 9)
	for round := range 40 {
		q := bob.create(newKey(t, "Ed25519"), "S")
		deleted := make(chan struct{})
		var others sync.WaitGroup
		// finish runs a loop of commands until one is refused because the queue is gone.
		finish := func(f func() (got string)) {
			others.Go(func() {
				for {
					got := f()
					tag, _, _ := strings.Cut(got, " ")
					switch {
					case got == "ERR AUTH":
						<-deleted // not before
						return
					case got != "OK" && tag != "MSG" && got != "ERR NO_MSG" && got != "ERR QUOTA":
						t.Errorf("answer is %.40q", got)
						return
					}
				}
			})
		}
		finish(func() string { return alice.do(unsigned, q.sender, "SEND F hello") })
		finish(func() string { return get.do(q.sign, q.recipient, "GET") })
		others.Go(func() {
			for {
				got := bob.read()
				tag, _, _ := strings.Cut(got.body, " ")
				switch {
				case tag == "MSG":
					id, _ := q.open(t, got.body)
					bob.send(q.sign, "ack", q.recipient, ack(id))
				case got.body == "END":
					return
				case got.body != "OK" && got.body != "ERR AUTH" && got.body != "ERR NO_MSG":
					t.Errorf("answer is %v", got)
					return
				}
			}
		})
		for range round {
			mallory.quiet()
		}
		mallory.want("OK", q.sign, q.recipient, "DEL")
		close(deleted)
		others.Wait()
		// An answer to ACK may still be on its way.
		bob.send(unsigned, "ping", "", "PING")
		for bob.read().corrID != "ping" {
		}
	}
	bob.quiet()
	waitFor(t, "the subscriptions have ended", func() bool { return r.Stats().Subscriptions.Open == 0 })
}

// TestNothingIsLeftOfClients makes and breaks connections in every state, again and again.
func TestNothingIsLeftOfClients(t *testing.T) {
	const clients, rounds = 40, 5
	r := startRelay(t, nil)
	owner := r.at(t, 9)
	q, k := owner.create(newKey(t, "Ed25519"), "C"), newKey(t, "Ed25519")
	nid := cursor{t, []byte(owner.do(q.sign, q.recipient, "NKEY "+k.public+string(spkiX25519(publicOf(t)))))}
	nid.bytes(4)
	bell := string(nid.str())
	owner.want("OK", unsigned, q.sender, "SEND T hello")

	round := func() (heap uint64, goroutines int) {
		for i := range clients {
			conn, err := r.dial(hello{})
			must(t, err)
			c := &client{t: t, conn: conn, reader: conn, version: 9}
			if i%5 == 0 {
				must(t, conn.NetConn().Close()) // in the middle of the hellos
				continue
			}
			c.session = sessionOf(c)
			c.writeHello(r.fingerprint, hello{version: 9, keyless: true})
			switch i % 5 {
			case 1:
				c.send(q.sign, "s", q.recipient, "SUB")
				c.read()
			case 2:
				c.send(q.sign, "g", q.recipient, "GET")
				c.read()
			case 3:
				c.send(k.sign, "n", bell, "NSUB")
				c.read()
			case 4:
				_, err := conn.Write(make([]byte, 1000)) // a part of a block
				must(t, err)
			}
			must(t, conn.NetConn().Close())
		}
		waitFor(t, "the sessions have ended", func() bool { return r.Stats().Connections.Open == 1 })
		owner.quiet()
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, runtime.NumGoroutine()
	}
	round()
	heap, goroutines := round()
	var heapLater uint64
	for range rounds {
		heapLater, _ = round()
	}
	waitFor(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines })
	// A connection that stays costs tens of kilobytes.
	if heapLater > heap+rounds*clients*4096 {
		t.Fatalf("%d bytes, then %d", heap, heapLater)
	}
	if n := r.Stats().Subscriptions.Open; n != 0 {
		t.Fatalf("%d subscriptions are left", n)
	}
}

// sessionOf reads the hello of the relay without checking it.
func sessionOf(c *client) []byte {
	b := cursor{c.t, unpad(c.t, c.readBlock())}
	b.bytes(4)
	return b.str()
}
