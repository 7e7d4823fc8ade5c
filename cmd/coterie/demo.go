package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat"
)

//go:embed conversation.txt
var defaultConversation string

func demoCommand() *cobra.Command {
	var programs, conversation string
	var keep bool
	c := &cobra.Command{
		Use: "demo", Short: "Show a group conversation over a real relay between agents in processes of their own, and check it",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			folder, err := os.MkdirTemp("", "coterie-demo-")
			if err != nil {
				return err
			}
			if keep {
				fmt.Fprintln(c.OutOrStdout(), "stores and logs are in", folder)
			} else {
				defer os.RemoveAll(folder)
			}
			if programs == "" {
				own, err := os.Executable()
				if err != nil {
					return err
				}
				programs = filepath.Dir(own)
			}
			lines, err := readConversation(conversation)
			if err != nil {
				return err
			}
			s := &stage{folder: folder, programs: programs, out: c.OutOrStdout(), begun: time.Now(), colors: isTerminal(os.Stdout)}
			d := &demo{stage: s, conversation: lines, sent: map[string]*expectation{}}
			if isTerminal(os.Stdin) && conversation == "" {
				d.typed = bufio.NewScanner(os.Stdin)
			}
			defer d.stopAll()
			return d.play(c.Context())
		},
	}
	c.Flags().StringVar(&programs, "programs", "", "folder of the programs smpserver and agent (default: where this one is)")
	c.Flags().StringVar(&conversation, "conversation", "", "file with lines of name, colon, text")
	c.Flags().BoolVar(&keep, "keep", false, "leave stores and logs behind")
	return c
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// line is one thing said.
type line struct{ name, text string }

func readConversation(file string) ([]line, error) {
	text := defaultConversation
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		text = string(content)
	}
	var lines []line
	for raw := range strings.Lines(text) {
		raw = strings.TrimSpace(raw)
		if raw == "" || raw[0] == '#' {
			continue
		}
		l, err := parseLine(raw)
		if err != nil {
			return nil, err
		}
		lines = append(lines, l)
	}
	return lines, nil
}

func parseLine(raw string) (line, error) {
	name, text, ok := strings.Cut(raw, ":")
	if text = strings.TrimSpace(text); !ok || text == "" {
		return line{}, fmt.Errorf("%w: not name, colon, text: %q", errUsage, raw)
	}
	return line{strings.TrimSpace(name), text}, nil
}

// expectation is a message that was sent and who must have it, once.
type expectation struct {
	author     *member
	recipients []*member
}

// demo is the play.
type demo struct {
	*stage
	conversation []line
	typed        *bufio.Scanner // standard input of a terminal, or nil
	present      []*member      // members of the group
	sent         map[string]*expectation
	costs        []string // measured counts, for the end
	failures     int
}

func (d *demo) play(ctx context.Context) error {
	acts := []func(context.Context) error{
		d.open, d.gather, d.joinWithoutInviter, d.talk, d.inviteSixth, d.direct, d.partings, d.killAgent, d.killRelay, d.check,
	}
	for _, act := range acts {
		if err := act(ctx); err != nil {
			return err
		}
	}
	if d.failures > 0 {
		return fmt.Errorf("%d checks failed", d.failures)
	}
	return nil
}

func (d *demo) stopAll() {
	for _, m := range d.order {
		_ = m.stop(true)
		if m.history != nil {
			_ = m.history.Close()
		}
	}
	if d.relay != nil && d.relay.process != nil {
		_ = d.relay.kill()
	}
}

// open starts the relay, five agents, and makes the group.
func (d *demo) open(ctx context.Context) error {
	d.headline("a relay and five agents start, each a process with a store of its own")
	var err error
	if d.relay, err = startRelay(ctx, d.programs, filepath.Join(d.folder, "relay")); err != nil {
		return err
	}
	for _, name := range []string{"ann", "ben", "cat", "dan", "eve"} {
		if err := d.enter(ctx, name); err != nil {
			return err
		}
	}
	ann := d.named("ann")
	if ann.group, err = ann.app.NewGroup(ctx, "friends"); err != nil {
		return err
	}
	d.present = []*member{ann}
	return d.learnKey(ctx, ann)
}

// enter starts a member.
func (d *demo) enter(ctx context.Context, name string) error {
	m := newMember(d.stage, name)
	d.mu.Lock()
	d.order = append(d.order, m)
	d.mu.Unlock()
	return m.start(ctx)
}

func (d *demo) named(name string) *member {
	for _, m := range d.order {
		if m.name == name {
			return m
		}
	}
	return nil
}

func (d *demo) learnKey(ctx context.Context, m *member) error {
	info, err := m.info(ctx)
	if err != nil {
		return err
	}
	d.keyed(m, info.Self)
	return nil
}

// gather lets three friends join, and counts what that costs.
func (d *demo) gather(ctx context.Context) error {
	d.headline("ann makes the group \"friends\" and invites ben, cat and dan")
	for _, name := range []string{"ben", "cat", "dan"} {
		if err := d.join(ctx, d.named("ann"), d.named(name)); err != nil {
			return err
		}
	}
	return nil
}

// befriend makes two members contacts by a one-time link and returns the connection of the first.
func (d *demo) befriend(ctx context.Context, a, b *member) (agent.ConnectionID, error) {
	markA, markB := a.mark(), b.mark()
	id, link, err := a.app.Invite(ctx)
	if err != nil {
		return "", err
	}
	joined, err := b.app.Connect(ctx, link)
	if err != nil {
		return "", err
	}
	isConnected := func(id agent.ConnectionID) func(chat.Update) bool {
		return func(u chat.Update) bool {
			if u.Event == nil || u.Event.Connection() != id {
				return false
			}
			_, ok := u.Event.Data.(*agent.Connected)
			return ok
		}
	}
	if _, err := a.await(ctx, "the connection with "+b.name, markA, isConnected(id)); err != nil {
		return "", err
	}
	_, err = b.await(ctx, "the connection with "+a.name, markB, isConnected(joined))
	return id, err
}

// accept waits for the invitation to the group and accepts it.
func (d *demo) accept(ctx context.Context, m *member, mark int) error {
	u, err := m.await(ctx, "an invitation", mark, func(u chat.Update) bool { return u.Invitation != nil })
	if err != nil {
		return err
	}
	if m.group, err = m.app.Join(ctx, *u.Invitation); err != nil {
		return err
	}
	return d.learnKey(ctx, m)
}

// join invites a contact, waits until everybody is connected, and compares the cost with the budget.
func (d *demo) join(ctx context.Context, inviter, m *member) error {
	contact, err := d.befriend(ctx, inviter, m)
	if err != nil {
		return err
	}
	before, err := d.groupMessages(ctx, m)
	if err != nil {
		return err
	}
	n := len(d.present)
	markInviter, mark := inviter.mark(), m.mark()
	if err := inviter.app.Add(ctx, inviter.group, contact); err != nil {
		return err
	}
	if err := d.accept(ctx, m, mark); err != nil {
		return err
	}
	_, err = awaitEvent(ctx, inviter, "everybody's connection with "+m.name, markInviter, func(e *agent.AllConnected) bool { return e.Member == m.key && e.Waiting == 0 })
	if err != nil {
		return err
	}
	d.present = append(d.present, m)
	if err := d.allConnected(ctx); err != nil {
		return err
	}
	after, err := d.groupMessages(ctx, m)
	if err != nil {
		return err
	}
	info, err := m.info(ctx)
	if err != nil {
		return err
	}
	// G_INV and G_ACC travel over the contact connection, the rest over those of the group. An operation has at most 400 bytes here.
	cost, budget := after-before+2, joinBudget(n, info.Ops*400)
	d.account(fmt.Sprintf("%s joined %d: %d agent messages, budget %d", m.name, n, cost, budget), cost <= budget)
	return nil
}

// joinBudget is the bound of docs/groups.md, "Cost of a join", for n members before and a log of so many bytes.
func joinBudget(n, log int) uint64 {
	up := func(a, b int) int { return (a + b - 1) / b }
	return uint64(3*n + up(n-1, 8) + up(log+33*(n-1), 13_500) + 12)
}

// groupMessages waits until nothing is on its way any more, receipts included, and adds up the agent messages of all
// members' group connections. m is counted even before it is a member.
func (d *demo) groupMessages(ctx context.Context, m *member) (total uint64, err error) {
	members := append(d.presentExcept(m), m)
	var since time.Time
	err = d.eventually(ctx, "quiet", func() (bool, error) {
		now := uint64(0)
		for _, o := range members {
			now += o.client.Counters().Sent[agent.OwnerGroup]
		}
		if now != total || since.IsZero() {
			total, since = now, time.Now()
		}
		return time.Since(since) > quiet, nil
	})
	return total, err
}

// quiet is longer than receipts and reports wait for something to ride on.
const quiet = 2500 * time.Millisecond

func (d *demo) presentExcept(m *member) (others []*member) {
	for _, o := range d.present {
		if o != m {
			others = append(others, o)
		}
	}
	return others
}

// account notes a result for the end.
func (d *demo) account(text string, ok bool) {
	mark := "ok  "
	if !ok {
		mark = "FAIL"
		d.failures++
	}
	d.costs = append(d.costs, mark+" "+text)
	d.remark("%s", text)
}

// allConnected waits until every member is connected with every other.
func (d *demo) allConnected(ctx context.Context) error {
	return d.eventually(ctx, "all pairs connected", func() (bool, error) {
		for _, m := range d.present {
			info, err := m.info(ctx)
			if err != nil || info.Present != len(d.present) || info.Connected != len(d.present)-1 {
				return false, err
			}
		}
		return true, nil
	})
}

// eventually asks again until a condition holds.
func (d *demo) eventually(ctx context.Context, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := holds()
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
	}
}

// joinWithoutInviter stops the inviter in the middle of a join, which the others finish.
func (d *demo) joinWithoutInviter(ctx context.Context) error {
	d.headline("ann invites eve, and ann's agent is stopped half-way: the others finish")
	ann, eve := d.named("ann"), d.named("eve")
	contact, err := d.befriend(ctx, ann, eve)
	if err != nil {
		return err
	}
	mark := eve.mark()
	if err := ann.app.Add(ctx, ann.group, contact); err != nil {
		return err
	}
	if err := d.accept(ctx, eve, mark); err != nil {
		return err
	}
	_, err = awaitEvent(ctx, eve, "a connection with somebody but ann", mark, func(e *agent.MemberConnected) bool { return e.Member != ann.key })
	if err != nil {
		return err
	}
	if err := ann.stop(true); err != nil {
		return err
	}
	d.remark("ann's agent is gone")
	err = d.eventually(ctx, "eve connected without ann", func() (bool, error) {
		info, err := eve.info(ctx)
		others := 0
		for _, m := range info.Members {
			if m.Present && m.Member != ann.key && m.Pair == "connected" {
				others++
			}
		}
		return others == len(d.present)-1, err
	})
	if err != nil {
		return err
	}
	d.account("eve is connected with everybody while the inviter is away", true)
	if err := ann.start(ctx); err != nil {
		return err
	}
	d.present = append(d.present, eve)
	return d.allConnected(ctx)
}

// talk is the conversation: from the file, or typed.
func (d *demo) talk(ctx context.Context) error {
	d.headline("they talk: every message goes to every member over a pair of queues of its own")
	before, err := d.groupMessages(ctx, d.present[0])
	if err != nil {
		return err
	}
	for _, l := range d.conversation {
		m := d.named(l.name)
		if m == nil {
			return fmt.Errorf("%w: nobody is called %q", errUsage, l.name)
		}
		if err := d.say(ctx, m, l.text); err != nil {
			return err
		}
	}
	after, err := d.groupMessages(ctx, d.present[0])
	if err != nil {
		return err
	}
	n, said := uint64(len(d.present)), uint64(len(d.conversation))
	cost, budget := after-before, 2*said*(n-1)
	d.account(fmt.Sprintf("%d messages to %d others each: %d agent messages with receipts, %d without them, budget %d", said, n-1, cost, said*(n-1), budget), cost <= budget)
	if d.typed != nil {
		return d.talkTyped(ctx)
	}
	return nil
}

func (d *demo) talkTyped(ctx context.Context) error {
	d.headline("your turn: type name, colon, text (an empty line goes on)")
	for d.typed.Scan() {
		raw := strings.TrimSpace(d.typed.Text())
		if raw == "" {
			return nil
		}
		l, err := parseLine(raw)
		m := d.named(l.name)
		if err != nil || m == nil {
			d.remark("one of %s, then a colon and text", strings.Join(names(d.present), ", "))
			continue
		}
		if err := d.say(ctx, m, l.text); err != nil {
			return err
		}
	}
	return errors.Join(d.typed.Err(), ctx.Err())
}

func names(members []*member) (all []string) {
	for _, m := range members {
		all = append(all, m.name)
	}
	return all
}

// say sends a message and waits until every running member has it.
func (d *demo) say(ctx context.Context, m *member, text string) error {
	if err := d.post(ctx, m, text); err != nil {
		return err
	}
	return d.delivered(ctx, d.present)
}

// post sends a message without waiting.
func (d *demo) post(ctx context.Context, m *member, text string) error {
	id, err := m.app.SendGroup(ctx, m.group, text)
	if err != nil {
		return fmt.Errorf("%s says %q: %w", m.name, text, err)
	}
	d.sent[messageName(id.Author, id.Number)] = &expectation{m, d.presentExcept(m)}
	return nil
}

func messageName(author agent.MemberID, number uint64) string {
	return fmt.Sprintf("%s/%d", author, number)
}

// delivered waits until all of who have everything that was sent to them.
func (d *demo) delivered(ctx context.Context, who []*member) error {
	return d.eventually(ctx, "messages delivered", func() (bool, error) {
		for _, m := range who {
			missing, err := d.missing(m)
			if err != nil || len(missing) > 0 {
				return false, err
			}
		}
		return true, nil
	})
}
