package chat

import (
	"fmt"
	"strings"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/chat/store"
)

// reasonWords say why a member is not connected, sending to it rests, or messages were given up
// (docs/groups.md, "The pair connection").
var reasonWords = map[string]string{
	"temporary":           "errors of the network or a relay did not pass",
	"host":                "the relay cannot be reached",
	"auth":                "the relay does not know the queue any more",
	"not available":       "the connection could not be completed",
	"quota":               "its queue is full, because it does not read",
	"expired":             "given up after waiting too long",
	"hello":               "it could not prove who it is",
	"no answer":           "it has not answered yet",
	"waiting for inviter": "only the inviter can introduce you, and it is not there",
	"no route":            "nobody who is connected can introduce you",
	"inactive":            "silent for three weeks",
	"limit":               "too many attempts",
	"refused":             "refused",
	"ratchet":             "messages cannot be opened; new keys are made",
	"ended":               "your membership ended before",
	"number":              "you wrote it before it was known what you had written earlier, as after a restored backup",
}

// recoveryWords say why nothing can be written for now (docs/groups.md, "Recovery").
var recoveryWords = map[string]string{
	"asked":     "you said that a backup was restored",
	"message":   "others know messages of yours that are not here",
	"operation": "others know changes of yours that are not here",
	"ratchet":   "messages could not be opened",
	"ratchets":  "messages of several members could not be opened",
	"store":     "the store of the agent has gone back to an older copy",
}

// warningWords say what GWARN means; %s is the member that it is about.
var warningWords = map[string]string{
	"equivocation": "%s said two different things at once, or comes back with an old copy of what it knows",
	"disputed":     "%s gave a copy of a message that differs from what others have; nobody can prove which is right",
	"sweep":        "%s removed many members within an hour",
	"hello":        "somebody could not prove to be %s; that connection was cut off and is made again",
	"upgrade":      "the group uses something newer than this program: update it to change anything; messages go on",
	"limit":        "%s sent more than is taken here",
	"card":         "the profile of %s is not the one that it was added with",
}

// limitWords say what GWARN limit means for some limits; %s is the member that it is about.
var limitWords = map[string]string{
	"members":    "the group is large: every message is sent to each member",
	"operations": "the group has changed so often that only leaving, removing and closing go on; make a new group of it",
	"parallel":   "%s made too many changes at once; some are not taken",
	"waiting":    "%s sent changes that cannot be understood yet; some are asked for again",
	"frames":     "%s sent too much at once; what was dropped is asked for again",
	"questions":  "%s asks too often for what it lacks",
	"copies":     "%s asks for more copies than are given in an hour",
	"offers":     "%s passed on too many introductions",
	"attempts":   "too many attempts to connect with %s today",
	"held":       "messages that cannot be judged yet were dropped and are asked for again",
	"direct":     "%s asks too often for a direct connection",
	"forks":      "%s invites to too many other groups",
	"requests":   "too many people ask to be let in; some were ignored",
	"unjudged":   "too many changes that only a newer program understands: update it",
}

// codeWords say what the errors of connections mean.
var codeWords = map[string]string{
	string(conn.CodeNotAvailable): "the contact cannot be reached any more",
	string(conn.CodeNotAccepted):  "the contact has not accepted",
	string(conn.CodeAuth):         "the relay does not know the queue any more",
	string(conn.CodeQuota):        "the contact does not read, its queue is full",
	string(conn.CodeExpired):      "it could not be delivered in time",
	string(conn.CodeVersion):      "no common version with the other program",
	string(conn.CodeLink):         "the link leads nowhere",
	string(conn.CodeResync):       "messages cannot be opened",
	string(conn.CodeDecryptAES):   "a message could not be opened",
	string(conn.CodeDecryptBox):   "a message could not be opened",
	string(conn.CodeMessage):      "a message that cannot be understood",
	string(conn.CodeSkipped):      "messages are missing",
	string(conn.CodeInternal):     "the agent's own trouble; its log says more",
}

// inWords is what a stable name means, or the name itself.
func inWords(words map[string]string, name string) string {
	if text, ok := words[name]; ok {
		return text
	}
	return Printable(name)
}

// ReasonInWords says why a member is not connected, sending to it rests, or a message was not delivered.
func ReasonInWords(reason string) string { return inWords(reasonWords, reason) }

// RecoveryInWords says why nothing can be written to a group for now.
func RecoveryInWords(reason string) string { return inWords(recoveryWords, reason) }

// warning is a warning in words.
func (a *App) warning(b *store.Batch, e agent.Event, data *agent.GroupWarning) string {
	text, ok := warningWords[data.Warning]
	if limit, special := limitWords[data.Limit]; special && data.Warning == "limit" {
		text = limit
	}
	if !ok {
		text = Printable(data.Warning) + " (%s)"
	}
	who := a.member(b, e, data.Member)
	if data.Member == "" {
		who = "somebody"
	}
	return strings.Replace(text, "%s", who, 1)
}

// count is a number with a word for what is counted.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// waiting says how many members are not connected yet.
func waiting(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d not connected yet", n)
}
