// Package store keeps what a chat app shows: conversations with contacts and groups, their messages, and how far the
// app has read the agent's events (docs/overview.md). It is a sealed file of its own, made of the same parts as the
// agent's store: losing it loses history, never a connection or a group.
//
// It is not for what the agent must remember, and it does not interpret what it keeps.
package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	agentstore "github.com/coterie-im/coterie/agent/store"
)

// formatVersion is written into every store; a store with a later one is refused. Version 2 knows own devices, and copies
// that turned out to be false: a program of version 1 would lose both when it changes a record.
const formatVersion = 2

// Kinds of owners in the file. Numbers are stored: never change or reuse one.
const (
	kindApp          agentstore.Kind = 64 // the app itself: conversations, cursor, own profile
	kindConversation agentstore.Kind = 65 // the messages of one conversation, by its ID
)

// Errors that a caller decides by.
var (
	// ErrUnknown reports a conversation that is not in the store.
	ErrUnknown = errors.New("no such conversation")
	// ErrNewer reports a store of a later version of the program.
	ErrNewer = errors.New("chat history was written by a newer version")
	// ErrDamaged reports a record that cannot be read.
	ErrDamaged = errors.New("chat history is damaged")
)

// Kind says what a conversation is with.
type Kind string

// The kinds of conversations.
const (
	Contact Kind = "contact"
	Group   Kind = "group"
	Devices Kind = "devices" // the group of the own devices, of which only notices are kept here
)

// Conversation is a contact or a group as the app shows it.
type Conversation struct {
	ID      uuid.UUID `json:"id"` // local, version 7: conversations sort by when they began
	Kind    Kind      `json:"kind"`
	Ref     string    `json:"ref"`  // the agent's name of the connection or group
	Name    string    `json:"name"` // what the app calls it
	Begun   time.Time `json:"begun"`
	Ended   bool      `json:"ended,omitempty"` // left, removed, closed or deleted; history stays
	Self    string    `json:"self,omitempty"`  // own member key in a group
	Members []Member  `json:"members,omitempty"`

	Genesis   string `json:"genesis,omitempty"`   // a group's name for all its members
	Depth     uint64 `json:"depth,omitempty"`     // the largest causal depth of a group's messages
	RemovedBy string `json:"removedBy,omitempty"` // who removed oneself, while that can be contested

	Remote bool   `json:"remote,omitempty"` // known from another own device only: to read, not to write to
	Device string `json:"device,omitempty"` // that device, by its member key in the group of devices
	Copies bool   `json:"copies,omitempty"` // some of its messages came from other own devices
	Stamp  Stamp  `json:"stamp,omitzero"`   // of name and end, among own devices
}

// Stamp orders what own devices said about one thing: who had seen a stamp gives a larger one, and of two that did not know
// of each other the name decides.
type Stamp struct {
	Count uint64 `json:"n"`
	By    string `json:"by"` // member key of the device that gave it
}

// After tells whether s is the later one.
func (s Stamp) After(other Stamp) bool {
	return s.Count > other.Count || s.Count == other.Count && s.By > other.By
}

// Member is another member of a group, as far as the app has met it.
type Member struct {
	Key  string `json:"key"`
	Name string `json:"name,omitempty"` // from its card; empty until that has come
	By   string `json:"by,omitempty"`   // who added it, while that has not been told because the name is missing

	Hidden bool `json:"hidden,omitempty"` // who removed it asked to hide what it wrote
}

// Message is one entry of a conversation's history.
type Message struct {
	ID      uuid.UUID `json:"id"`               // local, version 7
	Origin  string    `json:"origin"`           // names the message in the agent; never stored twice
	Author  string    `json:"author,omitempty"` // member key in a group; empty: oneself, or the contact
	Own     bool      `json:"own,omitempty"`    // written here
	Notice  bool      `json:"notice,omitempty"` // not written by anybody: somebody joined, left, ...
	Text    string    `json:"text"`
	Time    time.Time `json:"time"`              // when it was written or received here
	Depth   uint64    `json:"depth,omitempty"`   // causal depth in a group
	Vouched bool      `json:"vouched,omitempty"` // a copy that its author has not confirmed

	Voucher  string `json:"voucher,omitempty"`  // member key of who gave that copy
	False    bool   `json:"false,omitempty"`    // a copy that its author said it did not write
	Replaces bool   `json:"replaces,omitempty"` // what the author wrote in place of a false copy
	Late     bool   `json:"late,omitempty"`     // came after messages that were written later

	Device string `json:"device,omitempty"` // member key of the own device that gave this entry; empty: this one
	From   string `json:"from,omitempty"`   // the author's name, as that device knows it
}

// Store is an open history. Its methods are for one goroutine at a time.
type Store struct {
	file *agentstore.Store
}

// Open opens or creates the file at path, sealed with key. ErrNewer, and the errors of the agent's store.
func Open(path string, key agentstore.Key) (*Store, error) {
	file, err := agentstore.Open(agentstore.Options{Path: path, Key: key})
	if err != nil {
		return nil, err
	}
	s := &Store{file}
	if err := s.write(checkVersion); err != nil {
		_ = file.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the store.
func (s *Store) Close() error { return s.file.Close() }

// Batch is a transaction: either all of it is kept or nothing.
type Batch struct {
	tx      *agentstore.Tx
	changes []Change
}

// Write runs f in one transaction, which is kept if f returns nil.
func (s *Store) Write(f func(*Batch) error) error {
	return s.write(func(tx *agentstore.Tx) error { return f(&Batch{tx: tx}) })
}

// Read runs f on what is stored; what it changes is not kept.
func (s *Store) Read(f func(*Batch) error) error {
	tx, err := s.file.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	return f(&Batch{tx: tx})
}

func (s *Store) write(f func(*agentstore.Tx) error) error {
	tx, err := s.file.Begin()
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		tx.Rollback()
		return err
	}
	return tx.Commit()
}

var (
	app            = agentstore.Owner{Kind: kindApp}
	keyVersion     = []byte("version")
	keyCursor      = []byte("cursor")
	prefixConv     = []byte("conversation/")
	prefixRef      = []byte("ref/")
	prefixMessage  = []byte("m/")
	prefixOrigin   = []byte("o/")
	keyNextMessage = []byte("next")
)

func checkVersion(tx *agentstore.Tx) error {
	records := tx.Records(app)
	value, ok := records.Get(keyVersion)
	if !ok {
		records.Put(keyVersion, []byte{formatVersion})
		return nil
	}
	if len(value) != 1 || value[0] == 0 {
		return fmt.Errorf("%w: version", ErrDamaged)
	}
	if value[0] > formatVersion {
		return ErrNewer
	}
	if value[0] < formatVersion {
		records.Put(keyVersion, []byte{formatVersion}) // what version 1 wrote reads the same
	}
	return nil
}

// Cursor returns the number of the last event of the agent that was taken in; 0 before the first.
func (b *Batch) Cursor() uint64 {
	value, ok := b.tx.Records(app).Get(keyCursor)
	if !ok || len(value) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// SetCursor notes that all events up to n are taken in; it belongs into the transaction that takes them in.
func (b *Batch) SetCursor(n uint64) {
	b.tx.Records(app).Put(keyCursor, binary.BigEndian.AppendUint64(nil, n))
}

// Begin returns the conversation with the agent's ref, making it if it is new.
func (b *Batch) Begin(kind Kind, ref, name string, now time.Time) (Conversation, error) {
	if c, err := b.ByRef(kind, ref); !errors.Is(err, ErrUnknown) {
		return c, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Conversation{}, err
	}
	c := Conversation{ID: id, Kind: kind, Ref: ref, Name: name, Begun: now.UTC()}
	b.tx.Records(app).Put(refKey(kind, ref), id[:])
	return c, b.Update(c)
}

// ByRef returns the conversation that the agent calls ref; ErrUnknown if there is none.
func (b *Batch) ByRef(kind Kind, ref string) (Conversation, error) {
	id, ok := b.tx.Records(app).Get(refKey(kind, ref))
	if !ok {
		return Conversation{}, ErrUnknown
	}
	value, ok := b.tx.Records(app).Get(append(bytes.Clone(prefixConv), id...))
	if !ok {
		return Conversation{}, fmt.Errorf("%w: conversation", ErrDamaged)
	}
	return decode[Conversation](value)
}

// Update stores a changed conversation.
func (b *Batch) Update(c Conversation) error {
	value, err := json.Marshal(c)
	if err != nil {
		return err
	}
	b.tx.Records(app).Put(append(bytes.Clone(prefixConv), c.ID[:]...), value)
	b.changes = append(b.changes, Change{Conversation: c})
	return nil
}

// Conversations returns all conversations in the order in which they began.
func (b *Batch) Conversations() (all []Conversation, err error) {
	b.tx.Records(app).Scan(prefixConv, nil, func(_, value []byte) bool {
		var c Conversation
		if c, err = decode[Conversation](value); err == nil {
			all = append(all, c)
		}
		return err == nil
	})
	return all, err
}

// Append adds a message at the end of a conversation and gives it an ID if it has none. A message whose origin is there already is
// not added again; added tells which.
func (b *Batch) Append(c Conversation, m Message) (added bool, err error) {
	records := b.tx.Records(messages(c))
	origin := append(bytes.Clone(prefixOrigin), m.Origin...)
	if _, known := records.Get(origin); known {
		return false, nil
	}
	if m.ID == (uuid.UUID{}) {
		if m.ID, err = uuid.NewV7(); err != nil {
			return false, err
		}
	}
	m.Time = m.Time.UTC()
	value, err := json.Marshal(m)
	if err != nil {
		return false, err
	}
	var next uint64
	if v, ok := records.Get(keyNextMessage); ok && len(v) == 8 {
		next = binary.BigEndian.Uint64(v)
	}
	position := binary.BigEndian.AppendUint64(bytes.Clone(prefixMessage), next)
	records.Put(position, value)
	records.Put(origin, position)
	records.Put(keyNextMessage, binary.BigEndian.AppendUint64(nil, next+1))
	b.changes = append(b.changes, Change{c, &m})
	return true, nil
}

// Message returns the message of a conversation that has an origin.
func (b *Batch) Message(c Conversation, origin string) (m Message, ok bool, err error) {
	records := b.tx.Records(messages(c))
	position, ok := records.Get(append(bytes.Clone(prefixOrigin), origin...))
	if !ok {
		return Message{}, false, nil
	}
	value, ok := records.Get(position)
	if !ok {
		return Message{}, false, fmt.Errorf("%w: message", ErrDamaged)
	}
	m, err = decode[Message](value)
	return m, err == nil, err
}

// Replace stores a changed message under its origin, which must be there, in its place.
func (b *Batch) Replace(c Conversation, m Message) error {
	records := b.tx.Records(messages(c))
	position, ok := records.Get(append(bytes.Clone(prefixOrigin), m.Origin...))
	if !ok {
		return ErrUnknown
	}
	value, err := json.Marshal(m)
	if err != nil {
		return err
	}
	records.Put(position, value)
	b.changes = append(b.changes, Change{c, &m})
	return nil
}

// Origins returns the origins of a conversation's messages that begin with prefix.
func (b *Batch) Origins(c Conversation, prefix string) (all []string) {
	from := append(bytes.Clone(prefixOrigin), prefix...)
	b.tx.Records(messages(c)).Scan(from, nil, func(key, _ []byte) bool {
		all = append(all, string(key[len(prefixOrigin):]))
		return true
	})
	return all
}

// Messages returns the messages of a conversation in the order in which they came.
func (b *Batch) Messages(c Conversation) (all []Message, err error) {
	b.tx.Records(messages(c)).Scan(prefixMessage, nil, func(_, value []byte) bool {
		var m Message
		if m, err = decode[Message](value); err == nil {
			all = append(all, m)
		}
		return err == nil
	})
	return all, err
}

func messages(c Conversation) agentstore.Owner {
	return agentstore.Owner{Kind: kindConversation, ID: c.ID.String()}
}

func refKey(kind Kind, ref string) []byte {
	return append(append(bytes.Clone(prefixRef), kind...), "/"+ref...)
}

func decode[T any](value []byte) (T, error) {
	var v T
	if err := json.Unmarshal(value, &v); err != nil {
		return v, ErrDamaged
	}
	return v, nil
}
