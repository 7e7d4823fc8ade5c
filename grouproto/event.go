package grouproto

import "time"

// Event is what a client gets to know (docs/groups.md, "Commands and events"); the name used by the command protocol is
// given at each.
type Event interface{ event() }

type (
	// InvitationAnswered tells the inviter what became of an invitation: it was accepted (Member is the new member's
	// key), refused, or it expired.
	InvitationAnswered struct {
		Token   Token
		Contact string
		Answer  Answer
		Member  Key
	}
	// Joined tells the invited side that it is a member now: log and own add are here (start of the join of others).
	Joined struct{ Members int }
	// MemberAdded says that a member is present who was not before; By wrote the operation. GSTATE.
	MemberAdded struct {
		Member, By Key
		Role       Role
	}
	// MemberCard carries the opaque card of a member, checked against the hash in its add. The creator's card has no
	// hash in the log.
	MemberCard struct {
		Member Key
		Card   []byte
	}
	// PairConnected says that the connection with a member works. GCON.
	PairConnected struct{ Member Key }
	// PairWaiting says why a pair that should be connected is not. GSTATE.
	PairWaiting struct {
		Member Key
		Reason Reason
	}
	// OffersForwarded says that the inviter passed on every offer it could. GDONE.
	OffersForwarded struct{ Waiting int }
	// MemberConnected tells the inviter that the new member reported about every other member; Waiting of them are not
	// connected yet. GALL when Waiting is 0.
	MemberConnected struct {
		Member  Key
		Waiting int
	}
	// MessageReceived is one message of another member, told once. GMSG.
	MessageReceived struct{ Message StoredMessage }
	// MessageConfirmed says that a message that was vouched for is what its author wrote.
	MessageConfirmed struct{ ID MessageID }
	// MessageRefuted says that a message that was vouched for is not what its author wrote, by the author's own word. What
	// it wrote follows in MessageReplaced, if it is for this member and anybody has it. GMSGFALSE.
	MessageRefuted struct{ ID MessageID }
	// MessageReplaced says that a message that was vouched for is not what its author wrote; Message is. GMSG.
	MessageReplaced struct{ Message StoredMessage }
	// MessageSent says that all own messages up to UpTo, excluding it, are on their way to Member. GSENT.
	MessageSent struct {
		Member Key
		UpTo   uint64
	}
	// MessageDelivered says that Member has all own messages below UpTo except Missing. GRCVD.
	MessageDelivered struct {
		Member  Key
		UpTo    uint64
		Missing []Range
	}
	// MessageFailed says that own messages were given up for Member. GMERR.
	MessageFailed struct {
		Member Key
		Range  Range
		Reason Reason
	}
	// MemberLeft, GLEFT.
	MemberLeft struct{ Member Key }
	// MemberRemoved, GMDELETED. Hide asks to hide what the member wrote.
	MemberRemoved struct {
		Member, By Key
		Hide       bool
	}
	// Removed says that the own membership ended, GREMOVED. Contestable: Remove with Contest could undo it.
	Removed struct {
		By          Key
		Contestable bool
	}
	// Restored says that the own membership, or the group, is back after it had ended. GSTATE.
	Restored struct{}
	// MemberRestored says that a member is back whose removal has lost its effect. GSTATE.
	MemberRestored struct{ Member Key }
	// Left says that the own leave is written and on its way.
	Left struct{}
	// Empty says that nobody else is present. GEMPTY.
	Empty struct{}
	// Closed says that the group is closed. GDELETED.
	Closed struct{ By Key }
	// Gone says that the grace is over and all connections are deleted; what is stored stays readable.
	Gone struct{}
	// RoleChanged, GSTATE.
	RoleChanged struct {
		Member Key
		Role   Role
	}
	// PolicyChanged, GSTATE.
	PolicyChanged struct{ Policy Policy }
	// SettingChanged, GSTATE.
	SettingChanged struct {
		Name  string
		Value []byte
	}
	// MemberPaused says that sending to a member rests because its queue is full (QUOTA) or it has been silent for
	// three weeks (inactive). GSTATE.
	MemberPaused struct {
		Member Key
		Reason Reason
	}
	// MemberResumed says that sending to a member goes on. GSTATE.
	MemberResumed struct{ Member Key }
	// Recovering says that this member has noticed, or was told, that its records are older than what it has said since:
	// commands that write are refused with ErrRecovering until Recovered. GSTATE.
	Recovering struct{ Why Recovery }
	// Recovered says that writing goes on, as a new run of numbers. GSTATE.
	Recovered struct{}
	// OwnMessage is a message of this member that others had and its own records had not, told once. GMSGOWN.
	OwnMessage struct{ Message StoredMessage }
	// CaughtUp says that nothing is known to be missing after something was. GSYNC.
	CaughtUp struct{}
	// DirectFrame is a frame of package directconn from a member that is present and connected. Permitted tells whether
	// the policy grants it the permission `direct`. GDINV.
	DirectFrame struct {
		From      Key
		Tag       Tag
		Payload   []byte
		Permitted bool
	}
	// JoinRequested says that somebody asks for the group at the own address, and the join rule leaves it to the client:
	// Admit or RefuseRequest. Card is what it says about itself. GREQ.
	JoinRequested struct {
		Request    string
		Text, Card []byte
	}
	// Asking says that the group has been asked for. GSTATE.
	Asking struct{}
	// AskEnded says that nothing comes of asking: it was refused, it expired, or no address could be reached. GSTATE.
	AskEnded struct{ Reason Reason }
	// Knocking says that no member passes offers on and the group is asked for a way in at the address of Member. GSTATE.
	Knocking struct{ Member Key }
	// Letter is a frame of another group (G_INV, G_ACC, G_REJ) that a member sent over the pair connection. It counts
	// like one from a contact.
	Letter struct {
		From  Key
		Frame []byte
	}
	// Warned is something a person should know. GWARN.
	Warned struct {
		Warning Warning
		Member  Key   // who it is about; zero: nobody
		Limit   Limit // of WarnLimit
	}
)

// StoredMessage is a message as it is kept.
type StoredMessage struct {
	ID       MessageID
	Prev     [32]byte    // hash of the author's message before; zero at the start of a run
	Parents  []MessageID // newest messages of others that the author had seen
	Depth    uint64      // causal depth: 1 + the largest depth of what it builds on, as far as known here
	Flags    uint8       // FlagNotify
	Body     []byte
	Received time.Time // or when it was written, for own ones
	Position uint64    // order of arrival in this group; own messages count
	Vouched  bool      // a copy whose content its author has not confirmed yet
	Via      Key       // who gave the copy; the author if it came from there
}

// Answer is what became of an invitation.
type Answer uint8

// Answers.
const (
	Accepted Answer = iota + 1
	Refused
	Expired
	NotAdded // accepted, but adding the member is not permitted any more
)

// Warning is the subject of a Warned event.
type Warning uint8

// Warnings (docs/groups.md, "Commands and events").
const (
	WarnEquivocation Warning = iota + 1 // one author wrote two operations side by side, or two contents for a number
	WarnDisputed                        // somebody gave a copy that differs from what is held
	WarnSweep                           // one author removed many members within an hour
	WarnHello                           // a hello was wrong: signature, keys, group, side, attempt or versions
	WarnUpgrade                         // the group's policy asks for operations this version does not know
	WarnLimit                           // a limit of docs/groups.md, "Limits" cut something off
	WarnCard                            // a card does not match the hash in the member's add
)

func (InvitationAnswered) event() {}
func (Joined) event()             {}
func (MemberAdded) event()        {}
func (MemberCard) event()         {}
func (PairConnected) event()      {}
func (PairWaiting) event()        {}
func (OffersForwarded) event()    {}
func (MemberConnected) event()    {}
func (MessageReceived) event()    {}
func (MessageConfirmed) event()   {}
func (MessageRefuted) event()     {}
func (MessageReplaced) event()    {}
func (MessageSent) event()        {}
func (MessageDelivered) event()   {}
func (MessageFailed) event()      {}
func (MemberLeft) event()         {}
func (MemberRemoved) event()      {}
func (Removed) event()            {}
func (Restored) event()           {}
func (MemberRestored) event()     {}
func (Left) event()               {}
func (Empty) event()              {}
func (Closed) event()             {}
func (Gone) event()               {}
func (RoleChanged) event()        {}
func (PolicyChanged) event()      {}
func (SettingChanged) event()     {}
func (MemberPaused) event()       {}
func (MemberResumed) event()      {}
func (Recovering) event()         {}
func (Recovered) event()          {}
func (OwnMessage) event()         {}
func (CaughtUp) event()           {}
func (DirectFrame) event()        {}
func (Letter) event()             {}
func (Warned) event()             {}
func (JoinRequested) event()      {}
func (Asking) event()             {}
func (AskEnded) event()           {}
func (Knocking) event()           {}
