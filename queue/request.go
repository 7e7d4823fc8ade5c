package queue

import "bytes"

// Request is a transmission of a client at the relay, checked as far as that needs no queue (docs/protocol.md, "Order of
// errors", steps 1 to 6).
type Request struct {
	Transmission         // what the answer echoes is CorrID and EntityID
	Command      Command // nil if there is an error
	Info         CommandInfo
	Err          Error // what to answer instead of running the command; empty if there is none
}

// Answer returns the answer to q with its IDs. The entity of the answers to NEW, PING and RFWD is empty like theirs.
func (q Request) Answer(resp Response) Answer {
	return Answer{CorrID: q.CorrID, EntityID: q.EntityID, Response: resp}
}

// DecodeBlock reads the payload of a block at the relay. If the block as a whole is malformed, or is empty, it is one
// request with ErrBlock and no IDs.
func DecodeBlock(v Version, sessionID, payload []byte) []Request {
	list, err := SplitBatch(payload)
	if err != nil {
		return []Request{{Err: ErrBlock}}
	}
	requests := make([]Request, len(list))
	for i, raw := range list {
		requests[i] = DecodeRequest(v, sessionID, raw)
	}
	return requests
}

// DecodeRequest reads one transmission at the relay and checks, in this order: framing, session ID (version 6), size of
// the authorization, tag, parameters, presence of authorization and entity. The first check that fails is Err, and the
// IDs are those that its answer has. Byte slices of the result are parts of raw.
//
// Commands that exist only in versions that are not Supported are unknown.
func DecodeRequest(v Version, sessionID, raw []byte) Request {
	t, err := DecodeTransmission(v, raw)
	if err != nil {
		return Request{Err: ErrBlock}
	}
	q := Request{Transmission: t}
	if v < VersionAuthenticators && !bytes.Equal(t.SessionID, sessionID) {
		return q.refuse(ErrSession)
	}
	if _, ok := authorizationAlgorithm(t.Authorization); !ok && len(t.Authorization) > 0 {
		return q.refuse(ErrBlock)
	}
	var c Command
	if c, q.Info, q.Err = decodeCommand(v, Supported().Max, t.Body); q.Err != "" {
		return q
	}
	if q.Err = q.Info.Credentials.check(len(t.Authorization) > 0, t.EntityID != ""); q.Err == "" {
		q.Command = c
	}
	return q
}

// refuse answers an error of the frame, which has no entity.
func (q Request) refuse(e Error) Request {
	q.EntityID = ""
	q.Err = e
	return q
}
