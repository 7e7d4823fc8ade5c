package conn

import "fmt"

// Kind says whose fault an error is.
type Kind uint8

// The kinds of errors.
const (
	PeerFault Kind = iota + 1 // what came in was wrong; the connection goes on
	OurFault                  // what the client asked for, or the relay refused, was wrong; the connection goes on
	Over                      // the connection cannot be made, or not be used any more
)

// Code is the stable name of an error (docs/protocol.md, "Errors"). Errors that a relay answered are "SMP " and its words.
type Code string

// The codes of this package.
const (
	CodeProhibited   Code = "CMD PROHIBITED" // call not allowed in this state
	CodeLarge        Code = "CMD LARGE"      // body or connection info too large
	CodeNotFound     Code = "CONN NOT_FOUND" // no such connection, confirmation, request or message
	CodeNotAccepted  Code = "CONN NOT_ACCEPTED"
	CodeNotAvailable Code = "CONN NOT_AVAILABLE" // the peer cannot be reached any more
	CodeBusy         Code = "CONN BUSY"          // too many messages wait to be sent
	CodeNoQueue      Code = "CONN SIMPLEX"       // there is no queue to send to yet

	CodeMessage        Code = "AGENT A_MESSAGE"    // malformed envelope or message
	CodePeerProhibited Code = "AGENT A_PROHIBITED" // message not allowed in this state
	CodeVersion        Code = "AGENT A_VERSION"
	CodeLink           Code = "AGENT A_LINK"
	CodeDecryptAES     Code = "AGENT A_CRYPTO DECRYPT_AES"
	CodeDecryptBox     Code = "AGENT A_CRYPTO DECRYPT_CB"
	CodeHeader         Code = "AGENT A_CRYPTO RATCHET_HEADER"
	CodeEarlier        Code = "AGENT A_CRYPTO RATCHET_EARLIER"
	CodeSkipped        Code = "AGENT A_CRYPTO RATCHET_SKIPPED"
	CodeResync         Code = "AGENT A_CRYPTO RATCHET_SYNC"
	CodeDuplicate      Code = "AGENT A_DUPLICATE"
	CodeQueue          Code = "AGENT A_QUEUE"

	CodeAuth     Code = "SMP AUTH"
	CodeQuota    Code = "SMP QUOTA"
	CodeExpired  Code = "BROKER TIMEOUT" // could not be delivered in time
	CodeInternal Code = "INTERNAL"
)

// Error is an error with a stable code. It holds no keys, IDs or addresses.
type Error struct {
	Code   Code
	Kind   Kind
	Detail string // for people; may be empty
	Count  uint32 // of CodeEarlier and CodeSkipped: by how many messages
}

// Error gives the code, the count and the detail.
func (e *Error) Error() string {
	s := string(e.Code)
	if e.Count > 0 {
		s = fmt.Sprintf("%s %d", s, e.Count)
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Is tells whether target is an *Error with the same code, so that errors.Is finds errors by their code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

func refuse(code Code, detail string) *Error {
	return &Error{Code: code, Kind: OurFault, Detail: detail}
}

func peerError(code Code, detail string) *Error {
	return &Error{Code: code, Kind: PeerFault, Detail: detail}
}

func over(code Code, detail string) *Error { return &Error{Code: code, Kind: Over, Detail: detail} }

// Class is how a relay operation failed; it decides what happens next.
type Class uint8

// The classes of failures (docs/protocol.md, "Sending and receiving messages").
const (
	Temporary Class = iota + 1 // network, timeout, session lost: tried again with growing intervals
	Host                       // relay not reachable by configuration or version: as Temporary, but the client is warned
	Auth                       // AUTH: no such queue, or not authorized
	Quota                      // QUOTA: queue is full
	Large                      // LARGE_MSG
	Permanent                  // everything else
)
