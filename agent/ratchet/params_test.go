package ratchet

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
)

func testParams(t testing.TB, kem KEM) Params {
	t.Helper()
	k, err := GenerateKeys(rand.NewChaCha8([32]byte{1}), kem)
	if err != nil {
		t.Fatal(err)
	}
	return k.Params(VersionRange{2, 3})
}

func TestTextVariants(t *testing.T) {
	p := testParams(t, toyKEM{})
	text := p.Text()
	want(t, "KEM key in text", strings.Contains(text, "&kem_key="), true)
	noKEM := p
	noKEM.KEM = KEMParams{}
	version2 := noKEM
	version2.Versions = VersionRange{2, 2}
	withKEM2 := p
	withKEM2.Versions = VersionRange{2, 2}
	want(t, "version 2 leaves the KEM out", withKEM2.Text(), version2.Text())

	k1, k2, found := strings.Cut(strings.Split(noKEM.Text(), "x3dh=")[1], ",")
	if !found {
		t.Fatal("no comma")
	}
	accepted := map[string]struct {
		text string
		want Params
	}{
		"as written":          {text, p},
		"unpadded keys":       {"v=2-3&x3dh=" + strings.TrimRight(k1, "=") + "," + strings.TrimRight(k2, "="), noKEM},
		"range of one":        {"v=2-2&x3dh=" + k1 + "," + k2, version2},
		"other order":         {"x3dh=" + k1 + "," + k2 + "&v=2-3", noKEM},
		"semicolon":           {"v=2-3;x3dh=" + k1 + "," + k2, noKEM},
		"unknown name":        {"v=2-3&new=1&x3dh=" + k1 + "," + k2, noKEM},
		"first counts":        {"v=2-3&v=9&x3dh=" + k1 + "," + k2, noKEM},
		"percent-encoded":     {"v=2-3&x3dh=" + strings.ReplaceAll(k1, "=", "%3D") + "%2C" + k2, noKEM},
		"KEM below version 3": {"v=2&x3dh=" + k1 + "," + k2 + "&kem_key=!", version2},
		"ciphertext in 2":     {"v=2&x3dh=" + k1 + "," + k2 + "&kem_ct=AAAA&kem_key=AAAA", version2},
		"empty pair":          {"v=2-3&x3dh=" + k1 + "," + k2 + "&", noKEM},
	}
	for name, test := range accepted {
		got, err := ParseText(test.text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wantBytes(t, name, got.AppendRange(nil), test.want.AppendRange(nil))
	}

	x25519, err := keys.New(keys.X25519, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	refused := map[string]string{
		"empty":            "",
		"no version":       "x3dh=" + k1 + "," + k2,
		"no keys":          "v=2-3",
		"one key":          "v=2-3&x3dh=" + k1,
		"three keys":       "v=2-3&x3dh=" + k1 + "," + k2 + "," + k1,
		"upside down":      "v=3-2&x3dh=" + k1 + "," + k2,
		"not a number":     "v=x&x3dh=" + k1 + "," + k2,
		"too high":         "v=65536&x3dh=" + k1 + "," + k2,
		"sign":             "v=+2&x3dh=" + k1 + "," + k2,
		"ciphertext":       text + "&kem_ct=AAAA",
		"empty KEM":        "v=2-3&x3dh=" + k1 + "," + k2 + "&kem_key=",
		"line break":       "v=2-3&x3dh=" + k1[:10] + "%0A" + k1[10:] + "," + k2,
		"half padding":     "v=2-3&x3dh=" + strings.TrimRight(k1, "=") + "===," + k2,
		"other algorithm":  "v=2-3&x3dh=" + base64.URLEncoding.EncodeToString(x25519.DER()) + "," + k2,
		"percent-encoding": "v=2-3&x3dh=%zz," + k2,
		"standard base64":  "v=2-3&x3dh=" + k1[:8] + "+/" + k1[10:] + "," + k2,
	}
	for name, text := range refused {
		if _, err := ParseText(text); !errors.Is(err, wire.ErrSyntax) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestBinaryParamsRefused(t *testing.T) {
	p := testParams(t, nil)
	keysOnly := p.AppendRange(nil)[4 : 4+2*69]
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	tests := map[string]struct {
		b      []byte
		single bool
	}{
		"empty":                 {nil, true},
		"no KEM mark":           {join([]byte{0, 3}, keysOnly), true},
		"KEM mark in 2":         {join([]byte{0, 2}, keysOnly, []byte("0")), true},
		"wrong mark":            {join([]byte{0, 3}, keysOnly, []byte("2")), true},
		"neither P nor A":       {join([]byte{0, 3}, keysOnly, []byte("1X\x00\x01k")), true},
		"empty key":             {join([]byte{0, 3}, keysOnly, []byte("1P\x00\x00")), true},
		"empty ciphertext":      {join([]byte{0, 3}, keysOnly, []byte("1A\x00\x00\x00\x01k")), true},
		"left over":             {join([]byte{0, 3}, keysOnly, []byte("00")), true},
		"one key":               {join([]byte{0, 3}, keysOnly[:69], []byte("0")), true},
		"range upside down":     {join([]byte{0, 3, 0, 2}, keysOnly, []byte("0")), false},
		"range without mark":    {join([]byte{0, 2, 0, 2}, keysOnly), false},
		"ciphertext in a range": {join([]byte{0, 2, 0, 3}, keysOnly, []byte("1A\x00\x01c\x00\x01k")), false},
	}
	for name, test := range tests {
		r := wire.NewReader(test.b)
		read := ReadRange
		if test.single {
			read = ReadSingle
		}
		p := read(r)
		if !errors.Is(r.Done(), wire.ErrSyntax) {
			t.Errorf("%s: error %v", name, r.Done())
		}
		if name != "left over" && name != "KEM mark in 2" && !p.Key1.IsZero() {
			t.Errorf("%s: parameters in spite of an error", name)
		}
	}
}

func TestParamsReadFutureVersion(t *testing.T) {
	b := testParams(t, nil).At(9).AppendSingle(nil)
	r := wire.NewReader(b)
	p := ReadSingle(r)
	if r.Done() != nil {
		t.Fatal(r.Done())
	}
	want(t, "version", p.Versions, VersionRange{9, 9})
	if _, _, err := NewJoiner(rand.NewChaCha8([32]byte{}), p, Options{}); !errors.Is(err, ErrVersion) {
		t.Errorf("error %v", err)
	}
}
