package chat

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat/store"
)

// Bounds of what is taken from another device. It is one's own, but it may be stolen.
const (
	maxItems    = 512  // in one message
	maxCopied   = 4096 // conversations that only other devices have
	maxStored   = 1024 // pieces of texts that are not whole yet
	maxAhead    = 1 << 32
	shownCopies = 3 // entries of one message that are told one by one
)

// fromDevice takes in what another device tells. The caller has made sure that it came over the group of own devices.
func (a *App) fromDevice(b *store.Batch, e agent.Event, from agent.MemberID, body []byte) ([]Update, error) {
	c, err := a.conversation(b, e)
	if err != nil {
		return nil, err
	}
	envelope, err := open(body)
	var r replica
	switch {
	case err != nil || envelope.Event != eventReplica, json.Unmarshal(envelope.Params, &r) != nil, r.Version < 1:
		a.Logger.Info("message of an own device that is none of this program")
		return nil, nil
	case r.Version > replicaVersion:
		return []Update{{Conversation: &c, Remark: MemberName(c, string(from)) + " runs a newer version of this program; what it says cannot be read here"}}, nil
	}
	var updates []Update
	for _, raw := range r.Items[:min(len(r.Items), maxItems)] {
		var i item
		if json.Unmarshal(raw, &i) != nil {
			a.Logger.Info("item of an own device that cannot be read")
			continue
		}
		u, err := a.merge(b, string(from), i)
		if err != nil {
			return nil, err
		}
		updates = append(updates, u...)
	}
	for i := range updates {
		if m := updates[i].Message; m != nil && m.Device != "" {
			m.Device = MemberName(c, m.Device)
		}
		if m := updates[i].Revised; m != nil && m.Device != "" {
			m.Device = MemberName(c, m.Device)
		}
	}
	b.Settle() // the device tells the others itself
	return gathered(c, string(from), updates), nil
}

// gathered marks entries as such if there are many of them, and counts them.
func gathered(c store.Conversation, from string, updates []Update) []Update {
	entries := 0
	for _, u := range updates {
		if u.Message != nil {
			entries++
		}
	}
	if entries <= shownCopies {
		return updates
	}
	for i := range updates {
		updates[i].Bulk = updates[i].Message != nil
	}
	return append(updates, Update{Conversation: &c, Remark: fmt.Sprintf("%d entries of %s", entries, MemberName(c, from))})
}

// deviceNames are the names of own devices, present and past, by their keys.
func deviceNames(b *store.Batch) (map[string]string, error) {
	names := map[string]string{}
	all, err := b.Conversations()
	for _, c := range all {
		if c.Kind != store.Devices {
			continue
		}
		for _, m := range c.Members {
			names[m.Key] = m.Name
		}
	}
	return names, err
}

// merge takes in one item. Whatever the order of items, the outcome is the same.
func (a *App) merge(b *store.Batch, device string, i item) ([]Update, error) {
	switch {
	case i.Profile != nil:
		return a.mergeProfile(b, i.Profile)
	case i.Conversation != nil:
		return a.mergeConversation(b, device, i.Conversation)
	case i.Entry != nil:
		return a.mergeEntry(b, device, i.Entry)
	}
	return nil, nil // of a later version
}

// saw moves the own clock on, so that the next own stamp is later. A stamp that is far ahead is refused: it would use up the clock.
func (a *App) saw(b *store.Batch, s store.Stamp) (ok bool, err error) {
	own, err := b.Own()
	if err != nil || s.Count > own.Clock+maxAhead || len(s.By) > maxFullName {
		return false, err
	}
	if s.Count > own.Clock {
		own.Clock = s.Count
		return true, b.SetOwn(own)
	}
	return true, nil
}

func (a *App) mergeProfile(b *store.Batch, p *profileItem) ([]Update, error) {
	if p.Check() != nil {
		return nil, nil
	}
	if ok, err := a.saw(b, p.Stamp); err != nil || !ok {
		return nil, err
	}
	own, err := b.Own()
	if err != nil || !p.Stamp.After(own.Stamp) {
		return nil, err
	}
	raw, err := json.Marshal(p.Profile)
	if err != nil || bytes.Equal(raw, own.Profile) && p.Stamp == own.Stamp {
		return nil, err
	}
	changed := !bytes.Equal(raw, own.Profile)
	own.Profile, own.Stamp = raw, p.Stamp
	if err := b.SetOwn(own); err != nil || !changed {
		return nil, err
	}
	return []Update{{Remark: "new contacts and groups get to know you as " + p.DisplayName}}, nil
}

// copied returns the conversation that a device tells of: the own one, if this device is in it as well, or a copy.
func (a *App) copied(b *store.Batch, device string, n conversationName) (store.Conversation, bool, error) {
	if n.Kind != store.Contact && n.Kind != store.Group || n.Key == "" || len(n.Key) > maxFullName {
		return store.Conversation{}, false, nil
	}
	if n.Kind == store.Group {
		c, err := b.ByGenesis(n.Key)
		if !errors.Is(err, store.ErrUnknown) {
			return c, err == nil, err
		}
	}
	ref := remoteRef + n.Key
	c, err := b.ByRef(n.Kind, ref)
	if !errors.Is(err, store.ErrUnknown) {
		return c, err == nil, err
	}
	all, err := b.Conversations()
	if err != nil || len(all) > maxCopied {
		return store.Conversation{}, false, err
	}
	if c, err = b.Begin(n.Kind, ref, string(n.Kind), a.Now()); err != nil {
		return c, false, err
	}
	c.Remote, c.Copies, c.Device = true, true, device
	if n.Kind == store.Group && uuid.Validate(n.Key) != nil {
		c.Genesis = n.Key
	}
	return c, true, b.Update(c)
}

// remoteRef begins the ref of a conversation that only another device has; no name of the agent has it.
const remoteRef = "remote/"

func (a *App) mergeConversation(b *store.Batch, device string, i *conversationItem) ([]Update, error) {
	if len(i.Name) > maxFullName || !utf8.ValidString(i.Name) {
		return nil, nil
	}
	if ok, err := a.saw(b, i.Stamp); err != nil || !ok {
		return nil, err
	}
	c, ok, err := a.copied(b, device, i.conversationName)
	if err != nil || !ok || !c.Remote || !i.Stamp.After(c.Stamp) {
		return nil, err
	}
	c.Name, c.Ended, c.Stamp, c.Device = Printable(i.Name), i.Ended, i.Stamp, device
	return []Update{{Conversation: &c}}, b.Update(c)
}

func (a *App) mergeEntry(b *store.Batch, device string, i *entryItem) ([]Update, error) {
	if !i.valid() {
		return nil, nil
	}
	c, ok, err := a.copied(b, device, i.In)
	if err != nil || !ok {
		return nil, err
	}
	m := store.Message{
		ID: i.ID, Origin: cmp.Or(i.Origin, "copy/"+i.ID.String()), Author: i.Author, Own: i.Own, Notice: i.Notice, Text: i.Text, Time: i.Time.UTC(),
		Depth: i.Depth, Vouched: i.Vouched && !i.False, Voucher: i.Voucher, False: i.False, Replaces: i.Replaces, Device: device, From: Printable(i.From),
	}
	if !c.Remote && m.Notice {
		return nil, nil // this device is a member itself and has notices of its own
	}
	have, known, err := b.Message(c, m.Origin)
	if err != nil {
		return nil, err
	}
	if !known && i.Pieces > 0 {
		whole, err := a.assemble(b, m.Origin, i)
		if err != nil || whole == "" {
			return nil, err
		}
		m.Text = whole
	}
	if !c.Copies {
		c.Copies = true
		if err := b.Update(c); err != nil {
			return nil, err
		}
	}
	if !known {
		return appended(b, c, m)
	}
	if i.Pieces > 0 {
		m.Text = have.Text
	}
	merged := join(have, m)
	if merged == have {
		return nil, nil
	}
	return []Update{{Conversation: &c, Revised: &merged}}, b.Replace(c, merged)
}

func (i *entryItem) valid() bool {
	for _, name := range []string{i.Author, i.From, i.Voucher, i.Origin} {
		if len(name) > maxFullName || !utf8.ValidString(name) {
			return false
		}
	}
	inGroup := i.In.Kind == store.Group && !i.Notice
	return i.ID.Version() == 7 && (i.Origin != "") == inGroup && !strings.HasPrefix(i.Origin, "copy/") && utf8.ValidString(i.Text) &&
		i.Pieces <= maxPieces && i.Piece >= 0 && (i.Pieces == 0 && i.Piece == 0 || i.Piece < i.Pieces && i.Pieces > 1)
}

// assemble keeps a piece of a text and returns the text when it is whole.
func (a *App) assemble(b *store.Batch, origin string, i *entryItem) (string, error) {
	piece, err := json.Marshal(i.Text)
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("%s/%s/%d", i.ID, origin, i.Pieces)
	pieces := b.PutPiece(name, uint16(i.Piece), piece, maxStored)
	if len(pieces) < i.Pieces {
		return "", nil
	}
	b.DropPieces(name)
	var whole strings.Builder
	for _, p := range pieces {
		var text string
		if err := json.Unmarshal(p, &text); err != nil {
			return "", store.ErrDamaged
		}
		whole.WriteString(text)
	}
	return whole.String(), nil
}

// join is what two devices know of one entry. The order of the two does not matter, nor of more than two.
func join(x, y store.Message) store.Message {
	m := x
	if compareIDs(y.ID, x.ID) < 0 {
		m.ID = y.ID
	}
	if y.Time.Before(x.Time) {
		m.Time = y.Time
	}
	m.Own, m.Notice = x.Own || y.Own, x.Notice || y.Notice
	m.Author, m.From, m.Text = max(x.Author, y.Author), max(x.From, y.From), max(x.Text, y.Text)
	m.Depth, m.Voucher = max(x.Depth, y.Depth), max(x.Voucher, y.Voucher)
	m.False, m.Replaces = x.False || y.False, x.Replaces || y.Replaces
	m.Vouched = x.Vouched && y.Vouched && !m.False // of a false copy it is not said
	m.Late = x.Late || y.Late
	switch {
	case x.Own && !y.Own:
		m.Device = x.Device
	case y.Own && !x.Own:
		m.Device = y.Device
	default:
		m.Device = min(x.Device, y.Device) // nothing stands for this device
	}
	return m
}

func compareIDs(x, y uuid.UUID) int { return bytes.Compare(x[:], y[:]) }

func sortBy[T any](all []T, compare func(x, y T) int) { slices.SortStableFunc(all, compare) }

// inOrder sorts entries as all devices do that have the same ones.
func inOrder(messages []store.Message) {
	sortBy(messages, func(x, y store.Message) int {
		return cmp.Or(compareIDs(x.ID, y.ID), strings.Compare(x.Origin, y.Origin))
	})
}
