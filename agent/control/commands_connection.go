package control

import (
	"context"
	"fmt"

	"github.com/coterie-im/coterie/agent"
)

// Parameters and answers of the commands about connections.
type (
	newParams struct {
		Mode       string // INV or CON
		Key        string `control:"optional"`
		ClientData []byte `control:"body,optional"`
	}
	linkAnswer struct{ Link string }
	joinParams struct {
		Link string
		Key  string `control:"optional"`
		Info []byte `control:"body,optional"`
	}
	allowParams struct {
		Confirmation string
		Info         []byte `control:"body,optional"`
	}
	acceptParams struct {
		Request string
		Info    []byte `control:"body,optional"`
	}
	requestParams struct{ Request string }
	sendParams    struct {
		Notify bool
		Key    string `control:"optional"`
		Body   []byte `control:"body"`
	}
	messageAnswer struct{ ID int64 }
	ackParams     struct {
		ID      int64
		Receipt bool   `control:"optional"`
		Info    []byte `control:"body,optional"`
	}
	resyncParams struct {
		Force bool `control:"optional"`
	}
	switchParams struct {
		Abort bool `control:"optional"`
	}
	deleteParams struct {
		Wait bool `control:"optional"`
	}
	connectionAnswer struct {
		Connection agent.ConnectionInfo `control:"json"`
	}
	connectionsAnswer struct {
		Connections []agent.ConnectionInfo `control:"json"`
	}
)

const (
	modeInvitation = "INV"
	modeContact    = "CON"
)

func done(e agent.Entity, err error) (agent.Entity, nothing, error) { return e, nothing{}, err }

func connectionEntity(id agent.ConnectionID) agent.Entity {
	if id == "" {
		return ""
	}
	return agent.Entity("C:" + string(id))
}

var connectionCommands = []command{
	define("NEW", onAgent, "INV", "make a one-time link (INV) or a contact address (CON); the answer's entity is the new connection. Data travels in the link.",
		func(ctx context.Context, a API, _ agent.Entity, p newParams) (agent.Entity, linkAnswer, error) {
			if p.Mode != modeInvitation && p.Mode != modeContact {
				return "", linkAnswer{}, fmt.Errorf("%w: mode is neither INV nor CON", errSyntax)
			}
			id, link, err := a.CreateConnection(ctx, agent.CreateOptions{Contact: p.Mode == modeContact, ClientData: string(p.ClientData), Key: p.Key})
			return connectionEntity(id), linkAnswer{link}, err
		}).waits(),
	define("JOIN", onAgent, "OK", "join a link; the answer's entity is the new connection",
		func(ctx context.Context, a API, _ agent.Entity, p joinParams) (agent.Entity, nothing, error) {
			id, err := a.JoinConnection(ctx, p.Link, agent.JoinOptions{Info: p.Info, Key: p.Key})
			return done(connectionEntity(id), err)
		}),
	define("LET", onConnection, "OK", "let the peer of a CONF event in",
		func(ctx context.Context, a API, e agent.Entity, p allowParams) (agent.Entity, nothing, error) {
			return done(e, a.Allow(ctx, e.Connection(), p.Confirmation, p.Info))
		}),
	define("ACPT", onConnection, "OK", "accept a REQ event of a contact address; the answer's entity is the new connection",
		func(ctx context.Context, a API, e agent.Entity, p acceptParams) (agent.Entity, nothing, error) {
			id, err := a.Accept(ctx, e.Connection(), p.Request, p.Info)
			return done(connectionEntity(id), err)
		}),
	define("RJCT", onConnection, "OK", "forget a REQ event; the peer is not told",
		func(ctx context.Context, a API, e agent.Entity, p requestParams) (agent.Entity, nothing, error) {
			return done(e, a.Reject(ctx, e.Connection(), p.Request))
		}),
	define("SEND", onConnection, "MID", "send a message; SENT or MERR follow",
		func(ctx context.Context, a API, e agent.Entity, p sendParams) (agent.Entity, messageAnswer, error) {
			id, err := a.Send(ctx, e.Connection(), agent.Outgoing{Body: p.Body, Notify: p.Notify, Key: p.Key})
			return e, messageAnswer{id}, err
		}),
	define("ACK", onConnection, "OK", "acknowledge a MSG or RCVD event, with a receipt to the peer if asked for",
		func(ctx context.Context, a API, e agent.Entity, p ackParams) (agent.Entity, nothing, error) {
			return done(e, a.Ack(ctx, e.Connection(), p.ID, &agent.AckOptions{Receipt: p.Receipt, Info: p.Info}))
		}),
	define("RETRY", onConnection, "OK", "try again now what waits for a later attempt",
		func(ctx context.Context, a API, e agent.Entity, _ nothing) (agent.Entity, nothing, error) {
			return done(e, a.Retry(ctx, e.Connection()))
		}),
	define("SUB", onConnection, "OK", "take the messages of the connection back after an END event",
		func(ctx context.Context, a API, e agent.Entity, _ nothing) (agent.Entity, nothing, error) {
			return done(e, a.Subscribe(ctx, e.Connection()))
		}).waits(),
	define("OFF", onConnection, "OK", "let the relay refuse what the peer sends from now on, for good; what is there already still comes in",
		func(ctx context.Context, a API, e agent.Entity, _ nothing) (agent.Entity, nothing, error) {
			return done(e, a.Suspend(ctx, e.Connection()))
		}).waits(),
	define("RSYNC", onConnection, "OK", "make a new ratchet with the peer when RSYNC events say allowed or required; with T at any time. RSYNC events follow.",
		func(ctx context.Context, a API, e agent.Entity, p resyncParams) (agent.Entity, nothing, error) {
			return done(e, a.ConnectionResync(ctx, e.Connection(), p.Force))
		}),
	define("SWCH", onConnection, "OK", "move the connection's own queue to another relay; with T give that up, while the peer has not answered. SWITCH events follow.",
		func(ctx context.Context, a API, e agent.Entity, p switchParams) (agent.Entity, nothing, error) {
			if p.Abort {
				return done(e, a.ConnectionSwitchAbort(ctx, e.Connection()))
			}
			return done(e, a.ConnectionSwitch(ctx, e.Connection()))
		}),
	define("DEL", onConnection, "OK", "end a connection, with T after what is queued has been delivered",
		func(ctx context.Context, a API, e agent.Entity, p deleteParams) (agent.Entity, nothing, error) {
			return done(e, a.DeleteConnection(ctx, e.Connection(), p.Wait))
		}),
	define("STAT", onConnection, "CONN", "the state of a connection",
		func(ctx context.Context, a API, e agent.Entity, _ nothing) (agent.Entity, connectionAnswer, error) {
			info, err := a.Connection(ctx, e.Connection())
			return e, connectionAnswer{info}, err
		}),
	define("LS", onAgent, "CONNS", "all connections but those of groups, oldest first",
		func(ctx context.Context, a API, _ agent.Entity, _ nothing) (agent.Entity, connectionsAnswer, error) {
			all, err := a.Connections(ctx)
			return "", connectionsAnswer{all}, err
		}),
}
