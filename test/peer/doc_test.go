// Package peer_test connects agents with a peer that is not made of our agent: it plays what docs/protocol.md says of the
// other end, message by message, over a real relay. Everything between relay and ratchet (client envelopes, agent
// envelopes, numbered messages) is written here byte by byte; the ratchet, links and queue addresses, which have recorded
// vectors of their own, are those of the packages.
package peer_test
