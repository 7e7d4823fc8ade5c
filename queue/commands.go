package queue

import (
	"bytes"
	"slices"

	"github.com/coterie-im/coterie/internal/wire"
)

// Party says who sends a command, and so which ID names the queue.
type Party uint8

// The parties of a command.
const (
	Anybody   Party = iota // no queue: PING, PRXY, RFWD, NEW
	Recipient              // recipient ID
	Sender                 // sender ID
	Notifier               // notifier ID
	LinkUser               // link ID
	Service                // service ID
	ProxyUser              // ID of a session between proxy and relay
)

// String returns the party's name.
func (p Party) String() string {
	return [...]string{"anybody", "recipient", "sender", "notifier", "link user", "service", "proxy user"}[p]
}

// Credentials is the rule for authorization and entity of a command.
type Credentials uint8

// The rules.
const (
	AuthAndEntity  Credentials = iota // both
	AuthNoEntity                      // authorization, no entity: NEW
	EntityMayAuth                     // entity, authorization optional: SEND
	EntityNoAuth                      // entity, no authorization
	NoAuthNoEntity                    // neither
)

// String describes the rule.
func (c Credentials) String() string {
	return [...]string{"authorization and entity", "authorization, no entity", "entity, authorization optional",
		"entity, no authorization", "neither authorization nor entity"}[c]
}

// check returns the error of a command with or without authorization and entity, or "".
func (c Credentials) check(auth, entity bool) Error {
	switch c {
	case AuthAndEntity:
		if !auth || !entity {
			return ErrCmdNoAuth
		}
	case AuthNoEntity:
		if !auth {
			return ErrCmdNoAuth
		}
		if entity {
			return ErrCmdHasAuth
		}
	case EntityMayAuth:
		if !entity {
			return ErrCmdNoEntity
		}
	case EntityNoAuth:
		if !entity {
			return ErrCmdNoEntity
		}
		if auth {
			return ErrCmdHasAuth
		}
	case NoAuthNoEntity:
		if auth || entity {
			return ErrCmdHasAuth
		}
	}
	return ""
}

// CommandInfo is a row of the command table.
type CommandInfo struct {
	Tag         string
	MinVersion  Version // since when clients may rely on it
	Party       Party
	Credentials Credentials
	Forwarded   bool   // may come through a proxy
	Params      string // layout of the parameters, empty if none
	Success     string // what answers it
	Summary     string

	bare   Command                                 // the command, if it has no parameters
	decode func(r *wire.Reader, v Version) Command // reads the parameters
}

// commandTable is the protocol: dispatch, docs and fuzz seeds come from it. It never changes.
var commandTable = []CommandInfo{
	{Tag: "NEW", MinVersion: 6, Party: Anybody, Credentials: AuthNoEntity, Params: "recipient key, DH key, password, S or C, by version: mode, link data, notifier", Success: "IDS", Summary: "create a queue", decode: decodeNEW},
	{Tag: "SUB", MinVersion: 6, Party: Recipient, Success: "OK or SOK, then MSG", Summary: "subscribe to a queue", bare: SUB{}},
	{Tag: "SUBS", MinVersion: 16, Party: Service, Success: "SOKS", Summary: "subscribe to all queues of a service", bare: SUBS{}},
	{Tag: "KEY", MinVersion: 6, Party: Recipient, Params: "sender key", Success: "OK", Summary: "secure a queue with the sender's key", decode: decodeKEY},
	{Tag: "RKEY", MinVersion: 15, Party: Recipient, Params: "list of recipient keys", Success: "OK", Summary: "replace the recipient keys", decode: decodeRKEY},
	{Tag: "LSET", MinVersion: 15, Party: Recipient, Params: "link ID, fixed data, user data", Success: "OK", Summary: "set link data", decode: decodeLSET},
	{Tag: "LDEL", MinVersion: 15, Party: Recipient, Success: "OK", Summary: "delete link data", bare: LDEL{}},
	{Tag: "NKEY", MinVersion: 6, Party: Recipient, Params: "notifier key, DH key", Success: "NID", Summary: "make a notifier", decode: decodeNKEY},
	{Tag: "NDEL", MinVersion: 6, Party: Recipient, Success: "OK", Summary: "delete the notifier", bare: NDEL{}},
	{Tag: "GET", MinVersion: 6, Party: Recipient, Success: "MSG or OK", Summary: "get the first message without subscribing", bare: GET{}},
	{Tag: "ACK", MinVersion: 6, Party: Recipient, Params: "message ID", Success: "MSG or OK", Summary: "acknowledge the delivered message", decode: decodeACK},
	{Tag: "OFF", MinVersion: 6, Party: Recipient, Success: "OK", Summary: "take no more messages", bare: OFF{}},
	{Tag: "DEL", MinVersion: 6, Party: Recipient, Success: "OK", Summary: "delete a queue", bare: DEL{}},
	{Tag: "QUE", MinVersion: 6, Party: Recipient, Success: "INFO", Summary: "ask about a queue", bare: QUE{}},
	{Tag: "SKEY", MinVersion: 9, Party: Sender, Forwarded: true, Params: "sender key", Success: "OK", Summary: "secure a messaging queue as its sender", decode: decodeSKEY},
	{Tag: "SEND", MinVersion: 6, Party: Sender, Credentials: EntityMayAuth, Forwarded: true, Params: "flags, space, body", Success: "OK", Summary: "send a message", decode: decodeSEND},
	{Tag: "PING", MinVersion: 6, Party: Anybody, Credentials: NoAuthNoEntity, Success: "PONG", Summary: "keep the connection alive", bare: PING{}},
	{Tag: "LKEY", MinVersion: 15, Party: LinkUser, Forwarded: true, Params: "sender key", Success: "LNK", Summary: "secure a queue and get its link data", decode: decodeLKEY},
	{Tag: "LGET", MinVersion: 15, Party: LinkUser, Credentials: EntityNoAuth, Forwarded: true, Success: "LNK", Summary: "get the link data of a contact queue", bare: LGET{}},
	{Tag: "NSUB", MinVersion: 6, Party: Notifier, Success: "OK or SOK", Summary: "subscribe to notifications", bare: NSUB{}},
	{Tag: "NSUBS", MinVersion: 16, Party: Service, Success: "SOKS", Summary: "subscribe to all notifications of a service", bare: NSUBS{}},
	{Tag: "PRXY", MinVersion: 8, Party: Anybody, Credentials: NoAuthNoEntity, Params: "relay address, password", Success: "PKEY", Summary: "connect to another relay", decode: decodePRXY},
	{Tag: "PFWD", MinVersion: 8, Party: ProxyUser, Credentials: EntityNoAuth, Params: "version, DH key, sealed transmission", Success: "PRES", Summary: "forward a command to another relay", decode: decodePFWD},
	{Tag: "RFWD", MinVersion: 8, Party: Anybody, Credentials: NoAuthNoEntity, Params: "sealed envelope", Success: "RRES", Summary: "a forwarded command", decode: decodeRFWD},
}

// Commands returns the command table, in the order of the documentation.
func Commands() []CommandInfo { return slices.Clone(commandTable) }

// LookupCommand returns the row of a tag.
func LookupCommand(tag string) (CommandInfo, bool) {
	for i := range commandTable {
		if commandTable[i].Tag == tag {
			return commandTable[i], true
		}
	}
	return CommandInfo{}, false
}

// decodeCommand reads a command that was written at version v; those of versions above newest are unknown. The error is
// an Error.
func decodeCommand(v, newest Version, body []byte) (Command, CommandInfo, Error) {
	tag, params, spaced := bytes.Cut(body, []byte(" "))
	info, ok := LookupCommand(string(tag))
	if !ok || info.MinVersion > newest {
		return nil, CommandInfo{}, ErrCmdUnknown
	}
	if spaced != (info.decode != nil) {
		return nil, info, ErrCmdSyntax
	}
	if info.decode == nil {
		return info.bare, info, ""
	}
	r := wire.NewReader(params)
	c := info.decode(r, v)
	if r.Done() != nil {
		return nil, info, ErrCmdSyntax
	}
	return c, info, ""
}
