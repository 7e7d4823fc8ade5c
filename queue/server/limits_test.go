package server_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/server"
	"github.com/coterie-im/coterie/queue/store"
	"github.com/coterie-im/coterie/queue/store/sqlite"
)

func TestWhoMayCreateQueues(t *testing.T) {
	command := func(password string) (queue.PrivateKey, queue.NEW) {
		key, dh := newKey(t, keys.Ed25519), newKey(t, keys.X25519)
		return key, queue.NEW{RecipientKey: key.Public(), RecipientDH: dh.Public(), Password: password, Mode: queue.ModeMessaging}
	}
	for _, c := range []struct {
		name     string
		change   func(*server.Config)
		password string
		ok       bool
	}{
		{"everybody", nil, "", true},
		{"everybody, with a password that is not needed", nil, "needless", true},
		{"nobody", func(c *server.Config) { c.NoNewQueues = true }, "", false},
		{"without the password", func(c *server.Config) { c.Password = "right" }, "", false},
		{"with a wrong password", func(c *server.Config) { c.Password = "right" }, "wrong", false},
		{"with the password", func(c *server.Config) { c.Password = "right" }, "right", true},
		{"nobody, also with the password", func(c *server.Config) { c.Password, c.NoNewQueues = "right", true }, "right", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := startRelayOn(t, store.NewMemory(0), c.change)
			cl := r.connect(t)
			key, command := command(c.password)
			got := cl.do("", key, command)
			if _, ok := got.(queue.IDS); ok != c.ok || !ok && got != (queue.ERR{Err: queue.ErrAuth}) {
				t.Fatalf("answer is %s", show(got))
			}
		})
	}
}

func TestConnectionLimits(t *testing.T) {
	for name, change := range map[string]func(*server.Config){
		"per address": func(c *server.Config) { c.MaxPerAddress = 2 },
		"in total":    func(c *server.Config) { c.MaxConnections = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			r := startRelayOn(t, store.NewMemory(0), change)
			first, second := r.connect(t), r.connect(t)
			if _, err := r.tryConnect(t, queue.Supported()); err == nil {
				t.Fatal("there is a third connection")
			}
			first.quiet()
			second.quiet()
			must(t, first.conn.Close())
			waitFor(t, "the place is free again", func() bool { return r.Stats().Connections.Open == 1 })
			waitFor(t, "a new connection is accepted", func() bool {
				c, err := r.tryConnect(t, queue.Supported())
				if err == nil {
					_ = c.Close()
				}
				return err == nil
			})
			if r.Stats().Connections.Refused == 0 {
				t.Fatal("refused connections are not counted")
			}
		})
	}
}

func TestShutdownFinishesWhatWasBegun(t *testing.T) {
	dir := t.TempDir()
	storage, err := sqlite.Open(filepath.Join(dir, "relay.db"), sqlite.Options{})
	must(t, err)
	r := startRelayOn(t, storage, nil)
	bob, alice := r.connect(t), r.connect(t)
	q := bob.newInbox(queue.NEW{Mode: queue.ModeMessaging})
	sender := newKey(t, keys.Ed25519)
	bob.wantOK(q.recipient, q.key, queue.KEY{Key: sender.Public()})
	const sent = 20
	for n := range sent {
		alice.write(alice.encode(alice.corrID(), q.sender, sender, send(strings.Repeat("m", n+1))))
	}
	waitFor(t, "the relay has read the messages", func() bool { return r.Stats().Messages.Sent == sent })
	must(t, r.Shutdown(t.Context()))
	must(t, storage.Close())
	for answered := 0; answered < sent; {
		for _, a := range alice.read() {
			alice.want(a.Response, queue.OK{})
			answered++
		}
	}
	alice.wantClosed()
	bob.wantClosed()
	if err := <-r.served; !errors.Is(err, server.ErrClosed) {
		t.Fatalf("Serve returned %v", err)
	}

	storage, err = sqlite.Open(filepath.Join(dir, "relay.db"), sqlite.Options{})
	must(t, err)
	defer storage.Close()
	r = startRelayOn(t, storage, nil)
	bob, alice = r.connect(t), r.connect(t)
	alice.wantErr(queue.ErrAuth, q.sender, unsigned, send("the key is still there"))
	bob.wantOK(q.recipient, q.key, queue.SUB{})
	id := q.receive(bob, "m")
	for n := 1; n < sent; n++ {
		id = q.wantMessage(t, bob.do(q.recipient, q.key, queue.ACK{MessageID: id}), strings.Repeat("m", n+1))
	}
	bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: id})
}

func TestManyQueuesOverSeveralConnections(t *testing.T) {
	r := startRelay(t, nil)
	const n = 50
	first := r.connect(t)
	var queues []inbox
	for range n {
		queues = append(queues, first.subscribed())
	}
	must(t, first.conn.Close())
	alice := r.connect(t)
	for _, c := range []*client{r.connect(t), r.connect(t)} {
		var commands [][]byte
		for _, q := range queues {
			commands = append(commands, c.encode("", q.recipient, q.key, queue.SUB{})) // without correlation IDs
		}
		c.write(commands...)
		for answered := 0; answered < n; {
			for _, a := range c.read() {
				c.want(a.Response, queue.OK{})
				answered++
			}
		}
		for _, q := range queues {
			alice.wantOK(q.sender, unsigned, send("hello"))
		}
		for _, q := range queues {
			c.wantOK(q.recipient, q.key, queue.ACK{MessageID: q.receive(c, "hello")})
		}
		c.quiet()
	}
}
