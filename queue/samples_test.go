package queue

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/coterie-im/coterie/internal/keys"
)

// Every form of every command and response: the seeds of the fuzz targets, and what the tables are checked against.

type commandSample struct {
	since   Version // before that the command looks different
	until   Version // after that too; 0 for never
	command Command
}

type responseSample struct {
	since    Version
	until    Version
	response Response
}

var ed448Key = substitute(keys.Ed448)

func sampleServer() Server {
	return Server{Fingerprint: [32]byte(counting(0x40, 32)), Hosts: []string{"smp.example.com", "abcdef.onion"}}
}

func commandSamples() []commandSample {
	auth, dh := recipientAuth.Public(), public(recipientDH)
	withPort := sampleServer()
	withPort.Port, withPort.Password = "5224", "secret"
	link := &LinkData{SenderID: linkSenderID, Fixed: []byte("FIX"), User: []byte("USR")}
	contactLink := &LinkData{LinkID: queueID, SenderID: linkSenderID, Fixed: []byte("FIX"), User: bytes.Repeat([]byte("U"), 13824)}
	notifier := &NotifierKeys{Key: notifierAuth.Public(), DH: public(notifierDH)}
	return []commandSample{
		{6, 8, NEW{RecipientKey: auth, RecipientDH: dh}},
		{6, 8, NEW{RecipientKey: ed448Key, RecipientDH: dh, Password: "secret", Subscribe: true}},
		{9, 0, NEW{RecipientKey: auth, RecipientDH: dh, Subscribe: true, Mode: ModeMessaging}},
		{9, 0, NEW{RecipientKey: dh, RecipientDH: dh, Password: "secret", Mode: ModeContact}},
		{15, 0, NEW{RecipientKey: auth, RecipientDH: dh}},
		{15, 0, NEW{RecipientKey: auth, RecipientDH: dh, Mode: ModeMessaging, Link: link}},
		{15, 0, NEW{RecipientKey: auth, RecipientDH: dh, Mode: ModeContact, Link: contactLink}},
		{17, 0, NEW{RecipientKey: auth, RecipientDH: dh, Mode: ModeContact, Notifier: notifier}},
		{6, 0, SUB{}},
		{6, 0, SUBS{}},
		{6, 0, KEY{senderAuth.Public()}},
		{6, 0, RKEY{[]keys.Public{auth, ed448Key}}},
		{6, 0, LSET{queueID, []byte("FIX"), nil}},
		{6, 0, LDEL{}},
		{6, 0, NKEY{*notifier}},
		{6, 0, NDEL{}},
		{6, 0, GET{}},
		{6, 0, ACK{queueID}},
		{6, 0, ACK{""}},
		{6, 0, OFF{}},
		{6, 0, DEL{}},
		{6, 0, QUE{}},
		{6, 0, SKEY{auth}},
		{6, 0, SEND{Notify: true, Body: []byte("hello world")}},
		{6, 0, SEND{}},
		{6, 0, PING{}},
		{6, 0, LKEY{auth}},
		{6, 0, LGET{}},
		{6, 0, NSUB{}},
		{6, 0, NSUBS{}},
		{6, 0, PRXY{sampleServer()}},
		{6, 0, PRXY{withPort}},
		{6, 0, PFWD{9, public(ephemeral), []byte("sealed")}},
		{6, 0, RFWD{[]byte("sealed")}},
	}
}

func responseSamples() []responseSample {
	dh := public(serverSession)
	return []responseSample{
		{6, 0, OK{}},
		{16, 0, SOK{}},
		{16, 0, SOK{queueID}},
		{6, 0, SOKS{2}},
		{6, 0, ENDS{-1}},
		{6, 8, IDS{RecipientID: queueID, SenderID: linkSenderID, ServerDH: dh}},
		{9, 0, IDS{RecipientID: queueID, SenderID: linkSenderID, ServerDH: dh, Mode: ModeMessaging}},
		{9, 0, IDS{RecipientID: queueID, SenderID: linkSenderID, ServerDH: dh, Mode: ModeContact}},
		{15, 0, IDS{RecipientID: queueID, SenderID: linkSenderID, ServerDH: dh, LinkID: "link"}},
		{16, 0, IDS{RecipientID: queueID, SenderID: linkSenderID, ServerDH: dh, Mode: ModeMessaging, ServiceID: "service"}},
		{17, 0, IDS{RecipientID: queueID, SenderID: linkSenderID, ServerDH: dh, Notifier: &NID{"notifier", dh}}},
		{6, 0, NID{queueID, dh}},
		{6, 0, MSG{queueID, bytes.Repeat([]byte{1}, SealedMessageSize)}},
		{6, 0, NMSG{[NonceSize]byte(counting(0, 24)), bytes.Repeat([]byte{1}, SealedNotificationSize)}},
		{6, 0, LNK{linkSenderID, []byte("FIX"), []byte("USR")}},
		{6, 0, PKEY{sessionID, VersionRange{8, 17}, CertifiedKey{[][]byte{[]byte("LEAF"), []byte("CA")}, []byte("KEY")}}},
		{6, 0, RRES{[]byte("sealed")}},
		{6, 0, PRES{[]byte("sealed")}},
		{6, 0, END{}},
		{10, 0, DELD{}},
		{6, 0, INFO{QueueInfo{Secured: true}}},
		{6, 0, INFO{QueueInfo{
			Notifier: true, Size: 3, Subscription: &SubscriptionInfo{ThreadRunning, queueID},
			Head: &StoredMessageInfo{ID: queueID, Time: 1700000000, Quota: true},
		}}},
		{6, 0, ERR{ErrAuth}},
		{18, 0, ERR{Blocked(BlockInfo{BlockSpam, &BlockNotice{60}})}},
		{6, 0, PONG{}},
	}
}

// each calls f for every version at which a sample has its form.
func each(since, until Version, f func(v Version)) {
	if until == 0 {
		until = newestFormat
	}
	for v := since; v <= until; v++ {
		f(v)
	}
}

func TestCommandsAreReadAsTheyAreWritten(t *testing.T) {
	missing := make(map[string]bool)
	for _, info := range Commands() {
		missing[info.Tag] = true
	}
	for _, s := range commandSamples() {
		delete(missing, s.command.Tag())
		each(s.since, s.until, func(v Version) {
			raw := AppendCommand([]byte("before"), v, s.command)[len("before"):]
			got, err := DecodeCommand(v, raw)
			if err != nil || !sameCommand(v, got, s.command) {
				t.Errorf("version %d: %s became %#v, %v", v, s.command.Tag(), got, err)
			}
			// Nothing may be missing, and nothing left over.
			if info, _ := LookupCommand(s.command.Tag()); info.decode != nil && !endsWithRest(s.command) {
				if _, err := DecodeCommand(v, raw[:len(raw)-1]); err != ErrCmdSyntax {
					t.Errorf("version %d: cut %s gives %v", v, s.command.Tag(), err)
				}
				if _, err := DecodeCommand(v, append(bytes.Clone(raw), 'x')); err != ErrCmdSyntax {
					t.Errorf("version %d: longer %s gives %v", v, s.command.Tag(), err)
				}
			}
		})
	}
	for tag := range missing {
		t.Errorf("no sample of %s", tag)
	}
}

// sameCommand compares without telling empty from nil slices.
func sameCommand(v Version, a, b Command) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && bytes.Equal(AppendCommand(nil, v, a), AppendCommand(nil, v, b))
}

func endsWithRest(c Command) bool {
	switch c.(type) {
	case SEND, PFWD, RFWD:
		return true
	}
	return false
}

func TestResponsesAreReadAsTheyAreWritten(t *testing.T) {
	missing := make(map[string]bool)
	for _, info := range responseTable {
		missing[info.tag] = true
	}
	for _, s := range responseSamples() {
		delete(missing, s.response.Tag())
		each(s.since, s.until, func(v Version) {
			raw := AppendResponse([]byte("before"), v, s.response)[len("before"):]
			got, err := DecodeResponse(v, raw)
			if err != nil || !reflect.DeepEqual(got, s.response) {
				t.Errorf("version %d: %s became %#v, %v", v, s.response.Tag(), got, err)
			}
		})
	}
	for tag := range missing {
		t.Errorf("no sample of %s", tag)
	}
}

func TestCommandTable(t *testing.T) {
	seen := make(map[string]bool)
	for _, info := range Commands() {
		if seen[info.Tag] {
			t.Errorf("%s is there twice", info.Tag)
		}
		seen[info.Tag] = true
		if (info.bare == nil) == (info.decode == nil) || (info.decode != nil) != (info.Params != "") {
			t.Errorf("%s: parameters and decoder do not belong together", info.Tag)
		}
		if info.bare != nil && info.bare.Tag() != info.Tag {
			t.Errorf("%s reads %s", info.Tag, info.bare.Tag())
		}
		if info.Success == "" || info.Summary == "" || info.MinVersion < VersionOldest {
			t.Errorf("%s is not described", info.Tag)
		}
		if (info.Party == Anybody) != (info.Credentials == AuthNoEntity || info.Credentials == NoAuthNoEntity) {
			t.Errorf("%s: %v with %v", info.Tag, info.Party, info.Credentials)
		}
	}
	for _, response := range responseTable {
		if seen[response.tag] {
			t.Errorf("%s is a command and a response", response.tag)
		}
		if (response.bare == nil) == (response.decode == nil) {
			t.Errorf("%s: parameters and decoder do not belong together", response.tag)
		}
	}
	changed := Commands()
	changed[0].Tag = "XXX"
	if _, ok := LookupCommand("NEW"); !ok {
		t.Error("the table was changed from outside")
	}
}

func TestOldVersionsGetWhatTheyUnderstand(t *testing.T) {
	blocked := Blocked(BlockInfo{BlockContent, &BlockNotice{}})
	for _, test := range []struct {
		version  Version
		response Response
		want     string
	}{
		{15, SOK{queueID}, "OK"},
		{9, DELD{}, "END"},
		{10, DELD{}, "DELD"},
		{11, ERR{blocked}, "ERR AUTH"},
		{12, ERR{blocked}, "ERR BLOCKED reason=content"},
		{17, ERR{blocked}, "ERR BLOCKED reason=content"},
		{18, ERR{blocked}, "ERR BLOCKED reason=content,notice={}"},
		{11, ERR{ProxyProtocol(blocked)}, "ERR PROXY PROTOCOL AUTH"},
		{18, ERR{ProxyProtocol(blocked)}, "ERR PROXY PROTOCOL BLOCKED reason=content,notice={}"},
	} {
		if got := AppendResponse(nil, test.version, test.response); string(got) != test.want {
			t.Errorf("version %d: %q", test.version, got)
		}
	}
}

func TestModesAtVersionsThatHaveOnlyABit(t *testing.T) {
	for _, mode := range []Mode{ModeNone, ModeContact} {
		c := NEW{RecipientKey: recipientAuth.Public(), RecipientDH: public(recipientDH), Mode: mode}
		got, err := DecodeCommand(9, AppendCommand(nil, 9, c))
		if err != nil || got.(NEW).Mode != ModeContact {
			t.Errorf("%v became %v, %v", mode, got, err)
		}
		resp, err := DecodeResponse(14, AppendResponse(nil, 14, IDS{ServerDH: public(serverSession), Mode: mode}))
		if err != nil || resp.(IDS).Mode != ModeContact {
			t.Errorf("%v became %v, %v", mode, resp, err)
		}
	}
	// Below version 9 there is no mode at all.
	got, err := DecodeCommand(8, AppendCommand(nil, 8, NEW{RecipientKey: recipientAuth.Public(), RecipientDH: public(recipientDH), Mode: ModeMessaging}))
	if err != nil || got.(NEW).Mode != ModeNone {
		t.Errorf("%v, %v", got, err)
	}
}

func TestResponsesThatAreRefused(t *testing.T) {
	for name, raw := range map[string]string{
		"empty":                 "",
		"unknown":               "HELLO",
		"command":               "SUB",
		"OK with a space":       "OK ",
		"OK with parameters":    "OK x",
		"MSG without ID":        "MSG",
		"SOK with an empty ID":  "SOK 1\x00",
		"SOK with a bad mark":   "SOK 2",
		"unknown error":         "ERR SOMETHING",
		"error without a word":  "ERR ",
		"INFO without JSON":     "INFO x",
		"INFO with two":         `INFO {"qiSnd":true,"qiNtf":false,"qiSize":0} {}`,
		"INFO negative":         `INFO {"qiSnd":true,"qiNtf":false,"qiSize":-1}`,
		"INFO message type":     `INFO {"qiSize":1,"qiMsg":{"msgId":"","msgTs":"2023-11-14T22:13:20Z","msgType":"x"}}`,
		"INFO message time":     `INFO {"qiSize":1,"qiMsg":{"msgId":"","msgTs":"yesterday","msgType":"message"}}`,
		"INFO message ID":       `INFO {"qiSize":1,"qiMsg":{"msgId":"?","msgTs":"2023-11-14T22:13:20Z","msgType":"message"}}`,
		"INFO delivered":        `INFO {"qiSize":1,"qiSub":{"qSubThread":"noSub","qDelivered":"?"}}`,
		"PKEY without chain":    "PKEY \x01s\x00\x08\x00\x09\x00\x00\x00",
		"PKEY with empty range": "PKEY \x01s\x00\x09\x00\x08\x01\x00\x01c\x00\x01k",
	} {
		if got, err := DecodeResponse(18, []byte(raw)); err == nil {
			t.Errorf("%s: took %#v", name, got)
		}
	}
}

func TestQueueInfoOfTheReference(t *testing.T) {
	const text = `{"qiSnd":true,"qiNtf":false,"qiSub":{"qSubThread":"subThread","qDelivered":"oKGio6SlpqeoqaqrrK2ur7CxsrO0tba3"},"qiSize":2,"qiMsg":{"msgId":"oKGio6SlpqeoqaqrrK2ur7CxsrO0tba3","msgTs":"2023-11-14T22:13:20Z","msgType":"message"}}`
	want := QueueInfo{
		Secured: true, Size: 2, Subscription: &SubscriptionInfo{ThreadRunning, queueID},
		Head: &StoredMessageInfo{ID: queueID, Time: 1700000000},
	}
	got, err := DecodeResponse(9, []byte("INFO "+text))
	if err != nil || !reflect.DeepEqual(got, INFO{want}) {
		t.Errorf("read %v, %v", got, err)
	}
	if got := AppendResponse(nil, 9, INFO{want}); string(got) != "INFO "+text {
		t.Errorf("wrote %s", got)
	}
	fraction := []byte(`INFO {"qiSnd":false,"qiNtf":false,"qiSize":1,"qiMsg":{"msgId":"","msgTs":"2023-11-14T22:13:20.123456Z","msgType":"quota"},"later":1}`)
	if got, err := DecodeResponse(9, fraction); err != nil || got.(INFO).Info.Head.Time != 1700000000 {
		t.Errorf("fractions of seconds: %v", err)
	}
}

func TestAnswersAndTheirEntities(t *testing.T) {
	for _, test := range []struct {
		response Response
		with     bool
		without  bool
	}{
		{OK{}, true, false}, {MSG{ID: "m"}, true, false}, {END{}, true, false}, {INFO{}, true, false}, {PRES{}, true, false},
		{PONG{}, false, true}, {RRES{}, false, true},
		{IDS{ServerDH: public(serverSession)}, true, true}, {ERR{ErrAuth}, true, true},
	} {
		for _, entity := range []ID{"entity", ""} {
			ok := test.with && entity != "" || test.without && entity == ""
			a, err := DecodeAnswer(9, nil, AppendAnswer(nil, 9, nil, Answer{"corr", entity, test.response}))
			if (err == nil) != ok {
				t.Errorf("%s with entity %t: %v", test.response.Tag(), entity != "", err)
			}
			if a.CorrID != "corr" || a.EntityID != entity {
				t.Errorf("%s: IDs are lost", test.response.Tag())
			}
		}
	}
	if _, err := DecodeAnswer(6, []byte("session"), AppendAnswer(nil, 6, []byte("other"), Answer{"", "q", END{}})); err == nil {
		t.Error("took an answer of another session")
	}
	if _, err := DecodeAnswer(6, []byte("session"), AppendAnswer(nil, 6, []byte("session"), Answer{"", "q", END{}})); err != nil {
		t.Error(err)
	}
}
