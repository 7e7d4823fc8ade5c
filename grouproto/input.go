package grouproto

// Input is one thing that happens to a group. Commands (docs/groups.md, "Commands and events") are answered by exactly
// one Done among the effects of their step.
type Input interface{ input() }

// Commands of the client.
type (
	// Invite asks a contact to become a member (GADD). Info is shown to it before it decides, at most MaxInfo bytes.
	Invite struct {
		Contact string
		Role    Role
		Info    []byte
	}
	// Uninvite withdraws an invitation that has not been accepted; a later acceptance is refused.
	Uninvite struct{ Token Token }
	// Send stores a message and fans it out (GSEND). Body is at most MaxBody bytes; Notify asks for a wake-up of
	// sleeping devices. Done.Message names it: number and hash are stored when the step's transaction is.
	Send struct {
		Body   []byte
		Notify bool
	}
	// Leave ends the own membership (GLEAVE), or the wait for it.
	Leave struct{}
	// Remove removes members (GMDEL). Hide asks clients to hide what they wrote. Contest removes those who removed us,
	// with a parent list from before: only possible for somebody of higher rank who has not written an operation since.
	Remove struct {
		Members       []Key
		Hide, Contest bool
	}
	// Close ends the group for everybody (GDEL).
	Close struct{}
	// SetRole gives a member another role (GROLE).
	SetRole struct {
		Member Key
		Role   Role
	}
	// SetPolicy replaces the policy (GPOLICY).
	SetPolicy struct{ Policy Policy }
	// Set gives a setting a value; an empty one unsets it (GSET).
	Set struct {
		Name  string
		Value []byte
	}
	// Recover says that the records of this group are older than what it has sent since, as after a restored backup
	// (GRECOVER); Why is RecoveryAsked, or RecoveryStore if the store has noticed. See Recovering.
	Recover struct{ Why Recovery }
	// Repair asks for a new connection with a member (GREPAIR), at most once an hour.
	Repair struct{ Member Key }
	// SendDirect sends a frame of package directconn to one member, once it is connected. Tag is TagDirectInv or
	// TagDirectRej.
	SendDirect struct {
		To      Key
		Tag     Tag
		Payload []byte
	}
	// Publish makes an address at which anybody who has it can ask for the group, and publishes it (GLINK). Done comes at
	// once, also if the address exists; Group.Address names it.
	Publish struct{}
	// Unpublish withdraws the address. Requests that wait are forgotten.
	Unpublish struct{}
	// Admit invites who asked with a request that waits (GADD).
	Admit struct {
		Request string
		Role    Role
		Info    []byte
	}
	// RefuseRequest refuses a request that waits (GREJECT); who asked is told.
	RefuseRequest struct{ Request string }
	// AskAt asks for the same group at another address, while the first has not led to an invitation.
	AskAt struct {
		Address        []byte
		Text, Password []byte
	}
)

// ResyncSide is which end of a ratchet that was made again this is.
type ResyncSide uint8

// The sides: the sending one encrypts the first message.
const (
	SideReceiving ResyncSide = iota + 1
	SideSending
)

// Events of the connections whose names the group chose.
type (
	// LinkReady answers NewConn: Link is the binary connection request exactly as made.
	LinkReady struct {
		Conn string
		Link []byte
	}
	// Conf is a confirmation that arrived at a connection made by NewConn: Binding as the connection layer computed it
	// from the confirmation, Info is what the peer sent along (its hello).
	Conf struct {
		Conn, ConfID string
		Binding      Binding
		Info         []byte
	}
	// Info is the initiator's confirmation that arrived at a connection joined by JoinConn.
	Info struct {
		Conn    string
		Binding Binding
		Info    []byte
	}
	// Connected says that both directions of a connection work (CON).
	Connected struct{ Conn string }
	// Message is a body that the peer sent. It is consumed by the step: the connection acknowledges it in the same
	// transaction.
	Message struct {
		Conn string
		Body []byte
	}
	// Sent says that a relay took the body of SendConn with this Ref.
	Sent struct {
		Conn string
		Ref  Ref
	}
	// SendFailed says that the body of SendConn with this Ref was given up. About a door it is the same as DoorFailed.
	SendFailed struct {
		Conn   string
		Ref    Ref
		Reason Reason
	}
	// Waits says that a connection that is being made waits for a relay for long, be it that there is none; it goes on trying.
	Waits struct {
		Conn   string
		Reason Reason
	}
	// Quota says that the peer's queue is full; what was handed over stays with the connection, which retries it.
	Quota struct{ Conn string }
	// Continue says that the peer emptied its queue.
	Continue struct{ Conn string }
	// Failed says that a connection does not work and never will (NOT_AVAILABLE, AUTH), or that NewConn or JoinConn did
	// not succeed.
	Failed struct {
		Conn   string
		Reason Reason
	}
	// ResyncNeeded says that the ratchet of a connection does not fit the peer's any more: what comes cannot be opened.
	ResyncNeeded struct{ Conn string }
	// Resynced says that the ratchet of a connection is a new one, whoever began, and that messages can be sent again.
	// Binding is that of the new ratchet (docs/protocol.md, "Ratchet re-synchronisation"), Side which end this is. What
	// was given to SendConn between the beginning and this and not taken comes back with SendFailed and ReasonRatchet.
	Resynced struct {
		Conn    string
		Binding Binding
		Side    ResyncSide
	}
	// Up says that the relay of a connection's own queue is reachable again, Down that it is not.
	Up   struct{ Conn string }
	Down struct{ Conn string }
	// ContactFrame is a frame that came in over a contact connection: G_ACC or G_REJ, as answers to G_INV.
	ContactFrame struct {
		Contact string
		Frame   []byte
	}
	// AddressReady answers NewAddress: Link is what others open doors with.
	AddressReady struct {
		Conn string
		Link []byte
	}
	// DoorAsked is a request at the own address; Info is the frame that came along.
	DoorAsked struct {
		Request string
		Info    []byte
	}
	// DoorOpen says that both directions of a door work.
	DoorOpen struct{ Door string }
	// DoorFrame is a frame that came over a door. It is consumed by the step.
	DoorFrame struct {
		Door  string
		Frame []byte
	}
	// DoorFailed says that a door, or the own address, does not work and never will.
	DoorFailed struct {
		Door   string
		Reason Reason
	}
	// SendLetter sends a frame of another group (G_INV, G_ACC, G_REJ) to a member over the pair connection, also within
	// the grace. It is no command: MayWrite tells before whether it can be done, and if it cannot it is dropped.
	SendLetter struct {
		To    Key
		Frame []byte
	}
	// Tick lets time pass; it is wanted at NextWake and harmless at any other time.
	Tick struct{}
)

func (Invite) input()       {}
func (Uninvite) input()     {}
func (Send) input()         {}
func (Leave) input()        {}
func (Remove) input()       {}
func (Close) input()        {}
func (SetRole) input()      {}
func (SetPolicy) input()    {}
func (Set) input()          {}
func (Recover) input()      {}
func (Repair) input()       {}
func (SendDirect) input()   {}
func (LinkReady) input()    {}
func (Conf) input()         {}
func (Info) input()         {}
func (Connected) input()    {}
func (Message) input()      {}
func (Sent) input()         {}
func (SendFailed) input()   {}
func (Waits) input()        {}
func (Quota) input()        {}
func (Continue) input()     {}
func (Failed) input()       {}
func (ResyncNeeded) input() {}
func (Resynced) input()     {}
func (Up) input()           {}
func (Down) input()         {}
func (ContactFrame) input() {}
func (SendLetter) input()   {}
func (Tick) input()         {}

func (Publish) input()       {}
func (Unpublish) input()     {}
func (Admit) input()         {}
func (RefuseRequest) input() {}
func (AskAt) input()         {}
func (AddressReady) input()  {}
func (DoorAsked) input()     {}
func (DoorOpen) input()      {}
func (DoorFrame) input()     {}
func (DoorFailed) input()    {}
