package queue

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/wire"
)

func TestMessages(t *testing.T) {
	secret := agreed(t, recipientDH, serverSession)
	for _, m := range []Message{
		{Time: 1, Body: []byte("hello")},
		{Notify: true, Body: []byte{}},
		{Time: -1, Body: bytes.Repeat([]byte{0xff}, MaxBodySize(VersionOldest))},
		{Time: 1 << 60, Quota: true},
	} {
		sealed, err := SealMessage(secret, queueID, m)
		if err != nil || len(sealed) != SealedMessageSize {
			t.Fatalf("%d bytes, %v", len(sealed), err)
		}
		got, err := OpenMessage(secret, MSG{queueID, sealed})
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v became %+v, %v", m, got, err)
		}
		for name, msg := range map[string]MSG{
			"another ID": {linkSenderID, sealed},
			"changed":    {queueID, flipped(sealed)},
			"cut":        {queueID, sealed[:len(sealed)-1]},
			"empty":      {queueID, nil},
		} {
			if _, err := OpenMessage(secret, msg); !errors.Is(err, ErrMessage) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := OpenMessage(new(box.Secret), MSG{queueID, sealed}); !errors.Is(err, ErrMessage) {
			t.Errorf("another secret: %v", err)
		}
	}
	if _, err := SealMessage(secret, queueID, Message{Body: make([]byte, 16095)}); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := SealMessage(secret, queueID, Message{Body: make([]byte, 16094)}); err != nil {
		t.Errorf("largest: %v", err)
	}
}

func TestMessageContents(t *testing.T) {
	for content, want := range map[string]Message{
		"\x00\x00\x00\x00\x00\x00\x00\x05Tfuture hello world": {Time: 5, Notify: true, Body: []byte("hello world")},
		"\x00\x00\x00\x00\x00\x00\x00\x05F  ":                 {Time: 5, Body: []byte(" ")},
		"QUOTA \x00\x00\x00\x00\x00\x00\x00\x05":              {Time: 5, Quota: true},
	} {
		if got, err := DecodeMessage([]byte(content)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", content, got, err)
		}
	}
	for _, content := range []string{"", "1234567", "12345678", "12345678T", "12345678X hello", "12345678Tfuture", "QUOTA \x00\x00\x00\x00\x00\x00\x05"} {
		if got, err := DecodeMessage([]byte(content)); !errors.Is(err, ErrMessage) {
			t.Errorf("%q is taken as %+v", content, got)
		}
	}
}

func TestNotifications(t *testing.T) {
	secret := agreed(t, notifierDH, serverSession)
	nonce := [NonceSize]byte(counting(1, 24))
	n := Notification{queueID, 1700000000}
	event, err := SealNotification(secret, nonce, n)
	if err != nil || len(event.Sealed) != SealedNotificationSize || event.Nonce != nonce {
		t.Fatalf("%d bytes, %v", len(event.Sealed), err)
	}
	if got, err := OpenNotification(secret, event); err != nil || got != n {
		t.Errorf("%v, %v", got, err)
	}
	// What later versions say behind the time is not looked at.
	longer, err := box.SealPadded(nil, secret, nonce[:], append(wire.AppendI64(n.MessageID.Append(nil), n.Time), "more"...), 128)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenNotification(secret, NMSG{nonce, longer}); err != nil || got != n {
		t.Errorf("%v, %v", got, err)
	}
	short, err := box.SealPadded(nil, secret, nonce[:], n.MessageID.Append(nil), 128)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]NMSG{"without time": {nonce, short}, "changed": {nonce, flipped(event.Sealed)}, "another nonce": {[NonceSize]byte{}, event.Sealed}} {
		if _, err := OpenNotification(secret, bad); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A command on its way through a proxy to the relay, and its answer on the way back.
func TestForwarding(t *testing.T) {
	inner := agreed(t, ephemeral, serverSession)  // of client and relay
	outer := agreed(t, notifierDH, serverSession) // of proxy and relay
	nonce := ID(counting(0x30, 24))
	command, err := EncodeCommand(nil, 9, sessionID, serverSession.PublicKey(), corrID, queueID, senderAuth, SEND{Body: make([]byte, MaxBodySize(9))})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := SealForward(inner, corrID, command)
	if err != nil {
		t.Fatal(err)
	}
	envelope := Forwarded{corrID, 9, public(ephemeral), sealed}
	forwarded, err := OpenForwarded(outer, nonce, SealForwarded(outer, nonce, envelope))
	if err != nil || !reflect.DeepEqual(forwarded, envelope) {
		t.Fatalf("the envelope is another, %v", err)
	}
	opened, err := OpenForward(inner, forwarded.CorrID, forwarded.Sealed)
	if err != nil || !bytes.Equal(opened, command) {
		t.Fatalf("the command is another, %v", err)
	}
	answer := AppendAnswer(nil, 9, nil, Answer{corrID, queueID, ERR{ErrQuota}})
	reply, err := SealForwardReply(inner, corrID, answer)
	if err != nil {
		t.Fatal(err)
	}
	gotID, gotReply, err := OpenForwardedReply(outer, nonce, SealForwardedReply(outer, nonce, corrID, reply))
	if err != nil || gotID != corrID || !bytes.Equal(gotReply, reply) {
		t.Fatalf("the reply is another, %v", err)
	}
	if got, err := OpenForwardReply(inner, corrID, gotReply); err != nil || !bytes.Equal(got, answer) {
		t.Fatalf("the answer is another, %v", err)
	}

	// Errors are those that the relay answers.
	if _, err := OpenForwarded(outer, corrID, SealForwarded(outer, nonce, envelope)); err != ErrCrypto {
		t.Errorf("another nonce: %v", err)
	}
	if _, err := OpenForward(inner, nonce, sealed); err != ErrCrypto {
		t.Errorf("another correlation ID: %v", err)
	}
	if _, err := OpenForwarded(outer, nonce, RFWD{box.Seal(nil, outer, []byte(nonce), []byte("x"))}); err != ErrCmdSyntax {
		t.Errorf("no envelope: %v", err)
	}
	for name, content := range map[string][]byte{"two": onlyBatch(t, answer, answer), "none": {0}, "nothing": nil} {
		raw, err := box.SealPadded(nil, inner, []byte(corrID), content, paddedForward)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenForward(inner, corrID, raw); err != ErrBlock {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenForwardReply(inner, corrID, sealed); err != ErrCrypto {
		t.Errorf("a command as reply: %v", err)
	}
	if _, _, err := OpenForwardedReply(outer, nonce, RRES{box.Seal(nil, outer, reversed(nonce), []byte{9})}); !errors.Is(err, ErrResponse) {
		t.Errorf("malformed reply: %v", err)
	}
	if _, _, err := OpenForwardedReply(outer, nonce, RRES{nil}); err != ErrCrypto {
		t.Errorf("empty reply: %v", err)
	}
	if _, err := SealForward(inner, corrID, make([]byte, 16222)); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

// The largest SEND that a client of version 16 can forward, authorized with Ed448, fills the envelope exactly.
func TestLargestForwardedCommand(t *testing.T) {
	sent := Transmission{
		Authorization: make([]byte, ed448AuthorizationSize), CorrID: corrID, EntityID: queueID,
		Body: AppendCommand(nil, 16, SEND{Body: make([]byte, MaxBodySize(16))}),
	}
	raw := AppendTransmission(nil, 16, sent)
	if _, err := SealForward(new(box.Secret), corrID, raw); err != nil || len(raw)+3 != paddedForward-2 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}
