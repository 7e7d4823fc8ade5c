package ratchet

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"testing"

	"github.com/coterie-im/coterie/internal/wire"
)

func TestAgreementVectors(t *testing.T) {
	var file struct{ Cases []vectorAgreement }
	readVectors(t, "agreement.json", &file)
	ran := 0
	for _, v := range file.Cases {
		if v.InitiatorState == nil {
			continue // see TestAgreementWithGivenKEMSecret and TestAppendixMessages
		}
		ran++
		t.Run(v.Name, func(t *testing.T) { v.run(t, newRecordedKEM(t)) })
	}
	if ran != 7 {
		t.Errorf("%d cases", ran)
	}
}

// ascending are the private keys of the appendix: first, first+1, ...
func ascending(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func appendixKeys(t testing.TB) *Keys {
	return &Keys{first: recordedKeyPair(t, ascending(1, 56)), second: recordedKeyPair(t, ascending(0x41, 56))}
}

// appendixJoiner is the joiner's state of the appendix, with a KEM if one is given.
func appendixJoiner(t testing.TB, kem KEM) (*State, Params) {
	t.Helper()
	invitation := appendixKeys(t).Params(VersionRange{2, 3})
	if kem != nil {
		size, _, _ := kem.Sizes()
		invitation.KEM.Public = make([]byte, size)
	}
	rand := bytes.NewReader(bytes.Join([][]byte{ascending(0x81, 56), ascending(0xc1, 56), ascending(0x11, 56)}, nil))
	s, params, err := NewJoiner(rand, invitation, Options{KEM: kem, PQ: kem != nil})
	if err != nil {
		t.Fatal(err)
	}
	return s, params
}

func readAppendix(t testing.TB) map[string]hexBytes {
	t.Helper()
	var file map[string]json.RawMessage
	readVectors(t, "agent.json", &file)
	values := map[string]hexBytes{}
	for name, v := range file {
		var h hexBytes
		if json.Unmarshal(v, &h) == nil { // others are texts and lengths
			values[name] = h
		}
	}
	return values
}

func TestAgreementWithGivenKEMSecret(t *testing.T) {
	var file struct{ Cases []vectorAgreement }
	readVectors(t, "agreement.json", &file)
	v := file.Cases[1]
	kem := newRecordedKEM(t)
	kem.public, kem.private = make([]byte, 1158), make([]byte, 1763)
	kem.ciphertext, kem.secret = make([]byte, 1039), ascending(0xa0, 32)
	s, _ := appendixJoiner(t, kem)
	v.JoinerState.compare(t, s)
	ad, code := s.AD(), s.SecurityCode()
	wantBytes(t, "associated data", ad[:], v.JoinerResult.AD)
	wantBytes(t, "security code", code[:], v.JoinerResult.SecurityCode)

	a := readAppendix(t)
	headerKey, next, root := agreementKDF((*[56]byte)(a["dh1"]), (*[56]byte)(a["dh2"]), (*[56]byte)(a["dh3"]), ascending(0xa0, 32))
	wantBytes(t, "header key", headerKey[:], a["x3dh_kem_hk"])
	wantBytes(t, "next header key", next[:], a["x3dh_kem_nhk"])
	wantBytes(t, "root", root[:], a["x3dh_kem_sk"])
	wantBytes(t, "header key", headerKey[:], v.JoinerResult.HeaderKey)
	wantBytes(t, "next header key", next[:], v.JoinerResult.NextHeaderKey)
	wantBytes(t, "root", root[:], v.JoinerResult.Root)
	wantBytes(t, "root after step", s.root[:], a["rootkem_rk"])
	wantBytes(t, "sending chain", s.sending.key[:], a["rootkem_cks"])
	wantBytes(t, "next sending header key", s.nextSend[:], a["rootkem_nhks"])
}

func TestAppendixAgreement(t *testing.T) {
	a := readAppendix(t)
	keys := appendixKeys(t)
	s, params := appendixJoiner(t, nil)
	wantBytes(t, "r1", keys.first.public[:], a["rk1_pub"])
	wantBytes(t, "r2", keys.second.public[:], a["rk2_pub"])
	wantBytes(t, "r1 SPKI", keys.first.spki().DER(), a["rk1_spki"])
	wantBytes(t, "s1", params.Key1.Raw(), a["sk1_pub"])
	wantBytes(t, "s2", params.Key2.Raw(), a["sk2_pub"])
	wantBytes(t, "s3", s.own.public[:], a["dhrs_pub"])
	wantBytes(t, "joiner parameters", params.AppendSingle(nil), a["e2e_params_bin"])
	invitation := keys.Params(VersionRange{2, 3}).AppendRange(nil)
	if !bytes.HasSuffix(a["invitation_bin"], invitation) {
		t.Errorf("invitation parameters %x", invitation)
	}
	var text struct {
		Text string `json:"e2e_text"`
	}
	readVectors(t, "agent.json", &text)
	want(t, "invitation parameters", keys.Params(VersionRange{2, 3}).Text(), text.Text)

	ad, code := s.AD(), s.SecurityCode()
	wantBytes(t, "associated data", ad[:], a["ad"])
	wantBytes(t, "security code", code[:], a["ad_sha256"])
	headerKey, next, root := agreementKDF((*[56]byte)(a["dh1"]), (*[56]byte)(a["dh2"]), (*[56]byte)(a["dh3"]), nil)
	wantBytes(t, "header key", headerKey[:], a["x3dh_hk"])
	wantBytes(t, "next header key", next[:], a["x3dh_nhk"])
	wantBytes(t, "root", root[:], a["x3dh_sk"])
	r2 := rawKey(keys.second.spki())
	shared, err := s.own.shared(&r2)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, "root shared secret", shared[:], a["root_dh"])
	wantBytes(t, "root after step", s.root[:], a["root_rk"])
	wantBytes(t, "sending chain", s.sending.key[:], a["root_cks"])
	wantBytes(t, "next sending header key", s.nextSend[:], a["root_nhks"])
}

// TestAppendixMessages sends the two messages of the appendix at test and at real lengths, and has the initiator answer.
func TestAppendixMessages(t *testing.T) {
	a := readAppendix(t)
	joiner, params := appendixJoiner(t, nil)
	joiner2 := encodeDecode(t, "", joiner, nil)
	message0 := sealNext(t, joiner, PQKeep, 100, []byte("hello"))
	wantBytes(t, "message 0", message0, a["ratchet_msg_v3_pad100"])
	wantBytes(t, "chain after message 0", joiner.sending.key[:], a["ck1"])
	m, err := parseMessage(message0)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, "encrypted header", m.encHeader, a["enc_hdr_v3"])
	wantBytes(t, "header IV", m.headerIV, a["hiv0"])
	header, ok := open(&joiner.sending.headerKey, m.headerIV, m.headerTag, m.headerContent, joiner.ad[:])
	if !ok {
		t.Fatal("header does not open")
	}
	wantBytes(t, "header", header, a["hdr_v3_plain"])

	confirmation := sealNext(t, joiner2, PQKeep, 14832, a["agent_conn_info_reply"])
	wantHash(t, "confirmation", confirmation, 14974, a["encinfo_sha256"])
	wantHash(t, "first message", sealNext(t, joiner2, PQKeep, 15840, a["agent_msg_amsg"]), 15982, a["encmsg_sha256"])

	initiator, err := NewInitiator(appendixKeys(t), params, Options{})
	if err != nil {
		t.Fatal(err)
	}
	plaintext, err := initiator.Decrypt(bytes.NewReader(ascending(0x31, 56)), message0)
	if err != nil || string(plaintext) != "hello" {
		t.Fatalf("%q, %v", plaintext, err)
	}
	wantBytes(t, "r3", initiator.own.public[:], a["init_dhrs_pub"])
	shared, err := initiator.own.shared(&joiner.own.public)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, "second root shared secret", shared[:], a["init_dh2"])
	wantBytes(t, "root 2", initiator.root[:], a["init_rk2"])
	wantBytes(t, "initiator's sending chain", initiator.sending.key[:], a["init_cks"])
	wantBytes(t, "initiator's next header key", initiator.nextSend[:], a["init_nhks"])
	_, key, bodyIV, headerIV := chainKDF(&initiator.sending.key)
	wantBytes(t, "initiator's message key", key[:], a["init_mk0"])
	wantBytes(t, "initiator's body IV", bodyIV[:], a["init_iv0"])
	wantBytes(t, "initiator's header IV", headerIV[:], a["init_hiv0"])
	wantBytes(t, "initiator's reply", sealNext(t, initiator, PQKeep, 100, []byte("hi back")), a["init_reply_pad100"])
}

// TestAppendixLayoutOfVersion2 repeats message 0 as version 2 would lay it out, with the same keys.
func TestAppendixLayoutOfVersion2(t *testing.T) {
	a := readAppendix(t)
	s, _ := appendixJoiner(t, nil)
	s.version, s.maxVersion = 2, 2
	m, err := s.NextSending(PQKeep, 100)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, "message key", m.key[:], a["mk0"])
	wantBytes(t, "body IV", m.iv[:], a["iv0"])
	want(t, "encrypted header length", len(m.encHeader), 123)
	message, err := m.Seal(nil, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, "message 0 of version 2", message, a["ratchet_msg_v2_pad100"])
	h := header{maxVersion: 2, key: s.own.spki()}
	wantBytes(t, "header of version 2", h.append(nil, 2), a["hdr_v2_plain"])
}

// sealNext makes the keys of the next message, takes them through storage, and seals.
func sealNext(t testing.TB, s *State, pq PQ, padded int, plaintext []byte) []byte {
	t.Helper()
	m, err := s.NextSending(pq, padded)
	if err != nil {
		t.Fatal(err)
	}
	stored := m.AppendBinary(nil)
	if m, err = DecodeMessageKeys(stored); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, "message keys encoded again", m.AppendBinary(nil), stored)
	b, err := m.Seal([]byte("envelope"), plaintext)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimPrefix(b, []byte("envelope"))
}

func wantHash(t testing.TB, what string, b []byte, length int, hash []byte) {
	t.Helper()
	want(t, what+" length", len(b), length)
	sum := sha256.Sum256(b)
	wantBytes(t, what, sum[:], hash)
}

func TestHeaderSizes(t *testing.T) {
	var file struct {
		Sizes []struct {
			Case, What       string
			Header           hexBytes `json:"header_plaintext"`
			HeaderLength     int      `json:"header_plaintext_length"`
			EncHeaderLength  int      `json:"encrypted_header_length"`
			MessageLength    int      `json:"message_length"`
			PaddedBodyLength int      `json:"padded_length"`
		}
	}
	readVectors(t, "header-sizes.json", &file)
	setups := map[string]func(s *State){
		"v2":              func(s *State) { s.version, s.maxVersion = 2, 2 },
		"v3 small header": func(*State) {},
		"v3 large header, KEM proposed": func(s *State) {
			s.largeHeaders, s.kemState = true, &kemState{public: make([]byte, 1158)}
		},
		"v3 large header, KEM accepted": func(s *State) {
			s.largeHeaders, s.kemState = true, &kemState{public: make([]byte, 1158), ciphertext: make([]byte, 1039)}
		},
	}
	versions := map[string]uint16{"v2": 2, "v3 without KEM": 3, "v3 proposed": 3, "v3 accepted": 3}
	for _, v := range file.Sizes {
		t.Run(v.Case+" "+v.What, func(t *testing.T) {
			if v.Header != nil {
				version, ok := versions[v.Case]
				if !ok {
					t.Fatal("unknown case")
				}
				want(t, "header length", len(v.Header), v.HeaderLength)
				h, err := parseHeader(v.Header, version)
				if err != nil {
					t.Fatal(err)
				}
				wantBytes(t, "header encoded again", h.append(nil, version), v.Header)
				return
			}
			s, _ := appendixJoiner(t, nil)
			setups[v.Case](s)
			m, err := s.NextSending(PQKeep, v.PaddedBodyLength)
			if err != nil {
				t.Fatal(err)
			}
			want(t, "encrypted header length", len(m.encHeader), v.EncHeaderLength)
			b, err := m.Seal(nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			want(t, "message length", len(b), v.MessageLength)
			if _, err := m.Seal(nil, make([]byte, v.PaddedBodyLength-1)); err != wire.ErrTooLarge {
				t.Errorf("error %v for a body that does not fit", err)
			}
		})
	}
}
