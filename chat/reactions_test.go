package chat

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent"
	agentstore "github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/chat/store"
)

// A type of event that is new in package agent must be decided on here.
func TestEveryTypeOfEventIsDecidedOn(t *testing.T) {
	if got, want := slices.Sorted(maps.Keys(reactions)), slices.Sorted(maps.Keys(agent.EventTypes())); !slices.Equal(got, want) {
		t.Errorf("reactions to %q\nevents are %q", got, want)
	}
	for name, r := range reactions {
		if (r.record == nil) == (r.silent == "") {
			t.Errorf("%s is neither recorded nor silent with a reason, or both", name)
		}
	}
}

// literals returns the string constants in a source file: those of typed constants, or the elements of a variable.
func literals(t *testing.T, file string, in func(ast.Node) bool) (all []string) {
	t.Helper()
	syntax, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(file), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(syntax, func(n ast.Node) bool {
		if n == nil || !in(n) {
			return true
		}
		ast.Inspect(n, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				text, err := strconv.Unquote(l.Value)
				if err != nil {
					t.Fatal(err)
				}
				if text != "" {
					all = append(all, text)
				}
			}
			return true
		})
		return false
	})
	if len(all) == 0 {
		t.Fatalf("nothing found in %s", file)
	}
	return all
}

// declared fits the declaration of a variable or function of that name, or of constants of a type of that name.
func declared(name string) func(ast.Node) bool {
	return func(n ast.Node) bool {
		if f, ok := n.(*ast.FuncDecl); ok {
			return f.Name.Name == name
		}
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return false
		}
		kind, _ := v.Type.(*ast.Ident)
		return v.Names[0].Name == name || kind != nil && kind.Name == name
	}
}

func TestEverythingThatAGroupTellsHasWords(t *testing.T) {
	for _, change := range literals(t, "../agent/event.go", declared("Change")) {
		if changes[agent.Change(change)] == nil {
			t.Errorf("nothing is said about GSTATE %q", change)
		}
	}
	for name, words := range map[string]struct {
		file, variable string
		words          map[string]string
		never          []string
	}{
		"reasons":  {"../grouproto/types.go", "reasonNames", reasonWords, nil},
		"warnings": {"../agent/groupevents.go", "warningNames", warningWords, nil},
		"limits":   {"../grouproto/limit.go", "limitNames", limitWords, []string{"pairs", "invitations", "size", "kept"}}, // never in a warning
		"recovery": {"../grouproto/recover.go", "String", recoveryWords, nil},
	} {
		want := literals(t, words.file, declared(words.variable))
		for _, w := range want {
			if words.words[w] == "" && !slices.Contains(words.never, w) {
				t.Errorf("%s: no words for %q", name, w)
			}
		}
		for w := range words.words {
			if !slices.Contains(want, w) {
				t.Errorf("%s: words for %q, which does not exist", name, w)
			}
		}
	}
}

// told plays events to an app and returns every update and the history of the group G:g.
func told(t *testing.T, events ...agent.EventData) (updates []Update, history []store.Message, c store.Conversation) {
	t.Helper()
	s := &scripted{}
	for i, data := range events {
		s.events = append(s.events, agent.Event{Seq: uint64(i + 1), Time: time.Unix(int64(i), 0), Entity: "G:g", Data: data})
	}
	file, err := store.Open(filepath.Join(t.TempDir(), "chat.db"), agentstore.RawKey([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	app, err := New(Options{Agent: s, History: file, Profile: Profile{DisplayName: "ann"}, Observe: func(u Update) { updates = append(updates, u) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	history, err = app.Messages(store.Group, "g")
	if err != nil {
		t.Fatal(err)
	}
	all, err := app.Conversations()
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	return updates, history, all[0]
}

func card(t *testing.T, name string) []byte {
	t.Helper()
	c, err := Profile{DisplayName: name}.Card()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhatAGroupTellsIsInWords(t *testing.T) {
	ben := &agent.GroupChanged{Change: agent.ChangeMemberCard, Member: "b", Value: card(t, "ben")}
	for want, event := range map[string]agent.EventData{
		"warning: ben said two different things at once, or comes back with an old copy of what it knows": &agent.GroupWarning{Warning: "equivocation", Member: "b"},
		"warning: the group is large: every message is sent to each member":                               &agent.GroupWarning{Warning: "limit", Limit: "members"},
		"warning: ben passed on too many introductions":                                                   &agent.GroupWarning{Warning: "limit", Limit: "offers", Member: "b"},
		"warning: ben sent more than is taken here":                                                       &agent.GroupWarning{Warning: "limit", Limit: "news", Member: "b"},
		"warning: somebody could not prove to be ben; that connection was cut off and is made again":      &agent.GroupWarning{Warning: "hello", Member: "b"},
		"warning: unheard of (somebody)":                                                                  &agent.GroupWarning{Warning: "unheard of"},
		"not connected with ben: nobody who is connected can introduce you":                               &agent.GroupChanged{Change: agent.ChangeMemberWaiting, Member: "b", Reason: "no route"},
		"sending to ben rests: silent for three weeks; it gets what it missed when it is back":            &agent.GroupChanged{Change: agent.ChangeMemberPaused, Member: "b", Reason: "inactive"},
		"ben is back": &agent.GroupChanged{Change: agent.ChangeMemberResumed, Member: "b"},
		"nothing can be written until the others have said what is missing here: you said that a backup was restored": &agent.GroupChanged{Change: agent.ChangeRecovering, Reason: "asked"},
		"messages not delivered to ben: your membership ended before":                                                 &agent.GroupSendFailed{Member: "b", Numbers: agent.NumberRange{From: 1, To: 1 << 40}, Reason: "ended"},
		"who asks with a link: who knows the password is let in":                                                      &agent.GroupChanged{Change: agent.ChangeSetting, Name: settingJoin, Value: []byte("password secret")},
		"new members may read the last 5 messages of each":                                                            &agent.GroupChanged{Change: agent.ChangeSetting, Name: settingHistory, Value: []byte("5")},
		"you were not let in": &agent.GroupChanged{Change: agent.ChangeAskRefused},
		"asking came to nothing: the relay cannot be reached":        &agent.GroupChanged{Change: agent.ChangeAskFailed, Reason: "host"},
		"ben removed you; that can be contested, as you stand above": &agent.Removed{By: "b", Contestable: true},
		"ben removed you":                              &agent.Removed{By: "b"},
		"no direct connection with ben: refused":       &agent.DirectEnded{Member: "b", Reason: "refused"},
		"ben: now observer":                            &agent.GroupChanged{Change: agent.ChangeRole, Member: "b", Role: "observer"},
		"nobody else is here":                          &agent.GroupEmpty{},
		"introduced to everybody, 2 not connected yet": &agent.Introduced{Waiting: 2},
		"the agent goes on trying: the relay does not know the queue any more": &agent.Failed{Code: "SMP AUTH", Fault: "agent"},
	} {
		updates, history, _ := told(t, ben, event)
		last := updates[len(updates)-1]
		switch {
		case last.Remark == want && len(history) == 0:
		case last.Message != nil && last.Message.Text == want && last.Message.Notice && len(history) == 1:
		default:
			t.Errorf("%T is told as %q and %+v, want %q", event, last.Remark, last.Message, want)
		}
	}
}

func message(author string, number, depth uint64, text string, voucher agent.MemberID) *agent.GroupMessage {
	body, _, err := EncodeText(text)
	if err != nil {
		panic(err)
	}
	hash := make([]byte, 32)
	copy(hash, text)
	return &agent.GroupMessage{MessageRecord: agent.MessageRecord{
		Message: agent.MessageID{Author: agent.MemberID(author), Number: number, Hash: hash}, Depth: depth, Body: body, Vouched: voucher,
	}}
}

func TestCopiesAreMarkedConfirmedAndTakenBack(t *testing.T) {
	good, bad := message("b", 0, 1, "what ben wrote", "c"), message("b", 1, 2, "what cat made up", "c")
	right := message("b", 1, 2, "what ben wrote then", "")
	right.Replaces = true
	updates, history, _ := told(t, good, bad,
		&agent.GroupMessageConfirmed{Message: good.Message}, &agent.GroupMessageConfirmed{Message: good.Message},
		&agent.GroupMessageRefuted{Message: bad.Message}, right,
		&agent.GroupMessageRefuted{Message: message("x", 9, 1, "never here", "").Message})
	if len(history) != 3 || history[0].Vouched || history[0].False || !history[1].False || history[1].Vouched || history[2].False || !history[2].Replaces {
		t.Errorf("%+v", history)
	}
	if history[0].Voucher != "c" || history[1].Text != "what cat made up" {
		t.Error("who gave a copy, or what it said, is forgotten")
	}
	var revised []bool
	for _, u := range updates {
		if u.Revised != nil {
			revised = append(revised, u.Revised.False)
		}
	}
	if !slices.Equal(revised, []bool{false, true}) {
		t.Errorf("told %v", revised)
	}
	// The real message alone says as much as GMSGFALSE before it.
	if _, history, _ = told(t, bad, right); !history[0].False || history[1].False {
		t.Errorf("%+v", history)
	}
}

func TestWhatComesLateStandsWhereItBelongs(t *testing.T) {
	_, history, _ := told(t, message("b", 0, 1, "one", ""), message("b", 1, 2, "two", ""), message("c", 0, 9, "nine", ""),
		message("c", 1, 10, "ten", ""), message("b", 2, 3, "three", ""), message("b", 3, 4, "four", ""), message("d", 0, 9, "also nine", ""))
	var texts []string
	for _, m := range history {
		texts = append(texts, m.Text)
		if m.Late != (m.Text == "three" || m.Text == "four") {
			t.Errorf("%s late: %v", m.Text, m.Late)
		}
	}
	if !slices.Equal(texts, []string{"one", "two", "three", "four", "nine", "ten", "also nine"}) {
		t.Errorf("%q", texts)
	}
}

func TestUndeliveredMessagesAreNamed(t *testing.T) {
	own := message("self", 0, 1, "mine", "")
	_, history, _ := told(t, &agent.GroupOwnMessage{MessageRecord: own.MessageRecord},
		&agent.GroupSendFailed{Member: "b", Numbers: agent.NumberRange{From: 0, To: 3}, Reason: "number"})
	if len(history) != 2 || !history[0].Own || history[1].Text != `"mine" not delivered to b…: `+reasonWords["number"] {
		t.Errorf("%+v", history)
	}
}

func TestRemovalHidesAndIsUndone(t *testing.T) {
	added := &agent.GroupChanged{Change: agent.ChangeMemberCard, Member: "b", Value: card(t, "ben")}
	removal := &agent.MemberRemoved{Member: "b", By: "c", Hide: true}
	if _, _, c := told(t, added, removal); !c.Members[0].Hidden {
		t.Error("not hidden")
	}
	if _, _, c := told(t, added, removal, &agent.GroupChanged{Change: agent.ChangeMemberRestored, Member: "b"}); c.Members[0].Hidden {
		t.Error("hidden for ever")
	}
	removed := &agent.Removed{By: "b", Contestable: true}
	if _, _, c := told(t, removed); !c.Ended || c.RemovedBy != "b" {
		t.Errorf("%+v", c)
	}
	for _, end := range []agent.Change{agent.ChangeRestored, agent.ChangeGone} {
		if _, _, c := told(t, removed, &agent.GroupChanged{Change: end}); c.RemovedBy != "" || c.Ended != (end == agent.ChangeGone) {
			t.Errorf("%s: %+v", end, c)
		}
	}
}
