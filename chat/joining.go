package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat/store"
)

// Settings of a group that this app reads (docs/groups.md, "Joining by link" and "Operations").
const (
	settingTitle   = "title"
	settingJoin    = "join"
	settingHistory = "history"
)

// rulePassword begins the value of the setting join that asks for a password.
const rulePassword = "password "

// ErrRule reports a rule for joining by link that there is not.
var ErrRule = errors.New("the rule is approve, open, off, or password with a text")

// ErrNoRequest reports a name under which nobody, or more than one, asks for a group.
var ErrNoRequest = errors.New("nobody of that name asks to be let in, or several do")

// JoinRequest is somebody who asks for a group with a link.
type JoinRequest struct {
	Group   agent.GroupID
	Request string // for Admit and TurnAway
	Name    string // as it calls itself
	Text    string
}

func joinRequest(g agent.GroupID, request string, card, text []byte) JoinRequest {
	r := JoinRequest{Group: g, Request: request, Name: "somebody", Text: Printable(string(text))}
	if p, err := ReadCard(card); err == nil {
		r.Name = p.DisplayName
	}
	return r
}

// askedFor shows somebody who asks for a group.
func (a *App) askedFor(b *store.Batch, e agent.Event, data *agent.GroupRequest) ([]Update, error) {
	c, err := a.conversation(b, e)
	if err != nil {
		return nil, err
	}
	r := joinRequest(e.Group(), data.Request, data.Card, data.Text)
	return []Update{{Conversation: &c, Asked: &r}}, nil
}

// Ask asks for a group with its link. The conversation exists from then on, and says in the end what came of it.
func (a *App) Ask(ctx context.Context, link, password, text string) (agent.GroupID, error) {
	card, err := a.card()
	if err != nil {
		return "", err
	}
	g, err := a.Agent.GroupAsk(ctx, link, agent.AskOptions{Text: []byte(text), Password: []byte(password), Card: card})
	if err != nil {
		return "", err
	}
	return g, a.begin(ctx, g, "group asked for")
}

// Requests returns who waits to be let into a group.
func (a *App) Requests(ctx context.Context, g agent.GroupID) (all []JoinRequest, err error) {
	info, err := a.Agent.Group(ctx, g)
	for _, r := range info.Requests {
		all = append(all, joinRequest(g, r.Request, r.Card, r.Text))
	}
	return all, err
}

// FindRequest returns who waits to be let into a group under a name, or under the name of the request.
func (a *App) FindRequest(ctx context.Context, g agent.GroupID, name string) (JoinRequest, error) {
	all, err := a.Requests(ctx, g)
	if err != nil {
		return JoinRequest{}, err
	}
	fits := slices.DeleteFunc(all, func(r JoinRequest) bool { return r.Name != name && r.Request != name })
	if len(fits) != 1 {
		return JoinRequest{}, fmt.Errorf("%w: %s", ErrNoRequest, name)
	}
	return fits[0], nil
}

// Admit lets in who asked.
func (a *App) Admit(ctx context.Context, r JoinRequest) error {
	info, err := a.Agent.Group(ctx, r.Group)
	if err != nil {
		return err
	}
	// The request is given in the contact's place.
	_, err = a.Agent.GroupAdd(ctx, r.Group, agent.ConnectionID(r.Request), agent.AddOptions{Info: info.Settings[settingTitle]})
	return err
}

// TurnAway refuses who asked, and tells it.
func (a *App) TurnAway(ctx context.Context, r JoinRequest) error {
	return a.Agent.GroupRefuse(ctx, r.Group, r.Request)
}

// SetJoinRule says what becomes of who asks with a link: approve, open, off, or "password TEXT". ErrRule for others.
func (a *App) SetJoinRule(ctx context.Context, g agent.GroupID, rule string) error {
	password, isPassword := strings.CutPrefix(rule, rulePassword)
	if !slices.Contains([]string{"approve", "open", "off"}, rule) && (!isPassword || strings.TrimSpace(password) == "") {
		return ErrRule
	}
	return a.Agent.GroupSet(ctx, g, settingJoin, []byte(rule))
}

// JoinRule says what becomes of who asks for a group with a link.
func (a *App) JoinRule(ctx context.Context, g agent.GroupID) (string, error) {
	info, err := a.Agent.Group(ctx, g)
	return joinRuleInWords(string(info.Settings[settingJoin])), err
}

// joinRuleInWords does not say the password.
func joinRuleInWords(rule string) string {
	switch {
	case rule == "open":
		return "everybody is let in"
	case rule == "off":
		return "nobody is let in"
	case strings.HasPrefix(rule, rulePassword) && rule != rulePassword:
		return "who knows the password is let in"
	}
	return "who has made the link decides"
}

// Contest undoes the own removal from a group, where that is possible.
func (a *App) Contest(ctx context.Context, c store.Conversation) error {
	if c.RemovedBy == "" {
		return ErrNotContestable
	}
	return a.Agent.GroupRemove(ctx, agent.GroupID(c.Ref), agent.RemoveOptions{Members: []agent.MemberID{agent.MemberID(c.RemovedBy)}, Contest: true})
}

// ErrNotContestable reports a group that one was not removed from, or by somebody who stands above.
var ErrNotContestable = errors.New("there is no removal that can be contested")
