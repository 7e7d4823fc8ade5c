package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/control"
	agentstore "github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/chat"
	"github.com/coterie-im/coterie/chat/store"
)

// member is one of the friends: an agent daemon in a process of its own, and the chat app that talks to it.
type member struct {
	name   string
	folder string
	stage  *stage

	daemon  *process
	client  *control.Client
	app     *chat.App
	history *store.Store
	running chan error
	cancel  context.CancelFunc

	group agent.GroupID
	key   agent.MemberID

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something was seen; guarded by mu
	seen    []chat.Update // guarded by mu
}

func newMember(s *stage, name string) *member {
	return &member{name: name, folder: filepath.Join(s.folder, name), stage: s, changed: make(chan struct{})}
}

// start runs the daemon and the app.
func (m *member) start(ctx context.Context) error {
	if err := os.MkdirAll(m.folder, 0o700); err != nil {
		return err
	}
	socket := filepath.Join(m.folder, "agent.sock")
	p, _, err := launch(ctx, filepath.Join(m.folder, "log"), filepath.Join(m.stage.programs, "agent"), "start",
		"--folder", m.folder, "--relay", m.stage.relay.address)
	if err != nil {
		return fmt.Errorf("agent of %s: %w", m.name, err)
	}
	m.daemon = p
	if m.client, err = control.Dial(ctx, socket); err != nil {
		return err
	}
	if m.history == nil {
		key, err := agentstore.ReadKeyFile(filepath.Join(m.folder, "agent.key"))
		if err != nil {
			return err
		}
		if m.history, err = store.Open(filepath.Join(m.folder, "chat.db"), key); err != nil {
			return err
		}
	}
	m.app, err = chat.New(chat.Options{Agent: m.client, History: m.history, Profile: chat.Profile{DisplayName: m.name}, Observe: m.observe})
	if err != nil {
		return err
	}
	ctx, m.cancel = context.WithCancel(ctx)
	m.running = make(chan error, 1)
	running, app := m.running, m.app
	go func() {
		err := app.Run(ctx)
		if !errors.Is(err, context.Canceled) && !errors.Is(err, control.ErrClosed) {
			m.stage.line(m, "· the app stopped: "+err.Error())
		}
		running <- err
	}()
	return nil
}

// stop ends daemon and app, the daemon by asking it, or with kill -9.
func (m *member) stop(hard bool) error {
	if m.daemon == nil {
		return nil
	}
	m.cancel()
	var err error
	if hard {
		err = m.daemon.kill()
	} else {
		err = m.daemon.stop()
	}
	_ = m.client.Close()
	if appErr := <-m.running; !errors.Is(appErr, context.Canceled) && !errors.Is(appErr, control.ErrClosed) {
		err = errors.Join(err, appErr)
	}
	m.daemon = nil
	return err
}

func (m *member) observe(u chat.Update) {
	m.mu.Lock()
	m.seen = append(m.seen, u)
	close(m.changed)
	m.changed = make(chan struct{})
	m.mu.Unlock()
	m.stage.show(m, u)
}

// mark returns a place in what the member has seen; await looks behind it.
func (m *member) mark() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.seen)
}

// await waits until the member sees something behind a mark that fits, and returns it.
func (m *member) await(ctx context.Context, what string, mark int, fits func(chat.Update) bool) (chat.Update, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		m.mu.Lock()
		for _, u := range m.seen[mark:] {
			if fits(u) {
				m.mu.Unlock()
				return u, nil
			}
		}
		mark = len(m.seen)
		changed := m.changed
		m.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return chat.Update{}, fmt.Errorf("%s waits for %s: %w", m.name, what, ctx.Err())
		}
	}
}

// awaitEvent waits for an event of the agent.
func awaitEvent[E agent.EventData](ctx context.Context, m *member, what string, mark int, fits func(E) bool) (data E, err error) {
	_, err = m.await(ctx, what, mark, func(u chat.Update) bool {
		if u.Event == nil {
			return false
		}
		d, ok := u.Event.Data.(E)
		if ok && fits(d) {
			data = d
			return true
		}
		return false
	})
	return data, err
}

func anything[E any](E) bool { return true }

// info returns the group as the member's agent knows it.
func (m *member) info(ctx context.Context) (agent.GroupInfo, error) {
	return m.client.Group(ctx, m.group)
}

// texts returns what the member has in the history of the group, notices left out, in the order in which it came.
func (m *member) texts() ([]store.Message, error) {
	all, err := m.app.Messages(store.Group, string(m.group))
	if err != nil {
		return nil, err
	}
	var texts []store.Message
	for _, message := range all {
		if !message.Notice {
			texts = append(texts, message)
		}
	}
	return texts, nil
}
