package control

import (
	"context"

	"github.com/coterie-im/coterie/agent"
)

// Parameters and answers of the commands about the agent and its events.
type (
	cursorParams   struct{ Name string }
	ackEventParams struct {
		Name string
		Seq  uint64
	}
	countersAnswer struct {
		Counters agent.Counters `control:"json"`
	}
	eventAnswer struct {
		Seq  uint64
		Data agent.Event `control:"json"`
	}
)

const commandEvents = "EVENTS"

var agentCommands = []command{
	// The session begins to tell the events when it has written the answer.
	define(commandEvents, onAgent, "OK", "tell the events behind the named cursor from now on; a new name begins at the oldest event kept. Once per client connection",
		func(context.Context, API, agent.Entity, cursorParams) (agent.Entity, nothing, error) {
			return done("", nil)
		}),
	define("DONE", onAgent, "OK", "acknowledge all events of a cursor up to a number: it resumes behind it",
		func(ctx context.Context, a API, _ agent.Entity, p ackEventParams) (agent.Entity, nothing, error) {
			return done("", a.AckEvent(ctx, p.Name, p.Seq))
		}),
	define("DROP", onAgent, "OK", "remove a cursor that nobody will use again; until then events are kept for it",
		func(ctx context.Context, a API, _ agent.Entity, p cursorParams) (agent.Entity, nothing, error) {
			return done("", a.DropCursor(ctx, p.Name))
		}),
	define("COUNTERS", onAgent, "COUNTERS", "totals since the daemon started",
		func(_ context.Context, a API, _ agent.Entity, _ nothing) (agent.Entity, countersAnswer, error) {
			return "", countersAnswer{a.Counters()}, nil
		}),
	define("PING", onAgent, "PONG", "nothing; tells that the daemon answers",
		func(context.Context, API, agent.Entity, nothing) (agent.Entity, nothing, error) {
			return done("", nil)
		}),
}
