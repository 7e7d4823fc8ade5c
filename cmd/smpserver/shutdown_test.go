package main

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/server"
	"github.com/coterie-im/coterie/queue/store"
	"github.com/coterie-im/coterie/queue/transport"
)

// stuckStore never makes a message durable, so a session that has one to answer never finishes.
type stuckStore struct{ *store.Memory }

func (s stuckStore) Send(ctx context.Context, recipient queue.ID, m store.Message) (store.Sent, *store.Commit, error) {
	sent, _, err := s.Memory.Send(ctx, recipient, m)
	return sent, new(store.Commit), err
}

// stuckRelay is a relay with a client that waits for an answer that never comes.
func stuckRelay(t *testing.T) *server.Server {
	t.Helper()
	authority, err := transport.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	identity, err := authority.Issue("localhost", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	relay, err := server.New(server.Config{Store: stuckStore{store.NewMemory(0)}, Identity: identity})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = relay.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = relay.Serve(l) }()
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := &process{address: queue.Server{Fingerprint: identity.Fingerprint(), Hosts: []string{host}, Port: port}}
	c, err := p.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids, _, _, err := c.newQueue(queue.ModeContact)
	if err == nil {
		err = c.send("send", ids.SenderID, queue.PrivateKey{}, queue.SEND{Body: []byte("hello")})
	}
	if err == nil {
		err = poll(func() bool { return relay.Stats().Messages.Sent == 1 })
	}
	if err != nil {
		t.Fatal(err)
	}
	return relay
}

func TestSecondSignalAborts(t *testing.T) {
	relay := stuckRelay(t)
	r := &runner{config: config{ShutdownGrace: duration(time.Hour)}}
	signals := make(chan os.Signal, 1)
	signals <- syscall.SIGTERM
	if err := r.shutdown(relay, signals); !errors.Is(err, errAborted) {
		t.Fatalf("error is %v", err)
	}
}

func TestGraceEnds(t *testing.T) {
	relay := stuckRelay(t)
	r := &runner{config: config{ShutdownGrace: duration(time.Millisecond)}}
	if err := r.shutdown(relay, nil); err != nil {
		t.Fatal(err)
	}
	if n := relay.Stats().Connections.Open; n != 0 {
		t.Fatalf("%d sessions are left", n)
	}
}
