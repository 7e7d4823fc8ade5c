package client

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/coterie-im/coterie/queue"
)

// posts are messages to as many queues, whose bodies are made only when they are written.
func posts(n int, made *[]int) []Outgoing {
	list := make([]Outgoing, n)
	for i := range list {
		list[i] = Outgoing{To: testQueue(i), Notify: i%2 == 0, Append: func(dst []byte) ([]byte, error) {
			*made = append(*made, i) // by the writer; the test looks when it rests
			return append(dst, body(i)...), nil
		}}
	}
	return list
}

// body fills most of a block, so that each message has one of its own.
func body(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 16_000) }

func TestPostedMessagesAreMadeWhenTheyAreWritten(t *testing.T) {
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		var made []int
		results := make(chan []Posted, 8)
		c.Post(posts(4, &made), func(p []Posted) { results <- p })
		attempt := r.attempt()
		synctest.Wait()
		if len(made) != 0 {
			t.Fatalf("%d bodies made without a connection", len(made))
		}
		l := r.acceptAttempt(attempt)
		synctest.Wait()
		if len(made) > 2 { // the one that is being written, and the next, which did not fit with it
			t.Errorf("%d bodies made while the relay does not read", len(made))
		}
		var answers []queue.Answer
		for i := range 4 {
			request := l.request()
			send, ok := request.Command.(queue.SEND)
			if !ok || request.EntityID != testQueue(i).ID || send.Notify != (i%2 == 0) || !bytes.Equal(send.Body, body(i)) {
				t.Fatalf("message %d is something else", i)
			}
			if !(queue.Verifier{SessionID: l.sessionID, SessionKey: l.sessionKey}).Verify(request.Transmission, testQueue(i).Key.Public()) {
				t.Errorf("message %d is not authorized", i)
			}
			answer := queue.Answer{CorrID: request.CorrID, EntityID: request.EntityID, Response: queue.OK{}}
			if i == 2 {
				answer.Response = queue.ERR{Err: queue.ErrQuota}
			}
			answers = append(answers, answer)
		}
		l.send(answers...)
		got := <-results
		if len(got) != 4 {
			t.Fatalf("%d results told of together", len(got))
		}
		for i, p := range got {
			if p.Index != i || errors.Is(p.Err, queue.ErrQuota) != (i == 2) || (p.Err == nil) != (i != 2) {
				t.Errorf("result %d: %d, %v", i, p.Index, p.Err)
			}
		}
	})
}

func TestPostedMessagesFail(t *testing.T) {
	broken := errors.New("broken")
	story(t, func(t *testing.T) {
		c, r := start(t, 9)
		var made []int
		messages := posts(4, &made)
		messages[0].Append = func(dst []byte) ([]byte, error) { return dst, broken }
		messages[1].Append = func(dst []byte) ([]byte, error) { return append(dst, make([]byte, 20_000)...), nil }
		results := make(chan Posted, 8)
		done := func(all []Posted) {
			for _, p := range all {
				results <- p
			}
		}
		c.Post(messages, done)
		l := r.accept()
		l.request()
		l.request()
		want := func(index int, err error) {
			t.Helper()
			if p := <-results; p.Index != index || !errors.Is(p.Err, err) {
				t.Errorf("result of %d: %v, want %d: %v", p.Index, p.Err, index, err)
			}
		}
		want(0, broken)
		want(1, queue.ErrLargeMsg)
		_ = l.Close()
		want(2, ErrDisconnected)
		want(3, ErrDisconnected)

		c.Post(messages[2:], done) // they wait for the next connection
		c.Close()
		want(0, ErrClosed)
		want(1, ErrClosed)
		c.Post(messages[2:], done)
		want(0, ErrClosed)
		want(1, ErrClosed)
		if len(results) != 0 {
			t.Error("told again:", fmt.Sprint(<-results))
		}
	})
}
