package agent

import (
	"context"
	"fmt"
)

// sceneKinds are the scenes by the child's role.
func sceneKinds() map[string]*sceneKind {
	return map[string]*sceneKind{
		"resync asker":   resyncAsker(),
		"resync answer":  resyncAnswer(),
		"switch own":     switchOwn(),
		"switch of peer": switchPeer(),
		"fork maker":     forkMaker(),
		"fork invited":   forkInvited(),
		"recovers":       recovers(),
		"restored":       restored(),
		"contest":        contests(),
		"remover":        removes(),
		"removed":        isRemoved(),
		"leaver":         leaves(),
		"rejoin":         rejoins(),
		"fan-out":        sendsToMany(),
		"listener":       listens(),
		"history taker":  takesHistory(),
		"history giver":  givesHistory(),
		"pauser":         pauses(),
		"paused":         isPaused(),
	}
}

// answersContact acknowledges what a contact says, and answers what is expected last.
func answersContact(last string) func(ctx context.Context, c *child, p plan, e Event) error {
	return func(ctx context.Context, c *child, p plan, e Event) error {
		m, ok := e.Data.(*Message)
		if !ok || e.Connection() != p.Connection {
			return nil
		}
		if string(m.Body) == last {
			if _, err := c.Send(ctx, p.Connection, Outgoing{Body: []byte("answer"), Key: "answer"}); err != nil {
				return err
			}
		}
		return c.repeated(c.Ack(ctx, p.Connection, m.ID, nil))
	}
}

// hearAnswer waits for the victim's answer, acknowledging what comes before it.
func (s *scene) hearAnswer(id ConnectionID) {
	s.t.Helper()
	a := s.here[0]
	for {
		m := expect(a, connectionEntity(id), func(m *Message) bool { return !m.Again })
		must(s.t, a.Ack(s.t.Context(), id, m.ID, nil))
		if string(m.Body) == "answer" {
			return
		}
	}
}

// backAndForth is checked at the end of scenes with a contact.
func (s *scene) backAndForth(id ConnectionID) {
	s.t.Helper()
	tell := func(from *testAgent, id ConnectionID, to *testAgent, at ConnectionID, text string) {
		s.t.Helper()
		_, err := from.Send(s.t.Context(), id, Outgoing{Body: []byte(text)})
		must(s.t, err)
		m := expect(to, connectionEntity(at), func(m *Message) bool { return string(m.Body) == text })
		must(s.t, to.Ack(s.t.Context(), at, m.ID, nil))
	}
	tell(s.here[0], id, s.victim, s.plan.Connection, "at last")
	tell(s.victim, s.plan.Connection, s.here[0], id, "good bye")
	if info, err := s.victim.Connection(s.t.Context(), s.plan.Connection); err != nil || info.Ratchet != "" || info.SwitchReceiving != "" || info.SwitchSending != "" {
		s.t.Errorf("%+v, %v", info, err)
	}
}

// parted makes a contact whose one end goes back to an old copy.
func (s *scene) parted(restored func() *testAgent) (ofA ConnectionID, old []byte) {
	s.t.Helper()
	relay := startRelay(s.t)
	a, v := s.newHere("alice", relay), s.newVictim(relay)
	ofA, s.plan.Connection = connect(s.t, a, v)
	exchange := func(what string) {
		talk(s.t, a, ofA, v, s.plan.Connection, what+" to the victim")
		talk(s.t, v, s.plan.Connection, a, ofA, what+" to alice")
	}
	exchange("before")
	old = restored().copyStore()
	exchange("unknown to the copy")
	exchange("this too")
	return ofA, old
}

// resyncAsker was restored and asks for a new ratchet.
func resyncAsker() *sceneKind {
	var ofA ConnectionID
	return &sceneKind{
		prepare: func(s *scene) {
			var old []byte
			ofA, old = s.parted(func() *testAgent { return s.victim })
			s.restoreVictim(old)
			_, err := s.here[0].Send(s.t.Context(), ofA, Outgoing{Body: []byte("lost")})
			must(s.t, err)
		},
		handle: answersContact("after"),
		done: func(ctx context.Context, c *child, p plan) (bool, error) {
			info, err := c.Connection(ctx, p.Connection)
			if err == nil && info.Ratchet == "required" {
				err = c.repeated(c.ConnectionResync(ctx, p.Connection, false))
			}
			return info.Ratchet == "", err
		},
		meanwhile: func(s *scene) {
			mended(s.here[0], ofA)
			_, err := s.here[0].Send(s.t.Context(), ofA, Outgoing{Body: []byte("after")})
			must(s.t, err)
			s.hearAnswer(ofA)
		},
		check: func(s *scene) { s.backAndForth(ofA) },
	}
}

// resyncAnswer has a contact that was restored.
func resyncAnswer() *sceneKind {
	var ofA ConnectionID
	return &sceneKind{
		prepare: func(s *scene) {
			var old []byte
			ofA, old = s.parted(func() *testAgent { return s.here[0] })
			s.victim.close()
			s.here[0].restoreFrom(old)
		},
		act: func(ctx context.Context, c *child, p plan) error {
			_, err := c.Send(ctx, p.Connection, Outgoing{Body: []byte("lost"), Key: "lost"})
			return err
		},
		handle: answersContact("after"),
		meanwhile: func(s *scene) {
			expect(s.here[0], connectionEntity(ofA), func(e *ResyncChanged) bool { return e.State == "required" })
			must(s.t, s.here[0].ConnectionResync(s.t.Context(), ofA, false))
			mended(s.here[0], ofA)
			_, err := s.here[0].Send(s.t.Context(), ofA, Outgoing{Body: []byte("after")})
			must(s.t, err)
			s.hearAnswer(ofA)
		},
		check: func(s *scene) { s.backAndForth(ofA) },
	}
}

const switchMessages = 8

// switchOwn moves its queue to another relay while the peer writes.
func switchOwn() *sceneKind {
	var ofA ConnectionID
	return &sceneKind{
		prepare: func(s *scene) {
			a, v := s.newHere("alice", startRelay(s.t)), s.newVictim(startRelay(s.t), startRelay(s.t))
			ofA, s.plan.Connection = connect(s.t, a, v)
			s.plan.Relay = v.queuesOf(s.plan.Connection)[0]
		},
		act: func(ctx context.Context, c *child, p plan) error {
			queues, err := c.queuesOf(ctx, p.Connection)
			if err != nil || len(queues) != 1 || queues[0] != p.Relay {
				return err
			}
			return c.repeated(c.ConnectionSwitch(ctx, p.Connection))
		},
		handle: answersContact(fmt.Sprint("message ", switchMessages-1)),
		done: func(ctx context.Context, c *child, p plan) (bool, error) {
			queues, err := c.queuesOf(ctx, p.Connection)
			return len(queues) == 1 && queues[0] != p.Relay, err
		},
		meanwhile: func(s *scene) {
			for i := range switchMessages - 1 {
				_, err := s.here[0].Send(s.t.Context(), ofA, Outgoing{Body: []byte(fmt.Sprint("message ", i))})
				must(s.t, err)
			}
			expect(s.here[0], connectionEntity(ofA), func(e *SwitchChanged) bool { return e.Phase == "completed" })
			_, err := s.here[0].Send(s.t.Context(), ofA, Outgoing{Body: []byte(fmt.Sprint("message ", switchMessages-1))})
			must(s.t, err)
			s.hearAnswer(ofA)
		},
		check: func(s *scene) {
			for i := range switchMessages {
				m := expect(s.victim, connectionEntity(s.plan.Connection), func(m *Message) bool { return !m.Again })
				if string(m.Body) != fmt.Sprint("message ", i) || m.Integrity != "OK" {
					s.t.Errorf("message %d is %q, %s", i, m.Body, m.Integrity)
				}
			}
			s.backAndForth(ofA)
		},
	}
}

// queuesOf returns the relays of a connection's own queues.
func (c *child) queuesOf(ctx context.Context, id ConnectionID) (relays []string, err error) {
	err = do(ctx, c.Agent, func(t *turn) error {
		relays = nil
		e, err := t.conn(id)
		if err != nil {
			return err
		}
		for _, q := range e.meta.Queues {
			relays = append(relays, q.Relay)
		}
		return nil
	})
	return relays, err
}

// switchPeer writes to a peer that moves its queue.
func switchPeer() *sceneKind {
	var ofA ConnectionID
	return &sceneKind{
		prepare: func(s *scene) {
			a, v := s.newHere("alice", startRelay(s.t), startRelay(s.t)), s.newVictim(startRelay(s.t))
			ofA, s.plan.Connection = connect(s.t, a, v)
		},
		act: func(ctx context.Context, c *child, p plan) error {
			for i := range switchMessages {
				name := fmt.Sprint("message ", i)
				if _, err := c.Send(ctx, p.Connection, Outgoing{Body: []byte(name), Key: name}); err != nil {
					return err
				}
			}
			return nil
		},
		handle: answersContact("after"),
		meanwhile: func(s *scene) {
			a, entity := s.here[0], connectionEntity(ofA)
			must(s.t, a.ConnectionSwitch(s.t.Context(), ofA))
			for i := range switchMessages {
				m := expect(a, entity, func(m *Message) bool { return !m.Again })
				if string(m.Body) != fmt.Sprint("message ", i) || m.Integrity != "OK" {
					s.t.Errorf("message %d is %q, %s", i, m.Body, m.Integrity)
				}
				must(s.t, a.Ack(s.t.Context(), ofA, m.ID, nil))
			}
			expect(a, entity, func(e *SwitchChanged) bool { return e.Phase == "completed" })
			_, err := a.Send(s.t.Context(), ofA, Outgoing{Body: []byte("after")})
			must(s.t, err)
			s.hearAnswer(ofA)
		},
		check: func(s *scene) { s.backAndForth(ofA) },
	}
}
