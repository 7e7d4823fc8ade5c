// Package control is the command socket of an agent daemon: a Unix socket with a line protocol, spoken by any number of
// clients at once, and a Go client that has the methods of package agent (docs/commands.md).
//
// A transmission is three lines in each direction: a correlation ID of the client's choice, the entity (nothing, "C:" and
// a connection ID, or "G:" and a group ID), and the command with its parameters. Parameters are words; the last may be a
// body, either ":" and text up to the end of the line, or its size in bytes, a line feed, and the bytes.
//
//	1 CRLF            1 CRLF
//	CRLF              C:Qm9iJ3MgY29ubi4u CRLF
//	NEW INV CRLF      INV simplex:/invitation#/?v=… CRLF
//
// Events of the agent come with an empty correlation ID after the client has asked for them under a name of its own
// (EVENTS): each name is a cursor that resumes where it was acknowledged (DONE).
//
// All commands are one table, from which dispatch, the client's encoding, the reference in docs and the seeds of the fuzz
// targets come. The package is not for remote access: who may open the socket may do everything the agent can.
package control
