package sntrup761

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	d, err := hex.DecodeString(s)
	*h = d
	return err
}

type vector struct {
	Public       hexBytes
	Secret       hexBytes
	Ciphertext   hexBytes
	SharedSecret hexBytes `json:"shared_secret"`
	Decapsulated hexBytes
	FirstChanged hexBytes `json:"decapsulated_first_byte_xor_1"`
	LastChanged  hexBytes `json:"decapsulated_last_byte_xor_1"`
}

func vectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/sntrup761.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []vector }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) != 5 {
		t.Fatalf("%d cases", len(file.Cases))
	}
	return file.Cases
}

func TestDecapsulateVectors(t *testing.T) {
	for i, v := range vectors(t) {
		decapsulate := func(ciphertext, want []byte) {
			t.Helper()
			got, err := KEM{}.Decapsulate(v.Secret, ciphertext)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("case %d: got %x, %v, want %x", i, got, err, want)
			}
		}
		decapsulate(v.Ciphertext, v.SharedSecret)
		decapsulate(v.Ciphertext, v.Decapsulated)
		changed := bytes.Clone(v.Ciphertext)
		changed[0] ^= 1
		decapsulate(changed, v.FirstChanged)
		changed[0] ^= 1
		changed[len(changed)-1] ^= 1
		decapsulate(changed, v.LastChanged)
	}
}

// TestKeyVectors takes recorded key pairs apart: g is 3fh, its inverse is the recorded one, and 1/(3f) times g is h again.
func TestKeyVectors(t *testing.T) {
	for i, v := range vectors(t) {
		var f, recordedInverse, g, inverse small
		f.decode(v.Secret)
		recordedInverse.decode(v.Secret[smallSize:])
		var h, fh large
		h.decode(v.Public)
		fh.multiply(&h, &f)
		for j, x := range fh {
			c := modQ(3 * int32(x))
			if c < -1 || c > 1 {
				t.Fatalf("case %d: g is not small", i)
			}
			g[j] = int8(c)
		}
		if !inverse.invert(&g) || inverse != recordedInverse {
			t.Errorf("case %d: inverse of g", i)
		}
		var fInverse, again large
		fInverse.invertTriple(&f)
		again.multiply(&fInverse, &g)
		if !bytes.Equal(again.encode(nil), v.Public) {
			t.Errorf("case %d: public key", i)
		}
		private := inverse.encode(f.encode(nil))
		private = append(append(private, v.Public...), v.Secret[2*smallSize+PublicKeySize:][:smallSize]...)
		private = append(private, hash(hashPublic, v.Public)...)
		if !bytes.Equal(private, v.Secret) {
			t.Errorf("case %d: private key", i)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	r := rand.NewChaCha8([32]byte{1})
	public, private, err := KEM{}.GenerateKey(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(public) != PublicKeySize || len(private) != PrivateKeySize {
		t.Fatalf("lengths %d and %d", len(public), len(private))
	}
	ciphertext, secret, err := KEM{}.Encapsulate(r, public)
	if err != nil {
		t.Fatal(err)
	}
	if len(ciphertext) != CiphertextSize || len(secret) != SharedSecretSize {
		t.Fatalf("lengths %d and %d", len(ciphertext), len(secret))
	}
	got, err := KEM{}.Decapsulate(private, ciphertext)
	if err != nil || !bytes.Equal(got, secret) {
		t.Errorf("got %x, %v, want %x", got, err, secret)
	}
}

func TestWrongLengths(t *testing.T) {
	r := rand.NewChaCha8([32]byte{2})
	if _, _, err := (KEM{}).Encapsulate(r, make([]byte, PublicKeySize-1)); !errors.Is(err, ErrSize) {
		t.Errorf("encapsulate: %v", err)
	}
	if _, err := (KEM{}).Decapsulate(make([]byte, PrivateKeySize), make([]byte, CiphertextSize+1)); !errors.Is(err, ErrSize) {
		t.Errorf("decapsulate: %v", err)
	}
	if _, err := (KEM{}).Decapsulate(make([]byte, PrivateKeySize+1), make([]byte, CiphertextSize)); !errors.Is(err, ErrSize) {
		t.Errorf("decapsulate: %v", err)
	}
}

func TestRandomnessEndsEarly(t *testing.T) {
	public, _, err := KEM{}.GenerateKey(rand.NewChaCha8([32]byte{3}))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 4*p - 1} {
		if _, _, err := (KEM{}).GenerateKey(bytes.NewReader(make([]byte, n))); err == nil {
			t.Errorf("key from %d bytes", n)
		}
		if _, _, err := (KEM{}).Encapsulate(bytes.NewReader(make([]byte, n)), public); err == nil {
			t.Errorf("ciphertext from %d bytes", n)
		}
	}
}

func TestReductions(t *testing.T) {
	for x := int32(-1 << 13); x <= 1<<13; x++ {
		if r := int32(mod3(x)); r < -1 || r > 1 || (x-r)%3 != 0 {
			t.Fatalf("%d modulo 3 gives %d", x, r)
		}
	}
	for x := int32(-1 << 24); x <= 1<<24; x++ {
		if r := int32(modQ(x)); r < -half || r > half || (x-r)%q != 0 {
			t.Fatalf("%d modulo q gives %d", x, r)
		}
	}
}

func TestShortPolynomials(t *testing.T) {
	r := rand.NewChaCha8([32]byte{4})
	var seen [p]bool
	for range 50 {
		var s small
		if err := s.randomShort(r); err != nil {
			t.Fatal(err)
		}
		counts := map[int8]int{}
		for i, x := range s {
			counts[x]++
			seen[i] = seen[i] || x != 0
		}
		if counts[0] != p-weight || counts[-1]+counts[1] != weight || counts[1] < weight/4 || counts[-1] < weight/4 {
			t.Fatalf("coefficients %v", counts)
		}
		t0 := s
		t0.orDefault()
		if t0 != s {
			t.Error("a short polynomial was replaced")
		}
		s[slices.Index(s[:], 0)] = 1
		s.orDefault()
		for i, x := range s {
			if x != map[bool]int8{true: 1}[i < weight] {
				t.Fatal("a polynomial of wrong weight was not replaced")
			}
		}
	}
	if slices.Contains(seen[:], false) {
		t.Error("a coefficient is never set")
	}
}

func TestSort(t *testing.T) {
	r := rand.New(rand.NewChaCha8([32]byte{5}))
	for n := 2; n < 200; n++ {
		x := make([]uint32, n)
		for i := range x {
			x[i] = r.Uint32() >> (r.Uint32() % 32)
		}
		want := slices.Sorted(slices.Values(x))
		sort(x)
		if !slices.Equal(x, want) {
			t.Fatalf("%d numbers not sorted", n)
		}
	}
}

// FuzzEncodings repeats the input to the length of each encoding.
func FuzzEncodings(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{0xff})
	f.Add(ascending(1, 251))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		b = bytes.Repeat(b, PublicKeySize/len(b)+1)
		var l, again large
		l.decode(b[:PublicKeySize])
		if again.decode(l.encode(nil)); l != again {
			t.Error("public key")
		}
		l.decodeRounded(b[:roundedSize])
		if again.decodeRounded(l.encodeRounded(nil)); l != again {
			t.Error("ciphertext")
		}
	})
}

func ascending(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func BenchmarkGenerateKey(b *testing.B) {
	r := rand.NewChaCha8([32]byte{6})
	for b.Loop() {
		if _, _, err := (KEM{}).GenerateKey(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncapsulate(b *testing.B) {
	r := rand.NewChaCha8([32]byte{7})
	public, _, err := KEM{}.GenerateKey(r)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := (KEM{}).Encapsulate(r, public); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecapsulate(b *testing.B) {
	v := vectors(b)[0]
	for b.Loop() {
		if _, err := (KEM{}).Decapsulate(v.Secret, v.Ciphertext); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodings(b *testing.B) {
	v := vectors(b)[0]
	for b.Loop() {
		var l large
		l.decode(v.Public)
		l.encode(nil)
	}
}
