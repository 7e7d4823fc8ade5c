package envelope

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

func consecutive(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func x25519(t testing.TB, raw []byte) keys.Public {
	t.Helper()
	k, err := keys.New(keys.X25519, raw)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// example is plaintexts made from keys of consecutive bytes.
type example struct {
	QueueKey         hexBytes `json:"q_rcv_pub"`
	SenderKey        hexBytes `json:"q_snd_pub"`
	Params           hexBytes `json:"e2e_params_bin"`
	QueueSecret      hexBytes `json:"queue_secret"`
	Confirmation     hexBytes `json:"agent_conn_info_reply"`
	ConfirmationHash hexBytes `json:"agent_conn_info_reply_sha256"`
	Message          hexBytes `json:"agent_msg_amsg"`
	MessageHash      hexBytes `json:"agent_msg_amsg_sha256"`
	Hello            hexBytes
	Receipt          hexBytes
	Continue         hexBytes `json:"qcont"`
	AddQueue         hexBytes `json:"qadd"`
	UseQueue         hexBytes `json:"quse"`
	TestQueue        hexBytes `json:"qtest"`
	Ready            hexBytes `json:"eready"`
	SealedLength     int      `json:"encinfo_len"`
	EnvelopeLength   int      `json:"conf_len"`
	BodyLength       int      `json:"conf_env_len"`
	EnvelopeStart    hexBytes `json:"conf_first200"`
	BodyStart        hexBytes `json:"conf_env_first120"`
	MessageLength    int      `json:"encmsg_len"`
	MessageBody      int      `json:"msg_env_len"`
	MessageStart     hexBytes `json:"msg_env_first60"`
}

func loadExample(t testing.TB) (e example) {
	t.Helper()
	load(t, "example.json", &e)
	return e
}

// replyQueue is the queue of the example's joiner.
func replyQueue(t testing.TB, e example) link.Queue {
	t.Helper()
	p, err := ParsePlaintext(e.Confirmation)
	if err != nil {
		t.Fatal(err)
	}
	info := p.(JoinerInfo).Queues[0]
	return link.Queue{Client: link.ClientVersions, Address: info.Address, DH: info.DH, Mode: info.Mode}
}

func TestExamplePlaintexts(t *testing.T) {
	e := loadExample(t)
	reply := replyQueue(t, e)
	if reply.Server.Hosts[0] != "smp2.example.org" || string(reply.SenderID) != string(consecutive(0x50, 24)) || reply.Mode != queue.ModeMessaging {
		t.Fatalf("reply queue %q", reply.Server.Hosts)
	}
	replaced := link.Address{
		Server:   queue.Server{Fingerprint: [32]byte(consecutive(0, 32)), Hosts: []string{"smp.example.org"}, Port: "5223"},
		SenderID: queue.ID(consecutive(0x30, 24)),
	}
	after := func(content Content) Plaintext { return Numbered{2, e.ConfirmationHash, content} }
	third := func(content Content) Plaintext { return Numbered{3, e.ConfirmationHash, content} }
	for name, c := range map[string]struct {
		plaintext Plaintext
		want      hexBytes
	}{
		"confirmation": {JoinerInfo{[]link.Info{reply.At(4)}, []byte(`{"x":1}`)}, e.Confirmation},
		"hello":        {after(Hello{}), e.Hello},
		"message":      {after(ClientMessage{[]byte("hello")}), e.Message},
		"receipt":      {third(Receipts{{2, e.MessageHash, nil}}), e.Receipt},
	} {
		if got := c.plaintext.Append(nil); !bytes.Equal(got, c.want) {
			t.Errorf("%s\n%x, want\n%x", name, got, c.want)
		}
		checkPlaintext(t, c.want)
	}
	for name, c := range map[string]struct {
		content Content
		want    hexBytes
	}{
		"continue":   {Continue{reply.Address}, e.Continue},
		"add queue":  {AddQueue{{reply, &replaced}}, e.AddQueue},
		"use queue":  {UseQueue{{reply.Address, true}}, e.UseQueue},
		"test queue": {TestQueue{reply.Address}, e.TestQueue},
		"ready":      {Ready{7}, e.Ready},
	} {
		if got := c.content.Append(nil); !bytes.Equal(got, c.want) {
			t.Errorf("%s\n%x, want\n%x", name, got, c.want)
		}
		checkPlaintext(t, Numbered{Number: 9, Content: c.content}.Append(nil))
	}
	for _, c := range []struct{ plaintext, hash hexBytes }{{e.Confirmation, e.ConfirmationHash}, {e.Message, e.MessageHash}} {
		if got := Hash(c.plaintext); !bytes.Equal(got[:], c.hash) {
			t.Errorf("hash %x, want %x", got, c.hash)
		}
	}
}

// The ratchet messages themselves are not part of this package; what stands around them is.
func TestExampleBodies(t *testing.T) {
	e := loadExample(t)
	r := wire.NewReader(e.Params)
	params := ratchet.ReadSingle(r)
	if err := r.Done(); err != nil {
		t.Fatal(err)
	}
	secret := box.Secret(e.QueueSecret)
	confirmation := &Confirmation{Agent: 7, Keys: &params, Sealed: make([]byte, e.SealedLength)}
	raw := confirmation.Append(nil)
	layout := len(raw) - e.SealedLength
	if len(raw) != e.EnvelopeLength || !bytes.Equal(raw[:layout], e.EnvelopeStart[:layout]) {
		t.Errorf("confirmation of %d bytes", len(raw))
	}
	first := Client{Version: 4, Key: x25519(t, e.SenderKey), Nonce: [24]byte(consecutive(0xe0, 24))}
	body, err := first.Seal(&secret, PrivateHeader{}, raw)
	layout = BodyFirst - PaddedFirst - box.Overhead
	if err != nil || len(body) != e.BodyLength || !bytes.Equal(body[:layout], e.BodyStart[:layout]) {
		t.Errorf("body of %d bytes, %v", len(body), err)
	}
	later := Client{Version: 4, Nonce: first.Nonce}
	body, err = later.Seal(&secret, PrivateHeader{}, (&Message{Agent: 7, Sealed: make([]byte, e.MessageLength)}).Append(nil))
	layout = BodyMessage - PaddedMessage - box.Overhead
	if err != nil || len(body) != e.MessageBody || !bytes.Equal(body[:layout], e.MessageStart[:layout]) {
		t.Errorf("body of %d bytes, %v", len(body), err)
	}
}

func TestLimits(t *testing.T) {
	previous := make([]byte, HashSize)
	for _, c := range []struct {
		pq                     bool
		agent                  queue.Version
		body, info, plain, max int
	}{
		{false, 7, 15795, 14829, 15840, MaxBody},
		{true, 7, 13573, 11103, 13618, MaxBodyPQ},
		{true, 4, 15795, 14829, 15840, MaxBody},
		{true, 5, 13573, 11103, 13618, MaxBodyPQ},
	} {
		if got := MaxMessageBody(c.pq, c.agent); got != c.body || got != c.max {
			t.Errorf("PQ %v, version %d: body of %d bytes", c.pq, c.agent, got)
		}
		if got := MaxInitiatorInfo(c.pq, c.agent); got != c.info {
			t.Errorf("PQ %v, version %d: info of %d bytes", c.pq, c.agent, got)
		}
		message := Numbered{2, previous, ClientMessage{make([]byte, c.body)}}.Append(nil)
		if got := 2 + len(message); got != c.plain || MessageLength(c.pq, c.agent) != c.plain {
			t.Errorf("PQ %v, version %d: plaintext of %d bytes", c.pq, c.agent, got)
		}
	}
	e := loadExample(t)
	joiner := JoinerInfo{Queues: []link.Info{replyQueue(t, e).At(4)}, Info: []byte("not counted")}
	for _, c := range []struct {
		pq     bool
		padded int
	}{{false, RatchetConfirmation}, {true, RatchetConfirmationPQ}} {
		largest := JoinerInfo{joiner.Queues, make([]byte, joiner.MaxInfo(c.pq, 7))}
		if got := 2 + len(largest.Append(nil)); got != c.padded {
			t.Errorf("PQ %v: confirmation of %d bytes", c.pq, got)
		}
	}
}

func TestLargestInvitation(t *testing.T) {
	secret := box.Secret{1}
	client := Client{Version: 4, Key: x25519(t, consecutive(9, 32))}
	text := strings.Repeat("l", 500)
	info := make([]byte, MaxRequestInfo(len(text)))
	body, err := client.Seal(&secret, PrivateHeader{}, (&Invitation{7, text, info}).Append(nil))
	if err != nil || len(body) != BodyFirst {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	info = append(info, 0)
	if _, err = client.Seal(&secret, PrivateHeader{}, (&Invitation{7, text, info}).Append(nil)); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("one byte more: %v", err)
	}
}

func TestLargestPrivateHeaderFits(t *testing.T) {
	for algorithm, size := range map[keys.Algorithm]int{keys.Ed25519: 32, keys.Ed448: 57, keys.X25519: 32} {
		key, err := keys.New(algorithm, make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		b := PrivateHeader{SenderKey: key}.Append(nil)
		r := wire.NewReader(b)
		if got := ReadPrivateHeader(r); r.Done() != nil || got.SenderKey != key || len(b) > maxPrivateHeader {
			t.Errorf("%v: %d bytes, %v", algorithm, len(b), r.Err())
		}
	}
}

func TestOpenErrors(t *testing.T) {
	secret := box.Secret{1}
	c := Client{Version: 4}
	body, err := c.Seal(&secret, PrivateHeader{}, []byte("envelope"))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := ParseClient(body)
	if err != nil {
		t.Fatal(err)
	}
	if _, got, err := sealed.Open(&secret); err != nil || string(got) != "envelope" {
		t.Errorf("%q, %v", got, err)
	}
	if _, _, err := sealed.Open(&box.Secret{2}); !errors.Is(err, box.ErrOpen) {
		t.Errorf("other secret: %v", err)
	}
	for name, content := range map[string]string{"empty": "", "unknown header": "X", "key cut": "K\x2c0", "X448 key": x448Header(t)} {
		c.Box, _ = box.SealPadded(nil, &secret, c.Nonce[:], []byte(content), PaddedMessage)
		if _, _, err := c.Open(&secret); !errors.Is(err, wire.ErrSyntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Seal(&secret, PrivateHeader{}, make([]byte, PaddedMessage-2)); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("larger than the padding: %v", err)
	}
}

func x448Header(t *testing.T) string {
	t.Helper()
	k, err := keys.New(keys.X448, make([]byte, 56))
	if err != nil {
		t.Fatal(err)
	}
	return "K" + string(k.Append(nil))
}

func TestMalformedInput(t *testing.T) {
	for name, b := range map[string]string{
		"nothing":             "",
		"no key":              "\x00\x04",
		"no presence":         "\x00\x04x",
		"nonce cut":           "\x00\x040" + strings.Repeat("n", 23),
		"Ed25519 for the box": "\x00\x041\x2c\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00" + strings.Repeat("k", 32+24),
	} {
		if _, err := ParseClient([]byte(b)); !errors.Is(err, wire.ErrSyntax) {
			t.Errorf("client envelope, %s: %v", name, err)
		}
	}
	e := loadExample(t)
	accepted := ratchet.KEMParams{Public: []byte("public"), Ciphertext: []byte("text")}
	r := wire.NewReader(e.Params)
	params := ratchet.ReadSingle(r)
	params.KEM = accepted
	for name, b := range map[string]string{
		"nothing":                  "",
		"no tag":                   "\x00\x07",
		"unknown tag":              "\x00\x07X",
		"confirmation, no mark":    "\x00\x07C",
		"confirmation, keys cut":   "\x00\x07C1\x00\x03",
		"invitation, link cut":     "\x00\x07I\x00\x05link",
		"ratchet key, no keys":     "\x00\x07R",
		"ratchet key, KEM settled": string((&RatchetKey{Agent: 7, Keys: params}).Append(nil)),
	} {
		if _, err := Parse([]byte(b)); !errors.Is(err, wire.ErrSyntax) {
			t.Errorf("agent envelope, %s: %v", name, err)
		}
	}
	if c, err := Parse((&Confirmation{Agent: 7, Keys: &params}).Append(nil)); err != nil || len(c.(*Confirmation).Keys.KEM.Ciphertext) == 0 {
		t.Errorf("KEM accepted in a confirmation: %v", err)
	}
	numbered := "M\x00\x00\x00\x00\x00\x00\x00\x02\x00"
	for name, b := range map[string]string{
		"nothing":                  "",
		"unknown tag":              "X",
		"no reply queue":           "D\x00",
		"reply queue cut":          "D\x01\x00\x04",
		"number cut":               numbered[:8],
		"no message":               numbered,
		"unknown message":          numbered + "X",
		"unknown queue message":    numbered + "QX",
		"queue message cut":        numbered + "Q",
		"bytes behind hello":       numbered + "H!",
		"no receipt":               numbered + "V\x00",
		"receipt cut":              numbered + "V\x01\x00",
		"bytes behind the receipt": string(Numbered{2, nil, Receipts{{1, nil, nil}}}.Append(nil)) + "!",
		"no added queue":           numbered + "QA\x00",
		"no queue key":             numbered + "QK\x00",
		"no used queue":            numbered + "QU\x00",
		"no tested queue":          numbered + "QT\x00",
		"ready cut":                numbered + "E\x00",
	} {
		if _, err := ParsePlaintext([]byte(b)); !errors.Is(err, wire.ErrSyntax) {
			t.Errorf("plaintext, %s: %v", name, err)
		}
	}
}

func TestAddedQueueWithoutPredecessor(t *testing.T) {
	added := AddQueue{{Queue: replyQueue(t, loadExample(t))}, {Queue: replyQueue(t, loadExample(t))}}
	p, err := ParsePlaintext(Numbered{2, nil, added}.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := p.(Numbered).Content.(AddQueue); len(got) != 2 || got[0].Replaces != nil || got[1].Replaces != nil {
		t.Errorf("%d queues", len(got))
	}
}

func TestListLengths(t *testing.T) {
	for _, n := range []int{0, 256} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a list of %d items was written", n)
				}
			}()
			Receipts(make([]Receipt, n)).Append(nil)
		}()
	}
	full := Numbered{2, nil, Receipts(make([]Receipt, 255))}
	if p, err := ParsePlaintext(full.Append(nil)); err != nil || len(p.(Numbered).Content.(Receipts)) != 255 {
		t.Errorf("255 items: %v", err)
	}
}

func TestIntegrity(t *testing.T) {
	const ok, wrong = "hash of the last message", "another hash"
	for _, c := range []struct {
		last, number int64
		previous     string
		want         Integrity
		text         string
	}{
		{2, 3, ok, Integrity{}, "OK"},
		{2, 3, wrong, Integrity{Class: IntegrityBadHash}, "ERR HASH"},
		{2, 3, "", Integrity{Class: IntegrityBadHash}, "ERR HASH"},
		{2, 6, ok, Integrity{Class: IntegritySkipped, From: 3, To: 5}, "ERR NO_ID 3 5"},
		{2, 4, wrong, Integrity{Class: IntegritySkipped, From: 3, To: 3}, "ERR NO_ID 3 3"},
		{7, 7, ok, Integrity{Class: IntegrityDuplicate}, "ERR DUPLICATE"},
		{7, 4, ok, Integrity{Class: IntegrityBadNumber, Number: 4}, "ERR ID 4"},
		{0, -1, ok, Integrity{Class: IntegrityBadNumber, Number: -1}, "ERR ID -1"},
		{math.MaxInt64, math.MinInt64, ok, Integrity{Class: IntegrityBadNumber, Number: math.MinInt64}, "ERR ID -9223372036854775808"},
		{math.MinInt64, math.MaxInt64, ok, Integrity{Class: IntegritySkipped, From: math.MinInt64 + 1, To: math.MaxInt64 - 1},
			"ERR NO_ID -9223372036854775807 9223372036854775806"},
		{math.MaxInt64, math.MaxInt64, ok, Integrity{Class: IntegrityDuplicate}, "ERR DUPLICATE"},
	} {
		got := CheckIntegrity(c.last, []byte(ok), c.number, []byte(c.previous))
		if got != c.want || got.String() != c.text {
			t.Errorf("%d after %d: %v, want %v", c.number, c.last, got, c.want)
		}
	}
	if got := CheckIntegrity(0, nil, 1, nil); got != (Integrity{}) {
		t.Errorf("first message: %v", got)
	}
}
