package agent

import (
	"time"

	"github.com/coterie-im/coterie/directconn"
	"github.com/coterie-im/coterie/grouproto"
)

// groupNotice reports an event of a group to the client.
func (t *turn) groupNotice(g *groupEntry, event grouproto.Event) {
	if data := groupEvent(event); data != nil {
		t.report(g.id.Entity(), data)
	}
	switch ev := event.(type) {
	case grouproto.DirectFrame:
		t.directInput(directconn.Frame{
			Peer:      directPeer(g.id, ev.From),
			Self:      g.core.Self(),
			Kind:      directconn.Kind(ev.Tag),
			Payload:   ev.Payload,
			Permitted: ev.Permitted,
		})
	case grouproto.Letter:
		t.contactFrame(pairContact(g.id, ev.From), ev.Frame)
	case grouproto.MemberLeft:
		t.directInput(directconn.PeerGone{Peer: directPeer(g.id, ev.Member)})
	case grouproto.MemberRemoved:
		t.directInput(directconn.PeerGone{Peer: directPeer(g.id, ev.Member)})
	}
}

// groupEvent translates an event; nil if it is not for clients.
func groupEvent(event grouproto.Event) EventData {
	switch ev := event.(type) {
	case grouproto.InvitationAnswered:
		change := map[grouproto.Answer]Change{
			grouproto.Accepted: ChangeInvitationAccepted,
			grouproto.Refused:  ChangeInvitationRefused,
			grouproto.Expired:  ChangeInvitationExpired,
			grouproto.NotAdded: ChangeInvitationVoid,
		}[ev.Answer]
		return &GroupChanged{Change: change, Invitation: ev.Token.Text(), Member: memberID(ev.Member)}
	case grouproto.JoinRequested:
		return &GroupRequest{Request: ev.Request, Text: ev.Text, Card: ev.Card}
	case grouproto.Asking:
		return &GroupChanged{Change: ChangeAsking}
	case grouproto.AskEnded:
		return askEnded(ev.Reason)
	case grouproto.Knocking:
		return &GroupChanged{Change: ChangeKnocking, Member: memberID(ev.Member)}
	case grouproto.Joined:
		return &GroupChanged{Change: ChangeJoined, Members: ev.Members}
	case grouproto.Left:
		return &GroupChanged{Change: ChangeLeft}
	case grouproto.Restored:
		return &GroupChanged{Change: ChangeRestored}
	case grouproto.Gone:
		return &GroupChanged{Change: ChangeGone}
	case grouproto.MemberAdded:
		return &GroupChanged{Change: ChangeMemberAdded, Member: memberID(ev.Member), By: memberID(ev.By), Role: ev.Role.String()}
	case grouproto.MemberRestored:
		return &GroupChanged{Change: ChangeMemberRestored, Member: memberID(ev.Member)}
	case grouproto.MemberCard:
		return &GroupChanged{Change: ChangeMemberCard, Member: memberID(ev.Member), Value: ev.Card}
	case grouproto.PairWaiting:
		return &GroupChanged{Change: ChangeMemberWaiting, Member: memberID(ev.Member), Reason: ev.Reason.String()}
	case grouproto.MemberPaused:
		return &GroupChanged{Change: ChangeMemberPaused, Member: memberID(ev.Member), Reason: ev.Reason.String()}
	case grouproto.MemberResumed:
		return &GroupChanged{Change: ChangeMemberResumed, Member: memberID(ev.Member)}
	case grouproto.RoleChanged:
		return &GroupChanged{Change: ChangeRole, Member: memberID(ev.Member), Role: ev.Role.String()}
	case grouproto.PolicyChanged:
		p := policyOf(ev.Policy)
		return &GroupChanged{Change: ChangePolicy, Policy: &p}
	case grouproto.SettingChanged:
		return &GroupChanged{Change: ChangeSetting, Name: ev.Name, Value: ev.Value}
	case grouproto.PairConnected:
		return &MemberConnected{Member: memberID(ev.Member)}
	case grouproto.OffersForwarded:
		return &Introduced{Waiting: ev.Waiting}
	case grouproto.MemberConnected:
		return &AllConnected{Member: memberID(ev.Member), Waiting: ev.Waiting}
	case grouproto.MessageReceived:
		return &GroupMessage{MessageRecord: recordOf(ev.Message)}
	case grouproto.MessageReplaced:
		return &GroupMessage{MessageRecord: recordOf(ev.Message), Replaces: true}
	case grouproto.OwnMessage:
		return &GroupOwnMessage{MessageRecord: recordOf(ev.Message)}
	case grouproto.Recovering:
		return &GroupChanged{Change: ChangeRecovering, Reason: ev.Why.String()}
	case grouproto.Recovered:
		return &GroupChanged{Change: ChangeRecovered}
	case grouproto.MessageConfirmed:
		return &GroupMessageConfirmed{Message: messageID(ev.ID)}
	case grouproto.MessageRefuted:
		return &GroupMessageRefuted{Message: messageID(ev.ID)}
	case grouproto.MessageSent:
		return &GroupSent{Member: memberID(ev.Member), UpTo: ev.UpTo}
	case grouproto.MessageDelivered:
		return &GroupReceived{Member: memberID(ev.Member), UpTo: ev.UpTo, Missing: rangesOf(ev.Missing)}
	case grouproto.MessageFailed:
		return &GroupSendFailed{Member: memberID(ev.Member), Numbers: NumberRange(ev.Range), Reason: ev.Reason.String()}
	case grouproto.MemberLeft:
		return &MemberLeft{Member: memberID(ev.Member)}
	case grouproto.MemberRemoved:
		return &MemberRemoved{Member: memberID(ev.Member), By: memberID(ev.By), Hide: ev.Hide}
	case grouproto.Removed:
		return &Removed{By: memberID(ev.By), Contestable: ev.Contestable}
	case grouproto.Empty:
		return &GroupEmpty{}
	case grouproto.Closed:
		return &GroupDeleted{By: memberID(ev.By)}
	case grouproto.CaughtUp:
		return &GroupSynced{}
	case grouproto.Warned:
		return &GroupWarning{Warning: warningNames[ev.Warning], Member: memberID(ev.Member), Limit: ev.Limit.String()}
	}
	return nil
}

func askEnded(why grouproto.Reason) *GroupChanged {
	switch why {
	case grouproto.ReasonRefused:
		return &GroupChanged{Change: ChangeAskRefused}
	case grouproto.ReasonExpired:
		return &GroupChanged{Change: ChangeAskExpired}
	default:
		return &GroupChanged{Change: ChangeAskFailed, Reason: why.String()}
	}
}

var warningNames = map[grouproto.Warning]string{
	grouproto.WarnEquivocation: "equivocation",
	grouproto.WarnDisputed:     "disputed",
	grouproto.WarnSweep:        "sweep",
	grouproto.WarnHello:        "hello",
	grouproto.WarnUpgrade:      "upgrade",
	grouproto.WarnLimit:        "limit",
	grouproto.WarnCard:         "card",
}

func messageID(id grouproto.MessageID) MessageID {
	return MessageID{Author: memberID(id.Author), Number: id.Number, Hash: id.Hash[:]}
}

func recordOf(m grouproto.StoredMessage) MessageRecord {
	r := MessageRecord{
		Message:  messageID(m.ID),
		Depth:    m.Depth,
		Time:     m.Received.UTC().Truncate(time.Millisecond),
		Position: m.Position + 1,
		Notify:   m.Flags&grouproto.FlagNotify != 0,
		Body:     m.Body,
	}
	for _, p := range m.Parents {
		r.Parents = append(r.Parents, messageID(p))
	}
	if m.Vouched {
		r.Vouched = memberID(m.Via)
	}
	return r
}

func rangesOf(ranges []grouproto.Range) (out []NumberRange) {
	for _, r := range ranges {
		out = append(out, NumberRange(r))
	}
	return out
}
