package queue

import (
	"github.com/coterie-im/coterie/internal/wire"
)

// Sizes of authorizations in bytes; the size names the algorithm (docs/protocol.md, "Authorization").
const (
	ed25519AuthorizationSize = 64
	x25519AuthorizationSize  = 80
	ed448AuthorizationSize   = 114
	serviceSignatureSize     = 64
)

// Transmission is one command or response with its frame (docs/protocol.md, "Transmissions").
type Transmission struct {
	// Authorization has 0, 64 (Ed25519), 80 (X25519 authenticator) or 114 (Ed448) bytes; 0 from a relay.
	Authorization []byte
	// ServiceSignature has 64 bytes or none; it exists from version 16 on, with an authorization.
	ServiceSignature []byte
	// SessionID is on the wire below version 7 only, but always covered by the authorization.
	SessionID []byte
	// CorrID is chosen by the client and comes back with the response. It is empty in events.
	CorrID ID
	// EntityID is the queue (or link, service, proxy session) that is spoken of; empty if none.
	EntityID ID
	// Body is the command or response.
	Body []byte
}

// AppendTransmission appends t as it is sent at version v. Fields that do not exist at v are left out. It panics if a
// field does not fit its length byte.
func AppendTransmission(dst []byte, v Version, t Transmission) []byte {
	dst = wire.AppendStr8(dst, t.Authorization)
	if v >= VersionServices && len(t.Authorization) > 0 {
		if len(t.ServiceSignature) > 0 {
			dst = wire.AppendStr8(wire.AppendPresent(dst), t.ServiceSignature)
		} else {
			dst = wire.AppendAbsent(dst)
		}
	}
	if v < VersionAuthenticators {
		dst = wire.AppendStr8(dst, t.SessionID)
	}
	return append(t.EntityID.Append(t.CorrID.Append(dst)), t.Body...)
}

// DecodeTransmission reads the frame of a transmission; its body is whatever is left. The slices of the result are
// parts of raw. The length of the authorization is not checked. wire.ErrSyntax if raw ends before the body.
func DecodeTransmission(v Version, raw []byte) (Transmission, error) {
	r := wire.NewReader(raw)
	t := Transmission{Authorization: r.Str8()}
	if v >= VersionServices && len(t.Authorization) > 0 && r.Opt() {
		if t.ServiceSignature = r.Str8(); len(t.ServiceSignature) != serviceSignatureSize {
			r.Fail("size of the service signature")
		}
	}
	if v < VersionAuthenticators {
		t.SessionID = r.Str8()
	}
	t.CorrID, t.EntityID = ReadID(r), ReadID(r)
	t.Body = r.Rest()
	if err := r.Done(); err != nil {
		return Transmission{}, err
	}
	return t, nil
}

// AppendAuthorized appends what an authorization of t covers: session, correlation and entity ID and the body, at all
// versions. The session ID is that of the connection, or for forwarded commands of the proxy's connection to the relay.
func AppendAuthorized(dst []byte, sessionID []byte, t Transmission) []byte {
	dst = wire.AppendStr8(dst, sessionID)
	return append(t.EntityID.Append(t.CorrID.Append(dst)), t.Body...)
}
