package chat

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/agent/control"
	"github.com/coterie-im/coterie/chat/store"
)

// defaultCursor is the name under which the agent remembers how far the app has read its events.
const defaultCursor = "chat"

// Options say how an app is made.
type Options struct {
	// Agent is an agent in this process or behind a socket.
	Agent control.API
	// History is where conversations are kept; the app is its only user while it runs.
	History *store.Store
	// Profile is what contacts and groups get to know. If it is empty, the one that the history knows is used; if it is
	// not the one that was given the last time, it is the new one, for all own devices.
	Profile Profile
	// Cursor is the app's name among the agent's readers; empty is "chat".
	Cursor string
	// Observe, if not nil, is called with everything that happened, after it is stored, by the goroutine of Run and by
	// those that call the app's methods. It must not call the app.
	Observe func(Update)
	// Logger gets what went wrong, without names and texts; nil is no log.
	Logger *slog.Logger
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// Update is something that happened. Fields that do not apply are zero.
type Update struct {
	Event        *agent.Event         // what the agent told; nil for what was done here
	Conversation *store.Conversation  // the conversation it belongs to
	Message      *store.Message       // a message or notice that was added to the history
	Revised      *store.Message       // a message of the history of which more is known now: that it is false, for example
	Confirmed    bool                 // Revised is what its author wrote
	Bulk         bool                 // it came with many others from another own device
	DeviceAsks   string               // the name of a device that used a link of this one
	Remark       string               // something about the moment, which is not kept
	Invitation   *Invitation          // somebody invites to a group
	Request      *agent.DirectRequest // a member asks for a direct connection
	Asked        *JoinRequest         // somebody asks for a group with a link
}

// Invitation is an invitation to a group.
type Invitation struct {
	Name    string // for Join and Refuse
	From    string // the contact's name
	Title   string // as the inviter tells it
	Members int
}

// App is one person's chat. Its methods may be called from any goroutine while Run runs.
type App struct {
	Options

	mu       sync.Mutex // guards History, which is for one goroutine at a time
	flushing sync.Mutex // held while something is sent to own devices; taken before mu
}

// New makes an app; Run lets it take part.
func New(o Options) (*App, error) {
	if o.Cursor == "" {
		o.Cursor = defaultCursor
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observe == nil {
		o.Observe = func(Update) {}
	}
	a := &App{Options: o}
	if err := a.introduce(o.Profile); err != nil {
		return nil, err
	}
	return a, nil
}

// introduce takes the profile that the app was started with, if it is new.
func (a *App) introduce(p Profile) error {
	return a.write(func(b *store.Batch) error {
		own, err := b.Own()
		if err != nil || p == (Profile{}) && own.Profile != nil {
			return err
		}
		raw, err := p.Card()
		if err != nil || bytes.Equal(raw, own.Given) {
			return err
		}
		own.Given = raw
		if err := b.SetOwn(own); err != nil {
			return err
		}
		return a.setProfile(b, raw)
	})
}

// Run takes in the agent's events until ctx ends or the agent is gone, and returns why. What an event changes in the
// history is stored together with the position of the event, so that nothing is missing or double after a crash.
func (a *App) Run(ctx context.Context) error {
	a.flush(ctx)
	for e, err := range a.Agent.Events(ctx, a.Cursor) {
		if errors.Is(err, agent.ErrEventsLost) {
			a.Logger.Error("events were lost: the history has gaps")
			continue
		}
		if err != nil {
			return err
		}
		if err := a.take(ctx, e); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// take stores what an event means, then does what it asks for, then tells the agent that it is done with it.
func (a *App) take(ctx context.Context, e agent.Event) error {
	var known bool
	var updates []Update
	if err := a.know(ctx, e); err != nil {
		return err
	}
	err := a.write(func(b *store.Batch) error {
		if known = e.Seq <= b.Cursor(); known {
			return nil
		}
		b.SetCursor(e.Seq)
		var err error
		updates, err = a.record(b, e)
		return err
	})
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	if !known {
		if len(updates) == 0 {
			updates = []Update{{}}
		}
		for _, u := range updates {
			u.Event = &e
			a.Observe(u)
		}
	}
	if err := a.respond(ctx, e); err != nil {
		// After a crash the answer may have been given before.
		if !errors.Is(err, &conn.Error{Code: conn.CodeProhibited}) && !errors.Is(err, agent.ErrNoConnection) &&
			!errors.Is(err, &conn.Error{Code: conn.CodeNotAvailable}) && !errors.Is(err, &conn.Error{Code: conn.CodeNoQueue}) {
			return fmt.Errorf("answer %s: %w", e.Data.Type(), err)
		}
	}
	a.flush(ctx)
	return a.Agent.AckEvent(ctx, a.Cursor, e.Seq)
}

// respond is what the app does by itself: it lets in who uses its own one-time links, acknowledges what it stored, and makes
// a contact's ratchet again when nothing can be opened any more, as after a backup of either side was restored.
func (a *App) respond(ctx context.Context, e agent.Event) error {
	var link store.DeviceLink
	var forDevice, amongDevices bool
	if err := a.read(func(b *store.Batch) (err error) {
		link, forDevice, err = deviceLink(b, e)
		kind, _ := a.entity(b, e)
		amongDevices = kind == store.Devices
		return err
	}); err != nil {
		return err
	}
	switch {
	case forDevice:
		return a.respondDevice(ctx, e, link)
	case amongDevices:
		return a.respondDevices(ctx, e)
	}
	switch data := e.Data.(type) {
	case *agent.Confirmation:
		info, err := a.info()
		if err != nil {
			return err
		}
		return a.Agent.Allow(ctx, e.Connection(), data.Confirmation, info)
	case *agent.Message:
		return a.Agent.Ack(ctx, e.Connection(), data.ID, &agent.AckOptions{Receipt: true})
	case *agent.Received:
		return a.Agent.Ack(ctx, e.Connection(), data.ID, nil)
	case *agent.ResyncChanged:
		// When keys of both sides have crossed, one side must wait for the other to begin again; this one does.
		if data.State == "required" && data.Code != string(conn.CodeResync) {
			return a.Agent.ConnectionResync(ctx, e.Connection(), false)
		}
	}
	return nil
}

// Invite makes a one-time link for a new contact.
func (a *App) Invite(ctx context.Context) (agent.ConnectionID, string, error) {
	return a.Agent.CreateConnection(ctx, agent.CreateOptions{})
}

// Connect joins the link of a new contact.
func (a *App) Connect(ctx context.Context, link string) (agent.ConnectionID, error) {
	info, err := a.info()
	if err != nil {
		return "", err
	}
	return a.Agent.JoinConnection(ctx, link, agent.JoinOptions{Info: info})
}

// Send sends text to a contact and keeps it in the history.
func (a *App) Send(ctx context.Context, contact agent.ConnectionID, text string) error {
	if strings.HasPrefix(string(contact), remoteRef) {
		return ErrElsewhere
	}
	body, id, err := EncodeText(text)
	if err != nil {
		return err
	}
	if _, err := a.Agent.Send(ctx, contact, agent.Outgoing{Body: body, Notify: true, Key: id.Text()}); err != nil {
		return err
	}
	return a.wrote(ctx, store.Contact, string(contact), "own/"+id.Text(), text)
}

// NewGroup makes a group with a title.
func (a *App) NewGroup(ctx context.Context, title string) (agent.GroupID, error) {
	card, err := a.card()
	if err != nil {
		return "", err
	}
	g, err := a.Agent.GroupNew(ctx, agent.GroupOptions{Card: card, Settings: map[string][]byte{settingTitle: []byte(title)}})
	if err != nil {
		return "", err
	}
	return g, a.begin(ctx, g, title)
}

// begin makes the conversation of a group and notes the own key, without which one's own deeds would look like another's.
func (a *App) begin(ctx context.Context, g agent.GroupID, title string) error {
	info, err := a.Agent.Group(ctx, g)
	if err != nil {
		return err
	}
	return a.write(func(b *store.Batch) error { return a.beginGroup(b, info, title) })
}

func (a *App) beginGroup(b *store.Batch, info agent.GroupInfo, title string) error {
	c, err := b.ByRef(store.Group, string(info.ID))
	if errors.Is(err, store.ErrUnknown) {
		// Another own device may be a member, and have told of the group.
		if copied, copyErr := b.ByRef(store.Group, remoteRef+info.Genesis); copyErr == nil {
			c, err = b.Adopt(copied, string(info.ID))
		} else {
			c, err = b.Begin(store.Group, string(info.ID), cmp.Or(title, "group"), a.Now())
		}
	}
	if err != nil {
		return err
	}
	c.Name = cmp.Or(Printable(string(info.Settings[settingTitle])), title, c.Name)
	c.Self, c.Genesis = string(info.Self), info.Genesis
	return b.Update(c)
}

// know makes sure that the conversation of an event's group has what only the agent can tell: the own key, without which
// one's own deeds would look like another's, and the title that the group had when one joined.
func (a *App) know(ctx context.Context, e agent.Event) error {
	g := e.Group()
	if g == "" {
		return nil
	}
	var c store.Conversation
	err := a.read(func(b *store.Batch) (err error) {
		c, err = b.ByRef(a.entity(b, e))
		return err
	})
	if err != nil && !errors.Is(err, store.ErrUnknown) {
		return fmt.Errorf("history: %w", err)
	}
	if c.Kind == store.Devices {
		return nil
	}
	if change, ok := e.Data.(*agent.GroupChanged); c.Self != "" && !(ok && change.Change == agent.ChangeJoined) {
		return nil
	}
	err = a.begin(ctx, g, "")
	if errors.Is(err, agent.ErrNoGroup) {
		return nil // forgotten since
	}
	return err
}

// knowAll does it for every group, so that own devices recognise them.
func (a *App) knowAll(ctx context.Context) error {
	all, err := a.Conversations()
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Kind != store.Group || c.Remote || c.Genesis != "" {
			continue
		}
		if err := a.begin(ctx, agent.GroupID(c.Ref), ""); err != nil && !errors.Is(err, agent.ErrNoGroup) {
			return err
		}
	}
	return nil
}

func (a *App) info() ([]byte, error) {
	p, err := a.CurrentProfile()
	if err != nil {
		return nil, err
	}
	return p.Info()
}

func (a *App) card() ([]byte, error) {
	p, err := a.CurrentProfile()
	if err != nil {
		return nil, err
	}
	return p.Card()
}

// Add invites a contact to a group.
func (a *App) Add(ctx context.Context, g agent.GroupID, contact agent.ConnectionID) error {
	info, err := a.Agent.Group(ctx, g)
	if err != nil {
		return err
	}
	_, err = a.Agent.GroupAdd(ctx, g, contact, agent.AddOptions{Info: info.Settings[settingTitle]})
	return err
}

// Join accepts an invitation to a group.
func (a *App) Join(ctx context.Context, i Invitation) (agent.GroupID, error) {
	card, err := a.card()
	if err != nil {
		return "", err
	}
	g, err := a.Agent.GroupJoin(ctx, i.Name, card)
	if err != nil {
		return "", err
	}
	return g, a.begin(ctx, g, Printable(i.Title))
}

// SendGroup sends text to a group and keeps it in the history.
func (a *App) SendGroup(ctx context.Context, g agent.GroupID, text string) (agent.MessageID, error) {
	if strings.HasPrefix(string(g), remoteRef) {
		return agent.MessageID{}, ErrElsewhere
	}
	body, id, err := EncodeText(text)
	if err != nil {
		return agent.MessageID{}, err
	}
	m, err := a.Agent.GroupSend(ctx, g, agent.Outgoing{Body: body, Notify: true, Key: id.Text()})
	if err != nil {
		return agent.MessageID{}, err
	}
	return m, a.wrote(ctx, store.Group, string(g), origin(m), text)
}

// wrote adds a message that was sent here to the history, here and on the other own devices.
func (a *App) wrote(ctx context.Context, kind store.Kind, ref, name, text string) error {
	var u Update
	err := a.write(func(b *store.Batch) error {
		c, err := b.Begin(kind, ref, "", a.Now())
		if err != nil {
			return err
		}
		m := store.Message{Origin: name, Own: true, Text: text, Time: a.Now()}
		_, err = b.Append(c, m)
		u = Update{Conversation: &c, Message: &m}
		return err
	})
	if err == nil {
		a.Observe(u)
		a.flush(ctx)
	}
	return err
}

// Messages returns the messages of a conversation in the order in which they came, but for those that came late; if some
// are from other own devices, in the order in which the devices got them. Device is the device's name.
func (a *App) Messages(kind store.Kind, ref string) (messages []store.Message, err error) {
	err = a.read(func(b *store.Batch) error {
		c, err := b.ByRef(kind, ref)
		if err != nil {
			return err
		}
		if messages, err = b.Messages(c); err != nil || !c.Copies {
			return err
		}
		inOrder(messages)
		names, err := deviceNames(b)
		for i, m := range messages {
			if m.Device != "" {
				messages[i].Device = cmp.Or(names[m.Device], MemberName(store.Conversation{}, m.Device))
			}
		}
		return err
	})
	return arranged(messages), err
}

// ErrNothingWritten reports a group to which nothing was written from here.
var ErrNothingWritten = errors.New("nothing was written from here")

// LastOwn returns number and text of the last message that was written from here to a group.
func (a *App) LastOwn(c store.Conversation) (number uint64, text string, err error) {
	err = a.read(func(b *store.Batch) error {
		messages, err := b.Messages(c)
		if err != nil {
			return err
		}
		for _, m := range slices.Backward(messages) {
			name, ok := strings.CutPrefix(m.Origin, c.Self+"/")
			if !m.Own || !ok {
				continue
			}
			first, _, _ := strings.Cut(name, "/")
			text = m.Text
			number, err = strconv.ParseUint(first, 10, 64)
			return err
		}
		return ErrNothingWritten
	})
	return number, text, err
}

// origin names a group message in the history.
func origin(m agent.MessageID) string {
	return numbered(m.Author, m.Number) + fmt.Sprintf("%x", m.Hash[:8])
}

// numbered is how the origins of all contents begin that were told for one number of an author.
func numbered(author agent.MemberID, number uint64) string {
	return fmt.Sprintf("%s/%d/", author, number)
}

// arranged puts messages that came late where they belong: before what was written with more behind it.
func arranged(messages []store.Message) []store.Message {
	all := make([]store.Message, 0, len(messages))
	for _, m := range messages {
		at := len(all)
		if m.Late {
			if i := slices.IndexFunc(all, func(o store.Message) bool { return o.Depth > m.Depth }); i >= 0 {
				at = i
			}
		}
		all = slices.Insert(all, at, m)
	}
	return all
}

// Conversations returns all conversations in the order in which they began.
func (a *App) Conversations() (all []store.Conversation, err error) {
	err = a.read(func(b *store.Batch) error {
		all, err = b.Conversations()
		return err
	})
	return all, err
}

// ErrNoConversation reports a name that no conversation of the kind has, or more than one.
var ErrNoConversation = errors.New("no conversation with that name, or several")

// Find returns the conversation of a kind that goes by a name and has not ended; one that only another own device has, if
// there is none here. Names are what others call themselves, so they may be taken twice; then its ref must be given instead.
func (a *App) Find(kind store.Kind, name string) (store.Conversation, error) {
	c, err := a.find(kind, name, func(c store.Conversation) bool { return !c.Ended && !c.Remote })
	if errors.Is(err, ErrNoConversation) {
		return a.find(kind, name, func(c store.Conversation) bool { return !c.Ended })
	}
	return c, err
}

// FindAny does the same with conversations that have ended as well, if none that goes on has the name.
func (a *App) FindAny(kind store.Kind, name string) (store.Conversation, error) {
	c, err := a.Find(kind, name)
	if errors.Is(err, ErrNoConversation) {
		return a.find(kind, name, func(store.Conversation) bool { return true })
	}
	return c, err
}

func (a *App) find(kind store.Kind, name string, fits func(store.Conversation) bool) (store.Conversation, error) {
	all, err := a.Conversations()
	if err != nil {
		return store.Conversation{}, err
	}
	var found []store.Conversation
	for _, c := range all {
		if c.Kind == kind && c.Ref == name {
			return c, nil
		}
		if c.Kind == kind && c.Name == name && fits(c) {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		return store.Conversation{}, fmt.Errorf("%w: %s", ErrNoConversation, name)
	}
	return found[0], nil
}

// FindMember returns the key of the member of a group that goes by a name, with the same caution as Find.
func FindMember(c store.Conversation, name string) (agent.MemberID, error) {
	var found []string
	for _, m := range c.Members {
		if m.Key == name {
			return agent.MemberID(name), nil
		}
		if m.Name == name {
			found = append(found, m.Key)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%w: member %s", ErrNoConversation, name)
	}
	return agent.MemberID(found[0]), nil
}
