package control

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"sync"
	"time"

	"github.com/coterie-im/coterie/agent"
)

// fake is an agent that records its calls and answers what it was told to. Its event log works like that of an agent, but
// forgets nothing.
type fake struct {
	mu      sync.Mutex
	calls   []recorded           // guarded by mu
	replies map[string]any       // by method; guarded by mu
	errs    map[string]error     // by method; guarded by mu
	hold    map[string]chan bool // methods that wait until the channel is closed; guarded by mu
	held    chan string          // told when a method begins to wait

	events  []agent.Event     // guarded by mu
	cursors map[string]uint64 // guarded by mu
	lost    int               // how many readers are told ErrEventsLost before anything; guarded by mu
	grown   chan struct{}     // guarded by mu; closed when there are more events
}

type recorded struct {
	method string
	args   []any
}

func newFake() *fake {
	return &fake{
		replies: map[string]any{}, errs: map[string]error{}, hold: map[string]chan bool{}, held: make(chan string, 100),
		cursors: map[string]uint64{}, grown: make(chan struct{}),
	}
}

// report adds events to the log; their numbers begin at 1.
func (f *fake) report(entity agent.Entity, data ...agent.EventData) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range data {
		seq := uint64(len(f.events) + 1)
		f.events = append(f.events, agent.Event{Seq: seq, Time: time.Unix(1_700_000_000+int64(seq), 0).UTC(), Entity: entity, Data: d})
	}
	close(f.grown)
	f.grown = make(chan struct{})
}

func (f *fake) record(ctx context.Context, method string, args []any) (reply any, err error) {
	f.mu.Lock()
	f.calls = append(f.calls, recorded{method, args})
	hold, reply, err := f.hold[method], f.replies[method], f.errs[method]
	f.mu.Unlock()
	if hold == nil {
		return reply, err
	}
	f.held <- method
	select {
	case <-hold:
		return reply, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wait makes a method wait until the function that is returned is called.
func (f *fake) wait(method string) (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hold := make(chan bool)
	f.hold[method] = hold
	return sync.OnceFunc(func() { close(hold) })
}

func (f *fake) recordedCalls() []recorded {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]recorded(nil), f.calls...)
}

func (f *fake) cursorsNow() map[string]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.cursors)
}

func (f *fake) Events(ctx context.Context, cursor string) iter.Seq2[agent.Event, error] {
	return func(yield func(agent.Event, error) bool) {
		f.mu.Lock()
		if err := f.errs["Events"]; err != nil {
			f.mu.Unlock()
			yield(agent.Event{}, err)
			return
		}
		if _, ok := f.cursors[cursor]; !ok {
			f.cursors[cursor] = 0
		}
		position := f.cursors[cursor]
		lost := f.lost > 0
		if lost {
			f.lost--
		}
		f.mu.Unlock()
		if lost && !yield(agent.Event{}, agent.ErrEventsLost) {
			return
		}
		for {
			f.mu.Lock()
			page, grown := f.events[position:], f.grown
			f.mu.Unlock()
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
				position = e.Seq
			}
			if len(page) > 0 {
				continue
			}
			select {
			case <-grown:
			case <-ctx.Done():
				yield(agent.Event{}, ctx.Err())
				return
			}
		}
	}
}

func (f *fake) AckEvent(_ context.Context, cursor string, seq uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	have, ok := f.cursors[cursor]
	if !ok || seq > uint64(len(f.events)) {
		return agent.ErrCursor
	}
	f.cursors[cursor] = max(have, seq)
	return nil
}

func (f *fake) DropCursor(_ context.Context, cursor string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.cursors, cursor)
	return nil
}

func (f *fake) Counters() agent.Counters {
	c, _ := give[agent.Counters](context.Background(), f, "Counters")
	return c
}

// give records a call with a result.
func give[T any](ctx context.Context, f *fake, method string, args ...any) (T, error) {
	reply, err := f.record(ctx, method, args)
	result, ok := reply.(T)
	if !ok && reply != nil {
		panic(fmt.Sprintf("reply of %s is %T", method, reply))
	}
	return result, err
}

// take records a call without a result.
func take(ctx context.Context, f *fake, method string, args ...any) error {
	_, err := f.record(ctx, method, args)
	return err
}

type created struct {
	id   agent.ConnectionID
	link string
}

func (f *fake) CreateConnection(ctx context.Context, o agent.CreateOptions) (agent.ConnectionID, string, error) {
	c, err := give[created](ctx, f, "CreateConnection", o)
	if err != nil && c.id == "" {
		c.id = "being-made"
	}
	return c.id, c.link, err
}

func (f *fake) JoinConnection(ctx context.Context, link string, o agent.JoinOptions) (agent.ConnectionID, error) {
	return give[agent.ConnectionID](ctx, f, "JoinConnection", link, o)
}

func (f *fake) Allow(ctx context.Context, id agent.ConnectionID, confirmation string, info []byte) error {
	return take(ctx, f, "Allow", id, confirmation, info)
}

func (f *fake) Accept(ctx context.Context, id agent.ConnectionID, request string, info []byte) (agent.ConnectionID, error) {
	return give[agent.ConnectionID](ctx, f, "Accept", id, request, info)
}

func (f *fake) Reject(ctx context.Context, id agent.ConnectionID, request string) error {
	return take(ctx, f, "Reject", id, request)
}

func (f *fake) Send(ctx context.Context, id agent.ConnectionID, m agent.Outgoing) (int64, error) {
	return give[int64](ctx, f, "Send", id, m)
}

func (f *fake) Ack(ctx context.Context, id agent.ConnectionID, message int64, o *agent.AckOptions) error {
	return take(ctx, f, "Ack", id, message, o)
}

func (f *fake) Retry(ctx context.Context, id agent.ConnectionID) error {
	return take(ctx, f, "Retry", id)
}

func (f *fake) Subscribe(ctx context.Context, id agent.ConnectionID) error {
	return take(ctx, f, "Subscribe", id)
}

func (f *fake) Suspend(ctx context.Context, id agent.ConnectionID) error {
	return take(ctx, f, "Suspend", id)
}

func (f *fake) ConnectionResync(ctx context.Context, id agent.ConnectionID, force bool) error {
	return take(ctx, f, "ConnectionResync", id, force)
}

func (f *fake) ConnectionSwitch(ctx context.Context, id agent.ConnectionID) error {
	return take(ctx, f, "ConnectionSwitch", id)
}

func (f *fake) ConnectionSwitchAbort(ctx context.Context, id agent.ConnectionID) error {
	return take(ctx, f, "ConnectionSwitchAbort", id)
}

func (f *fake) DeleteConnection(ctx context.Context, id agent.ConnectionID, wait bool) error {
	return take(ctx, f, "DeleteConnection", id, wait)
}

func (f *fake) Connection(ctx context.Context, id agent.ConnectionID) (agent.ConnectionInfo, error) {
	return give[agent.ConnectionInfo](ctx, f, "Connection", id)
}

func (f *fake) Connections(ctx context.Context) ([]agent.ConnectionInfo, error) {
	return give[[]agent.ConnectionInfo](ctx, f, "Connections")
}

func (f *fake) GroupNew(ctx context.Context, o agent.GroupOptions) (agent.GroupID, error) {
	return give[agent.GroupID](ctx, f, "GroupNew", o)
}

func (f *fake) GroupAdd(ctx context.Context, g agent.GroupID, contact agent.ConnectionID, o agent.AddOptions) (string, error) {
	return give[string](ctx, f, "GroupAdd", g, contact, o)
}

func (f *fake) GroupUninvite(ctx context.Context, g agent.GroupID, invitation string) error {
	return take(ctx, f, "GroupUninvite", g, invitation)
}

func (f *fake) GroupJoin(ctx context.Context, invitation string, card []byte) (agent.GroupID, error) {
	return give[agent.GroupID](ctx, f, "GroupJoin", invitation, card)
}

func (f *fake) GroupReject(ctx context.Context, invitation string) error {
	return take(ctx, f, "GroupReject", invitation)
}

func (f *fake) GroupLink(ctx context.Context, g agent.GroupID) (string, error) {
	return give[string](ctx, f, "GroupLink", g)
}

func (f *fake) GroupUnlink(ctx context.Context, g agent.GroupID) error {
	return take(ctx, f, "GroupUnlink", g)
}

func (f *fake) GroupAsk(ctx context.Context, link string, o agent.AskOptions) (agent.GroupID, error) {
	return give[agent.GroupID](ctx, f, "GroupAsk", link, o)
}

func (f *fake) GroupRefuse(ctx context.Context, g agent.GroupID, request string) error {
	return take(ctx, f, "GroupRefuse", g, request)
}

func (f *fake) GroupSend(ctx context.Context, g agent.GroupID, m agent.Outgoing) (agent.MessageID, error) {
	return give[agent.MessageID](ctx, f, "GroupSend", g, m)
}

func (f *fake) GroupLeave(ctx context.Context, g agent.GroupID) error {
	return take(ctx, f, "GroupLeave", g)
}

func (f *fake) GroupFork(ctx context.Context, g agent.GroupID, o agent.ForkOptions) (agent.Fork, error) {
	return give[agent.Fork](ctx, f, "GroupFork", g, o)
}

func (f *fake) GroupRemove(ctx context.Context, g agent.GroupID, o agent.RemoveOptions) error {
	return take(ctx, f, "GroupRemove", g, o)
}

func (f *fake) GroupDelete(ctx context.Context, g agent.GroupID) error {
	return take(ctx, f, "GroupDelete", g)
}

func (f *fake) GroupRole(ctx context.Context, g agent.GroupID, m agent.MemberID, role string) error {
	return take(ctx, f, "GroupRole", g, m, role)
}

func (f *fake) GroupPolicy(ctx context.Context, g agent.GroupID, p agent.Policy) error {
	return take(ctx, f, "GroupPolicy", g, p)
}

func (f *fake) GroupSet(ctx context.Context, g agent.GroupID, name string, value []byte) error {
	return take(ctx, f, "GroupSet", g, name, value)
}

func (f *fake) GroupRepair(ctx context.Context, g agent.GroupID, m agent.MemberID) error {
	return take(ctx, f, "GroupRepair", g, m)
}

func (f *fake) GroupRecover(ctx context.Context, g agent.GroupID) error {
	return take(ctx, f, "GroupRecover", g)
}

func (f *fake) Groups(ctx context.Context) ([]agent.GroupInfo, error) {
	return give[[]agent.GroupInfo](ctx, f, "Groups")
}

func (f *fake) Group(ctx context.Context, g agent.GroupID) (agent.GroupInfo, error) {
	return give[agent.GroupInfo](ctx, f, "Group", g)
}

func (f *fake) GroupDelivery(ctx context.Context, g agent.GroupID, number uint64) ([]agent.Delivery, error) {
	return give[[]agent.Delivery](ctx, f, "GroupDelivery", g, number)
}

func (f *fake) GroupHistory(ctx context.Context, g agent.GroupID, before uint64, limit int) ([]agent.MessageRecord, error) {
	return give[[]agent.MessageRecord](ctx, f, "GroupHistory", g, before, limit)
}

func (f *fake) GroupForget(ctx context.Context, g agent.GroupID) error {
	return take(ctx, f, "GroupForget", g)
}

func (f *fake) GroupDirect(ctx context.Context, g agent.GroupID, m agent.MemberID, o agent.DirectOptions) (string, error) {
	return give[string](ctx, f, "GroupDirect", g, m, o)
}

func (f *fake) GroupDirectAccept(ctx context.Context, g agent.GroupID, request string, info []byte) error {
	return take(ctx, f, "GroupDirectAccept", g, request, info)
}

func (f *fake) GroupDirectReject(ctx context.Context, g agent.GroupID, request string) error {
	return take(ctx, f, "GroupDirectReject", g, request)
}

func (f *fake) GroupDirectWithdraw(ctx context.Context, g agent.GroupID, m agent.MemberID) error {
	return take(ctx, f, "GroupDirectWithdraw", g, m)
}

func (f *fake) GroupDirectSend(ctx context.Context, g agent.GroupID, m agent.MemberID, body []byte) error {
	return take(ctx, f, "GroupDirectSend", g, m, body)
}

func (f *fake) GroupDirectRule(ctx context.Context, g agent.GroupID, m agent.MemberID, rule agent.DirectRule, info []byte) error {
	return take(ctx, f, "GroupDirectRule", g, m, rule, info)
}
