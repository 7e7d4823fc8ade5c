package envelope

import (
	"fmt"

	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// Envelope is what stands inside the box of a queue: *Confirmation, *Message, *Invitation or *RatchetKey.
type Envelope interface {
	// Append appends the envelope.
	Append(dst []byte) []byte
	// AgentVersion returns the agent version that the sender wrote.
	AgentVersion() queue.Version

	envelope()
}

// Confirmation answers an invitation, or that answer.
type Confirmation struct {
	Agent  queue.Version   // agreed for the connection
	Keys   *ratchet.Params // for one version; the joiner's, nil in the initiator's answer
	Sealed []byte          // ratchet message of JoinerInfo or InitiatorInfo
}

// Message carries everything once the ratchet exists.
type Message struct {
	Agent  queue.Version // the sender's own maximum, whatever was agreed
	Sealed []byte        // ratchet message of a Numbered
}

// Invitation asks the owner of a contact address to connect.
type Invitation struct {
	Agent queue.Version // agreed with the contact link
	Link  string        // text of an invitation link, up to link.MaxText bytes
	Info  []byte        // connection info of the requester
}

// RatchetKey offers new keys for a ratchet that came apart.
type RatchetKey struct {
	Agent queue.Version  // the sender's own maximum
	Keys  ratchet.Params // for one version
	Info  []byte         // RatchetInfo
}

func (*Confirmation) envelope() {}
func (*Message) envelope()      {}
func (*Invitation) envelope()   {}
func (*RatchetKey) envelope()   {}

// AgentVersion implements Envelope.
func (e *Confirmation) AgentVersion() queue.Version { return e.Agent }

// AgentVersion implements Envelope.
func (e *Message) AgentVersion() queue.Version { return e.Agent }

// AgentVersion implements Envelope.
func (e *Invitation) AgentVersion() queue.Version { return e.Agent }

// AgentVersion implements Envelope.
func (e *RatchetKey) AgentVersion() queue.Version { return e.Agent }

func head(dst []byte, version queue.Version, tag byte) []byte {
	return append(wire.AppendU16(dst, uint16(version)), tag)
}

// Append implements Envelope.
func (e *Confirmation) Append(dst []byte) []byte {
	dst = head(dst, e.Agent, tagConfirmation)
	if e.Keys == nil {
		dst = wire.AppendAbsent(dst)
	} else {
		dst = e.Keys.AppendSingle(wire.AppendPresent(dst))
	}
	return append(dst, e.Sealed...)
}

// Append implements Envelope.
func (e *Message) Append(dst []byte) []byte {
	return append(head(dst, e.Agent, tagMessage), e.Sealed...)
}

// Append implements Envelope.
func (e *Invitation) Append(dst []byte) []byte {
	dst = wire.AppendStr16(head(dst, e.Agent, tagInvitation), []byte(e.Link))
	return append(dst, e.Info...)
}

// Append implements Envelope.
func (e *RatchetKey) Append(dst []byte) []byte {
	dst = e.Keys.AppendSingle(head(dst, e.Agent, tagRatchetKey))
	return append(dst, e.Info...)
}

// Parse reads an agent envelope of any version. wire.ErrSyntax if it is malformed, which a ratchet key with an accepted
// KEM is too.
func Parse(b []byte) (Envelope, error) {
	r := wire.NewReader(b)
	var e Envelope
	version := queue.Version(r.U16())
	switch r.U8() {
	case tagConfirmation:
		e = readConfirmation(r, version)
	case tagMessage:
		e = &Message{Agent: version, Sealed: r.Rest()}
	case tagInvitation:
		e = &Invitation{Agent: version, Link: string(r.Str16()), Info: r.Rest()}
	case tagRatchetKey:
		e = readRatchetKey(r, version)
	default:
		r.Fail("unknown tag")
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("agent envelope: %w", err)
	}
	return e, nil
}

func readConfirmation(r *wire.Reader, version queue.Version) *Confirmation {
	c := &Confirmation{Agent: version}
	if r.Opt() {
		k := ratchet.ReadSingle(r)
		c.Keys = &k
	}
	c.Sealed = r.Rest()
	return c
}

func readRatchetKey(r *wire.Reader, version queue.Version) *RatchetKey {
	k := &RatchetKey{Agent: version, Keys: ratchet.ReadSingle(r)}
	if len(k.Keys.KEM.Ciphertext) > 0 {
		r.Fail("KEM accepted in a ratchet key")
	}
	k.Info = r.Rest()
	return k
}
