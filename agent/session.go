package agent

import (
	"context"
	"errors"
	"hash/fnv"
	"maps"
	"slices"
	"sync"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/grouproto"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/client"
)

const (
	maxWorkers     = 64   // operations of one relay that are under way at a time; more wait in order
	maxPosted      = 64   // deliveries likewise
	subscribeBatch = 1350 // queues that are subscribed with one call
)

// session is the agent's side of a session with one relay. Its relay reconnects by itself and keeps the queues
// subscribed.
type session struct {
	agent  *Agent
	server queue.Server // with the password, if it is a configured relay
	relay  relay
	ctx    context.Context // ends with the session
	cancel context.CancelFunc

	// Owned by the loop.
	queues  map[queue.ID]*ownedQueue
	wanted  []client.Queue            // to be subscribed after this transaction
	failing map[ConnectionID]struct{} // with operations that the relay's absence has put off

	used bool // since the last look for idle sessions

	mu      sync.Mutex
	jobs    []job // guarded by mu; all but deliveries
	workers int   // guarded by mu

	deliveries deliveries

	running sync.WaitGroup
}

// ownedQueue is a receive queue at the relay.
type ownedQueue struct {
	conn  ConnectionID
	state queueState
}

type queueState uint8

const (
	queueUnknown queueState = iota // not subscribed yet
	queueUp
	queueDown
	queueLost // ended or refused: not subscribed any more
)

type job struct {
	conn ConnectionID
	op   conn.Operation
	fan  bool // there are others like it for the members of a group
}

// session returns the session with a relay, started if there is none.
func (a *Agent) session(server queue.Server) *session {
	key := relayKey(server)
	if s, ok := a.loop.sessions[key]; ok {
		s.used = true
		return s
	}
	if configured, ok := a.loop.relays[key]; ok {
		server = configured
	}
	s := &session{agent: a, server: server, used: true, queues: map[queue.ID]*ownedQueue{}, failing: map[ConnectionID]struct{}{}, deliveries: newDeliveries()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.relay = a.config.relay(server)
	a.loop.sessions[key] = s
	s.running.Add(1)
	go s.listen()
	return s
}

// closeSessions ends all sessions and waits for their goroutines, while throwing away what they still report: it is
// either derived from the state again or repeated by the relay.
func (a *Agent) closeSessions() {
	var ended sync.WaitGroup
	for _, s := range a.loop.sessions {
		ended.Go(func() {
			s.cancel()
			s.relay.Close()
			s.running.Wait()
		})
	}
	all := make(chan struct{})
	go func() {
		ended.Wait()
		close(all)
	}()
	for {
		select {
		case k := <-a.inbox:
			if k.done != nil {
				k.done(ErrClosed)
			}
		case <-all:
			return
		}
	}
}

// closeIdle ends sessions that have no queues and were not used since it was called last.
func (a *Agent) closeIdle() {
	for key, s := range a.loop.sessions {
		s.mu.Lock()
		busy := s.used || s.workers > 0 || len(s.queues) > 0
		s.mu.Unlock()
		busy = busy || s.deliveries.expected() > 0
		s.used = false
		if busy {
			continue
		}
		delete(a.loop.sessions, key)
		s.cancel()
		go s.relay.Close() // waits for the network
	}
}

// dispatch starts an operation unless the same is under way, or the agent is closing.
// With spread, a delivery to a member of a group leaves together with the others of the commit, see startSpread.
func (a *Agent) dispatch(e *connEntry, op conn.Operation, spread bool) {
	l := &a.loop
	key := operationKey{e.id, op.Name()}
	if _, running := l.inflight[key]; running || l.draining {
		return
	}
	server, ok := a.relayFor(e.id, op)
	l.inflight[key] = struct{}{}
	if e, ok := l.conns[e.id]; ok {
		e.open++
	}
	if !ok {
		// The loop cannot wait for its own inbox.
		failed := endedJob{job{conn: e.id, op: op}, conn.OperationFailed{Op: op.Name(), Class: conn.Host, Code: codeHost}}
		l.lost = append(l.lost, task{run: func(t *turn) error { return t.ended(nil, failed) }})
		l.retryAt = earlier(l.retryAt, a.config.now())
		return
	}
	s, j := a.session(server), job{e.id, op, e.meta.Group != ""}
	if _, delivers := op.(conn.Deliver); delivers && spread && j.fan {
		l.spread = append(l.spread, spreadJob{session: s, job: j})
		return
	}
	s.start(j)
}

// landed notes that an operation has ended.
func (a *Agent) landed(k operationKey) {
	if _, ok := a.loop.inflight[k]; !ok {
		return
	}
	delete(a.loop.inflight, k)
	if e, ok := a.loop.conns[k.conn]; ok {
		e.open--
	}
}

// relayFor returns the relay that an operation is for; ok is false if a new queue is wanted and no relay is configured.
func (a *Agent) relayFor(id ConnectionID, op conn.Operation) (_ queue.Server, ok bool) {
	switch op := op.(type) {
	case conn.NewQueue:
		return chooseRelay(a.config.Relays, op.Avoid, op.Leaves, id, op.Tried)
	case conn.SecureQueue:
		return op.Recipient.Server, true
	case conn.SecureSending:
		return op.Sender.Server, true
	case conn.Deliver:
		return op.Sender.Server, true
	case conn.AckQueue:
		return op.Recipient.Server, true
	case conn.DeleteQueue:
		return op.Recipient.Server, true
	}
	return queue.Server{}, false
}

// chooseRelay picks a relay for a new queue: one that the connection does not use yet, if there is one, else one that is not
// left; which of them depends on the connection's random ID, and each further attempt takes the next.
func chooseRelay(relays, avoid, leaves []queue.Server, id ConnectionID, tried int) (_ queue.Server, ok bool) {
	without := func(avoid []queue.Server) []queue.Server {
		return slices.DeleteFunc(slices.Clone(relays), func(s queue.Server) bool {
			return slices.ContainsFunc(avoid, func(o queue.Server) bool {
				return slices.ContainsFunc(s.Hosts, func(h string) bool { return slices.Contains(o.Hosts, h) && s.Port == o.Port })
			})
		})
	}
	fresh := without(avoid)
	if len(fresh) == 0 {
		fresh = without(leaves)
	}
	if len(fresh) == 0 {
		fresh = relays
	}
	if len(fresh) == 0 {
		return queue.Server{}, false
	}
	h := fnv.New32a()
	h.Write([]byte(id))
	return fresh[(int(h.Sum32()>>1)+tried)%len(fresh)], true
}

// start hands a job to a worker, or has it delivered.
func (s *session) start(j job) {
	if _, delivers := j.op.(conn.Deliver); delivers {
		s.deliver(j)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs = append(s.jobs, j)
	if s.workers < maxWorkers {
		s.workers++
		s.running.Go(s.work)
	}
}

// work runs jobs until there are none.
func (s *session) work() {
	for {
		s.mu.Lock()
		if len(s.jobs) == 0 || s.ctx.Err() != nil {
			s.workers--
			s.mu.Unlock()
			return
		}
		j := s.jobs[0]
		s.jobs = s.jobs[1:]
		s.mu.Unlock()
		done := endedJob{j, execute(s.ctx, s.relay, s.server, j.op)}
		k := task{run: func(t *turn) error { return t.ended(s, done) }}
		if _, acknowledges := j.op.(conn.AckQueue); acknowledges {
			k.lazy = lazyDelay // an acknowledgement that is forgotten is repeated
		}
		s.agent.postTask(k)
	}
}

// endedJob is a job with what became of it.
type endedJob struct {
	job
	result conn.Input
}

// ended takes the results of operations to their connections, counts what was done, and remembers whom to wake when the
// relay is back. What one result leads to is done before the next. The session may be nil if there was none.
func (t *turn) ended(s *session, all ...endedJob) error {
	owners := make([]owner, len(all)) // of what was done
	t.onCommit(func() {
		for i, done := range all {
			t.landed(operationKey{done.conn, done.op.Name()})
			if owners[i].kind != "" {
				t.count(owners[i], done.op)
			}
		}
	})
	var errs []error
	for i, done := range all {
		if failed, refused := done.result.(conn.OperationFailed); refused {
			if s != nil && (failed.Class == conn.Temporary || failed.Class == conn.Host) {
				t.onCommit(func() { s.failing[done.conn] = struct{}{} })
			}
		} else {
			owners[i].kind = OwnerClient
		}
		if e, err := t.conn(done.conn); err == nil {
			if owners[i].kind != "" {
				owners[i] = owner{e.meta.owner(), e.meta.Group}
			}
			errs = append(errs, t.operated(e, done.op, done.result))
		} else if !errors.Is(err, ErrNoConnection) {
			errs = append(errs, err)
		}
		t.settle()
	}
	return errors.Join(errs...)
}

// listen hands the relay's events to the loop.
func (s *session) listen() {
	defer s.running.Done()
	for e := range s.relay.Events() {
		s.agent.post(func(t *turn) error { return t.relayEvent(s, e) })
	}
}

// want notes a queue to be subscribed; subscribeWanted does it for all of a transaction. One that is subscribed, or was
// refused or lost, is left as it is.
func (s *session) want(id ConnectionID, r conn.Recipient) {
	if _, ok := s.queues[r.ID]; ok {
		return
	}
	s.queues[r.ID] = &ownedQueue{conn: id}
	s.wanted = append(s.wanted, recipient(r))
}

// created takes in a queue that was subscribed when it was made.
func (s *session) created(id ConnectionID, r conn.Recipient) {
	s.queues[r.ID] = &ownedQueue{conn: id, state: queueUp}
}

// subscribeWanted starts the subscriptions that the last transaction asked for.
func (a *Agent) subscribeWanted() {
	for _, s := range a.loop.sessions {
		for batch := range slices.Chunk(s.wanted, subscribeBatch) {
			s.running.Go(func() {
				errs := s.relay.Subscribe(s.ctx, batch...)
				s.agent.post(func(t *turn) error { return t.subscribed(s, batch, errs) })
			})
		}
		s.wanted = nil
	}
}

// forgetQueue ends the care for a queue that is gone.
func (a *Agent) forgetQueue(q ownQueue) {
	if s, ok := a.loop.sessions[q.Relay]; ok {
		delete(s.queues, queue.ID(q.ID))
		s.relay.Forget(queue.ID(q.ID))
	}
}

// relayEvent handles what a session reports.
func (t *turn) relayEvent(s *session, event client.Event) error {
	if t.loop.draining {
		return nil // nothing is lost: the relay repeats what is not acknowledged
	}
	switch ev := event.(type) {
	case client.Message:
		if q, ok := s.queues[ev.Queue]; ok {
			return t.inputConn(q.conn, conn.Received{Queue: ev.Queue, ID: ev.Msg.ID, Body: ev.Msg.Sealed})
		}
	case client.Connected:
		t.log.Info("relay connected", "version", uint16(ev.Version))
		t.relayBack(s)
	case client.Subscribed:
		t.queuesChanged(s, ev.Queues, queueUp)
	case client.Disconnected:
		_, code := classify(ev.Err)
		t.log.Info("relay disconnected", "code", code)
		t.queuesChanged(s, slices.Sorted(maps.Keys(s.queues)), queueDown)
	case client.Unreachable:
		_, code := classify(ev.Err)
		t.log.Info("relay unreachable", "code", code, "retry", ev.Retry)
		t.queuesChanged(s, slices.Sorted(maps.Keys(s.queues)), queueDown)
	case client.Refused:
		t.queueRefused(s, ev.Queue, ev.Err)
	case client.Ended:
		if e := t.loseQueue(s, ev.Queue); e != nil && e.meta.owner() == OwnerClient {
			t.report(connectionEntity(e.id), &Ended{})
		}
	case client.Deleted:
		t.queueRefused(s, ev.Queue, queue.ErrAuth)
	}
	return nil
}

// subscribed handles the answers to the first subscription of queues.
func (t *turn) subscribed(s *session, queues []client.Queue, errs []error) error {
	var up []queue.ID
	for i, q := range queues {
		if errs[i] == nil {
			up = append(up, q.ID)
		} else if class, _ := classify(errs[i]); class != conn.Temporary && class != conn.Host {
			t.queueRefused(s, q.ID, errs[i])
		}
	}
	t.queuesChanged(s, up, queueUp)
	return nil
}

// queuesChanged tells the owners of queues that messages come in again, or do not any more.
func (t *turn) queuesChanged(s *session, queues []queue.ID, state queueState) {
	var clients []ConnectionID
	for _, id := range queues {
		q, ok := s.queues[id]
		if !ok || q.state == state || q.state == queueLost {
			continue
		}
		e, err := t.conn(q.conn)
		if err != nil {
			continue
		}
		t.onCommit(func() { q.state = state })
		switch {
		case t.upElsewhere(&e.meta, s, queues):
		case e.meta.owner() == OwnerClient:
			clients = append(clients, e.id)
		case e.meta.Group != "" && state == queueUp:
			t.groupInput(e.meta.Group, grouproto.Up{Conn: string(e.id)})
		case e.meta.Group != "":
			t.groupInput(e.meta.Group, grouproto.Down{Conn: string(e.id)})
		}
	}
	if len(clients) == 0 {
		return
	}
	slices.Sort(clients)
	clients = slices.Compact(clients)
	if state == queueUp {
		t.report("", &RelayUp{Connections: clients})
	} else {
		t.report("", &RelayDown{Connections: clients})
	}
}

// upElsewhere tells whether messages of a connection come in through another queue than these.
func (t *turn) upElsewhere(meta *connMeta, here *session, these []queue.ID) bool {
	return len(meta.Queues) > 1 && slices.ContainsFunc(meta.Queues, func(q ownQueue) bool {
		s := t.loop.sessions[q.Relay]
		if s == nil || s == here && slices.Contains(these, queue.ID(q.ID)) {
			return false
		}
		o := s.queues[queue.ID(q.ID)]
		return o != nil && o.state == queueUp
	})
}

// relayBack takes up what the relay's absence has put off.
func (t *turn) relayBack(s *session) {
	for _, id := range slices.Sorted(maps.Keys(s.failing)) {
		if err := t.inputConn(id, conn.Retry{}); err != nil {
			t.log.Warn("retry refused", "error", err)
		}
	}
	t.onCommit(func() { clear(s.failing) })
}

// loseQueue notes that a queue is not subscribed any more and returns its connection, nil if there is none.
func (t *turn) loseQueue(s *session, id queue.ID) *connEntry {
	q, ok := s.queues[id]
	if !ok || q.state == queueLost {
		return nil
	}
	t.onCommit(func() { q.state = queueLost })
	e, err := t.conn(q.conn)
	if err != nil {
		return nil
	}
	return e
}

// queueRefused reports that a relay does not serve a queue any more.
func (t *turn) queueRefused(s *session, id queue.ID, err error) {
	e := t.loseQueue(s, id)
	if e == nil || e.meta.State == stateDeleting || e.core.Leaving(id) {
		return
	}
	_, code := classify(err)
	t.connEvent(e, conn.Failure{Err: &conn.Error{Code: code, Kind: conn.OurFault, Detail: "subscription"}})
}
