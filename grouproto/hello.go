package grouproto

import (
	"bytes"
	"crypto/ed25519"
	"fmt"

	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/wire"
)

const (
	labelHello = "coterie/hello/1"
	labelOffer = "coterie/offer/1"
	labelCard  = "coterie/card/1"
	labelFront = "coterie/front/1"
)

// side is what a hello's sender is in its connection; signed, so that a hello cannot be reflected.
type side byte

const (
	sideJoiner    side = 'J'
	sideInitiator side = 'I'
)

// hello binds a member key to one connection (docs/groups.md, "Frames", G_HELLO).
type hello struct {
	Group     GroupID
	From, To  Key // member keys of the sender and of the receiver
	Attempt   uint32
	Range     versions
	Heads     []OpID // empty for a new member that has no log
	Digest    [32]byte
	Card      []byte
	signed    []byte // frame bytes before the signature
	signature [ed25519.SignatureSize]byte
}

// appendUnsigned appends the frame up to the signature.
func (h *hello) appendUnsigned(dst []byte) []byte {
	dst = append(wire.AppendU16(dst, frameVersion), byte(TagHello))
	dst = append(append(append(dst, h.Group[:]...), h.From[:]...), h.To[:]...)
	dst = appendVersions(wire.AppendU32(dst, h.Attempt), h.Range)
	dst = append(appendIDs(dst, h.Heads), h.Digest[:]...)
	return wire.AppendStr16(dst, h.Card)
}

// sign returns the whole frame, signed for one connection and one side of it.
func (h *hello) sign(key ed25519.PrivateKey, s side, binding Binding) []byte {
	frame := h.appendUnsigned(nil)
	return append(frame, ed25519.Sign(key, helloText(s, binding, frame))...)
}

func helloText(s side, binding Binding, unsigned []byte) []byte {
	text := append(wire.AppendStr8(nil, []byte(labelHello)), byte(s))
	return append(append(text, binding[:]...), unsigned...)
}

// decodeHello decodes a hello frame; bytes behind it are ignored. ErrFrame for any other frame.
func decodeHello(b []byte) (*hello, error) {
	r := wire.NewReader(b)
	if version, tag := r.U16(), Tag(r.U8()); version != frameVersion || tag != TagHello {
		return nil, ErrFrame
	}
	h := &hello{Group: GroupID(read32(r)), From: readKey(r), To: readKey(r), Attempt: r.U32()}
	h.Range, h.Heads, h.Digest = readVersions(r), readIDs(r, oplog.MaxParents), read32(r)
	h.Card = readCard(r)
	if r.Err() == nil {
		h.signed = bytes.Clone(b[:len(b)-r.Len()])
	}
	r.Copy(h.signature[:])
	if r.Err() != nil {
		return nil, fmt.Errorf("%w: G_HELLO: %w", ErrFrame, r.Err())
	}
	return h, nil
}

// verify tells whether the signature is the sender's, for this side and connection.
func (h *hello) verify(s side, binding Binding) bool {
	return verify(h.From, helloText(s, binding, h.signed), h.signature[:])
}

// verify checks an Ed25519 signature; keys of small order sign nothing.
func verify(k Key, text, signature []byte) bool {
	return !oplog.SmallOrder(k) && ed25519.Verify(k[:], text, signature)
}

// offer asks the responder to join a connection request of the initiator.
//
//	initiator key · responder key · u32 attempt · i64 expiry · str16 link · signature 64
type offer struct {
	Initiator, Responder Key
	Attempt              uint32
	Expiry               int64 // seconds since 1970
	Link                 []byte
	Signature            [ed25519.SignatureSize]byte
}

func (o *offer) appendUnsigned(dst []byte) []byte {
	dst = append(append(dst, o.Initiator[:]...), o.Responder[:]...)
	return wire.AppendStr16(wire.AppendI64(wire.AppendU32(dst, o.Attempt), o.Expiry), o.Link)
}

func (o *offer) append(dst []byte) []byte { return append(o.appendUnsigned(dst), o.Signature[:]...) }

// size is the length of what append appends.
func (o *offer) size() int { return 32 + 32 + 4 + 8 + 2 + len(o.Link) + ed25519.SignatureSize }

func (o *offer) text(group GroupID) []byte {
	return o.appendUnsigned(append(wire.AppendStr8(nil, []byte(labelOffer)), group[:]...))
}

func (o *offer) sign(key ed25519.PrivateKey, group GroupID) {
	copy(o.Signature[:], ed25519.Sign(key, o.text(group)))
}

// verify tells whether the initiator made this offer for this group.
func (o *offer) verify(group GroupID) bool { return verify(o.Initiator, o.text(group), o.Signature[:]) }

func readOffer(r *wire.Reader) offer {
	o := offer{Initiator: readKey(r), Responder: readKey(r), Attempt: r.U32(), Expiry: r.I64()}
	if o.Link = bytes.Clone(r.Str16()); len(o.Link) > MaxLink {
		r.Fail("link too long")
	}
	r.Copy(o.Signature[:])
	return o
}

// cardHash is H("coterie/card/1", card); card = random 16 · opaque content.
func cardHash(card []byte) [32]byte { return oplog.Hash(labelCard, card) }

// cardSalt is how many random bytes a card begins with.
const cardSalt = 16

// cardContent returns a card without its random bytes; nil if there is nothing.
func cardContent(card []byte) []byte {
	if len(card) <= cardSalt {
		return nil
	}
	return card[cardSalt:]
}

// digest is H("coterie/front/1", for each author ascending: author · u64 number · hash).
func digest(front []MessageID) [32]byte {
	var b []byte
	for _, id := range front {
		b = appendMessageID(b, id)
	}
	return oplog.Hash(labelFront, b)
}
