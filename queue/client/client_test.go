package client

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/transport"
)

// noJitter makes waiting times exact.
func noJitter() float64 { return 0 }

// start starts a session with a scripted relay in a synctest bubble.
func start(t *testing.T, version queue.Version, change ...func(*Config)) (*Client, *relay) {
	r := newRelay(t, version)
	config := Config{Dial: r.dial, Jitter: noJitter}
	for _, f := range change {
		f(&config)
	}
	c := Start(config)
	t.Cleanup(c.Close)
	return c, r
}

// story runs a test with fake time; goroutines that are left at its end fail it.
func story(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func TestEveryCommandHasItsAnswer(t *testing.T) {
	q := testQueue(1)
	sender := testQueue(2).Key.Public()
	ids := queue.IDS{RecipientID: "recipient", SenderID: "sender", ServerDH: mustX25519(t).Public(), Mode: queue.ModeMessaging}
	create := queue.NEW{RecipientKey: q.Key.Public(), RecipientDH: mustX25519(t).Public(), Mode: queue.ModeMessaging}
	info := queue.QueueInfo{Secured: true, Size: 3}
	ctx := context.Background()
	for _, test := range []struct {
		command queue.Command
		answer  queue.Response
		call    func(c *Client) (any, error)
		want    any
	}{
		{create, ids, func(c *Client) (any, error) { return c.New(ctx, create, q.Key) }, ids},
		{queue.SUB{}, queue.OK{}, func(c *Client) (any, error) { return nil, c.Subscribe(ctx, q)[0] }, nil},
		{queue.SUB{}, queue.SOK{}, func(c *Client) (any, error) { return nil, c.Subscribe(ctx, q)[0] }, nil},
		{queue.KEY{Key: sender}, queue.OK{}, func(c *Client) (any, error) { return nil, c.Key(ctx, q, sender) }, nil},
		{queue.SKEY{Key: q.Key.Public()}, queue.OK{}, func(c *Client) (any, error) { return nil, c.SecureSender(ctx, q) }, nil},
		{queue.SEND{Notify: true, Body: []byte("hello")}, queue.OK{}, func(c *Client) (any, error) { return nil, c.Send(ctx, q, true, []byte("hello")) }, nil},
		{queue.ACK{MessageID: "m"}, queue.OK{}, func(c *Client) (any, error) { return nil, c.Ack(ctx, q, "m") }, nil},
		{queue.GET{}, queue.OK{}, func(c *Client) (any, error) { return c.Get(ctx, q) }, false},
		{queue.OFF{}, queue.OK{}, func(c *Client) (any, error) { return nil, c.Off(ctx, q) }, nil},
		{queue.DEL{}, queue.OK{}, func(c *Client) (any, error) { return nil, c.Delete(ctx, q) }, nil},
		{queue.QUE{}, queue.INFO{Info: info}, func(c *Client) (any, error) { return c.QueueInfo(ctx, q) }, info},
		{queue.PING{}, queue.PONG{}, func(c *Client) (any, error) { return nil, c.Ping(ctx) }, nil},
	} {
		t.Run(test.command.Tag()+" "+test.answer.Tag(), func(t *testing.T) {
			for _, failure := range []queue.Response{nil, queue.ERR{Err: queue.ErrAuth}, queue.LNK{SenderID: "x"}} {
				story(t, func(t *testing.T) {
					c, r := start(t, 16)
					type outcome struct {
						value any
						err   error
					}
					done := background(func() outcome { v, err := test.call(c); return outcome{v, err} })
					l := r.accept()
					request := l.request()
					if !reflect.DeepEqual(request.Command, test.command) {
						t.Fatalf("sent %#v", request.Command)
					}
					verifier := queue.Verifier{SessionID: l.sessionID, SessionKey: l.sessionKey}
					if test.command != (queue.PING{}) && !verifier.Verify(request.Transmission, q.Key.Public()) {
						t.Fatal("command is not authorized")
					}
					switch failure := failure.(type) {
					case nil:
						l.send(request.Answer(test.answer))
						if got := <-done; got.err != nil || !reflect.DeepEqual(got.value, test.want) {
							t.Fatalf("got %v, %v", got.value, got.err)
						}
					case queue.ERR:
						l.send(request.Answer(failure))
						if got := <-done; !errors.Is(got.err, queue.ErrAuth) || Classify(got.err) != Permanent {
							t.Fatalf("got %v", got.err)
						}
					default:
						l.send(queue.Answer{CorrID: request.CorrID, EntityID: "e", Response: failure})
						if got := <-done; !errors.Is(got.err, ErrUnexpected) {
							t.Fatalf("got %v", got.err)
						}
					}
				})
			}
		})
	}
}

func mustX25519(t *testing.T) queue.PrivateKey {
	t.Helper()
	k, err := queue.GenerateKey(keys.X25519, readerOf("thirty-two bytes for a test key."))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAnswersInAnyOrder(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		var sends []<-chan error
		for i := range 10 {
			sends = append(sends, background(func() error { return c.Send(t.Context(), testQueue(i), false, []byte{byte(i)}) }))
		}
		l := r.accept()
		requests := l.requests(10)
		for i := len(requests) - 1; i >= 0; i-- {
			var resp queue.Response = queue.OK{}
			if requests[i].EntityID == testQueue(3).ID {
				resp = queue.ERR{Err: queue.ErrQuota}
			}
			l.send(requests[i].Answer(resp))
		}
		for i, done := range sends {
			if err := <-done; (i == 3) != errors.Is(err, queue.ErrQuota) || i != 3 && err != nil {
				t.Errorf("send %d: %v", i, err)
			}
		}
	})
}

func TestCommandsThatWaitTogetherShareABlock(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		done := background(func() []error { return c.Subscribe(t.Context(), testQueues(300)...) })
		l := r.accept()
		var sizes []int
		var requests []queue.Request
		for len(requests) < 300 {
			block := l.block()
			sizes = append(sizes, len(block))
			requests = append(requests, block...)
		}
		// A transmission of SUB has 118 bytes with an Ed25519 signature, 2 more for its length.
		if want := []int{136, 136, 28}; !reflect.DeepEqual(sizes, want) {
			t.Errorf("blocks of %v transmissions, not %v", sizes, want)
		}
		for _, q := range requests {
			l.send(q.Answer(queue.OK{}))
		}
		for i, err := range <-done {
			if err != nil {
				t.Errorf("queue %d: %v", i, err)
			}
		}
	})
}

func TestCommandsForOneQueueKeepTheirOrder(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		q := testQueue(1)
		for i := range 3 {
			background(func() error { return c.Send(t.Context(), q, false, []byte{byte(i)}) })
			synctest.Wait()
		}
		l := r.accept()
		for i := range 3 {
			request := l.request() // one in every block: relays may reverse a block
			if got := request.Command.(queue.SEND).Body[0]; got != byte(i) {
				t.Errorf("message %d came as number %d", got, i)
			}
			l.send(request.Answer(queue.OK{}))
		}
	})
}

func TestTooLargeMessageHarmsNobody(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		large := background(func() error { return c.Send(t.Context(), testQueue(1), false, make([]byte, queue.MaxBodySize(9)+1)) })
		synctest.Wait()
		ping := background(func() error { return c.Ping(t.Context()) })
		synctest.Wait()
		l := r.accept()
		request := l.request()
		l.send(request.Answer(queue.PONG{}))
		if err := <-ping; err != nil {
			t.Error(err)
		}
		if err := <-large; !errors.Is(err, queue.ErrLargeMsg) {
			t.Errorf("got %v", err)
		}
	})
}

func TestLargestMessageFits(t *testing.T) {
	story(t, func(t *testing.T) {
		for _, version := range []queue.Version{6, 7, 8, 9, 11, 16} {
			c, r := start(t, version)
			done := background(func() error {
				return c.Send(t.Context(), testQueue(1), false, make([]byte, queue.MaxBodySize(version)))
			})
			l := r.accept()
			request := l.request()
			l.send(request.Answer(queue.OK{}))
			if err := <-done; err != nil {
				t.Errorf("version %d: %v", version, err)
			}
		}
	})
}

func TestAuthenticatorsNeedASessionKey(t *testing.T) {
	story(t, func(t *testing.T) {
		q := Queue{ID: "queue", Key: mustX25519(t)}
		c, r := start(t, 6)
		done := background(func() error { return c.Send(t.Context(), q, false, nil) })
		r.accept()
		if err := <-done; !errors.Is(err, queue.ErrNoSessionKey) || Classify(err) != Permanent {
			t.Errorf("got %v", err)
		}

		c, r = start(t, 7)
		done = background(func() error { return c.Send(t.Context(), q, false, nil) })
		l := r.accept()
		request := l.request()
		if !(queue.Verifier{SessionID: l.sessionID, SessionKey: l.sessionKey}).Verify(request.Transmission, q.Key.Public()) {
			t.Error("authenticator is not valid")
		}
		l.send(request.Answer(queue.OK{}))
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestCommandTimesOut(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		begin := time.Now()
		done := background(func() error { return c.Send(t.Context(), testQueue(1), false, nil) })
		l := r.accept()
		request := l.request()
		if err := <-done; !errors.Is(err, ErrTimeout) || Classify(err) != Temporary {
			t.Fatalf("got %v", err)
		}
		if took := time.Since(begin); took != defaultCommandTimeout {
			t.Errorf("took %v", took)
		}
		// The late answer is for nobody, and the session asks whether the relay is alive.
		ping := l.request()
		l.send(request.Answer(queue.OK{}), ping.Answer(queue.PONG{}))
		synctest.Wait()
		if got := c.Stats().Unmatched; got != 1 {
			t.Errorf("%d unmatched responses", got)
		}
		expect[Connected](t, c)
		quiet(t, c)
	})
}

func TestContextEndsACommand(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		ctx, cancel := context.WithCancel(t.Context())
		connecting := background(func() error { return c.Ping(ctx) })
		synctest.Wait()
		cancel()
		if err := <-connecting; !errors.Is(err, context.Canceled) || Classify(err) != Temporary {
			t.Errorf("while connecting: %v", err)
		}
		l := r.accept() // the attempt goes on
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		sent := background(func() error { return c.Ping(ctx) })
		request := l.request()
		if err := <-sent; !errors.Is(err, context.DeadlineExceeded) || Classify(err) != Temporary {
			t.Errorf("in flight: %v", err)
		}
		l.send(request.Answer(queue.PONG{}))
		// A subscription that nobody waits for any more is still made.
		ctx, cancel = context.WithCancel(t.Context())
		subscribed := background(func() []error { return c.Subscribe(ctx, testQueue(1)) })
		request = l.request()
		cancel()
		if err := (<-subscribed)[0]; !errors.Is(err, context.Canceled) {
			t.Errorf("subscription: %v", err)
		}
		l.send(request.Answer(queue.OK{}))
		expect[Connected](t, c)
		if got := expect[Subscribed](t, c).Queues; !reflect.DeepEqual(got, []queue.ID{testQueue(1).ID}) {
			t.Errorf("%d queues subscribed", len(got))
		}
	})
}

func TestCommandsInFlightAreBounded(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9, func(c *Config) { c.InFlight = 3 })
		for i := range 5 {
			background(func() error { return c.Send(t.Context(), testQueue(i), false, nil) })
		}
		l := r.accept()
		first := l.requests(3)
		synctest.Wait()
		select {
		case <-l.toRelay:
			t.Fatal("more commands in flight than allowed")
		default:
		}
		l.send(first[0].Answer(queue.OK{}), first[1].Answer(queue.OK{}))
		l.requests(2)
	})
}

func TestMessagesComeAsEventsHoweverTheyAreSent(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		q, get := testQueue(1), testQueue(2)
		done := background(func() []error { return c.Subscribe(t.Context(), q) })
		l := r.accept()
		l.send(l.request().Answer(testMSG(1))) // as old relays answer SUB
		if err := (<-done)[0]; err != nil {
			t.Fatal(err)
		}
		ack := background(func() error { return c.Ack(t.Context(), q, testMSG(1).ID) })
		l.send(l.request().Answer(testMSG(2)))
		if err := <-ack; err != nil {
			t.Fatal(err)
		}
		ack = background(func() error { return c.Ack(t.Context(), q, testMSG(2).ID) })
		l.send(l.request().Answer(queue.OK{}))
		if err := <-ack; err != nil {
			t.Fatal(err)
		}
		l.send(queue.Answer{EntityID: q.ID, Response: testMSG(3)})
		found := background(func() bool { found, err := c.Get(t.Context(), get); return found && err == nil })
		l.send(l.request().Answer(testMSG(4)))
		if !<-found {
			t.Fatal("nothing found")
		}
		l.send(queue.Answer{EntityID: "unknown", Response: testMSG(5)})
		expect[Connected](t, c)
		for i, from := range []Queue{q, q, q, get} {
			if m := expect[Message](t, c); m.Queue != from.ID || !reflect.DeepEqual(m.Msg, testMSG(i+1)) {
				t.Errorf("message %d is not the one that was sent", i+1)
			}
		}
		quiet(t, c)
		if got := c.Stats().Unmatched; got != 1 {
			t.Errorf("%d unmatched", got)
		}
	})
}

func TestMessageOfAnotherQueueIsNoAnswer(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		done := background(func() error { _, err := c.Get(t.Context(), testQueue(1)); return err })
		l := r.accept()
		request := l.request()
		l.send(queue.Answer{CorrID: request.CorrID, EntityID: testQueue(2).ID, Response: testMSG(1)})
		if err := <-done; !errors.Is(err, ErrUnexpected) {
			t.Errorf("got %v", err)
		}
	})
}

func TestMalformedResponseFailsItsCommandOnly(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		first := background(func() error { return c.Send(t.Context(), testQueue(1), false, nil) })
		synctest.Wait()
		second := background(func() error { return c.Send(t.Context(), testQueue(2), false, nil) })
		synctest.Wait()
		l := r.accept()
		requests := l.requests(2)
		var batch queue.Batch
		batch.Add(queue.AppendTransmission(nil, 9, queue.Transmission{CorrID: requests[0].CorrID, EntityID: "q", Body: []byte("NONSENSE")}))
		batch.Add([]byte{0xff})
		batch.Add(queue.AppendAnswer(nil, 9, nil, requests[1].Answer(queue.OK{})))
		l.sendPayload(batch.Take())
		if err := <-first; !errors.Is(err, queue.ErrResponse) || Classify(err) != Permanent {
			t.Errorf("got %v", err)
		}
		if err := <-second; err != nil {
			t.Error(err)
		}
	})
}

func TestSubscriptionsThatEnd(t *testing.T) {
	blocked := queue.Blocked(queue.BlockInfo{Reason: queue.BlockSpam})
	for name, test := range map[string]struct {
		response queue.Response
		event    Event
	}{
		"taken over": {queue.END{}, Ended{testQueue(1).ID}},
		"deleted":    {queue.DELD{}, Deleted{testQueue(1).ID}},
		"blocked":    {queue.ERR{Err: blocked}, Refused{testQueue(1).ID, blocked}},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T) {
				c, r := start(t, 12)
				done := background(func() []error { return c.Subscribe(t.Context(), testQueue(1)) })
				l := r.accept()
				l.send(l.request().Answer(queue.OK{}))
				<-done
				l.send(queue.Answer{EntityID: testQueue(1).ID, Response: test.response})
				l.send(queue.Answer{EntityID: testQueue(1).ID, Response: test.response}) // again: nobody cares
				expect[Connected](t, c)
				if e := next(t, c); !reflect.DeepEqual(e, test.event) {
					t.Errorf("event %T", e)
				}
				quiet(t, c)
				// The queue is not subscribed again after the next connection.
				_ = l.Close()
				expect[Disconnected](t, c)
				ping := background(func() error { return c.Ping(t.Context()) })
				l = r.accept()
				if request := l.request(); request.Command != (queue.PING{}) {
					t.Errorf("sent %s", request.Command.Tag())
				} else {
					l.send(request.Answer(queue.PONG{}))
				}
				if err := <-ping; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestEndBeforeTheAnswerToSubIsOld(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		done := background(func() []error { return c.Subscribe(t.Context(), testQueue(1)) })
		l := r.accept()
		request := l.request()
		l.send(queue.Answer{EntityID: testQueue(1).ID, Response: queue.END{}})
		l.send(request.Answer(queue.OK{}), queue.Answer{EntityID: testQueue(1).ID, Response: testMSG(1)})
		if err := (<-done)[0]; err != nil {
			t.Fatal(err)
		}
		expect[Connected](t, c)
		expect[Message](t, c)
	})
}

func TestNewSubscribes(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9, func(c *Config) { c.EventLimit = 1 })
		key := testQueue(1).Key
		create := queue.NEW{RecipientKey: key.Public(), RecipientDH: mustX25519(t).Public(), Subscribe: true}
		done := background(func() error { _, err := c.New(t.Context(), create, key); return err })
		l := r.accept()
		ids := queue.IDS{RecipientID: "recipient", SenderID: "sender", ServerDH: mustX25519(t).Public()}
		l.send(l.request().Answer(ids), queue.Answer{EntityID: "recipient", Response: testMSG(1)})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		expect[Connected](t, c)
		// What had no room is asked for again, and the consumer need not know.
		l.send(queue.Answer{EntityID: "recipient", Response: testMSG(2)})
		synctest.Wait()
		expect[Message](t, c)
		l.send(l.request().Answer(testMSG(2)))
		expect[Message](t, c)
		_ = l.Close()
		expect[Disconnected](t, c)
		l = r.accept()
		request := l.request()
		if request.Command != (queue.SUB{}) || request.EntityID != "recipient" {
			t.Fatalf("sent %s", request.Command.Tag())
		}
		l.send(request.Answer(queue.OK{}))
		expect[Connected](t, c)
		expect[Subscribed](t, c)

		// A deleted queue is not subscribed again.
		q := Queue{ID: "recipient", Key: key}
		deleted := background(func() error { return c.Delete(t.Context(), q) })
		l.send(l.request().Answer(queue.OK{}))
		if err := <-deleted; err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		expect[Disconnected](t, c)
		select {
		case <-r.attempts:
			t.Fatal("connects for nothing")
		case <-time.After(time.Hour):
		}
	})
}

func TestForgottenQueueIsNotSubscribedAgain(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		done := background(func() []error { return c.Subscribe(t.Context(), testQueues(2)...) })
		l := r.accept()
		for _, q := range l.requests(2) {
			l.send(q.Answer(queue.OK{}))
		}
		<-done
		c.Forget(testQueue(0).ID)
		c.Forget("never heard of")
		_ = l.Close()
		l = r.accept()
		if request := l.request(); request.EntityID != testQueue(1).ID {
			t.Error("subscribed the wrong queue")
		}
		// Who waits for a subscription that is given up learns it.
		done = background(func() []error { return c.Subscribe(t.Context(), testQueue(5)) })
		l.request()
		c.Forget(testQueue(5).ID)
		if err := (<-done)[0]; !errors.Is(err, errForgotten) {
			t.Errorf("got %v", err)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		ping := background(func() error { return c.Ping(t.Context()) })
		l := r.accept()
		l.request()
		subscribe := background(func() []error { return c.Subscribe(t.Context(), testQueue(1)) })
		l.request()
		c.Close()
		c.Close()
		if err := <-ping; !errors.Is(err, ErrClosed) || Classify(err) != Temporary {
			t.Errorf("ping: %v", err)
		}
		if err := (<-subscribe)[0]; !errors.Is(err, ErrClosed) {
			t.Errorf("subscribe: %v", err)
		}
		if !l.isClosed() {
			t.Error("connection is open")
		}
		if _, open := <-c.Events(); open {
			t.Error("an event after Close")
		}
		if err := c.Ping(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
		if err := c.Subscribe(t.Context(), testQueue(1))[0]; !errors.Is(err, ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
		c.Forget("queue")
		c.Wake()
	})
}

func TestCloseWhileConnecting(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		ping := background(func() error { return c.Ping(t.Context()) })
		a := r.attempt()
		c.Close()
		if err := <-ping; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
		_ = a
	})
	// A connection that comes at the last moment is closed.
	story(t, func(t *testing.T) {
		connected := &link{closed: make(chan struct{})}
		c := Start(Config{Dial: func(ctx context.Context) (Conn, error) {
			<-ctx.Done()
			return connected, nil
		}})
		background(func() error { return c.Ping(t.Context()) })
		synctest.Wait()
		c.Close()
		if !connected.isClosed() {
			t.Error("connection is open")
		}
	})
}

func TestClassify(t *testing.T) {
	for _, test := range []struct {
		err  error
		want Class
	}{
		{queue.ErrAuth, Permanent},
		{fmt.Errorf("SEND: %w", queue.ErrQuota), Permanent},
		{queue.ErrInternal, Permanent},
		{queue.StoreError("full"), Host},
		{queue.ErrProxyNoSession, Temporary},
		{queue.ErrProxyBasicAuth, Permanent},
		{queue.ProxyProtocol(queue.ErrAuth), Permanent},
		{queue.ProxyBroker(queue.BrokerNetwork), Temporary},
		{queue.ProxyBroker(queue.BrokerNetwork + " FAILED"), Temporary},
		{queue.ProxyBroker(queue.BrokerTimeout), Temporary},
		{queue.ProxyBroker(queue.BrokerHost), Host},
		{queue.ProxyBroker(queue.BrokerVersion), Host},
		{queue.ProxyBroker(queue.BrokerBadAuth), Permanent},
		{&DialError{errors.New("connection refused")}, Temporary},
		{&DialError{fmt.Errorf("connect: %w", transport.ErrVersion)}, Host},
		{&DialError{transport.ErrHost}, Host},
		{&DialError{transport.ErrEd448}, Host},
		{&DialError{transport.ErrIdentity}, Temporary},
		{fmt.Errorf("%w: EOF", ErrDisconnected), Temporary},
		{ErrTimeout, Temporary},
		{ErrSlowConsumer, Temporary},
		{ErrClosed, Temporary},
		{ErrUnexpected, Permanent},
		{queue.ErrResponse, Permanent},
		{context.Canceled, Temporary},
		{nil, Permanent},
	} {
		if got := Classify(test.err); got != test.want {
			t.Errorf("%v is %v, not %v", test.err, got, test.want)
		}
	}
}
