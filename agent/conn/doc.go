// Package conn is one duplex connection between two agents as a state machine: the handshake in its standard, fast and
// mixed forms, contact addresses, sending with strict order and published retry rules, receiving with integrity results
// and without duplicates, receipts, quota, new ratchets, queues that move, and deletion (docs/protocol.md, "Procedures").
//
// It does no I/O and has no clock, no timers and no randomness of its own. Everything happens in Step: an input (a
// client's call, a message from a relay, the result of a relay operation, a tick) changes the state, the records in the
// transaction follow, and effects come back: operations for the network and events for the client. Everything that must
// survive is in the transaction before Step returns, so consuming an input, the new state, queued messages and events are
// one atomic change if the caller stores events in the same transaction. Operations are derived from the state; after a
// restart Load and Pending bring back those that are not done yet, and doing one twice is harmless.
//
// It knows nothing of sessions, subscriptions in batches, groups or the command protocol; those are in package agent.
//
// # The handshake
//
// The initiator makes the link, the joiner received it. A queue is fast if its sender can secure it (messaging mode and
// client version 3); which form is used is decided per queue, by whether the confirmation carries a key.
//
//	initiator                                      joiner
//	creating     NEW → LinkReady                   securing    SKEY, if the initiator's queue is fast
//	invited      ← confirmation: Confirmation      replying    NEW
//	confirmed    client: Allow                     confirming  SEND confirmation → Joined
//	allowing     KEY if a key came, SKEY if fast   joined      ← confirmation: Info
//	answering    SEND confirmation                 keying      KEY if a key came
//	   fast reply queue → connected                   no key came → connected
//	greeting     ← HELLO, SEND HELLO               greeting    SEND HELLO, ← HELLO
//	connected                                      connected
//
// A contact address is creating, then address; who requests through it is creating, requesting (the invitation is on its
// way), then invited and so on. failed is the end of a handshake that cannot go on.
package conn
