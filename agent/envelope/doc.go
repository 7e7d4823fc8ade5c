// Package envelope is what agents say to each other, from the outside in (docs/protocol.md, "Envelopes"):
//
//	Client      the body of one message in one queue: a box under the queue's secret, padded to one of two lengths
//	Envelope    inside the box: confirmation, message, invitation or ratchet key
//	Plaintext   inside the ratchet message of a confirmation or message: connection info, or a numbered Message
//	Message     hello, client message, receipt, and what keeps queues going
//
// It has no I/O, no randomness and no state. The ratchet between Envelope and Plaintext is in agent/ratchet, queue
// addresses are in agent/link, and what is done with all of it is in agent/conn. Every top-level decoder consumes its
// whole input; byte slices in what it returns are parts of the input.
package envelope
