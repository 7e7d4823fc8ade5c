package agent

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/grouproto"
	"github.com/coterie-im/coterie/internal/wire"
)

// groupPrefix is what a body that carries a group frame over a contact's connection starts with; str16(frame) follows
// (docs/groups.md, "Frames").
const groupPrefix = "\x00coterie/group/1\x00"

// internalRef marks messages that the agent sends on its own over a client's connection; their fate is not reported.
const internalRef = "\x00agent"

// maxInvitations bounds how many group invitations of one contact are remembered, answered or not; beyond it the oldest
// is forgotten.
const maxInvitations = 64

// groupFrame returns the frame in a body; ok is false if the body is not of that kind. Malformed ones give an empty frame.
func groupFrame(body []byte) (frame []byte, ok bool) {
	rest, ok := bytes.CutPrefix(body, []byte(groupPrefix))
	if !ok {
		return nil, false
	}
	r := wire.NewReader(rest)
	frame = r.Str16()
	if r.Err() != nil {
		return nil, true
	}
	return frame, true // bytes behind the frame are for later versions
}

func appendGroupFrame(frame []byte) []byte {
	return wire.AppendStr16([]byte(groupPrefix), frame)
}

// invitationRecord is a received G_INV that was not answered.
type invitationRecord struct {
	Contact ConnectionID `json:"contact"`
	Frame   []byte       `json:"frame"`
}

// tokenRecord remembers a G_INV by its token.
type tokenRecord struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

// contactFrame handles a group frame from a contact: an invitation, or the answer to one. What a member of another group
// sends over the pair connection is one as well; its contact is then a pairContact.
func (t *turn) contactFrame(contact ConnectionID, frame []byte) {
	if inv, err := grouproto.ParseInvitation(string(contact), frame); err == nil {
		t.invited(contact, inv)
		return
	}
	name, _, err := grouproto.ContactFrameGroup(frame)
	if err != nil {
		t.log.Info("bad group frame from a contact")
		return
	}
	for _, id := range t.findGroups(name) {
		t.groupInput(id, grouproto.ContactFrame{Contact: string(contact), Frame: frame})
	}
}

// invited keeps an invitation and reports it; the same one again is not reported again.
func (t *turn) invited(contact ConnectionID, inv grouproto.Invitation) {
	token := recordKey(classToken, string(contact), string(inv.Token[:]))
	if t.get(token, &tokenRecord{}) {
		return
	}
	t.limitInvitations(contact)
	known := tokenRecord{Name: t.randomName(), At: t.now}
	t.put(token, known)
	t.put(recordKey(classInvitation, known.Name), invitationRecord{Contact: contact, Frame: inv.Frame})
	entity, group, member := inviterOf(contact)
	t.report(entity, &GroupInvitation{
		Group:      group,
		Member:     member,
		Invitation: known.Name,
		Inviter:    memberID(inv.Inviter),
		Members:    int(inv.Members),
		Info:       inv.Info,
		Expires:    inv.Expiry,
	})
}

// limitInvitations makes room for one more invitation of a contact.
func (t *turn) limitInvitations(contact ConnectionID) {
	n := 0
	var oldest tokenRecord
	var token []byte
	t.records().Scan(recordKey(classToken, string(contact), ""), nil, func(k, v []byte) bool {
		n++
		var r tokenRecord
		if json.Unmarshal(v, &r) == nil && (token == nil || r.At.Before(oldest.At)) {
			oldest, token = r, slices.Clone(k)
		}
		return true
	})
	if n >= maxInvitations {
		t.drop(token)
		t.forgetInvitation(oldest.Name)
	}
}

// invitation returns a received invitation by its name.
func (t *turn) invitation(name string) (grouproto.Invitation, error) {
	var r invitationRecord
	if !t.get(recordKey(classInvitation, name), &r) {
		return grouproto.Invitation{}, ErrNoInvitation
	}
	inv, err := grouproto.ParseInvitation(string(r.Contact), r.Frame)
	if err != nil {
		return grouproto.Invitation{}, err
	}
	return inv, nil
}

// forgetInvitation removes an invitation; its token stays known while the contact does, so that a late repeat is no news.
func (t *turn) forgetInvitation(name string) { t.drop(recordKey(classInvitation, name)) }

// dropInvitations forgets all invitations of a contact that is gone.
func (t *turn) dropInvitations(contact ConnectionID) {
	prefix := recordKey(classToken, string(contact), "")
	t.records().Scan(prefix, nil, func(_, v []byte) bool {
		var r tokenRecord
		if json.Unmarshal(v, &r) == nil {
			t.later(func() { t.forgetInvitation(r.Name) })
		}
		return true
	})
	t.dropAll(prefix)
}

// sendContact sends a group frame over a client's connection. If that is gone, the other end cannot be told anyway.
func (t *turn) sendContact(id ConnectionID, frame []byte) {
	if g, member, ok := pairOf(id); ok {
		t.groupInput(g, grouproto.SendLetter{To: member, Frame: frame})
		return
	}
	e, err := t.conn(id)
	if err == nil {
		err = t.stepConn(e, conn.Send{Body: appendGroupFrame(frame), Notify: true, Ref: internalRef})
	}
	if err != nil {
		t.log.Info("group frame cannot be sent to a contact", "error", err)
	}
}

// randomName is a name for something local: 12 random bytes as 16 characters.
func (t *turn) randomName() string {
	var b [12]byte
	if _, err := io.ReadFull(t.config.Rand, b[:]); err != nil {
		panic("agent: source of randomness: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b[:])
}
