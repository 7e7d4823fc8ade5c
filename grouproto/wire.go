package grouproto

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/coterie-im/coterie/internal/wire"
)

// frameVersion is the only version of frames that this package knows.
const frameVersion = 1

// ErrFrame reports a frame or body that is not well-formed: the peer's fault.
var ErrFrame = errors.New("malformed group frame")

// Tag names a frame.
type Tag uint8

// Tags of frames (docs/groups.md, "Frames"); table has their layouts.
const (
	TagInv       Tag = 1
	TagAcc       Tag = 2
	TagRej       Tag = 3
	TagHello     Tag = 4
	TagOps       Tag = 5
	TagInvMem    Tag = 6
	TagMemInv    Tag = 7
	TagNeed      Tag = 8
	TagCon       Tag = 9
	TagMsg       Tag = 10
	TagFwd       Tag = 11
	TagNone      Tag = 12
	TagRcvd      Tag = 13
	TagSync      Tag = 14
	TagWant      Tag = 15
	TagDirectInv Tag = 16
	TagDirectRej Tag = 17
	TagMem       Tag = 18
	TagDone      Tag = 19
	TagReq       Tag = 21
	TagKnock     Tag = 22
)

// place says where a frame may arrive.
type place uint8

const (
	onContact place = 1 << iota // contact connection
	onInfo                      // info of a pair connection's confirmation, or first after a re-synchronisation
	onJoining                   // pair connection with the inviter, before the own add is known
	onReady                     // pair connection with a present member, after its hello
	onLeft                      // within the grace: pair connection with a member that has left or was removed
	onEnded                     // within the grace: oneself is not present any more, or the other end for another reason, or the group is closed
	onRequest                   // info of a request at a member's address
	onDoor                      // door between two members, one of which knocked

	onPair = onJoining | onReady | onLeft | onEnded // any pair connection whose hellos were good
)

// frame is one decoded frame: a pointer to one of the frame types below.
type frame interface {
	tag() Tag
	appendFields(dst []byte) []byte
}

// frameRow is one row of the frame table.
type frameRow struct {
	tag    Tag
	name   string
	way    string // who sends it to whom
	layout string // fields behind u16 version · u8 tag; offer, message and op as in docs/groups.md
	at     place
	read   func(r *wire.Reader) frame
}

// table is the group protocol's wire format. Bytes behind the known fields are ignored and counted, as are unknown tags.
var table = [...]frameRow{
	{TagInv, "G_INV", "contact connection, or pair connection of another group, inviter → invited",
		"groupId · inviter key · token 16 · i64 expiry · vrange · u32 members · str16 info", onContact | onPair, readInv},
	{TagAcc, "G_ACC", "the same connection, invited → inviter",
		"groupId · token 16 · new member key · str16 card · offer", onContact | onPair, readAcc},
	{TagRej, "G_REJ", "the same connection, invited → inviter", "groupId · token 16", onContact | onPair, readRej},
	{TagHello, "G_HELLO", "info of both confirmations; first after a ratchet re-synchronisation",
		"groupId · own key · peer's key · u32 attempt · vrange · list8 head · digest 32 · str16 card · signature 64",
		onInfo, nil},
	{TagOps, "G_OPS", "any", "u8 flags (1 = all you asked for) · list16 op, ancestors first",
		onJoining | onReady | onLeft | onEnded | onDoor, readOps},
	{TagInvMem, "G_INV_MEM", "new member → any connected member", "list8 offer, to be forwarded", onReady | onDoor, readInvMem},
	{TagMemInv, "G_MEM_INV", "forwarder → responder", "offer · str16 card of the initiator · list16 op", onReady, readMemInv},
	{TagNeed, "G_NEED", "responder → any connected member → initiator",
		"initiator key · responder key · u8 hops (0, 1)", onJoining | onReady | onDoor, readNeed},
	{TagCon, "G_CON", "new member → its inviter",
		"list16(key · u8 0 connected, 1 waiting, 2 failed · u8 reason)", onReady, readCon},
	{TagMsg, "G_MSG", "author → everybody", "message", onReady | onLeft, readMsg},
	{TagFwd, "G_FWD", "answer to G_WANT", "author key · message · nothing, or u8 1: given to its author, who sends it, by others", onReady, readFwd},
	{TagNone, "G_NONE", "answer to G_WANT",
		"list8(author · u64 from · u64 to · u8 1 not kept, 2 not for you, 3 never existed)", onReady, readNone},
	{TagRcvd, "G_RCVD", "receiver → author", "list8 head · u64 upTo · list8(u64 from · u64 to) missing below upTo",
		onReady, readRcvd},
	{TagSync, "G_SYNC", "any",
		"list8 head · digest 32 · u8 flags (1 = send me your list, 2 = own entry given by others) · list16(author · u64 number · hash 32), ≤ 180",
		onJoining | onReady | onLeft | onEnded | onDoor, readSync},
	{TagWant, "G_WANT", "any", "list8 op ID · list8(author · u64 from · u64 to), ≤ 256 messages", onReady, readWant},
	{TagDirectInv, "G_DINV", "one member → one member", "request 16 · str16 link · str16 text", onReady,
		func(r *wire.Reader) frame { return &directFrame{Tag: TagDirectInv, Payload: r.Rest()} }},
	{TagDirectRej, "G_DREJ", "one member → one member", "request 16", onReady,
		func(r *wire.Reader) frame { return &directFrame{Tag: TagDirectRej, Payload: r.Rest()} }},
	{TagMem, "G_MEM", "inviter → new member, behind the log",
		"u8 flags (1 = last) · list16(member key · u8 0 connected to the inviter, 1 not)", onJoining | onReady, readMem},
	{TagDone, "G_DONE", "inviter → new member", "u32 offers forwarded", onJoining | onReady, readDone},
	{TagReq, "G_REQ", "info of a request at an address, who asks → its owner",
		"groupId · str16 text · str8 password · str16 card", onRequest, readReq},
	{TagKnock, "G_KNOCK", "info of a request at an address, who knocks → its owner",
		"groupId · owner's key · own key · list8 head · op: own add · signature 64", onRequest, readKnock},
}

// row returns the row of a tag; nil if it is unknown.
func (t Tag) row() *frameRow {
	for i := range table {
		if table[i].tag == t {
			return &table[i]
		}
	}
	return nil
}

// String returns the name of the tag in docs/groups.md.
func (t Tag) String() string {
	if row := t.row(); row != nil {
		return row.name
	}
	return "unknown frame"
}

// FrameInfo describes a frame for documentation.
type FrameInfo struct {
	Tag               Tag
	Name, Way, Layout string
}

// Frames returns the frame table, in the order of tags, for documentation.
func Frames() []FrameInfo {
	var out []FrameInfo
	for _, row := range table {
		out = append(out, FrameInfo{row.tag, row.name, row.way, row.layout})
	}
	return out
}

// appendFrame appends u16 version · u8 tag · fields.
func appendFrame(dst []byte, f frame) []byte {
	return f.appendFields(append(wire.AppendU16(dst, frameVersion), byte(f.tag())))
}

// encodeFrame returns a frame on its own.
func encodeFrame(f frame) []byte { return appendFrame(nil, f) }

// decoded is the outcome of decoding one frame.
type decoded struct {
	frame frame // nil: unknown tag or version, or a hello, which has its own decoder; ignored
	tag   Tag
	extra int // bytes behind the known fields
}

// decodeFrame decodes one frame. Unknown tags and versions are no error. ErrFrame for anything malformed.
func decodeFrame(b []byte) (decoded, error) {
	r := wire.NewReader(b)
	version, tag := r.U16(), Tag(r.U8())
	if r.Err() != nil || version == 0 {
		return decoded{}, ErrFrame
	}
	d := decoded{tag: tag}
	row := tag.row()
	if version != frameVersion || row == nil || row.read == nil {
		return d, nil
	}
	d.frame = row.read(r)
	if r.Err() != nil {
		return d, fmt.Errorf("%w: %s: %w", ErrFrame, row.name, r.Err())
	}
	d.extra = r.Len()
	return d, nil
}

// splitBody returns the frames of an agent message body, in order. ErrFrame if it is no sequence of str16(frame).
func splitBody(body []byte) ([][]byte, error) {
	r := wire.NewReader(body)
	var out [][]byte
	for r.Len() > 0 {
		out = append(out, r.Str16())
	}
	if r.Err() != nil || len(out) == 0 {
		return nil, ErrFrame
	}
	return out, nil
}

// frameSize is how many bytes of a body a frame takes.
func frameSize(f []byte) int { return 2 + len(f) }

// contactPrefix starts every body on a contact connection that belongs to groups and not to the client.
var contactPrefix = []byte("\x00coterie/group/1\x00")

// ContactBody returns the body that carries a frame over a contact connection: 0x00 "coterie/group/1" 0x00 str16(frame).
func ContactBody(frame []byte) []byte {
	return wire.AppendStr16(bytes.Clone(contactPrefix), frame)
}

// IsContactBody tells whether a body on a contact connection belongs to groups; clients may not send such bodies.
func IsContactBody(body []byte) bool { return bytes.HasPrefix(body, contactPrefix) }

// ParseContactBody returns the frame of a body for which IsContactBody is true; bytes behind it are ignored. ErrFrame.
func ParseContactBody(body []byte) ([]byte, error) {
	r := wire.NewReader(body)
	if !bytes.Equal(r.Fixed(len(contactPrefix)), contactPrefix) {
		return nil, ErrFrame
	}
	f := r.Str16()
	if r.Err() != nil {
		return nil, ErrFrame
	}
	return f, nil
}

// Primitives that several frames share.

func readKey(r *wire.Reader) (k Key) { r.Copy(k[:]); return k }

func read32(r *wire.Reader) (h [32]byte) { r.Copy(h[:]); return h }

func readIDs(r *wire.Reader, most int) []OpID {
	n := int(r.U8())
	if n > most {
		r.Fail("too many ids")
		return nil
	}
	var out []OpID
	for ; n > 0 && r.Err() == nil; n-- {
		out = append(out, OpID(read32(r)))
	}
	return out
}

func appendIDs(dst []byte, ids []OpID) []byte {
	dst = append(dst, byte(len(ids)))
	for _, id := range ids {
		dst = append(dst, id[:]...)
	}
	return dst
}

func readRange(r *wire.Reader) Range {
	rg := Range{r.U64(), r.U64()}
	if rg.From > rg.To {
		r.Fail("range ends before it begins")
	}
	return rg
}

func appendRange(dst []byte, rg Range) []byte {
	return wire.AppendU64(wire.AppendU64(dst, rg.From), rg.To)
}

// size is how many numbers a range has; it saturates.
func (rg Range) size() uint64 {
	if n := rg.To - rg.From + 1; n != 0 {
		return n
	}
	return ^uint64(0)
}

// versions is a range of protocol versions.
type versions struct{ min, max uint16 }

// ownVersions is what this package speaks.
var ownVersions = versions{frameVersion, frameVersion}

func (v versions) overlaps(w versions) bool { return v.min <= w.max && w.min <= v.max }

func readVersions(r *wire.Reader) versions {
	v := versions{r.U16(), r.U16()}
	if v.min > v.max {
		r.Fail("version range ends before it begins")
	}
	return v
}

func appendVersions(dst []byte, v versions) []byte {
	return wire.AppendU16(wire.AppendU16(dst, v.min), v.max)
}
