package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
)

var errBroken = errors.New("disk is full")

// flaky fails commits at random.
type flaky struct {
	mu     sync.Mutex
	random *rand.Rand
	rate   float64 // guarded by mu
	failed int     // guarded by mu
}

func newFlaky(seed uint64) *flaky { return &flaky{random: rand.New(rand.NewPCG(seed, 1))} }

func (f *flaky) commit() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.random.Float64() < f.rate {
		f.failed++
		return errBroken
	}
	return nil
}

func (f *flaky) set(rate float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rate = rate
}

// again repeats a call, which must be one that may be, until the store takes it.
func again(t testing.TB, f func() error) {
	t.Helper()
	await(t, func() bool {
		err := f()
		if err != nil && !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
		return err == nil
	})
}

// Half of the commits of two agents fail, and still everything happens, once.
func TestFailingStore(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	var agents [2]*testAgent
	var disks [2]*flaky
	for i := range agents {
		disk := newFlaky(uint64(i))
		agents[i] = newAgentWith(t, fmt.Sprint("agent", i), func(c *Config) { c.beforeCommit = disk.commit }, relay)
		disks[i] = disk
	}
	for _, d := range disks {
		d.set(0.5)
	}
	alice, bob := agents[0], agents[1]
	var ab, ba ConnectionID
	var link string
	again(t, func() (err error) {
		ab, link, err = alice.CreateConnection(ctx, CreateOptions{Key: "c"})
		return err
	})
	again(t, func() (err error) {
		ba, err = bob.JoinConnection(ctx, link, JoinOptions{Key: "j"})
		return err
	})
	c := expect[Confirmation](alice, connectionEntity(ab))
	again(t, func() error { return alice.Allow(ctx, ab, c.Confirmation, nil) })
	expect[Connected](alice, connectionEntity(ab))
	expect[Connected](bob, connectionEntity(ba))
	for n := range 5 {
		text := fmt.Sprint("message", n)
		again(t, func() error {
			_, err := alice.Send(ctx, ab, Outgoing{Body: []byte(text), Key: text})
			return err
		})
		m := expect[Message](bob, connectionEntity(ba))
		if string(m.Body) != text || m.Integrity != "OK" {
			t.Errorf("bob got %q, %s", m.Body, m.Integrity)
		}
		again(t, func() error { return bob.Ack(ctx, ba, m.ID, nil) })
	}
	for i, d := range disks {
		d.set(0)
		if d.failed == 0 {
			t.Error("no commit failed")
		}
		if n := agents[i].count("CON"); n != 1 {
			t.Errorf("agent %d was told %d times that it is connected", i, n)
		}
	}
	if n := bob.count("MSG"); n != 5 {
		t.Errorf("bob was told %d messages", n)
	}
}

// The same for a group of three that is made, joined and talked in.
func TestFailingStoreInAGroup(t *testing.T) {
	ctx := t.Context()
	relay := startRelay(t)
	disk := newFlaky(3)
	var agents []*testAgent
	for i := range 3 {
		agents = append(agents, newAgentWith(t, fmt.Sprint("agent", i), func(c *Config) { c.beforeCommit = disk.commit }, relay))
	}
	c := &circle{t, agents, make([]GroupID, 3)}
	var contacts, backs [3]ConnectionID
	for i := 1; i < 3; i++ {
		contacts[i], backs[i] = connect(t, agents[0], agents[i])
	}
	disk.set(0.3)
	again(t, func() (err error) {
		c.groups[0], err = agents[0].GroupNew(ctx, GroupOptions{Key: "g"})
		return err
	})
	for i := 1; i < 3; i++ {
		again(t, func() (err error) {
			_, err = agents[0].GroupAdd(ctx, c.groups[0], contacts[i], AddOptions{Key: fmt.Sprint("add", i)})
			return err
		})
		inv := expect[GroupInvitation](agents[i], connectionEntity(backs[i]))
		again(t, func() (err error) {
			c.groups[i], err = agents[i].GroupJoin(ctx, inv.Invitation, nil)
			return err
		})
	}
	c.together()
	for i, a := range agents {
		again(t, func() error {
			_, err := a.GroupSend(ctx, c.groups[i], Outgoing{Body: []byte(fmt.Sprint("from ", i)), Key: "m"})
			return err
		})
	}
	await(t, func() bool {
		all := 0
		for _, a := range agents {
			all += a.count("GMSG")
		}
		return all >= 6
	})
	disk.set(0)
	for i, a := range agents {
		if n := a.count("GMSG"); n != 2 {
			t.Errorf("agent %d was told %d messages", i, n)
		}
	}
	if disk.failed < 10 {
		t.Error("failed commits:", disk.failed)
	}
}

// A call whose transaction fails is refused with the store's error and has done nothing; others in the same batch are
// not affected by one that is refused.
func TestFailedTransactionLeavesNothing(t *testing.T) {
	ctx := t.Context()
	disk := newFlaky(1)
	a, err := Open(ctx, Config{Store: filepath.Join(t.TempDir(), "a.db"), Key: testKey, beforeCommit: disk.commit})
	must(t, err)
	t.Cleanup(func() { _ = a.Close(context.Background()) })
	disk.set(1)
	_, err = a.GroupNew(ctx, GroupOptions{})
	wantError(t, "group on a full disk", err, errBroken)
	disk.set(0)
	if groups, err := a.Groups(ctx); err != nil || len(groups) != 0 {
		t.Error("groups after the failure:", len(groups), err)
	}
	g, err := a.GroupNew(ctx, GroupOptions{})
	must(t, err)
	if info, err := a.Group(ctx, g); err != nil || info.Status != "member" {
		t.Error("group after the failure:", err)
	}
}
