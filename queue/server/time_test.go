package server_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/server"
	"github.com/coterie-im/coterie/queue/store"
)

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRelayInBubble(t, func(c *server.Config) { c.MessageTTL, c.ExpireInterval = time.Hour, time.Minute })
		bob, alice := r.connect(t), r.connect(t)
		q := bob.newInbox(queue.NEW{Mode: queue.ModeMessaging})
		alice.wantOK(q.sender, unsigned, send("old"))
		time.Sleep(59 * time.Minute)
		alice.wantOK(q.sender, unsigned, send("young"))
		time.Sleep(3 * time.Minute)
		bob.wantOK(q.recipient, q.key, queue.SUB{})
		bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: q.receive(bob, "young")})
		bob.quiet()
		if n := r.Stats().Messages.Expired; n != 1 {
			t.Fatalf("%d messages expired", n)
		}
	})
}

func TestMessagesThatAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRelayInBubble(t, func(c *server.Config) { c.MessageTTL = -1 })
		bob := r.connect(t)
		q := bob.newInbox(queue.NEW{Mode: queue.ModeMessaging})
		bob.wantOK(q.sender, unsigned, send("old"))
		time.Sleep(5 * time.Hour)
		bob.wantOK(q.recipient, q.key, queue.SUB{})
		q.receive(bob, "old")
	})
}

func TestExpiryAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := store.NewMemory(0)
		key := randomID()
		q := store.Queue{Recipient: key, Sender: randomID(), Status: store.Active}
		_, err := storage.Create(t.Context(), q)
		must(t, err)
		_, _, err = storage.Send(t.Context(), key, store.Message{ID: randomID(), Time: time.Now().Unix()})
		must(t, err)
		time.Sleep(22 * 24 * time.Hour)
		r := startRelayInBubble(t, func(c *server.Config) { c.Store = storage })
		synctest.Wait()
		if n := r.Stats().Messages.Expired; n != 1 {
			t.Fatalf("%d messages expired", n)
		}
	})
}

func TestIdleClientsAreDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRelayInBubble(t, func(c *server.Config) { c.IdleTimeout, c.IdleInterval = time.Hour, time.Minute })
		subscriber, notified, lazy, busy := r.connect(t), r.connect(t), r.connect(t), r.connect(t)
		q := subscriber.subscribed()
		b := subscriber.newBell(q)
		notified.wantOK(b.id, b.key, queue.NSUB{})
		lazy.quiet()
		time.Sleep(50 * time.Minute)
		busy.quiet()
		time.Sleep(12 * time.Minute)
		lazy.wantClosed()
		busy.wantOK(q.sender, unsigned, loud("hello"))
		id := q.receive(subscriber, "hello")
		b.ring(notified, id)
		subscriber.wantOK(q.recipient, q.key, queue.ACK{MessageID: id})
		if n := r.Stats().Connections.Idle; n != 1 {
			t.Fatalf("%d connections were closed", n)
		}
		// A subscription that was taken over keeps nobody.
		busy.wantOK(q.recipient, q.key, queue.SUB{})
		time.Sleep(62 * time.Minute)
		subscriber.wantClosed()
		busy.quiet()
	})
}

func TestEventsAreCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRelayInBubble(t, func(c *server.Config) { c.EventDelay = 10 * time.Second })
		first, second := r.connect(t), r.connect(t)
		one, two := first.subscribed(), first.subscribed()
		begin := time.Now()
		second.wantOK(one.recipient, one.key, queue.SUB{})
		time.Sleep(5 * time.Second)
		second.wantOK(two.recipient, two.key, queue.DEL{})
		first.quiet()
		first.want(first.event().Response, queue.END{})
		first.want(first.event().Response, queue.END{})
		if passed := time.Since(begin); passed != 10*time.Second {
			t.Fatalf("events came after %v", passed)
		}
		if n := first.blocks[len(first.blocks)-1]; n != 2 {
			t.Fatalf("the events came in blocks of %d", n)
		}
	})
}

func TestNoEndOfWhatWasSubscribedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRelayInBubble(t, func(c *server.Config) { c.EventDelay = 10 * time.Second })
		first, second := r.connect(t), r.connect(t)
		q := first.subscribed()
		b := first.newBell(q)
		first.wantOK(b.id, b.key, queue.NSUB{})
		for _, c := range []*client{second, first} {
			c.wantOK(q.recipient, q.key, queue.SUB{})
			c.wantOK(b.id, b.key, queue.NSUB{})
		}
		time.Sleep(11 * time.Second)
		first.quiet()
		for range 2 {
			second.want(second.event().Response, queue.END{})
		}
		second.quiet()
		second.wantOK(q.sender, unsigned, loud("hello"))
		b.ring(first, q.receive(first, "hello"))
	})
}

func TestNotificationsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRelayInBubble(t, func(c *server.Config) { c.NotifyTTL = time.Hour })
		bob, device := r.connect(t), r.connect(t)
		q := bob.newInbox(queue.NEW{Mode: queue.ModeMessaging})
		b := bob.newBell(q)
		bob.wantOK(q.sender, unsigned, loud("old"))
		time.Sleep(50 * time.Minute)
		bob.wantOK(q.sender, unsigned, loud("young"))
		time.Sleep(25 * time.Minute)
		device.wantOK(b.id, b.key, queue.NSUB{})
		event, ok := device.event().Response.(queue.NMSG)
		if !ok {
			t.Fatal("no notification came")
		}
		n, err := queue.OpenNotification(&b.secret, event)
		must(t, err)
		if age := time.Now().Unix() - n.Time; age > 30*60 {
			t.Fatalf("the notification is %d seconds old", age)
		}
		device.quiet()
		if lost := r.Stats().Notifications.Lost; lost != 1 {
			t.Fatalf("%d notifications are counted as lost", lost)
		}
	})
}

// freeze makes the client ask for much and read nothing, until the relay takes no more from it.
func (c *client) freeze(q inbox) (frozen <-chan error) {
	result := make(chan error, 1)
	go func() {
		for {
			// Every block costs the relay a block of answers.
			batch := queue.NewBatch(c.conn.MaxPayload())
			for batch.Add(c.raw(q.recipient, q.key, "QUE")) {
			}
			if err := c.conn.WriteBlock(batch.Take()); err != nil {
				result <- err
				return
			}
		}
	}()
	synctest.Wait()
	return result
}

func TestFrozenReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRelayInBubble(t, func(c *server.Config) { c.WriteTimeout = time.Minute })
		cathy, bob, alice := r.connect(t), r.connect(t), r.connect(t)
		theirs, q := cathy.subscribed(), bob.subscribed()
		alice.wantOK(theirs.sender, unsigned, send("for cathy"))
		before := r.Stats().Blocks.Received
		frozen := cathy.freeze(theirs)
		if taken := r.Stats().Blocks.Received - before; taken > 20 {
			t.Fatalf("the relay took %d blocks from a client that does not read", taken)
		}
		begin := time.Now()
		alice.wantOK(theirs.sender, unsigned, send("for cathy, too"))
		alice.wantOK(q.sender, unsigned, send("hello"))
		q.receive(bob, "hello")
		if passed := time.Since(begin); passed != 0 {
			t.Fatalf("others waited %v", passed)
		}
		if err := <-frozen; err == nil {
			t.Fatal("the client was not disconnected")
		}
		synctest.Wait()
		if s := r.Stats().Connections; s.SlowReaders != 1 || s.Open != 2 {
			t.Fatalf("%+v", s)
		}
		// Nothing was lost by that.
		bob.wantOK(theirs.recipient, theirs.key, queue.SUB{})
		id := theirs.receive(bob, "for cathy")
		theirs.wantMessage(t, bob.do(theirs.recipient, theirs.key, queue.ACK{MessageID: id}), "for cathy, too")
	})
}

func TestShutdownAbortsWhoDoesNotFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRelayInBubble(t, nil)
		cathy := r.connect(t)
		frozen := cathy.freeze(cathy.subscribed())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begin := time.Now()
		if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Shutdown returned %v", err)
		}
		if passed := time.Since(begin); passed > 20*time.Second {
			t.Fatalf("the shutdown took %v", passed)
		}
		if n := r.Stats().Connections.Open; n != 0 {
			t.Fatalf("%d sessions are left", n)
		}
		<-frozen
	})
}

func TestHandshakesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRelayInBubble(t, func(c *server.Config) { c.HandshakeLimit = time.Minute })
		conn, err := r.dial()
		must(t, err)
		begin := time.Now()
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Fatal("the relay speaks before TLS")
		}
		if passed := time.Since(begin); passed != time.Minute {
			t.Fatalf("the connection was closed after %v", passed)
		}
	})
}

func TestFailuresOfTheStoreDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := store.NewMemory(0)
		var log bytes.Buffer
		r := startRelayInBubble(t, func(c *server.Config) {
			c.Store, c.Log = storage, slog.New(slog.NewTextHandler(&log, nil))
		})
		c := r.connect(t)
		q := c.newInbox(queue.NEW{Mode: queue.ModeMessaging})
		must(t, storage.Close())
		for range 3 {
			for range 50 {
				c.wantErr(queue.StoreError("storage failed"), q.sender, unsigned, send("secret"))
			}
			time.Sleep(time.Minute)
		}
		if n := strings.Count(log.String(), "\n"); n != 3 || !strings.Contains(log.String(), "failures=101") {
			t.Fatalf("%d lines: %s", n, log.String())
		}
	})
}
