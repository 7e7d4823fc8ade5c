package queue

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
)

// ErrResponse reports a response or event of a relay that does not parse.
var ErrResponse = errors.New("response of relay not understood")

// Response is what a relay says to a client, an answer or an event: one of the types below, named by their tags.
type Response interface {
	// Tag is the response's word on the wire.
	Tag() string
	appendParams(dst []byte, v Version) []byte
	response()
}

// OK is success without result.
type OK struct{}

// SOK is success of SUB and NSUB; it is written as OK below version 16.
type SOK struct{ ServiceID ID }

// SOKS is the number of queues that NSUBS has subscribed. Version 16.
type SOKS struct{ Count int64 }

// ENDS is the event that another connection of the service took its subscriptions over. Version 16.
type ENDS struct{ Count int64 }

// IDS answers NEW. Its entity is empty.
type IDS struct {
	RecipientID ID
	SenderID    ID
	ServerDH    keys.Public // X25519: agrees on the secret that seals delivered messages
	Mode        Mode        // version 9 and later; contact if not messaging, from 9 to 14
	LinkID      ID          // version 15 and later, empty if none
	ServiceID   ID          // version 16 and later, empty if none
	Notifier    *NID        // version 17 and later, nil if none
}

// NID answers NKEY.
type NID struct {
	NotifierID ID
	ServerDH   keys.Public // X25519: agrees on the secret that seals notifications
}

// MSG is a message: as answer to GET and ACK (of old relays also SUB), or as event. Entity is the recipient ID.
type MSG struct {
	ID     ID     // 24 bytes
	Sealed []byte // SealedMessageSize bytes, OpenMessage opens it
}

// NMSG is the event that a message for a notification has come. Entity is the notifier ID.
type NMSG struct {
	Nonce  [NonceSize]byte
	Sealed []byte // SealedNotificationSize bytes, OpenNotification opens it
}

// LNK answers LKEY and LGET.
type LNK struct {
	SenderID    ID
	Fixed, User []byte
}

// PKEY answers PRXY. Its entity is empty.
type PKEY struct {
	SessionID []byte // of the connection between proxy and relay
	Versions  VersionRange
	Key       CertifiedKey // of the relay
}

// CertifiedKey is a session key signed with the key of a certificate, and its chain.
type CertifiedKey struct {
	Chain     [][]byte // DER certificates, leaf first, 1 to 255
	SignedKey []byte   // DER signed key object
}

// RRES answers RFWD. Its entity is empty.
type RRES struct{ Sealed []byte }

// PRES answers PFWD.
type PRES struct{ Sealed []byte }

// END is the event that another connection took a subscription over.
type END struct{}

// DELD is the event that another connection deleted a queue; it is written as END below version 10.
type DELD struct{}

// INFO answers QUE.
type INFO struct{ Info QueueInfo }

// ERR is an error, as answer or (ERR BLOCKED) as event.
type ERR struct{ Err Error }

// PONG answers PING. Its entity is empty.
type PONG struct{}

// NonceSize is the length of nonces in bytes.
const NonceSize = 24

// entityRule says whether a response has an entity.
type entityRule uint8

const (
	entityNeeded entityRule = iota
	entityNone
	entityAny
)

type responseInfo struct {
	tag    string
	entity entityRule
	bare   Response                                 // the response, if it has no parameters
	decode func(r *wire.Reader, v Version) Response // reads the parameters
}

// responseTable is all responses and events. It never changes.
var responseTable = []responseInfo{
	{tag: "OK", bare: OK{}},
	{tag: "MSG", decode: decodeMSG},
	{tag: "ERR", entity: entityAny, decode: decodeERR},
	{tag: "SOK", decode: decodeSOK},
	{tag: "IDS", entity: entityAny, decode: decodeIDS},
	{tag: "END", bare: END{}},
	{tag: "DELD", bare: DELD{}},
	{tag: "PONG", entity: entityNone, bare: PONG{}},
	{tag: "INFO", decode: decodeINFO},
	{tag: "NID", decode: decodeNID},
	{tag: "NMSG", decode: decodeNMSG},
	{tag: "SOKS", decode: decodeSOKS},
	{tag: "ENDS", decode: decodeENDS},
	{tag: "LNK", decode: decodeLNK},
	{tag: "PKEY", entity: entityNone, decode: decodePKEY},
	{tag: "RRES", entity: entityNone, decode: decodeRRES},
	{tag: "PRES", decode: decodePRES},
}

func lookupResponse(tag string) *responseInfo {
	for i := range responseTable {
		if responseTable[i].tag == tag {
			return &responseTable[i]
		}
	}
	return nil
}

// AppendResponse appends resp as it is written at version v. What v does not know is written as what its clients
// understand: SOK as OK, DELD as END, ERR BLOCKED as ERR AUTH. It panics if a field does not fit its length.
func AppendResponse(dst []byte, v Version, resp Response) []byte {
	switch resp.(type) {
	case SOK:
		if v < VersionServices {
			resp = OK{}
		}
	case DELD:
		if v < VersionDeleted {
			resp = END{}
		}
	}
	dst = append(dst, resp.Tag()...)
	if lookupResponse(resp.Tag()).decode != nil {
		dst = append(dst, ' ')
	}
	return resp.appendParams(dst, v)
}

// DecodeResponse reads a response that was written at version v; byte slices of the result are parts of body.
// ErrResponse if it is unknown or does not parse.
func DecodeResponse(v Version, body []byte) (Response, error) {
	resp, _, err := decodeResponse(v, body)
	return resp, err
}

func decodeResponse(v Version, body []byte) (Response, *responseInfo, error) {
	tag, params, spaced := bytes.Cut(body, []byte(" "))
	info := lookupResponse(string(tag))
	if info == nil {
		return nil, nil, fmt.Errorf("%w: unknown tag", ErrResponse)
	}
	if spaced != (info.decode != nil) {
		return nil, nil, fmt.Errorf("%w: %s", ErrResponse, info.tag)
	}
	if info.decode == nil {
		return info.bare, info, nil
	}
	r := wire.NewReader(params)
	resp := info.decode(r, v)
	if err := r.Done(); err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w", ErrResponse, info.tag, err)
	}
	return resp, info, nil
}

// Answer is a response or event with its frame.
type Answer struct {
	CorrID   ID // empty in events
	EntityID ID
	Response Response
}

// AppendAnswer appends the transmission of a. The session ID is written below version 7 only.
func AppendAnswer(dst []byte, v Version, sessionID []byte, a Answer) []byte {
	dst = AppendTransmission(dst, v, Transmission{SessionID: sessionID, CorrID: a.CorrID, EntityID: a.EntityID})
	return AppendResponse(dst, v, a.Response)
}

// DecodeAnswer reads a transmission of a relay at a client. ErrResponse if it does not parse, has the wrong session ID
// (version 6), or has an entity where none may be or none where one must be. If at least the frame is readable, the
// result has its IDs also with an error, so that the command can be found that has no answer now.
func DecodeAnswer(v Version, sessionID, raw []byte) (Answer, error) {
	t, err := DecodeTransmission(v, raw)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrResponse, err)
	}
	if v < VersionAuthenticators && !bytes.Equal(t.SessionID, sessionID) {
		return Answer{}, fmt.Errorf("%w: session ID", ErrResponse)
	}
	a := Answer{CorrID: t.CorrID, EntityID: t.EntityID}
	resp, info, err := decodeResponse(v, t.Body)
	if err != nil {
		return a, err
	}
	if info.entity == entityNeeded && a.EntityID == "" || info.entity == entityNone && a.EntityID != "" {
		return a, fmt.Errorf("%w: entity of %s", ErrResponse, info.tag)
	}
	a.Response = resp
	return a, nil
}
