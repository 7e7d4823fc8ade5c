package link

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// load reads a file of recorded vectors.
func load(t testing.TB, name string, into any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

// hexBytes is bytes written in hexadecimal.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil || s == nil {
		return err
	}
	raw, err := hex.DecodeString(*s)
	*h = raw
	return err
}

// base64Bytes is bytes written in base64url with padding.
type base64Bytes []byte

func (h *base64Bytes) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	raw, err := base64.URLEncoding.DecodeString(s)
	*h = raw
	return err
}

type queueVector struct {
	Binary      hexBytes
	ClientRange [2]queue.Version `json:"client_range"`
	DH          hexBytes         `json:"dh_public"`
	Hosts       []string
	KeyHash     hexBytes `json:"key_hash"`
	Mode        *string
	Port        string
	SenderID    hexBytes `json:"sender_id"`
	Text        string
}

func mode(name *string) queue.Mode {
	switch {
	case name == nil:
		return queue.ModeNone
	case *name == "messaging":
		return queue.ModeMessaging
	default:
		return queue.ModeContact
	}
}

func (v queueVector) check(t *testing.T, q Queue) {
	t.Helper()
	if q.Client != (queue.VersionRange{Min: v.ClientRange[0], Max: v.ClientRange[1]}) || q.Mode != mode(v.Mode) {
		t.Errorf("range %v, mode %v", q.Client, q.Mode)
	}
	v.checkAddress(t, q.Address, q.DH.Raw())
	if got := q.Append(nil); !bytes.Equal(got, v.Binary) {
		t.Errorf("binary\n%x, want\n%x", got, v.Binary)
	}
	// The public network writes IPv6 with a port so that it does not read back; see TestIPv6WithPortReadsBack.
	if ambiguous := v.Port != "" && strings.Contains(v.Hosts[len(v.Hosts)-1], ":"); !ambiguous && q.Text() != v.Text {
		t.Errorf("text\n%s, want\n%s", q.Text(), v.Text)
	}
}

func (v queueVector) checkAddress(t *testing.T, a Address, dh []byte) {
	t.Helper()
	if !slices.Equal(a.Server.Hosts, v.Hosts) || a.Server.Port != v.Port || !bytes.Equal(a.Server.Fingerprint[:], v.KeyHash) ||
		string(a.SenderID) != string(v.SenderID) || !bytes.Equal(dh, v.DH) {
		t.Errorf("address %q port %q id %x", a.Server.Hosts, a.Server.Port, string(a.SenderID))
	}
}

type requestVector struct {
	Name         string
	Text         string
	Rejected     bool
	Kind         string
	AgentRange   [2]queue.Version `json:"agent_range"`
	Binary       hexBytes
	ReadBackText string  `json:"binary_reread_text"`
	Canonical    string  `json:"canonical_text"`
	ClientData   *string `json:"client_data"`
	Queues       []queueVector
	E2E          *struct {
		KEMPublic hexBytes `json:"kem_public"`
		Key1      hexBytes `json:"key_1"`
		Key2      hexBytes `json:"key_2"`
		Range     [2]uint16
	}
}

func TestFullLinkVectors(t *testing.T) {
	var file struct {
		Full     []requestVector `json:"full_links"`
		Variants []requestVector `json:"input_variants"`
	}
	load(t, "links.json", &file)
	for _, v := range append(file.Full, file.Variants...) {
		t.Run(v.Name, func(t *testing.T) {
			q, err := Parse(v.Text)
			if v.Rejected {
				if !errors.Is(err, ErrLink) {
					t.Fatalf("accepted, error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			v.check(t, q)
		})
	}
	if len(file.Full) != 23 || len(file.Variants) != 30 {
		t.Errorf("%d links and %d variants", len(file.Full), len(file.Variants))
	}
}

func (v requestVector) check(t *testing.T, q Request) {
	t.Helper()
	if q.Kind.String() != v.Kind || q.Agent != (queue.VersionRange{Min: v.AgentRange[0], Max: v.AgentRange[1]}) {
		t.Errorf("%v, agent %v", q.Kind, q.Agent)
	}
	if (q.ClientData == nil) != (v.ClientData == nil) || v.ClientData != nil && string(q.ClientData) != *v.ClientData {
		t.Errorf("client data %q", q.ClientData)
	}
	if len(q.Queues) != len(v.Queues) {
		t.Fatalf("%d queues", len(q.Queues))
	}
	for i := range q.Queues {
		v.Queues[i].check(t, q.Queues[i])
	}
	if v.E2E != nil {
		k := q.Keys
		if k.Versions.Min != v.E2E.Range[0] || k.Versions.Max != v.E2E.Range[1] || !bytes.Equal(k.Key1.Raw(), v.E2E.Key1) ||
			!bytes.Equal(k.Key2.Raw(), v.E2E.Key2) || !bytes.Equal(k.KEM.Public, v.E2E.KEMPublic) {
			t.Errorf("keys of versions %v, KEM key of %d bytes", k.Versions, len(k.KEM.Public))
		}
	}
	if q.Text() != v.Canonical {
		t.Errorf("text\n%s, want\n%s", q.Text(), v.Canonical)
	}
	if got := q.Binary(); !bytes.Equal(got, v.Binary) {
		t.Errorf("binary\n%x, want\n%x", got, v.Binary)
	}
	back, err := ParseBinary(v.Binary)
	if err != nil {
		t.Fatal(err)
	}
	if back.Text() != v.ReadBackText {
		t.Errorf("binary reads as\n%s, want\n%s", back.Text(), v.ReadBackText)
	}
}

func TestQueueAddressVectors(t *testing.T) {
	var file struct {
		Addresses []struct {
			Name     string
			Text     string
			Rejected bool
			Parsed   queueVector
		} `json:"queue_addresses"`
		ByRange []struct {
			Binary      hexBytes
			Range       [2]queue.Version
			Text        string
			ReadMode    *string `json:"read_mode"`
			WrittenMode *string `json:"written_mode"`
		} `json:"queue_address_binary_by_range"`
	}
	load(t, "links.json", &file)
	for _, v := range file.Addresses {
		t.Run(v.Name, func(t *testing.T) {
			q, err := ParseQueue(v.Text)
			if v.Rejected {
				if !errors.Is(err, ErrLink) {
					t.Fatalf("accepted, error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			v.Parsed.check(t, q)
		})
	}
	for _, v := range file.ByRange {
		q, err := ParseQueue(v.Text)
		if err != nil {
			t.Fatal(err)
		}
		if q.Mode != mode(v.WrittenMode) || q.Client != (queue.VersionRange{Min: v.Range[0], Max: v.Range[1]}) {
			t.Errorf("%s: mode %v", v.Text, q.Mode)
		}
		if q.Text() != v.Text || !bytes.Equal(q.Append(nil), v.Binary) {
			t.Errorf("%s: text\n%s, binary %x", v.Text, q.Text(), q.Append(nil))
		}
		r := wire.NewReader(v.Binary)
		if got := ReadQueue(r); r.Done() != nil || got.Mode != mode(v.ReadMode) {
			t.Errorf("%s: read mode %v, %v", v.Text, got.Mode, r.Err())
		}
	}
	if len(file.Addresses) != 10 || len(file.ByRange) != 24 {
		t.Errorf("%d and %d addresses", len(file.Addresses), len(file.ByRange))
	}
}

func TestQueueInfoVectors(t *testing.T) {
	var file struct {
		Info []struct {
			Binary      hexBytes
			Version     queue.Version
			Read        queueVector
			WrittenMode *string `json:"written_mode"`
		} `json:"queue_information"`
	}
	load(t, "links.json", &file)
	for _, v := range file.Info {
		r := wire.NewReader(v.Binary)
		i := ReadInfo(r)
		if err := r.Done(); err != nil || i.Version != v.Version || i.Mode != mode(v.Read.Mode) {
			t.Errorf("version %d: version %d, mode %v, %v", v.Version, i.Version, i.Mode, err)
			continue
		}
		v.Read.checkAddress(t, i.Address, i.DH.Raw())
		i.Mode = mode(v.WrittenMode)
		if got := i.Append(nil); !bytes.Equal(got, v.Binary) {
			t.Errorf("version %d: binary\n%x, want\n%x", v.Version, got, v.Binary)
		}
	}
	if len(file.Info) != 16 {
		t.Errorf("%d queue informations", len(file.Info))
	}
}

type shortVector struct {
	Name      string
	Text      string
	Rejected  bool
	Kind      string
	Type      string
	Scheme    string
	Hosts     []string
	Port      string
	KeyHash   hexBytes `json:"key_hash"`
	LinkID    hexBytes `json:"link_id"`
	LinkKey   hexBytes `json:"link_key"`
	Binary    hexBytes
	Canonical string `json:"canonical_text"`
}

func TestShortLinkVectors(t *testing.T) {
	var file struct {
		Short []shortVector `json:"short_links"`
	}
	load(t, "links.json", &file)
	for _, v := range file.Short {
		t.Run(v.Name, func(t *testing.T) {
			s, err := ParseShort(v.Text)
			if v.Rejected {
				if !errors.Is(err, ErrLink) {
					t.Fatalf("accepted, error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			v.check(t, s)
		})
	}
	if len(file.Short) != 28 {
		t.Errorf("%d short links", len(file.Short))
	}
}

func (v shortVector) check(t *testing.T, s Short) {
	t.Helper()
	types := map[Type]string{0: "", TypeContact: "contact", TypeChannel: "channel", TypeGroup: "group", TypeRelay: "relay"}
	if "short "+s.Kind.String() != v.Kind || types[s.Type] != v.Type || s.Simplex != (v.Scheme == "simplex") {
		t.Errorf("%v of type %q, simplex: %v", s.Kind, s.Type, s.Simplex)
	}
	if !slices.Equal(s.Server.Hosts, v.Hosts) || s.Server.Port != v.Port || s.Complete() != (len(v.KeyHash) > 0) ||
		s.Complete() && !bytes.Equal(s.Server.Fingerprint[:], v.KeyHash) {
		t.Errorf("relay %q port %q", s.Server.Hosts, s.Server.Port)
	}
	if string(s.LinkID) != string(v.LinkID) || !bytes.Equal(s.Key, v.LinkKey) {
		t.Error("ID or key")
	}
	if s.Text() != v.Canonical || !IsShort(v.Text) {
		t.Errorf("text\n%s, want\n%s", s.Text(), v.Canonical)
	}
	if got := s.Append(nil); !bytes.Equal(got, v.Binary) {
		t.Errorf("binary\n%x, want\n%x", got, v.Binary)
	}
	r := wire.NewReader(v.Binary)
	back := ReadShort(r)
	back.Simplex = s.Simplex
	if r.Done() != nil || back.Text() != v.Canonical {
		t.Errorf("binary does not read back: %v", r.Err())
	}
}
