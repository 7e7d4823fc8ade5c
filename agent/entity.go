package agent

import (
	"log/slog"
	"strings"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/grouproto/oplog"
)

// ConnectionID is an agent's own name for a connection: 12 random bytes as 16 characters of base64url. The peer does not
// know it.
type ConnectionID = conn.ID

// GroupID is an agent's own name for a membership in a group: 12 random bytes as 16 characters of base64url. Other
// members have other names for the group, and a second membership in the same group has a new one.
type GroupID string

// MemberID names a member of a group, the same for all members: the member key as 43 characters of base64url.
type MemberID string

// Entity says what an event or command is about, in the form of the command protocol: "C:" and a connection ID, "G:" and
// a group ID, or nothing for the agent as a whole.
type Entity string

// Entity names the group in events and commands.
func (g GroupID) Entity() Entity { return Entity("G:" + string(g)) }

func connectionEntity(id ConnectionID) Entity { return Entity("C:" + string(id)) }

// Connection returns the connection ID, or nothing if the entity is no connection.
func (e Entity) Connection() ConnectionID {
	id, ok := strings.CutPrefix(string(e), "C:")
	if !ok {
		return ""
	}
	return ConnectionID(id)
}

// Group returns the group ID, or nothing if the entity is no group.
func (e Entity) Group() GroupID {
	id, ok := strings.CutPrefix(string(e), "G:")
	if !ok {
		return ""
	}
	return GroupID(id)
}

func (m MemberID) key() (oplog.Key, error) {
	k, err := oplog.ParseKey(string(m))
	if err != nil {
		return k, ErrNoMember
	}
	return k, nil
}

// memberID is the text of a key; the zero key, which stands for nobody, gives an empty ID.
func memberID(k oplog.Key) MemberID {
	if k == (oplog.Key{}) {
		return ""
	}
	return MemberID(k.Text())
}

// LogValue hides the ID from logs.
func (GroupID) LogValue() slog.Value { return slog.StringValue("[group]") }

// LogValue hides the ID from logs.
func (MemberID) LogValue() slog.Value { return slog.StringValue("[member]") }

// LogValue hides the ID from logs.
func (Entity) LogValue() slog.Value { return slog.StringValue("[entity]") }
