package agent

import (
	"context"
	"crypto/ecdh"
	"fmt"
	"slices"
	"sync"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/client"
	"github.com/coterie-im/coterie/queue/store"
)

// simRelay is a relay as a state machine: queues are those of the memory store, whose rules the real relay has; sessions
// get the first message of a queue that they have subscribed, and the next one after its acknowledgement. Nothing happens
// in it by itself: the world executes one command at a time.
type simRelay struct {
	w       *simWorld
	name    string
	address queue.Server
	store   *store.Memory
	rand    *simRandom
	labels  map[queue.ID]string // of queues, by both IDs
	subs    map[queue.ID]*simSubscription
	made    map[string]int // queues so far, by owner
	owners  map[queue.ID]*simPerson
	held    map[queue.ID][]store.Message // back, until the next one
}

// simSubscription is the use of a queue by a session.
type simSubscription struct {
	session   *simSession
	delivered queue.ID // the message that waits for its acknowledgement
}

func (w *simWorld) newRelay(name string, quota int) *simRelay {
	r := &simRelay{
		w: w, name: name, store: store.NewMemory(quota), rand: w.random("relay " + name),
		labels: map[queue.ID]string{}, subs: map[queue.ID]*simSubscription{}, made: map[string]int{},
		owners: map[queue.ID]*simPerson{}, held: map[queue.ID][]store.Message{},
		address: queue.Server{Hosts: []string{name + ".example.org"}},
	}
	_, _ = r.rand.Read(r.address.Fingerprint[:])
	return r
}

func (r *simRelay) id() queue.ID {
	id, err := queue.NewID(r.rand)
	r.w.must(err)
	return id
}

// create executes NEW.
func (r *simRelay) create(s *simSession, command queue.NEW) (queue.IDS, error) {
	var raw [32]byte
	_, _ = r.rand.Read(raw[:])
	private, err := ecdh.X25519().NewPrivateKey(raw[:])
	r.w.must(err)
	peer, err := command.RecipientDH.X25519()
	r.w.must(err)
	secret, err := box.Agree(private, peer)
	r.w.must(err)
	q := store.Queue{
		Recipient: r.id(), Sender: r.id(), RecipientKeys: []keys.Public{command.RecipientKey},
		Secret: secret, Mode: command.Mode, Status: store.Active,
	}
	_, err = r.store.Create(context.Background(), q)
	r.w.must(err)
	r.made[s.person.name]++
	r.owners[q.Recipient] = s.person
	label := fmt.Sprintf("%s#%d@%s", s.person.name, r.made[s.person.name], r.name)
	r.labels[q.Recipient], r.labels[q.Sender] = label, label
	if s.connected() {
		r.subs[q.Recipient] = &simSubscription{session: s}
	}
	return queue.IDS{RecipientID: q.Recipient, SenderID: q.Sender, ServerDH: keys.FromX25519(private.PublicKey()), Mode: command.Mode}, nil
}

// owned returns a queue of the recipient that commands with a key.
func (r *simRelay) owned(q client.Queue) (store.Queue, error) {
	found, err := r.store.ByRecipient(context.Background(), q.ID)
	if err != nil || !found.RecipientKeys[0].Equal(q.Key.Public()) {
		return found, queue.ErrAuth
	}
	return found, nil
}

// secure executes KEY and SKEY.
func (r *simRelay) secure(found store.Queue, err error, key keys.Public) error {
	if err != nil {
		return queue.ErrAuth
	}
	if _, err = r.store.Secure(context.Background(), found.Recipient, key); err != nil {
		return queue.ErrAuth
	}
	return nil
}

// send executes SEND.
func (r *simRelay) send(q client.Queue, notify bool, body []byte) error {
	found, err := r.store.BySender(context.Background(), q.ID)
	var key keys.Public
	if !q.Key.IsZero() {
		key = q.Key.Public()
	}
	if err != nil || found.SenderKey != key {
		return queue.ErrAuth
	}
	m := store.Message{ID: r.id(), Time: r.w.now().Unix(), Notify: notify, Body: slices.Clone(body)}
	if r.w.tricked(r, found.Recipient, m) {
		return nil
	}
	full := r.put(found.Recipient, m)
	r.release(found.Recipient)
	if full {
		r.w.saw("queue full")
		return queue.ErrQuota
	}
	return nil
}

// put stores a message and tells whether the queue is full.
func (r *simRelay) put(id queue.ID, m store.Message) bool {
	sent, _, err := r.store.Send(context.Background(), id, m)
	r.w.must(err)
	r.push(id)
	return sent.Full
}

// release stores what was held back.
func (r *simRelay) release(id queue.ID) {
	for _, m := range r.held[id] {
		if _, err := r.store.ByRecipient(context.Background(), id); err == nil {
			r.put(id, m)
		}
	}
	delete(r.held, id)
}

// subscribe executes SUB for one queue.
func (r *simRelay) subscribe(s *simSession, q client.Queue) error {
	if _, err := r.owned(q); err != nil {
		return err
	}
	r.subs[q.ID] = &simSubscription{session: s}
	return nil
}

// acknowledge executes ACK.
func (r *simRelay) acknowledge(s *simSession, q client.Queue, message queue.ID) error {
	if _, err := r.owned(q); err != nil {
		return err
	}
	sub := r.subs[q.ID]
	if sub == nil || sub.session != s || sub.delivered != message {
		return queue.ErrNoMsg
	}
	_, _, err := r.store.Ack(context.Background(), q.ID, message)
	r.w.must(err)
	sub.delivered = ""
	r.push(q.ID)
	return nil
}

// remove executes DEL.
func (r *simRelay) remove(q client.Queue) error {
	if _, err := r.owned(q); err != nil {
		return err
	}
	_, _, err := r.store.Delete(context.Background(), q.ID)
	r.w.must(err)
	delete(r.subs, q.ID)
	return nil
}

// push sends the first message of a queue to its subscriber, unless one is on its way.
func (r *simRelay) push(id queue.ID) {
	sub := r.subs[id]
	if sub == nil || sub.delivered != "" || !sub.session.connected() {
		return
	}
	m, ok, err := r.store.Head(context.Background(), id)
	r.w.must(err)
	if !ok {
		return
	}
	q, err := r.store.ByRecipient(context.Background(), id)
	r.w.must(err)
	sealed, err := queue.SealMessage(&q.Secret, m.ID, queue.Message{Time: m.Time, Quota: m.Marker, Notify: m.Notify, Body: m.Body})
	r.w.must(err)
	sub.delivered = m.ID
	sub.session.tell("message from "+r.labels[id], client.Message{Queue: id, Msg: queue.MSG{ID: m.ID, Sealed: sealed}})
}

// simSession is what a process of an agent has instead of *client.Client: commands wait until the world executes them,
// events until it delivers them.
type simSession struct {
	w      *simWorld
	relay  *simRelay
	person *simPerson
	life   int // of the person
	out    chan client.Event
	ctx    context.Context // ends with the session
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool           // guarded by mu
	queues []client.Queue // guarded by mu: to be subscribed after a reconnection

	posting sync.WaitGroup // messages whose end is still to be told

	up      bool       // owned by the world, like all below
	waiting []simEvent // to be delivered, in order
}

type simEvent struct {
	what  string
	event client.Event
	since int // commands there were when it was made
}

// simRequest is a command on its way.
type simRequest struct {
	session *simSession
	what    string
	key     string       // orders commands that come at the same instant
	execute func() error // at the relay; sets the result
	answer  chan struct{}
	number  int

	left     bool  // guarded by simWorld.mu: nobody waits for the answer any more
	executed bool  // owned by the world
	err      error // owned by the world
}

func (w *simWorld) session(p *simPerson, r *simRelay) *simSession {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &simSession{w: w, relay: r, person: p, life: p.life, out: make(chan client.Event), up: !p.cut[r.name]}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if s.up {
		s.waiting = append(s.waiting, simEvent{what: "connected", event: client.Connected{}})
	}
	w.started = append(w.started, s)
	return s
}

// connected tells whether the relay can write to the session.
func (s *simSession) connected() bool { return s.up && !s.ended() }

func (s *simSession) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *simSession) tell(what string, e client.Event) {
	s.waiting = append(s.waiting, simEvent{what, e, s.w.numbers})
}

// disconnect ends the connection. What has arrived stays to be read; messages under way are lost, to come again.
func (s *simSession) disconnect() {
	s.up = false
	arrived := s.w.rng.IntN(len(s.waiting) + 1)
	s.waiting = slices.DeleteFunc(s.waiting, func(e simEvent) bool {
		_, message := e.event.(client.Message)
		if arrived--; message && arrived < 0 {
			s.w.saw("message lost under way")
			return true
		}
		return false
	})
	s.relay.drop(s)
	s.tell("disconnected", client.Disconnected{Err: client.ErrDisconnected})
}

func (r *simRelay) drop(s *simSession) {
	for id, sub := range r.subs {
		if sub.session == s {
			delete(r.subs, id)
		}
	}
}

// reconnect makes a new connection and subscribes all queues again.
func (s *simSession) reconnect() {
	s.up = true
	s.tell("connected", client.Connected{})
	s.mu.Lock()
	queues := slices.Clone(s.queues)
	s.mu.Unlock()
	var up []queue.ID
	for _, q := range queues {
		if err := s.relay.subscribe(s, q); err != nil {
			s.tell("refused "+s.relay.labels[q.ID], client.Refused{Queue: q.ID, Err: err})
			s.Forget(q.ID)
			continue
		}
		up = append(up, q.ID)
	}
	s.tell(fmt.Sprint("subscribed ", len(up)), client.Subscribed{Queues: up})
	for _, id := range up {
		s.relay.push(id)
	}
}

// request waits until the world has executed a command, or its caller is gone.
func (s *simSession) request(ctx context.Context, r *simRequest) error {
	r.session, r.answer = s, make(chan struct{})
	s.w.submit(r)
	select {
	case <-r.answer:
		return r.err
	case <-ctx.Done():
		s.w.mu.Lock()
		r.left = true
		s.w.mu.Unlock()
		return ctx.Err()
	}
}

func (s *simSession) New(ctx context.Context, command queue.NEW, key queue.PrivateKey) (ids queue.IDS, err error) {
	r := &simRequest{what: "NEW", key: "NEW" + string(command.RecipientKey.Raw())}
	r.execute = func() (err error) {
		ids, err = s.relay.create(s, command)
		if s.connected() {
			s.want(client.Queue{ID: ids.RecipientID, Key: key})
		}
		r.what = "NEW " + s.relay.labels[ids.RecipientID]
		return err
	}
	if err := s.request(ctx, r); err != nil {
		return queue.IDS{}, err
	}
	return ids, nil
}

func (s *simSession) Subscribe(ctx context.Context, queues ...client.Queue) []error {
	s.want(queues...)
	errs := make([]error, len(queues))
	r := &simRequest{what: fmt.Sprint("SUB of ", len(queues)), key: "SUB" + string(queues[0].ID)}
	r.execute = func() error {
		for i, q := range queues {
			if errs[i] = s.relay.subscribe(s, q); errs[i] != nil {
				s.Forget(q.ID)
			}
		}
		for _, q := range queues {
			s.relay.push(q.ID)
		}
		return nil
	}
	if err := s.request(ctx, r); err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

// want notes queues to be subscribed after a reconnection.
func (s *simSession) want(queues ...client.Queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range queues {
		if !slices.ContainsFunc(s.queues, func(o client.Queue) bool { return o.ID == q.ID }) {
			s.queues = append(s.queues, q)
		}
	}
}

func (s *simSession) Forget(id queue.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues = slices.DeleteFunc(s.queues, func(q client.Queue) bool { return q.ID == id })
}

// command does what names one queue.
func (s *simSession) command(ctx context.Context, name string, q client.Queue, detail string, execute func() error) error {
	return s.request(ctx, &simRequest{what: name, key: name + string(q.ID) + detail, execute: execute})
}

func (s *simSession) Key(ctx context.Context, q client.Queue, sender keys.Public) error {
	return s.command(ctx, "KEY "+s.label(q), q, string(sender.Raw()), func() error {
		found, err := s.relay.owned(q)
		return s.relay.secure(found, err, sender)
	})
}

func (s *simSession) SecureSender(ctx context.Context, q client.Queue) error {
	return s.command(ctx, "SKEY "+s.label(q), q, "", func() error {
		found, err := s.relay.store.BySender(context.Background(), q.ID)
		return s.relay.secure(found, err, q.Key.Public())
	})
}

func (s *simSession) Post(messages []client.Outgoing, done func([]client.Posted)) {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.posting.Add(len(messages))
	}
	s.mu.Unlock()
	if closed {
		failed := make([]client.Posted, len(messages))
		for i := range failed {
			failed[i] = client.Posted{Index: i, Err: client.ErrClosed}
		}
		done(failed)
		return
	}
	for i, m := range messages {
		go func() {
			defer s.posting.Done()
			body, err := m.Append(nil)
			if err == nil {
				err = s.command(s.ctx, "SEND to "+s.label(m.To), m.To, string(body), func() error { return s.relay.send(m.To, m.Notify, body) })
			}
			done([]client.Posted{{Index: i, Err: err}})
		}()
	}
}

func (s *simSession) Ack(ctx context.Context, q client.Queue, message queue.ID) error {
	return s.command(ctx, "ACK "+s.label(q), q, string(message), func() error { return s.relay.acknowledge(s, q, message) })
}

func (s *simSession) Off(context.Context, client.Queue) error { return client.ErrTimeout } // no client of the simulation suspends

func (s *simSession) Delete(ctx context.Context, q client.Queue) error {
	return s.command(ctx, "DEL "+s.label(q), q, "", func() error { return s.relay.remove(q) })
}

func (s *simSession) Events() <-chan client.Event { return s.out }

func (s *simSession) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.cancel()
		close(s.out)
	}
	s.mu.Unlock()
	s.posting.Wait() // nobody is told of anything after the end
}

func (s *simSession) label(q client.Queue) string {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.relay.labels[q.ID]
}
