// Package grouproto is the group protocol of one member: the frames that members exchange and the state machine that
// creates a group, invites and introduces members, keeps one connection per pair of members, fans messages out, repairs
// gaps and judges who may speak and read (docs/groups.md).
//
// A Group is a core without I/O. Step takes one input (a command of the client, an event of a connection, the passing
// of time), writes what must survive through the kv.Tx it is given and returns effects: operations on connections,
// which it knows only by the names that it chose for them, and events for the client. Everything of one step belongs to
// one transaction together with what the effects change in the connections; nothing may leave the machine before that
// transaction is committed.
//
// It is not for operations and what they mean (package oplog), not for the requests of direct connections (package
// directconn), and it knows neither relays nor queues nor ratchets: a link is bytes, a connection a string.
package grouproto
