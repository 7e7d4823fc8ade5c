package link

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// replaced is the example invitation with something in it exchanged.
func replaced(t *testing.T, old, new string) string {
	t.Helper()
	text := loadExample(t).Invitation
	if !strings.Contains(text, old) {
		t.Fatalf("%s is not in the link", old)
	}
	return strings.Replace(text, old, new, 1)
}

func TestWhatIsNoFullLink(t *testing.T) {
	e := loadExample(t)
	for name, text := range map[string]string{
		"nothing":                   "",
		"short link":                e.ShortContact,
		"queue address":             e.QueueText,
		"no slash after scheme":     replaced(t, "simplex:/", "simplex:"),
		"no host":                   replaced(t, "simplex:/", "https:///"),
		"host and password":         replaced(t, "simplex:/", "https://a@b/"),
		"two slashes before hash":   replaced(t, "invitation#", "invitation//#"),
		"no hash":                   replaced(t, "#/?", "/?"),
		"no slash after hash":       replaced(t, "#/?", "#?"),
		"no version":                replaced(t, "v=2-7&", ""),
		"version not a number":      replaced(t, "v=2-7", "v=two"),
		"version out of range":      replaced(t, "v=2-7", "v=2-65536"),
		"no queue":                  replaced(t, "smp=", "queues="),
		"escape cut":                replaced(t, "smp=smp%3A", "smp=smp%3"),
		"escape not hexadecimal":    replaced(t, "smp=smp%3A", "smp=smp%3G"),
		"empty second queue":        replaced(t, "&e2e=", "%3B&e2e="),
		"one key":                   replaced(t, "%2CMEIw", "&x=MEIw"),
		"ciphertext in invitation":  e.Invitation + "%26kem_ct%3DAAAA%26kem_key%3DAAAA",
		"client data is not text":   e.Invitation + "&data=%FF",
		"client data escape cut":    e.Invitation + "&data=%F",
		"longer than an invitation": e.Contact + strings.Repeat("x", MaxText),
		"256 queues":                replaced(t, "&e2e=", strings.Repeat("%3B", 255)+"&e2e="),
	} {
		if _, err := Parse(text); !errors.Is(err, ErrLink) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsNoQueueAddress(t *testing.T) {
	text := loadExample(t).QueueText
	change := func(old, new string) string { return strings.Replace(text, old, new, 1) }
	for name, text := range map[string]string{
		"nothing":                   "",
		"scheme":                    change("smp:", "xftp:"),
		"no relay":                  "smp://",
		"no queue":                  change("/MDEy", "MDEy"),
		"no sender ID":              "smp://AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=@smp.example.org/#/?v=1-4",
		"sender ID with line break": change("/MDEy", "/MDEy\n"),
		"fingerprint of 31 bytes":   change("AAEC", ""),
		"no key":                    change("&dh=", "&hd="),
		"key cut":                   change("&dh=MCow", "&dh="),
		"Ed25519 key":               change("BQYDK2Vu", "BQYDK2Vw"),
		"version upside down":       change("v=1-4", "v=4-1"),
		"port in srv":               text + "&srv=more.example:5223",
		"nothing in srv":            text + "&srv=",
		"escape cut in srv":         text + "&srv=%",
		"space behind":              text + " ",
		"256 hosts":                 text + "&srv=a" + strings.Repeat(",a", 254),
		"empty password":            change("=@", "=:@"),
	} {
		if _, err := ParseQueue(text); !errors.Is(err, ErrLink) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsNoShortLink(t *testing.T) {
	const key = "g23nnCNOOJ2OF4hYWz91pAPmUSEQENDl3wHwnju9oJQ"
	for name, text := range map[string]string{
		"nothing":                 "",
		"full link":               loadExample(t).Invitation,
		"no slash after host":     "https://smp.example.org",
		"no hash":                 "https://smp.example.org/a",
		"longer type":             "https://smp.example.org/aa#" + key,
		"port after host":         "https://smp.example.org:443/a#" + key,
		"list of hosts":           "https://a.example,b.example/a#" + key,
		"no key":                  "https://smp.example.org/a#?p=443",
		"key with line break":     "https://smp.example.org/a#\n" + key,
		"key of 256 bytes":        "https://smp.example.org/a#" + strings.Repeat("A", 342),
		"invitation without ID":   "https://smp.example.org/i#" + key,
		"port not a number":       "https://smp.example.org/a#" + key + "?p=-1",
		"empty port":              "https://smp.example.org/a#" + key + "?p=",
		"port escape cut":         "https://smp.example.org/a#" + key + "?p=%",
		"hosts escape cut":        "https://smp.example.org/a#" + key + "?h=%",
		"short fingerprint":       "https://smp.example.org/a#" + key + "?c=AAECAw",
		"fingerprint of zeros":    "https://smp.example.org/a#" + key + "?c=" + strings.Repeat("A", 43),
		"fingerprint escape cut":  "https://smp.example.org/a#" + key + "?c=%",
		"space behind":            "https://smp.example.org/a#" + key + "?p=443 ",
		"longer than a full link": "https://smp.example.org/a#" + key + "?x=" + strings.Repeat("x", MaxText),
	} {
		if _, err := ParseShort(text); !errors.Is(err, ErrLink) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for text, want := range map[string]bool{
		"https://smp.example.org/a#" + key: true, "simplex:/i/#x": true, "simplex:/": false,
		"simplex:/contact#/?v=1": false, "https://simplex.chat/invitation/#/?v=1": false, "a#" + key: false,
	} {
		if IsShort(text) != want {
			t.Errorf("%s is short: %v", text, !want)
		}
	}
}

func TestIPv6WithPortReadsBack(t *testing.T) {
	q, err := ParseQueue(loadExample(t).QueueText)
	if err != nil {
		t.Fatal(err)
	}
	for hosts, want := range map[string]string{
		"2001:db8::1":             "@[2001:db8::1]:5223/",
		"2001:db8::1,a.example":   "@2001:db8::1,a.example:5223/",
		"a.example,2001:db8::1":   "@a.example,[2001:db8::1]:5223/",
		"::ffff:192.0.2.7,a.test": "@[::ffff:192.0.2.7],a.test:5223/",
	} {
		q.Client.Min = 2
		q.Server.Hosts = strings.Split(hosts, ",")
		text := q.Text()
		back, err := ParseQueue(text)
		if err != nil || !strings.Contains(text, want) || !back.Same(q.Address) {
			t.Errorf("%s: %s, %v", hosts, text, err)
		}
	}
}

func TestSecondHostOfOldRelays(t *testing.T) {
	text := loadExample(t).QueueText
	for _, c := range []struct {
		host, versions string
		hosts          int
	}{
		{"smp4.simplex.im", "1", 2}, {"smp5.simplex.im", "1", 2}, {"smp6.simplex.im", "1", 2}, {"smp8.simplex.im", "1", 2},
		{"smp9.simplex.im", "1", 2}, {"smp10.simplex.im", "1", 2},
		{"smp4.simplex.im", "1-2", 1}, {"smp4.simplex.im,abc.onion", "1", 2}, {"smp7.simplex.im", "1", 1},
	} {
		q, err := ParseQueue(strings.NewReplacer("smp.example.org", c.host, "v=1-4", "v="+c.versions).Replace(text))
		if err != nil || len(q.Server.Hosts) != c.hosts {
			t.Errorf("%s, versions %s: %q, %v", c.host, c.versions, q.Server.Hosts, err)
		}
	}
}

func TestSameAddress(t *testing.T) {
	a := Address{Server: queue.Server{Hosts: []string{"a", "b"}, Port: "5223", Fingerprint: [32]byte{1}}, SenderID: "id"}
	for name, c := range map[string]struct {
		change func(*Address)
		same   bool
	}{
		"nothing":         {func(*Address) {}, true},
		"fingerprint":     {func(a *Address) { a.Server.Fingerprint[0]++ }, true},
		"password":        {func(a *Address) { a.Server.Password = "secret" }, true},
		"order of hosts":  {func(a *Address) { a.Server.Hosts = []string{"b", "a"} }, false},
		"number of hosts": {func(a *Address) { a.Server.Hosts = []string{"a"} }, false},
		"default port":    {func(a *Address) { a.Server.Port = "" }, false},
		"sender ID":       {func(a *Address) { a.SenderID = "di" }, false},
	} {
		b := a
		c.change(&b)
		if a.Same(b) != c.same || b.Same(a) != c.same {
			t.Errorf("%s differs: same %v", name, !c.same)
		}
	}
}

func TestPasswordStaysHome(t *testing.T) {
	q, err := Parse(loadExample(t).Invitation)
	if err != nil {
		t.Fatal(err)
	}
	text, binary, info := q.Text(), q.Binary(), q.Queues[0].At(4).Append(nil)
	q.Queues[0].Server.Password = "secret"
	if q.Text() != text || !bytes.Equal(q.Binary(), binary) || !bytes.Equal(q.Queues[0].At(4).Append(nil), info) {
		t.Error("the password of a relay changes what others see")
	}
}

// A version below 4 does not mark a missing mode, so the next byte may be taken for one.
func TestModeSuffixSwallowsWhatFollows(t *testing.T) {
	q, err := ParseQueue(loadExample(t).QueueText)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		version queue.Version
		mode    queue.Mode
		follows string
		read    queue.Mode
		left    int
	}{
		{2, queue.ModeNone, "{}", queue.ModeNone, 2},
		{2, queue.ModeMessaging, "Text", queue.ModeMessaging, 3},
		{3, queue.ModeNone, "Cats", queue.ModeContact, 3},
		{3, queue.ModeMessaging, "Mice", queue.ModeMessaging, 4},
		{4, queue.ModeMessaging, "Mice", queue.ModeMessaging, 4},
		{4, queue.ModeContact, "Cats", queue.ModeContact, 4},
	} {
		q.Mode = c.mode
		r := wire.NewReader(append(q.At(c.version).Append(nil), c.follows...))
		if got := ReadInfo(r); got.Mode != c.read || r.Len() != c.left || r.Err() != nil {
			t.Errorf("version %d with %q behind: mode %v, %d bytes left, %v", c.version, c.follows, got.Mode, r.Len(), r.Err())
		}
	}
}

func TestPresetRelays(t *testing.T) {
	preset := queue.Server{Fingerprint: [32]byte{7}, Hosts: []string{"smp.example.org", "abc.onion"}, Password: "own"}
	with := func(change func(*Short)) Short {
		s := Short{Kind: Contact, Type: TypeContact, Key: []byte("key"), Server: preset}
		s.Server.Password = ""
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		link    Short
		shorten bool
	}{
		"as preset":             {with(func(*Short) {}), true},
		"first host only":       {with(func(s *Short) { s.Server.Hosts = s.Server.Hosts[:1] }), true},
		"port 443":              {with(func(s *Short) { s.Server.Port = "443" }), true},
		"port 5223":             {with(func(s *Short) { s.Server.Port = "5223" }), true},
		"invitation":            {with(func(s *Short) { s.Kind, s.Type, s.LinkID = Invitation, 0, "id" }), true},
		"simplex scheme":        {with(func(s *Short) { s.Simplex = true }), true},
		"other port":            {with(func(s *Short) { s.Server.Port = "5224" }), false},
		"other fingerprint":     {with(func(s *Short) { s.Server.Fingerprint[0]++ }), false},
		"onion host only":       {with(func(s *Short) { s.Server.Hosts = []string{"abc.onion"} }), false},
		"one host more":         {with(func(s *Short) { s.Server.Hosts = append([]string{"smp.example.org"}, "other.example") }), false},
		"host of another relay": {with(func(s *Short) { s.Server.Hosts = []string{"smp.example.com"} }), false},
	} {
		got := c.link.Shorten([]queue.Server{{Hosts: []string{"first.example"}}, preset})
		if got.Complete() == c.shorten || c.shorten && len(got.Text()) >= len(c.link.Text()) || !c.shorten && got.Text() != c.link.Text() {
			t.Errorf("%s: %s", name, got.Text())
			continue
		}
		if !c.shorten {
			continue
		}
		parsed, err := ParseShort(got.Text())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		restored := parsed.Restore([]queue.Server{{Hosts: []string{"first.example"}}, preset})
		if !restored.Complete() || !restored.Server.Equal(with(func(*Short) {}).Server) {
			t.Errorf("%s: restored as %s", name, restored.Text())
		}
		if parsed.Restore(nil).Complete() {
			t.Errorf("%s: restored from nothing", name)
		}
	}
	custom := with(func(s *Short) { s.Server = queue.Server{Hosts: []string{"smp.example.org"}, Port: "443"} })
	if custom.Restore([]queue.Server{preset}).Complete() {
		t.Error("a link with a port of its own was taken for a shortened one")
	}
}

func TestLinksAreNotPrinted(t *testing.T) {
	e := loadExample(t)
	q, _ := Parse(e.Contact)
	s, _ := ParseShort(e.ShortContact)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		for want, v := range map[string]any{
			"contact link": q, "short contact link": s, "sealed link data": Sealed{LinkKey: s.Key},
			"invitation link data": User{Kind: Invitation, Data: []byte("data")},
		} {
			if got := fmt.Sprintf(verb, v); got != want {
				t.Errorf("%s prints %q", verb, got)
			}
		}
		if got := fmt.Sprintf(verb, q.Queues[0]); strings.Contains(got, "example") || strings.Contains(got, "MDEy") {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

// Requests of which every queue has a mode have one binary form, whichever way they came.
func TestBinaryIsStable(t *testing.T) {
	e := loadExample(t)
	q, err := Parse(e.Invitation)
	if err != nil {
		t.Fatal(err)
	}
	hosts := []string{"smp.example.org", "abc.onion", "192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7", "ä.example"}
	rapid.Check(t, func(t *rapid.T) {
		request := Request{
			Kind:  rapid.SampledFrom([]Kind{Invitation, Contact}).Draw(t, "kind"),
			Agent: drawRange(t, 2, 7),
		}
		for range rapid.IntRange(1, 3).Draw(t, "queues") {
			request.Queues = append(request.Queues, Queue{
				Client: drawRange(t, 1, 5),
				Address: Address{
					Server: queue.Server{
						Fingerprint: q.Queues[0].Server.Fingerprint,
						Hosts:       rapid.SliceOfN(rapid.SampledFrom(hosts), 1, 4).Draw(t, "hosts"),
						Port:        rapid.SampledFrom([]string{"", "443", "5223"}).Draw(t, "port"),
					},
					SenderID: queue.ID(rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "sender ID")),
				},
				DH:   q.Queues[0].DH,
				Mode: rapid.SampledFrom([]queue.Mode{queue.ModeMessaging, queue.ModeContact}).Draw(t, "mode"),
			})
		}
		if request.Kind == Invitation {
			request.Keys = q.Keys
		}
		if rapid.Bool().Draw(t, "has data") {
			request.ClientData = []byte(rapid.String().Draw(t, "data"))
		}
		want := request.Binary()
		fromText, err := Parse(request.Text())
		if err != nil {
			t.Fatalf("%v: %s", err, request.Text())
		}
		if got := fromText.Binary(); !bytes.Equal(got, want) || fromText.Text() != request.Text() {
			t.Fatalf("through text\n%x, want\n%x", got, want)
		}
		fromBinary, err := ParseBinary(want)
		if err != nil {
			t.Fatal(err)
		}
		if got := fromBinary.Binary(); !bytes.Equal(got, want) {
			t.Fatalf("through binary\n%x, want\n%x", got, want)
		}
	})
}

func drawRange(t *rapid.T, low, high uint16) queue.VersionRange {
	v := queue.Version(rapid.Uint16Range(low, high).Draw(t, "min"))
	return queue.VersionRange{Min: v, Max: queue.Version(rapid.Uint16Range(uint16(v), high).Draw(t, "max"))}
}

func TestTruncatedBinaryFormsAreErrors(t *testing.T) {
	e := loadExample(t)
	for n := range e.InvitationBinary {
		if _, err := ParseBinary(e.InvitationBinary[:n]); !errors.Is(err, wire.ErrSyntax) {
			t.Fatalf("first %d bytes of a request: %v", n, err)
		}
	}
	if _, err := ParseBinary(append(bytes.Clone(e.InvitationBinary), 0)); !errors.Is(err, wire.ErrSyntax) {
		t.Errorf("byte behind a request: %v", err)
	}
	s, _ := ParseShort(e.ShortInvitation)
	short := s.Append(nil)
	for n := range short {
		r := wire.NewReader(short[:n])
		if ReadShort(r); r.Done() == nil {
			t.Fatalf("first %d bytes of a short link read", n)
		}
	}
}

func TestMalformedBinaryForms(t *testing.T) {
	e := loadExample(t)
	change := func(at int, value byte) []byte {
		b := bytes.Clone(e.ContactBinary)
		b[at] = value
		return b
	}
	for name, b := range map[string][]byte{
		"kind":        change(0, 'X'),
		"agent range": change(1, 0xff),
		"no queue":    change(5, 0),
		"no host":     change(10, 0),
		"host":        change(12, '/'),
	} {
		if _, err := ParseBinary(b); !errors.Is(err, wire.ErrSyntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
	request := Request{Kind: Contact, Agent: AgentVersions, ClientData: []byte("\xff")}
	q, _ := ParseQueue(e.QueueText)
	request.Queues = []Queue{q}
	if _, err := ParseBinary(request.Binary()); !errors.Is(err, wire.ErrSyntax) {
		t.Errorf("client data is not text: %v", err)
	}
	for name, b := range map[string]string{
		"short type":        "CX\x01\x01a\x00\x00\x01k",
		"short no host":     "CA\x00\x00\x00\x01k",
		"short host":        "CA\x01\x01/\x00\x00\x01k",
		"short port":        "CA\x01\x01a\x01x\x00\x01k",
		"short fingerprint": "CA\x01\x01a\x00\x03abc\x01k",
	} {
		r := wire.NewReader([]byte(b))
		if ReadShort(r); !errors.Is(r.Err(), wire.ErrSyntax) {
			t.Errorf("%s: %v", name, r.Err())
		}
	}
	first := q.At(1).Append(nil)
	for name, b := range map[string][]byte{
		"host":        bytes.Replace(first, []byte("smp.example.org"), []byte("smp/example/org"), 1),
		"port":        bytes.Replace(first, []byte("5223"), []byte("5x23"), 1),
		"fingerprint": bytes.Replace(first, []byte("\x20\x00\x01"), []byte("\x1f\x01"), 1),
	} {
		r := wire.NewReader(b)
		if ReadInfo(r); !errors.Is(r.Err(), wire.ErrSyntax) {
			t.Errorf("%s of version 1: %v", name, r.Err())
		}
	}
	both := ratchet.KEMParams{Public: []byte("key"), Ciphertext: []byte("text")}
	invitation, _ := Parse(e.Invitation)
	invitation.Keys.KEM = both
	if _, err := ParseBinary(invitation.Binary()); !errors.Is(err, wire.ErrSyntax) {
		t.Errorf("KEM accepted in an invitation: %v", err)
	}
	user := User{Kind: Contact, Agent: AgentVersions, Relays: []Short{{Kind: Invitation, Server: q.Server, LinkID: "id", Key: []byte("k")}}}
	if _, err := ParseUser(user.Append(nil)); !errors.Is(err, wire.ErrSyntax) {
		t.Errorf("invitation among the relays: %v", err)
	}
	user = User{Kind: Contact, Agent: AgentVersions, Owners: []Owner{{ID: []byte("id"), Key: publicKey(newOwned(t).root), Signature: []byte("short")}}}
	if _, err := ParseUser(user.Append(nil)); !errors.Is(err, wire.ErrSyntax) {
		t.Errorf("owner with a short signature: %v", err)
	}
}
