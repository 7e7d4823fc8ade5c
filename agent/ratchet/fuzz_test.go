package ratchet

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/coterie-im/coterie/internal/wire"
)

// fuzzStates are states with all the parts that a stored state can have.
func fuzzStates(t testing.TB) []*State {
	plainInitiator, plainJoiner, _ := pair(t, nil)
	initiator, joiner, random := pair(t, toyKEM{})
	for range 3 {
		sealNext(t, joiner, PQKeep, 40, nil)
	}
	exchange(t, random, joiner, initiator)
	exchange(t, random, initiator, joiner)
	sealNext(t, joiner, PQKeep, 40, nil)
	exchange(t, random, joiner, initiator)
	return []*State{plainInitiator, plainJoiner, initiator, joiner}
}

func FuzzDecode(f *testing.F) {
	for _, s := range fuzzStates(f) {
		f.Add(s.AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(b, toyKEM{})
		if err != nil {
			if !errors.Is(err, ErrState) {
				t.Fatal(err)
			}
			return
		}
		wantBytes(t, "state encoded again", s.AppendBinary(nil), b)
		if m, err := s.NextSending(PQOn, 40); err == nil {
			stored := m.AppendBinary(nil)
			if m, err = DecodeMessageKeys(stored); err != nil {
				t.Fatal(err)
			}
			wantBytes(t, "message keys encoded again", m.AppendBinary(nil), stored)
		}
	})
}

func FuzzDecodeKeys(f *testing.F) {
	for _, kem := range []KEM{nil, toyKEM{}} {
		k, err := GenerateKeys(rand.NewChaCha8([32]byte{}), kem)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(k.AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := DecodeKeys(b)
		if err == nil {
			wantBytes(t, "keys encoded again", k.AppendBinary(nil), b)
		} else if !errors.Is(err, ErrState) {
			t.Fatal(err)
		}
	})
}

func FuzzDecodeMessageKeys(f *testing.F) {
	for _, s := range fuzzStates(f) {
		m, err := s.NextSending(PQKeep, 100)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessageKeys(b)
		if err != nil {
			if !errors.Is(err, ErrState) {
				t.Fatal(err)
			}
			return
		}
		wantBytes(t, "message keys encoded again", m.AppendBinary(nil), b)
		sealed, err := m.Seal(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseMessage(sealed); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzParams(f *testing.F) {
	for _, kem := range []KEM{nil, toyKEM{}} {
		p := testParams(f, kem)
		f.Add(p.At(2).AppendSingle(nil))
		f.Add(p.At(3).AppendSingle(nil))
		f.Add(p.AppendRange(nil))
		p.KEM.Ciphertext = make([]byte, 34)
		f.Add(p.At(3).AppendSingle(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		if p := ReadSingle(r); r.Err() == nil {
			wantBytes(t, "single parameters encoded again", p.AppendSingle(nil), b[:len(b)-r.Len()])
		}
		r = wire.NewReader(b)
		if p := ReadRange(r); r.Err() == nil {
			wantBytes(t, "range parameters encoded again", p.AppendRange(nil), b[:len(b)-r.Len()])
		}
	})
}

func FuzzParseText(f *testing.F) {
	f.Add(testParams(f, nil).Text())
	f.Add(testParams(f, toyKEM{}).Text())
	f.Add("v=2;x3dh=%41,&kem_key=")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseText(s)
		if err != nil {
			if !errors.Is(err, wire.ErrSyntax) {
				t.Fatal(err)
			}
			return
		}
		again, err := ParseText(p.Text())
		if err != nil {
			t.Fatal(err)
		}
		wantBytes(t, "parameters", again.AppendRange(nil), p.AppendRange(nil))
	})
}

func FuzzParseHeader(f *testing.F) {
	for _, s := range fuzzStates(f) {
		h := header{maxVersion: 3, key: s.own.spki(), previous: s.pn, number: s.ns}
		if s.kemState != nil {
			h.kem = s.kemState.params()
		}
		f.Add(h.append(nil, 2), uint16(2))
		f.Add(h.append(nil, 3), uint16(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, version uint16) {
		h, err := parseHeader(b, version)
		if err == nil {
			wantBytes(t, "header encoded again", h.append(nil, version), b)
		} else if !errors.Is(err, ErrHeader) {
			t.Fatal(err)
		}
	})
}

// FuzzDecrypt gives a state messages that nobody with the keys has made: none opens, and none changes the state unless
// it begins as a true one.
func FuzzDecrypt(f *testing.F) {
	initiator, joiner, random := pair(f, nil)
	exchange(f, random, initiator, joiner)
	next := sealNext(f, joiner, PQKeep, 40, []byte("next"))
	f.Add(next[:len(next)-1])
	f.Add(sealNext(f, joiner, PQKeep, 40, []byte("skipped")))
	f.Add([]byte{0x20})
	state := initiator.AppendBinary(nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(state, nil)
		if err != nil {
			t.Fatal(err)
		}
		random := rand.NewChaCha8([32]byte{})
		_, err = s.Decrypt(random, b)
		changed := !bytes.Equal(s.AppendBinary(nil), state)
		switch {
		case errors.Is(err, ErrBadMessage), errors.Is(err, ErrHeader):
			if changed {
				t.Error("state changed")
			}
		case err != nil && !errors.Is(err, ErrAuthentication):
			t.Error(err)
		}
		if _, err := Decode(s.AppendBinary(nil), nil); err != nil {
			t.Error(err)
		}
	})
}
