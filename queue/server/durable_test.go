package server_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cloudflare/circl/sign/ed448"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/server"
	"github.com/coterie-im/coterie/queue/store"
)

// slowStore is a store whose changes become durable, or fail, when the test says so.
type slowStore struct {
	*store.Memory

	mu      sync.Mutex
	broken  error           // guarded by mu: what every call returns
	holding bool            // guarded by mu
	held    []*store.Commit // guarded by mu
}

var errDisk = errors.New("disk failure")

func (s *slowStore) commit() (*store.Commit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil || !s.holding {
		return nil, s.broken
	}
	c := new(store.Commit)
	s.held = append(s.held, c)
	return c, nil
}

func (s *slowStore) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holding = true
}

// release makes everything durable that was held, or fails it.
func (s *slowStore) release(err error) {
	s.mu.Lock()
	held := s.held
	s.held, s.holding = nil, false
	s.mu.Unlock()
	for _, c := range held {
		c.Resolve(err)
	}
}

func (s *slowStore) fails(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

func (s *slowStore) Create(ctx context.Context, q store.Queue) (*store.Commit, error) {
	c, err := s.commit()
	if err != nil {
		return nil, err
	}
	_, err = s.Memory.Create(ctx, q)
	return c, err
}

func (s *slowStore) Send(ctx context.Context, recipient queue.ID, m store.Message) (store.Sent, *store.Commit, error) {
	c, err := s.commit()
	if err != nil {
		return store.Sent{}, nil, err
	}
	sent, _, err := s.Memory.Send(ctx, recipient, m)
	return sent, c, err
}

func (s *slowStore) Ack(ctx context.Context, recipient, message queue.ID) (int, *store.Commit, error) {
	c, err := s.commit()
	if err != nil {
		return 0, nil, err
	}
	rest, _, err := s.Memory.Ack(ctx, recipient, message)
	return rest, c, err
}

func (s *slowStore) Head(ctx context.Context, recipient queue.ID) (store.Message, bool, error) {
	s.mu.Lock()
	broken := s.broken
	s.mu.Unlock()
	if broken != nil {
		return store.Message{}, false, broken
	}
	return s.Memory.Head(ctx, recipient)
}

func slowRelay(t *testing.T) (*relay, *slowStore) {
	t.Helper()
	s := &slowStore{Memory: store.NewMemory(0)}
	return startRelayInBubble(t, func(c *server.Config) { c.Store = s }), s
}

// silent fails if the relay has sent something.
func (c *client) silent(sent *int64, r *relay) {
	c.t.Helper()
	synctest.Wait()
	if now := r.Stats().Blocks.Sent; now != *sent {
		c.t.Fatalf("the relay has sent %d blocks", now-*sent)
	}
}

func TestAnswersWaitForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := slowRelay(t)
		bob, alice := r.connect(t), r.connect(t)
		q := bob.subscribed()
		s.hold()
		synctest.Wait()
		sent := r.Stats().Blocks.Sent
		send1, ping, send2 := alice.corrID(), alice.corrID(), alice.corrID()
		alice.write(alice.encode(send1, q.sender, unsigned, send("one")))
		alice.write(alice.encode(ping, "", unsigned, queue.PING{}))
		alice.write(alice.encode(send2, q.sender, unsigned, send("two")))
		// The message is delivered, the answer waits, and so do those behind it.
		one := q.receive(bob, "one")
		sent++
		alice.silent(&sent, r)
		s.release(nil)
		for _, want := range []queue.Answer{
			{CorrID: send1, EntityID: q.sender, Response: queue.OK{}},
			{CorrID: ping, Response: queue.PONG{}},
			{CorrID: send2, EntityID: q.sender, Response: queue.OK{}},
		} {
			for len(alice.events) == 0 {
				alice.events = alice.read()
			}
			if alice.events[0] != want {
				t.Fatalf("%s came out of order", show(alice.events[0].Response))
			}
			alice.events = alice.events[1:]
		}
		// The next message comes when the deletion of the first is durable.
		s.hold()
		synctest.Wait()
		sent = r.Stats().Blocks.Sent
		ack := bob.corrID()
		bob.write(bob.encode(ack, q.recipient, q.key, queue.ACK{MessageID: one}))
		bob.silent(&sent, r)
		s.release(nil)
		q.wantMessage(t, bob.await(ack).Response, "two")
	})
}

func TestFailuresOfTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := slowRelay(t)
		bob, alice := r.connect(t), r.connect(t)
		q := bob.subscribed()
		failed := queue.ERR{Err: queue.StoreError("storage failed")}
		fail := func(c *client, entity queue.ID, key queue.PrivateKey, command queue.Command) {
			t.Helper()
			s.hold()
			corrID := c.corrID()
			c.write(c.encode(corrID, entity, key, command))
			synctest.Wait()
			s.release(errDisk)
			c.want(c.await(corrID).Response, failed)
		}
		fail(alice, q.sender, unsigned, send("lost"))
		// The message was delivered before; its acknowledgement fails, and is repeated.
		id := q.receive(bob, "lost")
		fail(bob, q.recipient, q.key, queue.ACK{MessageID: id})
		bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: id})
		bob.wantErr(queue.ErrNoMsg, q.recipient, q.key, queue.ACK{MessageID: id})

		key, dh := newKey(t, keys.Ed25519), newKey(t, keys.X25519)
		before := r.Stats().Subscriptions.Open
		fail(bob, "", key, queue.NEW{RecipientKey: key.Public(), RecipientDH: dh.Public(), Subscribe: true, Mode: queue.ModeMessaging})
		if now := r.Stats().Subscriptions.Open; now != before {
			t.Fatal("there is a subscription to a queue that was not created")
		}

		s.fails(errDisk)
		alice.want(alice.do(q.sender, unsigned, send("refused")), failed)
		bob.want(bob.do(q.recipient, q.key, queue.SUB{}), queue.OK{})
		alice.want(alice.do(q.recipient, q.key, queue.GET{}), failed)
		s.fails(nil)
		if n := r.Stats().Commands.StoreErrors; n != 5 {
			t.Fatalf("%d failures were counted", n)
		}
		// Nothing else is broken.
		alice.wantOK(q.sender, unsigned, send("hello"))
		bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: q.receive(bob, "hello")})
		bob.quiet()
		alice.quiet()
	})
}

func TestDescribingAQueue(t *testing.T) {
	r := startRelay(t, nil)
	bob, alice := r.connect(t), r.connect(t)
	q := bob.newInbox(queue.NEW{Mode: queue.ModeMessaging})
	describe := func(c *client) queue.QueueInfo {
		t.Helper()
		answer, ok := c.do(q.recipient, q.key, queue.QUE{}).(queue.INFO)
		if !ok {
			t.Fatal("QUE was not answered")
		}
		return answer.Info
	}
	if info := describe(bob); info != (queue.QueueInfo{}) {
		t.Fatalf("%+v", info)
	}
	bob.newBell(q)
	key := newKey(t, keys.Ed25519)
	bob.wantOK(q.recipient, q.key, queue.KEY{Key: key.Public()})
	alice.wantOK(q.sender, key, send("one"))
	alice.wantOK(q.sender, key, send("two"))
	info := describe(bob)
	if !info.Secured || !info.Notifier || info.Size != 2 || info.Head == nil || info.Head.Quota || info.Subscription != nil {
		t.Fatalf("%+v", info)
	}
	bob.wantOK(q.recipient, q.key, queue.SUB{})
	id := q.receive(bob, "one")
	info = describe(bob)
	if sub := info.Subscription; sub == nil || sub.Thread != queue.ThreadNone || sub.Delivered != id || info.Head.ID != id {
		t.Fatalf("%+v", info)
	}
	if info := describe(alice); info.Subscription != nil {
		t.Fatal("another connection sees the subscription")
	}
	q.wantMessage(t, alice.do(q.recipient, q.key, queue.GET{}), "one")
	if sub := describe(alice).Subscription; sub == nil || sub.Thread != queue.ThreadProhibited || sub.Delivered != id {
		t.Fatalf("%+v", sub)
	}
}

// TestEd448Keys uses signatures that old clients make.
func TestEd448Keys(t *testing.T) {
	r := startRelay(t, nil)
	c := r.connect(t)
	public, private, err := ed448.GenerateKey(nil)
	must(t, err)
	key, err := keys.New(keys.Ed448, public)
	must(t, err)
	signed := func(entity queue.ID, command queue.Command) queue.Response {
		t.Helper()
		tr := queue.Transmission{CorrID: c.corrID(), EntityID: entity, Body: queue.AppendCommand(nil, c.version(), command)}
		tr.Authorization = ed448.Sign(private, queue.AppendAuthorized(nil, c.conn.SessionID(), tr), "")
		c.write(queue.AppendTransmission(nil, c.version(), tr))
		return c.await(tr.CorrID).Response
	}
	dh := newKey(t, keys.X25519)
	ids, ok := signed("", queue.NEW{RecipientKey: key, RecipientDH: dh.Public(), Mode: queue.ModeMessaging}).(queue.IDS)
	if !ok {
		t.Fatal("queue was not created")
	}
	c.want(signed(ids.SenderID, queue.SKEY{Key: key}), queue.OK{})
	c.want(signed(ids.SenderID, send("hello")), queue.OK{})
	c.want(signed(ids.RecipientID, queue.OFF{}), queue.OK{})
	c.want(signed(ids.SenderID, queue.OFF{}), queue.ERR{Err: queue.ErrAuth})
}
