package agent

import (
	"crypto/ed25519"
	"errors"
	"slices"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/grouproto"
	"github.com/coterie-im/coterie/queue"
)

// start reads what the loop begins with, before it runs: the event log's ends, and the names of everything that is to be
// taken up again. All queues are subscribed at once; connections and groups follow in batches between other work.
func (a *Agent) start() error {
	a.loop = loop{
		conns:    map[ConnectionID]*connEntry{},
		groups:   map[GroupID]*groupEntry{},
		sessions: map[string]*session{},
		inflight: map[operationKey]struct{}{},
		links:    map[ConnectionID][]chan<- linkResult{},
		relays:   a.config.relaysByKey(),
	}
	t, err := a.begin()
	if err != nil {
		return err
	}
	a.loadEvents(t)
	routes := t.tx.Routes()
	conns := t.tx.Owners(store.Connection)
	groups := t.tx.Owners(store.Group)
	t.tx.Rollback()
	if err := t.tx.Err(); err != nil {
		return err
	}
	if a.store.Older() {
		a.log.Warn("store was replaced by an older copy of itself")
		if err := a.cameBack(conns, groups); err != nil {
			return err
		}
	}
	a.loop.boot = append(a.loop.boot, func(t *turn) { t.subscribeRoutes(routes) })
	for _, id := range conns {
		a.boot(wakeKey{wakeConn, id})
	}
	a.boot(wakeKey{kind: wakeDirect})
	for _, id := range groups {
		a.boot(wakeKey{wakeGroup, id})
	}
	return nil
}

// cameBack begins, before anything else is done, what makes an old copy of the store harmless: ratchets are made again,
// because its keys were used before, and groups recover (docs/groups.md, "Recovery").
func (a *Agent) cameBack(conns, groups []string) error {
	t, err := a.begin()
	if err != nil {
		return err
	}
	for _, id := range conns {
		if e, err := t.conn(ConnectionID(id)); err == nil {
			_ = t.stepConn(e, conn.Resynchronise{Force: true}) // those that are not made yet have nothing to make again
		}
	}
	t.settle()
	for _, id := range groups {
		_, _ = t.groupCommand(GroupID(id), grouproto.Recover{Why: grouproto.RecoveryStore}) // refused where one is no member
	}
	t.settle()
	t.tx.Noticed()
	if err := t.commit(); err != nil {
		return err
	}
	t.release()
	return nil
}

func (a *Agent) boot(k wakeKey) {
	a.loop.boot = append(a.loop.boot, func(t *turn) {
		if err := t.resume(k); err != nil {
			t.log.Error("stored state is unreadable", "error", err)
		}
	})
}

// nextBoot takes the next steps of the start.
func (a *Agent) nextBoot() task {
	l := &a.loop
	n := min(bootBatch, len(l.boot))
	steps := slices.Clone(l.boot[:n])
	l.boot = l.boot[n:]
	return task{run: func(t *turn) error {
		for _, step := range steps {
			step(t)
		}
		return nil
	}}
}

// subscribeRoutes asks for the messages of all queues, before their connections are loaded.
func (t *turn) subscribeRoutes(routes []store.Route) {
	for _, r := range routes {
		server, err := queue.ParseServer(r.Relay)
		if err != nil || len(r.Key) != ed25519.SeedSize {
			t.log.Error("stored route is unreadable")
			continue
		}
		q := conn.Recipient{Server: server, ID: queue.ID(r.Recipient), Key: ed25519.NewKeyFromSeed(r.Key)}
		t.onCommit(func() { t.session(server).want(ConnectionID(r.Connection), q) })
	}
}

// resume loads a core that is not in memory and takes up what is still to be done: after a start, or after a failed
// transaction.
func (t *turn) resume(k wakeKey) error {
	switch k.kind {
	case wakeConn:
		e, err := t.conn(ConnectionID(k.id))
		if err != nil {
			return ignoreMissing(err)
		}
		t.connEffects(e, e.core.Pending(t.connEnv(e.id)))
	case wakeGroup:
		g, err := t.groupEntry(GroupID(k.id))
		if err != nil {
			return ignoreMissing(err)
		}
		t.groupEffects(g, g.core.Pending(t.groupEnv(g.id)))
	case wakeDirect:
		d, err := t.directEntry()
		if err != nil {
			return err
		}
		t.directEffects(d.core.Pending())
	}
	return nil
}

// tick tells a core that its time has come.
func (t *turn) tick(k wakeKey) error {
	switch k.kind {
	case wakeConn:
		return t.inputConn(ConnectionID(k.id), conn.Tick{})
	case wakeGroup:
		t.groupTick(GroupID(k.id))
	case wakeDirect:
		t.directTick()
	}
	return nil
}

// ignoreMissing drops the errors of things that were deleted meanwhile.
func ignoreMissing(err error) error {
	if errors.Is(err, ErrNoConnection) || errors.Is(err, ErrNoGroup) {
		return nil
	}
	return err
}
