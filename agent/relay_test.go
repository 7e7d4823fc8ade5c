package agent

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/client"
	"github.com/coterie-im/coterie/queue/transport"
)

// slowRelay creates queues when the test says so, and does nothing else.
type slowRelay struct {
	asked   chan struct{} // told when a queue is wanted
	release chan struct{} // closed by the test
	events  chan client.Event
}

func newSlowRelay() *slowRelay {
	return &slowRelay{asked: make(chan struct{}, 8), release: make(chan struct{}), events: make(chan client.Event)}
}

func (r *slowRelay) New(ctx context.Context, command queue.NEW, _ queue.PrivateKey) (queue.IDS, error) {
	r.asked <- struct{}{}
	select {
	case <-r.release:
	case <-ctx.Done():
		return queue.IDS{}, ctx.Err()
	}
	dh, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return queue.IDS{}, err
	}
	return queue.IDS{RecipientID: "recipient", SenderID: "sender", ServerDH: keys.FromX25519(dh.PublicKey()), Mode: command.Mode}, nil
}

func (r *slowRelay) Subscribe(_ context.Context, queues ...client.Queue) []error {
	return make([]error, len(queues))
}
func (r *slowRelay) Forget(queue.ID)                                      {}
func (r *slowRelay) Key(context.Context, client.Queue, keys.Public) error { return client.ErrTimeout }
func (r *slowRelay) SecureSender(context.Context, client.Queue) error     { return client.ErrTimeout }
func (r *slowRelay) Post(messages []client.Outgoing, done func([]client.Posted)) {
	for i := range messages {
		done([]client.Posted{{Index: i, Err: client.ErrTimeout}})
	}
}
func (r *slowRelay) Ack(context.Context, client.Queue, queue.ID) error { return client.ErrTimeout }
func (r *slowRelay) Off(context.Context, client.Queue) error           { return client.ErrTimeout }
func (r *slowRelay) Delete(context.Context, client.Queue) error        { return client.ErrTimeout }
func (r *slowRelay) Events() <-chan client.Event                       { return r.events }
func (r *slowRelay) Close()                                            { close(r.events) }

func openSlow(t *testing.T, path string) (*Agent, *slowRelay) {
	t.Helper()
	slow := newSlowRelay()
	a, err := Open(t.Context(), Config{
		Store:  path,
		Key:    testKey,
		Relays: []queue.Server{{Hosts: []string{"relay.example.org"}}},
		relay:  func(queue.Server) relay { return slow },
	})
	must(t, err)
	return a, slow
}

func TestCloseStoresWhatIsUnderWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	a, relay := openSlow(t, path)
	go func() { _, _, _ = a.CreateConnection(context.Background(), CreateOptions{}) }()
	<-relay.asked
	closed := make(chan error)
	go func() { closed <- a.Close(context.Background()) }()
	<-a.closing
	_, err := a.Connections(t.Context())
	wantError(t, "call while closing", err, ErrClosed)
	select {
	case <-closed:
		t.Fatal("closed while a queue is being made")
	default:
	}
	close(relay.release)
	must(t, <-closed)

	a, _ = openSlow(t, path)
	defer a.Close(t.Context())
	all, err := a.Connections(t.Context())
	must(t, err)
	if len(all) != 1 || all[0].Link == "" {
		t.Errorf("the queue that was made is not known: %+v", all)
	}
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	a, relay := openSlow(t, path)
	go func() { _, _, _ = a.CreateConnection(context.Background(), CreateOptions{}) }()
	<-relay.asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, a.Close(ctx))

	a, relay = openSlow(t, path)
	defer a.Close(t.Context())
	<-relay.asked // what was not done is done again
	close(relay.release)
	await(t, func() bool {
		all, err := a.Connections(t.Context())
		must(t, err)
		return len(all) == 1 && all[0].Link != ""
	})
}

func TestClassify(t *testing.T) {
	tests := []struct {
		err   error
		class conn.Class
		code  conn.Code
	}{
		{queue.ErrAuth, conn.Auth, conn.CodeAuth},
		{queue.ErrQuota, conn.Quota, conn.CodeQuota},
		{queue.ErrLargeMsg, conn.Large, "SMP LARGE_MSG"},
		{queue.ErrInternal, conn.Permanent, "SMP INTERNAL"},
		{queue.StoreError("full"), conn.Host, codeStore},
		{queue.ErrProxyNoSession, conn.Temporary, "SMP PROXY NO_SESSION"},
		{fmt.Errorf("send: %w", queue.ErrAuth), conn.Auth, conn.CodeAuth},
		{client.ErrTimeout, conn.Temporary, codeTimeout},
		{context.DeadlineExceeded, conn.Temporary, codeTimeout},
		{client.ErrDisconnected, conn.Temporary, codeNetwork},
		{&client.DialError{Err: errors.New("refused")}, conn.Temporary, codeNetwork},
		{&client.DialError{Err: transport.ErrVersion}, conn.Host, codeHost},
		{errors.New("something else"), conn.Permanent, conn.CodeInternal},
	}
	for _, test := range tests {
		if class, code := classify(test.err); class != test.class || code != test.code {
			t.Errorf("%v: %v %q", test.err, class, code)
		}
	}
}
