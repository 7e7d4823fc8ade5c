package relay_test

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/nacl/box"

	"github.com/coterie-im/coterie/queue/server"
)

func largestBody(version uint16) int {
	switch {
	case version < 8:
		return 16088
	case version < 11:
		return 16064
	default:
		return 16048
	}
}

// TestEveryCommand runs every command at every version, with keys of every algorithm and correlation IDs of several sizes,
// and compares whole answers.
func TestEveryCommand(t *testing.T) {
	r := startRelay(t, nil)
	for version := uint16(6); version <= 9; version++ {
		for _, algorithm := range []string{"Ed25519", "Ed448", "X25519"} {
			if algorithm == "X25519" && version < 7 {
				continue
			}
			t.Run(fmt.Sprintf("version %d, %s", version, algorithm), func(t *testing.T) { everyCommand(t, r, version, algorithm) })
		}
	}
}

func everyCommand(t *testing.T, r *relay, version uint16, algorithm string) {
	bob, alice, device := r.at(t, version), r.at(t, version), r.at(t, version)
	recipient, sender, notifier := newKey(t, algorithm), newKey(t, algorithm), newKey(t, algorithm)
	q := bob.create(recipient, "S")
	bob.want("OK", q.sign, q.recipient, "SUB")

	alice.want("OK", unsigned, q.sender, "SEND F hello")
	id := q.wantMessage(t, bob.event(q.recipient), "F", "hello")
	info := regexp.MustCompile(fmt.Sprintf(`^INFO \{"qiSnd":false,"qiNtf":false,"qiSub":\{"qSubThread":"noSub","qDelivered":"%[1]s"\},`+
		`"qiSize":1,"qiMsg":\{"msgId":"%[1]s","msgTs":"[-0-9]{10}T[:0-9]{8}Z","msgType":"message"\}\}$`,
		regexp.QuoteMeta(base64.StdEncoding.EncodeToString([]byte(id)))))
	if got := bob.do(q.sign, q.recipient, "QUE"); !info.MatchString(got) {
		t.Fatalf("answer is %s", got)
	}
	bob.want("ERR NO_MSG", q.sign, q.recipient, ack(id[1:]))
	bob.want("OK", q.sign, q.recipient, ack(id))
	bob.want("ERR NO_MSG", q.sign, q.recipient, ack(id))
	bob.want(`INFO {"qiSnd":false,"qiNtf":false,"qiSub":{"qSubThread":"noSub"},"qiSize":0}`, q.sign, q.recipient, "QUE")

	secure := "KEY " + sender.public
	if version == 9 {
		alice.want("OK", sender.sign, q.sender, "SKEY "+sender.public)
		alice.want("ERR AUTH", sender.sign, q.sender, "SKEY "+newKey(t, algorithm).public)
	} else {
		alice.want("ERR AUTH", sender.sign, q.sender, "SKEY "+sender.public) // no mode
		bob.want("OK", q.sign, q.recipient, secure)
	}
	bob.want("OK", q.sign, q.recipient, secure)
	bob.want("ERR AUTH", q.sign, q.recipient, "KEY "+newKey(t, algorithm).public)
	alice.want("ERR AUTH", unsigned, q.sender, "SEND F unsigned")
	alice.want("ERR AUTH", newKey(t, algorithm).sign, q.sender, "SEND F other")

	nid := cursor{t, []byte(bob.do(q.sign, q.recipient, "NKEY "+notifier.public+string(spkiX25519(publicOf(t)))))}
	if string(nid.bytes(4)) != "NID " {
		t.Fatalf("answer is %q", nid.rest)
	}
	bell := string(nid.str())
	nid.str()
	nid.end()
	device.want("OK", notifier.sign, bell, "NSUB")

	// Correlation IDs are opaque, and nonces of authenticators whatever their size.
	for _, corrID := range []string{"abc", "", strings.Repeat("n", 24), strings.Repeat("n", 201)} {
		if got := alice.doAs(sender.sign, corrID, q.sender, "SEND T"+strings.Repeat("x", 6)+" ring"); got != "OK" {
			t.Fatalf("answer with a correlation ID of %d bytes is %q", len(corrID), got)
		}
		id := q.wantMessage(t, bob.event(q.recipient), "T", "ring")
		if got := bob.doAs(q.sign, corrID, q.recipient, ack(id)); got != "OK" {
			t.Fatalf("answer with a correlation ID of %d bytes is %q", len(corrID), got)
		}
		nmsg := device.event(bell)
		if !strings.HasPrefix(nmsg, "NMSG ") || len(nmsg) != 5+24+1+144 || nmsg[29] != 0x90 {
			t.Fatalf("event is %q", nmsg)
		}
	}

	largest := strings.Repeat("m", largestBody(version))
	alice.want("OK", sender.sign, q.sender, "SEND F "+largest)
	id = q.wantMessage(t, bob.event(q.recipient), "F", largest)
	alice.want("ERR LARGE_MSG", sender.sign, q.sender, "SEND F "+largest+"m")
	alice.want("OK", sender.sign, q.sender, "SEND F ") // empty
	q.wantMessage(t, bob.do(q.sign, q.recipient, ack(id)), "F", "")

	id = q.wantMessage(t, alice.do(q.sign, q.recipient, "GET"), "F", "")
	alice.want("ERR CMD PROHIBITED", q.sign, q.recipient, "SUB")
	bob.want("ERR CMD PROHIBITED", q.sign, q.recipient, "GET")
	alice.want("OK", q.sign, q.recipient, ack(id))
	alice.want("OK", q.sign, q.recipient, "GET")
	bob.want("OK", q.sign, q.recipient, ack(id)) // it was delivered here, too
	bob.want("OK", q.sign, q.recipient, "NDEL")
	if got := device.event(bell); got != "END" {
		t.Fatalf("event is %q", got)
	}
	bob.want("OK", q.sign, q.recipient, "OFF")
	alice.want("ERR AUTH", sender.sign, q.sender, "SEND F off")
	device.want("OK", q.sign, q.recipient, "DEL")
	if got := bob.event(q.recipient); got != "END" {
		t.Fatalf("event is %q", got)
	}
	bob.want("ERR AUTH", q.sign, q.recipient, "SUB")
	for _, c := range []*client{bob, alice, device} {
		c.quiet()
	}
}

func publicOf(t testing.TB) []byte {
	t.Helper()
	public, _, err := box.GenerateKey(rand.Reader)
	must(t, err)
	return public[:]
}

// TestWholeBlocks compares blocks with what the protocol document shows.
func TestWholeBlocks(t *testing.T) {
	r := startRelay(t, nil)
	pattern := func(first byte) string {
		b := make([]byte, 24)
		for i := range b {
			b[i] = first + byte(i)
		}
		return string(b)
	}
	corrID, entity := pattern(0x80), pattern(0xa0)
	for version := uint16(6); version <= 9; version++ {
		c := r.at(t, version)
		session := ""
		if version == 6 {
			session = string(str(string(c.session)))
		}
		for _, x := range []struct{ entity, body, want string }{
			{"", "PING", "PONG"},
			{entity, "SUB x", "ERR CMD SYNTAX"},
			{entity, "KEY", "ERR CMD SYNTAX"},
			{entity, "SUB=", "ERR CMD UNKNOWN"},
			{entity, "SUB", "ERR CMD NO_AUTH"},
		} {
			c.write(c.encode(unsigned, corrID, x.entity, x.body))
			answer := "\x00" + session + string(str(corrID)) + string(str(x.entity)) + x.want
			want := pad(batch([]byte(answer)), blockSize)
			if got := c.readBlock(); string(got) != string(want) {
				t.Fatalf("version %d, %s: block is %q", version, x.body, strings.TrimRight(string(got), "#"))
			}
		}
	}
}

func TestGreetings(t *testing.T) {
	r := startRelay(t, nil)
	works := func(t *testing.T, c *client, min, max uint16) {
		t.Helper()
		if c.min != min || c.max != max || len(c.session) != 32 && len(c.session) != 48 {
			t.Fatalf("versions %d to %d, session ID of %d bytes", c.min, c.max, len(c.session))
		}
		algorithm := "X25519"
		if c.relayKey == nil || c.version < 7 {
			algorithm = "Ed25519"
		}
		k := newKey(t, algorithm)
		q := c.create(k, "S")
		c.want("ERR AUTH", newKey(t, algorithm).sign, q.recipient, "SUB")
		c.want("OK", q.sign, q.recipient, "SUB")
	}
	for name, x := range map[string]struct {
		hello
		min, max uint16
	}{
		"as an app":                     {hello{version: 9}, 6, 9},
		"version 7":                     {hello{version: 7}, 6, 9},
		"without session key":           {hello{version: 9, keyless: true}, 6, 9},
		"as a browser":                  {hello{version: 9, alpn: []string{"http/1.1"}}, 6, 9},
		"as a newer browser":            {hello{version: 9, alpn: []string{"h2", "http/1.1"}}, 6, 9},
		"with a protocol of the future": {hello{version: 9, alpn: []string{"smp/2", "smp/1"}}, 6, 9},
		"without ALPN":                  {hello{version: 6, alpn: []string{}}, 6, 6},
		"version 6 with ALPN":           {hello{version: 6}, 6, 9},
		"with another group first":      {hello{version: 9, curves: []tls.CurveID{tls.CurveP256, tls.X25519}}, 6, 9},
		"with a name":                   {hello{version: 9, sni: "relay.example"}, 6, 9},
		"with fields of the future":     {hello{version: 9, tail: []byte("F0 and more")}, 6, 9},
		"keyless, fields of the future": {hello{version: 9, keyless: true, tail: []byte("F0 and more")}, 6, 9},
		"keyless, a field like a key":   {hello{version: 9, keyless: true, tail: append([]byte{44}, make([]byte, 44)...)}, 6, 9},
	} {
		t.Run(name, func(t *testing.T) { works(t, r.connect(t, x.hello), x.min, x.max) })
	}
	if _, err := r.dial(hello{alpn: []string{"smp/2"}}); err == nil {
		t.Fatal("an unknown protocol was accepted")
	}
	// Wrong hellos end the connection without a word.
	for name, x := range map[string]func(c *client){
		"another relay":        func(c *client) { c.writeHello([32]byte{1}, hello{version: 9}) },
		"an older version":     func(c *client) { c.writeHello(r.fingerprint, hello{version: 5}) },
		"a newer version":      func(c *client) { c.writeHello(r.fingerprint, hello{version: 10}) },
		"newest version":       func(c *client) { c.writeHello(r.fingerprint, hello{version: 18, tail: []byte("F0")}) },
		"no body":              func(c *client) { must(t, write(c, pad(nil, blockSize))) },
		"a length too large":   func(c *client) { must(t, write(c, []byte(strings.Repeat("\xff", blockSize)))) },
		"a key hash too short": func(c *client) { must(t, write(c, pad([]byte{0, 9, 1, 1}, blockSize))) },
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := r.dial(hello{})
			must(t, err)
			defer conn.Close()
			c := &client{t: t, conn: conn, reader: conn}
			c.readBlock()
			x(c)
			if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Fatal("the relay says something")
			}
		})
	}
}

func write(c *client, b []byte) error {
	_, err := c.conn.Write(b)
	return err
}

// TestBatchesOfApps sends the batches that apps send when they start.
func TestBatchesOfApps(t *testing.T) {
	const n = 135
	r := startRelay(t, nil)
	owner := r.at(t, 9)
	var queues []queue
	for i := range n {
		q := owner.create(newKey(t, "Ed25519"), "C")
		if i%3 == 0 {
			owner.want("OK", unsigned, q.sender, fmt.Sprintf("SEND F %d", i))
		}
		queues = append(queues, q)
	}
	// SUB of all: the answers in their order in one block, then the messages, each in a block of its own.
	bob := r.at(t, 9)
	var commands [][]byte
	for i, q := range queues {
		commands = append(commands, bob.encode(q.sign, fmt.Sprintf("%024d", i), q.recipient, "SUB"))
	}
	bob.write(commands...)
	for i, q := range queues {
		if got := bob.read(); got != (transmission{fmt.Sprintf("%024d", i), q.recipient, "OK"}) {
			t.Fatalf("answer %d is %v", i, got)
		}
	}
	for i := 0; i < n; i += 3 {
		q := queues[i]
		id := q.wantMessage(t, bob.event(q.recipient), "F", fmt.Sprint(i))
		bob.write(bob.encode(q.sign, "", q.recipient, ack(id)))
	}
	for i := 0; i < n; i += 3 {
		if got := bob.event(queues[i].recipient); got != "OK" {
			t.Fatalf("answer to ACK is %q", got)
		}
	}
	if bob.blockSizes[0] != n || bob.blockSizes[1] != 1 || bob.blockSizes[2] != 1 {
		t.Fatalf("blocks of %v transmissions", bob.blockSizes[:3])
	}
	// Another connection takes all of them over: END for each, in as few blocks as there is room for.
	other := r.at(t, 9)
	commands = nil
	for _, q := range queues {
		commands = append(commands, other.encode(q.sign, "", q.recipient, "SUB"))
	}
	other.write(commands...)
	ended := make(map[string]bool)
	for range n {
		got := bob.read()
		if got.body != "END" || got.corrID != "" || ended[got.entity] {
			t.Fatalf("event is %v", got)
		}
		ended[got.entity] = true
	}
	bob.quiet()
}

func TestLargestBatches(t *testing.T) {
	r := startRelay(t, nil)
	c := r.at(t, 9)
	var pings [][]byte
	for i := range 255 {
		pings = append(pings, c.encode(unsigned, fmt.Sprint(i), "", "PING"))
	}
	c.write(pings...)
	for i := range 255 {
		if got := c.read(); got != (transmission{fmt.Sprint(i), "", "PONG"}) {
			t.Fatalf("answer %d is %v", i, got)
		}
	}
	if len(c.blockSizes) != 1 {
		t.Fatalf("blocks of %v transmissions", c.blockSizes)
	}
	// 255 transmissions of nothing are 255 errors.
	c.write(make([][]byte, 255)...)
	for range 255 {
		if got := c.read(); got != (transmission{"", "", "ERR BLOCK"}) {
			t.Fatalf("answer is %v", got)
		}
	}
	c.quiet()
}

// TestMalformedPayloads sends blocks whose payload is not a batch: each is one error, and the connection goes on.
func TestMalformedPayloads(t *testing.T) {
	r := startRelay(t, nil)
	for version := uint16(6); version <= 9; version++ {
		c := r.at(t, version)
		ping := c.encode(unsigned, "c", "", "PING")
		for name, payload := range map[string][]byte{
			"empty":            {},
			"count 0":          {0},
			"count 0, rest":    append([]byte{0}, batch(ping)[1:]...),
			"count too large":  append([]byte{2}, batch(ping)[1:]...),
			"count too small":  append([]byte{1}, batch(ping, ping)[1:]...),
			"left over":        append(batch(ping), '#'),
			"length too large": {1, 255, 255, 0},
			"half a length":    {1, 0},
		} {
			c.writePayload(payload)
			if got := c.read(); got != (transmission{"", "", "ERR BLOCK"}) {
				t.Fatalf("%s: answer is %v", name, got)
			}
		}
		must(t, write(c, []byte(strings.Repeat("\xff", blockSize))))
		if got := c.read(); got != (transmission{"", "", "ERR BLOCK"}) {
			t.Fatalf("length of the block: answer is %v", got)
		}
		if version == 6 {
			bad := append([]byte{0}, str(strings.Repeat("s", 32))...)
			bad = append(append(append(bad, str("c")...), str("entity")...), "SUB"...)
			c.write(bad)
			if got := c.read(); got != (transmission{"c", "", "ERR SESSION"}) {
				t.Fatalf("answer is %v", got)
			}
		}
		for _, size := range []int{1, 63, 65, 79, 81, 113, 115, 255} {
			c.write(c.encode(func(*client, string, []byte) []byte { return make([]byte, size) }, "c", "entity", "SUB"))
			if got := c.read(); got != (transmission{"c", "", "ERR BLOCK"}) {
				t.Fatalf("authorization of %d bytes: answer is %v", size, got)
			}
		}
		c.quiet()
	}
}

// TestAnswersThatDoNotFit asks with correlation IDs so long that the answer is larger than a block.
func TestAnswersThatDoNotFit(t *testing.T) {
	r := startRelay(t, nil)
	c := r.at(t, 9)
	k := newKey(t, "Ed25519")
	q := c.create(k, "C")
	c.want("OK", unsigned, q.sender, "SEND F hello")
	long := strings.Repeat("c", 255)
	c.write(c.encode(unsigned, "before", "", "PING"), c.encode(q.sign, long, q.recipient, "GET"), c.encode(unsigned, "after", "", "PING"))
	for _, want := range []transmission{{"before", "", "PONG"}, {long, q.recipient, "ERR LARGE_MSG"}, {"after", "", "PONG"}} {
		if got := c.read(); got != want {
			t.Fatalf("answer is %v, want %v", got, want)
		}
	}
	id := q.wantMessage(t, c.do(q.sign, q.recipient, "GET"), "F", "hello")
	c.want("OK", q.sign, q.recipient, ack(id))
}

// TestForwardedCommands is a proxy and a client behind it: both layers, nonces in reverse order in the answer, and the
// versions that clients name in the envelope.
func TestForwardedCommands(t *testing.T) {
	r := startRelay(t, nil)
	bob := r.at(t, 9)
	for _, connection := range []uint16{8, 9} {
		p := r.at(t, connection)
		for _, inner := range []uint16{8, 9, 10, 15, 17} {
			for _, algorithm := range []string{"Ed25519", "X25519", "Ed448"} {
				t.Run(fmt.Sprintf("version %d inside %d, %s", inner, connection, algorithm), func(t *testing.T) {
					forwardedCommands(t, bob, p, inner, algorithm)
				})
			}
		}
	}
}

func forwardedCommands(t *testing.T, bob, p *client, inner uint16, algorithm string) {
	q := bob.create(newKey(t, "Ed25519"), "S")
	sender := newKey(t, algorithm)
	want := func(want string, sign authorizer, entity, body string) {
		t.Helper()
		if got := p.forward(inner, sign, entity, body); got != want {
			t.Fatalf("answer to %.10q is %.40q, want %q", body, got, want)
		}
	}
	want("OK", unsigned, q.sender, "SEND T hello")
	bob.want("OK", q.sign, q.recipient, ack(q.wantMessage(t, bob.event(q.recipient), "T", "hello")))
	want("OK", sender.sign, q.sender, "SKEY "+sender.public)
	want("ERR AUTH", unsigned, q.sender, "SEND F hello")
	size := largestBody(inner)
	if algorithm == "Ed448" && inner < 11 {
		size -= 64 // there is no room for more in the envelope
	}
	largest := strings.Repeat("m", size)
	want("OK", sender.sign, q.sender, "SEND F "+largest)
	bob.want("OK", q.sign, q.recipient, ack(q.wantMessage(t, bob.event(q.recipient), "F", largest)))
	if size == largestBody(inner) && algorithm != "Ed448" {
		want("ERR LARGE_MSG", sender.sign, q.sender, "SEND F "+largest+"m")
	}
	want("ERR CMD PROHIBITED", q.sign, q.recipient, "SUB")
	want("ERR CMD PROHIBITED", q.sign, q.recipient, "DEL")
	want("ERR CMD UNKNOWN", q.sign, q.recipient, "HELLO")
	want("ERR CMD NO_ENTITY", unsigned, "", "SEND F hello")
	bob.want("OK", q.sign, q.recipient, "DEL")
}

// forward sends a command in both envelopes and returns the body of the answer in both.
func (c *client) forward(version uint16, sign authorizer, entity, body string) string {
	c.t.Helper()
	var corrID, nonce [24]byte
	_, _ = rand.Read(corrID[:])
	_, _ = rand.Read(nonce[:])
	ephemeral, private, err := box.GenerateKey(rand.Reader)
	must(c.t, err)
	var outer, inner [32]byte
	box.Precompute(&outer, c.relayKey, c.own)
	box.Precompute(&inner, c.relayKey, private)

	// The transmission is that of a connection of the inner version, with the session ID of the proxy's connection.
	rest := append(append(str(string(corrID[:])), str(entity)...), body...)
	raw := str(string(sign(c, string(corrID[:]), append(str(string(c.session)), rest...))))
	if version >= 16 && len(raw) > 1 {
		raw = append(raw, '0')
	}
	raw = append(raw, rest...)
	sealed := box.SealAfterPrecomputation(nil, pad(batch(raw), 16226), &corrID, &inner)
	plain := binary.BigEndian.AppendUint16(str(string(corrID[:])), version)
	plain = append(append(plain, spkiX25519(ephemeral[:])...), sealed...)
	if len(plain) != 16314 {
		c.t.Fatalf("envelope of %d bytes", len(plain))
	}
	rfwd := "RFWD " + string(box.SealAfterPrecomputation(nil, plain, &nonce, &outer))
	rres, ok := strings.CutPrefix(c.doAs(unsigned, string(nonce[:]), "", rfwd), "RRES ")
	if !ok || len(rres) != 16283 {
		c.t.Fatalf("answer of %d bytes is no RRES", len(rres))
	}
	answer, ok := box.OpenAfterPrecomputation(nil, []byte(rres), reverse(nonce), &outer)
	if !ok || len(answer) != 25+16242 || string(answer[:25]) != string(str(string(corrID[:]))) {
		c.t.Fatal("the answer to the proxy does not open")
	}
	padded, ok := box.OpenAfterPrecomputation(nil, answer[25:], reverse(corrID), &inner)
	if !ok {
		c.t.Fatal("the answer to the client does not open")
	}
	b := cursor{c.t, unpad(c.t, padded)}
	if b.bytes(1)[0] != 1 {
		c.t.Fatal("more than one answer")
	}
	one := cursor{c.t, b.bytes(int(b.u16()))}
	b.end()
	if len(one.str()) != 0 || string(one.str()) != string(corrID[:]) || string(one.str()) != entity {
		c.t.Fatal("the answer has other IDs")
	}
	return string(one.rest)
}

func reverse(nonce [24]byte) *[24]byte {
	var r [24]byte
	for i, b := range nonce {
		r[23-i] = b
	}
	return &r
}

// TestRestart stops and starts the relay at the same store.
func TestRestart(t *testing.T) {
	path := t.TempDir() + "/relay.db"
	var q queue
	var sender, notifier key
	var bell, head string
	t.Run("before", func(t *testing.T) {
		r := startRelayAt(t, path, nil)
		bob := r.at(t, 9)
		sender, notifier = newKey(t, "X25519"), newKey(t, "Ed448")
		q = bob.create(newKey(t, "X25519"), "S")
		bob.want("OK", sender.sign, q.sender, "SKEY "+sender.public)
		nid := cursor{t, []byte(bob.do(q.sign, q.recipient, "NKEY "+notifier.public+string(spkiX25519(publicOf(t)))))}
		nid.bytes(4)
		bell = string(nid.str())
		alice := r.at(t, 9)
		for i := range 5 {
			alice.want("OK", sender.sign, q.sender, fmt.Sprintf("SEND F %d", i))
		}
		id := q.wantMessage(t, bob.event(q.recipient), "F", "0")
		head = q.wantMessage(t, bob.do(q.sign, q.recipient, ack(id)), "F", "1")
	})
	t.Run("after", func(t *testing.T) {
		r := startRelayAt(t, path, func(c *server.Config) { c.MessageTTL = time.Hour })
		bob, device := r.at(t, 9), r.at(t, 7)
		bob.want("OK", q.sign, q.recipient, "SUB")
		id := q.wantMessage(t, bob.event(q.recipient), "F", "1")
		if id != head {
			t.Fatal("the message that was not acknowledged has another ID")
		}
		for i := 2; i < 5; i++ {
			id = q.wantMessage(t, bob.do(q.sign, q.recipient, ack(id)), "F", fmt.Sprint(i))
		}
		bob.want("OK", q.sign, q.recipient, ack(id))
		device.want("OK", notifier.sign, bell, "NSUB")
		alice := r.at(t, 9)
		alice.want("ERR AUTH", unsigned, q.sender, "SEND T hello")
		alice.want("OK", sender.sign, q.sender, "SEND T hello")
		q.wantMessage(t, bob.event(q.recipient), "T", "hello")
		if got := device.event(bell); !strings.HasPrefix(got, "NMSG ") {
			t.Fatalf("event is %q", got)
		}
	})
}
