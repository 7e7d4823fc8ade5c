package chat

import (
	"cmp"
	"fmt"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat/store"
)

// reaction is what the history and the person get to know of events of one type.
type reaction struct {
	event  string // its type
	record func(*App, *store.Batch, agent.Event) ([]Update, error)
	silent string // why nothing is recorded and shown, where nothing is
}

// on records events of a type.
func on[E agent.EventData](record func(a *App, b *store.Batch, e agent.Event, data E) ([]Update, error)) reaction {
	var none E
	return reaction{event: none.Type(), record: func(a *App, b *store.Batch, e agent.Event) ([]Update, error) {
		data, ok := e.Data.(E)
		if !ok {
			return nil, fmt.Errorf("event %s with the data of another", none.Type())
		}
		return record(a, b, e, data)
	}}
}

// silently takes note of a type of events without showing them.
func silently[E agent.EventData](why string) reaction {
	var none E
	return reaction{event: none.Type(), silent: why}
}

// reactions has every type of event of package agent once. Notices are kept in the history; remarks are shown and
// forgotten, because they are about the moment.
var reactions = byEvent(
	silently[*agent.LinkReady]("the call that made the link has returned it"),
	on((*App).confirmed),
	silently[*agent.Request]("the app has no contact addresses; requests for groups come as GREQ"),
	silently[*agent.Joined]("CON follows, or ERR"),
	on(func(a *App, b *store.Batch, e agent.Event, data *agent.PeerInfo) ([]Update, error) {
		return a.contact(b, e, data.Info)
	}),
	on(func(a *App, b *store.Batch, e agent.Event, _ *agent.Connected) ([]Update, error) {
		return a.notice(b, e, "connected")
	}),
	on((*App).contactMessage),
	silently[*agent.Sent]("what is not delivered is told"),
	on(func(a *App, b *store.Batch, e agent.Event, data *agent.SendFailed) ([]Update, error) {
		return a.notice(b, e, "a message was not delivered: "+inWords(codeWords, data.Code))
	}),
	on(func(a *App, b *store.Batch, e agent.Event, data *agent.SendDelayed) ([]Update, error) {
		return a.remark(b, e, "a message waits: "+inWords(codeWords, data.Code))
	}),
	silently[*agent.Received]("what is not delivered is told"),
	on((*App).resynced),
	on(func(a *App, b *store.Batch, e agent.Event, data *agent.SwitchChanged) ([]Update, error) {
		if data.Phase != "completed" && data.Phase != "aborted" {
			return nil, nil
		}
		whose := map[agent.SwitchDirection]string{agent.SwitchOwn: "your", agent.SwitchPeer: "the contact's"}[data.Direction]
		return a.remark(b, e, "moving "+cmp.Or(whose, "a")+" queue: "+data.Phase)
	}),
	on(func(a *App, b *store.Batch, e agent.Event, _ *agent.Continued) ([]Update, error) {
		return a.remark(b, e, "reads again")
	}),
	on(func(_ *App, _ *store.Batch, _ agent.Event, data *agent.RelayUp) ([]Update, error) {
		return []Update{{Remark: fmt.Sprintf("relay reached: messages over %s come in", count(len(data.Connections), "connection"))}}, nil
	}),
	on(func(_ *App, _ *store.Batch, _ agent.Event, data *agent.RelayDown) ([]Update, error) {
		return []Update{{Remark: fmt.Sprintf("relay not reached: %s wait, the agent goes on trying", count(len(data.Connections), "connection"))}}, nil
	}),
	on(func(a *App, b *store.Batch, e agent.Event, _ *agent.Ended) ([]Update, error) {
		return a.notice(b, e, "another program reads this connection now")
	}),
	on((*App).failed),
	on(func(a *App, b *store.Batch, e agent.Event, _ *agent.Deleted) ([]Update, error) {
		return a.ended(b, e, "connection deleted")
	}),

	on((*App).invited),
	on((*App).askedFor),
	on(func(a *App, b *store.Batch, e agent.Event, data *agent.MemberConnected) ([]Update, error) {
		return a.remark(b, e, "connected with "+a.member(b, e, data.Member))
	}),
	on(func(a *App, b *store.Batch, e agent.Event, data *agent.Introduced) ([]Update, error) {
		return a.remark(b, e, "introduced to everybody"+waiting(data.Waiting))
	}),
	on(func(a *App, b *store.Batch, e agent.Event, data *agent.AllConnected) ([]Update, error) {
		return a.remark(b, e, a.member(b, e, data.Member)+" has met everybody"+waiting(data.Waiting))
	}),
	on((*App).groupMessage),
	on((*App).groupMessageConfirmed),
	on((*App).groupMessageRefuted),
	on((*App).groupOwnMessage),
	silently[*agent.GroupSent]("GroupDelivery tells it for each message"),
	silently[*agent.GroupReceived]("GroupDelivery tells it for each message"),
	on((*App).groupSendFailed),
	on(func(a *App, b *store.Batch, e agent.Event, data *agent.MemberLeft) ([]Update, error) {
		return a.notice(b, e, a.member(b, e, data.Member)+" left")
	}),
	on((*App).memberRemoved),
	on((*App).removed),
	on(func(a *App, b *store.Batch, e agent.Event, _ *agent.GroupEmpty) ([]Update, error) {
		return a.remark(b, e, "nobody else is here")
	}),
	on(func(a *App, b *store.Batch, e agent.Event, data *agent.GroupDeleted) ([]Update, error) {
		return a.ended(b, e, a.member(b, e, data.By)+" closed the group")
	}),
	on((*App).changed),
	on(func(a *App, b *store.Batch, e agent.Event, data *agent.GroupWarning) ([]Update, error) {
		return a.notice(b, e, "warning: "+a.warning(b, e, data))
	}),
	on(func(a *App, b *store.Batch, e agent.Event, _ *agent.GroupSynced) ([]Update, error) {
		return a.remark(b, e, "nothing is missing")
	}),
	on(func(_ *App, _ *store.Batch, _ agent.Event, data *agent.DirectRequest) ([]Update, error) {
		return []Update{{Request: data}}, nil
	}),
	on((*App).direct),
	on(func(a *App, b *store.Batch, e agent.Event, data *agent.DirectEnded) ([]Update, error) {
		return a.notice(b, e, fmt.Sprintf("no direct connection with %s: %s", a.member(b, e, data.Member), Printable(data.Reason)))
	}),
)

func byEvent(all ...reaction) map[string]reaction {
	m := make(map[string]reaction, len(all))
	for _, r := range all {
		if _, twice := m[r.event]; twice {
			panic("two reactions to " + r.event)
		}
		m[r.event] = r
	}
	return m
}

// record writes what an event means into the history and returns what to tell about it.
func (a *App) record(b *store.Batch, e agent.Event) ([]Update, error) {
	if l, ok, err := deviceLink(b, e); err != nil {
		return nil, err
	} else if ok {
		return a.recordDevice(b, e, l)
	}
	r, ok := reactions[e.Data.Type()]
	if !ok || r.record == nil {
		return nil, nil
	}
	return r.record(a, b, e)
}

// changes has every kind of GSTATE once.
var changes = map[agent.Change]func(a *App, b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error){
	agent.ChangeAsking: saying("asked to be let in; somebody of the group has to answer"),
	agent.ChangeAskRefused: func(a *App, b *store.Batch, e agent.Event, _ *agent.GroupChanged) ([]Update, error) {
		return a.ended(b, e, "you were not let in")
	},
	agent.ChangeAskExpired: func(a *App, b *store.Batch, e agent.Event, _ *agent.GroupChanged) ([]Update, error) {
		return a.ended(b, e, "nobody has let you in for seven days; ask again if you like")
	},
	agent.ChangeAskFailed: func(a *App, b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error) {
		return a.ended(b, e, "asking came to nothing: "+inWords(reasonWords, data.Reason))
	},
	agent.ChangeKnocking: func(a *App, b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error) {
		return a.remark(b, e, "no way to the others: asks "+a.member(b, e, data.Member)+" at its address")
	},
	agent.ChangeJoined: func(a *App, b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error) {
		return a.notice(b, e, fmt.Sprintf("joined, %s", count(data.Members, "member")))
	},
	agent.ChangeLeft: func(a *App, b *store.Batch, e agent.Event, _ *agent.GroupChanged) ([]Update, error) {
		return a.ended(b, e, "you left")
	},
	agent.ChangeRestored: (*App).restored,
	agent.ChangeGone: func(a *App, b *store.Batch, e agent.Event, _ *agent.GroupChanged) ([]Update, error) {
		return a.gone(b, e)
	},
	agent.ChangeInvitationAccepted: func(a *App, b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error) {
		if err := a.accepted(b, data); err != nil {
			return nil, err
		}
		return a.remark(b, e, "an invitation was accepted")
	},
	agent.ChangeInvitationRefused: saying("an invitation was refused"),
	agent.ChangeInvitationExpired: saying("an invitation ended after seven days without an answer"),
	agent.ChangeInvitationVoid:    saying("an invitation was accepted, but you may not add anybody any more"),
	agent.ChangeMemberAdded: func(a *App, b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error) {
		return a.meet(b, e, data.Member, "", string(data.By))
	},
	agent.ChangeMemberRestored: (*App).memberRestored,
	agent.ChangeMemberCard: func(a *App, b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error) {
		p, err := ReadCard(data.Value)
		if err != nil {
			return nil, nil // a member without a readable card goes by its key
		}
		return a.meet(b, e, data.Member, p.DisplayName, "")
	},
	agent.ChangeMemberWaiting: func(a *App, b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error) {
		return a.remark(b, e, fmt.Sprintf("not connected with %s: %s", a.member(b, e, data.Member), inWords(reasonWords, data.Reason)))
	},
	agent.ChangeMemberPaused: func(a *App, b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error) {
		return a.remark(b, e, fmt.Sprintf("sending to %s rests: %s; it gets what it missed when it is back",
			a.member(b, e, data.Member), inWords(reasonWords, data.Reason)))
	},
	agent.ChangeMemberResumed: func(a *App, b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error) {
		return a.remark(b, e, a.member(b, e, data.Member)+" is back")
	},
	agent.ChangeRecovering: func(a *App, b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error) {
		return a.notice(b, e, "nothing can be written until the others have said what is missing here: "+inWords(recoveryWords, data.Reason))
	},
	agent.ChangeRecovered: saying("writing goes on"),
	agent.ChangeRole: func(a *App, b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error) {
		return a.notice(b, e, fmt.Sprintf("%s: now %s", a.member(b, e, data.Member), data.Role))
	},
	agent.ChangePolicy:  saying("who may do what has changed"),
	agent.ChangeSetting: (*App).setting,
}

func saying(text string) func(*App, *store.Batch, agent.Event, *agent.GroupChanged) ([]Update, error) {
	return func(a *App, b *store.Batch, e agent.Event, _ *agent.GroupChanged) ([]Update, error) {
		return a.notice(b, e, text)
	}
}

func (a *App) changed(b *store.Batch, e agent.Event, data *agent.GroupChanged) ([]Update, error) {
	if change, ok := changes[data.Change]; ok {
		return change(a, b, e, data)
	}
	return nil, nil
}

func (a *App) confirmed(b *store.Batch, e agent.Event, data *agent.Confirmation) ([]Update, error) {
	return a.contact(b, e, data.Info)
}

func (a *App) resynced(b *store.Batch, e agent.Event, data *agent.ResyncChanged) ([]Update, error) {
	switch data.State {
	case "ok":
		return a.remark(b, e, "encryption fits again")
	case "allowed":
		return a.notice(b, e, "a message could not be opened")
	case "required":
		return a.notice(b, e, "messages cannot be opened, as after a restored backup: new keys are made")
	}
	return nil, nil // steps in between
}

func (a *App) failed(b *store.Batch, e agent.Event, data *agent.Failed) ([]Update, error) {
	text := inWords(codeWords, data.Code)
	switch {
	case e.Entity == "":
		return []Update{{Remark: text}}, nil
	case e.Group() != "":
		return a.remark(b, e, "the agent goes on trying: "+text)
	case data.Fault == "over":
		return a.ended(b, e, "this connection cannot be used any more: "+text)
	}
	return a.remark(b, e, text)
}
