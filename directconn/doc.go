// Package directconn decides about direct connections on demand (docs/groups.md, "Direct connections on demand"): one
// member of a group asks another for a connection of their own, the other accepts or refuses, or its rules do. The
// contact that comes of it shares no key, queue, ID or lifetime with the pair connection of the group.
//
// It is a core without I/O: Step takes an input (a command of the client, a frame that a group passed up, a link that
// was made) and returns effects. It knows groups and connections only as names and links as bytes; its frames travel
// inside a group's pair connections, which authenticate them, so they carry no signatures.
package directconn
