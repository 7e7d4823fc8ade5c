package grouproto

// Effect is one thing that a step wants done. Effects are done in order and in the transaction of their step; each of
// them is harmless if it is done again (see Group.Pending), because connection names and refs are never used twice.
type Effect interface{ effect() }

type (
	// Done answers a command; it is the first effect of its step. Err is nil or one of the errors of this package.
	Done struct {
		Err     error
		Token   Token     // of Invite
		Op      OpID      // of commands that write an operation
		Message MessageID // of Send
	}
	// NewConn makes a connection request under the name Conn, owned by this group; answered by LinkReady or Failed.
	NewConn struct{ Conn string }
	// JoinConn joins the connection request Link under the name Conn. Hello builds the info of the confirmation from
	// the binding of the connection, at the moment the joiner's keys exist; the connection keeps the result for repeats.
	// After JoinConn SendConn is allowed at once. Answered by Info, Connected or Failed.
	JoinConn struct {
		Conn  string
		Link  []byte
		Hello func(binding Binding) []byte
	}
	// AllowConn answers the confirmation ConfID of Conn with Info. Answered by Connected or Failed.
	AllowConn struct {
		Conn, ConfID string
		Info         []byte
	}
	// SendConn sends Body over Conn; answered by Sent or SendFailed with the same Ref. Bodies of one fan-out that are
	// equal are the same slice, so that an outbox can store them once; nobody changes them.
	SendConn struct {
		Conn   string
		Ref    Ref
		Body   []byte
		Notify bool
	}
	// ResyncConn makes the ratchet of Conn again. Answered by Resynced, or never.
	ResyncConn struct{ Conn string }
	// DeleteConn deletes Conn and its queue once what was handed over before has been sent or given up.
	DeleteConn struct{ Conn string }
	// SendContact sends Frame over the contact connection Contact (G_INV, G_ACC).
	SendContact struct {
		Contact string
		Frame   []byte
	}
	// NewAddress makes a contact address under the name Conn, owned by this group; answered by AddressReady or DoorFailed.
	// It is deleted with DeleteConn.
	NewAddress struct{ Conn string }
	// OpenDoor asks for a connection at a member's address, under the name Door; Info goes along. Answered by DoorOpen or
	// DoorFailed; neither comes while the owner does not answer. It is deleted with DeleteConn, as are accepted doors.
	OpenDoor struct {
		Door    string
		Address []byte // link as published
		Info    []byte // a frame
	}
	// AcceptDoor accepts a request at the own address, under the name Door. After it SendDoor is allowed at once. Answered
	// by DoorOpen or DoorFailed.
	AcceptDoor struct{ Door, Address, Request string }
	// RefuseDoor forgets a request at the own address. Who asked is not told.
	RefuseDoor struct{ Address, Request string }
	// SendDoor sends Frame over a door, as frames travel over contact connections.
	SendDoor struct {
		Door  string
		Frame []byte
	}
	// Notice carries an event for the client.
	Notice struct{ Event Event }
)

func (Done) effect()        {}
func (NewConn) effect()     {}
func (JoinConn) effect()    {}
func (AllowConn) effect()   {}
func (SendConn) effect()    {}
func (ResyncConn) effect()  {}
func (DeleteConn) effect()  {}
func (SendContact) effect() {}
func (Notice) effect()      {}

func (NewAddress) effect() {}
func (OpenDoor) effect()   {}
func (AcceptDoor) effect() {}
func (RefuseDoor) effect() {}
func (SendDoor) effect()   {}
