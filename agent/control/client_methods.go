package control

import (
	"context"

	"github.com/coterie-im/coterie/agent"
)

var _ API = (*Client)(nil)

// call sends a command whose answer has parameters.
func call[R any](ctx context.Context, c *Client, name string, e agent.Entity, params any) (agent.Entity, R, error) {
	var answer R
	entity, err := c.do(ctx, name, e, params, &answer)
	return entity, answer, err
}

// order sends a command that is answered with OK.
func (c *Client) order(ctx context.Context, name string, e agent.Entity, params any) (agent.Entity, error) {
	return c.do(ctx, name, e, params, &nothing{})
}

// CreateConnection implements API. When ctx ends before the daemon has answered, there is no ID: with a key, repeating the
// call finds the connection. The daemon itself answers after a minute at the latest.
func (c *Client) CreateConnection(ctx context.Context, o agent.CreateOptions) (agent.ConnectionID, string, error) {
	p := newParams{Mode: modeInvitation, Key: o.Key, ClientData: []byte(o.ClientData)}
	if o.Contact {
		p.Mode = modeContact
	}
	e, answer, err := call[linkAnswer](ctx, c, "NEW", "", p)
	return e.Connection(), answer.Link, err
}

// JoinConnection implements API. A function that builds the info cannot be sent to a daemon and is an error.
func (c *Client) JoinConnection(ctx context.Context, link string, o agent.JoinOptions) (agent.ConnectionID, error) {
	if o.InfoFunc != nil {
		return "", errorOf(errProhibited)
	}
	e, err := c.order(ctx, "JOIN", "", joinParams{link, o.Key, o.Info})
	return e.Connection(), err
}

// Allow implements API.
func (c *Client) Allow(ctx context.Context, id agent.ConnectionID, confirmation string, info []byte) error {
	_, err := c.order(ctx, "LET", connectionEntity(id), allowParams{confirmation, info})
	return err
}

// Accept implements API.
func (c *Client) Accept(ctx context.Context, id agent.ConnectionID, request string, info []byte) (agent.ConnectionID, error) {
	e, err := c.order(ctx, "ACPT", connectionEntity(id), acceptParams{request, info})
	return e.Connection(), err
}

// Reject implements API.
func (c *Client) Reject(ctx context.Context, id agent.ConnectionID, request string) error {
	_, err := c.order(ctx, "RJCT", connectionEntity(id), requestParams{request})
	return err
}

// Send implements API.
func (c *Client) Send(ctx context.Context, id agent.ConnectionID, m agent.Outgoing) (int64, error) {
	_, answer, err := call[messageAnswer](ctx, c, "SEND", connectionEntity(id), sendParams{m.Notify, m.Key, m.Body})
	return answer.ID, err
}

// Ack implements API.
func (c *Client) Ack(ctx context.Context, id agent.ConnectionID, message int64, o *agent.AckOptions) error {
	p := ackParams{ID: message}
	if o != nil {
		p.Receipt, p.Info = o.Receipt, o.Info
	}
	_, err := c.order(ctx, "ACK", connectionEntity(id), p)
	return err
}

// Retry implements API.
func (c *Client) Retry(ctx context.Context, id agent.ConnectionID) error {
	_, err := c.order(ctx, "RETRY", connectionEntity(id), nothing{})
	return err
}

// Subscribe implements API.
func (c *Client) Subscribe(ctx context.Context, id agent.ConnectionID) error {
	_, err := c.order(ctx, "SUB", connectionEntity(id), nothing{})
	return err
}

// Suspend implements API.
func (c *Client) Suspend(ctx context.Context, id agent.ConnectionID) error {
	_, err := c.order(ctx, "OFF", connectionEntity(id), nothing{})
	return err
}

// ConnectionResync implements API.
func (c *Client) ConnectionResync(ctx context.Context, id agent.ConnectionID, force bool) error {
	_, err := c.order(ctx, "RSYNC", connectionEntity(id), resyncParams{force})
	return err
}

// ConnectionSwitch implements API.
func (c *Client) ConnectionSwitch(ctx context.Context, id agent.ConnectionID) error {
	_, err := c.order(ctx, "SWCH", connectionEntity(id), switchParams{})
	return err
}

// ConnectionSwitchAbort implements API.
func (c *Client) ConnectionSwitchAbort(ctx context.Context, id agent.ConnectionID) error {
	_, err := c.order(ctx, "SWCH", connectionEntity(id), switchParams{Abort: true})
	return err
}

// DeleteConnection implements API.
func (c *Client) DeleteConnection(ctx context.Context, id agent.ConnectionID, wait bool) error {
	_, err := c.order(ctx, "DEL", connectionEntity(id), deleteParams{wait})
	return err
}

// Connection implements API.
func (c *Client) Connection(ctx context.Context, id agent.ConnectionID) (agent.ConnectionInfo, error) {
	_, answer, err := call[connectionAnswer](ctx, c, "STAT", connectionEntity(id), nothing{})
	return answer.Connection, err
}

// Connections implements API.
func (c *Client) Connections(ctx context.Context) ([]agent.ConnectionInfo, error) {
	_, answer, err := call[connectionsAnswer](ctx, c, "LS", "", nothing{})
	return answer.Connections, err
}

// GroupNew implements API.
func (c *Client) GroupNew(ctx context.Context, o agent.GroupOptions) (agent.GroupID, error) {
	e, err := c.order(ctx, "GNEW", "", groupNewParams{o.Key, groupSettings{o.Policy, o.Settings, o.Card}})
	return e.Group(), err
}

// GroupFork implements API.
func (c *Client) GroupFork(ctx context.Context, g agent.GroupID, o agent.ForkOptions) (agent.Fork, error) {
	p := groupForkParams{Key: o.Key, Options: forkSettings{o.Members, o.Without, o.Role, o.Info, o.Policy, o.Settings, o.Card}}
	e, answer, err := call[forkAnswer](ctx, c, "GFORK", g.Entity(), p)
	return agent.Fork{Group: e.Group(), Invitations: answer.Fork.Invitations, Unreachable: answer.Fork.Unreachable}, err
}

// GroupAdd implements API.
func (c *Client) GroupAdd(ctx context.Context, g agent.GroupID, contact agent.ConnectionID, o agent.AddOptions) (string, error) {
	if o.Role == "" {
		o.Role = "member"
	}
	_, answer, err := call[invitationParams](ctx, c, "GADD", g.Entity(), groupAddParams{string(contact), o.Role, o.Key, o.Info})
	return answer.Invitation, err
}

// GroupUninvite implements API.
func (c *Client) GroupUninvite(ctx context.Context, g agent.GroupID, invitation string) error {
	_, err := c.order(ctx, "GUNADD", g.Entity(), invitationParams{invitation})
	return err
}

// GroupJoin implements API.
func (c *Client) GroupJoin(ctx context.Context, invitation string, card []byte) (agent.GroupID, error) {
	e, err := c.order(ctx, "GJOIN", "", groupJoinParams{invitation, card})
	return e.Group(), err
}

// GroupLink implements API.
func (c *Client) GroupLink(ctx context.Context, g agent.GroupID) (string, error) {
	_, answer, err := call[groupLinkAnswer](ctx, c, "GLINK", g.Entity(), nothing{})
	return answer.Link, err
}

// GroupUnlink implements API.
func (c *Client) GroupUnlink(ctx context.Context, g agent.GroupID) error {
	_, err := c.order(ctx, "GUNLINK", g.Entity(), nothing{})
	return err
}

// GroupAsk implements API.
func (c *Client) GroupAsk(ctx context.Context, link string, o agent.AskOptions) (agent.GroupID, error) {
	e, err := c.order(ctx, "GASK", "", groupAskParams{link, o.Key, askTexts{o.Text, o.Password, o.Card}})
	return e.Group(), err
}

// GroupRefuse implements API.
func (c *Client) GroupRefuse(ctx context.Context, g agent.GroupID, request string) error {
	_, err := c.order(ctx, "GREJECT", g.Entity(), requestParams{request})
	return err
}

// GroupReject implements API.
func (c *Client) GroupReject(ctx context.Context, invitation string) error {
	_, err := c.order(ctx, "GREJECT", "", invitationParams{invitation})
	return err
}

// GroupSend implements API.
func (c *Client) GroupSend(ctx context.Context, g agent.GroupID, m agent.Outgoing) (agent.MessageID, error) {
	_, answer, err := call[groupMessageAnswer](ctx, c, "GSEND", g.Entity(), sendParams{m.Notify, m.Key, m.Body})
	return answer.Message, err
}

// GroupLeave implements API.
func (c *Client) GroupLeave(ctx context.Context, g agent.GroupID) error {
	_, err := c.order(ctx, "GLEAVE", g.Entity(), nothing{})
	return err
}

// GroupRemove implements API.
func (c *Client) GroupRemove(ctx context.Context, g agent.GroupID, o agent.RemoveOptions) error {
	p := groupRemoveParams{Hide: o.Hide, Contest: o.Contest}
	for _, m := range o.Members {
		p.Members = append(p.Members, string(m))
	}
	_, err := c.order(ctx, "GMDEL", g.Entity(), p)
	return err
}

// GroupDelete implements API.
func (c *Client) GroupDelete(ctx context.Context, g agent.GroupID) error {
	_, err := c.order(ctx, "GDEL", g.Entity(), nothing{})
	return err
}

// GroupRole implements API.
func (c *Client) GroupRole(ctx context.Context, g agent.GroupID, m agent.MemberID, role string) error {
	_, err := c.order(ctx, "GROLE", g.Entity(), groupRoleParams{string(m), role})
	return err
}

// GroupPolicy implements API.
func (c *Client) GroupPolicy(ctx context.Context, g agent.GroupID, p agent.Policy) error {
	_, err := c.order(ctx, "GPOLICY", g.Entity(), groupPolicyParams{p})
	return err
}

// GroupSet implements API.
func (c *Client) GroupSet(ctx context.Context, g agent.GroupID, name string, value []byte) error {
	_, err := c.order(ctx, "GSET", g.Entity(), groupSetParams{name, value})
	return err
}

// GroupRepair implements API.
func (c *Client) GroupRepair(ctx context.Context, g agent.GroupID, m agent.MemberID) error {
	_, err := c.order(ctx, "GREPAIR", g.Entity(), memberParams{string(m)})
	return err
}

// GroupRecover implements API.
func (c *Client) GroupRecover(ctx context.Context, g agent.GroupID) error {
	_, err := c.order(ctx, "GRECOVER", g.Entity(), nothing{})
	return err
}

// Groups implements API.
func (c *Client) Groups(ctx context.Context) ([]agent.GroupInfo, error) {
	_, answer, err := call[groupsAnswer](ctx, c, "GLS", "", nothing{})
	return answer.Groups, err
}

// Group implements API.
func (c *Client) Group(ctx context.Context, g agent.GroupID) (agent.GroupInfo, error) {
	_, answer, err := call[groupAnswer](ctx, c, "GLS", g.Entity(), nothing{})
	return answer.Group, err
}

// GroupDelivery implements API.
func (c *Client) GroupDelivery(ctx context.Context, g agent.GroupID, number uint64) ([]agent.Delivery, error) {
	_, answer, err := call[deliveryAnswer](ctx, c, "GDELIVERY", g.Entity(), numberParams{number})
	return answer.Delivery, err
}

// GroupHistory implements API.
func (c *Client) GroupHistory(ctx context.Context, g agent.GroupID, before uint64, limit int) ([]agent.MessageRecord, error) {
	_, answer, err := call[historyAnswer](ctx, c, "GHIST", g.Entity(), historyParams{before, limit})
	return answer.Messages, err
}

// GroupForget implements API.
func (c *Client) GroupForget(ctx context.Context, g agent.GroupID) error {
	_, err := c.order(ctx, "GFORGET", g.Entity(), nothing{})
	return err
}

// GroupDirect implements API.
func (c *Client) GroupDirect(ctx context.Context, g agent.GroupID, m agent.MemberID, o agent.DirectOptions) (string, error) {
	_, answer, err := call[requestParams](ctx, c, "GDIRECT", g.Entity(), directParams{string(m), directTexts{o.Text, o.Info}})
	return answer.Request, err
}

// GroupDirectAccept implements API.
func (c *Client) GroupDirectAccept(ctx context.Context, g agent.GroupID, request string, info []byte) error {
	_, err := c.order(ctx, "GACPT", g.Entity(), acceptParams{request, info})
	return err
}

// GroupDirectReject implements API.
func (c *Client) GroupDirectReject(ctx context.Context, g agent.GroupID, request string) error {
	_, err := c.order(ctx, "GDREJ", g.Entity(), requestParams{request})
	return err
}

// GroupDirectWithdraw implements API.
func (c *Client) GroupDirectWithdraw(ctx context.Context, g agent.GroupID, m agent.MemberID) error {
	_, err := c.order(ctx, "GDWITHDRAW", g.Entity(), memberParams{string(m)})
	return err
}

// GroupDirectSend implements API.
func (c *Client) GroupDirectSend(ctx context.Context, g agent.GroupID, m agent.MemberID, body []byte) error {
	_, err := c.order(ctx, "GDSEND", g.Entity(), directSendParams{string(m), body})
	return err
}

// GroupDirectRule implements API.
func (c *Client) GroupDirectRule(ctx context.Context, g agent.GroupID, m agent.MemberID, rule agent.DirectRule, info []byte) error {
	_, err := c.order(ctx, "GDRULE", g.Entity(), directRuleParams{string(m), string(rule), info})
	return err
}

// AckEvent implements API.
func (c *Client) AckEvent(ctx context.Context, cursor string, seq uint64) error {
	_, err := c.order(ctx, "DONE", "", ackEventParams{cursor, seq})
	return err
}

// DropCursor implements API.
func (c *Client) DropCursor(ctx context.Context, cursor string) error {
	_, err := c.order(ctx, "DROP", "", cursorParams{cursor})
	return err
}

// Counters implements API; a daemon that does not answer gives zeros.
func (c *Client) Counters() agent.Counters {
	ctx, cancel := context.WithTimeout(context.Background(), countersTime)
	defer cancel()
	_, answer, _ := call[countersAnswer](ctx, c, "COUNTERS", "", nothing{})
	return answer.Counters
}

// Ping asks the daemon whether it answers.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.order(ctx, "PING", "", nothing{})
	return err
}
