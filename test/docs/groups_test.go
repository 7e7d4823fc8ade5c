package docs_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coterie-im/coterie/directconn"
	"github.com/coterie-im/coterie/grouproto"
	"github.com/coterie-im/coterie/grouproto/oplog"
)

func groups(t *testing.T) *document { return documents(t)["groups.md"] }

func TestFrameTable(t *testing.T) {
	var source, text []string
	for _, f := range grouproto.Frames() {
		source = append(source, strings.Join([]string{strconv.Itoa(int(f.Tag)), f.Name, f.Way, f.Layout}, " | "))
	}
	for _, row := range groups(t).rows(t, "Frames") {
		if len(row) == 4 {
			text = append(text, strings.Join(row, " | "))
		}
	}
	same(t, "frame", source, text)
}

func TestReasonTable(t *testing.T) {
	var source, text []string
	for r := grouproto.ReasonNone + 1; r.String() != "unknown"; r++ {
		source = append(source, strconv.Itoa(int(r))+" "+r.String())
	}
	for _, row := range groups(t).rows(t, "The pair connection") {
		if len(row) == 3 {
			text = append(text, row[0]+" "+row[1])
		}
	}
	same(t, "reason", source, text)
}

func TestPolicyTable(t *testing.T) {
	symmetric, moderated := oplog.Symmetric(), oplog.Moderated()
	reach := map[oplog.Reach]string{oplog.OnAnybody: "anybody", oplog.OnLower: "lower roles", oplog.OnLowerOrEqual: "lower or equal roles"}
	source := []string{"reach " + reach[symmetric.Reach] + " " + reach[moderated.Reach]}
	for i := range symmetric.Levels {
		source = append(source, strings.Join([]string{strconv.Itoa(i), symmetric.Levels[i].String(), moderated.Levels[i].String()}, " "))
	}
	var text []string
	for _, row := range groups(t).rows(t, "Operations") {
		switch {
		case len(row) == 4 && row[1] == "reach":
			text = append(text, "reach "+row[2]+" "+row[3])
		case len(row) == 4 && row[2] != "" && len(strings.Fields(row[2])) == 1:
			text = append(text, strings.Join([]string{row[0], row[2], row[3]}, " "))
		}
	}
	// Actions have four columns too, but several words or none in the third.
	text = slices.DeleteFunc(text, func(s string) bool { return strings.HasPrefix(s, "6 policy") || strings.Contains(s, "–") })
	same(t, "policy", source, text)
}

// limits are the constants that the table of limits names.
var limits = map[string]any{
	"grouproto.MaxMembers":       grouproto.MaxMembers,
	"oplog.MaxMembers":           oplog.MaxMembers,
	"oplog.MaxBody":              oplog.MaxBody,
	"oplog.MaxParents":           oplog.MaxParents,
	"oplog.MaxTargets":           oplog.MaxTargets,
	"oplog.MaxOps":               oplog.MaxOps,
	"oplog.MaxParallel":          oplog.MaxParallel,
	"oplog.MaxLate":              oplog.MaxLate,
	"oplog.MaxWaiting":           oplog.MaxWaiting,
	"oplog.MaxWaitingOf":         oplog.MaxWaitingOf,
	"oplog.MaxUnjudged":          oplog.MaxUnjudged,
	"oplog.MaxUnjudgedOf":        oplog.MaxUnjudgedOf,
	"grouproto.MaxBody":          grouproto.MaxBody,
	"grouproto.MaxFrames":        grouproto.MaxFrames,
	"grouproto.MaxCard":          grouproto.MaxCard,
	"grouproto.MaxInfo":          grouproto.MaxInfo,
	"grouproto.MaxLink":          grouproto.MaxLink,
	"grouproto.MaxOpenPairs":     grouproto.MaxOpenPairs,
	"grouproto.MaxHeldOffers":    grouproto.MaxHeldOffers,
	"grouproto.MaxAttempts":      grouproto.MaxAttempts,
	"grouproto.MaxWantMessages":  grouproto.MaxWantMessages,
	"grouproto.MaxWantsMinute":   grouproto.MaxWantsMinute,
	"grouproto.MaxCopiesHour":    grouproto.MaxCopiesHour,
	"grouproto.MaxKeptMessages":  grouproto.MaxKeptMessages,
	"grouproto.Retention":        grouproto.Retention,
	"grouproto.InvitationExpiry": grouproto.InvitationExpiry,
	"grouproto.OfferExpiry":      grouproto.OfferExpiry,
	"grouproto.Grace":            grouproto.Grace,
	"grouproto.MaxRequestsHour":  grouproto.MaxRequestsHour,
	"grouproto.MaxRequests":      grouproto.MaxRequests,
	"grouproto.MaxDoors":         grouproto.MaxDoors,
	"grouproto.MaxAsked":         grouproto.MaxAsked,
	"grouproto.MaxKnocks":        grouproto.MaxKnocks,
	"grouproto.MaxPassword":      grouproto.MaxPassword,
	"grouproto.DoorExpiry":       grouproto.DoorExpiry,
	"directconn.MaxText":         directconn.MaxText,
	"directconn.MaxLink":         directconn.MaxLink,
	"directconn.MaxWaiting":      directconn.MaxWaiting,
	"directconn.MaxOpen":         directconn.MaxOpen,
	"directconn.MaxBody":         directconn.MaxBody,
	"directconn.Expiry":          directconn.Expiry,
}

func TestLimits(t *testing.T) {
	var source, text []string
	for name, value := range limits {
		n, ok := value.(int)
		if d, is := value.(time.Duration); is {
			n, ok = int(d/time.Hour), true
		}
		if !ok {
			t.Fatalf("%s is neither number nor time", name)
		}
		source = append(source, name+" "+strconv.Itoa(n))
	}
	for _, row := range groups(t).rows(t, "Limits") {
		names := code(row[2])
		if len(names) == 0 {
			continue
		}
		number, unit, _ := strings.Cut(row[1], " ")
		n, err := strconv.Atoi(strings.ReplaceAll(number, ",", ""))
		if err != nil {
			t.Errorf("%s: %q is not a number", names[0], number)
		}
		if unit == "days" {
			n *= 24
		}
		text = append(text, names[0]+" "+strconv.Itoa(n))
	}
	same(t, "limit", source, text)
}

var label = regexp.MustCompile(`^coterie/[a-z-]+/[0-9]+$`)

func TestLabels(t *testing.T) {
	var source, text []string
	for _, folder := range []string{"grouproto", "directconn", "agent"} {
		for _, file := range sources(t, folder, false) {
			for _, s := range literals(file) {
				if label.MatchString(s) && !slices.Contains(source, s) {
					source = append(source, s)
				}
			}
		}
	}
	for _, row := range groups(t).rows(t, "Words and notation") {
		for _, s := range code(row[0]) {
			if label.MatchString(s) {
				text = append(text, s)
			}
		}
	}
	same(t, "label", source, text)
}
