package grouproto

import (
	"bytes"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

// Frames by which members join and pairs connect (docs/groups.md, "Joining"). The layouts are in table.

type invFrame struct {
	Group   GroupID
	Inviter Key
	Token   Token
	Expiry  int64 // seconds since 1970
	Range   versions
	Members uint32
	Info    []byte
}

func (*invFrame) tag() Tag { return TagInv }

func (f *invFrame) appendFields(dst []byte) []byte {
	dst = append(append(append(dst, f.Group[:]...), f.Inviter[:]...), f.Token[:]...)
	dst = appendVersions(wire.AppendI64(dst, f.Expiry), f.Range)
	return wire.AppendStr16(wire.AppendU32(dst, f.Members), f.Info)
}

func readInv(r *wire.Reader) frame {
	f := &invFrame{Group: GroupID(read32(r)), Inviter: readKey(r)}
	r.Copy(f.Token[:])
	f.Expiry, f.Range, f.Members = r.I64(), readVersions(r), r.U32()
	f.Info = bytes.Clone(r.Str16())
	if len(f.Info) > MaxInfo {
		r.Fail("info too long")
	}
	return f
}

type accFrame struct {
	Group  GroupID
	Token  Token
	Member Key
	Card   []byte
	Offer  offer
}

func (*accFrame) tag() Tag { return TagAcc }

func (f *accFrame) appendFields(dst []byte) []byte {
	dst = append(append(append(dst, f.Group[:]...), f.Token[:]...), f.Member[:]...)
	return f.Offer.append(wire.AppendStr16(dst, f.Card))
}

func readAcc(r *wire.Reader) frame {
	f := &accFrame{Group: GroupID(read32(r))}
	r.Copy(f.Token[:])
	f.Member = readKey(r)
	f.Card, f.Offer = readCard(r), readOffer(r)
	return f
}

type rejFrame struct {
	Group GroupID
	Token Token
}

func (*rejFrame) tag() Tag { return TagRej }

func (f *rejFrame) appendFields(dst []byte) []byte {
	return append(append(dst, f.Group[:]...), f.Token[:]...)
}

func readRej(r *wire.Reader) frame {
	f := &rejFrame{Group: GroupID(read32(r))}
	r.Copy(f.Token[:])
	return f
}

// opsLast is the flag of G_OPS that says that this was all that was asked for.
const opsLast = 1

type opsFrame struct {
	Flags uint8
	Ops   []*oplog.Op
}

func (*opsFrame) tag() Tag { return TagOps }

func (f *opsFrame) appendFields(dst []byte) []byte { return appendOps(append(dst, f.Flags), f.Ops) }

func readOps(r *wire.Reader) frame {
	return &opsFrame{Flags: r.U8(), Ops: readOpList(r)}
}

func appendOps(dst []byte, ops []*oplog.Op) []byte {
	dst = wire.AppendU16(dst, uint16(len(ops)))
	for _, op := range ops {
		dst = op.AppendSigned(dst)
	}
	return dst
}

func readOpList(r *wire.Reader) (ops []*oplog.Op) {
	for n := int(r.U16()); n > 0 && r.Err() == nil; n-- {
		op, err := oplog.ReadSigned(r)
		if err != nil {
			r.Fail("malformed operation")
			break
		}
		ops = append(ops, op)
	}
	return ops
}

type invMemFrame struct{ Offers []offer }

func (*invMemFrame) tag() Tag { return TagInvMem }

func (f *invMemFrame) appendFields(dst []byte) []byte {
	dst = append(dst, byte(len(f.Offers)))
	for i := range f.Offers {
		dst = f.Offers[i].append(dst)
	}
	return dst
}

func readInvMem(r *wire.Reader) frame {
	f := &invMemFrame{}
	for n := r.U8(); n > 0 && r.Err() == nil; n-- {
		f.Offers = append(f.Offers, readOffer(r))
	}
	return f
}

type memInvFrame struct {
	Offer offer
	Card  []byte
	Ops   []*oplog.Op
}

func (*memInvFrame) tag() Tag { return TagMemInv }

func (f *memInvFrame) appendFields(dst []byte) []byte {
	return appendOps(wire.AppendStr16(f.Offer.append(dst), f.Card), f.Ops)
}

func readMemInv(r *wire.Reader) frame {
	return &memInvFrame{Offer: readOffer(r), Card: readCard(r), Ops: readOpList(r)}
}

type needFrame struct {
	Initiator, Responder Key
	Hops                 uint8
}

func (*needFrame) tag() Tag { return TagNeed }

func (f *needFrame) appendFields(dst []byte) []byte {
	return append(append(append(dst, f.Initiator[:]...), f.Responder[:]...), f.Hops)
}

func readNeed(r *wire.Reader) frame {
	f := &needFrame{Initiator: readKey(r), Responder: readKey(r), Hops: r.U8()}
	if f.Hops > 1 {
		r.Fail("too many hops")
	}
	return f
}

// States of a pair as G_CON reports them.
const (
	conConnected uint8 = iota
	conWaiting
	conFailed
)

type conEntry struct {
	Member Key
	State  uint8
	Reason uint8
}

type conFrame struct{ Pairs []conEntry }

func (*conFrame) tag() Tag { return TagCon }

func (f *conFrame) appendFields(dst []byte) []byte {
	dst = wire.AppendU16(dst, uint16(len(f.Pairs)))
	for _, p := range f.Pairs {
		dst = append(append(dst, p.Member[:]...), p.State, p.Reason)
	}
	return dst
}

func readCon(r *wire.Reader) frame {
	f := &conFrame{}
	for n := r.U16(); n > 0 && r.Err() == nil; n-- {
		e := conEntry{Member: readKey(r), State: r.U8(), Reason: r.U8()}
		if e.State > conFailed {
			r.Fail("unknown state of a pair")
		}
		f.Pairs = append(f.Pairs, e)
	}
	return f
}

// memLast is the flag of G_MEM that says that no more will follow.
const memLast = 1

// Levels of G_MEM.
const (
	levelConnected uint8 = iota
	levelNot
)

type memEntry struct {
	Member Key
	Level  uint8
}

type memFrame struct {
	Flags   uint8
	Members []memEntry
}

func (*memFrame) tag() Tag { return TagMem }

func (f *memFrame) appendFields(dst []byte) []byte {
	dst = wire.AppendU16(append(dst, f.Flags), uint16(len(f.Members)))
	for _, m := range f.Members {
		dst = append(append(dst, m.Member[:]...), m.Level)
	}
	return dst
}

func readMem(r *wire.Reader) frame {
	f := &memFrame{Flags: r.U8()}
	for n := r.U16(); n > 0 && r.Err() == nil; n-- {
		e := memEntry{Member: readKey(r), Level: r.U8()}
		if e.Level > levelNot {
			r.Fail("unknown level of a member")
		}
		f.Members = append(f.Members, e)
	}
	return f
}

type doneFrame struct{ Forwarded uint32 }

func (*doneFrame) tag() Tag { return TagDone }

func (f *doneFrame) appendFields(dst []byte) []byte { return wire.AppendU32(dst, f.Forwarded) }

func readDone(r *wire.Reader) frame { return &doneFrame{Forwarded: r.U32()} }

// directFrame is a frame whose fields belong to package directconn.
type directFrame struct {
	Tag     Tag
	Payload []byte
}

func (f *directFrame) tag() Tag { return f.Tag }

func (f *directFrame) appendFields(dst []byte) []byte { return append(dst, f.Payload...) }

func readCard(r *wire.Reader) []byte {
	card := bytes.Clone(r.Str16())
	if len(card) > MaxCard {
		r.Fail("card too long")
	}
	return card
}
