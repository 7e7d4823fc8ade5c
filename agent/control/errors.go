package control

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/directconn"
	"github.com/coterie-im/coterie/grouproto"
)

// codes are the stable codes of errors that are not *conn.Error, which have their own (docs/commands.md, "Errors").
var codes = []struct {
	err  error
	code conn.Code
}{
	{errSyntax, "CMD SYNTAX"},
	{errOutOfStep, "CMD SYNTAX"},
	{errUnknown, "CMD UNKNOWN"},
	{errEntity, "CMD ENTITY"},
	{errBusy, "CMD BUSY"},
	{errTimeout, "CMD TIMEOUT"},
	{errTooLarge, conn.CodeLarge},
	{errProhibited, conn.CodeProhibited},
	{agent.ErrClosed, "INACTIVE"},
	{agent.ErrNoRelay, "AGENT NO_RELAY"},
	{agent.ErrFull, "AGENT DISK_FULL"},
	{agent.ErrNotYours, "CONN NOT_YOURS"},
	{agent.ErrReserved, "CMD RESERVED"},
	{agent.ErrKeyReused, "CMD KEY_REUSED"},
	{agent.ErrCursor, "EVENTS NO_CURSOR"},
	{agent.ErrEventsLost, "EVENTS LOST"},
	{agent.ErrNoGroup, "GROUP NOT_FOUND"},
	{agent.ErrNoMember, "GROUP NO_MEMBER"},
	{agent.ErrNoInvitation, "GROUP NO_INVITATION"},
	{agent.ErrMember, "GROUP MEMBER"},
	{agent.ErrUnreachable, "GROUP UNREACHABLE"},
	{agent.ErrNoLink, "GROUP NO_LINK"},
	{agent.ErrNoRole, "GROUP NO_ROLE"},
	{agent.ErrStillThere, "GROUP STILL_THERE"},
	{grouproto.ErrNotMember, "GROUP NOT_MEMBER"},
	{grouproto.ErrNotPermitted, "GROUP NOT_PERMITTED"},
	{grouproto.ErrClosed, "GROUP CLOSED"},
	{grouproto.ErrJoining, "GROUP JOINING"},
	{grouproto.ErrTooLarge, conn.CodeLarge},
	{grouproto.ErrLimit, "GROUP LIMIT"},
	{grouproto.ErrUnknown, "GROUP NO_MEMBER"},
	{grouproto.ErrTooSoon, "GROUP TOO_SOON"},
	{grouproto.ErrExpired, "GROUP EXPIRED"},
	{grouproto.ErrNoContest, "GROUP NO_CONTEST"},
	{grouproto.ErrUpgrade, "GROUP UPGRADE"},
	{grouproto.ErrRecovering, "GROUP RECOVERING"},
	{grouproto.ErrNotConnected, "GROUP NOT_CONNECTED"},
	{grouproto.ErrVersion, "GROUP VERSION"},
	{agent.ErrNoRule, "DIRECT NO_RULE"},
	{directconn.ErrTooLarge, conn.CodeLarge},
	{directconn.ErrLimit, "DIRECT LIMIT"},
	{directconn.ErrUnknown, "DIRECT NOT_FOUND"},
	{directconn.ErrExists, "DIRECT EXISTS"},
	{directconn.ErrAsked, "DIRECT ASKED"},
}

// connCodes are the codes of package conn that answer commands.
var connCodes = map[conn.Code]string{
	conn.CodeProhibited:   "the connection is not in the state for this",
	conn.CodeLarge:        "body or info too large",
	conn.CodeNotFound:     "no such connection, confirmation, request or message",
	conn.CodeNotAccepted:  "the peer has not accepted",
	conn.CodeNotAvailable: "the peer cannot be reached any more",
	conn.CodeBusy:         "too many messages wait to be sent",
	conn.CodeNoQueue:      "there is no queue to send to yet",
	conn.CodeVersion:      "no common version with the other agent",
	conn.CodeLink:         "a link that is none, leads nowhere or does not verify",
	conn.CodeResync:       "the two ends' encryption does not fit any more",
	conn.CodeInternal:     "the agent's own trouble; its log says more",
}

// Errors maps every code that a command can be answered with to what it means, for the reference.
func Errors() map[conn.Code]string {
	all := map[conn.Code]string{}
	for code, meaning := range connCodes {
		all[code] = meaning
	}
	for _, c := range codes {
		meaning := c.err.Error()
		switch old, ok := all[c.code]; {
		case !ok:
			all[c.code] = meaning
		case !strings.Contains(old, meaning):
			all[c.code] = old + "; " + meaning
		}
	}
	return all
}

// Error is an error that a daemon answered.
type Error struct {
	Code   conn.Code
	Detail string // for people; may be empty
}

// Error gives the code and the detail.
func (e *Error) Error() string {
	if e.Detail == "" {
		return string(e.Code)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Detail)
}

// Is tells whether target is the error with the same code: *Error and *conn.Error are compared by their codes, others,
// such as agent.ErrNoGroup, by the code the protocol gives them.
func (e *Error) Is(target error) bool {
	switch t := target.(type) {
	case *Error:
		return t.Code == e.Code
	case *conn.Error:
		return t.Code == e.Code
	}
	for _, c := range codes {
		if c.err == target && c.code == e.Code {
			return true
		}
	}
	return false
}

// errorOf gives an error the form in which the protocol tells it. The details hold no identifiers: the errors do not.
func errorOf(err error) *Error {
	var told *Error
	var coded *conn.Error
	switch {
	case errors.As(err, &told):
		return told
	case errors.As(err, &coded):
		return &Error{coded.Code, coded.Detail}
	case errors.Is(err, context.Canceled):
		err = agent.ErrClosed // a command is cancelled when the daemon stops
	case errors.Is(err, context.DeadlineExceeded):
		err = errTimeout
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return &Error{c.code, err.Error()}
		}
	}
	return &Error{Code: conn.CodeInternal}
}

// answerError turns an error into "ERR code :detail".
func answerError(corrID, entity string, err error) transmission {
	e := errorOf(err)
	t := transmission{corrID: corrID, entity: entity, name: "ERR", words: strings.Split(string(e.Code), " ")}
	if e.Detail != "" {
		t.body, t.text = []byte(strings.Join(strings.Fields(e.Detail), " ")), true
	}
	return t
}

// decodeError is the reverse of answerError.
func decodeError(t transmission) *Error {
	return &Error{Code: conn.Code(strings.Join(t.words, " ")), Detail: string(t.body)}
}
