package queue

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/internal/wire"
)

const testFingerprint = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8="

func TestServerText(t *testing.T) {
	fingerprint := [32]byte(counting(0x40, 32))
	for text, want := range map[string]Server{
		"smp://" + testFingerprint + "@smp.example.com": {Fingerprint: fingerprint, Hosts: []string{"smp.example.com"}},
		"smp://" + testFingerprint + ":secret@smp.example.com,abcdefabcdef.onion:5223": {
			Fingerprint: fingerprint, Password: "secret", Hosts: []string{"smp.example.com", "abcdefabcdef.onion"}, Port: "5223",
		},
		"smp://" + testFingerprint + "@192.0.2.7:443":                   {Fingerprint: fingerprint, Hosts: []string{"192.0.2.7"}, Port: "443"},
		"smp://" + testFingerprint + "@[2001:db8::1]:5223":              {Fingerprint: fingerprint, Hosts: []string{"2001:db8::1"}, Port: "5223"},
		"smp://" + testFingerprint + "@[2001:db8::1],[2001:db8::2]":     {Fingerprint: fingerprint, Hosts: []string{"2001:db8::1", "2001:db8::2"}},
		"smp://" + testFingerprint + "@192.256.0.1":                     {Fingerprint: fingerprint, Hosts: []string{"192.256.0.1"}},
		"smp://" + testFingerprint + "@beef:1":                          {Fingerprint: fingerprint, Hosts: []string{"beef"}, Port: "1"},
		"smp://" + testFingerprint + "@localhost,b\u00fccher.example:0": {Fingerprint: fingerprint, Hosts: []string{"localhost", "b\u00fccher.example"}, Port: "0"},
	} {
		got, err := ParseServer(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read %v %q %q %q, %v", text, got.Fingerprint == fingerprint, got.Password, got.Hosts, got.Port, err)
		}
		if got := want.Text(); got != text {
			t.Errorf("wrote %s instead of %s", got, text)
		}
		r := wire.NewReader(want.Append(nil))
		binary := ReadServer(r)
		binary.Password = want.Password
		if r.Done() != nil || !binary.Equal(want) {
			t.Errorf("%s: binary form gives another address, %v", text, r.Err())
		}
	}
}

func TestServerTextIsNormalised(t *testing.T) {
	for text, want := range map[string]string{
		"smp://" + strings.TrimSuffix(testFingerprint, "=") + "@host": "smp://" + testFingerprint + "@host",
		// A bare IPv6 address swallows what looks like a port.
		"smp://" + testFingerprint + "@2001:db8::1":      "smp://" + testFingerprint + "@[2001:db8::1]",
		"smp://" + testFingerprint + "@2001:db8::1:5223": "smp://" + testFingerprint + "@[2001:db8::1:5223]",
	} {
		if got, err := ParseServer(text); err != nil || got.Text() != want {
			t.Errorf("%s: %s, %v", text, got.Text(), err)
		}
	}
}

func TestServerTextThatIsRefused(t *testing.T) {
	f := testFingerprint
	for _, text := range []string{
		"", "smp://", f, "http://" + f + "@host", "smp://" + f, "smp://" + f + "@", "smp://@host", "smp://" + f[:40] + "@host",
		"smp://" + f + "AAAA@host", "smp://" + strings.ReplaceAll(f, "8=", "9=") + "@host", "smp://" + f + ":@host", "smp://" + f + ":a b@host",
		"smp://" + f + ":a/b@host", "smp://" + f + ":\u00e4@host", "smp://" + f + "@host:", "smp://" + f + "@host:65536", "smp://" + f + "@host:-1",
		"smp://" + f + "@host:1a", "smp://" + f + "@host:000001", "smp://" + f + "@,host", "smp://" + f + "@host,", "smp://" + f + "@a,,b",
		"smp://" + f + "@host/queue", "smp://" + f + "@ho st", "smp://" + f + "@host#x", "smp://" + f + "@host;b", "smp://" + f + "@[2001:db8::1",
		"smp://" + f + "@[host]", "smp://" + f + "@[1.2.3.4]", "smp://" + f + "@[fe80::1%eth0]", "smp://" + f + "@[::1]x", "smp://" + f + "@ABC.onion",
		"smp://" + f + "@.onion", "smp://" + f + "@a.b.onion", "smp://" + f + "@" + strings.Repeat("x", 256), "smp://" + f + "@host@other",
		"smp://" + f + "@" + strings.Repeat("a,", 255) + "a", "smp://" + f + "@\xff",
	} {
		if _, err := ParseServer(text); err == nil {
			t.Errorf("took %q", text)
		}
	}
}

func TestServerBinaryThatIsRefused(t *testing.T) {
	good := sampleServer()
	for name, change := range map[string]func(*Server){
		"no host":    func(s *Server) { s.Hosts = nil },
		"empty host": func(s *Server) { s.Hosts = []string{""} },
		"odd host":   func(s *Server) { s.Hosts = []string{"a b"} },
		"odd port":   func(s *Server) { s.Port = "x" },
	} {
		s := good
		change(&s)
		if ReadServer(wire.NewReader(s.Append(nil))); readError(s.Append(nil)) == nil {
			t.Errorf("%s: taken", name)
		}
	}
	raw := good.Append(nil)
	if readError(raw[:len(raw)-1]) == nil {
		t.Error("short fingerprint taken")
	}
	if good.Equal(Server{}) || !good.Equal(sampleServer()) {
		t.Error("Equal")
	}
}

func readError(raw []byte) error {
	r := wire.NewReader(raw)
	ReadServer(r)
	return r.Done()
}

// Whatever is printed or logged has no IDs, keys or addresses.
func TestNothingSecretIsPrinted(t *testing.T) {
	secretID := ID("identifier")
	server := Server{Fingerprint: [32]byte(counting(0x40, 32)), Hosts: []string{"identifier.example"}, Password: "identifier"}
	key := FromEd25519(serviceKey)
	for _, v := range []any{
		secretID, server, key, &server, []ID{secretID}, map[ID]ID{secretID: secretID}, struct {
			I ID
			S Server
			K PrivateKey
		}{secretID, server, key}, struct{ S Server }{server}, struct{ I ID }{secretID}, Answer{CorrID: secretID, EntityID: secretID, Response: SOK{secretID}}, recipientAuth, senderAuth,
	} {
		var log strings.Builder
		timeless := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{} // its digits may be those of a key
			}
			return a
		}}
		slog.New(slog.NewTextHandler(&log, timeless)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&log, timeless)).Info("m", "v", v)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			log.WriteString(fmt.Sprintf(verb, v))
		}
		text := strings.ToLower(log.String())
		for _, secret := range []string{"identifier", fmt.Sprintf("%x", "identifier"), "414243", "65 66", "0606", "0101", "0303", "aWRlbnRpZmllcg"} {
			if strings.Contains(text, strings.ToLower(secret)) {
				t.Errorf("%T prints %q", v, secret)
			}
		}
	}
}

func TestIDs(t *testing.T) {
	id, err := NewID(strings.NewReader(string(counting(0, 30))))
	if err != nil || id != ID(counting(0, 24)) {
		t.Error("not the bytes of the source")
	}
	if _, err := NewID(strings.NewReader("short")); err == nil {
		t.Error("took too few bytes")
	}
	if got, err := ParseID(queueID.Text()); err != nil || got != queueID || len(queueID.Text()) != 32 {
		t.Error("text form")
	}
	for text, ok := range map[string]bool{"YQ==": true, "YQ": true, "": false, "YR": false, "Y": false, "Y+": false, "YQ=": false, strings.Repeat("YWFh", 86): false} {
		if _, err := ParseID(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := id.MarshalText(); err == nil {
		t.Error("marshals")
	}
	for m, want := range map[Mode]string{ModeMessaging: "messaging", ModeContact: "contact", ModeNone: "none"} {
		if m.String() != want {
			t.Errorf("%v", m)
		}
	}
}

func TestVersionRanges(t *testing.T) {
	for _, test := range []struct {
		a, b VersionRange
		want Version // 0 for none
	}{
		{VersionRange{6, 9}, VersionRange{6, 18}, 9},
		{VersionRange{6, 9}, VersionRange{9, 18}, 9},
		{VersionRange{6, 9}, VersionRange{10, 18}, 0},
		{VersionRange{10, 18}, VersionRange{6, 9}, 0},
		{VersionRange{7, 7}, VersionRange{6, 9}, 7},
	} {
		if got, ok := test.a.Negotiate(test.b); got != test.want || ok != (test.want != 0) {
			t.Errorf("%v and %v: %v, %v", test.a, test.b, got, ok)
		}
	}
	if both, ok := (VersionRange{6, 12}).Overlap(VersionRange{8, 17}); !ok || both != (VersionRange{8, 12}) {
		t.Errorf("%v", both)
	}
	for text, want := range map[string]VersionRange{"6": {6, 6}, "6-9": {6, 9}, "0-65535": {0, 65535}} {
		got, err := ParseVersionRange(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		r := wire.NewReader(want.Append(nil))
		if got := ReadVersionRange(r); r.Done() != nil || got != want {
			t.Errorf("%q: binary form", text)
		}
	}
	for _, text := range []string{"", "-", "6-", "-6", "9-6", "65536", "6-9-12", "a", "+6"} {
		if _, err := ParseVersionRange(text); err == nil {
			t.Errorf("took %q", text)
		}
	}
	r := wire.NewReader([]byte{0, 9, 0, 6})
	if ReadVersionRange(r); r.Err() == nil {
		t.Error("took an empty range")
	}
	if !Supported().Contains(6) || !Supported().Contains(9) || Supported().Contains(10) || Supported().Contains(5) {
		t.Errorf("supported %v", Supported())
	}
}

func TestBodySizes(t *testing.T) {
	for v, want := range map[Version]int{6: 16088, 7: 16088, 8: 16064, 9: 16064, 10: 16064, 11: 16048, 18: 16048} {
		if got := MaxBodySize(v); got != want {
			t.Errorf("version %d: %d", v, got)
		}
	}
}
