// Package relay_test attacks the relay from outside: a client that writes every byte itself, over real TLS, against a relay
// with a durable store. Nothing in it uses the encoders of the packages that are tested: layouts are written down here once
// more, from docs/protocol.md, and boxes are those of NaCl.
package relay_test
