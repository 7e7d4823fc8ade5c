package envelope

import (
	"bytes"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/box"
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
	RecipientPrivate hexBytes `json:"recipient_private"`
	SenderPublic     hexBytes `json:"sender_public"`
	Secret           hexBytes
}

// secret returns the secret for an envelope: agreed with the key in it, or the one known for the queue.
func (v queueVector) secret(t *testing.T, c Client) box.Secret {
	t.Helper()
	if c.Key.IsZero() {
		return box.Secret(v.Secret)
	}
	private, err := ecdh.X25519().NewPrivateKey(v.RecipientPrivate)
	if err != nil {
		t.Fatal(err)
	}
	public, err := c.Key.X25519()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := box.Agree(private, public)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// open opens a recorded body and makes it again, layer by layer.
func open(t *testing.T, body []byte, q queueVector) (Client, PrivateHeader, Envelope, []byte) {
	t.Helper()
	c, err := ParseClient(body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(c.Append(nil), body) {
		t.Error("client envelope changes when it is written again")
	}
	secret := q.secret(t, c)
	header, raw, err := c.Open(&secret)
	if err != nil {
		t.Fatal(err)
	}
	e, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(e.Append(nil), raw) {
		t.Error("agent envelope changes when it is written again")
	}
	again, err := Client{Version: c.Version, Key: c.Key, Nonce: c.Nonce}.Seal(&secret, header, raw)
	if err != nil || !bytes.Equal(again, body) {
		t.Errorf("sealed differently: %v", err)
	}
	if want := map[bool]int{true: BodyMessage, false: BodyFirst}[c.Key.IsZero()]; len(body) != want {
		t.Errorf("body of %d bytes", len(body))
	}
	return c, header, e, raw
}

// checkPlaintext reads a recorded plaintext and writes it again.
func checkPlaintext(t *testing.T, b []byte) Plaintext {
	t.Helper()
	p, err := ParsePlaintext(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.Append(nil), b) {
		t.Errorf("plaintext\n%x\nis written again as\n%x", b, p.Append(nil))
	}
	return p
}

func TestClientBodyVectors(t *testing.T) {
	type body struct {
		Name            string
		By              string
		Body            base64Bytes `json:"body_base64url"`
		EnvelopeLength  int         `json:"agent_envelope_length"`
		EnvelopeSum     hexBytes    `json:"agent_envelope_sha256"`
		EnvelopeStart   hexBytes    `json:"agent_envelope_start"`
		Plaintext       hexBytes
		PlaintextSHA256 hexBytes `json:"plaintext_sha256"`
	}
	var file struct {
		Connections []struct {
			Name             string
			Authorization    hexBytes    `json:"authorization_public"`
			QueueOfInitiator queueVector `json:"queue_of_initiator"`
			QueueOfJoiner    queueVector `json:"queue_of_joiner"`
			Bodies           []body
		}
	}
	load(t, "client-bodies.json", &file)
	names := 0
	for _, connection := range file.Connections {
		queues := map[string]queueVector{"joiner": connection.QueueOfInitiator, "initiator": connection.QueueOfJoiner}
		last := map[string][]byte{}
		for _, v := range connection.Bodies {
			names++
			t.Run(connection.Name+"/"+v.Name, func(t *testing.T) {
				c, header, e, raw := open(t, v.Body, queues[v.By])
				if sum := sha256.Sum256(raw); len(raw) != v.EnvelopeLength || !bytes.Equal(sum[:], v.EnvelopeSum) || !bytes.HasPrefix(raw, v.EnvelopeStart) {
					t.Errorf("agent envelope of %d bytes", len(raw))
				}
				standard := v.Name == "confirmation, standard (key in the private header), client version 2"
				if header.SenderKey.IsZero() == standard || standard && !bytes.Equal(header.SenderKey.DER(), connection.Authorization) {
					t.Error("private header")
				}
				if want := map[bool]queue.Version{true: 2, false: 4}[standard]; c.Version != want {
					t.Errorf("client version %d", c.Version)
				}
				if e.AgentVersion() != link.AgentVersions.Max {
					t.Errorf("agent version %d", e.AgentVersion())
				}
				switch e.(type) {
				case *Invitation, *RatchetKey:
					if !bytes.Equal(raw, v.Plaintext) {
						t.Error("envelope differs")
					}
					return
				}
				if sum := Hash(v.Plaintext); !bytes.Equal(sum[:], v.PlaintextSHA256) {
					t.Errorf("hash %x", sum)
				}
				if p, ok := checkPlaintext(t, v.Plaintext).(Numbered); ok {
					if want := Hash(last[v.By]); !bytes.Equal(p.Previous, want[:]) {
						t.Errorf("previous %x, want %x", p.Previous, want)
					}
				}
				last[v.By] = v.Plaintext
			})
		}
	}
	if names != 21 {
		t.Errorf("%d bodies", names)
	}
}

type liveMessage struct {
	What           string
	Body           base64Bytes `json:"body_base64url"`
	Queue          queueVector
	ClientVersion  queue.Version `json:"client_version"`
	PaddedLength   int           `json:"padded_length"`
	PrivateHeader  hexBytes      `json:"private_header"`
	EnvelopeTag    string        `json:"envelope_tag"`
	Version        queue.Version `json:"envelope_version"`
	Plaintext      hexBytes
	Envelope       hexBytes
	PreviousIsHash *bool `json:"prev_hash_matches"`
}

func TestLiveAgentVectors(t *testing.T) {
	var file struct {
		Connections []struct {
			Name     string
			Messages []liveMessage
		}
	}
	load(t, "live-agent.json", &file)
	messages := 0
	for _, connection := range file.Connections {
		var last []byte
		for _, v := range connection.Messages {
			messages++
			t.Run(connection.Name+"/"+v.What, func(t *testing.T) { v.check(t, &last) })
		}
	}
	if messages != 23 {
		t.Errorf("%d messages", messages)
	}
}

// check opens one body; last is the plaintext before it.
func (v liveMessage) check(t *testing.T, last *[]byte) {
	c, header, e, raw := open(t, v.Body, v.Queue)
	if c.Version != v.ClientVersion || c.Padded() != v.PaddedLength || e.AgentVersion() != v.Version {
		t.Errorf("client version %d, padded to %d, agent version %d", c.Version, c.Padded(), e.AgentVersion())
	}
	if header.SenderKey.IsZero() != (v.PrivateHeader == nil) || !header.SenderKey.IsZero() && !bytes.Equal(header.SenderKey.DER(), v.PrivateHeader) {
		t.Error("private header")
	}
	if string(raw[2]) != v.EnvelopeTag || v.Envelope != nil && !bytes.Equal(raw, v.Envelope) {
		t.Errorf("envelope with tag %c", raw[2])
	}
	if request, ok := e.(*Invitation); ok {
		if _, err := link.Parse(request.Link); err != nil {
			t.Errorf("link in the invitation: %v", err)
		}
	}
	if v.Plaintext == nil {
		return
	}
	p, numbered := checkPlaintext(t, v.Plaintext).(Numbered)
	want := Hash(*last)
	if len(*last) > 0 && numbered && bytes.Equal(p.Previous, want[:]) != *v.PreviousIsHash {
		t.Errorf("previous %x, hash of the message before %x", p.Previous, want)
	}
	// A ratchet key counts in the sender's chain of hashes although it has no plaintext.
	if want := Hash(RatchetInfo{}.Append(nil)); len(*last) == 0 && numbered && !bytes.Equal(p.Previous, want[:]) {
		t.Errorf("previous %x, hash of a ratchet key %x", p.Previous, want)
	}
	*last = v.Plaintext
}

func TestBoxVectors(t *testing.T) {
	type vector struct {
		Key, Nonce, Plaintext, Box hexBytes
		DHSecret                   hexBytes `json:"dh_secret"`
		Plain                      hexBytes `json:"box_without_padding"`
		Padded                     int      `json:"padded_length"`
	}
	var file struct {
		Box       vector
		Symmetric vector `json:"symmetric_box"`
	}
	load(t, "boxes.json", &file)
	file.Symmetric.DHSecret = file.Symmetric.Key
	for _, v := range []vector{file.Box, file.Symmetric} {
		secret := box.Secret(v.DHSecret)
		sealed, err := box.SealPadded(nil, &secret, v.Nonce, v.Plaintext, v.Padded)
		if err != nil || !bytes.Equal(sealed, v.Box) {
			t.Errorf("%x, %v", sealed, err)
		}
		if content, err := box.OpenPadded(&secret, v.Nonce, v.Box); err != nil || !bytes.Equal(content, v.Plaintext) {
			t.Errorf("%q, %v", content, err)
		}
		if v.Plain != nil && !bytes.Equal(box.Seal(nil, &secret, v.Nonce, v.Plaintext), v.Plain) {
			t.Error("box without padding")
		}
	}
}
