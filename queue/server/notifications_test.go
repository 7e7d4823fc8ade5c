package server_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"testing"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// bell is a notifier as the device knows it.
type bell struct {
	id     queue.ID
	key    queue.PrivateKey
	secret box.Secret
}

func (c *client) newBell(q inbox) bell {
	c.t.Helper()
	key := newKey(c.t, keys.Ed25519)
	dh, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(c.t, err)
	command := queue.NKEY{NotifierKeys: queue.NotifierKeys{Key: key.Public(), DH: keys.FromX25519(dh.PublicKey())}}
	nid, ok := c.do(q.recipient, q.key, command).(queue.NID)
	if !ok {
		c.t.Fatal("no notifier was made")
	}
	serverDH, err := nid.ServerDH.X25519()
	must(c.t, err)
	secret, err := box.Agree(dh, serverDH)
	must(c.t, err)
	return bell{nid.NotifierID, key, secret}
}

// ring takes the next event, which must be a notification about a message.
func (b bell) ring(c *client, message queue.ID) {
	c.t.Helper()
	a := c.event()
	event, ok := a.Response.(queue.NMSG)
	if !ok || a.EntityID != b.id {
		c.t.Fatalf("%s where a notification was expected", show(a.Response))
	}
	n, err := queue.OpenNotification(&b.secret, event)
	must(c.t, err)
	if n.MessageID != message || n.Time == 0 {
		c.t.Fatal("the notification is about another message")
	}
}

func loud(body string) queue.SEND { return queue.SEND{Notify: true, Body: []byte(body)} }

func TestNotifications(t *testing.T) {
	r := startRelay(t, nil)
	bob, alice, device, device2 := r.connect(t), r.connect(t), r.connect(t), r.connect(t)
	q := bob.subscribed()
	old := bob.newBell(q)
	b := bob.newBell(q)
	if old.id == b.id {
		t.Fatal("the new notifier has the ID of the old one")
	}
	device.wantErr(queue.ErrAuth, old.id, old.key, queue.NSUB{})
	device.wantErr(queue.ErrAuth, b.id, old.key, queue.NSUB{})
	device.wantOK(b.id, b.key, queue.NSUB{})
	device.wantOK(b.id, b.key, queue.NSUB{})

	alice.wantOK(q.sender, unsigned, send("silent"))
	bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: q.receive(bob, "silent")})
	alice.wantOK(q.sender, unsigned, loud("one"))
	one := q.receive(bob, "one")
	b.ring(device, one)
	bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: one})
	device.quiet()

	device2.wantOK(b.id, b.key, queue.NSUB{})
	if a := device.event(); a.Response != (queue.END{}) || a.EntityID != b.id {
		t.Fatalf("%s where END was expected", show(a.Response))
	}
	alice.wantOK(q.sender, unsigned, loud("two"))
	two := q.receive(bob, "two")
	b.ring(device2, two)
	device.quiet()

	bob.wantOK(q.recipient, q.key, queue.NDEL{})
	bob.wantOK(q.recipient, q.key, queue.NDEL{})
	if a := device2.event(); a.Response != (queue.END{}) || a.EntityID != b.id { // DELD is of version 10
		t.Fatalf("%s where END was expected", show(a.Response))
	}
	bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: two})
	alice.wantOK(q.sender, unsigned, loud("three"))
	bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: q.receive(bob, "three")})
	device2.quiet()
	device2.wantErr(queue.ErrAuth, b.id, b.key, queue.NSUB{})

	again := bob.newBell(q)
	device.wantOK(again.id, again.key, queue.NSUB{})
	alice.wantOK(q.sender, unsigned, loud("four"))
	again.ring(device, q.receive(bob, "four"))
	bob.wantOK(q.recipient, q.key, queue.DEL{})
	if a := device.event(); a.Response != (queue.END{}) || a.EntityID != again.id {
		t.Fatalf("%s where END was expected", show(a.Response))
	}
}

func TestNotificationsWait(t *testing.T) {
	r := startRelay(t, nil)
	bob, alice, device := r.connect(t), r.connect(t), r.connect(t)
	q := bob.subscribed()
	b := bob.newBell(q)
	var messages []queue.ID
	for _, body := range []string{"one", "two", "three"} {
		alice.wantOK(q.sender, unsigned, loud(body))
		id := q.receive(bob, body)
		messages = append(messages, id)
		bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: id})
	}
	device.wantOK(b.id, b.key, queue.NSUB{})
	for _, id := range messages {
		b.ring(device, id)
	}
	device.quiet()
	if s := r.Stats().Notifications; s.Queued != 3 || s.Sent != 3 || s.Lost != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestNotificationsAreBounded(t *testing.T) {
	r := startRelay(t, nil)
	bob, alice, device := r.connect(t), r.connect(t), r.connect(t)
	q := bob.subscribed()
	b := bob.newBell(q)
	const sent, kept = 130, 128
	var messages []queue.ID
	for range sent {
		alice.wantOK(q.sender, unsigned, loud("m"))
		id := q.receive(bob, "m")
		messages = append(messages, id)
		bob.wantOK(q.recipient, q.key, queue.ACK{MessageID: id})
	}
	device.wantOK(b.id, b.key, queue.NSUB{})
	for _, id := range messages[sent-kept:] {
		b.ring(device, id)
	}
	device.quiet()
	if lost := r.Stats().Notifications.Lost; lost != sent-kept {
		t.Fatalf("%d notifications are counted as lost", lost)
	}
}
