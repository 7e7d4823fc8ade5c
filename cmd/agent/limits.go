package main

import (
	"fmt"
	"time"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/grouproto"
)

// groupLimits is the section [groups] of the configuration file; what is missing has its default.
type groupLimits struct {
	WarnMembers  int   `toml:"warn_members"`  // members above which there is a warning
	MaxMembers   int   `toml:"max_members"`   // members above which nobody is invited
	KeptMessages int   `toml:"kept_messages"` // messages of a group that are kept
	KeptDays     int   `toml:"kept_days"`     // how long
	WantsMinute  int   `toml:"wants_minute"`  // questions of one member that are answered in a minute
	CopiesHour   int64 `toml:"copies_hour"`   // bytes of copies for one member in an hour
}

// check refuses values that make no sense. errUsage.
func (l groupLimits) check() error {
	for _, v := range []struct {
		name        string
		value, most int64
	}{
		{"warn_members", int64(l.WarnMembers), grouproto.MaxMembers},
		{"max_members", int64(l.MaxMembers), grouproto.MaxMembers},
		{"kept_messages", int64(l.KeptMessages), 10_000_000},
		{"kept_days", int64(l.KeptDays), 36_500},
		{"wants_minute", int64(l.WantsMinute), 10_000},
		{"copies_hour", l.CopiesHour, 1 << 40},
	} {
		if v.value < 0 || v.value > v.most {
			return fmt.Errorf("%w: configuration: groups.%s is not between 1 and %d", errUsage, v.name, v.most)
		}
	}
	return nil
}

func (l groupLimits) limits() agent.GroupLimits {
	return agent.GroupLimits{
		WarnMembers:  l.WarnMembers,
		MaxMembers:   l.MaxMembers,
		KeptMessages: l.KeptMessages,
		Retention:    time.Duration(l.KeptDays) * 24 * time.Hour,
		WantsMinute:  l.WantsMinute,
		CopiesHour:   int(l.CopiesHour),
	}
}
