package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat"
)

// stage is what all members share: where they are, and the transcript.
type stage struct {
	folder, programs string
	relay            *relay
	colors           bool

	mu    sync.Mutex
	out   io.Writer // guarded by mu
	begun time.Time
	order []*member // in the order in which they came
}

var palette = []int{36, 33, 35, 32, 34, 31}

// headline prints what happens next.
func (s *stage) headline(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if s.colors {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	fmt.Fprintf(s.out, "\n── %s\n", text)
}

// remark prints a result under a headline.
func (s *stage) remark(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "         %s\n", fmt.Sprintf(format, args...))
}

// show prints what a member sees, if it is for people.
func (s *stage) show(m *member, u chat.Update) {
	var line string
	switch {
	case u.Message != nil && u.Message.Notice:
		line = "· " + u.Message.Text
	case u.Message != nil && u.Message.Own:
		line = "you: " + u.Message.Text
	case u.Message != nil && u.Conversation.Kind == "contact":
		line = fmt.Sprintf("(direct) %s: %s", u.Conversation.Name, u.Message.Text)
	case u.Message != nil:
		line = fmt.Sprintf("%s: %s", s.nameOf(agent.MemberID(u.Message.Author)), u.Message.Text)
	case u.Invitation != nil:
		line = fmt.Sprintf("· %s invites you to %q, %d members", u.Invitation.From, u.Invitation.Title, u.Invitation.Members)
	case u.Request != nil:
		line = fmt.Sprintf("· %s asks for a direct connection", s.nameOf(u.Request.Member))
	default:
		return
	}
	s.line(m, chat.Printable(line))
}

func (s *stage) line(m *member, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := fmt.Sprintf("%-4s", m.name)
	for i, o := range s.order {
		if s.colors && o == m {
			name = fmt.Sprintf("\x1b[%dm%s\x1b[0m", palette[i%len(palette)], name)
		}
	}
	fmt.Fprintf(s.out, "%6.2fs  %s │ %s\n", time.Since(s.begun).Seconds(), name, text)
}

func (s *stage) nameOf(key agent.MemberID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.order {
		if m.key != "" && m.key == key {
			return m.name
		}
	}
	return "somebody"
}

// keyed notes the member key of a member's agent.
func (s *stage) keyed(m *member, key agent.MemberID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.key = key
}
