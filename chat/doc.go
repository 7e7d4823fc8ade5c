// Package chat is messaging for people on top of an agent: profiles, contacts, groups, text in the JSON of the public
// chat protocol, conversations and their history (docs/overview.md). It is also the example of how to build an app:
// everything it knows comes through the agent's commands and events.
//
// It is not for encryption, delivery and group membership, which are the agent's, and it draws nothing: that is for the
// programs that use it.
package chat
