package agent

import "context"

func (a *Agent) createConnection(ctx context.Context, o CreateOptions) (id ConnectionID, link string, err error) {
	panic("unfinished")
}
func (a *Agent) joinConnection(ctx context.Context, link string, o JoinOptions) (ConnectionID, error) {
	panic("unfinished")
}
func (a *Agent) allow(ctx context.Context, id ConnectionID, confirmation string, info []byte) error {
	panic("unfinished")
}
func (a *Agent) accept(ctx context.Context, id ConnectionID, request string, info []byte) (ConnectionID, error) {
	panic("unfinished")
}
func (a *Agent) reject(ctx context.Context, id ConnectionID, request string) error {
	panic("unfinished")
}
func (a *Agent) send(ctx context.Context, id ConnectionID, m Outgoing) (message int64, err error) {
	panic("unfinished")
}
func (a *Agent) ack(ctx context.Context, id ConnectionID, message int64, o *AckOptions) error {
	panic("unfinished")
}
func (a *Agent) retry(ctx context.Context, id ConnectionID) error { panic("unfinished") }
func (a *Agent) deleteConnection(ctx context.Context, id ConnectionID, wait bool) error {
	panic("unfinished")
}
func (a *Agent) connection(ctx context.Context, id ConnectionID) (ConnectionInfo, error) {
	panic("unfinished")
}
func (a *Agent) connections(ctx context.Context) ([]ConnectionInfo, error)     { panic("unfinished") }
func (a *Agent) groupNew(ctx context.Context, o GroupOptions) (GroupID, error) { panic("unfinished") }
func (a *Agent) groupAdd(ctx context.Context, g GroupID, contact ConnectionID, o AddOptions) (invitation string, err error) {
	panic("unfinished")
}
func (a *Agent) groupUninvite(ctx context.Context, g GroupID, invitation string) error {
	panic("unfinished")
}
func (a *Agent) groupJoin(ctx context.Context, invitation string, card []byte) (GroupID, error) {
	panic("unfinished")
}
func (a *Agent) groupReject(ctx context.Context, invitation string) error { panic("unfinished") }
func (a *Agent) groupSend(ctx context.Context, g GroupID, m Outgoing) (MessageID, error) {
	panic("unfinished")
}
func (a *Agent) groupLeave(ctx context.Context, g GroupID) error { panic("unfinished") }
func (a *Agent) groupRemove(ctx context.Context, g GroupID, o RemoveOptions) error {
	panic("unfinished")
}
func (a *Agent) groupDelete(ctx context.Context, g GroupID) error { panic("unfinished") }
func (a *Agent) groupRole(ctx context.Context, g GroupID, m MemberID, role string) error {
	panic("unfinished")
}
func (a *Agent) groupPolicy(ctx context.Context, g GroupID, p Policy) error { panic("unfinished") }
func (a *Agent) groupSet(ctx context.Context, g GroupID, name string, value []byte) error {
	panic("unfinished")
}
func (a *Agent) groupRepair(ctx context.Context, g GroupID, m MemberID) error { panic("unfinished") }
func (a *Agent) groups(ctx context.Context) ([]GroupInfo, error)              { panic("unfinished") }
func (a *Agent) group(ctx context.Context, g GroupID) (GroupInfo, error)      { panic("unfinished") }
func (a *Agent) groupDelivery(ctx context.Context, g GroupID, number uint64) ([]Delivery, error) {
	panic("unfinished")
}
func (a *Agent) groupHistory(ctx context.Context, g GroupID, before uint64, limit int) ([]MessageRecord, error) {
	panic("unfinished")
}
func (a *Agent) groupForget(ctx context.Context, g GroupID) error { panic("unfinished") }
func (a *Agent) groupDirect(ctx context.Context, g GroupID, m MemberID, o DirectOptions) (request string, err error) {
	panic("unfinished")
}
func (a *Agent) groupDirectAccept(ctx context.Context, g GroupID, request string, info []byte) error {
	panic("unfinished")
}
func (a *Agent) groupDirectReject(ctx context.Context, g GroupID, request string) error {
	panic("unfinished")
}
func (a *Agent) groupDirectWithdraw(ctx context.Context, g GroupID, m MemberID) error {
	panic("unfinished")
}
func (a *Agent) groupDirectSend(ctx context.Context, g GroupID, m MemberID, body []byte) error {
	panic("unfinished")
}
func (a *Agent) groupDirectRule(ctx context.Context, g GroupID, m MemberID, rule DirectRule, info []byte) error {
	panic("unfinished")
}
