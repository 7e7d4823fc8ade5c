package agent

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// safeBuffer is a buffer for several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// What happens is logged, and with whom is not.
func TestLogNamesNobody(t *testing.T) {
	ctx := t.Context()
	var out safeBuffer
	relay := startRelay(t)
	logged := func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&out, nil)) }
	alice, bob := newAgentWith(t, "alice", logged, relay), newAgentWith(t, "bob", logged, relay)
	c := newCircle(t, GroupOptions{}, alice, bob)
	c.say(0, "PLAINTEXT")
	relay.stop()
	expect[RelayDown](alice, "")
	_, err := alice.GroupSend(ctx, c.groups[0], Outgoing{Body: []byte("PLAINTEXT")})
	must(t, err)
	await(t, func() bool { return strings.Contains(out.String(), "unreachable") })
	relay.start()
	expect[GroupMessage](bob, c.groups[1].Entity())

	secrets := []string{"PLAINTEXT", relay.listen, "127.0.0.1", string(c.groups[0]), string(c.groups[1]), string(c.self(0)), string(c.self(1)), "simplex:", "smp://"}
	for _, a := range c.agents {
		must(t, do(ctx, a.Agent, func(t *turn) error {
			for id, e := range t.loop.conns {
				secrets = append(secrets, string(id))
				for _, q := range e.meta.Queues {
					secrets = append(secrets, string(q.ID))
				}
			}
			return nil
		}))
	}
	for _, s := range secrets {
		if strings.Contains(out.String(), s) {
			t.Errorf("%q is in the log:\n%s", s, out.String())
		}
	}
}
