package grouproto

import "time"

// Invitation is a received G_INV, as the client sees it (GINV).
type Invitation struct {
	Contact string // connection it came from
	Group   GroupID
	Inviter Key
	Token   Token
	Expiry  time.Time
	Members uint32
	Info    []byte
	Frame   []byte // the whole frame, to keep
}

// ParseInvitation decodes a frame that came in over a contact connection and belongs to no group yet. ErrNotInvitation
// if it is another frame.
func ParseInvitation(contact string, frame []byte) (Invitation, error) { return Invitation{}, nil }

// ContactFrameGroup tells for which group a G_ACC or G_REJ is, so that it can be handed to it as ContactFrame.
func ContactFrameGroup(frame []byte) (GroupID, Token, error) { return GroupID{}, Token{}, nil }
