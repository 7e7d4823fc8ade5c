package queue

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
)

type vectorFile struct {
	Vectors       map[string]string
	Authenticator struct {
		Authenticator string
		Authorized    string
		Nonce         string
		QueuePrivate  string `json:"queue_private"`
		QueuePublic   string `json:"queue_public"`
		ServerPrivate string `json:"server_private"`
		ServerPublic  string `json:"server_public"`
	}
}

func loadVectors(t testing.TB) vectorFile {
	t.Helper()
	b, err := os.ReadFile("testdata/relay-protocol.json")
	if err != nil {
		t.Fatal(err)
	}
	var f vectorFile
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f vectorFile) bytes(t testing.TB, name string) []byte {
	t.Helper()
	if f.Vectors[name] == "" {
		t.Fatalf("no vector %s", name)
	}
	return unhex(t, f.Vectors[name])
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The inputs of the vectors.
var (
	recipientAuth = FromEd25519(ed25519.NewKeyFromSeed(repeated(1)))
	recipientDH   = scalar(2)
	senderAuth    = FromX25519(scalar(3))
	serverSession = scalar(4)
	serviceKey    = ed25519.NewKeyFromSeed(repeated(6))
	notifierAuth  = FromEd25519(ed25519.NewKeyFromSeed(repeated(8)))
	notifierDH    = scalar(9)
	ephemeral     = scalar(10)
	sessionID     = counting(0, 32)
	corrID        = ID(counting(0x80, 24))
	queueID       = ID(counting(0xa0, 24))
	linkSenderID  = func() ID { h := sha3.Sum384([]byte(corrID)); return ID(h[:24]) }()
)

func repeated(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func counting(from byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}

func scalar(b byte) *ecdh.PrivateKey {
	k, err := ecdh.X25519().NewPrivateKey(repeated(b))
	if err != nil {
		panic(err)
	}
	return k
}

func public(k *ecdh.PrivateKey) keys.Public { return keys.FromX25519(k.PublicKey()) }

func agreed(t testing.TB, own *ecdh.PrivateKey, peer *ecdh.PrivateKey) *box.Secret {
	t.Helper()
	s, err := box.Agree(own, peer.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

func TestVectorsCommands(t *testing.T) {
	f := loadVectors(t)
	base := NEW{RecipientKey: recipientAuth.Public(), RecipientDH: public(recipientDH), Subscribe: true}
	withMode := base
	withMode.Mode = ModeMessaging
	withPassword := base
	withPassword.Password = "secret"
	withAll := withMode
	withAll.Link = &LinkData{SenderID: linkSenderID, Fixed: []byte("FIX"), User: []byte("USR")}
	withAll.Notifier = &NotifierKeys{Key: notifierAuth.Public(), DH: public(notifierDH)}
	for _, test := range []struct {
		vector  string
		version Version
		command Command
	}{
		{"new_v6_password", 6, withPassword},
		{"new_v9", 9, withMode},
		{"new_v18", 18, withMode},
		{"new_v18_link_notifier", 18, withAll},
		{"send_body_flags", 9, SEND{Body: []byte("hello")}},
	} {
		want := f.bytes(t, test.vector)
		if got := AppendCommand(nil, test.version, test.command); !bytes.Equal(got, want) {
			t.Errorf("%s: encoded %x", test.vector, got)
		}
		got, err := DecodeCommand(test.version, want)
		if err != nil || !reflect.DeepEqual(got, test.command) {
			t.Errorf("%s: decoded %#v, %v", test.vector, got, err)
		}
	}
}

func TestVectorsResponses(t *testing.T) {
	f := loadVectors(t)
	ids := IDS{RecipientID: queueID, SenderID: linkSenderID, ServerDH: public(serverSession), Mode: ModeMessaging}
	for _, test := range []struct {
		vector   string
		version  Version
		response Response
	}{
		{"ids_v9", 9, ids},
		{"ids_v18", 18, ids},
		{"sok_none", 16, SOK{}},
		{"soks_2", 16, SOKS{2}},
		{"ends_1", 16, ENDS{1}},
		{"err_proxy_unexpected", 9, ERR{ProxyBroker(BrokerUnexpected("END"))}},
	} {
		want := f.bytes(t, test.vector)
		if got := AppendResponse(nil, test.version, test.response); !bytes.Equal(got, want) {
			t.Errorf("%s: encoded %x", test.vector, got)
		}
		got, err := DecodeResponse(test.version, want)
		if err != nil || !reflect.DeepEqual(got, test.response) {
			t.Errorf("%s: decoded %#v, %v", test.vector, got, err)
		}
	}
}

func TestVectorsTransmissions(t *testing.T) {
	f := loadVectors(t)
	create := NEW{RecipientKey: recipientAuth.Public(), RecipientDH: public(recipientDH), Subscribe: true, Mode: ModeMessaging}
	send := SEND{Body: []byte("hello")}
	authorizedSend := append([]byte{0x50}, append(f.bytes(t, "send_authenticator"), f.bytes(t, "send_unsigned")[1:]...)...)
	authorizedSendV16 := append([]byte{0x50}, append(append(f.bytes(t, "send_authenticator"), '0'), f.bytes(t, "send_unsigned")[1:]...)...)
	for _, test := range []struct {
		name    string
		want    []byte
		version Version
		entity  ID
		key     PrivateKey
		command Command
	}{
		{"NEW v9", f.bytes(t, "new_v9_transmission"), 9, "", recipientAuth, create},
		{"NEW v18", f.bytes(t, "new_v18_transmission"), 18, "", recipientAuth, create},
		{"SEND unsigned", f.bytes(t, "send_unsigned"), 7, queueID, PrivateKey{}, send},
		{"SEND authenticator v9", authorizedSend, 9, queueID, senderAuth, send},
		{"SEND authenticator v16", authorizedSendV16, 16, queueID, senderAuth, send},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := EncodeCommand(nil, test.version, sessionID, serverSession.PublicKey(), corrID, test.entity, test.key, test.command)
			if err != nil || !bytes.Equal(got, test.want) {
				t.Fatalf("encoded %x, %v", got, err)
			}
			decoded, err := DecodeTransmission(test.version, test.want)
			if err != nil || decoded.CorrID != corrID || decoded.EntityID != test.entity {
				t.Fatalf("decoded wrong, %v", err)
			}
			if again := AppendTransmission(nil, test.version, decoded); !bytes.Equal(again, test.want) {
				t.Fatalf("encoded again %x", again)
			}
			if !test.key.IsZero() && !(Verifier{sessionID, serverSession}).Verify(decoded, test.key.Public()) {
				t.Fatal("does not verify")
			}
		})
	}
	if got := *agreed(t, serverSession, scalar(3)); hex.EncodeToString(got[:]) != f.Vectors["send_secret"] {
		t.Error("shared secret")
	}
}

func TestVectorServiceSessions(t *testing.T) {
	f := loadVectors(t)
	identity := f.bytes(t, "service_identity")
	for _, test := range []struct {
		vector  string
		command Command
	}{{"nsub_v18_transmission", NSUB{}}, {"nsubs_v18_transmission", NSUBS{}}} {
		want := f.bytes(t, test.vector)
		sent := Transmission{CorrID: corrID, EntityID: queueID, Body: AppendCommand(nil, 18, test.command)}
		authorized := AppendAuthorized(nil, sessionID, sent)
		if _, ok := test.command.(NSUB); ok {
			sent.ServiceSignature = ed25519.Sign(serviceKey, authorized)
			sent.Authorization, _ = notifierAuth.Authorize(nil, corrID, append(bytes.Clone(identity), authorized...))
		} else {
			sent.Authorization = ed25519.Sign(serviceKey, authorized)
		}
		if got := AppendTransmission(nil, 18, sent); !bytes.Equal(got, want) {
			t.Errorf("%s: encoded %x", test.vector, got)
		}
		if got, err := DecodeTransmission(18, want); err != nil || !reflect.DeepEqual(got, sent) {
			t.Errorf("%s: decoded %v", test.vector, err)
		}
	}
}

func TestVectorsAnswers(t *testing.T) {
	f := loadVectors(t)
	for _, test := range []struct {
		want   []byte
		answer Answer
	}{
		{f.bytes(t, "err_cmd_syntax"), Answer{corrID, queueID, ERR{ErrCmdSyntax}}},
		{append(append([]byte{0, 24}, corrID...), "\x00PONG"...), Answer{corrID, "", PONG{}}},
		{append(append([]byte{0, 0, 24}, queueID...), "END"...), Answer{"", queueID, END{}}},
	} {
		if got := AppendAnswer(nil, 9, sessionID, test.answer); !bytes.Equal(got, test.want) {
			t.Errorf("encoded %x", got)
		}
		if got, err := DecodeAnswer(9, sessionID, test.want); err != nil || got != test.answer {
			t.Errorf("decoded %v", err)
		}
	}
}

func TestVectorBatch(t *testing.T) {
	f := loadVectors(t)
	var batch Batch
	for _, c := range []struct {
		corrID, entity ID
		key            PrivateKey
		command        Command
	}{{corrID, "", PrivateKey{}, PING{}}, {ID(counting(0x60, 24)), queueID, recipientAuth, SUB{}}} {
		raw, err := EncodeCommand(nil, 9, sessionID, nil, c.corrID, c.entity, c.key, c.command)
		if err != nil || !batch.Add(raw) {
			t.Fatal(err)
		}
	}
	payload := batch.Take()
	if !bytes.Equal(payload, f.bytes(t, "batch_v9")) {
		t.Fatalf("payload %x", payload)
	}
	block, err := wire.AppendPadded(nil, payload, 16384)
	if sum := sha256.Sum256(block); err != nil || hex.EncodeToString(sum[:]) != f.Vectors["batch_v9_block_sha256"] {
		t.Errorf("block %x, %v", sum, err)
	}
	requests := DecodeBlock(9, sessionID, payload)
	if len(requests) != 2 || requests[0].Command != (PING{}) || requests[1].Command != (SUB{}) {
		t.Errorf("%d requests", len(requests))
	}
}

func TestVectorMessage(t *testing.T) {
	f := loadVectors(t)
	secret := agreed(t, recipientDH, serverSession)
	if hex.EncodeToString(secret[:]) != f.Vectors["msg_secret"] {
		t.Fatal("secret")
	}
	m := Message{Time: 1700000000, Notify: true, Body: []byte("hello")}
	if got := m.Append(nil); !bytes.Equal(got, f.bytes(t, "msg_content")) {
		t.Errorf("content %x", got)
	}
	sealed, err := SealMessage(secret, queueID, m)
	if err != nil || len(sealed) != SealedMessageSize || !bytes.Equal(sealed[:48], f.bytes(t, "msg_first48")) {
		t.Fatalf("%d bytes, %v", len(sealed), err)
	}
	if sum := sha256.Sum256(sealed); hex.EncodeToString(sum[:]) != f.Vectors["msg_sha256"] {
		t.Errorf("sum %x", sum)
	}
	if got, err := OpenMessage(secret, MSG{queueID, sealed}); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("opened %v, %v", got, err)
	}
	marker := Message{Time: 1700000000, Quota: true}
	if got := marker.Append(nil); !bytes.Equal(got, f.bytes(t, "quota_content")) {
		t.Errorf("marker %x", got)
	}
	if got, err := DecodeMessage(f.bytes(t, "quota_content")); err != nil || !reflect.DeepEqual(got, marker) {
		t.Errorf("marker decoded %v, %v", got, err)
	}
}

func TestVectorNotification(t *testing.T) {
	f := loadVectors(t)
	secret := agreed(t, notifierDH, serverSession)
	n := Notification{MessageID: queueID, Time: 1700000000}
	event, err := SealNotification(secret, [NonceSize]byte([]byte(corrID)), n)
	if err != nil || !bytes.Equal(event.Sealed, f.bytes(t, "nmsg_meta")) {
		t.Fatalf("%x, %v", event.Sealed, err)
	}
	if got, err := OpenNotification(secret, event); err != nil || got != n {
		t.Errorf("opened %v, %v", got, err)
	}
}

func TestVectorForward(t *testing.T) {
	f := loadVectors(t)
	secret := agreed(t, ephemeral, serverSession)
	sealed, err := SealForward(secret, corrID, f.bytes(t, "send_unsigned"))
	if err != nil || len(sealed) != SealedForwardSize || !bytes.Equal(sealed[:32], f.bytes(t, "forward_first32")) {
		t.Fatalf("%d bytes, %v", len(sealed), err)
	}
	if sum := sha256.Sum256(sealed); hex.EncodeToString(sum[:]) != f.Vectors["forward_sha256"] {
		t.Errorf("sum %x", sum)
	}
	if got := reversed(corrID); !bytes.Equal(got, f.bytes(t, "reply_nonce")) {
		t.Errorf("nonce of the reply %x", got)
	}
	// The sizes that are documented.
	pfwd := AppendCommand(nil, 9, PFWD{Version: 9, Key: public(ephemeral), Sealed: sealed})
	if len(pfwd) != 16294 {
		t.Errorf("PFWD of %d bytes", len(pfwd))
	}
	envelope := Forwarded{CorrID: corrID, Version: 9, Key: public(ephemeral), Sealed: sealed}
	if n := len(envelope.Append(nil)); n != 16314 {
		t.Errorf("envelope of %d bytes", n)
	}
	rfwd, err := EncodeCommand(nil, 9, sessionID, nil, corrID, "", PrivateKey{}, SealForwarded(secret, corrID, envelope))
	if err != nil || len(rfwd) != 16362 {
		t.Errorf("RFWD of %d bytes, %v", len(rfwd), err)
	}
	reply := SealForwardedReply(secret, corrID, corrID, sealed)
	if len(reply.Sealed) != 16283 {
		t.Errorf("RRES of %d bytes", len(reply.Sealed))
	}
}

func TestVectorAuthenticator(t *testing.T) {
	a := loadVectors(t).Authenticator
	server, err := ecdh.X25519().NewPrivateKey(unhex(t, a.ServerPrivate))
	if err != nil {
		t.Fatal(err)
	}
	own, err := ecdh.X25519().NewPrivateKey(unhex(t, a.QueuePrivate))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(own.PublicKey().Bytes(), unhex(t, a.QueuePublic)) || !bytes.Equal(server.PublicKey().Bytes(), unhex(t, a.ServerPublic)) {
		t.Fatal("keys do not belong together")
	}
	authorized, nonce := unhex(t, a.Authorized), ID(unhex(t, a.Nonce))
	got, err := FromX25519(own).Authorize(server.PublicKey(), nonce, authorized)
	if err != nil || hex.EncodeToString(got) != a.Authenticator {
		t.Fatalf("%x, %v", got, err)
	}
	// The same as a transmission: session ID, correlation ID, entity, command.
	r := wire.NewReader(authorized)
	session := r.Str8()
	sent := Transmission{Authorization: got, CorrID: ReadID(r), EntityID: ReadID(r), Body: r.Rest()}
	if r.Done() != nil || !(Verifier{session, server}).Verify(sent, FromX25519(own).Public()) {
		t.Error("does not verify")
	}
}
