package chat_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat"
	"github.com/coterie-im/coterie/chat/store"
	"github.com/coterie-im/coterie/test/world"
)

// A person with two devices and a friend: what is said on one stands on both, before and after the second one came, and
// whichever of them is started again in the middle.
func TestDevicesShareWhatIsSaid(t *testing.T) {
	t.Parallel()
	relay := world.StartRelay(t)
	phone, friend := newDevice(t, relay, "phone"), newDevice(t, relay, "ben")
	ctx := t.Context()
	befriend(phone, friend)
	ben, _ := phone.conversation(store.Contact, "ben")
	phone.must(phone.Send(ctx, agent.ConnectionID(ben.Ref), "before there were devices"))
	phone.must(phone.BeginDevices(ctx, "phone"))
	if !errors.Is(phone.BeginDevices(ctx, "phone"), chat.ErrDevices) {
		t.Error("began twice")
	}
	long := strings.Repeat("long text ", 1400)
	phone.must(phone.Send(ctx, agent.ConnectionID(ben.Ref), "alone"))
	phone.must(phone.Send(ctx, agent.ConnectionID(ben.Ref), long))

	laptop := newDevice(t, relay, "laptop")
	pair(phone, laptop)
	for _, line := range []string{"own on phone: before there were devices", "own on phone: alone", "notice on phone: connected", "own on phone: " + long} {
		laptop.has(store.Contact, "ben", line)
	}
	copied, _ := laptop.conversation(store.Contact, "ben")
	if !copied.Remote {
		t.Errorf("%+v", copied)
	}
	if err := laptop.Send(ctx, agent.ConnectionID(copied.Ref), "from here?"); !errors.Is(err, chat.ErrElsewhere) {
		t.Error("wrote where it has no connection:", err)
	}

	// The friend answers while the laptop is away; the phone's app dies behind what it has stored.
	laptop.stop()
	phone.api.set(true)
	me, _ := friend.conversation(store.Contact, "phone")
	friend.must(friend.Send(ctx, agent.ConnectionID(me.Ref), "an answer"))
	phone.has(store.Contact, "ben", "other: an answer")
	phone.until("tried to tell", func() bool {
		phone.api.mu.Lock()
		defer phone.api.mu.Unlock()
		return phone.api.lost > 0
	})
	phone.stop()
	phone.api.set(false)
	phone.start("")
	laptop.start("")
	laptop.has(store.Contact, "ben", "other on phone: an answer")

	// Both write at once, about different things.
	befriend(laptop, newDevice(t, relay, "cat"))
	cat, _ := laptop.conversation(store.Contact, "cat")
	laptop.must(laptop.Send(ctx, agent.ConnectionID(cat.Ref), "from the laptop"))
	phone.must(phone.Send(ctx, agent.ConnectionID(ben.Ref), "from the phone"))
	phone.has(store.Contact, "cat", "own on laptop: from the laptop")
	laptop.has(store.Contact, "ben", "own on phone: from the phone")

	list, err := phone.ListDevices(ctx)
	phone.must(err)
	if len(list.Devices) != 2 || list.Waiting != 0 || list.Trouble != "" {
		t.Errorf("%+v", list)
	}
}

// The profile is one for all devices, whichever changes it.
func TestDevicesHaveOneProfile(t *testing.T) {
	t.Parallel()
	relay := world.StartRelay(t)
	phone, laptop := newDevice(t, relay, "phone"), newDevice(t, relay, "laptop")
	ctx := t.Context()
	phone.must(phone.SetProfile(ctx, chat.Profile{DisplayName: "ann", FullName: "Ann of Arc"}))
	phone.must(phone.BeginDevices(ctx, "phone"))
	pair(phone, laptop)
	is := func(d *device, name string) {
		t.Helper()
		d.until("is "+name, func() bool {
			p, err := d.CurrentProfile()
			d.must(err)
			return p.DisplayName == name
		})
	}
	is(laptop, "ann")
	laptop.must(laptop.SetProfile(ctx, chat.Profile{DisplayName: "annie"}))
	is(phone, "annie")
	phone.must(phone.SetProfile(ctx, chat.Profile{DisplayName: "anna"}))
	is(laptop, "anna")
	// Started with the name that it was started with before, a device keeps the newer one.
	laptop.stop()
	laptop.start("laptop")
	is(laptop, "anna")
	laptop.stop()
	laptop.start("lap")
	is(laptop, "lap")
	is(phone, "lap")
}

// Both devices are members of one group, each with a key of its own: one conversation, each message once.
func TestDevicesInOneGroup(t *testing.T) {
	t.Parallel()
	relay := world.StartRelay(t)
	phone, laptop, friend := newDevice(t, relay, "phone"), newDevice(t, relay, "laptop"), newDevice(t, relay, "ben")
	ctx := t.Context()
	g, err := friend.NewGroup(ctx, "friends")
	friend.must(err)
	friend.must(friend.SetJoinRule(ctx, g, "open"))
	link, err := friend.agent.GroupLink(ctx, g)
	friend.must(err)
	join := func(d *device) agent.GroupID {
		own, err := d.Ask(ctx, link, "", "")
		d.must(err)
		d.until("joined", func() bool {
			info, err := d.agent.Agent.Group(ctx, own)
			d.must(err)
			return info.Status == "member"
		})
		d.until("knows the title", func() bool { _, ok := d.conversation(store.Group, "friends"); return ok })
		return own
	}
	ofPhone := join(phone)
	phone.must(phone.BeginDevices(ctx, "phone"))
	_, err = phone.SendGroup(ctx, ofPhone, "only the phone was there")
	phone.must(err)
	pair(phone, laptop)
	laptop.has(store.Group, "friends", "own on phone: only the phone was there")
	// The laptop joins the group that it has read about.
	ofLaptop := join(laptop)
	_, err = laptop.SendGroup(ctx, ofLaptop, "now both")
	laptop.must(err)
	phone.has(store.Group, "friends", "own on laptop: now both")
	_, err = phone.SendGroup(ctx, ofPhone, "and again")
	phone.must(err)
	laptop.has(store.Group, "friends", "own on phone: and again")
	_, err = friend.SendGroup(ctx, g, "hello to both")
	friend.must(err)
	for _, d := range []*device{phone, laptop} {
		d.has(store.Group, "friends", "other: hello to both")
		all, err := d.Conversations()
		d.must(err)
		for _, c := range all {
			if c.Kind == store.Group && c.Remote {
				t.Errorf("%s shows the group twice:\n%s", d.name, d.everything())
			}
		}
	}
	// Nothing in the group says that two of its members are one person.
	c, _ := friend.conversation(store.Group, "friends")
	for _, line := range friend.lines(store.Group, c.Ref) {
		if strings.Contains(line, " on ") {
			t.Error(line)
		}
	}
	if len(c.Members) != 2 {
		t.Errorf("%+v", c.Members)
	}
}

// A lost device is removed: it is told nothing more, and nothing is taken from it.
func TestLostDeviceIsRemoved(t *testing.T) {
	t.Parallel()
	relay := world.StartRelay(t)
	phone, laptop, friend := newDevice(t, relay, "phone"), newDevice(t, relay, "laptop"), newDevice(t, relay, "ben")
	ctx := t.Context()
	befriend(laptop, friend)
	laptop.must(laptop.BeginDevices(ctx, "laptop"))
	pair(laptop, phone)
	ben, _ := laptop.conversation(store.Contact, "ben")
	laptop.must(laptop.Send(ctx, agent.ConnectionID(ben.Ref), "both have this"))
	phone.has(store.Contact, "ben", "own on laptop: both have this")
	if err := laptop.RemoveDevice(ctx, "nothing"); !errors.Is(err, chat.ErrNoConversation) {
		t.Error(err)
	}
	laptop.must(laptop.RemoveDevice(ctx, "phone"))
	phone.sees("removed", func(u chat.Update) bool {
		return u.Message != nil && u.Message.Text == "laptop removed you" && u.Conversation.Kind == store.Devices
	})
	laptop.must(laptop.Send(ctx, agent.ConnectionID(ben.Ref), "not for the phone"))
	if _, err := phone.ListDevices(ctx); !errors.Is(err, chat.ErrNoDevices) {
		t.Error(err)
	}
	// It keeps what it has, and can begin anew on its own.
	phone.has(store.Contact, "ben", "own on laptop: both have this")
	phone.must(phone.BeginDevices(ctx, "phone"))
	phone.must(phone.LeaveDevices(ctx))
	phone.until("left", func() bool { return errors.Is(phone.LeaveDevices(ctx), chat.ErrNoDevices) })
	c, _ := phone.conversation(store.Contact, "ben")
	for _, line := range phone.lines(store.Contact, c.Ref) {
		if strings.Contains(line, "not for the phone") {
			t.Error("a removed device was told", line)
		}
	}
}

// The first device outranks those that it let in: removed by one, it undoes that, and tells what was said meanwhile.
func TestRemovalByAStolenDeviceIsContested(t *testing.T) {
	t.Parallel()
	relay := world.StartRelay(t)
	phone, stolen, laptop, friend := newDevice(t, relay, "phone"), newDevice(t, relay, "stolen"), newDevice(t, relay, "laptop"), newDevice(t, relay, "ben")
	ctx := t.Context()
	befriend(phone, friend)
	ben, _ := phone.conversation(store.Contact, "ben")
	phone.must(phone.BeginDevices(ctx, "phone"))
	pair(phone, stolen)
	pair(phone, laptop)
	stolen.has(store.Contact, "ben", "notice on phone: connected")
	stolen.until("knows the phone", func() bool { return stolen.RemoveDevice(ctx, "phone") == nil })
	phone.sees("removed", func(u chat.Update) bool {
		return u.Message != nil && strings.HasPrefix(u.Message.Text, "stolen removed you")
	})
	phone.must(phone.Send(ctx, agent.ConnectionID(ben.Ref), "while removed"))
	c, _ := phone.conversation(store.Devices, "devices")
	phone.must(phone.Contest(ctx, c))
	laptop.has(store.Contact, "ben", "own on phone: while removed")
	for _, line := range stolen.lines(store.Contact, "remote/"+ben.ID.String()) {
		if strings.Contains(line, "while removed") {
			t.Error("the stolen device has", line)
		}
	}
}

// A group of one device sends nothing.
func TestOnlyDeviceSendsNothing(t *testing.T) {
	t.Parallel()
	relay := world.StartRelay(t)
	phone, friend := newDevice(t, relay, "phone"), newDevice(t, relay, "ben")
	ctx := t.Context()
	befriend(phone, friend)
	ben, _ := phone.conversation(store.Contact, "ben")
	phone.must(phone.Send(ctx, agent.ConnectionID(ben.Ref), "first"))
	friend.has(store.Contact, "phone", "other: first")
	phone.must(phone.BeginDevices(ctx, "phone"))
	phone.must(phone.SetProfile(ctx, chat.Profile{DisplayName: "ann"}))
	if sent := phone.agent.Counters().Groups; len(sent) != 0 {
		t.Errorf("sent %v", sent)
	}
	phone.api.mu.Lock()
	defer phone.api.mu.Unlock()
	if phone.api.group == 0 {
		t.Error("the group was not used")
	}
}

// Whoever gets the link without seeing the new device's screen, and whoever puts a link of its own in its place, gets nothing.
func TestDeviceLinkAloneIsWorthNothing(t *testing.T) {
	t.Parallel()
	relay := world.StartRelay(t)
	phone, laptop, thief := newDevice(t, relay, "phone"), newDevice(t, relay, "laptop"), newDevice(t, relay, "thief")
	ctx := t.Context()
	phone.must(phone.BeginDevices(ctx, "phone"))
	link, err := phone.LinkDevice(ctx)
	phone.must(err)
	stolenCode, err := thief.JoinDevices(ctx, link, "laptop")
	thief.must(err)
	phone.sees("a device that asks", func(u chat.Update) bool { return u.DeviceAsks == "laptop" })
	// The thief also shows the laptop a link of its own, and hopes to learn the code.
	thiefOwn := newDevice(t, relay, "thief2")
	thiefOwn.must(thiefOwn.BeginDevices(ctx, "phone"))
	swapped, err := thiefOwn.LinkDevice(ctx)
	thiefOwn.must(err)
	code, err := laptop.JoinDevices(ctx, swapped, "laptop")
	laptop.must(err)
	if _, err := phone.ConfirmDevice(ctx, code); !errors.Is(err, chat.ErrDeviceCode) {
		t.Error("let a thief in:", err)
	}
	if code == stolenCode {
		t.Error("codes are not random")
	}
	thiefOwn.sees("a device that asks", func(u chat.Update) bool { return u.DeviceAsks == "laptop" })
	if _, err := thiefOwn.ConfirmDevice(ctx, stolenCode); !errors.Is(err, chat.ErrDeviceCode) {
		t.Error("took a wrong code:", err)
	}
	for _, d := range []*device{laptop, thief} {
		if _, err := d.ListDevices(ctx); !errors.Is(err, chat.ErrNoDevices) {
			t.Errorf("%s: %v", d.name, err)
		}
	}
	// The laptop gives up, and joins with a link that nobody touched.
	laptop.must(laptop.LeaveDevices(ctx))
	pair(phone, laptop)
	if _, err := laptop.JoinDevices(ctx, "coterie:/group/x", "laptop"); !errors.Is(err, chat.ErrDeviceLink) {
		t.Error(err)
	}
}

// What looks like a message between own devices, in a group that is none, is nothing but an unknown message.
func TestForgedDevicesContentDoesNothing(t *testing.T) {
	t.Parallel()
	relay := world.StartRelay(t)
	victim, attacker := newDevice(t, relay, "victim"), newDevice(t, relay, "attacker")
	ctx := t.Context()
	befriend(attacker, victim)
	contact, _ := attacker.conversation(store.Contact, "victim")
	const forged = `{"v":"1","event":"coterie.replica","params":{"version":1,"items":[` +
		`{"profile":{"displayName":"owned","fullName":"","stamp":{"n":9,"by":"x"}}},` +
		`{"entry":{"in":{"kind":"contact","key":"k"},"id":"01890a5d-ac96-774b-bcce-b302099a8057","own":true,"text":"forged","time":"2030-01-01T00:00:00Z"}}]}}`
	_, err := attacker.agent.Send(ctx, agent.ConnectionID(contact.Ref), agent.Outgoing{Body: []byte(forged)})
	attacker.must(err)
	victim.has(store.Contact, "attacker", "other: (coterie.replica)")
	// The same in a group that says of itself to be one of devices.
	g, err := attacker.agent.GroupNew(ctx, agent.GroupOptions{Settings: map[string][]byte{"history": []byte("all"), "title": []byte("devices"), "self": []byte("1")}})
	attacker.must(err)
	_, err = attacker.agent.GroupAdd(ctx, g, agent.ConnectionID(contact.Ref), agent.AddOptions{Info: []byte(`{"event":"coterie.device","params":{"version":1,"proof":""}}`)})
	attacker.must(err)
	u := victim.sees("an invitation", func(u chat.Update) bool { return u.Invitation != nil })
	ofVictim, err := victim.Join(ctx, *u.Invitation)
	victim.must(err)
	_, err = attacker.agent.GroupSend(ctx, g, agent.Outgoing{Body: []byte(forged)})
	attacker.must(err)
	victim.until("has the message", func() bool {
		lines := strings.Join(victim.lines(store.Group, string(ofVictim)), "\n")
		return strings.Contains(lines, "other: (coterie.replica)")
	})
	if p, err := victim.CurrentProfile(); err != nil || p.DisplayName != "victim" {
		t.Errorf("%+v %v", p, err)
	}
	if text := victim.everything(); strings.Contains(text, "forged") {
		t.Error(text)
	}
	// Once the victim has devices, still only their group counts.
	victim.must(victim.BeginDevices(ctx, "phone"))
	_, err = attacker.agent.GroupSend(ctx, g, agent.Outgoing{Body: []byte(strings.Replace(forged, "forged", "again", 1))})
	attacker.must(err)
	victim.until("has both", func() bool {
		return strings.Count(strings.Join(victim.lines(store.Group, string(ofVictim)), "\n"), "(coterie.replica)") == 2
	})
	if text := victim.everything(); strings.Contains(text, "again") {
		t.Error(text)
	}
}
