package ratchet

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/coterie-im/coterie/agent/ratchet/sntrup761"
	"github.com/coterie-im/coterie/internal/kv"
	"github.com/coterie-im/coterie/internal/wire"
)

// Recorded values, see testdata/README.md.

type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil || s == nil {
		return err
	}
	d, err := hex.DecodeString(*s)
	*h = d
	return err
}

type base64Bytes []byte

func (h *base64Bytes) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	d, err := base64.URLEncoding.DecodeString(s)
	*h = d
	return err
}

type vectorChain struct {
	Peer      hexBytes `json:"peer_public"`
	Key       hexBytes `json:"chain_key"`
	HeaderKey hexBytes `json:"header_key"`
}

type vectorKEM struct {
	Public   hexBytes `json:"own_public"`
	Private  hexBytes `json:"own_secret"`
	Accepted *struct {
		Ciphertext   hexBytes `json:"ciphertext"`
		PeerHash     hexBytes `json:"peer_public_sha256"`
		SharedSecret hexBytes `json:"shared_secret"`
	}
}

type vectorState struct {
	Version      uint16       `json:"version"`
	MaxVersion   uint16       `json:"max_version"`
	AD           hexBytes     `json:"associated_data"`
	OwnPrivate   hexBytes     `json:"own_private"` // absent: unchanged
	OwnPublic    hexBytes     `json:"own_public"`
	Root         hexBytes     `json:"root_key"`
	Send         *vectorChain `json:"send"`
	Receive      *vectorChain `json:"receive"`
	Ns, Nr, Pn   uint32
	NextSend     hexBytes        `json:"next_send_header_key"`
	NextReceive  hexBytes        `json:"next_receive_header_key"`
	LargeHeaders bool            `json:"large_headers"`
	KEMWanted    bool            `json:"kem_wanted"`
	KEMSending   *bool           `json:"kem_used_send"`
	KEMReceiving *bool           `json:"kem_used_receive"`
	KEM          json.RawMessage `json:"kem"` // absent: unchanged
}

// kem returns the recorded KEM state; recorded is false if it is unchanged.
func (v *vectorState) kem(t testing.TB) (k *vectorKEM, recorded bool) {
	if v.KEM == nil {
		return nil, false
	}
	if err := json.Unmarshal(v.KEM, &k); err != nil {
		t.Fatal(err)
	}
	return k, true
}

type vectorKEMParams struct {
	State        string
	Public       hexBytes
	Private      hexBytes `json:"secret"`
	Ciphertext   hexBytes
	SharedSecret hexBytes `json:"shared_secret"`
}

type vectorAgreement struct {
	Name          string
	Version       uint16 `json:"e2e_version"`
	DH1, DH2, DH3 hexBytes
	Initiator     struct {
		Private1    hexBytes `json:"private_1"`
		Private2    hexBytes `json:"private_2"`
		Public1     hexBytes `json:"public_1"`
		Public2     hexBytes `json:"public_2"`
		KEM         *vectorKEMParams
		Params      hexBytes `json:"params_binary"`
		ParamsRange hexBytes `json:"params_range_binary"`
		ParamsText  string   `json:"params_text"`
	}
	Joiner struct {
		Private1       hexBytes `json:"private_1"`
		Private2       hexBytes `json:"private_2"`
		Public1        hexBytes `json:"public_1"`
		Public2        hexBytes `json:"public_2"`
		RatchetPrivate hexBytes `json:"ratchet_private"`
		KEM            *vectorKEMParams
		Params         hexBytes `json:"params_binary"`
	}
	InitiatorResult *vectorResult `json:"initiator_result"`
	JoinerResult    *vectorResult `json:"joiner_result"`
	InitiatorState  *vectorState  `json:"initiator_ratchet"`
	JoinerState     *vectorState  `json:"joiner_ratchet"`
}

type vectorResult struct {
	AD            hexBytes `json:"associated_data"`
	HeaderKey     hexBytes `json:"header_key_a"`
	NextHeaderKey hexBytes `json:"next_header_key_b"`
	Root          hexBytes `json:"root_key"`
	KEMSecret     hexBytes `json:"kem_shared_secret"`
	SecurityCode  hexBytes `json:"security_code"`
}

func readVectors(t testing.TB, file string, v any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func wantBytes(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n got %x\nwant %x", what, got, want)
	}
}

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// compare checks every recorded field of a state.
func (v *vectorState) compare(t testing.TB, s *State) {
	t.Helper()
	want(t, "version", s.version, v.Version)
	want(t, "max version", s.maxVersion, v.MaxVersion)
	if v.AD != nil {
		wantBytes(t, "associated data", s.ad[:], v.AD)
	}
	if v.OwnPrivate != nil {
		wantBytes(t, "own private", s.own.private[:], v.OwnPrivate)
	}
	if v.OwnPublic != nil {
		wantBytes(t, "own public", s.own.public[:], v.OwnPublic)
	}
	wantBytes(t, "root", s.root[:], v.Root)
	wantBytes(t, "next sending header key", s.nextSend[:], v.NextSend)
	wantBytes(t, "next receiving header key", s.nextReceive[:], v.NextReceive)
	v.Send.compare(t, "sending", s.canSend, &s.sending)
	v.Receive.compare(t, "receiving", s.canReceive, &s.receiving)
	want(t, "ns", s.ns, v.Ns)
	want(t, "nr", s.nr, v.Nr)
	want(t, "pn", s.pn, v.Pn)
	want(t, "large headers", s.largeHeaders, v.LargeHeaders)
	want(t, "KEM wanted", s.kemWanted, v.KEMWanted)
	if v.KEMSending != nil {
		want(t, "KEM sending", s.kemSending, *v.KEMSending)
		want(t, "KEM receiving", s.kemReceiving, *v.KEMReceiving)
	}
}

func (v *vectorChain) compare(t testing.TB, what string, present bool, c *chain) {
	t.Helper()
	want(t, what+" chain", present, v != nil)
	if present && v != nil {
		wantBytes(t, what+" chain key", c.key[:], v.Key)
		wantBytes(t, what+" header key", c.headerKey[:], v.HeaderKey)
	}
}

// compareKEM checks the KEM part of a state.
func (v *vectorKEM) compare(t testing.TB, s *State) {
	t.Helper()
	if (v == nil) != (s.kemState == nil) {
		t.Fatalf("KEM state: got %v, want %v", s.kemState != nil, v != nil)
	}
	if v == nil {
		return
	}
	wantBytes(t, "KEM public", s.kemState.public, v.Public)
	wantBytes(t, "KEM private", s.kemState.private, v.Private)
	if (v.Accepted == nil) != (s.kemState.ciphertext == nil) {
		t.Fatalf("KEM accepted: got %v, want %v", s.kemState.ciphertext != nil, v.Accepted != nil)
	}
	if v.Accepted != nil {
		wantBytes(t, "KEM ciphertext", s.kemState.ciphertext, v.Accepted.Ciphertext)
	}
}

// recordedKEM is sntrup761 that plays back the recorded choices of one step and refuses to make any other.
type recordedKEM struct {
	sntrup761.KEM
	t          testing.TB
	public     []byte // next key pair
	private    []byte
	ciphertext []byte // next encapsulation
	secret     []byte
	peerHash   []byte // of the key that it must be for; nil: any
}

func (k *recordedKEM) GenerateKey(io.Reader) (public, private []byte, err error) {
	if k.public == nil {
		k.t.Fatal("KEM key generated where none was")
	}
	public, private = bytes.Clone(k.public), bytes.Clone(k.private)
	k.public = nil
	return public, private, nil
}

func (k *recordedKEM) Encapsulate(_ io.Reader, public []byte) (ciphertext, secret []byte, err error) {
	if k.ciphertext == nil {
		k.t.Fatal("KEM secret encapsulated where none was")
	}
	if hash := sha256.Sum256(public); k.peerHash != nil {
		wantBytes(k.t, "KEM peer key", hash[:], k.peerHash)
	}
	ciphertext, secret = bytes.Clone(k.ciphertext), bytes.Clone(k.secret)
	k.ciphertext = nil
	return ciphertext, secret, nil
}

func newRecordedKEM(t testing.TB) *recordedKEM { return &recordedKEM{t: t} }

// next sets what the coming step must choose.
func (k *recordedKEM) next(v *vectorKEM) {
	k.public, k.private, k.ciphertext, k.secret, k.peerHash = nil, nil, nil, nil, nil
	if v == nil {
		return
	}
	k.public, k.private = v.Public, v.Private
	if v.Accepted != nil {
		k.ciphertext, k.secret, k.peerHash = v.Accepted.Ciphertext, v.Accepted.SharedSecret, v.Accepted.PeerHash
	}
}

// done checks that everything that was chosen has been used.
func (k *recordedKEM) done() {
	k.t.Helper()
	if k.public != nil || k.ciphertext != nil {
		k.t.Error("recorded KEM choice not used")
	}
}

func recordedKeyPair(t testing.TB, private []byte) keyPair {
	t.Helper()
	k, err := generateKeyPair(bytes.NewReader(private))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (v *vectorAgreement) initiatorKeys(t testing.TB) *Keys {
	k := &Keys{first: recordedKeyPair(t, v.Initiator.Private1), second: recordedKeyPair(t, v.Initiator.Private2)}
	if v.Initiator.KEM != nil {
		k.kem = &kemState{public: v.Initiator.KEM.Public, private: v.Initiator.KEM.Private}
	}
	return k
}

// run makes both states and compares everything recorded about the agreement. Both use kem.
func (v *vectorAgreement) run(t testing.TB, kem *recordedKEM) (initiator, joiner *State) {
	t.Helper()
	keys := v.initiatorKeys(t)
	wantBytes(t, "initiator public 1", keys.first.public[:], v.Initiator.Public1)
	wantBytes(t, "initiator public 2", keys.second.public[:], v.Initiator.Public2)
	invitation, err := ParseText(v.Initiator.ParamsText)
	if err != nil {
		t.Fatal(err)
	}
	checkParams(t, keys.Params(invitation.Versions), v.Version, v.Initiator.ParamsText, v.Initiator.ParamsRange, v.Initiator.Params)

	o := Options{MaxVersion: v.JoinerState.MaxVersion, KEM: kem}
	if k := v.Joiner.KEM; k != nil {
		o.PQ = true
		kem.public, kem.private, kem.ciphertext, kem.secret = k.Public, k.Private, k.Ciphertext, k.SharedSecret
	}
	var joinerParams Params
	rand := bytes.NewReader(bytes.Join([][]byte{v.Joiner.Private1, v.Joiner.Private2, v.Joiner.RatchetPrivate}, nil))
	if k := v.Joiner.KEM; k != nil && k.Ciphertext == nil && v.Initiator.KEM != nil {
		// Both propose, which is how keys meet in a re-synchronisation.
		own, err := GenerateKeys(rand, kem)
		if err != nil {
			t.Fatal(err)
		}
		if joiner, err = newSending(rand, own, nil, invitation, v.Version, o); err != nil {
			t.Fatal(err)
		}
		joinerParams = own.Params(VersionRange{v.Version, v.Version})
	} else if joiner, joinerParams, err = NewJoiner(rand, invitation, o); err != nil {
		t.Fatal(err)
	}
	kem.done()
	if rand.Len() > 0 {
		t.Error("joiner has not used all private keys")
	}
	wantBytes(t, "joiner parameters", joinerParams.AppendSingle(nil), v.Joiner.Params)
	r := wire.NewReader(v.Joiner.Params)
	joinerParams = ReadSingle(r)
	if r.Done() != nil {
		t.Fatal(r.Done())
	}
	wantBytes(t, "joiner public 1", joinerParams.Key1.Raw(), v.Joiner.Public1)
	wantBytes(t, "joiner public 2", joinerParams.Key2.Raw(), v.Joiner.Public2)

	initiator, err = NewInitiator(keys, joinerParams, Options{MaxVersion: v.InitiatorState.MaxVersion, KEM: kem, PQ: v.InitiatorState.LargeHeaders})
	if err != nil {
		t.Fatal(err)
	}
	for _, side := range []struct {
		s      *State
		state  *vectorState
		result *vectorResult
	}{{initiator, v.InitiatorState, v.InitiatorResult}, {joiner, v.JoinerState, v.JoinerResult}} {
		side.state.compare(t, side.s)
		k, _ := side.state.kem(t)
		k.compare(t, side.s)
		ad, code := side.s.AD(), side.s.SecurityCode()
		wantBytes(t, "associated data", ad[:], side.result.AD)
		wantBytes(t, "security code", code[:], side.result.SecurityCode)
	}
	v.checkResult(t, keys, joinerParams)
	return initiator, joiner
}

// checkResult compares the shared secrets and what the agreement makes of them.
func (v *vectorAgreement) checkResult(t testing.TB, keys *Keys, joiner Params) {
	t.Helper()
	s1, s2 := rawKey(joiner.Key1), rawKey(joiner.Key2)
	for _, d := range []struct {
		own  *keyPair
		peer *[keySize]byte
		want hexBytes
	}{{&keys.first, &s2, v.DH1}, {&keys.second, &s1, v.DH2}, {&keys.second, &s2, v.DH3}} {
		shared, err := d.own.shared(d.peer)
		if err != nil {
			t.Fatal(err)
		}
		wantBytes(t, "shared secret", shared[:], d.want)
	}
	headerKey, next, root := agreementKDF((*[56]byte)(v.DH1), (*[56]byte)(v.DH2), (*[56]byte)(v.DH3), v.JoinerResult.KEMSecret)
	for _, r := range []*vectorResult{v.InitiatorResult, v.JoinerResult} {
		wantBytes(t, "header key", headerKey[:], r.HeaderKey)
		wantBytes(t, "next header key", next[:], r.NextHeaderKey)
		wantBytes(t, "root", root[:], r.Root)
	}
}

// checkParams compares all encodings of parameters, and reads each of them back.
func checkParams(t testing.TB, p Params, version uint16, text string, rangeForm, single []byte) {
	t.Helper()
	want(t, "text parameters", p.Text(), text)
	wantBytes(t, "range parameters", p.AppendRange(nil), rangeForm)
	wantBytes(t, "single parameters", p.At(version).AppendSingle(nil), single)
	fromText, err := ParseText(text)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, "parameters read from text", fromText.AppendRange(nil), rangeForm)
	r := wire.NewReader(rangeForm)
	fromRange := ReadRange(r)
	if r.Done() != nil {
		t.Fatal(r.Done())
	}
	want(t, "parameters read from a range", fromRange.Text(), text)
	r = wire.NewReader(single)
	fromSingle := ReadSingle(r)
	if r.Done() != nil {
		t.Fatal(r.Done())
	}
	wantBytes(t, "parameters read from the single form", fromSingle.AppendSingle(nil), single)
}

// reload takes the state of a party through one way of storing it.
type reload func(t testing.TB, party string, s *State, kem KEM) *State

func keep(_ testing.TB, _ string, s *State, _ KEM) *State { return s }

func encodeDecode(t testing.TB, _ string, s *State, kem KEM) *State {
	t.Helper()
	b := s.AppendBinary(nil)
	d, err := Decode(b, kem)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, "state encoded again", d.AppendBinary(nil), b)
	return d
}

func saveLoad() reload {
	tx := &kv.Memory{}
	return func(t testing.TB, party string, s *State, kem KEM) *State {
		t.Helper()
		s.Save(tx, []byte(party))
		d, err := Load(tx, []byte(party), kem)
		if err != nil {
			t.Fatal(err)
		}
		wantBytes(t, "state loaded", d.AppendBinary(nil), s.AppendBinary(nil))
		return d
	}
}

// errorName returns the recorded name of an error of Decrypt and NextSending.
func errorName(err error) string {
	var count *CountError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &count) && errors.Is(err, ErrEarlier):
		return fmt.Sprintf("earlier %d", count.Count)
	case errors.As(err, &count) && errors.Is(err, ErrTooManySkipped):
		return fmt.Sprintf("too many skipped %d", count.Count)
	}
	names := map[error]string{
		ErrBadMessage: "parse", ErrHeader: "header", ErrDuplicate: "duplicate",
		ErrAuthentication: "body authentication", ErrNoSendingChain: "no sending chain",
	}
	if n := names[err]; n != "" {
		return n
	}
	return err.Error()
}
