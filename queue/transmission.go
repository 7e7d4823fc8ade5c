package queue

// Transmission is one command or response with its frame.
type Transmission struct {
	Authorization    []byte // 0, 64 (Ed25519), 80 (X25519 authenticator) or 114 (Ed448) bytes
	ServiceSignature []byte // 64 bytes or none; version 16 and later
	SessionID        []byte // on the wire at version 6 only, always covered by the authorization
	CorrID           ID     // empty in events
	EntityID         ID
	Body             []byte // command or response
}

// AppendTransmission appends t as it is sent at version v.
func AppendTransmission(dst []byte, v Version, t Transmission) []byte { return dst }

// DecodeTransmission reads a transmission. Its Body is not looked at.
func DecodeTransmission(v Version, raw []byte) (Transmission, error) { return Transmission{}, nil }

// AppendAuthorized appends what an authorization covers: session, correlation and entity ID and the body.
func AppendAuthorized(dst []byte, sessionID []byte, t Transmission) []byte { return dst }
