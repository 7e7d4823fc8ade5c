package chat

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat/store"
)

// How a device becomes one of several is in docs/chat.md, "Own devices".

const (
	deviceLinkPrefix = "coterie:/device#" // then a one-time link
	eventDevice      = "coterie.device"   // of what goes along with a link, and with the invitation
	deviceVersion    = 1
	maxDeviceLinks   = 16 // that wait at a time

	// What the proofs are about: keyed hashes of the link, with the code as key.
	labelJoins   = "coterie/device-joins/1"
	labelInvites = "coterie/device-invites/1"
)

// Errors about own devices.
var (
	// ErrDevices reports that this device is one of several already.
	ErrDevices = errors.New("this device belongs to a group of devices already")
	// ErrNoDevices reports that it is not.
	ErrNoDevices = errors.New("this device belongs to no group of devices")
	// ErrDeviceLink reports a text that is no link for a device.
	ErrDeviceLink = errors.New("not a link for a device")
	// ErrDeviceCode reports a code that no device shows that used a link of this one.
	ErrDeviceCode = errors.New("no device that used a link of this one shows this code; if it is typed right, somebody else used the link")
	// ErrDeviceLinks reports that too many links wait.
	ErrDeviceLinks = errors.New("too many links for devices wait; they end when this device leaves the others")
	// ErrElsewhere reports a conversation whose connection another own device has.
	ErrElsewhere = errors.New("only another device of yours can write to this conversation")
)

type deviceParams struct {
	Version int    `json:"version"`
	Name    string `json:"name,omitempty"`
	Proof   []byte `json:"proof"`
}

// proof shows that who makes it knows the code, for one link and one direction.
func proof(label, code, link string) []byte {
	h := hmac.New(sha256.New, []byte(code))
	h.Write(append([]byte{byte(len(label))}, label...))
	h.Write([]byte(link))
	return h.Sum(nil)
}

// newCode returns 80 random bits as four words, short enough to be typed and too many to be tried.
func newCode() (string, error) {
	var raw [10]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", err
	}
	text := strings.ToLower(base32.StdEncoding.EncodeToString(raw[:]))
	return strings.Join([]string{text[:4], text[4:8], text[8:12], text[12:]}, "-"), nil
}

func readDevice(raw []byte) (deviceParams, bool) {
	var p deviceParams
	e, err := open(raw)
	if err != nil || e.Event != eventDevice || json.Unmarshal(e.Params, &p) != nil || p.Version != deviceVersion {
		return deviceParams{}, false
	}
	return p, p.Name == "" || Profile{DisplayName: p.Name}.Check() == nil
}

func deviceCard(name string) ([]byte, error) { return Profile{DisplayName: name}.Card() }

func (a *App) self() (own store.Own, err error) {
	err = a.read(func(b *store.Batch) error {
		own, err = b.Own()
		return err
	})
	return own, err
}

func (a *App) deviceLinks() (own store.Own, links []store.DeviceLink, err error) {
	err = a.read(func(b *store.Batch) error {
		if own, err = b.Own(); err == nil {
			links, err = b.DeviceLinks()
		}
		return err
	})
	return own, links, err
}

// BeginDevices makes this device the first of several, under a name. As long as it is the only one nothing is sent.
func (a *App) BeginDevices(ctx context.Context, name string) error {
	card, err := deviceCard(name)
	if err != nil {
		return err
	}
	if err := a.knowAll(ctx); err != nil {
		return err
	}
	own, err := a.self()
	if err != nil {
		return err
	}
	if own.Group != "" {
		return ErrDevices
	}
	// The key makes an attempt after a crash find the group of the one before.
	g, err := a.Agent.GroupNew(ctx, agent.GroupOptions{Card: card, Key: fmt.Sprintf("devices/%d/%s", own.Begun, name), Settings: map[string][]byte{
		settingHistory: []byte("all"), settingJoin: []byte("off"),
	}})
	if err != nil {
		return err
	}
	return a.enterDevices(ctx, g, true)
}

// enterDevices marks a group as that of the own devices, and tells the others what is here.
func (a *App) enterDevices(ctx context.Context, g agent.GroupID, first bool) error {
	info, err := a.Agent.Group(ctx, g)
	if err != nil {
		return err
	}
	err = a.write(func(b *store.Batch) error {
		own, err := b.Own()
		if err != nil || own.Group == string(g) {
			return err
		}
		c, err := b.Begin(store.Devices, string(g), "devices", a.Now())
		if err != nil {
			return err
		}
		c.Self, c.Ended = string(info.Self), false
		if err := b.Update(c); err != nil {
			return err
		}
		own.Group, own.Self = string(g), string(info.Self)
		own.Begun++
		if !first {
			own.Stamp = store.Stamp{} // whatever the others say about the profile is later
		}
		if err := b.SetOwn(own); err != nil {
			return err
		}
		return a.backfill(b, first)
	})
	if err == nil {
		a.flush(ctx)
	}
	return err
}

// leaveDevices ends the mark: from here on nothing is told and taken.
func (a *App) leaveDevices(b *store.Batch, group string) error {
	own, err := b.Own()
	if err != nil || own.Group != group {
		return err
	}
	own.Group, own.Self = "", ""
	b.ForgetDevices()
	return b.SetOwn(own)
}

// LinkDevice makes a link with which one more device can join. It is worth nothing without the code that this device shows.
func (a *App) LinkDevice(ctx context.Context) (string, error) {
	own, links, err := a.deviceLinks()
	switch {
	case err != nil:
		return "", err
	case own.Group == "":
		return "", ErrNoDevices
	case len(links) >= maxDeviceLinks:
		return "", ErrDeviceLinks
	}
	id, link, err := a.Agent.CreateConnection(ctx, agent.CreateOptions{})
	if err != nil {
		return "", err
	}
	return deviceLinkPrefix + link, a.write(func(b *store.Batch) error {
		return b.PutDeviceLink(store.DeviceLink{Connection: string(id), Link: link, Made: true, Group: own.Group})
	})
}

// JoinDevices uses such a link on the new device, and returns the code that has to be typed on the one that made the link.
// Neither takes anything from the other before that.
func (a *App) JoinDevices(ctx context.Context, text, name string) (code string, err error) {
	link, ok := strings.CutPrefix(text, deviceLinkPrefix)
	if !ok {
		return "", ErrDeviceLink
	}
	if err := (Profile{DisplayName: name}).Check(); err != nil {
		return "", err
	}
	if err := a.knowAll(ctx); err != nil {
		return "", err
	}
	own, links, err := a.deviceLinks()
	switch {
	case err != nil:
		return "", err
	case own.Group != "":
		return "", ErrDevices
	case len(links) >= maxDeviceLinks:
		return "", ErrDeviceLinks
	}
	if code, err = newCode(); err != nil {
		return "", err
	}
	info, err := encode(eventDevice, MessageID{}, deviceParams{deviceVersion, name, proof(labelJoins, code, link)})
	if err != nil {
		return "", err
	}
	id, err := a.Agent.JoinConnection(ctx, link, agent.JoinOptions{Info: info})
	if err != nil {
		return "", err
	}
	return code, a.write(func(b *store.Batch) error {
		return b.PutDeviceLink(store.DeviceLink{Connection: string(id), Link: link, Name: name, Code: code})
	})
}

// ConfirmDevice lets in the device that shows the code.
func (a *App) ConfirmDevice(ctx context.Context, code string) (name string, err error) {
	code = strings.ToLower(code)
	var found store.DeviceLink
	err = a.write(func(b *store.Batch) error {
		links, err := b.DeviceLinks()
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Made && l.Confirmation != "" && hmac.Equal(l.Proof, proof(labelJoins, code, l.Link)) {
				l.Confirmed, l.Code = true, code
				found = l
				return b.PutDeviceLink(l)
			}
		}
		return ErrDeviceCode
	})
	if err != nil {
		return "", err
	}
	return found.Name, a.Agent.Allow(ctx, agent.ConnectionID(found.Connection), found.Confirmation, nil)
}

// Device is one of the own devices.
type Device struct {
	Key   agent.MemberID
	Name  string
	Here  bool      // this one
	State string    // of the connection with it: connected, or not and why
	Heard time.Time // when something came from it last
	Lacks uint64    // messages of this device that it has not confirmed
}

// DeviceList is the state of the own devices.
type DeviceList struct {
	Devices []Device
	Waiting int    // entries that wait to be sent
	Trouble string // why nothing is sent now; empty otherwise
}

// ListDevices returns the own devices and how far they are. ErrNoDevices if there are none.
func (a *App) ListDevices(ctx context.Context) (list DeviceList, err error) {
	own, err := a.self()
	if err != nil {
		return list, err
	}
	if own.Group == "" {
		return list, ErrNoDevices
	}
	info, err := a.Agent.Group(ctx, agent.GroupID(own.Group))
	if err != nil {
		return list, err
	}
	for _, m := range info.Members {
		if !m.Present {
			continue
		}
		d := Device{Key: m.Member, Name: string(m.Member), Here: m.Member == info.Self, State: m.Pair, Heard: m.Heard}
		if p, err := ReadCard(m.Card); err == nil {
			d.Name = p.DisplayName
		}
		if m.Reason != "" {
			d.State += ": " + ReasonInWords(m.Reason)
		}
		if !d.Here {
			d.Lacks = info.Next - min(info.Next, m.Delivered)
		}
		list.Devices = append(list.Devices, d)
	}
	if info.Recovery != "" {
		list.Trouble = RecoveryInWords(info.Recovery)
	}
	return list, a.read(func(b *store.Batch) error {
		list.Waiting = b.Enqueued()
		return nil
	})
}

// FindDevice returns the group of devices and the key of one of them.
func (a *App) FindDevice(ctx context.Context, name string) (agent.GroupID, agent.MemberID, error) {
	list, err := a.ListDevices(ctx)
	if err != nil {
		return "", "", err
	}
	own, err := a.self()
	if err != nil {
		return "", "", err
	}
	var found []agent.MemberID
	for _, d := range list.Devices {
		if d.Name == name && !d.Here || string(d.Key) == name {
			found = append(found, d.Key)
		}
	}
	if len(found) != 1 {
		return "", "", fmt.Errorf("%w: device %s", ErrNoConversation, name)
	}
	return agent.GroupID(own.Group), found[0], nil
}

// RemoveDevice removes a device, such as one that is lost: it gets nothing that is told from then on, and nothing is taken
// from it. What it has it keeps.
func (a *App) RemoveDevice(ctx context.Context, name string) error {
	g, key, err := a.FindDevice(ctx, name)
	if err != nil {
		return err
	}
	return a.Agent.GroupRemove(ctx, g, agent.RemoveOptions{Members: []agent.MemberID{key}})
}

// LeaveDevices makes this device one of its own. It keeps what it has.
func (a *App) LeaveDevices(ctx context.Context) error {
	own, err := a.self()
	if err != nil {
		return err
	}
	if own.Group == "" {
		if waiting, err := a.closeLinks(ctx, func(l store.DeviceLink) bool { return l.Group == "" }); err != nil || waiting {
			return err // it had asked the other device and was not let in yet
		}
		return ErrNoDevices
	}
	if err := a.Agent.GroupLeave(ctx, agent.GroupID(own.Group)); err != nil {
		return err
	}
	return a.write(func(b *store.Batch) error { return a.leaveDevices(b, own.Group) })
}

// CurrentProfile is who contacts and groups get to know from now on.
func (a *App) CurrentProfile() (Profile, error) {
	own, err := a.self()
	if err != nil {
		return Profile{}, err
	}
	if own.Profile == nil {
		return Profile{}, fmt.Errorf("%w: there is none yet", ErrProfile)
	}
	return ReadCard(own.Profile)
}

// SetProfile changes it, on all own devices. Those who know the old one keep it.
func (a *App) SetProfile(ctx context.Context, p Profile) error {
	raw, err := p.Card()
	if err != nil {
		return err
	}
	err = a.write(func(b *store.Batch) error { return a.setProfile(b, raw) })
	if err == nil {
		a.flush(ctx)
	}
	return err
}

func (a *App) setProfile(b *store.Batch, raw []byte) error {
	own, err := b.Own()
	if err != nil {
		return err
	}
	own.Profile = raw
	own.Clock++
	own.Stamp = store.Stamp{Count: own.Clock, By: own.Self}
	if err := b.SetOwn(own); err != nil || own.Group == "" {
		return err
	}
	return a.shareProfile(b, own)
}

func (a *App) shareProfile(b *store.Batch, own store.Own) error {
	p, err := ReadCard(own.Profile)
	if err != nil {
		return err
	}
	if own.Stamp.By == "" { // set before there were several devices
		own.Stamp.By = own.Self
		if err := b.SetOwn(own); err != nil {
			return err
		}
	}
	return enqueue(b, item{Profile: &profileItem{p, own.Stamp}})
}
