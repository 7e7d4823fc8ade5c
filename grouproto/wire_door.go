package grouproto

import (
	"bytes"
	"crypto/ed25519"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

// Frames that ask for a door (docs/groups.md, "Joining by link", "Knocking"). The layouts are in table.

const labelKnock = "coterie/knock/1"

// reqFrame asks the owner of an address for the group.
type reqFrame struct {
	Group    GroupID
	Text     []byte
	Password []byte
	Card     []byte
}

func (*reqFrame) tag() Tag { return TagReq }

func (f *reqFrame) appendFields(dst []byte) []byte {
	dst = wire.AppendStr16(append(dst, f.Group[:]...), f.Text)
	return wire.AppendStr16(wire.AppendStr8(dst, f.Password), f.Card)
}

func readReq(r *wire.Reader) frame {
	f := &reqFrame{Group: GroupID(read32(r)), Text: bytes.Clone(r.Str16()), Password: bytes.Clone(r.Str8())}
	if len(f.Text) > MaxInfo {
		r.Fail("text too long")
	}
	f.Card = readCard(r)
	return f
}

// knockFrame shows the owner of an address that somebody is a member.
type knockFrame struct {
	Group          GroupID
	Holder, Member Key
	Heads          []OpID
	Op             *oplog.Op // the member's add; of who made the group, the genesis
	Signature      [ed25519.SignatureSize]byte
}

func (*knockFrame) tag() Tag { return TagKnock }

func (f *knockFrame) appendUnsigned(dst []byte) []byte {
	dst = append(append(append(dst, f.Group[:]...), f.Holder[:]...), f.Member[:]...)
	return f.Op.AppendSigned(appendIDs(dst, f.Heads))
}

func (f *knockFrame) appendFields(dst []byte) []byte {
	return append(f.appendUnsigned(dst), f.Signature[:]...)
}

func (f *knockFrame) text() []byte { return f.appendUnsigned(wire.AppendStr8(nil, []byte(labelKnock))) }

func (f *knockFrame) sign(key ed25519.PrivateKey) { copy(f.Signature[:], ed25519.Sign(key, f.text())) }

// verify tells whether the member signed this for this holder.
func (f *knockFrame) verify() bool { return verify(f.Member, f.text(), f.Signature[:]) }

func readKnock(r *wire.Reader) frame {
	f := &knockFrame{Group: GroupID(read32(r)), Holder: readKey(r), Member: readKey(r)}
	f.Heads = readIDs(r, oplog.MaxParents)
	op, err := oplog.ReadSigned(r)
	if err != nil {
		r.Fail("malformed operation") // also one of a later version: whether it is an add cannot be told
		return f
	}
	f.Op = op
	r.Copy(f.Signature[:])
	return f
}
