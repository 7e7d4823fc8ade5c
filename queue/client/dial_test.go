package client

import (
	"errors"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/transport"
)

// A session over TLS with a relay that answers PING and SEND.
func TestDialOverTLS(t *testing.T) {
	now := time.Now()
	authority, err := transport.NewAuthority(now)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := authority.Issue("localhost", now)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sender := mustX25519(t).Public()
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			raw, err := listener.Accept()
			if err != nil {
				return
			}
			conn, err := transport.Server(t.Context(), raw, transport.ServerConfig{Identity: identity})
			if err != nil {
				continue // of a client that expects another relay
			}
			serveBlocks(conn, sender)
		}
	}()
	defer func() { <-served }()
	defer listener.Close()

	address := queue.Server{
		Fingerprint: identity.Fingerprint(),
		Hosts:       []string{"127.0.0.1"},
		Port:        strconv.Itoa(listener.Addr().(*net.TCPAddr).Port),
	}
	c := Start(Config{Dial: Dial(address, nil, transport.ClientConfig{})})
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if v := expect[Connected](t, c).Version; v != queue.Supported().Max {
		t.Errorf("version %d", v)
	}
	if err := c.Send(t.Context(), Queue{ID: "queue", Key: mustX25519(t)}, true, []byte("hello")); err != nil {
		t.Error(err)
	}
	if err := c.Send(t.Context(), Queue{ID: "queue", Key: testQueue(1).Key}, true, []byte("hello")); !errors.Is(err, queue.ErrAuth) {
		t.Errorf("with another key: %v", err)
	}
	c.Close()

	address.Fingerprint[0]++
	c = Start(Config{Dial: Dial(address, nil, transport.ClientConfig{})})
	if err := c.Ping(t.Context()); !errors.Is(err, transport.ErrIdentity) || Classify(err) != Temporary {
		t.Errorf("another fingerprint: %v", err)
	}
	c.Close()

	address.Hosts = []string{"only.onion"}
	c = Start(Config{Dial: Dial(address, nil, transport.ClientConfig{})})
	if err := c.Ping(t.Context()); Classify(err) != Host {
		t.Errorf("onion host: %v", err)
	}
	c.Close()
}

func serveBlocks(conn *transport.Conn, sender keys.Public) {
	defer conn.Close()
	verifier := queue.Verifier{SessionID: conn.SessionID(), SessionKey: conn.SessionKey()}
	for {
		payload, err := conn.ReadBlock()
		if err != nil {
			return
		}
		var batch queue.Batch
		for _, q := range queue.DecodeBlock(conn.Version(), conn.SessionID(), payload) {
			var resp queue.Response = queue.ERR{Err: queue.ErrAuth}
			switch q.Command.(type) {
			case queue.PING:
				resp = queue.PONG{}
			case queue.SEND:
				if verifier.Verify(q.Transmission, sender) {
					resp = queue.OK{}
				}
			}
			batch.Add(queue.AppendAnswer(nil, conn.Version(), conn.SessionID(), q.Answer(resp)))
		}
		if conn.WriteBlock(batch.Take()) != nil {
			return
		}
	}
}
