package control

import (
	"context"
	"iter"

	"github.com/coterie-im/coterie/agent"
)

// API is what an agent can do, in this process (*agent.Agent) or behind a socket (*Client): apps are written against it.
// Every method is documented at *agent.Agent.
type API interface {
	CreateConnection(context.Context, agent.CreateOptions) (agent.ConnectionID, string, error)
	JoinConnection(ctx context.Context, link string, o agent.JoinOptions) (agent.ConnectionID, error)
	Allow(ctx context.Context, id agent.ConnectionID, confirmation string, info []byte) error
	Accept(ctx context.Context, id agent.ConnectionID, request string, info []byte) (agent.ConnectionID, error)
	Reject(ctx context.Context, id agent.ConnectionID, request string) error
	Send(context.Context, agent.ConnectionID, agent.Outgoing) (message int64, err error)
	Ack(ctx context.Context, id agent.ConnectionID, message int64, o *agent.AckOptions) error
	Retry(context.Context, agent.ConnectionID) error
	Subscribe(context.Context, agent.ConnectionID) error
	Suspend(context.Context, agent.ConnectionID) error
	ConnectionResync(ctx context.Context, id agent.ConnectionID, force bool) error
	ConnectionSwitch(context.Context, agent.ConnectionID) error
	ConnectionSwitchAbort(context.Context, agent.ConnectionID) error
	DeleteConnection(ctx context.Context, id agent.ConnectionID, wait bool) error
	Connection(context.Context, agent.ConnectionID) (agent.ConnectionInfo, error)
	Connections(context.Context) ([]agent.ConnectionInfo, error)

	GroupNew(context.Context, agent.GroupOptions) (agent.GroupID, error)
	GroupAdd(context.Context, agent.GroupID, agent.ConnectionID, agent.AddOptions) (invitation string, err error)
	GroupFork(context.Context, agent.GroupID, agent.ForkOptions) (agent.Fork, error)
	GroupUninvite(ctx context.Context, g agent.GroupID, invitation string) error
	GroupJoin(ctx context.Context, invitation string, card []byte) (agent.GroupID, error)
	GroupReject(ctx context.Context, invitation string) error
	GroupLink(context.Context, agent.GroupID) (link string, err error)
	GroupUnlink(context.Context, agent.GroupID) error
	GroupAsk(ctx context.Context, link string, o agent.AskOptions) (agent.GroupID, error)
	GroupRefuse(ctx context.Context, g agent.GroupID, request string) error
	GroupSend(context.Context, agent.GroupID, agent.Outgoing) (agent.MessageID, error)
	GroupLeave(context.Context, agent.GroupID) error
	GroupRemove(context.Context, agent.GroupID, agent.RemoveOptions) error
	GroupDelete(context.Context, agent.GroupID) error
	GroupRole(ctx context.Context, g agent.GroupID, m agent.MemberID, role string) error
	GroupPolicy(context.Context, agent.GroupID, agent.Policy) error
	GroupSet(ctx context.Context, g agent.GroupID, name string, value []byte) error
	GroupRecover(context.Context, agent.GroupID) error
	GroupRepair(context.Context, agent.GroupID, agent.MemberID) error
	Groups(context.Context) ([]agent.GroupInfo, error)
	Group(context.Context, agent.GroupID) (agent.GroupInfo, error)
	GroupDelivery(ctx context.Context, g agent.GroupID, number uint64) ([]agent.Delivery, error)
	GroupHistory(ctx context.Context, g agent.GroupID, before uint64, limit int) ([]agent.MessageRecord, error)
	GroupForget(context.Context, agent.GroupID) error

	GroupDirect(context.Context, agent.GroupID, agent.MemberID, agent.DirectOptions) (request string, err error)
	GroupDirectAccept(ctx context.Context, g agent.GroupID, request string, info []byte) error
	GroupDirectReject(ctx context.Context, g agent.GroupID, request string) error
	GroupDirectWithdraw(context.Context, agent.GroupID, agent.MemberID) error
	GroupDirectSend(ctx context.Context, g agent.GroupID, m agent.MemberID, body []byte) error
	GroupDirectRule(ctx context.Context, g agent.GroupID, m agent.MemberID, rule agent.DirectRule, info []byte) error

	Events(ctx context.Context, cursor string) iter.Seq2[agent.Event, error]
	AckEvent(ctx context.Context, cursor string, seq uint64) error
	DropCursor(ctx context.Context, cursor string) error
	Counters() agent.Counters
}

var _ API = (*agent.Agent)(nil)
