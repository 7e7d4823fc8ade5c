package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
)

// Event is an entry of the agent's event log. In JSON it is
// {"seq":7,"time":"…","entity":"C:…","type":"MSG","data":{…}}.
type Event struct {
	// Seq numbers the log; numbers ascend, with gaps, and are never used again.
	Seq uint64
	// Time is when the agent recorded the event.
	Time time.Time
	// Entity is the connection or group that the event is about; empty for events about the whole agent.
	Entity Entity
	// Data is a pointer to one of the event types of this package.
	Data EventData
}

// EventData is implemented by pointers to the event types.
type EventData interface {
	// Type is the event's name in the command protocol, for example "MSG".
	Type() string
}

// Connection returns the connection the event is about, or nothing.
func (e Event) Connection() ConnectionID { return e.Entity.Connection() }

// Group returns the group the event is about, or nothing.
func (e Event) Group() GroupID { return e.Entity.Group() }

// Events of connections (docs/protocol.md, "Events").
type (
	// LinkReady (INV): the connection or contact address is created and can be joined with the link.
	LinkReady struct {
		Link string `json:"link"`
	}
	// Confirmation (CONF): somebody joined the link of this connection. Answer with Allow, or delete the connection.
	Confirmation struct {
		Confirmation string `json:"confirmation"`
		Info         []byte `json:"info,omitempty"` // from the joiner
	}
	// Request (REQ): somebody asks for a connection at a contact address. Answer with Accept or Reject.
	Request struct {
		Request    string `json:"request"`
		Info       []byte `json:"info,omitempty"`
		Compatible bool   `json:"compatible"` // false: Accept would fail because of versions
	}
	// Joined (JOINED): the own confirmation or request is on the peer's relay; the rest depends on the peer. With
	// CanSend, messages may be sent before CON.
	Joined struct {
		CanSend bool `json:"canSend"`
	}
	// PeerInfo (INFO): the initiator's answer to a joined connection.
	PeerInfo struct {
		Info []byte `json:"info,omitempty"`
	}
	// Connected (CON): the connection works in both directions.
	Connected struct{}
	// Message (MSG): a message from the peer. The next one of this connection comes only after Ack.
	Message struct {
		ID        int64     `json:"id"`        // for Ack
		Integrity string    `json:"integrity"` // "OK", or "ERR …" when messages before it are missing, repeated or changed
		Received  time.Time `json:"received"`
		RelayTime time.Time `json:"relayTime"`          // when the relay took it
		Again     bool      `json:"again,omitempty"`    // told before and not acknowledged
		Sender    int64     `json:"senderId,omitempty"` // number given by the sender
		Body      []byte    `json:"body"`
	}
	// Sent (SENT): the peer's relay took the message.
	Sent struct {
		ID int64 `json:"id"`
	}
	// SendFailed (MERR): the message was given up.
	SendFailed struct {
		ID   int64  `json:"id"`
		Code string `json:"code"`
	}
	// SendDelayed (MWARN): the message could not be delivered yet; the agent goes on trying.
	SendDelayed struct {
		ID   int64  `json:"id"`
		Code string `json:"code"`
	}
	// Received (RCVD): the peer acknowledged messages with a receipt. To be acknowledged with Ack like a message.
	Received struct {
		ID       int64     `json:"id"` // for Ack
		Receipts []Receipt `json:"receipts"`
	}
	// Receipt is one message that a peer has received.
	Receipt struct {
		ID   int64  `json:"id"`   // as returned by Send
		Good bool   `json:"good"` // the peer has the content that was sent
		Info []byte `json:"info,omitempty"`
	}
	// ResyncChanged (RSYNC): whether the two ends' encryption still fits: ok; allowed (a message could not be opened) or
	// required (nothing will be opened), which ConnectionResync mends; started (keys for a new one are on their way) or
	// agreed (there is a new one, and nothing came with it yet). Sending is refused in the last three.
	ResyncChanged struct {
		State string `json:"state"`
		Code  string `json:"code,omitempty"`
	}
	// SwitchChanged (SWITCH): how far a switch to another queue is: of the own queue (rcv, started by ConnectionSwitch) or of
	// the peer's (snd). Phases are started, confirmed (who sends has given its keys), secured (the new queue takes
	// messages) and completed; or aborted. Code says why it was aborted or does not go on.
	SwitchChanged struct {
		Direction SwitchDirection `json:"direction"`
		Phase     string          `json:"phase"`
		Code      string          `json:"code,omitempty"`
		Detail    string          `json:"detail,omitempty"`
	}
	// Continued (QCONT): the peer emptied its full queue, and sending goes on.
	Continued struct{}
	// RelayUp (UP): messages of these connections come in again.
	RelayUp struct {
		Connections []ConnectionID `json:"connections"`
	}
	// RelayDown (DOWN): the relay of these connections' queues cannot be reached; the agent goes on trying.
	RelayDown struct {
		Connections []ConnectionID `json:"connections"`
	}
	// Ended (END): another program with the same queue took over; nothing comes in here any more.
	Ended struct{}
	// Failed (ERR): something went wrong; Fault says whose fault it is: "peer", "agent", or "over" when the connection
	// cannot be made or used any more. Of a group: a relay does not answer while its link is made or it is asked for; the
	// agent goes on trying.
	Failed struct {
		Code   string `json:"code"`
		Fault  string `json:"fault"`
		Detail string `json:"detail,omitempty"`
	}
	// Deleted (DEL_CONNS): the connection and its queues are gone.
	Deleted struct{}
)

// SwitchDirection says whose queue is switched.
type SwitchDirection string

// The directions.
const (
	SwitchOwn  SwitchDirection = "rcv" // the queue in which messages come in
	SwitchPeer SwitchDirection = "snd" // the peer's
)

// Events of groups (docs/groups.md, "Commands and events").
type (
	// GroupInvitation (GINV): a contact, or a member of a group that was forked, invites to a group. Answer with GroupJoin
	// or GroupReject. Entity is the contact, or the group that was forked.
	GroupInvitation struct {
		Invitation string    `json:"invitation"`
		Inviter    MemberID  `json:"inviter"`
		Members    int       `json:"members"` // as the inviter says
		Info       []byte    `json:"info,omitempty"`
		Expires    time.Time `json:"expires"`
		Group      GroupID   `json:"group,omitempty"`  // the group that was forked
		Member     MemberID  `json:"member,omitempty"` // who made the fork, by its key in that group
	}
	// GroupRequest (GREQ): somebody asks for the group at the address that GroupLink made. Answer with GroupAdd, giving
	// the request in the contact's place, or GroupRefuse. Card is what who asks says about itself.
	GroupRequest struct {
		Request string `json:"request"`
		Text    []byte `json:"text,omitempty"`
		Card    []byte `json:"card,omitempty"`
	}
	// MemberConnected (GCON): the connection with a member works.
	MemberConnected struct {
		Member MemberID `json:"member"`
	}
	// Introduced (GDONE): the inviter has introduced this member to everybody it could; Waiting members are not connected
	// yet.
	Introduced struct {
		Waiting int `json:"waiting"`
	}
	// AllConnected (GALL): the member invited here is connected to all others but Waiting.
	AllConnected struct {
		Member  MemberID `json:"member"`
		Waiting int      `json:"waiting"`
	}
	// GroupMessage (GMSG): a message of another member.
	GroupMessage struct {
		MessageRecord
		Replaces bool `json:"replaces,omitempty"` // a vouched copy told before had another content
	}
	// GroupMessageConfirmed (GMSGOK): a message that was vouched for is what its
	// author wrote.
	GroupMessageConfirmed struct {
		Message MessageID `json:"message"`
	}
	// GroupMessageRefuted (GMSGFALSE): a message that was vouched for is not what its
	// author wrote, as the author itself says. What it wrote follows as a GMSG that
	// replaces it, if it is for this member and anybody has it.
	GroupMessageRefuted struct {
		Message MessageID `json:"message"`
	}
	// GroupOwnMessage (GMSGOWN): a message of oneself that others had and the own store, restored from a backup, had not.
	GroupOwnMessage struct {
		MessageRecord
	}
	// GroupSent (GSENT): all own messages with numbers below UpTo are on their way to the member.
	GroupSent struct {
		Member MemberID `json:"member"`
		UpTo   uint64   `json:"upTo"`
	}
	// GroupReceived (GRCVD): the member has all own messages with numbers below UpTo, except Missing.
	GroupReceived struct {
		Member  MemberID      `json:"member"`
		UpTo    uint64        `json:"upTo"`
		Missing []NumberRange `json:"missing,omitempty"`
	}
	// GroupSendFailed (GMERR): own messages were given up for the member.
	GroupSendFailed struct {
		Member  MemberID    `json:"member"`
		Numbers NumberRange `json:"numbers"`
		Reason  string      `json:"reason"`
	}
	// MemberLeft (GLEFT): a member left.
	MemberLeft struct {
		Member MemberID `json:"member"`
	}
	// MemberRemoved (GMDELETED): By removed a member. Hide asks to hide what it wrote.
	MemberRemoved struct {
		Member MemberID `json:"member"`
		By     MemberID `json:"by"`
		Hide   bool     `json:"hide,omitempty"`
	}
	// Removed (GREMOVED): By removed oneself. Contestable: GroupRemove with Contest can undo it.
	Removed struct {
		By          MemberID `json:"by"`
		Contestable bool     `json:"contestable"`
	}
	// GroupEmpty (GEMPTY): nobody else is in the group.
	GroupEmpty struct{}
	// GroupDeleted (GDELETED): By closed the group for everybody.
	GroupDeleted struct {
		By MemberID `json:"by"`
	}
	// GroupChanged (GSTATE): something else about the group changed. Which fields are set depends on Change.
	GroupChanged struct {
		Change     Change   `json:"change"`
		Member     MemberID `json:"member,omitempty"`
		By         MemberID `json:"by,omitempty"`
		Role       string   `json:"role,omitempty"`
		Policy     *Policy  `json:"policy,omitempty"`
		Name       string   `json:"name,omitempty"`
		Value      []byte   `json:"value,omitempty"` // of a setting; the card of a member
		Reason     string   `json:"reason,omitempty"`
		Invitation string   `json:"invitation,omitempty"`
		Members    int      `json:"members,omitempty"`
	}
	// GroupWarning (GWARN): something a person should know.
	GroupWarning struct {
		Warning string   `json:"warning"` // equivocation, disputed, sweep, hello, upgrade, limit, card
		Member  MemberID `json:"member,omitempty"`
		Limit   string   `json:"limit,omitempty"` // which one was met
	}
	// GroupSynced (GSYNC): nothing is known to be missing any more.
	GroupSynced struct{}
)

// Events of direct connections on demand; the entity is the group.
type (
	// DirectRequest (GDINV): a member asks for a direct connection. Answer with GroupDirectAccept or GroupDirectReject.
	DirectRequest struct {
		Member  MemberID `json:"member"`
		Request string   `json:"request"`
		Text    []byte   `json:"text,omitempty"`
	}
	// DirectReady (GDCON): the direct connection with a member works, and is a contact from now on.
	DirectReady struct {
		Member     MemberID     `json:"member"`
		Connection ConnectionID `json:"connection"`
	}
	// DirectEnded (GDEND): the own request came to nothing.
	DirectEnded struct {
		Member  MemberID `json:"member"`
		Request string   `json:"request"`
		Reason  string   `json:"reason"` // refused, expired, gone, failed, withdrawn
	}
)

// Change says what a GroupChanged event is about.
type Change string

// The changes, with the fields that are set.
const (
	ChangeJoined             Change = "joined"              // oneself is a member now: Members
	ChangeAsking             Change = "asking"              // the group was asked for with a link
	ChangeAskRefused         Change = "asking refused"      // nothing comes of asking, and of this membership
	ChangeAskExpired         Change = "asking expired"      // the same: nobody has answered for seven days
	ChangeAskFailed          Change = "asking failed"       // the same: Reason: no address could be reached, or the door of who let us in was lost
	ChangeKnocking           Change = "knocking"            // Member: no way to others, asked for one at its address
	ChangeLeft               Change = "left"                // the own leave is written
	ChangeRestored           Change = "restored"            // membership or group is back after its end
	ChangeGone               Change = "gone"                // the grace is over, all connections are deleted
	ChangeInvitationAccepted Change = "invitation accepted" // Invitation, Member
	ChangeInvitationRefused  Change = "invitation refused"  // Invitation
	ChangeInvitationExpired  Change = "invitation expired"  // Invitation
	ChangeInvitationVoid     Change = "invitation void"     // Invitation, Member: accepted, but it may not be added any more
	ChangeMemberAdded        Change = "member added"        // Member, By, Role
	ChangeMemberRestored     Change = "member restored"     // Member
	ChangeMemberCard         Change = "member card"         // Member, Value
	ChangeMemberWaiting      Change = "member waiting"      // Member, Reason: its connection does not work
	ChangeMemberPaused       Change = "member paused"       // Member, Reason: sending to it rests
	ChangeMemberResumed      Change = "member resumed"      // Member
	ChangeRecovering         Change = "recovering"          // Reason: nothing is written until the others have told what is missing
	ChangeRecovered          Change = "recovered"           // writing goes on
	ChangeRole               Change = "role"                // Member, Role
	ChangePolicy             Change = "policy"              // Policy
	ChangeSetting            Change = "setting"             // Name, Value
)

// NumberRange is the message numbers From to To, both included.
type NumberRange struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// MessageID names a group message for all members.
type MessageID struct {
	Author MemberID `json:"author"`
	Number uint64   `json:"number"`
	Hash   []byte   `json:"hash"` // 32 bytes
}

// MessageRecord is a group message as it is kept.
type MessageRecord struct {
	Message  MessageID   `json:"message"`
	Parents  []MessageID `json:"parents,omitempty"` // newest messages of others that the author had seen
	Depth    uint64      `json:"depth"`             // 1 + the largest depth of what it answers to
	Time     time.Time   `json:"time"`              // when it arrived; when it was written, for own ones
	Position uint64      `json:"position"`          // order of arrival in this group, from 1
	Vouched  MemberID    `json:"vouched,omitempty"` // who gave the copy, while its author has not confirmed the content
	Notify   bool        `json:"notify,omitempty"`
	Body     []byte      `json:"body"`
}

// eventTypes maps names to types; its entries are the event types above, each once.
var eventTypes = func() map[string]reflect.Type {
	types := map[string]reflect.Type{}
	for _, e := range []EventData{
		&LinkReady{}, &Confirmation{}, &Request{}, &Joined{}, &PeerInfo{}, &Connected{}, &Message{}, &Sent{}, &SendFailed{},
		&SendDelayed{}, &Received{}, &ResyncChanged{}, &SwitchChanged{}, &Continued{}, &RelayUp{}, &RelayDown{}, &Ended{}, &Failed{}, &Deleted{},
		&GroupInvitation{}, &GroupRequest{}, &MemberConnected{}, &Introduced{}, &AllConnected{}, &GroupMessage{}, &GroupMessageConfirmed{}, &GroupMessageRefuted{},
		&GroupOwnMessage{},
		&GroupSent{}, &GroupReceived{}, &GroupSendFailed{}, &MemberLeft{}, &MemberRemoved{}, &Removed{}, &GroupEmpty{},
		&GroupDeleted{}, &GroupChanged{}, &GroupWarning{}, &GroupSynced{},
		&DirectRequest{}, &DirectReady{}, &DirectEnded{},
	} {
		types[e.Type()] = reflect.TypeOf(e).Elem()
	}
	return types
}()

// EventTypes returns a zero value of every event type by its name, for schemas and documentation.
func EventTypes() map[string]EventData {
	all := make(map[string]EventData, len(eventTypes))
	for name, t := range eventTypes {
		all[name] = reflect.New(t).Interface().(EventData)
	}
	return all
}

type eventJSON struct {
	Seq    uint64          `json:"seq,omitempty"`
	Time   time.Time       `json:"time"`
	Entity Entity          `json:"entity,omitempty"`
	Type   string          `json:"type"`
	Data   json.RawMessage `json:"data"`
}

// MarshalJSON implements json.Marshaler.
func (e Event) MarshalJSON() ([]byte, error) {
	if e.Data == nil {
		return nil, errors.New("event without data")
	}
	data, err := json.Marshal(e.Data)
	if err != nil {
		return nil, err
	}
	return json.Marshal(eventJSON{e.Seq, e.Time, e.Entity, e.Data.Type(), data})
}

// UnmarshalJSON implements json.Unmarshaler. An unknown type is an error.
func (e *Event) UnmarshalJSON(b []byte) error {
	var j eventJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	t, ok := eventTypes[j.Type]
	if !ok {
		return fmt.Errorf("unknown event type %q", j.Type)
	}
	data := reflect.New(t).Interface().(EventData)
	if err := json.Unmarshal(j.Data, data); err != nil {
		return err
	}
	*e = Event{Seq: j.Seq, Time: j.Time, Entity: j.Entity, Data: data}
	return nil
}
