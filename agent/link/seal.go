package link

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha3"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// Sizes in bytes of the two blobs that a relay stores for a short link, each a nonce and a box.
const (
	FixedBlobSize = box.NonceSize + box.Overhead + fixedPadded // 2048
	UserBlobSize  = box.NonceSize + box.Overhead + userPadded  // 13824

	fixedPadded = 2008
	userPadded  = 13784
)

// Errors of reading link data, in the order of the checks. All are the fault of who made the link or of the relay, and
// are ErrData too.
var (
	// ErrData reports link data that does not open or is malformed; errors.Is finds it in the others as well.
	ErrData = errors.New("link data")
	// ErrHash reports a fixed part whose hash is not the link key.
	ErrHash = fmt.Errorf("%w: wrong hash", ErrData)
	// ErrSignature reports a fixed part that the root key inside did not sign.
	ErrSignature = fmt.Errorf("%w: wrong signature", ErrData)
	// ErrOwners reports a list of owners that is not authorized as a whole.
	ErrOwners = fmt.Errorf("%w: owner list", ErrData)
	// ErrUserSignature reports a user part signed neither by the root key nor by an owner.
	ErrUserSignature = fmt.Errorf("%w: wrong signature of the user part", ErrData)
	// ErrAddress reports a request that leads to another queue than the link.
	ErrAddress = fmt.Errorf("%w: different address", ErrData)
)

// Sealed is link data as its relay stores it, and what the link to it needs.
type Sealed struct {
	LinkKey []byte   // 32 bytes: the hash of the fixed part
	LinkID  queue.ID // contact links only; that of invitations comes from the relay
	Fixed   []byte   // FixedBlobSize bytes
	User    []byte   // UserBlobSize bytes
}

// Format hides the data from every formatting verb.
func (Sealed) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "sealed link data") }

// Seal signs and encrypts link data; fixed.Root is set to the public part of root, which signs both parts. rand gives
// the two nonces. wire.ErrTooLarge if a part does not fit its blob.
func Seal(rand io.Reader, root ed25519.PrivateKey, fixed Fixed, user User) (Sealed, error) {
	if !fixed.encodable() {
		return Sealed{}, fmt.Errorf("fixed link data: %w", wire.ErrTooLarge)
	}
	fixed.Root = keys.FromEd25519(root.Public().(ed25519.PublicKey))
	data := fixed.Append(nil)
	hash := sha3.Sum256(data)
	s := Sealed{LinkKey: hash[:]}
	id, key, err := derive(fixed.Request.Kind, s.LinkKey)
	if err != nil {
		return Sealed{}, err
	}
	defer key.Clear()
	s.LinkID = id
	if s.Fixed, err = sealBlob(rand, &key, root, data, fixedPadded); err != nil {
		return Sealed{}, fmt.Errorf("fixed link data: %w", err)
	}
	if s.User, err = SealUser(rand, root, s.LinkKey, user); err != nil {
		return Sealed{}, err
	}
	return s, nil
}

// SealUser signs and encrypts a new user part for an existing link; signer is the root key or, for contact links, an
// owner's. rand gives the nonce. wire.ErrTooLarge if it does not fit the blob.
func SealUser(rand io.Reader, signer ed25519.PrivateKey, linkKey []byte, user User) ([]byte, error) {
	if !user.encodable() {
		return nil, fmt.Errorf("user link data: %w", wire.ErrTooLarge)
	}
	_, key, err := derive(user.Kind, linkKey)
	if err != nil {
		return nil, err
	}
	defer key.Clear()
	blob, err := sealBlob(rand, &key, signer, user.Append(nil), userPadded)
	if err != nil {
		return nil, fmt.Errorf("user link data: %w", err)
	}
	return blob, nil
}

// Open decrypts link data and checks it in this order: hash of the fixed part, its signature, owners, signature of the
// user part. ErrData or one of the errors that are it.
func Open(kind Kind, linkKey, fixedBlob, userBlob []byte) (Fixed, User, error) {
	_, key, err := derive(kind, linkKey)
	if err != nil {
		return Fixed{}, User{}, err
	}
	defer key.Clear()
	fixedSignature, fixedData, err := openBlob(&key, fixedBlob)
	if err != nil {
		return Fixed{}, User{}, fmt.Errorf("%w: fixed part: %w", ErrData, err)
	}
	userSignature, userData, err := openBlob(&key, userBlob)
	if err != nil {
		return Fixed{}, User{}, fmt.Errorf("%w: user part: %w", ErrData, err)
	}
	fixed, err := ParseFixed(fixedData)
	if err != nil {
		return Fixed{}, User{}, fmt.Errorf("%w: %w", ErrData, err)
	}
	user, err := ParseUser(userData)
	if err != nil {
		return Fixed{}, User{}, fmt.Errorf("%w: %w", ErrData, err)
	}
	hash := sha3.Sum256(fixedData)
	switch {
	case fixed.Request.Kind != kind || user.Kind != kind:
		err = fmt.Errorf("%w: of another kind", ErrData)
	case subtle.ConstantTimeCompare(hash[:], linkKey) != 1:
		err = ErrHash
	case !fixed.Root.Verify(fixedData, fixedSignature):
		err = ErrSignature
	case !authorized(fixed.Root, user.Owners):
		err = ErrOwners
	case !signedByAny(userData, userSignature, fixed.Root, user.Owners):
		err = ErrUserSignature
	}
	if err != nil {
		return Fixed{}, User{}, err
	}
	return fixed, user, nil
}

// Resolve checks that the request found behind a link leads to the queue that the relay named, and that this is on the
// link's relay: the link's first host must be among the queue's. It returns the request with the link's relay in place
// of the queue's, if they differ otherwise. The link must be complete. ErrAddress if it leads elsewhere.
func (s Short) Resolve(senderID queue.ID, request Request) (Request, error) {
	first := request.Queues[0]
	if first.SenderID != senderID || !slices.Contains(first.Server.Hosts, s.Server.Hosts[0]) {
		return Request{}, ErrAddress
	}
	if !first.Server.Equal(s.Server) {
		first.Server = s.Server
		request.Queues = append([]Queue{first}, request.Queues[1:]...)
	}
	return request, nil
}

// DataID returns the name under which the relay stores the data: LinkID of an invitation, otherwise derived from the
// link key.
func (s Short) DataID() (queue.ID, error) {
	if s.Kind == Invitation {
		return s.LinkID, nil
	}
	id, key, err := derive(s.Kind, s.Key)
	key.Clear()
	return id, err
}

// SenderID returns the sender ID that a queue made together with link data must get, from the 24 bytes of the
// correlation ID of the command that makes it: so the ID is known before the queue exists.
func SenderID(correlation queue.ID) queue.ID {
	sum := sha3.Sum384([]byte(correlation))
	return queue.ID(sum[:queue.IDSize])
}

// derive returns the key of both blobs and, for contact links, the link ID.
func derive(kind Kind, linkKey []byte) (id queue.ID, key box.Secret, err error) {
	info, idSize := "SimpleXInvLink", 0
	if kind == Contact {
		info, idSize = "SimpleXContactLink", queue.IDSize
	}
	out, err := hkdf.Key(sha512.New, linkKey, nil, info, idSize+box.KeySize)
	if err != nil {
		return "", box.Secret{}, fmt.Errorf("link key: %w", err)
	}
	defer clear(out)
	return queue.ID(out[:idSize]), box.Secret(out[idSize:]), nil
}

// sealBlob returns nonce || box(str8(signature) || data, padded to n).
func sealBlob(rand io.Reader, key *box.Secret, signer ed25519.PrivateKey, data []byte, n int) ([]byte, error) {
	nonce := make([]byte, box.NonceSize, box.NonceSize+box.Overhead+n)
	if _, err := io.ReadFull(rand, nonce); err != nil {
		return nil, fmt.Errorf("nonce: %w", err)
	}
	signed := append(wire.AppendStr8(nil, ed25519.Sign(signer, data)), data...)
	return box.SealPadded(nonce, key, nonce, signed, n)
}

// openBlob undoes sealBlob, without verifying the signature.
func openBlob(key *box.Secret, blob []byte) (signature, data []byte, err error) {
	r := wire.NewReader(blob)
	nonce, sealed := r.Fixed(box.NonceSize), r.Rest()
	if r.Err() != nil {
		return nil, nil, r.Err()
	}
	signed, err := box.OpenPadded(key, nonce, sealed)
	if err != nil {
		return nil, nil, err
	}
	r = wire.NewReader(signed)
	signature, data = r.Str8(), r.Rest()
	return signature, data, r.Done()
}
