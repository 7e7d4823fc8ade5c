package queue

import (
	"bytes"
	"testing"

	"github.com/coterie-im/coterie/internal/wire"
)

// Whatever a decoder takes, it takes again as it is written; where there is one form only, byte for byte.

func FuzzDecodeCommand(f *testing.F) {
	for _, s := range commandSamples() {
		each(s.since, s.until, func(v Version) { f.Add(uint16(v), AppendCommand(nil, v, s.command)) })
	}
	f.Fuzz(func(t *testing.T, version uint16, raw []byte) {
		v := Version(version)
		c, err := DecodeCommand(v, raw)
		if err != nil {
			if err != ErrCmdUnknown && err != ErrCmdSyntax {
				t.Fatalf("error %v", err)
			}
			return
		}
		again := AppendCommand(nil, v, c)
		if _, flags := c.(SEND); flags { // bytes behind the flag are dropped
			if c2, err := DecodeCommand(v, again); err != nil || !sameCommand(v, c, c2) {
				t.Fatalf("%x became %x, %v", raw, again, err)
			}
		} else if !bytes.Equal(again, raw) {
			t.Fatalf("%x became %x", raw, again)
		}
	})
}

func FuzzDecodeResponse(f *testing.F) {
	for _, s := range responseSamples() {
		each(s.since, s.until, func(v Version) { f.Add(uint16(v), AppendResponse(nil, v, s.response)) })
	}
	for e := range errorTexts {
		f.Add(uint16(newestFormat), AppendResponse(nil, newestFormat, ERR{e}))
	}
	f.Fuzz(func(t *testing.T, version uint16, raw []byte) {
		v := Version(version)
		resp, err := DecodeResponse(v, raw)
		if err != nil {
			return
		}
		// Errors and queue information have more than one form, and old versions have other words.
		again := AppendResponse(nil, v, resp)
		second, err := DecodeResponse(v, again)
		if err != nil || !bytes.Equal(AppendResponse(nil, v, second), again) {
			t.Fatalf("%x became %x, %v", raw, again, err)
		}
		switch resp.(type) {
		case ERR, INFO, SOK, DELD:
		default:
			if !bytes.Equal(again, raw) {
				t.Fatalf("%x became %x", raw, again)
			}
		}
	})
}

func FuzzDecodeTransmission(f *testing.F) {
	for _, v := range []Version{6, 9, 16} {
		for _, authorization := range [][]byte{nil, make([]byte, 64), make([]byte, 114)} {
			t := Transmission{Authorization: authorization, ServiceSignature: make([]byte, 64), SessionID: sessionID, CorrID: corrID, EntityID: queueID, Body: []byte("SUB")}
			f.Add(uint16(v), AppendTransmission(nil, v, t))
			t.ServiceSignature = nil
			f.Add(uint16(v), AppendTransmission(nil, v, t))
		}
	}
	f.Fuzz(func(t *testing.T, version uint16, raw []byte) {
		v := Version(version)
		if got, err := DecodeTransmission(v, raw); err == nil {
			if again := AppendTransmission(nil, v, got); !bytes.Equal(again, raw) {
				t.Fatalf("%x became %x", raw, again)
			}
		}
		a, err := DecodeAnswer(v, sessionID, raw)
		if err != nil {
			return
		}
		again := AppendAnswer(nil, v, sessionID, a)
		if _, err := DecodeAnswer(v, sessionID, again); err != nil {
			t.Fatalf("%x became %x, %v", raw, again, err)
		}
	})
}

func FuzzDecodeBlock(f *testing.F) {
	ping := AppendTransmission(nil, 9, Transmission{CorrID: corrID, Body: []byte("PING")})
	for _, s := range commandSamples() {
		var b Batch
		b.Add(AppendTransmission(nil, 9, Transmission{Authorization: make([]byte, 64), CorrID: corrID, EntityID: queueID, Body: AppendCommand(nil, 9, s.command)}))
		b.Add(ping)
		f.Add(uint16(9), b.Take())
	}
	f.Fuzz(func(t *testing.T, version uint16, payload []byte) {
		v := Version(version)
		list, err := SplitBatch(payload)
		if err == nil {
			b := NewBatch(1 << 20)
			for _, raw := range list {
				b.Add(raw)
			}
			if again := b.Take(); !bytes.Equal(again, payload) {
				t.Fatalf("%x became %x", payload, again)
			}
		}
		requests := DecodeBlock(v, sessionID, payload)
		if err == nil && len(requests) != len(list) || err != nil && (len(requests) != 1 || requests[0].Err != ErrBlock) {
			t.Fatalf("%d requests of %d", len(requests), len(list))
		}
		for _, q := range requests {
			if (q.Command == nil) != (q.Err != "") {
				t.Fatalf("%v with %q", q.Command, q.Err)
			}
			if q.Command != nil && q.Info.MinVersion > Supported().Max {
				t.Fatalf("%s is not supported", q.Info.Tag)
			}
			// Every answer can be written.
			AppendAnswer(nil, v, sessionID, q.Answer(ERR{ErrAuth}))
		}
	})
}

func FuzzParseError(f *testing.F) {
	for e := range errorTexts {
		f.Add([]byte(e))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := ParseError(raw)
		if err != nil {
			return
		}
		if again, err := ParseError([]byte(e)); err != nil || again != e {
			t.Fatalf("%q became %q, %v", e, again, err)
		}
		for _, v := range []Version{9, 12, 18} {
			if _, err := ParseError([]byte(e.at(v))); err != nil {
				t.Fatalf("%q at version %d: %v", e, v, err)
			}
		}
		if len(e.Kind()) > 60 {
			t.Fatalf("kind %q", e.Kind())
		}
	})
}

func FuzzParseServer(f *testing.F) {
	for _, text := range []string{
		"smp://" + testFingerprint + "@smp.example.com", "smp://" + testFingerprint + ":secret@[2001:db8::1],abcdef.onion:5223",
		"smp://" + testFingerprint + "@2001:db8::1:5223", "smp://" + testFingerprint + "@192.0.2.7,a.b:0",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseServer(text)
		if err != nil {
			return
		}
		again, err := ParseServer(s.Text())
		if err != nil || !again.Equal(s) {
			t.Fatalf("%q became %q, %v", text, s.Text(), err)
		}
		r := wire.NewReader(s.Append(nil))
		binary := ReadServer(r)
		binary.Password = s.Password
		if r.Done() != nil || !binary.Equal(s) {
			t.Fatalf("%q has no binary form: %v", text, r.Err())
		}
	})
}

func FuzzReadServer(f *testing.F) {
	f.Add(sampleServer().Append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := wire.NewReader(raw)
		s := ReadServer(r)
		if r.Done() != nil {
			return
		}
		if again := s.Append(nil); !bytes.Equal(again, raw) {
			t.Fatalf("%x became %x", raw, again)
		}
		if again, err := ParseServer(s.Text()); err != nil || !again.Equal(s) {
			t.Fatalf("%q: %v", s.Text(), err)
		}
	})
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add(Message{Time: 1, Notify: true, Body: []byte("hello")}.Append(nil))
	f.Add(Message{Time: 1, Quota: true}.Append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := DecodeMessage(raw)
		if err != nil {
			return
		}
		again, err := DecodeMessage(m.Append(nil))
		if err != nil || again.Time != m.Time || again.Quota != m.Quota || again.Notify != m.Notify || !bytes.Equal(again.Body, m.Body) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

func FuzzDecodeForwarded(f *testing.F) {
	f.Add(Forwarded{corrID, 9, public(ephemeral), []byte("sealed")}.Append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if e, err := DecodeForwarded(raw); err == nil {
			if again := e.Append(nil); !bytes.Equal(again, raw) {
				t.Fatalf("%x became %x", raw, again)
			}
		}
	})
}

func FuzzSmallTexts(f *testing.F) {
	f.Add("6-9", recipientAuth.DER())
	f.Add(queueID.Text(), senderAuth.DER())
	f.Fuzz(func(t *testing.T, text string, der []byte) {
		if r, err := ParseVersionRange(text); err == nil {
			if again, err := ParseVersionRange(r.String()); err != nil || again != r {
				t.Fatalf("%q became %v, %v", text, again, err)
			}
		}
		if id, err := ParseID(text); err == nil {
			if again, err := ParseID(id.Text()); err != nil || again != id {
				t.Fatalf("%q: %v", text, err)
			}
		}
		if k, err := ParsePrivateKey(der); err == nil && !bytes.Equal(k.DER(), der) {
			t.Fatal("another key")
		}
	})
}
