package queue

import (
	"bytes"
	"testing"

	"github.com/coterie-im/coterie/internal/wire"
)

// What a client sends, and what is answered before any queue is looked at.
func TestOrderOfErrors(t *testing.T) {
	signature := bytes.Repeat([]byte{1}, ed25519AuthorizationSize)
	send := func(authorization []byte, entity ID, body string) Transmission {
		return Transmission{Authorization: authorization, SessionID: sessionID, CorrID: corrID, EntityID: entity, Body: []byte(body)}
	}
	key := string(recipientAuth.Public().Append(nil))
	x448 := "\x44" + "\x30\x42\x30\x05\x06\x03\x2b\x65\x6f\x03\x39\x00" + string(bytes.Repeat([]byte{1}, 56))
	create := string(AppendCommand(nil, 9, NEW{RecipientKey: recipientAuth.Public(), RecipientDH: public(recipientDH)}))
	skewed := send(signature, queueID, "HELLO")
	skewed.SessionID = []byte("another session")
	odd := send(make([]byte, 63), queueID, "HELLO")
	oddAndSkewed := odd
	oddAndSkewed.SessionID = skewed.SessionID
	for _, test := range []struct {
		name     string
		version  Version
		sent     Transmission
		want     Error
		noEntity bool
	}{
		{"session of version 6", 6, skewed, ErrSession, true},
		{"session before size of authorization", 6, oddAndSkewed, ErrSession, true},
		{"session is not sent from version 7 on", 7, skewed, ErrCmdUnknown, false},
		{"size of authorization before tag", 9, odd, ErrBlock, true},
		{"size 1", 9, send([]byte{1}, queueID, "SUB"), ErrBlock, true},
		{"size 255", 9, send(make([]byte, 255), queueID, "SUB"), ErrBlock, true},
		{"size 80", 9, send(make([]byte, 80), queueID, "SUB"), "", false},
		{"size 114", 9, send(make([]byte, 114), queueID, "SUB"), "", false},
		{"unknown", 9, send(signature, queueID, "HELLO"), ErrCmdUnknown, false},
		{"unknown before credentials", 9, send(nil, "", "HELLO"), ErrCmdUnknown, false},
		{"empty", 9, send(signature, queueID, ""), ErrCmdUnknown, false},
		{"blank", 9, send(signature, queueID, " "), ErrCmdUnknown, false},
		{"small letters", 9, send(signature, queueID, "sub"), ErrCmdUnknown, false},
		{"a response", 9, send(nil, queueID, "OK"), ErrCmdUnknown, false},
		{"a message", 9, send(nil, queueID, "MSG x"), ErrCmdUnknown, false},
		{"SUB=", 9, send(signature, queueID, "SUB="), ErrCmdUnknown, false},
		{"OFF=", 9, send(signature, queueID, "OFF="), ErrCmdUnknown, false},
		{"DEL=", 9, send(signature, queueID, "DEL="), ErrCmdUnknown, false},
		{"of a later version", 9, send(signature, queueID, "RKEY x"), ErrCmdUnknown, false},
		{"of a later version, without parameters", 9, send(nil, queueID, "LGET"), ErrCmdUnknown, false},
		{"SKEY at version 6", 6, send(signature, queueID, "SKEY "+key), "", false},
		{"NEW without parameters", 9, send(signature, "", "NEW"), ErrCmdSyntax, false},
		{"NEW with too many", 9, send(signature, "", create+"x"), ErrCmdSyntax, false},
		{"NEW of another version", 8, send(signature, "", create), ErrCmdSyntax, false},
		{"KEY without parameters", 9, send(signature, queueID, "KEY"), ErrCmdSyntax, false},
		{"KEY with too many", 9, send(signature, queueID, "KEY "+key+" "), ErrCmdSyntax, false},
		{"KEY with an X448 key", 9, send(signature, queueID, "KEY "+x448), ErrCmdSyntax, false},
		{"SUB with a space", 9, send(signature, queueID, "SUB "), ErrCmdSyntax, false},
		{"SUB with parameters", 9, send(signature, queueID, "SUB x"), ErrCmdSyntax, false},
		{"ACK without parameters", 9, send(signature, queueID, "ACK"), ErrCmdSyntax, false},
		{"SEND without parameters", 9, send(signature, queueID, "SEND"), ErrCmdSyntax, false},
		{"SEND without flags", 9, send(signature, queueID, "SEND  hello"), ErrCmdSyntax, false},
		{"SEND without the second space", 9, send(signature, queueID, "SEND T"), ErrCmdSyntax, false},
		{"SEND with flags of the future", 9, send(nil, queueID, "SEND Fxyz hello"), "", false},
		{"syntax before credentials", 9, send(nil, "", "SUB x"), ErrCmdSyntax, false},
		{"NEW unsigned", 9, send(nil, "", create), ErrCmdNoAuth, false},
		{"NEW unsigned with entity", 9, send(nil, queueID, create), ErrCmdNoAuth, false},
		{"NEW with entity", 9, send(signature, queueID, create), ErrCmdHasAuth, false},
		{"NEW", 9, send(signature, "", create), "", false},
		{"KEY unsigned", 9, send(nil, queueID, "KEY "+key), ErrCmdNoAuth, false},
		{"SUB unsigned", 9, send(nil, queueID, "SUB"), ErrCmdNoAuth, false},
		{"SUB without entity", 9, send(signature, "", "SUB"), ErrCmdNoAuth, false},
		{"SUB without both", 9, send(nil, "", "SUB"), ErrCmdNoAuth, false},
		{"SUB", 9, send(signature, queueID, "SUB"), "", false},
		{"SEND without entity", 9, send(signature, "", "SEND F hello"), ErrCmdNoEntity, false},
		{"SEND unsigned", 9, send(nil, queueID, "SEND F hello"), "", false},
		{"SEND signed", 9, send(signature, queueID, "SEND F hello"), "", false},
		{"PING signed", 9, send(signature, "", "PING"), ErrCmdHasAuth, false},
		{"PING with entity", 9, send(nil, queueID, "PING"), ErrCmdHasAuth, false},
		{"PING", 9, send(nil, "", "PING"), "", false},
		{"PING without correlation ID", 9, Transmission{Body: []byte("PING")}, "", false},
		{"PFWD signed", 9, send(signature, queueID, string(AppendCommand(nil, 9, PFWD{9, public(ephemeral), nil}))), ErrCmdHasAuth, false},
		{"PFWD without entity", 9, send(signature, "", string(AppendCommand(nil, 9, PFWD{9, public(ephemeral), nil}))), ErrCmdNoEntity, false},
		{"RFWD signed", 9, send(signature, "", "RFWD x"), ErrCmdHasAuth, false},
		{"RFWD", 9, send(nil, "", "RFWD x"), "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := DecodeRequest(test.version, sessionID, AppendTransmission(nil, test.version, test.sent))
			if q.Err != test.want {
				t.Fatalf("answered %q, not %q", q.Err, test.want)
			}
			if (q.Err == "") != (q.Command != nil) {
				t.Error("both command and error, or neither")
			}
			entity := test.sent.EntityID
			if test.noEntity {
				entity = ""
			}
			a := q.Answer(ERR{q.Err})
			if a.CorrID != test.sent.CorrID || a.EntityID != entity {
				t.Error("the answer has other IDs")
			}
		})
	}
}

func TestBlockErrorsHaveNoIDs(t *testing.T) {
	whole := AppendTransmission(nil, 9, Transmission{CorrID: corrID, EntityID: queueID, Body: []byte("SUB")})
	for cut := range len(whole) - len("SUB") {
		if q := DecodeRequest(9, sessionID, whole[:cut]); q.Err != ErrBlock || q.CorrID != "" || q.EntityID != "" {
			t.Errorf("%d bytes: %q", cut, q.Err)
		}
	}
	good := onlyBatch(t, whole)
	for name, payload := range map[string][]byte{
		"empty":            {},
		"no transmissions": {0},
		"count too high":   append([]byte{2}, good[1:]...),
		"left over":        append(bytes.Clone(good), 0),
		"cut":              good[:len(good)-1],
	} {
		requests := DecodeBlock(9, sessionID, payload)
		if len(requests) != 1 || requests[0].Err != ErrBlock || requests[0].CorrID != "" {
			t.Errorf("%s: %d requests, %q", name, len(requests), requests[0].Err)
		}
	}
}

func onlyBatch(t *testing.T, transmissions ...[]byte) []byte {
	t.Helper()
	var b Batch
	for _, raw := range transmissions {
		if !b.Add(raw) {
			t.Fatal("no room")
		}
	}
	return b.Take()
}

// One malformed transmission does not harm the others of its block.
func TestBlockWithOneBadTransmission(t *testing.T) {
	ping := AppendTransmission(nil, 9, Transmission{CorrID: corrID, Body: []byte("PING")})
	requests := DecodeBlock(9, sessionID, onlyBatch(t, ping, []byte{0, 9}, nil, ping))
	var got []Error
	for _, q := range requests {
		got = append(got, q.Err)
	}
	if len(got) != 4 || got[0] != "" || got[1] != ErrBlock || got[2] != ErrBlock || got[3] != "" {
		t.Errorf("answered %q", got)
	}
}

func TestServiceSignatureNeedsAnAuthorization(t *testing.T) {
	with := Transmission{Authorization: make([]byte, 64), ServiceSignature: make([]byte, 64), CorrID: "c", EntityID: "e", Body: []byte("NSUB")}
	got, err := DecodeTransmission(16, AppendTransmission(nil, 16, with))
	if err != nil || len(got.ServiceSignature) != 64 {
		t.Errorf("%v", err)
	}
	with.Authorization = nil
	got, err = DecodeTransmission(16, AppendTransmission(nil, 16, with))
	if err != nil || len(got.ServiceSignature) != 0 {
		t.Errorf("%v", err)
	}
	short := wire.AppendStr8(append(wire.AppendStr8(nil, make([]byte, 64)), '1'), make([]byte, 63))
	if _, err := DecodeTransmission(16, append(short, 0, 0)); err == nil {
		t.Error("took a short service signature")
	}
}
