package control

import (
	"context"

	"github.com/coterie-im/coterie/agent"
)

// groupSettings is the body of GNEW.
type groupSettings struct {
	Policy   *agent.Policy     `json:"policy,omitempty"`
	Settings map[string][]byte `json:"settings,omitempty"`
	Card     []byte            `json:"card,omitempty"`
}

// forkSettings is the body of GFORK.
type forkSettings struct {
	Members  []agent.MemberID  `json:"members,omitempty"`
	Without  []agent.MemberID  `json:"without,omitempty"`
	Role     string            `json:"role,omitempty"`
	Info     []byte            `json:"info,omitempty"`
	Policy   *agent.Policy     `json:"policy,omitempty"`
	Settings map[string][]byte `json:"settings,omitempty"`
	Card     []byte            `json:"card,omitempty"`
}

// forkResult is the body of the answer to GFORK, whose entity is the new group.
type forkResult struct {
	Invitations map[agent.MemberID]string `json:"invitations"`
	Unreachable []agent.MemberID          `json:"unreachable,omitempty"`
}

// askTexts is the body of GASK.
type askTexts struct {
	Text     []byte `json:"text,omitempty"`
	Password []byte `json:"password,omitempty"`
	Card     []byte `json:"card,omitempty"`
}

// directTexts is the body of GDIRECT.
type directTexts struct {
	Text []byte `json:"text,omitempty"`
	Info []byte `json:"info,omitempty"`
}

// Parameters and answers of the commands about groups and direct connections.
type (
	groupNewParams struct {
		Key     string        `control:"optional"`
		Options groupSettings `control:"json,optional"`
	}
	groupAddParams struct {
		Contact string
		Role    string
		Key     string `control:"optional"`
		Info    []byte `control:"body,optional"`
	}
	groupForkParams struct {
		Key     string       `control:"optional"`
		Options forkSettings `control:"json,optional"`
	}
	forkAnswer struct {
		Fork forkResult `control:"json"`
	}
	invitationParams struct{ Invitation string }
	groupJoinParams  struct {
		Invitation string
		Card       []byte `control:"body,optional"`
	}
	groupAskParams struct {
		Link    string
		Key     string   `control:"optional"`
		Options askTexts `control:"json,optional"`
	}
	groupLinkAnswer    struct{ Link string }
	groupMessageAnswer struct {
		Message agent.MessageID `control:"json"`
	}
	groupRemoveParams struct {
		Members []string
		Hide    bool `control:"optional"`
		Contest bool `control:"optional"`
	}
	groupRoleParams struct {
		Member string
		Role   string
	}
	groupPolicyParams struct {
		Policy agent.Policy `control:"json"`
	}
	groupSetParams struct {
		Name  string
		Value []byte `control:"body"`
	}
	memberParams struct{ Member string }
	groupsAnswer struct {
		Groups []agent.GroupInfo `control:"json"`
	}
	groupAnswer struct {
		Group agent.GroupInfo `control:"json"`
	}
	numberParams   struct{ Number uint64 }
	deliveryAnswer struct {
		Delivery []agent.Delivery `control:"json"`
	}
	historyParams struct {
		Before uint64
		Limit  int
	}
	historyAnswer struct {
		Messages []agent.MessageRecord `control:"json"`
	}
	directParams struct {
		Member  string
		Options directTexts `control:"json,optional"`
	}
	directSendParams struct {
		Member string
		Body   []byte `control:"body"`
	}
	directRuleParams struct {
		Member string
		Rule   string
		Info   []byte `control:"body,optional"`
	}
)

func groupEntity(g agent.GroupID) agent.Entity {
	if g == "" {
		return ""
	}
	return g.Entity()
}

var groupCommands = []command{
	define("GNEW", onAgent, "OK", "make a group of one; the answer's entity is the group",
		func(ctx context.Context, a API, _ agent.Entity, p groupNewParams) (agent.Entity, nothing, error) {
			g, err := a.GroupNew(ctx, agent.GroupOptions{Policy: p.Options.Policy, Settings: p.Options.Settings, Card: p.Options.Card, Key: p.Key})
			return done(groupEntity(g), err)
		}),
	define("GADD", onGroup, "GINVITED", "invite a contact, or let in who asked with a GREQ event, given in the contact's place, with a role; info is shown to it",
		func(ctx context.Context, a API, e agent.Entity, p groupAddParams) (agent.Entity, invitationParams, error) {
			name, err := a.GroupAdd(ctx, e.Group(), agent.ConnectionID(p.Contact), agent.AddOptions{Role: p.Role, Info: p.Info, Key: p.Key})
			return e, invitationParams{name}, err
		}),
	define("GFORK", onGroup, "GFORKED", "make a new group out of this one and invite the named members, or everybody present, over the connections with them; the answer's entity is the new group",
		func(ctx context.Context, a API, e agent.Entity, p groupForkParams) (agent.Entity, forkAnswer, error) {
			o := agent.ForkOptions{
				Members: p.Options.Members, Without: p.Options.Without, Role: p.Options.Role, Info: p.Options.Info, Policy: p.Options.Policy,
				Settings: p.Options.Settings, Card: p.Options.Card, Key: p.Key,
			}
			f, err := a.GroupFork(ctx, e.Group(), o)
			return groupEntity(f.Group), forkAnswer{forkResult{f.Invitations, f.Unreachable}}, err
		}),
	define("GUNADD", onGroup, "OK", "withdraw an invitation that was not accepted yet",
		func(ctx context.Context, a API, e agent.Entity, p invitationParams) (agent.Entity, nothing, error) {
			return done(e, a.GroupUninvite(ctx, e.Group(), p.Invitation))
		}),
	define("GLINK", onGroup, "GLINK", "the link with which anybody can ask for the group; the setting \"join\" says who gets in: open, approve, password and a text, off",
		func(ctx context.Context, a API, e agent.Entity, _ nothing) (agent.Entity, groupLinkAnswer, error) {
			link, err := a.GroupLink(ctx, e.Group())
			return e, groupLinkAnswer{link}, err
		}).waits(),
	define("GUNLINK", onGroup, "OK", "withdraw the link; requests that wait are forgotten",
		func(ctx context.Context, a API, e agent.Entity, _ nothing) (agent.Entity, nothing, error) {
			return done(e, a.GroupUnlink(ctx, e.Group()))
		}),
	define("GASK", onAgent, "OK", "ask for a group with its link, with a text, a password and a card; the answer's entity is the group, GSTATE tells what comes of it",
		func(ctx context.Context, a API, _ agent.Entity, p groupAskParams) (agent.Entity, nothing, error) {
			g, err := a.GroupAsk(ctx, p.Link, agent.AskOptions{Text: p.Options.Text, Password: p.Options.Password, Card: p.Options.Card, Key: p.Key})
			return done(groupEntity(g), err)
		}),
	define("GJOIN", onAgent, "OK", "accept a GINV event, or ask with a group's link; the answer's entity is the group, the card says who one is",
		func(ctx context.Context, a API, _ agent.Entity, p groupJoinParams) (agent.Entity, nothing, error) {
			g, err := a.GroupJoin(ctx, p.Invitation, p.Card)
			return done(groupEntity(g), err)
		}),
	define("GREJECT", onAgent, "OK", "refuse a GINV event",
		func(ctx context.Context, a API, e agent.Entity, p invitationParams) (agent.Entity, nothing, error) {
			return done(e, a.GroupReject(ctx, p.Invitation))
		}),
	define("GREJECT", onGroup, "OK", "refuse a GREQ event",
		func(ctx context.Context, a API, e agent.Entity, p requestParams) (agent.Entity, nothing, error) {
			return done(e, a.GroupRefuse(ctx, e.Group(), p.Request))
		}),
	define("GSEND", onGroup, "GMID", "send a message to all members; GSENT, GRCVD or GMERR follow per member",
		func(ctx context.Context, a API, e agent.Entity, p sendParams) (agent.Entity, groupMessageAnswer, error) {
			id, err := a.GroupSend(ctx, e.Group(), agent.Outgoing{Body: p.Body, Notify: p.Notify, Key: p.Key})
			return e, groupMessageAnswer{id}, err
		}),
	define("GLEAVE", onGroup, "OK", "leave the group",
		func(ctx context.Context, a API, e agent.Entity, _ nothing) (agent.Entity, nothing, error) {
			return done(e, a.GroupLeave(ctx, e.Group()))
		}),
	define("GMDEL", onGroup, "OK", "remove members; hide asks to hide what they wrote; contest undoes one's own removal by somebody of lower rank",
		func(ctx context.Context, a API, e agent.Entity, p groupRemoveParams) (agent.Entity, nothing, error) {
			o := agent.RemoveOptions{Hide: p.Hide, Contest: p.Contest}
			for _, m := range p.Members {
				o.Members = append(o.Members, agent.MemberID(m))
			}
			return done(e, a.GroupRemove(ctx, e.Group(), o))
		}),
	define("GDEL", onGroup, "OK", "close the group for everybody",
		func(ctx context.Context, a API, e agent.Entity, _ nothing) (agent.Entity, nothing, error) {
			return done(e, a.GroupDelete(ctx, e.Group()))
		}),
	define("GROLE", onGroup, "OK", "give a member a role: observer, member, moderator, admin, owner",
		func(ctx context.Context, a API, e agent.Entity, p groupRoleParams) (agent.Entity, nothing, error) {
			return done(e, a.GroupRole(ctx, e.Group(), agent.MemberID(p.Member), p.Role))
		}),
	define("GPOLICY", onGroup, "OK", "replace the policy",
		func(ctx context.Context, a API, e agent.Entity, p groupPolicyParams) (agent.Entity, nothing, error) {
			return done(e, a.GroupPolicy(ctx, e.Group(), p.Policy))
		}),
	define("GSET", onGroup, "OK", "give a setting a value, an empty one unsets it",
		func(ctx context.Context, a API, e agent.Entity, p groupSetParams) (agent.Entity, nothing, error) {
			return done(e, a.GroupSet(ctx, e.Group(), p.Name, p.Value))
		}),
	define("GREPAIR", onGroup, "OK", "make a new connection with a member, at most once an hour",
		func(ctx context.Context, a API, e agent.Entity, p memberParams) (agent.Entity, nothing, error) {
			return done(e, a.GroupRepair(ctx, e.Group(), agent.MemberID(p.Member)))
		}),
	define("GRECOVER", onGroup, "OK", "say that the store was restored from a backup: nothing is written until the others have told what is missing",
		func(ctx context.Context, a API, e agent.Entity, _ nothing) (agent.Entity, nothing, error) {
			return done(e, a.GroupRecover(ctx, e.Group()))
		}),
	define("GLS", onAgent, "GROUPS", "all groups, oldest first, without members",
		func(ctx context.Context, a API, _ agent.Entity, _ nothing) (agent.Entity, groupsAnswer, error) {
			all, err := a.Groups(ctx)
			return "", groupsAnswer{all}, err
		}),
	define("GLS", onGroup, "GROUP", "a group with its members, the state of their connections and the reasons",
		func(ctx context.Context, a API, e agent.Entity, _ nothing) (agent.Entity, groupAnswer, error) {
			g, err := a.Group(ctx, e.Group())
			return e, groupAnswer{g}, err
		}),
	define("GDELIVERY", onGroup, "GDELIVERY", "what became of an own message for every member",
		func(ctx context.Context, a API, e agent.Entity, p numberParams) (agent.Entity, deliveryAnswer, error) {
			d, err := a.GroupDelivery(ctx, e.Group(), p.Number)
			return e, deliveryAnswer{d}, err
		}),
	define("GHIST", onGroup, "GHIST", "messages with positions below before (0: from the newest), newest first, at most limit and 1,000; a page that ends with position 0 is the last",
		func(ctx context.Context, a API, e agent.Entity, p historyParams) (agent.Entity, historyAnswer, error) {
			m, err := a.GroupHistory(ctx, e.Group(), p.Before, p.Limit)
			return e, historyAnswer{m}, err
		}),
	define("GFORGET", onGroup, "OK", "remove everything stored about a group that is gone",
		func(ctx context.Context, a API, e agent.Entity, _ nothing) (agent.Entity, nothing, error) {
			return done(e, a.GroupForget(ctx, e.Group()))
		}),
}

var directCommands = []command{
	define("GDIRECT", onGroup, "GDASKED", "ask a member for a direct connection; GDCON or GDEND follow. Text is shown to the member, info goes to it when connected",
		func(ctx context.Context, a API, e agent.Entity, p directParams) (agent.Entity, requestParams, error) {
			r, err := a.GroupDirect(ctx, e.Group(), agent.MemberID(p.Member), agent.DirectOptions{Text: p.Options.Text, Info: p.Options.Info})
			return e, requestParams{r}, err
		}),
	define("GACPT", onGroup, "OK", "accept a GDINV event; GDCON follows",
		func(ctx context.Context, a API, e agent.Entity, p acceptParams) (agent.Entity, nothing, error) {
			return done(e, a.GroupDirectAccept(ctx, e.Group(), p.Request, p.Info))
		}),
	define("GDREJ", onGroup, "OK", "refuse a GDINV event; the member is told",
		func(ctx context.Context, a API, e agent.Entity, p requestParams) (agent.Entity, nothing, error) {
			return done(e, a.GroupDirectReject(ctx, e.Group(), p.Request))
		}),
	define("GDWITHDRAW", onGroup, "OK", "take back the own request to a member",
		func(ctx context.Context, a API, e agent.Entity, p memberParams) (agent.Entity, nothing, error) {
			return done(e, a.GroupDirectWithdraw(ctx, e.Group(), agent.MemberID(p.Member)))
		}),
	define("GDSEND", onGroup, "OK", "send a message to a member over the direct connection, as soon as it works",
		func(ctx context.Context, a API, e agent.Entity, p directSendParams) (agent.Entity, nothing, error) {
			return done(e, a.GroupDirectSend(ctx, e.Group(), agent.MemberID(p.Member), p.Body))
		}),
	define("GDRULE", onGroup, "OK", "the standing answer to a member's requests: ask, accept, refuse, block",
		func(ctx context.Context, a API, e agent.Entity, p directRuleParams) (agent.Entity, nothing, error) {
			return done(e, a.GroupDirectRule(ctx, e.Group(), agent.MemberID(p.Member), agent.DirectRule(p.Rule), p.Info))
		}),
}
