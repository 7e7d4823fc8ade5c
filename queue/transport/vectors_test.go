package transport

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/queue"
)

// The inputs of the published vectors are constant byte patterns.

func pattern(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func scalar(b byte) *ecdh.PrivateKey {
	k, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{b}, 32))
	if err != nil {
		panic(err)
	}
	return k
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const signedKeyVector = `3078302c302a300506032b656e032100ac01b2209e86354fb853237b5de0f4fab13c7fcbf433a61c019369617fecf10b300506032b65700341003ecd21720f02
	731784fd2a7592a7a60d7dd9ec8e069129d45571cf4ec214d6250af51019ea0b2d597572632e298a2c3b890c8a118a6bb7d83d663434d43dd506`

func TestSignedKeyVector(t *testing.T) {
	leaf := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	want := unhex(t, signedKeyVector)
	if got := (&Identity{leaf: leaf}).signKey(scalar(4).PublicKey()); !bytes.Equal(got, want) {
		t.Fatalf("%x", got)
	}
	key, err := openSignedKey(want, leaf.Public())
	if err != nil || !key.Equal(scalar(4).PublicKey()) {
		t.Fatal(err)
	}
	for i := range want {
		broken := bytes.Clone(want)
		broken[i] ^= 1
		if _, err := openSignedKey(broken, leaf.Public()); err == nil {
			t.Fatalf("byte %d changed and still accepted", i)
		}
	}
}

func TestClientHelloVectors(t *testing.T) {
	const prefix = "20404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"
	const key = "2c302a300506032b656e03210050a61409b1ddd0325e9b16b700e719e9772c07000b1bd7786e907c653d20495d"
	hash := [32]byte(pattern(0x40, 32))
	for name, c := range map[string]struct {
		hello clientHello
		want  string
	}{
		"v9 with key":    {clientHello{version: 9, keyHash: hash, key: scalar(5).PublicKey()}, "0009" + prefix + key},
		"v9 without key": {clientHello{version: 9, keyHash: hash}, "0009" + prefix},
		"v14":            {clientHello{version: 14, keyHash: hash, key: scalar(5).PublicKey()}, "000e" + prefix + key + "46"},
		"v18":            {clientHello{version: 18, keyHash: hash, key: scalar(5).PublicKey()}, "0012" + prefix + key + "4630"},
		"v14 proxy":      {clientHello{version: 14, keyHash: hash, proxy: true}, "000e" + prefix + "54"},
	} {
		body := c.hello.append(nil)
		if !bytes.Equal(body, unhex(t, c.want)) {
			t.Errorf("%s: %x", name, body)
		}
		got, err := decodeClientHello(appendHelloBlock(append(body, "later fields"...)))
		if err != nil || got.version != c.hello.version || got.keyHash != hash || got.proxy != c.hello.proxy || (got.key == nil) != (c.hello.key == nil) {
			t.Errorf("%s: decoded %+v %v", name, got, err)
		}
	}
}

func TestServerHelloVectors(t *testing.T) {
	for name, c := range map[string]struct {
		hello serverHello
		want  string
	}{
		"v6": {serverHello{versions: queue.VersionRange{Min: 6, Max: 6}, sessionID: pattern(0, 32)},
			"0006000620000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"},
		"v6 to 18": {serverHello{versions: queue.VersionRange{Min: 6, Max: 18}, sessionID: pattern(0, 32),
			chain: [][]byte{[]byte("LEAFCERT"), []byte("CACERT")}, key: unhex(t, signedKeyVector)},
			`0006001220000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 02 0008 4c45414643455254 0006 434143455254 007a` + signedKeyVector},
	} {
		body := c.hello.append(nil)
		if !bytes.Equal(body, unhex(t, c.want)) {
			t.Errorf("%s: %x", name, body)
		}
		got, err := decodeServerHello(appendHelloBlock(body))
		if err != nil || got.versions != c.hello.versions || !bytes.Equal(got.sessionID, c.hello.sessionID) ||
			len(got.chain) != len(c.hello.chain) || !bytes.Equal(got.key, c.hello.key) {
			t.Errorf("%s: decoded %+v %v", name, got, err)
		}
	}
}

func TestBlockEncryptionVectors(t *testing.T) {
	toClient, toServer, err := newChains(scalar(5), scalar(4).PublicKey(), pattern(0, 32))
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		chain           *chain
		key, nonce, was string
	}{
		{toClient, "2f95e2caf45226d189de11f9dd5fe409996d49c8919eba4764f334e03d514c62", "fe2474562a2d48d8cf8c71b7b8bf1b11aa76d22eee82e019", "3e198c619f612a5ca8ff13efb4ce88892c5ba6865d14de7930d469b9de5b4a7f"},
		{toClient, "d37115cd720d09b812ee08654f21fbd8457b91e1a32e328bafff24acac59ac1d", "426e521edcc9132faac35f8b10a160688037f3d6b20dd7e3", ""},
		{toServer, "14fbae4ef0dfd062ddfb28748a6082a2bac29dca44afc0917d7a9d727c5d4680", "bab0dd6b500b09eb606387fcbf27adbd8bb6598e3c06cd54", "2c9104115622d5cd758579a123c212763a0ec9c0fff8dbc5c444a306a3ea6850"},
		{toServer, "cb0bdb1524ac5a2cfd921a678d5cc2ec324143f84bca4163b8f3cc524518143e", "07727cd9af4c39825ba9fb3f090fe33a4fec42c55f57df23", "45d29b77eb0a46079a17896a35fc4bd38e67a2534ae9b76d2691a90a0468f7ac"},
	}
	for i, s := range steps {
		if was := hex.EncodeToString(s.chain.key[:]); s.was != "" && was != s.was {
			t.Errorf("step %d starts at %s", i, was)
		}
		key, nonce := s.chain.next()
		if hex.EncodeToString(key[:]) != s.key || hex.EncodeToString(nonce[:]) != s.nonce {
			t.Errorf("step %d: %x %x", i, key[:], nonce)
		}
	}
}

func TestEncryptedBlockVector(t *testing.T) {
	_, toServer, err := newChains(scalar(5), scalar(4).PublicKey(), pattern(0, 32))
	if err != nil {
		t.Fatal(err)
	}
	payload := unhex(t, `02 001f 00 18 808182838485868788898a8b8c8d8e8f9091929394959697 00 50494e47
		0076 40 625978d0e5becce4f05a0603aae5e501faaf82ff3e749b73eb2043fc2e249567a8929cb6c308c95f1f67f5233c6ec066f8795d65293e75d13addb9125c9a130c
		18 606162636465666768696a6b6c6d6e6f7071727374757677 18 a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7 535542`)
	block := toServer.seal(nil, payload)
	if got := hex.EncodeToString(block[:48]); got != "9990bd6af771f5689f262ddab831fcf25bf574cae7d56a472026ce105616054d8f1b78ba167d05f50d73690ca41063fe" {
		t.Error(got)
	}
	sum := sha256.Sum256(block)
	if got := hex.EncodeToString(sum[:]); got != "6609cdb9f4be6b22bac818e65dbab4068d20b0b5b0d56ef8c58ed4012a39c15c" || len(block) != BlockSize {
		t.Error(got, len(block))
	}
}

// Flights recorded from OpenSSL 3, with the Finished message that it printed (testdata/README.md).
func TestSessionIDEqualsOpenSSL(t *testing.T) {
	data, err := os.ReadFile("testdata/openssl-flights.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded []struct {
		Name, Flight, Secret, Finished string
		Suite                          uint16
	}
	if err := json.Unmarshal(data, &recorded); err != nil || len(recorded) < 8 {
		t.Fatal(len(recorded), err)
	}
	for _, r := range recorded {
		got, err := clientFinished(unhex(t, r.Flight), unhex(t, r.Secret), r.Suite)
		if err != nil || hex.EncodeToString(got) != r.Finished {
			t.Errorf("%s: %x %v", r.Name, got, err)
		}
		if _, err := clientFinished(unhex(t, r.Flight)[:100], unhex(t, r.Secret), r.Suite); err == nil {
			t.Errorf("%s: found Finished in half a flight", r.Name)
		}
	}
}

func FuzzDecodeServerHello(f *testing.F) {
	f.Add(serverHello{versions: queue.VersionRange{Min: 6, Max: 9}, sessionID: pattern(0, 32), chain: [][]byte{{1}, {2}}, key: []byte{3}}.append(nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > MaxPayload {
			return
		}
		h, err := decodeServerHello(appendHelloBlock(body))
		if err != nil {
			return
		}
		if got := h.append(nil); !bytes.HasPrefix(body, got) {
			t.Fatalf("%x became %x", body, got)
		}
		_, _ = parseChain(h.chain)
		_, _ = openSignedKey(h.key, ed25519.PublicKey(pattern(1, 32)))
	})
}

func FuzzDecodeClientHello(f *testing.F) {
	f.Add(clientHello{version: 9, key: scalar(5).PublicKey()}.append(nil))
	f.Add(clientHello{version: 18}.append(nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > MaxPayload {
			return
		}
		h, err := decodeClientHello(appendHelloBlock(body))
		if err != nil {
			return
		}
		got := h.append(nil)
		if h.version >= queue.VersionServices {
			got = got[:len(got)-1] // the mark of a service part, which is not kept
		}
		if !bytes.HasPrefix(body, got) {
			t.Fatalf("%x became %x", body, got)
		}
	})
}

func FuzzOpenSignedKey(f *testing.F) {
	leaf := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	f.Add((&Identity{leaf: leaf}).signKey(scalar(4).PublicKey()))
	f.Fuzz(func(t *testing.T, object []byte) {
		key, err := openSignedKey(object, leaf.Public())
		if err == nil && !bytes.Equal((&Identity{leaf: leaf}).signKey(key), object) {
			t.Fatalf("accepted %x", object)
		}
	})
}

func FuzzClientFinished(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x00\x02ab\x17\x03\x03\x00\x14aaaaaaaaaaaaaaaaaaaa"), uint16(0x1303))
	f.Fuzz(func(t *testing.T, flight []byte, suite uint16) {
		if id, err := clientFinished(flight, make([]byte, 32), suite); err == nil && len(id) != 32 {
			t.Fatalf("%d bytes", len(id))
		}
		findFinished(flight)
	})
}
