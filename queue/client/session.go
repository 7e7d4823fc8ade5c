package client

import (
	"crypto/ecdh"
	"fmt"
	"sync"

	"github.com/coterie-im/coterie/queue"
)

// session is one connection with its two goroutines. The loop that made it talks to them by channels only.
type session struct {
	// Static.
	conn       Conn
	version    queue.Version
	sessionID  []byte
	sessionKey *ecdh.PublicKey

	out  chan []*command // to the writer: everything that waits to be sent
	in   chan incoming   // from reader and writer
	gone chan struct{}   // closed by the loop when it does not listen any more

	// Owned by the writer, so that a block costs no memory.
	batch        queue.Batch
	transmission []byte
	body         []byte
}

// incoming is what reader and writer report to the loop.
type incoming struct {
	answers []answer
	unsent  []unsent // commands that could not be sent
	err     error    // the connection is over; nothing follows
}

type answer struct {
	queue.Answer
	err error // the response is not understood; the IDs are there as far as they could be read
}

type unsent struct {
	command *command
	err     error
}

// startSession starts the goroutines of a connection; running counts them.
func startSession(conn Conn, running *sync.WaitGroup) *session {
	s := &session{
		conn:       conn,
		version:    conn.Version(),
		sessionID:  conn.SessionID(),
		sessionKey: conn.PeerSessionKey(),
		out:        make(chan []*command),
		in:         make(chan incoming),
		gone:       make(chan struct{}),
		batch:      queue.NewBatch(min(conn.MaxPayload(), queue.MaxEncryptedPayload)),
	}
	running.Go(s.read)
	running.Go(s.write)
	return s
}

// end closes the connection, in a goroutine of its own because that may take time.
func (s *session) end(running *sync.WaitGroup) {
	close(s.gone)
	running.Go(func() { _ = s.conn.Close() })
}

func (s *session) report(in incoming) {
	select {
	case s.in <- in:
	case <-s.gone:
	}
}

func (s *session) read() {
	for {
		payload, err := s.conn.ReadBlock()
		if err != nil {
			s.report(incoming{err: err})
			return
		}
		transmissions, err := queue.SplitBatch(payload)
		if err != nil {
			s.report(incoming{err: fmt.Errorf("%w: %w", queue.ErrResponse, err)})
			return
		}
		answers := make([]answer, len(transmissions))
		for i, raw := range transmissions {
			answers[i].Answer, answers[i].err = queue.DecodeAnswer(s.version, s.sessionID, raw)
		}
		s.report(incoming{answers: answers})
	}
}

func (s *session) write() {
	for {
		var commands []*command
		select {
		case commands = <-s.out:
		case <-s.gone:
			return
		}
		if err := s.send(commands); err != nil {
			s.report(incoming{err: err})
			return
		}
	}
}

// send authorizes commands, packs them into as few blocks as possible, and writes these. Commands for the same queue go
// into different blocks, because relays may run the commands of one block in any order.
func (s *session) send(commands []*command) error {
	batch := &s.batch
	inBatch := make(map[queue.ID]bool)
	flush := func() error {
		clear(inBatch)
		if batch.Len() == 0 {
			return nil
		}
		defer batch.Reset()
		return s.conn.WriteBlock(batch.Payload())
	}
	var failed []unsent
	for _, c := range commands {
		var err error
		if s.transmission, err = s.encode(s.transmission[:0], c); err != nil {
			failed = append(failed, unsent{c, err})
			continue
		}
		if c.entity != "" && inBatch[c.entity] {
			if err := flush(); err != nil {
				return err
			}
		}
		if !batch.Add(s.transmission) {
			if err := flush(); err != nil {
				return err
			}
			if !batch.Add(s.transmission) {
				failed = append(failed, unsent{c, queue.ErrLargeMsg})
				continue
			}
		}
		inBatch[c.entity] = true
	}
	if err := flush(); err != nil {
		return err
	}
	if len(failed) > 0 {
		s.report(incoming{unsent: failed})
	}
	return nil
}

func (s *session) encode(dst []byte, c *command) ([]byte, error) {
	what := c.command
	if send, ok := what.(queue.SEND); ok {
		if c.body != nil {
			var err error
			if s.body, err = c.body(s.body[:0]); err != nil {
				return dst, err
			}
			send.Body = s.body
			what = send
		}
		if len(send.Body) > queue.MaxBodySize(s.version) {
			return dst, queue.ErrLargeMsg
		}
	}
	return queue.EncodeCommand(dst, s.version, s.sessionID, s.sessionKey, c.corrID, c.entity, c.key, what)
}
