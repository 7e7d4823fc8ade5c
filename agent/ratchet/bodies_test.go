package ratchet

import (
	"bytes"
	"io"
	"testing"

	"github.com/coterie-im/coterie/internal/wire"
)

// TestClientBodies encrypts and decrypts what a library of the public network composed, at real lengths.
func TestClientBodies(t *testing.T) {
	var file struct {
		Connections []struct {
			Name      string
			Agreement vectorAgreement
			Messages  []struct {
				Name, By  string
				Message   base64Bytes `json:"message_base64url"`
				Plaintext hexBytes
				State     vectorState `json:"receiver_ratchet_after"`
			}
		}
	}
	readVectors(t, "bodies-client.json", &file)
	want(t, "connections", len(file.Connections), 2)
	for _, c := range file.Connections {
		t.Run(c.Name, func(t *testing.T) {
			initiator, joiner := c.Agreement.run(t, newRecordedKEM(t))
			var lastKEM [2]*vectorKEM
			for _, m := range c.Messages {
				sender, receiver, i := joiner, initiator, 0
				if m.By == "initiator" {
					sender, receiver, i = initiator, joiner, 1
				}
				parsed, err := parseMessage(m.Message)
				if err != nil {
					t.Fatal(err)
				}
				wantBytes(t, m.Name, sealNext(t, sender, PQKeep, len(parsed.body), m.Plaintext), m.Message)

				kem := newRecordedKEM(t)
				receiver.kem = kem
				var random io.Reader = noRandomness{t}
				if m.State.OwnPrivate != nil {
					random = bytes.NewReader(m.State.OwnPrivate)
				}
				if k, recorded := m.State.kem(t); recorded {
					kem.next(k)
					lastKEM[i] = k
				}
				plaintext, err := receiver.Decrypt(random, m.Message)
				if err != nil {
					t.Fatalf("%s: %v", m.Name, err)
				}
				kem.done()
				wantBytes(t, m.Name+" plaintext", plaintext, m.Plaintext)
				m.State.compare(t, receiver)
				lastKEM[i].compare(t, receiver)
			}
		})
	}
}

// TestLiveBodies decrypts what a running agent of the public network sent.
func TestLiveBodies(t *testing.T) {
	var file struct {
		Connections []struct {
			Name    string
			Initial vectorState `json:"initial_receiver_ratchet"`
			Private *struct {
				R1, R2    hexBytes
				KEMSecret hexBytes `json:"kem_secret"`
			}
			Messages []struct {
				Name      string
				Message   base64Bytes `json:"message_base64url"`
				Plaintext hexBytes
				Params    hexBytes // with a joiner's confirmation
				NewKeys   struct {
					Own        hexBytes `json:"own_private"`
					Public     hexBytes `json:"kem_public"`
					Private    hexBytes `json:"kem_secret"`
					Ciphertext hexBytes `json:"kem_ciphertext"`
					Secret     hexBytes `json:"kem_shared_secret"`
				} `json:"receiver_new_keys"`
			}
		}
	}
	readVectors(t, "bodies-live.json", &file)
	want(t, "connections", len(file.Connections), 6)
	for _, c := range file.Connections {
		t.Run(c.Name, func(t *testing.T) {
			kem := newRecordedKEM(t)
			s := c.Initial.state(t, kem)
			if c.Private != nil {
				own := &Keys{first: recordedKeyPair(t, c.Private.R1), second: recordedKeyPair(t, c.Private.R2)}
				if k := c.Private.KEMSecret; k != nil {
					own.kem = &kemState{public: k[2*191:][:1158], private: k}
				}
				agreed, err := NewInitiator(own, ReadSingle(wire.NewReader(c.Messages[0].Params)), Options{KEM: kem, PQ: c.Initial.KEMWanted})
				if err != nil {
					t.Fatal(err)
				}
				wantBytes(t, "agreed state", agreed.AppendBinary(nil), s.AppendBinary(nil))
			}
			for _, m := range c.Messages {
				kem.public, kem.private, kem.ciphertext, kem.secret = m.NewKeys.Public, m.NewKeys.Private, m.NewKeys.Ciphertext, m.NewKeys.Secret
				var random io.Reader = noRandomness{t}
				if m.NewKeys.Own != nil {
					random = bytes.NewReader(m.NewKeys.Own)
				}
				plaintext, err := s.Decrypt(random, m.Message)
				if err != nil {
					t.Fatalf("%s: %v", m.Name, err)
				}
				kem.done()
				wantBytes(t, m.Name, plaintext, m.Plaintext)
			}
		})
	}
}

// state makes a State of recorded fields.
func (v *vectorState) state(t testing.TB, kem KEM) *State {
	t.Helper()
	s := &State{
		kem: kem, version: v.Version, maxVersion: v.MaxVersion, ad: [ADSize]byte(v.AD),
		own: recordedKeyPair(t, v.OwnPrivate), root: secret(v.Root),
		nextSend: secret(v.NextSend), nextReceive: secret(v.NextReceive), ns: v.Ns, nr: v.Nr, pn: v.Pn,
		largeHeaders: v.LargeHeaders, kemWanted: v.KEMWanted,
	}
	for _, c := range []struct {
		recorded *vectorChain
		chain    *chain
		present  *bool
	}{{v.Send, &s.sending, &s.canSend}, {v.Receive, &s.receiving, &s.canReceive}} {
		if c.recorded != nil {
			*c.chain, *c.present = chain{secret(c.recorded.Key), secret(c.recorded.HeaderKey)}, true
		}
	}
	if k, _ := v.kem(t); k != nil {
		s.kemState = &kemState{public: k.Public, private: k.Private}
		if k.Accepted != nil {
			s.kemState.ciphertext = k.Accepted.Ciphertext
		}
	}
	return s
}
