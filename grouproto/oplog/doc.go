// Package oplog is what a symmetric group agrees on: signed operations, the rules by which each of them is admitted for
// ever, and the state – members, roles, policy, settings – as a pure function of the set of admitted operations
// (docs/groups.md, "Operations" and "State is a function of the set of operations").
//
// Equal sets of operations give equal states, whatever the order, batching or duplication in which they arrived: no rule
// reads arrival order, a clock or a local choice.
//
//   - Op, Body and the Action types are the byte formats; Sign and DecodeSigned make and read them.
//   - Log holds the admitted operations of one group as a directed acyclic graph and decides about new ones.
//   - State is what a set of operations means; Log.State is that of all, Log.StateAt that of the past of given heads.
//   - Log.Next and Log.Contest build the next operation of a member.
//
// It does no I/O and has no clock and no randomness of its own: records go through a kv.Tx that the caller passes in,
// times and random bytes are parameters. It knows no frames, connections or messages; those are package grouproto's.
//
// A Log and the States it returns are not safe for concurrent use; the group that owns the Log owns them too.
package oplog
