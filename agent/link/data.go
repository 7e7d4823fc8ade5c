package link

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"io"
	"slices"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// Fixed is the part of link data that never changes; its hash is the link key (docs/protocol.md, "Short link data").
//
//	fixed = range str8(Ed25519 root SPKI) request [str8(entity ID)] tail ignored
type Fixed struct {
	Agent   queue.VersionRange
	Root    keys.Public // Ed25519; signs this part, and the user part unless an owner does
	Request Request
	// EntityID names what the link is for, for the application: up to 255 bytes, empty if there is none.
	EntityID []byte
}

// Append appends the binary form.
func (f Fixed) Append(dst []byte) []byte {
	dst = f.Agent.Append(dst)
	dst = f.Root.Append(dst)
	dst = f.Request.Append(dst)
	if len(f.EntityID) == 0 {
		return dst
	}
	return wire.AppendStr8(dst, f.EntityID)
}

// encodable tells whether everything fits its length prefix.
func (f Fixed) encodable() bool {
	return len(f.EntityID) <= 255 && len(f.Request.ClientData) <= MaxText
}

// ParseFixed reads the binary form; bytes behind it are ignored. wire.ErrSyntax if it is malformed.
func ParseFixed(b []byte) (Fixed, error) {
	r := wire.NewReader(b)
	f := Fixed{Agent: queue.ReadVersionRange(r), Root: keys.Read(r, keys.Ed25519), Request: ReadRequest(r)}
	if r.Len() > 0 {
		f.EntityID = bytes.Clone(r.Str8())
	}
	if err := r.Err(); err != nil {
		return Fixed{}, fmt.Errorf("fixed link data: %w", err)
	}
	return f, nil
}

// User is the part of link data that its owner can change (docs/protocol.md, "Short link data").
//
//	user = "I" range data                                                    tail ignored
//	     | "C" range bool(direct) list8(owner) list8(short contact link) data  tail ignored
//	data = str8, or 0xFF str16 if longer than 254 bytes
type User struct {
	Kind   Kind
	Agent  queue.VersionRange
	Direct bool    // contact: connecting through the request in the fixed part is allowed
	Owners []Owner // contact: up to 255
	Relays []Short // contact: up to 255 contact links
	Data   []byte  // of the application; up to 65,535 bytes, less because all must fit the blob
}

// Format hides the data from every formatting verb.
func (u User) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.Kind.String()+" link data") }

const longData = 0xFF // marks data with two length bytes

// Append appends the binary form.
func (u User) Append(dst []byte) []byte {
	dst = append(dst, byte(u.Kind))
	dst = u.Agent.Append(dst)
	if u.Kind == Contact {
		dst = wire.AppendBool(dst, u.Direct)
		dst = append(dst, byte(len(u.Owners)))
		for _, o := range u.Owners {
			dst = wire.AppendStr8(dst, o.append(nil))
		}
		dst = append(dst, byte(len(u.Relays)))
		for _, s := range u.Relays {
			dst = s.Append(dst)
		}
	}
	if len(u.Data) < longData {
		return wire.AppendStr8(dst, u.Data)
	}
	return wire.AppendStr16(append(dst, longData), u.Data)
}

// encodable tells whether everything fits its length prefix.
func (u User) encodable() bool {
	tooLong := func(o Owner) bool { return len(o.ID) > maxOwnerID }
	return len(u.Data) <= 0xFFFF && len(u.Owners) <= 255 && len(u.Relays) <= 255 && !slices.ContainsFunc(u.Owners, tooLong)
}

// ParseUser reads the binary form; bytes behind it are ignored. wire.ErrSyntax if it is malformed.
func ParseUser(b []byte) (User, error) {
	r := wire.NewReader(b)
	u := User{Kind: readKind(r), Agent: queue.ReadVersionRange(r)}
	if u.Kind == Contact {
		u.Direct = r.Bool()
		for n := r.U8(); n > 0 && r.Err() == nil; n-- {
			u.Owners = append(u.Owners, readOwner(r))
		}
		for n := r.U8(); n > 0 && r.Err() == nil; n-- {
			s := ReadShort(r)
			if s.Kind != Contact {
				r.Fail("relay without contact link")
			}
			u.Relays = append(u.Relays, s)
		}
	}
	if b, _ := r.Peek(); b == longData {
		r.U8()
		u.Data = bytes.Clone(r.Str16())
	} else {
		u.Data = bytes.Clone(r.Str8())
	}
	if err := r.Err(); err != nil {
		return User{}, fmt.Errorf("user link data: %w", err)
	}
	return u, nil
}

// Owner may change the user part of a contact link besides the holder of the root key.
//
//	owner     = str8( str8(ID) str8(Ed25519 SPKI) str8(signature) tail ignored )
//	signature = Ed25519 by the root key or an earlier owner over ID || SPKI
type Owner struct {
	ID        []byte      // of the application, up to 144 bytes, so that the owner fits a str8
	Key       keys.Public // Ed25519
	Signature []byte      // 64 bytes
}

const maxOwnerID = 255 - 1 - 45 - 65

// NewOwner makes an owner, authorized by the root key or by an owner that stands earlier in the list.
func NewOwner(signer ed25519.PrivateKey, id []byte, key keys.Public) Owner {
	o := Owner{ID: id, Key: key}
	o.Signature = ed25519.Sign(signer, o.signed())
	return o
}

// signed is what an owner's signature covers.
func (o Owner) signed() []byte { return o.Key.AppendDER(bytes.Clone(o.ID)) }

func (o Owner) append(dst []byte) []byte {
	dst = wire.AppendStr8(dst, o.ID)
	dst = o.Key.Append(dst)
	return wire.AppendStr8(dst, o.Signature)
}

func readOwner(r *wire.Reader) Owner {
	inner := wire.NewReader(r.Str8())
	o := Owner{ID: bytes.Clone(inner.Str8()), Key: keys.Read(inner, keys.Ed25519), Signature: bytes.Clone(inner.Str8())}
	if inner.Err() != nil || len(o.Signature) != ed25519.SignatureSize {
		r.Fail("owner of link data")
		return Owner{}
	}
	return o
}

// authorized tells whether a list of owners is valid as a whole: IDs and keys occur once, no key is the root key, and
// each owner is signed by the root key or an earlier owner.
func authorized(root keys.Public, owners []Owner) bool {
	for i, o := range owners {
		earlier := owners[:i]
		if o.Key == root || !signedByAny(o.signed(), o.Signature, root, earlier) {
			return false
		}
		for _, e := range earlier {
			if bytes.Equal(e.ID, o.ID) || e.Key == o.Key {
				return false
			}
		}
	}
	return true
}

// signedByAny tells whether the root key or one of the owners made the signature.
func signedByAny(message, signature []byte, root keys.Public, owners []Owner) bool {
	if root.Verify(message, signature) {
		return true
	}
	for _, o := range owners {
		if o.Key.Verify(message, signature) {
			return true
		}
	}
	return false
}
