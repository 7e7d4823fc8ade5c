// Package agent is a whole agent as a Go library: it owns queues on relays, end-to-end encrypted duplex connections over
// them, and symmetric groups and direct connections over those, in one sealed store. Bots, the daemon and the chat app
// are all written against it.
//
//	a, err := agent.Open(ctx, agent.Config{Store: "bot.db", Key: key, Relays: relays})
//	id, link, err := a.CreateConnection(ctx, agent.CreateOptions{})
//	for e, err := range a.Events(ctx, "bot") {
//		switch data := e.Data.(type) {
//		case *agent.Confirmation: // somebody used the link
//			err = a.Allow(ctx, e.Connection(), data.Confirmation, nil)
//		case *agent.Message:
//			_, err = a.Send(ctx, e.Connection(), agent.Outgoing{Body: data.Body})
//			err = a.Ack(ctx, e.Connection(), data.ID, nil)
//		}
//		err = a.AckEvent(ctx, "bot", e.Seq)
//	}
//
// # Promises
//
// A call that returned without an error survives a crash of the process or machine: the message it queued will be
// delivered or reported as failed, the connection it began will be finished after a restart. Events are stored in the
// same transaction as what they report, and a client that resumes its cursor sees each of them once. Calls that create
// something take an optional key, under which a repeat after a crash gives the first result instead of a second thing.
//
// # How it works
//
// One goroutine, the loop, owns all state. It drains what waits (calls, messages from relays, results of operations,
// timers), runs the state machines of packages conn, grouproto and directconn for all of it in one transaction of the
// store, and only after the commit lets anything out: answers, relay commands, new events. If the transaction fails,
// everything it touched is loaded again from the store and nothing has happened. Relay commands run in other goroutines,
// a bounded number per relay, and body encryption happens there.
//
// The package does not know what messages mean (package chat does), nor the command protocol (agent/control).
package agent
