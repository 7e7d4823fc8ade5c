package client

import (
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coterie-im/coterie/queue"
)

func TestSlowConsumerLosesNothing(t *testing.T) {
	story(t, func(t *testing.T) {
		const limit, queues = 4, 10
		c, _, l := subscribedSession(t, queues, func(c *Config) { c.EventLimit = limit })
		for i := range queues {
			l.send(queue.Answer{EntityID: testQueue(i).ID, Response: testMSG(i)})
		}
		synctest.Wait()
		if got := c.Stats().Dropped; got != queues-limit {
			t.Fatalf("%d messages dropped", got)
		}
		select {
		case <-l.toRelay:
			t.Fatal("subscribes again while there is no room")
		case <-time.After(time.Minute):
		}
		// There is room again when half of the messages are taken.
		got := make(map[queue.ID]queue.ID)
		take := func(n int) {
			t.Helper()
			for n > 0 {
				if m, ok := next(t, c).(Message); ok {
					got[m.Queue] = m.Msg.ID
					n--
				}
			}
		}
		take(limit / 2)
		left := queues - limit
		for left > 0 {
			// Not more are asked for than there is room for what they bring.
			again := l.requests(min(left, limit/2))
			var answers []queue.Answer
			for _, q := range again {
				answers = append(answers, q.Answer(queue.OK{}), queue.Answer{EntityID: q.EntityID, Response: testMSG(int(q.EntityID[1]))})
			}
			l.send(answers...)
			take(len(again))
			left -= len(again)
		}
		take(limit / 2)
		quiet(t, c)
		if got := c.Stats().Dropped; got != queues-limit {
			t.Errorf("%d messages dropped", got)
		}
		for i := range queues {
			if got[testQueue(i).ID] != testMSG(i).ID {
				t.Errorf("queue %d has no message", i)
			}
		}
	})
}

func TestConsumerMayCallAnythingWhileEventsWait(t *testing.T) {
	story(t, func(t *testing.T) {
		c, _, l := subscribedSession(t, 3, func(c *Config) { c.EventLimit = 1 })
		for i := range 3 {
			l.send(queue.Answer{EntityID: testQueue(i).ID, Response: testMSG(i)})
		}
		synctest.Wait() // the list is full, and nobody reads it
		ack := background(func() error { return c.Ack(t.Context(), testQueue(0), testMSG(0).ID) })
		l.send(l.request().Answer(testMSG(9)))
		if err := <-ack; err != nil {
			t.Errorf("ack: %v", err)
		}
		subscribe := background(func() []error { return c.Subscribe(t.Context(), testQueue(7)) })
		l.send(l.request().Answer(queue.OK{}))
		if err := (<-subscribe)[0]; err != nil {
			t.Errorf("subscribe: %v", err)
		}
		get := background(func() error { _, err := c.Get(t.Context(), testQueue(8)); return err })
		l.send(l.request().Answer(testMSG(8)))
		if err := <-get; !errors.Is(err, ErrSlowConsumer) || Classify(err) != Temporary {
			t.Errorf("get: %v", err)
		}
		expect[Message](t, c)
		// Dropped: 1 and 2 when they came, the answer to ACK, and the one of GET, which is asked for by its caller.
		if got := len(l.requests(3)); got != 3 {
			t.Errorf("%d queues subscribed again", got)
		}
	})
}

func TestDoesNotReconnectForASlowConsumer(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r, l := subscribedSession(t, 1, func(c *Config) { c.EventLimit = 2 })
		for range 2 {
			l.send(queue.Answer{EntityID: testQueue(0).ID, Response: testMSG(1)})
		}
		_ = l.Close() // two messages: full
		synctest.Wait()
		select {
		case <-r.attempts:
			t.Fatal("connects while there is no room for events")
		case <-time.After(time.Hour):
		}
		// Who asks for something gets it.
		ping := background(func() error { return c.Ping(t.Context()) })
		l = r.accept()
		l.send(l.request().Answer(queue.PONG{}))
		if err := <-ping; err != nil {
			t.Error(err)
		}
		expect[Message](t, c)
		expect[Message](t, c)
		expect[Disconnected](t, c)
		expect[Connected](t, c)
		l.send(l.request().Answer(queue.OK{}))
		expect[Subscribed](t, c)
	})
}

func TestEventsAreCombined(t *testing.T) {
	l := eventList{limit: 2}
	for range 2 {
		if l.full() || !l.message(Message{}) {
			t.Error("no room")
		}
	}
	if !l.full() || l.message(Message{}) {
		t.Error("room for more than the limit")
	}
	l.taken()
	if l.full() || !l.roomy() {
		t.Error("no room after one was taken")
	}
	l.taken()
	l.add(Subscribed{Queues: []queue.ID{"a"}})
	l.add(Subscribed{Queues: []queue.ID{"b", "c"}})
	l.add(Unreachable{Retry: 1})
	l.add(Unreachable{Retry: 2})
	l.add(Subscribed{Queues: []queue.ID{"d"}})
	l.add(Connected{})
	if !l.full() || l.roomy() {
		t.Error("events have no limit")
	}
	var got []Event
	for e := l.next(); e != nil; e = l.next() {
		got = append(got, e)
		l.taken()
	}
	want := []Event{Subscribed{[]queue.ID{"a", "b", "c"}}, Unreachable{Retry: 2}, Subscribed{[]queue.ID{"d"}}, Connected{}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d events", len(got))
	}
}

func TestPatientListIsBounded(t *testing.T) {
	s := newSubscriptions()
	s.track(Queue{ID: "kept"})
	for range 1000 {
		s.track(Queue{ID: "queue"})
		s.enlist("queue")
		s.forget("queue")
		s.enlist("kept")
	}
	if len(s.patient) > 70 {
		t.Errorf("%d entries for one queue", len(s.patient))
	}
}
