package chat

import (
	"context"
	"errors"
	"iter"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/agent/control"
	agentstore "github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/chat/store"
)

var errDies = errors.New("the app dies here")

// scripted is an agent that tells the same events to everybody who asks: as after a crash that came before the
// acknowledgement. It notes what it is asked to do, and fails at one step.
type scripted struct {
	control.API // the calls that are not needed
	events      []agent.Event
	did         []string
	dieAt       string
}

func (s *scripted) step(what string) error {
	s.did = append(s.did, what)
	if what == s.dieAt {
		return errDies
	}
	return nil
}

func (s *scripted) Events(context.Context, string) iter.Seq2[agent.Event, error] {
	return func(yield func(agent.Event, error) bool) {
		for _, e := range s.events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (s *scripted) Group(_ context.Context, g agent.GroupID) (agent.GroupInfo, error) {
	return agent.GroupInfo{ID: g, Self: "self", Settings: map[string][]byte{settingTitle: []byte("friends")}}, nil
}

func (s *scripted) Allow(context.Context, agent.ConnectionID, string, []byte) error {
	if slices.Contains(s.did, "allow") {
		return &conn.Error{Code: conn.CodeProhibited, Kind: conn.OurFault} // it was answered before the crash
	}
	return s.step("allow")
}

func (s *scripted) Ack(context.Context, agent.ConnectionID, int64, *agent.AckOptions) error {
	return s.step("ack")
}

func (s *scripted) ConnectionResync(context.Context, agent.ConnectionID, bool) error {
	if slices.Contains(s.did, "resync") {
		return &conn.Error{Code: conn.CodeProhibited, Kind: conn.OurFault}
	}
	return s.step("resync")
}

func (s *scripted) AckEvent(_ context.Context, _ string, seq uint64) error {
	return s.step("done " + string(rune('0'+seq)))
}

// Wherever the app ends in between, started again it has and tells everything once, and answers what was not answered.
func TestNothingIsMissingOrDoubleAfterACrash(t *testing.T) {
	text, _, err := EncodeText("hello")
	if err != nil {
		t.Fatal(err)
	}
	info, err := Profile{DisplayName: "ben"}.Info()
	if err != nil {
		t.Fatal(err)
	}
	events := []agent.Event{
		{Seq: 1, Entity: "C:ben", Data: &agent.Confirmation{Confirmation: "c", Info: info}},
		{Seq: 2, Entity: "C:ben", Data: &agent.Connected{}},
		{Seq: 3, Entity: "C:ben", Data: &agent.Message{ID: 7, Body: text}},
		{Seq: 4, Entity: "G:g", Data: &agent.GroupMessage{MessageRecord: agent.MessageRecord{
			Message: agent.MessageID{Author: "a", Number: 0, Hash: make([]byte, 32)}, Body: text}}},
		{Seq: 5, Entity: "C:ben", Data: &agent.GroupInvitation{Invitation: "i"}},
		{Seq: 6, Entity: "C:ben", Data: &agent.ResyncChanged{State: "allowed"}},
		{Seq: 7, Entity: "C:ben", Data: &agent.ResyncChanged{State: "required"}},
		{Seq: 8, Entity: "C:ben", Data: &agent.ResyncChanged{State: "started"}},
	}
	for _, dieAt := range []string{"", "allow", "done 1", "done 2", "ack", "done 3", "done 4", "done 5", "resync", "done 7"} {
		t.Run("dies at "+dieAt, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "chat.db")
			s := &scripted{events: events, dieAt: dieAt}
			var told []string
			run := func() (contact, group []store.Message) {
				history, err := store.Open(path, agentstore.RawKey([32]byte{1}))
				if err != nil {
					t.Fatal(err)
				}
				defer history.Close()
				app, err := New(Options{Agent: s, History: history, Profile: Profile{DisplayName: "ann"}, Now: func() time.Time { return time.Unix(1, 0) },
					Observe: func(u Update) {
						if u.Invitation != nil {
							told = append(told, "invitation")
						}
						if u.Message != nil {
							told = append(told, u.Message.Text)
						}
					}})
				if err != nil {
					t.Fatal(err)
				}
				if err := app.Run(t.Context()); err != nil && !errors.Is(err, errDies) {
					t.Fatal(err)
				}
				contact, _ = app.Messages(store.Contact, "ben")
				group, _ = app.Messages(store.Group, "g")
				return contact, group
			}
			run()
			s.dieAt = ""
			contact, group := run()
			if len(contact) != 4 || contact[0].Text != "connected" || contact[1].Text != "hello" || len(group) != 1 {
				t.Errorf("kept %+v and %+v", contact, group)
			}
			if !slices.Equal(told, []string{"connected", "hello", "hello", "invitation", contact[2].Text, contact[3].Text}) {
				t.Errorf("told %q", told)
			}
			for _, e := range []string{"allow", "ack", "resync", "done 1", "done 2", "done 3", "done 4", "done 5", "done 6", "done 7", "done 8"} {
				if !slices.Contains(s.did, e) {
					t.Errorf("never did %q", e)
				}
			}
		})
	}
}
