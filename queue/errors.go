package queue

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/coterie-im/coterie/internal/wire"
)

// Error is an error that a relay answers with ERR (docs/protocol.md, "Errors of relays"): its exact text on the wire,
// behind "ERR ". Values compare with == and errors.Is. The empty Error is no error.
//
// The constants are all errors without details; the others are made by Blocked, StoreError, ProxyProtocol and
// ProxyBroker, and nothing else is an Error: clients do not understand words that they do not know.
type Error string

// The errors without details.
const (
	ErrBlock          Error = "BLOCK"            // framing of a block or transmission, size of the authorization
	ErrSession        Error = "SESSION"          // wrong session ID (version 6)
	ErrCmdUnknown     Error = "CMD UNKNOWN"      // no such command
	ErrCmdSyntax      Error = "CMD SYNTAX"       // parameters do not parse
	ErrCmdProhibited  Error = "CMD PROHIBITED"   // not allowed in this state or session
	ErrCmdNoAuth      Error = "CMD NO_AUTH"      // authorization missing, or the entity too
	ErrCmdHasAuth     Error = "CMD HAS_AUTH"     // authorization or entity where none may be
	ErrCmdNoEntity    Error = "CMD NO_ENTITY"    // entity missing
	ErrProxyBasicAuth Error = "PROXY BASIC_AUTH" // proxying is off, or wrong password
	ErrProxyNoSession Error = "PROXY NO_SESSION" // no such session with another relay
	ErrAuth           Error = "AUTH"             // no such queue, or not authorized
	ErrService        Error = "SERVICE"          // rules of service sessions
	ErrCrypto         Error = "CRYPTO"           // forwarded command does not decrypt
	ErrQuota          Error = "QUOTA"            // queue is full
	ErrExpired        Error = "EXPIRED"          // reserved
	ErrNoMsg          Error = "NO_MSG"           // ACK without matching delivered message
	ErrLargeMsg       Error = "LARGE_MSG"        // message body is too large
	ErrInternal       Error = "INTERNAL"
)

// BrokerError is what a proxy reports about the relay behind it: the exact text behind "PROXY BROKER ".
type BrokerError string

// The broker errors without details. The others are made by BrokerResponse and BrokerUnexpected.
const (
	BrokerNetwork    BrokerError = "NETWORK" // also received with a detail: use IsNetwork
	BrokerTimeout    BrokerError = "TIMEOUT"
	BrokerHost       BrokerError = "HOST" // no usable host in the address
	BrokerNoService  BrokerError = "NO_SERVICE"
	BrokerBlock      BrokerError = "TRANSPORT BLOCK"
	BrokerVersion    BrokerError = "TRANSPORT VERSION" // the relay is too old
	BrokerLargeMsg   BrokerError = "TRANSPORT LARGE_MSG"
	BrokerSession    BrokerError = "TRANSPORT SESSION"
	BrokerNoAuth     BrokerError = "TRANSPORT NO_AUTH" // no session key
	BrokerParse      BrokerError = "TRANSPORT HANDSHAKE PARSE"
	BrokerIdentity   BrokerError = "TRANSPORT HANDSHAKE IDENTITY"
	BrokerBadAuth    BrokerError = "TRANSPORT HANDSHAKE BAD_AUTH"
	BrokerBadService BrokerError = "TRANSPORT HANDSHAKE BAD_SERVICE"
)

const (
	wordBlocked    = "BLOCKED "
	wordStore      = "STORE "
	wordProtocol   = "PROXY PROTOCOL "
	wordBroker     = "PROXY BROKER "
	wordNetwork    = "NETWORK "
	wordResponse   = "RESPONSE "
	wordUnexpected = "UNEXPECTED "

	legacyNoQueue = "CMD NO_QUEUE" // what ErrCmdNoEntity was called
)

// isPlain tells whether e is one of the constants.
func (e Error) isPlain() bool {
	switch e {
	case ErrBlock, ErrSession, ErrCmdUnknown, ErrCmdSyntax, ErrCmdProhibited, ErrCmdNoAuth, ErrCmdHasAuth, ErrCmdNoEntity,
		ErrProxyBasicAuth, ErrProxyNoSession, ErrAuth, ErrService, ErrCrypto, ErrQuota, ErrExpired, ErrNoMsg, ErrLargeMsg,
		ErrInternal:
		return true
	}
	return false
}

func (b BrokerError) isPlain() bool {
	switch b {
	case BrokerNetwork, BrokerTimeout, BrokerHost, BrokerNoService, BrokerBlock, BrokerVersion, BrokerLargeMsg, BrokerSession,
		BrokerNoAuth, BrokerParse, BrokerIdentity, BrokerBadAuth, BrokerBadService:
		return true
	}
	return false
}

// BlockReason says why an operator has blocked a queue.
type BlockReason string

// The reasons.
const (
	BlockSpam    BlockReason = "spam"
	BlockContent BlockReason = "content"
)

// BlockInfo is the detail of the error of a blocked queue.
type BlockInfo struct {
	Reason BlockReason
	Notice *BlockNotice // version 18 and later, nil if none
}

// BlockNotice says how long clients should keep telling their user.
type BlockNotice struct {
	TTL int64 // seconds, 0 for ever
}

type blockNoticeJSON struct {
	TTL int64 `json:"ttl,omitempty"`
}

// Blocked returns the error of a queue that the operator has blocked. It is sent as AUTH below version 12.
func Blocked(info BlockInfo) Error {
	e := wordBlocked + "reason=" + string(info.Reason)
	if info.Notice != nil {
		b, err := json.Marshal(blockNoticeJSON(*info.Notice))
		if err != nil {
			panic(fmt.Sprintf("queue: a number is plain data: %v", err))
		}
		e += ",notice=" + string(b)
	}
	return Error(e)
}

// Blocked returns the detail of a Blocked error; ok is false for other errors.
func (e Error) Blocked() (info BlockInfo, ok bool) {
	detail, ok := strings.CutPrefix(string(e), wordBlocked)
	if !ok {
		return BlockInfo{}, false
	}
	return parseBlockInfo(detail)
}

func parseBlockInfo(detail string) (info BlockInfo, ok bool) {
	reason, notice, noticed := strings.Cut(detail, ",notice=")
	reason, ok = strings.CutPrefix(reason, "reason=")
	info.Reason = BlockReason(reason)
	if !ok || info.Reason != BlockSpam && info.Reason != BlockContent {
		return BlockInfo{}, false
	}
	if noticed {
		var j *blockNoticeJSON
		if json.Unmarshal([]byte(notice), &j) != nil || j == nil || j.TTL < 0 {
			return BlockInfo{}, false
		}
		info.Notice = (*BlockNotice)(j)
	}
	return info, true
}

// StoreError returns the error of a failing storage, with a text for the operator of the client.
func StoreError(text string) Error { return Error(wordStore + text) }

// IsStore tells whether e is a StoreError.
func (e Error) IsStore() bool { return strings.HasPrefix(string(e), wordStore) }

// ProxyProtocol returns what a proxy answers when the relay behind it has answered inner.
func ProxyProtocol(inner Error) Error { return Error(wordProtocol) + inner }

// ProxyProtocol returns the error of the relay behind a proxy; ok is false for other errors.
func (e Error) ProxyProtocol() (inner Error, ok bool) {
	s, ok := strings.CutPrefix(string(e), wordProtocol)
	return Error(s), ok
}

// ProxyBroker returns what a proxy answers when the relay behind it could not be asked.
func ProxyBroker(b BrokerError) Error { return Error(wordBroker) + Error(b) }

// ProxyBroker returns what a proxy reports about the relay behind it; ok is false for other errors.
func (e Error) ProxyBroker() (b BrokerError, ok bool) {
	s, ok := strings.CutPrefix(string(e), wordBroker)
	return BrokerError(s), ok
}

// BrokerResponse is the broker error for a response that does not parse; text is cut to 255 bytes.
func BrokerResponse(text string) BrokerError { return wordResponse + brokerText(text) }

// BrokerUnexpected is the broker error for a response that does not fit the command; text is cut to 255 bytes.
func BrokerUnexpected(text string) BrokerError { return wordUnexpected + brokerText(text) }

func brokerText(text string) BrokerError {
	return BrokerError(wire.AppendStr8(nil, []byte(text[:min(len(text), 255)])))
}

// IsNetwork tells whether b is BrokerNetwork, with or without a detail.
func (b BrokerError) IsNetwork() bool {
	return b == BrokerNetwork || strings.HasPrefix(string(b), wordNetwork)
}

// ParseError reads the text behind "ERR ". wire.ErrSyntax for words that are not known: whoever sends them speaks
// another protocol.
func ParseError(text []byte) (Error, error) {
	e := Error(text)
	if e == legacyNoQueue {
		return ErrCmdNoEntity, nil
	}
	if e.isPlain() || e.IsStore() {
		return e, nil
	}
	if info, ok := e.Blocked(); ok {
		return Blocked(info), nil
	}
	if inner, ok := e.ProxyProtocol(); ok {
		inner, err := ParseError([]byte(inner))
		if err != nil {
			return "", err
		}
		return ProxyProtocol(inner), nil
	}
	if b, ok := e.ProxyBroker(); ok && b.valid() {
		return e, nil
	}
	return "", fmt.Errorf("unknown error: %w", wire.ErrSyntax)
}

func (b BrokerError) valid() bool {
	if b.isPlain() {
		return true
	}
	if detail, ok := strings.CutPrefix(string(b), wordNetwork); ok {
		return validNetworkDetail(detail)
	}
	for _, word := range []string{wordResponse, wordUnexpected} {
		if detail, ok := strings.CutPrefix(string(b), word); ok {
			return isStr8(detail)
		}
	}
	return false
}

// validNetworkDetail checks what later relays may say about a network error.
func validNetworkDetail(detail string) bool {
	switch detail {
	case "UNKNOWNCA", "FAILED", "TIMEOUT":
		return true
	}
	for _, word := range []string{"CONNECT ", "TLS ", "SUBSCRIBE "} {
		if text, ok := strings.CutPrefix(detail, word); ok {
			return isStr8(text)
		}
	}
	return false
}

func isStr8(s string) bool { return len(s) > 0 && int(s[0]) == len(s)-1 }

// at returns what is sent for e to a client of version v.
func (e Error) at(v Version) Error {
	if inner, ok := e.ProxyProtocol(); ok {
		return ProxyProtocol(inner.at(v))
	}
	info, ok := e.Blocked()
	switch {
	case !ok || v >= VersionNotice:
		return e
	case v < VersionBlocked:
		return ErrAuth
	default:
		return Blocked(BlockInfo{Reason: info.Reason})
	}
}

// Kind returns the words of e without details: "AUTH", "CMD SYNTAX", "PROXY PROTOCOL AUTH", "STORE". There are few of
// them, and none has anything in it that a relay can choose.
func (e Error) Kind() string {
	if e.isPlain() {
		return string(e)
	}
	if inner, ok := e.ProxyProtocol(); ok {
		if _, twice := inner.ProxyProtocol(); twice {
			return "PROXY PROTOCOL"
		}
		return wordProtocol + inner.Kind()
	}
	if b, ok := e.ProxyBroker(); ok {
		if b.isPlain() {
			return string(e)
		}
		word, _, _ := strings.Cut(string(b), " ")
		return wordBroker + word
	}
	word, _, _ := strings.Cut(string(e), " ")
	return word
}

// Error names the kind of the error, never its details.
func (e Error) Error() string { return "relay answered " + e.Kind() }
