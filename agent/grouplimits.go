package agent

import (
	"time"

	"github.com/coterie-im/coterie/grouproto"
)

// GroupLimits are the limits of groups that whoever runs an agent may set; zero is the default (docs/groups.md,
// "Limits"). They apply to all groups of the agent and say nothing to their other members.
type GroupLimits struct {
	// WarnMembers is the number of members above which a GroupWarning is reported; default 100.
	WarnMembers int
	// MaxMembers is the number of members above which nobody is invited here; default and most 500.
	MaxMembers int
	// KeptMessages is how many messages of a group are kept; default 10,000.
	KeptMessages int
	// Retention is how long they are kept; default 21 days. What is not kept is not there for members that come back.
	Retention time.Duration
	// WantsMinute is how many questions for missing messages one member is answered in a minute; default 20.
	WantsMinute int
	// CopiesHour is how many bytes of messages of others one member is given in an hour; default 4 MiB.
	CopiesHour int
}

func (l GroupLimits) limits() grouproto.Limits { return grouproto.Limits(l) }
