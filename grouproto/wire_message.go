package grouproto

import (
	"bytes"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

// Frames of messages, their repair and their receipts (docs/groups.md, "Messages"). The layouts are in table.

// FlagNotify in a message asks for a wake-up of sleeping devices.
const FlagNotify = 1

const labelMessage = "coterie/msg/1"

// message is one message of an author's chain.
//
//	u64 number · prev 32 · salt 16 · list8 head · list8(author · u64 number · hash 32) parents · u8 flags · str16 body
type message struct {
	Number  uint64
	Prev    [32]byte // zero starts a run
	Salt    [16]byte // random: keeps the hash from betraying a short body to those who see only the hash
	Heads   []OpID
	Parents []MessageID
	Flags   uint8
	Body    []byte
}

func (m *message) append(dst []byte) []byte {
	dst = append(append(wire.AppendU64(dst, m.Number), m.Prev[:]...), m.Salt[:]...)
	dst = append(appendIDs(dst, m.Heads), byte(len(m.Parents)))
	for _, p := range m.Parents {
		dst = appendMessageID(dst, p)
	}
	return wire.AppendStr16(append(dst, m.Flags), m.Body)
}

func readMessage(r *wire.Reader) *message {
	m := &message{Number: r.U64(), Prev: read32(r)}
	r.Copy(m.Salt[:])
	m.Heads = readIDs(r, oplog.MaxParents)
	n := int(r.U8())
	if n > oplog.MaxParents {
		r.Fail("too many parents")
	}
	for ; n > 0 && r.Err() == nil; n-- {
		m.Parents = append(m.Parents, readMessageID(r))
	}
	m.Flags = r.U8()
	m.Body = bytes.Clone(r.Str16())
	if len(m.Body) > MaxBody {
		r.Fail("body too long")
	}
	return m
}

// hash is H("coterie/msg/1", groupId ‖ author ‖ the message's bytes).
func (m *message) hash(group GroupID, author Key) [32]byte {
	return oplog.Hash(labelMessage, group[:], author[:], m.append(nil))
}

func appendMessageID(dst []byte, id MessageID) []byte {
	return append(wire.AppendU64(append(dst, id.Author[:]...), id.Number), id.Hash[:]...)
}

func readMessageID(r *wire.Reader) MessageID {
	return MessageID{Author: readKey(r), Number: r.U64(), Hash: read32(r)}
}

type msgFrame struct{ Message *message }

func (*msgFrame) tag() Tag { return TagMsg }

func (f *msgFrame) appendFields(dst []byte) []byte { return f.Message.append(dst) }

func readMsg(r *wire.Reader) frame { return &msgFrame{Message: readMessage(r)} }

// fwdFrame is a copy. A member that lost its own messages with its store passes on those that others have given it as
// such: they are not its word.
type fwdFrame struct {
	Author  Key
	Message *message
	Given   bool
}

const fwdGiven = 1 // flag of G_FWD: others gave this message to its author, who sends it

func (*fwdFrame) tag() Tag { return TagFwd }

func (f *fwdFrame) appendFields(dst []byte) []byte {
	dst = f.Message.append(append(dst, f.Author[:]...))
	if f.Given {
		dst = append(dst, fwdGiven)
	}
	return dst
}

func readFwd(r *wire.Reader) frame {
	f := &fwdFrame{Author: readKey(r), Message: readMessage(r)}
	if flags, ok := r.Peek(); ok && flags == fwdGiven {
		f.Given = true
		r.U8()
	}
	return f
}

// Reasons of G_NONE.
const (
	noneNotKept    uint8 = 1
	noneNotForYou  uint8 = 2
	noneNotExisted uint8 = 3
)

type noneEntry struct {
	Author Key
	Range  Range
	Why    uint8
}

type noneFrame struct{ Ranges []noneEntry }

func (*noneFrame) tag() Tag { return TagNone }

func (f *noneFrame) appendFields(dst []byte) []byte {
	dst = append(dst, byte(len(f.Ranges)))
	for _, e := range f.Ranges {
		dst = append(appendRange(append(dst, e.Author[:]...), e.Range), e.Why)
	}
	return dst
}

func readNone(r *wire.Reader) frame {
	f := &noneFrame{}
	for n := r.U8(); n > 0 && r.Err() == nil; n-- {
		e := noneEntry{Author: readKey(r), Range: readRange(r), Why: r.U8()}
		if e.Why < noneNotKept || e.Why > noneNotExisted {
			r.Fail("unknown reason of a missing message")
		}
		f.Ranges = append(f.Ranges, e)
	}
	return f
}

type rcvdFrame struct {
	Heads   []OpID
	UpTo    uint64  // all messages below it have been received except Missing; 0: none
	Missing []Range // ascending
}

func (*rcvdFrame) tag() Tag { return TagRcvd }

func (f *rcvdFrame) appendFields(dst []byte) []byte {
	dst = append(wire.AppendU64(appendIDs(dst, f.Heads), f.UpTo), byte(len(f.Missing)))
	for _, m := range f.Missing {
		dst = appendRange(dst, m)
	}
	return dst
}

func readRcvd(r *wire.Reader) frame {
	f := &rcvdFrame{Heads: readIDs(r, oplog.MaxParents), UpTo: r.U64()}
	for n := r.U8(); n > 0 && r.Err() == nil; n-- {
		f.Missing = append(f.Missing, readRange(r))
	}
	return f
}

const (
	syncAsk     = 1   // flag of G_SYNC: send me your list
	syncGiven   = 2   // flag of G_SYNC: what the list says of the sender's own messages it has from others
	syncEntries = 180 // entries of one G_SYNC
)

type syncFrame struct {
	Heads  []OpID
	Digest [32]byte
	Flags  uint8
	List   []MessageID // per author the highest number below which nothing is missing, and its hash
}

func (*syncFrame) tag() Tag { return TagSync }

func (f *syncFrame) appendFields(dst []byte) []byte {
	dst = append(append(appendIDs(dst, f.Heads), f.Digest[:]...), f.Flags)
	dst = wire.AppendU16(dst, uint16(len(f.List)))
	for _, id := range f.List {
		dst = appendMessageID(dst, id)
	}
	return dst
}

func readSync(r *wire.Reader) frame {
	f := &syncFrame{Heads: readIDs(r, oplog.MaxParents), Digest: read32(r), Flags: r.U8()}
	n := int(r.U16())
	if n > syncEntries {
		r.Fail("too many entries")
	}
	for ; n > 0 && r.Err() == nil; n-- {
		f.List = append(f.List, readMessageID(r))
	}
	return f
}

type wantEntry struct {
	Author Key
	Range  Range
}

type wantFrame struct {
	Ops      []OpID
	Messages []wantEntry
}

func (*wantFrame) tag() Tag { return TagWant }

func (f *wantFrame) appendFields(dst []byte) []byte {
	dst = append(appendIDs(dst, f.Ops), byte(len(f.Messages)))
	for _, e := range f.Messages {
		dst = appendRange(append(dst, e.Author[:]...), e.Range)
	}
	return dst
}

func readWant(r *wire.Reader) frame {
	f := &wantFrame{Ops: readIDs(r, 255)}
	var total uint64
	for n := r.U8(); n > 0 && r.Err() == nil; n-- {
		e := wantEntry{Author: readKey(r), Range: readRange(r)}
		if total += min(e.Range.size(), MaxWantMessages+1); total > MaxWantMessages {
			r.Fail("too many messages wanted")
		}
		f.Messages = append(f.Messages, e)
	}
	return f
}
