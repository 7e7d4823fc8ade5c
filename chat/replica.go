package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat/store"
)

// What own devices tell each other is in docs/chat.md, "Own devices": messages of their group, each with items. An item
// says all of one thing, so that items may come in any order, and more than once.

// eventReplica is the event of such a message.
const eventReplica = "coterie.replica"

// replicaVersion is the version of items that this program writes and reads.
const replicaVersion = 1

const (
	maxReplica  = 11800 // bytes of a message to a group
	maxItem     = 11500 // bytes of an item, so that one always fits
	pieceRunes  = 1500  // of a text that is cut into pieces: at most 9,000 bytes in JSON
	maxPieces   = 64
	maxBackfill = 10000 // entries of the history that a device tells the others when it comes: as many messages as a group keeps
)

type replica struct {
	Version int               `json:"version"`
	Items   []json.RawMessage `json:"items"`
}

// item has one of its fields.
type item struct {
	Profile      *profileItem      `json:"profile,omitempty"`
	Conversation *conversationItem `json:"conversation,omitempty"`
	Entry        *entryItem        `json:"entry,omitempty"`
}

// profileItem is who the person is. Of several the one with the latest stamp counts.
type profileItem struct {
	Profile
	Stamp store.Stamp `json:"stamp"`
}

// conversationItem is a contact, or a group in which the device is a member. Of several the one with the latest stamp counts.
type conversationItem struct {
	conversationName
	Name  string      `json:"name"`
	Ended bool        `json:"ended,omitempty"`
	Stamp store.Stamp `json:"stamp"`
}

// conversationName names a conversation for all devices.
type conversationName struct {
	Kind store.Kind `json:"kind"`
	Key  string     `json:"key"` // of a group its genesis; else the UUID that the device with the connection gave
}

// entryItem is a message or notice of a conversation.
type entryItem struct {
	In       conversationName `json:"in"`
	ID       uuid.UUID        `json:"id"`
	Origin   string           `json:"origin,omitempty"` // of a group's message: the same for all members
	Author   string           `json:"author,omitempty"`
	From     string           `json:"from,omitempty"`
	Own      bool             `json:"own,omitempty"`
	Notice   bool             `json:"notice,omitempty"`
	Text     string           `json:"text"`
	Time     time.Time        `json:"time"`
	Depth    uint64           `json:"depth,omitempty"`
	Vouched  bool             `json:"vouched,omitempty"`
	Voucher  string           `json:"voucher,omitempty"`
	False    bool             `json:"false,omitempty"`
	Replaces bool             `json:"replaces,omitempty"`
	Piece    int              `json:"piece,omitempty"`  // from 0
	Pieces   int              `json:"pieces,omitempty"` // 0: the text is whole
}

// write changes the history in one transaction, with what the other devices are to know of it.
func (a *App) write(f func(*store.Batch) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.History.Write(func(b *store.Batch) error {
		if err := f(b); err != nil {
			return err
		}
		return a.share(b)
	})
}

func (a *App) read(f func(*store.Batch) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.History.Read(f)
}

// share enqueues what has changed for the other devices, if there is a group of them.
func (a *App) share(b *store.Batch) error {
	changes := b.Changes()
	if len(changes) == 0 {
		return nil
	}
	own, err := b.Own()
	if err != nil || own.Group == "" {
		return err
	}
	for _, change := range changes {
		// As it is in the end: a group is named by its genesis, which may have been learnt in between.
		c, err := b.ByRef(change.Conversation.Kind, change.Conversation.Ref)
		if err != nil {
			return err
		}
		if c.Remote || c.Kind == store.Devices {
			continue
		}
		if change.Message == nil {
			err = a.shareConversation(b, c)
		} else {
			err = a.shareMessage(b, c, *change.Message)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func nameOf(c store.Conversation) conversationName {
	if c.Kind == store.Group && c.Genesis != "" {
		return conversationName{store.Group, c.Genesis}
	}
	return conversationName{c.Kind, c.ID.String()}
}

// shareConversation tells of a name or an end, if that is new.
func (a *App) shareConversation(b *store.Batch, c store.Conversation) error {
	if !b.Shared(c, fmt.Sprintf("%v %s %s", c.Ended, nameOf(c).Key, c.Name)) {
		return nil
	}
	stamp, err := a.stamp(b)
	if err != nil {
		return err
	}
	return enqueue(b, item{Conversation: &conversationItem{nameOf(c), clip(c.Name), c.Ended, stamp}})
}

// shareMessage tells of an entry. What another device gave is its to tell.
func (a *App) shareMessage(b *store.Batch, c store.Conversation, m store.Message) error {
	if m.Device != "" {
		return nil
	}
	e := entryItem{
		In: nameOf(c), ID: m.ID, Author: m.Author, Own: m.Own, Notice: m.Notice, Text: m.Text, Time: m.Time, Depth: m.Depth,
		Vouched: m.Vouched, Voucher: m.Voucher, False: m.False, Replaces: m.Replaces,
	}
	if c.Kind == store.Group && !m.Notice {
		e.Origin = m.Origin
		if !m.Own {
			e.From = clip(MemberName(c, m.Author))
		}
	}
	texts := cut(m.Text)
	if len(texts) == 1 {
		return enqueue(b, item{Entry: &e})
	}
	for i, text := range texts {
		part := e
		part.Text, part.Piece, part.Pieces = text, i, len(texts)
		if err := enqueue(b, item{Entry: &part}); err != nil {
			return err
		}
	}
	return nil
}

// cut cuts a text into pieces of which each fits into a message.
func cut(text string) (pieces []string) {
	runes := []rune(text)
	for len(runes) > pieceRunes && len(pieces) < maxPieces-1 {
		pieces = append(pieces, string(runes[:pieceRunes]))
		runes = runes[pieceRunes:]
	}
	return append(pieces, string(runes[:min(len(runes), pieceRunes)]))
}

// clip shortens a name that somebody chose.
func clip(name string) string {
	for len(name) > maxFullName {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	return name
}

// stamp gives the next stamp.
func (a *App) stamp(b *store.Batch) (store.Stamp, error) {
	own, err := b.Own()
	if err != nil {
		return store.Stamp{}, err
	}
	own.Clock++
	return store.Stamp{Count: own.Clock, By: own.Self}, b.SetOwn(own)
}

func enqueue(b *store.Batch, i item) error {
	raw, err := json.Marshal(i)
	if err != nil {
		return err
	}
	if len(raw) > maxItem {
		return fmt.Errorf("item for own devices has %d bytes", len(raw)) // no field is that long
	}
	b.Enqueue(raw)
	return nil
}

// backfill enqueues what the device had before it was one of several: the profile, unless it is the newcomer, who
// takes over that of the others; its contacts and groups; and the newest entries of its history.
func (a *App) backfill(b *store.Batch, profile bool) error {
	own, err := b.Own()
	if err != nil {
		return err
	}
	if profile && own.Profile != nil {
		if err := a.shareProfile(b, own); err != nil {
			return err
		}
	}
	all, err := b.Conversations()
	if err != nil {
		return err
	}
	type entry struct {
		c store.Conversation
		m store.Message
	}
	var entries []entry
	for _, c := range all {
		if c.Remote || c.Kind == store.Devices {
			continue
		}
		if err := a.shareConversation(b, c); err != nil {
			return err
		}
		messages, err := b.Messages(c)
		if err != nil {
			return err
		}
		for _, m := range messages[max(0, len(messages)-maxBackfill):] {
			entries = append(entries, entry{c, m})
		}
	}
	sortBy(entries, func(x, y entry) int { return compareIDs(x.m.ID, y.m.ID) })
	for _, e := range entries[max(0, len(entries)-maxBackfill):] {
		if err := a.shareMessage(b, e.c, e.m); err != nil {
			return err
		}
	}
	b.Settle()
	return nil
}

// flush sends what waits for the other devices. What cannot be sent now is sent later; it never holds anything else up.
func (a *App) flush(ctx context.Context) {
	a.flushing.Lock()
	defer a.flushing.Unlock()
	if own, err := a.self(); err == nil && own.Group == "" {
		return
	}
	for {
		var parcel store.Parcel
		var waits bool
		err := a.write(func(b *store.Batch) (err error) {
			parcel, waits, err = a.pack(b)
			return err
		})
		if err != nil {
			a.Logger.Error("what waits for own devices cannot be read", "error", err)
			return
		}
		if !waits {
			return
		}
		if _, err := a.Agent.GroupSend(ctx, agent.GroupID(parcel.Group), agent.Outgoing{Body: parcel.Body, Key: parcel.Key}); err != nil {
			a.Logger.Info("not sent to own devices yet", "error", err)
			return
		}
		if err := a.write(func(b *store.Batch) error { b.DropParcel(); return nil }); err != nil {
			a.Logger.Error("what was sent to own devices cannot be forgotten", "error", err)
			return
		}
	}
}

// pack returns the message that is to be sent: the one from before, or a new one with what waits.
func (a *App) pack(b *store.Batch) (p store.Parcel, waits bool, err error) {
	own, err := b.Own()
	if err != nil || own.Group == "" {
		return p, false, err
	}
	if p, waits, err = b.Parcel(); err != nil || waits {
		return p, waits, err
	}
	r := replica{Version: replicaVersion}
	size := len(`{"v":"1","event":"coterie.replica","params":{"version":1,"items":[]}}`) + 16
	b.Dequeue(func(raw []byte) bool {
		if size+len(raw)+1 > maxReplica {
			return false
		}
		size += len(raw) + 1
		r.Items = append(r.Items, json.RawMessage(strings.Clone(string(raw))))
		return true
	})
	if len(r.Items) == 0 {
		return p, false, nil
	}
	body, err := encode(eventReplica, MessageID{}, r)
	if err != nil {
		return p, false, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return p, false, err
	}
	p = store.Parcel{Group: own.Group, Key: "replica/" + id.String(), Body: body}
	return p, true, b.SetParcel(p)
}
