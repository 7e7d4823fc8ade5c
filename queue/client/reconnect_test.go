package client

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/transport"
)

func TestBackoff(t *testing.T) {
	var b backoff
	var got []time.Duration
	for range 19 {
		got = append(got, b.next(0))
	}
	seconds := []float64{2, 2, 2, 2, 2, 2, 3, 4.5, 6.75, 10.125, 15.1875, 22.78125, 34.171875, 51.2578125, 76.88671875, 115.330078125, 172.9951171875, 180, 180}
	for i, s := range seconds {
		if want := time.Duration(s * float64(time.Second)); got[i] != want {
			t.Errorf("waiting time %d is %v, not %v", i, got[i], want)
		}
	}
	b.reset()
	if got := b.next(0.5); got != 2200*time.Millisecond {
		t.Errorf("with jitter %v", got)
	}
}

// subscribed starts a session with a connection and n subscribed queues, whose events up to here are read.
func subscribedSession(t *testing.T, n int, change ...func(*Config)) (*Client, *relay, *link) {
	t.Helper()
	c, r := start(t, 9, change...)
	done := background(func() []error { return c.Subscribe(t.Context(), testQueues(n)...) })
	l := r.accept()
	for range n {
		for _, q := range l.block() {
			l.send(q.Answer(queue.OK{}))
			n--
		}
		if n == 0 {
			break
		}
	}
	for _, err := range <-done {
		if err != nil {
			t.Fatal(err)
		}
	}
	expect[Connected](t, c)
	return c, r, l
}

func TestReconnectsAndSubscribesAgain(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r, l := subscribedSession(t, 300)
		_ = l.Close()
		lost := time.Now()
		if err := expect[Disconnected](t, c).Err; !errors.Is(err, ErrDisconnected) {
			t.Errorf("reason %v", err)
		}
		if at := r.refuse(errors.New("no route")).Sub(lost); at != 2*time.Second {
			t.Errorf("first attempt after %v", at)
		}
		down := expect[Unreachable](t, c)
		if Classify(down.Err) != Temporary || down.Retry != 2*time.Second {
			t.Errorf("got %v, %v", down.Err, down.Retry)
		}
		l = r.accept()
		if at := time.Since(lost); at != 4*time.Second {
			t.Errorf("second attempt after %v", at)
		}
		expect[Connected](t, c)
		var requests []queue.Request
		blocks := 0
		for len(requests) < 300 {
			requests = append(requests, l.block()...)
			blocks++
		}
		if blocks != 3 {
			t.Errorf("%d blocks", blocks)
		}
		var answers []queue.Answer
		for i, q := range requests {
			switch {
			case q.Command != queue.SUB{}:
				t.Fatalf("sent %s", q.Command.Tag())
			case i == 7:
				answers = append(answers, q.Answer(queue.ERR{Err: queue.ErrAuth}))
			default:
				answers = append(answers, q.Answer(queue.OK{}))
			}
		}
		l.send(answers[:200]...)
		l.send(answers[200:]...)
		if e := expect[Refused](t, c); e.Queue != requests[7].EntityID || e.Err != queue.ErrAuth {
			t.Errorf("refused with %v", e.Err)
		}
		got := make(map[queue.ID]bool)
		for _, id := range expect[Subscribed](t, c).Queues {
			got[id] = true
		}
		for len(got) < 299 {
			for _, id := range expect[Subscribed](t, c).Queues {
				got[id] = true
			}
		}
		if len(got) != 299 || got[requests[7].EntityID] {
			t.Errorf("%d queues subscribed again", len(got))
		}
		quiet(t, c)
		// The refused queue is gone for good.
		_ = l.Close()
		l = r.accept()
		if got := len(l.requests(299)); got != 299 {
			t.Errorf("%d queues", got)
		}
	})
}

func TestWaitsLongerWhileTheRelayIsDown(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		background(func() []error { return c.Subscribe(t.Context(), testQueue(1)) })
		begin := time.Now()
		var at []time.Duration
		for range 8 {
			at = append(at, r.refuse(errors.New("refused")).Sub(begin))
			expect[Unreachable](t, c)
		}
		s := time.Second
		if want := []time.Duration{0, 2 * s, 4 * s, 6 * s, 8 * s, 10 * s, 12 * s, 15 * s}; !reflect.DeepEqual(at, want) {
			t.Errorf("attempts at %v", at)
		}
		// Somebody looks at the program: now, and from the beginning.
		c.Wake()
		synctest.Wait()
		if at := r.refuse(errors.New("refused")).Sub(begin); at != 15*s {
			t.Errorf("attempt at %v after Wake", at)
		}
		if wait := expect[Unreachable](t, c).Retry; wait != 2*s {
			t.Errorf("waits %v after Wake", wait)
		}
	})
}

func TestWaitsFromTheBeginningAfterAStableConnection(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r, l := subscribedSession(t, 1)
		for _, test := range []struct{ lasts, wait time.Duration }{
			{0, 2 * time.Second}, {0, 2 * time.Second}, {0, 2 * time.Second}, {0, 2 * time.Second}, {0, 2 * time.Second}, {0, 2 * time.Second},
			{0, 3 * time.Second}, {stableAfter, 2 * time.Second},
		} {
			<-time.After(test.lasts)
			_ = l.Close()
			lost := time.Now()
			a := r.attempt()
			if wait := a.at.Sub(lost); wait != test.wait {
				t.Errorf("waits %v after %v", wait, test.lasts)
			}
			l = r.acceptAttempt(a)
			l.send(l.request().Answer(queue.OK{}))
			synctest.Wait()
		}
		_ = c
	})
}

func TestCommandsInFlightFailWhenTheConnectionIsLost(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		var sends []<-chan error
		for i := range 5 {
			sends = append(sends, background(func() error { return c.Send(t.Context(), testQueue(i), false, nil) }))
		}
		subscribe := background(func() []error { return c.Subscribe(t.Context(), testQueue(9)) })
		l := r.accept()
		l.requests(6)
		_ = l.Close()
		for i, done := range sends {
			if err := <-done; !errors.Is(err, ErrDisconnected) || Classify(err) != Temporary {
				t.Errorf("send %d: %v", i, err)
			}
		}
		if err := (<-subscribe)[0]; !errors.Is(err, ErrDisconnected) {
			t.Errorf("subscribe: %v", err)
		}
		expect[Connected](t, c)
		expect[Disconnected](t, c)
		// None is sent again but the subscription.
		l = r.accept()
		request := l.request()
		if request.Command != (queue.SUB{}) {
			t.Fatalf("sent %s", request.Command.Tag())
		}
		l.send(request.Answer(queue.OK{}))
		expect[Connected](t, c)
		expect[Subscribed](t, c)
	})
}

func TestGarbageEndsTheConnection(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r, l := subscribedSession(t, 1)
		l.sendPayload([]byte{0})
		if err := expect[Disconnected](t, c).Err; !errors.Is(err, ErrDisconnected) || !errors.Is(err, queue.ErrResponse) {
			t.Errorf("reason %v", err)
		}
		synctest.Wait()
		if !l.isClosed() {
			t.Error("connection is open")
		}
		r.accept()
	})
}

func TestCommandWaitsForTheNextAttemptOrFailsAtOnce(t *testing.T) {
	story(t, func(t *testing.T) {
		refused := errors.New("refused")
		c, r := start(t, 9)
		first := background(func() error { return c.Ping(t.Context()) })
		r.refuse(refused)
		if err := <-first; !errors.Is(err, refused) || Classify(err) != Temporary {
			t.Fatalf("got %v", err)
		}
		expect[Unreachable](t, c)
		// Nobody needs the relay, so nobody asks for it; but it is not asked too often either.
		failed := time.Now()
		second := background(func() error { return c.Ping(t.Context()) })
		if at := r.refuse(refused).Sub(failed); at != 2*time.Second {
			t.Errorf("attempt after %v", at)
		}
		if err := <-second; !errors.Is(err, refused) {
			t.Fatalf("got %v", err)
		}
		var wait time.Duration
		for wait <= defaultCommandTimeout {
			done := background(func() error { return c.Ping(t.Context()) })
			r.refuse(refused)
			<-done
			wait = expect[Unreachable](t, c).Retry
		}
		// The next attempt is too far away to wait for.
		failed = time.Now()
		if err := c.Ping(t.Context()); !errors.Is(err, refused) || !time.Now().Equal(failed) {
			t.Errorf("got %v after %v", err, time.Since(failed))
		}
		if err := c.Subscribe(t.Context(), testQueue(1))[0]; !errors.Is(err, refused) || !time.Now().Equal(failed) {
			t.Errorf("got %v after %v", err, time.Since(failed))
		}
		// But the subscription is wanted, so there is an attempt when it is due.
		l := r.accept()
		if at := time.Since(failed); at != wait {
			t.Errorf("attempt after %v, not %v", at, wait)
		}
		l.send(l.request().Answer(queue.OK{}))
		expect[Connected](t, c)
		expect[Subscribed](t, c)
	})
}

func TestDialThatHangsTimesOut(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		begin := time.Now()
		done := background(func() error { return c.Ping(t.Context()) })
		r.attempt()
		if err := <-done; Classify(err) != Temporary {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took != defaultConnectTimeout {
			t.Errorf("took %v", took)
		}
	})
}

func TestRelayThatCannotBeReachedIsAHostError(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		done := background(func() error { return c.Ping(t.Context()) })
		r.refuse(fmt.Errorf("connect to relay: %w", transport.ErrVersion))
		if err := <-done; Classify(err) != Host {
			t.Errorf("got %v", err)
		}
		if err := expect[Unreachable](t, c).Err; Classify(err) != Host {
			t.Errorf("got %v", err)
		}
	})
}

func TestPingsWhenItIsSilent(t *testing.T) {
	story(t, func(t *testing.T) {
		c, _, l := subscribedSession(t, 1)
		begin := time.Now()
		for i := 1; i <= 3; i++ {
			request := l.request()
			if request.Command != (queue.PING{}) || time.Since(begin) != time.Duration(i)*defaultPingInterval {
				t.Fatalf("%s after %v", request.Command.Tag(), time.Since(begin))
			}
			l.send(request.Answer(queue.PONG{}))
			synctest.Wait()
		}
		// A message is a sign of life as well.
		<-time.After(9 * time.Minute)
		l.send(queue.Answer{EntityID: testQueue(0).ID, Response: testMSG(1)})
		expect[Message](t, c)
		heard := time.Now()
		l.send(l.request().Answer(queue.PONG{}))
		if after := time.Since(heard); after != defaultPingInterval {
			t.Errorf("ping after %v", after)
		}
	})
}

func TestWakeAsksForASignOfLife(t *testing.T) {
	story(t, func(t *testing.T) {
		c, _, l := subscribedSession(t, 1)
		c.Wake()
		request := l.request()
		if request.Command != (queue.PING{}) {
			t.Fatalf("sent %s", request.Command.Tag())
		}
		c.Wake() // one is enough
		l.send(request.Answer(queue.PONG{}))
		synctest.Wait()
		select {
		case <-l.toRelay:
			t.Error("sent more")
		case <-time.After(time.Minute):
		}
	})
}

func TestNoPingsWithoutSubscriptions(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		done := background(func() error { return c.Ping(t.Context()) })
		l := r.accept()
		l.send(l.request().Answer(queue.PONG{}))
		<-done
		select {
		case <-l.toRelay:
			t.Error("something was sent")
		case <-time.After(24 * time.Hour):
		}
	})
}

func TestSilentRelayIsGivenUp(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r, l := subscribedSession(t, 1)
		begin := time.Now()
		for range maxMissedPings {
			l.request()
		}
		if err := expect[Disconnected](t, c).Err; !errors.Is(err, ErrTimeout) || !errors.Is(err, ErrDisconnected) {
			t.Errorf("reason %v", err)
		}
		if took := time.Since(begin); took != defaultPingInterval+maxMissedPings*defaultCommandTimeout {
			t.Errorf("took %v", took)
		}
		r.accept()
	})
}

func TestOneSignOfLifeIsEnough(t *testing.T) {
	story(t, func(t *testing.T) {
		c, _, l := subscribedSession(t, 1)
		for range 3 {
			for range maxMissedPings - 1 {
				l.request()
			}
			l.send(l.request().Answer(queue.PONG{})) // the last one before the relay is given up
		}
		quiet(t, c)
		if l.isClosed() {
			t.Error("connection is closed")
		}
	})
}

func TestSubscriptionWithoutAnswerIsAskedForAgain(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		done := background(func() []error { return c.Subscribe(t.Context(), testQueue(1)) })
		l := r.accept()
		l.request()
		if err := (<-done)[0]; !errors.Is(err, ErrTimeout) {
			t.Fatalf("got %v", err)
		}
		l.send(l.request().Answer(queue.PONG{})) // asks whether the relay is alive
		timedOut := time.Now()
		request := l.request()
		if request.Command != (queue.SUB{}) || time.Since(timedOut) != resubscribeAfter {
			t.Fatalf("%s after %v", request.Command.Tag(), time.Since(timedOut))
		}
		l.send(request.Answer(queue.OK{}))
		expect[Connected](t, c)
		expect[Subscribed](t, c)
	})
}
