package main

import (
	"bytes"
	"context"
	"crypto/ecdh"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/transport"
)

// TestKill kills the relay with signal 9 at random moments under load and starts it again, and checks that
//   - no message that was answered OK is lost,
//   - the messages of a sender arrive in the order in which they were sent,
//   - no message comes again after the answer to its acknowledgement,
//   - queues and keys that were confirmed are there, and queues whose deletion was confirmed are not.
//
// COTERIE_SOAK=1 makes it a thousand times.
func TestKill(t *testing.T) {
	kills := 20
	if os.Getenv("COTERIE_SOAK") == "1" {
		kills = 1000
	}
	dir := filepath.Join(t.TempDir(), "relay")
	if _, err := initialise(dir, "localhost", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	h := &history{t: t, owned: make(map[queue.ID]*ownedQueue)}
	p := startProcess(t, dir)
	h.setUp(p)
	for n := range kills {
		ctx, cancel := context.WithCancel(t.Context())
		workers := h.load(ctx, p)
		moment := time.Duration(random.IntN(200)) * time.Millisecond
		select {
		case <-time.After(moment):
		case <-p.exited:
			t.Fatalf("relay ended by itself: %s", p.log.String())
		}
		p.kill()
		cancel()
		workers.Wait()
		if t.Failed() {
			t.Fatalf("after kill %d", n+1)
		}
		p = startProcess(t, dir)
		h.checkOwned(p)
	}
	h.drain(p)
	t.Logf("%d messages confirmed, %d received, %d queues made, %d deleted", h.confirmed, h.received, h.made, h.deleted)
	if h.confirmed == 0 || h.received == 0 {
		t.Fatal("nothing was sent")
	}
}

// process is a running relay.
type process struct {
	cmd     *exec.Cmd
	address queue.Server
	exited  chan struct{}
	log     *bytes.Buffer // to be read after exited
}

func startProcess(t testing.TB, dir string) *process {
	t.Helper()
	addressFile := filepath.Join(dir, "address")
	if err := os.Remove(addressFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	p := &process{exited: make(chan struct{}), log: &bytes.Buffer{}}
	p.cmd = exec.Command(os.Args[0], "start", "--dir", dir, "--address-file", addressFile)
	p.cmd.Env = append(os.Environ(), runProgram+"=1")
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(p.kill)
	var text []byte
	err := poll(func() bool {
		var err error
		text, err = os.ReadFile(addressFile)
		return err == nil
	})
	if err == nil {
		p.address, err = queue.ParseServer(strings.TrimSpace(string(text)))
	}
	if err != nil {
		t.Fatalf("relay does not start: %v %s", err, p.log.String())
	}
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// history is what the clients know, in all runs of the relay.
type history struct {
	t     *testing.T
	boxes []*mailbox // static after setUp

	mu                  sync.Mutex
	confirmed, received int // guarded by mu, like the rest
	owned               map[queue.ID]*ownedQueue
	made, deleted       int
}

// mailbox is a queue under load.
type mailbox struct {
	recipient, sender queue.ID
	key               queue.PrivateKey // recipient's
	secret            box.Secret
	senders           []*mailSender
}

// mailSender sends attempts 1, 2, 3 … to a mailbox; each is another message. Guarded by history.mu.
type mailSender struct {
	box       *mailbox
	number    int
	key       queue.PrivateKey // none in mailboxes with several senders
	attempt   int              // last one sent
	confirmed []int            // answered OK and not received, ascending
	last      int              // last one received
	done      int              // last one whose acknowledgement was answered
}

// ownedQueue is a queue of which it is known what must be true of it.
type ownedQueue struct {
	key     queue.PrivateKey
	secured bool
	deleted bool
	unsure  bool // a command was not answered
}

// peer is one connection.
type peer struct {
	*transport.Conn
	next int
}

func (p *process) dial(ctx context.Context) (*peer, error) {
	c, err := transport.Dial(ctx, nil, p.address, transport.ClientConfig{})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = c.Close() })
	return &peer{Conn: c}, c.SetReadDeadline(time.Now().Add(time.Minute))
}

func (c *peer) send(corrID, entity queue.ID, key queue.PrivateKey, command queue.Command) error {
	raw, err := queue.EncodeCommand(nil, c.Version(), c.SessionID(), c.PeerSessionKey(), corrID, entity, key, command)
	if err != nil {
		return err
	}
	var batch queue.Batch
	batch.Add(raw)
	return c.WriteBlock(batch.Take())
}

func (c *peer) read() ([]queue.Answer, error) {
	payload, err := c.ReadBlock()
	if err != nil {
		return nil, err
	}
	list, err := queue.SplitBatch(payload)
	if err != nil {
		return nil, err
	}
	answers := make([]queue.Answer, len(list))
	for i, raw := range list {
		if answers[i], err = queue.DecodeAnswer(c.Version(), c.SessionID(), raw); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// do sends one command and returns its answer; events are dropped.
func (c *peer) do(entity queue.ID, key queue.PrivateKey, command queue.Command) (queue.Response, error) {
	c.next++
	corrID := queue.ID(fmt.Sprintf("command%017d", c.next))
	if err := c.send(corrID, entity, key, command); err != nil {
		return nil, err
	}
	for {
		answers, err := c.read()
		if err != nil {
			return nil, err
		}
		for _, a := range answers {
			if a.CorrID == corrID {
				return a.Response, nil
			}
		}
	}
}

func (c *peer) newQueue(mode queue.Mode) (queue.IDS, queue.PrivateKey, box.Secret, error) {
	key, err := queue.GenerateKey(keys.Ed25519, crand.Reader)
	if err != nil {
		return queue.IDS{}, key, box.Secret{}, err
	}
	dh, err := ecdh.X25519().GenerateKey(crand.Reader)
	if err != nil {
		return queue.IDS{}, key, box.Secret{}, err
	}
	answer, err := c.do("", key, queue.NEW{RecipientKey: key.Public(), RecipientDH: keys.FromX25519(dh.PublicKey()), Mode: mode})
	if err != nil {
		return queue.IDS{}, key, box.Secret{}, err
	}
	ids, ok := answer.(queue.IDS)
	if !ok {
		return queue.IDS{}, key, box.Secret{}, fmt.Errorf("queue was not created: %v", answer)
	}
	serverDH, err := ids.ServerDH.X25519()
	if err != nil {
		return queue.IDS{}, key, box.Secret{}, err
	}
	secret, err := box.Agree(dh, serverDH)
	return ids, key, secret, err
}

// setUp makes the mailboxes: some with one sender and a key, some with two senders.
func (h *history) setUp(p *process) {
	c, err := p.dial(h.t.Context())
	h.check(err)
	for i := range 6 {
		mode := queue.ModeMessaging
		if i%2 == 1 {
			mode = queue.ModeContact
		}
		ids, key, secret, err := c.newQueue(mode)
		h.check(err)
		b := &mailbox{recipient: ids.RecipientID, sender: ids.SenderID, key: key, secret: secret}
		for n := range 1 + i%2 {
			b.senders = append(b.senders, &mailSender{box: b, number: n})
		}
		if mode == queue.ModeMessaging {
			sender, err := queue.GenerateKey(keys.X25519, crand.Reader)
			h.check(err)
			answer, err := c.do(b.sender, sender, queue.SKEY{Key: sender.Public()})
			h.check(err)
			if answer != (queue.OK{}) {
				h.t.Fatalf("SKEY: %v", answer)
			}
			b.senders[0].key = sender
		}
		h.boxes = append(h.boxes, b)
	}
}

func (h *history) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// load sends, receives, makes and deletes queues until the relay is gone.
func (h *history) load(ctx context.Context, p *process) *sync.WaitGroup {
	var workers sync.WaitGroup
	for _, b := range h.boxes {
		for _, s := range b.senders {
			workers.Go(func() { h.sendAll(ctx, p, s) })
		}
	}
	workers.Go(func() { h.receiveAll(ctx, p, func() bool { return false }) })
	workers.Go(func() { h.ownQueues(ctx, p) })
	return &workers
}

// sendAll keeps some messages on their way until the connection ends.
func (h *history) sendAll(ctx context.Context, p *process, s *mailSender) {
	c, err := p.dial(ctx)
	if err != nil {
		return
	}
	const window = 4
	for range window {
		if h.sendOne(c, s) != nil {
			return
		}
	}
	for {
		answers, err := c.read()
		if err != nil {
			return
		}
		for _, a := range answers {
			switch a.Response {
			case queue.OK{}:
				h.confirm(s, a.CorrID)
			case queue.ERR{Err: queue.ErrQuota}:
			default:
				h.t.Errorf("answer to SEND: %v", a.Response)
			}
			if h.sendOne(c, s) != nil {
				return
			}
		}
	}
}

func (h *history) sendOne(c *peer, s *mailSender) error {
	h.mu.Lock()
	s.attempt++
	attempt := s.attempt
	h.mu.Unlock()
	body := fmt.Appendf(nil, "%d %d ", s.number, attempt)
	body = append(body, make([]byte, rand.IntN(16000))...)
	return c.send(queue.ID(fmt.Sprintf("%024d", attempt)), s.box.sender, s.key, queue.SEND{Body: body})
}

// confirm remembers that a message was answered OK.
func (h *history) confirm(s *mailSender, corrID queue.ID) {
	attempt, err := strconv.Atoi(string(corrID))
	if err != nil {
		h.t.Error("answer with another correlation ID")
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.confirmed++
	if attempt > s.last {
		s.confirmed = append(s.confirmed, attempt)
	}
}

// receiveAll subscribes to all mailboxes and acknowledges what comes, until the connection ends or done is true of
// answers that say that a queue is empty.
func (h *history) receiveAll(ctx context.Context, p *process, done func() bool) {
	c, err := p.dial(ctx)
	if err != nil {
		return
	}
	boxes := make(map[queue.ID]*mailbox)
	for i, b := range h.boxes {
		boxes[b.recipient] = b
		if c.send(queue.ID(fmt.Sprintf("sub %d", i)), b.recipient, b.key, queue.SUB{}) != nil {
			return
		}
	}
	acknowledged := make(map[queue.ID]mail) // by correlation ID of the ACK
	for n := 0; ; {
		answers, err := c.read()
		if err != nil {
			return
		}
		for _, a := range answers {
			if m, ok := acknowledged[a.CorrID]; ok {
				delete(acknowledged, a.CorrID)
				h.finish(m)
			}
			switch r := a.Response.(type) {
			case queue.MSG:
				m, ok := h.open(boxes[a.EntityID], r)
				if !ok {
					return
				}
				n++
				corrID := queue.ID(fmt.Sprintf("ack %d", n))
				acknowledged[corrID] = m
				if c.send(corrID, a.EntityID, boxes[a.EntityID].key, queue.ACK{MessageID: r.ID}) != nil {
					return
				}
			case queue.OK:
				if done() {
					return
				}
			default:
				h.t.Errorf("answer to SUB or ACK: %v", r)
				return
			}
		}
	}
}

// mail is a message that was received; sender is nil for the quota marker.
type mail struct {
	sender  *mailSender
	attempt int
}

// open checks a message against what is known of its sender.
func (h *history) open(b *mailbox, r queue.MSG) (m mail, ok bool) {
	content, err := queue.OpenMessage(&b.secret, r)
	if err != nil {
		h.t.Error(err)
		return mail{}, false
	}
	if content.Quota {
		return mail{}, true
	}
	var number int
	if _, err := fmt.Sscan(string(content.Body[:min(40, len(content.Body))]), &number, &m.attempt); err != nil {
		h.t.Errorf("message that nobody sent: %v", err)
		return mail{}, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.received++
	s := b.senders[number]
	m.sender = s
	switch {
	case m.attempt <= s.done:
		h.t.Errorf("message %d came again, %d was acknowledged", m.attempt, s.done)
	case m.attempt < s.last:
		h.t.Errorf("message %d came after %d", m.attempt, s.last)
	case len(s.confirmed) > 0 && s.confirmed[0] < m.attempt:
		h.t.Errorf("message %d came, %d was answered OK and is lost", m.attempt, s.confirmed[0])
	}
	for len(s.confirmed) > 0 && s.confirmed[0] <= m.attempt {
		s.confirmed = s.confirmed[1:]
	}
	s.last = m.attempt
	return m, true
}

// finish remembers that an acknowledgement was answered.
func (h *history) finish(m mail) {
	if m.sender == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	m.sender.done = max(m.sender.done, m.attempt)
}

// drain receives until nothing is left and checks that everything confirmed has come.
func (h *history) drain(p *process) {
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	// Every queue says OK to SUB, and once more when it is empty; those that were empty at once are asked for nothing.
	c, err := p.dial(ctx)
	h.check(err)
	rest := 0
	for _, b := range h.boxes {
		answer, err := c.do(b.recipient, b.key, queue.QUE{})
		h.check(err)
		if answer.(queue.INFO).Info.Size > 0 {
			rest++
		}
	}
	rest += len(h.boxes)
	h.receiveAll(ctx, p, func() bool { rest--; return rest == 0 })
	for _, b := range h.boxes {
		for _, s := range b.senders {
			if len(s.confirmed) > 0 {
				h.t.Errorf("%d messages were answered OK and are lost", len(s.confirmed))
			}
		}
	}
}

// ownQueues makes queues, secures and deletes them, and remembers what was confirmed.
func (h *history) ownQueues(ctx context.Context, p *process) {
	c, err := p.dial(ctx)
	if err != nil {
		return
	}
	for ctx.Err() == nil {
		ids, key, _, err := c.newQueue(queue.ModeMessaging)
		if err != nil {
			return
		}
		q := &ownedQueue{key: key}
		h.mu.Lock()
		h.owned[ids.RecipientID] = q
		h.made++
		h.mu.Unlock()
		if !h.command(c, q, ids.RecipientID, queue.KEY{Key: key.Public()}, func() { q.secured = true }) {
			return
		}
		if rand.IntN(2) == 0 && !h.command(c, q, ids.RecipientID, queue.DEL{}, func() { q.deleted = true; h.deleted++ }) {
			return
		}
	}
}

// command runs one command on an owned queue; without an answer nothing is certain about it any more.
func (h *history) command(c *peer, q *ownedQueue, id queue.ID, command queue.Command, confirmed func()) bool {
	answer, err := c.do(id, q.key, command)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		q.unsure = true
		return false
	}
	if answer != (queue.OK{}) {
		h.t.Errorf("answer to %s: %v", command.Tag(), answer)
		return false
	}
	confirmed()
	return true
}

// checkOwned looks at the queues that were made before the relay was killed.
func (h *history) checkOwned(p *process) {
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	c, err := p.dial(ctx)
	h.check(err)
	for id, q := range h.owned {
		delete(h.owned, id)
		if q.unsure {
			continue
		}
		answer, err := c.do(id, q.key, queue.QUE{})
		h.check(err)
		info, exists := answer.(queue.INFO)
		switch {
		case exists == q.deleted:
			h.t.Fatalf("queue exists: %v, its deletion was confirmed: %v", exists, q.deleted)
		case exists && info.Info.Secured != q.secured:
			h.t.Fatalf("queue is secured: %v, that was confirmed: %v", info.Info.Secured, q.secured)
		}
	}
}
