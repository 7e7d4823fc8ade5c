package queue

// Error is an error that a relay answers with ERR: its exact text on the wire, behind "ERR ". Values compare with ==
// and errors.Is. The empty Error is no error.
//
// The constants are all errors without parameters; the others are made by Blocked, Store, ProxyProtocol and ProxyBroker.
type Error string

// The errors without parameters.
const (
	ErrBlock          Error = "BLOCK"            // block or transmission framing, size of the authorization
	ErrSession        Error = "SESSION"          // wrong session ID (version 6)
	ErrCmdUnknown     Error = "CMD UNKNOWN"      // no such command
	ErrCmdSyntax      Error = "CMD SYNTAX"       // parameters do not parse
	ErrCmdProhibited  Error = "CMD PROHIBITED"   // not allowed in this state or session
	ErrCmdNoAuth      Error = "CMD NO_AUTH"      // authorization or entity missing
	ErrCmdHasAuth     Error = "CMD HAS_AUTH"     // authorization or entity where none may be
	ErrCmdNoEntity    Error = "CMD NO_ENTITY"    // entity missing
	ErrProxyBasicAuth Error = "PROXY BASIC_AUTH" // proxying off, or wrong password
	ErrProxyNoSession Error = "PROXY NO_SESSION" // no such session to another relay
	ErrAuth           Error = "AUTH"             // no such queue, or not authorized
	ErrService        Error = "SERVICE"          // rules of service sessions
	ErrCrypto         Error = "CRYPTO"           // forwarded command does not decrypt
	ErrQuota          Error = "QUOTA"            // queue is full
	ErrExpired        Error = "EXPIRED"          // reserved
	ErrNoMsg          Error = "NO_MSG"           // ACK without matching delivered message
	ErrLargeMsg       Error = "LARGE_MSG"        // message body too large
	ErrInternal       Error = "INTERNAL"
)

// Error names the error without details that came from the relay.
func (e Error) Error() string { return "relay answered " + string(e) }
