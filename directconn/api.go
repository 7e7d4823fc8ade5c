package directconn

import (
	"errors"
	"io"
	"time"

	"github.com/coterie-im/coterie/internal/kv"
)

// Limits.
const (
	MaxText    = 4 << 10            // bytes of the text that goes with a request
	MaxLink    = 8 << 10            // bytes of a link
	MaxWaiting = 64                 // messages that wait for one connection
	MaxBody    = 13_500             // bytes of a message that waits
	MaxOpen    = 256                // requests of others that wait for the client, all groups together
	Expiry     = 7 * 24 * time.Hour // after which an unanswered request is withdrawn
)

// Errors of commands (Done.Err) and of Load.
var (
	ErrTooLarge = errors.New("larger than a direct connection request allows")
	ErrLimit    = errors.New("too many messages wait for this connection")
	ErrUnknown  = errors.New("no such request or connection")
	ErrExists   = errors.New("there is a connection with this member already")
	ErrAsked    = errors.New("this member has been asked already")
	ErrRecords  = errors.New("stored direct connections are unreadable")
	ErrSyntax   = errors.New("malformed direct connection frame")
)

// Env is what a step may use from outside.
type Env struct {
	Now  time.Time
	Rand io.Reader // never fails
	Tx   kv.Tx
}

// Peer is a member of a group: Group is the agent's name for the group, Member the member key.
type Peer struct {
	Group  string
	Member [32]byte
}

// RequestID is random and names a request at both ends.
type RequestID [16]byte

// Kind is the tag of a frame as group connections carry it.
type Kind uint8

// Kinds of frames.
const (
	KindInvite Kind = 16 // G_DINV: request 16 · str16 link · str16 text
	KindRefuse Kind = 17 // G_DREJ: request 16
)

// Choice is the client's standing answer to requests of one member.
type Choice uint8

// Choices.
const (
	ChoiceAsk    Choice = iota // the client decides each time, if the policy of the group permits the request
	ChoiceAccept               // accepted at once, whatever the policy
	ChoiceRefuse               // refused at once
)

// Input is one thing that happens. Commands are answered by exactly one Done among the effects of their step.
type Input interface{ input() }

type (
	// Ask asks a member for a direct connection (GDIRECT). Self is the own member key in that group.
	Ask struct {
		Peer Peer
		Self [32]byte
		Text []byte
	}
	// Accept accepts a request that the client was told about (GACPT).
	Accept struct{ Request RequestID }
	// Refuse refuses one.
	Refuse struct{ Request RequestID }
	// Withdraw takes back the own request that is under way.
	Withdraw struct{ Peer Peer }
	// Write sends a message, or keeps it until the connection that was asked for works.
	Write struct {
		Peer Peer
		Body []byte
	}
	// Block puts a member on the block list or takes it off: its requests are refused and the client is not told.
	Block struct {
		Peer Peer
		On   bool
	}
	// Choose sets the standing answer to a member.
	Choose struct {
		Peer   Peer
		Choice Choice
	}
	// Frame is a frame that a group passed up from a present, connected member. Permitted: the policy of the group grants
	// it the permission `direct`. Self is the own member key there.
	Frame struct {
		Peer      Peer
		Self      [32]byte
		Kind      Kind
		Payload   []byte
		Permitted bool
	}
	// LinkReady answers NewConn.
	LinkReady struct {
		Conn string
		Link []byte
	}
	// Connected says that both directions of a connection work.
	Connected struct{ Conn string }
	// Failed says that a connection never will, or that NewConn or JoinConn did not succeed.
	Failed struct{ Conn string }
	// Deleted says that the client deleted the contact; it can be asked for again.
	Deleted struct{ Conn string }
	// PeerGone says that a member is not present any more. Requests end; a connection that works stays.
	PeerGone struct{ Peer Peer }
	// Tick lets time pass; wanted at NextWake.
	Tick struct{}
)

// Effect is one thing that a step wants done, in the transaction of the step.
type Effect interface{ effect() }

type (
	// Done answers a command.
	Done struct {
		Err     error
		Request RequestID // of Ask
	}
	// NewConn makes a one-time link under the name Conn; answered by LinkReady or Failed. Confirmations that come to it
	// are allowed by the agent with the client's own profile, nothing of the group is needed for that.
	NewConn struct {
		Conn string
		Peer Peer
	}
	// JoinConn joins a link under the name Conn; answered by Connected or Failed.
	JoinConn struct {
		Conn string
		Link []byte
		Peer Peer
	}
	// SendConn sends a message that waited over a connection that works now.
	SendConn struct {
		Conn string
		Body []byte
	}
	// DeleteConn deletes a connection that will not be used.
	DeleteConn struct{ Conn string }
	// SendGroup sends a frame to a member through the group.
	SendGroup struct {
		Peer    Peer
		Kind    Kind
		Payload []byte
	}
	// Notice carries an event for the client.
	Notice struct{ Event Event }
)

// Event is what the client gets to know.
type Event interface{ event() }

type (
	// Asked: a member asks for a direct connection; answer with Accept or Refuse. GDINV.
	Asked struct {
		Peer    Peer
		Request RequestID
		Text    []byte
	}
	// Ready: the connection with the member works and is a contact of the client from now on.
	Ready struct {
		Peer Peer
		Conn string
	}
	// Ended: the own request came to nothing.
	Ended struct {
		Peer    Peer
		Request RequestID
		Why     Why
	}
)

// Why says why a request ended.
type Why uint8

// Reasons.
const (
	WhyRefused Why = iota + 1
	WhyExpired
	WhyGone      // the member is not present any more
	WhyFailed    // the connection could not be made
	WhyWithdrawn // by the asker, before it was answered
)

func (Ask) input()       {}
func (Accept) input()    {}
func (Refuse) input()    {}
func (Withdraw) input()  {}
func (Write) input()     {}
func (Block) input()     {}
func (Choose) input()    {}
func (Frame) input()     {}
func (LinkReady) input() {}
func (Connected) input() {}
func (Failed) input()    {}
func (Deleted) input()   {}
func (PeerGone) input()  {}
func (Tick) input()      {}

func (Done) effect()       {}
func (NewConn) effect()    {}
func (JoinConn) effect()   {}
func (SendConn) effect()   {}
func (DeleteConn) effect() {}
func (SendGroup) effect()  {}
func (Notice) effect()     {}

func (Asked) event() {}
func (Ready) event() {}
func (Ended) event() {}
