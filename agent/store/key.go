package store

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Key opens a store: a passphrase for people, or 32 random bytes for programs that start unattended. The zero value
// is no key and opens nothing.
type Key struct {
	passphrase []byte
	raw        []byte
}

// Passphrase makes a key of a passphrase, which must not be empty; Argon2id slows down guessing.
func Passphrase(p []byte) Key { return Key{passphrase: append([]byte(nil), p...)} }

// RawKey makes a key of 32 random bytes.
func RawKey(k [32]byte) Key { return Key{raw: k[:]} }

// String hides the key.
func (Key) String() string { return "store.Key" }

// GoString hides the key.
func (Key) GoString() string { return "store.Key" }

// Format hides the key from every formatting verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("store.Key")) }

// ReadKeyFile reads a key from a file with 64 hexadecimal digits, as WriteKeyFile makes it. A file that others than
// its owner can read is refused.
func ReadKeyFile(path string) (Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return Key{}, errors.New("key file: others can read it; its mode should be 0600")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	defer clear(text)
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != masterSize {
		return Key{}, errors.New("key file: not 64 hexadecimal digits")
	}
	return Key{raw: raw}, nil
}

// WriteKeyFile makes a file with a new random key, mode 0600; a file that exists is not touched and is an error that
// wraps fs.ErrExist.
func WriteKeyFile(path string, random io.Reader) (Key, error) {
	raw := make([]byte, masterSize)
	if _, err := io.ReadFull(random, raw); err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	_, err = fmt.Fprintf(f, "%x\n", raw)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	return Key{raw: raw}, nil
}

// derivation is how a store's wrapping key comes from its Key: Argon2id with these parameters for passphrases, and
// nothing for raw keys (time 0).
type derivation struct {
	time    uint32 // passes
	memory  uint32 // KiB
	threads uint8
	salt    []byte
}

// Parameters for new stores (RFC 9106, second recommended option) and the most that a file may ask for, so that a
// forged file cannot take all memory.
const (
	argonTime      = 3
	argonMemory    = 64 << 10
	argonThreads   = 4
	maxArgonTime   = 64
	maxArgonMemory = 4 << 20
)

// wrappingKey derives the key that seals the master key. ErrKey if the kind of key is not the store's.
func (k Key) wrappingKey(d derivation) ([]byte, error) {
	switch {
	case len(k.passphrase) > 0 && d.time > 0:
		return argon2.IDKey(k.passphrase, d.salt, d.time, d.memory, d.threads, masterSize), nil
	case len(k.raw) == masterSize && d.time == 0:
		return expand(k.raw, d.salt, "coterie/store/wrap/1"), nil
	default:
		return nil, ErrKey
	}
}
